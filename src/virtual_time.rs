//! The virtual-time driver: a script of events and a stand-in for the actuators, run through the same [`Core`] as the live driver, as
//! fast as it goes. No sockets, no threads, no waiting.
//!
//! Deliberately absent: a plant. The script says what happens; the simulator will say it instead.

use crate::driver::Core;
use homeostat_kernel::Effect;
use homeostat_model::{Action, ActionId, Event, Fault, FaultCode, Notice, Outcome, Span, Time};
use std::collections::BTreeMap;

/// What stands in for the actuators: how long an action takes, and what is known then.
pub trait StandIn {
    /// Does it.
    fn apply(&mut self, now: Time, action: &Action) -> (Span, Outcome);
    /// Tells whether it is done.
    fn probe(&mut self, now: Time, action: &Action) -> (Span, Outcome);
    /// Takes it back.
    fn revert(&mut self, _now: Time, action: &Action) -> (Span, Outcome) {
        let fault = Fault::new(FaultCode::NeverStarted, format!("revert {}", action.verb), "the stand-in cannot take anything back");
        (Span::ZERO, Outcome::NotDone(fault))
    }
    /// Hears a notice.
    fn announce(&mut self, _now: Time, _notice: &Notice) {}
}

/// Runs a script to its end, and everything that follows from it until `until`.
pub fn run(core: &mut Core, script: Vec<(Time, Event)>, stand_in: &mut dyn StandIn, until: Time) {
    // Events of one moment keep their order: the counter breaks ties.
    let mut waiting: BTreeMap<(Time, u64), Event> = BTreeMap::new();
    let mut counter = 0;
    for (at, event) in script {
        waiting.insert((at, counter), event);
        counter += 1;
    }
    loop {
        let next = waiting.first_key_value().map(|((at, _), _)| *at);
        let deadline = core.kernel().poll_deadline();
        let Some(now) = [next, deadline].into_iter().flatten().min().filter(|at| *at <= until) else { return };
        let event = match next.filter(|at| *at <= now).and_then(|_| waiting.pop_first()) {
            Some((_, event)) => event,
            None => Event::Tick,
        };
        for effect in core.step(vec![(now, event)]).effects {
            let (after, event) = match &effect {
                Effect::Act(admitted) => settled(admitted.action().id, stand_in.apply(now, admitted.action())),
                Effect::Probe(action) => settled(action.id, stand_in.probe(now, action)),
                Effect::Revert(reverting) => {
                    let (after, outcome) = stand_in.revert(now, reverting.action());
                    (after, Event::Reverted(reverting.action().id, outcome))
                }
                Effect::Announce(notice) => {
                    stand_in.announce(now, notice);
                    continue;
                }
                Effect::Question { .. } | Effect::Record(_) => continue,
            };
            waiting.insert((now + after, counter), event);
            counter += 1;
        }
    }
}

fn settled(id: ActionId, (after, outcome): (Span, Outcome)) -> (Span, Event) {
    (after, Event::Settled(id, outcome))
}
