use std::time::Duration;

use bootstorm_catalog::{Entry, EntryKind};
use bootstorm_config::{LocalBoot, MenuColours, Scheme};
use bootstorm_proto::ipxe::Params;

use super::*;
use crate::{Choice, Urls, script};

fn item(text: &str, does: ItemAction) -> MenuItem {
    MenuItem {
        name: Some(text.to_lowercase()),
        text: text.to_owned(),
        key: text.chars().next().map(|first| first.to_ascii_lowercase()),
        when: None,
        arguments: None,
        does,
    }
}

fn boots(choice: &str) -> ItemAction {
    ItemAction::Boot(choice.parse().unwrap())
}

fn menu(name: &str, lock: Option<MenuLock>, items: Vec<MenuItem>) -> MenuConfig {
    MenuConfig {
        name: name.to_owned(),
        title: (name == "main").then(|| "Lab 3 || exit".to_owned()),
        timeout: Duration::from_secs(10),
        default: Some("debian".to_owned()),
        picture: (name == "main").then(|| "lab 3.png".to_owned()),
        colours: None,
        lock,
        items,
    }
}

/// A menu with a submenu, and one for technicians that has a submenu of its own.
fn menus() -> Menus {
    let mut heading = item("Install", ItemAction::Gap);
    heading.key = None;
    Menus::new(&[
        menu(
            "main",
            None,
            vec![
                heading,
                item("Debian", boots("debian")),
                item("Elsewhere", boots("bios-only")),
                item("Missing", boots("missing")),
                item("More", boots("menu:more")),
                item("Technicians", boots("menu:tech")),
                item("Reboot", ItemAction::Reboot),
                item("Off", ItemAction::PowerOff),
            ],
        ),
        menu("more", None, vec![item("Local", boots("local"))]),
        menu(
            "tech",
            Some(MenuLock::Pin("4711".to_owned())),
            vec![
                item("Shell", ItemAction::Shell),
                item("Wipe", boots("script:wipe")),
                item("Deep", boots("menu:deep")),
            ],
        ),
        menu("deep", None, vec![item("Debian", boots("debian"))]),
        menu("alone", None, vec![item("Debian", boots("debian"))]),
    ])
}

fn entry(id: &str) -> BootPlan {
    let kind = EntryKind::Efi {
        program: format!("{id}.efi"),
        args: String::new(),
    };
    BootPlan::Entry(Box::new(Choice {
        entry: Entry::new(id, id, kind),
        memdisk: None,
        peers: None,
        manager: None,
    }))
}

/// What the menu `main` becomes for a machine that sends this form.
fn plan(menus: &Menus, form: &str) -> BootPlan {
    let facts = Facts::from(&Params::parse(form.as_bytes()));
    let identity = Identity {
        mac: facts.mac,
        guid: facts.guid,
        ..Identity::default()
    };
    let known = || facts.to_json(&identity, None);
    menus.plan(
        "main",
        &facts,
        &identity,
        &known,
        &|choice, _| match choice {
            BootChoice::Entry(name) if name == "debian" => Some(Ok(entry(name))),
            BootChoice::Entry(name) if name == "bios-only" => None,
            BootChoice::Local => Some(Ok(BootPlan::Local)),
            // Stands for a template.
            BootChoice::Script(name) => Some(Ok(entry(name))),
            _ => Some(Err(Reason {
                code: "policy.unknown-entry",
                text: "there is no such entry".into(),
            })),
        },
    )
}

const MACHINE: &str = "mac=52:54:00:99:00:01&asked=1";

/// The menus that a plan shows and the code above them, or the entry that it boots.
fn shown(menus: &Menus, form: &str) -> String {
    match plan(menus, &format!("{MACHINE}&{form}")) {
        BootPlan::Pages(Pages { pages, notice, .. }) => {
            let names: Vec<_> = pages.into_iter().map(|page| page.name).collect();
            let notice = notice.map_or("", |reason| reason.code);
            format!("{} {notice}", names.join(" ")).trim().to_owned()
        }
        other => other.name().to_owned(),
    }
}

#[test]
fn twopxe_13_menus_of_the_configuration() {
    let urls = Urls::new(Scheme::Http, "10.0.0.1", 8080).with_token("00ff");
    let plan = plan(&menus(), MACHINE);
    let facts = Facts::from(&Params::parse(MACHINE.as_bytes()));
    insta::assert_snapshot!(script::render(&plan, &urls, &facts, LocalBoot::default()));
}

#[test]
fn twopxe_13_items_for_technicians_are_for_their_machines_alone() {
    let only = |mut item: MenuItem, when: &str| {
        item.when = Some(when.to_owned());
        item
    };
    let bench = "smbios.asset.startsWith('BENCH')";
    let menus = Menus::new(&[
        menu(
            "main",
            None,
            vec![
                only(item("Debian", boots("debian")), bench),
                item("Off", ItemAction::PowerOff),
                only(item("More", boots("menu:more")), bench),
                only(item("Wipe", boots("script:wipe")), bench),
                only(item("Broken", ItemAction::Shell), "1 +"),
            ],
        ),
        menu("more", None, vec![item("Shell", ItemAction::Shell)]),
    ]);
    let lines = |form: &str| match plan(&menus, &format!("{MACHINE}&{form}")) {
        BootPlan::Pages(Pages { pages, .. }) => {
            let first = &pages[0];
            let lines: Vec<_> = first.items.iter().map(|item| item.text.as_str()).collect();
            let default = first.default.map(|at| first.items[at].text.as_str());
            format!("{} of {}, {default:?}", lines.join(" "), pages.len())
        }
        other => other.name().to_owned(),
    };
    assert_eq!(
        lines("asset=BENCH-7"),
        "Debian Off More Wipe of 2, Some(\"Debian\")"
    );
    assert_eq!(lines("asset=DESK-7"), "Off of 1, None");
    assert_eq!(lines(""), "Off of 1, None");
    // No form leads to what a machine does not see.
    assert_eq!(lines("asset=BENCH-7&item=0.3"), "wipe");
    assert_eq!(lines("item=0.3"), "Off of 1, None");
}

