//! What of the images stays in memory.

use std::str::FromStr;

/// The `[memory]` table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// How much of the images that machines fetch is kept.
    pub pin: Pin,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// Up to half of the memory.
    #[default]
    Auto,
    /// Nothing on purpose.
    Off,
    /// So many bytes at most.
    Bytes(u64),
}

/// Reads `auto`, `off` or a size such as `512M`, `8G` or `1T`, in units of 1024.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_pin(text: &str) -> Result<Pin, String> {
    match text {
        "auto" => return Ok(Pin::Auto),
        "off" => return Ok(Pin::Off),
        _ => {}
    }
    match read_size(text) {
        Some(Ok(0)) => Err("nothing is kept in memory: write `off`".to_owned()),
        Some(Ok(bytes)) => Ok(Pin::Bytes(bytes)),
        Some(Err(text)) => Err(text),
        None => Err(format!(
            "`{}` is neither `auto`, `off` nor a size such as 512M or 8G",
            text.escape_default()
        )),
    }
}

/// A size of memory in bytes, written as `512M`, `8G` or `1T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unreadable = || {
            let text = text.escape_default();
            format!("`{text}` is not a size such as 512M or 8G")
        };
        read_size(text).ok_or_else(unreadable)?.map(Self)
    }
}

/// `None` for what is no size, an error for one that no machine has.
fn read_size(text: &str) -> Option<Result<u64, String>> {
    let units = [('M', 20), ('G', 30), ('T', 40)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| {
        let number = text.strip_suffix(*unit)?.trim_end().parse::<u64>().ok()?;
        Some((number, *shift))
    })?;
    Some(if number <= u64::MAX >> 1 >> shift {
        Ok(number << shift)
    } else {
        Err(format!("`{text}` is more than any memory"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_pin("auto"), Ok(Pin::Auto));
        assert_eq!(parse_pin("off"), Ok(Pin::Off));
        assert_eq!(parse_pin("512M"), Ok(Pin::Bytes(512 << 20)));
        assert_eq!(parse_pin("8 G"), Ok(Pin::Bytes(8 << 30)));
        assert_eq!(parse_pin("1T"), Ok(Pin::Bytes(1 << 40)));
        for bad in [
            "",
            "8",
            "G",
            "-1G",
            "0G",
            "8GB",
            "1.5G",
            "99999999999T",
            "on",
        ] {
            assert!(parse_pin(bad).is_err(), "{bad}");
        }
        assert_eq!("256M".parse(), Ok(Size(256 << 20)));
        assert!("auto".parse::<Size>().is_err());
    }
}
