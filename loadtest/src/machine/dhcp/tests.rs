use std::net::{Ipv4Addr, SocketAddrV4};

use super::*;
use crate::machine::behaviour::Behaviour;
use crate::machine::event::{Event, Outcome};
use crate::machine::identity::Identity;
use crate::machine::io::Life;
use crate::machine::plan::{Network, Plan};
use crate::machine::profile::Profile;
use crate::machine::simulated::{
    LEASER, Lab, Packet, Reply as Made, SERVER, Tftp, good_binl, good_offers, option, plan, server,
};
use crate::machine::trace::Trace;

const LOADER: Phase = Phase::Loader;

fn tftp() -> Tftp {
    let program = vec![7; 3000];
    Tftp::new(&[
        ("undionly.kpxe", &program),
        ("snponly.efi", &program),
        ("boot.ipxe", b"#!ipxe\nexit 1\n"),
    ])
}

fn lab(
    profile: Profile,
    plan: Plan,
    offer: impl FnMut(&[u8]) -> Vec<Packet> + 'static,
    binl: impl FnMut(&[u8]) -> Option<Made> + 'static,
) -> Lab {
    let answer = server(offer, binl, tftp());
    Lab::new(profile, plan, Behaviour::default(), answer).run()
}

fn until(phase: Phase) -> Plan {
    Plan {
        until: phase,
        ..plan()
    }
}

/// What is found if the firmware's offer is changed like that.
fn changed(profile: Profile, change: impl Fn(Made) -> Made + 'static) -> Lab {
    let offer = move |request: &[u8]| {
        if option(request, 53) != Some(vec![1]) {
            return Vec::new();
        }
        let file = if profile == Profile::Bios {
            "undionly.kpxe"
        } else {
            ""
        };
        let good = Made::proxy(request, "PXEClient", file);
        vec![change(good).to(request)]
    };
    lab(profile, until(Phase::Program), offer, |request| {
        Some(good_binl(request))
    })
}

#[test]
fn a_good_offer_is_no_finding() {
    for profile in [Profile::Bios, Profile::Uefi] {
        let lab = changed(profile, |good| good);
        assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
        assert_eq!(lab.findings(), [], "{profile:?}");
    }
}

#[test]
fn each_wrong_offer_has_its_name() {
    type Change = fn(Made) -> Made;
    let cases: [(Code, Change); 10] = [
        (Code::DhcpLeaseInProxyOffer, |mut good| {
            good.yiaddr = Ipv4Addr::new(10, 99, 8, 77);
            good
        }),
        (Code::DhcpLeaseInProxyOffer, |good| {
            good.with(51, &[0, 0, 14, 16])
        }),
        (Code::DhcpWrongSiaddr, |mut good| {
            good.siaddr = Ipv4Addr::new(10, 99, 0, 9);
            good.with(43, &[6, 1, 8, 255])
        }),
        (Code::DhcpWrongSiaddr, |mut good| {
            good.siaddr = Ipv4Addr::UNSPECIFIED;
            good
        }),
        (Code::DhcpWrongServerId, |good| {
            good.without(54).with(54, &[10, 99, 0, 3])
        }),
        (Code::DhcpWrongPort, |mut good| {
            good.from.set_port(6767);
            good
        }),
        (Code::DhcpGuidNotEchoed, |good| good.without(97)),
        (Code::DhcpFilesDiffer, |good| good.with(67, b"other.kpxe\0")),
        (Code::DhcpOptionsNotAsked, |good| {
            good.with(150, &SERVER.octets())
        }),
        (Code::DhcpNoClass, |good| good.without(60)),
    ];
    for (code, change) in cases {
        let lab = changed(Profile::Bios, change);
        assert_eq!(lab.findings(), [code], "{:#?}", lab.trace());
    }
}

#[test]
fn an_offer_without_server_id_or_class_boots_nothing() {
    let lab = changed(Profile::Uefi, |good| good.without(54));
    assert_eq!(lab.findings(), [Code::DhcpNoServerId]);
    assert_eq!(lab.failure(), Code::DhcpSilent);
    let lab = changed(Profile::Uefi, |good| good.without(60));
    assert_eq!(lab.findings(), [Code::DhcpNoClass]);
    assert_eq!(lab.failure(), Code::DhcpNoBootOffer);
}

#[test]
fn rubbish_and_answers_for_others_are_found_and_dropped() {
    let lab = lab(
        Profile::Bios,
        until(Phase::Program),
        |request| {
            let mut packets = good_offers(request);
            if let Some(Packet::Dhcp(from, bytes)) = packets.first().cloned() {
                packets.insert(0, Packet::Dhcp(from, bytes[..bytes.len() - 2].to_vec()));
                let mut other = bytes;
                other[4] ^= 0xff;
                packets.insert(0, Packet::Dhcp(from, other));
            }
            packets
        },
        |_| None,
    );
    assert_eq!(lab.findings(), [Code::DhcpXid, Code::DhcpMalformed]);
    assert_eq!(lab.outcome(), &Outcome::Booted);
}

