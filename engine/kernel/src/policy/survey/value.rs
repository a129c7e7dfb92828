//! Abstract values: what a script's value is known to be without any data.

use super::{Place, SurveyedClaim, SurveyedSeries, SurveyedValue};
use homeostat_model::{Arg, Span};

/// What a value is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A series.
    Series,
    /// A look-back over a series.
    Window,
    /// A reading.
    Reading,
    /// A number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Truth,
    /// A claim.
    Claim,
    /// What is to be done.
    Action,
    /// A wish.
    Wish,
    /// A selector of `policy()`, of series or of alerts.
    Selector,
    /// The alert.
    Alert,
    /// An array.
    List,
    /// A map.
    Map,
    /// `()`.
    Nothing,
    /// It cannot be told.
    Unknown,
}

impl Kind {
    /// In words, with an article.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Series => "a series",
            Kind::Window => "a window",
            Kind::Reading => "a reading",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::Truth => "true or false",
            Kind::Claim => "a claim",
            Kind::Action => "an action",
            Kind::Wish => "a wish",
            Kind::Selector => "a selector",
            Kind::Alert => "an alert",
            Kind::List => "an array",
            Kind::Map => "a map",
            Kind::Nothing => "nothing",
            Kind::Unknown => "something",
        }
    }
}

/// A text, complete or with `${…}` in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    pub(super) text: String,
    pub(super) is_exact: bool,
}

/// What is known of a reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) series: SurveyedSeries,
    pub(super) operation: String,
    pub(super) window: Option<Span>,
    /// The value is `a · read + b`, where that is known.
    pub(super) linear: Option<(f64, f64)>,
    /// It is a plain number by now (`.or(0)`).
    pub(super) is_plain: bool,
}

/// A truth as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Compared(usize),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Constant(bool),
    Other,
}

impl Condition {
    pub(super) fn constant(&self) -> Option<bool> {
        match self {
            Condition::Constant(value) => Some(*value),
            Condition::Not(inner) => inner.constant().map(|value| !value),
            Condition::All(items) if items.iter().any(|item| item.constant() == Some(false)) => Some(false),
            Condition::All(items) => items.iter().all(|item| item.constant() == Some(true)).then_some(true),
            Condition::Any(items) if items.iter().any(|item| item.constant() == Some(true)) => Some(true),
            Condition::Any(items) => items.iter().all(|item| item.constant() == Some(false)).then_some(false),
            Condition::Compared(_) | Condition::Other => None,
        }
    }

    /// The comparisons whose outcome is sure if the condition came out so.
    pub(super) fn facts(&self, outcome: bool, into: &mut Vec<super::SurveyedFact>) {
        match (self, outcome) {
            (Condition::Compared(comparison), holds) => into.push(super::SurveyedFact { comparison: *comparison, holds }),
            (Condition::Not(inner), outcome) => inner.facts(!outcome, into),
            (Condition::All(items), true) => items.iter().for_each(|item| item.facts(true, into)),
            (Condition::Any(items), false) => items.iter().for_each(|item| item.facts(false, into)),
            (Condition::All(items), false) | (Condition::Any(items), true) => {
                if let [only] = items.as_slice() {
                    only.facts(outcome, into);
                }
            }
            (Condition::Constant(_) | Condition::Other, _) => {}
        }
    }
}

/// An action under construction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) verb: Option<String>,
    pub(super) target: Option<String>,
    pub(super) args: Option<Vec<(String, SurveyedValue)>>,
    pub(super) verb_place: Place,
    pub(super) target_place: Place,
}

