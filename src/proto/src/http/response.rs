//! Response heads: RFC 9112, section 4; RFC 9110, sections 6 and 8.

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;
use std::time::SystemTime;

use super::conditional::{Selection, Validators};
use super::date::HttpDate;
use super::exchange::BootResponse;
use super::head::{BadRequest, Version};

/// Writes a response head into a buffer, field by field.
///
/// Values cannot break out of their line: control characters are written as `_`.
#[derive(Debug)]
#[must_use = "the head is complete after `end`"]
pub struct ResponseHead<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> ResponseHead<'b> {
    /// Begins with the status line and the date.
    pub fn begin(out: &'b mut Vec<u8>, status: u16, now: SystemTime) -> Self {
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(
            out,
            "HTTP/1.1 {status:03} {}\r\nDate: {}\r\nServer: bootstorm\r\n",
            reason_phrase(status),
            HttpDate(now)
        );
        Self { out }
    }

    /// Any other field.
    pub fn field(self, name: &'static str, value: impl Display) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let start = self.out.len();
        let _ = write!(self.out, "{value}");
        for byte in self.out.iter_mut().skip(start) {
            if *byte < 0x20 || *byte == 0x7f {
                *byte = b'_';
            }
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// `Content-Type`, unless it is empty.
    pub fn content_type(self, value: &str) -> Self {
        if value.is_empty() {
            return self;
        }
        self.field("Content-Type", value)
    }

    /// `Content-Length`.
    pub fn content_length(self, bytes: u64) -> Self {
        self.field("Content-Length", bytes)
    }

    /// Whether the connection stays open. HTTP/1.0 clients are told so, others are told when not.
    pub fn connection(self, version: Version, keep_alive: bool) -> Self {
        match (version, keep_alive) {
            (_, false) => self.field("Connection", "close"),
            (Version::Http10, true) => self.field("Connection", "keep-alive"),
            (Version::Http11, true) => self,
        }
    }

    /// Ends the head.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// The whole head for a file, and which bytes of the file follow it (for GET; HEAD sends
    /// none). The caller adds its own fields in `extra`.
    pub fn file(
        out: &'b mut Vec<u8>,
        selection: &Selection,
        file: &Validators<'_>,
        content_type: &str,
        connection: (Version, bool),
        now: SystemTime,
    ) -> Range<u64> {
        let (status, body) = match selection {
            Selection::Full => (200, 0..file.len),
            Selection::Part(range) => (206, range.clone()),
            Selection::NotModified => (304, 0..0),
            Selection::PreconditionFailed => (412, 0..0),
            Selection::Unsatisfiable => (416, 0..0),
        };
        let mut head = ResponseHead::begin(out, status, now);
        match selection {
            Selection::Full => head = head.content_type(content_type),
            Selection::Part(range) => {
                let (first, last, len) = (range.start, range.end.saturating_sub(1), file.len);
                head = head
                    .content_type(content_type)
                    .field("Content-Range", format_args!("bytes {first}-{last}/{len}"));
            }
            Selection::Unsatisfiable => {
                head = head.field("Content-Range", format_args!("bytes */{}", file.len));
            }
            Selection::NotModified | Selection::PreconditionFailed => {}
        }
        // A 304 must not carry the length of a body that it does not have (RFC 9110, 8.6).
        if *selection != Selection::NotModified {
            head = head.content_length(body.end - body.start);
        }
        head.field("Accept-Ranges", "bytes")
            .field("ETag", file.etag)
            .field("Last-Modified", HttpDate(file.modified))
            .connection(connection.0, connection.1)
            .end();
        body
    }

    /// The whole answer of the control plane, body included unless it is for HEAD.
    pub fn boot(
        out: &'b mut Vec<u8>,
        response: &BootResponse,
        head_only: bool,
        connection: (Version, bool),
        now: SystemTime,
    ) {
        let length = u64::try_from(response.body.len()).unwrap_or(u64::MAX);
        let mut head = ResponseHead::begin(out, response.status, now)
            .content_type(response.content_type)
            .content_length(length)
            .field("Cache-Control", "no-store");
        if let Some(seconds) = response.retry_after {
            head = head.field("Retry-After", seconds);
        }
        if response.status == 405 {
            head = head.field("Allow", ALLOWED);
        }
        head.connection(connection.0, connection.1).end();
        if !head_only {
            out.extend_from_slice(&response.body);
        }
    }

    /// The whole answer to a request that could not be read; the connection closes after it.
    pub fn refusal(out: &'b mut Vec<u8>, refused: &BadRequest, now: SystemTime) {
        let body = format!("{} ({})\n", refused.text, refused.reason);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut head = ResponseHead::begin(out, refused.status, now)
            .content_type("text/plain; charset=utf-8")
            .content_length(length);
        if refused.status == 405 {
            head = head.field("Allow", ALLOWED);
        }
        head.connection(Version::Http11, false).end();
        out.extend_from_slice(body.as_bytes());
    }

    /// The interim answer to `Expect: 100-continue`.
    pub const CONTINUE: &'static [u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
}

const ALLOWED: &str = "GET, HEAD, POST";

const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KEEP: (Version, bool) = (Version::Http11, true);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn file_head(selection: &Selection) -> (String, Range<u64>) {
        let file = Validators {
            len: 1000,
            etag: "\"abc\"",
            modified: now(),
        };
        let mut out = Vec::new();
        let body = ResponseHead::file(&mut out, selection, &file, "application/efi", KEEP, now());
        (String::from_utf8(out).unwrap(), body)
    }

    #[test]
    fn a_file_is_announced_with_all_that_resuming_needs() {
        let (head, body) = file_head(&Selection::Full);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: bootstorm\r\n\
             Content-Type: application/efi\r\nContent-Length: 1000\r\nAccept-Ranges: bytes\r\n\
             ETag: \"abc\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
        assert_eq!(body, 0..1000);
        let (head, body) = file_head(&Selection::Part(10..20));
        assert!(head.starts_with("HTTP/1.1 206 "));
        assert!(head.contains("Content-Range: bytes 10-19/1000\r\n"));
        assert!(head.contains("Content-Length: 10\r\n"));
        assert_eq!(body, 10..20);
    }

    #[test]
    fn answers_without_a_body_say_so_in_their_own_way() {
        let (head, body) = file_head(&Selection::NotModified);
        assert!(head.starts_with("HTTP/1.1 304 ") && !head.contains("Content-Length"));
        assert!(body.is_empty());
        let (head, _) = file_head(&Selection::Unsatisfiable);
        assert!(head.contains("Content-Range: bytes */1000\r\nContent-Length: 0\r\n"));
    }

    #[test]
    fn no_value_can_add_a_header_or_a_body() {
        let mut out = Vec::new();
        ResponseHead::begin(&mut out, 200, now())
            .content_type("text/plain\r\nX-Evil: 1\r\n\r\n<script>")
            .field("ETag", "\"a\0\n\"")
            .end();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("\r\n").count(), 6);
        assert!(text.contains("Content-Type: text/plain__X-Evil: 1____<script>\r\n"));
    }

    #[test]
    fn old_clients_are_told_that_the_connection_stays() {
        let connection = |version, keep| {
            let mut out = Vec::new();
            ResponseHead::begin(&mut out, 200, now())
                .connection(version, keep)
                .end();
            String::from_utf8(out).unwrap()
        };
        assert!(connection(Version::Http10, true).contains("Connection: keep-alive\r\n"));
        assert!(connection(Version::Http11, false).contains("Connection: close\r\n"));
        assert!(!connection(Version::Http11, true).contains("Connection"));
    }

    #[test]
    fn control_plane_answers_carry_their_body_except_to_head() {
        let response = BootResponse {
            status: 503,
            content_type: "text/plain",
            retry_after: Some(7),
            body: b"#!ipxe\n".to_vec(),
        };
        for head_only in [false, true] {
            let mut out = Vec::new();
            ResponseHead::boot(&mut out, &response, head_only, KEEP, now());
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("Retry-After: 7\r\n") && text.contains("Content-Length: 7\r\n"));
            assert_eq!(text.ends_with("#!ipxe\n"), !head_only);
        }
    }

    #[test]
    fn refusals_close_the_connection_and_name_the_reason() {
        let refused = BadRequest::new(405, "http.method", "only GET");
        let mut out = Vec::new();
        ResponseHead::refusal(&mut out, &refused, now());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Allow: GET, HEAD, POST\r\n"));
        assert!(text.contains("Connection: close\r\n"));
        assert!(text.ends_with("only GET (http.method)\n"));
    }
}
