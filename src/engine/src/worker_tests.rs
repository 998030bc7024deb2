//! The whole worker in the simulated network.

#[path = "worker_tests/cold.rs"]
mod cold;
#[path = "worker_tests/large.rs"]
mod large;
#[path = "worker_tests/making.rs"]
mod making;
#[path = "worker_tests/paced.rs"]
mod paced;
#[path = "worker_tests/parked.rs"]
mod parked;
#[path = "worker_tests/strangers.rs"]
mod strangers;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_catalog::{Catalog, Snapshot};
use bootstorm_proto::dhcp::{Answer, ClientFacts, Port, Style};
use bootstorm_proto::tftp::Rollover;
use bootstorm_telemetry::event::{BootEvent, What};
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, bounded};

use super::{Control, Role, Worker};
use crate::config::Seams;
use crate::dhcp_service::{DhcpService, Scope};
use crate::driver::sim::{Host, Outbox, Sim, Weather, host};
use crate::driver::{ListenerId, tests::file};
use crate::gate::{Gate, GateSettings};
use crate::handoff::Decide;
use crate::http_service::{HttpService, ListenerKind};
use crate::pacing::Pacing;
use crate::report::Reporter;
use crate::strangers::Strangers;
use crate::tftp_service::{Settings, TftpService};

const CALM: Weather = Weather {
    loss: 0,
    twice: 0,
    late: 0,
    delay: Duration::from_micros(200),
};

struct Bios;

impl Decide for Bios {
    fn dhcp(&self, _: &ClientFacts) -> Answer {
        Answer::Boot {
            file: "undionly.kpxe".into(),
            server: None,
            delay: 0,
            windows: None,
        }
    }
}

fn server() -> SocketAddr {
    host(1, 69)
}

struct Lab {
    worker: Worker<Sim>,
    events: Receiver<BootEvent>,
    content: Vec<u8>,
    metrics: Arc<Metrics>,
    pacing: Arc<Pacing>,
    gate: Arc<GateSettings>,
}

fn lab(seed: u64, weather: Weather, length: usize, ports: Option<Vec<u16>>) -> Lab {
    let file = file(length);
    let content = file.content.to_vec();
    let catalog = Arc::new(Catalog::default());
    catalog.publish(Snapshot::new([file], Vec::new()));
    let (events, seen) = bounded(100_000);
    let (asks, _) = bounded(1);
    let metrics = Arc::new(Metrics::new());
    let seams = Seams {
        catalog: Arc::clone(&catalog),
        decide: Arc::new(Bios),
        asks,
        questions: None,
        files: None,
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        tls: None,
    };
    let mut driver = Sim::new(seed, weather);
    let requests = driver.attach(server());
    let pxe = driver.attach(host(1, 4011));
    let (_, answers) = bounded(1);
    let (_, decided) = bounded(1);
    let (_, files) = bounded(1);
    let settings = Settings {
        max_window: 64u32.try_into().unwrap(),
        max_block: 1468u32.try_into().unwrap(),
        rollover: Rollover::Zero,
        max_per_client: 100,
        ports,
    };
    let reporter = Reporter::new(events, Arc::clone(&metrics));
    let now = crate::driver::Driver::now(&driver);
    let sockets = [(requests, server())];
    let pacing = Pacing::unlimited(&metrics);
    let gate = Arc::new(GateSettings::new(1));
    let tftp = TftpService::new(settings, &sockets, catalog, reporter.clone(), now);
    let worker = Worker {
        driver,
        roles: vec![
            (requests, Role::Tftp(Scope::default())),
            (pxe, Role::Dhcp(Port::Pxe4011, Scope::default())),
        ],
        listeners: vec![(ListenerId(0), ListenerKind::Http)],
        answers,
        decided,
        files,
        gate: Gate::new(&gate, 0),
        reporter: reporter.clone(),
        strangers: Strangers::default(),
        dhcp: DhcpService::new(Style::default(), Arc::new(Bios), reporter),
        tftp: tftp.paced(Arc::clone(&pacing)),
        http: HttpService::new(0, seams),
        control: Arc::new(Control::default()),
        draining: false,
        scratch: Vec::new(),
    };
    Lab {
        worker,
        events: seen,
        content,
        metrics,
        pacing,
        gate,
    }
}

/// What a machine has fetched so far.
#[derive(Default)]
struct Fetched {
    content: Vec<u8>,
    done: Option<Instant>,
    from: HashSet<SocketAddr>,
}

/// A TFTP client that asks again when it hears nothing.
struct Machine {
    window: u16,
    block: usize,
    expected: u16,
    unacknowledged: u16,
    begun: bool,
    peer: Option<SocketAddr>,
    ask_at: Option<Instant>,
    patience: Duration,
    /// Vanishes after so many blocks.
    blocks_left: u32,
    double_acks: bool,
    /// Sends an ERROR when it has heard nothing for so long.
    gives_up_after: Option<Duration>,
    fetched: Rc<RefCell<Fetched>>,
}

