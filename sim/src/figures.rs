//! What a run came to, in numbers: the four of control theory (Hellerstein et al. 2004: stability, accuracy, settling time,
//! overshoot) and what they cost.
//!
//! | figure | how it is measured |
//! |---|---|
//! | action cycles | times that a verb and its opposite were sent to one target within an hour, or a third same action within four hours |
//! | outside | time outside aims, summed over aims, and as a share of all aims' time |
//! | settling | mean time from the beginning of a breach to its end, over breaches that ended |
//! | overshoot | most capacity beyond the need while there were more replicas than the lab file says |
//! | detect | mean time from a fault that needs mending to the first proposal about its thing |
//! | recover | mean time from such a fault to the moment when its thing's aim is met again (at once if never breached: not counted) |
//!
//! An editor breaks this by measuring with anything that a sensor says: the plant's own meter is the truth here.

use crate::plant::{Judged, Plant, Worth};
use crate::run::Setup;
use homeostat_kernel::Stats;
use homeostat_model::{Action, Class, Note, Record, RunMove, Span, Time};
use serde::Serialize;
use std::collections::BTreeMap;

/// Notices that are kept as lines.
const NOTICES_MAX: usize = 20_000;
/// A fault without an end is followed for so long.
const LOOKED_FOR: Span = Span::from_hours(24);
/// Lines that are kept of each kind.
const LINES_MAX: usize = 100_000;

/// Something that was decided or done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// When, from the beginning of the run.
    pub at: Span,
    /// The policy.
    pub policy: String,
    /// The verb.
    pub verb: String,
    /// The target.
    pub target: String,
    /// For rulings: verdict and guard; for claims: `held`, `failed`, `undetermined`; for actions: the class; for the oracle: its word.
    pub what: String,
    /// For rulings: the guard that decided; for the oracle: why.
    pub why: String,
}

/// Everything that was decided in a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Actions sent, first attempts; of notices the first of them.
    pub acts: Vec<Line>,
    /// Actions by class, all of them.
    pub sent: BTreeMap<String, usize>,
    /// Claims by result, all of them.
    pub results: BTreeMap<String, usize>,
    /// Operations by the oracle's word, all of them.
    pub worths: BTreeMap<Worth, usize>,
    /// Rulings.
    pub rulings: Vec<Line>,
    /// Judged claims.
    pub claims: Vec<Line>,
    /// The oracle's words.
    pub judged: Vec<(Worth, Line)>,
    /// Runs of playbooks that have ended: how, and why.
    pub runs: Vec<Line>,
    /// Actions that were told to take themselves back.
    pub reverts: Vec<Line>,
    /// Notes by name.
    pub notes: BTreeMap<&'static str, usize>,
    /// What faults of evaluations and refused orders said, the first of them.
    pub troubles: Vec<String>,
    /// Rules that were refused, in words.
    pub load_errors: Vec<String>,
    /// Restarts of the engine.
    pub restarts: u32,
    begin: Time,
    proposals: BTreeMap<homeostat_model::ActionId, (String, String, String)>,
}

impl Tally {
    /// An empty tally of a run that begins then.
    pub fn new(begin: Time) -> Tally {
        Tally { begin, ..Tally::default() }
    }

    fn line(&self, at: Time, id: homeostat_model::ActionId, what: impl Into<String>, why: impl Into<String>) -> Line {
        let (policy, verb, target) = self.proposals.get(&id).cloned().unwrap_or_default();
        Line { at: at.since(self.begin), policy, verb, target, what: what.into(), why: why.into() }
    }

