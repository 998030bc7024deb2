//! `/api/v1/classifier`. Field names are documented in docs/reference/api.md and stay.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bootstorm_ebpf_shared::{Action, Cause, Class, Count, Rate, Rule, Table, counter};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::metrics::{Metrics, Place};
use jiff::Timestamp;
use serde::Serialize;

use super::api::{self, Answer, ReasonView};
use super::body;
use super::router::Shared;
use crate::classifier::{Attachment, Classifier, Dropped, Standing};

#[derive(Serialize)]
pub(super) struct ClassifierView {
    attachments: Vec<AttachmentView>,
    notes: Vec<String>,
    limits: LimitsView,
    rules: BTreeMap<&'static str, String>,
    counts: Vec<CountView>,
    dropped: Vec<DroppedView>,
}

#[derive(Serialize)]
struct AttachmentView {
    interface: String,
    mode: &'static str,
    reason: Option<ReasonView>,
}

#[derive(Serialize)]
struct LimitsView {
    machine: String,
    known: String,
    relay: String,
    samples: u64,
}

#[derive(Serialize)]
struct CountView {
    r#where: &'static str,
    class: &'static str,
    cause: &'static str,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
pub(super) struct DroppedView {
    number: u64,
    at: Timestamp,
    interface: String,
    class: Option<&'static str>,
    reason: Option<ReasonView>,
    mac: Option<String>,
    length: u16,
    head: String,
}

#[derive(Serialize)]
pub(super) struct StandingView {
    mac: String,
    known: bool,
    banned: bool,
    refused: u64,
}

pub(super) async fn classifier(State(shared): State<Arc<Shared>>) -> Json<ClassifierView> {
    let classifier = &shared.seams.classifier;
    let Table { settings, rules } = classifier.table();
    let limits = settings.limits;
    let counts = totals(&**classifier).map(|total| CountView {
        r#where: total.place.name(),
        class: total.class.name(),
        cause: total.cause.name(),
        packets: total.count.packets,
        bytes: total.count.bytes,
    });
    let named = Class::all().zip(rules);
    Json(ClassifierView {
        attachments: classifier
            .attachments()
            .into_iter()
            .map(attachment)
            .collect(),
        notes: classifier.notes(),
        limits: LimitsView {
            machine: rate(limits.machine),
            known: rate(limits.known),
            relay: rate(limits.relay),
            samples: per_second(limits.samples),
        },
        rules: named.map(|(class, of)| (class.name(), rule(of))).collect(),
        counts: counts.collect(),
        dropped: classifier.dropped().iter().map(DroppedView::of).collect(),
    })
}

/// How one machine stands.
pub(super) async fn machine(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<StandingView> {
    let mac = body::mac(&text)?;
    let standing = shared.seams.classifier.standing(mac);
    Ok(Json(StandingView::of(mac, standing)))
}

/// Brings the totals to the metrics.
pub(super) fn measure(classifier: &dyn Classifier, metrics: &Metrics) {
    for total in totals(classifier) {
        let (class, cause) = (total.class.name(), total.cause.name());
        let sizes = (total.count.packets, total.count.bytes);
        metrics.classifier.total(total.place, class, cause, sizes);
    }
    let attachments = classifier.attachments();
    let modes = attachments.iter().map(|a| (a.interface.as_str(), a.mode));
    metrics.classifier.attached(modes);
}

struct Total {
    place: Place,
    class: Class,
    cause: Cause,
    count: Count,
}

/// What was counted at all.
fn totals(classifier: &dyn Classifier) -> impl Iterator<Item = Total> {
    Place::ALL.into_iter().flat_map(|place| {
        let counts = classifier.counts(place);
        let pairs = Class::all().flat_map(|class| Cause::all().map(move |cause| (class, cause)));
        pairs.filter_map(move |(class, cause)| {
            let index = usize::try_from(counter(class, cause)).ok()?;
            let count = *counts.get(index)?;
            (count.packets > 0).then_some(Total {
                place,
                class,
                cause,
                count,
            })
        })
    })
}

fn attachment(attachment: Attachment) -> AttachmentView {
    AttachmentView {
        interface: attachment.interface,
        mode: attachment.mode,
        reason: attachment.reason.map(|reason| ReasonView {
            code: reason.code,
            text: reason.text.into_owned(),
        }),
    }
}

impl DroppedView {
    pub(super) fn of(dropped: &Dropped) -> Self {
        let sample = &dropped.sample;
        let captured = usize::from(sample.captured);
        let mut head = String::with_capacity(2 * captured);
        for byte in sample.head.iter().take(captured) {
            // Writing to a String cannot fail.
            let _ = write!(head, "{byte:02x}");
        }
        let cause = Cause::of(sample.cause);
        Self {
            number: dropped.number,
            at: api::time(dropped.at),
            interface: dropped.interface.clone(),
            class: Class::all().nth(sample.class.into()).map(Class::name),
            reason: cause.and_then(|cause| {
                Some(ReasonView {
                    code: cause.code()?,
                    text: cause.text().to_owned(),
                })
            }),
            mac: (sample.mac != [0; 6]).then(|| MacAddress::new(sample.mac).to_string()),
            length: sample.length,
            head,
        }
    }
}

impl StandingView {
    pub(super) fn of(mac: MacAddress, standing: Standing) -> Self {
        Self {
            mac: mac.to_string(),
            known: standing.is_known,
            banned: standing.is_banned,
            refused: standing.refused,
        }
    }
}

/// As the configuration spells it.
fn rule(rule: Rule) -> String {
    match rule.action() {
        Action::Pass => "pass".to_owned(),
        Action::Drop => "drop".to_owned(),
        Action::Limit(limit) => rate(limit),
    }
}

fn rate(rate: Rate) -> String {
    match rate.ahead.checked_div(rate.every) {
        None => "none".to_owned(),
        Some(burst) => format!("{}/s burst {burst}", per_second(rate)),
    }
}

fn per_second(rate: Rate) -> u64 {
    let rounded = 1_000_000_000_u64.saturating_add(rate.every / 2);
    rounded.checked_div(rate.every).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_as_the_configuration_spells_them() {
        for (per_second, burst) in [(4, 16), (20_000, 40_000), (3, 1), (10_000_000, 1)] {
            let told = rate(Rate::new(per_second, burst));
            assert_eq!(told, format!("{per_second}/s burst {burst}"));
        }
        assert_eq!(rate(Rate::UNLIMITED), "none");
        assert_eq!(rule(Rule::DROP), "drop");
        assert_eq!(rule(Rule::limit(Rate::new(5, 6))), "5/s burst 6");
    }
}
