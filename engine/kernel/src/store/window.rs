//! Reads over `(now - span, now]`: Prometheus' range-vector functions, and the questions policies ask.
//!
//! Chunks wholly inside a window are answered from their summaries; only chunks at an edge (or with holes) are decoded. Every
//! operation is a [`Fold`] over samples and summaries, oldest first. Deliberately absent: results kept between reads, so that a
//! read depends on nothing but the samples. An editor breaks this module by giving `valid_until` later than the first moment at
//! which the formula would say something else; a property test compares them.
//!
//! `Fault`: the span is not positive or longer than the retention, or an argument is out of range. `NoData`: an unknown series, too
//! few samples, or a result that is not a number.

use super::chunk::{Summary, Times, is_sample};
use super::codec::ROWS_MAX;
use super::moments::{Spread, Sum};
use super::read::{Place, Read, span_fault};
use super::trend;
use homeostat_model::{ReadingValue, Span, Time};

/// A look back over `(now - span, now]` of one series.
pub struct Window<'a> {
    place: Option<Place<'a>>,
    from: i64,
    now: i64,
    span: i64,
    fault: Option<String>,
}

/// Something computed from samples in order of time.
trait Fold {
    /// Takes one sample.
    fn sample(&mut self, time: i64, value: f64);
    /// Takes a block without holes at once; `false` asks for its samples instead.
    fn block(&mut self, _times: &Times, _summary: &Summary) -> bool {
        false
    }
}

/// What a fold went over.
struct Walk {
    /// The oldest sample's stamp; `i64::MAX` if there was none.
    first: i64,
    /// The newest sample's stamp.
    last: Option<i64>,
    /// The first moment at which a stamp that is ahead of now comes into view.
    ahead: i64,
    cost: u32,
}

#[derive(Default)]
struct Total {
    sum: Sum,
    count: u64,
}

impl Fold for Total {
    #[inline]
    fn sample(&mut self, _time: i64, value: f64) {
        self.sum.add(value);
        self.count += 1;
    }
    fn block(&mut self, _times: &Times, summary: &Summary) -> bool {
        self.sum.add(summary.sum);
        self.count += u64::from(summary.count);
        true
    }
}

struct Extremes {
    min: f64,
    max: f64,
}

