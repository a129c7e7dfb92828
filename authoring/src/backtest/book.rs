//! The book of a backtest: the kernel's records become firings, with what held them and what became of them.
//!
//! A *firing* is the time during which one policy wishes one thing for one symptom. The kernel makes several actions of a long one
//! (after a question that nobody answered, after a cooldown); they are one firing as long as one follows the other within two
//! evaluations. Deliberately absent: any look at values. An editor breaks this by ending a firing at an action's end: the wish may go on.

use homeostat_kernel::ledger::symptom_of;
use homeostat_model::{
    ActionId, ClaimSubject, Class, Closing, Evidence, Note, Origin, PolicyId, Proposal, Record, Ruling, Span, Time, Verdict,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Firings kept; more are counted.
const FIRINGS_MAX: usize = 20_000;
/// Holds kept of one firing.
const HOLDS_MAX: usize = 200;
/// Lines kept for the comparison with a recorded run.
const LINES_MAX: usize = 50_000;
/// Stretches kept of targets that could not be told.
const STRETCHES_MAX: usize = 5_000;

/// One time of wishing one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Firing {
    /// Who.
    pub policy: String,
    /// The symptom: as a rule the series.
    pub symptom: String,
    /// What.
    pub verb: String,
    /// To what.
    pub target: String,
    /// Its class, where the verb is known.
    pub class: Option<Class>,
    /// When it was first wished.
    pub from: Time,
    /// When it was wished no longer; `None`: still at the end.
    pub until: Option<Time>,
    /// The reason, as it was first given.
    pub because: String,
    /// The claim.
    pub claim: Option<String>,
    /// How often the question or hold began anew.
    pub actions: u64,
    /// What held it, in order.
    pub holds: Vec<Hold>,
    /// When it would have been sent.
    pub sent: Vec<Sent>,
    /// What it was read from, at its beginning.
    pub evidence: Vec<Evidence>,
}

/// One hold by one guard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hold {
    /// Which guard.
    pub guard: String,
    /// `deferred`, `awaiting_approval`, `shadowed`, `denied`.
    pub verdict: &'static str,
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// In the guard's words.
    pub text: String,
}

/// Where an answer came from.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The recorded run did the same then; its answer was taken.
    Recorded,
    /// Nobody did it: "done" was assumed. Counterfactual from here on.
    Assumed,
}

/// What became of a claim.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// It came true.
    CameTrue,
    /// It did not.
    DidNot,
    /// Nobody could see.
    Undetermined,
}

/// One would-be sending.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// When.
    pub at: Time,
    /// How it was answered.
    pub answer: Answer,
    /// What became of its claim; `None`: it has none, or was not yet due.
    pub claim: Option<Judged>,
}

/// A time during which a target could not be told, or its evaluation failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stretch {
    /// Which policy.
    pub policy: String,
    /// Which target.
    pub symptom: String,
    /// `undetermined` or `fault`.
    pub kind: &'static str,
    /// From when.
    pub from: Time,
    /// Until when; `None`: still at the end.
    pub until: Option<Time>,
    /// Why.
    pub why: String,
}

/// What makes a firing: policy, symptom, verb, target.
type Key = (String, String, String, String);

/// An action of the kernel's while it is open.
struct Open {
    firing: usize,
    /// The ruling that holds it now.
    held: Option<Hold>,
}

/// The book; see the module.
pub(super) struct Book {
    policies: BTreeSet<String>,
    from: Time,
    every: BTreeMap<String, Span>,
    pub(super) firings: Vec<Firing>,
    pub(super) refused: u64,
    pub(super) lines: Vec<String>,
    pub(super) stretches: Vec<Stretch>,
    latest: BTreeMap<Key, usize>,
    open: BTreeMap<ActionId, Open>,
    /// Where each action's sending stands.
    sent: BTreeMap<ActionId, (usize, usize)>,
    /// The firing behind each action, its steps included.
    of: BTreeMap<ActionId, usize>,
    seen: BTreeSet<ActionId>,
    /// Actions that claim nothing but their own delivery.
    deliveries: BTreeSet<ActionId>,
    /// Everything that would have been sent for the policies: verb and answer.
    pub(super) acts: Vec<(ActionId, String, String, Time)>,
}

