//! The settings that scripts ask for as `${name}` and `${name:type}`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bootstorm_proto::types::MachineGuid;

use crate::machine::http::request::IPXE_VERSION;
use crate::machine::io::World;
use crate::machine::plan::Leases;
use crate::machine::profile::Profile;
use crate::machine::url::{Url, encoded};

/// Settings of a script's own.
const NAMES_MAX: usize = 256;
/// Bytes of all their values.
const VALUES_MAX: usize = 32 * 1024;

/// A machine's settings: its own, and what scripts set.
#[derive(Debug)]
pub(super) struct Settings {
    set: BTreeMap<String, Value>,
    /// What iPXE was told to load.
    filename: String,
    /// Where from.
    server: Ipv4Addr,
}

/// What a setting holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Number(u32),
    Address(Ipv4Addr),
    /// In the order in which people read it.
    Uuid([u8; 16]),
}

impl Settings {
    /// Those of a machine that loads `filename` from `server`.
    pub(super) const fn new(filename: String, server: Ipv4Addr) -> Self {
        Self {
            set: BTreeMap::new(),
            filename,
            server,
        }
    }

    /// What stands for `${reference}`; empty where nothing is set. `here` is the URL of the script.
    pub(super) fn text(&self, reference: &str, here: &Url, world: &World<'_>) -> String {
        let (name, kind) = split(reference);
        let value = self.set.get(&name).cloned();
        let value = value.or_else(|| self.built_in(&name, here, world));
        value.map_or_else(String::new, |value| value.text(kind))
    }

    /// Sets `reference` to a text of its type; an empty one unsets it.
    ///
    /// # Errors
    /// The text is none of the type, or there is no room.
    pub(super) fn set(&mut self, reference: &str, text: &str) -> Result<(), &'static str> {
        let (name, kind) = split(reference);
        if text.is_empty() {
            self.set.remove(&name);
            return Ok(());
        }
        let value = Value::parse(text, kind).ok_or("no value of this type")?;
        let used: usize = self.set.values().map(|value| value.raw().len()).sum();
        let is_full = self.set.len() >= NAMES_MAX && !self.set.contains_key(&name);
        if is_full || used + value.raw().len() > VALUES_MAX || name.len() > 128 {
            return Err("no memory for it");
        }
        self.set.insert(name, value);
        Ok(())
    }

    /// Adds to a number; what is not set counts as zero.
    ///
    /// # Errors
    /// It is none: iPXE calculates with what was set as `name:int32` alone.
    pub(super) fn increase(&mut self, reference: &str, by: u32) -> Result<(), &'static str> {
        let (name, _) = split(reference);
        let number = match self.set.get(&name) {
            Some(Value::Number(number)) => *number,
            None => 0,
            Some(_) => return Err("it is no number"),
        };
        let sum = number.wrapping_add(by).to_string();
        self.set(&format!("{name}:int32"), &sum)
    }

    /// Unsets a setting.
    pub(super) fn clear(&mut self, reference: &str) {
        self.set.remove(&split(reference).0);
    }

    fn built_in(&self, name: &str, here: &Url, world: &World<'_>) -> Option<Value> {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let identity = world.identity;
        let is_efi = !matches!(identity.profile, Profile::Bios | Profile::IpxeHttp);
        match name {
            "mac" => Some(Value::Bytes(identity.mac.bytes().to_vec())),
            "ip" => Some(Value::Address(world.address)),
            "netmask" => {
                let (Leases::Harness(network) | Leases::Server(network)) = world.plan.leases;
                let mask = u32::MAX.checked_shl(32 - u32::from(network.bits));
                Some(Value::Address(Ipv4Addr::from(mask.unwrap_or(0))))
            }
            "next-server" => Some(Value::Address(self.server)),
            "dhcp-server" => Some(Value::Address(world.plan.server)),
            "filename" => text(&self.filename),
            "uuid" => {
                let guid = MachineGuid::from_wire(identity.guid);
                Some(Value::Uuid(guid.as_read()))
            }
            "buildarch" => text(if is_efi { "x86_64" } else { "i386" }),
            "platform" => text(if is_efi { "efi" } else { "pcbios" }),
            "version" => text(IPXE_VERSION),
            "manufacturer" | "smbios/1.4.0" => text("bootstorm"),
            "product" | "smbios/1.5.0" => text("Simulated machine"),
            "serial" | "smbios/1.7.0" => text(&format!("STORM-{:06}", identity.index)),
            "smbios/0.4.0" => text("bootstorm-load"),
            "smbios/0.5.0" => text(env!("CARGO_PKG_VERSION")),
            "user-class" => text("iPXE"),
            "ifname" => text("net0"),
            "chip" => text("virtio-net"),
            "bustype" => text("PCI"),
            // A virtio network card on the PCI bus.
            "busid" => Some(Value::Bytes(vec![1, 0x1a, 0xf4, 0x10, 0])),
            "cpuvendor" => text("GenuineIntel"),
            "memsize" => Some(Value::Number(4096)),
            "cwuri" => text(&here.to_string()),
            "cwduri" => {
                let here = here.to_string();
                let folder = here.rfind('/').map_or("", |slash| &here[..=slash]);
                text(folder)
            }
            _ => None,
        }
    }
}

