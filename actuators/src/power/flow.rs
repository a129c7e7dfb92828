//! One deed: an action on a node under its mark, and the waiting that wakes, rests and restarts have in common.
//!
//! Deliberately absent: sending twice. All waits are the daemon's time; exchanges and programs take real time. An editor breaks this by
//! counting one silent look as silence.

use super::Power;
use super::config::Want;
use super::memory::Memory;
use super::node::Node;
use super::way::{Sent, State, Way};
use super::witness::{Eye, Sight, suffice};
use crate::ledger::{Mark, never_started};
use homeostat_model::{Action, Arg, Fault, FaultCode, Outcome, Receipt, Span, Time};
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

/// The ledger's note that the first packet or request may have left.
pub(super) const SENDING: &str = "sending";
/// The ledger's note of what the witnesses saw before.
pub(super) const BEFORE: &str = "before";
/// In a receipt: when the node was seen to wake, in milliseconds.
pub(super) const WOKEN_AT: &str = "woken_at";
/// In a receipt: when the node was seen to fall silent, in milliseconds.
pub(super) const RESTED_AT: &str = "rested_at";

/// One deed. `want` is not the action's own when it is taken back.
#[derive(Debug)]
pub(super) struct Deed<'a> {
    pub power: &'a Power,
    pub node: &'a Node,
    pub way: &'a Way,
    pub want: Want,
    pub action: &'a Action,
    pub mark: Mark,
    pub now: Time,
    pub begun: Instant,
    pub doing: String,
}

