//! What concerns one boot of one machine: orders that are carried out once, tokens.

use bootstorm_config::{PlanConfig, Rule};
use bootstorm_policy::{BootId, Identity};
use bootstorm_store::Once;
use bootstorm_telemetry::event::TransferId;

use super::*;

pub(in crate::boot_pages) fn order(boot: &str) -> Edit {
    Edit::Once(Some(Once {
        boot: boot.to_owned(),
        by: None,
        at: SystemTime::now(),
    }))
}

fn asks(lab: &Lab) -> String {
    let query = format!("mac={MAC}&arch=7");
    let response = lab.respond(&request(Method::Get, "/boot", &query));
    assert_eq!(response.status, 200);
    body(&response).to_owned()
}

/// The machine loads a file of its script.
fn loads(lab: &Lab) {
    lab.hear(BootEvent {
        at: SystemTime::now(),
        mac: MAC.parse().ok(),
        ip: None,
        what: What::Started {
            id: TransferId(1),
            protocol: Protocol::Http,
            file: "tool.efi".into(),
            size: 1000,
        },
    });
}

fn tool_is_required(config: &mut Config) {
    let plan = PlanConfig {
        boot: "tool".parse().ok(),
        required: true,
        ..PlanConfig::default()
    };
    config.rules = vec![Rule {
        plan,
        ..Rule::default()
    }];
}

const BOOTS_TOOL: &str = "/images/tool.efi";

#[test]
fn an_order_is_carried_out_once_and_the_disk_follows() {
    let lab = lab();
    lab.edit(order("tool"));
    assert!(!asks(&lab).contains("choose"), "no menu");
    assert!(asks(&lab).contains(BOOTS_TOOL), "it has loaded nothing");
    loads(&lab);
    let script = asks(&lab);
    assert!(script.contains("[boot.done]"), "{script}");
    assert!(script.ends_with("exit 1\n"), "{script}");
    let last = lab.events.try_iter().last().unwrap();
    assert!(
        matches!(&last.what, What::Script { boots, because: Some(reason), boot: None }
            if &**boots == "local" && reason.code == "boot.done"),
        "{last:?}"
    );
    let metrics = lab.pages.metrics.encode();
    assert!(metrics.contains("boot.done"), "{metrics}");

    lab.edit(order("tool"));
    assert!(asks(&lab).contains(BOOTS_TOOL), "ordered anew");
    lab.edit(Edit::Boot(None));
    loads(&lab);
    assert!(asks(&lab).contains("[boot.done]"), "nothing was decided");
    lab.edit(Edit::Held(false));
    assert!(asks(&lab).contains("choose"), "people decided anew");
}

#[test]
fn of_two_requests_for_one_order_one_takes_it() {
    let lab = lab();
    lab.edit(order("local"));
    let asked = request(Method::Get, "/boot", &format!("mac={MAC}"));
    let pages = [lab.pages.respond(&asked), lab.pages.respond(&asked)];
    let scripts = pages.map(|page| match page {
        Page::Waits(waits) => lab.runtime.block_on(lab.pages.wait(&asked, waits)),
        Page::Ready(_) => panic!("the order is there"),
    });
    assert!(!body(&scripts[0]).contains("choose"));
    // The same boot, whose first answer got lost.
    assert_eq!(scripts[0], scripts[1]);
    let identity = Identity {
        mac: MAC.parse().ok(),
        ..Identity::default()
    };
    let machine = lab.policy.machines().find(&identity).unwrap();
    assert_eq!(machine.once, None);
}

#[test]
fn a_look_by_head_takes_no_order() {
    let lab = lab();
    lab.edit(order("tool"));
    let query = format!("mac={MAC}");
    let looked = lab.respond(&request(Method::Head, "/boot", &query));
    assert!(body(&looked).contains(BOOTS_TOOL));
    loads(&lab);
    assert!(asks(&lab).contains(BOOTS_TOOL));
}

#[test]
fn a_machine_that_waits_for_its_turn_keeps_its_order() {
    let lab = lab_with_door(1);
    lab.edit(order("tool"));
    assert!(asks(&lab).contains("pacing.queued"));
    assert!(asks(&lab).contains(BOOTS_TOOL));
}

#[test]
fn without_its_database_an_order_is_taken_from_memory_and_once() {
    let lab = lab();
    lab.edit(order("tool"));
    lab.runtime.block_on(lab.pages.machines.close());
    assert!(asks(&lab).contains(BOOTS_TOOL));
    loads(&lab);
    let script = asks(&lab);
    assert!(script.contains("[boot.done]"), "{script}");
    // The next run of the server, which finds the database again.
    let lab = lab.restarted();
    assert!(asks(&lab).contains("[boot.done]"));
    let machine = lab.machine();
    assert_eq!((machine.once, machine.phase.as_str()), (None, "script"));
    let boots = lab.stored_boots();
    let told: Vec<_> = boots.iter().map(|b| (b.entry.as_str(), b.once)).collect();
    assert_eq!(told, [("tool", true)]);
}

