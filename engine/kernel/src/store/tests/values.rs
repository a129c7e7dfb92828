//! Values known from elsewhere: Prometheus' own tests (`promql/promqltest/testdata/functions.test`), or worked out by hand.

use super::*;
use homeostat_model::{Health, Purpose, ReadingValue};

const MINUTE: i64 = 60_000;

/// One series `m`, a value every `step` from 0 on; NaN leaves a row without it.
fn series(step: i64, values: &[f64]) -> (Store, SeriesRef) {
    let mut store = store(4);
    for (i, value) in values.iter().enumerate() {
        let mut obs = observation(i as i64 * step, u32::from(i > 0), if i == 0 { &["m"] } else { &[] });
        obs.interval = Span(step);
        obs.samples = vec![sample(0, *value)];
        store.append(&obs, &mut |_| ());
    }
    let series = store.find(&SeriesKey::bare("m")).unwrap();
    (store, series)
}

fn close(read: Read, expected: f64) {
    let value = read.value.value().unwrap_or_else(|| panic!("{read:?}, expected {expected}"));
    assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1e-3) || value == expected, "{value}, expected {expected}");
}

fn steps(from: f64, step: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| from + step * i as f64).collect()
}

#[test]
fn counters_increase_as_in_prometheus() {
    let (store, foo) = series(5 * MINUTE, &steps(0.0, 10.0, 11));
    let window = store.window(foo, Time(50 * MINUTE), Span::from_mins(50));
    close(window.increase(), 100.0);
    close(window.rate(), 100.0 / 3000.0);
    close(window.delta(), 100.0);
    let (store, bar) = series(5 * MINUTE, &[steps(0.0, 10.0, 6), steps(0.0, 10.0, 5)].concat());
    let window = store.window(bar, Time(50 * MINUTE), Span::from_mins(50));
    close(window.increase(), 88.888_888_888_888_89);
    close(window.delta(), 30.0 * 50.0 / 45.0);
}

#[test]
fn a_counter_is_not_extrapolated_below_zero() {
    // First sample 1 at 10 s, 10 per 10 s: it was zero one second before the first sample, not ten.
    let (store, m) = series(10_000, &[f64::NAN, 1.0, 11.0, 21.0]);
    let window = store.window(m, Time(30_000), Span::from_secs(30));
    close(window.increase(), 20.0 * (20.0 + 1.0) / 20.0);
    close(window.delta(), 20.0 * 30.0 / 20.0);
}

#[test]
fn far_edges_are_extrapolated_by_half_a_step() {
    let (store, m) = series(10_000, &[100.0, 110.0, 120.0]);
    // The window begins 30 s before the first sample and ends 20 s after the last one.
    let window = store.window(m, Time(40_000), Span::from_secs(70));
    close(window.increase(), 20.0 * (20.0 + 5.0 + 5.0) / 20.0);
}

#[test]
fn moments_and_quantiles_as_in_prometheus() {
    let (store, m) = series(10_000, &[0.0, 8.0, 8.0, 2.0, 3.0]);
    let window = store.window(m, Time(40_000), Span::from_secs(60));
    close(window.stddev(), 3.249_615_361_854_384);
    close(window.avg(), 4.2);
    close(window.sum(), 21.0);
    close(window.count(), 5.0);
    close(window.min(), 0.0);
    close(window.max(), 8.0);
    close(window.last(), 3.0);
    let (store, m) = series(10_000, &[0.0, 1.0, 2.0]);
    let window = store.window(m, Time(20_000), Span::from_secs(60));
    for (q, expected) in [(0.0, 0.0), (0.5, 1.0), (0.75, 1.5), (0.8, 1.6), (1.0, 2.0)] {
        close(window.quantile(q), expected);
    }
    assert!(matches!(window.quantile(1.5).value, ReadingValue::Fault(_)));
    // Left-open: the sample at 0 is not in (0, 20 s].
    close(store.window(m, Time(20_000), Span::from_secs(20)).count(), 2.0);
}

