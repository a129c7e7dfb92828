//! One evaluation of a policy over a window of five minutes, evidence included; the same where the reads alone show that it ends as
//! quietly as before; and the slot that costs nothing.

use crate::report::{Line, median, show};
use homeostat_kernel::policy::{Evaluated, Host, Policy, Subject, Trail, Traits};
use homeostat_kernel::store::{Selector, SeriesRef, Store};
use homeostat_kernel::{Kernel, STACK_BYTES_MIN};
use homeostat_model::{
    Event, Observation, Origin, PolicyId, PolicySource, RuleSet, Sample, SensorId, SeriesDecl, SeriesKey, Span, StoreSettings, Target, Time,
};
use std::hint::black_box;
use std::time::Instant;

const SERIES: usize = 1000;
const STEP: Span = Span::from_secs(15);
const ROWS: i64 = 40;
const BEGIN: Time = Time(1_800_000_000_000);
const ROUNDS: usize = 31;
/// The yardstick, in microseconds: one simple alert rule of Prometheus 2.42, CPU.
const PROMETHEUS_US: f64 = 86.0;
const QUOTED: &str = "quoted from Prometheus 2.42: 86-110 us CPU";

const LAST: &str = r#"fn policy() { #{ for_each: series("filesystem_avail_ratio") } }
fn evaluate(fs) { if fs.last() < 0.1 { propose(notify("full")).because("full") } }"#;

const MEAN: &str = r#"fn policy() { #{ for_each: series("filesystem_avail_ratio") } }
fn evaluate(fs) { if fs.over("5m").avg() < 0.1 { propose(notify("full")).because("full") } }"#;

const LONG: &str = r#"fn policy() { #{ for_each: series("filesystem_avail_ratio") } }
fn evaluate(fs) {
    let recent = fs.over("5m");
    let mean = recent.avg();
    let least = recent.min();
    let most = recent.max();
    let spread = recent.stddev();
    let level = 0.10;
    let margin = 0.05;
    if spread > 0.4 {
        level += margin;
    }
    let swing = most - least;
    let low = false;
    if mean < level {
        low = true;
    }
    if swing > 0.9 {
        low = true;
    }
    if low {
        propose(notify("full")).because("full");
    }
}"#;

fn read(row: i64) -> Observation {
    let mut read = Observation::new(SensorId::from("bench"), BEGIN + Span(STEP.millis() * row), STEP);
    if row == 0 {
        let key =
            |number: usize| SeriesKey::new("filesystem_avail_ratio", [("mountpoint", format!("/srv/{number}")), ("node", "nas".into())]);
        read.declared = (0..SERIES).map(|number| SeriesDecl { key: key(number), cohort: 0 }).collect();
    } else {
        read.declared_before = SERIES as u32;
    }
    let value = |number: usize| 0.5 + ((number as i64 * 31 + row * 17) % 97) as f64 / 1000.0;
    read.samples = (0..SERIES).map(|number| Sample { series: number as u32, value: value(number) }).collect();
    read
}

fn source(name: &str, text: &str) -> PolicySource {
    PolicySource { id: name.into(), path: format!("{name}.rhai"), text: text.into(), overrides: Default::default() }
}

struct Bench {
    host: Host,
    series: Vec<SeriesRef>,
    traits: Traits,
    trails: Vec<Trail>,
    now: Time,
}

impl Bench {
    fn new() -> Bench {
        let mut store = Store::new(StoreSettings::default());
        (0..ROWS).for_each(|row| drop(store.append(&read(row), &mut |_| {})));
        let series = store.select(&Selector::parse("filesystem_avail_ratio").expect("a selector"));
        assert_eq!(series.len(), SERIES);
        let traits = Traits { origin: Origin::Policy(PolicyId::from("bench")), symptom: "bench".into(), target: Target::new("node/nas") };
        let trails = (0..SERIES).map(|_| Trail::default()).collect();
        Bench { host: Host::new(store), series, traits, trails, now: BEGIN + Span(STEP.millis() * (ROWS - 1) + 1000) }
    }

