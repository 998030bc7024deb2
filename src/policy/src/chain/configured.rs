//! The chain that the configuration asks for.

use std::sync::Arc;

use bootstorm_config::{AskedAt, Config, FailureIs, ProviderConfig, ProviderKind};

use super::{Chain, Link, OnFailure, Remote};
use crate::MachineTable;
use crate::providers::{Approval, Fixed, Machines, Menu, Provider, Referral, Rule};

/// The providers of the configuration in their order; without any, the usual ones. `listed` are
/// the machines of the configuration, `rules` its rules.
pub(crate) fn chain(config: &Config, listed: &Arc<MachineTable>, rules: &Arc<[Rule]>) -> Chain {
    let links = if config.providers.is_empty() {
        usual(listed, rules)
    } else {
        let providers = config.providers.iter();
        providers.filter_map(|p| link(p, listed, rules)).collect()
    };
    Chain {
        budget: config.policy.budget,
        ..Chain::new(links)
    }
}

/// People, then the configuration, then whoever sits at the machine.
fn usual(listed: &Arc<MachineTable>, rules: &Arc<[Rule]>) -> Vec<Link> {
    let providers: [Arc<dyn Provider>; 3] = [
        Arc::new(Machines::new("machines")),
        Arc::new(Fixed::new("static", Arc::clone(listed), Arc::clone(rules))),
        Arc::new(Menu::new("menu")),
    ];
    providers.map(Link::Instant).into()
}

fn link(
    provider: &ProviderConfig,
    listed: &Arc<MachineTable>,
    rules: &Arc<[Rule]>,
) -> Option<Link> {
    let name: Arc<str> = provider.name.as_str().into();
    let instant: Arc<dyn Provider> = match &provider.kind {
        ProviderKind::Static => Arc::new(Fixed::new(name, Arc::clone(listed), Arc::clone(rules))),
        ProviderKind::Machines => Arc::new(Machines::new(name)),
        ProviderKind::Menu => Arc::new(Menu::new(name)),
        ProviderKind::Approval(approval) => Arc::new(Approval::new(name, approval)),
        ProviderKind::Exec(_)
        | ProviderKind::Webhook(_)
        | ProviderKind::Sql(_)
        | ProviderKind::ConfigMgr(_) => {
            return Some(Link::Remote(Arc::new(Remote {
                name,
                asked_at_dhcp: provider.stages == AskedAt::Both,
                budget: provider.budget,
                keep: provider.keep,
                on_failure: match provider.on_failure {
                    FailureIs::Pass => OnFailure::Pass,
                    FailureIs::Ignore => OnFailure::Ignore,
                },
            })));
        }
        // One whose expression cannot be read is what `lint` tells.
        ProviderKind::Referral(referral) => Arc::new(Referral::new(name, referral).ok()?),
    };
    Some(Link::Instant(instant))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(chain: &Chain) -> Vec<(String, Option<bool>)> {
        let name = |link: &Link| match link {
            Link::Instant(provider) => (provider.name().to_string(), None),
            Link::Remote(remote) => (remote.name.to_string(), Some(remote.asked_at_dhcp)),
        };
        chain.links.iter().map(name).collect()
    }

    #[test]
    fn the_configuration_says_who_is_asked_in_which_order() {
        let (listed, rules) = (Arc::default(), Arc::from([]));
        let usual = chain(&Config::for_user(), &listed, &rules);
        let wanted = ["machines", "static", "menu"].map(|name| (name.to_owned(), None));
        assert_eq!(names(&usual), wanted);
        let text = "[policy]\nbudget = \"3s\"\n\
                    [[provider]]\ntype = \"menu\"\nname = \"last\"\n\
                    [[provider]]\ntype = \"exec\"\nname = \"cmdb\"\nprogram = [\"/bin/true\"]\n\
                    stages = \"script\"\n";
        let loaded = Config::parse(text, Path::new("test.toml"));
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let own = chain(&config, &listed, &rules);
        assert_eq!(own.budget.as_secs(), 3);
        assert_eq!(
            names(&own),
            [("last".to_owned(), None), ("cmdb".to_owned(), Some(false))]
        );
    }
}
