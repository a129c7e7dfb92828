//! The closed catalogue: what an answer may choose from, as a JSON Schema, and the reading of an answer against it.
//!
//! Every choice is a number. The schema keeps to the words that all dialects understand (`type`, `properties`, `required`,
//! `additionalProperties`, `items`, `enum`, `anyOf`); ranges are checked here. A structured answer guarantees form, not truth: whatever
//! does not fit in every respect is no proposal. An editor breaks this by mending an answer instead of refusing it.

use homeostat_model::{Arg, ArgKind, ArgSpec, Args, Brief, Choice, Pick};
use serde_json::{Map, Value, json};

/// Whole numbers in a range up to this wide are listed one by one, so that a constrained model cannot miss them.
const LISTED_MAX: i64 = 64;
/// Characters of a model's reason that are kept.
pub const BECAUSE_CHARS_MAX: usize = 300;

/// What an answer says, after it was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// What it proposes; `None`: nothing.
    pub pick: Option<Pick>,
    /// Places in [`Brief::readings`] that it points at.
    pub evidence: Vec<usize>,
    /// Its reason, cleaned and cut; a model's words.
    pub because: String,
    /// How sure it says it is, 0 to 1; written down and compared with nothing.
    pub confidence: Option<f64>,
}

/// Whether an argument can be chosen without writing free text.
pub fn is_choosable(spec: &ArgSpec) -> bool {
    match &spec.kind {
        ArgKind::Bool | ArgKind::Int(..) | ArgKind::Float(..) => true,
        ArgKind::OneOf(words) => !words.is_empty(),
        ArgKind::Text(_) | ArgKind::TextMap(_) => false,
    }
}

/// The schema of an answer to a brief with these choices, so many claims and so many readings. Without a choice or a claim the only
/// proposal is none.
pub fn schema(choices: &[Choice], claims: usize, readings: usize) -> String {
    let mut proposals = vec![json!({ "type": "null" })];
    if claims > 0 {
        proposals.extend(choices.iter().enumerate().map(|(n, choice)| proposal(n, choice, claims)));
    }
    let evidence = if readings == 0 { json!({ "type": "null" }) } else { json!({ "type": "array", "items": numbers(readings) }) };
    // JSON sorts them: the reason is written before the choice, and what is written first is thought first.
    let properties = [
        ("proposal", json!({ "anyOf": proposals })),
        ("evidence", evidence),
        ("confidence", json!({ "type": "number", "description": "0 to 1; logged only" })),
        ("because", json!({ "type": "string", "description": "one or two sentences for the person who decides" })),
    ];
    object(properties.into_iter().map(|(name, value)| (name.to_owned(), value))).to_string()
}

fn proposal(n: usize, choice: &Choice, claims: usize) -> Value {
    let targets: Vec<u32> = choice.targets.clone();
    let args = object(choice.args.iter().map(|arg| (arg.name.clone(), argument(arg))));
    object([
        ("choice".to_owned(), json!({ "type": "integer", "enum": [n] })),
        ("target".to_owned(), json!({ "type": "integer", "enum": targets })),
        ("claim".to_owned(), numbers(claims)),
        ("args".to_owned(), args),
    ])
}

fn numbers(len: usize) -> Value {
    json!({ "type": "integer", "enum": (0..len).collect::<Vec<_>>() })
}

fn argument(arg: &ArgSpec) -> Value {
    let value = match &arg.kind {
        ArgKind::Bool => json!({ "type": "boolean" }),
        ArgKind::Int(low, high) if high.saturating_sub(*low) < LISTED_MAX => {
            json!({ "type": "integer", "enum": (*low..=*high).collect::<Vec<_>>() })
        }
        ArgKind::Int(low, high) => json!({ "type": "integer", "description": format!("{low} to {high}") }),
        ArgKind::Float(low, high) => json!({ "type": "number", "description": format!("{low} to {high}") }),
        ArgKind::OneOf(words) => json!({ "type": "string", "enum": words }),
        ArgKind::Text(_) | ArgKind::TextMap(_) => json!({ "type": "null" }),
    };
    if arg.required { value } else { json!({ "anyOf": [{ "type": "null" }, value] }) }
}

