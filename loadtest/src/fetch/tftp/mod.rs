//! Many TFTP clients on one thread: a socket for each transfer, epoll, and recvmmsg without
//! UDP_GRO, because network cards hand machines single datagrams.

mod receive;
mod session;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::sockopt;
use sha2::{Digest as _, Sha256};

use super::Plan;
use super::tally::Tally;
use receive::Receiver;
use session::{ABORT, Heard, STRAY, Session, Wish};

/// How often time-outs are looked for.
const SWEEP: Duration = Duration::from_millis(50);
/// Asked for each socket: a full window of many clients has to fit while this thread is busy.
const RECEIVE_BUFFER: usize = 4 << 20;
/// While transfers are held open each asks for its next window this often.
const HOLD_PACE: Duration = Duration::from_millis(500);

/// Plays the clients of `clients` to their end.
pub(crate) fn run(plan: &Plan, clients: Range<u32>) -> anyhow::Result<Tally> {
    let mut crowd = Crowd {
        plan,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        receiver: Receiver::new(plan.block_size, plan.verify.is_some()),
        clients: clients.map(|number| Client::new(plan, number)).collect(),
        busy: 0,
        hold: plan.hold.map(|length| Hold { length, end: None }),
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
    transfer: Option<Transfer>,
}

struct Transfer {
    socket: UdpSocket,
    session: Session,
    begun: Instant,
    digest: Sha256,
    /// While transfers are held open: when the acknowledgement goes out that is due.
    ack_at: Option<Instant>,
}

struct Hold {
    length: Duration,
    end: Option<Instant>,
}

struct Crowd<'a> {
    plan: &'a Plan,
    epoll: std::os::fd::OwnedFd,
    receiver: Receiver,
    clients: Vec<Client>,
    /// Clients that are not through.
    busy: usize,
    hold: Option<Hold>,
    tally: Tally,
}

