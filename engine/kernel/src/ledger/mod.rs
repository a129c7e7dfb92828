//! What must survive a restart: hands-off, actions, cooldowns, attempts, settling, budgets, alerts.
//!
//! The ledger changes only through [`Ledger::apply_event`] and [`Ledger::apply_record`], live and when the journal is read back
//! alike, so a restart cannot know less than the running daemon did. Absent: decisions; they are made elsewhere and arrive as records.
//! An editor breaks this by changing a field from outside these two functions.

mod alerts;
mod phase;
mod questions;
mod runs;
mod spent;
mod trust;

pub use alerts::KnownAlert;
pub use phase::Phase;
pub use questions::{OPEN_MAX as QUESTIONS_OPEN_MAX, Questions};
pub use runs::{Reverting, Run, StepPhase};
pub use spent::{Spent, cost_of, spending_of};
pub use trust::{
    DrillState, GONE, OpenEpisode, SCORES_MAX, ScoredLine, TRIPS_WITHIN, Trust, drill_shown, is_locked, keys_of, score_evidence,
};

use crate::score::books::Books;
use alerts::Alerts;
use homeostat_model::{
    Action, ActionId, Class, Closing, Command, Event, FaultCode, Judgement, Outcome, Proposal, Record, Ruling, Score, Span, Target, Time,
    Verb,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Finished actions kept in memory; older ones are in the journal only.
pub const ACTIONS_MAX: usize = 1_000;
/// Records between two searches for what may be forgotten, where the last one did not find enough.
const SHED_EVERY: u32 = 100;
/// Symptoms whose attempts and cooldowns are remembered.
const SYMPTOMS_MAX: usize = 20_000;
/// Attempts remembered per symptom.
const TIMES_MAX: usize = 1_000;
/// Sendings of one class that are remembered for its budget; no budget is larger.
pub const SENT_MAX: usize = 100_000;
/// How far back budgets look.
const BUDGET_SPAN: Span = Span::from_hours(1);
/// Lines of one action's timeline.
const TIMELINE_MAX: usize = 64;
/// How often one action may be sent; later attempts only follow the actuator's word that nothing was ever started.
pub const ATTEMPTS_MAX: u32 = 3;
/// A failed attempt cools down for this share of the policy's cooldown …
const FAILED_COOLDOWN_SHARE: f64 = 0.1;
/// … and at least for this long.
const FAILED_COOLDOWN_MIN: Span = Span::from_mins(1);

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandsOff {
    /// Since when.
    pub since: Time,
    /// Who ordered it; `engine` where the driver lost trust.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An action from its first ruling to its judgement.
#[derive(Clone, Debug, Serialize)]
pub struct ActionState {
    /// Its number.
    pub id: ActionId,
    /// The wish.
    pub proposal: Proposal,
    /// The newest ruling.
    pub ruling: Ruling,
    /// The plan's hash.
    pub plan: String,
    /// Where it stands.
    pub phase: Phase,
    /// When it was first ruled on.
    pub ruled_at: Time,
    /// What was sent, the newest attempt.
    pub action: Option<Action>,
    /// When it was sent.
    pub sent_at: Option<Time>,
    /// How often it was sent.
    pub attempts: u32,
    /// How often it was probed since it was last sent.
    pub probes: u32,
    /// The last thing that happened to it.
    pub moved_at: Time,
    /// What the actuator knows.
    pub outcome: Option<Outcome>,
    /// How its claim turned out.
    pub judgement: Option<Judgement>,
    /// What it really did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Box<Score>>,
    /// What happened, in order.
    pub timeline: VecDeque<(Time, String)>,
    /// What became of taking it back, if that was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverting: Option<Reverting>,
    /// When its symptom began, as it was known when it was sent.
    #[serde(skip)]
    pub symptom_since: Option<Time>,
    /// Whether what it cost is in the books.
    #[serde(skip)]
    pub booked: bool,
    /// When its verb was done on its target before; given back where nothing was ever started.
    #[serde(skip)]
    done_before: Option<(Time, Span)>,
}

impl ActionState {
    /// When its claim is due; `None` if it was not sent or claims nothing.
    pub fn claim_due(&self) -> Option<Time> {
        Some(self.sent_at? + self.proposal.claim.as_ref()?.within)
    }

    /// Whether it is still to be judged or scored.
    pub fn awaits_score(&self) -> bool {
        match self.proposal.claim.as_ref().map(|claim| &claim.subject) {
            None => false,
            Some(homeostat_model::ClaimSubject::Delivered) => self.judgement.is_none(),
            Some(_) => self.judgement.is_none() || self.score.is_none(),
        }
    }

    fn move_to(&mut self, phase: Phase, running: &mut BTreeSet<ActionId>) {
        self.phase = phase;
        if phase.is_running() {
            running.insert(self.id)
        } else {
            running.remove(&self.id)
        };
    }

    fn say(&mut self, at: Time, text: String) {
        if self.timeline.len() == TIMELINE_MAX {
            self.timeline.remove(1);
        }
        self.timeline.push_back((at, text));
        self.moved_at = at;
    }
}

/// A policy and its target: what attempts are counted under.
pub type Symptom = (String, String);

/// What people's own wishes are counted under, in place of a policy.
pub const OPERATOR: &str = "operator";

/// What reasoners' and agents' wishes are counted under.
pub const REASONER: &str = "reasoner";

/// What repeats of one wish are counted under, whatever their label: the policy and its target.
pub fn symptom_of(proposal: &Proposal) -> Symptom {
    let other = match &proposal.origin {
        homeostat_model::Origin::Reasoner(_) => REASONER,
        origin if origin.run().is_some() => homeostat_model::playbook::PLAYBOOK,
        _ => OPERATOR,
    };
    let policy = proposal.origin.policy().map_or_else(|| other.to_owned(), |policy| policy.as_str().to_owned());
    (policy, proposal.symptom.clone())
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    generation: u64,
    started_at: Option<Time>,
    clock_jumped_at: Option<Time>,
    hands_off: Option<HandsOff>,
    next_action: u64,
    actions: BTreeMap<ActionId, ActionState>,
    cooldowns: BTreeMap<(String, String, Verb), (Time, String)>,
    attempts: BTreeMap<Symptom, VecDeque<Time>>,
    settling: BTreeMap<Target, (Time, Verb)>,
    done: BTreeMap<(Target, Verb), (Time, Span)>,
    sent: BTreeMap<Class, VecDeque<Time>>,
    alerts: Alerts,
    runs: BTreeMap<ActionId, Run>,
    /// What is under way, so that guards need not walk all actions.
    running: BTreeSet<ActionId>,
    illegal_moves: u64,
    trust: Trust,
    books: Books,
    questions: Questions,
    /// Records until it is looked again for what may be forgotten.
    shed_in: u32,
}

impl Ledger {
    /// The start's number; the fencing generation of leases.
    pub fn generation(&self) -> u64 {
        self.generation
    }
    /// When the daemon started.
    pub fn started_at(&self) -> Option<Time> {
        self.started_at
    }
    /// When the clock last jumped.
    pub fn clock_jumped_at(&self) -> Option<Time> {
        self.clock_jumped_at
    }
    /// Why nothing is sent, if so.
    pub fn hands_off(&self) -> Option<&HandsOff> {
        self.hands_off.as_ref()
    }
    /// The number of the next new action.
    pub fn next_action(&self) -> ActionId {
        ActionId(self.next_action.max(1))
    }
    /// All actions in memory, oldest first.
    pub fn actions(&self) -> impl DoubleEndedIterator<Item = &ActionState> {
        self.actions.values()
    }
    /// One action.
    pub fn action(&self, id: ActionId) -> Option<&ActionState> {
        self.actions.get(&id)
    }
    /// The end of a wish's cooldown, and why it cools down.
    pub fn cooldown(&self, symptom: &Symptom, verb: &Verb) -> Option<(Time, &str)> {
        self.cooldowns.get(&(symptom.0.clone(), symptom.1.clone(), verb.clone())).map(|(until, why)| (*until, why.as_str()))
    }
    /// When a symptom was acted on, oldest first, since a person last unlocked it.
    pub fn attempts(&self, symptom: &Symptom) -> impl DoubleEndedIterator<Item = Time> + '_ {
        self.attempts.get(symptom).into_iter().flatten().copied()
    }
    /// Until when a target is settling, and after what.
    pub fn settling(&self, target: &Target) -> Option<(Time, &Verb)> {
        self.settling.get(target).map(|(until, verb)| (*until, verb))
    }
    /// When a verb was last sent to a target, with its settling time.
    pub fn last_done(&self, target: &Target, verb: &Verb) -> Option<(Time, Span)> {
        self.done.get(&(target.clone(), verb.clone())).copied()
    }
    /// When anything was last sent to a target, notifications aside.
    pub fn last_touched(&self, target: &Target) -> Option<Time> {
        let of_target = self.done.range((target.clone(), Verb::from(""))..).take_while(|((other, _), _)| other == target);
        of_target.map(|(_, (at, _))| *at).max()
    }
    /// Everything that was sent and stands, each with when: target, verb, moment.
    pub fn all_done(&self) -> impl Iterator<Item = (&Target, &Verb, Time)> {
        self.done.iter().map(|((target, verb), (at, _))| (target, verb, *at))
    }
    /// What is under way on a target, notifications aside.
    pub fn running_on(&self, target: &Target) -> Option<(ActionId, &Verb)> {
        self.running_on_beside(target, None)
    }
    /// Everything that is under way, oldest first.
    pub fn all_running(&self) -> impl Iterator<Item = &ActionState> {
        self.running.iter().filter_map(|id| self.actions.get(id))
    }
    /// How many actions of a class are under way.
    pub fn running(&self, class: Class) -> u32 {
        self.all_running().filter(|s| s.action.as_ref().is_some_and(|a| a.class == class)).count() as u32
    }
    /// How many actions of a class were sent since `since`, and when the oldest of them was.
    pub fn sent_since(&self, class: Class, since: Time) -> (u32, Option<Time>) {
        let Some(times) = self.sent.get(&class) else { return (0, None) };
        // In order of time, so that a busy hour costs a few steps.
        let first = times.partition_point(|at| *at <= since);
        ((times.len() - first) as u32, times.get(first).copied())
    }
    /// A known alert.
    pub fn alert(&self, fingerprint: &str) -> Option<&KnownAlert> {
        self.alerts.get(fingerprint)
    }
    /// All known alerts, by fingerprint.
    pub fn alerts(&self) -> impl Iterator<Item = &KnownAlert> {
        self.alerts.iter()
    }
    /// Whether an alert tells something new: another start or another status than is known.
    pub fn is_news(&self, alert: &homeostat_model::Alert) -> bool {
        self.alerts.is_news(alert)
    }
    /// Alerts that were refused because too many are known.
    pub fn alerts_refused(&self) -> u64 {
        self.alerts.refused
    }
    /// What was spent, by policy and month.
    pub fn books(&self) -> &Books {
        &self.books
    }
    /// Questions to reasoners.
    pub fn questions(&self) -> &Questions {
        &self.questions
    }
    /// What was learned of what actions do, and what policies have earned by it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
    /// Records and events that did not fit the state; never more than zero in a sound journal.
    pub fn illegal_moves(&self) -> u64 {
        self.illegal_moves
    }

    /// Takes in what happened.
    pub fn apply_event(&mut self, at: Time, event: &Event) {
        match event {
            Event::Started { generation, .. } => {
                self.generation = *generation;
                self.started_at = Some(at);
                self.trust.interrupted();
            }
            Event::ClockJumped { .. } => {
                self.clock_jumped_at = Some(at);
                self.trust.interrupted();
            }
            Event::Distrusted { reason } => self.set_hands_off(at, "engine", reason),
            Event::Ordered(ordered) => match &ordered.command {
                Command::Pause { reason } => self.set_hands_off(at, &ordered.by, reason),
                Command::Resume => {
                    if let Some(off) = self.hands_off.take() {
                        self.hands_were_off(off.since, at);
                    }
                }
                Command::Unlock { policy, symptom } => {
                    let named = |p: &String, s: &String| p == policy && (symptom.is_empty() || s == symptom);
                    self.attempts.retain(|(p, s), _| !named(p, s));
                    // What a person had refused for good may be wished again.
                    self.cooldowns.retain(|(p, s, _), (until, _)| *until < Time::MAX || !named(p, s));
                    self.trust.unlocked(policy, symptom);
                }
                Command::Release { run } => self.release(*run),
                Command::Approve { .. } | Command::Deny { .. } | Command::Never { .. } | Command::Wish { .. } | Command::Drill { .. } => {}
                Command::Propose { .. } | Command::Consult { .. } => {}
            },
            Event::Alerted(delivery) => self.alerts.take(at, delivery),
            Event::Advised(advice) => self.questions.end(advice.question),
            Event::Settled(id, outcome) => self.settle(at, *id, outcome),
            Event::Reverted(id, outcome) => self.reverted(at, *id, outcome),
            Event::Loaded(rules) => {
                self.trust.loading(rules);
                self.books.set_utc_offset_minutes(rules.arbiter.tariff.utc_offset_minutes);
            }
            Event::Tick | Event::Observed(_) => {}
        }
    }

    fn set_hands_off(&mut self, at: Time, by: &str, reason: &str) {
        // The first reason stays: a second one must not hide why it began.
        self.hands_off.get_or_insert_with(|| HandsOff { since: at, by: by.into(), reason: reason.into() });
    }

    fn settle(&mut self, at: Time, id: ActionId, outcome: &Outcome) {
        let Some(state) = self.actions.get_mut(&id) else {
            self.illegal_moves += 1;
            return;
        };
        match state.phase.settled(outcome) {
            Ok(phase) => state.move_to(phase, &mut self.running),
            Err(_) => {
                self.illegal_moves += 1;
                return;
            }
        }
        state.outcome = Some(outcome.clone());
        let said = match outcome {
            Outcome::Done(receipt) => format!("done: {}", receipt.observed),
            Outcome::NotDone(fault) => format!("not done: {fault}"),
            Outcome::Unknown(fault) => format!("unknown: {fault}"),
        };
        state.say(at, said);
        let symptom = symptom_of(&state.proposal);
        let key = (symptom.0, symptom.1, state.proposal.verb.clone());
        let target = state.proposal.target.clone();
        let settle = state.proposal.settle.unwrap_or_default();
        let cooldown = state.proposal.cooldown;
        match outcome {
            Outcome::Done(_) if settle > Span::ZERO => {
                self.settling.insert(target, (at + settle, key.2));
            }
            Outcome::NotDone(fault) if fault.code == FaultCode::NeverStarted && state.attempts < ATTEMPTS_MAX => {
                // Nothing left the machine: it neither cools down, nor settles, nor counts. What never starts however often it is
                // tried is a failure like any other, or it would be tried for ever.
                self.cooldowns.retain(|other, (until, _)| *other != key || *until == Time::MAX);
                self.unsend(id);
            }
            Outcome::NotDone(_) => {
                let wait = cooldown.times(FAILED_COOLDOWN_SHARE).max(FAILED_COOLDOWN_MIN).min(cooldown.max(FAILED_COOLDOWN_MIN));
                self.cool_down(key, (at + wait, format!("{id} failed; next attempt after {wait}")));
            }
            Outcome::Done(_) | Outcome::Unknown(_) => {}
        }
    }

    /// Takes in what was decided.
    pub fn apply_record(&mut self, at: Time, record: &Record) {
        if let Record::Settled { action, outcome } = record {
            self.settle(at, *action, outcome);
            return;
        }
        match record {
            Record::Asked { question, brief } => return self.questions.ask(at, *question, brief),
            Record::Noted(homeostat_model::Note::NoProposal { question, .. }) => return self.questions.end(*question),
            _ => {}
        }
        let Some(id) = record.action() else { return self.trust.take(at, record) };
        let from = self.actions.get(&id).map(|state| state.phase);
        let phase = match Phase::after(from, record) {
            Ok(phase) => phase,
            Err(_) if matches!(record, Record::Announce(_)) => return,
            Err(_) => {
                self.illegal_moves += 1;
                return;
            }
        };
        if let Record::Ruled { proposal, ruling, plan, .. } = record {
            self.rule(at, id, proposal, ruling, plan);
            self.joined_run(id, proposal);
        }
        let Some(state) = self.actions.get_mut(&id) else { return };
        state.move_to(phase, &mut self.running);
        match record {
            Record::Act { action, attempt } => {
                state.action = Some(action.clone());
                state.sent_at = Some(at);
                state.symptom_since = self.trust.episode(&symptom_of(&state.proposal)).map(|episode| episode.since);
                state.attempts = *attempt;
                state.probes = 0;
                state.say(at, format!("sent, attempt {attempt}"));
                let (proposal, class) = (state.proposal.clone(), action.class);
                self.sent(at, id, &proposal, class);
            }
            Record::Probe { .. } => {
                state.probes += 1;
                state.say(at, "asked what became of it".into());
            }
            Record::Closed { closing, why, .. } => {
                state.say(at, format!("closed: {why}"));
                let (proposal, refused) = (state.proposal.clone(), matches!(closing, Closing::Refused | Closing::Never | Closing::Expired));
                let never = *closing == Closing::Never;
                if refused {
                    let symptom = symptom_of(&proposal);
                    let until = if never { Time::MAX } else { at + proposal.cooldown };
                    self.cool_down((symptom.0, symptom.1, proposal.verb), (until, format!("{id}: {why}")));
                }
            }
            Record::Judged { judgement, .. } => {
                state.judgement = Some(judgement.clone());
                state.say(at, format!("claim: {}", judgement.text));
            }
            Record::Spent { policy, spending, .. } => {
                state.booked = true;
                self.books.add(at, policy, spending);
            }
            Record::Scored { score, .. } => {
                state.score = Some(score.clone());
                state.say(at, score.text.clone());
            }
            Record::Run { step, .. } => {
                state.say(at, step.text());
                self.run_moved(at, id, step);
            }
            Record::Revert { .. } => self.revert_sent(at, record),
            Record::Ruled { .. } | Record::Settled { .. } | Record::Announce(_) | Record::Noted(_) => {}
            Record::Autonomy(_) | Record::Drilled(_) | Record::Tripped(_) | Record::Asked { .. } => {}
        }
        if let Some(state) = self.actions.get(&id) {
            self.trust.moved(at, state, record);
        }
        self.shed();
    }

    fn rule(&mut self, at: Time, id: ActionId, proposal: &Proposal, ruling: &Ruling, plan: &str) {
        self.next_action = self.next_action.max(id.0 + 1);
        let state = self.actions.entry(id).or_insert_with(|| ActionState {
            id,
            proposal: proposal.clone(),
            ruling: ruling.clone(),
            plan: plan.to_owned(),
            phase: Phase::Denied,
            ruled_at: at,
            action: None,
            sent_at: None,
            attempts: 0,
            probes: 0,
            moved_at: at,
            outcome: None,
            judgement: None,
            score: None,
            reverting: None,
            timeline: VecDeque::new(),
            symptom_since: None,
            booked: false,
            done_before: None,
        });
        state.proposal = proposal.clone();
        state.ruling = ruling.clone();
        state.plan = plan.to_owned();
        let decided = ruling.decided_by().map_or_else(String::new, |reason| format!(" ({}: {})", reason.guard, reason.text));
        state.say(at, format!("{}{decided}", ruling.verdict.name()));
    }

    /// Sets a cooldown. What a person has refused for good stays so.
    fn cool_down(&mut self, key: (String, String, Verb), until: (Time, String)) {
        if self.cooldowns.get(&key).is_none_or(|(known, _)| *known < Time::MAX) {
            self.cooldowns.insert(key, until);
        }
    }

    fn sent(&mut self, at: Time, id: ActionId, proposal: &Proposal, class: Class) {
        let symptom = symptom_of(proposal);
        let key = (symptom.0.clone(), symptom.1.clone(), proposal.verb.clone());
        self.cool_down(key, (at + proposal.cooldown, format!("{id} was sent at most {} ago", proposal.cooldown)));
        if class > Class::Notify {
            push_time(self.attempts.entry(symptom).or_default(), at);
            let settle = proposal.settle.unwrap_or_default();
            let before = self.done.insert((proposal.target.clone(), proposal.verb.clone()), (at, settle));
            if let Some(state) = self.actions.get_mut(&id) {
                state.done_before = before;
            }
            if settle > Span::ZERO {
                self.settling.insert(proposal.target.clone(), (at + settle, proposal.verb.clone()));
            }
        }
        let times = self.sent.entry(class).or_default();
        while times.front().is_some_and(|first| at.since(*first) > BUDGET_SPAN) || times.len() >= SENT_MAX {
            times.pop_front();
        }
        times.push_back(at);
    }

    /// Takes back what [`Ledger::sent`] counted.
    fn unsend(&mut self, id: ActionId) {
        let Some(state) = self.actions.get_mut(&id) else { return };
        let (Some(at), Some(action)) = (state.sent_at, state.action.as_ref()) else { return };
        let (before, symptom, class) = (state.done_before.take(), symptom_of(&state.proposal), action.class);
        let place = (action.target.clone(), action.verb.clone());
        if let Some(times) = self.sent.get_mut(&class) {
            forget_time(times, at);
        }
        if class == Class::Notify {
            return;
        }
        if let Some(times) = self.attempts.get_mut(&symptom) {
            forget_time(times, at);
        }
        self.settling.remove(&place.0);
        match before {
            Some(before) => drop(self.done.insert(place, before)),
            None => drop(self.done.remove(&place)),
        }
    }

    /// Keeps every map within its limit: what has run out goes first, then the oldest. What is open or running always stays.
    fn shed(&mut self) {
        self.shed_in = self.shed_in.saturating_sub(1);
        if self.actions.len() > ACTIONS_MAX && self.shed_in == 0 {
            // What is done and not yet judged is still needed for its claim.
            let unjudged = |s: &ActionState| s.phase == Phase::Done && s.score.is_none() && s.awaits_score();
            // A live run still needs what its steps did.
            let needed = |s: &ActionState| s.proposal.origin.run().is_some_and(|run| self.needs_run(run));
            // What is open is bounded by the policies' targets and stays: whoever wishes it again must find its number.
            let finished = |s: &&ActionState| !s.phase.is_open() && !s.phase.is_running() && !unjudged(s) && !needed(s);
            let excess = self.actions.len() - ACTIONS_MAX;
            let gone: Vec<ActionId> = self.actions.values().filter(finished).map(|s| s.id).take(excess).collect();
            gone.iter().for_each(|id| drop(self.actions.remove(id)));
            // Where too few could go, all of them were walked: not again with every record.
            self.shed_in = if gone.len() < excess { SHED_EVERY } else { 0 };
        }
        if [self.cooldowns.len(), self.attempts.len(), self.done.len(), self.settling.len()].iter().all(|len| *len <= SYMPTOMS_MAX) {
            return;
        }
        let now = self.actions.values().map(|s| s.moved_at).max().unwrap_or_default();
        if self.cooldowns.len() > SYMPTOMS_MAX {
            self.cooldowns.retain(|_, (until, _)| *until > now);
        }
        if self.attempts.len() > SYMPTOMS_MAX {
            self.attempts.retain(|_, times| times.back().is_some_and(|at| now.since(*at) < Span::from_hours(24 * 7)));
        }
        if self.done.len() > SYMPTOMS_MAX {
            self.done.retain(|_, (at, _)| now.since(*at) < Span::from_hours(24 * 7));
        }
        if self.settling.len() > SYMPTOMS_MAX {
            self.settling.retain(|_, (until, _)| *until > now);
        }
    }
}

fn forget_time(times: &mut VecDeque<Time>, at: Time) {
    if let Some(index) = times.iter().rposition(|time| *time == at) {
        times.remove(index);
    }
}

fn push_time(times: &mut VecDeque<Time>, at: Time) {
    if times.len() == TIMES_MAX {
        times.pop_front();
    }
    times.push_back(at);
}
