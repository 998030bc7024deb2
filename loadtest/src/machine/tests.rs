use super::simulated::{BCD, Lab, Sent, Tftp, good, good_binl, good_offers, option, plan, server};
use super::*;
use crate::machine::profile::Profile;

fn noise(bytes: usize) -> Vec<u8> {
    let numbers = (0..bytes).map(|at| at.wrapping_mul(0x9e37_79b1) >> 8);
    numbers.map(|number| (number & 0xff) as u8).collect()
}

fn until(phase: Phase) -> Plan {
    Plan {
        until: phase,
        ..plan()
    }
}

fn run(profile: Profile, plan: Plan, behaviour: Behaviour) -> Lab {
    let program = noise(100_000);
    let files = [
        ("undionly.kpxe", &program[..]),
        ("snponly.efi", &program),
        ("boot.ipxe", b"#!ipxe\nexit 1\n"),
    ];
    Lab::new(profile, plan, behaviour, good(&files)).run()
}

#[test]
fn a_bios_loads_its_program_and_comes_back_as_ipxe() {
    let lab = run(Profile::Bios, until(Phase::Loader), Behaviour::default());
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.findings(), []);
    use Phase::{Assigned, Booted, Loader, Offered, Program};
    assert_eq!(lab.phases(), [Offered, Assigned, Program, Loader, Booted]);
    assert_eq!(
        lab.requests()[..2],
        [
            "undionly.kpxe octet tsize 0",
            "undionly.kpxe octet blksize 1456"
        ]
    );
    assert_eq!(
        lab.files(),
        [("tftp://10.99.0.2/undionly.kpxe".to_owned(), 100_000)]
    );
    // DISCOVER and REQUEST of either; nobody waits for anything.
    assert_eq!(lab.asked(), [(0, 1), (0, 3), (0, 1), (0, 3)]);
    assert_eq!(lab.machine.address(), Ipv4Addr::new(10, 99, 8, 8));
}

#[test]
fn uefi_asks_port_4011_and_fetches_in_windows() {
    let lab = run(Profile::Uefi, until(Phase::Loader), Behaviour::default());
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.findings(), []);
    assert_eq!(
        lab.requests()[..2],
        [
            "snponly.efi octet tsize 0 blksize 1468 windowsize 4",
            "snponly.efi octet blksize 1468 windowsize 4"
        ]
    );
    assert_eq!(lab.asked(), [(0, 1), (0, 3), (0, 3), (0, 1), (0, 3)]);
    let acks = lab.sent.iter().filter(
        |(_, sent)| matches!(sent, Sent::Datagram(_, _, bytes) if bytes.starts_with(&[0, 4])),
    );
    // 69 blocks in windows of four, and the OACK.
    assert_eq!(acks.count(), 19);
}

#[test]
fn firmware_of_real_patience_collects_offers_for_four_seconds() {
    let plan = Plan {
        timing: plan::Timing::Firmware,
        ..until(Phase::Loader)
    };
    let lab = run(Profile::Uefi, plan, Behaviour::default());
    // iPXE waits for nothing that it has.
    assert_eq!(lab.asked(), [(0, 1), (4, 3), (4, 3), (4, 1), (4, 3)]);
    assert_eq!(lab.findings(), []);
}

