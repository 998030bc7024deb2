//! The URLs that machines fetch from.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::event::Transport;
use super::plan::Plan;
use crate::finding::{Code, Finding};

/// A URL that is longer is refused.
const URL_MAX: usize = 4096;

/// An absolute URL of a scheme that firmware and iPXE fetch from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// How.
    pub(crate) scheme: Scheme,
    /// A name or an address.
    pub(crate) host: String,
    /// The port, if one is written.
    pub(crate) port: Option<u16>,
    /// Path and query as a request carries them: with a slash in front, nothing but printable ASCII.
    pub(crate) target: String,
    /// The form that goes along, as iPXE has it (`##params` or `##params=NAME`): its name.
    pub(crate) form: Option<String>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `tftp`
    Tftp,
}

impl Url {
    /// Takes an absolute URL.
    ///
    /// # Errors
    /// [`Code::UrlScheme`] and [`Code::UrlMalformed`].
    pub(crate) fn parse(text: &str) -> Result<Self, Finding> {
        let malformed = |why: &str| Finding::new(Code::UrlMalformed, format!("{why}: {text}"));
        if text.len() > URL_MAX {
            return Err(malformed("longer than 4096 bytes"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| malformed("no scheme"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "tftp" => Scheme::Tftp,
            _ => return Err(Finding::new(Code::UrlScheme, text)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().map_err(|_| malformed("a port that is none"))?;
                (host, Some(port))
            }
            _ => (authority, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(malformed("a host that is none"));
        }
        let (target, form) = target(rest);
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            target,
            form,
        })
    }

    /// The file of a TFTP server.
    pub(crate) fn of_file(server: Ipv4Addr, port: u16, file: &str) -> Self {
        Self {
            scheme: Scheme::Tftp,
            host: server.to_string(),
            port: (port != Scheme::Tftp.port()).then_some(port),
            target: format!("/{}", encoded(file, b"-._~/")),
            form: None,
        }
    }

    /// What a URL, or a reference relative to this one, means.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn join(&self, reference: &str) -> Result<Self, Finding> {
        if reference.len() > URL_MAX {
            return Err(Finding::new(Code::UrlMalformed, reference));
        }
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme.name()));
        }
        let own = self.target.split('?').next().unwrap_or("/");
        let (target, form) = if reference.is_empty() {
            (self.target.clone(), None)
        } else if reference.starts_with('/') {
            target(reference)
        } else if reference.starts_with(['?', '#']) {
            target(&format!("{own}{reference}"))
        } else {
            let folder = own.rfind('/').map_or("/", |slash| &own[..=slash]);
            target(&format!("{folder}{reference}"))
        };
        Ok(Self {
            scheme: self.scheme,
            host: self.host.clone(),
            port: self.port,
            target: without_dots(&target),
            form,
        })
    }

    /// Where the server is.
    ///
    /// # Errors
    /// [`Code::UrlNameUnknown`]: the host is a name that the scenario has no address for.
    pub(crate) fn peer(&self, plan: &Plan) -> Result<SocketAddrV4, Finding> {
        let literal = self.host.parse().ok();
        let named = plan
            .hosts
            .iter()
            .find(|(name, _)| self.host.eq_ignore_ascii_case(name));
        let address = literal.or_else(|| named.map(|(_, address)| *address));
        let address = address.ok_or_else(|| {
            let evidence = format!("{self}: no [boot] hosts entry for `{}`", self.host);
            Finding::new(Code::UrlNameUnknown, evidence)
        })?;
        Ok(SocketAddrV4::new(
            address,
            self.port.unwrap_or(self.scheme.port()),
        ))
    }

    /// The file, as a read request of TFTP names it: iPXE takes one slash from its front.
    pub(crate) fn file(&self) -> String {
        let target = self.target.strip_prefix('/').unwrap_or(&self.target);
        decoded(target)
    }

    /// `Host:` of a request.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

