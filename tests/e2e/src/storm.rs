//! Simulated machines in a lab of their own: `bootstorm-load lab`, with a server of this host.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command;
use crate::guest::kernel_in;
use crate::process::{Running, tail};
use crate::stop;
use crate::suite::{Shelf, Suite};

/// What every machine but those of Windows boots.
const ENTRY: &str = "linux-storm";
/// What those boot.
const WINDOWS: &str = "winpe";
/// Of the kernel as much as is needed to tell what it boots on.
const KERNEL_MIN: u64 = 64 << 10;
/// A case of CI that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// A storm to be played.
#[derive(Debug, Clone)]
pub struct Storm {
    /// The scenario file.
    pub scenario: PathBuf,
    /// Another number of machines than the scenario's.
    pub machines: Option<u32>,
    /// Another size of the image than the scenario's, in bytes.
    pub image: Option<u64>,
}

/// What a storm is played with.
#[derive(Debug, Clone, Copy)]
pub struct Tools<'a> {
    /// `bootstorm`.
    pub server: &'a Path,
    /// `bootstorm-load`.
    pub load: &'a Path,
    /// Where boot programs come from.
    pub shelf: &'a Shelf,
}

/// What a scenario says, as `bootstorm-load machines` tells it.
#[derive(Debug)]
pub struct Roster {
    /// The scenario's name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Bytes of the image that it wants.
    pub image: u64,
    /// Hardware address and profile of every machine.
    pub machines: Vec<(String, String)>,
}

/// A report of `bootstorm-load`.
#[derive(Debug)]
pub struct Report(Value);

impl Storm {
    /// Whom the scenario plays.
    ///
    /// # Errors
    /// There is no such scenario, or it is wrong.
    pub fn roster(&self, load: &Path) -> Result<Roster> {
        let mut ask = Command::new(load);
        ask.arg("machines").arg(&self.scenario).arg("--json");
        if let Some(machines) = self.machines {
            ask.args(["--machines", &machines.to_string()]);
        }
        Roster::read(&command::output(&mut ask)?, self.image)
    }

    /// Makes what the machines boot from this server, in `folder`, and gives the command that
    /// plays the storm. Its report goes to `folder` too.
    ///
    /// # Errors
    /// Boot programs cannot be had, the disk is full, or one server cannot serve all profiles.
    pub fn against_bootstorm(&self, tools: Tools<'_>, folder: &Path) -> Result<Command> {
        let roster = self.roster(tools.load)?;
        let images = folder.join("images");
        fill(&images, &roster, tools.shelf)?;
        let config = folder.join("bootstorm.toml");
        fs::write(&config, roster.config()?)?;
        let mut play = self.lab(tools.load, folder);
        play.args(["--ready", "ready", "--"]).arg(tools.server);
        play.arg("serve").arg("--images").arg(&images);
        play.arg("--data").arg(folder.join("data"));
        play.args(["--boot", ENTRY]).arg("--config").arg(&config);
        Ok(play)
    }

    /// The same from Debian's dnsmasq as proxyDHCP and TFTP server, which hands out boot programs
    /// and nothing else.
    ///
    /// # Errors
    /// Boot programs cannot be had.
    pub fn against_dnsmasq(&self, tools: Tools<'_>, folder: &Path) -> Result<Command> {
        let programs = folder.join("programs");
        fs::create_dir_all(&programs)?;
        boot_programs(&programs, tools.shelf)?;
        let mut play = self.lab(tools.load, folder);
        play.args(["--", "dnsmasq", "--keep-in-foreground", "--log-facility=-"])
            .args([
                "--user=root",
                "--port=0",
                "--conf-file=/dev/null",
                "--log-dhcp",
            ])
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg("--dhcp-range=10.99.0.0,proxy,255.255.240.0")
            .arg("--pxe-service=x86PC,network,undionly.kpxe")
            .arg("--pxe-service=X86-64_EFI,network,snponly.efi")
            .arg("--enable-tftp")
            .arg(format!("--tftp-root={}", programs.display()));
        Ok(play)
    }

    fn lab(&self, load: &Path, folder: &Path) -> Command {
        let mut play = Command::new(load);
        play.arg("lab").arg(&self.scenario);
        if let Some(machines) = self.machines {
            play.args(["--machines", &machines.to_string()]);
        }
        play.arg("--report").arg(folder.join("report.json"));
        play.arg("--html").arg(folder.join("report.html"));
        play.arg("--server-log").arg(folder.join("server.log"));
        play
    }
}

