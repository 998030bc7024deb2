//! Explains one machine: by the running server, else from the database.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::SystemTime;

use bootstorm_config::Config;
use bootstorm_policy::{Facts, typical_requests};
use bootstorm_proto::dhcp::Asker;
use bootstorm_store::{BootFilter, BootRecord, Event, Key, MachineRecord, Store, StoreError};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Subject;
use super::judge::{Judge, own_address};
use super::text::{self, Line};
use crate::cli::live::{self, Live, Refused};
use crate::cli::sorted;

/// Boots and events of the database that are shown.
const HISTORY: u32 = 20;

/// Decisions that are shown whole.
const WHOLE: usize = 3;

/// What `/api/v1/explain` answers, or the same without a server: from the database.
pub(super) fn view(
    config: &Config,
    subject: Subject,
    server: Option<Ipv4Addr>,
    ask: bool,
) -> anyhow::Result<Value> {
    let asked = Live::find(config).and_then(|live| {
        let local = server.map_or_else(own_address, Ok)?;
        live.send(&Method::GET, &path(subject, local), None)
    });
    let why = match asked {
        Ok(mut view) => {
            view["from"] = "server".into();
            return Ok(view);
        }
        Err(error) => error,
    };
    // A server that answers knows best what is wrong with the question.
    if let Some(refused) = why.downcast_ref::<Refused>()
        && refused.status != StatusCode::NOT_FOUND
    {
        return Err(why);
    }
    let mut view = offline(config, subject, server, ask)?;
    let note = format!("no running server was asked: {why:#}");
    if let Some(notes) = view["notes"].as_array_mut() {
        notes.insert(0, note.into());
    }
    Ok(view)
}

fn path(subject: Subject, local: Ipv4Addr) -> String {
    let which = match subject {
        Subject::Mac(mac) => format!("mac={mac}"),
        Subject::Address(address) => format!("ip={address}"),
        Subject::Guid(guid) => format!("guid={guid}"),
    };
    format!("/api/v1/explain?{which}&server={local}")
}

fn offline(
    config: &Config,
    subject: Subject,
    server: Option<Ipv4Addr>,
    ask: bool,
) -> anyhow::Result<Value> {
    let judge = Judge::new(config, server, ask)?;
    let key = match subject {
        Subject::Mac(mac) => Some(Key::Mac(mac)),
        Subject::Guid(guid) => Some(Key::Guid(guid)),
        Subject::Address(_) => None,
    };
    let mut notes = judge.notes.clone();
    if key.is_none() {
        notes.push("only a running server knows who has an address: name the MAC".to_owned());
    }
    let mut past = Past::default();
    if let (Some(store), Some(key)) = (&judge.store, &key) {
        match judge.runtime.block_on(Past::of(store, key)) {
            Ok(found) => past = found,
            Err(error) => notes.push(format!("the database was not read: {error}")),
        }
    }
    let mac = match subject {
        Subject::Mac(mac) => Some(mac),
        Subject::Guid(_) | Subject::Address(_) => past.machine.as_ref().and_then(first_mac),
    };
    let mut next = Vec::new();
    for client in mac
        .into_iter()
        .flat_map(|mac| typical_requests(mac, judge.local.into()))
    {
        next.push(judge.dhcp(&client).to_json());
    }
    let guid = match subject {
        Subject::Guid(guid) => Some(guid),
        Subject::Mac(_) | Subject::Address(_) => past.machine.as_ref().and_then(|m| m.guid),
    };
    if mac.is_some() || guid.is_some() {
        let facts = Facts {
            mac,
            guid,
            asker: Some(Asker::Ipxe),
            serial: past
                .machine
                .as_ref()
                .and_then(|m| m.hardware.serial.clone()),
            ..Facts::default()
        };
        next.push(judge.script(facts).to_json());
    }
    Ok(json!({
        "from": "database",
        "notes": notes,
        "mac": mac.map(|mac| mac.to_string()),
        "machine": past.machine.as_ref().map(machine),
        "boots": past.boots.iter().map(boot).collect::<Vec<_>>(),
        "events": past.events.iter().map(event).collect::<Vec<_>>(),
        "next": next,
    }))
}

fn first_mac(machine: &MachineRecord) -> Option<bootstorm_proto::types::MacAddress> {
    machine.macs.first().copied()
}

/// What the database has of a machine.
#[derive(Default)]
struct Past {
    machine: Option<MachineRecord>,
    boots: Vec<BootRecord>,
    events: Vec<Event>,
}

