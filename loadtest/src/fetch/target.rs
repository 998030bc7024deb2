//! The URL of what is fetched.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use http::Uri;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tftp,
    Http,
    Https,
}

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// Without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TFTP: the file name, without the slash in front of it. HTTP: path and query.
    pub(crate) path: String,
}

impl Target {
    /// The first address of the host.
    pub(crate) fn resolve(&self) -> anyhow::Result<SocketAddr> {
        (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("no address for `{}`", self.host))?
            .next()
            .with_context(|| format!("no address for `{}`", self.host))
    }

    /// `HOST:PORT` as it stands in the URL.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        let (scheme, port) = match uri.scheme_str() {
            Some("tftp") => (Scheme::Tftp, 69),
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => bail!("`{url}`: a URL begins with tftp://, http:// or https://"),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        ensure!(!host.is_empty(), "`{url}` names no host");
        let mut path = uri.path_and_query().map_or("/", |path| path.as_str());
        if scheme == Scheme::Tftp {
            path = path.strip_prefix('/').unwrap_or(path);
            ensure!(!path.is_empty(), "`{url}` names no file");
            ensure!(
                path.len() <= 400,
                "`{url}`: no request holds so long a name"
            );
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(port),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, slash) = match self.scheme {
            Scheme::Tftp => ("tftp", "/"),
            Scheme::Http => ("http", ""),
            Scheme::Https => ("https", ""),
        };
        write!(f, "{scheme}://{}{slash}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_put_together() {
        let target: Target = "tftp://10.0.0.2/boot/ipxe.efi".parse().unwrap();
        assert_eq!(target.port, 69);
        assert_eq!(target.path, "boot/ipxe.efi");
        assert_eq!(target.to_string(), "tftp://10.0.0.2:69/boot/ipxe.efi");
        let target: Target = "https://[::1]:8050/images/a?b".parse().unwrap();
        assert_eq!(target.host, "::1");
        assert_eq!(target.to_string(), "https://[::1]:8050/images/a?b");
        assert_eq!(target.resolve().unwrap(), "[::1]:8050".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_fetched_is_refused() {
        for url in ["", "boot.wim", "ftp://a/b", "tftp://10.0.0.2/", "tftp:///x"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
