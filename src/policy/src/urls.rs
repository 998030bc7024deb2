//! URLs of the boot endpoint.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bootstorm_config::Scheme;

/// Where a machine reaches the boot endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    base: String,
    token: Option<String>,
}

impl Urls {
    /// URLs at `host`, which is a name or an address.
    #[must_use]
    pub fn new(scheme: Scheme, host: &str, port: u16) -> Self {
        let usual = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let mut base = format!("{}://", scheme.name());
        if host.parse::<std::net::Ipv6Addr>().is_ok() {
            let _ = write!(base, "[{host}]");
        } else {
            base.push_str(host);
        }
        if port != usual {
            let _ = write!(base, ":{port}");
        }
        Self { base, token: None }
    }

    /// URLs on the way that a request came: the `Host` that it asked for, which also holds behind
    /// address translation, or else the address that it reached.
    #[must_use]
    pub fn of_request(host: &str, local: SocketAddr, secure: bool) -> Self {
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        if is_authority(host) {
            let base = format!("{}://{}", scheme.name(), host.to_ascii_lowercase());
            return Self { base, token: None };
        }
        Self::new(scheme, &plain(local.ip()).to_string(), local.port())
    }

    /// The URLs of one boot: those of the machine's own pages carry its token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        let mut encoded = String::new();
        percent_encode(token, &mut encoded);
        Self {
            token: Some(encoded),
            ..self
        }
    }

    /// The token of the boot, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Where the machine asks for its script.
    #[must_use]
    pub fn boot(&self) -> String {
        self.own_page("/boot")
    }

    /// Where the machine tells how its boot ended.
    #[must_use]
    pub fn report(&self) -> String {
        self.own_page("/boot/report")
    }

    fn own_page(&self, path: &str) -> String {
        let base = &self.base;
        match &self.token {
            Some(token) => format!("{base}{path}?token={token}"),
            None => format!("{base}{path}"),
        }
    }

    /// Scheme, host and port, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// URL of a file below the images folder.
    #[must_use]
    pub fn image(&self, path: &str) -> String {
        let mut url = format!("{}/images/", self.base);
        percent_encode(path, &mut url);
        url
    }
}

/// An IPv4 address that a dual-stack socket shows as `::ffff:a.b.c.d` is written as IPv4.
pub(crate) fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Everything but letters, digits and `-._~/` becomes `%XX`, so nothing in a name can end the URL or
/// mean anything to iPXE.
fn percent_encode(path: &str, url: &mut String) {
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

/// A `Host` header that can stand in a URL and in a script as it is.
fn is_authority(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((v6, rest)) => {
            if v6.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", rest)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let name_is_good = !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let port_is_good = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    name_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_goes_in_brackets_and_usual_ports_are_left_out() {
        let base = |scheme, host, port| Urls::new(scheme, host, port).base;
        assert_eq!(base(Scheme::Http, "10.0.0.1", 8080), "http://10.0.0.1:8080");
        assert_eq!(
            base(Scheme::Https, "2001:db8::1", 8050),
            "https://[2001:db8::1]:8050"
        );
        assert_eq!(base(Scheme::Http, "boot.lan", 80), "http://boot.lan");
        assert_eq!(base(Scheme::Https, "boot.lan", 80), "https://boot.lan:80");
    }

    #[test]
    fn twopxe_07_own_pages_carry_the_token_and_files_do_not() {
        let urls = Urls::new(Scheme::Http, "h", 80);
        assert_eq!(urls.boot(), "http://h/boot");
        let urls = urls.with_token("0a&1");
        assert_eq!(urls.boot(), "http://h/boot?token=0a%261");
        assert_eq!(urls.report(), "http://h/boot/report?token=0a%261");
        assert_eq!(urls.image("x"), "http://h/images/x");
    }

    #[test]
    fn a_file_name_cannot_leave_its_url() {
        let urls = Urls::new(Scheme::Http, "h", 80);
        assert_eq!(
            urls.image("a b/${x}&&?#%\n\u{e9}.wim"),
            "http://h/images/a%20b/%24%7Bx%7D%26%26%3F%23%25%0A%C3%A9.wim"
        );
    }

    #[test]
    fn the_host_header_is_used_only_when_it_is_one() {
        let local = "[::ffff:10.0.0.1]:8080".parse().unwrap();
        let base = |host| Urls::of_request(host, local, false).base;
        assert_eq!(base("Boot.lan:80"), "http://boot.lan:80");
        assert_eq!(base("[2001:db8::1]:1"), "http://[2001:db8::1]:1");
        for hostile in [
            "",
            ":80",
            "a b",
            "a\n#!ipxe",
            "${net0/ip}",
            "a/b",
            "u@h",
            "h:99999",
            "h:+1",
            "[x]",
            "[::1]x",
            "a||b",
        ] {
            assert_eq!(base(hostile), "http://10.0.0.1:8080", "{hostile}");
        }
    }
}
