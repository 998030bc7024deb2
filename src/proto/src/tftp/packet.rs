//! Packets: RFC 1350, section 5, with the options of RFC 2347.

use std::borrow::Cow;

use arrayvec::ArrayVec;

/// A packet of ours that is not DATA: small enough for every network.
pub type Packet = ArrayVec<u8, 512>;

/// Error codes of RFC 1350, section 5, and RFC 2347.
pub mod error_code {
    /// Not defined, see the text.
    pub const UNDEFINED: u16 = 0;
    /// File not found.
    pub const NOT_FOUND: u16 = 1;
    /// Access violation.
    pub const ACCESS: u16 = 2;
    /// Illegal TFTP operation.
    pub const ILLEGAL: u16 = 4;
    /// Unknown transfer ID.
    pub const UNKNOWN_TID: u16 = 5;
    /// Option negotiation failed; firmware also says so when it only wanted the size.
    pub const OPTIONS: u16 = 8;
}

pub(super) const RRQ: u16 = 1;
pub(super) const WRQ: u16 = 2;
pub(super) const DATA: u16 = 3;
pub(super) const ACK: u16 = 4;
pub(super) const ERROR: u16 = 5;
pub(super) const OACK: u16 = 6;

/// The largest number of options that a request may carry; more are ignored.
const OPTIONS_MAX: usize = 16;

/// How the file is to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Octet,
}

/// A read request, still in the buffer that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// File name as sent; the catalog decides what it may mean.
    pub file: &'a str,
    /// Transfer mode.
    pub mode: Mode,
    pub(super) options: ArrayVec<(&'a [u8], &'a [u8]), OPTIONS_MAX>,
    /// Tells a repeated request from a new one.
    pub(super) fingerprint: u64,
}

impl<'a> ReadRequest<'a> {
    /// Reads a packet that arrived on the port for requests.
    ///
    /// # Errors
    /// A [`Refusal`] to send back: write requests, modes other than `octet`, packets that are not
    /// requests, names that are not text.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Refusal> {
        match opcode(packet) {
            Some(RRQ) => {}
            Some(WRQ) => {
                return Err(Refusal::new(
                    error_code::ACCESS,
                    "tftp.write-refused",
                    "this server takes no uploads",
                ));
            }
            Some(_) => {
                return Err(Refusal::new(
                    error_code::ILLEGAL,
                    "tftp.not-a-request",
                    "only read requests are taken on this port",
                ));
            }
            None => return Err(malformed("the packet is shorter than its opcode")),
        }
        let mut rest = packet.get(2..).unwrap_or_default();
        let file = take_string(&mut rest).ok_or_else(|| malformed("the file name has no end"))?;
        // Old ROMs leave the NUL of the last string out.
        let mode = take_string(&mut rest).unwrap_or_else(|| std::mem::take(&mut rest));
        let mode = read_mode(mode)?;
        let file = match std::str::from_utf8(file) {
            Ok("") => return Err(malformed("the file name is empty")),
            Ok(text) => text,
            Err(_) => {
                return Err(Refusal::new(
                    error_code::NOT_FOUND,
                    "tftp.bad-name",
                    "the file name is not UTF-8",
                ));
            }
        };
        Ok(Self {
            file,
            mode,
            options: take_options(rest),
            fingerprint: fingerprint(packet),
        })
    }

    /// The value of an option, name in any case; the first one counts when it is repeated.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'a [u8]> {
        self.options
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }
}

/// Why a request gets an ERROR packet instead of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({reason})")]
pub struct Refusal {
    /// The error code on the wire.
    pub code: u16,
    /// Stable reason code, for logs and people: `tftp.write-refused`.
    pub reason: &'static str,
    /// What the client's screen shows.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// Makes a refusal; `code` is one of [`error_code`].
    #[must_use]
    pub fn new(code: u16, reason: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason,
            text: text.into(),
        }
    }

    /// The ERROR packet. Control characters become spaces and long text is cut: firmware prints it
    /// as it comes.
    #[must_use]
    pub fn encode(&self) -> Packet {
        error_packet(self.code, &self.text)
    }
}

/// The ERROR packet for a sender that no transfer is known for; `None` when the packet is itself
/// an ERROR, which is never answered (RFC 1350, section 7).
#[must_use]
pub fn unknown_tid(packet: &[u8]) -> Option<Packet> {
    (opcode(packet) != Some(ERROR)).then(|| {
        error_packet(
            error_code::UNKNOWN_TID,
            "no transfer is known for this port",
        )
    })
}

pub(super) fn opcode(packet: &[u8]) -> Option<u16> {
    word(packet, 0)
}

