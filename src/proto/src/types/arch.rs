//! Client system architectures: option 93, DHCPv6 option 61 (IANA "Processor Architecture Types").

use std::fmt;

/// An architecture number as the firmware sends it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientArch(pub u16);

/// The processors and firmware interfaces for which one boot program serves all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// x86 PC BIOS.
    Bios,
    /// 32-bit x86 UEFI.
    Ia32,
    /// x86-64 UEFI; also number 9, which many x64 firmwares send.
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
}

impl Family {
    /// Every family, in the order of the IANA table.
    pub const ALL: [Self; 9] = [
        Self::Bios,
        Self::Ia32,
        Self::X64,
        Self::Arm32,
        Self::Arm64,
        Self::Riscv32,
        Self::Riscv64,
        Self::Loong32,
        Self::Loong64,
    ];

    /// Short name, as configuration and logs spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Ia32 => "ia32",
            Self::X64 => "x64",
            Self::Arm32 => "arm32",
            Self::Arm64 => "arm64",
            Self::Riscv32 => "riscv32",
            Self::Riscv64 => "riscv64",
            Self::Loong32 => "loong32",
            Self::Loong64 => "loong64",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ClientArch {
    /// The family whose boot programs this number takes; `None` for numbers that bootstorm has no
    /// boot program for. RFC 4578 first printed 7 and 9 swapped: both are x64.
    #[must_use]
    pub const fn family(self) -> Option<Family> {
        Some(match self.0 {
            0 | 20 => Family::Bios,
            6 | 15 => Family::Ia32,
            7 | 9 | 16 | 17 => Family::X64,
            10 | 18 => Family::Arm32,
            11 | 19 => Family::Arm64,
            25 | 26 => Family::Riscv32,
            27 | 28 => Family::Riscv64,
            37 | 38 => Family::Loong32,
            39 | 40 => Family::Loong64,
            _ => return None,
        })
    }

    /// The number stands for HTTP Boot rather than PXE.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self.0, 15..=20 | 23 | 24 | 26 | 28 | 30 | 38 | 40)
    }

    /// The name of the IANA table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "x86 BIOS",
            1 => "NEC/PC98",
            2 => "Itanium",
            3 => "DEC Alpha",
            4 => "Arc x86",
            5 => "Intel Lean Client",
            6 => "x86 UEFI",
            7 => "x64 UEFI",
            8 => "EFI Xscale",
            9 => "EBC",
            10 => "ARM 32-bit UEFI",
            11 => "ARM 64-bit UEFI",
            12 => "PowerPC Open Firmware",
            13 => "PowerPC ePAPR",
            14 => "POWER OPAL v3",
            15 => "x86 UEFI HTTP",
            16 => "x64 UEFI HTTP",
            17 => "EBC HTTP",
            18 => "ARM 32-bit UEFI HTTP",
            19 => "ARM 64-bit UEFI HTTP",
            20 => "x86 BIOS HTTP",
            21 => "ARM 32-bit U-Boot",
            22 => "ARM 64-bit U-Boot",
            23 => "ARM 32-bit U-Boot HTTP",
            24 => "ARM 64-bit U-Boot HTTP",
            25 => "RISC-V 32-bit UEFI",
            26 => "RISC-V 32-bit UEFI HTTP",
            27 => "RISC-V 64-bit UEFI",
            28 => "RISC-V 64-bit UEFI HTTP",
            29 => "RISC-V 128-bit UEFI",
            30 => "RISC-V 128-bit UEFI HTTP",
            31 => "s390 Basic",
            32 => "s390 Extended",
            33 => "MIPS 32-bit UEFI",
            34 => "MIPS 64-bit UEFI",
            35 => "Sunway 32-bit UEFI",
            36 => "Sunway 64-bit UEFI",
            37 => "LoongArch 32-bit UEFI",
            38 => "LoongArch 32-bit UEFI HTTP",
            39 => "LoongArch 64-bit UEFI",
            40 => "LoongArch 64-bit UEFI HTTP",
            41 => "ARM rpiboot",
            _ => "unknown",
        }
    }
}

impl fmt::Display for ClientArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ClientArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientArch({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_and_nine_are_the_same_machine() {
        assert_eq!(ClientArch(7).family(), Some(Family::X64));
        assert_eq!(ClientArch(9).family(), Some(Family::X64));
        assert_eq!(ClientArch(99).family(), None);
        assert!(ClientArch(16).is_http() && !ClientArch(7).is_http());
    }
}
