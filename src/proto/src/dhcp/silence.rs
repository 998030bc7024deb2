//! Why a packet is not answered.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::packet::MessageType;
use crate::types::{ClientArch, HardwareAddress};

/// A packet without an answer: the reason, and the machine where the packet shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "somebody wonders why a machine got no answer: log or count it"]
pub struct Silence {
    /// The reason.
    pub why: Why,
    /// Whose packet it was, when it was sound enough to tell.
    pub hardware: Option<HardwareAddress>,
}

/// The reasons. Codes are stable and documented in docs/reference/reasons.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Fewer bytes than a DHCP header has.
    Short {
        /// Bytes received.
        len: usize,
    },
    /// More bytes than any message is looked at.
    TooLong {
        /// Bytes received.
        len: usize,
    },
    /// Not 63 82 53 63 before the options.
    BadCookie {
        /// What stood there.
        cookie: [u8; 4],
    },
    /// Not a message from a client: a server's reply, or rubbish.
    NotRequest {
        /// The `op` field.
        op: u8,
    },
    /// More hardware address bytes than the header has room for.
    HardwareLength {
        /// The `hlen` field.
        hlen: u8,
    },
    /// Neither a hardware address nor a client identifier: nobody to answer.
    NoHardware,
    /// Went through sixteen relays or more.
    Hops {
        /// The `hops` field.
        hops: u8,
    },
    /// A relay's address that is none: multicast, broadcast or on `0.0.0.0/8`.
    BadRelay {
        /// The `giaddr` field.
        giaddr: Ipv4Addr,
    },
    /// An option claims more bytes than the packet has.
    OptionPastEnd {
        /// The option's number.
        code: u16,
    },
    /// An option that is too long for what it can hold.
    OptionTooLong {
        /// The option's number.
        code: u16,
        /// Its length, repeated options joined (RFC 3396).
        len: usize,
    },
    /// An option of the wrong length for its meaning.
    OptionLength {
        /// The option's number.
        code: u16,
        /// Its length.
        len: usize,
    },
    /// Neither PXE nor HTTP Boot asks: option 60 begins otherwise, or is missing.
    NotPxe,
    /// A DHCPv6 request to another server (RFC 8415, section 16).
    OtherDuid,
    /// DHCPv6 relayed more often than thirty-two times, or with relay data beyond all bounds.
    Nesting,
    /// A DHCPv6 message without a client identifier.
    NoClientId,
    /// A DHCPv6 message that boot servers have no part in.
    NotForBoot {
        /// Its type.
        message: u8,
    },
    /// A message that a proxyDHCP server has no part in.
    NotForProxy {
        /// Its type.
        message: MessageType,
    },
    /// A request for an address: the DHCP server's business.
    LeaseRequest,
    /// A request to another server.
    OtherServer {
        /// The server it names.
        server: Ipv4Addr,
    },
    /// BootP (no option 53) from a machine that has no address yet: we have none to give.
    BootpNoAddress,
    /// No boot program exists for any of the architectures.
    UnknownArch {
        /// The first one.
        arch: ClientArch,
    },
    /// A boot server type that is not ours.
    UnknownBootItem {
        /// The type.
        item: u16,
    },
    /// Asks for a signed boot image credential (PXE 2.1, BIS).
    Credentials {
        /// The layer field with bit 15 set.
        layer: u16,
    },
    /// Has not been asking for long enough.
    Waiting {
        /// Seconds that it has been asking.
        secs: u16,
        /// Seconds wanted.
        delay: u16,
    },
    /// Somebody has yet to say what the machine boots.
    Undecided,
    /// The decided file name or URL cannot stand in a packet.
    BadFile {
        /// The name.
        file: String,
    },
    /// The reply is longer than the machine takes.
    ReplyTooLong {
        /// Bytes needed.
        needed: usize,
        /// Bytes the machine takes.
        limit: usize,
    },
    /// The policy wants no answer.
    Policy {
        /// Its stable code.
        code: &'static str,
        /// Its words.
        text: Arc<str>,
    },
}

impl Silence {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.why.code()
    }

    /// The packet is broken, as opposed to not ours.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        self.why.is_malformed()
    }
}

