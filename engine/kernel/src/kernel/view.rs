//! What people may look at: counters, policies, units with their distance to firing, and the explanation of an action.
//!
//! Views are plain data, made on demand; nothing in the loop depends on them.

use super::Kernel;
use crate::ledger::{ActionState, Ledger, Spent};
use crate::policy::{Distance, ForEach};
use crate::units::{LastResult, Unit};
use homeostat_model::{ActionId, Evidence, Finding, Outcome, Reason, Time, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Targets of a policy that are explained at once: the loop stands still meanwhile.
const UNITS_SHOWN: usize = 1_000;

/// Runs of scripts that one question for distances may cost (each some ten to fifty microseconds).
const RUNS_MAX: u32 = 4_000;

/// Counters since the start. Names are those of the metrics, without `homeostat_`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Questions to reasoners.
    pub questions: u64,
    /// Of their answers, those that became a proposal.
    pub proposals_of_reasoners: u64,
    /// Tokens that answers used up.
    pub reasoner_tokens: u64,
    /// What answers cost, in euros.
    pub reasoner_euros: f64,
    /// Sensor reads taken in.
    pub observations: u64,
    /// Samples taken in.
    pub samples: u64,
    /// Samples dropped because they were too late.
    pub out_of_order: u64,
    /// Samples dropped because another value stood there.
    pub duplicates: u64,
    /// Times a policy was looked at for a target.
    pub evaluations: u64,
    /// Of these, those in which the reads alone showed that the script would end as quietly as before, and it was not run.
    pub evaluations_retraced: u64,
    /// Slots that cost nothing because nothing had changed.
    pub evaluations_unchanged: u64,
    /// Evaluations that ended undetermined.
    pub undetermined: u64,
    /// Evaluations that failed.
    pub evaluation_faults: u64,
    /// Slots skipped because they came too late.
    pub slots_missed: u64,
    /// Alerts that told something new.
    pub alerts: u64,
    /// Alerts that repeated what was known.
    pub alerts_repeated: u64,
    /// Rule sets refused.
    pub loads_refused: u64,
    /// Limits reached.
    pub limits_reached: u64,
    /// Actions sent, attempts counted each.
    pub acts: u64,
    /// Rulings by verdict.
    pub rulings: BTreeMap<&'static str, u64>,
    /// Outcomes by name.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Judged claims by result: `held`, `failed`, `undetermined`.
    pub claims: BTreeMap<&'static str, u64>,
    /// Scored actions by finding.
    pub scores: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub(super) fn ruled(&mut self, verdict: Verdict) {
        *self.rulings.entry(verdict.name()).or_default() += 1;
    }
    pub(super) fn settled(&mut self, outcome: &Outcome) {
        *self.outcomes.entry(outcome.name()).or_default() += 1;
    }
    pub(super) fn scored(&mut self, finding: Finding) {
        *self.scores.entry(finding.name()).or_default() += 1;
    }
    pub(super) fn judged(&mut self, held: Option<bool>) {
        let name = match held {
            Some(true) => "held",
            Some(false) => "failed",
            None => "undetermined",
        };
        *self.claims.entry(name).or_default() += 1;
    }
}

/// A loaded policy and how its targets stand.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyView {
    /// Its name.
    pub policy: String,
    /// What it is for.
    pub doc: String,
    /// Its digest.
    pub digest: String,
    /// What it runs for.
    pub runs_for: String,
    /// The longest time between evaluations, as text.
    pub every: String,
    /// The author's ceiling.
    pub autonomy: String,
    /// Targets.
    pub targets: usize,
    /// Of these, by the last result.
    pub results: BTreeMap<&'static str, usize>,
    /// The newest evaluation.
    pub evaluated_at: Option<Time>,
}

/// A policy on one target: why it fires, or how far it is from firing.
#[derive(Clone, Debug, Serialize)]
pub struct UnitView {
    /// The policy.
    pub policy: String,
    /// The symptom.
    pub symptom: String,
    /// The default target.
    pub target: String,
    /// `never`, `quiet`, `fired`, `undetermined`, `fault`.
    pub result: &'static str,
    /// Why it is undetermined, or the fault.
    pub why: String,
    /// When it was evaluated.
    pub evaluated_at: Option<Time>,
    /// When it is evaluated again at the latest.
    pub next_slot: Time,
    /// What it read, with margins.
    pub evidence: Vec<Evidence>,
    /// What it printed.
    pub prints: Vec<String>,
    /// Its open actions and what holds them.
    pub open: Vec<(ActionId, String, Vec<Reason>)>,
    /// How far it is from ending otherwise; only from [`Kernel::why_policy`], and only where it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
}

/// Everything that is known of one action.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The action's state.
    pub action: ActionState,
}

impl Explanation {
    /// From a ledger, which may be the kernel's or one folded from the journal.
    pub fn of(ledger: &Ledger, id: ActionId) -> Option<Explanation> {
        ledger.action(id).map(|state| Explanation { action: state.clone() })
    }

