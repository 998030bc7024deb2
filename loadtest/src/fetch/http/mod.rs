//! Many HTTP and HTTPS clients on one thread, by epoll.

mod response;

use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use sha2::{Digest as _, Sha256};

use super::Plan;
use super::tally::Tally;
use crate::tls::Tls;

/// How often stalled connections are looked for.
const SWEEP: Duration = Duration::from_millis(200);
/// A connection on which nothing moves for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one receive.
const BUFFER: usize = 1 << 20;
/// Receives on one connection before the next one gets its turn.
const TURNS: usize = 4;

/// Plays the clients of `clients` to their end.
pub(crate) fn run(plan: &Plan, clients: Range<u32>) -> anyhow::Result<Tally> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bootstorm-load\r\nConnection: {}\r\n\r\n",
        plan.target.path,
        plan.target.authority(),
        if plan.keep_alive {
            "keep-alive"
        } else {
            "close"
        },
    );
    let mut crowd = Crowd {
        plan,
        request: request.into_bytes(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        buffer: vec![0; BUFFER],
        clients: clients.map(|number| Client::new(plan, number)).collect(),
        busy: 0,
        tally: Tally::default(),
    };
    for index in 0..crowd.clients.len() {
        crowd.busy += 1;
        crowd.clients[index].begun = Instant::now();
        crowd.next_transfer(index)?;
    }
    crowd.play()?;
    Ok(crowd.tally)
}

struct Client {
    number: u32,
    left: u32,
    bytes: u64,
    begun: Instant,
    connection: Option<Connection>,
}

struct Connection {
    stream: TcpStream,
    tls: Option<Tls>,
    connected: bool,
    moved: Instant,
    fetch: Fetch,
}

/// One file that is under way.
struct Fetch {
    begun: Instant,
    head: Vec<u8>,
    /// Bytes of the body that are to come, once the head is there.
    left: Option<u64>,
    bytes: u64,
    closes: bool,
    digest: Option<Sha256>,
}

struct Crowd<'a> {
    plan: &'a Plan,
    request: Vec<u8>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    /// Clients that are not through.
    busy: usize,
    tally: Tally,
}

impl Client {
    fn new(plan: &Plan, number: u32) -> Self {
        Self {
            number,
            left: plan.quota(number),
            bytes: 0,
            begun: Instant::now(),
            connection: None,
        }
    }
}

