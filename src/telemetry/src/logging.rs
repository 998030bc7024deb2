//! Logs to standard error, as text or JSON lines. What each level may hold is a contract:
//!
//! - `ERROR`: the server, or a part of it, cannot do its work. Names the reason code.
//! - `WARN`: works, but somebody should look: would be worth waking someone for.
//! - `INFO`: life of the server: listeners, images, certificates, reloads, and every ten seconds at
//!   most one line that counts what machines did. Never an address, a MAC, a serial or a name that
//!   a machine gave, but for the target `bootstorm::decision`: one line for each decision about a
//!   machine, with its MAC and GUID. `RUST_LOG=info,bootstorm::decision=off` does without.
//! - `DEBUG`: each step of each machine's boot with its MAC and address, one line a step. The
//!   target `bootstorm::boot` carries nothing else: `RUST_LOG=info,bootstorm::boot=debug`.
//! - `TRACE`: single packets and requests.
//!
//! Worker threads of the data plane log at `DEBUG` and below only, so that a slow reader of
//! standard error holds up no machine at the default level.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The target of the lines that follow single machines.
pub const BOOT: &str = "bootstorm::boot";

/// The target of the line that each decision about a machine is.
pub const DECISION: &str = "bootstorm::decision";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither `text` nor `json`.
    #[error("log format `{}` is neither `text` nor `json`", .0.escape_default())]
    Format(String),
    /// The filter cannot be read.
    #[error(
        "{origin} `{}` is no log filter; try `info` or `info,bootstorm::boot=debug`",
        .filter.escape_default()
    )]
    Filter {
        /// As given.
        filter: String,
        /// Where it came from: `--log-level` or `RUST_LOG`.
        origin: &'static str,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in the process already takes the log.
    #[error("logging was set up twice in this process")]
    Taken,
}

/// Sends the log to standard error. `level` (from `--log-level`) wins over `RUST_LOG`, which wins
/// over `info`. Colours only on a terminal and without `NO_COLOR`.
///
/// # Errors
/// A filter that cannot be read, or logging that is already set up.
pub fn init(format: Format, level: Option<&str>) -> Result<(), LogError> {
    let from_env = std::env::var("RUST_LOG").ok();
    let filter = filter(level, from_env.as_deref())?;
    let colours = colours(
        std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        std::io::stderr().is_terminal(),
    );
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours && format == Format::Text);
    match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LogError::Taken)
}

fn filter(level: Option<&str>, from_env: Option<&str>) -> Result<EnvFilter, LogError> {
    let (text, origin) = match (level, from_env.filter(|v| !v.is_empty())) {
        (Some(level), _) => (level, "--log-level"),
        (None, Some(env)) => (env, "RUST_LOG"),
        (None, None) => ("info", "--log-level"),
    };
    EnvFilter::builder()
        .parse(text)
        .map_err(|source| LogError::Filter {
            filter: text.to_owned(),
            origin,
            source,
        })
}

const fn colours(forbidden: bool, terminal: bool) -> bool {
    terminal && !forbidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_environment() {
        assert_eq!(
            filter(Some("warn"), Some("trace")).unwrap().to_string(),
            "warn"
        );
        assert_eq!(filter(None, Some("trace")).unwrap().to_string(), "trace");
        assert_eq!(filter(None, Some("")).unwrap().to_string(), "info");
        assert_eq!(filter(None, None).unwrap().to_string(), "info");
    }

    #[test]
    fn a_bad_filter_names_where_it_came_from() {
        let error = filter(None, Some("bootstorm=loud")).unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG `bootstorm=loud`"));
        assert!("yaml".parse::<Format>().is_err());
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
    }

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        assert!(colours(false, true));
        assert!(!colours(true, true));
        assert!(!colours(false, false));
    }
}
