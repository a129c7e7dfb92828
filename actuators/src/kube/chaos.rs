//! `chaos.run` and `chaos.abort`: experiments of Chaos Mesh, bounded before they begin and seen to be over.
//!
//! Reading order: [`data`], [`inside`], [`machines`], [`compose`] (the kinds), [`rules`] (what is valid), [`bounds`] (what is allowed),
//! [`select`] (how many pods would be hit), [`status`] (what a status says), [`watch`] (one experiment from its making to its end),
//! [`abort`] (ending them all). Deliberately absent: watching the steady state (the kernel does, by windows, and calls `revert`),
//! and `cleanFinalizer`, which drops an experiment without taking it back: that is for a person. An editor breaks this by making an
//! experiment without an end, or by calling it over while a record is still injected.

pub mod abort;
pub mod bounds;
pub mod compose;
pub mod data;
pub mod inside;
pub mod machines;
pub mod rules;
pub mod select;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

use super::call::{Call, Kind, NODE, POD, name_problem};
use super::client::KubeClient;
use super::frame::{Deed, MANAGED_BY, Run, Step, annotations};
use super::rights::{Needs, Rule};
use compose::{ChaosKind, Experiment};
use homeostat_model::{
    Action, ActuatorSpec, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, Time, Verb, VerbSpec,
};
use rules::go_duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use abort::{AbortReport, abort_all, abort_expired};

/// The verb that makes an experiment.
pub const RUN: &str = "chaos.run";
/// The verb that ends experiments.
pub const ABORT: &str = "chaos.abort";
/// What we write into the label of all that we make.
pub const HOMEOSTAT: &str = "homeostat";
/// The annotation with the action's target.
pub const TARGET: &str = "homeostat/target";
/// The annotation with the moment after which it must be gone.
pub const EXPIRES: &str = "homeostat/expires-at";
/// The annotation that a namespace carries whose owner lets it be hit.
pub const OPT_IN: &str = "chaos-mesh.org/inject";
/// Namespaces.
pub const NAMESPACE: Kind = Kind::cluster("", "v1", "Namespace", "namespaces");
/// The longest experiment in text, and the longest one configured.
const DEFINITION_BYTES_MAX: usize = 16 * 1024;
/// No experiment may be configured to last longer.
const DURATION_LIMIT: Span = Span::from_hours(1);
/// Reads and the first answers, beside all that is waited for.
const SLACK: Span = Span::from_secs(60);
/// What experiments may be aimed at.
const TARGETS: [&str; 6] = ["deployment", "statefulset", "daemonset", "pod", "namespace", "node"];

