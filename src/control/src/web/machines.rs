//! `/api/v1/machines`. Field names are documented in docs/reference/api.md and stay.

mod orders;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bootstorm_catalog::Catalog;
use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_store::{Edit, Filter, Key, MachineRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use orders::{hold, no_reimage, no_tag, reimage, release, tag};
pub(super) use tables::{BODY_MAX as IMPORT_MAX, import};

use super::api::{Answer, time};
use super::body;
use super::problem::Problem;
use super::router::Shared;

/// Where lists come in.
pub(super) const IMPORT: &str = "/api/v1/machines/import";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachinesQuery {
    cursor: Option<i64>,
    limit: Option<usize>,
    q: Option<String>,
    tag: Option<String>,
    boot: Option<String>,
    state: Option<State_>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State_ {
    Known,
    Unknown,
    Held,
    Once,
}

#[derive(Serialize)]
pub(super) struct MachinesView {
    machines: Vec<MachineView>,
    next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct MachineView {
    id: i64,
    mac: Option<String>,
    macs: Vec<String>,
    guid: Option<String>,
    name: Option<String>,
    arch: Option<u16>,
    manufacturer: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    asset: Option<String>,
    tags: Vec<String>,
    values: BTreeMap<String, String>,
    boot: Option<String>,
    once: Option<OnceView>,
    held: Option<Timestamp>,
    known: bool,
    phase: String,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Serialize)]
struct OnceView {
    boot: String,
    by: Option<String>,
    at: Timestamp,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<MachinesQuery>, QueryRejection>,
) -> Answer<MachinesView> {
    let Query(query) = query.map_err(body::unread_query)?;
    let limit = body::limit(query.limit)?;
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let (after, filter) = (query.cursor, query.filter());
    let records = shared.seams.machines.page(&filter, after, wanted).await?;
    let is_full = records.len() >= limit;
    let next = records.last().filter(|_| is_full).map(|r| r.id.to_string());
    Ok(Json(MachinesView {
        machines: records.into_iter().map(MachineView::of).collect(),
        next,
    }))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<MachineView> {
    let record = shared.seams.machines.get(&key(&text)).await?;
    let record = record.ok_or_else(|| unknown(&text))?;
    Ok(Json(MachineView::of(record)))
}

/// What is left out stays as it is; null takes it away.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, deserialize_with = "body::named")]
    boot: Option<Option<String>>,
    #[serde(default, deserialize_with = "body::named")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "body::named")]
    serial: Option<Option<String>>,
    #[serde(default, deserialize_with = "body::named")]
    asset: Option<Option<String>>,
    #[serde(default, deserialize_with = "body::named")]
    guid: Option<Option<String>>,
    macs: Option<Vec<String>>,
    tags: Option<BTreeSet<String>>,
    #[serde(default)]
    values: BTreeMap<String, Option<String>>,
}

/// Changes a machine; one that nobody knows is made by its MAC or GUID.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<MachineView> {
    let change: Change = body::json(&headers, body)?;
    let parsed = change.parse(&shared.seams.catalog)?;
    let machines = &shared.seams.machines;
    let key = key(&text);
    let changed = machines.change(&key, |before| parsed.edits(before)).await?;
    Ok(Json(MachineView::of(changed)))
}

/// Makes a machine that is not there.
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<MachineView>), Problem> {
    let change: Change = body::json(&headers, body)?;
    let parsed = change.parse(&shared.seams.catalog)?;
    let first = parsed.macs.iter().flatten().next();
    let key = match (first, parsed.guid.flatten()) {
        (Some(mac), _) => Key::Mac(*mac),
        (None, Some(guid)) => Key::Guid(guid),
        (None, None) => {
            let detail = "a machine needs `macs` or a `guid`";
            return Err(Problem::bad_request("web.no-identity", detail));
        }
    };
    let machines = &shared.seams.machines;
    if let Some(known) = machines.get(&key).await?
        && known.admitted.is_some()
    {
        let detail = format!("machine {} has {key} already; change that one", known.id);
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "web.machine-exists",
            detail,
        ));
    }
    let made = machines.change(&key, |before| parsed.edits(before)).await?;
    Ok((StatusCode::CREATED, Json(MachineView::of(made))))
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    match shared.seams.machines.remove(&key(&text)).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(unknown(&text)),
    }
}

/// A [`Change`] whose every word was checked.
struct Parsed {
    change: Change,
    guid: Option<Option<MachineGuid>>,
    macs: Option<Vec<MacAddress>>,
}

