//! What servers do that they should not, by names that stay.

#[cfg(test)]
mod page;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A deviation, or the reason why a boot failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which one.
    pub(crate) code: Code,
    /// What was seen, in one line.
    pub(crate) evidence: String,
}

/// Evidence that is kept, in bytes: servers write it.
const EVIDENCE_MAX: usize = 300;

/// One table for names, meanings and what to do; docs/reference/findings.md has a row for each.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $code:ident = $name:literal,)+) => {
        /// What can be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub(crate) enum Code {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $code,)+
        }

        impl Code {
            /// All, in the order of the documentation.
            pub(crate) const ALL: &[Self] = &[$(Self::$code,)+];

            /// The name that stays.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }

            /// What it means and what to do, for people.
            pub(crate) const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

codes! {
    /// No boot server answered any of the machine's DISCOVERs: is it up, on this network, and is
    /// the port free of a firewall?
    DhcpSilent = "dhcp.silent",
    /// A file's bytes are not those that the server or the scenario says: the file was damaged on
    /// its way, or changed while it was served.
    BodyWrongSha256 = "body.wrong-sha256",
    /// Nothing takes connections at the URL's address and port: is the web server up, and is that
    /// its port?
    HttpRefused = "http.refused",
    /// TLS did not come up: the certificate is not trusted or not for this name, or the two sides
    /// have no version or cipher in common.
    TlsRefused = "tls.refused",
    /// The server said nothing for so long that a person would have given up.
    HttpSilent = "http.silent",
    /// The connection broke before the answer was complete: the server died, or something on the
    /// way cuts connections.
    HttpReset = "http.reset",
    /// The server closed a new connection without an answer.
    HttpClosedEarly = "http.closed-early",
    /// What came is no HTTP answer: does another service listen at this port?
    HttpMalformed = "http.malformed",
    /// The server answered with an error: see its log for the URL.
    HttpStatus = "http.status",
    /// More redirects in a row than a client follows.
    HttpRedirects = "http.redirects",
    /// An answer tells neither its length nor comes in chunks: some firmware cannot boot from it,
    /// and nobody can tell whether it was whole.
    HttpNoLength = "http.no-length",
    /// The answer ended before the length that it promised.
    HttpShortBody = "http.short-body",
    /// Bytes came behind the end of an answer: its length is too small.
    HttpLongBody = "http.long-body",
    /// The chunks of an answer are not well-formed.
    HttpBadChunk = "http.bad-chunk",
    /// HEAD and GET give different lengths for the same file.
    HttpLengthWrong = "http.length-wrong",
    /// A file comes with a content type that does not fit it: a web page for a program, or a type
    /// that UEFI's HTTP boot does not know for a file whose name does not tell either.
    HttpType = "http.type",
    /// A machine that was to boot over HTTPS was given an `http` URL.
    ProfileHttpInsteadOfHttps = "profile.http-instead-of-https",
    /// A machine that was to boot over HTTP was given an `https` URL.
    ProfileHttpsInsteadOfHttp = "profile.https-instead-of-http",
    /// What iPXE was to run is neither a script (`#!ipxe`) nor a program.
    ScriptNotAScript = "script.not-a-script",
    /// A script has more than 256 KiB: is what the URL names a script at all?
    ScriptTooLarge = "script.too-large",
    /// A script goes round and round, or calls itself.
    ScriptLoops = "script.loops",
    /// A command of the script failed, and nothing was to follow.
    ScriptFailed = "script.failed",
    /// A script uses a command or an option that iPXE does not have.
    ScriptUnknownCommand = "script.unknown-command",
    /// A script goes to a label that it does not have.
    ScriptGotoNowhere = "script.goto-nowhere",
    /// A script boots a virtual drive, which is not simulated.
    ScriptSanboot = "script.sanboot",
    /// A script ends in a shell, where a machine stands until a person comes.
    ScriptShell = "script.shell",
    /// A URL is no URL, or longer than firmware takes: look at the script, or at option 67.
    UrlMalformed = "url.malformed",
    /// A URL of a scheme that is not simulated; `http`, `https` and `tftp` are.
    UrlScheme = "url.scheme",
    /// A URL names its server, and no DNS is asked: give the address in the scenario's
    /// `[boot] hosts`.
    UrlNameUnknown = "url.name-unknown",
    /// The script is an HTML page: a web server's error page, or the wrong URL.
    ScriptHtml = "script.html",
    /// Machines got different files by the same name: a file was exchanged while machines booted,
    /// or a server behind a balancer has an old one.
    BodyDiffers = "body.differs",
    /// This program, not the server, may have set the pace: it took more processor time a GB than
    /// the server, or its core was full. Give it a core of its own, or fewer machines.
    HarnessBottleneck = "harness.bottleneck",
    /// This host could not give a machine a socket: the evidence says which one, and what to do.
    HarnessSockets = "harness.sockets",
    /// DHCP replies came for machines that are not played here or not switched on, or at another
    /// relay than the machine's: another storm on the same network, or a server that ignores
    /// `giaddr`.
    HarnessForeign = "harness.foreign-replies",
    /// DHCP replies came in fragments, which the ROMs of network cards cannot put together: let
    /// the server send fewer or shorter options.
    DhcpFragmented = "dhcp.fragmented",
    /// The machine's patience ended before its boot did.
    TimedOut = "machine.timed-out",
}

impl Finding {
    /// A finding with its evidence, of which as much is kept as fits a line; what could move a
    /// terminal's cursor is escaped.
    pub(crate) fn new(code: Code, evidence: impl Into<String>) -> Self {
        let evidence: String = evidence.into();
        let mut kept = String::new();
        for letter in evidence.chars() {
            let escaped = letter.is_control();
            if kept.len() >= EVIDENCE_MAX {
                kept.push_str("...");
                break;
            }
            if escaped {
                kept.extend(letter.escape_default());
            } else {
                kept.push(letter);
            }
        }
        Self {
            code,
            evidence: kept,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.evidence)
    }
}