impl Crowd<'_> {
    fn play(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let mut swept = Instant::now();
        while self.busy > 0 {
            events.clear();
            let wait = SWEEP.saturating_sub(swept.elapsed());
            let wait = rustix::time::Timespec::try_from(wait)?;
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&wait),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.ready(usize::try_from(event.data.u64())?)?;
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep(swept)?;
            }
        }
        Ok(())
    }

    /// Begins the client's next transfer, over its connection when that can be used again.
    fn next_transfer(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if client.left == 0 {
            client.connection = None;
            self.busy -= 1;
            self.tally.client(client.bytes, client.begun.elapsed());
            return Ok(());
        }
        client.left -= 1;
        if let Some(connection) = &mut client.connection {
            connection.fetch = Fetch::new(self.plan);
            let asked = connection.ask(&self.request);
            return asked.or_else(|reason| self.finish(index, Err(reason)));
        }
        let stream = connect(self.plan, client.number)?;
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(index as u64),
            EventFlags::OUT,
        )?;
        let config = self.plan.tls.as_ref();
        client.connection = Some(Connection {
            stream,
            tls: config
                .map(|config| Tls::new(config, &self.plan.target.host))
                .transpose()?,
            connected: false,
            moved: Instant::now(),
            fetch: Fetch::new(self.plan),
        });
        Ok(())
    }

    fn ready(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(connection) = &mut self.clients[index].connection else {
            return Ok(());
        };
        connection.moved = Instant::now();
        let outcome = if connection.connected {
            connection.receive(&mut self.buffer)
        } else {
            epoll::modify(
                &self.epoll,
                &connection.stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )?;
            connection.established(&self.request).map(|()| false)
        };
        match outcome {
            Ok(false) => Ok(()),
            Ok(true) => self.finish(index, Ok(())),
            Err(reason) => self.finish(index, Err(reason)),
        }
    }

    fn finish(&mut self, index: usize, end: Result<(), String>) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if let Some(connection) = &mut client.connection {
            let fetch = &mut connection.fetch;
            self.tally.bytes += fetch.bytes;
            client.bytes += fetch.bytes;
            let again = end.is_ok() && self.plan.keep_alive && !fetch.closes;
            match end.and_then(|()| fetch.verify(self.plan)) {
                Ok(()) => self.tally.times.push(fetch.begun.elapsed()),
                Err(reason) => self.tally.failed(reason),
            }
            if !again {
                client.connection = None;
            }
        }
        self.next_transfer(index)
    }

    fn sweep(&mut self, now: Instant) -> anyhow::Result<()> {
        for index in 0..self.clients.len() {
            let connection = self.clients[index].connection.as_ref();
            if connection.is_some_and(|connection| now - connection.moved > PATIENCE) {
                self.tally.timeouts += 1;
                self.finish(index, Err("the server fell silent".to_owned()))?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn established(&mut self, request: &[u8]) -> Result<(), String> {
        match sockopt::socket_error(&self.stream) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return Err(format!("no connection: {error}")),
        }
        self.connected = true;
        self.ask(request)
    }

    fn ask(&mut self, request: &[u8]) -> Result<(), String> {
        let Some(tls) = &mut self.tls else {
            return send(&self.stream, request);
        };
        tls.write(request);
        tls.open(&mut [], |_| Ok(()))?;
        flush(&self.stream, tls)
    }

    /// Takes what is there; true when the file is whole.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, String> {
        for _ in 0..TURNS {
            let before = self.tls.as_mut().map_or(0, |tls| tls.begin(buffer));
            let room = &mut buffer[before..];
            // A body that nobody looks at is thrown away by the kernel, without a copy.
            let unread = self.tls.is_none() && self.fetch.digest.is_none();
            let (flags, room) = match self.fetch.left {
                Some(left) if unread => {
                    let length = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    (RecvFlags::TRUNC, &mut room[..length])
                }
                _ => (RecvFlags::empty(), room),
            };
            let asked = room.len();
            let length = match rustix::net::recv(&self.stream, room, flags | RecvFlags::DONTWAIT) {
                Ok((_, length)) => length,
                Err(Errno::AGAIN | Errno::INTR) => {
                    if let Some(tls) = &mut self.tls {
                        tls.keep(&buffer[..before]);
                    }
                    return Ok(false);
                }
                Err(error) => return Err(format!("broken off: {error}")),
            };
            if length == 0 {
                return Err(format!("closed after {} bytes", self.fetch.bytes));
            }
            if flags.contains(RecvFlags::TRUNC) {
                self.fetch.skipped(length as u64);
            } else if let Some(tls) = &mut self.tls {
                let fetch = &mut self.fetch;
                let closed = tls.open(&mut buffer[..before + length], |plain| fetch.take(plain))?;
                flush(&self.stream, tls)?;
                if closed && fetch.left != Some(0) {
                    return Err(format!("closed after {} bytes", fetch.bytes));
                }
            } else {
                self.fetch.take(&buffer[..length])?;
            }
            if self.fetch.left == Some(0) {
                return Ok(true);
            }
            if length < asked {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

impl Fetch {
    fn new(plan: &Plan) -> Self {
        Self {
            begun: Instant::now(),
            head: Vec::new(),
            left: None,
            bytes: 0,
            closes: false,
            digest: plan.verify.map(|_| Sha256::new()),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if self.left.is_none() {
            let known = self.head.len();
            let more = bytes.len().min(response::HEAD_MAX);
            self.head.extend_from_slice(&bytes[..more]);
            let Some(head) = response::parse(&self.head)? else {
                return Ok(());
            };
            self.left = Some(head.body);
            self.closes = head.closes;
            bytes = &bytes[head.length - known..];
            self.head.clear();
        }
        if self.left.is_none_or(|left| left < bytes.len() as u64) {
            return Err("more bytes than were promised".to_owned());
        }
        self.skipped(bytes.len() as u64);
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(())
    }

    fn skipped(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.left = self.left.map(|left| left.saturating_sub(bytes));
    }

    fn verify(&mut self, plan: &Plan) -> Result<(), String> {
        let digest: Option<[u8; 32]> = self.digest.take().map(|digest| digest.finalize().into());
        match (digest, plan.verify) {
            (Some(digest), Some(wanted)) if digest != wanted => {
                Err(format!("the file's SHA-256 is {}", hex::encode(digest)))
            }
            _ => Ok(()),
        }
    }
}

fn connect(plan: &Plan, client: u32) -> anyhow::Result<TcpStream> {
    let family = match plan.server {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(from) = plan.from {
        let own = SocketAddr::new(from.of(client), 0);
        rustix::net::bind(&socket, &own).with_context(|| format!("{own} is not ours"))?;
    }
    match rustix::net::connect(&socket, &plan.server) {
        // Refusals are told when the socket is looked at.
        Ok(()) | Err(Errno::INPROGRESS | Errno::CONNREFUSED) => Ok(socket.into()),
        Err(error) => Err(error).with_context(|| format!("no connection to {}", plan.server)),
    }
}

fn flush(stream: &TcpStream, tls: &mut Tls) -> Result<(), String> {
    send(stream, &tls.take_outgoing())
}

/// Requests and handshakes are far smaller than any send buffer.
fn send(stream: &TcpStream, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err("the server takes no request".to_owned()),
        Err(error) => Err(format!("broken off: {error}")),
    }
}
