//! Boots real firmware from the server under test: QEMU without KVM, in network namespaces, beside
//! a DHCP server that is not ours.
//!
//! ```text
//! packages  what the machine has to have         suite    firmware of Debian 12, 13 and sid
//! lab       namespaces, bridges, DHCP, relay     qemu     machines with that firmware
//! guest     kernel and initrd that print a marker
//! flood     simulated machines beside a flood
//! storm     simulated machines in a lab of their own
//! forests   two servers on one network
//! windows   a boot manager that fetches what its boot store names
//! kernel_tls  a machine with server and clients inside
//! server    `bootstorm serve`                    capture  what was on the wire
//! cases     the matrix                           run      case by case
//! ```
//!
//! Everything takes root, but [`suite`] and [`guest`]. `cargo xtask e2e` runs it.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cases;
pub mod check;
pub mod command;
pub mod cpio;
pub mod enrol;
pub mod flood;
pub mod forests;
pub mod guest;
pub mod images;
pub mod kernel_tls;
pub mod lab;
pub mod packages;
pub mod process;
pub mod qemu;
pub mod rom;
pub mod run;
pub mod server;
pub mod stop;
pub mod storm;
pub mod suite;
pub mod windows;
