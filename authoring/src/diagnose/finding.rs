//! One thing that is wrong, or may be: where, what, what was expected, and what to do.

use homeostat_kernel::policy::survey::Place;
use serde::Serialize;

/// How bad it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot work.
    Error,
    /// It works, hardly as meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Another place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters.
    pub len: usize,
    /// What is there.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// A stable name of this kind of finding, in kebab case: `unknown-function`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: String,
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters.
    pub len: usize,
    /// What is wrong.
    pub message: String,
    /// What was expected there; shown under the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

impl Finding {
    /// A finding at a place.
    pub fn new(severity: Severity, code: &'static str, path: &str, place: Place, message: impl Into<String>) -> Finding {
        Finding {
            code,
            severity,
            path: path.to_owned(),
            line: place.line,
            column: place.column,
            len: place.len,
            message: message.into(),
            expected: None,
            help: None,
            labels: Vec::new(),
        }
    }

    /// An error at a place (`Place::default()`: the file as a whole).
    pub fn error(code: &'static str, path: &str, place: Place, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, code, path, place, message)
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, path: &str, place: Place, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, path, place, message)
    }

    /// A note at a place.
    pub fn note(code: &'static str, path: &str, place: Place, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, path, place, message)
    }

    /// With what was expected.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Finding {
        self.expected = Some(text.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Finding {
        self.help = Some(text.into());
        self
    }

    /// With what to do, where something is known.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Finding {
        self.help = text.or(self.help);
        self
    }

    /// With another place.
    #[must_use]
    pub fn label(mut self, place: Place, text: impl Into<String>) -> Finding {
        if place.line > 0 {
            self.labels.push(Label { line: place.line, column: place.column, len: place.len, text: text.into() });
        }
        self
    }
}
