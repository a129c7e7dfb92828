//! The numeric half of the normaliser: formulas over series numbers, without a single label.
//!
//! A *row* is what one scrape said: all values with one stamp from one target. Values of a row are [`Formulas::put`], then
//! [`Formulas::close_row`] computes every formula that the row touched. Nothing here allocates once all series are declared.
//! Deliberately absent: names and labels (the rules' part). An editor breaks this by letting an input that is missing or not a
//! number count as zero, or by mixing values of two scrapes in one sum.

use super::rules::{Op, Role, Rule, Sign, Take};
use crate::smart::risk::{DiskSigns, command_timeouts, disk_failure_risk};
use homeostat_model::{Span, Time};

/// A rate over a longer gap than this is not given: it would pass an old average off as the present.
const RATE_GAP_MAX: Span = Span::from_mins(10);
/// How long a better source of a signal, or a member of a minimum over several scrapes, counts after its last value. Prometheus
/// uses the same five minutes for instant queries.
pub(super) const LOOKBACK: Span = Span::from_mins(5);
/// No index.
const NONE: u32 = u32::MAX;
/// A formula takes at most this many inputs (a machine of 256 processors has 4,096 processor counters, taken twice).
pub(super) const INPUTS_MAX: usize = 10_000;

/// One series as a formula sees it.
#[derive(Clone, Debug)]
struct Input {
    rule: &'static Rule,
    /// The value after `take` and `scale`; NaN where there is none (no earlier reading, a reset, not a number).
    value: f64,
    /// When the newest value was true.
    at: Time,
    /// The row that brought it.
    row: u64,
    /// The counter's last reading, for rates.
    counter: f64,
    /// Whether it has been seen and has not vanished since.
    alive: bool,
}

/// A derived series.
#[derive(Debug)]
struct Formula {
    op: Op,
    /// Its number in the dictionary.
    series: u32,
    inputs: Vec<Input>,
    /// The last row that touched it.
    row: u64,
    /// The best tier seen lately …
    tier: u8,
    /// … and when.
    tier_at: Time,
    /// The stamp of the last output: derived series never go back in time.
    last_at: Time,
}

/// Where a raw series is used: a list, linked through `next`.
#[derive(Copy, Clone, Debug)]
struct Use {
    formula: u32,
    input: u32,
    next: u32,
}

/// All formulas of one sensor.
#[derive(Debug, Default)]
pub(super) struct Formulas {
    formulas: Vec<Formula>,
    uses: Vec<Use>,
    /// By raw series number: the first use.
    heads: Vec<u32>,
    touched: Vec<u32>,
    row: u64,
}

impl Formulas {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Formulas { touched: std::mem::take(&mut self.touched), ..Formulas::default() };
        self.touched.clear();
    }

    /// Adds a formula that writes the series `series`; returns its index.
    pub(super) fn add(&mut self, op: Op, series: u32) -> u32 {
        let (row, tier, tier_at, last_at) = (0, u8::MAX, Time::MIN, Time::MIN);
        self.formulas.push(Formula { op, series, inputs: Vec::new(), row, tier, tier_at, last_at });
        (self.formulas.len() - 1) as u32
    }

    /// The operation of a formula.
    pub(super) fn op(&self, formula: u32) -> Op {
        self.formulas[formula as usize].op
    }

    /// Feeds the raw series into a formula by a rule. `false` when the formula has [`INPUTS_MAX`] inputs already.
    pub(super) fn feed(&mut self, raw: u32, formula: u32, rule: &'static Rule) -> bool {
        let inputs = &mut self.formulas[formula as usize].inputs;
        if inputs.len() >= INPUTS_MAX {
            return false;
        }
        let input = inputs.len() as u32;
        inputs.push(Input { rule, value: f64::NAN, at: Time::MIN, row: 0, counter: f64::NAN, alive: false });
        if self.heads.len() <= raw as usize {
            self.heads.resize(raw as usize + 1, NONE);
        }
        let next = std::mem::replace(&mut self.heads[raw as usize], self.uses.len() as u32);
        self.uses.push(Use { formula, input, next });
        true
    }

    /// Takes a raw series out of all formulas (its labels mean something else now). What it said last is forgotten.
    pub(super) fn unfeed(&mut self, raw: u32) {
        let Some(head) = self.heads.get_mut(raw as usize) else { return };
        let mut index = std::mem::replace(head, NONE);
        while index != NONE {
            let used = self.uses[index as usize];
            let input = &mut self.formulas[used.formula as usize].inputs[used.input as usize];
            (input.value, input.at, input.row, input.alive) = (f64::NAN, Time::MIN, 0, false);
            index = used.next;
        }
    }

    /// Opens a row.
    pub(super) fn open_row(&mut self) {
        self.row += 1;
        self.touched.clear();
    }

    /// Puts one value of the open row, stamped `at`.
    #[inline]
    pub(super) fn put(&mut self, raw: u32, at: Time, value: f64) {
        let mut index = self.heads.get(raw as usize).copied().unwrap_or(NONE);
        while index != NONE {
            let Use { formula: number, input, next } = self.uses[index as usize];
            let formula = &mut self.formulas[number as usize];
            if formula.inputs[input as usize].put(self.row, at, value) && formula.row != self.row {
                formula.row = self.row;
                self.touched.push(number);
            }
            index = next;
        }
    }

    /// Computes what the open row touched and hands out `(series, value)`; formulas without a value hand out nothing.
    pub(super) fn close_row(&mut self, at: Time, mut out: impl FnMut(u32, f64)) {
        for number in &self.touched {
            let formula = &mut self.formulas[*number as usize];
            if let Some(value) = formula.evaluate(self.row, at) {
                formula.last_at = at;
                out(formula.series, value);
            }
        }
        self.touched.clear();
    }

    /// A raw series is gone; hands out the derived series that have no living input left.
    pub(super) fn vanish(&mut self, raw: u32, mut out: impl FnMut(u32)) {
        let mut index = self.heads.get(raw as usize).copied().unwrap_or(NONE);
        while index != NONE {
            let Use { formula, input, next } = self.uses[index as usize];
            let formula = &mut self.formulas[formula as usize];
            let input = &mut formula.inputs[input as usize];
            if std::mem::take(&mut input.alive) {
                (input.value, input.at) = (f64::NAN, Time::MIN);
                if formula.last_at > Time::MIN && !formula.inputs.iter().any(|input| input.alive) {
                    out(formula.series);
                }
            }
            index = next;
        }
    }
}

