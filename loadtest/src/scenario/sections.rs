//! The sections of a scenario file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use bootstorm_config::Span;
use serde::Deserialize;

use super::units::{Cidr, Percent, Rate, Size};
use crate::flood::frames::Kind;
use crate::machine::behaviour::{Behaviour, Trouble};
use crate::machine::plan::{Timing, Verify};
use crate::machine::profile::Profile;
use crate::storm::Versions;

/// `[network]`: where the machines are.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// How their broadcasts come to servers.
    pub(crate) mode: Mode,
    /// Addresses of the relay agents that are played, in relayed mode.
    #[serde(default)]
    pub(crate) relays: Vec<Ipv4Addr>,
    /// The interface that frames are sent from, in broadcast mode.
    pub(crate) interface: Option<String>,
    /// Their addresses.
    pub(crate) machines: Cidr,
    /// Who gives them out.
    #[serde(default)]
    pub(crate) leases: LeasesFrom,
    /// Servers that relays ask beside the boot server.
    #[serde(default)]
    pub(crate) dhcp: Vec<Ipv4Addr>,
}

/// How the machines' broadcasts come to servers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Through relay agents that are played.
    Relayed,
    /// As frames on a network of their own.
    Broadcast,
}

/// Who gives the machines their addresses.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LeasesFrom {
    /// Nobody: each has its own already.
    #[default]
    Harness,
    /// A DHCP server under test.
    Server,
}

/// `[arrival]`: when machines are switched on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "ArrivalWritten")]
pub(crate) enum Arrival {
    /// All at once.
    #[default]
    AtOnce,
    /// One after the other.
    Ramp {
        /// From the first to the last.
        over: Duration,
    },
    /// Many at a time.
    Waves {
        /// So many.
        size: NonZeroU32,
        /// So often.
        every: Duration,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArrivalWritten {
    kind: ArrivalKind,
    over: Option<Span>,
    size: Option<NonZeroU32>,
    every: Option<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ArrivalKind {
    AtOnce,
    Ramp,
    Waves,
}

impl TryFrom<ArrivalWritten> for Arrival {
    type Error = &'static str;

    fn try_from(written: ArrivalWritten) -> Result<Self, Self::Error> {
        let ArrivalWritten {
            kind,
            over,
            size,
            every,
        } = written;
        match (kind, over, size, every) {
            (ArrivalKind::AtOnce, None, None, None) => Ok(Self::AtOnce),
            (ArrivalKind::Ramp, Some(Span(over)), None, None) => Ok(Self::Ramp { over }),
            (ArrivalKind::Waves, None, Some(size), Some(Span(every))) => {
                Ok(Self::Waves { size, every })
            }
            (ArrivalKind::AtOnce, ..) => Err("an arrival \"at-once\" has no other keys"),
            (ArrivalKind::Ramp, ..) => Err("an arrival \"ramp\" has the key `over` alone"),
            (ArrivalKind::Waves, ..) => {
                Err("an arrival in \"waves\" has the keys `size` and `every`")
            }
        }
    }
}

/// `[[mix]]`: a part of the machines.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct MixPart {
    /// What they are.
    pub(crate) profile: Profile,
    /// How large the part is, against the others.
    pub(crate) share: u32,
}

pub(super) fn all_uefi() -> Vec<MixPart> {
    vec![MixPart {
        profile: Profile::Uefi,
        share: 1,
    }]
}

/// `[boot]`: how machines boot.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Boot {
    /// When a machine is through.
    pub(crate) until: Until,
    /// What is checked of every file.
    pub(crate) verify: Verify,
    /// How long firmware waits for more offers.
    pub(crate) timing: Timing,
    /// A machine that has not booted so long after it was switched on has failed.
    pub(crate) patience: Span,
    /// How often firmware tries to boot: after a boot that failed it begins again.
    pub(crate) tries: u32,
    /// A connection serves for more than one request.
    pub(crate) keep_alive: bool,
    /// Machines that booted tell the server so, where its script asks for that.
    pub(crate) reports: bool,
    /// Addresses of the names that URLs may have.
    pub(crate) hosts: BTreeMap<String, Ipv4Addr>,
    /// SHA-256 of files, by the end of their URL or path.
    pub(crate) expect: BTreeMap<String, String>,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            until: Until::default(),
            verify: Verify::default(),
            timing: Timing::default(),
            patience: Span(Duration::from_secs(120)),
            tries: 1,
            keep_alive: true,
            reports: true,
            hosts: BTreeMap::new(),
            expect: BTreeMap::new(),
        }
    }
}

