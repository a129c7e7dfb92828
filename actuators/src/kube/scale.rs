//! `scale.up` and `scale.down`: how many replicas of a workload run, through the scale subresource alone.
//!
//! The write compares and swaps (`resourceVersion`, and `from` if the plan names it); an autoscaler or GitOps that holds the number
//! is left alone and named. Deliberately absent: patching the workload itself (that right would change everything in it). An editor
//! breaks this by counting the written number as success: ready replicas are.

use super::call::{Call, DEPLOYMENT, Kind, STATEFUL_SET, name_problem};
use super::client::KubeClient;
use super::frame::{Deed, Run, Step, seen};
use super::owner;
use super::place::{Place, int, namespaced, number};
use super::refusal::Meaning;
use super::rights::{Needs, Rule};
use homeostat_model::{Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, VerbSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How often it is decided anew when the world changes in between.
const DECISIONS_MAX: u32 = 3;
/// The most replicas that can be configured.
const REPLICAS_MAX: i64 = 10_000;
const UP: &str = "scale.up";
const DOWN: &str = "scale.down";

/// Change how many replicas run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleConfig {
    /// Never fewer; set it to 0 to allow that nothing runs.
    #[serde(default = "min_default")]
    pub min_replicas: i64,
    /// Never more.
    #[serde(default = "max_default")]
    pub max_replicas: i64,
    /// Further kinds with a scale subresource, by the target's kind: `rollout` makes `rollout/web/shop` a target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, ScaleKindConfig>,
    /// How long the replicas may take to be ready.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long a workload needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// A kind with a scale subresource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleKindConfig {
    /// The API group, e.g. `argoproj.io`.
    pub group: String,
    /// The version, e.g. `v1alpha1`.
    pub version: String,
    /// The kind, e.g. `Rollout`.
    pub kind: String,
    /// The resource's name in paths, e.g. `rollouts`.
    pub plural: String,
}

fn min_default() -> i64 {
    1
}
fn max_default() -> i64 {
    20
}
fn timeout_default() -> Span {
    Span::from_mins(5)
}
fn settle_default() -> Span {
    Span::from_mins(2)
}

/// The power.
#[derive(Clone, Debug)]
pub struct Scale {
    config: ScaleConfig,
    kinds: BTreeMap<String, Kind>,
}

impl Scale {
    /// Checks the section; every problem is listed.
    pub fn new(config: &ScaleConfig) -> Result<Scale, Vec<Fault>> {
        let mut problems = Vec::new();
        if !(0 <= config.min_replicas && config.min_replicas <= config.max_replicas && config.max_replicas <= REPLICAS_MAX) {
            problems.push(format!("`min_replicas` and `max_replicas` must be 0 to {REPLICAS_MAX} and in order"));
        }
        if config.timeout <= Span::ZERO || config.settle < Span::ZERO {
            problems.push("`timeout` must be more than 0s, `settle` not negative".into());
        }
        let mut kinds = BTreeMap::from([("deployment".to_owned(), DEPLOYMENT), ("statefulset".to_owned(), STATEFUL_SET)]);
        for (target, kind) in &config.kinds {
            let parts = [target, &kind.group, &kind.version, &kind.plural];
            problems.extend(parts.into_iter().filter_map(|part| name_problem(part)).map(|problem| format!("kind `{target}`: {problem}")));
            let own = Kind {
                group: kind.group.clone().into(),
                version: kind.version.clone().into(),
                kind: kind.kind.clone().into(),
                plural: kind.plural.clone().into(),
                namespaced: true,
            };
            if kinds.insert(target.clone(), own).is_some() {
                problems.push(format!("kind `{target}` is there already"));
            }
        }
        let fault = |problem| Fault::new(FaultCode::Malformed, "configure `kubernetes.scale`", problem);
        if problems.is_empty() { Ok(Scale { config: config.clone(), kinds }) } else { Err(problems.into_iter().map(fault).collect()) }
    }

