//! Opens every port of the configuration, and says what is wrong where it cannot.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

use bootstorm_proto::dhcp::Port;

use crate::config::EngineConfig;
use crate::dhcp_service::Scope;
use crate::engine::Bound;
use crate::error::EngineError;
use crate::http_service::ListenerKind;
use crate::interfaces;
use crate::limits;
use crate::ports::{self, Transport};
use crate::steering::{self, Share};
use crate::udp::{self, Use};
use crate::worker::Role;

/// All DHCPv6 servers and relays (RFC 8415, section 7.1).
const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Every port that is open.
pub(crate) struct Listeners {
    pub(crate) bound: Vec<Bound>,
    /// One for each worker.
    pub(crate) workers: Vec<Sockets>,
}

/// What one worker listens on.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) udp: Vec<(UdpSocket, Role)>,
    pub(crate) tcp: Vec<(TcpListener, ListenerKind)>,
}

/// Opens everything.
///
/// # Errors
/// [`EngineError`] for the first port that cannot be had and is not optional.
pub(crate) fn open(
    config: &EngineConfig,
    workers: usize,
    tls: bool,
) -> Result<Listeners, EngineError> {
    let mut opener = Opener {
        interfaces: config.interfaces.iter().map(|(_, index)| *index).collect(),
        bound: Vec::new(),
        workers: (0..workers).map(|_| Sockets::default()).collect(),
    };
    if let Some(address) = config.dhcp {
        opener.dhcp(address, config.pxe.is_some())?;
    }
    if let Some(address) = config.pxe {
        opener.dhcp_port("pxe", Port::Pxe4011, address)?;
    }
    if let Some(address) = config.dhcp6 {
        opener.dhcp6(address.into())?;
    }
    if let Some(address) = config.tftp {
        opener.tftp(address)?;
    }
    if let Some(address) = config.http {
        opener.tcp("http", ListenerKind::Http, address)?;
    }
    if let Some(address) = config.https {
        if !tls {
            let what = "https is on, but the server has no certificate";
            return Err(EngineError::Config(what.to_owned()));
        }
        opener.tcp("https", ListenerKind::Https, address)?;
    }
    Ok(Listeners {
        bound: opener.bound,
        workers: opener.workers,
    })
}

struct Opener {
    interfaces: Vec<u32>,
    bound: Vec<Bound>,
    workers: Vec<Sockets>,
}

impl Opener {
    /// Port 67. Beside a DHCP server on this host port 4011 is enough, if that server tells PXE
    /// clients to ask there.
    fn dhcp(&mut self, address: SocketAddrV4, pxe: bool) -> Result<(), EngineError> {
        let everywhere = any(address);
        let server = address.port() != 0 && ports::udp4_in_use(address.port());
        let result = if server {
            Err(refused(
                "dhcp",
                Transport::Udp,
                everywhere,
                io::ErrorKind::AddrInUse.into(),
            ))
        } else {
            self.dhcp_port("dhcp", Port::Dhcp67, address)
        };
        match result {
            Err(EngineError::PortTaken { holder, .. }) if pxe => {
                let port = address.port();
                let note = format!(
                    "UDP port {port} is taken{holder}: a DHCP server on this host. Machines are \
                     answered on port 4011 alone; set option 60 (vendor class) to `PXEClient` in \
                     that DHCP server (dnsmasq: `dhcp-option-force=60,PXEClient`), or they never ask \
                     there [ports.dhcp-shared]"
                );
                self.left_out("dhcp", note);
                Ok(())
            }
            other => other,
        }
    }

