//! The packet classifier: its half in the kernel and its half in the data plane, what both decide
//! by, and what they did.

mod neighbours;
mod roster;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::anyhow;
use bootstorm_config::{Config, ListenAt, Xdp};
use bootstorm_control::classifier::{Attachment, Dropped, RecentlyDropped, Standing};
use bootstorm_ebpf_shared::{Cause, Class, Count, Ports, Sample, Table};
use bootstorm_engine::gate::{self, GateSettings};
use bootstorm_engine::{Bound, Opened};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::{BootEvent, Reason, What};
use bootstorm_telemetry::metrics::Place;
use bootstorm_xdp::{Attached, Mode, XdpConfig, XdpError};
use crossbeam_channel::Sender;
use tracing::{debug, info, warn};

use crate::network;
use roster::Lists;
pub(crate) use table::table;

/// Both halves.
pub(crate) struct Classifier {
    kernel: bootstorm_xdp::Classifier,
    /// Who else on this host takes DHCP, a line each.
    neighbours: Vec<String>,
    in_force: Mutex<InForce>,
    dropped: Arc<RecentlyDropped>,
}

/// What both halves were told.
#[derive(Debug)]
struct InForce {
    table: Table,
    lists: Lists,
    /// The kernel holds all of the lists.
    fits: bool,
    /// The half in the data plane, once there is one.
    gate: Option<Arc<GateSettings>>,
}

impl Classifier {
    /// Attaches the kernel's half. To be called before the ports are open and before there are
    /// threads that keep its privileges.
    ///
    /// # Errors
    /// Interfaces that are not there; what keeps it from the kernel when that was asked for.
    pub(crate) fn start(config: &Config, events: Sender<BootEvent>) -> anyhow::Result<Self> {
        let interfaces = interfaces(config)?;
        let neighbours = neighbours::look(config, &interfaces);
        for line in &neighbours {
            info!("{line}: DHCP that is not for PXE, or that makes no sense, passes");
        }
        let table = table(config, !neighbours.is_empty());
        let dropped = Arc::new(RecentlyDropped::default());
        let kernel = bootstorm_xdp::Classifier::start(
            XdpConfig {
                mode: mode(config.xdp),
                replace: config.xdp_replace,
                interfaces: neighbours::lowest(&interfaces),
                table,
            },
            report(Arc::clone(&dropped), events, interfaces),
        )
        .map_err(|error| anyhow!("{error} [{}]", error.code()))?;
        say_where(&kernel.attachments());
        let in_force = InForce {
            table,
            lists: Lists::of(config),
            fits: true,
            gate: None,
        };
        Ok(Self {
            kernel,
            neighbours,
            in_force: Mutex::new(in_force),
            dropped,
        })
    }

    /// Joins the half in the data plane, before its workers run. Ports that it did not get are
    /// somebody else's on this host: what goes there passes.
    pub(crate) fn join(&self, engine: &Opened) {
        let mut in_force = self.in_force();
        let gate = engine.gate();
        in_force.gate = Some(Arc::clone(gate));
        bind(&mut in_force.table.settings.ports, engine.bound());
        self.tell_table(&in_force);
        self.tell_lists(&mut in_force);
    }

    /// Takes rates, rules and bans of a configuration that was read again.
    pub(crate) fn configure(&self, config: &Config) {
        let mut in_force = self.in_force();
        let mut table = table(config, !self.neighbours.is_empty());
        table.settings.ports = in_force.table.settings.ports;
        in_force.table = table;
        self.tell_table(&in_force);
        in_force.lists.configure(config);
        self.tell_lists(&mut in_force);
    }

    /// Takes the machines that have booted here before.
    pub(crate) fn know(&self, machines: impl IntoIterator<Item = MacAddress>) {
        let mut in_force = self.in_force();
        in_force.lists.know(machines);
        self.tell_lists(&mut in_force);
    }

    fn tell_table(&self, in_force: &InForce) {
        if let Some(gate) = &in_force.gate {
            gate.set_table(in_force.table);
        }
        if let Err(error) = self.kernel.set_table(&in_force.table) {
            warn!(
                code = error.code(),
                "the kernel keeps the old rules: {error}"
            );
        }
    }

