//! One machine and what an event makes of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::{ClientArch, MacAddress, MachineGuid};
use bootstorm_telemetry::event::{BootEvent, Milestone, Protocol, Reason, TransferId, What};

use super::Phase;
use super::timeline::{Step, Timeline, about, because, clean, step};

/// What is known of one machine.
#[derive(Clone, Debug)]
pub struct Client {
    /// Counts machines up in the order in which they were first seen.
    pub id: u64,
    /// MAC, once a packet or a script request showed it.
    pub mac: Option<MacAddress>,
    /// Addresses, the latest first; at most four.
    pub addresses: Vec<IpAddr>,
    /// SMBIOS GUID.
    pub guid: Option<MachineGuid>,
    /// Architecture.
    pub arch: Option<ClientArch>,
    /// Which program asked last.
    pub asker: Option<Asker>,
    /// Relay.
    pub relay: Option<IpAddr>,
    /// What DHCP told of it last.
    pub heard: Option<Arc<ClientFacts>>,
    /// When it last said who it is, by DHCP or for its script.
    pub identified: Option<SystemTime>,
    /// Where the boot stands.
    pub phase: Phase,
    /// Since when.
    pub phase_since: SystemTime,
    /// When the first packet came.
    pub first_seen: SystemTime,
    /// When the last event came.
    pub last_seen: SystemTime,
    /// Boots begun in this run of the server.
    pub boots: u32,
    /// What DHCP answered in this boot.
    pub offered: Option<Arc<str>>,
    /// What the script boots: an entry's id, `menu` or `local`.
    pub entry: Option<Arc<str>>,
    /// Number of the boot that began with its script.
    pub boot: Option<u64>,
    /// Bytes of this boot.
    pub bytes: u64,
    /// Bytes of this boot that were sent more than once.
    pub resent: u64,
    /// Bytes a second of late.
    pub rate: u64,
    /// What travels at the moment.
    pub travels: Vec<Travel>,
    /// Why it failed, or is not answered.
    pub reason: Option<Reason>,
    /// What happened of late, oldest first; at most [`STEPS_MAX`](super::STEPS_MAX).
    pub timeline: Timeline,
    metered: (SystemTime, u64),
    /// Lines that it said in this boot.
    said: u32,
}

/// A file on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travel {
    /// Which transfer.
    pub id: TransferId,
    /// How.
    pub protocol: Protocol,
    /// File.
    pub file: Arc<str>,
    /// Bytes to send.
    pub size: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// When it last moved.
    pub moved: SystemTime,
}

/// Lines that one machine says in one boot; more are counted and left out.
const SAID_MAX: u32 = 200;

/// Transfers of one machine that are followed at once.
pub(super) const TRAVELS_MAX: usize = 32;

const ADDRESSES_MAX: usize = 4;

/// A machine that was quiet for this long began anew.
const QUIET: Duration = Duration::from_secs(120);

/// Network boot programs are smaller than this; kernels and images are larger.
const NBP_MAX: u64 = 8 * 1024 * 1024;

const METER: Duration = Duration::from_millis(500);

impl Client {
    pub(super) fn new(id: u64, at: SystemTime) -> Self {
        Self {
            id,
            mac: None,
            addresses: Vec::new(),
            guid: None,
            arch: None,
            asker: None,
            relay: None,
            heard: None,
            identified: None,
            phase: Phase::Asked,
            phase_since: at,
            first_seen: at,
            last_seen: at,
            boots: 1,
            offered: None,
            entry: None,
            boot: None,
            bytes: 0,
            resent: 0,
            rate: 0,
            travels: Vec::new(),
            reason: None,
            timeline: Timeline::default(),
            metered: (at, 0),
            said: 0,
        }
    }

    /// Something travels to it, or has.
    pub(super) fn is_under_way(&self) -> bool {
        self.phase >= Phase::Nbp
    }

    /// Something arrived, so there is a machine where it says: it did not only ask.
    pub(crate) fn has_booted(&self) -> bool {
        self.bytes > 0 || self.entry.is_some()
    }

