//! A DHCP message, copied to where it can be read at places that the packet itself names.

use core::arch::asm;
use core::ffi::c_void;
use core::ops::ControlFlow;

use aya_ebpf::helpers::bpf_loop;
use bootstorm_ebpf_shared::{DHCP_MAX, STEPS, Source, Span, Walk};

use crate::maps;
use crate::packet::Packet;

/// A CPU's room for one message.
#[repr(C)]
pub(crate) struct Scratch {
    /// The message, and so much room behind that a look at any place below [`ROOM`] stays within.
    bytes: [u8; ROOM + SLACK],
    len: usize,
    walk: Walk,
}

/// A power of two, so that a mask keeps places within.
const ROOM: usize = 2048;
/// The longest look.
const SLACK: usize = 32;

const _: () = assert!(DHCP_MAX < ROOM);

/// Walks the message at `span` to its end. `None` if it is not where its headers say.
#[inline(always)]
pub(crate) fn walk(packet: &Packet, span: Span) -> Option<&'static Walk> {
    let mut scratch = maps::SCRATCH.get_ptr_mut(0)?;
    let mut len = span.len;
    // SAFETY: it changes nothing; the verifier shall see the checks that follow.
    unsafe { asm!("{0} = {0}", inlateout(reg) len, options(pure, nomem, nostack)) };
    // Too short or too long to be looked at otherwise.
    if (SHORTEST..=DHCP_MAX).contains(&len) {
        // SAFETY: `bytes` has room for DHCP_MAX of them.
        let copied = unsafe { packet.copy(span.at, (&raw mut (*scratch).bytes).cast(), len) };
        if !copied {
            return None;
        }
    }
    // SAFETY: the map's value; no other program runs on this CPU until this one ends.
    unsafe {
        (*scratch).len = span.len;
        let message = Message::of(scratch);
        (&raw mut (*scratch).walk).write(Walk::start(&message));
    }
    // SAFETY: `step` takes what is given here, and the loop ends before this function does.
    unsafe {
        bpf_loop(STEPS, step as *mut c_void, (&raw mut scratch).cast(), 0);
    }
    // SAFETY: it was written above, and nobody writes it until the next packet.
    Some(unsafe { &(*scratch).walk })
}

/// One step of the walk; 1 ends the loop.
unsafe extern "C" fn step(_index: u32, scratch: *mut *mut Scratch) -> i64 {
    // SAFETY: `sort` gives the address of its pointer to the map's value.
    let (message, walk) = unsafe {
        let scratch = *scratch;
        (Message::of(scratch), &mut (*scratch).walk)
    };
    match walk.step(&message) {
        ControlFlow::Break(_) => 1,
        ControlFlow::Continue(()) => 0,
    }
}

/// The message in a CPU's room.
struct Message {
    bytes: *const u8,
    len: usize,
}

impl Message {
    /// # Safety
    /// `scratch` must be the map's value.
    #[inline(always)]
    unsafe fn of(scratch: *const Scratch) -> Self {
        // SAFETY: by the caller.
        unsafe {
            Self {
                bytes: (&raw const (*scratch).bytes).cast(),
                len: (*scratch).len,
            }
        }
    }
}

impl Source for Message {
    #[inline(always)]
    fn size(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        const { assert!(N <= SLACK) };
        if at + N > self.len {
            return None;
        }
        let mut within = at;
        // SAFETY: arithmetic. `len` is below ROOM wherever bytes are looked at, so it changes
        // nothing; written out because the verifier must see it and the compiler knows better.
        unsafe {
            asm!("{0} &= {1}", inlateout(reg) within, const ROOM - 1, options(pure, nomem, nostack));
        }
        // SAFETY: below ROOM, and N more bytes are within the slack.
        Some(unsafe { self.bytes.add(within).cast::<[u8; N]>().read() })
    }
}

/// Bytes of a DHCP header.
const SHORTEST: usize = 240;
