//! Everything that can be known to be wrong with a playbook before it runs. All problems are listed, each with the nearest right thing.
//!
//! Deliberately absent: whether the verbs' actuators are ready (they say so themselves), and whether the arbiter would let a run
//! through (it says so when asked). An editor breaks this by letting through what could not be taken back and does not say so.

use super::template::placeholders;
use super::undo_of;
use crate::policy::{Host, did_you_mean};
use crate::store::Selector;
use homeostat_model::playbook::{APPROVE, PLAYBOOK, Playbook, Step, Undo, WAIT};
use homeostat_model::{Arg, ArgKind, Args, Class, Relation, Span, Verb, VerbSpec};
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Steps of one playbook.
const STEPS_MAX: usize = 64;
/// Instances of one step at a time.
const CONCURRENT_MAX: u32 = 32;
/// Attempts of one step.
const ATTEMPTS_MAX: u32 = 10;
/// A run may take no longer.
const TIMEOUT_MAX: Span = Span::from_hours(24 * 7);

/// Looks a verb up.
pub type Catalogue<'a> = dyn Fn(&Verb) -> Option<VerbSpec> + 'a;

/// Every problem of a playbook; empty: it may be loaded.
pub fn check(playbook: &Playbook, catalogue: &Catalogue<'_>, verbs: &BTreeSet<&str>, host: &Host) -> Vec<String> {
    let mut checker = Checker { playbook, catalogue, verbs, host, problems: Vec::new() };
    checker.whole();
    for step in &playbook.steps {
        checker.step(step);
    }
    checker.graph();
    checker.unused_params();
    checker.problems.iter().map(|problem| format!("playbook {}: {problem}", playbook.id)).collect()
}

struct Checker<'a> {
    playbook: &'a Playbook,
    catalogue: &'a Catalogue<'a>,
    verbs: &'a BTreeSet<&'a str>,
    host: &'a Host,
    problems: Vec<String>,
}

