//! The numbered lines of what a PXE server must do, as far as they are DHCPv4's:
//! docs/internals/spec-coverage.md.

use std::net::{Ipv4Addr, SocketAddrV4};

use bootstorm_proto::dhcp::{Answer, Asker, BiosOffer, IpxeOption, Style, UefiOffer};
use bootstorm_proto::types::Family;

use crate::packets::{Ask, GUID, MACHINE, OTHER, RELAY, SERVER, tell};

const BROADCAST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);

#[test]
fn line_01_only_pxe_clients_are_answered() {
    assert!(Ask::discover(7).reply().is_ok());
    assert!(Ask::discover(7).option(60, b"PXEClient").reply().is_ok());
    for class in [
        &b"MSFT 5.0"[..],
        b"AAPLBSDPC/i386/iMac4,1",
        b"anaconda-Linux",
        b"PXEclient",
        b"",
    ] {
        assert_eq!(Ask::discover(7).option(60, class).code(), "dhcp.not-pxe");
    }
    assert_eq!(Ask::discover(7).without(60).code(), "dhcp.not-pxe");
}

#[test]
fn line_02_no_reply_ever_gives_an_address_or_lease_data() {
    let mut styles = vec![Style::default()];
    for bios in [BiosOffer::Prompt, BiosOffer::Menu] {
        for ipxe in [IpxeOption::Url, IpxeOption::NoPxeDhcp] {
            styles.push(Style {
                uefi: UefiOffer::AllInOne,
                bios,
                ipxe,
                ..Style::default()
            });
        }
    }
    for ask in [
        Ask::discover(0),
        Ask::discover(7),
        Ask::discover(7).ipxe(),
        Ask::discover(16).http(16),
        Ask::boot_service(0),
        Ask::boot_service(7).option(43, &[71, 4, 0, 0, 0, 0, 255]),
    ] {
        for style in &styles {
            let told = ask.reply_in(style).unwrap();
            assert_eq!(told.yiaddr, Ipv4Addr::UNSPECIFIED);
            for lease in [1, 3, 6, 51, 58, 59] {
                assert!(!told.has(lease), "option {lease}");
            }
        }
    }
}

#[test]
fn line_03_an_offer_names_us_and_says_the_machine_id_again() {
    let told = Ask::discover(0).reply().unwrap();
    assert_eq!(told.get(53), Some(&[2][..]));
    assert_eq!(told.get(54), Some(&SERVER.octets()[..]));
    assert_eq!(told.get(60), Some(&b"PXEClient"[..]));
    assert_eq!(told.get(97), Some(&GUID[..]));
    assert_eq!(told.siaddr, SERVER);
    assert!(!Ask::discover(0).without(97).reply().unwrap().has(97));
    // Whatever the vendor wrote there, it wants the same back.
    let odd = Ask::discover(0).option(97, b"\x01odd").reply().unwrap();
    assert_eq!(odd.get(97), Some(&b"\x01odd"[..]));
}

#[test]
fn line_03_the_file_may_lie_on_another_tftp_server() {
    let request = Ask::discover(0).read().unwrap();
    let answer = Answer::Boot {
        file: "a/b.0".into(),
        server: Some(OTHER),
        delay: 0,
        windows: None,
    };
    let told = tell(&request, &answer, &Style::default()).unwrap();
    assert_eq!(told.siaddr, OTHER);
    assert_eq!(told.sname, OTHER.to_string());
    assert_eq!(told.get(66).unwrap(), b"10.99.0.1\0");
    assert_eq!(told.get(54), Some(&SERVER.octets()[..]));
}

#[test]
fn line_04_replies_go_where_the_machine_can_hear_them() {
    let to = |ask: Ask| ask.reply().unwrap().to;
    assert_eq!(to(Ask::discover(7)), BROADCAST);
    assert_eq!(to(Ask::discover(7).header_byte(10, 0)), BROADCAST);
    assert_eq!(
        to(Ask::discover(7).relayed(RELAY)),
        SocketAddrV4::new(RELAY, 67)
    );
    assert_eq!(
        to(Ask::pxe(8, 7).ciaddr(MACHINE)),
        SocketAddrV4::new(MACHINE, 68)
    );
    for port in [68, 4011, 2071] {
        let ask = Ask::boot_service(7).port_of_source(port);
        assert_eq!(to(ask), SocketAddrV4::new(MACHINE, port));
    }
    let nowhere = Ask::discover(7).relayed(Ipv4Addr::new(224, 0, 0, 1));
    assert_eq!(nowhere.code(), "dhcp.bad-relay");
}

