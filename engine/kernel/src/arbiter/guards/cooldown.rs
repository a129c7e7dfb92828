//! The same wish stays quiet for a while after it was sent, refused by a person, or failed. Kept in the ledger, so a restart does
//! not forget it (lesson 8). It blocks actions, never sensing (lesson 33).

use super::{Case, Opinion};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    match case.ledger.cooldown(&case.symptom(), &case.proposal.verb) {
        Some((until, why)) if until > case.now => Opinion::hold(until, why.to_owned()),
        _ => Opinion::pass("not cooling down"),
    }
}