    fn dhcp_port(
        &mut self,
        name: &'static str,
        port: Port,
        address: SocketAddrV4,
    ) -> Result<(), EngineError> {
        let workers = self.workers.len().min(limits::DHCP_WORKERS);
        let (at, mut sockets) = share_dhcp(name, any(address), workers)?;
        let scope = Scope {
            interfaces: self.interfaces.clone(),
            address: Some(*address.ip()).filter(|ip| !ip.is_unspecified()),
        };
        let shown = SocketAddr::from((*address.ip(), at.port()));
        self.up(name, shown, None);
        let role = Role::Dhcp(port, scope);
        // What is none of DHCP's business is counted by the last of them.
        let rest = sockets.pop();
        for (worker, socket) in self.workers.iter_mut().zip(sockets) {
            worker.udp.push((socket, role.clone()));
        }
        let last = self.workers.get_mut(workers - 1);
        if let (Some(worker), Some(socket)) = (last, rest) {
            worker.udp.push((socket, role));
        }
        Ok(())
    }

    /// Port 547: a convenience, never worth a failed start.
    fn dhcp6(&mut self, address: SocketAddr) -> Result<(), EngineError> {
        let (socket, at) = match open_udp("dhcp6", address, Use::Exclusive) {
            Ok(opened) => opened,
            Err(EngineError::PortTaken { holder, .. }) => {
                let note = format!(
                    "UDP {address} is taken{holder}: set option 59 (boot file URL) in that DHCPv6 \
                     server"
                );
                self.left_out("dhcp6", note);
                return Ok(());
            }
            Err(EngineError::Socket { source, .. }) if no_family(&source) => {
                self.left_out("dhcp6", "this host has no IPv6".to_owned());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for interface in interfaces::list().unwrap_or_default() {
            let wanted = self.interfaces.is_empty() || self.interfaces.contains(&interface.index);
            if !wanted || interface.loopback || !interface.up {
                continue;
            }
            if let Err(error) = udp::join(&socket, ALL_DHCP_SERVERS, interface.index) {
                let name = interface.name;
                tracing::debug!(interface = name, %error, "no DHCPv6 here");
            }
        }
        let scope = Scope {
            interfaces: self.interfaces.clone(),
            address: None,
        };
        self.up("dhcp6", at, None);
        self.first().udp.push((socket, Role::Dhcp6(scope)));
        Ok(())
    }

    /// One socket for each worker and family: the kernel keeps a client with its worker.
    fn tftp(&mut self, address: SocketAddr) -> Result<(), EngineError> {
        let scope = Scope {
            interfaces: self.interfaces.clone(),
            address: None,
        };
        let mut port = address.port();
        for ip in families(address.ip()) {
            let wanted = SocketAddr::new(ip, port);
            let uses = std::iter::repeat_n(Use::Shared, self.workers.len());
            let (at, sockets) = match share_udp("tftp", wanted, uses) {
                Ok(shared) => shared,
                Err(EngineError::Socket { source, .. }) if optional(ip, address, &source) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            port = at.port();
            if let Err(error) = steering::by_address(&sockets) {
                tracing::debug!(%error, "clients are spread by address and port");
            }
            for (worker, socket) in self.workers.iter_mut().zip(sockets) {
                worker.udp.push((socket, Role::Tftp(scope.clone())));
            }
            self.up("tftp", at, None);
        }
        Ok(())
    }

    fn tcp(
        &mut self,
        name: &'static str,
        kind: ListenerKind,
        address: SocketAddr,
    ) -> Result<(), EngineError> {
        let mut port = address.port();
        for ip in families(address.ip()) {
            let wanted = SocketAddr::new(ip, port);
            let (at, mut first) = match first_tcp(wanted) {
                Ok(first) => first,
                Err(error) if optional(ip, address, &error) => continue,
                Err(error) => return Err(refused(name, Transport::Tcp, wanted, error)),
            };
            port = at.port();
            for worker in &mut self.workers {
                let listener = match first.take() {
                    Some(listener) => Ok(listener),
                    None => udp::listen(at),
                }
                .map_err(|error| refused(name, Transport::Tcp, wanted, error))?;
                worker.tcp.push((listener, kind));
            }
            self.up(name, at, None);
        }
        Ok(())
    }

    /// The worker that has what only one may have.
    fn first(&mut self) -> &mut Sockets {
        &mut self.workers[0]
    }

    fn up(&mut self, name: &'static str, address: SocketAddr, note: Option<String>) {
        self.bound.push(Bound {
            name,
            address: Some(address),
            note,
        });
    }

    fn left_out(&mut self, name: &'static str, note: String) {
        tracing::warn!(listener = name, "{note}");
        self.bound.push(Bound {
            name,
            address: None,
            note: Some(note),
        });
    }
}

/// A port that the kernel chose (0) may be somebody else's by the time each worker asks for it.
const CHOICES: usize = 16;

/// Sockets on one port, a socket for each of `uses`.
fn share_udp(
    name: &'static str,
    wanted: SocketAddr,
    uses: impl Iterator<Item = Use> + Clone,
) -> Result<(SocketAddr, Vec<UdpSocket>), EngineError> {
    let mut left = CHOICES;
    loop {
        // Programs of one user may share a port without knowing: ask for it alone first.
        let (_, at) = open_udp(name, wanted, Use::Data)?;
        let sockets: Result<Vec<_>, _> = uses
            .clone()
            .map(|purpose| open_udp(name, at, purpose).map(|(socket, _)| socket))
            .collect();
        left -= 1;
        match sockets {
            Err(EngineError::PortTaken { .. }) if wanted.port() == 0 && left > 0 => {}
            Ok(sockets) => return Ok((at, sockets)),
            Err(error) => return Err(error),
        }
    }
}

/// A socket for each worker, and one more for what is no request of a DHCP client.
fn share_dhcp(
    name: &'static str,
    wanted: SocketAddr,
    workers: usize,
) -> Result<(SocketAddr, Vec<UdpSocket>), EngineError> {
    let of = workers as u32;
    let shares = (0..of).map(|number| Share::Worker { number, of });
    let uses = shares.chain([Share::Rest { of }]).map(Use::Dhcp);
    let (at, sockets) = share_udp(name, wanted, uses)?;
    steering::by_machine(&sockets).map_err(|error| refused(name, Transport::Udp, at, error))?;
    Ok((at, sockets))
}

/// Broadcasts reach only sockets that are bound to every address.
fn any(address: SocketAddrV4) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))
}

