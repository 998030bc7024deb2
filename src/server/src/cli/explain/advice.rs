//! What the reference says of a reason code: what to check, and what mends it.

const REFERENCE: &str = include_str!("../../../../../docs/reference/reasons.md");

/// A row of docs/reference/reasons.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// Where to look.
    pub(super) check: &'static str,
    /// What mends it.
    pub(super) fix: &'static str,
}

/// The row of this code.
pub(super) fn of(code: &str) -> Option<Advice> {
    let row = |line: &'static str| {
        let rest = line.strip_prefix("| `")?.strip_prefix(code)?;
        let mut cells = rest.strip_prefix("` | ")?.strip_suffix(" |")?.split(" | ");
        let (_cause, check, fix) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Advice { check, fix })
    };
    REFERENCE.lines().find_map(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_what_mends_it() {
        let advice = of("policy.no-nbp").unwrap();
        assert!(!advice.check.is_empty() && !advice.fix.is_empty());
        assert_eq!(of("policy.no"), None);
        assert_eq!(of("house"), None);
    }

    #[test]
    fn every_row_of_four_cells_can_be_read() {
        let codes = REFERENCE.lines().filter_map(|line| {
            let is_row = line.split(" | ").count() == 4;
            line.strip_prefix("| `")
                .filter(|_| is_row)?
                .split('`')
                .next()
        });
        let unread: Vec<_> = codes.filter(|code| of(code).is_none()).collect();
        assert_eq!(unread, [""; 0]);
    }
}
