//! Architecture 9 from x86-64 machines.

use super::{Quirk, Traits};
use crate::types::ClientArch;

pub(super) const QUIRK: Quirk = Quirk {
    name: "ebc-is-x64",
    about: "RFC 4578 was first printed with 7 and 9 swapped, so many x86-64 machines say 9 (EFI \
            byte code); 7 is added behind it for rules that go by the number",
    correct,
};

const EBC: ClientArch = ClientArch(9);
const X64: ClientArch = ClientArch(7);

fn correct(traits: &mut Traits) -> bool {
    let Some(at) = traits.arches.iter().position(|arch| *arch == EBC) else {
        return false;
    };
    if traits.arches.contains(&X64) {
        return false;
    }
    traits.arches.try_insert(at + 1, X64).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;
    use crate::dhcp::Asker;

    #[test]
    fn seven_follows_nine_once() {
        let mut traits = plain(Asker::Firmware, 9);
        assert!(correct(&mut traits));
        assert_eq!(traits.arches.as_slice(), [EBC, X64]);
        assert!(!correct(&mut traits));
        assert!(!correct(&mut plain(Asker::Firmware, 7)));
    }
}
