//! The kernel: `handle` what happened, then `poll_effect` until there is none, then wait until `poll_deadline` or the next event.
//!
//! Only wiring stands here. How units are evaluated, wishes ruled, answers taken in, claims judged and rules loaded is in the files
//! below `kernel/`, one subject each. An editor breaks this by changing durable state without a record: whatever must survive a
//! restart goes through [`Kernel::record`], which shows it to the ledger and queues it in one step.

mod acting;
mod advising;
mod asking;
mod briefing;
mod claims;
mod drills;
mod earning;
mod evaluating;
mod loading;
mod planning;
mod rhythm;
mod running;
mod scoring;
mod steps;
mod undoing;
mod view;
mod wishes;

pub use planning::{Plan, PlannedStep};
pub use view::{Explanation, PolicyView, Stats, UnitView, evidence_line};

use crate::arbiter::Arbiter;
use crate::effect::Effect;
use crate::ledger::{Ledger, Symptom};
use crate::policy::{Host, Policy};
use crate::store::{SelectionId, Store};
use crate::units::Units;
use homeostat_model::{ActionId, Event, Note, Notice, NoticeKind, Observation, Record, StoreSettings, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The loop. See the module.
pub struct Kernel {
    now: Time,
    host: Host,
    policies: BTreeMap<homeostat_model::PolicyId, Policy>,
    arbiter: Arbiter,
    ledger: Ledger,
    units: Units,
    /// The selection that each policy's `for_each` is fed by.
    feeds: BTreeMap<homeostat_model::PolicyId, SelectionId>,
    /// Policies with targets for which there was no room.
    crowded: BTreeSet<homeostat_model::PolicyId>,
    /// Open actions by symptom, so that a quiet evaluation finds what to close.
    open: BTreeMap<Symptom, Vec<ActionId>>,
    /// When each open action was last wished.
    wished_at: BTreeMap<ActionId, Time>,
    /// The newest wish behind each open question: the same plan, with newer evidence.
    renewed: BTreeMap<ActionId, homeostat_model::Proposal>,
    /// When an open question, a probe or a claim is due.
    timers: BTreeSet<(Time, Timer)>,
    /// Which of them is an action's probe.
    probes: BTreeMap<ActionId, Time>,
    observer_faults: BTreeMap<String, Time>,
    limits_noted: BTreeMap<String, Time>,
    effects: VecDeque<Effect>,
    playbooks: BTreeMap<homeostat_model::Verb, crate::playbook::Checked>,
    /// Expressions of live runs' playbooks, compiled when a run begins or is taken up again.
    expressions: BTreeMap<ActionId, crate::playbook::Expressions>,
    /// Runs for which something has changed.
    stirred: BTreeSet<ActionId>,
    /// When each live run is looked at again at the latest.
    run_wakes: BTreeMap<ActionId, Time>,
    stats: Stats,
    reasoning: homeostat_model::ReasoningSettings,
    /// Whether alerts will be looked at for a question.
    advice_armed: bool,
    /// Whether upkeep has its timer.
    upkeep_armed: bool,
    /// Occasions whose question waits for a node to wake, by the symptom of that wish.
    waiting_to_think: BTreeMap<String, homeostat_model::Occasion>,
    /// The newest answer to which series a metric has, for scores that are due together: the event, the metric, the series.
    siblings: std::cell::RefCell<Option<Siblings>>,
    /// The newest odds of going by itself, for scores that are due together.
    odds: std::cell::RefCell<Option<Odds>>,
    /// Room for scores.
    room: std::cell::RefCell<scoring::Room>,
    /// How many responses were measured in which event.
    fitted: std::cell::Cell<(u64, u32)>,
}

/// The event in which it was looked up, the metric, and its first series.
type Siblings = (u64, String, std::sync::Arc<Vec<scoring::Candidate>>);

/// The event in which they were reckoned, for which policy, how long it had lasted, and within what.
type Odds = (u64, homeostat_model::PolicyId, homeostat_model::Span, homeostat_model::Span, homeostat_model::Natural);

/// What a timer is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A question to a person ends.
    Answer(ActionId),
    /// The actuator is to be asked.
    Probe(ActionId),
    /// A claim is due.
    Claim(ActionId),
    /// An observer fault may be over.
    Quiet,
    /// A run is to be looked at.
    Run(ActionId),
    /// What an action really did can be told.
    Score(ActionId),
    /// The time of a drill is over.
    Drill(ActionId),
    /// An answer of reasoners is waited for no longer.
    Question(homeostat_model::QuestionId),
    /// Alerts may be worth a question.
    Advice,
    /// What expires and what is due is looked for.
    Upkeep,
}

