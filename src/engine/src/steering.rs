//! Keeps a client with one worker: the kernel picks the socket of a shared port by the client's
//! address alone, so that its later requests, from whatever port, meet its transfers.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Offset that makes classic BPF read from the network header (`SKF_NET_OFF`).
const NETWORK_HEADER: u32 = -0x10_0000_i32 as u32;
/// Where the sender's address begins in an IPv4 header.
const SOURCE_V4: u32 = NETWORK_HEADER + 12;
/// Where it begins in an IPv6 header.
const SOURCE_V6: u32 = NETWORK_HEADER + 8;
/// 2^32 divided by the golden ratio: spreads addresses that lie close together or in steps.
const GOLDEN: u32 = 0x9e37_79b1;

/// Steers the datagrams of a port that `sockets` share, one socket a worker in this order.
///
/// # Errors
/// What the kernel answered; it then spreads by address and port.
pub(crate) fn by_address(sockets: &[UdpSocket]) -> io::Result<()> {
    let Some(first) = sockets.first().filter(|_| sockets.len() > 1) else {
        return Ok(());
    };
    let workers = u32::try_from(sockets.len()).map_err(io::Error::other)?;
    let program = program(first.local_addr()?.is_ipv6(), workers);
    let fprog = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives the call, in which the kernel copies it; length and size are
    // those of what is pointed at.
    let result = unsafe {
        libc::setsockopt(
            first.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
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

/// Answers the number of a socket: a hash of the source address modulo `workers`.
fn program(v6: bool, workers: u32) -> Vec<libc::sock_filter> {
    use libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_K, BPF_LD, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH,
        BPF_TAX, BPF_W, BPF_X, BPF_XOR,
    };
    let step = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let load = |at| step(BPF_LD | BPF_W | BPF_ABS, at);
    let mix = || step(BPF_ALU | BPF_MUL | BPF_K, GOLDEN);
    let mut steps = Vec::with_capacity(16);
    if v6 {
        steps.push(load(SOURCE_V6));
        for word in 1..4 {
            steps.push(mix());
            steps.push(step(BPF_MISC | BPF_TAX, 0));
            steps.push(load(SOURCE_V6 + 4 * word));
            steps.push(step(BPF_ALU | BPF_XOR | BPF_X, 0));
        }
    } else {
        steps.push(load(SOURCE_V4));
    }
    steps.extend([
        mix(),
        // The low bits of a product depend on the low bits alone.
        step(BPF_ALU | BPF_RSH | BPF_K, 16),
        step(BPF_ALU | BPF_MOD | BPF_K, workers),
        step(BPF_RET | BPF_A, 0),
    ]);
    steps
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::Duration;

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

    /// How many datagrams wait at each socket.
    fn waiting(sockets: &[UdpSocket]) -> Vec<usize> {
        let count = |socket: &UdpSocket| {
            let mut packet = [0; 16];
            std::iter::from_fn(|| socket.recv(&mut packet).ok()).count()
        };
        sockets.iter().map(count).collect()
    }

    fn settle() {
        // Loopback delivers within the sender's call, but not on every kernel.
        std::thread::sleep(Duration::from_millis(20));
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
            settle();
            let mut waiting = waiting(&sockets);
            waiting.sort_unstable();
            assert_eq!(waiting, [0, 0, 0, 64], "{ip}");
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
            settle();
            let waiting = waiting(&sockets);
            assert_eq!(waiting.iter().sum::<usize>(), 240);
            assert!(waiting.iter().all(|n| (40..=80).contains(n)), "{waiting:?}");
        }
    }
}
