//! What every driver must do, over loopback.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, SystemTime};

use bootstorm_catalog::Mapping;

use super::epoll::Epoll;
use super::uring::Uring;
use super::*;
use crate::udp::{Use, bind, listen};

/// A file of `length` bytes that differ by position.
pub(crate) fn file(length: usize) -> Arc<File> {
    let mut content = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    content.write_all(&bytes).unwrap();
    Arc::new(File {
        path: "test.bin".into(),
        content: Mapping::open(content.path()).unwrap(),
        sha256: [0; 32],
        modified: SystemTime::UNIX_EPOCH,
    })
}

/// The next event; a driver that reports none within ten seconds has failed.
fn next<D: Driver>(driver: &mut D) -> Event {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(event) = driver.next_event() {
            return event;
        }
        assert!(Instant::now() < end, "no event");
        driver.wait(Some(end)).unwrap();
    }
}

fn settle<D: Driver>(driver: &mut D) {
    for _ in 0..4 {
        let soon = Instant::now() + Duration::from_millis(2);
        driver.wait(Some(soon)).unwrap();
        assert!(driver.next_event().is_none());
    }
}

fn datagram<D: Driver>(driver: &mut D) -> (SocketId, Arrival, Vec<u8>) {
    let Event::Datagram {
        socket,
        arrival,
        buffer,
    } = next(driver)
    else {
        panic!("not a datagram")
    };
    let bytes = driver.bytes(&buffer).to_vec();
    driver.recycle(buffer);
    (socket, arrival, bytes)
}

