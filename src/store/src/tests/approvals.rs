use std::collections::BTreeSet;
use std::time::SystemTime;

use bootstorm_proto::types::MachineGuid;

use super::lab::{Lab, at, mac, on_each};
use crate::{Answer, Approval, ApprovalState, Edit, Key, Request};

fn request(last: u16, seconds: u64) -> Request {
    Request {
        mac: Some(mac(last)),
        guid: None,
        facts: r#"{"version":1}"#.to_owned(),
        at: at(seconds),
        expires: at(seconds + 100),
    }
}

fn approve() -> Answer {
    Answer::Approve(vec![
        Edit::Name(Some("lab3-17".to_owned())),
        Edit::AddTag("lab".to_owned()),
        Edit::Boot(Some("debian".to_owned())),
    ])
}

#[tokio::test]
async fn a_machine_asks_once_and_is_let_in() {
    on_each(async |lab: Lab| {
        let store = lab.open().await;
        let asked = store.ask(&request(1, 1)).await.unwrap();
        assert_eq!(asked.state, ApprovalState::Pending);
        let letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        assert!((4..=8).contains(&asked.code.len()));
        assert!(asked.code.chars().all(|letter| letters.contains(letter)));
        assert_eq!(store.ask(&request(1, 50)).await.unwrap(), asked);
        store.close().await;

        let store = lab.open().await;
        assert_eq!(store.ask(&request(1, 60)).await.unwrap(), asked);
        let decided = store.decide(&asked.code, &approve(), "ann", at(70)).await;
        let (approval, machine) = decided.unwrap();
        assert_eq!(approval.state, ApprovalState::Approved);
        assert_eq!(approval.decider.as_deref(), Some("ann"));
        assert_eq!(approval.decided, Some(at(70)));
        let machine = store
            .machine(&Key::Id(machine.unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(machine.macs, [mac(1)]);
        assert_eq!(machine.name.as_deref(), Some("lab3-17"));
        assert_eq!(machine.boot.as_deref(), Some("debian"));
        assert_eq!(machine.tags, ["lab"]);
        assert!(machine.is_known());

        let again = store.decide(&asked.code, &approve(), "bob", at(71)).await;
        let again = again.unwrap_err();
        assert_eq!(again.code(), "store.decided");
        assert!(
            again.to_string().contains("approved already, by ann"),
            "{again}"
        );
        let unknown = store.decide("nope", &approve(), "bob", at(71)).await;
        assert_eq!(unknown.unwrap_err().code(), "store.unknown-approval");
    })
    .await;
}

#[tokio::test]
async fn a_code_is_read_as_people_write_it() {
    on_each(async |lab| {
        let store = lab.open().await;
        let asked = store.ask(&request(1, 1)).await.unwrap();
        let written = asked.code.replace('0', "o").replace('1', "l");
        let written = format!(" {}-", written.to_lowercase());
        assert_eq!(store.approval(&written).await.unwrap(), Some(asked));
        let decided = store.decide(&written, &approve(), "ann", at(2)).await;
        assert_eq!(decided.unwrap().0.state, ApprovalState::Approved);
        let forgotten = store.remove(&Key::Mac(mac(1))).await;
        assert!(forgotten.unwrap());
        let anew = store.ask(&request(1, 3)).await.unwrap();
        assert_eq!(anew.state, ApprovalState::Pending);
    })
    .await;
}

#[tokio::test]
async fn a_refused_edit_leaves_the_request_waiting() {
    on_each(async |lab| {
        let store = lab.open().await;
        let asked = store.ask(&request(1, 1)).await.unwrap();
        let bad = Answer::Approve(vec![Edit::Name(Some("a\nb".to_owned()))]);
        let refused = store.decide(&asked.code, &bad, "ann", at(2)).await;
        assert_eq!(refused.unwrap_err().code(), "store.bad-text");
        assert_eq!(store.approval(&asked.code).await.unwrap(), Some(asked));
        assert_eq!(store.load().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_denied_machine_asks_again_only_later() {
    on_each(async |lab| {
        let store = lab.open().await;
        let asked = store.ask(&request(1, 1)).await.unwrap();
        let deny = Answer::Deny {
            until: at(500),
            reason: Some("wrong room".to_owned()),
        };
        let (denied, machine) = store
            .decide(&asked.code, &deny, "ann", at(2))
            .await
            .unwrap();
        assert_eq!((denied.state, machine), (ApprovalState::Denied, None));
        assert_eq!(denied.reason.as_deref(), Some("wrong room"));
        assert_eq!(store.ask(&request(1, 499)).await.unwrap(), denied);
        let anew = store.ask(&request(1, 500)).await.unwrap();
        assert_eq!(anew.state, ApprovalState::Pending);
        assert_ne!(anew.code, denied.code);
        assert_eq!(store.load().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn requests_expire_and_old_ones_are_forgotten() {
    on_each(async |lab| {
        let store = lab.open().await;
        let first = store.ask(&request(1, 1)).await.unwrap();
        let second = store.ask(&request(2, 50)).await.unwrap();
        let late = store.decide(&first.code, &approve(), "ann", at(101)).await;
        assert_eq!(late.unwrap_err().code(), "store.decided");
        let ended = Approval {
            state: ApprovalState::Expired,
            ..first.clone()
        };
        assert_eq!(store.expire_approvals(at(101)).await.unwrap(), [ended]);
        assert_eq!(store.expire_approvals(at(101)).await.unwrap(), []);
        let waiting = store
            .approvals(Some(ApprovalState::Pending), None, 10)
            .await;
        assert_eq!(waiting.unwrap(), [second]);
        let day = std::time::Duration::from_secs(86_400);
        store.forget_old(day, at(101) + day).await.unwrap();
        assert!(store.approval(&first.code).await.unwrap().is_some());
        store.forget_old(day, at(102) + day).await.unwrap();
        assert_eq!(store.approval(&first.code).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_guid_tells_machines_behind_one_address_apart() {
    on_each(async |lab| {
        let store = lab.open().await;
        let guid = |byte| Some(MachineGuid::from_wire([byte; 16]));
        let ask = |byte| Request {
            guid: guid(byte),
            ..request(1, 1)
        };
        let first = store.ask(&ask(1)).await.unwrap();
        let second = store.ask(&ask(2)).await.unwrap();
        assert_ne!(first.code, second.code);
        let moved = Request {
            mac: Some(mac(9)),
            ..ask(1)
        };
        assert_eq!(store.ask(&moved).await.unwrap(), first);
        let (_, machine) = store
            .decide(&first.code, &approve(), "ann", at(2))
            .await
            .unwrap();
        let machine = store
            .machine(&Key::Id(machine.unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(machine.guid, guid(1));
        let (_, other) = store
            .decide(&second.code, &Answer::Approve(Vec::new()), "ann", at(2))
            .await
            .unwrap();
        let machines = store.load().await.unwrap();
        let owner = machines.iter().find(|m| m.id == machine.id).unwrap();
        assert_eq!(
            (owner.guid, owner.macs.as_slice()),
            (guid(1), &[mac(1)][..])
        );
        let other = machines.iter().find(|m| Some(m.id) == other).unwrap();
        assert_eq!((other.guid, other.macs.as_slice()), (guid(2), &[][..]));
    })
    .await;
}

#[tokio::test]
async fn pages_of_requests_miss_none() {
    on_each(async |lab| {
        let store = lab.open().await;
        for last in 0..10 {
            // Several of one moment.
            store
                .ask(&request(last, u64::from(last / 4)))
                .await
                .unwrap();
        }
        let mut codes = BTreeSet::new();
        let mut before: Option<(SystemTime, String)> = None;
        for _ in 0..4 {
            let from = before.as_ref().map(|(at, code)| (*at, code.as_str()));
            let page = store.approvals(None, from, 3).await.unwrap();
            before = page.last().map(|last| (last.created, last.code.clone()));
            codes.extend(page.into_iter().map(|approval| approval.code));
        }
        assert_eq!(codes.len(), 10);
    })
    .await;
}
