//! The frame, read in place.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use bootstorm_ebpf_shared::{Class, Frame, Machine, Source, Span, Walk};

use crate::maps::{self, AddressKey};
use crate::message;

/// One frame. Its headers stand in its first part; what follows may be in others.
pub(crate) struct Packet {
    context: *mut xdp_md,
    /// Index of the interface that it came in on.
    pub(crate) interface: u32,
    /// Addresses of the first part.
    start: usize,
    end: usize,
    size: usize,
    /// Who sent it, once it has turned out to be DHCP.
    walk: Option<&'static Walk>,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn new(context: *mut xdp_md) -> Self {
        // SAFETY: the kernel's context, which outlives the program's run.
        let (start, end, interface) = unsafe {
            (
                (*context).data as usize,
                (*context).data_end as usize,
                (*context).ingress_ifindex,
            )
        };
        // SAFETY: the same context.
        let size = unsafe { bpf_xdp_get_buff_len(context) } as usize;
        Self {
            context,
            interface,
            start,
            end,
            size,
            walk: None,
        }
    }

    /// The machine that sent it, where it is DHCP and shows one.
    #[inline(always)]
    pub(crate) fn machine(&self) -> Option<&'static Machine> {
        self.walk.and_then(Walk::machine)
    }

    /// Copies `len` bytes from `at` on, wherever they are; says whether all were there.
    ///
    /// # Safety
    /// `to` must have room for them in one map's value.
    #[inline(always)]
    pub(crate) unsafe fn copy(&self, at: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: by the caller; the kernel checks the source.
        unsafe { bpf_xdp_load_bytes(self.context, at as u32, to.cast(), len as u32) == 0 }
    }
}

impl Source for Packet {
    #[inline(always)]
    fn size(&self) -> usize {
        self.size
    }

    #[inline(always)]
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut from = self.start + at;
        // SAFETY: it changes nothing. It keeps the compiler from checking one register and reading
        // through another, which the verifier takes for unrelated.
        unsafe { asm!("{0} = {0}", inlateout(reg) from, options(pure, nomem, nostack)) };
        if from + N > self.end {
            return None;
        }
        // SAFETY: these bytes lie between the start and the end of the frame's first part.
        Some(unsafe { (from as *const [u8; N]).read() })
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn is_own(&mut self, address: u128) -> bool {
        let key: AddressKey = [((address >> 64) as u64).to_be(), (address as u64).to_be()];
        maps::OWN.get_ptr(key).is_some()
    }

    #[inline(always)]
    fn dhcp(&mut self, message: Span) -> Class {
        self.walk = message::walk(self, message);
        let class = self.walk.and_then(Walk::class);
        class.unwrap_or(Class::NotOurs)
    }
}
