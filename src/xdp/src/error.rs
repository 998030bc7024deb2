//! What keeps the classifier out of the kernel, with the evidence and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::occupant::Occupant;

/// Why the classifier is not in the kernel, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XdpError {
    /// The kernel lets only privileged programs do this.
    #[error(
        "no privilege for XDP: {cause}; it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON at the \
         start: `AmbientCapabilities=` in the systemd unit, `setcap \
         cap_bpf,cap_net_admin,cap_perfmon=+ep` on the program, in a container also a seccomp profile that lets bpf(2) through"
    )]
    NoPrivilege {
        /// The call and what the kernel answered.
        cause: String,
    },
    /// The kernel does not know BPF, or is too old for the program.
    #[error(
        "Linux {release} does not take the classifier: {cause}{}; it takes Linux 5.18 or later \
         with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT",
        in_brackets(verifier)
    )]
    NoKernel {
        /// The kernel's release.
        release: String,
        /// The call and what the kernel answered.
        cause: String,
        /// The last lines of the verifier's log; the whole log is logged at the debug level.
        verifier: Vec<String>,
    },
    /// The driver has no XDP, or not as the interface is set up.
    #[error(
        "{interface}: no native XDP: {cause}; jumbo frames, too many queues or LRO may be in its \
         way (the kernel's log has the driver's words), or the driver has none: `--xdp generic` \
         or `--xdp auto`"
    )]
    NoNative {
        /// The interface.
        interface: String,
        /// The call and what the kernel answered.
        cause: String,
    },
    /// Not even the network stack runs the program for this interface.
    #[error("{interface}: no generic XDP: {cause}; `--xdp auto` goes on without")]
    NoGeneric {
        /// The interface.
        interface: String,
        /// The call and what the kernel answered.
        cause: String,
    },
    /// Another program is there.
    #[error(
        "{interface}: {occupant} is there{}; stop what put it there, or take its place by \
         `--xdp-replace`",
        in_spite(*stays)
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program.
        occupant: Occupant,
        /// Why it could not be replaced, where that was asked for.
        stays: Option<Errno>,
    },
    /// The interface is gone, or was never there.
    #[error(
        "{interface} (index {index}) is gone, and the classifier with it; restart the server when \
         it is back"
    )]
    InterfaceGone {
        /// The interface.
        interface: String,
        /// The index that it had.
        index: u32,
    },
    /// Somebody took it off a running server.
    #[error(
        "{interface}: the classifier was taken off, perhaps by `--xdp-replace` of another server; \
         restart this one to put it back"
    )]
    Detached {
        /// The interface.
        interface: String,
    },
    /// More than the maps hold. What fits is in force.
    #[error("{}", joined(.0))]
    MapFull(Vec<Full>),
    /// A map could not be read or written.
    #[error("map {map}: {cause}; restart the server")]
    Map {
        /// Its name in the program.
        map: &'static str,
        /// The call and what the kernel answered.
        cause: String,
    },
    /// The thread that reads samples could not be started.
    #[error("the classifier's thread cannot be started: {0}; see the limit of tasks")]
    Thread(Errno),
    /// Capabilities could not be given up.
    #[error("capabilities cannot be given up: {0}; a seccomp profile may forbid capset(2)")]
    Capabilities(String),
}

/// A map that does not hold everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// What it holds.
    pub what: &'static str,
    /// How many of them are in.
    pub fit: usize,
    /// How many there are.
    pub asked: usize,
    /// What happens to the rest.
    pub rest: &'static str,
}

impl XdpError {
    /// The stable reason code, documented in docs/reference/reasons.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPrivilege { .. } => "xdp.no-privilege",
            Self::NoKernel { .. } => "xdp.no-kernel",
            Self::NoNative { .. } => "xdp.no-native",
            Self::NoGeneric { .. } => "xdp.no-generic",
            Self::Occupied { .. } => "xdp.occupied",
            Self::InterfaceGone { .. } => "xdp.interface-gone",
            Self::Detached { .. } => "xdp.detached",
            Self::MapFull(_) => "xdp.map-full",
            Self::Map { .. } => "xdp.map",
            Self::Thread(_) => "xdp.thread",
            Self::Capabilities(_) => "xdp.capabilities",
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            fit,
            asked,
            rest,
        } = self;
        write!(f, "{fit} of {asked} {what} fit into the kernel; {rest}")
    }
}

/// What the kernel answered, at the bottom of an error.
pub(crate) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Errno::from_io_error(io);
        }
        next = error.source();
    }
    None
}

/// An error and what is below it, in one line.
pub(crate) fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        next = error.source();
    }
    words.replace('\n', " ")
}

fn in_brackets(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(" [{}]", lines.join(" | "))
}

fn in_spite(refused: Option<Errno>) -> String {
    refused.map_or_else(String::new, |errno| {
        format!(" and cannot be detached ({errno})")
    })
}

fn joined(fulls: &[Full]) -> String {
    let lines: Vec<String> = fulls.iter().map(Full::to_string).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::attach::Hook;

    fn one_of_each() -> Vec<XdpError> {
        let cause = || "bpf: no".to_owned();
        let interface = || "eth0".to_owned();
        vec![
            XdpError::NoPrivilege { cause: cause() },
            XdpError::NoKernel {
                release: "4.19.0".to_owned(),
                cause: cause(),
                verifier: vec!["back-edge".to_owned()],
            },
            XdpError::NoNative {
                interface: interface(),
                cause: cause(),
            },
            XdpError::NoGeneric {
                interface: interface(),
                cause: cause(),
            },
            XdpError::Occupied {
                interface: interface(),
                occupant: Occupant::new(7, Some("filter".to_owned()), Hook::Driver),
                stays: Some(Errno::PERM),
            },
            XdpError::InterfaceGone {
                interface: interface(),
                index: 3,
            },
            XdpError::Detached {
                interface: interface(),
            },
            XdpError::MapFull(vec![Full {
                what: "known machines",
                fit: 2,
                asked: 3,
                rest: "the rest wait",
            }]),
            XdpError::Map {
                map: "RULES",
                cause: cause(),
            },
            XdpError::Thread(Errno::AGAIN),
            XdpError::Capabilities(cause()),
        ]
    }

    #[test]
    fn every_code_is_documented_and_every_documented_one_exists() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/reasons.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let documented: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `xdp."))
            .filter_map(|line| line.split('`').next())
            .collect();
        let errors = one_of_each();
        let codes: BTreeSet<&str> = errors
            .iter()
            .filter_map(|error| error.code().strip_prefix("xdp."))
            .collect();
        assert_eq!(codes, documented);
        assert_eq!(codes.len(), errors.len());
    }

    #[test]
    fn each_is_one_line_with_its_evidence() {
        for error in one_of_each() {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        }
        let [privilege, kernel, ..] = &one_of_each()[..] else {
            panic!("two at least")
        };
        assert!(privilege.to_string().contains("bpf: no"));
        assert!(kernel.to_string().contains("4.19.0"));
        assert!(kernel.to_string().contains("[back-edge]"));
    }

    #[test]
    fn the_answer_of_the_kernel_is_found_below_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("attaching failed")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::from_raw_os_error(libc::EBUSY));
        assert_eq!(errno(&error), Some(Errno::BUSY));
        assert_eq!(
            in_words(&error),
            "attaching failed: Device or resource busy (os error 16)"
        );
    }
}
