//! What wimboot puts into the System32 folder of a Windows PE.

use std::sync::Arc;

use bootstorm_telemetry::event::Reason;

use super::{WimArch, startup};
use crate::bcd::{BootStore, Firmware, Menu, RamdiskEntry};
use crate::kinds::settings::WinPe;
use crate::kinds::{Listing, Settings, one_line, stem};
use crate::{Content, File, Injected, LoadOptions, Problem, Startup, template};

/// wimboot takes names of this length at most.
const MAX_NAME: usize = 31;

/// wimboot takes 63 files; the image itself is one of them.
const MAX_FILES: usize = 62;

/// What wimboot gives to the boot manager instead of Windows, and what people replace on purpose.
const LOADER_FILES: [&str; 12] = [
    "bcd",
    "bootmgr",
    "bootmgr.exe",
    "boot.sdi",
    "boot.stl",
    "bootx64.efi",
    "bootia32.efi",
    "bootaa64.efi",
    "segmono_boot.ttf",
    "segoe_slboot.ttf",
    "segoen_slboot.ttf",
    "wgl4_boot.ttf",
];

/// A winpeshl.ini of an image that is larger is none.
const MAX_WINPESHL: u64 = 64 << 10;

const UNATTEND: &str = "unattend.xml";

/// The files, what is wrong with some, and what keeps the image from booting.
#[derive(Debug, Default)]
pub(super) struct Inject {
    pub(super) files: Vec<Injected>,
    pub(super) problems: Vec<Problem>,
    pub(super) unbootable: Option<Reason>,
}

impl Inject {
    /// Nothing is injected; the problems say what might have been meant to be.
    pub(super) const fn none(problems: Vec<Problem>) -> Self {
        Self {
            files: Vec::new(),
            problems,
            unbootable: None,
        }
    }
}

/// The files that are made for each machine, and those of the folder that has the image's name.
pub(super) fn files(
    listing: &Listing<'_>,
    wim: &File,
    settings: &Settings,
    arch: Option<WimArch>,
) -> Inject {
    let folder = stem(&wim.path);
    let mut inject = Inject::default();
    let mut own = inject.of_folder(listing, folder, arch);
    let unattend = inject.unattend(listing, folder, &settings.winpe, &mut own);
    let mut made = inject.made(listing, wim, &settings.winpe, unattend, arch);
    made.extend(inject.store(folder, settings));
    for file in made {
        let is_own = |own: &&Injected| own.name.eq_ignore_ascii_case(&file.name);
        if let Some(own) = own.iter().find(is_own) {
            let text = format!(
                "it is injected instead of the {} that the server makes",
                file.name
            );
            inject.tell(own.source().unwrap_or(folder), "wim.inject-own", text);
        } else {
            inject.files.push(file);
        }
    }
    for file in own {
        if inject.files.len() == MAX_FILES {
            let text = "wimboot takes 62 files beside the image; this one is left out";
            inject.tell(file.source().unwrap_or(folder), "wim.inject-count", text);
        } else {
            inject.files.push(file);
        }
    }
    inject.mark_secrets(folder, &settings.winpe);
    inject
}

impl Inject {
    fn tell(&mut self, path: &str, code: &'static str, text: impl Into<String>) {
        self.problems.push(Problem::new(path, code, text.into()));
    }

    fn cannot_boot(&mut self, code: &'static str, text: String) {
        let text = text.into();
        self.unbootable.get_or_insert(Reason { code, text });
    }

