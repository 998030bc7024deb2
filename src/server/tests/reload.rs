//! A configuration that is read again while machines are fed: the whole server, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use std::io::Read as _;

use program::{Lab, Server, ask, head, wait_until};

/// More than socket buffers hold.
const LENGTH: usize = 48 << 20;

#[test]
fn twopxe_31_a_bad_file_is_refused_with_its_line_and_transfers_go_on() {
    let lab = Lab::new(&["http"], "[boot]\nmenu_timeout = 7\n");
    lab.write("images/disk.img", vec![b'o'; LENGTH]);
    let server = lab.serve();
    let mut begun = ask(server.at("http"), "GET /images/disk.img", "", "");
    let status = head(&mut begun);
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let shows = |timeout: &str| {
        let script = server.script("");
        assert!(script.contains(timeout), "{script}");
    };
    shows("--timeout 7000");

    lab.configure(&["http"], "[boot]\nmenu_timout = 9\n");
    let line = lab.line("menu_timout = 9");
    let place = format!("bootstorm.toml:{line}:1: error[config.unknown-key]");
    server.reload(&["the old configuration stays", &place]);
    shows("--timeout 7000");

    lab.configure(&["http"], "[boot]\nmenu_timeout = 9\n");
    server.reload(&["configuration read again"]);
    shows("--timeout 9000");

    let mut rest = Vec::new();
    begun.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), LENGTH);
    assert!(rest.iter().all(|byte| *byte == b'o'));
}

#[test]
fn a_hang_up_while_the_server_starts_has_it_read_the_file_once_more() {
    let lab = Lab::new(&["http"], "");
    let server = lab.start(lab.command(&["serve", "--workers", "1"]), Server::hang_up);
    wait_until("the configuration is not read again", || {
        server.log().contains("configuration read again")
    });
}
