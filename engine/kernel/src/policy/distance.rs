//! How far a policy is from ending otherwise on a target: the *distance to firing*.
//!
//! An evaluation is what its comparisons told the script. So the script is run again over the same windows, with single comparisons
//! turned over, cheapest first, until it ends the other way. The readings that must move for this, each on its own and only as far as
//! needed, are the distance. It is exact where a policy compares readings with numbers. What stands between the reading and the
//! comparison (arithmetic, another reading) is moved as a whole: `a - b > 5` is one quantity.
//!
//! Deliberately absent: what a script does with a value that it took out of a reading (`.or(0)`, texts, `is_known()`): that is kept as
//! it is; and any trace. Such a run touches no series, keeps no selection and wishes nothing. An editor breaks this by letting a
//! comparison answer without [`Session::turn`], or by letting such a run change what a later evaluation sees.

use super::host::{Host, Subject};
use super::load::Policy;
use super::quantity::quantity;
use super::reading::Compare;
use super::retrace::Of;
use super::session::{Mode, Op, Session, Stop, lock};
use homeostat_model::{SeriesKey, Time};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs for one target; where they do not suffice, the distance is not known.
const RUNS_MAX: u32 = 64;
/// Comparisons of one run that may be turned over; those after them are kept.
const TURNS_MAX: usize = 64;

/// A comparison that must turn over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// What was read: `last`, `avg over 5m`.
    pub operation: String,
    /// The series, where one answered.
    pub series: Option<SeriesKey>,
    /// What is compared, in the series' unit; for `absent for` the seconds since the newest sample.
    #[serde(with = "homeostat_model::number")]
    pub value: f64,
    /// The comparison: `< 0.1`.
    pub relation: String,
    /// Whether it is true now.
    pub holds: bool,
    /// The least change of `value` after which it is not; zero where any change, however small, will do.
    #[serde(with = "homeostat_model::number")]
    pub change: f64,
}

/// How far a policy is from ending otherwise on a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Whether it fires now.
    pub fires: bool,
    /// The distance to firing as one number, -1 to 1: the greatest `change / (|value| + change)` of [`Distance::turns`], so that
    /// different units can be compared. Zero or more where the policy fires: so much must change until it does not. Zero or less where
    /// it does not: so much is lacking. Zero: a reading stands exactly at its threshold.
    #[serde(with = "homeostat_model::number")]
    pub margin: f64,
    /// What must turn over together for the other end; of all ways, the one with the least margin, and of these the one with the least
    /// changes.
    pub turns: Vec<Turn>,
}

impl Turn {
    /// As people read it: `last of room_celsius is 18.7 °C, 1.3 °C from > 20`.
    pub fn text(&self) -> String {
        let show = |value: f64| quantity(value, self.series.as_ref().map(|series| &*series.metric), &self.operation);
        let of = self.series.as_ref().map_or_else(String::new, |series| format!(" of {series}"));
        let value = if self.operation.starts_with("absent for") { format!("silent {}", show(self.value)) } else { show(self.value) };
        let ends = if self.holds { "no longer " } else { "" };
        format!("{}{of}: {value} must be {ends}{}, {} away", self.operation, self.relation, show(self.change))
    }

    /// The change with its unit.
    pub fn change_text(&self) -> String {
        quantity(self.change, self.series.as_ref().map(|series| &*series.metric), &self.operation)
    }
}

impl Distance {
    /// As people read it: `fires in 1.3 °C`, `quiet again in 2 %`; where several things must change, each.
    pub fn text(&self) -> String {
        let changes: Vec<String> = self.turns.iter().map(Turn::change_text).collect();
        format!("{} in {}", if self.fires { "quiet again" } else { "fires" }, changes.join(" and "))
    }
}

/// What is recorded instead of acted upon while a run is imagined.
#[derive(Default)]
pub(super) struct Imagined {
    force: Vec<bool>,
    seen: Vec<Compared>,
}

/// A comparison of an imagined run.
#[derive(Clone, Debug)]
struct Compared {
    /// What moves: the same for every comparison of the same quantity.
    quantity: String,
    operation: String,
    series: Option<SeriesKey>,
    how: Compare,
    value: f64,
    threshold: f64,
    natural: bool,
    outcome: bool,
}

