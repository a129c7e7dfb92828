//! What reasoners are told about an occasion: made from windows, ledger, topology and rules, bounded, and the same for the same history.
//!
//! Times are told as spans before now, numbers with four digits, so that the same trouble tomorrow reads the same. Deliberately
//! absent: what verbs would send, credentials, whole labels. An editor breaks this by letting an alert's labels or annotations into the
//! facts: they go to [`Brief::told`], which is tainted.

use super::Kernel;
use crate::about::{of_alert, selectors_of};
use crate::ledger::ActionState;
use crate::reason::NAMING_LABELS;
use crate::reason::catalogue::{is_choosable, schema};
use crate::reason::words::{clean_label, one_line, template};
use crate::store::{Selector, SeriesRef};
use crate::topology::{Health, Topology};
use homeostat_model::{
    Alert, Brief, Choice, Claim, ClaimSubject, Class, Evidence, Occasion, PolicyId, ReadingValue, Span, Target, ToldText, VerbSpec,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The most that a reasoner may be allowed to propose.
pub(super) const CLASS_MAX: Class = Class::Reversible;
const READINGS_MAX: usize = 20;
const TARGETS_MAX: usize = 12;
const CHOICES_MAX: usize = 24;
const CLAIMS_MAX: usize = 6;
const ACTIONS_MAX: usize = 10;
const ALERTS_MAX: usize = 10;
const TOLD_MAX: usize = 12;
const TOLD_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 128;
const ARGS_MAX: usize = 8;
/// The facts' length, in bytes; with more, readings and past actions are halved until it fits.
const FACTS_BYTES_MAX: usize = 24 * 1024;
/// How far back past actions are told.
const ACTIONS_SINCE: Span = Span::from_hours(24);
/// What an alert's end may be claimed within.
const RESOLVED_WITHIN: [Span; 3] = [Span::from_mins(10), Span::from_mins(30), Span::from_hours(2)];

impl Kernel {
    /// Everything that reasoners are told about an occasion.
    pub(super) fn brief(&self, occasion: Occasion) -> Brief {
        let targets = self.brief_targets(&occasion.target);
        let choices = self.brief_choices(&targets);
        let claims = self.brief_claims(&occasion);
        let mut readings = self.brief_readings(&occasion);
        let mut actions = ACTIONS_MAX;
        let facts = loop {
            let facts = self.facts(&occasion, &targets, &choices, &claims, &readings, actions).to_string();
            if facts.len() <= FACTS_BYTES_MAX || (readings.is_empty() && actions == 0) {
                break facts;
            }
            readings.truncate(readings.len() / 2);
            actions /= 2;
        };
        let told = occasion.alert.as_deref().and_then(|fingerprint| self.ledger.alert(fingerprint)).map(|known| told_by(&known.alert));
        let schema = schema(&choices, claims.len(), readings.len());
        let readings = readings.into_iter().map(|(_, evidence)| evidence).collect();
        Brief { occasion, facts, told: told.unwrap_or_default(), targets, choices, claims, readings, schema }
    }

    /// The thing itself, then what it hangs on, then what hangs on it.
    fn brief_targets(&self, target: &Target) -> Vec<Target> {
        let (above, below) = self.with_topology(|topology| (topology.above(target), topology.below(target)));
        let mut seen = BTreeSet::new();
        let sound = |target: &Target| !target.as_str().chars().any(homeostat_model::is_unshown) && target.as_str().len() <= NAME_CHARS_MAX;
        let all = std::iter::once(target.clone()).chain(above).chain(below);
        all.filter(sound).filter(|target| seen.insert(target.clone())).take(TARGETS_MAX).collect()
    }

    fn with_topology<T>(&self, look: impl FnOnce(&Topology) -> T) -> T {
        self.host.with_store(|store| look(self.arbiter.world(store, self.now, self.stats.events).topology()))
    }

    fn brief_choices(&self, targets: &[Target]) -> Vec<Choice> {
        let mild = |spec: &&VerbSpec| spec.class > Class::Notify && spec.class <= CLASS_MAX;
        let tellable = |spec: &&VerbSpec| spec.args.iter().all(|arg| !arg.required || is_choosable(arg));
        let choice = |spec: &VerbSpec| {
            let fits = |target: &Target| {
                (spec.target_kinds.is_empty() || spec.target_kinds.iter().any(|kind| kind == target.kind()))
                    && spec.targets.as_ref().is_none_or(|known| known.contains(target))
            };
            let places: Vec<u32> = (0u32..).zip(targets).filter(|(_, target)| fits(target)).map(|(n, _)| n).collect();
            let args = spec.args.iter().filter(|arg| is_choosable(arg)).take(ARGS_MAX).cloned().collect();
            (!places.is_empty()).then(|| Choice {
                verb: spec.verb.clone(),
                class: spec.class,
                doc: one_line(&spec.doc, TOLD_CHARS_MAX).text,
                targets: places,
                args,
            })
        };
        let mut choices: Vec<Choice> = self.arbiter.specs().values().filter(mild).filter(tellable).filter_map(choice).collect();
        // What can be done to the thing itself comes first; the order of names decides the rest.
        choices.sort_by_key(|choice| choice.targets.first().copied());
        choices.truncate(CHOICES_MAX);
        choices
    }

    fn brief_claims(&self, occasion: &Occasion) -> Vec<Claim> {
        let firing = self.ledger.alerts().filter(|known| known.firing && of_alert(&known.alert) == occasion.target);
        let alerts: Vec<&str> = match &occasion.alert {
            Some(fingerprint) => vec![fingerprint],
            None => firing.map(|known| known.alert.fingerprint.as_str()).take(2).collect(),
        };
        let resolved = |fingerprint: &str, within: Span| Claim {
            subject: ClaimSubject::AlertResolved { fingerprint: fingerprint.to_owned() },
            within,
        };
        let mut claims: Vec<Claim> = self
            .ledger
            .actions()
            .rev()
            .filter(|state| !is_agents_wish(state))
            .filter(|state| state.proposal.target == occasion.target || state.proposal.symptom == occasion.symptom)
            .filter_map(|state| state.proposal.claim.clone())
            .filter(|claim| matches!(claim.subject, ClaimSubject::Series { .. }))
            .take(CLAIMS_MAX / 2)
            .collect();
        claims.extend(alerts.iter().flat_map(|alert| RESOLVED_WITHIN.map(|within| resolved(alert, within))));
        let mut distinct: Vec<Claim> = Vec::new();
        claims.into_iter().for_each(|claim| {
            if !distinct.contains(&claim) && distinct.len() < CLAIMS_MAX {
                distinct.push(claim);
            }
        });
        distinct
    }

    /// The series that are about a thing: first what policies read, then by name.
    fn brief_readings(&self, occasion: &Occasion) -> Vec<(SeriesRef, Evidence)> {
        let read: BTreeSet<SeriesRef> = self.units.iter().flat_map(|(_, unit)| unit.inputs.iter().copied()).collect();
        self.host.with_store(|store| {
            let mut about: Vec<(bool, homeostat_model::SeriesKey, SeriesRef)> = selectors_of(&occasion.target)
                .iter()
                .filter_map(|text| Selector::parse(text).ok())
                .flat_map(|selector| store.select(&selector))
                .filter_map(|series| Some((!read.contains(&series), store.key(series)?, series)))
                .collect();
            about.sort();
            about.dedup();
            let reading = |(_, key, series): (bool, homeostat_model::SeriesKey, SeriesRef)| {
                let last = store.last(series, self.now);
                let (value, sampled_at) = (last.value, last.sampled_at);
                (series, Evidence { operation: "last".into(), series: Some(key), value, sampled_at, margins: Vec::new() })
            };
            about.into_iter().take(READINGS_MAX).map(reading).collect()
        })
    }

    fn facts(
        &self,
        occasion: &Occasion,
        targets: &[Target],
        choices: &[Choice],
        claims: &[Claim],
        readings: &[(SeriesRef, Evidence)],
        actions: usize,
    ) -> Value {
        let numbered = |n: usize, mut value: Map<String, Value>| {
            value.insert("n".into(), json!(n));
            Value::Object(value)
        };
        let readings: Vec<Value> = readings.iter().enumerate().map(|(n, reading)| numbered(n, self.reading_fact(reading))).collect();
        let choices: Vec<Value> = choices.iter().enumerate().map(|(n, choice)| numbered(n, self.choice_fact(choice))).collect();
        let targets: Vec<Value> = self.with_topology(|topology| {
            let fact = |target: &Target| json!({ "name": name(target), "health": health(topology, target) });
            targets.iter().enumerate().map(|(n, target)| numbered(n, fact(target).as_object().cloned().unwrap_or_default())).collect()
        });
        let claims: Vec<Value> = claims.iter().enumerate().map(|(n, claim)| json!({ "n": n, "claim": claim_words(claim) })).collect();
        json!({
            "occasion": {
                "title": occasion.title, "target": name(&occasion.target), "lasting": self.now.since(occasion.since).to_string(),
            },
            "readings": readings,
            "targets": targets,
            "hangs_on": self.with_topology(|topology| names(topology.above(&occasion.target))),
            "hanging_on_it": self.with_topology(|topology| names(topology.below(&occasion.target))),
            "other_alerts": self.alert_facts(occasion),
            "past_actions": self.action_facts(occasion, actions),
            "natural_recovery": self.natural_fact(occasion),
            "choices": choices,
            "claims": claims,
        })
    }

    fn reading_fact(&self, (series, evidence): &(SeriesRef, Evidence)) -> Map<String, Value> {
        let hour = Span::from_hours(1);
        let mut fact = Map::new();
        fact.insert("series".into(), json!(evidence.series.as_ref().map_or_else(String::new, |key| structural(key).to_string())));
        fact.insert("value".into(), reading_value(&evidence.value));
        self.host.with_store(|store| {
            let window = store.window(*series, self.now, hour);
            for (name, read) in [("avg_1h", window.avg()), ("min_1h", window.min()), ("max_1h", window.max())] {
                if let Some(value) = read.value.value() {
                    fact.insert(name.into(), short(value));
                }
            }
            if let Some(slope) = window.slope().value.value() {
                fact.insert("change_per_hour".into(), short(slope * 3600.0));
            }
        });
        fact
    }

    fn choice_fact(&self, choice: &Choice) -> Map<String, Value> {
        let mut fact = Map::new();
        fact.insert("verb".into(), json!(choice.verb.as_str()));
        fact.insert("class".into(), json!(choice.class.name()));
        fact.insert("what".into(), json!(choice.doc));
        fact.insert("targets".into(), json!(choice.targets));
        if let Some(spec) = self.arbiter.verb(&choice.verb) {
            let cost = spec.cost;
            fact.insert("cost".into(), json!({ "interrupts": cost.disruption.to_string(), "joules": short(cost.energy_joules) }));
        }
        let of_verb = |(key, belief): (&homeostat_model::BeliefKey, &crate::score::belief::Belief)| {
            (key.verb == choice.verb).then(|| belief.weights(self.now))
        };
        let known: Vec<_> = self.ledger.trust().beliefs().filter_map(of_verb).collect();
        if !known.is_empty() {
            let sum = |of: fn(&crate::score::belief::Weights) -> f64| short(known.iter().map(of).sum());
            fact.insert(
                "experience".into(),
                json!({ "helped": sum(|w| w.helped), "harmed": sum(|w| w.harmed), "neither": sum(|w| w.neither) }),
            );
        }
        fact
    }

    fn alert_facts(&self, occasion: &Occasion) -> Vec<Value> {
        let others = self.ledger.alerts().filter(|known| known.firing && Some(&known.alert.fingerprint) != occasion.alert.as_ref());
        let fact = |known: &crate::ledger::KnownAlert| {
            json!({
                "alert": clean_label(&known.alert.name, NAME_CHARS_MAX),
                "target": name(&of_alert(&known.alert)),
                "lasting": self.now.since(known.since).to_string(),
            })
        };
        others.take(ALERTS_MAX).map(fact).collect()
    }

    fn action_facts(&self, occasion: &Occasion, max: usize) -> Vec<Value> {
        let near: BTreeSet<Target> = self.brief_targets(&occasion.target).into_iter().collect();
        let recent = self.ledger.actions().rev().filter(|state| self.now.since(state.moved_at) <= ACTIONS_SINCE);
        // Whoever may propose could write anything into a verb that nobody knows: what was never sent of an agent is no fact.
        let known = |state: &&ActionState| self.arbiter.verb(&state.proposal.verb).is_some() && !is_agents_wish(state);
        recent.filter(known).filter(|state| near.contains(&state.proposal.target)).take(max).map(|state| self.action_fact(state)).collect()
    }

    fn action_fact(&self, state: &ActionState) -> Value {
        let held = state.judgement.as_ref().and_then(|judgement| judgement.held);
        let decided = state.ruling.decided_by().map(|reason| reason.guard.clone());
        json!({
            "action": state.id.to_string(),
            "verb": state.proposal.verb.as_str(),
            "target": name(&state.proposal.target),
            "ago": self.now.since(state.moved_at).to_string(),
            "state": state.phase.name(),
            "held_by": decided,
            "claim_came_true": held,
            "found": state.score.as_ref().map(|score| score.finding.name()),
        })
    }

    /// How likely the symptom goes by itself, where episodes of it were watched.
    fn natural_fact(&self, occasion: &Occasion) -> Value {
        let Some((policy, _)) = occasion.symptom.split_once(": ") else { return Value::Null };
        let recovery = self.ledger.trust().recovery(&PolicyId::from(policy));
        if recovery.episodes().len() == 0 {
            return Value::Null;
        }
        let lasted = self.now.since(occasion.since);
        let odds = |within: Span| short(recovery.odds(lasted, within).odds);
        json!({ "within_10m": odds(Span::from_mins(10)), "within_1h": odds(Span::from_hours(1)), "episodes": recovery.episodes().len() })
    }
}

/// The texts of an alert that somebody outside wrote: annotations, and labels.
fn told_by(alert: &Alert) -> Vec<ToldText> {
    let annotations = alert.annotations.iter().map(|(name, text)| (format!("annotation {}", clean_label(name, 64)), text.as_str()));
    let labels = alert.labels.iter().map(|(name, text)| (format!("label {}", clean_label(name, 64)), text));
    let told = |(from, text): (String, &str)| ToldText { from, text: template(text, TOLD_CHARS_MAX).text, count: 1 };
    annotations.chain(labels).filter(|(_, text)| !text.is_empty()).take(TOLD_MAX).map(told).collect()
}

/// Whether it is an agent's proposal that no person has let through.
fn is_agents_wish(state: &ActionState) -> bool {
    let unasked = matches!(&state.proposal.origin, homeostat_model::Origin::Reasoner(suggested) if suggested.question.is_none());
    unasked && state.sent_at.is_none()
}

fn name(target: &Target) -> String {
    clean_label(target.as_str(), NAME_CHARS_MAX)
}

fn names(targets: BTreeSet<Target>) -> Vec<String> {
    targets.iter().take(TARGETS_MAX).map(name).collect()
}

fn health(topology: &Topology, target: &Target) -> &'static str {
    match topology.health(target) {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
        Health::Unknown => "unknown",
    }
}

