//! The lab's network: namespaces, links, addresses, and what the line is like.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::Wanted;
use super::programs::{program, run};
use crate::machine::plan;
use crate::scenario::Rate;
use crate::storm::Link;

/// The server's Ethernet address, which a flood is sent to.
pub(super) const SERVER_MAC: &str = "02:00:5e:00:00:02";
/// The interface in every namespace but the bridge's.
pub(super) const INTERFACE: &str = "eth0";
/// How long a namespace may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a share of lost packets is counted in.
const PARTS: u32 = 1_000_000;

/// The network, as long as this is not dropped.
#[derive(Debug)]
pub(super) struct Network {
    lan: Namespace,
    /// Where the server runs.
    pub(super) server: Namespace,
    /// Where a flood comes from.
    pub(super) flood: Option<Namespace>,
}

/// A network namespace, held by a process that does nothing.
#[derive(Debug)]
pub(super) struct Namespace(Child);

impl Network {
    /// Makes it; this process is where the machines are to be.
    pub(super) fn make(wanted: &Wanted) -> anyhow::Result<Self> {
        let plan = Plan::of(wanted)?;
        let network = Self {
            lan: Namespace::new()?,
            server: Namespace::new()?,
            flood: wanted
                .flood
                .as_ref()
                .map(|_| Namespace::new())
                .transpose()?,
        };
        network.link(&plan, wanted)?;
        network.shape(wanted, &plan.interface)?;
        Ok(network)
    }

