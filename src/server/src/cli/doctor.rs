//! `bootstorm doctor`.

mod classifier;
mod memory;

use std::fmt::Display;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bootstorm_config::{Config, KernelTls, ListenAt, Listener};
use bootstorm_proto::types::Family;
use clap::Args;

use super::watch::Seen;
use super::{ConfigArgs, EXIT_FAILURE};
use crate::network::{self, Ear};

/// How long an interface is listened to.
const LISTEN: Duration = Duration::from_secs(2);

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo bootstorm doctor                         before the first start
  sudo bootstorm doctor --config /etc/bootstorm/bootstorm.toml

Ports in use count as FAIL, so stop a running bootstorm first or read past its own ports.
Exit codes: 0 nothing failed, 1 something failed.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    common: ConfigArgs,
}

/// How a check came out.
enum Verdict {
    Ok,
    Warn(String),
    Fail(String),
}

/// Prints a line for each check, with the fix below it.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = match args.common.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let mut report = Report::default();
    check_interfaces(&config, &mut report);
    for listener in Listener::ALL {
        if let ListenAt::At(address) = config.listen.get(listener) {
            check_port(listener, address, &mut report);
        }
    }
    check_kernel(&mut report);
    classifier::check(&config, &mut report);
    check_kernel_tls(&config, &mut report);
    check_images(&config, &mut report);
    check_entries(&config, &mut report);
    memory::check(&config, &mut report);
    check_certificate(&config, &mut report);
    check_other_servers(&config, &mut report);
    report.print()
}

/// The lines, in order.
#[derive(Default)]
struct Report {
    lines: Vec<(String, String, Verdict)>,
}

impl Report {
    fn add(&mut self, subject: impl Display, found: impl Display, verdict: Verdict) {
        self.lines
            .push((subject.to_string(), found.to_string(), verdict));
    }

    fn print(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let mut counts = [0; 3];
        for (subject, found, verdict) in &self.lines {
            let (word, fix, class) = match verdict {
                Verdict::Ok => ("OK  ", None, 0),
                Verdict::Warn(fix) => ("WARN", Some(fix), 1),
                Verdict::Fail(fix) => ("FAIL", Some(fix), 2),
            };
            counts[class] += 1;
            writeln!(out, "{word}  {subject}: {found}")?;
            if let Some(fix) = fix {
                writeln!(out, "      fix: {fix}")?;
            }
        }
        let [good, warnings, failures] = counts;
        writeln!(
            out,
            "\n{good} ok, {warnings} to look at, {failures} in the way"
        )?;
        Ok(if failures == 0 {
            ExitCode::SUCCESS
        } else {
            EXIT_FAILURE.into()
        })
    }
}

fn check_interfaces(config: &Config, report: &mut Report) {
    let interfaces = if config.interfaces.is_empty() {
        network::interfaces().map(|all| all.into_iter().filter(|i| !i.loopback).collect())
    } else {
        network::chosen(&config.interfaces)
    };
    let interfaces: Vec<network::Interface> = match interfaces {
        Ok(interfaces) => interfaces,
        Err(error) => {
            return report.add(
                "interfaces",
                error,
                Verdict::Fail("mend --interface".into()),
            );
        }
    };
    for interface in &interfaces {
        let subject = format!("interface {}", interface.name);
        let addresses: Vec<String> = interface
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        if !interface.up {
            let fix = format!("sudo ip link set {} up", interface.name);
            report.add(subject, "is down", Verdict::Warn(fix));
        } else if !interface.addresses.iter().any(std::net::IpAddr::is_ipv4) {
            let fix = "give it an IPv4 address: answers name it as the server".to_owned();
            report.add(subject, "has no IPv4 address", Verdict::Warn(fix));
        } else {
            report.add(subject, addresses.join(", "), Verdict::Ok);
        }
    }
    if interfaces.is_empty() {
        let fix = "connect the host to the machines' network".to_owned();
        report.add("interfaces", "none but loopback", Verdict::Warn(fix));
    }
}

