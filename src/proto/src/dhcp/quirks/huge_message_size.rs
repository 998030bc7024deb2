//! Option 57 larger than any datagram that arrives.

use super::{Quirk, Traits};

pub(super) const QUIRK: Quirk = Quirk {
    name: "huge-message-size",
    about: "OVMF says 65280 in its REQUEST (255 with the bytes swapped); nothing above an Ethernet \
            frame is believed",
    correct,
};

const ETHERNET: u16 = 1500;

fn correct(traits: &mut Traits) -> bool {
    let huge = traits.max_size > ETHERNET;
    if huge {
        traits.max_size = ETHERNET;
    }
    huge
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;
    use crate::dhcp::Asker;

    #[test]
    fn no_more_than_a_frame_is_believed() {
        let mut traits = plain(Asker::Firmware, 7);
        assert!(!correct(&mut traits));
        traits.max_size = 65280;
        assert!(correct(&mut traits));
        assert_eq!(traits.max_size, 1500);
    }
}
