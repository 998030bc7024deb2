//! Files that are made for one machine.

use bootstorm_catalog::{Content, File, Injected, Mapping, Startup};
use bootstorm_config::{PlanConfig, Rule};

use super::*;

/// The same server with a Windows PE.
fn lab() -> Lab {
    let startup = Startup {
        start: vec!["setup.exe".to_owned()],
        ..Startup::default()
    };
    let inject = [
        Injected::new("bootstorm.json", Content::Json(Arc::new(startup))),
        Injected::new("bootstorm.ini", Content::Ini),
        Injected::new("ca.crt", Content::Ca),
    ];
    let tool = EntryKind::Efi {
        program: "tool.efi".to_owned(),
        args: String::new(),
    };
    let entries = vec![Entry::new("tool", "Tool", tool), winpe(inject.into())];
    lab_of(tempfile::tempdir().unwrap(), Snapshot::new([], entries))
}

/// The same server with these files, which make a Windows PE.
fn lab_with(files: &[(&str, &str)]) -> Lab {
    let data = tempfile::tempdir().unwrap();
    let file = |(path, text): &(&str, &str)| {
        let blob = data.path().join("blob");
        std::fs::write(&blob, text).unwrap();
        let content = Mapping::open(&blob).unwrap();
        std::fs::remove_file(&blob).unwrap();
        Arc::new(File {
            path: (*path).into(),
            content,
            sha256: [0; 32],
            modified: SystemTime::UNIX_EPOCH,
        })
    };
    let files: Vec<_> = files.iter().map(file).collect();
    let inject = files.iter().map(|file| {
        let path = file.path.to_string();
        let name = path.trim_start_matches("winpe/").trim_end_matches(".j2");
        let content = match path.ends_with(".j2") {
            true => Content::Template(path.clone()),
            false => Content::File(path.clone()),
        };
        Injected {
            secret: name.starts_with("secret"),
            ..Injected::new(name, content)
        }
    });
    let entry = winpe(inject.collect());
    lab_of(data, Snapshot::new(files, vec![entry]))
}

fn winpe(inject: Vec<Injected>) -> Entry {
    let kind = EntryKind::Wim {
        wim: "winpe.wim".to_owned(),
        index: 1,
        inject,
        wimboot: "boot/wimboot".to_owned(),
        args: String::new(),
        loader: bootstorm_catalog::WimLoader::Wimboot,
        options: bootstorm_catalog::LoadOptions::default(),
    };
    Entry::new("winpe", "Windows PE", kind)
}

/// Path and query of what the script injects under this name.
fn of_script(script: &str, name: &str) -> (String, String) {
    let begins = format!("initrd --name {name} http://10.0.0.9:8080");
    let mut lines = script.lines().filter_map(|line| line.strip_prefix(&begins));
    let url = lines.next().unwrap_or_else(|| panic!("{name}: {script}"));
    let (path, rest) = url.split_once('?').unwrap();
    let query = rest.split(' ').next().unwrap();
    (path.to_owned(), query.to_owned())
}

fn script_of(lab: &Lab) -> String {
    let query = format!("mac={MAC}&arch=7&platform=efi&serial=A%207%26&asset=PC-0815&room=12");
    let response = lab.respond(&request(Method::Get, "/boot", &query));
    body(&response).to_owned()
}

/// Some other machine's address.
fn elsewhere(path: &str, query: &str) -> BootRequest {
    BootRequest {
        client: "10.0.0.77:4711".parse().unwrap(),
        ..request(Method::Get, path, query)
    }
}

fn rules(lab: &Lab, boot: &str) {
    let values = [("role".to_owned(), "kiosk\r\n[facts]".to_owned())];
    let plan = PlanConfig {
        boot: boot.parse().ok(),
        values: values.into(),
        ..PlanConfig::default()
    };
    lab.configure(|config| {
        config.rules = vec![Rule {
            plan,
            ..Rule::default()
        }];
    });
}

#[test]
fn twopxe_17_windows_pe_finds_all_that_is_known_of_its_machine() {
    let lab = lab();
    rules(&lab, "winpe");
    let script = script_of(&lab);
    let fetched = |name: &str| {
        let (path, query) = of_script(&script, name);
        // From wherever it is: the token counts.
        let response = lab.respond(&elsewhere(&path, &query));
        assert_eq!(response.status, 200, "{}", body(&response));
        response
    };
    let json = fetched("bootstorm.json");
    assert_eq!(json.content_type, "application/json");
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["server"], "http://10.0.0.9:8080");
    assert_eq!(json["mac"], MAC);
    assert_eq!(json["entry"], "winpe");
    assert_eq!(json["wpeinit"], false);
    assert_eq!(json["start"][0], "setup.exe");
    assert_eq!(json["values"]["role"], "kiosk\r\n[facts]");
    assert_eq!(json["facts"]["smbios"]["serial"], "A 7&");
    assert_eq!(json["facts"]["params"]["room"], "12");
    assert_eq!(json["facts"]["network"]["relay"], "10.9.0.1");
    assert!(json["ca"].as_str().unwrap().starts_with("-----BEGIN"));
    let (path, query) = of_script(&script, "bootstorm.json");
    assert!(query.contains(json["token"].as_str().unwrap()), "{query}");
    let time: jiff::Timestamp = json["time"].as_str().unwrap().parse().unwrap();
    assert!(time <= jiff::Timestamp::now());

    let ini = fetched("bootstorm.ini");
    let ini = body(&ini);
    assert!(ini.starts_with("[bootstorm]\r\n"), "{ini}");
    assert!(ini.lines().all(|line| !line.ends_with('\n')));
    for line in [
        "entry=winpe\r\n",
        "[values]\r\nrole=kiosk  [facts]\r\n",
        "smbios.serial=A 7&\r\n",
        "firmware.arch=7\r\n",
        "params.room=12\r\n",
    ] {
        assert!(ini.contains(line), "{line} in {ini}");
    }
    assert_eq!(ini.matches("\r\n[facts]\r\n").count(), 1, "{ini}");
    assert!(!ini.contains("-----BEGIN"));

    let ca = fetched("ca.crt");
    assert_eq!(body(&ca), json["ca"].as_str().unwrap());
    let mut look = request(Method::Head, &path, &query);
    look.client = "10.0.0.77:4711".parse().unwrap();
    assert_eq!(lab.respond(&look).status, 200);
}

