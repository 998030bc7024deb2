//! A server's reply, read for people.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::option;

/// A BOOTP reply (RFC 951, RFC 2131).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reply {
    #[serde(skip)]
    pub(super) xid: u32,
    /// Message type; none where option 53 is missing or unknown.
    pub(super) message: Option<&'static str>,
    pub(super) yiaddr: Ipv4Addr,
    pub(super) siaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) sname: Option<String>,
    pub(super) file: Option<String>,
    /// In the order of the packet.
    pub(super) options: Vec<Shown>,
    /// What is wrong with the packet itself.
    pub(super) broken: Option<&'static str>,
}

/// An option in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    pub(super) code: u8,
    pub(super) name: &'static str,
    pub(super) value: String,
}

const BOOTREPLY: u8 = 2;
/// RFC 2131 section 3.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the fields stand (RFC 2131 section 2).
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const HEADER: usize = 240;

impl Reply {
    /// None for what is no BOOTP reply with DHCP options.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let (header, options) = packet.split_at_checked(HEADER)?;
        if header[0] != BOOTREPLY || header[FILE.end..] != COOKIE {
            return None;
        }
        let address = |at: usize| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|byte| header[at + byte]);
            Ipv4Addr::new(a, b, c, d)
        };
        let mut reply = Self {
            xid: u32::from(address(4)),
            message: None,
            yiaddr: address(16),
            siaddr: address(20),
            giaddr: address(24),
            sname: None,
            file: None,
            options: Vec::new(),
            broken: None,
        };
        let overload = reply.take(options);
        // Option 52: fields that are not needed hold options (RFC 2132 section 9.3).
        for (bit, field) in [(1, FILE), (2, SNAME)] {
            if overload & bit != 0 {
                reply.take(&header[field]);
            } else if bit == 1 {
                reply.file = field_text(&header[field]);
            } else {
                reply.sname = field_text(&header[field]);
            }
        }
        Some(reply)
    }

    /// Reads options up to their end; gives what option 52 says.
    fn take(&mut self, mut options: &[u8]) -> u8 {
        let mut overload = 0;
        loop {
            let (code, length, rest) = match options {
                [0, rest @ ..] => {
                    options = rest;
                    continue;
                }
                [255, ..] => return overload,
                [code, length, rest @ ..] => (*code, usize::from(*length), rest),
                [] | [_] => {
                    self.broken = Some("the options have no end");
                    return overload;
                }
            };
            let Some((value, rest)) = rest.split_at_checked(length) else {
                self.broken = Some("the last option is cut off");
                return overload;
            };
            match (code, value) {
                (52, [bits]) => overload = *bits,
                (53, value) => self.message = option::kind(value),
                _ => {}
            }
            self.options.push(Shown {
                code,
                name: option::name(code),
                value: option::value(code, value),
            });
            options = rest;
        }
    }
}

/// A field of the header, up to its first zero; none where it is empty.
fn field_text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0);
    let field = &field[..end.unwrap_or(field.len())];
    let text = String::from_utf8_lossy(field).escape_debug().to_string();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        packet[0] = BOOTREPLY;
        packet[4..8].copy_from_slice(&[1, 2, 3, 4]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 57]);
        packet[FILE.start..FILE.start + 6].copy_from_slice(b"x.efi\0");
        packet[FILE.end..].copy_from_slice(&COOKIE);
        packet.extend(options);
        packet
    }

    #[test]
    fn fields_and_options_are_read_in_the_order_of_the_packet() {
        let reply = Reply::read(&packet(&[53, 1, 2, 0, 54, 4, 10, 0, 0, 1, 255, 9, 9])).unwrap();
        assert_eq!(reply.xid, 0x0102_0304);
        assert_eq!(reply.message, Some("OFFER"));
        assert_eq!(reply.yiaddr, Ipv4Addr::new(10, 0, 0, 57));
        assert_eq!((reply.file.as_deref(), reply.sname), (Some("x.efi"), None));
        let codes: Vec<_> = reply.options.iter().map(|shown| shown.code).collect();
        assert_eq!(codes, [53, 54]);
        assert_eq!(reply.options[1].value, "10.0.0.1");
        assert_eq!(reply.broken, None);
    }

    #[test]
    fn fields_may_hold_options() {
        let mut packet = packet(&[52, 1, 1, 255]);
        packet[FILE.start..FILE.start + 5].copy_from_slice(&[67, 2, b'a', b'b', 255]);
        let reply = Reply::read(&packet).unwrap();
        assert_eq!(reply.file, None);
        assert_eq!(
            (reply.options[1].code, &*reply.options[1].value),
            (67, "ab")
        );
    }

    #[test]
    fn what_is_broken_is_told_and_what_is_no_reply_is_none() {
        for (options, told) in [
            (&[53, 1, 2][..], "the options have no end"),
            (&[53], "the options have no end"),
            (&[67, 9, 1], "the last option is cut off"),
        ] {
            assert_eq!(Reply::read(&packet(options)).unwrap().broken, Some(told));
        }
        let good = packet(&[255]);
        for (at, byte) in [(0, 1), (236, 0)] {
            let mut other = good.clone();
            other[at] = byte;
            assert_eq!(Reply::read(&other), None);
        }
        for length in 0..good.len() {
            let _ = Reply::read(&good[..length]);
        }
    }
}
