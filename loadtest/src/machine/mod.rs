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
pub(crate) mod tftp;
pub(crate) mod trace;
pub(crate) mod url;
pub(crate) mod windows;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use behaviour::Behaviour;
use identity::Identity;
use io::{Input, Output};
use plan::Plan;
use trace::Trace;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    identity: Identity,
    behaviour: Behaviour,
    plan: Arc<Plan>,
    address: Ipv4Addr,
    trace: Trace,
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
        }
    }

    /// Presses the power button.
    pub(crate) fn power_on(&mut self, now: Instant, out: &mut Vec<Output>) {
        let _ = (now, out);
    }

    /// Takes one input. After `Event::Ended` nothing more comes out of it.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Instant, out: &mut Vec<Output>) {
        let _ = (input, now, out);
    }

    /// When it wants [`Input::Timeout`]; `None` while it waits for nothing or has ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        None
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
}
