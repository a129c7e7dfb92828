//! What a function takes, and what it was given; durations that are none.

use super::{Case, Finding};
use homeostat_kernel::policy::survey::Kind::{self, Action, Alert, Claim, Map, Number, Reading, Series, Text, Window, Wish};
use homeostat_kernel::policy::survey::{SurveyedCall, SurveyedValue, example};
use homeostat_model::Span;

/// The functions of the reference and what they take; `Reading` stands for a number too where the function says so twice.
const TAKES: &[(&str, &[&[Kind]])] = &[
    ("series", &[&[Text]]),
    ("all", &[&[Text]]),
    ("alerts", &[&[Text]]),
    ("peer", &[&[Series, Text]]),
    ("label", &[&[Series, Text], &[Alert, Text]]),
    ("last", &[&[Series], &[Window]]),
    ("over", &[&[Series, Text]]),
    ("held_below", &[&[Series, Number, Text]]),
    ("held_above", &[&[Series, Number, Text]]),
    ("absent_for", &[&[Series, Text]]),
    ("above", &[&[Series, Number]]),
    ("below", &[&[Series, Number]]),
    ("avg", &[&[Window]]),
    ("sum", &[&[Window]]),
    ("stddev", &[&[Window]]),
    ("quantile", &[&[Window, Number]]),
    ("rate", &[&[Window]]),
    ("increase", &[&[Window]]),
    ("delta", &[&[Window]]),
    ("slope", &[&[Window]]),
    ("coverage", &[&[Window]]),
    ("count", &[&[Window]]),
    ("seconds_until", &[&[Window, Number]]),
    ("or", &[&[Reading, Number]]),
    ("is_known", &[&[Reading]]),
    ("whole", &[&[Reading], &[Number]]),
    ("annotation", &[&[Alert, Text]]),
    ("value", &[&[Alert, Text]]),
    ("resolved", &[&[Alert]]),
    ("within", &[&[Claim, Text]]),
    ("held", &[&[Claim, Text]]),
    ("notify", &[&[Text], &[Text, Text]]),
    ("wake", &[&[Text]]),
    ("exec", &[&[Text], &[Text, Map]]),
    ("http", &[&[Text], &[Text, Map]]),
    ("act", &[&[Text, Text, Map]]),
    ("on", &[&[Action, Text], &[Wish, Text]]),
    ("propose", &[&[Action]]),
    ("because", &[&[Wish, Text]]),
    ("claim", &[&[Wish, Claim]]),
    ("cooldown", &[&[Wish, Text]]),
    ("param", &[&[Text]]),
    ("minutes", &[&[Number]]),
    ("hours", &[&[Number]]),
    ("days", &[&[Number]]),
    ("percent", &[&[Number], &[Reading]]),
    ("bytes", &[&[Number], &[Reading]]),
    ("duration", &[&[Number], &[Reading]]),
];

/// Functions whose last argument is a span.
const SPANS: [&str; 7] = ["over", "held_below", "held_above", "absent_for", "within", "held", "cooldown"];

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for call in case.calls() {
        if call.is_operator {
            findings.extend(operator(case, call));
        } else if let Some((_, takes)) = TAKES.iter().find(|(name, _)| *name == call.name) {
            findings.extend(arguments(case, call, takes));
            findings.extend(span(case, call));
        }
    }
    for value in &case.survey.untrue {
        let what = value.kind.words();
        let finding = case.error("wrong-type", value.place, format!("this is {what}, expected true or false"));
        findings.push(finding.expected(what).help(match value.kind {
            Kind::Series => "ask something of the series: `s.last() > 0`",
            Kind::Reading | Kind::Number => "compare it: `r > 0`",
            _ => "write a comparison, such as `s.held_below(0.1, \"5m\")`",
        }));
    }
}

fn fits(takes: &[Kind], given: &[SurveyedValue]) -> bool {
    takes.len() == given.len() && takes.iter().zip(given).all(|(takes, given)| given.kind == Kind::Unknown || given.kind == *takes)
}

fn arguments(case: &Case<'_>, call: &SurveyedCall, takes: &[&[Kind]]) -> Option<Finding> {
    if takes.iter().any(|takes| fits(takes, &call.args)) {
        return None;
    }
    let name = &call.name;
    let best = takes.iter().max_by_key(|takes| {
        let right = takes.iter().zip(&call.args).take_while(|(takes, given)| given.kind == **takes || given.kind == Kind::Unknown).count();
        (right, takes.len() == call.args.len())
    })?;
    let example = example(name).map(|call| format!("it is called as in `{call}`"));
    let own = usize::from(call.is_method);
    if best.len() != call.args.len() {
        let wanted: Vec<&str> = best.iter().skip(own).map(|kind| kind.words()).collect();
        let wanted = if wanted.is_empty() { "nothing in its parentheses".to_owned() } else { wanted.join(", ") };
        let given = match call.args.len().saturating_sub(own) {
            0 => "nothing".to_owned(),
            1 => "1 value".to_owned(),
            more => format!("{more} values"),
        };
        let finding = case.error("wrong-arguments", call.place, format!("`{name}` was given {given}"));
        return Some(finding.expected(format!("expected {wanted}")).maybe_help(example));
    }
    let (at, wanted) = best
        .iter()
        .enumerate()
        .find(|(at, takes)| call.args.get(*at).is_some_and(|given| given.kind != Kind::Unknown && given.kind != **takes))?;
    let given = call.args.get(at)?;
    let (wanted, found) = (wanted.words(), given.kind.words());
    let message = if at == 0 && call.is_method {
        format!("`{name}` is asked of {wanted}, this is {found}")
    } else {
        format!("`{name}` was given {found}, expected {wanted}")
    };
    let place = if at == 0 && call.is_method { call.place } else { given.place };
    let finding = case.error("wrong-type", place, message).expected(format!("expected {wanted}"));
    Some(finding.maybe_help(advice(call, at, given)).maybe_help_first(example))
}

