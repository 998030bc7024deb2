//! Requests as boot firmware and iPXE write them.

use std::net::Ipv4Addr;

use bootstorm_proto::types::MacAddress;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};

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

/// Option 55 of EDK2 and of iPXE, as captures of both have it.
const FIRMWARE_WANTS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
    67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
];
const IPXE_WANTS: &[u8] = &[
    1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175,
    203,
];
