//! Much is wrong at once, or much is coming back: then things are only brought back, one by one, with a pause between them (lesson
//! 18). A cold start that everybody hurries is what makes it fail. Telling goes on, and what a person wants is done; a run that has
//! begun goes on as well, its wakes at the same pace.

use super::{Case, Opinion};
use homeostat_model::{Class, Span};

/// When to look again while the storm lasts.
const AGAIN: Span = Span::from_mins(1);

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.class();
    if class == Class::Notify {
        return Opinion::pass("telling is always allowed");
    }
    let settings = &case.settings.storm;
    let firing = case.ledger.alerts().filter(|alert| alert.firing).count();
    let (restored, _) = case.ledger.sent_since(Class::Restore, case.now - settings.within);
    let why = if firing > settings.alerts_max as usize {
        format!("a storm: {firing} alerts at once, more than {}", settings.alerts_max)
    } else if restored >= settings.restores_max {
        format!("the system is recovering: {restored} things were brought back within {}", settings.within)
    } else {
        return Opinion::pass("no storm");
    };
    if let Some(by) = case.person() {
        return Opinion::pass(format!("{why}; {by} wants it"));
    }
    if class > Class::Restore {
        return match case.part_of_run() {
            Some(run) => Opinion::pass(run),
            None => Opinion::hold(case.now + AGAIN, format!("{why}; things are only brought back")),
        };
    }
    if let Some(other) = case.ledger.all_running().find(|state| state.action.as_ref().is_some_and(|action| action.class == Class::Restore))
    {
        return Opinion::hold(case.now + Span::from_secs(10), format!("{why}; one by one, and {} is under way", other.id));
    }
    let since = case.now - settings.ramp;
    let newest = case.ledger.actions().filter(|state| state.action.as_ref().is_some_and(|action| action.class == Class::Restore));
    match newest.filter_map(|state| state.sent_at).max().filter(|at| *at > since) {
        Some(at) => Opinion::hold(at + settings.ramp, format!("{why}; one by one, every {}", settings.ramp)),
        None => Opinion::pass(format!("{why}; it is this one's turn")),
    }
}
