//! Files that are not in memory.

use bootstorm_catalog::mapping::CHUNK;

use super::sealed::FETCH;
use super::*;

fn chunks() -> Vec<Range<u64>> {
    let length = LARGE_LENGTH as u64;
    let starts = (0..length).step_by(CHUNK as usize);
    starts.map(|at| at..length.min(at + CHUNK)).collect()
}

fn cold_bench() -> Bench {
    let mut bench = Bench::new();
    bench.driver.1.cold = chunks();
    bench
}

#[test]
fn nothing_of_a_cold_part_is_written_before_it_is_read_in_and_what_follows_is_read_ahead() {
    let mut bench = cold_bench();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    assert_eq!(bench.take_all(conn), b"");
    let asked = bench
        .driver
        .1
        .reading
        .iter()
        .map(|(range, _)| range.clone());
    assert!(asked.eq(chunks()), "the whole file, each part once");
    // The disk is slow; that is not the client's fault.
    bench.pass(limits::HTTP_STALL * 2);
    assert!(bench.take_all(conn).is_empty() && !bench.closed(conn));
    let mut received = Vec::new();
    for _ in chunks() {
        let before = received.len();
        bench.read(&Ok(()));
        received.extend(bench.take_all(conn));
        assert!(received.len() > before);
    }
    let (head, body) = split(&received);
    assert!(head.starts_with("HTTP/1.1 200"));
    assert!(body == content(LARGE_LENGTH));
    // A client that really takes nothing is still given up.
    bench.receive(conn, FETCH);
    bench.pass(limits::HTTP_STALL);
    assert_eq!(bench.refusals(), ["http.stalled"]);
}

#[test]
fn nothing_of_a_cold_part_is_sealed() {
    let mut bench = cold_bench();
    let conn = bench.accept(1, ListenerKind::Https);
    let mut client = sealed::client(true);
    client.writer().write_all(FETCH).unwrap();
    assert_eq!(sealed::exchange(&mut bench, conn, &mut client), b"");
    let mut received = Vec::new();
    for _ in chunks() {
        bench.read(&Ok(()));
        received.extend(sealed::exchange(&mut bench, conn, &mut client));
    }
    assert!(split(&received).1 == content(LARGE_LENGTH));
}

#[test]
fn one_read_serves_everybody_and_other_files_go_on_meanwhile() {
    let mut bench = cold_bench();
    let all: Vec<ConnId> = (0..20)
        .map(|slot| bench.accept(slot, ListenerKind::Http))
        .collect();
    for conn in &all {
        bench.receive(*conn, FETCH);
        bench.take_all(*conn);
    }
    assert_eq!(bench.driver.1.reading.len(), 4);
    // The same driver says that every file is cold; nothing of an empty one is.
    let other = bench.accept(99, ListenerKind::Http);
    bench.receive(other, b"GET /images/empty HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status(&bench.take_all(other)), 200);
    for _ in 0..4 {
        bench.read(&Ok(()));
    }
    for conn in all {
        assert!(bench.driver.0[&conn.slot].under_way.is_some());
        bench.take_all(conn);
    }
    assert!(bench.counted("bootstorm_memory_read_in_bytes_total 3145733"));
}

#[test]
fn a_part_that_cannot_be_read_breaks_the_response() {
    let mut bench = cold_bench();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    bench.take_all(conn);
    bench.told();
    bench.read(&Err(io::Error::from_raw_os_error(libc::EFAULT)));
    assert!(bench.closed(conn));
    assert_eq!(bench.refusals(), ["http.file-changed"]);
    // The next one is told before anything is sent.
    let conn = bench.accept(2, ListenerKind::Http);
    bench.receive(conn, FETCH);
    assert_eq!(status(&bench.take_all(conn)), 503);
}

#[test]
fn who_leaves_while_the_disk_reads_is_forgotten() {
    let mut bench = cold_bench();
    let conn = bench.accept(1, ListenerKind::Http);
    bench.receive(conn, FETCH);
    bench.take_all(conn);
    bench.service.closed(
        &mut bench.driver,
        conn,
        Some(ErrorKind::ConnectionReset),
        bench.now,
    );
    assert!(bench.closed(conn));
    for _ in 0..4 {
        bench.read(&Ok(()));
    }
    assert_eq!(bench.service.open(), 0);
}

/// Serves `path` with `length` bytes from a copy that tests can cut.
fn publish(bench: &Bench, path: &str, length: usize) -> tempfile::NamedTempFile {
    let mut copy = tempfile::NamedTempFile::new().unwrap();
    copy.write_all(&content(length)).unwrap();
    let file = File {
        path: path.into(),
        content: Mapping::open(copy.path()).unwrap(),
        sha256: [1; 32],
        modified: SystemTime::UNIX_EPOCH,
    };
    bench
        .catalog
        .publish(Snapshot::new([Arc::new(file)], vec![]));
    copy
}

#[test]
fn what_was_read_of_a_cut_copy_never_leaves_and_the_process_lives() {
    // Sealed in batches, or copied behind its head.
    for length in [LARGE_LENGTH, 10_000] {
        let mut bench = Bench::new();
        let copy = publish(&bench, LARGE, length);
        let conn = bench.accept(1, ListenerKind::Https);
        let mut client = sealed::client(true);
        sealed::exchange(&mut bench, conn, &mut client);
        // Nobody has noticed yet when the worker reads the map.
        copy.as_file().set_len(100).unwrap();
        client.writer().write_all(FETCH).unwrap();
        assert_eq!(sealed::exchange(&mut bench, conn, &mut client), b"");
        assert!(bench.closed(conn));
        assert_eq!(bench.refusals(), ["http.file-changed"]);
    }
}
