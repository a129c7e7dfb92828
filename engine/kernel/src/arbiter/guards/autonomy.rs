//! How much may be done without a person: the least of what the policy's author and the class allow (lessons 27, 30). Silence is a
//! no, except where the level is `veto`; how long that waits is priced by what is known of the action. What a policy has not earned yet
//! (`score::ladder`) it may not do, whatever its author allows. A step was allowed with its run; a playbook's own question is always asked.

use super::{Case, Opinion};
use crate::arbiter::Consent;
use homeostat_model::playbook::APPROVE;
use homeostat_model::{Autonomy, Origin, Stance};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if let Origin::Operator(name) = &case.proposal.origin {
        return Opinion::pass(format!("ordered by {name}"));
    }
    if case.proposal.verb.as_str() == APPROVE {
        return match &case.consent {
            Some(Consent::Approved { by }) => Opinion::pass(format!("approved by {by}")),
            _ => Opinion { stance: Stance::Ask { by: case.now + case.settings.approval_ttl }, text: "the playbook asks a person".into() },
        };
    }
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    let class = case.class();
    let class_max = case.settings.autonomy.get(&class).copied().unwrap_or(Autonomy::Suggest);
    let ceiling = case.proposal.autonomy.min(class_max);
    let mut source = if case.proposal.autonomy <= class_max { "the policy".to_owned() } else { format!("the class {class}") };
    let earned = case.earned.as_ref().filter(|earned| earned.level < ceiling);
    let autonomy = earned.map_or(ceiling, |earned| earned.level);
    if let Some(earned) = earned {
        source = format!("of `{}`, what was earned ({})", ceiling.name(), earned.why);
    }
    let veto_wait = case.earned.as_ref().and_then(|earned| earned.veto_wait).unwrap_or(case.settings.veto_wait);
    let level = autonomy.name();
    match (autonomy, &case.consent) {
        (Autonomy::Shadow, _) => Opinion { stance: Stance::Shadow, text: format!("{source} allows `{level}`: watching only") },
        (_, Some(Consent::Approved { by })) => Opinion::pass(format!("approved by {by}")),
        (Autonomy::Auto, _) => Opinion::pass(format!("{source} allows `{level}`")),
        (Autonomy::Veto, Some(Consent::NotVetoed)) => Opinion::pass("nobody stopped it in time"),
        (Autonomy::Veto, None) => Opinion {
            stance: Stance::Ask { by: case.now + veto_wait },
            text: format!("{source} allows `{level}`: done unless a person stops it"),
        },
        (Autonomy::Suggest, _) => Opinion {
            stance: Stance::Ask { by: case.now + case.settings.approval_ttl },
            text: format!("{source} allows `{level}`: a person must say yes"),
        },
    }
}
