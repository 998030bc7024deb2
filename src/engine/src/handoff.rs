//! Where the data plane meets the rest: the decision, the questions, the answers.

use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::http::BootRequest;

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