#[test]
fn twopxe_13_each_menu_has_its_colours() {
    let mut main = menu("main", None, vec![item("More", boots("menu:more"))]);
    main.colours = Some(MenuColours {
        text: "yellow on black".parse().unwrap(),
        ..MenuColours::default()
    });
    let more = menu("more", None, vec![item("Shell", ItemAction::Shell)]);
    let script = |menus: &[MenuConfig]| {
        let urls = Urls::new(Scheme::Http, "10.0.0.1", 8080);
        let plan = plan(&Menus::new(menus), MACHINE);
        let script = script::render(&plan, &urls, &Facts::default(), LocalBoot::default());
        let lines = script
            .lines()
            .filter(|l| l.starts_with("cpair") || l.starts_with("menu "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    insta::assert_snapshot!(script(&[main.clone(), more.clone()]), @r"
    cpair --foreground 3 --background 0 1 ||
    cpair --foreground 7 --background 1 2 ||
    cpair --foreground 6 --background 4 3 ||
    menu Lab 3 '|| exit
    cpair --foreground 7 --background 4 1 ||
    cpair --foreground 7 --background 1 2 ||
    cpair --foreground 6 --background 4 3 ||
    menu bootstorm
    ");
    main.colours = None;
    assert!(!script(&[main, more]).contains("cpair"));
}

#[test]
fn twopxe_13_every_label_stands_once_and_is_there_for_whoever_goes_to_it() {
    let urls = Urls::new(Scheme::Http, "10.0.0.1", 8080);
    let plan = plan(&menus(), MACHINE);
    let facts = Facts::from(&Params::parse(MACHINE.as_bytes()));
    let script = script::render(&plan, &urls, &facts, LocalBoot::default());
    let labels: Vec<_> = script.lines().filter_map(|l| l.strip_prefix(':')).collect();
    let mut once = labels.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), labels.len());
    for line in script.lines() {
        assert!(line.len() < 1024 && !line.chars().any(char::is_control));
        if let Some((_, label)) = line
            .split_once("goto ")
            .filter(|(_, l)| !l.starts_with('$'))
        {
            assert!(labels.contains(&label.trim_end_matches(" ||")), "{line}");
        }
    }
}

#[test]
fn twopxe_10_a_locked_menu_opens_with_its_password_alone() {
    let menus = menus();
    assert_eq!(shown(&menus, ""), "main more");
    assert_eq!(shown(&menus, "menu=tech&password=4711"), "tech deep");
    assert_eq!(
        shown(&menus, "menu=tech&password=4712"),
        "main more menu.wrong-password"
    );
    assert_eq!(shown(&menus, "menu=tech"), "main more menu.wrong-password");
    // What stands in it needs the password as well.
    assert_eq!(shown(&menus, "menu=tech&item=0.1&password=4711"), "wipe");
    assert_eq!(
        shown(&menus, "menu=tech&item=0.1"),
        "main more menu.wrong-password"
    );
    // No form leads past a lock: to a menu behind it, or one that nothing leads to.
    assert_eq!(
        shown(&menus, "menu=deep&item=0.0"),
        "main more menu.wrong-password"
    );
    assert_eq!(shown(&menus, "menu=alone&password=4711"), "main more");
    for item in ["9.9", "0.99", "x", "0.0", "-1.0", "0.1.2"] {
        assert_eq!(shown(&menus, &format!("item={item}")), "main more");
    }
}

#[test]
fn twopxe_10_who_guesses_is_shut_out_and_others_are_not() {
    let menus = menus();
    for guess in 0..5 {
        let form = format!("menu=tech&password={guess}");
        assert!(shown(&menus, &form).ends_with("menu.wrong-password"));
        if guess == 0 {
            // The same again is no other guess: one request may lead here more than once.
            assert!(shown(&menus, &form).ends_with("menu.wrong-password"));
        }
    }
    let late = shown(&menus, "menu=tech&password=4711");
    assert_eq!(late, "main more menu.too-many-tries");
    let other = format!("{}&menu=tech&password=4711", MACHINE.replace(":01", ":02"));
    assert!(matches!(plan(&menus, &other), BootPlan::Pages(p) if p.pages[0].name == "tech"));
}

#[test]
fn a_password_is_the_first_line_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let menus = Menus::new(&[
        menu("main", None, vec![item("Tech", boots("menu:tech"))]),
        menu(
            "tech",
            Some(MenuLock::PasswordFile(path.clone())),
            vec![item("Shell", ItemAction::Shell)],
        ),
    ]);
    let wrong = "main menu.wrong-password";
    assert_eq!(shown(&menus, "menu=tech&password="), wrong);
    fs::write(&path, "\n").unwrap();
    assert_eq!(shown(&menus, "menu=tech&password="), wrong);
    fs::write(&path, "open sesame\nnot this\n").unwrap();
    assert_eq!(shown(&menus, "menu=tech&password=open%20sesame"), "tech");
}
