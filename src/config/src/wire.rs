//! The file as it is written; nothing is checked here but shapes and names.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{Driver, KernelTls, LocalBoot, LogFormat, Scheme, UefiOffer, Xdp};
use crate::{events, identity, menu, policy, provider, rule, store, windows};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) images: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) interfaces: Option<Vec<String>>,
    pub(crate) host: Option<String>,
    pub(crate) workers: Option<NonZeroU16>,
    pub(crate) driver: Option<Driver>,
    pub(crate) xdp: Option<Xdp>,
    pub(crate) xdp_replace: Option<bool>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) listen: Listen,
    pub(crate) boot: Boot,
    pub(crate) tftp: Tftp,
    pub(crate) pacing: Pacing,
    pub(crate) tls: Tls,
    pub(crate) memory: Memory,
    pub(crate) classifier: Classifier,
    pub(crate) machine: Vec<Machine>,
    pub(crate) policy: policy::Written,
    pub(crate) identity: identity::Written,
    pub(crate) rule: Vec<rule::Written>,
    pub(crate) provider: Vec<provider::Written>,
    pub(crate) menu: Vec<menu::Written>,
    pub(crate) store: store::Written,
    pub(crate) events: events::Written,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) dhcp: Option<String>,
    pub(crate) pxe: Option<String>,
    pub(crate) dhcp6: Option<String>,
    pub(crate) tftp: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) https: Option<String>,
    pub(crate) web: Option<String>,
    pub(crate) syslog: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Boot {
    pub(crate) default: Option<String>,
    pub(crate) menu_timeout: Option<u32>,
    pub(crate) script_scheme: Option<Scheme>,
    pub(crate) http_boot_scheme: Option<Scheme>,
    pub(crate) uefi: Option<UefiOffer>,
    pub(crate) response_delay: Option<u16>,
    pub(crate) nbp: Nbp,
    pub(crate) templates: Option<PathBuf>,
    pub(crate) local: Option<LocalBoot>,
    pub(crate) windows: windows::Written,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Nbp {
    pub(crate) bios: Option<Names>,
    pub(crate) ia32: Option<Names>,
    pub(crate) x64: Option<Names>,
    pub(crate) arm32: Option<Names>,
    pub(crate) arm64: Option<Names>,
    pub(crate) riscv32: Option<Names>,
    pub(crate) riscv64: Option<Names>,
    pub(crate) loong32: Option<Names>,
    pub(crate) loong64: Option<Names>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tftp {
    pub(crate) data_ports: Option<String>,
    pub(crate) max_window: Option<u32>,
    pub(crate) max_block: Option<u32>,
    pub(crate) rollover: Option<u16>,
    pub(crate) max_transfers_per_client: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pacing {
    pub(crate) per_machine: Option<String>,
    pub(crate) total: Option<String>,
    pub(crate) machines: Option<u32>,
    pub(crate) interface: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) dhe: Option<bool>,
    pub(crate) kernel: Option<KernelTls>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    pub(crate) pin: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Classifier {
    pub(crate) banned: Vec<String>,
    pub(crate) samples: Option<u32>,
    pub(crate) machine: Option<String>,
    pub(crate) known: Option<String>,
    pub(crate) relay: Option<String>,
    pub(crate) classes: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Machine {
    pub(crate) mac: Option<String>,
    pub(crate) guid: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) boot: Option<String>,
}

/// One file name or a list of them.
pub(crate) struct Names(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file name or a list of file names")
    }

    fn visit_str<E>(self, name: &str) -> Result<Names, E> {
        Ok(Names(vec![name.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}
