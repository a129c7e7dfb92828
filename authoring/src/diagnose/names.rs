//! What does not exist: variables, keys, parameters, metrics, labels; and what exists and is not used.

use super::{Case, Finding};
use crate::vocabulary::signals;
use homeostat_kernel::policy::did_you_mean;
use homeostat_kernel::policy::survey::{KEYS, Place, RETURNS, SurveyedCall};
use homeostat_kernel::store::Selector;

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    variables(case, findings);
    findings.extend(unknown_keys(case));
    params(case, findings);
    for call in case.calls() {
        selector(case, call, findings);
    }
    labels(case, findings);
}

fn variables(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let survey = &case.survey;
    for (name, place) in &survey.unknown_variables {
        let known = survey.variables.iter().map(|variable| variable.name.as_str());
        let words = if RETURNS.iter().any(|(function, _)| function == name) {
            Some(format!("`{name}` is a function: write `{name}(…)`"))
        } else if survey.params.iter().any(|param| param.key == *name) {
            Some(format!("a parameter is asked for with `param(\"{name}\")`"))
        } else {
            did_you_mean(name, known.chain(["alert"]).filter(|known| !known.is_empty()))
        };
        let finding = case.error("unknown-variable", *place, format!("there is no variable `{name}`"));
        findings.push(finding.expected("expected a variable of this function").maybe_help(words));
    }
    for variable in survey.variables.iter().filter(|variable| !variable.used && !variable.name.starts_with('_')) {
        let name = &variable.name;
        if survey.unknown_variables.iter().any(|(unknown, _)| did_you_mean(unknown, [name.as_str()]).is_some()) {
            // It is said once: where it is misspelled.
            continue;
        }
        let finding = case.warning("unused-variable", variable.place, format!("nothing uses the variable `{name}`"));
        findings.push(finding.expected("set, and never read").help(format!("leave it out, or call it `_{name}`")));
    }
}

/// Keys of `policy()` that mean nothing.
pub(super) fn unknown_keys<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Finding> + 'a {
    let unknown = case.survey.settings.iter().filter(|setting| !KEYS.iter().any(|(key, _)| *key == setting.key));
    unknown.map(|setting| {
        let key = &setting.key;
        let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        let finding = case.error("unknown-key", setting.place, format!("`policy()` has no key `{key}`"));
        finding.expected(format!("expected one of {}", known.join(", "))).maybe_help(did_you_mean(key, known))
    })
}

fn params(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let params = &case.survey.params;
    let mut misspelled = Vec::new();
    for call in case.calls().filter(|call| call.name == "param") {
        let Some(arg) = call.args.first() else { continue };
        let Some(name) = arg.text.as_deref().filter(|name| arg.is_exact && !params.iter().any(|param| param.key == *name)) else {
            continue;
        };
        let known: Vec<&str> = params.iter().map(|param| param.key.as_str()).collect();
        misspelled.push(name.to_owned());
        let expected =
            if known.is_empty() { "the policy has no `params`".to_owned() } else { format!("expected one of {}", known.join(", ")) };
        let finding = case.error("unknown-param", arg.place, format!("the policy has no parameter `{name}`"));
        let add = format!("add it to `policy()`: `params: #{{ {name}: … }}`");
        findings.push(finding.expected(expected).help(did_you_mean(name, known).unwrap_or(add)));
    }
    let variables = case.survey.unknown_variables.iter().map(|(name, _)| name.clone());
    misspelled.extend(variables);
    for param in params.iter().filter(|param| !param.used) {
        if misspelled.iter().any(|name| did_you_mean(name, [param.key.as_str()]).is_some()) {
            continue;
        }
        let finding = case.warning("unused-param", param.place, format!("nothing asks for the parameter `{}`", param.key));
        findings.push(finding.expected("set, and never read").help(format!("use `param(\"{}\")`, or leave it out", param.key)));
    }
}