fn check_port(listener: Listener, address: SocketAddr, report: &mut Report) {
    let subject = format!("listener {}", listener.name());
    let (protocol, outcome) = if listener.is_udp() {
        ("UDP", UdpSocket::bind(address).map(drop))
    } else {
        ("TCP", TcpListener::bind(address).map(drop))
    };
    let found = format!("{protocol} {address}");
    let Err(error) = outcome else {
        return report.add(subject, format!("{found} is free"), Verdict::Ok);
    };
    let verdict = match (error.kind(), listener) {
        (std::io::ErrorKind::AddrInUse, Listener::Dhcp) => Verdict::Warn(
            "a DHCP server runs on this host: bootstorm answers on 4011 alone; let the DHCP \
             server send option 60 = PXEClient"
                .into(),
        ),
        (std::io::ErrorKind::AddrInUse, _) => Verdict::Fail(format!(
            "sudo ss -lnp{} 'sport = :{}' shows who holds it; stop it, or --listen {}=ADDR:PORT",
            if listener.is_udp() { "u" } else { "t" },
            address.port(),
            listener.name()
        )),
        (std::io::ErrorKind::PermissionDenied, _) => Verdict::Fail(
            "run as root, or: sudo setcap cap_net_bind_service,cap_net_raw+ep $(command -v \
             bootstorm)"
                .into(),
        ),
        (std::io::ErrorKind::AddrNotAvailable, _) => {
            Verdict::Fail("the host does not have this address; see `ip address`".into())
        }
        _ => Verdict::Fail(format!(
            "--listen {}=off if it is not needed",
            listener.name()
        )),
    };
    report.add(subject, format!("{found}: {error}"), verdict);
}

fn check_kernel(report: &mut Report) {
    match bootstorm_engine::driver::probe() {
        Ok(()) => report.add("io_uring", "works", Verdict::Ok),
        Err(error) => report.add(
            "io_uring",
            format!("{error}; epoll takes its place"),
            Verdict::Warn(
                "sudo sysctl kernel.io_uring_disabled=0, or allow io_uring_* in the \
                           container's seccomp profile"
                    .into(),
            ),
        ),
    }
    let limits = [
        (
            "rmem_max",
            bootstorm_engine::RECEIVE_BUFFER,
            "bytes",
            "first requests are lost when thousands of machines start together",
        ),
        (
            "wmem_max",
            bootstorm_engine::SEND_BUFFER,
            "bytes",
            "large windows wait for the network card",
        ),
        (
            "somaxconn",
            bootstorm_engine::ACCEPT_BACKLOG,
            "connections",
            "machines that connect together wait a second and more",
        ),
    ];
    for (name, wanted, unit, without) in limits {
        if let Some(limit) = number_in(&format!("/proc/sys/net/core/{name}")) {
            let (found, verdict) = system_limit(name, limit, (wanted, unit), without);
            report.add(format!("net.core.{name}"), found, verdict);
        }
    }
}

/// CAP_NET_ADMIN lifts the limit, but is not there with `xdp = "off"`, and is given up before the
/// sockets of transfers are made: the system's limit counts, whoever asks here.
fn system_limit(
    name: &str,
    limit: u64,
    (wanted, unit): (usize, &str),
    without: &str,
) -> (String, Verdict) {
    if limit >= wanted as u64 {
        return (format!("{limit} {unit}"), Verdict::Ok);
    }
    let fix = format!(
        "sudo sysctl net.core.{name}={wanted}, and the same line in /etc/sysctl.d/bootstorm.conf"
    );
    let found = format!("{limit} {unit} of the {wanted} wanted: {without}");
    (found, Verdict::Warn(fix))
}

fn check_kernel_tls(config: &Config, report: &mut Report) {
    if config.tls.kernel == KernelTls::Off {
        return;
    }
    // Asked first: the question itself may load the module for root, but not for the service.
    let protocols = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp");
    let is_loaded = protocols.is_ok_and(|all| all.split_whitespace().any(|one| one == "tls"));
    let (found, verdict) = match bootstorm_engine::driver::kernel_tls() {
        Ok(()) if is_loaded => ("works".to_owned(), Verdict::Ok),
        Ok(()) => (
            "the module tls was not loaded".to_owned(),
            Verdict::Warn("echo tls | sudo tee /etc/modules-load.d/bootstorm.conf".into()),
        ),
        Err(error) => (
            format!("{error}; bootstorm encrypts by itself"),
            Verdict::Warn(
                "sudo modprobe tls; a kernel without CONFIG_TLS has none: set tls.kernel = \"off\""
                    .into(),
            ),
        ),
    };
    report.add("kernel TLS", found, verdict);
}

