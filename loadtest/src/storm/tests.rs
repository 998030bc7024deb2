//! Whole storms against a small server on loopback.

mod server;

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::finding::Code;
use crate::machine::behaviour::Trouble;
use crate::machine::body::copies::Copies;
use crate::machine::event::Phase;
use crate::machine::plan::{Expected, Leases, Network, Ports, Timing, Verify};
use crate::machine::profile::Profile;
use crate::report::{About, End};
use server::{HOST, Served, Server};

const RELAYS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(127, 77, 255, 1),
    Ipv4Addr::new(127, 77, 255, 2),
];

const SCRIPT: &[u8] = b"#!ipxe\nkernel kernel\ninitrd initrd\nboot\n";

fn noise(bytes: usize) -> Vec<u8> {
    let numbers = (0..bytes).map(|at| at.wrapping_mul(0x9e37_79b1) >> 8);
    numbers.map(|number| (number & 0xff) as u8).collect()
}

/// A kernel and an initrd, and the programs that load them.
fn served() -> Served {
    let (program, kernel, initrd) = (noise(50_000), noise(400_000), noise(1_000_000));
    Served::files(&[
        ("undionly.kpxe", &program),
        ("snponly.efi", &program),
        ("boot.ipxe", SCRIPT),
        ("kernel", &kernel),
        ("initrd", &initrd),
    ])
}

fn setup(server: &Server, profiles: &[Profile], machines: u32) -> Setup {
    let plan = Plan {
        server: HOST,
        ports: Ports {
            dhcp: server.dhcp.port(),
            pxe: server.pxe,
            tftp: server.tftp,
        },
        leases: Leases::Harness(Network {
            base: Ipv4Addr::new(127, 77, 0, 0),
            bits: 20,
        }),
        timing: Timing::Prompt,
        until: Phase::Booted,
        tries: 1,
        patience: Duration::from_secs(60),
        verify: Verify::Sha256,
        expected: Vec::new(),
        copies: Copies::default(),
        hosts: BTreeMap::new(),
        keep_alive: true,
        reports: false,
    };
    let start = |index| Start {
        at: Duration::from_millis(u64::from(index)),
        identity: Identity::new(index, profiles[index as usize % profiles.len()]),
        behaviour: Behaviour::default(),
    };
    Setup {
        starts: (0..machines).map(start).collect(),
        plan: Arc::new(plan),
        link: Link::Relayed {
            relays: RELAYS.to_vec(),
            servers: vec![server.dhcp],
        },
        tls: TlsSetup::default(),
        stop: StopRules::default(),
        server: None,
        ports: OwnPorts {
            relay: 0,
            pxe: 0,
            binl: 0,
        },
    }
}

fn plan(setup: &mut Setup) -> &mut Plan {
    Arc::get_mut(&mut setup.plan).unwrap()
}

/// Looks on until it has seen enough.
struct Until<F>(F);

impl<F: FnMut(&Snapshot) -> bool> Watcher for Until<F> {
    fn see(&mut self, snapshot: &Snapshot) -> bool {
        (self.0)(snapshot)
    }
}

fn play(setup: Setup) -> anyhow::Result<Report> {
    play_while(setup, |_| true)
}

fn play_while(setup: Setup, go_on: impl FnMut(&Snapshot) -> bool) -> anyhow::Result<Report> {
    let about = About {
        machines: u32::try_from(setup.starts.len()).unwrap(),
        ..About::default()
    };
    let books = Books::new(about, Instant::now());
    run(setup, books, &mut Until(go_on), &AtomicBool::new(false))
}

fn codes(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|found| &*found.code).collect()
}

