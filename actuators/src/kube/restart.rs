//! `restart.rollout`: new pods for a workload, by one annotation in its pod template.
//!
//! The annotation holds the action's number, so that a second look finds the restart instead of making another (kube's and kubectl's
//! `restart` write the time, and every call is a new rollout). Deliberately absent: undo; the pods that went are gone. An editor breaks
//! this by restarting while a rollout runs.

use super::call::{Call, DAEMON_SET, DEPLOYMENT, STATEFUL_SET};
use super::client::KubeClient;
use super::frame::{Deed, Run, Step, annotations};
use super::place::{Place, field, namespaced, workload};
use super::refusal::Meaning;
use super::rights::{Needs, Rule};
use super::rollout::{self, ROLLOUT_EVICTIONS, TEMPLATE_DECISION};
use homeostat_model::{Action, ActuatorSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, VerbSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How often it is decided anew when the world changes in between.
const DECISIONS_MAX: u32 = 3;
const ROLLOUT: &str = "restart.rollout";

/// Restart workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartConfig {
    /// How long a rollout may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long a workload needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
    /// How long somebody is expected to be interrupted; for budgets.
    #[serde(default = "disruption_default")]
    #[schemars(with = "String")]
    pub disruption: Span,
}

fn timeout_default() -> Span {
    Span::from_mins(10)
}
fn settle_default() -> Span {
    Span::from_mins(5)
}
fn disruption_default() -> Span {
    Span::from_secs(30)
}

/// The power.
#[derive(Clone, Debug)]
pub struct Restart {
    config: RestartConfig,
}

impl Restart {
    /// Checks the section; every problem is listed.
    pub fn new(config: &RestartConfig) -> Result<Restart, Vec<Fault>> {
        if config.timeout <= Span::ZERO || config.settle < Span::ZERO || config.disruption < Span::ZERO {
            let problem = "`timeout` must be more than 0s, `settle` and `disruption` not negative";
            return Err(vec![Fault::new(FaultCode::Malformed, "configure `kubernetes.restart`", problem)]);
        }
        Ok(Restart { config: config.clone() })
    }

    async fn acted(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = place(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        let mut decisions = 0;
        loop {
            decisions += 1;
            let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
            if field(&object, TEMPLATE_DECISION) == run.decision() {
                break; // the answer was lost, the restart was not
            }
            if let Some(obstacle) = rollout::obstacle(&place.kind.kind, &object) {
                return Err(run.not_done(FaultCode::Conflict, format!("not restarted: {obstacle}")));
            }
            let call = patch(run.client, run.action, &place, &object["metadata"]["resourceVersion"]);
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
        rollout::wait(run, &place).await
    }

    async fn looked(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = place(run.client, run.action).map_err(|fault| run.unsent(fault))?;
        rollout::look(run, &place).await
    }
}

fn place(client: &KubeClient, action: &Action) -> Result<Place, Fault> {
    let kind = workload(action.target.kind()).ok_or_else(|| {
        Fault::new(FaultCode::Malformed, format!("check {} {}", action.id, action.verb), format!("no kind `{}`", action.target.kind()))
    })?;
    namespaced(client, action, kind)
}

fn patch(client: &KubeClient, action: &Action, place: &Place, version: &Value) -> Call {
    let template = json!({ "metadata": { "annotations": annotations(client, action) } });
    Call::merge(place.path(), json!({ "metadata": { "resourceVersion": version }, "spec": { "template": template } }))
}

impl Deed for Restart {
    fn spec(&self) -> ActuatorSpec {
        let verb = VerbSpec {
            verb: ROLLOUT.into(),
            class: Class::Disruptive,
            args: Vec::new(),
            target_kinds: vec!["deployment".into(), "statefulset".into(), "daemonset".into()],
            targets: None,
            opposite: None,
            settle: self.config.settle,
            timeout: self.config.timeout,
            revertible: false,
            cost: Cost { disruption: self.config.disruption, evictions: ROLLOUT_EVICTIONS, ..Cost::default() },
            doc: "Replaces all pods of a workload by new ones, as its update strategy says.".into(),
        };
        ActuatorSpec { id: "restart".into(), verbs: vec![verb] }
    }

    fn needs(&self) -> Vec<Needs> {
        let kinds = [DEPLOYMENT, STATEFUL_SET, DAEMON_SET];
        let rules =
            kinds.iter().map(|kind| Rule::of(kind, "", &["get", "patch"], "to change the pod template and see the rollout")).collect();
        vec![Needs { verb: ROLLOUT.into(), kinds: kinds.map(|kind| (kind, "")).into(), rules }]
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        place(client, action).map(drop)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let place = place(client, action)?;
        let call = patch(client, action, &place, &json!("<as read>"));
        Ok(vec![Call::get(place.path()), call.clone().dry(), call, Call::get(place.path())])
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.acted(run))
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.looked(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, _receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async { Err(run.not_done(FaultCode::NeverStarted, "a restart cannot be taken back")) })
    }

    fn instead(&self) -> &'static str {
        "roll back to an earlier template instead"
    }
}
