//! What a reply says: the offer from port 67 and the ACK from port 4011 (PXE 2.1, section 2.2).

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayString;

use super::facts::{Answer, Asker, ClientFacts, Phase, WindowsFiles};
use super::packet::{MessageType, ReplyHeader, Writer, code};
use super::pxe::{self, VendorOptions};
use super::request::{Exchange, Reply, Request};
use super::silence::Why;
use super::style::{BiosOffer, IpxeOption, Style, UefiOffer};
use super::wds::{self, WdsAction};
use super::{REPLY_MAX, http_boot, ipxe};
use crate::types::Family;

pub(super) fn reply(
    request: &Request,
    answer: &Answer,
    style: &Style,
    buf: &mut [u8],
) -> Result<Reply, Why> {
    let Boot {
        file,
        server,
        delay,
        windows,
        action,
    } = decided(answer)?;
    check_delay(request.facts(), delay)?;
    let action = action.filter(|_| request.facts().wds.is_some());
    if action.is_none() {
        check_file(file)?;
    }
    check_item(request, style)?;
    let limit = size_limit(request.traits.max_size).min(buf.len());
    let mut content = Content::choose(request, style, file, server);
    if action.is_some() {
        content.boot = None;
    }
    content.wds = request.facts().wds.map(|_| action);
    content.windows = windows.filter(|_| request.facts().asker == Asker::Firmware);
    let len = content
        .write(request, buf)
        .and_then(|len| if len <= limit { Ok(len) } else { Err(len) });
    match len {
        Ok(len) => Ok(Reply {
            len,
            to: request.destination(),
            message: content.message,
        }),
        Err(needed) => Err(Why::ReplyTooLong { needed, limit }),
    }
}

/// All that differs from reply to reply.
struct Content<'a> {
    message: Option<MessageType>,
    class: &'static [u8],
    vendor: Option<VendorOptions>,
    /// The server that the machine turns to next: for the file, or for the second step.
    next: Ipv4Addr,
    boot: Option<&'a [u8]>,
    /// Names the server in sname and option 66, for a file that is no URL.
    named: bool,
    ipxe: IpxeOption,
    /// For a boot program of Windows: what it does instead of loading the file, if not that.
    wds: Option<Option<&'a WdsAction>>,
    /// Said beside the file.
    windows: Option<&'a WindowsFiles>,
}

impl<'a> Content<'a> {
    fn choose(request: &Request, style: &Style, file: &'a str, server: Option<Ipv4Addr>) -> Self {
        let local = request.seen.local;
        let mut content = Self {
            message: match request.exchange {
                Exchange::Offer => Some(MessageType::Offer),
                Exchange::Ack(_) => Some(MessageType::Ack),
                Exchange::Bootp => None,
            },
            class: pxe::PXE_CLASS,
            vendor: None,
            next: server.unwrap_or(local),
            boot: Some(file.as_bytes()),
            named: true,
            ipxe: IpxeOption::Absent,
            wds: None,
            windows: None,
        };
        match request.facts().asker {
            Asker::HttpFirmware => http_boot::shape(&mut content.class, &mut content.named),
            Asker::Ipxe => content.ipxe = style.ipxe,
            Asker::Firmware if request.exchange == Exchange::Offer => {
                content.offer_to_firmware(request, style);
            }
            Asker::Firmware => {}
        }
        if let Exchange::Ack(Some(item)) = request.exchange {
            content.vendor = Some(content.vendor.unwrap_or_default().boot_item(item));
        }
        content
    }

    fn offer_to_firmware(&mut self, request: &Request, style: &Style) {
        if request.traits.two_step && style.uefi == UefiOffer::TwoStep {
            self.boot = None;
            self.next = request.seen.local;
            return;
        }
        let families = || {
            request
                .facts()
                .arches
                .iter()
                .filter_map(|arch| arch.family())
        };
        let bios = families().next() == Some(Family::Bios);
        self.vendor = Some(match style.bios {
            BiosOffer::Prompt if bios => VendorOptions::prompt(),
            BiosOffer::Menu if bios => VendorOptions::menu(request.seen.local),
            _ => VendorOptions::skip_discovery(),
        });
    }