/// Plays a case of CI and checks what came of it.
///
/// # Errors
/// What the scenario asks for does not hold, or a machine did not get all bytes.
pub fn check(mut play: Command, folder: &Path, bytes: u64) -> Result<(Duration, String)> {
    play.env("RUST_BACKTRACE", "1");
    let mut running = Running::start("load", folder, play)?;
    let status = stop::wait_for("end of the storm", LIMIT, || running.ended())?;
    let said = || {
        let server = command::read(&folder.join("server.log")).unwrap_or_default();
        let said = [running.stdout(), running.stderr()]
            .map(|file| command::read(file).unwrap_or_default());
        format!(
            "{}\n{}\nserver's log:\n{}",
            said[0],
            tail(&said[1], 20),
            tail(&server, 15)
        )
    };
    ensure!(status.success(), "it ended with {status}:\n{}", said());
    let report = Report::load(folder)?;
    ensure!(
        report.bytes() >= bytes,
        "the machines got {} bytes in all, which are not {bytes}:\n{}",
        report.bytes(),
        said()
    );
    Ok((report.slowest(), report.line()))
}

impl Roster {
    fn read(said: &str, image: Option<u64>) -> Result<Self> {
        let said: Value = serde_json::from_str(said).context("`machines` tells no JSON")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let machines = said["machines"].as_array().context("no machines")?;
        Ok(Self {
            name: text(&said["name"]),
            about: text(&said["about"]),
            image: image.or(said["image"].as_u64()).unwrap_or(20_000_000),
            machines: machines
                .iter()
                .map(|machine| (text(&machine["mac"]), text(&machine["profile"])))
                .collect(),
        })
    }

    /// How many machines load the image; those of Windows load another.
    #[must_use]
    pub fn of_linux(&self) -> u64 {
        self.machines.len() as u64 - self.with("windows-tftp").count() as u64
    }

    fn with<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = &'a str> {
        let machines = self.machines.iter();
        machines
            .filter(move |(_, has)| has == profile)
            .map(|(mac, _)| mac.as_str())
    }

    fn has(&self, profiles: [&str; 2]) -> bool {
        profiles
            .iter()
            .any(|profile| self.with(profile).next().is_some())
    }

    /// The server's configuration: nobody waits at its menu, and machines that boot over HTTPS are
    /// sent there.
    fn config(&self) -> Result<String> {
        let https = self.has(["uefi-https", "ipxe-https"]);
        if https && self.has(["uefi-http", "ipxe-http"]) {
            bail!(
                "{}: this server sends all machines to HTTP, or all to HTTPS",
                self.name
            );
        }
        let mut config = "[boot]\nmenu_timeout = 1\n".to_owned();
        if https {
            config += "script_scheme = \"https\"\nhttp_boot_scheme = \"https\"\n";
        }
        for mac in self.with("windows-tftp") {
            config += &format!("\n[[machine]]\nmac = \"{mac}\"\nboot = \"{WINDOWS}\"\n");
        }
        Ok(config)
    }
}

impl Report {
    /// The one in a folder.
    ///
    /// # Errors
    /// There is none: the storm did not come to its end.
    pub fn load(folder: &Path) -> Result<Self> {
        let text = command::read(&folder.join("report.json"))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Bytes of files that the machines got.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0["bytes"].as_u64().unwrap_or(0)
    }

    /// How long the slowest boot took.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        Duration::from_secs_f64(self.number("/phases/booted/max").unwrap_or(0.0))
    }

    /// A figure, by its JSON pointer.
    #[must_use]
    pub fn number(&self, pointer: &str) -> Option<f64> {
        self.0.pointer(pointer)?.as_f64()
    }

    /// The findings by name, or `none`.
    #[must_use]
    pub fn findings(&self) -> String {
        let findings = self.0["findings"].as_array().into_iter().flatten();
        let named: Vec<String> = findings
            .map(|found| {
                format!(
                    "{} × {}",
                    found["count"],
                    found["code"].as_str().unwrap_or("?")
                )
            })
            .collect();
        if named.is_empty() {
            "none".to_owned()
        } else {
            named.join(", ")
        }
    }

    /// Whether everything holds that the scenario asks for.
    #[must_use]
    pub fn held(&self) -> bool {
        let mut limits = self.0["limits"].as_array().into_iter().flatten();
        limits.all(|limit| limit["held"] == true)
    }

    /// The figures in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let number = |pointer: &str| self.number(pointer).unwrap_or(0.0);
        format!(
            "{:.0} of {:.0} booted, {:.2} GB, {:.0} MB/s, {:.0} files verified",
            number("/machines/booted"),
            number("/scenario/machines"),
            number("/bytes") / 1e9,
            number("/bytes_per_s") / 1e6,
            number("/files/verified"),
        )
    }
}

