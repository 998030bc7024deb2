use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bootstorm_catalog::{Entry, EntryKind, File, Mapping, Snapshot};
use bootstorm_config::{AnswerTo, Config, Machine, PolicyPlace, RequestFrom, Scheme};
use bootstorm_proto::dhcp::Asker;
use bootstorm_proto::types::{ClientArch, Family};

use super::*;
use crate::Menu;

const MAC: MacAddress = MacAddress::new([0x52, 0x54, 0, 0x99, 0, 1]);

fn guid() -> MachineGuid {
    "4c4c4544-0042-3510-8052-b3c04f4b4e32".parse().unwrap()
}

/// A catalog with these files, each one byte long but those that end in `.empty`.
fn catalog(paths: &[&str], entries: Vec<Entry>) -> Arc<Catalog> {
    let folder = tempfile::tempdir().unwrap();
    let files = paths.iter().enumerate().map(|(number, path)| {
        let copy = folder.path().join(number.to_string());
        let content: &[u8] = if path.ends_with(".empty") { b"" } else { b"x" };
        std::fs::write(&copy, content).unwrap();
        Arc::new(File {
            path: Arc::from(*path),
            content: Mapping::open(&copy).unwrap(),
            sha256: [0; 32],
            modified: SystemTime::UNIX_EPOCH,
        })
    });
    let catalog = Catalog::default();
    catalog.publish(Snapshot::new(files, entries));
    Arc::new(catalog)
}

fn policy(catalog: Arc<Catalog>, change: impl FnOnce(&mut Config)) -> Policy {
    let mut config = Config::for_system();
    change(&mut config);
    Policy::new(Rules::from(&config), Ports::from(&config.listen), catalog)
}

fn debian_nbps() -> Arc<Catalog> {
    catalog(
        &["boot/undionly.kpxe", "boot/snponly.efi", "boot/ipxe.efi"],
        Vec::new(),
    )
}

fn client(asker: Asker, arches: &[u16]) -> ClientFacts {
    let local = IpAddr::from([10, 0, 0, 1]);
    ClientFacts {
        guid: Some(guid()),
        arches: arches.iter().copied().map(ClientArch).collect(),
        interface: 2,
        ..ClientFacts::new(MAC.into(), asker, ClientArch(0), local)
    }
}

/// The file, or the code of the silence.
fn answer(policy: &Policy, client: &ClientFacts) -> String {
    match policy.dhcp(client) {
        Answer::Boot { file, .. } => file.to_string(),
        Answer::Silent { code, text } => {
            assert!(!text.is_empty());
            code.to_owned()
        }
        Answer::Later | Answer::Wds(_) => panic!("nobody is asked"),
    }
}

fn entry(id: &str, kind: EntryKind, families: &[Family]) -> Entry {
    Entry {
        families: families.to_vec(),
        ..Entry::new(id, id, kind)
    }
}

fn linux(id: &str) -> Entry {
    let kind = EntryKind::Linux {
        kernel: format!("{id}/vmlinuz"),
        initrds: Vec::new(),
        cmdline: String::new(),
    };
    entry(id, kind, &[])
}

fn efi(id: &str, families: &[Family]) -> Entry {
    let program = format!("{id}.efi");
    let args = String::new();
    entry(id, EntryKind::Efi { program, args }, families)
}

fn facts(family: Family) -> Facts {
    Facts {
        mac: Some(MAC),
        family: Some(family),
        ..Facts::default()
    }
}

fn stored(boot: &str) -> crate::Machine {
    crate::Machine {
        macs: vec![MAC],
        boot: Some(boot.to_owned()),
        known: true,
        ..crate::Machine::default()
    }
}

fn menu_of(plan: BootPlan) -> Menu {
    match plan {
        BootPlan::Menu(menu) => menu,
        other => panic!("{other:?}"),
    }
}

fn ids(menu: &Menu) -> Vec<&str> {
    menu.choices.iter().map(|c| c.entry.id.as_str()).collect()
}