    fn compile(&self, text: &str) -> Policy {
        self.host.compile(&source("bench", text)).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    /// Microseconds per evaluation over all series, each with a trail of its own as units have.
    fn time(&mut self, policy: &Policy) -> f64 {
        let began = Instant::now();
        for (series, trail) in self.series.iter().zip(&mut self.trails) {
            let evaluation = self.host.evaluate(policy, &Subject::Series(*series), &self.traits, self.now);
            assert!(matches!(black_box(&evaluation).result, Evaluated::Quiet));
            self.host.swap_trail(trail);
        }
        began.elapsed().as_secs_f64() / SERIES as f64 * 1e6
    }

    /// The same for looks along the trails of the evaluations before, without the script.
    fn time_retraced(&mut self) -> f64 {
        let began = Instant::now();
        for (series, trail) in self.series.iter().zip(&mut self.trails) {
            assert!(black_box(self.host.retrace(trail, std::slice::from_ref(series), self.now)).is_some());
        }
        began.elapsed().as_secs_f64() / SERIES as f64 * 1e6
    }
}

fn evaluations() {
    let mut bench = Bench::new();
    let policies = [LAST, MEAN, LONG].map(|text| bench.compile(text));
    for policy in &policies {
        bench.time(policy);
    }
    let (mut times, mut retraced): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for _ in 0..ROUNDS {
        for ((times, retraced), policy) in times.iter_mut().zip(&mut retraced).zip(&policies) {
            times.push(bench.time(policy));
            retraced.push(bench.time_retraced());
        }
    }
    let [last, mean, long] = times.map(median);
    let [last_again, mean_again, long_again] = retraced.map(median).map(show);
    println!(
        "quiet again, without the script: {last_again} us with `last()`, {mean_again} us for one line over 5 m, {long_again} us for 20 lines"
    );
    println!("{SERIES} series in turn, 20 samples in the window; one line with `last()` takes {} us", show(last));
    Line::at_most("policy evaluation, one line over 5 m", QUOTED, mean, 2.0, "us", Some(PROMETHEUS_US / mean)).say();
    Line::at_most("policy evaluation, 20 lines, 4 reads over 5 m", QUOTED, long, 8.0, "us", Some(PROMETHEUS_US / long)).say();
}

/// Units whose slot comes every second while their series comes every fifteen.
fn unchanged() {
    let mut kernel = Kernel::new(StoreSettings::default());
    let mut policy = source("bench", LAST);
    policy.text = policy.text.replacen("#{", "#{ every: \"1s\",", 1);
    let rules = RuleSet { policies: vec![policy], ..RuleSet::default() };
    kernel.handle(BEGIN, Event::Started { generation: 1, build: "bench".into(), seed: 1 });
    kernel.handle(BEGIN, Event::Loaded(Box::new(rules)));
    (0..2).for_each(|row| kernel.handle_observed(BEGIN + Span(STEP.millis() * row), &read(row)));
    let (skipped, run) = (kernel.stats().evaluations_unchanged, kernel.stats().evaluations);
    let began = Instant::now();
    for second in 1..15 {
        kernel.handle(BEGIN + STEP + Span::from_secs(second), Event::Tick);
    }
    let took = began.elapsed().as_secs_f64();
    let (skipped, run) = (kernel.stats().evaluations_unchanged - skipped, kernel.stats().evaluations - run);
    println!("unchanged inputs: {skipped} slots came, {run} evaluations were run; {} ns per slot", show(took / skipped as f64 * 1e9));
    Line::at_most("policy evaluation, unchanged inputs", "-", run as f64, 0.0, "evaluations", None).say();
}

/// Measures and reports.
pub fn run() {
    // Scripts may nest deep: the kernel's own stack size.
    let work = || {
        evaluations();
        unchanged();
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn(work).expect("a thread can be started");
    thread.join().expect("the measurement ends by itself");
}
