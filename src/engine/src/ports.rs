//! Who holds a port, as far as /proc shows it.

use std::fs;
use std::net::SocketAddr;

use crate::error::Holder;

/// The transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Udp => ["/proc/net/udp", "/proc/net/udp6"],
            Self::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        }
    }
}

/// Whether some socket of this network namespace is bound to a UDP port over IPv4.
pub(crate) fn udp4_in_use(port: u16) -> bool {
    fs::read_to_string("/proc/net/udp").is_ok_and(|table| inodes(&table, port, false).count() > 0)
}

/// Who is bound to a UDP port over IPv4 in this network namespace, if anybody is.
#[must_use]
pub fn udp_holder(port: u16) -> Option<Holder> {
    let address = SocketAddr::from(([0; 4], port));
    udp4_in_use(port).then(|| holder(Transport::Udp, address))
}

/// Who holds the port of `address`.
pub(crate) fn holder(transport: Transport, address: SocketAddr) -> Holder {
    let wanted: Vec<String> = transport
        .tables()
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| {
            inodes(&table, address.port(), transport == Transport::Tcp)
                .map(|inode| format!("socket:[{inode}]"))
                .collect::<Vec<_>>()
        })
        .collect();
    Holder {
        process: find_process(&wanted),
    }
}

/// Inodes of the sockets in a /proc/net table that are bound to a port (and, for TCP, listen).
fn inodes(table: &str, port: u16, listening: bool) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let ours = u16::from_str_radix(local_port, 16) == Ok(port);
        (ours && (!listening || state == "0A")).then_some(inode)
    })
}

fn find_process(sockets: &[String]) -> Option<(u32, String)> {
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| sockets.iter().any(|s| target.as_os_str() == s.as_str()))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let holder = holder(Transport::Udp, address);
        assert_eq!(holder.process.unwrap().0, std::process::id());
        assert!(udp4_in_use(address.port()));
    }

    #[test]
    fn only_listening_sockets_hold_a_tcp_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                       0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
                       1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
                       2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(inodes(table, 8080, true).collect::<Vec<_>>(), ["222"]);
        assert_eq!(inodes(table, 8080, false).count(), 2);
        assert_eq!(inodes("", 8080, false).count(), 0);
    }
}
