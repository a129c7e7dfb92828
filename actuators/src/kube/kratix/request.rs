//! What a Promise says of its requests, and what a request's conditions say. Pure.
//!
//! Conditions are those of Kratix' `api/v1alpha1` (True, False, Unknown with a reason). Deliberately absent: asking and waiting. An
//! editor breaks this by believing conditions that were written for an older generation.

use crate::kube::call::Kind;
use serde_json::{Map, Value};

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Written to the state store, for the present generation.
    Reconciled,
    /// The pipeline or the works failed.
    Failed(String),
    /// No destination fits.
    Misplaced(String),
    /// Somebody stopped it: paused or suspended.
    Suspended(String),
    /// Not yet.
    Pending(String),
}

impl Standing {
    pub(super) fn shown(&self) -> String {
        match self {
            Standing::Reconciled => "Reconciled".into(),
            Standing::Failed(why) | Standing::Misplaced(why) | Standing::Suspended(why) | Standing::Pending(why) => why.clone(),
        }
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// A condition in words: `Reconciled Unknown, WorksPending: …`.
pub(super) fn told(object: &Value, kind: &str) -> String {
    let Some(condition) = condition(object, kind) else { return format!("no condition {kind}") };
    let text = |field: &str| condition[field].as_str().unwrap_or_default().chars().take(300).collect::<String>();
    let (status, reason, message) = (text("status"), text("reason"), text("message"));
    if message.is_empty() || message == reason {
        format!("{kind} {status}, {reason}")
    } else {
        format!("{kind} {status}, {reason}: {message}")
    }
}

/// The pipelines that failed, in words.
fn pipelines(object: &Value) -> String {
    let all = object["status"]["kratix"]["workflows"]["pipelines"].as_array().into_iter().flatten();
    let failed = all.filter(|pipeline| pipeline["phase"] == "Failed").take(3);
    failed
        .map(|pipeline| {
            let text = |field: &str| pipeline[field].as_str().unwrap_or_default().chars().take(200).collect::<String>();
            format!("; pipeline {}: {}", text("name"), text("message"))
        })
        .collect()
}

/// How a request stands. `before` is the object from before our write: what stands there unchanged says nothing about ours, unless the
/// generation was observed.
pub(super) fn stands(object: &Value, before: Option<&Value>) -> Standing {
    let generation = object["metadata"]["generation"].as_i64();
    let observed = object["status"]["observedGeneration"].as_i64() >= generation && generation.is_some();
    let fresh = |kind: &str| {
        let now = condition(object, kind);
        now.filter(|_| observed || before.is_none_or(|before| condition(before, kind) != now))
    };
    let is = |kind: &str, status: &str, reasons: &[&str]| {
        fresh(kind)
            .is_some_and(|now| now["status"] == status && (reasons.is_empty() || reasons.iter().any(|reason| now["reason"] == *reason)))
    };
    let labels = &object["metadata"]["labels"];
    let reconciled = told(object, "Reconciled");
    if labels["kratix.io/paused"] == "true" || is("Reconciled", "Unknown", &["PausedReconciliation"]) {
        return Standing::Suspended(format!("PausedReconciliation ({reconciled})"));
    }
    if labels["kratix.io/workflow-suspended"].is_string() || is("Reconciled", "Unknown", &["WorkflowSuspended"]) {
        return Standing::Suspended(format!("WorkflowSuspended ({reconciled})"));
    }
    if is("ConfigureWorkflowCompleted", "False", &["ConfigureWorkflowFailed"]) {
        return Standing::Failed(format!("ConfigureWorkflowFailed: {}{}", told(object, "ConfigureWorkflowCompleted"), pipelines(object)));
    }
    if is("WorksSucceeded", "False", &["WorksMisplaced"]) {
        return Standing::Misplaced(told(object, "WorksSucceeded"));
    }
    if is("Reconciled", "False", &[]) {
        return Standing::Failed(format!("{reconciled}; {}{}", told(object, "WorksSucceeded"), pipelines(object)));
    }
    if is("PromiseAvailable", "False", &[]) {
        return Standing::Pending(told(object, "PromiseAvailable"));
    }
    if observed && is("Reconciled", "True", &[]) {
        return Standing::Reconciled;
    }
    Standing::Pending(if observed {
        reconciled
    } else {
        format!("generation {} is not observed yet; {reconciled}", generation.unwrap_or(0))
    })
}

/// Whether the delete workflow failed.
pub(super) fn delete_failed(object: &Value) -> bool {
    condition(object, "DeleteWorkflowCompleted").is_some_and(|now| {
        now["status"] == "False" && matches!(now["reason"].as_str(), Some("DeleteWorkflowFailed" | "DeleteWorkflowSuspended"))
    })
}

/// The kind of a Promise's requests: group, plural and the version that is stored.
pub(super) fn kind_of(promise: &Value) -> Result<Kind, String> {
    let api = &promise["spec"]["api"]["spec"];
    let versions = api["versions"].as_array().ok_or("has no API: nothing can be requested of it")?;
    let version = versions.iter().find(|version| version["storage"] == true).or(versions.first());
    let text = |value: &Value, what: &str| {
        // These go into a path.
        let fine =
            |text: &&str| !text.is_empty() && text.len() <= 253 && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        value.as_str().filter(fine).map(str::to_owned).ok_or_else(|| format!("has no readable {what} in its API"))
    };
    Ok(Kind {
        group: text(&api["group"], "group")?.into(),
        version: text(version.map_or(&Value::Null, |version| &version["name"]), "version")?.into(),
        kind: text(&api["names"]["kind"], "kind")?.into(),
        plural: text(&api["names"]["plural"], "plural")?.into(),
        namespaced: true,
    })
}

/// Whether `have` holds all that `want` says: maps may hold more, everything else is equal. Defaults that the server added do not count.
pub(super) fn holds(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => want.iter().all(|(key, want)| have.get(key).is_some_and(|have| holds(have, want))),
        (have, Value::Object(want)) => have.is_null() && want.is_empty(),
        (have, want) => have == want,
    }
}

/// What of an object's spec was set by `manager` through apply, by `managedFields`.
pub(super) fn owned_spec(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    let ours = entries.into_iter().flatten().find(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
    ours.map_or_else(|| Value::Object(Map::new()), |entry| owned(&object["spec"], &entry["fieldsV1"]["f:spec"]))
}

fn owned(value: &Value, fields: &Value) -> Value {
    let (Value::Object(value_map), Value::Object(fields)) = (value, fields) else {
        return if fields.is_null() { Value::Object(Map::new()) } else { value.clone() };
    };
    let mut kept = Map::new();
    for (key, inner) in fields {
        if let Some(name) = key.strip_prefix("f:")
            && let Some(value) = value_map.get(name)
        {
            let whole = inner.as_object().is_none_or(Map::is_empty) || !value.is_object();
            kept.insert(name.to_owned(), if whole { value.clone() } else { owned(value, inner) });
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(generation: i64, observed: i64, conditions: Value) -> Value {
        json!({ "metadata": { "generation": generation }, "status": { "observedGeneration": observed, "conditions": conditions } })
    }
    fn one(kind: &str, status: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": reason })
    }

    #[test]
    fn every_reason_has_its_standing() {
        let rows = [
            (json!([one("Reconciled", "True", "Reconciled")]), "Reconciled"),
            (json!([one("Reconciled", "Unknown", "WorkflowPending")]), "Pending"),
            (json!([one("Reconciled", "Unknown", "WorksPending"), one("WorksSucceeded", "Unknown", "WorksPending")]), "Pending"),
            (json!([one("Reconciled", "Unknown", "PausedReconciliation")]), "Suspended"),
            (json!([one("Reconciled", "Unknown", "WorkflowSuspended")]), "Suspended"),
            (json!([one("Reconciled", "False", "WorksFailing")]), "Failed"),
            (json!([one("ConfigureWorkflowCompleted", "False", "ConfigureWorkflowFailed")]), "Failed"),
            (json!([one("ConfigureWorkflowCompleted", "False", "PipelinesInProgress")]), "Pending"),
            (json!([one("WorksSucceeded", "False", "WorksMisplaced"), one("Reconciled", "Unknown", "WorksPending")]), "Misplaced"),
            (json!([]), "Pending"),
        ];
        for (conditions, expected) in rows {
            let standing = stands(&request(2, 2, conditions.clone()), None);
            assert!(format!("{standing:?}").starts_with(expected), "{conditions}: {standing:?}");
        }
    }

    #[test]
    fn what_was_written_for_an_older_generation_says_nothing() {
        let good = json!([one("Reconciled", "True", "Reconciled")]);
        let before = request(1, 1, good.clone());
        assert!(matches!(stands(&request(2, 1, good), Some(&before)), Standing::Pending(_)));
        let failed = json!([one("ConfigureWorkflowCompleted", "False", "ConfigureWorkflowFailed")]);
        let before = request(1, 1, failed.clone());
        assert!(matches!(stands(&request(2, 1, failed.clone()), Some(&before)), Standing::Pending(_)), "the old failure");
        let fresh = json!([{ "type": "ConfigureWorkflowCompleted", "status": "False", "reason": "ConfigureWorkflowFailed", "lastTransitionTime": "later" }]);
        assert!(matches!(stands(&request(2, 1, fresh), Some(&before)), Standing::Failed(_)), "a new one");
    }

    #[test]
    fn only_what_we_applied_is_ours() {
        let object = json!({ "spec": { "size": "small", "limits": { "cpu": 1, "memory": "1Gi" }, "tags": ["a"] },
            "metadata": { "managedFields": [
                { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": { "f:tags": {} } } },
                { "manager": "homeostat", "operation": "Apply", "fieldsV1": { "f:spec": { "f:size": {}, "f:limits": { "f:cpu": {} } } } }] } });
        assert_eq!(owned_spec(&object, "homeostat"), json!({ "size": "small", "limits": { "cpu": 1 } }));
        assert_eq!(owned_spec(&object, "nobody"), json!({}));
    }

    #[test]
    fn a_promise_tells_its_requests_kind_or_what_is_missing() {
        let promise = json!({ "spec": { "api": { "spec": { "group": "marketplace.kratix.io", "names": { "kind": "redis", "plural": "redis" },
            "versions": [{ "name": "v1", "storage": false }, { "name": "v1alpha1", "storage": true }] } } } });
        let kind = kind_of(&promise).unwrap();
        assert_eq!(kind.path("default", "example"), "/apis/marketplace.kratix.io/v1alpha1/namespaces/default/redis/example");
        assert!(kind_of(&json!({ "spec": {} })).unwrap_err().contains("no API"));
        let mut evil = promise;
        evil["spec"]["api"]["spec"]["names"]["plural"] = json!("../../secrets");
        assert!(kind_of(&evil).unwrap_err().contains("plural"));
    }

    #[test]
    fn a_wish_is_held_by_what_holds_more() {
        assert!(holds(&json!({ "size": "small", "replicas": 1 }), &json!({ "size": "small" })));
        assert!(!holds(&json!({ "size": "small" }), &json!({ "size": "large" })));
        assert!(!holds(&Value::Null, &json!({ "size": "large" })));
        assert!(holds(&Value::Null, &json!({})));
    }
}
