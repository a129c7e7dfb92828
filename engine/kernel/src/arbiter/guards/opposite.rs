//! The opposite of what was just done needs a person: two policies that fight, or a loop that chases its own effect (lesson 6).

use super::{Case, Opinion};
use homeostat_model::{Span, Stance};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let Some(opposite) = case.spec.and_then(|spec| spec.opposite.as_ref()) else {
        return Opinion::pass("has no opposite");
    };
    if case.consent.as_ref().is_some_and(|consent| matches!(consent, super::super::Consent::Approved { .. })) {
        return Opinion::pass("a person wants it");
    }
    match case.ledger.last_done(&case.proposal.target, opposite) {
        Some((at, settle)) => {
            let watch = Span(settle.millis().saturating_mul(2));
            if case.now < at + watch {
                let text = format!(
                    "`{opposite}` was done on `{}` {} ago, within twice its settling time",
                    case.proposal.target,
                    case.now.since(at)
                );
                return Opinion { stance: Stance::Ask { by: case.now + case.settings.approval_ttl }, text };
            }
            Opinion::pass("the opposite is long past")
        }
        None => Opinion::pass("the opposite was not done"),
    }
}
