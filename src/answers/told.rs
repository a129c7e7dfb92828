//! Answers from what happened and what is ruled: state, reasons, money, incidents and drills. Each names the actions and policies
//! that it rests on.

use super::{Answer, Citation};
use crate::ask::{Period, Subject};
use crate::http::view::{self, ActionLine};
use crate::scores::Rules;
use crate::scores::spending::SpendingView;
use homeostat_kernel::Kernel;
use homeostat_kernel::kernel::UnitView;
use homeostat_kernel::ledger::ActionState;
use homeostat_model::{ActionId, Finding, PolicyId, Target, Time};

fn is_about(of: &Subject, policy: Option<&PolicyId>, target: &Target) -> bool {
    match of {
        Subject::House => true,
        Subject::Target(wanted) => target == wanted || target.name().starts_with(&format!("{}:", wanted.name())),
        Subject::Policy(wanted) => policy == Some(wanted),
        Subject::Person(_) | Subject::Team(_) => false,
    }
}

/// Readings, actions and books are of things: of people and teams that is said instead of answered.
fn of_people(of: &Subject, answer: &mut Answer) -> bool {
    let is_people = matches!(of, Subject::Person(_) | Subject::Team(_));
    if is_people {
        answer.line("Nothing is measured or booked by person or team; `who may` answers what they may ask for.");
    }
    is_people
}

pub(super) fn status(kernel: &Kernel, of: &Subject, answer: &mut Answer) {
    if of_people(of, answer) {
        return;
    }
    if let Some(off) = kernel.ledger().hands_off() {
        answer.line(format!("Hands off since {}, ordered by {}: {}", view::moment(off.since), off.by, off.reason));
    }
    for unit in units(kernel, of).into_iter().filter(|unit| unit.result == "fired") {
        answer.line(format!("{} fires on {}", unit.policy, unit.target));
        answer.cite(Citation::Policy { name: unit.policy });
    }
    for line in about(kernel, of).filter(|state| state.phase.is_open() || state.phase.is_running()).map(ActionLine::of) {
        let held = line.decided_by.as_deref().unwrap_or("nothing holds it");
        answer.line(format!("{}: {} on {} is {} ({held})", line.id, line.verb, line.target, line.phase));
        answer.cite(Citation::Action { id: line.id });
    }
    incidents(kernel, of, answer);
    if answer.lines.is_empty() {
        answer.line("Nothing fires, nothing waits, nothing is under way.");
    }
}

fn about<'a>(kernel: &'a Kernel, of: &'a Subject) -> impl Iterator<Item = &'a ActionState> {
    kernel.ledger().actions().rev().filter(|state| is_about(of, state.proposal.origin.policy(), &state.proposal.target))
}

fn units(kernel: &Kernel, of: &Subject) -> Vec<UnitView> {
    let (policy, wanted) = match of {
        Subject::Policy(policy) => (Some(policy.as_str()), ""),
        Subject::Target(target) => (None, target.name()),
        _ => (None, ""),
    };
    let names = kernel.policies().into_iter().map(|view| view.policy).filter(|name| policy.is_none_or(|policy| policy == name));
    names.flat_map(|name| kernel.explain_policy(&name, wanted)).collect()
}

pub(super) fn why(kernel: &Kernel, action: Option<ActionId>, policy: Option<&PolicyId>, target: Option<&Target>, answer: &mut Answer) {
    let wanted = |state: &&ActionState| {
        action.is_none_or(|id| state.id == id)
            && policy.is_none_or(|policy| state.proposal.origin.policy() == Some(policy))
            && target.is_none_or(|target| state.proposal.target == *target)
    };
    let Some(state) = kernel.ledger().actions().rev().find(wanted) else {
        return why_not(kernel, policy, target, answer);
    };
    if let Some(explained) = kernel.explain(state.id) {
        explained.text(view::moment).lines().for_each(|line| answer.line(line));
        answer.cite(Citation::Action { id: state.id.to_string() });
        for evidence in &state.proposal.evidence {
            if let Some(series) = &evidence.series {
                answer.cite(Citation::Reading { series: series.to_string(), value: evidence.value.to_string(), at: evidence.sampled_at });
            }
        }
    }
}

