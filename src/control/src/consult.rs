//! Decisions that take their time: the scripts ask, whoever knows the providers answers.

use std::fmt::Debug;

use bootstorm_policy::Facts;
use bootstorm_policy::decision::Decision;
use futures_util::future::BoxFuture;

/// Asks the providers that are programs, services and databases.
pub trait Consult: Debug + Send + Sync {
    /// What a machine boots, once they have answered or their time is over: within seconds.
    fn decide<'a>(&'a self, facts: &'a Facts) -> BoxFuture<'a, Decision>;
}
