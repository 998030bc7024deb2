//! Deadlines of connections: one heap, touched only when a deadline comes nearer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::driver::ConnId;

/// Alarms. A connection whose deadline moves away keeps its alarm, which is set anew when it goes
/// off too early: data that flows costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Timers {
    alarms: BinaryHeap<Reverse<(Instant, u32, u32)>>,
}

impl Timers {
    /// Sets an alarm for `deadline` unless `alarm`, the connection's present one, comes earlier.
    pub(super) fn set(&mut self, conn: ConnId, alarm: &mut Option<Instant>, deadline: Instant) {
        if alarm.is_none_or(|alarm| deadline < alarm) {
            *alarm = Some(deadline);
            self.alarms
                .push(Reverse((deadline, conn.slot, conn.generation)));
        }
    }

    /// When the next alarm goes off.
    pub(super) fn next(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse((at, ..))| *at)
    }

    /// An alarm that has gone off by `now`, and the time that it was set for. It counts only if
    /// that is still the connection's present alarm.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(ConnId, Instant)> {
        let Reverse((at, slot, generation)) = *self.alarms.peek()?;
        if at > now {
            return None;
        }
        self.alarms.pop();
        Some((ConnId { slot, generation }, at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_alarm_is_set_only_for_a_nearer_deadline() {
        let (mut timers, mut alarm) = (Timers::default(), None);
        let conn = ConnId {
            slot: 3,
            generation: 7,
        };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        timers.set(conn, &mut alarm, after(60));
        timers.set(conn, &mut alarm, after(90));
        assert_eq!((timers.next(), alarm), (Some(after(60)), Some(after(60))));
        timers.set(conn, &mut alarm, after(15));
        assert_eq!((timers.next(), alarm), (Some(after(15)), Some(after(15))));
        assert_eq!(timers.pop(after(14)), None);
        assert_eq!(timers.pop(after(70)), Some((conn, after(15))));
        assert_eq!(timers.pop(after(70)), Some((conn, after(60))));
        assert_eq!(timers.pop(after(70)), None);
    }
}