#[test]
fn every_family_gets_the_first_boot_program_that_is_there() {
    let policy = policy(debian_nbps(), |_| ());
    let nbp = |arches: &[u16]| answer(&policy, &client(Asker::Firmware, arches));
    assert_eq!(nbp(&[0]), "undionly.kpxe");
    assert_eq!(nbp(&[7]), "snponly.efi");
    assert_eq!(nbp(&[9]), "snponly.efi");
    assert_eq!(nbp(&[11]), "policy.no-nbp");
    assert_eq!(nbp(&[13]), "policy.no-family");
    assert_eq!(nbp(&[11, 13, 7]), "snponly.efi");
    let only_full = super::tests::policy(catalog(&["BOOT/IPXE.EFI"], Vec::new()), |_| ());
    let nbp = answer(&only_full, &client(Asker::Firmware, &[7]));
    assert_eq!(nbp, "ipxe.efi");
}

#[test]
fn a_missing_boot_program_says_what_to_put_where() {
    let policy = policy(debian_nbps(), |_| ());
    let Answer::Silent { text, .. } = policy.dhcp(&client(Asker::Firmware, &[11])) else {
        panic!();
    };
    assert!(text.contains("snponly-arm64.efi"), "{text}");
    assert!(text.contains("boot/"), "{text}");
    assert!(text.contains("boot.nbp.arm64"), "{text}");
    assert!(text.contains("ARM 64-bit UEFI (11)"), "{text}");
}

#[test]
fn configured_boot_programs_replace_the_list() {
    let files = ["boot/snponly.efi", "boot/shimx64.efi", "secure/other.efi"];
    let nbp = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let policy = policy(catalog(&files, Vec::new()), |c| {
            c.boot.nbp.insert(Family::X64, names);
        });
        answer(&policy, &client(Asker::Firmware, &[7]))
    };
    assert_eq!(nbp(&["shimx64.efi"]), "shimx64.efi");
    assert_eq!(
        nbp(&["missing.efi", "secure/other.efi"]),
        "secure/other.efi"
    );
    assert_eq!(nbp(&["missing.efi"]), "policy.no-nbp");
}

#[test]
fn ipxe_gets_the_url_of_its_script_with_what_dhcp_knows() {
    let catalog = debian_nbps();
    let url = |change: fn(&mut Config), local: IpAddr| {
        let facts = ClientFacts {
            local,
            ..client(Asker::Ipxe, &[7])
        };
        answer(&policy(catalog.clone(), change), &facts)
    };
    let v4 = IpAddr::from([10, 0, 0, 1]);
    let query = "mac=52:54:00:99:00:01&arch=7&uuid=4c4c4544-0042-3510-8052-b3c04f4b4e32";
    assert_eq!(
        url(|_| (), v4),
        format!("http://10.0.0.1:8080/boot?{query}")
    );
    assert_eq!(
        url(|_| (), "2001:db8::1".parse().unwrap()),
        format!("http://[2001:db8::1]:8080/boot?{query}")
    );
    assert_eq!(
        url(|_| (), "::ffff:10.0.0.1".parse().unwrap()),
        format!("http://10.0.0.1:8080/boot?{query}")
    );
    let https = |c: &mut Config| {
        c.boot.script_scheme = Scheme::Https;
        c.host = Some("boot.lan".to_owned());
    };
    assert_eq!(
        url(https, v4),
        format!("https://boot.lan:8050/boot?{query}")
    );
    let off = |c: &mut Config| c.listen.set("http=off").unwrap();
    assert_eq!(url(off, v4), "policy.no-listener");
}

#[test]
fn the_usual_script_url_fits_into_the_file_field() {
    let policy = policy(debian_nbps(), |c| {
        c.listen.set("http=:65535").unwrap();
    });
    let facts = ClientFacts {
        local: IpAddr::from([192, 168, 100, 100]),
        ..client(Asker::Ipxe, &[11])
    };
    assert!(answer(&policy, &facts).len() <= 127);
}

