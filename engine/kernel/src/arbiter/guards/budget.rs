//! So many at once and so many an hour, by class (lesson 17); and so much in a day: minutes of interruption, joules, euros. What is
//! under way counts, and so does what was sent and is still being asked after. A run holds one place for itself, whatever its steps
//! do; among each other its steps keep the limit too. What a day costs is what the verbs say they cost.

use super::{Case, Opinion};
use crate::ledger::{Spent, cost_of, spending_of};
use homeostat_model::{Class, Span};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.class();
    let running = running(case, class);
    let concurrent_max = case.settings.concurrent_max.get(&class).copied().unwrap_or(1);
    if running >= concurrent_max {
        return Opinion::hold(
            case.now + Span::from_secs(10),
            format!("{running} {class} actions are under way, at most {concurrent_max} may be"),
        );
    }
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    let hour = Span::from_hours(1);
    let (sent, oldest) = case.ledger.sent_since(class, case.now - hour);
    let per_hour_max = case.settings.per_hour_max.get(&class).copied().unwrap_or(1).min(crate::ledger::SENT_MAX as u32 - 1);
    if sent >= per_hour_max {
        let until = oldest.map_or(case.now + hour, |at| at + hour);
        return Opinion::hold(until, format!("{sent} {class} actions were sent within the last hour, at most {per_hour_max} may be"));
    }
    if let Some(text) = month_is_spent(case) {
        return Opinion::hold(case.now + hour, text);
    }
    if let Some(text) = day_is_spent(case) {
        return Opinion::hold(case.now + hour, text);
    }
    Opinion::pass(format!("{sent} of {per_hour_max} {class} actions used this hour"))
}

/// What is under way of a class: runs as one each, actions of their own, and the other steps of the same run.
fn running(case: &Case<'_>, class: Class) -> u32 {
    let counted = case.ledger.all_running().filter(|state| {
        let of_run = state.proposal.origin.run();
        // The fault of a drill takes no place from the policy that is to mend it.
        (of_run.is_none() || of_run == case.run) && Some(state.id) != case.run && !case.is_rehearsed(&state.proposal.origin)
    });
    counted.filter(|state| state.action.as_ref().is_some_and(|action| action.class == class)).count() as u32
}

/// The month's budget: what is in the books, what is under way and will be, and what this would cost. When it is spent, what tells and
/// what brings back still passes.
fn month_is_spent(case: &Case<'_>) -> Option<String> {
    let budget = &case.settings.month;
    if case.class() <= Class::Restore || *budget == homeostat_model::MonthBudget::default() {
        return None;
    }
    // It is booked when it has been done, and what brings back later still: perhaps at the dearest hour.
    let tariff = dearest(&case.settings.tariff);
    let cost = |verb: &homeostat_model::Verb| spending_of(case.verbs, verb, &tariff, case.now);
    let mut about_to = homeostat_model::Spending::default();
    // What takes away must be able to pay for what brings back, its own and that of everything that is away now: bringing back is never held.
    let back = |verb: &homeostat_model::Verb| {
        let opposite = case.verbs.get(verb)?.opposite.as_ref()?;
        case.verbs.get(opposite).filter(|spec| spec.class <= Class::Restore).map(|_| opposite)
    };
    for touch in case.touches() {
        about_to.add(&cost(&touch.verb));
        back(&touch.verb).into_iter().for_each(|opposite| about_to.add(&cost(opposite)));
    }
    for (target, verb, at) in case.ledger.all_done() {
        let opposite = back(verb).filter(|opposite| case.ledger.last_done(target, opposite).is_none_or(|(back_at, _)| back_at < at));
        let counted = case.touches().iter().any(|touch| &touch.target == target);
        opposite.filter(|_| !counted).into_iter().for_each(|opposite| about_to.add(&cost(opposite)));
    }
    case.ledger.all_running().for_each(|state| about_to.add(&cost(&state.proposal.verb)));
    case.ledger.books().over(budget, case.now, &about_to)
}

/// The same energy at the highest price of the week.
fn dearest(tariff: &homeostat_model::Tariff) -> homeostat_model::Tariff {
    let highest = tariff.windows.iter().map(|window| window.euros_per_kwh).fold(tariff.euros_per_kwh, f64::max);
    homeostat_model::Tariff { euros_per_kwh: highest, windows: Vec::new(), utc_offset_minutes: tariff.utc_offset_minutes }
}

fn day_is_spent(case: &Case<'_>) -> Option<String> {
    let day = &case.settings.day;
    if day.disruption_max.is_none() && day.energy_max_joules.is_none() && day.spend_max_euros.is_none() {
        return None;
    }
    let mut mine = Spent::default();
    for touch in case.touches() {
        mine.add(cost_of(case.verbs, &touch.verb), &case.settings.tariff, case.now);
    }
    let spent = case.ledger.spent_since(case.now - Spent::DAY, case.verbs, &case.settings.tariff);
    if mine.disruption == Span::ZERO && mine.energy_joules <= 0.0 {
        return None;
    }
    if !spent.complete && case.class() >= Class::Disruptive {
        return Some("more was done within a day than is remembered: what it cost cannot be told".into());
    }
    let minutes = (spent.disruption + mine.disruption).seconds() / 60.0;
    let over = |limit: Option<f64>, value: f64, unit: &str| {
        limit
            .filter(|limit| value > *limit)
            .map(|limit| format!("with it {value:.2} {unit} would be spent within a day, at most {limit:.2} may be"))
    };
    over(day.disruption_max.map(|most| most.seconds() / 60.0), minutes, "minutes of interruption")
        .or_else(|| over(day.energy_max_joules, spent.energy_joules + mine.energy_joules, "joules"))
        .or_else(|| over(day.spend_max_euros, spent.euros + mine.euros, "euros of energy"))
}