impl Past {
    async fn of(store: &Store, key: &Key) -> Result<Self, StoreError> {
        let Some(machine) = store.machine(key).await? else {
            return Ok(Self::default());
        };
        let filter = BootFilter {
            machine: Some(machine.id),
            ..BootFilter::default()
        };
        let boots = store.boots(&filter, None, HISTORY).await?;
        let events = store.events(Some(machine.id), None, HISTORY).await?;
        Ok(Self {
            machine: Some(machine),
            boots,
            events: events.into_iter().map(|(_, event)| event).collect(),
        })
    }
}

fn time(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}

fn machine(record: &MachineRecord) -> Value {
    json!({
        "id": record.id,
        "name": record.name,
        "known": record.is_known(),
        "boot": record.boot,
        "once": record.once.as_ref().map(|once| &once.boot),
        "held": record.held.map(time),
        "tags": record.tags,
        "phase": record.phase,
        "first_seen": time(record.first_seen),
        "last_seen": time(record.last_seen),
    })
}

fn boot(boot: &BootRecord) -> Value {
    json!({
        "entry": boot.entry,
        "by": boot.decider,
        "state": boot.state().name(),
        "code": boot.code,
        "text": boot.reason,
        "bytes": boot.bytes,
        "requested": time(boot.requested),
    })
}

fn event(event: &Event) -> Value {
    json!({ "at": time(event.at), "kind": event.kind, "code": event.code, "text": event.text })
}

/// The view for people.
pub(super) fn print(out: &mut impl Write, view: &Value) -> io::Result<()> {
    let mut head: Vec<Line> = vec![("machine", who(view))];
    head.extend(in_short(view));
    let notes = view["notes"].as_array().into_iter().flatten();
    head.extend(notes.map(|note| ("note", note.as_str().unwrap_or_default().to_owned())));
    text::write(out, "", &head)?;
    decisions(out, view, &head)?;
    happened(out, view)?;
    history(out, view)?;
    classifier(out, view)?;
    next(out, view)
}

fn who(view: &Value) -> String {
    let first = &view["next"][0]["facts"]["machine"];
    let name = first["name"].as_str().or(view["machine"]["name"].as_str());
    let known = if first["known"] == true {
        "known"
    } else {
        "not known"
    };
    let mut words = vec![view["mac"].as_str().unwrap_or("no MAC address").to_owned()];
    words.extend(name.map(|name| format!("`{name}`")));
    words.push(known.to_owned());
    words.join(", ")
}

/// Why it does not boot, in as few lines as can be.
fn in_short(view: &Value) -> Vec<Line> {
    let seen = &view["seen"];
    let last = &view["decisions"][0];
    if view["from"] != "server" {
        return Vec::new();
    }
    if seen.is_null() && last.is_null() {
        return unheard(view);
    }
    let mut lines = Vec::new();
    if !seen["reason"].is_null() {
        lines.push(("in short", text::words(&seen["reason"])));
        lines.extend(text::advised(seen["reason"]["code"].as_str()));
    } else if let Some(words) = seen["phase"].as_str().and_then(|phase| stands(phase, seen)) {
        lines.push(("in short", words));
    } else {
        lines.push(("in short", text::reply_words(&last["reply"])));
        lines.extend(text::advised(last["reply"]["code"].as_str()));
    }
    lines
}

/// No request of it was read.
fn unheard(view: &Value) -> Vec<Line> {
    if !view["dropped"].is_null() {
        let reason = &view["dropped"]["reason"];
        let mut lines = vec![("in short", text::words(reason))];
        lines.extend(text::advised(reason["code"].as_str()));
        return lines;
    }
    [
        ("in short", "no request of it has reached this server since it started"),
        ("  check", "bootstorm watch --interface NAME while the machine boots: do its packets arrive?"),
        ("  fix", "network boot first in its boot order; cable and VLAN; behind a router, a relay (ip helper) that names this server"),
    ]
    .map(|(label, words)| (label, words.to_owned()))
    .into()
}

/// Where a boot stands that nothing is known to be wrong with.
fn stands(phase: &str, seen: &Value) -> Option<String> {
    let of = |name: &str| seen[name].as_str().unwrap_or("something").to_owned();
    Some(match phase {
        "asked" => "it asked, and no answer has been sent yet".to_owned(),
        "offered" => format!(
            "it was offered {} and has not come for it: it took another server's offer, or a \
             firewall keeps it from TFTP or HTTP here",
            of("offered")
        ),
        "nbp" => format!("it loads its boot program {}", of("offered")),
        "script" => format!("it got its script: {}", of("entry")),
        "queued" => "it waits until other machines have been fed".to_owned(),
        "loading" if seen["stalled"] == true => "what it loads has stopped moving".to_owned(),
        "loading" => format!("it loads {}", of("entry")),
        "booted" => format!("it has loaded all of {}", of("entry")),
        "client-started" => {
            "Windows PE and its client run; it has not told of a network".to_owned()
        }
        "network-up" => "Windows PE runs and reaches this server".to_owned(),
        "image-applied" => "the image is on its disk".to_owned(),
        "finished" => format!("it is done: {}", of("entry")),
        _ => return None,
    })
}

