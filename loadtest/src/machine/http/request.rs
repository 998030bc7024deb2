//! Requests as boot firmware writes them.

use std::time::Duration;

use crate::machine::body::Keep;
use crate::machine::url::Url;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// iPXE.
    Ipxe,
    /// UEFI firmware made of EDK2.
    Edk2,
    /// The client that runs in what was booted.
    Booted,
}

/// iPXE's version, as the Debian build of it says that has everything which is simulated.
pub(crate) const IPXE_VERSION: &str = "2.0.0+dfsg-5";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// The file.
    Get,
    /// Its head alone.
    Head,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) agent: Agent,
    /// What; a form makes it a POST.
    pub(crate) method: Method,
    /// What of; `http` or `https`.
    pub(crate) url: Url,
    /// What goes along, as `application/x-www-form-urlencoded`.
    pub(crate) form: Option<String>,
    /// What is kept of the answer.
    pub(crate) keep: Keep,
    /// How long the server may stay silent.
    pub(crate) quiet: Duration,
}

impl Request {
    /// `GET` and the like, as the trace names it.
    pub(crate) const fn verb(&self) -> &'static str {
        match (self.method, &self.form) {
            (Method::Head, _) => "HEAD",
            (Method::Get, None) => "GET",
            (Method::Get, Some(_)) => "POST",
        }
    }

    /// The request as it goes over the wire, header by header in the order of the real client.
    pub(crate) fn written(&self) -> Vec<u8> {
        let (verb, url) = (self.verb(), &self.url);
        let mut text = format!("{verb} {} HTTP/1.1\r\n", url.target);
        let host = match self.agent {
            Agent::Edk2 => url.host.clone(),
            Agent::Ipxe | Agent::Booted => url.authority(),
        };
        if let Some(form) = &self.form {
            text.push_str(&format!("Content-Length: {}\r\n", form.len()));
            text.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        }
        text.push_str(&match self.agent {
            Agent::Ipxe => format!(
                "Connection: keep-alive\r\nUser-Agent: iPXE/{IPXE_VERSION}\r\nHost: {host}\r\n"
            ),
            Agent::Edk2 => {
                format!("Host: {host}\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n")
            }
            Agent::Booted => {
                format!("Host: {host}\r\nUser-Agent: bootstorm-load\r\nConnection: close\r\n")
            }
        });
        text.push_str("\r\n");
        text.push_str(self.form.as_deref().unwrap_or_default());
        text.into_bytes()
    }
}
