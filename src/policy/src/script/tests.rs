use std::borrow::Cow;

use bootstorm_catalog::{Content, Entry, EntryKind, Injected, LoadOptions, Startup, WimLoader};
use bootstorm_config::Scheme;
use bootstorm_proto::types::{ClientArch, Family, MacAddress};
use proptest::prelude::*;

use super::*;
use crate::decision::{Referral, Wait};
use crate::trail::OURSELVES;
use crate::{Choice, Does, Item, Page, Pages, Question};

mod again;
mod winpe;

fn render(plan: &BootPlan, urls: &Urls, machine: &Facts) -> String {
    super::render(plan, urls, machine, LocalBoot::default())
}

fn urls() -> Urls {
    Urls::new(Scheme::Http, "10.0.0.1", 8080)
}

fn machine(family: Family) -> Facts {
    Facts {
        mac: Some(MacAddress::new([0x52, 0x54, 0, 0x99, 0, 1])),
        family: Some(family),
        ..Facts::default()
    }
}

fn linux() -> Choice {
    choice(Entry::new(
        "debian-13",
        "Debian 13",
        EntryKind::Linux {
            kernel: "debian/vmlinuz".to_owned(),
            initrds: vec!["debian/initrd.img".to_owned(), "debian/my files".to_owned()],
            cmdline: "console=ttyS0 ip=dhcp".to_owned(),
        },
    ))
}

fn wim() -> Choice {
    choice(Entry::new(
        "winpe",
        "Windows PE",
        EntryKind::Wim {
            wim: "winpe.wim".to_owned(),
            index: 2,
            inject: vec![
                Injected::new("bootstorm.json", Content::Json(Startup::default().into())),
                Injected::new(
                    "winpeshl.ini",
                    Content::File("winpe/winpeshl.ini".to_owned()),
                ),
            ],
            wimboot: "boot/wimboot".to_owned(),
            args: String::new(),
            loader: WimLoader::Wimboot,
            options: LoadOptions::default(),
        },
    ))
}

fn efi() -> Choice {
    choice(Entry::new(
        "memtest",
        "Memory test",
        EntryKind::Efi {
            program: "memtest.efi".to_owned(),
            args: String::new(),
        },
    ))
}

fn iso(memdisk: Option<&str>) -> Choice {
    let image = "tools.iso".to_owned();
    Choice {
        memdisk: memdisk.map(str::to_owned),
        ..choice(Entry::new("tools", "Tools", EntryKind::Iso { image }))
    }
}

fn choice(entry: Entry) -> Choice {
    Choice {
        entry,
        memdisk: None,
        peers: None,
        manager: None,
    }
}

fn menu(choices: Vec<Choice>, default: Option<&str>) -> BootPlan {
    BootPlan::Menu(Menu {
        choices,
        default: default.map(str::to_owned),
        timeout: Duration::from_secs(10),
        notice: None,
    })
}

fn boot(choice: Choice, family: Family) -> String {
    render(
        &BootPlan::Entry(Box::new(choice)),
        &urls(),
        &machine(family),
    )
}

#[test]
fn a_linux_entry() {
    insta::assert_snapshot!(boot(linux(), Family::X64));
}

#[test]
fn a_windows_pe_entry() {
    insta::assert_snapshot!(boot(wim(), Family::X64));
}

#[test]
fn an_efi_program() {
    insta::assert_snapshot!(boot(efi(), Family::X64));
}

#[test]
fn an_iso_on_uefi_and_on_a_bios_with_memdisk() {
    insta::assert_snapshot!("iso_uefi", boot(iso(None), Family::X64));
    insta::assert_snapshot!("iso_bios", boot(iso(Some("boot/memdisk")), Family::Bios));
}

#[test]
fn a_menu_whose_default_is_the_local_disk() {
    let plan = menu(vec![linux(), efi()], None);
    insta::assert_snapshot!(render(&plan, &urls(), &machine(Family::X64)));
}

