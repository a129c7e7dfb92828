//! How far a rollout is, for the three kinds that roll.
//!
//! After `kubectl rollout status` (polymorphichelpers/rollout_status.go), with the guard that status must speak of the present
//! generation: otherwise the previous rollout satisfies it. Deliberately absent: waiting. An editor breaks this by leaving out that
//! guard.

use super::call::Call;
use super::frame::{DECISION, Run, Step, seen};
use super::place::{Place, field, number};
use homeostat_model::{FaultCode, Receipt};
use serde_json::Value;

/// The annotation in the pod template by which a rollout is known to be ours.
pub const TEMPLATE_DECISION: &str = "/spec/template/metadata/annotations/homeostat~1decision";

/// Pods that a rollout is expected to replace, for budgets; how many there are is known only when it begins.
pub(super) const ROLLOUT_EVICTIONS: u32 = 3;

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Over: every replica runs the present template.
    Complete(String),
    /// Under way.
    Running(String),
    /// Given up by its controller.
    Failed(String),
}

/// How far the rollout of the present generation of `object` is.
pub fn state(kind: &str, object: &Value) -> Rollout {
    let status = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let generation = number(object, "/metadata/generation").unwrap_or(0);
    let observed = status("observedGeneration");
    if observed < generation {
        return Rollout::Running(format!("the controller has seen generation {observed} of {generation}"));
    }
    if kind == "DaemonSet" {
        let wanted = status("desiredNumberScheduled");
        return counted(wanted, status("updatedNumberScheduled"), status("numberAvailable"), wanted);
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    if kind == "Deployment" {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let given_up = conditions.into_iter().find(|one| one["type"] == "Progressing" && one["reason"] == "ProgressDeadlineExceeded");
        if let Some(condition) = given_up {
            return Rollout::Failed(format!("ProgressDeadlineExceeded: {}", field(condition, "/message")));
        }
        return counted(wanted, status("updatedReplicas"), status("availableReplicas"), status("replicas"));
    }
    let (current, update) = (field(object, "/status/currentRevision"), field(object, "/status/updateRevision"));
    if current != update && wanted > 0 {
        return Rollout::Running(format!("{} of {wanted} replicas have revision {update}", status("updatedReplicas")));
    }
    counted(
        wanted,
        status("updatedReplicas").max(if current == update { status("replicas") } else { 0 }),
        status("readyReplicas"),
        status("replicas"),
    )
}

fn counted(wanted: i64, updated: i64, available: i64, all: i64) -> Rollout {
    let words = format!("{updated} of {wanted} updated, {available} available, {all} in all");
    if updated >= wanted && available >= wanted && all <= wanted { Rollout::Complete(words) } else { Rollout::Running(words) }
}

/// Why nothing can be rolled out now, if nothing can.
pub fn obstacle(kind: &str, object: &Value) -> Option<String> {
    if object["spec"]["paused"] == true {
        return Some("its rollouts are paused (spec.paused)".into());
    }
    if kind != "Deployment" && field(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Some("its update strategy is OnDelete: a new template reaches no pod by itself".into());
    }
    match state(kind, object) {
        Rollout::Running(how) => Some(format!("a rollout is under way: {how}")),
        _ => None,
    }
}

/// Waits until the rollout that carries our decision is over.
pub async fn wait(run: &Run<'_>, place: &Place) -> Step<Receipt> {
    let decision = run.decision();
    let mut last = String::from("nothing was seen of it");
    loop {
        if let Some(object) = run.glance(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))? {
            let mark = field(&object, TEMPLATE_DECISION);
            if mark != decision {
                let whose = if mark.is_empty() { "no decision".into() } else { format!("decision {mark}") };
                let detail =
                    format!("the pod template carries {whose}, expected {DECISION} {decision}: it was not stored, or somebody replaced it");
                return Err(run.not_done(FaultCode::Conflict, detail));
            }
            match state(&place.kind.kind, &object) {
                Rollout::Complete(how) => {
                    return Ok(seen(format!("rollout of generation {} complete: {how}", object["metadata"]["generation"])));
                }
                Rollout::Failed(how) => return Err(run.not_done(FaultCode::Failed, how)),
                Rollout::Running(how) => last = how,
            }
        }
        if !run.pause().await {
            return Err(run.too_late(format!("the rollout is not over: {last}")));
        }
    }
}

/// One look at the same, for a probe.
pub async fn look(run: &Run<'_>, place: &Place) -> Step<Receipt> {
    let object = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
    if field(&object, TEMPLATE_DECISION) != run.decision() {
        let detail = "the pod template does not carry this decision";
        return Err(if run.over { run.not_done(FaultCode::Conflict, detail) } else { run.unknown(FaultCode::Conflict, detail) });
    }
    match state(&place.kind.kind, &object) {
        Rollout::Complete(how) => Ok(seen(format!("rollout of generation {} complete: {how}", object["metadata"]["generation"]))),
        Rollout::Failed(how) => Err(run.not_done(FaultCode::Failed, how)),
        Rollout::Running(how) => Err(run.too_late(format!("the rollout is not over: {how}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_previous_rollout_does_not_count() {
        let mut object = json!({ "metadata": { "generation": 3 }, "spec": { "replicas": 2 }, "status": {
            "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 } });
        assert!(matches!(state("Deployment", &object), Rollout::Running(_)));
        object["status"]["observedGeneration"] = json!(3);
        assert!(matches!(state("Deployment", &object), Rollout::Complete(_)));
        object["status"]["replicas"] = json!(3);
        assert!(matches!(state("Deployment", &object), Rollout::Running(_)), "an old pod is still there");
        object["status"]["conditions"] =
            json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m" }]);
        assert_eq!(state("Deployment", &object), Rollout::Failed("ProgressDeadlineExceeded: m".into()));
    }

    #[test]
    fn sets_roll_too() {
        let mut set = json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 2 }, "status": { "observedGeneration": 1,
            "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b" } });
        assert!(matches!(state("StatefulSet", &set), Rollout::Running(_)));
        set["status"]["currentRevision"] = json!("b");
        assert!(matches!(state("StatefulSet", &set), Rollout::Complete(_)));
        set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
        assert!(obstacle("StatefulSet", &set).unwrap().contains("OnDelete"));
        let daemons = json!({ "metadata": { "generation": 1 }, "status": { "observedGeneration": 1, "desiredNumberScheduled": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 2 } });
        assert!(matches!(state("DaemonSet", &daemons), Rollout::Running(_)));
    }
}