#[test]
fn line_04_a_relay_is_told_to_broadcast_since_there_is_no_address_to_unicast_to() {
    let flag = |ask: Ask| ask.reply().unwrap().bytes[10];
    assert_eq!(flag(Ask::discover(7).header_byte(10, 0)), 0);
    assert_eq!(flag(Ask::discover(7)), 0x80);
    let relayed = Ask::discover(7).header_byte(10, 0).relayed(RELAY);
    assert_eq!(flag(relayed), 0x80);
    let known = Ask::pxe(8, 7).header_byte(10, 0).relayed(RELAY);
    assert_eq!(flag(known.ciaddr(MACHINE)), 0);
}

#[test]
fn line_05_relay_information_comes_back_unchanged_and_last() {
    let circuit = [1, 4, 0, 4, 0, 1, 2, 6, 1, 2, 3, 4, 5, 6, 9, 1, 0];
    let ask = Ask::discover(0).relayed(RELAY).option(82, &circuit);
    let told = ask.option(61, &[1, 2, 3]).reply().unwrap();
    assert_eq!(told.options.last(), Some(&(82, circuit.to_vec())));
    assert_eq!(told.get(61), Some(&[1, 2, 3][..]));
    let end = told.bytes.iter().rposition(|byte| *byte != 0).unwrap();
    assert_eq!(told.bytes[end], 255);
    // More than 255 bytes come and go in pieces (RFC 3396).
    let long: Vec<u8> = [&[1, 200][..], &[7; 200], &[2, 100], &[8; 100]].concat();
    let told = Ask::discover(0).relayed(RELAY).option(82, &long).reply();
    assert_eq!(told.unwrap().options.last(), Some(&(82, long)));
}

#[test]
fn line_05_a_relay_may_want_to_be_named_as_the_server() {
    let relay_info = [11, 4, 10, 50, 0, 1, 5, 4, 10, 60, 0, 0];
    let ask = Ask::discover(7).relayed(RELAY).option(82, &relay_info);
    let told = ask.reply().unwrap();
    assert_eq!(told.get(54), Some(&RELAY.octets()[..]));
    assert_eq!(told.siaddr, SERVER);
    let link = ask.read().unwrap().relay_info().link;
    assert_eq!(link, Some(Ipv4Addr::new(10, 60, 0, 0)));
    // Without a relay the option is a machine's own idea.
    let direct = Ask::discover(7).option(82, &relay_info).reply().unwrap();
    assert_eq!(direct.get(54), Some(&SERVER.octets()[..]));
}

#[test]
fn line_06_uefi_firmware_gets_its_file_in_the_second_step() {
    for arch in [6, 7, 9, 10, 11, 27, 39] {
        let offer = Ask::discover(arch).reply().unwrap();
        assert!(!offer.has(43) && !offer.has(66) && !offer.has(67));
        assert_eq!((offer.file.as_str(), offer.sname.as_str()), ("", ""));
        assert_eq!(offer.siaddr, SERVER);

        let ack = Ask::boot_service(arch).reply().unwrap();
        assert_eq!(ack.get(53), Some(&[5][..]));
        assert_eq!(ack.boot_file(), "boot/snponly.efi");
        assert_eq!(ack.file, "boot/snponly.efi");
        assert_eq!(ack.siaddr, SERVER);
    }
}

#[test]
fn line_06_all_in_one_offers_the_file_at_once() {
    let style = Style {
        uefi: UefiOffer::AllInOne,
        ..Style::default()
    };
    let offer = Ask::discover(7).reply_in(&style).unwrap();
    assert_eq!(offer.get(43), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.boot_file(), "boot/snponly.efi");
    assert_eq!(offer.file, "boot/snponly.efi");
}

#[test]
fn line_07_bios_firmware_gets_its_file_in_the_offer() {
    let offer = Ask::discover(0).reply().unwrap();
    assert_eq!(offer.get(43), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.boot_file(), "boot/undionly.kpxe");
    assert_eq!(offer.file, "boot/undionly.kpxe");
    assert_eq!(offer.sname, SERVER.to_string());
    let ack = Ask::boot_service(0).reply().unwrap();
    assert_eq!(ack.boot_file(), "boot/undionly.kpxe");
}

