//! What is written next may have to be read from the disk first.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_catalog::File;

use super::{Connection, Phase};
use crate::limits;

impl Connection {
    /// Asks `may_send` about the part of the file that is written next, `most` bytes: file, part,
    /// and where the client's wish ends. If it says no, the connection waits for
    /// [`Connection::was_read_in`].
    pub(in crate::http_service) fn load(
        &mut self,
        most: u64,
        may_send: impl FnOnce(&Arc<File>, Range<u64>, u64) -> bool,
    ) {
        if let Phase::Sending(response) = &mut self.phase
            && let Some((file, rest)) = &response.file
        {
            let end = rest.end.min(rest.start.saturating_add(most));
            if may_send(file, rest.start..end, rest.end) {
                response.loaded = end;
            } else {
                self.cold = true;
            }
        }
    }

    /// It is worth another look.
    pub(in crate::http_service) fn was_read_in(&mut self, now: Instant) {
        self.cold = false;
        if matches!(self.phase, Phase::Sending(_)) {
            self.patience(now, limits::HTTP_STALL);
        }
    }
}
