//! A boot server and a virtual clock for the tests of machines.

pub(crate) mod web;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::finding::Code;
use crate::machine::Machine;
use crate::machine::behaviour::Behaviour;
use crate::machine::body::copies::Copies;
use crate::machine::event::{Event, Outcome, Phase};
use crate::machine::identity::Identity;
use crate::machine::io::{Input, Output, Socket};
use crate::machine::plan::{Leases, Network, Plan, Ports, Timing, Verify};
use crate::machine::profile::Profile;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Its DHCP server, where it has one.
pub(crate) const LEASER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// Made by `bootstorm bcd make --uefi --wim '\winpe.wim' --sdi '\winpe.wim\boot.sdi' --block 1456
/// --window 16`.
pub(crate) const BCD: &[u8] = include_bytes!("../windows/winpe.bcd");

pub(crate) fn plan() -> Plan {
    let network = Network {
        base: Ipv4Addr::new(10, 99, 8, 0),
        bits: 21,
    };
    Plan {
        server: SERVER,
        ports: Ports::default(),
        leases: Leases::Harness(network),
        timing: Timing::Prompt,
        until: Phase::Booted,
        patience: Duration::from_secs(600),
        tries: 1,
        verify: Verify::Sha256,
        expected: Vec::new(),
        copies: Copies::default(),
        hosts: BTreeMap::new(),
        keep_alive: true,
        reports: false,
    }
}

/// Something on its way to the machine.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Dhcp(SocketAddrV4, Vec<u8>),
    /// For the socket that was opened as this one.
    Datagram(u16, SocketAddrV4, Vec<u8>),
    Unreachable(u16),
}

/// What the machine sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Broadcast(Vec<u8>),
    Datagram(u16, SocketAddrV4, Vec<u8>),
}

/// What answers.
pub(crate) type Answer = Box<dyn FnMut(&Sent, Duration) -> Vec<Packet>>;

/// One machine, whoever answers it, and what came of it.
pub(crate) struct Lab {
    pub(crate) machine: Machine,
    pub(crate) now: Instant,
    pub(crate) begun: Instant,
    answer: Answer,
    /// The number of each open socket.
    sockets: Vec<(Socket, u16)>,
    opened: u16,
    way: VecDeque<Packet>,
    pub(crate) sent: Vec<(Duration, Sent)>,
    pub(crate) events: Vec<(Duration, Event)>,
    /// Everything else that it wanted.
    pub(crate) others: Vec<Output>,
}

