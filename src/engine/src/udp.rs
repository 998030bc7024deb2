//! Sets up the sockets: what every datagram and stream needs from the kernel.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits;
use crate::steering::{self, Share};

/// What a UDP socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// DHCPv6: one worker alone. Multicasts reach every socket of a port that several share, and
    /// each of them would answer.
    Exclusive,
    /// DHCP and PXE: some workers have a socket, which takes its own share of what comes.
    Dhcp(Share),
    /// TFTP requests: every worker has a socket, the kernel spreads the clients.
    Shared,
    /// TFTP data: one port, one worker.
    Data,
}

/// Opens and binds a UDP socket that tells where each datagram arrived and may broadcast.
///
/// # Errors
/// What the kernel answered: `AddrInUse`, `PermissionDenied`, an address family that is off.
pub(crate) fn bind(address: SocketAddr, purpose: Use) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    if matches!(purpose, Use::Shared | Use::Dhcp(_)) {
        socket.set_reuse_port(true)?;
    }
    if let Use::Dhcp(share) = purpose {
        steering::take_share(&socket, share)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        let fragment = libc::IPV6_PMTUDISC_DONT;
        set(
            &socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            fragment,
        )?;
    } else {
        set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        // Boot ROMs behind tunnels need what is too long for the path in fragments.
        let fragment = libc::IP_PMTUDISC_DONT;
        set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, fragment)?;
    }
    match purpose {
        Use::Data => {}
        Use::Dhcp(Share::Rest { .. }) => socket.set_recv_buffer_size(limits::RUBBISH_BUFFER)?,
        Use::Exclusive | Use::Shared | Use::Dhcp(Share::Worker { .. }) => enlarge(
            limits::RECEIVE_BUFFER,
            |n| sockopt::set_socket_recv_buffer_size_force(socket.as_fd(), n),
            |n| sockopt::set_socket_recv_buffer_size(socket.as_fd(), n),
        ),
    }
    enlarge(
        limits::SEND_BUFFER,
        |n| sockopt::set_socket_send_buffer_size_force(socket.as_fd(), n),
        |n| sockopt::set_socket_send_buffer_size(socket.as_fd(), n),
    );
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// Whether nobody listens at `address`, whose port is given.
///
/// # Errors
/// `AddrInUse` when somebody does.
pub(crate) fn free_tcp(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    // With SO_REUSEADDR only listening shows that somebody else listens.
    socket.listen(1)?;
    let bound = socket.local_addr()?;
    Ok(bound.as_socket().unwrap_or(address))
}

/// Opens a listening TCP socket that every worker may share.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    crate::congestion::choose(&socket);
    socket.listen(limits::ACCEPT_BACKLOG as i32)?;
    Ok(socket.into())
}

/// Joins `group` on an interface.
///
/// # Errors
/// What the kernel answered: an interface that is down or has no IPv6.
pub(crate) fn join(socket: &UdpSocket, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    socket.join_multicast_v6(&group, interface)
}

/// Asks for a buffer beyond the system's limit, else for as much as the limit gives.
fn enlarge(
    bytes: usize,
    force: impl FnOnce(usize) -> rustix::io::Result<()>,
    ask: impl FnOnce(usize) -> rustix::io::Result<()>,
) {
    if force(bytes).is_err()
        && let Err(error) = ask(bytes)
    {
        tracing::debug!(%error, bytes, "the socket keeps its usual buffer");
    }
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option value is an int of our own, passed with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
