//! Running cases one after another, and what came out.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::capture::Capture;
use crate::cases::{self, Case, Ending, Subject};
use crate::check::Evidence;
use crate::enrol;
use crate::flood::Flood;
use crate::forests::Forests;
use crate::guest::Guest;
use crate::images;
use crate::kernel_tls;
use crate::lab::{Lab, Node, Subnet};
use crate::process::tail;
use crate::qemu::{Hardware, Machine};
use crate::rom;
use crate::server::{Server, Setup};
use crate::stop;
use crate::storm::{self, Storm, Tools};
use crate::suite::Shelf;
use crate::windows::Windows;

/// Firmware runs in software; the slowest case takes 25 s on an idle machine.
const LIMIT: Duration = Duration::from_secs(240);
const MAC: &str = "52:54:00:99:00:01";
const UUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server binary.
    pub server: PathBuf,
    /// `bootstorm-load`, for cases with simulated machines.
    pub load: Option<PathBuf>,
    /// Where firmware is kept and cases leave their files.
    pub folder: PathBuf,
    /// Keep the files of passed cases as well.
    pub keep: bool,
}

/// What came out of a case.
#[derive(Debug)]
pub struct Outcome {
    /// The case.
    pub name: &'static str,
    /// From power-on to the marker (or the recorded reason), or what went wrong.
    pub result: Result<Duration>,
    /// Versions of firmware and boot programs.
    pub versions: String,
}

