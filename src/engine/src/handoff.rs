//! Where the data plane meets the rest: the decision, the questions, the answers.

use std::sync::Arc;

use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::http::{BootRequest, BootResponse};
use crossbeam_channel::{Sender, TrySendError};

use crate::driver::Waker;

/// The policy's last snapshot. Called on the packet path: never blocks, never waits.
pub trait Decide: Send + Sync + 'static {
    /// What a DHCP client boots.
    fn dhcp(&self, client: &ClientFacts) -> Answer;
}

/// A request for the control plane.
#[derive(Debug)]
pub struct Ask {
    /// Where the answer goes.
    pub ticket: Ticket,
    /// The request.
    pub request: BootRequest,
}

/// Names the connection that waits for an answer. An answer to a connection that is gone is
/// dropped: the generation no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) worker: u16,
    pub(crate) connection: crate::driver::ConnId,
}

/// Takes answers back to the workers that asked.
#[derive(Clone, Debug)]
pub struct Replies {
    lanes: Arc<[Lane]>,
}

/// One worker's queue of answers, and what wakes it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) answers: Sender<(Ticket, BootResponse)>,
    pub(crate) waker: Waker,
}

/// The worker's queue is full or the worker is gone: the client will ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was dropped: {0}")]
pub struct AnswerDropped(&'static str);

impl Replies {
    pub(crate) fn new(lanes: Vec<Lane>) -> Self {
        Self {
            lanes: lanes.into(),
        }
    }

    /// Sends `response` to the connection behind `ticket`. Never blocks.
    ///
    /// # Errors
    /// [`AnswerDropped`] when the worker's queue is full or the engine has stopped.
    pub fn send(&self, ticket: Ticket, response: BootResponse) -> Result<(), AnswerDropped> {
        let lane = self
            .lanes
            .get(usize::from(ticket.worker))
            .ok_or(AnswerDropped("no such worker"))?;
        lane.answers
            .try_send((ticket, response))
            .map_err(|error| match error {
                TrySendError::Full(_) => AnswerDropped("the worker's queue is full"),
                TrySendError::Disconnected(_) => AnswerDropped("the worker has stopped"),
            })?;
        lane.waker.wake();
        Ok(())
    }
}
