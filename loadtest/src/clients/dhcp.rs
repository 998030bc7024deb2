//! DHCP as boot firmware asks it, through a relay agent that all machines share.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bootstorm_proto::types::MacAddress;
use dhcproto::v4::{
    Decodable as _, Decoder, DhcpOption, Encodable as _, Flags, Message, MessageType, Opcode,
    OptionCode, UnknownOption,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// EDK2 asks at 0, 4, 12 and 28 s.
const FIRMWARE_WAITS: [Duration; 4] = [
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
];

/// iPXE asks at 0, 1, 3 and 7 s (its config/dhcp.h).
const IPXE_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Option 55 of EDK2 and of iPXE, as captures of both have it.
const FIRMWARE_WANTS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
    67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
];
const IPXE_WANTS: &[u8] = &[
    1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175,
    203,
];

/// Which program of the machine asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Firmware with this architecture number.
    Firmware(u16),
    /// iPXE on a machine with this architecture number.
    Ipxe(u16),
}

impl Program {
    fn arch(self) -> u16 {
        match self {
            Self::Firmware(arch) | Self::Ipxe(arch) => arch,
        }
    }

    /// How long it waits for an offer after each DISCOVER.
    fn waits(self) -> [Duration; 4] {
        match self {
            Self::Firmware(_) => FIRMWARE_WAITS,
            Self::Ipxe(_) => IPXE_WAITS,
        }
    }
}

/// What a boot server offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// TFTP server (siaddr), or the server id where that is empty.
    pub(crate) server: Ipv4Addr,
    /// File or URL; empty means: ask on port 4011.
    pub(crate) file: String,
}

/// The relay agent: one socket on port 67, replies sorted by transaction id.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: UdpSocket,
    address: Ipv4Addr,
    waiting: Mutex<HashMap<u32, mpsc::Sender<Message>>>,
}

impl Relay {
    /// Binds port 67 of `address`.
    pub(crate) async fn bind(address: Ipv4Addr) -> anyhow::Result<Arc<Self>> {
        let socket = UdpSocket::bind((address, 67)).await.with_context(|| {
            format!("the relay agent needs UDP port 67 of {address}; run it as root, in a namespace of its own")
        })?;
        let relay = Arc::new(Self {
            socket,
            address,
            waiting: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&relay).sort_replies());
        Ok(relay)
    }

    async fn sort_replies(self: Arc<Self>) {
        let mut buffer = [0; 2048];
        loop {
            let Ok((length, _)) = self.socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Ok(message) = Message::decode(&mut Decoder::new(&buffer[..length])) else {
                continue;
            };
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(machine) = waiting.get(&message.xid()) {
                let _ = machine.try_send(message);
            }
        }
    }

    /// Sends DISCOVERs at the program's own times until an offer of a boot server comes.
    pub(crate) async fn discover(
        &self,
        server: SocketAddrV4,
        mac: MacAddress,
        program: Program,
        xid: u32,
    ) -> anyhow::Result<Offer> {
        let (sender, mut offers) = mpsc::channel(4);
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(xid, sender);
        let _forget = Forget { relay: self, xid };
        let mut secs = 0;
        for wait in program.waits() {
            let mut discover = message(mac, program, xid, MessageType::Discover);
            discover.set_giaddr(self.address).set_secs(secs).set_hops(1);
            self.socket.send_to(&discover.to_vec()?, server).await?;
            let answer = tokio::time::timeout(wait, async {
                loop {
                    match offers.recv().await {
                        Some(reply) if is_boot_offer(&reply) => return offer(&reply),
                        Some(_) => {}
                        None => bail!("the relay agent ended"),
                    }
                }
            });
            if let Ok(offer) = answer.await {
                return offer;
            }
            secs += u16::try_from(wait.as_secs()).unwrap_or(u16::MAX);
        }
        bail!("no boot offer after {secs} s")
    }
}

/// Takes the machine out of the relay's table whichever way the exchange ends.
struct Forget<'a> {
    relay: &'a Relay,
    xid: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.relay
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.xid);
    }
}

