//! Who else on this host gets the packets that the classifier sees.

use std::fs;
use std::path::Path;

use bootstorm_config::Config;
use bootstorm_engine::udp_holder;

/// Where the kernel shows interfaces.
const INTERFACES: &str = "/sys/class/net";

/// A line for each neighbour. To be asked before the own ports are open.
pub(crate) fn look(config: &Config, interfaces: &[(String, u32)]) -> Vec<String> {
    let dhcp = config.listen.dhcp.address();
    let port = dhcp.and_then(|dhcp| {
        let holder = udp_holder(dhcp.port())?;
        Some(format!("UDP port {} is taken{holder}", dhcp.port()))
    });
    let uppers = interfaces.iter().flat_map(|(name, index)| {
        let uppers = uppers(&Path::new(INTERFACES).join(name), *index);
        uppers
            .into_iter()
            .map(move |(upper, kind)| format!("{name} is a port of {upper} ({kind})"))
    });
    port.into_iter().chain(uppers).collect()
}

/// Those that do not get their packets through another of them. What comes in by a VLAN or a bridge
/// is judged at the port below: at both, each packet would be paid for twice.
pub(crate) fn lowest(interfaces: &[(String, u32)]) -> Vec<(String, u32)> {
    lowest_of(interfaces, Path::new(INTERFACES))
}

fn lowest_of(interfaces: &[(String, u32)], folder: &Path) -> Vec<(String, u32)> {
    let is_listed = |lower: &String| interfaces.iter().any(|(name, _)| name == lower);
    let is_lowest = |(name, index): &&(String, u32)| {
        let lowers = neighbours(&folder.join(name), *index, "lower_");
        !lowers.iter().any(|(lower, _)| is_listed(lower))
    };
    interfaces.iter().filter(is_lowest).cloned().collect()
}

/// Interfaces that take packets from this one, with their kinds: a bridge, a bond, a macvlan. VLANs
/// do not count: what is for their own ports on this host is found there.
fn uppers(interface: &Path, index: u32) -> Vec<(String, String)> {
    let mut found = neighbours(interface, index, "upper_");
    found.retain(|(_, kind)| kind != "vlan");
    found
}

/// Interfaces above or below this one, with their kinds, by name.
fn neighbours(interface: &Path, index: u32, side: &str) -> Vec<(String, String)> {
    // In a namespace of its own /sys may still show the interfaces of another.
    let shown = fs::read_to_string(interface.join("ifindex")).unwrap_or_default();
    if shown.trim().parse() != Ok(index) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(interface) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let neighbour = name.strip_prefix(side)?.to_owned();
            Some((neighbour, kind(&entry.path())))
        })
        .collect();
    found.sort();
    found
}

/// `bridge`, `bond`, `macvlan`, `vlan` and so on, as the kernel names it.
fn kind(interface: &Path) -> String {
    let uevent = fs::read_to_string(interface.join("uevent")).unwrap_or_default();
    let kind = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVTYPE="));
    kind.unwrap_or("another interface").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_and_bonds_are_told_and_vlans_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let interface = folder.path().join("eth0");
        fs::create_dir(&interface).unwrap();
        fs::write(interface.join("ifindex"), "7\n").unwrap();
        assert_eq!(uppers(&interface, 7), []);
        for (name, uevent) in [
            ("br0", "DEVTYPE=bridge\nINTERFACE=br0\n"),
            ("eth0.5", "DEVTYPE=vlan\n"),
            ("team0", "INTERFACE=team0\n"),
        ] {
            let upper = folder.path().join(name);
            fs::create_dir(&upper).unwrap();
            fs::write(upper.join("uevent"), uevent).unwrap();
            std::os::unix::fs::symlink(&upper, interface.join(format!("upper_{name}"))).unwrap();
        }
        let expected = [("br0", "bridge"), ("team0", "another interface")];
        assert_eq!(
            uppers(&interface, 7),
            expected.map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        );
        assert_eq!(uppers(&interface, 8), []);
        assert_eq!(uppers(&folder.path().join("gone"), 7), []);
    }

    #[test]
    fn a_bridge_or_vlan_gets_its_packets_by_the_port_below() {
        let folder = tempfile::tempdir().unwrap();
        for (name, index) in [("eth0", 1), ("eth1", 2), ("br0", 3), ("eth1.5", 4)] {
            let interface = folder.path().join(name);
            fs::create_dir(&interface).unwrap();
            fs::write(interface.join("ifindex"), index.to_string()).unwrap();
        }
        for (upper, lower) in [("br0", "eth0"), ("eth1.5", "eth1")] {
            let link = folder.path().join(upper).join(format!("lower_{lower}"));
            std::os::unix::fs::symlink(folder.path().join(lower), link).unwrap();
        }
        let lowest = |names: &[(&str, u32)]| {
            let all: Vec<_> = names.iter().map(|(n, i)| ((*n).to_owned(), *i)).collect();
            let lowest = lowest_of(&all, folder.path());
            lowest.into_iter().map(|(_, i)| i).collect::<Vec<_>>()
        };
        assert_eq!(lowest(&[("br0", 3), ("eth0", 1), ("eth1.5", 4)]), [1, 4]);
        assert_eq!(lowest(&[("br0", 3), ("eth1", 2), ("eth1.5", 4)]), [3, 2]);
    }

    #[test]
    fn a_dhcp_server_on_this_host_is_told_by_its_port() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = Config::for_user();
        config.listen.set(&format!("dhcp=:{port}")).unwrap();
        let lines = look(&config, &[]);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(&format!("UDP port {port} is taken by ")),
            "{lines:?}"
        );
        config.listen.set("dhcp=off").unwrap();
        assert_eq!(look(&config, &[]), [""; 0]);
    }
}
