use std::time::Duration;

use super::lab::{at, mac, on_each};
use crate::{
    BootBegin, BootFigures, BootFilter, BootRecord, BootState, BootStep, Edit, Event, Key, Note,
    Once, Reached,
};

fn event(number: u64) -> Event {
    Event {
        id: format!("e{number}"),
        at: at(number),
        mac: Some(mac(1)),
        machine: None,
        boot: None,
        kind: "script".to_owned(),
        code: None,
        text: format!("step {number}"),
    }
}

fn began(number: u64) -> BootBegin {
    BootBegin {
        id: format!("b{number}"),
        machine: None,
        mac: Some(mac(1)),
        guid: None,
        serial: None,
        entry: "debian".to_owned(),
        decider: "rules: rule[1]".to_owned(),
        task: Some("debian".to_owned()),
        once: false,
        at: at(number),
    }
}

fn stepped(number: u64, reached: Reached, seconds: u64) -> Note {
    Note::Stepped(BootStep {
        id: format!("b{number}"),
        reached,
        bytes: Some(seconds << 40),
        at: at(seconds),
    })
}

fn failure() -> Reached {
    Reached::Failed {
        code: "tftp.timeout".to_owned(),
        text: "no answer".to_owned(),
    }
}

async fn boots(store: &crate::Store, filter: BootFilter) -> Vec<BootRecord> {
    store.boots(&filter, None, 100).await.unwrap()
}

