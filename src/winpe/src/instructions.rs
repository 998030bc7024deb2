//! `bootstorm.json`: what the boot server says to the client.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::Server;

/// What this machine is to do; docs/reference/winpe-client.md lists the fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Instructions {
    version: u32,
    /// The boot server.
    #[serde(deserialize_with = "server")]
    pub server: Server,
    /// Names the boot, and lets this machine speak for itself.
    #[serde(default, deserialize_with = "given")]
    pub token: String,
    /// MAC address that it booted from.
    #[serde(default, deserialize_with = "given")]
    pub mac: String,
    /// SMBIOS GUID.
    #[serde(default)]
    pub uuid: Option<String>,
    /// What it boots.
    #[serde(default, deserialize_with = "given")]
    pub entry: String,
    /// The CA of the server's certificate, as PEM.
    #[serde(default)]
    pub ca: Option<String>,
    /// What providers and people say of the machine.
    #[serde(default, deserialize_with = "given")]
    pub values: BTreeMap<String, Value>,
    /// What the machine says of itself.
    #[serde(default, deserialize_with = "given")]
    pub facts: BTreeMap<String, Value>,
    /// Whether networking has to be started.
    #[serde(default = "always")]
    pub wpeinit: bool,
    /// The answer file that is started with.
    #[serde(default)]
    pub unattend: Option<String>,
    /// Command lines, run one after the other.
    #[serde(default, deserialize_with = "given")]
    pub start: Vec<String>,
    /// The server's time when it wrote this, in seconds since 1970.
    #[serde(default, deserialize_with = "time")]
    pub time: Option<Duration>,
    /// How many seconds the server is waited for.
    #[serde(default = "patience")]
    patience: u32,
}

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Faulty {
    /// No JSON, or not with these fields.
    #[error("it is not what it should be: {0}")]
    Shape(#[from] serde_json::Error),
    /// A later version of them.
    #[error("it is of version {0}, and this client knows version {VERSION}")]
    Version(u32),
    /// Nothing could be trusted.
    #[error("its server is an https one, and there is no `ca` to know it by")]
    Untrusted,
}

/// The version that is understood.
const VERSION: u32 = 1;

impl Instructions {
    /// Reads what is in `bootstorm.json`.
    ///
    /// # Errors
    /// [`Faulty`]
    pub fn parse(bytes: &[u8]) -> Result<Self, Faulty> {
        // Editors of Windows begin files with it.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let read: Self = serde_json::from_slice(bytes)?;
        if read.version != VERSION {
            return Err(Faulty::Version(read.version));
        }
        if read.server.secure && read.ca.as_deref().is_none_or(|ca| ca.trim().is_empty()) {
            return Err(Faulty::Untrusted);
        }
        Ok(read)
    }

    /// How long the server is waited for at first.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience.into())
    }
}

/// A switch may take minutes to let a port in.
const fn patience() -> u32 {
    300
}

/// Networking that is started twice is there as well.
const fn always() -> bool {
    true
}

/// What is null is not known, and so is what is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn server<'de, D: Deserializer<'de>>(from: D) -> Result<Server, D::Error> {
    let url = String::deserialize(from)?;
    Server::parse(&url).ok_or_else(|| serde::de::Error::custom(format!("{url} is no server")))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let no_time = |error| serde::de::Error::custom(format!("{text} is no time: {error}"));
    let time: jiff::Timestamp = text.parse().map_err(no_time)?;
    Ok(u64::try_from(time.as_second())
        .ok()
        .map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"version":1,"server":"https://10.0.0.1:8050","token":"ab","mac":
        "52:54:00:00:00:01","uuid":null,"entry":"winpe","ca":"-----BEGIN","values":{"role":"desk",
        "seat":7},"facts":{"serial":"A&B"},"wpeinit":false,"start":["setup.exe /unattend:x"],
        "unattend":"X:\\unattend.xml","time":"2026-11-21T10:00:00.5Z","later":"fields are left alone"}"#;

    #[test]
    fn they_are_read_whole() {
        let read = Instructions::parse(FULL.as_bytes()).unwrap();
        assert_eq!(read.server.authority(), "10.0.0.1:8050");
        assert_eq!(read.start, ["setup.exe /unattend:x"]);
        assert_eq!(read.time, Some(Duration::from_secs(1_795_255_200)));
        assert_eq!(read.patience(), Duration::from_secs(300));
        assert_eq!(read.unattend.as_deref(), Some(r"X:\unattend.xml"));
        assert!(!read.wpeinit && read.uuid.is_none());
        let with_mark = [b"\xef\xbb\xbf", FULL.as_bytes()].concat();
        assert!(Instructions::parse(&with_mark).is_ok());
    }

    #[test]
    fn little_is_needed() {
        let read = Instructions::parse(br#"{"version":1,"server":"http://10.0.0.1"}"#).unwrap();
        assert!(read.wpeinit && read.start.is_empty() && read.time.is_none());
        let unknown = r#"{"version":1,"server":"http://10.0.0.1","token":null,"mac":null,
            "uuid":null,"entry":null,"ca":null,"values":null,"facts":null,"start":null,
            "unattend":null,"time":null}"#;
        assert!(
            Instructions::parse(unknown.as_bytes())
                .unwrap()
                .token
                .is_empty()
        );
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let told = |text: &str| {
            Instructions::parse(text.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert!(told("").contains("line 1"));
        assert!(told("{\n\n\"version\": }").contains("line 3"));
        assert!(told(r#"{"version":2,"server":"http://a"}"#).contains("version 2"));
        assert!(told(r#"{"version":1,"server":"https://a"}"#).contains("ca"));
        assert!(told(r#"{"version":1,"server":"a"}"#).contains("no server"));
        let late = r#"{"version":1,"server":"http://a","time":"noon"}"#;
        assert!(told(late).contains("noon"));
    }
}
