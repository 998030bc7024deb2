//! What cannot or must not be played.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use bootstorm_config::Span;

use super::{Arrival, Mode, Problem, Scenario, Until};
use crate::ground;
use crate::machine::profile::Profile;

/// The most machines that one process plays.
pub(crate) const MACHINES_MAX: u32 = 10_000;
/// The most relay agents that it plays.
const RELAYS_MAX: usize = 32;
/// The most servers that relay agents ask beside the boot server.
const DHCP_MAX: usize = 8;
/// The longest of everything that takes time.
const LONGEST: Duration = Duration::from_secs(86_400);
/// What fits names and addresses of a report's head, in bytes.
const NAME_MAX: usize = 64;
/// The most frames a second beside the machines.
const FLOOD_MAX: u64 = 10_000_000;
/// From the least that IPv4 hosts take (RFC 791) to jumbo frames.
const MTUS: std::ops::RangeInclusive<u16> = 576..=9000;

/// Takes down what is wrong.
#[derive(Debug, Default)]
struct Notes(Vec<Problem>);

/// Boots that firmware may begin.
const TRIES_MAX: u32 = 100;

impl Notes {
    /// Notes a problem unless all is well.
    fn ensure(&mut self, well: bool, key: &str, text: impl FnOnce() -> String) {
        if !well {
            self.note(key, text(), None);
        }
    }

    fn note(&mut self, key: &str, text: String, hint: Option<&'static str>) {
        self.0.push(Problem {
            key: key.to_owned(),
            text,
            hint,
        });
    }

    fn own_ground(&mut self, key: &str, address: Ipv4Addr) {
        if !ground::is_own(address) {
            self.note(
                key,
                format!("{address} is not loopback, private or link-local"),
                Some("a storm against a public address is an attack"),
            );
        }
    }

    /// A time that is some and not for ever.
    fn time(&mut self, key: &str, time: Duration) {
        let well = !time.is_zero() && time <= LONGEST;
        self.ensure(well, key, || {
            format!("{} is not between 1ms and 1d", Span(time))
        });
    }
}

