//! The XDP program that sorts, counts and caps boot traffic before it reaches a socket.
//!
//! What it decides is plain Rust in `bootstorm-ebpf-shared`, the same that user space runs. Here
//! are the ways to the bytes of a packet and the maps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod maps;
mod message;
mod packet;
mod sample;
mod tables;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use bootstorm_ebpf_shared::{Cause, Class, Source, counter, judge, sort};

use crate::packet::Packet;
use crate::tables::Kernel;

/// Passes or drops one frame. It passes whatever goes wrong: a host is never cut off.
#[xdp(frags)]
fn bootstorm(context: XdpContext) -> u32 {
    match verdict(context.ctx) {
        Some(cause) if cause.drops() => XDP_DROP,
        _ => XDP_PASS,
    }
}

#[inline(always)]
fn verdict(context: *mut xdp_md) -> Option<Cause> {
    let settings = maps::SETTINGS.get(0)?;
    let mut packet = Packet::new(context);
    let class = sort(&mut packet, &settings.ports);
    if matches!(class, Class::NotOurs) {
        count(class, Cause::Passed, packet.size());
        return None;
    }
    // SAFETY: the helper takes nothing and returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut tables = Kernel {
        settings,
        interface: packet.interface,
    };
    let cause = judge(class, packet.machine(), &mut tables, now);
    count(class, cause, packet.size());
    if cause.drops() {
        sample::take(&packet, class, cause, settings, now);
    }
    Some(cause)
}

#[inline(always)]
fn count(class: Class, cause: Cause, bytes: usize) {
    if let Some(count) = maps::COUNTS.get_ptr_mut(counter(class, cause)) {
        // SAFETY: the map's value, of this CPU alone while the program runs on it.
        let count = unsafe { &mut *count };
        count.packets += 1;
        count.bytes += bytes as u64;
    }
}

/// No helper in use is reserved to programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

/// Nothing here panics: the verifier would refuse the program for this loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
