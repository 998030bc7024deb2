//! What is made for each machine that boots a Windows PE.

use bootstorm_catalog::{Content, Entry, Injected, Made};
use bootstorm_telemetry::event::Reason;
use serde_json::Value;

use crate::Urls;

mod parameters;

/// What only the boot endpoint knows of a request for a file.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Where the machine reaches this server, with the token of its boot.
    pub urls: &'a Urls,
    /// The CA that the server's certificate hangs from, as PEM; empty when there is none.
    pub ca: &'a str,
    /// The time, as RFC 3339 writes it.
    pub time: &'a str,
}

/// A file for one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFile {
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub body: Vec<u8>,
}

/// Makes a file of what is `known` of the machine: its facts with the values of its plan.
pub(crate) fn make(
    file: &Injected,
    entry: &Entry,
    known: &Value,
    origin: &Origin<'_>,
) -> Result<MadeFile, Reason> {
    let (content_type, text) = match &file.content {
        Content::Made(Made::Json) => (JSON, parameters::json(entry, known, origin)),
        Content::Made(Made::Ini) => (TEXT, parameters::ini(entry, known, origin)),
        Content::Made(Made::Ca) => (PEM, origin.ca.to_owned()),
        Content::File(path) => {
            let text = format!("{path} is the same for all machines: it is below /images/");
            return Err(Reason {
                code: "boot.no-such-file",
                text: text.into(),
            });
        }
    };
    Ok(MadeFile {
        content_type,
        body: text.into_bytes(),
    })
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PEM: &str = "application/x-pem-file";
