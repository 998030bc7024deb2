//! The way into the lab: this program once more, as the first process of namespaces of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::io::{FdFlags, fcntl_setfd};

use super::programs::program;

/// How long the one inside may take to end: its server first.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `lab` with the arguments of this process inside; gives its exit code. When `stop` is set,
/// or when this process ends in whatever way, the one inside ends too.
pub(super) fn enter(stop: &AtomicBool) -> anyhow::Result<u64> {
    let (lifeline, held) = std::io::pipe()?;
    fcntl_setfd(&lifeline, FdFlags::empty())?;
    let inside = format!("--inside={}", lifeline.as_raw_fd());
    let mut held = Some(held);
    let mut child = start(inside)?;
    drop(lifeline);
    let mut stopped = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(u64::from(!status.success()));
        }
        if stop.load(Ordering::Relaxed) {
            held.take();
            let since = *stopped.get_or_insert_with(Instant::now);
            if since.elapsed() > GRACE {
                child.kill()?;
            }
        }
        thread::sleep(LOOK);
    }
}

/// Sets `stop` when the process outside goes, or lets go.
pub(super) fn follow(lifeline: i32, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut lifeline = File::open(format!("/proc/self/fd/{lifeline}"))
        .context("this was not started by `bootstorm-load lab`")?;
    thread::spawn(move || {
        // Nothing is ever written.
        lifeline.read_to_end(&mut Vec::new()).ok();
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn start(inside: String) -> anyhow::Result<Child> {
    let mut unshare = program("unshare");
    if !rustix::process::geteuid().is_root() {
        let mut user = program("unshare");
        user.args(["--user", "--map-root-user", "true"]);
        if !user.stderr(Stdio::null()).status()?.success() {
            bail!(
                "a user other than root may not make namespaces here: run this as root, or allow \
                 it (`sysctl kernel.unprivileged_userns_clone=1`, \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0`)"
            );
        }
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child=KILL"]);
    unshare.arg("--mount-proc").arg("--");
    unshare.arg(std::env::current_exe()?);
    let mut arguments = std::env::args_os().skip(1);
    unshare.args(arguments.next()).arg(OsString::from(inside));
    unshare.args(arguments);
    unshare.spawn().context("cannot run unshare")
}
