//! Reads of the newest sample: what a series says now, and whether it says anything.
//!
//! Deliberately absent: windows (see [`super::window`]). An editor breaks this module by giving an answer without the earliest
//! moment at which it may change: evaluations are skipped until then.

use super::chunk::is_sample;
use super::codec::ROWS_MAX;
use super::group::{Group, NONE};
use super::{SeriesRef, Store, Window};
use homeostat_model::{ReadingValue, Span, Time};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The value, or why there is none. Never `Value(NaN)`.
    pub value: ReadingValue,
    /// When the newest sample that it rests on was taken.
    pub sampled_at: Option<Time>,
    /// Without new samples the value is the same at every moment from now until before this one (of `Stale`, the age grows).
    pub valid_until: Time,
    /// Samples and summaries touched: a work budget that is the same in every run.
    pub cost: u32,
}

impl Read {
    /// An answer that holds until `valid_until` milliseconds.
    pub(super) fn new(value: ReadingValue, sampled_at: Option<i64>, valid_until: i64, cost: u32) -> Read {
        Read { value, sampled_at: sampled_at.map(Time), valid_until: Time(valid_until), cost }
    }
}

/// How old the newest sample of a sensor may be and still be current: 2.5 intervals, at least one second.
pub fn staleness(interval: Span) -> Span {
    Span((interval.0.saturating_mul(5) / 2).max(1000))
}

/// Why a look back of this length cannot be answered: it must be positive and within the retention, because what is older may
/// have been dropped and "nothing seen" would be a guess.
pub(super) fn span_fault(span: Span, retention: i64) -> Option<String> {
    let is_answerable = 0 < span.0 && span.0 <= retention;
    (!is_answerable)
        .then(|| format!("look back over {span}: expected more than 0s and at most the store's retention of {}", Span(retention)))
}

/// Where a series' samples are, and what limits what can be seen of them.
pub(super) struct Place<'a> {
    pub group: &'a Group,
    pub member: usize,
    /// The newest explicit stale marker.
    pub marker: i64,
    /// How old a current sample may be, milliseconds.
    pub staleness: i64,
    /// Older samples are not seen, milliseconds.
    pub retention: i64,
}

/// The newest sample: its stamp and value.
#[derive(Clone, Copy)]
pub(super) struct Newest {
    pub at: i64,
    pub value: f64,
    /// Whether the series ended after it.
    pub has_ended: bool,
}

impl Place<'_> {
    /// The newest sample at or before `now`, and what looking for it cost.
    pub fn newest(&self, now: i64) -> (Option<Newest>, u32) {
        let mut cost = 0;
        let head = self.group.head(self.member);
        let rows = self.group.times.partition_point(|time| *time <= now);
        for row in (0..rows).rev() {
            cost += 1;
            if is_sample(head[row]) {
                return (Some(self.ended(self.group.times[row], head[row], now)), cost);
            }
        }
        for chunk in self.group.chunks.iter().rev().filter(|chunk| chunk.times.start <= now) {
            cost += 1;
            let Some((row, value)) = chunk.last(self.member) else { continue };
            if row + 1 == chunk.times.rows && chunk.times.end <= now {
                return (Some(self.ended(chunk.times.end, value, now)), cost);
            }
            let (mut times, mut values) = ([0; ROWS_MAX], [0.0; ROWS_MAX]);
            let (times, values) = (chunk.times.decode(&mut times), chunk.decode(self.member, &mut values));
            cost += chunk.times.rows as u32;
            if let Some(row) = (0..times.len()).rfind(|row| times[*row] <= now && is_sample(values[*row])) {
                return (Some(self.ended(times[row], values[row], now)), cost);
            }
        }
        (None, cost)
    }

    /// A sample, with what is known of the series' end: the newest complete row and the newest marker, if they are not ahead of now.
    fn ended(&self, at: i64, value: f64, now: i64) -> Newest {
        let is_after = |end: i64| end > at && end <= now;
        Newest { at, value, has_ended: is_after(self.marker) || (self.group.is_row && is_after(self.group.last_complete)) }
    }

    /// The first moment after `now` at which a stamp that is still ahead comes into view.
    pub fn ahead(&self, now: i64) -> i64 {
        let marker = if self.marker > now { self.marker } else { i64::MAX };
        let head = self.group.times.partition_point(|time| *time <= now);
        let row = match self.group.times.get(head) {
            // Chunks are older than the head: then some of them may be ahead as well.
            Some(_) if head == 0 && self.group.chunks.back().is_some_and(|chunk| chunk.times.end > now) => now + 1,
            Some(time) => *time,
            None => i64::MAX,
        };
        marker.min(row)
    }
}