/// Experiments of Chaos Mesh. Only pods are hit, only in named namespaces, never without an end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChaosConfig {
    /// The namespaces in which pods may be hit.
    pub namespaces: Vec<String>,
    /// Namespaces that are never hit, whatever else is said: storage, monitoring, backups. `kube-system`, `kube-public`,
    /// `kube-node-lease` and `chaos-mesh` never are.
    #[serde(default = "denied_default")]
    pub denied_namespaces: Vec<String>,
    /// The namespace that Homeostat itself runs in; it is never hit.
    #[serde(default = "own_namespace_default")]
    pub own_namespace: String,
    /// Whether a namespace must carry the annotation `chaos-mesh.org/inject: enabled` to be hit.
    #[serde(default = "yes")]
    pub opt_in: bool,
    /// The experiments by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub experiments: BTreeMap<String, ExperimentConfig>,
    /// Whether an action may bring its own experiment in the argument `definition`, within the same bounds.
    #[serde(default)]
    pub ad_hoc: bool,
    /// How many pods one experiment may hit at most.
    #[serde(default = "pods_max_default")]
    pub pods_max: usize,
    /// How long an experiment lasts that says nothing.
    #[serde(default = "duration_default")]
    #[schemars(with = "String")]
    pub duration: Span,
    /// How long any experiment may last at most.
    #[serde(default = "duration_max_default")]
    #[schemars(with = "String")]
    pub duration_max: Span,
    /// How long Chaos Mesh may take to find targets.
    #[serde(default = "selection_timeout_default")]
    #[schemars(with = "String")]
    pub selection_timeout: Span,
    /// How long Chaos Mesh may take to hit all of them; then the experiment is ended.
    #[serde(default = "injection_timeout_default")]
    #[schemars(with = "String")]
    pub injection_timeout: Span,
    /// How long Chaos Mesh may take to take everything back; then a person must look.
    #[serde(default = "recovery_timeout_default")]
    #[schemars(with = "String")]
    pub recovery_timeout: Span,
    /// How long the target needs afterwards before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What it does, in one sentence.
    pub doc: String,
    /// The kind: `PodChaos`, `NetworkChaos`, `StressChaos`, `IOChaos`, `TimeChaos`, `DNSChaos`, `HTTPChaos`, `KernelChaos`,
    /// `JVMChaos`, `BlockChaos`, `Schedule` or `Workflow`.
    pub kind: String,
    /// Its spec, with the names and values of Chaos Mesh (`chaos-mesh.org/v1alpha1`); unknown fields are refused.
    pub spec: Value,
    /// Where the experiment itself is made; the first namespace that it hits if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How long it lasts. For a Schedule or Workflow: how long it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub duration: Option<Span>,
    /// How many pods it may hit at most, within the section's `pods_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_max: Option<usize>,
}

fn denied_default() -> Vec<String> {
    ["longhorn-system", "rook-ceph", "openebs", "velero"].map(str::to_owned).to_vec()
}
fn own_namespace_default() -> String {
    HOMEOSTAT.into()
}
fn yes() -> bool {
    true
}
fn pods_max_default() -> usize {
    1
}
fn duration_default() -> Span {
    Span::from_secs(60)
}
fn duration_max_default() -> Span {
    Span::from_mins(5)
}
fn selection_timeout_default() -> Span {
    Span::from_secs(10)
}
fn injection_timeout_default() -> Span {
    Span::from_secs(60)
}
fn recovery_timeout_default() -> Span {
    Span::from_secs(120)
}
fn settle_default() -> Span {
    Span::from_mins(2)
}

/// An experiment, checked, with its bounds.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What is made.
    pub experiment: Experiment,
    /// Where.
    pub namespace: String,
    /// How many pods it may hit at most.
    pub pods_max: usize,
    /// How long it is expected to last; nothing for what strikes once.
    pub lasts: Span,
}

impl Prepared {
    /// The kind as it is served.
    pub fn kind(&self) -> Kind {
        self.experiment.kind().served()
    }
    /// Whether it makes other experiments.
    pub fn composed(&self) -> bool {
        matches!(self.experiment.kind(), ChaosKind::Schedule | ChaosKind::Workflow)
    }
}

impl ChaosKind {
    /// The kind as it is served.
    pub fn served(self) -> Kind {
        Kind::namespaced("chaos-mesh.org", "v1alpha1", self.name(), self.plural())
    }
}

/// The name of an action's object: fixed, so that it is found again.
pub fn object_name(client: &KubeClient, action: &Action) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let journal: String = client.journal().chars().map(plain).take(36).collect();
    format!("homeostat-{}-{}", journal.trim_matches('-'), action.id)
}

/// The power `chaos`.
#[derive(Debug)]
pub struct Chaos {
    config: ChaosConfig,
    experiments: BTreeMap<String, Prepared>,
    client: Option<Arc<KubeClient>>,
}

