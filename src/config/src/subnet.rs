//! Subnets as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A subnet: `10.1.0.0/16`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Whether the address lies in it. IPv4 in its IPv6 form counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4()
            && masked(address, self.prefix) == bits(self.address)
    }

    /// Whether every address of the other one lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

/// Bits of the address behind the prefix are refused: one of the two is wrong.
impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable =
            || format!("`{plain}` is not a subnet: write it as `10.1.0.0/16` or `2001:db8::/32`");
        let (address, prefix) = text.trim().split_once('/').ok_or_else(unreadable)?;
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        let prefix: u8 = prefix.parse().map_err(|_| unreadable())?;
        if prefix > width(address) {
            return Err(unreadable());
        }
        let network = masked(address, prefix);
        if network != bits(address) {
            let network = match address {
                IpAddr::V4(_) => IpAddr::V4(((network >> 96) as u32).into()),
                IpAddr::V6(_) => IpAddr::V6(network.into()),
            };
            return Err(format!(
                "`{plain}` is an address inside a subnet: the subnet is `{network}/{prefix}`"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address's bits, from the top.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix))
        .unwrap_or_default();
    bits(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_holds_its_addresses_and_no_others() {
        let holds = |net: &str, address: &str| subnet(net).contains(address.parse().unwrap());
        assert!(holds("10.1.0.0/16", "10.1.255.255"));
        assert!(holds("10.1.0.0/16", "::ffff:10.1.0.1"));
        assert!(!holds("10.1.0.0/16", "10.2.0.0"));
        assert!(!holds("10.1.0.0/16", "a01::"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("192.0.2.1/32", "192.0.2.1"));
        assert!(!holds("192.0.2.1/32", "192.0.2.0"));
        assert!(holds("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!holds("2001:db8::/33", "2001:db8:8000::"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn a_larger_subnet_covers_the_smaller() {
        assert!(subnet("10.0.0.0/8").covers(&subnet("10.1.0.0/16")));
        assert!(subnet("10.0.0.0/8").covers(&subnet("10.0.0.0/8")));
        assert!(!subnet("10.1.0.0/16").covers(&subnet("10.0.0.0/8")));
        assert!(!subnet("::/0").covers(&subnet("10.0.0.0/8")));
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for (text, says) in [
            ("", "not a subnet"),
            ("10.1.0.0", "not a subnet"),
            ("10.1.0.0/33", "not a subnet"),
            ("10.1/16", "not a subnet"),
            ("::/129", "not a subnet"),
            ("10.1.2.3/16", "the subnet is `10.1.0.0/16`"),
            ("2001:db8::1/32", "the subnet is `2001:db8::/32`"),
        ] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert_eq!(subnet("10.1.0.0/16").to_string(), "10.1.0.0/16");
    }
}
