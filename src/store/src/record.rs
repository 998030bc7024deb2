//! What the server itself notes, any number of things in one transaction.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::boots::{begin, step};
use crate::changes::Change;
use crate::edits::take_once;
use crate::history::happen;
use crate::sightings::note;
use crate::{BootBegin, BootStep, Event, Sighting, Store, StoreError, wire};

/// One thing to note. Noting it twice is the same as noting it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// A machine was seen.
    Seen(Sighting),
    /// A boot began.
    Began(BootBegin),
    /// A boot got on.
    Stepped(BootStep),
    /// Something happened.
    Happened(Event),
    /// What a machine was to boot once has been handed to it, while the database was away.
    OnceTaken {
        /// The machine's number.
        machine: i64,
        /// Which order.
        #[serde(with = "wire::millis")]
        at: SystemTime,
    },
}

impl Store {
    /// Notes that machines were seen, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is noted.
    pub async fn seen(&self, sightings: &[Sighting]) -> Result<(), StoreError> {
        let notes: Vec<_> = sightings.iter().cloned().map(Note::Seen).collect();
        self.record(&notes).await.map(|_| ())
    }

    /// Notes all of it, in order, in one transaction. Some hundred stay within the time limit. Gives
    /// the numbers of the machines of which a snapshot holds something else now.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is noted.
    pub async fn record<'n>(
        &self,
        notes: impl IntoIterator<Item = &'n Note>,
    ) -> Result<BTreeSet<i64>, StoreError> {
        self.bounded(async {
            let mut transaction = self.writing().await?;
            let mut changed = BTreeSet::new();
            let mut sightings = 0;
            for it in notes {
                match it {
                    Note::Seen(seen) => {
                        sightings += 1;
                        changed.extend(note(&mut transaction, seen).await?);
                    }
                    Note::Began(boot) => begin(&mut transaction, boot).await?,
                    Note::Stepped(boot) => changed.extend(step(&mut transaction, boot).await?),
                    Note::Happened(event) => happen(&mut transaction, event).await?,
                    Note::OnceTaken { machine, at } => {
                        let taken = take_once(&mut transaction, *machine, *at).await?;
                        changed.extend(taken.map(|_| *machine));
                    }
                }
            }
            self.forget_surplus(&mut transaction, sightings).await?;
            let told: Vec<_> = changed.iter().copied().map(Change::Machine).collect();
            self.tell(&mut transaction, &told).await?;
            transaction.commit().await?;
            Ok(changed)
        })
        .await
    }
}