impl Book {
    /// A book on these policies, from this moment on.
    pub(super) fn new(policies: &[PolicyId], from: Time, every: BTreeMap<String, Span>) -> Book {
        Book {
            policies: policies.iter().map(|id| id.as_str().to_owned()).collect(),
            from,
            every,
            firings: Vec::new(),
            refused: 0,
            lines: Vec::new(),
            stretches: Vec::new(),
            latest: BTreeMap::new(),
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            of: BTreeMap::new(),
            seen: BTreeSet::new(),
            deliveries: BTreeSet::new(),
            acts: Vec::new(),
        }
    }

    /// Writes down what the kernel said at `at`. `class` knows verbs.
    pub(super) fn take(&mut self, at: Time, record: &Record, class: impl Fn(&homeostat_model::Verb) -> Option<Class>) {
        match record {
            Record::Ruled { action, proposal, ruling, .. } => self.ruled(at, *action, proposal, ruling, class(&proposal.verb)),
            Record::Act { action, .. } => self.acted(at, action),
            Record::Closed { action, closing, why } => self.closed(at, *action, *closing, why),
            // An assumed answer delivers nothing: that claim says nothing about the history.
            Record::Judged { action, .. } if self.deliveries.contains(action) => {}
            Record::Judged { action, judgement } => {
                if let Some(sent) = self.sent_of(*action) {
                    sent.claim = Some(match judgement.held {
                        Some(true) => Judged::CameTrue,
                        Some(false) => Judged::DidNot,
                        None => Judged::Undetermined,
                    });
                }
            }
            Record::Noted(Note::Undetermined { policy, symptom, why }) => self.stretch(at, "undetermined", policy, symptom, why),
            Record::Noted(Note::EvaluationFault { policy, symptom, error }) => self.stretch(at, "fault", policy, symptom, error),
            _ => {}
        }
    }

    fn sent_of(&mut self, action: ActionId) -> Option<&mut Sent> {
        let (firing, number) = self.sent.get(&action)?;
        self.firings.get_mut(*firing)?.sent.get_mut(*number)
    }

    /// Says how an action was answered.
    pub(super) fn answered(&mut self, action: ActionId, answer: Answer) {
        if let Some(sent) = self.sent_of(action) {
            sent.answer = answer;
        }
    }

    fn ruled(&mut self, at: Time, action: ActionId, proposal: &Proposal, ruling: &Ruling, class: Option<Class>) {
        if let Origin::Playbook { run, .. } = &proposal.origin {
            // A step costs what it costs; the firing is the run's.
            if let Some(firing) = self.of.get(run).copied() {
                self.of.insert(action, firing);
            }
            return;
        }
        let (policy, symptom) = symptom_of(proposal);
        if !self.policies.contains(&policy) || at < self.from {
            return;
        }
        if self.seen.insert(action) && self.lines.len() < LINES_MAX {
            self.lines.push(super::line(at, proposal));
        }
        if proposal.claim.as_ref().is_some_and(|claim| claim.subject == ClaimSubject::Delivered) {
            self.deliveries.insert(action);
        }
        let key = (policy, symptom, proposal.verb.as_str().to_owned(), proposal.target.as_str().to_owned());
        self.end_hold(at, action);
        let firing = match self.of.get(&action) {
            Some(firing) => *firing,
            None => match self.begin(at, key, proposal, class) {
                Some(firing) => firing,
                None => return,
            },
        };
        self.of.insert(action, firing);
        let held = (ruling.verdict != Verdict::Admitted).then(|| {
            let by = ruling.decided_by();
            let guard = by.map_or_else(|| "unknown".to_owned(), |reason| reason.guard.clone());
            let text = by.map_or_else(String::new, |reason| reason.text.clone());
            Hold { guard, verdict: ruling.verdict.name(), from: at, until: at, text }
        });
        self.open.insert(action, Open { firing, held });
        self.firings[firing].until = None;
    }

