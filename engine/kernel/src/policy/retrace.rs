//! Looking at a target again without its script: most evaluations end quietly, the same way as the one before.
//!
//! A script sees nothing but its reads, its parameters, its target's labels and what its selectors name. So its path through the
//! code is fixed by what it was *told*: the outcome of each comparison, whether each reading is known, and the values that left the
//! readings as numbers, texts or truths (*taken*). A [`Trail`] holds all of these, with the arithmetic between readings as [`Step`]s.
//! Where every read, made again, would tell the script the same, the script would go the same way to the same end, and is not run;
//! only the values and margins of the trail are new. Anything else, and anything unclear, is for the script. The caller sees to it
//! that what the trail cannot show has not changed: policy, parameters, what the selectors name; and that the end was quiet.
//!
//! An editor breaks this by registering a function (`api`) that hands a script something of a reading without
//! [`taken`](super::reading::taken), or something that is not a read at all.

use super::reading::Compare;
use super::session::{COST_MAX, Compared, Op, STEPS_MAX, Session, Shared, Trail, lock};
use crate::store::{Read, SeriesRef, Store};
use homeostat_model::Time;

/// What a number of a script's arithmetic is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A number of the script's own; it stands beside.
    Number,
    /// What the read with this number gave.
    Read(u32),
    /// The greatest (of `held_below`) or least sample (of `held_above`) of the window of this read.
    Extreme(u32),
    /// What this step gave.
    Step(u32),
}

/// Arithmetic with at least one reading in it.
#[derive(Copy, Clone, Debug)]
pub struct Step {
    apply: fn(f64, f64) -> f64,
    left: Of,
    right: Of,
    /// The number, where one of the two is one.
    number: f64,
    value: Option<f64>,
    taken: bool,
}

impl Op {
    /// Makes the read; nothing where it is none of a series.
    pub(super) fn read(self, store: &Store, series: SeriesRef, now: Time) -> Option<Read> {
        let over = |span| store.window(series, now, span);
        Some(match self {
            Op::Last => store.last(series, now),
            Op::LastOver(span) => over(span).last(),
            Op::Avg(span) => over(span).avg(),
            Op::Min(span) => over(span).min(),
            Op::Max(span) => over(span).max(),
            Op::Sum(span) => over(span).sum(),
            Op::Stddev(span) => over(span).stddev(),
            Op::Quantile(q, span) => over(span).quantile(q),
            Op::Rate(span) => over(span).rate(),
            Op::Increase(span) => over(span).increase(),
            Op::Delta(span) => over(span).delta(),
            Op::Slope(span) => over(span).slope(),
            Op::SecondsUntil(level, span) => over(span).seconds_until(level),
            Op::Coverage(span) => over(span).coverage(),
            Op::Count(span) => over(span).count(),
            Op::HeldAbove(level, span) => over(span).held_above(level),
            Op::HeldBelow(level, span) => over(span).held_below(level),
            Op::AbsentFor(span) => store.absent_for(series, now, span),
            Op::Named => return None,
        })
    }

    /// The sample that is nearest to the other side, of a read that asks whether all were on one.
    pub(super) fn extreme(self, store: &Store, series: SeriesRef, now: Time) -> Option<f64> {
        match self {
            Op::HeldBelow(_, span) => store.window(series, now, span).max().value.value(),
            Op::HeldAbove(_, span) => store.window(series, now, span).min().value.value(),
            _ => None,
        }
    }
}

/// Records arithmetic; gives what stands for its result.
pub(super) fn step(shared: &Shared, apply: fn(f64, f64) -> f64, left: Of, right: Of, number: f64, value: Option<f64>) -> Of {
    let session = &mut *lock(shared);
    if session.steps.len() >= STEPS_MAX {
        // The result stands for nothing then, but nobody will look.
        session.is_unclear = true;
        return Of::Number;
    }
    session.steps.push(Step { apply, left, right, number, value, taken: false });
    Of::Step(session.steps.len() as u32 - 1)
}

