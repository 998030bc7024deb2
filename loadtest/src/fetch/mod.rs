//! `bootstorm-load fetch`: one file, fetched by many clients at once, from any boot server.

mod http;
mod sources;
mod tally;
mod target;
mod tftp;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use rustls::ClientConfig;

use sources::Sources;
pub(crate) use sources::raise_file_limit;
use tally::{Summary, Tally};
use target::{Scheme, Target};

/// Fetches one file again and again, with many clients at once, and says how fast it came.
///
/// The bytes are counted and thrown away unread (unless --verify is given), so that this program
/// costs far less than the server that it measures.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What is fetched: tftp://HOST/FILE, http://... or https://..., the host with or without a port
    url: String,
    /// Clients that fetch at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    clients: u32,
    /// Transfers of all clients together; without it one a client
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    transfers: Option<u32>,
    /// Threads that the clients are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// TFTP block size in bytes
    #[arg(long, default_value_t = 1468, value_parser = clap::value_parser!(u16).range(8..=65464))]
    block_size: u16,
    /// TFTP window in blocks; 1 asks for none
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,
    /// TFTP: once every client has its first block, keep all transfers open this many seconds,
    /// with one window every half second, and then abort them
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
    /// HTTP: fetch everything over one connection a client instead of one a transfer
    #[arg(long)]
    keep_alive: bool,
    /// HTTPS: offer nothing but TLS 1.2 with AES-128-GCM
    #[arg(long)]
    tls12: bool,
    /// HTTPS: PEM file with the CA of the server's certificate
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// HTTPS: take any certificate
    #[arg(long)]
    insecure: bool,
    /// Addresses of this host for the clients, one each (127.1.0.0/16 on loopback); without it one
    /// address has them all
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    from: Option<Sources>,
    /// SHA-256 that every transfer must have
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    verify: Option<[u8; 32]>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  bootstorm-load fetch tftp://10.0.0.2/boot/ipxe.efi --clients 500 --transfers 2000
  bootstorm-load fetch https://10.0.0.2:8050/images/boot.wim --clients 100 --ca ca.pem --tls12

Exit codes: 0 every transfer is whole, 1 some are not, 2 wrong usage.";

/// What the threads share.
struct Plan {
    target: Target,
    server: SocketAddr,
    clients: u32,
    transfers: u32,
    block_size: u16,
    window: u16,
    hold: Option<Duration>,
    keep_alive: bool,
    tls: Option<Arc<ClientConfig>>,
    from: Option<Sources>,
    verify: Option<[u8; 32]>,
}

impl Plan {
    /// Transfers of one client: all have the same number, the first ones one more.
    fn quota(&self, client: u32) -> u32 {
        self.transfers / self.clients + u32::from(client < self.transfers % self.clients)
    }
}

/// Checks what was asked; an error is wrong usage. Returns the work itself, which gives the number
/// of transfers that failed.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    let target: Target = options.url.parse()?;
    let tftp = target.scheme == Scheme::Tftp;
    ensure!(tftp || options.hold.is_none(), "--hold is for tftp:// only");
    let secure = options.tls12 || options.insecure || options.ca.is_some();
    ensure!(
        !secure || target.scheme == Scheme::Https,
        "--tls12, --ca and --insecure are for https:// only"
    );
    let tls = match target.scheme {
        Scheme::Https => Some(crate::tls::config(
            options.tls12,
            options.insecure,
            options.ca.as_deref(),
        )?),
        Scheme::Http | Scheme::Tftp => None,
    };
    let server = target.resolve()?;
    if let Some(from) = &options.from {
        from.check(options.clients, server)?;
    }
    let plan = Plan {
        server,
        clients: options.clients,
        transfers: options.transfers.unwrap_or(options.clients),
        block_size: options.block_size,
        window: options.window,
        hold: options.hold.map(Duration::from_secs),
        keep_alive: options.keep_alive,
        tls,
        from: options.from,
        verify: options.verify,
        target,
    };
    ensure!(
        plan.transfers >= plan.clients,
        "{} transfers are less than one for each of the {} clients",
        plan.transfers,
        plan.clients
    );
    raise_file_limit(plan.clients + 64)?;
    let (threads, json) = (options.threads.min(plan.clients), options.json);
    Ok(move || {
        let summary = measure(&plan, threads)?;
        if json {
            println!("{}", summary.json());
        } else {
            print!("{}", summary.text());
        }
        Ok(summary.failed())
    })
}

fn measure(plan: &Plan, threads: u32) -> anyhow::Result<Summary> {
    let run = match plan.target.scheme {
        Scheme::Tftp => tftp::run,
        Scheme::Http | Scheme::Https => http::run,
    };
    let (begun, cpu) = (Instant::now(), on_processor());
    let mut total = Tally::default();
    if threads == 1 {
        total = run(plan, 0..plan.clients)?;
    } else {
        let shares = (0..threads).map(|index| share(plan.clients, threads, index));
        thread::scope(|scope| -> anyhow::Result<()> {
            let running: Vec<_> = shares
                .map(|clients| scope.spawn(move || run(plan, clients)))
                .collect();
            for thread in running {
                match thread.join() {
                    Ok(tally) => total.add(tally?),
                    Err(_) => bail!("a thread of clients panicked"),
                }
            }
            Ok(())
        })?;
    }
    Ok(Summary {
        url: plan.target.to_string(),
        clients: plan.clients,
        elapsed: begun.elapsed(),
        cpu: on_processor().saturating_sub(cpu),
        tally: total,
    })
}

fn share(clients: u32, threads: u32, index: u32) -> Range<u32> {
    let at = |index: u64| u32::try_from(u64::from(clients) * index / u64::from(threads));
    let (first, end) = (at(index.into()), at(u64::from(index) + 1));
    first.unwrap_or(clients)..end.unwrap_or(clients)
}

/// Processor time of this program.
pub(crate) fn on_processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn digest(text: &str) -> anyhow::Result<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).context("a SHA-256 has 64 hexadecimal digits")?;
    Ok(digest)
}

#[cfg(test)]
mod tests;
