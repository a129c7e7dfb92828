//! Typed arguments of configured verbs (`exec`, `http`): declared in the configuration, checked before anything else happens.
//!
//! Deliberately absent: conversions. A text is not read as a number. An editor breaks this by handing an unchecked value to a
//! template.

use crate::template::{Values, is_name};
use homeostat_model::{Action, Arg, ArgKind, ArgSpec, Fault, FaultCode, VerbSpec, is_unshown};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Places that every verb has without declaring them.
pub const BUILT_IN: [&str; 4] = ["target", "target_kind", "target_name", "action_id"];
/// A text argument is never longer.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// One argument of a configured verb. Without `default` it must be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArgConfig {
    /// Text.
    Text {
        /// What it means.
        doc: String,
        /// A regular expression the whole text must match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// The longest text allowed, in bytes.
        #[serde(default = "text_bytes_default")]
        max_bytes: usize,
        /// Whether it may begin with `-` where it begins a command's argument. Off, so that a value cannot become an option.
        #[serde(default)]
        allow_leading_dash: bool,
        /// The value when it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
    /// A whole number.
    Int {
        /// What it means, with its unit.
        doc: String,
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
        /// The value when it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<i64>,
    },
    /// A number.
    Float {
        /// What it means, with its unit.
        doc: String,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
        /// The value when it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<f64>,
    },
    /// true or false.
    Bool {
        /// What it means.
        doc: String,
        /// The value when it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<bool>,
    },
    /// One of a few texts.
    OneOf {
        /// What it means.
        doc: String,
        /// The texts.
        values: Vec<String>,
        /// The value when it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
}

fn text_bytes_default() -> usize {
    256
}

impl ArgConfig {
    fn doc(&self) -> &str {
        match self {
            ArgConfig::Text { doc, .. }
            | ArgConfig::Int { doc, .. }
            | ArgConfig::Float { doc, .. }
            | ArgConfig::Bool { doc, .. }
            | ArgConfig::OneOf { doc, .. } => doc,
        }
    }

    fn kind(&self) -> ArgKind {
        match self {
            ArgConfig::Text { max_bytes, .. } => ArgKind::Text(*max_bytes),
            ArgConfig::Int { min, max, .. } => ArgKind::Int(*min, *max),
            ArgConfig::Float { min, max, .. } => ArgKind::Float(*min, *max),
            ArgConfig::Bool { .. } => ArgKind::Bool,
            ArgConfig::OneOf { values, .. } => ArgKind::OneOf(values.clone()),
        }
    }

    fn default(&self) -> Option<Arg> {
        match self {
            ArgConfig::Text { default, .. } | ArgConfig::OneOf { default, .. } => default.clone().map(Arg::Text),
            ArgConfig::Int { default, .. } => default.map(Arg::Int),
            ArgConfig::Float { default, .. } => default.map(Arg::Float),
            ArgConfig::Bool { default, .. } => default.map(Arg::Bool),
        }
    }
}

#[derive(Clone, Debug)]
struct Declared {
    config: ArgConfig,
    pattern: Option<Regex>,
}

/// The arguments of one verb, ready to check.
#[derive(Clone, Debug, Default)]
pub struct Declarations(BTreeMap<String, Declared>);

impl Declarations {
    /// Checks the declarations themselves; every problem is listed.
    pub fn compile(args: &BTreeMap<String, ArgConfig>) -> Result<Declarations, Vec<String>> {
        let mut problems = Vec::new();
        let mut declared = BTreeMap::new();
        for (name, config) in args {
            if !is_name(name) || BUILT_IN.contains(&name.as_str()) {
                let built_in = BUILT_IN.join(", ");
                problems.push(format!("argument `{name}`: expected letters, digits and `_`, and none of the built-in {built_in}"));
            }
            let pattern = match config {
                ArgConfig::Text { pattern: Some(text), .. } => match Regex::new(&format!("^(?:{text})$")) {
                    Ok(regex) => Some(regex),
                    Err(error) => {
                        problems.push(format!("argument `{name}`: `pattern` is not a regular expression: {error}"));
                        None
                    }
                },
                _ => None,
            };
            problems.extend(shape_problem(config).map(|problem| format!("argument `{name}`: {problem}")));
            declared.insert(name.clone(), Declared { config: config.clone(), pattern });
        }
        let declarations = Declarations(declared);
        for name in args.keys() {
            if let Some(value) = declarations.0[name].config.default() {
                problems.extend(declarations.problems(name, &value).into_iter().map(|problem| format!("default: {problem}")));
            }
        }
        if problems.is_empty() { Ok(declarations) } else { Err(problems) }
    }

    /// The declarations as the kernel sees them.
    pub fn specs(&self) -> Vec<ArgSpec> {
        let spec = |(name, declared): (&String, &Declared)| ArgSpec {
            name: name.clone(),
            kind: declared.config.kind(),
            required: declared.config.default().is_none(),
            doc: declared.config.doc().to_owned(),
        };
        self.0.iter().map(spec).collect()
    }

    /// Refuses names that no argument and no built-in place has.
    pub fn check_names<'a>(&self, names: impl IntoIterator<Item = &'a str>, whence: &str) -> Vec<String> {
        let known = |name: &str| self.0.contains_key(name) || BUILT_IN.contains(&name);
        let list = || self.0.keys().map(String::as_str).chain(BUILT_IN).collect::<Vec<_>>().join(", ");
        names
            .into_iter()
            .filter(|name| !known(name))
            .map(|name| format!("{whence} uses `{{{name}}}`, which is not an argument (there are: {})", list()))
            .collect()
    }

    /// Whether a value of this argument may begin a command's argument with `-`.
    pub fn allows_leading_dash(&self, name: &str) -> bool {
        matches!(self.0.get(name).map(|declared| &declared.config), Some(ArgConfig::Text { allow_leading_dash: true, .. }))
    }

    /// All values for the places: the action's, defaults, and the built-in ones. Checks everything about them.
    pub fn values(&self, action: &Action) -> Result<Values, Vec<String>> {
        let mut values = Values::new();
        let mut problems = Vec::new();
        for (name, declared) in &self.0 {
            if let Some(value) = action.args.get(name).cloned().or_else(|| declared.config.default()) {
                problems.extend(self.problems(name, &value));
                values.insert(name.clone(), value);
            }
        }
        let target = &action.target;
        for (name, text) in [("target", target.as_str()), ("target_kind", target.kind()), ("target_name", target.name())] {
            if let Some(odd) = text.chars().find(|c| is_unshown(*c)) {
                problems.push(format!("`{name}` holds the control character U+{:04X}", u32::from(odd)));
            }
            values.insert(name.into(), Arg::Text(text.into()));
        }
        values.insert("action_id".into(), Arg::Text(action.id.to_string()));
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }

    /// What the schema of [`VerbSpec::check_args`] cannot say.
    fn problems(&self, name: &str, value: &Arg) -> Option<String> {
        let declared = self.0.get(name)?;
        match (&declared.config, value) {
            (ArgConfig::Text { max_bytes, .. }, Arg::Text(text)) if text.len() > *max_bytes => {
                Some(format!("`{name}` has {} bytes, at most {max_bytes} are allowed", text.len()))
            }
            (ArgConfig::Text { pattern, .. }, Arg::Text(text)) => {
                if text.contains('\0') {
                    return Some(format!("`{name}` holds a NUL byte"));
                }
                // Line ends and tabs are text; what moves a cursor or turns the writing around is not (lesson 28).
                if let Some(odd) = text.chars().find(|c| is_unshown(*c) && !matches!(c, '\n' | '\t')) {
                    return Some(format!("`{name}` holds the control character U+{:04X}", u32::from(odd)));
                }
                let source = pattern.as_deref().unwrap_or_default();
                let regex = declared.pattern.as_ref()?;
                (!regex.is_match(text)).then(|| format!("`{name}` does not match `{source}`"))
            }
            (ArgConfig::Int { min, max, .. }, Arg::Int(value)) if value < min || value > max => {
                Some(format!("`{name}` is {value}, expected {min} to {max}"))
            }
            (ArgConfig::Float { min, max, .. }, Arg::Float(value)) if !(min..=max).contains(&value) => {
                Some(format!("`{name}` is {value}, expected {min} to {max}"))
            }
            (ArgConfig::OneOf { values, .. }, Arg::Text(text)) if !values.contains(text) => {
                Some(format!("`{name}` is `{text}`, expected one of: {}", values.join(", ")))
            }
            _ => None,
        }
    }
}

