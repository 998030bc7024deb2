//! Programs.

use std::fs;

use crate::program::{Server, wait_until};
use crate::{BUDGET, lab};

fn asking(budget: &str, program: &str) -> Server {
    let exec = format!("[[provider]]\ntype = \"exec\"\n{budget}program = {program}\n");
    lab(&format!("{exec}[[provider]]\ntype = \"menu\"\n")).serve()
}

#[test]
fn a_program_says_what_a_machine_boots() {
    let says =
        r#"["/bin/sh", "-c", 'cat > /dev/null; echo "{\"answer\":\"serve\",\"boot\":\"local\"}"']"#;
    let script = asking(BUDGET, says).script("");
    assert!(script.contains("# bootstorm: local\n"), "{script}");
}

#[test]
fn a_program_that_hangs_is_ended_and_the_next_provider_asked() {
    // Nobody else sleeps that long.
    let long = format!("98765.{}", std::process::id());
    let hangs = format!(r#"["/bin/sh", "-c", "sleep {long} & wait"]"#);
    let server = asking("budget = \"4s\"\n", &hangs);
    let asked = std::thread::spawn(move || server.script(""));
    wait_until("the program does not run", || sleeps(&long));
    let script = asked.join().unwrap();
    assert!(script.contains("# bootstorm: menu\n"), "{script}");
    // The answer does not wait for their end.
    wait_until("what it started goes on", || !sleeps(&long));
}

fn sleeps(long: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{long}\0").as_bytes())
}
