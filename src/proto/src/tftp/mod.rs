//! TFTP: RFC 1350, 2347, 2348, 2349, 7440.
//!
//! [`ReadRequest::parse`] reads what a client asks for, [`Transfer`] sends it. Neither sees a
//! socket: a transfer answers each packet and each expiry of its timer with one [`Output`], and
//! DATA leaves as a [`Window`] that names file ranges, so that the payload is never copied here.

mod flow;
mod options;
mod outcome;
mod packet;
mod transfer;

pub use options::{Limits, Rollover};
pub use outcome::Outcome;
pub use packet::{Mode, Packet, ReadRequest, Refusal, error_code, unknown_tid};
pub use transfer::{Allowance, Output, Transfer, Window};
