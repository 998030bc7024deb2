//! The listeners and where they listen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::suggest;

/// One service with a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// DHCP as a proxy: UDP 67.
    Dhcp,
    /// PXE boot server: UDP 4011.
    Pxe,
    /// DHCPv6: UDP 547.
    Dhcp6,
    /// TFTP: UDP 69.
    Tftp,
    /// Plain boot endpoint: TCP 8080.
    Http,
    /// Boot endpoint over TLS: TCP 8050.
    Https,
    /// Web service: TCP 8051.
    Web,
    /// Syslog of booting machines: UDP 516.
    Syslog,
}

impl Listener {
    /// Every listener, in the order they are shown.
    pub const ALL: [Self; 8] = [
        Self::Dhcp,
        Self::Pxe,
        Self::Dhcp6,
        Self::Tftp,
        Self::Http,
        Self::Https,
        Self::Web,
        Self::Syslog,
    ];

    /// Name in the configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Pxe => "pxe",
            Self::Dhcp6 => "dhcp6",
            Self::Tftp => "tftp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Web => "web",
            Self::Syslog => "syslog",
        }
    }

    /// The listener of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.name() == name)
    }

    /// It listens on UDP; else on TCP.
    #[must_use]
    pub const fn is_udp(self) -> bool {
        !matches!(self, Self::Http | Self::Https | Self::Web)
    }

    /// Where it listens unless told otherwise. `0.0.0.0` takes IPv6 too where the service speaks it.
    #[must_use]
    pub const fn default_address(self) -> SocketAddr {
        let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match self {
            Self::Dhcp => SocketAddr::new(v4, 67),
            Self::Pxe => SocketAddr::new(v4, 4011),
            Self::Dhcp6 => SocketAddr::new(v6, 547),
            Self::Tftp => SocketAddr::new(v4, 69),
            Self::Http => SocketAddr::new(v4, 8080),
            Self::Https => SocketAddr::new(v4, 8050),
            Self::Web => SocketAddr::new(v4, 8051),
            Self::Syslog => SocketAddr::new(v4, 516),
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl ListenAt {
    /// The address, unless it is off.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// Where every listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP 67.
    pub dhcp: ListenAt,
    /// UDP 4011.
    pub pxe: ListenAt,
    /// UDP 547.
    pub dhcp6: ListenAt,
    /// UDP 69.
    pub tftp: ListenAt,
    /// TCP 8080.
    pub http: ListenAt,
    /// TCP 8050.
    pub https: ListenAt,
    /// TCP 8051.
    pub web: ListenAt,
    /// UDP 516.
    pub syslog: ListenAt,
}

impl Default for Listen {
    fn default() -> Self {
        let at = |listener: Listener| ListenAt::At(listener.default_address());
        Self {
            dhcp: at(Listener::Dhcp),
            pxe: at(Listener::Pxe),
            dhcp6: at(Listener::Dhcp6),
            tftp: at(Listener::Tftp),
            http: at(Listener::Http),
            https: at(Listener::Https),
            web: at(Listener::Web),
            syslog: at(Listener::Syslog),
        }
    }
}

/// Why an address was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// No `=` in it.
    #[error("`{0}` is not NAME=ADDR:PORT or NAME=off, for example tftp=0.0.0.0:69")]
    NotAssignment(String),
    /// An unknown name.
    #[error("there is no listener `{name}`{}; listeners are {}", suggest::clause(suggestion.as_deref()), names())]
    UnknownName {
        /// The name.
        name: String,
        /// The one that was probably meant.
        suggestion: Option<String>,
    },
    /// An address that is none.
    #[error(
        "`{address}` is not an address for `{listener}`: write ADDR:PORT, [IPV6]:PORT, :PORT or \
         `off`"
    )]
    BadAddress {
        /// The listener.
        listener: &'static str,
        /// What was given.
        address: String,
    },
    /// An IPv6 address for an IPv4 service or the other way round.
    #[error("`{listener}` speaks {family} alone, so it cannot listen on {address}")]
    WrongFamily {
        /// The listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What it speaks.
        family: &'static str,
    },
}

impl Listen {
    /// Takes one `NAME=ADDR:PORT` or `NAME=off`, as the command line has it.
    ///
    /// # Errors
    /// [`ListenError`]; nothing is changed then.
    pub fn set(&mut self, assignment: &str) -> Result<(), ListenError> {
        let Some((name, address)) = assignment.split_once('=') else {
            return Err(ListenError::NotAssignment(shortened(assignment)));
        };
        let name = name.trim().to_ascii_lowercase();
        let Some(listener) = Listener::named(&name) else {
            let suggestion = suggest::nearest(&name, Listener::ALL.map(Listener::name));
            return Err(ListenError::UnknownName {
                name: shortened(&name),
                suggestion: suggestion.map(str::to_owned),
            });
        };
        *self.get_mut(listener) = parse_address(listener, address)?;
        Ok(())
    }

