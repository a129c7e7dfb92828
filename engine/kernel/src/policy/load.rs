//! Compiles a policy and reads its `policy()` map, with every problem shown where it stands.
//!
//! Unknown functions are found here, not at run time: Rhai would accept them until they are called.

use super::diagnose::{PolicyError, did_you_mean};
use super::host::Host;
use super::reading::{ActionText, AlertSelectorText, SelectorText};
use super::session::{Mode, lock};
use super::words;
use crate::store::Selector;
use homeostat_model::{Arg, Args, Autonomy, PolicyId, PolicySource, Relation, Span, Target, Verb};
use rhai::{AST, ASTNode, Caches, Dynamic, Engine, Expr, Map, Position, Scope, Stmt};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// The keys of `policy()`, with their meaning.
pub const KEYS: &[(&str, &str)] = &[
    ("for_each", "`series(\"…\")`: `evaluate` is called once per series that it names; without it, once in all"),
    ("on_alert", "`alerts(\"…\")`: `on_alert` is called when such an alert fires or ends, and every `every` while it fires"),
    ("every", "the longest time between two evaluations, `\"1m\"` if not given; fresh samples wake it earlier"),
    ("cooldown", "how long a wish stays quiet after it was sent, `\"1h\"` if not given"),
    ("settle", "how long the target's symptoms mean nothing after the action; the verb's own if not given"),
    ("autonomy", "the most that may happen without a person: `\"shadow\"`, `\"suggest\"` (the default), `\"veto\"`, `\"auto\"`"),
    (
        "guards",
        "a map of metrics that its actions must not make worse, each with the side that is good: `#{ service_latency_seconds: \"low\" }`",
    ),
    ("drill", "the experiment that proves it: `#{ fault: act(\"chaos.run\", \"pod/shop/web-0\", #{}), within: \"10m\", every: \"30d\" }`"),
    ("params", "a map of numbers and texts for `param(\"…\")`; the configuration may change them"),
];

/// The shortest `every`.
const EVERY_MIN: Span = Span::from_secs(1);
/// A policy's text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Functions that are part of the language and not of any package.
const LANGUAGE: [&str; 9] = ["type_of", "is_def_var", "is_def_fn", "is_shared", "call", "curry", "Fn", "print", "debug"];

/// What a policy is evaluated for.
#[derive(Clone, Debug)]
pub enum ForEach {
    /// Once per series.
    Series(Selector, String),
    /// Once in all.
    Once,
}

/// A compiled policy.
pub struct Policy {
    /// Its name.
    pub id: PolicyId,
    /// Its file.
    pub path: String,
    /// Its digest: text and overrides.
    pub digest: String,
    /// What it is for, from its `//!` lines.
    pub doc: String,
    pub(super) ast: AST,
    /// What the script's calls were found to mean, kept between evaluations.
    pub(super) resolved: Mutex<Caches>,
    pub(super) text: String,
    pub(super) whole_ast: bool,
    /// Its branches with their numbers, where they are recorded.
    pub(super) branches: Vec<super::branches::Numbered>,
    /// Whether it has `evaluate`.
    pub has_evaluate: bool,
    /// What `evaluate` runs for.
    pub for_each: ForEach,
    /// Which alerts wake `on_alert`; the metric's name stands for the alert's.
    pub on_alert: Option<(Selector, String)>,
    /// The longest time between evaluations.
    pub every: Span,
    /// The cooldown.
    pub cooldown: Span,
    /// The settling time.
    pub settle: Option<Span>,
    /// The ceiling.
    pub autonomy: Autonomy,
    /// The parameters.
    pub params: Arc<BTreeMap<String, Arg>>,
    /// Metrics that its actions must not make worse, and the side that is good.
    pub guards: Vec<(String, Relation)>,
    /// The experiment that proves it.
    pub drill: Option<Drill>,
}

