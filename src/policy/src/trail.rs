//! Where a machine has been that boot servers send on to one another.
//!
//! Each server adds a word of its own to the parameter `via` before it sends a machine on. So it
//! knows one that comes back, and all of them together stop one that goes on and on.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::LazyLock;

use bootstorm_telemetry::event::Reason;

use crate::Facts;

/// The parameter that travels with the machine.
pub(crate) const VIA: &str = "via";

/// Servers that may send a machine on, one after the other.
const SERVERS_MAX: usize = 3;

/// This server, in this run; it tells others nothing.
pub(crate) static OURSELVES: LazyLock<String> = LazyLock::new(|| {
    let word = RandomState::new().build_hasher().finish();
    format!("{word:016x}")
});

/// The servers that have sent a machine on, the first one first.
#[derive(Debug)]
pub(crate) struct Trail<'a>(Vec<&'a str>);

impl<'a> Trail<'a> {
    pub(crate) fn of(facts: &'a Facts) -> Self {
        let via = facts.other(VIA).unwrap_or_default();
        let word = |word: &&str| !word.is_empty();
        // One more than may be is enough to know that it is too much.
        Self(via.split('.').filter(word).take(SERVERS_MAX + 1).collect())
    }

    /// This server has sent the machine on, and another has sent it back.
    pub(crate) fn leads_back(&self) -> bool {
        self.0.contains(&OURSELVES.as_str())
    }

    /// The trail from here on.
    ///
    /// # Errors
    /// Why the machine is not sent on.
    pub(crate) fn onward(&self, url: &str) -> Result<String, Reason> {
        if self.leads_back() || self.0.len() >= SERVERS_MAX {
            let text = if self.leads_back() {
                "This server has sent this machine to another, which sent it back".to_owned()
            } else {
                format!("{SERVERS_MAX} boot servers have sent this machine on already")
            };
            return Err(Reason {
                code: "policy.referral-loop",
                text: format!("{text}: it does not go to {url}.").into(),
            });
        }
        let before = self.0.iter().map(|word| clean(word));
        let words = before.chain([OURSELVES.clone()]);
        Ok(words.collect::<Vec<_>>().join("."))
    }
}

/// What others wrote may be anything.
fn clean(word: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    word.chars().filter(plain).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(via: &str) -> Facts {
        Facts {
            other: vec![(VIA.to_owned(), via.to_owned())],
            ..Facts::default()
        }
    }

    fn onward(facts: &Facts) -> Result<String, &'static str> {
        let onward = Trail::of(facts).onward("http://b/boot");
        onward.map_err(|reason| reason.code)
    }

    #[test]
    fn twopxe_11_a_machine_that_comes_back_is_not_sent_on_again() {
        let first = onward(&Facts::default()).unwrap();
        assert_eq!(first, *OURSELVES);
        let second = onward(&after("aaaa")).unwrap();
        assert_eq!(second, format!("aaaa.{}", *OURSELVES));
        assert!(Trail::of(&after(&second)).leads_back());
        assert_eq!(onward(&after(&second)), Err("policy.referral-loop"));
        assert!(!Trail::of(&after("aaaa")).leads_back());
    }

    #[test]
    fn twopxe_11_servers_that_do_not_know_themselves_end_it_as_well() {
        assert!(onward(&after("a.b")).is_ok());
        assert_eq!(onward(&after("a.b.c")), Err("policy.referral-loop"));
        let long = "x.".repeat(100_000);
        assert_eq!(onward(&after(&long)), Err("policy.referral-loop"));
        let hostile = onward(&after("a || shell ${x}")).unwrap();
        assert!(hostile.starts_with("ashellx."), "{hostile}");
    }
}
