use crossbeam_channel::unbounded;

use super::*;
use crate::boot_pages::tests::{MAC, body, lab, order, request};
use bootstorm_proto::http::Method;

#[test]
fn every_request_is_answered_where_it_came_from() {
    let lab = lab();
    lab.edit(order("tool"));
    let (answers, answered) = unbounded();
    let ordered = format!("mac={MAC}");
    let queries = [ordered.as_str(), "mac=52:54:00:00:00:02", "state=x"];
    let paths = ["/boot", "/boot", "/boot/report"];
    let requests = queries.map(str::to_owned).into_iter().zip(paths);
    let requests = requests.map(|(query, path)| request(Method::Get, path, &query));
    let requests: Vec<_> = requests.enumerate().collect();
    let pages = lab.pages.clone();
    // The thread that waits ends with the requests: give them out one by one.
    let (ask, asked) = unbounded();
    pages
        .serve(asked, move |to: usize, response| {
            let _ = answers.send((to, response));
        })
        .unwrap();
    for request in requests {
        ask.send(request).unwrap();
    }
    let mut responses: Vec<_> = answered.iter().take(3).collect();
    responses.sort_by_key(|(to, _)| *to);
    let bodies: Vec<_> = responses
        .iter()
        .map(|(_, response)| body(response))
        .collect();
    assert!(bodies[0].contains("/images/tool.efi"), "{}", bodies[0]);
    assert!(bodies[1].contains("choose"), "{}", bodies[1]);
    assert!(bodies[2].contains("boot.bad-report"), "{}", bodies[2]);
    drop(ask);
    // The threads end, and with them the last sender of answers.
    assert!(answered.recv().is_err());
}

#[test]
fn who_finds_no_place_to_wait_comes_again() {
    let lab = lab();
    lab.edit(order("tool"));
    let (answers, answered) = unbounded();
    let desk = Desk {
        pages: Arc::new(lab.pages.clone()),
        tasks: Tasks::start("none", 0).unwrap(),
        reply: move |(), response| answers.send(response).unwrap(),
    };
    desk.take((), request(Method::Get, "/boot", &format!("mac={MAC}")));
    let response = answered.try_recv().unwrap();
    let script = body(&response);
    assert!(script.contains("[boot.busy]"), "{script}");
    assert!(!script.contains("/images/tool.efi"), "{script}");
}
