//! What a wish rests on must be fresh, and it must still be wished (lessons 2, 9, 30): a policy that has fallen silent, or become
//! undetermined, no longer stands behind an old approval.

use super::witnesses::not_cut_off;
use super::{Case, Opinion};
use crate::about::is_seen;
use homeostat_model::{Origin, Span, Stance};

/// What is asleep cannot be seen otherwise.
const WAKE: &str = "power.wake";

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if let Origin::Operator(_) = case.proposal.origin {
        return Opinion::pass("ordered by a person");
    }
    if let Origin::Drill(_) = case.proposal.origin {
        return Opinion::pass("a drill rests on nothing that was read");
    }
    if let Origin::Reasoner(suggested) = &case.proposal.origin {
        return reasoned(case, suggested);
    }
    if let Some(run) = case.part_of_run() {
        // Steps rest on the run, and look at the world themselves: `when`, `steady`, `verify`. Where nothing can be seen any more of
        // what the run was begun for, it waits; what is taken back is not kept waiting.
        if out_of_sight(case) {
            return Opinion::hold(case.now + Span::from_secs(30), format!("{run}, and nothing of what that rests on can be seen now"));
        }
        return Opinion::pass(run);
    }
    let quiet = case.now.since(case.wished_at);
    let quiet_max = Span(case.every.millis().saturating_mul(2).max(Span::from_mins(1).millis()));
    if quiet > quiet_max {
        return Opinion::deny(format!("the policy last wished this {quiet} ago, longer than {quiet_max}: its reason may be gone"));
    }
    // What a person has seen and approved is frozen; that the policy wishes it still, on fresh data, was asked above.
    if case.consent.is_none()
        && let Some(old) = old_evidence(case)
    {
        return old;
    }
    if let Origin::Alert(_, fingerprint) = &case.proposal.origin {
        // A notification may report the end of an alert; everything else needs the alert to be on.
        let firing = case.ledger.alert(fingerprint).is_some_and(|alert| alert.firing);
        if !firing && case.class() > homeostat_model::Class::Notify {
            return Opinion::deny(format!("the alert {fingerprint} is not firing any more"));
        }
    }
    Opinion::pass("fresh")
}

/// A reading that the wish rests on and that is too old.
fn old_evidence(case: &Case<'_>) -> Option<Opinion> {
    let age_max = case.settings.evidence_age_max;
    case.proposal.evidence.iter().find_map(|evidence| {
        let (Some(at), Some(_)) = (evidence.sampled_at, evidence.value.value()) else { return None };
        let age = case.now.since(at);
        let series = evidence.series.as_ref().map_or_else(|| evidence.operation.clone(), ToString::to_string);
        (age > age_max).then(|| Opinion::deny(format!("{series} was sampled {age} ago, longer than {age_max}")))
    })
}

/// A reasoner wishes once: its alert must still be on, and its wish not older than a question may be.
fn reasoned(case: &Case<'_>, suggested: &homeostat_model::Suggested) -> Opinion {
    let age = case.now.since(case.wished_at);
    if age > case.settings.approval_ttl {
        return Opinion::deny(format!("it was proposed {age} ago, longer than {}", case.settings.approval_ttl));
    }
    if let Some(fingerprint) = &suggested.alert
        && !case.ledger.alert(fingerprint).is_some_and(|alert| alert.firing)
    {
        return Opinion::deny(format!("the alert {fingerprint} is not firing any more"));
    }
    // Silence has seen nothing: what it lets pass must rest on what is known now.
    let by_person = matches!(case.consent, Some(crate::arbiter::Consent::Approved { .. }));
    if by_person {
        return Opinion::pass("proposed lately, and a person has said yes");
    }
    if let Some(old) = old_evidence(case) {
        return old;
    }
    let problem = match not_cut_off(case) {
        Err(problem) => Some(problem),
        Ok(()) if is_seen(case.world, &case.proposal.target, case.proposal.verb.as_str() == WAKE) => None,
        Ok(()) => Some(format!("nothing of {} can be seen now", case.proposal.target)),
    };
    if let Some(problem) = problem {
        // No yes is taken after that.
        let by = case.wished_at + case.settings.approval_ttl;
        return Opinion { stance: Stance::Ask { by }, text: format!("{problem}: a person must say yes") };
    }
    Opinion::pass("proposed lately, and its reason is still there")
}

/// Whether a forward step that does something belongs to a run all of whose evidence is stale or gone. A person's run rests on none.
fn out_of_sight(case: &Case<'_>) -> bool {
    let Origin::Playbook { run, undo: false, .. } = &case.proposal.origin else { return false };
    if case.class() == homeostat_model::Class::Notify {
        return false;
    }
    let Some(state) = case.ledger.action(*run) else { return false };
    let mut series = state.proposal.evidence.iter().filter_map(|evidence| evidence.series.as_ref()).peekable();
    series.peek().is_some() && series.all(|key| case.world.last(key).is_none_or(|read| read.value.value().is_none()))
}
