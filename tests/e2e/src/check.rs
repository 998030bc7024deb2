//! What must have happened besides the marker.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::capture::{Segment, Transport};
use crate::lab::{RELAY, SERVER, SERVER6};

/// Something that the wire or the console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The proxy offer came from port 67 without a boot file, the boot file from port 4011.
    TwoSteps,
    /// The boot ROM loaded undionly.kpxe by TFTP.
    Undionly,
    /// The server's offer went to the relay's port 67.
    ThroughRelay,
    /// The EFI program came by HTTP, and nothing by TFTP.
    ProgramByHttp,
    /// The EFI program came by HTTPS, and nothing by TFTP.
    ProgramByHttps,
    /// Nothing was fetched from the plain HTTP port.
    NothingByHttp,
    /// Every file came from the server over IPv6; only offers may have been IPv4.
    OverIpv6,
    /// The booted kernel says that Secure Boot is enabled.
    SecureBootOn,
    /// The machine's console showed this.
    Console(&'static str),
}

/// What a case left behind.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Packets of both subnets.
    pub segments: &'a [Segment],
    /// The machine's console.
    pub console: &'a str,
}

impl Check {
    /// Looks at the evidence.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn run(self, evidence: &Evidence<'_>) -> Result<()> {
        match self {
            Self::TwoSteps => two_steps(evidence)?,
            Self::ThroughRelay => ensure!(
                evidence.udp_from_server(67).any(|segment| {
                    is(segment.destination.ip(), RELAY) && segment.destination.port() == 67
                }),
                "no offer went to {RELAY}:67"
            ),
            Self::Undionly => ensure!(
                evidence
                    .asked_by_tftp()
                    .any(|name| name.ends_with(b"undionly.kpxe")),
                "nobody asked for undionly.kpxe"
            ),
            Self::ProgramByHttp => by_tcp(evidence, 8080)?,
            Self::ProgramByHttps => by_tcp(evidence, 8050)?,
            Self::NothingByHttp => ensure!(
                !evidence.answered_by_tcp(8080),
                "the plain HTTP port was used"
            ),
            Self::OverIpv6 => {
                ensure!(
                    evidence
                        .segments
                        .iter()
                        .any(|segment| is(segment.source.ip(), SERVER6)),
                    "nothing came from {SERVER6}"
                );
                let other = evidence
                    .segments
                    .iter()
                    .find(|segment| is(segment.source.ip(), SERVER) && segment.source.port() != 67);
                ensure!(other.is_none(), "IPv4 was used: {other:?}");
            }
            Self::Console(text) => {
                ensure!(
                    evidence.console.contains(text),
                    "the console never showed `{text}`"
                );
            }
            Self::SecureBootOn => {
                let said = evidence
                    .console
                    .lines()
                    .find(|line| line.contains("bootstorm-e2e secure-boot"));
                ensure!(
                    said.is_some_and(|line| line.contains("Secure boot enabled")),
                    "the kernel said of Secure Boot: {}",
                    said.unwrap_or("nothing")
                );
            }
        }
        Ok(())
    }
}

impl Evidence<'_> {
    fn udp_from_server(&self, port: u16) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| {
            segment.transport == Transport::Udp
                && is(segment.source.ip(), SERVER)
                && segment.source.port() == port
        })
    }

    /// File names of TFTP read requests.
    fn asked_by_tftp(&self) -> impl Iterator<Item = &[u8]> {
        self.segments
            .iter()
            .filter(|segment| {
                segment.transport == Transport::Udp && segment.destination.port() == 69
            })
            .filter_map(|segment| segment.payload.strip_prefix(&[0, 1]))
            .filter_map(|request| request.split(|&byte| byte == 0).next())
    }

    fn answered_by_tcp(&self, port: u16) -> bool {
        self.segments.iter().any(|segment| {
            segment.transport == Transport::Tcp
                && segment.source.port() == port
                && !segment.payload.is_empty()
        })
    }
}