    fn tell_lists(&self, in_force: &mut InForce) {
        let roster = in_force.lists.roster();
        let told = self.kernel.set_roster(&roster);
        if let Some(gate) = &in_force.gate {
            gate.set_roster(gate::Roster {
                known: roster.known,
                banned_macs: roster.banned_macs,
                banned_guids: roster.banned_guids,
            });
        }
        let fits = !matches!(told, Err(XdpError::MapFull(_)));
        match told {
            Err(XdpError::MapFull(_)) if !in_force.fits => {}
            Err(error) => warn!(code = error.code(), "{error}"),
            Ok(()) => {}
        }
        in_force.fits = fits;
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl bootstorm_control::Classifier for Classifier {
    fn attachments(&self) -> Vec<Attachment> {
        let reason = |error: &XdpError| Reason {
            code: error.code(),
            text: error.to_string().into(),
        };
        let attachments = self.kernel.attachments().into_iter();
        attachments
            .map(|attachment| Attachment {
                mode: attachment.attached.name(),
                reason: attachment.attached.why().map(reason),
                interface: attachment.name,
            })
            .collect()
    }

    fn notes(&self) -> Vec<String> {
        self.neighbours.clone()
    }

    fn table(&self) -> Table {
        self.in_force().table
    }

    fn counts(&self, place: Place) -> Vec<Count> {
        match place {
            Place::Xdp => match self.kernel.counts() {
                Ok(counts) => counts.to_vec(),
                Err(error) => {
                    debug!(code = error.code(), "{error}");
                    Vec::new()
                }
            },
            Place::User => {
                let gate = self.in_force().gate.clone();
                gate.map_or_else(Vec::new, |gate| gate.counts().to_vec())
            }
        }
    }

    fn dropped(&self) -> Vec<Dropped> {
        self.dropped.all()
    }

    fn standing(&self, mac: MacAddress) -> Standing {
        let in_force = self.in_force();
        let by_gate = in_force
            .gate
            .as_ref()
            .map(|gate| gate.refused(&mac.bytes()));
        let by_kernel = self.kernel.refused(&mac.bytes());
        Standing {
            is_known: in_force.lists.knows(mac),
            is_banned: in_force.lists.bans(mac),
            refused: by_kernel.unwrap_or(0) + by_gate.unwrap_or(0),
        }
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("attachments", &self.kernel.attachments())
            .finish_non_exhaustive()
    }
}

/// Those that are answered on: the ones that are named, else all that are up but loopback; none
/// where nobody from outside can ask.
fn interfaces(config: &Config) -> anyhow::Result<Vec<(String, u32)>> {
    let is_heard = |at: &ListenAt| at.address().is_some_and(|at| !at.ip().is_loopback());
    let listen = &config.listen;
    let interfaces = if config.interfaces.is_empty() {
        if ![&listen.dhcp, &listen.pxe, &listen.tftp]
            .into_iter()
            .any(is_heard)
        {
            return Ok(Vec::new());
        }
        let mut all = network::interfaces()?;
        all.retain(|interface| interface.up && !interface.loopback);
        all
    } else {
        network::chosen(&config.interfaces)?
    };
    Ok(interfaces.into_iter().map(|i| (i.name, i.index)).collect())
}

const fn mode(xdp: Xdp) -> Mode {
    match xdp {
        Xdp::Auto => Mode::Auto,
        Xdp::Native => Mode::Native,
        Xdp::Generic => Mode::Generic,
        Xdp::Off => Mode::Off,
    }
}

/// A line for each interface; one for all of them where the reason is the host's.
fn say_where(attachments: &[bootstorm_xdp::Attachment]) {
    for attachment in attachments {
        match &attachment.attached {
            Attached::None(why @ (XdpError::NoPrivilege { .. } | XdpError::NoKernel { .. })) => {
                info!(
                    code = why.code(),
                    "packets are sorted by the server itself: {why}"
                );
                return;
            }
            Attached::Off => debug!("{attachment}"),
            Attached::Native | Attached::Generic(_) | Attached::None(_) => info!("{attachment}"),
        }
    }
}

fn bind(ports: &mut Ports, bound: &[Bound]) {
    let [http, https, ..] = &mut ports.boot;
    for (name, port) in [
        ("dhcp", &mut ports.dhcp),
        ("pxe", &mut ports.pxe),
        ("tftp", &mut ports.tftp),
        ("http", http),
        ("https", https),
    ] {
        if let Some(bound) = bound.iter().find(|bound| bound.name == name) {
            *port = bound.address.map_or(0, |address| address.port());
        }
    }
}

/// What becomes of a sample: it is kept, and stands in the history of the machine that asked.
fn report(
    dropped: Arc<RecentlyDropped>,
    events: Sender<BootEvent>,
    interfaces: Vec<(String, u32)>,
) -> impl FnMut(Sample) + Send {
    move |sample| {
        let at = SystemTime::now();
        let name = interfaces
            .iter()
            .find(|(_, index)| *index == sample.interface);
        let name = name.map_or_else(|| sample.interface.to_string(), |(name, _)| name.clone());
        dropped.keep(at, name, sample);
        // A full queue has lost more important events.
        let _ = event(at, &sample).map(|event| events.try_send(event));
    }
}

/// Only machines that boot have a history.
fn event(at: SystemTime, sample: &Sample) -> Option<BootEvent> {
    let class = Class::all().nth(sample.class.into())?;
    let cause = Cause::of(sample.cause)?;
    let reason = Reason {
        code: cause.code()?,
        text: cause.text().into(),
    };
    (class.boots() && sample.mac != [0; 6]).then_some(BootEvent {
        at,
        mac: Some(MacAddress::new(sample.mac)),
        ip: None,
        what: What::Silent { reason },
    })
}

#[cfg(test)]
mod tests {
    use bootstorm_ebpf_shared::{Family, HEAD};

    use super::*;

    fn sample(class: Class, cause: Cause, mac: [u8; 6]) -> Sample {
        Sample {
            at: 1,
            interface: 7,
            length: 390,
            captured: 128,
            class: class.number(),
            cause: cause.number(),
            mac,
            head: [0; HEAD],
        }
    }

    #[test]
    fn a_dropped_request_stands_in_the_history_of_its_machine_and_a_phone_has_none() {
        let mac = [0x52, 0x54, 0, 0, 0, 1];
        let firmware = Class::Firmware(Family::X64);
        let (events, heard) = crossbeam_channel::unbounded();
        let dropped = Arc::new(RecentlyDropped::default());
        let mut report = report(Arc::clone(&dropped), events, vec![("eth7".to_owned(), 7)]);
        report(sample(firmware, Cause::MachineRate, mac));
        report(sample(Class::DhcpNotPxe, Cause::Rule, mac));
        report(sample(firmware, Cause::BannedMac, [0; 6]));
        let event = heard.try_recv().unwrap();
        assert_eq!(event.mac, Some(MacAddress::new(mac)));
        let What::Silent { reason } = event.what else {
            panic!("{event:?}")
        };
        assert_eq!(reason.code, "classifier.machine-rate");
        assert_eq!(reason.text, "dropped by the classifier: per-MAC rate");
        assert!(heard.try_recv().is_err());
        assert_eq!(dropped.all().len(), 3);
        assert_eq!(dropped.all()[0].interface, "eth7");
    }

    #[test]
    fn a_server_for_this_host_alone_leaves_the_interfaces_alone() {
        let mut config = Config::for_user();
        for listener in ["dhcp=off", "pxe=127.0.0.1:0", "tftp=127.0.0.1:0"] {
            config.listen.set(listener).unwrap();
        }
        assert_eq!(interfaces(&config).unwrap(), []);
        config.interfaces = vec!["lo".parse().unwrap()];
        assert_eq!(interfaces(&config).unwrap().len(), 1);
    }

    #[test]
    fn a_port_that_somebody_else_has_is_not_ours() {
        let mut ports = Ports::default();
        let bound = |name, address: Option<&str>| Bound {
            name,
            address: address.map(|text| text.parse().unwrap()),
            note: None,
        };
        bind(
            &mut ports,
            &[
                bound("dhcp", None),
                bound("http", Some("127.0.0.1:41234")),
                bound("dhcp6", Some("[::]:547")),
            ],
        );
        assert_eq!((ports.dhcp, ports.pxe), (0, 4011));
        assert_eq!(ports.boot, [41_234, 8050, 8051, 0]);
    }
}
