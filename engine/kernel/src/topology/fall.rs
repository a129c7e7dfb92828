//! What goes down with what: all of `depends_on` is needed, and one of each other kind.

use super::{Health, Topology};
use homeostat_model::{Edge, Target};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use std::collections::{BTreeMap, BTreeSet};

/// How many supports of one kind are left to a target that still stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of which kind.
    pub edge: Edge,
    /// Before.
    pub before: usize,
    /// After.
    pub after: usize,
}

/// What follows from taking some targets down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fall {
    /// What goes down beyond what was down already, the targets themselves included.
    pub down: BTreeSet<Target>,
    /// What loses supports: with none left it is among `down`, otherwise it still stands.
    pub reduced: BTreeMap<Target, Left>,
    /// Quorums that are lost: the name, how many are left, how many are needed.
    pub quorums_lost: Vec<(String, usize, usize)>,
}

impl Topology {
    /// What follows from taking `targets` down while `already` are down. What is known to be unhealthy supports nothing. Targets
    /// that are not in the graph fall alone.
    pub fn fall<'t>(&self, already: &BTreeSet<Target>, targets: impl IntoIterator<Item = &'t Target>) -> Fall {
        let targets: BTreeSet<Target> = targets.into_iter().cloned().collect();
        let before = self.spread(&self.nodes(already));
        let both = already.union(&targets).cloned().collect();
        let after = self.spread(&self.nodes(&both));
        let down = after.difference(&before).map(|node| self.graph[*node].clone()).collect();
        let mut fall = Fall { down, ..Fall::default() };
        fall.down.extend(targets.iter().filter(|target| !already.contains(*target)).cloned());
        let losers: BTreeSet<NodeIndex> =
            after.difference(&before).flat_map(|node| self.graph.neighbors_directed(*node, Direction::Incoming)).collect();
        for node in losers {
            for edge in [Edge::RunsOn, Edge::StoresOn, Edge::PoweredBy] {
                let (had, has) = (self.standing(node, edge, &before), self.standing(node, edge, &after));
                if has < had && !before.contains(&node) {
                    fall.reduced.insert(self.graph[node].clone(), Left { edge, before: had, after: has });
                }
            }
        }
        for quorum in &self.quorums {
            let up = |down: &BTreeSet<NodeIndex>, more: &BTreeSet<Target>| {
                let stands = |member: &&Target| {
                    self.health(member) != Health::Unhealthy
                        && !more.contains(*member)
                        && self.numbers.get(*member).is_none_or(|node| !down.contains(node))
                };
                quorum.members.iter().filter(stands).count()
            };
            let (had, has, need) = (up(&before, already), up(&after, &both), quorum.needed());
            if has < had && has < need {
                fall.quorums_lost.push((quorum.name.clone(), has, need));
            }
        }
        fall
    }

    fn nodes(&self, targets: &BTreeSet<Target>) -> BTreeSet<NodeIndex> {
        targets.iter().filter_map(|target| self.numbers.get(target)).copied().collect()
    }

    /// Supports of one kind that stand: not down, and not known to be unhealthy.
    fn standing(&self, node: NodeIndex, edge: Edge, down: &BTreeSet<NodeIndex>) -> usize {
        let of_kind = self.graph.edges_directed(node, Direction::Outgoing).filter(|link| *link.weight() == edge);
        of_kind.filter(|link| !down.contains(&link.target()) && self.health(&self.graph[link.target()]) != Health::Unhealthy).count()
    }

    /// Everything that is down when these are.
    fn spread(&self, start: &BTreeSet<NodeIndex>) -> BTreeSet<NodeIndex> {
        let mut down = start.clone();
        let mut open: Vec<NodeIndex> = start.iter().copied().collect();
        while let Some(gone) = open.pop() {
            for link in self.graph.edges_directed(gone, Direction::Incoming) {
                let node = link.source();
                if down.contains(&node) {
                    continue;
                }
                if *link.weight() == Edge::DependsOn || self.standing(node, *link.weight(), &down) == 0 {
                    down.insert(node);
                    open.push(node);
                }
            }
        }
        down
    }
}
