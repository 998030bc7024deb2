use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::*;
use crate::machine::behaviour::Behaviour;
use crate::machine::event::{Outcome, Phase};
use crate::machine::plan::Plan;
use crate::machine::profile::Profile;
use crate::machine::simulated::{
    Answer, Lab, Packet, SERVER, Sent, Tftp, good_binl, good_offers, plan, server,
};

const FILE: usize = 20_000;

fn files() -> Tftp {
    let program = vec![7; FILE];
    Tftp::new(&[
        ("undionly.kpxe", &program),
        ("snponly.efi", &program),
        (r"\Boot\BCD", b"no store"),
    ])
}

fn whole(tftp: Tftp) -> Answer {
    server(good_offers, |request| Some(good_binl(request)), tftp)
}

fn run(profile: Profile, answer: Answer) -> Lab {
    let plan = Plan {
        until: Phase::Program,
        ..plan()
    };
    Lab::new(profile, plan, Behaviour::default(), answer).run()
}

/// Changes what the TFTP server sends.
fn changed(
    profile: Profile,
    mut change: impl FnMut(Vec<Packet>, &Sent) -> Vec<Packet> + 'static,
) -> Lab {
    let mut answer = whole(files());
    run(
        profile,
        Box::new(move |sent, now| {
            let packets = answer(sent, now);
            match sent {
                Sent::Datagram(_, to, _) if to.port() != 4011 => change(packets, sent),
                _ => packets,
            }
        }),
    )
}

fn is_data(packet: &Packet, number: u8) -> bool {
    matches!(packet, Packet::Datagram(_, _, bytes) if bytes.starts_with(&[0, 3, 0, number]))
}

#[test]
fn each_wrong_oack_has_its_name() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(Profile, Change, Result<Code, Code>); 6] = [
        (
            Profile::Uefi,
            |oack| [oack, b"timeout\x004\0".to_vec()].concat(),
            Err(Code::TftpOackNotAsked),
        ),
        (
            Profile::Bios,
            |oack| [oack, b"timeout\x004\0".to_vec()].concat(),
            Ok(Code::TftpOackNotAsked),
        ),
        (
            Profile::Uefi,
            |_| b"\0\x06blksize\x001469\0".to_vec(),
            Err(Code::TftpOackTooLarge),
        ),
        (
            Profile::Uefi,
            |_| b"\0\x06windowsize\x008\0".to_vec(),
            Err(Code::TftpOackTooLarge),
        ),
        (
            Profile::Uefi,
            |_| b"\0\x06blksize\0many\0".to_vec(),
            Err(Code::TftpOackTooLarge),
        ),
        (
            Profile::Uefi,
            |_| b"\0\x06blksize\x000\0".to_vec(),
            Err(Code::TftpOackTooLarge),
        ),
    ];
    for (profile, oack, expected) in cases {
        let lab = run(profile, whole(Tftp { oack, ..files() }));
        match expected {
            Ok(code) => {
                assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
                assert_eq!(lab.findings(), [code]);
            }
            Err(code) => assert_eq!(lab.failure(), code, "{:#?}", lab.trace()),
        }
    }
}

#[test]
fn a_size_that_is_not_the_file_s_is_told() {
    let longer = |oack: Vec<u8>| {
        String::from_utf8(oack)
            .unwrap()
            .replace("tsize\x0020000", "tsize\x0019999")
            .into_bytes()
    };
    let shorter = |oack: Vec<u8>| {
        String::from_utf8(oack)
            .unwrap()
            .replace("tsize\x0020000", "tsize\x0020001")
            .into_bytes()
    };
    let strict = run(
        Profile::Uefi,
        whole(Tftp {
            oack: longer,
            ..files()
        }),
    );
    assert_eq!(strict.failure(), Code::TftpLongerThanTold);
    let rom = run(
        Profile::Bios,
        whole(Tftp {
            oack: longer,
            ..files()
        }),
    );
    assert_eq!(rom.findings(), [Code::TftpLongerThanTold]);
    let cut = run(
        Profile::Uefi,
        whole(Tftp {
            oack: shorter,
            ..files()
        }),
    );
    assert_eq!(cut.findings(), [Code::TftpShorterThanTold]);
    assert_eq!(cut.outcome(), &Outcome::Booted);
}

#[test]
fn a_server_without_options_is_slow_and_told() {
    let lab = run(
        Profile::Uefi,
        whole(Tftp {
            plain: true,
            ..files()
        }),
    );
    assert_eq!(lab.findings(), [Code::TftpNoOack]);
    assert_eq!(lab.files()[0].1, FILE as u64);
}

