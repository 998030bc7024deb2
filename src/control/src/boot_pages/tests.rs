use std::net::SocketAddr;
use std::time::Duration;

use bootstorm_catalog::{Catalog, Entry, EntryKind, Snapshot};
use bootstorm_config::Config;
use bootstorm_policy::chain::{Chain, Link, OnFailure, Remote};
use bootstorm_policy::decision::{Boot, Decision, Plan, Verdict};
use bootstorm_policy::{Answered, Asked, Facts, MachineKey, Ports, Rules};
use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::ClientArch;
use bootstorm_store::{BootFilter, BootRecord, Edit, Key, Location, MachineRecord, Spool, Store};
use crossbeam_channel::{Receiver, bounded};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::Place;
use crate::clients::Hear as _;

mod files;
mod own;
mod report;
mod waiting;

pub(super) use own::order;

pub(super) struct Lab {
    pub(super) pages: BootPages,
    policy: Arc<Policy>,
    events: Receiver<BootEvent>,
    spool: Arc<Spool>,
    pub(super) runtime: Runtime,
    data: TempDir,
}

pub(super) const MAC: &str = "52:54:00:00:00:01";

/// A server with one entry, which overheard that 10.0.0.5 belongs to [`MAC`].
pub(super) fn lab() -> Lab {
    lab_in(tempfile::tempdir().unwrap())
}

fn lab_in(data: TempDir) -> Lab {
    let kind = EntryKind::Efi {
        program: "tool.efi".to_owned(),
        args: String::new(),
    };
    let entries = vec![Entry::new("tool", "Tool", kind)];
    lab_of(data, Snapshot::new([], entries))
}

/// The same server with other entries.
pub(super) fn lab_of(data: TempDir, snapshot: Snapshot) -> Lab {
    let catalog = Arc::new(Catalog::default());
    catalog.publish(snapshot);
    let rules = Rules::from(&Config::for_user());
    let policy = Arc::new(Policy::new(rules, Ports::default(), catalog));
    let seen = |what| BootEvent {
        at: SystemTime::now(),
        mac: MAC.parse().ok(),
        ip: "10.0.0.5".parse().ok(),
        what,
    };
    let clients = Clients::feed([
        seen(What::Asked {
            facts: Arc::new(heard()),
        }),
        seen(What::Leased),
    ]);
    let (sender, events) = bounded(8);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let boots = Boots::new(3);
    let spool = Arc::new(Spool::open(&data.path().join("spool.jsonl")).unwrap());
    let history = History::new(Arc::clone(&spool));
    let (store, machines) = runtime.block_on(async {
        let store = Store::open(&Location::in_folder(data.path()))
            .await
            .unwrap();
        let spool = Arc::clone(&spool);
        let machines = Machines::open(store.clone(), spool, Arc::clone(&policy), boots.clone());
        (store, Arc::new(machines.await.unwrap()))
    });
    let approvals = Approvals::new(
        store,
        Arc::clone(&policy),
        Arc::clone(&machines),
        Duration::from_secs(3600),
        sender.clone(),
        Arc::default(),
    );
    let pages = BootPages::new(BootSeams {
        policy: Arc::clone(&policy),
        clients,
        authority: crate::authority::for_tests(),
        machines,
        approvals: Arc::new(approvals),
        boots,
        history,
        tokens: Tokens::new(&[7; 32]),
        consult: Arc::new(Oracle(Arc::clone(&policy))),
        events: sender,
        metrics: Arc::new(Metrics::new()),
    });
    Lab {
        pages,
        policy,
        events,
        spool,
        runtime,
        data,
    }
}

/// What DHCP told of [`MAC`].
fn heard() -> ClientFacts {
    let mac: MacAddress = MAC.parse().unwrap();
    let local = "10.0.0.9".parse().unwrap();
    let mut facts = ClientFacts::new(mac.into(), Asker::Firmware, ClientArch(7), local);
    facts.relay = "10.9.0.1".parse().ok();
    facts.circuit_id.extend(*b"Gi1/0/7");
    facts
}

pub(super) fn request(method: Method, path: &str, query: &str) -> BootRequest {
    let local: SocketAddr = "[::ffff:10.0.0.9]:8080".parse().unwrap();
    BootRequest {
        client: "[::ffff:10.0.0.5]:4711".parse().unwrap(),
        local,
        secure: false,
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        host: "10.0.0.9:8080".to_owned(),
        user_agent: "iPXE/1.21.1+git".to_owned(),
        body: Vec::new(),
    }
}

