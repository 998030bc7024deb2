//! Machines that nobody knows, beside one that is known.

use bootstorm_ebpf_shared::{Rate, Rule, Table};

use super::*;
use crate::driver::Arrival;
use crate::gate::Roster;
use crate::limits;

const KNOWN: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// What BIOS firmware asks the boot server.
fn request(mac: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
    packet[28..34].copy_from_slice(&mac);
    packet.extend([99, 130, 83, 99, 53, 1, 3, 60, 9]);
    packet.extend(b"PXEClient");
    packet.push(255);
    packet
}

/// A worker that was asked, in one turn, by so many made-up machines and then by the known one.
fn crowded(strangers: u32) -> Lab {
    let mut lab = lab(21, CALM, 10, None);
    let mut table = Table::default();
    table.rules.fill(Rule::limit(Rate::UNLIMITED));
    lab.gate.set_table(table);
    lab.gate.set_roster(Roster {
        known: vec![KNOWN],
        ..Roster::default()
    });
    let made_up = (0..strangers).map(|number| {
        let [a, b, c, d] = number.to_be_bytes();
        [2, 0, a, b, c, d]
    });
    let now = lab.now();
    let (socket, _) = lab.worker.roles[1];
    let arrival = Arrival {
        source: host(9, 68),
        local: host(1, 4011).ip(),
        interface: 1,
        broadcast: false,
    };
    for mac in made_up.chain([KNOWN]) {
        lab.worker.scratch = request(mac);
        lab.worker.datagram(socket, arrival, now);
    }
    while !lab.worker.strangers.is_empty() {
        assert_eq!(lab.worker.next_timeout(), Some(lab.now()), "no sleep");
        lab.worker.turn().unwrap();
    }
    lab
}

fn answered(lab: &Lab) -> Vec<[u8; 6]> {
    let answered = lab.events.try_iter().filter_map(|event| {
        let answered = matches!(event.what, What::Answered { .. });
        event.mac.filter(|_| answered)
    });
    answered.map(|mac| mac.bytes()).collect()
}

#[test]
fn a_known_machine_is_answered_before_those_that_asked_earlier() {
    let lab = crowded(100);
    let answered = answered(&lab);
    assert_eq!(answered.len(), 101);
    assert_eq!(answered[0], KNOWN);
    assert!(answered[1..].is_sorted(), "in order of arrival");
}

#[test]
fn a_crowd_of_strangers_takes_no_more_memory_than_it_may() {
    let lab = crowded(limits::STRANGERS as u32 + 1000);
    let answered = answered(&lab);
    assert_eq!(answered[0], KNOWN);
    assert_eq!(answered.len(), limits::STRANGERS + 1);
    let busy = "bootstorm_dhcp_ignored_total{reason=\"dhcp.busy\"} 1000";
    let metrics = lab.metrics.encode();
    assert!(metrics.lines().any(|line| line == busy), "{metrics}");
}