impl Fold for Extremes {
    #[inline]
    fn sample(&mut self, _time: i64, value: f64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
    fn block(&mut self, _times: &Times, summary: &Summary) -> bool {
        self.min = self.min.min(summary.min);
        self.max = self.max.max(summary.max);
        true
    }
}

impl Fold for Spread {
    #[inline]
    fn sample(&mut self, _time: i64, value: f64) {
        self.add(value);
    }
    fn block(&mut self, _times: &Times, summary: &Summary) -> bool {
        let count = f64::from(summary.count);
        self.merge(count, summary.sum / count, summary.m2);
        true
    }
}

struct All<T, F: Fn(i64, f64) -> T>(Vec<T>, F);

impl<T, F: Fn(i64, f64) -> T> Fold for All<T, F> {
    #[inline]
    fn sample(&mut self, time: i64, value: f64) {
        self.0.push((self.1)(time, value));
    }
}

/// First and last sample, and what a counter lost to resets between them.
#[derive(Default)]
struct Edges {
    count: u64,
    first: (i64, f64),
    last: (i64, f64),
    resets: f64,
}

impl Edges {
    #[inline]
    fn extend(&mut self, first: (i64, f64), last: (i64, f64), count: u64) {
        if self.count == 0 {
            self.first = first;
        } else if first.1 < self.last.1 {
            self.resets += self.last.1;
        }
        self.last = last;
        self.count += count;
    }
}

impl Fold for Edges {
    #[inline]
    fn sample(&mut self, time: i64, value: f64) {
        self.extend((time, value), (time, value), 1);
    }
    fn block(&mut self, times: &Times, summary: &Summary) -> bool {
        self.extend((times.start, summary.first), (times.end, summary.last), summary.count.into());
        self.resets += summary.resets;
        true
    }
}

/// The steps between samples that are longer than a sensor's rhythm allows.
struct Gaps {
    allowed: i64,
    before: i64,
    /// Milliseconds in steps that are too long, the one from the window's start to the first sample included.
    long: i64,
    /// The first step, from the window's start.
    first: Option<i64>,
}

impl Gaps {
    #[inline]
    fn step_to(&mut self, time: i64) {
        let step = time - self.before;
        self.first.get_or_insert(step);
        if step > self.allowed {
            self.long += step;
        }
        self.before = time;
    }
}

impl Fold for Gaps {
    #[inline]
    fn sample(&mut self, time: i64, _value: f64) {
        self.step_to(time);
    }
    fn block(&mut self, times: &Times, _summary: &Summary) -> bool {
        if times.gap_max > self.allowed {
            return false;
        }
        self.step_to(times.start);
        self.before = times.end;
        true
    }
}

/// Gaps, and a sample that breaks the condition.
struct Held<F: Fn(f64) -> bool> {
    gaps: Gaps,
    holds: F,
    /// A moment at or before the newest breaking sample, within the window.
    broken_at: Option<i64>,
}

impl<F: Fn(f64) -> bool> Fold for Held<F> {
    #[inline]
    fn sample(&mut self, time: i64, value: f64) {
        self.gaps.step_to(time);
        if !(self.holds)(value) {
            self.broken_at = Some(time);
        }
    }
    fn block(&mut self, times: &Times, summary: &Summary) -> bool {
        if !self.gaps.block(times, summary) {
            return false;
        }
        if !(self.holds)(summary.min) || !(self.holds)(summary.max) {
            self.broken_at = Some(times.start);
        }
        true
    }
}

impl<'a> Window<'a> {
    pub(super) fn new(place: Option<Place<'a>>, now: Time, span: Span) -> Window<'a> {
        let fault = place.as_ref().and_then(|place| span_fault(span, place.retention));
        Window { place, from: now.0.saturating_sub(span.0), now: now.0, span: span.0, fault }
    }

    /// Folds the window's samples; `Err` holds the answer that needs none.
    fn fold(&self, fold: &mut impl Fold) -> Result<Walk, Read> {
        let Some(place) = &self.place else { return Err(Read::new(ReadingValue::NoData, None, i64::MAX, 1)) };
        if let Some(fault) = &self.fault {
            return Err(Read::new(ReadingValue::Fault(fault.clone()), None, i64::MAX, 1));
        }
        let mut walk = Walk { first: i64::MAX, last: None, ahead: place.ahead(self.now), cost: 0 };
        let chunks = &place.group.chunks;
        for chunk in chunks.range(chunks.partition_point(|chunk| chunk.times.end <= self.from)..) {
            let times = &chunk.times;
            if times.start > self.now {
                break;
            }
            walk.cost += 1;
            let is_inside = times.start > self.from && times.end <= self.now;
            if is_inside
                && let Some(summary) = chunk.summary(place.member)
                && fold.block(times, &summary)
            {
                walk.first = walk.first.min(times.start);
                walk.last = Some(times.end);
            } else if chunk.last(place.member).is_some() {
                let (mut times, mut values) = ([0; ROWS_MAX], [0.0; ROWS_MAX]);
                walk.cost += chunk.times.rows as u32;
                self.fold_rows(chunk.times.decode(&mut times), chunk.decode(place.member, &mut values), fold, &mut walk);
            }
        }
        walk.cost += self.fold_rows(&place.group.times, place.group.head(place.member), fold, &mut walk);
        Ok(walk)
    }

    /// Folds the rows inside the window; gives their number.
    fn fold_rows(&self, times: &[i64], values: &[f64], fold: &mut impl Fold, walk: &mut Walk) -> u32 {
        let low = times.partition_point(|time| *time <= self.from);
        let high = low + times[low..].partition_point(|time| *time <= self.now);
        for (&time, &value) in times[low..high].iter().zip(&values[low..high]) {
            if is_sample(value) {
                fold.sample(time, value);
                walk.first = walk.first.min(time);
                walk.last = Some(time);
            }
        }
        (high - low) as u32
    }

    /// When the oldest sample leaves the window, or one that is ahead enters it.
    fn turns(&self, walk: &Walk) -> i64 {
        walk.first.saturating_add(self.span).min(walk.ahead)
    }

    fn answer(&self, walk: &Walk, value: Option<f64>, valid_until: i64) -> Read {
        let value = match value {
            Some(value) if !value.is_nan() => ReadingValue::Value(value),
            _ => ReadingValue::NoData,
        };
        Read::new(value, walk.last, valid_until, walk.cost)
    }

    /// Folds, and answers with what depends on nothing but the samples inside.
    fn over<F: Fold>(&self, mut fold: F, value: impl FnOnce(F) -> Option<f64>) -> Read {
        match self.fold(&mut fold) {
            Ok(walk) => self.answer(&walk, value(fold), self.turns(&walk)),
            Err(read) => read,
        }
    }

    /// The window's samples, oldest first; none where nothing can be read.
    pub fn samples(&self) -> Vec<(Time, f64)> {
        let mut all = Vec::new();
        self.append_to(&mut all, |time, value| (time, value));
        all
    }

    /// The same behind what is there, each as `map` makes it.
    pub fn append_to<T>(&self, all: &mut Vec<T>, map: impl Fn(Time, f64) -> T) {
        let before = all.len();
        let mut taken = All(std::mem::take(all), |time, value| map(Time(time), value));
        let read = self.fold(&mut taken).is_ok();
        *all = taken.0;
        if !read {
            all.truncate(before);
        }
    }

    /// The newest sample in the window, whatever its age (`last_over_time`).
    pub fn last(&self) -> Read {
        self.over(Edges::default(), |edges| (edges.count > 0).then_some(edges.last.1))
    }

    /// The mean (`avg_over_time`).
    pub fn avg(&self) -> Read {
        self.over(Total::default(), |total| (total.count > 0).then(|| total.sum.total() / total.count as f64))
    }

    /// The least sample (`min_over_time`).
    pub fn min(&self) -> Read {
        self.over(Extremes { min: f64::INFINITY, max: f64::NEG_INFINITY }, |found| (found.min <= found.max).then_some(found.min))
    }

    /// The greatest sample (`max_over_time`).
    pub fn max(&self) -> Read {
        self.over(Extremes { min: f64::INFINITY, max: f64::NEG_INFINITY }, |found| (found.min <= found.max).then_some(found.max))
    }

    /// The sum (`sum_over_time`).
    pub fn sum(&self) -> Read {
        self.over(Total::default(), |total| (total.count > 0).then(|| total.sum.total()))
    }

    /// The number of samples; unlike `count_over_time`, 0 if there are none.
    pub fn count(&self) -> Read {
        self.over(Total::default(), |total| Some(total.count as f64))
    }

    /// The population standard deviation (`stddev_over_time`).
    pub fn stddev(&self) -> Read {
        self.over(Spread::default(), |spread| (spread.count > 0.0).then(|| (spread.m2 / spread.count).sqrt()))
    }

    /// The `q`-quantile, linearly interpolated (`quantile_over_time`); `Fault` unless 0 ≤ q ≤ 1.
    pub fn quantile(&self, q: f64) -> Read {
        if !(0.0..=1.0).contains(&q) {
            return Read::new(ReadingValue::Fault(format!("quantile({q}): expected 0 to 1")), None, i64::MAX, 1);
        }
        self.over(All(Vec::new(), |_, value| value), |All(mut values, _)| trend::quantile(&mut values, q))
    }

    /// The counter's increase over the window, extrapolated to its edges (`increase`); a decrease counts as a reset to zero.
    pub fn increase(&self) -> Read {
        self.extrapolated(true, false)
    }

    /// [`Window::increase`] per second (`rate`).
    pub fn rate(&self) -> Read {
        self.extrapolated(true, true)
    }

    /// The gauge's change over the window, extrapolated to its edges (`delta`).
    pub fn delta(&self) -> Read {
        self.extrapolated(false, false)
    }

    /// The slope of the least-squares line, per second (`deriv`); needs two samples.
    pub fn slope(&self) -> Read {
        self.over(All(Vec::new(), |time, value| (time, value)), |All(points, _)| trend::least_squares_slope(&points))
    }

    /// `promql/functions.go::extrapolatedRate` of Prometheus 3: the change between first and last sample is stretched to the
    /// window's edges; by half the average step only, where an edge is 1.1 steps away or more; and for counters not beyond the
    /// moment at which they would have been zero.
    ///
    /// Where neither edge is cut off, the stretched length is exactly the window's, so the answer does not depend on now.
    fn extrapolated(&self, is_counter: bool, is_rate: bool) -> Read {
        let mut edges = Edges::default();
        let walk = match self.fold(&mut edges) {
            Ok(walk) => walk,
            Err(read) => return read,
        };
        if edges.count < 2 {
            return self.answer(&walk, None, self.turns(&walk));
        }
        let change = edges.last.1 - edges.first.1 + if is_counter { edges.resets } else { 0.0 };
        let sampled = (edges.last.0 - edges.first.0) as f64;
        let step = sampled / (edges.count - 1) as f64;
        let threshold = step * 1.1;
        let (to_start, to_end) = ((edges.first.0 - self.from) as f64, (self.now - edges.last.0) as f64);
        let mut start = if to_start >= threshold { step / 2.0 } else { to_start };
        let is_end_cut = to_end >= threshold;
        let mut is_start_cut = to_start >= threshold;
        // The first sample's distance from the window's start at which a cut start ends.
        let mut start_cut_until = threshold.ceil();
        if is_counter && change > 0.0 && edges.first.1 >= 0.0 {
            let to_zero = sampled * (edges.first.1 / change);
            if to_zero < start {
                (start, is_start_cut, start_cut_until) = (to_zero, true, to_zero.ceil() + 1.0);
            }
        }
        let stretched = match (is_start_cut, is_end_cut) {
            (false, false) => self.span as f64,
            _ => sampled + start + if is_end_cut { step / 2.0 } else { to_end },
        };
        let per = if is_rate { self.span as f64 / 1000.0 } else { 1.0 };
        let holds_until = match (is_start_cut, is_end_cut) {
            (false, false) => edges.last.0.saturating_add(threshold.ceil() as i64),
            (true, true) => edges.first.0.saturating_add(self.span).saturating_sub(start_cut_until as i64).saturating_add(1),
            _ => self.now + 1,
        };
        self.answer(&walk, Some(change * (stretched / sampled / per)), holds_until.max(self.now + 1).min(self.turns(&walk)))
    }

    /// Seconds from now until the trend reaches `level`.
    ///
    /// The trend is a Theil–Sen line (the median of all slopes between points) through the medians of at most 64 equal stretches of
    /// time between the first and the last sample: a few wild samples do not move it. The answer is 0 where the line crosses the
    /// level inside the window or between its newest sample and now (it has just been reached), or runs along it; the time to the
    /// crossing where that is ahead; and `+Inf` where the line is flat or moves away from the level. `NoData` for fewer than two
    /// stamps.
    pub fn seconds_until(&self, level: f64) -> Read {
        let mut points = All(Vec::new(), |time, value| (time, value));
        let mut walk = match self.fold(&mut points) {
            Ok(walk) => walk,
            Err(read) => return read,
        };
        let Some(line) = trend::Line::theil_sen(&points.0) else { return self.answer(&walk, None, self.turns(&walk)) };
        walk.cost += line.cost;
        let (seconds, is_ahead) = line.seconds_until(level, walk.first, self.now);
        let valid_until = if is_ahead { (self.now + 1).min(self.turns(&walk)) } else { self.turns(&walk) };
        self.answer(&walk, Some(seconds), valid_until)
    }

    /// 1 if every sample is greater than `level` and the window is covered, 0 as soon as one is not, else `NoData`.
    ///
    /// Covered: no step between samples, nor from the window's start to the first, is longer than the sensor's staleness (2.5
    /// intervals, at least 1 s), and the newest sample is current (see [`super::Store::last`]).
    pub fn held_above(&self, level: f64) -> Read {
        self.held(|value| value > level)
    }

    /// 1 if every sample is less than `level` and the window is covered, 0 as soon as one is not, else `NoData`.
    pub fn held_below(&self, level: f64) -> Read {
        self.held(|value| value < level)
    }

    fn held(&self, holds: impl Fn(f64) -> bool) -> Read {
        let mut held = Held { gaps: self.gaps(), holds, broken_at: None };
        let mut walk = match self.fold(&mut held) {
            Ok(walk) => walk,
            Err(read) => return read,
        };
        if let Some(broken_at) = held.broken_at {
            return self.answer(&walk, Some(0.0), broken_at.saturating_add(self.span).min(walk.ahead));
        }
        let (Some(place), Some(last), Some(first_step)) = (&self.place, walk.last, held.gaps.first) else {
            return self.answer(&walk, None, walk.ahead);
        };
        let (newest, cost) = place.newest(self.now);
        walk.cost += cost;
        let stale_at = last.saturating_add(held.gaps.allowed + 1);
        let leaves = last.saturating_add(self.span);
        if stale_at <= self.now || newest.is_some_and(|newest| newest.has_ended) {
            // Time alone does not make it current again.
            return self.answer(&walk, None, walk.ahead);
        }
        if held.gaps.long == 0 {
            return self.answer(&walk, Some(1.0), stale_at.min(leaves).min(walk.ahead));
        }
        // Unknown, until the window's start is near enough to the first sample, or the samples before a gap have left.
        let covered_at = if first_step > held.gaps.allowed { walk.first.saturating_add(self.span - held.gaps.allowed) } else { i64::MAX };
        self.answer(&walk, None, covered_at.max(self.now + 1).min(self.turns(&walk)))
    }

    fn gaps(&self) -> Gaps {
        let allowed = self.place.as_ref().map_or(0, |place| place.staleness);
        Gaps { allowed, before: self.from, long: 0, first: None }
    }

    /// The share of the window that samples cover, 0 to 1: all of it but the steps longer than the sensor's staleness, counting
    /// those from the window's start to the first sample and from the newest sample to now. 0 without samples.
    pub fn coverage(&self) -> Read {
        let mut gaps = self.gaps();
        let walk = match self.fold(&mut gaps) {
            Ok(walk) => walk,
            Err(read) => return read,
        };
        let Some(last) = walk.last else { return self.answer(&walk, Some(0.0), walk.ahead) };
        let is_start_long = gaps.first.is_some_and(|step| step > gaps.allowed);
        let tail = self.now - last;
        let is_tail_long = tail > gaps.allowed;
        let uncovered = gaps.long + if is_tail_long { tail } else { 0 };
        // A long step at an edge changes with every millisecond.
        let valid_until = match is_start_long || is_tail_long {
            true => self.now + 1,
            false => self.turns(&walk).min(last.saturating_add(gaps.allowed + 1)),
        };
        self.answer(&walk, Some(1.0 - uncovered as f64 / self.span as f64), valid_until.min(walk.ahead))
    }
}