impl Session {
    /// A comparison as the script will be told of it: as it is, or, in an imagined run, turned over. Every comparison of readings
    /// passes here.
    pub(super) fn turn(&mut self, natural: bool, seen: u32, how: Compare, left: (Of, f64), right: (Of, f64)) -> bool {
        if self.imagined.is_none() {
            return natural;
        }
        let Some(read) = self.seen.get(seen as usize) else { return natural };
        let series = read.series.and_then(|series| self.store.key(series));
        let operation = read.what.as_ref().map_or_else(|| read.op.to_string(), ToString::to_string);
        let name = |of: Of| match of {
            Of::Number => String::new(),
            Of::Read(number) => {
                self.seen.get(number as usize).map_or_else(String::new, |seen| format!("{} of {:?} {:?}", seen.op, seen.series, seen.what))
            }
            Of::Extreme(_) => match read.op {
                Op::HeldBelow(_, span) => format!("max over {span} of {:?}", read.series),
                Op::HeldAbove(_, span) => format!("min over {span} of {:?}", read.series),
                op => format!("{op} of {:?}", read.series),
            },
            Of::Step(number) => format!("step {number}"),
        };
        let quantity = match right.0 {
            Of::Number => name(left.0),
            other => format!("{} and {}", name(left.0), name(other)),
        };
        let Some(imagined) = &mut self.imagined else { return natural };
        let outcome = imagined.force.get(imagined.seen.len()).copied().unwrap_or(natural);
        let (value, threshold) = (left.1, right.1);
        imagined.seen.push(Compared { quantity, operation, series, how, value, threshold, natural, outcome });
        outcome
    }

