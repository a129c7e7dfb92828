//! The hands: they carry an action to the plant and say what an actuator would know, truthfully or, where a fault makes them, not.
//!
//! An editor breaks this by letting the oracle's word reach an outcome.

use crate::lab::Lab;
use crate::plant::{Back, Judged, Lie, Op, OpKind, Plant};
use homeostat_model::{Action, ActionId, Event, Fault as Trouble, FaultCode, Outcome, Receipt, Span, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that will happen.
pub(super) enum Pending {
    /// An event reaches the engine.
    Event(Event),
    /// The engine is killed.
    Kill,
    /// The engine starts.
    Start,
    /// Somebody looks whether an operation has come true.
    Watch { action: ActionId, op: Op, until: Time },
    /// A person answers.
    Answer { action: ActionId, plan: String, yes: bool },
}

/// What came of an action.
pub(super) struct Done {
    /// The oracle's word, where the action reached the plant or would have.
    pub judged: Option<Judged>,
    /// What will be heard, and when.
    pub answer: Option<(Time, Pending)>,
}

/// A node that was woken or started is not given up before this.
const SLOW_MAX: Span = Span::from_mins(15);

pub(super) struct Hands {
    lab: Arc<Lab>,
    /// What each action did, for probes: whether it arrived, and when it was sent.
    arrived: BTreeMap<ActionId, (Op, bool, Time)>,
    /// What takes each of them back.
    backs: BTreeMap<ActionId, Back>,
}

impl Hands {
    pub(super) fn new(lab: &Arc<Lab>) -> Hands {
        Hands { lab: Arc::clone(lab), arrived: BTreeMap::new(), backs: BTreeMap::new() }
    }

    pub(super) fn act(&mut self, plant: &mut Plant, action: &Action, now: Time) -> Done {
        let Some(op) = super::operation(&self.lab, action) else {
            let outcome = Outcome::NotDone(Trouble::new(FaultCode::Failed, format!("do {}", action.verb), "the lab has no such verb"));
            return Done { judged: None, answer: Some(settled(now, action.id, outcome)) };
        };
        let lie = plant.lie(action.verb.as_str()).or_else(|| self.cut_off(plant, action));
        let reaches = !matches!(lie, Some(Lie::NothingSaysDone | Lie::NothingNoAnswer | Lie::Refuses));
        let judged = plant.judge(&op);
        let back = plant.way_back(&op);
        let applied = reaches.then(|| plant.act(&op));
        let taken = applied.as_ref().is_some_and(|applied| applied.taken);
        // What was never done leaves nothing.
        if let Some(back) = back {
            self.backs.insert(action.id, if taken { back } else { Back::Nothing });
        }
        self.arrived.insert(action.id, (op.clone(), taken, now));
        let error = |text: &str| Trouble::new(FaultCode::Failed, format!("{} on {}", action.verb, action.target), text);
        let soon = now + Span::from_secs(2);
        let answer = match (lie, applied) {
            (Some(Lie::NothingSaysDone), _) => Some(settled(soon, action.id, done("it said that it is done"))),
            (Some(Lie::DoneSaysError), _) => Some(settled(soon, action.id, Outcome::Unknown(error("HTTP 500: something went wrong")))),
            (Some(Lie::Refuses), _) => Some(settled(soon, action.id, Outcome::NotDone(error("HTTP 429: too many requests")))),
            (Some(Lie::DoneNoAnswer | Lie::NothingNoAnswer), _) | (None, None) => {
                let trouble = Trouble::new(FaultCode::TimedOut, format!("{} on {}", action.verb, action.target), "no answer");
                Some(settled(now + action.timeout, action.id, Outcome::Unknown(trouble)))
            }
            (None, Some(applied)) if !applied.taken => {
                Some(settled(now + applied.known_after, action.id, Outcome::NotDone(error(&applied.observed))))
            }
            (None, Some(applied)) if watched(op.does) => {
                Some((now + applied.known_after, Pending::Watch { action: action.id, op, until: now + action.timeout }))
            }
            (None, Some(applied)) => Some(settled(now + applied.known_after, action.id, done(&applied.observed))),
        };
        Done { judged: Some(judged), answer }
    }

    /// The engine's network is gone: only its own node is reached.
    fn cut_off(&self, plant: &Plant, action: &Action) -> Option<Lie> {
        let here = action.target.name().split(':').next() == Some(self.lab.engine.as_str());
        (plant.engine_cut_off() && !here).then_some(Lie::NothingNoAnswer)
    }

    /// Whether what was to come true has; `None`: not yet.
    pub(super) fn look(&self, plant: &Plant, op: &Op, last: bool) -> Option<Outcome> {
        if plant.is_so(op) && !plant.engine_cut_off() {
            return Some(done("it was seen"));
        }
        last.then(|| Outcome::Unknown(Trouble::new(FaultCode::TimedOut, format!("wait for {}", op.target), "it was not seen in time")))
    }

    /// Takes an action back, as often as it is asked; what refuses or is cut off says so.
    pub(super) fn revert(&mut self, plant: &mut Plant, action: &Action, now: Time) -> (Time, Pending) {
        let lie = plant.lie(action.verb.as_str()).or_else(|| self.cut_off(plant, action));
        let trouble = |code, text: &str| Trouble::new(code, format!("take back {} on {}", action.verb, action.target), text);
        let outcome = match (self.backs.get(&action.id), lie) {
            (None, _) => Outcome::NotDone(trouble(FaultCode::Failed, "nothing takes that back")),
            (_, Some(Lie::Refuses)) => Outcome::NotDone(trouble(FaultCode::Failed, "HTTP 429: too many requests")),
            (_, Some(Lie::NothingNoAnswer)) => Outcome::Unknown(trouble(FaultCode::TimedOut, "no answer")),
            (_, Some(Lie::NothingSaysDone)) => done("it said that it is as before"),
            (Some(back), lie) => {
                let seen = plant.take_back(back);
                if lie.is_some() { Outcome::Unknown(trouble(FaultCode::TimedOut, "no answer")) } else { done(&seen) }
            }
        };
        (now + Span::from_secs(1), Pending::Event(Event::Reverted(action.id, outcome)))
    }

    /// What a later look says: what is so is done; else whether anything has arrived there.
    pub(super) fn probe(&self, plant: &Plant, action: &Action, now: Time) -> (Time, Pending) {
        let outcome = match self.arrived.get(&action.id) {
            Some(_) if self.cut_off(plant, action).is_some() => {
                Outcome::Unknown(Trouble::new(FaultCode::Unreachable, "probe", "the network is gone"))
            }
            None => Outcome::NotDone(Trouble::new(FaultCode::NeverStarted, "probe", "nothing has left")),
            Some((op, ..)) if watched(op.does) && plant.is_so(op) => done("it is so"),
            Some((op, true, _)) if !watched(op.does) => done("the far end has it in its log"),
            Some((op, false, _)) if !watched(op.does) => {
                Outcome::NotDone(Trouble::new(FaultCode::Failed, "probe", "the far end does not have it"))
            }
            // It may still be booting: only after a while is silence an answer.
            Some((_, true, sent)) if now.since(*sent) < SLOW_MAX => {
                Outcome::Unknown(Trouble::new(FaultCode::TimedOut, "probe", "it is not so yet"))
            }
            Some(_) => Outcome::NotDone(Trouble::new(FaultCode::TimedOut, "probe", "it is not so")),
        };
        settled(now + Span::from_secs(1), action.id, outcome)
    }
}

/// Whether an actuator proves this by looking, as power actions do.
fn watched(does: OpKind) -> bool {
    matches!(does, OpKind::Wake | OpKind::Sleep | OpKind::PowerOff | OpKind::PowerCycle | OpKind::Reboot | OpKind::Experiment)
}

fn settled(at: Time, action: ActionId, outcome: Outcome) -> (Time, Pending) {
    (at, Pending::Event(Event::Settled(action, outcome)))
}

fn done(observed: &str) -> Outcome {
    Outcome::Done(Receipt { observed: observed.into(), undo: BTreeMap::new() })
}
