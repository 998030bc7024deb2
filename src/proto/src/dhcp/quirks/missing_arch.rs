//! Option 93 missing, empty or one byte long.

use super::{Quirk, Traits};
use crate::types::ClientArch;

pub(super) const QUIRK: Quirk = Quirk {
    name: "missing-arch",
    about: "no usable option 93: the number in option 60 counts, and without one it is a BIOS ROM \
            from before RFC 4578",
    correct,
};

fn correct(traits: &mut Traits) -> bool {
    let missing = traits.arches.is_empty();
    if missing {
        traits
            .arches
            .push(traits.class_arch.unwrap_or(ClientArch(0)));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;
    use crate::dhcp::Asker;

    #[test]
    fn the_class_stands_in_for_option_93() {
        let mut traits = plain(Asker::Firmware, 0);
        traits.arches.clear();
        traits.class_arch = Some(ClientArch(7));
        assert!(correct(&mut traits));
        assert_eq!(traits.arches.as_slice(), [ClientArch(7)]);
        assert!(!correct(&mut traits));
        traits.arches.clear();
        traits.class_arch = None;
        assert!(correct(&mut traits));
        assert_eq!(traits.arches.as_slice(), [ClientArch(0)]);
    }
}
