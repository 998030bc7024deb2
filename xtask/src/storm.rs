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
    let files = files(&arguments.scenarios)?;
    let load = workspace::build_release("bootstorm-load", "bootstorm-load")?;
    let storms: Vec<Storm> = files
        .into_iter()
        .map(|scenario| Storm {
            scenario,
            machines: arguments.machines,
            image: arguments.image_size,
        })
        .collect();
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
        page::write("storm", &format!("{}\n\n{HEAD}{rows}", page::origin()?))?;
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

/// Which scenarios stand on the page, in their order there.
const ON_PAGE: [&str; 13] = [
    "cold_storm",
    "mixed_firmware",
    "tls_resume",
    "flood",
    "restart",
    "wan_2pct_loss",
    "link_56k",
    "link_128k",
    "link_t1",
    "link_10m",
    "link_100m",
    "link_1g",
    "dnsmasq",
];

fn files(wanted: &[String]) -> Result<Vec<PathBuf>> {
    let named = |name: &str| {
        workspace::root()
            .join(SCENARIOS)
            .join(name)
            .with_extension("toml")
    };
    if wanted.is_empty() {
        return Ok(ON_PAGE.map(named).to_vec());
    }
    let find = |name: &String| {
        let file = match Path::new(name) {
            own if own.is_file() => own.canonicalize()?,
            _ => named(name),
        };
        ensure!(
            file.is_file(),
            "there is no scenario {name}; `cargo xtask storm --list` and {SCENARIOS} have them"
        );
        Ok(file)
    };
    wanted.iter().map(find).collect()
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
    use super::{ON_PAGE, files, size};

    #[test]
    fn every_scenario_of_the_page_is_there() {
        assert_eq!(files(&[]).unwrap().len(), ON_PAGE.len());
        assert!(files(&[]).unwrap().iter().all(|file| file.is_file()));
        assert!(files(&["nothing".to_owned()]).is_err());
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
