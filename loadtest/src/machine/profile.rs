//! Which firmware a machine has and by which way it boots.

use serde::{Deserialize, Serialize};

use super::dhcp::message::Program;

/// A firmware and its way to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// PC BIOS (architecture 0): boot program by TFTP, then iPXE over HTTP.
    Bios,
    /// x64 UEFI (architecture 7): port 4011, boot program by TFTP, then iPXE over HTTP.
    Uefi,
    /// x64 UEFI that boots by HTTP (architecture 16), then iPXE.
    UefiHttp,
    /// The same over HTTPS.
    UefiHttps,
    /// iPXE in the network card's ROM, over HTTP.
    IpxeHttp,
    /// iPXE in the network card's ROM, over HTTPS.
    IpxeHttps,
    /// x64 UEFI that loads Windows' boot manager and what that asks for, all by TFTP.
    WindowsTftp,
}

impl Profile {
    /// All, from the plain one to the one of its own.
    pub(crate) const ALL: [Self; 7] = [
        Self::Bios,
        Self::Uefi,
        Self::UefiHttp,
        Self::UefiHttps,
        Self::IpxeHttp,
        Self::IpxeHttps,
        Self::WindowsTftp,
    ];

    /// What it is, for people.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Bios => "PC BIOS: boot program by TFTP, then iPXE",
            Self::Uefi => "x64 UEFI: port 4011, boot program by TFTP, then iPXE",
            Self::UefiHttp => "x64 UEFI that boots by HTTP, then iPXE",
            Self::UefiHttps => "x64 UEFI that boots by HTTPS, then iPXE",
            Self::IpxeHttp => "iPXE in the network card, over HTTP",
            Self::IpxeHttps => "iPXE in the network card, over HTTPS",
            Self::WindowsTftp => "x64 UEFI that loads Windows' boot manager and all else by TFTP",
        }
    }

    /// As scenarios and reports name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::UefiHttp => "uefi-http",
            Self::UefiHttps => "uefi-https",
            Self::IpxeHttp => "ipxe-http",
            Self::IpxeHttps => "ipxe-https",
            Self::WindowsTftp => "windows-tftp",
        }
    }

    /// The firmware that asks first; none where iPXE itself is in the network card.
    pub(crate) const fn firmware(self) -> Option<Program> {
        match self {
            Self::Bios => Some(Program::Firmware(0)),
            Self::Uefi | Self::WindowsTftp => Some(Program::Firmware(7)),
            Self::UefiHttp | Self::UefiHttps => Some(Program::Firmware(16)),
            Self::IpxeHttp | Self::IpxeHttps => None,
        }
    }

    /// The iPXE that the machine comes to.
    pub(crate) const fn ipxe(self) -> Program {
        let arch = match self {
            Self::Bios | Self::IpxeHttp => 0,
            Self::Uefi | Self::UefiHttp | Self::UefiHttps | Self::IpxeHttps | Self::WindowsTftp => {
                7
            }
        };
        let https = matches!(self, Self::UefiHttps | Self::IpxeHttps);
        Program::Ipxe { arch, https }
    }
}
