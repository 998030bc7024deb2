//! Requests as boot firmware and iPXE write them.

use std::net::Ipv4Addr;

use bootstorm_proto::types::{ClientArch, MacAddress};

/// Which program of the machine asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Firmware with this architecture number (option 93): 0 a BIOS, 7 x64 UEFI, 16 x64 UEFI that
    /// boots by HTTP.
    Firmware(u16),
    /// iPXE.
    Ipxe {
        /// Architecture number of the firmware below: 0 or 7.
        arch: u16,
        /// It was built with HTTPS.
        https: bool,
    },
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Who asks.
    pub(crate) program: Program,
    /// With which network card.
    pub(crate) mac: MacAddress,
    /// SMBIOS UUID as option 97 carries it.
    pub(crate) guid: [u8; 16],
    /// Transaction.
    pub(crate) xid: u32,
    /// What the field for seconds says; not every program counts seconds there.
    pub(crate) secs: u16,
    /// What is asked.
    pub(crate) ask: Ask,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Who is there?
    Discover,
    /// This address of that server.
    Request {
        /// Option 54.
        server: Ipv4Addr,
        /// Option 50.
        address: Ipv4Addr,
    },
    /// The boot file, of a boot server's port 4011.
    BootFile {
        /// The machine's address.
        address: Ipv4Addr,
        /// The boot server.
        server: Ipv4Addr,
        /// The item of the server's menu (PXE 2.1, option 43 sub-option 71).
        item: Option<u16>,
    },
}

impl Program {
    /// Option 93.
    pub(crate) const fn arch(self) -> u16 {
        match self {
            Self::Firmware(arch) | Self::Ipxe { arch, .. } => arch,
        }
    }

    /// What option 60 begins with, of requests and of the answers that the program takes.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Firmware(arch) if ClientArch(arch).is_http() => "HTTPClient",
            Self::Firmware(_) | Self::Ipxe { .. } => "PXEClient",
        }
    }

    /// Whether it is asked to boot by HTTP.
    pub(crate) const fn is_http(self) -> bool {
        matches!(self, Self::Firmware(arch) if ClientArch(arch).is_http())
    }

    /// Option 55.
    pub(crate) const fn wants(self) -> &'static [u8] {
        match self {
            Self::Firmware(arch) if ClientArch(arch).is_http() => EDK2_HTTP_WANTS,
            Self::Firmware(0) => ROM_WANTS,
            Self::Firmware(_) => EDK2_WANTS,
            Self::Ipxe { https: false, .. } => IPXE_WANTS,
            Self::Ipxe { https: true, .. } => IPXE_NEW_WANTS,
        }
    }
}

