//! `resources.set`: requests and limits of one container of a workload, within configured bounds.
//!
//! The new template rolls out as any other; what was there before is kept for the undo. Deliberately absent: resizing running pods, and
//! other resources than cpu and memory. An editor breaks this by writing next to an autoscaler or GitOps that holds the template.

use super::call::{Call, DAEMON_SET, DEPLOYMENT, STATEFUL_SET};
use super::client::KubeClient;
use super::frame::{Deed, Run, Step, annotations, seen};
use super::owner;
use super::place::{Place, field, namespaced, text, workload};
use super::quantity::{amount, same};
use super::refusal::Meaning;
use super::rights::{Needs, Rule};
use super::rollout::{self, ROLLOUT_EVICTIONS, TEMPLATE_DECISION};
use homeostat_model::{Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, VerbSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How often it is decided anew when the world changes in between.
const DECISIONS_MAX: u32 = 3;
/// The longest quantity.
const QUANTITY_BYTES_MAX: usize = 32;
const SET: &str = "resources.set";
/// The arguments, with where they stand in a container.
const FIELDS: [(&str, &str, &str); 4] = [
    ("cpu_request", "requests", "cpu"),
    ("cpu_limit", "limits", "cpu"),
    ("memory_request", "requests", "memory"),
    ("memory_limit", "limits", "memory"),
];

/// Change what containers get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcesConfig {
    /// The least cpu that may be written, e.g. `10m`.
    #[serde(default = "cpu_min_default")]
    pub cpu_min: String,
    /// The most cpu that may be written, e.g. `4`.
    pub cpu_max: String,
    /// The least memory that may be written, e.g. `32Mi`.
    #[serde(default = "memory_min_default")]
    pub memory_min: String,
    /// The most memory that may be written, e.g. `8Gi`.
    pub memory_max: String,
    /// How long the rollout may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long a workload needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

fn cpu_min_default() -> String {
    "10m".into()
}
fn memory_min_default() -> String {
    "16Mi".into()
}
fn timeout_default() -> Span {
    Span::from_mins(10)
}
fn settle_default() -> Span {
    Span::from_mins(10)
}

/// The power.
#[derive(Clone, Debug)]
pub struct Resources {
    config: ResourcesConfig,
}

impl Resources {
    /// Checks the section; every problem is listed.
    pub fn new(config: &ResourcesConfig) -> Result<Resources, Vec<Fault>> {
        let mut problems = Vec::new();
        for (what, min, max) in [("cpu", &config.cpu_min, &config.cpu_max), ("memory", &config.memory_min, &config.memory_max)] {
            match (amount(min), amount(max)) {
                (Ok(min), Ok(max)) if min <= max => {}
                (Ok(_), Ok(_)) => problems.push(format!("`{what}_min` {min} is above `{what}_max` {max}")),
                (min, max) => problems.extend([min.err(), max.err()].into_iter().flatten()),
            }
        }
        if config.timeout <= Span::ZERO || config.settle < Span::ZERO {
            problems.push("`timeout` must be more than 0s, `settle` not negative".into());
        }
        let fault = |problem| Fault::new(FaultCode::Malformed, "configure `kubernetes.resources`", problem);
        if problems.is_empty() { Ok(Resources { config: config.clone() }) } else { Err(problems.into_iter().map(fault).collect()) }
    }

    /// The place, and what is wanted, by argument.
    fn wish(&self, client: &KubeClient, action: &Action) -> Result<(Place, BTreeMap<String, Option<String>>), Fault> {
        let refuse =
            |detail: String| Fault::new(FaultCode::Malformed, format!("check {} {} on {}", action.id, action.verb, action.target), detail);
        let kind = workload(action.target.kind()).ok_or_else(|| refuse(format!("no kind `{}`", action.target.kind())))?;
        let place = namespaced(client, action, kind)?;
        let mut wish = BTreeMap::new();
        for (name, _, resource) in FIELDS {
            let Some(quantity) = text(action, name) else { continue };
            let (min, max) = match resource {
                "cpu" => (&self.config.cpu_min, &self.config.cpu_max),
                _ => (&self.config.memory_min, &self.config.memory_max),
            };
            let wanted = amount(quantity).map_err(|problem| refuse(format!("`{name}`: {problem}")))?;
            if wanted < amount(min).unwrap_or(0.0) || wanted > amount(max).unwrap_or(f64::MAX) {
                return Err(refuse(format!("`{name}` is {quantity}, expected {min} to {max}")));
            }
            wish.insert(name.to_owned(), Some(quantity.to_owned()));
        }
        if wish.is_empty() {
            let names = FIELDS.map(|(name, _, _)| name).join(", ");
            return Err(refuse(format!("nothing is to be set: give at least one of {names}")));
        }
        Ok((place, wish))
    }

    /// Writes `wish` into the container, if there stands what `expected` says, and waits for the rollout. Returns what was there.
    async fn set(
        &self,
        run: &Run<'_>,
        place: &Place,
        wish: &BTreeMap<String, Option<String>>,
        expected: Option<&Receipt>,
    ) -> Step<Receipt> {
        let container = text(run.action, "container").unwrap_or_default();
        let mut decisions = 0;
        loop {
            decisions += 1;
            let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
            let present = present(&object, container).ok_or_else(|| no_container(run, &object, container))?;
            if is_so(&present, wish) {
                if run.has_changed() && field(&object, TEMPLATE_DECISION) == run.decision() {
                    break;
                }
                return Ok(seen(format!("was already so: {}", shown(&present))));
            }
            if let Some(expected) = expected.filter(|receipt| !is_so(&present, &stored(receipt, "set."))) {
                let detail =
                    format!("{container} has {}, we had set {}: somebody changed it", shown(&present), shown(&stored(expected, "set.")));
                return Err(run.not_done(FaultCode::Conflict, detail));
            }
            if let Some(obstacle) = rollout::obstacle(&place.kind.kind, &object).filter(|_| expected.is_none()) {
                return Err(run.not_done(FaultCode::Conflict, format!("not changed: {obstacle}")));
            }
            let held = owner::of_template(run.client, place, &object, run.deadline).await.map_err(|refusal| run.refused(&refusal))?;
            if let Some(owner) = held {
                return Err(run.not_done(FaultCode::Conflict, owner.words("the pod template")));
            }
            for (name, value) in present.iter().filter(|(name, _)| wish.contains_key(*name)) {
                run.note(&format!("was.{name}"), Arg::Text(value.clone().unwrap_or_default()))?;
            }
            let call = patch(run.client, run.action, place, &object["metadata"]["resourceVersion"], (container, wish));
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
        rollout::wait(run, place).await
    }

    async fn acted(&self, run: &Run<'_>) -> Step<Receipt> {
        let (place, wish) = self.wish(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let receipt = self.set(run, &place, &wish, None).await?;
        Ok(if run.has_changed() { undoable(run, receipt, &wish) } else { receipt })
    }

    async fn looked(&self, run: &Run<'_>) -> Step<Receipt> {
        let (place, wish) = self.wish(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        Ok(undoable(run, rollout::look(run, &place).await?, &wish))
    }

    async fn taken_back(&self, run: &Run<'_>, receipt: &Receipt) -> Step<Receipt> {
        let (place, _) = self.wish(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let before = stored(receipt, "was.");
        if before.is_empty() {
            return Ok(seen("nothing was changed, so there is nothing to take back"));
        }
        self.set(run, &place, &before, Some(receipt)).await
    }
}

/// What a container has, by argument; `None`: not set there.
fn present(object: &Value, container: &str) -> Option<BTreeMap<String, Option<String>>> {
    let containers = object.pointer("/spec/template/spec/containers")?.as_array()?;
    let found = containers.iter().find(|one| one["name"] == container)?;
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(FIELDS.iter().map(|(name, part, resource)| ((*name).to_owned(), text(&found["resources"][*part][*resource]))).collect())
}

fn is_so(present: &BTreeMap<String, Option<String>>, wish: &BTreeMap<String, Option<String>>) -> bool {
    wish.iter().all(|(name, wanted)| match (present.get(name).and_then(Option::as_ref), wanted) {
        (Some(present), Some(wanted)) => same(present, wanted),
        (None, None) => true,
        _ => false,
    })
}

fn shown(values: &BTreeMap<String, Option<String>>) -> String {
    let one = |(name, value): (&String, &Option<String>)| format!("{name} {}", value.as_deref().unwrap_or("unset"));
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn no_container(run: &Run<'_>, object: &Value, container: &str) -> homeostat_model::Outcome {
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let known: Vec<&str> = containers.filter_map(|one| one["name"].as_str()).take(20).collect();
    run.not_done(FaultCode::NotFound, format!("no container `{container}`; there are: {}", known.join(", ")))
}

fn patch(
    client: &KubeClient,
    action: &Action,
    place: &Place,
    version: &Value,
    (container, wish): (&str, &BTreeMap<String, Option<String>>),
) -> Call {
    let mut resources = json!({});
    for (name, part, resource) in FIELDS {
        if let Some(value) = wish.get(name) {
            resources[part][resource] = json!(value);
        }
    }
    let spec = json!({ "containers": [{ "name": container, "resources": resources }] });
    let template = json!({ "metadata": { "annotations": annotations(client, action) }, "spec": spec });
    Call::strategic(place.path(), json!({ "metadata": { "resourceVersion": version }, "spec": { "template": template } }))
}

/// Undo data: `was.<argument>` (empty: not set) and `set.<argument>`.
fn undoable(run: &Run<'_>, mut receipt: Receipt, wish: &BTreeMap<String, Option<String>>) -> Receipt {
    for (name, wanted) in wish {
        if let Some(was) = run.noted_text(&format!("was.{name}")) {
            receipt.undo.insert(format!("was.{name}"), Arg::Text(was));
            receipt.undo.insert(format!("set.{name}"), Arg::Text(wanted.clone().unwrap_or_default()));
        }
    }
    receipt
}

fn stored(receipt: &Receipt, prefix: &str) -> BTreeMap<String, Option<String>> {
    let one = |(name, value): (&String, &Arg)| {
        let name = name.strip_prefix(prefix).filter(|name| FIELDS.iter().any(|(known, _, _)| known == name))?;
        Some((name.to_owned(), value.as_text().filter(|text| !text.is_empty()).map(str::to_owned)))
    };
    receipt.undo.iter().filter_map(one).collect()
}

impl Deed for Resources {
    fn spec(&self) -> ActuatorSpec {
        let arg = |name: &str, required, doc: &str| ArgSpec { name: name.into(), kind: ArgKind::Text(253), required, doc: doc.into() };
        let mut args = vec![arg("container", true, "The container's name.")];
        let config = &self.config;
        for (name, part, resource) in FIELDS {
            let (min, max) = if resource == "cpu" { (&config.cpu_min, &config.cpu_max) } else { (&config.memory_min, &config.memory_max) };
            let doc = format!("The {resource} in the container's {part}, {min} to {max}.");
            args.push(ArgSpec { kind: ArgKind::Text(QUANTITY_BYTES_MAX), ..arg(name, false, &doc) });
        }
        let verb = VerbSpec {
            verb: SET.into(),
            class: Class::Disruptive,
            args,
            target_kinds: vec!["deployment".into(), "statefulset".into(), "daemonset".into()],
            targets: None,
            opposite: None,
            settle: config.settle,
            timeout: config.timeout,
            revertible: true,
            cost: Cost { disruption: Span::from_secs(30), evictions: ROLLOUT_EVICTIONS, ..Cost::default() },
            doc: "Sets requests and limits of one container; its pods are replaced.".into(),
        };
        ActuatorSpec { id: "resources".into(), verbs: vec![verb] }
    }

    fn needs(&self) -> Vec<Needs> {
        let kinds = [DEPLOYMENT, STATEFUL_SET, DAEMON_SET];
        let mut rules: Vec<Rule> =
            kinds.iter().map(|kind| Rule::of(kind, "", &["get", "patch"], "to change the pod template and see the rollout")).collect();
        rules.push(Rule::of(&owner::VERTICAL, "", &["list"], "to see whether an autoscaler holds the resources").if_served());
        vec![Needs { verb: SET.into(), kinds: kinds.map(|kind| (kind, "")).into(), rules }]
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        self.wish(client, action).map(drop)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let (place, wish) = self.wish(client, action)?;
        let container = text(action, "container").unwrap_or_default();
        let call = patch(client, action, &place, &json!("<as read>"), (container, &wish));
        Ok(vec![Call::get(place.path()), call.clone().dry(), call, Call::get(place.path())])
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
