//! Follows statements and expressions with abstract values, and notes what is read, compared, wished and branched.
//!
//! Loops are walked once, both sides of a branch are walked, calls of the script's own functions are followed with what they are
//! given. What is known to hold is kept as a stack of facts: a branch adds its condition's, and a branch that returns leaves the
//! opposite behind for the rest of its block.

use super::calls::Given;
use super::script::{Function, Places, Script};
use super::value::{Condition, Read, Template, Value, of_arg};
use super::{
    BranchKind, Kind, Place, Survey, SurveyedBranch, SurveyedCall, SurveyedComparison, SurveyedFact, SurveyedLabel, SurveyedRead,
    SurveyedRelation, SurveyedSeries, SurveyedSetting, SurveyedVariable,
};
use crate::store::Selector;
use homeostat_model::Arg;
use rhai::{ASTNode, Expr, FlowControl, FnCallExpr, Position, Stmt, StmtBlock};
use std::collections::BTreeMap;

/// Calls of own functions within calls.
const DEPTH_MAX: usize = 8;

struct Variable {
    name: String,
    value: Value,
    noted: Option<usize>,
}

pub(super) struct Walker<'a> {
    script: &'a Script,
    places: Places<'a>,
    pub(super) survey: Survey,
    pub(super) params: BTreeMap<String, Value>,
    scope: Vec<Variable>,
    facts: Vec<SurveyedFact>,
    inside: Vec<String>,
}

/// Walks `policy`, then what the kernel calls, then what nobody called.
pub(super) fn survey(script: &Script, text: &str, params: &BTreeMap<String, Arg>) -> Survey {
    let mut walker = Walker {
        script,
        places: Places::new(text),
        survey: Survey::default(),
        params: BTreeMap::new(),
        scope: Vec::new(),
        facts: Vec::new(),
        inside: Vec::new(),
    };
    walker.survey.functions = script.functions.iter().map(|f| (f.name.clone(), f.params.len(), walker.places.at(f.start()))).collect();
    let mut called = Vec::new();
    if let Some(function) = script.function("policy", 0) {
        let map = walker.enter(function, Vec::new());
        walker.settings(map);
        called.push("policy");
    }
    walker.params.extend(params.iter().map(|(name, arg)| (name.clone(), of_arg(arg))));
    for function in &script.functions {
        let given = match (function.name.as_str(), function.params.len()) {
            ("evaluate", 0) => Vec::new(),
            ("evaluate", 1) => vec![walker.survey.for_each.clone().map_or(Value::Series(SurveyedSeries::default()), Value::Series)],
            ("on_alert", 1) => vec![Value::Alert],
            _ => continue,
        };
        walker.enter(function, given);
        called.push(&function.name);
    }
    for function in &script.functions {
        let is_called = walker.survey.calls.iter().any(|call| call.name == function.name) || called.contains(&function.name.as_str());
        if !is_called {
            walker.enter(function, vec![Value::Unknown; function.params.len()]);
        }
    }
    walker.survey
}

