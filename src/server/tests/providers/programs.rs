//! Programs.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Server};

/// Nobody else sleeps that long.
const SLEEP: &str = "98765.4321";

fn asking(program: &str) -> Server {
    Lab::new().serve(&format!(
        "[[provider]]\ntype = \"exec\"\nbudget = \"2s\"\nprogram = {program}\n\
         [[provider]]\ntype = \"menu\"\n"
    ))
}

#[test]
fn a_program_says_what_a_machine_boots() {
    let says =
        r#"["/bin/sh", "-c", 'cat > /dev/null; echo "{\"answer\":\"serve\",\"boot\":\"local\"}"']"#;
    let script = asking(says).script("");
    assert!(script.contains("# bootstorm: local\n"), "{script}");
}

#[test]
fn a_program_that_hangs_is_ended_and_the_next_provider_asked() {
    let hangs = format!(r#"["/bin/sh", "-c", "sleep {SLEEP} & wait"]"#);
    let server = asking(&hangs);
    let asked = std::thread::spawn(move || server.script(""));
    assert!(within_ten_seconds(sleeps), "the program does not run");
    let script = asked.join().unwrap();
    assert!(script.contains("# bootstorm: menu\n"), "{script}");
    // The answer does not wait for their end.
    assert!(within_ten_seconds(|| !sleeps()), "what it started goes on");
}

fn within_ten_seconds(happens: impl Fn() -> bool) -> bool {
    (0..200).any(|_| {
        sleep(Duration::from_millis(50));
        happens()
    })
}

fn sleeps() -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{SLEEP}\0").as_bytes())
}
