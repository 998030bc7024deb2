//! Whose ways a transfer follows.

use std::time::Duration;

use super::Agreed;

/// Whose ways are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// UEFI (EDK2): asks for the size first and breaks that off with ERROR 8, then blocks of 1,468
    /// bytes, four in a window.
    Edk2,
    /// A network card's ROM: asks for the size first, then blocks of 1,456 bytes one by one.
    Rom,
    /// iPXE: size and blocks of 1,432 bytes in one request, one by one.
    Ipxe,
    /// Windows' boot manager: size, blocks and windows in one request.
    BootManager {
        /// Bytes of a block.
        block: u16,
        /// Blocks of a window.
        window: u16,
    },
}

/// An option of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// RFC 2349.
    Size,
    /// RFC 2348: bytes.
    Block(u16),
    /// RFC 7440: blocks.
    Window(u16),
}

impl Client {
    /// Whether the size is asked for in a request of its own.
    pub(super) const fn probes(self) -> bool {
        matches!(self, Self::Edk2 | Self::Rom)
    }

    /// What it asks for, in its order.
    pub(super) fn options(self, probing: bool) -> Vec<Request> {
        let (size, block, window) = match self {
            Self::Edk2 => (probing, Some(1468), Some(4)),
            Self::Rom if probing => (true, None, None),
            Self::Rom => (false, Some(1456), None),
            Self::Ipxe => return vec![Request::Block(1432), Request::Size],
            Self::BootManager { block, window } => (true, Some(block), Some(window)),
        };
        let size = size.then_some(Request::Size);
        let window = window.filter(|window| *window > 1).map(Request::Window);
        let all = [size, block.map(Request::Block), window];
        all.into_iter().flatten().collect()
    }

    /// The error that ends the request for the size.
    pub(super) const fn aborts(self) -> (u8, &'static str) {
        match self {
            Self::Rom => (0, "TFTP Aborted"),
            Self::Edk2 | Self::Ipxe | Self::BootManager { .. } => (8, "User aborted the transfer"),
        }
    }

    /// How long it waits after this many repetitions; `None` where it gives up. EDK2 repeats every
    /// 4 s, six times; iPXE doubles a quarter of a second up to 8 s. Of ROMs and of the boot
    /// manager nothing is known; they do as EDK2 does.
    pub(super) fn wait(self, repetitions: u8) -> Option<Duration> {
        match self {
            Self::Ipxe => {
                (repetitions < 6).then(|| Duration::from_millis(250 << repetitions.min(5)))
            }
            Self::Edk2 | Self::Rom | Self::BootManager { .. } => {
                (repetitions <= 6).then_some(Duration::from_secs(4))
            }
        }
    }

    /// EDK2 and iPXE acknowledge the last block in order again whenever another one comes; the
    /// boot manager does as RFC 7440 says, once for each gap.
    pub(super) const fn answers_all(self) -> bool {
        !matches!(self, Self::BootManager { .. })
    }

    /// EDK2 breaks off where others look away.
    pub(super) const fn is_strict(self) -> bool {
        matches!(self, Self::Edk2)
    }
}

impl Request {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Size => "tsize",
            Self::Block(_) => "blksize",
            Self::Window(_) => "windowsize",
        }
    }

    pub(super) const fn value(self) -> u16 {
        match self {
            Self::Size => 0,
            Self::Block(number) | Self::Window(number) => number,
        }
    }

    /// Takes what the server made of it; false where that is more than was asked for, or nothing.
    pub(super) fn take(self, number: u64, agreed: &mut Agreed) -> bool {
        let small = u16::try_from(number).ok();
        match (self, small) {
            (Self::Size, _) => agreed.size = Some(number),
            (Self::Block(asked), Some(block)) if (8..=asked).contains(&block) => {
                agreed.block = block;
            }
            (Self::Window(asked), Some(window)) if (1..=asked).contains(&window) => {
                agreed.window = window;
            }
            (Self::Block(_) | Self::Window(_), _) => return false,
        }
        true
    }
}
