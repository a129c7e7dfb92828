//! What can be named, from the kernel: the topology, the targets that verbs list, policies, playbooks, replicas as they are read.
//!
//! People, teams, other names and environments come from the configuration; of the environments' requests, those that were made from
//! here are known by the ledger. An editor breaks this by adding a name that no verb and no reading knows.

use crate::ask::Known;
use crate::people::People;
use homeostat_kernel::Kernel;
use homeostat_kernel::ledger::Phase;
use homeostat_kernel::store::Selector;
use homeostat_model::{Arg, PolicyId, Target};
use std::collections::BTreeSet;

/// Series that say how many replicas a workload has, with the label that names it and the target's kind.
const REPLICAS: [(&str, &str); 2] = [("kube_deployment_spec_replicas", "deployment"), ("kube_statefulset_replicas", "statefulset")];

/// Everything that can be named now.
pub fn known(kernel: &Kernel, people: &People) -> Known {
    let mut known = Known::new();
    for spec in kernel.verb_specs() {
        known.add_verb(spec.clone());
    }
    for target in kernel.things() {
        known.add_thing(target);
    }
    for policy in kernel.policies() {
        known.add_policy(PolicyId::from(policy.policy));
    }
    for (metric, kind) in REPLICAS {
        let Ok(selector) = Selector::parse(metric) else { continue };
        let now = kernel.now();
        let workloads: Vec<(Target, i64)> = kernel.with_store(|store| {
            let series = store.select(&selector).into_iter();
            let named = series.filter_map(|series| {
                let key = store.key(series)?;
                let name = key.labels.get(kind).or_else(|| key.labels.get("name"))?;
                let namespace = key.labels.get("namespace").unwrap_or("default");
                let replicas = store.last(series, now).value.value()?;
                Some((Target::new(format!("{kind}/{namespace}/{name}")), replicas as i64))
            });
            named.collect()
        });
        workloads.into_iter().for_each(|(target, replicas)| known.add_workload(target, replicas));
    }
    people.name_in(&mut known, &environments(kernel));
    known
}

/// Requests of environments that were made from here and not deleted since, as far as memory goes: promise, namespace, name.
fn environments(kernel: &Kernel) -> Vec<(String, String, String)> {
    let mut there = BTreeSet::new();
    for state in kernel.ledger().actions().filter(|state| matches!(state.phase, Phase::Done)) {
        let text = |name: &str| match state.proposal.args.get(name) {
            Some(Arg::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else { continue };
        let request = (state.proposal.target.name().to_owned(), namespace, name);
        match state.proposal.verb.as_str() {
            "kratix.apply" => drop(there.insert(request)),
            "kratix.delete" => drop(there.remove(&request)),
            _ => {}
        }
    }
    there.into_iter().collect()
}
