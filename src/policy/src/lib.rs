//! Who is answered, with what.
//!
//! Facts of a machine become its [`Identity`], and the [`chain`] of providers decides what it boots.
//! [`Policy`] holds what that takes as snapshots: the [`Rules`] of the configuration, the
//! [`MachineTable`] of the store, the [`Answers`] of remote providers and the ports that are bound.
//! A decision reads them and waits for nobody.
#![forbid(unsafe_code)]

mod answers;
mod approvals;
mod cache;
pub mod chain;
mod decide;
mod decided;
pub mod decision;
mod elsewhere;
mod explain;
mod facts;
mod identity;
mod machines;
pub mod matcher;
mod menus;
mod nbp;
mod offer;
mod places;
mod plan;
pub mod providers;
mod resolve;
mod rules;
pub mod script;
mod template;
mod token;
mod told;
mod trail;
mod urls;
mod version;
mod wds;
pub mod windows;
mod winpe;

pub use answers::{Answered, Answers, MachineKey};
pub use approvals::{ApprovalTable, Standing};
pub use decide::{Asked, Policy, WindowsContent};
pub use explain::{Explanation, Part, Reply, typical_requests};
pub use facts::{Facts, Stage};
pub use identity::{Duplicate, Evidence, Identity, IdentityRules};
pub use machines::{Machine, MachineTable};
pub use menus::Menus;
pub use nbp::candidates;
pub use places::Place;
pub use plan::{BootPlan, Choice, Does, Item, Menu, Page, Pages, Question};
pub use rules::{Ports, Rules, lint};
pub use template::{Call, TemplateError, Templates};
pub use token::{BootId, TokenError, Tokens};
pub use told::Decided;
pub use urls::Urls;
pub use version::{BiosVersion, version_lt};
pub use winpe::{MadeFile, Origin};
