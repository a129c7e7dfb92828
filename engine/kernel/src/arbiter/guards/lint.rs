//! The wish must be well formed before anything else is asked of it. All problems are listed, with the nearest right thing.

use super::{Case, Opinion};
use crate::ledger::StepPhase;
use homeostat_model::{Arg, Claim, ClaimSubject, Class, Origin, Span, VerbSpec, is_unshown};

/// A claim further away than this is not a claim about this action.
const CLAIM_WITHIN_MAX: Span = Span::from_hours(24);
/// Kubernetes' names have at most 253 bytes, and a target may hold two and a mount point.
const TARGET_BYTES_MAX: usize = 1024;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let proposal = case.proposal;
    if let Some(problem) = out_of_turn(case) {
        return Opinion::deny(problem);
    }
    if case.is_inner() {
        return match case.run {
            Some(_) => Opinion::pass("a step that is never sent"),
            None => Opinion::deny(format!("`{}` is a step of playbooks and nothing else", proposal.verb)),
        };
    }
    let Some(spec) = case.spec else {
        return Opinion::deny(format!("nobody can do `{}`: no configured actuator has this verb", proposal.verb));
    };
    let mut problems = Vec::new();
    if let Err(more) = spec.check_args(&proposal.args) {
        problems.extend(more);
    }
    if proposal.args.values().any(not_finite) {
        problems.push("an argument is infinite or not a number".into());
    }
    if proposal.because.trim().is_empty() {
        problems.push("no reason was given: add `.because(…)`".into());
    }
    problems.extend(target_problem(case, spec));
    // A person's order is its own reason; what came of it is seen all the same. What a drill claims is that the policy answers.
    let needs_none = matches!(proposal.origin, homeostat_model::Origin::Operator(_) | homeostat_model::Origin::Drill(_));
    problems.extend(claim_problem(spec, proposal.claim.as_ref(), case.run.is_some() || needs_none));
    if problems.is_empty() { Opinion::pass("well formed") } else { Opinion::deny(problems.join("; ")) }
}

/// A step whose run has gone on without it: a late yes, or a second attempt, must not send it (lesson 20).
fn out_of_turn(case: &Case<'_>) -> Option<String> {
    let Origin::Playbook { run, step, undo, .. } = &case.proposal.origin else { return None };
    let run = case.ledger.run(*run)?;
    let open = matches!(run.steps.get(step), Some(StepPhase::Open { .. }));
    match (&run.end, undo, run.undoing.is_some()) {
        (Some((_, end, _)), ..) => Some(format!("run {} is over: {}", run.id, end.name())),
        (None, false, true) => Some(format!("run {} is being taken back", run.id)),
        (None, true, false) => Some(format!("run {} is not being taken back", run.id)),
        (None, false, false) if !open => Some(format!("step {step} of run {} is not under way", run.id)),
        _ => None,
    }
}

fn target_problem(case: &Case<'_>, spec: &VerbSpec) -> Option<String> {
    let target = &case.proposal.target;
    if target.name().is_empty() {
        return Some("the target is empty".into());
    }
    // A label that somebody else wrote may have become part of it (lesson 28).
    let (length, odd) = (target.as_str().len(), target.as_str().chars().find(|c| is_unshown(*c)));
    if length > TARGET_BYTES_MAX {
        return Some(format!("the target has {length} bytes, at most {TARGET_BYTES_MAX} are allowed"));
    }
    if let Some(odd) = odd {
        return Some(format!("the target holds U+{:04X}, which nobody can see", u32::from(odd)));
    }
    if !spec.target_kinds.is_empty() && !spec.target_kinds.iter().any(|kind| kind == target.kind()) {
        return Some(format!("`{}` acts on {}, not on `{target}`", spec.verb, spec.target_kinds.join(" or ")));
    }
    let known = spec.targets.as_ref()?;
    if known.contains(target) {
        return None;
    }
    let names: Vec<&str> = known.iter().take(10).map(|t| t.as_str()).collect();
    Some(format!("`{}` does not know `{target}` (it knows: {})", spec.verb, names.join(", ")))
}

fn claim_problem(spec: &VerbSpec, claim: Option<&Claim>, is_step: bool) -> Option<String> {
    match claim {
        // A step is judged by its `verify`, the run by its own claim.
        None if spec.class == Class::Notify || is_step => None,
        None => Some("no claim was made: add `.claim(…)`, what will be true afterwards".into()),
        Some(claim) if claim.within <= Span::ZERO || claim.within > CLAIM_WITHIN_MAX => {
            Some(format!("the claim is due within {}, expected more than 0 and at most {CLAIM_WITHIN_MAX}", claim.within))
        }
        Some(claim) => match &claim.subject {
            ClaimSubject::Series { threshold, .. } if !threshold.is_finite() => Some("the claim's threshold is not a finite number".into()),
            ClaimSubject::Series { held, .. } if *held >= claim.within => {
                Some(format!("the claim must hold for {held} but is due within {}: it cannot come true", claim.within))
            }
            ClaimSubject::Delivered if spec.class != Class::Notify => {
                Some("only a notification may claim no more than its delivery".into())
            }
            _ => None,
        },
    }
}

fn not_finite(arg: &Arg) -> bool {
    match arg {
        Arg::Float(value) => !value.is_finite(),
        Arg::List(items) => items.iter().any(not_finite),
        Arg::Map(items) => items.values().any(not_finite),
        Arg::Bool(_) | Arg::Int(_) | Arg::Text(_) => false,
    }
}
