//! What people have a machine do: boot something once, wait, go on.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use bootstorm_store::{Edit, Once};
use serde::Deserialize;

use super::{MachineView, bootable, key, unknown};
use crate::web::api::Answer;
use crate::web::body;
use crate::web::router::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reimage {
    boot: String,
    by: Option<String>,
}

/// What it boots next time, once.
pub(in crate::web) async fn reimage(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<MachineView> {
    let order: Reimage = body::json(&headers, body)?;
    bootable(&shared.seams.catalog, &order.boot)?;
    let once = Once {
        boot: order.boot,
        by: order.by,
        at: SystemTime::now(),
    };
    edit(&shared, &text, Edit::Once(Some(once))).await
}

/// It boots nothing once.
pub(in crate::web) async fn no_reimage(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<MachineView> {
    known(&shared, &text, Edit::Once(None)).await
}

pub(in crate::web) async fn hold(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<MachineView> {
    edit(&shared, &text, Edit::Held(true)).await
}

pub(in crate::web) async fn release(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
) -> Answer<MachineView> {
    known(&shared, &text, Edit::Held(false)).await
}

pub(in crate::web) async fn tag(
    State(shared): State<Arc<Shared>>,
    Path((text, tag)): Path<(String, String)>,
) -> Answer<MachineView> {
    edit(&shared, &text, Edit::AddTag(tag)).await
}

pub(in crate::web) async fn no_tag(
    State(shared): State<Arc<Shared>>,
    Path((text, tag)): Path<(String, String)>,
) -> Answer<MachineView> {
    known(&shared, &text, Edit::RemoveTag(tag)).await
}

/// Takes something away: a machine that nobody knows is not made for that.
async fn known(shared: &Shared, text: &str, edit_: Edit) -> Answer<MachineView> {
    if shared.seams.machines.get(&key(text)).await?.is_none() {
        return Err(unknown(text));
    }
    edit(shared, text, edit_).await
}

async fn edit(shared: &Shared, text: &str, edit: Edit) -> Answer<MachineView> {
    let machines = &shared.seams.machines;
    let changed = machines.change(&key(text), |_| vec![edit]).await?;
    Ok(Json(MachineView::of(changed)))
}
