//! The only place that reads the system's clocks.
//!
//! Time goes forward only: it is the wall clock at the start plus what the monotonic clock has counted since. Where the wall clock
//! jumps, the jump is reported once and then followed if it leads forward; a jump back is reported and not followed, so that
//! windows never hold two samples of one moment. The daemon's time may also run faster than the machine's ([`ScaledClock`]): whoever waits
//! in the daemon's time asks [`Clock::real`] how long that is. An editor breaks this by reading `SystemTime` anywhere else, or by
//! turning a span of the daemon's time into a wait with `to_std`.

use homeostat_model::{Span, Time};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock that differs by more than this from what the monotonic clock counts has jumped.
const JUMP_MIN: Span = Span::from_secs(5);

/// In faster time, real answers may take this long.
pub const PATIENCE_MIN: Duration = Duration::from_secs(2);
/// The fastest and the slowest that a [`ScaledClock`] runs.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Now; never earlier than an answer before.
    fn now(&self) -> Time;
    /// A jump of the wall clock since the last call: from, to.
    fn jumped(&self) -> Option<(Time, Time)>;
    /// How long to wait, in real time, until `at` has come.
    fn wait_until(&self, at: Time) -> Duration;
    /// How long `span` of this clock's time is in real time. Negative spans are no time at all.
    fn real(&self, span: Span) -> Duration {
        span.to_std()
    }
    /// How long to wait, in real time, for something that takes real time (a network's answer) and may take `span` of this clock's.
    /// In faster time the answer is given [`PATIENCE_MIN`] all the same, or `span` where that is shorter.
    fn patience(&self, span: Span) -> Duration {
        self.real(span).max(span.to_std().min(PATIENCE_MIN))
    }
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

/// A clock that runs `speed` times as fast as the machine's, from a moment of its own. The wall clock does not touch it.
pub struct ScaledClock {
    start: Time,
    instant: Instant,
    speed: f64,
}

impl ScaledClock {
    /// A clock that shows `start` now. `speed` is held within [`SPEEDS`].
    pub fn new(start: Time, speed: f64) -> ScaledClock {
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(*SPEEDS.start(), *SPEEDS.end()) };
        ScaledClock { start, instant: Instant::now(), speed }
    }

    /// A clock that begins at the wall clock's time.
    pub fn from_now(speed: f64) -> ScaledClock {
        ScaledClock::new(wall(), speed)
    }

    /// How many of its seconds one second has.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    fn at(&self, elapsed: Duration) -> Time {
        self.start + Span((elapsed.as_secs_f64() * 1000.0 * self.speed) as i64)
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Time {
        self.at(self.instant.elapsed())
    }

    fn jumped(&self) -> Option<(Time, Time)> {
        None
    }

    fn wait_until(&self, at: Time) -> Duration {
        self.real(at.since(self.now()))
    }

    fn real(&self, span: Span) -> Duration {
        let seconds = span.millis().max(0) as f64 / 1000.0 / self.speed;
        // `Time::MAX` stands for "never"; nobody waits longer than a year.
        Duration::from_secs_f64(seconds.min(31_536_000.0))
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

    #[test]
    fn the_systems_clock_and_the_hands_wait_as_long_as_they_say() {
        let clocks: [&dyn Clock; 2] = [&SystemClock::default(), &ManualClock::new(Time(5))];
        for clock in clocks {
            for span in [Span::ZERO, Span::from_millis(1), Span::from_secs(10), Span::from_hours(300)] {
                assert_eq!(clock.real(span), span.to_std());
                assert_eq!(clock.patience(span), span.to_std());
            }
            assert_eq!(clock.real(Span(-5)), Duration::ZERO);
        }
    }

    #[test]
    fn a_scaled_clock_counts_faster_and_waits_shorter() {
        let clock = ScaledClock::new(Time(1_000), 30.0);
        assert_eq!(clock.at(Duration::from_secs(10)), Time(1_000) + Span::from_mins(5));
        assert_eq!(clock.real(Span::from_mins(5)), Duration::from_secs(10));
        assert_eq!(clock.patience(Span::from_mins(5)), Duration::from_secs(10));
        assert_eq!(clock.patience(Span::from_secs(10)), PATIENCE_MIN, "a network's answer does not come faster");
        assert_eq!(clock.patience(Span::from_millis(300)), Duration::from_millis(300), "and nobody waits longer than was said");
        assert!(clock.wait_until(clock.now() + Span::from_mins(5)) <= Duration::from_secs(10));
        assert_eq!(clock.wait_until(Time(0)), Duration::ZERO);
        assert!(clock.wait_until(Time::MAX) > Duration::from_secs(86_400), "never is far away, and no panic");
        assert_eq!(ScaledClock::new(Time(0), f64::NAN).speed(), 1.0);
        assert_eq!(ScaledClock::new(Time(0), 0.0).speed(), 0.1);
        let one = ScaledClock::new(Time(0), 1.0);
        assert_eq!(one.patience(Span::from_secs(7)), Duration::from_secs(7));
    }
}
