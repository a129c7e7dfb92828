//! Whether a backtest over a recorded run wished what the run itself wished: line by line, byte by byte.
//!
//! A line is the first wish of one action with its moment: proposals hold no numbers of actions, so two runs can be compared.
//! Deliberately absent: rulings; a backtest of one policy alone has fewer rivals for locks and budgets. An editor breaks this by
//! leaving a field of the proposal out.

use homeostat_kernel::ledger::symptom_of;
use homeostat_model::{Entry, EntryBody, Origin, PolicyId, Proposal, Record, Time};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Lines that are equal, from the first on.
    pub equal: usize,
    /// Lines of the recorded run.
    pub recorded: usize,
    /// Lines of the backtest.
    pub backtest: usize,
    /// The first place where they differ: the recorded line and the backtest's; `None` in a pair: there is none.
    pub first_difference: Option<(Option<String>, Option<String>)>,
}

/// One wish and its moment, as JSON.
pub fn line(at: Time, proposal: &Proposal) -> String {
    serde_json::to_string(&(at, proposal)).unwrap_or_else(|error| format!("unwritable: {error}"))
}

/// The lines of a recorded run for these policies: the first wish of every action from `from` to `to`.
pub fn recorded_lines<'a>(entries: impl IntoIterator<Item = &'a Entry>, policies: &[PolicyId], from: Time, to: Time) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for entry in entries {
        if let EntryBody::Effect(Record::Ruled { action, proposal, .. }) = &entry.body {
            let ours = policies.iter().any(|policy| policy.as_str() == symptom_of(proposal).0);
            let step = matches!(proposal.origin, Origin::Playbook { .. });
            if ours && !step && entry.at >= from && entry.at <= to && seen.insert(*action) {
                lines.push(line(entry.at, proposal));
            }
        }
    }
    lines
}

/// Compares a recorded run's lines with a backtest's.
pub fn compare(recorded: &[String], backtest: &[String]) -> Comparison {
    let equal = recorded.iter().zip(backtest).take_while(|(a, b)| a == b).count();
    let differs = equal < recorded.len() || equal < backtest.len();
    Comparison {
        equal,
        recorded: recorded.len(),
        backtest: backtest.len(),
        first_difference: differs.then(|| (recorded.get(equal).cloned(), backtest.get(equal).cloned())),
    }
}
