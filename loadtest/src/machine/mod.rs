//! One simulated machine: from the power button to the last byte of its image. Sans-IO: packets
//! and time in, packets and events out.

pub(crate) mod behaviour;
pub(crate) mod body;
pub(crate) mod dhcp;
pub(crate) mod event;
pub(crate) mod fetch;
pub(crate) mod http;
pub(crate) mod httpboot;
pub(crate) mod identity;
pub(crate) mod io;
pub(crate) mod ipxe;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod query;
pub(crate) mod tftp;
pub(crate) mod trace;
pub(crate) mod url;
mod walk;
pub(crate) mod windows;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use behaviour::{Behaviour, Nuisance, Trouble};
use event::{Event, Outcome, Phase};
use identity::Identity;
use io::{Input, Life, Output, Progress, Step as _, World};
use plan::Plan;
use trace::{Trace, Way};
use walk::Walk;

use crate::finding::{Code, Finding};

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    identity: Identity,
    behaviour: Behaviour,
    plan: Arc<Plan>,
    address: Ipv4Addr,
    trace: Trace,
    life: Life,
    power: Power,
    pause: Option<Pause>,
    /// How long it stood still since it was switched on.
    still: Duration,
    /// Its trouble has come.
    troubled: bool,
    /// Boots that failed, after which it began again.
    failures: u32,
    /// Bytes of files since the storm began.
    received: u64,
    nuisance: Option<Box<Nuisance>>,
}

#[derive(Debug)]
enum Power {
    /// Switched off, before its boot.
    Off,
    /// It boots.
    On { since: Instant, walk: Walk },
    /// Switched off until then.
    Away(Instant),
    /// It is through.
    Ended,
}

/// What firmware takes from one try to the next.
const AGAIN: Duration = Duration::from_secs(2);

/// It stands still, and its clock too.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Instant,
    until: Instant,
}

impl Machine {
    /// A machine that is switched off.
    pub(crate) fn new(identity: Identity, behaviour: Behaviour, plan: Arc<Plan>) -> Self {
        Self {
            identity,
            behaviour,
            plan,
            address: Ipv4Addr::UNSPECIFIED,
            trace: Trace::default(),
            life: Life::default(),
            power: Power::Off,
            pause: None,
            still: Duration::ZERO,
            troubled: false,
            failures: 0,
            received: 0,
            nuisance: Nuisance::of(behaviour.trouble),
        }
    }

    /// Presses the power button.
    pub(crate) fn power_on(&mut self, now: Instant, out: &mut Vec<Output>) {
        let begin = out.len();
        self.address = Ipv4Addr::UNSPECIFIED;
        self.still = Duration::ZERO;
        self.life.forget_boot();
        self.trace
            .note(now, Way::Itself, || "switched on".to_owned());
        out.push(Output::Event(Event::PoweredOn));
        let walk = self.step(now, out, Walk::start);
        self.power = Power::On { since: now, walk };
        self.annoy(begin, out);
    }

