//! A policy's text, parsed and not optimised: its functions, their statements, and the places of words.

use super::Place;
use crate::policy::PolicyError;
use rhai::{AST, ASTNode, Engine, OptimizationLevel, Position, Stmt};

/// A function of the script.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) params: Vec<String>,
    pub(super) body: Vec<Stmt>,
    start: Position,
    end: Position,
}

impl Function {
    pub(super) fn start(&self) -> Position {
        self.start
    }
}

/// A parsed policy.
pub(super) struct Script {
    pub(super) functions: Vec<Function>,
}

impl Script {
    pub(super) fn parse(path: &str, text: &str) -> Result<Script, PolicyError> {
        let mut engine = Engine::new_raw();
        engine.set_max_expr_depths(64, 32);
        engine.set_optimization_level(OptimizationLevel::None);
        let ast = engine.compile(text).map_err(|error| crate::policy::load::syntax_error(path, text, &error))?;
        Ok(Script { functions: functions(&ast) })
    }

    pub(super) fn function(&self, name: &str, params: usize) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name && function.params.len() == params)
    }
}

/// The functions in the order of the text. A statement belongs to the innermost body that it stands in: a closure's are not its
/// surrounding function's.
fn functions(ast: &AST) -> Vec<Function> {
    let mut functions: Vec<Function> = ast
        .iter_fn_def()
        .map(|def| Function {
            name: def.name.to_string(),
            params: def.params.iter().map(ToString::to_string).collect(),
            body: Vec::new(),
            start: def.body.start_position(),
            end: def.body.end_position(),
        })
        .collect();
    functions.sort_by_key(|function| at(function.start));
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(statement)] = path {
            let here = at(statement.position());
            let around = functions.iter_mut().filter(|f| at(f.start) <= here && here <= at(f.end)).max_by_key(|f| at(f.start));
            if let Some(function) = around {
                function.body.push((*statement).clone());
            }
        }
        true
    });
    functions
}

fn at(position: Position) -> (usize, usize) {
    (position.line().unwrap_or(0), position.position().unwrap_or(0))
}

/// Finds how long the word, text, number or operator at a position is.
pub(super) struct Places<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Places<'a> {
        Places { lines: text.lines().collect() }
    }

    pub(super) fn at(&self, position: Position) -> Place {
        let (line, column) = at(position);
        if line == 0 {
            return Place::default();
        }
        let column = column.max(1);
        let rest: Vec<char> = self.lines.get(line - 1).map_or_else(Vec::new, |text| text.chars().skip(column - 1).collect());
        Place { line, column, len: word_len(&rest) }
    }
}

/// The length of what begins here, at least 1.
pub fn word_len(rest: &[char]) -> usize {
    let run = |keep: &dyn Fn(char) -> bool| rest.iter().take_while(|c| keep(**c)).count();
    let len = match rest.first() {
        Some(quote @ ('"' | '`' | '\'')) => {
            let mut escaped = false;
            let end = rest.iter().skip(1).position(|c| {
                let ends = c == quote && !escaped;
                escaped = *c == '\\' && !escaped && *quote != '`';
                ends
            });
            end.map_or(1, |end| end + 2)
        }
        Some(c) if c.is_ascii_digit() => run(&|c| c.is_ascii_alphanumeric() || c == '.' || c == '_'),
        Some(c) if c.is_alphabetic() || *c == '_' => run(&|c| c.is_alphanumeric() || c == '_'),
        Some(_) => run(&|c| "<>=!&|+-*/%".contains(c)),
        None => 1,
    };
    len.max(1)
}
