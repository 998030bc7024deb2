//! The relay agents that machines are behind (RFC 2131 section 4.1, RFC 1542, RFC 3046).

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, ensure};

use super::sockets;
use crate::machine::identity::Identity;

/// Replies that wait to be taken, in bytes of a socket's buffer: a thousand machines switched on
/// at once are answered at once.
const ROOM: usize = 32 << 20;

/// Where a BOOTP message has its fields.
const HOPS: usize = 3;
const GIADDR: std::ops::Range<usize> = 24..28;
const CHADDR: std::ops::Range<usize> = 28..34;
const OPTIONS: usize = 240;
const BOOTREPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

const PAD: u8 = 0;
const AGENT: u8 = 82;
const CIRCUIT: u8 = 1;
const END: u8 = 255;

/// All relay agents.
#[derive(Debug)]
pub(super) struct Relays {
    agents: Vec<(Ipv4Addr, UdpSocket)>,
    servers: Vec<SocketAddrV4>,
}

impl Relays {
    /// Takes the port of each relay's address.
    pub(super) fn open(
        addresses: &[Ipv4Addr],
        servers: &[SocketAddrV4],
        port: u16,
    ) -> anyhow::Result<Self> {
        ensure!(!addresses.is_empty(), "there has to be a relay");
        ensure!(!servers.is_empty(), "relays need a server to ask");
        let open = |address: &Ipv4Addr| {
            let own = SocketAddrV4::new(*address, port);
            let socket = sockets::datagrams(own, ROOM)
                .map_err(|error| sockets::explain(&error, own))
                .with_context(|| format!("no relay at {own}"))?;
            Ok((*address, socket))
        };
        Ok(Self {
            agents: addresses.iter().map(open).collect::<anyhow::Result<_>>()?,
            servers: servers.to_vec(),
        })
    }

    /// Their sockets.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.agents.iter().map(|(_, socket)| socket.as_fd())
    }

    /// A relay's socket.
    pub(super) fn socket(&self, relay: u32) -> Option<BorrowedFd<'_>> {
        let (_, socket) = self.agents.get(relay as usize)?;
        Some(socket.as_fd())
    }

    /// Forwards what a machine has broadcast. A send that fails is a packet lost: the machine
    /// repeats itself.
    pub(super) fn forward(&self, machine: u32, message: &[u8]) {
        let behind = machine as usize % self.agents.len();
        if let Some((address, socket)) = self.agents.get(behind) {
            let message = relayed(message, *address, machine);
            for server in &self.servers {
                socket.send_to(&message, server).ok();
            }
        }
    }

    /// Which machine a reply at a relay is for, if it is behind it.
    pub(super) fn machine(&self, relay: u32, reply: &[u8]) -> Option<u32> {
        let machine = addressee(reply)?;
        (machine as usize % self.agents.len() == relay as usize).then_some(machine)
    }
}

/// Which machine a BOOTP reply is for, if it is for one of ours.
pub(super) fn addressee(reply: &[u8]) -> Option<u32> {
    let mac = reply.get(CHADDR)?.try_into().ok()?;
    (reply.first() == Some(&BOOTREPLY))
        .then(|| Identity::index_of(mac))
        .flatten()
}

/// A machine's message as its relay agent forwards it. Of rubbish nothing is changed but what is
/// there.
fn relayed(message: &[u8], agent: Ipv4Addr, machine: u32) -> Vec<u8> {
    let circuit = format!("port-{machine}");
    let mut forwarded = Vec::with_capacity(message.len() + circuit.len() + 4);
    let end = place_of(message, END).map_or(message.len(), |place| place.start);
    let (before, behind) = message.split_at(end);
    forwarded.extend_from_slice(before);
    if let [END, ..] = behind
        && let Ok(length) = u8::try_from(circuit.len())
    {
        forwarded.extend_from_slice(&[AGENT, length + 2, CIRCUIT, length]);
        forwarded.extend_from_slice(circuit.as_bytes());
    }
    forwarded.extend_from_slice(behind);
    if let Some(hops) = forwarded.get_mut(HOPS) {
        *hops = hops.saturating_add(1);
    }
    if let Some(giaddr) = forwarded.get_mut(GIADDR)
        && *giaddr == [0; 4]
    {
        giaddr.copy_from_slice(&agent.octets());
    }
    forwarded
}

/// A server's reply as the relay agent hands it to the machine: without the agent's own option
/// (RFC 3046 section 2.2).
pub(super) fn delivered<'a>(reply: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(option) = place_of(reply, AGENT) else {
        return reply;
    };
    room.clear();
    room.extend_from_slice(&reply[..option.start]);
    room.extend_from_slice(&reply[option.end..]);
    room
}

