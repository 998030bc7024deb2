//! The remote providers of a configuration.

use std::path::Path;
use std::sync::Arc;

use bootstorm_config::{
    Config, ConfigMgrConfig, ConfigMgrSource, ExecCommand, ExecConfig, Finding, ProviderConfig,
    ProviderKind, Severity,
};

use crate::{
    Ask, Command, ConfigMgr, Deployments, Exec, Provider, Providers, Sql, Unusable, Webhook,
};

/// What of a configuration [`configured`] cannot be made of.
#[must_use]
pub fn lint(config: &Config) -> Vec<Finding> {
    let providers = config.providers.iter().enumerate();
    let read = providers.map(|(index, provider)| (index, ask(provider, Path::new(""))));
    read.filter_map(|(index, read)| {
        Some(Finding {
            severity: Severity::Error,
            code: Unusable::CODE,
            key: format!("provider[{index}]"),
            text: read.err()?.what,
            hint: None,
        })
    })
    .collect()
}

/// The providers that have to be asked; those that answer from memory are the policy's. `server` is
/// the program of this server, which confines those that it starts.
///
/// # Errors
/// Every one that cannot be asked as it is configured.
pub fn configured(providers: &[ProviderConfig], server: &Path) -> Result<Providers, Vec<Unusable>> {
    let mut usable = Providers::new();
    let mut unusable = Vec::new();
    for provider in providers {
        match ask(provider, server) {
            Ok(None) => {}
            Ok(Some(ask)) => {
                let concurrent = usize::try_from(provider.concurrent.get()).unwrap_or(usize::MAX);
                usable.insert(provider.name.as_str().into(), Provider { ask, concurrent });
            }
            Err(e) => unusable.push(e),
        }
    }
    if unusable.is_empty() {
        Ok(usable)
    } else {
        Err(unusable)
    }
}

fn ask(provider: &ProviderConfig, server: &Path) -> Result<Option<Arc<dyn Ask>>, Unusable> {
    let (name, budget) = (provider.name.as_str(), provider.budget);
    let ask: Arc<dyn Ask> = match &provider.kind {
        ProviderKind::Static
        | ProviderKind::Machines
        | ProviderKind::Menu
        | ProviderKind::Approval(_)
        | ProviderKind::Referral(_) => return Ok(None),
        ProviderKind::Exec(program) => Arc::new(exec(provider, program, server)),
        ProviderKind::Webhook(service) => {
            let (ca, authorization) = (service.ca.clone(), service.authorization.clone());
            Arc::new(Webhook::new(name, &service.url, ca, authorization)?)
        }
        ProviderKind::Sql(sql) => Arc::new(Sql::new(name, &sql.url, &sql.query, budget)?),
        ProviderKind::ConfigMgr(site) => {
            let unknown = site.unknown_computers;
            Arc::new(ConfigMgr::new(name, deployments(site), unknown, budget)?)
        }
    };
    Ok(Some(ask))
}

fn exec(provider: &ProviderConfig, program: &ExecConfig, server: &Path) -> Exec {
    Exec {
        name: provider.name.clone(),
        command: match &program.command {
            ExecCommand::Program(words) => Command::Program(words.clone()),
            ExecCommand::Script(script) => Command::PowerShell(script.clone()),
        },
        memory: program.memory,
        processes: program.processes,
        budget: provider.budget,
        environment: program.environment.clone(),
        server: server.to_owned(),
    }
}

fn deployments(site: &ConfigMgrConfig) -> Deployments {
    match &site.source {
        ConfigMgrSource::File(path) => Deployments::File(path.clone()),
        ConfigMgrSource::View { url, view } => Deployments::View {
            url: url.clone(),
            view: view.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use bootstorm_config::{AskedAt, FailureIs, SqlConfig, WebhookConfig};

    use super::*;

    fn provider(name: &str, kind: ProviderKind) -> ProviderConfig {
        ProviderConfig {
            name: name.to_owned(),
            budget: Duration::from_secs(1),
            keep: Duration::from_secs(60),
            on_failure: FailureIs::Pass,
            stages: AskedAt::Both,
            concurrent: NonZeroU32::MIN,
            kind,
        }
    }

    fn sql(query: &str) -> ProviderKind {
        ProviderKind::Sql(SqlConfig {
            url: "sqlite:mdt.db".to_owned(),
            query: query.to_owned(),
        })
    }

    fn exec() -> ProviderKind {
        ProviderKind::Exec(ExecConfig {
            command: ExecCommand::Program(vec!["/bin/true".to_owned()]),
            memory: 1,
            processes: 1,
            environment: [].into(),
        })
    }

    fn configmgr() -> ProviderKind {
        ProviderKind::ConfigMgr(ConfigMgrConfig {
            source: ConfigMgrSource::File("deployments.json".into()),
            unknown_computers: false,
        })
    }

    fn webhook(url: &str) -> ProviderKind {
        ProviderKind::Webhook(WebhookConfig {
            url: url.to_owned(),
            ca: None,
            authorization: None,
        })
    }

    #[test]
    fn those_that_have_to_be_asked_are_made() {
        let all = [
            provider("menu", ProviderKind::Menu),
            provider("rooms", exec()),
            provider("cmdb", webhook("http://cmdb.example/boot")),
            provider("mdt", sql("SELECT 1 WHERE 'a' = :mac")),
            provider("cm", configmgr()),
        ];
        let made = configured(&all, Path::new("/proc/self/exe")).ok().unwrap();
        let mut names: Vec<&str> = made.keys().map(|name| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["cm", "cmdb", "mdt", "rooms"]);
    }

    #[test]
    fn all_that_cannot_be_asked_are_named() {
        let all = [
            provider("cmdb", webhook("ftp://cmdb.example/boot")),
            provider("rooms", exec()),
            provider("mdt", sql("SELECT :serialnumber")),
        ];
        let wrong = configured(&all, Path::new("/proc/self/exe")).err().unwrap();
        let names: Vec<&str> = wrong.iter().map(|e| e.provider.as_str()).collect();
        assert_eq!(names, ["cmdb", "mdt"]);
        let config = Config {
            providers: all.into(),
            ..Config::default()
        };
        let found = lint(&config);
        let keys: Vec<&str> = found.iter().map(|finding| finding.key.as_str()).collect();
        assert_eq!(keys, ["provider[0]", "provider[2]"]);
    }
}
