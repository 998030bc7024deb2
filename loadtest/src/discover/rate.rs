//! How many offers a second a boot server makes.

use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bootstorm_proto::types::MacAddress;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::{RecvFlags, recv};
use serde_json::json;

use super::Options;
use crate::flood::frames::{Frames, Kind, Noise};
use crate::interface::{BATCH, Interface, Sender};

/// Nothing was offered for so long: what is outstanding is lost.
const PATIENCE: Duration = Duration::from_millis(50);

/// Offers that wait to be counted, in bytes of the socket's buffer.
const ROOM: usize = 32 << 20;

/// Asks as fast as offers come; gives how many DISCOVERs were lost when nothing was offered at all,
/// else 0.
pub(super) fn measure(options: &Options, interface: &Interface) -> anyhow::Result<u64> {
    let frames = Frames {
        kinds: vec![Kind::Spoofed],
        to: Ipv4Addr::BROADCAST,
        to_mac: MacAddress::new([0xff; 6]),
        network: None,
        file: String::new(),
    };
    let frames = frames.build(options.macs)?;
    let machines = Machines {
        sender: Sender::open(interface)?,
        ears: ears(&options.interface)?,
    };
    let counted = machines.ask(options, &frames)?;
    if options.json {
        println!("{}", counted.json());
    } else {
        println!("{}", counted.line());
    }
    Ok(if counted.offers == 0 { counted.lost } else { 0 })
}

struct Machines {
    sender: Sender,
    ears: UdpSocket,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    sent: u64,
    offers: u64,
    lost: u64,
    elapsed: Duration,
}

impl Machines {
    fn ask(&self, options: &Options, frames: &[Vec<u8>]) -> anyhow::Result<Counted> {
        let mut headers = Sender::headers(BATCH);
        let mut noise = Noise(1);
        let mut counted = Counted::default();
        let begun = Instant::now();
        let end = Duration::from_secs(options.seconds);
        while counted.elapsed < end {
            let outstanding = counted.sent - counted.offers - counted.lost;
            let room = usize::try_from(options.outstanding - outstanding)?.min(BATCH);
            let batch: Vec<_> = (0..room)
                .map(|_| [IoSlice::new(&frames[noise.below(frames.len())])])
                .collect();
            if let Some(sent) = self.sender.send(&mut headers, &batch)? {
                counted.sent += sent as u64;
            }
            match self.offers(room == 0)? {
                0 if room == 0 => counted.lost = counted.sent - counted.offers,
                // One that was given up may come after all.
                offers => {
                    counted.offers = (counted.offers + offers).min(counted.sent - counted.lost)
                }
            }
            counted.elapsed = begun.elapsed();
        }
        ensure!(counted.sent > 0, "the interface took no frame");
        Ok(counted)
    }

    /// The offers that have come; waits for the first one if asked to, but not for ever.
    fn offers(&self, wait: bool) -> anyhow::Result<u64> {
        let mut packet = [0; 1500];
        let mut offers = 0;
        if wait {
            match self.ears.recv(&mut packet) {
                Ok(length) => offers += u64::from(is_offer(&packet[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) => return Err(error).context("cannot hear offers"),
            }
        }
        while let Ok((length, _)) = recv(&self.ears, &mut packet[..], RecvFlags::DONTWAIT) {
            offers += u64::from(is_offer(&packet[..length]));
        }
        Ok(offers)
    }
}

impl Counted {
    fn rate(&self) -> f64 {
        self.offers as f64 / self.elapsed.as_secs_f64()
    }

    fn line(&self) -> String {
        format!(
            "{} offers in {:.1} s, {:.0} a second; {} DISCOVERs, {} lost",
            self.offers,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.sent,
            self.lost
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "offers": self.offers,
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.rate(),
            "sent": self.sent,
            "lost": self.lost,
        })
    }
}

/// Hears what is broadcast to machines without an address.
fn ears(interface: &str) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).context(
        "the machines need UDP port 68; run it as root, in a network namespace of its own",
    )?;
    setsockopt(&socket, sockopt::BindToDevice, &interface.into())
        .with_context(|| format!("cannot listen on {interface}"))?;
    setsockopt(&socket, sockopt::RcvBufForce, &ROOM).context("no room for offers")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A reply whose message type (option 53) is OFFER, for one of our machines.
fn is_offer(packet: &[u8]) -> bool {
    let Some((header, mut options)) = packet.split_at_checked(OPTIONS) else {
        return false;
    };
    if header[0] != BOOTREPLY || !header[28..].starts_with(&[0x02, 0xf1, 0x0d]) {
        return false;
    }
    while let [code, rest @ ..] = options {
        match (*code, rest) {
            (0, _) => options = rest,
            (53, [1, OFFER, ..]) => return true,
            (255 | 53, _) => return false,
            (_, [length, rest @ ..]) => options = rest.get(usize::from(*length)..).unwrap_or(&[]),
            _ => return false,
        }
    }
    false
}

const BOOTREPLY: u8 = 2;
const OFFER: u8 = 2;
/// Where the options begin (RFC 2131 section 2, behind the cookie).
const OPTIONS: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; OPTIONS];
        packet[0] = BOOTREPLY;
        packet[28..31].copy_from_slice(&[0x02, 0xf1, 0x0d]);
        packet.extend(options);
        packet
    }

    #[test]
    fn offers_for_our_machines_count_and_nothing_else() {
        assert!(is_offer(&reply(&[53, 1, 2, 255])));
        assert!(is_offer(&reply(&[0, 60, 2, 1, 2, 53, 1, 2, 255])));
        for other in [
            &[53, 1, 5, 255][..],
            &[255, 53, 1, 2],
            &[60, 200, 53, 1, 2],
            &[53],
            &[53, 2, 2, 0],
            &[],
        ] {
            assert!(!is_offer(&reply(other)), "{other:?}");
        }
        let mut foreign = reply(&[53, 1, 2, 255]);
        foreign[30] = 0;
        assert!(!is_offer(&foreign));
        assert!(!is_offer(&[2; 100]));
    }
}