impl Walker<'_> {
    pub(super) fn place(&self, position: Position) -> Place {
        self.places.at(position)
    }

    /// Whether `policy()` is walked, where `series` names a selector.
    pub(super) fn is_loading(&self) -> bool {
        self.inside.first().is_some_and(|name| name == "policy")
    }

    pub(super) fn facts(&self) -> Vec<SurveyedFact> {
        self.facts.clone()
    }

    /// The map that `policy()` gives.
    fn settings(&mut self, map: Value) {
        let Value::Map(Some(entries)) = map else { return };
        for (key, value, place) in entries {
            match (key.as_str(), &value) {
                ("for_each", Value::Selector(text)) => {
                    self.survey.for_each = Some(SurveyedSeries { is_target: true, ..series_of(text.as_deref()) });
                }
                ("on_alert", Value::Selector(text)) => self.survey.on_alert = text.clone(),
                ("params", Value::Map(Some(params))) => {
                    for (name, value, place) in params {
                        self.params.insert(name.clone(), value.clone());
                        let surveyed = value.surveyed(*place);
                        self.survey.params.push(SurveyedSetting { key: name.clone(), value: surveyed, place: *place, used: false });
                    }
                }
                _ => {}
            }
            self.survey.settings.push(SurveyedSetting { key, value: value.surveyed(place), place, used: true });
        }
    }

    /// Walks a function's body with these arguments; gives what it returns last.
    fn enter(&mut self, function: &Function, given: Vec<Value>) -> Value {
        if self.inside.len() >= DEPTH_MAX || self.inside.contains(&function.name) {
            return Value::Unknown;
        }
        self.inside.push(function.name.clone());
        let (scope, facts) = (std::mem::take(&mut self.scope), self.facts.clone());
        for (name, value) in function.params.iter().zip(given) {
            self.scope.push(Variable { name: name.clone(), value, noted: None });
        }
        let value = self.statements(&function.body);
        self.scope = scope;
        self.facts = facts;
        self.inside.pop();
        value
    }

    /// A block's statements in a scope of their own.
    fn block(&mut self, block: &StmtBlock) -> Value {
        self.statements(block.statements())
    }

    fn statements(&mut self, statements: &[Stmt]) -> Value {
        let (depth, facts) = (self.scope.len(), self.facts.clone());
        let (mut value, mut ended) = (Value::Nothing, false);
        for statement in statements {
            if statement.is_noop() {
                continue;
            }
            if ended {
                let place = self.place(statement.position());
                if !self.survey.unreachable.contains(&place) {
                    self.survey.unreachable.push(place);
                }
                break;
            }
            value = self.statement(statement);
            ended = ends(statement);
        }
        self.scope.truncate(depth);
        self.facts = facts;
        value
    }

    fn statement(&mut self, statement: &Stmt) -> Value {
        match statement {
            Stmt::If(flow, position) => self.if_else(flow, *position),
            Stmt::Switch(switch, position) => {
                self.expression(&switch.0);
                let place = self.place(*position);
                let mut value = Value::Nothing;
                for (number, case) in switch.1.expressions.iter().enumerate() {
                    self.expression(&case.lhs);
                    let first = self.place(case.rhs.start_position());
                    let facts = self.facts.clone();
                    self.branch(place, first, Some(first), BranchKind::Case, None);
                    let given = self.expression(&case.rhs);
                    self.facts = facts;
                    value = if number == 0 { given } else { value.join(given) };
                }
                value
            }
            Stmt::While(flow, position) | Stmt::Do(flow, _, position) => {
                let condition = self.condition(&flow.expr);
                let always = condition.constant().filter(|always| !always);
                self.loop_body(flow, *position, always);
                Value::Nothing
            }
            Stmt::For(parts, position) => {
                let item = match self.expression(&parts.2.expr) {
                    Value::List(item) => *item,
                    _ => Value::Unknown,
                };
                let depth = self.scope.len();
                let noted = self.note_variable(&parts.0.name, parts.0.pos);
                self.scope.push(Variable { name: parts.0.name.to_string(), value: item, noted });
                if let Some(counter) = &parts.1 {
                    self.scope.push(Variable { name: counter.name.to_string(), value: Value::Number(None), noted: None });
                }
                self.loop_body(&parts.2, *position, None);
                self.scope.truncate(depth);
                Value::Nothing
            }
            Stmt::Var(parts, _, _) => {
                let value = self.expression(&parts.1);
                let noted = self.note_variable(&parts.0.name, parts.0.pos);
                self.scope.push(Variable { name: parts.0.name.to_string(), value, noted });
                Value::Nothing
            }
            Stmt::Assignment(parts) => {
                let value = self.expression(&parts.1.rhs);
                let value = if parts.0.is_op_assignment() { Value::Unknown } else { value };
                if let Expr::Variable(variable, ..) = &parts.1.lhs {
                    let name = variable.1.as_str();
                    if let Some(variable) = self.scope.iter_mut().rev().find(|variable| variable.name == name) {
                        let before = std::mem::replace(&mut variable.value, Value::Unknown);
                        variable.value = before.join(value);
                    }
                } else {
                    self.expression(&parts.1.lhs);
                }
                Value::Nothing
            }
            Stmt::FnCall(call, position) => self.call(call, *position),
            Stmt::Block(block) => self.block(block),
            Stmt::TryCatch(flow, position) => {
                self.block(&flow.body);
                let (place, facts) = (self.place(*position), self.facts.clone());
                self.enter_branch(&flow.branch, place, BranchKind::Catch, None);
                self.facts = facts;
                Value::Nothing
            }
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::BreakLoop(Some(expression), ..) | Stmt::Return(Some(expression), ..) => self.expression(expression),
            _ => Value::Nothing,
        }
    }

    fn loop_body(&mut self, flow: &FlowControl, position: Position, always: Option<bool>) {
        let (place, facts) = (self.place(position), self.facts.clone());
        self.enter_branch(&flow.body, place, BranchKind::Loop, always);
        self.facts = facts;
    }

    fn if_else(&mut self, flow: &FlowControl, position: Position) -> Value {
        let condition = self.condition(&flow.expr);
        let (place, before) = (self.place(position), self.facts.clone());
        condition.facts(true, &mut self.facts);
        let value = self.enter_branch(&flow.body, place, BranchKind::Then, condition.constant());
        self.facts = before.clone();
        if flow.branch.is_empty() {
            if block_ends(&flow.body) {
                condition.facts(false, &mut self.facts);
            }
            return if flow.branch.position().is_none() { Value::Nothing } else { value.join(Value::Nothing) };
        }
        condition.facts(false, &mut self.facts);
        let other = self.enter_branch(&flow.branch, place, BranchKind::Else, condition.constant().map(|always| !always));
        self.facts = before;
        match (block_ends(&flow.body), block_ends(&flow.branch)) {
            (true, false) => condition.facts(false, &mut self.facts),
            (false, true) => condition.facts(true, &mut self.facts),
            _ => {}
        }
        value.join(other)
    }

    fn enter_branch(&mut self, block: &StmtBlock, place: Place, kind: BranchKind, always: Option<bool>) -> Value {
        let body = self.place(block.position());
        let first = block.statements().iter().find(|s| !s.is_noop()).map(|s| self.place(s.position()));
        self.branch(place, body, first, kind, always);
        self.block(block)
    }

    fn branch(&mut self, place: Place, body: Place, first: Option<Place>, kind: BranchKind, always: Option<bool>) {
        if !self.survey.branches.iter().any(|branch| branch.body == body && branch.kind == kind) {
            self.survey.branches.push(SurveyedBranch { place, body, first, kind, always, when: self.facts.clone() });
        }
    }

    fn condition(&mut self, expression: &Expr) -> Condition {
        match self.expression(expression) {
            Value::Truth(condition) => condition,
            Value::Unknown => Condition::Other,
            value => {
                let place = self.place(expression.start_position());
                if !self.survey.untrue.iter().any(|known| known.place == place) {
                    self.survey.untrue.push(value.surveyed(place));
                }
                Condition::Other
            }
        }
    }

    pub(super) fn expression(&mut self, expression: &Expr) -> Value {
        match expression {
            Expr::BoolConstant(value, _) => Value::Truth(Condition::Constant(*value)),
            Expr::IntegerConstant(value, _) => Value::Number(Some(*value as f64)),
            Expr::FloatConstant(value, _) => Value::Number(Some(**value)),
            Expr::StringConstant(text, _) => Value::text(text.as_str()),
            Expr::CharConstant(c, _) => Value::text(c.to_string()),
            Expr::InterpolatedString(parts, _) => self.interpolated(parts),
            Expr::Array(items, _) => {
                let mut values = items.iter().map(|item| self.expression(item)).collect::<Vec<_>>().into_iter();
                let first = values.next().unwrap_or(Value::Unknown);
                Value::List(Box::new(values.fold(first, Value::join)))
            }
            Expr::Map(map, _) => {
                let entries = map.0.iter().map(|(name, value)| (name.name.to_string(), self.expression(value), self.place(name.pos)));
                Value::Map(Some(entries.collect()))
            }
            Expr::Unit(_) => Value::Nothing,
            Expr::Variable(variable, _, position) => self.variable(&variable.1, *position),
            Expr::Stmt(block) => self.block(block),
            Expr::FnCall(call, position) => self.call(call, *position),
            Expr::Dot(binary, _, _) => {
                let receiver = self.expression(&binary.lhs);
                let place = self.place(binary.lhs.start_position());
                self.member(receiver, place, &binary.rhs)
            }
            Expr::Index(binary, _, _) => {
                let receiver = self.expression(&binary.lhs);
                self.index(receiver, &binary.rhs)
            }
            Expr::And(items, _) => Value::Truth(Condition::All(items.iter().map(|item| self.condition(item)).collect())),
            Expr::Or(items, _) => Value::Truth(Condition::Any(items.iter().map(|item| self.condition(item)).collect())),
            Expr::Coalesce(items, _) => {
                for item in items.iter() {
                    self.expression(item);
                }
                Value::Unknown
            }
            _ => Value::Unknown,
        }
    }

    fn variable(&mut self, name: &str, position: Position) -> Value {
        let Some(variable) = self.scope.iter().rev().find(|variable| variable.name == name) else {
            let unknown = (name.to_owned(), self.place(position));
            if !self.survey.unknown_variables.contains(&unknown) {
                self.survey.unknown_variables.push(unknown);
            }
            return Value::Unknown;
        };
        if let Some(noted) = variable.noted.and_then(|noted| self.survey.variables.get_mut(noted)) {
            noted.used = true;
        }
        variable.value.clone()
    }

    fn note_variable(&mut self, name: &str, position: Position) -> Option<usize> {
        let place = self.place(position);
        if let Some(known) = self.survey.variables.iter().position(|variable| variable.place == place && variable.name == name) {
            return Some(known);
        }
        self.survey.variables.push(SurveyedVariable { name: name.to_owned(), used: false, place });
        Some(self.survey.variables.len() - 1)
    }

    /// `receiver.rhs`, where the engine hangs the rest of a chain to the right.
    fn member(&mut self, receiver: Value, place: Place, rhs: &Expr) -> Value {
        match rhs {
            Expr::MethodCall(call, position) => self.invoke(call, *position, Some((receiver, place))),
            Expr::Property(property, position) => self.property(&receiver, &property.2, *position),
            Expr::Dot(binary, _, _) => {
                let value = self.member(receiver, place, &binary.lhs);
                self.member(value, self.place(binary.lhs.start_position()), &binary.rhs)
            }
            Expr::Index(binary, _, _) => {
                let value = self.member(receiver, place, &binary.lhs);
                self.index(value, &binary.rhs)
            }
            _ => Value::Unknown,
        }
    }

    fn index(&mut self, receiver: Value, rhs: &Expr) -> Value {
        let name = self.expression(rhs);
        let place = self.place(rhs.start_position());
        match (receiver, name.as_exact()) {
            (receiver @ (Value::Series(_) | Value::Alert), Some(name)) => {
                let name = name.to_owned();
                self.label(&receiver, &name, true, place)
            }
            (Value::Map(Some(entries)), Some(name)) => {
                entries.into_iter().find(|(key, ..)| key == name).map_or(Value::Unknown, |(_, value, _)| value)
            }
            (Value::List(item), _) => *item,
            _ => Value::Unknown,
        }
    }

    fn property(&mut self, receiver: &Value, name: &str, position: Position) -> Value {
        let place = self.place(position);
        match receiver {
            Value::Series(_) | Value::Alert => self.label(receiver, name, true, place),
            Value::Map(Some(entries)) => entries.iter().find(|(key, ..)| key == name).map_or(Value::Unknown, |(_, value, _)| value.clone()),
            _ => Value::Unknown,
        }
    }

    /// Notes that a label is asked for; its text stands as `${variable.label}` in templates.
    pub(super) fn label(&mut self, receiver: &Value, label: &str, required: bool, place: Place) -> Value {
        let series = receiver.series().cloned();
        let owner = self.scope.iter().rev().find(|variable| variable.value == *receiver).map(|variable| variable.name.clone());
        if !self.survey.labels.iter().any(|known| known.place == place) {
            self.survey.labels.push(SurveyedLabel { series, label: label.to_owned(), required, place });
        }
        let text = format!("${{{}.{label}}}", owner.as_deref().unwrap_or("…"));
        Value::Text(Some(Template { text, is_exact: false }))
    }

    fn interpolated(&mut self, parts: &[Expr]) -> Value {
        let (mut text, mut is_exact) = (String::new(), true);
        for part in parts {
            match self.expression(part) {
                Value::Text(Some(template)) => {
                    text.push_str(&template.text);
                    is_exact &= template.is_exact;
                }
                // Floats are written otherwise by the engine where they are whole; it is a number for people either way.
                Value::Number(Some(number)) => text.push_str(&number.to_string()),
                _ => {
                    text.push_str("${…}");
                    is_exact = false;
                }
            }
        }
        Value::Text(Some(Template { text, is_exact }))
    }

    fn call(&mut self, call: &FnCallExpr, position: Position) -> Value {
        self.invoke(call, position, None)
    }

    fn invoke(&mut self, call: &FnCallExpr, position: Position, receiver: Option<(Value, Place)>) -> Value {
        let name = call.name.as_str();
        let is_method = receiver.is_some();
        let mut given: Vec<Given> = receiver.into_iter().collect();
        for argument in &call.args {
            let value = self.expression(argument);
            given.push((value, self.place(argument.start_position())));
        }
        let place = self.place(position);
        if !self.survey.calls.iter().any(|known| known.place == place && known.name == name) {
            let args = given.iter().map(|(value, place)| value.surveyed(*place)).collect();
            let is_operator = call.is_operator_call();
            self.survey.calls.push(SurveyedCall { name: name.to_owned(), args, is_method, is_operator, place });
        }
        let own = (!is_method).then(|| self.script.function(name, given.len())).flatten();
        if let Some(function) = own {
            return self.enter(function, given.into_iter().map(|(value, _)| value).collect());
        }
        let is_set = call.args.iter().any(mentions_param);
        match self.apply(name, given, place) {
            // The configuration may set it otherwise: a switch is no constant.
            Value::Truth(Condition::Constant(_)) if is_set => Value::Truth(Condition::Other),
            value => value,
        }
    }

    /// Notes a read.
    pub(super) fn read(&mut self, series: &SurveyedSeries, operation: &str, window: Option<homeostat_model::Span>, place: Place) -> Read {
        let read = SurveyedRead {
            metric: series.metric.clone(),
            selector: series.selector.clone(),
            is_target: series.is_target,
            operation: operation.to_owned(),
            window,
            place,
        };
        if !self.survey.reads.contains(&read) {
            self.survey.reads.push(read);
        }
        Read { series: series.clone(), operation: operation.to_owned(), window, linear: Some((1.0, 0.0)), is_plain: false }
    }

    /// Notes a comparison; gives its number.
    pub(super) fn compared(&mut self, comparison: SurveyedComparison) -> usize {
        let known = self.survey.comparisons.iter().position(|c| c.place == comparison.place && c.selector == comparison.selector);
        known.unwrap_or_else(|| {
            self.survey.comparisons.push(comparison);
            self.survey.comparisons.len() - 1
        })
    }

    /// A reading on the left of a relation with a number on the right.
    pub(super) fn compare(&mut self, read: &Read, relation: SurveyedRelation, number: Option<f64>, places: (Place, Place)) -> Value {
        let (threshold, relation) = match (read.linear, number) {
            (Some((a, b)), Some(number)) if a != 0.0 => (Some((number - b) / a), if a < 0.0 { relation.mirrored() } else { relation }),
            _ => (None, relation),
        };
        let comparison = SurveyedComparison {
            metric: read.series.metric.clone(),
            selector: read.series.selector.clone(),
            is_target: read.series.is_target,
            operation: read.operation.clone(),
            window: read.window,
            relation,
            threshold,
            held: None,
            threshold_place: places.1,
            place: places.0,
        };
        Value::Truth(Condition::Compared(self.compared(comparison)))
    }

    pub(super) fn kind_of(given: &[Given], at: usize) -> Kind {
        given.get(at).map_or(Kind::Unknown, |(value, _)| value.kind())
    }
}

/// A series from its selector's text.
pub(super) fn series_of(text: Option<&str>) -> SurveyedSeries {
    let metric = text.and_then(|text| {
        let head: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == ':').collect();
        let rest = text[head.len()..].trim_start();
        let ends = rest.is_empty() || rest.starts_with('{');
        if ends && !head.is_empty() {
            return Some(head);
        }
        Selector::parse(text).ok().and_then(|selector| selector.metric().map(str::to_owned))
    });
    SurveyedSeries { metric, selector: text.map(str::to_owned), is_target: false }
}

/// Whether an expression asks for a parameter.
fn mentions_param(expression: &Expr) -> bool {
    let mut found = false;
    expression.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, _))) = path.last() {
            found |= call.name.as_str() == "param";
        }
        !found
    });
    found
}

/// Whether nothing after this statement is reached.
fn ends(statement: &Stmt) -> bool {
    match statement {
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        Stmt::If(flow, _) => !flow.branch.is_empty() && block_ends(&flow.body) && block_ends(&flow.branch),
        Stmt::Block(block) => block_ends(block),
        _ => false,
    }
}

fn block_ends(block: &StmtBlock) -> bool {
    block.statements().iter().any(ends)
}
