//! The matrix: what boots from what, over what.

use crate::check::Check;
use crate::flood::Xdp;
use crate::lab::{Lan, Subnet};
use crate::qemu::{Firmware, Try};
use crate::suite::Suite;

/// One row of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// What is booted.
    pub subject: Subject,
    /// The machine's firmware.
    pub firmware: Firmware,
    /// What the firmware tries.
    pub first: Try,
    /// What the LAN's own DHCP server does.
    pub lan: Lan,
    /// Where the machine is plugged in.
    pub subnet: Subnet,
    /// Whether the BIOS boot ROM hides that it is iPXE.
    pub plain_rom: bool,
    /// The network boot programs in the images folder.
    pub programs: Programs,
    /// Whether the server's CA is enrolled in the firmware.
    pub enrolled: bool,
    /// The server's configuration file; none is the default of every user.
    pub config: Option<&'static str>,
    /// Files beside it, by path. `NONCE` in them is the marker's nonce.
    pub files: &'static [(&'static str, &'static str)],
    /// What the machine's SMBIOS says, as `-smbios` of QEMU takes it.
    pub smbios: &'static [&'static str],
    /// Whether the server is killed in the middle of the kernel, and started again.
    pub killed: bool,
    /// How the server's interface is sorted, as the API tells it.
    pub attached: &'static str,
    /// How it has to end.
    pub ending: Ending,
    /// What the capture, the console and the server's log must show besides.
    pub checks: &'static [Check],
}

/// What is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Firmware from the server: everything that the case says.
    Firmware,
    /// A suite's kernel with the server inside, to use its TLS. What the case says of firmware and
    /// network means nothing.
    KernelTls(Suite),
    /// Simulated machines beside a flood, with the classifier attached in this way. Of what the
    /// case says only the programs and the configuration mean something.
    Flood(Xdp),
    /// Two machines and two servers, each of which is to have one of them. The case says firmware
    /// and programs.
    Forests,
    /// A Windows image alone, booted by TFTP. The case says the firmware.
    Windows,
    /// Simulated machines in a lab of their own. Nothing else that the case says means something.
    Storm(Storm),
}

/// A scenario of loadtest/scenarios, smaller than there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// The file's name without `.toml`.
    pub scenario: &'static str,
    /// How many machines.
    pub machines: u32,
    /// Bytes of the image that each of them loads; none where dnsmasq is the server, which hands
    /// out boot programs alone.
    pub image: Option<u64>,
}

/// Network boot programs and where they are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// Debian's iPXE of a suite.
    Ipxe(Suite),
    /// Debian's shim and GRUB, both signed, and GRUB's configuration.
    ShimAndGrub(Suite),
}

/// How a case ends when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Linux is up and printed its marker.
    Marker,
    /// The boot fails, and the API names this reason for the machine.
    Reason(&'static str),
}

/// Cases of every CI run; the others run with `--all`.
pub const FIRST: usize = 14;

const BASE: Case = Case {
    name: "",
    about: "",
    subject: Subject::Firmware,
    firmware: Firmware::Uefi(Suite::Bookworm),
    first: Try::Pxe4,
    lan: Lan::V4,
    subnet: Subnet::Near,
    plain_rom: false,
    programs: Programs::Ipxe(Suite::Bookworm),
    enrolled: false,
    config: None,
    files: &[],
    smbios: &[],
    killed: false,
    attached: "native",
    ending: Ending::Marker,
    checks: &[],
};

/// Rates for a server that was built for tests and has half a processor to itself.
const FLOOD: Case = Case {
    about: "50 machines boot beside 200,000 frames a second, with XDP",
    subject: Subject::Flood(Xdp::Native),
    config: Some(
        "[boot]\nmenu_timeout = 1\n\n[classifier.classes]\nfirmware = \"1000/s\"\nipxe = \"1000/s\"\n",
    ),
    ..BASE
};

/// A storm that a server built for tests gets through in some seconds.
const fn storm(scenario: &'static str, machines: u32, image: Option<u64>) -> Case {
    Case {
        subject: Subject::Storm(Storm {
            scenario,
            machines,
            image,
        }),
        ..BASE
    }
}

const HTTPS_BOOT: Case = Case {
    about: "UEFI HTTPS Boot, CA enrolled -> iPXE -> Linux",
    first: Try::Http,
    enrolled: true,
    config: Some("[boot]\nhttp_boot_scheme = \"https\"\nmenu_timeout = 1\n"),
    checks: &[Check::ProgramByHttps],
    ..BASE
};

