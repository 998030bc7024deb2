use proptest::prelude::*;

use super::*;
use crate::decision::Plan;
use crate::{Answered, Facts, Identity};

#[derive(Debug)]
struct Says(Arc<str>, Verdict);

impl Provider for Says {
    fn name(&self) -> &Arc<str> {
        &self.0
    }

    fn decide(&self, _query: &Query<'_>) -> Verdict {
        self.1.clone()
    }
}

fn reason(code: &'static str) -> Reason {
    Reason {
        code,
        text: code.into(),
    }
}

fn serve(by: &str) -> Verdict {
    Verdict::Serve(Arc::new(Plan {
        by: by.to_owned(),
        ..Plan::default()
    }))
}

fn ignore() -> Verdict {
    Verdict::Ignore(reason("test.ignored"))
}

fn pass() -> Verdict {
    Verdict::Pass(reason("test.passed"))
}

fn instant(verdict: Verdict) -> Link {
    Link::Instant(Arc::new(Says("instant".into(), verdict)))
}

fn remote(name: &str) -> Link {
    Link::Remote(Arc::new(Remote {
        name: name.into(),
        asked_at_dhcp: false,
        budget: Duration::from_secs(1),
        keep: Duration::from_secs(10),
        on_failure: OnFailure::Pass,
    }))
}

/// A machine's way along chains.
struct Lab {
    facts: Facts,
    answers: Answers,
    now: SystemTime,
}

impl Lab {
    fn new() -> Self {
        Self {
            facts: Facts::default(),
            answers: Answers::new(Arc::default()),
            now: SystemTime::UNIX_EPOCH,
        }
    }

    fn run(&self, links: Vec<Link>) -> Run {
        let query = Query {
            facts: &self.facts,
            identity: &Identity::default(),
            machine: None,
            standing: None,
            now: self.now,
        };
        Chain::new(links).run(&query, &self.answers)
    }

    /// What an explanation says of each provider.
    fn parts(&self, links: Vec<Link>) -> Vec<String> {
        let query = Query {
            facts: &self.facts,
            identity: &Identity::default(),
            machine: None,
            standing: None,
            now: self.now,
        };
        let parts = Chain::new(links).parts(&query, &self.answers);
        let told = parts.into_iter().map(|part| match part {
            Part::Said(step) => format!("{} {}", step.provider, step.verdict.name()),
            Part::Unanswered(name) => format!("{name} unanswered"),
            Part::NotReached(name) => format!("{name} not reached"),
        });
        told.collect()
    }

    fn answered(&self, name: &str, verdict: Verdict, seconds: u64) {
        let answer = Answered {
            verdict,
            took: Duration::from_millis(7),
            until: self.now + Duration::from_secs(seconds),
        };
        let key = MachineKey::of(&self.facts, &Identity::default());
        self.answers.put(&name.into(), key, answer);
    }

    fn decided(&self, links: Vec<Link>) -> Decision {
        match self.run(links) {
            Run::Decided(decision) => decision,
            Run::Waits(missing) => panic!("{missing:?}"),
        }
    }

    fn missing(&self, links: Vec<Link>) -> Vec<String> {
        match self.run(links) {
            Run::Waits(missing) => missing.iter().map(|r| r.name.to_string()).collect(),
            Run::Decided(decision) => panic!("{decision:?}"),
        }
    }
}

/// The rule that served, or the code of the silence.
fn outcome(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Serve(plan) => plan.by.clone(),
        Outcome::Silent(reason) => reason.code.to_owned(),
    }
}

