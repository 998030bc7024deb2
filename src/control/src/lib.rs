//! Web service, boot scripts, certificates.
#![forbid(unsafe_code)]

mod admission;
mod approvals;
pub mod authority;
mod boot_key;
mod boot_pages;
mod boots;
pub mod classifier;
pub mod clients;
mod collector;
mod consult;
mod decisions;
mod error;
mod files;
mod handed;
mod history;
pub mod import;
pub mod machines;
mod numbers;
mod outage;
mod tasks;
mod token;
pub mod web;

pub use admission::{Admission, Place};
pub use approvals::Approvals;
pub use authority::{Authority, AuthorityConfig, Identity, OwnCertificate};
pub use boot_key::tokens;
pub use boot_pages::{BootPages, BootSeams, FileWanted};
pub use boots::Boots;
pub use classifier::Classifier;
pub use clients::{Clients, Hear};
pub use collector::Collector;
pub use consult::Consult;
pub use decisions::{Decisions, Subject};
pub use error::ControlError;
pub use history::History;
pub use machines::Machines;
pub use tasks::Tasks;
pub use token::AdminToken;
pub use web::{About, Web, WebConfig, WebSeams};
