//! Machines that were seen and are not noted in the store yet.

use std::collections::{HashMap, VecDeque};

use bootstorm_proto::types::MacAddress;
use bootstorm_store::Sighting;

/// Machines that did no more than ask which are noted at a time. Noting one takes a hundred times as
/// long as answering it: in a storm the rest waits, so that the processor is there for answers.
const ASKING_AT_A_TIME: usize = 1000;

/// The most that wait; those beyond are seen again.
pub(super) const SEEN_MAX: usize = 20_000;

/// What was seen last of each machine.
#[derive(Debug, Default)]
pub(super) struct Seen {
    machines: HashMap<MacAddress, Sighting>,
    /// The same machines, in the order in which they were seen first.
    turns: VecDeque<MacAddress>,
}

impl Seen {
    /// A machine was seen. One that begins anew has booted all the same.
    pub(super) fn add(&mut self, mac: MacAddress, mut sighting: Sighting) {
        if let Some(before) = self.machines.get_mut(&mac) {
            sighting.has_booted |= before.has_booted;
            *before = sighting;
        } else if self.machines.len() < SEEN_MAX {
            self.turns.push_back(mac);
            self.machines.insert(mac, sighting);
        }
    }

    /// Those that booted, and of the others those that have waited for longest.
    pub(super) fn due(&mut self) -> Vec<Sighting> {
        self.take(ASKING_AT_A_TIME)
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<Sighting> {
        self.take(usize::MAX)
    }

    fn take(&mut self, mut asking: usize) -> Vec<Sighting> {
        let mut taken = Vec::new();
        self.turns.retain(|mac| {
            let has_booted = self.machines.get(mac).is_some_and(|s| s.has_booted);
            if !has_booted && asking == 0 {
                return true;
            }
            asking -= usize::from(!has_booted);
            taken.extend(self.machines.remove(mac));
            false
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bootstorm_store::Hardware;

    use super::*;

    fn mac(number: usize) -> MacAddress {
        let [.., a, b, c] = number.to_be_bytes();
        MacAddress::new([2, 0, 0, a, b, c])
    }

    fn sighting(number: usize, has_booted: bool, second: u64) -> Sighting {
        Sighting {
            mac: Some(mac(number)),
            guid: None,
            arch: None,
            hardware: Hardware::default(),
            phase: "asked".to_owned(),
            has_booted,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        }
    }

    #[test]
    fn a_storm_of_machines_that_ask_is_noted_in_turns() {
        let mut seen = Seen::default();
        let count = 2 * ASKING_AT_A_TIME + 10;
        for number in 0..count {
            seen.add(mac(number), sighting(number, false, 1));
        }
        // Who asks again keeps its turn; who boots does not wait.
        seen.add(mac(0), sighting(0, false, 2));
        seen.add(mac(count - 1), sighting(count - 1, true, 2));
        seen.add(mac(count - 1), sighting(count - 1, false, 3));
        let first = seen.due();
        assert_eq!(first.len(), ASKING_AT_A_TIME + 1);
        assert_eq!(first[0], sighting(0, false, 2));
        let last = &first[ASKING_AT_A_TIME];
        assert_eq!(*last, sighting(count - 1, true, 3));
        assert_eq!(seen.due().len(), ASKING_AT_A_TIME);
        assert_eq!(seen.all().len(), 9);
        assert!(seen.all().is_empty());
    }

    #[test]
    fn made_up_machines_are_bounded() {
        let mut seen = Seen::default();
        for number in 0..SEEN_MAX + 10 {
            seen.add(mac(number), sighting(number, false, 1));
        }
        assert_eq!(seen.all().len(), SEEN_MAX);
    }
}