impl Scenario {
    /// Everything that is wrong with it, in the order of the sections.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut notes = Notes::default();
        self.check_head(&mut notes);
        self.check_network(&mut notes);
        self.check_addresses(&mut notes);
        self.check_parts(&mut notes);
        self.check_times(&mut notes);
        self.check_boot(&mut notes);
        self.check_surroundings(&mut notes);
        self.limits.check(|key, text| notes.note(key, text, None));
        notes.0
    }

    fn check_head(&self, notes: &mut Notes) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let named = !self.name.is_empty() && self.name.len() <= NAME_MAX;
        notes.ensure(named && self.name.chars().all(is_name), "name", || {
            format!("a name has from 1 to {NAME_MAX} letters, digits, `_`, `-` and `.`")
        });
        let one_line = self.about.chars().count() <= 200 && !self.about.contains(char::is_control);
        notes.ensure(one_line, "about", || {
            "a sentence of at most 200 characters says what a scenario shows".to_owned()
        });
        notes.ensure(
            (1..=MACHINES_MAX).contains(&self.machines),
            "machines",
            || {
                format!(
                    "machines = {}: between 1 and {MACHINES_MAX} can be played",
                    self.machines
                )
            },
        );
    }

    fn check_network(&self, notes: &mut Notes) {
        let network = &self.network;
        match network.mode {
            Mode::Relayed => {
                let many = network.relays.len();
                notes.ensure((1..=RELAYS_MAX).contains(&many), "network.relays", || {
                    format!("relays: between 1 and {RELAYS_MAX} addresses of this host, not {many}")
                });
                notes.ensure(network.interface.is_none(), "network.interface", || {
                    "`interface` is for the mode \"broadcast\"".to_owned()
                });
            }
            Mode::Broadcast => {
                let named = network.interface.as_deref().is_some_and(is_interface);
                notes.ensure(named, "network.interface", || {
                    "the mode \"broadcast\" needs the `interface` to send from".to_owned()
                });
                for (key, given) in [
                    ("network.relays", !network.relays.is_empty()),
                    ("network.dhcp", !network.dhcp.is_empty()),
                ] {
                    notes.ensure(!given, key, || {
                        "relay agents are for the mode \"relayed\"".to_owned()
                    });
                }
            }
        }
        notes.ensure(network.dhcp.len() <= DHCP_MAX, "network.dhcp", || {
            format!("at most {DHCP_MAX} servers are asked beside the boot server")
        });
        let ports = [
            ("ports.dhcp", self.ports.dhcp),
            ("ports.pxe", self.ports.pxe),
            ("ports.tftp", self.ports.tftp),
        ];
        for (key, port) in ports {
            notes.ensure(port != 0, key, || "no server has the port 0".to_owned());
        }
    }

    fn check_addresses(&self, notes: &mut Notes) {
        let network = self.network.machines.0;
        let key = "network.machines";
        notes.own_ground("server", self.server);
        // Both ends: a network may begin in private space and leave it.
        let last = u32::from(network.base) | (u32::MAX >> network.bits);
        for end in [network.base, Ipv4Addr::from(last)] {
            notes.own_ground(key, end);
        }
        let machines = self.machines.clamp(1, MACHINES_MAX);
        notes.ensure(network.host(machines - 1).is_some(), key, || {
            format!(
                "a network of {} bits has no room for {machines} machines",
                network.bits
            )
        });
        let mut taken = BTreeSet::new();
        let named = |list: &str, addresses: &[Ipv4Addr]| -> Vec<_> {
            let keyed = addresses.iter().enumerate();
            keyed
                .map(|(at, address)| (format!("network.{list}[{at}]"), *address))
                .collect()
        };
        let server = vec![("server".to_owned(), self.server)];
        let relays = named("relays", &self.network.relays);
        let dhcp = named("dhcp", &self.network.dhcp);
        for (key, address) in server.into_iter().chain(relays).chain(dhcp) {
            if key != "server" {
                notes.own_ground(&key, address);
            }
            notes.ensure(taken.insert(address), &key, || {
                format!("{address} is there already")
            });
            let of_machine = (0..machines).any(|index| network.host(index) == Some(address));
            notes.ensure(!of_machine, &key, || {
                format!("{address} is the address of a machine in network.machines")
            });
        }
        for (name, address) in &self.boot.hosts {
            notes.own_ground(&format!("boot.hosts.{}", quoted(name)), *address);
        }
    }

    fn check_parts(&self, notes: &mut Notes) {
        notes.ensure(!self.mix.is_empty(), "mix", || {
            "a mix of nothing".to_owned()
        });
        let mut profiles = BTreeSet::new();
        for (at, part) in self.mix.iter().enumerate() {
            notes.ensure(
                (1..=10_000).contains(&part.share),
                &format!("mix[{at}].share"),
                || {
                    format!(
                        "share = {}: a part is from 1 to 10000 against the others",
                        part.share
                    )
                },
            );
            notes.ensure(
                profiles.insert(part.profile),
                &format!("mix[{at}].profile"),
                || "this profile has a part already".to_owned(),
            );
        }
        let mut all = 0.0;
        for (at, part) in self.trouble.iter().enumerate() {
            all += part.share.share();
            let key = format!("trouble[{at}].share");
            notes.ensure(part.share.share() > 0.0, &key, || {
                "a part of nothing".to_owned()
            });
            // Shares are decimal: their sum in binary may be a little more than all.
            notes.ensure(all <= 1.0 + 1e-9, &key, || {
                "the troubles' parts are more than all machines; none has two".to_owned()
            });
            let behaviour = part.behaviour;
            if !behaviour.pause.is_zero() {
                notes.time(&format!("trouble[{at}].pause"), behaviour.pause);
            }
        }
    }

    fn check_times(&self, notes: &mut Notes) {
        match self.arrival {
            Arrival::AtOnce => {}
            Arrival::Ramp { over } => notes.time("arrival.over", over),
            Arrival::Waves { every, .. } => notes.time("arrival.every", every),
        }
        let Span(patience) = self.boot.patience;
        notes.time("boot.patience", patience);
        let tries = self.boot.tries;
        notes.ensure((1..=TRIES_MAX).contains(&tries), "boot.tries", || {
            format!("{tries} tries: from 1 to {TRIES_MAX}")
        });
        if notes.0.is_empty() {
            let last = self.arrival.last(self.machines);
            notes.ensure(last <= LONGEST, "arrival", || {
                format!("the last machine would be switched on after {}", Span(last))
            });
        }
        if let Some(Span(after)) = self.stop.after {
            notes.time("stop.after", after);
        }
        notes.ensure(self.stop.failures != Some(0), "stop.failures", || {
            "it would end before it begins: at least 1".to_owned()
        });
        if let Some(restart) = self.restart {
            notes.time("restart.at", restart.at.0);
            notes.time("restart.down", restart.down.0);
        }
    }

    fn check_boot(&self, notes: &mut Notes) {
        for (name, sha256) in &self.boot.expect {
            let key = format!("boot.expect.{}", quoted(name));
            let digest = hex::decode(sha256).is_ok_and(|bytes| bytes.len() == 32);
            notes.ensure(digest && !name.is_empty(), &key, || {
                "a SHA-256 has 64 hexadecimal digits, and a file a name".to_owned()
            });
        }
        let tls = &self.tls;
        notes.ensure(!(tls.insecure && tls.ca.is_some()), "tls.insecure", || {
            "`ca` says whom to trust, `insecure` to trust everybody: one of them".to_owned()
        });
        let https = self
            .mix
            .iter()
            .find(|part| matches!(part.profile, Profile::UefiHttps | Profile::IpxeHttps));
        if https.is_some() && !tls.insecure && tls.ca.is_none() {
            notes.note(
                "tls",
                "a profile of the mix boots over HTTPS, and no certificate is trusted".to_owned(),
                Some("write `[tls]` with `ca = \"FILE\"` or `insecure = true`, or give --ca FILE"),
            );
        }
        let windows = self
            .mix
            .iter()
            .position(|part| part.profile == Profile::WindowsTftp);
        if let (Some(at), Until::Program) = (windows, self.boot.until) {
            notes.note(
                &format!("mix[{at}].profile"),
                "with until = \"program\" nothing is asked for that makes this profile one"
                    .to_owned(),
                Some("take the profile `uefi`"),
            );
        }
    }

    fn check_surroundings(&self, notes: &mut Notes) {
        if let Some(link) = &self.link {
            let shaped = (link.down, link.up, link.loss, link.mtu) != (None, None, None, None);
            notes.ensure(shaped, "link", || {
                "a link like any other: leave it out".to_owned()
            });
            notes.ensure(
                link.mtu.is_none_or(|mtu| MTUS.contains(&mtu)),
                "link.mtu",
                || format!("an MTU is between {} and {}", MTUS.start(), MTUS.end()),
            );
            let loss = link.loss.unwrap_or_default().share();
            notes.ensure(loss <= 0.5, "link.loss", || {
                "nothing boots where more than half is lost".to_owned()
            });
        }
        if let Some(flood) = &self.flood {
            notes.ensure(!flood.kinds.is_empty(), "flood.kinds", || {
                "a flood of nothing".to_owned()
            });
            notes.ensure((1..=FLOOD_MAX).contains(&flood.rate), "flood.rate", || {
                format!("between 1 and {FLOOD_MAX} frames a second are sent")
            });
        }
    }
}

/// What the kernel takes for the name of an interface.
fn is_interface(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    (1..16).contains(&name.len()) && !name.contains(bad)
}

/// A name as one part of a key.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
