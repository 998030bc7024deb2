//! The whole user space of the machine that proves kernel TLS: on a kernel that has it, server and
//! client run on loopback, and what arrived, the kernel's own count and the server's must agree.
//!
//! Built by the test with a plain `rustc`, linked statically.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POWER_OFF: c_int = 0x4321_fedc;
const FINIT_MODULE: c_long = 313;
const SIOCSIFFLAGS: c_ulong = 0x8914;
const IFF_UP: u8 = 1;
const SIGTERM: c_int = 15;

const LENGTH: usize = 5 << 20;
const FILES: [&str; 2] = ["large.img", "other.img"];
/// What curl is told, for each suite.
const SUITES: [[&str; 4]; 6] = [
    ["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"],
    ["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES256-GCM-SHA384"],
    ["--tls-max", "1.2", "--ciphers", "ECDHE-RSA-CHACHA20-POLY1305"],
    ["--tlsv1.3", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "-4"],
    ["--tlsv1.3", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384", "-4"],
    ["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256", "-4"],
];

type Outcome<T> = Result<T, Box<dyn Error>>;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn sync();
}

fn main() {
    mount_pseudo(c"proc", c"/proc");
    mount_pseudo(c"devtmpfs", c"/dev");
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let value = |key| cmdline.split_whitespace().find_map(|word| word.strip_prefix(key));
    println!();
    match prove() {
        Ok(()) => println!(
            "bootstorm-e2e {} booted {}",
            value("e2e.case=").unwrap_or("unnamed"),
            value("e2e.nonce=").unwrap_or("without-nonce"),
        ),
        Err(error) => println!("bootstorm-e2e failed: {error}"),
    }
    // SAFETY: neither call takes a pointer; process 1 may power the machine off.
    unsafe {
        sync();
        reboot(POWER_OFF);
    }
}

fn prove() -> Outcome<()> {
    for module in fs::read_to_string("/modules/order")?.lines() {
        load(module)?;
    }
    raise_loopback()?;
    fs::create_dir_all("/images")?;
    for (salt, name) in FILES.iter().enumerate() {
        let content: Vec<u8> = (0..LENGTH).map(|at| (at * 7 + at / 251 + salt) as u8).collect();
        fs::write(format!("/images/{name}"), content)?;
    }
    for driver in ["uring", "epoll"] {
        let mut server = Server::start(driver)?;
        let proof = with_server(driver, &server.data);
        let ended = server.stop();
        proof?;
        ended?;
    }
    Ok(())
}

fn with_server(driver: &str, data: &str) -> Outcome<()> {
    curl(&["http://127.0.0.1:8080/ca.crt", "-o", "/ca.crt"])?;
    let before = kernel_count("TlsTxSw")?;
    for (done, suite) in (1..).zip(SUITES) {
        fetch(suite)?;
        // One connection carried both files: the second request was decrypted by the kernel.
        for (what, wanted) in [("TlsTxSw", before + done), ("TlsCurrTxSw", 0)] {
            settle(|| {
                let counted = kernel_count(what)?;
                same(what, counted, wanted)
            })?;
        }
        println!("bootstorm-e2e {driver} {}", suite.join(" "));
    }
    same("TlsRxSw", kernel_count("TlsRxSw")?, kernel_count("TlsTxSw")?)?;
    same("TlsDecryptError", kernel_count("TlsDecryptError")?, 0)?;
    let metrics = metrics(data)?;
    for (outcome, wanted) in [("taken", SUITES.len() as u64), ("kept", 0), ("failed", 0)] {
        let name = format!("bootstorm_tls_kernel_total{{outcome=\"{outcome}\"}}");
        same(&name, counter(&metrics, &name)?, wanted)?;
    }
    renew_keys(data)?;
    println!("bootstorm-e2e {driver} survives a client that renews its keys");
    Ok(())
}

fn fetch(suite: [&str; 4]) -> Outcome<()> {
    let mut arguments = vec!["--cacert", "/ca.crt"];
    arguments.extend(suite);
    let urls = FILES.map(|name| format!("https://127.0.0.1:8050/images/{name}"));
    arguments.extend(["-o", "/0", &urls[0], "-o", "/1", &urls[1]]);
    curl(&arguments)?;
    for (at, name) in FILES.iter().enumerate() {
        if fs::read(format!("/{at}"))? != fs::read(format!("/images/{name}"))? {
            return Err(format!("{name} did not arrive as it is").into());
        }
    }
    Ok(())
}