#[test]
fn silence_is_waited_for_as_firmware_and_ipxe_wait() {
    let silent = |profile| lab(profile, plan(), |_| Vec::new(), |_| None);
    let uefi = silent(Profile::Uefi);
    assert_eq!(uefi.failure(), Code::DhcpSilent);
    assert_eq!(uefi.asked(), [(0, 1), (4, 1), (12, 1), (28, 1)]);
    assert_eq!(uefi.events.last().unwrap().0.as_secs(), 60);
    let secs = |lab: &Lab| {
        let sent = lab.sent.iter().map(|(_, sent)| match sent {
            crate::machine::simulated::Sent::Broadcast(bytes) => bytes[9],
            crate::machine::simulated::Sent::Datagram(..) => 0,
        });
        sent.collect::<Vec<_>>()
    };
    assert_eq!(secs(&uefi), [0, 4, 12, 28]);
    let ipxe = silent(Profile::IpxeHttp);
    assert_eq!(ipxe.asked(), [(0, 1), (1, 1), (3, 1), (7, 1)]);
    assert_eq!(secs(&ipxe), [4, 8, 12, 16]);
    let resent = ipxe
        .events
        .iter()
        .filter(|(_, event)| *event == Event::Resent(Transport::Dhcp));
    assert_eq!(resent.count(), 3);
}

/// What is found if the only offer comes so many milliseconds after the first DISCOVER.
fn found_after(milliseconds: u64) -> Vec<Code> {
    let (begun, plan) = (Instant::now(), plan());
    let identity = Identity::new(1, Profile::Uefi);
    let (mut out, mut trace, mut life) = (Vec::new(), Trace::default(), Life::default());
    let mut exchange = None;
    for at in [0, 4000, milliseconds] {
        let mut world = World {
            now: begun + Duration::from_millis(at),
            identity: &identity,
            address: Ipv4Addr::UNSPECIFIED,
            plan: &plan,
            life: &mut life,
            trace: &mut trace,
            out: &mut out,
        };
        let Some(started) = &mut exchange else {
            exchange = Some(Exchange::start(Program::Firmware(7), &mut world));
            continue;
        };
        let Some(Output::Broadcast(discover)) = world.out.first().cloned() else {
            panic!("no DISCOVER");
        };
        let offer = Made::proxy(&discover, "PXEClient", "").bytes(&discover);
        let input = if at == 4000 {
            Input::Timeout
        } else {
            Input::Dhcp {
                from: SocketAddrV4::new(SERVER, 67),
                payload: &offer,
            }
        };
        assert!(matches!(started.handle(input, &mut world), Progress::Going));
    }
    let found = out.iter().filter_map(|output| match output {
        Output::Event(Event::Deviation(finding)) => Some(finding.code),
        _ => None,
    });
    found.collect()
}

#[test]
fn an_offer_that_comes_late_is_told() {
    assert_eq!(found_after(5500), [Code::DhcpLate]);
    assert_eq!(found_after(4100), [], "it answers the second DISCOVER");
}

/// What is found if port 4011 answers like that.
fn asked_4011(change: impl Fn(Made) -> Option<Made> + 'static) -> Lab {
    let binl = move |request: &[u8]| change(good_binl(request));
    lab(Profile::Uefi, until(Phase::Program), good_offers, binl)
}

#[test]
fn port_4011_has_to_answer_as_it_should() {
    let silent = asked_4011(|_| None);
    assert_eq!(silent.failure(), Code::PxeSilent);
    let at: Vec<u64> = silent.asked().iter().skip(2).map(|(at, _)| *at).collect();
    assert_eq!(at, [0, 1, 3, 6]);
    let no_file = asked_4011(|mut good| {
        good.file = "";
        Some(good)
    });
    assert_eq!(no_file.failure(), Code::PxeNoFile);
    let elsewhere = asked_4011(|mut good| {
        good.from.set_port(67);
        Some(good)
    });
    assert_eq!(elsewhere.findings(), [Code::PxeWrongSource]);
    assert_eq!(elsewhere.failure(), Code::PxeSilent);
    let offer = asked_4011(|mut good| {
        good.kind = 2;
        Some(good)
    });
    assert_eq!(offer.findings(), [Code::PxeNotAnAck]);
    assert_eq!(offer.failure(), Code::PxeSilent);
}

#[test]
fn uefi_takes_the_file_of_an_offer_that_says_so() {
    let lab = changed(Profile::Uefi, |mut good| {
        good.file = "snponly.efi";
        good.with(43, &[6, 1, 8, 255])
    });
    assert_eq!(lab.outcome(), &Outcome::Booted);
    assert_eq!(lab.asked(), [(0, 1), (0, 3)]);
}

