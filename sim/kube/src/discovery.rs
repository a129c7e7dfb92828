//! Discovery: which groups, versions and resources there are, plain and aggregated; version and OpenAPI documents as far as clients need them.
//!
//! The OpenAPI documents say which verbs and query parameters exist and hold the schemas of custom resources, but none of built-in kinds: kubectl
//! then leaves validation to the server. Broken when a resource is listed that [`crate::route`] does not answer.

use crate::resource::Resource;
use crate::review::REVIEWS;
use crate::world::World;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const REVIEW_GROUP: &str = "authorization.k8s.io";

fn short_verbs() -> Value {
    json!(["get", "patch", "update"])
}

/// `/version`.
pub(crate) fn version(world: &World) -> Value {
    let text = &world.settings.git_version;
    let mut parts = text.split('.');
    json!({
        "major": parts.next().unwrap_or("1"), "minor": parts.next().unwrap_or("0"), "gitVersion": format!("v{text}"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// Groups with their versions, the core group under `""`. Newest storage version first.
fn groups(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in world.resources() {
        let versions = all.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            if resource.storage { versions.insert(0, resource.version.clone()) } else { versions.push(resource.version.clone()) }
        }
    }
    all.insert(REVIEW_GROUP.into(), vec!["v1".into()]);
    all
}

/// `/api`.
pub(crate) fn core_versions(host: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]})
}

/// `/apis`.
pub(crate) fn group_list(world: &World) -> Value {
    let all: Vec<Value> =
        groups(world).iter().filter(|(group, _)| !group.is_empty()).map(|(group, versions)| group_object(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})
}

/// `/apis/<group>`.
pub(crate) fn group(world: &World, name: &str) -> Option<Value> {
    let mut object = group_object(name, groups(world).get(name)?);
    object["kind"] = json!("APIGroup");
    object["apiVersion"] = json!("v1");
    Some(object)
}

fn group_object(group: &str, versions: &[String]) -> Value {
    let all: Vec<Value> =
        versions.iter().map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version})).collect();
    json!({"name": group, "versions": all, "preferredVersion": all[0]})
}

fn of_version<'a>(world: &'a World, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Arc<Resource>> {
    world.resources().iter().filter(move |resource| resource.group == group && resource.version == version)
}

/// The subresources of a resource: name, group, version, kind, verbs.
fn subresources(resource: &Resource) -> Vec<(&'static str, String, String, String, Value)> {
    let own = |name, verbs| (name, resource.group.clone(), resource.version.clone(), resource.kind.clone(), verbs);
    let mut all = Vec::new();
    if resource.status {
        all.push(own("status", short_verbs()));
    }
    if resource.scale.is_some() {
        all.push(("scale", "autoscaling".into(), "v1".into(), "Scale".into(), short_verbs()));
    }
    if resource.shelf() == "pods" {
        all.push(("eviction", "policy".into(), "v1".into(), "Eviction".into(), json!(["create"])));
        all.push(own("log", json!(["get"])));
    }
    all
}

/// `/api/v1` and `/apis/<group>/<version>`.
pub(crate) fn resource_list(world: &World, group: &str, version: &str) -> Option<Value> {
    let mut all = Vec::new();
    if group == REVIEW_GROUP && version == "v1" {
        for (plural, kind, namespaced) in REVIEWS {
            all.push(
                json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": ["create"]}),
            );
        }
    }
    for resource in of_version(world, group, version) {
        let mut object = json!({"name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind, "verbs": VERBS});
        if !resource.short.is_empty() {
            object["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            object["categories"] = json!(resource.categories);
        }
        all.push(object);
        for (name, group, version, kind, verbs) in subresources(resource) {
            let mut object = json!({"name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": verbs});
            if group != resource.group {
                object["group"] = json!(group);
                object["version"] = json!(version);
            }
            all.push(object);
        }
    }
    let name = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    (!all.is_empty()).then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": all}))
}

/// The aggregated form of `/api` (`core`) and `/apis`, `apidiscovery.k8s.io/<version>`.
pub(crate) fn aggregated(world: &World, core: bool, version: &str) -> Value {
    let items: Vec<Value> = groups(world)
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions.iter().map(|version| aggregated_version(world, group, version)).collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn aggregated_version(world: &World, group: &str, version: &str) -> Value {
    let scope = |namespaced| if namespaced { "Namespaced" } else { "Cluster" };
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut resources: Vec<Value> = of_version(world, group, version)
        .map(|resource| {
            let subs: Vec<Value> = subresources(resource)
                .into_iter()
                .map(|(name, group, version, of, verbs)| json!({"subresource": name, "responseKind": kind(&group, &version, &of), "verbs": verbs}))
                .collect();
            json!({
                "resource": resource.plural, "responseKind": kind(group, version, &resource.kind), "scope": scope(resource.namespaced), "singularResource": resource.singular,
                "verbs": VERBS, "shortNames": resource.short, "categories": resource.categories, "subresources": subs,
            })
        })
        .collect();
    if group == REVIEW_GROUP {
        for (plural, of, namespaced) in REVIEWS {
            resources.push(json!({"resource": plural, "responseKind": kind(group, version, of), "scope": scope(namespaced), "singularResource": of.to_lowercase(), "verbs": ["create"]}));
        }
    }
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

/// `/openapi/v3`: where the document of each group version is.
pub(crate) fn openapi_index(world: &World) -> Value {
    let mut paths = Map::new();
    for (group, versions) in groups(world) {
        for version in versions {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let url = format!("/openapi/v3/{path}?hash={}", world.version);
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The OpenAPI v3 document of one group version.
pub(crate) fn openapi(world: &World, group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    for resource in of_version(world, group, version) {
        let gvk = json!({"group": group, "version": version, "kind": resource.kind});
        let operation = |action: &str| {
            let parameters =
                if action == "get" { json!([]) } else { json!([query("dryRun"), query("fieldManager"), query("fieldValidation")]) };
            json!({"operationId": format!("{action}{}", resource.kind), "parameters": parameters, "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk})
        };
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let collection = format!("{root}{}/{}", if resource.namespaced { "/namespaces/{namespace}" } else { "" }, resource.plural);
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch"), "delete": operation("delete")}),
        );
        paths.insert(collection, json!({"get": operation("list"), "post": operation("post")}));
        let mut schema = resource.schema.as_deref().cloned().unwrap_or_else(|| json!({"type": "object"}));
        schema["x-kubernetes-group-version-kind"] = json!([gvk]);
        schemas.insert(format!("{}.{version}.{}", if group.is_empty() { "core" } else { group }, resource.kind), schema);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": format!("v{}", world.settings.git_version)}, "paths": paths, "components": {"schemas": schemas}})
}

/// `/openapi/v2` as JSON: no definitions, so that old clients skip their own validation.
pub(crate) fn openapi_v2(world: &World) -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": format!("v{}", world.settings.git_version)}, "paths": {}, "definitions": {}})
}
