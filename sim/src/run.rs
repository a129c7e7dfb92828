//! The virtual-time driver: kernel, policies and plant in one process, without sockets, as fast as they go.
//!
//! The kernel is the production kernel; this file only brings it events and carries its effects to the plant. Sensors read on a
//! fixed grid and the plant moves on the same grid, so that runs with different actions meet the same weather. Deliberately absent:
//! a journal on disk (entries are kept in memory, for a restart of the engine and for the checkers). An editor breaks this by
//! deciding anything here.

mod hands;
#[cfg(test)]
mod tests;
mod world;

pub use world::{Control, Setup, actuators};

use crate::checkers::{Checkers, Violation};
use crate::figures::{Figures, Tally};
use crate::plant::{Fault, Op, Plant, Sight};
use hands::{Hands, Pending};
use homeostat_kernel::{Effect, Kernel, Stats};
use homeostat_model::{
    Advice, Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, Brief, Command, EntryBody, Event, Labels, Ordered, QuestionId,
    Record, RunMove, Span, Time,
};
use std::collections::BTreeMap;

/// The kernel looks at its clock at least this finely; deadlines in between are met at the next grid point.
const TICK: Span = Span::from_secs(5);
/// How long a thinker takes in the run's time, whatever it takes in ours: runs with the same answers are the same.
const THOUGHT: Span = Span::from_secs(20);
/// Entries that are kept for a restart of the engine.
const ENTRIES_MAX: usize = 2_000_000;

/// What a run came to.
pub struct Finished {
    /// The figures.
    pub figures: Figures,
    /// Broken invariants, at most the first hundred.
    pub violations: Vec<Violation>,
    /// Everything that was decided, for expectations and listings.
    pub tally: Tally,
    /// What happened in the plant.
    pub log: Vec<(Time, String)>,
    /// Seconds outside aims, by aim.
    pub outside: Vec<(String, f64)>,
    /// How everything stood when the first run of a playbook began.
    pub before_runs: Option<BTreeMap<String, String>>,
    /// How everything stands at the end.
    pub standing: BTreeMap<String, String>,
}

/// Who answers the kernel's questions. Called when one is asked; its answer is heard a little later.
pub type Think<'a> = &'a mut dyn FnMut(QuestionId, &Brief) -> Advice;

/// Runs a setup to its end; nobody thinks.
///
/// # Errors
/// The rules were refused, or the scenario names something that the lab does not have.
pub fn run(setup: &Setup) -> Result<Finished, String> {
    run_with(setup, None)
}

/// Runs a setup to its end, with somebody who thinks.
///
/// # Errors
/// As of [`run`].
pub fn run_with(setup: &Setup, think: Option<Think<'_>>) -> Result<Finished, String> {
    let setup = &setup.equipped()?;
    let mut driver = Driver::new(setup, think)?;
    if setup.control == Control::DoNothing {
        // On the same grid as a run with an engine: the weather is a function of the steps.
        while driver.plant.now() < driver.end {
            let next = driver.plant.now() + setup.lab.scrape;
            driver.plant.advance(next.min(driver.end));
        }
    } else {
        driver.start_engine()?;
        driver.run();
    }
    Ok(driver.finish())
}

struct Driver<'a, 't> {
    setup: &'a Setup,
    think: Option<Think<'t>>,
    plant: Plant,
    sight: Sight,
    kernel: Option<Kernel>,
    entries: Vec<(Time, EntryBody)>,
    generation: u64,
    pending: BTreeMap<(Time, u64), Pending>,
    counter: u64,
    hands: Hands,
    /// Ours alone is held to the settings.
    checkers: Option<Checkers>,
    tally: Tally,
    now: Time,
    next_read: Time,
    end: Time,
    engine_events: u64,
    stats: Stats,
    /// Whether the node that the engine runs on works.
    hosted: bool,
    before_runs: Option<BTreeMap<String, String>>,
}

impl<'a, 't> Driver<'a, 't> {
    fn new(setup: &'a Setup, think: Option<Think<'t>>) -> Result<Driver<'a, 't>, String> {
        let begin = setup.begin();
        let mut plant = Plant::new(setup.lab.clone(), setup.seed, begin);
        let faults = setup.faults();
        setup.check(&plant, &faults)?;
        plant.plan(faults);
        let mut driver = Driver {
            sight: Sight::new(&plant, setup.lab.scrape),
            checkers: (setup.control == Control::Ours).then(|| Checkers::new(setup.arbiter(), &setup.rules().topology, setup.lab.clone())),
            tally: Tally::new(begin),
            hands: Hands::new(&setup.lab),
            kernel: None,
            entries: Vec::new(),
            generation: 0,
            pending: BTreeMap::new(),
            counter: 0,
            now: begin,
            next_read: begin + setup.lab.scrape,
            end: begin + setup.scenario.lasts,
            engine_events: 0,
            stats: Stats::default(),
            hosted: true,
            before_runs: None,
            setup,
            think,
            plant,
        };
        driver.script();
        Ok(driver)
    }

