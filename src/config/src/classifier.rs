//! What the packet classifier lets through: banned machines, rates, a rule for each class.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use bootstorm_ebpf_shared::Class;
use bootstorm_proto::types::{MacAddress, MachineGuid};

use crate::lint::Finding;
use crate::{Config, GuidPattern, MacPattern, Xdp, place, suggest, wire};

/// Machines of one kind (by MAC, by GUID) that can be banned.
pub const BANNED_MAX: usize = 4096;

/// Samples a second that can be asked for; beyond, they would cost more than what was dropped.
const SAMPLES_MAX: u32 = 1000;

/// Packets a second, and in one burst, that a rate can allow.
const PACKETS_MAX: u32 = 10_000_000;

/// Firmware sends a DISCOVER, a REQUEST and one to port 4011 within a moment, and may repeat one.
const BURST_MIN: u32 = 4;

/// The `[classifier]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// Machines that are never answered.
    pub banned: Vec<Banned>,
    /// Dropped packets a second whose heads are kept for people to look at, for each cause.
    pub samples: u32,
    /// What one machine may send that the server does not know yet; `None` sets no limit.
    pub machine: Option<PacketRate>,
    /// What one machine may send that the server knows.
    pub known: Option<PacketRate>,
    /// What may come through one relay, known machines aside.
    pub relay: Option<PacketRate>,
    /// Rules that differ from the built-in ones, by class.
    pub classes: BTreeMap<ClassName, ClassRule>,
}

impl Default for Classifier {
    fn default() -> Self {
        Self {
            banned: Vec::new(),
            samples: 10,
            machine: Some(PacketRate::new(4, 16)),
            known: Some(PacketRate::new(20, 64)),
            relay: Some(PacketRate::new(10_000, 20_000)),
            classes: BTreeMap::new(),
        }
    }
}

/// A machine that is never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Banned {
    /// By its MAC address.
    Mac(MacAddress),
    /// By its SMBIOS GUID.
    Guid(MachineGuid),
    /// All whose MAC address begins so.
    Macs(MacPattern),
    /// All whose SMBIOS GUID begins so.
    Guids(GuidPattern),
}

impl Banned {
    /// Whether a machine with this address and GUID is meant.
    #[must_use]
    pub fn matches(&self, mac: Option<MacAddress>, guid: Option<MachineGuid>) -> bool {
        match self {
            Self::Mac(banned) => mac == Some(*banned),
            Self::Guid(banned) => guid == Some(*banned),
            Self::Macs(banned) => mac.is_some_and(|mac| banned.matches(mac)),
            Self::Guids(banned) => guid.is_some_and(|guid| banned.matches(guid)),
        }
    }
}

/// The beginning of a GUID shows by its first group of eight digits, that of a MAC by groups of two.
impl FromStr for Banned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('*') {
            let mac = text.parse().map(Self::Mac);
            return mac.or_else(|_| text.parse().map(Self::Guid)).map_err(|_| {
                let text = text.escape_default();
                format!("`{text}` is neither a MAC address nor a machine GUID")
            });
        }
        match text.find([':', '-']) {
            Some(2) => text.parse().map(Self::Macs),
            Some(8) => text.parse().map(Self::Guids),
            _ => {
                let text = text.escape_default();
                Err(format!(
                    "`{text}` begins like no MAC address (`00:e0:4c:*`) and no GUID (`11223344-*`)"
                ))
            }
        }
    }
}

impl fmt::Display for Banned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Guid(guid) => guid.fmt(f),
            Self::Macs(macs) => macs.fmt(f),
            Self::Guids(guids) => guids.fmt(f),
        }
    }
}

/// Packets a second, and how many may come at once: `20000/s burst 40000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRate {
    per_second: u32,
    burst: u32,
}

impl PacketRate {
    const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    /// Packets a second, 1 to ten millions.
    #[must_use]
    pub const fn per_second(self) -> u32 {
        self.per_second
    }

    /// Packets that may come at once after a pause, 1 to ten millions.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }
}

