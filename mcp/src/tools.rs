//! What an agent can call: names, arguments, annotations, and how a call becomes one request to the daemon.
//!
//! Deliberately absent: a tool that approves, denies, lifts or runs anything. An editor breaks this by giving a tool arguments that
//! are passed on unread: every request is built here from typed parts.

use crate::house::{Caller, Claimed, House, Proposing, Request, Told};
use crate::shown::Found;
use crate::{manual, nearest::nearest};
use rmcp::handler::server::tool::schema_for_type;
use rmcp::model::{JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long one answer of the daemon may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Characters of a name, a selector or a span.
const NAME_CHARS_MAX: usize = 500;
/// Characters of a question or a reason.
const TEXT_CHARS_MAX: usize = 1000;
/// Arguments of a proposal.
const ARGS_MAX: usize = 32;
/// Actions that are looked through.
const ACTIONS_MAX: usize = 1000;
/// Actions that are listed unless told otherwise.
const ACTIONS_SHOWN: usize = 20;
/// Points of a series.
const POINTS_MAX: usize = 100;
/// Points unless told otherwise.
const POINTS: usize = 24;

/// No arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArgs {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListActions {
    /// At most so many, 1 to 100; 20 unless given.
    #[serde(default)]
    limit: Option<usize>,
    /// Only actions in this phase, such as `awaiting_approval`.
    #[serde(default)]
    phase: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExplainDecision {
    /// The action's number, such as `a12`.
    action: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhyNot {
    /// The policy's name, such as `disk-full`.
    policy: String,
    /// A part of the target's name; without it: every target of the policy.
    #[serde(default)]
    target: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QueryWindow {
    /// A PromQL vector selector, such as `node_load1{instance=~"nas.*"}`.
    selector: String,
    /// How far back, such as `15m`, `6h` or `2d`, for at most eight series; without it: the newest values only.
    #[serde(default)]
    span: Option<String>,
    /// Into how many points the span is divided, 1 to 100; each is the mean of its part. 24 unless given.
    #[serde(default)]
    points: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scores {
    /// One policy in full; without it: what is believed of every action.
    #[serde(default)]
    policy: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ledger {
    /// One month, such as `2026-11`.
    #[serde(default)]
    month: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SearchDocs {
    /// Words to look for.
    query: String,
    /// At most so many sections, 1 to 8; 4 unless given.
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// A question or a request in English, such as `why is nas not asleep?` or `wake muscle`.
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ProposeAction {
    /// What, as `actuator.verb`, such as `power.wake`.
    verb: String,
    /// To what, as `kind/name`, such as `node/nas`.
    target: String,
    /// How: the verb's arguments by name; texts, numbers or booleans.
    #[serde(default)]
    args: Map<String, Value>,
    /// Why, for the person who decides.
    because: String,
    /// What must come true if this helps; the action is judged by it, and without it the guards refuse.
    #[serde(default)]
    claim: Option<ClaimArgs>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClaimArgs {
    /// A selector that names one series, such as `node_power_watts{node="muscle"}`.
    series: String,
    /// The value that the series must exceed, in its unit. Give this or `below`.
    #[serde(default)]
    above: Option<f64>,
    /// The value that the series must fall below, in its unit. Give this or `above`.
    #[serde(default)]
    below: Option<f64>,
    /// How long it must stay there, such as `2m`.
    #[serde(default)]
    held: Option<String>,
    /// By when, from the moment that the action is sent, such as `10m`.
    within: String,
}

/// A tool.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// How everything stands.
    Status,
    /// Alerts, grouped.
    ListIncidents,
    /// Actions, the last moved first.
    ListActions,
    /// Everything about one action.
    ExplainDecision,
    /// How far a policy is from firing.
    WhyNot,
    /// Values from the windows.
    QueryWindow,
    /// What actions really did.
    Scores,
    /// What was spent.
    Ledger,
    /// The documentation.
    SearchDocs,
    /// A question in words.
    Ask,
    /// A wish that waits for a person.
    ProposeAction,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 11] = [
        Tool::Status,
        Tool::ListIncidents,
        Tool::ListActions,
        Tool::ExplainDecision,
        Tool::WhyNot,
        Tool::QueryWindow,
        Tool::Scores,
        Tool::Ledger,
        Tool::SearchDocs,
        Tool::Ask,
        Tool::ProposeAction,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Status => "status",
            Tool::ListIncidents => "list_incidents",
            Tool::ListActions => "list_actions",
            Tool::ExplainDecision => "explain_decision",
            Tool::WhyNot => "why_not",
            Tool::QueryWindow => "query_window",
            Tool::Scores => "scores",
            Tool::Ledger => "ledger",
            Tool::SearchDocs => "search_docs",
            Tool::Ask => "ask",
            Tool::ProposeAction => "propose_action",
        }
    }

    /// The tool of a name.
    ///
    /// # Errors
    /// There is none: the nearest, or all of them.
    pub fn find(name: &str) -> Result<Tool, Told> {
        let names = || Tool::ALL.map(Tool::name);
        Tool::ALL.into_iter().find(|tool| tool.name() == name).ok_or_else(|| {
            let shown: String = crate::shown::cleaned(name).chars().take(64).collect();
            let right = match nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}; whatever decides or runs is for people", names().join(", ")),
            };
            Told::Wrong(format!("there is no tool `{shown}`: {right}"))
        })
    }

    fn description(self) -> &'static str {
        match self {
            Tool::Status => {
                "How everything stands: hands-off, incidents, waiting and recent actions, policies with what each lacks to fire."
            }
            Tool::ListIncidents => "Alerts that are or were on, grouped by rule and node.",
            Tool::ListActions => "Actions with phase, verdict, deciding guard and outcome, the last moved first.",
            Tool::ExplainDecision => {
                "All that is known of one action: why it was wished, what every guard said, what came of it, how it was scored."
            }
            Tool::WhyNot => "Why a policy fires or does not, on each of its targets: what it read, and how far it is from firing.",
            Tool::QueryWindow => "The newest values of the series that a selector names, or their course over a span.",
            Tool::Scores => "What actions really did: effects with intervals, by policy and action, or every score of one policy.",
            Tool::Ledger => {
                "What was spent by month and policy (joules, euros, minutes of interruption), what is left of the budget, what is locked."
            }
            Tool::SearchDocs => "Search Homeostat's documentation: configuration, policies, playbooks, guards, scores, signals.",
            Tool::Ask => {
                "Ask in English. A question is answered with what the answer rests on; a request becomes a plan that is shown. Nothing is done."
            }
            Tool::ProposeAction => {
                "Propose an action. The guards rule on it, then it waits for a person: nothing runs before somebody confirms it outside of \
                 this server. The same proposal again gives the same waiting action."
            }
        }
    }

    fn schema(self) -> Arc<JsonObject> {
        match self {
            Tool::Status | Tool::ListIncidents => schema_for_type::<NoArgs>(),
            Tool::ListActions => schema_for_type::<ListActions>(),
            Tool::ExplainDecision => schema_for_type::<ExplainDecision>(),
            Tool::WhyNot => schema_for_type::<WhyNot>(),
            Tool::QueryWindow => schema_for_type::<QueryWindow>(),
            Tool::Scores => schema_for_type::<Scores>(),
            Tool::Ledger => schema_for_type::<Ledger>(),
            Tool::SearchDocs => schema_for_type::<SearchDocs>(),
            Tool::Ask => schema_for_type::<Ask>(),
            Tool::ProposeAction => schema_for_type::<ProposeAction>(),
        }
    }

    /// As the protocol lists it.
    pub fn listed(self) -> rmcp::model::Tool {
        let reads = self != Tool::ProposeAction;
        let annotations = ToolAnnotations::new().read_only(reads).destructive(false).idempotent(true).open_world(false);
        rmcp::model::Tool::new(self.name(), self.description(), self.schema()).with_annotations(annotations)
    }

    /// Reads arguments by the tool's own schema; what is wrong is said with what would be right.
    fn read<T: DeserializeOwned>(self, args: Option<JsonObject>) -> Result<T, Told> {
        let args = args.unwrap_or_default();
        let schema = self.schema();
        let known: Vec<&str> =
            schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let takes = if known.is_empty() { "no arguments".to_owned() } else { known.join(", ") };
        if let Some(odd) = args.keys().find(|name| !known.contains(&name.as_str())) {
            let right = nearest(odd, known.iter().copied()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let odd: String = crate::shown::cleaned(odd).chars().take(64).collect();
            return Err(Told::Wrong(format!("{}: there is no argument `{odd}`{right} It takes: {takes}", self.name())));
        }
        serde_json::from_value(Value::Object(args)).map_err(|error| {
            let error: String = crate::shown::cleaned(&error.to_string()).chars().take(NAME_CHARS_MAX).collect();
            Told::Wrong(format!("{}: {error}. It takes: {takes}", self.name()))
        })
    }

    /// Calls it: at most one request to the daemon. The answer is not yet fit to be shown.
    ///
    /// # Errors
    /// See [`Told`].
    pub async fn call(self, house: &dyn House, caller: &Caller, args: Option<JsonObject>) -> Result<Found, Told> {
        let ask = |request: Request| answered(house, caller, request);
        match self {
            Tool::Status => self.read::<NoArgs>(args).map(|_| Request::Status).map(ask)?.await,
            Tool::ListIncidents => self.read::<NoArgs>(args).map(|_| Request::Incidents).map(ask)?.await,
            Tool::ListActions => {
                let ListActions { limit, phase } = self.read(args)?;
                let limit = within("limit", limit, ACTIONS_SHOWN, 100)?;
                let fetched = if phase.is_some() { ACTIONS_MAX } else { limit };
                Ok(in_phase(ask(Request::Actions { limit: fetched }).await?, phase.as_deref(), limit))
            }
            Tool::ExplainDecision => {
                let ExplainDecision { action } = self.read(args)?;
                ask(Request::Action { id: name("action", action)? }).await
            }
            Tool::WhyNot => {
                let WhyNot { policy, target } = self.read(args)?;
                let target = target.map_or(Ok(String::new()), |target| name("target", target))?;
                ask(Request::Policy { policy: name("policy", policy)?, target }).await
            }
            Tool::QueryWindow => {
                let QueryWindow { selector, span, points } = self.read(args)?;
                let (selector, points) = (name("selector", selector)?, within("points", points, POINTS, POINTS_MAX)?);
                let plot = span.map(|span| name("span", span)).transpose()?;
                let text = format!("all({})", quoted(&selector));
                Ok(series(ask(Request::Evaluate { text, plot, points }).await?))
            }
            Tool::Scores => match self.read::<Scores>(args)?.policy {
                None => ask(Request::Scores).await,
                Some(policy) => ask(Request::PolicyScores { policy: name("policy", policy)? }).await,
            },
            Tool::Ledger => {
                let Ledger { month } = self.read(args)?;
                ask(Request::Ledger { month: month.map(|month| name("month", month)).transpose()? }).await
            }
            Tool::SearchDocs => {
                let SearchDocs { query, limit } = self.read(args)?;
                let limit = within("limit", limit, 4, manual::SECTIONS_MAX)?;
                Ok(Found { answer: manual::search(&bounded("query", query, manual::QUERY_CHARS_MAX)?, limit), note: None, ours: true })
            }
            Tool::Ask => {
                let Ask { text } = self.read(args)?;
                Ok(without_command(ask(Request::Ask { text: bounded("text", text, TEXT_CHARS_MAX)? }).await?))
            }
            Tool::ProposeAction => Ok(proposed(ask(Request::Propose(wish(self.read(args)?)?)).await?)),
        }
    }
}

async fn answered(house: &dyn House, caller: &Caller, request: Request) -> Result<Found, Told> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, house.answer(caller, &request)).await;
    answer.map_err(|_| Told::Late(ANSWER_WITHIN.as_secs()))?.map(Found::from)
}

fn bounded(what: &str, text: String, chars_max: usize) -> Result<String, Told> {
    let chars = text.chars().count();
    if text.trim().is_empty() {
        return Err(Told::Wrong(format!("`{what}` is empty")));
    }
    if chars > chars_max {
        return Err(Told::Wrong(format!("`{what}` has {chars} characters, at most {chars_max} are taken")));
    }
    Ok(text)
}

fn name(what: &str, text: String) -> Result<String, Told> {
    bounded(what, text, NAME_CHARS_MAX)
}

fn within(what: &str, given: Option<usize>, otherwise: usize, most: usize) -> Result<usize, Told> {
    match given.unwrap_or(otherwise) {
        number if (1..=most).contains(&number) => Ok(number),
        number => Err(Told::Wrong(format!("`{what}` is {number}, expected 1 to {most}"))),
    }
}

/// A text as a literal of the policy language: a selector cannot become anything else.
fn quoted(text: &str) -> String {
    let escaped = text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
        out
    });
    format!("\"{escaped}\"")
}

