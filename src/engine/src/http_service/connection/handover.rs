//! Leaving the records of a TLS connection to the kernel: from there on its bytes are plaintext for
//! us, like those of plain HTTP.

use std::io::ErrorKind;

use bootstorm_telemetry::metrics::KernelTls;

use super::super::shared::Shared;
use super::{Connection, Phase, client_gone};
use crate::driver::Driver;
use crate::limits;
use crate::tls;

/// Who seals the records of a connection, if there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sealing {
    /// We do; the kernel has not been asked on behalf of the present response.
    #[default]
    Ours,
    /// We do; the kernel was asked.
    OursStill,
    /// The kernel does, and its key is good for so many more bytes.
    Kernels(u64),
}

impl Connection {
    /// Whether the kernel is to be asked before the response goes on.
    pub(super) fn wants_kernel(&self) -> bool {
        let Phase::Sending(response) = &self.phase else {
            return false;
        };
        let rest = response.file.as_ref().map(|(_, rest)| rest);
        self.sealing == Sealing::Ours
            && self.tls.as_ref().is_some_and(|tls| tls.is_for_kernel())
            && rest.is_some_and(|rest| rest.end - rest.start >= limits::KERNEL_TLS_WORTH)
    }

    /// Asks the kernel. Whatever arrived was decrypted and whatever was written has left, or we go
    /// on by ourselves.
    pub(in super::super) fn hand_over(&mut self, driver: &mut impl Driver, shared: &mut Shared) {
        self.sealing = Sealing::OursStill;
        let suite = self.tls.as_mut().and_then(|tls| tls.kernel_suite());
        let mut good_for = 0;
        let keys = || {
            let keys = self.tls.take().map(|tls| tls.into_keys());
            let keys = keys.unwrap_or_else(|| Err(tls::kernel_failed(&"there are no keys")))?;
            good_for = keys.1;
            Ok(keys.0)
        };
        let taken = match suite {
            Some(suite) => driver.take_over(self.id, suite, keys),
            None => Ok(false),
        };
        let metrics = &shared.seams.metrics.tls;
        match taken {
            Ok(true) => {
                metrics.kernel(KernelTls::Taken);
                self.sealing = Sealing::Kernels(good_for);
            }
            Ok(false) => metrics.kernel(KernelTls::Kept),
            Err(reason) => {
                metrics.kernel(KernelTls::Failed);
                self.lost(shared, reason);
            }
        }
    }

    /// A response begins: the kernel may be asked again.
    pub(super) fn begin_sealing(&mut self) {
        if self.sealing == Sealing::OursStill {
            self.sealing = Sealing::Ours;
        }
    }

    /// So many bytes were written.
    pub(super) fn wear(&mut self, bytes: usize) {
        if let Sealing::Kernels(good_for) = &mut self.sealing {
            *good_for = good_for.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// The kernel's key may not be used any more.
    pub(super) fn is_worn_out(&self) -> bool {
        self.sealing == Sealing::Kernels(0)
    }

    /// The kernel's key is good for another response.
    pub(super) fn may_go_on(&self) -> bool {
        !matches!(self.sealing, Sealing::Kernels(good_for) if good_for < limits::KEY_RESERVE)
    }

    /// The connection broke.
    pub(super) fn broken(&mut self, error: ErrorKind, shared: &Shared) {
        let reason = match (self.sealing, error) {
            (Sealing::Kernels(_), ErrorKind::Unsupported) => tls::key_update(),
            (Sealing::Kernels(_), ErrorKind::InvalidData) => tls::bad_record(),
            _ => return self.lost(shared, client_gone()),
        };
        if !matches!(self.phase, Phase::Sending(_)) {
            self.refused(shared, reason.clone());
        }
        self.lost(shared, reason);
    }
}
