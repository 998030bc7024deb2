//! What is to be simulated: the scenario file.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The most machines that one process plays.
pub(crate) const MACHINES_MAX: u32 = 10_000;

/// A scenario, as its TOML file says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The boot server under test.
    pub(crate) server: Ipv4Addr,
    /// Our address: the relay agent (giaddr) through which the machines ask. Port 67 is bound
    /// here.
    pub(crate) relay: Ipv4Addr,
    /// Address of the first machine; the others follow. The host must accept them all, for example
    /// by `ip route add local 10.99.8.0/22 dev lo`.
    pub(crate) first_address: Ipv4Addr,
    /// How many machines.
    pub(crate) machines: u32,
    /// Milliseconds over which they are switched on; 0 is all at once.
    #[serde(default)]
    pub(crate) ramp_ms: u64,
    /// What they are.
    #[serde(default)]
    pub(crate) firmware: Firmware,
    /// A machine that has not booted after this many seconds has failed.
    #[serde(default = "default_patience")]
    pub(crate) patience_s: u64,
    /// Ports of the server, where they are not the usual ones.
    #[serde(default)]
    pub(crate) ports: Ports,
}

/// Which firmware the machines imitate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Firmware {
    /// PC BIOS: architecture 0, the NBP is named in the first offer.
    Bios,
    /// x64 UEFI: architecture 7, the NBP comes from port 4011.
    #[default]
    Uefi,
    /// Every other machine is the one or the other.
    Mixed,
}

/// The server's ports.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ports {
    /// DHCP.
    pub(crate) dhcp: u16,
    /// PXE boot server.
    pub(crate) pxe: u16,
    /// TFTP.
    pub(crate) tftp: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            dhcp: 67,
            pxe: 4011,
            tftp: 69,
        }
    }
}

impl Scenario {
    /// Reads and checks a scenario file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the scenario {}", path.display()))?;
        let scenario: Self =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        scenario
            .check()
            .with_context(|| format!("in {}", path.display()))?;
        Ok(scenario)
    }

    /// Refuses what cannot or must not be simulated.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MACHINES_MAX).contains(&self.machines),
            "machines = {}: between 1 and {MACHINES_MAX} can be played",
            self.machines
        );
        ensure!(
            u32::from(self.first_address)
                .checked_add(self.machines)
                .is_some(),
            "first_address + machines leaves the address space"
        );
        ensure!(
            [self.server, self.relay, self.first_address]
                .iter()
                .all(is_own_ground),
            "only loopback and private addresses are simulated upon: a storm against a public \
             address is an attack"
        );
        Ok(())
    }

    /// The address of machine `index`.
    pub(crate) fn address(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first_address).saturating_add(index))
    }

    /// The server's DHCP address.
    pub(crate) fn dhcp(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, self.ports.dhcp)
    }
}

pub(crate) fn is_own_ground(address: &Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

fn default_patience() -> u64 {
    120
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "server = '10.99.0.2'\nrelay = '10.99.0.3'\n\
                           first_address = '10.99.8.1'\nmachines = 200\n";

    #[test]
    fn a_minimal_scenario_has_the_usual_ports() {
        let scenario: Scenario = toml::from_str(MINIMAL).unwrap();
        scenario.check().unwrap();
        assert_eq!(scenario.dhcp(), "10.99.0.2:67".parse().unwrap());
        assert_eq!(scenario.address(255), Ipv4Addr::new(10, 99, 9, 0));
    }

    #[test]
    fn public_addresses_and_absurd_numbers_are_refused() {
        let public = MINIMAL.replace("10.99.0.2", "192.0.43.10");
        assert!(
            toml::from_str::<Scenario>(&public)
                .unwrap()
                .check()
                .is_err()
        );
        let many = MINIMAL.replace("200", "20000");
        assert!(toml::from_str::<Scenario>(&many).unwrap().check().is_err());
        assert!(toml::from_str::<Scenario>(&format!("{MINIMAL}machine = 1\n")).is_err());
    }
}
