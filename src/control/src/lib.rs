//! Web service, boot scripts, certificates.
#![forbid(unsafe_code)]

pub mod authority;
mod error;

pub use authority::{Authority, AuthorityConfig, Identity, OwnCertificate};
pub use error::ControlError;
