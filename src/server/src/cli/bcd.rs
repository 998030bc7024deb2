//! `bootstorm bcd`: boot configuration stores, made and shown without a server.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bootstorm_catalog::bcd::{self, BootStore, Device, Element, Firmware, Menu, Object};
use bootstorm_catalog::bcd::{ObjectId, RamdiskEntry, Value};
use bootstorm_proto::types::{BlockSize, WindowSize};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{EXIT_FAILURE, UsageError, machine};

/// Real stores have some ten KiB.
const MAX_FILE: u64 = 16 << 20;
/// As bcdedit sets it.
const MENU_SECONDS: u64 = 30;

/// Arguments of `bcd`.
#[derive(Debug, Args)]
pub(crate) struct BcdArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a store that boots Windows PE images by TFTP
    Make(MakeArgs),
    /// Print what is in a store, whoever wrote it
    Show(ShowArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm bcd make --uefi --wim '\\winpe.wim' --sdi '\\winpe.wim\\boot.sdi' -o BCD
  bootstorm bcd make --bios --wim '\\a.wim' --wim '\\b.wim' --title A --title B --timeout 10 -o BCD
                                              a menu whose first entry boots after 10 seconds
  bootstorm bcd make --uefi --wim '\\pe.wim' --block 1456 --window 16 -o - | bootstorm bcd show -

Exit codes: 0 written, 1 it cannot be written, 2 what was asked for makes no store.")]
#[command(group = ArgGroup::new("firmware").required(true).args(["uefi", "bios"]))]
struct MakeArgs {
    /// Path of the image on the TFTP server; several make a menu
    #[arg(long, value_name = "PATH", required = true)]
    wim: Vec<String>,
    /// For bootmgfw.efi
    #[arg(long)]
    uefi: bool,
    /// For bootmgr.exe
    #[arg(long)]
    bios: bool,
    /// Path of boot.sdi on the TFTP server
    #[arg(long, value_name = "PATH", default_value = r"\Boot\boot.sdi")]
    sdi: String,
    /// What the image is called, for each --wim in turn; the file's name otherwise
    #[arg(long, value_name = "TEXT")]
    title: Vec<String>,
    /// Bytes of a TFTP block that the boot manager asks for
    #[arg(long, value_name = "BYTES", value_parser = block_size)]
    block: Option<BlockSize>,
    /// Blocks that may be sent at a time
    #[arg(long, value_name = "BLOCKS", value_parser = window_size)]
    window: Option<WindowSize>,
    /// Let the boot manager change the window while it fetches
    #[arg(long)]
    variable_window: bool,
    /// Load drivers that are signed for tests
    #[arg(long)]
    test_signing: bool,
    /// Options for the kernel
    #[arg(long, value_name = "TEXT")]
    options: Option<String>,
    /// Language of the boot manager, such as de-DE
    #[arg(long, value_name = "LANGUAGE")]
    locale: Option<String>,
    /// Which --wim boots unless another is chosen, from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    default: usize,
    /// How long the menu is shown; 0 boots the default at once. 30 with several --wim
    #[arg(long, value_name = "SECONDS", conflicts_with = "wait")]
    timeout: Option<u64>,
    /// Show the menu until somebody chooses
    #[arg(long)]
    wait: bool,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The store; - is standard input
    file: PathBuf,
    /// How it is printed
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// How stores are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, as bcdedit does
    Text,
    /// For programs: docs/reference/bcd.md lists the names
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &BcdArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Make(args) => make(args),
        Command::Show(args) => show(args),
    }
}

fn make(args: &MakeArgs) -> anyhow::Result<ExitCode> {
    let bytes = match store(args) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(error.exit()),
    };
    if args.output.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        if out.is_terminal() {
            let text = "a store is no text for a terminal; name a file: -o BCD".to_owned();
            return Ok(UsageError::from(text).exit());
        }
        out.write_all(&bytes)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    let file = match args.force {
        true => options.create(true),
        false => options.create_new(true),
    }
    .open(&args.output);
    let written = file.and_then(|mut file| file.write_all(&bytes));
    match written {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            anyhow::bail!(
                "{} is there already; --force writes over it",
                args.output.display()
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", args.output.display())),
    }
}

