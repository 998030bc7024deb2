//! Asks once as each architecture does, and prints every offer.

use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bootstorm_proto::types::{ClientArch, MacAddress};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use serde::Serialize;

use super::Options;
use super::reply::Reply;
use crate::interface::Interface;
use crate::machine::dhcp::message::{Ask, Message, Program};
use crate::play::print;
use crate::storm::broadcast::Broadcast;
use crate::storm::frame::{self, Opened};

/// Between two DISCOVERs: servers that bear few packets of one machine a second answer all.
const PACE: Duration = Duration::from_millis(150);
/// Offers of one architecture that are kept.
const OFFERS_MAX: usize = 64;
/// The longest frame that is read.
const FRAME_MAX: usize = 65_536;
/// Transactions count up from here.
const FIRST: u32 = 0xb570_0000;

/// What came of one DISCOVER.
#[derive(Debug, Serialize)]
struct Asked {
    arch: u16,
    name: &'static str,
    offers: Vec<Offer>,
    #[serde(skip)]
    xid: u32,
    #[serde(skip)]
    at: Instant,
}

/// A server's answer.
#[derive(Debug, Serialize)]
struct Offer {
    from: SocketAddrV4,
    after_ms: f64,
    #[serde(flatten)]
    reply: Reply,
}

/// Asks, listens and prints; gives 1 when nobody offered anything.
pub(super) fn show(options: &Options, interface: &Interface) -> anyhow::Result<u64> {
    let link = Broadcast::open(&options.interface, 68, 67)?;
    let mac = match options.mac {
        Some(mac) => mac,
        None => interface.mac().with_context(|| {
            format!("{} has no Ethernet address; give --mac", options.interface)
        })?,
    };
    let mut asked = Vec::new();
    for (xid, arch) in (FIRST..).zip(&options.arch.0) {
        let guid = options
            .uuid
            .map_or_else(|| guid_of(mac), |uuid| uuid.wire());
        let at = Instant::now();
        link.send(mac, &discover(*arch, mac, guid, xid));
        asked.push(Asked {
            arch: arch.0,
            name: arch.name(),
            offers: Vec::new(),
            xid,
            at,
        });
        listen(&link, &mut asked, at + PACE)?;
    }
    listen(&link, &mut asked, Instant::now() + options.timeout)?;
    let told = if options.json {
        serde_json::to_string(&asked)? + "\n"
    } else {
        asked.iter().map(text).collect()
    };
    print(&told)?;
    Ok(u64::from(asked.iter().all(|asked| asked.offers.is_empty())))
}

/// A DISCOVER as firmware of this architecture writes it.
fn discover(arch: ClientArch, mac: MacAddress, guid: [u8; 16], xid: u32) -> Vec<u8> {
    let message = Message {
        program: Program::Firmware(arch.0),
        mac,
        guid,
        xid,
        secs: 0,
        ask: Ask::Discover,
    };
    message.encode()
}

/// The identity of a machine that nobody named: servers that tell machines by it find the same one
/// again.
fn guid_of(mac: MacAddress) -> [u8; 16] {
    let mut guid = *b"\xb5\x70discover\0\0\0\0\0\0";
    guid[10..].copy_from_slice(&mac.bytes());
    guid
}

