//! Sets up a ring, with what the kernel has of single issuer and deferred task work.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::limits;

/// Opcodes without which the driver does not run. `SendZc` is not used: it came with the same
/// kernel (6.0) as multishot `recvmsg`, which cannot be asked for by itself.
const NEEDED: [(u8, &str); 7] = [
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::RecvMsgMulti::CODE, "recvmsg"),
    (opcode::AcceptMulti::CODE, "accept"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::Madvise::CODE, "madvise"),
    (opcode::SendZc::CODE, "multishot recvmsg (Linux 6.0)"),
];

/// Makes the ring of the calling thread.
///
/// # Errors
/// `PermissionDenied` where io_uring is forbidden, `Unsupported` where it is too old.
pub(super) fn build() -> io::Result<IoUring> {
    let single = IoUring::builder()
        .setup_cqsize(limits::COMPLETIONS)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(limits::SUBMISSIONS);
    let ring = match single {
        // A kernel before 6.1.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::builder()
            .setup_cqsize(limits::COMPLETIONS)
            .setup_coop_taskrun()
            .build(limits::SUBMISSIONS)
            .or_else(|_| {
                IoUring::builder()
                    .setup_cqsize(limits::COMPLETIONS)
                    .build(limits::SUBMISSIONS)
            }),
        other => other,
    }?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !ring.params().is_feature_ext_arg() {
        return Err(lacks("timed waits"));
    }
    match NEEDED.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(lacks(name)),
        None => Ok(ring),
    }
}

fn lacks(what: &str) -> io::Error {
    let text = format!("this kernel's io_uring lacks {what}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}
