//! The last provider: whoever nobody decided for chooses, or waits for the configured default.

use std::sync::Arc;

use super::{Provider, Query};
use crate::decision::{Plan, Verdict};

/// Serves everyone the usual menu.
#[derive(Debug)]
pub struct Menu {
    name: Arc<str>,
    plan: Arc<Plan>,
}

impl Menu {
    /// A provider of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        let plan = Plan {
            by: name.to_string(),
            ..Plan::default()
        };
        Self {
            name,
            plan: Arc::new(plan),
        }
    }
}

impl Provider for Menu {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, _query: &Query<'_>) -> Verdict {
        Verdict::Serve(Arc::clone(&self.plan))
    }
}
