//! Reads what the kernel says about a datagram: the sender's address and the packet info.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::Arrival;

/// Bytes of a control message header: length, level, type.
const HEADER: usize = size_of::<libc::cmsghdr>();

/// Where a datagram came from and arrived, out of `msg_name` and `msg_control`. `None` when the
/// kernel gave no packet info: the socket is not one of ours.
pub(super) fn arrival(name: &[u8], control: &[u8]) -> Option<Arrival> {
    let source = address(name)?;
    let (local, interface, broadcast) = packet_info(control)?;
    Some(Arrival {
        source,
        local,
        interface,
        broadcast,
    })
}

/// Reads a `sockaddr_in` or `sockaddr_in6`.
fn address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(array(name, 0)?);
    let port = u16::from_be_bytes(array(name, 2)?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = array(name, 4)?;
            Some(SocketAddr::from((ip, port)))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = array(name, 8)?;
            let scope = u32::from_ne_bytes(array(name, 24)?);
            // The flow label is no part of who somebody is.
            Some(SocketAddrV6::new(ip.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// Our address, the interface, and whether the datagram was sent to many.
fn packet_info(mut control: &[u8]) -> Option<(IpAddr, u32, bool)> {
    loop {
        let length = usize::from_ne_bytes(array(control, 0)?);
        let level = i32::from_ne_bytes(array(control, 8)?);
        let kind = i32::from_ne_bytes(array(control, 12)?);
        let data = control.get(HEADER..length)?;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => return info_v4(data),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => return info_v6(data),
            _ => control = control.get(length.next_multiple_of(8)..)?,
        }
    }
}

/// `in_pktinfo`: interface, our primary address there, destination of the header.
fn info_v4(data: &[u8]) -> Option<(IpAddr, u32, bool)> {
    let interface = u32::from_ne_bytes(array(data, 0)?);
    let ours = Ipv4Addr::from(array::<4>(data, 4)?);
    let destination = Ipv4Addr::from(array::<4>(data, 8)?);
    // A subnet's broadcast address cannot be told by its digits, but it is never ours.
    let many = destination != ours;
    Some((ours.into(), interface, many))
}

/// `in6_pktinfo`: destination of the header, interface.
fn info_v6(data: &[u8]) -> Option<(IpAddr, u32, bool)> {
    let destination = Ipv6Addr::from(array::<16>(data, 0)?);
    let interface = u32::from_ne_bytes(array(data, 16)?);
    let many = destination.is_multicast();
    let ours = if many {
        Ipv6Addr::UNSPECIFIED
    } else {
        destination
    };
    Some((ours.into(), interface, many))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn name_v4() -> Vec<u8> {
        let mut name = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        name.extend(2070u16.to_be_bytes());
        name.extend([10, 0, 0, 7]);
        name.extend([0; 8]);
        name
    }

    #[test]
    fn packet_info_is_found_behind_other_control_messages() {
        let mut control = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[0; 16]);
        let mut info = 3u32.to_ne_bytes().to_vec();
        info.extend([10, 0, 0, 1, 255, 255, 255, 255]);
        control.extend(message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info));
        let arrival = arrival(&name_v4(), &control).unwrap();
        assert_eq!(arrival.source, "10.0.0.7:2070".parse().unwrap());
        assert_eq!(arrival.local, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(arrival.interface, 3);
        assert!(arrival.broadcast);
    }

    #[test]
    fn control_data_that_is_cut_off_or_lies_about_its_length_gives_nothing() {
        let info = [3, 0, 0, 0, 10, 0, 0, 1, 10, 0, 0, 1];
        let whole = message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        for cut in 0..HEADER + info.len() {
            assert_eq!(arrival(&name_v4(), &whole[..cut]), None, "{cut}");
        }
        for length in [0usize, 8, usize::MAX, usize::MAX - 7] {
            let mut lying = message(libc::SOL_SOCKET, 0, &info);
            lying[..8].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(arrival(&name_v4(), &lying), None, "{length}");
        }
    }
}
