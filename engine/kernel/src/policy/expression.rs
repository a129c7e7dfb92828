//! Single expressions of playbooks: `when` (true or false) and `each` (texts), over the same readings as policies.
//!
//! They see `param("…")`, and the variables `target`, `target_name` and `steps` (a map from a step to `waiting`, `open`, `done`,
//! `skipped` or `failed`). Deliberately absent: wishes; an expression that wishes something is an error. An editor breaks this by
//! letting an expression answer although one of its readings had no value.

use super::host::Host;
use super::load::unknown_functions;
use super::session::{Mode, Stop, lock};
use homeostat_model::{Arg, PolicyOverride, PolicySource, Time};
use rhai::{AST, Dynamic, Map, Scope};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Longer expressions are refused.
const TEXT_BYTES_MAX: usize = 2_000;
/// The most texts that an `each` may give.
pub const TEXTS_MAX: usize = 256;

/// A compiled expression.
pub struct Expression {
    ast: AST,
}

/// What an expression may look at beside readings.
pub struct Around<'a> {
    /// The moment.
    pub now: Time,
    /// The run's target.
    pub target: &'a str,
    /// Its name without the kind.
    pub target_name: &'a str,
    /// The parameters.
    pub params: Arc<BTreeMap<String, Arg>>,
    /// How the steps stand.
    pub steps: &'a BTreeMap<String, &'static str>,
}

impl Host {
    /// Compiles an expression, or says what is wrong with it.
    pub fn compile_expression(&self, text: &str) -> Result<Expression, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("the expression has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len()));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| self.engine().compile_with_scope(&names(), text)));
        let ast = compiled
            .map_err(|_| "the script engine panicked while it read this expression")?
            .map_err(|error| super::words::of_parse(error.err_type()).message)?;
        let source =
            PolicySource { id: "playbook".into(), path: "playbook".into(), text: text.into(), overrides: PolicyOverride::default() };
        match unknown_functions(self.engine(), &ast, &source).first() {
            Some(error) => Err(error.to_string()),
            None => Ok(Expression { ast }),
        }
    }

    /// Whether a `when` holds; `Err` where it cannot be told.
    pub fn holds(&self, expression: &Expression, around: &Around<'_>) -> Result<bool, String> {
        let answer = self.answer(expression, around)?;
        answer.as_bool().map_err(|kind| format!("it gives a {kind}, expected true or false"))
    }

    /// The texts that an `each` gives; `Err` where they cannot be told.
    pub fn texts(&self, expression: &Expression, around: &Around<'_>) -> Result<Vec<String>, String> {
        let answer = self.answer(expression, around)?;
        let kind = answer.type_name();
        let list = answer.into_array().map_err(|_| format!("it gives a {kind}, expected a list of texts"))?;
        if list.len() > TEXTS_MAX {
            return Err(format!("it gives {} texts, at most {TEXTS_MAX} are allowed", list.len()));
        }
        let texts: Result<Vec<String>, _> = list.into_iter().map(Dynamic::into_string).collect();
        texts.map_err(|kind| format!("the list holds a {kind}, expected texts"))
    }

    fn answer(&self, expression: &Expression, around: &Around<'_>) -> Result<Dynamic, String> {
        lock(self.shared()).begin(around.now, Mode::Evaluate, &around.params);
        let mut scope = names();
        scope.set_value("target", around.target.to_owned());
        scope.set_value("target_name", around.target_name.to_owned());
        let steps: Map = around.steps.iter().map(|(step, phase)| (step.as_str().into(), Dynamic::from(*phase))).collect();
        scope.set_value("steps", steps);
        let called = catch_unwind(AssertUnwindSafe(|| self.engine().eval_ast_with_scope::<Dynamic>(&mut scope, &expression.ast)));
        let mut session = lock(self.shared());
        let (stop, wishes) = (session.stop.take(), std::mem::take(&mut session.drafts).len());
        let evidence = session.evidence();
        match (stop, called) {
            (Some(Stop::Undetermined(seen)), _) => {
                let what = evidence.get(seen as usize).map_or_else(
                    || "a reading".to_owned(),
                    |e| format!("{}{}: {}", e.operation, e.series.as_ref().map_or_else(String::new, |key| format!(" of {key}")), e.value),
                );
                Err(format!("it cannot be told: {what}"))
            }
            (Some(Stop::Fault(text)), _) => Err(text),
            (None, Err(_)) => Err("a function panicked".into()),
            (None, Ok(Err(error))) => Err(super::words::of_run(error.unwrap_inner()).message),
            (None, Ok(Ok(_))) if wishes > 0 => Err("an expression may not wish anything".into()),
            (None, Ok(Ok(answer))) => Ok(answer),
        }
    }
}

fn names() -> Scope<'static> {
    let mut scope = Scope::new();
    scope.push("target", String::new()).push("target_name", String::new()).push("steps", Map::new());
    scope
}