fn client(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

fn echo<D: Driver>(driver: &mut D, ip: IpAddr) {
    let server = bind(SocketAddr::new(ip, 0), Use::Data).unwrap();
    let address = server.local_addr().unwrap();
    let socket = driver.add_udp(server).unwrap();
    let client = client(ip);
    // More than the receive ring holds: buffers must come back.
    for round in 0..u32::from(crate::limits::DATAGRAM_BUFFERS) + 100 {
        client.send_to(&round.to_ne_bytes(), address).unwrap();
        let (on, arrival, bytes) = datagram(driver);
        assert_eq!(on, socket);
        assert_eq!(bytes, round.to_ne_bytes());
        assert_eq!(arrival.source, client.local_addr().unwrap());
        assert_eq!(arrival.local, ip);
        assert!(arrival.interface > 0 && !arrival.broadcast);
        let mut packet = driver.packet();
        assert!(packet.is_empty());
        packet.try_extend_from_slice(&bytes).unwrap();
        driver
            .send(Transmit {
                socket,
                to: arrival.source,
                from: Some(arrival.local),
                interface: arrival.interface,
                payload: Payload::Packet(packet),
            })
            .unwrap();
        let soon = Instant::now() + Duration::from_millis(1);
        driver.wait(Some(soon)).unwrap();
        let mut answer = [0; 16];
        let (length, from) = client.recv_from(&mut answer).unwrap();
        assert_eq!(&answer[..length], round.to_ne_bytes());
        assert_eq!(from, address);
    }
}

/// Packets of these lengths arrive one by one, in order, at whoever listens at `to`.
fn packets<D: Driver>(driver: &mut D, listener: IpAddr, to: IpAddr, lengths: &[usize]) {
    let any = match to {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let server = bind(SocketAddr::new(any, 0), Use::Data).unwrap();
    let socket = driver.add_udp(server).unwrap();
    let client = client(listener);
    let to = SocketAddr::new(to, client.local_addr().unwrap().port());
    let bytes = |at: usize, length| vec![at as u8; length];
    for (at, length) in lengths.iter().enumerate() {
        let mut packet = driver.packet();
        packet.try_extend_from_slice(&bytes(at, *length)).unwrap();
        driver
            .send(Transmit {
                socket,
                to,
                from: None,
                interface: 0,
                payload: Payload::Packet(packet),
            })
            .unwrap();
    }
    settle(driver);
    for (at, length) in lengths.iter().enumerate() {
        let mut packet = [0; 2048];
        let got = client.recv(&mut packet).unwrap();
        assert!(
            packet[..got] == bytes(at, *length),
            "packet {at}: {got} bytes"
        );
    }
}

fn window<D: Driver>(driver: &mut D, blocks: u16, block_size: u16, rollover: u16) {
    let server = bind(SocketAddr::from(([127, 0, 0, 1], 0)), Use::Data).unwrap();
    let socket = driver.add_udp(server).unwrap();
    let client = client(Ipv4Addr::LOCALHOST.into());
    let size = usize::from(block_size);
    let length = size * usize::from(blocks) + 100;
    let file = file(length + size);
    let first = 65530u16;
    let transmit = Transmit {
        socket,
        to: client.local_addr().unwrap(),
        from: Some(Ipv4Addr::LOCALHOST.into()),
        interface: 1,
        payload: Payload::Window {
            file: file.clone(),
            first_number: first,
            offset: (size + 100) as u64,
            blocks,
            block_size,
            rollover,
        },
    };
    driver.send(transmit).unwrap();
    settle(driver);
    let mut number = first;
    let mut offset = size + 100;
    for _ in 0..blocks {
        let mut packet = vec![0; 65536];
        let got = client.recv(&mut packet).unwrap();
        let [high, low] = number.to_be_bytes();
        assert_eq!(&packet[..4], [0, 3, high, low]);
        let end = file.content.len().min(offset + size);
        assert!(
            packet[4..got] == file.content[offset..end],
            "block {number}"
        );
        offset = end;
        number = number.checked_add(1).unwrap_or(rollover);
    }
    assert_eq!(offset, file.content.len());
}

/// The end of a file of more than 4 GiB, nearly all of it a hole.
fn far_window<D: Driver>(driver: &mut D) {
    const LENGTH: u64 = (4 << 30) + 5 * 1468 + 7;
    let copy = tempfile::NamedTempFile::new().unwrap();
    let end: Vec<u8> = (0..2 * 1468 + 7).map(|i| (i % 251) as u8).collect();
    copy.as_file().set_len(LENGTH - end.len() as u64).unwrap();
    let mut appended = std::fs::File::options()
        .append(true)
        .open(copy.path())
        .unwrap();
    appended.write_all(&end).unwrap();
    let file = Arc::new(File {
        path: "far.iso".into(),
        content: Mapping::open(copy.path()).unwrap(),
        sha256: [0; 32],
        modified: SystemTime::UNIX_EPOCH,
    });
    let server = bind(SocketAddr::from(([127, 0, 0, 1], 0)), Use::Data).unwrap();
    let socket = driver.add_udp(server).unwrap();
    let client = client(Ipv4Addr::LOCALHOST.into());
    let offset = LENGTH - end.len() as u64 - 2 * 1468;
    let payload = Payload::Window {
        file: Arc::clone(&file),
        first_number: 9,
        offset,
        blocks: 5,
        block_size: 1468,
        rollover: 0,
    };
    driver
        .send(Transmit {
            socket,
            to: client.local_addr().unwrap(),
            from: None,
            interface: 1,
            payload,
        })
        .unwrap();
    settle(driver);
    let mut got: Vec<u8> = Vec::new();
    for number in 9..14 {
        let mut packet = [0; 2048];
        let length = client.recv(&mut packet).unwrap();
        assert_eq!(packet[..4], [0, 3, 0, number]);
        got.extend(&packet[4..length]);
    }
    let (hole, tail) = got.split_at(2 * 1468);
    assert!(hole.iter().all(|byte| *byte == 0));
    assert!(tail == end);
}

fn accept<D: Driver>(driver: &mut D) -> (TcpStream, ListenerId, ConnId) {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let id = driver.add_listener(listener).unwrap();
    let mut client = None;
    // The kernel takes the connection before anybody accepts it.
    let connected = client.insert(TcpStream::connect(address).unwrap());
    connected
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let Event::Accepted {
        listener,
        conn,
        peer,
        local,
    } = next(driver)
    else {
        panic!("not accepted")
    };
    assert_eq!(listener, id);
    assert_eq!(peer, connected.local_addr().unwrap());
    assert_eq!(local, address);
    (client.unwrap(), id, conn)
}

fn stream<D: Driver>(driver: &mut D) {
    let (mut client, listener, conn) = accept(driver);
    client.write_all(b"hello").unwrap();
    let Event::Received { conn: from, buffer } = next(driver) else {
        panic!("nothing received")
    };
    assert_eq!(from, conn);
    assert_eq!(driver.bytes(&buffer), b"hello");
    driver.recycle(buffer);

    // Far more than socket buffers hold, while a thread of its own reads.
    let file = file(20_000_000);
    let expected = file.content[1000..].to_vec();
    let reader = std::thread::spawn(move || {
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"head");
        let mut body = Vec::new();
        client.read_to_end(&mut body).unwrap();
        assert!(body == expected);
        client
    });
    driver.write(conn, Piece::Owned(b"head".to_vec()));
    let Event::Written { bytes, spent, .. } = next(driver) else {
        panic!("not written")
    };
    assert_eq!((bytes, spent.as_deref()), (4, Some(&b"head"[..])));
    let end = file.content.len() as u64;
    driver.write(conn, Piece::Mapped(file, 1000..end));
    let Event::Written { bytes, spent, .. } = next(driver) else {
        panic!("not written")
    };
    assert_eq!((bytes, spent), (20_000_000 - 1000, None));
    driver.close(conn);
    driver.close(conn);
    driver.stop_listening(listener);
    while !reader.is_finished() {
        let soon = Instant::now() + Duration::from_millis(1);
        driver.wait(Some(soon)).unwrap();
        assert!(driver.next_event().is_none());
    }
    reader.join().unwrap();
}

fn broken<D: Driver>(driver: &mut D) {
    let (client, _, conn) = accept(driver);
    drop(client);
    let Event::Closed { conn: ended, .. } = next(driver) else {
        panic!("not closed")
    };
    assert_eq!(ended, conn);
    driver.close(conn);

    // A peer that resets while a piece is under way.
    let (client, _, conn) = accept(driver);
    let file = file(50_000_000);
    driver.write(conn, Piece::Mapped(file.clone(), 0..50_000_000));
    settle(driver);
    let reset = socket2::SockRef::from(&client);
    reset.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let mut closed = false;
    let mut written = None;
    while !closed || written.is_none() {
        match next(driver) {
            Event::Closed { .. } => closed = true,
            Event::Written { bytes, .. } => written = Some(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(written.unwrap() < 50_000_000);
    driver.close(conn);

    // Closing with a piece under way ends the connection without another word.
    let (mut client, _, conn) = accept(driver);
    driver.write(conn, Piece::Mapped(file, 0..50_000_000));
    settle(driver);
    driver.close(conn);
    settle(driver);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 50_000_000);

    // The slot is used again, under another name: nothing keeps it.
    let (_client, _, again) = accept(driver);
    assert_ne!(again, conn);
    assert_eq!(again.slot, conn.slot);
}

fn half_closed<D: Driver>(driver: &mut D) {
    let (mut client, _, conn) = accept(driver);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let Event::Closed { error: None, .. } = next(driver) else {
        panic!("not closed")
    };
    driver.write(conn, Piece::Owned(b"late".to_vec()));
    let Event::Written { bytes: 4, .. } = next(driver) else {
        panic!("not written")
    };
    driver.close(conn);
    settle(driver);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "late");
}

fn wake<D: Driver>(driver: &mut D) {
    let waker = driver.waker();
    for _ in 0..3 {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        let Event::Woken = next(driver) else {
            panic!("not woken")
        };
        thread.join().unwrap();
    }
    let before = Instant::now();
    let until = before + Duration::from_millis(20);
    while driver.now() < until {
        driver.wait(Some(until)).unwrap();
    }
    assert!(driver.next_event().is_none());
}

macro_rules! suite {
    ($name:ident, $driver:ty) => {
        mod $name {
            use super::*;

            fn driver() -> $driver {
                <$driver>::new(Waker::new().unwrap()).unwrap()
            }

            #[test]
            fn datagrams_are_answered_from_where_they_arrived() {
                echo(&mut driver(), Ipv4Addr::LOCALHOST.into());
                echo(&mut driver(), Ipv6Addr::LOCALHOST.into());
            }

            #[test]
            fn packets_that_share_a_send_arrive_one_by_one() {
                let mut driver = driver();
                let lengths = [&[300; 150][..], &[299, 300, 300, 1472, 1472, 1, 0, 0, 7]].concat();
                let everybody = Ipv4Addr::new(127, 255, 255, 255).into();
                let any = Ipv4Addr::UNSPECIFIED.into();
                packets(&mut driver, any, everybody, &lengths);
                for own in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
                    packets(&mut driver, own, own, &lengths);
                }
            }

            #[test]
            fn a_window_arrives_as_its_datagrams_in_order() {
                let mut driver = driver();
                window(&mut driver, 64, 1468, 0);
                window(&mut driver, 16, 1468, 1);
                window(&mut driver, 100, 512, 0);
                window(&mut driver, 3, 8, 0);
                window(&mut driver, 1, 512, 0);
            }

            #[test]
            fn blocks_as_large_as_a_datagram_leave_one_by_one() {
                window(&mut driver(), 2, 65464, 0);
            }

            #[test]
            fn blocks_beyond_four_gigabytes_are_the_right_ones() {
                far_window(&mut driver());
            }

            #[test]
            fn a_stream_carries_owned_and_mapped_pieces() {
                stream(&mut driver());
            }

            #[test]
            fn broken_connections_are_told_and_their_slots_used_again() {
                broken(&mut driver());
            }

            #[test]
            fn a_peer_that_sends_no_more_still_gets_its_answer() {
                half_closed(&mut driver());
            }

            #[test]
            fn other_threads_wake_it_and_time_ends_the_wait() {
                wake(&mut driver());
            }
        }
    };
}

suite!(uring, Uring);
suite!(epoll, Epoll);
