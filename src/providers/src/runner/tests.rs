use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bootstorm_catalog::Catalog;
use bootstorm_config::Config;
use bootstorm_policy::chain::{Chain, Link, OnFailure};
use bootstorm_policy::decision::Step;
use bootstorm_policy::{Ports, Rules};
use bootstorm_proto::types::MacAddress;
use serde_json::Value;
use tokio::time::sleep;

use super::breaker::OPEN_FOR;
use super::caller::WAITING_MAX;
use super::*;

const BUDGET: Duration = Duration::from_secs(1);

/// What a provider of these tests does.
#[derive(Clone, Copy, Debug)]
enum Does {
    Serve,
    Pass,
    Fail,
    Hang,
    ServeAfter(u64),
    PassAfter(u64),
}

/// One of them, and how often it was asked.
struct Scripted {
    name: String,
    does: Mutex<Does>,
    asked: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Scripted {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    async fn answer(&self, does: Does) -> Result<Verdict, ProviderError> {
        match does {
            Does::Hang => std::future::pending().await,
            Does::ServeAfter(ms) | Does::PassAfter(ms) => sleep(Duration::from_millis(ms)).await,
            Does::Serve | Does::Pass | Does::Fail => {}
        }
        let answer: &[u8] = match does {
            Does::Serve | Does::ServeAfter(_) => br#"{"answer":"serve","boot":"local"}"#,
            Does::Pass | Does::PassAfter(_) => br#"{"answer":"pass"}"#,
            Does::Fail | Does::Hang => return Err(ProviderError::Failed("no".to_owned())),
        };
        Ok(Verdict::from_json(answer, &self.name)?)
    }
}

impl Ask for Scripted {
    fn ask<'a>(&'a self, _: &'a Value) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(running, Ordering::Relaxed);
            let _ends = Ends(&self.running);
            let does = *self.does.lock().unwrap();
            self.answer(does).await
        }
        .boxed()
    }
}

/// A call that ends, by itself or not.
struct Ends<'a>(&'a AtomicUsize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A chain of such providers `p0`, `p1` ... and nothing behind them.
struct Lab {
    runner: Arc<Runner>,
    providers: Vec<Arc<Scripted>>,
}

impl Lab {
    fn new(does: &[Does]) -> Self {
        Self::with(does, |_| {})
    }

    fn with(does: &[Does], change: impl Fn(&mut Remote)) -> Self {
        let providers: Vec<_> = (0..)
            .zip(does)
            .map(|(number, does)| scripted(number, *does))
            .collect();
        let links = providers.iter().map(|provider| {
            let mut remote = Remote {
                name: provider.name.as_str().into(),
                asked_at_dhcp: true,
                budget: BUDGET,
                keep: Duration::from_secs(60),
                on_failure: OnFailure::Pass,
            };
            change(&mut remote);
            Link::Remote(Arc::new(remote))
        });
        let rules = Rules {
            chain: Chain::new(links.collect()),
            ..Rules::from(&Config::for_system())
        };
        let policy = Policy::new(rules, Ports::default(), Arc::new(Catalog::default()));
        let asks = providers.iter().map(|provider| {
            let ask: Arc<dyn Ask> = Arc::clone(provider) as _;
            let concurrent = 4;
            (provider.name.as_str().into(), Provider { ask, concurrent })
        });
        Self {
            runner: Arc::new(Runner::new(Arc::new(policy), asks.collect())),
            providers,
        }
    }

    async fn decide(&self, machine: u16) -> (Decision, Duration) {
        let began = Instant::now();
        let decision = self.runner.decide(&facts(machine)).await;
        (decision, began.elapsed())
    }
}

fn scripted(number: usize, does: Does) -> Arc<Scripted> {
    Arc::new(Scripted {
        name: format!("p{number}"),
        does: Mutex::new(does),
        asked: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    })
}