#[test]
fn a_menu_with_a_default_that_waits_for_ever() {
    let BootPlan::Menu(mut menu) = menu(vec![linux(), wim()], Some("winpe")) else {
        unreachable!();
    };
    menu.timeout = Duration::ZERO;
    let script = render(&BootPlan::Menu(menu), &urls(), &machine(Family::X64));
    assert!(script.contains("\nchoose --default entry-winpe chosen || goto local\n"));
}

#[test]
fn a_notice_stands_above_the_menu_in_lines_that_fit() {
    let BootPlan::Menu(mut menu) = menu(vec![linux()], None) else {
        unreachable!();
    };
    menu.notice = Some(Reason {
        code: "policy.unknown-entry",
        text: Cow::from(
            "there is no entry `windows-11-of-the-accounting-department-in-the-cellar`",
        ),
    });
    let script = render(&BootPlan::Menu(menu), &urls(), &machine(Family::X64));
    let gaps: Vec<_> = script
        .lines()
        .filter_map(|line| line.strip_prefix("item --gap"))
        .collect();
    assert!(gaps[0].contains("policy.unknown-entry"));
    assert!(
        gaps.iter().all(|line| line.len() <= MENU_WIDTH + 1),
        "{gaps:?}"
    );
    assert_eq!(gaps.len(), 3);
}

#[test]
fn a_machine_that_nobody_knows_is_asked_first_and_gets_the_menu_all_the_same() {
    let plan = menu(vec![linux()], None);
    let script = render(&plan, &urls(), &Facts::default());
    insta::assert_snapshot!(script);
    let asked = Facts {
        asked: true,
        ..Facts::default()
    };
    assert!(!render(&plan, &urls(), &asked).contains("params"));
}

#[test]
fn the_local_disk_and_a_refusal() {
    insta::assert_snapshot!(
        render(&BootPlan::Local, &urls(), &machine(Family::Bios)),
        @r"
    #!ipxe
    # bootstorm: local
    echo Going on to the next boot device.
    exit 1
    "
    );
    let reason = Reason {
        code: "policy.refused",
        text: Cow::from("not today"),
    };
    insta::assert_snapshot!(
        render(&BootPlan::Refuse(reason.clone()), &urls(), &machine(Family::Bios)),
        @r"
    #!ipxe
    # bootstorm: refuse
    echo [policy.refused] not today
    prompt --timeout 15000 The next boot device follows in 15 seconds, or at a key. ||
    exit 1
    "
    );
    assert_eq!(
        super::refusal(&reason, LocalBoot::default()),
        render(&BootPlan::Refuse(reason), &urls(), &Facts::default())
    );
}

#[test]
fn an_initrd_of_the_command_line_is_left_alone() {
    let entry = Entry::new(
        "x",
        "X",
        EntryKind::Linux {
            kernel: "vmlinuz".to_owned(),
            initrds: vec!["initrd".to_owned()],
            cmdline: "initrd=own.img quiet".to_owned(),
        },
    );
    let script = boot(choice(entry), Family::X64);
    assert!(script.contains("\nkernel vmlinuz initrd=own.img quiet || "));
}

#[test]
fn what_cannot_be_written_leads_to_the_reason() {
    let entry = Entry::new(
        "x",
        "X",
        EntryKind::Linux {
            kernel: "vmlinuz".to_owned(),
            initrds: Vec::new(),
            cmdline: "a\nexit".to_owned(),
        },
    );
    let script = boot(choice(entry), Family::X64);
    assert!(script.contains("set step [policy.unsafe-value] the command line"));
    assert!(!script.contains("\nkernel"));
    let mut wim = wim();
    if let EntryKind::Wim { inject, .. } = &mut wim.entry.kind {
        inject[0].name = "a b.ini".to_owned();
    }
    assert!(boot(wim, Family::X64).contains("[policy.unsafe-value] the file name"));
}

