//! `secs` in the byte order of the machine.

use super::{Quirk, Traits};

pub(super) const QUIRK: Quirk = Quirk {
    name: "swapped-secs",
    about: "some ROMs send the seconds little-endian: a low byte of zero and a high byte that is \
            not means the high byte",
    correct,
};

fn correct(traits: &mut Traits) -> bool {
    let [high, low] = traits.secs.to_be_bytes();
    let swapped = high != 0 && low == 0;
    if swapped {
        traits.secs = u16::from(high);
    }
    swapped
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;
    use crate::dhcp::Asker;

    #[test]
    fn four_seconds_are_four_in_either_order() {
        for (sent, meant) in [(0x0400, 4), (4, 4), (0, 0), (0x0104, 0x0104), (300, 300)] {
            let mut traits = plain(Asker::Firmware, 0);
            traits.secs = sent;
            assert_eq!(correct(&mut traits), sent != meant);
            assert_eq!(traits.secs, meant);
        }
    }
}
