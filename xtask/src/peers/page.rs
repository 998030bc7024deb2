//! docs/reference/performance.md: the part between the markers is written here and nowhere else.

use std::fs;

use anyhow::{Context, Result};
use bootstorm_e2e::command;

use crate::workspace;

const PAGE: &str = "docs/reference/performance.md";
const BEGIN: &str = "<!-- cargo xtask peers --write: begin -->";
const END: &str = "<!-- cargo xtask peers --write: end -->";

/// Puts the figures into the page.
pub(crate) fn write(figures: &str) -> Result<()> {
    let file = workspace::root().join(PAGE);
    let page = command::read(&file)?;
    let page = replaced(&page, figures).with_context(|| format!("{PAGE}: the markers are gone"))?;
    fs::write(&file, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("written to {PAGE}");
    Ok(())
}

fn replaced(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        figures.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let page = format!("# A\n{BEGIN}\nold\n{END}\nlast\n");
        let once = replaced(&page, "new\n").unwrap();
        assert_eq!(once, format!("# A\n{BEGIN}\n\nnew\n\n{END}\nlast\n"));
        assert_eq!(replaced(&once, "new").unwrap(), once);
        assert!(replaced("# A\n", "new").is_none());
    }
}
