use bootstorm_catalog::Catalog;
use bootstorm_config::Config;
use bootstorm_policy::{Ports, Rules};
use bootstorm_proto::types::MacAddress;
use bootstorm_store::{Location, Spool};
use crossbeam_channel::{Receiver, bounded};
use tempfile::TempDir;

use super::*;
use crate::Boots;

/// Rules by which machines have to ask, unless they are in 10.7.0.0/16.
pub(crate) fn rules() -> Rules {
    let text = r#"
        [[rule]]
        when = "network.address.startsWith('10.7.')"
        boot = "local"
        [[provider]]
        type = "machines"
        [[provider]]
        type = "static"
        [[provider]]
        type = "approval"
        message = "Call 4411."
        [[provider]]
        type = "menu"
    "#;
    let loaded = Config::parse(text, std::path::Path::new("test.toml"));
    let config = loaded.config;
    Rules::from(&config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)))
}

/// A server whose database another one uses, too.
struct Scene {
    approvals: Arc<Approvals>,
    events: Receiver<BootEvent>,
    theirs: Store,
    data: TempDir,
}

async fn scene(data: TempDir) -> Scene {
    let location = Location::in_folder(data.path());
    let store = Store::open(&location).await.unwrap();
    let watch = store.watch().await.unwrap();
    let spool = Arc::new(Spool::open(&data.path().join("spool.jsonl")).unwrap());
    let catalog = Arc::new(Catalog::default());
    let policy = Arc::new(Policy::new(rules(), Ports::default(), catalog));
    let machines = Machines::open(store.clone(), spool, Arc::clone(&policy), Boots::new(3));
    let machines = Arc::new(machines.await.unwrap());
    let (sender, events) = bounded(64);
    let approvals = Arc::new(Approvals::new(
        store,
        policy,
        Arc::clone(&machines),
        Duration::from_secs(3600),
        sender,
        Arc::default(),
    ));
    tokio::spawn(machines.follow_others(watch, Arc::clone(&approvals)));
    Scene {
        approvals,
        events,
        theirs: Store::open(&location).await.unwrap(),
        data,
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn machine(last: u8) -> Facts {
    Facts {
        mac: Some(MacAddress::new([0x52, 0x54, 0, 0, 0, last])),
        address: "10.0.0.5".parse().ok(),
        serial: Some("S/N 1".to_owned()),
        ..Facts::default()
    }
}

fn polls(facts: &Facts, code: &str) -> Facts {
    Facts {
        other: vec![("request".to_owned(), code.to_owned())],
        asked: true,
        ..facts.clone()
    }
}

impl Scene {
    /// What the machine is told, in short, once people have been asked.
    async fn comes(&self, facts: &Facts) -> String {
        self.approvals.ask(facts).await;
        self.is_told(facts)
    }

    fn is_told(&self, facts: &Facts) -> String {
        let asked = self.approvals.policy.decide(facts, SystemTime::now());
        let Asked::Decided(decision) = asked else {
            panic!("{asked:?}");
        };
        let Outcome::Serve(plan) = &decision.outcome else {
            panic!("{decision:?}");
        };
        match &plan.boot {
            Boot::Wait(wait) => wait.request.clone().unwrap_or(wait.reason.code.to_owned()),
            Boot::Refuse(reason) => reason.code.to_owned(),
            Boot::Admission(_) => "asks".to_owned(),
            Boot::Entry(name) => name.clone(),
            other => format!("{other:?}"),
        }
    }

    async fn until(&self, facts: &Facts, told: &str) {
        for _ in 0..1200 {
            if self.is_told(facts) == told {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("it is told {} to the end", self.is_told(facts));
    }

    /// What became of requests, in order.
    fn happened(&self) -> Vec<String> {
        let events = self.events.try_iter();
        let told = events.map(|event| match event.what {
            What::Approval { state, by, .. } => {
                format!("{state} {}", by.as_deref().unwrap_or("-"))
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

#[tokio::test]
async fn wds_08_a_request_survives_a_restart() {
    let first = scene(folder()).await;
    assert_eq!(first.is_told(&machine(1)), "asks");
    let code = first.comes(&machine(1)).await;
    let asked = first.approvals.get(&code).await.unwrap().unwrap();
    assert!(asked.facts.contains("S/N 1"), "{asked:?}");
    assert_eq!(first.comes(&machine(1)).await, code);
    assert_eq!(first.happened(), ["pending -"]);
    let second = scene(first.data).await;
    assert_eq!(second.is_told(&polls(&machine(1), &code)), "asks");
    assert_eq!(second.comes(&polls(&machine(1), &code)).await, code);
    assert_ne!(second.comes(&machine(2)).await, code);
}

#[tokio::test]
async fn wds_08_a_denied_machine_is_refused_until_that_is_over() {
    let scene = scene(folder()).await;
    let code = scene.comes(&machine(1)).await;
    let why = Some("wrong room".to_owned());
    let denied = scene.approvals.deny(&code, why, "ann").await.unwrap();
    let holds = denied.expires.duration_since(denied.decided.unwrap());
    assert_eq!(holds.unwrap().as_secs(), 3600);
    assert_eq!(scene.is_told(&machine(1)), "approval.denied");
    assert_eq!(scene.comes(&machine(1)).await, "approval.denied");
    assert_eq!(scene.happened(), ["pending -", "denied ann"]);
    let again = scene.approvals.approve(&code, Vec::new(), "bob").await;
    assert_eq!(again.unwrap_err().code(), "store.decided");

    scene.approvals.set_keep(Duration::ZERO);
    let code = scene.comes(&machine(2)).await;
    scene.approvals.deny(&code, None, "ann").await.unwrap();
    let anew = scene.comes(&machine(2)).await;
    assert_ne!(anew, code);
    assert_eq!(scene.is_told(&machine(2)), anew);
}

#[tokio::test]
async fn wds_08_an_expired_machine_leaves_and_asks_anew_at_its_next_boot() {
    let scene = scene(folder()).await;
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    let request = Request {
        mac: machine(1).mac,
        guid: None,
        facts: "{}".to_owned(),
        at: long_ago,
        expires: long_ago + Duration::from_secs(30),
    };
    let code = scene.theirs.ask(&request).await.unwrap().code;
    let waits = polls(&machine(1), &code);
    // The store has not noted it yet.
    assert_eq!(scene.comes(&waits).await, "approval.expired");
    let expires = tokio::spawn(Arc::clone(&scene.approvals).expire());
    for _ in 0..1200 {
        let state = scene.theirs.approval(&code).await.unwrap().unwrap().state;
        if state == ApprovalState::Expired {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    expires.abort();
    assert_eq!(scene.comes(&waits).await, "approval.expired");
    assert_ne!(scene.comes(&machine(1)).await, code);
    assert_eq!(scene.happened(), ["expired -", "pending -"]);
    let others = polls(&machine(2), &code);
    assert_eq!(
        scene.comes(&others).await.len(),
        4,
        "another's code means nothing"
    );
}

#[tokio::test]
async fn wds_09_what_people_gave_holds_from_the_next_question_on() {
    let scene = scene(folder()).await;
    let facts = machine(1);
    let code = scene.comes(&facts).await;
    let edits = vec![
        Edit::Name(Some("lab3-17".to_owned())),
        Edit::AddTag("lab".to_owned()),
        Edit::Boot(Some("debian".to_owned())),
    ];
    let approved = scene.approvals.approve(&code, edits, "ann").await.unwrap();
    assert!(approved.1.is_some());
    assert_eq!(scene.is_told(&polls(&facts, &code)), "debian");
    let identity = scene.approvals.policy.identify(&facts);
    let known = scene.approvals.policy.machines().find(&identity).unwrap();
    assert_eq!(known.name.as_deref(), Some("lab3-17"));
    assert_eq!(known.tags, ["lab"]);
    assert_eq!(scene.happened(), ["pending -", "approved ann"]);
}

#[tokio::test]
async fn wds_08_what_another_server_decides_holds_here() {
    let scene = scene(folder()).await;
    let (in_, out) = (machine(1), machine(2));
    let now = SystemTime::now;
    let let_in = scene.comes(&in_).await;
    let denied = scene.comes(&out).await;
    let boot = Answer::Approve(vec![Edit::Boot(Some("debian".to_owned()))]);
    let done = scene.theirs.decide(&let_in, &boot, "bob", now()).await;
    done.unwrap();
    scene.until(&in_, "debian").await;
    let deny = Answer::Deny {
        until: now() + Duration::from_secs(60),
        reason: None,
    };
    let done = scene.theirs.decide(&denied, &deny, "bob", now()).await;
    done.unwrap();
    scene.until(&out, "approval.denied").await;
}

#[tokio::test]
async fn twopxe_09_a_rule_of_the_network_lets_machines_in_unasked() {
    let scene = scene(folder()).await;
    let inside = Facts {
        address: "10.7.0.5".parse().ok(),
        ..machine(1)
    };
    assert_eq!(scene.comes(&inside).await, "Local");
    assert_eq!(scene.comes(&machine(1)).await.len(), 4);
    assert_eq!(scene.approvals.page(None, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_its_database_a_machine_waits_without_a_code() {
    let scene = scene(folder()).await;
    let waits = machine(1);
    let code = scene.comes(&waits).await;
    scene.approvals.store.clone().close().await;
    assert_eq!(scene.comes(&waits).await, code, "those that asked wait on");
    assert_eq!(scene.comes(&machine(2)).await, "store.away");
    assert_eq!(scene.comes(&machine(3)).await, "store.away");
    assert_eq!(scene.is_told(&machine(2)), "store.away");
}

#[tokio::test]
async fn a_machine_that_is_let_in_by_its_name_needs_no_request() {
    let scene = scene(folder()).await;
    let facts = machine(1);
    let key = bootstorm_store::Key::Mac(facts.mac.unwrap());
    let boot = [Edit::Boot(Some("debian".to_owned()))];
    scene.theirs.change(&key, &boot).await.unwrap();
    assert_eq!(
        scene.comes(&facts).await,
        "debian",
        "it is looked for first"
    );
    assert_eq!(scene.approvals.page(None, None, 9).await.unwrap(), []);
}

#[test]
fn what_a_machine_tells_is_kept_as_far_as_there_is_room() {
    let long = |text: &str| (text.to_owned(), "x".repeat(20_000));
    let facts = Facts {
        other: vec![long("a")],
        ..machine(1)
    };
    let kept = told(&facts, &Identity::default());
    assert!(kept.len() < FACTS_MAX && kept.contains("S/N 1"), "{kept}");
    let too_long = Facts {
        product: Some(long("").1),
        ..machine(1)
    };
    assert_eq!(told(&too_long, &Identity::default()), "{}");
}

#[test]
fn too_many_machines_are_told_why_they_wait() {
    let error = StoreError::TooMany {
        what: "machines that wait to be let in",
        most: 10_000,
    };
    let reason = put_off_by(&error);
    assert_eq!(reason.code, "store.too-many");
    assert!(reason.text.contains("answer them first"), "{}", reason.text);
}
