//! A kernel with a sensor's dictionary, a journal and a notebook of what was sent, for tests.
//!
//! Times are seconds since the lab was built. Effects come back as short texts, so that a test reads as a dialogue.

use crate::{Effect, Kernel};
use homeostat_model::{
    ActionId, ActuatorSpec, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, ArbiterSettings, Arg, ArgKind, ArgSpec, Args, Class,
    Command, EntryBody, Event, Fault, FaultCode, Labels, Note, Observation, Ordered, Outcome, PolicySource, Receipt, Record, RuleSet,
    Sample, SeriesDecl, SeriesKey, Span, StoreSettings, Time, Verb, VerbSpec,
};
use std::collections::BTreeMap;

/// The lab's first moment.
pub(super) const START: i64 = 1_700_000_000_000;
/// How often the lab's sensor reads.
pub(super) const INTERVAL: Span = Span::from_secs(15);

/// A moment of the lab.
pub(super) fn at(seconds: i64) -> Time {
    Time(START + seconds * 1000)
}

/// What can be done in the lab: tell, wake and put to sleep, restart (reversible), reboot (disruptive), wipe (irreversible), and, what
/// the actuator can take back, cordon and drain.
pub(super) fn actuators() -> Vec<ActuatorSpec> {
    let text = |name: &str, required| ArgSpec { name: name.into(), kind: ArgKind::Text(1000), required, doc: "words".into() };
    let verb = |name: &str, class, settle: i64, opposite: Option<&str>| VerbSpec {
        verb: name.into(),
        class,
        args: if class == Class::Notify { vec![text("title", true), text("text", false)] } else { vec![text("how", false)] },
        target_kinds: if name.starts_with("power.") { vec!["node".into()] } else { Vec::new() },
        targets: None,
        opposite: opposite.map(Verb::from),
        settle: Span::from_secs(settle),
        timeout: Span::from_secs(10),
        revertible: false,
        cost: Default::default(),
        doc: String::new(),
    };
    let spec = |id: &str, verbs| ActuatorSpec { id: id.into(), verbs };
    vec![
        spec("notify", vec![verb("notify.send", Class::Notify, 0, None)]),
        spec(
            "power",
            vec![
                verb("power.wake", Class::Restore, 60, Some("power.sleep")),
                verb("power.sleep", Class::Reversible, 60, Some("power.wake")),
            ],
        ),
        spec(
            "exec",
            vec![
                verb("exec.restart", Class::Reversible, 0, None),
                verb("exec.reboot", Class::Disruptive, 60, None),
                verb("exec.wipe", Class::Irreversible, 0, None),
            ],
        ),
        spec(
            "node",
            vec![
                VerbSpec { revertible: true, ..verb("node.cordon", Class::Reversible, 0, None) },
                VerbSpec { revertible: true, ..verb("node.drain", Class::Disruptive, 0, None) },
            ],
        ),
    ]
}

/// Settings under which nothing but the guard under test stands in the way.
pub(super) fn easy() -> ArbiterSettings {
    use homeostat_model::Autonomy::Auto;
    ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Auto)).collect(),
        boot_grace: Span::ZERO,
        futility_attempts_max: 100,
        observer_fault_targets_min: 100,
        concurrent_max: Class::ALL.into_iter().map(|class| (class, 100)).collect(),
        per_hour_max: Class::ALL.into_iter().map(|class| (class, 100)).collect(),
        storm: homeostat_model::StormSettings { alerts_max: 1000, restores_max: 1000, ..Default::default() },
        ..ArbiterSettings::default()
    }
}

/// A policy that does `verb` to the series' node while its last value is above zero.
pub(super) fn remedy(verb: &str, settings: &str) -> String {
    format!(
        r#"fn policy() {{ #{{ for_each: series("bad"), autonomy: "auto", {settings} }} }}
fn evaluate(s) {{
    if s.last() > 0 {{
        propose(act("{verb}", "node/" + s.node, #{{}})).because("it is bad").claim(s.below(1).within("5m"))
    }}
}}"#
    )
}

/// A rule set of these policies.
pub(super) fn rules(settings: ArbiterSettings, policies: &[(&str, &str)]) -> RuleSet {
    let source = |(name, text): &(&str, &str)| PolicySource {
        id: (*name).into(),
        path: format!("policies/{name}.rhai"),
        text: (*text).to_owned(),
        overrides: Default::default(),
    };
    RuleSet { policies: policies.iter().map(source).collect(), actuators: actuators(), arbiter: settings, ..RuleSet::default() }
}

/// `node_up{node='a'}` as a key.
pub(super) fn key(text: &str) -> SeriesKey {
    let (metric, labels) = text.trim_end_matches('}').split_once('{').unwrap_or((text, ""));
    let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').expect("a label has a value");
        (name, value.trim_matches('\''))
    });
    SeriesKey::new(metric, pairs)
}