impl Message {
    /// The BOOTP message: header, cookie and options, in the order in which the program has them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let kind = match self.ask {
            Ask::Discover => 1,
            Ask::Request { .. } | Ask::BootFile { .. } => 3,
        };
        option(&mut bytes, 53, &[kind]);
        match self.program {
            Program::Firmware(0) => self.rom(&mut bytes),
            Program::Firmware(_) => self.edk2(&mut bytes),
            Program::Ipxe { arch, https } => self.ipxe(&mut bytes, arch, https),
        }
        bytes.push(255);
        if self.program == Program::Firmware(0) {
            bytes.resize(bytes.len().max(ROM_LENGTH), 0);
        }
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROM_LENGTH);
        bytes.extend([1, 1, 6, 0]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(if self.broadcast() { [0x80, 0] } else { [0, 0] });
        bytes.extend(match self.ask {
            Ask::BootFile { address, .. } => address.octets(),
            Ask::Discover | Ask::Request { .. } => [0; 4],
        });
        bytes.resize(28, 0);
        bytes.extend(self.mac.bytes());
        bytes.resize(236, 0);
        bytes.extend(COOKIE);
        bytes
    }

    /// Whether answers are to be broadcast: Debian 12's iPXE takes others too.
    const fn broadcast(&self) -> bool {
        match (self.program, self.ask) {
            (Program::Ipxe { .. }, Ask::BootFile { item: Some(_), .. }) => true,
            (Program::Ipxe { https, .. }, _) => https,
            (Program::Firmware(0), _) => true,
            (Program::Firmware(_), ask) => !matches!(ask, Ask::BootFile { .. }),
        }
    }

    /// A network card's ROM. No capture is at hand: the options of the PXE specification 2.1,
    /// table 2-1, in its order.
    fn rom(&self, bytes: &mut Vec<u8>) {
        self.selection(bytes);
        option(bytes, 55, ROM_WANTS);
        option(bytes, 57, &1260_u16.to_be_bytes());
        self.machine_id(bytes);
        option(bytes, 93, &[0, 0]);
        option(bytes, 94, &[1, 2, 1]);
        option(bytes, 60, self.class().as_bytes());
        self.boot_item(bytes);
    }

    fn edk2(&self, bytes: &mut Vec<u8>) {
        let arch = self.program.arch().to_be_bytes();
        if let Ask::BootFile { .. } = self.ask {
            option(bytes, 55, self.program.wants());
            option(bytes, 57, &1472_u16.to_be_bytes());
            option(bytes, 60, self.class().as_bytes());
            option(bytes, 93, &arch);
            option(bytes, 94, &[1, 3, 0]);
            self.machine_id(bytes);
            self.boot_item(bytes);
            return;
        }
        self.selection(bytes);
        let chosen = matches!(self.ask, Ask::Request { .. });
        let largest: u16 = if chosen && !self.program.is_http() {
            0xff00
        } else {
            1472
        };
        option(bytes, 57, &largest.to_be_bytes());
        option(bytes, 55, self.program.wants());
        self.machine_id(bytes);
        option(bytes, 94, &[1, 3, 0]);
        option(bytes, 93, &arch);
        option(bytes, 60, self.class().as_bytes());
    }

    fn ipxe(&self, bytes: &mut Vec<u8>, arch: u16, https: bool) {
        option(bytes, 57, &1472_u16.to_be_bytes());
        option(bytes, 93, &arch.to_be_bytes());
        let interface = if arch == 0 { [1, 2, 1] } else { [1, 3, 10] };
        option(bytes, 94, &interface);
        option(bytes, 60, self.class().as_bytes());
        option(bytes, 77, b"iPXE");
        option(bytes, 55, self.program.wants());
        let features: &[u8] = match (arch, https) {
            (0, _) => IPXE_BIOS,
            (_, false) => IPXE_EFI,
            (_, true) => IPXE_EFI_HTTPS,
        };
        option(bytes, 175, features);
        let mut client = vec![1];
        client.extend(self.mac.bytes());
        option(bytes, 61, &client);
        self.machine_id(bytes);
        self.selection(bytes);
        if let Ask::BootFile {
            server, item: None, ..
        } = self.ask
        {
            option(bytes, 54, &server.octets());
        }
        self.boot_item(bytes);
    }

    fn selection(&self, bytes: &mut Vec<u8>) {
        if let Ask::Request { server, address } = self.ask {
            option(bytes, 54, &server.octets());
            option(bytes, 50, &address.octets());
        }
    }

    fn machine_id(&self, bytes: &mut Vec<u8>) {
        let mut id = [0; 17];
        id[1..].copy_from_slice(&self.guid);
        option(bytes, 97, &id);
    }

    fn boot_item(&self, bytes: &mut Vec<u8>) {
        if let Ask::BootFile {
            item: Some(item), ..
        } = self.ask
        {
            let [high, low] = item.to_be_bytes();
            option(bytes, 43, &[71, 4, high, low, 0, 0, 255]);
        }
    }

    fn class(&self) -> String {
        if let (Program::Ipxe { .. }, Ask::BootFile { item: Some(_), .. }) =
            (self.program, self.ask)
        {
            return self.program.class().to_owned();
        }
        let interface = match self.program {
            Program::Firmware(0) | Program::Ipxe { arch: 0, .. } => "002001",
            Program::Firmware(_) => "003000",
            Program::Ipxe { .. } => "003010",
        };
        let (class, arch) = (self.program.class(), self.program.arch());
        format!("{class}:Arch:{arch:05}:UNDI:{interface}")
    }
}

/// What a DHCP message's options begin with.
pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// ROMs fill their requests up to the smallest BOOTP message with options of that size.
const ROM_LENGTH: usize = 548;

fn option(bytes: &mut Vec<u8>, code: u8, data: &[u8]) {
    let Ok(length) = u8::try_from(data.len()) else {
        return;
    };
    bytes.extend([code, length]);
    bytes.extend(data);
}

/// Option 55 as captures have it.
const EDK2_WANTS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
    67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
];
const EDK2_HTTP_WANTS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 232,
    67, 97,
];
const IPXE_WANTS: &[u8] = &[
    1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175,
    203,
];
const IPXE_NEW_WANTS: &[u8] = &[
    1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135,
    175, 203,
];
const ROM_WANTS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
    60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135,
];

/// Option 175 of Debian 12's ROM for e1000, of its snponly.efi, and of Debian 13's: the card, the
/// version, and what the build can do (0x13 is HTTP, 0x14 HTTPS).
const IPXE_BIOS: &[u8] = b"\xb1\x05\x01\x80\x86\x10\x0e\xeb\x03\x01\0\0\x17\x01\x01\x22\x01\x01\
    \x13\x01\x01\x11\x01\x01\x27\x01\x01\x19\x01\x01\x29\x01\x01\x10\x01\x02\x21\x01\x01\x15\x01\x01\
    \x18\x01\x01\x12\x01\x01";
const IPXE_EFI: &[u8] = b"\xb1\x05\x01\x1a\xf4\x10\0\xeb\x03\x01\0\0\x17\x01\x01\x24\x01\x01\
    \x13\x01\x01\x11\x01\x01\x27\x01\x01\x29\x01\x01\x15\x01\x01\x12\x01\x01";
const IPXE_EFI_HTTPS: &[u8] = b"\xb1\x05\x01\x1a\xf4\x10\0\xeb\x03\x01\0\0\x26\x01\x01\x17\x01\x01\
    \x27\x01\x01\x24\x01\x01\x13\x01\x01\x14\x01\x01\x11\x01\x01\x29\x01\x01\x15\x01\x01\x12\x01\x01";

#[cfg(test)]
mod tests;
