//! From a plan to the text that iPXE runs.
//!
//! The scripts run on iPXE from 2019 to today: they use no command that 1.0.0+git-20190125 lacks
//! without a way on. Every step that can fail leads to one place, which says what failed, waits, and
//! goes on to the next boot device; a file that does not come is tried again before.

use std::time::Duration;

use bootstorm_config::LocalBoot;
use bootstorm_proto::ipxe::{self, Label, MenuItem, Script, Setting, Unsafe, Url};
use bootstorm_telemetry::event::Reason;

use crate::{BootPlan, Facts, Menu, Urls};

mod again;
mod carry;
mod entry;
mod pages;
mod question;
mod wait;

/// How long a reason stays on the screen.
const SHOWN: Duration = Duration::from_secs(15);

/// The same where nobody has done anything that needs one.
const GLIMPSED: Duration = Duration::from_secs(2);

/// What firmware takes as "not booted, try the next device"; after 0, UEFI firmware opens its setup
/// instead.
const NEXT_DEVICE: u8 = 1;

/// Columns of a line in iPXE's menu.
const MENU_WIDTH: usize = 72;

/// The query that tells that a machine was asked for what it knows.
const ASKED: &str = "asked";

/// The script of a plan; `leaving` is how it goes on to the next boot device.
#[must_use]
pub fn render(plan: &BootPlan, urls: &Urls, machine: &Facts, leaving: LocalBoot) -> String {
    let mut writer = Writer::new(urls, machine, leaving);
    writer
        .script
        .comment(&format!("bootstorm: {}", plan.name()));
    let is_waited_for = matches!(
        plan,
        BootPlan::Menu(_)
            | BootPlan::Pages(_)
            | BootPlan::Ask(..)
            | BootPlan::Script(_)
            | BootPlan::Wait(_)
    );
    if is_waited_for && machine.is_unknown() {
        writer.ask_who_it_is();
    }
    writer.plan(plan);
    writer.script.render()
}

/// The script that has a machine tell what it knows of itself, and does nothing else.
#[must_use]
pub fn ask(urls: &Urls, machine: &Facts, leaving: LocalBoot) -> String {
    let mut writer = Writer::new(urls, machine, leaving);
    writer.script.comment("bootstorm: ask");
    writer.ask_who_it_is();
    let reason = Reason {
        code: "script.no-answer",
        text: "This machine told the server what it is, and got no script.".into(),
    };
    writer.refuse(&reason);
    writer.script.render()
}

/// The script that shows a reason, waits, and goes on to the next boot device. For whatever goes
/// wrong on the way to a plan.
#[must_use]
pub fn refusal(reason: &Reason, leaving: LocalBoot) -> String {
    let mut script = Script::new();
    script.comment("bootstorm: refuse");
    write_refusal(&mut script, reason, leaving);
    script.render()
}

/// The script that shows a reason and goes on to the next boot device at once.
#[must_use]
pub fn to_disk(reason: &Reason, leaving: LocalBoot) -> String {
    let mut script = Script::new();
    script.comment("bootstorm: local");
    script.echo(&format!("[{}] {}", reason.code, reason.text));
    leave(&mut script, leaving);
    script.render()
}

struct Writer<'a> {
    script: Script,
    urls: &'a Urls,
    machine: &'a Facts,
    leaving: LocalBoot,
    local: Label,
    again: Label,
    failed: Label,
    /// Something leads to `again`.
    loads: bool,
}

impl<'a> Writer<'a> {
    fn new(urls: &'a Urls, machine: &'a Facts, leaving: LocalBoot) -> Self {
        let mut script = Script::new();
        let [local, again, failed] = ["local", "again", "failed"].map(|name| script.label(name));
        Self {
            script,
            urls,
            machine,
            leaving,
            local,
            again,
            failed,
            loads: false,
        }
    }

