//! Requests built by hand, and replies read by a library that is not ours.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::net::{Ipv4Addr, SocketAddrV4};

use bootstorm_proto::dhcp::{Answer, Port, REPLY_MAX, Request, Seen, Silence, Style};
use dhcproto::v4::borrowed::Message;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 168);
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);
pub(crate) const GUID: [u8; 17] = [
    0, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0,
];

/// How a datagram of these addresses came in.
pub(crate) fn seen(source: SocketAddrV4, to: SocketAddrV4) -> Seen {
    Seen {
        port: if to.port() == 4011 {
            Port::Pxe4011
        } else {
            Port::Dhcp67
        },
        source,
        local: SERVER,
        interface: 2,
        broadcast: to.ip().is_broadcast(),
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Ask {
    header: [u8; 240],
    options: Vec<(u8, Vec<u8>)>,
    port: Port,
    source: SocketAddrV4,
}

impl Ask {
    /// A message of a PXE client of this architecture, broadcast to port 67.
    pub(crate) fn pxe(message: u8, arch: u16) -> Self {
        let mut header = [0; 240];
        header[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        header[10] = 0x80;
        header[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x99, 0, 1]);
        header[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        let class = format!("PXEClient:Arch:{arch:05}:UNDI:003000");
        let ask = Self {
            header,
            options: Vec::new(),
            port: Port::Dhcp67,
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        };
        ask.option(53, &[message])
            .option(57, &[5, 0xc0])
            .option(60, class.as_bytes())
            .option(93, &arch.to_be_bytes())
            .option(94, &[1, 3, 0])
            .option(97, &GUID)
    }

    pub(crate) fn discover(arch: u16) -> Self {
        Self::pxe(1, arch)
    }

    /// A REQUEST to port 4011 from a machine that has its lease.
    pub(crate) fn boot_service(arch: u16) -> Self {
        let mut ask = Self::pxe(3, arch).ciaddr(MACHINE);
        ask.port = Port::Pxe4011;
        ask.source = SocketAddrV4::new(MACHINE, 4011);
        ask
    }

    /// Sets an option, in the place of one that was there.
    pub(crate) fn option(mut self, code: u8, data: &[u8]) -> Self {
        match self.options.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => *known = data.to_vec(),
            None => self.options.push((code, data.to_vec())),
        }
        self
    }

    pub(crate) fn without(mut self, code: u8) -> Self {
        self.options.retain(|(known, _)| *known != code);
        self
    }

    pub(crate) fn ipxe(self) -> Self {
        self.option(77, b"iPXE")
            .option(175, &[0x13, 1, 1, 0x21, 1, 1])
    }

    pub(crate) fn http(self, arch: u16) -> Self {
        let class = format!("HTTPClient:Arch:{arch:05}:UNDI:003000");
        self.option(60, class.as_bytes())
            .option(93, &arch.to_be_bytes())
    }

    pub(crate) fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.header[12..16].copy_from_slice(&address.octets());
        self
    }

    pub(crate) fn relayed(mut self, giaddr: Ipv4Addr) -> Self {
        self.header[24..28].copy_from_slice(&giaddr.octets());
        self.source = SocketAddrV4::new(giaddr, 67);
        self
    }

    pub(crate) fn secs(mut self, secs: u16) -> Self {
        self.header[8..10].copy_from_slice(&secs.to_be_bytes());
        self
    }

    pub(crate) fn hardware(mut self, htype: u8, hlen: u8) -> Self {
        self.header[1] = htype;
        self.header[2] = hlen;
        self.header[28..44].copy_from_slice(b"sixteen-bytes-id");
        self
    }

    pub(crate) fn header_byte(mut self, at: usize, value: u8) -> Self {
        self.header[at] = value;
        self
    }

    pub(crate) fn port_of_source(mut self, port: u16) -> Self {
        self.source.set_port(port);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        for (code, data) in &self.options {
            for piece in data.chunks(255) {
                bytes.extend([*code, u8::try_from(piece.len()).unwrap()]);
                bytes.extend_from_slice(piece);
            }
        }
        bytes.push(255);
        bytes
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            port: self.port,
            source: self.source,
            local: SERVER,
            interface: 2,
            broadcast: self.port == Port::Dhcp67 && self.header[24..28] == [0; 4],
        }
    }

    pub(crate) fn read(&self) -> Result<Request, Silence> {
        Request::read(&self.bytes(), &self.seen())
    }

    /// The reply of a server with Debian's boot programs.
    pub(crate) fn reply(&self) -> Result<Told, Silence> {
        self.reply_in(&Style::default())
    }

    pub(crate) fn reply_in(&self, style: &Style) -> Result<Told, Silence> {
        let request = self.read()?;
        let answer = crate::golden::boot(request.facts());
        tell(&request, &answer, style)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.reply().unwrap_err().code()
    }
}

/// Writes a reply and reads it back.
pub(crate) fn tell(request: &Request, answer: &Answer, style: &Style) -> Result<Told, Silence> {
    let mut buf = [0xaa; REPLY_MAX];
    let reply = request.reply(answer, style, &mut buf)?;
    Ok(Told::read(&buf[..reply.len], reply.to.address()))
}

/// A reply as the library reads it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) bytes: Vec<u8>,
    pub(crate) to: SocketAddrV4,
    /// In the order of the wire.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) siaddr: Ipv4Addr,
    pub(crate) file: String,
    pub(crate) sname: String,
}

impl Told {
    fn read(bytes: &[u8], to: SocketAddrV4) -> Self {
        let message = Message::new(bytes).unwrap();
        let option = |option: dhcproto::v4::borrowed::DhcpOption<'_>| {
            (u8::from(option.code()), option.data().to_vec())
        };
        assert!(bytes.len() >= 300, "old relays drop {} bytes", bytes.len());
        assert_eq!(bytes[0], 2);
        Self {
            bytes: bytes.to_vec(),
            to,
            options: message.opts().map(option).collect(),
            yiaddr: message.yiaddr(),
            siaddr: message.siaddr(),
            file: String::from_utf8(message.fname().to_vec()).unwrap(),
            sname: String::from_utf8(message.sname().to_vec()).unwrap(),
        }
    }

    pub(crate) fn get(&self, code: u8) -> Option<&[u8]> {
        let mut all = self.options.iter();
        all.find(|(known, _)| *known == code)
            .map(|(_, data)| data.as_slice())
    }

    pub(crate) fn has(&self, code: u8) -> bool {
        self.get(code).is_some()
    }

    /// Option 67 without the NUL that must end it.
    pub(crate) fn boot_file(&self) -> &str {
        let data = self.get(67).unwrap();
        let (nul, name) = data.split_last().unwrap();
        assert_eq!(*nul, 0);
        std::str::from_utf8(name).unwrap()
    }
}