    /// As people read it. `time` writes a moment.
    pub fn text(&self, time: impl Fn(Time) -> String) -> String {
        let state = &self.action;
        let proposal = &state.proposal;
        let mut text = String::new();
        let mut line = |title: &str, body: String| {
            let _ = writeln!(text, "{title:<10} {body}");
        };
        line("action", format!("{}  {} on {}  [{}]", state.id, proposal.verb, proposal.target, state.phase.name()));
        line("because", proposal.because.clone());
        line("wished by", format!("{}, symptom {}", proposal.origin, proposal.symptom));
        for (name, arg) in &proposal.args {
            line("argument", format!("{name} = {arg}"));
        }
        line("plan", state.plan.clone());
        line("claim", proposal.claim.as_ref().map_or_else(|| "none".into(), ToString::to_string));
        for evidence in &proposal.evidence {
            line("evidence", evidence_line(evidence));
        }
        for reason in &state.ruling.reasons {
            line("guard", format!("{:<15} {:<8} {}", reason.guard, stance_name(reason), reason.text));
        }
        line("verdict", state.ruling.verdict.name().into());
        line(
            "outcome",
            match &state.outcome {
                None => "none".into(),
                Some(Outcome::Done(receipt)) => format!("done: {}", receipt.observed),
                Some(Outcome::NotDone(fault)) => format!("not done: {fault}"),
                Some(Outcome::Unknown(fault)) => format!("unknown: {fault}"),
            },
        );
        line(
            "judged",
            match &state.judgement {
                None => "not yet".into(),
                Some(judgement) => {
                    let word = match judgement.held {
                        Some(true) => "the claim held",
                        Some(false) => "the claim failed",
                        None => "undetermined",
                    };
                    format!("{word}: {}", judgement.text)
                }
            },
        );
        if let Some(score) = &state.score {
            line("score", score.text.clone());
            for effect in &score.side_effects {
                line("beside it", format!("{}: {} ({} to {})", effect.series, effect.finding, effect.low, effect.high));
            }
        }
        for (at, what) in &state.timeline {
            let _ = writeln!(text, "  {}  {what}", time(*at));
        }
        text
    }
}

/// One read as people see it.
pub fn evidence_line(evidence: &Evidence) -> String {
    let series = evidence.series.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
    let margins: Vec<String> = evidence
        .margins
        .iter()
        .map(|margin| {
            let word = if margin.holds() { "true by" } else { "false by" };
            format!("{} {word} {}", margin.relation, margin.distance.abs())
        })
        .collect();
    let margins = if margins.is_empty() { String::new() } else { format!("  ({})", margins.join("; ")) };
    format!("{}{series} = {}{margins}", evidence.operation, evidence.value)
}

fn stance_name(reason: &Reason) -> &'static str {
    use homeostat_model::Stance;
    match reason.stance {
        Stance::Pass => "pass",
        Stance::Hold { .. } => "hold",
        Stance::Ask { .. } => "ask",
        Stance::Shadow => "shadow",
        Stance::Deny => "deny",
    }
}

fn result_name(last: &LastResult) -> &'static str {
    match last {
        LastResult::Never => "never",
        LastResult::Quiet => "quiet",
        LastResult::Fired => "fired",
        LastResult::Undetermined(_) => "undetermined",
        LastResult::Fault(_) => "fault",
    }
}

impl Kernel {
    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Everything that is known of an action that is still in memory.
    #[must_use]
    pub fn explain(&self, id: ActionId) -> Option<Explanation> {
        Explanation::of(&self.ledger, id)
    }

    /// What the actions of the last 24 hours cost: minutes of interruption, joules, euros.
    pub fn spent_day(&self) -> Spent {
        self.arbiter.spent_day(&self.ledger, self.now)
    }

    /// The loaded policies.
    pub fn policies(&self) -> Vec<PolicyView> {
        self.policies
            .values()
            .map(|policy| {
                let units = self.units.of_policy(&policy.id);
                let mut results: BTreeMap<&'static str, usize> = BTreeMap::new();
                for unit in units.iter().filter_map(|(_, id)| self.units.get(*id)) {
                    *results.entry(result_name(unit.last())).or_default() += 1;
                }
                let each = match &policy.for_each {
                    ForEach::Series(_, text) if policy.has_evaluate => Some(text.clone()),
                    ForEach::Once if policy.has_evaluate => Some("once".into()),
                    _ => None,
                };
                let alerts = policy.on_alert.as_ref().map(|(_, text)| format!("alerts {text}"));
                PolicyView {
                    policy: policy.id.to_string(),
                    doc: policy.doc.clone(),
                    digest: policy.digest.clone(),
                    runs_for: each.into_iter().chain(alerts).collect::<Vec<_>>().join(", "),
                    every: policy.every.to_string(),
                    autonomy: policy.autonomy.name().into(),
                    targets: units.len(),
                    results,
                    evaluated_at: units.iter().filter_map(|(_, id)| self.units.get(*id)?.evaluated_at).max(),
                }
            })
            .collect()
    }