    /// The firing that a new action belongs to: the last one of its kind, where it goes on, or a new one.
    fn begin(&mut self, at: Time, key: Key, proposal: &Proposal, class: Option<Class>) -> Option<usize> {
        let every = self.every.get(&key.0).copied().unwrap_or(Span::from_mins(1));
        if let Some(last) = self.latest.get(&key).copied() {
            let firing = &mut self.firings[last];
            if firing.until.is_none_or(|until| at.since(until) <= every.times(2.0)) {
                firing.actions += 1;
                return Some(last);
            }
        }
        if self.firings.len() >= FIRINGS_MAX {
            self.refused += 1;
            return None;
        }
        let (policy, symptom, verb, target) = key.clone();
        self.firings.push(Firing {
            policy,
            symptom,
            verb,
            target,
            class,
            from: at,
            until: None,
            because: proposal.because.clone(),
            claim: proposal.claim.as_ref().map(ToString::to_string),
            actions: 1,
            holds: Vec::new(),
            sent: Vec::new(),
            evidence: proposal.evidence.clone(),
        });
        self.latest.insert(key, self.firings.len() - 1);
        Some(self.firings.len() - 1)
    }

    fn end_hold(&mut self, at: Time, action: ActionId) {
        let Some(open) = self.open.get_mut(&action) else { return };
        if let Some(mut hold) = open.held.take() {
            hold.until = at;
            let holds = &mut self.firings[open.firing].holds;
            let room = holds.len() < HOLDS_MAX;
            match holds.last_mut() {
                Some(last) if last.guard == hold.guard && last.verdict == hold.verdict && last.until == hold.from => last.until = at,
                _ if room => holds.push(hold),
                _ => {}
            }
        }
    }

    fn acted(&mut self, at: Time, action: &homeostat_model::Action) {
        let Some(firing) = self.of.get(&action.id).copied() else { return };
        self.end_hold(at, action.id);
        self.acts.push((action.id, action.verb.as_str().to_owned(), action.target.as_str().to_owned(), at));
        if self.open.remove(&action.id).is_some() {
            let firing_now = &mut self.firings[firing];
            firing_now.sent.push(Sent { at, answer: Answer::Assumed, claim: None });
            let number = firing_now.sent.len() - 1;
            firing_now.until = (!self.open.values().any(|open| open.firing == firing)).then_some(at);
            self.sent.insert(action.id, (firing, number));
        }
    }

    fn closed(&mut self, at: Time, action: ActionId, closing: Closing, why: &str) {
        self.end_hold(at, action);
        let Some(open) = self.open.remove(&action) else { return };
        if self.open.values().any(|other| other.firing == open.firing) {
            // The same wish with other arguments goes on.
            return;
        }
        let firing = &mut self.firings[open.firing];
        firing.until = Some(at);
        if closing == Closing::Gone && why != "the policy wishes something else now" {
            // What comes after this is a new firing, however soon.
            let key = (firing.policy.clone(), firing.symptom.clone(), firing.verb.clone(), firing.target.clone());
            self.latest.remove(&key);
        }
    }

    fn stretch(&mut self, at: Time, kind: &'static str, policy: &PolicyId, symptom: &str, why: &str) {
        if !self.policies.contains(policy.as_str()) || at < self.from {
            return;
        }
        if why.is_empty() {
            let open = self.stretches.iter_mut().rev().find(|s| s.until.is_none() && s.kind == kind && s.symptom == symptom);
            if let Some(stretch) = open.filter(|stretch| stretch.policy == policy.as_str()) {
                stretch.until = Some(at);
            }
        } else if self.stretches.len() < STRETCHES_MAX {
            let (policy, symptom, why) = (policy.as_str().to_owned(), symptom.to_owned(), why.to_owned());
            self.stretches.push(Stretch { policy, symptom, kind, from: at, until: None, why });
        }
    }

    /// The history ends: what holds now held until then.
    pub(super) fn end(&mut self, at: Time) {
        let open: Vec<ActionId> = self.open.keys().copied().collect();
        open.into_iter().for_each(|action| self.end_hold(at, action));
    }
}