fn two_steps(evidence: &Evidence<'_>) -> Result<()> {
    let firmware = |segment: &&Segment| !is_ipxe(&segment.payload);
    let mut offers = evidence.udp_from_server(67).filter(firmware).peekable();
    ensure!(offers.peek().is_some(), "no offer came from {SERVER}:67");
    ensure!(
        offers.any(|offer| boot_file(&offer.payload).is_none()),
        "every offer from port 67 already carried a boot file"
    );
    ensure!(
        evidence
            .udp_from_server(4011)
            .any(|answer| boot_file(&answer.payload).is_some()),
        "no boot file came from {SERVER}:4011"
    );
    Ok(())
}

fn by_tcp(evidence: &Evidence<'_>, port: u16) -> Result<()> {
    ensure!(
        evidence.answered_by_tcp(port),
        "nothing came from TCP port {port}"
    );
    // iPXE looks for its script by TFTP by itself, wherever it came from.
    let asked = evidence
        .asked_by_tftp()
        .find(|name| !name.ends_with(b"autoexec.ipxe"));
    ensure!(
        asked.is_none(),
        "asked for by TFTP: {}",
        String::from_utf8_lossy(asked.unwrap_or_default())
    );
    Ok(())
}

/// A script URL instead of a boot program: an answer to iPXE.
fn is_ipxe(message: &[u8]) -> bool {
    boot_file(message).is_some_and(|file| file.starts_with(b"http"))
}

/// The `file` field of a BOOTP message, or option 67.
fn boot_file(message: &[u8]) -> Option<&[u8]> {
    let field = message.get(108..236)?;
    let end = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(field.len());
    if end > 0 {
        return field.get(..end);
    }
    option(message, 67)
}

/// An option of a DHCP message.
pub(crate) fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut options = message.get(236..)?.strip_prefix(b"\x63\x82\x53\x63")?;
    loop {
        match *options.first()? {
            0 => options = options.get(1..)?,
            255 => return None,
            code => {
                let end = 2 + usize::from(*options.get(1)?);
                if code == wanted {
                    return options.get(2..end);
                }
                options = options.get(end..)?;
            }
        }
    }
}

pub(crate) fn is(address: IpAddr, text: &str) -> bool {
    text.parse() == Ok(address)
}

#[cfg(test)]
mod tests {
    use super::{Check, Evidence, boot_file};
    use crate::capture::{Segment, Transport};

    fn message(file: &[u8], options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 236];
        message[108..108 + file.len()].copy_from_slice(file);
        message.extend_from_slice(b"\x63\x82\x53\x63");
        message.extend_from_slice(options);
        message
    }

    fn from_server(port: u16, payload: Vec<u8>) -> Segment {
        Segment {
            transport: Transport::Udp,
            source: format!("10.99.0.2:{port}").parse().unwrap(),
            destination: "10.99.0.150:68".parse().unwrap(),
            payload,
        }
    }

    #[test]
    fn the_boot_file_is_found_in_the_field_or_the_option() {
        assert_eq!(boot_file(&message(b"a.efi", &[])), Some(&b"a.efi"[..]));
        let options = [0, 53, 1, 5, 67, 3, b'x', b'y', 0, 255];
        assert_eq!(boot_file(&message(b"", &options)), Some(&b"xy\0"[..]));
        assert_eq!(boot_file(&message(b"", &[53, 1, 5, 255])), None);
        assert_eq!(boot_file(&message(b"", &[67, 200, 1])), None);
    }

    #[test]
    fn a_file_in_the_first_offer_is_not_two_steps() {
        let offer = from_server(67, message(b"", &[255]));
        let early = from_server(67, message(b"a.efi", &[255]));
        let answer = from_server(4011, message(b"a.efi", &[255]));
        let run = |segments: &[Segment]| {
            Check::TwoSteps
                .run(&Evidence {
                    segments,
                    console: "",
                })
                .is_ok()
        };
        assert!(run(&[offer.clone(), answer.clone()]));
        assert!(!run(&[early, answer]));
        assert!(!run(&[offer]));
    }
}