/// See the module.
pub(super) struct Lab {
    pub(super) kernel: Kernel,
    pub(super) entries: Vec<(Time, EntryBody)>,
    pub(super) observations: Vec<Observation>,
    pub(super) sent: BTreeMap<ActionId, u32>,
    dictionary: Vec<SeriesKey>,
    generation: u64,
}

impl Lab {
    /// A lab that has started and loaded these policies at second 0.
    pub(super) fn new(settings: ArbiterSettings, policies: &[(&str, &str)]) -> Lab {
        let mut lab = Lab::empty();
        lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
        let said = lab.event(0, Event::Loaded(Box::new(rules(settings, policies))));
        assert!(!said.iter().any(|text| text.contains("refused")), "{said:#?}");
        lab
    }

    /// A lab before its start.
    pub(super) fn empty() -> Lab {
        Lab {
            kernel: Kernel::new(StoreSettings::default()),
            entries: Vec::new(),
            observations: Vec::new(),
            sent: BTreeMap::new(),
            dictionary: Vec::new(),
            generation: 1,
        }
    }

    /// The same journal and samples after a crash: what the first `entries` of them say, and a new start at `seconds`.
    pub(super) fn restarted(&self, entries: usize, seconds: i64, rules: RuleSet) -> (Lab, Vec<String>) {
        let mut lab = Lab::empty();
        lab.generation = self.generation + 1;
        lab.sent = self.sent.clone();
        for (at, body) in &self.entries[..entries] {
            lab.kernel.recover(*at, body);
            lab.entries.push((*at, body.clone()));
        }
        for observation in self.observations.iter().filter(|observation| observation.at <= at(seconds)) {
            lab.kernel.restore_samples(observation);
            lab.observations.push(observation.clone());
        }
        lab.dictionary = self.dictionary.clone();
        let mut said = lab.event(seconds, Event::Started { generation: lab.generation, build: "test".into(), seed: 1 });
        said.extend(lab.event(seconds, Event::Loaded(Box::new(rules))));
        (lab, said)
    }

    /// Something happens; what follows from it, as texts.
    pub(super) fn event(&mut self, seconds: i64, event: Event) -> Vec<String> {
        if !event.is_sampled() {
            self.entries.push((at(seconds), EntryBody::Event(event.clone())));
        }
        self.kernel.handle(at(seconds), event);
        self.drain(at(seconds))
    }

    fn drain(&mut self, now: Time) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(effect) = self.kernel.poll_effect() {
            if let Effect::Act(admitted) = &effect {
                *self.sent.entry(admitted.action().id).or_default() += 1;
            }
            let record = effect.record();
            // What it cost is for the books; the dialogues are about what is done.
            if !matches!(record, Record::Spent { .. }) {
                said.push(text(&record));
            }
            self.entries.push((now, EntryBody::Effect(record)));
        }
        said
    }

    /// The sensor reads one complete row.
    pub(super) fn observe(&mut self, seconds: i64, row: &[(&str, f64)]) -> Vec<String> {
        let mut observation = Observation::new("lab".into(), at(seconds), INTERVAL);
        observation.declared_before = self.dictionary.len() as u32;
        for (name, value) in row {
            let key = key(name);
            let number = self.dictionary.iter().position(|known| *known == key).unwrap_or_else(|| {
                observation.declared.push(SeriesDecl { key: key.clone(), cohort: 0 });
                self.dictionary.push(key.clone());
                self.dictionary.len() - 1
            });
            observation.samples.push(Sample { series: number as u32, value: *value });
        }
        observation.samples.sort_by_key(|sample| sample.series);
        self.observations.push(observation.clone());
        self.event(seconds, Event::Observed(Box::new(observation)))
    }

    /// The same row every interval, from the first moment to the last; what was said in all.
    pub(super) fn observe_all(&mut self, seconds: std::ops::RangeInclusive<i64>, row: &[(&str, f64)]) -> Vec<String> {
        seconds.step_by(INTERVAL.seconds() as usize).flat_map(|second| self.observe(second, row)).collect()
    }

    /// Time passes.
    pub(super) fn tick(&mut self, seconds: i64) -> Vec<String> {
        self.event(seconds, Event::Tick)
    }

    /// A person orders something.
    pub(super) fn order(&mut self, seconds: i64, command: Command) -> Vec<String> {
        self.event(seconds, Event::Ordered(Ordered { by: "unix:0".into(), command }))
    }

    /// The actuator says that it is done.
    pub(super) fn done(&mut self, seconds: i64, id: u64) -> Vec<String> {
        self.event(seconds, Event::Settled(ActionId(id), Outcome::Done(Receipt { observed: "seen".into(), undo: BTreeMap::new() })))
    }

    /// The actuator says that it is not done.
    pub(super) fn not_done(&mut self, seconds: i64, id: u64, code: FaultCode) -> Vec<String> {
        self.event(seconds, Event::Settled(ActionId(id), Outcome::NotDone(Fault::new(code, "test", "not done"))))
    }

    /// The actuator cannot tell.
    pub(super) fn unknown(&mut self, seconds: i64, id: u64) -> Vec<String> {
        self.event(seconds, Event::Settled(ActionId(id), Outcome::Unknown(Fault::new(FaultCode::TimedOut, "test", "no answer"))))
    }

    /// An alert is delivered.
    pub(super) fn alert(&mut self, seconds: i64, status: AlertStatus, starts: i64) -> Vec<String> {
        let delivery = AlertDelivery {
            source: AlertSource::Alertmanager,
            receiver: "r".into(),
            group_key: "g".into(),
            truncated: 0,
            alerts: vec![alert(status, starts)],
        };
        self.event(seconds, Event::Alerted(delivery))
    }

    /// The policy's units, as `(target, result, why)`.
    pub(super) fn units(&self, policy: &str) -> Vec<(String, &'static str, String)> {
        self.kernel.explain_policy(policy, "").into_iter().map(|unit| (unit.target, unit.result, unit.why)).collect()
    }

    /// The phase of an action.
    pub(super) fn phase(&self, id: u64) -> &'static str {
        self.kernel.ledger().action(ActionId(id)).expect("the action is known").phase.name()
    }

    /// What a guard said at an action's newest ruling: its stance and its words.
    pub(super) fn guard(&self, id: u64, guard: &str) -> String {
        let state = self.kernel.ledger().action(ActionId(id)).expect("the action is known");
        let reason = state.ruling.reasons.iter().find(|reason| reason.guard == guard).expect("the guard was asked");
        format!("{:?}: {}", reason.stance, reason.text)
    }
}