/// The same limit is noted at most this often.
const LIMIT_NOTE_EVERY: homeostat_model::Span = homeostat_model::Span::from_hours(1);

impl Kernel {
    /// A kernel that knows nothing yet.
    pub fn new(store: StoreSettings) -> Kernel {
        Kernel {
            now: Time(0),
            host: Host::new(Store::new(store)),
            policies: BTreeMap::new(),
            arbiter: Arbiter::default(),
            ledger: Ledger::default(),
            units: Units::default(),
            feeds: BTreeMap::new(),
            crowded: BTreeSet::new(),
            open: BTreeMap::new(),
            wished_at: BTreeMap::new(),
            renewed: BTreeMap::new(),
            timers: BTreeSet::new(),
            probes: BTreeMap::new(),
            observer_faults: BTreeMap::new(),
            limits_noted: BTreeMap::new(),
            effects: VecDeque::new(),
            playbooks: BTreeMap::new(),
            expressions: BTreeMap::new(),
            stirred: BTreeSet::new(),
            run_wakes: BTreeMap::new(),
            stats: Stats::default(),
            reasoning: Default::default(),
            advice_armed: false,
            upkeep_armed: false,
            waiting_to_think: BTreeMap::new(),
            siblings: Default::default(),
            odds: Default::default(),
            room: Default::default(),
            fitted: Default::default(),
        }
    }

    /// Takes in one journal entry from before this start: the ledger learns, nothing is done. Call for every entry in order, then
    /// [`Kernel::restore_samples`], then handle `Started` and `Loaded`.
    pub fn recover(&mut self, at: Time, body: &homeostat_model::EntryBody) {
        self.now = self.now.max(at);
        match body {
            homeostat_model::EntryBody::Event(event) => self.ledger.apply_event(at, event),
            homeostat_model::EntryBody::Effect(record) => self.ledger.apply_record(at, record),
        }
    }

    /// Takes in a read from before this start: windows are filled, nobody is woken.
    pub fn restore_samples(&mut self, observation: &Observation) {
        self.now = self.now.max(observation.at);
        self.host.with_store(|store| store.append(observation, &mut |_| {}));
    }

    /// Takes in what happened at `at`, and does everything that was due by then. Never fails; time that runs backwards counts as no
    /// time at all.
    pub fn handle(&mut self, at: Time, event: Event) {
        let at = at.max(self.now);
        self.now = at;
        self.stats.events += 1;
        match event {
            Event::Observed(observation) => {
                self.observed(&observation);
                // The buffers belong to the sensor; see `handle_observed` for the way that keeps them.
            }
            Event::Alerted(delivery) => self.alerted(delivery),
            Event::Loaded(rules) => self.loaded(*rules),
            Event::Started { .. } => {
                self.ledger.apply_event(at, &event);
                self.started();
            }
            Event::Settled(id, outcome) => self.settled(id, outcome),
            Event::Ordered(ordered) => self.ordered(ordered),
            Event::Advised(advice) => self.advised(*advice),
            Event::Distrusted { .. } => {
                let before = self.ledger.hands_off().is_some();
                self.ledger.apply_event(at, &event);
                self.announce_hands_off(before);
            }
            Event::Reverted(id, outcome) => self.reverted(id, outcome),
            Event::Tick | Event::ClockJumped { .. } => self.ledger.apply_event(at, &event),
        }
        self.run_due();
    }

    /// The same as `handle(at, Event::Observed(…))`, leaving the buffers with their owner.
    pub fn handle_observed(&mut self, at: Time, observation: &Observation) {
        self.now = at.max(self.now);
        self.stats.events += 1;
        self.observed(observation);
        self.run_due();
    }

