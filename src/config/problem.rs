//! What is wrong with a configuration, shown as rustc shows it: file, line, column, the line itself, a caret.
//!
//! Deliberately absent: reading files. Colours are left to the terminal's side.

use super::tree::Node;
use std::fmt;
use std::path::{Path, PathBuf};

/// More than these are only counted.
const PROBLEMS_MAX: usize = 30;
/// A longer line is shown around the place only.
const LINE_CHARS_MAX: usize = 120;

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 where the problem is the file itself.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What was seen, what was expected, the nearest right thing.
    pub message: String,
}

impl Problem {
    pub(super) fn at(node: &Node, message: impl Into<String>) -> Problem {
        Problem { line: node.line, column: node.column, message: message.into() }
    }
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The problems, in the order of the file.
    pub problems: Vec<Problem>,
    /// Problems beyond the limit, counted only.
    pub left_out: usize,
    shown: Vec<String>,
}

impl ConfigError {
    /// `secrets` are the literal credentials of the file ([`Node::credentials`]); `None` where the file could not be read as a tree:
    /// then no value of a shown line is shown.
    pub(super) fn new(path: &Path, text: &str, mut problems: Vec<Problem>, secrets: Option<&[String]>) -> ConfigError {
        for problem in &mut problems {
            problem.message = hidden(&problem.message, secrets.unwrap_or_default());
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.dedup();
        let left_out = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        let lines: Vec<&str> = text.lines().collect();
        let shown = problems.iter().map(|problem| show(path, &lines, problem, secrets)).collect();
        ConfigError { path: path.to_owned(), problems, left_out, shown }
    }

    pub(super) fn of_file(path: &Path, message: String) -> ConfigError {
        let shown = vec![format!("error: {} {message}", path.display())];
        let problems = vec![Problem { line: 0, column: 0, message }];
        ConfigError { path: path.to_owned(), problems, left_out: 0, shown }
    }
}

fn show(path: &Path, lines: &[&str], problem: &Problem, secrets: Option<&[String]>) -> String {
    let Problem { line, column, message } = problem;
    let head = format!("error: {message}\n  --> {}:{line}:{column}", path.display());
    let Some(text) = usize::try_from(*line).ok().and_then(|line| lines.get(line.checked_sub(1)?)) else { return head };
    let column = usize::try_from(*column).unwrap_or(1).max(1) - 1;
    let cut = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
    let (before, after) = match secrets {
        // A secret across the caret would be in neither part: the caret never stands inside a value.
        Some(secrets) => (hidden(&text[..cut], secrets), hidden(&text[cut..], secrets)),
        None => without_value(text, cut),
    };
    let skipped = before.chars().count().saturating_sub(LINE_CHARS_MAX - 40);
    let before: String = before.chars().skip(skipped).collect();
    let after: String = after.chars().take(LINE_CHARS_MAX - before.chars().count()).collect();
    let (number, margin, indent) = (line.to_string(), " ".repeat(line.to_string().len()), " ".repeat(before.chars().count()));
    format!("{head}\n{margin} |\n{number} | {before}{after}\n{margin} | {indent}^")
}

/// Terminals and logs keep what they are shown.
fn hidden(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
}

/// A line up to its first colon.
fn without_value(text: &str, cut: usize) -> (String, String) {
    let end = text.find(": ").map_or(text.len(), |colon| colon + 2);
    let rest = if end < text.len() { "…" } else { "" };
    if cut < end {
        (text[..cut].to_owned(), format!("{}{rest}", &text[cut..end]))
    } else {
        (format!("{}{rest}", &text[..end]), String::new())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.join("\n\n"))?;
        if self.left_out > 0 {
            write!(f, "\n\nand {} more problems", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
