//! The names and addresses that the certificate is for.

use std::net::IpAddr;

/// More than this makes a certificate that small firmware chokes on.
const NAMES_MAX: usize = 64;

/// `hosts`, the host's name, `localhost` and the addresses of all interfaces.
pub(super) fn of_this_host(hosts: &[String]) -> Vec<String> {
    let host_name = host_name();
    let addresses = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the interfaces cannot be listed for the certificate");
        Vec::new()
    });
    wanted(
        hosts,
        host_name.as_deref(),
        addresses.iter().map(if_addrs::Interface::ip),
    )
}

/// What the kernel calls this machine.
pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// Without duplicates; `hosts` first, since the first is what people see.
fn wanted(
    hosts: &[String],
    host_name: Option<&str>,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Vec<String> {
    let mut addresses: Vec<IpAddr> = addresses.into_iter().filter(|a| is_stable(*a)).collect();
    addresses.sort_unstable();
    let names = hosts
        .iter()
        .map(|h| h.trim_matches(['[', ']']).to_owned())
        .chain(host_name.map(ToOwned::to_owned))
        .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
        .chain(addresses.iter().map(ToString::to_string));
    let mut wanted = Vec::new();
    for name in names.map(|n| n.to_ascii_lowercase()) {
        if !(is_dns_name(&name) || name.parse::<IpAddr>().is_ok()) {
            tracing::warn!(name = %name.escape_default(), "left out of the certificate: no DNS name");
        } else if wanted.len() < NAMES_MAX && !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    wanted
}

/// Link-local addresses mean nothing without their interface.
fn is_stable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// RFC 1123, section 2.1, and no all-numeric last label.
fn is_dns_name(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253
        && name.split('.').all(label)
        && name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_addresses_stable() {
        let hosts = ["Boot.Example".to_owned(), "10.0.0.9".to_owned()];
        let addresses = [
            "127.0.0.1",
            "10.0.0.9",
            "fe80::1",
            "169.254.3.4",
            "10.0.0.2",
        ];
        let names = wanted(
            &hosts,
            Some("bad_name"),
            addresses.map(|a| a.parse().unwrap()),
        );
        assert_eq!(
            names,
            [
                "boot.example",
                "10.0.0.9",
                "localhost",
                "127.0.0.1",
                "::1",
                "10.0.0.2"
            ]
        );
    }

    #[test]
    fn only_dns_names_are_dns_names() {
        for good in ["a", "a-b.c1", "boot.example.org"] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in ["", ".", "a.", "-a", "a_b", "a b", "1.2.3.4", "é.example"] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
