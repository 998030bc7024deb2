//! From a plan to the text that iPXE runs.
//!
//! The scripts run on iPXE from 2019 to today: they use no command that 1.0.0+git-20190125 lacks
//! without a way on. Every step that can fail leads to one place, which says what failed, waits, and
//! goes on to the next boot device.

use std::time::Duration;

use bootstorm_catalog::EntryKind;
use bootstorm_proto::ipxe::{self, Arguments, Label, MenuItem, Script, Setting, Unsafe, Url};
use bootstorm_proto::types::Family;
use bootstorm_telemetry::event::Reason;

use crate::{BootPlan, Choice, Facts, Menu, Urls};

/// How long a reason stays on the screen.
const SHOWN: Duration = Duration::from_secs(15);

/// What firmware takes as "not booted, try the next device"; after 0, UEFI firmware opens its setup
/// instead.
const NEXT_DEVICE: u8 = 1;

/// Columns of a line in iPXE's menu.
const MENU_WIDTH: usize = 72;

/// The query that tells that a machine was asked for what it knows.
const ASKED: &str = "asked";

/// The script of a plan.
#[must_use]
pub fn render(plan: &BootPlan, urls: &Urls, machine: &Facts) -> String {
    let mut writer = Writer::new(urls, machine);
    writer
        .script
        .comment(&format!("bootstorm: {}", plan.name()));
    match plan {
        BootPlan::Local => writer.go_local(),
        BootPlan::Wait(wait) => return waiting(&wait.reason, wait.every, urls),
        BootPlan::Refer(referral) => writer.refer(&referral.url),
        BootPlan::Refuse(reason) => writer.refuse(reason),
        BootPlan::Entry(choice) => {
            writer.entry(choice);
            writer.endings();
        }
        BootPlan::Menu(menu) => {
            if machine.is_unknown() {
                writer.ask_who_it_is();
            }
            writer.menu(menu);
            writer.endings();
        }
    }
    writer.script.render()
}

/// The script that shows a reason, waits, and goes on to the next boot device. For whatever goes
/// wrong on the way to a plan.
#[must_use]
pub fn refusal(reason: &Reason) -> String {
    let mut script = Script::new();
    script.comment("bootstorm: refuse");
    write_refusal(&mut script, reason);
    script.render()
}

/// The script that shows a reason, waits, and asks again with everything that the machine knows
/// about itself. A server that does not answer is asked once more, much later.
#[must_use]
pub fn waiting(reason: &Reason, pause: Duration, urls: &Urls) -> String {
    let mut script = Script::new();
    script.comment("bootstorm: wait");
    script.echo(&format!("[{}] {}", reason.code, reason.text));
    if let Ok(url) = Url::new(&format!("{}/boot", urls.base())) {
        let (late, gone) = (script.label("no-answer"), script.label("gone"));
        script.sleep(pause);
        script.ask_again(&url, &[(ASKED, "1")], &late);
        script.place(&late);
        script.echo("The server does not answer. It is asked once more.");
        script.sleep(SHOWN);
        script.ask_again(&url, &[(ASKED, "1")], &gone);
        script.place(&gone);
    }
    wait_and_leave(&mut script);
    script.render()
}

struct Writer<'a> {
    script: Script,
    urls: &'a Urls,
    machine: &'a Facts,
    local: Label,
    failed: Label,
}

impl<'a> Writer<'a> {
    fn new(urls: &'a Urls, machine: &'a Facts) -> Self {
        let mut script = Script::new();
        let (local, failed) = (script.label("local"), script.label("failed"));
        Self {
            script,
            urls,
            machine,
            local,
            failed,
        }
    }

    /// A script that nobody asked for by name, such as autoexec.ipxe, is asked for again with the
    /// machine's own data. Where that fails, the lines behind it do.
    fn ask_who_it_is(&mut self) {
        let Ok(url) = Url::new(&format!("{}/boot", self.urls.base())) else {
            return;
        };
        let unknown = self.script.label("unknown");
        self.script.ask_again(&url, &[(ASKED, "1")], &unknown);
        self.script.place(&unknown);
    }

    fn menu(&mut self, menu: &Menu) {
        let labels: Vec<Label> = menu
            .choices
            .iter()
            .map(|choice| self.script.label(&format!("entry-{}", choice.entry.id)))
            .collect();
        let mut items = Vec::new();
        if let Some(Reason { code, text }) = &menu.notice {
            let notice = wrapped(&format!("{code}: {text}"));
            items.extend(notice.into_iter().map(MenuItem::Gap));
            items.push(MenuItem::Gap(String::new()));
        }
        items.push(MenuItem::Choice {
            label: self.local.clone(),
            text: "Local disk".to_owned(),
            key: Some('l'),
        });
        for (number, (choice, label)) in menu.choices.iter().zip(&labels).enumerate() {
            items.push(MenuItem::Choice {
                label: label.clone(),
                text: choice.entry.title.clone(),
                key: u32::try_from(number + 1)
                    .ok()
                    .and_then(|number| char::from_digit(number, 10)),
            });
        }
        let chosen = menu.choices.iter().zip(&labels);
        let default = chosen
            .clone()
            .find(|(choice, _)| menu.default.as_ref() == Some(&choice.entry.id))
            .map_or(&self.local, |(_, label)| label);
        let title = ipxe::Menu {
            title: self.title(),
            items,
        };
        let answer = ipxe::Choice {
            variable: "chosen",
            default: Some(default),
            timeout: (!menu.timeout.is_zero()).then_some(menu.timeout),
            cancelled: &self.local,
        };
        self.script.menu(&title, &answer);
        for (choice, label) in chosen {
            self.script.place(label);
            self.entry(choice);
        }
    }