    /// Where this one listens.
    #[must_use]
    pub const fn get(&self, listener: Listener) -> ListenAt {
        match listener {
            Listener::Dhcp => self.dhcp,
            Listener::Pxe => self.pxe,
            Listener::Dhcp6 => self.dhcp6,
            Listener::Tftp => self.tftp,
            Listener::Http => self.http,
            Listener::Https => self.https,
            Listener::Web => self.web,
            Listener::Syslog => self.syslog,
        }
    }

    /// The same, to change it.
    pub const fn get_mut(&mut self, listener: Listener) -> &mut ListenAt {
        match listener {
            Listener::Dhcp => &mut self.dhcp,
            Listener::Pxe => &mut self.pxe,
            Listener::Dhcp6 => &mut self.dhcp6,
            Listener::Tftp => &mut self.tftp,
            Listener::Http => &mut self.http,
            Listener::Https => &mut self.https,
            Listener::Web => &mut self.web,
            Listener::Syslog => &mut self.syslog,
        }
    }
}

/// Reads `ADDR:PORT`, `[IPV6]:PORT`, `:PORT` (the listener's usual address) or `off`.
///
/// # Errors
/// [`ListenError::BadAddress`], [`ListenError::WrongFamily`].
pub(crate) fn parse_address(listener: Listener, text: &str) -> Result<ListenAt, ListenError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        return Ok(ListenAt::Off);
    }
    let usual = listener.default_address();
    let parsed = match text.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port)) => Some(SocketAddr::new(usual.ip(), port)),
        _ => text.parse::<SocketAddr>().ok(),
    };
    let Some(address) = parsed else {
        return Err(ListenError::BadAddress {
            listener: listener.name(),
            address: shortened(text),
        });
    };
    let family = match listener {
        Listener::Dhcp | Listener::Pxe if address.is_ipv6() => "IPv4",
        Listener::Dhcp6 if address.is_ipv4() => "IPv6",
        _ => return Ok(ListenAt::At(address)),
    };
    Err(ListenError::WrongFamily {
        listener: listener.name(),
        address,
        family,
    })
}

fn names() -> String {
    Listener::ALL.map(Listener::name).join(", ")
}

/// What is quoted back to people must not carry control characters or be endless.
fn shortened(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(assignment: &str) -> Result<Listen, String> {
        let mut listen = Listen::default();
        listen
            .set(assignment)
            .map(|()| listen)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn every_spelling_of_an_address_is_read() {
        let at = |text: &str| ListenAt::At(text.parse().unwrap());
        assert_eq!(
            set("tftp=127.0.0.1:6969").unwrap().tftp,
            at("127.0.0.1:6969")
        );
        assert_eq!(set("HTTP=:80").unwrap().http, at("0.0.0.0:80"));
        assert_eq!(set("dhcp=:6767").unwrap().dhcp, at("0.0.0.0:6767"));
        assert_eq!(set("web=[::1]:0").unwrap().web, at("[::1]:0"));
        assert_eq!(set("dhcp6=OFF").unwrap().dhcp6, ListenAt::Off);
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_way_to_write_it() {
        for (assignment, says) in [
            ("tftp", "NAME=ADDR:PORT"),
            ("ttfp=off", "did you mean `tftp`?"),
            ("tftp=69", "write ADDR:PORT"),
            ("tftp=10.0.0.1:70000", "write ADDR:PORT"),
            ("tftp=:", "write ADDR:PORT"),
            ("tftp=:x", "write ADDR:PORT"),
            ("tftp=::1:69", "[IPV6]:PORT"),
            ("dhcp=[::]:67", "speaks IPv4 alone"),
            ("dhcp6=0.0.0.0:547", "speaks IPv6 alone"),
            ("x\u{1b}[31m=off", "\\u{1b}"),
        ] {
            let text = set(assignment).unwrap_err();
            assert!(text.contains(says), "{assignment}: {text}");
        }
    }

    #[test]
    fn a_refused_address_changes_nothing() {
        let mut listen = Listen::default();
        assert!(listen.set("tftp=nowhere").is_err());
        assert_eq!(listen, Listen::default());
    }
}
