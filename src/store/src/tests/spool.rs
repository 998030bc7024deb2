use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::lab::{Lab, at, mac, on_each, sighting};
use crate::{
    BootBegin, BootFilter, Edit, Event, Key, Location, Note, Once, SPOOL_MAX, Spool, Store,
};

struct Scene {
    folder: TempDir,
    store: Store,
}

impl Scene {
    async fn new(lab: &Lab) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: lab.open().await,
        }
    }

    /// With a file, for what is not of the database.
    async fn of_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::in_folder(folder.path());
        let store = Store::open(&location).await.unwrap();
        Self { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spool.jsonl")
    }

    fn spool(&self) -> Spool {
        Spool::open(&self.path()).unwrap()
    }

    /// The events that the database has, in order.
    async fn events(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut before = None;
        loop {
            let page = self.store.events(None, before, 1000).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.0);
            all.extend(page.into_iter().map(|(_, event)| event.id));
        }
        all.reverse();
        all
    }
}

fn event(number: usize) -> Note {
    Note::Happened(Event {
        id: format!("e{number}"),
        at: at(number as u64),
        mac: Some(mac(1)),
        machine: None,
        boot: None,
        kind: "script".to_owned(),
        code: None,
        text: "a \"step\"\n of ünknown".to_owned(),
    })
}

fn events(numbers: impl IntoIterator<Item = usize>) -> Vec<Note> {
    numbers.into_iter().map(event).collect()
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| format!("e{number}"))
        .collect()
}

#[tokio::test]
async fn notes_of_every_kind_arrive_in_order() {
    on_each(async |lab: Lab| {
        let scene = Scene::new(&lab).await;
        let once = Once {
            boot: "wipe".to_owned(),
            by: None,
            at: at(5),
        };
        let edits = [Edit::Once(Some(once))];
        scene.store.change(&Key::Mac(mac(1)), &edits).await.unwrap();
        let began = BootBegin {
            id: "b1".to_owned(),
            machine: None,
            mac: Some(mac(2)),
            guid: None,
            serial: None,
            entry: "debian".to_owned(),
            decider: "rules".to_owned(),
            task: None,
            once: false,
            at: at(3),
        };
        let spool = scene.spool();
        spool.put(&[
            Note::Seen(sighting(2, "asked", 1)),
            Note::Began(began),
            Note::OnceTaken {
                machine: 1,
                at: at(5),
            },
        ]);
        spool.put(&events(0..450));
        spool.put(&[Note::Seen(sighting(2, "booted", 9))]);
        assert!(spool.waiting() > 0);
        spool.deliver(&scene.store).await.unwrap();
        assert_eq!((spool.waiting(), spool.dropped()), (0, 0));
        assert_eq!(fs::metadata(scene.path()).unwrap().len(), 0);
        assert_eq!(scene.events().await, ids(0..450));
        let filter = BootFilter {
            machine: Some(2),
            ..BootFilter::default()
        };
        let boots = scene.store.boots(&filter, None, 10).await.unwrap();
        assert_eq!(boots.len(), 1);
        let machines = scene.store.load().await.unwrap();
        assert_eq!(machines[0].once, None);
        assert_eq!(machines[1].phase, "booted");
    })
    .await;
}

#[tokio::test]
async fn a_kill_at_any_byte_of_the_last_line_loses_that_line_alone() {
    let scene = Scene::of_file().await;
    let spool = scene.spool();
    spool.put(&events(0..3));
    let whole = fs::read(scene.path()).unwrap();
    drop(spool);
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let before = lines[0].len() + lines[1].len();
    for length in before..=whole.len() {
        let scene = Scene::of_file().await;
        fs::write(scene.path(), &whole[..length]).unwrap();
        let spool = scene.spool();
        spool.put(&[event(9)]);
        spool.deliver(&scene.store).await.unwrap();
        assert_eq!(spool.dropped(), 0);
        let wanted = if length < whole.len() {
            ids([0, 1, 9])
        } else {
            ids([0, 1, 2, 9])
        };
        assert_eq!(scene.events().await, wanted, "cut at {length}");
    }
}

