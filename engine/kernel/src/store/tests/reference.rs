//! Every operation equals its definition on random series, and holds until it says.

use super::*;
use homeostat_model::{Health, ReadingValue};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const INTERVAL: i64 = 15_000;
const STALENESS: i64 = 37_500;

/// What is done to one series in one row.
#[derive(Clone, Copy, Debug)]
enum Move {
    Absent,
    NotANumber,
    Stale,
    Reset,
    Add(i32),
    Same,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Absent),
        1 => Just(Move::NotANumber),
        1 => Just(Move::Stale),
        1 => Just(Move::Reset),
        10 => (-300i32..1000).prop_map(Move::Add),
        6 => Just(Move::Same),
    ]
}

/// Milliseconds to the next row; zero repeats the stamp, -1 goes back to a row of the past.
fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![12 => Just(INTERVAL), 4 => 14_000i64..16_000, 1 => 1i64..5000, 2 => 30_000i64..200_000, 1 => Just(0), 1 => Just(-1), 1 => Just(-7)]
}

/// A series as a map, and the end that is known of it.
#[derive(Clone, Default)]
struct Naive {
    samples: BTreeMap<i64, f64>,
    marker: Option<i64>,
}

/// Rows as the definition has them: stamps rise, a full head is closed, older rows may only be completed in the open head.
#[derive(Default)]
struct Rows {
    head: BTreeSet<i64>,
    newest: Option<i64>,
}

impl Rows {
    fn admits(&mut self, at: i64, chunk_rows: usize) -> bool {
        if self.newest.is_some_and(|newest| at <= newest) {
            return self.head.contains(&at);
        }
        if self.head.len() == chunk_rows {
            self.head.clear();
        }
        self.head.insert(at);
        self.newest = Some(at);
        true
    }
}

struct World {
    store: Store,
    naive: [Naive; 2],
    /// The newest complete row, for series of rows.
    complete: Option<i64>,
    newest: i64,
}

/// Plays the moves into the store and into maps: as rows, or as stamped samples of one cohort.
fn play(chunk_rows: usize, is_row: bool, plan: &[(i64, Move, Move, bool)]) -> World {
    let mut world = World { store: store(chunk_rows), naive: Default::default(), complete: None, newest: 0 };
    let (mut rows, mut at, mut values, mut past) = (Rows::default(), 1_000_000i64, [100.0, 0.25], Vec::new());
    for (i, &(step, first, second, is_blind)) in plan.iter().enumerate() {
        past.push(at);
        let now = if step < 0 { past[past.len().saturating_sub(step.unsigned_abs() as usize + 1)] } else { at + step };
        at = at.max(now);
        let mut obs = observation(now, if i > 0 { 2 } else { 0 }, if i > 0 { &[] } else { &["a", "b"] });
        obs.declared.iter_mut().for_each(|decl| decl.cohort = 1);
        obs.health = if is_blind { Health::Blind } else { Health::Ok };
        let is_new = rows.newest.is_none_or(|newest| now > newest);
        let mut admitted = is_row && !is_blind;
        for (series, todo) in [first, second].into_iter().enumerate() {
            let value = match todo {
                Move::Absent => continue,
                Move::NotANumber => f64::NAN,
                Move::Stale => f64::from_bits(0x7ff0_0000_0000_0002),
                Move::Reset => 0.0,
                Move::Add(step) => values[series] + f64::from(step) / 100.0,
                Move::Same => values[series],
            };
            match is_row {
                true => obs.samples.push(sample(series as u32, value)),
                false => obs.stamped.push(stamped(series as u32, now, value)),
            }
            admitted = true;
            let naive = &mut world.naive[series];
            if value.is_nan() {
                if !is_row {
                    naive.marker = naive.marker.max(Some(now));
                }
                continue;
            }
            values[series] = value;
            if rows.admits(now, chunk_rows) {
                naive.samples.entry(now).or_insert(value);
            }
        }
        // A complete row counts even if nothing is in it, but only once the sensor has rows.
        let has_rows = rows.newest.is_some() || !obs.samples.is_empty();
        if is_row && admitted && has_rows && is_new {
            rows.admits(now, chunk_rows);
            if !is_blind {
                world.complete = Some(now);
            }
        }
        world.newest = at;
        world.store.append(&obs, &mut |_| ());
    }
    world
}

/// The definitions.
struct Reference<'a> {
    naive: &'a Naive,
    complete: Option<i64>,
    now: i64,
    span: i64,
    window: Vec<(i64, f64)>,
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