fn wish(given: ProposeAction) -> Result<Proposing, Told> {
    let ProposeAction { verb, target, args, because, claim } = given;
    if args.len() > ARGS_MAX {
        return Err(Told::Wrong(format!("there are {} arguments, at most {ARGS_MAX} are taken", args.len())));
    }
    for (name, value) in &args {
        let plain = match value {
            Value::String(text) => text.chars().count() <= TEXT_CHARS_MAX,
            Value::Bool(_) | Value::Number(_) => true,
            _ => false,
        };
        if !plain {
            let name: String = crate::shown::cleaned(name).chars().take(64).collect();
            return Err(Told::Wrong(format!(
                "`args.{name}`: expected a text of at most {TEXT_CHARS_MAX} characters, a number or a boolean"
            )));
        }
    }
    let claim = claim.map(|claim| {
        let ClaimArgs { series, above, below, held, within } = claim;
        match (above, below) {
            (Some(_), None) | (None, Some(_)) => Ok(Claimed { series: name("claim.series", series)?, above, below, held, within }),
            _ => Err(Told::Wrong("`claim`: expected either `above` or `below`, with a number in the series' unit".into())),
        }
    });
    let because = bounded("because", because, TEXT_CHARS_MAX)?;
    Ok(Proposing { verb: name("verb", verb)?, target: name("target", target)?, args, because, claim: claim.transpose()? })
}