#[test]
fn ipxe_without_the_scheme_is_told_so_and_without_flags_is_trusted() {
    let catalog = debian_nbps();
    let url = |features: u64, scheme: Scheme| {
        let policy = policy(catalog.clone(), |c| c.boot.script_scheme = scheme);
        let facts = ClientFacts {
            ipxe_features: features,
            ..client(Asker::Ipxe, &[7])
        };
        answer(&policy, &facts)
    };
    // The flags that Debian's iPXE of 2019 sends: HTTP but no HTTPS.
    let old = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7;
    assert!(url(old, Scheme::Http).starts_with("http://"));
    assert_eq!(url(old, Scheme::Https), "policy.ipxe-no-https");
    assert!(url(old | 1 << 4, Scheme::Https).starts_with("https://"));
    assert_eq!(url(1 << 5, Scheme::Http), "policy.ipxe-no-http");
    assert!(url(0, Scheme::Https).starts_with("https://"));
}

#[test]
fn http_firmware_gets_its_program_or_the_boot_program() {
    let entries = vec![efi("memtest", &[Family::X64]), linux("debian")];
    let catalog = catalog(&["boot/snponly.efi", "memtest.efi"], entries);
    let url = |default: Option<&str>, arch: u16| {
        let policy = policy(catalog.clone(), |c| {
            c.boot.default = default.map(str::to_owned);
        });
        answer(&policy, &client(Asker::HttpFirmware, &[arch]))
    };
    let nbp = "http://10.0.0.1:8080/images/boot/snponly.efi";
    assert_eq!(url(None, 16), nbp);
    assert_eq!(url(Some("debian"), 16), nbp);
    assert_eq!(
        url(Some("memtest"), 16),
        "http://10.0.0.1:8080/images/memtest.efi"
    );
    assert_eq!(url(Some("memtest"), 19), "policy.no-nbp");
    let https = policy(catalog.clone(), |c| {
        c.boot.http_boot_scheme = Scheme::Https;
        c.machines = vec![Machine {
            mac: Some(MAC),
            guid: None,
            name: None,
            boot: Some("memtest".to_owned()),
        }];
    });
    let facts = client(Asker::HttpFirmware, &[16]);
    let url = "https://10.0.0.1:8050/images/memtest.efi";
    assert_eq!(answer(&https, &facts), url);
    https.machines().set_all([stored("local")]);
    assert_eq!(answer(&https, &facts), "policy.local-disk");
}

#[test]
fn nobody_is_sent_to_tftp_that_is_off() {
    let policy = policy(debian_nbps(), |c| c.listen.set("tftp=off").unwrap());
    let facts = client(Asker::Firmware, &[7]);
    assert_eq!(answer(&policy, &facts), "policy.no-listener");
    policy.set_ports(Ports {
        tftp: Some(69),
        ..Ports::default()
    });
    assert_eq!(answer(&policy, &facts), "snponly.efi");
}

#[test]
fn without_a_word_the_menu_leads_to_the_local_disk() {
    let entries = vec![linux("debian"), efi("memtest", &[Family::X64])];
    let policy = policy(catalog(&[], entries), |_| ());
    let menu = menu_of(policy.boot(&facts(Family::X64)));
    assert_eq!(ids(&menu), ["debian", "memtest"]);
    assert_eq!((menu.default.as_deref(), &menu.notice), (None, &None));
    assert_eq!(menu.timeout, Duration::from_secs(10));
    assert_eq!(ids(&menu_of(policy.boot(&facts(Family::Bios)))), ["debian"]);
    let unknown = menu_of(policy.boot(&Facts::default()));
    assert_eq!(ids(&unknown), ["debian", "memtest"]);
}

