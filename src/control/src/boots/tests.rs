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

const WHO: Who = Who {
    machine: Some(7),
    guid: None,
    mac: None,
};

fn arrival(plan: &Arc<Plan>, seconds: u64) -> Arrival<'_> {
    Arrival {
        who: WHO,
        plan,
        once: false,
        done: None,
        has_loaded: &|_| true,
        now: at(seconds),
    }
}

/// What it boots, and in which boot.
fn plan_of(turn: Turn) -> (Arc<Plan>, Number) {
    match turn {
        Turn::Boots(plan, number) => (plan, number),
        other => panic!("{other:?}"),
    }
}

fn code(turn: &Turn) -> &'static str {
    match turn {
        Turn::Boots(..) => "boots",
        Turn::Passes => "passes",
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
    let (boots_once, Number::New(number)) = plan_of(boots.turn(taken)) else {
        panic!("the order is a new boot");
    };
    assert_eq!(boots_once, once);
    let again = Arrival {
        has_loaded: &|_| false,
        ..arrival(&usual, 30)
    };
    let same = (Arc::clone(&once), Number::Same(number));
    assert_eq!(plan_of(boots.turn(again)), same);
    assert_eq!(code(&boots.turn(arrival(&usual, 31))), "boot.done");
    let held = plan(Boot::Local, false);
    assert_eq!(boots.turn(arrival(&held, 32)), Turn::Passes);
    let later = plan_of(boots.turn(arrival(&usual, 3601)));
    assert_eq!(later.0, usual);
    let assigned = entry("winpe");
    assert_eq!(plan_of(boots.turn(arrival(&assigned, 33))).0, assigned);
}

#[test]
fn what_people_choose_and_what_waits_is_never_counted() {
    let boots = Boots::new(1);
    for boot in [Boot::Usual, Boot::Entry("tool".to_owned())] {
        let plan = plan(boot, false);
        for second in 0..10 {
            assert_eq!(code(&boots.turn(arrival(&plan, second))), "boots");
        }
    }
    let refused = Reason {
        code: "policy.refused",
        text: "no".into(),
    };
    for plan in [plan(Boot::Local, true), plan(Boot::Refuse(refused), true)] {
        for second in 0..10 {
            assert_eq!(code(&boots.turn(arrival(&plan, second))), "passes");
        }
    }
    let table = boots.table();
    let times: Vec<_> = table.boots.values().map(|boot| boot.began.len()).collect();
    assert_eq!(times, [1], "one machine, and its last boot alone");
}

#[test]
fn a_machine_stays_the_same_when_the_store_learns_of_it() {
    let boots = Boots::new(3);
    let plan = entry("debian");
    let new = Who {
        machine: None,
        guid: "11223344-5566-7788-99aa-bbccddeeff00".parse().ok(),
        mac: "52:54:00:00:00:01".parse().ok(),
    };
    let asks = |who, seconds| {
        let arrival = Arrival {
            who,
            ..arrival(&plan, seconds)
        };
        code(&boots.turn(arrival))
    };
    assert_eq!(asks(new, 0), "boots");
    let known = Who {
        machine: Some(7),
        ..new
    };
    assert!(boots.finished(known).is_some());
    assert_eq!(asks(known, 900), "boot.done");
    boots.forget(known);
    assert_eq!(asks(new, 901), "boots");
    let table = boots.table();
    assert_eq!((table.boots.len(), table.order.len()), (1, 1));
}

#[test]
fn what_the_store_has_of_a_machine_counts() {
    let (boots, debian) = (Boots::new(3), entry("debian"));
    let done = Arrival {
        done: Some("debian"),
        ..arrival(&debian, 0)
    };
    assert_eq!(code(&boots.turn(done)), "boot.done");
    let other = Arrival {
        done: Some("debian of P0120005"),
        ..arrival(&debian, 1)
    };
    assert_eq!(code(&boots.turn(other)), "boots");
    let once = Arrival {
        once: true,
        done: Some("debian"),
        ..arrival(&debian, 2)
    };
    assert_eq!(code(&boots.turn(once)), "boots");
}

fn record(id: u64, entry: &str, seconds: u64) -> BootRecord {
    BootRecord {
        seq: 1,
        id: crate::history::name(id),
        machine: Some(7),
        mac: None,
        guid: None,
        entry: entry.to_owned(),
        decider: None,
        task: Some(entry.to_owned()),
        once: false,
        bytes: None,
        requested: at(seconds),
        loading: None,
        loaded: None,
        finished: None,
        failed: None,
        code: None,
        reason: None,
    }
}

#[test]
fn an_earlier_run_is_taken_up_where_it_ended() {
    let boots = Boots::new(3);
    let tries = [600, 1200, 1800].map(|seconds| record(seconds, "debian", seconds));
    boots.resume(tries);
    assert_eq!(
        code(&boots.turn(arrival(&entry("debian"), 1900))),
        "boot.loop"
    );
    assert_eq!(code(&boots.turn(arrival(&entry("winpe"), 1900))), "boots");

    let boots = Boots::new(3);
    boots.resume([record(0, "debian", 0), record(1, "winpe", 600)]);
    boots.resume([record(2, "debian", 700), record(3, "debian", 800)]);
    assert_eq!(code(&boots.turn(arrival(&entry("debian"), 900))), "boots");
    assert_eq!(
        code(&boots.turn(arrival(&entry("debian"), 1000))),
        "boot.loop"
    );
}

#[test]
fn an_order_of_an_earlier_run_is_not_carried_out_twice() {
    let usual = plan(Boot::Usual, false);
    let order = BootRecord {
        once: true,
        ..record(9, "debian", 0)
    };
    let resumed = |order: &BootRecord| {
        let boots = Boots::new(3);
        boots.resume([order.clone()]);
        boots.turn(Arrival {
            has_loaded: &|_| false,
            ..arrival(&usual, 30)
        })
    };
    let (plan, number) = plan_of(resumed(&order));
    assert_eq!(plan.boot, Boot::Entry("debian".to_owned()));
    assert_eq!(number, Number::Same(BootId(9)));
    let loaded = BootRecord {
        loading: Some(at(10)),
        ..order
    };
    assert_eq!(code(&resumed(&loaded)), "boot.done");
}

#[test]
fn memory_is_bounded_and_what_must_not_run_twice_goes_last() {
    let boots = Boots::new(3);
    let (task, menu) = (entry("debian"), plan(Boot::Usual, false));
    let asks = |number, plan| {
        let who = Who {
            machine: Some(number),
            ..WHO
        };
        let _ = boots.turn(Arrival {
            who,
            ..arrival(plan, 0)
        });
    };
    for number in 0..10 {
        asks(number, &task);
    }
    for number in 10..=MACHINES_MAX as i64 + 100 {
        asks(number, &menu);
    }
    let has = |number| boots.table().boots.contains_key(&Key::Machine(number));
    assert!((0..10).all(has));
    assert!(!has(10) && has(MACHINES_MAX as i64 + 100));
    for number in 0..=MACHINES_MAX as i64 {
        asks(100_000 + number, &task);
    }
    assert!(!has(0));
    let table = boots.table();
    assert_eq!(table.boots.len(), MACHINES_MAX);
    assert_eq!(table.order.len(), MACHINES_MAX);
}
