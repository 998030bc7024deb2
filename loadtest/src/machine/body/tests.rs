use sha2::{Digest as _, Sha256};

use super::*;
use crate::finding::Code;
use crate::machine::plan::Expected;
use crate::machine::profile::Profile;
use crate::machine::simulated::web::Sim;

const URL: &str = "http://10.99.0.2/images/initrd";

/// Machines that fetch the same file, whose bytes are given when they have them.
struct Machines {
    sim: Sim,
    told: Option<Told>,
}

impl Machines {
    /// From a server whose ETag is that of these bytes.
    fn told(bytes: &[u8]) -> Self {
        Self {
            told: Some(etag(bytes)),
            ..Self::untold()
        }
    }

    /// From a server that says nothing of the bytes.
    fn untold() -> Self {
        Self {
            sim: Sim::new(Profile::IpxeHttp),
            told: None,
        }
    }

    fn begin(&self) -> Body {
        Body::new(Keep::Discard, URL, self.told.as_ref(), &self.sim.plan)
    }

    /// This machine has these bytes; tells whether they are verified.
    fn end(&mut self, machine: u32, mut body: Body, bytes: &[u8]) -> Result<bool, Finding> {
        for piece in bytes.chunks(1_000) {
            body.push(piece);
        }
        self.sim.identity.index = machine;
        let mut world = self.sim.world();
        let booked = body.finish().book(URL, self.told.as_ref(), &mut world);
        self.sim.take_out();
        booked.map(|()| match self.sim.events.pop() {
            Some(Event::Fetched(file)) => file.verified,
            other => panic!("{other:?}"),
        })
    }

    /// What became of other machines' copies since this was asked last.
    fn others(&mut self) -> Vec<(u32, Event)> {
        std::mem::take(&mut self.sim.others)
    }
}

fn etag(bytes: &[u8]) -> Told {
    Told {
        digits: hex::encode(Sha256::digest(bytes)),
        certain: true,
    }
}

fn is_reference(body: &Body) -> bool {
    body.hashes
        .as_ref()
        .is_some_and(|hashes| hashes.sha256.is_some())
}

fn bytes() -> Vec<u8> {
    (0..100_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 8) as u8)
        .collect()
}

fn damaged() -> Vec<u8> {
    let mut bytes = bytes();
    bytes[50_000] ^= 1;
    bytes
}

#[test]
fn one_sha_256_verifies_the_same_bytes_of_many_machines() {
    let (bytes, mut machines) = (bytes(), Machines::told(&bytes()));
    let bodies: Vec<Body> = (0..20).map(|_| machines.begin()).collect();
    let references = bodies.iter().filter(|body| is_reference(body));
    assert_eq!(references.count(), 2);
    // The references, which began first, are the last to end.
    for (machine, body) in (0..20).zip(bodies).rev() {
        let verified = machines.end(machine, body, &bytes).unwrap();
        assert_eq!(verified, machine < 2, "{machine}");
        if machine == 1 {
            let others: Vec<_> = (2..20).rev().map(|n| (n, Event::Verified)).collect();
            assert_eq!(machines.others(), others);
        }
    }
    assert_eq!(machines.others(), []);
    let late = machines.begin();
    assert!(!is_reference(&late));
    assert_eq!(machines.end(20, late, &bytes), Ok(true));
}