impl Machine {
    fn new(start: Instant, window: u16) -> (Self, Rc<RefCell<Fetched>>) {
        let fetched = Rc::new(RefCell::new(Fetched::default()));
        let machine = Self {
            window,
            block: 1468,
            expected: 1,
            unacknowledged: 0,
            begun: false,
            peer: None,
            ask_at: Some(start),
            patience: Duration::from_secs(1),
            blocks_left: u32::MAX,
            double_acks: false,
            gives_up_after: None,
            fetched: Rc::clone(&fetched),
        };
        (machine, fetched)
    }

    fn acknowledge(&mut self, number: u16, out: &mut Outbox) {
        let Some(peer) = self.peer else { return };
        let [high, low] = number.to_be_bytes();
        for _ in 0..if self.double_acks { 2 } else { 1 } {
            out.push((peer, vec![0, 4, high, low]));
        }
        self.unacknowledged = 0;
    }
}

impl Host for Machine {
    fn receive(&mut self, from: SocketAddr, bytes: &[u8], now: Instant, out: &mut Outbox) {
        if self.blocks_left == 0 || self.peer.is_some_and(|peer| peer != from) {
            return;
        }
        self.ask_at = Some(now + self.gives_up_after.unwrap_or(self.patience));
        match bytes {
            [0, 6, ..] => {
                self.peer = Some(from);
                if !self.begun {
                    self.acknowledge(0, out);
                }
            }
            [0, 3, high, low, data @ ..] => {
                let number = u16::from_be_bytes([*high, *low]);
                self.begun = true;
                if number != self.expected {
                    // Only the first surprise of a window is worth a word (RFC 7440).
                    if self.unacknowledged > 0 || number == self.expected.wrapping_add(1) {
                        self.acknowledge(self.expected.wrapping_sub(1), out);
                    }
                    return;
                }
                self.blocks_left -= 1;
                self.expected = number.wrapping_add(1);
                self.unacknowledged += 1;
                let last = data.len() < self.block;
                let mut fetched = self.fetched.borrow_mut();
                fetched.content.extend(data);
                fetched.from.insert(from);
                if last {
                    fetched.done = Some(now);
                    self.ask_at = None;
                }
                drop(fetched);
                if last || self.unacknowledged == self.window {
                    self.acknowledge(number, out);
                }
            }
            // A late copy of our last word meets no transfer any more.
            [0, 5, 0, 5, ..] if self.fetched.borrow().done.is_some() => {}
            other => panic!("{other:?}"),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.ask_at
    }

    fn timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.ask_at = Some(now + self.patience);
        if self.blocks_left == 0 {
            self.ask_at = None;
        } else if let (true, Some(peer), Some(_)) = (self.begun, self.peer, self.gives_up_after) {
            self.ask_at = None;
            out.push((peer, b"\0\x05\0\0enough\0".to_vec()));
        } else if self.begun {
            self.acknowledge(self.expected.wrapping_sub(1), out);
        } else if self.peer.is_some() {
            self.acknowledge(0, out);
        } else {
            let mut packet = b"\0\x01test.bin\0octet\0blksize\x001468\0windowsize\0".to_vec();
            packet.extend(self.window.to_string().bytes().chain([0]));
            out.push((server(), packet));
        }
    }
}

impl Lab {
    fn now(&self) -> Instant {
        crate::driver::Driver::now(&self.worker.driver)
    }

    fn add(&mut self, last: u8, machine: Machine) {
        self.worker
            .driver
            .add_host(host(last, 2070), Box::new(machine));
    }

    /// Lets time pass until nothing is under way, at most ten minutes of it.
    fn settle(&mut self, busy: impl Fn() -> bool) {
        let end = self.now() + Duration::from_secs(600);
        while busy() || self.worker.tftp.active() > 0 {
            self.worker.turn().unwrap();
            assert!(self.now() < end, "still under way after ten minutes");
        }
    }

    fn count(&self, fits: impl Fn(&What) -> bool) -> usize {
        self.events.try_iter().filter(|e| fits(&e.what)).count()
    }
}

fn weather(loss: u32) -> Weather {
    Weather {
        loss,
        twice: 5,
        late: 5,
        ..CALM
    }
}

#[test]
fn a_transfer_survives_loss_doubles_and_reordering() {
    for (seed, window, loss) in [
        (1, 1, 10),
        (2, 4, 10),
        (3, 16, 10),
        (4, 64, 10),
        (5, 16, 50),
    ] {
        let mut lab = lab(seed, weather(loss), 1_000_000, Some(vec![64001, 64002]));
        let (machine, fetched) = Machine::new(lab.now(), window);
        lab.add(9, machine);
        lab.settle(|| fetched.borrow().done.is_none());
        assert!(fetched.borrow().content == lab.content, "seed {seed}");
        assert_eq!(fetched.borrow().from.len(), 1);
        let needed = lab.content.len() / 1468 + 1;
        let ratio = lab.worker.driver.sent as f64 / needed as f64;
        let most = if loss > 10 { 2.0 } else { 1.35 };
        assert!(ratio < most, "seed {seed}: {ratio}");
    }
}

