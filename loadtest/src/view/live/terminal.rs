//! A terminal that is taken, and given back: on a pseudo-terminal, with this program once more.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::play::until_interrupted;
use crate::view::{View, Viewer};

const INSIDE: &str = "view::live::terminal::inside";
const ASKED: &str = "asked to end";

/// Reads until the terminal was sent this, or nobody is there any more.
fn read_until(screen: &mut File, text: &str, sent: &mut String) -> bool {
    let mut bytes = [0; 4096];
    while !sent.contains(text) {
        match screen.read(&mut bytes) {
            Ok(read) if read > 0 => sent.push_str(&String::from_utf8_lossy(&bytes[..read])),
            _ => return false,
        }
    }
    true
}

fn pseudo_terminal() -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    (master.into(), slave)
}

#[test]
fn a_second_interrupt_gives_the_terminal_back() {
    let (mut screen, terminal) = pseudo_terminal();
    let before = tcgetattr(&screen).unwrap().local_modes;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", INSIDE, "--ignored", "--nocapture"])
        .env("TERM", "xterm")
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let mut sent = String::new();
    assert!(
        read_until(&mut screen, "\u{1b}[?1049h", &mut sent),
        "{sent}"
    );
    let raw = tcgetattr(&screen).unwrap().local_modes;
    assert!(!raw.intersects(LocalModes::ICANON | LocalModes::ECHO));
    kill_process(pid, Signal::INT).unwrap();
    assert!(read_until(&mut screen, ASKED, &mut sent), "{sent}");
    kill_process(pid, Signal::INT).unwrap();
    assert!(
        read_until(&mut screen, "\u{1b}[?1049l", &mut sent),
        "{sent}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(tcgetattr(&screen).unwrap().local_modes, before);
}

/// A storm that does not end when it is asked to.
#[test]
#[ignore = "the other side of the test above, which starts it"]
fn inside() {
    let stop = until_interrupted().unwrap();
    let viewer = Viewer::new(false);
    if !matches!(viewer.0, View::Live(_)) {
        return;
    }
    for _ in 0..12_000 {
        thread::sleep(Duration::from_millis(5));
        if stop.swap(false, Ordering::Relaxed) {
            eprintln!("{ASKED}");
        }
    }
}
