//! What attaching takes, and that nothing of it is left afterwards.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bootstorm_ebpf_shared::Table;
use bootstorm_kernel_tests::holder::{Holder, start, within};
use bootstorm_kernel_tests::network::{cable, in_namespace, xdp_of};
use bootstorm_xdp::{Mode, Roster, give_up_capabilities};

const HOLD: &str = env!("CARGO_BIN_EXE_hold");
/// Bits of capabilities(7): NET_ADMIN, SYS_ADMIN, PERFMON, BPF.
const GIVEN_UP: u64 = 1 << 12 | 1 << 21 | 1 << 38 | 1 << 39;

#[test]
fn three_capabilities_are_enough() {
    in_namespace(|| {
        cable("x", 1)?;
        for mode in ["native", "generic", "auto"] {
            let holder = Holder::start(
                HOLD,
                &format!("--caps CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON {mode} xa"),
            )?;
            assert_eq!(
                holder.lines.last().map(String::as_str),
                Some("ready"),
                "{:?}",
                holder.lines
            );
            assert!(xdp_of("xa")?.is_some());
        }
        Ok(())
    });
}

#[test]
fn without_one_of_them_the_reason_is_told_and_auto_goes_on() {
    in_namespace(|| {
        cable("x", 1)?;
        for caps in [
            "CAP_BPF,CAP_NET_ADMIN",
            "CAP_BPF,CAP_PERFMON",
            "CAP_NET_ADMIN",
            "CAP_NET_RAW",
        ] {
            let holder = Holder::start(HOLD, &format!("--caps {caps} native xa"))?;
            let [line] = &holder.lines[..] else {
                panic!("{caps}: {:?}", holder.lines)
            };
            assert!(line.starts_with("xdp.no-privilege "), "{caps}: {line}");
            assert!(line.contains("(os error 1"), "{caps}: {line}");
            let holder = Holder::start(HOLD, &format!("--caps {caps} auto xa"))?;
            let [line, ready] = &holder.lines[..] else {
                panic!("{caps}: {:?}", holder.lines)
            };
            assert!(line.starts_with("xa: classifier in user space"), "{line}");
            assert!(line.ends_with("[xdp.no-privilege]"), "{line}");
            assert_eq!(ready, "ready");
            assert_eq!(xdp_of("xa")?, None);
        }
        Ok(())
    });
}

#[test]
fn who_may_not_ask_for_names_is_told_the_number() {
    in_namespace(|| {
        cable("x", 1)?;
        let _first = start(Mode::Native, false, &["xa"])??;
        let caps = "--caps CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON";
        let holder = Holder::start(HOLD, &format!("{caps} native xa"))?;
        let [line] = &holder.lines[..] else {
            panic!("{:?}", holder.lines)
        };
        assert!(line.starts_with("xdp.occupied xa: XDP program "), "{line}");
        // The link of another process takes CAP_SYS_ADMIN.
        let holder = Holder::start(HOLD, &format!("{caps} --replace native xa"))?;
        let [line] = &holder.lines[..] else {
            panic!("{:?}", holder.lines)
        };
        assert!(line.contains("cannot be detached"), "{line}");
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdp"));
        Ok(())
    });
}

#[test]
fn what_is_given_up_is_gone_and_nothing_else_needs_it() {
    in_namespace(|| {
        cable("x", 1)?;
        let classifier = start(Mode::Native, false, &["xa"])??;
        give_up_capabilities()?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let left = capabilities("/proc/thread-self/status", set)?;
            assert_eq!(left & GIVEN_UP, 0, "{set}: {left:x}");
        }
        classifier.set_table(&Table::default())?;
        classifier.set_roster(&Roster {
            known: vec![[2, 0, 0, 0, 0, 1]],
            banned_macs: vec![[2, 0, 0, 0, 0, 2]],
            banned_guids: vec![[7; 16]],
        })?;
        assert_eq!(classifier.refused(&[2, 0, 0, 0, 0, 1]), Some(0));
        classifier.counts()?;
        let error = bootstorm_xdp::check()
            .err()
            .context("it may load no more")?;
        assert_eq!(error.code(), "xdp.no-privilege");
        drop(classifier);
        assert_eq!(xdp_of("xa")?, None, "letting go takes no capability");
        Ok(())
    });
}

#[test]
fn the_classifiers_own_thread_keeps_none() {
    in_namespace(|| {
        cable("x", 1)?;
        let _classifier = start(Mode::Native, false, &["xa"])??;
        // Those of tests beside this one are as good.
        within(Duration::from_secs(5), "capabilities of the thread", || {
            let mut seen = 0;
            for task in fs::read_dir("/proc/self/task")? {
                let task = task?.path();
                let Ok(name) = fs::read_to_string(task.join("comm")) else {
                    continue;
                };
                if name.trim() == "classifier" {
                    seen += 1;
                    let status = task.join("status");
                    let status = status.to_str().context("a path of ASCII")?;
                    if capabilities(status, "CapPrm").unwrap_or(0) & GIVEN_UP != 0 {
                        return Ok(false);
                    }
                }
            }
            Ok(seen > 0)
        })
    });
}

fn capabilities(status: &str, set: &str) -> Result<u64> {
    let status = fs::read_to_string(status)?;
    let mut lines = status.lines();
    let bits = lines.find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
    Ok(u64::from_str_radix(bits.context("no such set")?, 16)?)
}