#[test]
fn wds_01_the_first_that_serves_or_ignores_decides_and_all_passing_is_silence() {
    let lab = Lab::new();
    let decided = |verdicts: Vec<Verdict>| {
        let decision = lab.decided(verdicts.into_iter().map(instant).collect());
        (outcome(&decision), decision.steps.len())
    };
    let is = |outcome: &str, asked| (outcome.to_owned(), asked);
    assert_eq!(decided(vec![serve("a"), serve("b")]), is("a", 1));
    assert_eq!(decided(vec![ignore(), serve("b")]), is("test.ignored", 1));
    assert_eq!(decided(vec![pass(), serve("b")]), is("b", 2));
    assert_eq!(decided(vec![pass(), pass()]), is("policy.all-passed", 2));
    assert_eq!(decided(vec![]), is("policy.all-passed", 0));
}

#[test]
fn a_chain_waits_for_those_only_that_stand_before_the_first_sure_answer() {
    let lab = Lab::new();
    let links = || {
        vec![
            remote("a"),
            instant(pass()),
            remote("b"),
            instant(serve("c")),
            remote("d"),
        ]
    };
    assert_eq!(lab.missing(links()), ["a", "b"]);
    lab.answered("b", serve("b"), 10);
    assert_eq!(lab.missing(links()), ["a"], "the order alone decides");
    lab.answered("a", pass(), 10);
    let decision = lab.decided(links());
    assert_eq!(outcome(&decision), "b");
    let names: Vec<&str> = decision.steps.iter().map(|s| &*s.provider).collect();
    assert_eq!(names, ["a", "instant", "b"]);
    assert_eq!(decision.steps[0].took, Duration::from_millis(7));
}

#[test]
fn each_provider_has_its_part_in_an_explanation() {
    let lab = Lab::new();
    let links = || {
        vec![
            remote("a"),
            instant(pass()),
            remote("b"),
            instant(serve("c")),
            remote("d"),
        ]
    };
    lab.answered("b", serve("b"), 10);
    let behind = ["b serve", "instant not reached", "d not reached"];
    let waiting = ["a unanswered", "instant pass"];
    assert_eq!(lab.parts(links()), [&waiting[..], &behind].concat());
    lab.answered("a", pass(), 10);
    let decided = ["a pass", "instant pass"];
    assert_eq!(lab.parts(links()), [&decided[..], &behind].concat());
    assert!(lab.parts(Vec::new()).is_empty());
}

#[test]
fn a_decision_holds_as_long_as_the_answers_it_rests_on() {
    let mut lab = Lab::new();
    lab.answered("a", pass(), 10);
    lab.answered("b", serve("b"), 5);
    let links = || vec![remote("a"), remote("b")];
    assert_eq!(
        lab.decided(links()).until,
        Some(lab.now + Duration::from_secs(5))
    );
    lab.now += Duration::from_secs(5);
    assert_eq!(lab.missing(links()), ["b"]);
    assert_eq!(lab.decided(vec![instant(pass())]).until, None);
}

#[test]
fn providers_for_scripts_alone_are_not_asked_at_dhcp() {
    let mut lab = Lab::new();
    lab.facts.stage = Stage::Dhcp;
    let decision = lab.decided(vec![remote("a"), instant(serve("b"))]);
    assert_eq!(outcome(&decision), "b");
    let Verdict::Pass(reason) = &decision.steps[0].verdict else {
        panic!("{decision:?}");
    };
    assert_eq!(reason.code, "provider.not-asked");
}

proptest! {
    /// Whatever instant providers say, the first that does not pass decides, and nobody behind it
    /// is asked.
    #[test]
    fn nobody_is_asked_behind_the_one_who_decides(says in prop::collection::vec(0..3_u8, 0..20)) {
        let verdict = |says: &u8| match says {
            0 => pass(),
            1 => ignore(),
            _ => serve("x"),
        };
        let decision = Lab::new().decided(says.iter().map(|s| instant(verdict(s))).collect());
        let first = says.iter().position(|s| *s != 0);
        prop_assert_eq!(decision.steps.len(), first.map_or(says.len(), |at| at + 1));
        let expected = match first.map(|at| says[at]) {
            None => "policy.all-passed",
            Some(1) => "test.ignored",
            Some(_) => "x",
        };
        prop_assert_eq!(outcome(&decision), expected);
    }
}
