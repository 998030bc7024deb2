//! What it costs the sender to get a hot file into a TCP connection over loopback, in time on the
//! processor: the ways that docs/adr/0007 chose from.
#![expect(clippy::expect_used, reason = "a bench ends at the first surprise")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use bootstorm_catalog::Mapping;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::time::{ClockId, clock_gettime};

const FILE: usize = 256 << 20;
const PIECES: [usize; 3] = [64 << 10, 1 << 20, 4 << 20];

/// Gives the kernel what it takes of `length` bytes at `offset`.
type Way = fn(&Sender<'_>, offset: usize, length: usize) -> rustix::io::Result<usize>;

const WAYS: [(&str, Way); 3] = [
    ("send", |sender, offset, length| {
        let bytes = &sender.file[offset..offset + length];
        rustix::net::send(sender.stream, bytes, SendFlags::DONTWAIT)
    }),
    ("sendfile", |sender, offset, length| {
        let file = sender.file.file().expect("large files stay open");
        rustix::fs::sendfile(sender.stream, file, Some(&mut (offset as u64)), length)
    }),
    ("splice", |sender, offset, length| {
        let (reader, writer) = &sender.pipe;
        let file = sender.file.file().expect("large files stay open");
        let mut at = offset as u64;
        let mut left = splice(file, Some(&mut at), writer, None, length, SpliceFlags::MOVE)?;
        let filled = left;
        while left > 0 {
            match splice(
                reader,
                None,
                sender.stream,
                None,
                left,
                SpliceFlags::NONBLOCK,
            ) {
                Ok(sent) => left -= sent,
                Err(Errno::AGAIN) => sender.await_room(),
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }),
];

struct Sender<'a> {
    file: &'a Mapping,
    stream: &'a TcpStream,
    pipe: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
}

impl Sender<'_> {
    fn await_room(&self) {
        let mut fds = [PollFd::from_borrowed_fd(
            self.stream.as_fd(),
            PollFlags::OUT,
        )];
        poll(&mut fds, None).expect("the connection can be waited for");
    }

    /// Sends the whole file in pieces.
    fn send(&self, way: Way, piece: usize) {
        for begin in (0..FILE).step_by(piece) {
            let end = FILE.min(begin + piece);
            let mut at = begin;
            while at < end {
                match way(self, at, end - at) {
                    Ok(sent) => at += sent,
                    Err(Errno::AGAIN) => self.await_room(),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A connection whose other end is read by a thread until it is closed.
fn connection(congestion: Option<&str>) -> TcpStream {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    if let Some(name) = congestion {
        sockopt::set_tcp_congestion(&listener, name).expect("every process may choose Reno");
    }
    let at = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(at).expect("somebody listens");
        let mut buffer = vec![0; 256 << 10];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
    let (stream, _) = listener.accept().expect("somebody connects");
    stream.set_nonblocking(true).expect("a socket");
    stream
}

fn stream(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image");
    let mut file = std::fs::File::create(&path).expect("a file");
    for block in 0..FILE >> 20 {
        file.write_all(&vec![block as u8; 1 << 20])
            .expect("room for it");
    }
    let file = Mapping::open(&path).expect("just written");
    for congestion in [Some("reno"), None] {
        let name = format!(
            "stream, congestion {}",
            congestion.unwrap_or("as the system's")
        );
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.throughput(Throughput::Bytes(FILE as u64));
        for (name, way) in WAYS {
            for piece in PIECES {
                let id = BenchmarkId::new(name, format!("{} KiB", piece >> 10));
                group.bench_function(id, |bencher| {
                    let stream = connection(congestion);
                    let pipe = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
                    fcntl_setpipe_size(&pipe.1, 1 << 20).expect("the usual limit");
                    let sender = Sender {
                        file: &file,
                        stream: &stream,
                        pipe,
                    };
                    bencher.iter_custom(|times| {
                        let begin = on_processor();
                        for _ in 0..times {
                            sender.send(way, piece);
                        }
                        on_processor().saturating_sub(begin)
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(all, stream);
criterion_main!(all);
