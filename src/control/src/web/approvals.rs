//! `/api/v1/approvals`. Field names are documented in docs/reference/api.md and stay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use bootstorm_store::{Approval, ApprovalState, Edit, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{Answer, time};
use super::body;
use super::machines::bootable;
use super::problem::Problem;
use super::router::Shared;

/// Who decides, where nobody says.
const SOMEBODY: &str = "admin";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/approvals", get(list))
        .route("/api/v1/approvals/{code}", get(show))
        .route("/api/v1/approvals/{code}/approve", post(approve))
        .route("/api/v1/approvals/{code}/deny", post(deny))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsQuery {
    cursor: Option<String>,
    limit: Option<usize>,
    state: Option<String>,
}

#[derive(Serialize)]
struct ApprovalsView {
    approvals: Vec<ApprovalView>,
    next: Option<String>,
}

/// A request as the API and the command line show it.
#[derive(Debug, Serialize)]
pub struct ApprovalView {
    code: String,
    state: &'static str,
    mac: Option<String>,
    guid: Option<String>,
    facts: Value,
    by: Option<String>,
    reason: Option<String>,
    created: Timestamp,
    decided: Option<Timestamp>,
    expires: Timestamp,
}

#[derive(Serialize)]
struct Approved {
    #[serde(flatten)]
    approval: ApprovalView,
    machine: Option<i64>,
}

async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ApprovalsQuery>, QueryRejection>,
) -> Answer<ApprovalsView> {
    let Query(query) = query.map_err(body::unread_query)?;
    let limit = body::limit(query.limit)?;
    let state = query.state.as_deref().map(str::parse::<ApprovalState>);
    let state = state
        .transpose()
        .map_err(|e| body::bad_query(e.to_string()))?;
    let before = query.cursor.as_deref().map(place).transpose()?;
    let before = before.as_ref().map(|(at, code)| (*at, code.as_str()));
    let wanted = u32::try_from(limit).unwrap_or(u32::MAX);
    let page = shared.seams.approvals.page(state, before, wanted).await?;
    let is_full = page.len() >= limit;
    Ok(Json(ApprovalsView {
        next: page.last().filter(|_| is_full).map(cursor),
        approvals: page.into_iter().map(ApprovalView::from).collect(),
    }))
}

async fn show(State(shared): State<Arc<Shared>>, Path(code): Path<String>) -> Answer<ApprovalView> {
    let found = shared.seams.approvals.get(&code).await?;
    let found = found.ok_or(StoreError::UnknownApproval { code })?;
    Ok(Json(found.into()))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Approve {
    name: Option<String>,
    tags: BTreeSet<String>,
    boot: Option<String>,
    by: Option<String>,
}

async fn approve(
    State(shared): State<Arc<Shared>>,
    Path(code): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Approved> {
    let said: Approve = body::json_if_any(&headers, body)?;
    if let Some(boot) = &said.boot {
        bootable(&shared.seams.catalog, boot)?;
    }
    let mut edits = vec![Edit::Admit];
    edits.extend(said.name.map(|name| Edit::Name(Some(name))));
    edits.extend(said.boot.map(|boot| Edit::Boot(Some(boot))));
    edits.extend(said.tags.into_iter().map(Edit::AddTag));
    let by = said.by.as_deref().unwrap_or(SOMEBODY);
    let approved = shared.seams.approvals.approve(&code, edits, by).await;
    let (approval, machine) = approved?;
    Ok(Json(Approved {
        approval: approval.into(),
        machine,
    }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Deny {
    reason: Option<String>,
    by: Option<String>,
}

async fn deny(
    State(shared): State<Arc<Shared>>,
    Path(code): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<ApprovalView> {
    let said: Deny = body::json_if_any(&headers, body)?;
    let by = said.by.as_deref().unwrap_or(SOMEBODY);
    let denied = shared.seams.approvals.deny(&code, said.reason, by).await?;
    Ok(Json(denied.into()))
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        Self {
            code: approval.code,
            state: approval.state.name(),
            mac: approval.mac.map(|mac| mac.to_string()),
            guid: approval.guid.map(|guid| guid.to_string()),
            facts: serde_json::from_str(&approval.facts).unwrap_or_default(),
            by: approval.decider,
            reason: approval.reason,
            created: time(approval.created),
            decided: approval.decided.map(time),
            expires: time(approval.expires),
        }
    }
}

/// The place of a request in the list: its time in milliseconds and its code.
fn cursor(last: &Approval) -> String {
    let since = last.created.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    format!("{millis}.{}", last.code)
}

fn place(cursor: &str) -> Result<(SystemTime, String), Problem> {
    let place = cursor.split_once('.').and_then(|(millis, code)| {
        let since = Duration::from_millis(millis.parse().ok()?);
        let at = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some((at, code.to_owned()))
    });
    place.ok_or_else(|| body::bad_query("cursor is not the `next` of a page"))
}
