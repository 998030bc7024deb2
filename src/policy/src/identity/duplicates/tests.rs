use std::net::IpAddr;

use bootstorm_proto::dhcp::Asker;
use bootstorm_proto::types::ClientArch;
use proptest::prelude::*;

use super::*;

const GUID: MachineGuid = MachineGuid::from_wire([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]);

fn mac(last: u8) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, last])
}

/// A request: milliseconds since the test began, address, seconds that it says it has asked for.
fn hear(duplicates: &Duplicates, (ms, last, secs): (u64, u8, u16)) -> bool {
    let local = IpAddr::from([10, 0, 0, 1]);
    let facts = ClientFacts::new(mac(last).into(), Asker::Firmware, ClientArch(7), local);
    let facts = ClientFacts {
        guid: Some(GUID),
        secs,
        ..facts
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    match duplicates.heard(&facts, now) {
        Some(macs) => {
            duplicates.found(GUID, &macs, Evidence::AskedTogether, now);
            true
        }
        None => false,
    }
}

fn are_two(requests: &[(u64, u8, u16)]) -> bool {
    let duplicates = Duplicates::default();
    requests.iter().filter(|r| hear(&duplicates, **r)).count() > 0
}

#[test]
fn twopxe_21_two_machines_with_one_guid_are_told_apart_when_they_ask_at_a_time() {
    // Each asks for the second time in between the other's requests.
    assert!(are_two(&[(0, 1, 0), (500, 2, 0), (1000, 1, 0)]));
    // Each says that it has been asking since before the other was heard.
    assert!(are_two(&[(0, 1, 0), (4000, 2, 0), (8000, 1, 8)]));
    assert!(are_two(&[(0, 1, 0), (30_000, 2, 60)]));
}

#[test]
fn twopxe_21_one_machine_with_two_cards_stays_one() {
    // The first card gives up after its usual four requests, the second takes over, and again.
    let stint = |start: u64, card: u8| {
        [0, 4, 12, 28].map(|s| (start + s * 1000, card, u16::try_from(s).unwrap()))
    };
    let cards = [
        stint(0, 1),
        stint(60_000, 2),
        stint(120_000, 1),
        stint(180_000, 2),
    ];
    assert!(!are_two(&cards.concat()));
    // Each is served at once, and what it is served goes on to the next card.
    assert!(!are_two(&[
        (0, 1, 0),
        (4000, 2, 0),
        (8000, 1, 0),
        (12_000, 2, 0)
    ]));
    assert!(!are_two(&[(0, 1, 0), (1000, 1, 4), (2000, 1, 8)]));
}

#[test]
fn a_duplicate_is_reported_with_all_its_addresses_until_it_is_old() {
    let duplicates = Duplicates::default();
    for request in [
        (0, 1, 0),
        (500, 2, 0),
        (1000, 1, 0),
        (1500, 3, 0),
        (2000, 1, 0),
    ] {
        hear(&duplicates, request);
    }
    let list = duplicates.list();
    let [duplicate] = list.as_slice() else {
        panic!("{list:?}");
    };
    assert_eq!(duplicate.macs, [mac(2), mac(1), mac(3)]);
    assert_eq!(duplicate.evidence, Evidence::AskedTogether);
    let reason = duplicates.problem(GUID).unwrap();
    assert_eq!(reason.code, "identity.duplicate-guid");
    assert!(reason.text.contains("02:00:00:00:00:02"), "{}", reason.text);
    duplicates.forget_old(duplicate.last + FORGOTTEN_AFTER - Duration::from_secs(1));
    assert!(duplicates.problem(GUID).is_some());
    duplicates.forget_old(duplicate.last + FORGOTTEN_AFTER);
    assert!(duplicates.problem(GUID).is_none());
}

#[test]
fn made_up_duplicates_are_bounded() {
    let duplicates = Duplicates::default();
    for number in 0..DUPLICATES_MAX + 10 {
        let mut wire = [7; 16];
        wire[..8].copy_from_slice(&number.to_le_bytes());
        let guid = MachineGuid::from_wire(wire);
        duplicates.found(guid, &[mac(1)], Evidence::Serials, SystemTime::UNIX_EPOCH);
    }
    assert_eq!(duplicates.list().len(), DUPLICATES_MAX);
}

proptest! {
    /// A machine with any number of cards, which ask one after the other for whatever time, each
    /// counting its own seconds.
    #[test]
    fn cards_that_take_turns_are_one_machine(stints in prop::collection::vec((0..4_u8, prop::collection::vec(0..20_u64, 1..5), 3..60_u64), 1..12)) {
        let mut clock = 0;
        let mut requests = Vec::new();
        for (card, pauses, until_next) in stints {
            let began = clock;
            for pause in pauses {
                clock += pause;
                requests.push((clock * 1000, card, u16::try_from(clock - began).unwrap()));
            }
            clock += until_next;
        }
        prop_assert!(!are_two(&requests));
    }
}
