//! One question to the windows, for people who look: an expression as in `evaluate`, its answer as text, and nothing done.
//!
//! The limits are those of an evaluation, beside a bound on the text. A question leaves no trace: it touches no series, keeps no
//! selection, and what it wishes is told and dropped. Deliberately absent: state between questions; who asks sends what went before.
//! An editor breaks this by asking outside of an imagined run.

use super::diagnose::PolicyError;
use super::host::Host;
use super::load::unknown_functions;
use super::quantity::quantity;
use super::reading::{ActionText, AlertHandle, AlertSelectorText, ClaimDraft, Reading, Series, Window, Wish};
use super::retrace::Of;
use super::session::{COST_MAX, Draft, Mode, Session, Stop, lock};
use super::words;
use homeostat_model::{Alert, Arg, Evidence, PolicyOverride, PolicySource, SeriesKey, Span, Time};
use rhai::{AST, Array, Dynamic, Map, Position, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Longer questions are refused.
pub const QUESTION_BYTES_MAX: usize = 8 << 10;
/// Items of an answer that are told.
const ITEMS_MAX: usize = 200;
/// Series that are drawn at once.
pub const PLOTS_MAX: usize = 8;
/// Points of a plot.
pub const POINTS_MAX: usize = 400;

/// What is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// An expression, or statements that end with one.
    pub text: String,
    /// Draw the series that it gives: how far back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plot: Option<Span>,
    /// Into so many points, at most [`POINTS_MAX`].
    #[serde(default)]
    pub points: usize,
}

/// What the windows say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// What the answer is: `a reading`, `a series`, `true or false`, `a number`, `a text`, `an array`, …
    pub kind: String,
    /// The answer, one line per item.
    pub text: String,
    /// The number, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What was read, with the margins of what was compared.
    pub evidence: Vec<Evidence>,
    /// What it printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prints: Vec<String>,
    /// What was asked to be drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<Plot>,
}

/// A series over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// The series.
    pub series: SeriesKey,
    /// The end of the last point.
    pub until: Time,
    /// The width of a point.
    pub step: Span,
    /// The mean over each point, oldest first; nothing where there was no sample.
    pub points: Vec<Option<f64>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// A reading has no value; it is named.
    Undetermined(String),
    /// The question is wrong, or a limit was reached: as an error in a policy is shown.
    Wrong(String),
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoAnswer::Undetermined(what) => write!(f, "undetermined: {what}"),
            NoAnswer::Wrong(text) => f.write_str(text),
        }
    }
}

const PATH: &str = "question";

impl Host {
    /// Answers a question by the windows as they stand `now`. Nothing is changed, nothing is done.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn ask(
        &self,
        question: &Question,
        now: Time,
        alert: Option<&Arc<Alert>>,
        params: &Arc<BTreeMap<String, Arg>>,
    ) -> Result<Answered, NoAnswer> {
        let mut scope = Scope::new();
        if alert.is_some() {
            scope.push("alert", AlertHandle);
        }
        let ast = self.compile_question(&question.text, &scope)?;
        {
            let mut session = lock(self.shared());
            session.imagined = Some(Default::default());
            session.begin(now, Mode::Evaluate, params);
            session.alert = alert.cloned();
        }
        let called = catch_unwind(AssertUnwindSafe(|| self.engine().eval_ast_with_scope::<Dynamic>(&mut scope, &ast)));
        let mut session = lock(self.shared());
        session.imagined = None;
        let drafts = std::mem::take(&mut session.drafts);
        let shown = |error: PolicyError| NoAnswer::Wrong(error.to_string());
        match (session.stop.take(), called) {
            (Some(Stop::Undetermined(seen)), _) => Err(NoAnswer::Undetermined(read_text(&session, seen))),
            (Some(Stop::Fault(text)), called) => {
                let place = called.ok().and_then(Result::err).map_or(Position::NONE, |error| error.unwrap_inner().position());
                Err(shown(PolicyError::at(PATH, &question.text, place, text)))
            }
            (None, Err(_)) => Err(NoAnswer::Wrong("a function panicked".into())),
            (None, Ok(Err(error))) => {
                let inner = error.unwrap_inner();
                let said = words::of_run(inner);
                Err(shown(PolicyError::at(PATH, &question.text, inner.position(), said.message).help(said.help)))
            }
            (None, Ok(Ok(answer))) => {
                let mut answered = answered(&session, &drafts, &answer);
                if let Some(span) = question.plot {
                    answered.plots = plots(&session, &answer, span, question.points)?;
                }
                Ok(answered)
            }
        }
    }

    fn compile_question(&self, text: &str, scope: &Scope<'_>) -> Result<AST, NoAnswer> {
        let wrong = |text: String| NoAnswer::Wrong(text);
        if text.len() > QUESTION_BYTES_MAX {
            return Err(wrong(format!("the question has {} bytes, at most {QUESTION_BYTES_MAX} are allowed", text.len())));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| self.engine().compile_with_scope(scope, text)));
        let ast = compiled
            .map_err(|_| wrong("the script engine panicked while it read this".into()))?
            .map_err(|error| wrong(super::load::syntax_error(PATH, text, &error).to_string()))?;
        let source = PolicySource { id: PATH.into(), path: PATH.into(), text: text.into(), overrides: PolicyOverride::default() };
        match unknown_functions(self.engine(), &ast, &source).as_slice() {
            [] => Ok(ast),
            errors => Err(wrong(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))),
        }
    }
}

