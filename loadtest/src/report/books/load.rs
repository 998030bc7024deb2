//! Processor time, and whether this program was slower than what it measures.

use std::time::Duration;

use super::super::Cpu;
use super::super::times::{rounded, seconds_of};

/// From this share of a core on, its one thread has no time left.
const FULL: f64 = 0.9;
/// Below this share of a core it is not waited for, whatever it takes a byte: on a slow line that is
/// its clock's ticks.
const IDLE: f64 = 0.1;
/// Below this much processor time, its figures are the clock's, not the work's.
const TELLING: Duration = Duration::from_millis(500);
/// Bytes from which on processor time is told for each of them.
const BYTES_MIN: u64 = 1_000_000;

/// Processor time so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    own: Duration,
    server: Option<Duration>,
    at: Duration,
    full: Duration,
}

impl Load {
    /// Adds a sample.
    pub(super) fn add(&mut self, at: Duration, own: Duration, server: Option<Duration>) {
        let time = at.saturating_sub(self.at);
        let busy = own.saturating_sub(self.own);
        if busy.as_secs_f64() >= FULL * time.as_secs_f64() && !time.is_zero() {
            self.full += time;
        }
        (self.at, self.own) = (at, own);
        self.server = server.or(self.server);
    }

    pub(super) const fn own(&self) -> Duration {
        self.own
    }

    pub(super) const fn server(&self) -> Option<Duration> {
        self.server
    }

    pub(super) fn cpu(&self, elapsed: Duration, bytes: u64) -> Cpu {
        let [own, server] = [Some(self.own), self.server].map(|time| time.map(seconds_of));
        let per_gb = |seconds: f64| {
            (bytes >= BYTES_MIN).then(|| rounded(seconds / (bytes as f64 / 1e9), 1e4))
        };
        let own = own.unwrap_or_default();
        Cpu {
            own_s: own,
            server_s: server,
            own_s_per_gb: per_gb(own),
            server_s_per_gb: server.and_then(per_gb),
            own_share: rounded(own / elapsed.as_secs_f64().max(1e-3), 1e4),
            own_full_s: seconds_of(self.full),
        }
    }
}

/// Why the figures may be this program's own and not the server's, if they may.
pub(super) fn bottleneck(cpu: &Cpu, elapsed: Duration) -> Option<String> {
    if cpu.own_s < TELLING.as_secs_f64() || cpu.own_share < IDLE {
        return None;
    }
    if cpu.own_full_s >= (elapsed.as_secs_f64() / 10.0).max(1.0) {
        return Some(format!(
            "its core was {:.0} % and more busy for {:.1} of {:.1} s",
            FULL * 100.0,
            cpu.own_full_s,
            elapsed.as_secs_f64()
        ));
    }
    match (cpu.own_s_per_gb, cpu.server_s_per_gb) {
        (Some(own), Some(server)) if own > server => Some(format!(
            "it took {own:.2} s of processor time a GB, the server {server:.2} s"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_full_core_is_a_bottleneck() {
        let mut load = Load::default();
        for quarter in 1..=20 {
            load.add(ms(250 * quarter), ms(240 * quarter), None);
        }
        let cpu = load.cpu(ms(5_000), 0);
        assert_eq!(cpu.own_full_s, 5.0);
        assert_eq!(cpu.own_s_per_gb, None);
        let evidence = bottleneck(&cpu, ms(5_000)).unwrap();
        assert_eq!(evidence, "its core was 90 % and more busy for 5.0 of 5.0 s");
    }

    #[test]
    fn more_work_than_the_servers_is_a_bottleneck() {
        let mut load = Load::default();
        load.add(ms(10_000), ms(2_000), Some(ms(1_000)));
        let cpu = load.cpu(ms(10_000), 4_000_000_000);
        assert_eq!(cpu.own_s_per_gb, Some(0.5));
        assert_eq!(cpu.server_s_per_gb, Some(0.25));
        assert!(bottleneck(&cpu, ms(10_000)).unwrap().contains("0.50 s"));
    }

    #[test]
    fn a_harness_with_time_left_is_none() {
        let mut load = Load::default();
        load.add(ms(10_000), ms(1_000), Some(ms(2_000)));
        let cpu = load.cpu(ms(10_000), 4_000_000_000);
        assert_eq!(bottleneck(&cpu, ms(10_000)), None);
        // More a byte than the server, on a line that both wait for.
        let mut slow = Load::default();
        slow.add(ms(60_000), ms(3_000), Some(ms(300)));
        assert_eq!(
            bottleneck(&slow.cpu(ms(60_000), 30_000_000), ms(60_000)),
            None
        );
        // A server that has gone keeps what it took.
        load.add(ms(10_250), ms(1_000), None);
        assert_eq!(load.server(), Some(ms(2_000)));
        // Too little to be told from the clock's steps.
        let mut short = Load::default();
        short.add(ms(250), ms(249), Some(ms(10)));
        assert_eq!(bottleneck(&short.cpu(ms(250), 2_000_000), ms(250)), None);
    }
}