#[test]
fn line_07_roms_that_insist_on_a_prompt_or_a_menu_can_have_one() {
    let offer = |bios| {
        let style = Style {
            bios,
            ..Style::default()
        };
        Ask::discover(0).reply_in(&style).unwrap()
    };
    let prompt = offer(BiosOffer::Prompt);
    assert_eq!(prompt.get(43), Some(&b"\x06\x01\x08\x0a\x04\0PXE\xff"[..]));
    let menu = offer(BiosOffer::Menu);
    let servers = [8, 7, 0x80, 0, 1, 10, 99, 0, 2];
    let vendor = menu.get(43).unwrap();
    assert!(vendor.windows(servers.len()).any(|part| part == servers));
    // What the menu names can be asked for.
    let item = Ask::boot_service(0).option(43, &[71, 4, 0x80, 0, 0, 0, 255]);
    assert_eq!(item.reply().unwrap().boot_file(), "boot/undionly.kpxe");
}

#[test]
fn line_08_ipxe_gets_its_script_and_never_a_boot_program() {
    const SCRIPT: &str = "http://10.99.0.2:8080/boot";
    for ask in [
        Ask::discover(0).ipxe(),
        Ask::discover(7).ipxe(),
        Ask::discover(7).option(77, b"iPXE"),
        Ask::discover(7).option(77, b"\x04iPXE"),
        Ask::discover(7).option(175, &[0xb1, 1, 0]),
        Ask::boot_service(7).ipxe(),
        // A script suits every processor.
        Ask::discover(31).ipxe(),
    ] {
        let told = ask.reply().unwrap();
        assert_eq!(told.boot_file(), SCRIPT);
        assert_eq!(told.file, SCRIPT);
        assert_eq!(told.get(60), Some(&b"PXEClient"[..]));
        assert_ne!(told.siaddr, Ipv4Addr::UNSPECIFIED);
    }
    let facts = Ask::discover(7).ipxe().read().unwrap().facts().clone();
    assert_eq!(facts.asker, Asker::Ipxe);
    assert_eq!(facts.ipxe_features, 1 << 3 | 1 << 0x11);
}

#[test]
fn line_08_option_175_tells_ipxe_what_the_style_says() {
    let told = |ipxe| {
        let style = Style {
            ipxe,
            ..Style::default()
        };
        Ask::discover(7).ipxe().reply_in(&style).unwrap()
    };
    assert!(!told(IpxeOption::Absent).has(175));
    assert_eq!(
        told(IpxeOption::Url).get(175),
        Some(&b"http://10.99.0.2:8080/boot"[..])
    );
    assert_eq!(
        told(IpxeOption::NoPxeDhcp).get(175),
        Some(&[0xb0, 1, 1, 255][..])
    );
}

#[test]
fn line_09_architectures_lead_to_their_family_and_unknown_ones_to_silence() {
    for (arch, family) in [
        (0, Family::Bios),
        (6, Family::Ia32),
        (7, Family::X64),
        (9, Family::X64),
        (10, Family::Arm32),
        (11, Family::Arm64),
        (27, Family::Riscv64),
        (39, Family::Loong64),
    ] {
        let facts = Ask::discover(arch).read().unwrap().facts().clone();
        assert_eq!(facts.arches[0].family(), Some(family));
        assert_eq!(facts.asker, Asker::Firmware);
    }
    for arch in [15, 16, 18, 19, 28, 40] {
        let facts = Ask::discover(arch).http(arch).read().unwrap();
        assert_eq!(facts.facts().asker, Asker::HttpFirmware);
    }
    for arch in [1, 2, 3, 12, 31, 41, 999] {
        assert_eq!(Ask::discover(arch).code(), "dhcp.unknown-arch");
    }
}

#[test]
fn line_09_the_first_architecture_with_a_boot_program_counts() {
    let several = Ask::discover(2).option(93, &[0, 2, 0, 7, 0, 0]);
    let told = several.reply().unwrap();
    assert!(!told.has(67), "x64 before BIOS: two steps");
    let facts = several.read().unwrap().facts().clone();
    assert_eq!(facts.arches.len(), 3);
    // An option 93 of a wrong length must not hide what comes behind it.
    let odd = Ask::discover(7).option(93, &[7]).reply().unwrap();
    assert_eq!(odd.get(97), Some(&GUID[..]));
    assert!(!odd.has(67));
}

#[test]
fn line_10_http_firmware_gets_its_class_and_a_url() {
    for ask in [
        Ask::discover(16).http(16),
        Ask::discover(19).http(19),
        Ask::boot_service(16).http(16),
    ] {
        let told = ask.reply().unwrap();
        assert_eq!(told.get(60), Some(&b"HTTPClient"[..]));
        let url = "http://10.99.0.2:8080/images/boot/snponly.efi";
        assert_eq!(told.boot_file(), url);
        assert_eq!(told.file, url);
        assert!(!told.has(43));
    }
}