impl Reference<'_> {
    fn new(naive: &Naive, complete: Option<i64>, now: i64, span: i64) -> Reference<'_> {
        let window = naive.samples.iter().filter(|(at, _)| **at > now - span && **at <= now).map(|(at, value)| (*at, *value)).collect();
        Reference { naive, complete, now, span, window }
    }

    fn newest(&self) -> ReadingValue {
        let Some((at, value)) = self.naive.samples.range(..=self.now).next_back() else { return ReadingValue::NoData };
        let ended = [self.naive.marker, self.complete].into_iter().flatten().any(|end| end > *at && end <= self.now);
        match self.now - at {
            _ if ended => ReadingValue::NoData,
            age if age <= STALENESS => ReadingValue::Value(*value),
            age => ReadingValue::Stale(Span(age)),
        }
    }

    fn values(&self) -> Vec<f64> {
        self.window.iter().map(|(_, value)| *value).collect()
    }

    fn avg(&self) -> Option<f64> {
        (!self.window.is_empty()).then(|| self.values().iter().sum::<f64>() / self.window.len() as f64)
    }

    fn stddev(&self) -> Option<f64> {
        let mean = self.avg()?;
        Some((self.values().iter().map(|value| (value - mean).powi(2)).sum::<f64>() / self.window.len() as f64).sqrt())
    }

    fn quantile(&self, q: f64) -> Option<f64> {
        let values = sorted(self.values());
        let rank = q * (values.len().checked_sub(1)?) as f64;
        let (low, high) = (rank.floor() as usize, (rank.floor() as usize + 1).min(values.len() - 1));
        Some(values[low] * (1.0 - rank.fract()) + values[high] * rank.fract())
    }

    fn change(&self, is_counter: bool) -> Option<f64> {
        let (first, last) = (self.window.first()?, self.window.last()?);
        if self.window.len() < 2 {
            return None;
        }
        let mut change = last.1 - first.1;
        for pair in self.window.windows(2).filter(|pair| is_counter && pair[1].1 < pair[0].1) {
            change += pair[0].1;
        }
        let (mut to_start, mut to_end) = ((first.0 - (self.now - self.span)) as f64 / 1e3, (self.now - last.0) as f64 / 1e3);
        let sampled = (last.0 - first.0) as f64 / 1e3;
        let average = sampled / (self.window.len() - 1) as f64;
        if to_start >= average * 1.1 {
            to_start = average / 2.0;
        }
        if is_counter && change > 0.0 && first.1 >= 0.0 {
            to_start = to_start.min(sampled * (first.1 / change));
        }
        if to_end >= average * 1.1 {
            to_end = average / 2.0;
        }
        Some(change * (sampled + to_start + to_end) / sampled)
    }

    fn slope(&self) -> Option<f64> {
        let count = self.window.len() as f64;
        let x = |at: i64| (at - self.window[0].0) as f64 / 1e3;
        let (mean_x, mean_y) = (self.window.iter().map(|(at, _)| x(*at)).sum::<f64>() / count, self.avg()?);
        let covariance: f64 = self.window.iter().map(|(at, value)| (x(*at) - mean_x) * (value - mean_y)).sum();
        let variance: f64 = self.window.iter().map(|(at, _)| (x(*at) - mean_x).powi(2)).sum();
        (count >= 2.0).then(|| covariance / variance)
    }

    fn seconds_until(&self, level: f64) -> Option<f64> {
        let (first, last) = (self.window.first()?.0, self.window.last()?.0);
        if first == last {
            return None;
        }
        let mut stretches: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
        for (i, point) in self.window.iter().enumerate() {
            let stretch = if self.window.len() <= 64 { i as i64 } else { (point.0 - first) / ((last - first) / 64 + 1) };
            stretches.entry(stretch).or_default().push(*point);
        }
        let seconds = |at: i64| (at - last) as f64 / 1e3;
        let middle =
            |part: &Vec<(i64, f64)>| (median(part.iter().map(|p| seconds(p.0)).collect()), median(part.iter().map(|p| p.1).collect()));
        let points: Vec<(f64, f64)> = stretches.values().map(middle).collect();
        let mut slopes = Vec::new();
        for (i, a) in points.iter().enumerate() {
            slopes.extend(points[i + 1..].iter().map(|b| (b.1 - a.1) / (b.0 - a.0)));
        }
        let slope = median(slopes);
        let value = median(points.iter().map(|(x, y)| y - slope * x).collect());
        let crossing = (level - value) / slope;
        Some(match crossing {
            _ if level == value && slope == 0.0 => 0.0,
            crossing if !crossing.is_finite() || crossing < seconds(first) => f64::INFINITY,
            crossing => (crossing - seconds(self.now)).max(0.0),
        })
    }

    /// Steps from the window's start over all samples; then the one to now.
    fn long_steps(&self) -> (i64, i64) {
        let stamps: Vec<i64> = [self.now - self.span].into_iter().chain(self.window.iter().map(|(at, _)| *at)).collect();
        let long = |step: i64| if step > STALENESS { step } else { 0 };
        (stamps.windows(2).map(|pair| long(pair[1] - pair[0])).sum(), long(self.now - stamps[stamps.len() - 1]))
    }

    fn held_below(&self, level: f64) -> Option<f64> {
        if self.window.iter().any(|(_, value)| *value >= level) {
            return Some(0.0);
        }
        let is_covered = !self.window.is_empty() && self.long_steps().0 == 0 && self.newest().value().is_some();
        is_covered.then_some(1.0)
    }

    fn coverage(&self) -> Option<f64> {
        if self.window.is_empty() {
            return Some(0.0);
        }
        let (inside, after) = self.long_steps();
        Some(1.0 - (inside + after) as f64 / self.span as f64)
    }

    /// All operations: name, expected, and how large rounding errors may be.
    fn all(&self, level: f64) -> Vec<(&'static str, Option<f64>, f64)> {
        let values = self.values();
        let largest = values.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
        let seconds = self.window.first().zip(self.window.last()).map_or(1.0, |(a, b)| ((b.0 - a.0) as f64 / 1e3).max(1e-3));
        let stretch = largest * (self.span as f64 / 1e3 / seconds).max(1.0);
        vec![
            ("last", values.last().copied(), 0.0),
            ("avg", self.avg(), largest),
            ("min", sorted(values.clone()).first().copied(), 0.0),
            ("max", sorted(values.clone()).last().copied(), 0.0),
            ("sum", (!values.is_empty()).then(|| values.iter().sum()), largest * values.len() as f64),
            ("count", Some(values.len() as f64), 0.0),
            ("stddev", self.stddev(), largest * 1e2),
            ("quantile", self.quantile(0.9), largest),
            ("increase", self.change(true), stretch),
            ("rate", self.change(true).map(|change| change * 1e3 / self.span as f64), stretch),
            ("delta", self.change(false), stretch),
            ("slope", self.slope(), largest / seconds),
            ("held_below", self.held_below(level), 0.0),
            ("coverage", self.coverage(), 1.0),
        ]
    }
}

