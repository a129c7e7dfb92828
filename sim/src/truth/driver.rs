//! Kernel and world together, in virtual time: observations in, actions out, and a person who answers.
//!
//! Everything that a journal would hold is kept, so that a restart can be tried at any entry. Deliberately absent: outcomes that are
//! anything but `Done`, unless a verb is said to be broken; what happens to actions that get lost is the plant's subject. An editor
//! breaks this by deciding anything here.

use super::World;
use crate::chance;
use homeostat_kernel::{Effect, Kernel};
use homeostat_model::{
    ActionId, Command, EntryBody, Event, Fault, FaultCode, Observation, Ordered, Outcome, Receipt, Record, RuleSet, Span, Time, Verb,
    Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// A person who is asked.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Person {
    /// The share of questions that they answer with yes, 0 to 1; to the others they say nothing.
    pub yes: f64,
    /// They take at least so long …
    pub after: Span,
    /// … and up to so much longer.
    pub later: Span,
}

/// What is run.
pub struct Setup {
    /// The rules.
    pub rules: RuleSet,
    /// Who is asked; nobody answers where there is nobody.
    pub person: Option<Person>,
    /// Verbs whose actuator says that it is done, and does nothing.
    pub broken: BTreeSet<Verb>,
    /// Verbs whose actuator says that it did not work.
    pub failing: BTreeSet<Verb>,
    /// Whether all observations are kept, for a restart or a replay.
    pub keeps_observations: bool,
}

/// See the module.
pub struct Driver {
    /// The kernel.
    pub kernel: Kernel,
    /// The world.
    pub world: World,
    /// What is run.
    pub setup: Setup,
    /// The journal.
    pub entries: Vec<(Time, EntryBody)>,
    /// What was read, if it is kept.
    pub observations: Vec<Observation>,
    /// Everything that was handled, in order, if observations are kept.
    pub events: Vec<(Time, Event)>,
    /// The moment.
    pub now: Time,
    seed: u64,
    next_read: Time,
    pending: BTreeMap<(Time, u64), Event>,
    counter: u64,
    generation: u64,
}

/// The actuator needs so long to say that it is done.
const TOLD_AFTER: Span = Span::from_secs(2);

impl Driver {
    /// A kernel that has started and loaded its rules.
    ///
    /// # Errors
    /// The rules were refused.
    pub fn new(world: World, setup: Setup, seed: u64) -> Result<Driver, String> {
        let now = world.now;
        let mut driver = Driver {
            kernel: Kernel::new(setup.rules.store.clone()),
            next_read: now + world.recipe.interval,
            world,
            setup,
            entries: Vec::new(),
            observations: Vec::new(),
            events: Vec::new(),
            now,
            seed,
            pending: BTreeMap::new(),
            counter: 0,
            generation: 0,
        };
        driver.start()?;
        Ok(driver)
    }

