//! Whom events of boots are passed on to: the `[events]` table.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

use crate::lint::{Finding, is_host_name, shortened};
use crate::load::read_or_note;

/// The `[events]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsConfig {
    /// A syslog collector.
    pub syslog: Option<Collector>,
}

/// A syslog collector that takes datagrams: `udp://HOST` or `udp://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

/// Where collectors listen (RFC 5426, section 3.3).
const PORT: u16 = 514;

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = shortened(text);
        let rest = text
            .strip_prefix("udp://")
            .ok_or_else(|| format!("`{plain}` does not begin with `udp://`"))?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let (host, is_host) = match in_brackets {
            Some(address) => (address, matches!(address.parse(), Ok(IpAddr::V6(_)))),
            None => (host, is_host_name(host)),
        };
        if !is_host {
            return Err(format!("`{plain}` names no host"));
        }
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(port @ 1..)) => port,
            Some(_) => return Err(format!("`{plain}` names no port from 1 to 65535")),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "udp://[{host}]:{port}")
        } else {
            write!(f, "udp://{host}:{port}")
        }
    }
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    syslog: Option<String>,
}

pub(crate) fn take(to: &mut EventsConfig, written: Written, findings: &mut Vec<Finding>) {
    let key = || "events.syslog".to_owned();
    to.syslog = read_or_note(written.syslog.as_deref(), key, findings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_read_and_others_refused() {
        for (text, shown) in [
            ("udp://10.0.0.5", "udp://10.0.0.5:514"),
            ("udp://10.0.0.5:5514", "udp://10.0.0.5:5514"),
            ("udp://logs.example.net:514", "udp://logs.example.net:514"),
            ("udp://[2001:db8::1]", "udp://[2001:db8::1]:514"),
            ("udp://[2001:db8::1]:6514", "udp://[2001:db8::1]:6514"),
        ] {
            let read: Collector = text.parse().unwrap();
            assert_eq!(read.to_string(), shown);
        }
        for (bad, says) in [
            ("", "does not begin"),
            ("tcp://a", "does not begin"),
            ("10.0.0.5:514", "does not begin"),
            ("udp://", "no host"),
            ("udp://a b", "no host"),
            ("udp://[10.0.0.5]", "no host"),
            ("udp://2001:db8::1", "no host"),
            ("udp://a:0", "no port"),
            ("udp://a:70000", "no port"),
        ] {
            let error = bad.parse::<Collector>().unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
