//! What is never reached: code after a `return`, constant conditions, comparisons that cannot hold together.

use super::{Case, Finding};
use homeostat_kernel::policy::survey::{BranchKind, Survey, SurveyedComparison, SurveyedFact, SurveyedRelation};

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for place in &case.survey.unreachable {
        let finding = case.warning("unreachable", *place, "this is never reached");
        findings
            .push(finding.expected("a `return` stands before it in the same block").help("leave it out, or move it before the `return`"));
    }
    for branch in &case.survey.branches {
        let (message, here) = match (branch.kind, branch.always) {
            (BranchKind::Then, Some(false)) => ("the condition is never true: what follows never runs", "always false"),
            (BranchKind::Then, Some(true)) => ("the condition is always true", "always true"),
            (BranchKind::Loop, Some(false)) => ("the loop never runs", "always false"),
            _ => continue,
        };
        let finding = case.warning("constant-condition", branch.place, message);
        findings.push(finding.expected(here).help("compare a reading, or leave the condition out"));
    }
    contradictions(case, findings);
}

/// A value that a fact is about: the same key is the same value.
#[derive(PartialEq)]
struct Key<'a> {
    selector: &'a str,
    operation: &'a str,
    window: Option<i64>,
}

/// What a fact says of which value: `held_below` says it of the newest value too, while that it was not held says nothing.
fn said<'a>(survey: &'a Survey, fact: &SurveyedFact) -> Option<(Key<'a>, SurveyedRelation, f64, &'a SurveyedComparison)> {
    let compared = survey.comparisons.get(fact.comparison)?;
    let is_held = compared.operation.starts_with("held_");
    if is_held && !fact.holds || compared.operation == "several" {
        return None;
    }
    let (operation, window) = if is_held { ("last", None) } else { (compared.operation.as_str(), compared.window.map(|w| w.millis())) };
    let relation = if fact.holds { compared.relation } else { compared.relation.negated() };
    Some((Key { selector: compared.selector.as_deref()?, operation, window }, relation, compared.threshold?, compared))
}

fn contradictions(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let survey = &case.survey;
    for branch in &survey.branches {
        let facts: Vec<_> = branch.when.iter().filter_map(|fact| said(survey, fact)).collect();
        let pairs = facts.iter().enumerate().flat_map(|(at, later)| facts.iter().take(at).map(move |earlier| (earlier, later)));
        for (earlier, later) in pairs {
            if earlier.0 != later.0 || possible((earlier.1, earlier.2), (later.1, later.2)) {
                continue;
            }
            let metric = later.3.metric.as_deref().unwrap_or("the series");
            let shown = |fact: &(Key<'_>, SurveyedRelation, f64, &SurveyedComparison)| format!("{} {}", fact.1.sign(), fact.2);
            let message = format!("`{metric}` cannot be {} and {}: this is never reached", shown(earlier), shown(later));
            let finding = case.warning("contradiction", later.3.place, message).expected(format!("here it is {}", shown(later)));
            let finding = finding.label(earlier.3.place, format!("here it is {}", shown(earlier)));
            if !findings.iter().any(|known| known.code == finding.code && (known.line, known.column) == (finding.line, finding.column)) {
                findings.push(finding.help("one of the two comparisons points the wrong way, or `||` was meant"));
            }
        }
    }
}

/// Whether some number satisfies both: if any does, one of these does.
fn possible(a: (SurveyedRelation, f64), b: (SurveyedRelation, f64)) -> bool {
    let middle = a.1.midpoint(b.1);
    [a.1 - 1.0, a.1, a.1 + 1.0, middle, b.1 - 1.0, b.1, b.1 + 1.0].iter().any(|x| a.0.holds(*x, a.1) && b.0.holds(*x, b.1))
}
