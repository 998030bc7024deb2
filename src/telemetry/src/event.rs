//! What happens to a machine while it boots, as the data plane tells the control plane.
//!
//! Events travel through one bounded queue; when it is full the data plane drops and counts them
//! rather than wait.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_proto::dhcp::ClientFacts;
use bootstorm_proto::types::MacAddress;

/// One thing that happened to one machine.
#[derive(Clone, Debug)]
pub struct BootEvent {
    /// When.
    pub at: SystemTime,
    /// The machine's MAC, where the packet shows it (DHCP, scripts).
    pub mac: Option<MacAddress>,
    /// The machine's address, where it has one.
    pub ip: Option<IpAddr>,
    /// What.
    pub what: What,
}

/// How a file travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TFTP.
    Tftp,
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Protocol {
    /// Lower-case name, as labels and logs spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tftp => "tftp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A stable code such as `dhcp.not-pxe`, documented in docs/reference/reasons.md, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable: scripts and people search for it.
    pub code: &'static str,
    /// What happened, with the evidence in it.
    pub text: Cow<'static, str>,
}

/// Names one transfer or body within this run of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId(pub u64);

/// The kinds of event.
#[derive(Clone, Debug)]
pub enum What {
    /// A boot request was read from DHCP.
    Asked {
        /// What it says of the machine.
        facts: Arc<ClientFacts>,
    },
    /// It was answered with this file or URL.
    Answered {
        /// File or URL.
        file: Arc<str>,
    },
    /// It was not answered.
    Silent {
        /// Why.
        reason: Reason,
    },
    /// The machine was overheard taking the address in `ip` from the DHCP server.
    Leased,
    /// It has to wait until other machines have been fed.
    Queued {
        /// Its place, from 1.
        place: usize,
        /// Machines that wait.
        of: usize,
    },
    /// A file began to travel.
    Started {
        /// Which transfer.
        id: TransferId,
        /// How.
        protocol: Protocol,
        /// File.
        file: Arc<str>,
        /// Bytes to send.
        size: u64,
    },
    /// Bytes acknowledged or written so far; at most a few a second for a transfer.
    Progress {
        /// Which transfer.
        id: TransferId,
        /// Bytes.
        bytes: u64,
    },
    /// The last byte arrived (TFTP; very probably, if its acknowledgement did not come) or was
    /// written (HTTP).
    Finished {
        /// Which transfer.
        id: TransferId,
        /// Bytes.
        bytes: u64,
        /// Bytes sent more than once.
        resent: u64,
    },
    /// A transfer ended early.
    Broken {
        /// Which transfer.
        id: TransferId,
        /// Bytes that had arrived.
        bytes: u64,
        /// Why.
        reason: Reason,
    },
    /// A request that led to no transfer: refused, not found, a size probe, a failed handshake.
    Refused {
        /// How it came.
        protocol: Protocol,
        /// What was asked for, if it got that far.
        file: Option<Arc<str>>,
        /// Why.
        reason: Reason,
    },
    /// A script was handed out.
    Script {
        /// What it boots, as shown in the menu: an entry's id, `menu` or `local`.
        boots: Arc<str>,
        /// Why it boots that and not what it was assigned.
        because: Option<Reason>,
        /// Number of the boot that begins with it.
        boot: Option<u64>,
    },
    /// It asked people to let it in, or they answered, or nobody did in time.
    Approval {
        /// What people call the request.
        code: Arc<str>,
        /// `pending`, `approved`, `denied` or `expired`.
        state: &'static str,
        /// Who decided.
        by: Option<Arc<str>>,
    },
    /// The machine itself, or what booted on it, said a line by syslog.
    Said {
        /// The line, as it came.
        text: Arc<str>,
    },
    /// The machine itself, or what booted on it, says how it went.
    Reported {
        /// How far it is.
        milestone: Milestone,
        /// In its own words; may be empty.
        text: Arc<str>,
    },
}

/// What a machine says of itself on its way, in the order of a usual installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The client in Windows PE runs.
    ClientStarted,
    /// It has an address and reaches the server.
    NetworkUp,
    /// The image is on the disk.
    ImageApplied,
    /// All is done.
    Finished,
    /// It cannot go on.
    Failed,
}

impl Milestone {
    /// Every milestone.
    pub const ALL: [Self; 5] = [
        Self::ClientStarted,
        Self::NetworkUp,
        Self::ImageApplied,
        Self::Finished,
        Self::Failed,
    ];

    /// As reports, phases and histories spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientStarted => "client-started",
            Self::NetworkUp => "network-up",
            Self::ImageApplied => "image-applied",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// The milestone of that name; `done` is another word for the last one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "done" { "finished" } else { name };
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}