    fn place(&self, client: &KubeClient, action: &Action) -> Result<Place, Fault> {
        let kind = self.kinds.get(action.target.kind()).cloned().ok_or_else(|| {
            Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), format!("no kind `{}`", action.target.kind()))
        })?;
        namespaced(client, action, kind)
    }

    fn verb(&self, name: &str, class: Class, opposite: &str, doc: &str) -> VerbSpec {
        let (min, max) = (self.config.min_replicas, self.config.max_replicas);
        let arg = |name: &str, kind, required, doc: &str| ArgSpec { name: name.into(), kind, required, doc: doc.into() };
        VerbSpec {
            verb: name.into(),
            class,
            args: vec![
                arg("replicas", ArgKind::Int(min, max), true, "How many are wanted."),
                arg("from", ArgKind::Int(0, REPLICAS_MAX), false, "How many the plan saw; anything else there is refused."),
            ],
            target_kinds: self.kinds.keys().cloned().collect(),
            targets: None,
            opposite: Some(opposite.into()),
            settle: self.config.settle,
            timeout: self.config.timeout,
            revertible: true,
            cost: Cost::default(),
            doc: doc.into(),
        }
    }

    /// Sets the number and waits until it is ready. `from` is what must be there before.
    async fn set(&self, run: &Run<'_>, place: &Place, wanted: i64, from: Option<i64>, direction: Option<bool>) -> Step<Receipt> {
        let mut decisions = 0;
        loop {
            decisions += 1;
            let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
            let scale = run.read(&Call::get(scale_path(place))).await.map_err(|refusal| run.refused(&refusal))?;
            let current = number(&scale, "/spec/replicas").unwrap_or(0);
            if current == wanted {
                if run.has_changed() {
                    break;
                }
                let ready = number(&object, "/status/readyReplicas").unwrap_or(0);
                return Ok(seen(format!("was already so: {wanted} replicas wanted, {ready} ready")));
            }
            if let Some(from) = from.filter(|from| *from != current) {
                let detail = format!("{current} replicas are wanted there, the plan saw {from}: somebody changed it; nothing was sent");
                return Err(run.not_done(FaultCode::Conflict, detail));
            }
            if let Some(up) = direction.filter(|up| *up != (wanted > current)) {
                let verb = if up { UP } else { DOWN };
                return Err(run.not_done(FaultCode::Conflict, format!("`{verb}` to {wanted}, but {current} replicas are wanted there")));
            }
            let held = owner::of_replicas(run.client, place, &object, run.deadline).await.map_err(|refusal| run.refused(&refusal))?;
            if let Some(owner) = held {
                return Err(run.not_done(FaultCode::Conflict, owner.words("the number of replicas")));
            }
            run.note("previous", Arg::Int(current))?;
            let call = put(place, &scale, wanted);
            match run.read(&call.clone().dry()).await {
                Err(refusal) if refusal.meaning() == Meaning::Stale && decisions < DECISIONS_MAX => continue,
                checked => drop(checked.map_err(|refusal| run.refused(&refusal))?),
            }
            match run.write(&call).await? {
                Ok(_) => break,
                Err(refusal) if refusal.meaning() == Meaning::Stale && decisions < DECISIONS_MAX => {}
                Err(refusal) => return Err(run.refused(&refusal)),
            }
        }
        self.wait(run, place, wanted).await
    }

    async fn wait(&self, run: &Run<'_>, place: &Place, wanted: i64) -> Step<Receipt> {
        let mut last = String::from("nothing was seen of it");
        loop {
            if let Some(object) = run.glance(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))? {
                match ready(&object, wanted) {
                    Seen::Ready(how) => return Ok(seen(how)),
                    Seen::Other(how) => return Err(run.not_done(FaultCode::Conflict, how)),
                    Seen::NotYet(how) => last = how,
                }
            }
            if !run.pause().await {
                return Err(run.too_late(last));
            }
        }
    }

    async fn acted(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = self.place(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let wanted = int(run.action, "replicas").unwrap_or_default();
        let receipt = self.set(run, &place, wanted, int(run.action, "from"), Some(run.action.verb.as_str() == UP)).await?;
        Ok(if run.has_changed() { undoable(receipt, run.noted_int("previous"), wanted) } else { receipt })
    }

    async fn looked(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = self.place(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let wanted = int(run.action, "replicas").unwrap_or_default();
        let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
        match ready(&object, wanted) {
            Seen::Ready(how) => Ok(undoable(seen(how), run.noted_int("previous"), wanted)),
            Seen::Other(how) if run.over => Err(run.not_done(FaultCode::Conflict, how)),
            Seen::Other(how) | Seen::NotYet(how) => Err(run.too_late(how)),
        }
    }

    async fn taken_back(&self, run: &Run<'_>, receipt: &Receipt) -> Step<Receipt> {
        let place = self.place(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let number = |name: &str| match receipt.undo.get(name) {
            Some(Arg::Int(value)) => Some(*value),
            _ => None,
        };
        let (Some(previous), Some(ours)) = (number("previous"), number("replicas")) else {
            return Ok(seen("nothing was changed, so there is nothing to take back"));
        };
        self.set(run, &place, previous, Some(ours), None).await
    }
}

fn scale_path(place: &Place) -> String {
    format!("{}/scale", place.path())
}

/// The write: the whole `Scale`, with the version that was read.
fn put(place: &Place, read: &Value, wanted: i64) -> Call {
    let metadata = json!({ "name": place.name, "namespace": place.namespace, "resourceVersion": read["metadata"]["resourceVersion"] });
    let body = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": { "replicas": wanted } });
    Call::replace(scale_path(place), body)
}

fn undoable(mut receipt: Receipt, previous: Option<i64>, wanted: i64) -> Receipt {
    if let Some(previous) = previous {
        receipt.undo = BTreeMap::from([("previous".to_owned(), Arg::Int(previous)), ("replicas".to_owned(), Arg::Int(wanted))]);
    }
    receipt
}

enum Seen {
    Ready(String),
    NotYet(String),
    Other(String),
}

/// Whether `wanted` replicas are wanted, known to the controller, and ready.
fn ready(object: &Value, wanted: i64) -> Seen {
    let current = number(object, "/spec/replicas").unwrap_or(1);
    if current != wanted {
        return Seen::Other(format!("{current} replicas are wanted there, not {wanted}: it was not stored, or somebody changed it back"));
    }
    let status = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let generation = number(object, "/metadata/generation").unwrap_or(0);
    let (all, ready) = (status("replicas"), status("readyReplicas"));
    let words = format!("{wanted} replicas wanted, {ready} ready, {all} in all");
    if status("observedGeneration") >= generation && ready == wanted && all == wanted { Seen::Ready(words) } else { Seen::NotYet(words) }
}

impl Deed for Scale {
    fn spec(&self) -> ActuatorSpec {
        let up = self.verb(UP, Class::Restore, DOWN, "Runs more replicas of a workload.");
        let down = self.verb(DOWN, Class::Reversible, UP, "Runs fewer replicas of a workload.");
        ActuatorSpec { id: "scale".into(), verbs: vec![up, down] }
    }

    fn needs(&self) -> Vec<Needs> {
        let mut rules = owner::rules();
        for kind in self.kinds.values() {
            rules.push(Rule::of(kind, "", &["get"], "to see whether the replicas are ready"));
            rules.push(Rule::of(kind, "scale", &["get", "update"], "to change the replicas"));
        }
        let kinds: Vec<(Kind, &'static str)> = self.kinds.values().map(|kind| (kind.clone(), "scale")).collect();
        [UP, DOWN].map(|verb| Needs { verb: verb.into(), kinds: kinds.clone(), rules: rules.clone() }).into()
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        self.place(client, action).map(drop)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let place = self.place(client, action)?;
        let read = json!({ "metadata": { "resourceVersion": "<as read>" } });
        let call = put(&place, &read, int(action, "replicas").unwrap_or_default());
        let looks = [place.path(), scale_path(&place), owner::AUTOSCALER.list_path(&place.namespace)];
        Ok(looks.into_iter().map(Call::get).chain([call.clone().dry(), call, Call::get(place.path())]).collect())
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.acted(run))
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.looked(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.taken_back(run, receipt))
    }
}