/// The big-endian number at `at`.
pub(super) fn word(packet: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = packet.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

pub(super) fn error_packet(code: u16, text: &str) -> Packet {
    let mut packet = Packet::new();
    packet.extend(ERROR.to_be_bytes());
    packet.extend(code.to_be_bytes());
    let room = packet.remaining_capacity() - 1;
    let printable = text.bytes().map(|b| if b < 0x20 { b' ' } else { b });
    packet.extend(printable.take(room));
    packet.push(0);
    packet
}

/// FNV-1a: only compares the requests of one client with each other.
pub(super) fn fingerprint(packet: &[u8]) -> u64 {
    packet.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read_mode(mode: &[u8]) -> Result<Mode, Refusal> {
    if mode.eq_ignore_ascii_case(b"octet") || mode.eq_ignore_ascii_case(b"binary") {
        Ok(Mode::Octet)
    } else if mode.eq_ignore_ascii_case(b"netascii") {
        Err(Refusal::new(
            error_code::ILLEGAL,
            "tftp.netascii",
            "netascii would damage a boot program: ask for octet (tftp> binary)",
        ))
    } else if mode.eq_ignore_ascii_case(b"mail") {
        Err(Refusal::new(
            error_code::ILLEGAL,
            "tftp.mail",
            "mail mode is not served: ask for octet",
        ))
    } else {
        Err(Refusal::new(
            error_code::ILLEGAL,
            "tftp.bad-mode",
            "unknown transfer mode: ask for octet",
        ))
    }
}

fn malformed(text: &'static str) -> Refusal {
    Refusal::new(error_code::ILLEGAL, "tftp.malformed", text)
}

/// Cuts a NUL-terminated string off; leaves `rest` alone when there is no NUL.
fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|b| *b == 0)?;
    let (string, tail) = rest.split_at(end);
    *rest = tail.get(1..).unwrap_or_default();
    Some(string)
}

/// Name and value pairs up to the first empty name: some ROMs pad with NULs or leave junk behind.
fn take_options(mut rest: &[u8]) -> ArrayVec<(&[u8], &[u8]), OPTIONS_MAX> {
    let mut options = ArrayVec::new();
    while let Some(name) = take_string(&mut rest) {
        if name.is_empty() {
            break;
        }
        let value = take_string(&mut rest).unwrap_or_else(|| std::mem::take(&mut rest));
        if options.try_push((name, value)).is_err() {
            break;
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(packet: &[u8]) -> Refusal {
        ReadRequest::parse(packet).expect_err("refused")
    }

    /// Line 25 of the protocol page.
    #[test]
    fn line_25_write_requests_get_error_2() {
        let refused = refusal(b"\0\x02upload.bin\0octet\0");
        assert_eq!((refused.code, refused.reason), (2, "tftp.write-refused"));
        assert_eq!(
            refused.encode().as_slice(),
            b"\0\x05\0\x02this server takes no uploads\0"
        );
    }

    #[test]
    fn modes_other_than_octet_are_refused_by_name() {
        assert_eq!(refusal(b"\0\x01a\0NetAscii\0").reason, "tftp.netascii");
        assert_eq!(refusal(b"\0\x01a\0mail\0").reason, "tftp.mail");
        assert_eq!(refusal(b"\0\x01a\0x\0").reason, "tftp.bad-mode");
        assert!(ReadRequest::parse(b"\0\x01a\0OCTET\0").is_ok());
    }

    #[test]
    fn options_are_read_in_any_case_and_the_first_counts() {
        let rrq = ReadRequest::parse(
            b"\0\x01/boot//x64/a.efi\0octet\0BlkSize\x001468\0blksize\x00512\0tsize\x000\0",
        )
        .unwrap();
        assert_eq!(rrq.file, "/boot//x64/a.efi");
        assert_eq!(rrq.option("BLKSIZE"), Some(&b"1468"[..]));
        assert_eq!(rrq.option("tsize"), Some(&b"0"[..]));
        assert_eq!(rrq.option("windowsize"), None);
    }

    #[test]
    fn junk_behind_the_last_option_is_ignored() {
        for tail in [&b"\0"[..], b"\0\0\0", b"\0junk", b"\xff\xfe"] {
            let mut packet = b"\0\x01a\0octet\0blksize\x001024\0".to_vec();
            packet.extend_from_slice(tail);
            let rrq = ReadRequest::parse(&packet).unwrap();
            assert_eq!(rrq.option("blksize"), Some(&b"1024"[..]), "{tail:?}");
        }
    }

    #[test]
    fn rubbish_is_refused_with_error_4() {
        for packet in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\0\x01name",
            b"\0\x01\0octet\0",
        ] {
            assert_eq!(refusal(packet).reason, "tftp.malformed", "{packet:?}");
        }
        assert_eq!(refusal(b"\0\x04\0\x01").reason, "tftp.not-a-request");
        assert_eq!(refusal(b"\0\x01\xff\0octet\0").reason, "tftp.bad-name");
    }

    #[test]
    fn error_text_can_neither_overflow_nor_move_the_cursor() {
        let text = format!("a\r\n\x1b[2J{}", "x".repeat(2000));
        let packet = Refusal::new(1, "tftp.not-found", text).encode();
        assert_eq!(packet.len(), 512);
        assert!(packet[4..511].iter().all(|b| *b >= 0x20));
        assert_eq!(packet[511], 0);
    }

    /// Line 22: the answer to a stranger; an ERROR is never answered with an ERROR.
    #[test]
    fn line_22_unknown_tid_gets_error_5() {
        assert_eq!(&unknown_tid(b"\0\x04\0\x01").unwrap()[..4], b"\0\x05\0\x05");
        assert!(unknown_tid(b"\0\x05\0\x00bye\0").is_none());
    }
}