impl Client {
    fn new(plan: &Plan, number: u32) -> Self {
        Self {
            number,
            left: plan.quota(number),
            bytes: 0,
            begun: Instant::now(),
            transfer: None,
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
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.readable(usize::try_from(event.data.u64())?)?;
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep(swept)?;
            }
        }
        Ok(())
    }

    /// Begins the client's next transfer, on a socket of its own: its port is the transfer's name.
    fn next_transfer(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        client.transfer = None;
        if client.left == 0 {
            self.busy -= 1;
            self.tally.client(client.bytes, client.begun.elapsed());
            return Ok(());
        }
        client.left -= 1;
        let socket = open(self.plan, client.number)?;
        epoll::add(
            &self.epoll,
            &socket,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        let wish = Wish {
            file: &self.plan.target.path,
            block_size: self.plan.block_size,
            window: self.plan.window,
        };
        let now = Instant::now();
        let transfer = client.transfer.insert(Transfer {
            socket,
            session: Session::start(&wish, self.plan.server, now),
            begun: now,
            digest: Sha256::new(),
            ack_at: None,
        });
        transfer.send();
        Ok(())
    }

    fn readable(&mut self, index: usize) -> anyhow::Result<()> {
        loop {
            let Some(transfer) = &mut self.clients[index].transfer else {
                return Ok(());
            };
            let packets = self
                .receiver
                .receive(&transfer.socket, !transfer.session.is_open())?;
            let now = Instant::now();
            for packet in 0..packets {
                let Some(transfer) = &mut self.clients[index].transfer else {
                    break;
                };
                let Some((from, head, length)) = self.receiver.packet(packet) else {
                    continue;
                };
                let heard = transfer.session.handle(from, head, length, now);
                if let Heard::Block(size) | Heard::BlockAndSend(size) | Heard::Last(size) = heard
                    && self.plan.verify.is_some()
                {
                    transfer.digest.update(&head[4..4 + size]);
                }
                if heard == Heard::Stray {
                    // Not worth a failure: the stray's sender repeats itself.
                    transfer.socket.send_to(STRAY, from).ok();
                    continue;
                }
                let over = matches!(heard, Heard::Last(_) | Heard::Failed(_));
                self.act(index, heard, now)?;
                if over {
                    // What else came on this socket belongs to the old transfer.
                    return Ok(());
                }
            }
            if packets < self.receiver.batch() {
                return Ok(());
            }
        }
    }

    fn act(&mut self, index: usize, heard: Heard, now: Instant) -> anyhow::Result<()> {
        let holding = self.hold.is_some();
        let Some(transfer) = &mut self.clients[index].transfer else {
            return Ok(());
        };
        match heard {
            Heard::Nothing | Heard::Stray | Heard::Block(_) => Ok(()),
            Heard::BlockAndSend(_) if holding => {
                transfer.ack_at = Some(now + HOLD_PACE);
                Ok(())
            }
            Heard::Send | Heard::BlockAndSend(_) => {
                transfer.send();
                Ok(())
            }
            Heard::Last(_) => {
                transfer.send();
                let digest: [u8; 32] = transfer.digest.clone().finalize().into();
                let end = match self.plan.verify {
                    Some(wanted) if wanted != digest => {
                        Err(format!("the file's SHA-256 is {}", hex::encode(digest)))
                    }
                    _ => Ok(()),
                };
                self.finish(index, end)
            }
            Heard::Failed(reason) => self.finish(index, Err(reason)),
        }
    }

    fn finish(&mut self, index: usize, end: Result<(), String>) -> anyhow::Result<()> {
        self.book(index, end);
        self.next_transfer(index)
    }

    fn book(&mut self, index: usize, end: Result<(), String>) {
        let client = &mut self.clients[index];
        if let Some(transfer) = &client.transfer {
            let counts = transfer.session.counts();
            self.tally.bytes += counts.bytes;
            self.tally.timeouts += counts.timeouts;
            self.tally.retransmitted += counts.retransmitted;
            self.tally.duplicates += counts.duplicates;
            self.tally.gaps += counts.gaps;
            self.tally.strays += counts.strays;
            client.bytes += counts.bytes;
            if self.tally.granted.is_none() && counts.bytes > 0 {
                self.tally.granted = Some(transfer.session.granted());
            }
            match end {
                Ok(()) => self.tally.times.push(transfer.begun.elapsed()),
                Err(reason) => self.tally.failed(reason),
            }
        }
    }

    fn sweep(&mut self, now: Instant) -> anyhow::Result<()> {
        for index in 0..self.clients.len() {
            let Some(transfer) = &mut self.clients[index].transfer else {
                continue;
            };
            if let Some(at) = transfer.ack_at {
                if at <= now {
                    transfer.ack_at = None;
                    transfer.session.sent_late(now);
                    transfer.send();
                }
                continue;
            }
            if transfer.session.deadline() <= now {
                let heard = transfer.session.timed_out(now);
                self.act(index, heard, now)?;
            }
        }
        self.hold(now);
        Ok(())
    }

    /// Waits until every transfer is open, then as long as asked, then aborts them all.
    fn hold(&mut self, now: Instant) {
        let Some(hold) = &mut self.hold else {
            return;
        };
        let Some(end) = hold.end else {
            let open = |client: &Client| {
                client
                    .transfer
                    .as_ref()
                    .is_none_or(|transfer| transfer.session.counts().bytes > 0)
            };
            if self.clients.iter().all(open) {
                hold.end = Some(now + hold.length);
                eprintln!("held open {}", self.busy);
            }
            return;
        };
        if end > now {
            return;
        }
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let Some(transfer) = &client.transfer else {
                continue;
            };
            let (_, to) = transfer.session.packet();
            transfer.socket.send_to(ABORT, to).ok();
            let counts = transfer.session.counts();
            self.tally.bytes += counts.bytes;
            self.tally.timeouts += counts.timeouts;
            self.tally.held += 1;
            let bytes = client.bytes + counts.bytes;
            self.tally.client(bytes, client.begun.elapsed());
            client.transfer = None;
        }
        self.busy = 0;
    }
}

impl Transfer {
    /// A send that fails is a packet lost: the time-out repeats it.
    fn send(&self) {
        let (packet, to) = self.session.packet();
        self.socket.send_to(packet.bytes(), to).ok();
    }
}

fn open(plan: &Plan, client: u32) -> anyhow::Result<UdpSocket> {
    let own = match plan.from {
        Some(from) => from.of(client),
        None if plan.server.is_ipv4() => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(own, 0))
        .with_context(|| format!("no socket on {own} for client {client}"))?;
    socket.set_nonblocking(true)?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    Ok(socket)
}
