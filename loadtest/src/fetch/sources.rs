//! What the clients need of this host: addresses and file descriptors.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A range of this host's IPv4 addresses, one for each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    network: u32,
    prefix: u8,
}

impl Sources {
    /// The address of a client; network and broadcast address are left out.
    pub(crate) fn of(self, client: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.network.wrapping_add(client + 1)))
    }

    /// Whether there are enough and the server can be reached from them.
    pub(crate) fn check(self, clients: u32, server: SocketAddr) -> anyhow::Result<()> {
        let room = (1_u64 << (32 - self.prefix)).saturating_sub(2);
        ensure!(
            u64::from(clients) <= room,
            "--from has {room} addresses for {clients} clients"
        );
        ensure!(server.is_ipv4(), "--from is for servers with IPv4 only");
        Ok(())
    }
}

impl FromStr for Sources {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
        let Some((address, prefix @ 8..=30)) = parsed else {
            bail!("`{text}` is no IPv4 ADDRESS/PREFIX with a prefix of 8 to 30");
        };
        let address: Ipv4Addr = address;
        Ok(Self {
            network: address.to_bits() & (u32::MAX << (32 - prefix)),
            prefix,
        })
    }
}

/// One socket a client: raises the soft limit, and as root the hard one.
pub(crate) fn raise_file_limit(files: u32) -> anyhow::Result<()> {
    let need = u64::from(files);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|soft| soft >= need) {
        return Ok(());
    }
    let wanted = Rlimit {
        current: Some(need),
        maximum: now.maximum.map(|hard| hard.max(need)),
    };
    setrlimit(Resource::Nofile, wanted).with_context(|| {
        format!(
            "{files} open files are needed and {} are allowed: raise the hard limit (ulimit -Hn)",
            now.maximum.unwrap_or(u64::MAX)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_an_address_of_its_own() {
        let sources: Sources = "127.1.0.0/16".parse().unwrap();
        assert_eq!(sources.of(0), IpAddr::from([127, 1, 0, 1]));
        assert_eq!(sources.of(499), IpAddr::from([127, 1, 1, 244]));
        let server = "127.0.0.1:69".parse().unwrap();
        assert!(sources.check(5000, server).is_ok());
        assert!(sources.check(70_000, server).is_err());
        assert!("127.1.0.0".parse::<Sources>().is_err());
        assert!("127.1.0.0/33".parse::<Sources>().is_err());
        assert!("::1/16".parse::<Sources>().is_err());
    }
}
