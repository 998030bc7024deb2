//! URLs of the boot endpoint.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bootstorm_config::Scheme;

/// Where a machine reaches the boot endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    base: String,
    /// The same place over TLS, where it is known.
    secure: Option<String>,
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
        Self::at(base)
    }

    /// URLs on the way that a request came: the `Host` that it asked for, which also holds behind
    /// address translation, or else the address that it reached.
    #[must_use]
    pub fn of_request(host: &str, local: SocketAddr, secure: bool) -> Self {
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        if is_authority(host) {
            let base = format!("{}://{}", scheme.name(), host.to_ascii_lowercase());
            return Self::at(base);
        }
        Self::new(scheme, &plain(local.ip()).to_string(), local.port())
    }

    /// The same of a server that answers over TLS at this port of the same host.
    #[must_use]
    pub fn with_https(self, port: Option<u16>) -> Self {
        let host = self.host().trim_matches(['[', ']']);
        let secure = if self.base.starts_with("https://") {
            Some(self.base.clone())
        } else {
            port.map(|port| Self::new(Scheme::Https, host, port).base)
        };
        Self { secure, ..self }
    }

    fn at(base: String) -> Self {
        Self {
            base,
            secure: None,
            token: None,
        }
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

    /// Where the machine gets a file of an entry that is made for it; a secret one over TLS, where
    /// this server has TLS.
    #[must_use]
    pub fn file(&self, entry: &str, name: &str, secret: bool) -> String {
        let mut path = String::from("/boot/file/");
        percent_encode(entry, &mut path);
        path.push('/');
        percent_encode(name, &mut path);
        let base = self.secure.as_deref().filter(|_| secret);
        self.page_at(base.unwrap_or(&self.base), &path)
    }

    fn own_page(&self, path: &str) -> String {
        self.page_at(&self.base, path)
    }

    fn page_at(&self, base: &str, path: &str) -> String {
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

    /// The same over TLS; `None` where this server has no TLS that is known of.
    #[must_use]
    pub fn secure_base(&self) -> Option<&str> {
        self.secure.as_deref()
    }

    /// URL of a file below the images folder.
    #[must_use]
    pub fn image(&self, path: &str) -> String {
        let mut url = format!("{}/images/", self.base);
        percent_encode(path, &mut url);
        url
    }

    /// The same for TFTP at its usual port, which is all that a boot manager knows.
    #[must_use]
    pub fn tftp(&self, path: &str) -> String {
        let mut url = format!("tftp://{}/", self.host());
        percent_encode(path, &mut url);
        url
    }

    /// The host, an IPv6 address in brackets.
    fn host(&self) -> &str {
        let authority = self.base.split_once("://").map_or("", |(_, rest)| rest);
        let host = match authority.rfind(':') {
            // The last colon of an IPv6 address stands inside of its brackets.
            Some(colon) if !authority.ends_with(']') => authority.get(..colon),
            _ => None,
        };
        host.unwrap_or(authority)
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
    fn the_secure_place_is_the_same_host_at_another_port() {
        let secure = |base: &str, port| {
            let urls = Urls::at(base.to_owned()).with_https(port);
            urls.secure_base().map(str::to_owned)
        };
        let own = |base, wanted: &str| {
            assert_eq!(secure(base, Some(8050)).as_deref(), Some(wanted));
        };
        own("http://boot.lan:8080", "https://boot.lan:8050");
        own("http://boot.lan", "https://boot.lan:8050");
        own("http://[2001:db8::1]:80", "https://[2001:db8::1]:8050");
        own("http://[2001:db8::1]", "https://[2001:db8::1]:8050");
        own("https://boot.lan:9999", "https://boot.lan:9999");
        assert_eq!(secure("http://boot.lan", None), None);
    }

    #[test]
    fn boot_managers_are_loaded_from_the_same_host() {
        let tftp =
            |base: &str| Urls::of_request(base, SocketAddr::from(([10, 0, 0, 1], 8080)), false);
        for (host, url) in [
            ("boot.lan:8080", "tftp://boot.lan/a.wim/b%20c"),
            ("boot.lan", "tftp://boot.lan/a.wim/b%20c"),
            ("[2001:db8::1]:8080", "tftp://[2001:db8::1]/a.wim/b%20c"),
            ("[2001:db8::1]", "tftp://[2001:db8::1]/a.wim/b%20c"),
            ("", "tftp://10.0.0.1/a.wim/b%20c"),
        ] {
            assert_eq!(tftp(host).tftp("a.wim/b c"), url);
        }
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