/// Without `burst` it is what one second brings.
impl FromStr for PacketRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.escape_default();
        let unreadable = || format!("`{plain}` is not a packet rate: write `4/s burst 16`");
        let (rate, rest) = text.split_once("/s").ok_or_else(unreadable)?;
        let burst = match rest.trim() {
            "" => rate,
            rest => rest.strip_prefix("burst ").ok_or_else(unreadable)?,
        };
        let number = |text: &str| match text.trim().parse::<u32>() {
            Ok(number @ 1..=PACKETS_MAX) => Ok(number),
            Ok(0) => Err(format!("`{plain}` lets nothing through: at least 1")),
            Ok(_) => Err(format!("`{plain}` is more than {PACKETS_MAX} packets")),
            Err(_) => Err(unreadable()),
        };
        Ok(Self::new(number(rate)?, number(burst)?))
    }
}

impl fmt::Display for PacketRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s burst {}", self.per_second, self.burst)
    }
}

/// What happens to the packets of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassRule {
    /// They pass.
    Pass,
    /// They are dropped.
    Drop,
    /// They pass within a rate for each interface.
    Limit(PacketRate),
}

impl FromStr for ClassRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "pass" => Ok(Self::Pass),
            "drop" => Ok(Self::Drop),
            rate if rate.contains('/') => rate.parse().map(Self::Limit),
            word => {
                let meant = suggest::clause(suggest::nearest(word, ["pass", "drop"]));
                let word = word.escape_default();
                Err(format!(
                    "`{word}` is neither `pass`, `drop` nor a rate such as `20000/s burst 40000`{meant}"
                ))
            }
        }
    }
}

/// A class that rules can be set for, or a group of them; names are those of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassName(&'static str);

/// Names that stand for more than one class.
const GROUPS: [&str; 2] = [FIRMWARE, MALFORMED];
const FIRMWARE: &str = "firmware";
const MALFORMED: &str = "malformed";

impl ClassName {
    /// The class or group of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        names().find(|known| *known == name).map(Self)
    }

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// It stands for more than one class; a rule for a single one goes before it.
    #[must_use]
    pub fn is_group(self) -> bool {
        GROUPS.contains(&self.0)
    }

    /// The classes that it stands for.
    pub fn classes(self) -> impl Iterator<Item = Class> {
        Class::all().filter(move |class| match (self.0, class) {
            (FIRMWARE, Class::Firmware(_)) => true,
            (MALFORMED, Class::Malformed(_)) => true,
            (name, class) => class.name() == name,
        })
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().chain(
        Class::all()
            .filter(|class| can_be_ruled(*class))
            .map(Class::name),
    )
}

/// What is not meant for the server always passes: the classifier never cuts a host off.
const fn can_be_ruled(class: Class) -> bool {
    matches!(
        class,
        Class::DhcpNotPxe
            | Class::Firmware(_)
            | Class::Ipxe
            | Class::HttpClient
            | Class::TftpRequest
            | Class::TftpOther
            | Class::Malformed(_)
    )
}

/// Lays the table of the file over the defaults.
pub(crate) fn take(to: &mut Classifier, written: wire::Classifier, findings: &mut Vec<Finding>) {
    let mut note = |key: String, text: String| findings.push(Finding::bad_value(key, text));
    for (index, text) in written.banned.iter().enumerate() {
        match text.parse() {
            Ok(banned) => to.banned.push(banned),
            Err(problem) => note(format!("classifier.banned[{index}]"), problem),
        }
    }
    match written.samples {
        None => {}
        Some(samples) if samples <= SAMPLES_MAX => to.samples = samples,
        Some(samples) => note(
            "classifier.samples".to_owned(),
            format!("{samples} samples a second are more than anybody reads ({SAMPLES_MAX})"),
        ),
    }
    for (name, text, rate) in [
        ("machine", written.machine, &mut to.machine),
        ("known", written.known, &mut to.known),
        ("relay", written.relay, &mut to.relay),
    ] {
        match text.as_deref() {
            None => {}
            Some("none") => *rate = None,
            Some(text) => match text.parse() {
                Ok(read) => *rate = Some(read),
                Err(problem) => note(format!("classifier.{name}"), problem),
            },
        }
    }
    for (name, text) in written.classes {
        take_class(to, &name, &text, findings);
    }
}

