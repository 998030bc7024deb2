//! Another boot server is to boot the machine.

use std::sync::Arc;

use bootstorm_config::ReferralConfig;

use super::{Provider, Query, pass};
use crate::decision::{self, Boot, Plan, Verdict};
use crate::matcher::{BadExpression, Matcher, Subject};
use crate::trail::Trail;

/// Sends machines to another server, all of them or those that an expression fits.
#[derive(Debug)]
pub struct Referral {
    name: Arc<str>,
    when: Option<Matcher>,
    plan: Arc<Plan>,
}

impl Referral {
    /// A provider of that name.
    ///
    /// # Errors
    /// Where its expression is none.
    pub fn new(name: impl Into<Arc<str>>, config: &ReferralConfig) -> Result<Self, BadExpression> {
        let name = name.into();
        let plan = Plan {
            boot: Boot::Refer(decision::Referral {
                url: config.url.clone(),
                tftp: config.tftp.clone(),
            }),
            by: name.to_string(),
            ..Plan::default()
        };
        Ok(Self {
            name,
            when: config.when.as_deref().map(Matcher::compile).transpose()?,
            plan: Arc::new(plan),
        })
    }
}

impl Provider for Referral {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn decide(&self, query: &Query<'_>) -> Verdict {
        if Trail::of(query.facts).leads_back() {
            return pass(
                "provider.sent-back",
                "the other server has sent it back: it is for those that follow",
            );
        }
        let Some(when) = &self.when else {
            return Verdict::Serve(Arc::clone(&self.plan));
        };
        let machine = query.machine.map(Arc::as_ref);
        let subject = Subject::new(query.facts.to_json(query.identity, machine));
        match when.holds(&subject, &self.name) {
            Ok(true) => Verdict::Serve(Arc::clone(&self.plan)),
            Ok(false) => pass("provider.not-referred", "its expression does not fit"),
            Err(failure) => Verdict::Pass(failure),
        }
    }
}