    fn write(&self, request: &Request, buf: &mut [u8]) -> Result<usize, usize> {
        let header = ReplyHeader {
            hardware: request.hardware,
            xid: request.xid,
            flags: request.reply_flags(),
            ciaddr: request.ciaddr,
            siaddr: self.next,
            giaddr: request.giaddr,
        };
        let mut writer = Writer::reply(buf, &header);
        if let Some(message) = self.message {
            writer.option(code::MESSAGE_TYPE, &[message.number()]);
        }
        let server_id = request.relay.server_id.unwrap_or(request.seen.local);
        writer.option(code::SERVER_ID, &server_id.octets());
        writer.option(code::VENDOR_CLASS, self.class);
        if !request.machine_id.is_empty() {
            writer.option(code::MACHINE_ID, &request.machine_id);
        }
        if let Some(vendor) = &self.vendor {
            writer.option(code::VENDOR, &vendor.clone().finish());
        }
        if let Some(file) = self.boot {
            // Firmware reads the one or the other: both say the same.
            if self.named {
                let mut name = ArrayString::<15>::new();
                // Fifteen characters hold every dotted quad.
                let _ = write!(name, "{}", self.next);
                writer.server_name(name.as_bytes());
                writer.text(code::SERVER_NAME, name.as_bytes());
            }
            writer.file(file);
            writer.text(code::BOOT_FILE, file);
            match self.ipxe {
                IpxeOption::Absent => {}
                IpxeOption::Url => writer.option(code::IPXE, file),
                IpxeOption::NoPxeDhcp => writer.option(code::IPXE, &ipxe::no_pxedhcp()),
            }
            if let Some(windows) = self.windows {
                wds::write_files(&mut writer, windows);
            }
        }
        if let Some(action) = self.wds {
            wds::write(&mut writer, action);
        }
        // RFC 6842: whoever sends a client identifier gets it back.
        if !request.client_id.is_empty() {
            writer.option(code::CLIENT_ID, &request.client_id);
        }
        // RFC 3046: unchanged, and behind everything else.
        if !request.relay_info.is_empty() {
            writer.option(code::RELAY_INFO, &request.relay_info);
        }
        writer.finish()
    }
}

/// What the decision lets a machine boot.
pub(super) struct Boot<'a> {
    pub(super) file: &'a str,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) delay: u16,
    pub(super) windows: Option<&'a WindowsFiles>,
    /// What a boot program of Windows does instead; then there is no file.
    pub(super) action: Option<&'a WdsAction>,
}

pub(super) fn decided(answer: &Answer) -> Result<Boot<'_>, Why> {
    match answer {
        Answer::Boot {
            file,
            server,
            delay,
            windows,
        } => Ok(Boot {
            file,
            server: *server,
            delay: *delay,
            windows: windows.as_deref(),
            action: None,
        }),
        Answer::Wds(action) => Ok(Boot {
            file: "",
            server: None,
            delay: 0,
            windows: None,
            action: Some(action),
        }),
        Answer::Later => Err(Why::Undecided),
        Answer::Silent { code, text } => Err(Why::Policy {
            code,
            text: Arc::clone(text),
        }),
    }
}

pub(super) fn check_delay(facts: &ClientFacts, delay: u16) -> Result<(), Why> {
    let secs = facts.secs;
    if facts.phase == Phase::Offer && secs < delay {
        return Err(Why::Waiting { secs, delay });
    }
    Ok(())
}

pub(super) fn check_file(file: &str) -> Result<(), Why> {
    let sound = !file.is_empty() && file.len() <= FILE_MAX && !file.contains(char::is_control);
    if sound {
        Ok(())
    } else {
        Err(Why::BadFile {
            file: file.chars().take(80).collect(),
        })
    }
}

/// Longer than any reply has room for.
const FILE_MAX: usize = 1024;

fn check_item(request: &Request, style: &Style) -> Result<(), Why> {
    let Some(item) = request.boot_item() else {
        return Ok(());
    };
    if item.wants_credentials() {
        return Err(Why::Credentials { layer: item.layer });
    }
    if style.boot_items.contains(&item.item) {
        Ok(())
    } else {
        Err(Why::UnknownBootItem { item: item.item })
    }
}

/// Option 57 counts the IP and UDP headers; 576 is what every client takes (RFC 2131, section 2).
fn size_limit(max_size: u16) -> usize {
    usize::from(max_size).clamp(576, REPLY_MAX + HEADERS) - HEADERS
}

const HEADERS: usize = 28;
