//! Cold ranges, read in by the ring's own kernel threads.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bootstorm_catalog::File;
use io_uring::opcode;
use slab::Slab;

use super::{Op, Uring};
use crate::driver::{Event, ReadToken};

/// Reads under way. The file stays mapped until its read has ended.
#[derive(Default)]
pub(super) struct Reads {
    under_way: Slab<(Arc<File>, ReadToken)>,
}

impl Uring {
    pub(super) fn start_read(&mut self, file: Arc<File>, range: &Range<u64>, read: ReadToken) {
        let part = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| file.content.get(start..end));
        let Some(part) = part else {
            let result = Ok(());
            return self.events.push_back(Event::ReadIn { read, result });
        };
        let address: *const libc::c_void = part.as_ptr().cast();
        let length = part.len() as libc::off_t;
        let index = self.reads.under_way.insert((file, read)) as u32;
        let entry = opcode::Madvise::new(address, length, libc::MADV_POPULATE_READ)
            .build()
            .user_data(Op::ReadIn.user_data(index));
        // SAFETY: the range lies in a map that is kept until this has completed; it is only read.
        unsafe { self.push(entry) };
    }

    pub(super) fn was_read_in(&mut self, index: u32, result: i32) {
        let Some((_, read)) = self.reads.under_way.try_remove(index as usize) else {
            return;
        };
        let result = match result {
            0.. => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        };
        self.events.push_back(Event::ReadIn { read, result });
    }
}
