//! What decides is changed under a running server, and broken.

use std::fs;

use crate::lab::Lab;

const RULE: &str = "[[rule]]\nboot = \"script:deploy.ipxe\"\n";

#[test]
fn twopxe_31_a_broken_rule_provider_or_template_is_named_with_its_place_and_the_old_goes_on() {
    let lab = Lab::new();
    lab.write("scripts/deploy.ipxe", "echo first\n");
    let server = lab.serve(RULE);
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
        lab.configure(broken);
        let text = fs::read_to_string(lab.path("bootstorm.toml")).unwrap();
        let table = broken.lines().next().unwrap();
        let line = text.lines().position(|line| line == table).unwrap() + 1;
        let (line, column) = match code {
            "policy.bad-rule" => (line + 1, 8),
            _ => (line, 1),
        };
        let place = format!("bootstorm.toml:{line}:{column}: error[{code}]");
        let said = server.reload(&place);
        assert!(said.contains("the old configuration stays"), "{said}");
        goes_on();
    }
    lab.write("scripts/deploy.ipxe", "echo second\necho {{ machine.name\n");
    let said = server.said("script.template-broken", goes_on);
    assert!(said.contains("scripts/deploy.ipxe:2:"), "{said}");
    goes_on();
    lab.write("scripts/deploy.ipxe", "echo {{ 'mended' }}\n");
    lab.configure(RULE);
    server.reload("configuration read again");
    let mended = || server.script("").contains("echo mended\n");
    assert!(crate::lab::comes_true(mended), "it stays broken");
}
