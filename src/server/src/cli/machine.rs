//! `bootstorm machine`: the machines that the running server knows, and what they are to do.

mod approvals;
mod history;
mod print;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::live::{Live, Refused};
use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE};
use approvals::Requests;
use history::Past;
pub(super) use print::json as print_json;
use print::{Format, print};

/// Machines that are asked for at a time.
const PAGE: usize = 500;

/// Arguments of `machine`.
#[derive(Debug, Args)]
#[command(after_help = "\
MACHINE is a MAC address, a machine GUID, the name or the number.

Examples:
  bootstorm machine list --state unknown            who asked and is not known
  bootstorm machine list -o csv > machines.csv      what `machine import` reads
  bootstorm machine reimage lab3-17 --boot debian-13
                                                    at its next boot, once
  bootstorm machine boots --since 20h --state failed
                                                    what went wrong of late
  bootstorm machine hold lab3-17                    it waits until `machine release`
  bootstorm machine approve 7F3K --name lab3-18     lets in who shows this code

Exit codes: 0 done, 1 the server is not there or refuses, 2 what was written is wrong.")]
pub(crate) struct MachineArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: ConfigArgs,
    /// How machines are printed
    #[arg(short, long, value_enum, global = true, default_value = "table")]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List machines
    List(List),
    /// Show one machine
    Show {
        /// Which one
        machine: String,
    },
    /// Show what happened to a machine, newest first
    History(history::History),
    /// List boots with their dates, newest first
    Boots(history::Boots),
    /// List machines that ask to be let in
    Approvals(approvals::Approvals),
    /// Let a machine in that asks
    Approve(approvals::Approve),
    /// Do not let it in
    Deny(approvals::Deny),
    /// Make a machine that is not there
    Add(Words),
    /// Change what is known of a machine; an empty word takes it away
    Set {
        /// Which one
        machine: String,
        #[command(flatten)]
        words: Words,
    },
    /// Take a list of machines as CSV, all of it or nothing
    Import {
        /// The list, with a header: mac, guid, name, serial, asset, boot, once, tags, value.NAME
        file: PathBuf,
    },
    /// Forget a machine
    Remove {
        /// Which one
        machine: String,
    },
    /// Have a machine boot something once, at its next boot
    Reimage {
        /// Which one
        machine: String,
        /// The entry, `menu` or `local`
        #[arg(long, value_name = "ENTRY", required_unless_present = "cancel")]
        boot: Option<String>,
        /// Take the order back
        #[arg(long, conflicts_with = "boot")]
        cancel: bool,
    },
    /// Have a machine wait at its next boot
    Hold {
        /// Which one
        machine: String,
    },
    /// Let a machine go on
    Release {
        /// Which one
        machine: String,
    },
    /// Give a machine tags
    Tag {
        /// Which one
        machine: String,
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
        /// Take the tags away
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Part of a name, serial number, asset tag or MAC
    text: Option<String>,
    /// Machines with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Machines that boot this
    #[arg(long, value_name = "ENTRY")]
    boot: Option<String>,
    /// Machines in this state
    #[arg(long, value_enum)]
    state: Option<State>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Booted here, or named by people
    Known,
    /// Only asked
    Unknown,
    /// Wait for people
    Held,
    /// Have an order for their next boot
    Once,
}

/// What people say of a machine.
#[derive(Debug, Args)]
struct Words {
    /// MAC address; may be given more than once
    #[arg(long = "mac", value_name = "MAC")]
    macs: Vec<String>,
    /// Machine GUID
    #[arg(long)]
    guid: Option<String>,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// What it boots each time
    #[arg(long, value_name = "ENTRY")]
    boot: Option<String>,
    /// Serial number
    #[arg(long)]
    serial: Option<String>,
    /// Asset tag
    #[arg(long)]
    asset: Option<String>,
    /// Tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A value for templates; may be given more than once
    #[arg(long = "value", value_name = "NAME=VALUE", value_parser = named)]
    values: Vec<(String, String)>,
}

