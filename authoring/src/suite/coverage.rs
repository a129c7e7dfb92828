//! Which branches of a policy its tests take: a second run of the same tests, by a kernel that was told to record them.
//!
//! The verdicts are those of the first run, which knows nothing of this; where the second one says otherwise, that is an error. An
//! editor breaks this by taking a verdict from the instrumented run.

use homeostat_kernel::policy::{Branch, BranchKind};
use serde::Serialize;
use std::fmt::Write as _;

/// A policy's branches and how often its tests took them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// All of them, in the order of the text.
    pub branches: Vec<Branch>,
}

impl Coverage {
    /// Adds what another test of the same policy took.
    pub(super) fn add(&mut self, branches: Vec<Branch>) {
        if self.branches.is_empty() {
            self.branches = branches;
            return;
        }
        // The same text gives the same branches, whatever the parameters.
        for (sum, more) in self.branches.iter_mut().zip(branches) {
            sum.taken += more.taken;
        }
    }

    /// Branches that were taken.
    pub fn taken(&self) -> usize {
        self.branches.iter().filter(|branch| branch.taken > 0).count()
    }

    /// The share that was taken, 0 to 100; 100 where there is none.
    pub fn percent(&self) -> f64 {
        if self.branches.is_empty() { 100.0 } else { self.taken() as f64 * 100.0 / self.branches.len() as f64 }
    }

    /// The branches that no test takes.
    pub fn missed(&self) -> impl Iterator<Item = &Branch> {
        self.branches.iter().filter(|branch| branch.taken == 0)
    }

    /// The lines at which branches begin that no test takes, each once, ascending.
    pub fn lines_missed(&self) -> Vec<usize> {
        let lines: std::collections::BTreeSet<usize> = self.missed().map(|branch| branch.line).collect();
        lines.into_iter().collect()
    }

    /// As people read it: the share, and each missed branch in words.
    pub fn text(&self, policy: &str) -> String {
        let mut text = format!("{policy}: {} of {} branches, {:.1} %\n", self.taken(), self.branches.len(), self.percent());
        for branch in self.missed() {
            let to = if branch.end_line > branch.line { format!("-{}", branch.end_line) } else { String::new() };
            let _ = writeln!(text, "  never reached: line {}{to}, {}", branch.line, words(branch.kind));
        }
        text
    }
}

fn words(kind: BranchKind) -> &'static str {
    match kind {
        BranchKind::Function => "the function is not called",
        BranchKind::Then => "the condition never holds",
        BranchKind::Else => "the condition always holds",
        BranchKind::Case => "the case never comes",
        BranchKind::Loop => "the loop has nothing to go through",
        BranchKind::Catch => "nothing is caught",
        BranchKind::Right => "the right side is never looked at",
    }
}
