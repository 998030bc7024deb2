//! Files that are made for one machine.

use bootstorm_catalog::{Content, Injected, Made};
use bootstorm_config::{PlanConfig, Rule};

use super::*;

/// The same server with a Windows PE.
fn lab() -> Lab {
    let inject = [Made::Json, Made::Ini, Made::Ca].map(|made| Injected {
        name: made.name().to_owned(),
        content: Content::Made(made),
    });
    let winpe = EntryKind::Wim {
        wim: "winpe.wim".to_owned(),
        index: 1,
        inject: inject.into(),
        wimboot: "boot/wimboot".to_owned(),
        args: String::new(),
    };
    let tool = EntryKind::Efi {
        program: "tool.efi".to_owned(),
        args: String::new(),
    };
    let entries = vec![
        Entry::new("tool", "Tool", tool),
        Entry::new("winpe", "Windows PE", winpe),
    ];
    lab_of(tempfile::tempdir().unwrap(), Snapshot::new([], entries))
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