impl Session {
    /// Notes that the script got hold of the value itself.
    pub(super) fn take(&mut self, of: Of) {
        match of {
            Of::Read(read) | Of::Extreme(read) => {
                if let Some(seen) = self.seen.get_mut(read as usize) {
                    seen.taken = true;
                }
            }
            Of::Step(step) => {
                if let Some(step) = self.steps.get_mut(step as usize) {
                    step.taken = true;
                }
            }
            Of::Number => {}
        }
    }

    /// Makes the reads of a trail again, now, and brings it up to date. Gives until when the answer stays the same if nothing new
    /// arrives; nothing where the script must be run, and then the trail is worth nothing. Allocates nothing.
    pub(super) fn retrace(&mut self, trail: &mut Trail, inputs: &[SeriesRef], now: Time) -> Option<Time> {
        if !trail.is_clear {
            return None;
        }
        let valid_until = reads(&self.store, trail, now)?;
        for at in 0..trail.steps.len() {
            let step = trail.steps[at];
            let value = match (trail.value(step.left, step.number), trail.value(step.right, step.number)) {
                (Some(left), Some(right)) => Some((step.apply)(left, right)),
                _ => None,
            };
            if !is_same(step.value, value, step.taken) {
                return None;
            }
            trail.steps[at].value = value;
        }
        for at in 0..trail.compared.len() {
            let compared = trail.again(&self.store, trail.compared[at], now)?;
            trail.compared[at] = compared;
        }
        for series in inputs {
            self.store.protect(*series);
            self.store.touch(*series, now);
        }
        Some(valid_until)
    }
}

/// Makes the reads.
fn reads(store: &Store, trail: &mut Trail, now: Time) -> Option<Time> {
    let (mut valid_until, mut cost) = (Time::MAX, trail.cost_beside);
    for seen in &mut trail.seen {
        let read = seen.op.read(store, seen.series?, now)?;
        if !is_same(seen.value.value(), read.value.value(), seen.taken) {
            return None;
        }
        cost += u64::from(read.cost);
        valid_until = valid_until.min(read.valid_until);
        seen.value = read.value;
        seen.sampled_at = read.sampled_at;
    }
    (cost <= COST_MAX).then_some(valid_until)
}

/// Whether a script was told the same: of what it did not take, that there is a value or none.
fn is_same(before: Option<f64>, now: Option<f64>, taken: bool) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => !taken || before.to_bits() == now.to_bits(),
        (before, now) => before.is_none() && now.is_none(),
    }
}

impl Trail {
    fn value(&self, of: Of, number: f64) -> Option<f64> {
        match of {
            Of::Number => Some(number),
            Of::Read(read) => self.seen.get(read as usize)?.value.value(),
            Of::Step(step) => self.steps.get(step as usize)?.value,
            Of::Extreme(_) => None,
        }
    }

    /// A comparison with the new values; nothing where it comes out otherwise.
    fn again(&self, store: &Store, compared: Compared, now: Time) -> Option<Compared> {
        let threshold = self.value(compared.right, compared.threshold)?;
        if let Of::Extreme(read) = compared.left {
            // The script asked whether all samples were on one side, and that was taken; this is only for people.
            let seen = self.seen.get(read as usize)?;
            let value = seen.op.extreme(store, seen.series?, now)?;
            return Some(Compared { distance: compared.how.distance(value, threshold), ..compared });
        }
        let value = self.value(compared.left, f64::NAN)?;
        let same = compared.how.holds(value, threshold) == compared.held;
        same.then(|| Compared { threshold, distance: compared.how.distance(value, threshold), ..compared })
    }
}

impl Compare {
    /// Puts a comparison into the trail, if there is room.
    pub(super) fn record(self, session: &mut Session, seen: u32, left: (Of, f64), right: (Of, f64)) {
        if session.compared.len() >= super::session::COMPARED_MAX {
            session.is_unclear = true;
            return;
        }
        let ((left, value), (right, threshold)) = (left, right);
        let (held, distance) = (self.holds(value, threshold), self.distance(value, threshold));
        session.compared.push(Compared { seen, how: self, held, left, right, threshold, distance });
    }
}
