//! Who is answered, and who is who.

use super::*;
use crate::decision::Verdict;

fn place(from: &str, answer: AnswerTo) -> PolicyPlace {
    PolicyPlace {
        from: RequestFrom::Relay(from.parse().unwrap()),
        answer: Some(answer),
        delay: None,
        peers: None,
    }
}

#[test]
fn wds_02_known_machines_only_by_dhcp_and_for_scripts() {
    let catalog = debian_nbps();
    let only = policy(catalog, |c| {
        c.policy.answer = AnswerTo::Known;
        c.policy.places = vec![place("10.9.0.1", AnswerTo::None)];
    });
    let firmware = client(Asker::Firmware, &[7]);
    assert_eq!(answer(&only, &firmware), "policy.unknown-machine");
    let BootPlan::Refuse(reason) = only.boot(&facts(Family::X64)) else {
        panic!("it got a script");
    };
    assert_eq!(reason.code, "policy.unknown-machine");
    only.machines().set_all([stored("local")]);
    assert_eq!(answer(&only, &firmware), "snponly.efi");
    assert_eq!(only.boot(&facts(Family::X64)), BootPlan::Local);
    let relayed = ClientFacts {
        relay: "10.9.0.1".parse().ok(),
        ..firmware
    };
    assert_eq!(answer(&only, &relayed), "policy.none");
}

#[test]
fn a_machine_that_the_configuration_lists_is_known() {
    let only = policy(debian_nbps(), |c| {
        c.policy.answer = AnswerTo::Known;
        c.machines = vec![Machine {
            mac: Some(MAC),
            guid: None,
            name: Some("desk".to_owned()),
            boot: None,
        }];
    });
    assert_eq!(answer(&only, &client(Asker::Firmware, &[7])), "snponly.efi");
}

#[test]
fn wds_06_response_delay_holds_for_machines_that_nobody_knows() {
    let policy = policy(debian_nbps(), |c| {
        c.policy.delay = 4;
        c.policy.places = vec![PolicyPlace {
            delay: Some(9),
            answer: None,
            ..place("10.9.0.1", AnswerTo::All)
        }];
    });
    let delay = |client: &ClientFacts| match policy.dhcp(client) {
        Answer::Boot { delay, .. } => delay,
        other => panic!("{other:?}"),
    };
    let direct = client(Asker::Firmware, &[7]);
    let relayed = ClientFacts {
        relay: "10.9.0.1".parse().ok(),
        ..direct.clone()
    };
    assert_eq!((delay(&direct), delay(&relayed)), (4, 9));
    policy.machines().set_all([stored("menu")]);
    assert_eq!((delay(&direct), delay(&relayed)), (0, 0));
}

#[test]
fn wds_06_a_machine_boots_from_the_server_that_waited_for_it() {
    let policy = policy(debian_nbps(), |c| c.policy.delay = 4);
    let asks = |asker, secs| ClientFacts {
        secs,
        ..client(asker, &[7])
    };
    let ipxe = || match policy.dhcp(&asks(Asker::Ipxe, 4)) {
        Answer::Boot { delay, .. } => delay.to_string(),
        Answer::Silent { code, .. } => code.to_owned(),
        other => panic!("{other:?}"),
    };
    let _ = policy.dhcp(&asks(Asker::Firmware, 0));
    assert_eq!(ipxe(), "policy.elsewhere");
    let why = policy.explain_dhcp(&asks(Asker::Ipxe, 4), SystemTime::now());
    assert_eq!(
        why.because().map(|(code, _)| code),
        Some("policy.elsewhere")
    );
    let _ = policy.explain_dhcp(&asks(Asker::Firmware, 4), SystemTime::now());
    assert_eq!(ipxe(), "policy.elsewhere", "to explain changes nothing");
    let _ = policy.dhcp(&asks(Asker::Firmware, 4));
    assert_eq!(ipxe(), "0");
}

