//! DHCP as a proxyDHCP server speaks it: PXE 2.1, RFC 2131, RFC 2132, RFC 4578, RFC 8415.
//!
//! Two steps: [`Request::read`] says who asks for what, the caller decides on the
//! [`ClientFacts`], [`Request::reply`] writes the packet. Whatever is not answered is a
//! [`Silence`] with a stable code.

mod facts;
mod heard;
mod http_boot;
mod ipxe;
mod packet;
mod proxy;
mod pxe;
mod quirks;
mod relay;
mod request;
mod silence;
mod sniff;
mod style;
pub mod v6;
mod wds;

pub use facts::{Answer, Asker, ClientFacts, OptionBytes, Phase, WindowsFiles};
pub use ipxe::feature_names;
pub use packet::{MESSAGE_MAX, MessageType};
pub use pxe::{BootItem, NetworkInterface};
pub use quirks::quirks;
pub use relay::RelayInfo;
pub use request::{Destination, Port, Reply, Request, Seen};
pub use silence::{Silence, Why};
pub use sniff::{Class, Sighting, overheard, sniff};
pub use style::{BiosOffer, IpxeOption, Style, UefiOffer};
pub use wds::{WdsAction, WdsRequest};

/// The longest reply written, in bytes: a datagram of 1500 bytes without its IP and UDP headers.
/// Give [`Request::reply`] a buffer of this size.
pub const REPLY_MAX: usize = 1472;
