//! Which branches of a policy were taken: for the people who write its tests.
//!
//! Rhai can tell only with its `debugging` feature, which costs every evaluation of every build. Instead, a host that was told to
//! (`Host::record_branches`, only by those who run tests) runs a copy of the script in which each branch says that it was reached.
//! Nothing else in it differs: `{` becomes `{ reached(n);`, an `if` without `else` gets one that does nothing, and what stands right of
//! `&&`, `||`, `??` or a `=>` becomes `reached(n) ?? …`, which is the same value. Line numbers stay; columns in messages move.
//!
//! Deliberately absent: branches inside of native functions, and the outcome of each comparison alone. An editor breaks this by
//! inserting something that changes a value, or by instrumenting a host that acts.

use super::host::Host;
use rhai::{AST, ASTNode, Engine, Expr, INT, Position, Stmt, StmtBlock};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the instrumented script calls.
const REACHED: &str = "__reached";

/// What kind of branch.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BranchKind {
    /// A function was called.
    Function,
    /// The condition of an `if` held.
    Then,
    /// It did not.
    Else,
    /// A case of a `switch`.
    Case,
    /// The body of a loop was entered.
    Loop,
    /// A `catch` was entered.
    Catch,
    /// What stands right of `&&`, `||` or `??` was looked at.
    Right,
}

/// A branch of a policy and how often it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// What kind.
    pub kind: BranchKind,
    /// Where it begins: the line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The last line that belongs to it.
    pub end_line: usize,
    /// How often it was taken.
    pub taken: u64,
}

/// How often each branch was taken, by number, of all policies of a host.
pub(super) type Taken = Arc<Mutex<Vec<u64>>>;

impl Host {
    /// From now on policies are compiled with their branches instrumented. Never for a host that acts.
    pub fn record_branches(&mut self) {
        let taken = Taken::default();
        let counts = Arc::clone(&taken);
        self.engine.register_fn(REACHED, move |number: INT| {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = usize::try_from(number).ok().and_then(|number| counts.get_mut(number)) {
                *count += 1;
            }
        });
        self.taken = Some(taken);
    }

    /// A script's copy with its branches instrumented, and these; nothing where branches are not recorded, or where the copy cannot be
    /// made.
    pub(super) fn instrumented(&self, ast: &AST, text: &str) -> Option<(AST, Vec<Numbered>)> {
        let taken = self.taken.as_ref()?;
        let mut counts = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (copy, branches) = instrument(&self.engine, ast, text, counts.len())?;
        let len = counts.len() + branches.len();
        counts.resize(len, 0);
        Some((copy, branches))
    }

    /// The branches of a policy, in the order of the text.
    pub fn branches(&self, policy: &super::Policy) -> Vec<Branch> {
        let Some(taken) = self.taken.as_ref() else { return Vec::new() };
        let counts = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |number: usize| counts.get(number).copied().unwrap_or(0);
        policy.branches.iter().map(|(number, branch)| Branch { taken: count(*number), ..branch.clone() }).collect()
    }
}

/// A branch with its number in [`Taken`].
pub(super) type Numbered = (usize, Branch);

/// An insertion: where (byte offset), what, and the branch that it tells of.
struct Mark {
    offset: usize,
    before: String,
    after: String,
    branch: Branch,
}

fn instrument(engine: &Engine, ast: &AST, text: &str, first: usize) -> Option<(AST, Vec<Numbered>)> {
    let mut finder = Finder { text, starts: line_starts(text), marks: BTreeMap::new() };
    let mut loading = None;
    for (.., function) in ast.shared_lib().iter_script_fn_info() {
        let (from, to) = (function.body.start_position(), function.body.end_position());
        if function.name == "policy" && function.params.is_empty() {
            loading = Some((from, to));
        } else {
            finder.block(BranchKind::Function, from, to);
        }
    }
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(stmt)) => finder.statement(stmt),
            Some(ASTNode::Expr(expr)) => finder.expression(expr),
            _ => {}
        }
        true
    });
    if let Some((from, to)) = loading.and_then(|(from, to)| Some((finder.offset(from)?, finder.offset(to)?))) {
        // `policy()` is read once, before anything is recorded.
        finder.marks.retain(|(offset, _), _| *offset < from || *offset > to);
    }
    let mut marks: Vec<Mark> = finder.marks.into_values().collect();
    marks.sort_by_key(|mark| (mark.branch.line, mark.branch.column, mark.branch.kind));
    let branches = marks.iter().enumerate().map(|(number, mark)| (first + number, mark.branch.clone())).collect();
    let mut inserts: Vec<(usize, String)> = marks
        .iter()
        .enumerate()
        .map(|(number, mark)| (mark.offset, format!("{}{REACHED}({}){}", mark.before, first + number, mark.after)))
        .collect();
    inserts.sort_by_key(|(offset, _)| *offset);
    let mut copy = String::with_capacity(text.len() * 2);
    let mut at = 0;
    for (offset, insert) in inserts {
        copy.push_str(text.get(at..offset)?);
        copy.push_str(&insert);
        at = offset;
    }
    copy.push_str(text.get(at..)?);
    Some((engine.compile(copy).ok()?, branches))
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

struct Finder<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// By offset and kind: the walk may come to a place more than once.
    marks: BTreeMap<(usize, BranchKind), Mark>,
}