#[test]
fn doubled_acknowledgements_do_not_double_the_data() {
    for window in [1, 16] {
        let mut lab = lab(7, weather(10), 1_000_000, Some(vec![64001]));
        let (mut machine, fetched) = Machine::new(lab.now(), window);
        machine.double_acks = true;
        lab.add(9, machine);
        lab.settle(|| fetched.borrow().done.is_none());
        let needed = lab.content.len() / 1468 + 1;
        let ratio = lab.worker.driver.sent as f64 / needed as f64;
        assert!(ratio < 1.35, "window {window}: {ratio}");
    }
}

#[test]
fn many_machines_share_a_worker_and_its_ports() {
    let mut lab = lab(11, weather(10), 150_000, Some((64001..=64010).collect()));
    let start = lab.now();
    let fetched: Vec<_> = (0..100u8)
        .map(|number| {
            let (machine, fetched) = Machine::new(start, 16);
            lab.add(100 + number, machine);
            fetched
        })
        .collect();
    lab.settle(|| fetched.iter().any(|f| f.borrow().done.is_none()));
    assert!(fetched.iter().all(|f| f.borrow().content == lab.content));
    let ports: HashSet<_> = fetched
        .iter()
        .flat_map(|f| f.borrow().from.clone())
        .collect();
    assert_eq!(ports.len(), 10);
    assert_eq!(lab.count(|what| matches!(what, What::Finished { .. })), 100);
}

#[test]
fn one_port_is_enough_for_many_machines() {
    let mut lab = lab(12, weather(10), 150_000, None);
    let start = lab.now();
    let fetched: Vec<_> = (0..50u8)
        .map(|number| {
            let (machine, fetched) = Machine::new(start, 4);
            lab.add(100 + number, machine);
            fetched
        })
        .collect();
    lab.settle(|| fetched.iter().any(|f| f.borrow().done.is_none()));
    assert!(fetched.iter().all(|f| f.borrow().content == lab.content));
    assert!(
        fetched
            .iter()
            .all(|f| f.borrow().from.iter().eq([&server()]))
    );
}

#[test]
fn a_machine_that_vanishes_costs_nothing_after_its_time_out() {
    let mut lab = lab(13, CALM, 1_000_000, Some(vec![64001]));
    let (mut machine, _) = Machine::new(lab.now(), 16);
    machine.blocks_left = 100;
    lab.add(9, machine);
    lab.worker.turn().unwrap();
    lab.settle(|| false);
    assert_eq!(lab.worker.tftp.next_timeout(), None);
    assert_eq!(lab.worker.next_timeout(), None);
    let broken = lab.events.try_iter().find_map(|event| match event.what {
        What::Broken { reason, bytes, .. } => Some((reason.code, bytes)),
        _ => None,
    });
    // Whole windows only are acknowledged.
    assert_eq!(broken, Some(("tftp.timed-out", 96 * 1468)));
}

#[test]
fn rubbish_is_answered_or_dropped_and_leaves_nothing_behind() {
    struct Rubbish(u64, Option<Instant>);
    impl Host for Rubbish {
        fn receive(&mut self, _: SocketAddr, _: &[u8], _: Instant, _: &mut Outbox) {}
        fn next_timeout(&self) -> Option<Instant> {
            self.1
        }
        fn timeout(&mut self, now: Instant, out: &mut Outbox) {
            let mut next = || {
                self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
                (self.0 >> 33) as u8
            };
            for port in [69, 4011, 64001] {
                let length = usize::from(next()) * 2;
                let mut packet: Vec<u8> = (0..length).map(|_| next()).collect();
                if let [a, b, ..] = &mut packet[..] {
                    (*a, *b) = (0, next() % 8);
                }
                out.push((host(1, port), packet));
            }
            self.1 = Some(now + Duration::from_millis(1)).filter(|_| self.0 & 0xfff0_0000 != 0);
        }
    }
    let mut lab = lab(14, CALM, 1000, Some(vec![64001]));
    let start = lab.now();
    let rubbish = Rubbish(1, Some(start));
    lab.worker
        .driver
        .add_host(host(66, 2070), Box::new(rubbish));
    let (machine, fetched) = Machine::new(start, 1);
    lab.add(9, machine);
    while lab.now() < start + Duration::from_secs(30) && lab.worker.driver.has_more() {
        lab.worker.turn().unwrap();
    }
    assert!(fetched.borrow().content == lab.content);
    assert_eq!(lab.worker.tftp.active(), 0);
}

#[test]
fn a_connection_is_served_beside_the_datagrams() {
    let mut lab = lab(15, CALM, 5000, Some(vec![64001]));
    let driver = &mut lab.worker.driver;
    driver.connect(ListenerId(0), host(9, 3000), host(1, 8080));
    driver.stream(0, b"GET /images/test.bin HTTP/1.0\r\n\r\n");
    while lab.worker.driver.is_open(0) {
        lab.worker.turn().unwrap();
    }
    let response = &lab.worker.driver.written[&0];
    assert!(response.starts_with(b"HTTP/1.1 200"));
    assert!(response.ends_with(&lab.content));
}
