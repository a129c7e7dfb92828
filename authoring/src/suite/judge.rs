//! Whether an expectation came true, and if not, what was there instead.
//!
//! All that is looked at is what the kernel shows people too: targets with their evidence and margins, and the ledger's rulings. An
//! editor breaks this by letting an expectation pass that nothing was found for.

use super::text::{Case, Expect, What, Wished};
use homeostat_kernel::Kernel;
use homeostat_kernel::kernel::{UnitView, evidence_line};
use homeostat_kernel::ledger::ActionState;
use homeostat_model::{Claim, Reason, Stance, Time};
use regex::Regex;
use serde::Serialize;

/// Lines that tell what was there, at most.
const FOUND_MAX: usize = 60;

/// An expectation that did not come true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was expected.
    pub expected: String,
    /// What was there instead: targets with their results, evidence and margins, and what was wished.
    pub found: Vec<String>,
}

/// `None` if it is as expected.
pub(super) fn judge(policy: &str, case: &Case, kernel: &Kernel, expect: &Expect, now: Time) -> Option<Failure> {
    let units = kernel.explain_policy(policy, &expect.target);
    let missed = |expected: String| Some(Failure { expected, found: found(&units) });
    // What comes in and is no target of the policy is as quiet as can be; what does not even come in is a slip of the pen.
    let comes_in = expect.target.starts_with("alert/") || case.series.iter().any(|(key, _)| key.to_string().contains(&expect.target));
    let is_left_alone = comes_in && matches!(expect.what, What::Quiet { because: None, .. });
    if units.is_empty() && !expect.target.is_empty() && !is_left_alone {
        return missed(format!("a target whose name holds `{}`", expect.target));
    }
    match &expect.what {
        What::Proposes(wished) => proposed(kernel, expect, &units, wished, now),
        What::Quiet { because, note } => {
            let bad =
                |unit: &UnitView| unit.result == "fired" || unit.result == "fault" || (!expect.target.is_empty() && unit.result != "quiet");
            if units.iter().any(bad) {
                return missed(if note.is_empty() { "quiet".into() } else { format!("quiet ({note})") });
            }
            let pattern = because.as_ref()?;
            let quiet = units.iter().filter(|unit| unit.result == "quiet");
            let told = quiet.flat_map(reasons_of).any(|line| pattern.is_match(&line));
            if told { None } else { missed(format!("quiet because `{pattern}`")) }
        }
        What::HeldBy { guard, because } => held(kernel, expect, &units, guard, because.as_ref(), now),
        What::Undetermined(because) => {
            let told =
                |unit: &&UnitView| unit.result == "undetermined" && because.as_ref().is_none_or(|pattern| pattern.is_match(&unit.why));
            if units.iter().any(|unit| told(&unit)) { None } else { missed(with_pattern("undetermined", because.as_ref())) }
        }
        What::Fault(pattern) => {
            let told = units.iter().any(|unit| unit.result == "fault" && pattern.is_match(&unit.why));
            if told { None } else { missed(with_pattern("a fault", Some(pattern))) }
        }
    }
}

fn with_pattern(what: &str, pattern: Option<&Regex>) -> String {
    pattern.map_or_else(|| what.to_owned(), |pattern| format!("{what} because `{pattern}`"))
}

/// What a quiet target says of itself: each read with its value, each comparison, and what the script printed.
fn reasons_of(unit: &UnitView) -> impl Iterator<Item = String> {
    let lines: Vec<String> = unit.evidence.iter().map(evidence_line).chain(unit.prints.iter().cloned()).collect();
    lines.into_iter()
}

/// The targets as they are.
fn found(units: &[UnitView]) -> Vec<String> {
    if units.is_empty() {
        return vec!["no target".into()];
    }
    let mut lines = Vec::new();
    for unit in units {
        lines.push(format!("{}: {} {}", unit.symptom, unit.result, unit.why).trim_end().to_owned());
        lines.extend(unit.evidence.iter().map(|evidence| format!("    {}", evidence_line(evidence))));
        lines.extend(unit.prints.iter().map(|print| format!("    printed {print}")));
        for (id, phase, reasons) in &unit.open {
            lines.push(format!("    {id} is {phase}"));
            lines.extend(reasons.iter().filter(|reason| reason.stance != Stance::Pass).map(|reason| format!("      {}", said(reason))));
        }
    }
    cut(lines)
}

fn cut(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(FOUND_MAX);
    lines.truncate(FOUND_MAX);
    if more > 0 {
        lines.push(format!("… and {more} lines more"));
    }
    lines
}

