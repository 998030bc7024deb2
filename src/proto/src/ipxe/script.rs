//! Writes iPXE scripts.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use super::Key;
use super::words::{
    self, Arguments, Setting, Unsafe, Url, display, identifier, milliseconds, path_word, variable,
};

/// A script, command by command. Nothing that is put in can end a line or add a command.
///
/// A command that fails ends the script, unless [`Self::or_goto`] or [`Self::or_continue`] follows.
#[derive(Clone, Debug, Default)]
pub struct Script {
    lines: Vec<String>,
    labels: HashSet<String>,
    appended: String,
}

/// A place in a script.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(String);

impl Label {
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl Script {
    /// An empty script.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The script's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("#!ipxe\n");
        if self
            .lines
            .iter()
            .any(|line| line.contains(words::ESCAPE_MARK))
        {
            text.push_str(words::ESCAPES);
        }
        for line in &self.lines {
            text.push_str(line);
            // iPXE joins the next line to one that ends with a backslash.
            text.push_str(if line.ends_with('\\') { " \n" } else { "\n" });
        }
        text.push_str(&self.appended);
        text
    }

    /// Ends with a script that was written elsewhere, as it is.
    pub fn append(&mut self, script: &str) -> &mut Self {
        self.appended.push_str(script);
        self
    }

    /// A label like `wanted` that this script has not used yet; [`Self::place`] puts it down.
    pub fn label(&mut self, wanted: &str) -> Label {
        let base = identifier(wanted);
        let mut name = base.clone();
        let mut number = 1_u32;
        while !self.labels.insert(name.clone()) {
            number += 1;
            name = format!("{base}-{number}");
        }
        Label(name)
    }

    /// Puts a label here.
    pub fn place(&mut self, label: &Label) -> &mut Self {
        self.line(format!(":{}", label.0))
    }

    /// A comment, for people who look at the script.
    pub fn comment(&mut self, text: &str) -> &mut Self {
        self.line(format!("# {}", display(text)))
    }

    /// Shows a line.
    pub fn echo(&mut self, text: &str) -> &mut Self {
        self.line(format!("echo {}", display(text)))
    }

    /// Fails where the processor has no long mode: bit 29 of EDX, CPUID function 0x80000001.
    pub fn long_mode(&mut self) -> &mut Self {
        self.line("cpuid --ext 29".to_owned())
    }

    /// Shows the value of a setting behind a text.
    pub fn echo_setting(&mut self, text: &str, setting: Setting) -> &mut Self {
        self.line(format!("echo {} ${{{}}}", display(text), setting.name()))
    }

