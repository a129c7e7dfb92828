//! A thousand claims that are due in the same tick, scored in one go: the tick that scores them, less the same tick where the same claims
//! are due hours later.

use crate::report::{Line, median, show};
use homeostat_kernel::{Effect, Kernel, STACK_BYTES_MIN};
use homeostat_model::{
    ActionId, ActuatorSpec, ArbiterSettings, Autonomy, Class, Event, Observation, Outcome, PolicySource, Receipt, Record, RuleSet, Sample,
    SensorId, SeriesDecl, SeriesKey, Span, StoreSettings, StormSettings, Time, VerbSpec,
};
use std::time::Instant;

const TARGETS: usize = 1000;
const STEP: Span = Span::from_mins(1);
/// Minutes before the actions.
const BEFORE: i64 = 240;
const WITHIN: i64 = 20;
const BEGIN: Time = Time(1_800_000_000_000);
const ROUNDS: usize = 5;

fn verb() -> VerbSpec {
    VerbSpec {
        verb: "mend.restart".into(),
        class: Class::Reversible,
        args: Vec::new(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(10),
        revertible: false,
        cost: Default::default(),
        doc: "Mends.".into(),
    }
}

fn rules(scored: bool) -> RuleSet {
    let claim = if scored { "s.below(60.0).within(\"20m\")" } else { "s.below(60.0).within(\"20h\")" };
    let text = format!(
        r#"fn policy() {{ #{{ for_each: series("load"), autonomy: "auto", every: "12h", cooldown: "12h" }} }}
fn evaluate(s) {{ if s.last() > 90.0 {{ propose(act("mend.restart", "node/" + s.node, #{{}})).because("high").claim({claim}) }} }}"#
    );
    let policy = PolicySource { id: "mend".into(), path: "mend.rhai".into(), text, overrides: Default::default() };
    let arbiter = ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Auto)).collect(),
        boot_grace: Span::ZERO,
        observer_fault_targets_min: 1_000_000,
        concurrent_max: Class::ALL.into_iter().map(|class| (class, 1_000_000)).collect(),
        per_hour_max: Class::ALL.into_iter().map(|class| (class, 1_000_000)).collect(),
        storm: StormSettings { alerts_max: 1_000_000, restores_max: 1_000_000, ..StormSettings::default() },
        ..ArbiterSettings::default()
    };
    let actuators = vec![ActuatorSpec { id: "mend".into(), verbs: vec![verb()] }];
    RuleSet { policies: vec![policy], actuators, arbiter, ..RuleSet::default() }
}

/// A slow wave and noise; at the moment of acting all are high, and half of them are mended by it.
fn value(number: usize, minute: i64) -> f64 {
    let noise = ((number as i64 * 7919 + minute * 104_729).rem_euclid(997)) as f64 / 997.0;
    let trouble = if minute == BEFORE || (minute > BEFORE && number.is_multiple_of(2)) { 45.0 } else { 0.0 };
    50.0 + 2.0 * noise + (minute as f64 / 40.0 + number as f64).sin() + trouble
}

fn read(minute: i64) -> Observation {
    let mut read = Observation::new(SensorId::from("bench"), BEGIN + Span(STEP.millis() * minute), STEP);
    if minute == 0 {
        let key = |number: usize| SeriesKey::new("load", [("node", format!("n{number}"))]);
        read.declared = (0..TARGETS).map(|number| SeriesDecl { key: key(number), cohort: 0 }).collect();
    } else {
        read.declared_before = TARGETS as u32;
    }
    read.samples = (0..TARGETS).map(|number| Sample { series: number as u32, value: value(number, minute) }).collect();
    read
}

fn drained(kernel: &mut Kernel) -> (Vec<ActionId>, usize) {
    let (mut sent, mut scored) = (Vec::new(), 0);
    while let Some(effect) = kernel.poll_effect() {
        scored += usize::from(matches!(effect.record(), Record::Scored { .. }));
        if let Effect::Act(admitted) = &effect {
            sent.push(admitted.action().id);
        }
    }
    (sent, scored)
}

/// Milliseconds of the tick at which the claims are due, and how many were scored in it.
fn tick(scored: bool) -> (f64, usize) {
    let mut kernel = Kernel::new(StoreSettings::default());
    kernel.handle(BEGIN, Event::Started { generation: 1, build: "bench".into(), seed: 1 });
    kernel.handle(BEGIN, Event::Loaded(Box::new(rules(scored))));
    let mut sent = Vec::new();
    for minute in 0..BEFORE + WITHIN {
        let at = BEGIN + Span(STEP.millis() * minute);
        kernel.handle_observed(at, &read(minute));
        let (acts, _) = drained(&mut kernel);
        for id in &acts {
            kernel.handle(at, Event::Settled(*id, Outcome::Done(Receipt { observed: "done".into(), undo: Default::default() })));
        }
        sent.extend(acts);
        drained(&mut kernel);
    }
    assert_eq!(sent.len(), TARGETS, "one action for each");
    let due = BEGIN + Span(STEP.millis() * (BEFORE + WITHIN));
    let began = Instant::now();
    kernel.handle(due, Event::Tick);
    let took = began.elapsed().as_secs_f64() * 1e3;
    (took, drained(&mut kernel).1)
}

/// Measures and reports.
pub fn run() {
    let work = || {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (took, scored) = tick(true);
            assert_eq!(scored, TARGETS, "all are scored in one tick");
            with.push(took);
            without.push(tick(false).0);
        }
        let (with, without) = (median(with), median(without));
        println!("{TARGETS} claims due in one tick: {} ms, {} ms without", show(with), show(without));
        Line::at_most("1,000 due claims scored in one tick", "-", with - without, 50.0, "ms", None).say();
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES_MIN).spawn(work).expect("a thread can be started");
    thread.join().expect("the measurement ends by itself");
}