/// Where an option stands, with its code and length.
fn place_of(message: &[u8], wanted: u8) -> Option<std::ops::Range<usize>> {
    if message.get(OPTIONS - COOKIE.len()..OPTIONS)? != COOKIE {
        return None;
    }
    let mut at = OPTIONS;
    loop {
        let code = *message.get(at)?;
        let next = match code {
            PAD | END => at + 1,
            _ => at + 2 + usize::from(*message.get(at + 1)?),
        };
        if code == wanted {
            return (next <= message.len()).then_some(at..next);
        }
        if code == END {
            return None;
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 4);

    fn message(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; OPTIONS - COOKIE.len()];
        message[0] = 1;
        message.extend(COOKIE);
        message.extend(options);
        message
    }

    fn fields(message: &[u8]) -> bootstorm_proto::types::MacAddress {
        bootstorm_proto::types::MacAddress::new(message[CHADDR].try_into().unwrap())
    }

    #[test]
    fn a_relay_writes_its_address_a_hop_and_the_machines_port() {
        let sent = message(&[53, 1, 1, END, PAD, PAD]);
        let forwarded = relayed(&sent, RELAY, 17);
        assert_eq!(forwarded[HOPS], 1);
        assert_eq!(forwarded[GIADDR], RELAY.octets());
        let agent = b"\x52\x09\x01\x07port-17";
        let options = [&[53, 1, 1][..], agent, &[END, PAD, PAD]].concat();
        assert_eq!(forwarded[OPTIONS..], options);
        assert_eq!(fields(&forwarded), fields(&sent));
    }

    #[test]
    fn another_relays_address_stays() {
        let mut sent = message(&[END]);
        sent[HOPS] = 3;
        sent[GIADDR].copy_from_slice(&[10, 0, 0, 1]);
        let forwarded = relayed(&sent, RELAY, 0);
        assert_eq!(forwarded[HOPS], 4);
        assert_eq!(forwarded[GIADDR], [10, 0, 0, 1]);
    }

    #[test]
    fn rubbish_of_any_length_is_forwarded() {
        for length in 0..300 {
            assert_eq!(relayed(&vec![99; length], RELAY, 1).len(), length);
            relayed(&message(&[53])[..length.min(241)], RELAY, 1);
        }
        assert_eq!(relayed(&message(&[53, 200, 1]), RELAY, 1).len(), 243);
    }

    #[test]
    fn a_reply_comes_to_the_machine_without_the_relays_option() {
        let reply = message(&[53, 1, 2, PAD, AGENT, 3, 1, 1, 9, 60, 1, 65, END]);
        let mut room = Vec::new();
        assert_eq!(
            delivered(&reply, &mut room)[OPTIONS..],
            [53, 1, 2, PAD, 60, 1, 65, END]
        );
        for bare in [&[53, 1, 2, END, AGENT, 1, 1][..], &[AGENT], &[AGENT, 9, 1]] {
            let reply = message(bare);
            assert_eq!(delivered(&reply, &mut room), reply);
        }
    }

    #[test]
    fn a_reply_belongs_to_the_machine_of_its_hardware_address() {
        let mut reply = message(&[END]);
        assert_eq!(addressee(&reply), None);
        let identity = Identity::new(70_000, crate::machine::profile::Profile::Bios);
        reply[CHADDR].copy_from_slice(&identity.mac.bytes());
        assert_eq!(addressee(&reply), None);
        reply[0] = BOOTREPLY;
        assert_eq!(addressee(&reply), Some(70_000));
        assert_eq!(addressee(&reply[..33]), None);
    }

    #[test]
    fn a_relay_delivers_only_to_machines_behind_it() {
        let own = [Ipv4Addr::new(127, 9, 0, 1), Ipv4Addr::new(127, 9, 0, 2)];
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = match server.local_addr().unwrap() {
            std::net::SocketAddr::V4(to) => to,
            std::net::SocketAddr::V6(_) => panic!("IPv4 was asked for"),
        };
        let relays = Relays::open(&own, &[to], 0).unwrap();
        relays.forward(5, &message(&[53, 1, 1, END]));
        let mut packet = [0; 600];
        let (length, from) = server.recv_from(&mut packet).unwrap();
        assert_eq!(from.ip(), own[1]);
        assert_eq!(packet[GIADDR], own[1].octets());
        let reply = &mut packet[..length];
        reply[0] = BOOTREPLY;
        let identity = Identity::new(5, crate::machine::profile::Profile::Bios);
        reply[CHADDR].copy_from_slice(&identity.mac.bytes());
        assert_eq!(relays.machine(1, reply), Some(5));
        assert_eq!(relays.machine(0, reply), None);
    }

    #[test]
    fn an_address_of_another_host_is_named_with_what_to_do() {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 67);
        let error = Relays::open(&[Ipv4Addr::new(192, 0, 2, 1)], &[to], 0).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("192.0.2.1") && text.contains("ip route add local"),
            "{text}"
        );
    }
}