#[test]
fn wds_13_what_is_done_stays_done_over_a_restart() {
    let mut lab = lab();
    lab.configure(tool_is_required);
    assert!(asks(&lab).contains(BOOTS_TOOL));
    let done = format!("state=finished&mac={MAC}");
    let reported = lab.respond(&request(Method::Get, "/boot/report", &done));
    assert_eq!(body(&reported), "ok\n");
    assert!(asks(&lab).contains("[boot.done]"));
    for _ in 0..2 {
        lab = lab.restarted();
        lab.configure(tool_is_required);
        assert!(asks(&lab).contains("[boot.done]"));
        let boots = lab.stored_boots();
        assert_eq!(boots.len(), 1);
        assert!(boots[0].finished.is_some());
        assert_eq!(boots[0].machine, Some(lab.machine().id));
    }
    let lab = lab.restarted();
    lab.configure(tool_is_required);
    lab.edit(Edit::Held(false));
    assert!(asks(&lab).contains(BOOTS_TOOL), "people decided anew");
}

#[test]
fn twopxe_21_serial_numbers_of_scripts_tell_machines_apart_in_the_store() {
    let lab = lab();
    let guid = "11223344-5566-7788-99aa-bbccddeeff00";
    let asks = |mac: u8, serial: &str| {
        let query = format!(
            "mac=52:54:00:00:00:{mac:02x}&uuid={guid}&serial={serial}&asset=A%207&\
             manufacturer=ACME&product=Desk%201"
        );
        lab.respond(&request(Method::Get, "/boot", &query))
    };
    for (mac, serial) in [(1, "S-1"), (2, "S-2"), (1, "S-1"), (2, "S-2")] {
        assert_eq!(asks(mac, serial).status, 200);
    }
    let boots = lab.stored_boots();
    assert!(boots.len() >= 2);
    let machines = lab.stored_machines();
    let mut told: Vec<_> = machines
        .iter()
        .map(|m| {
            (
                m.hardware.serial.as_deref().unwrap_or_default(),
                m.macs.clone(),
            )
        })
        .collect();
    told.sort();
    let mac = |last| vec![MacAddress::new([0x52, 0x54, 0, 0, 0, last])];
    assert_eq!(told, [("S-1", mac(1)), ("S-2", mac(2))]);
    for machine in &machines {
        let hardware = &machine.hardware;
        assert_eq!(hardware.asset.as_deref(), Some("A 7"));
        assert_eq!(hardware.manufacturer.as_deref(), Some("ACME"));
        assert_eq!(hardware.product.as_deref(), Some("Desk 1"));
        let own = boots.iter().filter(|boot| boot.machine == Some(machine.id));
        assert!(own.clone().count() >= 1);
        assert!(
            own.into_iter()
                .all(|boot| boot.mac == machine.macs.first().copied())
        );
    }
}

#[test]
fn a_machine_that_boots_nothing_tells_what_it_is_all_the_same() {
    let lab = lab();
    lab.edit(Edit::Held(true));
    let query = format!("mac={MAC}&serial={}&product=Desk", "9".repeat(4000));
    let _ = lab.respond(&request(Method::Get, "/boot", &query));
    lab.runtime.block_on(lab.pages.machines.note_now());
    let hardware = lab.machine().hardware;
    assert_eq!(hardware.product.as_deref(), Some("Desk"));
    assert!(hardware.serial.unwrap().len() <= 255);
    assert_eq!(lab.stored_boots(), []);
}

#[test]
fn a_required_boot_repeats_only_so_often_over_restarts() {
    let mut lab = lab();
    for round in 1..=3 {
        lab.configure(tool_is_required);
        assert!(asks(&lab).contains(BOOTS_TOOL), "{round}");
        loads(&lab);
        lab = lab.restarted();
        let boots = lab.stored_boots();
        assert!(boots.iter().all(|b| b.loading.is_some()), "{boots:?}");
    }
    lab.configure(tool_is_required);
    let script = asks(&lab);
    assert!(script.contains("[boot.loop]"), "{script}");
}

#[test]
fn twopxe_30_a_machine_that_is_held_waits_and_goes_on_when_it_is_released() {
    let lab = lab();
    lab.assign("tool");
    lab.edit(Edit::Held(true));
    let script = asks(&lab);
    assert!(script.contains("[policy.held]"), "{script}");
    lab.edit(Edit::Held(false));
    assert!(asks(&lab).contains(BOOTS_TOOL));
}