#[test]
fn line_10_a_url_too_long_for_the_header_stands_in_the_option_alone() {
    let request = Ask::discover(16).http(16).read().unwrap();
    let tell_url = |len: usize| {
        let answer = Answer::Boot {
            file: format!("http://10.99.0.2/{}", "x".repeat(len - 17)).into(),
            server: None,
            delay: 0,
            windows: None,
        };
        tell(&request, &answer, &Style::default())
    };
    assert_eq!(tell_url(127).unwrap().file.len(), 127);
    for len in [128, 254, 255, 256, 600] {
        let told = tell_url(len).unwrap();
        assert_eq!((told.file.as_str(), told.boot_file().len()), ("", len));
    }
    assert_eq!(tell_url(1025).unwrap_err().code(), "dhcp.bad-file");
}

#[test]
fn line_11_boot_server_requests_are_acknowledged_with_their_item() {
    let ask = |item: &[u8]| Ask::boot_service(0).option(43, item);
    let told = ask(&[71, 4, 0, 0, 0, 0, 255]).reply().unwrap();
    assert_eq!(told.get(53), Some(&[5][..]));
    assert_eq!(told.get(43), Some(&[71, 4, 0, 0, 0, 0, 255][..]));
    assert_eq!(told.boot_file(), "boot/undionly.kpxe");
    let credentials = ask(&[71, 4, 0, 0, 0x80, 0, 255]);
    assert_eq!(credentials.code(), "dhcp.credentials");
    let unknown = ask(&[71, 4, 0x80, 3, 0, 0, 255]);
    assert_eq!(unknown.code(), "dhcp.unknown-boot-item");
    // Boot server discovery by broadcast comes in on port 67.
    let broadcast = Ask::pxe(3, 0).option(43, &[71, 4, 0, 0, 0, 0, 255]);
    assert_eq!(broadcast.reply().unwrap().get(53), Some(&[5][..]));
}

#[test]
fn line_12_requests_for_leases_and_for_other_servers_are_left_alone() {
    let request = Ask::pxe(3, 7).option(50, &MACHINE.octets());
    let other = request.clone().option(54, &OTHER.octets());
    assert_eq!(other.code(), "dhcp.other-server");
    let ours = request.clone().option(54, &SERVER.octets());
    assert_eq!(ours.code(), "dhcp.lease-request");
    assert_eq!(request.code(), "dhcp.lease-request");
    for message in [4, 7, 9] {
        assert_eq!(Ask::pxe(message, 7).code(), "dhcp.not-for-proxy");
    }
    for message in [2, 5, 6] {
        let server = Ask::pxe(message, 7).header_byte(0, 2);
        assert_eq!(server.code(), "dhcp.not-request");
    }
}

#[test]
fn line_13_answers_wait_for_the_delay_but_not_for_machines_that_chose_us() {
    let answer = |delay| Answer::Boot {
        file: "x".into(),
        server: None,
        delay,
        windows: None,
    };
    let tell = |ask: &Ask, delay| {
        let told = tell(&ask.read().unwrap(), &answer(delay), &Style::default());
        told.map_err(|silence| silence.code())
    };
    let waits = |secs| tell(&Ask::discover(0).secs(secs), 4);
    assert_eq!(waits(0).unwrap_err(), "dhcp.waiting");
    assert_eq!(waits(3).unwrap_err(), "dhcp.waiting");
    assert_eq!(waits(0x0300).unwrap_err(), "dhcp.waiting");
    assert!(waits(4).is_ok());
    assert!(waits(0x0400).is_ok());
    assert!(tell(&Ask::boot_service(0), 4).is_ok());
    assert!(tell(&Ask::discover(0), 0).is_ok());
}

#[test]
fn line_14_every_hardware_address_that_fits_the_header_is_taken() {
    for hlen in 1..=16 {
        let ask = Ask::discover(7).hardware(0, hlen);
        let told = ask.reply().unwrap();
        assert_eq!(told.bytes[1..3], [0, hlen]);
        assert_eq!(&told.bytes[28..44], b"sixteen-bytes-id");
        let hardware = ask.read().unwrap().facts().hardware;
        assert_eq!(hardware.bytes().len(), usize::from(hlen));
    }
    for hlen in [17, 20, 128, 255] {
        let silence = Ask::discover(7).hardware(1, hlen).reply().unwrap_err();
        assert_eq!(silence.code(), "dhcp.hardware-length");
        assert!(silence.is_malformed());
    }
    // InfiniBand leaves the field empty and names itself in option 61.
    let infiniband = Ask::discover(7).hardware(32, 0);
    assert_eq!(infiniband.code(), "dhcp.no-hardware");
    assert!(infiniband.option(61, &[9; 21]).reply().is_ok());
}

