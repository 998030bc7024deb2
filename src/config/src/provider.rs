//! Who is asked what a machine boots, in which order: the `[[provider]]` tables.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

mod lint;
mod written;

pub(crate) use lint::lint;
pub(crate) use written::{Written, take};

/// One `[[provider]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Name in traces, logs and metrics; usually its type.
    pub name: String,
    /// How long an answer may take. Those that answer from memory take no time.
    pub budget: Duration,
    /// How long an answer is used.
    pub keep: Duration,
    /// What a failure counts as.
    pub on_failure: FailureIs,
    /// When it is asked.
    pub stages: AskedAt,
    /// Calls at a time.
    pub concurrent: NonZeroU32,
    /// What it is.
    pub kind: ProviderKind,
}

/// What a failure counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureIs {
    /// The next provider is asked.
    #[default]
    Pass,
    /// The machine gets no answer.
    Ignore,
}

/// When a provider is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedAt {
    /// When a machine comes by DHCP and when it comes for its script.
    #[default]
    Both,
    /// When it comes for its script: firmware gets its usual boot program.
    Script,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// The `[[machine]]` and `[[rule]]` tables.
    Static,
    /// The machines of the store.
    Machines,
    /// The usual menu.
    Menu,
    /// Machines that are not known wait until people let them in.
    Approval(ApprovalConfig),
    /// A program.
    Exec(ExecConfig),
    /// A service on HTTP or HTTPS.
    Webhook(WebhookConfig),
    /// A query to a database.
    Sql(SqlConfig),
    /// Deployments of Configuration Manager.
    ConfigMgr(ConfigMgrConfig),
    /// Another boot server.
    Referral(ReferralConfig),
}

impl ProviderKind {
    /// As `type` names it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Machines => "machines",
            Self::Menu => "menu",
            Self::Approval(_) => "approval",
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
            Self::Sql(_) => "sql",
            Self::ConfigMgr(_) => "configmgr",
            Self::Referral(_) => "referral",
        }
    }

    /// Whether it answers from memory: budget, keep, stages and failures do not concern it.
    #[must_use]
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Static | Self::Machines | Self::Menu | Self::Approval(_) | Self::Referral(_) => {
                true
            }
            Self::Exec(_) | Self::Webhook(_) | Self::Sql(_) | Self::ConfigMgr(_) => false,
        }
    }
}

/// `type = "approval"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalConfig {
    /// How often a waiting machine asks.
    pub poll: Duration,
    /// What its screen says besides the request's code.
    pub message: Option<String>,
    /// A request that nobody decided ends after so long.
    pub expire: Duration,
    /// A denial holds for so long: until then the machine does not ask again.
    pub keep: Duration,
}

impl ApprovalConfig {
    /// `keep`, where the configuration does not say.
    pub const KEEP: Duration = Duration::from_secs(30 * 86_400);
}

/// `type = "exec"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecConfig {
    /// What is run.
    pub command: ExecCommand,
    /// Memory that it may use, in bytes.
    pub memory: u64,
    /// Processes that it may have.
    pub processes: u32,
    /// Added to its environment, which is otherwise empty but for the usual PATH and LANG.
    pub environment: BTreeMap<String, String>,
}

/// What an `exec` provider runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecCommand {
    /// A program by its absolute path, and its arguments. No shell sees them.
    Program(Vec<String>),
    /// A PowerShell script.
    Script(PathBuf),
}

/// `type = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where the facts are posted to.
    pub url: String,
    /// PEM file with the CA that its certificate hangs from, instead of the system's.
    pub ca: Option<PathBuf>,
    /// File with the value of the `Authorization` header.
    pub authorization: Option<PathBuf>,
}

/// `type = "sql"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlConfig {
    /// `postgres://...` or `sqlite:FILE`.
    pub url: String,
    /// One `SELECT` with named parameters such as `:mac`.
    pub query: String,
}

/// `type = "configmgr"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMgrConfig {
    /// Where the deployments are read.
    pub source: ConfigMgrSource,
    /// Machines that it does not know get the deployments of its unknown computers.
    pub unknown_computers: bool,
}

/// Where deployments are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigMgrSource {
    /// An exported JSON file, read again when it changes.
    File(PathBuf),
    /// A view of a database.
    View {
        /// `postgres://...` or `sqlite:FILE`.
        url: String,
        /// The view's name.
        view: String,
    },
}

/// `type = "referral"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferralConfig {
    /// Boot URL of the other server.
    pub url: String,
    /// TFTP server and boot program for firmware, where those of the other server are to be loaded.
    pub tftp: Option<(Ipv4Addr, String)>,
    /// Expression over the facts; without one every machine that comes this far is sent there.
    pub when: Option<String>,
}