    /// Sets a variable to a text.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.line(format!("set {} {}", variable(name), display(value)))
    }

    /// Sets a variable to a number, which [`Self::double`] can work with.
    pub fn set_number(&mut self, name: &str, number: u32) -> &mut Self {
        self.line(format!("set {}:int32 {number}", variable(name)))
    }

    /// Sets a variable to a label, for [`Self::goto_chosen`].
    pub fn set_label(&mut self, name: &str, label: &Label) -> &mut Self {
        self.line(format!("set {} {}", variable(name), label.0))
    }

    /// Doubles a number.
    pub fn double(&mut self, name: &str) -> &mut Self {
        let name = variable(name);
        self.line(format!("inc {name} ${{{name}}}"))
    }

    /// Waits.
    pub fn sleep(&mut self, time: Duration) -> &mut Self {
        self.line(format!("sleep {}", time.as_secs().min(86_400)))
    }

    /// Shows a text and waits for any key; fails when none is pressed in time.
    pub fn prompt(&mut self, text: &str, timeout: Duration) -> &mut Self {
        let timeout = milliseconds(timeout);
        self.line(format!("prompt --timeout {timeout} {}", display(text)))
    }

    /// The same for as many milliseconds as a setting holds.
    pub fn prompt_by(&mut self, text: &str, timeout: Setting) -> &mut Self {
        let (timeout, text) = (timeout.name(), display(text));
        self.line(format!("prompt --timeout ${{{timeout}}} {text}"))
    }

    /// Shows a text and waits for `key`; fails when it is not pressed in time, or another is.
    pub fn prompt_key(&mut self, key: Key, text: &str, timeout: Duration) -> &mut Self {
        let (timeout, text) = (milliseconds(timeout), display(text));
        self.line(format!("prompt --key {key} --timeout {timeout} {text}"))
    }

    /// Goes on at a label.
    pub fn goto(&mut self, label: &Label) -> &mut Self {
        self.line(format!("goto {}", label.0))
    }

    /// Goes on at the label that the variable `name` holds.
    pub fn goto_chosen(&mut self, name: &str) -> &mut Self {
        self.line(format!("goto ${{{}}}", variable(name)))
    }

    /// Goes on at `then` when the setting equals the text, else with the next line.
    pub fn if_equal(&mut self, setting: Setting, text: &str, then: &Label) -> &mut Self {
        let (name, text, then) = (setting.name(), identifier(text), &then.0);
        self.line(format!("iseq ${{{name}}} {text} && goto {then} ||"))
    }

    /// Goes on at `then` when the setting has a value, else with the next line.
    pub fn if_set(&mut self, setting: Setting, then: &Label) -> &mut Self {
        let (name, then) = (setting.name(), &then.0);
        self.line(format!("isset ${{{name}}} && goto {then} ||"))
    }

    /// Forgets all images that were fetched.
    pub fn imgfree(&mut self) -> &mut Self {
        self.line("imgfree".to_owned())
    }

    /// Fetches a file, and fails only when it does not come; [`Self::kernel`] finds it under `name`.
    pub fn imgfetch(&mut self, name: &str, url: &Url) -> &mut Self {
        self.line(format!("imgfetch --name {} {url}", identifier(name)))
    }

    /// Makes a file that was fetched the kernel or program to boot; fails when iPXE cannot boot it.
    pub fn kernel(&mut self, name: &str, arguments: &Arguments) -> &mut Self {
        let command = format!("kernel {}", identifier(name));
        self.line(with_arguments(command, arguments))
    }

    /// Fetches an initial RAM disk; the kernel finds it under `name` (`initrd=name`).
    pub fn initrd(&mut self, name: &str, url: &Url) -> &mut Self {
        self.line(format!("initrd --name {} {url}", identifier(name)))
    }

    /// Fetches a file that wimboot or the kernel finds at `path`.
    ///
    /// # Errors
    /// [`Unsafe`] when the path cannot be written as one word.
    pub fn initrd_file(&mut self, path: &str, url: &Url) -> Result<&mut Self, Unsafe> {
        let path = path_word(path)?;
        let name = identifier(path.rsplit(['/', '\\']).next().unwrap_or(&path));
        Ok(self.line(format!("initrd --name {name} {url} {path}")))
    }

    /// Boots what was fetched.
    pub fn boot(&mut self) -> &mut Self {
        self.line("boot".to_owned())
    }

    /// Fetches and runs a script in place of this one.
    pub fn replace(&mut self, url: &Url) -> &mut Self {
        self.line(format!("chain --replace --autofree {url}"))
    }

    /// Boots a disk image over the network.
    pub fn sanboot(&mut self, url: &Url) -> &mut Self {
        self.line(format!("sanboot --no-describe {url}"))
    }

    /// Boots the first local disk of a BIOS machine.
    pub fn sanboot_local_disk(&mut self) -> &mut Self {
        self.line("sanboot --no-describe --drive 0x80".to_owned())
    }

    /// Ends iPXE; 0 tells the firmware that all went well, anything else that the next boot device
    /// is to be tried.
    pub fn exit(&mut self, status: u8) -> &mut Self {
        self.line(format!("exit {status}"))
    }

    /// Shows a picture behind what follows, where this iPXE can.
    pub fn picture(&mut self, url: &Url) -> &mut Self {
        self.line(format!("console --picture {url}"))
    }

    /// Gives one of the pairs of colours that menus are drawn in a foreground and a background, by
    /// the numbers of the basic colours, where this iPXE can.
    pub fn colour_pair(&mut self, pair: u8, foreground: u8, background: u8) -> &mut Self {
        self.line(format!(
            "cpair --foreground {foreground} --background {background} {pair}"
        ))
    }

    /// Asks for a user name and a password, which go into the settings `username` and `password`;
    /// fails when the person leaves.
    pub fn login(&mut self) -> &mut Self {
        self.line("login".to_owned())
    }

    /// Opens iPXE's shell.
    pub fn shell(&mut self) -> &mut Self {
        self.line("shell".to_owned())
    }

    /// Restarts the machine.
    pub fn reboot(&mut self) -> &mut Self {
        self.line("reboot".to_owned())
    }

    /// Switches the machine off.
    pub fn poweroff(&mut self) -> &mut Self {
        self.line("poweroff".to_owned())
    }

    /// Asks this server at `url` for another script, with everything that the machine knows about
    /// itself: as a form where this iPXE has forms, else as a query. `extra` goes along. Goes on at
    /// `failed` when no script comes.
    pub fn ask_again(&mut self, url: &Url, extra: &[(&str, &str)], failed: &Label) -> &mut Self {
        self.ask_for_script(url, extra, Spelling::Exact, failed)
    }

    /// The same of another server, which need not be this program.
    pub fn ask_other(&mut self, url: &Url, extra: &[(&str, &str)], failed: &Label) -> &mut Self {
        self.ask_for_script(url, extra, Spelling::Plain, failed)
    }

    fn ask_for_script(
        &mut self,
        url: &Url,
        extra: &[(&str, &str)],
        spelling: Spelling,
        failed: &Label,
    ) -> &mut Self {
        let query = self.label("ask-by-query");
        self.form((url, spelling), extra, None, &query, failed);
        self.place(&query);
        let with_extra = extra.iter().fold(url.clone(), |url, (name, value)| {
            url.with_query(name, value)
        });
        let with_facts = spelling.facts().fold(with_extra, |url, (name, setting)| {
            url.with_setting(name, Setting::new(setting))
        });
        self.replace(&with_facts).or_goto(failed)
    }

    /// The same with a setting that a person has filled in and nobody else is to see: as a form
    /// alone, since others write URLs into their logs.
    pub fn ask_with_secret(
        &mut self,
        url: &Url,
        extra: &[(&str, &str)],
        secret: (&str, Setting),
        failed: &Label,
    ) -> &mut Self {
        self.form((url, Spelling::Exact), extra, Some(secret), failed, failed)
    }

    /// Goes on at `formless` where this iPXE has no forms.
    fn form(
        &mut self,
        (url, spelling): (&Url, Spelling),
        extra: &[(&str, &str)],
        secret: Option<(&str, Setting)>,
        formless: &Label,
        failed: &Label,
    ) -> &mut Self {
        self.line("params --name machine".to_owned())
            .or_goto(formless);
        for (name, setting) in spelling.facts() {
            self.line(format!("param --params machine {name} ${{{setting}}}"))
                .or_continue();
        }
        if let Some((name, setting)) = secret {
            let (name, setting) = (identifier(name), setting.name());
            self.line(format!("param --params machine {name} ${{{setting}}}"))
                .or_continue();
        }
        for (name, value) in extra {
            let (name, value) = (identifier(name), display(value));
            self.line(format!("param --params machine {name} {value}"));
        }
        self.line(format!("chain --replace --autofree {url}##params=machine"))
            .or_goto(failed)
    }

    /// When the command before fails, goes on at `label`.
    pub fn or_goto(&mut self, label: &Label) -> &mut Self {
        self.extend(format_args!(" || goto {}", label.0))
    }

    /// When the command before fails, goes on with the next.
    pub fn or_continue(&mut self) -> &mut Self {
        self.extend(format_args!(" ||"))
    }

    /// When the command before succeeds, goes on at `label`.
    pub fn and_goto(&mut self, label: &Label) -> &mut Self {
        self.extend(format_args!(" && goto {}", label.0))
    }

    pub(super) fn line(&mut self, line: String) -> &mut Self {
        self.lines.push(line.trim_end().to_owned());
        self
    }

    fn extend(&mut self, end: impl Display) -> &mut Self {
        if let Some(line) = self.lines.last_mut() {
            *line = format!("{line}{end}");
        }
        self
    }
}