impl Why {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Short { .. } => "dhcp.short",
            Self::TooLong { .. } => "dhcp.too-long",
            Self::BadCookie { .. } => "dhcp.bad-cookie",
            Self::NotRequest { .. } => "dhcp.not-request",
            Self::HardwareLength { .. } => "dhcp.hardware-length",
            Self::NoHardware => "dhcp.no-hardware",
            Self::Hops { .. } => "dhcp.hops",
            Self::BadRelay { .. } => "dhcp.bad-relay",
            Self::OptionPastEnd { .. } => "dhcp.option-past-end",
            Self::OptionTooLong { .. } => "dhcp.option-too-long",
            Self::OptionLength { .. } => "dhcp.option-length",
            Self::NotPxe => "dhcp.not-pxe",
            Self::NotForProxy { .. } | Self::NotForBoot { .. } => "dhcp.not-for-proxy",
            Self::Nesting => "dhcp.nesting",
            Self::NoClientId => "dhcp.no-client-id",
            Self::LeaseRequest => "dhcp.lease-request",
            Self::OtherServer { .. } | Self::OtherDuid => "dhcp.other-server",
            Self::BootpNoAddress => "dhcp.bootp-no-address",
            Self::UnknownArch { .. } => "dhcp.unknown-arch",
            Self::UnknownBootItem { .. } => "dhcp.unknown-boot-item",
            Self::Credentials { .. } => "dhcp.credentials",
            Self::Waiting { .. } => "dhcp.waiting",
            Self::Undecided => "policy.undecided",
            Self::BadFile { .. } => "dhcp.bad-file",
            Self::ReplyTooLong { .. } => "dhcp.reply-too-long",
            Self::Policy { code, .. } => code,
        }
    }

    /// The packet is broken, as opposed to not ours.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::Short { .. }
                | Self::TooLong { .. }
                | Self::BadCookie { .. }
                | Self::HardwareLength { .. }
                | Self::NoHardware
                | Self::Hops { .. }
                | Self::BadRelay { .. }
                | Self::OptionPastEnd { .. }
                | Self::OptionTooLong { .. }
                | Self::OptionLength { .. }
                | Self::Nesting
                | Self::NoClientId
        )
    }

    /// Adds whose packet it was.
    pub(super) const fn of(self, hardware: HardwareAddress) -> Silence {
        Silence {
            why: self,
            hardware: Some(hardware),
        }
    }
}

impl From<Why> for Silence {
    fn from(why: Why) -> Self {
        Self {
            why,
            hardware: None,
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for Silence {}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { len } => write!(f, "{len} bytes are too few for a DHCP message"),
            Self::TooLong { len } => write!(f, "{len} bytes are too many for a DHCP message"),
            Self::BadCookie { cookie } => {
                let value = u32::from_be_bytes(*cookie);
                write!(f, "the magic cookie is {value:08x} instead of 63825363")
            }
            Self::NotRequest { op } => write!(f, "op is {op}, not 1: no client sent this"),
            Self::HardwareLength { hlen } => write!(f, "hlen is {hlen}, more than 16"),
            Self::NoHardware => f.write_str("neither a hardware address nor option 61"),
            Self::Hops { hops } => write!(f, "went through {hops} relays: a loop?"),
            Self::BadRelay { giaddr } => write!(f, "{giaddr} cannot be a relay's address"),
            Self::OptionPastEnd { code } => {
                write!(f, "option {code} runs past the end of the packet")
            }
            Self::OptionTooLong { code, len } => {
                write!(f, "option {code} has {len} bytes, more than it can hold")
            }
            Self::OptionLength { code, len } => {
                write!(f, "option {code} has {len} bytes, which it never has")
            }
            Self::NotPxe => {
                f.write_str("option 60 begins with neither `PXEClient` nor `HTTPClient`")
            }
            Self::NotForProxy { message } => {
                write!(f, "{message} is between the machine and its DHCP server")
            }
            Self::NotForBoot { message } => write!(
                f,
                "message type {message} is between the machine and its DHCPv6 server"
            ),
            Self::OtherDuid => f.write_str("the request is for another DHCPv6 server"),
            Self::Nesting => f.write_str("relayed more than 32 times, or with too much relay data"),
            Self::NoClientId => f.write_str("DHCPv6 without a client identifier"),
            Self::LeaseRequest => f.write_str("a request for an address, not for boot data"),
            Self::OtherServer { server } => write!(f, "the request is for the server {server}"),
            Self::BootpNoAddress => f.write_str("BootP without an address: we have none to give"),
            Self::UnknownArch { arch } => write!(f, "no boot program exists for {arch}"),
            Self::UnknownBootItem { item } => {
                write!(
                    f,
                    "boot server type {item} was asked for, which is not ours"
                )
            }
            Self::Credentials { layer } => {
                write!(f, "boot layer {layer:04x} asks for a BIS credential")
            }
            Self::Waiting { secs, delay } => {
                write!(f, "asking for {secs} s; answers begin after {delay} s")
            }
            Self::Undecided => {
                f.write_str("what the machine boots is not decided yet: it is answered when it is")
            }
            Self::BadFile { file } => {
                write!(f, "`{}` cannot be a boot file name", file.escape_default())
            }
            Self::ReplyTooLong { needed, limit } => {
                write!(f, "the reply has {needed} bytes, the machine takes {limit}")
            }
            Self::Policy { text, .. } => f.write_str(text),
        }
    }
}
