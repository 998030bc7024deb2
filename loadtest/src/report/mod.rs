//! What a storm came to: booked as it goes, kept as JSON, compared with another.

mod books;
mod host;
#[cfg(test)]
pub(crate) mod sample;
mod series;
mod times;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

pub(crate) use books::Books;
pub(crate) use host::Host;
pub(crate) use series::Course;
pub(crate) use times::Times;

use crate::finding::Code;
use crate::machine::event::{Phase, Transport};
use crate::machine::profile::Profile;
use crate::machine::trace::Way;
use crate::view::units::plural;

/// Says that a file is a report.
const FORMAT: &str = "bootstorm-load report";
/// Grows when a field changes its meaning or goes; new fields leave it.
const VERSION: u32 = 1;
/// The longest file that is read as a report, in bytes.
const REPORT_MAX: u64 = 64 << 20;

/// What a storm came to. Times are in seconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Always [`FORMAT`].
    format: String,
    /// Always [`VERSION`].
    version: u32,
    /// The version of this program.
    pub(crate) harness: String,
    /// When the storm began (RFC 3339, UTC).
    pub(crate) begun: String,
    /// Where it ran.
    pub(crate) host: Host,
    /// What was played.
    pub(crate) scenario: About,
    /// Why it ended.
    pub(crate) end: End,
    /// How long it took.
    pub(crate) seconds: f64,
    /// All machines.
    #[serde(flatten)]
    pub(crate) all: Group,
    /// Bytes of files, by what carried them.
    pub(crate) bytes_by_transport: Counts,
    /// Bytes of files a second while any came: of a time without bytes only its first second
    /// counts.
    pub(crate) bytes_per_s: f64,
    /// Packets and requests that were repeated for want of an answer.
    pub(crate) resent: Counts,
    /// TLS handshakes.
    pub(crate) handshakes: Handshakes,
    /// Files that were fetched whole.
    pub(crate) files: Files,
    /// Processor time.
    pub(crate) cpu: Cpu,
    /// The machines of each profile.
    pub(crate) profiles: BTreeMap<Profile, Group>,
    /// What the server did that it should not, by code.
    pub(crate) findings: Vec<Found>,
    /// Why machines failed, by code.
    pub(crate) failures: Vec<Found>,
    /// What went on beside the machines, in a sentence each.
    pub(crate) beside: Vec<String>,
    /// What the scenario asked for.
    pub(crate) limits: Vec<Limit>,
    /// How it went over time.
    pub(crate) course: Course,
}

/// What is played, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The scenario's name.
    pub(crate) name: String,
    /// What it shows, in a sentence.
    pub(crate) about: String,
    /// The server under test.
    pub(crate) server: String,
    /// Machines that are to be switched on.
    pub(crate) machines: u32,
    /// The link between them, where the scenario shapes one: `down 10 Mb/s, up 10 Mb/s, loss 1 %`.
    pub(crate) link: Option<String>,
    /// What was made smaller, and by how much: `image 3 MB instead of 300 MB`.
    pub(crate) scaled: Option<String>,
}

/// Why a storm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// Every machine is through, one way or the other.
    AllThrough,
    /// The scenario's time was up.
    TimeUp,
    /// As many failed as the scenario bears.
    Failures,
    /// Somebody ended it.
    Interrupted,
}

/// Some machines together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// How many got how far.
    pub(crate) machines: Machines,
    /// Bytes of files that they got, also those of boots that were cut short.
    pub(crate) bytes: u64,
    /// Jain's index over the rates at which those that booted got their largest file, from its
    /// first byte to its last: 1 when all got the same, 1/n when one got everything.
    pub(crate) jain: Option<f64>,
    /// From the power button to each phase; of machines that were switched on again, the last
    /// time.
    pub(crate) phases: BTreeMap<Phase, Times>,
}

/// How many machines got how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machines {
    /// Switched on.
    pub(crate) started: u32,
    /// Neither through nor failed.
    pub(crate) under_way: u32,
    /// Booted.
    pub(crate) booted: u32,
    /// Sent to their own disk.
    pub(crate) local_disk: u32,
    /// Gone for good, as the scenario wanted.
    pub(crate) left: u32,
    /// Failed.
    pub(crate) failed: u32,
    /// Times that one was switched on again.
    pub(crate) restarts: u32,
}

/// Something counted for each transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// DHCP, also on port 4011.
    pub(crate) dhcp: u64,
    /// TFTP.
    pub(crate) tftp: u64,
    /// HTTP without TLS.
    pub(crate) http: u64,
    /// HTTP over TLS.
    pub(crate) https: u64,
}

/// TLS handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    /// From the start.
    pub(crate) full: u64,
    /// That took an earlier session up again.
    pub(crate) resumed: u64,
}

/// Files that were fetched whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// How many.
    pub(crate) count: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those whose SHA-256 is the one that the server or the scenario gave.
    pub(crate) verified: u64,
    /// Those for which nobody gave one, or that were not hashed.
    pub(crate) unverified: u64,
    /// The largest by bytes fetched.
    pub(crate) largest: Vec<Named>,
}

/// A file that machines fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// URL, or path for TFTP.
    pub(crate) name: String,
    /// Times that it was fetched whole.
    pub(crate) count: u64,
    /// Bytes of all times together.
    pub(crate) bytes: u64,
    /// SHA-256 in hex of the first time.
    pub(crate) sha256: Option<String>,
}

/// Processor time, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// This program's.
    pub(crate) own_s: f64,
    /// The server's, where it runs on the same host and is known.
    pub(crate) server_s: Option<f64>,
    /// This program's for 10⁹ bytes of files.
    pub(crate) own_s_per_gb: Option<f64>,
    /// The server's for 10⁹ bytes of files.
    pub(crate) server_s_per_gb: Option<f64>,
    /// The share of a core that this program's one thread was busy.
    pub(crate) own_share: f64,
    /// For how long that share was 90 % and more.
    pub(crate) own_full_s: f64,
}

