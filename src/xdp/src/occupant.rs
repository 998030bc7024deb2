//! Who else is at an interface, and taking it off.

use std::fmt;

use aya::programs::loaded_programs;
use rustix::io::Errno;

use crate::attach::Hook;
use crate::error::XdpError;
use crate::netlink::{self, AttachedProgram};
use crate::other_links;
use crate::program;

/// An XDP program that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its number, as `bpftool prog` shows it.
    pub id: u32,
    /// Its name; only CAP_SYS_ADMIN is told.
    pub name: Option<String>,
    hook: Hook,
}

impl Occupant {
    pub(crate) const fn new(id: u32, name: Option<String>, hook: Hook) -> Self {
        Self { id, name, hook }
    }
}

/// The program with its name.
pub(crate) fn of(program: &AttachedProgram) -> Occupant {
    let info = loaded_programs()
        .flatten()
        .find(|info| info.id() == program.id);
    let name = info.and_then(|info| info.name_as_str().map(str::to_owned));
    Occupant::new(program.id, name, program.hook)
}

/// Takes it off, whether a link holds it or nothing.
pub(crate) fn detach(name: &str, index: u32, occupant: &Occupant) -> Result<(), XdpError> {
    let detached = match other_links::find(index, occupant.id) {
        Ok(Some(link)) => other_links::detach(&link),
        Ok(None) => netlink::detach(index, occupant.hook),
        // Who may not look for links may still take off what no link holds.
        Err(refused) => netlink::detach(index, occupant.hook).map_err(|errno| match errno {
            Errno::BUSY => refused,
            other => other,
        }),
    };
    detached.map_err(|errno| XdpError::Occupied {
        interface: name.to_owned(),
        occupant: occupant.clone(),
        stays: Some(errno),
    })?;
    tracing::warn!(interface = name, "{occupant} was replaced");
    Ok(())
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, hook } = self;
        let mode = match hook {
            Hook::Driver => "native",
            Hook::Stack => "generic",
        };
        match name.as_deref() {
            Some(program::NAME) => write!(f, "another bootstorm (XDP program {id}, {mode})"),
            Some(name) => write!(f, "XDP program {id} ({name}, {mode})"),
            None => write!(f, "XDP program {id} ({mode})"),
        }
    }
}
