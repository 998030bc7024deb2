//! `bootstorm wim`: what is inside a Windows image.

mod info;
mod list;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bootstorm_catalog::Mapping;
use bootstorm_catalog::wim::{Node, Tree, WimFile};
use clap::{Args, Subcommand, ValueEnum};

use super::UsageError;

/// Arguments of `wim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bootstorm wim info boot.wim                        which images, for which machines, does it boot
  bootstorm wim ls boot.wim 'Windows\\Boot'            what lies in a folder; either slash, any case
  bootstorm wim cat boot.wim Windows/Boot/EFI/bootmgfw.efi > bootmgfw.efi

Exit codes: 0 done, 1 it cannot be read or is not there, 2 what was written is wrong.")]
pub(crate) struct WimArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what the file holds, and what keeps it from booting
    Info {
        /// The .wim file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Compare the file with its integrity table, which reads all of it
        #[arg(long)]
        check: bool,
        /// Print the XML as it stands in the file, and nothing else
        #[arg(long, conflicts_with_all = ["check", "output"])]
        xml: bool,
        /// How it is printed
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
    /// List a folder of an image
    Ls {
        #[command(flatten)]
        place: Place,
        /// The folder, or a file; without it the top
        #[arg(value_name = "PATH", default_value = "")]
        path: String,
        /// Everything below it, too
        #[arg(short, long)]
        recursive: bool,
        /// How it is printed
        #[arg(short, long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Write a file of an image to standard output
    Cat {
        #[command(flatten)]
        place: Place,
        /// The file
        #[arg(value_name = "PATH")]
        path: String,
    },
}

/// A file and one of its images.
#[derive(Debug, Args)]
struct Place {
    /// The .wim file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Number of the image; without it the one that boots, or the only one
    #[arg(long, value_name = "N")]
    image: Option<u32>,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &WimArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Info {
            file,
            check,
            xml,
            output,
        } => with_file(file, |wim| {
            if *xml {
                writeln!(io::stdout(), "{}", wim.xml()?)?;
                return Ok(ExitCode::SUCCESS);
            }
            info::print(file, wim, *check, *output)
        }),
        Command::Ls {
            place,
            path,
            recursive,
            output,
        } => place.with_tree(|wim, tree| {
            let node = place.find(tree, path)?;
            list::print(wim, tree, node, *recursive, *output)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Cat { place, path } => place.with_tree(|wim, tree| {
            let node = place.find(tree, path)?;
            let out = io::stdout();
            let is_screen = out.is_terminal();
            let mut out = out.lock();
            if is_screen {
                wim.copy_to(node, &mut Screen(&mut out))?;
            } else {
                wim.copy_to(node, &mut out)?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

impl Place {
    fn with_tree(
        &self,
        act: impl FnOnce(&WimFile<'_>, &Tree) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        with_file(&self.file, |wim| {
            let index = match self.index(wim) {
                Ok(index) => index,
                Err(wrong) => return Ok(wrong.exit()),
            };
            let tree = wim.tree(index)?;
            act(wim, &tree)
        })
    }

    fn index(&self, wim: &WimFile<'_>) -> Result<u32, UsageError> {
        let header = wim.wim();
        let count = header.images.len();
        match (self.image, header.boot_index) {
            (Some(index), _) if header.image(index).is_some() => Ok(index),
            (Some(index), _) => Err(format!("there is no image {index}: it holds {count}").into()),
            (None, boot) if header.image(boot).is_some() => Ok(boot),
            (None, _) if count == 1 => Ok(1),
            (None, _) => Err(format!(
                "the file holds {count} images and marks none to boot: --image N"
            )
            .into()),
        }
    }

    fn find<'t>(&self, tree: &'t Tree, path: &str) -> anyhow::Result<&'t Node> {
        tree.find(path)
            .with_context(|| format!("there is no {path:?} in the image"))
    }
}

/// Maps the file and reads what is common to all commands.
fn with_file(
    path: &Path,
    act: impl FnOnce(&WimFile<'_>) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let content = Mapping::open(path).with_context(|| format!("cannot read {shown}"))?;
    let outcome = WimFile::open(&content)
        .map_err(anyhow::Error::from)
        .and_then(|wim| act(&wim));
    // Others may write to the file meanwhile; a map that lost its end reads as zeros.
    if !content.is_intact() {
        bail!("{shown} became shorter while it was read");
    }
    outcome.with_context(|| shown.to_string())
}

/// Text of a name for one line of a terminal: what is inside an image is not to be trusted.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A terminal, which must not be sent what it would take for orders.
struct Screen<W>(W);

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        if !bytes.iter().all(is_text) {
            let text = "the file is more than plain ASCII text: send it into a file or a pipe";
            return Err(io::Error::other(text));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_alone() {
        let mut shown = Vec::new();
        let mut screen = Screen(&mut shown);
        screen
            .write_all("Grüße\r\n\tTest\n".as_bytes())
            .unwrap_err();
        screen.write_all(b"Test\r\n\tTest\n").unwrap();
        screen.write_all(b"\x1b[2J").unwrap_err();
        screen.write_all(b"MZ\0\0").unwrap_err();
        assert_eq!(shown, b"Test\r\n\tTest\n");
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
