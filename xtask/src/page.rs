//! docs/reference/performance.md: the parts between markers are written here and nowhere else.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use bootstorm_e2e::command;

use crate::workspace;

const PAGE: &str = "docs/reference/performance.md";

/// Puts the figures of a task into its part of the page.
pub(crate) fn write(task: &str, figures: &str) -> Result<()> {
    let file = workspace::root().join(PAGE);
    let page = command::read(&file)?;
    let page = replaced(&page, task, figures)
        .with_context(|| format!("{PAGE}: the markers of {task} are gone"))?;
    fs::write(&file, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("written to {PAGE}");
    Ok(())
}

/// When, of what and on what it was measured.
pub(crate) fn origin() -> Result<String> {
    let commit = command::output(
        Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(workspace::root()),
    );
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Ok(format!(
        "{}; commit {}; Linux {}; {} ({cores} cores)",
        command::line("date -u +%F")?.trim(),
        commit.as_deref().unwrap_or("unknown").trim(),
        command::read(Path::new("/proc/sys/kernel/osrelease"))?.trim(),
        processor(),
    ))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |name| name.trim_start_matches([' ', '\t', ':']).to_owned(),
    )
}

fn replaced(page: &str, task: &str, figures: &str) -> Option<String> {
    let marker = |which| format!("<!-- cargo xtask {task} --write: {which} -->");
    let (begin, end) = (marker("begin"), marker("end"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    let figures = figures.trim();
    Some(format!("{before}{begin}\n\n{figures}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_what_stands_between_the_markers_of_a_task_changes() {
        let part = |task, figures| {
            format!(
                "<!-- cargo xtask {task} --write: begin -->\n\n{figures}\n\n<!-- cargo xtask {task} --write: end -->"
            )
        };
        let page = |figures| {
            let (one, other) = (part("peers", "kept"), part("classifier", figures));
            format!("# A\n{one}\n{other}\nlast\n")
        };
        let once = replaced(&page("old"), "classifier", "new\n");
        assert_eq!(once, Some(page("new")));
        assert_eq!(replaced(&page("new"), "classifier", "new"), once);
        assert!(replaced("# A\n", "classifier", "new").is_none());
    }
}
