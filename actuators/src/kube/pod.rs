//! `pod.delete`: one pod goes, by eviction, and its controller brings another.
//!
//! Which pod is meant is fixed by its uid, read just before (and compared with the plan's, if it names one). Deliberately absent:
//! deleting past a disruption budget, and pods that nobody brings back. An editor breaks this by deleting by name alone.

use super::call::{Call, POD};
use super::client::KubeClient;
use super::evict::{eviction, is_mirror};
use super::frame::{Deed, Run, Step, seen};
use super::place::{Place, controller, field, int, namespaced, terminating, text};
use super::refusal::{Meaning, Refusal};
use super::rights::{Needs, Rule};
use homeostat_model::{Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, VerbSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const DELETE: &str = "pod.delete";
/// The longest grace that may be asked for.
const GRACE_SECONDS_MAX: i64 = 3600;

/// Delete single pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PodConfig {
    /// How long it may take until the pod is gone and another is there.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Between two requests for a pod that a disruption budget holds.
    #[serde(default = "budget_retry_default")]
    #[schemars(with = "String")]
    pub budget_retry: Span,
    /// How long a workload needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

fn timeout_default() -> Span {
    Span::from_mins(5)
}
fn budget_retry_default() -> Span {
    Span::from_secs(5)
}
fn settle_default() -> Span {
    Span::from_mins(2)
}

/// The power.
#[derive(Clone, Debug)]
pub struct Pod {
    config: PodConfig,
}

/// What is looked for after the eviction.
struct Sought {
    /// The uid of the pod that goes.
    uid: String,
    /// The uid of its controller.
    controller: String,
    /// How many pods of that controller were alive.
    siblings: i64,
}

impl Pod {
    /// Checks the section; every problem is listed.
    pub fn new(config: &PodConfig) -> Result<Pod, Vec<Fault>> {
        if config.timeout <= Span::ZERO || config.budget_retry <= Span::ZERO || config.settle < Span::ZERO {
            let problem = "`timeout` and `budget_retry` must be more than 0s, `settle` not negative";
            return Err(vec![Fault::new(FaultCode::Malformed, "configure `kubernetes.pod`", problem)]);
        }
        Ok(Pod { config: config.clone() })
    }

    async fn acted(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = namespaced(run.client, run.action, POD).map_err(|fault| run.unsent(fault))?;
        let refused = |refusal: Refusal| run.refused(&refusal);
        let pod = match run.read(&Call::get(place.path())).await {
            Ok(pod) => pod,
            Err(refusal) if refusal.is_gone() => return Ok(seen("was already gone")),
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        let uid = field(&pod, "/metadata/uid");
        if let Some(meant) = text(run.action, "uid").filter(|meant| *meant != uid) {
            return Ok(seen(format!("the pod with uid {meant} was already gone; another has its name")));
        }
        let Some(owner) = controller(&pod).filter(|_| !is_mirror(&pod)) else {
            let what = if is_mirror(&pod) { "it is the mirror of a static pod" } else { "it has no controller that would bring it back" };
            return Err(run.not_done(FaultCode::Conflict, format!("not deleted: {what}")));
        };
        let controller = field(owner, "/uid").to_owned();
        let siblings = alive(run, &place, &controller).await.map_err(refused)?.len() as i64;
        let sought = Sought { uid: uid.to_owned(), controller, siblings };
        for (name, value) in [("uid", &sought.uid), ("controller", &sought.controller)] {
            run.note(name, Arg::Text(value.clone()))?;
        }
        run.note("siblings", Arg::Int(sought.siblings))?;
        if !terminating(&pod) {
            self.evict(run, &place, &sought.uid).await?;
        }
        let mut last = String::from("nothing was seen of it");
        loop {
            match replaced(run, &place, &sought).await {
                Ok(Ok(how)) => return Ok(seen(how)),
                Ok(Err(not_yet)) => last = not_yet,
                Err(refusal) if refusal.is_passing() => {}
                Err(refusal) => return Err(run.refused(&refusal)),
            }
            if !run.pause().await {
                return Err(run.too_late(last));
            }
        }
    }

    /// Evicts, and asks again while a budget holds the pod.
    async fn evict(&self, run: &Run<'_>, place: &Place, uid: &str) -> Step<()> {
        let call = eviction(&place.namespace, &place.name, uid, int(run.action, "grace_seconds"));
        loop {
            let checked = match run.read(&call.clone().dry()).await {
                Ok(_) => run.write(&call).await?,
                Err(refusal) => Err(refusal),
            };
            match checked {
                Ok(_) => return Ok(()),
                // It went by itself, or another has its name: what was meant is gone.
                Err(refusal) if matches!(refusal.meaning(), Meaning::Gone | Meaning::Stale) => return Ok(()),
                Err(refusal) if refusal.meaning() == Meaning::Budget => {
                    if !run.pause_for(self.config.budget_retry).await {
                        let detail = format!("its disruption budget held it all the time: {}", refusal.words());
                        return Err(if run.has_changed() {
                            run.unknown(FaultCode::Limit, detail)
                        } else {
                            run.not_done(FaultCode::Limit, detail)
                        });
                    }
                }
                Err(refusal) => return Err(run.refused(&refusal)),
            }
        }
    }

    async fn looked(&self, run: &Run<'_>) -> Step<Receipt> {
        let place = namespaced(run.client, run.action, POD).map_err(|fault| run.unsent(fault))?;
        let (Some(uid), Some(controller), Some(siblings)) =
            (run.noted_text("uid"), run.noted_text("controller"), run.noted_int("siblings"))
        else {
            return Err(run.unknown(FaultCode::Internal, "it was not noted which pod was meant"));
        };
        match replaced(run, &place, &Sought { uid, controller, siblings }).await.map_err(|refusal| run.refused(&refusal))? {
            Ok(how) => Ok(seen(how)),
            Err(not_yet) => Err(run.too_late(not_yet)),
        }
    }
}

/// The pods of a controller that are not on their way out.
async fn alive(run: &Run<'_>, place: &Place, owner: &str) -> Result<Vec<Value>, Refusal> {
    let pods = run.client.list(&POD, &place.namespace, &[], run.deadline).await?;
    let is_alive = |pod: &Value| !terminating(pod) && controller(pod).is_some_and(|one| field(one, "/uid") == owner);
    Ok(pods.into_iter().filter(is_alive).collect())
}

/// Whether that uid is gone, and as many of its siblings are there as before; else what is missing.
async fn replaced(run: &Run<'_>, place: &Place, sought: &Sought) -> Result<Result<String, String>, Refusal> {
    match run.read(&Call::get(place.path())).await {
        Ok(pod) if field(&pod, "/metadata/uid") == sought.uid => {
            let finalizers = &pod["metadata"]["finalizers"];
            return Ok(Err(match (terminating(&pod), finalizers.as_array().is_some_and(|all| !all.is_empty())) {
                (true, true) => format!("the pod is on its way out; finalizers {finalizers} hold it"),
                (true, false) => "the pod is on its way out".into(),
                (false, _) => "the pod is still there".into(),
            }));
        }
        Ok(_) => {}
        Err(refusal) if refusal.is_gone() => {}
        Err(refusal) => return Err(refusal),
    }
    let now = alive(run, place, &sought.controller).await?;
    if (now.len() as i64) < sought.siblings {
        return Ok(Err(format!("the pod is gone; {} of {} pods of its controller are there", now.len(), sought.siblings)));
    }
    Ok(Ok(format!("uid {} is gone; its controller has {} pods", sought.uid, now.len())))
}

impl Deed for Pod {
    fn spec(&self) -> ActuatorSpec {
        let arg = |name: &str, kind, doc: &str| ArgSpec { name: name.into(), kind, required: false, doc: doc.into() };
        let verb = VerbSpec {
            verb: DELETE.into(),
            class: Class::Disruptive,
            args: vec![
                arg("uid", ArgKind::Text(64), "The uid that the plan saw; another pod of that name is left alone."),
                arg("grace_seconds", ArgKind::Int(1, GRACE_SECONDS_MAX), "How long it gets to stop; absent: what the pod says."),
            ],
            target_kinds: vec!["pod".into()],
            targets: None,
            opposite: None,
            settle: self.config.settle,
            timeout: self.config.timeout,
            revertible: false,
            cost: Cost { disruption: Span::from_secs(10), evictions: 1, ..Cost::default() },
            doc: "Evicts one pod; its controller brings another.".into(),
        };
        ActuatorSpec { id: "pod".into(), verbs: vec![verb] }
    }

    fn needs(&self) -> Vec<Needs> {
        let rules = vec![
            Rule::of(&POD, "", &["get", "list"], "to see which pod is meant and what replaces it"),
            Rule::of(&POD, "eviction", &["create"], "to evict within disruption budgets"),
        ];
        vec![Needs { verb: DELETE.into(), kinds: vec![(POD, "eviction")], rules }]
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        namespaced(client, action, POD).map(drop)
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let place = namespaced(client, action, POD)?;
        let uid = text(action, "uid").unwrap_or("<as read>");
        let call = eviction(&place.namespace, &place.name, uid, int(action, "grace_seconds"));
        let (read, list) = (Call::get(place.path()), Call::get(POD.list_path(&place.namespace)));
        Ok(vec![read.clone(), list.clone(), call.clone().dry(), call, read, list])
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.acted(run))
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.looked(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, _receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(async { Err(run.not_done(FaultCode::NeverStarted, "a deleted pod does not come back")) })
    }

    fn instead(&self) -> &'static str {
        "its controller has brought another"
    }
}