impl Checker<'_> {
    fn say(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn whole(&mut self) {
        let playbook = self.playbook;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if playbook.id.is_empty() || !playbook.id.chars().all(plain) {
            self.say("its name must be made of small letters, digits and `-`");
        }
        if [APPROVE, WAIT].iter().any(|own| own.strip_prefix("playbook.") == Some(&playbook.id)) {
            self.say(format!("the name `{}` belongs to the kernel", playbook.id));
        }
        if playbook.doc.trim().is_empty() {
            self.say("`doc` is empty: say in one sentence what it does");
        }
        if playbook.steps.is_empty() || playbook.steps.len() > STEPS_MAX {
            self.say(format!("it has {} steps, expected 1 to {STEPS_MAX}", playbook.steps.len()));
        }
        if playbook.timeout <= Span::ZERO || playbook.timeout > TIMEOUT_MAX {
            self.say(format!("`timeout` is {}, expected more than 0s and at most {TIMEOUT_MAX}", playbook.timeout));
        }
        for (name, param) in &playbook.params {
            if matches!(name.as_str(), "target" | "target_name" | "each") {
                self.say(format!("the parameter `{name}` would hide the placeholder of that name"));
            }
            if let Some(problem) = param.default.as_ref().and_then(|default| kind_problem(name, &param.kind, default)) {
                self.say(format!("the default of parameter {problem}"));
            }
        }
        let mut seen = BTreeSet::new();
        for step in &playbook.steps {
            if !seen.insert(step.id.as_str()) {
                self.say(format!("two steps are called `{}`", step.id));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let at = format!("step {}", step.id);
        if step.id.is_empty() || !step.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            self.say(format!("{at}: a step's name is made of letters, digits, `-` and `_`"));
        }
        match (&step.verb, &step.approve, &step.verify) {
            (Some(_), Some(_), _) => self.say(format!("{at}: it has both `verb` and `approve`, expected one of them")),
            (None, None, None) => self.say(format!("{at}: it has neither `verb`, `approve` nor `verify`: it would do nothing")),
            (None, Some(question), _) if question.trim().is_empty() => self.say(format!("{at}: the question in `approve` is empty")),
            _ => {}
        }
        self.limits(step, &at);
        self.expressions(step, &at);
        self.names(step, &at);
        if let Some(verb) = &step.verb {
            self.verb(step, verb, &at);
        }
        self.claims(step, &at);
    }

    fn limits(&mut self, step: &Step, at: &str) {
        if step.concurrent_max == 0 || step.concurrent_max > CONCURRENT_MAX {
            self.say(format!("{at}: `concurrent_max` is {}, expected 1 to {CONCURRENT_MAX}", step.concurrent_max));
        }
        if step.retry.attempts == 0 || step.retry.attempts > ATTEMPTS_MAX {
            self.say(format!("{at}: `retry.attempts` is {}, expected 1 to {ATTEMPTS_MAX}", step.retry.attempts));
        }
        if step.retry.wait < Span::ZERO {
            self.say(format!("{at}: `retry.wait` is negative"));
        }
        if let Some(timeout) = step.timeout.filter(|timeout| *timeout <= Span::ZERO || *timeout > self.playbook.timeout) {
            self.say(format!(
                "{at}: its `timeout` is {timeout}, expected more than 0s and at most the playbook's {}",
                self.playbook.timeout
            ));
        }
    }

    fn expressions(&mut self, step: &Step, at: &str) {
        for (name, text) in [("when", &step.when), ("each", &step.each)] {
            let Some(text) = text else { continue };
            if let Err(error) = self.host.compile_expression(text) {
                self.say(format!("{at}: `{name}`: {error}"));
            }
            if name == "when" && text.trim() == "false" {
                self.say(format!("{at}: `when` is never true: the step can never be reached"));
            }
        }
    }

    /// Placeholders that nobody fills.
    fn names(&mut self, step: &Step, at: &str) {
        let known: BTreeSet<&str> = ["target", "target_name"].into_iter().chain(self.playbook.params.keys().map(String::as_str)).collect();
        let mut unknown = BTreeSet::new();
        for text in texts_of(step) {
            for name in placeholders(text) {
                if name == "each" && step.each.is_none() {
                    self.say(format!("{at}: it says {{each}} but has no `each`"));
                } else if name != "each" && !known.contains(name) {
                    unknown.insert(name.to_owned());
                }
            }
        }
        for name in unknown {
            let near = did_you_mean(&name, known.iter().copied()).map_or_else(String::new, |near| format!("; {near}"));
            self.say(format!("{at}: there is no parameter `{name}`{near}"));
        }
    }

    fn verb(&mut self, step: &Step, verb: &Verb, at: &str) {
        let Some(spec) = self.known(verb, at) else { return };
        self.args(&spec, &step.args, at);
        if let Some(kind) =
            literal_kind(&step.target).filter(|kind| !spec.target_kinds.is_empty() && !spec.target_kinds.iter().any(|k| k == kind))
        {
            self.say(format!("{at}: `{verb}` acts on {}, not on a {kind}", spec.target_kinds.join(" or ")));
        }
        match undo_of(step, Some(&spec)) {
            Undo::Revert if !spec.revertible => self.say(format!(
                "{at}: `{verb}` ({}) cannot be taken back by its actuator: say `undo: nothing`, or `undo: {{ by: {{ verb: … }} }}`",
                spec.class
            )),
            Undo::By(by) => {
                if let Some(spec) = self.known(&by.verb, at) {
                    self.args(&spec, &by.args, &format!("{at}, undo"));
                }
            }
            Undo::Revert | Undo::Nothing => {}
        }
        if let Some(timeout) = step.timeout.filter(|timeout| *timeout < spec.timeout) {
            self.say(format!("{at}: its `timeout` {timeout} is shorter than what `{verb}` may take ({})", spec.timeout));
        }
        if spec.class == Class::Irreversible && !self.asks_before(step) {
            self.say(format!("{at}: `{verb}` cannot be undone: put a step with `approve` before it"));
        }
    }

    fn known(&mut self, verb: &Verb, at: &str) -> Option<VerbSpec> {
        if verb.actuator() == PLAYBOOK {
            self.say(format!("{at}: `{verb}`: a playbook cannot run playbooks"));
            return None;
        }
        let found = (self.catalogue)(verb);
        if found.is_none() {
            let near = did_you_mean(verb.as_str(), self.verbs.iter().copied()).map_or_else(String::new, |near| format!("; {near}"));
            self.say(format!("{at}: nobody can do `{verb}`: no configured actuator has this verb{near}"));
        }
        found
    }

    /// Arguments that are missing, unknown, or of the wrong kind; what holds a placeholder is checked when it is filled.
    fn args(&mut self, spec: &VerbSpec, args: &Args, at: &str) {
        for name in args.keys().filter(|name| !spec.args.iter().any(|arg| arg.name == **name)) {
            let known: Vec<&str> = spec.args.iter().map(|arg| arg.name.as_str()).collect();
            self.say(format!("{at}: `{}` has no argument `{name}` (it has: {})", spec.verb, known.join(", ")));
        }
        for arg in &spec.args {
            match args.get(&arg.name) {
                None if arg.required => self.say(format!("{at}: `{}` needs the argument `{}` ({})", spec.verb, arg.name, arg.doc)),
                Some(Arg::Text(text)) if !placeholders(text).is_empty() => {}
                Some(value) => {
                    if let Some(problem) = kind_problem(&arg.name, &arg.kind, value) {
                        self.say(format!("{at}: the argument {problem}"));
                    }
                }
                None => {}
            }
        }
    }

    fn asks_before(&self, step: &Step) -> bool {
        let mut before: Vec<&str> = step.after.iter().map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = before.pop() {
            let Some(other) = self.playbook.step(id).filter(|_| seen.insert(id)) else { continue };
            if other.approve.is_some() {
                return true;
            }
            before.extend(other.after.iter().map(String::as_str));
        }
        false
    }

    fn claims(&mut self, step: &Step, at: &str) {
        let verify = step.verify.as_ref();
        let conditions = verify.map(|v| ("verify", &v.series, v.threshold)).into_iter();
        for (name, series, threshold) in conditions.chain(step.steady.iter().map(|s| ("steady", &s.series, s.threshold))) {
            if let Err(error) = Selector::parse(&without_placeholders(series)) {
                self.say(format!("{at}: `{name}`: {error}"));
            }
            if !threshold.is_finite() {
                self.say(format!("{at}: the threshold of `{name}` is not a finite number"));
            }
        }
        let Some(verify) = verify else { return };
        if verify.within <= verify.held || verify.within <= Span::ZERO {
            let held = verify.held;
            self.say(format!("{at}: `verify` must hold for {held} but is due within {}: it cannot come true", verify.within));
        }
        let settle = step.verb.as_ref().and_then(|verb| (self.catalogue)(verb)).map_or(Span::ZERO, |spec| spec.timeout.min(spec.settle));
        if verify.within < settle {
            self.say(format!("{at}: `verify` is due within {}, but the verb's effect needs {settle} to show", verify.within));
        }
        let metric = verify.series.split(['{', ' ']).next().unwrap_or_default();
        if metric.ends_with("_total") && verify.relation == Relation::Below {
            self.say(format!("{at}: `verify` waits for the counter `{metric}` to fall: counters never do, so it cannot recover in time"));
        }
    }

    fn graph(&mut self) {
        let mut graph: DiGraph<&str, ()> = DiGraph::new();
        let nodes: BTreeMap<&str, NodeIndex> = self.playbook.steps.iter().map(|s| (s.id.as_str(), graph.add_node(s.id.as_str()))).collect();
        let mut unknown = Vec::new();
        for step in &self.playbook.steps {
            for after in &step.after {
                match nodes.get(after.as_str()) {
                    Some(before) => drop(graph.add_edge(*before, nodes[step.id.as_str()], ())),
                    None => {
                        let near = did_you_mean(after, nodes.keys().copied()).map_or_else(String::new, |near| format!("; {near}"));
                        unknown.push(format!("step {}: it comes after `{after}`, and there is no such step{near}", step.id));
                    }
                }
            }
        }
        self.problems.extend(unknown);
        if toposort(&graph, None).is_err() {
            for circle in tarjan_scc(&graph) {
                let own = circle.len() == 1 && graph.contains_edge(circle[0], circle[0]);
                if circle.len() > 1 || own {
                    let mut names: Vec<&str> = circle.iter().map(|node| graph[*node]).collect();
                    names.sort_unstable();
                    self.say(format!("the steps {} wait for each other: none of them can ever begin", names.join(", ")));
                }
            }
        }
    }

    fn unused_params(&mut self) {
        let steps = &self.playbook.steps;
        let unused: Vec<String> = self
            .playbook
            .params
            .keys()
            .filter(|name| {
                let filled = steps.iter().flat_map(texts_of).any(|text| placeholders(text).contains(&name.as_str()));
                let quoted = format!("\"{name}\"");
                let asked = steps.iter().flat_map(|s| s.when.iter().chain(&s.each)).any(|text| text.contains(&quoted));
                !filled && !asked
            })
            .cloned()
            .collect();
        for name in unused {
            self.say(format!("the parameter `{name}` is never used"));
        }
    }
}

/// All texts of a step that may hold placeholders.
fn texts_of(step: &Step) -> Vec<&str> {
    let mut texts = vec![step.target.as_str()];
    texts.extend(step.args.values().flat_map(texts_in));
    texts.extend(step.verify.iter().map(|verify| verify.series.as_str()));
    texts.extend(step.steady.iter().map(|steady| steady.series.as_str()));
    texts.extend(step.approve.as_deref());
    if let Undo::By(by) = &step.undo {
        texts.push(&by.target);
        texts.extend(by.args.values().flat_map(texts_in));
    }
    texts
}

fn texts_in(arg: &Arg) -> Vec<&str> {
    match arg {
        Arg::Text(text) => vec![text],
        Arg::List(items) => items.iter().flat_map(texts_in).collect(),
        Arg::Map(items) => items.values().flat_map(texts_in).collect(),
        Arg::Bool(_) | Arg::Int(_) | Arg::Float(_) => Vec::new(),
    }
}

/// A target's kind, where it is written out.
fn literal_kind(target: &str) -> Option<&str> {
    target.split_once('/').map(|(kind, _)| kind).filter(|kind| placeholders(kind).is_empty() && !kind.contains('{'))
}

fn without_placeholders(text: &str) -> String {
    let mut text = text.to_owned();
    for name in placeholders(&text.clone()) {
        text = text.replace(&format!("{{{name}}}"), "x");
    }
    text
}

fn kind_problem(name: &str, kind: &ArgKind, value: &Arg) -> Option<String> {
    let spec = homeostat_model::ArgSpec { name: name.to_owned(), kind: kind.clone(), required: false, doc: String::new() };
    let verb = VerbSpec {
        verb: "x.y".into(),
        class: Class::Notify,
        args: vec![spec],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::ZERO,
        revertible: false,
        cost: homeostat_model::Cost::default(),
        doc: String::new(),
    };
    verb.check_args(&Args::from([(name.to_owned(), value.clone())])).err().and_then(|problems| problems.into_iter().next())
}
