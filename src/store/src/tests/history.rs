use std::time::Duration;

use super::lab::{at, mac, on_each};
use crate::{BootBegin, BootEnd, Event, Key, Note};

fn event(number: u64) -> Event {
    Event {
        id: format!("e{number}"),
        at: at(number),
        mac: Some(mac(1)),
        machine: None,
        kind: "script".to_owned(),
        code: None,
        text: format!("step {number}"),
    }
}

fn boot(number: u64) -> (Note, Note) {
    let id = format!("b{number}");
    let begin = BootBegin {
        id: id.clone(),
        machine: None,
        mac: Some(mac(1)),
        entry: "debian".to_owned(),
        at: at(number),
    };
    let end = BootEnd {
        id,
        state: "finished".to_owned(),
        reason: None,
        bytes: Some(1 << 40),
        at: at(number + 5),
    };
    (Note::Began(begin), Note::Ended(end))
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
async fn a_boot_begins_and_ends_once() {
    on_each(async |lab| {
        let store = lab.open().await;
        let (begin, end) = boot(1);
        store.record(&[begin.clone(), end.clone()]).await.unwrap();
        let Note::Ended(other) = end.clone() else {
            unreachable!()
        };
        let other = Note::Ended(BootEnd {
            state: "failed".to_owned(),
            ..other
        });
        store.record(&[begin, end, other]).await.unwrap();
        let boots = store.boots(None, None, 10).await.unwrap();
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].state, "finished");
        assert_eq!(boots[0].bytes, Some(1 << 40));
        assert_eq!((boots[0].began, boots[0].ended), (at(1), Some(at(6))));
    })
    .await;
}

#[tokio::test]
async fn what_is_old_is_forgotten() {
    on_each(async |lab| {
        let store = lab.open().await;
        let mut notes: Vec<_> = (1..=10).map(|n| Note::Happened(event(n))).collect();
        notes.extend((1..=10).map(|n| boot(n).0));
        store.record(&notes).await.unwrap();
        store
            .forget_old(Duration::from_secs(3), at(10))
            .await
            .unwrap();
        assert_eq!(store.events(None, None, 100).await.unwrap().len(), 4);
        assert_eq!(store.boots(None, None, 100).await.unwrap().len(), 4);
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
