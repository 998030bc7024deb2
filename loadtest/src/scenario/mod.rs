//! What is to be simulated: the scenario file.
//!
//! It is the whole truth of a storm: which machine is what, does what and is switched on when
//! follows from it alone.

mod check;
mod draw;
mod limits;
mod sections;
mod setup;
mod units;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use bootstorm_config::{Diagnostic, Severity, place};
use serde::Deserialize;
use toml::de::DeTable;

use crate::machine::plan::Ports;

pub(crate) use limits::Limits;
pub(crate) use sections::{
    Arrival, Boot, Flood, LeasesFrom, LinkShape, MixPart, Mode, Network, Restart, Scaled, Stop,
    Tls, TroublePart, Until,
};
pub(crate) use units::{Percent, Rate, Size};

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A scenario that can be played.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it is called.
    pub(crate) name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub(crate) about: String,
    /// The boot server under test.
    pub(crate) server: Ipv4Addr,
    /// How many machines.
    pub(crate) machines: u32,
    /// What is drawn by chance is drawn from this number.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// Where they are.
    pub(crate) network: Network,
    /// The server's ports, where they are not the usual ones.
    #[serde(default)]
    pub(crate) ports: Ports,
    /// When they are switched on.
    #[serde(default)]
    pub(crate) arrival: Arrival,
    /// Which firmware they have, in parts of all.
    #[serde(default = "sections::all_uefi")]
    pub(crate) mix: Vec<MixPart>,
    /// How they boot.
    #[serde(default)]
    pub(crate) boot: Boot,
    /// How they speak TLS.
    #[serde(default)]
    pub(crate) tls: Tls,
    /// What some of them do that a good one does not.
    #[serde(default)]
    pub(crate) trouble: Vec<TroublePart>,
    /// When it ends before all are through.
    #[serde(default)]
    pub(crate) stop: Stop,
    /// What has to hold at its end.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// What the link between machines and server is like.
    pub(crate) link: Option<LinkShape>,
    /// What it stands for, where that would take too long.
    pub(crate) scaled: Option<Scaled>,
    /// What the server has to bear beside the machines.
    pub(crate) flood: Option<Flood>,
    /// The server is killed and started again.
    pub(crate) restart: Option<Restart>,
    /// What is made for the machines to boot, by those who make it.
    pub(crate) image: Option<ImageMade>,
}

/// What is made for the machines to boot.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageMade {
    /// How large it is; `cargo xtask storm` makes it.
    pub(crate) size: Size,
}

/// What the command line says otherwise than the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// How many machines.
    pub(crate) machines: Option<u32>,
    /// The boot server.
    pub(crate) server: Option<Ipv4Addr>,
    /// The CA of its certificate.
    pub(crate) ca: Option<PathBuf>,
}

/// Something that cannot or must not be played.
#[derive(Debug)]
struct Problem {
    /// The key, as `mix[1].share`.
    key: String,
    text: String,
    hint: Option<&'static str>,
}

impl Scenario {
    /// Reads and checks a scenario file. The error tells everything that is wrong, a line each, as
    /// `file:line:column: error[code]: what (what to do)`.
    pub(crate) fn load(path: &Path, overrides: &Overrides) -> anyhow::Result<Self> {
        let shown = path.display();
        let unreadable = || format!("the scenario {shown} cannot be read");
        let about = std::fs::metadata(path).with_context(unreadable)?;
        ensure!(about.is_file(), "{shown} is no file, so no scenario");
        ensure!(
            about.len() <= FILE_MAX,
            "{shown} has {} bytes; no scenario is that long",
            about.len()
        );
        let text = std::fs::read_to_string(path).with_context(unreadable)?;
        Self::parse(&text, path, overrides).map_err(|diagnostics| {
            let lines: Vec<_> = diagnostics.iter().map(Diagnostic::to_string).collect();
            anyhow!("this scenario cannot be played\n{}", lines.join("\n"))
        })
    }

    fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Self, Vec<Diagnostic>> {
        let table = DeTable::parse(text).map_err(|e| vec![Diagnostic::syntax(&e, text, path)])?;
        let mut scenario = Self::deserialize(toml::Deserializer::from(table.clone()))
            .map_err(|e| vec![Diagnostic::shape(&e, text, path)])?;
        let folder = path.parent().unwrap_or(Path::new(""));
        scenario.tls.ca = scenario.tls.ca.take().map(|ca| folder.join(ca));
        scenario.lay_over(overrides);
        let problems = scenario.problems();
        if problems.is_empty() {
            return Ok(scenario);
        }
        let place = |key: &str| {
            let span = place::of_key(table.get_ref(), key);
            place::of_offset(path, text, span.map_or(0, |span| span.start))
        };
        let diagnostics = problems.into_iter().map(|problem| Diagnostic {
            severity: Severity::Error,
            code: "config.bad-value",
            place: (!overrides.have(&problem.key)).then(|| place(&problem.key)),
            text: problem.text,
            hint: problem.hint.map(str::to_owned),
        });
        Err(diagnostics.collect())
    }

    fn lay_over(&mut self, overrides: &Overrides) {
        self.machines = overrides.machines.unwrap_or(self.machines);
        self.server = overrides.server.unwrap_or(self.server);
        if let Some(ca) = &overrides.ca {
            self.tls.ca = Some(ca.clone());
            self.tls.insecure = false;
        }
    }
}

impl Overrides {
    /// Whether a key's value came from the command line.
    fn have(&self, key: &str) -> bool {
        match key {
            "machines" => self.machines.is_some(),
            "server" => self.server.is_some(),
            _ => false,
        }
    }
}

const fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests;