    /// The units of a policy whose symptom or target holds `wanted`; all of them for "".
    pub fn explain_policy(&self, policy: &str, wanted: &str) -> Vec<UnitView> {
        self.units_named(policy, wanted).into_iter().map(|unit| self.unit_view(unit)).collect()
    }

    fn units_named(&self, policy: &str, wanted: &str) -> Vec<&Unit> {
        let units = self.units.of_policy(&policy.into());
        let found = units.iter().filter_map(|(_, id)| self.units.get(*id));
        let named = |unit: &&Unit| unit.traits.symptom.contains(wanted) || unit.traits.target.as_str().contains(wanted);
        found.filter(named).take(UNITS_SHOWN).collect()
    }

    /// The same as [`Kernel::explain_policy`], with how far each target is from ending otherwise, by the windows of its last
    /// evaluation: what fires, then the nearest to it first, then those of which it cannot be told. Changes nothing.
    pub fn why_policy(&self, policy: &str, wanted: &str) -> Vec<UnitView> {
        let mut runs = RUNS_MAX;
        let mut view = |unit: &Unit| UnitView { distance: self.distance_of(unit, &mut runs), ..self.unit_view(unit) };
        let mut views: Vec<UnitView> = self.units_named(policy, wanted).into_iter().map(&mut view).collect();
        let rank = |view: &UnitView| match &view.distance {
            _ if view.result == "fired" => f64::NEG_INFINITY,
            Some(distance) => -distance.margin,
            None => f64::INFINITY,
        };
        views.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        views
    }

    fn distance_of(&self, unit: &Unit, runs: &mut u32) -> Option<Distance> {
        let fires = match unit.last() {
            LastResult::Fired => true,
            LastResult::Quiet | LastResult::Undetermined(_) => false,
            LastResult::Never | LastResult::Fault(_) => return None,
        };
        let distance = self.host.distance(self.policies.get(&unit.policy)?, &unit.subject, unit.evaluated_at?, runs)?;
        // What has changed since then is for the next evaluation.
        (distance.fires == fires).then_some(distance)
    }

    fn unit_view(&self, unit: &Unit) -> UnitView {
        let symptom = (unit.policy.as_str().to_owned(), unit.traits.symptom.clone());
        let open = self.open.get(&symptom).into_iter().flatten().filter_map(|id| self.ledger.action(*id));
        UnitView {
            policy: symptom.0.clone(),
            target: unit.traits.target.to_string(),
            result: result_name(unit.last()),
            why: match unit.last() {
                LastResult::Undetermined(why) | LastResult::Fault(why) => why.clone(),
                LastResult::Never | LastResult::Quiet | LastResult::Fired => String::new(),
            },
            evaluated_at: unit.evaluated_at,
            next_slot: unit.next_slot,
            evidence: self.host.evidence_of(&unit.trail),
            prints: unit.prints.clone(),
            open: open.map(|state| (state.id, state.phase.name().to_owned(), state.ruling.reasons.clone())).collect(),
            symptom: symptom.1.clone(),
            distance: None,
        }
    }

    /// From now on loaded policies tell which of their branches are taken. For those who run tests; never for a kernel that acts.
    pub fn record_branches(&mut self) {
        self.host.record_branches();
    }

    /// The branches of a policy in the order of its text; none where they are not recorded.
    pub fn branches(&self, policy: &str) -> Vec<crate::policy::Branch> {
        self.policies.get(&homeostat_model::PolicyId::from(policy)).map_or_else(Vec::new, |policy| self.host.branches(policy))
    }

    /// Policies whose targets look bad together.
    pub fn observer_faults(&self) -> Vec<String> {
        self.observer_faults.keys().cloned().collect()
    }

    /// Everything that has a name: what the topology holds, and what policies are evaluated for.
    pub fn things(&self) -> Vec<homeostat_model::Target> {
        let mut things: std::collections::BTreeSet<homeostat_model::Target> = self.host.with_store(|store| {
            let world = self.arbiter.world(store, self.now, self.stats.events);
            world.topology().targets().cloned().collect()
        });
        things.extend(self.units.iter().map(|(_, unit)| unit.traits.target.clone()));
        things.into_iter().collect()
    }

    /// All verbs that can be done, playbooks included.
    pub fn verb_specs(&self) -> impl Iterator<Item = &homeostat_model::VerbSpec> {
        self.arbiter.specs().values()
    }

    /// The drills that loaded policies name.
    pub fn drills(&self) -> Vec<(homeostat_model::PolicyId, crate::policy::Drill)> {
        self.policies.values().filter_map(|policy| Some((policy.id.clone(), policy.drill.clone()?))).collect()
    }

    /// How many policy targets there are.
    pub fn units_len(&self) -> usize {
        self.units.len()
    }
}
