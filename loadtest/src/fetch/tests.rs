use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};

use clap::Parser as _;
use sha2::{Digest as _, Sha256};

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// How many of the transfers failed.
fn fetch(arguments: &[&str]) -> u64 {
    let line = Line::parse_from([&["fetch"], arguments].concat());
    prepare(line.options).unwrap()().unwrap()
}

fn body() -> Vec<u8> {
    (0..3000_u32).map(|n| n.to_le_bytes()[0]).collect()
}

fn sha256() -> String {
    hex::encode(Sha256::digest(body()))
}

/// Serves `transfers` transfers of 512-byte blocks one after the other, as the oldest servers do.
fn oldest_tftp_server(transfers: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut packet = [0; 600];
        for _ in 0..transfers {
            let (_, client) = socket.recv_from(&mut packet).unwrap();
            let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
            let body = body();
            for (number, block) in (1_u16..).zip(body.chunks(512)) {
                let [high, low] = number.to_be_bytes();
                let data = [&[0, 3, high, low], block].concat();
                transfer.send_to(&data, client).unwrap();
                let (length, _) = transfer.recv_from(&mut packet).unwrap();
                assert_eq!(packet[..length], [0, 4, high, low]);
            }
        }
    });
    address
}

fn http_server(connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            thread::spawn(move || {
                let mut request = [0; 2048];
                while matches!(stream.read(&mut request), Ok(1..)) {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                        body().len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(&body()).unwrap();
                }
            });
        }
    });
    address
}

#[test]
fn files_come_whole_by_tftp() {
    let url = format!("tftp://{}/file", oldest_tftp_server(3 + 2 + 1));
    let sha256 = sha256();
    let verify = ["--verify", &sha256];
    assert_eq!(
        fetch(&[&[&url[..], "--transfers", "3"], &verify[..]].concat()),
        0
    );
    assert_eq!(fetch(&[&url, "--clients", "2"]), 0);
    assert_eq!(fetch(&[&url, "--verify", &"00".repeat(32)]), 1);
}

#[test]
fn files_come_whole_by_http() {
    let url = format!("http://{}/file", http_server(4 + 2 + 1));
    let sha256 = sha256();
    assert_eq!(
        fetch(&[
            &url,
            "--clients",
            "2",
            "--transfers",
            "4",
            "--verify",
            &sha256
        ]),
        0
    );
    assert_eq!(
        fetch(&[
            &url,
            "--clients",
            "2",
            "--threads",
            "2",
            "--transfers",
            "10",
            "--keep-alive"
        ]),
        0
    );
    assert_eq!(fetch(&[&url, "--verify", &"00".repeat(32)]), 1);
}

#[test]
fn wrong_usage_is_told() {
    let told = |arguments: &[&str]| {
        let line = Line::parse_from([&["fetch"], arguments].concat());
        prepare(line.options).err().map(|error| error.to_string())
    };
    let hold = told(&["http://127.0.0.1/x", "--hold", "1"]);
    assert!(hold.unwrap().contains("tftp:// only"));
    let trust = told(&["https://127.0.0.1/x"]);
    assert!(trust.unwrap().contains("--ca"));
    let tls = told(&["http://127.0.0.1/x", "--tls12"]);
    assert!(tls.unwrap().contains("https:// only"));
    let few = told(&["http://127.0.0.1/x", "--clients", "3", "--transfers", "2"]);
    assert!(few.unwrap().contains("one for each"));
}

#[test]
fn threads_share_all_clients() {
    for (clients, threads) in [(1, 1), (5, 2), (500, 3), (60_000, 64)] {
        let mut next = 0;
        for index in 0..threads {
            let share = share(clients, threads, index);
            assert_eq!(share.start, next);
            assert!(!share.is_empty());
            next = share.end;
        }
        assert_eq!(next, clients);
    }
}
