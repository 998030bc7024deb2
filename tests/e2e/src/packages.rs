//! What tests and builds need from the machine's own package manager.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::suite;

/// A program or a file of the system and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The program that is looked for, or the path of whatever else it is.
    pub program: &'static str,
    /// The package to install.
    pub package: &'static str,
    /// What it is for, as said to the user.
    pub why: &'static str,
}

/// Everything that booting a machine takes.
pub const BOOT: &[Need] = &[
    need(
        "qemu-system-x86_64",
        "qemu-system-x86",
        "the virtual machines whose firmware boots",
    ),
    need(
        "dnsmasq",
        "dnsmasq-base",
        "the DHCP server of the test network",
    ),
    need("ip", "iproute2", "network namespaces, bridges and taps"),
    need(
        "ethtool",
        "ethtool",
        "switches checksum offload off on virtual links",
    ),
    need("tcpdump", "tcpdump", "a capture of every case"),
    need(
        "nft",
        "nftables",
        "makes QEMU's boot ROM look like a plain one",
    ),
    need(
        "curl",
        "curl",
        "asks the server's API from inside its namespace",
    ),
    need(
        "openssl",
        "openssl",
        "a peer for TLS, and a judge of certificates",
    ),
    need(
        "dpkg-deb",
        "dpkg",
        "unpacks firmware of other Debian releases",
    ),
    need(
        "setpriv",
        "util-linux",
        "ends the lab's processes with the test",
    ),
    need(
        "c++",
        "g++",
        "libFuzzer, which throws rubbish at the parsers",
    ),
    need("cc", "gcc", "links the test's own init program"),
    need("xz", "xz-utils", "unpacks the modules of newer kernels"),
    // QEMU only recommends it.
    need(
        "/usr/lib/ipxe/qemu/pxe-e1000.rom",
        "ipxe-qemu",
        "the BIOS boot ROM of the network card",
    ),
];

/// What the store's tests take beside SQLite.
pub const STORE: &[Need] = &[need(
    "/usr/lib/postgresql",
    "postgresql",
    "a database server, which the tests of the store start",
)];

/// Judges of what is read and made for Windows.
pub const WINDOWS: &[Need] = &[
    need(
        "wimlib-imagex",
        "wimtools",
        "makes Windows images, and reads them beside the server",
    ),
    need(
        "hivexml",
        "libhivex-bin",
        "reads the boot stores that are made here",
    ),
    need(
        "grub-mkimage",
        "grub-common",
        "makes the boot manager of a Windows image for tests",
    ),
    need(
        "/usr/lib/grub/x86_64-efi/tftp.mod",
        "grub-efi-amd64-bin",
        "the parts of that boot manager",
    ),
];

/// What building and linting the classifier takes. rustup's compiler has no library for its target.
pub const CLASSIFIER: &[Need] = &[
    need(
        "/usr/bin/rustc",
        "rustc-web",
        "the compiler of the classifier",
    ),
    need(
        "/usr/lib/rustlib/bpfel-unknown-none",
        "libstd-rust-web-dev-bpf",
        "the core library for BPF",
    ),
    need(
        "/usr/bin/clippy-driver",
        "rust-web-clippy",
        "the lints of that compiler",
    ),
];

/// What building the client for Windows PE takes.
pub const WINPE: &[Need] = &[
    need("/usr/bin/rustc", "rustc-web", "the compiler of the client"),
    need(
        "/usr/lib/rustlib/src/rust/library/Cargo.lock",
        "rust-web-src",
        "the source of its standard library",
    ),
    need(
        "x86_64-w64-mingw32-gcc",
        "gcc-mingw-w64-x86-64",
        "links programs for Windows",
    ),
];

/// What linting it takes besides, and running it where there is no Windows.
pub const WINE: &[Need] = &[
    need(
        "/usr/bin/clippy-driver",
        "rust-web-clippy",
        "the lints of the client's compiler",
    ),
    need("/usr/lib/wine/wine64", "wine64", "runs the client"),
];

const fn need(program: &'static str, package: &'static str, why: &'static str) -> Need {
    Need {
        program,
        package,
        why,
    }
}

/// Which of them are not there yet.
#[must_use]
pub fn missing(needs: &[Need]) -> Vec<Need> {
    let is_there = |need: &Need| {
        if need.program.starts_with('/') {
            Path::new(need.program).exists()
        } else {
            command::found(need.program)
        }
    };
    needs
        .iter()
        .copied()
        .filter(|need| !is_there(need))
        .collect()
}

/// Says what is missing and why, then installs it.
///
/// # Errors
/// Without root: the command to type. Otherwise what apt-get says.
pub fn install(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    println!("Missing on this machine:");
    for need in &missing {
        println!("  {:24} {}", need.package, need.why);
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let typed = format!(
        "apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    if !command::found("apt-get") {
        bail!("install these with the package manager of this machine");
    }
    if !command::is_root() {
        bail!("as root: {typed}");
    }
    println!("Installing them: {typed}");
    // Nothing of the machine's own is taken away for it, a compiler of another package say.
    let args = [
        "-y",
        "-q",
        "--no-remove",
        "--no-install-recommends",
        "install",
    ];
    let simulated = Command::new("apt-get")
        .args(["-s"])
        .args(args)
        .args(&names)
        .output();
    if !simulated.is_ok_and(|said| said.status.success()) {
        // Either there are no lists yet, or a backport keeps the release's own version out.
        command::output(Command::new("apt-get").args(["-q", "update"]))?;
    }
    let plain = command::output(
        noninteractive(&mut Command::new("apt-get"))
            .args(args)
            .args(&names),
    );
    if let Err(error) = plain {
        install_from_backports(&names).with_context(|| format!("{error:#}"))?;
    }
    let rest = self::missing(needs);
    if !rest.is_empty() {
        bail!("still missing after the installation: {rest:?}");
    }
    Ok(())
}

fn noninteractive(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive")
}

/// Where a part of QEMU came from backports, the rest has to as well. The machine's own sources
/// plus backports are read from a folder of their own: no apt source stays behind.
fn install_from_backports(names: &[&str]) -> Result<()> {
    let codename = codename().context("cannot tell which Debian this is")?;
    println!(
        "  the release's own versions do not fit what is installed: using {codename}-backports"
    );
    let folder = tempfile::tempdir()?;
    let at = |part: &str| folder.path().join(part);
    for part in ["lists/partial", "parts"] {
        fs::create_dir_all(at(part))?;
    }
    fs::write(
        at("sources.list"),
        fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()
            + &format!("\ndeb {} {codename}-backports main\n", suite::mirror()),
    )?;
    for entry in fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
    {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            fs::copy(&path, at("parts").join(name))?;
        }
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command
            .args([
                "-o",
                &format!("Dir::Etc::SourceList={}", at("sources.list").display()),
            ])
            .args([
                "-o",
                &format!("Dir::Etc::SourceParts={}", at("parts").display()),
            ])
            .args([
                "-o",
                &format!("Dir::State::Lists={}", at("lists").display()),
            ])
            .args(["-o", "APT::Sandbox::User=root"]);
        noninteractive(&mut command);
        command
    };
    command::output(apt().args(["-q", "update"]))?;
    command::output(
        apt()
            .args(["-y", "-q", "--no-install-recommends", "install", "-t"])
            .arg(format!("{codename}-backports"))
            .args(names),
    )?;
    Ok(())
}

fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(str::to_owned)
}
