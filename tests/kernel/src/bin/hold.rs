//! Attaches the classifier and holds it until its standard input ends.
//!
//! `hold [--caps NAME,NAME...] [--replace] auto|native|generic INTERFACE...` prints a line for each
//! interface and then `ready`, or the reason code of what was in its way.

use std::io::{Read as _, Write as _, stdin, stdout};

use anyhow::{Context, Result, bail};
use bootstorm_ebpf_shared::Table;
use bootstorm_kernel_tests::network::interface;
use bootstorm_xdp::{Classifier, Mode, XdpConfig};
use caps::{CapSet, Capability, CapsHashSet};

fn main() -> Result<()> {
    let mut config = XdpConfig {
        mode: Mode::Auto,
        replace: false,
        interfaces: vec![],
        table: Table::default(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--caps" => keep(&arguments.next().context("which capabilities?")?)?,
            "--replace" => config.replace = true,
            "auto" => config.mode = Mode::Auto,
            "native" => config.mode = Mode::Native,
            "generic" => config.mode = Mode::Generic,
            option if option.starts_with('-') => bail!("unknown option {option}"),
            name => config.interfaces.push(interface(name)?),
        }
    }
    let mut out = stdout();
    let classifier = match Classifier::start(config, drop) {
        Ok(classifier) => classifier,
        Err(error) => return Ok(writeln!(out, "{} {error}", error.code())?),
    };
    for attachment in classifier.attachments() {
        writeln!(out, "{attachment}")?;
    }
    writeln!(out, "ready")?;
    stdin().read_to_end(&mut vec![])?;
    Ok(())
}

/// Gives up all capabilities but these.
fn keep(names: &str) -> Result<()> {
    let kept: CapsHashSet = names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::parse::<Capability>)
        .collect::<Result<_, _>>()?;
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        let both = caps::read(None, set)?
            .intersection(&kept)
            .copied()
            .collect();
        caps::set(None, set, &both)?;
    }
    Ok(())
}
