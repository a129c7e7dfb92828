//! Plays a world to a policy: the production kernel looks at it step by step, and what it sends is answered as done.
//!
//! With the guards at their settings, or with those that settings can open wide open (the bare policy: its own cooldown and settling
//! time stay, as they are part of it). Questions of the autonomy are answered with yes: the policy is tried as what it would be once
//! it is trusted. An editor breaks this by deciding here what a policy wishes or what a guard says.

use super::trace::Trace;
use anyhow::{Result, anyhow};
use homeostat_kernel::{Effect, Kernel};
use homeostat_model::{
    ActionId, ActuatorSpec, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, ArbiterSettings, Args, Autonomy, Claim, Class,
    Command, Event, Evidence, Labels, Observation, Ordered, Outcome, Playbook, PolicySource, Receipt, Record, RuleSet, SeriesDecl, Span,
    StampedSample, Stance, StoreSettings, Target, Time, Verb, VerbSpec, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// The first moment: that of every test file.
const START: Time = Time(1_700_000_000_000);
/// Effects of one moment; more are a loop of ours.
const EFFECTS_MAX: usize = 10_000;

/// What a policy is played on.
#[derive(Clone)]
pub struct Bench {
    /// The policy.
    pub policy: PolicySource,
    /// What can be done.
    pub actuators: Vec<ActuatorSpec>,
    /// What can be done in several steps.
    pub playbooks: Vec<Playbook>,
    /// The guards' settings.
    pub arbiter: ArbiterSettings,
    /// Whether the guards hold; without them only the policy's own cooldown, its own settling time and the lint stay.
    pub guards: bool,
}

impl Bench {
    /// What is known of a verb.
    pub fn verb(&self, verb: &Verb) -> Option<&VerbSpec> {
        self.actuators.iter().flat_map(|actuator| &actuator.verbs).find(|spec| spec.verb == *verb)
    }

    /// The verb that does the opposite, whichever of the two says so.
    pub fn opposite(&self, verb: &Verb) -> Option<Verb> {
        let says = self.verb(verb).and_then(|spec| spec.opposite.clone());
        let said = || self.actuators.iter().flat_map(|actuator| &actuator.verbs).find(|spec| spec.opposite.as_ref() == Some(verb));
        says.or_else(|| said().map(|spec| spec.verb.clone()))
    }

    /// Whether its policy loads.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<()> {
        Kernel::new(StoreSettings::default()).check(&self.rules()).map(drop).map_err(|errors| anyhow!("{}", errors.join("\n")))
    }

    fn rules(&self) -> RuleSet {
        let mut rules = RuleSet {
            policies: vec![self.policy.clone()],
            actuators: self.actuators.clone(),
            playbooks: self.playbooks.clone(),
            arbiter: self.arbiter.clone(),
            ..RuleSet::default()
        };
        if !self.guards {
            rules.arbiter = without_guards(&self.arbiter);
            for verb in rules.actuators.iter_mut().flat_map(|actuator| &mut actuator.verbs) {
                (verb.opposite, verb.settle) = (None, Span::ZERO);
            }
        }
        rules
    }
}

/// Settings under which nothing is held, as far as settings can do that.
fn without_guards(settings: &ArbiterSettings) -> ArbiterSettings {
    let all = |value: u32| Class::ALL.into_iter().map(|class| (class, value)).collect();
    let mut open = ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Auto)).collect(),
        evidence_age_max: Span::from_hours(24 * 365),
        boot_grace: Span::ZERO,
        clock_jump_freeze: Span::ZERO,
        observer_fault_targets_min: usize::MAX,
        futility_attempts_max: u32::MAX,
        concurrent_max: all(u32::MAX),
        per_hour_max: all(u32::MAX),
        own_base: settings.own_base.clone(),
        ..ArbiterSettings::default()
    };
    (open.blast.same_kind_share_max, open.blast.dependants_share_max, open.blast.dependants_max) = (1.0, 1.0, u32::MAX);
    (open.storm.alerts_max, open.storm.restores_max) = (u32::MAX, u32::MAX);
    open.blast.copies_of.clear();
    open
}

/// Something that was sent.
#[derive(Clone, Debug)]
pub struct Act {
    /// At which step.
    pub step: usize,
    /// What.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// How much it can hurt.
    pub class: Class,
    /// For what.
    pub symptom: String,
    /// What it promised.
    pub claim: Option<Claim>,
    /// Why.
    pub because: String,
    /// What it rested on.
    pub evidence: Vec<Evidence>,
}