impl Chaos {
    /// Checks the configuration; sends nothing. Every problem is listed.
    pub fn new(config: &ChaosConfig) -> Result<Chaos, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.namespaces.is_empty() {
            problems.push("`namespaces` is empty: name those in which pods may be hit".to_owned());
        }
        for namespace in &config.namespaces {
            problems.extend(name_problem(namespace));
            problems.extend(bounds::namespace_problem(config, namespace));
        }
        if config.experiments.is_empty() && !config.ad_hoc {
            problems.push("`experiments` is empty and `ad_hoc` is off: there is nothing to run".into());
        }
        if config.pods_max == 0 {
            problems.push("`pods_max` is 0, expected at least 1".into());
        }
        if config.duration_max <= Span::ZERO || config.duration_max > DURATION_LIMIT {
            problems.push(format!("`duration_max` is {}, expected more than 0s and at most {DURATION_LIMIT}", config.duration_max));
        }
        if config.duration <= Span::ZERO || config.duration > config.duration_max {
            problems.push(format!("`duration` is {}, expected more than 0s and at most `duration_max`", config.duration));
        }
        for (name, span) in [
            ("selection_timeout", config.selection_timeout),
            ("injection_timeout", config.injection_timeout),
            ("recovery_timeout", config.recovery_timeout),
        ] {
            if span <= Span::ZERO || span > DURATION_LIMIT {
                problems.push(format!("`{name}` is {span}, expected more than 0s and at most {DURATION_LIMIT}"));
            }
        }
        let mut experiments = BTreeMap::new();
        for (name, experiment) in &config.experiments {
            match configured(config, experiment) {
                Ok(prepared) => drop(experiments.insert(name.clone(), prepared)),
                Err(found) => problems.extend(found.into_iter().map(|problem| format!("experiment `{name}`: {problem}"))),
            }
        }
        if problems.is_empty() {
            return Ok(Chaos { config: config.clone(), experiments, client: None });
        }
        Err(problems.into_iter().map(|problem| Fault::new(FaultCode::Malformed, "configure `chaos`", problem)).collect())
    }

    /// The same with a client of its own, for what must be ended after `apply` returned.
    #[must_use]
    pub fn on(self, client: Arc<KubeClient>) -> Chaos {
        Chaos { client: Some(client), ..self }
    }

    /// What an action would make. No IO.
    fn prepare(&self, client: &KubeClient, action: &Action) -> Result<Prepared, String> {
        let text = |name: &str| action.args.get(name).and_then(|arg| arg.as_text());
        let mut prepared = match (text("experiment"), text("definition")) {
            (Some(name), None) => self.experiments.get(name).cloned().ok_or_else(|| format!("there is no experiment `{name}`"))?,
            (None, Some(_)) if !self.config.ad_hoc => return Err("`definition` is not allowed; set `chaos.ad_hoc`".into()),
            (None, Some(definition)) => {
                let value: Value = serde_json::from_str(definition).map_err(|error| format!("`definition` is not JSON: {error}"))?;
                let experiment = typed(value)?;
                ready_made(&self.config, experiment, None, None, self.config.pods_max).map_err(|found| found.join("; "))?
            }
            _ => return Err("give either `experiment` or `definition`".into()),
        };
        if let Some(problem) = bounds::all_namespaces(&prepared.experiment)
            .iter()
            .chain(std::iter::once(&prepared.namespace))
            .find_map(|namespace| client.namespace_problem(namespace))
        {
            return Err(problem);
        }
        if let Some(homeostat_model::Arg::Int(seconds)) = action.args.get("duration_seconds") {
            let asked = Span::from_secs(*seconds);
            prepared.experiment = bounds::bounded(prepared.experiment, Some(asked), asked);
            prepared.lasts = prepared.lasts.min(asked);
        }
        let needed = self.needed(&prepared);
        if action.timeout < needed {
            return Err(format!("the action's time is {}, but this experiment needs {needed} until it is seen to be over", action.timeout));
        }
        Ok(prepared)
    }

    /// How long an experiment needs from its making until it is seen to be over.
    fn needed(&self, prepared: &Prepared) -> Span {
        let config = &self.config;
        prepared.lasts + config.selection_timeout + config.injection_timeout + config.recovery_timeout
    }

    /// The object that is made.
    fn body(&self, client: &KubeClient, action: &Action, prepared: &Prepared) -> Value {
        let mut written = serde_json::to_value(&prepared.experiment).unwrap_or_default();
        let mut notes = annotations(client, action);
        notes[TARGET] = json!(action.target.as_str());
        let expires: Time = action.lease.expires + self.needed(prepared) + SLACK;
        notes[EXPIRES] = json!(crate::rest::rfc3339(expires));
        json!({
            "apiVersion": "chaos-mesh.org/v1alpha1",
            "kind": prepared.experiment.kind().name(),
            "metadata": {
                "name": object_name(client, action), "namespace": prepared.namespace,
                "labels": { MANAGED_BY: HOMEOSTAT }, "annotations": notes,
            },
            "spec": written["spec"].take(),
        })
    }

    fn create(&self, client: &KubeClient, action: &Action, prepared: &Prepared) -> Call {
        let path = prepared.kind().list_path(&prepared.namespace);
        Call::create(path, self.body(client, action, prepared)).with("fieldValidation", "Strict")
    }

    /// Looks at all that must be true before anything is made: the namespaces' owners agree, few pods would be hit.
    async fn preflight(&self, run: &Run<'_>, prepared: &Prepared) -> Step<usize> {
        if self.config.opt_in {
            for namespace in bounds::all_namespaces(&prepared.experiment) {
                let found = run.read(&Call::get(NAMESPACE.path("", &namespace))).await.map_err(|refusal| run.refused(&refusal))?;
                if found["metadata"]["annotations"][OPT_IN] != "enabled" {
                    let detail = format!(
                        "namespace `{namespace}` does not let itself be hit; its owner can annotate it with `{OPT_IN}: enabled`; nothing was sent"
                    );
                    return Err(run.not_done(FaultCode::Denied, detail));
                }
            }
        }
        select::count(run, &prepared.experiment, prepared.pods_max).await
    }

    fn run_spec(&self) -> VerbSpec {
        let names: Vec<String> = self.experiments.keys().cloned().collect();
        let longest = self.experiments.values().map(|prepared| self.needed(prepared)).max().unwrap_or(Span::ZERO);
        let ad_hoc = Prepared { lasts: self.config.duration_max, ..nothing() };
        let needed = if self.config.ad_hoc { longest.max(self.needed(&ad_hoc)) } else { longest };
        let arg = |name: &str, kind, doc: &str| ArgSpec { name: name.into(), kind, required: false, doc: doc.into() };
        let mut args = vec![
            arg("duration_seconds", ArgKind::Int(1, self.config.duration_max.millis() / 1000), "Shorter than configured, in seconds."),
            arg("until", ArgKind::OneOf(vec!["recovered".into(), "injected".into()]), "When it counts as done; `recovered` if not given."),
        ];
        if !names.is_empty() {
            args.push(arg("experiment", ArgKind::OneOf(names), "Which configured experiment."));
        }
        if self.config.ad_hoc {
            args.push(arg("definition", ArgKind::Text(DEFINITION_BYTES_MAX), "An experiment as JSON: {\"kind\": …, \"spec\": …}."));
        }
        let lasts = self.experiments.values().map(|prepared| prepared.lasts).max().unwrap_or(self.config.duration_max);
        VerbSpec {
            verb: RUN.into(),
            class: Class::Disruptive,
            args,
            target_kinds: TARGETS.map(str::to_owned).to_vec(),
            targets: None,
            opposite: Some(ABORT.into()),
            settle: self.config.settle,
            timeout: needed + SLACK,
            revertible: true,
            cost: Cost { disruption: lasts.max(self.config.duration), energy_joules: 0.0, ..Cost::default() },
            doc: "Makes an experiment of Chaos Mesh, sees it hit its pods and sees them recovered.".into(),
        }
    }

    fn abort_spec(&self) -> VerbSpec {
        let doc = "The number of the action whose experiment is ended; absent: all on this target.";
        let kinds = TARGETS.iter().map(|kind| (*kind).to_owned()).chain(["chaos".to_owned()]).collect();
        VerbSpec {
            verb: ABORT.into(),
            class: Class::Restore,
            args: vec![ArgSpec { name: "action".into(), kind: ArgKind::Int(0, i64::MAX), required: false, doc: doc.into() }],
            target_kinds: kinds,
            targets: None,
            opposite: Some(RUN.into()),
            settle: self.config.settle,
            timeout: self.config.recovery_timeout + SLACK,
            revertible: false,
            cost: Cost::default(),
            doc: "Ends experiments of Homeostat and sees their targets recovered; the target `chaos/all` means all of them.".into(),
        }
    }

    /// The kinds that may come to be: those of the experiments and what they make; all if any may be brought.
    fn kinds(&self) -> BTreeSet<ChaosKind> {
        if self.config.ad_hoc {
            let machines = [ChaosKind::AwsChaos, ChaosKind::AzureChaos, ChaosKind::GcpChaos, ChaosKind::PhysicalMachineChaos];
            return ChaosKind::ALL.iter().copied().filter(|kind| !machines.contains(kind) && *kind != ChaosKind::StatusCheck).collect();
        }
        let all = self.experiments.values().map(|prepared| &prepared.experiment);
        all.flat_map(|experiment| experiment.leaves().into_iter().map(|leaf| leaf.kind()).chain([experiment.kind()])).collect()
    }
}

