//! Which of a device's deployments it boots.

use std::collections::BTreeSet;
use std::sync::Arc;

use bootstorm_policy::decision::{Boot, Plan, Verdict};
use bootstorm_telemetry::event::Reason;
use serde_json::{Map, Value};

use super::deployment::{Asker, Deployment, Offer};
use crate::ProviderError;

/// What a machine boots, of the rows that its MAC and GUID found and those of unknown computers:
/// required deployments that it has not run, then available ones; of several the preferred, then
/// the one with the highest id. A machine that names one itself gets that one or none.
pub(super) fn verdict(
    provider: &str,
    asker: &Asker,
    rows: Vec<Deployment>,
    unknown_computers: bool,
) -> Result<Verdict, ProviderError> {
    let (unknown, known): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.resource.is_none());
    let (who, rows) = match device(asker, known) {
        Device::One(resource, rows) => (format!("device {resource}"), rows),
        Device::Several(resources) => {
            let text = format!("devices {} have the same identifiers", resources.join(", "));
            return Ok(pass(provider, "provider.duplicate-device", &text));
        }
        Device::None if unknown_computers => ("unknown computers".to_owned(), unknown),
        Device::None => {
            let text = "it is no device, and unknown computers are not supported";
            return Ok(pass(provider, "provider.unknown-machine", text));
        }
    };
    let family = asker.family.as_deref();
    let deployed = rows.into_iter().filter(|row| row.deployment.is_some());
    let (fits, other): (Vec<_>, Vec<_>) = deployed.partition(|row| row.runs_on(family));
    let (done, open) = fits.into_iter().partition(|row| row.required && row.done);
    let deployed = Deployed { open, done, other };
    match &asker.offer {
        Some(offer) => deployed.named(provider, &who, offer),
        None => deployed.first(provider, &who, family),
    }
}

/// What is deployed to a device.
struct Deployed {
    /// What it may run.
    open: Vec<Deployment>,
    /// Required ones that it has run.
    done: Vec<Deployment>,
    /// Those whose boot image it cannot run.
    other: Vec<Deployment>,
}

impl Deployed {
    fn first(
        self,
        provider: &str,
        who: &str,
        family: Option<&str>,
    ) -> Result<Verdict, ProviderError> {
        if let Some(deployment) = self.open.into_iter().max_by_key(rank) {
            return serve(provider, deployment);
        }
        let (code, text) = if let Some(deployment) = self.done.into_iter().max_by_key(rank) {
            let id = deployment.deployment.unwrap_or_default();
            ("provider.already-run", format!("{who} has run {id}"))
        } else if self.other.is_empty() {
            let text = format!("nothing is deployed to {who}");
            ("provider.not-deployed", text)
        } else {
            let family = family.unwrap_or("an unknown architecture");
            let text = format!("no boot image of what is deployed to {who} runs on {family}");
            ("provider.wrong-architecture", text)
        };
        Ok(pass(provider, code, &text))
    }

    /// The deployment that the machine itself has named. Nobody else is asked for another.
    fn named(self, provider: &str, who: &str, offer: &Offer) -> Result<Verdict, ProviderError> {
        let is_it = |row: &Deployment| {
            let id = row.deployment.as_deref();
            id.is_some_and(|id| id.eq_ignore_ascii_case(&offer.id))
        };
        if let Some(mut deployment) = self.open.into_iter().find(is_it) {
            deployment.required |= offer.required;
            return serve(provider, deployment);
        }
        let (code, text) = if self.done.iter().any(is_it) {
            ("provider.already-run", "has been run by")
        } else if self.other.iter().any(is_it) {
            ("provider.wrong-architecture", "has no boot image for")
        } else {
            ("provider.not-deployed", "is not deployed to")
        };
        let text = format!("{provider}: {} {text} {who}", offer.id);
        let plan = Plan {
            boot: Boot::Refuse(Reason {
                code,
                text: text.into(),
            }),
            by: provider.to_owned(),
            ..Plan::default()
        };
        Ok(Verdict::Serve(Arc::new(plan)))
    }
}

fn pass(provider: &str, code: &'static str, text: &str) -> Verdict {
    let text = format!("{provider}: {text}").into();
    Verdict::Pass(Reason { code, text })
}

enum Device {
    One(String, Vec<Deployment>),
    Several(Vec<String>),
    None,
}

/// The device that a machine is: its GUID goes before its MAC, which settles whose GUID it is when
/// several devices have the same.
fn device(asker: &Asker, rows: Vec<Deployment>) -> Device {
    let of = |rows: &[Deployment], matches: &dyn Fn(&Deployment) -> bool| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| matches(row));
        rows.filter_map(|row| row.resource.clone()).collect()
    };
    let by_guid = of(&rows, &|row| asker.guid.is_some() && row.guid == asker.guid);
    let by_mac = of(&rows, &|row| asker.mac.is_some() && row.mac == asker.mac);
    let both: BTreeSet<String> = by_guid.intersection(&by_mac).cloned().collect();
    let candidates = [both, by_guid, by_mac];
    let Some(found) = candidates.into_iter().find(|found| !found.is_empty()) else {
        return Device::None;
    };
    let mut found: Vec<String> = found.into_iter().collect();
    if found.len() > 1 {
        return Device::Several(found);
    }
    let one = found.swap_remove(0);
    let rows = rows
        .into_iter()
        .filter(|row| row.resource.as_ref() == Some(&one));
    let rows = rows.collect();
    Device::One(one, rows)
}

/// Ids have a site code and a number of fixed length: the later one is the greater text.
fn rank(deployment: &Deployment) -> (bool, i64, usize, String) {
    let id = deployment.deployment.as_deref().unwrap_or_default();
    let id = id.to_ascii_uppercase();
    (deployment.required, deployment.preferred, id.len(), id)
}

fn serve(provider: &str, deployment: Deployment) -> Result<Verdict, ProviderError> {
    let mut values = deployment.values;
    values.insert("deployment".to_owned(), deployment.deployment.into());
    values.insert("resource".to_owned(), deployment.resource.into());
    let mut answer = Map::new();
    answer.insert("answer".to_owned(), "serve".into());
    answer.insert("boot".to_owned(), deployment.boot.into());
    answer.insert("required".to_owned(), deployment.required.into());
    answer.insert("arguments".to_owned(), deployment.arguments.into());
    answer.insert("values".to_owned(), values.into());
    Ok(Verdict::from_value(Value::Object(answer), provider)?)
}

#[cfg(test)]
mod tests;