#[test]
fn one_flipped_byte_in_a_copy_is_found() {
    let (bytes, damaged) = (bytes(), damaged());
    let sha256 = hex::encode(Sha256::digest(&bytes));
    for seventh_is_first in [false, true] {
        let mut machines = Machines::told(&bytes);
        let mut bodies: Vec<(u32, Body)> = (1..=9).map(|n| (n, machines.begin())).collect();
        if seventh_is_first {
            bodies.swap(0, 6);
        }
        let mut found = Vec::new();
        for (machine, body) in bodies {
            let bytes = if machine == 7 { &damaged } else { &bytes };
            match machines.end(machine, body, bytes) {
                Ok(verified) => assert_eq!(verified, machine != 7),
                Err(finding) => found.push((machine, finding)),
            }
            for (machine, event) in machines.others() {
                let Event::Deviation(finding) = event else {
                    panic!("{event:?}")
                };
                found.push((machine, finding));
            }
        }
        let [(7, finding)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(finding.code, Code::BodyWrongSha256);
        assert!(finding.evidence.contains(&sha256), "{finding}");
        assert_eq!(finding.evidence.matches("XXH3-128").count(), 2);
    }
}

#[test]
fn a_shorter_copy_is_another() {
    let (bytes, mut machines) = (bytes(), Machines::told(&bytes()));
    let first = machines.begin();
    assert_eq!(machines.end(0, first, &bytes), Ok(true));
    let short = machines.begin();
    let found = machines.end(1, short, &bytes[..99_999]).unwrap_err();
    assert_eq!(found.code, Code::BodyWrongSha256);
}

#[test]
fn another_machine_takes_over_from_a_reference_that_breaks_off() {
    let (bytes, mut machines) = (bytes(), Machines::told(&bytes()));
    let mut references = [machines.begin(), machines.begin()].map(Some);
    let copy = machines.begin();
    assert!(!is_reference(&copy));
    assert_eq!(machines.end(2, copy, &bytes), Ok(false));
    references[0].take();
    let another = machines.begin();
    assert!(is_reference(&another));
    assert!(!is_reference(&machines.begin()), "the other one is there");
    references[1].take();
    assert_eq!(machines.end(3, another, &bytes), Ok(true));
    assert_eq!(machines.others(), [(2, Event::Verified)]);
}

#[test]
fn copies_stay_unverified_when_no_reference_comes() {
    let (bytes, mut machines) = (bytes(), Machines::told(&bytes()));
    let references = [machines.begin(), machines.begin()];
    for machine in 2..5 {
        let copy = machines.begin();
        assert_eq!(machines.end(machine, copy, &bytes), Ok(false));
    }
    drop(references);
    assert_eq!(machines.others(), []);
}

#[test]
fn a_file_that_changes_on_its_server_is_another() {
    let (before, after) = (bytes(), damaged());
    let mut machines = Machines::told(&before);
    let early = [machines.begin(), machines.begin(), machines.begin()];
    machines.told = Some(etag(&after));
    let late = [machines.begin(), machines.begin(), machines.begin()];
    assert_eq!(early.each_ref().map(is_reference), [true, true, false]);
    assert_eq!(late.each_ref().map(is_reference), [true, true, false]);
    for (machine, body) in (0..).zip(late) {
        assert_eq!(machines.end(machine, body, &after), Ok(true));
    }
    machines.told = Some(etag(&before));
    for (machine, body) in (3..).zip(early) {
        assert_eq!(machines.end(machine, body, &before), Ok(true));
    }
}

#[test]
fn what_a_server_gives_everybody_wrong_everybody_is_told() {
    let (damaged, mut machines) = (damaged(), Machines::told(&bytes()));
    let [waiting, reference, other] = {
        let references = [machines.begin(), machines.begin()];
        let [first, second] = references;
        [machines.begin(), first, second]
    };
    assert_eq!(machines.end(0, waiting, &damaged), Ok(false));
    let wrong = |finding: Finding| finding.code == Code::BodyWrongSha256;
    assert!(machines.end(1, reference, &damaged).is_err_and(wrong));
    let told = machines.others();
    let [(0, Event::Deviation(finding))] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(finding.code, Code::BodyWrongSha256);
    drop(other);
    // What is right is still to come.
    let next = machines.begin();
    assert!(is_reference(&next));
    let copy = machines.begin();
    assert!(machines.end(2, copy, &damaged).is_err_and(wrong));
    assert_eq!(machines.end(3, next, &bytes()), Ok(true));
}

#[test]
fn a_scenario_s_own_sha_256_is_one_that_is_given() {
    let (bytes, mut machines) = (bytes(), Machines::untold());
    machines.sim.plan.expected.push(Expected {
        name: "/initrd".to_owned(),
        sha256: Sha256::digest(&bytes).into(),
    });
    let [first, second] = [machines.begin(), machines.begin()];
    let copy = machines.begin();
    assert_eq!(machines.end(2, copy, &bytes), Ok(false));
    assert_eq!(machines.end(0, first, &bytes), Ok(true));
    assert_eq!(machines.others(), [(2, Event::Verified)]);
    assert!(machines.end(1, second, &damaged()).is_err());
}

#[test]
fn nobody_waits_for_a_sha_256_that_nobody_gave() {
    let (bytes, mut machines) = (bytes(), Machines::untold());
    let [first, _second] = [machines.begin(), machines.begin()];
    let copy = machines.begin();
    assert_eq!(machines.end(2, copy, &bytes), Ok(false));
    assert_eq!(machines.end(0, first, &bytes), Ok(false));
    assert_eq!(machines.others(), []);
    assert!(!is_reference(&machines.begin()), "one tells enough");
}

#[test]
fn scripts_and_what_a_query_asks_for_are_hashed_by_everybody() {
    let plan = &Sim::new(Profile::IpxeHttp).plan;
    for _ in 0..5 {
        let script = Body::new(Keep::Script, URL, None, plan);
        let own = Body::new(Keep::Discard, "http://10.99.0.2/a?token=1", None, plan);
        assert!(is_reference(&script) && is_reference(&own));
    }
}

#[test]
fn files_without_end_take_no_room() {
    let machines = Machines::untold();
    let url = |number: usize| format!("{URL}/{number}");
    let begin = |machines: &Machines, number| {
        Body::new(Keep::Discard, &url(number), None, &machines.sim.plan)
    };
    let kept: Vec<Body> = (0..3 * copies::FILES_MAX)
        .map(|number| begin(&machines, number % (copies::FILES_MAX + 1)))
        .collect();
    let references = kept.iter().filter(|body| is_reference(body)).count();
    assert_eq!(references, 2 * copies::FILES_MAX + 2, "of one file all");
}

#[test]
fn contents_without_end_take_no_room() {
    let (bytes, mut machines) = (bytes(), Machines::told(&bytes()));
    let references = [machines.begin(), machines.begin()];
    for end in 0..100 {
        let copy = machines.begin();
        assert_eq!(machines.end(9, copy, &bytes[..end]), Ok(false));
    }
    let [first, second] = references;
    assert_eq!(machines.end(0, first, &bytes), Ok(true));
    let told = machines.others().len();
    assert_eq!(told, copies::CONTENTS_MAX);
    assert_eq!(machines.end(1, second, &bytes), Ok(true));
}
