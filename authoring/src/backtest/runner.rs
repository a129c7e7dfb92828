//! Runs the production kernel over history: what was observed goes in, what would have been sent comes out and goes nowhere.
//!
//! The history is handed in piece by piece ([`Runner::take`]), so that two versions can share one pass and a month need not fit into
//! memory. A recorded run hands in its effects, too: they are not believed, but where the recording did the same at the same moment,
//! its answer is taken instead of an assumed one. Before [`Question::from`] windows are filled and nothing is evaluated. Deliberately
//! absent: clocks and IO. An editor breaks this by answering before the recording could, or by feeding what the recorded engine said
//! as if it were the world.

use super::book::{Answer, Book, Firing, Judged};
use super::needs::Needs;
use super::trace::Trace;
use super::{Backtest, Claims, Held, Tally};
use homeostat_kernel::effect::Effect;
use homeostat_kernel::ledger::symptom_of;
use homeostat_kernel::policy::Policy;
use homeostat_kernel::{Kernel, Stats};
use homeostat_model::playbook::PLAYBOOK;
use homeostat_model::{
    ActionId, Advice, Brief, Command, Cost, EntryBody, Event, Observation, Ordered, Outcome, PolicyId, Proposal, QuestionId, Receipt,
    Record, RuleSet, Span, Time, Verb, VerbSpec,
};
use std::collections::{BTreeMap, BTreeSet};

/// A recorded run ticks by itself; a tick of our own comes only where it did not within this time.
const RECORDED_TICK_SLACK: Span = Span::from_secs(1);
/// Answers given at one moment; more would be a loop.
const ANSWERS_MAX: usize = 10_000;
/// How long before the first read the engine is taken to have been started.
const START_BEFORE: Span = Span::from_hours(1);
/// Notes kept.
const NOTES_MAX: usize = 50;
/// Opposite actions within this time on one target are to and fro.
const REVERSAL_WITHIN: Span = Span::from_hours(24);
/// A symptom that comes back within this time has returned.
const RETURN_WITHIN: Span = Span::from_hours(1);
/// How people are named who say yes under [`Question::approve`].
const APPROVER: &str = "backtest";

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The version, as people know it.
    pub version: String,
    /// The whole rule set, the candidate in it.
    pub rules: RuleSet,
    /// Whose firings are wanted.
    pub policies: Vec<PolicyId>,
    /// From when it counts.
    pub from: Time,
    /// Until when.
    pub to: Time,
    /// As if a person said yes to every question at once. Counterfactual.
    pub approve: bool,
    /// The history is a recorded run, with its ticks and effects.
    pub is_recorded: bool,
}

/// How far the kernel is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Windows are being filled.
    Before,
    /// Started, rules not loaded yet.
    Started,
    /// It evaluates.
    Loaded,
}

/// One kernel over history; see the module.
pub struct Runner {
    question: Question,
    kernel: Kernel,
    stage: Stage,
    is_started: bool,
    book: Book,
    trace: Trace,
    verbs: BTreeMap<String, (VerbSpec, Cost)>,
    /// Sent and not answered yet.
    pending: Vec<ActionId>,
    reverting: Vec<ActionId>,
    questions: Vec<(ActionId, String)>,
    /// The recording answers these.
    recorded: BTreeSet<ActionId>,
    /// The recording's numbers, and ours.
    ids: BTreeMap<ActionId, ActionId>,
    /// The recording's questions to models, and ours with the same brief.
    asked: BTreeMap<QuestionId, QuestionId>,
    /// Our newest action by policy, symptom and plan.
    by_plan: BTreeMap<(String, String, String), ActionId>,
    counterfactual_from: Option<Time>,
    alerts_read: bool,
    observations: u64,
    samples: u64,
    notes: Vec<String>,
}