/// A series as it is told: its metric, and the labels that name things. A label may hold any text of a workload; these hold names.
fn structural(key: &homeostat_model::SeriesKey) -> homeostat_model::SeriesKey {
    let labels = key.labels.iter().filter(|(label, _)| NAMING_LABELS.contains(label));
    let metric = clean_label(&key.metric, NAME_CHARS_MAX);
    homeostat_model::SeriesKey::new(metric, labels.map(|(label, value)| (label, clean_label(value, NAME_CHARS_MAX / 2))))
}

fn claim_words(claim: &Claim) -> String {
    let mut claim = claim.clone();
    match &mut claim.subject {
        ClaimSubject::Series { series, .. } => *series = structural(series),
        ClaimSubject::AlertResolved { fingerprint } => *fingerprint = clean_label(fingerprint, NAME_CHARS_MAX),
        ClaimSubject::Delivered => {}
    }
    claim.to_string()
}

fn reading_value(value: &ReadingValue) -> Value {
    match value {
        ReadingValue::Value(value) => short(*value),
        ReadingValue::NoData => json!("no data"),
        ReadingValue::Stale(age) => json!(format!("stale for {age}")),
        ReadingValue::Fault(_) => json!("not readable"),
    }
}

/// A number with four digits.
fn short(value: f64) -> Value {
    if !value.is_finite() {
        return json!(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        });
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if rounded == rounded.trunc() && rounded.abs() < 1e15 { json!(rounded as i64) } else { json!(rounded) }
}
