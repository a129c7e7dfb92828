//! What each function gives, for values that are known as far as abstract values are.

use super::value::{Condition, Draft, Read, Template, Value};
use super::walk::{Walker, series_of};
use super::{Kind, Place, SurveyedClaim, SurveyedComparison, SurveyedRelation};
use homeostat_model::Relation;

/// An argument and where it stands.
pub(super) type Given = (Value, Place);

/// The functions of the reference that are understood here; a test compares the list with what is registered.
pub const RETURNS: &[(&str, Kind)] = &[
    ("series", Kind::Series),
    ("all", Kind::List),
    ("peer", Kind::Series),
    ("label", Kind::Text),
    ("last", Kind::Reading),
    ("over", Kind::Window),
    ("held_below", Kind::Truth),
    ("held_above", Kind::Truth),
    ("absent_for", Kind::Truth),
    ("above", Kind::Claim),
    ("below", Kind::Claim),
    ("avg", Kind::Reading),
    ("min", Kind::Reading),
    ("max", Kind::Reading),
    ("sum", Kind::Reading),
    ("stddev", Kind::Reading),
    ("quantile", Kind::Reading),
    ("rate", Kind::Reading),
    ("increase", Kind::Reading),
    ("delta", Kind::Reading),
    ("slope", Kind::Reading),
    ("coverage", Kind::Reading),
    ("count", Kind::Reading),
    ("seconds_until", Kind::Reading),
    ("or", Kind::Number),
    ("is_known", Kind::Truth),
    ("abs", Kind::Reading),
    ("round", Kind::Reading),
    ("floor", Kind::Reading),
    ("ceiling", Kind::Reading),
    ("whole", Kind::Number),
    ("alerts", Kind::Selector),
    ("annotation", Kind::Text),
    ("value", Kind::Reading),
    ("resolved", Kind::Claim),
    ("within", Kind::Claim),
    ("held", Kind::Claim),
    ("notify", Kind::Action),
    ("wake", Kind::Action),
    ("exec", Kind::Action),
    ("http", Kind::Action),
    ("act", Kind::Action),
    ("on", Kind::Action),
    ("or_rather", Kind::Action),
    ("propose", Kind::Wish),
    ("because", Kind::Wish),
    ("claim", Kind::Wish),
    ("cooldown", Kind::Wish),
    ("param", Kind::Unknown),
    ("minutes", Kind::Number),
    ("hours", Kind::Number),
    ("days", Kind::Number),
    ("percent", Kind::Text),
    ("bytes", Kind::Text),
    ("duration", Kind::Text),
];

impl SurveyedRelation {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            SurveyedRelation::Less => "<",
            SurveyedRelation::LessOrEqual => "<=",
            SurveyedRelation::Greater => ">",
            SurveyedRelation::GreaterOrEqual => ">=",
            SurveyedRelation::Equal => "==",
            SurveyedRelation::NotEqual => "!=",
        }
    }

    fn of_sign(sign: &str) -> Option<SurveyedRelation> {
        use SurveyedRelation::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        [Less, LessOrEqual, Greater, GreaterOrEqual, Equal, NotEqual].into_iter().find(|relation| relation.sign() == sign)
    }

    /// The same with the sides exchanged.
    pub fn mirrored(self) -> SurveyedRelation {
        match self {
            SurveyedRelation::Less => SurveyedRelation::Greater,
            SurveyedRelation::LessOrEqual => SurveyedRelation::GreaterOrEqual,
            SurveyedRelation::Greater => SurveyedRelation::Less,
            SurveyedRelation::GreaterOrEqual => SurveyedRelation::LessOrEqual,
            same => same,
        }
    }

    /// What holds where this does not.
    pub fn negated(self) -> SurveyedRelation {
        match self {
            SurveyedRelation::Less => SurveyedRelation::GreaterOrEqual,
            SurveyedRelation::LessOrEqual => SurveyedRelation::Greater,
            SurveyedRelation::Greater => SurveyedRelation::LessOrEqual,
            SurveyedRelation::GreaterOrEqual => SurveyedRelation::Less,
            SurveyedRelation::Equal => SurveyedRelation::NotEqual,
            SurveyedRelation::NotEqual => SurveyedRelation::Equal,
        }
    }

    /// Whether a value relates so to a threshold.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            SurveyedRelation::Less => value < threshold,
            SurveyedRelation::LessOrEqual => value <= threshold,
            SurveyedRelation::Greater => value > threshold,
            SurveyedRelation::GreaterOrEqual => value >= threshold,
            SurveyedRelation::Equal => value == threshold,
            SurveyedRelation::NotEqual => value != threshold,
        }
    }
}

