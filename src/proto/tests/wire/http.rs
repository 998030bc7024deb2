//! The request heads of real firmware.

use std::path::Path;

use bootstorm_proto::http::{Connection, Head, Next, Parsed};
use bootstorm_proto::ipxe::Params;

use crate::fixtures;

/// Files of this kind in the order of their names: `CAPTURE/NN-KIND`.
fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let captured = fixtures::all("dhcp");
    let mut folders: Vec<&Path> = captured.iter().filter_map(|f| f.path.parent()).collect();
    folders.dedup();
    let mut found = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(kind) {
                let capture = folder.file_name().unwrap().to_string_lossy();
                let name = path.file_name().unwrap().to_string_lossy();
                found.push((format!("{capture}/{name}"), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no fixture of kind {kind}");
    found
}

#[test]
fn every_head_of_the_captures_is_read() {
    let mut golden = String::new();
    for (name, bytes) in files("http-head.txt") {
        let Ok(Parsed::Complete(head, len)) = Head::parse(&bytes) else {
            panic!("{name}: {:?}", Head::parse(&bytes));
        };
        assert!(bytes[len..].trim_ascii().is_empty(), "{name}");
        golden += &format!(
            "{name}\n  {:?} {} for {} by {}, body of {}, {}\n",
            head.method,
            head.path,
            head.host,
            head.user_agent,
            head.body,
            if head.keep_alive { "stays" } else { "closes" },
        );
    }
    insta::assert_snapshot!(golden);
}

#[test]
fn a_form_of_ipxe_comes_out_of_the_connection_as_it_was_sent() {
    let (name, head) = files("http-head.txt")
        .into_iter()
        .find(|(_, bytes)| bytes.starts_with(b"POST"))
        .expect("a form among the captures");
    let (_, body) = files("http-body.txt").remove(0);
    let body = body.trim_ascii_end();
    let end = head.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut connection = Connection::default();
    assert_eq!(connection.push(&head[..end]), end);
    assert_eq!(connection.next(), Ok(Next::Wait), "{name}");
    assert_eq!(connection.push(body), body.len());
    let Ok(Next::Request(request, form)) = connection.next() else {
        panic!("{name}")
    };
    assert_eq!(request.path, "/reply");
    let params = Params::parse(form);
    assert_eq!(params.mac.unwrap().to_string(), "52:54:00:99:00:01");
    assert_eq!(
        params.uuid.unwrap().to_string(),
        "11223344-5566-7788-99aa-bbccddeeff00"
    );
    assert_eq!(params.other("name"), Some("a b&c=d"));
}
