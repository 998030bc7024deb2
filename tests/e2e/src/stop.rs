//! Ctrl-C: every wait of the tests looks here, so that namespaces and processes are taken down by
//! the same code as after a passed case.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT and SIGTERM end the run in an orderly way; the second one at once.
///
/// # Errors
/// The handlers cannot be installed.
pub fn listen() -> Result<()> {
    let asked = ASKED.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(asked))?;
        signal_hook::flag::register(signal, Arc::clone(asked))?;
    }
    Ok(())
}

/// Whether somebody asked for the end.
#[must_use]
pub fn asked() -> bool {
    ASKED
        .get()
        .is_some_and(|asked| asked.load(Ordering::SeqCst))
}

/// Looks at something every tenth of a second until it is there.
///
/// # Errors
/// The look itself fails, the time is over, or the run was asked to end.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if asked() {
            bail!("interrupted while waiting for {what}");
        }
        if start.elapsed() > limit {
            bail!("no {what} within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
