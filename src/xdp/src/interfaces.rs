//! The interfaces, what was attached to each, and the links that keep it there.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::programs::links::FdLink;

use rustix::io::Errno;

use crate::error::XdpError;
use crate::netlink;

/// An interface, and how its packets meet the classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface's name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// How.
    pub attached: Attached,
}

/// How packets of an interface meet the classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the network stack, and, in [`Auto`](crate::Mode::Auto), why not in the driver.
    Generic(Option<XdpError>),
    /// Only in user space, and why.
    None(XdpError),
    /// Only in user space, as wished.
    Off,
}

impl Attached {
    /// The name, as labels of metrics spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic(_) => "generic",
            Self::None(_) => "none",
            Self::Off => "off",
        }
    }

    /// Whether the kernel classifies.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        matches!(self, Self::Native | Self::Generic(_))
    }

    /// Why it is not more than it is.
    #[must_use]
    pub const fn why(&self) -> Option<&XdpError> {
        match self {
            Self::Generic(why) => why.as_ref(),
            Self::None(why) => Some(why),
            Self::Native | Self::Off => None,
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.attached {
            Attached::Native => write!(f, "{name}: classifier in native XDP"),
            Attached::Generic(_) => write!(f, "{name}: classifier in generic XDP"),
            Attached::None(_) | Attached::Off => write!(f, "{name}: classifier in user space"),
        }?;
        match self.attached.why() {
            Some(why) => write!(f, " ({why}) [{}]", why.code()),
            None => Ok(()),
        }
    }
}

/// All of them. A link detaches when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    all: Mutex<Vec<(Attachment, Option<FdLink>)>>,
    /// The program's number.
    program: u32,
}

impl Interfaces {
    pub(crate) fn new(all: Vec<(Attachment, Option<FdLink>)>, program: u32) -> Self {
        let all = Mutex::new(all);
        Self { all, program }
    }

    /// The same end for every interface.
    pub(crate) fn all(interfaces: Vec<(String, u32)>, attached: &Attached) -> Self {
        let attachment = |(name, index)| Attachment {
            name,
            index,
            attached: attached.clone(),
        };
        let all = interfaces.into_iter().map(|i| (attachment(i), None));
        Self::new(all.collect(), 0)
    }

    pub(crate) fn attachments(&self) -> Vec<Attachment> {
        let all = self.lock();
        all.iter()
            .map(|(attachment, _)| attachment.clone())
            .collect()
    }

    /// Looks whether the program is still where it was attached; tells what was lost since.
    pub(crate) fn look(&self) -> Vec<XdpError> {
        let mut lost = Vec::new();
        for (attachment, link) in self.lock().iter_mut() {
            if !attachment.attached.is_attached() {
                continue;
            }
            let interface = attachment.name.clone();
            let why = match netlink::programs(attachment.index) {
                Ok(programs) if programs.iter().all(|p| p.id != self.program) => {
                    XdpError::Detached { interface }
                }
                Err(Errno::NODEV) => XdpError::InterfaceGone {
                    interface,
                    index: attachment.index,
                },
                _ => continue,
            };
            attachment.attached = Attached::None(why.clone());
            // It may live on in another namespace, where none of our addresses are its own.
            *link = None;
            lost.push(why);
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Attachment, Option<FdLink>)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
