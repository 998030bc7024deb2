use std::time::Duration;

use bootstorm_ebpf_shared::{Action, Family, Table};
use bootstorm_proto::dhcp::Asker;
use proptest::prelude::*;

use super::*;

const FIRMWARE: Class = Class::Firmware(Family::Bios);

/// A gate and its clock.
struct Lab {
    settings: Arc<GateSettings>,
    gate: Gate,
    now: Instant,
}

fn lab(workers: usize) -> Lab {
    let settings = Arc::new(GateSettings::new(workers));
    Lab {
        gate: Gate::new(&settings, 0),
        now: settings.origin() + Duration::from_secs(1),
        settings,
    }
}

impl Lab {
    fn ask(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let judged = self.gate.judge(Service::Dhcp, 1, bytes, self.now);
        judged.map(drop).map_err(|stopped| stopped.cause)
    }

    /// How many of a hundred messages of a machine pass.
    fn hundred(&mut self, mac: Mac) -> usize {
        let message = discover(mac);
        (0..100).filter(|_| self.ask(&message).is_ok()).count()
    }

    fn know(&self, known: &[Mac]) {
        self.settings.set_roster(Roster {
            known: known.to_vec(),
            ..Roster::default()
        });
    }

    fn packets(&self, class: Class, cause: Cause) -> u64 {
        self.settings.counts()[counter(class, cause) as usize].packets
    }
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0, a, b, c, d]
}

/// What BIOS firmware broadcasts.
fn discover(mac: Mac) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[28..34].copy_from_slice(&mac);
    packet.extend([99, 130, 83, 99, 53, 1, 1, 60, 9]);
    packet.extend(b"PXEClient");
    packet.extend([97, 17, 0]);
    packet.extend([0x11; 16]);
    packet.push(255);
    packet
}

