use std::net::Ipv4Addr;
use std::time::UNIX_EPOCH;

use bootstorm_catalog::Catalog;
use bootstorm_config::{AnswerTo, Config};
use bootstorm_policy::{Facts, Policy, Ports, Rules, typical_requests};
use bootstorm_proto::dhcp::ClientFacts;

use super::*;

const MAC: MacAddress = MacAddress::new([0x52, 0x54, 0, 0x99, 0, 1]);

fn policy(answer: AnswerTo) -> (Policy, Decided) {
    let mut config = Config::for_user();
    config.policy.answer = answer;
    let ports = Ports::from(&config.listen);
    Policy::new(Rules::from(&config), ports, Arc::new(Catalog::default())).telling()
}

fn firmware(mac: MacAddress) -> ClientFacts {
    let [_, uefi, ..] = typical_requests(mac, Ipv4Addr::LOCALHOST.into());
    uefi
}

/// A decision about a machine, made so many seconds after 1970.
fn decided(policy: &Policy, mac: MacAddress, seconds: u64) -> Explanation {
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    policy.explain_dhcp(&firmware(mac), at)
}

fn stranger(number: u32) -> MacAddress {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddress::new([2, 0xff, a, b, c, d])
}

#[test]
fn wds_23_a_decision_is_told_once_and_kept_with_its_reason() {
    let (policy, told) = policy(AnswerTo::Known);
    for _ in 0..3 {
        let _ = policy.dhcp(&firmware(MAC));
    }
    let all: Vec<_> = told.told.try_iter().collect();
    assert_eq!(all.len(), 1, "an answer that is used again is no decision");
    let kept = Decisions::feed(&all).of(Subject::Mac(MAC));
    let [decision] = &*kept else {
        panic!("{kept:?}");
    };
    assert_eq!(decision["facts"]["machine"]["mac"], MAC.to_string());
    assert_eq!(decision["facts"]["firmware"]["arch"][0], 7);
    assert_eq!(decision["policy"]["answer"], "known");
    assert_eq!(decision["outcome"]["code"], "policy.unknown-machine");
    assert_eq!(decision["reply"]["does"], "silence");
    assert_eq!(decision["reply"]["code"], "policy.unknown-machine");
    let machines = &decision["providers"][0];
    assert_eq!(machines["provider"], "machines");
    assert_eq!(machines["answer"], "not-reached");
    assert_eq!(decision["times"], 1);
}

#[test]
fn the_same_decision_within_a_minute_is_counted_and_another_is_a_new_one() {
    let (all, _) = policy(AnswerTo::All);
    let (known, _) = policy(AnswerTo::Known);
    let kept = Decisions::feed(&[
        decided(&all, MAC, 100),
        decided(&all, MAC, 130),
        decided(&all, MAC, 180),
        decided(&known, MAC, 181),
        decided(&known, MAC, 300),
    ]);
    let told = kept.of(Subject::Mac(MAC));
    let shown: Vec<_> = told
        .iter()
        .map(|d| {
            let [at, last] = ["at", "last"].map(|name| d[name].as_str().unwrap());
            (at, last, d["times"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("1970-01-01T00:05:00Z", "1970-01-01T00:05:00Z", 1),
            ("1970-01-01T00:03:01Z", "1970-01-01T00:03:01Z", 1),
            ("1970-01-01T00:01:40Z", "1970-01-01T00:03:00Z", 3),
        ]
    );
}

#[test]
fn machines_are_found_by_address_and_guid_too() {
    let (policy, _) = policy(AnswerTo::All);
    let guid = "4c4c4544-0042-3510-8052-b3c04f4b4e32".parse().unwrap();
    let address = IpAddr::from([10, 0, 3, 17]);
    let facts = Facts {
        mac: Some(MAC),
        guid: Some(guid),
        address: Some(address),
        ..Facts::default()
    };
    let kept = Decisions::feed(&[
        policy.explain(facts, UNIX_EPOCH),
        decided(&policy, stranger(1), 7),
    ]);
    for subject in [
        Subject::Mac(MAC),
        Subject::Guid(guid),
        Subject::Address(address),
    ] {
        let found = kept.of(subject);
        assert_eq!(found.len(), 1, "{subject:?}");
        assert_eq!(found[0]["facts"]["stage"], "script");
        assert_eq!(found[0]["reply"]["does"], "menu");
    }
    let nobody = IpAddr::from([10, 0, 3, 18]);
    assert!(kept.of(Subject::Address(nobody)).is_empty());
}

#[test]
fn a_flood_of_strangers_takes_no_more_than_its_part_and_drives_out_itself() {
    let (policy, _) = policy(AnswerTo::All);
    policy.machines().set_all([bootstorm_policy::Machine {
        macs: vec![MAC],
        known: true,
        ..bootstorm_policy::Machine::default()
    }]);
    let mut table = Table::default();
    let mut take = |mac, seconds| {
        let explanation = decided(&policy, mac, seconds);
        table.take(Kept::of(&explanation), explanation.is_known())
    };
    assert!(take(MAC, 0));
    for number in 0..40_000 {
        assert!(take(stranger(number), 1));
    }
    let (machines, bytes) = table.size();
    assert!(
        machines <= 20_000 && bytes <= 32 << 20,
        "{machines} {bytes}"
    );
    assert_eq!(table.of(Subject::Mac(MAC)).len(), 1, "it is known");
    assert_eq!(table.of(Subject::Mac(stranger(0))).len(), 0);
    assert_eq!(table.of(Subject::Mac(stranger(39_999))).len(), 1);
}

#[test]
fn one_machine_keeps_its_latest_decisions_however_much_it_sends() {
    let (policy, _) = policy(AnswerTo::All);
    let all: Vec<_> = (0..40)
        .map(|number| {
            let other = (0..200).map(|n| (format!("p{n}"), "x".repeat(200)));
            let facts = Facts {
                mac: Some(MAC),
                serial: Some("s".repeat(9000)),
                other: other.collect(),
                ..Facts::default()
            };
            policy.explain(facts, UNIX_EPOCH + Duration::from_secs(100 * number))
        })
        .collect();
    let kept = Decisions::feed(&all);
    let found = kept.of(Subject::Mac(MAC));
    assert_eq!(found.len(), 16);
    assert_eq!(found[0]["at"], "1970-01-01T01:05:00Z");
    assert_eq!(found[0]["facts"]["params"], Value::Null);
    assert_eq!(found[0]["reply"]["does"], "menu");
    assert!(lock(&kept.table).size().1 < 16 * 10_000);
}

#[test]
fn a_reason_is_cut_where_a_character_ends() {
    assert_eq!(beginning("short"), "short");
    assert_eq!(beginning(&"ä".repeat(300)), "ä".repeat(240));
}
