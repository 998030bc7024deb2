//! Files that are made for the machine that asks for them.

use std::sync::Arc;
use std::time::Instant;

use bootstorm_proto::tftp::{ReadRequest, Refusal, error_code};
use crossbeam_channel::{Sender, TrySendError};

use super::waiting::Held;
use super::{NOT_FOUND, TftpService, busy};
use crate::driver::{Arrival, Driver, SocketId};
use crate::handoff::{Decide, FileQuestion, FileTicket, MadeFile};

/// Who makes them.
pub(super) struct Maker {
    worker: u16,
    decide: Arc<dyn Decide>,
    questions: Sender<FileQuestion>,
}

impl TftpService {
    /// The same, as the service of that worker, with somebody to ask for files that are not in the
    /// catalog.
    pub(crate) fn asking(
        self,
        worker: u16,
        decide: Arc<dyn Decide>,
        questions: Option<Sender<FileQuestion>>,
    ) -> Self {
        let maker = questions.map(|questions| Maker {
            worker,
            decide,
            questions,
        });
        Self { maker, ..self }
    }

    /// A file was made, or why it was not is known.
    pub(crate) fn made<D: Driver>(
        &mut self,
        driver: &mut D,
        ticket: FileTicket,
        file: MadeFile,
        now: Instant,
    ) {
        let Some(held) = self.waiting.take(ticket.number) else {
            return;
        };
        let file =
            file.map_err(|reason| Refusal::new(error_code::NOT_FOUND, reason.code, reason.text));
        let request = ReadRequest::parse(&held.request);
        self.answer(driver, held.socket, &held.arrival, &request, file, now);
    }

    /// Gives up the requests that have waited for a file for as long as they may.
    pub(super) fn give_up<D: Driver>(&mut self, driver: &mut D, now: Instant) {
        while let Some(held) = self.waiting.take_expired(now) {
            let late = Refusal::new(
                error_code::UNDEFINED,
                "tftp.not-made",
                "the server did not make the file in time",
            );
            let request = ReadRequest::parse(&held.request);
            self.answer(driver, held.socket, &held.arrival, &request, Err(late), now);
        }
    }

    /// Has a file made that is not in the catalog.
    ///
    /// # Errors
    /// Why the machine gets none: mostly `missing`.
    pub(super) fn ask(
        &mut self,
        socket: SocketId,
        arrival: &Arrival,
        bytes: &[u8],
        name: &str,
        missing: Refusal,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(maker) = &self.maker else {
            return Err(missing);
        };
        if missing.reason != NOT_FOUND || !maker.decide.makes(name) {
            return Err(missing);
        }
        if self.waiting.is_repeated(&arrival.source, bytes) {
            return Ok(());
        }
        if self.waiting.is_full() {
            return Err(busy());
        }
        let question = FileQuestion {
            ticket: FileTicket {
                worker: maker.worker,
                number: self.waiting.next_number(),
            },
            name: name.into(),
            client: arrival.source.ip(),
        };
        maker
            .questions
            .try_send(question)
            .map_err(|error| match error {
                TrySendError::Full(_) => busy(),
                TrySendError::Disconnected(_) => missing,
            })?;
        let held = Held {
            socket,
            arrival: *arrival,
            request: bytes.into(),
        };
        self.waiting.push(held, now);
        Ok(())
    }
}
