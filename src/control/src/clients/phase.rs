//! How far a machine is.

/// Where a boot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Asked, and was told nothing on purpose.
    Silent,
    /// Asked for a boot.
    Asked,
    /// Was offered a file or a URL.
    Offered,
    /// Loads its network boot program.
    Nbp,
    /// Got its script.
    Script,
    /// Waits until other machines have been fed.
    Queued,
    /// Loads what the script names.
    Loading,
    /// Has loaded all that it asked for.
    Booted,
    /// Says that Windows PE and its client run.
    ClientStarted,
    /// Says that it reaches the server from there.
    NetworkUp,
    /// Says that the image is on its disk.
    ImageApplied,
    /// Says that it is done, or was sent to its own disk.
    Finished,
    /// Stopped short.
    Failed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 13] = [
        Self::Silent,
        Self::Asked,
        Self::Offered,
        Self::Nbp,
        Self::Script,
        Self::Queued,
        Self::Loading,
        Self::Booted,
        Self::ClientStarted,
        Self::NetworkUp,
        Self::ImageApplied,
        Self::Finished,
        Self::Failed,
    ];

    /// As the API and the metrics spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Asked => "asked",
            Self::Offered => "offered",
            Self::Nbp => "nbp",
            Self::Script => "script",
            Self::Queued => "queued",
            Self::Loading => "loading",
            Self::Booted => "booted",
            Self::ClientStarted => "client-started",
            Self::NetworkUp => "network-up",
            Self::ImageApplied => "image-applied",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// What runs on the machine says how far it is; what else it loads does not tell.
    pub(super) const fn is_reported(self) -> bool {
        matches!(
            self,
            Self::ClientStarted | Self::NetworkUp | Self::ImageApplied
        )
    }
}
