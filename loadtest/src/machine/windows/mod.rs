//! What Windows' boot manager (bootmgfw.efi) fetches by TFTP.

mod store;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use store::Store;

use super::body::{Fetched, Keep};
use super::event::Phase;
use super::io::{Input, Progress, Step, World};
use super::tftp::{Client, Transfer, Wish};
use crate::finding::{Code, Finding};

/// The boot manager, from its start to the last byte of the image.
#[derive(Debug)]
pub(crate) struct Boot {
    server: SocketAddrV4,
    /// What is fetched at the moment.
    part: Part,
    transfer: Transfer,
    /// Paths of the part that are still to be tried or fetched, the next one last.
    next: Vec<String>,
    store: Store,
}

/// What is fetched, in the boot manager's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The boot store, at the first of its paths where there is one.
    Store,
    /// Policies and words that may well be missing.
    Optional,
    /// boot.sdi.
    Disk,
    /// The image.
    Image,
}

/// Files that are asked for and may be missing: revocations, policies, the boot manager's own
/// words, and fonts.
const OPTIONAL: [&str; 11] = [
    r"\Boot\boot.stl",
    r"\EFI\Microsoft\Boot\boot.stl",
    r"\EFI\Microsoft\Boot\SiPolicy.p7b",
    r"\EFI\Microsoft\Boot\SecureBootPolicy.p7b",
    r"\EFI\Microsoft\Boot\winsipolicy.p7b",
    r"\Boot\en-US\bootmgfw.efi.mui",
    r"\Boot\resources\bootres.dll",
    r"\Boot\Fonts\segmono_boot.ttf",
    r"\Boot\Fonts\segoen_slboot.ttf",
    r"\Boot\Fonts\segoe_slboot.ttf",
    r"\Boot\Fonts\wgl4_boot.ttf",
];

const STORE: &str = r"\Boot\BCD";
/// Where the files are if the store does not tell.
const DISK: &str = r"\Boot\boot.sdi";
const IMAGES: [&str; 2] = [r"\Sources\boot.wim", r"\Boot\boot.wim"];

/// A larger store is none that is handed out for a boot.
const STORE_MAX: usize = 256 * 1024;

/// What the boot manager asks for by itself.
const BLOCK: u16 = 1456;
const WINDOW: u16 = 4;

impl Boot {
    /// The boot manager came from this server; `store` is what DHCP said of the boot store (option
    /// 252).
    pub(crate) fn start(server: Ipv4Addr, store: Option<String>, world: &mut World<'_>) -> Self {
        let server = SocketAddrV4::new(server, world.plan.ports.tftp);
        let mut paths = vec![STORE.to_owned()];
        let first = match store.filter(|path| !path.is_empty() && path != STORE) {
            Some(own) => own,
            None => paths.pop().unwrap_or_default(),
        };
        Self {
            server,
            part: Part::Store,
            transfer: fetch(server, first, Part::Store, &Store::default(), world),
            next: paths,
            store: Store::default(),
        }
    }

    /// A file is there.
    fn fetched(&mut self, fetched: &Fetched, world: &mut World<'_>) -> Progress<()> {
        match self.part {
            Part::Store => {
                world.reached(Phase::Script);
                if let Err(finding) = self.read(fetched, world) {
                    return Progress::Failed(finding);
                }
                self.enter(Part::Optional, OPTIONAL.map(str::to_owned), world)
            }
            Part::Optional => self.go_on(world),
            Part::Disk => match self.store.wim.clone() {
                Some(wim) => self.enter(Part::Image, [wim], world),
                None => self.enter(Part::Image, IMAGES.map(str::to_owned), world),
            },
            Part::Image => {
                world.reached(Phase::Kernel);
                world.reached(Phase::Booted);
                Progress::Done(())
            }
        }
    }

    fn read(&mut self, fetched: &Fetched, world: &mut World<'_>) -> Result<(), Finding> {
        let text = fetched.text.as_deref().unwrap_or_default();
        let Some(store) = Store::parse(text) else {
            let head = String::from_utf8_lossy(&text[..text.len().min(16)]).into_owned();
            let evidence = format!("{} bytes that begin with {head:?}", fetched.bytes);
            return Err(Finding::new(Code::WindowsBadBcd, evidence));
        };
        if store.wim.is_none() {
            let evidence = format!("{} bytes, and no RAM disk in them", fetched.bytes);
            world.finding(Code::WindowsBadBcd, evidence);
        }
        self.store = store;
        Ok(())
    }

    /// The server has no such file.
    fn missing(&mut self, finding: Finding, world: &mut World<'_>) -> Progress<()> {
        let code = match self.part {
            Part::Optional => return self.go_on(world),
            Part::Store | Part::Image if !self.next.is_empty() => return self.go_on(world),
            Part::Store => Code::WindowsNoBcd,
            Part::Disk | Part::Image => Code::WindowsNoFile,
        };
        Progress::Failed(Finding::new(code, finding.evidence))
    }

    fn go_on(&mut self, world: &mut World<'_>) -> Progress<()> {
        let Some(path) = self.next.pop() else {
            let disk = self.store.sdi.clone();
            let disk = disk.unwrap_or_else(|| DISK.to_owned());
            return self.enter(Part::Disk, [disk], world);
        };
        self.transfer = fetch(self.server, path, self.part, &self.store, world);
        Progress::Going
    }

    fn enter<const N: usize>(
        &mut self,
        part: Part,
        paths: [String; N],
        world: &mut World<'_>,
    ) -> Progress<()> {
        self.part = part;
        self.next = paths.into_iter().rev().collect();
        self.go_on(world)
    }
}

impl Step for Boot {
    type Made = ();

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<()> {
        let progress = self.transfer.handle(input, world);
        if self.part == Part::Image && self.transfer.bytes() > 0 {
            world.reached(Phase::Kernel);
        }
        match progress {
            Progress::Going => Progress::Going,
            Progress::Done(file) => self.fetched(&file, world),
            Progress::Failed(finding) if finding.code == Code::TftpNotFound => {
                self.missing(finding, world)
            }
            Progress::Failed(finding) => Progress::Failed(finding),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.transfer.deadline()
    }
}

fn fetch(
    server: SocketAddrV4,
    file: String,
    part: Part,
    store: &Store,
    world: &mut World<'_>,
) -> Transfer {
    let keep = match part {
        Part::Store => Keep::Text(STORE_MAX),
        Part::Optional | Part::Disk | Part::Image => Keep::Discard,
    };
    // The sizes in the store are those of RAM disks.
    let (block, window) = match part {
        Part::Disk | Part::Image => (store.block, store.window),
        Part::Store | Part::Optional => (None, None),
    };
    let client = Client::BootManager {
        block: block.unwrap_or(BLOCK),
        window: window.unwrap_or(WINDOW),
    };
    let wish = Wish {
        server,
        file,
        keep,
        client,
    };
    Transfer::start(wish, world)
}

#[cfg(test)]
mod tests;
