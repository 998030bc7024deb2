//! What is granted of what a client asks for: RFC 2347, 2348, 2349, 7440.

use std::io::Write;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::packet::{OACK, ReadRequest};
use crate::types::{BlockSize, WindowSize};

/// What this server grants at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest block: what fits the network without fragments.
    pub max_block: BlockSize,
    /// Largest window.
    pub max_window: WindowSize,
    /// What follows block 65535.
    pub rollover: Rollover,
}

/// The block number after 65535. No option tells it: nearly every client goes on with 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollover {
    /// 0.
    #[default]
    Zero,
    /// 1.
    One,
}

impl Limits {
    /// Blocks that fit one packet of `mtu` bytes: 20 bytes go to IPv4, 8 to UDP, 4 to TFTP.
    #[must_use]
    pub fn for_mtu(mtu: u32, max_window: WindowSize) -> Self {
        Self::with_overhead(mtu, 32, max_window)
    }

    /// The same over IPv6, whose header is 40 bytes long.
    #[must_use]
    pub fn for_mtu_v6(mtu: u32, max_window: WindowSize) -> Self {
        Self::with_overhead(mtu, 52, max_window)
    }

    fn with_overhead(mtu: u32, overhead: u32, max_window: WindowSize) -> Self {
        let room = mtu.saturating_sub(overhead);
        let cap = u32::from(BlockSize::MAX.get());
        Self {
            max_block: BlockSize::try_from(room.min(cap)).unwrap_or(BlockSize::MIN),
            max_window,
            rollover: Rollover::Zero,
        }
    }
}

/// The terms of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) block: BlockSize,
    pub(super) window: WindowSize,
    /// The client's own retransmission time.
    pub(super) timeout: Option<Duration>,
}

/// Room for every option that can be granted, names and longest values.
pub(super) type Oack = ArrayVec<u8, 96>;

/// Half of all block numbers: in a larger window an acknowledgement could mean two blocks.
const WINDOW_MAX: u64 = 32_768;

/// Grants what can be granted; the OACK is empty when nothing was asked that is known.
pub(super) fn negotiate(
    request: &ReadRequest<'_>,
    file_len: u64,
    limits: &Limits,
) -> (Terms, Oack) {
    let mut terms = Terms {
        block: BlockSize::DEFAULT,
        window: WindowSize::DEFAULT,
        timeout: None,
    };
    let mut oack = Oack::new();
    let mut seen: ArrayVec<Known, 4> = ArrayVec::new();
    for (name, value) in &request.options {
        let Some(known) = Known::named(name) else {
            continue;
        };
        if seen.contains(&known) {
            continue;
        }
        // Four names, four slots: a push past the end cannot happen.
        let _ = seen.try_push(known);
        if let Some(granted) = known.grant(value, file_len, limits, &mut terms) {
            append(&mut oack, name, granted);
        }
    }
    (terms, oack)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    BlockSize,
    Timeout,
    TransferSize,
    WindowSize,
}

impl Known {
    fn named(name: &[u8]) -> Option<Self> {
        [
            (&b"blksize"[..], Self::BlockSize),
            (b"timeout", Self::Timeout),
            (b"tsize", Self::TransferSize),
            (b"windowsize", Self::WindowSize),
        ]
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, option)| option)
    }

    /// The value to echo; `None` leaves the option out, as if it were unknown.
    fn grant(self, value: &[u8], len: u64, limits: &Limits, terms: &mut Terms) -> Option<u64> {
        let asked = decimal(value)?;
        match self {
            Self::BlockSize => {
                let lowered = asked.min(u64::from(limits.max_block.get()));
                terms.block = BlockSize::try_from(u32::try_from(lowered).ok()?).ok()?;
                Some(lowered)
            }
            Self::WindowSize => {
                let lowered = asked
                    .min(u64::from(limits.max_window.get()))
                    .min(WINDOW_MAX);
                terms.window = WindowSize::try_from(u32::try_from(lowered).ok()?).ok()?;
                Some(lowered)
            }
            Self::Timeout => {
                let seconds = (1..=255).contains(&asked).then_some(asked)?;
                terms.timeout = Some(Duration::from_secs(seconds));
                Some(seconds)
            }
            Self::TransferSize => Some(len),
        }
    }
}