#[test]
fn arch_and_platform_both_tell_the_family() {
    let facts = |query: &[u8]| Facts::from(&ipxe::Params::parse(query));
    let dhcp = facts(b"mac=52:54:00:99:00:01&arch=9&uuid=11223344-5566-7788-99aa-bbccddeeff00");
    assert_eq!(dhcp.arch(), Some(ClientArch(9)));
    assert_eq!(dhcp.family, Some(Family::X64));
    assert!(dhcp.guid.is_some() && !dhcp.is_unknown());
    let ipxe = facts(b"platform=efi&buildarch=arm64&asked=1");
    assert_eq!(ipxe.family, Some(Family::Arm64));
    assert!(ipxe.asked && !ipxe.is_unknown());
    assert_eq!(
        facts(b"platform=pcbios&buildarch=i386").family,
        Some(Family::Bios)
    );
    assert_eq!(facts(b"arch=99999").family, None);
    assert!(facts(b"").is_unknown());
}

#[test]
fn twopxe_10_passwords_travel_in_forms_alone() {
    let pages = |does, unlocked| {
        let item = Item {
            number: 0,
            text: "x".to_owned(),
            key: None,
            does,
        };
        let page = Page {
            name: "first".to_owned(),
            title: None,
            timeout: Duration::ZERO,
            default: None,
            picture: None,
            colours: None,
            items: vec![item],
        };
        let pages = Pages {
            pages: vec![page],
            notice: None,
            unlocked,
        };
        render(&BootPlan::Pages(pages), &urls(), &talkative())
    };
    let secret = "param --params machine password ${password} ||\n";
    for (does, unlocked) in [
        (Does::Unlock("technicians".to_owned()), false),
        (Does::Ask, true),
    ] {
        let script = pages(does, unlocked);
        assert!(script.contains(secret), "{script}");
        assert!(!script.contains("password=") && !script.contains("ask-by-query"));
        assert!(script.contains("params --name machine || goto menu-first\n"));
    }
    let open = pages(Does::Ask, false);
    assert!(
        !open.contains("password") && open.contains(":ask-by-query\n"),
        "{open}"
    );
}

#[test]
fn twopxe_13_the_way_out_is_configured() {
    let ends = |leaving, count: usize| {
        let script = super::render(&BootPlan::Local, &urls(), &machine(Family::X64), leaving);
        let lines: Vec<&str> = script.lines().collect();
        lines[lines.len() - count..].join("\n")
    };
    assert_eq!(ends(LocalBoot::Exit1, 1), "exit 1");
    assert_eq!(ends(LocalBoot::Exit0, 1), "exit 0");
    assert_eq!(
        ends(LocalBoot::SanBoot, 2),
        "sanboot --no-describe --drive 0x80 ||\nexit 1"
    );
    assert_eq!(ends(LocalBoot::Reboot, 2), "reboot ||\nexit 1");
    assert_eq!(ends(LocalBoot::PowerOff, 2), "poweroff ||\nexit 1");
    let reason = Reason {
        code: "boot.done",
        text: "done".into(),
    };
    assert!(to_disk(&reason, LocalBoot::Reboot).ends_with("\nreboot ||\nexit 1\n"));
    let refused = super::refusal(&reason, LocalBoot::PowerOff);
    assert!(refused.contains("switched off in 15 seconds"), "{refused}");
    assert!(refused.ends_with("\npoweroff ||\nexit 1\n"), "{refused}");
}

#[test]
fn twopxe_34_where_nobody_has_decided_anything_the_next_device_follows_within_two_seconds() {
    let reason = Reason {
        code: "policy.all-passed",
        text: "no provider serves this machine".into(),
    };
    for plan in [BootPlan::Local, BootPlan::Refuse(reason)] {
        let script = render(&plan, &urls(), &machine(Family::Bios));
        let waits = script.lines().filter_map(|line| {
            let time = line.strip_prefix("prompt --timeout ")?;
            time.split(' ').next()?.parse::<u32>().ok()
        });
        assert!(waits.sum::<u32>() <= 2000, "{script}");
        assert!(!script.contains("sleep"), "{script}");
        assert!(script.ends_with("\nexit 1\n"), "{script}");
    }
}

/// Nothing in the script leads back, so it runs once, and what it loads takes its place.
fn assert_runs_once(script: &str) {
    let lines: Vec<&str> = script.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        if let Some((_, label)) = line.split_once("goto ") {
            let label = label.trim_end_matches(" ||");
            let target = lines.iter().position(|l| *l == format!(":{label}"));
            assert!(target.unwrap() > number, "{line}");
        }
        assert!(!line.contains("chain ") || line.contains("chain --replace "));
    }
    assert_eq!(lines.last(), Some(&"exit 1"));
}

