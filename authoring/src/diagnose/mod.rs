//! What is wrong with a policy or its test, said before it runs.
//!
//! `finding` is one thing that is wrong, with its place; `render` shows it; `codes` names the kinds. The checks: `names` (what does
//! not exist), `types` (what a function takes), `units` (numbers that cannot be meant so), `flow` (what is never reached), `wishes`
//! (actions, claims, times), `yaml` (test files). Everything is told from the kernel's own compile and survey. Deliberately absent: a
//! rule that the kernel does not have; a check here only says earlier and better what an evaluation, the arbiter or the scoring would
//! show later. An editor breaks this by a check that finds fault with what works.

mod braces;
mod codes;
mod finding;
mod flow;
mod names;
mod render;
mod types;
mod units;
mod wishes;
mod yaml;

#[cfg(test)]
mod tests;

pub use codes::{CODES, reference};
pub use finding::{Finding, Label, Severity};
pub use render::render;
pub use yaml::of_errors;

use homeostat_kernel::policy::survey::{Place, Survey, SurveyedCall, survey};
use homeostat_kernel::policy::{Host, PolicyError, did_you_mean};
use homeostat_kernel::store::Store;
use homeostat_model::{ActuatorSpec, PolicyOverride, PolicySource, Span, StoreSettings};
use std::collections::BTreeSet;

/// What a policy is checked against.
#[derive(Clone, Debug)]
pub struct Around {
    /// What can be done; empty: verbs are not checked.
    pub actuators: Vec<ActuatorSpec>,
    /// The playbooks' names, for `playbook.*`.
    pub playbooks: Vec<String>,
    /// The metrics that the sensors deliver now, where that is known.
    pub live: Option<BTreeSet<String>>,
    /// How far back windows reach.
    pub retention: Span,
}

impl Default for Around {
    fn default() -> Around {
        let retention = StoreSettings::default().retention;
        Around { actuators: Vec::new(), playbooks: Vec::new(), live: None, retention }
    }
}

/// One policy under examination.
struct Case<'a> {
    path: &'a str,
    text: &'a str,
    survey: Survey,
    around: &'a Around,
    /// The configuration's.
    overrides: &'a PolicyOverride,
}

/// Everything that can be said about a policy's text, ordered by place.
pub fn check_policy(path: &str, text: &str, overrides: &PolicyOverride, around: &Around) -> Vec<Finding> {
    let surveyed = match survey(path, text, &overrides.params) {
        Ok(survey) => survey,
        Err(error) => return vec![of_error(&error, text)],
    };
    let case = Case { path, text, survey: surveyed, around, overrides };
    let mut findings = Vec::new();
    names::check(&case, &mut findings);
    types::check(&case, &mut findings);
    units::check(&case, &mut findings);
    flow::check(&case, &mut findings);
    wishes::check(&case, &mut findings);
    let id = std::path::Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let source = PolicySource { id: id.as_str().into(), path: path.to_owned(), text: text.to_owned(), overrides: overrides.clone() };
    let host = Host::new(Store::new(StoreSettings::default()));
    if let Err(errors) = host.compile(&source) {
        // What a check has said better is not said again.
        let more: Vec<Finding> = errors.iter().map(|error| of_error(error, text)).collect();
        findings.extend(more.into_iter().filter(|new| !findings_hold(&case, new)).map(|new| misnamed(&case, new)));
    }
    findings.sort_by(|a, b| (a.line, a.column, a.severity, a.code).cmp(&(b.line, b.column, b.severity, b.code)));
    findings.dedup_by(|a, b| (a.line, a.column, a.code) == (b.line, b.column, b.code) && a.line > 0);
    findings
}

/// Whether `names` has found this itself, with its exact place.
fn findings_hold(case: &Case<'_>, error: &Finding) -> bool {
    match error.code {
        "unknown-variable" => !case.survey.unknown_variables.is_empty(),
        "unknown-key" => names::unknown_keys(case).next().is_some(),
        _ => false,
    }
}

/// Words of other languages.
const FOREIGN: [(&str, &str); 8] = [
    ("and", "write `&&`"),
    ("or", "write `||`"),
    ("not", "write `!`"),
    ("then", "the block of an `if` stands in `{ … }`"),
    ("elif", "write `else if`"),
    ("elsif", "write `else if`"),
    ("def", "a function begins with `fn`"),
    ("function", "a function begins with `fn`"),
];