#[test]
fn machines_behind_relays_boot_by_tftp_and_http() {
    let server = served().start();
    let profiles = [Profile::Bios, Profile::Uefi, Profile::IpxeHttp];
    let mut setup = setup(&server, &profiles, 30);
    setup.server = Some(ServerProcess::new(std::process::id()));
    let report = play(setup).unwrap();
    assert_eq!(report.end, End::AllThrough);
    assert_eq!(report.all.machines.booted, 30, "{report:#?}");
    let [program, rest] = [50_000, 400_000 + 1_000_000 + SCRIPT.len() as u64];
    assert_eq!(report.bytes_by_transport.tftp, 20 * program);
    assert_eq!(report.bytes_by_transport.http, 30 * rest);
    assert!(report.cpu.server_s.is_some());

    let requests = server.requests.lock().unwrap();
    for request in requests.iter() {
        let machine = Identity::index_of(request[28..34].try_into().unwrap()).unwrap();
        let relay = RELAYS[machine as usize % RELAYS.len()];
        assert_eq!(request[3], 1, "hops");
        assert_eq!(request[24..28], relay.octets());
        let port = format!("port-{machine}");
        let agent = [&[1, port.len() as u8][..], port.as_bytes()].concat();
        assert_eq!(crate::machine::simulated::option(request, 82), Some(agent));
    }
}

#[test]
fn later_connections_of_a_boot_resume_its_session() {
    let (config, ca) = super::stream::tests::secure();
    let server = Served {
        tls: Some(config),
        ..served()
    }
    .start();
    for resume in [true, false] {
        let mut setup = setup(&server, &[Profile::IpxeHttps], 6);
        setup.tls.ca = Some(ca.path().to_owned());
        setup.tls.resume = resume;
        Arc::make_mut(&mut setup.plan).keep_alive = false;
        // Each boots a second time, and knows of no session then.
        for start in &mut setup.starts {
            start.behaviour.trouble = Trouble::ComeBack;
        }
        let report = play(setup).unwrap();
        assert_eq!(report.all.machines.booted, 6, "{report:#?}");
        assert_eq!(report.all.machines.restarts, 6);
        let handshakes = report.handshakes;
        if resume {
            assert_eq!(handshakes.full, 12);
            assert_eq!(handshakes.resumed, 24);
        } else {
            assert_eq!(handshakes.resumed, 0);
            assert_eq!(handshakes.full, 36);
        }
    }
}

#[test]
fn without_a_ca_machines_fail_by_name() {
    let (config, _) = super::stream::tests::secure();
    let server = Served {
        tls: Some(config),
        ..served()
    }
    .start();
    let report = play(setup(&server, &[Profile::IpxeHttps], 1)).unwrap();
    assert_eq!(report.all.machines.failed, 1);
    let evidence = format!("{:?}{:?}", report.failures, report.findings);
    assert!(evidence.contains("names no CA"), "{evidence}");
}

#[test]
fn machines_with_troubles_come_through_or_leave() {
    let server = served().start();
    let troubles = [
        Trouble::Stall,
        Trouble::Reset,
        Trouble::Vanish,
        Trouble::Retry,
        Trouble::Rubbish,
        Trouble::ComeBack,
    ];
    let mut setup = setup(&server, &[Profile::IpxeHttp], 12);
    for (start, trouble) in setup.starts.iter_mut().zip(troubles.into_iter().cycle()) {
        start.behaviour = Behaviour {
            trouble,
            pause: Duration::from_millis(50),
            after: 500_000,
        };
    }
    let report = play(setup).unwrap();
    assert_eq!(report.end, End::AllThrough);
    let machines = report.all.machines;
    assert_eq!((machines.booted, machines.left), (10, 2), "{report:#?}");
    assert_eq!(machines.restarts, 4);
}

