//! Watches for actions on one target that go to and fro in a regular rhythm: a loop that chases its own effect.
//!
//! The swings are read from the actions in memory whenever one is sent; what is found is a record, and the guard `opposite` holds the
//! direction that takes away (never the one that brings back). Deliberately absent: rhythms of the world, a night's sleep and a morning's
//! wake: `score::cycle` knows how fast the plant answers. An editor breaks this by counting the same swings twice.

use super::Kernel;
use crate::ledger::ActionState;
use crate::score::cycle::{self, Swing};
use homeostat_model::{ActionId, Arg, NoticeKind, Proposal, Record, Span, Time, Trip, Verb};

/// A verb's settling time where neither it nor experience says one.
const SETTLE_USUAL: Span = Span::from_mins(1);
/// The argument whose size is a direction.
const SIZE: &str = "replicas";

impl Kernel {
    /// An action was sent: perhaps one too many.
    pub(super) fn watch_rhythm(&mut self, id: ActionId) {
        if let Some(proposal) = self.ledger.action(id).map(|state| state.proposal.clone()) {
            self.watch_swings(id, &proposal, None);
        }
    }

    /// The guard `opposite` leaves a wish to a person: what would have been the next swing closes the circle as surely as if it had been
    /// sent. It would have been at the first moment at which the settling of its opposite did not stand in the way.
    pub(super) fn watch_held_swing(&mut self, id: ActionId, proposal: &Proposal) {
        let Some(opposite) = self.arbiter.verb(&proposal.verb).and_then(|spec| spec.opposite.clone()) else { return };
        let Some((at, settle)) = self.ledger.last_done(&proposal.target, &opposite) else { return };
        let wished = self.ledger.action(id).map_or(self.now, |state| state.ruled_at);
        let next = wished.max(at + Span(settle.millis().saturating_mul(2)));
        if next <= self.now {
            self.watch_swings(id, proposal, Some(next));
        }
    }

    /// Looks for a rhythm in what was sent to a target, and in the swing that would be `next`.
    fn watch_swings(&mut self, id: ActionId, proposal: &Proposal, next: Option<Time>) {
        let (verb, target) = (proposal.verb.clone(), proposal.target.clone());
        let opposite = self.arbiter.verb(&verb).and_then(|spec| spec.opposite.clone());
        let since = self.ledger.trust().trips(&target).last().map(|(at, _)| *at);
        let of_pair = |state: &&ActionState| {
            let is_of = state.proposal.verb == verb || Some(&state.proposal.verb) == opposite.as_ref();
            is_of && state.proposal.target == target && state.sent_at.is_some() && since.is_none_or(|since| state.sent_at > Some(since))
        };
        let mut states: Vec<&ActionState> = self.ledger.actions().rev().filter(of_pair).take(cycle::SWINGS_MAX).collect();
        states.sort_by_key(|state| state.sent_at);
        let mut swings: Vec<Swing> = match &opposite {
            Some(_) => states.iter().filter_map(|state| Some(Swing { at: state.sent_at?, up: state.proposal.verb == verb })).collect(),
            None => by_size(&states),
        };
        swings.extend(next.map(|at| Swing { at, up: true }));
        let settle = self.arbiter.verb(&verb).map_or(Span::ZERO, |spec| spec.settle);
        let learned = self.ledger.trust().responses().filter(|((of, _), _)| *of == verb).filter_map(|(_, learned)| learned.summary());
        let answer = |seconds: f64| Span::from_millis((seconds * 1000.0) as i64);
        let answers = learned.map(|summary| answer(summary.dead_time_seconds.median + summary.lag_seconds.median));
        let plant = answers.max().unwrap_or(Span::ZERO).max(settle).max(SETTLE_USUAL);
        let Some(found) = cycle::detect(&swings, plant) else { return };
        let other: Verb = opposite.unwrap_or_else(|| verb.clone());
        let trip = Trip { target: target.clone(), verbs: (verb, other), period: found.period, text: found.text };
        let title = format!("{} and {} go round in circles on {target}", trip.verbs.0, trip.verbs.1);
        let text = format!("{}\nWhat takes away is held back; look at the thresholds of the policies behind it.", trip.text);
        self.record(Record::Tripped(trip));
        self.announce(NoticeKind::Trouble, Some(id), title, text);
    }
}

/// One verb whose size goes up and down.
fn by_size(states: &[&ActionState]) -> Vec<Swing> {
    let size = |state: &ActionState| match state.proposal.args.get(SIZE) {
        Some(Arg::Int(size)) => Some(*size as f64),
        Some(Arg::Float(size)) => Some(*size),
        _ => None,
    };
    let sized: Vec<(Option<f64>, Option<homeostat_model::Time>)> = states.iter().map(|state| (size(state), state.sent_at)).collect();
    let steps = sized.windows(2).filter_map(|pair| {
        let (before, after) = (pair[0].0?, pair[1].0?);
        (before != after).then_some(Swing { at: pair[1].1?, up: after > before })
    });
    steps.collect()
}
