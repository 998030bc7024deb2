//! What was on the wire: a capture of every case, and the little decoding that its checks need.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use pcap_file::pcap::PcapReader;

use crate::command;
use crate::lab::{Lab, Node, Subnet};
use crate::process::Running;
use crate::stop;

/// Enough for every DHCP packet and HTTP head; the bodies of files are cut.
const SNAP_LENGTH: &str = "1600";

/// A running capture of one bridge.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
    file: PathBuf,
}

/// Transport of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// One packet with ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// UDP or TCP.
    pub transport: Transport,
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What is in it (TCP: with the TCP header's options cut).
    pub payload: Vec<u8>,
}

impl Capture {
    /// Starts and waits until it really listens.
    ///
    /// # Errors
    /// tcpdump does not start.
    pub fn start(lab: &Lab, subnet: Subnet) -> Result<Self> {
        let name = format!("capture-{}", subnet.bridge());
        let file = lab.folder().join(format!("{name}.pcap"));
        let mut command = lab.command(Node::Lan, "tcpdump");
        command
            .args([
                "-n",
                "-U",
                "-s",
                SNAP_LENGTH,
                "-Z",
                "root",
                "-i",
                subnet.bridge(),
                "-w",
            ])
            .arg(&file);
        let mut tcpdump = Running::start(&name, lab.folder(), command)?;
        let log = tcpdump.stderr().to_owned();
        stop::wait_for("capture", Duration::from_secs(60), || {
            tcpdump.check()?;
            Ok(command::read(&log)?.contains("listening on").then_some(()))
        })?;
        Ok(Self { tcpdump, file })
    }

    /// Ends it and reads what it has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn finish(mut self) -> Result<Vec<Segment>> {
        self.tcpdump.stop()?;
        segments(&self.file)
    }
}

/// The UDP and TCP segments of a pcap file.
///
/// # Errors
/// It is no pcap file.
pub fn segments(file: &Path) -> Result<Vec<Segment>> {
    let mut reader = PcapReader::new(
        File::open(file).with_context(|| format!("cannot open {}", file.display()))?,
    )?;
    let mut segments = Vec::new();
    // The last record may be cut when tcpdump ends.
    while let Some(Ok(packet)) = reader.next_packet() {
        segments.extend(decode(&packet.data));
    }
    Ok(segments)
}

fn decode(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    let (protocol, source, destination, body) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(octets).into())
            };
            (
                *packet.get(9)?,
                address(12)?,
                address(16)?,
                packet.get(header..)?,
            )
        }
        [0x86, 0xdd] => {
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(octets).into())
            };
            (
                *packet.get(6)?,
                address(8)?,
                address(24)?,
                packet.get(40..)?,
            )
        }
        _ => return None,
    };
    let (transport, header) = match protocol {
        17 => (Transport::Udp, 8),
        6 => (Transport::Tcp, usize::from(body.get(12)? >> 4) * 4),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    Some(Segment {
        transport,
        source: SocketAddr::new(source, port(0)?),
        destination: SocketAddr::new(destination, port(2)?),
        payload: body.get(header..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Transport, decode};

    #[test]
    fn an_ipv4_datagram_is_decoded_past_its_options() {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        frame.extend([0x46, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend([10, 99, 0, 2, 10, 99, 1, 1]);
        frame.extend([1, 1, 1, 0]);
        frame.extend([0, 67, 0x0f, 0xab, 0, 11, 0, 0, 1, 2, 3]);
        let segment = decode(&frame).unwrap();
        assert_eq!(segment.transport, Transport::Udp);
        assert_eq!(segment.source, "10.99.0.2:67".parse().unwrap());
        assert_eq!(segment.destination, "10.99.1.1:4011".parse().unwrap());
        assert_eq!(segment.payload, [1, 2, 3]);
    }

    #[test]
    fn a_cut_frame_is_no_segment() {
        assert_eq!(decode(&[0; 13]), None);
        assert_eq!(
            decode(&[&[0; 12][..], &[0x86, 0xdd], &[0x60; 20]].concat()),
            None
        );
    }
}