#[test]
fn every_machine_s_image_is_verified_by_the_sha_256_of_a_few() {
    let image = noise(1_000_000);
    let server = served().start();
    let mut setup = setup(&server, &[Profile::IpxeHttp], 12);
    plan(&mut setup).expected.push(Expected {
        name: "/initrd".to_owned(),
        sha256: Sha256::digest(&image).into(),
    });
    // The first ones compute it, and the others are through before them.
    for start in &mut setup.starts[..2] {
        start.behaviour = Behaviour {
            trouble: Trouble::Stall,
            pause: Duration::from_millis(300),
            after: 500_000,
        };
    }
    let report = play(setup).unwrap();
    assert_eq!(report.all.machines.booted, 12, "{report:#?}");
    assert_eq!(codes(&report), [] as [&str; 0]);
    let files = report.files;
    assert_eq!(
        (files.count, files.verified, files.unverified),
        (36, 12, 24)
    );
    let sha256 = hex::encode(Sha256::digest(&image));
    assert_eq!(files.largest[0].sha256, Some(sha256));
}

#[test]
fn rules_end_a_storm_that_nobody_answers() {
    let (silent, at) = server::datagrams();
    let server = Server {
        dhcp: at,
        ..served().start()
    };
    let mut stopped = setup(&server, &[Profile::Bios], 5);
    stopped.stop.after = Some(Duration::from_millis(300));
    let report = play(stopped).unwrap();
    assert_eq!(report.end, End::TimeUp);
    assert_eq!(report.all.machines.under_way, 5);

    let mut failing = setup(&server, &[Profile::Bios], 5);
    plan(&mut failing).patience = Duration::from_millis(100);
    for start in &mut failing.starts[2..] {
        start.at = Duration::from_secs(600);
    }
    failing.stop.failures = Some(2);
    let report = play(failing).unwrap();
    assert_eq!(report.end, End::Failures);
    assert_eq!(report.all.machines.failed, 2);
    assert_eq!(report.all.machines.started, 2);

    let mut looks = 0;
    let waiting = setup(&server, &[Profile::Bios], 5);
    let report = play_while(waiting, |_| {
        looks += 1;
        looks < 3
    });
    assert_eq!(report.unwrap().end, End::Interrupted);

    let stop = AtomicBool::new(true);
    let books = Books::new(About::default(), Instant::now());
    let waiting = setup(&server, &[Profile::Bios], 5);
    let report = run(waiting, books, &mut Until(|_: &Snapshot| true), &stop);
    assert_eq!(report.unwrap().end, End::Interrupted);
    drop(silent);
}

#[test]
fn replies_for_other_machines_are_counted_and_no_more() {
    let server = Served {
        also: Some(Identity::new(5_000, Profile::Bios).mac.bytes()),
        ..served()
    }
    .start();
    let report = play(setup(&server, &[Profile::IpxeHttp], 3)).unwrap();
    assert_eq!(report.all.machines.booted, 3, "{report:#?}");
    assert_eq!(codes(&report), [Code::HarnessForeign.name()]);
}

#[test]
fn what_this_host_cannot_do_is_told_before_anything_is_sent() {
    let server = served().start();
    let told = |change: &dyn Fn(&mut Setup)| {
        let mut setup = setup(&server, &[Profile::Bios], 2);
        change(&mut setup);
        format!("{:#}", play(setup).unwrap_err())
    };
    let elsewhere = Network {
        base: Ipv4Addr::new(192, 0, 2, 0),
        bits: 24,
    };
    let text = told(&|setup| plan(setup).leases = Leases::Harness(elsewhere));
    assert!(
        text.contains("192.0.2.1 is no address of this host"),
        "{text}"
    );
    let small = Network {
        base: Ipv4Addr::new(127, 77, 0, 0),
        bits: 31,
    };
    let text = told(&|setup| plan(setup).leases = Leases::Server(small));
    assert!(text.contains("too small"), "{text}");
    let text = told(&|setup| setup.tls.ca = Some("/no/such/ca.pem".into()));
    assert!(text.contains("/no/such/ca.pem"), "{text}");
    let text = told(&|setup| {
        setup.link = Link::Relayed {
            relays: vec![Ipv4Addr::new(192, 0, 2, 77)],
            servers: vec![server.dhcp],
        };
    });
    assert!(text.contains("192.0.2.77"), "{text}");
    assert!(server.requests.lock().unwrap().is_empty());
}
