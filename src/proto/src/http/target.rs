//! Request targets: RFC 9112, section 3.2; percent-encoding: RFC 3986, section 2.1.

use std::borrow::Cow;
use std::fmt::Write;

use super::head::BadRequest;

/// Decodes a path and makes `//` a single `/`, as boot loaders write it carelessly. `.` and `..`
/// stay as they are: what they may mean is the catalog's to say.
///
/// # Errors
/// Paths that do not begin with `/`, incomplete escapes, control characters and NUL, text that is
/// not UTF-8.
pub fn decode_path(raw: &str) -> Result<Cow<'_, str>, BadRequest> {
    if !raw.starts_with('/') {
        return Err(bad("the path does not begin with `/`"));
    }
    if !raw.contains('%') && !raw.contains("//") {
        return checked(raw.as_bytes()).map(|()| Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let byte = if first == b'%' {
            let digits = rest
                .split_off(..2)
                .ok_or_else(|| bad("`%` without two digits"))?;
            hex(digits).ok_or_else(|| bad("`%` without two hexadecimal digits"))?
        } else {
            first
        };
        if byte == b'/' && decoded.last() == Some(&b'/') {
            continue;
        }
        decoded.push(byte);
    }
    checked(&decoded)?;
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| bad("the path is not UTF-8"))
}

/// Encodes a path for a URL: everything but unreserved characters and `/` is escaped.
#[must_use]
pub fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Path and query of a request target.
pub(super) fn split(target: &str) -> Result<(&str, &str), BadRequest> {
    let local = if target.starts_with('/') {
        target
    } else {
        // Absolute form: what a proxy would be sent.
        let Some((scheme, rest)) = target.split_once("://") else {
            return Err(bad("the request target is neither a path nor a URL"));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(bad("the request target is neither http nor https"));
        }
        match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes().get(at) == Some(&b'/') => &rest[at..],
            _ => "/",
        }
    };
    let local = local.split_once('#').map_or(local, |(before, _)| before);
    Ok(local.split_once('?').unwrap_or((local, "")))
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |byte, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((byte << 4) | u8::try_from(value).ok()?)
    })
}

fn checked(path: &[u8]) -> Result<(), BadRequest> {
    if path.iter().any(|b| *b < 0x20 || *b == 0x7f) {
        return Err(bad("the path holds a control character"));
    }
    Ok(())
}

fn bad(text: &'static str) -> BadRequest {
    BadRequest::new(400, "http.bad-target", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode_path("/images/a.efi").unwrap(), "/images/a.efi");
        assert_eq!(decode_path("/a%20b%2Fc%25.wim").unwrap(), "/a b/c%.wim");
        assert_eq!(decode_path("/m%C3%BCll.iso").unwrap(), "/müll.iso");
        assert_eq!(decode_path("/%2525").unwrap(), "/%25");
    }

    #[test]
    fn double_slashes_are_one() {
        assert_eq!(
            decode_path("/dir//grubx64.efi").unwrap(),
            "/dir/grubx64.efi"
        );
        assert_eq!(decode_path("//images///x").unwrap(), "/images/x");
        assert_eq!(decode_path("/%2F/x").unwrap(), "/x");
    }

    #[test]
    fn paths_that_hide_something_are_refused() {
        for path in [
            "",
            "a",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/a%0d%0aX: y",
            "/%7f",
            "/%ff",
            "/\u{1}",
            "/%+1",
        ] {
            assert!(decode_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn targets_of_every_form_give_path_and_query() {
        assert_eq!(split("/boot?mac=1&x=?").unwrap(), ("/boot", "mac=1&x=?"));
        assert_eq!(split("http://host:80/a?b").unwrap(), ("/a", "b"));
        assert_eq!(split("HTTPS://host").unwrap(), ("/", ""));
        assert_eq!(split("/a#frag").unwrap(), ("/a", ""));
        for target in ["*", "host:443", "ftp://host/a"] {
            assert!(split(target).is_err(), "{target}");
        }
    }

    #[test]
    fn encoding_is_the_inverse_of_decoding() {
        let path = "/Win 11/ü#?%&+;.wim";
        let encoded = encode_path(path);
        assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(decode_path(&encoded).unwrap(), path);
    }
}