    /// It began to load something in the boot that got its script at `began`.
    pub(crate) fn has_loaded_since(&self, began: SystemTime) -> bool {
        let later = self.timeline.iter().skip_while(|step| step.at < began);
        let mut of_boot = later.take_while(|step| step.kind != "asked");
        of_boot.any(|step| ["started", "finished"].contains(&step.kind))
    }

    /// The files that it began to load since it got its script, the latest first.
    pub(crate) fn loaded_since_script(&self) -> impl Iterator<Item = &str> {
        let latest = self.timeline.iter().rev().filter(|_| self.entry.is_some());
        let since = latest.take_while(|step| step.kind != "script");
        since
            .filter(|step| step.kind == "started")
            .filter_map(Step::file)
    }

    pub(super) fn takes_address(&mut self, ip: IpAddr) -> Option<IpAddr> {
        if self.addresses.first() == Some(&ip) {
            return None;
        }
        self.addresses.retain(|a| *a != ip);
        self.addresses.insert(0, ip);
        (self.addresses.len() > ADDRESSES_MAX)
            .then(|| self.addresses.pop())
            .flatten()
    }

    /// Takes an event in; gives the step that it makes.
    pub(super) fn apply(&mut self, event: &BootEvent) -> Option<Step> {
        let at = event.at;
        let quiet = at.duration_since(self.last_seen).unwrap_or_default() > QUIET;
        let mut step = match &event.what {
            What::Asked { facts } => Some(self.asked(facts, quiet, at)),
            What::Answered { file } => {
                self.offered = Some(Arc::clone(file));
                self.raise(Phase::Offered, at);
                Some(step(at, "answered", &**file))
            }
            What::Silent { reason } => {
                if self.phase <= Phase::Offered {
                    self.enter(Phase::Silent, at);
                    self.reason = Some(reason.clone());
                }
                Some(because(at, "silent", reason))
            }
            What::Leased => {
                let ip = event.ip.map(|ip| ip.to_string()).unwrap_or_default();
                Some(step(at, "leased", ip))
            }
            What::Script {
                boots,
                because,
                boot,
            } => {
                self.identified = Some(at);
                self.entry = Some(Arc::clone(boots));
                self.boot = *boot;
                self.reason = because.clone();
                let phase = if &**boots == "local" {
                    Phase::Finished
                } else {
                    Phase::Script
                };
                self.enter(phase, at);
                Some(match because {
                    Some(reason) => self::because(at, "script", reason),
                    None => step(at, "script", &**boots),
                })
            }
            What::Approval { code, state, by } => {
                let by = by.as_ref().map(|by| format!(", by {by}"));
                let by = by.unwrap_or_default();
                let text = format!("the request {code} to be let in is {state}{by}");
                Some(step(at, "approval", text))
            }
            What::Said { text } => self.said(text, at),
            What::Queued { place, of } => Some(self.queued(*place, *of, at)),
            What::Reported { milestone, text } => Some(self.reported(*milestone, text, at)),
            What::Started { .. }
            | What::Progress { .. }
            | What::Finished { .. }
            | What::Broken { .. }
            | What::Refused { .. } => self.travel(&event.what, at),
        };
        if !matches!(event.what, What::Approval { .. }) {
            self.last_seen = self.last_seen.max(at);
        }
        if let Some(step) = &mut step {
            step.times = self.timeline.remember(step.clone());
        }
        step
    }

    /// Nothing has moved for a while: all that it asked for has arrived. Gives the step if that is
    /// news.
    pub(super) fn settle(&mut self, now: SystemTime) -> Option<Step> {
        if self.phase != Phase::Loading || !self.travels.is_empty() {
            return None;
        }
        self.enter(Phase::Booted, now);
        let mut step = step(now, "booted", format!("{} bytes in all", self.bytes));
        step.times = self.timeline.remember(step.clone());
        Some(step)
    }

