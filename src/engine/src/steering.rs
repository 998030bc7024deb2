//! Keeps a client with one worker: the kernel picks the socket of a shared port by who asks.
//!
//! TFTP goes by the client's address alone, so that its later requests, from whatever port, meet
//! its transfers. DHCP goes by the machine's hardware address, and what cannot be DHCP of a client
//! goes to a socket of its own, where it takes no room from what can.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN,
    BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X, BPF_XOR, sock_filter,
};

/// Offset that makes classic BPF read from the network header (`SKF_NET_OFF`).
const NETWORK_HEADER: u32 = -0x10_0000_i32 as u32;
/// Where the sender's address begins in an IPv4 header.
const SOURCE_V4: u32 = NETWORK_HEADER + 12;
/// Where it begins in an IPv6 header.
const SOURCE_V6: u32 = NETWORK_HEADER + 8;
/// 2^32 divided by the golden ratio: spreads addresses that lie close together or in steps.
const GOLDEN: u32 = 0x9e37_79b1;

/// Where the payload begins for a program that picks a socket.
const AT_PAYLOAD: u32 = 0;
/// Where it begins for the filter of a UDP socket, which sees the UDP header too.
const BEHIND_HEADER: u32 = 8;
/// Bytes of a DHCP header with its cookie (RFC 2131, section 2).
const DHCP_HEADER: u32 = 240;
const CHADDR: u32 = 28;
const COOKIE: u32 = 236;
const COOKIE_VALUE: u32 = 0x6382_5363;
const BOOTREQUEST: u32 = 1;

/// What one of the sockets of a DHCP port takes. `of` workers share it; one socket more takes the
/// rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// The requests of the machines of this worker.
    Worker { number: u32, of: u32 },
    /// Whatever is no request of a DHCP client.
    Rest { of: u32 },
}