/// An abstract value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Series(SurveyedSeries),
    Window(SurveyedSeries, Option<Span>),
    Reading(Read),
    Number(Option<f64>),
    Text(Option<Template>),
    Truth(Condition),
    Claim(SurveyedClaim),
    Action(Draft),
    Wish(usize),
    Selector(Option<String>),
    Alert,
    List(Box<Value>),
    Map(Option<Vec<(String, Value, Place)>>),
    Nothing,
    Unknown,
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Value::Series(_) => Kind::Series,
            Value::Window(..) => Kind::Window,
            Value::Reading(read) if read.is_plain => Kind::Number,
            Value::Reading(_) => Kind::Reading,
            Value::Number(_) => Kind::Number,
            Value::Text(_) => Kind::Text,
            Value::Truth(_) => Kind::Truth,
            Value::Claim(_) => Kind::Claim,
            Value::Action(_) => Kind::Action,
            Value::Wish(_) => Kind::Wish,
            Value::Selector(_) => Kind::Selector,
            Value::Alert => Kind::Alert,
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Nothing => Kind::Nothing,
            Value::Unknown => Kind::Unknown,
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Value {
        Value::Text(Some(Template { text: text.into(), is_exact: true }))
    }

    /// The text, with `${…}` where it is not constant.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(Some(template)) => Some(&template.text),
            _ => None,
        }
    }

    /// The text, if it is complete.
    pub(super) fn as_exact(&self) -> Option<&str> {
        match self {
            Value::Text(Some(template)) if template.is_exact => Some(&template.text),
            _ => None,
        }
    }

    pub(super) fn as_span(&self) -> Option<Span> {
        self.as_exact()?.parse().ok()
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => *number,
            _ => None,
        }
    }

    pub(super) fn series(&self) -> Option<&SurveyedSeries> {
        match self {
            Value::Series(series) | Value::Window(series, _) => Some(series),
            Value::Reading(read) => Some(&read.series),
            _ => None,
        }
    }

    /// For those outside.
    pub(super) fn surveyed(&self, place: Place) -> SurveyedValue {
        SurveyedValue {
            kind: self.kind(),
            text: self.as_text().map(str::to_owned).or_else(|| match self {
                Value::Selector(text) => text.clone(),
                _ => None,
            }),
            is_exact: self.as_exact().is_some(),
            number: self.as_number(),
            series: self.series().cloned(),
            operation: match self {
                Value::Reading(read) => Some(read.operation.clone()),
                _ => None,
            },
            place,
        }
    }

    /// What is known if it is either.
    pub(super) fn join(self, other: Value) -> Value {
        if self == other {
            return self;
        }
        match (self, other) {
            (Value::Nothing, value) | (value, Value::Nothing) => value,
            (Value::Number(_), Value::Number(_)) => Value::Number(None),
            (Value::Text(_), Value::Text(_)) => Value::Text(None),
            (Value::Truth(_), Value::Truth(_)) => Value::Truth(Condition::Other),
            (Value::Map(_), Value::Map(_)) => Value::Map(None),
            (Value::Series(a), Value::Series(b)) => Value::Series(both(a, b)),
            (Value::Reading(a), Value::Reading(b)) => Value::Reading(a.with(b)),
            (Value::List(a), Value::List(b)) => Value::List(Box::new(a.join(*b))),
            _ => Value::Unknown,
        }
    }
}

fn both(a: SurveyedSeries, b: SurveyedSeries) -> SurveyedSeries {
    SurveyedSeries {
        metric: a.metric.filter(|metric| b.metric.as_ref() == Some(metric)),
        selector: a.selector.filter(|selector| b.selector.as_ref() == Some(selector)),
        is_target: a.is_target && b.is_target,
    }
}

impl Read {
    /// What is known of something computed from both.
    pub(super) fn with(self, other: Read) -> Read {
        let same = self.operation == other.operation;
        Read {
            operation: if same { self.operation } else { "several".into() },
            window: self.window.filter(|window| other.window.as_ref() == Some(window)),
            series: both(self.series, other.series),
            linear: None,
            is_plain: self.is_plain && other.is_plain,
        }
    }
}

/// A parameter as a script sees it.
pub(super) fn of_arg(arg: &Arg) -> Value {
    match arg {
        Arg::Bool(value) => Value::Truth(Condition::Constant(*value)),
        Arg::Int(value) => Value::Number(Some(*value as f64)),
        Arg::Float(value) => Value::Number(Some(*value)),
        Arg::Text(text) => Value::text(text.clone()),
        Arg::List(_) => Value::List(Box::new(Value::Unknown)),
        Arg::Map(_) => Value::Map(None),
    }
}
