//! The server's processor time.

use std::fs;
use std::time::Duration;

use super::ServerProcess;

/// What a server took since the beginning, in steps of 10 ms, also while it is another process in
/// between.
#[derive(Debug)]
pub(super) struct ServerClock {
    process: ServerProcess,
    /// The process that was read last, and what it had taken at first and then.
    current: Option<(u32, Duration, Duration)>,
    /// What the ones before took.
    earlier: Duration,
}

impl ServerClock {
    /// Counts from now on.
    pub(super) fn new(process: ServerProcess) -> Self {
        let at_first = |pid| {
            let taken = family_time(pid)?;
            Some((pid, taken, taken))
        };
        Self {
            current: process.pid().and_then(at_first),
            process,
            earlier: Duration::ZERO,
        }
    }

    /// What it took.
    pub(super) fn read(&mut self) -> Duration {
        let pid = self.process.pid();
        if let Some((old, first, last)) = self.current
            && pid != Some(old)
        {
            self.earlier += last.saturating_sub(first);
            self.current = None;
        }
        if let Some(pid) = pid
            && let Some(taken) = family_time(pid)
        {
            // One that is started while we count has everything counted.
            let (_, _, last) = self.current.get_or_insert((pid, Duration::ZERO, taken));
            *last = taken.max(*last);
        }
        let current = self.current.map_or(Duration::ZERO, |(_, first, last)| {
            last.saturating_sub(first)
        });
        self.earlier + current
    }
}

/// What a process, its children and those that it waited for took; `None` when it is gone.
fn family_time(pid: u32) -> Option<Duration> {
    let mut ticks = stat_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let mut family = children(pid);
    while let Some(child) = family.pop() {
        // It may have ended since: then its parent has its time.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat")) {
            ticks += stat_ticks(&stat).unwrap_or(0);
        }
        family.extend(children(child));
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let mut children = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split(' ').filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}

/// utime, stime, cutime and cstime; the name in front of them may hold anything.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(4);
    let mut sum: u64 = 0;
    for _ in 0..4 {
        sum = sum.saturating_add(times.next()?.parse().ok()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell whose child works and ends, and which then stays.
    fn busy() -> Child {
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut child = Command::new("sh")
            .args(["-c", &format!("sh -c '{work}'; echo done; exec sleep 100")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut [0; 4])
            .unwrap();
        child
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn four_times_are_summed_behind_any_name() {
        let stat = "7 (a) b 1 (c) S 1 7 7 0 -1 4194560 1 0 0 0 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(stat_ticks(stat), Some(127));
        assert_eq!(stat_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_server_that_is_started_again_goes_on_counting() {
        let process = ServerProcess::new(0);
        let mut clock = ServerClock::new(process.clone());
        assert_eq!(clock.read(), Duration::ZERO);
        let child = busy();
        process.replace(child.id());
        let first = clock.read();
        assert!(first >= Duration::from_millis(10), "{first:?}");
        end(child);
        assert!(clock.read() >= first);
        let child = busy();
        process.replace(child.id());
        let both = clock.read();
        assert!(both >= first + Duration::from_millis(10), "{both:?}");
        process.replace(0);
        assert_eq!(clock.read(), both);
        end(child);
    }

    #[test]
    fn what_a_server_took_before_does_not_count() {
        let child = busy();
        let mut clock = ServerClock::new(ServerProcess::new(child.id()));
        assert!(clock.read() < Duration::from_millis(10));
        end(child);
    }
}