fn wait(every: Duration) -> BootPlan {
    BootPlan::Wait(Wait {
        reason: Reason {
            code: "approval.pending",
            text: "Somebody has to let this machine in.".into(),
        },
        every,
        request: Some("7F3K".to_owned()),
    })
}

#[test]
fn twopxe_30_a_machine_that_waits_shows_its_request_and_asks_again_in_place_of_itself() {
    let urls = urls().with_token("00ff");
    let script = render(&wait(Duration::from_secs(5)), &urls, &machine(Family::X64));
    insta::assert_snapshot!(script);
    assert_runs_once(&script);
    let asks = "http://10.0.0.1:8080/boot?token=00ff##params=machine";
    assert_eq!(script.matches(asks).count(), 4);
    // A server that forgets to say when is not asked without a pause.
    let script = render(&wait(Duration::ZERO), &urls, &machine(Family::X64));
    assert!(script.contains("\nsleep 1\n"), "{script}");
}

/// A machine that has told more than iPXE knows by itself, and has been given secrets.
fn talkative() -> Facts {
    let told = [
        ("offerid", "SMS 1 || shell"),
        ("token", "00fe"),
        ("tokenid", "17"),
        ("password", "4711"),
        ("via", "aaaa"),
        ("asked", "1"),
    ];
    Facts {
        other: told.map(|(name, value)| (name.into(), value.into())).into(),
        ..machine(Family::X64)
    }
}

#[test]
fn twopxe_26_another_server_learns_nothing_that_this_one_gave_the_machine() {
    let plan = BootPlan::Refer(Referral {
        url: "http://other.lan:8050/2PXE/boot?site=a,b".to_owned(),
        tftp: None,
    });
    let urls = urls().with_token("00ff");
    let script = render(&plan, &urls, &talkative());
    let script = script.replace(OURSELVES.as_str(), "OURSELVES");
    insta::assert_snapshot!(script);
    assert_runs_once(&script);
    for own in ["10.0.0.1", "token", "00ff", "00fe", "asked", "4711"] {
        assert!(!script.contains(own), "{own}");
    }
}

#[test]
fn twopxe_05_scripts_carry_on_what_the_machine_has_told() {
    let urls = urls().with_token("00ff");
    let item = |does, number| Item {
        number,
        text: "x".to_owned(),
        key: None,
        does,
    };
    let menu = BootPlan::Pages(Pages {
        pages: vec![Page {
            name: "first".to_owned(),
            title: None,
            timeout: Duration::ZERO,
            default: None,
            picture: None,
            colours: None,
            items: vec![item(Does::Ask, 0)],
        }],
        notice: None,
        unlocked: false,
    });
    let carried = "http://10.0.0.1:8080/boot?token=00ff&offerid=SMS%201%20%7C%7C%20shell\
                   &tokenid=17&via=aaaa";
    for (plan, asks) in [(wait(Duration::from_secs(1)), 4), (menu, 1)] {
        let script = render(&plan, &urls, &talkative());
        let form = format!(" {carried}##params=machine");
        assert_eq!(script.matches(&form).count(), asks, "{script}");
        let query = format!(" {carried}&asked=1&");
        assert_eq!(script.matches(&query).count(), asks, "{script}");
    }
    let unknown = Facts {
        mac: None,
        other: vec![("offerid".to_owned(), "7".to_owned())],
        ..talkative()
    };
    let script = render(&wait(Duration::ZERO), &self::urls(), &unknown);
    assert!(
        script.contains("/boot?offerid=7##params=machine"),
        "{script}"
    );
    let flood = Facts {
        other: vec![
            ("a".to_owned(), "\u{20ac}".repeat(1000)),
            ("b".to_owned(), "1".to_owned()),
        ],
        ..machine(Family::X64)
    };
    let script = render(&wait(Duration::ZERO), &self::urls(), &flood);
    assert!(script.contains("/boot?b=1##params=machine"), "{script}");
}

