//! Who is answered, with what.
//!
//! [`Policy`] holds three immutable tables that are replaced as a whole, never changed: the
//! [`Rules`] of the configuration, the assignments of the store and the ports that are bound. A
//! decision reads each once, so it is made from one moment's state and waits for nobody.
#![forbid(unsafe_code)]

pub mod chain;
mod decide;
pub mod decision;
mod facts;
mod identity;
mod machines;
mod nbp;
mod plan;
pub mod providers;
mod rules;
pub mod script;
mod token;
mod urls;
mod version;

pub use decide::Policy;
pub use facts::{Facts, Stage};
pub use identity::Identity;
pub use machines::{Machine, MachineTable};
pub use nbp::candidates;
pub use plan::{BootPlan, Choice, Menu};
pub use rules::{Assignment, Assignments, Ports, Rules};
pub use token::{BootId, TokenError, Tokens};
pub use urls::Urls;
pub use version::{BiosVersion, version_lt};
