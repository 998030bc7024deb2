//! Offers a second: this server and dnsmasq, as proxyDHCP servers at one end of a veth pair, asked
//! by `bootstorm-load discover` at the other.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bootstorm_e2e::command;
use bootstorm_e2e::process::Running;
use bootstorm_e2e::stop;
use serde_json::Value;

use super::cpu::Account;
use super::programs::{Peers, Program};
use super::server::Kind;
use super::table::{Verdict, cells, median};

/// Who takes part.
pub(crate) const KINDS: [Kind; 2] = [Kind::Bootstorm, Kind::Dnsmasq];

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Machines, all of which this server has in its store.
    machines: u32,
}

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "dhcp-1",
        about: "PXE DISCOVERs of one machine",
        machines: 1,
    },
    Scenario {
        name: "dhcp-100k",
        about: "PXE DISCOVERs of random ones of 100,000 machines, all in this server's store",
        machines: 100_000,
    },
];

/// What this server's offers a second must be, as a multiple of dnsmasq's.
const RATE: f64 = 3.0;
/// What its CPU time an offer may be, as a part of dnsmasq's.
const CPU: f64 = 1.0 / 3.0;
/// Seconds in which it may read 100,000 machines from its store when it starts.
const LOAD: f64 = 2.0;

const START: Duration = Duration::from_secs(60);
/// Of one round, in seconds.
const SECONDS: &str = "5";

/// The ends of the veth pair.
const SERVER_END: &str = "boot0";
const MACHINES_END: &str = "machines0";

/// One round of one server.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offers: f64,
    lost: f64,
    seconds: f64,
    /// CPU-seconds of the server.
    cpu: f64,
    /// Seconds in which this server read its machines.
    loaded: Option<f64>,
}

#[derive(Clone, Debug)]
struct Row {
    kind: Kind,
    samples: Vec<Sample>,
    missing: Option<String>,
}

/// One scenario, measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    scenario: &'static Scenario,
    rows: Vec<Row>,
    /// How the servers' processor time was read.
    pub(crate) accounting: &'static str,
}

/// What all rounds have in common.
pub(crate) struct Bench<'a> {
    pub(crate) peers: &'a Peers,
    pub(crate) load: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) workers: usize,
    pub(crate) rounds: usize,
}

