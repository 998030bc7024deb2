//! Files that wimboot puts into the System32 folder of a Windows PE.

use std::sync::Arc;

/// A file that wimboot puts into the System32 folder of a Windows PE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// Its name there.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// It goes over TLS alone, and only to machines that boot the entry.
    pub secret: bool,
}

/// What is in an injected file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The file at this path.
    File(String),
    /// What the [template](crate::template) at this path becomes for the machine.
    Template(String),
    /// A text that is the same for all machines.
    Text(Arc<str>),
    /// A [store](crate::bcd) for the boot manager that wimboot starts.
    Store(Arc<[u8]>),
    /// Everything that is known of the machine, as JSON, for the program that starts the others.
    Json(Arc<Startup>),
    /// Everything that is known of the machine, as lines of `name=value`.
    Ini,
    /// The certificate of the CA that the server's hangs from, as PEM.
    Ca,
}

/// What runs when a Windows PE has started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// bootstorm-winpe.exe starts the network and `start`.
    pub client: bool,
    /// The answer file for wpeinit, as Windows PE names it.
    pub unattend: Option<String>,
    /// Command lines, one after the other; without any, what the image itself starts.
    pub start: Vec<String>,
    /// Command lines before everything else.
    pub before: Vec<String>,
    /// Command lines after everything else.
    pub after: Vec<String>,
}

impl Injected {
    /// A file that is no secret.
    pub fn new(name: impl Into<String>, content: Content) -> Self {
        Self {
            name: name.into(),
            content,
            secret: false,
        }
    }

    /// The server makes it, or has to look who asks for it.
    #[must_use]
    pub const fn is_made(&self) -> bool {
        self.secret || !matches!(self.content, Content::File(_))
    }

    /// The file below the images folder that it comes from.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match &self.content {
            Content::File(path) | Content::Template(path) => Some(path),
            Content::Text(_)
            | Content::Store(_)
            | Content::Json(_)
            | Content::Ini
            | Content::Ca => None,
        }
    }
}