/// A decimal number; numbers too large for the wire count as the largest, to be lowered.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |n, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

/// Echoes the name as the client spelled it: some compare it byte by byte.
fn append(oack: &mut Oack, name: &[u8], value: u64) {
    if oack.is_empty() {
        oack.extend(OACK.to_be_bytes());
    }
    // The capacity holds the four known names with their longest values.
    let _ = oack.write_all(name);
    let _ = write!(oack, "\0{value}\0");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::for_mtu(1500, WindowSize::try_from(64).unwrap())
    }

    fn oack(options: &[u8]) -> Vec<u8> {
        let mut packet = b"\0\x01a\0octet\0".to_vec();
        packet.extend_from_slice(options);
        let request = ReadRequest::parse(&packet).unwrap();
        negotiate(&request, 123_456_789, &limits()).1.to_vec()
    }

    /// Line 17 of the protocol page.
    #[test]
    fn line_17_only_what_was_asked_is_granted_and_never_more() {
        assert_eq!(oack(b""), b"");
        assert_eq!(
            oack(b"tsize\x000\0blksize\x001468\0windowsize\x004\0"),
            b"\0\x06tsize\x00123456789\0blksize\x001468\0windowsize\x004\0"
        );
        assert_eq!(
            oack(b"blksize\x0065464\0windowsize\x0065535\0timeout\x005\0"),
            b"\0\x06blksize\x001468\0windowsize\x0064\0timeout\x005\0"
        );
        assert_eq!(oack(b"blksize\x00512\0"), b"\0\x06blksize\x00512\0");
    }

    #[test]
    fn wds_19_a_variable_window_is_not_granted() {
        let asked = b"tsize\x000\0blksize\x001468\0windowsize\x004\0msftwindow\x0031416\0";
        let granted = b"\0\x06tsize\x00123456789\0blksize\x001468\0windowsize\x004\0";
        assert_eq!(oack(asked), granted);
        assert_eq!(oack(b"msftwindow\x0031416\0"), b"");
    }

    #[test]
    fn unknown_and_senseless_options_are_left_out() {
        for options in [
            &b"blksize\x007\0"[..],
            b"blksize\0\0",
            b"blksize\0-1\0",
            b"blksize\x0012x\0",
            b"windowsize\x000\0",
            b"timeout\x000\0",
            b"timeout\x00256\0",
            b"multicast\0\0",
        ] {
            assert_eq!(oack(options), b"", "{}", options.escape_ascii());
        }
    }

    #[test]
    fn a_repeated_option_counts_once_and_the_spelling_is_kept() {
        assert_eq!(
            oack(b"BLKSIZE\x001024\0blksize\x00512\0"),
            b"\0\x06BLKSIZE\x001024\0"
        );
        assert_eq!(
            oack(b"blksize\x0099999999999999999999999\0"),
            b"\0\x06blksize\x001468\0"
        );
    }

    #[test]
    fn all_four_options_fit_the_acknowledgement() {
        let packet =
            b"\0\x01a\0octet\0blksize\x0065464\0timeout\x00255\0tsize\x000\0windowsize\x0065535\0";
        let request = ReadRequest::parse(packet).unwrap();
        let limits = Limits::for_mtu(100_000, WindowSize::try_from(65_535).unwrap());
        let (_, oack) = negotiate(&request, u64::MAX, &limits);
        assert!(oack.ends_with(b"windowsize\x0032768\0"));
    }

    #[test]
    fn blocks_fit_the_mtu() {
        let window = WindowSize::DEFAULT;
        assert_eq!(Limits::for_mtu(1500, window).max_block.get(), 1468);
        assert_eq!(Limits::for_mtu(1420, window).max_block.get(), 1388);
        assert_eq!(Limits::for_mtu_v6(1500, window).max_block.get(), 1448);
        assert_eq!(Limits::for_mtu(65_536, window).max_block.get(), 65_464);
        assert_eq!(Limits::for_mtu(10, window).max_block, BlockSize::MIN);
    }
}
