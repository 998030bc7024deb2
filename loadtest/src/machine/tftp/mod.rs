//! TFTP as boot firmware, iPXE and Windows' boot manager speak it.

mod client;
pub(crate) mod packet;

use std::net::SocketAddrV4;
use std::time::Instant;

pub(crate) use client::Client;
use client::Request as Asked;
use packet::{Heard, ack, error, read_request};

use super::body::{Body, Fetched, Keep};
use super::event::{Event, Transport};
use super::io::{Input, Output, Progress, Socket, Step, World};
use super::trace::Way;
use super::url::Url;
use crate::finding::{Code, Finding};

/// A file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where requests go to.
    pub(crate) server: SocketAddrV4,
    /// The name as it is asked for.
    pub(crate) file: String,
    /// What is kept of it.
    pub(crate) keep: Keep,
    /// Whose ways are followed.
    pub(crate) client: Client,
}

/// A file on its way. Opens and closes the machine's socket for TFTP, books the file when it is
/// there and checks it. A file that the server does not have fails with [`Code::TftpNotFound`].
#[derive(Debug)]
pub(crate) struct Transfer {
    wish: Wish,
    /// The size alone is asked for.
    probing: bool,
    body: Option<Body>,
    /// Where the server sends from, once it has answered.
    peer: Option<SocketAddrV4>,
    agreed: Agreed,
    /// The last block that came in order.
    last: u16,
    /// Blocks in order since the last acknowledgement.
    unacknowledged: u16,
    /// Packets sent since something came that was waited for.
    tries: u8,
    deadline: Instant,
    /// Bytes that are not booked yet.
    unbooked: u64,
    seen: Seen,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    block: u16,
    window: u16,
    size: Option<u64>,
}

/// RFC 1350, without options.
const PLAIN: Agreed = Agreed {
    block: 512,
    window: 1,
    size: None,
};

/// What happened so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    blocks: u32,
    repeated: u32,
    /// Block 1 where block 0 was next.
    rollovers: u8,
    /// Something was lost.
    loss: bool,
    /// The gap before this point was told.
    gap: bool,
    unreachable: bool,
    strays: bool,
    told_longer: bool,
}

/// Bytes that are booked at once: not each block is worth an event.
const BOOKED_AT_ONCE: u64 = 64 * 1024;

/// Repeated blocks that need no explanation.
const REPEATED_MAX: u32 = 64;

