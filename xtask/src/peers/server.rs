//! Every server, started as an operator who wants it to be fast would start it.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bootstorm_e2e::command;
use bootstorm_e2e::process::Running;
use bootstorm_e2e::stop;

use super::cpu::Account;
use super::programs::Program;
use super::scenario::Protocol;

const START: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bootstorm,
    RsTftpd,
    Dnsmasq,
    TftpdHpa,
    Atftpd,
    Nginx,
}

impl Kind {
    /// Those that take part in a protocol's scenarios.
    pub(crate) fn speaking(protocol: Protocol) -> &'static [Self] {
        match protocol {
            Protocol::Tftp => &[
                Self::Bootstorm,
                Self::RsTftpd,
                Self::Dnsmasq,
                Self::TftpdHpa,
                Self::Atftpd,
            ],
            Protocol::Http | Protocol::Https => &[Self::Bootstorm, Self::Nginx],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bootstorm => "bootstorm",
            Self::RsTftpd => "rs-tftpd",
            Self::Dnsmasq => "dnsmasq",
            Self::TftpdHpa => "tftpd-hpa",
            Self::Atftpd => "atftpd",
            Self::Nginx => "nginx",
        })
    }
}

/// What all servers of a run have in common.
pub(crate) struct Place<'a> {
    /// The files that are served.
    pub(crate) files: &'a Path,
    /// For logs and data.
    pub(crate) folder: &'a Path,
    /// Worker threads of this server.
    pub(crate) workers: usize,
}

/// A server that answers.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    protocol: Protocol,
    address: SocketAddr,
    // Ended before its account is closed.
    process: Running,
    account: Account,
}

impl Server {
    /// Starts it and waits until it answers.
    pub(crate) fn start(program: &Program, protocol: Protocol, place: &Place<'_>) -> Result<Self> {
        let (port, address) = free(protocol, program.kind)?;
        let mut serve = command_line(program, protocol, place, port)?;
        if let Some(libraries) = &program.libraries {
            serve.env("LD_LIBRARY_PATH", libraries);
        }
        let account = Account::open();
        let name = program.kind.to_string();
        let mut process = Running::start(&name, place.folder, account.enter(&serve))?;
        let address = if program.kind == Kind::Bootstorm {
            listening(&mut process, protocol)?
        } else {
            address
        };
        let mut server = Self {
            kind: program.kind,
            protocol,
            address,
            process,
            account,
        };
        stop::wait_for(&format!("answer from {name}"), START, || {
            server.process.check()?;
            server.answers()
        })?;
        Ok(server)
    }

    /// The URL of one of the files.
    pub(crate) fn url(&self, file: &str) -> String {
        let folder = match self.kind {
            Kind::Bootstorm if self.protocol != Protocol::Tftp => "images/",
            _ => "",
        };
        let scheme = match self.protocol {
            Protocol::Tftp => "tftp",
            Protocol::Http => "http",
            Protocol::Https => "https",
        };
        format!("{scheme}://{}/{folder}{file}", self.address)
    }

    /// Processor time up to now.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.account.read(self.process.id())
    }

    /// How processor time is read.
    pub(crate) fn accounting(&self) -> &'static str {
        self.account.describe()
    }

    /// Bytes that are resident and no part of a mapped file.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = command::read(Path::new(&format!("/proc/{}/status", self.process.id())))?;
        beside_the_maps(&status).context("no VmRSS in /proc")
    }

    /// Fails with the end of its log when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    fn answers(&self) -> Result<Option<()>> {
        if self.protocol != Protocol::Tftp {
            return Ok(TcpStream::connect(self.address).is_ok().then_some(()));
        }
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(b"\0\x01program.bin\0octet\0", self.address)?;
        let mut answer = [0; 600];
        let Ok((_, from)) = socket.recv_from(&mut answer) else {
            return Ok(None);
        };
        socket.send_to(b"\0\x05\0\0enough\0", from)?;
        Ok(answer.starts_with(&[0, 3]).then_some(()))
    }
}

/// A free port of loopback; dnsmasq knows no other than 69.
fn free(protocol: Protocol, kind: Kind) -> Result<(u16, SocketAddr)> {
    let address = match (protocol, kind) {
        (_, Kind::Dnsmasq) => SocketAddr::from(([127, 0, 0, 1], 69)),
        (Protocol::Tftp, _) => UdpSocket::bind("127.0.0.1:0")?.local_addr()?,
        _ => TcpListener::bind("127.0.0.1:0")?.local_addr()?,
    };
    Ok((address.port(), address))
}

