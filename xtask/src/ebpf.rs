//! `cargo xtask ebpf`: the classifier's committed object, rebuilt from its source and compared.
//!
//! Only paths would make two builds differ, and they are replaced: the object is the same, byte for
//! byte, in any folder. Why it is committed is in docs/adr/0004-committed-ebpf-object.md.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use bootstorm_e2e::{command, packages};
use sha2::{Digest, Sha256};

use crate::e2e::Count;
use crate::{tools, workspace};

/// Debian's compiler: the one with a ready core library for BPF.
const RUSTC: &str = "/usr/bin/rustc";
/// Where the source of its core library would be, in a folder with the compiler's version.
const SOURCES: &str = "/usr/src";
const TARGET: &str = "bpfel-unknown-none";
const PROGRAM: &str = "bootstorm-classifier";
const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
/// The major version of LLVM that the linker is built for; the pinned rustup toolchain brings it.
const LLVM: &str = "22";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the object and its hash instead of comparing them
    #[arg(long)]
    write: bool,
}

/// An object and what made it.
struct Built {
    object: Vec<u8>,
    toolchain: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let built = build(&Toolchain::installed()?)?;
    if arguments.write {
        write(&built)?;
    } else {
        compare(&built)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds and compares; counted as skipped where the toolchain cannot be had.
pub(crate) fn check() -> Result<Count> {
    match Toolchain::installed() {
        Ok(toolchain) => compare(&build(&toolchain)?).map(|()| Count::passed()),
        Err(error) => Ok(Count::skipped(&error)),
    }
}

/// The lints of the kernel program; counted as skipped where its compiler cannot be had.
pub(crate) fn lint() -> Result<Count> {
    if let Err(error) = packages::install(packages::CLASSIFIER) {
        return Ok(Count::skipped(&error));
    }
    // rustup's clippy has no library for the target: Debian's checks as its compiler would build.
    let mut clippy = Command::new("/usr/bin/cargo-clippy");
    clippy.args(["clippy", "--release"]);
    prepare(&mut clippy);
    clippy.args(["--", "-D", "warnings"]);
    let status = clippy.status().context("cannot run Debian's clippy")?;
    if !status.success() {
        bail!("{} ended with {status}", command::shown(&clippy));
    }
    Ok(Count::passed())
}

/// The programs that are not Debian's.
struct Toolchain {
    linker: PathBuf,
    objcopy: PathBuf,
    /// Where the library is that both link to.
    libraries: PathBuf,
}

impl Toolchain {
    fn installed() -> Result<Self> {
        packages::install(packages::CLASSIFIER).context(
            "the classifier is built by Debian's compiler (Debian 12 with its security updates)",
        )?;
        let sysroot = command::output(
            Command::new("rustc")
                .args(["--print", "sysroot"])
                .current_dir(workspace::root()),
        )?;
        let libraries = Path::new(sysroot.trim_end()).join("lib");
        let linker = tools::installed(LINKER, LINKER_VERSION, |install| {
            install
                .args(["--no-default-features", "--features"])
                .arg(format!("llvm-{LLVM}"))
                .env("LLVM_PREFIX", llvm(&libraries)?);
            Ok(())
        })?;
        let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        Ok(Self {
            linker,
            objcopy: libraries
                .join("rustlib")
                .join(host)
                .join("bin/rust-objcopy"),
            libraries,
        })
    }
}

/// What looks like an installed LLVM to the linker's build, made of the toolchain's own library.
fn llvm(libraries: &Path) -> Result<PathBuf> {
    let prefix = format!("libLLVM.so.{LLVM}.");
    let name = fs::read_dir(libraries)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with(&prefix))
        .with_context(|| {
            format!(
                "{LINKER} needs LLVM {LLVM}, and no {prefix}* is in {}: install Rust by rustup",
                libraries.display()
            )
        })?;
    let folder = tools::folder().join("llvm");
    let lib = folder.join("lib");
    let _ = fs::remove_dir_all(&lib);
    fs::create_dir_all(&lib)?;
    for link in ["libLLVM.so", &format!("libLLVM-{LLVM}.so"), &name] {
        std::os::unix::fs::symlink(libraries.join(&name), lib.join(link))?;
    }
    Ok(folder)
}

fn build(toolchain: &Toolchain) -> Result<Built> {
    println!("Building the classifier");
    let folders = [&toolchain.linker, &toolchain.objcopy].map(|program| program.parent());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        folders
            .into_iter()
            .flatten()
            .map(Path::to_path_buf)
            .chain(std::env::split_paths(&path)),
    )?;
    let mut cargo = cargo_without_sources();
    cargo.args(["build", "--quiet", "--release"]);
    prepare(&mut cargo);
    cargo
        .env("PATH", path)
        .env("LD_LIBRARY_PATH", &toolchain.libraries);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("building the classifier ended with {status}");
    }
    let program = target().join(TARGET).join("release").join(PROGRAM);
    let stripped = target().join(format!("{PROGRAM}.o"));
    command::output(
        Command::new(&toolchain.objcopy)
            .arg("--strip-debug")
            .args([&program, &stripped])
            .env("LD_LIBRARY_PATH", &toolchain.libraries),
    )?;
    let compiler = command::output(Command::new(RUSTC).arg("--version"))?;
    Ok(Built {
        object: fs::read(&stripped).with_context(|| stripped.display().to_string())?,
        toolchain: format!("{}, {LINKER} {LINKER_VERSION}", compiler.trim_end()),
    })
}