#[test]
fn hidden_and_unbootable_entries_are_not_offered() {
    let mut hidden = linux("hidden");
    hidden.hidden = true;
    let mut broken = linux("broken");
    broken.unbootable = Some(Reason {
        code: "images.wim-truncated",
        text: Cow::from("cut off"),
    });
    let catalog = catalog(&[], vec![hidden, broken, linux("debian")]);
    let with = |default: &str| {
        let policy = policy(catalog.clone(), |c| {
            c.boot.default = Some(default.to_owned())
        });
        menu_of(policy.boot(&facts(Family::X64)))
    };
    assert_eq!(ids(&with("local")), ["debian"]);
    let hidden = with("hidden");
    assert_eq!(ids(&hidden), ["debian", "hidden"]);
    assert_eq!(hidden.default.as_deref(), Some("hidden"));
    let broken = with("broken");
    assert_eq!(broken.default, None);
    assert_eq!(broken.notice.unwrap().code, "images.wim-truncated");
}

#[test]
fn an_assignment_goes_before_the_default() {
    let entries = vec![
        linux("debian"),
        linux("rescue"),
        efi("memtest", &[Family::X64]),
    ];
    let catalog = catalog(&[], entries);
    let assigned = |boot: &str, family: Family| {
        let policy = policy(catalog.clone(), |c| {
            c.boot.default = Some("debian".to_owned())
        });
        policy.machines().set_all([stored(boot)]);
        policy.boot(&facts(family))
    };
    assert_eq!(assigned("rescue", Family::X64).name(), "rescue");
    assert_eq!(assigned("local", Family::X64), BootPlan::Local);
    let menu = menu_of(assigned("menu", Family::X64));
    assert_eq!(menu.default.as_deref(), Some("debian"));
    for (boot, family, code) in [
        ("windows", Family::X64, "policy.unknown-entry"),
        ("memtest", Family::Bios, "policy.wrong-family"),
    ] {
        let menu = menu_of(assigned(boot, family));
        assert_eq!(menu.notice.unwrap().code, code);
        assert_eq!(menu.default, None, "the default is somebody else's wish");
    }
}

#[test]
fn the_store_goes_before_the_configuration_and_the_guid_before_the_mac() {
    let names = ["a", "b", "c"];
    let catalog = catalog(&[], names.map(linux).to_vec());
    let machine = |mac, guid, boot: &str| Machine {
        mac,
        guid,
        name: None,
        boot: Some(boot.to_owned()),
    };
    let policy = policy(catalog, |c| {
        c.machines = vec![
            machine(Some(MAC), None, "a"),
            machine(None, Some(guid()), "b"),
        ];
    });
    let boots = |guid: Option<MachineGuid>| {
        let facts = Facts {
            guid,
            ..facts(Family::X64)
        };
        policy.boot(&facts).name().to_owned()
    };
    assert_eq!(boots(None), "a");
    assert_eq!(boots(Some(guid())), "b");
    assert_eq!(boots(Some(MachineGuid::from_wire([0xff; 16]))), "a");
    policy.machines().set_all([stored("c")]);
    assert_eq!(boots(Some(guid())), "c");
    policy.machines().set_all([]);
    assert_eq!(boots(Some(guid())), "b");
}

#[test]
fn rules_are_replaced_as_a_whole() {
    let catalog = catalog(&[], vec![linux("debian")]);
    let policy = policy(catalog, |c| c.boot.default = Some("debian".to_owned()));
    let default = |policy: &Policy| menu_of(policy.boot(&facts(Family::X64))).default;
    assert_eq!(default(&policy).as_deref(), Some("debian"));
    policy.set_rules(Rules::from(&Config::for_system()));
    assert_eq!(default(&policy), None);
}

#[test]
fn empty_initrds_are_left_out() {
    let mut entry = linux("debian");
    if let EntryKind::Linux { initrds, .. } = &mut entry.kind {
        *initrds = vec!["initrd".to_owned(), "none.empty".to_owned()];
    }
    let policy = policy(catalog(&["initrd", "none.empty"], vec![entry]), |_| ());
    let menu = menu_of(policy.boot(&facts(Family::Bios)));
    let EntryKind::Linux { initrds, .. } = &menu.choices[0].entry.kind else {
        panic!();
    };
    assert_eq!(initrds, &["initrd"]);
}