impl Change {
    fn parse(self, catalog: &Catalog) -> Result<Parsed, Problem> {
        if let Some(Some(boot)) = &self.boot {
            bootable(catalog, boot)?;
        }
        let guid = self.guid.as_ref().map(|guid| match guid {
            Some(text) => body::guid(text).map(Some),
            None => Ok(None),
        });
        let macs = self.macs.as_ref();
        let macs = macs.map(|macs| macs.iter().map(|text| body::mac(text)).collect());
        Ok(Parsed {
            guid: guid.transpose()?,
            macs: macs.transpose()?,
            change: self,
        })
    }
}

impl Parsed {
    fn edits(self, before: Option<&MachineRecord>) -> Vec<Edit> {
        let change = self.change;
        let mut edits = vec![Edit::Admit];
        edits.extend(change.boot.map(Edit::Boot));
        edits.extend(change.name.map(Edit::Name));
        edits.extend(change.serial.map(Edit::Serial));
        edits.extend(change.asset.map(Edit::Asset));
        edits.extend(self.guid.map(Edit::Guid));
        if let Some(macs) = self.macs {
            let had = before.map(|b| b.macs.as_slice()).unwrap_or_default();
            let gone = had.iter().filter(|mac| !macs.contains(mac));
            edits.extend(gone.copied().map(Edit::RemoveMac));
            edits.extend(macs.into_iter().map(Edit::AddMac));
        }
        if let Some(tags) = change.tags {
            let had = before.map(|b| b.tags.as_slice()).unwrap_or_default();
            let gone = had.iter().filter(|tag| !tags.contains(*tag));
            edits.extend(gone.cloned().map(Edit::RemoveTag));
            edits.extend(tags.into_iter().map(Edit::AddTag));
        }
        let values = change.values.into_iter();
        edits.extend(values.map(|(name, value)| Edit::Value(name, value)));
        edits
    }
}

impl MachinesQuery {
    fn filter(self) -> Filter {
        let (known, held, once) = match self.state {
            None => (None, None, None),
            Some(State_::Known) => (Some(true), None, None),
            Some(State_::Unknown) => (Some(false), None, None),
            Some(State_::Held) => (None, Some(true), None),
            Some(State_::Once) => (None, None, Some(true)),
        };
        Filter {
            text: self.q,
            tag: self.tag,
            boot: self.boot,
            held,
            once,
            known,
        }
    }
}

impl MachineView {
    fn of(record: MachineRecord) -> Self {
        let known = record.is_known();
        let macs: Vec<_> = record.macs.iter().map(ToString::to_string).collect();
        Self {
            id: record.id,
            mac: macs.first().cloned(),
            macs,
            guid: record.guid.map(|g| g.to_string()),
            name: record.name,
            arch: record.arch.map(|a| a.0),
            manufacturer: record.hardware.manufacturer,
            product: record.hardware.product,
            serial: record.hardware.serial,
            asset: record.hardware.asset,
            tags: record.tags,
            values: record.values,
            boot: record.boot,
            once: record.once.map(|once| OnceView {
                boot: once.boot,
                by: once.by,
                at: time(once.at),
            }),
            held: record.held.map(time),
            known,
            phase: record.phase,
            first_seen: time(record.first_seen),
            last_seen: time(record.last_seen),
        }
    }
}

/// A machine by MAC, GUID, number or name.
pub(super) fn key(text: &str) -> Key {
    let mac = text.parse().map(Key::Mac).ok();
    let guid = || text.parse().map(Key::Guid).ok();
    let id = || text.parse().map(Key::Id).ok();
    mac.or_else(guid)
        .or_else(id)
        .unwrap_or_else(|| Key::Name(text.to_owned()))
}

/// What a machine can be told to boot.
pub(super) fn bootable(catalog: &Catalog, boot: &str) -> Result<(), Problem> {
    let snapshot = catalog.snapshot();
    let is_word = matches!(boot, "local" | "menu");
    let is_file = boot.starts_with("menu:") || boot.starts_with("script:");
    if is_word || is_file || snapshot.entry(boot).is_some() {
        return Ok(());
    }
    let known: Vec<_> = snapshot.entries().iter().map(|e| e.id.as_str()).collect();
    let detail = format!(
        "there is no entry `{}`; there are local, menu, {}",
        boot.escape_debug(),
        known.join(", ")
    );
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Err(Problem::new(status, "web.unknown-entry", detail))
}

pub(super) fn unknown(text: &str) -> Problem {
    let text = text.escape_debug();
    let detail = format!("{text} was never seen, named or assigned anything");
    Problem::new(StatusCode::NOT_FOUND, "web.unknown-machine", detail)
}