/// The experiment that proves a policy: a fault is made, and the policy must see it, act, and be right.
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// What makes the fault.
    pub fault: Verb,
    /// Where.
    pub target: Target,
    /// How.
    pub args: Args,
    /// By when the policy must have acted and its claim come true.
    pub within: Span,
    /// How long a passed drill counts.
    pub every: Span,
}

/// The longest time a drill may take: while it lasts, somebody's machine is broken on purpose.
const DRILL_WITHIN_MAX: Span = Span::from_hours(2);
/// Metrics that one policy may guard.
const GUARDS_MAX: usize = 8;

/// A policy's identity: its text and what the configuration changes in it.
pub fn digest(source: &PolicySource) -> String {
    let mut hash = Sha256::new();
    hash.update(source.text.as_bytes());
    hash.update([0]);
    hash.update(serde_json::to_vec(&source.overrides).unwrap_or_default());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Host {
    /// Compiles a policy, or says everything that is wrong with it.
    pub fn compile(&self, source: &PolicySource) -> Result<Policy, Vec<PolicyError>> {
        // A panic here must stop this policy only.
        catch_unwind(AssertUnwindSafe(|| self.compile_inner(source))).unwrap_or_else(|_| {
            let message = "the script engine panicked while it read this policy";
            Err(vec![PolicyError::at(&source.path, &source.text, Position::NONE, message)])
        })
    }

    fn compile_inner(&self, source: &PolicySource) -> Result<Policy, Vec<PolicyError>> {
        let error = |position: Position, message: String| PolicyError::at(&source.path, &source.text, position, message);
        if source.text.len() > TEXT_BYTES_MAX {
            return Err(vec![error(
                Position::NONE,
                format!("the policy has {} bytes, at most {TEXT_BYTES_MAX} are allowed", source.text.len()),
            )]);
        }
        let ast = self.engine().compile(&source.text).map_err(|e| vec![syntax_error(&source.path, &source.text, &e)])?;
        let unknown = unknown_functions(self.engine(), &ast, source);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let functions: BTreeMap<String, usize> = ast.iter_functions().map(|f| (f.name.to_string(), f.params.len())).collect();
        let mut errors = Vec::new();
        if functions.get("policy") != Some(&0) {
            errors.push(error(Position::NONE, "there is no `fn policy()`: expected one without parameters that gives a map".into()));
        }
        let evaluate = functions.get("evaluate").copied();
        let on_alert = functions.get("on_alert").copied();
        if evaluate.is_none() && on_alert.is_none() {
            errors.push(error(
                Position::NONE,
                "there is neither `fn evaluate(series)` nor `fn on_alert(alert)`: nothing would ever run".into(),
            ));
        }
        if on_alert.is_some_and(|params| params != 1) {
            errors.push(error(Position::NONE, "`on_alert` takes one parameter, the alert".into()));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let whole_ast = !ast.statements().is_empty();
        let map = self.call_policy(&ast, whole_ast, source)?;
        let mut reader = MapReader { path: &source.path, text: &source.text, map, errors: Vec::new() };
        let mut policy = reader.policy(source, ast, whole_ast, evaluate, on_alert.is_some());
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
        if let Some((copy, branches)) = self.instrumented(&policy.ast, &policy.text) {
            (policy.ast, policy.branches) = (copy, branches);
        }
        Ok(policy)
    }

    fn call_policy(&self, ast: &AST, whole_ast: bool, source: &PolicySource) -> Result<Map, Vec<PolicyError>> {
        lock(self.shared()).begin(homeostat_model::Time(0), Mode::Load, &Arc::default());
        let options = rhai::CallFnOptions::new().eval_ast(whole_ast);
        let result = self.engine().call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, "policy", ());
        let fail = |position, message: String| vec![PolicyError::at(&source.path, &source.text, position, message)];
        match result {
            Ok(value) => {
                value.try_cast::<Map>().ok_or_else(|| fail(Position::NONE, "`policy()` must give a map: `#{ every: \"1m\" }`".into()))
            }
            Err(e) => {
                let said = lock(self.shared()).stop.take();
                let message = match said {
                    Some(super::session::Stop::Fault(text)) => text,
                    Some(super::session::Stop::Undetermined(_)) => "`policy()` is read without any data: it cannot read values".into(),
                    None => words::of_run(e.unwrap_inner()).message,
                };
                Err(fail(e.unwrap_inner().position(), format!("`policy()` failed: {message}")))
            }
        }
    }
}

/// What the parser could not read.
pub(super) fn syntax_error(path: &str, text: &str, error: &rhai::ParseError) -> PolicyError {
    let said = words::of_parse(error.err_type());
    PolicyError::at(path, text, error.position(), said.message).help(said.help)
}

struct MapReader<'a> {
    path: &'a str,
    text: &'a str,
    map: Map,
    errors: Vec<PolicyError>,
}

