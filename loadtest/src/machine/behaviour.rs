//! What a machine does that a good one does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A trouble of one machine; each happens once in its boot, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// None.
    #[default]
    None,
    /// It stops reading in the middle of its largest file, and goes on later.
    Stall,
    /// Its power is cut in the middle of a file, and it boots from the start later.
    Reset,
    /// It booted, and boots once more later.
    ComeBack,
    /// Its power is cut in the middle of a file for good.
    Vanish,
    /// It sends every packet and request twice.
    Retry,
    /// It sends rubbish before each real packet: broken DHCP, TFTP and HTTP.
    Rubbish,
}

/// How one machine behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// What it does.
    pub(crate) trouble: Trouble,
    /// How long it stays away or still.
    pub(crate) pause: Duration,
    /// Bytes of the boot's files after which it happens.
    pub(crate) after: u64,
}

impl Trouble {
    /// As scenarios name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::ComeBack => "come-back",
            Self::Vanish => "vanish",
            Self::Retry => "retry",
            Self::Rubbish => "rubbish",
        }
    }
}
