//! Request heads: RFC 9112, sections 2 to 6.

use std::borrow::Cow;

use super::conditional::{ByteRange, Conditions};
use super::exchange::{BODY_MAX, Method};
use super::target;

/// The largest head taken, in bytes.
pub const HEAD_MAX: usize = 8 * 1024;
/// The largest number of header fields taken.
pub const HEADERS_MAX: usize = 64;

/// A request's head, still in the buffer that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Method.
    pub method: Method,
    /// Percent-decoded absolute path.
    pub path: Cow<'a, str>,
    /// Raw query without the question mark; empty when there is none.
    pub query: &'a str,
    /// Protocol version.
    pub version: Version,
    /// `Host` header; empty when HTTP/1.0 left it out.
    pub host: &'a str,
    /// `User-Agent` header; empty when missing.
    pub user_agent: &'a str,
    /// What the answer depends on.
    pub conditions: Conditions<'a>,
    /// The body that follows.
    pub body: BodyLength,
    /// The connection stays open after the answer, as far as the client is concerned.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: the connection closes unless it is asked to stay.
    Http10,
    /// HTTP/1.1: the connection stays unless it is asked to close.
    Http11,
}

/// Bytes of body behind the head, at most [`BODY_MAX`].
pub type BodyLength = usize;

/// What has arrived so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// More bytes are needed.
    Partial,
    /// Complete; it took this many bytes.
    Complete(T, usize),
}

/// A request that is answered with an error, after which the connection closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({status}, {reason})")]
pub struct BadRequest {
    /// HTTP status.
    pub status: u16,
    /// Stable reason code.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub text: &'static str,
}

impl BadRequest {
    /// Makes one.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str, text: &'static str) -> Self {
        Self {
            status,
            reason,
            text,
        }
    }
}

impl<'a> Head<'a> {
    /// Reads the head at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`BadRequest`] with the status to answer: 400, 405, 411, 413, 417, 431, 501 or 505.
    pub fn parse(bytes: &'a [u8]) -> Result<Parsed<Self>, BadRequest> {
        let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut storage);
        match request.parse(window) {
            Ok(httparse::Status::Complete(len)) => {
                let head = Self::read(&request)?;
                Ok(Parsed::Complete(head, len))
            }
            Ok(httparse::Status::Partial) if bytes.len() >= HEAD_MAX => Err(too_large()),
            Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
            Err(httparse::Error::TooManyHeaders) => Err(too_large()),
            Err(httparse::Error::Version) => Err(BadRequest::new(
                505,
                "http.version",
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            )),
            Err(_) => Err(malformed("this is not an HTTP/1.1 request")),
        }
    }

    fn read(request: &httparse::Request<'_, 'a>) -> Result<Self, BadRequest> {
        let method = match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => {
                return Err(BadRequest::new(
                    405,
                    "http.method",
                    "only GET, HEAD and POST are taken here",
                ));
            }
        };
        let version = match request.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let (path, query) = target::split(request.path.unwrap_or_default())?;
        let mut fields = Fields::default();
        for header in request.headers.iter() {
            fields.take(header)?;
        }
        if fields.host.is_none() && version == Version::Http11 {
            return Err(malformed("HTTP/1.1 requests need a Host header"));
        }
        let body = fields.body_length()?;
        Ok(Self {
            method,
            path: target::decode_path(path)?,
            query,
            version,
            host: fields.host.unwrap_or_default(),
            user_agent: fields.user_agent,
            conditions: fields.conditions.for_method(method),
            body,
            keep_alive: !fields.close && (version == Version::Http11 || fields.keep_alive),
            expects_continue: fields.expects_continue && version == Version::Http11 && body > 0,
        })
    }
}

