//! Packages of other Debian suites, unpacked into a folder without installing them.
//!
//! The matrix wants firmware of three Debian releases whatever the machine runs. apt reads each
//! suite with its own list folder, from the same mirror and through the same proxy as the
//! machine's own configuration says; nothing of the machine is changed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// A Debian suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Debian 12: OVMF 2022.11, iPXE of 2019, the kernel of every case.
    Bookworm,
    /// Debian 13: OVMF 2025.02, iPXE 1.21.1.
    Trixie,
    /// Unstable: OVMF 2026.08, iPXE 2.0; moves, so reports name the version.
    Sid,
}

impl Suite {
    /// The name in the archive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where unpacked packages are kept between runs.
#[derive(Debug, Clone)]
pub struct Shelf {
    root: PathBuf,
}

/// One unpacked package.
#[derive(Debug, Clone)]
pub struct Package {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// Its version in the archive.
    pub version: String,
}

impl Shelf {
    /// A shelf in `root`, which is made when first needed.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The package out of the shelf, or else out of the archive.
    ///
    /// # Errors
    /// The archive cannot be reached, does not know the package, or the disk is full.
    pub fn package(&self, suite: Suite, name: &str) -> Result<Package> {
        let root = self.root.join(suite.name()).join(name);
        let stamp = root.join(".version");
        if let Ok(version) = fs::read_to_string(&stamp) {
            return Ok(Package {
                root,
                version: version.trim().to_owned(),
            });
        }
        let apt = self.apt(suite)?;
        println!("  fetching {name} of Debian {suite} for {}", root.display());
        let unfinished = self.root.join(suite.name()).join(format!(".{name}"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)?;
        let archive = apt.download(name, &unfinished)?;
        let version = command::output(
            Command::new("dpkg-deb")
                .arg("-f")
                .arg(&archive)
                .arg("Version"),
        )?;
        command::output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(&archive)
                .arg(&unfinished),
        )?;
        fs::remove_file(&archive)?;
        if !name.contains("-cloud-") {
            // A whole kernel's modules are 400 MB that no case loads.
            for modules in ["lib/modules", "usr/lib/modules"] {
                if unfinished.join(modules).exists() {
                    fs::remove_dir_all(unfinished.join(modules))?;
                }
            }
        }
        fs::write(unfinished.join(".version"), version.trim())?;
        fs::rename(&unfinished, &root)?;
        Ok(Package {
            root,
            version: version.trim().to_owned(),
        })
    }

    /// Like [`Shelf::package`] for a package that only depends on the wanted one, as
    /// `linux-image-amd64` does.
    ///
    /// # Errors
    /// See [`Shelf::package`].
    pub fn behind(&self, suite: Suite, name: &str) -> Result<Package> {
        let note = self.root.join(suite.name()).join(format!("{name}.behind"));
        if let Ok(real) = fs::read_to_string(&note) {
            return self.package(suite, &real);
        }
        let apt = self.apt(suite)?;
        let said = command::output(apt.command("apt-cache").args(["depends", name]))?;
        let real = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .with_context(|| format!("{name} of {suite} depends on nothing:\n{said}"))?;
        let package = self.package(suite, real)?;
        fs::write(note, real)?;
        Ok(package)
    }

    fn apt(&self, suite: Suite) -> Result<Apt> {
        let apt = Apt {
            folder: self.root.join("apt").join(suite.name()),
        };
        if !apt.folder.join("ready").exists() {
            apt.prepare(suite)?;
        }
        Ok(apt)
    }
}

/// apt with lists, cache and package state of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn prepare(&self, suite: Suite) -> Result<()> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing; install the package debian-archive-keyring");
        }
        for part in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(self.folder.join(part))?;
        }
        fs::write(self.folder.join("status"), "")?;
        let source = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror());
        fs::write(self.folder.join("parts/suite.list"), source)?;
        command::output(self.command("apt-get").args(["-q", "update"]))?;
        fs::write(self.folder.join("ready"), "")?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at =
            |option: &str, part: &str| format!("{option}={}", self.folder.join(part).display());
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            at("Dir::Etc::SourceParts", "parts"),
            at("Dir::State::Lists", "lists"),
            at("Dir::State::Status", "status"),
            at("Dir::Cache", "cache"),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        if command::is_root() {
            // The folder is inside the workspace, where apt's own user often may not write.
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        command
    }

    fn download(&self, name: &str, into: &Path) -> Result<PathBuf> {
        command::output(
            self.command("apt-get")
                .args(["-q", "download", name])
                .current_dir(into),
        )?;
        for entry in fs::read_dir(into)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                return Ok(path);
            }
        }
        bail!("apt-get download {name} left no file");
    }
}

/// The machine's own Debian mirror.
pub(crate) fn mirror() -> String {
    let targets = command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(LABEL)",
        "Created-By: Packages",
    ]))
    .unwrap_or_default();
    mirror_among(&targets).unwrap_or(DEFAULT_MIRROR).to_owned()
}

/// Label first (a mirror may have any path); without downloaded lists there is no label.
fn mirror_among(targets: &str) -> Option<&str> {
    let lines = || {
        targets
            .lines()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
    };
    lines()
        .find(|(_, label)| *label == "Debian")
        .or_else(|| lines().find(|(uri, _)| uri.trim_end_matches('/').ends_with("/debian")))
        .map(|(uri, _)| uri.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::mirror_among;

    #[test]
    fn the_mirror_is_the_one_labelled_debian() {
        let targets = "http://a.example/debian-security/ Debian-Security\n\
                       http://b.example/mirror/ Debian\n";
        assert_eq!(mirror_among(targets), Some("http://b.example/mirror"));
    }

    #[test]
    fn without_labels_the_path_tells_the_mirror() {
        let targets = "http://a.example/debian-security/ $(LABEL)\n\
                       http://a.example/debian/ $(LABEL)\n";
        assert_eq!(mirror_among(targets), Some("http://a.example/debian"));
        assert_eq!(mirror_among("http://c.example/ubuntu/ Ubuntu\n"), None);
    }
}