impl Input {
    /// Takes a value; `false` if it is not newer than the last one.
    fn put(&mut self, row: u64, at: Time, value: f64) -> bool {
        if at <= self.at {
            return false;
        }
        self.value = match self.rule.take {
            Take::Value => value * self.rule.scale,
            Take::One => 1.0,
            Take::LowWord if value.is_nan() => f64::NAN,
            Take::LowWord => (value as u64 & 0xffff) as f64,
            // A counter that went back (restart, wrap) lost an unknown part: no rate from this pair of readings.
            Take::Rate if value >= self.counter && at.since(self.at) <= RATE_GAP_MAX => {
                (value - self.counter) / at.since(self.at).seconds() * self.rule.scale
            }
            Take::Rate => f64::NAN,
        };
        (self.at, self.row, self.counter, self.alive) = (at, row, value, true);
        true
    }

    /// Whether it takes part in this row.
    fn counts(&self, op: Op, row: u64, at: Time) -> bool {
        let present = if op == Op::Min { self.alive && at.since(self.at) <= LOOKBACK } else { self.row == row };
        present && !(self.rule.positive && self.value <= 0.0)
    }
}

/// Sums and extremes of a row's inputs.
struct Gathered {
    a: f64,
    b: f64,
    a_count: u32,
    b_count: u32,
    min: f64,
    max: f64,
}

impl Formula {
    fn evaluate(&mut self, row: u64, at: Time) -> Option<f64> {
        if at <= self.last_at {
            return None;
        }
        let tier = self.inputs.iter().filter(|i| !i.rule.companion && i.counts(self.op, row, at)).map(|i| i.rule.tier).min()?;
        if tier > self.tier && at.since(self.tier_at) <= LOOKBACK {
            return None;
        }
        (self.tier, self.tier_at) = (tier, at);
        if self.op == Op::DiskRisk {
            return self.disk_risk(row, at);
        }
        let gathered = self.gather(tier, row, at)?;
        let value = match self.op {
            Op::Sum => gathered.a,
            Op::Min => gathered.min,
            Op::Max => gathered.max,
            Op::SecondsUntil => gathered.a - at.seconds(),
            Op::Difference if gathered.b_count > 0 => gathered.a - gathered.b,
            Op::Ratio if gathered.b > 0.0 => gathered.a / gathered.b,
            Op::OneMinusRatio if gathered.b > 0.0 => 1.0 - gathered.a / gathered.b,
            Op::ActiveNotFailed if gathered.a > 0.0 => 1.0,
            Op::ActiveNotFailed if gathered.b > 0.0 => 0.0,
            _ => return None,
        };
        value.is_finite().then_some(value)
    }

    /// `None` if an input that takes part has no usable value, or none of role A takes part.
    fn gather(&self, tier: u8, row: u64, at: Time) -> Option<Gathered> {
        let mut gathered = Gathered { a: 0.0, b: 0.0, a_count: 0, b_count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        for input in self.inputs.iter().filter(|i| i.rule.tier == tier && i.counts(self.op, row, at)) {
            if input.value.is_nan() {
                return None;
            }
            if input.rule.role == Role::B {
                gathered.b += input.value;
                gathered.b_count += 1;
            } else {
                gathered.a += input.value;
                gathered.a_count += 1;
                gathered.min = gathered.min.min(input.value);
                gathered.max = gathered.max.max(input.value);
            }
        }
        (gathered.a_count > 0).then_some(gathered)
    }

    /// The risk by what this row's inputs say; `None` where they say nothing.
    fn disk_risk(&self, row: u64, at: Time) -> Option<f64> {
        let mut signs = DiskSigns::default();
        for input in self.inputs.iter().filter(|i| i.counts(self.op, row, at) && !i.value.is_nan()) {
            let value = input.value;
            match input.rule.sign {
                Sign::None => {}
                Sign::Passed => signs.passed = Some(value != 0.0),
                Sign::Reallocated => signs.reallocated = Some(value),
                Sign::SpinRetries => signs.spin_retries = Some(value),
                Sign::ReportedUncorrectable => signs.reported_uncorrectable = Some(value),
                Sign::CommandTimeouts => signs.command_timeouts = Some(command_timeouts(value as u64) as f64),
                Sign::ReallocationEvents => signs.reallocation_events = Some(value),
                Sign::Pending => signs.pending = Some(value),
                Sign::OfflineUncorrectable => signs.offline_uncorrectable = Some(value),
                Sign::CriticalWarning => signs.critical_warning = Some(value),
                Sign::UsedRatio => signs.used_ratio = Some(value),
                Sign::SpareAvail => signs.spare_avail_ratio = Some(value),
                Sign::SpareThreshold => signs.spare_threshold_ratio = Some(value),
                Sign::MediaErrors => signs.media_errors = Some(value),
            }
        }
        disk_failure_risk(&signs).map(|risk| risk.ratio).filter(|ratio| ratio.is_finite())
    }
}