fn nothing() -> Prepared {
    let workflow = compose::Workflow { entry: String::new(), templates: Vec::new() };
    Prepared { experiment: Experiment::Workflow(workflow), namespace: String::new(), pods_max: 0, lasts: Span::ZERO }
}

fn typed(value: Value) -> Result<Experiment, String> {
    serde_json::from_value(value).map_err(|error| format!("this is no experiment: {error}"))
}

fn configured(config: &ChaosConfig, given: &ExperimentConfig) -> Result<Prepared, Vec<String>> {
    if given.doc.trim().is_empty() {
        return Err(vec!["`doc` is empty; say what it does".into()]);
    }
    if given.spec.to_string().len() > DEFINITION_BYTES_MAX {
        return Err(vec![format!("`spec` has more than {DEFINITION_BYTES_MAX} bytes")]);
    }
    let pods_max = given.pods_max.unwrap_or(config.pods_max).min(config.pods_max);
    let experiment = typed(json!({ "kind": given.kind, "spec": given.spec })).map_err(|problem| vec![problem])?;
    ready_made(config, experiment, given.namespace.clone(), given.duration, pods_max)
}

/// Checks an experiment and gives it its bounds.
fn ready_made(
    config: &ChaosConfig,
    experiment: Experiment,
    namespace: Option<String>,
    duration: Option<Span>,
    pods_max: usize,
) -> Result<Prepared, Vec<String>> {
    let experiment = bounds::bounded(experiment, duration, config.duration);
    let mut problems = rules::problems(&experiment);
    problems.extend(bounds::problems(config, &experiment));
    if let Some(duration) = duration.filter(|span| *span <= Span::ZERO || *span > config.duration_max) {
        problems.push(format!("`duration` is {duration}, expected more than 0s and at most {}", config.duration_max));
    }
    let named = namespace.or_else(|| bounds::all_namespaces(&experiment).into_iter().next()).unwrap_or_default();
    problems.extend(name_problem(&named));
    if bounds::NEVER.contains(&named.as_str()) {
        problems.push(format!("no experiment is made in namespace `{named}`"));
    }
    let composed = matches!(experiment, Experiment::Schedule(_) | Experiment::Workflow(_));
    let lasts = match &experiment {
        _ if composed => duration.unwrap_or(config.duration),
        leaf if leaf.one_shot() => Span::ZERO,
        leaf => leaf.duration().and_then(go_duration).unwrap_or(config.duration),
    };
    if problems.is_empty() { Ok(Prepared { experiment, namespace: named, pods_max, lasts }) } else { Err(problems) }
}