    fn title(&self) -> String {
        let mut title = String::from("bootstorm");
        let machine = self.machine;
        if let Some(mac) = machine.mac {
            title.push_str(&format!("   {mac}"));
        }
        if let Some(family) = machine.family {
            title.push_str(&format!("   {family}"));
        }
        if let Some(product) = &machine.product {
            title.push_str("   ");
            title.extend(product.chars().take(32));
        }
        title
    }

    fn entry(&mut self, choice: &Choice) {
        // A second try after a failed one must not find the files of the first.
        self.script.imgfree();
        self.script.echo(&choice.entry.title);
        let written = match &choice.entry.kind {
            EntryKind::Linux {
                kernel,
                initrds,
                cmdline,
            } => self.linux(kernel, initrds, cmdline),
            EntryKind::Wim {
                wim,
                index,
                inject,
                wimboot,
                args,
            } => self.wim(wim, *index, inject, wimboot, args),
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
        self.step(&format!("Loading {kernel}"));
        self.script.kernel_named("vmlinuz", &url, &arguments);
        self.or_failed();
        for (initrd, name) in initrds.iter().zip(&names) {
            let url = self.url(initrd)?;
            self.step(&format!("Loading {initrd}"));
            self.script.initrd(name, &url);
            self.or_failed();
        }
        self.boot(kernel);
        Ok(())
    }

    fn wim(
        &mut self,
        wim: &str,
        index: u32,
        inject: &[(String, String)],
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
        self.step(&format!("Loading {wimboot}"));
        self.script.kernel_named("wimboot", &url, &arguments);
        self.or_failed();
        for (name, path) in inject {
            let url = self.url(path)?;
            self.step(&format!("Loading {path}"));
            self.script.initrd_file(name, &url)?;
            self.or_failed();
        }
        let url = self.url(wim)?;
        self.step(&format!("Loading {wim}"));
        self.script.initrd_file("boot.wim", &url)?;
        self.or_failed();
        self.boot(wim);
        Ok(())
    }

    fn efi(&mut self, program: &str, args: &str) -> Result<(), Unsafe> {
        let arguments = Arguments::new(args)?;
        let url = self.url(program)?;
        self.step(&format!("Running {program}"));
        self.script.chain(&url, &arguments);
        self.or_failed();
        self.script.goto(&self.local);
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
        self.step(&format!("Loading {memdisk} and {image} into memory"));
        self.script
            .kernel_named("memdisk", &loader, &Arguments::new("iso raw")?);
        self.or_failed();
        self.script.initrd("image.iso", &url);
        self.or_failed();
        self.boot(image);
        Ok(())
    }

    fn boot(&mut self, what: &str) {
        self.step(&format!("Starting {what}"));
        self.script.boot();
        self.or_failed();
        self.script.goto(&self.failed);
    }

    fn step(&mut self, text: &str) {
        self.script.set("step", text);
    }

    fn or_failed(&mut self) {
        self.script.or_goto(&self.failed);
    }

    fn url(&self, path: &str) -> Result<Url, Unsafe> {
        Url::new(&self.urls.image(path))
    }

    fn endings(&mut self) {
        self.script.place(&self.failed);
        self.script
            .echo_setting("[script.step-failed]", Setting::new("step"));
        self.script.echo(
            "did not work. What iPXE says about it stands above; the server's log says more.",
        );
        wait_and_leave(&mut self.script);
        self.script.place(&self.local);
        self.go_local();
    }

    fn go_local(&mut self) {
        self.script.echo("Going on to the next boot device.");
        self.script.exit(NEXT_DEVICE);
    }

    /// The machine asks the other server with its own data.
    fn refer(&mut self, url: &str) {
        match Url::new(url) {
            Ok(url) => {
                self.script.ask_again(&url, &[], &self.failed);
                self.endings();
            }
            Err(e) => self.refuse(&Reason {
                code: "policy.unsafe-value",
                text: e.to_string().into(),
            }),
        }
    }

    fn refuse(&mut self, reason: &Reason) {
        write_refusal(&mut self.script, reason);
    }
}

impl Facts {
    /// Nothing tells which machine it is, and it was not asked yet.
    fn is_unknown(&self) -> bool {
        self.mac.is_none() && self.guid.is_none() && !self.asked
    }
}

fn write_refusal(script: &mut Script, Reason { code, text }: &Reason) {
    script.echo(&format!("[{code}] {text}"));
    wait_and_leave(script);
}

fn wait_and_leave(script: &mut Script) {
    script
        .prompt(
            &format!(
                "The next boot device follows in {} seconds, or at a key.",
                SHOWN.as_secs()
            ),
            SHOWN,
        )
        .or_continue();
    script.exit(NEXT_DEVICE);
}

fn initrd_name(number: usize) -> String {
    if number == 1 {
        "initrd.img".to_owned()
    } else {
        format!("initrd{number}.img")
    }
}

/// Lines that fit into the menu.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && line.len() + 1 + word.len() > MENU_WIDTH {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
