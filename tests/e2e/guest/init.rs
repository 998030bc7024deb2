//! The whole user space of the machines that the end-to-end tests boot.
//!
//! It proves that the kernel and this initrd arrived in one piece: it prints a marker with the
//! nonce of the running case to the console, says what the kernel knows about Secure Boot, and
//! powers the machine off. Built by the test with a plain `rustc`, linked statically.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

const NONBLOCK: i32 = 0o4000;
const POWER_OFF: c_int = 0x4321_fedc;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn sync();
}

fn main() {
    mount_pseudo(c"proc", c"/proc");
    mount_pseudo(c"devtmpfs", c"/dev");
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let secure_boot = kernel_log_line("ecure boot").unwrap_or_else(|| "not mentioned".to_owned());
    println!();
    println!("bootstorm-e2e cmdline {}", cmdline.trim());
    println!("bootstorm-e2e secure-boot {secure_boot}");
    println!(
        "bootstorm-e2e {} booted {}",
        value(&cmdline, "e2e.case=").unwrap_or("unnamed"),
        value(&cmdline, "e2e.nonce=").unwrap_or("without-nonce"),
    );
    // SAFETY: neither call takes a pointer; process 1 may power the machine off.
    unsafe {
        sync();
        reboot(POWER_OFF);
    }
}

fn mount_pseudo(kind: &CStr, target: &CStr) {
    // SAFETY: all three strings are NUL-terminated and live through the call; these file systems
    // take no data.
    let result =
        unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if result != 0 {
        println!("bootstorm-e2e could not mount {}", target.to_string_lossy());
    }
}

fn value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    cmdline.split_whitespace().find_map(|word| word.strip_prefix(key))
}

/// One record a read: `/dev/kmsg` never mixes two.
fn kernel_log_line(needle: &str) -> Option<String> {
    let mut log: File =
        OpenOptions::new().read(true).custom_flags(NONBLOCK).open("/dev/kmsg").ok()?;
    let mut record = [0_u8; 8192];
    loop {
        let len = log.read(&mut record).ok()?;
        let text = String::from_utf8_lossy(&record[..len]);
        let message = text.split_once(';').map_or(&*text, |(_, message)| message);
        if message.contains(needle) {
            return Some(message.lines().next().unwrap_or_default().trim().to_owned());
        }
    }
}