    /// Orders, alerts and the engine's own faults, as they are planned.
    fn script(&mut self) {
        let begin = self.now;
        let scenario = &self.setup.scenario;
        let ordered = |command| Event::Ordered(Ordered { by: "unix:0".into(), command });
        let orders = self.setup.orders().into_iter().map(|order| (order.at, ordered(order.command)));
        let alerts = scenario.alerts.iter().map(|alert| (alert.at, alerted(alert, begin)));
        let all: Vec<(Span, Event)> = orders.chain(alerts).collect();
        for (at, event) in all {
            self.later(begin + at, Pending::Event(event));
        }
        for planned in self.setup.faults() {
            match planned.fault {
                Fault::ClockStep { seconds } => {
                    let at = begin + planned.at;
                    self.later(at, Pending::Event(Event::ClockJumped { from: at, to: Time(at.millis() + seconds * 1000) }));
                }
                Fault::EngineRestart => {
                    self.later(begin + planned.at, Pending::Kill);
                    self.later(begin + planned.at + planned.lasts.unwrap_or(Span::from_secs(30)), Pending::Start);
                }
                _ => {}
            }
        }
    }

    fn later(&mut self, at: Time, what: Pending) {
        self.counter += 1;
        self.pending.insert((at, self.counter), what);
    }

    /// Starts the engine on what its journal says.
    fn start_engine(&mut self) -> Result<(), String> {
        let rules = self.setup.rules();
        let mut kernel = Kernel::new(rules.store.clone());
        if let Some(guard) = &self.setup.broken_guard {
            self.setup.break_guard(&mut kernel, guard)?;
        }
        for (at, body) in &self.entries {
            kernel.recover(*at, body);
        }
        self.generation += 1;
        self.sight.forget();
        self.kernel = Some(kernel);
        self.handle(Event::Started { generation: self.generation, build: "simulated".into(), seed: self.setup.seed });
        self.handle(Event::Loaded(Box::new(rules)));
        let refused = self.kernel.as_ref().map_or(0, |kernel| kernel.stats().loads_refused);
        if refused > 0 { Err(format!("the rules were refused:\n{}", self.tally.load_errors.join("\n"))) } else { Ok(()) }
    }

