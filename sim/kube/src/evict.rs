//! The eviction subresource: a deletion that asks the PodDisruptionBudgets first.
//!
//! After pkg/registry/core/pod/storage/eviction.go: an exhausted budget is 429 with a `DisruptionBudget` cause and no Retry-After; several
//! budgets are 500; pods that run nothing bypass budgets; unready pods pass while the others are healthy enough.

use crate::delete::{DeleteOptions, Deleted};
use crate::meta;
use crate::resource::Resource;
use crate::selector::Labels;
use crate::status::ApiError;
use crate::world::World;
use serde_json::{Value, json};
use std::sync::Arc;

const BUDGETS: &str = "poddisruptionbudgets.policy";

impl World {
    /// Evicts a pod; returns the `Status` of the answer (201).
    pub(crate) fn evict(&mut self, pods: &Resource, namespace: &str, name: &str, body: &Value, dry_run: bool) -> Result<Value, ApiError> {
        let given = meta::name(body);
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!("name in URL does not match name in Eviction object: {name} != {given}")));
        }
        let pod = self.existing(pods, namespace, name)?;
        // kube's own EvictParams writes `delete_options`; the server knows only the other spelling and ignores it.
        let mut options = DeleteOptions::of(&body["deleteOptions"]);
        options.dry_run |= dry_run;
        let idle = matches!(meta::text(&pod, "/status/phase"), "Pending" | "Succeeded" | "Failed");
        if !idle && !meta::terminating(&pod) {
            let budgets: Vec<Arc<Value>> = self
                .within(BUDGETS, namespace)
                .into_iter()
                .filter(|budget| Labels::of(&budget["spec"]["selector"]).is_some_and(|selector| selector.matches(&pod)))
                .collect();
            match budgets.as_slice() {
                [] => {}
                [budget] => self.spend(budget, &pod, options.dry_run)?,
                _ => {
                    let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                    return Err(ApiError::new(500, "", message));
                }
            }
        }
        match self.delete(pods, namespace, name, &options)? {
            Deleted::Gone(_) | Deleted::Waiting(_) => {
                Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
            }
        }
    }

    /// Takes one disruption from a budget, or refuses.
    fn spend(&mut self, budget: &Value, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
        let (namespace, name) = (meta::namespace(budget), meta::name(budget));
        let status = |field: &str| meta::int(budget, &format!("/status/{field}")).unwrap_or(0);
        let healthy_enough = status("currentHealthy") >= status("desiredHealthy") && status("desiredHealthy") > 0;
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if !meta::condition_true(pod, "Ready") && (healthy_enough || always) {
            return Ok(());
        }
        let refuse = |message: String, retry: Option<u64>| {
            let mut error = ApiError::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
            error.details = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
            error.retry_after_seconds = retry;
            error
        };
        if status("observedGeneration") < meta::int(budget, "/metadata/generation").unwrap_or(0) {
            return Err(refuse(format!("The disruption budget {name} is still being processed by the server."), Some(10)));
        }
        let left = status("disruptionsAllowed");
        if left < 0 {
            return Err(ApiError::forbidden(format!("pdb disruptions allowed is negative: {left}")));
        }
        if left == 0 {
            let (needed, healthy) = (status("desiredHealthy"), status("currentHealthy"));
            return Err(refuse(format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"), None));
        }
        if !dry_run {
            let (pod, now) = (meta::name(pod).to_string(), self.stamp());
            self.amend(BUDGETS, namespace, name, |budget| {
                meta::set(budget, "/status/disruptionsAllowed", json!(left - 1));
                meta::set(budget, &format!("/status/disruptedPods/{pod}"), json!(now));
            });
        }
        Ok(())
    }
}
