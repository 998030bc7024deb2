//! The program loads, and counts what it sees.
#![allow(clippy::unwrap_used, reason = "runs in tests alone")]

use std::time::{Duration, Instant};

use bootstorm_ebpf_shared::{Cause, Class};
use bootstorm_kernel_tests::{Program, Verdict};

#[test]
fn it_loads_at_once_and_passes_what_is_not_ours() {
    let start = Instant::now();
    let mut program = Program::load().unwrap();
    let took = start.elapsed();
    println!("loaded in {took:?}");
    // A second is promised; five are for a machine that does other things too.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let expected = Verdict {
        class: Class::NotOurs,
        cause: Cause::Passed,
    };
    for len in [14, 60, 1514] {
        assert_eq!(program.run(&vec![0; len]).unwrap(), expected);
    }
}
