//! The resources of `/api/v1`. Field names are documented in docs/reference/api.md and stay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bootstorm_catalog::Entry;
use bootstorm_proto::types::MacAddress;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::body;
use super::problem::Problem;
use super::router::Shared;
use crate::clients::{Detail, Phase, Summary};

pub(super) type Answer<T> = Result<Json<T>, Problem>;

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
    let Query(query) = query.map_err(body::unread_query)?;
    let phase = query.phase.as_deref().map(phase).transpose()?;
    let page = shared
        .seams
        .clients
        .page(query.cursor, body::limit(query.limit)?, phase);
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

fn phase(name: &str) -> Result<Phase, Problem> {
    let phase = Phase::ALL.into_iter().find(|p| p.name() == name);
    phase.ok_or_else(|| {
        let names: Vec<_> = Phase::ALL.iter().map(|p| p.name()).collect();
        let detail = format!(
            "`{}` is no phase; there are {}",
            name.escape_debug(),
            names.join(", ")
        );
        body::bad_query(detail)
    })
}

pub(super) fn time(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}
