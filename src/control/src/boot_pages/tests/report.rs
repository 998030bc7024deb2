//! What machines report of themselves.

use bootstorm_telemetry::event::Milestone;

use super::*;

/// What the table of clients was told.
fn told(lab: &Lab) -> Vec<What> {
    lab.events.try_iter().map(|event| event.what).collect()
}

#[test]
fn a_machine_reports_how_it_went() {
    let lab = lab();
    let query = "state=failed&text=no%20disk%0a";
    let response = lab.respond(&request(Method::Get, "/boot/report", query));
    assert_eq!((response.status, body(&response)), (200, "ok\n"));
    let event = lab.events.try_recv().unwrap();
    assert_eq!(event.mac, MAC.parse().ok());
    let What::Reported { milestone, text } = event.what else {
        panic!("{event:?}");
    };
    assert_eq!((milestone, &*text), (Milestone::Failed, "no disk"));
    for done in ["finished", "done"] {
        let mut post = request(Method::Post, "/boot/report", "");
        post.body = format!("state={done}&mac=52-54-00-00-00-01").into_bytes();
        let _ = lab.respond(&post);
        let event = lab.events.try_recv().unwrap();
        assert_eq!(event.mac, MAC.parse().ok());
        let milestone = match event.what {
            What::Reported { milestone, .. } => Some(milestone),
            _ => None,
        };
        assert_eq!(milestone, Some(Milestone::Finished));
    }
}

#[test]
fn the_end_of_a_log_comes_as_lines_behind_its_report() {
    let lab = lab();
    let log: String = (0..200).map(|n| format!("line%20{n}%0d%0a")).collect();
    let mut post = request(Method::Post, "/boot/report", "state=failed");
    post.body = format!("text=setup+ended&log={log}last%1b[2J").into_bytes();
    assert_eq!(lab.respond(&post).status, 200);
    let events: Vec<_> = lab.events.try_iter().collect();
    assert!(events.iter().all(|event| event.mac == MAC.parse().ok()));
    // The lab's queue holds eight events; the table keeps the latest lines.
    assert!(matches!(events[0].what, What::Reported { .. }));
    let said: Vec<_> = events[1..]
        .iter()
        .map(|event| match &event.what {
            What::Said { text } => text.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said[0], "line 137");
    assert!(said.len() <= 64);
}

#[test]
fn a_log_in_a_query_is_a_log_as_well_and_a_head_tells_nothing() {
    let lab = lab();
    let query = "state=network-up&log=one%0atwo%1b[2J";
    let head = request(Method::Head, "/boot/report", query);
    assert_eq!(lab.respond(&head).status, 200);
    assert!(told(&lab).is_empty());
    assert_eq!(
        lab.respond(&request(Method::Get, "/boot/report", query))
            .status,
        200
    );
    let said: Vec<_> = told(&lab)
        .into_iter()
        .filter_map(|what| match what {
            What::Said { text } => Some(text.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["one", "two [2J"]);
}

#[test]
fn a_report_is_a_phase_and_a_line_of_the_history() {
    let lab = lab();
    let script = lab.respond(&request(Method::Get, "/boot", &format!("mac={MAC}")));
    assert_eq!(script.status, 200);
    let mut phases = Vec::new();
    for state in ["client-started", "network-up", "image-applied", "done"] {
        let query = format!("state={state}&text=windows-{state}&log=a%20line");
        let answer = lab.respond(&request(Method::Get, "/boot/report", &query));
        assert_eq!(answer.status, 200);
        for event in lab.events.try_iter() {
            let _ = lab.pages.clients.happens(event);
        }
        let client = lab.pages.clients.by_mac(MAC.parse().unwrap()).unwrap();
        phases.push(client.phase.name());
    }
    let wanted = ["client-started", "network-up", "image-applied", "finished"];
    assert_eq!(phases, wanted);
    let client = lab.pages.clients.by_mac(MAC.parse().unwrap()).unwrap();
    let steps: Vec<_> = client
        .timeline
        .iter()
        .filter(|step| step.text.starts_with("windows-"))
        .map(|step| (step.kind, step.text.as_str()))
        .collect();
    assert_eq!(
        steps,
        [
            ("client-started", "windows-client-started"),
            ("network-up", "windows-network-up"),
            ("image-applied", "windows-image-applied"),
            ("done", "windows-done"),
        ]
    );
    let lines = client.timeline.iter().filter(|step| step.text == "a line");
    assert_eq!(lines.count(), 4);
}
