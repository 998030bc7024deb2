//! Packets of real firmware, explained.

use std::sync::Arc;

use bootstorm_catalog::{Catalog, File, Mapping, Snapshot};

use super::*;

#[path = "../../../../../../tests/fixtures/load.rs"]
mod fixtures;

/// A server with a boot program for UEFI, and a rule for one product.
const CONFIG: &str = "\
[policy]
delay = 4
[[policy.where]]
relay = \"10.9.0.1\"
answer = \"none\"
[identity]
shared_macs = [\"52:54:00:99:00:*\"]
[[rule]]
when = \"firmware.asker == 'ipxe'\"
boot = \"local\"
";

fn judge(config: &Config) -> Judge {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("program");
    std::fs::write(&copy, b"x").unwrap();
    let program = File {
        path: "boot/snponly.efi".into(),
        content: Mapping::open(&copy).unwrap(),
        sha256: [0; 32],
        modified: SystemTime::UNIX_EPOCH,
    };
    let catalog = Catalog::default();
    catalog.publish(Snapshot::new([Arc::new(program)], Vec::new()));
    Judge::of(config, catalog, [10, 99, 0, 2].into()).unwrap()
}

/// The requests of one capture, explained as text and as JSON.
fn explained(capture: &str) -> (String, Value) {
    let loaded = Config::parse(CONFIG, Path::new("test.toml"));
    let config = loaded.config.unwrap();
    let judge = judge(&config);
    let table = crate::classifier::table(&config, false);
    let mut text = Vec::new();
    let mut all = Vec::new();
    for fixture in fixtures::all("dhcp-") {
        if !fixture.name().starts_with(capture) {
            continue;
        }
        let datagram = Datagram {
            source: fixture.from,
            destination: fixture.to,
            payload: &fixture.bytes,
        };
        let mut packet = explained_datagram(&judge, &table, &datagram).unwrap();
        packet["seconds"] = 0.into();
        print(&mut text, &packet).unwrap();
        all.push(packet);
    }
    (String::from_utf8(text).unwrap(), all.into())
}

#[test]
fn uefi_firmware_is_explained_from_the_first_packet_to_port_4011() {
    let (text, json) = explained("proxy-ovmf22-virtio-net-pci-svc/");
    insta::assert_snapshot!("uefi", text);
    let mut last = json.as_array().unwrap().last().unwrap().clone();
    // It stands in the reference, and other tests hold it.
    last["facts"] = Value::Null;
    insta::assert_snapshot!("uefi-json", format!("{last:#}"));
}

#[test]
fn bios_firmware_without_a_boot_program_is_told_what_is_missing() {
    let (text, _) = explained("proxy-bios-e1000-svc/");
    insta::assert_snapshot!("bios", text);
}

#[test]
fn every_capture_is_explained() {
    let loaded = Config::parse(CONFIG, Path::new("test.toml"));
    let config = loaded.config.unwrap();
    let judge = judge(&config);
    let table = crate::classifier::table(&config, false);
    let mut out = Vec::new();
    for fixture in fixtures::all("dhcp-") {
        let datagram = Datagram {
            source: fixture.from,
            destination: fixture.to,
            payload: &fixture.bytes,
        };
        let packet = explained_datagram(&judge, &table, &datagram);
        let packet = packet.unwrap_or_else(|| panic!("{}", fixture.name()));
        print(&mut out, &packet).unwrap();
        let is_told = !packet["sent"]["message"].is_null() || !packet["sent"]["code"].is_null();
        assert!(is_told, "{}: {packet}", fixture.name());
    }
}