const IPXE_HTTPS: Case = Case {
    about: "UEFI PXE -> iPXE, script and Linux by HTTPS, CA enrolled",
    enrolled: true,
    config: Some("[boot]\nscript_scheme = \"https\"\nmenu_timeout = 1\n"),
    checks: &[Check::NothingByHttp],
    ..BASE
};

/// The kernel takes some seconds: long enough to be broken off.
const KILLED: Case = Case {
    about: "the server is killed while iPXE loads the kernel: the script tries again, and it boots",
    killed: true,
    config: Some("[boot]\nmenu_timeout = 1\n\n[pacing]\nper_machine = \"16M\"\n"),
    checks: &[Check::Console(
        "[script.step-again] Loading linux-e2e/vmlinuz",
    )],
    ..BASE
};

const OWN_SCRIPTS: &str = r#"[boot]
templates = "templates"

[[rule]]
name = "acme"
when = "smbios.manufacturer == 'Acme & Sons' && version_lt(smbios.bios_version, '1.10')"
boot = "menu:own"
values = { old = "yes" }

[[menu]]
name = "own"
title = "This menu is our own"
timeout = "2s"
default = "linux"
[[menu.item]]
text = "Systems"
[[menu.item]]
name = "linux"
text = "Linux by a template"
key = "l"
boot = "script:linux.ipxe"
"#;

const LINUX_TEMPLATE: &str =
    "kernel {{ urls.images }}/linux-e2e/vmlinuz initrd=initrd.img console=ttyS0 \
e2e.case=own-scripts e2e.nonce=NONCE e2e.maker=[{{ smbios.manufacturer|word }}] \
e2e.serial=[{{ smbios.serial|word }}] e2e.old={{ values.old|word }}\
{% if version_lt(smbios.bios_version, '1.9') %} wrong{% endif %} || goto failed
initrd {{ urls.images }}/linux-e2e/initrd.img || goto failed
boot
:failed
echo {{ smbios.product }} did not boot || exit 1
";

