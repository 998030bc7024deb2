//! Programs that do as they should, and programs that do not.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be set up fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bootstorm_policy::decision::{Plan, Verdict};
use bootstorm_providers::{Ask as _, Command, Exec, ProviderError};
use serde_json::{Value, json};

/// Longer than any of these programs takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(words: &[&str]) -> Exec {
    Exec {
        name: "rooms".to_owned(),
        command: Command::Program(words.iter().map(|word| (*word).to_owned()).collect()),
        memory: 256 * 1024 * 1024,
        processes: 64,
        budget: PATIENCE,
        environment: BTreeMap::new(),
        server: env!("CARGO_BIN_EXE_sandboxed-exec").into(),
    }
}

fn shell(script: &str) -> Exec {
    program(&["/bin/sh", "-c", script])
}

async fn ask(exec: &Exec, facts: &Value) -> Result<Verdict, ProviderError> {
    let answer = tokio::time::timeout(PATIENCE, exec.ask(facts)).await;
    answer.expect("it hangs")
}

async fn plan(exec: &Exec) -> Plan {
    match ask(exec, &json!({})).await.unwrap() {
        Verdict::Serve(plan) => Plan::clone(&plan),
        other => panic!("{other:?}"),
    }
}

async fn failure(exec: &Exec) -> ProviderError {
    ask(exec, &json!({})).await.unwrap_err()
}

/// Processes with such a word in their command line.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

async fn all_gone(word: &str) {
    let since = Instant::now();
    while running(word) > 0 {
        assert!(since.elapsed() < PATIENCE, "{word} goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_program_reads_facts_and_prints_a_decision() {
    let exec = shell(
        r#"read facts
           case "$facts" in
           *'"serial":"S 1"'*) echo '{"answer":"serve","boot":"winpe"}' ;;
           *) echo '{"answer":"pass","reason":"who?"}' ;;
           esac"#,
    );
    let known = ask(&exec, &json!({"smbios": {"serial": "S 1"}})).await;
    assert!(matches!(known, Ok(Verdict::Serve(plan)) if plan.by == "rooms"));
    let unknown = ask(&exec, &json!({"smbios": {"serial": "S 2"}})).await;
    assert!(matches!(unknown, Ok(Verdict::Pass(reason)) if reason.text == "rooms: who?"));
}