/// `openssl s_client` renews its keys when it is told `k`.
fn renew_keys(data: &str) -> Outcome<()> {
    let mut client = Command::new("/usr/bin/openssl")
        .args(["s_client", "-connect", "127.0.0.1:8050", "-tls1_3", "-CAfile", "/ca.crt"])
        .stdin(Stdio::piped())
        .stdout(File::create("/s_client")?)
        .stderr(Stdio::null())
        .spawn()?;
    let told = || -> Outcome<()> {
        let mut stdin = client.stdin.take().ok_or("no pipe")?;
        sleep(Duration::from_secs(1));
        write!(stdin, "GET /images/{} HTTP/1.1\r\nHost: h\r\n\r\n", FILES[0])?;
        settle(|| match fs::metadata("/s_client")?.len() {
            length if length > LENGTH as u64 => Ok(()),
            length => Err(format!("s_client got {length} bytes").into()),
        })?;
        stdin.write_all(b"k\n")?;
        sleep(Duration::from_millis(300));
        // The second record is the first that nobody can decrypt.
        let _ = stdin.write_all(b"GET / HTTP/1.1\r\n\r\n");
        settle(|| {
            let name = "bootstorm_http_refused_total{reason=\"tls.key-update\"}";
            same(name, counter(&metrics(data)?, name)?, 1)
        })
    }();
    client.kill()?;
    client.wait()?;
    told
}

struct Server {
    process: Child,
    data: String,
}

impl Server {
    fn start(driver: &str) -> Outcome<Self> {
        let data = format!("/data-{driver}");
        let mut process = Command::new("/bootstorm")
            .args(["serve", "--config", "/bootstorm.toml", "--driver", driver])
            .args(["--images", "/images", "--data", &data])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no pipe")?;
        let mut server = Self { process, data };
        for line in BufReader::new(output).lines() {
            if line? == "ready" {
                return Ok(server);
            }
        }
        Err(format!("the server ended: {}", server.process.wait()?).into())
    }

    fn stop(&mut self) -> Outcome<()> {
        // SAFETY: the call takes no pointer, and the child has not been waited for.
        unsafe { kill(self.process.id() as c_int, SIGTERM) };
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the server ended: {status}").into()) }
    }
}

fn curl(arguments: &[&str]) -> Outcome<String> {
    let said = Command::new("/usr/bin/curl")
        .args(["-sS", "--fail", "--max-time", "60"])
        .args(arguments)
        .output()?;
    if said.status.success() {
        return Ok(String::from_utf8(said.stdout)?);
    }
    Err(format!("curl {arguments:?}: {}", String::from_utf8_lossy(&said.stderr)).into())
}

fn metrics(data: &str) -> Outcome<String> {
    let token = fs::read_to_string(format!("{data}/admin.token"))?;
    let header = format!("Authorization: Bearer {}", token.trim());
    curl(&["-H", &header, "http://127.0.0.1:8051/metrics"])
}

fn counter(metrics: &str, name: &str) -> Outcome<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.map_or(Ok(0), |value| value.trim().parse())?)
}

fn kernel_count(name: &str) -> Outcome<u64> {
    let text = fs::read_to_string("/proc/net/tls_stat")?;
    let mut words = text.split_whitespace();
    words.find(|word| *word == name).ok_or("the kernel does not count")?;
    Ok(words.next().ok_or("no number")?.parse()?)
}

fn same(what: &str, is: u64, wanted: u64) -> Outcome<()> {
    if is == wanted { Ok(()) } else { Err(format!("{what} is {is} and not {wanted}").into()) }
}

/// Looks until it is so, ten seconds at most.
fn settle(mut look: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match look() {
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(100)),
            outcome => return outcome,
        }
    }
}

fn load(module: &str) -> Outcome<()> {
    let file = File::open(format!("/modules/{module}"))?;
    // SAFETY: the string is NUL-terminated and lives through the call, as does the file.
    let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), c"".as_ptr(), 0) };
    if result == 0 {
        return Ok(());
    }
    Err(format!("{module}: {}", std::io::Error::last_os_error()).into())
}

fn raise_loopback() -> Outcome<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // struct ifreq: name, then flags.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP;
    // SAFETY: the kernel reads one ifreq, which is 40 bytes and lives through the call.
    match unsafe { ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, request.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

fn mount_pseudo(kind: &CStr, target: &CStr) {
    // SAFETY: all three strings are NUL-terminated and live through the call; these file systems
    // take no data.
    let result =
        unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if result != 0 {
        println!("bootstorm-e2e could not mount {}", target.to_string_lossy());
    }
}
