//! Gives up what only the start needs.

use aya::util::KernelVersion;
use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use crate::error::XdpError;

/// What a running server may still need: ports that it opens again, files of others, memory that it
/// pins, programs that it runs as nobody and ends.
const KEPT: [Capability; 10] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_RESOURCE,
];

/// Takes CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and whatever else a running server does not need
/// from every set of the calling thread, and so from the threads that it makes later. Call it
/// before there are others; those of a [`Classifier`](crate::Classifier) do it themselves.
///
/// Maps stay readable and writable through their descriptors. Linux before 5.19 takes CAP_BPF for
/// that, so there it stays.
///
/// # Errors
/// What the kernel answered.
pub fn give_up_capabilities() -> Result<(), XdpError> {
    let mut kept: CapsHashSet = KEPT.into_iter().collect();
    if needs_bpf_for_maps() {
        kept.insert(Capability::CAP_BPF);
    }
    keep_only(&kept).map_err(|error| XdpError::Capabilities(error.to_string()))
}

fn keep_only(kept: &CapsHashSet) -> Result<(), CapsError> {
    let both =
        |set| Ok::<_, CapsError>(caps::read(None, set)?.intersection(kept).copied().collect());
    // Only CAP_SETPCAP may shrink it. Without, it bounds nobody: this process has no more to pass on.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for beyond in caps::read(None, CapSet::Bounding)?.difference(kept) {
            caps::drop(None, CapSet::Bounding, *beyond)?;
        }
    }
    // The ambient set follows the permitted and the inheritable one.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &both(set)?)?;
    }
    Ok(())
}

fn needs_bpf_for_maps() -> bool {
    KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 19, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs no privilege: a thread may always give up what it has.
    #[test]
    fn nothing_but_what_a_running_server_needs_is_left_in_any_set() {
        let thread = std::thread::spawn(|| {
            give_up_capabilities().unwrap();
            give_up_capabilities().unwrap();
            let kept: CapsHashSet = KEPT.into_iter().collect();
            for set in [
                CapSet::Ambient,
                CapSet::Inheritable,
                CapSet::Effective,
                CapSet::Permitted,
            ] {
                let left = caps::read(None, set).unwrap();
                assert!(left.is_subset(&kept), "{set:?}: {left:?}");
            }
        });
        thread.join().unwrap();
    }
}