#[test]
fn twopxe_21_machines_with_one_guid_are_told_apart_by_what_they_send() {
    let catalog = catalog(&["boot/snponly.efi"], vec![linux("debian")]);
    let policy = policy(catalog, |_| ());
    let other = MacAddress::new([0x52, 0x54, 0, 0x99, 0, 2]);
    policy.machines().set_all([crate::Machine {
        guid: Some(guid()),
        ..stored("debian")
    }]);
    let boots = |mac| {
        let facts = Facts {
            mac: Some(mac),
            guid: Some(guid()),
            ..facts(Family::X64)
        };
        policy.boot(&facts).name().to_owned()
    };
    assert_eq!(boots(other), "debian", "the machine's second card");
    let asks = |mac: MacAddress| {
        let facts = ClientFacts {
            hardware: mac.into(),
            ..client(Asker::Firmware, &[7])
        };
        policy.dhcp(&facts)
    };
    for mac in [MAC, other, MAC] {
        let _ = asks(mac);
    }
    assert_eq!(boots(MAC), "debian");
    assert_eq!(boots(other), "menu", "another machine");
    assert_eq!(policy.duplicates().len(), 1);
}

#[test]
fn twopxe_21_another_serial_number_is_another_machine() {
    let catalog = catalog(&[], vec![linux("debian")]);
    let policy = policy(catalog, |_| ());
    policy.machines().set_all([crate::Machine {
        guid: Some(guid()),
        serial: Some("A1".to_owned()),
        ..stored("debian")
    }]);
    let boots = |serial: &str, last: u8| {
        let facts = Facts {
            mac: Some(MacAddress::new([2, 0, 0, 0, 0, last])),
            guid: Some(guid()),
            serial: Some(serial.to_owned()),
            ..facts(Family::X64)
        };
        policy.boot(&facts).name().to_owned()
    };
    assert_eq!(boots("A1", 7), "debian");
    assert_eq!(boots("B2", 8), "menu");
    let duplicates = policy.duplicates();
    assert_eq!(duplicates[0].evidence, crate::Evidence::Serials);
}

#[test]
fn answers_are_decided_anew_when_what_they_rest_on_changes() {
    let catalog = debian_nbps();
    let policy = policy(catalog.clone(), |_| ());
    let firmware = client(Asker::Firmware, &[7]);
    assert_eq!(answer(&policy, &firmware), "snponly.efi");
    catalog.publish(Snapshot::default());
    assert_eq!(answer(&policy, &firmware), "policy.no-nbp");
    let http = client(Asker::HttpFirmware, &[16]);
    assert_eq!(answer(&policy, &http), "policy.no-nbp");
    policy.machines().set(None, stored("local"));
    assert_eq!(answer(&policy, &http), "policy.local-disk");
    policy.set_ports(Ports::default());
    assert_eq!(answer(&policy, &http), "policy.no-listener");
    let mut config = Config::for_system();
    config.policy.answer = AnswerTo::None;
    policy.set_rules(Rules::from(&config));
    assert_eq!(answer(&policy, &http), "policy.none");
}

#[test]
fn a_rule_says_what_machines_of_a_model_boot_and_with_which_arguments() {
    let mut entry = linux("debian");
    if let EntryKind::Linux { cmdline, .. } = &mut entry.kind {
        "quiet".clone_into(cmdline);
    }
    let text = "[[rule]]\nwhen = \"smbios.product == 'X1' && firmware.family == 'x64'\"\n\
                boot = \"debian\"\narguments = \"console=ttyS0\"\n";
    let path = std::path::Path::new("bootstorm.toml");
    let (config, _) = Config::parse(text, path).accept().unwrap();
    assert_eq!(crate::lint(&config), []);
    let policy = policy(catalog(&[], vec![entry]), |c| c.rules = config.rules);
    let boots = |product: &str| {
        policy.boot(&Facts {
            product: Some(product.to_owned()),
            ..facts(Family::X64)
        })
    };
    let BootPlan::Entry(choice) = boots("X1") else {
        panic!("the rule does not fit");
    };
    let EntryKind::Linux { cmdline, .. } = &choice.entry.kind else {
        panic!();
    };
    assert_eq!(cmdline, "quiet console=ttyS0");
    assert_eq!(boots("X2").name(), "menu");
}

#[test]
fn a_rule_that_cannot_be_read_is_found_with_its_place() {
    let mut config = Config::for_system();
    config.rules = vec![bootstorm_config::Rule {
        when: Some("true &&\n  bios.version == 'x'".to_owned()),
        ..bootstorm_config::Rule::default()
    }];
    let findings = crate::lint(&config);
    assert_eq!(findings[0].code, "policy.bad-rule");
    assert_eq!(findings[0].key, "rule[0].when");
    assert!(
        findings[0].text.starts_with("2:3: "),
        "{}",
        findings[0].text
    );
}

