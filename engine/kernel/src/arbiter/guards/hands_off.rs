//! Nothing is sent while hands-off lasts. It is durable, and only a person lifts it (lesson 24).

use super::{Case, Opinion};
use homeostat_model::Time;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    match case.ledger.hands_off() {
        None => Opinion::pass("acting is allowed"),
        Some(hands_off) => Opinion::hold(Time::MAX, format!("hands-off since it was ordered by {}: {}", hands_off.by, hands_off.reason)),
    }
}