/// A finding from the kernel's own error.
fn of_error(error: &PolicyError, text: &str) -> Finding {
    let mut place = Place { line: error.line, column: error.column, len: 1 };
    let mut word = String::new();
    match text.lines().nth(error.line.wrapping_sub(1)) {
        Some(line) => {
            let rest: Vec<char> = line.chars().skip(error.column.saturating_sub(1)).collect();
            place.len = homeostat_kernel::policy::survey::word_len(&rest);
            word = rest.iter().take(place.len).collect();
        }
        // Behind the last line: at its end.
        None if error.line > 0 => {
            place.line = text.lines().count();
            place.column = text.lines().last().map_or(0, |line| line.chars().count()).max(1);
        }
        None => {}
    }
    if let Some((_, help)) = FOREIGN.iter().find(|(foreign, _)| *foreign == word && error.code() == "syntax") {
        return Finding::error("syntax", &error.path, place, format!("there is no `{word}` here")).help(*help);
    }
    let (message, expected) = split(&error.message);
    let help = match error.code() {
        "wrong-span" => "a span is a number with its unit: `\"90s\"`, `\"5m\"`, `\"1h30m\"`, `\"7d\"`",
        "unknown-function" => "docs/policy-api.md lists the functions",
        "no-policy" => "begin with `fn policy() { #{ for_each: series(\"…\"), every: \"1m\" } }`",
        "nothing-runs" => "the kernel calls `fn evaluate(series)` for each series, and `fn on_alert(alert)` for alerts",
        _ if expected.is_some() => "",
        _ => "docs/policy-api.md shows how policies are written",
    };
    let finding = Finding::error(error.code(), &error.path, place, message);
    let finding = Finding { expected, ..finding };
    let finding = if help.is_empty() { finding } else { finding.help(help) };
    let finding = finding.maybe_help(error.help.clone());
    match braces::odd(text).filter(|_| error.code() == "syntax" && error.message.contains('}')) {
        Some((open, Some(close))) => finding.label(open, "this block").label(close, "seems to be closed here, by the end of an outer one"),
        Some((open, None)) => finding.label(open, "this is not closed"),
        None => finding,
    }
}

/// What is wrong, and what was expected, where a message says both.
fn split(message: &str) -> (&str, Option<String>) {
    let parts = [", expected ", ": expected "].iter().find_map(|sign| message.split_once(sign));
    match parts.or_else(|| Some(("", message.strip_prefix("expected ")?))) {
        Some((message, expected)) => (message, Some(format!("expected {expected}"))),
        None => (message, None),
    }
}

/// Where nothing runs because the function is called nearly so.
fn misnamed(case: &Case<'_>, finding: Finding) -> Finding {
    let own = case.survey.functions.iter().find_map(|(name, _, place)| {
        let near = did_you_mean(name, ["evaluate", "on_alert", "policy"])
            .filter(|_| !["evaluate", "on_alert", "policy"].contains(&name.as_str()))?;
        Some((name, place, near))
    });
    match own {
        Some((name, place, near)) if finding.line == 0 && ["nothing-runs", "no-policy"].contains(&finding.code) => {
            let column =
                case.text.lines().nth(place.line.saturating_sub(1)).and_then(|line| Some(line[..line.find(name)?].chars().count() + 1));
            let place = Place { line: place.line, column: column.unwrap_or(place.column), len: name.chars().count() };
            Finding { line: place.line, column: place.column, len: place.len, ..finding }.expected("nothing calls this").help(near)
        }
        _ => finding,
    }
}

impl Case<'_> {
    fn error(&self, code: &'static str, place: Place, message: impl Into<String>) -> Finding {
        Finding::error(code, self.path, place, message)
    }

    fn warning(&self, code: &'static str, place: Place, message: impl Into<String>) -> Finding {
        Finding::warning(code, self.path, place, message)
    }

    /// Calls of functions of the reference: not of the script's own.
    fn calls(&self) -> impl Iterator<Item = &SurveyedCall> {
        self.survey.calls.iter().filter(|call| !self.survey.functions.iter().any(|(name, ..)| *name == call.name))
    }

    /// The character at a place.
    fn char_at(&self, place: Place) -> Option<char> {
        self.text.lines().nth(place.line.checked_sub(1)?)?.chars().nth(place.column.checked_sub(1)?)
    }

    /// The number that stands at a place, as it is written.
    fn number_at(&self, place: Place) -> Option<String> {
        let line = self.text.lines().nth(place.line.checked_sub(1)?)?;
        let word: String = line.chars().skip(place.column.checked_sub(1)?).take(place.len).collect();
        word.parse::<f64>().is_ok().then_some(word)
    }

    /// Where a text's word begins at the place of the text: behind its quote.
    fn inside(&self, place: Place, text: &str, word: &str) -> Place {
        let quoted = matches!(self.char_at(place), Some('"' | '`'));
        match text.find(word).filter(|_| quoted && place.len >= word.len()) {
            // Behind `${…}` the text is not what stands in the file.
            Some(at) if !text[..at].contains("${") => {
                Place { column: place.column + 1 + text[..at].chars().count(), len: word.chars().count(), ..place }
            }
            _ => place,
        }
    }
}
