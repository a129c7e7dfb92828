//! What a policy asks, compares and wishes, told from its text alone: no data, no evaluation.
//!
//! The text is parsed without any optimisation (what the engine would drop as unreachable is wanted here), and walked once with
//! abstract values (`value`): a series with its metric, a window with its span, a reading with its operation, numbers and texts as
//! far as they are constant, parameters resolved. `script` holds the parsed text, `walk` follows statements and expressions, `calls`
//! knows what each function gives. Where something cannot be told it is `None`. Deliberately absent: judgement; whether something
//! is wrong is for those who read a [`Survey`]. An editor breaks this by giving a function to scripts (`api`) that `calls` does not
//! know: what it gives is then `None` here (a test compares the two lists), or by letting a guess look like a fact.

mod calls;
mod script;
mod value;
mod walk;

#[cfg(test)]
mod tests;

use super::PolicyError;
use super::load::Policy;
use homeostat_model::{Arg, Relation, Span};
use std::collections::BTreeMap;

pub use super::load::KEYS;
pub use super::words::example;
pub use calls::RETURNS;
pub use script::word_len;
pub use value::Kind;

/// Where something stands in a policy.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters: the word, text or operator that stands there.
    pub len: usize,
}

/// A series as far as it is known without data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyedSeries {
    /// Its metric.
    pub metric: Option<String>,
    /// The selector that names it; what is not constant stands as `${fs.node}`, or `${…}` where it is no label.
    pub selector: Option<String>,
    /// Whether it is the one that `for_each` hands to `evaluate`.
    pub is_target: bool,
}

/// One read of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedRead {
    /// The metric.
    pub metric: Option<String>,
    /// The selector (see [`SurveyedSeries::selector`]).
    pub selector: Option<String>,
    /// Whether it is the series of `for_each`.
    pub is_target: bool,
    /// The function: `last`, `max`, `held_below`, `seconds_until` …
    pub operation: String,
    /// How far it looks back, where it does.
    pub window: Option<Span>,
    /// Where.
    pub place: Place,
}

/// How a comparison compares, with the reading on the left.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SurveyedRelation {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// A reading compared with a number, on whichever side it stands; `held_below` and `held_above` too.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedComparison {
    /// The metric.
    pub metric: Option<String>,
    /// The selector (see [`SurveyedSeries::selector`]).
    pub selector: Option<String>,
    /// Whether it is the series of `for_each`.
    pub is_target: bool,
    /// The read whose value is compared: `last`, `max`, `held_below` …; `several` where it was computed from more than one.
    pub operation: String,
    /// How far that looks back.
    pub window: Option<Span>,
    /// How, with the reading on the left.
    pub relation: SurveyedRelation,
    /// The number, parameters resolved, in the unit of the read (arithmetic with constants is undone).
    pub threshold: Option<f64>,
    /// How long it must have held, for `held_below` and `held_above`.
    pub held: Option<Span>,
    /// Where the threshold stands.
    pub threshold_place: Place,
    /// Where the comparison stands.
    pub place: Place,
}

/// A comparison that is known to hold, or not to hold, at some place.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SurveyedFact {
    /// Which of [`Survey::comparisons`].
    pub comparison: usize,
    /// Whether it holds.
    pub holds: bool,
}

/// What a wish says will be true afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedClaim {
    /// The metric; `None` also for the claim that an alert ends.
    pub metric: Option<String>,
    /// The selector.
    pub selector: Option<String>,
    /// Whether it is the series of `for_each`.
    pub is_target: bool,
    /// Above or below; `None`: the alert ends.
    pub relation: Option<Relation>,
    /// The level.
    pub threshold: Option<f64>,
    /// Until when.
    pub within: Option<Span>,
    /// Whether it says until when at all.
    pub is_bounded: bool,
    /// And for how long.
    pub held: Option<Span>,
    /// Where.
    pub place: Place,
}

/// A wish.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedWish {
    /// `actuator.verb`.
    pub verb: Option<String>,
    /// The target; what is not constant as in [`SurveyedSeries::selector`]. `None` also where the series or alert decides.
    pub target: Option<String>,
    /// The arguments; `None` where the map is not written out.
    pub args: Option<Vec<(String, SurveyedValue)>>,
    /// The claim.
    pub claim: Option<SurveyedClaim>,
    /// Whether it has a reason.
    pub because: bool,
    /// Whether it has a claim, whatever that is.
    pub claims: bool,
    /// Its own cooldown.
    pub cooldown: Option<Span>,
    /// What is known to hold where it is wished.
    pub when: Vec<SurveyedFact>,
    /// Where the verb stands.
    pub verb_place: Place,
    /// Where the target stands.
    pub target_place: Place,
    /// Where `propose` stands.
    pub place: Place,
}