#[test]
fn wds_07_people_are_asked_before_the_boot_or_can_keep_it_from_happening() {
    let question = Question {
        opt_in: true,
        key: None,
        text: None,
        timeout: Duration::from_secs(10),
    };
    let ask = |question: Question| {
        let plan = BootPlan::Ask(question, Box::new(BootPlan::Entry(Box::new(efi()))));
        let script = render(&plan, &urls(), &machine(Family::X64));
        let asked = script.split("imgfree").next().unwrap().to_owned();
        assert!(script.len() > asked.len());
        asked
    };
    insta::assert_snapshot!(ask(question.clone()), @r"
    #!ipxe
    # bootstorm: memtest
    prompt --timeout 10000 Press ENTER for network boot... && goto network-boot ||
    echo Going on to the next boot device.
    exit 1
    :network-boot
    ");
    let own = Question {
        opt_in: false,
        key: Some("f12".parse().unwrap()),
        text: Some("-- F12 || exit".to_owned()),
        ..question
    };
    insta::assert_snapshot!(ask(own), @r"
    #!ipxe
    # bootstorm: memtest
    prompt --key 0x197e --timeout 10000 '-- F12 '|| exit || goto network-boot
    echo Going on to the next boot device.
    exit 1
    :network-boot
    ");
}

#[test]
fn who_a_machine_is_is_asked_before_people_are() {
    let question = Question {
        opt_in: true,
        key: None,
        text: None,
        timeout: Duration::from_secs(10),
    };
    let plan = BootPlan::Ask(question, Box::new(menu(vec![linux()], None)));
    let script = render(&plan, &urls(), &Facts::default());
    assert_eq!(script.matches("##params=machine").count(), 1);
    assert!(script.find("##params=machine") < script.find("prompt "));
}

/// The words that begin the commands of our scripts.
const COMMANDS: [&str; 22] = [
    "#", "#!ipxe", "boot", "chain", "choose", "echo", "exit", "goto", "imgfetch", "imgfree", "inc",
    "initrd", "iseq", "item", "kernel", "menu", "param", "params", "prompt", "sanboot", "set",
    "sleep",
];

/// The settings that our scripts expand.
const OWN_SETTINGS: [&str; 8] = [
    "amp:string",
    "bar:string",
    "chosen",
    "hash:string",
    "here",
    "semi:string",
    "step",
    "wait",
];

proptest! {
    #[test]
    fn no_string_of_a_machine_or_a_file_adds_a_command(text in "\\PC*|[\\x00-\\x7f]*", id in "[a-z0-9._-]{1,12}") {
        let entry = Entry::new(
            id,
            text.clone(),
            EntryKind::Linux {
                kernel: text.clone(),
                initrds: vec![text.clone()],
                cmdline: text.clone(),
            },
        );
        let facts = Facts {
            manufacturer: Some(text.clone()),
            product: Some(text.clone()),
            serial: Some(text.clone()),
            ..machine(Family::X64)
        };
        let notice = Reason { code: "policy.unknown-entry", text: Cow::from(text.clone()) };
        let plan = BootPlan::Menu(Menu {
            choices: vec![choice(entry)],
            default: None,
            timeout: Duration::from_secs(1),
            notice: Some(notice),
        });
        let harmless = render(
            &menu(vec![linux()], None),
            &urls(),
            &machine(Family::X64),
        );
        let script = render(&plan, &urls(), &facts);
        for line in script.lines() {
            let first = line.split(' ').next().unwrap_or_default();
            prop_assert!(COMMANDS.contains(&first) || first.starts_with(':'), "{line}");
            let ends = line.split(' ').filter(|w| ["||", "&&", ";"].contains(w)).count();
            prop_assert!(ends <= usize::from(first == "iseq") + 1, "{line}");
            // Only our own settings are expanded.
            for (at, _) in line.match_indices("${") {
                let name = line[at + 2..].split('}').next().unwrap_or_default();
                prop_assert!(OWN_SETTINGS.contains(&name), "{line}");
            }
        }
        prop_assert_eq!(
            script.lines().filter(|l| l.starts_with("exit")).count(),
            harmless.lines().filter(|l| l.starts_with("exit")).count()
        );
    }
}
