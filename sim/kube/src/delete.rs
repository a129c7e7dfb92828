//! Deleting: preconditions, finalizers, graceful ends of pods, and what happens to dependents.
//!
//! `Background` leaves dependents to the garbage collector, `Foreground` waits for them, `Orphan` frees them at once. Broken when an object
//! with finalizers goes before they do.

use crate::meta;
use crate::resource::Resource;
use crate::stamp::stamp;
use crate::status::ApiError;
use crate::world::{DEFINITIONS, World};
use homeostat_model::Span;
use serde_json::{Value, json};
use std::sync::Arc;

/// `metav1.DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) dry_run: bool,
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body; null is no body.
    pub(crate) fn of(body: &Value) -> DeleteOptions {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_string);
        DeleteOptions {
            dry_run: !meta::list(body, "/dryRun").is_empty(),
            grace_seconds: meta::int(body, "/gracePeriodSeconds"),
            propagation: text("/propagationPolicy"),
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
        }
    }
}

/// How a deletion went.
pub(crate) enum Deleted {
    /// The object is gone.
    Gone(Arc<Value>),
    /// The object waits for finalizers, its dependents or its grace period.
    Waiting(Arc<Value>),
}

impl World {
    /// Deletes one object.
    pub(crate) fn delete(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let old = self.existing(resource, namespace, name)?;
        let refuse = |what: &str, wanted: &str, found: &str| {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            ApiError::conflict(&resource.group, &resource.plural, name, &why)
        };
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(&old)) {
            if resource.custom() {
                let found = meta::uid(&old);
                let why = format!(
                    "the UID in the precondition ({uid}) does not match the UID in record ({found}). The object might have been deleted and then recreated"
                );
                return Err(ApiError::conflict(&resource.group, &resource.kind, name, &why));
            }
            return Err(refuse("UID", uid, meta::uid(&old)));
        }
        let version = meta::text(&old, "/metadata/resourceVersion");
        if let Some(wanted) = options.version.as_deref().filter(|wanted| *wanted != version) {
            return Err(refuse("ResourceVersion", wanted, version));
        }
        if resource.plural == "namespaces" && matches!(name, "default" | "kube-system" | "kube-public") {
            return Err(ApiError::forbidden(format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")));
        }
        if let Some(policy) = options.propagation.as_deref().filter(|policy| !matches!(*policy, "Background" | "Foreground" | "Orphan")) {
            return Err(ApiError::bad_request(format!("propagationPolicy \"{policy}\" is not Background, Foreground or Orphan")));
        }
        self.mark(resource, &old, options)
    }

    fn mark(&mut self, resource: &Resource, old: &Arc<Value>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        let shelf = resource.shelf();
        let (namespace, name) = (meta::namespace(old).to_string(), meta::name(old).to_string());
        let mut new = (**old).clone();
        match options.propagation.as_deref() {
            Some("Foreground") => meta::add_finalizer(&mut new, "foregroundDeletion"),
            Some("Orphan") if !options.dry_run => self.orphan_dependents(meta::uid(old)),
            _ => {}
        }
        if shelf == DEFINITIONS {
            meta::add_finalizer(&mut new, "customresourcecleanup.apiextensions.k8s.io");
        }
        let grace = if resource.plural == "pods" { pod_grace(old, options) } else { 0 };
        if grace == 0 && meta::list(&new, "/metadata/finalizers").is_empty() && resource.plural != "namespaces" {
            if options.dry_run {
                return Ok(Deleted::Gone(old.clone()));
            }
            return Ok(Deleted::Gone(self.remove(&shelf, &namespace, &name).unwrap_or_else(|| old.clone())));
        }
        if !meta::terminating(old) || meta::int(old, "/metadata/deletionGracePeriodSeconds").is_some_and(|before| grace < before) {
            meta::set(&mut new, "/metadata/deletionTimestamp", json!(stamp(self.now + Span::from_secs(grace))));
            meta::set(&mut new, "/metadata/deletionGracePeriodSeconds", json!(grace));
            if resource.counts_generation() {
                let generation = meta::int(old, "/metadata/generation").unwrap_or(0) + 1;
                meta::set(&mut new, "/metadata/generation", json!(generation));
            }
        }
        if resource.plural == "namespaces" {
            meta::set(&mut new, "/status/phase", json!("Terminating"));
        }
        if new == **old {
            return Ok(Deleted::Waiting(old.clone()));
        }
        if options.dry_run {
            return Ok(Deleted::Waiting(Arc::new(new)));
        }
        if resource.plural == "pods" {
            self.models.kubelet.stopping(meta::uid(old), self.now);
            self.note(old, "Normal", "Killing", "kubelet", "Stopping container");
        }
        Ok(Deleted::Waiting(self.commit(&shelf, new)))
    }

    /// Deletes an object as a controller does, in the background; pods with their own grace period.
    pub(crate) fn reap(&mut self, shelf: &str, namespace: &str, name: &str) {
        if let Some(resource) = self.of_shelf(shelf) {
            // The object may have gone since the controller looked: that is the wished end.
            let _gone = self.delete(&resource, namespace, name, &DeleteOptions::default());
        }
    }

    fn orphan_dependents(&mut self, owner: &str) {
        for shelf in self.shelf_names() {
            for object in self.all(&shelf) {
                if meta::list(&object, "/metadata/ownerReferences").iter().any(|reference| reference["uid"] == owner) {
                    let (namespace, name) = (meta::namespace(&object), meta::name(&object));
                    self.amend(&shelf, namespace, name, |object| {
                        let rest: Vec<Value> = meta::list(object, "/metadata/ownerReferences")
                            .iter()
                            .filter(|reference| reference["uid"] != owner)
                            .cloned()
                            .collect();
                        meta::set(object, "/metadata/ownerReferences", Value::Array(rest));
                    });
                }
            }
        }
    }
}

/// The grace period of a pod's deletion in seconds: zero for pods that run nowhere or have ended.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    if meta::text(pod, "/spec/nodeName").is_empty() || matches!(meta::text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return 0;
    }
    options.grace_seconds.or_else(|| meta::int(pod, "/spec/terminationGracePeriodSeconds")).unwrap_or(30).clamp(0, 1_000_000_000)
}