#[test]
fn line_15_broken_packets_are_named_and_never_answered() {
    let sound = Ask::discover(7).bytes();
    let seen = Ask::discover(7).seen();
    let code = |bytes: &[u8]| {
        let silence = bootstorm_proto::dhcp::Request::read(bytes, &seen).unwrap_err();
        assert!(silence.is_malformed(), "{silence}");
        silence.code()
    };
    assert_eq!(code(&[]), "dhcp.short");
    assert_eq!(code(&sound[..239]), "dhcp.short");
    assert_eq!(code(&[&sound[..236], &[0; 64]].concat()), "dhcp.bad-cookie");
    assert_eq!(code(&sound[..sound.len() - 2]), "dhcp.option-past-end");
    let hops = Ask::discover(7).header_byte(3, 16);
    assert_eq!(hops.code(), "dhcp.hops");
    assert_eq!(
        Ask::discover(7).option(53, &[1, 1]).code(),
        "dhcp.option-length"
    );
    let long = Ask::discover(7).option(61, &[1; 300]);
    assert_eq!(long.code(), "dhcp.option-too-long");
}

#[test]
fn line_15_options_in_the_header_fields_are_read_once() {
    let mut bytes = Ask::discover(7).without(60).option(52, &[1]).bytes();
    let class = b"\x3c\x20PXEClient:Arch:00007:UNDI:003000\x34\x01\x03\xff";
    bytes[108..108 + class.len()].copy_from_slice(class);
    let seen = Ask::discover(7).seen();
    let request = bootstorm_proto::dhcp::Request::read(&bytes, &seen).unwrap();
    assert_eq!(request.facts().asker, Asker::Firmware);
}

#[test]
fn bootp_without_a_message_type_is_answered_without_one() {
    let silent = Ask::discover(0).without(53);
    assert_eq!(silent.code(), "dhcp.bootp-no-address");
    let told = silent.ciaddr(MACHINE).reply().unwrap();
    assert!(!told.has(53));
    assert_eq!(told.boot_file(), "boot/undionly.kpxe");
    assert_eq!(told.to, SocketAddrV4::new(MACHINE, 68));
    let other = Ask::discover(0).without(53).without(60);
    assert_eq!(other.code(), "dhcp.not-pxe");
}

#[test]
fn a_decided_silence_and_an_impossible_file_send_nothing() {
    let request = Ask::discover(0).read().unwrap();
    let answer = Answer::Silent {
        code: "policy.no-nbp",
        text: "nothing for x64".into(),
    };
    let silence = tell(&request, &answer, &Style::default()).unwrap_err();
    assert_eq!(silence.code(), "policy.no-nbp");
    assert_eq!(silence.to_string(), "nothing for x64");
    let silence = tell(&request, &Answer::Later, &Style::default()).unwrap_err();
    assert_eq!(silence.code(), "policy.undecided");
    for file in ["", "a\0b", "a\nb", "a\x7f"] {
        let answer = Answer::Boot {
            file: file.into(),
            server: None,
            delay: 0,
            windows: None,
        };
        let silence = tell(&request, &answer, &Style::default()).unwrap_err();
        assert_eq!(silence.code(), "dhcp.bad-file");
    }
}

#[test]
fn replies_keep_to_the_size_that_the_machine_takes() {
    let request = Ask::discover(0).without(57).read().unwrap();
    let answer = |len: usize| Answer::Boot {
        file: "x".repeat(len).into(),
        server: None,
        delay: 0,
        windows: None,
    };
    let told = tell(&request, &answer(100), &Style::default()).unwrap();
    assert!(told.bytes.len() <= 548);
    let silence = tell(&request, &answer(300), &Style::default()).unwrap_err();
    assert_eq!(silence.code(), "dhcp.reply-too-long");
}

#[test]
fn line_26_the_same_discover_gets_the_same_answer() {
    let ask = Ask::discover(0);
    let first = ask.reply().unwrap();
    for _ in 0..3 {
        assert_eq!(ask.reply().unwrap().bytes, first.bytes);
    }
}
