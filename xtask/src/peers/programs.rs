//! Where the peers come from. Debian's are unpacked, not installed: their packages would start
//! services on this host's ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bootstorm_e2e::command;

use super::server::Kind;
use crate::workspace;

/// The version of rs-tftpd that is compared with.
const RS_TFTPD: &str = "1.0.0";

/// A peer's program, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    /// Libraries that were unpacked beside it.
    pub(crate) libraries: Option<PathBuf>,
    pub(crate) version: String,
}

/// The peers that could be had, and why the others could not.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) programs: Vec<Program>,
    pub(crate) missing: Vec<(Kind, String)>,
}

/// Finds, unpacks or builds every peer of `kinds`.
pub(crate) fn collect(kinds: &[Kind], folder: &Path) -> Peers {
    let mut peers = Peers::default();
    for kind in kinds {
        let program = match kind {
            Kind::Bootstorm => continue,
            Kind::RsTftpd => rs_tftpd(folder),
            Kind::Dnsmasq => debian(*kind, "dnsmasq", "dnsmasq-base", &[], folder),
            Kind::TftpdHpa => debian(*kind, "in.tftpd", "tftpd-hpa", &["libwrap0"], folder),
            Kind::Atftpd => {
                let libraries = ["libwrap0", "libpcre2-8-0"];
                debian(*kind, "atftpd", "atftpd", &libraries, folder)
            }
            Kind::Nginx => debian(*kind, "nginx", "nginx-light", &["nginx"], folder),
        };
        match program {
            Ok(program) => peers.programs.push(program),
            Err(error) => peers.missing.push((*kind, format!("{error:#}"))),
        }
    }
    peers
}

fn rs_tftpd(folder: &Path) -> Result<Program> {
    let root = folder.join("crates");
    let path = root.join("bin/tftpd");
    if !path.exists() {
        println!("Building tftpd {RS_TFTPD} of crates.io");
        command::output(
            workspace::cargo()
                .args(["install", "--quiet", "--locked", "tftpd", "--version"])
                .arg(format!("={RS_TFTPD}"))
                .arg("--root")
                .arg(&root)
                .arg("--target-dir")
                .arg(folder.join("crates/target"))
                // What is set for our own builds is not for others'.
                .env_remove("CARGO_PROFILE_RELEASE_LTO")
                .env_remove("CARGO_PROFILE_RELEASE_CODEGEN_UNITS")
                .env_remove("CARGO_PROFILE_RELEASE_INCREMENTAL"),
        )?;
    }
    Ok(Program {
        kind: Kind::RsTftpd,
        path,
        libraries: None,
        version: RS_TFTPD.to_owned(),
    })
}

/// The program of this machine, or the one of the release's package.
fn debian(
    kind: Kind,
    program: &str,
    package: &str,
    libraries: &[&str],
    folder: &Path,
) -> Result<Program> {
    let places = ["/usr/sbin", "/usr/bin"];
    let installed = places.map(|place| Path::new(place).join(program));
    let (path, root) = match installed.into_iter().find(|path| path.exists()) {
        Some(path) => (path, None),
        None => {
            let root = folder.join(package);
            let path = root.join("usr/sbin").join(program);
            if !path.exists() {
                unpack(package, libraries, &root)?;
            }
            (path, Some(root))
        }
    };
    let libraries = root
        .map(|root| root.join("usr/lib").join(triplet()))
        .filter(|folder| folder.exists());
    let version = version(kind, &path, libraries.as_deref())?;
    Ok(Program {
        kind,
        path,
        libraries,
        version,
    })
}

fn unpack(package: &str, libraries: &[&str], root: &Path) -> Result<()> {
    println!("Unpacking Debian's {package}");
    if !command::found("apt-get") {
        bail!("not installed, and there is no apt-get to fetch it with");
    }
    let debs = root.join("debs");
    fs::create_dir_all(&debs)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .args(libraries)
            .current_dir(&debs);
        command::output(&mut apt)
    };
    if download().is_err() {
        if !command::is_root() {
            bail!("not installed; as root: apt-get install {package}");
        }
        command::output(Command::new("apt-get").args(["-q", "update"]))?;
        download()?;
    }
    for deb in fs::read_dir(&debs)? {
        let mut dpkg = Command::new("dpkg-deb");
        command::output(dpkg.arg("--extract").arg(deb?.path()).arg(root))?;
    }
    Ok(())
}

fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// The version out of what the program says about itself, on either output.
fn version(kind: Kind, path: &Path, libraries: Option<&Path>) -> Result<String> {
    let flag = match kind {
        Kind::Nginx => "-v",
        _ => "--version",
    };
    let mut program = Command::new(path);
    if let Some(libraries) = libraries {
        program.env("LD_LIBRARY_PATH", libraries);
    }
    let said = program
        .arg(flag)
        .output()
        .with_context(|| format!("cannot run {}", path.display()))?;
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    number(&text).with_context(|| format!("{} does not run: {}", path.display(), text.trim()))
}

/// The first word that begins with a digit, after any `/`.
fn number(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || "/,-".contains(c))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.trim_end_matches(['.', ')']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let told = |text| number(text).unwrap();
        assert_eq!(told("nginx version: nginx/1.22.1\n"), "1.22.1");
        assert_eq!(told("Dnsmasq version 2.90  Copyright (c) 2000"), "2.90");
        assert_eq!(told("atftp-0.8.0 (server)"), "0.8.0");
        assert_eq!(told("tftp-hpa 5.2, with remap"), "5.2");
        assert_eq!(number("no such file"), None);
    }
}
