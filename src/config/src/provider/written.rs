//! `[[provider]]` tables as they are written, and the step to the model.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::{
    ApprovalConfig, AskedAt, ConfigMgrConfig, ConfigMgrSource, ExecCommand, ExecConfig, FailureIs,
    ProviderConfig, ProviderKind, ReferralConfig, SqlConfig, WebhookConfig,
};
use crate::duration::Span;
use crate::lint::Finding;
use crate::load::read_or_note;
use crate::memory::Size;

const DAY: Duration = Duration::from_secs(86_400);

/// All keys of all types; a type takes its own, and what it leaves is told.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Written {
    r#type: Option<Kind>,
    name: Option<String>,
    budget: Option<String>,
    keep: Option<String>,
    on_failure: Option<FailureIs>,
    stages: Option<AskedAt>,
    concurrent: Option<NonZeroU32>,
    poll: Option<String>,
    message: Option<String>,
    expire: Option<String>,
    program: Option<Vec<String>>,
    script: Option<PathBuf>,
    memory: Option<String>,
    processes: Option<u32>,
    environment: Option<BTreeMap<String, String>>,
    url: Option<String>,
    ca: Option<PathBuf>,
    authorization: Option<PathBuf>,
    query: Option<String>,
    file: Option<PathBuf>,
    view: Option<String>,
    unknown_computers: Option<bool>,
    tftp: Option<String>,
    when: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Static,
    Machines,
    Menu,
    Approval,
    Exec,
    Webhook,
    Sql,
    ConfigMgr,
    Referral,
}

/// The provider, unless something that it cannot do without is missing or wrong.
pub(crate) fn take(
    index: usize,
    mut written: Written,
    folder: &Path,
    findings: &mut Vec<Finding>,
) -> Option<ProviderConfig> {
    let Some(kind) = written.r#type else {
        let text = "a provider needs `type`";
        findings.push(Finding::bad_value(format!("provider[{index}]"), text));
        return None;
    };
    let mut table = Table {
        index,
        written: &mut written,
        folder,
        findings,
    };
    let kind = table.kind(kind);
    let is_instant = kind.as_ref().is_some_and(ProviderKind::is_instant);
    let mut provider = ProviderConfig {
        name: String::new(),
        budget: Duration::from_secs(1),
        keep: Duration::from_secs(60),
        on_failure: FailureIs::Pass,
        stages: AskedAt::Both,
        concurrent: NonZeroU32::new(32).unwrap_or(NonZeroU32::MIN),
        kind: kind?,
    };
    let usual_name = || provider.kind.name().to_owned();
    provider.name = table.written.name.take().unwrap_or_else(usual_name);
    if !is_instant {
        provider.budget = table.duration("budget", |w| &mut w.budget, provider.budget);
        provider.keep = table.duration("keep", |w| &mut w.keep, provider.keep);
        let written = &mut *table.written;
        provider.on_failure = written.on_failure.take().unwrap_or_default();
        provider.stages = written.stages.take().unwrap_or_default();
        provider.concurrent = written.concurrent.take().unwrap_or(provider.concurrent);
    }
    table.tell_leftovers(provider.kind.name());
    Some(provider)
}

/// One table while it is taken apart.
struct Table<'a> {
    index: usize,
    written: &'a mut Written,
    folder: &'a Path,
    findings: &'a mut Vec<Finding>,
}