#[test]
fn the_files_of_a_machine_are_for_it_alone() {
    let lab = lab();
    rules(&lab, "winpe");
    let (path, query) = of_script(&script_of(&lab), "bootstorm.json");
    let refused = |request: &BootRequest, status, code| {
        let response = lab.respond(request);
        let words = body(&response);
        assert_eq!(response.status, status, "{words}");
        assert!(words.starts_with(code), "{words}");
        // iPXE would inject a script like any other file.
        assert!(!words.starts_with("#!ipxe"));
    };
    // At its own address it needs no token.
    assert_eq!(lab.respond(&request(Method::Get, &path, "")).status, 200);
    let own = format!("mac={MAC}");
    assert_eq!(lab.respond(&request(Method::Get, &path, &own)).status, 200);
    let cut = query.replace("token=", "token=0");
    let other = "mac=52:54:00:00:00:02";
    let guid = "uuid=11223344-5566-7788-99aa-bbccddeeff00";
    refused(&elsewhere(&path, &own), 403, "token.missing");
    refused(&elsewhere(&path, &cut), 403, "token.damaged");
    refused(&request(Method::Get, &path, other), 403, "token.missing");
    refused(&request(Method::Get, &path, guid), 403, "token.missing");
    let foreign = query
        .replace("00%3A01", "00%3A02")
        .replace("00:01", "00:02");
    assert_ne!(foreign, query);
    refused(&elsewhere(&path, &foreign), 403, "token.foreign");
    for (path, status, code) in [
        ("/boot/file/winpe/unattend.xml", 404, "boot.no-such-file"),
        ("/boot/file/tool/bootstorm.json", 404, "boot.no-such-file"),
        ("/boot/file/none/bootstorm.json", 404, "boot.no-such-file"),
        ("/boot/file/winpe", 404, "boot.unknown-path"),
    ] {
        refused(&request(Method::Get, path, &query), status, code);
    }
    refused(
        &request(Method::Post, &path, &query),
        405,
        "boot.wrong-method",
    );
    rules(&lab, "tool");
    let lately = lab.respond(&elsewhere(&path, &query));
    assert_eq!(lately.status, 200, "it boots what its script said");
    refused(&request(Method::Get, &path, ""), 403, "boot.not-its-file");
}

#[test]
fn what_a_machine_boots_once_has_its_files() {
    let lab = lab();
    lab.edit(order("winpe"));
    let (path, query) = of_script(&script_of(&lab), "bootstorm.json");
    let response = lab.respond(&elsewhere(&path, &query));
    assert_eq!(response.status, 200, "{}", body(&response));
    assert!(!script_of(&lab).contains("choose"), "no menu");
}

#[test]
fn templates_are_filled_in_for_the_machine() {
    let source = "<ComputerName>{{ values.role }} {{ smbios.asset }}</ComputerName>\n";
    let lab = lab_with(&[("winpe/unattend.xml.j2", source), ("winpe/plain", "x")]);
    rules(&lab, "winpe");
    let script = script_of(&lab);
    let (path, query) = of_script(&script, "unattend.xml");
    assert_eq!(path, "/boot/file/winpe/unattend.xml");
    let response = lab.respond(&elsewhere(&path, &query));
    let wanted = "<ComputerName>kiosk  [facts] PC-0815</ComputerName>\n";
    assert_eq!(body(&response), wanted);
    assert_eq!(response.content_type, "application/octet-stream");
    assert!(script.contains("http://10.0.0.9:8080/images/winpe/plain plain"));
}

#[test]
fn a_template_that_fails_for_a_machine_is_told_on_its_screen() {
    let lab = lab_with(&[("winpe/own.ini.j2", "one\n{{ values.missing.more }}\n")]);
    rules(&lab, "winpe");
    let script = script_of(&lab);
    assert!(
        script.contains("echo [winpe.template-failed] winpe/own.ini.j2:2: "),
        "{script}"
    );
    assert!(!script.contains("initrd"), "{script}");
}

#[test]
fn secrets_travel_over_tls_alone() {
    let lab = lab_with(&[("winpe/secret.txt", "the password")]);
    rules(&lab, "winpe");
    let script = script_of(&lab);
    let reason = "[boot.secret-over-http] Loading secret.txt without TLS";
    assert!(script.contains(reason), "{script}");
    assert!(!script.contains("initrd"), "{script}");

    lab.policy.set_ports(Ports {
        https: Some(8050),
        ..Ports::default()
    });
    let script = script_of(&lab);
    let begins = "initrd --name secret.txt https://10.0.0.9:8050";
    let line = script.lines().find_map(|line| line.strip_prefix(begins));
    let (path, rest) = line.unwrap().split_once('?').unwrap();
    let query = rest.split(' ').next().unwrap();
    let over = |secure| BootRequest {
        secure,
        ..elsewhere(path, query)
    };
    assert_eq!(body(&lab.respond(&over(true))), "the password");
    let plain = lab.respond(&over(false));
    assert_eq!(plain.status, 403);
    assert!(body(&plain).starts_with("boot.secret-over-http"));
}