fn in_phase(found: Found, phase: Option<&str>, limit: usize) -> Found {
    let Some(phase) = phase else { return found };
    let all = found.answer["actions"].as_array().cloned().unwrap_or_default();
    let found: Vec<&Value> = all.iter().filter(|action| action["phase"] == phase).take(limit).collect();
    let mut phases: Vec<&str> = all.iter().filter_map(|action| action["phase"].as_str()).collect();
    phases.sort_unstable();
    phases.dedup();
    json!({ "actions": found, "phases_there_are": phases }).into()
}

/// The course of each series in numbers; the answer's text, one line per series, where nothing was drawn.
fn series(Found { answer, .. }: Found) -> Found {
    let line = |plot: &Value| {
        let points = plot["points"].as_array().cloned().unwrap_or_default();
        let known: Vec<f64> = points.iter().filter_map(Value::as_f64).collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        json!({
            "series": plot["series"], "until_ms": plot["until"], "step": plot["step"], "points": points,
            "first": known.first(), "last": known.last(), "mean": mean,
            "min": known.iter().copied().reduce(f64::min), "max": known.iter().copied().reduce(f64::max),
        })
    };
    match answer["plots"].as_array() {
        Some(plots) if !plots.is_empty() => {
            let answer = json!({ "series_found": plots.len(), "over": plots.iter().map(line).collect::<Vec<_>>() });
            let note = "Every point is the mean of its part of the span, oldest first; null where there was no sample.";
            Found { note: Some(note), ..answer.into() }
        }
        _ => {
            let lines: Vec<&str> = answer["text"].as_str().unwrap_or_default().lines().filter(|line| !line.is_empty()).collect();
            json!({ "series_found": lines.len(), "lines": lines }).into()
        }
    }
}