fn object(properties: impl IntoIterator<Item = (String, Value)>) -> Value {
    let properties: Map<String, Value> = properties.into_iter().collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

/// Reads an answer against the brief that it answers.
///
/// # Errors
/// In words: what does not fit, and what would have.
pub fn read(brief: &Brief, json: &str) -> Result<Said, String> {
    let answer: Value = serde_json::from_str(json).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let answer = only(&answer, "the answer", &["proposal", "evidence", "confidence", "because"])?;
    let because = answer.get("because").and_then(Value::as_str).ok_or("the answer has no text `because`")?;
    let because = super::words::one_line(because, BECAUSE_CHARS_MAX).text;
    let confidence = answer.get("confidence").and_then(Value::as_f64).filter(|share| (0.0..=1.0).contains(share));
    let evidence = match answer.get("evidence") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(places)) => {
            let place = |value: &Value| place_in(value, brief.readings.len(), "evidence");
            let mut places = places.iter().take(brief.readings.len()).map(place).collect::<Result<Vec<_>, _>>()?;
            places.sort_unstable();
            places.dedup();
            places
        }
        Some(_) => return Err("`evidence` is not a list".into()),
    };
    let pick = match answer.get("proposal") {
        None | Some(Value::Null) => None,
        Some(chosen) => Some(read_pick(brief, chosen)?),
    };
    Ok(Said { pick, evidence, because, confidence })
}

fn read_pick(brief: &Brief, chosen: &Value) -> Result<Pick, String> {
    let chosen = only(chosen, "the proposal", &["choice", "target", "claim", "args"])?;
    let field = |name: &str| chosen.get(name).ok_or_else(|| format!("the proposal has no `{name}`"));
    let choice = &brief.choices[place_in(field("choice")?, brief.choices.len(), "choice")?];
    let target = place_in(field("target")?, brief.targets.len(), "target")?;
    if !choice.targets.iter().any(|known| *known as usize == target) {
        return Err(format!("`{}` may not be done to target {target} (it may be to: {:?})", choice.verb, choice.targets));
    }
    let claim = brief.claims[place_in(field("claim")?, brief.claims.len(), "claim")?].clone();
    let args = read_args(choice, chosen.get("args").unwrap_or(&Value::Null))?;
    Ok(Pick { verb: choice.verb.clone(), target: brief.targets[target].clone(), args, claim })
}

fn read_args(choice: &Choice, given: &Value) -> Result<Args, String> {
    let empty = Map::new();
    let given = match given {
        Value::Null => &empty,
        given => given.as_object().ok_or("`args` is not an object")?,
    };
    if let Some(unknown) = given.keys().find(|name| !choice.args.iter().any(|arg| arg.name == **name)) {
        let known: Vec<&str> = choice.args.iter().map(|arg| arg.name.as_str()).collect();
        return Err(format!(
            "`{}` has no argument `{}` to choose (it has: {})",
            choice.verb,
            super::words::clean_label(unknown, 40),
            known.join(", ")
        ));
    }
    let mut args = Args::new();
    for spec in &choice.args {
        let arg = match (given.get(&spec.name), &spec.kind) {
            (None | Some(Value::Null), _) if !spec.required => continue,
            (Some(Value::Bool(value)), ArgKind::Bool) => Arg::Bool(*value),
            (Some(value), ArgKind::Int(..)) if value.as_i64().is_some() => Arg::Int(value.as_i64().unwrap_or_default()),
            (Some(value), ArgKind::Float(..)) if value.as_f64().is_some_and(f64::is_finite) => {
                Arg::Float(value.as_f64().unwrap_or_default())
            }
            (Some(Value::String(word)), ArgKind::OneOf(words)) if words.contains(word) => Arg::Text(word.clone()),
            _ => return Err(format!("`{}` needs the argument `{}`: {:?}", choice.verb, spec.name, spec.kind)),
        };
        args.insert(spec.name.clone(), arg);
    }
    Ok(args)
}

fn place_in(value: &Value, len: usize, what: &str) -> Result<usize, String> {
    let place = value.as_u64().and_then(|place| usize::try_from(place).ok()).filter(|place| *place < len);
    place.ok_or_else(|| format!("`{what}` is no whole number from 0 to {}", len.saturating_sub(1)))
}

fn only<'v>(value: &'v Value, what: &str, known: &[&str]) -> Result<&'v Map<String, Value>, String> {
    let object = value.as_object().ok_or_else(|| format!("{what} is not an object"))?;
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => {
            Err(format!("{what} has the field `{}`; it may have: {}", super::words::clean_label(unknown, 40), known.join(", ")))
        }
        None => Ok(object),
    }
}

#[cfg(test)]
mod tests;