#[test]
fn windows_fetches_what_its_boot_store_names() {
    let (program, sdi, wim) = (noise(50_000), noise(30_000), noise(300_000));
    let files = [
        ("snponly.efi", &program[..]),
        (r"\boot\sealed\BCD", BCD),
        (r"\Boot\Fonts\wgl4_boot.ttf", &sdi),
        (r"\winpe.wim\boot.sdi", &sdi),
        (r"\winpe.wim", &wim),
    ];
    let binl = |request: &[u8]| Some(good_binl(request).with(252, b"\\boot\\sealed\\BCD\0"));
    let answer = server(good_offers, binl, Tftp::new(&files));
    let lab = Lab::new(Profile::WindowsTftp, plan(), Behaviour::default(), answer).run();
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.findings(), []);
    let files: Vec<String> = lab.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let requests = lab.requests();
    let of = |line: &str| requests.iter().position(|request| request == line);
    let order = [
        r"\boot\sealed\BCD octet tsize 0 blksize 1456 windowsize 4",
        r"\Boot\Fonts\wgl4_boot.ttf octet tsize 0 blksize 1456 windowsize 4",
        r"\winpe.wim\boot.sdi octet tsize 0 blksize 1456 windowsize 16",
        r"\winpe.wim octet tsize 0 blksize 1456 windowsize 16",
    ];
    let order = order.map(|line| of(line).unwrap_or_else(|| panic!("{line}: {requests:#?}")));
    assert!(order.is_sorted());
    use Phase::{Assigned, Booted, Kernel, Offered, Program, Script};
    let phases = [Offered, Assigned, Program, Script, Kernel, Booted];
    assert_eq!(lab.phases(), phases);
}

fn troubled(trouble: Trouble, until: Phase) -> Lab {
    let behaviour = Behaviour {
        trouble,
        pause: Duration::from_secs(30),
        after: 50_000,
    };
    let plan = Plan { until, ..plan() };
    run(Profile::Uefi, plan, behaviour)
}

#[test]
fn a_machine_whose_power_is_cut_boots_from_the_start() {
    let lab = troubled(Trouble::Reset, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Booted);
    assert!(lab.others.contains(&Output::PowerOff));
    let begun: Vec<u64> = lab
        .events
        .iter()
        .filter(|(_, event)| *event == Event::PoweredOn)
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(begun, [0, 30]);
    let offered = lab
        .phases()
        .iter()
        .filter(|p| **p == Phase::Offered)
        .count();
    assert_eq!((offered, lab.files().len()), (2, 1));
    // Another exchange has another transaction.
    let xids: Vec<Vec<u8>> = discovers(&lab).map(|bytes| bytes[4..8].to_vec()).collect();
    assert_eq!(xids.len(), 2);
    assert!(xids[0] != xids[1] && xids[0][..3] == xids[1][..3]);
}

fn discovers(lab: &Lab) -> impl Iterator<Item = &Vec<u8>> {
    lab.sent.iter().filter_map(|(_, sent)| match sent {
        Sent::Broadcast(bytes) if option(bytes, 53) == Some(vec![1]) => Some(bytes),
        _ => None,
    })
}

#[test]
fn a_machine_that_comes_back_ends_once() {
    let lab = troubled(Trouble::ComeBack, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Booted);
    assert_eq!(lab.files().len(), 2);
}

#[test]
fn a_machine_that_vanishes_is_gone() {
    let lab = troubled(Trouble::Vanish, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Left);
    assert!(lab.others.contains(&Output::PowerOff));
    assert!(lab.files().is_empty());
}

#[test]
fn a_machine_that_stands_still_goes_on_where_it_was() {
    let lab = troubled(Trouble::Stall, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.others, [Output::Pause, Output::Resume]);
    assert_eq!(lab.files().len(), 1);
    let (at, _) = lab.events.last().unwrap();
    // What it was sent meanwhile is lost; its own time-out brings it back.
    assert!((30..35).contains(&at.as_secs()), "{at:?}");
}

