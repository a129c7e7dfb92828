//! What policies do to one another, told without running them: metric → policy → verb → metric.
//!
//! `effects` says what verbs move, `region` where a wish is wished, `loops` finds what is wrong with the whole, `draw` shows it as
//! DOT, Mermaid and SVG. Deliberately absent: data. A loop that is found here can swing; whether it does on a plant is for `fuzz`. An
//! editor breaks this by drawing an edge that neither a survey nor a declaration stands behind.

pub mod draw;
pub mod effects;
mod loops;
pub mod region;

#[cfg(test)]
mod tests;

pub use effects::{Declared, Moves, Sign, Source};

use crate::diagnose::{Finding, Severity};
use effects::declared;
use homeostat_kernel::policy::survey::{Survey, SurveyedWish, survey};
use homeostat_kernel::store::Selector;
use homeostat_model::{ActuatorSpec, Class, Playbook, PolicySource, Relation, Span, VerbSpec};
use petgraph::graph::{DiGraph, NodeIndex};
use region::Region;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the loop analysis is told.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The policies.
    pub policies: Vec<PolicySource>,
    /// What can be done; empty: not known, and no verb is reported as unknown.
    pub actuators: Vec<ActuatorSpec>,
    /// What can be done in several steps.
    pub playbooks: Vec<Playbook>,
    /// What verbs do beside the table.
    pub declared: Declared,
    /// The metrics that there are; `None`: not known.
    pub metrics: Option<BTreeSet<String>>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// What is measured.
    Metric(String),
    /// Who wishes.
    Policy(String),
    /// What is done.
    Verb(String),
}

impl Node {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Node::Metric(name) | Node::Policy(name) | Node::Verb(name) => name,
        }
    }
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// A policy reads a metric.
    Reads,
    /// A policy wishes a verb.
    Wishes,
    /// A verb moves a metric; who says so.
    Moves(Sign, Source),
}

/// The graph with what was found in it.
#[derive(Debug, Default)]
pub struct Loops {
    /// Nodes and edges.
    pub graph: DiGraph<Node, Edge>,
    /// Nodes that lie on a cycle.
    pub on_cycle: BTreeSet<NodeIndex>,
    /// What is wrong, by file and place.
    pub findings: Vec<Finding>,
}

impl Loops {
    /// Whether there is an error.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Nodes and edges, in a stable order, for other programs.
    pub fn edges(&self) -> Vec<(&Node, &Edge, &Node)> {
        let mut edges: Vec<(&Node, &Edge, &Node)> = self
            .graph
            .edge_indices()
            .filter_map(|edge| {
                let (from, to) = self.graph.edge_endpoints(edge)?;
                Some((self.graph.node_weight(from)?, self.graph.edge_weight(edge)?, self.graph.node_weight(to)?))
            })
            .collect();
        edges.sort_by_key(|(from, _, to)| (*from, *to));
        edges
    }
}

/// One wish with all that loops are told by.
struct Wished<'a> {
    source: &'a PolicySource,
    survey: &'a Survey,
    wish: &'a SurveyedWish,
    verb: &'a str,
    spec: Option<&'a VerbSpec>,
    region: Region,
    /// What it moves.
    moves: BTreeMap<String, (Sign, Source)>,
    /// How long nothing is sent again for the same target and verb.
    cooldown: Span,
    /// How long nothing at all is sent to the target.
    settle: Span,
}

impl Wished<'_> {
    /// The kind of its target, as far as it is known.
    fn kind(&self) -> Option<&str> {
        let written = self.wish.target.as_deref().and_then(|target| target.split_once('/')).map(|(kind, _)| kind);
        let of_series = || self.survey.for_each.as_ref().and_then(|series| series.metric.as_deref()).and_then(kind_of_metric);
        written.or_else(of_series)
    }

    /// Whether two may be about the same target at some time.
    fn may_meet(&self, other: &Wished<'_>) -> bool {
        let exact = |wished: &Wished<'_>| wished.wish.target.clone().filter(|target| !target.contains("${"));
        if let (Some(a), Some(b)) = (exact(self), exact(other)) {
            return a == b;
        }
        if let (Some(a), Some(b)) = (self.kind(), other.kind())
            && a != b
        {
            return false;
        }
        let selector =
            |wished: &Wished<'_>| wished.survey.for_each.as_ref().and_then(|each| Selector::parse(each.selector.as_deref()?).ok());
        let (Some(a), Some(b)) = (selector(self), selector(other)) else { return true };
        // A label that one demands and the other refuses keeps them apart.
        let apart = |one: &Selector, other: &Selector| {
            one.equalities()
                .any(|(label, value)| other.matchers().iter().any(|matcher| matcher.label == label && !matcher.test.accepts(value)))
        };
        !apart(&a, &b) && !apart(&b, &a)
    }

    fn path(&self) -> &str {
        &self.source.path
    }
}

/// The kind of target that a series of this metric is about, by its labels.
fn kind_of_metric(metric: &str) -> Option<&'static str> {
    let labels = &crate::vocabulary::signals().get(metric)?.labels;
    let has = |label: &str| labels.contains(&label);
    let kinds = [("mountpoint", "filesystem"), ("disk", "disk"), ("pod", "pod"), ("certificate", "certificate"), ("service", "service")];
    kinds.into_iter().find(|(label, _)| has(label)).map(|(_, kind)| kind).or_else(|| has("node").then_some("node"))
}

