//! `bootstorm-load flood`: what a boot server must bear beside its machines.

pub(crate) mod frames;
mod pace;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bootstorm_proto::types::MacAddress;
use serde_json::json;

use frames::{Frames, Kind};
use pace::Pace;

use crate::ground;
use crate::interface::{BATCH, Interface, Sender};

/// Sends frames at a steady rate: rubbish, spoofed machines, read requests.
///
/// For load tests of boot servers in networks of your own: it loads every host that the frames
/// reach. It needs CAP_NET_RAW, has no default target, and refuses public addresses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Network interface to send from
    #[arg(long)]
    interface: String,
    /// Frames a second
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,
    /// How long; SIGINT and SIGTERM end it earlier
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What is sent; several kinds, separated by commas, take turns
    #[arg(long, required = true, value_enum, value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Made-up machines
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    macs: u32,
    /// The server's address, or 255.255.255.255
    #[arg(long, value_name = "ADDRESS")]
    to: Ipv4Addr,
    /// Ethernet address of the server, or of the router on the way; not needed for 255.255.255.255
    #[arg(long, value_name = "MAC")]
    to_mac: Option<MacAddress>,
    /// The file of read requests
    #[arg(long, default_value = "boot/ipxe.efi")]
    file: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples, in a network of your own:
  bootstorm-load flood --interface eth1 --rate 200000 --seconds 30 --kind junk,spoofed --to 255.255.255.255
  bootstorm-load flood --interface eth1 --rate 50000 --seconds 10 --kind requests --to 10.0.0.2 --to-mac 02:00:00:00:00:01

To 255.255.255.255 the frames come from 0.0.0.0, as DHCP does; to any other address they come from
made-up neighbours in the network of the interface's own address.

Exit codes: 0 sent (the rate that was reached is printed), 1 the interface failed, 2 wrong usage.";

/// Checks what was asked; an error is wrong usage. Returns the work itself, which gives 0: no
/// machine fails in a flood.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    ensure!(
        ground::is_own(options.to) || options.to.is_broadcast(),
        "--to {}: only loopback, private and broadcast addresses are flooded: against a public \
         address it is an attack",
        options.to
    );
    let to_mac = match options.to_mac {
        Some(mac) => mac,
        None if options.to.is_broadcast() => MacAddress::new([0xff; 6]),
        None => anyhow::bail!("--to {} needs --to-mac as well", options.to),
    };
    let interface = Interface::named(&options.interface)?;
    let frames = Frames {
        kinds: options.kind.clone(),
        to: options.to,
        to_mac,
        network: if options.to.is_broadcast() {
            None
        } else {
            Some(interface.network()?)
        },
        file: options.file.clone(),
    };
    Ok(move || {
        let frames = frames.build(options.macs)?;
        let sender = Sender::open(&interface)?;
        let sent = flood(&options, &sender, &frames)?;
        if options.json {
            println!("{}", sent.json(&options));
        } else {
            println!("{}", sent.line());
        }
        Ok(0)
    })
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    frames: u64,
    /// Turned away by the interface, for want of room in a queue.
    refused: u64,
    elapsed: Duration,
}

impl Sent {
    /// Books what became of a batch and gives what is left of it.
    fn book<'a, T>(&mut self, batch: &'a [T], taken: Option<usize>) -> &'a [T] {
        match taken {
            Some(taken) => self.frames += taken as u64,
            None => self.refused += 1,
        }
        batch.get(taken.unwrap_or(1)..).unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        self.frames as f64 / self.elapsed.as_secs_f64().max(0.001)
    }

    fn line(&self) -> String {
        format!(
            "{} frames in {:.1} s, {:.0} a second, {} refused by the interface",
            self.frames,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.refused
        )
    }

    fn json(&self, options: &Options) -> serde_json::Value {
        json!({
            "wanted_rate": options.rate,
            "rate": self.rate(),
            "seconds": self.elapsed.as_secs_f64(),
            "frames": self.frames,
            "refused": self.refused,
        })
    }
}

fn flood(options: &Options, sender: &Sender, frames: &[Vec<u8>]) -> anyhow::Result<Sent> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .context("no handler for signals")?;
    }
    let slices: Vec<_> = frames
        .iter()
        .map(|frame| [std::io::IoSlice::new(frame)])
        .collect();
    let mut headers = Sender::headers(BATCH);
    let mut pace = Pace::new(options.rate);
    let (mut sent, mut next_line) = (Sent::default(), Duration::from_secs(1));
    let begun = Instant::now();
    for mut batch in slices.chunks(pace.batch(BATCH)).cycle() {
        while let Err(early) = pace.take(batch.len() as u64, begun.elapsed()) {
            std::thread::sleep(early);
        }
        while !batch.is_empty() {
            batch = sent.book(batch, sender.send(&mut headers, batch)?);
        }
        sent.elapsed = begun.elapsed();
        if sent.elapsed >= next_line {
            eprintln!("{}", sent.line());
            next_line += Duration::from_secs(1);
        }
        let over = sent.elapsed >= Duration::from_secs(options.seconds);
        if over || stopped.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(sent)
}
