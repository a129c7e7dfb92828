//! The values that scripts handle: a series, a window over it, a reading, a claim, an action, a wish.
//!
//! A reading may be unknown. Using an unknown one ends the evaluation as *undetermined*, in a way that no `try` can catch; only
//! `.or(…)`, `.is_known()` and `.absent_for(…)` may look at it. Comparisons record how far they were from turning over.

use super::retrace::{Of, step};
use super::session::{Op, Shared, Stop, lock};
use crate::store::SeriesRef;
use homeostat_model::{Args, Span, Target, Verb};
use rhai::{Dynamic, EvalAltResult, Position};

/// A script's result.
pub(super) type Answer<T> = Result<T, Box<EvalAltResult>>;

/// A series, as `for_each` hands it to `evaluate`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Series(pub(super) SeriesRef);

/// A series selector, as `policy()` names it.
#[derive(Clone, Debug)]
pub(super) struct SelectorText(pub(super) String);

/// An alert selector, as `policy()` names it.
#[derive(Clone, Debug)]
pub(super) struct AlertSelectorText(pub(super) String);

/// A look-back over a series.
#[derive(Copy, Clone, Debug)]
pub(super) struct Window {
    pub(super) series: SeriesRef,
    pub(super) span: Span,
}

/// A value that may be unknown.
#[derive(Copy, Clone, Debug)]
pub(super) struct Reading {
    pub(super) value: Option<f64>,
    /// The read whose evidence it is.
    pub(super) seen: u32,
    /// How it came about.
    pub(super) of: Of,
}

/// The alert that woke `on_alert`.
#[derive(Copy, Clone, Debug)]
pub(super) struct AlertHandle;

/// A claim under construction.
#[derive(Clone, Debug)]
pub(super) struct ClaimDraft(pub(super) homeostat_model::Claim);

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct ActionText {
    pub(super) verb: Verb,
    pub(super) target: Option<Target>,
    pub(super) args: Args,
    pub(super) alternatives: Vec<homeostat_model::Alternative>,
}

/// A wish, by its place in the session.
#[derive(Copy, Clone, Debug)]
pub(super) struct Wish(pub(super) u32);

/// Ends the evaluation; no `try` catches it.
pub(super) fn stop(shared: &Shared, why: Stop) -> Box<EvalAltResult> {
    lock(shared).stop.get_or_insert(why);
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE))
}

/// Ends the evaluation as a fault.
pub(super) fn fault<T>(shared: &Shared, why: impl Into<String>) -> Answer<T> {
    Err(stop(shared, Stop::Fault(why.into())))
}

impl Reading {
    /// Makes a read and records it.
    pub(super) fn take(shared: &Shared, op: Op, series: SeriesRef) -> Answer<Reading> {
        let mut session = lock(shared);
        let Some(read) = op.read(&session.store, series, session.now) else {
            drop(session);
            return fault(shared, format!("`{op}` is not a read of a series"));
        };
        let value = read.value.value();
        match session.record(op, series, read) {
            Ok(seen) => Ok(Reading { value, seen, of: Of::Read(seen) }),
            Err(why) => {
                drop(session);
                Err(stop(shared, why))
            }
        }
    }

    /// The number, or the end of the evaluation.
    pub(super) fn known(self, shared: &Shared) -> Answer<f64> {
        self.value.ok_or_else(|| stop(shared, Stop::Undetermined(self.seen)))
    }

    /// The value for the script itself, which may do with it what it likes.
    pub(super) fn taken(self, shared: &Shared) -> Option<f64> {
        lock(shared).take(self.of);
        self.value
    }

    /// The number for the script itself, or the end of the evaluation.
    pub(super) fn taken_known(self, shared: &Shared) -> Answer<f64> {
        lock(shared).take(self.of);
        self.known(shared)
    }

