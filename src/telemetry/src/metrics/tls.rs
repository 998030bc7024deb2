//! TLS of the boot endpoint.

use prometheus_client::registry::Registry;

use super::{Codes, Counter, family, one};

/// How a TLS client and the server agreed on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchange {
    /// Elliptic curves: TLS 1.3 and iPXE since 2024.
    Ecdhe,
    /// Finite fields: UEFI firmware up to 2025.
    Dhe,
}

/// What came of asking the kernel to seal the records of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTls {
    /// It does.
    Taken,
    /// We go on doing it.
    Kept,
    /// The connection ended.
    Failed,
}

/// TLS of the boot endpoint.
#[derive(Debug)]
pub struct Tls {
    done: [Counter; 2],
    kernel: [Counter; 3],
    failed: Codes<1>,
}

impl Tls {
    /// A handshake was completed.
    pub fn done(&self, key_exchange: KeyExchange) {
        self.done[key_exchange as usize].inc();
    }

    /// A handshake failed.
    pub fn failed(&self, reason: &'static str) {
        self.failed.count(reason);
    }

    /// The kernel was asked to seal.
    pub fn kernel(&self, outcome: KernelTls) {
        self.kernel[outcome as usize].inc();
    }

    pub(super) fn register(r: &mut Registry) -> Self {
        let kernel = family(
            r,
            "tls_kernel",
            "Large responses for which the kernel was asked to seal (tls.kernel), by outcome",
        );
        let done = family(
            r,
            "tls_handshakes",
            "Completed handshakes of the boot endpoint by key exchange",
        );
        let failed = family(
            r,
            "tls_failures",
            "Failed handshakes of the boot endpoint, by reason code",
        );
        Self {
            kernel: ["taken", "kept", "failed"].map(|o| one(&kernel, "outcome", o)),
            done: ["ecdhe", "dhe"].map(|kx| one(&done, "key_exchange", kx)),
            failed: Codes::new(&failed, [("reason", "")], &[]),
        }
    }
}
