//! The checked configuration: every value in here can be used as it stands.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bootstorm_proto::types::{BlockSize, Family, MacAddress, MachineGuid, WindowSize};
use serde::Deserialize;

use crate::{Classifier, Listen, Memory, Rate};
use crate::{
    EventsConfig, IdentityConfig, InterfaceChoice, MenuConfig, PolicyConfig, ProviderConfig, Rule,
    StoreConfig, WindowsBoot,
};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder with what can be booted.
    pub images: PathBuf,
    /// Folder for the database, ingested images, keys and the admin token.
    pub data: PathBuf,
    /// Interfaces to answer on or to leave out; empty means all.
    pub interfaces: Vec<InterfaceChoice>,
    /// Name that boot URLs carry instead of the interface's address.
    pub host: Option<String>,
    /// Which ports are listened on.
    pub listen: Listen,
    /// What machines are told to boot.
    pub boot: Boot,
    /// Limits of TFTP transfers.
    pub tftp: Tftp,
    /// How fast machines are fed, and how many at a time.
    pub pacing: Pacing,
    /// Certificate of the HTTPS boot endpoint.
    pub tls: Tls,
    /// What of the images stays in memory.
    pub memory: Memory,
    /// Threads of the data plane; `None` means one for each core.
    pub workers: Option<NonZeroU16>,
    /// How the data plane talks to the kernel.
    pub driver: Driver,
    /// How packets are sorted before they reach a socket.
    pub xdp: Xdp,
    /// Another program on an interface makes room for the classifier.
    pub xdp_replace: bool,
    /// What the classifier lets through.
    pub classifier: Classifier,
    /// Form of the log lines on standard error.
    pub log_format: LogFormat,
    /// Machines with settings of their own.
    pub machines: Vec<Machine>,
    /// Who is answered, when, and whether people are asked first.
    pub policy: PolicyConfig,
    /// What does not tell one machine from another.
    pub identity: IdentityConfig,
    /// What machines boot by rule.
    pub rules: Vec<Rule>,
    /// Who is asked what a machine boots, in order; none means the usual ones.
    pub providers: Vec<ProviderConfig>,
    /// Menus besides the usual one.
    pub menus: Vec<MenuConfig>,
    /// Where machines and their history are kept.
    pub store: StoreConfig,
    /// Whom events of boots are passed on to.
    pub events: EventsConfig,
}

/// What machines are told to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// What a machine boots that has nothing assigned: an entry's id, `local`, or `None` for the
    /// menu.
    pub default: Option<String>,
    /// How long the menu waits before it takes the local disk; zero waits for ever.
    pub menu_timeout: Duration,
    /// Scheme of the script URL that iPXE is given.
    pub script_scheme: Scheme,
    /// Scheme of the URL that UEFI HTTP Boot firmware is given.
    pub http_boot_scheme: Scheme,
    /// How UEFI firmware learns its boot file.
    pub uefi: UefiOffer,
    /// Seconds that a machine must have been asking before it is answered (DHCP `secs`).
    pub response_delay: u16,
    /// Network boot programs to look for, by family, instead of the built-in list.
    pub nbp: BTreeMap<Family, Vec<String>>,
    /// Folder with templates of scripts.
    pub templates: Option<PathBuf>,
    /// How iPXE leaves for the next boot device.
    pub local: LocalBoot,
    /// What boot managers of Windows are told.
    pub windows: WindowsBoot,
}

/// How iPXE leaves for the next boot device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum LocalBoot {
    /// It ends as having failed: firmware tries the next device.
    #[default]
    #[serde(rename = "exit 1")]
    Exit1,
    /// It ends as having succeeded, after which some firmware goes on and some opens its setup.
    #[serde(rename = "exit 0")]
    Exit0,
    /// It starts the first disk itself, which a BIOS lets it.
    #[serde(rename = "sanboot")]
    SanBoot,
    /// It starts the machine anew.
    #[serde(rename = "reboot")]
    Reboot,
    /// It switches the machine off.
    #[serde(rename = "poweroff")]
    PowerOff,
}

/// Limits of TFTP transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tftp {
    /// Ports that transfers are sent from.
    pub data_ports: DataPorts,
    /// Largest window granted (RFC 7440), in blocks.
    pub max_window: WindowSize,
    /// Largest block granted (RFC 2348), in bytes; never more than the interface's MTU minus 32.
    pub max_block: Option<BlockSize>,
    /// The block number that follows 65535: 0 or 1.
    pub rollover: u16,
    /// Transfers that one client address may have at a time.
    pub max_transfers_per_client: u32,
}