    fn plan(&mut self, plan: &BootPlan) {
        match plan {
            BootPlan::Script(call) => match call.render(self.urls) {
                Ok(script) => {
                    self.script.append(&script);
                }
                Err(reason) => self.refuse(&reason),
            },
            BootPlan::Local => self.go_local(),
            BootPlan::Refuse(reason) => self.refuse(reason),
            BootPlan::Wait(wait) => self.wait(wait),
            BootPlan::Refer(referral) => self.refer(referral),
            BootPlan::Ask(question, plan) => {
                self.ask_people(question);
                self.plan(plan);
            }
            BootPlan::Entry(choice) => {
                self.entry(choice);
                self.endings();
            }
            BootPlan::Menu(menu) => {
                self.menu(menu);
                self.endings();
            }
            BootPlan::Pages(pages) => {
                self.pages(pages);
                self.endings();
            }
        }
    }

    /// A script that nobody asked for by name, such as autoexec.ipxe, is asked for again with the
    /// machine's own data. Where that fails, the lines behind it do.
    fn ask_who_it_is(&mut self) {
        let Ok(url) = Url::new(&self.urls.boot()) else {
            return;
        };
        let unknown = self.script.label("unknown");
        let url = carry::known(&url, self.machine);
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
        if self.loads {
            self.try_again();
        }
        self.script.place(&self.failed);
        self.script
            .echo_setting("[script.step-failed]", Setting::new("step"));
        self.script.echo(
            "did not work. What iPXE says about it stands above; the server's log says more.",
        );
        wait_and_leave(&mut self.script, SHOWN, self.leaving);
        self.script.place(&self.local);
        self.go_local();
    }

    fn go_local(&mut self) {
        self.script.echo(match self.leaving {
            LocalBoot::Exit1 | LocalBoot::Exit0 | LocalBoot::SanBoot => {
                "Going on to the next boot device."
            }
            LocalBoot::Reboot => "Starting the machine anew.",
            LocalBoot::PowerOff => "Switching the machine off.",
        });
        leave(&mut self.script, self.leaving);
    }

    fn refuse(&mut self, reason: &Reason) {
        write_refusal(&mut self.script, reason, self.leaving);
    }
}

impl Facts {
    /// Nothing tells which machine it is, and it was not asked yet.
    fn is_unknown(&self) -> bool {
        self.mac.is_none() && self.guid.is_none() && !self.asked
    }
}

fn write_refusal(script: &mut Script, Reason { code, text }: &Reason, leaving: LocalBoot) {
    script.echo(&format!("[{code}] {text}"));
    // Where nobody has decided anything about a machine, it loses no time.
    let shown = if *code == "policy.all-passed" {
        GLIMPSED
    } else {
        SHOWN
    };
    wait_and_leave(script, shown, leaving);
}

fn wait_and_leave(script: &mut Script, shown: Duration, leaving: LocalBoot) {
    let seconds = shown.as_secs();
    let follows = match leaving {
        LocalBoot::Exit1 | LocalBoot::Exit0 | LocalBoot::SanBoot => {
            format!("The next boot device follows in {seconds} seconds, or at a key.")
        }
        LocalBoot::Reboot => format!("The machine starts anew in {seconds} seconds, or at a key."),
        LocalBoot::PowerOff => {
            format!("The machine is switched off in {seconds} seconds, or at a key.")
        }
    };
    script.prompt(&follows, shown).or_continue();
    leave(script, leaving);
}

/// The last lines of a script. Where iPXE cannot do it in another way, firmware goes on.
fn leave(script: &mut Script, leaving: LocalBoot) {
    let status = if leaving == LocalBoot::Exit0 {
        0
    } else {
        NEXT_DEVICE
    };
    match leaving {
        LocalBoot::Exit1 | LocalBoot::Exit0 => script,
        LocalBoot::SanBoot => script.sanboot_local_disk().or_continue(),
        LocalBoot::Reboot => script.reboot().or_continue(),
        LocalBoot::PowerOff => script.poweroff().or_continue(),
    }
    .exit(status);
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