    fn start(&mut self) -> Result<(), String> {
        self.generation += 1;
        let before = self.entries.len();
        self.handle(Event::Started { generation: self.generation, build: "truth".into(), seed: self.seed });
        self.handle(Event::Loaded(Box::new(self.setup.rules.clone())));
        let refused = self.entries[before..].iter().find_map(|(_, body)| match body {
            EntryBody::Effect(Record::Noted(homeostat_model::Note::LoadRefused { errors })) => Some(errors.join("\n")),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// Other rules are loaded.
    pub fn load(&mut self, rules: RuleSet) {
        self.setup.rules = rules.clone();
        self.handle(Event::Loaded(Box::new(rules)));
    }

    /// The engine stops and starts again on its journal and samples.
    ///
    /// # Errors
    /// The rules were refused.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kernel = Driver::recovered(&self.setup.rules, &self.entries, &self.observations);
        self.start()
    }

    /// A kernel that knows these entries and samples, before its start.
    pub fn recovered(rules: &RuleSet, entries: &[(Time, EntryBody)], observations: &[Observation]) -> Kernel {
        let mut kernel = Kernel::new(rules.store.clone());
        entries.iter().for_each(|(at, body)| kernel.recover(*at, body));
        observations.iter().for_each(|observation| kernel.restore_samples(observation));
        kernel
    }

    /// A person orders something.
    pub fn order(&mut self, command: Command) {
        self.handle(Event::Ordered(Ordered { by: "unix:1000".into(), command }));
    }

    /// Time passes.
    pub fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            let pending = self.pending.first_key_value().map(|((at, _), _)| *at);
            let next = [Some(self.next_read), pending, self.kernel.poll_deadline(), Some(end)].into_iter().flatten().min().unwrap_or(end);
            self.now = next.max(self.now);
            if self.now >= self.next_read {
                self.read();
            }
            while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let event = entry.remove();
                self.handle(event);
            }
            if self.kernel.poll_deadline().is_some_and(|at| at <= self.now) {
                self.handle(Event::Tick);
            }
        }
    }

    fn read(&mut self) {
        self.next_read = self.now + self.world.recipe.interval;
        let observation = self.world.read(self.now);
        self.kernel.handle_observed(self.now, &observation);
        if self.setup.keeps_observations {
            self.events.push((self.now, Event::Observed(Box::new(observation.clone()))));
            self.observations.push(observation);
        }
        self.drain();
    }

    fn handle(&mut self, event: Event) {
        if !event.is_sampled() {
            self.entries.push((self.now, EntryBody::Event(event.clone())));
        }
        if self.setup.keeps_observations {
            self.events.push((self.now, event.clone()));
        }
        self.kernel.handle(self.now, event);
        self.drain();
    }

    fn later(&mut self, at: Time, event: Event) {
        self.counter += 1;
        self.pending.insert((at, self.counter), event);
    }

    fn drain(&mut self) {
        while let Some(effect) = self.kernel.poll_effect() {
            let record = effect.record();
            self.asked(&record);
            self.entries.push((self.now, EntryBody::Effect(record)));
            match &effect {
                Effect::Act(admitted) => {
                    let action = admitted.action();
                    let outcome = self.carried_out(action.id, &action.verb, action.target.name());
                    self.later(self.now + TOLD_AFTER, Event::Settled(action.id, outcome));
                }
                Effect::Probe(action) => {
                    let receipt = Receipt { observed: "it was done".into(), undo: BTreeMap::new() };
                    self.later(self.now + TOLD_AFTER, Event::Settled(action.id, Outcome::Done(receipt)));
                }
                Effect::Revert(_) | Effect::Question { .. } | Effect::Announce(_) | Effect::Record(_) => {}
            }
        }
    }

    fn carried_out(&mut self, id: ActionId, verb: &Verb, name: &str) -> Outcome {
        if self.setup.failing.contains(verb) {
            return Outcome::NotDone(Fault::new(FaultCode::Failed, format!("{verb} {name}"), "the actuator is broken"));
        }
        let number = name.strip_prefix('n').and_then(|digits| digits.parse::<usize>().ok());
        if let Some(number) = number.filter(|number| *number < self.world.recipe.nodes && !self.setup.broken.contains(verb)) {
            self.world.act(id, verb, number, self.now);
        }
        Outcome::Done(Receipt { observed: "done".into(), undo: BTreeMap::new() })
    }

    fn asked(&mut self, record: &Record) {
        let (Some(person), Record::Ruled { action, ruling, plan, .. }) = (self.setup.person, record) else { return };
        if !matches!(ruling.verdict, Verdict::AwaitingApproval { .. }) {
            return;
        }
        let draw = |purpose: u64| chance::at(self.seed, 0xA5C_0000 + purpose, action.0 as i64);
        if draw(0) < person.yes {
            let after = person.after + person.later.times(draw(1));
            let command = Command::Approve { action: *action, plan: Some(plan.clone()) };
            self.later(self.now + after, Event::Ordered(Ordered { by: "unix:1000".into(), command }));
        }
    }

    /// The records of the journal, in order.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = (Time, &Record)> {
        self.entries.iter().filter_map(|(at, body)| match body {
            EntryBody::Effect(record) => Some((*at, record)),
            EntryBody::Event(_) => None,
        })
    }
}