/// Every case of `--all`, the first [`FIRST`] first.
pub const ALL: &[Case] = &[
    Case {
        name: "bios-pxe",
        about: "BIOS PXE -> undionly.kpxe -> script -> Linux",
        firmware: Firmware::Bios,
        plain_rom: true,
        checks: &[Check::Undionly],
        ..BASE
    },
    Case {
        name: "uefi-pxe",
        about: "UEFI PXE over IPv4, ports 67 and 4011 -> snponly.efi -> script -> Linux",
        checks: &[Check::TwoSteps],
        ..BASE
    },
    Case {
        name: "uefi-pxe-relay",
        about: "the same on another subnet, through a relay; XDP in generic mode",
        subnet: Subnet::Far,
        config: Some("xdp = \"generic\"\n"),
        attached: "generic",
        checks: &[Check::TwoSteps, Check::ThroughRelay],
        ..BASE
    },
    Case {
        name: "uefi-http-boot",
        about: "UEFI HTTP Boot -> iPXE -> script -> Linux",
        first: Try::Http,
        checks: &[Check::ProgramByHttp],
        ..BASE
    },
    Case {
        name: "flood-xdp",
        ..FLOOD
    },
    Case {
        name: "flood-user",
        about: "the same with the limits in user space",
        subject: Subject::Flood(Xdp::Off),
        ..FLOOD
    },
    Case {
        name: "storm-cold",
        about: "100 simulated machines at once, BIOS and UEFI, 20 MB each",
        ..storm("cold_storm", 100, Some(20_000_000))
    },
    Case {
        name: "storm-mixed",
        about: "simulated machines of every kind of firmware, Windows among them",
        ..storm("mixed_firmware", 22, Some(5_000_000))
    },
    Case {
        name: "storm-tls",
        about: "simulated machines over HTTPS, which take their sessions up again",
        ..storm("tls_resume", 20, Some(5_000_000))
    },
    Case {
        name: "storm-restart",
        about: "the server is killed under simulated machines and started again",
        ..storm("restart", 40, Some(5_000_000))
    },
    Case {
        name: "storm-dnsmasq",
        about: "simulated BIOS and UEFI machines against dnsmasq: what they do is right",
        ..storm("dnsmasq", 10, None)
    },
    Case {
        name: "two-forests",
        about: "two servers: known machines by one at once, the others by one that waits 4 s",
        subject: Subject::Forests,
        ..BASE
    },
    Case {
        name: "own-scripts",
        about: "a rule, a menu and a template; SMBIOS strings that would do harm",
        config: Some(OWN_SCRIPTS),
        files: &[("templates/linux.ipxe", LINUX_TEMPLATE)],
        smbios: &[
            "type=0,vendor=Acme,version=1.9,date=02/29/2024",
            "type=1,manufacturer=Acme & Sons,product=Pro #7,serial=A  b%20&&+${mac}|| shell;",
        ],
        checks: &[
            Check::Console(
                "e2e.maker=[Acme & Sons] e2e.serial=[A  b%20&&+$ {mac}|| shell;] e2e.old=yes",
            ),
            Check::Console("This menu is our own"),
        ],
        ..BASE
    },
    Case {
        name: "windows-tftp",
        about: "a .wim alone -> its boot manager by TFTP -> the machine's boot store and its files",
        subject: Subject::Windows,
        ..BASE
    },
    Case {
        name: "uefi-https-boot-2022",
        ..HTTPS_BOOT
    },
    Case {
        name: "uefi-https-boot-2025",
        firmware: Firmware::Uefi(Suite::Trixie),
        ..HTTPS_BOOT
    },
    Case {
        name: "uefi-https-boot-2026",
        firmware: Firmware::Uefi(Suite::Sid),
        ..HTTPS_BOOT
    },
    Case {
        name: "bios-ipxe-rom",
        about: "BIOS with iPXE in the card -> script at once -> Linux",
        firmware: Firmware::Bios,
        ..BASE
    },
    Case {
        name: "bios-killed",
        firmware: Firmware::Bios,
        plain_rom: true,
        ..KILLED
    },
    Case {
        name: "uefi-killed",
        about: "the same with UEFI and the newest iPXE",
        programs: Programs::Ipxe(Suite::Sid),
        ..KILLED
    },
    Case {
        name: "uefi-pxe-same-host",
        about: "UEFI PXE with the DHCP server on the same host: port 4011 alone",
        lan: Lan::SameHost,
        ..BASE
    },
    Case {
        name: "uefi-pxe-ipv6",
        about: "UEFI PXE over IPv6: the LAN's DHCPv6 server gives our URL, all else is ours",
        first: Try::Pxe6,
        lan: Lan::V6,
        programs: Programs::Ipxe(Suite::Trixie),
        checks: &[Check::OverIpv6],
        ..BASE
    },
    Case {
        name: "secure-boot",
        about: "Secure Boot: signed shim, GRUB and kernel by TFTP",
        firmware: Firmware::SecureBoot(Suite::Trixie),
        // GRUB of Debian 12 looks for its configuration at the DHCP server only: that it takes the
        // boot server from a proxy offer came with GRUB 2.12.
        programs: Programs::ShimAndGrub(Suite::Trixie),
        config: Some("[boot.nbp]\nx64 = \"shimx64.efi\"\n"),
        checks: &[Check::SecureBootOn],
        ..BASE
    },
    Case {
        name: "ipxe-https-trixie",
        programs: Programs::Ipxe(Suite::Trixie),
        ..IPXE_HTTPS
    },
    Case {
        name: "ipxe-https-sid",
        programs: Programs::Ipxe(Suite::Sid),
        ..IPXE_HTTPS
    },
    Case {
        name: "ipxe-https-no-ca",
        about: "the same without the CA: fails, and the API says why",
        programs: Programs::Ipxe(Suite::Trixie),
        enrolled: false,
        ending: Ending::Reason("tls.unknown-ca"),
        ..IPXE_HTTPS
    },
    Case {
        name: "kernel-tls",
        about: "tls.kernel = \"auto\" on Linux 6.1: every suite, both drivers, curl and OpenSSL",
        subject: Subject::KernelTls(Suite::Bookworm),
        ..BASE
    },
    Case {
        name: "kernel-tls-trixie",
        about: "the same on Linux 6.12",
        subject: Subject::KernelTls(Suite::Trixie),
        ..BASE
    },
];

/// Cases that run only by name: they are for the release profile and for a machine that does
/// nothing else.
pub const MEASURED: &[Case] = &[
    Case {
        name: "flood-xdp-defaults",
        about: "with XDP and without configured rates: for a server as it is released",
        config: Some("[boot]\nmenu_timeout = 1\n"),
        ..FLOOD
    },
    Case {
        name: "flood-user-defaults",
        about: "the same with the limits in user space",
        subject: Subject::Flood(Xdp::Off),
        config: Some("[boot]\nmenu_timeout = 1\n"),
        ..FLOOD
    },
];

/// The case of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Case> {
    ALL.iter().chain(MEASURED).find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, FIRST, MEASURED};

    #[test]
    fn names_are_unique_and_every_case_says_what_it_shows() {
        let all = || ALL.iter().chain(MEASURED);
        let names: BTreeSet<&str> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|case| !case.name.is_empty() && !case.about.is_empty()));
        assert!(FIRST <= ALL.len());
    }
}
