//! One DHCPv6 request, from the datagram to the reply.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use arrayvec::ArrayVec;

use super::duid::{Duid, hardware};
use super::heard::Heard;
use super::message::{Writer, code, kind};
use super::relay::{Relays, Unwrapped};
use crate::dhcp::facts::{Answer, Asker, ClientFacts, OptionBytes, Phase, beginning};
use crate::dhcp::proxy;
use crate::dhcp::pxe::{self, NetworkInterface};
use crate::dhcp::quirks::{self, Traits};
use crate::dhcp::silence::{Silence, Why};
use crate::dhcp::style::Style;
use crate::types::{HardwareAddress, MacAddress};

/// How a datagram came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it came from.
    pub source: SocketAddrV6,
    /// Our address that machines behind that interface can reach: it goes into URLs.
    pub local: Ipv6Addr,
    /// Index of the interface.
    pub interface: u32,
}

/// A reply that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the machine waits for it"]
pub struct Reply {
    /// Bytes written to the buffer.
    pub len: usize,
    /// Where to send them, from port 547.
    pub to: SocketAddrV6,
    /// What the reply is, inside of all relays.
    pub message: Message,
}

/// The two replies of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To SOLICIT.
    Advertise,
    /// To REQUEST and INFORMATION-REQUEST.
    Reply,
}

/// A request that may be answered. It owns what a reply needs.
#[derive(Clone, Debug)]
pub struct Request {
    seen: Seen,
    relays: Relays,
    kind: u8,
    transaction: [u8; 3],
    client_id: Duid,
    server_id: Option<Duid>,
    associations: ArrayVec<[u8; 4], 8>,
    interface: Option<NetworkInterface>,
    http: bool,
    facts: ClientFacts,
}

impl Request {
    /// Reads a datagram to port 547, from a machine or from a relay.
    ///
    /// # Errors
    /// A [`Silence`] for everything that is not a boot request.
    pub fn read(bytes: &[u8], seen: &Seen) -> Result<Self, Silence> {
        Ok(Self::read_message(bytes, seen)?)
    }

    fn read_message(bytes: &[u8], seen: &Seen) -> Result<Self, Why> {
        let mut relays = Relays::default();
        let unwrapped = relays.unwrap(bytes)?;
        let Some(([kind, transaction @ ..], options)) = unwrapped.message.split_first_chunk::<4>()
        else {
            return Err(Why::Short {
                len: unwrapped.message.len(),
            });
        };
        check_kind(*kind)?;
        let heard = Heard::read(options)?;
        let client_id = heard.client_id.clone().ok_or(Why::NoClientId)?;
        let server_id = match heard.server_id {
            Some(id) => Some(Duid::new(id).ok_or(Why::OtherDuid)?),
            None => None,
        };
        if heard.class.is_none() && heard.arches.is_none() {
            return Err(Why::NotPxe);
        }
        let mut facts = facts(&heard, &client_id, &relays, &unwrapped, seen)?;
        if *kind != kind::SOLICIT {
            facts.phase = Phase::Boot;
        }
        Ok(Self {
            seen: *seen,
            kind: *kind,
            transaction: *transaction,
            client_id,
            server_id,
            associations: heard.associations,
            interface: heard.interface.and_then(NetworkInterface::parse),
            http: heard.class.is_some_and(|class| class.http) || facts.asker == Asker::HttpFirmware,
            facts,
            relays,
        })
    }

    /// What the decision goes by.
    #[must_use]
    pub const fn facts(&self) -> &ClientFacts {
        &self.facts
    }

    /// Option 62, the driver standard of the network card.
    #[must_use]
    pub const fn network_interface(&self) -> Option<NetworkInterface> {
        self.interface
    }

    /// Writes the reply into `buf`, which should hold [`REPLY_MAX`](super::REPLY_MAX) bytes.
    ///
    /// # Errors
    /// A [`Silence`] when the answer, the style or the request's own terms want no reply.
    pub fn reply(&self, answer: &Answer, style: &Style, buf: &mut [u8]) -> Result<Reply, Silence> {
        self.write(answer, style, buf)
            .map_err(|why| why.of(self.facts.hardware))
    }

    fn write(&self, answer: &Answer, style: &Style, buf: &mut [u8]) -> Result<Reply, Why> {
        let proxy::Boot { file, delay, .. } = proxy::decided(answer)?;
        let ours = self.server_duid(style);
        if self.server_id.as_ref().is_some_and(|id| *id != ours) {
            return Err(Why::OtherDuid);
        }
        if self.kind == kind::REQUEST && self.server_id.is_none() {
            // RFC 8415, section 16.4: a REQUEST without a server identifier is discarded.
            return Err(Why::OtherDuid);
        }
        proxy::check_delay(&self.facts, delay)?;
        proxy::check_file(file)?;
        let url = self.url(file);
        let limit = buf.len();
        let mut writer = Writer::new(buf);
        self.relays
            .wrap(&mut writer, |writer| self.options(writer, &ours, &url));
        match writer.finish() {
            Ok(len) => Ok(Reply {
                len,
                to: self.destination(),
                message: self.message(),
            }),
            Err(needed) => Err(Why::ReplyTooLong { needed, limit }),
        }
    }