    /// The same for silence: the seconds since the newest sample against a span.
    pub(super) fn turn_absent(&mut self, natural: bool, seen: u32, span: homeostat_model::Span) -> bool {
        if self.imagined.is_none() {
            return natural;
        }
        let newest = self.seen.get(seen as usize).and_then(|seen| seen.sampled_at);
        let seconds = newest.map_or(f64::INFINITY, |at| self.now.since(at).millis() as f64 / 1000.0);
        self.turn(natural, seen, Compare::GreaterOrEqual, (Of::Read(seen), seconds), (Of::Number, span.millis() as f64 / 1000.0))
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum End {
    Quiet,
    Fired,
    Neither,
}

/// What a way costs. Neither falls where more comparisons are added, so the cheapest way is found first.
#[derive(Copy, Clone, Debug, Default)]
struct Cost {
    /// The greatest share, see [`Distance::margin`].
    share: f64,
    /// All changes, whatever their units: decides where shares are equal.
    changes: f64,
}

/// A way that is still to be looked at: comparisons forced one after the other, and what that costs at least.
struct Way {
    cost: Cost,
    /// Of two that cost the same, the one that was found first.
    number: u32,
    force: Vec<bool>,
    /// The distance itself, where the way was gone and leads to the other end.
    end: Option<Vec<Turn>>,
}

impl PartialEq for Way {
    fn eq(&self, other: &Way) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Way {}
impl PartialOrd for Way {
    fn partial_cmp(&self, other: &Way) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Way {
    /// The heap gives the greatest: the cheapest is that.
    fn cmp(&self, other: &Way) -> Ordering {
        let (own, others) = (self.cost, other.cost);
        others.share.total_cmp(&own.share).then(others.changes.total_cmp(&own.changes)).then(other.number.cmp(&self.number))
    }
}

impl Host {
    /// How far a policy is from ending otherwise on a subject, over the windows as they were at `at`. Nothing where no turning over of
    /// comparisons leads to the other end, or where that was not found within the limit. `runs` is what may be spent, and what is left.
    pub fn distance(&self, policy: &Policy, subject: &Subject, at: Time, runs: &mut u32) -> Option<Distance> {
        let mut allowed = RUNS_MAX.min(*runs);
        let (natural, seen) = self.imagine(policy, subject, at, Vec::new(), &mut allowed, runs)?;
        let fires = natural == End::Fired;
        let wanted = if fires { End::Quiet } else { End::Fired };
        let mut found = 0;
        let mut ways = BinaryHeap::new();
        branch(&mut ways, &mut found, &seen, 0);
        while let Some(way) = ways.pop() {
            if let Some(turns) = way.end {
                return Some(Distance { fires, margin: if fires { way.cost.share } else { -way.cost.share }, turns });
            }
            let from = way.force.len();
            let (end, seen) = self.imagine(policy, subject, at, way.force, &mut allowed, runs)?;
            if end == wanted
                && let Some((cost, turns)) = least(&seen)
            {
                found += 1;
                ways.push(Way { cost, number: found, force: Vec::new(), end: Some(turns) });
            }
            branch(&mut ways, &mut found, &seen, from);
        }
        None
    }

    /// Runs the script with its first comparisons forced.
    fn imagine(
        &self,
        policy: &Policy,
        subject: &Subject,
        at: Time,
        force: Vec<bool>,
        allowed: &mut u32,
        runs: &mut u32,
    ) -> Option<(End, Vec<Compared>)> {
        *allowed = allowed.checked_sub(1)?;
        *runs = runs.checked_sub(1)?;
        {
            let mut session = lock(self.shared());
            session.imagined = Some(Imagined { force, seen: Vec::new() });
            session.begin(at, Mode::Evaluate, &policy.params);
            if let Subject::Alert(alert) = subject {
                session.alert = Some(Arc::clone(alert));
            }
        }
        let called = catch_unwind(AssertUnwindSafe(|| self.call(policy, subject).is_ok()));
        if called.is_err() {
            self.forget_resolved(policy);
        }
        let mut session = lock(self.shared());
        let mut seen = session.imagined.take()?.seen;
        seen.truncate(TURNS_MAX);
        let end = match (called, session.stop.take()) {
            (Ok(true), None) if session.drafts.is_empty() => End::Quiet,
            (Ok(true), None) => End::Fired,
            (_, Some(Stop::Undetermined(_) | Stop::Fault(_))) | (Ok(false) | Err(_), None) => End::Neither,
        };
        session.drafts.clear();
        Some((end, seen))
    }
}

/// Adds the ways that leave a run at each of its comparisons, from the first that was not forced.
fn branch(ways: &mut BinaryHeap<Way>, found: &mut u32, seen: &[Compared], from: usize) {
    for at in from..seen.len() {
        let mut prefix = seen[..=at].to_vec();
        prefix[at].outcome = !prefix[at].outcome;
        if let Some((cost, _)) = least(&prefix) {
            *found += 1;
            let force = prefix.iter().map(|compared| compared.outcome).collect();
            ways.push(Way { cost, number: *found, force, end: None });
        }
    }
}

/// Where a quantity must lie.
struct Room {
    low: (f64, bool),
    high: (f64, bool),
    value: f64,
}

impl Room {
    fn at_most(&mut self, high: f64, open: bool) {
        if high < self.high.0 || (high == self.high.0 && open) {
            self.high = (high, open);
        }
    }

    fn at_least(&mut self, low: f64, open: bool) {
        if low > self.low.0 || (low == self.low.0 && open) {
            self.low = (low, open);
        }
    }

    fn narrow(&mut self, how: Compare, threshold: f64, holds: bool) {
        match (how, holds) {
            (Compare::Less, true) | (Compare::GreaterOrEqual, false) => self.at_most(threshold, true),
            (Compare::LessOrEqual, true) | (Compare::Greater, false) => self.at_most(threshold, false),
            (Compare::Greater, true) | (Compare::LessOrEqual, false) => self.at_least(threshold, true),
            (Compare::GreaterOrEqual, true) | (Compare::Less, false) => self.at_least(threshold, false),
            (Compare::Equal, true) | (Compare::NotEqual, false) => {
                self.at_most(threshold, false);
                self.at_least(threshold, false);
            }
            // All but one value: any change, however small, will do.
            (Compare::Equal, false) | (Compare::NotEqual, true) => {}
        }
    }

    /// How far the quantity must move; nothing where no value is left.
    fn change(&self) -> Option<f64> {
        let ((low, low_open), (high, high_open)) = (self.low, self.high);
        if low > high || (low == high && (low_open || high_open)) || self.value.is_nan() {
            return None;
        }
        if self.value < low {
            Some(low - self.value)
        } else if self.value > high {
            Some(self.value - high)
        } else {
            Some(0.0)
        }
    }
}

/// The least cost at which all these comparisons come out as they say, and those that turn over; nothing where they cannot.
fn least(seen: &[Compared]) -> Option<(Cost, Vec<Turn>)> {
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for compared in seen {
        let all = || Room { low: (f64::NEG_INFINITY, false), high: (f64::INFINITY, false), value: compared.value };
        rooms.entry(&compared.quantity).or_insert_with(all).narrow(compared.how, compared.threshold, compared.outcome);
    }
    let mut cost = Cost::default();
    let mut changes = BTreeMap::new();
    for (quantity, room) in &rooms {
        let change = room.change()?;
        changes.insert(*quantity, change);
        let share = if change == 0.0 { 0.0 } else { change / (room.value.abs() + change) };
        // Infinite by infinite.
        cost.share = cost.share.max(if share.is_nan() { 1.0 } else { share });
        cost.changes += change;
    }
    let mut turns: Vec<Turn> = Vec::new();
    for compared in seen.iter().filter(|compared| compared.outcome != compared.natural) {
        let turn = Turn {
            operation: compared.operation.clone(),
            series: compared.series.clone(),
            value: compared.value,
            relation: format!("{} {}", compared.how.sign(), compared.threshold),
            holds: compared.natural,
            change: changes.get(compared.quantity.as_str()).copied().unwrap_or(0.0),
        };
        if !turns.contains(&turn) {
            turns.push(turn);
        }
    }
    Some((cost, turns))
}
