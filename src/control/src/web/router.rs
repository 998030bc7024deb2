//! Which path leads where, and what every request goes through.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use bootstorm_telemetry::metrics;
use tokio::sync::watch;

use super::auth::Auth;
use super::connection::Peer;
use super::problem::Problem;
use super::{WebSeams, api, approvals, classifier, explain, history, machines, stream};

/// What handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) seams: WebSeams,
    pub(super) auth: Auth,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Bytes of a request body.
const BODY_MAX: usize = 64 * 1024;
/// Time for a request to be read and answered; streams are answered with their head.
const ANSWER: Duration = Duration::from_secs(30);
/// The same for a list of machines.
const IMPORT: Duration = Duration::from_secs(300);

pub(super) fn router(seams: WebSeams, stopped: watch::Receiver<bool>) -> Router {
    let shared = Arc::new(Shared {
        auth: Auth::new(seams.token.clone()),
        seams,
        stopped,
    });
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(healthz))
        .route("/metrics", get(exposition))
        .route("/api/v1/about", get(api::about))
        .route("/api/v1/clients", get(api::clients))
        .route("/api/v1/clients/{id}", get(api::client))
        .route("/api/v1/events", get(stream::events))
        .route("/api/v1/entries", get(api::entries))
        .route("/api/v1/boots", get(history::boots))
        .route("/api/v1/boots/summary", get(history::summary))
        .route("/api/v1/machines/{id}/history", get(history::events))
        .route("/api/v1/classifier", get(classifier::classifier))
        .route("/api/v1/classifier/{mac}", get(classifier::machine))
        .route("/api/v1/explain", get(explain::explain))
        .merge(machine_routes())
        .merge(approvals::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), door))
        .with_state(shared)
}

fn machine_routes() -> Router<Arc<Shared>> {
    let import = post(machines::import).layer(DefaultBodyLimit::max(machines::IMPORT_MAX));
    Router::new()
        .route("/api/v1/machines", get(machines::list).post(machines::add))
        .route(machines::IMPORT, import)
        .route(
            "/api/v1/machines/{id}",
            get(machines::show)
                .put(machines::change)
                .delete(machines::remove),
        )
        .route(
            "/api/v1/machines/{id}/reimage",
            post(machines::reimage).delete(machines::no_reimage),
        )
        .route("/api/v1/machines/{id}/hold", post(machines::hold))
        .route("/api/v1/machines/{id}/release", post(machines::release))
        .route(
            "/api/v1/machines/{id}/tags/{tag}",
            put(machines::tag).delete(machines::no_tag),
        )
}

/// Admission, time limit, headers and counting, for every request.
async fn door(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_open = path == "/healthz" || (path == "/metrics" && reads && peer.is_loopback());
    let admitted = if is_open {
        Ok(())
    } else {
        shared.auth.admit(request.headers(), peer)
    };
    let limit = if path == machines::IMPORT {
        IMPORT
    } else {
        ANSWER
    };
    tracing::trace!(%peer, method = %request.method(), path, "web request");
    let mut response = match admitted {
        Ok(()) => tokio::time::timeout(limit, next.run(request))
            .await
            .unwrap_or_else(|_| {
                let detail = "the request was not read and answered in time";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "web.timeout", detail).into_response()
            }),
        Err(problem) => {
            shared.seams.metrics.web.denied(problem.code());
            problem.into_response()
        }
    };
    for (name, value) in SAFE_HEADERS {
        let value = axum::http::HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    shared
        .seams
        .metrics
        .web
        .response(response.status().as_u16());
    response
}

/// Nothing here is to be kept by a cache, guessed at, framed, or run as a page of somebody else.
const SAFE_HEADERS: [(header::HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

async fn front() -> &'static str {
    concat!(
        "bootstorm ",
        env!("CARGO_PKG_VERSION"),
        "\n\n\
         /api/v1/about          the server: listeners, certificate, counts\n\
         /api/v1/clients        machines of late, each with its phase, bytes and reason\n\
         /api/v1/clients/MAC    one of them with its history\n\
         /api/v1/events         the same as server-sent events\n\
         /api/v1/entries        what can be booted\n\
         /api/v1/machines       machines of the database; PUT /api/v1/machines/ID assigns\n\
         /api/v1/machines/ID/history  what happened to one of them\n\
         /api/v1/boots          boots with their dates, as JSON or CSV; /summary counts them\n\
         /api/v1/approvals      machines that ask to be let in; POST .../CODE/approve or .../deny\n\
         /api/v1/explain        why a machine is answered what it is: ?mac=, ?ip= or ?guid=\n\
         /api/v1/classifier     packets that were passed and dropped, and by which rules\n\
         /metrics               OpenMetrics\n\
         /healthz               ok\n"
    )
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn exposition(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    measure(&shared.seams);
    let text = shared.seams.metrics.encode();
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

/// What is only known by looking.
fn measure(seams: &WebSeams) {
    let metrics = &seams.metrics;
    let not_after = seams.authority.identity().not_after;
    metrics
        .certificate_expiry
        .set(metrics::unix_seconds(not_after));
    classifier::measure(&*seams.classifier, metrics);
    let (waiting, dropped) = seams.machines.spooled();
    let history = &metrics.history;
    let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
    history.spool_bytes.set(waiting);
    history
        .dropped
        .inc_by(dropped.saturating_sub(history.dropped.get()));
    let catalog = seams.catalog.snapshot();
    let (files, bytes) = catalog
        .files()
        .fold((0, 0), |(files, bytes), f| (files + 1, bytes + f.len()));
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.catalog.files.set(files);
    metrics
        .catalog
        .bytes
        .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    metrics.catalog.entries.set(count(catalog.entries().len()));
    metrics
        .catalog
        .problems
        .set(count(catalog.problems().len()));
}

async fn not_found() -> Problem {
    let detail = "there is nothing here; GET / lists what there is";
    Problem::new(StatusCode::NOT_FOUND, "web.not-found", detail)
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not possible here; the Allow header says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "web.wrong-method", detail)
}