impl Table<'_> {
    fn kind(&mut self, kind: Kind) -> Option<ProviderKind> {
        Some(match kind {
            Kind::Static => ProviderKind::Static,
            Kind::Machines => ProviderKind::Machines,
            Kind::Menu => ProviderKind::Menu,
            Kind::Approval => ProviderKind::Approval(self.approval()),
            Kind::Exec => ProviderKind::Exec(self.exec()?),
            Kind::Webhook => ProviderKind::Webhook(self.webhook()?),
            Kind::Sql => ProviderKind::Sql(self.sql()?),
            Kind::ConfigMgr => ProviderKind::ConfigMgr(self.configmgr()?),
            Kind::Referral => ProviderKind::Referral(self.referral()?),
        })
    }

    fn approval(&mut self) -> ApprovalConfig {
        ApprovalConfig {
            poll: self.duration("poll", |w| &mut w.poll, Duration::from_secs(10)),
            message: self.written.message.take(),
            expire: self.duration("expire", |w| &mut w.expire, DAY / 4),
            keep: self.duration("keep", |w| &mut w.keep, ApprovalConfig::KEEP),
        }
    }

    fn exec(&mut self) -> Option<ExecConfig> {
        let command = match (self.written.program.take(), self.written.script.take()) {
            (Some(program), None) => ExecCommand::Program(program),
            (None, Some(script)) => ExecCommand::Script(self.folder.join(script)),
            _ => return self.refuse("an `exec` provider runs a `program` or a `script`"),
        };
        let memory = self.written.memory.take();
        let memory = self.read::<Size>("memory", memory);
        Some(ExecConfig {
            command,
            memory: memory.map_or(256 << 20, |Size(bytes)| bytes),
            processes: self.written.processes.take().unwrap_or(64),
            environment: self.written.environment.take().unwrap_or_default(),
        })
    }

    fn webhook(&mut self) -> Option<WebhookConfig> {
        let Some(url) = self.written.url.take() else {
            return self.refuse("a `webhook` provider needs `url`");
        };
        let ca = self.written.ca.take();
        let authorization = self.written.authorization.take();
        Some(WebhookConfig {
            url,
            ca: ca.map(|path| self.folder.join(path)),
            authorization: authorization.map(|path| self.folder.join(path)),
        })
    }

    fn sql(&mut self) -> Option<SqlConfig> {
        match (self.written.url.take(), self.written.query.take()) {
            (Some(url), Some(query)) => Some(SqlConfig {
                url: self.database(url),
                query,
            }),
            _ => self.refuse("an `sql` provider needs `url` and `query`"),
        }
    }

    /// The URL of a database, whose file begins at the folder of the configuration.
    fn database(&self, url: String) -> String {
        let Some(file) = url.strip_prefix("sqlite:") else {
            return url;
        };
        let file = file.strip_prefix("//").unwrap_or(file);
        if Path::new(file).is_absolute() || file.is_empty() || file.starts_with(':') {
            return url;
        }
        // What stands for itself in a path means something in a URL.
        let folder = self.folder.to_string_lossy();
        let folder = folder.replace('%', "%25").replace('?', "%3F");
        format!("sqlite:{}", Path::new(&folder).join(file).display())
    }

    fn configmgr(&mut self) -> Option<ConfigMgrConfig> {
        let written = &mut *self.written;
        let (file, url, view) = (written.file.take(), written.url.take(), written.view.take());
        let source = match (file, url, view) {
            (Some(file), None, None) => ConfigMgrSource::File(self.folder.join(file)),
            (None, Some(url), Some(view)) => ConfigMgrSource::View {
                url: self.database(url),
                view,
            },
            _ => {
                return self.refuse(
                    "a `configmgr` provider reads a `file`, or a `view` of a database at `url`",
                );
            }
        };
        Some(ConfigMgrConfig {
            source,
            unknown_computers: self.written.unknown_computers.take().unwrap_or_default(),
        })
    }

    fn referral(&mut self) -> Option<ReferralConfig> {
        let Some(url) = self.written.url.take() else {
            return self.refuse("a `referral` provider needs `url`");
        };
        let tftp = self.written.tftp.take();
        let tftp = self.read::<TftpFile>("tftp", tftp);
        Some(ReferralConfig {
            url,
            tftp: tftp.map(|TftpFile(server, file)| (server, file)),
            when: self.written.when.take(),
        })
    }

    fn duration(
        &mut self,
        key: &str,
        slot: impl Fn(&mut Written) -> &mut Option<String>,
        usual: Duration,
    ) -> Duration {
        let text = slot(self.written).take();
        self.read::<Span>(key, text)
            .map_or(usual, |Span(read)| read)
    }

    fn read<T: FromStr<Err: Display>>(&mut self, key: &str, text: Option<String>) -> Option<T> {
        let index = self.index;
        let key = || format!("provider[{index}].{key}");
        read_or_note(text.as_deref(), key, self.findings)
    }

    fn refuse<T>(&mut self, text: &str) -> Option<T> {
        let key = format!("provider[{}]", self.index);
        self.findings.push(Finding::bad_value(key, text));
        None
    }

    fn tell_leftovers(&mut self, kind: &str) {
        let w = &*self.written;
        let keys = [
            ("budget", w.budget.is_some()),
            ("keep", w.keep.is_some()),
            ("on_failure", w.on_failure.is_some()),
            ("stages", w.stages.is_some()),
            ("concurrent", w.concurrent.is_some()),
            ("poll", w.poll.is_some()),
            ("message", w.message.is_some()),
            ("expire", w.expire.is_some()),
            ("program", w.program.is_some()),
            ("script", w.script.is_some()),
            ("memory", w.memory.is_some()),
            ("processes", w.processes.is_some()),
            ("environment", w.environment.is_some()),
            ("url", w.url.is_some()),
            ("ca", w.ca.is_some()),
            ("authorization", w.authorization.is_some()),
            ("query", w.query.is_some()),
            ("file", w.file.is_some()),
            ("view", w.view.is_some()),
            ("unknown_computers", w.unknown_computers.is_some()),
            ("tftp", w.tftp.is_some()),
            ("when", w.when.is_some()),
        ];
        for (key, _) in keys.into_iter().filter(|(_, is_left)| *is_left) {
            self.findings.push(Finding::error(
                "config.unknown-key",
                format!("provider[{}].{key}", self.index),
                format!("a provider of the type `{kind}` has no key `{key}`"),
            ));
        }
    }
}

/// `tftp://ADDRESS/FILE`.
struct TftpFile(Ipv4Addr, String);

impl FromStr for TftpFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.strip_prefix("tftp://").and_then(|rest| {
            let (server, file) = rest.split_once('/')?;
            Some(Self(server.parse().ok()?, file.to_owned()))
        });
        let text = text.escape_default();
        parsed.ok_or_else(|| format!("`{text}` is not `tftp://ADDRESS/FILE` with an IPv4 address"))
    }
}
