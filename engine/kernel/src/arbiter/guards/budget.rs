//! So many at once and so many an hour, by class (lesson 17). What is under way counts, and so
//! does what was sent and is still being asked after.

use super::{Case, Opinion};
use homeostat_model::Span;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.class();
    let running = case.ledger.running(class);
    let concurrent_max = case.settings.concurrent_max.get(&class).copied().unwrap_or(1);
    if running >= concurrent_max {
        return Opinion::hold(
            case.now + Span::from_secs(10),
            format!("{running} {class} actions are under way, at most {concurrent_max} may be"),
        );
    }
    let hour = Span::from_hours(1);
    let (sent, oldest) = case.ledger.sent_since(class, case.now - hour);
    let per_hour_max = case.settings.per_hour_max.get(&class).copied().unwrap_or(1).min(crate::ledger::SENT_MAX as u32 - 1);
    if sent >= per_hour_max {
        let until = oldest.map_or(case.now + hour, |at| at + hour);
        return Opinion::hold(until, format!("{sent} {class} actions were sent within the last hour, at most {per_hour_max} may be"));
    }
    Opinion::pass(format!("{sent} of {per_hour_max} {class} actions used this hour"))
}
