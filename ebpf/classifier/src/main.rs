//! The XDP program that sorts, counts and caps boot traffic before it reaches a socket.
#![no_std]
#![no_main]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Passes everything.
#[xdp(frags)]
fn bootstorm(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Nothing here panics: the verifier would refuse the program for this loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
