//! The classes, and their numbers in maps.

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// To another host or port, or from a DHCP server.
    NotOurs,
    /// DHCP of a machine that does not boot from the network.
    DhcpNotPxe,
    /// PXE firmware.
    Firmware(Family),
    /// iPXE.
    Ipxe,
    /// UEFI HTTP Boot firmware.
    HttpClient,
    /// A TFTP read request.
    TftpRequest,
    /// Any other TFTP message.
    TftpOther,
    /// A piece of an IP packet to us: what the whole is shows later.
    Fragment,
    /// A TCP connection to a boot port begins.
    BootConnection,
    /// Nothing that an answer could be made of.
    Malformed(Broken),
}

/// Processors and firmware interfaces, by the first architecture of a packet that has a boot
/// program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// x86 PC BIOS; also ROMs that name no architecture.
    Bios,
    /// 32-bit x86 UEFI.
    Ia32,
    /// x86-64 UEFI.
    X64,
    /// 32-bit ARM UEFI.
    Arm32,
    /// 64-bit ARM UEFI.
    Arm64,
    /// 32-bit RISC-V UEFI.
    Riscv32,
    /// 64-bit RISC-V UEFI.
    Riscv64,
    /// 32-bit LoongArch UEFI.
    Loong32,
    /// 64-bit LoongArch UEFI.
    Loong64,
    /// None of these.
    Unknown,
}

/// What is wrong with a malformed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Broken {
    /// Fewer bytes than a DHCP header has.
    Short,
    /// More bytes than are looked at.
    TooLong,
    /// No magic cookie.
    BadCookie,
    /// hlen above 16.
    HardwareLength,
    /// Sixteen relays or more.
    Hops,
    /// giaddr that no host can have.
    BadRelay,
    /// An option runs past the end.
    OptionPastEnd,
    /// An option of an impossible length.
    OptionLength,
    /// An option longer than it can be.
    OptionTooLong,
    /// Neither hardware address nor client identifier.
    NoHardware,
    /// TFTP without a known opcode.
    TftpOpcode,
}

impl Class {
    /// How many numbers there are: the size of an array map.
    pub const COUNT: usize = PLAIN.len() + FAMILIES.len() + BROKEN.len();

    /// Every class, in the order of its number.
    pub fn all() -> impl Iterator<Item = Self> {
        PLAIN
            .into_iter()
            .chain(FAMILIES.into_iter().map(Self::Firmware))
            .chain(BROKEN.into_iter().map(Self::Malformed))
    }

    /// The number of the class, as map keys and counters use it: below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NotOurs => 0,
            Self::DhcpNotPxe => 1,
            Self::Ipxe => 2,
            Self::HttpClient => 3,
            Self::TftpRequest => 4,
            Self::TftpOther => 5,
            Self::Fragment => 6,
            Self::BootConnection => 7,
            Self::Firmware(family) => 8 + family as u8,
            Self::Malformed(broken) => 18 + broken as u8,
        }
    }

    /// The class of a number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::all().nth(usize::from(number))
    }

    /// Whether a machine asks to be booted by DHCP.
    #[must_use]
    pub const fn boots(self) -> bool {
        matches!(self, Self::Firmware(_) | Self::Ipxe | Self::HttpClient)
    }

    /// The name, as labels of metrics spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOurs => "not-ours",
            Self::DhcpNotPxe => "dhcp-not-pxe",
            Self::Ipxe => "ipxe",
            Self::HttpClient => "http-client",
            Self::TftpRequest => "tftp-request",
            Self::TftpOther => "tftp-other",
            Self::Fragment => "fragment",
            Self::BootConnection => "boot-connection",
            Self::Firmware(family) => family.class_name(),
            Self::Malformed(broken) => broken.code(),
        }
    }
}

impl Family {
    /// The family of an architecture number (IANA "Processor Architecture Types"); 7 and 9 are
    /// both x86-64.
    #[must_use]
    pub const fn of(arch: u16) -> Self {
        match arch {
            0 | 20 => Self::Bios,
            6 | 15 => Self::Ia32,
            7 | 9 | 16 | 17 => Self::X64,
            10 | 18 => Self::Arm32,
            11 | 19 => Self::Arm64,
            25 | 26 => Self::Riscv32,
            27 | 28 => Self::Riscv64,
            37 | 38 => Self::Loong32,
            39 | 40 => Self::Loong64,
            _ => Self::Unknown,
        }
    }

    const fn class_name(self) -> &'static str {
        match self {
            Self::Bios => "firmware-bios",
            Self::Ia32 => "firmware-ia32",
            Self::X64 => "firmware-x64",
            Self::Arm32 => "firmware-arm32",
            Self::Arm64 => "firmware-arm64",
            Self::Riscv32 => "firmware-riscv32",
            Self::Riscv64 => "firmware-riscv64",
            Self::Loong32 => "firmware-loong32",
            Self::Loong64 => "firmware-loong64",
            Self::Unknown => "firmware-unknown",
        }
    }
}

impl Broken {
    /// The reason code, the same as the parser's.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Short => "dhcp.short",
            Self::TooLong => "dhcp.too-long",
            Self::BadCookie => "dhcp.bad-cookie",
            Self::HardwareLength => "dhcp.hardware-length",
            Self::Hops => "dhcp.hops",
            Self::BadRelay => "dhcp.bad-relay",
            Self::OptionPastEnd => "dhcp.option-past-end",
            Self::OptionLength => "dhcp.option-length",
            Self::OptionTooLong => "dhcp.option-too-long",
            Self::NoHardware => "dhcp.no-hardware",
            Self::TftpOpcode => "tftp.malformed",
        }
    }
}

const PLAIN: [Class; 8] = [
    Class::NotOurs,
    Class::DhcpNotPxe,
    Class::Ipxe,
    Class::HttpClient,
    Class::TftpRequest,
    Class::TftpOther,
    Class::Fragment,
    Class::BootConnection,
];

const FAMILIES: [Family; 10] = [
    Family::Bios,
    Family::Ia32,
    Family::X64,
    Family::Arm32,
    Family::Arm64,
    Family::Riscv32,
    Family::Riscv64,
    Family::Loong32,
    Family::Loong64,
    Family::Unknown,
];

const BROKEN: [Broken; 11] = [
    Broken::Short,
    Broken::TooLong,
    Broken::BadCookie,
    Broken::HardwareLength,
    Broken::Hops,
    Broken::BadRelay,
    Broken::OptionPastEnd,
    Broken::OptionLength,
    Broken::OptionTooLong,
    Broken::NoHardware,
    Broken::TftpOpcode,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_differ() {
        assert_eq!(Class::all().count(), Class::COUNT);
        for (at, class) in Class::all().enumerate() {
            assert_eq!(usize::from(class.number()), at);
            assert_eq!(Class::of(class.number()), Some(class));
            assert!(
                Class::all()
                    .take(at)
                    .all(|other| other.name() != class.name())
            );
        }
    }
}
