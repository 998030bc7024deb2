use crate::bcd::{self, Value};
use crate::kinds::tests::{Folder, codes, only, program, why};
use crate::wim::sample::Sample;
use crate::{Content, EntryKind, Injected, Snapshot};

/// A folder with a Windows PE that boots, and this said of it.
fn folder(settings: &str) -> Folder {
    Folder::new()
        .with("boot/wimboot", program(0x8664, true))
        .with("pe.wim", Sample::winpe().build())
        .with("pe/image.toml", settings)
}

fn injected(snapshot: &Snapshot) -> &[Injected] {
    match &only(snapshot).kind {
        EntryKind::Wim { inject, .. } => inject,
        other => panic!("{other:?}"),
    }
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    let files = injected(snapshot).iter();
    files.map(|file| file.name.as_str()).collect()
}

fn text_of<'a>(snapshot: &'a Snapshot, name: &str) -> &'a str {
    let file = injected(snapshot).iter().find(|file| file.name == name);
    match &file.unwrap().content {
        Content::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

const BARE: &str = "[winpe]\nparameters = false\n";

#[test]
fn winboot_08_names_and_numbers_that_wimboot_does_not_take_are_told() {
    let mut folder = folder(BARE);
    for name in [
        "a-name-of-thirty-two-characters.x",
        "two words.ini",
        "größe.ini",
        "sub/file.ini",
        "second.wim",
        "tool.efi",
        "disk.sdi",
        "arial.ttf",
    ] {
        folder = folder.with(&format!("pe/{name}"), "");
    }
    // What takes the place of what comes out of the image.
    for name in [
        "BCD",
        "boot.sdi",
        "bootx64.efi",
        "wgl4_boot.ttf",
        "a-name-of-thirty-1-characters.x",
    ] {
        folder = folder.with(&format!("pe/{name}"), "");
    }
    let snapshot = folder.build();
    assert_eq!(codes(&snapshot), ["wim.inject-name"; 8]);
    assert_eq!(names(&snapshot).len(), 5, "{:?}", names(&snapshot));
}

#[test]
fn a_boot_manager_beside_the_image_goes_before_the_one_in_it() {
    let snapshot = folder(BARE).with("pe/BootMgFw.efi", "MZ").build();
    assert_eq!(names(&snapshot), ["bootx64.efi"]);
    assert_eq!(injected(&snapshot)[0].source(), Some("pe/BootMgFw.efi"));
    assert!(codes(&snapshot).is_empty());
}

#[test]
fn winboot_08_made_files_count_among_those_that_wimboot_takes() {
    let mut folder = folder("[winpe]\nstart = 'setup.exe'\n");
    for number in 0..60 {
        folder = folder.with(&format!("pe/{number:02}.ini"), "");
    }
    let snapshot = folder.build();
    let made = ["bootstorm.json", "bootstorm.ini", "ca.crt", "winpeshl.ini"];
    assert_eq!(names(&snapshot)[..4], made);
    assert_eq!(names(&snapshot).len(), 62);
    assert_eq!(codes(&snapshot), ["wim.inject-count"; 2]);
}

#[test]
fn twopxe_18_winpeshl_is_sent_only_where_it_is_needed() {
    assert_eq!(names(&folder(BARE).build()), [""; 0]);
    for needs in ["start = 'a.exe'", "before = ['a.exe']", "after = ['a.exe']"] {
        let snapshot = folder(&format!("{BARE}{needs}")).build();
        assert_eq!(names(&snapshot), ["winpeshl.ini"]);
        assert!(text_of(&snapshot, "winpeshl.ini").contains("a.exe"));
        let startnet = format!("{BARE}{needs}\nwinpeshl = false");
        let snapshot = folder(&startnet).build();
        assert_eq!(names(&snapshot), ["startnet.cmd"]);
        assert!(text_of(&snapshot, "startnet.cmd").contains("wpeinit"));
    }
    let of_image = |settings: &str| {
        folder(settings)
            .with("pe.wim/winpeshl.ini", "[LaunchApps]\r\nshell.exe\r\n")
            .build()
    };
    let snapshot = of_image(&format!("{BARE}before = ['a.exe']"));
    let text = text_of(&snapshot, "winpeshl.ini");
    assert!(
        text.ends_with("a.exe\r\n%SYSTEMROOT%\\System32\\wpeinit.exe\r\nshell.exe\r\n"),
        "{text}"
    );
    let snapshot = of_image(&format!("{BARE}before = ['a.exe']\nwinpeshl = false"));
    assert_eq!(codes(&snapshot), ["winpe.startnet-unused"]);
}

#[test]
fn a_file_of_the_folder_goes_before_a_made_one() {
    let snapshot = folder("[winpe]\nstart = 'a.exe'")
        .with("pe/WinPEShl.ini", "[LaunchApps]")
        .with("pe/own.ini", "")
        .with("pe/own.ini.j2", "{{ values.role }}")
        .build();
    assert_eq!(codes(&snapshot), ["wim.inject-own"; 2]);
    let sources: Vec<_> = injected(&snapshot)
        .iter()
        .filter_map(Injected::source)
        .collect();
    assert_eq!(sources, ["pe/own.ini.j2", "pe/WinPEShl.ini"]);
    assert_eq!(names(&snapshot)[3..], ["own.ini", "WinPEShl.ini"]);
}

#[test]
fn a_template_that_cannot_be_read_is_told_with_its_line() {
    let snapshot = folder("").with("pe/unattend.xml.j2", "<a>\n{{ b\n").build();
    assert_eq!(why(only(&snapshot)), "winpe.template-broken");
    let problem = &snapshot.problems()[0];
    assert!(
        problem.text.starts_with("pe/unattend.xml.j2:2: "),
        "{problem}"
    );
}

#[test]
fn the_answer_file_becomes_unattend_xml() {
    for (settings, file) in [
        ("lab.xml", "pe/lab.xml"),
        ("answers/lab.xml.j2", "answers/lab.xml.j2"),
    ] {
        let settings = format!("{BARE}unattend = '{settings}'");
        let snapshot = folder(&settings).with(file, "<unattend/>").build();
        assert_eq!(names(&snapshot), ["winpeshl.ini", "unattend.xml"]);
        assert_eq!(injected(&snapshot)[1].source(), Some(file));
        let text = text_of(&snapshot, "winpeshl.ini");
        // The image's own start runs wpeinit without it.
        assert!(text.contains("unattend.xml"), "{text}");
    }
    let missing = folder("[winpe]\nunattend = 'none.xml'").build();
    assert_eq!(why(only(&missing)), "winpe.no-unattend");
}

#[test]
fn the_client_needs_its_program_and_its_processor() {
    let client = format!("{BARE}client = true");
    let missing = folder(&client).build();
    assert_eq!(why(only(&missing)), "winpe.no-client");
    let snapshot = folder(&client)
        .with("boot/bootstorm-winpe.exe", "MZ")
        .build();
    assert_eq!(why(only(&snapshot)), "");
    let wanted = ["bootstorm.json", "winpeshl.ini", "bootstorm-winpe.exe"];
    assert_eq!(names(&snapshot), wanted);
}

#[test]
fn what_is_secret_nobody_gets_by_its_path() {
    let snapshot = folder("[winpe]\nsecret = ['Join.ps1', 'unattend.xml', 'none']")
        .with("pe/join.ps1", "secret")
        .with("pe/unattend.xml.j2", "secret")
        .with("pe/other", "")
        .build();
    for path in ["pe/join.ps1", "PE/Join.ps1", "pe/unattend.xml.j2"] {
        assert!(snapshot.file(path).is_err(), "{path}");
        assert!(snapshot.tftp_file(path).is_err(), "{path}");
        assert_eq!(&*snapshot.source(path).unwrap().content, b"secret");
    }
    assert!(snapshot.file("pe/other").is_ok() && snapshot.source("pe/other").is_ok());
    let secret = injected(&snapshot)
        .iter()
        .filter(|file| file.secret)
        .count();
    assert_eq!((secret, codes(&snapshot)), (2, vec!["winpe.no-secret"]));
}

#[test]
fn a_command_line_that_winpeshl_would_not_take_is_told_with_its_line() {
    let long = "x".repeat(251);
    let settings =
        format!("[winpe]\nparameters = false\nafter = [\n'ok.exe',\n'',\n'{long}',\n'a\u{e9}']\n");
    let snapshot = folder(&settings).build();
    let paths: Vec<_> = snapshot
        .problems()
        .iter()
        .map(|p| p.path.as_str())
        .collect();
    assert_eq!(
        paths,
        ["pe/image.toml:5", "pe/image.toml:6", "pe/image.toml:7"]
    );
    assert_eq!(codes(&snapshot), ["catalog.image-toml"; 3]);
}

#[test]
fn options_of_the_boot_manager_make_a_store_of_its_own() {
    let plain = folder(BARE).build();
    assert!(!names(&plain).contains(&"BCD"));
    let said = |bcd: &str| folder(&format!("{BARE}[bcd]\n{bcd}\n")).build();
    let snapshot = said("test_signing = true\noptions = \"DDISABLE_INTEGRITY_CHECKS\"");
    let file = injected(&snapshot).iter().find(|file| file.name == "BCD");
    let Content::Store(store) = &file.unwrap().content else {
        panic!("{file:?}")
    };
    let values: Vec<Value> = bcd::show(store)
        .unwrap()
        .into_iter()
        .flat_map(|object| object.elements)
        .map(|element| element.value)
        .collect();
    let has = |text: &str| values.contains(&Value::Text(text.into()));
    assert!(has("DDISABLE_INTEGRITY_CHECKS") && has(r"\Windows\System32\boot\winload.exe"));
    let bad = said("options = \"\\u0007\"");
    assert_eq!(why(only(&bad)), "bcd.bad-text");
}