fn facts(machine: u16) -> Facts {
    let [high, low] = machine.to_be_bytes();
    Facts {
        mac: Some(MacAddress::new([0x52, 0x54, 0, 0x99, high, low])),
        ..Facts::default()
    }
}

/// Who serves, if anybody does.
fn by(decision: &Decision) -> Option<&str> {
    match &decision.outcome {
        Outcome::Serve(plan) => Some(&plan.by),
        Outcome::Silent(_) => None,
    }
}

fn code(step: &Step) -> &'static str {
    match &step.verdict {
        Verdict::Pass(reason) | Verdict::Ignore(reason) => reason.code,
        Verdict::Serve(_) => "served",
    }
}

fn codes(decision: &Decision) -> Vec<&'static str> {
    decision.steps.iter().map(code).collect()
}

#[tokio::test(start_paused = true)]
async fn twopxe_08_twenty_nine_that_hang_do_not_keep_the_thirtieth_from_answering() {
    let mut does = vec![Does::Hang; 29];
    does.push(Does::Serve);
    let (decision, took) = Lab::new(&does).decide(1).await;
    assert_eq!(by(&decision), Some("p29"));
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(codes(&decision)[..29], ["provider.timeout"; 29]);
}

#[tokio::test(start_paused = true)]
async fn those_that_fail_cost_those_behind_no_time() {
    let mut does = vec![Does::Fail; 29];
    does.push(Does::Serve);
    let (decision, took) = Lab::new(&does).decide(1).await;
    assert_eq!(by(&decision), Some("p29"));
    assert_eq!(took, Duration::ZERO);
    assert_eq!(codes(&decision)[..29], ["provider.failed"; 29]);
}

