//! The option walk: own code, because the codec ends silently where an option is broken, and a
//! packet that lost half of its options must not look like a whole one.

use super::{HEADER_LEN, code};
use crate::dhcp::silence::Why;

const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// Walks the options field, then the overloaded header fields (option 52), each once: an option 52
/// in an overloaded field counts for nothing, so there is no way to loop.
pub(super) fn walk<'a>(bytes: &'a [u8], mut visit: impl FnMut(u8, &'a [u8])) -> Result<(), Why> {
    let mut overload = 0;
    area(bytes.get(HEADER_LEN..).unwrap_or_default(), |code, data| {
        if code == code::OVERLOAD {
            overload = data.first().copied().unwrap_or(0);
        }
        visit(code, data);
    })?;
    if matches!(overload, 1 | 3) {
        let file = bytes.get(FILE).unwrap_or_default();
        area(file, &mut visit)?;
    }
    if matches!(overload, 2 | 3) {
        let sname = bytes.get(SNAME).unwrap_or_default();
        area(sname, visit)?;
    }
    Ok(())
}

/// One field of options, up to the end option or, as some ROMs leave that out, the end of bytes.
fn area<'a>(field: &'a [u8], mut visit: impl FnMut(u8, &'a [u8])) -> Result<(), Why> {
    let mut rest = field;
    while let Some((&code, behind)) = rest.split_first() {
        match code {
            PAD => rest = behind,
            END => break,
            _ => {
                let past_end = Why::OptionPastEnd { code: code.into() };
                let Some((&len, behind)) = behind.split_first() else {
                    return Err(past_end);
                };
                let Some((data, behind)) = behind.split_at_checked(usize::from(len)) else {
                    return Err(past_end);
                };
                visit(code, data);
                rest = behind;
            }
        }
    }
    Ok(())
}

const PAD: u8 = 0;
const END: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes.extend_from_slice(options);
        bytes
    }

    fn seen(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Why> {
        let mut all = Vec::new();
        walk(bytes, |code, data| all.push((code, data.to_vec())))?;
        Ok(all)
    }

    #[test]
    fn padding_is_skipped_and_the_end_option_may_be_missing() {
        let bytes = message(&[0, 0, 53, 1, 1, 0, 60, 0]);
        assert_eq!(seen(&bytes), Ok(vec![(53, vec![1]), (60, vec![])]));
        let bytes = message(&[53, 1, 1, 255, 60, 200]);
        assert_eq!(seen(&bytes), Ok(vec![(53, vec![1])]));
    }

    #[test]
    fn an_option_past_the_end_is_told_by_its_number() {
        for options in [&[53, 1, 1, 60][..], &[53, 1, 1, 60, 5, 1, 2]] {
            assert_eq!(
                seen(&message(options)),
                Err(Why::OptionPastEnd { code: 60 })
            );
        }
    }

    #[test]
    fn overloaded_fields_come_after_the_options_and_cannot_loop() {
        let mut bytes = message(&[52, 1, 3, 255]);
        bytes[108..113].copy_from_slice(&[52, 1, 3, 67, 0]);
        bytes[113] = 255;
        bytes[44..47].copy_from_slice(&[66, 1, 9]);
        bytes[47] = 255;
        assert_eq!(
            seen(&bytes),
            Ok(vec![
                (52, vec![3]),
                (52, vec![3]),
                (67, vec![]),
                (66, vec![9])
            ])
        );
    }
}
