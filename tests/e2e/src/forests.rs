//! Two servers on one network: the first one answers the machines that it knows, at once; the
//! second one everyone, after a delay. Each machine must boot from one of them and hear nothing of
//! the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::capture::{Capture, Segment, Transport};
use crate::cases::Programs;
use crate::guest::Guest;
use crate::images;
use crate::lab::{Lab, Lan, Node, SECOND, SERVER, Subnet};
use crate::process::tail;
use crate::qemu::{Firmware, Hardware, Machine, Try};
use crate::server::{Server, Setup};
use crate::suite::Shelf;

/// Both machines boot at a time, in software.
const LIMIT: Duration = Duration::from_secs(240);
/// The machine of the first forest.
const KNOWN: [u8; 6] = [0x52, 0x54, 0x00, 0x99, 0x00, 0x01];
/// A machine that nobody knows.
const NEW: [u8; 6] = [0x52, 0x54, 0x00, 0x99, 0x00, 0x02];
/// `policy.delay` of the second server, in seconds.
const DELAY: u16 = 4;

/// What the case needs.
#[derive(Debug)]
pub struct Forests<'a> {
    /// The server binary.
    pub program: &'a Path,
    /// The firmware of both machines.
    pub firmware: Firmware,
    /// The network boot programs of both servers.
    pub programs: Programs,
    /// Kernel and initrd.
    pub guest: &'a Guest,
    /// Where firmware comes from.
    pub shelf: &'a Shelf,
    /// Where the case leaves its files.
    pub folder: &'a Path,
    /// What the markers end with.
    pub nonce: &'a str,
}

impl Forests<'_> {
    /// Boots both machines at a time. Gives how long the second forest's took, and what both ran.
    ///
    /// # Errors
    /// A machine did not boot from its server, or another server answered it.
    pub fn run(self) -> Result<(Duration, String)> {
        let mut lab = Lab::start(self.folder, Lan::V4)?;
        lab.plug_second()?;
        let capture = Capture::start(&lab, Subnet::Near)?;
        let knows = format!(
            "[policy]\nanswer = \"known\"\n\n[[machine]]\nmac = \"{}\"\nboot = \"{}\"\n",
            text(KNOWN),
            images::ENTRY
        );
        let (first, _) = self.server(&lab, Node::Server, knows)?;
        let everyone = format!("[policy]\ndelay = {DELAY}\n");
        let (second, programs) = self.server(&lab, Node::Second, everyone)?;

        let start = Instant::now();
        let mut known = self.machine(&lab, "known", KNOWN)?;
        let mut new = self.machine(&lab, "new", NEW)?;
        let logs = || {
            let (first, second) = (first.log(), second.log());
            format!(
                "first:\n{}\nsecond:\n{}\n",
                tail(&first, 15),
                tail(&second, 15)
            )
        };
        let marker = |node| self.marker(node);
        known
            .wait_for(&marker(Node::Server), LIMIT)
            .with_context(logs)?;
        let of_first = start.elapsed();
        new.wait_for(&marker(Node::Second), LIMIT)
            .with_context(logs)?;
        let of_second = start.elapsed();

        lab.check()?;
        drop((known, new));
        first.stop()?;
        second.stop()?;
        check(&capture.finish()?)?;
        let firmware = self.firmware.describe(self.shelf)?;
        let what = format!("{firmware}, {programs}; the known machine after {of_first:.1?}");
        Ok((of_second, what))
    }

    /// A server whose entry prints a marker of its own.
    fn server(&self, lab: &Lab, node: Node, config: String) -> Result<(Server, String)> {
        let pictures = self.folder.join(format!("{}.images", node.name()));
        let name = case(node);
        let cmdline = format!("console=ttyS0 e2e.case={name} e2e.nonce={}", self.nonce);
        fs::create_dir_all(&pictures)?;
        let programs = images::fill(&pictures, self.programs, self.guest, self.shelf, &cmdline)?;
        let setup = Setup {
            node,
            program: PathBuf::from(self.program),
            images: pictures,
            boot: Some(images::ENTRY.to_owned()),
            config: Some(config),
            files: Vec::new(),
        };
        Ok((Server::start(lab, &setup)?, programs))
    }

    fn machine(&self, lab: &Lab, name: &str, mac: [u8; 6]) -> Result<Machine> {
        let hardware = Hardware {
            firmware: self.firmware,
            first: Try::Pxe4,
            mac: text(mac),
            uuid: format!("11223344-5566-7788-99aa-{}", text(mac).replace(':', "")),
            smbios: &[],
            subnet: Subnet::Near,
            trusted: None,
        };
        Machine::start(name, &hardware, lab, self.shelf)
    }

    fn marker(&self, node: Node) -> String {
        format!("bootstorm-e2e {} booted {}", case(node), self.nonce)
    }
}

