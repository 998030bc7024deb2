//! The second request of Windows' boot programs.

use std::sync::Arc;
use std::time::Duration;

use bootstorm_proto::dhcp::{Answer, Style, WdsAction, WindowsFiles};
use bootstorm_proto::types::ClientArch;

use crate::packets::{Ask, GUID, SERVER, tell};

/// What wdsmgfw sends, by a capture of it.
fn wdsmgfw() -> Ask {
    let items = b"\x0c\x01\x00\x0d\x02\x08\x00\x01\x02\x00\x07\x0e\x01\x00\xff";
    [57, 77, 93, 94]
        .into_iter()
        .fold(Ask::boot_service(7), Ask::without)
        .secs(0xffff)
        .option(60, b"PXEClient")
        .option(55, &[60, 128, 129, 130, 131, 132, 133, 134, 135])
        .option(250, items)
}

#[test]
fn wds_21_wdsmgfw_is_told_to_go_on_with_its_file() {
    let request = wdsmgfw().read().unwrap();
    let facts = request.facts();
    assert_eq!(facts.wds.unwrap().version, Some(0x0800));
    assert_eq!(facts.arches.as_slice(), [ClientArch(7)]);
    let told = wdsmgfw().reply().unwrap();
    assert_eq!(told.get(53), Some(&[5][..]));
    assert_eq!(told.get(54), Some(&SERVER.octets()[..]));
    assert_eq!(told.get(60), Some(&b"PXEClient"[..]));
    assert_eq!(told.get(97), Some(&GUID[..]));
    assert_eq!(told.get(250), Some(&b"\x02\x01\x00\xff"[..]));
    assert_eq!(told.boot_file(), "boot/snponly.efi");
}

#[test]
fn wds_21_a_pending_machine_gets_no_file() {
    let wait = Answer::Wds(WdsAction::Wait {
        every: Duration::from_secs(10),
        times: 2160,
        request: 7,
        message: "wait".to_owned(),
    });
    let told = tell(&wdsmgfw().read().unwrap(), &wait, &Style::default()).unwrap();
    assert!(
        told.get(250)
            .unwrap()
            .starts_with(b"\x02\x01\x01\x03\x02\x00\x0a")
    );
    assert!(!told.has(67) && !told.has(66));
    assert_eq!(told.file, "");
    // Nobody else understands it.
    let other = Ask::boot_service(7).read().unwrap();
    let silence = tell(&other, &wait, &Style::default()).unwrap_err();
    assert_eq!(silence.code(), "dhcp.bad-file");
}

#[test]
fn wds_06_all_bits_of_secs_are_harmless_where_a_machine_has_chosen_us() {
    let request = wdsmgfw().read().unwrap();
    assert_eq!(request.facts().secs, 0xffff);
    let answer = Answer::Boot {
        file: "x".into(),
        server: None,
        delay: 60,
        windows: None,
    };
    assert!(tell(&request, &answer, &Style::default()).is_ok());
    let early = wdsmgfw().secs(0).read().unwrap();
    assert!(tell(&early, &answer, &Style::default()).is_ok());
}

#[test]
fn wds_20_the_boot_manager_is_told_where_its_store_and_its_variables_are() {
    let name = |end| format!("\\SMSTemp\\7.{{00010203-0405-0607-0809-0A0B0C0D0E0F}}.boot.{end}");
    let answer = |variables: Option<String>| Answer::Boot {
        file: "winpe.wim/bootmgfw.efi".into(),
        server: None,
        delay: 0,
        windows: Some(Arc::new(WindowsFiles {
            store: name("bcd"),
            variables,
        })),
    };
    let store = format!("{}\0", name("bcd"));
    let bios = Ask::discover(0);
    for ask in [wdsmgfw(), Ask::boot_service(7), bios] {
        let request = ask.read().unwrap();
        let told = tell(&request, &answer(None), &Style::default()).unwrap();
        assert_eq!(told.get(252), Some(store.as_bytes()));
        assert!(!told.has(243));
        let told = tell(&request, &answer(Some(name("var"))), &Style::default()).unwrap();
        let path = name("var");
        let item = [&[1, path.len() as u8], path.as_bytes()].concat();
        assert_eq!(told.get(243), Some(&item[..]));
    }
    // The file comes from port 4011, and so does the rest.
    let offer = Ask::discover(7).read().unwrap();
    let told = tell(&offer, &answer(None), &Style::default()).unwrap();
    assert!(!told.has(252) && !told.has(67));
    let ipxe = Ask::discover(7).ipxe().read().unwrap();
    let told = tell(&ipxe, &answer(None), &Style::default()).unwrap();
    assert!(!told.has(252) && told.has(67));
}
