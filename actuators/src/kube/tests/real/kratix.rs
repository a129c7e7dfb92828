//! Requests of a Promise on a real server; the test is Kratix.

use super::{Keeper, MERGE, Real, number, power, real};
use crate::conformance::{action_with, corpus};
use crate::kube::chaos::tests::deeds::{done, not_done, unknown};
use homeostat_model::{Action, Actuator, Arg, Args, FaultCode, Outcome, Receipt, Span, Time};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// Kratix with an available Promise of this test's own.
struct Lab {
    real: Real,
    actuator: Arc<dyn Actuator>,
    promise: String,
    list: String,
    _dir: tempfile::TempDir,
    _kratix: Keeper,
}

fn promise(name: &str, group: &str) -> Value {
    let size = json!({ "type": "string", "default": "small", "pattern": "^(small|large)$" });
    let spec = json!({ "type": "object", "properties": { "size": size, "note": { "type": "string" } } });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    json!({
        "apiVersion": "platform.kratix.io/v1alpha1", "kind": "Promise", "metadata": { "name": name },
        "spec": { "api": { "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("redis.{group}") },
            "spec": { "group": group, "scope": "Namespaced", "names": { "kind": "redis", "plural": "redis", "singular": "redis" },
                "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }] } } },
    })
}

/// What Kratix does with a request: its finalizer, its status for the present generation, and letting go.
fn kratix(object: &Value) -> Option<Value> {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"].is_string() {
        let held = object["spec"]["note"] == "hold";
        return (!held).then(|| json!({ "metadata": { "finalizers": null } }));
    }
    if metadata["finalizers"].is_null() {
        return Some(
            json!({ "metadata": { "finalizers": ["kratix.io/delete-workflows"], "labels": { "kratix.io/promise-name": "redis" } } }),
        );
    }
    let (status, reason) = if object["spec"]["note"] == "fail" { ("False", "ConfigureWorkflowFailed") } else { ("True", "Reconciled") };
    let condition = |kind: &str| json!({ "type": kind, "status": status, "reason": reason, "message": reason, "lastTransitionTime": "2026-11-21T00:00:00Z" });
    let conditions = json!([condition("ConfigureWorkflowCompleted"), condition("Reconciled")]);
    (object["status"]["observedGeneration"] != metadata["generation"])
        .then(|| json!({ "status": { "observedGeneration": metadata["generation"], "conditions": conditions } }))
}

async fn lab() -> Option<Lab> {
    let real = real().await?;
    let promise_name = format!("redis-{}", number());
    let group = format!("{promise_name}.kratix.example.org");
    let made = promise(&promise_name, &group);
    let path = format!("/apis/platform.kratix.io/v1alpha1/promises/{promise_name}");
    real.put(&path, "platform-team", &made).await;
    // Kratix gives the API a status and defines it.
    let mut definition = made["spec"]["api"].clone();
    let version = &mut definition["spec"]["versions"][0];
    version["subresources"] = json!({ "status": {} });
    version["schema"]["openAPIV3Schema"]["properties"]["status"] =
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    real.define(&definition).await;
    let available = json!({ "type": "Available", "status": "True", "reason": "PromiseAvailable", "message": "Ready to fulfil resource requests",
        "lastTransitionTime": "2026-11-21T00:00:00Z" });
    let status = json!({ "status": { "status": "Available", "conditions": [available], "workflows": 0, "workflowsFailed": 0, "workflowsSucceeded": 0 } });
    let (code, body) = real.ask(Method::PATCH, &format!("{path}/status"), MERGE, &status).await;
    assert_eq!(code, 200, "{body}");
    let list = format!("/apis/{group}/v1alpha1/namespaces/web/redis");
    let kratix = real.keep(list.clone(), "/status", kratix);
    let (dir, actuator) = power("kratix", real.kubeconfig(), json!({ "kratix": { "timeout": "20s" } }));
    Some(Lab { real, actuator, promise: promise_name, list, _dir: dir, _kratix: kratix })
}

impl Lab {
    fn act(&self, verb: &str, spec: Option<Value>) -> Action {
        let mut args = Args::from([("name".to_owned(), Arg::from("cache")), ("namespace".to_owned(), Arg::from("web"))]);
        args.extend(spec.map(|spec| ("spec".to_owned(), Arg::Text(spec.to_string()))));
        Action { timeout: Span::from_secs(30), ..action_with(number(), verb, &format!("promise/{}", self.promise), args) }
    }
    async fn apply(&self, action: &Action) -> Outcome {
        self.actuator.apply(Time(0), action).await
    }
    async fn revert(&self, action: &Action, receipt: &Receipt) -> Outcome {
        self.actuator.revert(Time(0), action, receipt).await
    }
    async fn request(&self) -> Option<Value> {
        self.real.get(&format!("{}/cache", self.list)).await
    }
}

#[tokio::test]
async fn a_request_is_made_changed_taken_back_and_deleted() {
    let Some(lab) = lab().await else { return };
    let make = lab.act("kratix.apply", Some(json!({ "size": "small" })));
    let made = done(lab.apply(&make).await);
    assert!(made.observed.contains("is Reconciled") && made.undo.contains_key("made"), "{made:?}");
    let object = lab.request().await.unwrap();
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "homeostat");
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let ours = entries.iter().find(|entry| entry["manager"] == "homeostat").unwrap();
    assert_eq!((&ours["operation"], &ours["fieldsV1"]["f:spec"]), (&json!("Apply"), &json!({ "f:size": {} })));
    let again = lab.apply(&lab.act("kratix.apply", Some(json!({ "size": "small" })))).await;
    assert!(done(again).observed.contains("was already so"));
    assert_eq!(lab.request().await.unwrap()["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"], "nothing was written");
    let change = lab.act("kratix.apply", Some(json!({ "size": "large" })));
    let changed = done(lab.apply(&change).await);
    assert_eq!(changed.undo["previous"], Arg::from(r#"{"size":"small"}"#));
    done(lab.actuator.probe(Time(1), &change).await);
    not_done(lab.revert(&make, &made).await, FaultCode::Conflict, "changed since");
    assert!(done(lab.revert(&change, &changed).await).observed.contains("previous spec"));
    assert_eq!(lab.request().await.unwrap()["spec"]["size"], "small");
    assert!(done(lab.apply(&lab.act("kratix.delete", None)).await).observed.contains("is gone"));
    assert!(lab.request().await.is_none());
    assert!(done(lab.apply(&lab.act("kratix.delete", None)).await).observed.contains("already gone"));
}

#[tokio::test]
async fn the_schema_and_other_managers_refuse_before_anything_is_written() {
    let Some(lab) = lab().await else { return };
    for (spec, part) in
        [(json!({ "size": "huge" }), "spec.size"), (json!({ "sise": "small" }), ".spec.sise"), (json!({ "size": 1 }), "expected string")]
    {
        not_done(lab.apply(&lab.act("kratix.apply", Some(spec))).await, FaultCode::Malformed, part);
    }
    assert!(lab.request().await.is_none());
    let group = lab.list.split('/').nth(2).unwrap();
    let theirs = json!({ "apiVersion": format!("{group}/v1alpha1"), "kind": "redis", "metadata": { "name": "cache", "namespace": "web" },
        "spec": { "size": "large" } });
    lab.real.put(&format!("{}/cache", lab.list), "somebody", &theirs).await;
    not_done(lab.apply(&lab.act("kratix.apply", Some(json!({ "size": "small" })))).await, FaultCode::Conflict, "not taken from it");
    not_done(lab.apply(&lab.act("kratix.delete", None)).await, FaultCode::Conflict, "was not made by Homeostat");
    assert_eq!(lab.request().await.unwrap()["spec"]["size"], "large", "never forced");
    // What both wish, both own; what we add is ours, and taking it back leaves theirs.
    let add = lab.act("kratix.apply", Some(json!({ "size": "large", "note": "ours" })));
    let added = done(lab.apply(&add).await);
    assert_eq!(lab.request().await.unwrap()["spec"]["note"], "ours");
    done(lab.revert(&add, &added).await);
    assert_eq!(lab.request().await.unwrap()["spec"], json!({ "size": "large" }));
}

#[tokio::test]
async fn a_failed_pipeline_and_a_held_deletion_are_told() {
    let Some(lab) = lab().await else { return };
    let failing = lab.act("kratix.apply", Some(json!({ "note": "fail" })));
    not_done(lab.apply(&failing).await, FaultCode::Failed, "ConfigureWorkflowFailed");
    done(lab.apply(&lab.act("kratix.apply", Some(json!({ "note": "hold" })))).await);
    let hasty = Action { timeout: Span::from_secs(1), ..lab.act("kratix.delete", None) };
    unknown(lab.apply(&hasty).await, "kratix.io/delete-workflows");
    let again = lab.act("kratix.apply", Some(json!({ "note": "new" })));
    not_done(lab.apply(&again).await, FaultCode::Conflict, "is being deleted");
    assert_eq!(lab.request().await.unwrap()["metadata"]["finalizers"], json!(["kratix.io/delete-workflows"]), "never taken away");
    let mut missing = lab.act("kratix.apply", Some(json!({})));
    missing.target = "promise/kafka".into();
    not_done(lab.apply(&missing).await, FaultCode::NotFound, "no Promise `kafka`");
}

/// The Promise that Kratix ships as an example is taken by its own definition, and its kind is found in what the server gives back.
#[tokio::test]
async fn a_promise_of_the_corpus_is_read_back() {
    let Some(real) = real().await else { return };
    let Some(folder) = corpus("acting/kratix/samples") else { return };
    let text = std::fs::read_to_string(folder.join("redis-simple-promise.yaml")).unwrap();
    let promise: Value = serde_saphyr::from_str(&text).unwrap();
    let name = promise["metadata"]["name"].as_str().unwrap();
    let stored = real.put(&format!("/apis/platform.kratix.io/v1alpha1/promises/{name}"), "platform-team", &promise).await;
    assert_eq!(stored["spec"]["api"], promise["spec"]["api"], "nothing of its API was pruned");
}
