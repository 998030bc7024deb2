//! Sockets of machines and relays.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::anyhow;
use nix::sys::socket::{setsockopt, sockopt as linux};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

/// What iPXE's window grows to (its `TCP_MAX_WINDOW_SIZE`), in bytes.
const STREAM_ROOM: usize = 256 << 10;

/// A UDP socket of an own address, with room for so many bytes of datagrams that wait.
pub(super) fn datagrams(own: SocketAddrV4, room: usize) -> Result<UdpSocket, Errno> {
    let socket = socket(SocketType::DGRAM)?;
    // Whoever may not have more has what is usual.
    if sockopt::set_socket_recv_buffer_size_force(&socket, room).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, room).ok();
    }
    rustix::net::bind(&socket, &own)?;
    Ok(socket.into())
}

/// The same for a machine, which hears of it when nobody listens where it sends to.
pub(super) fn machine_datagrams(own: SocketAddrV4, room: usize) -> Result<UdpSocket, Errno> {
    let socket = datagrams(own, room)?;
    setsockopt(&socket, linux::Ipv4RecvErr, &true).map_err(from_nix)?;
    Ok(socket)
}

/// A stream from an own address, which is not up yet.
pub(super) fn stream(own: Ipv4Addr, to: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let socket = socket(SocketType::STREAM)?;
    // The port is chosen when the other end is known: else each would be taken on this host.
    setsockopt(&socket, linux::IpBindAddressNoPort, &true).map_err(from_nix)?;
    sockopt::set_socket_recv_buffer_size(&socket, STREAM_ROOM)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(own, 0))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::INET, kind, flags, None)
}

fn from_nix(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

/// Takes what the kernel has to tell of a socket's earlier sends; true when nobody listens where
/// they went.
pub(super) fn take_errors(socket: impl AsFd) -> bool {
    let pending = sockopt::socket_error(&socket);
    let mut packet = [0; 64];
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    while rustix::net::recv(&socket, &mut packet[..], flags).is_ok() {}
    matches!(pending, Ok(Err(Errno::CONNREFUSED)))
}

/// What to do when a socket cannot be had at an own address.
pub(super) fn explain(error: &Errno, own: SocketAddrV4) -> anyhow::Error {
    let (ip, port) = (own.ip(), own.port());
    match *error {
        Errno::ACCESS | Errno::PERM => anyhow!(
            "port {port} is not permitted: run it as root, or with the capability \
             CAP_NET_BIND_SERVICE"
        ),
        Errno::ADDRNOTAVAIL => anyhow!(
            "{ip} is no address of this host: `ip route add local NETWORK/PREFIX dev lo` gives it \
             a whole network, `ip address add {ip}/32 dev lo` one address"
        ),
        Errno::ADDRINUSE => anyhow!(
            "another program has port {port} of {ip} (a DHCP server, or another storm): end it, \
             or run the storm in a network namespace of its own"
        ),
        Errno::MFILE => anyhow!("too many open files: raise the hard limit (ulimit -Hn)"),
        other => anyhow!("{other}"),
    }
}