/// cargo, for which the source of the core library is not there. The linker puts lines of every
/// source that it finds into the object, and Debian's `rust-web-src` brings this one.
fn cargo_without_sources() -> Command {
    let mut sources = fs::read_dir(SOURCES).into_iter().flatten().flatten();
    if !sources.any(|entry| entry.file_name().to_string_lossy().starts_with("rustc-")) {
        return workspace::cargo();
    }
    let mut hidden = Command::new("unshare");
    hidden.arg("--mount");
    if !command::is_root() {
        hidden.arg("--map-root-user");
    }
    hidden
        .args(["sh", "-c"])
        .arg(format!(r#"mount -t tmpfs none {SOURCES} && exec "$@""#))
        .args(["sh".as_ref(), workspace::cargo().get_program()]);
    hidden
}

/// What building and linting have in common. The linker and its flags are in the classifier's own
/// .cargo/config.toml, which cargo reads in that folder; the paths are added to them here.
fn prepare(cargo: &mut Command) {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // Nothing can be found under the new names: were it, the lines of the source would get into
    // the object, or not, as they happen to be there.
    let flags = [
        remap(workspace::root(), "/bootstorm"),
        remap(&registry(), "/crates"),
    ];
    cargo
        .current_dir(folder())
        .args(["--locked", "--config"])
        .arg(format!("target.{TARGET}.rustflags={flags:?}"))
        .arg("--target-dir")
        .arg(target())
        .env("RUSTC", RUSTC)
        // The compiler is a stable one, and the attributes of the kernel's programs are not.
        .env("RUSTC_BOOTSTRAP", "1")
        // The bindings are chosen by it, and the host's are meant where it is not set. What the
        // program uses is the same on all.
        .env("AYA_BPF_TARGET_ARCH", "x86_64");
    for overriding in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(overriding);
    }
}

/// Where cargo unpacks crates.
fn registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").unwrap_or_else(|| {
        let home = std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/root"));
        Path::new(&home).join(".cargo").into()
    });
    Path::new(&home).join("registry/src")
}

fn write(built: &Built) -> Result<()> {
    let hash = hash(&built.object);
    fs::write(object(), &built.object)?;
    fs::write(
        hash_file(),
        format!("{hash}  {PROGRAM}.o\n# {}\n", built.toolchain),
    )?;
    println!(
        "{} written, {} bytes, SHA-256 {hash}",
        shown(),
        built.object.len()
    );
    Ok(())
}

fn compare(built: &Built) -> Result<()> {
    let committed = hash(&fs::read(object()).with_context(shown)?);
    let text = command::read(&hash_file())?;
    let stated = text.split_whitespace().next().unwrap_or_default();
    let rebuilt = hash(&built.object);
    if committed != rebuilt {
        bail!(
            "{} is not what its source gives:\n  committed {committed}  {}\n  \
             rebuilt   {rebuilt}  {}\nWhether the source or the compiler changed: \
             `cargo xtask ebpf --write`, run the tests, commit the object and its .sha256.",
            shown(),
            text.lines()
                .find_map(|line| line.strip_prefix("# "))
                .unwrap_or("by an unknown toolchain"),
            built.toolchain
        );
    }
    if stated != committed {
        bail!(
            "{}.sha256 is wrong:\n  it says   {stated}\n  the file  {committed}\n\
             `cargo xtask ebpf --write` writes it again.",
            shown()
        );
    }
    println!("{} is what its source gives: {committed}", shown());
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn folder() -> PathBuf {
    workspace::root().join("ebpf/classifier")
}

fn target() -> PathBuf {
    workspace::target().join("ebpf")
}

fn object() -> PathBuf {
    folder().join(format!("{PROGRAM}.o"))
}

fn hash_file() -> PathBuf {
    folder().join(format!("{PROGRAM}.o.sha256"))
}

/// The object as a reader finds it in the repository.
fn shown() -> String {
    format!("ebpf/classifier/{PROGRAM}.o")
}
