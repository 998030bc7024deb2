use std::fs;

use bootstorm_config::Scheme;
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[path = "tests/ipxe.rs"]
mod ipxe;

struct Lab {
    folder: tempfile::TempDir,
    templates: Templates,
}

fn lab(files: &[(&str, &str)]) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let templates = Templates::new(Some(folder.path().to_owned()));
    Lab { folder, templates }
}

impl Lab {
    fn render(&self, name: &str, facts: serde_json::Value) -> Result<String, Reason> {
        let urls = Urls::new(Scheme::Http, "10.0.0.1", 8080).with_token("00ff");
        let call = self.templates.call(name, facts);
        call.unwrap_or_else(|| panic!("no template {name}"))?
            .render(&urls)
    }

    /// Writes a file and has the folder looked at as if time had passed.
    fn change(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
        *self.templates.looked.lock().unwrap() = None;
    }
}

/// What a template of one line makes of a serial number.
fn one(template: &str, serial: &str) -> Result<String, Reason> {
    lab(&[("a", template)]).render("a", json!({ "smbios": { "serial": serial } }))
}

#[test]
fn twopxe_25_the_example_for_8021x_tries_a_few_times() {
    let example = include_str!("../../../../packaging/examples/8021x.ipxe");
    let lab = lab(&[("8021x.ipxe", example)]);
    assert_eq!(lab.templates.problems(), []);
    let facts = json!({ "network": { "server": "10.0.0.1" } });
    let script = lab.render("8021x.ipxe", facts).unwrap();
    let steps: Vec<_> = ipxe::commands(&script);
    let tries = [
        "ifclose", "sleep", "ifopen", "ifconf", "ping", "chain", "iseq", "exit",
    ];
    let found: Vec<&str> = steps.iter().map(String::as_str).collect();
    let order: Vec<&str> = found
        .into_iter()
        .filter(|step| tries.contains(step))
        .collect();
    let wanted = [
        "ifclose", "sleep", "ifopen", "ifconf", "ping", "chain", "iseq", "sleep", "exit",
    ];
    assert_eq!(order, wanted, "{script}");
    assert!(
        script.contains("ping --count 3 --timeout 2000 10.0.0.1 "),
        "{script}"
    );
    assert!(
        script.contains("token=00ff&authenticated=1 || goto next\n"),
        "{script}"
    );
}

