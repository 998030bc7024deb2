//! What is made for each machine that boots a Windows PE.

use std::sync::Arc;

use bootstorm_catalog::{Content, Entry, EntryKind, File, Injected, Snapshot, template};
use bootstorm_telemetry::event::Reason;
use serde_json::Value;

use crate::Urls;
use crate::template::shown;

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
    /// It came through TLS.
    pub secure: bool,
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
    catalog: &Snapshot,
    known: &Value,
    origin: &Origin<'_>,
) -> Result<MadeFile, Reason> {
    if file.secret && !origin.secure {
        return Err(Reason {
            code: "boot.secret-over-http",
            text: format!(
                "{} is secret: it can be fetched over HTTPS alone",
                file.name
            )
            .into(),
        });
    }
    let (content_type, body) = match &file.content {
        Content::File(path) => (BYTES, source(catalog, path)?.content.to_vec()),
        Content::Template(path) => (BYTES, filled(catalog, file, path, known)?),
        Content::Text(text) => (TEXT, text.as_bytes().to_vec()),
        Content::Store(bytes) => (BYTES, bytes.to_vec()),
        Content::Json(startup) => {
            let json = parameters::json(entry, startup, known, origin);
            (JSON, json.into_bytes())
        }
        Content::Ini => (TEXT, parameters::ini(entry, known, origin).into_bytes()),
        Content::Ca => (PEM, origin.ca.as_bytes().to_vec()),
    };
    Ok(MadeFile { content_type, body })
}

/// Fills in every template of an entry, to tell before the machine has loaded anything that one of
/// them fails for it.
pub(crate) fn check(entry: &Entry, catalog: &Snapshot, known: &Value) -> Result<(), Reason> {
    let EntryKind::Wim { inject, .. } = &entry.kind else {
        return Ok(());
    };
    for file in inject {
        if let Content::Template(path) = &file.content {
            filled(catalog, file, path, known)?;
        }
    }
    Ok(())
}

/// Something of the entry depends on the machine in a way that may fail.
pub(crate) fn has_templates(entry: &Entry) -> bool {
    let EntryKind::Wim { inject, .. } = &entry.kind else {
        return false;
    };
    let mut contents = inject.iter().map(|file| &file.content);
    contents.any(|content| matches!(content, Content::Template(_)))
}

fn filled(
    catalog: &Snapshot,
    file: &Injected,
    path: &str,
    known: &Value,
) -> Result<Vec<u8>, Reason> {
    let source = source(catalog, path)?;
    template::fill(&file.name, &source.content, &shown(known)).map_err(|fault| Reason {
        code: "winpe.template-failed",
        text: format!("{path}:{}: {}", fault.line, fault.text).into(),
    })
}

fn source(catalog: &Snapshot, path: &str) -> Result<Arc<File>, Reason> {
    catalog.source(path).map_err(|_| Reason {
        code: "boot.no-such-file",
        text: format!("{path} is gone from the images folder").into(),
    })
}

const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PEM: &str = "application/x-pem-file";