#[tokio::test]
async fn events_that_are_noted_twice_are_there_once() {
    on_each(async |lab| {
        let store = lab.open().await;
        let machine = store.change(&Key::Mac(mac(1)), &[]).await.unwrap();
        let notes: Vec<_> = (1..=5).map(|n| Note::Happened(event(n))).collect();
        store.record(&notes).await.unwrap();
        store.record(&notes[2..]).await.unwrap();
        store.record(&[Note::Happened(event(6))]).await.unwrap();
        let all = store.events(None, None, 100).await.unwrap();
        let ids: Vec<_> = all.iter().map(|(_, event)| event.id.as_str()).collect();
        assert_eq!(ids, ["e6", "e5", "e4", "e3", "e2", "e1"]);
        let first = Event {
            machine: Some(machine.id),
            ..event(1)
        };
        assert_eq!(all[5].1, first);
        let older = store
            .events(Some(machine.id), Some(all[3].0), 2)
            .await
            .unwrap();
        assert_eq!(older, all[4..]);
        assert_eq!(store.events(Some(99), None, 100).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn twopxe_22_a_boot_has_five_dates_however_often_they_are_noted() {
    on_each(async |lab| {
        let store = lab.open().await;
        let machine = store.change(&Key::Mac(mac(1)), &[]).await.unwrap();
        let notes = [
            Note::Began(began(1)),
            stepped(1, Reached::Loading, 3),
            stepped(1, failure(), 4),
            stepped(1, Reached::Loading, 5),
            stepped(1, Reached::Loaded, 6),
            stepped(1, Reached::Loaded, 7),
            stepped(1, Reached::Finished, 9),
            stepped(1, Reached::Finished, 12),
        ];
        for part in [&notes[..], &notes[..], &notes[3..]] {
            store.record(part).await.unwrap();
        }
        let all = boots(&store, BootFilter::default()).await;
        let wanted = BootRecord {
            seq: all[0].seq,
            id: "b1".to_owned(),
            machine: Some(machine.id),
            mac: Some(mac(1)),
            guid: None,
            entry: "debian".to_owned(),
            decider: Some("rules: rule[1]".to_owned()),
            task: Some("debian".to_owned()),
            once: false,
            bytes: Some(12 << 40),
            requested: at(1),
            loading: Some(at(3)),
            loaded: Some(at(7)),
            finished: Some(at(9)),
            failed: Some(at(4)),
            code: Some("tftp.timeout".to_owned()),
            reason: Some("no answer".to_owned()),
        };
        assert_eq!(all, [wanted]);
    })
    .await;
}

/// Boots that got as far as their number says: 1 requested, 2 loading, 3 failed while it loaded,
/// 4 loaded, 5 loaded after a failure, 6 failed after all, 7 done, 8 done after a failure.
async fn of_every_kind(store: &crate::Store) {
    let mut notes: Vec<_> = (1..=8).map(|number| Note::Began(began(number))).collect();
    notes.extend((2..=8).map(|number| stepped(number, Reached::Loading, 20)));
    notes.extend([3, 5, 8].map(|number| stepped(number, failure(), 30)));
    notes.extend((4..=8).map(|number| stepped(number, Reached::Loaded, 40)));
    notes.push(stepped(6, failure(), 50));
    notes.extend([7, 8].map(|number| stepped(number, Reached::Finished, 60)));
    store.record(&notes).await.unwrap();
}

#[tokio::test]
async fn twopxe_22_the_figures_follow_from_the_dates() {
    on_each(async |lab| {
        let store = lab.open().await;
        of_every_kind(&store).await;
        let figures = store.boot_figures(&BootFilter::default()).await.unwrap();
        let wanted = BootFigures {
            requests: 8,
            started: 7,
            transferred: 5,
            booted: 2,
            failed: 4,
            limbo: 1,
        };
        assert_eq!(figures, wanted);
        assert_eq!(figures.transferring(), 2);
        let numbers = async |state| {
            let filter = BootFilter {
                state: Some(state),
                ..BootFilter::default()
            };
            let found = boots(&store, filter.clone()).await;
            assert!(found.iter().all(|boot| boot.state() == state));
            let figures = store.boot_figures(&filter).await.unwrap();
            assert_eq!(figures.requests, found.len() as i64);
            let mut ids: Vec<_> = found.into_iter().map(|boot| boot.id).collect();
            ids.reverse();
            ids.join(" ")
        };
        let mut states = Vec::new();
        for state in BootState::ALL {
            states.push(numbers(state).await);
        }
        assert_eq!(states, ["b1", "b2", "b4 b5", "b7 b8", "b3 b6"]);
        let between = BootFilter {
            since: Some(at(3)),
            until: Some(at(5)),
            ..BootFilter::default()
        };
        assert_eq!(boots(&store, between).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn wds_13_what_a_machine_has_done_stays_with_it_until_people_say_anew() {
    on_each(async |lab| {
        let store = lab.open().await;
        let key = Key::Mac(mac(1));
        let boot = |name: &str| [Edit::Boot(Some(name.to_owned()))];
        store.change(&key, &boot("debian")).await.unwrap();
        let done = async || {
            let machine = store.machine(&key).await.unwrap().unwrap();
            machine.done
        };
        // Later than what people said just now.
        let later = 9_000_000_000;
        let changed = store
            .record(&[
                Note::Began(began(later)),
                stepped(later, Reached::Finished, later),
            ])
            .await
            .unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!(done().await.as_deref(), Some("debian"));
        assert_eq!(store.tasks(at(0), 10).await.unwrap().len(), 1);
        store.change(&key, &boot("debian")).await.unwrap();
        store
            .change(
                &key,
                &[Edit::Held(true), Edit::Name(Some("lab".to_owned()))],
            )
            .await
            .unwrap();
        assert_eq!(done().await.as_deref(), Some("debian"));
        let once = Edit::Once(Some(Once {
            boot: "winpe".to_owned(),
            by: None,
            at: at(1),
        }));
        for edit in [
            Edit::Boot(Some("winpe".to_owned())),
            Edit::Held(false),
            once,
        ] {
            sqlx::query("UPDATE machines SET done = 'debian', reset = NULL")
                .execute(&store.pool())
                .await
                .unwrap();
            store.change(&key, &[edit]).await.unwrap();
            assert_eq!(done().await, None);
        }
        // What began before that is told too late.
        store
            .record(&[Note::Began(began(2)), stepped(2, Reached::Finished, 3)])
            .await
            .unwrap();
        assert_eq!(done().await, None);
        assert_eq!(store.tasks(at(0), 10).await.unwrap().len(), 1, "not boot 2");
    })
    .await;
}

#[tokio::test]
async fn what_is_old_is_forgotten() {
    on_each(async |lab| {
        let store = lab.open().await;
        let mut notes: Vec<_> = (1..=10).map(|n| Note::Happened(event(n))).collect();
        notes.extend((1..=10).map(|n| Note::Began(began(n))));
        store.record(&notes).await.unwrap();
        store
            .forget_old(Duration::from_secs(3), at(10))
            .await
            .unwrap();
        assert_eq!(store.events(None, None, 100).await.unwrap().len(), 4);
        assert_eq!(boots(&store, BootFilter::default()).await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn hostile_events_are_cut_and_kept() {
    on_each(async |lab| {
        let store = lab.open().await;
        let hostile = Event {
            code: Some("x\0'; --".to_owned()),
            text: format!("\0\u{1b}{}", "é".repeat(4000)),
            ..event(1)
        };
        store.record(&[Note::Happened(hostile)]).await.unwrap();
        let kept = store.events(None, None, 1).await.unwrap();
        assert_eq!(kept[0].1.code.as_deref(), Some("x'; --"));
        assert!(kept[0].1.text.len() <= 1024);
    })
    .await;
}
