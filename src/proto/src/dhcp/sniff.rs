//! Listening to the traffic of others: who has which address, which servers are about.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;

use super::facts::Asker;
use super::heard::Heard;
use super::packet::{MessageType, Packet};
use super::pxe::{self, VendorClass};
use super::{ipxe, relay};
use crate::types::{ClientArch, HardwareAddress, MachineGuid};

/// One DHCP packet of anybody's, as `watch` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// A server sent it, not a client.
    pub from_server: bool,
    /// Its type; `None` for BootP.
    pub message: Option<MessageType>,
    /// The machine that it is about.
    pub hardware: HardwareAddress,
    /// Option 97.
    pub guid: Option<MachineGuid>,
    /// Option 93, else the number in option 60.
    pub arches: ArrayVec<ClientArch, 8>,
    /// Which boot program asks, when a client that boots from the network does.
    pub asker: Option<Asker>,
    /// Option 60 names PXE or HTTP Boot. A server that says so without an answer on port 4011
    /// keeps UEFI machines from booting.
    pub class: Option<Class>,
    /// Option 54: the server that speaks or is spoken to.
    pub server_id: Option<Ipv4Addr>,
    /// The address that a server gives; `None` in a proxyDHCP server's packets.
    pub given: Option<Ipv4Addr>,
    /// siaddr of a server's packet.
    pub next_server: Option<Ipv4Addr>,
    /// The boot file of a server's packet, from option 67 or the header, made printable.
    pub boot_file: Option<String>,
    /// The packet carries option 43.
    pub vendor_options: bool,
    /// The relay.
    pub relay: Option<Ipv4Addr>,
    /// Transaction.
    pub xid: u32,
}

/// The classes of option 60 that boot from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `PXEClient`.
    Pxe,
    /// `HTTPClient`.
    Http,
}

/// Reads a DHCP packet of any kind; `None` when it is not sound.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<Sighting> {
    let packet = Packet::parse(bytes).ok()?;
    let heard = Heard::read(&packet).ok()?;
    let from_server = match packet.op() {
        1 => false,
        2 => true,
        _ => return None,
    };
    let class = heard.vendor_class.and_then(VendorClass::parse);
    let mut arches = heard.arches.map(pxe::arches).unwrap_or_default();
    if let (true, Some(arch)) = (arches.is_empty(), class.and_then(|class| class.arch)) {
        arches.push(arch);
    }
    let boot_file = heard.boot_file.unwrap_or_else(|| packet.file());
    Some(Sighting {
        from_server,
        message: heard.message,
        hardware: packet.hardware(),
        guid: heard.machine_id.and_then(pxe::machine_guid),
        arches,
        asker: class.filter(|_| !from_server).map(|class| {
            if heard.user_class.is_some_and(ipxe::is_ipxe_class) || heard.ipxe.is_some() {
                Asker::Ipxe
            } else if class.http {
                Asker::HttpFirmware
            } else {
                Asker::Firmware
            }
        }),
        class: class.map(|class| if class.http { Class::Http } else { Class::Pxe }),
        server_id: heard.server_id,
        given: host(packet.yiaddr()),
        next_server: host(packet.siaddr()),
        boot_file: printable(boot_file).filter(|_| from_server),
        vendor_options: !heard.vendor.bytes().is_empty(),
        relay: host(packet.giaddr()),
        xid: packet.xid(),
    })
}

/// A machine that takes an address, from what it broadcasts: a REQUEST names the address in option
/// 50 (selecting) or in ciaddr (renewing). The DHCP server may still refuse it.
#[must_use]
pub fn overheard(bytes: &[u8]) -> Option<(HardwareAddress, Ipv4Addr)> {
    let packet = Packet::parse(bytes).ok()?;
    if packet.op() != 1 {
        return None;
    }
    let heard = Heard::read(&packet).ok()?;
    if heard.message != Some(MessageType::Request) {
        return None;
    }
    let address = host(packet.ciaddr()).or_else(|| heard.requested.and_then(host))?;
    Some((packet.hardware(), address))
}

fn host(address: Ipv4Addr) -> Option<Ipv4Addr> {
    relay::is_host(address).then_some(address)
}

fn printable(text: &[u8]) -> Option<String> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    (!text.is_empty()).then(|| text.escape_ascii().to_string())
}
