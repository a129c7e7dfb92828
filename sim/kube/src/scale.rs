//! The scale subresource: `autoscaling/v1 Scale` over whatever fields a kind keeps its replicas in.

use crate::meta;
use crate::resource::{Resource, ScalePaths};
use crate::selector::Labels;
use crate::status::ApiError;
use crate::world::World;
use crate::write::{Part, PatchKind, WriteOptions};
use serde_json::{Value, json};
use std::sync::Arc;

/// The `Scale` of an object.
pub(crate) fn of(paths: &ScalePaths, object: &Value) -> Value {
    let selector = match &paths.selector {
        Some(path) => meta::text(object, path).to_string(),
        None => Labels::of(&object["spec"]["selector"]).map(|labels| labels.text()).unwrap_or_default(),
    };
    let mut metadata = json!({"name": meta::name(object), "namespace": meta::namespace(object)});
    for key in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata[key] = object["metadata"][key].clone();
    }
    let mut status = json!({"replicas": meta::int(object, &paths.status).unwrap_or(0)});
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": meta::int(object, &paths.spec).unwrap_or(0)}, "status": status,
    })
}

/// What the scale subresource asks of a custom resource's own replicas, beside its schema.
pub(crate) fn check(resource: &Resource, object: &Value, causes: &mut Vec<crate::defaults::Cause>) {
    let Some(paths) = &resource.scale else { return };
    if let Some(replicas) = meta::int(object, &paths.spec).filter(|replicas| *replicas < 0) {
        let field = paths.spec.replace('/', ".");
        causes.push((field, "FieldValueInvalid", format!("Invalid value: {replicas}: should be a non-negative integer")));
    }
}

impl World {
    /// Changes the replicas through a `Scale`: a whole one (`kind` = `None`) or a patch of one. Returns the new `Scale`.
    pub(crate) fn rescale(
        &mut self,
        resource: &Resource,
        key: (&str, &str),
        kind: Option<PatchKind>,
        body: &Value,
        options: &WriteOptions,
    ) -> Result<Value, ApiError> {
        let paths = resource.scale.clone().ok_or_else(ApiError::no_route)?;
        let old = self.existing(resource, key.0, key.1)?;
        let mut wanted = of(&paths, &old);
        match kind {
            None => wanted = body.clone(),
            Some(PatchKind::Json) => crate::patch::json(&mut wanted, body)?,
            Some(_) => crate::patch::merge(&mut wanted, body),
        }
        let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 && !resource.custom() {
            let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            return Err(ApiError::invalid("autoscaling", "Scale", key.1, &[("spec.replicas".into(), "FieldValueInvalid", message)]));
        }
        let mut new = (*old).clone();
        meta::set(&mut new, &paths.spec, json!(replicas));
        let version = meta::text(&wanted, "/metadata/resourceVersion").to_string();
        meta::set(&mut new, "/metadata/resourceVersion", json!(version));
        let mut options = options.clone();
        if options.manager.is_empty() {
            options.manager = "unknown".into();
        }
        let stored: Arc<Value> = self.replace_as(resource, &old, new, Part::Whole, "scale", &options)?;
        Ok(of(&paths, &stored))
    }
}