fn take_class(to: &mut Classifier, name: &str, text: &str, findings: &mut Vec<Finding>) {
    let key = format!("classifier.classes.{}", place::quoted(name));
    let Some(class) = ClassName::named(name) else {
        findings.push(unknown_class(key, name));
        return;
    };
    match text.parse() {
        Ok(rule) => {
            to.classes.insert(class, rule);
        }
        Err(problem) => findings.push(Finding::bad_value(key, problem)),
    }
}

fn unknown_class(key: String, name: &str) -> Finding {
    if Class::all().any(|class| class.name() == name) {
        return Finding::bad_value(key, format!("`{name}` always passes"));
    }
    let hint = suggest::nearest(name, names()).map_or_else(
        || "docs/reference/configuration.md lists the classes".to_owned(),
        |meant| format!("did you mean `{meant}`?"),
    );
    let text = format!("there is no class `{}`", name.escape_default());
    Finding::error("config.unknown-key", key, text).hint(hint)
}

/// What is wrong with values that are all right by themselves.
pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    let classifier = &config.classifier;
    if config.xdp_replace && config.xdp == Xdp::Off {
        findings.push(Finding::warning(
            "config.no-effect",
            "xdp_replace",
            "nothing is attached, so nothing is replaced: xdp is off",
        ));
    }
    lint_banned(config, findings);
    if let Some(rate) = classifier.machine.filter(|rate| rate.burst() < BURST_MIN) {
        findings.push(
            Finding::warning(
                "config.rate-too-low",
                "classifier.machine",
                format!("{rate}: firmware sends up to {BURST_MIN} packets at once and would wait seconds for an answer"),
            )
            .hint(format!("a burst of at least {BURST_MIN}")),
        );
    }
    if classifier
        .classes
        .iter()
        .any(|(class, rule)| class.name() == "tftp-other" && *rule == ClassRule::Drop)
    {
        findings.push(Finding::warning(
            "config.breaks-boots",
            "classifier.classes.tftp-other",
            "acknowledgements are of this class: no TFTP transfer gets past its first window",
        ));
    }
}

