//! The boot server's address.

/// Scheme, host and port of the boot server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// It is spoken to through TLS.
    pub secure: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Server {
    /// Reads `https://boot.example:8050`, with or without a slash at the end; anything behind the
    /// host and port is none.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (secure, rest) = match url.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (host, port) = rest.split_once(']')?;
            let _: std::net::Ipv6Addr = host.parse().ok()?;
            (host, port)
        } else {
            let end = rest.find(':').unwrap_or(rest.len());
            rest.split_at(end)
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None if port.is_empty() && secure => 443,
            None if port.is_empty() => 80,
            None => return None,
        };
        Some(Self {
            secure,
            host: host.to_owned(),
            port,
        })
    }

    /// Host and port as a request's `Host` and as messages have them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let read = |url: &str| {
            let server = Server::parse(url)?;
            Some((server.secure, server.authority()))
        };
        for (url, secure, authority) in [
            ("https://10.0.0.1:8050", true, "10.0.0.1:8050"),
            ("http://boot.example/", false, "boot.example:80"),
            ("https://[fd00::1]", true, "[fd00::1]:443"),
        ] {
            assert_eq!(read(url), Some((secure, authority.to_owned())), "{url}");
        }
        for wrong in [
            "",
            "10.0.0.1:8050",
            "ftp://10.0.0.1",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://a/b",
            "https://a b",
            "https://a\r\nb",
            "https://[fd00::1",
            "https://[x]:1",
            "https://user@a",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
