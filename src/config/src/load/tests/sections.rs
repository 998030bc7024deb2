//! The sections that decide who boots what.

use std::time::Duration;

use super::*;
use crate::{
    AnswerTo, AskedAt, BootChoice, ConfigMgrSource, ExecCommand, FailureIs, ItemAction, MenuLock,
    Prompt, ProviderKind, RequestFrom,
};

/// What a text makes of the defaults, and everything that is wrong with it.
fn taken(text: &str) -> (Config, Vec<String>) {
    let file = wire::File::deserialize(toml::Deserializer::parse(text).unwrap()).unwrap();
    let mut config = Config::for_system();
    let mut findings = take(&mut config, file, Path::new("/etc/bootstorm"));
    findings.extend(config.lint());
    let texts = findings
        .into_iter()
        .map(|f| Diagnostic::from(f).to_string());
    (config, texts.collect())
}

fn problems(text: &str) -> String {
    taken(text).1.join("\n")
}

#[test]
fn every_key_of_policy_and_identity_is_taken() {
    let (config, findings) = taken(
        r#"
        [policy]
        answer = "known"
        delay = 4
        decision_ttl = "5s"
        budget = "9s"
        loop_limit = 0
        [[policy.where]]
        interface = "eno2"
        answer = "none"
        [[policy.where]]
        relay = "10.1.0.1"
        delay = 8
        [[policy.where]]
        subnet = "2001:db8::/32"
        answer = "all"
        delay = 0
        [policy.prompt]
        known = "opt-out"
        new = "opt-in"
        required = "none"
        timeout = "3s"
        key = "F12"
        text = "Taste druecken"
        [identity]
        banned_guids = ["03000200-*"]
        shared_macs = ["00:e0:4c:*", "00:00:5e:00:53:01"]
        [store]
        url = "postgres://boot:secret@db/boot"
        retention = "7d"
        "#,
    );
    assert_eq!(findings, [""; 0]);
    let policy = &config.policy;
    assert_eq!(policy.answer, AnswerTo::Known);
    assert_eq!((policy.delay, policy.loop_limit), (4, 0));
    let seconds = [policy.decision_ttl, policy.budget, policy.prompt.timeout];
    assert_eq!(seconds.map(|d| d.as_secs()), [5, 9, 3]);
    let [interface, relay, subnet] = &policy.places[..] else {
        panic!("{:?}", policy.places);
    };
    assert_eq!(interface.from, RequestFrom::Interface("eno2".to_owned()));
    assert_eq!(
        (interface.answer, interface.delay),
        (Some(AnswerTo::None), None)
    );
    assert_eq!(relay.from, RequestFrom::Relay("10.1.0.1".parse().unwrap()));
    assert_eq!((relay.answer, relay.delay), (None, Some(8)));
    let net = "2001:db8::/32".parse().unwrap();
    assert_eq!(subnet.from, RequestFrom::Subnet(net));
    assert_eq!(policy.prompt.text.as_deref(), Some("Taste druecken"));
    assert_eq!(policy.prompt.key, "f12".parse().ok());
    let prompt = |known, required| policy.prompt.of(known, required);
    assert_eq!(prompt(true, false), Prompt::OptOut);
    assert_eq!(prompt(false, false), Prompt::OptIn);
    assert_eq!(prompt(false, true), Prompt::None);
    let shown =
        |list: &[crate::MacPattern]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown(&config.identity.shared_macs),
        ["00:e0:4c*", "00:00:5e:00:53:01"]
    );
    assert_eq!(config.identity.banned_guids.len(), 1);
    assert_eq!(config.store.retention, Duration::from_secs(7 * 86_400));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn policies_that_cannot_be_meant_are_told() {
    let text = r#"
        interfaces = ["eno1"]
        [policy]
        delay = 40
        budget = "20s"
        decision_ttl = "soon"
        [[policy.where]]
        subnet = "10.0.0.0/8"
        delay = 60
        [[policy.where]]
        relay = "10.1.0.1"
        answer = "none"
        [[policy.where]]
        interface = "eno2"
        [identity]
        shared_macs = ["00:e0:4c:*", "00-e0-4c-*"]
        shared_macs_file = "nowhere"
        [[machine]]
        mac = "00:e0:4c:00:00:01"
        [store]
        url = "mysql://db"
        retention = "1h"
    "#;
    insta::assert_snapshot!(problems(text), @r#"
    error[config.bad-value]: policy.decision_ttl: `soon` is not a duration: write `500ms`, `10s`, `5m`, `2h` or `90d`
    warning[config.delay-too-long]: policy.delay: 40 s: most firmware asks for the last time after 28 s and would never be answered
    warning[config.budget-too-long]: policy.budget: 20s: a request is kept for 10s at most, and firmware gives up after 28 s
    warning[config.delay-too-long]: policy.where[0].delay: 60 s: most firmware asks for the last time after 28 s and would never be answered
    warning[config.no-effect]: policy.where[1]: policy.where[0] fits all of these requests and goes before
    warning[config.no-effect]: policy.where[2]: none of `answer`, `delay` and `peerdist` differs here
    warning[config.no-effect]: policy.where[2]: `eno2` is not among the interfaces that are answered on
    warning[config.duplicate]: identity.shared_macs[1]: 00:e0:4c* is also number 1
    error[config.no-such-file]: identity.shared_macs_file: /etc/bootstorm/nowhere: No such file or directory (os error 2)
    warning[config.no-effect]: machine[0].mac: 00:e0:4c:00:00:01 is in identity.shared_macs: it identifies no machine (use `guid`)
    error[config.bad-value]: store.url: this is no URL of a PostgreSQL database (postgres://USER:PASSWORD@HOST/DATABASE; without it SQLite in `data` is used)
    error[config.bad-value]: store.retention: 1h is less than a day
    "#);
}

#[test]
fn places_and_patterns_that_cannot_be_read_are_told() {
    let text = r#"
        [policy]
        budget = "0s"
        [[policy.where]]
        answer = "none"
        [[policy.where]]
        relay = "router"
        [[policy.where]]
        subnet = "10.0.0.1/8"
        [identity]
        banned_guids = ["*", "x"]
    "#;
    insta::assert_snapshot!(problems(text), @r#"
    error[config.bad-value]: policy.where[0]: a place is named by one of `interface`, `relay` and `subnet`
    error[config.bad-value]: policy.where[1].relay: invalid IP address syntax
    error[config.bad-value]: policy.where[2].subnet: `10.0.0.1/8` is an address inside a subnet: the subnet is `10.0.0.0/8`
    error[config.bad-value]: identity.banned_guids[0]: `*` means every machine
    error[config.bad-value]: identity.banned_guids[1]: `x` is no such number: write `11223344-5566-7788-99aa-bbccddeeff00` or `11223344-*`
    error[config.bad-value]: policy.budget: nobody can decide anything in no time
    "#);
}

#[test]
fn every_key_of_rules_and_menus_is_taken() {
    let (config, findings) = taken(
        r#"
        [boot]
        templates = "/usr"
        [[rule]]
        name = "old"
        when = "machine.mac == '52:54:00:00:00:01'"
        ignore = "not ours"
        [[rule]]
        boot = "script:rooms/a.ipxe"
        nbp = "grubx64.efi"
        arguments = "quiet"
        values = { role = "desk" }
        required = true
        [[menu]]
        name = "tech"
        title = "Technicians"
        timeout = "30s"
        default = "deb"
        picture = "logo.png"
        pin = "4711"
        [[menu.item]]
        text = "Tools"
        [[menu.item]]
        name = "deb"
        text = "Debian"
        key = "d"
        when = "firmware.family == 'x64'"
        boot = "debian-13"
        arguments = "rescue"
        [[menu.item]]
        text = "Off"
        boot = "poweroff"
        "#,
    );
    assert_eq!(findings, [""; 0]);
    let [ignored, scripted] = &config.rules[..] else {
        panic!("{:?}", config.rules);
    };
    assert_eq!(ignored.label(0), "old");
    assert_eq!(ignored.ignore.as_deref(), Some("not ours"));
    assert!(ignored.when.is_some());
    assert_eq!(scripted.label(1), "rule[1]");
    let plan = &scripted.plan;
    let script = BootChoice::Script("rooms/a.ipxe".to_owned());
    assert_eq!(plan.boot, Some(script));
    assert_eq!(plan.nbp.as_deref(), Some("grubx64.efi"));
    assert_eq!(plan.arguments.as_deref(), Some("quiet"));
    assert_eq!(plan.values["role"], "desk");
    assert!(plan.required);
    let menu = &config.menus[0];
    assert_eq!(menu.lock, Some(MenuLock::Pin("4711".to_owned())));
    assert_eq!(menu.title.as_deref(), Some("Technicians"));
    assert_eq!(menu.picture.as_deref(), Some("logo.png"));
    assert_eq!(menu.timeout, Duration::from_secs(30));
    let [gap, debian, off] = &menu.items[..] else {
        panic!("{:?}", menu.items);
    };
    assert_eq!(gap.does, ItemAction::Gap);
    assert_eq!(debian.key, Some('d'));
    assert_eq!(debian.arguments.as_deref(), Some("rescue"));
    let entry = BootChoice::Entry("debian-13".to_owned());
    assert_eq!(debian.does, ItemAction::Boot(entry));
    assert_eq!(off.does, ItemAction::PowerOff);
}

#[test]
fn rules_and_menus_that_cannot_be_meant_are_told() {
    let text = r#"
        [[rule]]
        name = "a b"
        boot = "menu:tehc"
        reason = "why"
        nbp = "../x"
        [[rule]]
        ignore = "not ours"
        boot = "local"
        [[rule]]
        boot = "script:../etc/passwd"
        [[rule]]
        boot = "scrip:x"
        [[rule]]
        boot = "script:a.ipxe"
        [[menu]]
        name = "tech"
        pin = "12"
        default = "none"
        [[menu.item]]
        text = "One"
        key = "x"
        boot = "reboot"
        [[menu.item]]
        key = "x"
        boot = "menu:tech"
        [[menu]]
        name = "tech"
        title = "a\u001b[0m"
        password_file = "nowhere"
    "#;
    insta::assert_snapshot!(problems(text), @r#"
    error[config.bad-value]: rule[2].boot: `../etc/passwd` is no file below boot.templates
    error[config.bad-value]: rule[3].boot: `scrip:` is neither `menu:NAME` nor `script:FILE`; did you mean `script`?
    error[config.bad-value]: rule[0].name: `a b` is no name: letters, digits, `.`, `_` and `-`, at most 64 of them
    error[config.bad-value]: rule[0].nbp: `../x` leaves the images folder
    warning[config.no-effect]: rule[0].reason: a reason is shown only where `boot` is "wait" or "refuse"
    error[config.unknown-menu]: rule[0].boot: there is no [[menu]] of the name `tehc`; did you mean `tech`?
    error[config.bad-value]: rule[1].ignore: a machine that gets no answer boots nothing: `ignore` stands alone
    warning[config.no-effect]: rule[1]: rule[0] fits every machine and goes before
    warning[config.no-effect]: rule[2]: rule[0] fits every machine and goes before
    warning[config.no-effect]: rule[3]: rule[0] fits every machine and goes before
    error[config.no-templates]: rule[4].boot: `a.ipxe` is a template, but boot.templates names no folder
    warning[config.no-effect]: rule[4]: rule[0] fits every machine and goes before
    error[config.bad-value]: menu[0].pin: a PIN has 4 to 64 digits
    error[config.bad-value]: menu[0].default: there is no item of the name `none` in this menu
    error[config.bad-value]: menu[0].item[1].text: a choice needs words to choose it by
    error[config.duplicate]: menu[0].item[1].key: `x` is also the key of an earlier item
    error[config.duplicate]: menu[1].name: `tech` is also the name of menu[0]
    error[config.no-such-file]: menu[1].password_file: /etc/bootstorm/nowhere: No such file or directory (os error 2)
    error[config.bad-value]: menu[1].title: a title cannot hold control characters
    error[config.bad-value]: menu[1]: there is nothing to choose in this menu
    "#);
}

#[test]
fn every_key_of_providers_is_taken() {
    let (config, findings) = taken(
        r#"
        [[provider]]
        type = "machines"
        [[provider]]
        type = "exec"
        name = "hook"
        program = ["/bin/sh", "-c"]
        budget = "500ms"
        keep = "5m"
        on_failure = "ignore"
        stages = "script"
        concurrent = 4
        memory = "64M"
        processes = 2
        environment = { SITE = "a" }
        [[provider]]
        type = "webhook"
        url = "https://127.0.0.1:8443/decide"
        ca = "/usr"
        authorization = "/usr"
        [[provider]]
        type = "sql"
        url = "sqlite:mdt.db"
        query = "SELECT 1"
        [[provider]]
        type = "configmgr"
        url = "postgres://db/cm"
        view = "dbo.deployments"
        unknown_computers = true
        [[provider]]
        type = "approval"
        poll = "20s"
        message = "Call 4711"
        expire = "1h"
        keep = "2d"
        [[provider]]
        type = "referral"
        url = "http://192.0.2.2:8080/boot"
        tftp = "tftp://192.0.2.2/undionly.kpxe"
        when = "true"
        [[provider]]
        type = "menu"
        "#,
    );
    assert_eq!(findings, [""; 0]);
    assert_providers(&config);
}

fn assert_providers(config: &Config) {
    let names: Vec<&str> = config.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "machines",
            "hook",
            "webhook",
            "sql",
            "configmgr",
            "approval",
            "referral",
            "menu"
        ]
    );
    let hook = &config.providers[1];
    assert_eq!(hook.budget, Duration::from_millis(500));
    assert_eq!(hook.keep, Duration::from_secs(300));
    assert_eq!(hook.on_failure, FailureIs::Ignore);
    assert_eq!(hook.stages, AskedAt::Script);
    assert_eq!(hook.concurrent.get(), 4);
    let ProviderKind::Exec(exec) = &hook.kind else {
        panic!("{hook:?}");
    };
    let program = ["/bin/sh", "-c"].map(str::to_owned).to_vec();
    assert_eq!(exec.command, ExecCommand::Program(program));
    assert_eq!((exec.memory, exec.processes), (64 << 20, 2));
    assert_eq!(exec.environment["SITE"], "a");
    let kinds: Vec<_> = config.providers.iter().map(|p| &p.kind).collect();
    assert_remote(&kinds);
    let ProviderKind::Approval(approval) = kinds[5] else {
        panic!("{kinds:?}");
    };
    let times = [approval.poll, approval.expire, approval.keep].map(|d| d.as_secs());
    assert_eq!(times, [20, 3600, 172_800]);
    assert_eq!(approval.message.as_deref(), Some("Call 4711"));
    let ProviderKind::Referral(referral) = kinds[6] else {
        panic!("{kinds:?}");
    };
    let tftp = ("192.0.2.2".parse().unwrap(), "undionly.kpxe".to_owned());
    assert_eq!(referral.tftp, Some(tftp));
    assert_eq!(referral.when.as_deref(), Some("true"));
}

fn assert_remote(kinds: &[&ProviderKind]) {
    let ProviderKind::Webhook(webhook) = kinds[2] else {
        panic!("{kinds:?}");
    };
    assert_eq!(webhook.url, "https://127.0.0.1:8443/decide");
    assert_eq!(webhook.ca.as_deref(), Some(Path::new("/usr")));
    assert_eq!(webhook.authorization, webhook.ca);
    let ProviderKind::Sql(sql) = kinds[3] else {
        panic!("{kinds:?}");
    };
    assert_eq!(
        (sql.url.as_str(), sql.query.as_str()),
        ("sqlite:/etc/bootstorm/mdt.db", "SELECT 1")
    );
    let ProviderKind::ConfigMgr(configmgr) = kinds[4] else {
        panic!("{kinds:?}");
    };
    assert!(configmgr.unknown_computers);
    let (url, view) = ("postgres://db/cm".to_owned(), "dbo.deployments".to_owned());
    assert_eq!(configmgr.source, ConfigMgrSource::View { url, view });
}

#[test]
fn providers_that_cannot_be_meant_are_told() {
    let text = r#"
        [policy]
        budget = "2s"
        [[provider]]
        type = "exec"
        program = ["sh"]
        budget = "3s"
        memory = "1M"
        processes = 0
        [[provider]]
        type = "exec"
        script = "nowhere.ps1"
        [[provider]]
        type = "menu"
        keep = "1m"
        [[provider]]
        type = "webhook"
        url = "http://a b/"
        authorization = "nowhere"
    "#;
    insta::assert_snapshot!(problems(text), @r#"
    error[config.unknown-key]: provider[2].keep: a provider of the type `menu` has no key `keep`
    warning[config.budget-too-long]: provider[0].budget: 3s: the whole chain has 2s (policy.budget)
    error[config.bad-value]: provider[0].program: a program is named by its absolute path
    error[config.bad-value]: provider[0].processes: a program needs one process at least
    error[config.bad-value]: provider[0].memory: less than 8M is too little for any program
    error[config.duplicate]: provider[1].name: `exec` is also the name of provider[0] (give it a `name` of its own)
    error[config.no-such-file]: provider[1].script: /etc/bootstorm/nowhere.ps1: No such file or directory (os error 2)
    warning[config.no-effect]: provider[3]: `menu` (provider[2]) serves every machine that comes to it
    error[config.bad-value]: provider[3].url: `http://a b/` holds a blank or a control character
    error[config.no-such-file]: provider[3].authorization: /etc/bootstorm/nowhere: No such file or directory (os error 2)
    warning[config.insecure]: provider[3].authorization: the authorization goes over the network in the clear (use https)
    "#);
    let needs = |text: &str| problems(&format!("[[provider]]\n{text}"));
    assert!(needs("name = \"a\"").contains("needs `type`"));
    assert!(needs("type = \"exec\"").contains("runs a `program` or a `script`"));
    assert!(needs("type = \"webhook\"").contains("needs `url`"));
    assert!(needs("type = \"sql\"\nurl = \"sqlite:a\"").contains("`url` and `query`"));
    assert!(needs("type = \"configmgr\"\nview = \"a\"").contains("reads a `file`, or a `view`"));
    assert!(
        needs("type = \"referral\"\nurl = \"http://a/\"\ntftp = \"tftp://b/c\"")
            .contains("tftp://ADDRESS/FILE")
    );
    assert!(needs("type = \"approval\"\npoll = \"10ms\"").contains("is a flood"));
    let two = "type = \"approval\"\n[[provider]]\ntype = \"approval\"\nname = \"again\"";
    assert!(needs(two).contains("keeps every machine waiting that people did not let in"));
}