    /// Takes over what was seen of the same machine before its MAC was known.
    pub(super) fn absorb(&mut self, other: Self) {
        self.timeline.absorb(other.timeline);
        if other.last_seen > self.last_seen && other.phase > self.phase {
            self.enter(other.phase, other.phase_since);
            self.reason = other.reason;
        }
        self.entry = self.entry.take().or(other.entry);
        self.boot = self.boot.or(other.boot);
        self.guid = self.guid.or(other.guid);
        self.arch = self.arch.or(other.arch);
        self.heard = self.heard.take().or(other.heard);
        self.identified = self.identified.max(other.identified);
        self.bytes += other.bytes;
        self.resent += other.resent;
        self.travels.extend(other.travels);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        for ip in other.addresses.into_iter().rev() {
            let _ = self.takes_address(ip);
        }
    }

    fn travel(&mut self, what: &What, at: SystemTime) -> Option<Step> {
        match what {
            What::Started {
                id,
                protocol,
                file,
                size,
            } => Some(self.started(*id, *protocol, file, *size, at)),
            What::Progress { id, bytes } => {
                self.moved(*id, *bytes, at);
                None
            }
            What::Finished { id, bytes, resent } => {
                let file = self.ended(*id, *bytes, at);
                self.resent += resent;
                let text = format!("{file}, {bytes} bytes");
                Some(about(file, step(at, "finished", text)))
            }
            What::Broken { id, bytes, reason } => {
                let file = self.ended(*id, *bytes, at);
                self.fail(reason.clone(), at);
                let mut step = because(at, "broken", reason);
                step.text = clean(&format!("{file} after {bytes} bytes: {}", reason.text));
                Some(step)
            }
            What::Refused { file, reason, .. } => {
                if self.needs(file.as_deref(), reason.code) {
                    self.fail(reason.clone(), at);
                }
                let mut step = because(at, "refused", reason);
                if let Some(file) = file {
                    step.text = clean(&format!("{file}: {}", reason.text));
                }
                Some(step)
            }
            _ => None,
        }
    }

    fn started(
        &mut self,
        id: TransferId,
        protocol: Protocol,
        file: &str,
        size: u64,
        at: SystemTime,
    ) -> Step {
        let file: Arc<str> = clean(file).into();
        let loads = self.entry.is_some() || size >= NBP_MAX;
        let phase = if loads { Phase::Loading } else { Phase::Nbp };
        if !self.phase.is_reported() {
            self.enter(phase, at);
        }
        self.reason = None;
        if self.travels.is_empty() {
            self.metered = (at, self.bytes);
        }
        if self.travels.len() == TRAVELS_MAX {
            self.travels.remove(0);
        }
        self.travels.push(Travel {
            id,
            protocol,
            file: Arc::clone(&file),
            size,
            bytes: 0,
            moved: at,
        });
        let text = format!("{file}, {size} bytes by {}", protocol.name());
        about(file, step(at, "started", text))
    }

    fn moved(&mut self, id: TransferId, bytes: u64, at: SystemTime) {
        let Some(travel) = self.travels.iter_mut().find(|t| t.id == id) else {
            return;
        };
        let more = bytes.saturating_sub(travel.bytes);
        travel.bytes += more;
        travel.moved = at;
        self.bytes += more;
        let (since, then) = self.metered;
        let elapsed = at.duration_since(since).unwrap_or_default();
        if elapsed >= METER {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.rate = (self.bytes - then).saturating_mul(1000) / millis;
            self.metered = (at, self.bytes);
        }
    }

    /// Gives the file's name.
    fn ended(&mut self, id: TransferId, bytes: u64, at: SystemTime) -> Arc<str> {
        self.moved(id, bytes, at);
        let found = self.travels.iter().position(|t| t.id == id);
        let travel = found.map(|at| self.travels.remove(at));
        if self.travels.is_empty() {
            self.rate = 0;
        }
        travel.map_or_else(|| "a file".into(), |t| t.file)
    }

