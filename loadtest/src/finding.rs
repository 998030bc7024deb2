//! What servers do that they should not, by names that stay.

#[cfg(test)]
mod page;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::query::without_values;

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
    /// A reply that is no DHCP message: cut off, without its cookie, or with an option that goes
    /// beyond the end. Firmware drops it.
    DhcpMalformed = "dhcp.malformed",
    /// A reply with a transaction id that the machine never used: the server mixes machines up.
    DhcpXid = "dhcp.xid",
    /// An offer from another port than 67: iPXE drops it, and firewalls may.
    DhcpWrongPort = "dhcp.wrong-port",
    /// An offer without option 54: no machine can choose it.
    DhcpNoServerId = "dhcp.no-server-id",
    /// Option 54 is not the address that the packet came from: machines then ask an address that
    /// may not answer them. Bind the server to one address.
    DhcpWrongServerId = "dhcp.wrong-server-id",
    /// A boot server beside a DHCP server offered an address, or options of a lease: some firmware
    /// takes that for its lease and has no network afterwards. Take the range out of it.
    DhcpLeaseInProxyOffer = "dhcp.lease-in-proxy-offer",
    /// An offer without option 60 `PXEClient`, or `HTTPClient` for machines that boot by HTTP:
    /// firmware throws it away.
    DhcpNoClass = "dhcp.no-class",
    /// Option 97 was not sent back as it came, which PXE demands.
    DhcpGuidNotEchoed = "dhcp.guid-not-echoed",
    /// siaddr is not the server under test, or missing beside a boot file; many ROMs look nowhere
    /// else for the TFTP server.
    DhcpWrongSiaddr = "dhcp.wrong-siaddr",
    /// Option 67 and the header's `file` name two files: which one is booted depends on the
    /// firmware. Send both, equal.
    DhcpFilesDiffer = "dhcp.files-differ",
    /// A boot offer with options that the machine did not list in option 55.
    DhcpOptionsNotAsked = "dhcp.options-not-asked",
    /// The boot offer came so late that real firmware with a lease would have gone on without it:
    /// after 4 s, with iPXE after 3 s.
    DhcpLate = "dhcp.late",
    /// The boot server answered, but with nothing to boot: neither a file, nor a menu, nor the way
    /// to port 4011. Is there an entry for this architecture?
    DhcpNoBootOffer = "dhcp.no-boot-offer",
    /// There were offers to boot and none of an address: is the DHCP server up, and has it
    /// addresses left?
    DhcpNoLease = "dhcp.no-lease",
    /// An address outside the scenario's network was offered and not taken, since its packets
    /// would not come to this host: give the DHCP server the range of `[network] machines`.
    DhcpForeignLease = "dhcp.foreign-lease",
    /// No DHCP server answered the machine's REQUESTs.
    DhcpNoAck = "dhcp.no-ack",
    /// A DHCP server acknowledged another address than it was asked for.
    DhcpOtherAddress = "dhcp.other-address",
    /// A DHCP server refused what it had offered: it forgot its offer, or another server leases
    /// the same addresses.
    DhcpNak = "dhcp.nak",
    /// The next server is no private address: this program lets no storm loose there.
    DhcpForeignServer = "dhcp.foreign-server",
    /// Port 4011 is silent, where the offer (option 60 without what to boot) sent the machine:
    /// real firmware shows PXE-E55 or PXE-E16.
    PxeSilent = "pxe.silent",
    /// Port 4011 answered without a boot file: does the server know one for the machine's
    /// architecture?
    PxeNoFile = "pxe.no-file",
    /// The answer of port 4011 came from another address or port: firmware drops it.
    PxeWrongSource = "pxe.wrong-source",
    /// The answer of port 4011 is no ACK: firmware drops it.
    PxeNotAnAck = "pxe.not-an-ack",
    /// The answer of port 4011 does not repeat the menu's item (option 43, sub-option 71): iPXE
    /// drops it.
    PxeItemNotEchoed = "pxe.item-not-echoed",
    /// The TFTP server fell silent, or never answered: is its port open, and its range of data
    /// ports?
    TftpSilent = "tftp.silent",
    /// Nobody listens on the TFTP server's port: is the server up, and is `[ports] tftp` its port?
    TftpClosed = "tftp.closed",
    /// ERROR 1: the TFTP server does not have the file.
    TftpNotFound = "tftp.not-found",
    /// ERROR 2: the TFTP server does not give this machine the file.
    TftpRefused = "tftp.refused",
    /// The TFTP server broke the transfer off with another ERROR.
    TftpError = "tftp.error",
    /// A packet that is no TFTP, or none that a server sends.
    TftpMalformed = "tftp.malformed",
    /// An OACK with an option that was not asked for: UEFI breaks off there.
    TftpOackNotAsked = "tftp.oack-not-asked",
    /// An OACK with larger blocks or windows than asked for, or with values that are none.
    TftpOackTooLarge = "tftp.oack-too-large",
    /// The server took none of the options and went on with blocks of 512 bytes, one by one, which
    /// is slow.
    TftpNoOack = "tftp.no-oack",
    /// A block longer than agreed on: firmware has no room for it and drops the transfer.
    TftpLongBlock = "tftp.long-block",
    /// The file has more bytes than the OACK's tsize said: UEFI fails, since it took no more room.
    TftpLongerThanTold = "tftp.longer-than-told",
    /// The file has fewer bytes than the OACK's tsize said: it was cut off.
    TftpShorterThanTold = "tftp.shorter-than-told",
    /// A packet from another address or port than the transfer's: several answers to one request,
    /// or a server that changes ports.
    TftpWrongTransferId = "tftp.wrong-transfer-id",
    /// Blocks came twice and more though nothing was lost: the server answers each repeated
    /// acknowledgement with data (the sorcerer's apprentice, RFC 1123 section 4.2.3.1).
    TftpDoubledBlocks = "tftp.doubled-blocks",
    /// After block 65535 came block 1: nearly all firmware goes on with 0.
    TftpRollover = "tftp.rollover",
    /// The boot manager was not given its boot store (\Boot\BCD): 0xc000000f on the screen.
    WindowsNoBcd = "windows.no-bcd",
    /// The boot store is no registry hive: 0xc000014c on the screen.
    WindowsBadBcd = "windows.bad-bcd",
    /// A file that the boot store names is missing.
    WindowsNoFile = "windows.no-file",
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
    /// A finding with its evidence, of which as much is kept as fits a line, without the values of
    /// queries; what could move a terminal's cursor is escaped.
    pub(crate) fn new(code: Code, evidence: impl Into<String>) -> Self {
        let evidence = without_values(&evidence.into());
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
