//! Simulated machines that boot while something floods the server.
//!
//! The machines boot twice: once in peace, so that the server knows them, and once beside
//! 200,000 frames a second of rubbish and of DISCOVERs of machines that do not exist, on the same
//! network. On a small host sender, server and machines share the same processors: what was really
//! sent is part of the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command;
use crate::lab::{Lab, Lan, Node};
use crate::process::Running;
use crate::server::{Server, Setup};
use crate::stop;

/// Machines that boot.
const MACHINES: u64 = 50;
/// Frames a second that are offered.
const RATE: u64 = 200_000;
/// Less is no flood, and the case fails: what it would show is not what it says.
const RATE_MIN: f64 = 100_000.0;
/// In loadtest/scenarios.
const SCENARIO: &str = "flood.toml";
/// Longer than the machines of the scenario are patient.
const PATIENCE: Duration = Duration::from_secs(140);
/// The machine that boots last.
const LAST: &str = "02:b5:70:00:00:31";
/// How soon the server must know the machines that it booted.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Sender and machines stand for other computers: a busy server does not slow them down.
const FIRST: [&str; 2] = ["-n", "-10"];

/// How the classifier is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xdp {
    /// In native mode, and nothing else will do.
    Native,
    /// Not at all: the limits hold in user space.
    Off,
}

impl Xdp {
    /// Where the limits hold, as the API calls it.
    const fn place(self) -> &'static str {
        match self {
            Self::Native => "xdp",
            Self::Off => "user",
        }
    }

    /// The word of the configuration file and of the API.
    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Off => "off",
        }
    }
}

/// The programs and files of a case.
#[derive(Debug)]
pub struct Flood<'a> {
    /// How the classifier is attached.
    pub xdp: Xdp,
    /// The rest of the configuration.
    pub config: &'a str,
    /// `bootstorm`.
    pub server: &'a Path,
    /// `bootstorm-load`.
    pub load: &'a Path,
    /// The images folder, filled.
    pub images: PathBuf,
    /// The entry that the machines boot.
    pub entry: &'a str,
    /// Where logs go.
    pub folder: &'a Path,
}

impl Flood<'_> {
    /// Boots the machines in peace and beside the flood, and prints what was measured as rows of a
    /// table. Gives the slowest boot beside the flood.
    ///
    /// # Errors
    /// A machine did not boot, or too little of a flood could be sent here.
    pub fn run(self) -> Result<(Duration, String)> {
        let mut lab = Lab::start(self.folder, Lan::V4)?;
        lab.plug_storm()?;
        lab.plug_flood()?;
        let server = Server::start(
            &lab,
            &Setup {
                node: Node::Server,
                program: self.server.to_owned(),
                images: self.images.clone(),
                boot: Some(self.entry.to_owned()),
                config: Some(format!("xdp = \"{}\"\n{}", self.xdp.name(), self.config)),
                files: Vec::new(),
            },
        )?;
        let attached = server.attached(&lab)?;
        let mode = self.xdp.name();
        ensure!(
            attached == mode,
            "eth0 is sorted `{attached}`, not `{mode}`"
        );
        let start = Usage::of(&server, &lab)?;
        let calm = self.boot(&lab, "calm")?;
        calm.check().context("before the flood")?;
        wait_until_known(&server, &lab)?;

        let before = Usage::of(&server, &lab)?;
        let mut sender = self.start_sender(&lab)?;
        let storm = self.boot(&lab, "flooded")?;
        let sent = sent(&mut sender)?;
        let after = Usage::of(&server, &lab)?;
        lab.check()?;
        server.stop()?;

        let spent = after.since(&before);
        println!("{TABLE}");
        println!("{}", calm.row(mode, 0.0, &before.since(&start)));
        println!("{}", storm.row(mode, sent, &spent));
        for (what, packets) in &spent.dropped {
            println!("  dropped: {what} {packets}");
        }
        ensure!(
            sent >= RATE_MIN,
            "this host sent {sent:.0} frames a second; below {RATE_MIN} it is no flood"
        );
        storm.check().context("beside the flood")?;
        let place = self.xdp.place();
        ensure!(
            spent.dropped.keys().any(|what| what.starts_with(place)),
            "nothing was dropped by `{place}`: the flood did not get there"
        );
        Ok((
            storm.slowest,
            format!(
                "beside {sent:.0} frames a second; the same without: {:.1?}",
                calm.slowest
            ),
        ))
    }

    /// Boots all machines to the end.
    fn boot(&self, lab: &Lab, name: &str) -> Result<Storm> {
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../loadtest/scenarios")
            .join(SCENARIO);
        let mut command = lab.command(Node::Storm, "nice");
        command.args(FIRST).arg(self.load).arg(&scenario);
        // The flood is sent from here, beside the second of two storms.
        command.args(["--json", "--as-is", "--machines"]);
        command.arg(MACHINES.to_string());
        let mut storm = Running::start(name, self.folder, command)?;
        stop::wait_for("end of the simulated machines", PATIENCE, || storm.ended())?;
        Storm::read(&command::read(storm.stdout())?)
            .with_context(|| command::read(storm.stderr()).unwrap_or_default())
    }

    /// Starts the flood and waits until it has run for three seconds.
    fn start_sender(&self, lab: &Lab) -> Result<Running> {
        let mut command = lab.command(Node::Flood, "nice");
        command.args(FIRST).arg(self.load);
        command
            .args(["flood", "--interface", "eth0", "--kind", "junk,spoofed"])
            .args(["--to", "255.255.255.255", "--to-mac", &lab.server_mac()?])
            .args(["--rate", &RATE.to_string(), "--seconds", "600", "--json"]);
        let mut sender = Running::start("flood", self.folder, command)?;
        let log = sender.stderr().to_owned();
        stop::wait_for("flood", Duration::from_secs(30), || {
            sender.check()?;
            let lines = command::read(&log)?.lines().count();
            Ok((lines >= 3).then_some(()))
        })?;
        Ok(sender)
    }
}

