//! Windows by TFTP, without Windows: the boot manager in the image is a GRUB that, like the real
//! one, fetches its boot store and the files that the store names, and tells what it got.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::capture::{Capture, Segment, Transport};
use crate::check;
use crate::command;
use crate::lab::{Lab, Lan, Node, SECOND, SERVER, Subnet};
use crate::process::tail;
use crate::qemu::{Firmware, Hardware, Machine, Try};
use crate::server::{Server, Setup};
use crate::suite::Shelf;

const LIMIT: Duration = Duration::from_secs(240);
const MAC: &str = "52:54:00:99:00:01";
const CASE: &str = "windows-tftp";
/// The image in the images folder, and what the menu calls it.
const IMAGE: &str = "winpe.wim";
const TITLE: &str = "Windows PE by TFTP";
/// What curl ends with when the server says that there is no such file.
const NOT_FOUND: i32 = 68;

/// What the case needs.
#[derive(Debug)]
pub struct Windows<'a> {
    /// The server binary.
    pub program: &'a Path,
    /// The machine's firmware.
    pub firmware: Firmware,
    /// Where firmware comes from.
    pub shelf: &'a Shelf,
    /// Where the case leaves its files.
    pub folder: &'a Path,
    /// What the marker ends with.
    pub nonce: &'a str,
}

/// A file as the boot manager asks for it, and where there is one that it has to equal.
#[derive(Debug)]
struct Wanted {
    name: String,
    equal: PathBuf,
}

