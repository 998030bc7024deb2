//! Many machines at a time, as CSV.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use bootstorm_store::{Edit, Key, Once};
use serde::Serialize;

use super::bootable;
use crate::import::{self, Row};
use crate::web::api::Answer;
use crate::web::body;
use crate::web::problem::Problem;
use crate::web::router::Shared;

/// Bytes of a list: 100,000 lines of 320.
pub(in crate::web) const BODY_MAX: usize = 32 << 20;

#[derive(Serialize)]
pub(in crate::web) struct Imported {
    machines: usize,
}

/// Takes a list in whole or not at all.
pub(in crate::web) async fn import(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Imported> {
    let body = body.map_err(body::unread)?;
    body::of_type(&headers, "text/csv", "web.not-csv")?;
    let text = std::str::from_utf8(&body).map_err(|error| {
        let line = body
            .iter()
            .take(error.valid_up_to())
            .filter(|b| **b == b'\n');
        bad_list(format!("line {}: not UTF-8", line.count() + 1))
    })?;
    let rows = import::read(text).map_err(|faults| bad_list(faults.to_string()))?;
    let wanted = rows.iter().flat_map(|row| [&row.boot, &row.once]).flatten();
    for boot in wanted.collect::<BTreeSet<_>>() {
        bootable(&shared.seams.catalog, boot)?;
    }
    let (lines, changes): (Vec<_>, Vec<_>) = rows.into_iter().filter_map(change).unzip();
    let machines = changes.len();
    let changed = shared.seams.machines.change_all(&changes).await;
    match changed {
        Ok(()) => Ok(Json(Imported { machines })),
        Err((at, error)) => {
            let problem = Problem::from(error);
            Err(match lines.get(at) {
                Some(line) => problem.at(format!("line {line}")),
                None => problem,
            })
        }
    }
}

/// Its line and what it says; nothing for a machine without MAC or GUID, which no list has.
fn change(row: Row) -> Option<(u64, (Key, Vec<Edit>))> {
    let by_mac = row.macs.first().copied().map(Key::Mac);
    let key = by_mac.or(row.guid.map(Key::Guid))?;
    let once = |boot| Once {
        boot,
        by: Some("import".to_owned()),
        at: SystemTime::now(),
    };
    let mut edits = vec![Edit::Admit];
    edits.extend(row.macs.into_iter().map(Edit::AddMac));
    edits.extend(row.guid.map(|guid| Edit::Guid(Some(guid))));
    edits.extend(row.name.map(|name| Edit::Name(Some(name))));
    edits.extend(row.serial.map(|serial| Edit::Serial(Some(serial))));
    edits.extend(row.asset.map(|asset| Edit::Asset(Some(asset))));
    edits.extend(row.boot.map(|boot| Edit::Boot(Some(boot))));
    edits.extend(row.once.map(|boot| Edit::Once(Some(once(boot)))));
    edits.extend(row.tags.into_iter().map(Edit::AddTag));
    let values = row.values.into_iter();
    edits.extend(values.map(|(name, value)| Edit::Value(name, Some(value))));
    Some((row.line, (key, edits)))
}

fn bad_list(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "web.bad-list", detail)
}