/// The alert `Disk` on node a.
pub(super) fn alert(status: AlertStatus, starts: i64) -> Alert {
    Alert {
        fingerprint: "f1".into(),
        status,
        kind: AlertKind::Condition,
        name: "Disk".into(),
        labels: Labels::new([("alertname", "Disk"), ("node", "a"), ("severity", "critical")]),
        annotations: BTreeMap::from([("summary".to_owned(), "the disk is full".to_owned())]),
        starts_at: at(starts),
        ends_at: (status == AlertStatus::Resolved).then(|| at(starts + 60)),
        values: BTreeMap::from([("A".to_owned(), 97.0)]),
    }
}

/// An effect as a test reads it.
pub(super) fn text(record: &Record) -> String {
    match record {
        Record::Ruled { action, ruling, .. } => {
            let guard = ruling.decided_by().map_or_else(String::new, |reason| format!(" by {}", reason.guard));
            format!("{action} {}{guard}", ruling.verdict.name())
        }
        Record::Act { action, attempt } => {
            format!("{} act {} on {} #{attempt}{}", action.id, action.verb, action.target, args(&action.args))
        }
        Record::Probe { action } => format!("{action} probe"),
        Record::Revert { action, .. } => format!("{action} revert"),
        Record::Run { run, step } => format!("{run} run {}", step.text()),
        Record::Settled { action, outcome } => format!("{action} settled {}", outcome.name()),
        Record::Closed { action, closing, why } => format!("{action} closed {closing:?}: {why}"),
        Record::Judged { action, judgement } => format!("{action} judged {:?}: {}", judgement.held, judgement.text),
        Record::Scored { action, score } => format!("{action} scored {}: {}", score.finding.name(), score.text),
        Record::Spent { action, policy, .. } => format!("{action} spent by {policy}"),
        Record::Autonomy(moved) => format!("autonomy {} {} to {}: {}", moved.key, moved.from.name(), moved.to.name(), moved.evidence),
        Record::Drilled(end) => format!("drilled {} {:?}: {}", end.policy, end.passed, end.text),
        Record::Tripped(trip) => format!("tripped {}: {}", trip.target, trip.text),
        Record::Asked { question, brief } => format!("{question} asked: {}", brief.occasion.title),
        Record::Announce(notice) => format!("announce {}", notice.title),
        Record::Noted(Note::PoliciesLoaded { policies, .. }) => format!("loaded {}", policies.len()),
        Record::Noted(Note::LoadRefused { errors }) => format!("load refused: {}", errors.join("\n")),
        Record::Noted(Note::Undetermined { symptom, why, .. }) => format!("undetermined {symptom}: {why}"),
        Record::Noted(Note::EvaluationFault { symptom, error, .. }) => format!("fault {symptom}: {error}"),
        Record::Noted(Note::OrderRefused { why, .. }) => format!("order refused: {why}"),
        Record::Noted(note) => format!("{note:?}"),
    }
}

fn args(args: &Args) -> String {
    let shown: Vec<String> = args.iter().map(|(name, arg): (&String, &Arg)| format!(" {name}={arg}")).collect();
    shown.concat()
}