impl Windows<'_> {
    /// Boots the machine, then asks for its files as another one. Gives how long the boot took,
    /// and what ran.
    ///
    /// # Errors
    /// The machine got something else than it should, or the other one got anything.
    pub fn run(self) -> Result<(Duration, String)> {
        let store = self.store()?;
        let wanted = self.image(&store)?;
        let lab = Lab::start(self.folder, Lan::V4)?;
        lab.plug_second()?;
        let capture = Capture::start(&lab, Subnet::Near)?;
        let server = self.server(&lab)?;
        let start = Instant::now();
        let console = self.boot(&lab, &server)?;
        let time = start.elapsed();
        arrived(&wanted, &console)?;
        let segments = capture.finish()?;
        ensure!(
            segments.iter().any(grants_window),
            "the firmware asks for windows of 4 blocks, and none were granted"
        );
        self.strangers(&lab, &wanted, &segments)?;
        server.stop()?;
        let grub = command::line("grub-mkimage --version")?;
        let firmware = self.firmware.describe(self.shelf)?;
        Ok((time, format!("{firmware}, {}", grub.trim())))
    }

    /// The store that this machine should get, made by hand.
    fn store(&self) -> Result<PathBuf> {
        let file = self.folder.join("BCD");
        let mut make = Command::new(self.program);
        make.args(["bcd", "make", "--uefi", "--title", TITLE])
            .args(["--wim", &format!(r"\{IMAGE}")])
            .args(["--sdi", &format!(r"\{IMAGE}\boot.sdi")])
            .args(["--block", "1456", "--window", "16", "--output"])
            .arg(&file);
        command::output(&mut make)?;
        Ok(file)
    }

    /// Fills the images folder with the image alone. Gives what the machine should fetch.
    fn image(&self, store: &Path) -> Result<Vec<Wanted>> {
        let root = self.folder.join("root");
        let boot = root.join("Windows/Boot");
        let images = self.folder.join("images");
        for folder in [boot.join("EFI"), boot.join("DVD/EFI"), boot.join("Fonts")] {
            fs::create_dir_all(folder)?;
        }
        fs::create_dir_all(&images)?;
        let (sdi, font) = (
            boot.join("DVD/EFI/boot.sdi"),
            boot.join("Fonts/wgl4_boot.ttf"),
        );
        fs::write(&sdi, noise(300_001)?)?;
        fs::write(&font, noise(47_452)?)?;
        fs::write(root.join("Windows/rest.bin"), noise(3 << 20)?)?;
        let wim = images.join(IMAGE);
        let wanted = |name: &str, equal: &Path| Wanted {
            name: name.to_owned(),
            equal: equal.to_owned(),
        };
        let wanted = vec![
            wanted(r"\Boot\BCD", store),
            wanted(r"\Boot\Fonts\wgl4_boot.ttf", &font),
            wanted(&sdi_of(store)?, &sdi),
            wanted(&wim_of(store)?, &wim),
        ];
        self.boot_manager(&wanted, &boot.join("EFI/bootmgfw.efi"))?;
        let mut capture = Command::new("wimlib-imagex");
        capture
            .arg("capture")
            .args([&root, &wim])
            .args(["Windows PE", "--boot", "--compress=LZX"])
            .args(["--image-property", "WINDOWS/ARCH=9"])
            .args(["--image-property", "WINDOWS/INSTALLATIONTYPE=WindowsPE"]);
        command::output(&mut capture)?;
        let settings = format!("title = \"{TITLE}\"\nloader = \"bootmgr\"\n");
        fs::write(images.join("image.toml"), settings)?;
        Ok(wanted)
    }

    /// GRUB, with what it is to do inside.
    fn boot_manager(&self, wanted: &[Wanted], file: &Path) -> Result<()> {
        let mut script = "serial\nterminal_output serial\n".to_owned();
        // As the boot manager does, it asks for what may well be missing first.
        writeln!(script, r"sha256sum '(tftp,{SERVER})\Boot\SiPolicy.p7b'")?;
        for Wanted { name, .. } in wanted {
            writeln!(script, "sha256sum '(tftp,{SERVER}){name}'")?;
        }
        writeln!(script, "echo {}\nsleep 1\nhalt", self.marker())?;
        let commands = self.folder.join("grub.cfg");
        fs::write(&commands, script)?;
        let mut make = Command::new("grub-mkimage");
        make.args(["-O", "x86_64-efi", "-p", "/", "-c"])
            .arg(commands)
            .arg("-o")
            .arg(file)
            .args(["efinet", "tftp", "hashsum", "gcry_sha256"])
            .args(["serial", "terminal", "echo", "sleep", "halt"]);
        command::output(&mut make)?;
        Ok(())
    }

    fn server(&self, lab: &Lab) -> Result<Server> {
        let config = format!(
            "[boot]\nwindows.variables = \"variables\"\n\n\
             [[machine]]\nmac = \"{MAC}\"\nboot = \"winpe\"\n"
        );
        let variables = format!("variables/{MAC}.var");
        let setup = Setup {
            node: Node::Server,
            program: self.program.to_owned(),
            images: self.folder.join("images"),
            boot: None,
            config: Some(config),
            files: vec![(variables.into(), self.variables())],
        };
        Server::start(lab, &setup)
    }

    /// As long as those of Configuration Manager are.
    fn variables(&self) -> String {
        self.nonce.repeat(1400)
    }

    /// Until the marker; gives the console.
    fn boot(&self, lab: &Lab, server: &Server) -> Result<String> {
        let hardware = Hardware {
            firmware: self.firmware,
            first: Try::Pxe4,
            mac: MAC.to_owned(),
            uuid: "11223344-5566-7788-99aa-bbccddeeff00".to_owned(),
            smbios: &[],
            subnet: Subnet::Near,
            trusted: None,
        };
        let mut machine = Machine::start("machine", &hardware, lab, self.shelf)?;
        machine
            .wait_for(&self.marker(), LIMIT)
            .with_context(|| format!("server's log:\n{}\n", tail(&server.log(), 25)))?;
        Ok(machine.console_text())
    }

    fn marker(&self) -> String {
        format!("bootstorm-e2e {CASE} booted {}", self.nonce)
    }

    /// Another machine gets what is in the image, and nothing that was made for this one; this
    /// one's address does.
    fn strangers(&self, lab: &Lab, wanted: &[Wanted], segments: &[Segment]) -> Result<()> {
        let [store, _, sdi, _] = wanted else {
            bail!("what was wanted? {wanted:?}");
        };
        let (own, variables) = (fs::read(&store.equal)?, self.variables());
        let told = told(segments).context("no answer named store and variables")?;
        let made = [
            (store.name.as_str(), own.as_slice()),
            (told.store.as_str(), &own),
            (told.variables.as_str(), variables.as_bytes()),
        ];
        let public = self.fetch(lab, &sdi.name, SECOND)?;
        ensure!(
            public == Some(fs::read(&sdi.equal)?),
            "{SECOND} did not get {}",
            sdi.name
        );
        for (name, _) in made {
            ensure!(
                self.fetch(lab, name, SECOND)?.is_none(),
                "{SECOND} got {name}"
            );
        }
        // The machine is off, so its address is free.
        let machine = address(segments).context("nobody asked for a store")?;
        let second = lab.namespace(Node::Second);
        command::line(&format!("ip -n {second} addr add {machine}/24 dev eth0"))?;
        for (name, content) in made {
            let got = self.fetch(lab, name, &machine)?;
            ensure!(
                got.as_deref() == Some(content),
                "{machine} did not get {name}"
            );
        }
        Ok(())
    }
}

impl Windows<'_> {
    /// A file by TFTP as somebody with that address; none if the server says that there is none.
    fn fetch(&self, lab: &Lab, name: &str, from: &str) -> Result<Option<Vec<u8>>> {
        let file = self.folder.join("fetched");
        let url = format!("tftp://{SERVER}/{}", name.replace('\\', "%5C"));
        let mut curl = lab.command(Node::Second, "curl");
        curl.args(["--silent", "--show-error", "--globoff", "--max-time", "30"])
            .args(["--interface", from, "--output"])
            .arg(&file)
            .arg(&url);
        let said = curl.output()?;
        match said.status.code() {
            Some(0) => Ok(Some(fs::read(file)?)),
            Some(NOT_FOUND) => Ok(None),
            _ => bail!("{url}: {}", String::from_utf8_lossy(&said.stderr)),
        }
    }
}

