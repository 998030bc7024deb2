//! The steps that boot an entry of the catalog.

use bootstorm_catalog::{Content, Entry, EntryKind, Injected, WimLoader};
use bootstorm_proto::ipxe::{Arguments, Unsafe, Url};
use bootstorm_proto::types::Family;

use super::Writer;
use crate::Choice;

impl Writer<'_> {
    /// The steps that boot an entry.
    pub(super) fn entry(&mut self, choice: &Choice) {
        // A second try after a failed one must not find the files of the first.
        self.script.imgfree();
        self.script.echo(&choice.entry.title);
        if let Some(peers) = &choice.peers {
            let shared = if peers.shared { "1" } else { "0" };
            self.script.set("peerdist", shared).or_continue();
            if let Some(cache) = &peers.cache {
                self.script.set("peerhost", cache).or_continue();
            }
        }
        if needs_long_mode(&choice.entry, self.machine.family) {
            self.step("[policy.no-long-mode] Looking for a processor of 64 bits");
            self.script.long_mode();
            self.or_failed();
        }
        let written = match &choice.entry.kind {
            EntryKind::Linux {
                kernel,
                initrds,
                cmdline,
            } => self.linux(kernel, initrds, cmdline),
            EntryKind::Wim {
                loader: WimLoader::BootManager(_),
                ..
            } => self.boot_manager(choice.manager.as_deref()),
            EntryKind::Wim {
                wim,
                index,
                inject,
                wimboot,
                args,
                loader: WimLoader::Wimboot,
                options: _,
            } => self.wim(&choice.entry.id, (wim, *index), inject, wimboot, args),
            EntryKind::Efi { program, args } => self.efi(program, args),
            EntryKind::Iso { image } => self.iso(image, choice.memdisk.as_deref()),
        };
        if let Err(e) = written {
            self.step(&format!("[policy.unsafe-value] {e}: this"));
            self.script.goto(&self.failed);
        }
    }

    fn linux(&mut self, kernel: &str, initrds: &[String], cmdline: &str) -> Result<(), Unsafe> {
        let names: Vec<String> = (1..=initrds.len()).map(initrd_name).collect();
        let own = cmdline.split_ascii_whitespace();
        let mut arguments = String::new();
        // The EFI stub of kernels before 5.8 finds initrds by these words alone; everybody else
        // ignores them.
        if !own.clone().any(|word| word.starts_with("initrd=")) {
            let words = names.iter().map(|name| format!("initrd={name} "));
            arguments.extend(words);
        }
        arguments.push_str(cmdline);
        let arguments = Arguments::new(&arguments)?;
        let url = self.url(kernel)?;
        self.program(kernel, "vmlinuz", &url, &arguments);
        for (initrd, name) in initrds.iter().zip(&names) {
            let url = self.url(initrd)?;
            self.loading(initrd);
            self.script.initrd(name, &url);
            self.or_again();
        }
        self.boot(kernel);
        self.script.goto(&self.failed);
        Ok(())
    }

    fn wim(
        &mut self,
        id: &str,
        (wim, index): (&str, u32),
        inject: &[Injected],
        wimboot: &str,
        args: &str,
    ) -> Result<(), Unsafe> {
        // `gui` leaves bootmgr's own picture on the screen.
        let words = if args.is_empty() { "gui" } else { args };
        let arguments = if words.contains("index=") {
            words.to_owned()
        } else {
            format!("{words} index={index}")
        };
        let arguments = Arguments::new(&arguments)?;
        let url = self.url(wimboot)?;
        self.program(wimboot, "wimboot", &url, &arguments);
        for file in inject {
            let url = match &file.content {
                Content::File(path) if !file.secret => self.url(path)?,
                _ if file.secret && self.urls.secure_base().is_none() => {
                    let name = &file.name;
                    self.step(&format!(
                        "[boot.secret-over-http] Loading {name} without TLS"
                    ));
                    self.script.goto(&self.failed);
                    return Ok(());
                }
                _ => self.own_file(id, file)?,
            };
            self.loading(&file.name);
            self.script.initrd_file(&file.name, &url)?;
            self.or_again();
        }
        let url = self.url(wim)?;
        self.loading(wim);
        self.script.initrd_file("boot.wim", &url)?;
        self.or_again();
        self.boot(wim);
        self.script.goto(&self.failed);
        Ok(())
    }

    /// Where the machine gets a file that is made for it. It says who it is: the token in the URL
    /// is that machine's alone.
    fn own_file(&self, entry: &str, file: &Injected) -> Result<Url, Unsafe> {
        let url = Url::new(&self.urls.file(entry, &file.name, file.secret))?;
        let url = match self.machine.mac {
            Some(mac) => url.with_query("mac", &mac.to_string()),
            None => url,
        };
        Ok(match self.machine.guid {
            Some(guid) => url.with_query("uuid", &guid.to_string()),
            None => url,
        })
    }

    /// Windows' own boot manager, which asks for all else by TFTP.
    fn boot_manager(&mut self, program: Option<&str>) -> Result<(), Unsafe> {
        let Some(program) = program else {
            self.step("[catalog.no-boot-manager] Looking for the boot manager of this image");
            self.script.goto(&self.failed);
            return Ok(());
        };
        let url = Url::new(&self.urls.tftp(program))?;
        self.run(program, &url, &Arguments::default());
        Ok(())
    }

    fn efi(&mut self, program: &str, args: &str) -> Result<(), Unsafe> {
        let arguments = Arguments::new(args)?;
        let url = self.url(program)?;
        self.run(program, &url, &arguments);
        Ok(())
    }

    fn iso(&mut self, image: &str, memdisk: Option<&str>) -> Result<(), Unsafe> {
        let url = self.url(image)?;
        self.step(&format!("Booting {image} as a virtual drive"));
        // A virtual drive that starts does not come back, so what follows is for when it does not.
        self.script.sanboot(&url).or_continue();
        let Some(memdisk) = memdisk else {
            self.script.echo(match self.machine.family {
                Some(Family::Bios) => {
                    "If this image needs to lie in memory, put memdisk (of syslinux) into boot/ in \
                     the images folder."
                }
                _ => {
                    "Many systems lose their ISO once they have started: unpack its kernel and \
                     initrd into a folder of the images folder instead."
                }
            });
            self.script.goto(&self.failed);
            return Ok(());
        };
        let loader = self.url(memdisk)?;
        self.program(memdisk, "memdisk", &loader, &Arguments::new("iso raw")?);
        self.loading(image);
        self.script.initrd("image.iso", &url);
        self.or_again();
        self.boot(image);
        self.script.goto(&self.failed);
        Ok(())
    }

    /// A program that may end, and then has done its work.
    fn run(&mut self, path: &str, url: &Url, arguments: &Arguments) {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.program(path, name, url, arguments);
        self.boot(path);
        self.script.goto(&self.local);
    }

    /// Loads what is to be started. That iPXE cannot start such a file is no reason to fetch it
    /// again.
    fn program(&mut self, path: &str, name: &str, url: &Url, arguments: &Arguments) {
        self.loading(path);
        self.script.imgfetch(name, url);
        self.or_again();
        self.script.kernel(name, arguments);
        self.or_failed();
    }

    fn boot(&mut self, what: &str) {
        self.step(&format!("Starting {what}"));
        self.script.boot();
        self.or_failed();
    }
}

/// A BIOS says the same of every processor, and boots images of 32 and of 64 bits; the latter would
/// stop without a word.
fn needs_long_mode(entry: &Entry, family: Option<Family>) -> bool {
    let families = &entry.families;
    matches!(entry.kind, EntryKind::Wim { .. })
        && family == Some(Family::Bios)
        && families.contains(&Family::X64)
        && !families.contains(&Family::Ia32)
}

fn initrd_name(number: usize) -> String {
    if number == 1 {
        "initrd.img".to_owned()
    } else {
        format!("initrd{number}.img")
    }
}