/// How an evaluation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// There was no such target, or it was not looked at yet.
    Never,
    /// Nothing was wished.
    Quiet,
    /// Something was wished.
    Fired,
    /// Something was unknown.
    Undetermined(String),
    /// The script failed.
    Fault(String),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What was sent, in order.
    pub acts: Vec<Act>,
    /// How each target's evaluation stood after each step, by symptom.
    pub looks: BTreeMap<String, Vec<Looked>>,
    /// The targets that there were.
    pub targets: BTreeSet<Target>,
    /// Everything that was read at any step: operation, series and comparisons.
    pub reads: Vec<Evidence>,
    /// Wishes that nobody can do, or that are not well formed: verb, arguments and what the lint says.
    pub refused: Vec<(Verb, Args, String)>,
    /// Wishes that were held by a guard, by its name.
    pub held: BTreeMap<String, usize>,
}

/// Where the samples come from.
pub trait Feed {
    /// The series, in the order of [`Feed::row`].
    fn keys(&self) -> Vec<homeostat_model::SeriesKey>;
    /// The values of a step.
    fn row(&mut self, step: usize) -> Vec<Option<f64>>;
    /// Something was sent at this step.
    fn acted(&mut self, act: &Act);
}

/// A trace that is as it is, whatever is done.
pub struct Given<'a>(pub &'a Trace);

impl Feed for Given<'_> {
    fn keys(&self) -> Vec<homeostat_model::SeriesKey> {
        self.0.tracks.iter().map(|track| track.key.clone()).collect()
    }
    fn row(&mut self, step: usize) -> Vec<Option<f64>> {
        (0..self.0.tracks.len()).map(|track| self.0.at(track, step)).collect()
    }
    fn acted(&mut self, _: &Act) {}
}

/// Plays a trace as it is.
///
/// # Errors
/// The policy cannot be loaded.
pub fn play_trace(bench: &Bench, trace: &Trace, reads: bool) -> Result<Played> {
    let mut player = Player::new(bench, trace.interval, reads)?;
    let mut feed = Given(trace);
    for step in 0..trace.steps {
        player.step(step, &mut feed, trace);
    }
    Ok(player.played)
}

/// Plays what `feed` gives for so many steps; alerts come from `trace`.
///
/// # Errors
/// The policy cannot be loaded.
pub fn play(bench: &Bench, trace: &Trace, feed: &mut dyn Feed) -> Result<Played> {
    let mut player = Player::new(bench, trace.interval, false)?;
    for step in 0..trace.steps {
        player.step(step, feed, trace);
    }
    Ok(player.played)
}

struct Player<'a> {
    bench: &'a Bench,
    kernel: Kernel,
    interval: Span,
    played: Played,
    keeps_reads: bool,
    known: BTreeSet<String>,
    /// Which series had a value at the step before.
    live: Vec<bool>,
}

