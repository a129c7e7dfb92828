//! What one evaluation works on: the windows, the moment, and what was read and wished so far.
//!
//! One session is shared by the kernel and by every function that scripts call; buffers are reused, so that an evaluation in steady
//! state allocates only what Rhai itself does.

use super::distance::Imagined;
use super::reading::Compare;
use super::retrace::{Of, Step};
use crate::store::{Read, SelectionId, Selector, SeriesRef, Standing, Store};
use homeostat_model::{Alert, Arg, Args, Claim, Evidence, Margin, ReadingValue, Span, Target, Time, Verb};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Reads of one evaluation; more end it.
pub(super) const READS_MAX: usize = 256;
/// Samples that one evaluation may touch; the deterministic stand-in for a wall-clock limit (20–60 ms on a small machine).
pub(super) const COST_MAX: u64 = 2_000_000;
/// What it counts as, in samples, when an evaluation first asks for a selector, beside one for each series that it names: the same
/// whether the selection stands already or must be resolved, or an answer could depend on what was asked before.
const RESOLVE_COST: u64 = 5_000;
/// The same where a regular expression must be read, or every metric be searched.
const SEARCH_COST: u64 = 20_000;
/// What it counts as to ask again.
const REPEAT_COST: u64 = 10;
/// Comparisons of one evaluation that are remembered.
pub(super) const COMPARED_MAX: usize = 4 * READS_MAX;
/// Steps of arithmetic between readings of one evaluation that are remembered.
pub(super) const STEPS_MAX: usize = 4 * READS_MAX;
/// Wishes of one evaluation.
pub(super) const PROPOSALS_MAX: usize = 16;
/// Lines that a script may print per evaluation.
pub(super) const PRINTS_MAX: usize = 20;

/// What was asked of a series.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Op {
    /// Newest value.
    Last,
    /// Newest value in a window, whatever its age.
    LastOver(Span),
    /// Mean over a window.
    Avg(Span),
    /// Least value.
    Min(Span),
    /// Greatest value.
    Max(Span),
    /// Sum of values.
    Sum(Span),
    /// Population standard deviation.
    Stddev(Span),
    /// A quantile.
    Quantile(f64, Span),
    /// Per-second rate of a counter.
    Rate(Span),
    /// Increase of a counter.
    Increase(Span),
    /// Difference of a gauge.
    Delta(Span),
    /// Least-squares slope per second.
    Slope(Span),
    /// Seconds until a level is reached.
    SecondsUntil(f64, Span),
    /// Share of the window that is covered.
    Coverage(Span),
    /// Samples in the window.
    Count(Span),
    /// All of the window above.
    HeldAbove(f64, Span),
    /// All of the window below.
    HeldBelow(f64, Span),
    /// No sample for so long.
    AbsentFor(Span),
    /// A selector that named no series, or an alert's value.
    Named,
}

/// One read, before it is turned into [`Evidence`].
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was asked.
    pub op: Op,
    /// Of which series.
    pub series: Option<SeriesRef>,
    /// What was asked for, where no series answered.
    pub what: Option<Arc<str>>,
    /// The answer.
    pub value: ReadingValue,
    /// When its newest sample was taken.
    pub sampled_at: Option<Time>,
    /// Whether the script got hold of the value itself, instead of only having it compared.
    pub taken: bool,
}

/// A comparison made with a read.
#[derive(Copy, Clone, Debug)]
pub struct Compared {
    pub(super) seen: u32,
    pub(super) how: Compare,
    pub(super) held: bool,
    pub(super) left: Of,
    pub(super) right: Of,
    pub(super) threshold: f64,
    pub(super) distance: f64,
}

/// A wish under construction.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) verb: Verb,
    pub(super) target: Option<Target>,
    pub(super) args: Args,
    pub(super) because: String,
    pub(super) claim: Option<Claim>,
    pub(super) cooldown: Option<Span>,
    pub(super) alternatives: Vec<homeostat_model::Alternative>,
}

/// Why an evaluation stopped before its end.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// A read without a value was used.
    Undetermined(u32),
    /// A limit of ours was reached, or the script misused a function.
    Fault(String),
}

/// Whether `policy()` is read (no data behind it) or `evaluate` runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Load,
    Evaluate,
}

