//! Where the data plane meets the rest: the decision, the questions, the answers.

use std::net::IpAddr;
use std::sync::Arc;

use bootstorm_catalog::File;
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::http::{BootRequest, BootResponse};
use bootstorm_telemetry::event::Reason;
use crossbeam_channel::{Sender, TrySendError};

use crate::driver::Waker;

/// The policy's last snapshot. Called on the packet path: never blocks, never waits.
pub trait Decide: Send + Sync + 'static {
    /// What a DHCP client boots.
    fn dhcp(&self, client: &ClientFacts) -> Answer;

    /// Whether a file of this name, which the catalog does not have, may be made for the machine
    /// that asks for it by TFTP. Nobody is asked about any other name.
    fn makes(&self, _name: &str) -> bool {
        false
    }
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

/// What a DHCP client boots has to be asked elsewhere: [`Decide::dhcp`] said [`Answer::Later`].
#[derive(Clone, Debug)]
pub struct Question {
    /// Whom to tell when it is decided.
    pub ticket: DhcpTicket,
    /// The machine.
    pub facts: ClientFacts,
}

/// Names the request that waits for a decision. It waits for ten seconds at most, and goes when
/// its machine asks anew: a decision for a request that is gone is of use to the next one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpTicket {
    pub(crate) worker: u16,
    pub(crate) number: u64,
}

/// A file that a machine asks for by TFTP, which is made for it.
#[derive(Clone, Debug)]
pub struct FileQuestion {
    /// Whom to give it to.
    pub ticket: FileTicket,
    /// Its name, as asked for.
    pub name: Box<str>,
    /// The machine's address.
    pub client: IpAddr,
}

/// Names the request that waits for a file. It waits for ten seconds at most, and goes when its
/// machine asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTicket {
    pub(crate) worker: u16,
    pub(crate) number: u64,
}

/// The file, or why the machine gets none.
pub type MadeFile = Result<Arc<File>, Reason>;

/// Takes answers back to the workers that asked.
#[derive(Clone, Debug)]
pub struct Replies {
    lanes: Arc<[Lane]>,
}

/// One worker's queues, and what wakes it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) answers: Sender<(Ticket, BootResponse)>,
    pub(crate) decided: Sender<DhcpTicket>,
    pub(crate) files: Sender<(FileTicket, MadeFile)>,
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
        let lane = self.lane(ticket.worker)?;
        lane.answers.try_send((ticket, response))?;
        lane.waker.wake();
        Ok(())
    }

    /// Lets the worker behind `ticket` ask [`Decide::dhcp`] again and answer the machine. Never
    /// blocks.
    ///
    /// # Errors
    /// [`AnswerDropped`] when the worker's queue is full or the engine has stopped.
    pub fn decided(&self, ticket: DhcpTicket) -> Result<(), AnswerDropped> {
        let lane = self.lane(ticket.worker)?;
        lane.decided.try_send(ticket)?;
        lane.waker.wake();
        Ok(())
    }

    /// Sends the file, or says why not, to the machine behind `ticket`. Never blocks.
    ///
    /// # Errors
    /// [`AnswerDropped`] when the worker's queue is full or the engine has stopped.
    pub fn made(&self, ticket: FileTicket, file: MadeFile) -> Result<(), AnswerDropped> {
        let lane = self.lane(ticket.worker)?;
        lane.files.try_send((ticket, file))?;
        lane.waker.wake();
        Ok(())
    }

    fn lane(&self, worker: u16) -> Result<&Lane, AnswerDropped> {
        let lane = self.lanes.get(usize::from(worker));
        lane.ok_or(AnswerDropped("no such worker"))
    }
}

impl<T> From<TrySendError<T>> for AnswerDropped {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self("the worker's queue is full"),
            TrySendError::Disconnected(_) => Self("the worker has stopped"),
        }
    }
}