/// When a machine is through.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    /// When its boot program is there: for servers that hand out nothing else.
    Program,
    /// When everything is there.
    #[default]
    Booted,
}

/// `[tls]`: how machines speak TLS.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file with the CAs of servers' certificates; a relative path starts at the scenario.
    pub(crate) ca: Option<PathBuf>,
    /// Any certificate is taken.
    pub(crate) insecure: bool,
    /// Sessions are taken up again.
    pub(crate) resume: bool,
    /// What is offered.
    pub(crate) version: Versions,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: None,
            insecure: false,
            resume: true,
            version: Versions::default(),
        }
    }
}

/// `[[trouble]]`: what a part of the machines does that a good one does not.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "TroubleWritten")]
pub(crate) struct TroublePart {
    /// How large the part is; no machine has two troubles.
    pub(crate) share: Percent,
    /// What they do.
    pub(crate) behaviour: Behaviour,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TroubleWritten {
    kind: Trouble,
    share: Percent,
    after: Option<Size>,
    pause: Option<Span>,
}

impl TryFrom<TroubleWritten> for TroublePart {
    type Error = &'static str;

    fn try_from(written: TroubleWritten) -> Result<Self, Self::Error> {
        let (bytes, pauses) = match written.kind {
            Trouble::None => return Err("a trouble that is none: leave the section out"),
            Trouble::Stall | Trouble::Reset => (true, true),
            Trouble::ComeBack => (false, true),
            Trouble::Vanish => (true, false),
            Trouble::Retry | Trouble::Rubbish => (false, false),
        };
        if written.after.is_some() && !bytes {
            return Err("`after` is for \"stall\", \"reset\" and \"vanish\"");
        }
        if written.pause.is_some() && !pauses {
            return Err("`pause` is for \"stall\", \"reset\" and \"come-back\"");
        }
        let Size(after) = written.after.unwrap_or(Size(1_000_000));
        let Span(pause) = written.pause.unwrap_or(Span(Duration::from_secs(3)));
        Ok(Self {
            share: written.share,
            behaviour: Behaviour {
                trouble: written.kind,
                pause: if pauses { pause } else { Duration::ZERO },
                after: if bytes { after } else { 0 },
            },
        })
    }
}

/// `[stop]`: when a storm ends before all are through.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// So long after its beginning.
    pub(crate) after: Option<Span>,
    /// When so many machines have failed.
    pub(crate) failures: Option<u32>,
}

/// `[link]`: what lies between machines and server. The laboratory makes it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkShape {
    /// To the machines.
    pub(crate) down: Option<Rate>,
    /// To the server.
    pub(crate) up: Option<Rate>,
    /// Of packets, each way.
    pub(crate) loss: Option<Percent>,
    /// In bytes.
    pub(crate) mtu: Option<u16>,
}

/// `[scaled]`: what a scenario stands for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scaled {
    /// The size of the image that is meant.
    pub(crate) image: Size,
    /// The one that is fetched is so many times smaller.
    pub(crate) factor: NonZeroU32,
}

/// `[flood]`: what is sent beside the machines. The laboratory sends it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flood {
    /// What.
    pub(crate) kinds: Vec<Kind>,
    /// Frames a second.
    pub(crate) rate: u64,
}

/// `[restart]`: the server's death in the middle. The laboratory sees to it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// When it is killed.
    pub(crate) at: Span,
    /// How long it is away.
    pub(crate) down: Span,
}
