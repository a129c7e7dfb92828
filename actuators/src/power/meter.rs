//! What a boot draws, added up from one look to the next.
//!
//! Deliberately absent: looking. A boot that was seen too seldom has no figure, so the configured one stays. An editor breaks this by taking
//! a meter that could not be read for a node that draws nothing.

/// With fewer readings a boot was not metered.
const READINGS_MIN: u32 = 5;
/// A longer time without a reading may hold half the boot: nothing is known of it then.
const GAP_MAX_SECONDS: f64 = 30.0;

/// The meter of one boot; times are seconds since the send, power is watts.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<(f64, f64)>,
    joules: f64,
    readings: u32,
    has_gap: bool,
}

impl Meter {
    /// One look: when it was, and what it read. Between two readings the power is taken as a straight line, before the first as constant.
    pub(super) fn add(&mut self, seconds: f64, watts: Option<f64>) {
        let Some(watts) = watts.filter(|watts| watts.is_finite() && *watts >= 0.0) else { return };
        let (before, then) = self.last.unwrap_or((0.0, watts));
        self.has_gap |= seconds - before > GAP_MAX_SECONDS;
        self.joules += (watts + then) / 2.0 * (seconds - before).max(0.0);
        self.readings += 1;
        self.last = Some((seconds, watts));
    }

    /// All joules of a boot that took so many seconds, if it was read often enough.
    pub(super) fn joules(&self, took_seconds: f64) -> Option<f64> {
        let (last, watts) = self.last?;
        let rest = (took_seconds - last).max(0.0);
        (self.readings >= READINGS_MIN && !self.has_gap && rest <= GAP_MAX_SECONDS).then_some(self.joules + watts * rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_metered_unless_it_was_seen_too_seldom() {
        let mut meter = Meter::default();
        for (seconds, watts) in
            [(2.0, Some(10.0)), (4.0, Some(110.0)), (6.0, None), (8.0, Some(110.0)), (10.0, Some(f64::NAN)), (12.0, Some(50.0))]
        {
            meter.add(seconds, watts);
        }
        assert_eq!(meter.joules(13.0), None, "four readings");
        meter.add(14.0, Some(60.0));
        // 2 s of 10 W, 2 s from 10 to 110 W, 4 s of 110 W, 4 s from 110 to 50 W, 2 s from 50 to 60 W, 1 s of 60 W.
        assert_eq!(meter.joules(15.0), Some(20.0 + 120.0 + 440.0 + 320.0 + 110.0 + 60.0));
        assert_eq!(meter.joules(45.0), None, "its end was not seen");
        meter.add(45.0, Some(60.0));
        assert_eq!(meter.joules(45.0), None, "half a minute was not seen");
        assert_eq!(Meter::default().joules(1.0), None);
    }
}
