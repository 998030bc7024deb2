//! Words that several CPUs write at once. The compiler knows no atomics for this target, the
//! processor does.

use core::arch::asm;
use core::ptr;

/// Reads a word of a map.
///
/// # Safety
/// `word` must point into a map's value, aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn load(word: *const u64) -> u64 {
    // SAFETY: by the caller; aligned words are read whole.
    unsafe { ptr::read_volatile(word) }
}

/// Writes a word of a map.
///
/// # Safety
/// `word` must point into a map's value, aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn store(word: *mut u64, value: u64) {
    // SAFETY: by the caller; aligned words are written whole.
    unsafe { ptr::write_volatile(word, value) }
}

/// Adds to a word of a map; nothing that other CPUs add is lost.
///
/// # Safety
/// `word` must point into a map's value, aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: by the caller; the instruction touches this word alone.
    unsafe {
        asm!(
            "lock *(u64 *)({word} + 0) += {value}",
            word = in(reg) word,
            value = in(reg) value,
            options(nostack),
        );
    }
}
