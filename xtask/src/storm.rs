//! `cargo xtask storm`: the scenarios of loadtest/scenarios against this server, at their full size.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use bootstorm_e2e::storm::{Report, Storm, Tools};
use bootstorm_e2e::{command, packages, run, stop};

use crate::{page, workspace};

const SCENARIOS: &str = "loadtest/scenarios";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenarios by name, or files of your own; without any, those of the page on performance
    scenarios: Vec<String>,
    /// Another number of machines than the scenario's
    #[arg(long)]
    machines: Option<u32>,
    /// Another size of the image than the scenario's: `20MB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    image_size: Option<u64>,
    /// A server binary instead of one that is built in the release profile
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Put what came of them into docs/reference/performance.md, each as a row
    #[arg(long)]
    write: bool,
    /// Only list the scenarios
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let storms = storms(arguments)?;
    let load = workspace::build_release("bootstorm-load", "bootstorm-load")?;
    ensure!(
        !arguments.write || arguments.scenarios.is_empty(),
        "--write takes all scenarios: their table has one date"
    );
    if arguments.list {
        for storm in &storms {
            let roster = storm.roster(&load)?;
            println!("{:16} {}", roster.name, roster.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    packages::install(&[packages::BOOT, packages::WINDOWS].concat())?;
    stop::listen()?;
    let server = match &arguments.server {
        Some(file) => file.canonicalize().context("no such server")?,
        None => workspace::build_release("bootstorm-server", "bootstorm")?,
    };
    let shelf = run::shelf(&workspace::target().join("e2e"));
    let tools = Tools {
        server: &server,
        load: &load,
        shelf: &shelf,
    };
    let mut rows = String::new();
    let mut failed = 0;
    for storm in &storms {
        if stop::asked() {
            bail!("interrupted");
        }
        let (row, passed) = play(storm, tools)?;
        rows += &row;
        failed += usize::from(!passed);
    }
    println!("\n{HEAD}{rows}");
    if arguments.write {
        let mut text = page::origin()? + "\n\n";
        if arguments.server.is_some() {
            text += "The server was given as a binary: its build profile is unknown.\n\n";
        }
        page::write("storm", &format!("{text}{HEAD}{rows}"))?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const HEAD: &str = "\
| scenario | machines | image | booted | boot: half, 99 %, all within, s | MB/s | Jain's index | sent again: DHCP, TFTP | CPU s/GB: server, harness | findings | limits |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// What stands on the page, in the order there: scenarios, and another size of their image.
const ON_PAGE: [(&str, Option<u64>); 14] = [
    ("cold_storm", Some(20_000_000)),
    ("cold_storm", None),
    ("mixed_firmware", None),
    ("tls_resume", None),
    ("flood", None),
    ("restart", None),
    ("wan_2pct_loss", None),
    ("link_56k", None),
    ("link_128k", None),
    ("link_t1", None),
    ("link_10m", None),
    ("link_100m", None),
    ("link_1g", None),
    ("dnsmasq", None),
];

/// What is to be played.
fn storms(arguments: &Arguments) -> Result<Vec<Storm>> {
    let storm = |scenario: PathBuf, image: Option<u64>| {
        ensure!(
            scenario.is_file(),
            "there is no scenario {}; `cargo xtask storm --list` names those of {SCENARIOS}",
            scenario.display()
        );
        Ok(Storm {
            scenario,
            machines: arguments.machines,
            image: arguments.image_size.or(image),
        })
    };
    let named = |name: &str| {
        let file = workspace::root().join(SCENARIOS).join(name);
        file.with_extension("toml")
    };
    if arguments.scenarios.is_empty() {
        let on_page = ON_PAGE.iter();
        return on_page
            .map(|(name, image)| storm(named(name), *image))
            .collect();
    }
    let wanted = arguments.scenarios.iter();
    wanted
        .map(|name| match Path::new(name) {
            own if own.is_file() => storm(own.canonicalize()?, None),
            _ => storm(named(name), None),
        })
        .collect()
}

/// Plays one on this terminal; its row of the table, and whether all that it asks for holds.
fn play(storm: &Storm, tools: Tools<'_>) -> Result<(String, bool)> {
    let roster = storm.roster(tools.load)?;
    println!("\n{}: {}", roster.name, roster.about);
    let folder = workspace::target().join("storm").join(&roster.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let is_outside = roster.name == "dnsmasq";
    let mut command = if is_outside {
        storm.against_dnsmasq(tools, &folder)?
    } else {
        storm.against_bootstorm(tools, &folder)?
    };
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command::shown(&command)))?;
    // What the machines booted, and the server's copy of it.
    for rest in ["images", "data", "windows", "programs"] {
        fs::remove_dir_all(folder.join(rest)).ok();
    }
    let shown = folder.display();
    let report = Report::load(&folder).with_context(|| format!("see {shown}/server.log"))?;
    println!("report: {shown}/report.html and report.json");
    let image = if is_outside { None } else { Some(roster.image) };
    Ok((row(&roster.name, image, &report), status.success()))
}

fn row(name: &str, image: Option<u64>, report: &Report) -> String {
    let number = |pointer: &str| report.number(pointer).unwrap_or(0.0);
    let figure = |pointer: &str, places: usize| {
        report
            .number(pointer)
            .map_or("-".to_owned(), |figure| format!("{figure:.places$}"))
    };
    let phase = if report.number("/phases/booted/max").is_some() {
        "booted"
    } else {
        "program"
    };
    let within = ["p50", "p99", "max"].map(|rank| figure(&format!("/phases/{phase}/{rank}"), 1));
    format!(
        "| {name} | {:.0} | {} | {:.0} | {} | {:.1} | {} | {:.0}, {:.0} | {}, {} | {} | {} |\n",
        number("/scenario/machines"),
        image.map_or("-".to_owned(), |bytes| format!("{} MB", bytes as f64 / 1e6)),
        number("/machines/booted"),
        within.join(", "),
        number("/bytes_per_s") / 1e6,
        figure("/jain", 3),
        number("/resent/dhcp"),
        number("/resent/tftp"),
        figure("/cpu/server_s_per_gb", 2),
        figure("/cpu/own_s_per_gb", 2),
        report.findings(),
        if report.held() { "hold" } else { "BROKEN" },
    )
}

/// `20MB`, as scenarios have it.
fn size(text: &str) -> Result<u64, String> {
    let units = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    units
        .iter()
        .find_map(|(unit, factor)| {
            text.strip_suffix(unit)?
                .parse::<u64>()
                .ok()?
                .checked_mul(*factor)
        })
        .filter(|bytes| (1..=1_000_000_000_000).contains(bytes))
        .ok_or_else(|| "write `300kB`, `20MB` or `1GB`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Arguments, ON_PAGE, size, storms};

    fn arguments(scenarios: &[&str]) -> Arguments {
        Arguments {
            scenarios: scenarios.iter().map(|&name| name.to_owned()).collect(),
            machines: Some(7),
            image_size: None,
            server: None,
            write: false,
            list: false,
        }
    }

    #[test]
    fn every_scenario_of_the_page_is_there() {
        let all = storms(&arguments(&[])).unwrap();
        assert_eq!(all.len(), ON_PAGE.len());
        assert!(all.iter().all(|storm| storm.machines == Some(7)));
        assert_eq!(storms(&arguments(&["restart"])).unwrap().len(), 1);
        assert!(storms(&arguments(&["nothing"])).is_err());
    }

    #[test]
    fn sizes_are_written_as_in_scenarios() {
        assert_eq!(size("300kB"), Ok(300_000));
        assert_eq!(size("20MB"), Ok(20_000_000));
        for wrong in ["20", "0MB", "MB", "20 MB", "99999999999999GB", "-1MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
