use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use bootstorm_proto::types::MacAddress;

use super::*;
use crate::{ClassName, ClassRule, Classifier, PacketRate, PolicyConfig, PromptPolicy};
use crate::{DataPorts, Driver, KernelTls, ListenAt, LogFormat, Scheme, UefiOffer, Xdp};

mod sections;

const PACKAGED: &str = include_str!("../../../../packaging/bootstorm.toml");

fn parse(text: &str) -> Loaded {
    Config::parse(text, Path::new("/etc/bootstorm/bootstorm.toml"))
}

fn config(text: &str) -> Config {
    match parse(text).accept() {
        Ok((config, _)) => config,
        Err(rejected) => panic!("{rejected}"),
    }
}

fn complaints(text: &str) -> Vec<String> {
    let diagnostics = parse(text).diagnostics;
    let texts = diagnostics.iter().map(|d| {
        let full = d.to_string();
        full.replace("/etc/bootstorm/bootstorm.toml:", "")
    });
    texts.collect()
}

/// The packaged file with its commented keys made real.
fn uncommented() -> String {
    let lines = PACKAGED.lines().map(|line| {
        let key = line.strip_prefix('#');
        key.filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
            .unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_packaged_file_is_the_defaults() {
    assert_eq!(config(PACKAGED), Config::for_system());
}

#[test]
fn the_packaged_file_shows_the_default_of_every_key() {
    let text = uncommented()
        .replace("\ncertificate =", "\n#certificate =")
        .replace("\nkey =", "\n#key =")
        .replace("\nurl = \"postgres", "\n#url = \"postgres")
        .replace("\ntemplates =", "\n#templates =");
    let shown = config(&text);
    let defaults = Config::for_system();
    // These have no default that could be written down, so the file shows an example.
    let expected = Config {
        host: Some("boot.example.net".to_owned()),
        workers: NonZeroU16::new(4),
        boot: model::Boot {
            default: Some("local".to_owned()),
            nbp: BTreeMap::from([
                (
                    Family::Bios,
                    vec!["undionly.kpxe".to_owned(), "ipxe.pxe".to_owned()],
                ),
                (Family::X64, vec!["shimx64.efi".to_owned()]),
            ]),
            ..defaults.boot.clone()
        },
        tftp: model::Tftp {
            max_block: Some(BlockSize::MAX),
            ..defaults.tftp.clone()
        },
        pacing: model::Pacing {
            interface: BTreeMap::from([("eno2".to_owned(), "2.5G".parse().ok())]),
            ..defaults.pacing.clone()
        },
        classifier: Classifier {
            classes: shown.classifier.classes.clone(),
            ..defaults.classifier.clone()
        },
        machines: shown.machines.clone(),
        rules: shown.rules.clone(),
        providers: shown.providers.clone(),
        menus: shown.menus.clone(),
        events: shown.events.clone(),
        policy: PolicyConfig {
            prompt: shown.policy.prompt.clone(),
            ..defaults.policy.clone()
        },
        ..defaults
    };
    assert_eq!(shown, expected);
    let prompt = PromptPolicy {
        text: shown.policy.prompt.text.clone(),
        ..PromptPolicy::default()
    };
    assert_eq!(shown.policy.prompt, prompt);
    assert_eq!(shown.machines.len(), 1);
    assert_eq!(shown.providers.len(), 5);
}

#[test]
fn every_key_is_in_the_reference_and_in_the_packaged_file() {
    let reference = include_str!("../../../../docs/reference/configuration.md");
    let every_table = "boot.nbp.x = 1\nx = 1\nlisten.x = 1\ntftp.x = 1\npacing.x = 1\nclassifier.x = 1\ntls.x = 1\n\
                       policy.prompt.x = 1\npolicy.x = 1\nstore.x = 1\n[[menu]]\nx = 1\n[[menu.item]]\nx = 1\n[[machine]]\nx = 1\n[boot]\nx = 1\n";
    let text = every_table.replace("boot.nbp.x = 1\n", "") + "[boot.nbp]\nx = 1\n";
    let mut keys = 0;
    let unknown = |c: &String| c.contains("there is no key `x`");
    for complaint in complaints(&text).into_iter().filter(unknown) {
        let known = complaint.split_once("expected").unwrap().1;
        for key in known.split('`').skip(1).step_by(2) {
            let forms = [
                format!("`{key}`"),
                format!("`[{key}]`"),
                format!("`[[{key}]]`"),
                format!(".{key}]`"),
            ];
            assert!(forms.iter().any(|form| reference.contains(form)), "{key}");
            let families = Family::ALL.map(Family::name);
            let packaged = PACKAGED.lines().any(|line| {
                let line = line.trim_start_matches(['#', '[']);
                line.split([' ', '.', ']']).next() == Some(key)
            });
            assert!(
                packaged
                    || families.contains(&key)
                    || [
                        "nbp",
                        "guid",
                        "interface",
                        "classes",
                        "prompt",
                        "password_file",
                        "colours",
                        "item",
                        "where"
                    ]
                    .contains(&key),
                "{key}"
            );
            keys += 1;
        }
    }
    assert!(keys > 45, "{keys}");
}

#[test]
fn every_key_is_taken() {
    let config = config(
        r#"
        images = "images"
        data = "/data"
        interfaces = ["eth0", "br-lan", "!10.0.0.5"]
        host = "Boot.Example.NET"
        workers = 3
        driver = "epoll"
        xdp = "generic"
        xdp_replace = true
        log_format = "json"
        [listen]
        tftp = "127.0.0.1:6969"
        web = ":9000"
        syslog = "off"
        dhcp6 = "[::1]:5470"
        [boot]
        default = "debian"
        menu_timeout = 0
        script_scheme = "https"
        http_boot_scheme = "https"
        uefi = "all-in-one"
        response_delay = 4
        nbp = { x64 = "shimx64.efi", arm64 = ["a.efi", "b.efi"] }
        [tftp]
        data_ports = "single"
        max_window = 16
        max_block = 1024
        rollover = 1
        max_transfers_per_client = 16
        [pacing]
        per_machine = "100M"
        total = "10G"
        machines = 40
        interface = { eth0 = "2.5G", br-lan = "none" }
        [classifier]
        banned = ["52-54-00-99-00-66", "11223344-5566-7788-99aa-bbccddeeff00"]
        samples = 0
        machine = "8/s burst 32"
        known = "none"
        relay = "500/s"
        classes = { firmware = "10000/s", "dhcp.short" = "pass", http-client = "drop" }
        [tls]
        dhe = false
        kernel = "auto"
        [[machine]]
        mac = "52-54-00-99-00-01"
        guid = "11223344-5566-7788-99aa-bbccddeeff00"
        name = "lab"
        boot = "menu"
        "#,
    );
    assert_top_level(&config);
    assert_listeners_and_boot(&config);
    assert_transfers(&config);
    assert_classifier(&config);
    assert!(!config.tls.dhe);
    assert_eq!(config.tls.kernel, KernelTls::Auto);
    let machine = &config.machines[0];
    let mac = MacAddress::new([0x52, 0x54, 0, 0x99, 0, 1]);
    assert_eq!(machine.mac, Some(mac));
    let guid = machine.guid.unwrap().to_string();
    assert_eq!(guid, "11223344-5566-7788-99aa-bbccddeeff00");
    assert_eq!(machine.name.as_deref(), Some("lab"));
    assert_eq!(machine.boot.as_deref(), Some("menu"));
}

fn assert_transfers(config: &Config) {
    assert_eq!(config.tftp.data_ports, DataPorts::Single);
    assert_eq!(config.tftp.max_window.get(), 16);
    assert_eq!(config.tftp.max_block.map(BlockSize::get), Some(1024));
    assert_eq!(config.tftp.rollover, 1);
    assert_eq!(config.tftp.max_transfers_per_client, 16);
    let rate = |text: &str| text.parse::<Rate>().ok();
    let pacing = model::Pacing {
        per_machine: rate("100M"),
        total: rate("10G"),
        interface: [("eth0", rate("2.5G")), ("br-lan", None)]
            .map(|(name, rate)| (name.to_owned(), rate))
            .into(),
        machines: NonZeroU32::new(40),
    };
    assert_eq!(config.pacing, pacing);
}

fn assert_top_level(config: &Config) {
    assert_eq!(config.images, Path::new("/etc/bootstorm/images"));
    assert_eq!(config.data, Path::new("/data"));
    let interfaces: Vec<String> = config.interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(interfaces, ["eth0", "br-lan", "!10.0.0.5"]);
    assert_eq!(config.host.as_deref(), Some("boot.example.net"));
    assert_eq!(config.workers.map(NonZeroU16::get), Some(3));
    assert_eq!(config.driver, Driver::Epoll);
    assert_eq!(config.xdp, Xdp::Generic);
    assert!(config.xdp_replace);
    assert_eq!(config.log_format, LogFormat::Json);
}

fn assert_classifier(config: &Config) {
    let rate = |text: &str| text.parse::<PacketRate>().ok();
    let class = |name| ClassName::named(name).unwrap();
    let expected = Classifier {
        banned: ["52:54:00:99:00:66", "112233445566778899aabbccddeeff00"]
            .map(|text| text.parse().unwrap())
            .into(),
        samples: 0,
        machine: rate("8/s burst 32"),
        known: None,
        relay: rate("500/s burst 500"),
        classes: BTreeMap::from([
            (
                class("firmware"),
                ClassRule::Limit(rate("10000/s").unwrap()),
            ),
            (class("dhcp.short"), ClassRule::Pass),
            (class("http-client"), ClassRule::Drop),
        ]),
    };
    assert_eq!(config.classifier, expected);
}

fn assert_listeners_and_boot(config: &Config) {
    let at = |text: &str| ListenAt::At(text.parse::<SocketAddr>().unwrap());
    assert_eq!(config.listen.tftp, at("127.0.0.1:6969"));
    assert_eq!(config.listen.web, at("0.0.0.0:9000"));
    assert_eq!(config.listen.syslog, ListenAt::Off);
    assert_eq!(config.listen.dhcp6, at("[::1]:5470"));
    assert_eq!(config.boot.default.as_deref(), Some("debian"));
    assert_eq!(config.boot.menu_timeout, Duration::ZERO);
    assert_eq!(config.boot.script_scheme, Scheme::Https);
    assert_eq!(config.boot.http_boot_scheme, Scheme::Https);
    assert_eq!(config.boot.uefi, UefiOffer::AllInOne);
    assert_eq!(config.boot.response_delay, 4);
    assert_eq!(config.boot.nbp[&Family::X64], ["shimx64.efi"]);
    assert_eq!(config.boot.nbp[&Family::Arm64], ["a.efi", "b.efi"]);
}

#[test]
fn a_rate_that_cannot_be_read_is_told_with_its_place() {
    let text = "[pacing]\ntotal = \"100MB\"\ninterface = { eth0 = \"1\" }\nmachines = 0\n";
    let found = complaints(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("2:9: error[config.bad-value]: pacing.total: `100MB`"));
    assert!(found[1].starts_with("3:22: error[config.bad-value]: pacing.interface.eth0: `1`"));
}

#[test]
fn what_the_classifier_cannot_do_is_told_with_its_place() {
    let text = r#"[classifier]
banned = ["52:54:00:99:00:01", "lab3"]
samples = 2000
machine = "4"
relais = "none"

[classifier.classes]
firmwre = "drop"
not-ours = "drop"
ipxe = "dorp"
"dhcp.shor" = "pass"
"dhcp.short" = "0/s"
"#;
    insta::assert_snapshot!(complaints(text).join("\n"), @r#"
    2:32: error[config.bad-value]: classifier.banned[1]: `lab3` is neither a MAC address nor a machine GUID
    3:11: error[config.bad-value]: classifier.samples: 2000 samples a second are more than anybody reads (1000)
    4:11: error[config.bad-value]: classifier.machine: `4` is not a packet rate: write `4/s burst 16`
    5:1: error[config.unknown-key]: there is no key `relais` (did you mean `relay`?)
    8:11: error[config.unknown-key]: classifier.classes.firmwre: there is no class `firmwre` (did you mean `firmware`?)
    9:12: error[config.bad-value]: classifier.classes.not-ours: `not-ours` always passes
    10:8: error[config.bad-value]: classifier.classes.ipxe: `dorp` is neither `pass`, `drop` nor a rate such as `20000/s burst 40000`; did you mean `drop`?
    11:15: error[config.unknown-key]: classifier.classes."dhcp.shor": there is no class `dhcp.shor` (did you mean `dhcp.short`?)
    12:16: error[config.bad-value]: classifier.classes."dhcp.short": `0/s` lets nothing through: at least 1
    "#);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = r#"imges = "/srv"
workers = 0
driver = "urng"

[tftp]
max_windw = 4
max_block = "big"
data_ports = "9-3"

[boot]
nbp = { x46 = "a" }
menu_timeout = 90000

[lisen]
http = "off"

[listen]
tftp = "69"

[[machine]]
name = "nobody"

[[machine]]
mac = "52:54"
boot = "a|b"
"#;
    insta::assert_snapshot!(complaints(text).join("\n"), @r#"
    1:1: error[config.unknown-key]: there is no key `imges` (did you mean `images`?)
    2:11: error[config.bad-value]: invalid value: integer `0`, expected a number from 1 to 65535
    3:10: error[config.bad-value]: there is no choice `urng` (did you mean `uring`?)
    6:1: error[config.unknown-key]: there is no key `max_windw` (did you mean `max_window`?)
    7:13: error[config.bad-value]: invalid type: string "big", expected a whole number that is not negative
    8:14: error[config.bad-value]: tftp.data_ports: 9-3 is an empty range or starts at 0
    11:9: error[config.unknown-key]: there is no key `x46` (did you mean `x64`?)
    12:16: error[config.bad-value]: boot.menu_timeout: 90000 seconds are more than a day (86400); 0 waits for ever
    14:2: error[config.unknown-key]: there is no key `lisen` (did you mean `listen`?)
    18:8: error[config.bad-value]: listen.tftp: `69` is not an address for `tftp`: write ADDR:PORT, [IPV6]:PORT, :PORT or `off`
    20:1: error[config.bad-value]: machine[0]: a machine needs `mac` or `guid`
    24:7: error[config.bad-value]: machine[1].mac: `52:54` is not 6 bytes in hexadecimal
    25:8: error[config.bad-entry]: machine[1].boot: `a|b` cannot name an entry: `|` is not a letter, a digit or one of `.`, `_`, `-`, `/`
    "#);
}

#[test]
fn a_broken_text_names_line_and_column() {
    let complaints = complaints("images = \"/srv\"\n\nboot = [\nworkers 3\n");
    assert!(complaints[0].starts_with("4:"), "{complaints:?}");
    assert!(
        complaints[0].contains("error[config.syntax]"),
        "{complaints:?}"
    );
    assert!(!complaints.iter().any(|c| c.contains('\n')));
    assert!(parse("a = 1\na = 2").accept().is_err());
}

#[test]
fn warnings_do_not_refuse_a_file() {
    let loaded = parse("boot.response_delay = 60\n");
    assert_eq!(loaded.worst(), Some(Severity::Warning));
    let (config, warnings) = loaded.accept().unwrap();
    assert_eq!(config.boot.response_delay, 60);
    assert_eq!(
        warnings[0].to_string(),
        "/etc/bootstorm/bootstorm.toml:1:23: warning[config.delay-too-long]: \
         boot.response_delay: 60 s: most firmware asks for the last time after 28 s and would never be answered"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    let rejected = Config::load(&path).accept().unwrap_err();
    assert_eq!(rejected.diagnostics[0].code, "config.unreadable");
    assert!(rejected.to_string().contains("b.toml:1:1: error"));
    fs::write(&path, b"images = \"x\"\n# \xff\n").unwrap();
    let rejected = Config::load(&path).accept().unwrap_err();
    assert!(
        rejected
            .to_string()
            .contains("b.toml:2:3: error[config.syntax]")
    );
    let rejected = Config::load(folder.path()).accept().unwrap_err();
    assert_eq!(rejected.diagnostics[0].code, "config.unreadable");
}

#[test]
fn rubbish_ends_in_diagnostics() {
    for text in [
        "\u{0}",
        "[[machine]]\nmac = 1\n[[machine]]\nmac = []\n[machine]\n",
        "machine = 3",
        "boot = 1\ntftp = []\nlisten = \"x\"\ntls = {a={b={c=1}}}",
        "interfaces = [1, \"\", {}]",
        "boot.nbp.x64 = [1]",
        "\u{feff}images = 3",
        "workers = 99999999999999999999",
    ] {
        assert!(parse(text).accept().is_err(), "{text}");
    }
    let deep = format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(parse(&deep).accept().is_err());
}