#[tokio::test(start_paused = true)]
async fn twopxe_08_the_order_alone_decides() {
    let lab = Lab::new(&[Does::ServeAfter(900), Does::Serve]);
    let (decision, took) = lab.decide(1).await;
    assert_eq!(by(&decision), Some("p0"));
    assert_eq!(took, Duration::from_millis(900));
    assert_eq!(lab.providers[1].asked(), 1);

    let lab = Lab::new(&[Does::PassAfter(900), Does::Serve]);
    let (decision, took) = lab.decide(1).await;
    assert_eq!(by(&decision), Some("p1"));
    assert_eq!(took, Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn the_next_is_not_asked_while_the_first_is_quick() {
    let lab = Lab::new(&[Does::ServeAfter(99), Does::Serve]);
    assert_eq!(by(&lab.decide(1).await.0), Some("p0"));
    assert_eq!(lab.providers[1].asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_is_asked_as_soon_as_one_passes() {
    let lab = Lab::new(&[Does::PassAfter(10), Does::PassAfter(10), Does::Serve]);
    let (decision, took) = lab.decide(1).await;
    assert_eq!(by(&decision), Some("p2"));
    assert_eq!(took, Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_is_kept() {
    let lab = Lab::new(&[Does::Pass, Does::Serve]);
    assert_eq!(by(&lab.decide(1).await.0), Some("p1"));
    assert_eq!(by(&lab.decide(1).await.0), Some("p1"));
    assert_eq!(lab.providers[0].asked(), 1);
    let _ = lab.decide(2).await;
    assert_eq!(lab.providers[0].asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_can_count_as_silence() {
    let lab = Lab::with(&[Does::Fail, Does::Serve], |remote| {
        remote.on_failure = OnFailure::Ignore;
    });
    let (decision, _) = lab.decide(1).await;
    assert!(
        matches!(&decision.outcome, Outcome::Silent(reason) if reason.code == "provider.failed")
    );
}

#[tokio::test(start_paused = true)]
async fn the_whole_chain_has_a_budget() {
    let lab = Lab::with(&[Does::Hang, Does::Hang], |remote| {
        remote.budget = Duration::from_secs(600);
    });
    let (decision, took) = lab.decide(1).await;
    assert_eq!(took, Chain::BUDGET);
    assert_eq!(codes(&decision), ["provider.timeout"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_asks_twice_is_asked_about_once() {
    let lab = Lab::new(&[Does::ServeAfter(50)]);
    let (one, two, other) = tokio::join!(lab.decide(1), lab.decide(1), lab.decide(2));
    for (decision, _) in [one, two, other] {
        assert_eq!(by(&decision), Some("p0"));
    }
    assert_eq!(lab.providers[0].asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn few_calls_run_at_a_time_and_no_machine_waits_for_ever() {
    let lab = Lab::new(&[Does::ServeAfter(300)]);
    let calls = (0..20).map(|machine| lab.decide(machine));
    let decisions = futures_util::future::join_all(calls).await;
    assert_eq!(lab.providers[0].most.load(Ordering::Relaxed), 4);
    // Four at a time, three times within the budget; the fourth round is cut off.
    let count = |wanted| {
        let codes = decisions
            .iter()
            .map(|(decision, _)| code(&decision.steps[0]));
        codes.filter(|code| *code == wanted).count()
    };
    assert_eq!(count("served"), 12);
    assert_eq!(count("provider.busy"), 4);
    assert_eq!(count("provider.timeout"), 4);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let lab = Lab::new(&[Does::Hang]);
    let machines = u16::try_from(WAITING_MAX).unwrap() + 10;
    let calls = (0..machines).map(|machine| lab.decide(machine));
    let decisions = futures_util::future::join_all(calls).await;
    let at_once = decisions.iter().filter(|(_, took)| took.is_zero());
    assert_eq!(at_once.count(), 10 - 4);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_ends() {
    let lab = Lab::new(&[Does::Hang]);
    let waits = tokio::time::timeout(Duration::from_millis(10), lab.decide(1)).await;
    assert!(waits.is_err());
    lab.providers[0].now_does(Does::Serve);
    assert_eq!(by(&lab.decide(1).await.0), Some("p0"));
    assert_eq!(lab.providers[0].asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_broken_is_left_alone_until_it_answers_again() {
    let lab = Lab::new(&[Does::Fail]);
    for machine in 0..5 {
        assert_eq!(codes(&lab.decide(machine).await.0), ["provider.failed"]);
    }
    assert_eq!(codes(&lab.decide(5).await.0), ["provider.circuit-open"]);
    assert_eq!(lab.providers[0].asked(), 5);

    sleep(OPEN_FOR).await;
    assert_eq!(codes(&lab.decide(6).await.0), ["provider.failed"]);
    assert_eq!(codes(&lab.decide(7).await.0), ["provider.circuit-open"]);

    sleep(OPEN_FOR).await;
    lab.providers[0].now_does(Does::ServeAfter(10));
    let (tries, meanwhile) = tokio::join!(lab.decide(8), lab.decide(9));
    assert_eq!(codes(&tries.0), ["served"]);
    assert_eq!(codes(&meanwhile.0), ["provider.circuit-open"]);
    assert_eq!(codes(&lab.decide(10).await.0), ["served"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_was_taken_away_is_a_failure() {
    let lab = Lab::new(&[Does::Serve]);
    lab.runner.set_providers(Providers::new());
    assert_eq!(codes(&lab.decide(1).await.0), ["provider.failed"]);
}

#[tokio::test]
async fn a_machine_that_waits_is_not_told_yesterdays_news() {
    let remote = Remote {
        name: "p".into(),
        asked_at_dhcp: true,
        budget: BUDGET,
        keep: Duration::from_secs(600),
        on_failure: OnFailure::Pass,
    };
    let wait = br#"{"answer":"serve","boot":"wait","retry":20}"#;
    let said = (Ok(Verdict::from_json(wait, "p").unwrap()), Duration::ZERO);
    let until = answered(&remote, said, Duration::from_secs(8)).until;
    let left = until.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(20), "{left:?}");
    assert!(left > Duration::from_secs(10), "{left:?}");
}
