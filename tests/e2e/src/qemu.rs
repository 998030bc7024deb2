//! Virtual machines that run real firmware, in software (no KVM).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::lab::{Lab, Node, Subnet};
use crate::process::{Running, tail};
use crate::stop;
use crate::suite::{Shelf, Suite};

/// What the console shows when the firmware has nothing left to try.
const GIVEN_UP: [&str; 2] = ["No bootable device", "UEFI Interactive Shell"];

/// The firmware in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, with the boot ROM of QEMU's e1000 (iPXE).
    Bios,
    /// OVMF as that suite builds it, with its own PXE stack.
    Uefi(Suite),
    /// OVMF with Microsoft's and Debian's keys enrolled and Secure Boot on.
    SecureBoot(Suite),
}

/// What UEFI firmware tries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// PXE over IPv4.
    Pxe4,
    /// PXE over IPv6, IPv4 switched off.
    Pxe6,
    /// HTTP Boot, PXE switched off.
    Http,
}

/// A machine to switch on.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Its firmware.
    pub firmware: Firmware,
    /// What the firmware tries.
    pub first: Try,
    /// Its network card's address.
    pub mac: String,
    /// Its SMBIOS identity.
    pub uuid: String,
    /// What else its SMBIOS says, as `-smbios` takes it.
    pub smbios: &'static [&'static str],
    /// Where it is plugged in.
    pub subnet: Subnet,
    /// An EFI signature list of CAs that its TLS trusts.
    pub trusted: Option<PathBuf>,
}

/// A machine that is running.
#[derive(Debug)]
pub struct Machine {
    qemu: Running,
    console: PathBuf,
}

impl Firmware {
    /// Name and version for reports.
    ///
    /// # Errors
    /// The archive cannot be reached.
    pub fn describe(self, shelf: &Shelf) -> Result<String> {
        match self {
            Self::Bios => Ok("SeaBIOS".to_owned()),
            Self::Uefi(suite) | Self::SecureBoot(suite) => {
                Ok(format!("OVMF {}", ovmf(shelf, suite)?.1))
            }
        }
    }
}

impl Machine {
    /// Switches a machine on; its console goes to `lab.folder()/NAME.console`.
    ///
    /// # Errors
    /// QEMU or the firmware is missing.
    pub fn start(name: &str, hardware: &Hardware, lab: &Lab, shelf: &Shelf) -> Result<Self> {
        let console = lab.folder().join(format!("{name}.console"));
        let mut qemu = lab.command(Node::Lan, "qemu-system-x86_64");
        qemu.args([
            "-cpu",
            "max",
            "-m",
            "1024",
            "-nodefaults",
            "-nographic",
            "-monitor",
            "none",
        ])
        .args(["-no-reboot", "-uuid", &hardware.uuid])
        .args(["-serial", &format!("file:{}", console.display())]);
        for strings in hardware.smbios {
            qemu.args(["-smbios", strings]);
        }
        let tap = lab.tap(hardware.subnet)?;
        qemu.args([
            "-netdev",
            &format!("tap,id=n0,ifname={tap},script=no,downscript=no"),
        ]);
        match hardware.firmware {
            Firmware::Bios => bios(&mut qemu, hardware),
            Firmware::Uefi(suite) => {
                let folder = ovmf(shelf, suite)?.0;
                qemu.args(["-M", "q35,accel=tcg"]);
                let code = folder.join("OVMF_CODE_4M.fd");
                let variables = keep_variables(name, lab, &folder.join("OVMF_VARS_4M.fd"))?;
                uefi(&mut qemu, hardware, &code, &variables);
            }
            Firmware::SecureBoot(suite) => {
                let folder = ovmf(shelf, suite)?.0;
                qemu.args(["-M", "q35,accel=tcg,smm=on"])
                    .args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                let code = folder.join("OVMF_CODE_4M.secboot.fd");
                let variables = keep_variables(name, lab, &folder.join("OVMF_VARS_4M.ms.fd"))?;
                uefi(&mut qemu, hardware, &code, &variables);
            }
        }
        let qemu = Running::start(name, lab.folder(), qemu)?;
        Ok(Self { qemu, console })
    }

