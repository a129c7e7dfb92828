//! What hangs on what: a graph of targets, built from written links and from series of the store, with owners and health.
//!
//! [`Source`] holds the compiled settings and keeps the newest graph; [`World`] is what a ruling sees, and builds the graph only when
//! a guard asks. The graph is a function of settings, windows and moment, so a replay builds the same. Deliberately absent: asking
//! anybody, and state. An editor breaks this by keeping a graph over an event (a value may have changed under it), or by letting a
//! gap in the data look like "nothing hangs on it" without [`Topology::doubt`] saying so.

mod build;
mod fall;
mod pattern;
#[cfg(test)]
mod tests;

pub use build::Source;
pub use fall::{Fall, Left};
pub use pattern::{Template, matches};

use crate::store::{Read, Selector, SeriesRef, Store};
use homeostat_model::{Edge, Quorum, Target, Time};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything that speaks of it says so, now.
    Healthy,
    /// Something says that it is not.
    Unhealthy,
    /// Nobody says anything, or not now.
    Unknown,
}

/// Who else steers a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The target; may hold `*`.
    pub target: String,
    /// The verbs that write the field.
    pub verbs: Vec<String>,
    /// The field.
    pub field: String,
    /// Who.
    pub owner: String,
    /// What to do instead.
    pub instead: String,
}

/// The graph. An arrow goes from what hangs to what it hangs on.
#[derive(Debug, Default)]
pub struct Topology {
    graph: DiGraph<Target, Edge>,
    numbers: BTreeMap<Target, NodeIndex>,
    owners: Vec<Owner>,
    health: BTreeMap<Target, Health>,
    quorums: Vec<Quorum>,
    cycles: Vec<Vec<Target>>,
    left_out: u64,
    stale: u64,
    broken: Vec<String>,
}

impl Topology {
    /// All targets, in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.numbers.keys()
    }
    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }
    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
    /// All links: what hangs, how, on what.
    pub fn links(&self) -> impl Iterator<Item = (&Target, Edge, &Target)> {
        self.graph
            .edge_indices()
            .filter_map(|edge| self.graph.edge_endpoints(edge).map(|(from, to)| (&self.graph[from], self.graph[edge], &self.graph[to])))
    }
    /// Whether a target is known.
    pub fn contains(&self, target: &Target) -> bool {
        self.numbers.contains_key(target)
    }
    /// How a target stands.
    pub fn health(&self, target: &Target) -> Health {
        self.health.get(target).cloned().unwrap_or(Health::Unknown)
    }
    /// Who else steers what.
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }
    /// Members of which a number must be up.
    pub fn quorums(&self) -> &[Quorum] {
        &self.quorums
    }
    /// Rings: targets that hang on each other. Allowed, because reality has them; shown, because a start from nothing cannot work.
    pub fn cycles(&self) -> &[Vec<Target>] {
        &self.cycles
    }
    /// Links from series that are stale: counted as links, because what was there a while ago may be there still.
    pub fn stale(&self) -> u64 {
        self.stale
    }
    /// Why "nothing hangs on it" may be wrong: something was left out for a limit, or a rule is broken.
    pub fn doubt(&self) -> Option<String> {
        if let Some(broken) = self.broken.first() {
            return Some(broken.clone());
        }
        (self.left_out > 0)
            .then(|| format!("{} links were left out of the topology: `targets_max` or `links_max` is reached", self.left_out))
    }

    /// Everything that hangs on a target, directly or not; without the target.
    pub fn below(&self, target: &Target) -> BTreeSet<Target> {
        self.reach(target, Direction::Incoming)
    }

    /// Everything that a target hangs on, directly or not; without the target.
    pub fn above(&self, target: &Target) -> BTreeSet<Target> {
        self.reach(target, Direction::Outgoing)
    }

    fn reach(&self, target: &Target, direction: Direction) -> BTreeSet<Target> {
        let Some(start) = self.numbers.get(target) else { return BTreeSet::new() };
        let (mut seen, mut open) = (BTreeSet::from([*start]), vec![*start]);
        while let Some(node) = open.pop() {
            for next in self.graph.neighbors_directed(node, direction) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.remove(start);
        seen.into_iter().map(|node| self.graph[node].clone()).collect()
    }
}

/// What the guards see of the world at one ruling: the windows, and the graph when they ask for it.
pub struct World<'a> {
    now: Time,
    epoch: u64,
    store: &'a Store,
    source: &'a Source,
    topology: OnceCell<Arc<Topology>>,
}

impl<'a> World<'a> {
    /// The world at `now`; `epoch` changes with every event.
    pub fn new(source: &'a Source, store: &'a Store, now: Time, epoch: u64) -> World<'a> {
        World { now, epoch, store, source, topology: OnceCell::new() }
    }

    /// The graph.
    pub fn topology(&self) -> &Topology {
        self.topology.get_or_init(|| self.source.topology(self.store, self.now, self.epoch))
    }

    /// The series that a selector names, with their newest samples, in order of their keys.
    ///
    /// # Errors
    /// The selector cannot be read.
    pub fn read(&self, selector: &str) -> Result<Vec<(SeriesRef, Read)>, String> {
        let selector = Selector::parse(selector).map_err(|error| error.to_string())?;
        Ok(self.store.select(&selector).into_iter().map(|series| (series, self.store.last(series, self.now))).collect())
    }

    /// The newest sample of one series, as it counts now.
    pub fn last(&self, key: &homeostat_model::SeriesKey) -> Option<Read> {
        self.store.find(key).map(|series| self.store.last(series, self.now))
    }

    /// When it is looked at.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The metric of a series.
    pub fn metric(&self, series: SeriesRef) -> Option<String> {
        self.store.key(series).map(|key| key.metric.to_string())
    }

    /// A text with labels in braces, for one series; `None` where a label is missing.
    pub fn name(&self, template: &Template, series: SeriesRef) -> Option<String> {
        template.fill(|label| self.store.label(series, label))
    }
}