/// Fills the images folder with boot programs, the Linux entry, and Windows where somebody boots it.
fn fill(images: &Path, roster: &Roster, shelf: &Shelf) -> Result<()> {
    let (boot, linux) = (images.join("boot"), images.join(ENTRY));
    fs::create_dir_all(&boot)?;
    fs::create_dir_all(&linux)?;
    boot_programs(&boot, shelf)?;
    let package = shelf.behind(Suite::Bookworm, "linux-image-amd64")?;
    let mut kernel = Vec::new();
    File::open(kernel_in(&package.root.join("boot"))?)?
        .take((roster.image / 4).max(KERNEL_MIN))
        .read_to_end(&mut kernel)?;
    fs::write(linux.join("vmlinuz"), &kernel)?;
    let rest = roster.image.saturating_sub(kernel.len() as u64).max(1);
    noise(&linux.join("initrd.img"), rest)?;
    if roster.with("windows-tftp").next().is_some() {
        windows(images, &boot.join("snponly.efi"))?;
    }
    Ok(())
}

fn boot_programs(into: &Path, shelf: &Shelf) -> Result<()> {
    let package = shelf.package(Suite::Bookworm, "ipxe")?;
    for program in ["undionly.kpxe", "snponly.efi"] {
        let from = package.root.join("usr/lib/ipxe").join(program);
        fs::copy(&from, into.join(program))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// An image of Windows PE without Windows: what its boot manager asks for is there, and a program
/// stands in its place.
fn windows(images: &Path, program: &Path) -> Result<()> {
    let root = images.with_file_name("windows");
    let boot = root.join("Windows/Boot");
    for folder in ["EFI", "DVD/EFI", "Fonts"] {
        fs::create_dir_all(boot.join(folder))?;
    }
    fs::copy(program, boot.join("EFI/bootmgfw.efi"))?;
    noise(&boot.join("DVD/EFI/boot.sdi"), 300_001)?;
    noise(&boot.join("Fonts/wgl4_boot.ttf"), 47_452)?;
    noise(&root.join("Windows/rest.bin"), 3 << 20)?;
    let mut capture = Command::new("wimlib-imagex");
    capture.arg("capture").arg(&root);
    capture.arg(images.join(format!("{WINDOWS}.wim")));
    capture.args(["Windows PE", "--boot", "--compress=none"]);
    capture.args(["--image-property", "WINDOWS/ARCH=9"]);
    capture.args(["--image-property", "WINDOWS/INSTALLATIONTYPE=WindowsPE"]);
    command::output(&mut capture)?;
    fs::write(images.join("image.toml"), "loader = \"bootmgr\"\n")?;
    Ok(())
}

/// Bytes that nothing can compress, the same for each length in every run (xorshift, Marsaglia).
fn noise(file: &Path, bytes: u64) -> Result<()> {
    let full = || format!("cannot fill {}", file.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file).with_context(full)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes;
    let mut left = bytes;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        let part = usize::try_from(left.min(8))?;
        out.write_all(&word[..part]).with_context(full)?;
        left -= part as u64;
    }
    out.flush().with_context(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(profiles: &[&str]) -> Roster {
        let machines: Vec<Value> = (0..)
            .zip(profiles)
            .map(|(at, profile)| serde_json::json!({"mac": format!("02:00:00:00:00:0{at}"), "profile": profile}))
            .collect();
        let said = serde_json::json!({"name": "test", "image": 5, "machines": machines});
        Roster::read(&said.to_string(), None).unwrap()
    }

    #[test]
    fn a_server_is_told_who_boots_windows_and_who_boots_over_https() {
        let mixed = roster(&["bios", "windows-tftp", "uefi-http"]);
        let config = mixed.config().unwrap();
        assert!(config.contains("mac = \"02:00:00:00:00:01\"\nboot = \"winpe\""));
        assert!(!config.contains("https"));
        assert_eq!((mixed.of_linux(), mixed.image), (2, 5));
        let secure = roster(&["uefi-https", "bios"]).config().unwrap();
        assert!(secure.contains("script_scheme = \"https\""));
        assert!(roster(&["uefi-http", "ipxe-https"]).config().is_err());
    }

    #[test]
    fn an_image_is_the_same_in_every_run() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("1"), folder.path().join("2"));
        noise(&one, 1_000_003).unwrap();
        noise(&other, 1_000_003).unwrap();
        let one = fs::read(one).unwrap();
        assert_eq!(one.len(), 1_000_003);
        assert!(one == fs::read(other).unwrap());
        assert_ne!(one[..8], one[8..16]);
    }
}