/// Measures the scenarios in the network namespace that this runs in.
pub(crate) fn measure(scenarios: &[&'static Scenario], bench: &Bench<'_>) -> Result<Vec<Measured>> {
    if scenarios.is_empty() {
        return Ok(Vec::new());
    }
    let machines = plug(bench.folder)?;
    let measured = scenarios.iter().map(|scenario| {
        println!("\n{}: {}", scenario.name, scenario.about);
        one(scenario, bench, machines.id())
    });
    measured.collect()
}

/// The veth pair; its far end is in a namespace of its own, which ends with the process.
fn plug(folder: &Path) -> Result<Running> {
    let mut hold = Command::new("unshare");
    hold.args(["--net", "sleep", "infinity"]);
    let machines = Running::start("machines", folder, hold)?;
    let own = fs::read_link("/proc/self/ns/net")?;
    let theirs = PathBuf::from(format!("/proc/{}/ns/net", machines.id()));
    stop::wait_for("a namespace for the machines", START, || {
        Ok((fs::read_link(&theirs)? != own).then_some(()))
    })?;
    let id = machines.id();
    let peer = format!("peer name {MACHINES_END} netns {id}");
    command::line(&format!("ip link add {SERVER_END} type veth {peer}"))?;
    command::line(&format!("ip address add 10.77.0.1/16 dev {SERVER_END}"))?;
    command::line(&format!("ip link set {SERVER_END} up"))?;
    let there = format!("nsenter --target {id} --net ip");
    command::line(&format!(
        "{there} address add 10.77.0.2/16 dev {MACHINES_END}"
    ))?;
    command::line(&format!("{there} link set {MACHINES_END} up"))?;
    Ok(machines)
}

/// All rounds of a scenario: in each round every server once, since both want port 67.
fn one(scenario: &'static Scenario, bench: &Bench<'_>, machines: u32) -> Result<Measured> {
    let mut rows: Vec<Row> = KINDS
        .iter()
        .map(|kind| Row {
            kind: *kind,
            samples: Vec::new(),
            missing: super::missing(bench.peers, *kind),
        })
        .collect();
    let own = bench.peers.programs.iter();
    for program in own.filter(|program| program.kind == Kind::Bootstorm) {
        import(scenario, program, bench).context("the machines do not get into the store")?;
    }
    for _ in 0..bench.rounds {
        for row in &mut rows {
            let program = bench.peers.programs.iter().find(|p| p.kind == row.kind);
            let Some(program) = program else { continue };
            let sample = round(scenario, program, bench, machines)
                .with_context(|| format!("{}, {}", scenario.name, row.kind))?;
            println!(
                "  {:10} {:7.0} offers/s {:6.2} CPU us/offer  {} lost",
                row.kind,
                sample.rate(),
                sample.cpu_each(),
                sample.lost
            );
            row.samples.push(sample);
        }
    }
    Ok(Measured {
        scenario,
        rows,
        accounting: Account::open().describe(),
    })
}

fn round(
    scenario: &Scenario,
    program: &Program,
    bench: &Bench<'_>,
    machines: u32,
) -> Result<Sample> {
    let is_own = program.kind == Kind::Bootstorm;
    let mut serve = if is_own {
        bootstorm(scenario, program, bench)?
    } else {
        dnsmasq(program)
    };
    if let Some(libraries) = &program.libraries {
        serve.env("LD_LIBRARY_PATH", libraries);
    }
    let account = Account::open();
    let name = program.kind.to_string();
    let mut server = Running::start(&name, bench.folder, account.enter(&serve))?;
    stop::wait_for(&format!("an offer of {name}"), START, || {
        server.check()?;
        let said = discover(scenario, bench, machines, "1")?;
        Ok((number(&said, "offers")? > 0.0).then_some(()))
    })?;
    let before = account.read(server.id())?;
    let said = discover(scenario, bench, machines, SECONDS)?;
    let cpu = account.read(server.id())?.saturating_sub(before);
    server.check()?;
    let loaded = is_own.then(|| loaded(&server)).transpose()?;
    server.stop()?;
    Ok(Sample {
        offers: number(&said, "offers")?,
        lost: number(&said, "lost")?,
        seconds: number(&said, "seconds")?,
        cpu: cpu.as_secs_f64(),
        loaded,
    })
}

/// Runs the machines for a while; what they say of it.
fn discover(scenario: &Scenario, bench: &Bench<'_>, machines: u32, seconds: &str) -> Result<Value> {
    let mut load = Command::new("nsenter");
    load.args(["--target", &machines.to_string(), "--net"]);
    load.arg(bench.load).args(["discover", "--json"]);
    load.args(["--interface", MACHINES_END, "--seconds", seconds]);
    load.args(["--macs", &scenario.machines.to_string()]);
    // It fails when nothing was offered, which is a result too.
    let said = load.output().context("cannot run nsenter")?;
    serde_json::from_slice(&said.stdout).with_context(|| {
        let log = String::from_utf8_lossy(&said.stderr);
        format!("the machines ended with {}: {log}", said.status)
    })
}

fn number(said: &Value, name: &str) -> Result<f64> {
    said[name].as_f64().with_context(|| format!("no {name}"))
}

/// Seconds in which a server that has just started read its machines, as its log says.
fn loaded(server: &Running) -> Result<f64> {
    let log = command::read(server.stderr())?;
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let line = lines.find(|line: &Value| line["message"] == LOADED);
    number(&line.context("its log does not say when")?, "seconds")
}

/// What this server logs when its machines are in memory.
const LOADED: &str = "the machines of the store are loaded";

/// Puts every machine into the store that the rounds begin with.
fn import(scenario: &Scenario, program: &Program, bench: &Bench<'_>) -> Result<()> {
    let serve = bootstorm(scenario, program, bench)?;
    let mut server = Running::start("import", bench.folder, serve)?;
    let stdout = server.stdout().to_owned();
    stop::wait_for("`ready` from bootstorm", START, || {
        server.check()?;
        let said = command::read(&stdout)?;
        Ok(said.lines().any(|line| line == "ready").then_some(()))
    })?;
    let list = bench.folder.join("machines.csv");
    fs::write(&list, machines_csv(scenario.machines))?;
    let mut import = Command::new(&program.path);
    import.args(["machine", "import"]).arg(list);
    import.arg("--data").arg(data(scenario, bench));
    println!("  {}", command::output(&mut import)?.trim());
    server.stop()?;
    Ok(())
}

fn data(scenario: &Scenario, bench: &Bench<'_>) -> PathBuf {
    bench.folder.join(scenario.name)
}

/// Without XDP: what the kernel would do is done by the process that is measured.
fn bootstorm(scenario: &Scenario, program: &Program, bench: &Bench<'_>) -> Result<Command> {
    let images = bench.folder.join("boot-files");
    fs::create_dir_all(images.join("boot"))?;
    fs::write(images.join("boot/snponly.efi"), [b'x'; 4096])?;
    let file = bench.folder.join("bootstorm.toml");
    fs::write(&file, UNLIMITED)?;
    let mut serve = Command::new(&program.path);
    serve.arg("serve").arg("--config").arg(file);
    serve.arg("--images").arg(images);
    serve.arg("--data").arg(data(scenario, bench));
    serve.args(["--interface", SERVER_END, "--xdp", "off"]);
    serve.args(["--log-format", "json"]);
    serve.args(["--workers", &bench.workers.to_string()]);
    for off in ["dhcp6", "syslog", "https"] {
        serve.args(["--listen", &format!("{off}=off")]);
    }
    Ok(serve)
}

/// Machines may ask as often as they like.
const UNLIMITED: &str = "[classifier]\nmachine = \"none\"\nknown = \"none\"\nrelay = \"none\"\n\
                         [classifier.classes]\nfirmware = \"pass\"\n";

/// Every machine of `bootstorm-load discover`, assigned the menu.
fn machines_csv(machines: u32) -> String {
    let mut text = "mac,boot\n".to_owned();
    for machine in 0..machines {
        let [_, a, b, c] = machine.to_be_bytes();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "02:f1:0d:{a:02x}:{b:02x}:{c:02x},menu");
    }
    text
}

