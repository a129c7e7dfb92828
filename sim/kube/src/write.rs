//! Creating, replacing and patching objects: the door that every client's write goes through.
//!
//! Order of a write: preconditions, what may not change, completion and checks, generation, managed fields, commit. Deletion is in
//! [`crate::delete`]. Broken when a refused or dry run leaves a trace in the world.

use crate::meta;
use crate::patch::fields::{Writer, track};
use crate::patch::shape::Shape;
use crate::patch::{self, apply, strategic};
use crate::resource::Resource;
use crate::status::ApiError;
use crate::world::{DEFINITIONS, World, wish_changed};
use crate::{control, defaults, event, scale, schema};
use serde_json::{Value, json};
use std::sync::Arc;

/// What to do with fields that a schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Validation {
    Ignore,
    /// Prune and warn; the server's default.
    #[default]
    Warn,
    Strict,
}

/// The query of a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
    /// Whether it is a patch: some refusals are worded otherwise then.
    pub(crate) patches: bool,
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Whole,
    Status,
}

impl Part {
    fn subresource(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Status => "status",
        }
    }
}

/// Who brings `managedFields` up to date.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    /// The apply has done it.
    Applied,
    /// A plain write does, for this subresource.
    Track(&'static str),
}

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl World {
    /// Creates an object; returns it as stored.
    pub(crate) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        self.right_object(resource, namespace, "", &mut object)?;
        if !meta::text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
        }
        let name = self.name_for(resource, &mut object)?;
        if resource.namespaced {
            self.open_namespace(namespace, resource, &name)?;
        }
        let taken = self.get(&resource.shelf(), namespace, &name).is_some();
        if !taken {
            self.room()?;
        }
        for key in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            meta::unset(&mut object, "/metadata", key);
        }
        if resource.status && !matches!(resource.plural.as_str(), "nodes" | "namespaces") {
            meta::unset(&mut object, "", "status");
        }
        let object = self.admit(resource, object, None, options)?;
        // What is wrong is told before what is there already.
        if taken {
            return Err(ApiError::already_exists(&resource.group, &resource.plural, &name));
        }
        let mut object = self.first_state(resource, object);
        if meta::list(&object, "/metadata/managedFields").is_empty() {
            self.own(resource, &Value::Null, &mut object, "", options);
        }
        self.fits(&object)?;
        if options.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(&resource.shelf(), object))
    }

    /// Replaces an object, or its status.
    pub(crate) fn replace(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        mut object: Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        self.right_object(resource, namespace, name, &mut object)?;
        let old = self.existing(resource, namespace, name)?;
        self.finish(resource, &old, object, part, options, Owner::Track(part.subresource()))
    }

    /// Changes an object that has been read, on behalf of a subresource that is not a part of it (`scale`).
    pub(crate) fn replace_as(
        &mut self,
        resource: &Resource,
        old: &Arc<Value>,
        object: Value,
        part: Part,
        subresource: &'static str,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        self.finish(resource, old, object, part, options, Owner::Track(subresource))
    }

    /// Patches an object, or its status; an apply patch creates it where it is missing. The flag says whether it was created.
    pub(crate) fn patch(
        &mut self,
        resource: &Resource,
        key: (&str, &str),
        kind: PatchKind,
        patch: &Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        let (namespace, name) = key;
        if kind == PatchKind::Apply {
            return self.apply(resource, key, patch, part, options);
        }
        let old = self.existing(resource, namespace, name)?;
        let mut new = (*old).clone();
        if resource.group == "events.k8s.io" {
            event::outward(resource, &mut new);
        }
        match kind {
            PatchKind::Json => patch::json(&mut new, patch)?,
            PatchKind::Merge => patch::merge(&mut new, patch),
            PatchKind::Strategic if resource.custom() => {
                let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(ApiError::new(415, "UnsupportedMediaType", message));
            }
            PatchKind::Strategic | PatchKind::Apply => strategic::merge(&mut new, patch, Shape::root(None)),
        }
        event::inward(resource, &mut new);
        self.finish(resource, &old, new, part, options, Owner::Track(part.subresource())).map(|object| (object, false))
    }

    fn apply(
        &mut self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        wanted: &Value,
        part: Part,
        options: &WriteOptions,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        let mut wanted = wanted.clone();
        if wanted["apiVersion"].is_null() || wanted["kind"].is_null() {
            return Err(ApiError::bad_request("invalid object type: /, Kind="));
        }
        if options.manager.is_empty() {
            return Err(ApiError::invalid(
                "meta.k8s.io",
                "PatchOptions",
                "",
                &[("fieldManager".into(), "FieldValueRequired", "Required value: is required for apply patch".into())],
            ));
        }
        if !meta::list(&wanted, "/metadata/managedFields").is_empty() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let said = meta::namespace(&wanted).to_owned();
        self.right_object(resource, namespace, name, &mut wanted)?;
        meta::unset(&mut wanted, "/metadata", "creationTimestamp");
        if resource.status {
            match part {
                Part::Whole => meta::unset(&mut wanted, "", "status"),
                Part::Status => meta::unset(&mut wanted, "", "spec"),
            }
        }
        if let Some(schema) = &resource.schema {
            let findings = schema::admit(schema, &mut wanted.clone());
            let unknown = findings.unknown.first().map(|field| format!(".{field}: field not declared in schema"));
            if let Some(problem) = unknown.or_else(|| findings.untyped(&wanted)) {
                let (version, kind) = (resource.api_version(), &resource.kind);
                let message = format!("failed to create typed patch object ({said}/{name}; {version}, Kind={kind}): {problem}");
                return Err(ApiError::new(500, "", message));
            }
        }
        let schema = resource.schema.clone();
        let now = self.stamp();
        let api_version = resource.api_version();
        let writer =
            Writer { manager: &options.manager, apply: true, api_version: &api_version, subresource: part.subresource(), now: &now };
        let old = self.get(&resource.shelf(), namespace, name);
        if old.is_none() && !meta::text(&wanted, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::stale(&resource.group, &resource.plural, name));
        }
        let live = old.as_deref().unwrap_or(&Value::Null);
        let new = apply::apply(live, &wanted, Shape::root(schema.as_deref()), &writer, options.force)?;
        match old {
            Some(old) => self.finish(resource, &old, new, part, options, Owner::Applied).map(|object| (object, false)),
            None if part == Part::Status => Err(ApiError::not_found(&resource.group, &resource.plural, name)),
            None => self.create(resource, namespace, new, options).map(|object| (object, true)),
        }
    }

    pub(crate) fn existing(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Value>, ApiError> {
        self.get(&resource.shelf(), namespace, name).ok_or_else(|| ApiError::not_found(&resource.group, &resource.plural, name))
    }

    /// The common end of every change of an existing object.
    fn finish(
        &mut self,
        resource: &Resource,
        old: &Arc<Value>,
        mut new: Value,
        part: Part,
        options: &WriteOptions,
        owner: Owner,
    ) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = (meta::namespace(old).to_string(), meta::name(old).to_string());
        let version = meta::text(&new, "/metadata/resourceVersion");
        if !version.is_empty() && version != meta::text(old, "/metadata/resourceVersion") {
            return Err(ApiError::stale(&resource.group, &resource.plural, &name));
        }
        let uid = meta::uid(&new);
        if !uid.is_empty() && uid != meta::uid(old) {
            if !resource.custom() {
                let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(old));
                return Err(ApiError::conflict(&resource.group, &resource.plural, &name, &why));
            }
            let message = format!("Invalid value: {uid:?}: field is immutable");
            return Err(self.immutable(resource, &name, "metadata.uid", "FieldValueInvalid", message));
        }
        let late: Vec<&str> = meta::list(&new, "/metadata/finalizers")
            .iter()
            .filter(|one| meta::terminating(old) && !meta::list(old, "/metadata/finalizers").contains(one))
            .filter_map(Value::as_str)
            .collect();
        if !late.is_empty() {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted(&late)
            );
            return Err(self.immutable(resource, &name, "metadata.finalizers", "FieldValueForbidden", message));
        }
        for key in ["finalizers", "ownerReferences"] {
            if new["metadata"][key] == json!([]) {
                meta::unset(&mut new, "/metadata", key);
            }
        }
        if meta::name(&new) != name || meta::namespace(&new) != namespace {
            return Err(ApiError::bad_request("the name or namespace of the object does not match the one in the request"));
        }
        new = match part {
            Part::Whole => self.whole(resource, old, new),
            Part::Status => status_only(old, new),
        };
        let mut new = self.admit(resource, new, Some(old), options)?;
        if resource.counts_generation() && wish_changed(old, &new, resource.status) {
            let generation = meta::int(old, "/metadata/generation").unwrap_or(0) + 1;
            meta::set(&mut new, "/metadata/generation", json!(generation));
        }
        if let Owner::Track(subresource) = owner {
            self.own(resource, old, &mut new, subresource, options);
        }
        if same(old, &new, owner) {
            return Ok(old.clone());
        }
        self.fits(&new)?;
        if options.dry_run {
            return Ok(Arc::new(new));
        }
        let done = meta::terminating(&new)
            && meta::list(&new, "/metadata/finalizers").is_empty()
            && !meta::list(old, "/metadata/finalizers").is_empty()
            && resource.plural != "pods";
        let object = self.commit(&resource.shelf(), new);
        if done {
            self.remove(&resource.shelf(), &namespace, &name);
        }
        Ok(object)
    }

    /// A refusal of the checks of metadata. They run twice on custom resources, and their causes stand twice there.
    fn immutable(&self, resource: &Resource, name: &str, field: &str, reason: &'static str, message: String) -> ApiError {
        let cause = (field.to_owned(), reason, message);
        let mut error = ApiError::invalid(&resource.group, &resource.kind, name, std::slice::from_ref(&cause));
        if resource.custom() {
            let twice = [&error.details["causes"][0], &error.details["causes"][0]].map(Value::clone);
            error.details["causes"] = json!(twice);
        }
        error
    }

    /// A whole write may not touch what the server keeps, nor a status that has its own subresource.
    fn whole(&self, resource: &Resource, old: &Value, mut new: Value) -> Value {
        for key in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
            match old["metadata"].get(key) {
                Some(value) => meta::set(&mut new, &format!("/metadata/{key}"), value.clone()),
                None => meta::unset(&mut new, "/metadata", key),
            }
        }
        if resource.status {
            match old.get("status") {
                Some(status) => meta::set(&mut new, "/status", status.clone()),
                None => meta::unset(&mut new, "", "status"),
            }
        }
        if resource.plural == "services" {
            for key in ["clusterIP", "clusterIPs"] {
                if new["spec"][key].is_null() {
                    meta::set(&mut new, &format!("/spec/{key}"), old["spec"][key].clone());
                }
            }
        }
        new
    }

    /// Completes and checks an object.
    fn admit(&mut self, resource: &Resource, mut object: Value, old: Option<&Value>, options: &WriteOptions) -> Result<Value, ApiError> {
        let name = meta::name(&object).to_string();
        let causes = match &resource.schema {
            Some(schema) => {
                let given = if options.patches { object.clone() } else { Value::Null };
                let mut findings = schema::admit(schema, &mut object);
                scale::check(resource, &object, &mut findings.causes);
                if options.validation == Validation::Strict && !findings.unknown.is_empty() {
                    let all: Vec<String> = findings.unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
                    if options.patches {
                        // With the whole patched object in the text, before the reason.
                        let whole = Value::from(given.to_string());
                        let message = format!(" \"\" is invalid: patch: Invalid value: {whole}: strict decoding error: {}", all.join(", "));
                        let mut error = ApiError::new(422, "Invalid", message);
                        let cause = error.message.trim_start_matches(" \"\" is invalid: patch: ").to_owned();
                        error.details = json!({"causes": [{"reason": "FieldValueInvalid", "message": cause, "field": "patch"}]});
                        return Err(error);
                    }
                    let (kind, version) = (&resource.kind, &resource.version);
                    return Err(ApiError::bad_request(format!(
                        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                        all.join(", ")
                    )));
                }
                findings.causes
            }
            None => {
                let draw = if old.is_none() && resource.plural == "services" { self.draw() } else { 0 };
                defaults::complete(&resource.kind, &mut object, draw);
                defaults::check(&resource.kind, &object, old)
            }
        };
        if !causes.is_empty() {
            return Err(ApiError::invalid(&resource.group, &resource.kind, &name, &causes));
        }
        control::admission(resource, &object, old)?;
        Ok(object)
    }

    /// What the server gives a new object.
    fn first_state(&mut self, resource: &Resource, mut object: Value) -> Value {
        self.stamp_new(&mut object);
        if resource.counts_generation() {
            meta::set(&mut object, "/metadata/generation", json!(1));
        }
        if resource.shelf() == DEFINITIONS {
            let now = self.stamp();
            control::definition::establish(&mut object, &now);
        }
        object
    }

    fn own(&mut self, resource: &Resource, old: &Value, new: &mut Value, subresource: &str, options: &WriteOptions) {
        let now = self.stamp();
        let api_version = resource.api_version();
        let manager = if options.manager.is_empty() { "unknown" } else { &options.manager };
        let writer = Writer { manager, apply: false, api_version: &api_version, subresource, now: &now };
        let empty = json!({});
        let old = if old.is_null() { &empty } else { old };
        track(old, new, Shape::root(resource.schema.as_deref()), &writer);
    }

    /// The body's kind, version, name and namespace must be those of the path.
    fn right_object(&self, resource: &Resource, namespace: &str, name: &str, object: &mut Value) -> Result<(), ApiError> {
        if !object.is_object() {
            return Err(ApiError::bad_request("the object provided is not a JSON object"));
        }
        if object["apiVersion"].is_null() && object["kind"].is_null() {
            object["apiVersion"] = json!(resource.api_version());
            object["kind"] = json!(resource.kind);
        }
        let (kind, version) = (meta::text(object, "/kind").to_owned(), resource.api_version());
        if resource.custom() && object["apiVersion"] != version {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({version})",
                meta::text(object, "/apiVersion")
            )));
        }
        if resource.custom() && kind != resource.kind {
            let cause = ("kind".to_string(), "FieldValueInvalid", format!("Invalid value: {kind:?}: must be {}", resource.kind));
            return Err(ApiError::invalid(&resource.group, &kind, meta::name(object), &[cause]));
        }
        if object["kind"] != resource.kind || object["apiVersion"] != version {
            return Err(ApiError::bad_request(format!(
                "{} in version {} cannot be handled as a {} in version {}",
                object["kind"],
                object["apiVersion"],
                resource.kind,
                resource.api_version()
            )));
        }
        event::inward(resource, object);
        if let Some(stored) = self.of_shelf(&resource.shelf()) {
            object["apiVersion"] = json!(stored.api_version());
        }
        let given = meta::namespace(object);
        if resource.namespaced && given.is_empty() {
            meta::set(object, "/metadata/namespace", json!(namespace));
        } else if resource.namespaced && given != namespace {
            return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
        } else if !resource.namespaced && !given.is_empty() {
            meta::unset(object, "/metadata", "namespace");
        }
        if !name.is_empty() && meta::name(object).is_empty() {
            meta::set(object, "/metadata/name", json!(name));
        } else if !name.is_empty() && meta::name(object) != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                meta::name(object)
            )));
        }
        Ok(())
    }

    fn name_for(&mut self, resource: &Resource, object: &mut Value) -> Result<String, ApiError> {
        if meta::name(object).is_empty() {
            let prefix = meta::text(object, "/metadata/generateName").to_string();
            if prefix.is_empty() {
                let cause =
                    ("metadata.name".to_string(), "FieldValueRequired", "Required value: name or generateName is required".to_string());
                return Err(ApiError::invalid(&resource.group, &resource.kind, "", &[cause]));
            }
            let name = format!("{prefix}{}", meta::letters(self.draw(), 5));
            meta::set(object, "/metadata/name", json!(name));
        }
        let name = meta::name(object).to_string();
        if !defaults::good_name(&name) {
            let message = format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            );
            return Err(ApiError::invalid(
                &resource.group,
                &resource.kind,
                &name,
                &[("metadata.name".into(), "FieldValueInvalid", message)],
            ));
        }
        Ok(name)
    }

    /// The namespace must exist and not be on its way out.
    fn open_namespace(&self, namespace: &str, resource: &Resource, name: &str) -> Result<(), ApiError> {
        let Some(object) = self.get("namespaces", "", namespace) else {
            return Err(ApiError::not_found("", "namespaces", namespace));
        };
        if meta::terminating(&object) {
            let what = crate::status::qualified(&resource.group, &resource.plural);
            let mut error = ApiError::forbidden(format!(
                "{what} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
            ));
            error.details = json!({"name": name, "kind": resource.plural, "group": resource.group, "causes": [{"reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]});
            return Err(error);
        }
        Ok(())
    }

    fn fits(&self, object: &Value) -> Result<(), ApiError> {
        let limit = self.settings.limits.object_bytes;
        let size = object.to_string().len();
        if size > limit {
            return Err(ApiError::new(
                413,
                "RequestEntityTooLarge",
                format!("object {} has {size} bytes; the limit is {limit}", meta::name(object)),
            ));
        }
        Ok(())
    }
}

/// Texts as Go writes them.
fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

fn status_only(old: &Value, new: Value) -> Value {
    let mut kept = old.clone();
    match new.get("status") {
        Some(status) => meta::set(&mut kept, "/status", status.clone()),
        None => meta::unset(&mut kept, "", "status"),
    }
    if let Some(managed) = new["metadata"].get("managedFields") {
        meta::set(&mut kept, "/metadata/managedFields", managed.clone());
    }
    kept
}

/// Whether a write changed nothing: for a plain write the managed fields do not count.
fn same(old: &Value, new: &Value, owner: Owner) -> bool {
    if owner == Owner::Applied {
        return old == new;
    }
    let bare = |object: &Value| {
        let mut object = object.clone();
        meta::unset(&mut object, "/metadata", "managedFields");
        meta::unset(&mut object, "/metadata", "generation");
        object
    };
    old == new || bare(old) == bare(new)
}
