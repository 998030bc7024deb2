//! The frame of a DHCP message: header fields in, ordered options out (RFC 2131, section 2).

mod options;
mod write;

use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message;

use super::silence::Why;
use crate::types::HardwareAddress;

pub(super) use write::{ReplyHeader, Writer};

/// Bytes of the fixed header, the magic cookie included.
pub(super) const HEADER_LEN: usize = 240;
/// Bytes of the longest message that is looked at. Requests with everything in them have some 600;
/// RFC 2131 (section 2) lets a server take what its receive buffers hold.
pub const MESSAGE_MAX: usize = 1940;

/// Option numbers (RFC 2132 and the IANA registry).
pub(super) mod code {
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER_ID: u8 = 54;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const VENDOR_CLASS: u8 = 60;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const SERVER_NAME: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    pub(crate) const USER_CLASS: u8 = 77;
    pub(crate) const RELAY_INFO: u8 = 82;
    pub(crate) const CLIENT_ARCH: u8 = 93;
    pub(crate) const CLIENT_INTERFACE: u8 = 94;
    pub(crate) const MACHINE_ID: u8 = 97;
    pub(crate) const VENDOR: u8 = 43;
    pub(crate) const IPXE: u8 = 175;
    pub(crate) const VARIABLES: u8 = 243;
    pub(crate) const WDS: u8 = 250;
    pub(crate) const BOOT_STORE: u8 = 252;
}

/// Option 53 (RFC 2132, section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// 1: a machine looks for servers.
    Discover,
    /// 2: a server offers.
    Offer,
    /// 3: a machine takes an offer, or asks a boot server.
    Request,
    /// 4: the address is in use.
    Decline,
    /// 5: granted.
    Ack,
    /// 6: refused.
    Nak,
    /// 7: the address is given back.
    Release,
    /// 8: a machine with an address asks for the rest.
    Inform,
    /// Any other number.
    Other(u8),
}

impl From<u8> for MessageType {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            other => Self::Other(other),
        }
    }
}

impl MessageType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
            Self::Release => 7,
            Self::Inform => 8,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discover => "DISCOVER",
            Self::Offer => "OFFER",
            Self::Request => "REQUEST",
            Self::Decline => "DECLINE",
            Self::Ack => "ACK",
            Self::Nak => "NAK",
            Self::Release => "RELEASE",
            Self::Inform => "INFORM",
            Self::Other(number) => return write!(f, "message type {number}"),
        })
    }
}

/// A message whose header is sound. Its options are not looked at yet.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    bytes: &'a [u8],
    message: Message<'a>,
    hardware: HardwareAddress,
}

impl<'a> Packet<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Why> {
        if bytes.len() > MESSAGE_MAX {
            return Err(Why::TooLong { len: bytes.len() });
        }
        let short = Why::Short { len: bytes.len() };
        let Ok(message) = Message::new(bytes) else {
            return Err(short);
        };
        let Some(&[a, b, c, d]) = bytes.get(HEADER_LEN - 4..HEADER_LEN) else {
            return Err(short);
        };
        if [a, b, c, d] != dhcproto::v4::MAGIC {
            return Err(Why::BadCookie {
                cookie: [a, b, c, d],
            });
        }
        // The codec's own accessor slices by hlen without a check.
        let chaddr = bytes.get(28..44).and_then(|field| field.try_into().ok());
        let hardware = HardwareAddress::new(bytes[1], message.hlen(), chaddr.unwrap_or_default())
            .ok_or(Why::HardwareLength {
            hlen: message.hlen(),
        })?;
        Ok(Self {
            bytes,
            message,
            hardware,
        })
    }

    pub(super) fn op(&self) -> u8 {
        self.bytes[0]
    }

    pub(super) const fn hardware(&self) -> HardwareAddress {
        self.hardware
    }

    pub(super) fn hops(&self) -> u8 {
        self.message.hops()
    }

    pub(super) fn xid(&self) -> u32 {
        self.message.xid()
    }

    pub(super) fn secs(&self) -> u16 {
        self.message.secs()
    }

    pub(super) fn flags(&self) -> u16 {
        self.message.flags().into()
    }

    pub(super) fn ciaddr(&self) -> Ipv4Addr {
        self.message.ciaddr()
    }

    pub(super) fn yiaddr(&self) -> Ipv4Addr {
        self.message.yiaddr()
    }

    pub(super) fn siaddr(&self) -> Ipv4Addr {
        self.message.siaddr()
    }

    pub(super) fn giaddr(&self) -> Ipv4Addr {
        self.message.giaddr()
    }

    /// The boot file of the header; empty while the field carries options instead.
    pub(super) fn file(&self) -> &'a [u8] {
        self.message.fname()
    }

    /// Shows every option to `visit`, in the order options, `file`, `sname` (RFC 2131, section
    /// 4.1); repeated ones come in pieces that belong together (RFC 3396).
    pub(super) fn options(&self, visit: impl FnMut(u8, &'a [u8])) -> Result<(), Why> {
        options::walk(self.bytes, visit)
    }
}