#[test]
fn errors_and_silence_end_a_transfer() {
    let error = |code: u8| {
        changed(Profile::Uefi, move |packets, _| {
            packets
                .into_iter()
                .map(|packet| match packet {
                    Packet::Datagram(socket, from, _) => {
                        Packet::Datagram(socket, from, vec![0, 5, 0, code, b'x', 0])
                    }
                    other => other,
                })
                .collect()
        })
    };
    assert_eq!(error(1).failure(), Code::TftpNotFound);
    assert_eq!(error(2).failure(), Code::TftpRefused);
    assert_eq!(error(0).failure(), Code::TftpError);
    let silent = changed(Profile::Uefi, |_, _| Vec::new());
    assert_eq!(silent.failure(), Code::TftpSilent);
    let at: Vec<u64> = silent
        .sent
        .iter()
        .filter(|(_, sent)| matches!(sent, Sent::Datagram(_, to, _) if to.port() == 69))
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(at, [0, 4, 8, 12, 16, 20, 24]);
    let closed = changed(Profile::Uefi, |packets, _| {
        let unreachable = |packet: &Packet| match packet {
            Packet::Datagram(socket, ..) => Some(Packet::Unreachable(*socket)),
            _ => None,
        };
        packets.iter().filter_map(unreachable).collect()
    });
    assert_eq!(closed.failure(), Code::TftpClosed);
    let rubbish = changed(Profile::Bios, |_, sent| match sent {
        Sent::Datagram(socket, ..) => {
            vec![Packet::Datagram(
                *socket,
                SocketAddrV4::new(SERVER, 5),
                vec![0, 9],
            )]
        }
        Sent::Broadcast(_) => Vec::new(),
    });
    assert_eq!(rubbish.failure(), Code::TftpMalformed);
}

#[test]
fn what_is_lost_is_asked_for_again() {
    for profile in [Profile::Uefi, Profile::Bios] {
        let mut lost = 0;
        let lab = changed(profile, move |mut packets, _| {
            packets.retain(|packet| {
                let lose = is_data(packet, 5) && lost < 2;
                lost += u8::from(lose);
                !lose
            });
            packets
        });
        assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
        assert_eq!(lab.files()[0].1, FILE as u64);
        assert_eq!(lab.findings(), []);
        let resent = lab.events.iter();
        let resent = resent.filter(|(_, event)| *event == Event::Resent(Transport::Tftp));
        assert!(resent.count() > 0);
    }
}

#[test]
fn a_file_of_whole_blocks_ends_with_an_empty_one() {
    for (profile, file, block) in [
        (Profile::Uefi, "snponly.efi", 1468),
        (Profile::Bios, "undionly.kpxe", 1456),
    ] {
        let whole_blocks = vec![7; 8 * block];
        let lab = run(profile, whole(Tftp::new(&[(file, &whole_blocks)])));
        assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
        assert_eq!(lab.files()[0].1, whole_blocks.len() as u64);
        let last = [0, 4, 0, 9];
        let ended = lab
            .sent
            .iter()
            .any(|(_, sent)| matches!(sent, Sent::Datagram(_, _, bytes) if bytes[..] == last));
        assert!(ended, "block 9 is acknowledged");
    }
}

#[test]
fn a_late_oack_and_repeated_blocks_change_nothing() {
    let lab = changed(Profile::Bios, |packets, _| {
        let twice = packets
            .into_iter()
            .flat_map(|packet| [packet.clone(), packet]);
        twice.collect()
    });
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.files()[0].1, FILE as u64);
}

#[test]
fn packets_of_others_are_answered_and_told() {
    let mut strange = false;
    let lab = changed(Profile::Uefi, move |mut packets, _| {
        if !strange && packets.iter().any(|packet| is_data(packet, 5)) {
            strange = true;
            let Packet::Datagram(socket, _, bytes) = packets[0].clone() else {
                return packets;
            };
            let from = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 9), 4444);
            packets.insert(0, Packet::Datagram(socket, from, bytes));
        }
        packets
    });
    assert_eq!(lab.outcome(), &Outcome::Booted, "{:#?}", lab.trace());
    assert_eq!(lab.findings(), [Code::TftpWrongTransferId]);
    let told = lab.sent.iter().any(|(_, sent)| {
        matches!(sent, Sent::Datagram(_, to, bytes)
            if to.port() == 4444 && bytes.starts_with(&[0, 5, 0, 5]))
    });
    assert!(told);
}

#[test]
fn a_block_longer_than_agreed_ends_the_transfer() {
    let lab = changed(Profile::Bios, |mut packets, _| {
        for packet in &mut packets {
            if is_data(packet, 2)
                && let Packet::Datagram(_, _, bytes) = packet
            {
                bytes.extend([0; 9]);
            }
        }
        packets
    });
    assert_eq!(lab.failure(), Code::TftpLongBlock);
}

