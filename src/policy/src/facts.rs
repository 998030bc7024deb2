//! What is known of a machine that asks for its script.

use std::net::IpAddr;

use bootstorm_proto::ipxe::Params;
use bootstorm_proto::types::{ClientArch, Family, MacAddress, MachineGuid};

/// Facts for the script, from the URL that DHCP handed out and from what iPXE adds. All of them are
/// claims of the machine: strings hold whatever its vendor or an attacker wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// MAC address of the interface that boots.
    pub mac: Option<MacAddress>,
    /// Machine GUID.
    pub guid: Option<MachineGuid>,
    /// Architecture number, as DHCP's option 93 had it.
    pub arch: Option<ClientArch>,
    /// Family, when it is known: from `arch`, or from iPXE's `platform` and `buildarch`.
    pub family: Option<Family>,
    /// The machine's address.
    pub address: Option<IpAddr>,
    /// iPXE feature flags, bit `n` for sub-option `0x10 + n` of option 175; 0 when not known.
    pub ipxe_features: u64,
    /// iPXE's version.
    pub ipxe_version: Option<String>,
    /// SMBIOS manufacturer.
    pub manufacturer: Option<String>,
    /// SMBIOS product name.
    pub product: Option<String>,
    /// SMBIOS serial number.
    pub serial: Option<String>,
    /// SMBIOS asset tag.
    pub asset: Option<String>,
    /// It has been asked for all of this already.
    pub asked: bool,
}

/// What the request's query and form said.
impl From<&Params> for MachineFacts {
    fn from(params: &Params) -> Self {
        // The URL that DHCP hands out carries the number of option 93 as `arch`.
        let build = params.buildarch.as_deref().unwrap_or_default();
        let arch = build.parse().ok().map(ClientArch);
        let platform = params.platform.as_deref().unwrap_or_default();
        Self {
            mac: params.mac,
            guid: params.uuid,
            arch,
            family: arch
                .and_then(ClientArch::family)
                .or_else(|| Self::family_of_build(platform, build)),
            address: params.ip,
            ipxe_features: 0,
            ipxe_version: params.version.clone(),
            manufacturer: params.manufacturer.clone(),
            product: params.product.clone(),
            serial: params.serial.clone(),
            asset: params.asset.clone(),
            asked: params.other("asked").is_some(),
        }
    }
}

impl MachineFacts {
    /// The family that iPXE's `platform` (`pcbios`, `efi`) and `buildarch` (`x86_64`, ...) name.
    #[must_use]
    pub fn family_of_build(platform: &str, buildarch: &str) -> Option<Family> {
        match (platform, buildarch) {
            ("pcbios", _) => Some(Family::Bios),
            ("efi", "i386") => Some(Family::Ia32),
            ("efi", "x86_64") => Some(Family::X64),
            ("efi", "arm32") => Some(Family::Arm32),
            ("efi", "arm64") => Some(Family::Arm64),
            ("efi", "riscv32") => Some(Family::Riscv32),
            ("efi", "riscv64") => Some(Family::Riscv64),
            ("efi", "loong64") => Some(Family::Loong64),
            _ => None,
        }
    }
}
