//! Relays: giaddr and option 82 (RFC 3046, RFC 3527, RFC 5107).

use std::net::Ipv4Addr;

/// The sub-options of option 82 that change an answer. The option itself goes back unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RelayInfo {
    /// Sub-option 5: the subnet of the machine, where giaddr is not in it.
    pub link: Option<Ipv4Addr>,
    /// Sub-option 11: the address that the reply must name as its server.
    pub server_id: Option<Ipv4Addr>,
}

impl RelayInfo {
    pub(super) fn parse(data: &[u8]) -> Self {
        let mut info = Self::default();
        for (number, value) in sub_options(data) {
            let address = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            match number {
                LINK_SELECTION => info.link = address,
                SERVER_ID_OVERRIDE => info.server_id = address,
                _ => {}
            }
        }
        info
    }
}

/// The sub-options of option 82, up to the first that is cut off.
fn sub_options(data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let [number, len, behind @ ..] = rest else {
            return None;
        };
        let (value, behind) = behind.split_at_checked(usize::from(*len))?;
        rest = behind;
        Some((*number, value))
    })
}

/// One sub-option of option 82; empty where it is not there.
pub(super) fn sub_option(data: &[u8], number: u8) -> &[u8] {
    let found = sub_options(data).find(|(found, _)| *found == number);
    found.map_or(&[], |(_, value)| value)
}

/// The relay's port or circuit.
pub(super) const CIRCUIT_ID: u8 = 1;
/// What is at its other end.
pub(super) const REMOTE_ID: u8 = 2;

/// An address that a relay can have, so that an answer to it goes to one host.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224
}

const LINK_SELECTION: u8 = 5;
const SERVER_ID_OVERRIDE: u8 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_and_server_id_are_read_among_other_sub_options() {
        let info =
            RelayInfo::parse(&[1, 2, 9, 9, 5, 4, 10, 1, 0, 0, 11, 4, 10, 1, 0, 1, 151, 1, 0]);
        assert_eq!(sub_option(&[1, 2, 9, 9, 2, 1, 7], REMOTE_ID), [7]);
        assert_eq!(sub_option(&[1, 2, 9], CIRCUIT_ID), []);
        assert_eq!(info.link, Some(Ipv4Addr::new(10, 1, 0, 0)));
        assert_eq!(info.server_id, Some(Ipv4Addr::new(10, 1, 0, 1)));
        assert_eq!(RelayInfo::parse(&[11, 3, 1, 2, 3]), RelayInfo::default());
        assert_eq!(RelayInfo::parse(&[11, 4, 1, 2]), RelayInfo::default());
    }

    #[test]
    fn multicast_and_broadcast_are_no_hosts() {
        assert!(is_host(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(is_host(Ipv4Addr::LOCALHOST));
        for no in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [224, 0, 0, 1],
            [255; 4],
            [240, 0, 0, 1],
        ] {
            assert!(!is_host(no.into()));
        }
    }
}
