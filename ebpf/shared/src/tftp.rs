//! TFTP by its opcode (RFC 1350, section 5; RFC 2347).

use crate::class::{Broken, Class};

/// Sorts a datagram to port 69. In single-port mode the acknowledgements of transfers come there
/// too.
pub(crate) fn classify(payload: &[u8]) -> Class {
    match payload {
        [0, READ, ..] => Class::TftpRequest,
        other => classify_data(other),
    }
}

/// Sorts a datagram to a TFTP data port, where a read request has no business.
#[must_use]
pub fn classify_data(payload: &[u8]) -> Class {
    match payload {
        [0, READ..=OPTIONS, ..] => Class::TftpOther,
        _ => Class::Malformed(Broken::TftpOpcode),
    }
}

const READ: u8 = 1;
const OPTIONS: u8 = 6;