#[test]
fn slopes_as_in_prometheus() {
    let (store, m) = series(5 * MINUTE, &[steps(0.0, 10.0, 5), steps(0.0, 10.0, 6)].concat());
    close(store.window(m, Time(50 * MINUTE), Span::from_mins(100)).slope(), 0.010_606_060_606_060_607);
    let (store, m) = series(1000, &[1e15, 1e15, 1e15]);
    close(store.window(m, Time(2000), Span::from_mins(1)).slope(), 0.0);
}

#[test]
fn the_time_to_a_level_is_robust() {
    // Falls by 1 per 10 s from 100; one wild sample.
    let mut values = steps(100.0, -1.0, 21);
    values[7] = 5000.0;
    let (store, m) = series(10_000, &values);
    let at = |now: i64, level: f64| store.window(m, Time(now), Span::from_mins(10)).seconds_until(level);
    close(at(200_000, 0.0), 800.0);
    close(at(205_000, 0.0), 795.0);
    assert_eq!(at(205_000, 0.0).valid_until, Time(205_001));
    close(at(200_000, 90.0), 0.0);
    close(at(200_000, 80.0), 0.0);
    // Between the newest sample and now.
    close(at(215_000, 79.0), 0.0);
    close(at(200_000, 101.0), f64::INFINITY);
    let (store, m) = series(10_000, &[5.0; 9]);
    let flat = |level: f64| store.window(m, Time(80_000), Span::from_mins(10)).seconds_until(level);
    close(flat(6.0), f64::INFINITY);
    close(flat(5.0), 0.0);
    // More samples than stretches.
    let (store, m) = series(10_000, &steps(0.0, 0.5, 400));
    close(store.window(m, Time(3_990_000), Span::from_hours(2)).seconds_until(219.5), 400.0);
}

