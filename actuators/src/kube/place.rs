//! Where a target is, and the words that all powers share for it.
//!
//! Deliberately absent: looking whether it is there. An editor breaks this by letting a name through that is none: names go into paths.

use super::call::{DAEMON_SET, DEPLOYMENT, Kind, STATEFUL_SET, name_problem};
use super::client::KubeClient;
use homeostat_model::{Action, Arg, Fault, FaultCode};
use serde_json::Value;

/// One object: its kind, namespace (empty for cluster-scoped ones) and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The kind.
    pub kind: Kind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Place {
    /// The object's path.
    pub fn path(&self) -> String {
        self.kind.path(&self.namespace, &self.name)
    }
}

/// The kind behind a target's kind, for the workloads that every cluster has.
pub fn workload(target_kind: &str) -> Option<Kind> {
    match target_kind {
        "deployment" => Some(DEPLOYMENT),
        "statefulset" => Some(STATEFUL_SET),
        "daemonset" => Some(DAEMON_SET),
        _ => None,
    }
}

/// The place of a namespaced target such as `deployment/web/shop`.
pub fn namespaced(client: &KubeClient, action: &Action, kind: Kind) -> Result<Place, Fault> {
    let refuse = |code, detail| Err(Fault::new(code, format!("check {} {} on {}", action.id, action.verb, action.target), detail));
    let Some((namespace, name)) = action.target.name().split_once('/') else {
        let detail = format!("expected `{0}/<namespace>/<name>`, such as `{0}/web/shop`", action.target.kind());
        return refuse(FaultCode::Malformed, detail);
    };
    if let Some(problem) = name_problem(namespace).or_else(|| name_problem(name)) {
        return refuse(FaultCode::Malformed, problem);
    }
    match client.namespace_problem(namespace) {
        Some(problem) => refuse(FaultCode::Denied, problem),
        None => Ok(Place { kind, namespace: namespace.into(), name: name.into() }),
    }
}

/// The place of a cluster-scoped target such as `node/muscle`.
pub fn cluster(action: &Action, kind: Kind) -> Result<Place, Fault> {
    match name_problem(action.target.name()) {
        Some(problem) => {
            Err(Fault::new(FaultCode::Malformed, format!("check {} {} on {}", action.id, action.verb, action.target), problem))
        }
        None => Ok(Place { kind, namespace: String::new(), name: action.target.name().into() }),
    }
}

/// A whole number among the arguments.
pub fn int(action: &Action, name: &str) -> Option<i64> {
    match action.args.get(name) {
        Some(Arg::Int(value)) => Some(*value),
        _ => None,
    }
}

/// A switch among the arguments; off when absent.
pub fn flag(action: &Action, name: &str) -> bool {
    action.args.get(name) == Some(&Arg::Bool(true))
}

/// A text among the arguments.
pub fn text<'a>(action: &'a Action, name: &str) -> Option<&'a str> {
    action.args.get(name).and_then(Arg::as_text)
}

/// A text inside an object; empty when absent.
pub fn field<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number inside an object.
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// An annotation; empty when absent.
pub fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["annotations"][name].as_str().unwrap_or_default()
}

/// A label; empty when absent.
pub fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["labels"][name].as_str().unwrap_or_default()
}

/// The object's controller, if it has one.
pub fn controller(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// Whether it is being deleted.
pub fn terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}