fn shape_problem(config: &ArgConfig) -> Option<String> {
    if config.doc().trim().is_empty() {
        return Some("`doc` is empty; say what it means".into());
    }
    match config {
        ArgConfig::Text { max_bytes, .. } if !(1..=TEXT_BYTES_MAX).contains(max_bytes) => {
            Some(format!("`max_bytes` is {max_bytes}, expected 1 to {TEXT_BYTES_MAX}"))
        }
        ArgConfig::Int { min, max, .. } if min > max => Some(format!("`min` {min} is above `max` {max}")),
        ArgConfig::Float { min, max, .. } if !(min.is_finite() && max.is_finite() && min <= max) => {
            Some(format!("`min` {min} and `max` {max} must be finite and in order"))
        }
        ArgConfig::OneOf { values, .. } if values.is_empty() => Some("`values` is empty".into()),
        ArgConfig::OneOf { values, .. } if values.iter().any(|value| value.contains('\0')) => Some("`values` holds a NUL byte".into()),
        _ => None,
    }
}

/// The verb's part of every `check`: the target's kind and name, and the arguments against the schema.
pub(crate) fn check_against(verb: &VerbSpec, action: &Action) -> Result<(), Fault> {
    let doing = format!("check {} {} on {}", action.id, action.verb, action.target);
    let kind = action.target.kind();
    if !verb.target_kinds.is_empty() && !verb.target_kinds.iter().any(|known| known == kind) {
        let known = verb.target_kinds.join(", ");
        return Err(Fault::new(FaultCode::Malformed, doing, format!("the target's kind is `{kind}`, expected one of: {known}")));
    }
    if let Some(targets) = verb.targets.as_ref().filter(|targets| !targets.contains(&action.target)) {
        let known = targets.iter().map(|target| target.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Fault::new(FaultCode::NotFound, doing, format!("no such target; there are: {known}")));
    }
    verb.check_args(&action.args).map_err(|problems| Fault::new(FaultCode::Malformed, doing, problems.join("; ")))
}

/// A verb that this actuator does not have.
pub(crate) fn unknown_verb<'a>(action: &Action, known: impl Iterator<Item = &'a VerbSpec>) -> Fault {
    let known = known.map(|verb| verb.verb.as_str()).collect::<Vec<_>>().join(", ");
    Fault::new(FaultCode::NotFound, format!("check {} {}", action.id, action.verb), format!("no such verb; there are: {known}"))
}
