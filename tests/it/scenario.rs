//! A small scenario that every driver test runs: a filling disk, a policy that cleans it, an alert that is told.
//!
//! Everything is written out here, so that the tests need nothing from outside.

use homeostat::driver::Core;
use homeostat::journal::{JournalReader, JournalSettings, Recorder};
use homeostat::virtual_time::StandIn;
use homeostat_model::{
    Action, ActionId, ActuatorSpec, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, Class, Entry, EntryBody, Event, Fault,
    FaultCode, Labels, Observation, Outcome, PolicySource, Receipt, RuleSet, Sample, SensorId, SeriesDecl, SeriesKey, Span, StoreSettings,
    Time, VerbSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// When the scenario begins: an arbitrary moment.
pub const BEGIN: Time = Time(1_800_000_000_000);

const CLEAN: &str = r#"
//! Cleans a disk that is full.
fn policy() {
    #{ every: "30s", for_each: series("filesystem_avail_ratio"), cooldown: "10m", settle: "30s", autonomy: "auto" }
}
fn evaluate(fs) {
    if fs.held_below(0.10, "30s") {
        propose(exec("clean", #{ mount: fs.mountpoint }))
            .because(`${fs.node} has ${percent(fs.last())} left`)
            .claim(fs.above(0.20).within("2m"));
    }
}
"#;

const TELL: &str = r#"
//! Tells of critical alerts.
fn policy() {
    #{ on_alert: alerts("{severity='critical'}"), cooldown: "1h", autonomy: "auto" }
}
fn on_alert(alert) {
    propose(notify(`${alert.name} is ${alert.status}`)).because(alert.annotation("summary") + " ");
}
"#;

/// What can be done.
pub fn actuators() -> Vec<ActuatorSpec> {
    let verb = |name: &str, class, args: Vec<homeostat_model::ArgSpec>| VerbSpec {
        verb: name.into(),
        class,
        args,
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::from_secs(30),
        timeout: Span::from_secs(20),
        revertible: false,
        cost: Default::default(),
        doc: "A stand-in.".into(),
    };
    let text = |name: &str, required| homeostat_model::ArgSpec {
        name: name.into(),
        kind: homeostat_model::ArgKind::Text(1000),
        required,
        doc: "Text.".into(),
    };
    vec![
        ActuatorSpec { id: "exec".into(), verbs: vec![verb("exec.clean", Class::Reversible, vec![text("mount", true)])] },
        ActuatorSpec {
            id: "notify".into(),
            verbs: vec![verb("notify.send", Class::Notify, vec![text("title", true), text("text", false)])],
        },
    ]
}

/// The rules.
pub fn rules() -> RuleSet {
    let source = |name: &str, text: &str| PolicySource {
        id: name.into(),
        path: format!("{name}.rhai"),
        text: text.into(),
        overrides: Default::default(),
    };
    RuleSet { policies: vec![source("clean", CLEAN), source("tell", TELL)], actuators: actuators(), ..RuleSet::default() }
}

fn observation(round: i64, declared: bool) -> Observation {
    let at = BEGIN + Span::from_secs(10 * round);
    let mut seen = Observation::new(SensorId::from("lab"), at, Span::from_secs(10));
    seen.epoch = 1;
    seen.declared_before = if declared { 2 } else { 0 };
    if !declared {
        for node in ["nas", "brain"] {
            let key = SeriesKey::new("filesystem_avail_ratio", [("node", node), ("mountpoint", "/")]);
            seen.declared.push(SeriesDecl { key, cohort: 0 });
        }
    }
    // The nas fills at the sixth read and is clean again twenty reads later; the brain is always well.
    let full = (6..26).contains(&round);
    seen.samples =
        vec![Sample { series: 0, value: if full { 0.05 } else { 0.5 } }, Sample { series: 1, value: 0.7 + 0.001 * round as f64 }];
    seen
}

fn alert(name: &str, status: AlertStatus, starts_at: Time) -> Event {
    let labels = Labels::new([("alertname", name), ("severity", "critical"), ("instance", "nas:9100")]);
    let alert = Alert {
        fingerprint: format!("f-{name}"),
        status,
        kind: AlertKind::Condition,
        name: name.into(),
        labels,
        annotations: BTreeMap::from([("summary".into(), "it is bad".into())]),
        starts_at,
        ends_at: None,
        values: BTreeMap::new(),
    };
    Event::Alerted(AlertDelivery {
        source: AlertSource::Alertmanager,
        receiver: "lab".into(),
        group_key: "g".into(),
        truncated: 0,
        alerts: vec![alert],
    })
}

/// What happens, in order of time.
pub fn script() -> Vec<(Time, Event)> {
    let mut script: Vec<(Time, Event)> =
        (0..40).map(|round| (BEGIN + Span::from_secs(10 * round), Event::Observed(Box::new(observation(round, round > 0))))).collect();
    let at = |seconds| BEGIN + Span::from_secs(seconds);
    for (seconds, name, status) in [
        (33, "Fan", AlertStatus::Firing),
        (34, "Fan", AlertStatus::Firing),
        (95, "Door", AlertStatus::Firing),
        (155, "Fan", AlertStatus::Resolved),
        (156, "Fan", AlertStatus::Firing),
    ] {
        script.push((at(seconds), alert(name, status, at(if name == "Fan" { 30 } else { 90 }))));
    }
    script.sort_by_key(|(at, _)| *at);
    script
}

/// The end of the scenario, with time for every claim.
pub const END: Time = Time(BEGIN.0 + 600_000);

/// The far end: remembers what really arrived, over crashes of the engine.
#[derive(Clone, Debug, Default)]
pub struct FarEnd {
    /// How often each action arrived.
    pub arrived: BTreeMap<ActionId, u32>,
    /// Actions whose answer gets lost.
    pub lost: BTreeSet<ActionId>,
}

impl FarEnd {
    fn done(action: &Action) -> Outcome {
        Outcome::Done(Receipt { observed: format!("{} arrived", action.verb), undo: BTreeMap::new() })
    }
}

impl StandIn for FarEnd {
    fn apply(&mut self, _: Time, action: &Action) -> (Span, Outcome) {
        *self.arrived.entry(action.id).or_default() += 1;
        if self.lost.contains(&action.id) {
            return (Span::from_secs(20), Outcome::Unknown(Fault::new(FaultCode::TimedOut, "apply", "the answer was lost")));
        }
        (Span::ZERO, FarEnd::done(action))
    }

    fn probe(&mut self, _: Time, action: &Action) -> (Span, Outcome) {
        let outcome = if self.arrived.contains_key(&action.id) {
            FarEnd::done(action)
        } else {
            Outcome::NotDone(Fault::new(FaultCode::NeverStarted, "probe", "nothing arrived here"))
        };
        (Span::ZERO, outcome)
    }
}

/// A core on a new journal in `dir`, with the rules loaded. The generation and the seed are fixed, so that runs can be compared.
pub fn core(dir: &Path, now: Time) -> Core {
    let (recorder, opened) = Recorder::open(dir, JournalSettings::default(), now).expect("the journal opens");
    let (core, _) = Core::start(recorder, opened.generation, 7, StoreSettings::default(), now).expect("the core starts");
    core
}

/// The script with the loading of the rules in front.
pub fn script_with_rules() -> Vec<(Time, Event)> {
    let mut script = script();
    script.insert(0, (BEGIN, Event::Loaded(Box::new(rules()))));
    script
}

/// Everything in a journal.
pub fn entries(dir: &Path) -> Vec<Entry> {
    let reader = JournalReader::open(dir).expect("the journal can be read");
    reader.entries(0).expect("entries").map(|entry| entry.expect("an entry")).collect()
}

/// An entry as text, for comparison byte by byte.
pub fn line(entry: &Entry) -> String {
    match &entry.body {
        EntryBody::Event(event) => format!("{} {} event {}", entry.seq, entry.at.millis(), serde_json::to_string(event).expect("json")),
        EntryBody::Effect(record) => format!("{} {} effect {}", entry.seq, entry.at.millis(), serde_json::to_string(record).expect("json")),
    }
}
