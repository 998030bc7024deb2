use bootstorm_catalog::Catalog;
use bootstorm_config::Config;
use bootstorm_policy::{Identity, Ports, Rules};
use bootstorm_proto::dhcp::{Asker, ClientFacts};
use bootstorm_proto::types::ClientArch;
use bootstorm_store::Location;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::Sender;
use tempfile::TempDir;

use super::*;

const MAC: MacAddress = MacAddress::new([0x52, 0x54, 0, 0, 0, 1]);

/// A server whose database another one uses, too.
struct Scene {
    machines: Arc<Machines>,
    policy: Arc<Policy>,
    theirs: Store,
    _data: TempDir,
}

async fn scene() -> Scene {
    let data = TempDir::new().unwrap();
    let location = Location::in_folder(data.path());
    let store = Store::open(&location).await.unwrap();
    let watch = store.watch().await.unwrap();
    let spool = Arc::new(Spool::open(&data.path().join("spool.jsonl")).unwrap());
    let rules = Rules::from(&Config::for_user());
    let policy = Policy::new(rules, Ports::default(), Arc::new(Catalog::default()));
    let policy = Arc::new(policy);
    let machines = Machines::open(store, spool, Arc::clone(&policy), Boots::new(3));
    let machines = Arc::new(machines.await.unwrap());
    let (events, _) = crossbeam_channel::bounded(8);
    let requests = Arc::new(Approvals::new(
        machines.store.clone(),
        Arc::clone(&policy),
        Arc::clone(&machines),
        Duration::from_secs(60),
        events,
        Arc::default(),
    ));
    tokio::spawn(Arc::clone(&machines).follow_others(watch, requests));
    Scene {
        machines,
        policy,
        theirs: Store::open(&location).await.unwrap(),
        _data: data,
    }
}

impl Scene {
    /// Waits until decisions are made from such a machine, or from none.
    async fn until(&self, is_so: impl Fn(Option<&Machine>) -> bool) {
        let identity = Identity {
            mac: Some(MAC),
            ..Identity::default()
        };
        for _ in 0..1200 {
            if is_so(self.policy.machines().find(&identity).as_deref()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never is so");
    }

    fn hears(&self) -> (Sender<BootEvent>, Clients) {
        let (events, receiver) = crossbeam_channel::bounded(10);
        let clients = Clients::start(receiver, Arc::new(Metrics::new()), Vec::new()).unwrap();
        tokio::spawn(Arc::clone(&self.machines).follow(&clients));
        (events, clients)
    }
}

#[tokio::test]
async fn what_another_server_says_of_a_machine_holds_here() {
    let scene = scene().await;
    let boot = [Edit::Boot(Some("local".to_owned()))];
    let key = Key::Mac(MAC);
    scene.theirs.change(&key, &boot).await.unwrap();
    scene
        .until(|m| m.is_some_and(|m| m.boot.as_deref() == Some("local")))
        .await;
    assert!(scene.machines.known().borrow().contains(&MAC));
    let moved = [
        Edit::AddMac(MacAddress::new([2, 0, 0, 0, 0, 9])),
        Edit::RemoveMac(MAC),
    ];
    scene.theirs.change(&key, &moved).await.unwrap();
    scene.until(|m| m.is_none()).await;
}

#[tokio::test]
async fn a_machine_that_boots_first_is_known_to_decisions() {
    let scene = scene().await;
    let (events, _clients) = scene.hears();
    let event = BootEvent {
        at: std::time::SystemTime::now(),
        mac: Some(MAC),
        ip: None,
        what: What::Script {
            boots: "debian".into(),
            because: None,
            boot: None,
        },
    };
    events.send(event).unwrap();
    scene.until(|m| m.is_some_and(|m| m.known)).await;
    assert_eq!(scene.machines.spool.waiting(), 0);
}

#[tokio::test]
async fn machines_that_share_a_vendors_guid_stay_several() {
    let scene = scene().await;
    let (events, _clients) = scene.hears();
    let others = MacAddress::new([0x52, 0x54, 0, 0, 0, 2]);
    for mac in [MAC, others] {
        let local = std::net::IpAddr::from([10, 0, 0, 1]);
        let facts = ClientFacts {
            guid: "03000200-0400-0500-0006-000700080009".parse().ok(),
            ..ClientFacts::new(mac.into(), Asker::Firmware, ClientArch(7), local)
        };
        let event = BootEvent {
            at: std::time::SystemTime::now(),
            mac: Some(mac),
            ip: None,
            what: What::Asked {
                facts: Arc::new(facts),
            },
        };
        events.send(event).unwrap();
    }
    let mut noted = Vec::new();
    for _ in 0..1200 {
        let filter = Filter::default();
        noted = scene.machines.page(&filter, None, 10).await.unwrap();
        if noted.iter().flat_map(|m| &m.macs).count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut macs: Vec<_> = noted.iter().map(|m| m.macs.clone()).collect();
    macs.sort();
    assert_eq!(macs, [[MAC], [others]]);
    assert!(noted.iter().all(|m| m.guid.is_none()), "{noted:?}");
}

/// 30,000 a minute for two minutes, none of which ever gets anything.
#[tokio::test]
async fn made_up_machines_leave_every_table_bounded() {
    let scene = scene().await;
    let mut seen = Seen::default();
    for batch in 0..4_u8 {
        let asked = (0..15_000_u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            let mac = MacAddress::new([2, 0, 0, batch, high, low]);
            let local = std::net::IpAddr::from([10, 0, 0, 1]);
            let facts = ClientFacts::new(mac.into(), Asker::Firmware, ClientArch(7), local);
            let facts = Arc::new(facts);
            let _ = scene.policy.dhcp(&facts);
            scene.machines.told(Sighting {
                mac: Some(mac),
                guid: None,
                arch: None,
                hardware: Hardware::default(),
                phase: "script".to_owned(),
                has_booted: false,
                at: SystemTime::now(),
            });
            BootEvent {
                at: SystemTime::now(),
                mac: Some(mac),
                ip: None,
                what: What::Asked { facts },
            }
        });
        let clients = Clients::feed(asked);
        for client in clients.page(None, usize::MAX - 1, None).clients {
            scene.machines.take_note(&mut seen, &client);
        }
    }
    assert_eq!(seen.all().len(), seen::SEEN_MAX);
    let told = scene.machines.told.lock().unwrap().len();
    assert_eq!(told, TOLD_MAX);
    assert!(scene.machines.known().borrow().is_empty());
    assert!(scene.machines.held.lock().await.machines.is_empty());
}
