use proptest::prelude::*;

use super::*;

fn machine(number: u32) -> IpAddr {
    IpAddr::from(0x0a00_0000_u32.wrapping_add(number).to_be_bytes())
}

fn queue(most: u32) -> Queue {
    let mut queue = Queue::default();
    queue.limit(NonZeroU32::new(most));
    queue
}

fn number(turn: (Turn, Option<Duration>)) -> usize {
    match turn.0 {
        Turn::Now => 0,
        Turn::Later(place) => place.number,
    }
}

#[test]
fn without_a_limit_nobody_waits() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for n in 0..1000 {
        assert_eq!(queue.ask(machine(n), now), (Turn::Now, None));
    }
    assert_eq!((queue.fed(), queue.waiting()), (0, 0));
}

#[test]
fn a_machine_keeps_its_place_from_one_body_to_the_next() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut queue = queue(1);
    assert_eq!(number(queue.ask(machine(1), at(0))), 0);
    queue.begin(machine(1), at(1));
    assert_eq!(number(queue.ask(machine(2), at(2))), 1);
    queue.end(machine(1), at(20));
    queue.begin(machine(1), at(24));
    assert_eq!(number(queue.ask(machine(2), at(25))), 1);
    queue.end(machine(1), at(40));
    assert_eq!(number(queue.ask(machine(2), at(44))), 1);
    let (turn, waited) = queue.ask(machine(2), at(56));
    assert_eq!(turn, Turn::Now);
    assert_eq!(waited, Some(Duration::from_secs(54)));
}

#[test]
fn who_stops_asking_is_forgotten_and_its_place_is_free() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut queue = queue(1);
    queue.begin(machine(1), at(0));
    for n in 2..=4 {
        assert_eq!(number(queue.ask(machine(n), at(0))), n as usize - 1);
    }
    queue.end(machine(1), at(10));
    // Machine 2 would be next, but is switched off.
    assert_eq!(number(queue.ask(machine(3), at(26))), 2);
    assert_eq!(number(queue.ask(machine(3), at(31))), 0);
    // Machine 3 never fetches anything, and machine 4 was forgotten meanwhile.
    assert_eq!(number(queue.ask(machine(5), at(35))), 1);
    assert_eq!(number(queue.ask(machine(4), at(36))), 2);
    assert_eq!(number(queue.ask(machine(5), at(47))), 0);
}

#[test]
fn the_time_to_wait_is_told_once_it_is_known() {
    let start = Instant::now();
    let at = |seconds: u32| start + Duration::from_secs(seconds.into());
    let mut queue = queue(1);
    queue.begin(machine(0), at(0));
    let about = |turn: (Turn, _)| match turn.0 {
        Turn::Now => None,
        Turn::Later(place) => place.about,
    };
    let mut fed = machine(0);
    for n in 1..=12 {
        let now = at(20 * n);
        for m in n..n + 5 {
            let told = about(queue.ask(machine(m), now));
            let before = m - n + 1;
            let wanted = (n > 9).then(|| Duration::from_secs(20) * before);
            assert_eq!(told, wanted, "{n} {m}");
        }
        queue.end(fed, now);
        assert_eq!(number(queue.ask(machine(n), at(20 * n + 15))), 0);
        fed = machine(n);
        queue.begin(fed, at(20 * n + 15));
    }
}

/// One thing that a machine of the property test does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Ask,
    Begin,
    End,
    Vanish,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Ask),
        2 => Just(Deed::Begin),
        3 => Just(Deed::End),
        1 => Just(Deed::Vanish),
    ]
}

proptest! {
    /// Whoever waits and keeps asking is admitted in the order of arrival, the cap holds, and in
    /// the end everybody is fed.
    #[test]
    fn the_order_of_arrival_holds_and_nobody_starves(
        most in 1u32..5,
        steps in proptest::collection::vec((0u32..12, deed(), 0u64..2000), 1..300),
    ) {
        let mut now = Instant::now();
        let mut queue = queue(most);
        let mut line: Vec<u32> = Vec::new();
        let mut fed: HashMap<u32, u32> = HashMap::new();
        for (who, deed, pause) in steps {
            now += Duration::from_millis(pause);
            // Everybody in the line keeps asking, in any order: here from the last to the first.
            for &waiting in line.clone().iter().rev() {
                if number(queue.ask(machine(waiting), now)) == 0 {
                    let before = line.iter().position(|&w| w == waiting).unwrap();
                    let free = line[..before].len();
                    prop_assert!(free < most as usize, "{waiting} passed {free} others");
                    line.retain(|&w| w != waiting);
                    fed.insert(waiting, 0);
                }
            }
            match deed {
                Deed::Ask if !line.contains(&who) => match number(queue.ask(machine(who), now)) {
                    0 => { fed.entry(who).or_insert(0); }
                    place => {
                        line.push(who);
                        prop_assert_eq!(place, line.len());
                    }
                },
                Deed::Begin => if number(queue.ask(machine(who), now)) == 0 {
                    queue.begin(machine(who), now);
                    *fed.entry(who).or_insert(0) += 1;
                    line.retain(|&w| w != who);
                } else if !line.contains(&who) {
                    line.push(who);
                },
                Deed::End => if let Some(bodies @ 1..) = fed.get_mut(&who) {
                    *bodies -= 1;
                    queue.end(machine(who), now);
                },
                Deed::Ask | Deed::Vanish => {}
            }
            prop_assert!(queue.fed() <= most as usize);
            prop_assert_eq!(queue.waiting(), line.len());
            prop_assert_eq!(queue.numbers.len(), line.len());
        }
        // Every body ends; whoever still waits is fed within a bounded time.
        for (who, bodies) in fed {
            for _ in 0..bodies {
                queue.end(machine(who), now);
            }
        }
        let turns = line.len();
        for _ in 0..turns {
            now += limits::PLACE_KEPT;
            line.retain(|&who| number(queue.ask(machine(who), now)) != 0);
        }
        prop_assert!(line.is_empty(), "{line:?} starve");
    }
}