/// Steers the datagrams of a port that `sockets` share, one socket a worker in this order.
///
/// # Errors
/// What the kernel answered; it then spreads by address and port.
pub(crate) fn by_address(sockets: &[UdpSocket]) -> io::Result<()> {
    let Some(first) = sockets.first().filter(|_| sockets.len() > 1) else {
        return Ok(());
    };
    let workers = u32::try_from(sockets.len()).map_err(io::Error::other)?;
    let program = address_program(first.local_addr()?.is_ipv6(), workers);
    attach(first, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Steers the unicasts of a DHCP port that `sockets` share: one for each worker in this order, then
/// the one for the [`Rest`](Share::Rest). Broadcasts never ask this program: see [`take_share`].
///
/// # Errors
/// What the kernel answered.
pub(crate) fn by_machine(sockets: &[UdpSocket]) -> io::Result<()> {
    let Some((first, others)) = sockets.split_first() else {
        return Ok(());
    };
    let workers = u32::try_from(others.len()).map_err(io::Error::other)?;
    let answer = [step(BPF_RET | BPF_A, 0)];
    let rest = step(BPF_RET | BPF_K, workers);
    let program = machine_program(AT_PAYLOAD, workers, &answer, rest);
    attach(first, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Lets a socket take its share alone. The kernel gives a broadcast to every socket of a port, and
/// each worker would answer it. Before the socket is bound, or what comes in between is answered
/// twice.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn take_share(socket: &impl AsRawFd, share: Share) -> io::Result<()> {
    const TAKE: sock_filter = step(BPF_RET | BPF_K, u32::MAX);
    const LEAVE: sock_filter = step(BPF_RET | BPF_K, 0);
    let program = match share {
        Share::Worker { number, of } => {
            let answer = [check(BPF_JEQ, number, 1), TAKE, LEAVE];
            machine_program(BEHIND_HEADER, of, &answer, LEAVE)
        }
        Share::Rest { of } => machine_program(BEHIND_HEADER, of, &[LEAVE], TAKE),
    };
    attach(socket, libc::SO_ATTACH_FILTER, &program)
}

fn attach(socket: &impl AsRawFd, option: i32, program: &[sock_filter]) -> io::Result<()> {
    let fprog = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives the call, in which the kernel copies it; length and size are
    // those of what is pointed at.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const fprog).cast(),
            size_of_val(&fprog) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

const fn step(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn load(size: u32, at: u32) -> sock_filter {
    step(BPF_LD | size | BPF_ABS, at)
}

/// Goes on with the next step when what was loaded stands in this relation to `k`, else skips some.
const fn check(relation: u32, k: u32, skip: u8) -> sock_filter {
    sock_filter {
        jf: skip,
        ..step(BPF_JMP | relation | BPF_K, k)
    }
}

/// What makes neighbours differ.
const MIX: sock_filter = step(BPF_ALU | BPF_MUL | BPF_K, GOLDEN);

/// From a hash to the number of a worker.
const fn number(workers: u32) -> [sock_filter; 3] {
    [
        MIX,
        // The low bits of a product depend on the low bits alone.
        step(BPF_ALU | BPF_RSH | BPF_K, 16),
        step(BPF_ALU | BPF_MOD | BPF_K, workers),
    ]
}

/// Answers the number of a socket: a hash of the source address modulo `workers`.
fn address_program(v6: bool, workers: u32) -> Vec<sock_filter> {
    let mut steps = Vec::with_capacity(24);
    if v6 {
        steps.push(load(BPF_W, SOURCE_V6));
        for word in 1..4 {
            steps.push(MIX);
            steps.push(step(BPF_MISC | BPF_TAX, 0));
            steps.push(load(BPF_W, SOURCE_V6 + 4 * word));
            steps.push(step(BPF_ALU | BPF_XOR | BPF_X, 0));
        }
    } else {
        steps.push(load(BPF_W, SOURCE_V4));
    }
    steps.extend(number(workers));
    steps.push(step(BPF_RET | BPF_A, 0));
    steps
}

/// Runs `answer` with the number of the machine's worker, or `rest` for what is no request of a
/// DHCP client: too short, not from a client, no cookie. `payload` is where the payload begins.
fn machine_program(
    payload: u32,
    workers: u32,
    answer: &[sock_filter],
    rest: sock_filter,
) -> Vec<sock_filter> {
    let share = [
        load(BPF_W, payload + CHADDR),
        MIX,
        step(BPF_MISC | BPF_TAX, 0),
        load(BPF_H, payload + CHADDR + 4),
        step(BPF_ALU | BPF_XOR | BPF_X, 0),
    ];
    let share: Vec<_> = [&share[..], &number(workers), answer].concat();
    // A load beyond the end would end the program.
    let to_rest = share.len() as u8;
    let sort = [
        step(BPF_LD | BPF_W | BPF_LEN, 0),
        check(BPF_JGE, payload + DHCP_HEADER, to_rest + 4),
        load(BPF_B, payload),
        check(BPF_JEQ, BOOTREQUEST, to_rest + 2),
        load(BPF_W, payload + COOKIE),
        check(BPF_JEQ, COOKIE_VALUE, to_rest),
    ];
    [&sort[..], &share, &[rest]].concat()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::udp::{Use, bind};

    const WORKERS: usize = 4;

    fn shared(ip: IpAddr) -> (Vec<UdpSocket>, SocketAddr) {
        let first = bind(SocketAddr::new(ip, 0), Use::Shared).unwrap();
        let at = first.local_addr().unwrap();
        let more = (1..WORKERS).map(|_| bind(at, Use::Shared).unwrap());
        let sockets: Vec<_> = std::iter::once(first).chain(more).collect();
        by_address(&sockets).unwrap();
        (sockets, at)
    }

    /// The sockets of a DHCP port: the workers', then that of the rest.
    fn dhcp() -> (Vec<UdpSocket>, u16) {
        let of = WORKERS as u32;
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let open = |port, share| bind(any(port), Use::Dhcp(share)).unwrap();
        let first = open(0, Share::Worker { number: 0, of });
        let port = first.local_addr().unwrap().port();
        let more = (1..of).map(|number| open(port, Share::Worker { number, of }));
        let mut sockets: Vec<_> = std::iter::once(first).chain(more).collect();
        sockets.push(open(port, Share::Rest { of }));
        by_machine(&sockets).unwrap();
        (sockets, port)
    }

    /// A request of a DHCP client, as far as the programs look.
    fn request(machine: u16) -> Vec<u8> {
        let mut packet = vec![0; 240];
        packet[..3].copy_from_slice(&[1, 1, 6]);
        packet[28..32].copy_from_slice(&[0x52, 0x54, 0, 0]);
        packet[32..34].copy_from_slice(&machine.to_be_bytes());
        packet[236..].copy_from_slice(&[99, 130, 83, 99]);
        packet
    }

    const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

    /// How many datagrams came to each socket, once so many are there.
    fn taken(sockets: &[UdpSocket], sent: usize) -> Vec<usize> {
        let mut taken = vec![0; sockets.len()];
        let end = Instant::now() + Duration::from_secs(60);
        // A busy kernel delivers after the sender's call.
        while taken.iter().sum::<usize>() < sent {
            assert!(Instant::now() < end, "{taken:?} of {sent}");
            std::thread::sleep(Duration::from_millis(1));
            for (taken, socket) in taken.iter_mut().zip(sockets) {
                let mut packet = [0; 16];
                *taken += std::iter::from_fn(|| socket.recv(&mut packet).ok()).count();
            }
        }
        taken
    }

    #[test]
    fn every_port_of_one_address_reaches_one_worker() {
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let (sockets, at) = shared(ip);
            for _ in 0..64 {
                let client = UdpSocket::bind((ip, 0)).unwrap();
                client.send_to(b"request", at).unwrap();
            }
            let mut taken = taken(&sockets, 64);
            taken.sort_unstable();
            assert_eq!(taken, [0, 0, 0, 64], "{ip}");
        }
    }

    #[test]
    fn addresses_are_spread_over_the_workers() {
        let (sockets, at) = shared(Ipv4Addr::LOCALHOST.into());
        // Neighbours, and every fourth address, as machines with four ports have them.
        for step in [1, 4] {
            for number in 1..=240u8 {
                let [high, low] = (u16::from(number) * step).to_be_bytes();
                let client = UdpSocket::bind((Ipv4Addr::new(127, 0, 7 + high, low), 0)).unwrap();
                client.send_to(b"request", at).unwrap();
            }
            let taken = taken(&sockets, 240);
            assert_eq!(taken.iter().sum::<usize>(), 240);
            assert!(taken.iter().all(|n| (40..=80).contains(n)), "{taken:?}");
        }
    }

    #[test]
    fn a_machine_has_one_worker_whether_it_broadcasts_or_not() {
        let (sockets, port) = dhcp();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_broadcast(true).unwrap();
        let mut total = vec![0; sockets.len()];
        for machine in 0..64 {
            let mut before = None;
            for to in [Ipv4Addr::LOCALHOST, LOOPBACK_BROADCAST] {
                client.send_to(&request(machine), (to, port)).unwrap();
                let took = taken(&sockets, 1);
                assert_eq!(took.iter().sum::<usize>(), 1, "{to}: {took:?}");
                assert_eq!(*before.get_or_insert_with(|| took.clone()), took);
            }
            let took = before.unwrap();
            total.iter_mut().zip(took).for_each(|(sum, n)| *sum += n);
        }
        let (rest, workers) = total.split_last().unwrap();
        assert_eq!(*rest, 0);
        assert!(workers.iter().all(|n| (8..=24).contains(n)), "{workers:?}");
    }

    #[test]
    fn what_is_no_request_is_taken_once_and_apart() {
        let (sockets, port) = dhcp();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_broadcast(true).unwrap();
        let whole = request(7);
        let mut answer = whole.clone();
        answer[0] = 2;
        let mut other = whole.clone();
        other[236] = 0;
        let short = (0..240).step_by(7).map(|length| &whole[..length]);
        for packet in short.chain([&whole[..239], &answer, &other]) {
            for to in [Ipv4Addr::LOCALHOST, LOOPBACK_BROADCAST] {
                client.send_to(packet, (to, port)).unwrap();
                let took = taken(&sockets, 1);
                assert_eq!(took, [0, 0, 0, 0, 1], "{} bytes to {to}", packet.len());
            }
        }
    }
}