impl Runner {
    /// A kernel for this question.
    ///
    /// # Errors
    /// What is wrong with the rules, every problem as it would be shown at a load.
    pub fn new(question: Question) -> Result<Runner, Vec<String>> {
        let kernel = Kernel::new(question.rules.store.clone());
        let compiled = kernel.check(&question.rules)?;
        let wanted = |policy: &&Policy| question.policies.contains(&policy.id);
        let every = compiled.iter().map(|policy| (policy.id.as_str().to_owned(), policy.every)).collect();
        let book = Book::new(&question.policies, question.from, every);
        let metrics = Needs::of(compiled.iter().filter(wanted)).metrics;
        let trace = Trace::new(metrics, question.from, question.to);
        let alerts_read = compiled.iter().filter(wanted).any(|policy| policy.on_alert.is_some());
        let specs = question.rules.actuators.iter().flat_map(|spec| &spec.verbs);
        let verbs = specs.map(|spec| (spec.verb.as_str().to_owned(), (spec.clone(), spec.cost))).collect();
        Ok(Runner {
            kernel,
            stage: Stage::Before,
            is_started: false,
            book,
            trace,
            verbs,
            pending: Vec::new(),
            reverting: Vec::new(),
            questions: Vec::new(),
            recorded: BTreeSet::new(),
            ids: BTreeMap::new(),
            asked: BTreeMap::new(),
            by_plan: BTreeMap::new(),
            counterfactual_from: None,
            alerts_read,
            observations: 0,
            samples: 0,
            notes: Vec::new(),
            question,
        })
    }

    /// Takes in a read.
    pub fn observe(&mut self, at: Time, observation: &Observation) {
        if at > self.question.to {
            return;
        }
        if at < self.question.from && self.stage == Stage::Before {
            self.start(at - START_BEFORE);
            self.kernel.restore_samples(observation);
            self.trace.take(observation);
            return;
        }
        self.begin(at);
        self.go_on_until(at);
        self.observations += 1;
        self.samples += (observation.samples.len() + observation.stamped.len()) as u64;
        self.kernel.handle_observed(at, observation);
        self.trace.take(observation);
        self.drain();
    }

    /// Takes in one entry of a history: an event of the world, or what a recorded run said then.
    pub fn take(&mut self, at: Time, body: &EntryBody) {
        match body {
            EntryBody::Event(Event::Observed(observation)) => self.observe(at, observation),
            _ if at > self.question.to => {}
            EntryBody::Event(event) => self.event(at, event),
            EntryBody::Effect(record) => self.hear(record),
        }
    }

    fn event(&mut self, at: Time, event: &Event) {
        let early = at < self.question.from && self.stage == Stage::Before;
        match event {
            Event::Started { .. } if self.stage == Stage::Before && !early => {
                if !self.is_started {
                    self.is_started = true;
                    self.kernel.handle(at, event.clone());
                    self.drain();
                }
                self.stage = Stage::Started;
            }
            Event::Started { .. } if early => {}
            Event::Started { .. } => {
                self.note(format!("the recorded engine was started again at {}: the backtest goes on through it", at.millis()))
            }
            Event::Loaded(_) if self.stage == Stage::Loaded => {
                self.note("the recorded rules were loaded again: the backtest keeps its own".into());
            }
            Event::Loaded(_) if early => {}
            Event::Loaded(_) => self.begin(at),
            // What was true before the first evaluation stands in the ledger without rules.
            Event::Tick if early => {}
            Event::Settled(id, outcome) => {
                let ours = self.ids.get(id).copied().filter(|id| self.recorded.contains(id));
                self.go_on_until(at);
                if let Some(ours) = ours {
                    self.kernel.handle(at, Event::Settled(ours, outcome.clone()));
                    self.drain();
                }
            }
            Event::Reverted(id, outcome) => {
                let ours = self.ids.get(id).copied().filter(|id| self.recorded.contains(id));
                self.go_on_until(at);
                if let Some(ours) = ours {
                    self.kernel.handle(at, Event::Reverted(ours, outcome.clone()));
                    self.drain();
                }
            }
            Event::Advised(advice) => self.advise(at, advice),
            Event::Ordered(ordered) => self.order(at, ordered, early),
            _ => {
                if !early {
                    self.begin_unless_starting(at);
                    self.go_on_until(at);
                }
                self.kernel.handle(at, event.clone());
                self.drain();
            }
        }
    }

    /// A person's order: answers name the recording's actions and are meant for ours.
    fn order(&mut self, at: Time, ordered: &Ordered, early: bool) {
        let command = match &ordered.command {
            Command::Approve { action, plan } => {
                self.ids.get(action).map(|action| Command::Approve { action: *action, plan: plan.clone() })
            }
            Command::Never { action } => self.ids.get(action).map(|action| Command::Never { action: *action }),
            Command::Deny { action } => self.ids.get(action).map(|action| Command::Deny { action: *action }),
            Command::Release { run } => self.ids.get(run).map(|run| Command::Release { run: *run }),
            Command::Wish { .. } if early => None,
            other => Some(other.clone()),
        };
        self.go_on_until(at);
        if let Some(command) = command {
            self.kernel.handle(at, Event::Ordered(Ordered { by: ordered.by.clone(), command }));
            self.drain();
        }
    }

