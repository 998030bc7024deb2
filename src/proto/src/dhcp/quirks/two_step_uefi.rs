//! UEFI firmware that loses the first proxy offer with option 43.

use super::{Quirk, Traits};
use crate::dhcp::facts::Asker;
use crate::types::Family;

pub(super) const QUIRK: Quirk = Quirk {
    name: "two-step-uefi",
    about: "EDK2 until 2017 throws away the first offer that carries option 43; an offer with the \
            class alone sends every UEFI machine to port 4011, where it gets its file",
    correct,
};

fn correct(traits: &mut Traits) -> bool {
    let family = traits.arches.iter().find_map(|arch| arch.family());
    traits.two_step =
        traits.asker == Asker::Firmware && family.is_some_and(|family| family != Family::Bios);
    traits.two_step
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn only_pxe_firmware_of_uefi_machines_goes_two_steps() {
        for (asker, arch, two_step) in [
            (Asker::Firmware, 7, true),
            (Asker::Firmware, 9, true),
            (Asker::Firmware, 11, true),
            (Asker::Firmware, 0, false),
            (Asker::Ipxe, 7, false),
            (Asker::HttpFirmware, 16, false),
        ] {
            assert_eq!(correct(&mut plain(asker, arch)), two_step);
        }
    }
}