fn case(node: Node) -> String {
    format!("two-forests-{}", node.name())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Each server answered its own machine and no other; the second one let the delay pass.
fn check(segments: &[Segment]) -> Result<()> {
    for (server, own, other) in [(SERVER, KNOWN, NEW), (SECOND, NEW, KNOWN)] {
        let answers = |mac| segments.iter().filter(move |s| is_answer(s, server, mac));
        ensure!(
            answers(own).next().is_some(),
            "{server} did not answer {}",
            text(own)
        );
        let wrong = answers(other).count();
        ensure!(
            wrong == 0,
            "{server} answered {} {wrong} times",
            text(other)
        );
    }
    let mut waited = 0;
    for segment in segments {
        if is_answer(segment, SECOND, NEW) {
            break;
        }
        if is_asked(segment, NEW) {
            waited = seconds(segment).unwrap_or_default();
        }
    }
    ensure!(
        waited >= DELAY,
        "{SECOND} answered a machine that had asked for {waited} s"
    );
    Ok(())
}

/// An answer about booting: port 67, or 4011 to the machine that has chosen.
fn is_answer(segment: &Segment, server: &str, mac: [u8; 6]) -> bool {
    segment.transport == Transport::Udp
        && server.parse() == Ok(segment.source.ip())
        && matches!(segment.source.port(), 67 | 4011)
        && segment.payload.first() == Some(&2)
        && segment.payload.get(28..34) == Some(&mac)
}

fn is_asked(segment: &Segment, mac: [u8; 6]) -> bool {
    segment.transport == Transport::Udp
        && segment.destination.port() == 67
        && segment.payload.first() == Some(&1)
        && segment.payload.get(28..34) == Some(&mac)
}

/// `secs` of a BOOTP message.
fn seconds(segment: &Segment) -> Option<u16> {
    let secs = segment.payload.get(8..10)?;
    Some(u16::from_be_bytes(secs.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(op: u8, secs: u16, mac: [u8; 6]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[0] = op;
        message[8..10].copy_from_slice(&secs.to_be_bytes());
        message[28..34].copy_from_slice(&mac);
        message
    }

    fn asks(secs: u16, mac: [u8; 6]) -> Segment {
        Segment {
            transport: Transport::Udp,
            source: "0.0.0.0:68".parse().unwrap(),
            destination: "255.255.255.255:67".parse().unwrap(),
            payload: message(1, secs, mac),
        }
    }

    fn answers(server: &str, mac: [u8; 6]) -> Segment {
        Segment {
            transport: Transport::Udp,
            source: format!("{server}:67").parse().unwrap(),
            destination: "255.255.255.255:68".parse().unwrap(),
            payload: message(2, 0, mac),
        }
    }

    #[test]
    fn each_server_has_its_machine_and_the_second_one_waits() {
        let good = [
            asks(0, KNOWN),
            answers(SERVER, KNOWN),
            asks(0, NEW),
            asks(4, NEW),
            answers(SECOND, NEW),
        ];
        check(&good).unwrap();
        let wrong = |change: Segment, at: usize| {
            let mut segments = good.to_vec();
            segments[at] = change;
            check(&segments).unwrap_err().to_string()
        };
        assert!(wrong(asks(3, NEW), 3).contains("had asked for 3 s"));
        assert!(wrong(answers(SECOND, KNOWN), 2).contains("answered 52:54:00:99:00:01 1 times"));
        assert!(wrong(answers(SERVER, NEW), 2).contains("answered 52:54:00:99:00:02 1 times"));
        assert!(wrong(asks(0, KNOWN), 1).contains("did not answer"));
    }
}