    /// A model's answer counts where the same was asked here, word for word: what it would have said to anything else nobody knows.
    fn advise(&mut self, at: Time, advice: &Advice) {
        let ours = self.asked.remove(&advice.question);
        self.go_on_until(at);
        match ours {
            Some(question) => {
                self.kernel.handle(at, Event::Advised(Box::new(Advice { question, ..advice.clone() })));
                self.drain();
            }
            None if self.stage == Stage::Before => {}
            None => self.note("a model answered what is not asked here: its answer was left out".into()),
        }
    }

    /// What the recorded run said: whose numbers mean which of ours, and what it sent at this moment, too.
    fn hear(&mut self, record: &Record) {
        match record {
            Record::Ruled { action, proposal, plan, .. } => {
                if let Some(ours) = self.by_plan.get(&plan_key(proposal, plan)) {
                    self.ids.insert(*action, *ours);
                }
            }
            Record::Act { action, .. } => {
                if let Some(ours) = self.ids.get(&action.id).copied()
                    && let Some(place) = self.pending.iter().position(|pending| *pending == ours)
                {
                    self.pending.remove(place);
                    self.recorded.insert(ours);
                    self.book.answered(ours, Answer::Recorded);
                }
            }
            Record::Asked { question, brief } => {
                let questions = self.kernel.ledger().questions();
                let same = questions.all_open().find(|(.., open)| is_same(brief, open, &self.ids)).map(|(ours, ..)| ours);
                if let Some(ours) = same {
                    self.asked.insert(*question, ours);
                }
            }
            Record::Revert { action, .. } => {
                let ours = self.ids.get(action).copied().filter(|ours| self.recorded.contains(ours));
                if let Some(place) = self.reverting.iter().position(|pending| Some(*pending) == ours) {
                    self.reverting.remove(place);
                }
            }
            _ => {}
        }
    }

    fn begin_unless_starting(&mut self, at: Time) {
        if self.stage == Stage::Before {
            self.begin(at);
        }
    }

    /// The engine is taken to have run long before: what guards say right after a start is not asked.
    fn start(&mut self, at: Time) {
        if !self.is_started {
            self.is_started = true;
            self.kernel.handle(at, Event::Started { generation: 1, build: "backtest".into(), seed: 1 });
            self.drain();
        }
    }

    /// Starts the kernel, where the history does not, and loads the rules.
    fn begin(&mut self, at: Time) {
        if self.stage == Stage::Before {
            self.start(at - START_BEFORE);
            self.stage = Stage::Started;
        }
        if self.stage == Stage::Started {
            self.kernel.handle(at, Event::Loaded(Box::new(self.question.rules.clone())));
            self.stage = Stage::Loaded;
            for checked in self.kernel.playbooks() {
                self.verbs.insert(checked.spec.verb.as_str().to_owned(), (checked.spec.clone(), checked.spec.cost));
            }
            self.drain();
        }
    }

    /// Answers what nobody answered, and lets every deadline before `at` pass.
    fn go_on_until(&mut self, at: Time) {
        self.answer();
        let slack = if self.question.is_recorded { RECORDED_TICK_SLACK } else { Span::ZERO };
        while self.stage == Stage::Loaded
            && let Some(due) = self.kernel.poll_deadline()
            && due + slack < at
        {
            self.kernel.handle(due, Event::Tick);
            self.drain();
            self.answer();
        }
    }

