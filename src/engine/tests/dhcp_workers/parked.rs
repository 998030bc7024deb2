//! Decisions that are made elsewhere, through the queues to the worker that keeps the request.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use bootstorm_engine::handoff::Question;
use crossbeam_channel::bounded;

use crate::lab::{DRIVERS, Lab, PATIENCE, client, mac, message};

#[test]
fn every_worker_answers_the_machines_that_it_kept() {
    for driver in DRIVERS {
        let (ask, questions) = bounded::<Question>(100);
        let lab = Lab::undecided(driver, 4, ask);
        let client = client();
        for number in 0..100 {
            let request = message(3, mac(number));
            let to = (Ipv4Addr::LOCALHOST, lab.pxe);
            client.send_to(&request, to).unwrap();
        }
        let end = Instant::now() + PATIENCE;
        let asked: Vec<_> = (0..100)
            .map(|_| questions.recv_deadline(end).unwrap())
            .collect();
        // A worker asks first.
        while lab.metric("bootstorm_dhcp_parked") < 100 {
            assert!(Instant::now() < end, "{driver:?}");
        }
        lab.decide();
        let replies = lab.engine.replies();
        for question in &asked {
            replies.decided(question.ticket).unwrap();
        }
        let mut answered = BTreeSet::new();
        for _ in 0..100 {
            let mut answer = [0; 1500];
            client.recv(&mut answer).unwrap();
            answered.insert(answer[28..34].to_vec());
        }
        let all = (0..100).map(|number| mac(number).bytes().to_vec());
        assert!(answered == all.collect(), "{driver:?}");
        let ticket = asked[0].ticket;
        drop(lab);
        let late = replies.decided(ticket).unwrap_err();
        assert!(late.to_string().contains("stopped"), "{late}");
    }
}