/// A finding or a failure, with its first example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The name that stays.
    pub(crate) code: String,
    /// What it means and what to do.
    pub(crate) meaning: String,
    /// How often.
    pub(crate) count: u64,
    /// With how many machines.
    pub(crate) machines: u32,
    /// The first one.
    pub(crate) example: Example,
}

/// What was seen the first time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Example {
    /// Seconds since the storm began.
    pub(crate) at_s: f64,
    /// Hardware address of the machine; none for what is said of the harness itself.
    pub(crate) mac: Option<String>,
    /// The machine's profile.
    pub(crate) profile: Option<Profile>,
    /// What was seen, in one line.
    pub(crate) evidence: String,
    /// The machine's last packets, oldest first.
    pub(crate) trace: Vec<Line>,
    /// Lines before those, which are not kept.
    pub(crate) forgotten: u32,
}

/// A line of a machine's trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Seconds since the machine's first packet.
    pub(crate) at_s: f64,
    /// To or from the machine.
    pub(crate) way: Way,
    /// The packet in words.
    pub(crate) text: String,
}

/// Something that a scenario asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// The scenario's key: `booted_p99`.
    pub(crate) name: String,
    /// What was asked for: `at most 30 s`.
    pub(crate) wanted: String,
    /// What was seen: `41.2 s`.
    pub(crate) got: String,
    /// Whether it holds.
    pub(crate) held: bool,
}

/// A storm in the middle of its way, all counted from its beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The scenario's name.
    pub(crate) name: String,
    /// Machines that are to be switched on.
    pub(crate) total: u32,
    /// Time since it began, in seconds.
    pub(crate) elapsed: f64,
    /// How many machines got how far.
    pub(crate) machines: Machines,
    /// Machines that reached each phase since they were last switched on.
    pub(crate) reached: BTreeMap<Phase, u32>,
    /// Bytes of files.
    pub(crate) bytes: Counts,
    /// Packets and requests that were repeated for want of an answer.
    pub(crate) resent: Counts,
    /// TLS handshakes.
    pub(crate) handshakes: Handshakes,
    /// Machines that failed, by why; most first.
    pub(crate) failures: Vec<(Code, u64)>,
    /// Deviations, by what; most first.
    pub(crate) findings: Vec<(Code, u64)>,
    /// The kinds of findings and failures that came last, newest last.
    pub(crate) latest: Vec<Latest>,
    /// This program's processor time, in seconds.
    pub(crate) own_cpu: f64,
    /// The server's.
    pub(crate) server_cpu: Option<f64>,
}

/// The newest finding or failure of its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latest {
    /// Seconds since the storm began.
    pub(crate) at: f64,
    /// What.
    pub(crate) code: Code,
    /// The machine failed of it.
    pub(crate) failure: bool,
    /// Hardware address of the machine.
    pub(crate) mac: String,
    /// What was seen.
    pub(crate) evidence: String,
    /// How many of the kind came so far.
    pub(crate) times: u64,
}

impl Report {
    /// Reads a report's file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = std::fs::metadata(path)
            .with_context(|| format!("{shown} cannot be read"))?
            .len();
        if size > REPORT_MAX {
            bail!("{shown} is no report of bootstorm-load: {size} bytes are more than any has");
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        Self::parse(&text).with_context(|| shown.to_string())
    }

    /// Writes it as JSON.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.json()? + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// As JSON, in one line.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        serde_json::to_string(self).context("the report cannot be written as JSON")
    }

    /// Whether everything that the scenario asked for holds; where it asks for nothing, whether
    /// every machine got through.
    pub(crate) fn passed(&self) -> bool {
        if self.end == End::Interrupted {
            return false;
        }
        if self.limits.is_empty() {
            return self.all.machines.failed == 0 && self.all.machines.under_way == 0;
        }
        self.limits.iter().all(|limit| limit.held)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        /// What tells a report from other JSON, before the rest is looked at.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_str(text)
            .ok()
            .filter(|head: &Head| head.format == FORMAT)
            .context("this is no report of bootstorm-load; `--report FILE` writes one")?;
        if head.version != VERSION {
            bail!(
                "this report has version {}, and this program reads version {VERSION}: use the \
                 bootstorm-load that wrote it, or run the scenario again",
                head.version
            );
        }
        serde_json::from_str(text).context("the report is damaged")
    }
}

impl Found {
    /// Whether it says something of this program and its host, and nothing of the server.
    pub(crate) fn of_harness(&self) -> bool {
        self.code.starts_with("harness.")
    }

    /// With how many machines and how often: `3 machines, 7 times`.
    pub(crate) fn often(&self) -> String {
        let machines = plural(self.machines.into(), "machine", "machines");
        let times = plural(self.count, "time", "times");
        match self.machines {
            0 => times,
            some if u64::from(some) == self.count => machines,
            _ => format!("{machines}, {times}"),
        }
    }
}

impl Counts {
    /// Everything together.
    pub(crate) const fn sum(&self) -> u64 {
        self.dhcp + self.tftp + self.http + self.https
    }

    /// The count of one transport.
    pub(crate) const fn of(&mut self, transport: Transport) -> &mut u64 {
        match transport {
            Transport::Dhcp => &mut self.dhcp,
            Transport::Tftp => &mut self.tftp,
            Transport::Http => &mut self.http,
            Transport::Https => &mut self.https,
        }
    }
}

impl End {
    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::AllThrough => "every machine is through",
            Self::TimeUp => "the scenario's time was up",
            Self::Failures => "too many machines failed",
            Self::Interrupted => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests;
