//! HTTP/1.1 as the boot endpoint speaks it: RFC 9110, RFC 9112.
//!
//! [`Connection`] cuts a byte stream into requests in the order they came; [`Head`] is one request's
//! head, [`select`] decides which part of a file answers it, [`ResponseHead`] writes what goes in
//! front of the body.

mod conditional;
mod connection;
mod content;
mod date;
mod exchange;
mod head;
mod response;
mod target;

pub use conditional::{ByteRange, Conditions, Selection, Validators, select};
pub use connection::{Connection, Next};
pub use content::content_type;
pub use date::{HttpDate, parse_date};
pub use exchange::{BODY_MAX, BootRequest, BootResponse, Method};
pub use head::{BadRequest, BodyLength, HEAD_MAX, HEADERS_MAX, Head, Parsed, Version};
pub use response::ResponseHead;
pub use target::{decode_path, encode_path};