/// How a machine writes texts that anybody may have chosen, such as its serial number.
#[derive(Clone, Copy)]
enum Spelling {
    /// In hexadecimal, as [`Params`](super::Params) reads them. As they are, several spaces would
    /// become one, settings in them would be expanded, and iPXE before 1.21 leaves `&` in a query
    /// alone.
    Exact,
    /// As every server reads them.
    Plain,
}

impl Spelling {
    /// What a machine tells: the name in the form, and the setting it comes from.
    fn facts(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let texts = match self {
            Self::Exact => EXACT_TEXTS,
            Self::Plain => TEXTS,
        };
        FACTS.into_iter().chain(texts)
    }
}

/// What iPXE itself knows.
const FACTS: [(&str, &str); 6] = [
    ("mac", "netX/mac:hex"),
    ("uuid", "uuid:uuid"),
    ("ip", "netX/ip:ipv4"),
    ("platform", "platform"),
    ("buildarch", "buildarch"),
    ("version", "version"),
];

/// What vendors and people have written; of the BIOS the vendor, version and release date.
const TEXTS: [(&str, &str); 8] = [
    ("manufacturer", "manufacturer"),
    ("product", "product"),
    ("serial", "serial"),
    ("asset", "asset"),
    ("bios_vendor", "smbios/0.4.0"),
    ("bios_version", "smbios/0.5.0"),
    ("bios_date", "smbios/0.8.0"),
    ("hostname", "hostname"),
];

const EXACT_TEXTS: [(&str, &str); 8] = [
    ("manufacturer.hex", "manufacturer:hexraw"),
    ("product.hex", "product:hexraw"),
    ("serial.hex", "serial:hexraw"),
    ("asset.hex", "asset:hexraw"),
    ("bios_vendor.hex", "smbios/0.4.0:hexraw"),
    ("bios_version.hex", "smbios/0.5.0:hexraw"),
    ("bios_date.hex", "smbios/0.8.0:hexraw"),
    ("hostname.hex", "hostname:hexraw"),
];

fn with_arguments(command: String, arguments: &Arguments) -> String {
    if arguments.is_empty() {
        command
    } else {
        format!("{command} {arguments}")
    }
}