    /// The same read with its value changed: `change` of it and of a number that it may ignore.
    pub(super) fn map(self, shared: &Shared, change: fn(f64, f64) -> f64, number: f64) -> Reading {
        let value = self.value.map(|value| change(value, number));
        Reading { value, seen: self.seen, of: step(shared, change, self.of, Of::Number, number, value) }
    }

    /// The same, with the number first.
    pub(super) fn map_second(self, shared: &Shared, change: fn(f64, f64) -> f64, number: f64) -> Reading {
        let value = self.value.map(|value| change(number, value));
        Reading { value, seen: self.seen, of: step(shared, change, Of::Number, self.of, number, value) }
    }

    /// Two readings in one; unknown if either is. The evidence is the first's, unless only the second is unknown.
    pub(super) fn join(self, shared: &Shared, other: Reading, change: fn(f64, f64) -> f64) -> Reading {
        match (self.value, other.value) {
            (Some(a), Some(b)) => {
                let value = Some(change(a, b));
                Reading { value, seen: self.seen, of: step(shared, change, self.of, other.of, f64::NAN, value) }
            }
            (None, _) => self,
            (Some(_), None) => other,
        }
    }
}

/// The comparisons, with the distance by which each holds (zero or more) or fails (negative).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

impl Compare {
    pub(super) const ALL: [Compare; 6] =
        [Compare::Less, Compare::LessOrEqual, Compare::Greater, Compare::GreaterOrEqual, Compare::Equal, Compare::NotEqual];

    pub(super) fn sign(self) -> &'static str {
        match self {
            Compare::Less => "<",
            Compare::LessOrEqual => "<=",
            Compare::Greater => ">",
            Compare::GreaterOrEqual => ">=",
            Compare::Equal => "==",
            Compare::NotEqual => "!=",
        }
    }

    fn mirrored(self) -> Compare {
        match self {
            Compare::Less => Compare::Greater,
            Compare::LessOrEqual => Compare::GreaterOrEqual,
            Compare::Greater => Compare::Less,
            Compare::GreaterOrEqual => Compare::LessOrEqual,
            same @ (Compare::Equal | Compare::NotEqual) => same,
        }
    }

    pub(super) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Compare::Less => a < b,
            Compare::LessOrEqual => a <= b,
            Compare::Greater => a > b,
            Compare::GreaterOrEqual => a >= b,
            Compare::Equal => a == b,
            Compare::NotEqual => a != b,
        }
    }

    pub(super) fn distance(self, a: f64, b: f64) -> f64 {
        if a == b {
            // Infinite ones too.
            return 0.0;
        }
        match self {
            Compare::Less | Compare::LessOrEqual => b - a,
            Compare::Greater | Compare::GreaterOrEqual => a - b,
            Compare::Equal => -(a - b).abs(),
            Compare::NotEqual => (a - b).abs(),
        }
    }
}

/// Compares a reading with a number and records the margin.
pub(super) fn compare(shared: &Shared, reading: Reading, how: Compare, threshold: f64) -> Answer<bool> {
    compare_with(shared, reading, how, (Of::Number, threshold))
}

/// Compares a number with a reading: the mirror image, so that the margin stays the reading's.
pub(super) fn compare_mirrored(shared: &Shared, threshold: f64, how: Compare, reading: Reading) -> Answer<bool> {
    compare(shared, reading, how.mirrored(), threshold)
}

/// Compares two readings; the margin is the first's.
pub(super) fn compare_both(shared: &Shared, a: Reading, how: Compare, b: Reading) -> Answer<bool> {
    let threshold = b.known(shared)?;
    compare_with(shared, a, how, (b.of, threshold))
}

fn compare_with(shared: &Shared, reading: Reading, how: Compare, threshold: (Of, f64)) -> Answer<bool> {
    let value = reading.known(shared)?;
    let session = &mut *lock(shared);
    how.record(session, reading.seen, (reading.of, value), threshold);
    Ok(session.turn(how.holds(value, threshold.1), reading.seen, how, (reading.of, value), threshold))
}
