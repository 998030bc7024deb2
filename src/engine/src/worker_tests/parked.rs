//! Requests that wait for decisions.

use std::sync::atomic::{AtomicBool, Ordering};

use bootstorm_proto::types::MacAddress;
use crossbeam_channel::Sender;

use super::*;
use crate::driver::Arrival;
use crate::handoff::{DhcpTicket, Question};
use crate::limits;

/// Decides nothing until somebody has.
#[derive(Default)]
struct Undecided(AtomicBool);

impl Decide for Undecided {
    fn dhcp(&self, client: &ClientFacts) -> Answer {
        if self.0.load(Ordering::Relaxed) {
            Bios.dhcp(client)
        } else {
            Answer::Later
        }
    }
}

/// A worker, and whoever decides.
struct Office {
    lab: Lab,
    decision: Arc<Undecided>,
    questions: Receiver<Question>,
    decided: Sender<DhcpTicket>,
    /// What the machines heard: transaction and MAC.
    heard: Rc<RefCell<Vec<(u32, MacAddress)>>>,
}

struct Ears(Rc<RefCell<Vec<(u32, MacAddress)>>>);

impl Host for Ears {
    fn receive(&mut self, _: SocketAddr, reply: &[u8], _: Instant, _: &mut Outbox) {
        let xid = u32::from_be_bytes(reply[4..8].try_into().unwrap());
        let mac = MacAddress::new(reply[28..34].try_into().unwrap());
        self.0.borrow_mut().push((xid, mac));
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn timeout(&mut self, _: Instant, _: &mut Outbox) {}
}

fn office(places: usize) -> Office {
    let mut lab = lab(31, CALM, 10, None);
    let decision = Arc::new(Undecided::default());
    let (ask, questions) = bounded(places);
    let (decided, inbox) = bounded(limits::DECISIONS);
    let reporter = lab.worker.reporter.clone();
    let decide = Arc::clone(&decision);
    lab.worker.dhcp = DhcpService::new(Style::default(), decide, reporter).asking(0, Some(ask));
    lab.worker.decided = inbox;
    let heard = Rc::default();
    let ears = Ears(Rc::clone(&heard));
    lab.worker.driver.add_host(host(9, 68), Box::new(ears));
    Office {
        lab,
        decision,
        questions,
        decided,
        heard,
    }
}

fn mac(number: usize) -> MacAddress {
    let [.., high, low] = number.to_be_bytes();
    MacAddress::new([0x52, 0x54, 0, 0, high, low])
}

impl Office {
    /// A machine asks port 4011.
    fn ask(&mut self, number: usize, xid: u32) {
        let mut packet = vec![0; 236];
        packet[..3].copy_from_slice(&[1, 1, 6]);
        packet[4..8].copy_from_slice(&xid.to_be_bytes());
        packet[28..34].copy_from_slice(&mac(number).bytes());
        packet.extend(b"\x63\x82\x53\x63\x35\x01\x03\x3c\x09PXEClient\xff");
        let arrival = Arrival {
            source: host(9, 68),
            local: host(1, 4011).ip(),
            interface: 1,
            broadcast: false,
        };
        self.lab.worker.scratch = packet;
        let (socket, _) = self.lab.worker.roles[1];
        let now = self.lab.now();
        self.lab.worker.datagram(socket, arrival, now);
        while !self.lab.worker.strangers.is_empty() {
            self.lab.worker.turn().unwrap();
        }
    }

    fn tickets(&self) -> Vec<DhcpTicket> {
        self.questions.try_iter().map(|q| q.ticket).collect()
    }

    fn decide(&mut self, tickets: &[DhcpTicket]) {
        self.decision.0.store(true, Ordering::Relaxed);
        for ticket in tickets {
            self.decided.send(*ticket).unwrap();
        }
        self.pass(Duration::from_millis(1));
        // The answers are on their way now.
        self.pass(Duration::from_millis(1));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.lab.now() + time;
        let alarm = Alarm(Some(end));
        self.lab.worker.driver.add_host(host(8, 1), Box::new(alarm));
        while self.lab.now() < end {
            self.lab.worker.turn().unwrap();
        }
    }

    fn heard(&self) -> Vec<(u32, MacAddress)> {
        self.heard.borrow().clone()
    }

    /// How many requests ended so.
    fn outcomes(&self, outcome: &str) -> u64 {
        let name = "bootstorm_dhcp_requests_total{asker=\"firmware\",";
        let sample = format!("{name}outcome=\"{outcome}\"}} ");
        self.metric(&sample)
    }

    fn parked(&self) -> u64 {
        self.metric("bootstorm_dhcp_parked ")
    }

