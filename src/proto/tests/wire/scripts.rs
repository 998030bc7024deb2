//! Scripts: golden texts, and the proof that no value changes what a script does.

use std::time::Duration;

use bootstorm_proto::ipxe::{Arguments, Choice, Menu, MenuItem, Script, Setting, Url};
use proptest::prelude::*;

/// Everything that a person, a machine or the network can put into a script.
struct Values<'a> {
    text: &'a str,
    line: &'a str,
    path: &'a str,
    name: &'a str,
}

fn script(values: &Values<'_>) -> Option<String> {
    let base = Url::new("http://10.0.0.1:8080").ok()?;
    let images = base.join("images");
    let mut script = Script::new();
    let menu = script.label("menu");
    let entry = script.label(values.name);
    let local = script.label("local");
    let failed = script.label("failed");
    script
        .comment(values.text)
        .set("title", values.text)
        .ask_again(&base.join("boot"), &[("note", values.text)], &menu)
        .place(&menu)
        .menu(
            &Menu {
                title: values.text.to_owned(),
                items: vec![
                    MenuItem::Gap(values.text.to_owned()),
                    MenuItem::Choice {
                        label: entry.clone(),
                        text: values.text.to_owned(),
                        key: values.name.chars().next(),
                    },
                    MenuItem::Choice {
                        label: local.clone(),
                        text: "Boot from the local disk".to_owned(),
                        key: None,
                    },
                ],
            },
            &Choice {
                variable: "chosen",
                default: Some(&local),
                timeout: Some(Duration::from_secs(10)),
                cancelled: &local,
            },
        )
        .place(&entry)
        .echo(values.text)
        .imgfree()
        .set_number("wait", 1_000)
        .set_label("here", &entry)
        .imgfetch(values.name, &images.join(values.path))
        .or_goto(&failed)
        .kernel(values.name, &Arguments::new(values.line).ok()?)
        .or_goto(&failed)
        .initrd(
            values.name,
            &images.join(values.path).with_query("v", values.text),
        )
        .or_goto(&failed)
        .boot()
        .or_goto(&failed)
        .if_equal(Setting::new("platform"), values.name, &failed)
        .prompt(values.text, Duration::from_secs(5))
        .or_continue()
        .prompt_by(values.text, Setting::new("wait"))
        .or_continue()
        .double("wait")
        .place(&failed)
        .echo(values.text)
        .sleep(Duration::from_secs(5))
        .place(&local)
        .exit(1);
    Some(script.render())
}

const USUAL: Values<'static> = Values {
    text: "Dell Inc. OptiPlex",
    line: "root=/dev/nfs quiet",
    path: "linux/vmlinuz",
    name: "linux",
};

#[test]
fn a_whole_script_looks_like_this() {
    insta::assert_snapshot!(script(&USUAL).unwrap());
}

#[test]
fn a_backslash_at_the_end_does_not_take_the_next_line_in() {
    let mut script = Script::new();
    script.echo("C:\\").exit(1);
    assert_eq!(script.render(), "#!ipxe\necho C:\\ \nexit 1\n");
}

#[test]
fn a_wimboot_entry_looks_like_this() {
    let images = Url::new("https://boot.example:8050/images").unwrap();
    let mut script = Script::new();
    let failed = script.label("failed");
    script
        .imgfetch("wimboot", &images.join("boot/wimboot"))
        .or_goto(&failed)
        .kernel("wimboot", &Arguments::new("gui index=2").unwrap())
        .or_goto(&failed);
    script
        .initrd_file("startnet.cmd", &images.join("win pe/startnet.cmd"))
        .unwrap()
        .or_goto(&failed);
    script
        .initrd_file("boot.wim", &images.join("win pe.wim"))
        .unwrap()
        .or_goto(&failed)
        .boot()
        .place(&failed)
        .shell();
    insta::assert_snapshot!(script.render());
}

#[test]
fn paths_inside_a_wim_are_one_word() {
    let url = Url::new("http://a/b").unwrap();
    for path in ["", "a b", "a\nb", "-n", "#x", "||", "${x}", "\u{a0}"] {
        assert!(Script::new().initrd_file(path, &url).is_err(), "{path:?}");
    }
    assert!(Script::new().initrd_file("Boot\\BCD", &url).is_ok());
}

