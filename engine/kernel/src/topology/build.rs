//! From settings and windows to the graph.

use super::pattern::Template;
use super::{Health, Owner, Topology};
use crate::store::{Selector, SeriesRef, Store};
use homeostat_model::{Edge, HealthRule, LinkRule, OwnerRule, ReadingValue, Relation, Target, Time, TopologySettings};
use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rings that are named.
const CYCLES_MAX: usize = 20;

struct Links {
    rule: LinkRule,
    series: Selector,
    from: Template,
    to: Template,
}

struct Owners {
    rule: OwnerRule,
    series: Selector,
    target: Template,
    owner: Template,
}

struct Healths {
    rule: HealthRule,
    series: Selector,
    target: Template,
}

/// What a graph is valid for: the event, the store's index, the moment.
type ValidFor = (u64, u64, Time);

/// The compiled settings, and the newest graph.
#[derive(Default)]
pub struct Source {
    settings: TopologySettings,
    links: Vec<Links>,
    owners: Vec<Owners>,
    healthy: Vec<Healths>,
    problems: Vec<String>,
    newest: Mutex<Option<(ValidFor, Arc<Topology>)>>,
    built: AtomicU64,
}

impl Source {
    /// Compiles settings. What cannot be read is left out and named by [`Source::problems`].
    pub fn new(settings: TopologySettings) -> Source {
        let mut problems = Vec::new();
        let selector = |text: &str| Selector::parse(text).map_err(|error| error.to_string());
        let mut keep = |result: Result<(), String>, what: String| {
            if let Err(problem) = result {
                problems.push(format!("{what}: {problem}"));
            }
        };
        let (mut links, mut owners, mut healthy) = (Vec::new(), Vec::new(), Vec::new());
        for rule in &settings.rules {
            let compiled = (|| {
                let (from, to) = (Template::parse(&rule.from)?, Template::parse(&rule.to)?);
                links.push(Links { rule: rule.clone(), series: selector(&rule.series)?, from, to });
                Ok(())
            })();
            keep(compiled, format!("topology.rules, `{}`", rule.series));
        }
        for rule in &settings.owners {
            let compiled = (|| {
                let (target, owner) = (Template::parse(&rule.target)?, Template::parse(&rule.owner)?);
                owners.push(Owners { rule: rule.clone(), series: selector(&rule.series)?, target, owner });
                Ok(())
            })();
            keep(compiled, format!("topology.owners, `{}`", rule.series));
        }
        for rule in &settings.healthy {
            let compiled = (|| {
                healthy.push(Healths { rule: rule.clone(), series: selector(&rule.series)?, target: Template::parse(&rule.target)? });
                Ok(())
            })();
            keep(compiled, format!("topology.healthy, `{}`", rule.series));
        }
        Source { settings, links, owners, healthy, problems, newest: Mutex::default(), built: AtomicU64::new(0) }
    }

    /// What could not be read, each with its place.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How often a graph was built.
    pub fn built(&self) -> u64 {
        self.built.load(Ordering::Relaxed)
    }

    /// The graph of this moment. Rulings of one event share it.
    pub(super) fn topology(&self, store: &Store, now: Time, epoch: u64) -> Arc<Topology> {
        let key = (epoch, store.index_generation(), now);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, topology)) = newest.as_ref()
            && *known == key
        {
            return Arc::clone(topology);
        }
        let topology = Arc::new(self.build(store, now));
        self.built.fetch_add(1, Ordering::Relaxed);
        *newest = Some((key, Arc::clone(&topology)));
        topology
    }

    fn build(&self, store: &Store, now: Time) -> Topology {
        let mut builder = Builder { topology: Topology::default(), known: BTreeSet::new(), settings: &self.settings };
        builder.topology.broken = self.problems.clone();
        builder.topology.quorums = self.settings.quorums.clone();
        for link in &self.settings.links {
            builder.link(&link.from, link.edge, &link.to);
        }
        // What carries only if it is carried comes after everything that could carry it.
        for supported in [false, true] {
            for rule in self.links.iter().filter(|rule| rule.rule.if_supported == supported) {
                builder.follow(store, now, rule);
            }
        }
        for rule in &self.owners {
            builder.own(store, now, rule);
        }
        for rule in &self.healthy {
            builder.judge(store, now, rule);
        }
        let mut topology = builder.topology;
        let rings = tarjan_scc(&topology.graph)
            .into_iter()
            .filter(|ring| ring.len() > 1 || ring.first().is_some_and(|node| topology.graph.contains_edge(*node, *node)));
        topology.cycles = rings.take(CYCLES_MAX).map(|ring| ring.into_iter().map(|node| topology.graph[node].clone()).collect()).collect();
        topology
    }
}

