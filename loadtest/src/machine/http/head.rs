//! Heads of answers.

use std::time::Duration;

use super::framing::Framing;
use super::request::Method;
use crate::finding::{Code, Finding};
use crate::machine::body::Told;

const HEADERS_MAX: usize = 64;

/// A longer head is refused, in bytes.
pub(crate) const HEAD_MAX: usize = 16 * 1024;

/// Bytes of a header's value that are kept.
const VALUE_MAX: usize = 4096;

/// How long iPXE waits where `Retry-After` is no number.
const RETRY_USUAL: Duration = Duration::from_secs(5);

/// The head of an answer, as far as a file's fetching needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
    /// The body comes in chunks.
    pub(crate) chunked: bool,
    /// The server closes the connection behind it.
    pub(crate) closes: bool,
    /// `Location`.
    pub(crate) location: Option<String>,
    /// `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// `Content-Type`, without its parameters, in lower case.
    pub(crate) kind: Option<String>,
    /// What the `ETag` says of the bytes.
    pub(crate) told: Option<Told>,
}

impl Head {
    /// The head at the beginning of `bytes` and its length; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`Code::HttpMalformed`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Finding> {
        let malformed = |what: String| Err(Finding::new(Code::HttpMalformed, what));
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return malformed("a head of 16 KiB".to_owned()),
            Err(error) => {
                let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
                return malformed(format!("{error}: `{begin}`"));
            }
        };
        let fields = Fields(response.headers);
        let lengths: Vec<&str> = fields.all("content-length").collect();
        let content = lengths.first().map(|length| length.trim().parse::<u64>());
        let content = match content {
            Some(Ok(content)) if lengths.iter().all(|other| *other == lengths[0]) => Some(content),
            None => None,
            Some(_) => return malformed(format!("Content-Length: {}", lengths.join(", "))),
        };
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        let connection = fields.first("connection").unwrap_or_default();
        let ours = fields
            .first("server")
            .is_some_and(|server| server.starts_with("bootstorm"));
        let head = Self {
            status: response.code.unwrap_or_default(),
            length: content,
            chunked: fields.all("transfer-encoding").any(|coding| {
                let last = coding.rsplit(',').next().unwrap_or_default();
                last.trim().eq_ignore_ascii_case("chunked")
            }),
            closes: connection.split(',').map(str::trim).any(closes)
                || (response.version == Some(0) && !connection.eq_ignore_ascii_case("keep-alive")),
            location: fields.first("location").map(str::to_owned),
            retry_after: fields.first("retry-after").map(|value| {
                let seconds = value.trim().parse::<u32>().map(u64::from);
                seconds.map_or(RETRY_USUAL, Duration::from_secs)
            }),
            kind: fields.first("content-type").map(|value| {
                let kind = value.split(';').next().unwrap_or_default();
                kind.trim().to_ascii_lowercase()
            }),
            told: fields.first("etag").and_then(|etag| told(etag, ours)),
        };
        Ok(Some((head, length)))
    }

    /// How the body is delimited (RFC 9112, section 6.3).
    pub(crate) const fn framing(&self, method: Method) -> Framing {
        if matches!(method, Method::Head) || matches!(self.status, 100..=199 | 204 | 304) {
            Framing::Length(0)
        } else if self.chunked {
            Framing::chunked()
        } else if let Some(length) = self.length {
            Framing::Length(length)
        } else {
            Framing::ToEnd
        }
    }

    /// Whether the file itself is what comes.
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

struct Fields<'a, 'b>(&'a [httparse::Header<'b>]);

impl<'b> Fields<'_, 'b> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'b str> {
        let named = self
            .0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.filter_map(|field| std::str::from_utf8(field.value).ok())
    }

    fn first(&self, name: &'static str) -> Option<&'b str> {
        self.all(name)
            .next()
            .filter(|value| value.len() <= VALUE_MAX)
    }
}

/// An entity tag that can be a SHA-256: bootstorm's own is the first half or the whole of it; what
/// others write with 64 digits may be one.
fn told(etag: &str, ours: bool) -> Option<Told> {
    let digits = etag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let long_enough = digits.len() == 64 || (ours && digits.len() == 32);
    let is_one = long_enough && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| Told {
        digits: digits.to_ascii_lowercase(),
        certain: ours,
    })
}
