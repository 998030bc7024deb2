use bootstorm_proto::types::{ClientArch, MachineGuid};

use super::lab::{Lab, at, mac, on_each, sighting};
use crate::edits::{TAGS_MAX, VALUES_MAX};
use crate::{Edit, Filter, Hardware, Key, Once, PAGE_MAX, Sighting, Store};

fn guid(byte: u8) -> MachineGuid {
    MachineGuid::from_wire([byte; 16])
}

fn boot(text: &str) -> [Edit; 1] {
    [Edit::Boot(Some(text.to_owned()))]
}

fn name(text: &str) -> [Edit; 1] {
    [Edit::Name(Some(text.to_owned()))]
}

fn once(text: &str, seconds: u64) -> [Edit; 1] {
    [Edit::Once(Some(Once {
        boot: text.to_owned(),
        by: Some("ann".to_owned()),
        at: at(seconds),
    }))]
}

async fn chosen(store: &Store, choose: impl FnOnce(&mut Filter)) -> Vec<i64> {
    let mut filter = Filter::default();
    choose(&mut filter);
    let page = store.machines(&filter, None, PAGE_MAX).await.unwrap();
    page.iter().map(|machine| machine.id).collect()
}

#[tokio::test]
async fn a_machine_keeps_what_a_later_sighting_does_not_tell() {
    on_each(async |lab| {
        let store = lab.open().await;
        let hardware = Hardware {
            serial: Some("a\0b".to_owned()),
            ..Hardware::default()
        };
        let first = Sighting {
            guid: Some(guid(7)),
            arch: Some(ClientArch(7)),
            hardware,
            ..sighting(1, "asked", 10)
        };
        let late = sighting(1, "queued", 15);
        let batch = [
            first,
            sighting(1, "booted", 20),
            late,
            sighting(2, "asked", 5),
        ];
        store.seen(&batch).await.unwrap();
        let machine = store.machine(&Key::Mac(mac(1))).await.unwrap().unwrap();
        assert_eq!(machine.guid, Some(guid(7)));
        assert_eq!(machine.arch, Some(ClientArch(7)));
        assert_eq!(machine.hardware.serial.as_deref(), Some("ab"));
        assert_eq!(machine.phase, "booted");
        assert_eq!((machine.first_seen, machine.last_seen), (at(10), at(20)));
        assert_eq!((machine.booted, machine.admitted), (Some(at(20)), None));
        assert_eq!(store.machine(&Key::Mac(mac(3))).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_guid_says_which_machine_it_is() {
    on_each(async |lab| {
        let store = lab.open().await;
        let seen = |last, guid| Sighting {
            guid,
            ..sighting(last, "asked", 1)
        };
        let batch = [
            seen(1, Some(guid(1))),
            // Its second card, or a dock that will be at another machine tomorrow.
            seen(2, Some(guid(1))),
            seen(3, Some(guid(3))),
            seen(3, Some(guid(1))),
            // Nothing tells which machine it is.
            Sighting {
                mac: None,
                ..seen(0, None)
            },
            Sighting {
                mac: None,
                ..seen(0, Some(guid(4)))
            },
        ];
        store.seen(&batch).await.unwrap();
        store.seen(&batch).await.unwrap();
        let known = Key::Guid(guid(5));
        store.change(&known, &[]).await.unwrap();
        store.seen(&[seen(5, Some(guid(5)))]).await.unwrap();
        let all = store.load().await.unwrap();
        let seen: Vec<_> = all.iter().map(|m| (m.macs.clone(), m.guid)).collect();
        let wanted = [
            (vec![mac(1)], Some(guid(1))),
            (vec![mac(3)], Some(guid(3))),
            (vec![], Some(guid(4))),
            (vec![mac(5)], Some(guid(5))),
        ];
        assert_eq!(seen, wanted);
    })
    .await;
}

#[tokio::test]
async fn a_serial_number_tells_machines_apart_that_share_a_guid_or_a_dock() {
    on_each(async |lab| {
        let store = lab.open().await;
        let seen = |last, byte, serial: &str| Sighting {
            guid: Some(guid(byte)),
            hardware: Hardware {
                serial: Some(serial.to_owned()),
                ..Hardware::default()
            },
            ..sighting(last, "asked", 1)
        };
        let batch = [
            seen(1, 1, "A"),
            // The same GUID in another machine.
            seen(2, 1, "B"),
            // The address of the first one at a third.
            seen(1, 3, "C"),
        ];
        store.seen(&batch).await.unwrap();
        store.seen(&batch).await.unwrap();
        let all = store.load().await.unwrap();
        let wanted = [("A", vec![mac(1)]), ("B", vec![mac(2)]), ("C", vec![])];
        assert_eq!(all.len(), wanted.len());
        for (machine, (serial, macs)) in all.iter().zip(wanted) {
            assert_eq!(machine.hardware.serial.as_deref(), Some(serial));
            assert_eq!(machine.macs, macs);
        }
        // Without a GUID only the address is left.
        let alone = Sighting {
            guid: None,
            ..seen(1, 1, "D")
        };
        store.seen(&[alone]).await.unwrap();
        assert_eq!(store.load().await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_people_say_survives_a_restart_and_sightings() {
    on_each(async |lab: Lab| {
        let store = lab.open().await;
        let edits = [
            Edit::Name(Some("lab3-17".to_owned())),
            Edit::Boot(Some("debian-13".to_owned())),
            Edit::Guid(Some(guid(1))),
            Edit::Serial(Some("ABC 1%&2".to_owned())),
            Edit::Asset(Some("4711".to_owned())),
            Edit::AddMac(mac(2)),
            Edit::AddTag("rack-2".to_owned()),
            Edit::AddTag("lab".to_owned()),
            Edit::AddTag("lab".to_owned()),
            Edit::Value("disk".to_owned(), Some("/dev/sda".to_owned())),
            Edit::Value("disk".to_owned(), Some("/dev/nvme0n1".to_owned())),
            Edit::Value("role".to_owned(), Some("node".to_owned())),
            Edit::Held(true),
        ];
        let changed = store.change(&Key::Mac(mac(1)), &edits).await.unwrap();
        store.seen(&[sighting(1, "asked", 1)]).await.unwrap();
        store.close().await;
        let store = lab.open().await;
        for key in [
            Key::Id(changed.id),
            Key::Mac(mac(2)),
            Key::Guid(guid(1)),
            Key::Name("lab3-17".to_owned()),
        ] {
            let mut found = store.machine(&key).await.unwrap().unwrap();
            assert_eq!(found.phase, "");
            found.phase.clone_from(&changed.phase);
            assert_eq!(found, changed);
        }
        assert_eq!(changed.macs, [mac(1), mac(2)]);
        assert_eq!(changed.tags, ["lab", "rack-2"]);
        assert_eq!(changed.values["disk"], "/dev/nvme0n1");
        assert!(changed.held.is_some() && changed.is_known());
        let edits = [
            Edit::Name(None),
            Edit::Boot(None),
            Edit::Guid(None),
            Edit::Serial(None),
            Edit::Asset(None),
            Edit::RemoveMac(mac(2)),
            Edit::RemoveTag("rack-2".to_owned()),
            Edit::Value("role".to_owned(), None),
            Edit::Held(false),
        ];
        let less = store.change(&Key::Id(changed.id), &edits).await.unwrap();
        assert_eq!((less.name, less.boot, less.guid), (None, None, None));
        assert_eq!(
            (less.macs, less.tags),
            (vec![mac(1)], vec!["lab".to_owned()])
        );
        assert_eq!((less.values.len(), less.held), (1, None));
        assert_eq!(less.hardware, Hardware::default());
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    on_each(async |lab| {
        let store = lab.open().await;
        store.change(&Key::Mac(mac(1)), &name("one")).await.unwrap();
        let edits = [name("two"), [Edit::AddTag(String::new())]].concat();
        let refused = store.change(&Key::Mac(mac(1)), &edits).await.unwrap_err();
        assert_eq!(refused.code(), "store.bad-text");
        let refused = store.change(&Key::Mac(mac(2)), &edits).await.unwrap_err();
        assert_eq!(refused.code(), "store.bad-text");
        let all = store.load().await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].name.as_deref(), Some("one"));
        let good = (Key::Mac(mac(3)), name("three").to_vec());
        let bad = (Key::Name("nobody".to_owned()), Vec::new());
        let (place, refused) = store.change_all(&[good, bad]).await.unwrap_err();
        assert_eq!((place, refused.code()), (1, "store.unknown-machine"));
        assert_eq!(store.load().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_means_several_or_anothers_address_is_refused() {
    on_each(async |lab| {
        let store = lab.open().await;
        for last in [1, 2] {
            store
                .change(&Key::Mac(mac(last)), &name("twin"))
                .await
                .unwrap();
        }
        let key = Key::Name("twin".to_owned());
        let refused = store.change(&key, &[]).await.unwrap_err();
        assert_eq!(refused.code(), "store.ambiguous");
        assert_eq!(
            store.machine(&key).await.unwrap_err().code(),
            "store.ambiguous"
        );
        let edit = [Edit::AddMac(mac(2))];
        let refused = store.change(&Key::Mac(mac(1)), &edit).await.unwrap_err();
        assert_eq!(refused.code(), "store.mac-taken");
        assert!(store.remove(&Key::Mac(mac(2))).await.unwrap());
        assert!(!store.remove(&Key::Mac(mac(2))).await.unwrap());
        let machine = store.change(&key, &edit).await.unwrap();
        assert_eq!(machine.macs, [mac(1), mac(2)]);
        let next = store.change(&Key::Mac(mac(3)), &[]).await.unwrap();
        assert_eq!(
            next.id, 3,
            "the number of a machine that is gone is not given again"
        );
    })
    .await;
}

#[tokio::test]
async fn tags_values_and_addresses_are_bounded() {
    on_each(async |lab| {
        let store = lab.open().await;
        let key = Key::Mac(mac(0));
        let tags: Vec<_> = (0..TAGS_MAX).map(|n| Edit::AddTag(n.to_string())).collect();
        let value = |n: usize| Edit::Value(n.to_string(), Some("x".to_owned()));
        let values: Vec<_> = (0..VALUES_MAX).map(value).collect();
        let macs: Vec<_> = (1..32).map(|n| Edit::AddMac(mac(n))).collect();
        for edits in [tags, values, macs] {
            store.change(&key, &edits).await.unwrap();
        }
        let more = [
            Edit::AddTag("x".to_owned()),
            value(VALUES_MAX),
            Edit::AddMac(mac(99)),
        ];
        for edit in more {
            let refused = store.change(&key, &[edit]).await.unwrap_err();
            assert_eq!(refused.code(), "store.too-many");
        }
    })
    .await;
}

#[tokio::test]
async fn hostile_texts_are_refused_or_cut() {
    on_each(async |lab| {
        let store = lab.open().await;
        let key = Key::Mac(mac(1));
        for text in ["", "a\nb", "x\u{1b}", "\0", &"x".repeat(256)] {
            let refused = store.change(&key, &boot(text)).await.unwrap_err();
            assert_eq!(refused.code(), "store.bad-text");
            assert!(!refused.to_string().contains(['\n', '\u{1b}', '\0']));
        }
        let hostile = "'); DROP TABLE machines; --";
        store.change(&key, &name(hostile)).await.unwrap();
        let long = sighting(1, &"é".repeat(300), u64::from(u32::MAX));
        store.seen(&[long]).await.unwrap();
        let machine = store.machine(&key).await.unwrap().unwrap();
        assert_eq!(machine.name.as_deref(), Some(hostile));
        assert_eq!(machine.phase, "é".repeat(127));
    })
    .await;
}

#[tokio::test]
async fn pages_follow_each_other_and_are_bounded() {
    on_each(async |lab| {
        let store = lab.open().await;
        let all: Vec<_> = (0..1500).map(|n| sighting(n, "asked", 1)).collect();
        for batch in all.chunks(250) {
            store.seen(batch).await.unwrap();
        }
        let none = Filter::default();
        let first = store.machines(&none, None, u32::MAX).await.unwrap();
        assert_eq!(first.len(), PAGE_MAX as usize);
        let last = first.last().map(|machine| machine.id);
        let rest = store.machines(&none, last, 600).await.unwrap();
        assert_eq!(rest.len(), 500);
        assert_eq!(rest[0].macs, [mac(1000)]);
    })
    .await;
}

#[tokio::test]
async fn filters_leave_out_what_they_do_not_mean() {
    on_each(async |lab| {
        let store = lab.open().await;
        store
            .change(&Key::Mac(mac(1)), &name("Web_1"))
            .await
            .unwrap();
        store
            .change(&Key::Mac(mac(2)), &boot("debian"))
            .await
            .unwrap();
        store
            .change(&Key::Mac(mac(3)), &[Edit::AddTag("lab".to_owned())])
            .await
            .unwrap();
        store
            .change(&Key::Mac(mac(4)), &[Edit::Held(true)])
            .await
            .unwrap();
        store
            .change(&Key::Mac(mac(5)), &once("wipe", 1))
            .await
            .unwrap();
        store
            .seen(&[sighting(6, "asked", 1), sighting(7, "booted", 1)])
            .await
            .unwrap();
        let text = |text: &str| {
            let text = text.to_owned();
            move |filter: &mut Filter| filter.text = Some(text)
        };
        assert_eq!(chosen(&store, text("b_1")).await, [1]);
        assert_eq!(chosen(&store, text("%")).await, [0; 0]);
        assert_eq!(chosen(&store, text("00:07")).await, [7]);
        assert_eq!(chosen(&store, |f| f.tag = Some("lab".into())).await, [3]);
        assert_eq!(
            chosen(&store, |f| f.boot = Some("debian".into())).await,
            [2]
        );
        assert_eq!(chosen(&store, |f| f.held = Some(true)).await, [4]);
        assert_eq!(chosen(&store, |f| f.once = Some(true)).await, [5]);
        assert_eq!(chosen(&store, |f| f.known = Some(false)).await, [6]);
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_machines_drives_out_the_oldest_but_nothing_that_people_named() {
    on_each(async |lab: Lab| {
        let store = Store::open_with(&lab.location, 100).await.unwrap();
        store
            .change(&Key::Mac(mac(0)), &boot("debian"))
            .await
            .unwrap();
        store
            .change(&Key::Mac(mac(1)), &name("mine"))
            .await
            .unwrap();
        store.seen(&[sighting(2, "booted", 1)]).await.unwrap();
        for batch in 0..20 {
            let flood =
                (0..100).map(|n| sighting(3 + batch * 100 + n, "asked", 2 + u64::from(batch)));
            let flood: Vec<_> = flood.collect();
            store.seen(&flood).await.unwrap();
        }
        let left = store.load().await.unwrap();
        assert_eq!(left.len(), 100);
        let known: Vec<_> = left.iter().filter(|m| m.is_known()).map(|m| m.id).collect();
        assert_eq!(known, [1, 2, 3]);
        assert!(left.iter().any(|m| m.macs == [mac(2002)]));
    })
    .await;
}

#[tokio::test]
async fn an_order_is_taken_exactly_once_by_two_servers_at_a_time() {
    on_each(async |lab: Lab| {
        let servers = [lab.open().await, lab.open().await];
        let key = Key::Mac(mac(1));
        for round in 1..10 {
            let machine = servers[0].change(&key, &once("wipe", round)).await.unwrap();
            let mut takers = tokio::task::JoinSet::new();
            for taker in 0..8 {
                let server = servers[taker % 2].clone();
                let (id, at) = (machine.id, machine.once.as_ref().unwrap().at);
                takers.spawn(async move { server.take_once(id, at).await.unwrap() });
            }
            let taken: Vec<_> = takers.join_all().await.into_iter().flatten().collect();
            assert_eq!(taken, ["wipe"]);
            let after = servers[1].machine(&key).await.unwrap().unwrap();
            assert_eq!(after.once, None);
        }
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_replaced_is_not_taken() {
    on_each(async |lab| {
        let store = lab.open().await;
        let key = Key::Mac(mac(1));
        let first = store.change(&key, &once("wipe", 5)).await.unwrap();
        let second = store.change(&key, &once("debian", 5)).await.unwrap();
        let (first_at, second_at) = (first.once.unwrap().at, second.once.unwrap().at);
        assert_eq!(store.take_once(first.id, first_at).await.unwrap(), None);
        let taken = store.take_once(first.id, second_at).await.unwrap();
        assert_eq!(taken.as_deref(), Some("debian"));
        store.change(&key, &once("wipe", 9)).await.unwrap();
        store.change(&key, &[Edit::Once(None)]).await.unwrap();
        assert_eq!(store.take_once(first.id, at(9)).await.unwrap(), None);
    })
    .await;
}