#[test]
fn labels_of_equal_names_differ() {
    let mut script = Script::new();
    let (a, b) = (script.label("a b"), script.label("a_b"));
    assert_ne!(a, b);
    script.goto(&a).goto(&b);
    assert_eq!(script.render(), "#!ipxe\ngoto a_b\ngoto a_b-2\n");
}

/// What iPXE makes of a script: for each line its commands, each with its name, its options and
/// what it expands. Written after the grammar of iPXE's own splitter: white space separates words,
/// a word beginning with `#` ends the line, `||`, `&&` and `;` end a command, options come before
/// the first other word.
fn structure(script: &str) -> Vec<Vec<String>> {
    let escapes = [
        "${hash:string}",
        "${bar:string}",
        "${amp:string}",
        "${semi:string}",
    ];
    let separators = [' ', '\t', '\r', '\u{b}', '\u{c}'];
    let mut lines = Vec::new();
    // A backslash at the end takes the next line in.
    let script = script.replace("\\\n", "");
    for line in script.split('\n').filter(|l| !l.contains(":hex ")) {
        let mut commands = Vec::new();
        let mut words = line.split(separators).filter(|w| !w.is_empty()).peekable();
        let mut start = true;
        let mut options = true;
        while let Some(word) = words.next() {
            if word.starts_with('#') {
                commands.push("#".to_owned());
                break;
            }
            if matches!(word, "||" | "&&" | ";") {
                commands.push(word.to_owned());
                (start, options) = (true, true);
                continue;
            }
            let plain = escapes
                .iter()
                .fold(word.to_owned(), |w, e| w.replace(e, ""));
            if start {
                commands.push(format!(
                    "command {}",
                    if word.starts_with(':') { ":" } else { word }
                ));
                start = false;
            } else if options && word.starts_with('-') {
                commands.push(format!("option {word}"));
                if matches!(
                    word,
                    "--name" | "--key" | "--timeout" | "--default" | "--params"
                ) {
                    words.next();
                }
            } else {
                options = false;
            }
            for (at, _) in plain.match_indices("${") {
                commands.push(format!("expands {}", &plain[at..]));
            }
        }
        lines.push(commands);
    }
    lines
}

fn hostile() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("||".to_owned()),
        Just("&&".to_owned()),
        Just(";".to_owned()),
        Just("#".to_owned()),
        Just("${".to_owned()),
        Just("$".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\0".to_owned()),
        Just(" ".to_owned()),
        Just("\t".to_owned()),
        Just("\u{b}".to_owned()),
        Just("--".to_owned()),
        Just("-n".to_owned()),
        Just("exit".to_owned()),
        Just(":label".to_owned()),
        Just("##params=x".to_owned()),
        Just("${net0/mac}".to_owned()),
        Just("a".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(word, 1..8).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_value_ends_a_line_or_adds_a_command(
        text in hostile(),
        line in hostile(),
        path in hostile(),
        name in hostile(),
    ) {
        let values = Values { text: &text, line: &line, path: &path, name: &name };
        let Some(hostile) = script(&values) else {
            // A command line that cannot be written is refused.
            let refusable = line.contains("${") || line.chars().any(char::is_control);
            prop_assert!(refusable, "{line:?}");
            return Ok(());
        };
        // A first character that is no key leaves the key out.
        let key = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let usual = Values { name: if key { "linux" } else { "_" }, ..USUAL };
        prop_assert_eq!(structure(&hostile), structure(&script(&usual).unwrap()), "{}", hostile);
    }

    #[test]
    fn a_command_line_reaches_the_program_as_it_was(line in "[ -~]{0,60}") {
        let Ok(arguments) = Arguments::new(&line) else {
            let refusable = line.contains("${");
            prop_assert!(refusable, "{line:?}");
            return Ok(());
        };
        let passed = arguments
            .to_string()
            .replace("${hash:string}", "#")
            .replace("${bar:string}", "|")
            .replace("${amp:string}", "&")
            .replace("${semi:string}", ";");
        let given: Vec<&str> = line.split_ascii_whitespace().collect();
        prop_assert_eq!(passed, given.join(" "));
    }
}