    fn run(&mut self) {
        while self.now < self.end {
            let pending = self.pending.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.kernel.as_ref().and_then(|kernel| kernel.poll_deadline()).map(on_grid);
            let next = [Some(self.next_read), pending, deadline].into_iter().flatten().min().unwrap_or(self.end);
            self.now = next.max(self.now).min(self.end);
            if self.now >= self.next_read {
                self.read();
            }
            while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let what = entry.remove();
                self.happen(what);
            }
            if self.kernel.as_ref().and_then(Kernel::poll_deadline).is_some_and(|at| at <= self.now) {
                self.handle(Event::Tick);
            }
        }
    }

    /// The plant moves on and every sensor reads.
    fn read(&mut self) {
        self.plant.advance(self.now);
        self.next_read = self.now + self.setup.lab.scrape;
        self.follow_host();
        if let Some(checkers) = &mut self.checkers {
            checkers.step(self.now, &self.plant);
        }
        for sensor in 0..self.sight.len() {
            let Some(kernel) = &mut self.kernel else { return };
            let observation = self.sight.read(&self.plant, sensor, self.now);
            kernel.handle_observed(self.now, observation);
            self.engine_events += 1;
            self.drain();
        }
    }

    /// The engine runs on one of the plant's nodes: where that stops, so does it, and starts again with it.
    fn follow_host(&mut self) {
        let works = self.plant.node(&self.setup.lab.engine).is_some_and(|node| node.works());
        if works == self.hosted {
            return;
        }
        self.hosted = works;
        self.happen(if works { Pending::Start } else { Pending::Kill });
    }

    fn happen(&mut self, what: Pending) {
        match what {
            // A person whose order finds no engine tries again.
            Pending::Event(event @ Event::Ordered(_)) if self.kernel.is_none() => {
                self.later(self.now + Span::from_mins(1), Pending::Event(event));
            }
            Pending::Event(event) => self.handle(event),
            Pending::Kill => {
                self.tally.restarts += 1;
                self.count();
                self.kernel = None;
            }
            // It starts with its host, and once.
            Pending::Start if !self.hosted || self.kernel.is_some() => {}
            Pending::Start => {
                // A refusal was reported at the first start; the rules are the same.
                let _ = self.start_engine();
            }
            Pending::Watch { action, op, until } => {
                if let Some(outcome) = self.hands.look(&self.plant, &op, self.now >= until) {
                    self.handle(Event::Settled(action, outcome));
                } else {
                    self.later((self.now + self.setup.lab.scrape).min(until), Pending::Watch { action, op, until });
                }
            }
            Pending::Answer { action, plan, yes } => {
                let command = if yes { Command::Approve { action, plan: Some(plan) } } else { Command::Deny { action } };
                self.handle(Event::Ordered(Ordered { by: "unix:1000".into(), command }));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let Some(kernel) = &mut self.kernel else { return };
        self.engine_events += 1;
        if !event.is_sampled() {
            if let Some(checkers) = &mut self.checkers {
                checkers.event(self.now, &event);
            }
            if self.entries.len() < ENTRIES_MAX {
                self.entries.push((self.now, EntryBody::Event(event.clone())));
            }
        }
        kernel.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.kernel.as_mut().and_then(Kernel::poll_effect) {
            let record = effect.record();
            if let Some(checkers) = &mut self.checkers {
                checkers.record(self.now, &record, &self.plant);
            }
            self.tally.record(self.now, &record);
            if matches!(record, Record::Run { step: RunMove::Began { .. }, .. }) && self.before_runs.is_none() {
                self.before_runs = Some(self.plant.standing());
            }
            self.asked(&record);
            if self.entries.len() < ENTRIES_MAX {
                self.entries.push((self.now, EntryBody::Effect(record)));
            }
            match effect {
                Effect::Act(admitted) => {
                    let action = admitted.action();
                    if let Some(checkers) = &mut self.checkers {
                        checkers.carried(self.now, action);
                    }
                    let done = self.hands.act(&mut self.plant, action, self.now);
                    if let Some(judged) = done.judged {
                        self.tally.judged(self.now, action, judged);
                    }
                    if let Some((at, what)) = done.answer {
                        self.later(at, what);
                    }
                }
                Effect::Probe(action) => {
                    let (at, what) = self.hands.probe(&self.plant, &action, self.now);
                    self.later(at, what);
                }
                Effect::Revert(reverting) => {
                    let (at, what) = self.hands.revert(&mut self.plant, reverting.action(), self.now);
                    self.later(at, what);
                }
                Effect::Question { id, brief } => {
                    if let Some(think) = &mut self.think {
                        let advice = think(id, &brief);
                        self.later(self.now + THOUGHT, Pending::Event(Event::Advised(Box::new(advice))));
                    }
                }
                Effect::Announce(_) | Effect::Record(_) => {}
            }
        }
    }

    /// Somebody may answer a question.
    fn asked(&mut self, record: &Record) {
        let Record::Ruled { action, ruling, plan, .. } = record else { return };
        if !matches!(ruling.verdict, homeostat_model::Verdict::AwaitingApproval { .. }) {
            return;
        }
        for (after, yes) in self.setup.answers(*action) {
            self.later(self.now + after, Pending::Answer { action: *action, plan: plan.clone(), yes });
        }
    }

    /// Adds up what this life of the engine has counted.
    fn count(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        let stats = kernel.stats();
        self.stats.evaluations += stats.evaluations;
        self.stats.samples += stats.samples;
    }

    fn finish(mut self) -> Finished {
        self.plant.advance(self.end);
        let violations = self.checkers.take().map_or_else(Vec::new, |checkers| checkers.finish(self.end));
        self.count();
        let figures = Figures::of(&self.plant, &self.tally, &self.stats, self.engine_events, self.setup);
        Finished {
            figures,
            violations,
            tally: self.tally,
            outside: self.plant.meter.outside_seconds().map(|(aim, seconds)| (aim.0.clone(), seconds)).collect(),
            log: self.plant.log().cloned().collect(),
            before_runs: self.before_runs,
            standing: self.plant.standing(),
        }
    }
}

fn on_grid(at: Time) -> Time {
    Time(at.millis().div_euclid(TICK.millis()) * TICK.millis() + if at.millis().rem_euclid(TICK.millis()) == 0 { 0 } else { TICK.millis() })
}

fn alerted(alert: &crate::scenario::AlertAt, begin: Time) -> Event {
    let labels =
        Labels::new(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("alertname", alert.name.as_str())]));
    let fingerprint = format!("{:016x}", crate::chance::hash(&format!("{}{:?}", alert.name, alert.labels)));
    let at = begin + alert.at;
    let alert = Alert {
        fingerprint,
        status: alert.status,
        kind: AlertKind::Condition,
        name: alert.name.clone(),
        labels,
        annotations: BTreeMap::new(),
        starts_at: begin,
        ends_at: (alert.status == AlertStatus::Resolved).then_some(at),
        values: BTreeMap::new(),
    };
    Event::Alerted(AlertDelivery {
        source: AlertSource::Alertmanager,
        receiver: "lab".into(),
        group_key: "lab".into(),
        truncated: 0,
        alerts: vec![alert],
    })
}

/// The operation behind an action, where the lab knows its verb.
pub fn operation(lab: &crate::lab::Lab, action: &homeostat_model::Action) -> Option<Op> {
    let entry = lab.verbs.get(action.verb.as_str())?;
    let replicas = action.args.get("replicas").and_then(|arg| match arg {
        homeostat_model::Arg::Int(value) => u32::try_from(*value).ok(),
        _ => None,
    });
    Some(Op { does: entry.does, target: action.target.clone(), replicas })
}