#[test]
fn memdisk_is_for_isos_on_a_bios() {
    let image = "tools.iso".to_owned();
    let iso = entry("tools", EntryKind::Iso { image }, &[]);
    let policy = policy(catalog(&["boot/memdisk"], vec![iso, linux("x")]), |_| ());
    let memdisks = |family| {
        let menu = menu_of(policy.boot(&facts(family)));
        let memdisks = menu.choices.into_iter().map(|c| c.memdisk);
        memdisks.collect::<Vec<_>>()
    };
    assert_eq!(
        memdisks(Family::Bios),
        [Some("boot/memdisk".to_owned()), None]
    );
    assert_eq!(memdisks(Family::X64), [None, None]);
}

#[test]
fn the_response_delay_is_not_for_assigned_machines() {
    let policy = policy(debian_nbps(), |c| c.policy.delay = 4);
    let delay = || match policy.dhcp(&client(Asker::Firmware, &[7])) {
        Answer::Boot { delay, .. } => Some(delay),
        Answer::Silent { .. } | Answer::Later | Answer::Wds(_) => None,
    };
    assert_eq!(delay(), Some(4));
    policy.machines().set_all([stored("local")]);
    assert_eq!(delay(), Some(0));
}

#[test]
fn a_banned_machine_gets_neither_a_program_nor_a_script() {
    let ban = |banned: &str| {
        let banned = banned.parse().unwrap();
        policy(debian_nbps(), |c| c.classifier.banned = vec![banned])
    };
    let code = |policy: &Policy| match policy.dhcp(&client(Asker::Firmware, &[7])) {
        Answer::Silent { code, .. } => code,
        Answer::Boot { .. } | Answer::Later | Answer::Wds(_) => "",
    };
    assert_eq!(code(&ban(&MAC.to_string())), "classifier.banned-mac");
    assert_eq!(code(&ban("52:54:00:99:00:02")), "");
    let by_guid = ban(&guid().to_string());
    assert_eq!(code(&by_guid), "classifier.banned-guid");
    let facts = Facts {
        guid: Some(guid()),
        ..facts(Family::X64)
    };
    let BootPlan::Refuse(reason) = by_guid.boot(&facts) else {
        panic!("it got a script");
    };
    assert_eq!(reason.code, "classifier.banned-guid");
}

#[test]
fn wds_04_a_ban_of_a_beginning_is_one_of_all_that_begin_so() {
    let answer = |banned: &str| {
        let banned = banned.parse().unwrap();
        let policy = policy(debian_nbps(), |c| c.classifier.banned = vec![banned]);
        answer(&policy, &client(Asker::Firmware, &[7]))
    };
    assert_eq!(answer("52:54:00:*"), "classifier.banned-mac");
    assert_eq!(answer("52:54:01:*"), "snponly.efi");
    let whole = guid().to_string();
    assert_eq!(
        answer(&format!("{}-*", &whole[..8])),
        "classifier.banned-guid"
    );
    assert_eq!(answer("00000001-*"), "snponly.efi");
    for wrong in ["5254*", "*", "52:54:zz:*", "5254:00:*"] {
        assert!(
            wrong.parse::<bootstorm_config::Banned>().is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn twopxe_02_the_script_url_is_the_same_however_the_host_is_written() {
    let url_of = |text: &str| {
        let loaded = Config::parse(text, std::path::Path::new("bootstorm.toml"));
        let (config, _) = loaded.accept().unwrap();
        let policy = policy(debian_nbps(), |c| *c = config);
        answer(&policy, &client(Asker::Ipxe, &[7]))
    };
    let plain = url_of("host = \"boot.example.net\"\n");
    assert!(
        plain.starts_with("http://boot.example.net:8080/boot?mac="),
        "{plain}"
    );
    assert_eq!(url_of("host = \"BOOT.Example.NET\"\n"), plain);
    // A scheme, a port or a slash would stand in the URL twice.
    for bad in ["http://boot", "boot:8080", "boot/"] {
        let text = format!("host = \"{bad}\"\n");
        let loaded = Config::parse(&text, std::path::Path::new("bootstorm.toml"));
        assert!(loaded.accept().is_err(), "{bad}");
    }
}

mod approvals;
mod known;
mod windows;
