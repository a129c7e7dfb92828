//! How fast the daemon's time runs against the machine's: an actuator that waits in the daemon's time asks here how long that is.
//!
//! Deliberately absent: a clock. What takes real time (a process, a server's answer) keeps its real limits; only [`crate::power`],
//! which waits for a node to boot in the daemon's world, is paced. An editor breaks this by pacing a limit of something real.

use homeostat_model::Span;
use std::time::Duration;

/// The shortest wait, so that nothing spins in fast time.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Seconds of the daemon's time per real second; 1 unless the daemon is run in faster time.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Pace(f64);

impl Default for Pace {
    fn default() -> Pace {
        Pace(1.0)
    }
}

impl Pace {
    /// A pace; what is no positive number counts as 1.
    pub fn new(speed: f64) -> Pace {
        Pace(if speed.is_finite() && speed > 0.0 { speed } else { 1.0 })
    }

    /// How long a wait of the daemon's time is in real time. At pace 1 it is the span itself; faster, at least a millisecond unless
    /// it is nothing.
    pub fn real(self, span: Span) -> Duration {
        if self.0 == 1.0 || span <= Span::ZERO {
            return span.to_std();
        }
        span.to_std().div_f64(self.0).max(WAIT_MIN)
    }

    /// The other way round: how much of the daemon's time has passed in `real`, in seconds.
    pub fn seconds_in(self, real: Duration) -> f64 {
        real.as_secs_f64() * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_pace_one_a_wait_is_what_was_written() {
        for millis in [-5, 0, 1, 2_000, 86_400_000] {
            assert_eq!(Pace::default().real(Span(millis)), Span(millis).to_std());
        }
        assert_eq!(Pace::new(f64::NAN), Pace::default());
        assert_eq!(Pace::new(0.0), Pace::default());
    }

    #[test]
    fn faster_time_waits_shorter_and_never_spins() {
        let pace = Pace::new(30.0);
        assert_eq!(pace.real(Span::from_mins(5)), Duration::from_secs(10));
        assert_eq!(pace.real(Span(1)), WAIT_MIN);
        assert_eq!(pace.real(Span::ZERO), Duration::ZERO);
        assert_eq!(pace.seconds_in(Duration::from_secs(2)), 60.0);
    }
}