fn command_line(
    program: &Program,
    protocol: Protocol,
    place: &Place<'_>,
    port: u16,
) -> Result<Command> {
    let mut serve = Command::new(&program.path);
    let address = format!("127.0.0.1:{port}");
    match program.kind {
        Kind::Bootstorm => {
            serve.arg("serve").arg("--images").arg(place.files);
            serve.arg("--data").arg(place.folder.join("data"));
            serve.args(["--workers", &place.workers.to_string()]);
            for off in ["dhcp", "pxe", "dhcp6", "syslog"] {
                serve.args(["--listen", &format!("{off}=off")]);
            }
            for on in ["tftp", "http", "https", "web"] {
                serve.args(["--listen", &format!("{on}=127.0.0.1:0")]);
            }
        }
        Kind::RsTftpd => {
            serve.args(["--read-only", "--quiet", "-i", "127.0.0.1"]);
            serve
                .args(["-p", &port.to_string()])
                .arg("-d")
                .arg(place.files);
        }
        Kind::Dnsmasq => {
            serve.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]);
            serve.args(["--listen-address=127.0.0.1", "--bind-interfaces"]);
            serve.args([
                "--enable-tftp",
                "--tftp-max=6000",
                "--user=root",
                "--pid-file=",
            ]);
            serve.arg(format!("--tftp-root={}", place.files.display()));
            // Not a line to syslog for each file.
            serve.args(["--quiet-tftp", "--log-facility=-"]);
        }
        Kind::TftpdHpa => {
            serve.args(["--foreground", "--user", "root", "--address", &address]);
            serve.arg("--secure").arg(place.files);
        }
        Kind::Atftpd => {
            serve.args(["--daemon", "--no-fork", "--bind-address", "127.0.0.1"]);
            serve.args(["--port", &port.to_string(), "--maxthread", "6000"]);
            serve.args(["--tftpd-timeout", "0", "--user", "root", "--group", "root"]);
            serve.args(["--verbose=0", "--logfile", "-", "--pidfile"]);
            serve.arg(place.folder.join("atftpd.pid")).arg(place.files);
        }
        Kind::Nginx => {
            let file = place.folder.join("nginx.conf");
            fs::write(&file, nginx(protocol, place, port)?)?;
            serve.arg("-e").arg(place.folder.join("nginx.error"));
            serve.arg("-c").arg(file).arg("-p").arg(place.folder);
        }
    }
    Ok(serve)
}

/// One worker, sendfile, open files kept open, no log of requests; TLS as it is measured.
fn nginx(protocol: Protocol, place: &Place<'_>, port: u16) -> Result<String> {
    let folder = place.folder.display();
    let tls = if protocol == Protocol::Https {
        certificate(place.folder)?;
        format!(
            "ssl_certificate {folder}/nginx.crt; ssl_certificate_key {folder}/nginx.key;\n\
             ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;\n"
        )
    } else {
        String::new()
    };
    let ssl = if tls.is_empty() { "" } else { " ssl" };
    let user = if command::is_root() {
        "user root;\n"
    } else {
        ""
    };
    Ok(format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid {folder}/nginx.pid;\n\
         {user}error_log {folder}/nginx.error;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush on; open_file_cache max=100;\n\
         client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;\n\
         uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n\
         server {{ listen 127.0.0.1:{port}{ssl} backlog=4096; root {files};\n{tls}}}\n\
         }}\n",
        files = place.files.display(),
    ))
}

/// An RSA-2048 certificate, as this server makes for itself.
fn certificate(folder: &Path) -> Result<()> {
    let (crt, key) = (folder.join("nginx.crt"), folder.join("nginx.key"));
    if crt.exists() {
        return Ok(());
    }
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
    ]);
    openssl.args(["-subj", "/CN=localhost", "-keyout"]).arg(key);
    command::output(openssl.arg("-out").arg(crt)).map(drop)
}

/// The address that the kernel chose, from the lines `listening NAME ADDRESS`.
fn listening(process: &mut Running, protocol: Protocol) -> Result<SocketAddr> {
    let name = match protocol {
        Protocol::Tftp => "listening tftp ",
        Protocol::Http => "listening http ",
        Protocol::Https => "listening https ",
    };
    let stdout = process.stdout().to_owned();
    stop::wait_for("`ready` from bootstorm", START, || {
        process.check()?;
        let said = command::read(&stdout)?;
        if !said.lines().any(|line| line == "ready") {
            return Ok(None);
        }
        let address = said.lines().find_map(|line| line.strip_prefix(name));
        let address = address.with_context(|| format!("bootstorm is not {name}"))?;
        Ok(Some(address.parse()?))
    })
}

fn beside_the_maps(status: &str) -> Option<u64> {
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((kilobytes("VmRSS:")?.saturating_sub(kilobytes("RssFile:")?)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::beside_the_maps;

    #[test]
    fn memory_is_what_no_file_backs() {
        let status = "Name:\tx\nVmRSS:\t  5000 kB\nRssAnon:\t  900 kB\nRssFile:\t  4000 kB\n";
        assert_eq!(beside_the_maps(status), Some(1_024_000));
        assert_eq!(beside_the_maps("Name:\tx\n"), None);
    }
}