impl Store {
    pub(super) fn place(&self, series: SeriesRef) -> Option<Place<'_>> {
        let series = self.index.get(self.index.slot(series)?);
        if series.group == NONE {
            return None;
        }
        let group = &self.groups[series.group as usize];
        Some(Place {
            group,
            member: series.member as usize,
            marker: series.marker,
            staleness: self.sensors[group.sensor as usize].staleness(),
            retention: self.settings.retention.0,
        })
    }

    /// The newest sample, if it is current: `Stale(age)` if it is older than the sensor's rhythm allows, `NoData` if the series
    /// ended after it (a stale marker, NaN, or absence from the newest complete row), if it is older than the retention, or if
    /// there is none.
    ///
    /// Before the newest stamp (`now` in the past) only the newest end is known, and it counts only if it is not ahead of `now`.
    pub fn last(&self, series: SeriesRef, now: Time) -> Read {
        let Some(place) = self.place(series) else { return Read::new(ReadingValue::NoData, None, i64::MAX, 1) };
        let now = now.0;
        let (newest, cost) = place.newest(now);
        let ahead = place.ahead(now);
        let Some(newest) = newest.filter(|newest| now.saturating_sub(newest.at) < place.retention) else {
            return Read::new(ReadingValue::NoData, None, ahead, cost);
        };
        let age = now.saturating_sub(newest.at);
        let (value, until) = if newest.has_ended {
            (ReadingValue::NoData, i64::MAX)
        } else if age <= place.staleness {
            (ReadingValue::Value(newest.value), newest.at.saturating_add(place.staleness.min(place.retention - 1) + 1))
        } else {
            (ReadingValue::Stale(Span(age)), newest.at.saturating_add(place.retention))
        };
        Read::new(value, Some(newest.at), ahead.min(until), cost)
    }

    /// 1 if the series has had no sample for `span` (or is unknown), else 0. Whatever the reason: gone, blind or never there.
    /// `Fault` if the span is not positive or longer than the retention.
    pub fn absent_for(&self, series: SeriesRef, now: Time, span: Span) -> Read {
        let Some(place) = self.place(series) else { return Read::new(ReadingValue::Value(1.0), None, i64::MAX, 1) };
        if let Some(fault) = span_fault(span, place.retention) {
            return Read::new(ReadingValue::Fault(fault), None, i64::MAX, 1);
        }
        let (newest, cost) = place.newest(now.0);
        let ahead = place.ahead(now.0);
        match newest.filter(|newest| now.0.saturating_sub(newest.at) < place.retention) {
            Some(newest) if now.0.saturating_sub(newest.at) < span.0 => {
                Read::new(ReadingValue::Value(0.0), Some(newest.at), ahead.min(newest.at.saturating_add(span.0)), cost)
            }
            newest => Read::new(ReadingValue::Value(1.0), newest.map(|newest| newest.at), ahead, cost),
        }
    }

    /// A look back over `(now - span, now]`.
    pub fn window(&self, series: SeriesRef, now: Time, span: Span) -> Window<'_> {
        Window::new(self.place(series), now, span)
    }
}