#[test]
fn twopxe_07_reports_of_others_need_the_token_of_the_boot() {
    let lab = lab();
    lab.edit(Edit::Held(true));
    let script = asks(&lab);
    let start = script.find("token=").unwrap() + "token=".len();
    let token: String = script[start..]
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let ended = {
        let identity = Identity {
            mac: MAC.parse().ok(),
            ..Identity::default()
        };
        lab.pages
            .tokens
            .issue(BootId(1), &identity, SystemTime::UNIX_EPOCH)
    };
    let report = |mac: &str, token: &str| {
        let query = format!("state=finished&mac={mac}{token}");
        let mut asked = request(Method::Get, "/boot/report", &query);
        asked.client = "10.0.0.77:4711".parse().unwrap();
        asked.user_agent = "curl/8".to_owned();
        let _ = lab.events.try_iter().count();
        let response = lab.respond(&asked);
        (response.status, body(&response).to_owned())
    };
    let other = "52:54:00:00:00:02";
    for (mac, token, code) in [
        (MAC, String::new(), "token.missing"),
        (MAC, "&token=00ff".to_owned(), "token.damaged"),
        (other, format!("&token={token}"), "token.foreign"),
        (MAC, format!("&token={ended}"), "token.expired"),
    ] {
        let (status, script) = report(mac, &token);
        assert_eq!(status, 403, "{code}");
        assert!(script.starts_with("#!ipxe\n"), "{script}");
        assert!(script.contains(&format!("[{code}]")), "{script}");
    }
    // The address is the machine's own; the GUID is another one's.
    let mut asked = request(
        Method::Get,
        "/boot/report",
        "state=finished&uuid=11223344-5566-7788-99aa-bbccddeeff00",
    );
    let script = lab.respond(&asked);
    assert!(
        body(&script).contains("[token.missing]"),
        "{}",
        body(&script)
    );
    asked.query = "state=finished".to_owned();
    assert_eq!(lab.respond(&asked).status, 200);
    let (status, text) = report(MAC, &format!("&token={token}"));
    assert_eq!((status, &*text), (200, "ok\n"));
}

#[test]
fn who_is_asked_elsewhere_waits_and_what_is_required_repeats_only_so_often() {
    let lab = lab();
    let oracle = Remote {
        name: "oracle".into(),
        asked_at_dhcp: true,
        budget: Duration::from_secs(1),
        keep: Duration::from_secs(60),
        on_failure: OnFailure::Pass,
    };
    let rules = Rules::from(&Config::for_user());
    lab.policy.set_rules(Rules {
        chain: Chain::new(vec![Link::Remote(Arc::new(oracle))]),
        ..rules
    });
    let asked = request(Method::Get, "/boot", &format!("mac={MAC}&arch=7"));
    assert!(matches!(lab.pages.respond(&asked), Page::Waits(_)));
    for round in 1..=3 {
        assert!(asks(&lab).contains(BOOTS_TOOL), "{round}");
        assert!(
            matches!(lab.pages.respond(&asked), Page::Ready(_)),
            "the answer is kept"
        );
        loads(&lab);
    }
    assert!(asks(&lab).contains("[boot.loop]"));
    lab.edit(Edit::Held(false));
    let report = format!("state=finished&mac={MAC}");
    assert!(asks(&lab).contains(BOOTS_TOOL), "people decided anew");
    let _ = lab.respond(&request(Method::Get, "/boot/report", &report));
    assert!(asks(&lab).contains("[boot.done]"));
}

#[test]
fn twopxe_04_ipxe_tells_what_it_knows_before_rules_look_at_it() {
    let lab = lab();
    let rules = |when: &str| {
        let text = format!("[[rule]]\nwhen = \"{when}\"\nboot = \"tool\"\n");
        let loaded = Config::parse(&text, std::path::Path::new("test.toml"));
        lab.policy.set_rules(Rules::from(&loaded.config.unwrap()));
    };
    rules("smbios.serial == 'A 1'");
    let script = asks(&lab);
    assert!(script.contains("# bootstorm: ask\n"), "{script}");
    assert!(
        script.contains("param --params machine serial.hex ${serial:hexraw}"),
        "{script}"
    );
    assert!(!script.contains("choose"), "{script}");
    let tells = |query: &str| {
        let query = format!("mac={MAC}&arch=7&asked=1{query}");
        body(&lab.respond(&request(Method::Get, "/boot", &query))).to_owned()
    };
    assert!(tells("&serial=A%201").contains(BOOTS_TOOL));
    assert!(tells("").contains("choose"), "it is asked once");
    let form = request(
        Method::Get,
        "/boot",
        &format!("mac={MAC}&platform=efi&serial=A%201"),
    );
    let sent_on = lab.respond(&form);
    assert!(
        body(&sent_on).contains(BOOTS_TOOL),
        "another server has asked it"
    );
    rules("firmware.family == 'x64'");
    assert!(asks(&lab).contains(BOOTS_TOOL), "DHCP told that");
}
