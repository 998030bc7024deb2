//! What happens when a mapped page cannot be had: SIGBUS, turned into a condemned mapping.
//!
//! A copy that somebody truncates in the data folder, or that the disk no longer gives, raises
//! SIGBUS in whoever reads the map next. The handler puts a page of zeros in the place of the one
//! that is missing and condemns the mapping; whoever read it asks [`Guard::is_intact`] afterwards
//! and throws away what it read. Only the program's own reads come here: where the kernel reads
//! for a system call, the call answers EFAULT. A SIGBUS anywhere else ends the process as it
//! always would.

use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// Watches over one map until it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    watch: &'static Watch,
}

/// A place in the list that the handler looks through. Places are used again, never freed.
#[derive(Debug)]
struct Watch {
    start: AtomicUsize,
    /// 0 while the place is free.
    end: AtomicUsize,
    intact: AtomicBool,
    next: AtomicPtr<Watch>,
}

static FIRST: AtomicPtr<Watch> = AtomicPtr::new(null_mut());
static FREE: Mutex<Vec<&'static Watch>> = Mutex::new(Vec::new());
static PAGE: AtomicUsize = AtomicUsize::new(4096);
static INSTALL: Once = Once::new();

impl Guard {
    pub(super) fn new(map: &[u8]) -> Self {
        INSTALL.call_once(install);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = free.pop().unwrap_or_else(Watch::append);
        let start = map.as_ptr() as usize;
        watch.intact.store(true, Ordering::Relaxed);
        watch.start.store(start, Ordering::Relaxed);
        watch.end.store(start + map.len(), Ordering::Release);
        Self { watch }
    }

    pub(super) fn is_intact(&self) -> bool {
        self.watch.intact.load(Ordering::Relaxed)
    }

    pub(super) fn condemn(&self) {
        self.watch.intact.store(false, Ordering::Relaxed);
    }
}

/// The system's page size in bytes, once there is a guard.
pub(super) fn page_size() -> usize {
    PAGE.load(Ordering::Relaxed)
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watch.end.store(0, Ordering::Release);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(self.watch);
    }
}

impl Watch {
    fn append() -> &'static Self {
        let watch: &'static mut Self = Box::leak(Box::new(Self {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            intact: AtomicBool::new(true),
            next: AtomicPtr::new(null_mut()),
        }));
        let at: *mut Self = watch;
        // Only one thread appends at a time: it holds the lock of the free places.
        watch
            .next
            .store(FIRST.load(Ordering::Relaxed), Ordering::Relaxed);
        FIRST.store(at, Ordering::Release);
        watch
    }

    /// The watch over the map that holds `address`. Async-signal-safe: loads and comparisons.
    fn over(address: usize) -> Option<&'static Self> {
        let mut at = FIRST.load(Ordering::Acquire);
        // SAFETY: places are leaked, so that what is linked stays valid for ever.
        while let Some(watch) = unsafe { at.as_ref() } {
            let end = watch.end.load(Ordering::Acquire);
            if (watch.start.load(Ordering::Relaxed)..end).contains(&address) {
                return Some(watch);
            }
            at = watch.next.load(Ordering::Relaxed);
        }
        None
    }
}

/// What SIGBUS led to before; it does again when the fault is none of ours.
static FORMER: AtomicPtr<libc::sigaction> = AtomicPtr::new(null_mut());

fn install() {
    // SAFETY: sysconf and sigaction get valid arguments; all-zero sigactions are valid, and the
    // handler has the signature that SA_SIGINFO asks for.
    unsafe {
        if let Ok(size @ 1..) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
            PAGE.store(size, Ordering::Relaxed);
        }
        let former: *mut libc::sigaction = Box::leak(Box::new(zeroed()));
        libc::sigaction(libc::SIGBUS, null(), former);
        FORMER.store(former, Ordering::Release);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, null_mut());
    }
}

/// Runs in the thread that read, between two of its instructions: no allocation, no lock.
extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo, whose address is set for these codes of SIGBUS.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let missing = matches!(code, libc::BUS_ADRERR | libc::BUS_MCEERR_AR);
    if missing && let Some(watch) = Watch::over(address) {
        watch.intact.store(false, Ordering::Relaxed);
        if replace_page(address) {
            return;
        }
    }
    // The former action comes back, and with it the fault: the instruction runs again.
    // SAFETY: the pointer was leaked by `install` before this handler was set.
    unsafe { libc::sigaction(libc::SIGBUS, FORMER.load(Ordering::Acquire), null_mut()) };
}

/// Puts zeros where the page behind `address` was.
fn replace_page(address: usize) -> bool {
    let size = page_size();
    let page = address & !(size - 1);
    // SAFETY: errno is this thread's own. The page lies in a map of ours that is still guarded,
    // and therefore mapped; nobody has read anything from it, since it cannot be read. Nothing
    // but this one page changes.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let zeros = libc::mmap(page as *mut _, size, libc::PROT_READ, kind, -1, 0);
        *errno = before;
        zeros != libc::MAP_FAILED
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use crate::Mapping;

    #[test]
    fn reading_past_the_end_of_a_truncated_copy_condemns_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, vec![7; 100_000]).unwrap();
            Mapping::open(&path).unwrap()
        };
        let (cut, whole) = (open("cut"), open("whole"));
        let file = File::options().write(true).open(dir.path().join("cut"));
        file.unwrap().set_len(10).unwrap();
        assert!(cut.is_intact(), "nobody has looked yet");
        let sum: u64 = cut.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 70, "zeros took the place of what is gone");
        assert!(!cut.is_intact());
        assert!(whole.is_intact());
        assert!(whole.iter().all(|byte| *byte == 7));
        // The place is used again by the next map, which is not condemned.
        drop(cut);
        assert!(open("next").is_intact());
    }

    #[test]
    fn many_threads_may_meet_the_same_hole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(mapping.iter().all(|byte| *byte == 0)));
            }
        });
        assert!(!mapping.is_intact());
    }
}
