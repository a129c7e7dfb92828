//! Evictions and the filters of a drain: which pods go, which stay, which forbid it.
//!
//! After kubectl/pkg/drain/filters.go. The eviction is the typed `policy/v1` object: kube's own parameters write `delete_options`,
//! which the server does not know, and the uid's precondition would be lost. Deliberately absent: deleting past a disruption budget. An
//! editor breaks this by leaving the uid out: the name may belong to another pod by then.

use super::call::{Call, POD};
use super::place::{controller, field, terminating};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use serde_json::Value;

/// The call that evicts one pod, and only the one with that uid.
pub fn eviction(namespace: &str, name: &str, uid: &str, grace_seconds: Option<i64>) -> Call {
    let options = DeleteOptions {
        grace_period_seconds: grace_seconds,
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteOptions::default()
    };
    let body = Eviction {
        metadata: ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        delete_options: Some(options),
    };
    // With the uid's precondition, a second eviction of the same pod changes nothing.
    Call::create(format!("{}/eviction", POD.path(namespace, name)), serde_json::to_value(body).unwrap_or(Value::Null)).repeatable()
}

/// What a drain does with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is evicted.
    Goes,
    /// It stays: the kubelet or a DaemonSet would bring it back at once.
    Stays,
    /// It forbids the drain; why.
    Forbids(String),
}

/// What may be lost.
#[derive(Copy, Clone, Debug, Default)]
pub struct Allowed {
    /// Data in emptyDir volumes.
    pub emptydir: bool,
    /// Pods that no controller brings back.
    pub bare: bool,
}

/// Whether nothing of it runs any more.
pub fn finished(pod: &Value) -> bool {
    matches!(field(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether it is the mirror of a static pod.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some()
}

/// What a drain does with a pod.
pub fn fate(pod: &Value, allowed: Allowed) -> Fate {
    if is_mirror(pod) {
        return Fate::Stays;
    }
    if finished(pod) {
        return Fate::Goes;
    }
    let owner = controller(pod);
    if owner.is_some_and(|owner| owner["kind"] == "DaemonSet") {
        return Fate::Stays;
    }
    if terminating(pod) {
        return Fate::Goes;
    }
    let named = || format!("{}/{}", field(pod, "/metadata/namespace"), field(pod, "/metadata/name"));
    if owner.is_none() && !allowed.bare {
        return Fate::Forbids(format!("{} has no controller that would bring it back (argument `force` gives it up)", named()));
    }
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    if !allowed.emptydir && volumes.into_iter().any(|volume| volume.get("emptyDir").is_some()) {
        return Fate::Forbids(format!("{} keeps data in an emptyDir (argument `delete_emptydir` gives it up)", named()));
    }
    Fate::Goes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_filters_are_kubectls() {
        let pod = |owner: Value, extra: Value| {
            let mut pod = json!({ "metadata": { "name": "p", "namespace": "web", "ownerReferences": [owner] }, "spec": {}, "status": { "phase": "Running" } });
            if owner_less(&pod) {
                pod["metadata"].as_object_mut().unwrap().remove("ownerReferences");
            }
            for (key, value) in extra.as_object().unwrap() {
                pod[key] = value.clone();
            }
            pod
        };
        fn owner_less(pod: &Value) -> bool {
            pod["metadata"]["ownerReferences"][0].is_null()
        }
        let set = json!({ "kind": "ReplicaSet", "controller": true });
        let none = Allowed::default();
        assert_eq!(fate(&pod(set.clone(), json!({})), none), Fate::Goes);
        assert_eq!(fate(&pod(json!({ "kind": "DaemonSet", "controller": true }), json!({})), none), Fate::Stays);
        assert!(matches!(fate(&pod(Value::Null, json!({})), none), Fate::Forbids(why) if why.contains("web/p has no controller")));
        assert_eq!(fate(&pod(Value::Null, json!({})), Allowed { bare: true, ..none }), Fate::Goes);
        assert_eq!(fate(&pod(Value::Null, json!({ "status": { "phase": "Succeeded" } })), none), Fate::Goes, "finished pods always go");
        let scratch = json!({ "spec": { "volumes": [{ "name": "tmp", "emptyDir": {} }] } });
        assert!(matches!(fate(&pod(set.clone(), scratch.clone()), none), Fate::Forbids(why) if why.contains("emptyDir")));
        assert_eq!(fate(&pod(set, scratch), Allowed { emptydir: true, ..none }), Fate::Goes);
        let mirror =
            json!({ "metadata": { "name": "p", "annotations": { "kubernetes.io/config.mirror": "x" } }, "status": { "phase": "Failed" } });
        assert_eq!(fate(&mirror, none), Fate::Stays);
    }

    #[test]
    fn an_eviction_names_the_pod_and_its_uid_as_the_server_spells_it() {
        let call = eviction("web", "p", "u1", Some(30));
        assert_eq!(call.target("homeostat"), "/api/v1/namespaces/web/pods/p/eviction");
        let options = json!({ "gracePeriodSeconds": 30, "preconditions": { "uid": "u1" } });
        assert_eq!(
            call.body().unwrap(),
            &json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p", "namespace": "web" }, "deleteOptions": options })
        );
    }
}
