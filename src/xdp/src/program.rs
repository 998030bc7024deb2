//! The program that was built beforehand, and loading it.

use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use caps::{CapSet, Capability};
use rustix::io::Errno;

use crate::error::{XdpError, errno, in_words};

/// Its name in the object, and in the kernel.
pub(crate) const NAME: &str = "bootstorm";

/// Checked against its source by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../ebpf/classifier/bootstorm-classifier.o");

/// Lines of the verifier's log that an error keeps.
const VERIFIER_LINES: usize = 3;

/// Makes the maps and has the program verified.
pub(crate) fn load() -> Result<Ebpf, XdpError> {
    // The program reads no structure of the kernel, so nothing in it is relocated.
    let mut object = EbpfLoader::new()
        .btf(None)
        .load(OBJECT)
        .map_err(|error| refused(&error))?;
    xdp(&mut object)?.load().map_err(|error| match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => rejected(&io_error, &verifier_log.to_string(), has_perfmon()),
        other => refused(&other.into()),
    })?;
    Ok(object)
}

/// The program in the loaded object.
pub(crate) fn xdp(object: &mut Ebpf) -> Result<&mut Xdp, XdpError> {
    let program = object.program_mut(NAME);
    let program = program.and_then(|program| program.try_into().ok());
    program.ok_or_else(|| no_kernel(format!("the object has no XDP program {NAME}"), vec![]))
}

/// An error from before the verifier.
pub(crate) fn refused(error: &EbpfError) -> XdpError {
    match errno(error) {
        Some(Errno::PERM | Errno::ACCESS) => XdpError::NoPrivilege {
            cause: in_words(error),
        },
        _ => no_kernel(in_words(error), vec![]),
    }
}

/// The verifier's answer. It says "permission denied" where a program does what none may, and
/// where it does what none may without CAP_PERFMON; a caller without CAP_BPF gets no log.
fn rejected(error: &std::io::Error, log: &str, perfmon: bool) -> XdpError {
    tracing::debug!(%log, "the verifier's log");
    let lines = last_lines(log);
    let mut cause = format!("BPF_PROG_LOAD: {error}");
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    if denied && (lines.is_empty() || !perfmon) {
        cause.extend(lines.last().map(|line| format!(" [{line}]")));
        return XdpError::NoPrivilege { cause };
    }
    no_kernel(cause, lines)
}

fn has_perfmon() -> bool {
    [Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .any(|capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true))
}

fn no_kernel(cause: String, verifier: Vec<String>) -> XdpError {
    let release = rustix::system::uname();
    XdpError::NoKernel {
        release: release.release().to_string_lossy().into_owned(),
        cause,
        verifier,
    }
}

/// The lines before the statistics: the last one says what is wrong.
fn last_lines(log: &str) -> Vec<String> {
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "mark_"];
    let mut lines: Vec<String> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !STATISTICS.iter().any(|s| line.starts_with(s)))
        .map(str::to_owned)
        .collect();
    lines.split_off(lines.len().saturating_sub(VERIFIER_LINES))
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;

    use super::*;

    const LOG: &str = "\
0: R1=ctx() R10=fp0
12: (71) r0 = *(u8 *)(r2 +14)
invalid access to packet, off=14 size=1, R2(id=0,off=14,r=0)
R2 offset is outside of the packet
verification time 12 usec
stack depth 0
processed 13 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

    #[test]
    fn a_rejection_keeps_the_verifiers_last_words() {
        let denied = std::io::Error::from_raw_os_error(libc::EACCES);
        let error = rejected(&denied, LOG, true);
        assert_eq!(error.code(), "xdp.no-kernel");
        let text = error.to_string();
        assert!(
            text.contains("R2 offset is outside of the packet]"),
            "{text}"
        );
        assert!(!text.contains("processed"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_refusal_without_a_log_is_a_lack_of_privilege() {
        let denied = std::io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(rejected(&denied, "", true).code(), "xdp.no-privilege");
        let old = std::io::Error::from_raw_os_error(libc::EINVAL);
        assert_eq!(rejected(&old, "", true).code(), "xdp.no-kernel");
    }

    #[test]
    fn a_kernel_without_bpf_and_one_that_forbids_it_differ() {
        let no_map = |errno| {
            refused(&EbpfError::MapError(MapError::CreateError {
                name: "RULES".to_owned(),
                io_error: std::io::Error::from_raw_os_error(errno),
            }))
        };
        let none = no_map(libc::ENOSYS);
        assert_eq!(none.code(), "xdp.no-kernel");
        assert!(none.to_string().contains("`RULES`"), "{none}");
        assert!(none.to_string().contains("(os error 38)"), "{none}");
        assert_eq!(no_map(libc::EPERM).code(), "xdp.no-privilege");
    }

    #[test]
    fn what_the_verifier_minds_only_without_perfmon_is_a_lack_of_privilege() {
        let denied = std::io::Error::from_raw_os_error(libc::EACCES);
        let error = rejected(&denied, LOG, false);
        assert_eq!(error.code(), "xdp.no-privilege");
        let text = error.to_string();
        assert!(text.contains("outside of the packet]"), "{text}");
    }
}
