//! Kratix as far as a client can see: a Promise makes its API live and becomes Available; a request gets its conditions when its workflow ends;
//! deletion runs the delete workflow before the finalizers go.
//!
//! Active for objects of `platform.kratix.io` Promises, whose definition the caller installs. Works, placements, pipelines' pods and state stores
//! are deliberately absent.

use crate::meta;
use crate::resource::Resource;
use crate::status::{ApiError, qualified};
use crate::world::{DEFINITIONS, World};
use homeostat_model::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PROMISES: &str = "promises.platform.kratix.io";
const FINALIZERS: [&str; 4] =
    ["kratix.io/work-cleanup", "kratix.io/workflows-cleanup", "kratix.io/delete-workflows", "kratix.io/resource-binding-cleanup"];
const PROMISE_FINALIZERS: [&str; 2] = ["kratix.io/resource-request-cleanup", "kratix.io/api-crd-cleanup"];
const AGAIN: &str = "kratix.io/manual-reconciliation";
const PAUSED: &str = "kratix.io/paused";

/// How a workflow ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workflow {
    /// It succeeds after the settings' delay.
    #[default]
    Succeeds,
    /// Its pipeline fails after the delay; a delete workflow fails too, and keeps the object.
    Fails,
    /// The works never become ready.
    WorksPending,
    /// No destination matches.
    Misplaced,
    /// The works fail at their destination.
    WorksFail,
    /// The pipeline suspends itself and waits for somebody.
    Suspends,
    /// It succeeds; its delete workflow never ends, and the finalizers stay.
    DeleteHangs,
}

/// What the controller remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    outcomes: BTreeMap<(String, String), Workflow>,
    /// The running workflow of an object: since when, for which generation, and whether it deletes.
    running: BTreeMap<String, (Time, i64, bool)>,
    /// Objects whose delete workflow has failed and waits for a push.
    failed_deletes: BTreeSet<String>,
}

impl Memory {
    pub(crate) fn set(&mut self, namespace: &str, name: &str, workflow: Workflow) {
        self.outcomes.insert((namespace.to_string(), name.to_string()), workflow);
    }

    fn outcome(&self, object: &Value) -> Workflow {
        self.outcomes.get(&(meta::namespace(object).to_string(), meta::name(object).to_string())).copied().unwrap_or_default()
    }
}

/// The webhook of Promises.
pub(crate) fn admission(resource: &Resource, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if resource.kind != "Promise" {
        return Ok(());
    }
    let deny = |why: &str| Err(ApiError::forbidden(format!("admission webhook \"vpromise-v1alpha1.kb.io\" denied the request: {why}")));
    let api = &object["spec"]["api"];
    if api.is_object() && api["spec"]["scope"] != "Namespaced" {
        return deny("promise api needs to be namespace scoped");
    }
    match old.map(|old| &old["spec"]["api"]).filter(|old| old.is_object()) {
        Some(_) if !api.is_object() => deny("cannot remove API from existing promise"),
        Some(old) if old["metadata"]["name"] != api["metadata"]["name"] => deny("* spec.api.metadata.name: field is immutable"),
        _ => Ok(()),
    }
}

/// Takes every Promise and request one step further.
pub(crate) fn run(world: &mut World) {
    let promises = world.all(PROMISES);
    forget_gone(world, &promises);
    for promise in promises {
        let shelf = api_shelf(&promise);
        if meta::terminating(&promise) {
            remove_promise(world, &promise, shelf.as_deref());
            continue;
        }
        let available = install(world, &promise, shelf.as_deref());
        let shelf = shelf.as_deref().unwrap_or_default();
        for request in world.all(shelf) {
            if meta::terminating(&request) {
                remove_request(world, shelf, &request);
            } else {
                reconcile(world, shelf, &promise, &request, available);
            }
        }
    }
}

/// Drops what is remembered of objects that are no more.
fn forget_gone(world: &mut World, promises: &[Arc<Value>]) {
    let requests = promises.iter().filter_map(|promise| api_shelf(promise)).flat_map(|shelf| world.all(&shelf));
    let alive: BTreeSet<String> = requests.chain(promises.iter().cloned()).map(|object| meta::uid(&object).to_string()).collect();
    let memory = &mut world.models.kratix;
    memory.running.retain(|uid, _| alive.contains(uid));
    memory.failed_deletes.retain(|uid| alive.contains(uid));
}

fn api_shelf(promise: &Value) -> Option<String> {
    let spec = promise["spec"]["api"].get("spec")?;
    Some(qualified(spec["group"].as_str()?, spec["names"]["plural"].as_str()?))
}