impl Value {
    fn parse(text: &str, kind: &str) -> Option<Self> {
        match kind {
            "hex" | "hexhyp" | "hexraw" => {
                let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
                hex::decode(digits).ok().map(Self::Bytes)
            }
            "ipv4" => text.parse().ok().map(Self::Address),
            "uuid" => text
                .parse::<MachineGuid>()
                .ok()
                .map(|guid| Self::Uuid(guid.as_read())),
            kind if is_number(kind) => number(text).map(Self::Number),
            _ => Some(Self::Text(text.to_owned())),
        }
    }

    fn raw(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Number(number) => number.to_be_bytes().to_vec(),
            Self::Address(address) => address.octets().to_vec(),
            Self::Uuid(uuid) => uuid.to_vec(),
        }
    }

    fn text(&self, kind: &str) -> String {
        let raw = self.raw();
        let string = || String::from_utf8_lossy(&raw).into_owned();
        match kind {
            "" => match self {
                Self::Text(text) => text.clone(),
                Self::Bytes(bytes) => parted(bytes, ":"),
                Self::Number(number) => number.to_string(),
                Self::Address(address) => address.to_string(),
                Self::Uuid(uuid) => hyphened(uuid),
            },
            "string" => string(),
            "uristring" => encoded(&string(), b"-._~"),
            "hex" => parted(&raw, ":"),
            "hexhyp" => parted(&raw, "-"),
            "hexraw" => hex::encode(&raw),
            "ipv4" => <[u8; 4]>::try_from(raw).map_or_else(
                |_| String::new(),
                |octets| Ipv4Addr::from(octets).to_string(),
            ),
            "uuid" | "guid" => {
                <[u8; 16]>::try_from(raw).map_or_else(|_| String::new(), |raw| hyphened(&raw))
            }
            kind if is_number(kind) => {
                let number = match self {
                    Self::Text(text) => number(text),
                    _ => Some(raw.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))),
                };
                let number = number.unwrap_or(0);
                if kind.starts_with('u') {
                    format!("{number:#x}")
                } else {
                    number.to_string()
                }
            }
            _ => String::new(),
        }
    }
}

/// A setting's name, without the interface that it is of, and its type.
fn split(reference: &str) -> (String, &str) {
    let (name, kind) = reference.split_once(':').unwrap_or((reference, ""));
    let mut name = name;
    for prefix in ["net0/", "netX/", "net0.", "netx/", "dhcp/", "builtin/"] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    (name.to_ascii_lowercase(), kind)
}

fn is_number(kind: &str) -> bool {
    matches!(
        kind,
        "int8" | "int16" | "int32" | "uint8" | "uint16" | "uint32"
    )
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parted(bytes: &[u8], between: &str) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(between)
}

fn hyphened(uuid: &[u8; 16]) -> String {
    let digits = hex::encode(uuid);
    let [a, b, c, d, e] = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        .map(|(from, to)| digits.get(from..to).unwrap_or_default());
    format!("{a}-{b}-{c}-{d}-{e}")
}