/// Runs cases in order and prints a line for each.
///
/// # Errors
/// What all cases need cannot be had: the kernel, or Ctrl-C can not be heard.
pub fn run(selected: &[&'static Case], options: &Options) -> Result<Vec<Outcome>> {
    stop::listen()?;
    let shelf = shelf(&options.folder);
    let guest = Guest::build(&shelf, &options.folder.join("guest"))?;
    println!(
        "  kernel {} (Debian bookworm), initrd of our own",
        guest.version
    );
    let mut outcomes = Vec::new();
    for case in selected {
        if stop::asked() {
            break;
        }
        let outcome = run_one(case, options, &shelf, &guest);
        print_line(&outcome, options);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The shelf of a work folder.
#[must_use]
pub fn shelf(folder: &Path) -> Shelf {
    Shelf::new(folder.join("firmware"))
}

/// Where a case leaves its files.
#[must_use]
pub fn case_folder(options: &Options, name: &str) -> PathBuf {
    options.folder.join("runs").join(name)
}

fn run_one(case: &'static Case, options: &Options, shelf: &Shelf, guest: &Guest) -> Outcome {
    let folder = case_folder(options, case.name);
    let mut versions = String::new();
    let result = boot(case, options, shelf, guest, &folder, &mut versions);
    if result.is_ok() && !options.keep {
        // What a passed case left is of no use; a rest of it does no harm.
        fs::remove_dir_all(&folder).ok();
    }
    Outcome {
        name: case.name,
        result,
        versions,
    }
}

fn boot(
    case: &Case,
    options: &Options,
    shelf: &Shelf,
    guest: &Guest,
    folder: &Path,
    versions: &mut String,
) -> Result<Duration> {
    empty(folder)?;
    let nonce = nonce()?;
    let pictures = folder.join("images");
    let fill = || {
        let cmdline = format!("console=ttyS0 e2e.case={} e2e.nonce={nonce}", case.name);
        images::fill(&pictures, case.programs, guest, shelf, &cmdline)
    };
    match case.subject {
        Subject::KernelTls(suite) => {
            let marker = (case.name, nonce.as_str());
            let (time, kernel) = kernel_tls::run(suite, shelf, &options.server, folder, marker)?;
            *versions = kernel;
            Ok(time)
        }
        Subject::Flood(xdp) => {
            fill()?;
            let flood = Flood {
                xdp,
                config: case.config.unwrap_or_default(),
                server: &options.server,
                load: options.load.as_deref().context("no bootstorm-load")?,
                images: pictures,
                entry: images::ENTRY,
                folder,
            };
            let (time, figures) = flood.run()?;
            *versions = figures;
            Ok(time)
        }
        Subject::Storm(storm) => {
            let (time, figures) = play(storm, options, shelf, folder)?;
            *versions = figures;
            Ok(time)
        }
        Subject::Forests => {
            let forests = Forests {
                program: &options.server,
                firmware: case.firmware,
                programs: case.programs,
                guest,
                shelf,
                folder,
                nonce: &nonce,
            };
            let (time, what) = forests.run()?;
            *versions = what;
            Ok(time)
        }
        Subject::Windows => {
            let windows = Windows {
                program: &options.server,
                firmware: case.firmware,
                shelf,
                folder,
                nonce: &nonce,
            };
            let (time, what) = windows.run()?;
            *versions = what;
            Ok(time)
        }
        Subject::Firmware => {
            let programs = fill()?;
            *versions = format!("{}, {programs}", case.firmware.describe(shelf)?);
            boot_firmware(case, options, shelf, pictures, folder, &nonce)
        }
    }
}

/// Gives the slowest boot, and what came of the storm.
fn play(
    storm: cases::Storm,
    options: &Options,
    shelf: &Shelf,
    folder: &Path,
) -> Result<(Duration, String)> {
    let tools = Tools {
        server: &options.server,
        load: options.load.as_deref().context("no bootstorm-load")?,
        shelf,
    };
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../loadtest/scenarios");
    let played = Storm {
        scenario: scenarios.join(storm.scenario).with_extension("toml"),
        machines: Some(storm.machines),
        image: storm.image,
    };
    match storm.image {
        Some(image) => {
            let bytes = played.roster(tools.load)?.of_linux() * image;
            let play = played.against_bootstorm(tools, folder)?;
            storm::check(play, folder, bytes)
        }
        None => storm::check(played.against_dnsmasq(tools, folder)?, folder, 1),
    }
}

fn boot_firmware(
    case: &Case,
    options: &Options,
    shelf: &Shelf,
    pictures: PathBuf,
    folder: &Path,
    nonce: &str,
) -> Result<Duration> {
    let mut lab = Lab::start(folder, case.lan)?;
    if case.plain_rom {
        rom::disguise(&lab)?;
    }
    let captures = [
        Capture::start(&lab, Subnet::Near)?,
        Capture::start(&lab, Subnet::Far)?,
    ];
    let setup = Setup {
        node: Node::Server,
        program: options.server.clone(),
        images: pictures,
        boot: Some(images::ENTRY.to_owned()),
        config: case.config.map(str::to_owned),
        files: files(case, nonce),
    };
    let mut server = Server::start(&lab, &setup)?;
    let attached = server.attached(&lab)?;
    ensure!(
        attached == case.attached,
        "eth0 is sorted `{attached}`, not `{}`",
        case.attached
    );
    let trusted = if case.enrolled {
        Some(enrol_authority(&server, &lab)?)
    } else {
        None
    };
    let hardware = Hardware {
        firmware: case.firmware,
        first: case.first,
        mac: MAC.to_owned(),
        uuid: UUID.to_owned(),
        smbios: case.smbios,
        subnet: case.subnet,
        trusted,
    };
    let start = Instant::now();
    let mut machine = Machine::start("machine", &hardware, &lab, shelf)?;
    if case.killed {
        machine.wait_for(&format!("{}/vmlinuz...", images::ENTRY), LIMIT)?;
        server = server.killed_and_started(&lab, &setup)?;
    }
    let ended = match case.ending {
        Ending::Marker => machine.wait_for(
            &format!("bootstorm-e2e {} booted {nonce}", case.name),
            LIMIT,
        ),
        Ending::Reason(reason) => wait_for_reason(&server, &lab, reason),
    };
    let time = start.elapsed();
    ended.with_context(|| format!("server's log:\n{}\n", tail(&server.log(), 25)))?;
    lab.check()?;
    let console = machine.console_text();
    drop(machine);
    server.stop()?;
    let mut segments = Vec::new();
    for capture in captures {
        segments.extend(capture.finish()?);
    }
    for check in case.checks {
        check
            .run(&Evidence {
                segments: &segments,
                console: &console,
            })
            .with_context(|| format!("{check:?}"))?;
    }
    Ok(time)
}

fn files(case: &Case, nonce: &str) -> Vec<(PathBuf, String)> {
    let files = case.files.iter();
    files
        .map(|(path, text)| (PathBuf::from(path), text.replace("NONCE", nonce)))
        .collect()
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn enrol_authority(server: &Server, lab: &Lab) -> Result<PathBuf> {
    let file = lab.folder().join("ca.esl");
    fs::write(
        &file,
        enrol::signature_list(server.authority(lab)?.as_bytes())?,
    )?;
    Ok(file)
}

fn wait_for_reason(server: &Server, lab: &Lab, reason: &str) -> Result<()> {
    let mut said = String::new();
    stop::wait_for(&format!("{reason} in the API"), LIMIT, || {
        said = server.api(lab, "/api/v1/clients")?;
        let named = said.to_lowercase().contains(MAC) && said.contains(reason);
        Ok(named.then_some(()))
    })
    .with_context(|| format!("the API says: {said}"))
}

/// So that no marker of another run can pass for this one's.
fn nonce() -> Result<String> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn print_line(outcome: &Outcome, options: &Options) {
    match &outcome.result {
        Ok(time) => println!(
            "  ok    {:22} {:6.1} s  {}",
            outcome.name,
            time.as_secs_f64(),
            outcome.versions
        ),
        Err(error) => {
            println!("  FAIL  {:22}           {}", outcome.name, outcome.versions);
            for line in format!("{error:#}").lines() {
                println!("        {line}");
            }
            println!(
                "        files: {}",
                case_folder(options, outcome.name).display()
            );
        }
    }
}