/// Books what comes until then.
fn listen(link: &Broadcast, asked: &mut [Asked], until: Instant) -> anyhow::Result<()> {
    let mut room = vec![0; FRAME_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut waiting = [PollFd::from_borrowed_fd(link.socket(), PollFlags::IN)];
        match poll(&mut waiting, Some(&left.try_into()?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context("cannot wait for offers"),
        }
        match recv(link.socket(), &mut room[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => take(&room[..length], asked, Instant::now()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(e) => return Err(e).context("cannot hear offers"),
        }
    }
}

/// Books a frame, if it holds an answer to one of the DISCOVERs.
fn take(frame: &[u8], asked: &mut [Asked], now: Instant) {
    let Opened::Datagram {
        from,
        port: 68,
        payload,
    } = frame::open(frame)
    else {
        return;
    };
    let Some(reply) = Reply::read(payload) else {
        return;
    };
    let Some(asked) = asked.iter_mut().find(|asked| asked.xid == reply.xid) else {
        return;
    };
    if asked.offers.len() < OFFERS_MAX {
        let after = now.saturating_duration_since(asked.at);
        asked.offers.push(Offer {
            from,
            after_ms: (after.as_secs_f64() * 1e6).round() / 1e3,
            reply,
        });
    }
}

fn text(asked: &Asked) -> String {
    let mut text = format!("{} ({}): ", asked.name, asked.arch);
    text += &match asked.offers.len() {
        0 => "no offer\n".to_owned(),
        1 => "1 offer\n".to_owned(),
        many => format!("{many} offers\n"),
    };
    for offer in &asked.offers {
        offer_text(offer, &mut text);
    }
    text
}

fn offer_text(offer: &Offer, text: &mut String) {
    let reply = &offer.reply;
    let message = reply.message.unwrap_or("reply without a message type");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name:36}{value}").ok();
    };
    line(
        &format!("  {message} from {}", offer.from),
        &format_args!("after {} ms", offer.after_ms),
    );
    for (name, address) in [
        ("    address (yiaddr)", reply.yiaddr),
        ("    next server (siaddr)", reply.siaddr),
        ("    relay agent (giaddr)", reply.giaddr),
    ] {
        if !address.is_unspecified() {
            line(name, &address);
        }
    }
    for (name, field) in [
        ("    server name", &reply.sname),
        ("    boot file", &reply.file),
    ] {
        if let Some(field) = field {
            line(name, field);
        }
    }
    for shown in &reply.options {
        line(
            &format!("    {:3} {}", shown.code, shown.name),
            &shown.value,
        );
    }
    if let Some(broken) = reply.broken {
        line("    broken", &broken);
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_proto::types::MachineGuid;

    use super::*;

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 7]);

    /// The value of an option of a message that we wrote.
    fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
        let mut rest = &message[240..];
        while let [code, length, behind @ ..] = rest {
            if *code == 255 {
                return None;
            }
            let (value, behind) = behind.split_at(usize::from(*length));
            if *code == wanted {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    #[test]
    fn twopxe_32_a_discover_is_that_of_its_architecture() {
        let guid = "11223344-5566-7788-99aa-bbccddeeff00"
            .parse::<MachineGuid>()
            .unwrap();
        for arch in super::super::IN_USE.map(ClientArch) {
            let message = discover(arch, MAC, guid.wire(), 9);
            assert_eq!(message[..8], [1, 1, 6, 0, 0, 0, 0, 9]);
            assert_eq!(message[28..34], MAC.bytes());
            assert_eq!(option(&message, 53), Some(&[1][..]));
            assert_eq!(option(&message, 93), Some(&arch.0.to_be_bytes()[..]));
            let class = option(&message, 60).unwrap();
            let begins: &[u8] = if arch.is_http() {
                b"HTTPClient"
            } else {
                b"PXEClient"
            };
            assert!(class.starts_with(begins), "{arch}: {class:?}");
            assert_eq!(option(&message, 97).unwrap()[1..], guid.wire());
        }
    }

    /// An offer of a boot server beside a DHCP server.
    fn offer(xid: u32) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..4].copy_from_slice(&[2, 1, 6, 0]);
        message[4..8].copy_from_slice(&xid.to_be_bytes());
        message[20..24].copy_from_slice(&[10, 0, 0, 2]);
        message[108..120].copy_from_slice(b"snponly.efi\0");
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        message.extend([53, 1, 2, 54, 4, 10, 0, 0, 2]);
        message.extend(b"\x3c\x09PXEClient");
        message.extend([43, 4, 6, 1, 8, 255, 255]);
        frame::build(MAC, 67, 68, &message).unwrap()
    }

    #[test]
    fn twopxe_32_every_offer_is_printed_with_its_options() {
        let at = Instant::now();
        let mut asked: Vec<_> = [(FIRST, 0), (FIRST + 1, 7)]
            .map(|(xid, arch)| Asked {
                arch,
                name: ClientArch(arch).name(),
                offers: Vec::new(),
                xid,
                at,
            })
            .into();
        let then = at + Duration::from_micros(2345);
        for xid in [FIRST + 1, FIRST + 1, 99] {
            take(&offer(xid), &mut asked, then);
        }
        take(b"noise", &mut asked, then);
        let told: String = asked.iter().map(text).collect();
        let offer = "  \
  OFFER from 0.0.0.0:67             after 2.345 ms
    next server (siaddr)            10.0.0.2
    boot file                       snponly.efi
     53 message type                OFFER
     54 server identifier           10.0.0.2
     60 class                       PXEClient
     43 vendor options              6 discovery control 8 (boot file at once)
";
        let expected = format!("x86 BIOS (0): no offer\nx64 UEFI (7): 2 offers\n{offer}{offer}");
        assert_eq!(told, expected);
        let json = serde_json::to_value(&asked).unwrap();
        assert_eq!(json[0]["offers"], serde_json::json!([]));
        assert_eq!(json[1]["offers"][1]["file"], "snponly.efi");
        assert_eq!(
            json[1]["offers"][1]["options"][1]["name"],
            "server identifier"
        );
    }

    #[test]
    fn offers_without_end_are_not_kept_without_end() {
        let at = Instant::now();
        let mut asked = [Asked {
            arch: 0,
            name: "",
            offers: Vec::new(),
            xid: FIRST,
            at,
        }];
        for _ in 0..OFFERS_MAX + 9 {
            take(&offer(FIRST), &mut asked, at);
        }
        assert_eq!(asked[0].offers.len(), OFFERS_MAX);
    }
}