/// "Every IPv4 address" means IPv6 as well.
fn families(ip: IpAddr) -> Vec<IpAddr> {
    if ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        vec![ip, Ipv6Addr::UNSPECIFIED.into()]
    } else {
        vec![ip]
    }
}

/// Whether a failure is that of an IPv6 nobody asked for by name, on a host without it.
fn optional(ip: IpAddr, asked: SocketAddr, error: &io::Error) -> bool {
    ip != asked.ip() && no_family(error)
}

fn no_family(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn open_udp(
    name: &'static str,
    address: SocketAddr,
    purpose: Use,
) -> Result<(UdpSocket, SocketAddr), EngineError> {
    udp::bind(address, purpose)
        .and_then(|socket| socket.local_addr().map(|at| (socket, at)))
        .map_err(|error| refused(name, Transport::Udp, address, error))
}

/// Where TCP will listen. A port that the kernel chooses is nobody's, and is kept from then on:
/// between a look and a second bind another process could be given it.
fn first_tcp(wanted: SocketAddr) -> io::Result<(SocketAddr, Option<TcpListener>)> {
    if wanted.port() == 0 {
        let listener = udp::listen(wanted)?;
        return Ok((listener.local_addr()?, Some(listener)));
    }
    udp::free_tcp(wanted).map(|at| (at, None))
}

fn refused(
    name: &'static str,
    transport: Transport,
    address: SocketAddr,
    source: io::Error,
) -> EngineError {
    let protocol = transport.name();
    match source.kind() {
        io::ErrorKind::AddrInUse => EngineError::PortTaken {
            name,
            protocol,
            address,
            holder: ports::holder(transport, address),
        },
        io::ErrorKind::PermissionDenied => EngineError::NoPrivilege {
            name,
            protocol,
            address,
        },
        _ => EngineError::Socket {
            name,
            protocol,
            address,
            source,
        },
    }
}
