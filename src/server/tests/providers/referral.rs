//! Servers that send machines on to each other, and a machine that goes where it is sent.

use crate::program::{Server, answer, ask};
use crate::{configure, lab};

const MENU: &str = "[[provider]]\ntype = \"menu\"\n";

/// What iPXE of the machine knows of itself.
const SETTINGS: [(&str, &str); 3] = [
    ("${netX/mac:hex}", "52-54-00-99-00-01"),
    ("${serial}", "S%201"),
    ("${platform}", "efi"),
];

fn referral(to: &Server) -> String {
    let url = format!("http://{}/boot", to.at("http"));
    format!("[[provider]]\ntype = \"referral\"\nurl = \"{url}\"\n")
}

/// Goes on as the script says, as iPXE does with forms.
fn follow(script: &str) -> String {
    let mut form = Vec::new();
    for line in script.lines() {
        if let Some(param) = line.strip_prefix("param --params machine ") {
            let (name, value) = param.trim_end_matches(" ||").split_once(' ').unwrap();
            let known = SETTINGS.iter().find(|(setting, _)| *setting == value);
            match known {
                Some((_, value)) => form.push(format!("{name}={value}")),
                None if value.starts_with("${") => {}
                None => form.push(format!("{name}={value}")),
            }
        }
    }
    let chain = "chain --replace --autofree http://";
    let mut chains = script.lines().filter_map(|line| line.strip_prefix(chain));
    let target = chains.find_map(|target| target.split_once("##params=machine"));
    let (target, _) = target.unwrap_or_else(|| panic!("it leads nowhere:\n{script}"));
    let (address, path) = target.split_once('/').unwrap();
    let request = format!("POST /{path}");
    answer(ask(address.parse().unwrap(), &request, "", &form.join("&")))
}

#[test]
fn twopxe_26_a_second_server_boots_what_the_first_sends_on() {
    let second = lab("[[rule]]\nboot = \"script:here.ipxe\"\n");
    second.write(
        "scripts/here.ipxe",
        "echo {{ machine.mac }} {{ smbios.serial }} {{ params.offerid }} {{ params|length }}\n",
    );
    let second = second.serve();
    let first = lab(&format!(
        "{}when = \"params.offerid == 'SMS 1'\"\n{MENU}",
        referral(&second)
    ));
    let first = first.serve();
    let here = first.script("&offerid=SMS%202");
    assert!(here.contains("# bootstorm: menu\n"), "{here}");
    let sent = first.script("&offerid=SMS%201&tokenid=17");
    assert!(sent.contains("# bootstorm: referral\n"), "{sent}");
    let there = follow(&sent);
    assert!(
        there.contains("echo 52:54:00:99:00:01 S 1 SMS 1 1\n"),
        "{there}"
    );
}

#[test]
fn twopxe_11_two_servers_that_send_machines_to_each_other_end_with_a_reason() {
    let first = lab(MENU).serve();
    let second = lab(&referral(&first)).serve();
    configure(&first.lab, &referral(&second));
    first.reload(&["configuration read again"]);
    let sent = first.script("");
    assert!(sent.contains("# bootstorm: referral\n"), "{sent}");
    let sent_back = follow(&sent);
    assert!(sent_back.contains("# bootstorm: referral\n"), "{sent_back}");
    let ended = follow(&sent_back);
    assert!(ended.contains("echo [policy.all-passed]"), "{ended}");
    // The first can still decide about those that come back.
    configure(&first.lab, &(referral(&second) + MENU));
    first.reload(&["configuration read again"]);
    let decided = follow(&follow(&first.script("")));
    assert!(decided.contains("# bootstorm: menu\n"), "{decided}");
}
