//! Nanoseconds that the classifier takes for a packet in this kernel, by `BPF_PROG_TEST_RUN`.
//! Takes root. `cargo bench -p bootstorm-kernel-tests`

#[path = "../../fixtures/load.rs"]
mod fixtures;
#[path = "../../fixtures/frames.rs"]
mod frames;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use bootstorm_ebpf_shared::{Action, Cause, DHCP_MAX, Rate, Rule, Table, inspect};
use bootstorm_kernel_tests::Program;
use frames::Envelope;

/// Runs of which the kernel gives the average.
const REPEAT: u32 = 1_000_000;
/// The best of so many rounds is shown: other work on the machine only adds.
const ROUNDS: usize = 5;
/// What was promised for a DISCOVER of 390 bytes, and for a frame that is not ours.
const DISCOVER_NS: u32 = 400;
const NOT_OURS_NS: u32 = 100;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    cause: Cause,
    limit: Option<u32>,
}

fn main() -> Result<()> {
    let mut program = Program::load().context("the classifier cannot be loaded; are you root?")?;
    program.add_own(HERE.to_ipv6_mapped().to_bits())?;
    program.add_known(&KNOWN)?;
    let discover = discover()?;
    println!("{:36} {:>6} {:>6}  limit", "", "best", "median");
    let mut broken = 0;
    let cases = [dhcp(&discover), others(&discover), worst(&discover)];
    for case in cases.iter().flatten() {
        let (best, median) = measure(&mut program, case)?;
        let limit = case.limit.map_or(String::new(), |limit| limit.to_string());
        let is_broken = case.limit.is_some_and(|limit| best > limit);
        broken += usize::from(is_broken);
        let word = if is_broken { "  BROKEN" } else { "" };
        println!("{:36} {best:>6} {median:>6}  {limit}{word}", case.name);
    }
    anyhow::ensure!(broken == 0, "{broken} limits are broken");
    Ok(())
}

/// What machines send.
fn dhcp(discover: &[u8]) -> Vec<Case> {
    let of = |mac: &[u8]| [&discover[..28], mac, &discover[34..]].concat();
    let case = |name, message: &[u8], cause| Case {
        name,
        frame: Envelope::broadcast(67).udp(message),
        cause,
        limit: Some(DISCOVER_NS),
    };
    vec![
        case("DISCOVER, 390 bytes", discover, Cause::Passed),
        case("of a known machine", &of(&KNOWN), Cause::PassedKnown),
        case(
            "above its machine's rate",
            &of(&[2, 0, 0, 0, 0, 3]),
            Cause::MachineRate,
        ),
    ]
}

/// What this host gets besides.
fn others(discover: &[u8]) -> Vec<Case> {
    let case = |name, frame, limit| Case {
        name,
        frame,
        cause: Cause::Passed,
        limit,
    };
    let tagged = Envelope {
        tags: vec![0x88a8, 0x8100],
        ..Envelope::to(here(53))
    };
    let elsewhere = Envelope::to((Ipv4Addr::new(192, 0, 2, 9), 67).into());
    let limit = Some(NOT_OURS_NS);
    vec![
        case("ARP", vec![0; 60], limit),
        case(
            "TCP to another port, 1514 bytes",
            Envelope::to(here(443)).frame(6, &[0x10; 1480]),
            limit,
        ),
        case(
            "UDP to another port, two VLAN tags",
            tagged.udp(&[0; 40]),
            limit,
        ),
        case("DHCP to another host", elsewhere.udp(discover), limit),
        case(
            "TFTP ACK",
            Envelope::to(here(64_001)).udp(&[0, 4, 0, 1]),
            None,
        ),
    ]
}

/// The longest message that is looked at, its options made of what takes the most steps.
fn worst(discover: &[u8]) -> Vec<Case> {
    let case = |name, pattern: &[u8]| {
        let mut message = discover[..240].to_vec();
        message.extend(pattern.iter().cycle().take(DHCP_MAX - 240));
        Case {
            name,
            frame: Envelope::broadcast(67).udp(&message),
            cause: Cause::Rule,
            limit: None,
        }
    };
    vec![
        case("1,940 bytes of padding", &[0]),
        case(
            "with an empty option now and then",
            &[0, 0, 0, 0, 0, 0, 0, 1, 0],
        ),
        case("of empty options", &[61, 0]),
    ]
}

fn measure(program: &mut Program, case: &Case) -> Result<(u32, u32)> {
    // So generous that buckets are paid into and never empty.
    let mut table = Table::default();
    let generous = Rate {
        every: 1,
        ahead: u64::MAX / 2,
    };
    table.settings.limits.known = generous;
    if case.cause != Cause::MachineRate {
        table.settings.limits.machine = generous;
    }
    for rule in &mut table.rules {
        if matches!(rule.action(), Action::Limit(_)) {
            *rule = Rule::limit(generous);
        }
    }
    program.set_table(&table)?;
    for _ in 0..100 {
        program.run(&case.frame)?;
    }
    let verdict = program.run(&case.frame)?;
    anyhow::ensure!(verdict.cause == case.cause, "{}: {verdict:?}", case.name);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(program.repeat(&case.frame, REPEAT)?.1);
        program.samples()?;
    }
    program.forget()?;
    times.sort_unstable();
    Ok((times[0], times[ROUNDS / 2]))
}

/// A real one, padded until its frame has 390 bytes.
fn discover() -> Result<Vec<u8>> {
    let all = fixtures::all("dhcp-discover");
    let is_uefi = |bytes: &[u8]| inspect(bytes, 67).0.name() == "firmware-x64";
    let found = all.into_iter().find(|fixture| is_uefi(&fixture.bytes));
    let mut bytes = found.context("no DISCOVER of UEFI firmware")?.bytes;
    bytes.resize(390 - 42, 0);
    Ok(bytes)
}

fn here(port: u16) -> SocketAddr {
    (HERE, port).into()
}

const KNOWN: [u8; 6] = [2, 0, 0, 0, 0, 2];