/// How fast machines are fed, and how many at a time; `None` sets no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pacing {
    /// What one machine gets at most.
    pub per_machine: Option<Rate>,
    /// What all machines at one interface get together.
    pub total: Option<Rate>,
    /// The same for single interfaces, by name.
    pub interface: BTreeMap<String, Option<Rate>>,
    /// Machines that are fed at a time; the others wait in order of arrival.
    pub machines: Option<NonZeroU32>,
}

/// Certificate of the HTTPS boot endpoint; without one, an own CA issues it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key.
    pub key: Option<PathBuf>,
    /// Offer DHE-RSA suites, which UEFI firmware up to 2025 needs.
    pub dhe: bool,
    /// Whether the kernel seals large responses.
    pub kernel: KernelTls,
}

/// Settings of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// MAC address.
    pub mac: Option<MacAddress>,
    /// SMBIOS GUID. At least one of the two is there.
    pub guid: Option<MachineGuid>,
    /// Name for people.
    pub name: Option<String>,
    /// What it boots: an entry's id, `local` or `menu`.
    pub boot: Option<String>,
}

/// Ports that TFTP transfers are sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPorts {
    /// One of these for each transfer.
    Range(RangeInclusive<u16>),
    /// All through the listening port.
    Single,
}

/// Scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How UEFI firmware learns its boot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UefiOffer {
    /// The offer carries no file; the acknowledgement from port 4011 does. All firmware takes it.
    TwoStep,
    /// The offer carries the file: one round trip less, and port 4011 is not needed.
    AllInOne,
}

/// How the data plane talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// io_uring where the kernel allows it.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Whether the kernel seals the records of connections that fetch large files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelTls {
    /// Never.
    Off,
    /// Where it can.
    Auto,
}

/// How packets are sorted before they reach a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// In the driver if it can, else in the generic hook, else not at all.
    Auto,
    /// In the driver or nothing.
    Native,
    /// In the kernel's generic hook or nothing.
    Generic,
    /// Not at all.
    Off,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What root gets without a file: images in `/srv`, state in `/var/lib`.
    #[must_use]
    pub fn for_system() -> Self {
        Self::in_folders("/srv/bootstorm/images", "/var/lib/bootstorm")
    }

    /// What anybody else gets: both folders in the current one.
    #[must_use]
    pub fn for_user() -> Self {
        Self::in_folders("images", "data")
    }

    fn in_folders(images: &str, data: &str) -> Self {
        Self {
            images: images.into(),
            data: data.into(),
            interfaces: Vec::new(),
            host: None,
            listen: Listen::default(),
            boot: Boot::default(),
            tftp: Tftp::default(),
            pacing: Pacing::default(),
            tls: Tls::default(),
            memory: Memory::default(),
            workers: None,
            driver: Driver::Auto,
            xdp: Xdp::Auto,
            xdp_replace: false,
            classifier: Classifier::default(),
            log_format: LogFormat::Text,
            machines: Vec::new(),
            policy: PolicyConfig::default(),
            identity: IdentityConfig::default(),
            rules: Vec::new(),
            providers: Vec::new(),
            menus: Vec::new(),
            store: StoreConfig::default(),
            events: EventsConfig::default(),
        }
    }
}

/// [`Config::for_system`] for root, [`Config::for_user`] for everybody else.
impl Default for Config {
    fn default() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::for_system()
        } else {
            Self::for_user()
        }
    }
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            default: None,
            menu_timeout: Duration::from_secs(10),
            script_scheme: Scheme::Http,
            http_boot_scheme: Scheme::Http,
            uefi: UefiOffer::TwoStep,
            response_delay: 0,
            nbp: BTreeMap::new(),
            templates: None,
            local: LocalBoot::default(),
            windows: WindowsBoot::default(),
        }
    }
}

impl Default for Tftp {
    fn default() -> Self {
        Self {
            data_ports: DataPorts::Range(64001..=65000),
            max_window: WindowSize::try_from(64).unwrap_or(WindowSize::DEFAULT),
            max_block: None,
            rollover: 0,
            max_transfers_per_client: 8192,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            dhe: true,
            kernel: KernelTls::Off,
        }
    }
}

/// Reads `64001-65000` or `single`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_data_ports(text: &str) -> Result<DataPorts, String> {
    if text == "single" {
        return Ok(DataPorts::Single);
    }
    let parsed = text.split_once('-').and_then(|(first, last)| {
        Some((
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        ))
    });
    match parsed {
        Some((first, last)) if first > 0 && first <= last => Ok(DataPorts::Range(first..=last)),
        Some((first, last)) => Err(format!("{first}-{last} is an empty range or starts at 0")),
        None => Err(format!(
            "`{}` is neither FIRST-LAST nor `single`",
            text.escape_default()
        )),
    }
}