    fn link(&self, plan: &Plan, wanted: &Wanted) -> anyhow::Result<()> {
        let own = &plan.interface;
        for namespace in [&self.lan, &self.server].into_iter().chain(&self.flood) {
            namespace.ip("link set lo up")?;
        }
        ip("link set lo up")?;
        self.lan
            .ip("link add name lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        self.lan.ip("link set lan up")?;
        self.plug(
            "machines",
            &format!("name {own} netns {}", std::process::id()),
        )?;
        let server = self.server.id();
        self.plug(
            "server",
            &format!("name {INTERFACE} address {SERVER_MAC} netns {server}"),
        )?;
        if let Some(flood) = &self.flood {
            self.plug("flood", &format!("name {INTERFACE} netns {}", flood.id()))?;
            flood.ip(&format!("addr add {} dev {INTERFACE}", plan.flood))?;
            flood.ip(&format!("link set {INTERFACE} up"))?;
        }
        if let Some(mtu) = wanted.shape.mtu {
            self.limit_packets(mtu, own)?;
        }
        for address in &plan.servers {
            self.server
                .ip(&format!("addr add {address} dev {INTERFACE}"))?;
        }
        self.server.ip(&format!("link set {INTERFACE} up"))?;
        for address in &plan.relays {
            ip(&format!("addr add {address} dev {own}"))?;
        }
        ip(&format!("link set {own} up"))?;
        if let Some((to, via)) = &plan.route {
            self.server.ip(&format!("route add {to} via {via}"))?;
        } else {
            ip(&format!("route add {} dev {own}", plan.lan))?;
        }
        let machines = shown(wanted.machines);
        // Every address of the machines is this host's own.
        ip(&format!("route add local {machines} dev lo"))
    }

    /// A cable from the bridge to an interface elsewhere.
    fn plug(&self, port: &str, peer: &str) -> anyhow::Result<()> {
        self.lan
            .ip(&format!("link add name {port} type veth peer {peer}"))?;
        self.lan.ip(&format!("link set {port} master lan up"))
    }

    fn limit_packets(&self, mtu: u16, own: &str) -> anyhow::Result<()> {
        self.lan.ip(&format!("link set machines mtu {mtu}"))?;
        self.lan.ip(&format!("link set server mtu {mtu}"))?;
        self.server.ip(&format!("link set {INTERFACE} mtu {mtu}"))?;
        ip(&format!("link set {own} mtu {mtu}"))
    }

    fn shape(&self, wanted: &Wanted, own: &str) -> anyhow::Result<()> {
        if !wanted.is_shaped() {
            return Ok(());
        }
        // Otherwise up to 64 KB are one packet to the line, which is then lost or late as a whole.
        let offloads = ["tso", "off", "gso", "off", "gro", "off"];
        run(program("ethtool").args(["-K", own]).args(offloads))?;
        run(self
            .server
            .command("ethtool")
            .args(["-K", INTERFACE])
            .args(offloads))?;
        for (port, rate) in [("machines", wanted.shape.down), ("server", wanted.shape.up)] {
            let Some(Rate(rate)) = rate else { continue };
            let (burst, queue) = (burst(rate), queue(rate));
            let words =
                format!("qdisc add dev {port} root tbf rate {rate}bit burst {burst} limit {queue}");
            let mut tc = self.lan.command("tc");
            run(tc.args(words.split(' '))).context("the line's rate cannot be limited")?;
        }
        match wanted.loss() {
            share if share > 0.0 => self.lose(share),
            _ => Ok(()),
        }
    }

    /// What comes into the bridge from one side is lost on the way to the other.
    fn lose(&self, share: f64) -> anyhow::Result<()> {
        let mut rules = "table netdev line {\n".to_owned();
        for port in ["server", "machines"] {
            rules += &format!(
                " chain {port} {{\n  type filter hook ingress device {port} priority 0\n  \
                 numgen random mod {PARTS} < {} drop\n }}\n",
                parts(share)
            );
        }
        rules.push_str("}\n");
        let mut nft = self.lan.command("nft");
        let mut nft = nft
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nft")?;
        if let Some(mut rulebook) = nft.stdin.take() {
            rulebook.write_all(rules.as_bytes())?;
        }
        let said = nft.wait_with_output()?;
        ensure!(
            said.status.success(),
            "packets cannot be lost here: nft says {}",
            String::from_utf8_lossy(&said.stderr).trim()
        );
        Ok(())
    }
}

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        let mut holder = program("unshare");
        // It ends when our end of the pipe goes.
        holder.args(["--net", "cat"]).stdin(Stdio::piped());
        let child = holder.stdout(Stdio::null()).spawn();
        let mut namespace = Self(child.context("cannot run unshare")?);
        let own = fs::read_link("/proc/self/ns/net")?;
        let begun = Instant::now();
        while fs::read_link(format!("/proc/{}/ns/net", namespace.id())).ok() == Some(own.clone()) {
            if let Some(status) = namespace.0.try_wait()? {
                bail!("no network namespace can be made here: unshare ended with {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "no network namespace in time");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(namespace)
    }

    /// The process that holds it.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// A command that runs in it; its process is the program's own.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = program("nsenter");
        command.args(["--target", &self.id().to_string(), "--net", "--", name]);
        command
    }

    fn ip(&self, words: &str) -> anyhow::Result<()> {
        run(self.command("ip").args(words.split(' ')))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Where that fails the process namespace ends it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs `ip` where the machines are.
fn ip(words: &str) -> anyhow::Result<()> {
    run(program("ip").args(words.split(' ')))
}

/// Which addresses go where.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The network that server and relay agents, or server and machines, share.
    lan: String,
    /// With their prefixes.
    servers: Vec<String>,
    relays: Vec<String>,
    /// Where the server finds the machines: network and router. None where they are neighbours.
    route: Option<(String, Ipv4Addr)>,
    /// Of the machines' side.
    interface: String,
    /// Of whoever floods.
    flood: String,
}

impl Plan {
    fn of(wanted: &Wanted) -> anyhow::Result<Self> {
        let servers: Vec<Ipv4Addr> = [wanted.server]
            .into_iter()
            .chain(wanted.also.clone())
            .collect();
        let (relays, interface) = match &wanted.link {
            Link::Relayed { relays, .. } => (relays.clone(), INTERFACE.to_owned()),
            Link::Broadcast { interface } => (Vec::new(), interface.clone()),
        };
        for host in servers.iter().chain(&relays) {
            ensure!(
                !wanted.machines.holds(*host),
                "{host} cannot be in the machines' network {}: the lab gives all of that to them",
                shown(wanted.machines)
            );
        }
        let mut hosts: Vec<Ipv4Addr> = servers.iter().chain(&relays).copied().collect();
        if relays.is_empty() {
            hosts.push(wanted.machines.base);
            hosts.push(last(wanted.machines));
        }
        let lan = around(&hosts)?;
        let with_prefix = |host: &Ipv4Addr| format!("{host}/{}", lan.bits);
        Ok(Self {
            lan: shown(lan),
            servers: servers.iter().map(with_prefix).collect(),
            relays: relays.iter().map(with_prefix).collect(),
            route: relays.first().map(|relay| (shown(wanted.machines), *relay)),
            interface,
            flood: with_prefix(&free(lan, &hosts, wanted.machines)?),
        })
    }
}

/// The smallest network, but none below 254 hosts, in which all of these can be hosts.
fn around(hosts: &[Ipv4Addr]) -> anyhow::Result<plan::Network> {
    let Some(first) = hosts.first() else {
        bail!("a network of nobody");
    };
    for bits in (8..=24).rev() {
        let network = plan::Network {
            base: Ipv4Addr::from(u32::from(*first) & (u32::MAX << (32 - u32::from(bits)))),
            bits,
        };
        let is_host = |host: &Ipv4Addr| {
            network.holds(*host) && *host != network.base && *host != last(network)
        };
        if hosts.iter().all(is_host) {
            return Ok(network);
        }
    }
    bail!(
        "no network has room for all of {hosts:?}: choose addresses that are closer to each other"
    )
}

/// The last host's address that nobody has.
fn free(
    lan: plan::Network,
    taken: &[Ipv4Addr],
    machines: plan::Network,
) -> anyhow::Result<Ipv4Addr> {
    let room = u32::from(lan.base) + 1..u32::from(last(lan));
    room.rev()
        .map(Ipv4Addr::from)
        .find(|host| !taken.contains(host) && !machines.holds(*host))
        .context("no address is left for whoever floods")
}

/// A network's broadcast address.
fn last(network: plan::Network) -> Ipv4Addr {
    let hosts = u32::MAX.checked_shr(u32::from(network.bits)).unwrap_or(0);
    Ipv4Addr::from(u32::from(network.base) | hosts)
}

fn shown(network: plan::Network) -> String {
    format!("{}/{}", network.base, network.bits)
}

/// Bytes that may go at once: what 5 ms bring, and never less than two frames.
fn burst(rate: u64) -> u64 {
    (rate / 8 / 200).max(2 * 1600)
}

/// Bytes that wait before the line: 100 ms of it, and never less than 30 frames.
fn queue(rate: u64) -> u64 {
    (rate / 8 / 10).max(30 * 1600)
}

/// A share in parts of [`PARTS`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a share"
)]
fn parts(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * f64::from(PARTS)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV4;

    fn wanted(link: Link, machines: ([u8; 4], u8)) -> Wanted {
        Wanted {
            server: Ipv4Addr::new(10, 99, 0, 2),
            also: Vec::new(),
            link,
            machines: plan::Network {
                base: machines.0.into(),
                bits: machines.1,
            },
            port: 67,
            shape: crate::scenario::LinkShape::default(),
            flood: None,
            restart: None,
        }
    }

    fn relayed(relays: &[[u8; 4]]) -> Link {
        Link::Relayed {
            relays: relays.iter().map(|relay| (*relay).into()).collect(),
            servers: vec![SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 2), 67)],
        }
    }

    #[test]
    fn machines_behind_relays_are_routed_to_the_first_of_them() {
        let link = relayed(&[[10, 99, 0, 4], [10, 99, 1, 4]]);
        let plan = Plan::of(&wanted(link, ([10, 99, 8, 0], 21))).unwrap();
        assert_eq!(plan.lan, "10.99.0.0/23");
        assert_eq!(plan.servers, ["10.99.0.2/23"]);
        assert_eq!(plan.relays, ["10.99.0.4/23", "10.99.1.4/23"]);
        let relay = Ipv4Addr::new(10, 99, 0, 4);
        assert_eq!(plan.route, Some(("10.99.8.0/21".to_owned(), relay)));
        assert_eq!(plan.flood, "10.99.1.254/23");
    }

    #[test]
    fn machines_that_broadcast_are_neighbours_of_the_server() {
        let link = Link::Broadcast {
            interface: "eth1".to_owned(),
        };
        let plan = Plan::of(&wanted(link, ([10, 99, 8, 0], 22))).unwrap();
        assert_eq!((plan.lan.as_str(), plan.route), ("10.99.0.0/20", None));
        assert_eq!(plan.interface, "eth1");
        assert_eq!(plan.flood, "10.99.15.254/20");
    }

    #[test]
    fn a_server_among_the_machines_addresses_is_refused() {
        let error = Plan::of(&wanted(relayed(&[[10, 98, 0, 4]]), ([10, 99, 0, 0], 16)));
        assert!(error.unwrap_err().to_string().contains("10.99.0.2"));
    }

    #[test]
    fn no_host_has_the_first_or_last_address_of_its_network() {
        let hosts = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 255)];
        assert_eq!(shown(around(&hosts).unwrap()), "10.0.0.0/23");
        let far = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(192, 168, 0, 2)];
        assert!(around(&far).is_err());
    }

    #[test]
    fn a_slow_line_still_passes_whole_packets() {
        assert_eq!((burst(33_600), queue(33_600)), (3200, 48_000));
        assert_eq!(
            (burst(1_000_000_000), queue(1_000_000_000)),
            (625_000, 12_500_000)
        );
        assert_eq!(
            (parts(0.02), parts(1.5), parts(0.000_001)),
            (20_000, PARTS, 1)
        );
    }
}
