//! One TLS connection without a socket: ciphertext in, plaintext out, and the reverse.

use std::io::{Read, Write};
use std::sync::Arc;

use bootstorm_telemetry::event::Reason;
use bootstorm_telemetry::metrics::KeyExchange;
use rustls::crypto::KeyExchangeAlgorithm;
use rustls::{ServerConfig, ServerConnection};

use super::kernel::{self, Framing, Keys, Suite};
use super::refusal;

/// What a piece of ciphertext led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an ended connection is to be closed"]
pub enum Fed {
    /// More may follow.
    Open,
    /// The client said goodbye (`close_notify`).
    Ended,
}

/// The server's side of a connection. Whatever [`Stream::feed`] answers, [`Stream::flush`] follows:
/// handshake messages and alerts wait to be sent.
#[derive(Debug)]
pub struct Stream {
    pub(super) tls: ServerConnection,
    received: bool,
    /// Kept where the kernel may take over.
    framing: Option<Framing>,
}

impl Stream {
    /// Begins to wait for a ClientHello.
    ///
    /// # Errors
    /// When the library refuses the configuration.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Reason> {
        let framing = config.enable_secret_extraction.then(Framing::default);
        let mut tls =
            ServerConnection::new(config).map_err(|error| refusal::of_error(&error, true, &[]))?;
        // Batches are bounded by their caller and drained at once; a limit would cut them.
        tls.set_buffer_limit(None);
        Ok(Self {
            tls,
            received: false,
            framing,
        })
    }

    /// Takes what arrived and appends the plaintext in it, never more than what arrived.
    ///
    /// # Errors
    /// Why the connection cannot go on, `tls.*`; it is to be closed after a last flush.
    pub fn feed(&mut self, ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<Fed, Reason> {
        if !self.received && !ciphertext.is_empty() {
            self.received = true;
            refusal::check_first_byte(ciphertext)?;
        }
        if let Some(framing) = &mut self.framing {
            framing.pass(ciphertext);
        }
        if self.tls.is_handshaking() && refusal::is_clear_close_notify(ciphertext) {
            return Err(refusal::walked_away());
        }
        let mut rest = ciphertext;
        while !rest.is_empty() {
            let handshaking = self.tls.is_handshaking();
            let taken = self.tls.read_tls(&mut rest);
            let state = self
                .tls
                .process_new_packets()
                .map_err(|error| refusal::of_error(&error, handshaking, ciphertext))?;
            self.read_plaintext(state.plaintext_bytes_to_read(), plaintext);
            if state.peer_has_closed() {
                return Ok(Fed::Ended);
            }
            // Nothing taken although nothing was left to read: the library's buffer is full of
            // one message that does not end.
            if !matches!(taken, Ok(1..)) {
                return Err(refusal::oversized());
            }
        }
        Ok(Fed::Open)
    }

    /// The handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// How the key was agreed on, once the suite is chosen.
    #[must_use]
    pub fn key_exchange(&self) -> Option<KeyExchange> {
        let group = self.tls.negotiated_key_exchange_group()?.name();
        Some(match group.key_exchange_algorithm() {
            KeyExchangeAlgorithm::DHE => KeyExchange::Dhe,
            _ => KeyExchange::Ecdhe,
        })
    }

    /// Appends what waits to be sent.
    pub fn flush(&mut self, ciphertext: &mut Vec<u8>) {
        while self.tls.wants_write() {
            // Writing to a Vec cannot fail; without progress there is nothing more to take.
            if !matches!(self.tls.write_tls(ciphertext), Ok(1..)) {
                break;
            }
        }
    }

    /// Appends `plaintext` as records of at most 16 KiB. Only once the handshake is over: before,
    /// it would pile up.
    pub fn seal(&mut self, plaintext: &[u8], ciphertext: &mut Vec<u8>) {
        let records = plaintext.len() / RECORD + 1;
        ciphertext.reserve(plaintext.len() + records * RECORD_OVERHEAD);
        // One record at a time: what the library allocates for it is in the nearest cache when it
        // is copied out and when it is used again. A batch of them, freed at once, makes the
        // allocator give memory back to the kernel and ask for it anew.
        for record in plaintext.chunks(RECORD) {
            // Without a limit the writer takes everything.
            let sealed = self.tls.writer().write_all(record);
            debug_assert!(sealed.is_ok(), "the writer has no limit");
            self.flush(ciphertext);
        }
    }

    /// Appends the goodbye.
    pub fn close(&mut self, ciphertext: &mut Vec<u8>) {
        self.tls.send_close_notify();
        self.flush(ciphertext);
    }

    /// The kernel may take this connection over.
    pub(crate) fn is_for_kernel(&self) -> bool {
        self.framing.is_some()
    }

    /// The suite with which the kernel could take over at this moment: everything that arrived is
    /// decrypted, and everything to be sent was taken by [`Stream::flush`].
    pub(crate) fn kernel_suite(&mut self) -> Option<Suite> {
        if self.tls.is_handshaking() || !self.framing?.is_between_records() {
            return None;
        }
        // The answer to a client that renewed its keys waits for the next write.
        let _ = self.tls.writer().write(&[]);
        if self.tls.wants_write() {
            return None;
        }
        Suite::of(self.tls.negotiated_cipher_suite()?)
    }

    /// Gives up the keys, and how many bytes may be sent with them.
    ///
    /// # Errors
    /// The library keeps them, and they are gone.
    pub(crate) fn into_keys(self) -> Result<(Keys, u64), Reason> {
        let agreed = self.tls.negotiated_cipher_suite();
        let secrets = self.tls.dangerous_extract_secrets();
        let keys = secrets.map_err(|error| refusal::kernel_failed(&error))?;
        agreed
            .and_then(|agreed| {
                let keys = Suite::of(agreed)?.keys(&keys)?;
                Some((keys, kernel::bytes_of_a_key(agreed)))
            })
            .ok_or_else(|| refusal::kernel_failed(&"the keys are of another suite"))
    }

    /// Why it is a failure that the client's side of the connection ended here, if it is one;
    /// `broken` says that it was reset instead of closed.
    #[must_use]
    pub fn cut(&self, broken: bool) -> Option<Reason> {
        if !self.received || !self.tls.is_handshaking() {
            return None;
        }
        let has_seen_the_certificate = self.tls.negotiated_cipher_suite().is_some();
        Some(if has_seen_the_certificate && !broken {
            refusal::left_in_silence()
        } else {
            refusal::cut()
        })
    }

    fn read_plaintext(&mut self, bytes: usize, plaintext: &mut Vec<u8>) {
        let start = plaintext.len();
        plaintext.resize(start + bytes, 0);
        let read = self
            .tls
            .reader()
            .read(&mut plaintext[start..])
            .unwrap_or_default();
        plaintext.truncate(start + read);
    }
}

const RECORD: usize = 16 * 1024;
// Header, explicit nonce, tag: 5 + 8 + 16.
const RECORD_OVERHEAD: usize = 32;
