use std::time::Duration;

use bootstorm_catalog::{Entry, EntryKind, LoadOptions, Snapshot, WimLoader};
use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::{ClientArch, MacAddress};
use bootstorm_store::Edit;
use bootstorm_telemetry::event::{Milestone, TransferId};

use super::*;
use crate::boot_pages::tests::{Lab, MAC, lab_of, order};

/// A server with two images, which was asked by [`MAC`] at 10.0.0.5.
fn lab() -> Lab {
    let pe = |id: &str| {
        let kind = EntryKind::Wim {
            wim: format!("{id}.wim"),
            index: 1,
            inject: Vec::new(),
            wimboot: String::new(),
            args: String::new(),
            loader: WimLoader::BootManager(None),
            options: LoadOptions::default(),
        };
        Entry::new(id, id, kind)
    };
    let file = |path: &str| {
        Arc::new(File {
            path: path.into(),
            content: Mapping::of_bytes(path.as_bytes()).unwrap(),
            sha256: [0; 32],
            modified: SystemTime::UNIX_EPOCH,
        })
    };
    let files = ["a.wim/boot.sdi", "b.wim/boot.sdi", "b.wim/bootmgfw.efi"].map(file);
    let entries = vec![pe("a"), pe("b")];
    lab_of(tempfile::tempdir().unwrap(), Snapshot::new(files, entries))
}

fn asked(lab: &Lab, client: &str, name: &str) -> Result<Arc<File>, &'static str> {
    let wanted = FileWanted {
        name: name.into(),
        client: client.parse().unwrap(),
    };
    let made = lab.pages.file_for(&wanted);
    lab.runtime.block_on(made).map_err(|reason| reason.code)
}

fn assign(lab: &Lab, boot: &str) {
    lab.edit(Edit::Boot(Some(boot.to_owned())));
}

fn event(at: SystemTime, what: What) -> BootEvent {
    BootEvent {
        at,
        mac: MAC.parse().ok(),
        ip: "10.0.0.5".parse().ok(),
        what,
    }
}

fn says(store: &File, text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    store.content.windows(text.len()).any(|part| part == text)
}

fn identity(mac: &str) -> Identity {
    Identity {
        mac: mac.parse().ok(),
        ..Identity::default()
    }
}

fn sealed(kind: SealedKind, mac: &str, told: SystemTime) -> String {
    let tokens = bootstorm_policy::Tokens::new(&[7; 32]);
    tokens.name(kind, &identity(mac), told).to_string()
}

/// Another machine, at 10.0.0.6.
const OTHER: &str = "52:54:00:00:00:02";

fn other_asks(lab: &Lab, at: SystemTime) {
    let mac: MacAddress = OTHER.parse().unwrap();
    let local = "10.0.0.9".parse().unwrap();
    let facts = ClientFacts::new(mac.into(), Asker::Firmware, ClientArch(7), local);
    lab.hear(BootEvent {
        at,
        mac: Some(mac),
        ip: "10.0.0.6".parse().ok(),
        what: What::Asked {
            facts: Arc::new(facts),
        },
    });
}

#[test]
fn wds_17_a_store_is_for_the_machine_at_its_address() {
    let lab = lab();
    assign(&lab, "b");
    other_asks(&lab, SystemTime::now());
    let store = asked(&lab, "10.0.0.5", "\\Boot\\BCD").unwrap();
    assert!(says(&store, "\\b.wim") && !says(&store, "\\a.wim"));
    // The other one has a menu of both.
    let menu = asked(&lab, "::ffff:10.0.0.6", "/boot/bcd").unwrap();
    assert!(says(&menu, "\\b.wim") && says(&menu, "\\a.wim"));
    let unknown = asked(&lab, "10.0.0.7", "\\Boot\\BCD");
    assert_eq!(unknown.err(), Some("tftp.not-found"));
}

