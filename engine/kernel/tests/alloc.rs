//! In steady state, taking a read in allocates nothing but sealed chunks, and looking at a quiet target nothing at all. Counted by the allocator of this test binary.
#![allow(unsafe_code)] // a global allocator cannot be written without

use homeostat_kernel::Kernel;
use homeostat_kernel::store::Store;
use homeostat_model::{
    Event, Observation, PolicySource, RuleSet, Sample, SensorId, SeriesDecl, SeriesKey, Span, StampedSample, StoreSettings, Time,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting touches a thread-local without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SERIES: u32 = 500;
const CHUNK_ROWS: usize = 120;

fn fill(obs: &mut Observation, row: i64) {
    obs.reset(Time(row * 15_000));
    for series in 0..SERIES {
        obs.samples.push(Sample { series, value: f64::from(series) + row as f64 });
        // Out of order by time, as range answers are.
        obs.stamped.push(StampedSample { series: SERIES + series, at: obs.at - Span::from_secs(i64::from(series % 2)), value: row as f64 });
    }
}

#[test]
fn a_read_in_steady_state_allocates_only_what_is_sealed() {
    let mut store = Store::new(StoreSettings::default());
    let mut obs = Observation::new(SensorId::new("s"), Time(0), Span::from_secs(15));
    let declare = |number: u32| SeriesDecl {
        key: SeriesKey::new("m", [("n", number.to_string())]),
        cohort: if number < SERIES { 0 } else { 1 + (number - SERIES) % 2 },
    };
    let declared: Vec<SeriesDecl> = (0..2 * SERIES).map(declare).collect();
    let (mut counted, mut quiet_rows) = (Vec::new(), 0);
    let mut woken = 0u64;
    for row in 0..5 * CHUNK_ROWS as i64 {
        fill(&mut obs, row);
        if row == 0 {
            obs.declared = declared.clone();
        } else {
            obs.declared_before = 2 * SERIES;
        }
        let before = ALLOCATIONS.get();
        let appended = store.append(&obs, &mut |_| woken += 1);
        let allocations = ALLOCATIONS.get() - before;
        assert_eq!((appended.samples, appended.out_of_order), (2 * u64::from(SERIES), 0), "row {row}");
        if row > CHUNK_ROWS as i64 {
            counted.push(allocations);
            quiet_rows += u64::from(allocations == 0);
        }
    }
    assert_eq!(woken, 5 * CHUNK_ROWS as u64 * 2 * u64::from(SERIES));
    let rows = counted.len() as u64;
    let sealing = counted.iter().filter(|count| **count > 0).count();
    // One row in 120 seals, for each of the three groups; a sweep every 22 minutes makes a list of the members it keeps.
    assert!(
        quiet_rows >= rows - rows.div_ceil(60) - rows.div_ceil(80),
        "{quiet_rows} of {rows} rows without an allocation: {sealing} with"
    );
    let total: u64 = counted.iter().sum();
    assert!(total < rows / 2, "{total} allocations in {rows} rows of {} samples", 2 * SERIES);
}

const SCRIPT: &str = r#"fn policy() { #{ for_each: series("m"), every: "1h", params: #{ high: 2000.0 } } }
fn evaluate(m) {
    let swing = m.over("5m").max() - m.over("5m").min();
    if m.held_above(param("high"), "1m") || m.last() * 2 > 9000 || swing > 4000 { propose(notify("high")).because("it is") }
}"#;

#[test]
fn a_look_at_a_quiet_target_allocates_nothing() {
    let policy = PolicySource { id: "p".into(), path: "p.rhai".into(), text: SCRIPT.into(), overrides: Default::default() };
    let mut kernel = Kernel::new(StoreSettings::default());
    kernel.handle(Time(0), Event::Started { generation: 1, build: "test".into(), seed: 1 });
    kernel.handle(Time(0), Event::Loaded(Box::new(RuleSet { policies: vec![policy], ..RuleSet::default() })));
    let mut obs = Observation::new(SensorId::new("s"), Time(0), Span::from_secs(15));
    let declare = |number: u32| SeriesDecl { key: SeriesKey::new("m", [("n", number.to_string())]), cohort: 0 };
    let (mut rows, mut quiet_rows) = (0u64, 0);
    for row in 0..2 * CHUNK_ROWS as i64 {
        fill(&mut obs, row);
        obs.stamped.clear();
        if row == 0 {
            obs.declared = (0..SERIES).map(declare).collect();
        } else {
            obs.declared_before = SERIES;
        }
        let before = (ALLOCATIONS.get(), kernel.stats().evaluations_retraced);
        kernel.handle_observed(obs.at, &obs);
        let after = (ALLOCATIONS.get(), kernel.stats().evaluations_retraced);
        if row > 25 && after.1 - before.1 == u64::from(SERIES) {
            rows += 1;
            quiet_rows += u64::from(after.0 - before.0 < 5);
        }
    }
    // An event has its own few. Slots come once an hour and are put back, each into a place of a tree; one row in 120 seals.
    assert!(rows > CHUNK_ROWS as u64 && quiet_rows > rows / 10 * 9, "{quiet_rows} of {rows} rows without an allocation per look");
}
