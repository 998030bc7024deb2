//! A connection's bytes, in the pieces that the first byte says.
#![no_main]

use std::time::SystemTime;

use bootstorm_proto::http::{
    Connection, Head, Next, ResponseHead, Selection, Validators, content_type, select,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let mut connection = Connection::default();
    for bytes in stream.chunks(usize::from(*piece).max(1) * 16) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = connection.push(rest);
            rest = &rest[taken..];
            if !drain(&mut connection) || taken == 0 {
                return;
            }
        }
    }
}

/// False when the connection is to be closed.
fn drain(connection: &mut Connection) -> bool {
    let mut out = Vec::new();
    loop {
        out.clear();
        match connection.next() {
            Ok(Next::Wait) => return true,
            Ok(Next::Continue) => {}
            Ok(Next::Request(head, body)) => {
                assert_eq!(body.len(), head.body);
                answer(&head, &mut out);
            }
            Err(refused) => {
                ResponseHead::refusal(&mut out, &refused, SystemTime::UNIX_EPOCH);
                return false;
            }
        }
    }
}

fn answer(head: &Head<'_>, out: &mut Vec<u8>) {
    assert!(head.path.starts_with('/') && !head.path.contains("//"));
    assert!(!head.path.chars().any(|c| c.is_ascii_control()));
    let file = Validators {
        len: 1000,
        etag: "\"abc\"",
        modified: SystemTime::UNIX_EPOCH,
    };
    let selection = select(&head.conditions, &file);
    if let Selection::Part(range) = &selection {
        assert!(range.start < range.end && range.end <= file.len);
    }
    let media_type = content_type(&head.path);
    let connection = (head.version, head.keep_alive);
    let now = SystemTime::UNIX_EPOCH;
    let body = ResponseHead::file(out, &selection, &file, media_type, connection, now);
    assert!(body.end <= file.len);
    let end = out.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(end, Some(out.len() - 4), "the head ends once, at its end");
}
