//! What happens to an image in the images folder while machines fetch it: the whole server, real
//! sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;

use program::{Lab, Server, ask, head, wait_until};

const IMAGE: &str = "images/disk.img";
/// More than socket buffers hold.
const LENGTH: usize = 48 << 20;

/// Asks for the image and reads the head of the answer.
fn begin(server: &Server) -> TcpStream {
    let mut stream = ask(server.at("http"), "GET /images/disk.img", "", "");
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    stream
}

fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    body
}

/// Fetches until the image is `wanted`.
fn wait_for(server: &Server, wanted: &[u8]) {
    wait_until("the new image is never served", || {
        rest(begin(server)) == wanted
    });
}

#[test]
fn transfers_end_with_the_bytes_that_they_began_with_and_new_ones_get_the_new_image() {
    for driver in ["auto", "epoll"] {
        let lab = Lab::new(&["http"], "");
        lab.write(IMAGE, vec![b'o'; LENGTH]);
        let server = lab.serve_with(&["--driver", driver]);
        let cut = begin(&server);
        let file = fs::File::options().write(true).open(lab.path(IMAGE));
        file.unwrap().set_len(1000).unwrap();
        wait_for(&server, &[b'o'; 1000]);
        let replaced = begin(&server);
        let new = vec![b'n'; LENGTH / 2];
        lab.write(IMAGE, &new);
        wait_for(&server, &new);
        let removed = begin(&server);
        fs::remove_file(lab.path(IMAGE)).unwrap();
        for (stream, byte, length) in [
            (cut, b'o', LENGTH),
            (replaced, b'o', 1000),
            (removed, b'n', LENGTH / 2),
        ] {
            let body = rest(stream);
            assert_eq!(body.len(), length, "{driver}");
            assert!(body.iter().all(|b| *b == byte), "{driver}");
        }
    }
}