/// Everything arrived as it should have, in order.
fn arrived(wanted: &[Wanted], console: &str) -> Result<()> {
    let mut rest = console;
    for Wanted { name, equal } in wanted {
        let said = command::output(Command::new("sha256sum").arg(equal))?;
        let sum = said.split_whitespace().next().context("no sum")?;
        let (_, behind) = rest.split_once(sum).with_context(|| {
            format!(
                "{name} is not as it should be, {sum}:\n{}",
                tail(console, 15)
            )
        })?;
        rest = behind;
    }
    Ok(())
}

/// The path of boot.sdi in a store, as hivex reads it.
fn sdi_of(store: &Path) -> Result<String> {
    const OPTIONS: &str = r"\Objects\{ae5534e0-a924-466c-b836-758539a3ee3a}\Elements\32000004";
    Ok(String::from_utf8(element(store, OPTIONS)?)?
        .trim_end()
        .to_owned())
}

/// The path of the image in the store's only loader: it stands behind 140 bytes.
fn wim_of(store: &Path) -> Result<String> {
    const DEFAULT: &str = r"\Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\Elements\23000003";
    let loader = String::from_utf8(element(store, DEFAULT)?)?;
    let key = format!(r"\Objects\{}\Elements\11000001", loader.trim_end());
    let device = element(store, &key)?;
    let path = device.get(140..).context("a device without a path")?;
    let units = path
        .as_chunks()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit));
    Ok(String::from_utf16(
        &units.take_while(|unit| *unit != 0).collect::<Vec<_>>(),
    )?)
}

fn element(store: &Path, key: &str) -> Result<Vec<u8>> {
    let said = Command::new("hivexget")
        .arg(store)
        .args([key, "Element"])
        .output()?;
    ensure!(
        said.status.success(),
        "hivexget {key}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(said.stdout)
}

/// Names that the machine alone was told.
struct Told {
    store: String,
    variables: String,
}

/// Option 252 of an answer, and the only item of its option 243.
fn told(segments: &[Segment]) -> Option<Told> {
    let name = |bytes: &[u8]| {
        let name = String::from_utf8_lossy(bytes);
        name.trim_end_matches('\0').to_owned()
    };
    let answers = segments.iter().filter(|segment| {
        segment.transport == Transport::Udp && check::is(segment.source.ip(), SERVER)
    });
    answers.map(|answer| &answer.payload).find_map(|answer| {
        Some(Told {
            store: name(check::option(answer, 252)?),
            variables: name(check::option(answer, 243)?.get(2..)?),
        })
    })
}

/// An OACK for windows of 4 blocks, as OVMF asks for them.
fn grants_window(segment: &Segment) -> bool {
    const OPTION: &[u8] = b"\0windowsize\x004\0";
    check::is(segment.source.ip(), SERVER)
        && segment.payload.starts_with(&[0, 6])
        && segment.payload.windows(OPTION.len()).any(|at| at == OPTION)
}

/// Who asked for its boot store.
fn address(segments: &[Segment]) -> Option<String> {
    let asked = segments.iter().find(|segment| {
        segment.transport == Transport::Udp
            && segment.destination.port() == 69
            && segment.payload.starts_with(b"\0\x01\\Boot\\BCD\0")
    })?;
    Some(asked.source.ip().to_string())
}

/// Bytes that compress to nothing less.
fn noise(bytes: usize) -> Result<Vec<u8>> {
    let mut noise = vec![0; bytes];
    fs::File::open("/dev/urandom")?.read_exact(&mut noise)?;
    Ok(noise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_server(payload: Vec<u8>) -> Segment {
        Segment {
            transport: Transport::Udp,
            source: format!("{SERVER}:4011").parse().unwrap(),
            destination: "10.99.0.150:4011".parse().unwrap(),
            payload,
        }
    }

    #[test]
    fn names_are_taken_from_options_of_an_answer() {
        let with =
            |options: &[u8]| from_server([&[0; 236][..], b"\x63\x82\x53\x63", options].concat());
        let both = with(b"\x35\x01\x05\xf3\x04\x01\x02\\v\xfc\x03\\s\0\xff");
        let told = told(&[with(b"\xfc\x02\\x\xff"), both]).unwrap();
        assert_eq!(
            (told.store.as_str(), told.variables.as_str()),
            ("\\s", "\\v")
        );
    }

    #[test]
    fn a_window_of_four_blocks_is_seen_in_the_answer() {
        let said = |options: &[u8]| from_server([&[0, 6][..], options].concat());
        assert!(grants_window(&said(b"blksize\x001468\0windowsize\x004\0")));
        assert!(!grants_window(&said(b"blksize\x001468\0")));
        assert!(!grants_window(&said(b"windowsize\x0044\0")));
    }
}
