//! The runner on small histories that are written out here.

use super::*;
use homeostat_kernel::Kernel;
use homeostat_kernel::effect::Effect;
use homeostat_model::{
    ActuatorSpec, Advice, Advised, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, Cost, Entry, EntryBody, Event, Labels,
    Observation, Origin, Outcome, PolicySource, QuestionId, Receipt, RuleSet, Sample, SensorId, SeriesDecl, SeriesKey, VerbSpec,
};

pub(super) const BEGIN: Time = Time(1_700_000_000_000);
const STEP: Span = Span::from_mins(1);

/// A policy that cleans a disk with less than `low` left.
pub(super) fn low_disk(low: f64) -> String {
    format!(
        "//! Cleans.\nfn policy() {{ #{{ every: \"1m\", for_each: series(\"filesystem_avail_ratio\"), cooldown: \"2m\", settle: \"0\", autonomy: \"auto\" }} }}\n\
         fn evaluate(fs) {{\n    if fs.last() < {low} {{\n        propose(exec(\"clean\", #{{}})).because(`${{percent(fs.last())}} left`).claim(fs.above(0.3).within(\"5m\"));\n    }}\n}}\n"
    )
}

fn actuators() -> Vec<ActuatorSpec> {
    let verb = VerbSpec {
        verb: "exec.clean".into(),
        class: Class::Reversible,
        args: Vec::new(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(20),
        revertible: false,
        cost: Cost { disruption: Span::from_mins(3), energy_joules: 50.0, ..Cost::default() },
        doc: "A stand-in.".into(),
    };
    vec![ActuatorSpec { id: "exec".into(), verbs: vec![verb] }]
}

/// A question over an hour.
pub(super) fn question(text: String) -> Question {
    let source = PolicySource { id: "disk".into(), path: "disk.rhai".into(), text, overrides: Default::default() };
    Question {
        version: "disk.rhai".into(),
        rules: RuleSet { policies: vec![source], actuators: actuators(), ..RuleSet::default() },
        policies: vec!["disk".into()],
        from: BEGIN,
        to: BEGIN + Span::from_hours(1),
        approve: false,
        is_recorded: false,
    }
}

fn row(number: usize, value: f64) -> Observation {
    let mut row = Observation::new(SensorId::from("s"), BEGIN + Span(STEP.millis() * number as i64), STEP);
    if number == 0 {
        let key = SeriesKey::new("filesystem_avail_ratio", [("node", "nas"), ("mountpoint", "/")]);
        row.declared.push(SeriesDecl { key, cohort: 0 });
    } else {
        row.declared_before = 1;
    }
    row.samples.push(Sample { series: 0, value });
    row
}

/// Runs a question over one value per minute.
pub(super) fn run_rows(mut question: Question, values: &[f64]) -> Backtest {
    question.to = BEGIN + Span(STEP.millis() * values.len() as i64);
    let mut runner = Runner::new(question).unwrap_or_else(|errors| panic!("{errors:?}"));
    for (number, value) in values.iter().enumerate() {
        let row = row(number, *value);
        runner.observe(row.at, &row);
    }
    runner.finish()
}

fn at(minutes: i64) -> Time {
    BEGIN + Span::from_mins(minutes)
}

#[test]
fn a_firing_lasts_as_long_as_the_wish_and_nothing_acts() {
    let found = run_rows(question(low_disk(0.1)), &[0.5, 0.05, 0.05, 0.05, 0.05, 0.5, 0.5]);
    assert_eq!(found.firings.len(), 1, "{:?}", found.firings);
    let firing = &found.firings[0];
    assert_eq!((firing.from, firing.until), (at(1), Some(at(5))));
    assert_eq!(firing.because, "5.0 % left");
    assert_eq!(firing.class, Some(Class::Reversible));
    // Sent at once, then held by its cooldown, then again.
    assert_eq!(firing.sent[0].at, at(1));
    assert_eq!(firing.sent[0].answer, Answer::Assumed);
    assert!(firing.holds.iter().any(|hold| hold.guard == "cooldown" && hold.until > hold.from), "{:?}", firing.holds);
    assert_eq!(found.counterfactual_from, Some(at(1)));
    let tally = &found.verbs["exec.clean"];
    assert_eq!((tally.firings, tally.sent, tally.recorded), (1, firing.sent.len() as u64, 0));
    assert_eq!(tally.disruption_minutes, 3.0 * tally.sent as f64);
    assert_eq!(tally.energy_joules, 50.0 * tally.sent as f64);
    // It was 0.5 five minutes later although nobody cleaned.
    assert!(found.claims.came_true_anyway > 0, "{:?}", found.claims);
    assert!(found.guards["cooldown"].held > Span::ZERO && found.guards["cooldown"].firings == 1);
}

#[test]
fn what_comes_back_is_a_new_firing_and_counts_as_a_return() {
    let found = run_rows(question(low_disk(0.1)), &[0.5, 0.05, 0.5, 0.05, 0.5, 0.05, 0.5]);
    let times: Vec<(Time, Option<Time>)> = found.firings.iter().map(|firing| (firing.from, firing.until)).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(found.returns_per_day > 0.0 && found.reversals == 0);
}

#[test]
fn the_diff_names_exactly_the_changed_firings() {
    // Three dips: to 0.05, 0.15 and 0.25.
    let values = [0.5, 0.05, 0.5, 0.5, 0.5, 0.15, 0.5, 0.5, 0.5, 0.25, 0.5];
    let low = run_rows(question(low_disk(0.1)), &values);
    let high = run_rows(question(low_disk(0.2)), &values);
    let differs = diff(&low, &high, Span::from_mins(1));
    assert_eq!((differs.only_a.len(), differs.both.len()), (0, 1));
    let only: Vec<Time> = differs.only_b.iter().map(|number| high.firings[*number].from).collect();
    assert_eq!(only, [at(5)], "the dip to 0.15 and nothing else");
    let back = diff(&high, &low, Span::from_mins(1));
    assert_eq!((back.only_a, back.only_b), (differs.only_b, differs.only_a));
    let same = diff(&high, &high, Span::ZERO);
    assert_eq!((same.only_a.len(), same.only_b.len(), same.both.len()), (0, 0, 2));
}

#[test]
fn what_lies_before_the_time_fills_windows_only() {
    let mut asked = question(low_disk(0.1));
    asked.from = at(3);
    let found = run_rows(asked, &[0.05, 0.05, 0.5, 0.5, 0.05, 0.5]);
    assert_eq!(found.firings.len(), 1);
    assert_eq!((found.firings[0].from, found.observations), (at(4), 3));
    assert!(found.curves[0].points.iter().all(|point| point.at >= at(3)));
}

#[test]
fn a_broken_policy_is_refused_with_its_place() {
    let errors = Runner::new(question("fn policy() { #{} }\nfn evaluate( {".into())).err().unwrap_or_default();
    assert!(errors.iter().any(|error| error.contains("disk.rhai:2")), "{errors:?}");
}

#[test]
fn what_is_only_suggested_is_asked_and_with_approve_done() {
    let text = low_disk(0.1).replace("\"auto\"", "\"suggest\"");
    let values = [0.5, 0.05, 0.05, 0.5];
    let asked = run_rows(question(text.clone()), &values);
    assert_eq!((asked.firings.len(), asked.firings[0].sent.len(), asked.counterfactual_from), (1, 0, None));
    assert!(asked.firings[0].holds.iter().any(|hold| hold.verdict == "awaiting_approval"));
    let mut approved = question(text);
    approved.approve = true;
    let done = run_rows(approved, &values);
    assert_eq!((done.firings.len(), done.firings[0].sent.len()), (1, 1));
    assert_eq!(done.counterfactual_from, Some(at(1)));
}

/// A recorded run: every event and every effect, with an actuator that needs 7 seconds and fails the second time.
fn recorded(values: &[f64]) -> Vec<Entry> {
    recorded_of(question(low_disk(0.1)), values, Vec::new())
}

/// The same with other events between, and models that want the disk of node nas cleaned.
fn recorded_of(asked: Question, values: &[f64], between: Vec<(Time, Event)>) -> Vec<Entry> {
    let (mut kernel, mut entries, mut sent) = (Kernel::new(asked.rules.store.clone()), Vec::new(), 0);
    let mut waiting: Vec<(Time, Event)> =
        values.iter().enumerate().map(|(n, v)| (row(n, *v).at, Event::Observed(Box::new(row(n, *v))))).collect();
    waiting.insert(0, (BEGIN, Event::Started { generation: 3, build: "b".into(), seed: 9 }));
    waiting.insert(1, (BEGIN, Event::Loaded(Box::new(asked.rules))));
    waiting.extend(between);
    let end = at(values.len() as i64);
    loop {
        waiting.sort_by_key(|(at, _)| *at);
        let next = waiting.first().map(|(at, _)| *at);
        let Some(now) = [next, kernel.poll_deadline()].into_iter().flatten().min().filter(|at| *at <= end) else { return entries };
        let event = if next == Some(now) { waiting.remove(0).1 } else { Event::Tick };
        entries.push(Entry { seq: entries.len() as u64, at: now, body: EntryBody::Event(event.clone()) });
        kernel.handle(now, event);
        while let Some(effect) = kernel.poll_effect() {
            entries.push(Entry { seq: entries.len() as u64, at: now, body: EntryBody::Effect(effect.record()) });
            if let Effect::Act(admitted) = &effect {
                sent += 1;
                let fault = homeostat_model::Fault::new(homeostat_model::FaultCode::Failed, "clean", "no");
                let outcome = if sent == 2 { Outcome::NotDone(fault) } else { Outcome::Done(Receipt::default()) };
                waiting.push((now + Span::from_secs(7), Event::Settled(admitted.action().id, outcome)));
            }
            if let Effect::Question { id, .. } = &effect {
                waiting.push((now + Span::from_secs(3), advised(*id)));
            }
        }
    }
}

#[test]
fn over_a_recorded_run_the_same_policy_wishes_the_same_byte_for_byte() {
    let values: Vec<f64> = (0..40).map(|n| if n % 9 > 3 { 0.05 } else { 0.5 }).collect();
    let entries = recorded(&values);
    let replayed = |text: String| {
        let mut asked = question(text);
        (asked.is_recorded, asked.to) = (true, at(values.len() as i64));
        let mut runner = Runner::new(asked).unwrap_or_else(|errors| panic!("{errors:?}"));
        entries.iter().for_each(|entry| runner.take(entry.at, &entry.body));
        runner.finish()
    };
    let lines = recorded_lines(&entries, &["disk".into()], BEGIN, Time::MAX);
    let found = replayed(low_disk(0.1));
    let same = compare(&lines, &found.lines);
    assert_eq!((same.first_difference.clone(), same.equal), (None, lines.len()));
    assert!(lines.len() > 5, "{}", lines.len());
    assert_eq!(found.counterfactual_from, None, "every answer is the recorded one");
    let done = &found.verbs["exec.clean"];
    assert!(done.sent > 1 && done.recorded == done.sent, "{done:?}");
    // Another threshold is another story, and says so.
    let other = replayed(low_disk(0.04));
    assert_eq!(compare(&lines, &other.lines).equal, 0);
    assert!(other.firings.is_empty());
    let wider = replayed(low_disk(0.6));
    assert!(compare(&lines, &wider.lines).first_difference.is_some() && wider.counterfactual_from.is_some());
}

/// A model's choice of the only verb on the only target.
fn advised(question: QuestionId) -> Event {
    let json =
        r#"{"proposal":{"choice":0,"target":0,"claim":0,"args":{}},"evidence":null,"confidence":1.0,"because":"it is full"}"#.to_owned();
    let answer = Advised { json_untold: Some(json.clone()), json, verification: None, by: "muse".into(), model: "m".into() };
    Event::Advised(Box::new(Advice {
        question,
        answer: Some(answer),
        fault: String::new(),
        needs: None,
        looks: Vec::new(),
        prompt_hash: String::new(),
        usage: Default::default(),
        cost_euros: 0.0,
        latency: Span::from_secs(3),
    }))
}

/// An alert about the disk of node nas.
fn alerted() -> Event {
    let begun = at(5);
    let alert = Alert {
        fingerprint: "f1".into(),
        status: AlertStatus::Firing,
        kind: AlertKind::Condition,
        name: "Disk".into(),
        labels: Labels::new([("alertname", "Disk"), ("node", "nas"), ("mountpoint", "/")]),
        annotations: BTreeMap::new(),
        starts_at: begun,
        ends_at: None,
        values: BTreeMap::new(),
    };
    let (receiver, group_key) = ("r".into(), "g".into());
    Event::Alerted(AlertDelivery { source: AlertSource::Alertmanager, receiver, group_key, truncated: 0, alerts: vec![alert] })
}

#[test]
fn a_models_answer_counts_only_where_the_same_was_asked() {
    let thinking = |low: f64| {
        let mut asked = question(low_disk(low));
        asked.rules.reasoning.advice = true;
        asked.rules.reasoning.after = Span::from_mins(2);
        (asked.is_recorded, asked.to) = (true, at(20));
        asked
    };
    let entries = recorded_of(thinking(0.1), &[0.5; 20], vec![(at(5) + Span::from_secs(30), alerted())]);
    let advised = entries.iter().filter(|entry| matches!(entry.body, EntryBody::Event(Event::Advised(_)))).count();
    assert_eq!(advised, 1, "a model was asked, and answered");
    let replayed = |low: f64| {
        let mut runner = Runner::new(thinking(low)).unwrap_or_else(|errors| panic!("{errors:?}"));
        entries.iter().for_each(|entry| runner.take(entry.at, &entry.body));
        let wished = runner.kernel().ledger().actions().filter(|state| matches!(state.proposal.origin, Origin::Reasoner(_))).count();
        (wished, runner.finish().notes.iter().any(|note| note.contains("a model answered what is not asked here")))
    };
    assert_eq!(replayed(0.1), (1, false), "the same question, and so the same answer");
    assert_eq!(replayed(0.6), (0, true), "with another threshold the policy cleans the disk itself, and nobody is asked");
}
