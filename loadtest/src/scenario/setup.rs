//! From a scenario to what the storm's loop plays.

use std::net::SocketAddrV4;
use std::sync::Arc;

use bootstorm_config::Span;

use super::{LeasesFrom, Mode, Restart, Scenario, Until};
use crate::machine::body::copies::Copies;
use crate::machine::event::Phase;
use crate::machine::plan::{Expected, Leases, Plan};
use crate::report::About;
use crate::storm::{Link, OwnPorts, ServerProcess, Setup, StopRules, TlsSetup};

impl Scenario {
    /// What is played, beside the server's process where that is known.
    pub(crate) fn setup(&self, server: Option<ServerProcess>) -> Setup {
        Setup {
            starts: self.starts(),
            plan: Arc::new(self.plan()),
            link: self.way(),
            tls: TlsSetup {
                ca: self.tls.ca.clone(),
                insecure: self.tls.insecure,
                resume: self.tls.resume,
                versions: self.tls.version,
            },
            stop: StopRules {
                after: self.stop.after.map(|Span(after)| after),
                failures: self.stop.failures,
            },
            server,
            ports: OwnPorts::default(),
        }
    }

    /// What reports say of it.
    pub(crate) fn about(&self) -> About {
        About {
            name: self.name.clone(),
            about: self.about.clone(),
            server: self.server.to_string(),
            machines: self.machines,
            link: self.link_told(),
            scaled: self.scaled.map(|scaled| {
                format!(
                    "the image is {} times smaller than the {} that are meant",
                    scaled.factor, scaled.image
                )
            }),
        }
    }

    /// How the machines' broadcasts come to servers.
    pub(crate) fn way(&self) -> Link {
        let network = &self.network;
        match (network.mode, &network.interface) {
            (Mode::Broadcast, Some(interface)) => Link::Broadcast {
                interface: interface.clone(),
            },
            // Broadcast without an interface is refused before.
            (Mode::Relayed | Mode::Broadcast, _) => {
                let servers = std::iter::once(&self.server).chain(&network.dhcp);
                let at = |address: &_| SocketAddrV4::new(*address, self.ports.dhcp);
                Link::Relayed {
                    relays: network.relays.clone(),
                    servers: servers.map(at).collect(),
                }
            }
        }
    }

    /// The first section that only the laboratory can do.
    pub(crate) fn only_in_lab(&self) -> Option<&'static str> {
        [
            ("link", self.link.is_some()),
            ("flood", self.flood.is_some()),
            ("restart", self.restart.is_some()),
        ]
        .into_iter()
        .find_map(|(section, given)| given.then_some(section))
    }

    /// What goes on beside the machines, a sentence each.
    pub(crate) fn beside(&self) -> Vec<String> {
        let flood = self.flood.as_ref().map(|flood| {
            let kinds: Vec<_> = flood.kinds.iter().map(|kind| kind.told()).collect();
            let (rate, kinds) = (flood.rate, kinds.join(" and "));
            format!("{rate} frames a second of {kinds} were sent to the server")
        });
        let restart = self.restart.map(|Restart { at, down }| {
            format!("the server was killed after {at} and started again {down} later")
        });
        flood.into_iter().chain(restart).collect()
    }

    /// What all machines share.
    fn plan(&self) -> Plan {
        let network = self.network.machines.0;
        let expected = self.boot.expect.iter().filter_map(|(name, written)| {
            let mut sha256 = [0; 32];
            hex::decode_to_slice(written, &mut sha256).ok()?;
            Some(Expected {
                name: name.clone(),
                sha256,
            })
        });
        Plan {
            server: self.server,
            ports: self.ports,
            leases: match self.network.leases {
                LeasesFrom::Harness => Leases::Harness(network),
                LeasesFrom::Server => Leases::Server(network),
            },
            timing: self.boot.timing,
            patience: self.boot.patience.0,
            tries: self.boot.tries,
            verify: self.boot.verify,
            expected: expected.collect(),
            copies: Copies::default(),
            hosts: self.boot.hosts.clone(),
            keep_alive: self.boot.keep_alive,
            reports: self.boot.reports,
            until: match self.boot.until {
                Until::Program => Phase::Program,
                Until::Booted => Phase::Booted,
            },
        }
    }

    fn link_told(&self) -> Option<String> {
        let link = self.link.as_ref()?;
        let told = [
            link.down.map(|rate| format!("{rate} down")),
            link.up.map(|rate| format!("{rate} up")),
            link.loss.map(|loss| format!("{loss} lost each way")),
            link.mtu.map(|mtu| format!("MTU {mtu}")),
        ];
        Some(told.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