/// See the module.
pub(super) struct Session {
    pub(super) store: Store,
    pub(super) now: Time,
    pub(super) mode: Mode,
    pub(super) params: Arc<BTreeMap<String, Arg>>,
    pub(super) alert: Option<Arc<Alert>>,
    pub(super) seen: Vec<Seen>,
    pub(super) compared: Vec<Compared>,
    pub(super) steps: Vec<Step>,
    /// Whether something was not recorded, so that the trail does not say all.
    pub(super) is_unclear: bool,
    pub(super) drafts: Vec<Draft>,
    pub(super) inputs: Vec<SeriesRef>,
    pub(super) prints: Vec<String>,
    pub(super) valid_until: Time,
    pub(super) cost: u64,
    /// What of it was for reads.
    pub(super) reads_cost: u64,
    pub(super) stop: Option<Stop>,
    /// The selections that the answer depends on: where one changes, the evaluation must be woken.
    pub(super) selections: Vec<SelectionId>,
    /// What selectors named for which there was no room to stand, in this evaluation: any change of the index must wake it.
    pub(super) loose: BTreeMap<Box<str>, Vec<SeriesRef>>,
    /// Set while a run is only imagined: it leaves no trace.
    pub(super) imagined: Option<Imagined>,
}

/// The session as functions hold it.
pub(super) type Shared = Arc<Mutex<Session>>;

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Session> {
    // A panic inside a function leaves at worst a half-recorded evaluation, which `begin` clears.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn new(store: Store) -> Session {
        Session {
            store,
            now: Time(0),
            mode: Mode::Load,
            params: Arc::default(),
            alert: None,
            seen: Vec::new(),
            compared: Vec::new(),
            steps: Vec::new(),
            is_unclear: false,
            drafts: Vec::new(),
            inputs: Vec::new(),
            prints: Vec::new(),
            valid_until: Time::MAX,
            cost: 0,
            reads_cost: 0,
            stop: None,
            selections: Vec::new(),
            loose: BTreeMap::new(),
            imagined: None,
        }
    }

    pub(super) fn begin(&mut self, now: Time, mode: Mode, params: &Arc<BTreeMap<String, Arg>>) {
        self.now = now;
        self.mode = mode;
        self.params = Arc::clone(params);
        self.alert = None;
        self.seen.clear();
        self.compared.clear();
        self.steps.clear();
        self.is_unclear = false;
        self.drafts.clear();
        self.inputs.clear();
        self.prints.clear();
        self.valid_until = Time::MAX;
        self.cost = 0;
        self.reads_cost = 0;
        self.stop = None;
        self.selections.clear();
        self.loose.clear();
        if self.imagined.is_none() {
            self.store.trim_selections();
        }
    }

    /// Records a read and gives its number.
    pub(super) fn record(&mut self, op: Op, series: SeriesRef, read: Read) -> Result<u32, Stop> {
        self.cost += u64::from(read.cost);
        self.reads_cost += u64::from(read.cost);
        if self.cost > COST_MAX {
            return Err(Stop::Fault(format!("the evaluation touched more than {COST_MAX} samples: use shorter windows or fewer reads")));
        }
        self.valid_until = self.valid_until.min(read.valid_until);
        if !self.inputs.contains(&series) {
            self.inputs.push(series);
            if self.imagined.is_none() {
                // A policy's input is never shed silently.
                self.store.protect(series);
                self.store.touch(series, self.now);
            }
        }
        self.note(Seen { op, series: Some(series), what: None, value: read.value, sampled_at: read.sampled_at, taken: false })
    }

    /// Records a read that no series answered.
    pub(super) fn note(&mut self, seen: Seen) -> Result<u32, Stop> {
        if self.seen.len() >= READS_MAX {
            return Err(Stop::Fault(format!("the evaluation made more than {READS_MAX} reads")));
        }
        self.seen.push(seen);
        Ok(self.seen.len() as u32 - 1)
    }

    /// The series that a selector names now, ordered by key.
    pub(super) fn select(&mut self, text: &str) -> Result<&[SeriesRef], String> {
        if self.loose.contains_key(text) {
            self.spend(REPEAT_COST)?;
            return Ok(self.loose.get(text).map_or(&[], Vec::as_slice));
        }
        let standing = match self.imagined {
            None => self.store.stand(text).map_err(|error| error.to_string())?,
            Some(_) => {
                let selector = Selector::parse(text).map_err(|error| error.to_string())?;
                let series = self.store.select(&selector);
                Standing::Loose(selector, series)
            }
        };
        match standing {
            Standing::Selection(id) => {
                let cost = match self.store.selection(id) {
                    _ if self.selections.contains(&id) => REPEAT_COST,
                    Some((selector, series)) => {
                        self.selections.push(id);
                        first_cost(selector, series)
                    }
                    None => return Err("the selector was lost".into()),
                };
                self.spend(cost)?;
                Ok(self.store.selection(id).map_or(&[], |(_, series)| series))
            }
            Standing::Loose(selector, series) => {
                let cost = first_cost(&selector, &series);
                self.loose.insert(text.into(), series);
                self.spend(cost)?;
                Ok(self.loose.get(text).map_or(&[], Vec::as_slice))
            }
        }
    }

    fn spend(&mut self, cost: u64) -> Result<(), String> {
        self.cost += cost;
        if self.cost > COST_MAX {
            return Err("the evaluation resolves too many selectors: keep their number small and their texts constant".into());
        }
        Ok(())
    }

    /// Turns what was seen into evidence.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        evidence_from(&self.store, &self.seen, &self.compared)
    }
}

