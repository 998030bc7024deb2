//! How a transfer ended, as logs, metrics and the reference page name it.

use arrayvec::ArrayString;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last block was acknowledged.
    Complete,
    /// The client only wanted to know the size: ERROR 8 in answer to the OACK. Not a failure.
    Probe,
    /// The client sent an ERROR.
    Aborted {
        /// Its code.
        code: u16,
        /// Its text, without control characters.
        text: ArrayString<96>,
    },
    /// The client fell silent.
    TimedOut,
    /// The client fell silent when everything had been sent: very probably its last
    /// acknowledgement was lost and it did not stay to repeat it (RFC 1350, section 6). Not a
    /// failure.
    Unconfirmed,
    /// The file changed under the transfer.
    FileChanged,
    /// The client began anew from the same port: the packet that said so is to be served as a new
    /// request.
    Restarted,
}

impl Outcome {
    /// Stable reason code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Complete => "tftp.complete",
            Self::Probe => "tftp.size-probe",
            Self::Aborted { .. } => "tftp.aborted",
            Self::TimedOut => "tftp.timed-out",
            Self::Unconfirmed => "tftp.unconfirmed",
            Self::FileChanged => "tftp.file-changed",
            Self::Restarted => "tftp.restarted",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Probe => f.write_str("the client only asked for the size"),
            Self::Aborted { code, text } => write!(f, "the client gave up: error {code}, `{text}`"),
            Self::TimedOut => f.write_str("the client no longer answers"),
            Self::Unconfirmed => f.write_str("the client did not acknowledge the last block"),
            Self::FileChanged => f.write_str("the file changed while it was being sent"),
            Self::Restarted => f.write_str("the client began anew"),
        }
    }
}