/// As the capture proxy-bios-e1000-svc has it.
#[test]
fn ipxe_asks_for_the_first_item_of_a_menu() {
    const MENU: &[u8] = b"\x06\x01\x03\x0a\x04\0PXE\x08\x07\x80\x02\x01\x0a\x63\0\x02\
        \x09\x09\x80\x02\x06iPXE A\xff";
    let offer = |request: &[u8]| {
        if option(request, 53) != Some(vec![1]) {
            return Vec::new();
        }
        vec![
            Made::proxy(request, "PXEClient", "")
                .with(43, MENU)
                .to(request),
        ]
    };
    let answer = |item: u8| {
        move |request: &[u8]| {
            assert_eq!(request[4..8], [0; 4]);
            assert_eq!(option(request, 43).unwrap(), [71, 4, 0x80, 2, 0, 0, 255]);
            let answer = good_binl(request).with(43, &[71, 4, 0x80, item, 0, 0, 255]);
            Some(answer)
        }
    };
    let good = lab(Profile::IpxeHttp, until(LOADER), offer, answer(2));
    assert_eq!(good.outcome(), &Outcome::Booted, "{:#?}", good.trace());
    assert_eq!(good.findings(), []);
    let other = lab(Profile::IpxeHttp, until(LOADER), offer, answer(3));
    assert_eq!(other.findings(), [Code::PxeItemNotEchoed]);
    assert_eq!(other.failure(), Code::PxeSilent);
}

fn leased(dhcp: impl Fn(&[u8], u8) -> Option<Made> + 'static) -> Lab {
    let network = Network {
        base: Ipv4Addr::new(10, 99, 8, 0),
        bits: 21,
    };
    let plan = Plan {
        leases: Leases::Server(network),
        ..until(Phase::Program)
    };
    let offer = move |request: &[u8]| {
        let kind = option(request, 53).unwrap()[0];
        let mut packets = good_offers(request);
        packets.extend(dhcp(request, kind).map(|reply| reply.to(request)));
        packets
    };
    lab(Profile::Uefi, plan, offer, |request| {
        Some(good_binl(request))
    })
}

const LEASED: Ipv4Addr = Ipv4Addr::new(10, 99, 9, 9);

#[test]
fn an_address_comes_from_the_dhcp_server() {
    let lab = leased(|request, kind| {
        if kind == 3 {
            assert_eq!(option(request, 50).unwrap(), LEASED.octets());
            assert_eq!(option(request, 54).unwrap(), LEASER.octets());
        }
        Some(Made::lease(if kind == 1 { 2 } else { 5 }, LEASED))
    });
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!((lab.findings(), lab.machine.address()), (vec![], LEASED));
}

#[test]
fn each_wrong_lease_has_its_name() {
    let none = leased(|_, _| None);
    assert_eq!(none.failure(), Code::DhcpNoLease);
    let foreign = leased(|_, _| Some(Made::lease(2, Ipv4Addr::new(10, 1, 1, 1))));
    assert_eq!(foreign.findings(), [Code::DhcpForeignLease]);
    assert_eq!(foreign.failure(), Code::DhcpNoLease);
    let dumb = leased(|_, kind| (kind == 1).then(|| Made::lease(2, LEASED)));
    assert_eq!(dumb.failure(), Code::DhcpNoAck);
    let refusing = leased(|_, kind| Some(Made::lease(if kind == 1 { 2 } else { 6 }, LEASED)));
    assert_eq!(refusing.findings(), [Code::DhcpNak]);
    assert_eq!(refusing.failure(), Code::DhcpNak);
    let other = leased(|_, kind| {
        let given = Ipv4Addr::new(10, 99, 9, 10);
        Some(if kind == 1 {
            Made::lease(2, LEASED)
        } else {
            Made::lease(5, given)
        })
    });
    assert_eq!(other.failure(), Code::DhcpOtherAddress);
}

#[test]
fn no_storm_is_let_loose_on_public_addresses() {
    let lab = changed(Profile::Bios, |mut good| {
        good.siaddr = Ipv4Addr::new(198, 51, 100, 1);
        good
    });
    assert_eq!(lab.failure(), Code::DhcpForeignServer);
}

#[test]
fn http_boot_takes_a_url_with_its_class_alone() {
    let program = Program::Firmware(16);
    let request = vec![0; 240];
    let url = "http://10.99.0.2/snponly.efi";
    let of = |class: &str| {
        let bytes = Made::proxy(&request, class, url).bytes(&request);
        BootOffer::of(program, &Reply::parse(&bytes).unwrap())
    };
    let boot = of("HTTPClient").unwrap();
    assert_eq!(boot.way, Way::File(url.to_owned()));
    assert_eq!(of("PXEClient"), None);
}

#[test]
fn offers_are_ranked_as_edk2_ranks_them() {
    let request = vec![0; 240];
    let rank = |made: Made| {
        let reply = Reply::parse(&made.bytes(&request)).unwrap();
        BootOffer::of(Program::Firmware(7), &reply).unwrap().rank
    };
    let proxy = |file| Made::proxy(&request, "PXEClient", file);
    let mut lease = Made::lease(2, LEASED);
    lease.file = "snponly.efi";
    let classed = lease.clone().with(60, b"PXEClient");
    let ranks = [
        rank(classed.clone().with(43, &[6, 1, 8, 255])),
        rank(proxy("a").with(43, &[6, 1, 8, 255])),
        rank(classed),
        rank(proxy("")),
        rank(lease),
    ];
    assert_eq!(ranks, [0, 1, 2, 3, 4]);
    let from = SocketAddrV4::new(SERVER, 67);
    assert_eq!(proxy("").from, from);
}
