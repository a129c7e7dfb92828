//! Two plans never mix (lessons 20, 22). One action per target at a time; and what takes a target down has everything that hangs on
//! it for itself: while a node restarts nobody restarts a deployment on it, and the other way round. A stuck run keeps its targets
//! until a person releases it. The safest wins: a milder wish for the opposite holds a rougher one, never the reverse; in any other
//! conflict what is under way ends first, so a milder wish may wait, but a rougher one is never let in.

use super::{Case, Opinion};
use crate::arbiter::Touch;
use crate::ledger::{ActionState, Phase};
use homeostat_model::{Action, Class, Span};

/// When to look again, where the end is not known.
const AGAIN: Span = Span::from_secs(10);

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if case.class() == Class::Notify {
        return Opinion::pass("telling needs no lock");
    }
    // A run has its own target for itself as well, whatever its steps touch.
    let whole =
        Touch { verb: case.proposal.verb.clone(), target: case.proposal.target.clone(), args: Default::default(), class: Class::Restore };
    for touch in case.touches().into_iter().chain([&whole]) {
        if let Some(run) = case.ledger.stuck_on(&touch.target).filter(|run| Some(run.id) != case.run) {
            let text = format!("run {} is stuck on `{}`: a person must look, then `homeostat release {}`", run.id, touch.target, run.id);
            return Opinion::hold(case.now + Span::from_mins(1), text);
        }
        if let Some(held) = by_what_runs(case, touch).or_else(|| by_a_milder_wish(case, touch)) {
            return Opinion::hold(case.now + AGAIN, held);
        }
    }
    Opinion::pass("nothing else is under way on it")
}

fn by_what_runs(case: &Case<'_>, touch: &Touch) -> Option<String> {
    let others = case.ledger.all_running().filter(|state| !case.is_own(state.id, &state.proposal.origin));
    others.filter_map(|state| state.action.as_ref()).filter(|action| action.class > Class::Notify).find_map(|other| {
        let under_way = format!("{} (`{}`) is under way on `{}`", other.id, other.verb, other.target);
        if other.target == touch.target {
            return Some(under_way);
        }
        let down = |action: &Action| {
            let Action { verb, target, args, class, .. } = action.clone();
            Touch { verb, target, args, class }.takes_down(case.verbs)
        };
        if down(other) && case.world.topology().below(&other.target).contains(&touch.target) {
            return Some(format!("{under_way}, on which `{}` hangs", touch.target));
        }
        if touch.takes_down(case.verbs) && case.world.topology().below(&touch.target).contains(&other.target) {
            return Some(format!("{under_way}, which hangs on `{}`", touch.target));
        }
        None
    })
}

/// A held wish that was not renewed so long after its hold ended is not wished any more.
const STILL_WISHED: Span = Span::from_mins(15);

/// A milder wish for the opposite that waits for its turn.
fn by_a_milder_wish(case: &Case<'_>, touch: &Touch) -> Option<String> {
    let opposite = case.verbs.get(&touch.verb)?.opposite.as_ref()?;
    let milder = case.verbs.get(opposite).is_some_and(|spec| spec.class < touch.class);
    let waits = |state: &&ActionState| {
        let open = match state.phase {
            Phase::Awaiting { .. } => true,
            // What is locked until a person comes is not about to happen; nor is what nobody has asked for again since it was held.
            Phase::Deferred { until } => until < homeostat_model::Time::MAX && case.now < until + STILL_WISHED,
            _ => false,
        };
        open && &state.proposal.verb == opposite && state.proposal.target == touch.target
    };
    let other = case.ledger.actions().filter(|_| milder).find(waits)?;
    Some(format!("{} wishes the opposite, `{opposite}`, and is milder: the safest wins", other.id))
}