fn read(store: &Store, series: SeriesRef, now: i64, span: i64, name: &str, level: f64) -> Read {
    let window = store.window(series, Time(now), Span(span));
    match name {
        "newest" => store.last(series, Time(now)),
        "absent_for" => store.absent_for(series, Time(now), Span(span)),
        "last" => window.last(),
        "avg" => window.avg(),
        "min" => window.min(),
        "max" => window.max(),
        "sum" => window.sum(),
        "count" => window.count(),
        "stddev" => window.stddev(),
        "quantile" => window.quantile(0.9),
        "increase" => window.increase(),
        "rate" => window.rate(),
        "delta" => window.delta(),
        "slope" => window.slope(),
        "held_below" => window.held_below(level),
        "held_above" => window.held_above(level),
        "coverage" => window.coverage(),
        "seconds_until" => window.seconds_until(level),
        name => panic!("{name}"),
    }
}

/// Reads again at moments before `valid_until`, and expects the same.
fn holds(store: &Store, series: SeriesRef, now: i64, span: i64, name: &str, level: f64) -> Result<(), TestCaseError> {
    let first = read(store, series, now, span, name, level);
    prop_assert!(first.valid_until.0 > now, "{name}: {first:?} at {now}");
    let until = first.valid_until.0.min(now + 4 * span + 10_000_000);
    for later in [now + 1, now + (until - now) / 3, now + (until - now) / 7, until - 2, until - 1] {
        if later < now || later >= until {
            continue;
        }
        let again = read(store, series, later, span, name, level);
        let is_same = match (&first.value, &again.value) {
            (ReadingValue::Stale(_), ReadingValue::Stale(_)) => true,
            (one, two) => one == two,
        };
        prop_assert!(is_same, "{name} {span} ms: {first:?} at {now}, {again:?} at {later}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_operation_equals_its_definition(
        chunk_rows in 2usize..20,
        is_row in any::<bool>(),
        plan in prop::collection::vec((steps(), moves(), moves(), prop::bool::weighted(0.1)), 1..160),
        looks in prop::collection::vec((-3_000_000i64..120_000, 1i64..3_000_000, -2.0..300.0f64), 1..6),
    ) {
        let world = play(chunk_rows, is_row, &plan);
        for (series, name) in ["a", "b"].into_iter().enumerate() {
            let Some(reference) = world.store.find(&key_of(name)) else { continue };
            let complete = world.complete.filter(|_| is_row);
            for &(offset, span, level) in &looks {
                let now = world.newest + offset;
                let expected = Reference::new(&world.naive[series], complete, now, span);
                let has_any = !world.naive[series].samples.is_empty();
                if !has_any {
                    prop_assert_eq!(world.store.last(reference, Time(now)).value, ReadingValue::NoData);
                    continue;
                }
                prop_assert_eq!(world.store.last(reference, Time(now)).value, expected.newest());
                for (operation, value, scale) in expected.all(level) {
                    let got = read(&world.store, reference, now, span, operation, level);
                    let close = match (got.value.value(), value) {
                        (Some(got), Some(value)) => (got - value).abs() <= 1e-9 * scale.max(value.abs()) || got == value,
                        (None, None) => got.value == ReadingValue::NoData,
                        _ => false,
                    };
                    prop_assert!(close, "{} over {} ms at {}: {:?}, expected {:?}\n{:?}", operation, span, now, got, value, expected.window);
                }
                // The crossing is ill-conditioned where the line is nearly flat: compared where it is not.
                let got = world.store.window(reference, Time(now), Span(span)).seconds_until(level).value.value();
                let value = expected.seconds_until(level);
                let is_close = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-6 * a.abs().max(1.0) || a.min(b) > 1e9;
                prop_assert!(got.is_some() == value.is_some() && got.zip(value).is_none_or(|(a, b)| is_close(a, b)), "{:?} {:?}", got, value);
                let absent = expected.window.is_empty();
                prop_assert_eq!(world.store.absent_for(reference, Time(now), Span(span)).value, ReadingValue::Value(f64::from(u8::from(absent))));
            }
        }
    }

    #[test]
    fn every_answer_holds_until_it_says(
        chunk_rows in 2usize..20,
        is_row in any::<bool>(),
        plan in prop::collection::vec((steps(), moves(), moves(), prop::bool::weighted(0.1)), 1..100),
        looks in prop::collection::vec((prop_oneof![-2_000_000i64..0, 0i64..300_000], 1i64..1_000_000, -2.0..300.0f64), 1..8),
    ) {
        let world = play(chunk_rows, is_row, &plan);
        let names = ["newest", "absent_for", "last", "avg", "min", "max", "sum", "count", "stddev", "quantile", "increase", "rate", "delta", "slope",
            "held_below", "held_above", "coverage", "seconds_until"];
        for key in ["a", "b"] {
            let Some(series) = world.store.find(&key_of(key)) else { continue };
            for &(offset, span, level) in &looks {
                for name in names {
                    holds(&world.store, series, world.newest + offset, span, name, level)?;
                }
            }
        }
    }

    #[test]
    fn nothing_depends_on_the_size_of_chunks_or_on_sweeps(
        plan in prop::collection::vec((1000i64..60_000, moves(), moves(), Just(false)), 1..120),
        span in 1i64..600_000,
    ) {
        // Short retention: what one store has swept and another not must not be seen.
        let mut answers = Vec::new();
        for chunk_rows in [2, 7, 120] {
            let mut world = play(chunk_rows, true, &plan);
            world.store.reconfigure(StoreSettings { retention: Span::from_mins(10), ..StoreSettings::default() });
            let mut obs = observation(world.newest + 30_000, 2, &[]);
            obs.samples = vec![sample(0, 1.0)];
            world.store.append(&obs, &mut |_| ());
            let store = &world.store;
            let read = |series: SeriesRef| {
                let names = ["newest", "min", "max", "last", "held_below", "quantile"];
                names.map(|name| read(store, series, obs.at.0, span, name, 50.0).value)
            };
            // A series without samples in the retention may be forgotten by one sweep earlier than by another; both say NoData.
            answers.push(["a", "b"].map(|key| store.find(&key_of(key)).map_or([const { ReadingValue::NoData }; 6], read)));
        }
        prop_assert_eq!(&answers[0], &answers[1]);
        prop_assert_eq!(&answers[0], &answers[2]);
    }
}
