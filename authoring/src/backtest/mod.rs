//! Backtest: what a policy would have done in the past, told by the production kernel over history.
//!
//! `runner` feeds the kernel, `book` writes down what it says, `trace` keeps thin curves for the plot, `diff` compares two versions,
//! `same` compares a backtest with the run that was recorded, `report` draws. **Nothing acts.** What the kernel would have sent is
//! answered by the recording where that did the very same at that moment, else by an *assumed* "done"; the history does not react to
//! an assumed answer. So everything after the first assumed answer is *counterfactual*, and every such figure is labelled with that
//! word. Deliberately absent: a second rule path, and IO (whoever calls hands in the history). An editor breaks this by counting an
//! assumed answer as a fact.

mod book;
mod diff;
mod needs;
pub mod report;
mod runner;
mod same;
mod trace;

#[cfg(test)]
mod tests;

pub use book::{Answer, Firing, Hold, Judged, Sent, Stretch};
pub use diff::{Diff, Pair, diff};
pub use needs::Needs;
pub use runner::{Question, Runner};
pub use same::{Comparison, compare, line, recorded_lines};
pub use trace::{Curve, Point, Threshold};

use homeostat_model::{Class, Span, Time};
use serde::Serialize;
use std::collections::BTreeMap;

/// What stands beside every counterfactual figure.
pub const COUNTERFACTUAL: &str =
    "counterfactual: nothing was sent; every would-be action counts as done at once, and the history does not react to it";

/// What a backtest found.
#[derive(Clone, Debug, Serialize)]
pub struct Backtest {
    /// Which version: a path, as people know it.
    pub version: String,
    /// The policies that are looked at.
    pub policies: Vec<String>,
    /// The first moment that counts.
    pub from: Time,
    /// The last one.
    pub to: Time,
    /// Every firing, in order of time.
    pub firings: Vec<Firing>,
    /// From here on what is said is counterfactual: the first answer that was assumed. `None`: all of it is as the history was.
    pub counterfactual_from: Option<Time>,
    /// What guards held, by guard: how many firings, for how long in all.
    pub guards: BTreeMap<String, Held>,
    /// What was wished and sent, by verb.
    pub verbs: BTreeMap<String, Tally>,
    /// Claims of what would have been sent, by what the history says of them. Counterfactual.
    pub claims: Claims,
    /// To and fro: opposite actions on one target within a day of one another.
    pub reversals: u64,
    /// The same per day.
    pub reversals_per_day: f64,
    /// Symptoms that came back within an hour of their end, per day.
    pub returns_per_day: f64,
    /// Times a policy was looked at for a target (all loaded policies).
    pub evaluations: u64,
    /// Of these, those that ended undetermined.
    pub undetermined: u64,
    /// `undetermined / evaluations`, 0 without evaluations.
    pub undetermined_share: f64,
    /// When which target could not be told, or failed.
    pub stretches: Vec<Stretch>,
    /// Reads and their samples that were taken in.
    pub observations: u64,
    /// Samples that were taken in.
    pub samples: u64,
    /// Thin curves of what the policies read.
    pub curves: Vec<Curve>,
    /// What limits the answer.
    pub notes: Vec<String>,
    /// The first wish of every action of the policies, as [`line`] writes it; not part of the answer in JSON.
    #[serde(skip)]
    pub lines: Vec<String>,
}

/// What one guard held.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Held {
    /// How many firings.
    pub firings: u64,
    /// For how long, summed.
    pub held: Span,
}

/// What was wished with one verb.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Its class; `None` where no actuator knows it.
    pub class: Option<Class>,
    /// Firings that wished it.
    pub firings: u64,
    /// How often it would have been sent. Counterfactual.
    pub sent: u64,
    /// Of these, how often the recorded run did it, too.
    pub recorded: u64,
    /// Interruption by what would have been sent, in minutes. Counterfactual.
    pub disruption_minutes: f64,
    /// Energy for what would have been sent, in joules. Counterfactual.
    pub energy_joules: f64,
    /// Interruption if every firing had been let through once, in minutes. Counterfactual.
    pub disruption_if_allowed_minutes: f64,
}

/// Claims by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Claims {
    /// Came true after an assumed answer: by itself, nothing was done. Counterfactual.
    pub came_true_anyway: u64,
    /// Did not come true after an assumed answer. Counterfactual.
    pub did_not: u64,
    /// Nobody could see.
    pub undetermined: u64,
    /// Of actions that the recorded run did, too: came true, in fact.
    pub came_true_recorded: u64,
    /// The same: did not.
    pub did_not_recorded: u64,
}

impl Backtest {
    /// How long the looked-at time is, in days.
    pub fn days(&self) -> f64 {
        self.to.since(self.from).seconds() / 86_400.0
    }

    /// How many firings there are of one symptom.
    pub fn firings_of<'a>(&'a self, symptom: &'a str) -> impl Iterator<Item = &'a Firing> {
        self.firings.iter().filter(move |firing| firing.symptom == symptom)
    }
}
