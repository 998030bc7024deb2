//! How firmware and iPXE merge and rank what they are offered.

use std::net::Ipv4Addr;

use super::message::Program;
use super::reply::Reply;

/// What is taken from an offer that says how to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootOffer {
    /// How good it is; the lowest is taken.
    pub(super) rank: u8,
    /// Option 54.
    pub(super) from: Ipv4Addr,
    /// Where to go: siaddr, or option 54.
    pub(super) server: Ipv4Addr,
    pub(super) way: Way,
    /// Option 252.
    pub(super) store: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The boot file is known.
    File(String),
    /// A boot server's port 4011 knows it.
    Ask {
        server: Ipv4Addr,
        /// The menu's item.
        item: Option<u16>,
    },
}

impl BootOffer {
    /// What the program makes of an offer; `None` where it boots nothing by it.
    pub(super) fn of(program: Program, reply: &Reply) -> Option<Self> {
        let from = reply.server?;
        let proxy = reply.yiaddr.is_none();
        let classed = reply.has_class(program.class());
        let way = if program.is_http() {
            let url = reply.file().filter(|_| classed)?;
            Way::File(url.to_owned())
        } else if classed {
            pxe(program, reply, from)?
        } else if proxy {
            return None;
        } else {
            Way::File(reply.file()?.to_owned())
        };
        // EDK2's order: a lease that boots, a proxy's discovery, a proxy that is to be asked, and
        // last a lease that only names a file.
        let rank = match (&way, proxy, reply.vendor.discovers, classed) {
            (_, false, true, true) => 0,
            (_, true, true, _) => 1,
            (_, false, false, true) => 2,
            (_, true, false, _) => 3,
            (_, false, _, false) => 4,
        };
        Some(Self {
            rank,
            from,
            server: reply.siaddr.unwrap_or(from),
            way,
            store: reply.store(),
        })
    }
}

/// An offer with option 60 `PXEClient`.
fn pxe(program: Program, reply: &Reply, from: Ipv4Addr) -> Option<Way> {
    let vendor = &reply.vendor;
    let file = reply.file();
    let server = reply.siaddr.unwrap_or(from);
    if let Some(file) = file.filter(|_| vendor.uses_file()) {
        return Some(Way::File(file.to_owned()));
    }
    if let Some(item) = vendor.menu {
        let of_item = vendor.servers.iter().find(|(kind, _)| *kind == item);
        let server = of_item.map_or(server, |(_, address)| *address);
        let item = Some(item);
        // Item 0 is the machine's own disk.
        return (item != Some(0)).then_some(Way::Ask { server, item });
    }
    match (program, file) {
        // EDK2 asks port 4011 even where the offer names a file.
        (Program::Firmware(arch), _) if arch != 0 => Some(Way::Ask { server, item: None }),
        // iPXE takes a file only from an offer that says where it is.
        (Program::Ipxe { .. }, Some(_)) if reply.siaddr.is_none() => {
            Some(Way::Ask { server, item: None })
        }
        (_, Some(file)) => Some(Way::File(file.to_owned())),
        (_, None) => Some(Way::Ask { server, item: None }),
    }
}