fn store(args: &MakeArgs) -> Result<Vec<u8>, UsageError> {
    if args.title.len() > args.wim.len() {
        return Err("there are more --title than --wim; leave some out"
            .to_owned()
            .into());
    }
    if !(1..=args.wim.len()).contains(&args.default) {
        let text = "--default names one of the --wim; it counts from 1";
        return Err(text.to_owned().into());
    }
    let titles = args.title.iter().map(Some).chain(std::iter::repeat(None));
    let entries = args
        .wim
        .iter()
        .zip(titles)
        .map(|(wim, title)| RamdiskEntry {
            block: args.block,
            window: args.window,
            variable_window: args.variable_window,
            test_signing: args.test_signing,
            options: args.options.clone(),
            ..RamdiskEntry::new(
                title.map_or_else(|| title_of(wim), String::as_str),
                wim,
                &args.sdi,
            )
        });
    let menu = match args.timeout {
        _ if args.wait => Menu::Waits,
        Some(seconds) => Menu::Timed(Duration::from_secs(seconds)),
        None if args.wim.len() > 1 => Menu::Timed(Duration::from_secs(MENU_SECONDS)),
        None => Menu::Hidden,
    };
    let store = BootStore {
        firmware: if args.bios {
            Firmware::Bios
        } else {
            Firmware::Uefi
        },
        entries: entries.collect(),
        default: args.default - 1,
        menu,
        locale: args.locale.clone(),
    };
    store
        .to_bytes()
        .map_err(|error| format!("{error} [{}]", error.code()).into())
}

/// The name of the file, without its ending.
fn title_of(wim: &str) -> &str {
    let name = wim.rsplit(['\\', '/']).next().unwrap_or(wim);
    name.rsplit_once('.').map_or(name, |(title, _)| title)
}

fn block_size(text: &str) -> Result<BlockSize, String> {
    size(text, BlockSize::try_from)
}

fn window_size(text: &str) -> Result<WindowSize, String> {
    size(text, WindowSize::try_from)
}

fn size<T, E: ToString>(text: &str, of: fn(u32) -> Result<T, E>) -> Result<T, String> {
    let number = text.parse().map_err(|_| "it is no number".to_owned())?;
    of(number).map_err(|error| error.to_string())
}

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let bytes = read(&args.file)?;
    let mut out = io::stdout().lock();
    match bcd::show(&bytes) {
        Ok(objects) => match args.output {
            Format::Text => text(&mut out, &objects)?,
            Format::Json => {
                let objects: Vec<_> = objects.iter().map(object).collect();
                machine::print_json(&mut out, &objects)?;
            }
        },
        Err(error) => {
            let name = args.file.display();
            let _ = writeln!(
                io::stderr(),
                "bootstorm: {name}: {error} [{}]",
                error.code()
            );
            return Ok(EXIT_FAILURE.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        anyhow::bail!(
            "{}: it has more than 16 MiB; name a BCD file",
            file.display()
        );
    }
    Ok(bytes)
}

/// A block for each object, as `bcdedit /enum all /v` has them.
fn text(out: &mut impl Write, objects: &[Object]) -> io::Result<()> {
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", object.kind.title())?;
        let name = object.id.name().map(|name| format!("  {{{name}}}"));
        let name = name.unwrap_or_default();
        writeln!(out, "  {:24}{}{name}", "identifier", object.id)?;
        for element in &object.elements {
            let name = element.name(object.kind).map(str::to_owned);
            let name = name.unwrap_or_else(|| format!("custom:{:08x}", element.code));
            writeln!(out, "  {name:24}{}", element.value)?;
        }
    }
    Ok(())
}

fn object(object: &Object) -> serde_json::Value {
    let named = |element: &Element| {
        json!({
            "code": format!("{:08x}", element.code),
            "name": element.name(object.kind),
            "value": value(&element.value),
        })
    };
    json!({
        "id": object.id.to_string(),
        "name": object.id.name(),
        "type": format!("{:08x}", object.kind.0),
        "title": object.kind.title(),
        "elements": object.elements.iter().map(named).collect::<Vec<_>>(),
    })
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Device(Device::Boot) => json!({ "device": "boot" }),
        Value::Device(Device::RamDisk { options, path }) => {
            json!({ "device": "ramdisk", "path": path, "options": options.to_string() })
        }
        Value::Device(Device::Other(bytes)) => json!({ "device": "other", "bytes": hex(bytes) }),
        Value::Text(text) => json!(text),
        Value::Object(id) => json!(id.to_string()),
        Value::Objects(ids) => ids.iter().map(ObjectId::to_string).collect(),
        Value::Integer(number) => json!(number),
        Value::Boolean(is_so) => json!(is_so),
        Value::Integers(numbers) => json!(numbers),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