impl Finder<'_> {
    /// The byte offset of a place; Rhai counts lines and characters from 1.
    fn offset(&self, position: Position) -> Option<usize> {
        let start = *self.starts.get(position.line()?.checked_sub(1)?)?;
        let line = self.text[start..].lines().next().unwrap_or_default();
        let column = position.position()?.checked_sub(1)?;
        line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(column).map(|at| start + at)
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let row = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        (row + 1, self.text[self.starts[row]..offset].chars().count() + 1)
    }

    fn mark(&mut self, kind: BranchKind, told: usize, end: usize, offset: usize, (before, after): (&str, &str)) {
        let ((line, column), (end_line, _)) = (self.place(told), self.place(end));
        let branch = Branch { kind, line, column, end_line, taken: 0 };
        self.marks.entry((offset, kind)).or_insert(Mark { offset, before: before.into(), after: after.into(), branch });
    }

    /// A block in braces.
    fn block(&mut self, kind: BranchKind, from: Position, to: Position) -> Option<()> {
        let (from, to) = (self.offset(from)?, self.offset(to)?);
        if !self.text[from..].starts_with('{') {
            return None;
        }
        self.mark(kind, from, to, from + 1, (" ", ";"));
        Some(())
    }

    fn body(&mut self, kind: BranchKind, block: &StmtBlock) {
        self.block(kind, block.position(), block.end_position());
    }

    fn statement(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::If(flow, at) => {
                self.body(BranchKind::Then, &flow.body);
                if self.otherwise(&flow.body, *at).is_none() {
                    self.body(BranchKind::Else, &flow.branch);
                }
            }
            Stmt::Switch(switch, _) => {
                let (_, cases) = &**switch;
                for case in &cases.expressions {
                    self.case(&case.rhs);
                }
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => self.body(BranchKind::Loop, &flow.body),
            Stmt::For(each, _) => self.body(BranchKind::Loop, &each.2.body),
            Stmt::TryCatch(flow, _) => self.body(BranchKind::Catch, &flow.branch),
            _ => {}
        }
    }

    /// The other way of an `if` without `else`: after its block; nothing where it has one.
    fn otherwise(&mut self, body: &StmtBlock, at: Position) -> Option<()> {
        let (told, end) = (self.offset(at)?, self.offset(body.end_position())?);
        let after = self.text[end..].strip_prefix('}')?;
        if spaces_and_comments(after).starts_with("else") {
            return None;
        }
        self.mark(BranchKind::Else, told, told, end + 1, (" else { ", "; }"));
        Some(())
    }

    fn case(&mut self, expr: &Expr) -> Option<()> {
        let block = match expr {
            Expr::Stmt(block) => Some(block),
            _ => None,
        };
        if let Some(block) = block
            && self.block(BranchKind::Case, block.position(), block.end_position()).is_some()
        {
            return Some(());
        }
        let from = self.offset(block.map_or_else(|| leftmost(expr), |block| block.position()))?;
        let arrow = self.text[..from].rfind("=>")? + 2;
        let between = &self.text[arrow..from];
        if between.trim() == "{" {
            // A block that the engine has made into its only value.
            let brace = arrow + between.find('{')? + 1;
            self.mark(BranchKind::Case, from, from, brace, (" ", ";"));
            return Some(());
        }
        if !between.chars().all(|c| c.is_whitespace() || matches!(c, '(' | '!' | '-' | '+')) {
            return None;
        }
        // A statement without braces (`=> return`) has no value that could stand right of `??`.
        if block.is_none() {
            self.mark(BranchKind::Case, from, from, arrow, (" ", " ??"));
        }
        Some(())
    }

    fn expression(&mut self, expr: &Expr) {
        let (operands, sign) = match expr {
            Expr::And(operands, _) => (operands, "&&"),
            Expr::Or(operands, _) => (operands, "||"),
            Expr::Coalesce(operands, _) => (operands, "??"),
            _ => return,
        };
        for operand in operands.iter().skip(1) {
            self.right(operand, sign);
        }
    }

    fn right(&mut self, operand: &Expr, sign: &str) -> Option<()> {
        let from = self.offset(leftmost(operand))?;
        let after = self.text[..from].rfind(sign)? + sign.len();
        let between = &self.text[after..from];
        if between.chars().all(|c| c.is_whitespace() || matches!(c, '(' | '!' | '-' | '+')) {
            self.mark(BranchKind::Right, from, from, after, (" ", " ??"));
        }
        Some(())
    }
}

/// Where an expression begins; Rhai gives operators the place of their sign.
fn leftmost(expr: &Expr) -> Position {
    match expr {
        Expr::And(x, _) | Expr::Or(x, _) | Expr::Coalesce(x, _) => x.first().map_or_else(|| expr.position(), leftmost),
        Expr::Dot(x, ..) | Expr::Index(x, ..) => leftmost(&x.lhs),
        Expr::FnCall(call, at) if call.op_token.is_some() => call.args.first().map_or(*at, leftmost),
        _ => expr.start_position(),
    }
}

/// What follows spaces and comments.
fn spaces_and_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix("//") {
            text = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(rest) = text.strip_prefix("/*") {
            text = rest.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            return text;
        }
    }
}
