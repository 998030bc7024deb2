//! What happens to an image in the images folder while machines fetch it: the whole server, real
//! sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than socket buffers hold.
const LENGTH: usize = 48 << 20;

struct Server {
    process: Child,
    http: SocketAddr,
    image: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(driver: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        fs::create_dir(&images).unwrap();
        let image = images.join("disk.img");
        fs::write(&image, vec![b'o'; LENGTH]).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstorm"));
        command.args(["serve", "--workers", "1", "--driver", driver]);
        command.arg("--images").arg(&images);
        command.arg("--data").arg(folder.path().join("data"));
        command.args(["--listen", "http=127.0.0.1:0"]);
        for off in ["dhcp", "pxe", "dhcp6", "tftp", "https", "web", "syslog"] {
            command.args(["--listen", &format!("{off}=off")]);
        }
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut http = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening http ") {
                http = address.parse().ok();
            }
            if line == "ready" {
                break;
            }
        }
        Self {
            process,
            http: http.unwrap(),
            image,
            _folder: folder,
        }
    }

    /// Asks for the image and reads its head and first byte.
    fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = b"GET /images/disk.img HTTP/1.0\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
        stream
    }

    fn fetch(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.begin().read_to_end(&mut body).unwrap();
        body
    }

    /// Fetches until the image is `wanted`.
    fn wait_for(&self, wanted: &[u8]) {
        let end = Instant::now() + PATIENCE;
        while self.fetch() != wanted {
            assert!(Instant::now() < end, "the new image is never served");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn transfers_end_with_the_bytes_that_they_began_with_and_new_ones_get_the_new_image() {
    for driver in ["auto", "epoll"] {
        let server = Server::start(driver);
        let mut cut = server.begin();
        let file = fs::File::options().write(true).open(&server.image).unwrap();
        file.set_len(1000).unwrap();
        drop(file);
        server.wait_for(&[b'o'; 1000]);
        let mut replaced = server.begin();
        let new = vec![b'n'; LENGTH / 2];
        fs::write(server.image.with_extension("new"), &new).unwrap();
        fs::rename(server.image.with_extension("new"), &server.image).unwrap();
        server.wait_for(&new);
        let mut removed = server.begin();
        fs::remove_file(&server.image).unwrap();
        for (stream, byte, length) in [
            (&mut cut, b'o', LENGTH),
            (&mut replaced, b'o', 1000),
            (&mut removed, b'n', LENGTH / 2),
        ] {
            let mut body = Vec::new();
            stream.read_to_end(&mut body).unwrap();
            assert_eq!(body.len(), length, "{driver}");
            assert!(body.iter().all(|b| *b == byte), "{driver}");
        }
    }
}
