//! Files that are made for the machine that asks.

use bootstorm_catalog::{File, Mapping};
use bootstorm_telemetry::event::Reason;
use crossbeam_channel::Sender;

use super::*;
use crate::driver::Arrival;
use crate::handoff::{FileQuestion, FileTicket, MadeFile};
use crate::limits;

/// Makes whatever is called a BCD.
struct Bcds;

impl Decide for Bcds {
    fn dhcp(&self, client: &ClientFacts) -> Answer {
        Bios.dhcp(client)
    }

    fn makes(&self, name: &str) -> bool {
        name.ends_with("BCD")
    }
}

/// A worker, and whoever makes files.
struct Workshop {
    lab: Lab,
    questions: Receiver<FileQuestion>,
    made: Sender<(FileTicket, MadeFile)>,
    heard: Rc<RefCell<Vec<Vec<u8>>>>,
}

/// A machine that takes what comes and says nothing.
struct Ears(Rc<RefCell<Vec<Vec<u8>>>>);

impl Host for Ears {
    fn receive(&mut self, _: SocketAddr, packet: &[u8], _: Instant, _: &mut Outbox) {
        self.0.borrow_mut().push(packet.to_vec());
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn timeout(&mut self, _: Instant, _: &mut Outbox) {}
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

fn workshop(places: usize) -> Workshop {
    let mut lab = lab(41, CALM, 10, None);
    let (ask, questions) = bounded(places);
    let (made, inbox) = bounded(limits::MADE_FILES);
    let settings = Settings {
        max_window: 64u32.try_into().unwrap(),
        max_block: 1468u32.try_into().unwrap(),
        rollover: Rollover::Zero,
        max_per_client: 100,
        ports: None,
    };
    let (requests, _) = lab.worker.roles[0];
    let (reporter, now) = (lab.worker.reporter.clone(), lab.now());
    let catalog = Arc::new(Catalog::default());
    let tftp = TftpService::new(settings, &[(requests, server())], catalog, reporter, now);
    lab.worker.tftp = tftp.asking(0, Arc::new(Bcds), Some(ask));
    lab.worker.files = inbox;
    let heard = Rc::default();
    let ears = Ears(Rc::clone(&heard));
    lab.worker.driver.add_host(host(9, 2070), Box::new(ears));
    Workshop {
        lab,
        questions,
        made,
        heard,
    }
}

fn bcd() -> MadeFile {
    Ok(Arc::new(File {
        path: "Boot/BCD".into(),
        content: Mapping::of_bytes(b"for this machine").unwrap(),
        sha256: [0; 32],
        modified: std::time::SystemTime::UNIX_EPOCH,
    }))
}

impl Workshop {
    fn ask_from(&mut self, source: SocketAddr, name: &str) {
        let arrival = Arrival {
            source,
            local: server().ip(),
            interface: 1,
            broadcast: false,
        };
        let packet = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
        let (socket, _) = self.lab.worker.roles[0];
        let now = self.lab.now();
        let worker = &mut self.lab.worker;
        worker
            .tftp
            .received(&mut worker.driver, socket, arrival, &packet, now);
    }

    fn ask(&mut self, name: &str) {
        self.ask_from(host(9, 2070), name);
    }

    fn tickets(&self) -> Vec<FileTicket> {
        self.questions.try_iter().map(|q| q.ticket).collect()
    }

    fn make(&mut self, ticket: FileTicket, file: MadeFile) {
        self.made.send((ticket, file)).unwrap();
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

    /// What the machine has heard since the last look.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        self.pass(Duration::from_millis(1));
        self.heard.take()
    }

    fn refusals(&self, code: &str) -> u64 {
        let text = self.lab.metrics.encode();
        let sample = format!("bootstorm_tftp_refused_total{{reason=\"{code}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&sample));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

#[test]
fn a_file_is_asked_for_once_and_sent_when_it_is_made() {
    let mut shop = workshop(10);
    shop.ask("\\Boot\\BCD");
    shop.ask("\\Boot\\BCD");
    shop.pass(Duration::from_secs(5));
    assert!(shop.heard().is_empty());
    let question = shop.questions.try_recv().unwrap();
    assert_eq!(&*question.name, "\\Boot\\BCD");
    assert_eq!(question.client, host(9, 0).ip());
    assert!(shop.questions.is_empty());
    shop.make(question.ticket, bcd());
    assert_eq!(shop.heard(), [b"\0\x03\0\x01for this machine"]);
    // The answer goes to one request only.
    let active = shop.lab.worker.tftp.active();
    shop.make(question.ticket, bcd());
    assert_eq!((active, shop.lab.worker.tftp.active()), (1, 1));
}

#[test]
fn why_a_machine_gets_no_file_is_told_on_its_screen() {
    let mut shop = workshop(10);
    shop.ask("BCD");
    let ticket = shop.tickets()[0];
    let reason = Reason {
        code: "windows.no-image",
        text: "it boots nothing of Windows".into(),
    };
    shop.make(ticket, Err(reason));
    assert_eq!(shop.heard(), [b"\0\x05\0\x01it boots nothing of Windows\0"]);
    assert_eq!(shop.refusals("windows.no-image"), 1);
}

#[test]
fn a_machine_waits_for_one_file_at_a_time() {
    let mut shop = workshop(10);
    shop.ask("BCD");
    shop.ask_from(host(7, 2070), "BCD");
    shop.ask("\\Boot\\BCD");
    let tickets = shop.tickets();
    assert_eq!(tickets.len(), 3);
    shop.make(tickets[0], bcd());
    assert!(shop.heard().is_empty());
    shop.make(tickets[2], bcd());
    assert_eq!(shop.heard().len(), 1);
}

#[test]
fn a_file_that_nobody_makes_is_given_up() {
    let mut shop = workshop(10);
    shop.ask("BCD");
    shop.pass(limits::WAITS_FOR_FILE - Duration::from_millis(1));
    assert!(shop.heard.borrow().is_empty());
    shop.pass(Duration::from_millis(2));
    let told = shop.heard();
    assert!(told.len() == 1 && told[0].starts_with(b"\0\x05\0\0"));
    assert_eq!(shop.refusals("tftp.not-made"), 1);
    assert_eq!(shop.lab.worker.next_timeout(), None);
    let ticket = shop.tickets()[0];
    shop.make(ticket, bcd());
    assert_eq!(shop.lab.worker.tftp.active(), 0);
}

#[test]
fn winboot_02_what_need_not_be_there_is_refused_at_once_and_nobody_is_asked() {
    let mut shop = workshop(10);
    for name in [
        "\\EFI\\Microsoft\\Boot\\SiPolicy.p7b",
        "\\Boot\\en-US\\bootmgfw.efi.mui",
        "\\Boot\\resources\\bootres.dll",
        "\\hiberfil.sys",
    ] {
        shop.ask(name);
        let told = shop.heard();
        assert!(told.len() == 1 && told[0].starts_with(b"\0\x05\0\x01"));
    }
    assert_eq!(shop.refusals("tftp.not-found"), 4);
    assert!(shop.questions.is_empty());
}

#[test]
fn no_more_wait_than_may() {
    let mut shop = workshop(2 * limits::WAITING_FILES);
    for number in 0..limits::WAITING_FILES + 10 {
        let [.., high, low] = number.to_be_bytes();
        shop.ask_from(SocketAddr::from(([10, 9, high, low], 2070)), "BCD");
    }
    assert_eq!(shop.refusals("tftp.busy"), 10);
    assert_eq!(shop.tickets().len(), limits::WAITING_FILES);

    let mut full = workshop(1);
    full.ask_from(host(7, 2070), "BCD");
    full.ask("BCD");
    assert_eq!(full.refusals("tftp.busy"), 1);

    let mut gone = workshop(1);
    gone.questions = bounded(1).1;
    gone.ask("BCD");
    assert_eq!(gone.refusals("tftp.not-found"), 1);
}

#[test]
fn draining_does_not_wait_for_files() {
    let mut shop = workshop(10);
    shop.ask("BCD");
    shop.lab.worker.control.drain();
    shop.pass(Duration::from_millis(1));
    assert!(shop.lab.worker.control.is_drained());
    let ticket = shop.tickets()[0];
    shop.make(ticket, bcd());
    assert_eq!(shop.lab.worker.tftp.active(), 0);
}