#[tokio::test]
async fn hostile_facts_are_data() {
    let exec = program(&["/bin/cat"]);
    let serial = "'; touch /tmp/owned; $(reboot) \u{1b}[2J\n&& \"";
    let e = ask(&exec, &json!({ "answer": serial })).await.unwrap_err();
    // It came back through the program as it went in: one text of one key.
    assert!(matches!(e, ProviderError::BadAnswer(_)), "{e}");
    assert!(e.to_string().starts_with("`answer`: "), "{e}");
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let exec = shell(r#"exec <&-; echo '{"answer":"pass"}'"#);
    let large = json!({"params": {"long": "x".repeat(1024 * 1024)}});
    assert!(matches!(ask(&exec, &large).await, Ok(Verdict::Pass(_))));
}

#[tokio::test]
async fn a_program_that_fails_is_quoted() {
    let e = failure(&shell(
        "echo one >&2; echo 'no \u{1b}[2J database' >&2; exit 3",
    ))
    .await;
    assert_eq!(e.code(), "provider.failed");
    assert_eq!(
        e.to_string(),
        r"exit status: 3, no \u{1b}[2J database",
        "the last line without control characters"
    );
    let e = failure(&shell(r#"echo '{"answer":"pass"}'; exit 1"#)).await;
    assert_eq!(e.to_string(), "exit status: 1");
}

#[tokio::test]
async fn garbage_is_a_bad_answer() {
    for script in [
        "true",
        "echo hello",
        "echo '{\"answer\":'",
        "head -c 999 /dev/urandom",
    ] {
        let e = failure(&shell(script)).await;
        assert_eq!(e.code(), "provider.bad-answer", "{script}: {e}");
    }
}

#[tokio::test]
async fn a_flood_of_output_is_cut_off() {
    let e = failure(&shell("exec yes flood-of-output")).await;
    assert_eq!(e.code(), "provider.bad-answer", "{e}");
    all_gone("flood-of-output").await;
    // What goes to the log is read to its end and answers count all the same.
    let exec = shell(r#"head -c 9000000 /dev/urandom >&2; echo '{"answer":"pass"}'"#);
    assert!(matches!(ask(&exec, &json!({})).await, Ok(Verdict::Pass(_))));
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    let long = format!("7101.{:07}", std::process::id());
    let sleep = format!("sleep {long}");
    let exec = shell(&format!("{sleep} & (setsid {sleep} &) ; {sleep}"));
    let asked = exec.ask(&Value::Null);
    let seen = async {
        while running(&long) < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = seen => {}
        () = tokio::time::sleep(PATIENCE) => panic!("it never ran"),
    }
    all_gone(&long).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended() {
    let long = format!("7102.{:07}", std::process::id());
    let exec = shell(&format!(r#"sleep {long} & echo '{{"answer":"pass"}}'"#));
    assert!(matches!(ask(&exec, &json!({})).await, Ok(Verdict::Pass(_))));
    all_gone(&long).await;
}

#[tokio::test]
async fn a_fork_bomb_stays_small() {
    let mut exec = program(&[
        "/usr/bin/perl",
        "-e",
        r#"my $bomb_7103 = 0;
           while (defined(my $child = fork())) {
               $child or sleep 600;
               $bomb_7103++;
           }
           print qq({"answer":"serve","values":{"started":$bomb_7103}});"#,
    ]);
    exec.processes = 20;
    let started: u32 = plan(&exec).await.values["started"].parse().unwrap();
    // What runs besides for the same user and ends meanwhile makes room for more.
    assert!((10..100).contains(&started), "{started} processes");
    all_gone("bomb_7103").await;
}

#[tokio::test]
async fn memory_is_bounded() {
    let mut exec = shell("x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x} >&2; exit 0");
    exec.memory = 32 * 1024 * 1024;
    assert_eq!(failure(&exec).await.code(), "provider.failed");
}

#[tokio::test]
async fn its_folder_is_all_that_a_program_may_write_to() {
    use landlock::{AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
    let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if hard.handle_access(AccessFs::WriteFile).is_err() {
        eprintln!("skipped: this kernel has no Landlock");
        return;
    }
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let exec = shell(&format!(
        r#"echo x > "$TMPDIR/here" && echo x > relative && echo x > /dev/null || exit 1
           (echo x > {0}/there) 2>/dev/null && exit 2
           mkdir {0}/folder 2>/dev/null && exit 3
           printf '{{"answer":"serve","values":{{"folder":"%s"}}}}' "$TMPDIR""#,
        open.path().display()
    ));
    let plan = plan(&exec).await;
    assert!(fs::read_dir(open.path()).unwrap().next().is_none());
    let folder = &plan.values["folder"];
    let since = Instant::now();
    while fs::exists(folder).unwrap() {
        assert!(since.elapsed() < PATIENCE, "{folder} is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_program_gets_few_variables_and_no_privileges() {
    let mut exec = shell(
        r#"status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
           printf '{"answer":"serve","values":{"variables":"%s","room":"%s","new":"%s","caps":"%s"}}' \
             "$(env | cut -d= -f1 | sort | tr '\n' ' ')" "$ROOM" \
             "$(status NoNewPrivs)" "$(status CapEff)""#,
    );
    exec.environment = BTreeMap::from([("ROOM".to_owned(), "lab 3".to_owned())]);
    let values = plan(&exec).await.values;
    assert_eq!(values["variables"], "HOME LANG PATH PWD ROOM TMPDIR ");
    assert_eq!(values["room"], "lab 3");
    assert_eq!(values["new"], "1");
    assert_eq!(values["caps"], "0000000000000000");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let e = failure(&program(&["/nonexistent/program"])).await;
    let text = e.to_string();
    assert_eq!(e.code(), "provider.failed");
    assert!(
        text.contains("126") && text.contains("/nonexistent/program: No such file"),
        "{text}"
    );
}

#[tokio::test]
async fn powershell_runs_scripts_where_it_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = folder.path().join("boot.ps1");
    fs::write(
        &script,
        "$facts = $input | ConvertFrom-Json\n\
         @{ answer = 'pass'; reason = $facts.smbios.serial } | ConvertTo-Json\n",
    )
    .unwrap();
    let mut exec = program(&[]);
    exec.command = Command::PowerShell(script);
    exec.memory = 1024 * 1024 * 1024;
    let answer = ask(&exec, &json!({"smbios": {"serial": "S 1"}})).await;
    match answer {
        Ok(verdict) => {
            assert!(matches!(verdict, Verdict::Pass(reason) if reason.text == "rooms: S 1"));
        }
        Err(e) => assert!(
            e.to_string().starts_with("PowerShell is not installed"),
            "{e}"
        ),
    }
}
