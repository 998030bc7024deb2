//! What differs between two reports.

mod figures;

use std::collections::BTreeMap;
use std::path::PathBuf;

use self::figures::{Figure, Kind, Wish, figures};
use super::units::{count, fit, plural};
use crate::play;
use crate::report::{End, Report};

/// Tells what differs between the reports of two runs
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The report of the first run, as `--report` wrote it
    a: PathBuf,
    /// The report of the second
    b: PathBuf,
    /// Write the comparison as a web page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Reads both reports; the work that is left writes the comparison and cannot fail by wrong usage.
pub(crate) fn prepare(options: Options) -> anyhow::Result<impl FnOnce() -> anyhow::Result<u64>> {
    let [a, b] = [Report::load(&options.a)?, Report::load(&options.b)?];
    Ok(move || {
        let comparison = Comparison::of(&a, &b);
        if let Some(path) = options.html {
            super::save(&path, &super::html::comparison(&comparison)?)?;
        }
        play::print(&comparison.text())?;
        Ok(0)
    })
}

/// Two reports beside one another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// What was played.
    pub(crate) name: String,
    /// Which run each is.
    pub(crate) runs: [String; 2],
    /// Why the two may not be comparable.
    pub(crate) warnings: Vec<String>,
    /// What differs.
    pub(crate) rows: Vec<Row>,
    /// Figures that do not.
    pub(crate) same: usize,
}

/// A figure that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// In the first report.
    pub(crate) a: String,
    /// In the second.
    pub(crate) b: String,
    /// By how much of the first: `+12 %`; empty where that says nothing.
    pub(crate) change: String,
    /// Whether that is good.
    pub(crate) verdict: Verdict,
}

/// Whether a difference is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Better,
    /// It is not.
    Worse,
    /// Neither.
    Other,
}

/// Columns of a line.
const WIDTH: usize = 160;

/// Measured figures that differ by less than this share are the same: two runs of the same
/// differ by as much.
const NOISE: f64 = 0.02;

/// Times that differ by less are the same, in seconds.
const TIME_NOISE: f64 = 0.01;

impl Comparison {
    /// Compares `b` with `a`, the older one.
    pub(crate) fn of(a: &Report, b: &Report) -> Self {
        let mut rows = Vec::new();
        let mut same = 0;
        for (first, second) in paired(figures(a), figures(b)) {
            match row(first, second) {
                Some(row) => rows.push(row),
                None => same += 1,
            }
        }
        Self {
            name: if a.scenario.name == b.scenario.name {
                format!("{}: two runs compared", a.scenario.name)
            } else {
                format!("{} and {} compared", a.scenario.name, b.scenario.name)
            },
            runs: [a, b].map(run),
            warnings: warnings(a, b),
            rows,
            same,
        }
    }