/// The metric and the labels of a selector.
fn selector(case: &Case<'_>, call: &SurveyedCall, findings: &mut Vec<Finding>) {
    if !["series", "all", "peer"].contains(&call.name.as_str()) {
        return;
    }
    let Some(arg) = call.args.last() else { return };
    let Some(text) = arg.text.as_deref() else { return };
    let parsed = match Selector::parse(text) {
        Ok(parsed) => parsed,
        Err(error) if arg.is_exact => {
            let finding = case.error("wrong-selector", arg.place, format!("this is no selector: {error}"));
            findings.push(finding.expected("expected as in `node_load1{node='brain'}`"));
            return;
        }
        Err(_) => return,
    };
    let Some(metric) = parsed.metric().map(str::to_owned) else { return };
    let place = case.inside(arg.place, text, &metric);
    if let Some(finding) = unknown_metric(case, &metric, place) {
        findings.push(finding);
        return;
    }
    let Some(signal) = signals().get(metric.as_str()) else { return };
    for (name, value) in parsed.equalities().filter(|(name, _)| !signal.labels.contains(name) && *name != "__name__") {
        let place = case.inside(arg.place, text, name);
        let finding = case.warning("unknown-label", place, format!("`{metric}` has no label `{name}`: this names no series"));
        findings.push(
            finding.expected(has(&signal.labels)).maybe_help(
                did_you_mean(name, signal.labels.iter().copied())
                    .or_else(|| Some(format!("leave `{name}='{value}'` out, or use one of the others"))),
            ),
        );
    }
}

/// A metric that nobody delivers, or that is nearly the name of one that somebody does.
fn unknown_metric(case: &Case<'_>, metric: &str, place: Place) -> Option<Finding> {
    let live = case.around.live.as_ref();
    if live.is_some_and(|live| live.contains(metric)) {
        return None;
    }
    if signals().contains_key(metric) {
        // A signal that exists, from a source that this lab does not have, or that is silent now.
        live?;
        let finding = Finding::note("not-delivered", case.path, place, format!("no sensor delivers `{metric}` now"));
        return Some(finding.expected("no series has this name").help("docs/signals.md says which sources it comes from"));
    }
    let all = signals().keys().copied().chain(live.into_iter().flatten().map(String::as_str));
    let near = did_you_mean(metric, all);
    if near.is_none() && live.is_none() {
        return None;
    }
    let who = if live.is_some() { "no sensor delivers" } else { "the vocabulary has no" };
    let finding = case.warning("unknown-metric", place, format!("{who} `{metric}`"));
    let finding = finding.expected(if live.is_some() { "no series has this name now" } else { "not among the signals of docs/signals.md" });
    Some(finding.help(near.unwrap_or_else(|| "`homeostat status` shows the sensors; docs/signals.md lists the signals".into())))
}

fn has(labels: &[&str]) -> String {
    format!("it has {}", labels.join(", "))
}

fn labels(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for asked in &case.survey.labels {
        let label = asked.label.as_str();
        let Some(series) = &asked.series else {
            alert_field(case, label, asked.place, findings);
            continue;
        };
        if RETURNS.iter().any(|(function, _)| *function == label) {
            let finding = case.error("unknown-label", asked.place, format!("`{label}` is a function, not a label"));
            findings.push(finding.expected(format!("expected `{label}(…)`")).help("functions are called with parentheses"));
            continue;
        }
        let Some(metric) = &series.metric else { continue };
        let Some(signal) = signals().get(metric.as_str()).filter(|signal| !signal.labels.contains(&label)) else { continue };
        let message = format!("`{metric}` has no label `{label}`");
        let finding = if asked.required {
            case.error("unknown-label", asked.place, message)
        } else {
            case.warning("unknown-label", asked.place, format!("{message}: this is always \"\""))
        };
        let near = did_you_mean(label, signal.labels.iter().copied());
        findings.push(
            finding
                .expected(has(&signal.labels))
                .help(near.unwrap_or_else(|| "a label that may be missing is asked for with `.label(\"…\")`".into())),
        );
    }
}

fn alert_field(case: &Case<'_>, name: &str, place: Place, findings: &mut Vec<Finding>) {
    const FIELDS: [&str; 5] = ["name", "status", "kind", "node", "fingerprint"];
    if FIELDS.contains(&name) {
        return;
    }
    let help = did_you_mean(name, FIELDS).unwrap_or_else(|| format!("for a label write `alert.label(\"{name}\")`"));
    let finding = case.error("unknown-label", place, format!("an alert has no `{name}`"));
    findings.push(finding.expected(format!("it has {}", FIELDS.join(", "))).help(help));
}