#[test]
fn a_referral_sends_firmware_to_the_program_of_the_other_server() {
    let text = "[[provider]]\ntype = \"referral\"\nurl = \"http://10.0.0.9:8080/boot\"\n\
                tftp = \"tftp://10.0.0.9/x.efi\"\nwhen = \"firmware.family == 'x64'\"\n\
                [[provider]]\ntype = \"menu\"\n";
    let config = Config::parse(text, std::path::Path::new("test.toml")).config;
    let config = config.unwrap();
    let policy = policy(debian_nbps(), |c| *c = config);
    let Answer::Boot { file, server, .. } = policy.dhcp(&client(Asker::Firmware, &[7])) else {
        panic!("it is not sent on");
    };
    assert_eq!(&*file, "x.efi");
    assert_eq!(server, Some([10, 0, 0, 9].into()));
    assert_eq!(
        answer(&policy, &client(Asker::Firmware, &[0])),
        "undionly.kpxe"
    );
    let BootPlan::Refer(referral) = policy.boot(&facts(Family::X64)) else {
        panic!("it is not sent on");
    };
    assert_eq!(referral.url, "http://10.0.0.9:8080/boot");
    let tired = Facts {
        other: vec![("via".to_owned(), "a.b.c".to_owned())],
        ..facts(Family::X64)
    };
    let BootPlan::Refuse(reason) = policy.boot(&tired) else {
        panic!("it goes round in circles");
    };
    assert_eq!(reason.code, "policy.referral-loop");
}

#[test]
fn a_rule_that_fails_is_in_the_record_and_does_not_fit() {
    let rule = |when: Option<&str>, boot: &str| bootstorm_config::Rule {
        when: when.map(str::to_owned),
        plan: bootstorm_config::PlanConfig {
            boot: boot.parse().ok(),
            ..bootstorm_config::PlanConfig::default()
        },
        ..bootstorm_config::Rule::default()
    };
    let policy = policy(debian_nbps(), |c| {
        c.rules = vec![
            rule(Some("int(smbios.product) > 3"), "menu"),
            rule(None, "local"),
        ];
    });
    let facts = Facts {
        product: Some("X1".to_owned()),
        ..facts(Family::X64)
    };
    let Asked::Decided(decision) = policy.decide(&facts, SystemTime::now()) else {
        panic!("nobody is asked");
    };
    let steps = decision.steps.iter().map(|step| match &step.verdict {
        Verdict::Pass(reason) => format!("{} {}", step.provider, reason.code),
        other => format!("{} {}", step.provider, other.name()),
    });
    let steps: Vec<String> = steps.collect();
    let wanted = [
        "machines provider.unknown-machine",
        "static policy.rule-failed",
        "static serve",
    ];
    assert_eq!(steps, wanted);
    assert_eq!(policy.plan(&decision, &facts), BootPlan::Local);
}

#[test]
fn rules_know_our_interfaces_by_their_names() {
    let policy = policy(debian_nbps(), |c| {
        c.rules = vec![bootstorm_config::Rule {
            when: Some("network.interface == 'lab0'".to_owned()),
            ignore: Some("the lab is closed".to_owned()),
            ..bootstorm_config::Rule::default()
        }];
    });
    let firmware = client(Asker::Firmware, &[7]);
    assert_eq!(answer(&policy, &firmware), "snponly.efi");
    policy.set_interfaces([(firmware.interface, "lab0".to_owned())]);
    assert_eq!(answer(&policy, &firmware), "policy.ignored");
}

#[test]
fn wds_05_a_broken_file_keeps_the_old_list_when_the_configuration_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docks.txt");
    std::fs::write(&file, format!("{MAC}\n")).unwrap();
    let config = Config {
        identity: bootstorm_config::IdentityConfig {
            shared_macs_file: Some(file.clone()),
            ..bootstorm_config::IdentityConfig::default()
        },
        ..Config::for_system()
    };
    let policy = policy(debian_nbps(), |c| *c = config.clone());
    let identifies = || policy.identify(&facts(Family::X64)).mac.is_some();
    assert!(!identifies());
    std::fs::write(&file, "no address\n").unwrap();
    policy.set_rules(Rules::from(&config));
    assert!(!identifies());
    let told = policy.refresh(SystemTime::now()).unwrap_err();
    assert_eq!(told.code, "identity.shared-macs-file");
    assert!(!identifies());
    std::fs::write(&file, "# none is shared any more\n").unwrap();
    policy.set_rules(Rules::from(&config));
    assert!(identifies());
}
