use std::collections::BTreeSet;

use super::lab::{Lab, at, mac, on_each, sighting};
use crate::{Answer, Changes, Edit, Key, Once, Request, Store};

fn machines(ids: impl IntoIterator<Item = i64>) -> Changes {
    Changes::Some {
        machines: ids.into_iter().collect(),
        approvals: BTreeSet::new(),
    }
}

#[tokio::test]
async fn what_another_server_changes_is_told() {
    on_each(async |lab: Lab| {
        let (ours, theirs) = (lab.open().await, lab.open().await);
        let mut watch = ours.watch().await.unwrap();
        ours.change(&Key::Mac(mac(1)), &[]).await.unwrap();
        let changed = theirs
            .change(&Key::Mac(mac(2)), &[Edit::Held(true)])
            .await
            .unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([changed.id]));
        watch.rewind();
        assert_eq!(watch.next().await.unwrap(), machines([changed.id]));

        let once = Once {
            boot: "wipe".to_owned(),
            by: None,
            at: at(1),
        };
        // It is told to whoever waits.
        let waiting = tokio::spawn(async move { (watch.next().await, watch) });
        theirs
            .change(&Key::Mac(mac(1)), &[Edit::Once(Some(once))])
            .await
            .unwrap();
        let (told, mut watch) = waiting.await.unwrap();
        assert_eq!(told.unwrap(), machines([1]));
        theirs.take_once(1, at(1)).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([1]));
        theirs.remove(&Key::Id(2)).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([2]));
        assert_eq!(ours.machine(&Key::Id(2)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn sightings_are_told_when_they_change_a_known_machine() {
    on_each(async |lab: Lab| {
        let (ours, theirs) = (lab.open().await, lab.open().await);
        let mut watch = ours.watch().await.unwrap();
        let strangers: Vec<_> = (10..200).map(|n| sighting(n, "asked", 1)).collect();
        theirs.seen(&strangers).await.unwrap();
        theirs.seen(&[sighting(10, "booted", 2)]).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([1]));
        let mut seen = sighting(10, "booted", 3);
        theirs.seen(&[seen.clone()]).await.unwrap();
        seen.hardware.serial = Some("ABC".to_owned());
        theirs
            .seen(&[sighting(11, "asked", 3), seen])
            .await
            .unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([1]));
        theirs.change(&Key::Id(2), &[]).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), machines([2]));
    })
    .await;
}

#[tokio::test]
async fn requests_are_told_with_the_machine_that_is_let_in() {
    on_each(async |lab: Lab| {
        let (ours, theirs) = (lab.open().await, lab.open().await);
        let mut watch = ours.watch().await.unwrap();
        let request = Request {
            mac: Some(mac(1)),
            guid: None,
            facts: "{}".to_owned(),
            at: at(1),
            expires: at(100),
        };
        let asked = theirs.ask(&request).await.unwrap();
        let approvals = BTreeSet::from([asked.code.clone()]);
        let told = |machines: &[i64]| Changes::Some {
            machines: machines.iter().copied().collect(),
            approvals: approvals.clone(),
        };
        assert_eq!(watch.next().await.unwrap(), told(&[]));
        let approve = Answer::Approve(Vec::new());
        theirs
            .decide(&asked.code, &approve, "ann", at(2))
            .await
            .unwrap();
        assert_eq!(watch.next().await.unwrap(), told(&[1]));
    })
    .await;
}

#[tokio::test]
async fn whoever_is_far_behind_reads_everything() {
    on_each(async |lab: Lab| {
        let (ours, theirs) = (lab.open().await, lab.open().await);
        let mut watch = ours.watch().await.unwrap();
        let many: Vec<_> = (0..1001).map(|n| (Key::Mac(mac(n)), Vec::new())).collect();
        for part in many.chunks(300) {
            theirs.change_all(part).await.unwrap();
        }
        let Changes::Some { machines, .. } = watch.next().await.unwrap() else {
            panic!("a thousand changes are told one by one");
        };
        assert_eq!(machines.len(), 1001);
        let pool = theirs.pool();
        let sql = "UPDATE numbers SET last = 50000 WHERE kind = 'change'";
        sqlx::query(sql).execute(&pool).await.unwrap();
        theirs.change(&Key::Id(1), &[]).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), Changes::All);
        let kept: i64 = count(&theirs).await;
        assert_eq!(
            kept, 1,
            "what is older than ten thousand changes is forgotten"
        );
        // A copy of yesterday is put back.
        let sql = "UPDATE numbers SET last = 3 WHERE kind = 'change'";
        sqlx::query(sql).execute(&pool).await.unwrap();
        assert_eq!(watch.next().await.unwrap(), Changes::All);
    })
    .await;
}

async fn count(store: &Store) -> i64 {
    let sql = "SELECT count(*) FROM changes";
    sqlx::query_scalar(sql)
        .fetch_one(&store.pool())
        .await
        .unwrap()
}