    /// Gives assumed answers until nothing waits for one.
    fn answer(&mut self) {
        let mut answers = 0;
        loop {
            let now = self.kernel.now();
            let event = if let Some(action) = self.pending.pop() {
                self.counterfactual_from.get_or_insert(now);
                Event::Settled(
                    action,
                    Outcome::Done(Receipt { observed: "assumed: nothing was sent (backtest)".into(), ..Receipt::default() }),
                )
            } else if let Some(action) = self.reverting.pop() {
                let observed = "assumed taken back: nothing was sent (backtest)".into();
                Event::Reverted(action, Outcome::Done(Receipt { observed, ..Receipt::default() }))
            } else if let Some((action, plan)) = self.questions.pop() {
                self.counterfactual_from.get_or_insert(now);
                let command = Command::Approve { action, plan: Some(plan) };
                Event::Ordered(Ordered { by: APPROVER.into(), command })
            } else {
                return;
            };
            self.kernel.handle(now, event);
            self.drain();
            answers += 1;
            if answers >= ANSWERS_MAX {
                self.note(format!("more than {ANSWERS_MAX} answers at one moment: the rest was left unanswered"));
                self.pending.clear();
                self.reverting.clear();
                self.questions.clear();
                return;
            }
        }
    }

    /// Takes what the kernel says. Nothing leaves.
    fn drain(&mut self) {
        while let Some(effect) = self.kernel.poll_effect() {
            let now = self.kernel.now();
            match &effect {
                Effect::Act(admitted) => self.pending.push(admitted.action().id),
                Effect::Revert(reverting) => self.reverting.push(reverting.action().id),
                Effect::Probe(action) if !self.recorded.contains(&action.id) => self.pending.push(action.id),
                Effect::Record(Record::Ruled { action, proposal, ruling, plan }) => {
                    self.by_plan.insert(plan_key(proposal, plan), *action);
                    if self.question.approve && matches!(ruling.verdict, homeostat_model::Verdict::AwaitingApproval { .. }) {
                        self.questions.push((*action, plan.clone()));
                    }
                }
                _ => {}
            }
            let verbs = &self.verbs;
            self.book.take(now, &effect.record(), |verb: &Verb| verbs.get(verb.as_str()).map(|(spec, _)| spec.class));
        }
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// For tests: what was wished by others than policies is in no backtest's report.
    #[cfg(test)]
    pub(super) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The history has ended.
    pub fn finish(mut self) -> Backtest {
        let to = self.question.to;
        self.go_on_until(to);
        self.book.end(to);
        if self.stage != Stage::Loaded {
            self.note("the history has no read in this time: nothing was evaluated".into());
        }
        if self.alerts_read && !self.question.is_recorded {
            self.note("alerts are not in this history: `on_alert` was never run".into());
        }
        if self.book.refused > 0 {
            let text = format!("{} more firings were not kept", self.book.refused);
            self.note(text);
        }
        let views = self.question.policies.iter().flat_map(|policy| self.kernel.explain_policy(policy.as_str(), "")).collect::<Vec<_>>();
        let curves = self.trace.finish(&views, &self.book.firings);
        let stats: Stats = self.kernel.stats().clone();
        let days = (to.since(self.question.from).seconds() / 86_400.0).max(f64::MIN_POSITIVE);
        let reversals = reversals(&self.book.acts, &self.verbs);
        Backtest {
            version: self.question.version,
            policies: self.question.policies.iter().map(ToString::to_string).collect(),
            from: self.question.from,
            to,
            guards: guards(&self.book.firings),
            verbs: tallies(&self.book, &self.verbs, &self.recorded),
            claims: claims(&self.book.firings),
            reversals,
            reversals_per_day: reversals as f64 / days,
            returns_per_day: returns(&self.book.firings) as f64 / days,
            evaluations: stats.evaluations,
            undetermined: stats.undetermined,
            undetermined_share: if stats.evaluations == 0 { 0.0 } else { stats.undetermined as f64 / stats.evaluations as f64 },
            stretches: self.book.stretches,
            counterfactual_from: self.counterfactual_from,
            observations: self.observations,
            samples: self.samples,
            curves,
            notes: self.notes,
            lines: self.book.lines,
            firings: self.book.firings,
        }
    }
}

/// Whether both are told the same, but for the numbers of past actions.
fn is_same(recorded: &Brief, ours: &Brief, ids: &BTreeMap<ActionId, ActionId>) -> bool {
    let rest = |brief: &Brief| Brief { facts: String::new(), ..brief.clone() };
    let facts = |brief: &Brief| serde_json::from_str::<serde_json::Value>(&brief.facts).ok();
    let (Some(mut theirs), Some(own)) = (facts(recorded), facts(ours)) else { return recorded == ours };
    let named: BTreeMap<String, String> = ids.iter().map(|(theirs, ours)| (theirs.to_string(), ours.to_string())).collect();
    for past in theirs["past_actions"].as_array_mut().into_iter().flatten() {
        if let Some(ours) = past["action"].as_str().and_then(|action| named.get(action)) {
            past["action"] = ours.as_str().into();
        }
    }
    theirs == own && rest(recorded) == rest(ours)
}

fn plan_key(proposal: &Proposal, plan: &str) -> (String, String, String) {
    let (policy, symptom) = symptom_of(proposal);
    (policy, symptom, plan.to_owned())
}

/// What guards held, by guard.
fn guards(firings: &[Firing]) -> BTreeMap<String, Held> {
    let mut guards: BTreeMap<String, Held> = BTreeMap::new();
    for firing in firings {
        let mut counted = BTreeSet::new();
        for hold in &firing.holds {
            let held = guards.entry(hold.guard.clone()).or_default();
            held.firings += u64::from(counted.insert(hold.guard.as_str()));
            held.held = held.held + hold.until.since(hold.from);
        }
    }
    guards
}

/// What was wished and would have been sent, by verb; a run's steps count by themselves, the run costs nothing of its own.
fn tallies(book: &Book, verbs: &BTreeMap<String, (VerbSpec, Cost)>, recorded: &BTreeSet<ActionId>) -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let cost = |verb: &str| verbs.get(verb).map(|(_, cost)| *cost).unwrap_or_default();
    for firing in &book.firings {
        let tally = tallies.entry(firing.verb.clone()).or_default();
        tally.class = firing.class;
        tally.firings += 1;
        tally.disruption_if_allowed_minutes += cost(&firing.verb).disruption.seconds() / 60.0;
    }
    for (action, verb, _, _) in &book.acts {
        let tally = tallies.entry(verb.clone()).or_default();
        tally.class = verbs.get(verb).map(|(spec, _)| spec.class);
        tally.sent += 1;
        tally.recorded += u64::from(recorded.contains(action));
        if !verb.starts_with(PLAYBOOK) {
            tally.disruption_minutes += cost(verb).disruption.seconds() / 60.0;
            tally.energy_joules += cost(verb).energy_joules;
        }
    }
    tallies
}