impl MapReader<'_> {
    fn policy(&mut self, source: &PolicySource, ast: AST, whole_ast: bool, evaluate: Option<usize>, has_on_alert: bool) -> Policy {
        let known: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        let unknown: Vec<String> = self.map.keys().map(ToString::to_string).filter(|key| !known.contains(key.as_str())).collect();
        for key in unknown {
            let help = did_you_mean(&key, known.iter().copied());
            self.wrong(
                &key,
                format!("`policy()` has no key `{key}` (it has: {})", known.iter().copied().collect::<Vec<_>>().join(", ")),
                help,
            );
        }
        let for_each = self.for_each(evaluate);
        let on_alert = self.on_alert(has_on_alert);
        let overrides = &source.overrides;
        let every = overrides.every.or_else(|| self.span("every")).unwrap_or(Span::from_mins(1));
        if every < EVERY_MIN {
            self.wrong("every", format!("`every` is {every}, expected at least {EVERY_MIN}"), None);
        }
        let autonomy = self.autonomy();
        let cooldown = overrides.cooldown.or_else(|| self.span("cooldown")).unwrap_or(Span::from_hours(1));
        Policy {
            id: source.id.clone(),
            path: source.path.clone(),
            digest: digest(source),
            doc: source.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect::<Vec<_>>().join(" "),
            ast,
            resolved: Mutex::default(),
            text: source.text.clone(),
            whole_ast,
            branches: Vec::new(),
            has_evaluate: evaluate.is_some(),
            for_each,
            on_alert,
            every,
            cooldown,
            settle: self.span("settle"),
            autonomy: overrides.autonomy.map_or(autonomy, |lower| lower.min(autonomy)),
            params: Arc::new(self.params(&overrides.params)),
            guards: self.guards(),
            drill: self.drill(),
        }
    }

    fn guards(&mut self) -> Vec<(String, Relation)> {
        let Some(value) = self.map.get("guards").cloned() else { return Vec::new() };
        let Some(map) = value.try_cast::<Map>().filter(|map| map.len() <= GUARDS_MAX) else {
            self.wrong(
                "guards",
                format!("`guards` must be a map of at most {GUARDS_MAX} metrics: `#{{ service_latency_seconds: \"low\" }}`"),
                None,
            );
            return Vec::new();
        };
        let mut guards = Vec::new();
        for (metric, side) in map {
            match side.into_string().as_deref() {
                Ok("low") => guards.push((metric.to_string(), Relation::Below)),
                Ok("high") => guards.push((metric.to_string(), Relation::Above)),
                _ => self.wrong("guards", format!("the good side of `{metric}` must be \"low\" or \"high\""), None),
            }
        }
        guards
    }

    fn drill(&mut self) -> Option<Drill> {
        let value = self.map.get("drill").cloned()?;
        let Some(map) = value.try_cast::<Map>() else {
            self.wrong(
                "drill",
                "`drill` must be a map: `#{ fault: act(\"chaos.run\", \"pod/shop/web-0\", #{}), within: \"10m\" }`".into(),
                None,
            );
            return None;
        };
        let known = ["fault", "within", "every"];
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            self.wrong("drill", format!("`drill` has no key `{key}` (it has: {})", known.join(", ")), did_you_mean(key, known));
        }
        let fault = map.get("fault").and_then(|fault| fault.clone().try_cast::<ActionText>());
        let Some((fault, target)) = fault.and_then(|mut fault| fault.target.take().map(|target| (fault, target))) else {
            self.wrong("drill", "`drill` needs `fault: act(\"actuator.verb\", \"kind/name\", #{})`".into(), None);
            return None;
        };
        let text = |key: &str| map.get(key).and_then(|value| value.clone().into_string().ok());
        let mut span = |key: &str, usual: Span| match text(key).map(|text| text.parse::<Span>()) {
            None => Some(usual),
            Some(Ok(span)) if span > Span::ZERO => Some(span),
            Some(_) => {
                self.wrong("drill", format!("`{key}` of `drill` must be a span: \"10m\""), None);
                None
            }
        };
        let (within, every) = (span("within", Span::from_mins(10))?, span("every", Span::from_hours(24 * 30))?);
        if within > DRILL_WITHIN_MAX {
            self.wrong("drill", format!("`within` of `drill` is {within}, at most {DRILL_WITHIN_MAX}"), None);
        }
        Some(Drill { fault: fault.verb, target, args: fault.args, within, every })
    }

    fn wrong(&mut self, key: &str, message: String, help: Option<String>) {
        let line = self.text.lines().position(|line| line.contains(&format!("{key}:")));
        let position = line.map_or(Position::NONE, |line| {
            let column = self.text.lines().nth(line).and_then(|text| text.find(key)).unwrap_or(0);
            Position::new(line as u16 + 1, column as u16 + 1)
        });
        self.errors.push(PolicyError::at(self.path, self.text, position, message).help(help));
    }

    fn text_of(&mut self, key: &str) -> Option<String> {
        let value = self.map.get(key)?.clone();
        let kind = value.type_name();
        match value.into_string() {
            Ok(text) => Some(text),
            Err(_) => {
                self.wrong(key, format!("`{key}` is a {kind}, expected text"), None);
                None
            }
        }
    }

    fn span(&mut self, key: &str) -> Option<Span> {
        let text = self.text_of(key)?;
        match text.parse() {
            Ok(span) => Some(span),
            Err(error) => {
                self.wrong(key, format!("`{key}`: {error}"), None);
                None
            }
        }
    }

    fn autonomy(&mut self) -> Autonomy {
        let Some(text) = self.text_of("autonomy") else { return Autonomy::Suggest };
        match Autonomy::ALL.into_iter().find(|level| level.name() == text) {
            Some(level) => level,
            None => {
                let names = Autonomy::ALL.map(Autonomy::name);
                self.wrong(
                    "autonomy",
                    format!("`autonomy` is `{text}`, expected one of: {}", names.join(", ")),
                    did_you_mean(&text, names),
                );
                Autonomy::Shadow
            }
        }
    }

    fn for_each(&mut self, evaluate: Option<usize>) -> ForEach {
        let Some(value) = self.map.get("for_each").cloned() else {
            if evaluate == Some(1) {
                self.wrong(
                    "for_each",
                    "`evaluate` takes a series, but `policy()` has no `for_each`".into(),
                    Some("add `for_each: series(\"…\")`".into()),
                );
            }
            return ForEach::Once;
        };
        if evaluate != Some(1) {
            self.wrong("for_each", "`for_each` needs `fn evaluate(series)` with one parameter".into(), None);
        }
        let Some(SelectorText(text)) = value.try_cast::<SelectorText>() else {
            self.wrong("for_each", "`for_each` must be `series(\"…\")`".into(), None);
            return ForEach::Once;
        };
        self.selector("for_each", &text).map_or(ForEach::Once, |selector| ForEach::Series(selector, text))
    }

    fn on_alert(&mut self, has_on_alert: bool) -> Option<(Selector, String)> {
        let value = self.map.get("on_alert").cloned();
        match (value, has_on_alert) {
            (None, false) => None,
            (None, true) => {
                self.wrong(
                    "on_alert",
                    "there is `fn on_alert(alert)`, but `policy()` does not say which alerts".into(),
                    Some("add `on_alert: alerts(\"…\")`".into()),
                );
                None
            }
            (Some(_), false) => {
                self.wrong("on_alert", "`policy()` has `on_alert`, but there is no `fn on_alert(alert)`".into(), None);
                None
            }
            (Some(value), true) => {
                let Some(AlertSelectorText(text)) = value.try_cast::<AlertSelectorText>() else {
                    self.wrong("on_alert", "`on_alert` must be `alerts(\"…\")`".into(), None);
                    return None;
                };
                self.selector("on_alert", &text).map(|selector| (selector, text))
            }
        }
    }

    fn selector(&mut self, key: &str, text: &str) -> Option<Selector> {
        match Selector::parse(text) {
            Ok(selector) => Some(selector),
            Err(error) => {
                self.wrong(key, format!("`{key}`: {error}"), None);
                None
            }
        }
    }

    fn params(&mut self, overrides: &BTreeMap<String, Arg>) -> BTreeMap<String, Arg> {
        let mut params = BTreeMap::new();
        if let Some(value) = self.map.get("params").cloned() {
            match value.try_cast::<Map>() {
                None => self.wrong("params", "`params` must be a map".into(), None),
                Some(map) => {
                    for (name, value) in map {
                        let kind = value.type_name();
                        let plain = value
                            .as_bool()
                            .map(Arg::Bool)
                            .or_else(|_| value.as_int().map(Arg::Int))
                            .or_else(|_| value.as_float().map(Arg::Float));
                        match plain.or_else(|_| value.into_string().map(Arg::Text)) {
                            Ok(arg) => drop(params.insert(name.to_string(), arg)),
                            Err(_) => self.wrong(
                                "params",
                                format!("the parameter `{name}` is a {kind}, expected text, a number, true or false"),
                                None,
                            ),
                        }
                    }
                }
            }
        }
        for (name, value) in overrides {
            match params.get(name) {
                None => {
                    let help = did_you_mean(name, params.keys().map(String::as_str));
                    self.wrong("params", format!("the configuration sets the parameter `{name}`, which the policy does not have"), help);
                }
                Some(own) if own.kind() != value.kind() && !(own.kind() == "float" && value.kind() == "int") => {
                    self.wrong(
                        "params",
                        format!("the configuration sets `{name}` to a {}, the policy's own is a {}", value.kind(), own.kind()),
                        None,
                    );
                }
                Some(Arg::Float(_)) if let Arg::Int(whole) = value => drop(params.insert(name.clone(), Arg::Float(*whole as f64))),
                Some(_) => drop(params.insert(name.clone(), value.clone())),
            }
        }
        params
    }
}

/// Calls to functions that neither the language, nor a package, nor the script itself has.
pub(super) fn unknown_functions(engine: &Engine, ast: &AST, source: &PolicySource) -> Vec<PolicyError> {
    let mut known: BTreeSet<String> = LANGUAGE.iter().map(|name| (*name).to_owned()).collect();
    for signature in engine.gen_fn_signatures(true) {
        known.insert(signature.split(['(', ' ']).next().unwrap_or_default().to_owned());
    }
    known.extend(ast.iter_functions().map(|f| f.name.to_string()));
    let mut errors: Vec<PolicyError> = Vec::new();
    let mut seen = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        let call = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position) | Expr::MethodCall(call, position))) => Some((call, *position)),
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => Some((call, *position)),
            _ => None,
        };
        if let Some((call, position)) = call {
            let name = call.name.as_str();
            let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && call.op_token.is_none();
            if named && !known.contains(name) && seen.insert((name.to_owned(), position.line(), position.position())) {
                let help = did_you_mean(name, known.iter().map(String::as_str));
                errors.push(PolicyError::at(&source.path, &source.text, position, format!("there is no function `{name}`")).help(help));
            }
        }
        errors.len() < 20
    });
    errors
}
