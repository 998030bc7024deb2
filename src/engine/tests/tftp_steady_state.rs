//! Once a transfer runs, a worker asks nobody for memory.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod tftp_lab;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bootstorm_ebpf_shared::{Cause, Class, Rule, Table, counter};
use bootstorm_telemetry::event::What;
use tftp_lab::{DRIVERS, Lab, ack, loopback, request};

/// Allocations of every thread but the test's own.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that is going away has no thread-locals any more.
    if !OURS.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const BLOCK: usize = 1024;
const WINDOW: u16 = 8;
const BLOCKS: usize = 4000;

struct Client {
    socket: UdpSocket,
    peer: SocketAddr,
    expected: u16,
}

impl Client {
    /// Asks for the file and takes the OACK.
    fn start(lab: &Lab) -> Self {
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let packet = request(BLOCK, WINDOW);
        socket.send_to(&packet, lab.server).unwrap();
        let mut packet = [0; BLOCK + 4];
        let (_, peer) = socket.recv_from(&mut packet).unwrap();
        assert_eq!(packet[..2], [0, 6]);
        Self {
            socket,
            peer,
            expected: 1,
        }
    }

    /// Takes one window.
    fn window(&mut self, content: &[u8]) {
        let previous = ack(self.expected - 1);
        self.socket.send_to(&previous, self.peer).unwrap();
        let mut packet = [0; BLOCK + 4];
        for _ in 0..WINDOW {
            // Late answers make the server send again: what is known is skipped.
            while packet[..4] != [&[0, 3], &self.expected.to_be_bytes()[..]].concat() {
                self.socket.recv(&mut packet).unwrap();
            }
            let begin = usize::from(self.expected - 1) * BLOCK;
            assert_eq!(packet[4..], content[begin..begin + BLOCK]);
            self.expected += 1;
        }
    }
}

fn names_in(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_transfer_under_way_allocates_nothing() {
    OURS.set(true);
    for driver in DRIVERS {
        let lab = Lab::start(driver, BLOCK * (BLOCKS + 100));
        let mut clients: Vec<_> = (0..4).map(|_| Client::start(&lab)).collect();
        // Tables and queues reach their size with the first windows.
        for client in &mut clients {
            client.window(&lab.content);
        }
        let held = (names_in("/proc/self/fd"), names_in("/proc/self/task"));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        assert!(before > 0, "nothing is counted");
        for _ in 0..BLOCKS / usize::from(WINDOW) - 1 {
            for client in &mut clients {
                client.window(&lab.content);
            }
        }
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(after - before, 0, "{driver:?}");
        let still = (names_in("/proc/self/fd"), names_in("/proc/self/task"));
        assert_eq!(held, still, "descriptors and threads");
        assert_eq!(lab.metrics.tftp.active.get(), 4);
        assert!(
            lab.events
                .try_iter()
                .all(|e| !matches!(e.what, What::Broken { .. }))
        );
        assert!(lab.engine.is_running());
        turn_requests_away(&lab);
    }
}

/// What the gate stops costs no memory either.
fn turn_requests_away(lab: &Lab) {
    let mut table = Table::default();
    table.rules[usize::from(Class::TftpRequest.number())] = Rule::DROP;
    lab.engine.gate().set_table(table);
    let socket = UdpSocket::bind(loopback()).unwrap();
    let stopped = || {
        let counts = lab.engine.gate().counts();
        counts[counter(Class::TftpRequest, Cause::Rule) as usize].packets
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for number in 1..=1000 {
        socket.send_to(&request(BLOCK, WINDOW), lab.server).unwrap();
        while stopped() < number {
            std::thread::yield_now();
        }
    }
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(after - before, 0);
}
