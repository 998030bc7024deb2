//! The thread that hands samples on, keeps the own addresses fresh and notices interfaces that went
//! away.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use bootstorm_ebpf_shared::Sample;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::addresses::{self, Address};
use crate::capabilities::give_up_capabilities;
use crate::error::XdpError;
use crate::interfaces::Interfaces;
use crate::roster::KeySet;

/// How old addresses and interfaces may be.
const FRESH: Duration = Duration::from_secs(2);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Starts it.
    pub(crate) fn start(
        samples: RingBuf<MapData>,
        own: OwnAddresses,
        interfaces: Arc<Interfaces>,
        on_sample: impl FnMut(Sample) + Send + 'static,
    ) -> Result<Self, XdpError> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(XdpError::Thread)?);
        let rounds = Rounds {
            samples,
            own,
            interfaces,
            on_sample,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("classifier".to_owned())
            .spawn(move || rounds.run())
            .map_err(|error| {
                XdpError::Thread(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The set of the host's addresses in the kernel.
pub(crate) struct OwnAddresses {
    set: KeySet<Address, u8>,
    full: bool,
}

impl OwnAddresses {
    pub(crate) fn new(set: KeySet<Address, u8>) -> Self {
        Self { set, full: false }
    }

    /// Follows the host's addresses.
    pub(crate) fn refresh(&mut self) -> Result<(), XdpError> {
        let own = match addresses::own() {
            Ok(own) => own,
            Err(error) => {
                tracing::debug!(%error, "the host's addresses cannot be read");
                return Ok(());
            }
        };
        let full = self.set.follow(&own)?;
        let was_full = std::mem::replace(&mut self.full, full.is_some());
        if let (Some(full), false) = (full, was_full) {
            say(&XdpError::MapFull(vec![full]));
        }
        Ok(())
    }
}

struct Rounds<F> {
    samples: RingBuf<MapData>,
    own: OwnAddresses,
    interfaces: Arc<Interfaces>,
    on_sample: F,
    stop: Arc<OwnedFd>,
}

impl<F: FnMut(Sample)> Rounds<F> {
    fn run(mut self) {
        // Started before the server gave its own up.
        if let Err(error) = give_up_capabilities() {
            say(&error);
        }
        let mut due = Instant::now() + FRESH;
        loop {
            let now = Instant::now();
            if now >= due {
                due = now + FRESH;
                self.look_around();
            }
            match self.wait(due - now) {
                Ok(true) => return,
                Ok(false) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the classifier's thread ends");
                    return;
                }
            }
            while let Some(bytes) = self.samples.next() {
                if let Some(sample) = sample(&bytes) {
                    (self.on_sample)(sample);
                }
            }
        }
    }

    /// Whether to stop.
    fn wait(&self, time: Duration) -> Result<bool, Errno> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.samples.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
        ];
        let time = Timespec::try_from(time).map_err(|_| Errno::INVAL)?;
        poll(&mut fds, Some(&time))?;
        let [_, stop] = fds;
        Ok(!stop.revents().is_empty())
    }

    fn look_around(&mut self) {
        if let Err(error) = self.own.refresh() {
            say(&error);
        }
        for gone in self.interfaces.look() {
            say(&gone);
        }
    }
}

fn say(error: &XdpError) {
    tracing::warn!(code = error.code(), "{error}");
}

/// A sample out of the bytes of one record.
fn sample(bytes: &[u8]) -> Option<Sample> {
    if bytes.len() < size_of::<Sample>() {
        return None;
    }
    // SAFETY: there are enough bytes, and any bytes make a sample: it is integers without padding.
    Some(unsafe { bytes.as_ptr().cast::<Sample>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_too_short_is_no_sample() {
        let bytes = [7; size_of::<Sample>()];
        let whole = sample(&bytes).unwrap();
        assert_eq!((whole.class, whole.mac, whole.head[127]), (7, [7; 6], 7));
        assert_eq!(sample(&bytes[1..]), None);
    }
}
