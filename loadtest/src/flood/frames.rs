//! The frames, built before the first one is sent.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use bootstorm_proto::types::MacAddress;
use etherparse::PacketBuilder;
use serde::Deserialize;

use crate::interface::Network;
use crate::machine::dhcp::message::{Ask, Message, Program};
use crate::machine::tftp::packet;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Rubbish for ports 67, 4011 and 69
    Junk,
    /// DISCOVERs of PXE firmware, well-formed, of machines that do not exist
    Spoofed,
    /// TFTP read requests
    Requests,
}

impl Kind {
    /// As reports tell it.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Junk => "rubbish",
            Self::Spoofed => "DISCOVERs of made-up machines",
            Self::Requests => "TFTP read requests",
        }
    }
}

/// What all frames share.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) to: Ipv4Addr,
    pub(crate) to_mac: MacAddress,
    /// Where made-up senders live; without it they have no address yet.
    pub(crate) network: Option<Network>,
    pub(crate) file: String,
}

/// x64 UEFI, which most floods of real machines consist of.
const ARCH: u16 = 7;
const JUNK_PORTS: [u16; 3] = [67, 4011, 69];

impl Frames {
    /// A frame of each kind for each machine, the kinds in turn.
    pub(crate) fn build(&self, machines: u32) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        for machine in 0..machines {
            for kind in &self.kinds {
                frames.push(self.frame(*kind, machine)?);
            }
        }
        Ok(frames)
    }

    fn frame(&self, kind: Kind, machine: u32) -> anyhow::Result<Vec<u8>> {
        let mac = mac(machine);
        let (port, payload) = match kind {
            Kind::Junk => junk(machine),
            Kind::Spoofed => (67, discover(mac, machine)),
            Kind::Requests => (69, packet::read_request(&self.file, &[("blksize", "1468")])),
        };
        let from = match self.network {
            Some(network) => network.neighbour(machine, self.to),
            None => Ipv4Addr::UNSPECIFIED,
        };
        let from_port = match port {
            69 => 1024 + (machine % 60_000) as u16,
            _ => 68,
        };
        let builder = PacketBuilder::ethernet2(mac.bytes(), self.to_mac.bytes())
            .ipv4(from.octets(), self.to.octets(), 64)
            .udp(from_port, port);
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder
            .write(&mut frame, &payload)
            .context("cannot build a frame")?;
        Ok(frame)
    }
}

/// Locally administered: no real machine has it, and no simulated one either.
fn mac(machine: u32) -> MacAddress {
    let [_, a, b, c] = machine.to_be_bytes();
    MacAddress::new([0x02, 0xf1, 0x0d, a, b, c])
}

fn discover(mac: MacAddress, machine: u32) -> Vec<u8> {
    let message = Message {
        program: Program::Firmware(ARCH),
        mac,
        guid: [0x42; 16],
        xid: 0xf100_0000 | machine,
        secs: 0,
        ask: Ask::Discover,
    };
    message.encode()
}

/// The port and one of three shapes: noise, a DISCOVER cut short, and one whose options are noise.
fn junk(machine: u32) -> (u16, Vec<u8>) {
    let mut noise = Noise(u64::from(machine) + 1);
    let port = JUNK_PORTS[machine as usize % JUNK_PORTS.len()];
    let mut payload = discover(mac(machine), machine);
    let shape = if port == 69 { 0 } else { noise.below(3) };
    match shape {
        0 => {
            payload.resize(1 + noise.below(600), 0);
            noise.fill(&mut payload);
        }
        1 => payload.truncate(1 + noise.below(payload.len() - 1)),
        _ => noise.fill(&mut payload[OPTIONS..]),
    }
    (port, payload)
}

/// Where the options of a DHCP message begin (RFC 2131 section 2, behind the cookie).
const OPTIONS: usize = 240;

/// Marsaglia's xorshift: the same rubbish in every run.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        // Small numbers as seeds need a few rounds before the low bits differ.
        let number = (0..4).fold(0, |_, _| self.next()) >> 16;
        usize::try_from(number).unwrap_or_default() % end
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_ebpf_shared::{Class, Family, classify};
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn classes(kind: Kind, to: Ipv4Addr, network: Option<Network>) -> Vec<Class> {
        let frames = Frames {
            kinds: vec![kind],
            to,
            to_mac: MacAddress::new([0xff; 6]),
            network,
            file: "boot/ipxe.efi".to_owned(),
        };
        let class = |frame: Vec<u8>| {
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(TransportSlice::Udp(udp)) = packet.transport else {
                panic!("no UDP: {packet:?}");
            };
            classify(udp.payload(), udp.destination_port())
        };
        frames.build(3000).unwrap().into_iter().map(class).collect()
    }

    #[test]
    fn spoofed_machines_are_firmware_of_the_length_that_firmware_sends() {
        let spoofed = classes(Kind::Spoofed, Ipv4Addr::BROADCAST, None);
        let firmware = Class::Firmware(Family::X64);
        assert!(spoofed.into_iter().all(|class| class == firmware));
        assert_eq!(discover(mac(7), 7).len(), 347);
    }

    #[test]
    fn read_requests_are_read_requests() {
        let network = Network {
            own: Ipv4Addr::new(10, 0, 0, 9),
            mask: Ipv4Addr::new(255, 255, 255, 0),
        };
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let requests = classes(Kind::Requests, to, Some(network));
        assert!(
            requests
                .into_iter()
                .all(|class| class == Class::TftpRequest)
        );
    }

    #[test]
    fn nobody_answers_junk_and_most_of_it_is_malformed() {
        let junk = classes(Kind::Junk, Ipv4Addr::BROADCAST, None);
        let malformed = |class: &&Class| matches!(class, Class::Malformed(_));
        let not_pxe = |class: &&Class| matches!(class, Class::DhcpNotPxe | Class::NotOurs);
        assert!(junk.iter().filter(malformed).count() > 2000);
        let answered = junk
            .iter()
            .filter(|class| !malformed(class) && !not_pxe(class));
        assert!(answered.count() < 30);
    }
}