/// The second phase of UEFI firmware: REQUEST to port 4011, tried four times a second apart.
pub(crate) async fn ask_boot_server(
    own: Ipv4Addr,
    server: SocketAddrV4,
    mac: MacAddress,
    program: Program,
    xid: u32,
) -> anyhow::Result<Offer> {
    let socket = UdpSocket::bind((own, 0))
        .await
        .with_context(|| format!("no socket on {own}"))?;
    socket.connect(server).await?;
    let mut request = message(mac, program, xid, MessageType::Request);
    request.set_ciaddr(own);
    let request = request.to_vec()?;
    let mut buffer = [0; 2048];
    for wait in 1..=4 {
        socket.send(&request).await?;
        let answer = socket.recv(&mut buffer);
        let Ok(length) = tokio::time::timeout(Duration::from_secs(wait), answer).await else {
            continue;
        };
        let reply = Message::decode(&mut Decoder::new(&buffer[..length?]))?;
        if reply.xid() == xid && reply.opts().msg_type() == Some(MessageType::Ack) {
            return offer(&reply);
        }
    }
    bail!("no answer from {server}")
}

/// A message as the program sends it to port 67 of everybody.
pub(crate) fn message(mac: MacAddress, program: Program, xid: u32, kind: MessageType) -> Message {
    let arch = program.arch();
    let zero = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, zero, zero, zero, zero, &mac.bytes());
    message
        .set_opcode(Opcode::BootRequest)
        .set_flags(Flags::default().set_broadcast());
    let undi = if arch == 0 { "002001" } else { "003000" };
    let class = format!("PXEClient:Arch:{arch:05}:UNDI:{undi}");
    let mut guid = vec![0, 0x42, 0x53, 0x4c, 0x54, 0, 0, 0, 0, 0, 0];
    guid.extend(mac.bytes());
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ClassIdentifier(class.into_bytes()));
    options.insert(unknown(93, &arch.to_be_bytes()));
    options.insert(unknown(94, if arch == 0 { &[1, 2, 1] } else { &[1, 3, 0] }));
    options.insert(unknown(97, &guid));
    options.insert(DhcpOption::MaxMessageSize(1472));
    let wanted = match program {
        Program::Firmware(_) => FIRMWARE_WANTS,
        Program::Ipxe(_) => IPXE_WANTS,
    };
    options.insert(DhcpOption::ParameterRequestList(
        wanted.iter().copied().map(OptionCode::from).collect(),
    ));
    if let Program::Ipxe(_) = program {
        options.insert(unknown(77, b"iPXE"));
        // Feature flags: HTTP, DNS, TFTP, menu; EFI or BIOS image formats do not matter here.
        options.insert(unknown(
            175,
            &[0x13, 1, 1, 0x15, 1, 1, 0x17, 1, 1, 0x27, 1, 1],
        ));
    }
    message
}

fn unknown(code: u8, data: &[u8]) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data.to_vec()))
}

/// An OFFER with option 60 of a boot server; the LAN's DHCP server sends none.
fn is_boot_offer(reply: &Message) -> bool {
    reply.opts().msg_type() == Some(MessageType::Offer)
        && matches!(reply.opts().get(OptionCode::ClassIdentifier),
            Some(DhcpOption::ClassIdentifier(class)) if class.starts_with(b"PXEClient"))
}

fn offer(reply: &Message) -> anyhow::Result<Offer> {
    let option = reply
        .opts()
        .get(OptionCode::BootfileName)
        .and_then(|option| match option {
            DhcpOption::BootfileName(name) => Some(name.as_slice()),
            _ => None,
        });
    let file = option.or(reply.fname()).unwrap_or_default();
    let file = String::from_utf8(file.to_vec()).context("the boot file is no text")?;
    let id = reply
        .opts()
        .get(OptionCode::ServerIdentifier)
        .and_then(|option| match option {
            DhcpOption::ServerIdentifier(id) => Some(*id),
            _ => None,
        });
    let server = Some(reply.siaddr())
        .filter(|address| !address.is_unspecified())
        .or(id);
    let server = server.context("the offer names no server")?;
    Ok(Offer {
        server,
        file: file.trim_end_matches('\0').to_owned(),
    })
}
