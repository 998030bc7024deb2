//! Who may read and change what.
//!
//! The token comes in the `Authorization` header alone. A query would leave it in logs and
//! histories, and a cookie would let any page that the browser shows send it along.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::AdminToken;

/// The door of the web service.
#[derive(Debug)]
pub(super) struct Auth {
    token: AdminToken,
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
}

/// Wrong tokens of one address.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    times: u32,
    last: Instant,
}

/// Wrong tokens that cost nothing.
const FREE: u32 = 5;
/// How long the sixth makes an address wait; each further one doubles it, up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// After this long without a wrong token an address begins anew.
const FORGET: Duration = Duration::from_secs(600);
/// Addresses that are remembered at most.
const ADDRESSES_MAX: usize = 4096;

impl Auth {
    pub(super) fn new(token: AdminToken) -> Self {
        Self {
            token,
            wrong: Mutex::default(),
        }
    }

    /// Lets the admin in.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Problem> {
        self.admit_at(headers, peer, Instant::now())
    }

    fn admit_at(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<(), Problem> {
        let network = network(peer);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = wrong.get(&network).and_then(|w| w.wait(now)) {
            return Err(slow_down(wait));
        }
        let Some(token) = bearer(headers) else {
            return Err(self.unauthorized("web.no-token", "the request carries no token"));
        };
        if self.token.is(token) {
            return Ok(());
        }
        make_room(&mut wrong, now);
        let entry = wrong.entry(network).or_insert(Wrong {
            times: 0,
            last: now,
        });
        if now.duration_since(entry.last) > FORGET {
            entry.times = 0;
        }
        entry.times = entry.times.saturating_add(1);
        entry.last = now;
        Err(self.unauthorized("web.wrong-token", "this is not the token"))
    }

    fn unauthorized(&self, code: &'static str, what: &str) -> Problem {
        let path = self.token.path().display();
        let detail = format!(
            "{what}; send `Authorization: Bearer TOKEN` with the content of {path} on the server"
        );
        let challenge = HeaderValue::from_static("Bearer realm=\"bootstorm\"");
        Problem::new(StatusCode::UNAUTHORIZED, code, detail)
            .with(header::WWW_AUTHENTICATE, challenge)
    }
}

impl Wrong {
    /// How long this address still has to wait.
    fn wait(self, now: Instant) -> Option<Duration> {
        let beyond = self.times.checked_sub(FREE + 1)?;
        let wait = WAIT.saturating_mul(1 << beyond.min(5)).min(WAIT_MAX);
        let rest = wait.saturating_sub(now.duration_since(self.last));
        (!rest.is_zero()).then_some(rest)
    }
}

/// A provider gives each customer a /64 at least: it counts as one address.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn make_room(wrong: &mut HashMap<IpAddr, Wrong>, now: Instant) {
    if wrong.len() < ADDRESSES_MAX {
        return;
    }
    wrong.retain(|_, w| now.duration_since(w.last) < FORGET);
    if wrong.len() >= ADDRESSES_MAX {
        let oldest = wrong.iter().min_by_key(|(_, w)| w.last).map(|(ip, _)| *ip);
        oldest.map(|ip| wrong.remove(&ip));
    }
}

fn slow_down(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many wrong tokens from this address; try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "web.slow-down", detail)
        .with(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> (Auth, String) {
        let data = tempfile::tempdir().unwrap();
        let token = AdminToken::open(data.path()).unwrap();
        let text = std::fs::read_to_string(token.path()).unwrap();
        (Auth::new(token), text.trim().to_owned())
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    fn code(auth: &Auth, value: &str, peer: &str, at: Instant) -> &'static str {
        let result = auth.admit_at(&headers(value), peer.parse().unwrap(), at);
        result.map_or_else(|p| p.code(), |()| "in")
    }

    #[test]
    fn only_the_bearer_of_the_token_comes_in() {
        let (auth, token) = auth();
        let now = Instant::now();
        for (value, wanted) in [
            (format!("Bearer {token}"), "in"),
            (format!("bearer  {token}"), "in"),
            (format!("Basic {token}"), "web.no-token"),
            (token.clone(), "web.no-token"),
            ("Bearer ".to_owned(), "web.wrong-token"),
            (format!("Bearer {token}0"), "web.wrong-token"),
        ] {
            assert_eq!(code(&auth, &value, "10.0.0.1", now), wanted, "{value}");
        }
    }

    #[test]
    fn guessing_is_slowed_for_that_address_alone() {
        let (auth, token) = auth();
        let right = format!("Bearer {token}");
        let now = Instant::now();
        for _ in 0..=FREE {
            assert_eq!(code(&auth, "Bearer x", "10.0.0.1", now), "web.wrong-token");
        }
        assert_eq!(code(&auth, "Bearer x", "10.0.0.1", now), "web.slow-down");
        assert_eq!(code(&auth, &right, "10.0.0.1", now), "web.slow-down");
        assert_eq!(code(&auth, &right, "10.0.0.2", now), "in");
        let later = now + WAIT;
        assert_eq!(
            code(&auth, "Bearer x", "10.0.0.1", later),
            "web.wrong-token"
        );
        assert_eq!(
            code(&auth, &right, "10.0.0.1", later + WAIT),
            "web.slow-down"
        );
        assert_eq!(code(&auth, &right, "10.0.0.1", later + WAIT * 2), "in");
    }

    #[test]
    fn a_slash_64_counts_as_one_address() {
        let (auth, _) = auth();
        let now = Instant::now();
        for host in 0..=FREE {
            let peer = format!("2001:db8::{host:x}");
            assert_eq!(code(&auth, "Bearer x", &peer, now), "web.wrong-token");
        }
        assert_eq!(
            code(&auth, "Bearer x", "2001:db8::ff", now),
            "web.slow-down"
        );
        assert_eq!(
            code(&auth, "Bearer x", "2001:db8:1::1", now),
            "web.wrong-token"
        );
    }

    #[test]
    fn guesses_from_everywhere_take_bounded_memory() {
        let (auth, _) = auth();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            let peer = IpAddr::from(n.to_be_bytes());
            assert!(auth.admit_at(&headers("Bearer x"), peer, now).is_err());
        }
        assert_eq!(auth.wrong.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
