//! Web service, boot scripts, certificates.
#![forbid(unsafe_code)]

pub mod authority;
pub mod clients;
mod error;

pub use authority::{Authority, AuthorityConfig, Identity, OwnCertificate};
pub use clients::Clients;
pub use error::ControlError;