/// Looks at all policies together.
pub fn analyse(sources: &Sources) -> Loops {
    let surveys: Vec<(&PolicySource, Survey)> = sources
        .policies
        .iter()
        .filter_map(|policy| Some((policy, survey(&policy.path, &policy.text, &policy.overrides.params).ok()?)))
        .collect();
    let wishes = wishes(sources, &surveys);
    let mut loops = Loops::default();
    build(&mut loops, &surveys, &wishes);
    loops.findings = loops::findings(sources, &surveys, &wishes);
    // What could not even be read is said by whoever reads it.
    for policy in &sources.policies {
        if let Err(error) = survey(&policy.path, &policy.text, &policy.overrides.params) {
            let place = homeostat_kernel::policy::survey::Place::default();
            loops.findings.push(Finding::error("unreadable-policy", &policy.path, place, error.to_string()));
        }
    }
    loops.findings.sort_by(|a, b| (&a.path, a.line, a.column, a.code, &a.message).cmp(&(&b.path, b.line, b.column, b.code, &b.message)));
    loops
}

fn wishes<'a>(sources: &'a Sources, surveys: &'a [(&'a PolicySource, Survey)]) -> Vec<Wished<'a>> {
    let specs = || sources.actuators.iter().flat_map(|actuator| &actuator.verbs);
    // What policies claim of verbs that nobody has declared.
    let mut claimed: BTreeMap<(&str, &str), BTreeSet<Sign>> = BTreeMap::new();
    for wish in surveys.iter().flat_map(|(_, survey)| &survey.wishes) {
        let (Some(verb), Some(claim)) = (wish.verb.as_deref(), &wish.claim) else { continue };
        if let (Some(metric), Some(relation)) = (claim.metric.as_deref(), claim.relation) {
            let sign = if relation == Relation::Above { Sign::Raises } else { Sign::Lowers };
            claimed.entry((verb, metric)).or_default().insert(sign);
        }
    }
    let mut all = Vec::new();
    for (source, survey) in surveys {
        for wish in &survey.wishes {
            let Some(verb) = wish.verb.as_deref() else { continue };
            let mut moves = declared(verb, &sources.declared, &sources.playbooks).unwrap_or_default();
            for ((_, metric), signs) in claimed.range((verb, "")..).take_while(|((of, _), _)| *of == verb) {
                let sign = match signs.iter().collect::<Vec<_>>()[..] {
                    [one] => *one,
                    _ => Sign::Either,
                };
                moves.entry((*metric).to_owned()).or_insert((sign, Source::Claimed));
            }
            let spec = specs().find(|spec| spec.verb.as_str() == verb);
            let playbook = verb.strip_prefix("playbook.").and_then(|id| sources.playbooks.iter().find(|playbook| playbook.id == id));
            let own = spec.map(|spec| spec.settle).or_else(|| playbook.map(|playbook| playbook.settle)).unwrap_or_default();
            let cooldown = wish.cooldown.or_else(|| setting(survey, "cooldown")).unwrap_or(Span::from_hours(1));
            let settle = setting(survey, "settle").unwrap_or(own);
            let region = Region::of(survey, wish);
            let (cooldown, settle) = (source.overrides.cooldown.unwrap_or(cooldown), settle);
            all.push(Wished { source, survey, wish, verb, spec, region, moves, cooldown, settle });
        }
    }
    all
}

fn setting(survey: &Survey, key: &str) -> Option<Span> {
    survey.settings.iter().find(|setting| setting.key == key)?.value.text.as_deref()?.parse().ok()
}

fn build(loops: &mut Loops, surveys: &[(&PolicySource, Survey)], wishes: &[Wished<'_>]) {
    let mut edges: BTreeMap<(Node, Node), Edge> = BTreeMap::new();
    for (source, survey) in surveys {
        let policy = Node::Policy(source.id.to_string());
        let reads = survey.reads.iter().filter_map(|read| read.metric.as_ref());
        let each = survey.for_each.iter().filter_map(|series| series.metric.as_ref());
        for metric in reads.chain(each) {
            edges.insert((Node::Metric(metric.clone()), policy.clone()), Edge::Reads);
        }
        if let Some(alerts) = &survey.on_alert {
            edges.insert((Node::Metric(format!("alert {alerts}")), policy.clone()), Edge::Reads);
        }
    }
    for wished in wishes {
        let verb = Node::Verb(wished.verb.to_owned());
        edges.insert((Node::Policy(wished.source.id.to_string()), verb.clone()), Edge::Wishes);
        for (metric, (sign, source)) in &wished.moves {
            // What nobody looks at is no part of any loop.
            let metric = Node::Metric(metric.clone());
            if *source != Source::Shipped || edges.keys().any(|(from, _)| *from == metric) {
                edges.insert((verb.clone(), metric), Edge::Moves(*sign, *source));
            }
        }
    }
    let nodes: BTreeSet<&Node> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
    let index: BTreeMap<Node, NodeIndex> = nodes.into_iter().map(|node| (node.clone(), loops.graph.add_node(node.clone()))).collect();
    for ((from, to), edge) in &edges {
        loops.graph.add_edge(index[from], index[to], edge.clone());
    }
    let cycles = petgraph::algo::tarjan_scc(&loops.graph);
    loops.on_cycle = cycles.into_iter().filter(|part| part.len() > 1).flatten().collect();
}

/// Whether a verb tells people and nothing else.
fn is_notify(wished: &Wished<'_>) -> bool {
    wished.spec.map_or(wished.verb.starts_with("notify."), |spec| spec.class == Class::Notify)
}
