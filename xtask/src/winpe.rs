//! `cargo xtask winpe`: the client for Windows PE, built for Windows and tested under Wine.
//!
//! rustup's compiler has no standard library for that target: Debian's builds it from its source,
//! see docs/adr/0012-the-winpe-client.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bootstorm_e2e::{command, packages};

use crate::e2e::Count;
use crate::{test, workspace};

const RUSTC: &str = "/usr/bin/rustc";
const TARGET: &str = "x86_64-pc-windows-gnu";
const PROGRAM: &str = "bootstorm-winpe.exe";
const MANIFEST: &str = "src/winpe/Cargo.toml";
const TOOLS: &str = "x86_64-w64-mingw32-";

/// It travels to every machine that boots.
const SIZE_MAX: u64 = 2 * 1024 * 1024;

/// What Windows PE has without any optional component; `api-ms-` names are parts of these.
const LIBRARIES: [&str; 8] = [
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "crypt32.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ws2_32.dll",
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Copy the program into this folder: images/boot is where the server looks for it
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = build()?;
    let size = program.metadata()?.len();
    let shown = match &arguments.into {
        Some(folder) => {
            // cargo runs tasks in the folder that they were called from.
            let copy = folder.join(PROGRAM);
            fs::copy(&program, &copy).with_context(|| copy.display().to_string())?;
            copy
        }
        None => program,
    };
    println!("{}: {size} bytes", shown.display());
    Ok(ExitCode::SUCCESS)
}

/// Lints it, tests what it decides, builds it, and runs it under Wine against a real server.
pub(crate) fn check(arguments: &test::Arguments) -> Result<Count> {
    packages::install(&[packages::WINPE, packages::WINE, packages::WINDOWS].concat())?;
    let mut count = Count::passed();
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--quiet", "--locked", "--all-targets"]);
    test::pass(on_host(&mut clippy).args(["--", "-D", "warnings"]))?;
    lint()?;
    let mut unit = workspace::cargo();
    unit.args(["test", "--quiet", "--locked", "--lib"]);
    count.add(test::counted(arguments, on_host(&mut unit))?);
    let program = build()?;
    check_size(&program)?;
    check_imports(&program)?;
    count.add(Count::passed());
    let stage = stage(&program)?;
    let mut wine = workspace::cargo();
    wine.args(["test", "--quiet"])
        .args(test::TESTED)
        .args(["--test", "winpe", "--", "--ignored"])
        .env("BOOTSTORM_WINPE", &stage);
    count.add(test::counted(arguments, &mut wine)?);
    Ok(count)
}

fn build() -> Result<PathBuf> {
    packages::install(packages::WINPE).context(
        "the client is built by Debian's compiler (Debian 12 with its security updates)",
    )?;
    println!("Building {PROGRAM}");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet"]);
    for_windows(&mut cargo);
    test::pass(&mut cargo)?;
    Ok(target().join(TARGET).join("release").join(PROGRAM))
}

/// The lints of what is there for Windows alone: Debian's clippy checks as its compiler builds.
fn lint() -> Result<()> {
    let mut clippy = Command::new("/usr/bin/cargo-clippy");
    clippy
        .args(["clippy", "--quiet"])
        .current_dir(workspace::root());
    for_windows(&mut clippy);
    test::pass(clippy.args(["--", "-D", "warnings"]))
}

fn for_windows(cargo: &mut Command) {
    cargo
        .args(["--release", "--locked"])
        .args(["--manifest-path", MANIFEST, "--target", TARGET])
        .args(["-Z", "build-std=std,panic_abort"])
        .arg("--target-dir")
        .arg(target())
        .env("RUSTC", RUSTC)
        // The compiler is a stable one, and building its library with it is not.
        .env("RUSTC_BOOTSTRAP", "1");
    for overriding in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_PROFILE_RELEASE_LTO",
    ] {
        cargo.env_remove(overriding);
    }
}

/// What runs on any system is linted and tested on this one.
fn on_host(cargo: &mut Command) -> &mut Command {
    cargo
        .args(["--manifest-path", MANIFEST, "--target-dir"])
        .arg(target())
}

fn target() -> PathBuf {
    workspace::target().join("winpe")
}

fn check_size(program: &Path) -> Result<()> {
    let size = program.metadata()?.len();
    if size > SIZE_MAX {
        bail!("{PROGRAM} has {size} bytes, {SIZE_MAX} are allowed");
    }
    println!("{PROGRAM}: {size} bytes");
    Ok(())
}

fn check_imports(program: &Path) -> Result<()> {
    let headers = command::output(
        Command::new(format!("{TOOLS}objdump"))
            .arg("--private-headers")
            .arg(program),
    )?;
    let imports = imports(&headers);
    if imports.is_empty() {
        bail!("{PROGRAM} imports nothing: is objdump's output as it was?");
    }
    let strange: Vec<&String> = imports.iter().filter(|name| !is_in_winpe(name)).collect();
    if !strange.is_empty() {
        bail!("{PROGRAM} imports what Windows PE may not have: {strange:?}");
    }
    println!("{PROGRAM} imports {}", imports.join(", "));
    Ok(())
}

/// Names of libraries in what objdump says, in lower case.
fn imports(headers: &str) -> Vec<String> {
    let names = headers
        .lines()
        .filter_map(|line| line.trim().strip_prefix("DLL Name: "));
    let names: BTreeSet<String> = names.map(str::to_ascii_lowercase).collect();
    names.into_iter().collect()
}

fn is_in_winpe(library: &str) -> bool {
    LIBRARIES.contains(&library) || library.starts_with("api-ms-")
}

/// A folder with the program and what stands in for parts of Windows PE that Wine has not.
fn stage(program: &Path) -> Result<PathBuf> {
    let stage = target().join("stage");
    fs::create_dir_all(&stage)?;
    fs::copy(program, stage.join(PROGRAM))?;
    let sources = workspace::root().join("src/winpe/wine");
    let compile = |source: &str, output: &str, arguments: &[&str]| {
        let mut gcc = Command::new(format!("{TOOLS}gcc"));
        gcc.args(["-Os", "-s", "-o"])
            .arg(stage.join(output))
            .arg(sources.join(source))
            .args(arguments);
        test::pass(&mut gcc)
    };
    compile(
        "bcryptprimitives.c",
        "bcryptprimitives.dll",
        &["-shared", "-ladvapi32"],
    )?;
    compile("wpeinit.c", "wpeinit.exe", &[])?;
    Ok(stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_read_and_judged() {
        let said = "\tDLL Name: KERNEL32.dll\n\tvma:\n\tDLL Name: api-ms-win-core-synch-l1-2-0.dll\n\
                    \tDLL Name: libgcc_s_seh-1.dll\n";
        let imports = imports(said);
        let judged: Vec<_> = imports
            .iter()
            .map(|name| (name.as_str(), is_in_winpe(name)))
            .collect();
        let wanted = [
            ("api-ms-win-core-synch-l1-2-0.dll", true),
            ("kernel32.dll", true),
            ("libgcc_s_seh-1.dll", false),
        ];
        assert_eq!(judged, wanted);
    }
}