impl Lab {
    pub(crate) fn new(profile: Profile, plan: Plan, behaviour: Behaviour, answer: Answer) -> Self {
        let begun = Instant::now();
        let identity = Identity::new(7, profile);
        Self {
            machine: Machine::new(identity, behaviour, Arc::new(plan)),
            now: begun,
            begun,
            answer,
            sockets: Vec::new(),
            opened: 0,
            way: VecDeque::new(),
            sent: Vec::new(),
            events: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Runs until the machine is through, or its patience would be.
    pub(crate) fn run(mut self) -> Self {
        let mut out = Vec::new();
        self.machine.power_on(self.now, &mut out);
        self.do_all(&mut out);
        for _ in 0..2_000_000 {
            if let Some(packet) = self.way.pop_front() {
                self.deliver(&packet, &mut out);
            } else {
                let Some(at) = self.machine.deadline() else {
                    return self;
                };
                self.now = self.now.max(at);
                self.machine.handle(Input::Timeout, self.now, &mut out);
            }
            self.do_all(&mut out);
        }
        panic!("no end: {:?}", self.trace());
    }

    fn deliver(&mut self, packet: &Packet, out: &mut Vec<Output>) {
        let socket = |number: u16| {
            let mut sockets = self.sockets.iter();
            sockets
                .find(|(_, n)| *n == number)
                .map(|(socket, _)| *socket)
        };
        let input = match packet {
            Packet::Dhcp(from, payload) => Some(Input::Dhcp {
                from: *from,
                payload,
            }),
            Packet::Datagram(number, from, payload) => {
                socket(*number).map(|socket| Input::Datagram {
                    socket,
                    from: *from,
                    payload,
                })
            }
            Packet::Unreachable(number) => socket(*number).map(Input::Unreachable),
        };
        if let Some(input) = input {
            self.machine.handle(input, self.now, out);
        }
    }

    fn do_all(&mut self, out: &mut Vec<Output>) {
        let since = self.now - self.begun;
        for output in out.drain(..) {
            let sent = match output {
                Output::Event(event) => {
                    self.events.push((since, event));
                    continue;
                }
                Output::Open(socket) => {
                    assert!(self.sockets.iter().all(|(open, _)| *open != socket));
                    self.opened += 1;
                    self.sockets.push((socket, self.opened));
                    continue;
                }
                Output::Close(socket) => {
                    let open = self.sockets.len();
                    self.sockets.retain(|(open, _)| *open != socket);
                    assert_eq!(self.sockets.len() + 1, open, "closed what is open");
                    continue;
                }
                Output::PowerOff => {
                    self.sockets.clear();
                    self.way.clear();
                    self.others.push(Output::PowerOff);
                    continue;
                }
                Output::Broadcast(bytes) => Sent::Broadcast(bytes),
                Output::Send(socket, to, bytes) => {
                    let number = self.sockets.iter().find(|(open, _)| *open == socket);
                    let (_, number) = number.expect("an open socket");
                    Sent::Datagram(*number, to, bytes)
                }
                other => {
                    self.others.push(other);
                    continue;
                }
            };
            self.way.extend((self.answer)(&sent, since));
            self.sent.push((since, sent));
        }
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        let ends: Vec<&Outcome> = self
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Ended(outcome) => Some(outcome),
                _ => None,
            })
            .collect();
        assert_eq!(ends.len(), 1, "{:?}", self.trace());
        ends[0]
    }

    pub(crate) fn failure(&self) -> Code {
        match self.outcome() {
            Outcome::Failed(finding) => finding.code,
            other => panic!("{other:?}, {:#?}", self.trace()),
        }
    }

    /// Codes of the deviations, each once, in the order in which they came.
    pub(crate) fn findings(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        for (_, event) in &self.events {
            if let Event::Deviation(finding) = event
                && !codes.contains(&finding.code)
            {
                codes.push(finding.code);
            }
        }
        codes
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        let phases = self.events.iter().filter_map(|(_, event)| match event {
            Event::Reached(phase) => Some(*phase),
            _ => None,
        });
        phases.collect()
    }

    /// Names and lengths of the files that came.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let files = self.events.iter().filter_map(|(_, event)| match event {
            Event::Fetched(file) => Some((file.name.clone(), file.bytes)),
            _ => None,
        });
        files.collect()
    }

    /// Read requests: name and options in one line each.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.sent.iter().filter_map(|(_, sent)| match sent {
            Sent::Datagram(_, _, bytes) if bytes.starts_with(&[0, 1]) => Some(
                String::from_utf8_lossy(&bytes[2..])
                    .trim_end_matches('\0')
                    .replace('\0', " "),
            ),
            _ => None,
        });
        requests.collect()
    }

    /// When DHCP messages were sent, and what kind they were.
    pub(crate) fn asked(&self) -> Vec<(u64, u8)> {
        let asked = self.sent.iter().filter_map(|(at, sent)| match sent {
            Sent::Broadcast(bytes) => Some((at.as_secs(), bytes[242])),
            Sent::Datagram(_, to, bytes) if to.port() == 4011 => Some((at.as_secs(), bytes[242])),
            Sent::Datagram(..) => None,
        });
        asked.collect()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        let lines = self.machine.trace().lines();
        lines
            .map(|(at, way, text)| format!("{at:?} {way:?} {text}"))
            .collect()
    }
}