    /// The files of the folder that has the image's name.
    fn of_folder(
        &mut self,
        listing: &Listing<'_>,
        folder: &str,
        arch: Option<WimArch>,
    ) -> Vec<Injected> {
        let mut files: Vec<Injected> = Vec::new();
        for file in listing.below(folder) {
            let Some(path) = file.path.get(folder.len() + 1..) else {
                continue;
            };
            if path.eq_ignore_ascii_case("image.toml") {
                continue;
            }
            let content = self.content(file);
            let name = match content {
                Content::Template(_) => stem(path),
                _ => as_wimboot_calls_it(path, arch),
            };
            if let Some(why) = unfit(name) {
                self.tell(&file.path, "wim.inject-name", why);
                continue;
            }
            let same = |other: &&mut Injected| other.name.eq_ignore_ascii_case(name);
            if let Some(other) = files.iter_mut().find(same) {
                let text = format!("{name} is made of {} instead", file.path);
                self.tell(other.source().unwrap_or(folder), "wim.inject-own", text);
                other.content = content;
            } else {
                files.push(Injected::new(name, content));
            }
        }
        files
    }

    /// A template that cannot be read keeps the image from booting: what it was to make is missed
    /// when it is too late.
    fn content(&mut self, file: &File) -> Content {
        let path = file.path.to_string();
        if !path.to_ascii_lowercase().ends_with(template::EXTENSION) {
            return Content::File(path);
        }
        if let Err(fault) = template::check(&file.content) {
            let text = format!("{}:{}: {}", path, fault.line, fault.text);
            self.cannot_boot("winpe.template-broken", text);
        }
        Content::Template(path)
    }

    /// The answer file, which lies in the folder of the image or anywhere in the images folder.
    fn unattend(
        &mut self,
        listing: &Listing<'_>,
        folder: &str,
        settings: &WinPe,
        own: &mut Vec<Injected>,
    ) -> Option<Injected> {
        let wanted = settings.unattend.as_deref()?;
        let beside = listing.get(&format!("{folder}/{wanted}"));
        let Some(file) = beside.or_else(|| listing.get(wanted)) else {
            let text = format!("there is no {wanted}, which `unattend` names, in {folder}/");
            self.cannot_boot("winpe.no-unattend", text);
            return None;
        };
        own.retain(|own| own.source() != Some(&*file.path));
        Some(Injected::new(UNATTEND, self.content(file)))
    }

    fn made(
        &mut self,
        listing: &Listing<'_>,
        wim: &File,
        settings: &WinPe,
        unattend: Option<Injected>,
        arch: Option<WimArch>,
    ) -> Vec<Injected> {
        let in_windows = unattend.as_ref();
        let startup = Startup {
            client: settings.client,
            unattend: in_windows.map(|file| format!(r"X:\Windows\System32\{}", file.name)),
            start: settings.start.clone(),
            before: settings.before.clone(),
            after: settings.after.clone(),
        };
        let shell =
            (startup != Startup::default()).then(|| self.shell(listing, wim, settings, &startup));
        let mut files = Vec::new();
        if settings.parameters || settings.client {
            let json = Content::Json(Arc::new(startup));
            files.push(Injected::new("bootstorm.json", json));
        }
        if settings.parameters {
            files.push(Injected::new("bootstorm.ini", Content::Ini));
            files.push(Injected::new("ca.crt", Content::Ca));
        }
        files.extend(shell);
        files.extend(unattend);
        if settings.client {
            files.extend(self.client(listing, arch));
        }
        files
    }

    /// winpeshl.ini, or startnet.cmd where the owner wants that.
    fn shell(
        &mut self,
        listing: &Listing<'_>,
        wim: &File,
        settings: &WinPe,
        startup: &Startup,
    ) -> Injected {
        let own = listing.get(&format!("{}/winpeshl.ini", wim.path));
        let own = own.filter(|own| own.len() <= MAX_WINPESHL);
        let own = own.map(|own| String::from_utf8_lossy(&own.content));
        if settings.winpeshl {
            let text = startup::winpeshl(startup, own.as_deref());
            return Injected::new("winpeshl.ini", Content::Text(text.into()));
        }
        if own.is_some() {
            let text = "the image has a winpeshl.ini, so that nothing runs the startnet.cmd that \
                        `winpeshl = false` asks for";
            self.tell(&wim.path, "winpe.startnet-unused", text);
        }
        let text = startup::startnet(startup);
        Injected::new("startnet.cmd", Content::Text(text.into()))
    }