/// What was probably meant.
fn advice(call: &SurveyedCall, at: usize, given: &SurveyedValue) -> Option<String> {
    let is_last = at + 1 == call.args.len();
    let words = match (call.name.as_str(), given.kind) {
        ("claim", Kind::Truth | Kind::Reading) => "a claim is made with `above` or `below`: `s.above(0.2).within(\"15m\")`",
        (name, Kind::Number) if SPANS.contains(&name) && is_last => "a span is a text with its unit: `\"5m\"`, `\"90s\"`, `\"12h\"`",
        ("propose", Kind::Text) => "an action is made with `notify`, `act`, `wake`, `exec` or `http`",
        (_, Kind::Series) if TAKES.iter().any(|(name, takes)| *name == call.name && takes[0][0] == Window) => {
            "a series is asked over a window: `s.over(\"5m\")`"
        }
        ("minutes" | "hours" | "days", Kind::Text) => "these take a number and give seconds: `hours(12)`",
        ("exec" | "http" | "act", _) if is_last => "arguments stand in a map: `#{ name: value }`",
        _ => return None,
    };
    Some(words.to_owned())
}

/// A span that is none.
fn span(case: &Case<'_>, call: &SurveyedCall) -> Option<Finding> {
    let arg = call.args.last().filter(|arg| SPANS.contains(&call.name.as_str()) && arg.is_exact && call.args.len() > 1)?;
    let text = arg.text.as_deref()?;
    let message = match text.parse::<Span>() {
        Ok(span) if span > Span::ZERO => return None,
        Ok(_) => "a span must be longer than zero".to_owned(),
        Err(_) => format!("`{text}` is no span of time"),
    };
    let finding = case.error("wrong-span", arg.place, message);
    Some(finding.expected("expected a number with its unit").help("as in `\"90s\"`, `\"5m\"`, `\"1h30m\"`, `\"7d\"`"))
}

/// Comparisons and arithmetic between what cannot be compared.
fn operator(case: &Case<'_>, call: &SurveyedCall) -> Option<Finding> {
    let [left, right] = call.args.as_slice() else { return None };
    let name = call.name.as_str();
    let compares = ["<", "<=", ">", ">=", "==", "!="].contains(&name);
    if !(compares || ["-", "*", "/", "%", "+"].contains(&name)) {
        return None;
    }
    let is_number = |kind: Kind| matches!(kind, Kind::Number | Kind::Reading);
    let odd = match (left.kind, right.kind) {
        (Kind::Unknown, _) | (_, Kind::Unknown) => return None,
        (Kind::Series | Kind::Window, _) => left,
        (_, Kind::Series | Kind::Window) => right,
        (a, b) if is_number(a) && is_number(b) || a == b => return None,
        (Kind::Text, _) | (_, Kind::Text) if name == "+" => return None,
        (a, _) if is_number(a) => right,
        _ => left,
    };
    let other = if std::ptr::eq(odd, left) { right } else { left };
    let verb = if compares { "compared with" } else { "put together with" };
    let message = format!("{} is {verb} {}", odd.kind.words(), other.kind.words());
    let help = match (odd.kind, odd.text.as_deref()) {
        (Kind::Series, _) => "`.last()` gives the newest value of a series, `.over(\"5m\").avg()` its mean".to_owned(),
        (Kind::Window, _) => "ask something of the window: `.avg()`, `.max()`, `.last()`".to_owned(),
        (Kind::Text, Some(text)) if text.parse::<Span>().is_ok() => {
            format!("\"{text}\" is a text; in comparisons seconds are numbers: `minutes(5)`, `hours(12)`")
        }
        (Kind::Text, Some(text)) if text.parse::<f64>().is_ok() => format!("leave the quotes out: `{text}`"),
        (Kind::Truth, _) => "a reading of yes or no is 1 or 0: compare it with `== 1`".to_owned(),
        _ => "numbers are compared with numbers, texts with texts".to_owned(),
    };
    Some(case.error("wrong-type", odd.place, message).expected(format!("this is {}", odd.kind.words())).help(help))
}

impl Finding {
    /// With this where nothing better is known.
    fn maybe_help_first(mut self, text: Option<String>) -> Finding {
        self.help = self.help.or(text);
        self
    }
}