/// A DHCP server's message, as an answer to `request`.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) from: SocketAddrV4,
    pub(crate) kind: u8,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) siaddr: Ipv4Addr,
    pub(crate) file: &'static str,
    /// Those that follow 53.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    /// As this project's server offers: option 60, its id, what was asked echoed.
    pub(crate) fn proxy(request: &[u8], class: &str, file: &'static str) -> Self {
        let mut reply = Self {
            from: SocketAddrV4::new(SERVER, 67),
            kind: 2,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: SERVER,
            file,
            options: vec![
                (54, SERVER.octets().to_vec()),
                (60, class.as_bytes().to_vec()),
            ],
        };
        if let Some(guid) = option(request, 97) {
            reply.options.push((97, guid));
        }
        reply
    }

    /// As dnsmasq leases.
    pub(crate) fn lease(kind: u8, address: Ipv4Addr) -> Self {
        Self {
            from: SocketAddrV4::new(LEASER, 67),
            kind,
            yiaddr: address,
            siaddr: Ipv4Addr::UNSPECIFIED,
            file: "",
            options: vec![
                (54, LEASER.octets().to_vec()),
                (51, vec![0, 0, 14, 16]),
                (1, vec![255, 255, 248, 0]),
            ],
        }
    }

    pub(crate) fn with(mut self, code: u8, data: &[u8]) -> Self {
        self.options.push((code, data.to_vec()));
        self
    }

    pub(crate) fn without(mut self, code: u8) -> Self {
        self.options.retain(|(of, _)| *of != code);
        self
    }

    pub(crate) fn bytes(&self, request: &[u8]) -> Vec<u8> {
        let mut bytes = request[..236].to_vec();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&self.yiaddr.octets());
        bytes[20..24].copy_from_slice(&self.siaddr.octets());
        bytes[108..108 + self.file.len()].copy_from_slice(self.file.as_bytes());
        bytes.extend([99, 130, 83, 99, 53, 1, self.kind]);
        for (code, data) in &self.options {
            bytes.extend([*code, u8::try_from(data.len()).unwrap()]);
            bytes.extend(data);
        }
        bytes.push(255);
        bytes
    }

    pub(crate) fn to(&self, request: &[u8]) -> Packet {
        Packet::Dhcp(self.from, self.bytes(request))
    }
}

pub(crate) fn option(request: &[u8], code: u8) -> Option<Vec<u8>> {
    let mut rest = &request[240..];
    while let [of, length, tail @ ..] = rest {
        let (data, tail) = tail.split_at_checked(usize::from(*length))?;
        if *of == code {
            return Some(data.to_vec());
        }
        rest = tail;
    }
    None
}

/// A TFTP server without time-outs of its own.
pub(crate) struct Tftp {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The largest window that it grants.
    pub(crate) window: usize,
    /// It knows no options.
    pub(crate) plain: bool,
    /// Makes another OACK of it.
    pub(crate) oack: fn(Vec<u8>) -> Vec<u8>,
    pub(crate) transfers: BTreeMap<u16, Sending>,
}

pub(crate) struct Sending {
    file: Vec<u8>,
    block: usize,
    window: usize,
    /// The last acknowledgement and when it came.
    acknowledged: Option<(u16, Duration)>,
}