struct Builder<'a> {
    topology: Topology,
    known: BTreeSet<(NodeIndex, Edge, NodeIndex)>,
    settings: &'a TopologySettings,
}

impl Builder<'_> {
    fn node(&mut self, target: &Target) -> Option<NodeIndex> {
        if let Some(node) = self.topology.numbers.get(target) {
            return Some(*node);
        }
        if self.topology.numbers.len() >= self.settings.targets_max as usize {
            self.topology.left_out += 1;
            return None;
        }
        let node = self.topology.graph.add_node(target.clone());
        self.topology.numbers.insert(target.clone(), node);
        Some(node)
    }

    fn link(&mut self, from: &Target, edge: Edge, to: &Target) {
        let (Some(from), Some(to)) = (self.node(from), self.node(to)) else { return };
        if self.known.contains(&(from, edge, to)) {
            return;
        }
        if self.known.len() >= self.settings.links_max as usize {
            self.topology.left_out += 1;
            return;
        }
        self.known.insert((from, edge, to));
        self.topology.graph.add_edge(from, to, edge);
    }

    fn follow(&mut self, store: &Store, now: Time, rule: &Links) {
        for series in store.select(&rule.series) {
            match store.last(series, now).value {
                ReadingValue::Value(value) if value != 0.0 => {}
                ReadingValue::Stale(_) => self.topology.stale += 1,
                _ => continue,
            }
            let (Some(from), Some(to)) = (filled(store, &rule.from, series), filled(store, &rule.to, series)) else { continue };
            let carries = |topology: &Topology| {
                let node = topology.numbers.get(&to);
                node.is_some_and(|node| topology.graph.neighbors_directed(*node, Direction::Outgoing).next().is_some())
            };
            if !rule.rule.if_supported || carries(&self.topology) {
                self.link(&from, rule.rule.edge, &to);
            }
        }
    }

    fn own(&mut self, store: &Store, now: Time, rule: &Owners) {
        for series in store.select(&rule.series) {
            // An owner that was there a while ago still owns: only its end gives the field back.
            if matches!(store.last(series, now).value, ReadingValue::NoData | ReadingValue::Value(0.0)) {
                continue;
            }
            let label = |name: &str| store.label(series, name);
            let (Some(target), Some(owner)) = (rule.target.fill(label), rule.owner.fill(label)) else { continue };
            if self.topology.owners.len() >= self.settings.targets_max as usize {
                self.topology.left_out += 1;
                return;
            }
            let OwnerRule { verbs, field, instead, .. } = rule.rule.clone();
            self.topology.owners.push(Owner { target, verbs, field, owner, instead });
        }
    }

    fn judge(&mut self, store: &Store, now: Time, rule: &Healths) {
        for series in store.select(&rule.series) {
            let Some(target) = filled(store, &rule.target, series) else { continue };
            let says = match store.last(series, now).value {
                ReadingValue::Value(value) => match rule.rule.relation {
                    Relation::Above if value > rule.rule.threshold => Health::Healthy,
                    Relation::Below if value < rule.rule.threshold => Health::Healthy,
                    _ => Health::Unhealthy,
                },
                ReadingValue::NoData | ReadingValue::Stale(_) | ReadingValue::Fault(_) => Health::Unknown,
            };
            if self.node(&target).is_none() {
                continue;
            }
            let health = self.topology.health.entry(target).or_insert_with(|| says.clone());
            // The worst word counts.
            *health = match (&*health, says) {
                (Health::Unhealthy, _) | (_, Health::Unhealthy) => Health::Unhealthy,
                (Health::Unknown, _) | (_, Health::Unknown) => Health::Unknown,
                (Health::Healthy, Health::Healthy) => Health::Healthy,
            };
        }
    }
}

fn filled(store: &Store, template: &Template, series: SeriesRef) -> Option<Target> {
    template.fill(|label| store.label(series, label)).map(Target::from)
}
