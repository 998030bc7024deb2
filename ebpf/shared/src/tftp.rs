//! TFTP by its opcode (RFC 1350, section 5; RFC 2347).

use crate::class::{Broken, Class};

/// Sorts a datagram to the port of requests by its first two bytes. In single-port mode the
/// acknowledgements of transfers come there too.
pub(crate) fn request(opcode: Option<[u8; 2]>) -> Class {
    match opcode {
        Some([0, READ]) => Class::TftpRequest,
        Some([0, WRITE..=OPTIONS]) => Class::TftpOther,
        _ => Class::Malformed(Broken::TftpOpcode),
    }
}

/// Sorts a datagram to a data port, where a read request has no business. What is no TFTP is not
/// ours: the port may be the ephemeral one of some other program.
pub(crate) fn data(opcode: Option<[u8; 2]>) -> Class {
    match opcode {
        Some([0, READ..=OPTIONS]) => Class::TftpOther,
        _ => Class::NotOurs,
    }
}

const READ: u8 = 1;
const WRITE: u8 = 2;
const OPTIONS: u8 = 6;