#[test]
fn what_is_sent_twice_is_no_finding() {
    let lab = troubled(Trouble::Retry, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!((lab.findings(), lab.files().len()), (Vec::new(), 1));
    assert_eq!(discovers(&lab).count(), 2);
}

#[test]
fn rubbish_goes_before_what_is_real() {
    let lab = troubled(Trouble::Rubbish, Phase::Program);
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!((lab.findings(), lab.files().len()), (Vec::new(), 1));
    let broken = lab.sent.iter().filter(|(_, sent)| match sent {
        Sent::Broadcast(bytes) => option_list_is_broken(bytes),
        Sent::Datagram(_, to, bytes) if to.port() == 4011 => option_list_is_broken(bytes),
        Sent::Datagram(..) => false,
    });
    assert_eq!(broken.count(), 3);
}

fn option_list_is_broken(bytes: &[u8]) -> bool {
    bytes.get(236..240) != Some(&[99, 130, 83, 99]) || {
        let mut rest = &bytes[240..];
        loop {
            match rest {
                [255, ..] => break false,
                [_, length, tail @ ..] if tail.len() >= usize::from(*length) => {
                    rest = &tail[usize::from(*length)..];
                }
                _ => break true,
            }
        }
    }
}

#[test]
fn broken_http_has_a_connection_of_its_own() {
    let mut nuisance = Nuisance::of(Trouble::Rubbish).unwrap();
    let connect = Output::Connect("10.99.0.2:80".parse().unwrap(), None);
    let (now, mut out) = (Instant::now(), Vec::new());
    nuisance.adds(vec![connect.clone()], &mut out);
    assert!(nuisance.holds());
    assert!(nuisance.takes(Input::Connected { resumed: false }, now, &mut out));
    assert!(nuisance.takes(Input::Stream(b"HTTP/1.1 400"), now, &mut out));
    assert!(nuisance.takes(Input::Timeout, now, &mut out), "too early");
    assert!(nuisance.takes(Input::Timeout, nuisance.deadline().unwrap(), &mut out));
    assert!(!nuisance.holds());
    assert!(!nuisance.takes(Input::Connected { resumed: false }, now, &mut out));
    nuisance.adds(vec![connect.clone()], &mut out);
    let [first, Output::Write(_), Output::Disconnect, second, third] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!([first, second, third], [&connect; 3]);
}

#[test]
fn patience_ends_a_boot() {
    let silent: simulated::Answer = Box::new(|sent, _| match sent {
        Sent::Broadcast(request) => good_offers(request),
        Sent::Datagram(..) => Vec::new(),
    });
    let plan = Plan {
        patience: Duration::from_secs(5),
        ..plan()
    };
    let lab = Lab::new(Profile::Bios, plan, Behaviour::default(), silent).run();
    assert_eq!(lab.failure(), Code::TimedOut);
    assert_eq!(lab.events.last().unwrap().0.as_secs(), 5);
}

#[test]
fn firmware_that_tries_again_begins_from_the_start() {
    let program = noise(20_000);
    let mut tftp = Tftp::new(&[("snponly.efi", &program)]);
    // Away for the first boot, as a server that is killed.
    let answer: simulated::Answer = Box::new(move |sent, now| match sent {
        Sent::Broadcast(request) => good_offers(request),
        Sent::Datagram(socket, to, request) if to.port() == 4011 => {
            let reply = good_binl(request);
            vec![simulated::Packet::Datagram(
                *socket,
                reply.from,
                reply.bytes(request),
            )]
        }
        Sent::Datagram(..) if now < Duration::from_secs(29) => Vec::new(),
        Sent::Datagram(socket, to, packet) => tftp.answer(*socket, *to, packet, now),
    });
    let plan = Plan {
        tries: 2,
        ..until(Phase::Program)
    };
    let lab = Lab::new(Profile::Uefi, plan, Behaviour::default(), answer).run();
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.findings(), [Code::TftpSilent]);
    let begun = lab.events.iter();
    let begun = begun.filter(|(_, event)| *event == Event::PoweredOn);
    assert_eq!((begun.count(), lab.files().len()), (2, 1));
    assert!(lab.others.contains(&Output::PowerOff));
}

/// What one of ten thousand machines costs beside its sockets and its trace.
#[test]
fn a_machine_is_small() {
    let machine = size_of::<Machine>();
    let largest = size_of::<dhcp::Exchange>()
        .max(size_of::<tftp::Transfer>())
        .max(size_of::<windows::Boot>());
    assert!(machine <= 512, "{machine}");
    assert!(largest <= 1024, "{largest}");
}