    /// A record was written.
    pub fn record(&mut self, at: Time, record: &Record) {
        match record {
            Record::Ruled { action, proposal, ruling, .. } => {
                let policy = proposal.origin.policy().map(|policy| policy.as_str().to_owned()).unwrap_or_default();
                self.proposals.insert(*action, (policy, proposal.verb.to_string(), proposal.target.to_string()));
                let guard = ruling.decided_by().map(|reason| reason.guard.clone()).unwrap_or_default();
                let line = self.line(at, *action, ruling.verdict.name(), guard);
                push(&mut self.rulings, line);
            }
            Record::Act { action, attempt: 1 } => {
                let line = self.line(at, action.id, action.class.name(), "");
                *self.sent.entry(line.what.clone()).or_default() += 1;
                if action.class > Class::Notify || self.acts.len() < NOTICES_MAX {
                    push(&mut self.acts, line);
                }
            }
            Record::Run { run, step: RunMove::Ended { end, why } } => {
                let line = self.line(at, *run, end.name(), why.clone());
                push(&mut self.runs, line);
            }
            Record::Run { run, step: step @ RunMove::Failed { .. } } => self.trouble(format!("{run}: {}", step.text())),
            Record::Revert { action, .. } => {
                let line = self.line(at, *action, "", "");
                push(&mut self.reverts, line);
            }
            Record::Judged { action, judgement } => {
                let what = match judgement.held {
                    Some(true) => "held",
                    Some(false) => "failed",
                    None => "undetermined",
                };
                let line = self.line(at, *action, what, judgement.text.clone());
                *self.results.entry(what.to_owned()).or_default() += 1;
                push(&mut self.claims, line);
            }
            Record::Noted(note) => {
                match note {
                    Note::LoadRefused { errors } => self.load_errors.extend(errors.iter().cloned()),
                    Note::EvaluationFault { policy, symptom, error } => self.trouble(format!("{policy} {symptom}: {error}")),
                    Note::OrderRefused { why, .. } => self.trouble(format!("order refused: {why}")),
                    _ => {}
                }
                *self.notes.entry(note_name(note)).or_default() += 1;
            }
            _ => {}
        }
    }

    fn trouble(&mut self, text: String) {
        if self.troubles.len() < 100 {
            self.troubles.push(text);
        }
    }

    /// The oracle has spoken.
    pub fn judged(&mut self, at: Time, action: &Action, judged: Judged) {
        let judged_as = judged.worth;
        let line = self.line(at, action.id, format!("{judged_as:?}").to_lowercase(), judged.why);
        *self.worths.entry(judged_as).or_default() += 1;
        if self.judged.len() < LINES_MAX && judged_as > Worth::Neutral {
            self.judged.push((judged_as, line));
        }
    }

    /// How many operations the oracle gave this word.
    pub fn worth(&self, worth: Worth) -> usize {
        self.worths.get(&worth).copied().unwrap_or(0)
    }

    /// The first proposal about a thing within a time.
    fn first_about(&self, thing: &str, from: Span, to: Span) -> Option<Span> {
        let service = thing.strip_prefix("service/");
        let about = |target: &str| {
            let pod = target.strip_prefix("pod/").and_then(|pod| pod.rsplit('/').next()).and_then(|pod| pod.rsplit_once('-'));
            target == thing || pod.is_some_and(|(of, _)| Some(of) == service)
        };
        self.rulings.iter().find(|line| line.at >= from && line.at <= to && about(&line.target)).map(|line| line.at)
    }
}

fn push(lines: &mut Vec<Line>, line: Line) {
    if lines.len() < LINES_MAX {
        lines.push(line);
    }
}

fn note_name(note: &Note) -> &'static str {
    match note {
        Note::LoadRefused { .. } => "load_refused",
        Note::PoliciesLoaded { .. } => "policies_loaded",
        Note::EvaluationFault { .. } => "evaluation_fault",
        Note::Undetermined { .. } => "undetermined",
        Note::LimitReached { .. } => "limit_reached",
        Note::Withdrawn { .. } => "withdrawn",
        Note::OrderRefused { .. } => "order_refused",
        Note::NoProposal { .. } => "no_proposal",
        Note::DuplicateAlerts { .. } => "duplicate_alerts",
        Note::ObserverFault { .. } => "observer_fault",
    }
}

/// The figures of a run. Times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Who acted.
    pub control: &'static str,
    /// Stability: action cycles.
    pub action_cycles: usize,
    /// Accuracy: seconds outside aims, summed.
    pub outside_seconds: f64,
    /// The same as a share of all aims' time.
    pub outside_ratio: f64,
    /// Settling time.
    pub settling_seconds: Option<f64>,
    /// Overshoot, as a share of the need.
    pub overshoot_ratio: f64,
    /// Time to detect.
    pub detect_seconds: Option<f64>,
    /// Faults that led to a proposal.
    pub detected: usize,
    /// Time to recover.
    pub recover_seconds: Option<f64>,
    /// Breaches of aims.
    pub breaches: usize,
    /// Faults that needed mending.
    pub faults: usize,
    /// Energy used, in joules.
    pub joules: f64,
    /// Energy saved against a lab without sleep, in joules.
    pub joules_saved: f64,
    /// Minutes in which users of a service were not served well.
    pub disruption_minutes: f64,
    /// Actions sent, by class.
    pub actions: BTreeMap<String, usize>,
    /// Operations that the oracle calls useful.
    pub useful: usize,
    /// Operations that it calls useless.
    pub useless: usize,
    /// Operations that it calls harmful.
    pub harmful: usize,
    /// What was lost for good.
    pub losses: Vec<String>,
    /// Claims by result.
    pub claims: BTreeMap<String, usize>,
    /// Evaluations run.
    pub evaluations: u64,
    /// Samples taken in.
    pub samples: u64,
    /// Events handled by the engine.
    pub events: u64,
}

