//! What firmware does that no standard says. One file for each quirk and a row in [`TABLE`].

mod ebc_is_x64;
mod huge_message_size;
mod missing_arch;
mod swapped_secs;
mod two_step_uefi;

use arrayvec::ArrayVec;

use super::facts::Asker;
use crate::types::ClientArch;

/// What quirks see and correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) asker: Asker,
    /// Option 93 as sent.
    pub(super) arches: ArrayVec<ClientArch, 8>,
    /// The architecture inside option 60.
    pub(super) class_arch: Option<ClientArch>,
    /// Seconds.
    pub(super) secs: u16,
    /// Option 57, 0 when absent.
    pub(super) max_size: u16,
    /// The offer holds nothing but the class; the file follows on port 4011.
    pub(super) two_step: bool,
    /// Names of the quirks that changed something.
    pub(super) applied: ArrayVec<&'static str, { TABLE.len() }>,
}

/// One quirk: a stable name, what it is about, and the correction, which says whether it applied.
pub(super) struct Quirk {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) correct: fn(&mut Traits) -> bool,
}

/// In the order of application: what fills in architectures stands before what reads them.
pub(super) const TABLE: [Quirk; 5] = [
    missing_arch::QUIRK,
    ebc_is_x64::QUIRK,
    two_step_uefi::QUIRK,
    swapped_secs::QUIRK,
    huge_message_size::QUIRK,
];

pub(super) fn correct(mut traits: Traits) -> Traits {
    for quirk in &TABLE {
        if (quirk.correct)(&mut traits) {
            traits.applied.push(quirk.name);
        }
    }
    traits
}

/// iPXE takes a script whatever the processor; firmware without a boot program is left alone.
pub(super) fn unknown_arch(traits: &Traits) -> Option<ClientArch> {
    let known = traits.arches.iter().any(|arch| arch.family().is_some());
    if known || traits.asker == Asker::Ipxe {
        return None;
    }
    traits.arches.first().copied()
}

/// Name and story of every quirk, for documentation and `explain`.
pub fn quirks() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|quirk| (quirk.name, quirk.about))
}

#[cfg(test)]
pub(super) fn plain(asker: Asker, arch: u16) -> Traits {
    Traits {
        asker,
        arches: [ClientArch(arch)].into_iter().collect(),
        class_arch: None,
        secs: 0,
        max_size: 1472,
        two_step: false,
        applied: ArrayVec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_a_plain_bios_machine_has_no_quirk() {
        for (at, quirk) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.name != quirk.name));
        }
        let traits = plain(Asker::Firmware, 0);
        assert_eq!(correct(traits.clone()), traits);
    }
}
