//! The only place that reads the system's clocks.
//!
//! Time goes forward only: it is the wall clock at the start plus what the monotonic clock has counted since. Where the wall clock
//! jumps, the jump is reported once and then followed if it leads forward; a jump back is reported and not followed, so that
//! windows never hold two samples of one moment. An editor breaks this by reading `SystemTime` anywhere else.

use homeostat_model::{Span, Time};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock that differs by more than this from what the monotonic clock counts has jumped.
const JUMP_MIN: Span = Span::from_secs(5);

/// A source of time.
pub trait Clock: Send + Sync {
    /// Now; never earlier than an answer before.
    fn now(&self) -> Time;
    /// A jump of the wall clock since the last call: from, to.
    fn jumped(&self) -> Option<(Time, Time)>;
    /// How long to wait, in real time, until `at` has come.
    fn wait_until(&self, at: Time) -> Duration;
}

struct Anchor {
    time: Time,
    instant: Instant,
    /// By how much the wall clock is known to differ from ours.
    offset: i64,
}

/// The system's clock.
pub struct SystemClock {
    anchor: Mutex<Anchor>,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { anchor: Mutex::new(Anchor { time: wall(), instant: Instant::now(), offset: 0 }) }
    }
}

fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl SystemClock {
    fn anchor(&self) -> std::sync::MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Anchor {
    fn now(&self) -> Time {
        self.time + Span(i64::try_from(self.instant.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Takes in what the wall clock says at our time `now`; gives the jump, if it is one.
    fn follow(&mut self, now: Time, wall: Time) -> Option<(Time, Time)> {
        let moved = wall.millis() - now.millis() - self.offset;
        if moved.abs() < JUMP_MIN.millis() {
            return None;
        }
        let from = Time(now.millis() + self.offset);
        if wall > now {
            *self = Anchor { time: wall, instant: Instant::now(), offset: 0 };
        } else {
            self.offset = wall.millis() - now.millis();
        }
        Some((from, wall))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        self.anchor().now()
    }

    fn jumped(&self) -> Option<(Time, Time)> {
        let mut anchor = self.anchor();
        let now = anchor.now();
        anchor.follow(now, wall())
    }

    fn wait_until(&self, at: Time) -> Duration {
        at.since(self.now()).to_std()
    }
}

/// A clock that stands still until it is set: for virtual time and tests.
#[derive(Default)]
pub struct ManualClock {
    now: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Time) -> ManualClock {
        ManualClock { now: AtomicI64::new(at.millis()) }
    }

    /// Moves it forward; never back.
    pub fn set(&self, at: Time) {
        self.now.fetch_max(at.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.now.load(Ordering::SeqCst))
    }
    fn jumped(&self) -> Option<(Time, Time)> {
        None
    }
    fn wait_until(&self, at: Time) -> Duration {
        // Whoever sets the clock also wakes the waiter.
        if at <= self.now() { Duration::ZERO } else { Duration::from_secs(3600) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_forward_is_followed_and_a_jump_back_is_not() {
        let mut anchor = Anchor { time: Time(1_000_000), instant: Instant::now(), offset: 0 };
        let now = anchor.now();
        assert_eq!(anchor.follow(now, now + Span::from_secs(1)), None, "a second is no jump");
        let (_, to) = anchor.follow(now, now + Span::from_secs(60)).expect("a minute is");
        assert!(anchor.now() >= to);
        let now = anchor.now();
        let back = now - Span::from_secs(600);
        assert_eq!(anchor.follow(now, back).map(|(_, to)| to), Some(back));
        assert!(anchor.now() >= now, "our time never runs backwards");
        let later = anchor.now();
        assert_eq!(anchor.follow(later, back), None, "the same jump is reported once");
    }
}