impl Tftp {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter();
        Self {
            files: files
                .map(|(name, bytes)| (name.replace('\\', "/"), bytes.to_vec()))
                .collect(),
            window: 64,
            plain: false,
            oack: |oack| oack,
            transfers: BTreeMap::new(),
        }
    }

    pub(crate) fn answer(
        &mut self,
        socket: u16,
        to: SocketAddrV4,
        packet: &[u8],
        now: Duration,
    ) -> Vec<Packet> {
        let from = SocketAddrV4::new(*to.ip(), 50_000 + socket);
        if to.port() != 69 && to != from {
            return Vec::new();
        }
        let replies = match packet {
            [0, 1, request @ ..] => self.open(socket, request),
            [0, 4, high, low] => {
                let block = u16::from_be_bytes([*high, *low]);
                let sending = self.transfers.get_mut(&socket);
                let last = sending.and_then(|s| s.acknowledged.replace((block, now)));
                // No answer to what comes twice at a time.
                if last == Some((block, now)) {
                    Vec::new()
                } else {
                    self.send(socket, block)
                }
            }
            _ => {
                self.transfers.remove(&socket);
                Vec::new()
            }
        };
        let replies = replies.into_iter();
        replies
            .map(|bytes| Packet::Datagram(socket, from, bytes))
            .collect()
    }

    fn open(&mut self, socket: u16, request: &[u8]) -> Vec<Vec<u8>> {
        let words: Vec<String> = request
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let Some(file) = self.files.get(&words[0].replace('\\', "/")).cloned() else {
            return vec![b"\0\x05\0\x01no such file\0".to_vec()];
        };
        let mut oack = vec![0, 6];
        let mut sending = Sending {
            block: 512,
            window: 1,
            acknowledged: None,
            file,
        };
        for pair in words[2..].chunks_exact(2) {
            let number: usize = pair[1].parse().unwrap();
            let granted = match pair[0].as_str() {
                "tsize" => sending.file.len(),
                "blksize" => {
                    sending.block = number;
                    number
                }
                "windowsize" => {
                    sending.window = number.min(self.window);
                    sending.window
                }
                other => panic!("{other}"),
            };
            oack.extend(format!("{}\0{granted}\0", pair[0]).bytes());
        }
        if self.plain {
            (sending.block, sending.window) = (512, 1);
            self.transfers.insert(socket, sending);
            return self.send(socket, 0);
        }
        self.transfers.insert(socket, sending);
        vec![(self.oack)(oack)]
    }

    /// The window behind this block; of files below 65,536 blocks.
    fn send(&self, socket: u16, acknowledged: u16) -> Vec<Vec<u8>> {
        let Some(sending) = self.transfers.get(&socket) else {
            return Vec::new();
        };
        let mut blocks = Vec::new();
        let first = usize::from(acknowledged) + 1;
        for number in first..first + sending.window {
            let from = (number - 1) * sending.block;
            let Some(rest) = sending.file.get(from..) else {
                break;
            };
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            let mut block = vec![0, 3, high, low];
            block.extend(&rest[..rest.len().min(sending.block)]);
            blocks.push(block);
        }
        blocks
    }
}

/// A whole boot server: offers by `offer`, port 4011 by `binl`, files by TFTP.
pub(crate) fn server(
    mut offer: impl FnMut(&[u8]) -> Vec<Packet> + 'static,
    mut binl: impl FnMut(&[u8]) -> Option<Reply> + 'static,
    mut tftp: Tftp,
) -> Answer {
    Box::new(move |sent, now| match sent {
        Sent::Broadcast(request) => offer(request),
        Sent::Datagram(socket, to, request) if to.port() == 4011 => binl(request)
            .map(|reply| Packet::Datagram(*socket, reply.from, reply.bytes(request)))
            .into_iter()
            .collect(),
        Sent::Datagram(socket, to, packet) => tftp.answer(*socket, *to, packet, now),
    })
}

/// As this project's server does for PXE: BIOS firmware is told the file at once, UEFI on port
/// 4011, iPXE its script.
pub(crate) fn good(files: &[(&str, &[u8])]) -> Answer {
    server(
        good_offers,
        |request| Some(good_binl(request)),
        Tftp::new(files),
    )
}

pub(crate) fn good_offers(request: &[u8]) -> Vec<Packet> {
    if option(request, 53) != Some(vec![1]) {
        return Vec::new();
    }
    let arch = option(request, 93).unwrap()[1];
    let reply = if option(request, 77).is_some() {
        Reply::proxy(request, "PXEClient", "boot.ipxe")
    } else if arch == 0 {
        Reply::proxy(request, "PXEClient", "undionly.kpxe").with(43, &[6, 1, 8, 255])
    } else {
        Reply::proxy(request, "PXEClient", "")
    };
    vec![reply.to(request)]
}

pub(crate) fn good_binl(request: &[u8]) -> Reply {
    let mut reply = Reply::proxy(request, "PXEClient", "snponly.efi");
    reply.kind = 5;
    reply.from = SocketAddrV4::new(SERVER, 4011);
    reply
}
