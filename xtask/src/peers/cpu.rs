//! The processor time of a server: of all its processes, also of those that have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bootstorm_e2e::command;
use rustix::process::{Pid, Signal, kill_process};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where a server's processor time is read.
#[derive(Debug)]
pub(crate) enum Account {
    /// A control group of its own, to the nanosecond (version 1) or microsecond (version 2).
    Group { folder: PathBuf, version: u8 },
    /// /proc, in ticks of 10 ms: the process, its children, and the children they waited for.
    Processes,
}

impl Account {
    /// A control group where one can be made, else /proc.
    pub(crate) fn open() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for (parent, version) in parents(&own, &mounts) {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("bootstorm-peers-{}-{number}", std::process::id());
            let folder = parent.join(name);
            let readable = fs::create_dir(&folder).is_ok() && usage(&folder, version).is_ok();
            if readable {
                return Self::Group { folder, version };
            }
            fs::remove_dir(&folder).ok();
        }
        Self::Processes
    }

    /// How exact the figures are.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Group { version: 1, .. } => "control group (cpuacct)",
            Self::Group { .. } => "control group (cpu.stat)",
            Self::Processes => "/proc, in steps of 10 ms",
        }
    }

    /// `command`, so that it and everything it starts is on this account and ends with us.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("sh");
        let join = match self {
            Self::Group { folder, .. } => {
                format!("echo $$ > '{}/cgroup.procs' && ", folder.display())
            }
            Self::Processes => String::new(),
        };
        entered
            .arg("-c")
            .arg(format!("{join}exec \"$@\""))
            .arg("sh");
        entered.args(["setpriv", "--pdeathsig", "TERM", "--"]);
        entered.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                entered.env(name, value);
            }
        }
        entered
    }

    /// What was used up to now by `pid` and everything below it.
    pub(crate) fn read(&self, pid: u32) -> Result<Duration> {
        match self {
            Self::Group { folder, version } => usage(folder, *version),
            Self::Processes => {
                let mut ticks = 0;
                for pid in family(pid)? {
                    // It may have ended since: then its parent has its time.
                    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
                        ticks += stat_ticks(&stat).unwrap_or(0);
                    }
                }
                Ok(Duration::from_secs_f64(
                    ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
                ))
            }
        }
    }
}

impl Drop for Account {
    /// Ends what forking servers leave behind: their children may wait for time-outs.
    fn drop(&mut self) {
        let Self::Group { folder, .. } = self else {
            return;
        };
        for _ in 0..50 {
            for line in fs::read_to_string(folder.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                if let Some(pid) = line.parse().ok().and_then(Pid::from_raw) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            if fs::remove_dir(&*folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("cannot remove the control group {}", folder.display());
    }
}

/// Folders in which a control group that counts processor time may be made, best first.
fn parents(own: &str, mounts: &str) -> Vec<(PathBuf, u8)> {
    let path_of = |controller: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?;
            controllers
                .split(',')
                .any(|name| name == controller)
                .then_some(path.trim_start_matches('/'))
        })
    };
    let mut parents = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind, options, ..] = fields[..] else {
            continue;
        };
        let (controller, version) = match kind {
            "cgroup" if options.split(',').any(|option| option == "cpuacct") => ("cpuacct", 1),
            "cgroup2" => ("", 2),
            _ => continue,
        };
        if let Some(path) = path_of(controller) {
            parents.push((Path::new(mount).join(path), version));
        }
    }
    // Version 1 counts in nanoseconds.
    parents.sort_by_key(|(_, version)| *version);
    parents
}

fn usage(folder: &Path, version: u8) -> Result<Duration> {
    if version == 1 {
        let text = command::read(&folder.join("cpuacct.usage"))?;
        return Ok(Duration::from_nanos(text.trim().parse()?));
    }
    let text = command::read(&folder.join("cpu.stat"))?;
    let micros = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))
        .context("cpu.stat without usage_usec")?;
    Ok(Duration::from_micros(micros.trim().parse()?))
}

/// A process and everything below it.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten()
        {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split(' ')
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    Ok(family)
}

/// utime, stime, cutime and cstime; the name in front of them may hold anything.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(4);
    let mut sum = 0;
    for _ in 0..4 {
        sum += times.next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn four_times_are_summed_behind_any_name() {
        let stat = "7 (a) b 1 (c) S 1 7 7 0 -1 4194560 1 0 0 0 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(stat_ticks(stat), Some(127));
        assert_eq!(stat_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn groups_are_made_below_our_own() {
        let own = "9:name=systemd:/x\n2:cpu,cpuacct:/box\n0::/user.slice/a\n";
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      tmpfs /tmp tmpfs rw 0 0\n";
        let found = parents(own, mounts);
        assert_eq!(
            found,
            [
                (PathBuf::from("/sys/fs/cgroup/cpu/box"), 1),
                (PathBuf::from("/sys/fs/cgroup/unified/user.slice/a"), 2)
            ]
        );
    }

    /// A shell whose child works and ends, and which then stays.
    fn forking(account: &Account) -> std::process::Child {
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("sh -c '{work}'; echo done; exec sleep 100")]);
        let mut entered = account.enter(&shell);
        entered.stdout(Stdio::piped()).spawn().unwrap()
    }

    fn counts_the_child(account: &Account) {
        let mut child = forking(account);
        let mut line = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let used = account.read(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(used.unwrap() >= Duration::from_millis(10));
    }

    #[test]
    fn the_time_of_children_that_have_ended_counts() {
        counts_the_child(&Account::Processes);
        // A group where this machine lets us make one.
        counts_the_child(&Account::open());
    }
}