    /// Takes one input. After `Event::Ended` nothing more comes out of it.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Instant, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.power, Power::Ended) {
            Power::Off => self.power = Power::Off,
            Power::Ended => {}
            Power::Away(until) if now >= until => self.power_on(now, out),
            Power::Away(until) => self.power = Power::Away(until),
            Power::On { since, .. } if now >= since + self.plan.patience => {
                let finding = self.impatient();
                self.power = self.fail(finding, now, out);
            }
            Power::On { since, mut walk } => {
                let end = self.boot(&mut walk, input, now, out);
                match end {
                    None => self.power = Power::On { since, walk },
                    Some(power) => self.power = power,
                }
            }
        }
    }

    /// When it wants [`Input::Timeout`]; `None` while it waits for nothing or has ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.power {
            Power::Off | Power::Ended => None,
            Power::Away(until) => Some(*until),
            Power::On { since, walk } => {
                let next = match (self.pause, &self.nuisance) {
                    (Some(pause), _) => Some(pause.until),
                    (None, Some(nuisance)) if nuisance.holds() => nuisance.deadline(),
                    (None, _) => walk.deadline().map(|at| at + self.still),
                };
                let patience = *since + self.plan.patience;
                Some(next.map_or(patience, |next| next.min(patience)))
            }
        }
    }

    /// Its address; unspecified until it has one.
    pub(crate) const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Who it is.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its last packets.
    pub(crate) const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Takes an input while it boots; `Some` is what its power becomes.
    fn boot(
        &mut self,
        walk: &mut Walk,
        input: Input<'_>,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<Power> {
        let begin = out.len();
        if !self.is_awake(input, now, out) {
            return None;
        }
        if let Some(nuisance) = &mut self.nuisance
            && nuisance.takes(input, now, out)
        {
            return None;
        }
        let progress = self.step(now, out, |world| walk.handle(input, world));
        self.annoy(begin, out);
        match progress {
            Progress::Done(outcome) => Some(self.finish(outcome, now, out)),
            Progress::Failed(finding) => Some(self.fail(finding, now, out)),
            Progress::Going if self.is_far_enough() => {
                self.step(now, out, |world| world.reached(Phase::Booted));
                Some(self.finish(Outcome::Booted, now, out))
            }
            Progress::Going => self.trouble(begin, now, out),
        }
    }

    /// Lets a step do something. Its clock is behind by the time that the machine stood still.
    fn step<T>(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
        doing: impl FnOnce(&mut World<'_>) -> T,
    ) -> T {
        let mut world = World {
            now: now.checked_sub(self.still).unwrap_or(now),
            identity: &self.identity,
            address: self.address,
            plan: &self.plan,
            life: &mut self.life,
            trace: &mut self.trace,
            out,
        };
        let done = doing(&mut world);
        self.address = world.address;
        done
    }

    /// False while it stands still. Datagrams are lost then, what the stream holds is not.
    fn is_awake(&mut self, input: Input<'_>, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some(pause) = self.pause else {
            return true;
        };
        if now >= pause.until {
            self.pause = None;
            self.still += now.saturating_duration_since(pause.from);
            self.trace.note(now, Way::Itself, || "goes on".to_owned());
            out.push(Output::Resume);
            return true;
        }
        !matches!(
            input,
            Input::Timeout | Input::Dhcp { .. } | Input::Datagram { .. } | Input::Unreachable(_)
        )
    }

    /// What the scenario's trouble makes of it, once enough bytes are there.
    fn trouble(&mut self, begin: usize, now: Instant, out: &mut Vec<Output>) -> Option<Power> {
        let fresh = out.get(begin..).unwrap_or_default();
        self.received += fresh
            .iter()
            .map(|output| match output {
                Output::Event(Event::Received(_, bytes)) => *bytes,
                _ => 0,
            })
            .sum::<u64>();
        let Behaviour {
            trouble,
            pause,
            after,
        } = self.behaviour;
        if self.troubled || self.received == 0 || self.received < after {
            return None;
        }
        let until = now + pause;
        match trouble {
            Trouble::None | Trouble::ComeBack | Trouble::Retry | Trouble::Rubbish => return None,
            Trouble::Stall => {
                self.pause = Some(Pause { from: now, until });
                out.push(Output::Pause);
            }
            Trouble::Reset | Trouble::Vanish => out.push(Output::PowerOff),
        }
        self.troubled = true;
        self.trace
            .note(now, Way::Itself, || format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Reset => Some(Power::Away(until)),
            Trouble::Vanish => {
                out.push(Output::Event(Event::Ended(Outcome::Left)));
                Some(Power::Ended)
            }
            _ => None,
        }
    }

    fn is_far_enough(&self) -> bool {
        self.plan.until < Phase::Booted && self.life.has_reached(self.plan.until)
    }

    fn finish(&mut self, outcome: Outcome, now: Instant, out: &mut Vec<Output>) -> Power {
        if self.behaviour.trouble == Trouble::ComeBack && !self.troubled {
            self.troubled = true;
            out.push(Output::PowerOff);
            return Power::Away(now + self.behaviour.pause);
        }
        out.push(Output::Event(Event::Ended(outcome)));
        Power::Ended
    }

    fn fail(&mut self, finding: Finding, now: Instant, out: &mut Vec<Output>) -> Power {
        self.trace
            .note(now, Way::Itself, || format!("failed: {finding}"));
        out.push(Output::PowerOff);
        self.failures += 1;
        if self.failures < self.plan.tries {
            out.push(Output::Event(Event::Deviation(finding)));
            return Power::Away(now + AGAIN);
        }
        out.push(Output::Event(Event::Ended(Outcome::Failed(finding))));
        Power::Ended
    }

    fn impatient(&self) -> Finding {
        let phases = Phase::ALL.iter().rev();
        let got = phases.copied().find(|phase| self.life.has_reached(*phase));
        let got = got.map_or("nothing", Phase::name);
        let last = self.trace.lines().last();
        let last = last.map_or("", |(_, _, text)| text);
        let patience = self.plan.patience;
        let evidence = format!("after {patience:?} it had reached {got:?}; at last: {last}");
        Finding::new(Code::TimedOut, evidence)
    }

    /// Adds to the outputs from `begin` on what a nuisance sends besides.
    fn annoy(&mut self, begin: usize, out: &mut Vec<Output>) {
        if let Some(nuisance) = &mut self.nuisance {
            let fresh = out.split_off(begin);
            nuisance.adds(fresh, out);
        }
    }
}

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
