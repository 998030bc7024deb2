//! The numbered lines of what stands beside or in place of Windows Deployment Services, as far as
//! they are DHCPv4's: docs/internals/spec-coverage.md.

use bootstorm_proto::dhcp::{Answer, Asker, Style};

use crate::packets::{Ask, RELAY, tell};

/// Vendor class, PXE options, TFTP server and boot file, by option and in the header.
fn has_boot_data(ask: &Ask) -> bool {
    ask.reply().is_ok_and(|told| {
        told.siaddr.octets()[0] != 0 || [43, 60, 66, 67].into_iter().any(|option| told.has(option))
    })
}

#[test]
fn wds_14_boot_options_are_for_those_who_boot() {
    for (ask, class) in [
        (Ask::discover(0), &b"PXEClient"[..]),
        (Ask::discover(7), b"PXEClient"),
        (Ask::discover(7).ipxe(), b"PXEClient"),
        (Ask::discover(16).http(16), b"HTTPClient"),
    ] {
        assert!(has_boot_data(&ask));
        assert_eq!(ask.reply().unwrap().get(60), Some(class));
    }
    for class in [&b"MSFT 5.0"[..], b"docsis3.0", b"PXE", b"HTTP"] {
        let other = Ask::discover(7).option(60, class);
        assert_eq!(other.code(), "dhcp.not-pxe", "{}", class.escape_ascii());
    }
}

#[test]
fn wds_16_what_a_relay_says_of_the_port_comes_back_and_is_known() {
    let relay_info = [1, 4, 0, 10, 1, 2, 2, 6, 0, 0x1b, 0x54, 0xaa, 0xbb, 0xcc];
    let ask = Ask::discover(7).relayed(RELAY).option(82, &relay_info);
    let told = ask.reply().unwrap();
    assert_eq!(told.to.ip(), &RELAY);
    assert_eq!(told.get(82), Some(&relay_info[..]));
    let request = ask.read().unwrap();
    let facts = request.facts();
    assert_eq!(facts.asker, Asker::Firmware);
    assert_eq!(facts.circuit_id.as_slice(), &[0, 10, 1, 2]);
    assert_eq!(
        facts.remote_id.as_slice(),
        &[0, 0x1b, 0x54, 0xaa, 0xbb, 0xcc]
    );
}

#[test]
fn wds_02_who_is_not_to_be_answered_hears_nothing_on_either_port() {
    let nobody = Answer::Silent {
        code: "policy.none",
        text: "nobody is answered".into(),
    };
    for ask in [
        Ask::discover(0),
        Ask::discover(7),
        Ask::pxe(8, 7),
        Ask::boot_service(7),
    ] {
        let told = tell(&ask.read().unwrap(), &nobody, &Style::default());
        assert_eq!(told.unwrap_err().code(), "policy.none");
    }
}