    /// The next thing to do. Effects come in the order in which they must be journalled.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call `handle` with a `Tick`, if nothing else happens before.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [self.units.next_slot(), timer].into_iter().flatten().min()
    }

    /// The moment of the newest event.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What happened so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Looks at the windows.
    pub fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        self.host.with_store(|store| look(store))
    }

    /// Takes a guard out, so that tests of the checkers can see whether they notice. Only in builds with the feature `sabotage`.
    ///
    /// # Errors
    /// There is no such guard.
    #[cfg(feature = "sabotage")]
    pub fn break_guard(&mut self, name: &str) -> Result<(), String> {
        let guards = crate::arbiter::guards::GUARDS;
        let Some(guard) = guards.iter().find(|guard| guard.name == name) else {
            let known: Vec<&str> = guards.iter().map(|guard| guard.name).collect();
            return Err(format!("there is no guard `{name}` (there are: {})", known.join(", ")));
        };
        self.arbiter.broken = Some(guard.name);
        Ok(())
    }

    /// Shows a record to the ledger and queues it.
    fn record(&mut self, record: Record) {
        self.ledger.apply_record(self.now, &record);
        self.effects.push_back(Effect::Record(record));
    }

    fn note(&mut self, note: Note) {
        self.record(Record::Noted(note));
    }

    fn announce(&mut self, kind: NoticeKind, action: Option<ActionId>, title: String, text: String) {
        self.effects.push_back(Effect::Announce(Notice { kind, action, title, text }));
    }

    /// Notes that a limit was reached, once an hour per limit.
    fn note_limit(&mut self, limit: &str, detail: String) {
        self.stats.limits_reached += 1;
        let again = self.limits_noted.get(limit).is_none_or(|at| self.now.since(*at) >= LIMIT_NOTE_EVERY);
        if again {
            self.limits_noted.insert(limit.to_owned(), self.now);
            self.note(Note::LimitReached { limit: limit.to_owned(), detail });
        }
    }

    fn observed(&mut self, observation: &Observation) {
        self.stats.observations += 1;
        let mut claims = Vec::new();
        let Kernel { host, units, .. } = self;
        let appended = host.with_store(|store| store.append(observation, &mut |series| units.fresh(series, &mut claims)));
        self.stats.samples += appended.samples;
        self.stats.out_of_order += appended.out_of_order;
        self.stats.duplicates += appended.duplicates;
        for reached in appended.limits {
            self.note_limit(reached.limit, reached.detail);
        }
        if appended.index_changed {
            self.follow_index(appended.reads_void);
        }
        if observation.purpose == homeostat_model::Purpose::Fresh {
            claims.sort_unstable();
            claims.dedup();
            for action in claims {
                self.judge_early(action);
            }
            self.watch_steady();
            self.evaluate_marked();
        }
    }

    /// Everything whose time has come. A timer may set another one, so this looks again, a bounded number of times.
    fn run_due(&mut self) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= self.now
        {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Answer(action) => self.answer_due(action),
                Timer::Probe(action) => self.probe_due(action),
                Timer::Claim(action) => self.claim_due(action),
                Timer::Quiet => self.observer_quiet(),
                Timer::Run(run) => self.stir(run),
                Timer::Score(action) => self.score_due(action),
                Timer::Drill(fault) => self.drill_due(fault),
                Timer::Question(question) => self.question_due(question),
                Timer::Advice => self.advice_due(),
                Timer::Upkeep => self.upkeep(),
            }
        }
        self.run_slots();
        self.advance_runs();
    }

    fn announce_hands_off(&mut self, before: bool) {
        let now = self.ledger.hands_off().cloned();
        match (before, now) {
            (false, Some(hands_off)) => {
                let text =
                    format!("Nothing is sent until a person runs `homeostat resume`. Ordered by {}: {}", hands_off.by, hands_off.reason);
                self.announce(NoticeKind::HandsOff, None, "Homeostat is hands-off".into(), text);
            }
            (true, None) => self.announce(NoticeKind::HandsOff, None, "Homeostat acts again".into(), "Hands-off was lifted.".into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
