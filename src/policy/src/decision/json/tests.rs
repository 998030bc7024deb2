use std::time::Duration;

use super::*;

fn read(answer: &str) -> Result<Verdict, String> {
    Verdict::from_json(answer.as_bytes(), "rooms").map_err(|e| e.to_string())
}

fn plan(answer: &str) -> Plan {
    match read(answer).unwrap() {
        Verdict::Serve(plan) => Plan::clone(&plan),
        other => panic!("{other:?}"),
    }
}

fn boots(word: &str) -> Boot {
    plan(&format!(r#"{{"answer":"serve","boot":"{word}"}}"#)).boot
}

/// The one thing that is wrong with an answer.
fn problem(answer: &str) -> String {
    read(answer).unwrap_err()
}

#[test]
fn every_key_is_taken() {
    let plan = plan(
        r#"{"answer":"serve","boot":"winpe","nbp":"boot/shimx64.efi","arguments":"quiet",
            "values":{"room":"lab3","seat":7,"staff":true,"gone":null},"required":true,
            "reason":null}"#,
    );
    let values = [("room", "lab3"), ("seat", "7"), ("staff", "true")];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        plan,
        Plan {
            boot: Boot::Entry("winpe".to_owned()),
            nbp: Some("boot/shimx64.efi".to_owned()),
            arguments: Some("quiet".to_owned()),
            values: values.into(),
            variables: None,
            required: true,
            by: "rooms".to_owned(),
            once: false,
        }
    );
}

