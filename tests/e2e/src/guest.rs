//! What the machines boot: Debian's signed kernel and an initrd with nothing but our init.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::cpio::Archive;
use crate::suite::{Shelf, Suite};

const INIT: &str = include_str!("../guest/init.rs");

/// A kernel and an initrd on disk.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Signed for Secure Boot by Debian.
    pub kernel: PathBuf,
    /// Our own.
    pub initrd: PathBuf,
    /// The kernel package's version.
    pub version: String,
}

impl Guest {
    /// Fetches the kernel and builds the initrd in `folder`.
    ///
    /// # Errors
    /// The archive cannot be reached or the init program does not compile.
    pub fn build(shelf: &Shelf, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let package = shelf.behind(Suite::Bookworm, "linux-image-amd64")?;
        let kernel = kernel_in(&package.root.join("boot"))?;
        let initrd = folder.join("initrd.img");
        fs::write(&initrd, archive(&compile("init", INIT, folder)?))?;
        Ok(Self {
            kernel,
            initrd,
            version: package.version,
        })
    }
}

/// The kernel of an unpacked package.
pub(crate) fn kernel_in(boot: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(boot)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("vmlinuz-") {
            return Ok(path);
        }
    }
    anyhow::bail!("no kernel in {}", boot.display())
}

/// Static, so that the initrd needs no library.
pub(crate) fn compile(name: &str, source: &str, folder: &Path) -> Result<Vec<u8>> {
    let program = folder.join(name);
    let file = folder.join(format!("{name}.rs"));
    fs::write(&file, source)?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    command::output(
        Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
            ])
            .args(["-C", "panic=abort", "-C", "strip=symbols", "-o"])
            .arg(&program)
            .arg(&file),
    )
    .context("cannot compile the init program of the test machines")?;
    Ok(fs::read(program)?)
}

fn archive(init: &[u8]) -> Vec<u8> {
    Archive::default()
        .directory("dev")
        .directory("proc")
        .character_device("dev/console", 5, 1)
        .program("init", init)
        .finish()
}
