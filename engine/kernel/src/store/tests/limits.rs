//! Limits, dictionaries, forgetting: what is refused, dropped or shed is counted and named.

use super::*;
use homeostat_model::ReadingValue;

fn settings() -> StoreSettings {
    StoreSettings { retention: Span::from_mins(10), ..StoreSettings::default() }
}

fn keys(store: &Store, selector: &str) -> Vec<String> {
    let selected = store.select(&Selector::parse(selector).unwrap());
    selected.into_iter().map(|series| store.key(series).unwrap().to_string()).collect()
}

#[test]
fn selection_is_ordered_by_key_and_live_only() {
    let mut store = store(4);
    let names = ["b{x=\"2\"}", "b{x=\"10\"}", "b", "a{x=\"1\",y=\"1\"}", "a{x=\"1\"}", "never"];
    let mut obs = observation(0, 0, &names);
    obs.samples = (0..5).map(|i| sample(i, 1.0)).collect();
    let generation = store.index_generation();
    let (appended, _) = append(&mut store, &obs);
    assert!(appended.index_changed && store.index_generation() != generation);
    assert_eq!(keys(&store, "{__name__=~\".+\"}"), ["a{x=\"1\"}", "a{x=\"1\",y=\"1\"}", "b", "b{x=\"10\"}", "b{x=\"2\"}"]);
    assert_eq!(store.metrics(), ["a", "b"], "what never had a sample is not there");
    assert_eq!(keys(&store, "b{x=~\"1.*|\"}"), ["b", "b{x=\"10\"}"]);
    let series = store.find(&key_of("a{x=\"1\"}")).unwrap();
    assert_eq!((store.label(series, "x"), store.label(series, "y"), store.label(series, "__name__")), (Some("1"), None, Some("a")));
    (obs.at, obs.declared, obs.declared_before) = (Time(1), vec![], 6);
    assert!(!append(&mut store, &obs).0.index_changed);
}

#[test]
fn an_observation_that_does_not_continue_the_dictionary_is_refused() {
    let mut store = store(4);
    let mut obs = observation(0, 0, &["a", "b"]);
    obs.samples = vec![sample(0, 1.0), sample(1, 2.0)];
    append(&mut store, &obs);
    let a = store.find(&key_of("a")).unwrap();
    for (epoch, before, declares) in [(0, 1, true), (0, 3, false), (1, 2, false), (1, 0, false), (0, 0, false)] {
        let mut wrong = observation(15_000, before, if declares { &["c"] } else { &[] });
        (wrong.epoch, wrong.samples) = (epoch, vec![sample(0, 99.0)]);
        let (appended, fresh) = append(&mut store, &wrong);
        assert_eq!((appended.samples, appended.refused_samples, fresh.len()), (0, 1, 0));
        assert_eq!(appended.limits[0].limit, "dictionary");
    }
    // A new dictionary in another order: the same series, the same windows.
    let mut next = observation(15_000, 0, &["b", "a", "c"]);
    (next.epoch, next.samples) = (1, vec![sample(0, 20.0), sample(1, 10.0), sample(7, 1.0)]);
    let (appended, _) = append(&mut store, &next);
    assert_eq!((appended.samples, appended.refused_samples), (2, 1));
    assert_eq!(store.find(&key_of("a")), Some(a));
    assert_eq!(store.window(a, Time(15_000), Span::from_mins(1)).sum().value, ReadingValue::Value(11.0));
    // A late observation of the old epoch does not begin it again.
    assert_eq!(append(&mut store, &obs).0.limits[0].limit, "dictionary");
}

#[test]
fn a_series_has_one_owner_at_a_time() {
    let mut store = store(4);
    let mut obs = observation(0, 0, &["a"]);
    obs.samples = vec![sample(0, 1.0)];
    append(&mut store, &obs);
    let mut other = Observation { sensor: SensorId::new("t"), at: Time(1000), ..obs.clone() };
    let (appended, _) = append(&mut store, &other);
    assert_eq!((appended.refused_series, appended.samples, appended.limits[0].limit), (1, 0, "owner"));
    assert!(appended.limits[0].detail.contains("a of t refused: s reads it already"), "{}", appended.limits[0].detail);
    // The first one falls silent: the second takes over at a later try.
    (other.at, other.declared, other.declared_before) = (Time(62_000), vec![], 1);
    assert_eq!(append(&mut store, &other).0.samples, 1);
    (obs.at, obs.declared, obs.declared_before) = (Time(63_000), vec![], 1);
    assert_eq!(append(&mut store, &obs).0.refused_samples, 1);
}

#[test]
fn limits_are_counted_and_named() {
    let mut store = Store::new(StoreSettings { series_max: 2, labels_max: 1, label_bytes_max: 5, ..settings() });
    let mut obs = observation(0, 0, &["a", "a{x=\"1\",y=\"2\"}", "a{x=\"123456\"}", "b", "c"]);
    obs.samples = (0..5).map(|i| sample(i, 1.0)).collect();
    let (appended, fresh) = append(&mut store, &obs);
    assert_eq!((appended.samples, appended.refused_series, appended.refused_samples, fresh.len()), (2, 3, 3, 2));
    assert_eq!(appended.limits.iter().map(|limit| limit.limit).collect::<Vec<_>>(), ["labels_max", "label_bytes_max", "series_max"]);
    assert_eq!(store.stats().refused_series, 3);
    // With room, the refused series comes in at a later try.
    store.reconfigure(StoreSettings { series_max: 3, labels_max: 1, label_bytes_max: 5, ..settings() });
    (obs.at, obs.declared, obs.declared_before) = (Time(60_000), vec![], 5);
    assert_eq!(append(&mut store, &obs).0.samples, 3);
}