pub(super) fn why_not(kernel: &Kernel, policy: Option<&PolicyId>, target: Option<&Target>, answer: &mut Answer) {
    let names: Vec<String> = match policy {
        Some(policy) => vec![policy.to_string()],
        None => kernel.policies().into_iter().map(|view| view.policy).collect(),
    };
    for unit in names.iter().flat_map(|name| kernel.why_policy(name, target.map_or("", |target| target.name()))) {
        for evidence in &unit.evidence {
            answer.line(format!("{} on {}: {}", unit.policy, unit.target, view::evidence_line(evidence)));
            if let Some(series) = &evidence.series {
                answer.cite(Citation::Reading { series: series.to_string(), value: evidence.value.to_string(), at: evidence.sampled_at });
            }
        }
        let held = unit.open.iter().flat_map(|(id, phase, reasons)| {
            let holds = reasons.iter().filter(|reason| reason.stance != homeostat_model::Stance::Pass);
            holds.map(move |reason| format!("{id} is {phase}: {}: {}", reason.guard, reason.text))
        });
        held.for_each(|line| answer.line(line));
        if unit.result != "fired" && unit.evidence.is_empty() {
            answer.line(format!("{} on {}: {} {}", unit.policy, unit.target, unit.result, unit.why));
        }
        answer.cite(Citation::Policy { name: unit.policy });
    }
}

pub(super) fn cost(kernel: &Kernel, rules: &Rules, of: &Subject, period: Option<Period>, answer: &mut Answer) {
    if of_people(of, answer) {
        return;
    }
    if !matches!(period, None | Some(Period::ThisMonth | Period::LastMonth | Period::ThisYear)) {
        answer.line("Books are kept by month; these are the months there are.");
    }
    let spending = SpendingView::of(kernel.ledger(), rules, kernel.now(), None);
    for month in &spending.months {
        let lines = match of {
            Subject::Policy(policy) => month.policies.iter().filter(|line| line.policy == policy.as_str()).collect(),
            _ => vec![&month.total],
        };
        for line in lines {
            let what = if line.policy.is_empty() { "all policies" } else { line.policy.as_str() };
            answer.line(format!(
                "{}, {what}: {:.2} €, {:.2} kWh, {} of interruption, {} boots",
                month.month, line.spent.euros, line.kwh, line.spent.disruption, line.spent.boots
            ));
        }
    }
    if let Subject::Target(target) = of {
        answer.line(format!("Books are kept by policy, not by target: for {target} see the actions on it."));
        about(kernel, of).take(5).for_each(|state| answer.cite(Citation::Action { id: state.id.to_string() }));
    }
    if spending.months.is_empty() {
        answer.line("Nothing that costs anything was done yet.");
    }
}

pub(super) fn savings(kernel: &Kernel, of: &Subject, period: Option<Period>, answer: &mut Answer) {
    let since = match period {
        Some(Period::Last(span)) => kernel.now() - span,
        _ => Time::MIN,
    };
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for line in kernel.ledger().trust().scores().filter(|line| line.at >= since && is_about(of, Some(&line.key.policy), &line.target)) {
        *counts.entry(line.score.finding.name()).or_default() += 1;
        if line.score.finding == Finding::Helped {
            answer.line(format!("{}: {} on {}: {}", line.action, line.key.verb, line.target, line.score.text));
            answer.cite(Citation::Action { id: line.action.to_string() });
        }
    }
    let told: Vec<String> = counts.iter().map(|(finding, count)| format!("{count} {finding}")).collect();
    let told = if told.is_empty() { "nothing was scored yet".to_owned() } else { told.join(", ") };
    answer.line(format!("By the scores: {told}. `homeostat digest` has the whole of it."));
}

pub(super) fn incidents(kernel: &Kernel, of: &Subject, answer: &mut Answer) {
    let wanted = |node: &str| match of {
        Subject::House => true,
        Subject::Target(target) => target.name() == node,
        _ => false,
    };
    for line in view::incidents(kernel.ledger()).into_iter().filter(|line| line.firing > 0 && wanted(&line.node)) {
        let place = if line.node.is_empty() { String::new() } else { format!(" on {}", line.node) };
        answer.line(format!("{}{place}: {} firing, since {}", line.name, line.firing, view::moment(line.since)));
    }
}

pub(super) fn drills(kernel: &Kernel, policy: Option<&PolicyId>, target: Option<&Target>, answer: &mut Answer) {
    let drills = kernel.drills().into_iter();
    let wanted = |name: &PolicyId, of: &Target| policy.is_none_or(|policy| policy == name) && target.is_none_or(|target| target == of);
    let found: Vec<_> = drills.filter(|(name, drill)| wanted(name, &drill.target)).collect();
    for (name, drill) in &found {
        let passed = kernel.ledger().trust().drill(name).and_then(|state| state.passed_at);
        let passed = passed.map_or_else(|| "never passed".to_owned(), |at| format!("passed last at {}", view::moment(at)));
        answer.line(format!("{name}: `{}` on `{}`, answered within {}; {passed}", drill.fault, drill.target, drill.within));
        answer.cite(Citation::Policy { name: name.to_string() });
    }
    match found.as_slice() {
        [] => answer.line("No loaded policy names such a `drill` in its `policy()`; docs/scores.md shows how."),
        [(name, _), ..] => answer.next = Some(format!("homeostat drill {name}")),
    }
}