fn said(reason: &Reason) -> String {
    format!("{}: {}", reason.guard, reason.text)
}

/// The wishes that were ruled on now, or still stand behind a target that fires.
fn wishes<'a>(kernel: &'a Kernel, expect: &'a Expect, units: &'a [UnitView], now: Time) -> impl Iterator<Item = &'a ActionState> {
    kernel.ledger().actions().filter(move |state| {
        let proposal = &state.proposal;
        let about = proposal.symptom.contains(&expect.target) || proposal.target.as_str().contains(&expect.target);
        let fires = units.iter().any(|unit| unit.symptom == proposal.symptom && unit.result == "fired");
        about && (fires || state.ruled_at == now)
    })
}

/// A wish in one line.
fn line(state: &ActionState) -> String {
    let proposal = &state.proposal;
    let claim = proposal.claim.as_ref().map_or_else(|| "none".into(), Claim::to_string);
    let args: Vec<String> = proposal.args.iter().map(|(name, arg)| format!("{name} = {arg}")).collect();
    let decided = state.ruling.decided_by().map_or_else(String::new, |reason| format!(" ({})", said(reason)));
    format!(
        "{} on {} because `{}` claim `{claim}` with {} is {}{decided}",
        proposal.verb,
        proposal.target,
        proposal.because,
        if args.is_empty() { "nothing".into() } else { args.join(", ") },
        state.ruling.verdict.name()
    )
}

fn lint(state: &ActionState) -> bool {
    state.ruling.reasons.iter().any(|reason| reason.guard == "lint" && reason.stance != Stance::Pass)
}

fn is_wished(state: &ActionState, wished: &Wished) -> bool {
    let proposal = &state.proposal;
    let matches = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
    proposal.verb.as_str() == wished.verb
        && wished.target.as_deref().is_none_or(|target| target == proposal.target.as_str())
        && matches(&wished.because, &proposal.because)
        && matches(&wished.claim, &proposal.claim.as_ref().map_or_else(String::new, Claim::to_string))
        && wished.args.iter().all(|(name, pattern)| proposal.args.get(name).is_some_and(|arg| pattern.is_match(&arg.to_string())))
        && wished.ruled.as_deref().is_none_or(|ruled| ruled == state.ruling.verdict.name())
}

fn proposed(kernel: &Kernel, expect: &Expect, units: &[UnitView], wished: &Wished, now: Time) -> Option<Failure> {
    let seen: Vec<&ActionState> = wishes(kernel, expect, units, now).collect();
    if seen.iter().any(|state| !lint(state) && is_wished(state, wished)) {
        return None;
    }
    let mut expected = format!("{} on {}", wished.verb, wished.target.as_deref().unwrap_or("anything"));
    for (what, pattern) in [("because", &wished.because), ("claim", &wished.claim)] {
        if let Some(pattern) = pattern {
            expected += &format!(" {what} `{pattern}`");
        }
    }
    for (name, pattern) in &wished.args {
        expected += &format!(" with {name} = `{pattern}`");
    }
    if let Some(ruled) = &wished.ruled {
        expected += &format!(" {ruled}");
    }
    let mut lines: Vec<String> = seen.iter().map(|state| format!("wished: {}", line(state))).collect();
    if lines.is_empty() {
        lines.push("nothing is wished".into());
    }
    lines.extend(found(units));
    Some(Failure { expected, found: cut(lines) })
}

/// A wish stands, nothing is sent, and the guard is among those against it.
fn held(kernel: &Kernel, expect: &Expect, units: &[UnitView], guard: &str, because: Option<&Regex>, now: Time) -> Option<Failure> {
    let open: Vec<&ActionState> = units.iter().flat_map(|unit| &unit.open).filter_map(|(id, ..)| kernel.ledger().action(*id)).collect();
    let against = |reason: &Reason| {
        reason.guard == guard && reason.stance != Stance::Pass && because.is_none_or(|pattern| pattern.is_match(&reason.text))
    };
    let is_held = open.iter().any(|state| state.ruling.reasons.iter().any(against));
    let sent: Vec<String> = wishes(kernel, expect, units, now)
        .filter(|state| state.sent_at == Some(now))
        .map(|state| format!("sent: {}", line(state)))
        .collect();
    if is_held && sent.is_empty() {
        return None;
    }
    let expected = with_pattern(&format!("a wish that `{guard}` holds"), because);
    Some(Failure { expected, found: cut(sent.into_iter().chain(found(units)).collect()) })
}