/// What kind of branch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum BranchKind {
    /// After `if`.
    Then,
    /// After `else`.
    Else,
    /// The body of a loop.
    Loop,
    /// A case of `switch`.
    Case,
    /// After `catch`.
    Catch,
}

/// A block that may be entered or not.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedBranch {
    /// The condition's, case's or loop's beginning.
    pub place: Place,
    /// Where its block begins.
    pub body: Place,
    /// Where its first statement stands.
    pub first: Option<Place>,
    /// What it is.
    pub kind: BranchKind,
    /// Whether it is always or never entered, where that is constant.
    pub always: Option<bool>,
    /// What is known to hold inside.
    pub when: Vec<SurveyedFact>,
}

/// A value as far as it is known without data.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedValue {
    /// What it is.
    pub kind: Kind,
    /// A text; see [`SurveyedSeries::selector`].
    pub text: Option<String>,
    /// Whether the text is complete.
    pub is_exact: bool,
    /// A number.
    pub number: Option<f64>,
    /// The series, window or reading is of this.
    pub series: Option<SurveyedSeries>,
    /// The read it comes from.
    pub operation: Option<String>,
    /// Where.
    pub place: Place,
}

/// A call of a function or operator.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedCall {
    /// The function.
    pub name: String,
    /// What it was given, the receiver first.
    pub args: Vec<SurveyedValue>,
    /// Whether the first argument is a receiver: `a.f(b)`.
    pub is_method: bool,
    /// Whether it is an operator.
    pub is_operator: bool,
    /// Where its name stands.
    pub place: Place,
}

/// A label that is asked of a series or a field of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedLabel {
    /// The series; `None`: the alert.
    pub series: Option<SurveyedSeries>,
    /// The label.
    pub label: String,
    /// Whether a missing one is an error (`s.node`), not `s.label("node")`.
    pub required: bool,
    /// Where.
    pub place: Place,
}

/// A key of the map of `policy()`, or one of its `params`.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedSetting {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: SurveyedValue,
    /// Where the key stands.
    pub place: Place,
    /// Whether the script asks for it (`params` only).
    pub used: bool,
}

/// A variable.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedVariable {
    /// Its name.
    pub name: String,
    /// Whether anything reads it.
    pub used: bool,
    /// Where it is declared.
    pub place: Place,
}

/// What can be told from a policy's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// The reads, in order of the text as it is walked.
    pub reads: Vec<SurveyedRead>,
    /// The comparisons.
    pub comparisons: Vec<SurveyedComparison>,
    /// The wishes.
    pub wishes: Vec<SurveyedWish>,
    /// The branches.
    pub branches: Vec<SurveyedBranch>,
    /// The calls, of the script's own functions too.
    pub calls: Vec<SurveyedCall>,
    /// The labels asked for.
    pub labels: Vec<SurveyedLabel>,
    /// The variables.
    pub variables: Vec<SurveyedVariable>,
    /// Names that stand for no variable.
    pub unknown_variables: Vec<(String, Place)>,
    /// Conditions that are neither true nor false.
    pub untrue: Vec<SurveyedValue>,
    /// The map of `policy()`.
    pub settings: Vec<SurveyedSetting>,
    /// Its parameters.
    pub params: Vec<SurveyedSetting>,
    /// Statements that come after a `return` of the same block.
    pub unreachable: Vec<Place>,
    /// The series of `for_each`.
    pub for_each: Option<SurveyedSeries>,
    /// The alerts of `on_alert`.
    pub on_alert: Option<String>,
    /// The script's own functions with the number of their parameters, and where their bodies begin.
    pub functions: Vec<(String, usize, Place)>,
}

/// Surveys a policy's text; `params` are what the configuration changes. `Err`: it cannot be parsed.
pub fn survey(path: &str, text: &str, params: &BTreeMap<String, Arg>) -> Result<Survey, PolicyError> {
    let script = script::Script::parse(path, text)?;
    Ok(walk::survey(&script, text, params))
}

impl Policy {
    /// What can be told from its text alone.
    pub fn survey(&self) -> Survey {
        survey(&self.path, &self.text, &self.params).unwrap_or_default()
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}