#[tokio::test]
async fn a_kill_between_delivery_and_cutting_doubles_nothing() {
    on_each(async |lab: Lab| {
        let scene = Scene::new(&lab).await;
        let spool = scene.spool();
        spool.put(&[Note::Seen(sighting(1, "asked", 1))]);
        spool.put(&events(0..300));
        spool.put(&[Note::Seen(sighting(1, "booted", 2))]);
        let file = fs::read(scene.path()).unwrap();
        spool.deliver(&scene.store).await.unwrap();
        let before = (scene.events().await, scene.store.load().await.unwrap());
        assert_eq!(before.0, ids(0..300));
        drop(spool);
        fs::write(scene.path(), file).unwrap();
        let spool = scene.spool();
        assert!(spool.waiting() > 0);
        spool.deliver(&scene.store).await.unwrap();
        let after = (scene.events().await, scene.store.load().await.unwrap());
        assert_eq!(before, after);
    })
    .await;
}

#[tokio::test]
async fn an_hour_without_the_database_and_a_restart_lose_nothing() {
    let scene = Scene::of_file().await;
    let table = |from, to| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::AssertSqlSafe(sql)
    };
    let pool = scene.store.pool();
    sqlx::query(table("events", "gone"))
        .execute(&pool)
        .await
        .unwrap();
    let mut spool = scene.spool();
    for minute in 0..60 {
        spool.put(&events(minute * 60..minute * 60 + 60));
        if minute % 10 == 0 {
            let error = spool.deliver(&scene.store).await.unwrap_err();
            assert_eq!(error.code(), "store.failed");
            spool = scene.spool();
        }
    }
    sqlx::query(table("gone", "events"))
        .execute(&pool)
        .await
        .unwrap();
    spool.deliver(&scene.store).await.unwrap();
    assert_eq!(scene.events().await, ids(0..3600));
    assert_eq!((spool.waiting(), spool.dropped()), (0, 0));
}

#[tokio::test]
async fn what_is_put_during_a_delivery_follows_it() {
    let scene = Scene::of_file().await;
    let spool = scene.spool();
    spool.put(&events(0..1000));
    let put = async {
        for part in 0..20 {
            spool.put(&events(1000 + part * 10..1010 + part * 10));
            tokio::task::yield_now().await;
        }
    };
    let (delivered, ()) = tokio::join!(spool.deliver(&scene.store), put);
    delivered.unwrap();
    spool.deliver(&scene.store).await.unwrap();
    assert_eq!(scene.events().await, ids(0..1200));
}

#[tokio::test]
async fn beyond_its_length_the_oldest_are_dropped_and_counted() {
    let scene = Scene::of_file().await;
    let spool = Spool::open_with(&scene.path(), 20_000).unwrap();
    for number in 0..1000 {
        spool.put(&[event(number)]);
        assert!(fs::metadata(scene.path()).unwrap().len() <= 20_000);
    }
    let dropped = usize::try_from(spool.dropped()).unwrap();
    assert!(dropped > 800, "{dropped}");
    spool.deliver(&scene.store).await.unwrap();
    assert_eq!(scene.events().await, ids(dropped..1000));
}

#[tokio::test]
async fn damaged_lines_and_giants_hold_up_no_others() {
    let scene = Scene::of_file().await;
    let spool = scene.spool();
    spool.put(&[event(0)]);
    drop(spool);
    let mut file = fs::read(scene.path()).unwrap();
    file.extend(b"\0\0\0\0\n{\"seen\":{}}\n\xff\xfe\n");
    fs::write(scene.path(), &file).unwrap();
    let spool = scene.spool();
    let Note::Happened(mut giant) = event(5) else {
        unreachable!()
    };
    giant.text = "x".repeat(70_000);
    spool.put(&[event(1), Note::Happened(giant), event(2)]);
    spool.deliver(&scene.store).await.unwrap();
    assert_eq!(scene.events().await, ids([0, 1, 2]));
    assert_eq!(spool.dropped(), 4);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let error = Spool::open("/no/such/folder/spool.jsonl".as_ref()).unwrap_err();
    assert_eq!(error.code(), "spool.unusable");
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    const { assert!(SPOOL_MAX == 64 << 20) };
}
