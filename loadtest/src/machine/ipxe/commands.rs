//! iPXE's commands.

use std::time::Duration;

use super::interpreter::Interpreter;
use super::menus::{self, Item};
use super::options::{Known, Words, flag, valued};
use super::reports::{INSTRUCTIONS, INSTRUCTIONS_MAX, Reports};
use crate::finding::Code;
use crate::machine::body::Keep;
use crate::machine::fetch::Want;
use crate::machine::http::request::Agent;
use crate::machine::io::World;
use crate::machine::trace::Way;
use crate::machine::url::Url;

/// The longest wait that a script can ask for.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a command comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It succeeded.
    Done,
    /// It failed, as it may.
    Failed(String),
    /// It failed because the script is wrong.
    Wrong(Code, String),
    /// The script goes on at a label.
    Goto(String),
    /// The script is left.
    Exit(bool),
    /// An image is run, in place of the script.
    Run(usize, bool),
    /// A file has to come first.
    Fetch(Box<Want>, Fetching),
    /// It takes its time and succeeds, or does not.
    Sleep(Duration, bool),
    /// The machine is sent to its own disk.
    Local,
    /// Nothing can follow that is simulated.
    Stop(Code, String),
}

/// What a script waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A file.
    Fetch(Fetching),
    /// A time; then its command has succeeded, or has not.
    Sleep(bool),
}

/// What becomes of a file.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// The name that it is given.
    pub(super) name: Option<String>,
    /// It is what `boot` boots.
    pub(super) is_selected: bool,
    /// It is run at once.
    pub(super) is_executed: bool,
    /// It runs in place of the script.
    pub(super) replaces: bool,
    /// Nothing can be booted without it.
    pub(super) is_booted: bool,
    /// It may be a script that is run later.
    may_be_script: bool,
}

impl Fetching {
    /// A file that is run.
    pub(super) fn chained() -> Self {
        Self {
            is_executed: true,
            may_be_script: true,
            ..Self::default()
        }
    }
}

/// What commands that fetch take.
const FETCH: &[Known] = &[
    valued("name", 'n'),
    valued("timeout", 't'),
    flag("autofree", 'a'),
    flag("replace", 'r'),
    flag("keep", 'k'),
    flag("mode", 'm'),
];

impl Interpreter {
    /// Runs a command whose words are expanded. `here` is the URL of the script.
    pub(super) fn dispatch(
        &mut self,
        words: &[String],
        here: &Url,
        world: &mut World<'_>,
    ) -> Outcome {
        let Some((name, words)) = words.split_first() else {
            return Outcome::Done;
        };
        let done = match name.as_str() {
            "set" | "clear" | "inc" | "isset" | "iseq" | "read" => Ok(self.setting(name, words)),
            "menu" | "item" | "choose" | "params" | "param" => self.list(name, words),
            "kernel" | "initrd" | "module" | "imgfetch" | "shim" | "chain" | "imgexec" | "boot"
            | "imgselect" | "imgload" | "imgargs" | "imgfree" => self.image(name, words, here),
            _ => self.flow(name, words, world),
        };
        done.unwrap_or_else(|option| {
            let why = format!("`{name}` takes no option `{option}`");
            Outcome::Wrong(Code::ScriptUnknownCommand, why)
        })
    }

