//! What the client did: on the screen, and in a file that is there when the server is not.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of it that go with a report of failure.
const TAIL: u64 = 8 * 1024;

pub(crate) struct Log {
    file: Option<File>,
    started: Instant,
}

impl Log {
    /// Goes on behind what earlier calls wrote. Where nothing can be written, there is the screen.
    pub(crate) fn open(path: &Path) -> Self {
        let mut open = OpenOptions::new();
        let opened = open.read(true).append(true).create(true).open(path);
        let mut log = Self {
            file: None,
            started: Instant::now(),
        };
        match opened {
            Ok(file) => log.file = Some(file),
            Err(error) => log.say(&format!("{} cannot be written: {error}", path.display())),
        }
        log
    }

    /// Since the client's start. The clock of Windows PE is often wrong, and no line has its time.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// On the screen and in the file.
    pub(crate) fn say(&mut self, text: &str) {
        // A screen or a disk that takes nothing must not keep the machine from booting.
        let _ = write!(std::io::stdout(), "bootstorm: {text}\r\n");
        self.note(text);
    }

    /// In the file alone.
    pub(crate) fn note(&mut self, text: &str) {
        let line = format!("[{:8.1} s] {text}\r\n", self.elapsed().as_secs_f64());
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// The end of it.
    pub(crate) fn tail(&mut self) -> String {
        let read = |file: &mut File| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes)?;
            std::io::Result::Ok(bytes)
        };
        let bytes = self.file.as_mut().and_then(|file| read(file).ok());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }
}