impl Walker<'_> {
    /// What a call gives.
    pub(super) fn apply(&mut self, name: &str, given: Vec<Given>, place: Place) -> Value {
        if let Some(relation) = SurveyedRelation::of_sign(name)
            && let [left, right] = given.as_slice()
        {
            return self.relation(relation, left, right, place);
        }
        match (name, given.first().map(|(value, _)| value.kind())) {
            ("!", _) => match given.into_iter().next() {
                Some((Value::Truth(condition), _)) => Value::Truth(Condition::Not(Box::new(condition))),
                _ => Value::Truth(Condition::Other),
            },
            ("+" | "-" | "*" | "/" | "%", _) => arithmetic(name, &given),
            ("min" | "max", Some(Kind::Number | Kind::Reading)) => arithmetic(name, &given),
            ("abs" | "round" | "floor" | "ceiling", _) => rounded(name, given),
            (_, Some(Kind::Series)) => self.of_series(name, &given, place),
            (_, Some(Kind::Window)) => self.of_window(name, &given, place),
            (_, Some(Kind::Wish)) => self.of_wish(name, &given),
            (_, Some(Kind::Claim)) => of_claim(name, given),
            (_, Some(Kind::Action)) if name == "propose" => self.propose(given, place),
            ("on", Some(Kind::Action)) => on(given),
            // What is said of the first is said of the wish; the others are for the graph of effects to ask again.
            ("or_rather", Some(Kind::Action)) => given.into_iter().next().map_or(Value::Unknown, |(value, _)| value),
            _ => self.free(name, &given, place),
        }
    }

    fn relation(&mut self, relation: SurveyedRelation, left: &Given, right: &Given, place: Place) -> Value {
        match (&left.0, &right.0) {
            (Value::Reading(read), other) => self.compare(read, relation, other.as_number(), (place, right.1)),
            (other, Value::Reading(read)) => self.compare(read, relation.mirrored(), other.as_number(), (place, left.1)),
            (Value::Number(Some(a)), Value::Number(Some(b))) => Value::Truth(Condition::Constant(relation.holds(*a, *b))),
            (Value::Text(_), Value::Text(_)) => {
                let same = left.0.as_exact().zip(right.0.as_exact()).map(|(a, b)| a == b);
                match (relation, same) {
                    (SurveyedRelation::Equal, Some(same)) => Value::Truth(Condition::Constant(same)),
                    (SurveyedRelation::NotEqual, Some(same)) => Value::Truth(Condition::Constant(!same)),
                    _ => Value::Truth(Condition::Other),
                }
            }
            _ => Value::Truth(Condition::Other),
        }
    }

    fn of_series(&mut self, name: &str, given: &[Given], place: Place) -> Value {
        let Some((receiver @ Value::Series(series), _)) = given.first() else { return Value::Unknown };
        let span = |at: usize| given.get(at).and_then(|(value, _)| value.as_span());
        let number = given.get(1).and_then(|(value, _)| value.as_number());
        match name {
            "last" => Value::Reading(self.read(series, "last", None, place)),
            "over" => Value::Window(series.clone(), span(1)),
            "label" => match given.get(1).and_then(|(value, _)| value.as_exact()) {
                Some(label) => {
                    let place = given.get(1).map_or(place, |(_, place)| *place);
                    let label = label.to_owned();
                    self.label(receiver, &label, false, place)
                }
                None => Value::Text(None),
            },
            "peer" => Value::Series(series_of(given.get(1).and_then(|(value, _)| value.as_text()))),
            "held_below" | "held_above" => {
                let relation = if name == "held_below" { SurveyedRelation::Less } else { SurveyedRelation::Greater };
                self.read(series, name, span(2), place);
                let comparison = SurveyedComparison {
                    metric: series.metric.clone(),
                    selector: series.selector.clone(),
                    is_target: series.is_target,
                    operation: name.to_owned(),
                    window: span(2),
                    relation,
                    threshold: number,
                    held: span(2),
                    threshold_place: given.get(1).map_or(place, |(_, place)| *place),
                    place,
                };
                Value::Truth(Condition::Compared(self.compared(comparison)))
            }
            "absent_for" => {
                self.read(series, name, span(1), place);
                Value::Truth(Condition::Other)
            }
            "above" | "below" => Value::Claim(SurveyedClaim {
                metric: series.metric.clone(),
                selector: series.selector.clone(),
                is_target: series.is_target,
                relation: Some(if name == "above" { Relation::Above } else { Relation::Below }),
                threshold: number,
                within: None,
                is_bounded: false,
                held: None,
                place,
            }),
            _ => Value::Unknown,
        }
    }

    fn of_window(&mut self, name: &str, given: &[Given], place: Place) -> Value {
        let Some((Value::Window(series, span), _)) = given.first() else { return Value::Unknown };
        let is_read = RETURNS.iter().any(|(known, kind)| *known == name && *kind == Kind::Reading);
        if is_read { Value::Reading(self.read(series, name, *span, place)) } else { Value::Unknown }
    }

    fn propose(&mut self, given: Vec<Given>, place: Place) -> Value {
        let Some((Value::Action(draft), _)) = given.into_iter().next() else { return Value::Unknown };
        let known = self.survey.wishes.iter().position(|wish| wish.place == place);
        Value::Wish(known.unwrap_or_else(|| {
            let when = self.facts();
            self.survey.wishes.push(super::SurveyedWish {
                verb: draft.verb,
                target: draft.target,
                args: draft.args,
                claim: None,
                because: false,
                claims: false,
                cooldown: None,
                when,
                verb_place: draft.verb_place,
                target_place: draft.target_place,
                place,
            });
            self.survey.wishes.len() - 1
        }))
    }

    fn of_wish(&mut self, name: &str, given: &[Given]) -> Value {
        let Some((Value::Wish(number), _)) = given.first() else { return Value::Unknown };
        let Some(wish) = self.survey.wishes.get_mut(*number) else { return Value::Unknown };
        wish.claims |= name == "claim";
        match (name, given.get(1).map(|(value, _)| value)) {
            ("because", Some(value)) => wish.because = value.as_exact() != Some(""),
            ("claim", Some(Value::Claim(claim))) => wish.claim = Some(claim.clone()),
            ("cooldown", Some(value)) => wish.cooldown = value.as_span(),
            ("on", Some(value)) => {
                wish.target = value.as_text().map(str::to_owned);
                wish.target_place = given.get(1).map_or(wish.target_place, |(_, place)| *place);
            }
            _ => return if ["because", "claim", "cooldown", "on"].contains(&name) { Value::Wish(*number) } else { Value::Unknown },
        }
        Value::Wish(*number)
    }

    /// Functions that are called on no value of their own.
    fn free(&mut self, name: &str, given: &[Given], place: Place) -> Value {
        let text = given.first().and_then(|(value, _)| value.as_text());
        let exact = given.first().and_then(|(value, _)| value.as_exact());
        let first = given.first().map_or(place, |(_, place)| *place);
        let draft = |verb: Option<String>, target: Option<String>, args: Option<Vec<(String, super::SurveyedValue)>>| {
            Value::Action(Draft { verb, target, args, verb_place: first, target_place: first })
        };
        match name {
            "series" if self.is_loading() => Value::Selector(text.map(str::to_owned)),
            "series" => Value::Series(series_of(text)),
            "all" => Value::List(Box::new(Value::Series(series_of(text)))),
            "alerts" => Value::Selector(text.map(str::to_owned)),
            "param" => {
                let Some(key) = exact else { return Value::Unknown };
                if let Some(param) = self.survey.params.iter_mut().find(|param| param.key == key) {
                    param.used = true;
                }
                match self.params.get(key) {
                    Some(Value::Truth(_)) => Value::Truth(Condition::Other),
                    Some(value) => value.clone(),
                    None => Value::Unknown,
                }
            }
            "minutes" | "hours" | "days" => {
                let seconds = [("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0)].into_iter().find(|(unit, _)| *unit == name);
                let number = given.first().and_then(|(value, _)| value.as_number());
                Value::Number(number.zip(seconds).map(|(number, (_, seconds))| number * seconds))
            }
            "percent" | "bytes" | "duration" => Value::Text(None),
            "or" => match given.first() {
                Some((Value::Reading(read), _)) => Value::Reading(Read { is_plain: true, ..read.clone() }),
                _ => Value::Unknown,
            },
            "is_known" => Value::Truth(Condition::Other),
            "whole" => Value::Number(given.first().and_then(|(value, _)| value.as_number()).map(f64::round)),
            "label" | "annotation" if Self::kind_of(given, 0) == Kind::Alert => {
                let label = given.get(1).and_then(|(value, _)| value.as_exact()).unwrap_or("…").to_owned();
                Value::Text(Some(Template { text: format!("${{alert.{label}}}"), is_exact: false }))
            }
            "value" if Self::kind_of(given, 0) == Kind::Alert => Value::Reading(Read {
                series: super::SurveyedSeries::default(),
                operation: "alert value".into(),
                window: None,
                linear: Some((1.0, 0.0)),
                is_plain: false,
            }),
            "resolved" => Value::Claim(SurveyedClaim {
                metric: None,
                selector: None,
                is_target: false,
                relation: None,
                threshold: None,
                within: None,
                is_bounded: false,
                held: None,
                place,
            }),
            "notify" => {
                let names = ["title", "text"];
                let args = given.iter().zip(names).map(|((value, place), name)| (name.to_owned(), value.surveyed(*place)));
                let args = Some(args.collect());
                Value::Action(Draft { verb: Some("notify.send".into()), target: None, args, verb_place: place, target_place: place })
            }
            "wake" => {
                let target = text.map(|node| format!("node/{}", node.strip_prefix("node/").unwrap_or(node)));
                let (verb, args) = (Some("power.wake".into()), Some(Vec::new()));
                Value::Action(Draft { verb, target, args, verb_place: place, target_place: first })
            }
            "exec" | "http" => draft(exact.map(|action| format!("{name}.{action}")), None, args_of(given.get(1))),
            "act" => {
                let target = given.get(1).and_then(|(value, _)| value.as_text()).map(str::to_owned);
                let target_place = given.get(1).map_or(place, |(_, place)| *place);
                let args = if given.len() > 2 { args_of(given.get(2)) } else { None };
                Value::Action(Draft { verb: exact.map(str::to_owned), target, args, verb_place: first, target_place })
            }
            _ => Value::Unknown,
        }
    }
}

fn args_of(given: Option<&Given>) -> Option<Vec<(String, super::SurveyedValue)>> {
    match given {
        None => Some(Vec::new()),
        Some((Value::Map(Some(entries)), _)) => {
            Some(entries.iter().map(|(name, value, place)| (name.clone(), value.surveyed(*place))).collect())
        }
        Some(_) => None,
    }
}

fn on(given: Vec<Given>) -> Value {
    let mut given = given.into_iter();
    match (given.next(), given.next()) {
        (Some((Value::Action(draft), _)), Some((target, place))) => {
            Value::Action(Draft { target: target.as_text().map(str::to_owned), target_place: place, ..draft })
        }
        _ => Value::Unknown,
    }
}

fn of_claim(name: &str, given: Vec<Given>) -> Value {
    let span = given.get(1).and_then(|(value, _)| value.as_span());
    let Some((Value::Claim(claim), _)) = given.into_iter().next() else { return Value::Unknown };
    match name {
        "within" => Value::Claim(SurveyedClaim { within: span, is_bounded: true, ..claim }),
        "held" => Value::Claim(SurveyedClaim { held: span, ..claim }),
        _ => Value::Unknown,
    }
}

fn rounded(name: &str, given: Vec<Given>) -> Value {
    match given.into_iter().next() {
        Some((Value::Reading(read), _)) => Value::Reading(Read { linear: None, ..read }),
        Some((Value::Number(number), _)) => Value::Number(number.map(|number| match name {
            "abs" => number.abs(),
            "round" => number.round(),
            "floor" => number.floor(),
            _ => number.ceil(),
        })),
        _ => Value::Unknown,
    }
}

fn arithmetic(name: &str, given: &[Given]) -> Value {
    let compute = |a: f64, b: f64| match name {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "%" => a % b,
        "min" => a.min(b),
        _ => a.max(b),
    };
    match given {
        [(Value::Number(number), _)] => Value::Number(number.map(|number| if name == "-" { -number } else { number })),
        [(Value::Reading(read), _)] if name == "-" => Value::Reading(Read { linear: read.linear.map(|(a, b)| (-a, -b)), ..read.clone() }),
        [(Value::Number(a), _), (Value::Number(b), _)] => Value::Number(a.zip(*b).map(|(a, b)| compute(a, b))),
        [(Value::Reading(read), _), (Value::Number(number), _)] => {
            let linear = read.linear.zip(*number).and_then(|((a, b), x)| match name {
                "+" => Some((a, b + x)),
                "-" => Some((a, b - x)),
                "*" => Some((a * x, b * x)),
                "/" if x != 0.0 => Some((a / x, b / x)),
                _ => None,
            });
            Value::Reading(Read { linear, ..read.clone() })
        }
        [(Value::Number(number), _), (Value::Reading(read), _)] => {
            let linear = read.linear.zip(*number).and_then(|((a, b), x)| match name {
                "+" => Some((a, b + x)),
                "-" => Some((-a, x - b)),
                "*" => Some((a * x, b * x)),
                _ => None,
            });
            Value::Reading(Read { linear, ..read.clone() })
        }
        [(Value::Reading(a), _), (Value::Reading(b), _)] => Value::Reading(a.clone().with(b.clone())),
        [(Value::Reading(read), _), _] | [_, (Value::Reading(read), _)] if !is_text(given) => {
            Value::Reading(Read { linear: None, ..read.clone() })
        }
        [(Value::Text(_), _), _] | [_, (Value::Text(_), _)] if name == "+" => {
            let exact: Option<Vec<&str>> = given.iter().map(|(value, _)| value.as_exact()).collect();
            exact.map_or(Value::Text(None), |texts| Value::text(texts.concat()))
        }
        _ => Value::Unknown,
    }
}

fn is_text(given: &[Given]) -> bool {
    given.iter().any(|(value, _)| value.kind() == Kind::Text)
}