impl Deed<'_> {
    pub(super) async fn run(&self) -> Outcome {
        match self.want {
            Want::Wake | Want::On => self.rise().await,
            Want::Sleep | Want::Off => self.rest().await,
            Want::Reboot => self.reboot().await,
        }
    }

    pub(super) fn eye(&self) -> Eye<'_> {
        self.power.eye(self.node)
    }

    pub(super) fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::NotDone(Fault::new(code, self.doing.clone(), detail))
    }

    pub(super) fn refused(&self, why: impl std::fmt::Display) -> Outcome {
        self.not_done(FaultCode::Conflict, format!("{why}; nothing was sent"))
    }

    pub(super) fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::Unknown(Fault::new(code, self.doing.clone(), detail))
    }

    pub(super) fn done(observed: String, undo: Option<(&str, Time)>) -> Outcome {
        let undo: BTreeMap<String, Arg> = undo.into_iter().map(|(name, at)| (name.to_owned(), Arg::Int(at.millis()))).collect();
        Outcome::Done(Receipt { observed, undo })
    }

    /// The moment, in the daemon's time.
    pub(super) fn moment(&self) -> Time {
        self.now + Span::from_millis((self.power.pace.seconds_in(self.begun.elapsed()) * 1000.0) as i64)
    }

    /// What the action allows of this; taking something back has only the node's own limits.
    pub(super) fn allowed(&self, limit: Span) -> Span {
        if matches!(self.mark, Mark::Revert(_)) { limit } else { self.action.timeout.min(limit) }
    }

    pub(super) fn after(&self, allowed: Span) -> Instant {
        Instant::now() + self.power.pace.real(allowed)
    }

    pub(super) fn memory(&self) -> Result<Memory, Outcome> {
        Memory::read(&self.power.ledger, &self.node.name).map_err(|fault| never_started(self.doing.clone(), fault.to_string()))
    }

    /// Notes that something may leave now. After this nothing is "never started".
    pub(super) fn note_sending(&self, eye: &Eye<'_>, more: Option<(&str, String)>) -> Result<(), Outcome> {
        let note = |name: &str, value: Arg| {
            let noted = self.power.ledger.note(self.mark, name, value);
            noted.map_err(|fault| never_started(self.doing.clone(), fault.to_string()))
        };
        note(BEFORE, eye.memory())?;
        if let Some((name, text)) = more {
            note(name, Arg::Text(text))?;
        }
        note(SENDING, Arg::Bool(true))
    }

    /// What the way says about the power before anything is sent; a way that should know and cannot be asked ends it.
    pub(super) async fn state_before(&self) -> Result<Option<State>, Outcome> {
        match self.way.state().await {
            None => Ok(None),
            Some(Ok(state)) => Ok(Some(state)),
            Some(Err((code, why))) => Err(self.not_done(code, format!("{why}; nothing was sent"))),
        }
    }

    /// Goes the way once: what is known then, in words, or the end.
    pub(super) async fn send(&self) -> Result<String, Outcome> {
        match self.way.send(self.want).await {
            Sent::Accepted(words) => Ok(words),
            Sent::NeverLeft(code, why) | Sent::Refused(code, why) => Err(self.not_done(code, why)),
            Sent::Lost(_, why) => Ok(format!("it may have been taken ({why})")),
            Sent::Failed(why) => {
                let seen = self.eye().look().await;
                let awake = self.want != Want::Wake && self.want != Want::On && Eye::any_awake(&seen);
                if awake { Err(self.not_done(FaultCode::Failed, why)) } else { Ok(why) }
            }
        }
    }

    pub(super) async fn pause(&self) {
        sleep(self.power.pace.real(self.power.poll)).await;
    }

    /// Waits until all witnesses have been silent for the whole stretch; who was not, if `until` comes first.
    pub(super) async fn silence(&self, eye: &mut Eye<'_>, until: Instant) -> Result<(), Vec<String>> {
        let stretch = self.power.pace.real(self.power.silence);
        let mut since = None;
        loop {
            let sights = eye.look().await;
            let loud = eye.loud(&sights);
            if loud.is_empty() {
                let began = *since.get_or_insert_with(Instant::now);
                if began.elapsed() >= stretch {
                    return Ok(());
                }
            } else {
                since = None;
                if Instant::now() >= until {
                    return Err(loud);
                }
            }
            self.pause().await;
        }
    }

    /// Whether the way's own state, if it has one, is what is wanted, asked until `until`.
    pub(super) async fn agrees(&self, until: Instant) -> Result<(), String> {
        loop {
            let disagrees = match self.way.state().await {
                None | Some(Ok(State::Off)) => return Ok(()),
                Some(Ok(State::Asleep)) if self.want == Want::Sleep => return Ok(()),
                Some(Ok(state)) => format!("it is silent, but its controller or plug says {state:?}"),
                Some(Err((_, why))) => format!("it is silent, but its controller or plug cannot be asked: {why}"),
            };
            if Instant::now() >= until {
                return Err(disagrees);
            }
            self.pause().await;
        }
    }

    /// Seconds of the daemon's time since then.
    pub(super) fn seconds_since(&self, start: Instant) -> f64 {
        self.power.pace.seconds_in(start.elapsed())
    }
}

/// Who has witnessed since the send, and after how many seconds.
#[derive(Debug, Default)]
pub(super) struct Witnessed(BTreeMap<usize, f64>);

impl Witnessed {
    /// Adds what is surely newer than the send.
    pub(super) fn add(&mut self, sights: &[Sight], seconds: f64) {
        for (index, _) in sights.iter().enumerate().filter(|(_, sight)| matches!(sight, Sight::Awake(true))) {
            self.0.entry(index).or_insert(seconds);
        }
    }

    /// Whether those who have witnessed by now prove that it is awake.
    pub(super) fn proves(&self, node: &Node) -> bool {
        suffice(&node.witnesses, self.0.keys().copied(), node.config.witnesses_min)
    }

    /// `tcp nas.lan:22 answered 41.2 s and watts answered 3.0 s`, to be followed by "after …".
    pub(super) fn words(&self, node: &Node) -> String {
        let word = |(index, seconds): (&usize, &f64)| format!("{} answered {seconds:.1} s", node.witnesses[*index].name());
        self.0.iter().map(word).collect::<Vec<_>>().join(" and ")
    }

    /// Those who have not, by name.
    pub(super) fn missing(&self, node: &Node) -> String {
        let missing = node.witnesses.iter().enumerate().filter(|(index, _)| !self.0.contains_key(index));
        missing.map(|(_, witness)| witness.name()).collect::<Vec<_>>().join(", ")
    }
}