fn lint_banned(config: &Config, findings: &mut Vec<Finding>) {
    let mut seen = HashMap::new();
    let mut counts = [0; 2];
    for (index, banned) in config.classifier.banned.iter().enumerate() {
        let key = format!("classifier.banned[{index}]");
        let (kind, is_many) = match banned {
            Banned::Mac(mac) => (0, mac.bytes() == [0; 6] || mac.bytes()[0] & 1 == 1),
            Banned::Guid(guid) => (1, guid.is_blank()),
            Banned::Macs(_) => (0, false),
            Banned::Guids(_) => (1, false),
        };
        if is_many {
            let text = format!("{banned} does not name a single machine");
            findings.push(Finding::bad_value(key.as_str(), text));
        }
        counts[kind] += 1;
        if counts[kind] == BANNED_MAX + 1 {
            let text = format!("more than {BANNED_MAX} of a kind cannot be banned");
            findings.push(Finding::bad_value(key.as_str(), text));
        }
        if let Some(first) = seen.insert(*banned, index) {
            let text = format!("{banned} is also number {}", first + 1);
            findings.push(Finding::warning("config.duplicate", key, text));
        }
    }
    let banned: HashSet<_> = seen.into_keys().collect();
    for (index, machine) in config.machines.iter().enumerate() {
        let by_mac = machine.mac.map(Banned::Mac);
        let by_guid = machine.guid.map(Banned::Guid);
        let identity = [by_mac, by_guid].into_iter().flatten();
        if let Some(identity) = identity.into_iter().find(|one| banned.contains(one)) {
            findings.push(Finding::warning(
                "config.no-effect",
                format!("machine[{index}]"),
                format!("{identity} is in classifier.banned: it is never answered"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_rates_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("4/s burst 16", "4/s burst 16"),
            ("20000/s", "20000/s burst 20000"),
            (" 1 /s  burst  2 ", "1/s burst 2"),
        ] {
            let rate: PacketRate = text.parse().unwrap();
            assert_eq!(rate.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(rate));
        }
    }

    #[test]
    fn what_is_no_packet_rate_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "`4/s burst 16`"),
            ("4", "`4/s burst 16`"),
            ("4/sec", "`4/s burst 16`"),
            ("4/m", "`4/s burst 16`"),
            ("-4/s", "`4/s burst 16`"),
            ("4/s burst", "`4/s burst 16`"),
            ("4/s burst many", "`4/s burst 16`"),
            ("0/s", "lets nothing through"),
            ("4/s burst 0", "lets nothing through"),
            ("10000001/s", "more than"),
            ("99999999999/s", "`4/s burst 16`"),
        ] {
            let error = text.parse::<PacketRate>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn groups_hold_the_classes_of_their_kind_and_what_is_not_ours_has_no_rule() {
        let count = |name| ClassName::named(name).map(|name: ClassName| name.classes().count());
        let broken = Class::all().filter(|class| matches!(class, Class::Malformed(_)));
        assert_eq!(count("firmware"), Some(10));
        assert_eq!(count("malformed"), Some(broken.count()));
        assert_eq!(count("dhcp.short"), Some(1));
        assert_eq!(count("not-ours"), None);
        assert!(names().all(|name| count(name).is_some_and(|n| n > 0)));
    }

    #[test]
    fn machines_are_banned_by_either_identity() {
        let mac = "52-54-00-99-00-01".parse::<Banned>().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:99:00:01");
        let guid = "11223344-5566-7788-99aa-bbccddeeff00";
        assert_eq!(guid.parse::<Banned>().unwrap().to_string(), guid);
        let error = "lab3".parse::<Banned>().unwrap_err();
        assert!(error.contains("neither a MAC address nor a machine GUID"));
    }

    /// Severity, code and key of each finding.
    fn found(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::for_system();
        change(&mut config);
        let findings = config.lint();
        let brief = |f: Finding| format!("{:?} {} {}", f.severity, f.code, f.key);
        findings.into_iter().map(brief).collect()
    }

    #[test]
    fn bans_that_hit_nobody_or_everybody_are_told() {
        let ban = |texts: &[&str]| {
            let banned = texts.iter().filter_map(|text| text.parse().ok()).collect();
            found(|c| c.classifier.banned = banned)
        };
        let mac = "52:54:00:99:00:01";
        assert_eq!(ban(&[mac]), [""; 0]);
        assert_eq!(
            ban(&[mac, mac]),
            ["Warning config.duplicate classifier.banned[1]"]
        );
        assert!(ban(&["52:54:*", "11223344-*"]).is_empty());
        let bad = ["Error config.bad-value classifier.banned[0]"];
        assert_eq!(ban(&["ff:ff:ff:ff:ff:ff"]), bad);
        assert_eq!(ban(&[&"f".repeat(32)]), bad);
        let many = (0..=BANNED_MAX as u32).map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            Banned::Mac(MacAddress::new([2, 0, 0, a, b, c]))
        });
        let last = ["Error config.bad-value classifier.banned[4096]"];
        assert_eq!(found(|c| c.classifier.banned = many.collect()), last);
        let contradiction = found(|c| {
            c.classifier.banned = vec![mac.parse().unwrap()];
            c.machines = vec![crate::Machine {
                mac: mac.parse().ok(),
                guid: None,
                name: None,
                boot: Some("debian".to_owned()),
            }];
        });
        assert_eq!(contradiction, ["Warning config.no-effect machine[0]"]);
    }

    #[test]
    fn rules_that_keep_machines_from_booting_are_warned_of() {
        let machine = |rate: &str| found(|c| c.classifier.machine = rate.parse().ok());
        assert_eq!(machine("1/s burst 4"), [""; 0]);
        assert_eq!(
            machine("3/s"),
            ["Warning config.rate-too-low classifier.machine"]
        );
        let name = ClassName::named("tftp-other").unwrap();
        let dropped = found(|c| {
            c.classifier.classes.insert(name, ClassRule::Drop);
        });
        assert_eq!(
            dropped,
            ["Warning config.breaks-boots classifier.classes.tftp-other"]
        );
        let replace = found(|c| (c.xdp, c.xdp_replace) = (Xdp::Off, true));
        assert_eq!(replace, ["Warning config.no-effect xdp_replace"]);
    }
}