#[test]
fn a_template_is_filled_in_with_what_is_known() {
    let lab = lab(&[
        (
            "install.ipxe",
            "#!ipxe\n\
             {% include 'head' %}\n\
             {# nobody sees this #}\n\
             {% if smbios.bios_version and version_lt(smbios.bios_version, '1.10') %}\n\
             chain {{ urls.images }}/update.efi name={{ machine.name|word }}\n\
             {% else %}\n\
             kernel {{ urls.images }}/{{ values.release|url }}/vmlinuz quiet{{ ' ' if arguments }}{{ arguments }}\n\
             boot\n\
             {% endif %}\n",
        ),
        (
            "head",
            "echo Machine {{ smbios.serial }} {{ machine.name }}.",
        ),
        (".install.ipxe.swp", "{{"),
    ]);
    assert_eq!(lab.templates.problems(), []);
    let facts = |version: &str| {
        json!({
            "machine": { "name": "lab 3" },
            "smbios": { "bios_version": version, "serial": null },
            "values": { "release": "trixie/1" },
            "arguments": "ip=dhcp",
        })
    };
    insta::assert_snapshot!(lab.render("install.ipxe", facts("1.9")).unwrap(), @r"
    #!ipxe
    set hash:hex 23
    set bar:hex 7c
    set amp:hex 26
    set semi:hex 3b
    set back:hex 5c
    set sp:hex 20
    echo Machine  lab 3.
    chain http://10.0.0.1:8080/images/update.efi name=lab${sp:string}3
    ");
    insta::assert_snapshot!(lab.render("install.ipxe", facts("1.10")).unwrap(), @r"
    #!ipxe
    echo Machine  lab 3.
    kernel http://10.0.0.1:8080/images/trixie%2F1/vmlinuz quiet ip=dhcp
    boot
    ");
}

#[test]
fn a_mistake_is_told_with_file_line_and_column() {
    let lab = lab(&[
        ("good", "echo ok"),
        ("bad", "#!ipxe\necho {{ smbios.serial\nboot\n"),
        ("typo", "#!ipxe\necho ok\necho {{ smbios.seriel }}\n"),
        ("command", "#!ipxe\necho ok\n{{ smbios.serial }}\n"),
        (
            "endless",
            "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
        ),
        (
            "large",
            "{% for a in range(9000) %}echo {{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}\n{% endfor %}",
        ),
    ]);
    let problems = lab.templates.problems();
    let [bad] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert_eq!((bad.name.as_str(), bad.line), ("bad", 3));
    assert!(bad.column > 0, "{bad:?}");
    let failed = |name: &str| {
        let reason = lab
            .render(name, json!({ "smbios": { "serial": "1" } }))
            .unwrap_err();
        (
            reason.code,
            reason.text.rsplit('/').next().unwrap().to_owned(),
        )
    };
    assert_eq!(failed("bad").0, "script.template-broken");
    let (code, text) = failed("typo");
    assert_eq!(code, "script.template-failed");
    assert!(text.starts_with("typo:3:"), "{text}");
    assert!(failed("command").1.contains("line 3 of the script"));
    assert!(failed("endless").1.contains("steps"));
    assert!(failed("large").1.contains("bytes"));
    assert!(lab.templates.call("none", json!({})).is_none());
}

#[test]
fn a_file_that_is_broken_stays_what_it_was_until_it_is_good_again() {
    let lab = lab(&[("a", "echo one")]);
    let says = |text: &str| {
        let script = lab.render("a", json!({})).unwrap();
        assert_eq!(script, format!("#!ipxe\necho {text}\n"));
    };
    says("one");
    lab.change("a", "echo {{ two");
    says("one");
    assert_eq!(lab.templates.problems().len(), 1);
    lab.change("a", "echo three");
    says("three");
    assert_eq!(lab.templates.problems(), []);
    fs::remove_file(lab.folder.path().join("a")).unwrap();
    *lab.templates.looked.lock().unwrap() = None;
    assert!(lab.templates.call("a", json!({})).is_none());
}

#[test]
fn values_stay_values_whatever_stands_beside_them() {
    for (template, serial, line) in [
        (
            "echo ${{ smbios.serial }}",
            "{net0/mac}",
            "echo $ {net0/mac}",
        ),
        (
            "echo {{ smbios.serial }}{net0/mac}",
            "$",
            "echo $ {net0/mac}",
        ),
        ("set a {{ smbios.serial|word }}{x}", "$", "set a $ {x}"),
        (
            "set a x{{ smbios.serial|word }}",
            "${x}",
            "set a x$${sp:string}{x}",
        ),
        (
            "echo |{{ smbios.serial }}",
            "| exit",
            "echo |${bar:string} exit",
        ),
        ("echo {{ smbios.serial }}", "--x -y z-", "echo '--x '-y z-"),
        (
            "echo {{ smbios.serial }}",
            "a\nexit\r\\",
            "echo a exit ${back:string}",
        ),
        (
            "echo {{ smbios.serial|url }}",
            "a&b +%",
            "echo a%26b%20%2B%25",
        ),
        (
            "echo {{ (smbios.serial|word)[:3] }}x",
            "a b c",
            "echo a${sp:string}x",
        ),
        (
            "echo {{ smbios.serial|word ~ ' ' ~ smbios.serial }}",
            "#",
            "echo ${hash:string} ${hash:string}",
        ),
        ("# {{ smbios.serial }}", "a\nexit", "# a exit"),
        (":x{{ smbios.serial }}", "1", ":x1"),
        (
            "isset ${net0/ip} && echo {{ smbios.serial }} || exit",
            ";",
            "isset ${net0/ip} && echo ${semi:string} || exit",
        ),
    ] {
        let script = one(template, serial).unwrap();
        assert_eq!(script.lines().last(), Some(line), "{template} {serial}");
    }
    for template in [
        "{{ smbios.serial }}",
        "ec{{ smbios.serial }} x",
        "echo a && {{ smbios.serial }}",
        "echo a\n  {{ smbios.serial }} b",
    ] {
        let reason = one(template, "exit").unwrap_err();
        assert!(reason.text.contains("begins a command"), "{template}");
    }
}

#[test]
fn parts_of_templates_put_values_in_unharmed() {
    let macros = "{% macro shown(x) %}echo a {{ x }}\n{% endmacro %}\
                  {% set kept %}set k {{ smbios.serial|word }}{% endset %}\
                  {{ shown(smbios.serial) }}{{ kept }}";
    let script = one(macros, "1\nexit && 2").unwrap();
    let lines: Vec<&str> = script.lines().skip(7).collect();
    assert_eq!(
        lines,
        [
            "echo a 1 exit ${amp:string}${amp:string} 2",
            "set k 1${sp:string}exit${sp:string}${amp:string}${amp:string}${sp:string}2",
        ]
    );
    // The marks of values are not for machines to send.
    let marks = "\u{f0001}x\u{f0002}\nexit";
    let script = one("echo {{ smbios.serial }}", marks).unwrap();
    assert_eq!(script, "#!ipxe\necho \u{fffd}x\u{fffd} exit\n");
    assert!(one("echo {{ smbios.serial|safe }}", "x").is_err());
}

/// Strings that do harm in scripts, and serial numbers as vendors write them.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "||",
            "&&",
            ";",
            "#",
            "${",
            "$",
            "{",
            "}",
            "\n",
            "\r\n",
            "\0",
            " ",
            "\t",
            "\\",
            "--",
            "-n",
            "exit",
            ":label",
            "##params=x",
            "${net0/mac}",
            "%",
            "&",
            "+",
            "\"",
            "'",
            "\u{85}",
            "\u{f0000}",
            "\u{f0001}",
            "\u{f0002}",
            "{{ 1 }}",
            "{% raw %}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{1,30}",
        "\\PC{1,10}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// The value as it arrives: nothing but a control character, a mark, and `${` is changed.
fn arrives(value: &str) -> String {
    let value: String = values::unmarked(value)
        .chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect();
    value.replace("${", "$ {")
}

proptest! {
    #[test]
    fn twopxe_05_no_value_changes_what_a_script_does(serial in hostile()) {
        let template = "#!ipxe\n\
            echo It is {{ smbios.serial }} {{ smbios.serial|word }}\n\
            isset x{{ smbios.serial|word }} && set a {{ smbios.serial }}{{ smbios.serial }} ||\n\
            kernel {{ urls.images }}/{{ smbios.serial|url }} s={{ smbios.serial|word }} end\n\
            # {{ smbios.serial }}\n\
            exit 1\n";
        let script = one(template, &serial).unwrap();
        let usual = one(template, "S/N-1").unwrap();
        prop_assert!(script.lines().all(|line| !line.chars().any(char::is_control)));
        prop_assert_eq!(ipxe::commands(&script), ipxe::commands(&usual), "{}", script);
        for line in script.lines() {
            for (at, _) in line.match_indices("${") {
                let name = line[at + 2..].split('}').next().unwrap_or_default();
                prop_assert!(name.ends_with(":string"), "{line}");
            }
        }
    }

    #[test]
    fn twopxe_06_a_serial_arrives_as_it_is(serial in prop_oneof![hostile(), "[ -~]{255}"]) {
        let script = one("set s x{{ smbios.serial|word }}x\n", &serial).unwrap();
        let runs = ipxe::run(&script);
        let last = runs.last().unwrap();
        prop_assert_eq!(&last[..2], ["set", "s"]);
        prop_assert_eq!(&last[2..], [format!("x{}x", arrives(&serial))]);
        // And back to the server, as iPXE sends it and `Params` reads it.
        let encoded = values::url(&serial);
        let form = format!("serial={encoded}");
        let params = bootstorm_proto::ipxe::Params::parse(form.as_bytes());
        let plain: String = serial.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        prop_assert_eq!(params.serial.unwrap_or_default(), plain.trim());
    }
}