fn claims(firings: &[Firing]) -> Claims {
    let mut claims = Claims::default();
    for sent in firings.iter().flat_map(|firing| &firing.sent) {
        let count = match (sent.claim, sent.answer) {
            (None, _) => continue,
            (Some(Judged::Undetermined), _) => &mut claims.undetermined,
            (Some(Judged::CameTrue), Answer::Assumed) => &mut claims.came_true_anyway,
            (Some(Judged::DidNot), Answer::Assumed) => &mut claims.did_not,
            (Some(Judged::CameTrue), Answer::Recorded) => &mut claims.came_true_recorded,
            (Some(Judged::DidNot), Answer::Recorded) => &mut claims.did_not_recorded,
        };
        *count += 1;
    }
    claims
}

/// Opposite actions on one target that follow one another within a day.
fn reversals(acts: &[(ActionId, String, String, Time)], verbs: &BTreeMap<String, (VerbSpec, Cost)>) -> u64 {
    let mut last: BTreeMap<&str, (&str, Time)> = BTreeMap::new();
    let mut count = 0;
    for (_, verb, target, at) in acts {
        if let Some((before, then)) = last.get(target.as_str()) {
            let opposite = verbs.get(verb).and_then(|(spec, _)| spec.opposite.as_ref());
            let back = verbs.get(*before).and_then(|(spec, _)| spec.opposite.as_ref());
            let reverses = opposite.is_some_and(|verb| verb.as_str() == *before) || back.is_some_and(|back| back.as_str() == verb);
            count += u64::from(reverses && at.since(*then) <= REVERSAL_WITHIN);
        }
        last.insert(target, (verb, *at));
    }
    count
}

/// Firings that began within an hour of the end of the one before them, for the same symptom and wish.
fn returns(firings: &[Firing]) -> u64 {
    let mut last: BTreeMap<(&str, &str, &str, &str), Time> = BTreeMap::new();
    let mut count = 0;
    for firing in firings {
        let key = (firing.policy.as_str(), firing.symptom.as_str(), firing.verb.as_str(), firing.target.as_str());
        count += u64::from(last.get(&key).is_some_and(|end| firing.from.since(*end) <= RETURN_WITHIN));
        if let Some(until) = firing.until {
            last.insert(key, until);
        }
    }
    count
}