/// Whether the workflow of an object's present generation is over.
fn over(world: &mut World, object: &Value, deletes: bool) -> bool {
    let (uid, generation, now) = (meta::uid(object).to_string(), meta::int(object, "/metadata/generation").unwrap_or(0), world.now);
    let entry = world.models.kratix.running.entry(uid).or_insert((now, generation, deletes));
    if entry.2 != deletes || (!deletes && entry.1 != generation) {
        *entry = (now, generation, deletes);
    }
    now.since(entry.0) >= world.settings.kratix_workflow
}

/// Installs a Promise's API and, after its workflow, makes it Available. Returns whether it is.
fn install(world: &mut World, promise: &Arc<Value>, shelf: Option<&str>) -> bool {
    let api = &promise["spec"]["api"];
    let name = meta::name(promise).to_string();
    if shelf.is_some() && world.get(DEFINITIONS, "", meta::name(api)).is_none() {
        let mut definition = api.clone();
        meta::tag(&mut definition, "labels", "kratix.io/promise-name", &name);
        for version in definition["spec"].get_mut("versions").and_then(Value::as_array_mut).into_iter().flatten() {
            meta::set(version, "/subresources/status", json!({}));
            meta::set(
                version,
                "/schema/openAPIV3Schema/properties/status",
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            );
        }
        if let Err(error) = world.upsert(definition) {
            world.note(promise, "Warning", "FailedCRD", "kratix", &error.message);
            return false;
        }
    }
    let outcome = world.models.kratix.outcome(promise);
    let done = over(world, promise, false);
    let available = done && outcome == Workflow::Succeeds;
    let now = world.stamp();
    world.amend(PROMISES, "", &name, |promise| {
        PROMISE_FINALIZERS.iter().for_each(|finalizer| meta::add_finalizer(promise, finalizer));
        let api = promise["spec"]["api"].clone();
        if let Some(version) = meta::list(&api, "/spec/versions").iter().find(|version| version["storage"] == true) {
            meta::set(promise, "/status/kind", api["spec"]["names"]["kind"].clone());
            meta::set(
                promise,
                "/status/apiVersion",
                json!(format!("{}/{}", meta::text(&api, "/spec/group"), meta::text(version, "/name"))),
            );
        }
        meta::set(promise, "/status/status", json!(if available { "Available" } else { "Unavailable" }));
        if let Some(version) = meta::label(promise, "kratix.io/promise-version").map(str::to_string) {
            meta::set(promise, "/status/version", json!(version));
        }
        let count = pipelines(promise, "promise");
        // The definition asks for all three.
        for (name, number) in [("workflows", count), ("workflowsSucceeded", if available { count } else { 0 }), ("workflowsFailed", 0)] {
            meta::set(promise, &format!("/status/{name}"), json!(number));
        }
        conditions(promise, done, outcome, count, &now);
        let (status, reason) = if available { ("True", "PromiseAvailable") } else { ("False", "PromiseWorkflowsNotCompleted") };
        meta::set_condition(promise, "Available", status, reason, "", &now);
    });
    available
}

/// How many configure pipelines a Promise has for itself (`promise`) or its requests (`resource`).
fn pipelines(promise: &Value, whose: &str) -> usize {
    meta::list(promise, &format!("/spec/workflows/{whose}/configure")).len()
}

/// The conditions and counters of a configure workflow of `pipelines` pipelines.
fn conditions(object: &mut Value, done: bool, outcome: Workflow, pipelines: usize, now: &str) {
    let failed = usize::from(done && outcome == Workflow::Fails).min(pipelines);
    let succeeded = if done { pipelines - failed } else { 0 };
    for (field, count) in [("workflows", pipelines), ("workflowsSucceeded", succeeded), ("workflowsFailed", failed)] {
        meta::set(object, &format!("/status/{field}"), json!(count));
    }
    let generation = object["metadata"]["generation"].clone();
    let mut set = |kind: &str, status: &str, reason: &str| meta::set_condition(object, kind, status, reason, reason, now);
    if !done {
        set("ConfigureWorkflowCompleted", "False", "PipelinesInProgress");
        set("Reconciled", "Unknown", "WorkflowPending");
        return;
    }
    let (completed, works, reconciled) = match outcome {
        Workflow::Fails => (("False", "ConfigureWorkflowFailed"), None, ("False", "ConfigureWorkflowFailed")),
        Workflow::WorksFail => (("True", "PipelinesExecutedSuccessfully"), Some(("False", "WorksFailing")), ("False", "WorksFailing")),
        Workflow::Suspends => (("False", "PipelinesInProgress"), None, ("Unknown", "WorkflowSuspended")),
        Workflow::Succeeds | Workflow::DeleteHangs => {
            (("True", "PipelinesExecutedSuccessfully"), Some(("True", "WorksSucceeded")), ("True", "Reconciled"))
        }
        Workflow::WorksPending => {
            (("True", "PipelinesExecutedSuccessfully"), Some(("Unknown", "WorksPending")), ("Unknown", "WorksPending"))
        }
        Workflow::Misplaced => (("True", "PipelinesExecutedSuccessfully"), Some(("False", "WorksMisplaced")), ("Unknown", "WorksPending")),
    };
    set("ConfigureWorkflowCompleted", completed.0, completed.1);
    if let Some((status, reason)) = works {
        set("WorksSucceeded", status, reason);
    }
    set("Reconciled", reconciled.0, reconciled.1);
    meta::set(object, "/status/observedGeneration", generation);
}

