//! Receive buffers that the kernel picks by itself.

use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A ring of buffers of one size, registered under a group number.
pub(super) struct BufferRing {
    entries: u16,
    size: usize,
    ring: Pages,
    storage: Pages,
    tail: u16,
}

impl BufferRing {
    /// Allocates `entries` (a power of two) buffers of `size` bytes and registers them.
    ///
    /// # Errors
    /// Out of memory, or a kernel without buffer rings.
    pub(super) fn register(
        uring: &IoUring,
        group: u16,
        entries: u16,
        size: usize,
    ) -> io::Result<Self> {
        let ring = Pages::map(usize::from(entries) * size_of::<BufRingEntry>())?;
        let storage = Pages::map(usize::from(entries) * size)?;
        // SAFETY: the pages stay mapped until the ring is closed: `Uring` drops its ring first.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(ring.start as u64, entries, group, 0)?;
        }
        let mut buffers = Self {
            entries,
            size,
            ring,
            storage,
            tail: 0,
        };
        for id in 0..entries {
            buffers.put(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The bytes of a buffer that the kernel gave us.
    pub(super) fn bytes(&self, id: u16, range: Range<usize>) -> &[u8] {
        debug_assert!(id < self.entries && range.end <= self.size);
        let range = range.start.min(self.size)..range.end.min(self.size);
        let at = usize::from(id % self.entries) * self.size + range.start;
        // SAFETY: inside the mapping, since `id` and `range` were clamped above; the kernel wrote
        // the bytes before it completed the receive and leaves the buffer alone until `recycle`.
        unsafe { std::slice::from_raw_parts(self.storage.start.add(at), range.len()) }
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn recycle(&mut self, id: u16) {
        self.put(id);
        self.publish();
    }

    fn put(&mut self, id: u16) {
        let at = usize::from(self.tail & (self.entries - 1));
        let entry = self.ring.start.cast::<BufRingEntry>();
        // SAFETY: `at` and `id` are below `entries`, so both pointers are inside their mappings;
        // entries from the tail on belong to us. The page alignment is more than an entry needs.
        unsafe {
            let entry = &mut *entry.add(at);
            let buffer = self
                .storage
                .start
                .add(usize::from(id % self.entries) * self.size);
            entry.set_addr(buffer as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        let first = self.ring.start.cast::<BufRingEntry>();
        // SAFETY: `first` is the registered ring's first entry, whose reserved field is the tail,
        // aligned to two bytes; the kernel only reads it.
        unsafe {
            let tail = BufRingEntry::tail(first).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Anonymous memory that begins at a page.
struct Pages {
    start: *mut u8,
    length: usize,
}

impl Pages {
    fn map(length: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        Ok(Self {
            start: start.cast(),
            length,
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no reference is left.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}
