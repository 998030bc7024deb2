//! The packet socket through which machines without an address broadcast.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Command;

use anyhow::{Context as _, anyhow, ensure};
use bootstorm_proto::types::MacAddress;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use rustix::net::{SendFlags, sockopt};
use socket2::{SockFilter, SockRef};

use super::frame;
use crate::interface::Interface;

/// Replies that wait to be taken, in bytes of the socket's buffer.
const ROOM: usize = 64 << 20;

/// Whole frames of one interface.
#[derive(Debug)]
pub(crate) struct Broadcast {
    socket: OwnedFd,
    /// Ports of machines and servers.
    own: u16,
    server: u16,
    _promiscuous: Promiscuous,
}

impl Broadcast {
    /// Listens to what is sent to port `own` on the interface, whichever Ethernet address it is
    /// for.
    pub(crate) fn open(interface: &str, own: u16, server: u16) -> anyhow::Result<Self> {
        let interface = Interface::named(interface)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            flags,
            SockProtocol::EthIp,
        )
        .map_err(|errno| match errno {
            Errno::EPERM => anyhow!(
                "whole frames need the capability CAP_NET_RAW: run it as root, or play the \
                 machines behind relays"
            ),
            other => anyhow!("no packet socket: {other}"),
        })?;
        SockRef::from(&socket)
            .attach_filter(&filter(own))
            .context("the kernel takes no filter for a packet socket")?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, ROOM).ok();
        }
        interface.bind(&socket)?;
        Ok(Self {
            socket,
            own,
            server,
            _promiscuous: Promiscuous::on(&interface)?,
        })
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends what a machine with this Ethernet address broadcasts. A send that fails is a packet
    /// lost: the machine repeats itself.
    pub(crate) fn send(&self, mac: MacAddress, message: &[u8]) {
        if let Ok(frame) = frame::build(mac, self.own, self.server, message) {
            rustix::net::send(&self.socket, &frame, SendFlags::NOSIGNAL).ok();
        }
    }
}

/// Lets pass what is for a port that machines without an address listen to, and the first pieces of
/// such datagrams: files that machines fetch would all be copied here otherwise (classic BPF, as
/// `tcpdump -dd` writes it).
fn filter(port: u16) -> [SockFilter; 11] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
    const IF_EQUAL: u16 = 0x15;
    const IF_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const WHOLE: u32 = 0x4_0000;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(IF_EQUAL, 0, 8, 0x0800),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(IF_EQUAL, 0, 6, 17),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(IF_ANY_BIT, 4, 0, 0x1fff),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 14),
        SockFilter::new(LOAD_HALF_BEHIND_HEADER, 0, 0, 16),
        SockFilter::new(IF_EQUAL, 0, 1, u32::from(port)),
        SockFilter::new(RETURN, 0, 0, WHOLE),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// An interface that takes frames for every Ethernet address, as long as this lives.
#[derive(Debug)]
struct Promiscuous(Option<String>);

impl Promiscuous {
    /// Switches it on, where it is not on already.
    fn on(interface: &Interface) -> anyhow::Result<Self> {
        if interface.is_promiscuous() {
            return Ok(Self(None));
        }
        let name = interface.name().to_owned();
        let switched = switch(&name, "on").with_context(|| {
            format!("cannot make {name} promiscuous; is `ip` of iproute2 installed?")
        })?;
        ensure!(switched, "{name} does not become promiscuous");
        Ok(Self(Some(name)))
    }
}

impl Drop for Promiscuous {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            switch(name, "off").ok();
        }
    }
}

fn switch(interface: &str, to: &str) -> std::io::Result<bool> {
    let arguments = ["link", "set", "dev", interface, "promisc", to];
    Ok(Command::new("ip").args(arguments).status()?.success())
}

#[cfg(test)]
mod tests;