impl Scheme {
    /// As URLs begin.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tftp => "tftp",
        }
    }

    /// The usual port.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Tftp => 69,
        }
    }

    /// What carries its files.
    pub(crate) const fn transport(self) -> Transport {
        match self {
            Self::Http => Transport::Http,
            Self::Https => Transport::Https,
            Self::Tftp => Transport::Tftp,
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.name(),
            self.authority(),
            self.target
        )
    }
}

/// Whether a URL is absolute.
pub(crate) fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Bytes as a URL carries them: all but letters, digits and `kept` as `%XX`.
pub(crate) fn encoded(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Path and query out of what stands behind the authority, and the name of the form.
fn target(rest: &str) -> (String, Option<String>) {
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let form = fragment.strip_prefix("#params").map(|name| {
        let name = name.strip_prefix('=').unwrap_or_default();
        name.to_owned()
    });
    let slash = if rest.starts_with('/') { "" } else { "/" };
    // What cannot stand in a request line is encoded; `%` is the writer's own.
    let target = encoded(rest, b"-._~:/?[]@!$&'()*+,;=%");
    (format!("{slash}{target}"), form)
}

/// A path without `.` and `..`.
fn without_dots(target: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let last = parts.len().saturating_sub(1);
    for (at, part) in parts.iter().enumerate() {
        match *part {
            "." | ".." => {
                if *part == ".." {
                    kept.pop();
                }
                if at == last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "http://10.0.0.2:8050/boot/a?mac=x";

    fn joined(reference: &str) -> String {
        let base = Url::parse(BASE).unwrap();
        base.join(reference).unwrap().to_string()
    }

    #[test]
    fn references_are_relative_to_the_script() {
        for (reference, absolute) in [
            ("b?c", "http://10.0.0.2:8050/boot/b?c"),
            ("/b", "http://10.0.0.2:8050/b"),
            ("../b/./c", "http://10.0.0.2:8050/b/c"),
            ("../../../b/..", "http://10.0.0.2:8050/"),
            ("?c", "http://10.0.0.2:8050/boot/a?c"),
            ("", "http://10.0.0.2:8050/boot/a?mac=x"),
            ("//h/b", "http://h/b"),
            ("HTTPS://User:Word@H:443/b c", "https://h:443/b%20c"),
            ("tftp://h", "tftp://h/"),
            ("b:1", "http://10.0.0.2:8050/boot/b:1"),
        ] {
            assert_eq!(joined(reference), absolute, "{reference}");
        }
    }

    #[test]
    fn a_form_is_named_behind_two_hashes() {
        let form = |url: &str| Url::parse(url).unwrap().form;
        assert_eq!(
            form("http://h/a##params=machine"),
            Some("machine".to_owned())
        );
        assert_eq!(form("http://h/a##params"), Some(String::new()));
        assert_eq!(form("http://h/a#part"), None);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let code = |url: &str| Url::parse(url).unwrap_err().code;
        let long = format!("http://h/{}", "a".repeat(URL_MAX));
        for url in [
            "",
            "a/b",
            "http://",
            "http:///a",
            "http://h:x/",
            "http://a b/",
            &long,
        ] {
            assert_eq!(code(url), Code::UrlMalformed, "{url}");
        }
        for url in ["ftp://h/a", "nfs://h/a", "javascript://h"] {
            assert_eq!(code(url), Code::UrlScheme, "{url}");
        }
    }

    #[test]
    fn tftp_loses_one_slash_and_no_sign() {
        let of = |file: &str| Url::of_file(Ipv4Addr::LOCALHOST, 69, file).file();
        for file in ["boot.ipxe", "/boot.ipxe", "a\\b c%41\u{e4}"] {
            assert_eq!(of(file), file);
        }
        assert_eq!(Url::parse("tftp://h//a%20b").unwrap().file(), "/a b");
    }

    proptest! {
        #[test]
        fn no_url_breaks_a_request(reference in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let base = Url::parse(BASE).unwrap();
            if let Ok(url) = base.join(&reference) {
                let plain = |byte: u8| byte.is_ascii_graphic();
                prop_assert!(url.target.starts_with('/'));
                prop_assert!(url.target.bytes().chain(url.host.bytes()).all(plain));
                prop_assert!(!url.host.contains('/'));
            }
        }
    }
}
