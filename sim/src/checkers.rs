//! What must never happen, checked after every journal entry and every step of the plant.
//!
//! The checkers know only the events, the records and the plant's truth. They keep their own books and never ask the kernel's guards,
//! so a broken guard does not excuse itself. An editor breaks this by calling into the arbiter or the ledger here.

mod books;
mod runs;
mod thoughts;

use crate::lab::{Lab, Owner, ServiceSpec};
use crate::plant::{Fault, Op, OpKind, Plant, Worth};
use books::Books;
use homeostat_model::playbook::{APPROVE, PLAYBOOK};
use homeostat_model::{
    ArbiterSettings, CalendarWindow, Class, Command, Event, Origin, Record, Span, Time, TopologySettings, Verdict, WindowRule,
};
use runs::Runs;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thoughts::Thoughts;

/// Violations that are kept.
const VIOLATIONS_MAX: usize = 100;
/// The engine must know that it is cut off after this.
const BLIND_KNOWN_AFTER: Span = Span::from_mins(4);
/// A sent action must be closed this long after its timeout.
const CLOSED_AFTER: Span = Span::from_hours(2);

/// A target may be sent to and fro so often within an hour.
const SWINGS_MAX: usize = 6;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When.
    pub at: Time,
    /// Which invariant.
    pub invariant: &'static str,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// The invariants' names and what they say.
pub const INVARIANTS: &[(&str, &str)] = &[
    ("ruled-before-sent", "No action is sent without a ruling on the same verb, target and arguments in the journal before it"),
    ("well-formed", "What is sent is known to the lab, has arguments within their limits, and claims something"),
    ("sent-once", "One attempt of one action is sent once"),
    ("cooldown", "The same wish is not sent again within its cooldown"),
    ("grace", "Nothing disruptive is sent right after a start or a jump of the clock"),
    ("settling", "Nothing interrupts a target that settles from an action of another wish"),
    ("futility", "A symptom does not get more attempts than allowed within the window, unless a person unlocks it"),
    ("opposite", "The opposite of what was done is not done within twice the settling time without a person"),
    ("to-and-fro", "A target is not sent to and fro more than six times an hour without a person"),
    ("concurrent", "No more actions of a class run at once than allowed"),
    ("per-hour", "No more actions of a class are sent within an hour than allowed"),
    ("storm", "While much is coming back, things come back one by one, with a pause, and nothing rough is done without a person"),
    ("quiet-hours", "Nothing is done in quiet hours that they forbid, unless a person wants it"),
    ("foreign-owner", "A field that an autoscaler is known to hold is not written"),
    ("one-at-a-time", "No two actions run on one target at once"),
    ("approved", "What needs a person has one yes, for this very plan, used once, in time"),
    ("hands-off", "Nothing is sent while hands-off"),
    ("fresh", "No action rests on a reading without a value or older than allowed"),
    ("blind", "Nothing but a notice is sent while the engine sees nothing, once it can know that"),
    ("mass", "No policy acts on many targets at once because its observer fails"),
    ("own-base", "The engine's own host is not interrupted"),
    ("last-one", "No action takes the power of the last working replica, the last copy or the quorum"),
    ("judged-once", "A claim is judged once"),
    ("closed", "What was sent is settled or closed in the end"),
    ("own-steps", "What is the kernel's own (runs, questions, waits) is never sent to an actuator"),
    ("step-order", "No step of a run is sent before all that it comes after has ended"),
    ("undo-alone", "Nothing of a run is taken back while one of its steps is in flight, except a step whose steady state broke"),
    ("after-the-end", "Nothing is sent for a run that has ended"),
    ("reasoner", "What a model wishes can be taken back, and where text from outside decided a person has said yes"),
    ("questions", "A model's wish answers a question that was asked, and every question ends: with a ruling, or without a proposal"),
    ("forward", "Time in the journal does not run backwards"),
];