    /// Switches a machine on that boots `kernel` and `initrd` without firmware or network; its
    /// console goes to `folder/NAME.console`.
    ///
    /// # Errors
    /// QEMU is missing.
    pub fn direct(
        name: &str,
        folder: &Path,
        kernel: &Path,
        initrd: &Path,
        cmdline: &str,
    ) -> Result<Self> {
        let console = folder.join(format!("{name}.console"));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "pc,accel=tcg", "-cpu", "max", "-m", "1024"])
            .args(["-nodefaults", "-nographic", "-monitor", "none"])
            .arg("-no-reboot")
            .args(["-serial", &format!("file:{}", console.display())])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", cmdline]);
        let qemu = Running::start(name, folder, qemu)?;
        Ok(Self { qemu, console })
    }

    /// Waits until `marker` is on the console.
    ///
    /// # Errors
    /// The machine went off, its firmware gave up, or the time is over first; the end of the console is in the error.
    pub fn wait_for(&mut self, marker: &str, limit: Duration) -> Result<()> {
        let console = self.console.clone();
        let qemu = &mut self.qemu;
        let seen = stop::wait_for(&format!("\"{marker}\" on the console"), limit, || {
            // Looked at first: the marker of a machine that powered off is there all the same.
            let ended = qemu.ended()?;
            let text = command::read(&console).unwrap_or_default();
            if text.contains(marker) {
                return Ok(Some(()));
            }
            if let Some(sign) = GIVEN_UP.iter().find(|sign| text.contains(**sign)) {
                bail!("the firmware gave up without \"{marker}\": {sign}");
            }
            if let Some(status) = ended {
                let log = command::read(qemu.stderr()).unwrap_or_default();
                bail!(
                    "the machine went off ({status}) without \"{marker}\"\n{}",
                    tail(&log, 5)
                );
            }
            Ok(None)
        });
        seen.with_context(|| format!("console:\n{}\n", tail(&self.console_text(), 25)))
    }

    /// What the console showed, without terminal sequences.
    #[must_use]
    pub fn console_text(&self) -> String {
        plain(&command::read(&self.console).unwrap_or_default())
    }
}

fn bios(qemu: &mut Command, hardware: &Hardware) {
    qemu.args(["-M", "pc,accel=tcg"]).args([
        "-device",
        &format!("e1000,netdev=n0,mac={},bootindex=1", hardware.mac),
    ]);
}

fn uefi(qemu: &mut Command, hardware: &Hardware, code: &Path, variables: &Path) {
    let drive =
        |file: &Path, more: &str| format!("if=pflash,format=raw,file={}{more}", file.display());
    // An empty romfile gives the firmware's own network stack; with the default ROM iPXE takes
    // over before it.
    qemu.args(["-drive", &drive(code, ",readonly=on")])
        .args(["-drive", &drive(variables, "")])
        .args(["-device", "virtio-rng-pci"])
        .args(["-device"])
        .arg(format!(
            "virtio-net-pci,netdev=n0,mac={},bootindex=1,romfile=",
            hardware.mac
        ));
    let off: &[&str] = match hardware.first {
        Try::Pxe4 => &[],
        Try::Pxe6 => &["IPv4PXESupport"],
        Try::Http => &["IPv4PXESupport", "IPv6PXESupport"],
    };
    for support in off {
        qemu.args([
            "-fw_cfg",
            &format!("name=opt/org.tianocore/{support},string=n"),
        ]);
    }
    if let Some(list) = &hardware.trusted {
        let file = format!("name=etc/edk2/https/cacerts,file={}", list.display());
        qemu.args(["-fw_cfg", &file]);
    }
}

/// The firmware writes to its variables, so every machine gets a copy.
fn keep_variables(name: &str, lab: &Lab, template: &Path) -> Result<PathBuf> {
    let copy = lab.folder().join(format!("{name}.vars"));
    fs::copy(template, &copy).with_context(|| format!("cannot copy {}", template.display()))?;
    Ok(copy)
}

/// The folder with OVMF's images and its version.
fn ovmf(shelf: &Shelf, suite: Suite) -> Result<(PathBuf, String)> {
    let name = match suite {
        Suite::Bookworm | Suite::Trixie => "ovmf",
        Suite::Sid => "ovmf-generic",
    };
    let package = shelf.package(suite, name)?;
    Ok((package.root.join("usr/share/OVMF"), package.version))
}

/// Drops escape sequences and other control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // CSI: parameters, then one final byte.
                for parameter in characters.by_ref() {
                    if ('@'..='~').contains(&parameter) {
                        break;
                    }
                }
            }
        } else if character == '\n' || !character.is_control() {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_console_loses_its_escape_sequences() {
        assert_eq!(
            plain("\u{1b}[2J\u{1b}[01;01Hboot\u{1b}[0mstorm\r\nok"),
            "bootstorm\nok"
        );
    }
}