fn dnsmasq(program: &Program) -> Command {
    let mut serve = Command::new(&program.path);
    serve.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]);
    serve.arg(format!("--interface={SERVER_END}"));
    serve.args(["--user=root", "--pid-file=", "--dhcp-leasefile=/dev/null"]);
    serve.arg("--dhcp-range=10.77.0.0,proxy,255.255.0.0");
    serve.args(["--pxe-service=BC_EFI,boot,boot/snponly.efi"]);
    // Not a line to syslog for each machine.
    serve.args(["--quiet-dhcp", "--log-facility=-"]);
    serve
}

impl Sample {
    fn rate(&self) -> f64 {
        self.offers / self.seconds
    }

    /// Microseconds.
    fn cpu_each(&self) -> f64 {
        self.cpu * 1e6 / self.offers
    }
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }
}

impl Measured {
    /// One verdict for each limit.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let row = |kind| {
            let mut rows = self.rows.iter();
            rows.find(|row| row.kind == kind && !row.samples.is_empty())
        };
        let (Some(own), Some(peer)) = (row(Kind::Bootstorm), row(Kind::Dnsmasq)) else {
            let text = "bootstorm and dnsmasq were not both measured".to_owned();
            return vec![Verdict::new(false, text)];
        };
        let (rate, peer_rate) = (own.median(Sample::rate), peer.median(Sample::rate));
        let (cpu, peer_cpu) = (own.median(Sample::cpu_each), peer.median(Sample::cpu_each));
        let mut verdicts = vec![
            Verdict::new(
                rate >= RATE * peer_rate,
                format!(
                    "{rate:.0} offers a second against {peer_rate:.0} of dnsmasq: {:.2} times, at least {RATE}",
                    rate / peer_rate
                ),
            ),
            Verdict::new(
                cpu <= CPU * peer_cpu,
                format!(
                    "{cpu:.2} us of CPU an offer against {peer_cpu:.2} of dnsmasq: {:.2} times, at most {CPU:.2}",
                    cpu / peer_cpu
                ),
            ),
        ];
        verdicts.extend(self.loaded(own));
        verdicts
    }

    /// Whether the machines were read fast enough, where there are many.
    fn loaded(&self, own: &Row) -> Option<Verdict> {
        let machines = self.scenario.machines;
        (machines >= 100_000).then(|| {
            let seconds = own.median(|sample| sample.loaded.unwrap_or(f64::INFINITY));
            let text = format!(
                "{machines} machines read from the store in {seconds:.2} s, at most {LOAD}"
            );
            Verdict::new(seconds <= LOAD, text)
        })
    }

    /// The section of the page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "### {}\n\n`{}`: median of {} rounds\n\n",
            self.scenario.about,
            self.scenario.name,
            self.rows
                .iter()
                .map(|row| row.samples.len())
                .max()
                .unwrap_or(0)
        );
        text.push_str(&cells(&[
            "server",
            "offers/s",
            "least..most",
            "CPU us/offer",
            "lost",
        ]));
        text.push_str(&cells(&["---"; 5]));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text.push('\n');
        for verdict in self.verdicts() {
            text.push_str(&verdict.line());
        }
        text.push('\n');
        text
    }
}