    fn options(&self, writer: &mut Writer<'_>, ours: &Duid, url: &str) {
        let reply = match self.message() {
            Message::Advertise => kind::ADVERTISE,
            Message::Reply => kind::REPLY,
        };
        writer.put(&[reply]);
        writer.put(&self.transaction);
        writer.option(code::CLIENT_ID, self.client_id.bytes());
        writer.option(code::SERVER_ID, ours.bytes());
        if self.kind != kind::INFORMATION_REQUEST {
            for id in &self.associations {
                let start = writer.open(code::IA_NA);
                writer.put(id);
                writer.put(&[0; 8]);
                no_addresses(writer);
                writer.close(start);
            }
            no_addresses(writer);
        }
        writer.option(code::BOOTFILE_URL, url.as_bytes());
        // HTTP firmware looks for its class in the answer as it does in DHCPv4.
        let class = if self.http {
            pxe::HTTP_CLASS
        } else {
            pxe::PXE_CLASS
        };
        let start = writer.open(code::VENDOR_CLASS);
        writer.put(&INTEL.to_be_bytes());
        writer.put(&u16::try_from(class.len()).unwrap_or(0).to_be_bytes());
        writer.put(class);
        writer.close(start);
    }

    fn message(&self) -> Message {
        if self.kind == kind::SOLICIT {
            Message::Advertise
        } else {
            Message::Reply
        }
    }

    /// RFC 5970, section 3.1: a URL with the address in brackets; firmware resolves no names.
    fn url(&self, file: &str) -> String {
        if file.contains("://") {
            return file.to_owned();
        }
        let path = file.trim_start_matches('/');
        format!("tftp://[{}]/{path}", self.seen.local)
    }

    fn server_duid(&self, style: &Style) -> Duid {
        let made = || Duid::of_address(self.seen.local);
        style.duid.clone().unwrap_or_else(made)
    }

    fn destination(&self) -> SocketAddrV6 {
        let mut to = self.seen.source;
        if self.relays.is_empty() {
            to.set_port(CLIENT_PORT);
        } else if !self.relays.asks_for_port() {
            to.set_port(SERVER_PORT);
        }
        to
    }
}

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// The enterprise number under which PXE and HTTP Boot classes travel.
const INTEL: u32 = 343;
/// RFC 8415, section 21.13.
const NO_ADDRS_AVAIL: u16 = 2;

fn no_addresses(writer: &mut Writer<'_>) {
    let start = writer.open(code::STATUS);
    writer.put(&NO_ADDRS_AVAIL.to_be_bytes());
    writer.put(b"boot options only");
    writer.close(start);
}

fn check_kind(message: u8) -> Result<(), Why> {
    match message {
        kind::SOLICIT | kind::REQUEST | kind::INFORMATION_REQUEST => Ok(()),
        kind::ADVERTISE | kind::REPLY | kind::RECONFIGURE | kind::RELAY_REPLY => {
            Err(Why::NotRequest { op: message })
        }
        _ => Err(Why::NotForBoot { message }),
    }
}

fn facts(
    heard: &Heard<'_>,
    client_id: &Duid,
    relays: &Relays,
    unwrapped: &Unwrapped<'_>,
    seen: &Seen,
) -> Result<ClientFacts, Why> {
    let address = relays.peer().unwrap_or(*seen.source.ip());
    let hardware = unwrapped
        .link_layer
        .and_then(relayed_hardware)
        .or_else(|| eui64(address).map(HardwareAddress::from))
        .or_else(|| client_id.link_layer())
        .or_else(|| client_id.as_hardware())
        .ok_or(Why::NoHardware)?;
    let class_arch = heard.class.and_then(|class| class.arch);
    let arches = heard.arches.map(pxe::arches).unwrap_or_default();
    let http = heard.class.is_some_and(|class| class.http)
        || arches.first().is_some_and(|arch| arch.is_http());
    let asker = match (heard.is_ipxe, http) {
        (true, _) => Asker::Ipxe,
        (false, true) => Asker::HttpFirmware,
        (false, false) => Asker::Firmware,
    };
    let traits = quirks::correct(Traits {
        asker,
        arches,
        class_arch,
        secs: 0,
        max_size: 0,
        two_step: false,
        applied: ArrayVec::new(),
    });
    if let Some(arch) = quirks::unknown_arch(&traits) {
        return Err(Why::UnknownArch { arch });
    }
    Ok(ClientFacts {
        hardware,
        guid: client_id.machine_guid(asker == Asker::Ipxe),
        arches: traits.arches,
        asker,
        relay: relays.link().map(IpAddr::V6),
        address: Some(IpAddr::V6(address)),
        local: IpAddr::V6(seen.local),
        interface: seen.interface,
        phase: Phase::Offer,
        secs: heard.elapsed / 100,
        client_id: beginning(client_id.bytes()),
        undi: heard
            .interface
            .and_then(NetworkInterface::parse)
            .map(|interface| (interface.major, interface.minor)),
        vendor_class: OptionBytes::new(),
        user_class: OptionBytes::new(),
        circuit_id: OptionBytes::new(),
        remote_id: OptionBytes::new(),
        ipxe_features: 0,
        wds: None,
    })
}

/// RFC 6939: two bytes of hardware type, then the address.
fn relayed_hardware(data: &[u8]) -> Option<HardwareAddress> {
    let (kind, address) = data.split_first_chunk()?;
    hardware(u16::from_be_bytes(*kind), address)
}

/// The MAC inside an address that was made from it (RFC 4291, appendix A).
fn eui64(address: Ipv6Addr) -> Option<MacAddress> {
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else {
        return None;
    };
    Some(MacAddress::new([a ^ 2, b, c, d, e, f]))
}
