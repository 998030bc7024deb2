use super::*;

/// Without networking to be started, unless it is said.
fn instructions(more: &str) -> Instructions {
    let json = format!(r#"{{"version":1,"server":"http://10.0.0.1","token":"ab"{more}}}"#);
    let mut instructions = Instructions::parse(json.as_bytes()).unwrap();
    instructions.wpeinit = more.contains("wpeinit");
    instructions
}

fn passing() -> Outcome {
    Outcome::Failed(Trouble::Passing("no route".to_owned()))
}

fn lasting(why: &str) -> Outcome {
    Outcome::Failed(Trouble::Lasting(why.to_owned()))
}

/// Goes on until the end, with what `perform` makes of each step; gives the steps in short.
fn steps(mut journey: Journey, mut perform: impl FnMut(&Step) -> Outcome) -> Vec<String> {
    let mut now = Duration::ZERO;
    let mut steps = Vec::new();
    // Whatever fails, it ends.
    for _ in 0..500 {
        let step = journey.step().clone();
        let outcome = match &step {
            Step::Wait(pause) => {
                now += *pause;
                Outcome::Done
            }
            Step::End(_) => Outcome::Done,
            step => {
                now += Duration::from_millis(500);
                perform(step)
            }
        };
        let short = match &step {
            Step::Report { milestone, text } => format!("{} {text}", milestone.name()),
            Step::Wait(pause) => format!("wait {}", pause.as_secs()),
            Step::Start(line) => format!("start {line}"),
            other => format!("{other:?}"),
        };
        steps.push(short.trim_end().to_lowercase());
        if let Step::End(_) = step {
            return steps;
        }
        journey.went(outcome, now);
    }
    panic!("no end: {steps:?}");
}

fn well(step: &Step) -> Outcome {
    match step {
        Step::Start(_) => Outcome::Exited(0),
        _ => Outcome::Done,
    }
}

#[test]
fn everything_is_done_in_order() {
    let all = instructions(r#","ca":"PEM","wpeinit":true,"start":["one","two"]"#);
    let seen = steps(Journey::new(&all), well);
    assert_eq!(
        seen,
        [
            "network",
            "trust",
            "client-started",
            "network-up",
            "fetch",
            "keep",
            "start one",
            "start two",
            "done",
            "end(done)"
        ]
    );
}

#[test]
fn without_programs_the_next_one_reports_the_end() {
    let seen = steps(Journey::new(&instructions("")), well);
    assert_eq!(
        seen,
        ["client-started", "network-up", "fetch", "keep", "end(done)"]
    );
}

#[test]
fn fresh_instructions_say_what_is_started() {
    let old = instructions(r#","start":["old"]"#);
    let seen = steps(Journey::new(&old), |step| match step {
        Step::Fetch => Outcome::Fetched(Box::new(instructions(r#","start":["new"]"#))),
        step => well(step),
    });
    assert!(seen.contains(&"start new".to_owned()) && !seen.contains(&"start old".to_owned()));
    // Without them, the ones that came with the boot hold.
    let seen = steps(Journey::new(&old), |step| match step {
        Step::Fetch => lasting("404"),
        step => well(step),
    });
    assert!(seen.contains(&"start old".to_owned()), "{seen:?}");
}

#[test]
fn a_server_that_is_away_is_asked_again_for_as_long_as_was_said() {
    let short = instructions(r#","patience":20"#);
    let seen = steps(Journey::new(&short), |_| passing());
    let tries = seen.iter().filter(|step| *step == "client-started").count();
    let waits: Vec<_> = seen
        .iter()
        .filter(|step| step.starts_with("wait"))
        .collect();
    assert_eq!(waits, ["wait 1", "wait 2", "wait 4", "wait 8", "wait 3"]);
    assert_eq!(tries, waits.len() + 1);
    assert_eq!(seen.last().unwrap(), "end(server)");
}

#[test]
fn a_server_that_comes_back_is_gone_on_with() {
    let mut tries = 0;
    let seen = steps(Journey::new(&instructions("")), |_| {
        tries += 1;
        if tries % 3 == 0 {
            Outcome::Done
        } else {
            passing()
        }
    });
    let waits: Vec<_> = seen
        .iter()
        .filter(|step| step.starts_with("wait"))
        .collect();
    // The pauses begin anew with each step.
    assert_eq!(waits[..4], ["wait 1", "wait 2", "wait 1", "wait 2"]);
    assert!(seen.contains(&"keep".to_owned()), "{seen:?}");
}

#[test]
fn a_refusal_ends_it_at_once() {
    let seen = steps(Journey::new(&instructions("")), |_| lasting("403"));
    assert_eq!(seen, ["client-started", "end(server)"]);
}

#[test]
fn what_failed_before_the_server_was_reached_is_told_to_it() {
    let all = instructions(r#","ca":"PEM","wpeinit":true"#);
    let seen = steps(Journey::new(&all), |step| match step {
        Step::Network => lasting("no wpeinit"),
        Step::Trust => lasting("no store"),
        step => well(step),
    });
    assert_eq!(seen[2], "client-started no wpeinit; no store");
}

#[test]
fn a_program_that_fails_is_the_last_one_and_is_told() {
    let two = instructions(r#","start":["one","two"]"#);
    for (outcome, told) in [
        (5, "failed one ended with exit code 5"),
        (-1, "failed one ended with exit code -1"),
    ] {
        let seen = steps(Journey::new(&two), |step| match step {
            Step::Start(_) => Outcome::Exited(outcome),
            step => well(step),
        });
        assert_eq!(seen[4..], ["start one", told, "end(program)"]);
    }
    let seen = steps(Journey::new(&two), |step| match step {
        Step::Start(_) => lasting("not found"),
        step => well(step),
    });
    assert_eq!(seen[5], "failed one cannot be started: not found");
    let seen = steps(Journey::new(&two), |step| match step {
        Step::Start(_) => Outcome::Exited(3010),
        step => well(step),
    });
    assert_eq!(seen.last().unwrap(), "end(done)");
    let seen = steps(Journey::new(&two), |step| match step {
        Step::Keep => lasting("disk full"),
        step => well(step),
    });
    assert_eq!(seen[4..], ["failed disk full", "end(program)"]);
}

#[test]
fn a_last_report_that_nobody_takes_is_an_end_of_its_own() {
    let one = instructions(r#","start":["one"],"patience":1"#);
    let seen = steps(Journey::new(&one), |step| match step {
        Step::Report {
            milestone: Milestone::Done,
            ..
        } => passing(),
        step => well(step),
    });
    assert_eq!(seen.last().unwrap(), "end(server)");
    let seen = steps(Journey::new(&one), |step| match step {
        Step::Report {
            milestone: Milestone::Failed,
            ..
        } => passing(),
        Step::Start(_) => Outcome::Exited(1),
        step => well(step),
    });
    assert_eq!(seen.last().unwrap(), "end(program)");
}

#[test]
fn ctrl_c_is_told_once_and_ends_it() {
    let one = instructions(r#","start":["one"]"#);
    let stopped = || Outcome::Failed(Trouble::Stopped);
    for reaches in [true, false] {
        let seen = steps(Journey::new(&one), |step| match step {
            Step::Start(_) => stopped(),
            Step::Report { text, .. } if text.contains("Ctrl-C") && !reaches => passing(),
            step => well(step),
        });
        let end = ["failed stopped by ctrl-c at the machine", "end(stopped)"];
        assert_eq!(seen[5..], end);
    }
    let seen = steps(Journey::new(&one), |_| stopped());
    assert_eq!(seen.last().unwrap(), "end(stopped)");
}

#[test]
fn a_single_report_is_all_there_is() {
    for milestone in Milestone::ALL {
        let all = instructions(r#","ca":"PEM","wpeinit":true,"start":["one"]"#);
        let journey = Journey::report(milestone, "words".to_owned(), &all);
        let seen = steps(journey, well);
        assert_eq!(seen, [&format!("{} words", milestone.name()), "end(done)"]);
    }
}
