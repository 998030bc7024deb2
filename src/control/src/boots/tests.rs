use super::*;

fn plan(boot: Boot, required: bool) -> Arc<Plan> {
    Arc::new(Plan {
        boot,
        required,
        by: "rules[1]".to_owned(),
        ..Plan::default()
    })
}

fn entry(name: &str) -> Arc<Plan> {
    plan(Boot::Entry(name.to_owned()), true)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

const WHO: Who = Who::Machine(7);

fn arrival(plan: &Arc<Plan>, seconds: u64) -> Arrival<'_> {
    Arrival {
        who: WHO,
        plan,
        once: false,
        has_loaded: &|_| true,
        now: at(seconds),
    }
}

fn code(turn: &Turn) -> &'static str {
    match turn {
        Turn::Boots(_) => "boots",
        Turn::Disk(reason) => reason.code,
    }
}

#[test]
fn a_plan_that_repeats_goes_to_disk_and_is_let_go_after_an_hour() {
    let boots = Boots::new(3);
    let plan = entry("debian");
    let codes = [0, 600, 1200, 1800, 3599, 3601].map(|s| code(&boots.turn(arrival(&plan, s))));
    let wanted = ["boots", "boots", "boots", "boot.loop", "boot.loop", "boots"];
    assert_eq!(codes, wanted);
    assert_eq!(code(&boots.turn(arrival(&entry("rescue"), 3602))), "boots");
    boots.set_repeats(0);
    for second in 4000..4100 {
        assert_eq!(code(&boots.turn(arrival(&plan, second))), "boots");
    }
}

#[test]
fn wds_13_required_is_done_once_until_it_is_reset() {
    let boots = Boots::new(3);
    let plan = entry("debian");
    assert_eq!(code(&boots.turn(arrival(&plan, 0))), "boots");
    boots.finished(WHO);
    assert_eq!(code(&boots.turn(arrival(&plan, 900))), "boot.done");
    assert_eq!(code(&boots.turn(arrival(&plan, 90_000))), "boot.done");
    boots.forget(WHO);
    assert_eq!(code(&boots.turn(arrival(&plan, 90_001))), "boots");
}

#[test]
fn whoever_did_not_get_the_script_gets_it_again() {
    let boots = Boots::new(1);
    let plan = entry("debian");
    let asks = |seconds, loaded: bool| {
        let arrival = Arrival {
            has_loaded: &|began| {
                assert_eq!(began, at(100));
                loaded
            },
            ..arrival(&plan, seconds)
        };
        code(&boots.turn(arrival))
    };
    assert_eq!(asks(100, false), "boots");
    assert_eq!(asks(130, false), "boots");
    assert_eq!(asks(159, false), "boots");
    assert_eq!(asks(132, true), "boot.loop");
    assert_eq!(asks(160, false), "boot.loop");
}

#[test]
fn a_one_shot_is_handed_out_once_and_the_disk_follows() {
    let boots = Boots::new(3);
    let (once, usual) = (entry("debian"), plan(Boot::Usual, false));
    let taken = Arrival {
        once: true,
        ..arrival(&once, 0)
    };
    assert_eq!(boots.turn(taken), Turn::Boots(Arc::clone(&once)));
    let again = Arrival {
        has_loaded: &|_| false,
        ..arrival(&usual, 30)
    };
    assert_eq!(boots.turn(again), Turn::Boots(Arc::clone(&once)));
    assert_eq!(code(&boots.turn(arrival(&usual, 31))), "boot.done");
    let held = plan(Boot::Local, false);
    assert_eq!(boots.turn(arrival(&held, 32)), Turn::Boots(held.clone()));
    assert_eq!(
        boots.turn(arrival(&usual, 3601)),
        Turn::Boots(usual.clone())
    );
    let assigned = entry("winpe");
    assert_eq!(
        boots.turn(arrival(&assigned, 33)),
        Turn::Boots(assigned.clone())
    );
}

#[test]
fn what_people_choose_and_what_waits_is_never_counted() {
    let boots = Boots::new(1);
    for boot in [Boot::Usual, Boot::Entry("tool".to_owned()), Boot::Local] {
        let plan = plan(boot, false);
        for second in 0..10 {
            assert_eq!(code(&boots.turn(arrival(&plan, second))), "boots");
        }
    }
    let refused = Reason {
        code: "policy.refused",
        text: "no".into(),
    };
    let plan = plan(Boot::Refuse(refused), true);
    for second in 0..10 {
        assert_eq!(code(&boots.turn(arrival(&plan, second))), "boots");
    }
    assert!(boots.table().boots.is_empty());
}

#[test]
fn memory_is_bounded() {
    let boots = Boots::new(3);
    let plan = entry("debian");
    for number in 0..=MACHINES_MAX as i64 {
        let who = Who::Machine(number);
        let _ = boots.turn(Arrival {
            who,
            ..arrival(&plan, 0)
        });
    }
    let table = boots.table();
    assert_eq!(table.boots.len(), MACHINES_MAX);
    assert_eq!(table.order.len(), MACHINES_MAX);
    assert!(!table.boots.contains_key(&Who::Machine(0)));
}
