//! The test network: namespaces with a bridge, a DHCP server that is not ours, the host of the
//! server under test, and a second subnet behind a relay.
//!
//! ```text
//!  dhcpd 10.99.0.1 ──┐
//!                    ├── near (bridge) ── taps of machines, 10.99.0.100 ... 200
//!  server 10.99.0.2 ─┤
//!  second 10.99.0.6 ─┤ another server under test (only where asked for)
//!                    ├── storm 10.99.0.4, .5 | 10.99.8.0/21, simulated machines (only where asked for)
//!                    ├── flood 10.99.0.7, who means no good (only where asked for)
//!                    └── relay 10.99.0.3 | 10.99.1.1 ── far (bridge) ── taps, 10.99.1.100 ... 200
//! ```
//!
//! Bridges and taps live in a namespace of their own, so nothing of the machine's network is
//! touched. Everything goes when [`Lab`] is dropped; what a killed run left behind is removed by
//! the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::{self, line};
use crate::process::Running;

/// Address of the host that runs the server under test.
pub const SERVER: &str = "10.99.0.2";
/// The same in IPv6.
pub const SERVER6: &str = "fd99::2";
/// Address of the LAN's own DHCP server.
pub const DHCP_SERVER: &str = "10.99.0.1";
/// Address of the host that runs the second server under test.
pub const SECOND: &str = "10.99.0.6";
/// The relay agents of the simulated machines, as loadtest/scenarios has them.
pub const STORM: [&str; 2] = ["10.99.0.4", "10.99.0.5"];
/// The relay as the far subnet sees it: giaddr of what it passes on.
pub const RELAY: &str = "10.99.1.1";

const PREFIX: &str = "bootstorm-e2e-";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace of the lab.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Node {
    /// Bridges, taps, QEMU and captures.
    Lan,
    /// The LAN's DHCP server.
    Dhcpd,
    /// The server under test.
    #[default]
    Server,
    /// Another server under test on the same network.
    Second,
    /// Router and DHCP relay to the far subnet.
    Relay,
    /// Simulated machines, behind a relay agent of their own.
    Storm,
    /// Whoever floods the server.
    Flood,
}

/// Where a machine is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subnet {
    /// Beside the servers.
    Near,
    /// Behind the relay.
    Far,
}

/// What the LAN's own DHCP server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// Leases by DHCPv4 and nothing about booting; router advertisements.
    V4,
    /// Leases by DHCPv4 from the very host of the server under test, which sends option 60 so that
    /// machines go to port 4011.
    SameHost,
    /// DHCPv6 only, with the boot file URL that an administrator would set there: IPv6 knows no
    /// proxyDHCP.
    V6,
}

/// A running test network.
#[derive(Debug)]
pub struct Lab {
    // First, so that they end before their namespaces go.
    services: Vec<Running>,
    id: String,
    folder: PathBuf,
    taps: AtomicU32,
}

impl Node {
    const ALL: [Self; 7] = [
        Self::Lan,
        Self::Dhcpd,
        Self::Server,
        Self::Second,
        Self::Relay,
        Self::Storm,
        Self::Flood,
    ];

    /// Name of its namespace and of what runs there.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Dhcpd => "dhcpd",
            Self::Server => "server",
            Self::Second => "second",
            Self::Relay => "relay",
            Self::Storm => "storm",
            Self::Flood => "flood",
        }
    }
}