fn first_cost(selector: &Selector, series: &[SeriesRef]) -> u64 {
    let searches = selector.metric().is_none() || selector.regexes() > 0;
    series.len() as u64 + if searches { SEARCH_COST } else { RESOLVE_COST }
}

/// What an evaluation saw, kept compact: it becomes evidence only when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    pub(super) seen: Vec<Seen>,
    pub(super) compared: Vec<Compared>,
    pub(super) steps: Vec<Step>,
    /// What the evaluation cost beside its reads, in samples.
    pub(super) cost_beside: u64,
    /// Whether it says all that the script was told (see [`super::retrace`]).
    pub(super) is_clear: bool,
}

pub(super) fn evidence_from(store: &Store, seen: &[Seen], compared: &[Compared]) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = seen.iter().map(|seen| evidence_of(store, seen)).collect();
    for compared in compared {
        if let Some(of) = evidence.get_mut(compared.seen as usize) {
            of.margins.push(Margin { relation: format!("{} {}", compared.how.sign(), compared.threshold), distance: compared.distance });
        }
    }
    evidence
}

fn evidence_of(store: &Store, seen: &Seen) -> Evidence {
    let operation = match (&seen.what, seen.op) {
        (Some(what), _) => what.to_string(),
        (None, op) => op.to_string(),
    };
    Evidence {
        operation,
        series: seen.series.and_then(|s| store.key(s)),
        value: seen.value.clone(),
        sampled_at: seen.sampled_at,
        margins: Vec::new(),
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Op::Last | Op::LastOver(_) => f.write_str("last"),
            Op::Avg(span) => write!(f, "avg over {span}"),
            Op::Min(span) => write!(f, "min over {span}"),
            Op::Max(span) => write!(f, "max over {span}"),
            Op::Sum(span) => write!(f, "sum over {span}"),
            Op::Stddev(span) => write!(f, "stddev over {span}"),
            Op::Quantile(q, span) => write!(f, "quantile {q} over {span}"),
            Op::Rate(span) => write!(f, "rate over {span}"),
            Op::Increase(span) => write!(f, "increase over {span}"),
            Op::Delta(span) => write!(f, "delta over {span}"),
            Op::Slope(span) => write!(f, "slope over {span}"),
            Op::SecondsUntil(level, span) => write!(f, "seconds until {level} by the trend over {span}"),
            Op::Coverage(span) => write!(f, "coverage over {span}"),
            Op::Count(span) => write!(f, "count over {span}"),
            Op::HeldAbove(level, span) => write!(f, "held above {level} for {span}"),
            Op::HeldBelow(level, span) => write!(f, "held below {level} for {span}"),
            Op::AbsentFor(span) => write!(f, "absent for {span}"),
            Op::Named => f.write_str("named"),
        }
    }
}