#[test]
fn conditions_are_three_valued() {
    let (store, m) = series(15_000, &[1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let held = |now: i64, seconds: i64| store.window(m, Time(now), Span::from_secs(seconds)).held_below(2.0);
    close(held(135_000, 90), 1.0);
    close(held(135_000, 120), 0.0);
    // A breaking sample decides even without coverage; the answer changes when it leaves.
    assert_eq!(held(135_000, 300).value, ReadingValue::Value(0.0));
    assert_eq!(held(135_000, 120).valid_until, Time(150_000));
    // Stale from 135 s + 37.5 s on: unknown.
    close(held(172_500, 90), 1.0);
    assert_eq!(held(172_501, 90).value, ReadingValue::NoData);
    assert_eq!(held(135_000, 90).valid_until, Time(172_501));
    // Not above: every sample breaks it.
    close(store.window(m, Time(135_000), Span::from_secs(60)).held_above(1.0), 0.0);
    // Too short a history.
    let (store, m) = series(15_000, &[1.0, 1.0, 1.0]);
    let read = store.window(m, Time(30_000), Span::from_mins(5)).held_below(2.0);
    assert_eq!(read.value, ReadingValue::NoData);
    close(store.window(m, Time(30_000), Span::from_secs(60)).held_below(2.0), 1.0);
    close(store.window(m, Time(30_000), Span::from_secs(60)).coverage(), 1.0);
    close(store.window(m, Time(30_000), Span::from_secs(120)).coverage(), 0.25);
}

#[test]
fn the_newest_sample_goes_stale_and_ends() {
    let (mut store, m) = series(15_000, &[1.0, 2.0]);
    let fresh = store.last(m, Time(52_500));
    assert_eq!((fresh.value, fresh.valid_until, fresh.sampled_at), (ReadingValue::Value(2.0), Time(52_501), Some(Time(15_000))));
    assert_eq!(store.last(m, Time(52_501)).value, ReadingValue::Stale(Span(37_501)));
    // A blind row says nothing about the series; a complete row without it ends it, and wakes its readers.
    let mut obs = observation(30_000, 1, &["sensor_up"]);
    (obs.samples, obs.health) = (vec![sample(1, 0.0)], Health::Blind);
    assert_eq!(append(&mut store, &obs).1.len(), 1);
    assert_eq!(store.last(m, Time(30_000)).value, ReadingValue::Value(2.0));
    let mut obs = observation(45_000, 2, &[]);
    obs.samples = vec![sample(1, 1.0)];
    let (_, fresh) = append(&mut store, &obs);
    assert!(fresh.contains(&m));
    assert_eq!(store.last(m, Time(45_000)).value, ReadingValue::NoData);
    assert_eq!(store.window(m, Time(45_000), Span::from_secs(60)).held_above(0.0).value, ReadingValue::NoData);
    obs.at = Time(60_000);
    assert_eq!(append(&mut store, &obs).1.len(), 1, "ended once, not again");
    // It comes back.
    (obs.at, obs.samples) = (Time(75_000), vec![sample(0, 7.0)]);
    append(&mut store, &obs);
    assert_eq!(store.last(m, Time(75_000)).value, ReadingValue::Value(7.0));
    // NaN is no number: the series has ended.
    (obs.at, obs.samples) = (Time(90_000), vec![sample(0, f64::NAN)]);
    let (appended, fresh) = append(&mut store, &obs);
    assert_eq!((appended.not_numbers, fresh), (1, vec![m]));
    assert_eq!(store.last(m, Time(90_000)).value, ReadingValue::NoData);
    let absent = |now: i64| store.absent_for(m, Time(now), Span::from_mins(1));
    assert_eq!((absent(90_000).value, absent(90_000).valid_until), (ReadingValue::Value(0.0), Time(135_000)));
    assert_eq!(absent(135_000).value, ReadingValue::Value(1.0));
}

#[test]
fn stamped_series_end_by_vanishing() {
    let mut store = store(4);
    let mut obs = observation(100_000, 0, &["a", "b"]);
    obs.declared.iter_mut().for_each(|decl| decl.cohort = 1);
    // Series by series, as range answers come.
    obs.stamped = (0..2).flat_map(|series| (0..10).map(move |i| stamped(series, 5000 * (i + 1), i as f64))).collect();
    obs.purpose = Purpose::Backfill;
    let (appended, fresh) = append(&mut store, &obs);
    assert_eq!((appended.samples, appended.out_of_order, fresh.len()), (20, 0, 0));
    let (a, b) = (store.find(&key_of("a")).unwrap(), store.find(&key_of("b")).unwrap());
    close(store.window(b, Time(50_000), Span::from_mins(1)).sum(), 45.0);
    let mut obs = observation(60_000, 2, &[]);
    obs.vanished = vec![0];
    assert_eq!(append(&mut store, &obs).1, vec![a]);
    assert_eq!(store.last(a, Time(60_000)).value, ReadingValue::NoData);
    assert_eq!(store.last(b, Time(60_000)).value, ReadingValue::Value(9.0));
    // One stamp far ahead would make all true ones too old.
    obs.stamped = vec![stamped(1, 60_000 + 600_001, 1.0), stamped(1, 55_000, 10.0)];
    let (appended, _) = append(&mut store, &obs);
    assert_eq!((appended.samples, appended.out_of_order, appended.limits[0].limit), (1, 1, "stamps"));
}

#[test]
fn windows_longer_than_the_retention_are_refused() {
    let (store, m) = series(15_000, &[1.0]);
    for span in [Span::ZERO, Span(-1), Span::from_hours(1001)] {
        assert!(matches!(store.window(m, Time(0), span).avg().value, ReadingValue::Fault(_)));
        assert!(matches!(store.absent_for(m, Time(0), span).value, ReadingValue::Fault(_)));
    }
    assert_eq!(store.window(SeriesRef(77), Time(0), Span(1)).avg().value, ReadingValue::NoData);
}

#[test]
fn infinities_are_values_but_nothing_is_nan() {
    let (store, m) = series(1000, &[1.0, f64::INFINITY, 2.0, f64::NEG_INFINITY, 3.0]);
    let window = |from: i64, to: i64| store.window(m, Time(to), Span(to - from));
    close(window(-1, 2000).sum(), f64::INFINITY);
    close(window(-1, 2000).avg(), f64::INFINITY);
    assert_eq!(window(-1, 4000).sum().value, ReadingValue::NoData);
    assert_eq!(window(-1, 4000).stddev().value, ReadingValue::NoData);
    close(window(-1, 4000).quantile(0.5), 2.0);
}