fn read_text(session: &Session, seen: u32) -> String {
    let evidence = session.evidence();
    evidence.get(seen as usize).map_or_else(
        || "a reading".to_owned(),
        |e| format!("{}{}: {}", e.operation, e.series.as_ref().map_or_else(String::new, |key| format!(" of {key}")), e.value),
    )
}

fn answered(session: &Session, drafts: &[Draft], answer: &Dynamic) -> Answered {
    let value = match answer.clone().try_cast::<Reading>() {
        Some(reading) => reading.value,
        None => answer.as_float().ok().or_else(|| answer.as_int().ok().map(|whole| whole as f64)),
    };
    Answered {
        kind: words::type_words(answer.type_name().rsplit("::").next().unwrap_or_default()).into(),
        text: text_of(session, drafts, answer, 0),
        value: value.filter(|value| value.is_finite()),
        evidence: session.evidence(),
        prints: session.prints.clone(),
        plots: Vec::new(),
    }
}

/// A value as people read it.
fn text_of(session: &Session, drafts: &[Draft], value: &Dynamic, depth: usize) -> String {
    let key = |series| session.store.key(series).map_or_else(|| "a series that is gone".to_owned(), |key: SeriesKey| key.to_string());
    if let Some(series) = value.clone().try_cast::<Series>() {
        let last = session.store.last(series.0, session.now).value;
        return match (last.value(), session.store.key(series.0)) {
            (Some(value), Some(key)) => format!("{key} = {}", with_unit(value, Some(&*key.metric), "last")),
            _ => format!("{}: {last}", key(series.0)),
        };
    }
    if let Some(window) = value.clone().try_cast::<Window>() {
        return format!("{} over {}", key(window.series), window.span);
    }
    if let Some(reading) = value.clone().try_cast::<Reading>() {
        return reading_text(session, reading);
    }
    if let Some(ClaimDraft(claim)) = value.clone().try_cast() {
        return claim.to_string();
    }
    if let Some(action) = value.clone().try_cast::<ActionText>() {
        let target = action.target.as_ref().map_or_else(String::new, |target| format!(" on {target}"));
        let first = format!("{}{target}{}", action.verb, args_text(&action.args));
        let others = action.alternatives.iter().map(|other| format!(" or {}{}", other.verb, args_text(&other.args)));
        return std::iter::once(first).chain(others).collect();
    }
    if let Some(wish) = value.clone().try_cast::<Wish>() {
        return drafts.get(wish.0 as usize).map_or_else(String::new, wish_text);
    }
    if let Some(AlertSelectorText(text)) = value.clone().try_cast() {
        return text;
    }
    if let Some(items) = value.clone().try_cast::<Array>() {
        let mut lines: Vec<String> = items.iter().take(ITEMS_MAX).map(|item| text_of(session, drafts, item, depth + 1)).collect();
        if items.len() > ITEMS_MAX {
            lines.push(format!("… and {} more", items.len() - ITEMS_MAX));
        }
        return if depth == 0 { lines.join("\n") } else { format!("[{}]", lines.join(", ")) };
    }
    if let Some(items) = value.clone().try_cast::<Map>() {
        let items: Vec<String> =
            items.iter().map(|(name, item)| format!("{name}: {}", text_of(session, drafts, item, depth + 1))).collect();
        return format!("#{{{}}}", items.join(", "));
    }
    match value.as_float() {
        Ok(value) => number(value),
        Err(_) if value.is_unit() => String::new(),
        Err(_) => value.to_string(),
    }
}

