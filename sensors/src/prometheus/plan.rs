//! What a read asks for: the present, or a slice of the past. Pure: times in, a plan out.
//!
//! A sensor that has covered everything up to a moment reads the present. One that has not (at start, after an outage) reads the
//! past first, slice by slice, oldest first; only then the present, so that windows fill in order of time. Deliberately absent:
//! IO. An editor breaks this by moving `covered` past a slice that did not come.

use homeostat_model::{Span, Time};

/// A read covers this many intervals, so that a late one loses nothing.
const COVER: f64 = 2.5;
/// The longest slice of the past asked for at once.
const SLICE_MAX: Span = Span::from_hours(1);
/// A slice's first length; it doubles while answers come and halves when they do not.
const SLICE_START: Span = Span::from_mins(30);
/// Prometheus refuses more than 11,000 steps per query; a little below.
const STEPS_MAX: i64 = 10_900;

/// What to ask for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The newest samples.
    Fresh,
    /// Everything after `from`, up to and with `to`.
    Past {
        /// The start, not included.
        from: Time,
        /// The end, included.
        to: Time,
    },
}

/// How far the sensor has read.
#[derive(Debug)]
pub(super) struct Coverage {
    interval: Span,
    backfill: Span,
    covered: Option<Time>,
    slice: Span,
}

impl Coverage {
    pub(super) fn new(interval: Span, backfill: Span) -> Coverage {
        let slice = SLICE_START.min(Coverage::slice_max(interval));
        Coverage { interval, backfill, covered: None, slice }
    }

    fn slice_max(interval: Span) -> Span {
        SLICE_MAX.min(Span(interval.millis().saturating_mul(STEPS_MAX)))
    }

    /// The window of a fresh read.
    pub(super) fn window(&self) -> Span {
        self.interval.times(COVER)
    }

    /// What to ask for at `at`, given that everything up to `reached` (in this read) is there.
    pub(super) fn next(&self, at: Time, reached: Option<Time>) -> Plan {
        let earliest = at - self.backfill.max(self.window());
        let from = reached.or(self.covered).unwrap_or(earliest).max(earliest);
        if at.since(from) <= self.window() { Plan::Fresh } else { Plan::Past { from, to: (from + self.slice).min(at) } }
    }

    /// A plan's answers have all been handed over. A clock that was set back starts over from there.
    pub(super) fn cover(&mut self, to: Time) {
        self.covered = Some(to);
    }

    /// A slice came whole: try a longer one next.
    pub(super) fn lengthen(&mut self) {
        self.slice = Span(self.slice.millis().saturating_mul(2)).min(Coverage::slice_max(self.interval));
    }

    /// A slice was too much for the server, or for the body limit: half as long next. `false` if it cannot be shorter.
    pub(super) fn shorten(&mut self) -> bool {
        let least = self.window();
        if self.slice <= least {
            return false;
        }
        self.slice = Span(self.slice.millis() / 2).max(least);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: i64) -> Time {
        Time(count * 60_000)
    }

    #[test]
    fn the_past_comes_first_in_slices_and_then_the_present() {
        let mut coverage = Coverage::new(Span::from_secs(15), Span::from_hours(2));
        let (mut plans, at) = (Vec::new(), minutes(1000));
        while let Plan::Past { from, to } = coverage.next(at, None) {
            plans.push((from, to));
            coverage.cover(to);
            coverage.lengthen();
        }
        assert_eq!(plans, [(minutes(880), minutes(910)), (minutes(910), minutes(970)), (minutes(970), minutes(1000))]);
        assert_eq!(coverage.next(at + Span::from_secs(15), None), Plan::Fresh);
        let gap = coverage.next(minutes(1003), None);
        assert_eq!(gap, Plan::Past { from: minutes(1000), to: minutes(1003) }, "an outage is filled from where it began");
    }

    #[test]
    fn a_slice_halves_to_the_window_and_never_exceeds_the_steps() {
        let mut coverage = Coverage::new(Span::from_secs(60), Span::from_hours(6));
        let halvings = std::iter::from_fn(|| coverage.shorten().then_some(())).count();
        assert_eq!((halvings, coverage.slice), (4, Span::from_secs(150)));
        let mut quick = Coverage::new(Span::from_millis(100), Span::from_hours(6));
        (0..9).for_each(|_| quick.lengthen());
        assert!(quick.slice.millis() / 100 <= 11_000);
    }

    #[test]
    fn without_backfill_only_the_window_is_read() {
        assert_eq!(Coverage::new(Span::from_secs(15), Span::ZERO).next(minutes(10), None), Plan::Fresh);
    }
}