fn wait_until_known(server: &Server, lab: &Lab) -> Result<()> {
    let path = format!("/api/v1/classifier/{LAST}");
    stop::wait_for("a known machine", KNOWN_WITHIN, || {
        let standing: Value = serde_json::from_str(&server.api(lab, &path)?)?;
        Ok((standing["known"] == true).then_some(()))
    })
}

/// Ends the flood; gives the frames a second that it really sent.
fn sent(sender: &mut Running) -> Result<f64> {
    sender.check()?;
    sender.stop()?;
    let said: Value = serde_json::from_str(&command::read(sender.stdout())?)
        .context("the flood's report is no JSON")?;
    said["rate"].as_f64().context("the flood tells no rate")
}

/// What became of the simulated machines.
#[derive(Debug, PartialEq)]
struct Storm {
    booted: u64,
    /// The slowest boot, from its own power button to the last byte.
    slowest: Duration,
    /// From the first DISCOVER to the offer, median and 99th percentile.
    offer: (Duration, Duration),
    failures: String,
}

impl Storm {
    fn read(report: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(report).context("the report is no JSON")?;
        let seconds = |phase: &str, figure: &str| {
            Duration::from_secs_f64(report["phases"][phase][figure].as_f64().unwrap_or(0.0))
        };
        let failures = report["failures"].as_array().into_iter().flatten();
        let named = failures.map(|failure| format!("{} × {}", failure["count"], failure["code"]));
        Ok(Self {
            booted: report["machines"]["booted"].as_u64().unwrap_or(0),
            slowest: seconds("booted", "max"),
            offer: (seconds("offered", "p50"), seconds("offered", "p99")),
            failures: named.collect::<Vec<_>>().join(", "),
        })
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.booted == MACHINES,
            "{} of {MACHINES} machines booted: {}",
            self.booted,
            self.failures
        );
        Ok(())
    }

    fn row(&self, xdp: &str, sent: f64, spent: &Spent) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        format!(
            "  | {xdp} | {sent:.0} | {} | {:.2} | {:.1} | {:.1} | {:.1} of {:.1} | {} | {} |",
            self.booted,
            self.slowest.as_secs_f64(),
            milliseconds(self.offer.0),
            milliseconds(self.offer.1),
            spent.cpu.as_secs_f64(),
            spent.time.as_secs_f64(),
            spent.dropped.values().sum::<u64>(),
            spent.lost,
        )
    }
}