impl Deed for Chaos {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "chaos".into(), verbs: vec![self.run_spec(), self.abort_spec()] }
    }

    fn needs(&self) -> Vec<Needs> {
        let kinds: Vec<Kind> = self.kinds().into_iter().map(ChaosKind::served).collect();
        let made: BTreeSet<Kind> = self.experiments.values().map(Prepared::kind).collect();
        let made: Vec<Kind> = if self.config.ad_hoc { kinds.clone() } else { made.into_iter().collect() };
        let mut rules: Vec<Rule> =
            made.iter().map(|kind| Rule::of(kind, "", &["create", "get", "delete"], "to make, watch and end experiments")).collect();
        rules.push(Rule::of(&POD, "", &["list"], "to count what would be hit"));
        if self.config.opt_in {
            rules.push(Rule::of(&NAMESPACE, "", &["get"], "to see whether a namespace lets itself be hit"));
        }
        let by_node = |experiment: &Experiment| {
            let leaves = experiment.leaves();
            leaves.iter().any(|leaf| leaf.picks().iter().any(|pick| pick.selector.node_selectors.is_some()))
        };
        if self.config.ad_hoc || self.experiments.values().any(|prepared| by_node(&prepared.experiment)) {
            rules.push(Rule::of(&NODE, "", &["list"], "to resolve `nodeSelectors`"));
        }
        let abort = kinds.iter().map(|kind| Rule::of(kind, "", &["list", "get", "delete"], "to end experiments").if_served()).collect();
        vec![
            Needs { verb: Verb::from(RUN), kinds: made.into_iter().map(|kind| (kind, "")).collect(), rules },
            Needs { verb: Verb::from(ABORT), kinds: Vec::new(), rules: abort },
        ]
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        let doing = || format!("check {} {} on {}", action.id, action.verb, action.target);
        let refuse = |problem: String| Fault::new(FaultCode::Malformed, doing(), problem);
        let (namespaced, name) = (!matches!(action.target.kind(), "namespace" | "node" | "chaos"), action.target.name());
        let whole = if namespaced { name.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) } else { !name.is_empty() };
        if !whole {
            return Err(refuse(format!(
                "the target is `{}`, expected `deployment/<namespace>/<name>` or `namespace/<name>`",
                action.target
            )));
        }
        if action.verb.as_str() == ABORT {
            return Ok(());
        }
        self.prepare(client, action).map(drop).map_err(refuse)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        if action.verb.as_str() == ABORT {
            let mut calls = Vec::new();
            for kind in self.kinds().into_iter().map(ChaosKind::served) {
                calls.push(Call::get(kind.list_path("")).with("labelSelector", format!("{MANAGED_BY}={HOMEOSTAT}")));
                calls.push(Call::delete(kind.path("<namespace>", "<name>"), Some("<uid>"), "Background"));
            }
            return Ok(calls);
        }
        let prepared = self
            .prepare(client, action)
            .map_err(|problem| Fault::new(FaultCode::Malformed, format!("preview {} {}", action.id, action.verb), problem))?;
        let path = prepared.kind().path(&prepared.namespace, &object_name(client, action));
        let mut calls = Vec::new();
        for namespace in bounds::all_namespaces(&prepared.experiment) {
            calls.push(Call::get(NAMESPACE.path("", &namespace)));
            calls.push(Call::get(POD.list_path(&namespace)));
        }
        let create = self.create(client, action, &prepared);
        calls.extend([create.clone().dry(), create, Call::get(path.clone()), Call::delete(path, Some("<uid>"), "Background")]);
        Ok(calls)
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move { if run.action.verb.as_str() == ABORT { abort::act(run).await } else { self.made(run).await } })
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async move { if run.action.verb.as_str() == ABORT { abort::look(run).await } else { self.seen(run).await } })
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.taken_back(run, receipt))
    }

    fn instead(&self) -> &'static str {
        "an ended experiment is not begun again; act with `chaos.run`"
    }
}
