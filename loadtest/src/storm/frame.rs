//! DHCP messages as whole Ethernet frames.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context as _;
use bootstorm_proto::types::MacAddress;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

/// Firmware without an address uses the largest TTL that hosts use.
const TTL: u8 = 64;

/// What came in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened<'a> {
    /// A whole datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddrV4,
        /// Which port it is for.
        port: u16,
        /// What is in it.
        payload: &'a [u8],
    },
    /// A piece of one.
    Fragment,
    /// Nothing that a machine would take.
    Broken,
}

/// What a machine without an address sends from port `from` to port `to` of everybody.
pub(crate) fn build(
    mac: MacAddress,
    from: u16,
    to: u16,
    payload: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(mac.bytes(), [0xff; 6])
        .ipv4(
            Ipv4Addr::UNSPECIFIED.octets(),
            Ipv4Addr::BROADCAST.octets(),
            TTL,
        )
        .udp(from, to);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .context("cannot build a frame")?;
    Ok(frame)
}

/// What is in a frame. Lengths and the checksum of IP are checked; that of UDP is not: senders on
/// this host leave it to a network card that never comes.
pub(crate) fn open(frame: &[u8]) -> Opened<'_> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return Opened::Broken;
    };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        return Opened::Broken;
    };
    let header = ip.header().to_header();
    if header.calc_header_checksum() != header.header_checksum {
        return Opened::Broken;
    }
    if header.is_fragmenting_payload() {
        return Opened::Fragment;
    }
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return Opened::Broken;
    };
    Opened::Datagram {
        from: SocketAddrV4::new(header.source.into(), udp.source_port()),
        port: udp.destination_port(),
        payload: udp.payload(),
    }
}

/// The DHCP replies of a datagram. There is more than one where a sender of this host handed over
/// several of one length at once (UDP_SEGMENT) and no network card on the way cut them up.
pub(crate) fn replies(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let second = (REPLY_MIN..payload.len()).find(|at| begins_reply(&payload[*at..]));
    payload.chunks(second.unwrap_or(payload.len()).max(1))
}

/// A BOOTREPLY over Ethernet begins here (RFC 2131 section 2).
fn begins_reply(bytes: &[u8]) -> bool {
    bytes.starts_with(&[2, 1, 6]) && bytes.get(COOKIE..REPLY_MIN) == Some(&[99, 130, 83, 99])
}

/// Where the cookie stands, and where the options begin.
const COOKIE: usize = 236;
const REPLY_MIN: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(number: u8) -> Vec<u8> {
        let mut reply = vec![0; 300];
        reply[..3].copy_from_slice(&[2, 1, 6]);
        reply[COOKIE..REPLY_MIN].copy_from_slice(&[99, 130, 83, 99]);
        reply[299] = number;
        reply
    }

    #[test]
    fn replies_that_left_together_are_taken_apart() {
        let three = [reply(1), reply(2), reply(3)];
        let numbers = |payload: &[u8]| -> Vec<u8> {
            replies(payload)
                .map(|reply| reply[reply.len() - 1])
                .collect()
        };
        assert_eq!(numbers(&three.concat()), [1, 2, 3]);
        assert_eq!(numbers(&reply(7)), [7]);
        // The last one of a send may be shorter.
        let mut shorter = three.concat();
        shorter.truncate(880);
        assert_eq!(
            replies(&shorter).map(<[u8]>::len).collect::<Vec<_>>(),
            [300, 300, 280]
        );
        assert_eq!(replies(b"rubbish").collect::<Vec<_>>(), [b"rubbish"]);
        assert_eq!(replies(b"").count(), 0);
    }

    fn frame() -> Vec<u8> {
        build(
            MacAddress::new([2, 0xb5, 0x70, 0, 0, 1]),
            68,
            67,
            b"discover",
        )
        .unwrap()
    }

    #[test]
    fn a_broadcast_is_what_a_machine_without_an_address_sends() {
        let frame = frame();
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], [2, 0xb5, 0x70, 0, 0, 1]);
        assert_eq!(frame[12..14], [8, 0]);
        assert_eq!(frame[30..34], [255; 4]);
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let expected = Opened::Datagram {
            from,
            port: 67,
            payload: b"discover",
        };
        assert_eq!(open(&frame), expected);
    }

    #[test]
    fn what_follows_the_datagram_is_padding() {
        let mut padded = frame();
        padded.extend([0; 20]);
        let Opened::Datagram { payload, .. } = open(&padded) else {
            panic!("not opened");
        };
        assert_eq!(payload, b"discover");
    }

    /// Writes the checksum anew, so that only what a test changed is wrong.
    fn summed(mut frame: Vec<u8>) -> Vec<u8> {
        frame[24..26].fill(0);
        let sum: u32 = frame[14..34]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn fragments_are_told_from_broken_frames() {
        let mut first = frame();
        first[20] |= 0x20;
        assert_eq!(open(&first), Opened::Broken, "the checksum is wrong");
        assert_eq!(open(&summed(first)), Opened::Fragment);
        let mut last = frame();
        last[21] = 9;
        assert_eq!(open(&summed(last)), Opened::Fragment);
        let mut longer = frame();
        longer[17] += 1;
        assert_eq!(open(&summed(longer)), Opened::Broken);
    }

    #[test]
    fn no_frame_cut_short_or_bent_is_taken_for_more_than_it_holds() {
        let whole = frame();
        for length in 0..whole.len() {
            assert_eq!(open(&whole[..length]), Opened::Broken);
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut bent = whole.clone();
                bent[place] ^= 1 << bit;
                if let Opened::Datagram { payload, .. } = open(&bent) {
                    assert!(payload.len() <= b"discover".len());
                }
            }
        }
    }
}
