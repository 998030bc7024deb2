//! The packet socket on a pair of virtual interfaces, in a network namespace of its own.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::interface::Sender;
use crate::machine::identity::Identity;
use crate::machine::profile::Profile;
use crate::storm::link::{Arrival, OpenLink};
use crate::storm::receiver::Receiver;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Runs the next test by itself, in a namespace, where this user may have one.
#[test]
fn broadcasts_work_in_a_namespace() {
    let program = std::env::current_exe().unwrap();
    let possible = |arguments: &[&str]| {
        let tried = Command::new("unshare").args(arguments).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let as_root = ["--net"];
    let as_user = ["--map-root-user", "--net"];
    let Some(namespace) = [&as_root[..], &as_user[..]]
        .into_iter()
        .find(|arguments| possible(arguments))
    else {
        eprintln!("not tried: this user may have no network namespace");
        return;
    };
    let output = Command::new("unshare")
        .args(namespace)
        .arg(program)
        .args(["--exact", "storm::broadcast::tests::in_a_namespace"])
        .args(["--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.unwrap().success(), "ip {arguments}");
}

/// A DHCP server's socket, which takes broadcasts of one interface.
fn server(interface: &str) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
    setsockopt(&socket, sockopt::BindToDevice, &interface.into()).unwrap();
    socket.set_broadcast(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

fn message(kind: u8, machine: &Identity) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[0] = kind;
    message[28..34].copy_from_slice(&machine.mac.bytes());
    message.push(255);
    message
}

/// A reply that a server sends from its own stack's frame to a machine's Ethernet address.
fn unicast(machine: &Identity, from: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], machine.mac.bytes())
        .ipv4(SERVER.octets(), [10, 77, 0, 200], 64)
        .udp(from, 68)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// The next packet that is for machines; what comes with it is not.
fn next(link: &OpenLink, receiver: &mut Receiver) -> (Option<u32>, SocketAddrV4, Vec<u8>) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        let received = receiver.receive(link.socket(0).unwrap()).unwrap();
        for number in 0..received {
            let (from, packet) = receiver.datagram(number).unwrap();
            let mut room = Vec::new();
            match link.unpack(from, packet) {
                Arrival::Replies(from, reply) => {
                    return match link.sort(0, reply, &mut room) {
                        Some((machine, payload)) => (Some(machine), from, payload.to_vec()),
                        None => (None, from, Vec::new()),
                    };
                }
                Arrival::Fragment | Arrival::Nothing => {}
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing came");
}

#[test]
#[ignore = "makes interfaces; the test before runs it in a namespace"]
fn in_a_namespace() {
    ip("link add machines type veth peer name servers");
    ip("address add 10.77.0.1/24 dev servers");
    ip("link set dev machines up");
    ip("link set dev servers up");
    let machine = Identity::new(70_000, Profile::Uefi);
    let from_server = SocketAddrV4::new(SERVER, 67);
    let server = server("servers");
    let link = OpenLink::Broadcast {
        wire: Broadcast::open("machines", 68, 67).unwrap(),
        server: 67,
        own: 68,
    };
    assert!(Interface::named("machines").unwrap().is_promiscuous());
    let mut receiver = Receiver::new();

    let discover = message(1, &machine);
    link.send(&machine, &discover);
    let mut packet = [0; 600];
    let (length, from) = server.recv_from(&mut packet).unwrap();
    assert_eq!(packet[..length], discover);
    assert_eq!(from.to_string(), "0.0.0.0:68");

    let offer = message(2, &machine);
    server.send_to(&offer, (Ipv4Addr::BROADCAST, 68)).unwrap();
    let heard = next(&link, &mut receiver);
    assert_eq!(heard, (Some(70_000), from_server, offer.clone()));

    // Neither what is for other ports, nor port 4011's answers, nor what is no reply.
    server.send_to(&offer, (Ipv4Addr::BROADCAST, 69)).unwrap();
    server
        .send_to(&discover, (Ipv4Addr::BROADCAST, 68))
        .unwrap();
    assert_eq!(next(&link, &mut receiver).0, None);
    let raw = Sender::open(&Interface::named("servers").unwrap()).unwrap();
    let mut headers = Sender::headers(1);
    for (port, expected) in [(4011, None), (67, Some(70_000))] {
        let frame = unicast(&machine, port, &offer);
        let frame = [[std::io::IoSlice::new(&frame)]];
        raw.send(&mut headers, &frame).unwrap().unwrap();
        if expected.is_some() {
            assert_eq!(next(&link, &mut receiver).0, expected);
        }
    }

    drop(link);
    assert!(!Interface::named("machines").unwrap().is_promiscuous());
    let error = Broadcast::open("no-such-nic", 68, 67).unwrap_err();
    assert!(error.to_string().contains("no-such-nic"), "{error}");
}
