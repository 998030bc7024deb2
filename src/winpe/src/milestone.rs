//! What a machine reports of itself.

/// How far a machine is, in the server's words (docs/reference/api.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The client runs.
    ClientStarted,
    /// The server is reached.
    NetworkUp,
    /// The image is on the disk.
    ImageApplied,
    /// All is done.
    Done,
    /// It cannot go on.
    Failed,
}

impl Milestone {
    /// Every milestone.
    pub const ALL: [Self; 5] = [
        Self::ClientStarted,
        Self::NetworkUp,
        Self::ImageApplied,
        Self::Done,
        Self::Failed,
    ];

    /// As it is typed and sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientStarted => "client-started",
            Self::NetworkUp => "network-up",
            Self::ImageApplied => "image-applied",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The milestone of that name, in any case; `finished` is another word for `done`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("finished") {
            return Some(Self::Done);
        }
        Self::ALL
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name))
    }
}
