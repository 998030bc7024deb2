//! URLs of other services.

use std::net::IpAddr;

use crate::lint::{is_host_name, shortened};

/// Looks at a URL of HTTP or HTTPS: scheme, host, port, no login in it.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let plain = shortened(text);
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or_else(|| format!("`{plain}` begins with neither `http://` nor `https://`"))?;
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!("`{plain}` holds a blank or a control character"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "a login does not belong into the URL: everybody who sees logs would see it".into(),
        );
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
        None => is_host_name(host),
    };
    if !is_host {
        return Err(format!("`{plain}` names no host"));
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) => Err(format!("`{plain}` names no port from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_services_are_told_from_others() {
        for good in [
            "http://192.0.2.1",
            "https://boot.example.net:8443/decide?a=1#x",
            "http://[2001:db8::1]:8080/",
            "http://[2001:db8::1]/",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("", "neither"),
            ("ftp://a/", "neither"),
            ("HTTP://a/", "neither"),
            ("http://", "names no host"),
            ("http://:80/", "names no host"),
            ("http://a b/", "blank"),
            ("http://a/\n", "control"),
            ("http://[::g]/", "names no host"),
            ("http://[192.0.2.1]/", "names no host"),
            ("http://a:0/", "no port"),
            ("http://a:99999/", "no port"),
            ("http://a:/", "no port"),
            ("https://user:secret@a/", "login"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
