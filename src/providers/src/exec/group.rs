//! A program and all that it starts.

use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A process group, killed as a whole when its first process ends and when this is dropped. The
/// kernel does so at one blow: no process that is just being started escapes.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    /// Starts a program in a group of its own.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, leader })
    }

    pub(super) fn pipes(
        &mut self,
    ) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        let child = &mut self.child;
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    }

    /// Waits for the first process; what it left behind is killed.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        if let Some(leader) = self.leader {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            let mut children = signal(SignalKind::child())?;
            while waitid(WaitId::Pid(leader), look)?.is_none() {
                children.recv().await;
            }
        }
        // Before it is waited for: until then nobody else can get its number.
        self.kill();
        self.child.wait().await
    }

    fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
