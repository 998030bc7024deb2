//! The server starts itself to confine the programs that it asks about machines.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use bootstorm_policy::decision::Verdict;
use bootstorm_providers::{Ask as _, Command, Exec};

#[test]
fn the_server_becomes_the_program_word_by_word() {
    // Words that a command line could take for its own.
    let words = [
        "/usr/bin/printf",
        "--",
        r#"{"answer":"pass","reason":"%s"}"#,
        "--help -- $(id)",
    ];
    let exec = Exec {
        name: "rooms".to_owned(),
        command: Command::Program(words.map(str::to_owned).into()),
        memory: 256 * 1024 * 1024,
        processes: 64,
        budget: Duration::from_secs(60),
        environment: BTreeMap::new(),
        server: env!("CARGO_BIN_EXE_bootstorm").into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = runtime
        .unwrap()
        .block_on(exec.ask(&serde_json::Value::Null));
    let Ok(Verdict::Pass(reason)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(reason.text, "rooms: --help -- $(id)");
}
