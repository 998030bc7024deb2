//! Network namespaces of one thread: nothing outside sees them, and they go with the thread and
//! those that it made.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bootstorm_ebpf_shared::Mac;
use etherparse::PacketBuilder;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, send, socket,
};

/// Runs `test` in a namespace of its own, on a thread of its own.
///
/// # Panics
/// When `test` panics or fails.
pub fn in_namespace(test: impl FnOnce() -> Result<()> + Send) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace; this needs root")?;
        ip("link set lo up")?;
        test()
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs `ip ARGUMENTS`, split at spaces.
///
/// # Errors
/// What it complains about.
pub fn ip(arguments: &str) -> Result<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes two interfaces that are each other's cable, `NAMEa` with the address 10.NET.0.1/24 and
/// `NAMEb` with 10.NET.0.2/24.
///
/// # Errors
/// What `ip` complains about.
pub fn cable(name: &str, net: u8) -> Result<()> {
    ip(&format!("link add {name}a type veth peer name {name}b"))?;
    for (end, host) in [("a", 1), ("b", 2)] {
        ip(&format!("addr add 10.{net}.0.{host}/24 dev {name}{end}"))?;
        ip(&format!("link set {name}{end} up"))?;
    }
    Ok(())
}

/// A name with its index.
///
/// # Errors
/// There is none of that name.
pub fn interface(name: &str) -> Result<(String, u32)> {
    Ok((name.to_owned(), if_nametoindex(name)?))
}

/// What `ip` says about the XDP programs of an interface: `xdp`, `xdpgeneric` or nothing.
///
/// # Errors
/// There is no such interface.
pub fn xdp_of(name: &str) -> Result<Option<String>> {
    let text = ip(&format!("link show dev {name}"))?;
    let mut words = text.split([' ', '\n']);
    Ok(words
        .find(|word| word.starts_with("xdp"))
        .map(str::to_owned))
}

/// A simulated machine's end of a cable.
pub struct Sender(OwnedFd);

impl Sender {
    /// Sends from this interface.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn at(interface: &str) -> Result<Self> {
        let link = getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .context("no such interface")?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self(socket))
    }

    /// Broadcasts a DHCPDISCOVER of PXE firmware.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn discover(&self, mac: Mac) -> Result<()> {
        self.discover_at(mac, Ipv4Addr::BROADCAST)
    }

    /// The same to one address.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn discover_at(&self, mac: Mac, to: Ipv4Addr) -> Result<()> {
        let message = discover(mac);
        let headers = PacketBuilder::ethernet2(mac, [0xff; 6])
            .ipv4([0; 4], to.octets(), 64)
            .udp(68, 67);
        let mut frame = Vec::with_capacity(headers.size(message.len()));
        headers.write(&mut frame, &message)?;
        send(self.0.as_raw_fd(), &frame, MsgFlags::empty())?;
        Ok(())
    }
}

/// A DHCPDISCOVER of x86-64 UEFI (RFC 2131, section 2; RFC 4578, section 2).
fn discover([a, b, c, d, e, f]: Mac) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.resize(28, 0);
    message.extend([a, b, c, d, e, f]);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend([53, 1, 1]);
    message.extend([60, 9]);
    message.extend(b"PXEClient");
    message.extend([93, 2, 0, 7]);
    message.push(255);
    message.resize(300, 0);
    message
}
