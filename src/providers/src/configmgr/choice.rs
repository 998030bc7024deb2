//! Which of a device's deployments it boots.

use std::collections::BTreeSet;

use bootstorm_policy::decision::Verdict;
use bootstorm_telemetry::event::Reason;
use serde_json::{Map, Value};

use super::deployment::{Asker, Deployment};
use crate::ProviderError;

/// What a machine boots, of the rows that its MAC and GUID found and those of unknown computers:
/// required deployments that it has not run, then available ones; of several the preferred, then
/// the one with the highest id.
pub(super) fn verdict(
    provider: &str,
    asker: &Asker,
    rows: Vec<Deployment>,
    unknown_computers: bool,
) -> Result<Verdict, ProviderError> {
    let pass = |code, text: String| {
        let text = format!("{provider}: {text}").into();
        Ok(Verdict::Pass(Reason { code, text }))
    };
    let (unknown, known): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.resource.is_none());
    let (who, rows) = match device(asker, known) {
        Device::One(resource, rows) => (format!("device {resource}"), rows),
        Device::Several(resources) => {
            let text = format!("devices {} have the same identifiers", resources.join(", "));
            return pass("provider.duplicate-device", text);
        }
        Device::None if unknown_computers => ("unknown computers".to_owned(), unknown),
        Device::None => {
            let text = "it is no device, and unknown computers are not supported".to_owned();
            return pass("provider.unknown-machine", text);
        }
    };
    let deployed = rows.into_iter().filter(|row| row.deployment.is_some());
    let (fits, other): (Vec<_>, Vec<_>) =
        deployed.partition(|row| row.runs_on(asker.family.as_deref()));
    let (done, open): (Vec<_>, Vec<_>) = fits.into_iter().partition(|row| row.required && row.done);
    let first = open.into_iter().max_by_key(rank);
    if let Some(deployment) = first {
        return serve(provider, deployment);
    }
    if let Some(deployment) = done.into_iter().max_by_key(rank) {
        let id = deployment.deployment.unwrap_or_default();
        return pass("provider.already-run", format!("{who} has run {id}"));
    }
    if other.is_empty() {
        return pass(
            "provider.not-deployed",
            format!("nothing is deployed to {who}"),
        );
    }
    let family = asker.family.as_deref().unwrap_or("an unknown architecture");
    let text = format!("no boot image of what is deployed to {who} runs on {family}");
    pass("provider.wrong-architecture", text)
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
