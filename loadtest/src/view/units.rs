//! Numbers as people read them.

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 machine`, `2 machines`.
pub(crate) fn plural(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `20.0 MB`: decimal, as network rates are.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    scaled(bytes as f64 / 1e3, &["kB", "MB", "GB", "TB", "PB"])
}

/// Bytes a second as `523 MB/s`.
pub(crate) fn rate(bytes_per_s: f64) -> String {
    if bytes_per_s < 1_000.0 {
        return format!("{bytes_per_s:.0} B/s");
    }
    scaled(bytes_per_s / 1e3, &["kB/s", "MB/s", "GB/s", "TB/s"])
}

/// Bytes a second as `4.19 Gbit/s`.
pub(crate) fn bits(bytes_per_s: f64) -> String {
    if bytes_per_s < 125.0 {
        return format!("{:.0} bit/s", bytes_per_s * 8.0);
    }
    scaled(
        bytes_per_s * 8.0 / 1e3,
        &["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"],
    )
}

/// A time: `4 ms`, `1.23 s`, `41.2 s`, `12 min 03 s`, `2 h 05 min`.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s.max(0.0) * 1e3),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 119.95 => format!("{s:.1} s"),
        _ if whole < 7_200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3_600, whole / 60 % 60),
    }
}

/// A share: `37 %`, `99.8 %`; 100 % only where nothing is missing, 0 % only for nothing.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if (percent > 99.0 && percent < 100.0) || (percent > 0.0 && percent < 1.0) {
        format!("{:.1} %", percent.clamp(0.1, 99.9))
    } else {
        format!("{percent:.0} %")
    }
}

/// The letter, or a dot for one that could move a cursor or turn the order of what follows.
pub(crate) fn safe(letter: char) -> char {
    match letter {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '·',
        letter if letter.is_control() => '·',
        letter => letter,
    }
}

/// The text of [`safe`] letters, cut off after so many.
pub(crate) fn fit(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.chars().map(safe).collect();
    }
    let kept = letters.saturating_sub(1);
    text.chars().take(kept).map(safe).chain(['…']).collect()
}

/// Three digits that count and the unit; the last unit takes what is left.
fn scaled(number: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut rest = units.iter();
    let mut unit = rest.next().copied().unwrap_or_default();
    while number >= 999.5 {
        let Some(next) = rest.next() else {
            break;
        };
        unit = next;
        number /= 1e3;
    }
    match number {
        n if n < 9.995 => format!("{n:.2} {unit}"),
        n if n < 99.95 => format!("{n:.1} {unit}"),
        n => format!("{n:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(plural(1, "machine", "machines"), "1 machine");
        assert_eq!(plural(2_000, "machine", "machines"), "2,000 machines");
    }

    #[test]
    fn sizes_and_rates_have_three_digits() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(20_000_000), "20.0 MB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(bytes(300_000_000_000), "300 GB");
        assert_eq!(rate(523_400_000.0), "523 MB/s");
        assert_eq!((rate(0.0), bits(0.0)), ("0 B/s".into(), "0 bit/s".into()));
        assert_eq!(bits(523_400_000.0), "4.19 Gbit/s");
    }

    #[test]
    fn times_are_as_fine_as_they_are_short() {
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.0042, "4 ms"),
            (0.9999, "1.00 s"),
            (1.234, "1.23 s"),
            (41.23, "41.2 s"),
            (119.99, "2 min 00 s"),
            (723.4, "12 min 03 s"),
            (7_500.0, "2 h 05 min"),
        ] {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_share_is_whole_only_when_nothing_is_missing() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(0.371), "37 %");
        assert_eq!(percent(0.0001), "0.1 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn text_of_others_fits_a_line() {
        assert_eq!(fit("a\u{1b}[2Jb\n\u{202e}", 20), "a·[2Jb··");
        assert_eq!(fit("abcdef", 4), "abc…");
    }
}
