//! `/api/v1/boots` and `/api/v1/machines/ID/history`. Field names are documented in
//! docs/reference/api.md and stay.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bootstorm_store::{
    BootFigures, BootFilter, BootRecord, BootState, Event, PAGE_MAX, Store, StoreError,
};
use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::{Answer, time};
use super::body;
use super::machines::{key, unknown};
use super::problem::Problem;
use super::router::Shared;

/// The most boots that one list of comma-separated values holds.
const EXPORT_MAX: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BootsQuery {
    cursor: Option<i64>,
    limit: Option<usize>,
    machine: Option<String>,
    state: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Serialize)]
struct BootsView {
    boots: Vec<BootView>,
    next: Option<String>,
}

#[derive(Serialize)]
struct BootView {
    id: String,
    machine: Option<i64>,
    mac: Option<String>,
    guid: Option<String>,
    entry: String,
    by: Option<String>,
    required: bool,
    once: bool,
    state: &'static str,
    requested: Timestamp,
    download_started: Option<Timestamp>,
    boot_started: Option<Timestamp>,
    boot_ended: Option<Timestamp>,
    last_error: Option<Timestamp>,
    code: Option<String>,
    reason: Option<String>,
    bytes: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct SummaryView {
    requests: i64,
    started: i64,
    transferring: i64,
    transferred: i64,
    limbo: i64,
    booted: i64,
    failed: i64,
    success_percent: Option<f64>,
}

/// A page of boots, or all of them for spreadsheets.
pub(super) async fn boots(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<BootsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(body::unread_query)?;
    let filter = query.filter(&shared).await?;
    let store = shared.seams.machines.store();
    match query.format {
        Format::Json => {
            let limit = body::limit(query.limit)?;
            let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
            let records = store.boots(&filter, query.cursor, wanted).await?;
            let is_full = records.len() >= limit;
            let next = records.last().filter(|_| is_full);
            let next = next.map(|boot| boot.seq.to_string());
            let boots = records.into_iter().map(BootView::of).collect();
            Ok(Json(BootsView { boots, next }).into_response())
        }
        Format::Csv => {
            let most = query.limit.unwrap_or(EXPORT_MAX).min(EXPORT_MAX);
            Ok(export(store.clone(), filter, query.cursor, most).await?)
        }
    }
}

/// How many boots got how far.
pub(super) async fn summary(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<BootsQuery>, QueryRejection>,
) -> Answer<SummaryView> {
    let Query(query) = query.map_err(body::unread_query)?;
    let filter = query.filter(&shared).await?;
    let figures = shared.seams.machines.store().boot_figures(&filter).await?;
    Ok(Json(SummaryView::of(figures)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    cursor: Option<i64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct EventsView {
    events: Vec<EventView>,
    next: Option<String>,
}

#[derive(Serialize)]
struct EventView {
    at: Timestamp,
    kind: String,
    code: Option<String>,
    text: String,
    boot: Option<String>,
    mac: Option<String>,
}

/// What happened to a machine, newest first.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer<EventsView> {
    let Query(query) = query.map_err(body::unread_query)?;
    let limit = body::limit(query.limit)?;
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let machine = machine(&shared, &text).await?;
    let store = shared.seams.machines.store();
    let events = store.events(Some(machine), query.cursor, wanted).await?;
    let is_full = events.len() >= limit;
    let next = events.last().filter(|_| is_full);
    Ok(Json(EventsView {
        next: next.map(|(seq, _)| seq.to_string()),
        events: events.into_iter().map(|(_, e)| EventView::of(e)).collect(),
    }))
}

async fn machine(shared: &Shared, text: &str) -> Result<i64, Problem> {
    let record = shared.seams.machines.get(&key(text)).await?;
    Ok(record.ok_or_else(|| unknown(text))?.id)
}

/// Page by page, so that a long list needs no more memory than a short one. Where the database goes
/// away in the middle, so does the connection: half a list looks like none.
async fn export(
    store: Store,
    filter: BootFilter,
    before: Option<i64>,
    most: usize,
) -> Result<Response, Problem> {
    let export = Export {
        store,
        filter,
        before,
        left: most,
        is_first: true,
    };
    // What is wrong at once is told in words.
    let (head, rest) = export.page().await?;
    let rest = stream::try_unfold(rest, |export| async move {
        match export {
            Some(export) => export.page().await.map(Some),
            None => Ok(None),
        }
    });
    let pages = stream::once(ready(Ok(head))).chain(rest);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"boots.csv\"",
        ),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

struct Export {
    store: Store,
    filter: BootFilter,
    before: Option<i64>,
    left: usize,
    is_first: bool,
}

impl Export {
    /// The next lines, and what is left.
    async fn page(self) -> Result<(Bytes, Option<Self>), StoreError> {
        let wanted = u32::try_from(self.left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let records = self.store.boots(&self.filter, self.before, wanted).await?;
        let is_full = records.len() == wanted as usize;
        let before = records.last().map(|boot| boot.seq);
        let left = self.left - records.len();
        let lines = csv(records, self.is_first);
        let rest = Self {
            before,
            left,
            is_first: false,
            ..self
        };
        Ok((lines, Some(rest).filter(|_| is_full && left > 0)))
    }
}

fn csv(records: Vec<BootRecord>, with_head: bool) -> Bytes {
    let mut lines = Vec::new();
    if with_head {
        lines.extend(BootView::NAMES.join(",").bytes());
        lines.push(b'\n');
    }
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(&mut lines);
    for record in records {
        let mut view = BootView::of(record);
        for text in [
            Some(&mut view.entry),
            view.by.as_mut(),
            view.reason.as_mut(),
        ] {
            text.map(guard);
        }
        // Memory takes every line.
        let _ = writer.serialize(view);
    }
    drop(writer);
    lines.into()
}

/// Spreadsheets take for a formula what begins like one, and texts come from machines.
fn guard(text: &mut String) {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        text.insert(0, '\'');
    }
}

impl BootsQuery {
    async fn filter(&self, shared: &Shared) -> Result<BootFilter, Problem> {
        let machine = match &self.machine {
            Some(text) => Some(machine(shared, text).await?),
            None => None,
        };
        let time = |at: Option<Timestamp>| at.map(SystemTime::from);
        Ok(BootFilter {
            machine,
            state: self.state.as_deref().map(state).transpose()?,
            since: time(self.since),
            until: time(self.until),
        })
    }
}

fn state(name: &str) -> Result<BootState, Problem> {
    let state = BootState::ALL.into_iter().find(|s| s.name() == name);
    state.ok_or_else(|| {
        let names: Vec<_> = BootState::ALL.iter().map(|s| s.name()).collect();
        let detail = format!(
            "`{}` is no state; there are {}",
            name.escape_debug(),
            names.join(", ")
        );
        body::bad_query(detail)
    })
}

impl BootView {
    /// The fields, in order.
    const NAMES: [&str; 17] = [
        "id",
        "machine",
        "mac",
        "guid",
        "entry",
        "by",
        "required",
        "once",
        "state",
        "requested",
        "download_started",
        "boot_started",
        "boot_ended",
        "last_error",
        "code",
        "reason",
        "bytes",
    ];

    fn of(boot: BootRecord) -> Self {
        Self {
            state: boot.state().name(),
            id: boot.id,
            machine: boot.machine,
            mac: boot.mac.map(|mac| mac.to_string()),
            guid: boot.guid.map(|guid| guid.to_string()),
            entry: boot.entry,
            by: boot.decider,
            required: boot.task.is_some(),
            once: boot.once,
            requested: time(boot.requested),
            download_started: boot.loading.map(time),
            boot_started: boot.loaded.map(time),
            boot_ended: boot.finished.map(time),
            last_error: boot.failed.map(time),
            code: boot.code,
            reason: boot.reason,
            bytes: boot.bytes,
        }
    }
}

impl SummaryView {
    fn of(figures: BootFigures) -> Self {
        let requests = figures.requests;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a percentage of at most a million"
        )]
        let percent = || 100.0 * figures.booted as f64 / requests as f64;
        Self {
            requests,
            started: figures.started,
            transferring: figures.transferring(),
            transferred: figures.transferred,
            limbo: figures.limbo,
            booted: figures.booted,
            failed: figures.failed,
            success_percent: (requests > 0).then(percent),
        }
    }
}

impl EventView {
    fn of(event: Event) -> Self {
        Self {
            at: time(event.at),
            kind: event.kind,
            code: event.code,
            text: event.text,
            boot: event.boot,
            mac: event.mac.map(|mac| mac.to_string()),
        }
    }
}
