//! Cuts the packets that real firmware sent out of captures into tests/fixtures: DHCP, TFTP
//! requests and acknowledgements, HTTP heads and TLS ClientHellos, never the contents of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;

mod frame;
mod readme;

use frame::{Datagram, Payload};

/// What to cut, and where to.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder of captures: *.pcap, Ethernet
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Folder of fixtures: one folder for each capture
    #[arg(long, value_name = "DIR", default_value = "tests/fixtures")]
    into: PathBuf,
    /// The machine's MAC: its own packets are taken, nobody else's
    #[arg(long, default_value = "52:54:00:99:00:01")]
    mac: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mac = parse_mac(&arguments.mac)?;
    let mut captures: Vec<PathBuf> = fs::read_dir(&arguments.from)
        .with_context(|| format!("cannot list {}", arguments.from.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    captures.retain(|path| path.extension().is_some_and(|kind| kind == "pcap"));
    captures.sort();
    if captures.is_empty() {
        bail!("no *.pcap in {}", arguments.from.display());
    }
    let mut total = 0;
    for capture in &captures {
        let name = capture.file_stem().unwrap_or_default().to_string_lossy();
        let pieces = cut(capture, mac).with_context(|| format!("{}", capture.display()))?;
        write(&arguments.into.join(&*name), &name, &pieces)?;
        total += pieces.len();
    }
    println!("{} captures, {total} packets", captures.len());
    Ok(ExitCode::SUCCESS)
}

/// One packet worth keeping.
struct Piece {
    kind: &'static str,
    /// The line that tells addresses and ports.
    way: String,
    bytes: Vec<u8>,
}

/// How many of a kind are kept from one capture.
const FEW: usize = 8;

fn cut(capture: &Path, mac: [u8; 6]) -> Result<Vec<Piece>> {
    let mut reader = PcapReader::new(BufReader::new(fs::File::open(capture)?))?;
    if reader.header().datalink != DataLink::ETHERNET {
        bail!("not Ethernet");
    }
    let mut cutter = Cutter::default();
    // Raw: some captures were written with a snap length that their own packets exceed.
    while let Some(packet) = reader.next_raw_packet() {
        if let Some(datagram) = Datagram::read(&packet?.data, mac) {
            cutter.take(&datagram);
        }
    }
    Ok(cutter.pieces)
}

#[derive(Default)]
struct Cutter {
    pieces: Vec<Piece>,
    seen: BTreeSet<Vec<u8>>,
    counts: BTreeMap<&'static str, usize>,
    tftp_ports: BTreeSet<u16>,
    /// ClientHellos that go on in the next segment, by flow.
    hellos: BTreeMap<String, Vec<u8>>,
}

impl Cutter {
    fn take(&mut self, datagram: &Datagram<'_>) {
        match datagram.payload {
            Payload::Udp(bytes) => self.udp(datagram, bytes),
            Payload::Tcp(bytes) => self.tcp(datagram, bytes),
        }
    }

    fn udp(&mut self, datagram: &Datagram<'_>, bytes: &[u8]) {
        let kind = match datagram.to.port() {
            67 => dhcp_kind(bytes),
            4011 => "dhcp-request-4011",
            547 => dhcp6_kind(bytes),
            69 => {
                self.tftp_ports.insert(datagram.from.port());
                "tftp-rrq"
            }
            _ if self.tftp_ports.contains(&datagram.from.port()) => match bytes.get(1) {
                Some(4) => "tftp-ack",
                Some(5) => "tftp-error",
                _ => return,
            },
            _ => return,
        };
        self.keep(kind, datagram, bytes.to_vec());
    }

    fn tcp(&mut self, datagram: &Datagram<'_>, bytes: &[u8]) {
        let methods: [&[u8]; 3] = [b"GET /", b"HEAD /", b"POST /"];
        if methods.iter().any(|method| bytes.starts_with(method)) {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let (head, body) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
            self.keep("http-head", datagram, head.to_vec());
            if !body.is_empty() {
                self.keep("http-body", datagram, body.to_vec());
            }
            return;
        }
        let way = datagram.way();
        let mut hello = self.hellos.remove(&way).unwrap_or_default();
        let begins = matches!(bytes, [0x16, 3, _, _, _, 1, ..]);
        if hello.is_empty() && !begins {
            return;
        }
        hello.extend_from_slice(bytes);
        let len = 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        if hello.len() < len {
            self.hellos.insert(way, hello);
        } else {
            hello.truncate(len);
            self.keep("tls-client-hello", datagram, hello);
        }
    }

    fn keep(&mut self, kind: &'static str, datagram: &Datagram<'_>, bytes: Vec<u8>) {
        let count = self.counts.entry(kind).or_default();
        if *count < FEW && self.seen.insert(bytes.clone()) {
            *count += 1;
            self.pieces.push(Piece {
                kind,
                way: datagram.way(),
                bytes,
            });
        }
    }
}

/// The machine's DHCP message by its option 53, which stands first in what firmware sends.
fn dhcp_kind(bytes: &[u8]) -> &'static str {
    match bytes.get(240..243) {
        Some([53, 1, 1]) => "dhcp-discover",
        Some([53, 1, 3]) => "dhcp-request",
        _ => "dhcp-other",
    }
}

fn dhcp6_kind(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        Some(1) => "dhcp6-solicit",
        Some(3) => "dhcp6-request",
        Some(8) => "dhcp6-release",
        Some(11) => "dhcp6-information-request",
        _ => "dhcp6-other",
    }
}

fn write(folder: &Path, name: &str, pieces: &[Piece]) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("README"), readme::line(name, pieces.is_empty()))?;
    for (at, piece) in pieces.iter().enumerate() {
        let number = at + 1;
        let text = matches!(piece.kind, "http-head" | "http-body");
        let kind = if text { "txt" } else { "hex" };
        let path = folder.join(format!("{number:02}-{}.{kind}", piece.kind));
        let mut file = fs::File::create(&path)?;
        if text {
            file.write_all(&piece.bytes)?;
            continue;
        }
        writeln!(file, "# {}", piece.way)?;
        for line in piece.bytes.chunks(32) {
            writeln!(file, "{}", hex::encode(line))?;
        }
    }
    Ok(())
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes = hex::decode(text.replace([':', '-'], ""))?;
    match bytes.try_into() {
        Ok(mac) => Ok(mac),
        Err(_) => bail!("`{text}` is not a MAC address"),
    }
}