/// The checkers. See the module.
pub struct Checkers {
    settings: ArbiterSettings,
    owners_known: bool,
    lab: Arc<Lab>,
    books: Books,
    runs: Runs,
    thoughts: Thoughts,
    violations: Vec<Violation>,
    last: Time,
    cut_off_since: Option<Time>,
    house_blind_since: Option<Time>,
}

impl Checkers {
    /// Checkers that hold the kernel to these settings.
    pub fn new(settings: ArbiterSettings, topology: &TopologySettings, lab: Arc<Lab>) -> Checkers {
        Checkers {
            settings,
            owners_known: !topology.owners.is_empty(),
            lab,
            books: Books::default(),
            runs: Runs::default(),
            thoughts: Thoughts::default(),
            violations: Vec::new(),
            last: Time(i64::MIN),
            cut_off_since: None,
            house_blind_since: None,
        }
    }

    fn broken(&mut self, at: Time, invariant: &'static str, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { at, invariant, text });
        }
    }

    /// The plant has moved.
    pub fn step(&mut self, now: Time, plant: &Plant) {
        let since = |flag: bool, since: Option<Time>| if flag { since.or(Some(now)) } else { None };
        self.cut_off_since = since(plant.engine_cut_off(), self.cut_off_since);
        self.house_blind_since = since(plant.suffers(|fault| matches!(fault, Fault::HouseBlind)), self.house_blind_since);
    }

    /// An event was written.
    pub fn event(&mut self, at: Time, event: &Event) {
        self.forward(at);
        match event {
            Event::Ordered(ordered) => self.books.ordered(at, &ordered.command),
            Event::Settled(action, outcome) => self.books.settled(at, *action, outcome),
            Event::Started { .. } => self.books.started_at = Some(at),
            Event::ClockJumped { .. } => self.books.jumped_at = Some(at),
            _ => {}
        }
        if let Event::Ordered(ordered) = event
            && let Command::Resume = ordered.command
        {
            self.books.hands_off = false;
        }
    }

    fn forward(&mut self, at: Time) {
        if at < self.last {
            self.broken(at, "forward", format!("{} after {}", at.millis(), self.last.millis()));
        }
        self.last = self.last.max(at);
    }

    /// A record was written.
    pub fn record(&mut self, at: Time, record: &Record, plant: &Plant) {
        self.forward(at);
        self.check_thoughts(at, record);
        match record {
            Record::Ruled { action, proposal, ruling, plan } => self.books.ruled(at, *action, proposal, ruling, plan),
            Record::Act { action, attempt } => {
                // The kernel's own is written down as sent and goes nowhere.
                if action.verb.actuator() != PLAYBOOK {
                    self.check_form(at, action);
                }
                self.check_paper(at, action, *attempt);
                self.check_rhythm(at, action, *attempt);
                self.check_calm(at, action, *attempt);
                self.check_world(at, action, plant);
                self.check_run(at, action);
                self.books.sent(at, action, *attempt);
            }
            Record::Run { run, step } => self.runs.moved(*run, step),
            Record::Settled { action, outcome } => self.books.settled(at, *action, outcome),
            Record::Revert { action, .. } => self.check_revert(at, *action),
            Record::Closed { action, .. } => self.books.closed(*action),
            Record::Judged { action, .. } if !self.books.judge(*action) => {
                self.broken(at, "judged-once", format!("{action} was judged again"));
            }
            _ => {}
        }
    }

    /// It must be something that can be done.
    fn check_form(&mut self, at: Time, action: &homeostat_model::Action) {
        let what = format!("{} {} on {}", action.id, action.verb, action.target);
        let Some(entry) = self.lab.verbs.get(action.verb.as_str()) else {
            return self.broken(at, "well-formed", format!("{what}: there is no such verb"));
        };
        let out_of_range = entry.ints.iter().find(|(name, (low, high))| {
            !matches!(action.args.get(name.as_str()), Some(homeostat_model::Arg::Int(value)) if low <= value && value <= high)
        });
        if let Some((name, (low, high))) = out_of_range {
            self.broken(at, "well-formed", format!("{what}: `{name}` is not a whole number from {low} to {high}"));
        }
        // Steps are judged by their `verify`, and a person's order is its own reason.
        let claims = |origin: &Origin| origin.policy().is_some() || matches!(origin, Origin::Reasoner(_));
        let must_claim = self.books.rulings.get(&action.id).is_none_or(|ruled| claims(&ruled.origin));
        if action.class >= Class::Restore && must_claim && !self.books.has_claim(action.id) {
            self.broken(at, "well-formed", format!("{what}: it claims nothing"));
        }
    }

    /// What is written must allow it.
    fn check_paper(&mut self, at: Time, action: &homeostat_model::Action, attempt: u32) {
        let id = action.id;
        let Some(ruled) = self.books.rulings.get(&id).cloned() else {
            return self.broken(at, "ruled-before-sent", format!("{id} was sent without a ruling"));
        };
        let same = ruled.verb == action.verb && ruled.target == action.target && ruled.args == action.args;
        if ruled.verdict != Verdict::Admitted || !same {
            self.broken(at, "ruled-before-sent", format!("{id} {} on {}: ruled {}", action.verb, action.target, ruled.verdict.name()));
        }
        if self.books.attempts.get(&id).is_some_and(|last| *last >= attempt) {
            self.broken(at, "sent-once", format!("attempt {attempt} of {id} was sent again"));
        }
        if self.books.hands_off {
            self.broken(at, "hands-off", format!("{id} {} was sent", action.verb));
        }
        let ceiling = self.settings.autonomy.get(&action.class).copied().unwrap_or(homeostat_model::Autonomy::Suggest).min(ruled.autonomy);
        let needs_person = matches!(ceiling, homeostat_model::Autonomy::Suggest | homeostat_model::Autonomy::Shadow);
        // Other guards may ask a person too: whoever said yes is remembered in any case.
        let consented = attempt == 1 && self.books.use_consent(at, id, &ruled.plan);
        // A step was allowed with its run; a person's order is the yes; a playbook's own question is always asked.
        let asked = action.verb.as_str() == APPROVE;
        let by_order = matches!(ruled.origin, Origin::Operator(_));
        let needs_person = asked || (needs_person && ruled.origin.run().is_none() && !by_order);
        if needs_person && attempt == 1 && !consented {
            self.broken(
                at,
                "approved",
                format!("{id} {} on {} needs a person, and none said yes to this plan in time", action.verb, action.target),
            );
        }
        if action.class >= Class::Restore
            && let Some(bad) = ruled.evidence_problem(ruled.at, self.settings.evidence_age_max)
        {
            self.broken(at, "fresh", format!("{id} {} on {} rests on {bad}", action.verb, action.target));
        }
        if let Origin::Reasoner(suggested) = &ruled.origin {
            self.check_thinker(at, action, suggested);
        }
    }

    /// Its rhythm must be as the settings say.
    fn check_rhythm(&mut self, at: Time, action: &homeostat_model::Action, attempt: u32) {
        if attempt > 1 {
            return;
        }
        let Some(ruled) = self.books.rulings.get(&action.id).cloned() else { return };
        let what = format!("{} {} on {}", action.id, action.verb, action.target);
        if let Some(until) = self.books.quiet_until(&ruled.symptom, &action.verb)
            && at < until
        {
            self.broken(at, "cooldown", format!("{what}: {} too early, the cooldown is {}", until.since(at), ruled.cooldown));
        }
        let graces = [(self.books.started_at, self.settings.boot_grace), (self.books.jumped_at, self.settings.clock_jump_freeze)];
        let in_grace = graces.into_iter().any(|(since, grace)| since.is_some_and(|since| at < since + grace));
        if action.class >= Class::Disruptive && in_grace {
            self.broken(at, "grace", format!("{what}: the engine has just started, or its clock has jumped"));
        }
        let opposite = self.lab.verbs.get(action.verb.as_str()).and_then(|entry| entry.opposite.clone());
        let of_run = ruled.origin.run().is_some();
        let sent_before = opposite.as_deref().and_then(|opposite| self.books.sent_at(action, opposite));
        let undone = opposite.as_deref().and_then(|opposite| self.books.undone(&action.target, opposite));
        let (most, window) = (self.settings.futility_attempts_max as usize, self.settings.futility_window);
        if action.class >= Class::Restore && !of_run && self.books.is_locked(&ruled.symptom, undone, most, window) {
            self.broken(at, "futility", format!("{what}: its symptom had {most} attempts within {window} before, and nobody unlocked it"));
        }
        if action.class >= Class::Restore {
            if let Some(other) = self.books.running_on(action) {
                self.broken(at, "one-at-a-time", format!("{what} while {other} runs there"));
            }
            if let Some((other, until)) = self.books.settling(action, &ruled.symptom)
                && at < until
            {
                self.broken(at, "settling", format!("{what} while it settles from {other}"));
            }
        }
        if let Some(opposite) = &opposite
            && self.books.swings(action, [action.verb.as_str(), opposite], at) >= SWINGS_MAX
            && !self.books.has_person(action.id)
        {
            self.broken(at, "to-and-fro", format!("{what}: it and {opposite} were sent {SWINGS_MAX} times within the hour"));
        }
        if let Some((opposite, (done_at, settle))) = opposite.zip(sent_before)
            && at.since(done_at) < settle.times(2.0)
            && !self.books.has_person(action.id)
        {
            self.broken(at, "opposite", format!("{what}: {opposite} was done {} ago", at.since(done_at)));
        }
        let allowed = |limits: &BTreeMap<Class, u32>| limits.get(&action.class).copied().map_or(usize::MAX, |limit| limit as usize);
        let (running_max, hour_max) = (allowed(&self.settings.concurrent_max), allowed(&self.settings.per_hour_max));
        let running = self.books.running_beside(action);
        if running >= running_max {
            self.broken(at, "concurrent", format!("{what}: {running} of class {} run already", action.class));
        }
        let sent = self.books.sent_within(action.class, at, Span::from_hours(1));
        if sent >= hour_max && !of_run {
            self.broken(at, "per-hour", format!("{what}: {sent} of class {} were sent within the hour", action.class));
        }
    }

    /// The house must be calm, and the hour right.
    fn check_calm(&mut self, at: Time, action: &homeostat_model::Action, attempt: u32) {
        // A run was asked when it began; its steps only by what is their own.
        let of_run = self.books.rulings.get(&action.id).is_some_and(|ruled| ruled.origin.run().is_some());
        if attempt > 1 || action.class < Class::Restore || of_run || self.books.has_person(action.id) {
            return;
        }
        let what = format!("{} {} on {}", action.id, action.verb, action.target);
        let storm = self.settings.storm.clone();
        let restored = self.books.sent_within(Class::Restore, at, storm.within);
        if restored >= storm.restores_max as usize {
            let early = self.books.sent_within(Class::Restore, at, storm.ramp) > 0 || self.books.is_running(Class::Restore);
            if action.class > Class::Restore || early {
                self.broken(at, "storm", format!("{what}: {restored} things were brought back within {}", storm.within));
            }
        }
        let minute = (at.millis().div_euclid(60_000) + i64::from(self.settings.calendar.utc_offset_minutes)).rem_euclid(24 * 60);
        // Windows of all weekdays within one day: all that scenarios have.
        let forbids = |window: &&CalendarWindow| {
            window.rule == WindowRule::Deny
                && window.weekdays.is_empty()
                && window.classes.contains(&action.class)
                && (i64::from(window.from.0)..i64::from(window.to.0)).contains(&minute)
        };
        if let Some(name) = self.settings.calendar.windows.iter().find(forbids).map(|window| window.name.clone()) {
            self.broken(at, "quiet-hours", format!("{what}: within `{name}`"));
        }
        let owned = |service: &ServiceSpec| service.name == action.target.name() && matches!(service.owner, Some(Owner::Autoscaler { .. }));
        let scales = self.lab.verbs.get(action.verb.as_str()).is_some_and(|entry| entry.does == OpKind::Scale);
        if self.owners_known && scales && self.lab.services.iter().any(owned) {
            self.broken(at, "foreign-owner", format!("{what}: an autoscaler holds its replicas"));
        }
    }

    /// The world must allow it.
    fn check_world(&mut self, at: Time, action: &homeostat_model::Action, plant: &Plant) {
        let Some(op) = crate::run::operation(&self.lab, action) else { return };
        let what = format!("{} {} on {}", action.id, action.verb, action.target);
        let takes_power = matches!(op.does, OpKind::Sleep | OpKind::PowerOff | OpKind::PowerCycle | OpKind::Reboot);
        if takes_power && op.target.name() == self.lab.engine {
            self.broken(at, "own-base", format!("{what}: the engine runs there"));
        }
        let by_person = self.books.has_person(action.id);
        if takes_power && !by_person && self.takes_the_last(&op, plant) {
            self.broken(at, "last-one", format!("{what}: nothing is left without it"));
        }
        let elsewhere = op.target.name().split(':').next() != Some(self.lab.engine.as_str());
        let blind_for = |since: Option<Time>| since.is_some_and(|since| at.since(since) >= BLIND_KNOWN_AFTER);
        if op.does != OpKind::Tell && elsewhere && !by_person && blind_for(self.cut_off_since) {
            self.broken(at, "blind", format!("{what}: the engine has been cut off for {}", at.since(self.cut_off_since.unwrap_or(at))));
        }
        let of_house = matches!(
            op.does,
            OpKind::Wake
                | OpKind::Sleep
                | OpKind::PowerOff
                | OpKind::PowerCycle
                | OpKind::Reboot
                | OpKind::Drain
                | OpKind::Restart
                | OpKind::Scale
                | OpKind::DeletePod
                | OpKind::Upgrade
                | OpKind::Experiment
        );
        if of_house && !by_person && blind_for(self.house_blind_since) {
            self.broken(at, "blind", format!("{what}: the house has not been seen for {}", at.since(self.house_blind_since.unwrap_or(at))));
        }
        let by_policy = self.books.rulings.get(&action.id).is_some_and(|ruled| ruled.origin.policy().is_some());
        if takes_power && by_policy && plant.judge(&op).worth != Worth::Useful {
            let of_policy = self.books.policy_of(action.id);
            let targets = self.books.others_within(action, at, Span::from_mins(20)) + 1;
            if targets >= 3 {
                self.broken(at, "mass", format!("{what}: policy {of_policy} takes the power of {targets} targets within 20m"));
            }
        }
    }

    fn takes_the_last(&self, op: &Op, plant: &Plant) -> bool {
        let Some(index) = plant.node_index(op.target.name()) else { return false };
        let node = &plant.nodes[index];
        if !node.answers() {
            return false;
        }
        let others = plant.quorum.iter().filter(|member| **member != index && plant.nodes[**member].answers()).count();
        let breaks_quorum = plant.quorum.contains(&index) && plant.has_quorum() && 2 * others <= plant.quorum.len();
        breaks_quorum || plant.is_last_anywhere(index)
    }

    /// The run is over; what was broken.
    pub fn finish(mut self, at: Time) -> Vec<Violation> {
        for (id, sent, timeout) in self.books.still_running() {
            if at.since(sent) > timeout + CLOSED_AFTER {
                self.broken(at, "closed", format!("{id} was sent {} ago and is still open", at.since(sent)));
            }
        }
        let unended: Vec<_> = self.thoughts.open().filter(|(_, asked)| at.since(*asked) > CLOSED_AFTER).collect();
        for (question, asked) in unended {
            self.broken(at, "questions", format!("{question} was asked {} ago and has not ended", at.since(asked)));
        }
        self.violations
    }
}