    fn asked(&mut self, facts: &Arc<ClientFacts>, quiet: bool, at: SystemTime) -> Step {
        if quiet || self.begins_anew(facts.asker) {
            self.begin(at);
        }
        self.asker = Some(facts.asker);
        self.arch = facts.arches.first().copied().or(self.arch);
        self.guid = facts.guid.or(self.guid);
        self.relay = facts.relay.or(self.relay);
        self.heard = Some(Arc::clone(facts));
        self.identified = Some(at);
        self.raise(Phase::Asked, at);
        let asker = asker_name(facts.asker);
        let arch = facts.arches.first().map(|arch| format!(", {arch}"));
        let relay = facts.relay.map(|relay| format!(" via {relay}"));
        let text = [Some(asker.to_owned()), arch, relay];
        step(at, "asked", text.into_iter().flatten().collect::<String>())
    }

    fn queued(&mut self, place: usize, of: usize, at: SystemTime) -> Step {
        let reason = Reason {
            code: "pacing.queued",
            text: format!("waits, place {place} of {of}").into(),
        };
        let step = because(at, "queued", &reason);
        self.enter(Phase::Queued, at);
        self.reason = Some(reason);
        step
    }

    /// An installer may say thousands of lines.
    fn said(&mut self, text: &str, at: SystemTime) -> Option<Step> {
        self.said = self.said.saturating_add(1);
        (self.said <= SAID_MAX).then(|| step(at, "said", text))
    }

    fn reported(&mut self, milestone: Milestone, text: &str, at: SystemTime) -> Step {
        let (phase, kind) = match milestone {
            Milestone::ClientStarted => (Phase::ClientStarted, milestone.name()),
            Milestone::NetworkUp => (Phase::NetworkUp, milestone.name()),
            Milestone::ImageApplied => (Phase::ImageApplied, milestone.name()),
            Milestone::Finished => (Phase::Finished, "done"),
            Milestone::Failed => {
                let reason = Reason {
                    code: "boot.reported-failure",
                    text: clean(text).into(),
                };
                self.fail(reason.clone(), at);
                return because(at, milestone.name(), &reason);
            }
        };
        self.enter(phase, at);
        self.reason = None;
        step(at, kind, text)
    }

    /// Without this the boot cannot go on: the file that it was offered, a handshake, its script.
    /// Firmware asks for much else that need not be there, and connections end in many ways.
    fn needs(&self, file: Option<&str>, code: &str) -> bool {
        let name = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or("").to_lowercase();
        match (file, &self.offered) {
            (None, _) => {
                let is_needed = ["tls.", "policy."]
                    .iter()
                    .any(|area| code.starts_with(area));
                is_needed && self.phase < Phase::Booted
            }
            (Some(file), Some(offered)) => name(file) == name(offered),
            (Some(_), None) => false,
        }
    }

    fn begins_anew(&self, asker: Asker) -> bool {
        match asker {
            Asker::Firmware | Asker::HttpFirmware => self.phase > Phase::Offered,
            Asker::Ipxe => self.phase >= Phase::Booted,
        }
    }

    fn begin(&mut self, at: SystemTime) {
        self.boots += 1;
        self.offered = None;
        self.entry = None;
        self.boot = None;
        self.said = 0;
        self.bytes = 0;
        self.resent = 0;
        self.rate = 0;
        self.travels.clear();
        self.reason = None;
        self.enter(Phase::Asked, at);
    }

    /// Within one boot iPXE asks DHCP again: that is no step back.
    fn raise(&mut self, phase: Phase, at: SystemTime) {
        if self.phase < phase {
            self.enter(phase, at);
            self.reason = None;
        }
    }

    fn enter(&mut self, phase: Phase, at: SystemTime) {
        if self.phase != phase {
            self.phase = phase;
            self.phase_since = at;
        }
    }

    fn fail(&mut self, reason: Reason, at: SystemTime) {
        self.enter(Phase::Failed, at);
        self.reason = Some(reason);
    }
}

/// As the API spells it.
pub(super) const fn asker_name(asker: Asker) -> &'static str {
    match asker {
        Asker::Firmware => "firmware",
        Asker::HttpFirmware => "http-firmware",
        Asker::Ipxe => "ipxe",
    }
}
