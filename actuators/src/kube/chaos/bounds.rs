//! What Homeostat allows of all that is valid: pods only, named namespaces, few targets, never without an end.
//!
//! Deliberately absent: looking at the cluster ([`super::select`] does). An editor breaks this by letting an experiment through whose
//! end or whose targets are not known beforehand.

use super::ChaosConfig;
use super::compose::{Experiment, Template};
use super::data::Selector;
use super::rules::{go_duration, go_text};
use homeostat_model::Span;
use std::collections::BTreeSet;

/// Namespaces that no configuration can open: an experiment there would hit the cluster itself or what ends experiments.
pub const NEVER: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "chaos-mesh"];

/// The namespaces that a selector names.
pub fn namespaces(selector: &Selector) -> BTreeSet<String> {
    let listed = selector.namespaces.iter().flatten().cloned();
    listed.chain(selector.pods.iter().flatten().map(|(namespace, _)| namespace.clone())).collect()
}

/// All namespaces in which an experiment chooses pods, the other side of a network among them.
pub fn all_namespaces(experiment: &Experiment) -> BTreeSet<String> {
    experiment
        .leaves()
        .iter()
        .flat_map(|leaf| leaf.picks().into_iter().flat_map(|pick| namespaces(pick.selector)).collect::<Vec<_>>())
        .collect()
}

/// Why nothing may be hit in a namespace, if nothing may.
pub fn namespace_problem(config: &ChaosConfig, namespace: &str) -> Option<String> {
    if NEVER.contains(&namespace) || namespace == config.own_namespace || config.denied_namespaces.iter().any(|denied| denied == namespace)
    {
        return Some(format!("namespace `{namespace}` is never hit: it holds the cluster, Chaos Mesh, Homeostat, or was denied"));
    }
    (!config.namespaces.iter().any(|allowed| allowed == namespace))
        .then(|| format!("namespace `{namespace}` is not among those of `chaos.namespaces`: {}", config.namespaces.join(", ")))
}

/// Everything about an experiment that is not allowed.
pub fn problems(config: &ChaosConfig, experiment: &Experiment) -> Vec<String> {
    let mut found = Vec::new();
    if let Experiment::Workflow(workflow) = experiment {
        workflow.templates.iter().for_each(|template| template_problems(config, template, &mut found));
    }
    let leaves = experiment.leaves();
    if leaves.is_empty() {
        found.push("it holds no experiment".into());
    }
    for leaf in &leaves {
        leaf_problems(config, leaf, &mut found);
        let ends = leaf.one_shot() || leaf.duration().is_some() || matches!(experiment, Experiment::Workflow(_));
        if !ends {
            found.push(format!("`duration` is missing in the {}: it would last until somebody deletes it", leaf.kind().name()));
        }
        if let Some(lasts) = leaf.duration().and_then(go_duration).filter(|lasts| *lasts > config.duration_max) {
            found.push(format!("`duration` is {lasts}, at most {} is allowed by `chaos.duration_max`", config.duration_max));
        }
    }
    found
}

fn leaf_problems(config: &ChaosConfig, leaf: &Experiment, found: &mut Vec<String>) {
    let picks = leaf.picks();
    if picks.is_empty() {
        found.push(format!("a {} selects no pods, so what it hits cannot be counted; it is not run", leaf.kind().name()));
    }
    if let Some(cluster) = leaf.remote_cluster() {
        found.push(format!("`remoteCluster` is `{cluster}`: other clusters are not hit"));
    }
    for pick in picks {
        let named = namespaces(pick.selector);
        if named.is_empty() {
            found.push("`selector.namespaces` is empty; name them".into());
        }
        found.extend(named.iter().filter_map(|namespace| namespace_problem(config, namespace)));
    }
}

fn template_problems(config: &ChaosConfig, template: &Template, found: &mut Vec<String>) {
    let name = &template.name;
    if template.task.is_some() || template.template_type == "Task" {
        found.push(format!("template `{name}` is a Task, which runs any container; it is not run"));
    }
    if matches!(template.template_type.as_str(), "Serial" | "Parallel") {
        return;
    }
    match template.deadline.as_deref().and_then(go_duration) {
        None => found.push(format!("template `{name}` has no `deadline`; a workflow's experiments last until then")),
        Some(lasts) if lasts > config.duration_max => {
            found.push(format!("`{name}.deadline` is {lasts}, at most {} is allowed by `chaos.duration_max`", config.duration_max));
        }
        Some(_) => {}
    }
}

/// Gives a duration to what has none and can have one; `asked` shortens, never lengthens.
pub fn bounded(mut experiment: Experiment, asked: Option<Span>, default: Span) -> Experiment {
    if experiment.one_shot() {
        return experiment;
    }
    let own = experiment.duration().and_then(go_duration);
    let lasts = match (own, asked) {
        (Some(own), Some(asked)) => own.min(asked),
        (own, asked) => own.or(asked).unwrap_or(default),
    };
    if own != Some(lasts) {
        experiment.set_duration(&go_text(lasts));
    }
    experiment
}