fn reconcile(world: &mut World, shelf: &str, promise: &Value, request: &Arc<Value>, available: bool) {
    let (namespace, name, now) = (meta::namespace(request), meta::name(request), world.stamp());
    if meta::label(request, AGAIN) == Some("true") {
        world.models.kratix.running.remove(meta::uid(request));
    }
    if [request.as_ref(), promise].iter().any(|object| meta::label(object, PAUSED) == Some("true")) {
        world.amend(shelf, namespace, name, |request| {
            meta::set_condition(request, "Reconciled", "Unknown", "PausedReconciliation", "", &now)
        });
        return;
    }
    let outcome = world.models.kratix.outcome(request);
    let done = available && over(world, request, false);
    let misplaced_now = done
        && outcome == Workflow::Misplaced
        && !meta::condition(request, "WorksSucceeded").is_some_and(|works| works["reason"] == "WorksMisplaced");
    world.amend(shelf, namespace, name, |request| {
        FINALIZERS.iter().for_each(|finalizer| meta::add_finalizer(request, finalizer));
        meta::unset(request, "/metadata/labels", AGAIN);
        meta::tag(request, "labels", "kratix.io/promise-name", meta::name(promise));
        if available {
            meta::set_condition(request, "PromiseAvailable", "True", "PromiseAvailable", "Promise is available", &now);
            conditions(request, done, outcome, pipelines(promise, "resource"), &now);
        } else {
            meta::set_condition(request, "PromiseAvailable", "False", "PromiseRequirementsNotInstalled", "Promise is not available", &now);
        }
    });
    if misplaced_now {
        world.note(request, "Warning", "WaitingDestination", "kratix", "waiting for a destination with labels that match");
    }
}

fn remove_request(world: &mut World, shelf: &str, request: &Value) {
    let (namespace, name, uid, now) = (meta::namespace(request), meta::name(request), meta::uid(request).to_string(), world.stamp());
    let pushed = meta::label(request, AGAIN) == Some("true");
    if pushed {
        world.models.kratix.failed_deletes.remove(&uid);
        world.models.kratix.running.remove(&uid);
        world.amend(shelf, namespace, name, |request| meta::unset(request, "/metadata/labels", AGAIN));
    }
    let hangs = world.models.kratix.outcome(request) == Workflow::DeleteHangs;
    if hangs || world.models.kratix.failed_deletes.contains(&uid) || !over(world, request, true) {
        return;
    }
    if world.models.kratix.outcome(request) == Workflow::Fails {
        world.models.kratix.failed_deletes.insert(uid);
        world.amend(shelf, namespace, name, |request| {
            meta::set_condition(
                request,
                "DeleteWorkflowCompleted",
                "False",
                "DeleteWorkflowFailed",
                "The Delete Pipeline has failed",
                &now,
            );
        });
        return;
    }
    world.models.kratix.running.remove(&uid);
    world.amend(shelf, namespace, name, |request| FINALIZERS.iter().for_each(|finalizer| meta::drop_finalizer(request, finalizer)));
}

fn remove_promise(world: &mut World, promise: &Value, shelf: Option<&str>) {
    let mut left = false;
    if let Some(shelf) = shelf {
        for request in world.all(shelf) {
            left = true;
            if meta::terminating(&request) {
                remove_request(world, shelf, &request);
            } else {
                world.reap(shelf, meta::namespace(&request), meta::name(&request));
            }
        }
        let definition = meta::name(&promise["spec"]["api"]);
        if !left && world.get(DEFINITIONS, "", definition).is_some() {
            world.reap(DEFINITIONS, "", definition);
            left = true;
        }
    }
    if !left {
        world.models.kratix.running.remove(meta::uid(promise));
        world.amend(PROMISES, "", meta::name(promise), |promise| {
            PROMISE_FINALIZERS.iter().for_each(|finalizer| meta::drop_finalizer(promise, finalizer))
        });
    }
}