#[test]
fn wds_17_a_sealed_name_is_good_at_one_address_for_an_hour() {
    let lab = lab();
    let now = SystemTime::now();
    other_asks(&lab, now);
    let own = sealed(SealedKind::Store, MAC, now);
    assert!(asked(&lab, "10.0.0.5", &own).is_ok());
    assert!(asked(&lab, "10.0.0.5", &own.to_lowercase()).is_ok());
    for (client, name) in [
        ("10.0.0.6", own.clone()),
        ("10.0.0.7", own),
        ("10.0.0.5", sealed(SealedKind::Store, OTHER, now)),
        (
            "10.0.0.5",
            sealed(SealedKind::Store, MAC, now - VALID - Duration::from_secs(2)),
        ),
        ("10.0.0.5", sealed(SealedKind::Store, MAC, now + VALID)),
        ("10.0.0.5", "\\SMSTemp\\BCD".to_owned()),
    ] {
        let refused = asked(&lab, client, &name).err();
        assert_eq!(refused, Some("tftp.not-found"), "{client} {name}");
    }
}

#[test]
fn wds_17_files_are_gone_after_an_hour_and_when_the_machine_is_done() {
    let lab = lab();
    let now = SystemTime::now();
    other_asks(&lab, now - VALID - Duration::from_secs(1));
    let late = asked(&lab, "10.0.0.6", "\\Boot\\BCD");
    assert_eq!(late.err(), Some("tftp.not-found"));
    let name = sealed(SealedKind::Store, MAC, now);
    assert!(asked(&lab, "10.0.0.5", &name).is_ok());
    lab.hear(event(
        now,
        What::Reported {
            milestone: Milestone::Finished,
            text: "".into(),
        },
    ));
    for name in [name.as_str(), "\\Boot\\BCD", "\\Boot\\boot.sdi"] {
        assert_eq!(asked(&lab, "10.0.0.5", name).err(), Some("tftp.not-found"));
    }
}

#[test]
fn wds_17_variables_have_a_name_of_their_own() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{MAC}.var")), "secret").unwrap();
    lab.configure(|config| config.boot.windows.variables = Some(folder.path().to_owned()));
    let now = SystemTime::now();
    other_asks(&lab, now);
    let name = sealed(SealedKind::Variables, MAC, now);
    let file = asked(&lab, "10.0.0.5", &name).unwrap();
    assert_eq!(*file.content, *b"secret");
    let store = sealed(SealedKind::Store, MAC, now).replace(".bcd", ".var");
    let none = sealed(SealedKind::Variables, OTHER, now);
    for (client, name) in [
        ("10.0.0.6", &name),
        ("10.0.0.5", &store),
        ("10.0.0.6", &none),
    ] {
        assert_eq!(asked(&lab, client, name).err(), Some("tftp.not-found"));
    }
}

#[test]
fn with_its_store_a_boot_begins_and_an_order_is_taken() {
    let lab = lab();
    assign(&lab, "a");
    lab.edit(order("b"));
    for _ in 0..2 {
        let store = asked(&lab, "10.0.0.5", "\\Boot\\BCD").unwrap();
        assert!(says(&store, "\\b.wim") && !says(&store, "\\a.wim"));
    }
    // What follows is of the same image, although the order is gone.
    lab.hear(event(SystemTime::now(), What::Leased));
    let client = lab.pages.clients.by_mac(MAC.parse().unwrap()).unwrap();
    assert_eq!(client.entry.as_deref(), Some("b"));
    assert!(client.boot.is_some());
    let sdi = asked(&lab, "10.0.0.5", "\\Boot\\boot.sdi").unwrap();
    assert_eq!(&*sdi.path, "b.wim/boot.sdi");
}

#[test]
fn what_was_chosen_in_a_menu_boots_alone() {
    let lab = lab();
    let now = SystemTime::now();
    let script = What::Script {
        boots: "menu".into(),
        because: None,
        boot: None,
    };
    lab.hear(event(now, script));
    lab.hear(event(
        now,
        What::Started {
            id: TransferId(7),
            protocol: bootstorm_telemetry::event::Protocol::Tftp,
            file: "b.wim/bootmgfw.efi".into(),
            size: 10,
        },
    ));
    let store = asked(&lab, "10.0.0.5", "\\Boot\\BCD").unwrap();
    assert!(says(&store, "\\b.wim") && !says(&store, "\\a.wim"));
}
