//! Shows user space some of what is dropped.

use bootstorm_ebpf_shared::{Cause, Class, HEAD, Sample, Settings, Source};

use crate::packet::Packet;
use crate::{maps, tables};

/// Sends a dropped packet's beginning to user space, within the rate of samples of its cause. A
/// ring that is full takes none.
#[inline(always)]
pub(crate) fn take(packet: &Packet, class: Class, cause: Cause, settings: &Settings, now: u64) {
    let Some(bucket) = maps::SAMPLE_BUCKETS.get_ptr_mut(u32::from(cause.number())) else {
        return;
    };
    // SAFETY: the map's value.
    if !unsafe { tables::take(bucket, settings.limits.samples, now) } {
        return;
    }
    let Some(mut entry) = maps::SAMPLES.reserve(0) else {
        return;
    };
    let length = packet.size();
    let captured = length.min(HEAD);
    let sample = entry.write(Sample {
        at: now,
        interface: packet.interface,
        length: u16::try_from(length).unwrap_or(u16::MAX),
        captured: captured as u16,
        class: class.number(),
        cause: cause.number(),
        mac: packet.machine().map_or([0; 6], |machine| machine.mac),
        head: [0; HEAD],
    });
    if captured > 0 {
        // SAFETY: `head` has room for so many.
        let _ = unsafe { packet.copy(0, sample.head.as_mut_ptr(), captured) };
    }
    entry.submit(0);
}
