//! A small boot server on loopback.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::machine::simulated::{Packet, Reply, Tftp, option};

pub(super) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Where it listens, and what it has heard.
pub(super) struct Server {
    pub(super) dhcp: SocketAddrV4,
    pub(super) pxe: u16,
    pub(super) tftp: u16,
    /// Requests that relays forwarded.
    pub(super) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// What it serves.
pub(super) struct Served {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// HTTPS instead of HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Answers beside each offer: replies that it sends for another machine.
    pub(super) also: Option<[u8; 6]>,
}

impl Served {
    pub(super) fn files(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter();
        Self {
            files: files
                .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
                .collect(),
            tls: None,
            also: None,
        }
    }

    /// Starts it; it goes with the process.
    pub(super) fn start(self) -> Server {
        let (dhcp, dhcp_at) = datagrams();
        let (pxe, pxe_at) = datagrams();
        let (tftp, tftp_at) = datagrams();
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let http = v4(listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Server {
            dhcp: dhcp_at,
            pxe: pxe_at.port(),
            tftp: tftp_at.port(),
            requests: Arc::clone(&requests),
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let script: &'static str = format!("{scheme}://{http}/boot.ipxe").leak();
        let also = self.also;
        answer(dhcp, move |request| {
            requests.lock().unwrap().push(request.to_vec());
            offers(request, script, also)
        });
        answer(pxe, |request| vec![boot_server(request)]);
        transfers(tftp, &self.files);
        let (files, tls) = (Arc::new(self.files), self.tls);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (files, tls) = (Arc::clone(&files), tls.clone());
                thread::spawn(move || match tls {
                    None => http_connection(stream, &files),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        http_connection(StreamOwned::new(connection, stream), &files);
                    }
                });
            }
        });
        server
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("IPv4 was asked for"),
    }
}

pub(super) fn datagrams() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind((HOST, 0)).unwrap();
    let address = v4(socket.local_addr().unwrap());
    (socket, address)
}

fn answer(socket: UdpSocket, mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) {
    thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            for reply in answer(&packet[..length]) {
                socket.send_to(&reply, from).unwrap();
            }
        }
    });
}

/// A BIOS is told its file at once, UEFI on port 4011, iPXE its script.
fn offers(request: &[u8], script: &'static str, also: Option<[u8; 6]>) -> Vec<Vec<u8>> {
    if option(request, 53) != Some(vec![1]) {
        return Vec::new();
    }
    let bios = option(request, 93).unwrap()[1] == 0;
    let reply = if option(request, 77).is_some() {
        own(request, script)
    } else if bios {
        own(request, "undionly.kpxe").with(43, &[6, 1, 8, 255])
    } else {
        own(request, "")
    };
    let reply = reply.bytes(request);
    let mut replies = vec![reply.clone()];
    if let Some(mac) = also {
        let mut foreign = reply;
        foreign[28..34].copy_from_slice(&mac);
        replies.push(foreign);
    }
    replies
}

fn boot_server(request: &[u8]) -> Vec<u8> {
    let mut reply = own(request, "snponly.efi");
    reply.kind = 5;
    reply.bytes(request)
}

fn own(request: &[u8], file: &'static str) -> Reply {
    let reply = Reply::proxy(request, "PXEClient", file);
    let mut reply = reply.without(54).with(54, &HOST.octets());
    reply.siaddr = HOST;
    reply
}

fn transfers(socket: UdpSocket, files: &BTreeMap<String, Vec<u8>>) {
    let files = files.clone();
    thread::spawn(move || {
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (&**name, &**bytes))
            .collect();
        let mut tftp = Tftp::new(&files);
        let mut numbers = HashMap::new();
        let mut packet = [0; 2048];
        let begun = Instant::now();
        // All transfers share the server's port.
        let own = SocketAddrV4::new(HOST, 69);
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let next = u16::try_from(numbers.len()).unwrap();
            let number = *numbers.entry(from).or_insert(next);
            for reply in tftp.answer(number, own, &packet[..length], begun.elapsed()) {
                if let Packet::Datagram(_, _, reply) = reply {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        }
    });
}

/// Answers requests until the other end is through.
fn http_connection(stream: impl Read + Write, files: &BTreeMap<String, Vec<u8>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if !matches!(stream.read_line(&mut line), Ok(1..)) {
            return;
        }
        let mut header = String::from("-");
        while header.trim() != "" {
            header.clear();
            if !matches!(stream.read_line(&mut header), Ok(1..)) {
                return;
            }
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let body = files.get(path.trim_start_matches('/'));
        let (status, body) = body.map_or(("404 Not Found", &[][..]), |body| ("200 OK", body));
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let out = stream.get_mut();
        if out.write_all(head.as_bytes()).is_err() || out.write_all(body).is_err() {
            return;
        }
        out.flush().ok();
    }
}