const TABLE: &str = "  | `--xdp` | frames/s beside | machines booted | slowest boot, s | offer after, ms | 99 % within, ms | server CPU, s of s | dropped | lost in sockets |
  |---|---|---|---|---|---|---|---|---|";

/// What the server and its sockets have come to since they are there.
#[derive(Debug)]
struct Usage {
    at: Instant,
    cpu: Duration,
    lost: u64,
    dropped: BTreeMap<String, u64>,
}

impl Usage {
    fn of(server: &Server, lab: &Lab) -> Result<Self> {
        let mut cat = lab.command(Node::Server, "cat");
        let snmp = command::output(cat.arg("/proc/net/snmp"))?;
        Ok(Self {
            at: Instant::now(),
            cpu: server.cpu()?,
            lost: lost(&snmp).context("what is /proc/net/snmp?")?,
            dropped: dropped(&server.classifier(lab)?),
        })
    }

    fn since(&self, before: &Self) -> Spent {
        let mut dropped = self.dropped.clone();
        for (what, packets) in &mut dropped {
            *packets -= before.dropped.get(what).copied().unwrap_or(0);
        }
        dropped.retain(|_, packets| *packets > 0);
        Spent {
            time: self.at - before.at,
            cpu: self.cpu.saturating_sub(before.cpu),
            lost: self.lost.saturating_sub(before.lost),
            dropped,
        }
    }
}

/// The same in a while.
#[derive(Debug)]
struct Spent {
    time: Duration,
    cpu: Duration,
    lost: u64,
    dropped: BTreeMap<String, u64>,
}

/// Datagrams for which a socket had no room, over all sockets. The drops of /proc/net/udp count
/// what a socket's own filter leaves to another as well.
fn lost(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = columns.find(|(name, _)| *name == "RcvbufErrors")?;
    value.parse().ok()
}

/// Packets that the classifier dropped, by where, class and cause.
fn dropped(classifier: &Value) -> BTreeMap<String, u64> {
    let text = |count: &Value, field: &str| count[field].as_str().unwrap_or("?").to_owned();
    let counts = classifier["counts"].as_array().into_iter().flatten();
    counts
        .filter(|count| !text(count, "cause").starts_with("passed"))
        .map(|count| {
            let what = ["where", "class", "cause"].map(|field| text(count, field));
            (what.join(" "), count["packets"].as_u64().unwrap_or(0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_without_room_are_found_by_the_name_of_their_column() {
        let snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams \
                    RcvbufErrors\nUdp: 9 2 40 5 17\nUdpLite: RcvbufErrors\nUdpLite: 3\n";
        assert_eq!(lost(snmp), Some(17));
        assert_eq!(lost("Udp: InDatagrams\nUdp: 1\n"), None);
    }

    #[test]
    fn what_passed_is_not_dropped() {
        let classifier = serde_json::json!({"counts": [
            {"where": "xdp", "class": "ipxe", "cause": "passed-known", "packets": 9},
            {"where": "xdp", "class": "firmware-x64", "cause": "interface-rate", "packets": 7},
        ]});
        let expected = [("xdp firmware-x64 interface-rate".to_owned(), 7)];
        assert!(dropped(&classifier).into_iter().eq(expected));
    }

    #[test]
    fn a_storm_without_all_machines_is_an_error_with_its_reasons() {
        let report = |count: u64| {
            format!(
                r#"{{"machines": {{"booted": {count}}}, "phases": {{"booted": {{"max": 3.5}},
                "offered": {{"p50": 0.002, "p99": 4.0}}}},
                "failures": [{{"code": "dhcp.silent", "count": 1}}]}}"#
            )
        };
        let all = Storm::read(&report(MACHINES)).unwrap();
        all.check().unwrap();
        assert_eq!(all.slowest, Duration::from_millis(3500));
        assert_eq!(all.offer.1, Duration::from_secs(4));
        let error = Storm::read(&report(MACHINES - 1)).unwrap().check();
        assert!(error.unwrap_err().to_string().contains("dhcp.silent"));
        assert!(Storm::read("").is_err());
    }
}
