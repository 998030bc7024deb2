//! Asks programs, services and databases what machines boot.
//!
//! Nothing here runs on the packet path, and nothing here can hurt those who wait: every call has a
//! budget, what it may use is bounded, and whatever comes back is read as if an enemy had sent it.
#![forbid(unsafe_code)]

mod configmgr;
mod configured;
mod database;
mod error;
mod exec;
mod runner;
mod sandbox;
mod sql;
mod webhook;

use futures_util::future::BoxFuture;

use bootstorm_policy::decision::Verdict;

pub use configmgr::{ConfigMgr, Deployments};
pub use configured::{configured, lint};
pub use error::{ProviderError, Unusable};
pub use exec::{Command, Exec};
pub use runner::{Provider, Providers, Runner};
pub use sandbox::{Confinement, SANDBOXED_EXEC, sandboxed_exec};
pub use sql::{PARAMETERS, Sql};
pub use webhook::Webhook;

/// Somebody outside of the server who knows what machines boot.
///
/// An answer has no time limit of its own: whoever asks drops the future when its budget is over,
/// and that ends whatever runs for it.
pub trait Ask: Send + Sync {
    /// What it says of a machine; `facts` is the object that docs/reference/decisions.md lists.
    fn ask<'a>(
        &'a self,
        facts: &'a serde_json::Value,
    ) -> BoxFuture<'a, Result<Verdict, ProviderError>>;
}