impl Figures {
    /// The figures of a run that has ended.
    pub fn of(plant: &Plant, tally: &Tally, stats: &Stats, events: u64, setup: &Setup) -> Figures {
        let meter = &plant.meter;
        let closed: Vec<f64> = meter.breaches.iter().filter_map(|breach| breach.to.map(|to| to.since(breach.from).seconds())).collect();
        let (faults, detect, recover) = mended(plant, tally, setup);
        let mut actions: BTreeMap<String, usize> = Class::ALL.iter().map(|class| (class.name().to_owned(), 0)).collect();
        actions.extend(tally.sent.clone());
        let all = meter.seconds * meter.aims() as f64;
        Figures {
            control: setup.control.name(),
            action_cycles: cycles(tally, setup),
            outside_seconds: meter.outside_total_seconds(),
            outside_ratio: if all > 0.0 { meter.outside_total_seconds() / all } else { 0.0 },
            settling_seconds: mean(&closed),
            overshoot_ratio: meter.overshoot,
            detect_seconds: mean(&detect),
            detected: detect.len(),
            recover_seconds: mean(&recover),
            breaches: meter.breaches.len() + meter.breaches_dropped as usize,
            faults,
            joules: meter.joules,
            joules_saved: meter.joules_always_on - meter.joules,
            disruption_minutes: meter.disrupted_seconds / 60.0,
            actions,
            useful: tally.worth(Worth::Useful),
            useless: tally.worth(Worth::Useless),
            harmful: tally.worth(Worth::Harmful),
            losses: meter.losses.iter().map(|(_, what)| what.clone()).collect(),
            claims: tally.results.clone(),
            evaluations: stats.evaluations,
            samples: stats.samples,
            events,
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How many faults needed mending, how long each took to be noticed, and to be over.
fn mended(plant: &Plant, tally: &Tally, setup: &Setup) -> (usize, Vec<f64>, Vec<f64>) {
    let (mut count, mut detect, mut recover) = (0, Vec::new(), Vec::new());
    for planned in setup.faults().iter().filter(|planned| planned.fault.needs_mending() && planned.at < setup.scenario.lasts) {
        count += 1;
        let thing = planned.fault.thing();
        let lasts = planned.lasts.unwrap_or(LOOKED_FOR);
        if let Some(seen) = tally.first_about(&thing, planned.at, planned.at + lasts) {
            detect.push((seen - planned.at).seconds());
        }
        let began = plant.began() + planned.at;
        let breach =
            plant.meter.breaches.iter().find(|breach| breach.aim.0 == thing && breach.from >= began && breach.from <= began + lasts);
        if let Some(to) = breach.and_then(|breach| breach.to) {
            recover.push(to.since(began).seconds());
        }
    }
    (count, detect, recover)
}

/// Times that a target was sent to and fro, or the same for the third time.
fn cycles(tally: &Tally, setup: &Setup) -> usize {
    let mut last: BTreeMap<&str, Vec<(&str, Span)>> = BTreeMap::new();
    let mut cycles = 0;
    for line in tally.acts.iter().filter(|line| line.what != "notify") {
        let opposite = setup.lab.verbs.get(&line.verb).and_then(|entry| entry.opposite.as_deref());
        let before = last.entry(&line.target).or_default();
        let fro = before.last().is_some_and(|(verb, at)| Some(*verb) == opposite && (line.at - *at) < Span::from_hours(1));
        let same = before.iter().filter(|(verb, at)| *verb == line.verb && (line.at - *at) < Span::from_hours(4)).count();
        cycles += usize::from(fro) + usize::from(opposite.is_none() && same >= 2);
        before.retain(|(_, at)| line.at - *at < Span::from_hours(4));
        before.push((&line.verb, line.at));
    }
    cycles
}