impl Transfer {
    /// Sends the first request.
    pub(crate) fn start(wish: Wish, world: &mut World<'_>) -> Self {
        let mut transfer = Self {
            probing: wish.client.probes(),
            body: Some(Body::new(wish.keep, &wish.url(), None, world.plan)),
            wish,
            peer: None,
            agreed: PLAIN,
            last: 0,
            unacknowledged: 0,
            tries: 0,
            deadline: world.now,
            unbooked: 0,
            seen: Seen::default(),
        };
        transfer.open(world);
        transfer
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, Body::bytes)
    }

    fn open(&mut self, world: &mut World<'_>) {
        world.want(Output::Open(Socket::Tftp));
        self.tries = 0;
        self.request(world);
    }

    fn request(&mut self, world: &mut World<'_>) {
        let options = self.wish.client.options(self.probing);
        let values: Vec<(&str, String)> = options
            .iter()
            .map(|option| (option.name(), option.value().to_string()))
            .collect();
        let options: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        world.note(Way::Out, || format!("RRQ {:?} {options:?}", self.wish.file));
        let packet = read_request(&self.wish.file, &options);
        self.send(self.wish.server, packet, world);
        self.wait(world);
    }

    fn send(&self, to: SocketAddrV4, packet: Vec<u8>, world: &mut World<'_>) {
        world.want(Output::Send(Socket::Tftp, to, packet));
    }

    fn wait(&mut self, world: &World<'_>) {
        self.deadline = world.now + self.wish.client.wait(self.tries).unwrap_or_default();
    }

    fn acknowledge(&mut self, world: &mut World<'_>) {
        self.unacknowledged = 0;
        if let Some(peer) = self.peer {
            self.send(peer, ack(self.last), world);
        }
    }

    fn heard(
        &mut self,
        from: SocketAddrV4,
        packet: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        let strange = self.peer.is_some_and(|peer| peer != from);
        if strange || from.ip() != self.wish.server.ip() {
            return self.stray(from, packet, world);
        }
        match Heard::parse(packet) {
            Heard::Data { .. } if self.probing => {
                let evidence = format!("{}: data where the size was asked for", self.wish.file);
                world.finding(Code::TftpNoOack, evidence);
                self.read(from, world)
            }
            Heard::Oack(options) if self.probing => match self.agree(options, world) {
                Ok(agreed) => {
                    self.agreed.size = agreed.size;
                    self.read(from, world)
                }
                Err(finding) => self.break_off(from, finding, world),
            },
            Heard::Data { number, payload } => self.data(from, number, payload, world),
            Heard::Oack(options) if self.seen.blocks == 0 => self.oack(from, options, world),
            // A repeated one, since the first acknowledgement was late.
            Heard::Oack(_) => Progress::Going,
            Heard::Error { code, text } => self.refused(code, text, world),
            Heard::Other => {
                let head = hex::encode(&packet[..packet.len().min(16)]);
                let evidence = format!("{from} sent {} bytes, {head}...", packet.len());
                self.break_off(from, Finding::new(Code::TftpMalformed, evidence), world)
            }
        }
    }

    /// A packet of another transfer: whoever sent it is told so, the transfer goes on (RFC 1350,
    /// section 4).
    fn stray(
        &mut self,
        from: SocketAddrV4,
        packet: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        if !self.seen.strays {
            self.seen.strays = true;
            let expected = self.peer.unwrap_or(self.wish.server);
            let evidence = format!("{}: from {from} beside {expected}", self.wish.file);
            world.finding(Code::TftpWrongTransferId, evidence);
        }
        if !matches!(Heard::parse(packet), Heard::Error { .. }) {
            self.send(from, error(5, "Unknown transfer ID"), world);
        }
        Progress::Going
    }

    /// The size is known; now the file is asked for, from another port.
    fn read(&mut self, from: SocketAddrV4, world: &mut World<'_>) -> Progress<Fetched> {
        let (code, text) = self.wish.client.aborts();
        world.note(Way::Out, || format!("ERROR {code} {text:?} after the size"));
        self.send(from, error(code, text), world);
        world.want(Output::Close(Socket::Tftp));
        self.probing = false;
        self.open(world);
        Progress::Going
    }

    fn oack(
        &mut self,
        from: SocketAddrV4,
        options: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        if self.peer.is_none() {
            match self.agree(options, world) {
                Ok(agreed) => {
                    self.agreed = Agreed {
                        size: agreed.size.or(self.agreed.size),
                        ..agreed
                    }
                }
                Err(finding) => return self.break_off(from, finding, world),
            }
            self.peer = Some(from);
            self.tries = 0;
        }
        self.wait(world);
        self.acknowledge(world);
        Progress::Going
    }

    fn agree(&self, options: &[u8], world: &mut World<'_>) -> Result<Agreed, Finding> {
        let shown = String::from_utf8_lossy(options).replace('\0', " ");
        world.note(Way::In, || format!("OACK {shown}"));
        let asked = self.wish.client.options(self.probing);
        let mut agreed = PLAIN;
        let mut words = options.split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let of_name = |asked: &&Asked| name.eq_ignore_ascii_case(asked.name().as_bytes());
            let Some(option) = asked.iter().find(of_name) else {
                let name = String::from_utf8_lossy(name);
                let finding = Finding::new(
                    Code::TftpOackNotAsked,
                    format!("{}: option {name:?} in {shown:?}", self.wish.file),
                );
                if self.wish.client.is_strict() {
                    return Err(finding);
                }
                world.finding(finding.code, finding.evidence);
                continue;
            };
            let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            if !number.is_some_and(|number| option.take(number, &mut agreed)) {
                let evidence = format!("{}: {shown:?}", self.wish.file);
                return Err(Finding::new(Code::TftpOackTooLarge, evidence));
            }
        }
        Ok(agreed)
    }

    fn data(
        &mut self,
        from: SocketAddrV4,
        number: u16,
        payload: &[u8],
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        if self.peer.is_none() {
            let evidence = format!("{}: data without an OACK", self.wish.file);
            world.finding(Code::TftpNoOack, evidence);
            self.peer = Some(from);
        }
        if number != self.last.wrapping_add(1) {
            return self.surprise(from, number, world);
        }
        if payload.len() > usize::from(self.agreed.block) {
            let (got, agreed) = (payload.len(), self.agreed.block);
            let evidence = format!("{}: {got} bytes in a block of {agreed}", self.wish.file);
            return self.break_off(from, Finding::new(Code::TftpLongBlock, evidence), world);
        }
        self.last = number;
        self.seen.blocks += 1;
        self.seen.gap = false;
        self.unacknowledged += 1;
        self.unbooked += payload.len() as u64;
        if let Some(body) = &mut self.body {
            body.push(payload);
        }
        if let Some(finding) = self.too_long() {
            if self.wish.client.is_strict() {
                return self.break_off(from, finding, world);
            }
            world.finding(finding.code, finding.evidence);
        }
        if payload.len() < usize::from(self.agreed.block) {
            return self.finish(world);
        }
        self.tries = 0;
        self.wait(world);
        if self.unbooked >= BOOKED_AT_ONCE {
            self.book_bytes(world);
        }
        if self.unacknowledged >= self.agreed.window {
            self.acknowledge(world);
        }
        Progress::Going
    }

    fn too_long(&mut self) -> Option<Finding> {
        let (size, bytes) = (self.agreed.size?, self.body.as_ref()?.bytes());
        if bytes <= size || self.seen.told_longer {
            return None;
        }
        self.seen.told_longer = true;
        let evidence = format!("{}: more than the {size} bytes of the OACK", self.wish.file);
        Some(Finding::new(Code::TftpLongerThanTold, evidence))
    }

    /// A block that was not next: one before it was lost, or it comes again.
    fn surprise(
        &mut self,
        from: SocketAddrV4,
        number: u16,
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        let ahead = number.wrapping_sub(self.last.wrapping_add(1)) < 0x8000;
        if ahead {
            self.seen.loss = true;
            if self.last == u16::MAX && number == 1 {
                self.seen.rollovers = self.seen.rollovers.saturating_add(1);
            }
            if self.seen.rollovers == 3 {
                let evidence = format!("{}: block 1 after 65535", self.wish.file);
                return self.break_off(from, Finding::new(Code::TftpRollover, evidence), world);
            }
        } else {
            self.repeated(world);
        }
        let answered = if self.wish.client.answers_all() {
            true
        } else if ahead {
            !std::mem::replace(&mut self.seen.gap, true)
        } else {
            number == self.last && self.unacknowledged == 0
        };
        if answered {
            world.resent(Transport::Tftp);
            self.acknowledge(world);
        }
        Progress::Going
    }

    fn repeated(&mut self, world: &mut World<'_>) {
        self.seen.repeated += 1;
        let Seen {
            repeated,
            blocks,
            loss,
            ..
        } = self.seen;
        if !loss && repeated > REPEATED_MAX && repeated > blocks / 2 {
            self.seen.loss = true;
            let evidence = format!("{}: {repeated} of {blocks} blocks again", self.wish.file);
            world.finding(Code::TftpDoubledBlocks, evidence);
        }
    }

    fn finish(&mut self, world: &mut World<'_>) -> Progress<Fetched> {
        let Some(body) = self.body.take() else {
            return Progress::Going;
        };
        self.acknowledge(world);
        self.book_bytes(world);
        world.want(Output::Close(Socket::Tftp));
        let fetched = body.finish();
        let name = self.wish.url();
        world.note(Way::In, || {
            format!("{name}: {} bytes, the last block", fetched.bytes)
        });
        if let Some(size) = self.agreed.size.filter(|size| fetched.bytes < *size) {
            let evidence = format!("{name}: {} bytes of {size}", fetched.bytes);
            world.finding(Code::TftpShorterThanTold, evidence);
        }
        match fetched.book(&name, None, world) {
            Ok(()) => Progress::Done(fetched),
            Err(finding) => Progress::Failed(finding),
        }
    }

    fn book_bytes(&mut self, world: &mut World<'_>) {
        let bytes = std::mem::take(&mut self.unbooked);
        if bytes > 0 {
            world.book(Event::Received(Transport::Tftp, bytes));
        }
    }

    fn refused(&mut self, code: u16, text: &[u8], world: &mut World<'_>) -> Progress<Fetched> {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end_matches('\0');
        let evidence = format!("{}: ERROR {code} {text:?}", self.wish.file);
        let code = match code {
            1 => Code::TftpNotFound,
            2 => Code::TftpRefused,
            _ => Code::TftpError,
        };
        self.end(Finding::new(code, evidence), world)
    }

    fn break_off(
        &mut self,
        from: SocketAddrV4,
        finding: Finding,
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        self.send(from, error(8, "User aborted the transfer"), world);
        self.end(finding, world)
    }

    fn end(&mut self, finding: Finding, world: &mut World<'_>) -> Progress<Fetched> {
        world.note(Way::Itself, || finding.to_string());
        self.book_bytes(world);
        world.want(Output::Close(Socket::Tftp));
        Progress::Failed(finding)
    }

    fn timeout(&mut self, world: &mut World<'_>) -> Progress<Fetched> {
        self.tries += 1;
        if self.wish.client.wait(self.tries).is_none() {
            let (file, server) = (&self.wish.file, self.wish.server);
            let (code, evidence) = match self.peer {
                None if self.seen.unreachable => (
                    Code::TftpClosed,
                    format!("{file}: nobody listens on {server}"),
                ),
                None => (Code::TftpSilent, format!("{file}: no answer from {server}")),
                Some(peer) => (
                    Code::TftpSilent,
                    format!(
                        "{file}: nothing from {peer} after block {}",
                        self.seen.blocks
                    ),
                ),
            };
            return self.end(Finding::new(code, evidence), world);
        }
        world.resent(Transport::Tftp);
        world.note(Way::Itself, || format!("time-out {}", self.tries));
        self.seen.loss = true;
        if self.peer.is_none() {
            self.request(world);
        } else {
            self.seen.gap = false;
            self.wait(world);
            self.acknowledge(world);
        }
        Progress::Going
    }
}

impl Wish {
    fn url(&self) -> String {
        Url::of_file(*self.server.ip(), self.server.port(), &self.file).to_string()
    }
}

impl Step for Transfer {
    type Made = Fetched;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Fetched> {
        match input {
            Input::Datagram {
                socket: Socket::Tftp,
                from,
                payload,
            } => self.heard(from, payload, world),
            Input::Unreachable(Socket::Tftp) => {
                self.seen.unreachable = true;
                Progress::Going
            }
            Input::Timeout if world.now >= self.deadline => self.timeout(world),
            _ => Progress::Going,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

#[cfg(test)]
mod tests;
