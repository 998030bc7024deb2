//! What is wrong with a chain of providers whose single values are all right.

use std::path::Path;

use super::{
    ApprovalConfig, ConfigMgrSource, ExecCommand, ExecConfig, ProviderConfig, ProviderKind,
    WebhookConfig,
};
use crate::duration::Span;
use crate::lint::{Finding, nbp_problem, shortened};
use crate::rule::menu_name_problem;
use crate::{Config, url};

/// The longest chain.
const PROVIDERS_MAX: usize = 64;

pub(crate) fn lint(config: &Config, findings: &mut Vec<Finding>) {
    let providers = &config.providers;
    if providers.len() > PROVIDERS_MAX {
        let key = format!("provider[{PROVIDERS_MAX}]");
        let text = format!("a chain of more than {PROVIDERS_MAX} providers");
        findings.push(Finding::bad_value(key, text));
    }
    for (index, provider) in providers.iter().enumerate() {
        let mut one = One {
            config,
            index,
            provider,
            findings,
        };
        one.lint_name();
        one.lint_time();
        one.lint_order();
        one.lint_kind();
    }
}

struct One<'a> {
    config: &'a Config,
    index: usize,
    provider: &'a ProviderConfig,
    findings: &'a mut Vec<Finding>,
}

impl One<'_> {
    fn key(&self, name: &str) -> String {
        format!("provider[{}].{name}", self.index)
    }

    fn earlier(&self) -> &[ProviderConfig] {
        &self.config.providers[..self.index]
    }

    fn bad(&mut self, key: &str, text: impl Into<String>) {
        let key = self.key(key);
        self.findings.push(Finding::bad_value(key, text));
    }

    fn lint_name(&mut self) {
        let name = &self.provider.name;
        let first = self.earlier().iter().position(|p| p.name == *name);
        if let Some(problem) = menu_name_problem(name) {
            self.bad("name", problem);
        } else if let Some(first) = first {
            let text = format!("`{name}` is also the name of provider[{first}]");
            let key = self.key("name");
            let finding = Finding::error("config.duplicate", key, text);
            self.findings
                .push(finding.hint("give it a `name` of its own"));
        }
    }

    fn lint_time(&mut self) {
        let budget = self.provider.budget;
        let whole = self.config.policy.budget;
        if self.provider.kind.is_instant() {
            return;
        }
        if budget.is_zero() {
            self.bad("budget", "nobody can answer in no time");
        } else if budget > whole {
            let key = self.key("budget");
            let text = format!(
                "{}: the whole chain has {} (policy.budget)",
                Span(budget),
                Span(whole)
            );
            let finding = Finding::warning("config.budget-too-long", key, text);
            self.findings.push(finding);
        }
    }

    fn lint_order(&mut self) {
        // A referral passes machines that come back: those are for whoever follows.
        let serves_all = |p: &ProviderConfig| p.kind == ProviderKind::Menu;
        if let Some(first) = self.earlier().iter().position(serves_all) {
            let name = &self.earlier()[first].name;
            let text =
                format!("`{name}` (provider[{first}]) serves every machine that comes to it");
            let key = format!("provider[{}]", self.index);
            self.findings
                .push(Finding::warning("config.no-effect", key, text));
        }
    }

    fn lint_kind(&mut self) {
        match &self.provider.kind {
            ProviderKind::Static | ProviderKind::Machines | ProviderKind::Menu => {}
            ProviderKind::Approval(approval) => self.lint_approval(approval),
            ProviderKind::Exec(exec) => self.lint_exec(exec),
            ProviderKind::Webhook(webhook) => self.lint_webhook(webhook),
            ProviderKind::Sql(sql) => {
                self.lint_database(&sql.url);
                if sql.query.trim().is_empty() {
                    self.bad("query", "the query is empty");
                }
            }
            ProviderKind::ConfigMgr(configmgr) => match &configmgr.source {
                ConfigMgrSource::File(file) => self.lint_file("file", file),
                ConfigMgrSource::View { url, view } => {
                    self.lint_database(url);
                    let part = |p: &str| p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    if view.is_empty() || !view.split('.').all(part) {
                        self.bad("view", format!("`{}` is no view's name", shortened(view)));
                    }
                }
            },
            ProviderKind::Referral(referral) => {
                self.lint_url(&referral.url);
                let file = referral.tftp.as_ref().map(|(_, file)| file.as_str());
                if let Some(problem) = file.and_then(nbp_problem) {
                    self.bad("tftp", format!("the file {problem}"));
                }
            }
        }
    }

    fn lint_approval(&mut self, approval: &ApprovalConfig) {
        let asks = |p: &ProviderConfig| matches!(p.kind, ProviderKind::Approval(_));
        if let Some(first) = self.earlier().iter().position(asks) {
            let name = &self.earlier()[first].name;
            let text = format!(
                "`{name}` (provider[{first}]) keeps every machine waiting that people did not let in"
            );
            let key = format!("provider[{}]", self.index);
            let finding = Finding::warning("config.no-effect", key, text);
            self.findings.push(finding);
        }
        if approval.poll.as_secs() == 0 {
            self.bad(
                "poll",
                "a machine that asks without a pause is a flood: 1s or more",
            );
        }
        if approval.expire < approval.poll {
            self.bad("expire", "a request ends before its machine asks again");
        }
        let has_control = |text: &String| text.chars().any(char::is_control);
        if approval.message.as_ref().is_some_and(has_control) {
            self.bad("message", "a message cannot hold control characters");
        }
    }

    fn lint_exec(&mut self, exec: &ExecConfig) {
        match &exec.command {
            ExecCommand::Script(script) => self.lint_file("script", script),
            ExecCommand::Program(program) => match program.first().map(Path::new) {
                Some(path) if path.is_absolute() => self.lint_file("program", path),
                _ => self.bad("program", "a program is named by its absolute path"),
            },
        }
        if exec.processes == 0 {
            self.bad("processes", "a program needs one process at least");
        }
        if exec.memory < 8 << 20 {
            self.bad("memory", "less than 8M is too little for any program");
        }
    }

    fn lint_webhook(&mut self, webhook: &WebhookConfig) {
        self.lint_url(&webhook.url);
        for (key, file) in [
            ("ca", &webhook.ca),
            ("authorization", &webhook.authorization),
        ] {
            if let Some(file) = file {
                self.lint_file(key, file);
            }
        }
        if webhook.authorization.is_some() && webhook.url.starts_with("http://") {
            let key = self.key("authorization");
            let text = "the authorization goes over the network in the clear";
            let finding = Finding::warning("config.insecure", key, text);
            self.findings.push(finding.hint("use https"));
        }
    }

    fn lint_url(&mut self, text: &str) {
        if let Err(problem) = url::check(text) {
            self.bad("url", problem);
        }
    }

    fn lint_database(&mut self, url: &str) {
        let known = ["postgres://", "postgresql://", "sqlite:"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            self.bad(
                "url",
                "the URL of a database begins with `postgres://` or `sqlite:`",
            );
        }
    }

    fn lint_file(&mut self, key: &str, path: &Path) {
        if let Err(e) = std::fs::metadata(path) {
            let key = self.key(key);
            let text = format!("{}: {e}", path.display());
            self.findings
                .push(Finding::error("config.no-such-file", key, text));
        }
    }
}
