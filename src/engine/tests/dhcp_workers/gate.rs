//! The classifier in user space, from the wire to the counters.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use bootstorm_ebpf_shared::{Cause, Class, Family, Rate, Table, counter};
use bootstorm_engine::gate::Roster;
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::What;

use crate::lab::{DRIVERS, Lab, PATIENCE, client, mac, message};

/// In nanoseconds.
const HOUR: u64 = 3_600_000_000_000;
const FIRMWARE: Class = Class::Firmware(Family::Bios);

/// Sends so many requests, of which these many and no more have to be answered.
fn asks(lab: &Lab, client: &UdpSocket, machine: MacAddress, requests: u64, wanted: usize) {
    let request = message(3, machine);
    let judged = || -> u64 { Cause::all().map(|cause| packets(lab, cause)).sum() };
    let all = judged() + requests;
    for _ in 0..requests {
        let to = (Ipv4Addr::LOCALHOST, lab.pxe);
        client.send_to(&request, to).unwrap();
    }
    let end = Instant::now() + PATIENCE;
    while judged() < all && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(judged(), all);
    let answered = |patience: Duration| {
        client.set_read_timeout(Some(patience)).unwrap();
        client.recv(&mut [0; 1500]).is_ok()
    };
    for number in 0..wanted {
        assert!(answered(PATIENCE), "{number} of {wanted} to {machine}");
    }
    assert!(!answered(Duration::from_millis(100)), "{machine}");
}

fn packets(lab: &Lab, cause: Cause) -> u64 {
    lab.engine.gate().counts()[counter(FIRMWARE, cause) as usize].packets
}

#[test]
fn a_machine_in_a_loop_is_stopped_and_a_known_one_goes_on() {
    for driver in DRIVERS {
        let lab = Lab::start(driver, 3);
        let gate = lab.engine.gate();
        // So slow that nothing comes back while the test runs.
        let mut table = Table::default();
        let slow = |burst: u64| Rate {
            every: HOUR,
            ahead: burst * HOUR,
        };
        table.settings.limits.machine = slow(16);
        table.settings.limits.known = slow(64);
        gate.set_table(table);
        let [wild, known, banned] = [1, 2, 3].map(mac);
        gate.set_roster(Roster {
            known: vec![known.bytes()],
            banned_macs: vec![banned.bytes()],
            ..Roster::default()
        });
        let client = client();
        asks(&lab, &client, wild, 100, 16);
        asks(&lab, &client, known, 100, 64);
        asks(&lab, &client, banned, 100, 0);
        assert_eq!(packets(&lab, Cause::Passed), 16);
        assert_eq!(packets(&lab, Cause::MachineRate), 84);
        assert_eq!(packets(&lab, Cause::PassedKnown), 64);
        assert_eq!(packets(&lab, Cause::KnownRate), 36);
        assert_eq!(packets(&lab, Cause::BannedMac), 100);
        let refused = [wild, known, banned].map(|mac| gate.refused(&mac.bytes()));
        assert_eq!(refused, [84, 36, 0]);

        let told: Vec<_> = lab.events.try_iter().collect();
        for (machine, code) in [
            (wild, "classifier.machine-rate"),
            (known, "classifier.known-rate"),
            (banned, "classifier.banned-mac"),
        ] {
            let silent = told.iter().filter(|event| {
                event.mac == Some(machine)
                    && matches!(&event.what, What::Silent { reason } if reason.code == code)
            });
            // Ten for all workers, of which a machine has one.
            assert!((1..=10).contains(&silent.count()), "{driver:?}: {code}");
        }
        gate.set_roster(Roster::default());
        // Banned no more.
        asks(&lab, &client, banned, 1, 1);
    }
}
