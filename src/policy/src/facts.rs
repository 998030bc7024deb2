//! What is known of a machine that asks.

use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use bootstorm_proto::dhcp::Asker;
use bootstorm_proto::ipxe::Params;
use bootstorm_proto::types::{ClientArch, Family, MacAddress, MachineGuid};

use crate::trail::VIA;

mod heard;
mod json;

/// The parameter that names the request to be let in that a machine waits for.
pub(crate) const REQUEST: &str = "request";

/// Parameters that this server's own scripts add, secrets, and those that are facts by themselves.
const OWN_PARAMS: [&str; 10] = [
    "asked",
    "bios_date",
    "bios_vendor",
    "bios_version",
    "item",
    "menu",
    "password",
    REQUEST,
    "token",
    VIA,
];

/// How far the machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// DHCP: it wants to know what to load.
    Dhcp,
    /// It runs iPXE and wants its script. What iPXE knows of the machine is known now.
    #[default]
    Script,
}

impl Stage {
    /// As expressions and programs see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Script => "script",
        }
    }
}

/// What is known of a machine that asks. All of it is claims of the machine and of relays: strings
/// hold whatever a vendor or an attacker wrote, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How far it is.
    pub stage: Stage,
    /// Which program asks.
    pub asker: Option<Asker>,
    /// MAC address of the interface that boots.
    pub mac: Option<MacAddress>,
    /// Machine GUID, as sent: [`Identity`](crate::Identity) tells whether it identifies.
    pub guid: Option<MachineGuid>,
    /// DHCP client identifier (option 61), in hexadecimal.
    pub client_id: Option<String>,
    /// Architectures (option 93), the preferred one first.
    pub arches: ArrayVec<ClientArch, 8>,
    /// Family, when it is known: from `arches`, or from iPXE's `platform` and `buildarch`.
    pub family: Option<Family>,
    /// UNDI version (option 94), such as `3.16`.
    pub undi: Option<String>,
    /// Vendor class (option 60).
    pub vendor_class: Option<String>,
    /// User class (option 77).
    pub user_class: Option<String>,
    /// The relay that passed the request on.
    pub relay: Option<IpAddr>,
    /// Circuit of that relay (option 82.1): as text where it is printable, else in hexadecimal.
    pub circuit_id: Option<String>,
    /// Remote end of that circuit (option 82.2), as `circuit_id`.
    pub remote_id: Option<String>,
    /// Index of our interface that the request came in on.
    pub interface: Option<u32>,
    /// Its name, which the policy fills in.
    pub interface_name: Option<Arc<str>>,
    /// Our address that the machine reached.
    pub local: Option<IpAddr>,
    /// The machine's address.
    pub address: Option<IpAddr>,
    /// The address that its request for a script came from, whatever it says.
    pub source: Option<IpAddr>,
    /// Seconds that it has been asking for.
    pub secs: u16,
    /// iPXE feature flags, bit `n` for sub-option `0x10 + n` of option 175; 0 when not known.
    pub ipxe_features: u64,
    /// iPXE's version.
    pub ipxe_version: Option<String>,
    /// iPXE's features, as it lists them.
    pub features: Option<String>,
    /// `pcbios` or `efi`.
    pub platform: Option<String>,
    /// What iPXE was built for: `i386`, `x86_64`, `arm64` ...
    pub buildarch: Option<String>,
    /// SMBIOS manufacturer.
    pub manufacturer: Option<String>,
    /// SMBIOS product name.
    pub product: Option<String>,
    /// SMBIOS serial number.
    pub serial: Option<String>,
    /// SMBIOS asset tag.
    pub asset: Option<String>,
    /// SMBIOS BIOS vendor.
    pub bios_vendor: Option<String>,
    /// SMBIOS BIOS version.
    pub bios_version: Option<String>,
    /// SMBIOS BIOS release date, as written there (`mm/dd/yyyy`).
    pub bios_date: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Everything else that the machine sent with its request, names in lower case;
    /// [`Self::params`] is what of that others may see.
    pub other: Vec<(String, String)>,
    /// It has been asked for all of this already.
    pub asked: bool,
}

impl Facts {
    /// The request says what only a script of iPXE can add to it, such as another server's.
    pub(crate) const fn tells_of_ipxe(&self) -> bool {
        self.platform.is_some() || self.ipxe_version.is_some()
    }

    /// What else the machine sent with its request, by name: nothing that has a field of its own or
    /// that this server's own scripts add, and no secrets, which are for nobody who decides, logs or
    /// explains.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.other.iter();
        let shown = others.filter(|(name, _)| !OWN_PARAMS.contains(&name.as_str()));
        shown.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The architecture that it prefers.
    #[must_use]
    pub fn arch(&self) -> Option<ClientArch> {
        self.arches.first().copied()
    }

    /// Another value that the machine sent; name in lower case.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        let found = self.other.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What people call its request to be let in, as the script said that it waits by.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.other(REQUEST)
    }

    /// Fills in what DHCP told of the same machine and the script's request did not.
    pub fn complete(&mut self, earlier: &Self) {
        fn fill<T: Clone>(slot: &mut Option<T>, from: &Option<T>) {
            if slot.is_none() {
                slot.clone_from(from);
            }
        }
        fill(&mut self.mac, &earlier.mac);
        fill(&mut self.guid, &earlier.guid);
        fill(&mut self.client_id, &earlier.client_id);
        fill(&mut self.undi, &earlier.undi);
        fill(&mut self.vendor_class, &earlier.vendor_class);
        fill(&mut self.user_class, &earlier.user_class);
        fill(&mut self.relay, &earlier.relay);
        fill(&mut self.circuit_id, &earlier.circuit_id);
        fill(&mut self.remote_id, &earlier.remote_id);
        fill(&mut self.interface, &earlier.interface);
        if self.arches.is_empty() {
            self.arches.clone_from(&earlier.arches);
        }
        let family = self.arch().and_then(ClientArch::family);
        fill(&mut self.family, &family);
        if self.ipxe_features == 0 {
            self.ipxe_features = earlier.ipxe_features;
        }
    }

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

/// What the request's query and form said.
impl From<&Params> for Facts {
    fn from(params: &Params) -> Self {
        // The URL that DHCP hands out carries the number of option 93 as `arch`.
        let build = params.buildarch.as_deref().unwrap_or_default();
        let arch = build.parse().ok().map(ClientArch);
        let platform = params.platform.as_deref().unwrap_or_default();
        let other = |name: &str| params.other(name).map(str::to_owned);
        Self {
            stage: Stage::Script,
            asker: Some(Asker::Ipxe),
            mac: params.mac,
            guid: params.uuid,
            arches: arch.into_iter().collect(),
            family: arch
                .and_then(ClientArch::family)
                .or_else(|| Self::family_of_build(platform, build)),
            address: params.ip,
            ipxe_version: params.version.clone(),
            features: params.features.clone(),
            platform: params.platform.clone(),
            buildarch: params.buildarch.clone().filter(|_| arch.is_none()),
            manufacturer: params.manufacturer.clone(),
            product: params.product.clone(),
            serial: params.serial.clone(),
            asset: params.asset.clone(),
            bios_vendor: other("bios_vendor"),
            bios_version: other("bios_version"),
            bios_date: other("bios_date"),
            hostname: params.hostname.clone(),
            asked: params.other("asked").is_some(),
            other: params.other.clone(),
            ..Self::default()
        }
    }
}