/// The header fields that matter, while they are being read.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    user_agent: &'a str,
    conditions: Conditions<'a>,
    content_length: Option<u64>,
    transfer_encoding: Option<&'a str>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, header: &httparse::Header<'a>) -> Result<(), BadRequest> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let conditions = &mut self.conditions;
        if is("host") {
            if self.host.replace(text(header)?).is_some() {
                return Err(malformed("more than one Host header"));
            }
        } else if is("user-agent") {
            self.user_agent = text(header).unwrap_or_default();
        } else if is("content-length") {
            self.take_content_length(text(header)?)?;
        } else if is("transfer-encoding") {
            self.transfer_encoding = Some(text(header)?);
        } else if is("connection") {
            for token in text(header)?.split(',').map(str::trim) {
                self.close |= token.eq_ignore_ascii_case("close");
                self.keep_alive |= token.eq_ignore_ascii_case("keep-alive");
            }
        } else if is("expect") {
            if !text(header)?.trim().eq_ignore_ascii_case("100-continue") {
                return Err(BadRequest::new(
                    417,
                    "http.expectation",
                    "only 100-continue can be expected",
                ));
            }
            self.expects_continue = true;
        } else if is("range") {
            conditions.range = text(header).ok().and_then(ByteRange::parse);
        } else if is("if-range") {
            conditions.if_range = text(header).ok();
        } else if is("if-match") {
            conditions.if_match = text(header).ok();
        } else if is("if-none-match") {
            conditions.if_none_match = text(header).ok();
        } else if is("if-modified-since") {
            conditions.if_modified_since = text(header).ok();
        } else if is("if-unmodified-since") {
            conditions.if_unmodified_since = text(header).ok();
        }
        Ok(())
    }

    /// RFC 9112, section 6.3: differing lengths are an attempt to smuggle a request.
    fn take_content_length(&mut self, value: &str) -> Result<(), BadRequest> {
        for item in value.split(',').map(str::trim) {
            let digits = !item.is_empty() && item.bytes().all(|b| b.is_ascii_digit());
            let length = digits
                .then(|| item.parse().unwrap_or(u64::MAX))
                .ok_or_else(|| malformed("Content-Length is not a number"))?;
            if self
                .content_length
                .replace(length)
                .is_some_and(|l| l != length)
            {
                return Err(malformed("Content-Length headers differ"));
            }
        }
        Ok(())
    }

    fn body_length(&self) -> Result<BodyLength, BadRequest> {
        if let Some(coding) = self.transfer_encoding {
            if self.content_length.is_some() {
                return Err(malformed("both Transfer-Encoding and Content-Length"));
            }
            return Err(if coding.trim().eq_ignore_ascii_case("chunked") {
                BadRequest::new(
                    411,
                    "http.length-required",
                    "request bodies need a Content-Length",
                )
            } else {
                BadRequest::new(501, "http.coding", "no transfer coding is taken")
            });
        }
        usize::try_from(self.content_length.unwrap_or(0))
            .ok()
            .filter(|length| *length <= BODY_MAX)
            .ok_or_else(|| BadRequest::new(413, "http.body-too-large", "the body is too large"))
    }
}

fn text<'a>(header: &httparse::Header<'a>) -> Result<&'a str, BadRequest> {
    std::str::from_utf8(header.value).map_err(|_| malformed("a header is not UTF-8"))
}

fn malformed(text: &'static str) -> BadRequest {
    BadRequest::new(400, "http.malformed", text)
}

fn too_large() -> BadRequest {
    BadRequest::new(
        431,
        "http.head-too-large",
        "the head is larger than 8 KiB or has more than 64 headers",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head<'_> {
        match Head::parse(text.as_bytes()).unwrap() {
            Parsed::Complete(head, len) => {
                assert_eq!(len, text.len());
                head
            }
            Parsed::Partial => panic!("partial: {text}"),
        }
    }

    fn status(text: &str) -> u16 {
        Head::parse(text.as_bytes()).unwrap_err().status
    }

    #[test]
    fn firmware_heads_are_read() {
        let head = head(
            "HEAD /images/dir//shim%20x64.efi?a=b HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\
             Accept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n",
        );
        assert_eq!(head.method, Method::Head);
        assert_eq!(head.path, "/images/dir/shim x64.efi");
        assert_eq!(head.query, "a=b");
        assert_eq!(head.host, "10.0.0.1:8080");
        assert_eq!(head.user_agent, "UefiHttpBoot/1.0");
        assert!(head.keep_alive && head.body == 0 && !head.expects_continue);
    }

    #[test]
    fn a_head_in_pieces_is_waited_for() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(
                Head::parse(&text.as_bytes()[..end]).unwrap(),
                Parsed::Partial
            );
        }
        assert_eq!(head(text).path, "/");
    }

    #[test]
    fn connections_stay_open_as_the_versions_say() {
        let alive = |text| head(text).keep_alive;
        assert!(alive("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!alive(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"
        ));
        assert!(!alive("GET / HTTP/1.0\r\n\r\n"));
        assert!(alive("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn bodies_need_one_believable_length() {
        let post = |headers: &str| format!("POST /boot HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        assert_eq!(head(&post("Content-Length: 12\r\n")).body, 12);
        assert_eq!(head(&post("Content-Length: 12, 12\r\n")).body, 12);
        for (headers, expected) in [
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("Content-Length: 65537\r\n", 413),
            ("Content-Length: 99999999999999999999999\r\n", 413),
            ("Expect: miracles\r\n", 417),
        ] {
            assert_eq!(status(&post(headers)), expected, "{headers}");
        }
    }

    #[test]
    fn bad_heads_get_the_status_that_says_why() {
        assert_eq!(status("PUT / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
        assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("\x16\x03\x01\x02\0"), 400);
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_MAX));
        assert_eq!(status(&long), 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(status(&many), 431);
    }

    #[test]
    fn continue_is_expected_only_for_a_body() {
        let expects = |length: usize| {
            let text = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: {length}\r\n\r\n"
            );
            head(&text).expects_continue
        };
        assert!(expects(5));
        assert!(!expects(0));
    }
}