/// An answer without the command by which a person would confirm: an agent proposes.
fn without_command(mut found: Found) -> Found {
    if let Some(answer) = found.answer.get_mut("answer").and_then(Value::as_object_mut) {
        answer.remove("next");
    }
    let planned = !found.answer["planned"].is_null();
    let note = "This is a plan, nothing was done. To have a person asked for it, call `propose_action`.";
    Found { note: planned.then_some(note), ..found }
}

fn proposed(mut found: Found) -> Found {
    let waits = found.answer["action"]["phase"] == "awaiting_approval";
    if let Some(map) = found.answer.as_object_mut() {
        map.insert("awaiting_approval".into(), waits.into());
    }
    let note = if waits {
        "A person decides, outside of this server. Look at it again with `explain_decision`."
    } else {
        "It does not wait for a person, nothing was done: `guards` says why."
    };
    Found { note: Some(note), ..found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_stays_a_text() {
        assert_eq!(quoted("a{b=\"c\\d\"}\n"), r#""a{b=\"c\\d\"}\n""#);
    }

    #[test]
    fn the_course_of_a_series_is_told_in_numbers() {
        let answer = json!({ "plots": [{ "series": {}, "until": 5, "step": "1m", "points": [null, 1.0, 4.0] }] });
        let told = series(answer.into()).answer;
        assert_eq!((told["over"][0]["first"].as_f64(), told["over"][0]["mean"].as_f64()), (Some(1.0), Some(2.5)), "{told}");
        assert_eq!(series(json!({ "text": "", "plots": [] }).into()).answer["series_found"], 0);
    }

    #[test]
    fn phases_that_are_not_there_are_answered_with_those_that_are() {
        let answer = json!({ "actions": [{ "phase": "closed" }, { "phase": "awaiting_approval" }] });
        let told = in_phase(answer.into(), Some("waiting"), 5).answer;
        assert_eq!(told, json!({ "actions": [], "phases_there_are": ["awaiting_approval", "closed"] }));
    }
}