    fn metric(&self, sample: &str) -> u64 {
        let text = self.lab.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(sample));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// Wakes the worker at that time, by a packet that says nothing.
struct Alarm(Option<Instant>);

impl Host for Alarm {
    fn receive(&mut self, _: SocketAddr, _: &[u8], _: Instant, _: &mut Outbox) {}

    fn next_timeout(&self) -> Option<Instant> {
        self.0
    }

    fn timeout(&mut self, _: Instant, out: &mut Outbox) {
        self.0 = None;
        out.push((host(1, 4011), Vec::new()));
    }
}

#[test]
fn a_machine_is_answered_when_it_is_decided() {
    let mut office = office(10);
    office.ask(1, 7);
    office.pass(Duration::from_secs(5));
    assert_eq!((office.heard(), office.parked()), (vec![], 1));
    let question = office.questions.try_recv().unwrap();
    assert_eq!(question.facts.hardware.mac(), Some(mac(1)));
    // The answer goes to one request only.
    office.decide(&[question.ticket, question.ticket]);
    assert_eq!(office.heard(), [(7, mac(1))]);
    assert_eq!((office.outcomes("ok"), office.parked()), (1, 0));
    assert_eq!(office.lab.worker.next_timeout(), None);
}

#[test]
fn a_decision_that_is_none_leaves_the_machine_alone() {
    let mut office = office(10);
    office.ask(1, 7);
    let tickets = office.tickets();
    office.decided.send(tickets[0]).unwrap();
    office.pass(Duration::from_millis(10));
    assert_eq!(
        (office.outcomes("policy.undecided"), office.parked()),
        (1, 0)
    );
    office.decide(&tickets);
    assert_eq!(office.heard(), []);
}

#[test]
fn a_newer_request_of_a_machine_takes_the_place_of_its_older_one() {
    let mut office = office(10);
    office.ask(1, 7);
    office.ask(2, 70);
    office.ask(1, 8);
    assert_eq!(office.parked(), 2);
    let tickets = office.tickets();
    assert_eq!(tickets.len(), 3);
    office.decide(&tickets);
    assert_eq!(office.heard(), [(70, mac(2)), (8, mac(1))]);
    assert_eq!(office.outcomes("policy.undecided"), 1);
    let silent = office.lab.count(|what| matches!(what, What::Silent { .. }));
    assert_eq!(silent, 1);
}

#[test]
fn who_has_waited_for_longest_goes_when_all_places_are_taken() {
    let mut office = office(2 * limits::PARKED);
    for number in 0..limits::PARKED + 10 {
        office.ask(number, 1);
    }
    assert_eq!(office.parked(), limits::PARKED as u64);
    assert_eq!(office.outcomes("policy.overloaded"), 10);
    let tickets = office.tickets();
    office.decide(&tickets);
    let heard: Vec<_> = office.heard().iter().map(|(_, mac)| *mac).collect();
    let latest: Vec<_> = (10..limits::PARKED + 10).map(mac).collect();
    assert!(heard == latest);
}

#[test]
fn a_request_that_nobody_decides_is_given_up() {
    let mut office = office(10);
    office.ask(1, 7);
    office.pass(Duration::from_secs(4));
    office.ask(2, 70);
    let almost = limits::PARKED_FOR - Duration::from_secs(4) - Duration::from_millis(1);
    office.pass(almost);
    assert_eq!(office.parked(), 2);
    office.pass(Duration::from_millis(2));
    assert_eq!(
        (office.parked(), office.outcomes("policy.undecided")),
        (1, 1)
    );
    let tickets = office.tickets();
    office.decide(&tickets);
    assert_eq!(office.heard(), [(70, mac(2))]);
}

#[test]
fn where_nobody_can_be_asked_nobody_waits() {
    let mut full = office(1);
    full.ask(1, 7);
    full.ask(2, 7);
    assert_eq!((full.parked(), full.outcomes("policy.overloaded")), (1, 1));

    let mut gone = office(1);
    gone.questions = bounded(1).1;
    gone.ask(1, 7);
    assert_eq!((gone.parked(), gone.outcomes("policy.undecided")), (0, 1));

    let mut alone = office(1);
    let reporter = alone.lab.worker.reporter.clone();
    alone.lab.worker.dhcp = DhcpService::new(Style::default(), alone.decision.clone(), reporter);
    alone.ask(1, 7);
    assert_eq!((alone.parked(), alone.outcomes("policy.undecided")), (0, 1));
}

#[test]
fn draining_does_not_wait_for_decisions() {
    let mut office = office(10);
    office.ask(1, 7);
    let tickets = office.tickets();
    office.lab.worker.control.drain();
    office.lab.worker.turn().unwrap();
    assert!(office.lab.worker.control.is_drained());
    office.decide(&tickets);
    assert_eq!((office.heard(), office.parked()), (vec![], 0));
}