fn decisions(out: &mut impl Write, view: &Value, head: &[Line]) -> io::Result<()> {
    let all: Vec<&Value> = view["decisions"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nwhat was decided, newest first")?;
    for (at, decision) in all.into_iter().enumerate() {
        let title = text::title(&decision["facts"]);
        let again = match decision["times"].as_u64() {
            Some(times) if times > 1 => {
                format!(" ({times} times, last {})", text::time(&decision["last"]))
            }
            _ => String::new(),
        };
        writeln!(out, "  {}  {title}{again}", text::time(&decision["at"]))?;
        if at < WHOLE {
            let mut lines = text::lines(decision);
            // What the head says already.
            lines.retain(|line| !head.contains(line));
            text::write(out, "    ", &lines)?;
        } else {
            let answer = ("answer", text::reply_words(&decision["reply"]));
            text::write(out, "    ", &[answer])?;
        }
    }
    Ok(())
}

fn happened(out: &mut impl Write, view: &Value) -> io::Result<()> {
    if view["seen"].is_null() {
        return Ok(());
    }
    writeln!(out, "\nwhat happened")?;
    for line in live::lines(&view["seen"]) {
        writeln!(out, "  {}", text::clean(&line))?;
    }
    Ok(())
}

/// What the database knows.
fn history(out: &mut impl Write, view: &Value) -> io::Result<()> {
    let machine = &view["machine"];
    if view["from"] == "database" && machine.is_null() {
        return writeln!(out, "\nthe database knows no such machine");
    }
    if !machine.is_null() {
        writeln!(out, "\nwhat the database knows")?;
        let of = |name: &str| machine[name].as_str().unwrap_or("nothing").to_owned();
        let mut lines: Vec<Line> = vec![
            ("assigned", of("boot")),
            (
                "seen",
                format!(
                    "{}, phase {}",
                    text::time(&machine["last_seen"]),
                    of("phase")
                ),
            ),
        ];
        if let Some(once) = machine["once"].as_str() {
            lines.push(("once", once.to_owned()));
        }
        if !machine["held"].is_null() {
            lines.push(("held", format!("since {}", text::time(&machine["held"]))));
        }
        text::write(out, "  ", &lines)?;
    }
    let boots = view["boots"].as_array().into_iter().flatten();
    for boot in boots {
        let of = |name: &str| boot[name].as_str().unwrap_or_default().to_owned();
        let reason = boot["text"]
            .as_str()
            .map(|_| format!(": {}", text::words(boot)));
        let line = format!(
            "{} {}{}",
            of("entry"),
            of("state"),
            reason.unwrap_or_default()
        );
        writeln!(
            out,
            "  {}  {}",
            text::time(&boot["requested"]),
            text::clean(&line)
        )?;
    }
    let events = view["events"].as_array().into_iter().flatten();
    for event in events {
        let kind = event["kind"].as_str().unwrap_or_default();
        let line = format!("{kind:<9} {}", text::words(event));
        writeln!(
            out,
            "  {}  {}",
            text::time(&event["at"]),
            text::clean(&line)
        )?;
    }
    Ok(())
}

fn classifier(out: &mut impl Write, view: &Value) -> io::Result<()> {
    if view["classifier"].is_null() {
        return Ok(());
    }
    writeln!(
        out,
        "\nclassifier\n  {}",
        sorted::standing_line(&view["classifier"])
    )?;
    if !view["dropped"].is_null() {
        let at = text::time(&view["dropped"]["at"]);
        let line = sorted::dropped_line(&view["dropped"]);
        writeln!(out, "  last dropped {at}: {}", text::clean(&line))?;
    }
    Ok(())
}

/// What would be decided now: whole where nothing was decided yet.
fn next(out: &mut impl Write, view: &Value) -> io::Result<()> {
    let all: Vec<&Value> = view["next"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nif it asked now")?;
    let is_first = view["decisions"][0].is_null();
    let titles = all
        .iter()
        .map(|next| text::title(&next["facts"]).chars().count());
    let width = titles.max().unwrap_or_default();
    for next in &all {
        let title = text::title(&next["facts"]);
        let words = text::clean(&text::reply_words(&next["reply"]));
        writeln!(out, "  {title:width$}  {words}")?;
    }
    // The script's is the last, and has passed everything that decides.
    match all.last() {
        Some(script) if is_first => text::write(out, "    ", &text::lines(script)),
        _ => Ok(()),
    }
}
