//! Watches for actions on one target that go to and fro in a regular rhythm: a loop that chases its own effect.
//!
//! The swings are read from the actions in memory whenever one is sent; what is found is a record, and the guard `opposite` holds the
//! direction that takes away (never the one that brings back). Deliberately absent: rhythms of the world, a night's sleep and a morning's
//! wake: `score::cycle` knows how fast the plant answers. An editor breaks this by counting the same swings twice.

use super::Kernel;
use crate::ledger::ActionState;
use crate::score::cycle::{self, Swing};
use homeostat_model::{ActionId, Arg, NoticeKind, Record, Span, Trip, Verb};

/// A verb's settling time where neither it nor experience says one.
const SETTLE_USUAL: Span = Span::from_mins(1);
/// The argument whose size is a direction.
const SIZE: &str = "replicas";

impl Kernel {
    /// An action was sent: perhaps one too many.
    pub(super) fn watch_rhythm(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let (verb, target) = (state.proposal.verb.clone(), state.proposal.target.clone());
        let opposite = self.arbiter.verb(&verb).and_then(|spec| spec.opposite.clone());
        let since = self.ledger.trust().trips(&target).last().map(|(at, _)| *at);
        let of_pair = |state: &&ActionState| {
            let is_of = state.proposal.verb == verb || Some(&state.proposal.verb) == opposite.as_ref();
            is_of && state.proposal.target == target && state.sent_at.is_some() && since.is_none_or(|since| state.sent_at > Some(since))
        };
        let mut states: Vec<&ActionState> = self.ledger.actions().rev().filter(of_pair).take(cycle::SWINGS_MAX).collect();
        states.sort_by_key(|state| state.sent_at);
        let swings = match &opposite {
            Some(_) => states.iter().filter_map(|state| Some(Swing { at: state.sent_at?, up: state.proposal.verb == verb })).collect(),
            None => by_size(&states),
        };
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
