//! Machines that people have to let in.

use super::*;
use crate::approvals::tests::rules;

fn lab_that_asks() -> Lab {
    let lab = lab();
    lab.policy.set_rules(rules());
    lab
}

fn asks(lab: &Lab, more: &str) -> BootResponse {
    let query = format!("mac={MAC}&arch=7&asked=1{more}");
    lab.respond(&request(Method::Get, "/boot", &query))
}

/// The request's code, as the script asks by it again.
fn code(script: &str) -> String {
    let start = script.find("param --params machine request ").unwrap();
    let line = script[start..].lines().next().unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn wds_08_a_machine_waits_with_its_code_until_people_answer() {
    let lab = lab_that_asks();
    let waits = asks(&lab, "");
    let script = body(&waits);
    let code = code(script);
    assert!(
        script.contains("[approval.pending] Call 4411.\n"),
        "{script}"
    );
    let shown = format!("The request of this machine: {code}\n");
    assert!(script.contains(&shown), "{script}");
    assert!(script.contains("\nsleep 10\n"), "{script}");
    assert_eq!(waits.retry_after, Some(10));
    let poll = format!("&request={code}");
    assert!(body(&asks(&lab, &poll)).contains(&shown));

    let edits = vec![Edit::Boot(Some("tool".to_owned()))];
    let approve = lab.pages.approvals.approve(&code, edits, "ann");
    lab.runtime.block_on(approve).unwrap();
    let boots = asks(&lab, &poll);
    assert!(
        body(&boots).contains("/images/tool.efi"),
        "{}",
        body(&boots)
    );
    assert_eq!(boots.retry_after, None);
}

#[test]
fn wds_10_a_machine_that_was_denied_leaves_for_the_next_boot_device() {
    let lab = lab_that_asks();
    let code = code(body(&asks(&lab, "")));
    let deny = lab
        .pages
        .approvals
        .deny(&code, Some("go ${away}".to_owned()), "ann");
    lab.runtime.block_on(deny).unwrap();
    let script = asks(&lab, &format!("&request={code}"));
    let script = body(&script);
    assert!(script.contains("[approval.denied]"), "{script}");
    assert!(!script.contains("${away}"), "{script}");
    assert!(script.ends_with("exit 1\n"), "{script}");
}

#[test]
fn a_look_by_head_asks_nobody() {
    let lab = lab_that_asks();
    let query = format!("mac={MAC}&asked=1");
    let looked = lab.respond(&request(Method::Head, "/boot", &query));
    assert!(body(&looked).contains("[approval.asking]"));
    let page = lab.pages.approvals.page(None, None, 9);
    assert_eq!(lab.runtime.block_on(page).unwrap(), []);
}

#[test]
fn a_machine_that_says_nothing_is_asked_who_it_is_before_it_asks() {
    let lab = lab_that_asks();
    let mut nobody = request(Method::Get, "/autoexec.ipxe", "");
    nobody.client = "10.0.0.77:4711".parse().unwrap();
    let script = lab.respond(&nobody);
    let script = body(&script);
    let asks = script.find("chain --replace").unwrap();
    assert!(
        asks < script.find("[script.no-answer]").unwrap(),
        "{script}"
    );
    nobody.query = "asked=1".to_owned();
    let script = lab.respond(&nobody);
    assert!(body(&script).contains("[approval.nobody]"));
}
