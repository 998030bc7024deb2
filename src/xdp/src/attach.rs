//! Attaching to one interface: native mode, generic mode, and what stands in the way.

use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use rustix::io::Errno;

use crate::error::{XdpError, errno, in_words};
use crate::interfaces::{Attached, Attachment};
use crate::netlink;
use crate::occupant;

/// Where the classifier may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, else in the network stack, else in user space.
    #[default]
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the network stack or not at all.
    Generic,
    /// In user space.
    Off,
}

/// Where a program sits in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Driver,
    Stack,
}

/// Attaches as `mode` says.
pub(crate) fn attach(
    program: &mut Xdp,
    name: &str,
    index: u32,
    mode: Mode,
    replace: bool,
) -> (Attachment, Option<FdLink>) {
    let mut at = |hook| match at_hook(program, name, index, hook) {
        Err(XdpError::Occupied { occupant, .. }) if replace => {
            occupant::detach(name, index, &occupant)?;
            at_hook(program, name, index, hook)
        }
        other => other,
    };
    let (attached, link) = match mode {
        Mode::Off => (Attached::Off, None),
        Mode::Native => match at(Hook::Driver) {
            Ok(link) => (Attached::Native, Some(link)),
            Err(why) => (Attached::None(why), None),
        },
        Mode::Generic => match at(Hook::Stack) {
            Ok(link) => (Attached::Generic(None), Some(link)),
            Err(why) => (Attached::None(why), None),
        },
        Mode::Auto => match at(Hook::Driver) {
            Ok(link) => (Attached::Native, Some(link)),
            Err(no_native @ XdpError::NoNative { .. }) => match at(Hook::Stack) {
                Ok(link) => (Attached::Generic(Some(no_native)), Some(link)),
                Err(why) => (Attached::None(why), None),
            },
            Err(why) => (Attached::None(why), None),
        },
    };
    let attachment = Attachment {
        name: name.to_owned(),
        index,
        attached,
    };
    (attachment, link)
}

fn at_hook(program: &mut Xdp, name: &str, index: u32, hook: Hook) -> Result<FdLink, XdpError> {
    let mode = match hook {
        Hook::Driver => XdpMode::Driver,
        Hook::Stack => XdpMode::Skb,
    };
    let link = program
        .attach_to_if_index(index, mode)
        .and_then(|id| program.take_link(id))
        .map_err(|error| refused(&error, name, index, hook))?;
    FdLink::try_from(link).map_err(|_| {
        // Attached in the way of old kernels, which would outlive this process.
        let _ = netlink::detach(index, hook);
        no_hook(name, hook, "the kernel has no BPF links for XDP".to_owned())
    })
}

fn refused(error: &ProgramError, name: &str, index: u32, hook: Hook) -> XdpError {
    let cause = in_words(error);
    let programs = netlink::programs(index);
    match (errno(error), programs) {
        (_, Err(Errno::NODEV)) => XdpError::InterfaceGone {
            interface: name.to_owned(),
            index,
        },
        (Some(Errno::PERM), _) => XdpError::NoPrivilege { cause },
        (Some(Errno::BUSY | Errno::EXIST), Ok(programs)) => match programs.first() {
            Some(program) => XdpError::Occupied {
                interface: name.to_owned(),
                occupant: occupant::of(program),
                stays: None,
            },
            None => no_hook(name, hook, cause),
        },
        _ => no_hook(name, hook, cause),
    }
}

fn no_hook(name: &str, hook: Hook, cause: String) -> XdpError {
    let interface = name.to_owned();
    match hook {
        Hook::Driver => XdpError::NoNative { interface, cause },
        Hook::Stack => XdpError::NoGeneric { interface, cause },
    }
}
