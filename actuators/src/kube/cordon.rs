//! Cordons with an owner: what we cordoned carries our mark, and only that is uncordoned by us.
//!
//! Deliberately absent: taints; the node controller sets the one that belongs to a cordon. An editor breaks this by uncordoning a
//! node that a person cordoned.

use super::call::Call;
use super::client::KubeClient;
use super::frame::{REASON, Run, Step, annotations, decision};
use super::place::{Place, annotation};
use super::refusal::Meaning;
use homeostat_model::{Action, Arg, FaultCode, Outcome};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The annotation of a node that we cordoned: the decision.
pub const CORDONED_BY: &str = "homeostat/cordoned-by";
/// How often it is decided anew when the node changes in between.
const DECISIONS_MAX: u32 = 3;

/// Who cordoned a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cordon {
    /// Nobody.
    None,
    /// Us, by this decision.
    Ours(String),
    /// Somebody else.
    Others,
}

/// Who cordoned a node. A mark that was left on an open node says nothing.
pub fn of(node: &Value) -> Cordon {
    if node["spec"]["unschedulable"] != true {
        return Cordon::None;
    }
    match annotation(node, CORDONED_BY) {
        "" => Cordon::Others,
        decision => Cordon::Ours(decision.to_owned()),
    }
}

/// The write that cordons.
pub fn close(client: &KubeClient, action: &Action, place: &Place, version: &Value) -> Call {
    let marks = json!({ CORDONED_BY: decision(client, action), REASON: annotations(client, action)[REASON] });
    let metadata = json!({ "resourceVersion": version, "annotations": marks });
    Call::merge(place.path(), json!({ "metadata": metadata, "spec": { "unschedulable": true } }))
}

/// The write that uncordons.
pub fn open(place: &Place, version: &Value) -> Call {
    let metadata = json!({ "resourceVersion": version, "annotations": { CORDONED_BY: null, REASON: null } });
    Call::merge(place.path(), json!({ "metadata": metadata, "spec": { "unschedulable": null } }))
}

/// Cordons the node unless it is cordoned; returns who holds the cordon now, as read after the write.
pub async fn cordon(run: &Run<'_>, place: &Place) -> Step<Cordon> {
    for round in 1.. {
        let node = run.read(&Call::get(place.path())).await.map_err(|refusal| run.refused(&refusal))?;
        let held = of(&node);
        if held != Cordon::None {
            return Ok(held);
        }
        if round > DECISIONS_MAX {
            break;
        }
        let call = close(run.client, run.action, place, &node["metadata"]["resourceVersion"]);
        if let Err(refusal) = run.read(&call.clone().dry()).await {
            if refusal.meaning() == Meaning::Stale {
                continue;
            }
            return Err(run.refused(&refusal));
        }
        run.note("cordoned", Arg::Bool(true))?;
        match run.write(&call).await? {
            Err(refusal) if refusal.meaning() != Meaning::Stale => return Err(run.refused(&refusal)),
            _ => {}
        }
    }
    Err(run.not_done(FaultCode::Conflict, "the node is not cordoned: each write was overtaken by another, or was not stored"))
}

/// Uncordons the node if the cordon is of `decision` (`None`: any of ours). Returns what was seen.
pub async fn uncordon(run: &Run<'_>, place: &Place, decision: Option<&str>, deadline: Instant) -> Step<String> {
    let refused = |refusal| -> Outcome { run.refused(&refusal) };
    let mut was_ours = false;
    for round in 1.. {
        let node = run.client.call(&Call::get(place.path()), deadline).await.map_err(refused)?;
        match of(&node) {
            Cordon::None if was_ours => return Ok("uncordoned".into()),
            Cordon::None => return Ok("was not cordoned".into()),
            Cordon::Ours(by) if decision.is_none_or(|decision| decision == by) => was_ours = true,
            Cordon::Ours(by) => {
                return Err(run.not_done(FaultCode::Conflict, format!("the cordon is of decision {by} now; it is left as it is")));
            }
            Cordon::Others => {
                return Err(
                    run.not_done(FaultCode::Conflict, "somebody else cordoned the node (no homeostat/cordoned-by); it is left as it is")
                );
            }
        }
        if round > DECISIONS_MAX {
            break;
        }
        match run.write_by(&open(place, &node["metadata"]["resourceVersion"]), deadline).await? {
            Err(refusal) if refusal.meaning() != Meaning::Stale => return Err(run.refused(&refusal)),
            _ => {}
        }
    }
    Err(run.not_done(FaultCode::Conflict, "the node is still cordoned: each write was overtaken by another, or was not stored"))
}
