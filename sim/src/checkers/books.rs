//! The checkers' own books: what was ruled, sent, answered and consented to, from the journal's lines alone.

use homeostat_model::{
    Action, ActionId, Args, Autonomy, Class, Command, Evidence, FaultCode, Origin, Outcome, Proposal, ReadingValue, Ruling, Span, Target,
    Time, Verb, Verdict,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A symptom: policy and subject.
pub(super) type Symptom = (String, String);

/// What was ruled last on an action.
#[derive(Clone, Debug)]
pub(super) struct Ruled {
    pub at: Time,
    pub symptom: Symptom,
    pub verb: Verb,
    pub target: Target,
    pub args: Args,
    pub verdict: Verdict,
    pub cooldown: Span,
    pub autonomy: Autonomy,
    pub plan: String,
    /// Who wants it.
    pub origin: Origin,
    has_claim: bool,
    evidence: Vec<Evidence>,
}

impl Ruled {
    /// What of its evidence is no ground to act on.
    pub fn evidence_problem(&self, at: Time, age_max: Span) -> Option<String> {
        self.evidence.iter().filter(|read| !read.margins.is_empty()).find_map(|read| {
            let old = read.sampled_at.is_some_and(|sampled| at.since(sampled) > age_max);
            match &read.value {
                ReadingValue::Value(_) if old => Some(format!("a reading that is older than {age_max}: {}", read.operation)),
                ReadingValue::Value(_) => None,
                _ => Some(format!("a comparison with a reading that has no value: {}", read.operation)),
            }
        })
    }
}

struct Open {
    /// The run that it is a step of.
    run: Option<ActionId>,
    class: Class,
    target: Target,
    sent: Time,
    timeout: Span,
}

/// See the module.
#[derive(Default)]
pub(super) struct Books {
    pub rulings: BTreeMap<ActionId, Ruled>,
    pub attempts: BTreeMap<ActionId, u32>,
    pub hands_off: bool,
    pub started_at: Option<Time>,
    pub jumped_at: Option<Time>,
    settles: BTreeMap<ActionId, Span>,
    consents: BTreeMap<ActionId, (Time, Option<String>)>,
    asked_until: BTreeMap<ActionId, Time>,
    by_person: BTreeSet<ActionId>,
    sent: VecDeque<(Time, Class)>,
    sent_to: BTreeMap<Target, VecDeque<(Time, Verb, ActionId)>>,
    sent_for: BTreeMap<Symptom, VecDeque<(Time, Verb, Class)>>,
    /// Until when a wish is quiet. What surely did not happen is tried again after a tenth of the cooldown, at least a minute.
    quiet_until: BTreeMap<(Symptom, Verb), Time>,
    open: BTreeMap<ActionId, Open>,
    done: BTreeMap<(Target, String), (Time, Span, ActionId)>,
    seen_done: BTreeMap<(Target, String), Time>,
    settling: BTreeMap<Target, (ActionId, Symptom, Time)>,
    judged: BTreeSet<ActionId>,
}

impl Books {
    pub fn ordered(&mut self, at: Time, command: &Command) {
        match command {
            Command::Pause { .. } => self.hands_off = true,
            Command::Resume => self.hands_off = false,
            Command::Approve { action, plan } => {
                // The first answer counts; a second one finds nothing to answer.
                self.consents.entry(*action).or_insert((at, plan.clone()));
            }
            Command::Unlock { policy, symptom } => {
                self.sent_for.retain(|known, _| !(known.0 == *policy && (symptom.is_empty() || known.1 == *symptom)));
            }
            Command::Deny { action } | Command::Never { action } => {
                self.consents.remove(action);
            }
            Command::Wish { .. } | Command::Release { .. } | Command::Drill { .. } => {}
            Command::Propose { .. } | Command::Consult { .. } => {}
        }
    }

    pub fn ruled(&mut self, at: Time, action: ActionId, proposal: &Proposal, ruling: &Ruling, plan: &str) {
        if let Verdict::AwaitingApproval { by } = ruling.verdict {
            self.asked_until.insert(action, by);
        }
        if matches!(proposal.origin, Origin::Operator(_)) {
            self.by_person.insert(action);
        }
        let policy = proposal.origin.policy().map(|policy| policy.as_str().to_owned()).unwrap_or_default();
        self.settles.insert(action, proposal.settle.unwrap_or(Span::ZERO));
        let ruled = Ruled {
            at,
            symptom: (policy, proposal.symptom.clone()),
            verb: proposal.verb.clone(),
            target: proposal.target.clone(),
            args: proposal.args.clone(),
            verdict: ruling.verdict,
            cooldown: proposal.cooldown,
            autonomy: proposal.autonomy,
            plan: plan.to_owned(),
            origin: proposal.origin.clone(),
            has_claim: proposal.claim.is_some(),
            evidence: proposal.evidence.clone(),
        };
        self.rulings.insert(action, ruled);
    }

    /// Uses up a person's yes to this plan.
    pub fn use_consent(&mut self, at: Time, action: ActionId, plan: &str) -> bool {
        let Some((given, named)) = self.consents.get(&action).cloned() else { return false };
        let in_time = self.asked_until.get(&action).is_some_and(|until| given <= *until && given <= at);
        let same_plan = named.is_none_or(|named| named == plan);
        in_time && same_plan && self.by_person.insert(action)
    }

    /// Whether a person wants it: by order, by a yes, or as a step of a run that a person wants.
    pub fn has_person(&self, action: ActionId) -> bool {
        let run = || self.rulings.get(&action).and_then(|ruled| ruled.origin.run());
        self.by_person.contains(&action) || run().is_some_and(|run| self.by_person.contains(&run))
    }

    /// Whether two actions belong to one run, as steps or as the run itself.
    pub fn is_own(&self, action: ActionId, other: ActionId) -> bool {
        let run = self.rulings.get(&action).and_then(|ruled| ruled.origin.run());
        let of_other = self.rulings.get(&other).and_then(|ruled| ruled.origin.run());
        run.is_some_and(|run| run == other || of_other == Some(run))
    }

    pub fn policy_of(&self, action: ActionId) -> String {
        self.rulings.get(&action).map(|ruled| ruled.symptom.0.clone()).unwrap_or_default()
    }

    pub fn sent(&mut self, at: Time, action: &Action, attempt: u32) {
        self.attempts.insert(action.id, attempt);
        let Some(ruled) = self.rulings.get(&action.id) else { return };
        let symptom = ruled.symptom.clone();
        self.open.insert(
            action.id,
            Open { run: ruled.origin.run(), class: action.class, target: action.target.clone(), sent: at, timeout: action.timeout },
        );
        if attempt > 1 {
            return;
        }
        self.sent.push_back((at, action.class));
        while self.sent.front().is_some_and(|(old, _)| at.since(*old) > Span::from_hours(2)) {
            self.sent.pop_front();
        }
        let to = self.sent_to.entry(action.target.clone()).or_default();
        to.push_back((at, action.verb.clone(), action.id));
        while to.front().is_some_and(|(old, ..)| at.since(*old) > Span::from_hours(2)) {
            to.pop_front();
        }
        self.quiet_until.insert((symptom.clone(), action.verb.clone()), at + ruled.cooldown);
        let of = self.sent_for.entry(symptom.clone()).or_default();
        of.push_back((at, action.verb.clone(), action.class));
        while of.front().is_some_and(|(old, ..)| at.since(*old) > Span::from_hours(24 * 8)) {
            of.pop_front();
        }
        let settle = self.settles.get(&action.id).copied().unwrap_or(Span::ZERO);
        // Whatever became of it: from the moment of sending on it may have been done.
        self.done.insert((action.target.clone(), action.verb.to_string()), (at, settle, action.id));
        if action.class >= Class::Restore {
            self.settling.insert(action.target.clone(), (action.id, symptom, at + settle));
        }
    }

    pub fn settled(&mut self, at: Time, action: ActionId, outcome: &Outcome) {
        match outcome {
            Outcome::Unknown(_) => {}
            Outcome::NotDone(fault) => {
                self.open.remove(&action);
                if let Some(ruled) = self.rulings.get(&action) {
                    let again = ruled.cooldown.times(0.1).max(Span::from_mins(1)).min(ruled.cooldown.max(Span::from_mins(1)));
                    let never = fault.code == FaultCode::NeverStarted;
                    let again = if never { Span::ZERO } else { again };
                    if never && let Some(sent) = self.sent_for.get_mut(&ruled.symptom) {
                        sent.pop_back();
                    }
                    self.quiet_until.insert((ruled.symptom.clone(), ruled.verb.clone()), at + again);
                }
                self.settling.retain(|_, (id, ..)| *id != action);
            }
            Outcome::Done(_) => {
                let open = self.open.remove(&action);
                if let Some((open, ruled)) = open.zip(self.rulings.get(&action)) {
                    self.seen_done.insert((ruled.target.clone(), ruled.verb.to_string()), open.sent);
                }
            }
        }
    }

    pub fn closed(&mut self, action: ActionId) {
        self.open.remove(&action);
    }

    /// Whether this is the first judgement.
    pub fn judge(&mut self, action: ActionId) -> bool {
        self.judged.insert(action)
    }

    pub fn quiet_until(&self, symptom: &Symptom, verb: &Verb) -> Option<Time> {
        self.quiet_until.get(&(symptom.clone(), verb.clone())).copied()
    }

    /// Whether a symptom has had so many attempts within one window, since a person unlocked it or the opposite was done.
    pub fn is_locked(&self, symptom: &Symptom, since: Option<Time>, most: usize, window: Span) -> bool {
        let attempts = self.sent_for.get(symptom).into_iter().flatten();
        let times: Vec<Time> = attempts
            .filter(|(then, _, class)| *class >= Class::Restore && since.is_none_or(|since| *then > since))
            .map(|(then, ..)| *then)
            .collect();
        // Nothing is sent while it is locked, so the newest attempts are those that locked it.
        times.windows(most.max(1)).next_back().is_some_and(|run| run[run.len() - 1].since(run[0]) < window)
    }

    /// What else runs on the target of an action; what belongs to its own run does not count.
    pub fn running_on(&self, action: &Action) -> Option<ActionId> {
        let here = |open: &Open| open.target == action.target && open.class >= Class::Restore;
        self.open.iter().find(|(id, open)| here(open) && !self.is_own(action.id, **id)).map(|(id, _)| *id)
    }

    /// How many actions of its class run beside it. A run counts as one, whatever its steps do; they count among each other.
    pub fn running_beside(&self, action: &Action) -> usize {
        let run = self.rulings.get(&action.id).and_then(|ruled| ruled.origin.run());
        let counts = |id: &ActionId, open: &Open| open.class == action.class && (open.run.is_none() || open.run == run) && Some(*id) != run;
        self.open.iter().filter(|(id, open)| counts(id, open)).count()
    }

    /// Whether anything of a class runs.
    pub fn is_running(&self, class: Class) -> bool {
        self.open.values().any(|open| open.class == class)
    }

    /// The forward steps of a run that were sent and whose end nobody knows yet.
    pub fn in_flight(&self, run: ActionId) -> Vec<ActionId> {
        let forward = |id: &ActionId| matches!(self.rulings.get(id).map(|ruled| &ruled.origin), Some(Origin::Playbook { undo: false, .. }));
        self.open.iter().filter(|(id, open)| open.run == Some(run) && forward(id)).map(|(id, _)| *id).collect()
    }

    pub fn sent_within(&self, class: Class, at: Time, window: Span) -> usize {
        self.sent.iter().filter(|(then, sent)| *sent == class && at.since(*then) < window).count()
    }

    /// On how many other targets an action's policy did the same within a window: a second try on the same one is none.
    pub fn others_within(&self, action: &Action, at: Time, window: Span) -> usize {
        let Some(own) = self.rulings.get(&action.id).map(|ruled| &ruled.symptom) else { return 0 };
        let of = |(symptom, sent): (&Symptom, &VecDeque<(Time, Verb, Class)>)| {
            let other = symptom.0 == own.0 && symptom != own;
            other && sent.iter().any(|(then, by, _)| *by == action.verb && at.since(*then) < window)
        };
        self.sent_for.iter().filter(|entry| of(*entry)).count()
    }

    pub fn has_claim(&self, action: ActionId) -> bool {
        self.rulings.get(&action).is_some_and(|ruled| ruled.has_claim)
    }

    /// How often a verb or its opposite was sent to a target within an hour, an action's own run aside.
    pub fn swings(&self, action: &Action, pair: [&str; 2], at: Time) -> usize {
        let sent = self.sent_to.get(&action.target).into_iter().flatten().filter(|(.., id)| !self.is_own(action.id, *id));
        sent.filter(|(then, verb, _)| at.since(*then) < Span::from_hours(1) && pair.contains(&verb.as_str())).count()
    }

    /// When a verb was last sent to an action's target, and its settling time; not where its own run did that.
    pub fn sent_at(&self, action: &Action, verb: &str) -> Option<(Time, Span)> {
        let (at, settle, by) = self.done.get(&(action.target.clone(), verb.to_owned())).copied()?;
        (!self.is_own(action.id, by)).then_some((at, settle))
    }

    /// When a verb was last sent to a target and seen to be done.
    pub fn undone(&self, target: &Target, verb: &str) -> Option<Time> {
        self.seen_done.get(&(target.clone(), verb.to_owned())).copied()
    }

    pub fn settling(&self, action: &Action, symptom: &Symptom) -> Option<(ActionId, Time)> {
        self.settling
            .get(&action.target)
            .filter(|(id, of, _)| of != symptom && !self.is_own(action.id, *id))
            .map(|(id, _, until)| (*id, *until))
    }

    pub fn still_running(&self) -> Vec<(ActionId, Time, Span)> {
        self.open.iter().map(|(id, open)| (*id, open.sent, open.timeout)).collect()
    }
}
