//! Server-sent events: machines as they change.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use bootstorm_telemetry::metrics::Metrics;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::problem::Problem;
use super::router::Shared;
use crate::clients::Update;

/// Streams at once.
const STREAMS_MAX: i64 = 64;

/// `GET /api/v1/events`: `ready` once, then `client` for each machine that changed, `lagged` when
/// this reader was too slow to get them all.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let metrics = &shared.seams.metrics;
    let seat = Seat::take(metrics).ok_or_else(|| {
        let detail = format!("{STREAMS_MAX} streams are open already");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "web.too-many-streams",
            detail,
        )
    })?;
    let reader = Reader {
        updates: shared.seams.clients.subscribe(),
        stopped: shared.stopped.clone(),
        began: false,
        seat,
    };
    let stream = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

struct Reader {
    updates: broadcast::Receiver<Update>,
    stopped: watch::Receiver<bool>,
    began: bool,
    seat: Seat,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        if !self.began {
            self.began = true;
            return Some(Event::default().event("ready").data("{}"));
        }
        let update = tokio::select! {
            update = self.updates.recv() => update,
            _ = self.stopped.wait_for(|stopped| *stopped) => return None,
        };
        match update {
            Ok(update) => Some(
                Event::default()
                    .event("client")
                    .id(update.sequence.to_string())
                    .data(&*update.json()),
            ),
            Err(RecvError::Lagged(missed)) => {
                self.seat.metrics.web.stream_lagged.inc_by(missed);
                let data = format!("{{\"missed\":{missed}}}");
                Some(Event::default().event("lagged").data(data))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

/// The right to one stream, given back when dropped.
struct Seat {
    metrics: Arc<Metrics>,
}

impl Seat {
    fn take(metrics: &Arc<Metrics>) -> Option<Self> {
        let before = metrics.web.streams.inc();
        let seat = Self {
            metrics: Arc::clone(metrics),
        };
        (before < STREAMS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.web.streams.dec();
    }
}
