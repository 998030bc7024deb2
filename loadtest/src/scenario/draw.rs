//! Which machine is what: drawn from the scenario's seed, the same in every run.

use std::time::Duration;

use super::{Arrival, Scenario};
use crate::machine::behaviour::Behaviour;
use crate::machine::identity::Identity;
use crate::machine::profile::Profile;
use crate::storm::Start;

impl Scenario {
    /// Every machine, by its index.
    pub(crate) fn starts(&self) -> Vec<Start> {
        let mut dice = Dice(self.seed);
        // Mixed, or a profile would be behind one relay or in one wave.
        let profiles = dice.mixed(self.profiles());
        let behaviours = dice.mixed(self.behaviours());
        let drawn = (0..).zip(profiles).zip(behaviours);
        drawn
            .map(|((index, profile), behaviour)| Start {
                at: self.arrival.of(index, self.machines),
                identity: Identity::new(index, profile),
                behaviour,
            })
            .collect()
    }

    /// As many of each as its share says, to the nearest machine.
    fn profiles(&self) -> Vec<Profile> {
        let all: u64 = self.mix.iter().map(|part| u64::from(part.share)).sum();
        let (mut profiles, mut shares) = (Vec::new(), 0);
        for part in &self.mix {
            shares += u64::from(part.share);
            let end = (u64::from(self.machines) * shares + all / 2) / all.max(1);
            profiles.resize(usize::try_from(end).unwrap_or(0), part.profile);
        }
        profiles
    }

    /// Those with troubles first.
    fn behaviours(&self) -> Vec<Behaviour> {
        let room = self.machines as usize;
        let mut behaviours = Vec::with_capacity(room);
        for trouble in &self.trouble {
            let many = trouble.share.of(self.machines) as usize;
            let end = behaviours.len().saturating_add(many).min(room);
            behaviours.resize(end, trouble.behaviour);
        }
        behaviours.resize(room, Behaviour::default());
        behaviours
    }
}

impl Arrival {
    /// When machine `index` of `machines` is switched on.
    fn of(self, index: u32, machines: u32) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Ramp { over } => over * index / machines.max(1),
            Self::Waves { size, every } => every * (index / size.get()),
        }
    }

    /// When the last one is.
    pub(super) fn last(self, machines: u32) -> Duration {
        self.of(machines.saturating_sub(1), machines)
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): few lines, and well mixed for any seed.
struct Dice(u64);

impl Dice {
    /// In an order of chance (Fisher and Yates).
    fn mixed<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for end in (1..items.len()).rev() {
            let other = self.roll() % (end as u64 + 1);
            items.swap(end, usize::try_from(other).unwrap_or(end));
        }
        items
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
