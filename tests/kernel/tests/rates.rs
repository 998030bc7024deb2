//! Rates, bans and samples as the kernel enforces them.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

#[path = "../../fixtures/load.rs"]
mod fixtures;
#[path = "../../fixtures/frames.rs"]
mod frames;

use bootstorm_ebpf_shared::{Cause, Class, Family, Rate, Rule, Table, counter};
use bootstorm_kernel_tests::{Program, Verdict};
use frames::Envelope;

const X64: Class = Class::Firmware(Family::X64);

/// One a hundred seconds: nothing comes back while a test runs.
fn burst(packets: u64) -> Rate {
    let every = 100_000_000_000;
    Rate {
        every,
        ahead: every * packets,
    }
}

/// The DISCOVER of a machine, through a relay or not.
fn discover(mac: [u8; 6], relay: [u8; 4]) -> Vec<u8> {
    let all = fixtures::all("dhcp-discover");
    let is_firmware = |bytes: &[u8]| bootstorm_ebpf_shared::classify(bytes, 67) == X64;
    let mut bytes = all
        .into_iter()
        .find(|fixture| is_firmware(&fixture.bytes))
        .unwrap()
        .bytes;
    bytes[28..34].copy_from_slice(&mac);
    bytes[24..28].copy_from_slice(&relay);
    Envelope::broadcast(67).udp(&bytes)
}

fn machine(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0, a, b, c, d]
}

fn cause(program: &mut Program, frame: &[u8]) -> Cause {
    let Verdict { class, cause } = program.run(frame).unwrap();
    assert_eq!(class, X64);
    cause
}

fn table(change: impl FnOnce(&mut Table)) -> Table {
    let mut table = Table::default();
    table.settings.limits.machine = burst(3);
    table.settings.limits.known = burst(5);
    change(&mut table);
    table
}

fn passed(program: &mut Program, frame: &[u8], tries: usize) -> usize {
    let causes = (0..tries).map(|_| cause(program, frame));
    causes.filter(|cause| !cause.drops()).count()
}

#[test]
fn a_machine_gets_its_burst_and_a_known_one_its_own() {
    let mut program = Program::load().unwrap();
    program.set_table(&table(|_| ())).unwrap();
    program.add_known(&machine(1)).unwrap();
    let (known, other) = (discover(machine(1), [0; 4]), discover(machine(2), [0; 4]));
    assert_eq!(passed(&mut program, &other, 10), 3);
    assert_eq!(cause(&mut program, &other), Cause::MachineRate);
    assert_eq!(passed(&mut program, &known, 10), 5);
    assert_eq!(cause(&mut program, &known), Cause::KnownRate);
    let bucket = program.machine_bucket(&machine(2)).unwrap().unwrap();
    assert_eq!(bucket.refused, 8);
    assert_eq!(program.machine_bucket(&machine(1)).unwrap(), None);
}

#[test]
fn a_relay_has_a_rate_of_its_own() {
    let mut program = Program::load().unwrap();
    let table = table(|table| table.settings.limits.relay = burst(4));
    program.set_table(&table).unwrap();
    let causes: Vec<_> = (0..6)
        .map(|number| cause(&mut program, &discover(machine(number), [10, 0, 0, 1])))
        .collect();
    assert_eq!(causes[..4], [Cause::Passed; 4]);
    assert_eq!(causes[4..], [Cause::RelayRate; 2]);
    let other = discover(machine(9), [10, 0, 0, 2]);
    assert_eq!(cause(&mut program, &other), Cause::Passed);
}

#[test]
fn a_hundred_thousand_spoofed_machines_change_nothing_for_known_ones() {
    let mut program = Program::load().unwrap();
    let limit = Rule::limit(burst(1000));
    let table = table(|table| table.rules[usize::from(X64.number())] = limit);
    program.set_table(&table).unwrap();
    program.add_known(&machine(u32::MAX)).unwrap();
    let mut frame = discover(machine(0), [0; 4]);
    for number in 0..100_000_u32 {
        frame[70..76].copy_from_slice(&machine(number));
        program.repeat(&frame, 1).unwrap();
    }
    let counts = program.counts().unwrap();
    let of = |cause| counts[counter(X64, cause) as usize].packets;
    assert_eq!(of(Cause::Passed), 1000);
    assert_eq!(of(Cause::InterfaceRate), 99_000);
    program.forget().unwrap();
    let known = discover(machine(u32::MAX), [0; 4]);
    assert_eq!(cause(&mut program, &known), Cause::PassedKnown);
}

#[test]
fn bans_and_the_table_change_at_once() {
    let mut program = Program::load().unwrap();
    let frame = discover(machine(1), [0; 4]);
    assert_eq!(cause(&mut program, &frame), Cause::Passed);
    program.ban_mac(&machine(1)).unwrap();
    assert_eq!(cause(&mut program, &frame), Cause::BannedMac);
    program.pardon_mac(&machine(1)).unwrap();
    assert_eq!(cause(&mut program, &frame), Cause::Passed);
    let drop = table(|table| table.rules[usize::from(X64.number())] = Rule::DROP);
    program.set_table(&drop).unwrap();
    assert_eq!(cause(&mut program, &frame), Cause::Rule);
    program.set_table(&Table::default()).unwrap();
    assert_eq!(cause(&mut program, &frame), Cause::Passed);
}

#[test]
fn dropped_packets_are_sampled_within_their_rate() {
    let mut program = Program::load().unwrap();
    let table = table(|table| table.settings.limits.samples = burst(4));
    program.set_table(&table).unwrap();
    let frame = discover(machine(7), [0; 4]);
    assert_eq!(passed(&mut program, &frame, 50), 3);
    let samples = program.samples().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in samples {
        assert_eq!(sample.mac, machine(7));
        assert_eq!(Class::of(sample.class), Some(X64));
        assert_eq!(Cause::of(sample.cause), Some(Cause::MachineRate));
        assert_eq!(usize::from(sample.length), frame.len());
        assert_eq!(sample.head[..usize::from(sample.captured)], frame[..128]);
        assert!(sample.at > 0 && sample.interface > 0);
    }
}
