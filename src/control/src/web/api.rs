//! The resources of `/api/v1`. Field names are documented in docs/reference/api.md and stay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use bootstorm_catalog::Entry;
use bootstorm_proto::types::MacAddress;
use bootstorm_store::MachineRecord;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::Problem;
use super::router::Shared;
use crate::clients::{Detail, Phase, Summary};

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// Items of a page when the request names no limit, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

#[derive(Serialize)]
pub(super) struct AboutView {
    name: &'static str,
    version: &'static str,
    started: Timestamp,
    uptime_seconds: u64,
    listeners: Vec<ListenerView>,
    driver: String,
    workers: usize,
    certificate: CertificateView,
    catalog: CatalogView,
    clients: std::collections::BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct ListenerView {
    name: String,
    address: String,
}

#[derive(Serialize)]
struct CertificateView {
    names: Vec<String>,
    not_after: Timestamp,
    warnings: Vec<ReasonView>,
}

#[derive(Serialize)]
struct CatalogView {
    entries: usize,
    files: usize,
}

#[derive(Serialize)]
pub(super) struct ReasonView {
    pub(super) code: &'static str,
    pub(super) text: String,
}

pub(super) async fn about(State(shared): State<Arc<Shared>>) -> Json<AboutView> {
    let seams = &shared.seams;
    let identity = seams.authority.identity();
    let catalog = seams.catalog.snapshot();
    let uptime = SystemTime::now().duration_since(seams.about.started);
    let listener = |(name, address): &(String, std::net::SocketAddr)| ListenerView {
        name: name.clone(),
        address: address.to_string(),
    };
    let warning = |w: &crate::authority::Warning| ReasonView {
        code: w.code,
        text: w.text.clone(),
    };
    Json(AboutView {
        name: "bootstorm",
        version: env!("CARGO_PKG_VERSION"),
        started: time(seams.about.started),
        uptime_seconds: uptime.unwrap_or_default().as_secs(),
        listeners: seams.about.listeners.iter().map(listener).collect(),
        driver: seams.about.driver.clone(),
        workers: seams.about.workers,
        certificate: CertificateView {
            names: identity.names.clone(),
            not_after: time(identity.not_after),
            warnings: identity.warnings.iter().map(warning).collect(),
        },
        catalog: CatalogView {
            entries: catalog.entries().len(),
            files: catalog.files().count(),
        },
        clients: seams
            .clients
            .counts()
            .map(|(phase, machines)| (phase.name(), machines))
            .into(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientsQuery {
    cursor: Option<u64>,
    limit: Option<usize>,
    phase: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ClientsView {
    clients: Vec<Summary>,
    next: Option<u64>,
}

pub(super) async fn clients(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ClientsQuery>, QueryRejection>,
) -> Answer<ClientsView> {
    let Query(query) = query.map_err(bad_query)?;
    let phase = query.phase.as_deref().map(phase).transpose()?;
    let page = shared
        .seams
        .clients
        .page(query.cursor, limit(query.limit)?, phase);
    let now = SystemTime::now();
    Ok(Json(ClientsView {
        clients: page.clients.iter().map(|c| Summary::of(c, now)).collect(),
        next: page.next,
    }))
}

/// A machine by MAC, or by address while its MAC is not known.
pub(super) async fn client(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Answer<Detail> {
    let clients = &shared.seams.clients;
    let client = match (id.parse::<IpAddr>(), id.parse::<MacAddress>()) {
        (Ok(ip), _) => clients.by_ip(ip),
        (Err(_), Ok(mac)) => clients.by_mac(mac),
        (Err(_), Err(error)) => {
            return Err(Problem::bad_request("web.bad-mac", error.to_string()));
        }
    };
    let client = client.ok_or_else(|| {
        let detail = format!("{id} was not seen since the server started, or long ago");
        Problem::new(StatusCode::NOT_FOUND, "web.unknown-client", detail)
    })?;
    Ok(Json(Detail::of(&client, SystemTime::now())))
}

#[derive(Serialize)]
pub(super) struct EntriesView {
    entries: Vec<EntryView>,
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    path: String,
    code: &'static str,
    text: String,
}

#[derive(Serialize)]
struct EntryView {
    id: String,
    title: String,
    kind: &'static str,
    file: String,
    families: Vec<&'static str>,
    hidden: bool,
    unbootable: Option<ReasonView>,
}

pub(super) async fn entries(State(shared): State<Arc<Shared>>) -> Json<EntriesView> {
    let snapshot = shared.seams.catalog.snapshot();
    let view = |entry: &Entry| EntryView {
        id: entry.id.clone(),
        title: entry.title.clone(),
        kind: entry.kind.name(),
        file: entry.kind.main_file().to_owned(),
        families: entry.families.iter().map(|f| f.name()).collect(),
        hidden: entry.hidden,
        unbootable: entry.unbootable.as_ref().map(|r| ReasonView {
            code: r.code,
            text: r.text.to_string(),
        }),
    };
    let problem = |problem: &bootstorm_catalog::Problem| ProblemView {
        path: problem.path.clone(),
        code: problem.code,
        text: problem.text.to_string(),
    };
    Json(EntriesView {
        entries: snapshot.entries().iter().map(view).collect(),
        problems: snapshot.problems().iter().map(problem).collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachinesQuery {
    cursor: Option<i64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct MachinesView {
    machines: Vec<MachineView>,
    next: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct MachineView {
    mac: Option<String>,
    guid: Option<String>,
    arch: Option<u16>,
    name: Option<String>,
    boot: Option<String>,
    phase: String,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

pub(super) async fn machines(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<MachinesQuery>, QueryRejection>,
) -> Answer<MachinesView> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = limit(query.limit)?;
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let records = shared.seams.machines.page(query.cursor, wanted).await?;
    let is_full = records.len() >= limit;
    let next = records.last().filter(|_| is_full).map(|r| r.id);
    Ok(Json(MachinesView {
        machines: records.into_iter().map(MachineView::of).collect(),
        next,
    }))
}

pub(super) async fn machine(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<MachineView> {
    let mac = mac(&text)?;
    let record = shared.seams.machines.get(mac).await?;
    let record = record.ok_or_else(|| unknown_machine(mac))?;
    Ok(Json(MachineView::of(record)))
}

/// What is left out stays as it is; null takes it away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineChange {
    #[serde(default, deserialize_with = "named")]
    boot: Option<Option<String>>,
    #[serde(default, deserialize_with = "named")]
    name: Option<Option<String>>,
}

pub(super) async fn put_machine(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<MachineView> {
    let mac = mac(&text)?;
    let change: MachineChange = json(&headers, body)?;
    if let Some(Some(boot)) = &change.boot {
        known_entry(&shared, boot)?;
    }
    let machines = &shared.seams.machines;
    if let Some(name) = &change.name {
        machines.rename(mac, name.as_deref()).await?;
    }
    if let Some(boot) = &change.boot {
        machines.assign(mac, boot.as_deref()).await?;
    }
    let record = machines.get(mac).await?;
    let record = record.ok_or_else(|| unknown_machine(mac))?;
    Ok(Json(MachineView::of(record)))
}

impl MachineView {
    fn of(record: MachineRecord) -> Self {
        Self {
            mac: record.macs.first().map(|mac| mac.to_string()),
            guid: record.guid.map(|g| g.to_string()),
            arch: record.arch.map(|a| a.0),
            name: record.name,
            boot: record.boot,
            phase: record.phase,
            first_seen: time(record.first_seen),
            last_seen: time(record.last_seen),
        }
    }
}

fn known_entry(shared: &Shared, boot: &str) -> Result<(), Problem> {
    let snapshot = shared.seams.catalog.snapshot();
    if matches!(boot, "local" | "menu") || snapshot.entry(boot).is_some() {
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

/// Reads a JSON body. Asking for its type keeps forms of other sites out.
fn json<T: for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(|rejection| {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "web.body-too-large",
            _ => "web.bad-body",
        };
        Problem::new(rejection.status(), code, rejection.body_text())
    })?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "the body must be `Content-Type: application/json`";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "web.not-json", detail));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request("web.bad-json", error.to_string()))
}

/// Tells null from absent.
fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => {
            let detail = format!("limit is {other}; it can be 1 to {LIMIT_MAX}");
            Err(Problem::bad_request("web.bad-query", detail))
        }
    }
}

fn phase(name: &str) -> Result<Phase, Problem> {
    let phase = Phase::ALL.into_iter().find(|p| p.name() == name);
    phase.ok_or_else(|| {
        let names: Vec<_> = Phase::ALL.iter().map(|p| p.name()).collect();
        let detail = format!(
            "`{}` is no phase; there are {}",
            name.escape_debug(),
            names.join(", ")
        );
        Problem::bad_request("web.bad-query", detail)
    })
}

pub(super) fn mac(text: &str) -> Result<MacAddress, Problem> {
    text.parse()
        .map_err(|e: bootstorm_proto::types::NotAnAddress| {
            Problem::bad_request("web.bad-mac", e.to_string())
        })
}

fn unknown_machine(mac: MacAddress) -> Problem {
    let detail = format!("{mac} was never seen, named or assigned anything");
    Problem::new(StatusCode::NOT_FOUND, "web.unknown-machine", detail)
}

fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::bad_request("web.bad-query", rejection.body_text())
}

pub(super) fn time(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}
