//! What requests bring: queries and bodies.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::{HeaderMap, StatusCode, header};
use bootstorm_proto::types::{MacAddress, MachineGuid};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;

/// Items of a page when the request names no limit, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// Reads a JSON body. Asking for its type keeps forms of other sites out.
pub(super) fn json<T: for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(unread)?;
    of_type(headers, "application/json", "web.not-json")?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request("web.bad-json", error.to_string()))
}

/// The same where nothing need be said.
pub(super) fn json_if_any<T: Default + for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    match body {
        Ok(body) if body.is_empty() => Ok(T::default()),
        body => json(headers, body),
    }
}

/// Asks for a type that no form has.
pub(super) fn of_type(
    headers: &HeaderMap,
    wanted: &str,
    code: &'static str,
) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("the body must be `Content-Type: {wanted}`");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, code, detail))
}

pub(super) fn unread(rejection: BytesRejection) -> Problem {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "web.body-too-large",
        _ => "web.bad-body",
    };
    Problem::new(rejection.status(), code, rejection.body_text())
}

/// Tells null from absent.
pub(super) fn named<'de, D, T>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(value).map(Some)
}

pub(super) fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => {
            let detail = format!("limit is {other}; it can be 1 to {LIMIT_MAX}");
            Err(bad_query(detail))
        }
    }
}

pub(super) fn mac(text: &str) -> Result<MacAddress, Problem> {
    text.parse()
        .map_err(|e: bootstorm_proto::types::NotAnAddress| {
            Problem::bad_request("web.bad-mac", e.to_string())
        })
}

pub(super) fn guid(text: &str) -> Result<MachineGuid, Problem> {
    let bad = |detail: String| Problem::bad_request("web.bad-guid", detail);
    let guid: MachineGuid = text
        .parse()
        .map_err(|e: bootstorm_proto::types::NotAnAddress| bad(e.to_string()))?;
    if guid.is_blank() {
        return Err(bad(format!("{guid} is what firmware without one sends")));
    }
    Ok(guid)
}

pub(super) fn unread_query(rejection: QueryRejection) -> Problem {
    bad_query(rejection.body_text())
}

pub(super) fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::bad_request("web.bad-query", detail)
}