#[test]
fn vanished_series_are_forgotten_and_their_references_are_not_confused() {
    let mut store = Store::with_chunk_rows(settings(), 4);
    let mut before = None;
    for epoch in 0..40u32 {
        let name = format!("pod_{epoch}");
        let mut obs = observation(i64::from(epoch) * 60_000, 0, &["stays", &name]);
        (obs.epoch, obs.interval) = (epoch, Span::from_mins(1));
        obs.samples = vec![sample(0, 1.0), sample(1, f64::from(epoch))];
        let (appended, _) = append(&mut store, &obs);
        assert_eq!(appended.samples, 2);
        let series = store.find(&key_of(&name)).unwrap();
        if let Some((first, name)) = &before
            && epoch > 14
        {
            assert_eq!(store.key(*first), None, "{name} is forgotten");
            assert_eq!(store.last(*first, obs.at).value, ReadingValue::NoData);
        }
        before.get_or_insert((series, name));
    }
    assert!(store.stats().series < 20, "{:?}", store.stats());
    assert!(store.index.slots().count() < 20);
    assert_eq!(keys(&store, "pod_39"), ["pod_39"]);
    let stays = store.find(&key_of("stays")).unwrap();
    assert_eq!(store.window(stays, Time(39 * 60_000), Span::from_mins(10)).count().value, ReadingValue::Value(10.0));
}

#[test]
fn a_series_that_is_still_declared_comes_back_under_its_reference() {
    let mut store = Store::with_chunk_rows(settings(), 4);
    let mut obs = observation(0, 0, &["rare", "often"]);
    obs.samples = vec![sample(0, 1.0), sample(1, 1.0)];
    append(&mut store, &obs);
    let rare = store.find(&key_of("rare")).unwrap();
    for i in 1..200 {
        (obs.at, obs.declared, obs.declared_before, obs.samples) = (Time(i * 15_000), vec![], 2, vec![sample(1, 1.0)]);
        append(&mut store, &obs);
    }
    assert_eq!(keys(&store, "rare"), [""; 0]);
    (obs.at, obs.samples) = (Time(3_000_000), vec![sample(0, 5.0), sample(1, 1.0)]);
    let (appended, fresh) = append(&mut store, &obs);
    assert!(appended.index_changed && fresh.contains(&rare));
    assert_eq!(store.last(rare, obs.at).value, ReadingValue::Value(5.0));
    assert_eq!(store.window(rare, obs.at, Span::from_mins(10)).count().value, ReadingValue::Value(1.0));
}

/// Fills a store of a small cap with this many series for this many rows of incompressible values.
fn filled(cap: u64, series: u32, rows: i64, protect: bool) -> (Store, Vec<Appended>) {
    let mut store = Store::with_chunk_rows(StoreSettings { memory_bytes_max: cap, retention: Span::from_hours(24), ..settings() }, 16);
    let names: Vec<String> = (0..series).map(|i| format!("m_{i:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut obs, mut all, mut state) = (observation(0, 0, &names), Vec::new(), 1u64);
    for row in 0..rows {
        obs.at = Time(row * 15_000);
        obs.samples = (0..series)
            .map(|i| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                sample(i, f64::from_bits(0x3ff0_0000_0000_0000 | state >> 12))
            })
            .collect();
        let (appended, fresh) = append(&mut store, &obs);
        (obs.declared, obs.declared_before) = (Vec::new(), series);
        if protect {
            fresh.into_iter().for_each(|series| store.protect(series));
        }
        if row == 3 {
            let read = store.find(&key_of("m_0007")).unwrap();
            store.touch(read, obs.at);
        }
        assert!(protect || store.stats().bytes <= cap, "row {row}: {:?}", store.stats());
        all.push(appended);
    }
    (store, all)
}

#[test]
fn the_memory_cap_sheds_the_least_read_series_first() {
    let (store, all) = filled(400_000, 200, 400, false);
    let shed: u64 = all.iter().map(|appended| appended.shed_series).sum();
    assert!(shed > 50, "{shed}");
    assert_eq!(store.stats().series + shed, 200);
    assert_eq!(store.last(store.find(&key_of("m_0007")).unwrap(), Time(399 * 15_000)).value.value().map(|value| value >= 1.0), Some(true));
    let limit = all.iter().find_map(|appended| appended.limits.first()).unwrap();
    assert_eq!(limit.limit, "memory_bytes_max");
    assert!(limit.detail.contains("series shed, least recently read first, from m_0000 on"), "{}", limit.detail);
}

#[test]
fn inputs_of_policies_are_never_shed_but_shortened_with_notice() {
    let (mut store, all) = filled(400_000, 100, 800, true);
    assert_eq!(all.iter().map(|appended| appended.shed_series).sum::<u64>(), 0);
    let stats = store.stats();
    assert!(stats.series == 100 && stats.shortened_chunks > 0 && stats.bytes <= 400_000, "{stats:?}");
    let texts: Vec<&str> = all.iter().flat_map(|appended| &appended.limits).map(|limit| limit.detail.as_str()).collect();
    assert!(texts.iter().any(|text| text.starts_with("new series are refused")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("windows shortened") && text.ends_with("first of m_0000")), "{texts:?}");
    let mut obs = observation(800 * 15_000, 100, &["one_more"]);
    obs.samples = vec![sample(100, 1.0)];
    assert_eq!(append(&mut store, &obs).0.refused_series, 1);
}