/// Asks the server and prints what it says.
pub(crate) fn run(args: &MachineArgs) -> anyhow::Result<ExitCode> {
    let config = match args.common.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let live = Live::find(&config)?;
    match ask(&live, &args.command) {
        Ok(Said::Machines(machines)) => {
            print(&mut std::io::stdout().lock(), args.output, &machines)?;
        }
        Ok(Said::Past(past)) => past.print(&mut std::io::stdout().lock(), args.output)?,
        Ok(Said::Requests(requests)) => {
            requests.print(&mut std::io::stdout().lock(), args.output)?;
        }
        Ok(Said::Words(words)) => writeln!(std::io::stdout().lock(), "{words}")?,
        Err(error) => {
            let Some(refused) = error.downcast_ref::<Refused>() else {
                return Err(error);
            };
            writeln!(std::io::stderr(), "bootstorm: {refused}")?;
            let is_usage = matches!(refused.status.as_u16(), 400 | 409 | 415 | 422);
            return Ok((if is_usage { EXIT_USAGE } else { EXIT_FAILURE }).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Said {
    Machines(Vec<Value>),
    Past(Past),
    Requests(Requests),
    Words(String),
}

fn ask(live: &Live, command: &Command) -> anyhow::Result<Said> {
    let one = |machine: Value| Ok(Said::Machines(vec![machine]));
    match command {
        Command::List(list) => Ok(Said::Machines(list.all(live)?)),
        Command::Show { machine } => one(live.send(&Method::GET, &path(machine, &[]), None)?),
        Command::History(history) => Ok(Said::Past(history.ask(live)?)),
        Command::Boots(boots) => Ok(Said::Past(boots.ask(live)?)),
        Command::Approvals(list) => Ok(Said::Requests(list.ask(live)?)),
        Command::Approve(approve) => Ok(Said::Requests(approve.ask(live)?)),
        Command::Deny(deny) => Ok(Said::Requests(deny.ask(live)?)),
        Command::Add(words) => one(live.send(&Method::POST, MACHINES, Some(&words.json()))?),
        Command::Set { machine, words } => {
            one(live.send(&Method::PUT, &path(machine, &[]), Some(&words.json()))?)
        }
        Command::Import { file } => {
            let list =
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let said = live.send_csv(&format!("{MACHINES}/import"), list)?;
            Ok(Said::Words(format!("{} machines", said["machines"])))
        }
        Command::Remove { machine } => {
            live.send(&Method::DELETE, &path(machine, &[]), None)?;
            Ok(Said::Words("forgotten".to_owned()))
        }
        Command::Reimage { machine, boot, .. } => {
            let path = path(machine, &["reimage"]);
            match boot {
                Some(boot) => {
                    let order = json!({ "boot": boot, "by": whoever() });
                    one(live.send(&Method::POST, &path, Some(&order))?)
                }
                None => one(live.send(&Method::DELETE, &path, None)?),
            }
        }
        Command::Hold { machine } => {
            one(live.send(&Method::POST, &path(machine, &["hold"]), None)?)
        }
        Command::Release { machine } => {
            one(live.send(&Method::POST, &path(machine, &["release"]), None)?)
        }
        Command::Tag {
            machine,
            tags,
            remove,
        } => {
            let method = if *remove { Method::DELETE } else { Method::PUT };
            let mut last = Value::Null;
            for tag in tags {
                last = live.send(&method, &path(machine, &["tags", tag]), None)?;
            }
            one(last)
        }
    }
}

const MACHINES: &str = "/api/v1/machines";

fn path(machine: &str, rest: &[&str]) -> String {
    let mut path = format!("{MACHINES}/{}", encoded(machine));
    for part in rest {
        path.push('/');
        path.push_str(&encoded(part));
    }
    path
}

impl List {
    /// Page by page.
    fn all(&self, live: &Live) -> anyhow::Result<Vec<Value>> {
        let mut machines = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = live.send(&Method::GET, &self.path(cursor.as_deref()), None)?;
            if let Some(list) = page["machines"].as_array_mut() {
                machines.append(list);
            }
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(machines);
            }
        }
    }

    fn path(&self, cursor: Option<&str>) -> String {
        let state = self.state.and_then(|state| state.to_possible_value());
        let mut path = format!("{MACHINES}?limit={PAGE}");
        for (name, value) in [
            ("q", self.text.as_deref()),
            ("tag", self.tag.as_deref()),
            ("boot", self.boot.as_deref()),
            ("state", state.as_ref().map(|state| state.get_name())),
            ("cursor", cursor),
        ] {
            if let Some(value) = value {
                path.push('&');
                path.push_str(name);
                path.push('=');
                path.push_str(&encoded(value));
            }
        }
        path
    }
}

impl Words {
    /// What was said; an empty word takes away what is known.
    fn json(&self) -> Value {
        let mut said = serde_json::Map::new();
        for (name, word) in [
            ("guid", &self.guid),
            ("name", &self.name),
            ("boot", &self.boot),
            ("serial", &self.serial),
            ("asset", &self.asset),
        ] {
            if let Some(word) = word {
                said.insert(name.to_owned(), empty_is_null(word));
            }
        }
        for (name, words) in [("macs", &self.macs), ("tags", &self.tags)] {
            if !words.is_empty() {
                let words = words.iter().filter(|word| !word.is_empty());
                said.insert(name.to_owned(), words.cloned().collect());
            }
        }
        if !self.values.is_empty() {
            let values = self.values.iter();
            let values: BTreeMap<_, _> = values.map(|(n, v)| (n, empty_is_null(v))).collect();
            said.insert("values".to_owned(), json!(values));
        }
        Value::Object(said)
    }
}

fn empty_is_null(word: &str) -> Value {
    if word.is_empty() {
        Value::Null
    } else {
        word.into()
    }
}

fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// As one part of a path or query.
fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// Who gives the order, as far as the environment tells.
fn whoever() -> Option<String> {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    names.filter_map(|name| std::env::var(name).ok()).next()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MachineArgs,
    }

    fn command(words: &str) -> Command {
        let words = std::iter::once("machine").chain(words.split(' '));
        Line::parse_from(words).args.command
    }

    #[test]
    fn hostile_names_stay_one_part_of_the_path() {
        assert_eq!(
            path("a/../b?c#d e%\u{1b}", &["tags", "x/y"]),
            "/api/v1/machines/a%2F..%2Fb%3Fc%23d%20e%25%1B/tags/x%2Fy"
        );
        assert_eq!(
            path("52:54:00:99:00:01", &[]),
            "/api/v1/machines/52:54:00:99:00:01"
        );
    }

    #[test]
    fn filters_are_sent_along() {
        let Command::List(list) = command("list lab --tag a&b --state held --boot debian") else {
            panic!("no list");
        };
        assert_eq!(
            list.path(Some("7")),
            "/api/v1/machines?limit=500&q=lab&tag=a%26b&boot=debian&state=held&cursor=7"
        );
    }

    #[test]
    fn an_empty_word_takes_away_and_what_is_not_said_stays() {
        let Command::Set { words, .. } =
            command("set 7 --name n --boot= --mac 52:54:00:99:00:01 --value a=1 --value b=")
        else {
            panic!("no change");
        };
        assert_eq!(
            words.json(),
            json!({"name": "n", "boot": null, "macs": ["52:54:00:99:00:01"], "values": {"a": "1", "b": null}})
        );
        assert!(Line::try_parse_from(["machine", "add", "--value", "a"]).is_err());
        assert!(Line::try_parse_from(["machine", "reimage", "7"]).is_err());
    }
}
