//! DHCP over several workers, on loopback with both drivers: every machine is heard once, and no
//! more often than it may.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod gate;
mod lab;
mod parked;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lab::{DRIVERS, EVERYBODY, Lab, PATIENCE, client, mac, message};

#[test]
fn every_machine_is_heard_once_whether_it_broadcasts_or_not() {
    for driver in DRIVERS {
        for workers in [1, 2, 6] {
            let lab = Lab::start(driver, workers);
            let client = client();
            for (port, kind) in [(lab.dhcp, 1), (lab.pxe, 3)] {
                for to in [EVERYBODY, Ipv4Addr::LOCALHOST] {
                    for number in 0..200 {
                        let packet = message(kind, mac(number));
                        client.send_to(&packet, (to, port)).unwrap();
                    }
                    let mut asked = lab.asked(200);
                    asked.sort_unstable();
                    let once: Vec<_> = (0..200).map(mac).collect();
                    assert!(asked == once, "{driver:?}, {workers} workers, {to}:{port}");
                }
            }
        }
    }
}

#[test]
fn what_is_too_short_for_dhcp_is_counted_once() {
    for driver in DRIVERS {
        let lab = Lab::start(driver, 4);
        let client = client();
        let whole = message(1, mac(1));
        let count = || lab.metric("bootstorm_dhcp_malformed_total{reason=\"dhcp.short\"}");
        for length in 0..240 {
            let to = [EVERYBODY, Ipv4Addr::LOCALHOST][length % 2];
            client.send_to(&whole[..length], (to, lab.dhcp)).unwrap();
            // The room for rubbish is small.
            let end = Instant::now() + PATIENCE;
            while count() <= length as u64 && Instant::now() < end {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(count(), 240, "{driver:?}");
    }
}

#[test]
fn machines_are_answered_from_the_port_they_asked_whichever_worker_has_them() {
    for driver in DRIVERS {
        let lab = Lab::start(driver, 4);
        let client = client();
        for number in 0..32 {
            let request = message(3, mac(number));
            client
                .send_to(&request, (Ipv4Addr::LOCALHOST, lab.pxe))
                .unwrap();
            let mut answer = [0; 1500];
            let (length, from) = client.recv_from(&mut answer).unwrap();
            assert_eq!(from, (Ipv4Addr::LOCALHOST, lab.pxe).into());
            assert_eq!(&answer[28..34], mac(number).bytes());
            assert!(length > 240);
        }
    }
}