/// A transfer without a machine around it.
struct Alone {
    transfer: Transfer,
    out: Vec<Output>,
    trace: crate::machine::trace::Trace,
    life: crate::machine::io::Life,
    plan: Plan,
    now: Instant,
}

const PEER: SocketAddrV4 = SocketAddrV4::new(SERVER, 50_000);

impl Alone {
    fn new(client: Client) -> Self {
        let wish = Wish {
            server: SocketAddrV4::new(SERVER, 69),
            file: "f".to_owned(),
            keep: Keep::Discard,
            client,
        };
        let (mut out, mut trace, plan) = (Vec::new(), Default::default(), plan());
        let (mut life, now) = (Default::default(), Instant::now());
        let mut world = World {
            now,
            identity: &identity(),
            address: Ipv4Addr::UNSPECIFIED,
            plan: &plan,
            life: &mut life,
            trace: &mut trace,
            out: &mut out,
        };
        let transfer = Transfer::start(wish, &mut world);
        Self {
            transfer,
            out,
            trace,
            life,
            plan,
            now,
        }
    }

    fn input(&mut self, payload: &[u8]) -> Progress<Fetched> {
        let identity = identity();
        let mut world = World {
            now: self.now,
            identity: &identity,
            address: Ipv4Addr::UNSPECIFIED,
            plan: &self.plan,
            life: &mut self.life,
            trace: &mut self.trace,
            out: &mut self.out,
        };
        let input = Input::Datagram {
            socket: Socket::Tftp,
            from: PEER,
            payload,
        };
        self.transfer.handle(input, &mut world)
    }

    fn block(&mut self, number: u16) -> Progress<Fetched> {
        let mut block = vec![0, 3];
        block.extend(number.to_be_bytes());
        block.extend([1; 8]);
        self.input(&block)
    }

    fn found(&self) -> Vec<Code> {
        let found = self.out.iter().filter_map(|output| match output {
            Output::Event(Event::Deviation(finding)) => Some(finding.code),
            _ => None,
        });
        found.collect()
    }
}

fn identity() -> crate::machine::identity::Identity {
    crate::machine::identity::Identity::new(0, Profile::Bios)
}

#[test]
fn block_numbers_go_on_with_0_after_65535() {
    for next in [0, 1] {
        let mut alone = Alone::new(Client::BootManager {
            block: 8,
            window: 1,
        });
        let _ = alone.input(b"\0\x06blksize\x008\0");
        for number in 1..=u16::MAX {
            assert!(matches!(alone.block(number), Progress::Going));
        }
        let mut ends = (0..3)
            .map(|_| alone.block(next))
            .filter(|p| !matches!(p, Progress::Going));
        match (next, ends.next()) {
            (0, None) => {}
            (1, Some(Progress::Failed(finding))) => assert_eq!(finding.code, Code::TftpRollover),
            (next, end) => panic!("{next}: {end:?}"),
        }
    }
}

#[test]
fn blocks_that_come_twice_for_no_reason_are_told() {
    let mut alone = Alone::new(Client::Ipxe);
    let _ = alone.input(b"\0\x06blksize\x008\0");
    for number in 1..200 {
        let _ = alone.block(number);
        let _ = alone.block(number);
    }
    assert_eq!(alone.found(), [Code::TftpDoubledBlocks]);
}

#[test]
fn the_boot_manager_tells_a_gap_once() {
    let mut alone = Alone::new(Client::BootManager {
        block: 8,
        window: 4,
    });
    let _ = alone.input(b"\0\x06blksize\x008\0windowsize\x004\0");
    alone.out.clear();
    for number in [1, 3, 4, 5] {
        let _ = alone.block(number);
    }
    let acks: Vec<&Output> = alone
        .out
        .iter()
        .filter(|output| matches!(output, Output::Send(..)))
        .collect();
    assert_eq!(acks, [&Output::Send(Socket::Tftp, PEER, vec![0, 4, 0, 1])]);
}

#[test]
fn each_client_gives_up_in_its_own_time() {
    let whole = |client: Client| {
        let waits = (0..).map_while(|tries| client.wait(tries));
        waits.sum::<Duration>()
    };
    assert_eq!(whole(Client::Edk2), Duration::from_secs(28));
    assert_eq!(whole(Client::Ipxe), Duration::from_millis(15_750));
}

proptest::proptest! {
    #[test]
    fn nothing_that_servers_send_panics(
        packets in proptest::collection::vec(
            (0_u8..8, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)),
            0..40,
        ),
    ) {
        let mut alone = Alone::new(Client::Ipxe);
        for (kind, rest) in packets {
            let _ = alone.input(&[vec![0, kind], rest].concat());
        }
    }
}