impl<'a> Player<'a> {
    fn new(bench: &'a Bench, interval: Span, keeps_reads: bool) -> Result<Player<'a>> {
        let rules = bench.rules();
        let mut kernel = Kernel::new(rules.store.clone());
        kernel.check(&rules).map_err(|errors| anyhow!("{}", errors.join("\n")))?;
        kernel.handle(START, Event::Started { generation: 1, build: "policy fuzz".into(), seed: 1 });
        kernel.handle(START, Event::Loaded(Box::new(rules)));
        while kernel.poll_effect().is_some() {}
        Ok(Player { bench, kernel, interval, played: Played::default(), keeps_reads, known: BTreeSet::new(), live: Vec::new() })
    }

    fn step(&mut self, step: usize, feed: &mut dyn Feed, trace: &Trace) {
        let at = START + Span(self.interval.millis() * step as i64);
        let mut row = Observation::new("fuzz".into(), at, self.interval);
        let keys = feed.keys();
        if step == 0 {
            row.declared = keys.into_iter().map(|key| SeriesDecl { key, cohort: 0 }).collect();
        } else {
            row.declared_before = keys.len() as u32;
        }
        // As the test files read them: a value has its own stamp, and a series that has nothing more to say has ended.
        let values = feed.row(step);
        self.live.resize(values.len(), false);
        for (series, (value, live)) in values.into_iter().zip(&mut self.live).enumerate() {
            match value {
                Some(value) => row.stamped.push(StampedSample { series: series as u32, at, value }),
                None if *live => row.vanished.push(series as u32),
                None => {}
            }
            *live = value.is_some();
        }
        self.kernel.handle_observed(at, &row);
        for alert in trace.alerts.iter().filter(|alert| alert.step == step) {
            self.kernel.handle(at, Event::Alerted(delivery(alert, at)));
        }
        self.kernel.handle(at, Event::Tick);
        self.answer(step, at, feed);
        self.look(step);
    }

    /// Carries the effects of a moment out: done at once.
    fn answer(&mut self, step: usize, at: Time, feed: &mut dyn Feed) {
        for _ in 0..EFFECTS_MAX {
            let Some(effect) = self.kernel.poll_effect() else { return };
            match effect {
                Effect::Act(admitted) => {
                    let id = admitted.action().id;
                    if let Some(act) = self.act(step, id) {
                        feed.acted(&act);
                        self.played.acts.push(act);
                    }
                    self.done(at, id);
                }
                Effect::Probe(action) => self.done(at, action.id),
                Effect::Revert(reverting) => {
                    let id = reverting.action().id;
                    self.kernel.handle(at, Event::Reverted(id, done()));
                }
                Effect::Record(Record::Act { action, .. }) => {
                    // A run of a playbook: the kernel's own.
                    self.played.acts.extend(self.act(step, action.id));
                }
                Effect::Record(Record::Ruled { action, proposal, ruling, .. }) => match ruling.verdict {
                    Verdict::AwaitingApproval { .. } => {
                        let by = ruling.decided_by().map_or("", |reason| reason.guard.as_str());
                        if by == "autonomy" || !self.bench.guards {
                            let command = Command::Approve { action, plan: None };
                            self.kernel.handle(at, Event::Ordered(Ordered { by: "policy fuzz".into(), command }));
                        } else {
                            *self.played.held.entry(by.to_owned()).or_default() += 1;
                        }
                    }
                    Verdict::Denied => {
                        let lint = ruling.reasons.iter().find(|reason| reason.guard == "lint" && reason.stance == Stance::Deny);
                        match lint {
                            Some(reason) => self.played.refused.push((proposal.verb, proposal.args, reason.text.clone())),
                            None => self.held(&ruling),
                        }
                    }
                    Verdict::Deferred { .. } | Verdict::Shadowed => self.held(&ruling),
                    Verdict::Admitted => {}
                },
                Effect::Record(_) | Effect::Question { .. } | Effect::Announce(_) => {}
            }
        }
    }

    fn held(&mut self, ruling: &homeostat_model::Ruling) {
        let by = ruling.decided_by().map_or_else(|| "a guard".to_owned(), |reason| reason.guard.clone());
        *self.played.held.entry(by).or_default() += 1;
    }

    fn done(&mut self, at: Time, id: ActionId) {
        self.kernel.handle(at, Event::Settled(id, done()));
    }

    fn act(&self, step: usize, id: ActionId) -> Option<Act> {
        let state = self.kernel.ledger().action(id)?;
        let proposal = &state.proposal;
        if proposal.origin.run().is_some() {
            return None;
        }
        Some(Act {
            step,
            verb: proposal.verb.clone(),
            target: proposal.target.clone(),
            args: proposal.args.clone(),
            class: self.bench.verb(&proposal.verb).map_or(Class::Disruptive, |spec| spec.class),
            symptom: proposal.symptom.clone(),
            claim: proposal.claim.clone(),
            because: proposal.because.clone(),
            evidence: proposal.evidence.clone(),
        })
    }

    fn look(&mut self, step: usize) {
        for unit in self.kernel.explain_policy(self.bench.policy.id.as_str(), "") {
            let looked = match unit.result {
                "quiet" => Looked::Quiet,
                "fired" => Looked::Fired,
                "undetermined" => Looked::Undetermined(unit.why),
                "fault" => Looked::Fault(unit.why),
                _ => Looked::Never,
            };
            self.played.targets.insert(Target::new(unit.target.as_str()));
            let looks = self.played.looks.entry(unit.symptom).or_default();
            looks.resize(step, Looked::Never);
            looks.push(looked);
            if self.keeps_reads {
                for evidence in unit.evidence {
                    // One of each kind of read is enough to know what is looked at.
                    let margins: Vec<&str> = evidence.margins.iter().map(|margin| margin.relation.as_str()).collect();
                    if self.known.insert(format!("{:?}{}{margins:?}", evidence.series, evidence.operation)) {
                        self.played.reads.push(evidence);
                    }
                }
            }
        }
    }
}

fn done() -> Outcome {
    Outcome::Done(Receipt { observed: "done".into(), ..Receipt::default() })
}

fn delivery(alert: &super::trace::AlertMove, at: Time) -> AlertDelivery {
    let labels = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("alertname", alert.name.as_str())]);
    let alert = Alert {
        // As the test files number them: one episode, whose end belongs to its beginning.
        fingerprint: format!("{}-{:?}", alert.name, alert.labels),
        status: alert.status,
        kind: AlertKind::Condition,
        name: alert.name.clone(),
        labels: Labels::new(labels),
        annotations: BTreeMap::new(),
        starts_at: START,
        ends_at: (alert.status == AlertStatus::Resolved).then_some(at),
        values: BTreeMap::new(),
    };
    AlertDelivery {
        source: AlertSource::Alertmanager,
        receiver: "test".into(),
        group_key: "test".into(),
        truncated: 0,
        alerts: vec![alert],
    }
}
