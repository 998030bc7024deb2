//! Serial numbers, and what stands in their place.

/// Whether two serial numbers are real ones of different machines.
pub(crate) fn differ(one: Option<&str>, other: Option<&str>) -> bool {
    match (one.and_then(real), other.and_then(real)) {
        (Some(one), Some(other)) => !one.eq_ignore_ascii_case(other),
        _ => false,
    }
}

/// The serial number, if it is one.
fn real(text: &str) -> Option<&str> {
    let text = text.trim();
    let mut bytes = text.bytes();
    let first = bytes.next()?;
    let is_repeated = bytes.all(|byte| byte == first);
    let is_default = DEFAULTS.iter().any(|d| d.eq_ignore_ascii_case(text));
    (!is_repeated && !is_default).then_some(text)
}

/// What firmware says before anybody writes a number.
const DEFAULTS: &[&str] = &[
    "0123456789",
    "123456789",
    "1234567890",
    "chassis serial number",
    "default string",
    "empty",
    "enter serial",
    "invalid",
    "n/a",
    "na",
    "none",
    "not applicable",
    "not available",
    "not present",
    "not specified",
    "serial number",
    "system serial number",
    "to be filled by o.e.m.",
    "to be filled by oem",
    "unknown",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_numbers_tell_machines_apart() {
        assert!(differ(Some("5CG1234ABC"), Some("5CG1234ABD")));
        assert!(!differ(Some("5CG1234ABC"), Some(" 5cg1234abc ")));
        assert!(!differ(Some("5CG1234ABC"), None));
        for none in [
            "",
            "  ",
            "0",
            "00000000",
            "Default string",
            "To be filled by O.E.M.",
        ] {
            assert!(!differ(Some("5CG1234ABC"), Some(none)), "{none}");
        }
    }
}