pub(super) fn body(response: &BootResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

/// A remote provider that says `tool` of every machine.
#[derive(Debug)]
struct Oracle(Arc<Policy>);

impl Consult for Oracle {
    fn decide<'a>(&'a self, facts: &'a Facts) -> BoxFuture<'a, Decision> {
        let now = SystemTime::now();
        loop {
            match self.0.decide(facts, now) {
                Asked::Decided(decision) => return Box::pin(std::future::ready(decision)),
                Asked::Waits {
                    identity, links, ..
                } => {
                    let answered = Answered {
                        verdict: Verdict::Serve(Arc::new(Plan {
                            boot: Boot::Entry("tool".to_owned()),
                            required: true,
                            by: "oracle".to_owned(),
                            ..Plan::default()
                        })),
                        took: Duration::ZERO,
                        until: now + Duration::from_secs(60),
                    };
                    let key = MachineKey::of(facts, &identity);
                    self.0.answers().put(&links[0].name, key, answered);
                }
            }
        }
    }
}

impl Lab {
    /// The answer, whatever it takes.
    fn respond(&self, request: &BootRequest) -> BootResponse {
        match self.pages.respond(request) {
            Page::Ready(response) => response,
            Page::Waits(waits) => self.runtime.block_on(self.pages.wait(request, waits)),
        }
    }

    /// People say something of the machine.
    pub(super) fn edit(&self, edit: Edit) {
        let key = Key::Mac(MAC.parse().unwrap());
        let changed = self.pages.machines.change(&key, |_| vec![edit]);
        self.runtime.block_on(changed).unwrap();
    }

    /// The table of clients takes in what was told, then this, and has it written down.
    pub(super) fn hear(&self, event: BootEvent) {
        let events = self.events.try_iter().chain([event]);
        let happened: Vec<_> = events
            .filter_map(|event| self.pages.clients.happens(event))
            .collect();
        self.pages.history.hear(&happened);
    }

    pub(super) fn configure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::for_user();
        change(&mut config);
        self.policy.set_rules(Rules::from(&config));
    }

    /// The server was killed, and runs again.
    fn restarted(self) -> Self {
        lab_in(self.data)
    }

    /// The machine as the store knows it, once everything is delivered.
    fn machine(&self) -> MachineRecord {
        let store = self.pages.machines.store();
        let key = Key::Mac(MAC.parse().unwrap());
        self.runtime.block_on(async {
            self.spool.deliver(store).await.unwrap();
            store.machine(&key).await.unwrap().unwrap()
        })
    }

    fn stored_machines(&self) -> Vec<MachineRecord> {
        let store = self.pages.machines.store();
        self.runtime.block_on(async {
            self.spool.deliver(store).await.unwrap();
            store.load().await.unwrap()
        })
    }

    fn stored_boots(&self) -> Vec<BootRecord> {
        let store = self.pages.machines.store();
        self.runtime.block_on(async {
            self.spool.deliver(store).await.unwrap();
            let boots = store.boots(&BootFilter::default(), None, 100).await;
            boots.unwrap()
        })
    }

    fn assign(&self, boot: &str) {
        self.edit(Edit::Boot(Some(boot.to_owned())));
    }

    fn boots(&self) -> Option<String> {
        match self.events.try_recv().ok()?.what {
            What::Script { boots, .. } => Some(boots.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_door_leads_to_the_same_script() {
    let lab = lab();
    let query = format!("mac={MAC}&arch=7");
    let wanted = lab.respond(&request(Method::Get, "/boot", &query));
    assert_eq!(wanted.status, 200);
    assert_eq!(wanted.content_type, "text/plain; charset=utf-8");
    assert!(body(&wanted).starts_with("#!ipxe\n"), "{}", body(&wanted));
    assert!(body(&wanted).contains("http://10.0.0.9:8080/images/tool.efi"));
    for path in [
        "/boot/",
        "//boot",
        "/2PXE/boot",
        "/2pxe/Boot",
        "/autoexec.ipxe",
        "/",
    ] {
        let found = lab.respond(&request(Method::Get, path, &query));
        assert_eq!(found, wanted, "{path}");
    }
    let mut post = request(Method::Post, "/boot", "");
    post.body = query.into_bytes();
    assert_eq!(lab.respond(&post), wanted);
}

#[test]
fn the_script_is_that_of_the_machine() {
    let lab = lab();
    let query = format!("mac={MAC}");
    let _ = lab.respond(&request(Method::Get, "/boot", &query));
    assert_eq!(lab.boots().as_deref(), Some("menu"));
    lab.assign("tool");
    let _ = lab.respond(&request(Method::Get, "/boot", &query));
    assert_eq!(lab.boots().as_deref(), Some("tool"));
    lab.assign("local");
    let _ = lab.respond(&request(Method::Get, "/boot", &query));
    assert_eq!(lab.boots().as_deref(), Some("local"));
}

#[test]
fn a_machine_that_says_nothing_is_known_by_its_address() {
    let lab = lab();
    lab.assign("tool");
    let _ = lab.respond(&request(Method::Get, "/autoexec.ipxe", ""));
    let event = lab.events.try_recv().unwrap();
    assert_eq!(event.mac, MAC.parse().ok());
    assert_eq!(event.ip, "10.0.0.5".parse().ok());
    assert!(matches!(event.what, What::Script { boots, .. } if &*boots == "tool"));

    let mut stranger = request(Method::Get, "/autoexec.ipxe", "");
    stranger.client = "10.0.0.6:4711".parse().unwrap();
    let response = lab.respond(&stranger);
    assert!(
        body(&response).contains("${netX/mac"),
        "{}",
        body(&response)
    );
    let event = lab.events.try_recv().unwrap();
    assert_eq!(event.mac, None);
}

#[test]
fn what_dhcp_told_completes_what_the_script_is_asked_with() {
    let lab = lab();
    let asks = |query: &str| lab.pages.facts(&request(Method::Get, "/boot", query));
    for query in ["", &format!("mac={MAC}&serial=7")] {
        let facts = asks(query);
        assert_eq!(facts.mac, MAC.parse().ok(), "{query}");
        assert_eq!(facts.relay, "10.9.0.1".parse().ok(), "{query}");
        assert_eq!(facts.circuit_id.as_deref(), Some("Gi1/0/7"), "{query}");
        assert_eq!(facts.arch(), Some(ClientArch(7)), "{query}");
    }
    let other = asks("mac=52:54:00:00:00:02");
    assert_eq!((other.relay, other.arch()), (None, None));
}

#[test]
fn what_the_machine_says_goes_before_what_was_seen() {
    let lab = lab();
    lab.assign("tool");
    let other = request(Method::Get, "/boot", "mac=52:54:00:00:00:99");
    let _ = lab.respond(&other);
    let event = lab.events.try_recv().unwrap();
    assert_eq!(event.mac, "52:54:00:00:00:99".parse().ok());
    assert!(matches!(event.what, What::Script { boots, .. } if &*boots == "menu"));
}

#[test]
fn a_look_by_head_is_no_boot() {
    let lab = lab();
    let response = lab.respond(&request(Method::Head, "/boot", ""));
    assert_eq!(response.status, 200);
    assert!(lab.events.try_recv().is_err());
}

#[test]
fn the_ca_comes_as_pem_and_as_der() {
    let lab = lab();
    let pem = lab.respond(&request(Method::Get, "/ca.crt", ""));
    assert_eq!(pem.content_type, "application/x-pem-file");
    assert!(body(&pem).starts_with("-----BEGIN CERTIFICATE-----\n"));
    let der = lab.respond(&request(Method::Get, "/ca.der", ""));
    assert_eq!(der.content_type, "application/pkix-cert");
    let identity = lab.pages.authority.identity();
    assert_eq!(der.body, identity.chain[1].to_vec());
}

#[test]
fn ipxe_is_told_an_error_as_a_script() {
    let lab = lab();
    for (method, path, query, status, code) in [
        (
            Method::Get,
            "/nothing\n#!ipxe\nreboot",
            "",
            404,
            "boot.unknown-path",
        ),
        (Method::Post, "/ca.crt", "", 405, "boot.wrong-method"),
        (
            Method::Get,
            "/boot/report",
            "state=%0aexit",
            400,
            "boot.bad-report",
        ),
    ] {
        let mut asked = request(method, path, query);
        let script = lab.respond(&asked);
        assert_eq!(script.status, 200);
        assert!(body(&script).starts_with("#!ipxe\n"), "{}", body(&script));
        assert!(body(&script).contains(code), "{}", body(&script));
        assert!(!body(&script).contains("\nreboot"), "{}", body(&script));
        let event = lab.events.try_recv().unwrap();
        assert!(matches!(event.what, What::Refused { reason, .. } if reason.code == code));

        asked.user_agent = "curl/8".to_owned();
        let plain = lab.respond(&asked);
        assert_eq!(plain.status, status);
        assert!(body(&plain).starts_with(code), "{}", body(&plain));
        assert_eq!(body(&plain).lines().count(), 1, "{}", body(&plain));
        let _ = lab.events.try_recv();
    }
}

#[test]
fn the_script_of_an_error_waits_and_goes_on_to_the_next_device() {
    let lab = lab();
    let response = lab.respond(&request(Method::Get, "/nothing", ""));
    insta::assert_snapshot!(body(&response));
}

#[test]
fn the_menu_is_written_for_the_host_that_was_asked() {
    let lab = lab();
    let mut asked = request(Method::Get, "/boot", &format!("mac={MAC}&arch=7"));
    asked.host = "Boot.Test:8050".to_owned();
    asked.secure = true;
    let response = lab.respond(&asked);
    insta::assert_snapshot!(body(&response));
}

#[test]
fn browsers_and_firmware_get_a_short_text() {
    let lab = lab();
    for agent in ["UefiHttpBoot/1.0", "Mozilla/5.0", ""] {
        let mut asked = request(Method::Get, "/", "");
        asked.user_agent = agent.to_owned();
        let response = lab.respond(&asked);
        assert!(body(&response).starts_with("bootstorm "), "{agent}");
        assert!(lab.events.try_recv().is_err());
    }
}

#[test]
fn a_full_queue_of_events_holds_nobody_up() {
    let lab = lab();
    for _ in 0..20 {
        let response = lab.respond(&request(Method::Get, "/boot", ""));
        assert_eq!(response.status, 200);
    }
    assert_eq!(lab.pages.metrics.planes.events_dropped.get(), 12);
}

#[test]
fn a_hostile_form_ends_in_a_script() {
    let lab = lab();
    let mut post = request(Method::Post, "/boot", "mac=zz&uuid=%%%&arch=99999999");
    post.body = (0..=255_u8).cycle().take(60_000).collect();
    post.host = "a\r\nb".to_owned();
    let response = lab.respond(&post);
    assert!(body(&response).starts_with("#!ipxe\n"));
    assert!(!body(&response).contains('\r'));
}

/// Lets machines in after so many questions.
#[derive(Debug)]
struct Door(std::sync::atomic::AtomicUsize);

impl Admission for Door {
    fn ask(&self, machine: IpAddr) -> Option<Place> {
        use std::sync::atomic::Ordering::Relaxed;
        assert_eq!(machine, IpAddr::from([10, 0, 0, 5]));
        let left = self
            .0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.ok().map(|number| Place {
            number,
            of: 40,
            about: Some(Duration::from_secs(130)),
        })
    }
}

fn lab_with_door(questions: usize) -> Lab {
    let mut lab = lab();
    let door = Arc::new(Door(questions.into()));
    lab.pages = lab.pages.admitted_by(door);
    lab
}

#[test]
fn a_machine_beyond_the_cap_waits_by_script_and_then_boots() {
    let lab = lab_with_door(2);
    lab.assign("tool");
    let query = format!("mac={MAC}&arch=7");
    let ask = || lab.respond(&request(Method::Get, "/boot", &query));
    for number in [2, 1] {
        let response = ask();
        assert_eq!(response.status, 200);
        let script = body(&response);
        assert!(script.starts_with("#!ipxe\n"));
        let shown = format!(
            "[pacing.queued] Other machines are being fed: place {number} of 40, about 3 minutes."
        );
        assert!(script.contains(&shown), "{script}");
        assert!(script.contains("chain --replace --autofree http://10.0.0.9:8080/boot"));
        let event = lab.events.try_recv().unwrap();
        assert!(matches!(event.what, What::Queued { place, of: 40 } if place == number));
        assert_eq!(event.mac, MAC.parse().ok());
    }
    assert!(body(&ask()).contains("/images/tool.efi"));
    assert_eq!(lab.boots().as_deref(), Some("tool"));
}

#[test]
fn whoever_fetches_nothing_large_by_itself_is_not_asked_to_wait() {
    let lab = lab_with_door(9);
    let get = |query: &str| lab.respond(&request(Method::Get, "/boot", query));
    let query = format!("mac={MAC}");
    assert!(body(&get(&query)).contains("menu"), "a person chooses");
    lab.assign("local");
    assert!(!body(&get(&query)).contains("pacing"));
    lab.assign("tool");
    let mut browser = request(Method::Get, "/boot", &query);
    browser.user_agent = "Mozilla/5.0".to_owned();
    assert!(!body(&lab.respond(&browser)).contains("pacing"));
    assert!(body(&get(&query)).contains("pacing.queued"));
}
