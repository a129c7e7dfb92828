//! Policy errors as rustc shows them: what, where, the line with a caret, and the nearest right thing.

use std::fmt;

/// One problem in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file.
    pub path: String,
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The line's text.
    pub source_line: String,
}

impl PolicyError {
    /// A problem at a place in `text`.
    pub(super) fn at(path: &str, text: &str, position: rhai::Position, message: impl Into<String>) -> PolicyError {
        let line = position.line().unwrap_or(0);
        PolicyError {
            path: path.into(),
            line,
            column: position.position().unwrap_or(1),
            message: message.into(),
            help: None,
            source_line: line.checked_sub(1).and_then(|n| text.lines().nth(n)).unwrap_or_default().to_owned(),
        }
    }

    /// The same with a help line.
    pub(super) fn help(mut self, help: Option<String>) -> PolicyError {
        self.help = help;
        self
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.line == 0 {
            write!(f, "\n  --> {}", self.path)?;
        } else {
            let gutter = " ".repeat(self.line.to_string().len());
            write!(f, "\n {gutter}--> {}:{}:{}", self.path, self.line, self.column)?;
            write!(f, "\n {gutter} |\n {} | {}\n {gutter} | {}^", self.line, self.source_line, " ".repeat(self.column.saturating_sub(1)))?;
        }
        match &self.help {
            Some(help) => write!(f, "\n   = help: {help}"),
            None => Ok(()),
        }
    }
}

/// The nearest of the known names, if one is near enough to be a slip of the finger.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.into_iter().map(|k| (strsim::damerau_levenshtein(name, k), k)).min()?;
    (best.0 <= 1 + name.len() / 4).then_some(best.1)
}

/// "did you mean" for a name, if there is one.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}
