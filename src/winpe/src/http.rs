//! Requests to the boot server, and its answers, as bytes.

use crate::{Instructions, Milestone, Server, Trouble};

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Why there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// More has to come.
    Partial,
    /// This is no answer of a boot server.
    Malformed,
}

/// Bytes that an answer may have.
pub const RESPONSE_MAX: usize = 1024 * 1024;

/// Header fields that are looked at.
const HEADERS_MAX: usize = 64;

/// Asks for these instructions as they are at this moment.
#[must_use]
pub fn fetch(instructions: &Instructions) -> Vec<u8> {
    let query = form(&[
        ("token", &instructions.token),
        ("mac", &instructions.mac),
        ("uuid", instructions.uuid.as_deref().unwrap_or_default()),
    ]);
    let entry = escaped(&instructions.entry);
    let path = format!("/boot/file/{entry}/bootstorm.json?{query}");
    head(&instructions.server, "GET", &path, "").into_bytes()
}

/// Tells the server how far this machine is; `log` is the end of its log, if that is to be told.
#[must_use]
pub fn report(instructions: &Instructions, milestone: Milestone, text: &str, log: &str) -> Vec<u8> {
    let form = form(&[
        ("state", milestone.name()),
        ("text", text),
        ("token", &instructions.token),
        ("mac", &instructions.mac),
        ("uuid", instructions.uuid.as_deref().unwrap_or_default()),
        ("log", log),
    ]);
    let more = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        form.len()
    );
    head(&instructions.server, "POST", "/boot/report", &more)
        .into_bytes()
        .into_iter()
        .chain(form.into_bytes())
        .collect()
}

/// Reads an answer to a request with `Connection: close`.
///
/// # Errors
/// [`Unread`]: `Partial` while bytes are missing and the connection is not `ended`.
pub fn response(bytes: &[u8], ended: bool) -> Result<Response, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if !ended => return Err(Unread::Partial),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Unread::Malformed),
    };
    let status = head.code.ok_or(Unread::Malformed)?;
    let body = bytes.get(length..).unwrap_or_default();
    let declared = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())
        .map(|length: Option<usize>| length.filter(|length| *length <= RESPONSE_MAX));
    let body = match declared {
        Some(None) => return Err(Unread::Malformed),
        Some(Some(declared)) => match body.get(..declared) {
            Some(body) => body,
            None if ended => return Err(Unread::Malformed),
            None => return Err(Unread::Partial),
        },
        None if ended => body,
        None => return Err(Unread::Partial),
    };
    Ok(Response {
        status,
        body: body.to_vec(),
    })
}

impl Response {
    /// The body of an answer that is one.
    ///
    /// # Errors
    /// [`Trouble`]: a server that is busy or starting may do it in a moment, a refusal stands.
    pub fn accepted(self) -> Result<Vec<u8>, Trouble> {
        match self.status {
            200..300 => Ok(self.body),
            408 | 429 | 500.. => Err(Trouble::Passing(self.words())),
            _ => Err(Trouble::Lasting(self.words())),
        }
    }

    /// What the server says, in one line: refusals are scripts for iPXE, which name a code in
    /// brackets where they have one.
    #[must_use]
    pub fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.clone().next();
        let coded = lines.find(|line| line.contains('[') && line.contains(']'));
        let line = coded.or(first).unwrap_or("nothing");
        let line = line.strip_prefix("echo ").unwrap_or(line);
        let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        format!("{} {line}", self.status)
    }
}

fn head(server: &Server, method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bootstorm-winpe/{}\r\n\
         Connection: close\r\n{more}\r\n",
        server.authority(),
        env!("CARGO_PKG_VERSION")
    )
}

fn form(fields: &[(&str, &str)]) -> String {
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = given
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    pairs.join("&")
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
            escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions() -> Instructions {
        let json = br#"{"version":1,"server":"http://10.0.0.1:8080","token":"ab","mac":
            "52:54:00:00:00:01","entry":"win pe/..","uuid":null}"#;
        Instructions::parse(json).unwrap()
    }

    #[test]
    fn requests_hold_whatever_they_are_given() {
        let fetch = String::from_utf8(fetch(&instructions())).unwrap();
        let line = "GET /boot/file/win%20pe%2F../bootstorm.json?token=ab&mac=52%3A54%3A00%3A00%3A\
                    00%3A01 HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n";
        assert!(fetch.starts_with(line), "{fetch}");
        assert!(fetch.ends_with("\r\n\r\n"));
        let sent = report(&instructions(), Milestone::Failed, "a&b=c\r\n", "one\ntwo");
        let sent = String::from_utf8(sent).unwrap();
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        let wanted = "state=failed&text=a%26b%3Dc%0D%0A&token=ab&mac=52%3A54%3A00%3A00%3A00%3A01\
                      &log=one%0Atwo";
        assert_eq!(body, wanted);
    }

    #[test]
    fn answers_are_read_as_they_come() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        for end in 0..whole.len() {
            assert_eq!(
                response(&whole[..end], false),
                Err(Unread::Partial),
                "{end}"
            );
            assert_eq!(
                response(&whole[..end], true),
                Err(Unread::Malformed),
                "{end}"
            );
        }
        let ok = Response {
            status: 200,
            body: b"ok\n".to_vec(),
        };
        assert_eq!(response(whole, false), Ok(ok.clone()));
        let unsized_ = b"HTTP/1.1 200 OK\r\n\r\nok\n";
        assert_eq!(response(unsized_, false), Err(Unread::Partial));
        assert_eq!(response(unsized_, true), Ok(ok));
        for wrong in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ] {
            assert_eq!(response(wrong, false), Err(Unread::Malformed));
        }
    }

    #[test]
    fn only_a_busy_server_is_asked_again() {
        let judged = |status| {
            let body = b"words".to_vec();
            Response { status, body }.accepted()
        };
        assert_eq!(judged(200), Ok(b"words".to_vec()));
        for status in [429, 500, 503] {
            let passing = Trouble::Passing(format!("{status} words"));
            assert_eq!(judged(status), Err(passing));
        }
        for status in [301, 403, 404] {
            let lasting = Trouble::Lasting(format!("{status} words"));
            assert_eq!(judged(status), Err(lasting));
        }
    }

    #[test]
    fn the_words_of_a_refusal_are_found() {
        let refused = |body: &str| {
            let body = body.as_bytes().to_vec();
            Response { status: 403, body }.words()
        };
        let script = "#!ipxe\necho [token.foreign] the token of this URL\x1b belongs\nsleep 9\n";
        assert_eq!(
            refused(script),
            "403 [token.foreign] the token of this URL belongs"
        );
        assert_eq!(
            refused("boot.bad-report: state\n"),
            "403 boot.bad-report: state"
        );
        assert_eq!(refused(""), "403 nothing");
    }
}