fn line(row: &Row) -> String {
    let name = row.kind.to_string();
    if let Some(reason) = &row.missing {
        let reason = reason.replace(['\n', '|'], " ");
        return cells(&[&name, &format!("missing: {}", reason.trim()), "", "", ""]);
    }
    let rates = || row.samples.iter().map(Sample::rate);
    let least = rates().fold(f64::INFINITY, f64::min);
    let most = rates().fold(0.0, f64::max);
    let lost: f64 = row.samples.iter().map(|sample| sample.lost).sum();
    cells(&[
        &name,
        &format!("{:.0}", row.median(Sample::rate)),
        &format!("{least:.0}..{most:.0}"),
        &format!("{:.2}", row.median(Sample::cpu_each)),
        &lost.to_string(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(own: (f64, f64), peer: (f64, f64)) -> Measured {
        let row = |kind, (offers, cpu)| Row {
            kind,
            samples: vec![Sample {
                offers,
                lost: 0.0,
                seconds: 1.0,
                cpu: offers * cpu / 1e6,
                loaded: Some(0.5),
            }],
            missing: None,
        };
        Measured {
            scenario: &ALL[0],
            rows: vec![row(Kind::Bootstorm, own), row(Kind::Dnsmasq, peer)],
            accounting: "nobody's",
        }
    }

    fn holds(measured: &Measured) -> Vec<bool> {
        measured.verdicts().iter().map(|v| v.holds).collect()
    }

    #[test]
    fn limits_are_held_against_dnsmasq() {
        assert_eq!(
            holds(&measured((108_001.0, 6.0), (36_000.0, 19.6))),
            [true, true]
        );
        assert_eq!(
            holds(&measured((107_000.0, 6.7), (36_000.0, 19.6))),
            [false, false]
        );
        let mut alone = measured((108_001.0, 6.0), (36_000.0, 19.6));
        alone.rows.pop();
        assert_eq!(holds(&alone), [false]);
    }

    #[test]
    fn many_machines_are_read_in_time() {
        let mut many = measured((108_001.0, 6.0), (36_000.0, 19.6));
        many.scenario = &ALL[1];
        assert_eq!(holds(&many), [true, true, true]);
        for slow in [Some(2.01), None] {
            many.rows[0].samples[0].loaded = slow;
            assert_eq!(holds(&many), [true, true, false]);
        }
    }

    #[test]
    fn every_machine_is_listed_once() {
        let text = machines_csv(70_000);
        let (header, machines) = text.split_once('\n').unwrap();
        assert_eq!(header, "mac,boot");
        let macs: std::collections::BTreeSet<_> = machines.lines().collect();
        assert_eq!(macs.len(), 70_000);
        assert!(macs.contains("02:f1:0d:01:11:6f,menu"));
    }
}
