//! `bootstorm-load machines`: who is in a scenario, for whoever has to know them beforehand.

use std::path::PathBuf;

use bootstorm_proto::types::MachineGuid;
use serde::Serialize;

use crate::machine::behaviour::Trouble;
use crate::machine::profile::Profile;
use crate::scenario::{Overrides, Scenario};
use crate::storm::Start;

/// Lists the machines of a scenario: for reservations, groups and rules of the server under test.
///
/// They are the same in every run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is to be simulated
    scenario: PathBuf,
    /// Another number of machines than the scenario's
    #[arg(long)]
    machines: Option<u32>,
    /// Print them as JSON, and what the scenario says of itself
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct List {
    name: String,
    about: String,
    server: String,
    /// How large an image it wants to be made, in bytes.
    image: Option<u64>,
    machines: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    mac: String,
    guid: String,
    profile: Profile,
    /// When it is switched on, in seconds.
    at_s: f64,
    trouble: Option<Trouble>,
}

/// Reads the scenario; an error is wrong usage. The work prints the list and gives 0.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    let overrides = Overrides {
        machines: options.machines,
        ..Overrides::default()
    };
    let scenario = Scenario::load(&options.scenario, &overrides)?;
    Ok(move || {
        let list = List::of(&scenario);
        if options.json {
            println!("{}", serde_json::to_string(&list)?);
        } else {
            print!("{}", list.text());
        }
        Ok(0)
    })
}

impl List {
    fn of(scenario: &Scenario) -> Self {
        Self {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            server: scenario.server.to_string(),
            image: scenario.image.map(|image| image.size.0),
            machines: scenario.starts().iter().map(Listed::of).collect(),
        }
    }

    fn text(&self) -> String {
        let line = |machine: &Listed| {
            let trouble = machine.trouble.map_or("", Trouble::name);
            let line = format!(
                "{}  {}  {:12}  {:7.1} s  {trouble}",
                machine.mac,
                machine.guid,
                machine.profile.name(),
                machine.at_s
            );
            line.trim_end().to_owned() + "\n"
        };
        self.machines.iter().map(line).collect()
    }
}

impl Listed {
    fn of(start: &Start) -> Self {
        let identity = &start.identity;
        let trouble = start.behaviour.trouble;
        Self {
            mac: identity.mac.to_string(),
            guid: MachineGuid::from_wire(identity.guid).to_string(),
            profile: identity.profile,
            at_s: start.at.as_secs_f64(),
            trouble: (trouble != Trouble::None).then_some(trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_machine_has_a_line_with_what_servers_know_it_by() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/mixed_firmware.toml");
        let overrides = Overrides {
            machines: Some(15),
            ..Overrides::default()
        };
        let list = List::of(&Scenario::load(&file, &overrides).unwrap());
        let text = list.text();
        assert_eq!(text.lines().count(), 15);
        let first = text.lines().next().unwrap();
        let known = "02:b5:70:00:00:00  000070b5-6f62-746f-7374-6f726d000000  ";
        assert!(first.starts_with(known), "{first}");
        assert_eq!(list.image, Some(20_000_000));
        assert!(text.contains("windows-tftp"));
    }
}
