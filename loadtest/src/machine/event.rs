//! What a machine lives through, for the books.

use crate::finding::Finding;
use serde::{Deserialize, Serialize};

/// Something that a machine lived through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// It was switched on (again, after a power cut).
    PoweredOn,
    /// It got so far, for the first time since it was switched on.
    Reached(Phase),
    /// So many bytes of a file came over this.
    Received(Transport, u64),
    /// It repeated a packet or request.
    Resent(Transport),
    /// A TLS handshake is done.
    Handshake {
        /// An earlier session was taken up again.
        resumed: bool,
    },
    /// A file is there, whole.
    Fetched(File),
    /// A file that was booked unverified turned out to be what it should be.
    Verified,
    /// The server did what it should not.
    Deviation(Finding),
    /// It is through.
    Ended(Outcome),
}

/// A file that was fetched and thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// URL, or path for TFTP.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Their XXH3, where it was asked for and others are to have the same bytes.
    pub(crate) xxh3: Option<u128>,
    /// Their SHA-256, where it is known and others are to have the same.
    pub(crate) sha256: Option<[u8; 32]>,
    /// The hash is one that the server or the scenario gave for this file.
    pub(crate) verified: bool,
}

/// What carries a file or a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// DHCP, also on port 4011.
    Dhcp,
    /// TFTP.
    Tftp,
    /// HTTP without TLS.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Transport {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [Self::Dhcp, Self::Tftp, Self::Http, Self::Https];

    /// As reports name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "DHCP",
            Self::Tftp => "TFTP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        }
    }
}

/// How far a machine got, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// A boot server made itself known.
    Offered,
    /// It has an address and knows what to load and from where.
    Assigned,
    /// The network boot program is there.
    Program,
    /// iPXE asked again by DHCP and was answered.
    Loader,
    /// The first script, or Windows' boot configuration, is there.
    Script,
    /// The first file that is booted (the kernel, boot.wim's first byte) is there.
    Kernel,
    /// Everything is there.
    Booted,
    /// The script sent it to its own disk.
    LocalDisk,
    /// It told the server that it is through.
    Reported,
}

impl Phase {
    /// All, in order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Offered,
        Self::Assigned,
        Self::Program,
        Self::Loader,
        Self::Script,
        Self::Kernel,
        Self::Booted,
        Self::LocalDisk,
        Self::Reported,
    ];

    /// As reports name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Assigned => "assigned",
            Self::Program => "boot program",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Booted => "booted",
            Self::LocalDisk => "local disk",
            Self::Reported => "reported",
        }
    }
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Everything is there.
    Booted,
    /// The server sent it to its own disk.
    LocalDisk,
    /// It was told to go away and not to come back (a scenario's trouble).
    Left,
    /// It could not go on.
    Failed(Finding),
}
