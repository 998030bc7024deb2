//! What a program says on its standard error: into the log, up to a limit.

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;

/// What of one call goes into the log, in bytes; the rest is thrown away.
const LOGGED_MAX: usize = 16 * 1024;

/// The longest line.
const LINE_MAX: usize = 512;

/// A listener to standard error.
pub(super) struct Said<'a> {
    provider: &'a str,
    line: Vec<u8>,
    last: String,
    logged: usize,
}

impl<'a> Said<'a> {
    pub(super) const fn new(provider: &'a str) -> Self {
        Self {
            provider,
            line: Vec::new(),
            last: String::new(),
            logged: 0,
        }
    }

    /// Reads to the end: a program whose pipe is full would wait.
    pub(super) async fn listen(&mut self, stderr: Option<ChildStderr>) {
        let Some(mut stderr) = stderr else { return };
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
            for byte in &buffer[..length] {
                self.take(*byte);
            }
        }
        self.end_line();
    }

    /// The last line that was not empty.
    pub(super) fn last(&self) -> &str {
        &self.last
    }

    fn take(&mut self, byte: u8) {
        if byte == b'\n' {
            self.end_line();
        } else if self.line.len() < LINE_MAX {
            self.line.push(byte);
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(self.line.trim_ascii())
            .escape_debug()
            .to_string();
        self.line.clear();
        if text.is_empty() {
            return;
        }
        if self.logged < LOGGED_MAX {
            self.logged += text.len();
            tracing::info!(provider = self.provider, "{text}");
            if self.logged >= LOGGED_MAX {
                tracing::info!(provider = self.provider, "the rest is left out");
            }
        }
        self.last = text;
    }
}
