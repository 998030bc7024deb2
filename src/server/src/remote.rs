//! Wires remote providers: who they are, and whom their decisions go to.

use std::path::Path;
use std::sync::Arc;

use bootstorm_config::Config;
use bootstorm_control::{Approvals, Consult, Tasks};
use bootstorm_engine::handoff::{Question, Replies};
use bootstorm_policy::Facts;
use bootstorm_policy::decision::Decision;
use bootstorm_providers::{Providers, Runner, Unusable, configured};
use crossbeam_channel::Receiver;
use futures_util::future::BoxFuture;

/// DHCP requests whose machines somebody is asked about at a time.
pub(crate) const QUESTIONS_MAX: usize = 1024;

/// This server's program, whatever became of its file.
const OURSELVES: &str = "/proc/self/exe";

/// The remote providers of the configuration.
pub(crate) fn providers(config: &Config) -> Result<Providers, String> {
    configured(&config.providers, Path::new(OURSELVES)).map_err(|wrong| {
        let told = wrong.iter().map(|e| format!("{e} [{}]", Unusable::CODE));
        told.collect::<Vec<_>>().join("\n")
    })
}

/// The runner, as scripts ask it.
#[derive(Debug)]
pub(crate) struct Remotes(pub(crate) Arc<Runner>);

impl Consult for Remotes {
    fn decide<'a>(&'a self, facts: &'a Facts) -> BoxFuture<'a, Decision> {
        Box::pin(self.0.decide(facts))
    }
}

/// Has the providers asked about machines that come by DHCP; the workers answer those then.
pub(crate) fn answer_questions(
    questions: Receiver<Question>,
    replies: Replies,
    runner: Arc<Runner>,
    approvals: Arc<Approvals>,
) -> std::io::Result<()> {
    let tasks = Tasks::start("dhcp-waits", QUESTIONS_MAX)?;
    std::thread::Builder::new()
        .name("dhcp-questions".to_owned())
        .spawn(move || {
            for Question { ticket, facts } in questions {
                let (runner, replies) = (Arc::clone(&runner), replies.clone());
                let approvals = Arc::clone(&approvals);
                // Without a place the machine asks again by itself.
                let Some(place) = tasks.place() else { continue };
                place.spawn(async move {
                    // The answers stay with the policy, which the worker asks again.
                    let known = Facts::from(&facts);
                    let _ = runner.decide(&known).await;
                    if facts.wds.is_some() {
                        // Such a program never comes for a script, where people would be asked.
                        approvals.ask(&known).await;
                    }
                    let _ = replies.decided(ticket);
                });
            }
        })?;
    Ok(())
}