    fn flow(
        &mut self,
        name: &str,
        words: &[String],
        world: &mut World<'_>,
    ) -> Result<Outcome, String> {
        let first = words.first().map(String::as_str);
        Ok(match name {
            "" => Outcome::Done,
            "echo" => {
                world.note(Way::Itself, || words.join(" "));
                Outcome::Done
            }
            "goto" => Outcome::Goto(first.unwrap_or_default().to_owned()),
            "exit" => Outcome::Exit(first.is_none_or(|status| status == "0")),
            "sleep" => match first.map(str::parse) {
                Some(Ok(seconds)) => sleep(Duration::from_secs(seconds), true),
                _ => failed("sleep for how long?"),
            },
            "prompt" => {
                let known = [valued("key", 'k'), valued("timeout", 't')];
                // Nobody is there but when a script would wait for ever: then a key is pressed.
                match milliseconds(&Words::parse(words, &known)?) {
                    Some(time) => sleep(time, false),
                    None => Outcome::Done,
                }
            }
            "sanboot" | "sanhook" => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if words.iter().any(|word| word.contains("://")) {
                    Outcome::Stop(Code::ScriptSanboot, format!("{name} {}", words.join(" ")))
                } else {
                    Outcome::Local
                }
            }
            "reboot" | "poweroff" => Outcome::Local,
            "shell" | "config" => {
                let why = format!("`{name}` waits for a person");
                Outcome::Stop(Code::ScriptShell, why)
            }
            "autoboot" => Outcome::Fetch(want(self.first.clone(), None), Fetching::chained()),
            // The simulated processor has what is asked for, the network is up, and nothing on the
            // screen matters.
            "cpuid" | "dhcp" | "ifopen" | "ifclose" | "ifconf" | "ifstat" | "iflinkwait"
            | "route" | "ntp" | "sync" | "time" | "imgstat" | "imgtrust" | "ipstat" | "nstat"
            | "ping" | "show" | "vcreate" | "vdestroy" | "sanunhook" | "imgmem" => Outcome::Done,
            // Not in Debian's iPXE, or cancelled by nobody.
            "login" | "console" | "cpair" | "colour" | "color" | "nslookup" | "imgverify"
            | "profstat" | "pciscan" | "usbscan" => failed("not here"),
            name => {
                let why = format!("`{name}` is no command");
                Outcome::Wrong(Code::ScriptUnknownCommand, why)
            }
        })
    }

    fn setting(&mut self, name: &str, words: &[String]) -> Outcome {
        let Some((first, rest)) = words.split_first() else {
            return failed("which setting?");
        };
        match name {
            "set" => done(self.settings.set(first, &rest.join(" "))),
            "clear" => {
                self.settings.clear(first);
                Outcome::Done
            }
            "inc" => {
                let by = rest.first().map_or(Some(1), |by| by.parse::<u32>().ok());
                match by {
                    Some(by) => done(self.settings.increase(first, by)),
                    None => failed("by how much?"),
                }
            }
            "isset" if first.is_empty() => failed("it is not set"),
            "iseq" if rest.first() != Some(first) => failed("they differ"),
            // `read`: nobody types anything, so it keeps its value.
            _ => Outcome::Done,
        }
    }

    fn list(&mut self, name: &str, words: &[String]) -> Result<Outcome, String> {
        Ok(match name {
            "menu" => {
                let known = [valued("name", 'n'), flag("delete", 'd')];
                let words = Words::parse(words, &known)?;
                done(self.menus.begin(words.value("name").unwrap_or_default()))
            }
            "item" => {
                let known = [
                    valued("menu", 'm'),
                    valued("key", 'k'),
                    flag("default", 'd'),
                    flag("gap", 'g'),
                ];
                let words = Words::parse(words, &known)?;
                let item = match words.word(0) {
                    Some(label) if !words.has("gap") => Item {
                        label: label.to_owned(),
                        usual: words.has("default"),
                    },
                    _ => return Ok(Outcome::Done),
                };
                done(
                    self.menus
                        .add(words.value("menu").unwrap_or_default(), item),
                )
            }
            "choose" => self.choose(words)?,
            "params" => {
                let known = [valued("name", 'n'), flag("delete", 'd')];
                let words = Words::parse(words, &known)?;
                let name = words.value("name").unwrap_or_default();
                if words.has("delete") {
                    self.forms.delete(name);
                    Outcome::Done
                } else {
                    done(self.forms.begin(name))
                }
            }
            _ => {
                let known = [valued("params", 'p'), flag("header", 'H')];
                let words = Words::parse(words, &known)?;
                let pair = match words.word(0) {
                    Some(name) if !words.has("header") => (name.to_owned(), words.text(1)),
                    _ => return Ok(Outcome::Done),
                };
                done(
                    self.forms
                        .add(words.value("params").unwrap_or_default(), pair),
                )
            }
        })
    }

    fn choose(&mut self, words: &[String]) -> Result<Outcome, String> {
        let known = [
            valued("menu", 'm'),
            valued("default", 'd'),
            valued("timeout", 't'),
            valued("retimeout", 'r'),
            flag("keep", 'k'),
        ];
        let words = Words::parse(words, &known)?;
        let menu = words.value("menu").unwrap_or_default();
        let items = self.menus.get(menu).unwrap_or_default();
        let Some(label) = menus::usual(items, words.value("default")) else {
            return Ok(failed("a menu without items"));
        };
        if !words.has("keep") {
            self.menus.delete(menu);
        }
        let Some(setting) = words.word(0) else {
            return Ok(failed("choose into which setting?"));
        };
        if let Err(why) = self.settings.set(setting, &label) {
            return Ok(failed(why));
        }
        // A menu without a time-out is left by the enter key.
        Ok(match milliseconds(&words) {
            Some(time) => sleep(time, true),
            None => Outcome::Done,
        })
    }

    fn image(&mut self, name: &str, words: &[String], here: &Url) -> Result<Outcome, String> {
        let words = Words::parse(words, FETCH)?;
        let place = words.word(0);
        if name == "imgfree" {
            self.images.free(place);
            if place.is_none() {
                self.reports = Reports::None;
            }
            return Ok(Outcome::Done);
        }
        let known = place.map_or(self.images.selected(), |place| self.images.find(place));
        let is_executed = matches!(name, "chain" | "imgexec" | "boot");
        let is_selected = matches!(name, "kernel" | "imgselect" | "imgload");
        if name == "imgargs" || is_selected {
            self.reports.read(words.rest.get(1..).unwrap_or_default());
        }
        let can_be_fetched = place.is_some() && name != "imgargs";
        Ok(match known {
            Some(image) if is_executed => Outcome::Run(image, words.has("replace")),
            Some(image) => {
                if is_selected {
                    self.images.select(image);
                }
                Outcome::Done
            }
            None if can_be_fetched => {
                let is_data = matches!(name, "kernel" | "initrd" | "module");
                let fetching = Fetching {
                    name: words.value("name").map(str::to_owned),
                    is_selected,
                    is_executed,
                    replaces: words.has("replace"),
                    is_booted: is_data || name == "imgfetch",
                    may_be_script: !is_data,
                };
                self.fetch(fetching, &words, here)
            }
            None if name == "imgargs" => failed("there is no such image"),
            None => failed("no image is selected"),
        })
    }

    fn fetch(&mut self, fetching: Fetching, words: &Words, here: &Url) -> Outcome {
        let url = match here.join(words.word(0).unwrap_or_default()) {
            Ok(url) => url,
            Err(finding) => return Outcome::Wrong(finding.code, finding.evidence),
        };
        let form = match &url.form {
            Some(form) => match self.forms.get(form) {
                Some(pairs) => Some(menus::form(pairs)),
                None => return failed("there is no such form"),
            },
            None => None,
        };
        if let Some(form) = &url.form {
            self.forms.delete(form);
        }
        let mut want = want(url, form);
        want.quiet = milliseconds(words);
        if !fetching.may_be_script {
            let name = fetching.name.as_deref();
            let inside = words.word(1).unwrap_or_default();
            want.keep = if name == Some(INSTRUCTIONS) || inside.ends_with(INSTRUCTIONS) {
                Keep::Text(INSTRUCTIONS_MAX)
            } else {
                Keep::Discard
            };
        }
        Outcome::Fetch(want, fetching)
    }
}

fn want(url: Url, form: Option<String>) -> Box<Want> {
    Box::new(Want {
        agent: Agent::Ipxe,
        url,
        form,
        keep: Keep::Script,
        quiet: None,
    })
}

fn done(result: Result<(), &'static str>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(why) => failed(why),
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed(why.to_owned())
}

fn sleep(time: Duration, ok: bool) -> Outcome {
    Outcome::Sleep(time.min(SLEEP_MAX), ok)
}

/// `--timeout`, in milliseconds; zero is none.
fn milliseconds(words: &Words) -> Option<Duration> {
    let time = words.value("timeout")?.parse().ok();
    let time = time
        .map(Duration::from_millis)
        .filter(|time| !time.is_zero())?;
    Some(time.min(SLEEP_MAX))
}
