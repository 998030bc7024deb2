//! Kernel TLS, which needs a kernel that has it: Debian's, with server and clients inside the
//! machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command;
use crate::cpio::Archive;
use crate::guest::{compile, kernel_in};
use crate::qemu::Machine;
use crate::suite::{Package, Shelf, Suite};

const INIT: &str = include_str!("../guest/kernel_tls.rs");
/// TLS, and what its ciphers are made of; what a kernel has built in is not there as a file.
const MODULES: [&str; 7] = [
    "tls",
    "gcm",
    "ctr",
    "ghash_generic",
    "chacha_generic",
    "poly1305_generic",
    "chacha20poly1305",
];
const PROGRAMS: [&str; 2] = ["/usr/bin/curl", "/usr/bin/openssl"];
const CONFIG: &str = "[tls]\nkernel = \"auto\"\n";
const LIMIT: Duration = Duration::from_secs(240);

/// Boots the machine and waits for its marker; says how long that took, and the kernel.
///
/// # Errors
/// The archive cannot be reached, or the proof failed; the console says where.
pub fn run(
    suite: Suite,
    shelf: &Shelf,
    server: &Path,
    folder: &Path,
    (case, nonce): (&str, &str),
) -> Result<(Duration, String)> {
    let package = shelf.behind(suite, "linux-image-cloud-amd64")?;
    let initrd = folder.join("initrd.img");
    fs::write(&initrd, archive(&package, server, folder)?)?;
    let kernel = kernel_in(&package.root.join("boot"))?;
    // The kernel's random numbers are there at once: the processor has them.
    let cmdline = format!("console=ttyS0 panic=-1 e2e.case={case} e2e.nonce={nonce}");
    let start = Instant::now();
    let mut machine = Machine::direct("machine", folder, &kernel, &initrd, &cmdline)?;
    let marker = format!("bootstorm-e2e {case} booted {nonce}");
    machine.wait_for(&marker, LIMIT)?;
    Ok((
        start.elapsed(),
        format!("kernel {} of Debian {suite}", package.version),
    ))
}

fn archive(package: &Package, server: &Path, folder: &Path) -> Result<Vec<u8>> {
    let mut contents = Contents::default();
    contents.archive.character_device("dev/console", 5, 1);
    for empty in ["proc", "tmp"] {
        contents.directory(empty);
    }
    contents.file("init", &compile("kernel-tls", INIT, folder)?);
    contents.file("bootstorm.toml", CONFIG.as_bytes());
    contents.file("bootstorm", &stripped(server, folder)?);
    let mut libraries = libraries(server)?;
    for program in PROGRAMS {
        contents.file(program, &fs::read(program)?);
        libraries.extend(self::libraries(Path::new(program))?);
    }
    for library in libraries {
        let content = fs::read(&library)?;
        contents.file(&library.to_string_lossy(), &content);
    }
    let mut order = String::new();
    for (name, content) in modules(package)? {
        contents.file(&format!("modules/{name}"), &content);
        order.push_str(&name);
        order.push('\n');
    }
    contents.file("modules/order", order.as_bytes());
    Ok(contents.archive.finish())
}

/// An archive that makes the folders above a file.
#[derive(Default)]
struct Contents {
    archive: Archive,
    folders: BTreeSet<String>,
}

impl Contents {
    fn directory(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        if self.folders.insert(path.to_owned()) {
            self.archive.directory(path);
        }
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.archive.program(path, content);
    }
}

/// Without what only debuggers read, which is most of it.
fn stripped(program: &Path, folder: &Path) -> Result<Vec<u8>> {
    let out = folder.join("stripped");
    command::output(Command::new("strip").arg("-o").arg(&out).arg(program))?;
    Ok(fs::read(out)?)
}

/// The libraries that a program of this machine loads, its loader among them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let said = command::output(Command::new("ldd").arg(program))?;
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

/// The modules in the order in which they are to be loaded.
fn modules(package: &Package) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for root in ["lib/modules", "usr/lib/modules"] {
        find_modules(&package.root.join(root), &mut files)?;
    }
    let mut loaded = Vec::new();
    for name in MODULES {
        add_module(name, &files, &mut loaded)?;
    }
    anyhow::ensure!(
        loaded.iter().any(|(name, _)| name == "tls"),
        "the kernel package has no module tls"
    );
    Ok(loaded)
}

fn find_modules(folder: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            find_modules(&path, files)?;
        } else if let Some((name, "ko" | "ko.xz")) = name.split_once('.') {
            files.push((name.replace('-', "_"), path.clone()));
        }
    }
    Ok(())
}

/// What a module depends on goes first.
fn add_module(
    name: &str,
    files: &[(String, PathBuf)],
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let known = loaded.iter().any(|(other, _)| other == name);
    let Some((_, path)) = files.iter().find(|(other, _)| other == name && !known) else {
        return Ok(());
    };
    let content = if path.extension().is_some_and(|extension| extension == "xz") {
        let said = Command::new("xz").arg("-dc").arg(path).output();
        said.context("cannot run xz")?.stdout
    } else {
        fs::read(path)?
    };
    for needed in depends(&content) {
        add_module(&needed.replace('-', "_"), files, loaded)?;
    }
    loaded.push((name.to_owned(), content));
    Ok(())
}

/// The section `.modinfo` is NUL-terminated pairs.
fn depends(module: &[u8]) -> Vec<String> {
    let pairs = module.split(|byte| *byte == 0);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(values.next().unwrap_or_default()).into_owned();
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn a_module_names_what_it_depends_on() {
        let module = b"\x7fELF\0license=GPL\0depends=crypto_simd,cryptd\0name=x\0";
        assert_eq!(depends(module), ["crypto_simd", "cryptd"]);
        assert!(depends(b"\x7fELF\0depends=\0").is_empty());
        assert!(depends(b"").is_empty());
    }
}