#[test]
fn every_word_of_boot_is_known() {
    assert_eq!(plan(r#"{"answer":"serve"}"#).boot, Boot::Usual);
    assert_eq!(boots("menu"), Boot::Usual);
    assert_eq!(boots("local"), Boot::Local);
    assert_eq!(boots("menu:lab"), Boot::Menu("lab".to_owned()));
    assert_eq!(boots("script:a.ipxe"), Boot::Script("a.ipxe".to_owned()));
    assert_eq!(boots("winpe"), Boot::Entry("winpe".to_owned()));
    assert_eq!(boots("entry:wait"), Boot::Entry("wait".to_owned()));
    let Boot::Refuse(reason) = boots("refuse") else {
        panic!("not refused");
    };
    assert_eq!(reason.code, "provider.refused");
}

#[test]
fn a_machine_that_waits_asks_again_when_it_is_told() {
    let plan = plan(r#"{"answer":"serve","boot":"wait","retry":60,"reason":"exam"}"#);
    let Boot::Wait(wait) = plan.boot else {
        panic!("it does not wait");
    };
    assert_eq!(wait.every, Duration::from_secs(60));
    assert_eq!(wait.reason.code, "provider.waiting");
    assert_eq!(wait.reason.text, "rooms: exam");
}

#[test]
fn another_server_needs_its_url() {
    let plan = plan(r#"{"answer":"serve","boot":"refer","url":"http://10.0.0.9/boot"}"#);
    let Boot::Refer(referral) = plan.boot else {
        panic!("not referred");
    };
    assert_eq!(referral.url, "http://10.0.0.9/boot");
    let missing = problem(r#"{"answer":"serve","boot":"refer"}"#);
    assert!(missing.starts_with("`url`: it is missing"), "{missing}");
    let file = problem(r#"{"answer":"serve","boot":"refer","url":"file:///etc/passwd"}"#);
    assert!(file.starts_with("`url`: "), "{file}");
}

#[test]
fn ignore_and_pass_carry_their_reason() {
    let ignored = read(r#"{"answer":"ignore","reason":"not ours"}"#).unwrap();
    let Verdict::Ignore(reason) = ignored else {
        panic!("{ignored:?}");
    };
    assert_eq!(reason.code, "provider.ignored");
    assert_eq!(reason.text, "rooms: not ours");
    let passed = read("\u{feff}{\"answer\":\"pass\"}\r\n").unwrap();
    assert!(matches!(passed, Verdict::Pass(reason) if reason.code == "provider.passed"));
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    for (answer, key) in [
        (r#"{"boot":"winpe"}"#, "`answer`: it is missing"),
        (r#"{"answer":"maybe"}"#, "`answer`: `maybe` is none of"),
        (r#"{"answer":1}"#, "`answer`: a number is no text"),
        (
            r#"{"answer":"pass","boot":"winpe"}"#,
            "`boot`: it means nothing",
        ),
        (
            r#"{"answer":"serve","retry":5}"#,
            "`retry`: it means nothing",
        ),
        (r#"{"answer":"serve","boot":"wait","retry":0}"#, "`retry`: "),
        (
            r#"{"answer":"serve","boot":"menu:../x"}"#,
            "`boot`: `../x` is no name",
        ),
        (
            r#"{"answer":"serve","boot":"script:.ssh"}"#,
            "`boot`: `.ssh` is no name",
        ),
        (
            r#"{"answer":"serve","boot":"a;b"}"#,
            "`boot`: `a;b` cannot name",
        ),
        (
            r#"{"answer":"serve","arguments":"a ${b}"}"#,
            "`arguments`: ",
        ),
        (
            r#"{"answer":"serve","arguments":"a\nboot"}"#,
            "`arguments`: ",
        ),
        (
            r#"{"answer":"serve","values":[]}"#,
            "`values`: a list is no object",
        ),
        (
            r#"{"answer":"serve","values":{"a b":""}}"#,
            "`values`: `a b` is no name",
        ),
        (
            r#"{"answer":"serve","values":{"a":[]}}"#,
            "`values.a`: a list is no text",
        ),
        (
            r#"{"answer":"serve","required":"yes"}"#,
            "`required`: a text is not",
        ),
    ] {
        let problem = problem(answer);
        assert!(problem.starts_with(key), "{answer}: {problem}");
    }
}

#[test]
fn broken_json_is_named_by_line_and_column() {
    for (answer, part) in [
        ("{\"answer\":\n  \"serve\" \"boot\"}", "line 2 column 11"),
        ("{\"answer\":\"pass\"} x", "line 1 column 19"),
        ("{\"answer\":\"pass\",\"anser\":1}", "unknown field `anser`"),
        (
            "{\"answer\":\"pass\",\"answer\":\"pass\"}",
            "duplicate field `answer`",
        ),
        ("[]", "an object"),
        ("hello", "line 1 column 1"),
        (" \n", "the answer is empty"),
        ("", "the answer is empty"),
    ] {
        let problem = problem(answer);
        assert!(problem.contains(part), "{answer}: {problem}");
    }
}

#[test]
fn what_is_wrong_is_told_without_control_characters() {
    for answer in [
        r#"{"a\nb\u001b[2J":1}"#,
        r#"{"answer":"a\nb"}"#,
        r#"{"answer":"serve","boot":"\u009b"}"#,
    ] {
        let problem = problem(answer);
        assert!(!problem.chars().any(char::is_control), "{problem}");
    }
}

#[test]
fn a_huge_answer_is_refused_before_it_is_read() {
    let huge = format!(
        r#"{{"answer":"pass","reason":"{}"}}"#,
        "x".repeat(ANSWER_MAX)
    );
    assert!(problem(&huge).contains("longer than 65536 bytes"));
    let deep = "[".repeat(10_000);
    assert!(read(&deep).is_err());
}

#[test]
fn variables_are_base64_and_shown_to_nobody() {
    let plan = plan(r#"{"answer":"serve","variables":"c2VjcmV0"}"#);
    assert_eq!(plan.variables.as_ref().unwrap().bytes(), b"secret");
    assert!(!format!("{plan:?}").contains("secret") && !format!("{plan:?}").contains("115"));
    let problem = problem(r#"{"answer":"serve","variables":"not/base64!"}"#);
    assert!(problem.contains("`variables`") && !problem.contains("not/"));
    let unused = read(r#"{"answer":"pass","variables":"c2VjcmV0"}"#);
    assert!(unused.unwrap_err().contains("variables"));
}