#[test]
fn line_26_a_machine_that_asks_too_often_is_left_waiting() {
    let mut lab = lab(1);
    assert_eq!(lab.hundred(mac(1)), 16);
    assert_eq!(lab.ask(&discover(mac(1))), Err(Cause::MachineRate));
    assert_eq!(lab.ask(&discover(mac(2))), Ok(()), "others are not held up");
    lab.now += Duration::from_secs(1);
    assert_eq!(lab.hundred(mac(1)), 4);
    assert_eq!(lab.settings.refused(&mac(1)), 84 + 1 + 96);
    assert_eq!(lab.settings.refused(&mac(2)), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn a_hundred_thousand_made_up_machines_change_nothing_for_a_known_one(
        seed in any::<u32>(),
        known in any::<[u8; 6]>(),
    ) {
        let mut flooded = lab(4);
        let mut calm = lab(4);
        flooded.know(&[known]);
        calm.know(&[known]);
        let size = flooded.settings.slots();
        let question = discover(known);
        for number in 0..100_000_u32 {
            // Half a second of 200,000 a second.
            flooded.now += Duration::from_micros(5);
            calm.now += Duration::from_micros(5);
            let made_up = mac(number.wrapping_mul(0x9e37_79b1) ^ seed);
            prop_assume!(made_up != known);
            let _ = flooded.ask(&discover(made_up));
            // It asks more often than it may, to see both answers.
            if number % 1000 == 0 {
                prop_assert_eq!(flooded.ask(&question), calm.ask(&question));
            }
        }
        let answers = |lab: &Lab| [Cause::PassedKnown, Cause::KnownRate]
            .map(|cause| lab.packets(FIRMWARE, cause));
        prop_assert_eq!(answers(&flooded), answers(&calm));
        prop_assert!(answers(&calm).iter().all(|count| *count > 0));
        prop_assert_eq!(flooded.settings.slots(), size);
        // A quarter of 20,000 a second, and of the burst.
        let passed = flooded.packets(FIRMWARE, Cause::Passed);
        prop_assert!((12_400..=12_600).contains(&passed), "{}", passed);
    }
}

#[test]
fn banned_machines_are_stopped_until_they_are_not() {
    let mut lab = lab(1);
    let question = discover(mac(1));
    lab.settings.set_roster(Roster {
        banned_macs: vec![mac(1)],
        ..Roster::default()
    });
    assert_eq!(lab.ask(&question), Err(Cause::BannedMac));
    assert_eq!(lab.ask(&discover(mac(2))), Ok(()));
    lab.settings.set_roster(Roster {
        banned_guids: vec![[0x11; 16]],
        ..Roster::default()
    });
    assert_eq!(lab.ask(&question), Err(Cause::BannedGuid));
    lab.settings.set_roster(Roster::default());
    assert_eq!(lab.ask(&question), Ok(()));
}

#[test]
fn a_table_holds_from_the_next_packet_on() {
    let mut lab = lab(1);
    let mut table = Table::default();
    table.rules[usize::from(FIRMWARE.number())] = Rule::DROP;
    lab.settings.set_table(table);
    assert_eq!(lab.ask(&discover(mac(1))), Err(Cause::Rule));
    table.rules[usize::from(FIRMWARE.number())] = Rule::limit(Rate::new(1, 3));
    lab.settings.set_table(table);
    assert_eq!(lab.hundred(mac(1)), 3);
    assert_eq!(lab.ask(&discover(mac(2))), Err(Cause::InterfaceRate));
    table.rules[usize::from(FIRMWARE.number())] = Rule::PASS;
    lab.settings.set_table(table);
    assert_eq!(lab.hundred(mac(1)), 100);
}

#[test]
fn what_the_parser_refuses_goes_on_to_it_and_is_counted() {
    let mut lab = lab(1);
    let mut ordinary = discover(mac(1));
    ordinary[245..254].copy_from_slice(b"MSFT 5.00");
    let (broken, short) = (Class::Malformed, &[1; 100]);
    for (packet, class) in [
        (&ordinary[..], Class::DhcpNotPxe),
        (&short[..], broken(bootstorm_ebpf_shared::Broken::Short)),
    ] {
        let rule = Table::default().rule(class).action();
        assert_eq!(rule, Action::Drop);
        assert_eq!(lab.ask(packet), Ok(()));
        assert_eq!(lab.packets(class, Cause::Rule), 1);
    }
}

#[test]
fn strangers_are_told_apart() {
    let mut lab = lab(1);
    lab.know(&[mac(1)]);
    let mut ordinary = discover(mac(2));
    ordinary[245..254].copy_from_slice(b"MSFT 5.00");
    let mut judge = |bytes: &[u8]| lab.gate.judge(Service::Dhcp, 1, bytes, lab.now);
    assert_eq!(judge(&discover(mac(1))), Ok(Passed::AtOnce));
    assert_eq!(judge(&discover(mac(2))), Ok(Passed::Stranger));
    assert_eq!(judge(&ordinary), Ok(Passed::AtOnce), "never answered");
}

#[test]
fn interfaces_have_rates_of_their_own_which_workers_share() {
    let settings = Arc::new(GateSettings::new(2));
    let mut table = Table::default();
    let tftp = usize::from(Class::TftpRequest.number());
    table.rules[tftp] = Rule::limit(Rate::new(10, 20));
    settings.set_table(table);
    let now = settings.origin();
    for worker in [0, 1] {
        let mut gate = Gate::new(&settings, worker);
        for interface in [1, 2] {
            let request = b"\0\x01pxelinux.0\0octet\0";
            let mut ask = || gate.judge(Service::Tftp, interface, request, now);
            assert_eq!((0..100).filter(|_| ask().is_ok()).count(), 10);
        }
    }
    let other = lab(1).gate.judge(Service::Tftp, 1, &[0, 4, 0, 1], now);
    assert_eq!(other, Ok(Passed::AtOnce));
}

#[test]
fn a_few_of_those_stopped_are_told() {
    let mut lab = lab(1);
    assert_eq!(lab.hundred(mac(1)), 16);
    let message = discover(mac(1));
    let mut told = |now| {
        let judged =
            (0..1000).filter_map(|_| lab.gate.judge(Service::Dhcp, 1, &message, now).err());
        judged.filter(|stopped| stopped.is_told).count()
    };
    // Ten at once, of which the first hundred messages took their share.
    assert_eq!(told(lab.now), 0);
    assert_eq!(told(lab.now + Duration::from_secs(1)), 10);
}

#[test]
fn requests_that_show_no_mac_pay_for_their_hardware_address() {
    let mut lab = lab(1);
    let mut facts = ClientFacts {
        guid: Some(bootstorm_proto::types::MachineGuid::from_wire([0x11; 16])),
        interface: 1,
        ..ClientFacts::new(
            HardwareAddress::new(32, 16, [7; 16]).unwrap(),
            Asker::Firmware,
            bootstorm_proto::types::ClientArch(0),
            std::net::IpAddr::from([10, 0, 0, 1]),
        )
    };
    let hundred = |lab: &mut Lab, facts: &ClientFacts| {
        let judged = (0..100).map(|_| lab.gate.judge_parsed(facts, lab.now));
        judged.filter(Result::is_ok).count()
    };
    assert_eq!(hundred(&mut lab, &facts), 16);
    facts.hardware = MacAddress::new(mac(1)).into();
    assert_eq!(hundred(&mut lab, &facts), 16);
    assert_eq!(lab.hundred(mac(1)), 16, "DHCP pays for itself");
    lab.settings.set_roster(Roster {
        banned_guids: vec![[0x11; 16]],
        ..Roster::default()
    });
    let stopped = lab.gate.judge_parsed(&facts, lab.now).unwrap_err();
    assert_eq!(stopped.cause, Cause::BannedGuid);
}

#[test]
fn every_reason_to_stop_a_packet_is_documented() {
    let reference = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/reasons.md"
    ));
    let rows = reference.lines().filter_map(|line| {
        let code = line.strip_prefix("| `")?.split('`').next()?;
        code.starts_with("classifier.").then_some(code)
    });
    let mut codes: Vec<_> = Cause::all().filter_map(Cause::code).collect();
    codes.sort_unstable();
    assert!(rows.eq(codes));
}