impl Subnet {
    /// The bridge's name.
    #[must_use]
    pub const fn bridge(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

impl Lab {
    /// Makes the network and starts its DHCP server and relay; their logs go to `folder`.
    ///
    /// # Errors
    /// Not root, no network namespaces in this kernel, or a program is missing.
    pub fn start(folder: &Path, lan: Lan) -> Result<Self> {
        sweep()?;
        fs::create_dir_all(folder)?;
        let id = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = folder.canonicalize()?;
        let mut lab = Self {
            services: Vec::new(),
            id,
            folder,
            taps: AtomicU32::new(0),
        };
        lab.wire().context("cannot make the test network")?;
        lab.start_dhcp_server(lan)?;
        lab.start_relay()?;
        Ok(lab)
    }

    /// A command that runs inside a namespace and ends with the thread that starts it.
    #[must_use]
    pub fn command(&self, node: Node, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(node)])
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program);
        command
    }

    /// The name of a namespace, for `ip -n`.
    #[must_use]
    pub fn namespace(&self, node: Node) -> String {
        format!("{PREFIX}{}-{}", self.id, node.name())
    }

    /// Where this lab's logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new tap device on a subnet, for one machine in [`Node::Lan`].
    ///
    /// # Errors
    /// The kernel has no tun device.
    pub fn tap(&self, subnet: Subnet) -> Result<String> {
        let name = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        let lan = self.namespace(Node::Lan);
        line(&format!("ip -n {lan} tuntap add dev {name} mode tap"))?;
        line(&format!(
            "ip -n {lan} link set {name} master {} up",
            subnet.bridge()
        ))?;
        Ok(name)
    }

    /// Plugs the simulated machines in: [`Node::Storm`] takes every address of 10.99.8.0/21 for its
    /// own, and the server routes there.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn plug_storm(&self) -> Result<()> {
        let addresses = STORM.map(|relay| format!("{relay}/24"));
        let addresses = [addresses[0].as_str(), addresses[1].as_str()];
        self.plug(Node::Storm, "eth0", Subnet::Near, &addresses)?;
        let (storm, server) = (self.namespace(Node::Storm), self.namespace(Node::Server));
        line(&format!(
            "ip -n {storm} route add local 10.99.8.0/21 dev lo"
        ))?;
        line(&format!(
            "ip -n {server} route add 10.99.8.0/21 via {}",
            STORM[0]
        ))?;
        Ok(())
    }

    /// Plugs in the host of a second server.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn plug_second(&self) -> Result<()> {
        let address = format!("{SECOND}/24");
        self.plug(Node::Second, "eth0", Subnet::Near, &[&address])
    }

    /// Plugs in whoever floods the server.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn plug_flood(&self) -> Result<()> {
        self.plug(Node::Flood, "eth0", Subnet::Near, &["10.99.0.7/24"])
    }

    /// The Ethernet address of the server under test.
    ///
    /// # Errors
    /// Its interface is not there.
    pub fn server_mac(&self) -> Result<String> {
        let mut cat = self.command(Node::Server, "cat");
        let said = command::output(cat.arg("/sys/class/net/eth0/address"))?;
        Ok(said.trim().to_owned())
    }

    /// Fails when a service of the lab itself has ended.
    ///
    /// # Errors
    /// With the end of the service's log.
    pub fn check(&mut self) -> Result<()> {
        self.services.iter_mut().try_for_each(Running::check)
    }

    fn wire(&self) -> Result<()> {
        for node in Node::ALL {
            let namespace = self.namespace(node);
            line(&format!("ip netns add {namespace}"))?;
            line(&format!("ip -n {namespace} link set lo up"))?;
        }
        let lan = self.namespace(Node::Lan);
        for bridge in [Subnet::Near.bridge(), Subnet::Far.bridge()] {
            line(&format!(
                "ip -n {lan} link add {bridge} type bridge stp_state 0 forward_delay 0 \
                 mcast_snooping 0"
            ))?;
            line(&format!("ip -n {lan} link set {bridge} up"))?;
        }
        self.plug(
            Node::Dhcpd,
            "eth0",
            Subnet::Near,
            &["10.99.0.1/24", "fd99::1/64"],
        )?;
        self.plug(
            Node::Server,
            "eth0",
            Subnet::Near,
            &["10.99.0.2/24", "fd99::2/64"],
        )?;
        self.plug(
            Node::Relay,
            "eth0",
            Subnet::Near,
            &["10.99.0.3/24", "fd99::3/64"],
        )?;
        self.plug(
            Node::Relay,
            "eth1",
            Subnet::Far,
            &["10.99.1.1/24", "fd98::1/64"],
        )?;
        for node in [Node::Dhcpd, Node::Server] {
            let namespace = self.namespace(node);
            line(&format!(
                "ip -n {namespace} route add 10.99.1.0/24 via 10.99.0.3"
            ))?;
        }
        let mut forward = self.command(Node::Relay, "sh");
        command::output(forward.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]))?;
        Ok(())
    }

    fn plug(&self, node: Node, name: &str, subnet: Subnet, addresses: &[&str]) -> Result<()> {
        let (lan, namespace) = (self.namespace(Node::Lan), self.namespace(node));
        let port = format!("{}-{name}", node.name());
        line(&format!(
            "ip -n {lan} link add {port} type veth peer name {name} netns {namespace}"
        ))?;
        line(&format!(
            "ip -n {lan} link set {port} master {} up",
            subnet.bridge()
        ))?;
        for address in addresses {
            // Without duplicate detection an IPv6 address may be used at once.
            let nodad = if address.contains(':') { "nodad" } else { "" };
            line(&format!(
                "ip -n {namespace} addr add {address} dev {name} {nodad}"
            ))?;
        }
        line(&format!("ip -n {namespace} link set {name} up"))?;
        // Firmware drops datagrams whose checksum was left to a card that does not exist.
        command::output(
            self.command(node, "ethtool")
                .args(["-K", name, "tx", "off"]),
        )?;
        Ok(())
    }

    fn start_dhcp_server(&mut self, lan: Lan) -> Result<()> {
        let file = self.folder.join("dhcpd.conf");
        let mut config = "interface=eth0\nexcept-interface=lo\nbind-interfaces\nport=0\n\
                          log-dhcp\nno-ping\nno-hosts\nno-resolv\nenable-ra\n"
            .to_owned();
        config += &format!("dhcp-leasefile={}\n", self.folder.join("leases").display());
        config += &match lan {
            Lan::SameHost => "dhcp-range=10.99.0.100,10.99.0.200,255.255.255.0,1h\n\
                              dhcp-vendorclass=set:pxe,PXEClient\n\
                              dhcp-option-force=tag:pxe,60,PXEClient\n"
                .to_owned(),
            Lan::V4 => "dhcp-range=10.99.0.100,10.99.0.200,255.255.255.0,1h\n\
                        dhcp-range=set:far,10.99.1.100,10.99.1.200,255.255.255.0,1h\n\
                        dhcp-option=tag:far,option:router,10.99.1.1\n\
                        dhcp-range=fd99::,ra-only\n"
                .to_owned(),
            // iPXE names itself in its user class; without the difference it would be handed
            // itself again and again.
            Lan::V6 => format!(
                "dhcp-range=fd99::100,fd99::1ff,64,1h\n\
                 dhcp-userclass=set:ipxe,iPXE\n\
                 dhcp-option=tag:ipxe,option6:59,\"http://[{SERVER6}]:8080/boot\"\n\
                 dhcp-option=tag:!ipxe,option6:59,\"tftp://[{SERVER6}]/snponly.efi\"\n"
            ),
        };
        fs::write(&file, config)?;
        let host = match lan {
            Lan::SameHost => Node::Server,
            Lan::V4 | Lan::V6 => Node::Dhcpd,
        };
        let mut dnsmasq = self.command(host, "dnsmasq");
        dnsmasq
            .args(["--keep-in-foreground", "--log-facility=-", "--user=root"])
            .arg(format!("--conf-file={}", file.display()))
            .arg(format!(
                "--pid-file={}",
                self.folder.join("dhcpd.pid").display()
            ));
        self.services
            .push(Running::start("dhcpd", &self.folder, dnsmasq)?);
        Ok(())
    }

    /// One relay, two targets: the DHCP server and the server under test, as administrators set
    /// two helper addresses.
    fn start_relay(&mut self) -> Result<()> {
        let mut dnsmasq = self.command(Node::Relay, "dnsmasq");
        dnsmasq
            .args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--user=root",
                "--port=0",
            ])
            .args([
                "--conf-file=/dev/null",
                "--log-dhcp",
                "--no-hosts",
                "--no-resolv",
            ])
            .arg(format!(
                "--pid-file={}",
                self.folder.join("relay.pid").display()
            ))
            // Without a router advertisement iPXE waits 13 s for one.
            .args(["--enable-ra", "--dhcp-range=fd98::,ra-only"])
            .arg(format!("--dhcp-relay={RELAY},{DHCP_SERVER}"))
            .arg(format!("--dhcp-relay={RELAY},{SERVER}"));
        self.services
            .push(Running::start("relay", &self.folder, dnsmasq)?);
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.services.clear();
        for node in Node::ALL {
            // Links and taps go with their namespace; one that was never made is not missed.
            line(&format!("ip netns del {}", self.namespace(node))).ok();
        }
    }
}

/// Removes namespaces of runs that were killed, and what still runs in them: dnsmasq changes its
/// credentials, and the kernel then forgets that it was to end with its parent.
fn sweep() -> Result<()> {
    for entry in line("ip netns list")?.lines() {
        let name = entry.split_whitespace().next().unwrap_or_default();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            for pid in line(&format!("ip netns pids {name}"))?.lines() {
                if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                    // It may have ended in between.
                    kill_process(pid, Signal::TERM).ok();
                }
            }
            line(&format!("ip netns del {name}"))?;
        }
    }
    Ok(())
}
