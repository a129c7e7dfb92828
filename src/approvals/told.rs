//! What people read: a question out of the kernel's state of an action, and how a question ended.
//!
//! Deliberately absent: formatting for a service (the channels'). An editor breaks this by taking "until" or "silence" from
//! anywhere but the state that the kernel will judge the answer by.

use crate::http::view;
use homeostat_channels::{Answer, Question};
use homeostat_kernel::ledger::{ActionState, Phase};
use homeostat_model::{Command, Reason, Time};

/// The question that is open about an action; `None` if none is.
pub(super) fn question(state: &ActionState, now: Time) -> Option<Question> {
    let Phase::Awaiting { by } = state.phase else { return None };
    let (proposal, decided) = (&state.proposal, state.ruling.decided_by());
    // As the kernel sees it when the time is over: only what was asked as `veto` is done without an answer.
    let asked_as_veto = |reason: &Reason| reason.guard == "autonomy" && reason.text.contains("allows `veto`");
    Some(Question {
        action: state.id,
        title: format!("{} on {}", proposal.verb, proposal.target),
        args: proposal.args.iter().map(|(name, arg)| format!("{name} = {arg}")).collect(),
        wished_by: proposal.origin.to_string(),
        because: proposal.because.clone(),
        asked_because: decided.map(|reason| format!("{}: {}", reason.guard, reason.text)),
        claim: proposal.claim.as_ref().map(ToString::to_string),
        plan: state.plan.clone(),
        until: by,
        until_text: format!("{} ({})", view::moment(by), view::distance(now, by)),
        silence_is_yes: decided.is_some_and(asked_as_veto),
    })
}

/// How a question ended, in one line: from the state, which knows of answers of every kind.
pub(super) fn end(state: Option<&ActionState>) -> String {
    let Some(state) = state else { return "It is over.".into() };
    let approved = state.ruling.reasons.iter().find(|reason| reason.text.starts_with("approved by "));
    match (state.phase, approved) {
        (Phase::Closed { closing }, _) => {
            let why = state.timeline.iter().rev().find_map(|(_, text)| text.strip_prefix("closed: "));
            why.map_or_else(|| format!("Closed: {closing:?}."), |why| format!("Over: {why}."))
        }
        (Phase::Deferred { .. } | Phase::Denied | Phase::Shadowed, _) => {
            let why = state.ruling.decided_by().map_or_else(String::new, |reason| format!(" by {}: {}", reason.guard, reason.text));
            format!("Over: {}{why}", state.phase.name())
        }
        (phase, Some(reason)) => format!("{}: {}.", capital(&reason.text), phase.name()),
        (phase, None) => format!("Nobody said no: {}.", phase.name()),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The order that an answer is.
pub(super) fn command(taken: &homeostat_channels::Taken) -> Command {
    let action = taken.action;
    match taken.answer {
        Answer::Yes => Command::Approve { action, plan: Some(taken.plan.clone()) },
        Answer::No => Command::Deny { action },
        Answer::Never => Command::Never { action },
    }
}
