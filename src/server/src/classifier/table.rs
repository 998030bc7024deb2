//! The classifier's table, out of the configuration.

use bootstorm_config::{ClassRule, Config, DataPorts, ListenAt, PacketRate};
use bootstorm_ebpf_shared::{Limits, Ports, Rate, Rule, Settings, Table};

/// What holds for every packet. `beside_others`: somebody else on this host takes DHCP too.
pub(crate) fn table(config: &Config, beside_others: bool) -> Table {
    let mut table = Table::default();
    if beside_others {
        table = table.beside_others();
    }
    table.settings = Settings {
        limits: limits(config),
        ports: ports(config),
    };
    let classes = &config.classifier.classes;
    // A rule for a single class goes before the one for its group.
    let (groups, single): (Vec<_>, Vec<_>) = classes.iter().partition(|(name, _)| name.is_group());
    for (name, rule) in groups.into_iter().chain(single) {
        let rule = match rule {
            ClassRule::Pass => Rule::PASS,
            ClassRule::Drop => Rule::DROP,
            ClassRule::Limit(limit) => Rule::limit(rate(Some(*limit))),
        };
        for class in name.classes() {
            if let Some(place) = table.rules.get_mut(usize::from(class.number())) {
                *place = rule;
            }
        }
    }
    table
}

fn limits(config: &Config) -> Limits {
    let classifier = &config.classifier;
    Limits {
        machine: rate(classifier.machine),
        known: rate(classifier.known),
        relay: rate(classifier.relay),
        samples: match classifier.samples {
            0 => Rate::NOTHING,
            samples => Rate::new(samples, samples),
        },
    }
}

fn rate(limit: Option<PacketRate>) -> Rate {
    limit.map_or(Rate::UNLIMITED, |limit| {
        Rate::new(limit.per_second(), limit.burst())
    })
}

fn ports(config: &Config) -> Ports {
    let port = |at: ListenAt| at.address().map_or(0, |address| address.port());
    let listen = &config.listen;
    let (data_first, data_last) = match &config.tftp.data_ports {
        DataPorts::Range(range) if listen.tftp != ListenAt::Off => (*range.start(), *range.end()),
        DataPorts::Range(_) | DataPorts::Single => (0, 0),
    };
    Ports {
        dhcp: port(listen.dhcp),
        pxe: port(listen.pxe),
        tftp: port(listen.tftp),
        data_first,
        data_last,
        boot: [port(listen.http), port(listen.https), port(listen.web), 0],
        ..Ports::default()
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_config::ClassName;
    use bootstorm_ebpf_shared::{Action, Broken, Class, Family};

    use super::*;

    #[test]
    fn the_default_configuration_makes_the_default_table() {
        let config = Config::for_system();
        assert_eq!(table(&config, false), Table::default());
        assert_eq!(table(&config, true), Table::default().beside_others());
    }

    #[test]
    fn what_is_configured_goes_before_what_was_found_and_one_class_before_its_group() {
        let mut config = Config::for_system();
        let mut rule = |name: &str, rule: &str| {
            let name = ClassName::named(name).unwrap();
            config
                .classifier
                .classes
                .insert(name, rule.parse().unwrap());
        };
        rule("dhcp.short", "pass");
        rule("malformed", "drop");
        rule("firmware-bios", "drop");
        rule("firmware", "5/s burst 10");
        let table = table(&config, true);
        let action = |class| table.rule(class).action();
        assert_eq!(action(Class::Malformed(Broken::Short)), Action::Pass);
        assert_eq!(action(Class::Malformed(Broken::Hops)), Action::Drop);
        assert_eq!(action(Class::Malformed(Broken::TftpOpcode)), Action::Drop);
        assert_eq!(action(Class::Firmware(Family::Bios)), Action::Drop);
        let limit = Action::Limit(Rate::new(5, 10));
        assert_eq!(action(Class::Firmware(Family::X64)), limit);
        assert_eq!(action(Class::DhcpNotPxe), Action::Pass);
    }

    #[test]
    fn rates_and_ports_are_those_of_the_configuration() {
        let mut config = Config::for_system();
        config.classifier.known = None;
        config.classifier.machine = "1/s burst 9".parse().ok();
        config.classifier.samples = 0;
        config.listen.set("dhcp=off").unwrap();
        config.listen.set("https=127.0.0.1:8443").unwrap();
        config.tftp.data_ports = DataPorts::Single;
        let Settings { limits, ports } = table(&config, false).settings;
        assert_eq!(limits.known, Rate::UNLIMITED);
        assert_eq!(limits.machine, Rate::new(1, 9));
        assert_eq!(limits.samples, Rate::NOTHING);
        assert_eq!((ports.dhcp, ports.pxe, ports.tftp), (0, 4011, 69));
        assert_eq!((ports.data_first, ports.data_last), (0, 0));
        assert_eq!(ports.boot, [8080, 8443, 8051, 0]);
    }
}