    fn client(&mut self, listing: &Listing<'_>, arch: Option<WimArch>) -> Option<Injected> {
        if arch.is_some_and(|arch| arch != WimArch::X64) {
            let text = "`client` needs a Windows PE for x64".to_owned();
            self.cannot_boot("winpe.no-client", text);
        }
        let program = listing.get(&format!("boot/{}", startup::CLIENT));
        if program.is_none() {
            let text = format!(
                "`client` needs boot/{} in the images folder",
                startup::CLIENT
            );
            self.cannot_boot("winpe.no-client", text);
        }
        let path = program?.path.to_string();
        Some(Injected::new(startup::CLIENT, Content::File(path)))
    }

    /// The boot manager's store, where the image's own says too little. Every folder that wimboot
    /// shows to the boot manager has every file in it, and wimboot itself writes `.efi` for `.exe`
    /// under UEFI.
    fn store(&mut self, folder: &str, settings: &Settings) -> Option<Injected> {
        let options = &settings.options;
        if *options == LoadOptions::default() {
            return None;
        }
        let title = settings.title.clone().unwrap_or_else(|| one_line(folder));
        let store = BootStore {
            firmware: Firmware::Bios,
            entries: vec![RamdiskEntry {
                test_signing: options.test_signing,
                options: options.text.clone(),
                ..RamdiskEntry::new(title, r"\Boot\boot.wim", r"\Boot\boot.sdi")
            }],
            default: 0,
            menu: Menu::Hidden,
            locale: None,
        };
        match store.to_bytes() {
            Ok(bytes) => Some(Injected::new("BCD", Content::Store(bytes.into()))),
            Err(error) => {
                self.cannot_boot(error.code(), format!("[bcd] in image.toml: {error}"));
                None
            }
        }
    }

    fn mark_secrets(&mut self, folder: &str, settings: &WinPe) {
        for secret in &settings.secret {
            let is_it = |file: &&mut Injected| {
                let source = file.source().and_then(|path| path.strip_prefix(folder));
                let source = source.and_then(|path| path.strip_prefix('/'));
                let names = [Some(file.name.as_str()), source];
                names
                    .into_iter()
                    .flatten()
                    .any(|name| name.eq_ignore_ascii_case(secret))
            };
            match self.files.iter_mut().find(is_it) {
                Some(file) => file.secret = true,
                None => {
                    let text = format!("`secret` names {secret:?}, which is not injected");
                    self.tell(&format!("{folder}/image.toml"), "winpe.no-secret", text);
                }
            }
        }
    }
}

/// wimboot takes a boot manager instead of the image's own by the name of a removable medium's.
fn as_wimboot_calls_it(name: &str, arch: Option<WimArch>) -> &str {
    match arch {
        _ if !name.eq_ignore_ascii_case("bootmgfw.efi") => name,
        // Images that do not say are nearly all for this one.
        Some(WimArch::X64) | None => "bootx64.efi",
        Some(WimArch::X86) => "bootia32.efi",
        Some(WimArch::Arm64) => "bootaa64.efi",
        Some(WimArch::Arm | WimArch::Other(_)) => name,
    }
}

fn unfit(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if name.contains('/') {
        Some("files are injected into System32 itself; one in a folder is left out")
    } else if name.chars().count() > MAX_NAME {
        Some("wimboot takes names of 31 characters at most; this file is left out")
    } else if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
        Some("wimboot takes names of plain ASCII without spaces; this file is left out")
    } else if lower.ends_with(".wim") || lower == "boot.wim" || lower == "wimboot" {
        Some("wimboot would boot a second .wim file instead; it is left out")
    } else if LOADER_FILES.contains(&lower.as_str()) {
        None
    } else if [".sdi", ".efi", ".ttf"]
        .iter()
        .any(|end| lower.ends_with(end))
    {
        Some("wimboot gives such files to the boot manager and not to Windows; it is left out")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
