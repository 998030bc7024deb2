//! The head of a response, as far as fetching a file needs it.

const HEADERS_MAX: usize = 64;
/// A longer head is refused.
pub(crate) const HEAD_MAX: usize = 16 * 1024;

/// A head that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head itself.
    pub(crate) length: usize,
    /// Bytes of the body.
    pub(crate) body: u64,
    /// The server closes the connection behind the body.
    pub(crate) closes: bool,
}

/// The head at the beginning of `bytes`, or nothing while it is incomplete.
///
/// # Errors
/// The reason why the file does not come.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a head of more than 16 KiB".to_owned()),
        Err(error) => return Err(format!("an answer that is no HTTP: {error}")),
    };
    let code = response.code.unwrap_or_default();
    if code != 200 {
        return Err(format!("HTTP {code}"));
    }
    let header = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let Some(body) = header("content-length").and_then(|value| value.trim().parse().ok()) else {
        return Err("an answer without a Content-Length".to_owned());
    };
    let connection = header("connection").unwrap_or_default();
    Ok(Some(Head {
        length,
        body,
        closes: response.version == Some(0) || connection.eq_ignore_ascii_case("close"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_waited_for_and_measured() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody";
        assert_eq!(parse(&text[..30]), Ok(None));
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.length, head.body, head.closes), (39, 12, false));
        let text = b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n";
        assert!(parse(text).unwrap().unwrap().closes);
    }

    #[test]
    fn what_is_no_file_is_told() {
        let told = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(told("HTTP/1.1 404 Not Found\r\n\r\n"), "HTTP 404");
        assert!(told("HTTP/1.1 200 OK\r\n\r\n").contains("Content-Length"));
        assert!(told("220 smtp\r\n").contains("no HTTP"));
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_MAX));
        assert!(told(&endless).contains("16 KiB"));
    }
}