    /// For people.
    fn text(&self) -> String {
        let mut text = format!("{}\n", fit(&self.name, WIDTH));
        for (name, run) in ["A", "B"].into_iter().zip(&self.runs) {
            text.push_str(&format!("  {name}: {}\n", fit(run, WIDTH)));
        }
        for warning in &self.warnings {
            text.push_str(&format!("  warning: {}\n", fit(warning, WIDTH)));
        }
        text.push_str(&format!("\n{}\n", self.verdict()));
        if !self.rows.is_empty() {
            text.push_str(&format!(
                "\n{:<36}{:>13}{:>13}{:>10}\n",
                "", "A", "B", "change"
            ));
        }
        for row in &self.rows {
            let line = format!(
                "{:<36}{:>13}{:>13}{:>10}  {}",
                fit(&row.name, 35),
                row.a,
                row.b,
                row.change,
                row.verdict.words()
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// `3 figures better, 1 worse; 40 the same`.
    pub(crate) fn verdict(&self) -> String {
        let number = |verdict| {
            let rows = self.rows.iter().filter(|row| row.verdict == verdict);
            rows.count() as u64
        };
        format!(
            "{} better, {} worse, {} different, {} the same (measured ones to {} %)",
            plural(number(Verdict::Better), "figure", "figures"),
            count(number(Verdict::Worse)),
            count(number(Verdict::Other)),
            count(self.same as u64),
            NOISE * 100.0
        )
    }
}

impl Verdict {
    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Other => "",
        }
    }
}

fn run(report: &Report) -> String {
    format!(
        "{} with {}, {}, {} {}, {}",
        report.scenario.name,
        plural(report.scenario.machines.into(), "machine", "machines"),
        report.begun,
        report.host.kernel,
        report.host.cpu,
        plural(report.host.cores.into(), "core", "cores")
    )
}

fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let (one, other) = (&a.scenario, &b.scenario);
    let mut differing = Vec::new();
    let unset = |words: &Option<String>| words.clone().unwrap_or_else(|| "none".to_owned());
    for (what, a, b) in [
        ("scenarios", one.name.clone(), other.name.clone()),
        (
            "numbers of machines",
            one.machines.to_string(),
            other.machines.to_string(),
        ),
        ("links", unset(&one.link), unset(&other.link)),
        ("scales", unset(&one.scaled), unset(&other.scaled)),
        ("mixes of profiles", mix(a), mix(b)),
        ("processors", a.host.cpu.clone(), b.host.cpu.clone()),
    ] {
        if a != b {
            differing.push(format!("the {what} differ: {a} and {b}"));
        }
    }
    for (which, report) in [("A", a), ("B", b)] {
        if report.end == End::Interrupted {
            differing.push(format!("{which} was interrupted"));
        }
    }
    differing
}

fn mix(report: &Report) -> String {
    let names = report.profiles.iter();
    let names =
        names.map(|(profile, group)| format!("{} {}", group.machines.started, profile.name()));
    names.collect::<Vec<_>>().join(", ")
}

/// Figures of the same name side by side, in the order in which they are first met.
fn paired(a: Vec<Figure>, b: Vec<Figure>) -> Vec<(Option<Figure>, Option<Figure>)> {
    let mut second: BTreeMap<String, Figure> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for figure in b {
        order.push(figure.name.clone());
        second.insert(figure.name.clone(), figure);
    }
    let mut pairs: Vec<_> = a
        .into_iter()
        .map(|figure| {
            let other = second.remove(&figure.name);
            (Some(figure), other)
        })
        .collect();
    let rest = order.iter().filter_map(|name| second.remove(name));
    pairs.extend(rest.map(|figure| (None, Some(figure))));
    pairs
}

fn row(a: Option<Figure>, b: Option<Figure>) -> Option<Row> {
    let value = |figure: &Option<Figure>| figure.as_ref().and_then(|figure| figure.value);
    let values = (value(&a), value(&b));
    let Figure {
        name,
        show,
        wish,
        kind,
        ..
    } = a.or(b)?;
    let values = match kind {
        // What one report does not name, it counted none of.
        Kind::Counted => (values.0.or(Some(0.0)), values.1.or(Some(0.0))),
        Kind::Measured | Kind::Time => values,
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), show);
    let (change, risen) = match values {
        (Some(a), Some(b)) => {
            let noise = match kind {
                Kind::Counted => 0.0,
                Kind::Measured => NOISE * a.abs(),
                Kind::Time => (NOISE * a.abs()).max(TIME_NOISE),
            };
            if (b - a).abs() <= noise {
                return None;
            }
            let share = (b - a) / a;
            let change = if a == 0.0 {
                String::new()
            } else {
                signed(share)
            };
            (change, Some(b > a))
        }
        (None, None) => return None,
        _ => (String::new(), None),
    };
    let verdict = match (wish, risen) {
        (Wish::Less, Some(false)) | (Wish::More, Some(true)) => Verdict::Better,
        (Wish::Less, Some(true)) | (Wish::More, Some(false)) => Verdict::Worse,
        (Wish::Neither, _) | (_, None) => Verdict::Other,
    };
    Some(Row {
        name,
        a: shown(values.0),
        b: shown(values.1),
        change,
        verdict,
    })
}

fn signed(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 9.95 {
        format!("{percent:+.1} %")
    } else {
        format!("{percent:+.0} %")
    }
}

#[cfg(test)]
mod tests;
