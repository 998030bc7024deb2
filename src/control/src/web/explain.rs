//! `/api/v1/explain`. Field names are documented in docs/reference/api.md and stay.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use bootstorm_policy::{Explanation, Facts, typical_requests};
use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::MacAddress;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Answer, time};
use super::body;
use super::classifier::{DroppedView, StandingView};
use super::problem::Problem;
use super::router::Shared;
use crate::clients::{Client, Detail};
use crate::decisions::Subject;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    mac: Option<String>,
    ip: Option<String>,
    guid: Option<String>,
    /// Our address towards a machine that has never been heard of.
    server: Option<Ipv4Addr>,
}

#[derive(Serialize)]
pub(super) struct ExplainView {
    mac: Option<String>,
    seen: Option<Detail>,
    classifier: Option<StandingView>,
    dropped: Option<DroppedView>,
    decisions: Vec<Value>,
    next: Vec<Value>,
}

/// Everything that tells why a machine was, or would be, answered as it is.
pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Answer<ExplainView> {
    let Query(query) = query.map_err(body::unread_query)?;
    let subject = query.subject()?;
    let seams = &shared.seams;
    let decisions = seams.decisions.of(subject);
    let seen = match subject {
        Subject::Mac(mac) => seams.clients.by_mac(mac),
        Subject::Address(address) => seams.clients.by_ip(address),
        Subject::Guid(_) => None,
    };
    let decided = |decision: &Value| decision["facts"]["machine"]["mac"].as_str()?.parse().ok();
    let mac = match subject {
        Subject::Mac(mac) => Some(mac),
        Subject::Guid(_) | Subject::Address(_) => {
            let seen = seen.as_ref().and_then(|client| client.mac);
            seen.or_else(|| decisions.first().and_then(decided))
        }
    };
    let seen = seen.or_else(|| seams.clients.by_mac(mac?));
    let dropped = mac.and_then(|mac| {
        let all = seams.classifier.dropped();
        let own = all.iter().rev().find(|d| d.sample.mac == mac.bytes());
        own.map(DroppedView::of)
    });
    let now = SystemTime::now();
    let asks = asks(seen.as_deref(), mac, &query);
    let next = asks
        .iter()
        .map(|client| seams.policy.explain_dhcp(client, now));
    let script = script(seen.as_deref(), subject, mac);
    let next = next.chain([seams.policy.explain(script, now)]);
    Ok(Json(ExplainView {
        mac: mac.map(|mac| mac.to_string()),
        seen: seen.map(|client| Detail::of(&client, now)),
        classifier: mac.map(|mac| StandingView::of(mac, seams.classifier.standing(mac))),
        dropped,
        decisions,
        next: next.map(|explanation| dated(&explanation)).collect(),
    }))
}

impl ExplainQuery {
    fn subject(&self) -> Result<Subject, Problem> {
        match (&self.mac, &self.ip, &self.guid) {
            (Some(mac), None, None) => Ok(Subject::Mac(body::mac(mac)?)),
            (None, Some(ip), None) => match ip.parse::<IpAddr>() {
                Ok(address) => Ok(Subject::Address(address)),
                Err(_) => {
                    let detail = format!("`{}` is no address", ip.escape_debug());
                    Err(body::bad_query(detail))
                }
            },
            (None, None, Some(guid)) => Ok(Subject::Guid(body::guid(guid)?)),
            _ => Err(body::bad_query("name one machine: mac=, ip= or guid=")),
        }
    }
}

/// How the machine would ask by DHCP: as it did last, or, if it was never heard of, as each kind of
/// firmware does.
fn asks(seen: Option<&Client>, mac: Option<MacAddress>, query: &ExplainQuery) -> Vec<ClientFacts> {
    if let Some(heard) = seen.and_then(|client| client.heard.as_deref()) {
        return vec![heard.clone()];
    }
    let Some(mac) = mac else { return Vec::new() };
    let local = query.server.unwrap_or(Ipv4Addr::LOCALHOST);
    typical_requests(mac, local.into()).into()
}

/// How the machine would ask for its script.
fn script(seen: Option<&Client>, subject: Subject, mac: Option<MacAddress>) -> Facts {
    let mut facts = Facts {
        mac,
        asker: Some(Asker::Ipxe),
        ..Facts::default()
    };
    match subject {
        Subject::Guid(guid) => facts.guid = Some(guid),
        Subject::Address(address) => facts.address = Some(address),
        Subject::Mac(_) => {}
    }
    if let Some(client) = seen {
        facts.guid = facts.guid.or(client.guid);
        if let Some(heard) = &client.heard {
            facts.complete(&Facts::from(&**heard));
        }
    }
    facts
}

fn dated(explanation: &Explanation) -> Value {
    let mut json = explanation.to_json();
    json["at"] = json!(time(explanation.at));
    json
}