fn reading_text(session: &Session, reading: Reading) -> String {
    let seen = session.seen.get(reading.seen as usize);
    match (reading.value, seen) {
        (None, _) => format!("unknown: {}", read_text(session, reading.seen)),
        (Some(value), Some(seen)) if matches!(reading.of, Of::Read(_)) => {
            let metric = seen.series.and_then(|series| session.store.key(series));
            with_unit(value, metric.as_ref().map(|key| &*key.metric), &seen.op.to_string())
        }
        (Some(value), _) => number(value),
    }
}

fn with_unit(value: f64, metric: Option<&str>, operation: &str) -> String {
    let (plain, shown) = (number(value), quantity(value, metric, operation));
    // A plain number with a magnitude of its own says nothing new.
    if shown.ends_with(|c: char| c.is_ascii_digit()) || shown == plain { plain } else { format!("{plain} ({shown})") }
}

fn wish_text(draft: &Draft) -> String {
    let target = draft.target.as_ref().map_or_else(String::new, |target| format!(" on {target}"));
    let because = if draft.because.is_empty() { String::new() } else { format!(" because {}", draft.because) };
    let claim = draft.claim.as_ref().map_or_else(String::new, |claim| format!("; then {claim}"));
    let cooldown = draft.cooldown.map_or_else(String::new, |span| format!("; not again within {span}"));
    format!("would wish {}{target}{}{because}{claim}{cooldown}", draft.verb, args_text(&draft.args))
}

fn args_text(args: &homeostat_model::Args) -> String {
    let texts: Vec<String> = args.iter().map(|(name, arg)| format!("{name}: {arg}")).collect();
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join(", ")) }
}

/// Six significant digits.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:e}");
    }
    let text = format!("{value:.*}", usize::try_from(5 - magnitude).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn plots(session: &Session, answer: &Dynamic, span: Span, points: usize) -> Result<Vec<Plot>, NoAnswer> {
    let wrong = |text: &str| NoAnswer::Wrong(text.to_owned());
    let series: Vec<Series> = match answer.clone().try_cast::<Array>() {
        Some(items) => items.into_iter().filter_map(|item| item.try_cast()).collect(),
        None => answer.clone().try_cast().into_iter().collect(),
    };
    if series.is_empty() {
        return Err(wrong("there is nothing to draw: expected `series(\"…\")` or `all(\"…\")`"));
    }
    if series.len() > PLOTS_MAX {
        return Err(NoAnswer::Wrong(format!("{} series are too many to draw, at most {PLOTS_MAX}: add labels", series.len())));
    }
    let points = points.clamp(1, POINTS_MAX);
    let step = Span::from_millis((span.millis() / points as i64).max(1));
    let mut cost = 0u64;
    let mut plots = Vec::new();
    for Series(series) in series {
        let Some(key) = session.store.key(series) else { continue };
        let mut means = Vec::with_capacity(points);
        for back in (0..points as i64).rev() {
            let read = session.store.window(series, Time(session.now.0 - back * step.millis()), step).avg();
            cost += u64::from(read.cost);
            if cost > COST_MAX {
                let text = format!("drawing this touches more than {COST_MAX} samples: use a shorter span or fewer series");
                return Err(NoAnswer::Wrong(text));
            }
            means.push(read.value.value().filter(|value| value.is_finite()));
        }
        plots.push(Plot { series: key, until: session.now, step, points: means });
    }
    Ok(plots)
}
