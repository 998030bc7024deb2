//! Replies: options stand in the order that they are written, which no library leaves to us.

use std::net::Ipv4Addr;

use super::HEADER_LEN;
use crate::types::HardwareAddress;

/// Old BootP relays drop what is shorter than this (RFC 1542, section 2.1).
const MIN_LEN: usize = 300;

/// The header of a reply.
#[derive(Clone, Copy, Debug)]
pub(in crate::dhcp) struct ReplyHeader {
    pub(in crate::dhcp) hardware: HardwareAddress,
    pub(in crate::dhcp) xid: u32,
    pub(in crate::dhcp) flags: u16,
    pub(in crate::dhcp) ciaddr: Ipv4Addr,
    pub(in crate::dhcp) siaddr: Ipv4Addr,
    pub(in crate::dhcp) giaddr: Ipv4Addr,
}

/// Writes a reply into a buffer. What does not fit is counted, so that the caller can say how many
/// bytes were missing.
#[derive(Debug)]
pub(in crate::dhcp) struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts a BOOTREPLY whose yiaddr is 0: a proxyDHCP server has no address to give. What was in
    /// the buffer does not matter.
    pub(in crate::dhcp) fn reply(buf: &'a mut [u8], header: &ReplyHeader) -> Self {
        let header_len = HEADER_LEN.min(buf.len());
        buf[..header_len].fill(0);
        let mut writer = Self { buf, at: 0 };
        let hlen = u8::try_from(header.hardware.bytes().len()).unwrap_or(16);
        writer.put(&[2, header.hardware.htype(), hlen, 0]);
        writer.put(&header.xid.to_be_bytes());
        writer.put(&[0, 0]);
        writer.put(&header.flags.to_be_bytes());
        writer.put(&header.ciaddr.octets());
        writer.put(&[0; 4]);
        writer.put(&header.siaddr.octets());
        writer.put(&header.giaddr.octets());
        writer.put(&header.hardware.field());
        writer.at = HEADER_LEN - 4;
        writer.put(&dhcproto::v4::MAGIC);
        writer
    }

    /// Fills `sname` (64 bytes) as far as it fits with its NUL; says whether it did.
    pub(in crate::dhcp) fn server_name(&mut self, name: &[u8]) -> bool {
        self.field(44, 64, name)
    }

    /// Fills `file` (128 bytes) as far as it fits with its NUL; says whether it did.
    pub(in crate::dhcp) fn file(&mut self, name: &[u8]) -> bool {
        self.field(108, 128, name)
    }

    /// Appends an option, split into repeated ones above 255 bytes (RFC 3396).
    pub(in crate::dhcp) fn option(&mut self, code: u8, data: &[u8]) {
        if data.is_empty() {
            self.put(&[code, 0]);
        }
        for piece in data.chunks(255) {
            self.put(&[code, u8::try_from(piece.len()).unwrap_or(255)]);
            self.put(piece);
        }
    }

    /// Appends a text option with the NUL that firmware copies up to.
    pub(in crate::dhcp) fn text(&mut self, code: u8, text: &[u8]) {
        let whole = text.len() + 1;
        for start in (0..whole).step_by(255) {
            let end = whole.min(start + 255);
            self.put(&[code, u8::try_from(end - start).unwrap_or(255)]);
            self.put(text.get(start..end.min(text.len())).unwrap_or_default());
            if end == whole {
                self.put(&[0]);
            }
        }
    }

    /// Ends the options and pads. `Err` holds the bytes that the buffer would have needed.
    pub(in crate::dhcp) fn finish(mut self) -> Result<usize, usize> {
        self.put(&[255]);
        if let Some(padding) = self.buf.get_mut(self.at..MIN_LEN) {
            padding.fill(0);
        }
        let len = self.at.max(MIN_LEN);
        if len <= self.buf.len() {
            Ok(len)
        } else {
            Err(len)
        }
    }

    fn field(&mut self, at: usize, room: usize, text: &[u8]) -> bool {
        if text.len() >= room {
            return false;
        }
        match self.buf.get_mut(at..at + text.len()) {
            Some(field) => {
                field.copy_from_slice(text);
                true
            }
            None => false,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buf.get_mut(self.at..self.at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MacAddress;

    fn header() -> ReplyHeader {
        ReplyHeader {
            hardware: MacAddress::new([2, 0, 0, 0, 0, 1]).into(),
            xid: 7,
            flags: 0x8000,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::new(10, 0, 0, 1),
            giaddr: Ipv4Addr::UNSPECIFIED,
        }
    }

    #[test]
    fn replies_are_padded_and_keep_the_order_of_writing() {
        let mut buf = [0xaa; 1472];
        let mut writer = Writer::reply(&mut buf, &header());
        writer.option(97, &[1]);
        writer.option(53, &[2]);
        assert_eq!(writer.finish(), Ok(300));
        assert_eq!(&buf[240..247], &[97, 1, 1, 53, 1, 2, 255]);
        assert!(buf[247..300].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn long_options_are_split_and_texts_end_with_one_nul() {
        for len in [0, 1, 253, 254, 255, 256, 509, 510, 511, 600] {
            let mut buf = [0; 1472];
            let mut writer = Writer::reply(&mut buf, &header());
            let text = vec![b'x'; len];
            writer.text(67, &text);
            let end = writer.finish().unwrap();
            let mut joined = Vec::new();
            super::super::options::walk(&buf[..end], |code, piece| {
                assert_eq!(code, 67);
                joined.extend_from_slice(piece);
            })
            .unwrap();
            assert_eq!(joined, [&text[..], &[0]].concat(), "{len}");
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_says_how_much_was_needed() {
        let mut buf = [0; 310];
        let mut writer = Writer::reply(&mut buf, &header());
        writer.option(43, &[0; 100]);
        assert_eq!(writer.finish(), Err(343));
        assert_eq!(Writer::reply(&mut [0; 100], &header()).finish(), Err(300));
    }
}
