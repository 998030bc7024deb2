//! What decides is changed under a running server, and broken.

use crate::program::wait_until;
use crate::{configure, lab};

const RULE: &str = "[[rule]]\nboot = \"script:deploy.ipxe\"\n";

#[test]
fn twopxe_31_a_broken_rule_provider_or_template_is_named_with_its_place_and_the_old_goes_on() {
    let lab = lab(RULE);
    lab.write("scripts/deploy.ipxe", "echo first\n");
    let server = lab.serve();
    let goes_on = || {
        let script = server.script("");
        assert!(script.contains("echo first\n"), "{script}");
    };
    goes_on();
    for (broken, code) in [
        ("[[rule]]\nwhen = \"1 +\"\n", "policy.bad-rule"),
        (
            "[[provider]]\ntype = \"sql\"\nurl = \"sqlite:a\"\nquery = \"SELECT :nobody\"\n",
            "provider.unusable",
        ),
    ] {
        configure(&lab, broken);
        let line = lab.line(broken.lines().next().unwrap());
        let (line, column) = match code {
            "policy.bad-rule" => (line + 1, 8),
            _ => (line, 1),
        };
        let place = format!("bootstorm.toml:{line}:{column}: error[{code}]");
        server.reload(&["the old configuration stays", &place]);
        goes_on();
    }
    lab.write("scripts/deploy.ipxe", "echo second\necho {{ machine.name\n");
    wait_until("the broken template is never named", || {
        goes_on();
        let log = server.log();
        let mut lines = log.lines();
        lines.any(|line| {
            line.contains("script.template-broken") && line.contains("scripts/deploy.ipxe:2:")
        })
    });
    goes_on();
    lab.write("scripts/deploy.ipxe", "echo {{ 'mended' }}\n");
    configure(&lab, RULE);
    server.reload(&["configuration read again"]);
    wait_until("it stays broken", || {
        server.script("").contains("echo mended\n")
    });
}
