//! Which of the host's interfaces are answered on.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bootstorm_proto::types::MacAddress;

/// One choice: `eth0`, `10.0.0.5`, `52:54:00:99:00:01`; with `!` before it the interface is left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceChoice {
    /// The interface is left out instead of answered on.
    pub left_out: bool,
    /// Which one is meant.
    pub which: InterfaceIs,
}

/// How an interface is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceIs {
    /// By its name.
    Name(String),
    /// By an address that it has.
    Address(IpAddr),
    /// By its hardware address.
    Mac(MacAddress),
}

impl InterfaceChoice {
    /// Whether it means the interface with this name and no other.
    #[must_use]
    pub fn is_name(&self, name: &str) -> bool {
        matches!(&self.which, InterfaceIs::Name(own) if own == name)
    }
}

impl FromStr for InterfaceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (left_out, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        let which = if let Ok(address) = text.parse() {
            InterfaceIs::Address(address)
        } else if let Ok(mac) = text.parse() {
            InterfaceIs::Mac(mac)
        } else if is_name(text) {
            InterfaceIs::Name(text.to_owned())
        } else {
            let text = text.escape_debug();
            return Err(format!(
                "`{text}` is no interface: a name, an address or a MAC address"
            ));
        };
        Ok(Self { left_out, which })
    }
}

impl fmt::Display for InterfaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out {
            f.write_str("!")?;
        }
        match &self.which {
            InterfaceIs::Name(name) => f.write_str(name),
            InterfaceIs::Address(address) => address.fmt(f),
            InterfaceIs::Mac(mac) => mac.fmt(f),
        }
    }
}

/// IFNAMSIZ is 16 with the NUL.
fn is_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !text.contains(['/', '!'])
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_named_by_name_address_or_mac() {
        let read = |text: &str| text.parse::<InterfaceChoice>();
        let name = read("eth0").unwrap();
        assert!(name.is_name("eth0") && !name.left_out);
        let address = read("!10.0.0.5").unwrap();
        assert!(address.left_out);
        assert_eq!(address.which, InterfaceIs::Address([10, 0, 0, 5].into()));
        let mac = read("52-54-00-99-00-01").unwrap();
        assert_eq!(mac.to_string(), "52:54:00:99:00:01");
        for text in ["eth0", "!eth0.100", "!2001:db8::1", "52:54:00:99:00:01"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "!",
            "a/b",
            "a b",
            "!!eth0",
            "an-interface-with-a-long-name",
            "\u{1b}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