fn number_in(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn check_images(config: &Config, report: &mut Report) {
    let images = config.images.display();
    match std::fs::read_dir(&config.images) {
        Ok(entries) => report.add(
            "images",
            format!("{images}, {} names in it", entries.count()),
            Verdict::Ok,
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let fix = format!("mkdir -p {images} and put a folder with vmlinuz and initrd into it");
            report.add(
                "images",
                format!("{images} is not there yet"),
                Verdict::Warn(fix),
            );
        }
        Err(error) => {
            let fix = "let the user that runs bootstorm read it".to_owned();
            report.add("images", format!("{images}: {error}"), Verdict::Fail(fix));
        }
    }
    for family in [Family::Bios, Family::X64] {
        let found = bootstorm_policy::candidates(family)
            .iter()
            .flat_map(|name| {
                [
                    config.images.join("boot").join(name),
                    Path::new("/usr/lib/ipxe").join(name),
                ]
            })
            .find(|path| path.exists());
        let subject = format!("boot program for {family}");
        match found {
            Some(path) => report.add(subject, path.display(), Verdict::Ok),
            None => report.add(
                subject,
                "none",
                Verdict::Fail(format!(
                    "sudo apt install ipxe, or put one into {images}/boot"
                )),
            ),
        }
    }
}

/// Problems that the last run of a server found among the images.
fn check_entries(config: &Config, report: &mut Report) {
    let snapshot = bootstorm_ingest::last_served(&config.data);
    for problem in snapshot.problems() {
        report.add(
            format!("image {}", problem.path),
            format!("{} [{}]", problem.text, problem.code),
            Verdict::Warn(format!("see docs/reference/reasons.md, {}", problem.code)),
        );
    }
}

/// Listens for a moment; a quiet network proves nothing, which is said.
fn check_other_servers(config: &Config, report: &mut Report) {
    let interfaces = match network::chosen(&config.interfaces) {
        Ok(chosen) if !chosen.is_empty() => chosen,
        _ => network::interfaces().unwrap_or_default(),
    };
    let mut seen = Seen::default();
    let mut buffer = vec![0; 65_536];
    for interface in interfaces.iter().filter(|i| i.up && !i.loopback) {
        let ear = match Ear::open(interface) {
            Ok(ear) => ear,
            Err(error) => {
                let fix = "sudo bootstorm doctor".to_owned();
                return report.add("other servers", format!("{error:#}"), Verdict::Warn(fix));
            }
        };
        let begun = Instant::now();
        while begun.elapsed() < LISTEN {
            if let Ok(Some(frame)) = ear.frame(&mut buffer) {
                seen.hear(frame);
            }
        }
    }
    match seen.boot_servers() {
        rivals if rivals.is_empty() => report.add(
            "other servers",
            format!(
                "none heard in {} s; `bootstorm watch` listens longer",
                LISTEN.as_secs()
            ),
            Verdict::Ok,
        ),
        rivals => report.add(
            "other servers",
            rivals.join(", "),
            Verdict::Warn("switch their PXE part off: machines take the first answer".to_owned()),
        ),
    }
}

fn check_certificate(config: &Config, report: &mut Report) {
    let own = config.tls.certificate.clone();
    let path = own.unwrap_or_else(|| config.data.join("tls/server.pem"));
    match std::fs::metadata(&path) {
        Ok(_) => report.add("certificate", path.display(), Verdict::Ok),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.add("certificate", "is made at the first start", Verdict::Ok);
        }
        Err(error) => report.add(
            "certificate",
            format!("{}: {error}", path.display()),
            Verdict::Warn("run doctor as the user that runs bootstorm".into()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_is_asked_for_comes_with_its_sysctl() {
        let (found, verdict) = system_limit(
            "rmem_max",
            212_992,
            (8_388_608, "bytes"),
            "requests are lost",
        );
        assert_eq!(
            found,
            "212992 bytes of the 8388608 wanted: requests are lost"
        );
        let Verdict::Warn(fix) = verdict else {
            panic!("no warning")
        };
        assert!(
            fix.starts_with("sudo sysctl net.core.rmem_max=8388608,"),
            "{fix}"
        );
        let (_, verdict) = system_limit("wmem_max", 4 << 20, (4 << 20, "bytes"), "");
        assert!(matches!(verdict, Verdict::Ok));
    }
}
