//! A connection's byte stream, cut into requests: RFC 9112, section 9.

use std::mem;

use super::exchange::BODY_MAX;
use super::head::{BadRequest, HEAD_MAX, Head, Parsed};

/// Bytes kept at most: one request of the largest size and the beginning of the next.
const BUFFER_MAX: usize = HEAD_MAX + BODY_MAX;

/// What a client has sent and what has not been answered yet. Requests come out one at a time, in
/// order: the next one is not looked at before [`Connection::next`] is called again.
#[derive(Debug, Default)]
pub struct Connection {
    buffer: Vec<u8>,
    /// Where what has not been answered begins in the buffer.
    start: usize,
    /// Bytes of the request handed out last.
    taken: usize,
    continue_sent: bool,
    closed: bool,
}

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client waits for it"]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one call; boxing it would allocate for each request"
)]
pub enum Next<'a> {
    /// Read more.
    Wait,
    /// Send [`super::ResponseHead::CONTINUE`], then read more.
    Continue,
    /// Answer this request.
    Request(Head<'a>, &'a [u8]),
}

impl Connection {
    /// How many more bytes [`Self::push`] takes; 0 means: answer first.
    #[must_use]
    pub fn room(&self) -> usize {
        BUFFER_MAX.saturating_sub(self.pending())
    }

    /// Adds what was read; returns how many of the bytes were taken, all of them unless there is
    /// no room.
    #[must_use = "bytes that were not taken have to be pushed again"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.forget();
        let taken = bytes.len().min(self.room());
        self.buffer
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        taken
    }

    /// The next request, with its whole body. After a request whose head says so (`keep_alive` is
    /// false) there is none.
    ///
    /// # Errors
    /// [`BadRequest`]: answer it with [`super::ResponseHead::refusal`] and close.
    #[expect(
        clippy::should_implement_trait,
        reason = "the items borrow from the connection"
    )]
    pub fn next(&mut self) -> Result<Next<'_>, BadRequest> {
        self.forget();
        if self.closed {
            return Ok(Next::Wait);
        }
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let (head, len) = match Head::parse(pending) {
            Ok(Parsed::Complete(head, len)) => (head, len),
            Ok(Parsed::Partial) => return Ok(Next::Wait),
            Err(refused) => {
                self.closed = true;
                return Err(refused);
            }
        };
        let end = len + head.body;
        let Some(body) = pending.get(len..end) else {
            if head.expects_continue && !mem::replace(&mut self.continue_sent, true) {
                return Ok(Next::Continue);
            }
            return Ok(Next::Wait);
        };
        self.taken = end;
        self.closed = !head.keep_alive;
        self.continue_sent = false;
        Ok(Next::Request(head, body))
    }

    /// Something has arrived that is not a whole request: a client that then falls silent is late,
    /// not idle.
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        self.pending() > 0
    }

    fn pending(&self) -> usize {
        self.buffer.len() - self.start - self.taken
    }

    /// Drops the request that was handed out. Bytes move only once a head's worth of them is dead,
    /// so that a pipeline of small requests does not move the same bytes for each.
    fn forget(&mut self) {
        self.start += mem::take(&mut self.taken);
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(HEAD_MAX);
            self.start = 0;
        } else if self.start > HEAD_MAX {
            self.buffer.drain(..mem::take(&mut self.start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(connection: &mut Connection) -> Vec<String> {
        let mut paths = Vec::new();
        while let Next::Request(head, body) = connection.next().unwrap() {
            paths.push(format!("{} {}", head.path, body.escape_ascii()));
        }
        paths
    }

    #[test]
    fn pipelined_requests_come_out_in_order() {
        let stream = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\n\
            Content-Length: 3\r\n\r\nx=1GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\
            GET /never HTTP/1.1\r\nHost: h\r\n\r\n";
        for piece in [1, 7, stream.len()] {
            let mut connection = Connection::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                assert_eq!(connection.push(bytes), bytes.len());
                seen.extend(paths(&mut connection));
            }
            assert_eq!(seen, ["/a ", "/b x=1", "/c "], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_body_is_asked_for_once_when_the_client_waits() {
        let mut connection = Connection::default();
        let head =
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(connection.push(head), head.len());
        assert_eq!(connection.next(), Ok(Next::Continue));
        assert_eq!(connection.next(), Ok(Next::Wait));
        assert_eq!(connection.push(b"ok"), 2);
        assert!(matches!(connection.next(), Ok(Next::Request(_, b"ok"))));
        assert_eq!(connection.push(head), head.len());
        assert_eq!(
            connection.next(),
            Ok(Next::Continue),
            "for each request anew"
        );
    }

    #[test]
    fn memory_is_bounded_whatever_is_sent() {
        let mut connection = Connection::default();
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(10_000);
        let taken = connection.push(&request);
        assert_eq!(taken, BUFFER_MAX);
        assert_eq!((connection.room(), connection.push(b"x")), (0, 0));
        assert!(matches!(connection.next(), Ok(Next::Request(..))));
        assert!(connection.room() > 0);
    }

    #[test]
    fn nothing_is_read_after_a_bad_request() {
        let mut connection = Connection::default();
        let stream = b"BAD\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(connection.push(stream), stream.len());
        assert_eq!(connection.next().unwrap_err().status, 400);
        assert_eq!(connection.next(), Ok(Next::Wait));
    }

    #[test]
    fn half_a_request_is_told_from_an_idle_connection() {
        let mut connection = Connection::default();
        assert!(!connection.is_mid_request());
        assert_eq!(connection.push(b"GET / HT"), 8);
        assert!(connection.is_mid_request());
        assert_eq!(connection.push(b"TP/1.1\r\nHost: h\r\n\r\n"), 19);
        assert!(matches!(connection.next(), Ok(Next::Request(..))));
        assert!(!connection.is_mid_request());
    }
}
