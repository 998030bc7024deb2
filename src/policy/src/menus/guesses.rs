//! Who has tried wrong passwords, and may try no more.
//!
//! A machine is what it says it is, and one that guesses can say something else each time: so wrong
//! passwords are counted by the address that they come from as well, and all together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bootstorm_telemetry::event::Reason;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{Facts, Identity};

const HOUR: Duration = Duration::from_secs(3600);

/// Wrong passwords of one machine, of one address, and of all.
const OF_MACHINE: Limit = Limit::new(5, Duration::from_secs(600));
const OF_SOURCE: Limit = Limit::new(20, HOUR);
const OF_ALL: Limit = Limit::new(100, Duration::from_secs(24 * 3600));

/// So many may be wrong from the first one on.
#[derive(Clone, Copy)]
struct Limit {
    number: u32,
    within: Duration,
}

/// Who tries.
#[derive(Clone, Debug)]
pub(super) struct Guesser {
    machine: String,
    source: Option<IpAddr>,
}

/// The wrong passwords of late. There are never more of them than all together may be.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    machines: HashMap<String, Wrong>,
    sources: HashMap<Option<IpAddr>, Wrong>,
    all: HashMap<(), Wrong>,
}

#[derive(Debug)]
struct Wrong {
    since: Instant,
    number: u32,
    /// Digest of the last one: the same again is no other guess.
    last: [u8; 32],
}

impl Limit {
    const fn new(number: u32, within: Duration) -> Self {
        Self { number, within }
    }

    fn forget_old<K>(self, counts: &mut HashMap<K, Wrong>, now: Instant) {
        counts.retain(|_, wrong| now.duration_since(wrong.since) < self.within);
    }

    fn is_reached<K: Eq + Hash>(self, counts: &HashMap<K, Wrong>, who: &K) -> bool {
        counts
            .get(who)
            .is_some_and(|wrong| wrong.number >= self.number)
    }
}

impl Guesser {
    pub(super) fn new(identity: &Identity, facts: &Facts) -> Self {
        Self {
            machine: format!("{:?} {:?}", identity.guid, identity.mac),
            source: facts.source.map(network),
        }
    }
}

impl Guesses {
    /// Whether the password is the wanted one, from somebody who may still try.
    ///
    /// # Errors
    /// Why the menu stays shut.
    pub(super) fn check(
        &self,
        who: Guesser,
        wanted: Option<&str>,
        given: &str,
        now: Instant,
    ) -> Result<(), Reason> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.may_try(&who, now)?;
        if wanted.is_some_and(|wanted| is_same(wanted, given)) {
            counts.machines.remove(&who.machine);
            counts.sources.remove(&who.source);
            return Ok(());
        }
        counts.note(who, digest(given), now);
        Err(Reason {
            code: "menu.wrong-password",
            text: "That is not the password of this menu.".into(),
        })
    }
}

impl Counts {
    fn may_try(&mut self, who: &Guesser, now: Instant) -> Result<(), Reason> {
        OF_MACHINE.forget_old(&mut self.machines, now);
        OF_SOURCE.forget_old(&mut self.sources, now);
        OF_ALL.forget_old(&mut self.all, now);
        let (code, text) = if OF_ALL.is_reached(&self.all, &()) {
            (
                "menu.shut",
                "Too many wrong passwords from everywhere: locked menus stay shut for a day.",
            )
        } else if OF_SOURCE.is_reached(&self.sources, &who.source) {
            (
                "menu.too-many-tries",
                "Too many wrong passwords from this address: wait an hour.",
            )
        } else if OF_MACHINE.is_reached(&self.machines, &who.machine) {
            (
                "menu.too-many-tries",
                "Too many wrong passwords: wait ten minutes.",
            )
        } else {
            return Ok(());
        };
        Err(Reason {
            code,
            text: text.into(),
        })
    }

    fn note(&mut self, who: Guesser, given: [u8; 32], now: Instant) {
        let before = self.machines.get(&who.machine);
        if before.is_some_and(|wrong| wrong.last == given) {
            return;
        }
        count(&mut self.machines, who.machine, given, now);
        count(&mut self.sources, who.source, given, now);
        if count(&mut self.all, (), given, now) == OF_ALL.number {
            tracing::warn!(
                code = "menu.shut",
                "somebody guesses passwords: {} were wrong within a day, and locked menus stay shut",
                OF_ALL.number
            );
        }
    }
}

fn count<K: Eq + Hash>(
    counts: &mut HashMap<K, Wrong>,
    who: K,
    given: [u8; 32],
    now: Instant,
) -> u32 {
    let wrong = counts.entry(who).or_insert(Wrong {
        since: now,
        number: 0,
        last: given,
    });
    wrong.number += 1;
    wrong.last = given;
    wrong.number
}

/// Whoever has one address of IPv6 has its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Compares in a time that tells nothing of what is wanted.
fn is_same(wanted: &str, given: &str) -> bool {
    digest(wanted).ct_eq(&digest(given)).into()
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesser(machine: u32, source: &str) -> Guesser {
        Guesser {
            machine: machine.to_string(),
            source: source.parse().ok().map(network),
        }
    }

    fn code(result: Result<(), Reason>) -> &'static str {
        result.map_or_else(|reason| reason.code, |()| "open")
    }

    #[test]
    fn twopxe_10_another_name_for_each_guess_does_not_help() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let guess = |number: u32, source: &str, now| {
            let given = format!("{number:04}");
            code(guesses.check(guesser(number, source), Some("4711"), &given, now))
        };
        for number in 0..OF_SOURCE.number {
            let found = guess(number, &format!("2001:db8::{number:x}"), start);
            assert_eq!(found, "menu.wrong-password");
        }
        assert_eq!(guess(4711, "2001:db8::ffff", start), "menu.too-many-tries");
        assert_eq!(guess(4711, "2001:db8:1::1", start), "open", "somebody else");
        assert_eq!(guess(4711, "2001:db8::1", start + HOUR), "open");
    }

    #[test]
    fn twopxe_10_all_machines_together_have_few_guesses_a_day() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let mut wrong = 0;
        let mut shut = 0;
        for number in 0..10_000 {
            let [.., high, low] = u32::to_be_bytes(number);
            let source = format!("10.0.{high}.{low}");
            let given = format!("{number:04}");
            match code(guesses.check(guesser(number, &source), Some("9999"), &given, start)) {
                "menu.wrong-password" => wrong += 1,
                "menu.shut" => shut += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!((wrong, shut), (OF_ALL.number, 10_000 - OF_ALL.number));
        let counts = guesses.0.lock().unwrap();
        assert!(counts.machines.len() <= 100 && counts.sources.len() <= 100);
        drop(counts);
        let tomorrow = start + OF_ALL.within;
        let open = guesses.check(guesser(1, "10.0.0.1"), Some("9999"), "9999", tomorrow);
        assert_eq!(code(open), "open");
    }
}
