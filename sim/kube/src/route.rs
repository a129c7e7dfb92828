//! Paths: which resource, namespace, name and subresource a request means.

use crate::resource::Resource;
use crate::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a request is about.
#[derive(Debug)]
pub(crate) enum Route {
    /// A collection, an object or a subresource.
    Resource { resource: Arc<Resource>, namespace: String, name: String, sub: String },
    /// An access review; the plural and the namespace.
    Review(String),
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1`, `/apis/<group>/<version>`.
    Version(String, String),
    /// `/version`.
    ServerVersion,
    /// `/healthz`, `/livez`, `/readyz` and below.
    Health,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/…`; group and version.
    OpenApi(String, String),
}

/// Reads a path; `None` where nothing is served.
pub(crate) fn parse(world: &World, path: &str) -> Option<Route> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["version"] => Some(Route::ServerVersion),
        ["healthz" | "livez" | "readyz", ..] => Some(Route::Health),
        ["openapi", "v2"] => Some(Route::OpenApiV2),
        ["openapi", "v3"] => Some(Route::OpenApiIndex),
        ["openapi", "v3", "api", version] => Some(Route::OpenApi(String::new(), (*version).into())),
        ["openapi", "v3", "apis", group, version] => Some(Route::OpenApi((*group).into(), (*version).into())),
        ["api"] => Some(Route::Core),
        ["apis"] => Some(Route::Groups),
        ["apis", group] => Some(Route::Group((*group).into())),
        ["api", version] => Some(Route::Version(String::new(), (*version).into())),
        ["apis", group, version] => Some(Route::Version((*group).into(), (*version).into())),
        ["api", version, rest @ ..] => below(world, "", version, rest),
        ["apis", "authorization.k8s.io", "v1", plural] | ["apis", "authorization.k8s.io", "v1", "namespaces", _, plural] => {
            Some(Route::Review((*plural).into()))
        }
        ["apis", group, version, rest @ ..] => below(world, group, version, rest),
        _ => None,
    }
}

fn below(world: &World, group: &str, version: &str, rest: &[&str]) -> Option<Route> {
    let (namespace, rest) = match rest {
        // `namespaces/<name>/<plural>` unless it is a subresource of the namespace itself
        ["namespaces", namespace, plural, ..] if !(group.is_empty() && matches!(*plural, "status" | "finalize")) => {
            (*namespace, &rest[2..])
        }
        _ => ("", rest),
    };
    let (plural, name, sub) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, sub] => (*plural, *name, *sub),
        _ => return None,
    };
    let resource = world.resource(group, version, plural)?;
    if (!namespace.is_empty() && !resource.namespaced) || (namespace.is_empty() && resource.namespaced && !name.is_empty()) {
        return None;
    }
    Some(Route::Resource { resource, namespace: namespace.into(), name: name.into(), sub: sub.into() })
}

/// Percent-decoding; `+` stays, as in paths.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The query of a request; a repeated key keeps its last value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads `a=b&c=d`, form-encoded.
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        });
        Query(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.into(), value.into());
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1") || (self.0.contains_key(key) && self.get(key).is_empty())
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn paths_find_their_resource() {
        let world = World::new(Settings::default());
        for (path, expected) in [
            ("/api/v1/nodes", Some(("nodes", "", "", ""))),
            ("/api/v1/namespaces/a/pods/p/eviction", Some(("pods", "a", "p", "eviction"))),
            ("/api/v1/namespaces/a", Some(("namespaces", "", "a", ""))),
            ("/api/v1/namespaces/a/status", Some(("namespaces", "", "a", "status"))),
            ("/apis/apps/v1/namespaces/a/deployments/w/scale", Some(("deployments", "a", "w", "scale"))),
            ("/apis/apps/v1/deployments", Some(("deployments", "", "", ""))),
            ("/api/v1/pods/p", None),
            ("/api/v1/namespaces/a/nodes/n", None),
            ("/apis/nope/v1/things/x", None),
        ] {
            let found = parse(&world, path);
            let found = found.as_ref().map(|route| match route {
                Route::Resource { resource, namespace, name, sub } => {
                    (resource.plural.as_str(), namespace.as_str(), name.as_str(), sub.as_str())
                }
                other => panic!("{path}: {other:?}"),
            });
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn queries_decode() {
        let query = Query::parse("&labelSelector=app%3Dweb%2Ctier%21%3Ddb&watch=true&dryRun=All&limit=5");
        assert_eq!(query.get("labelSelector"), "app=web,tier!=db");
        assert!(query.flag("watch") && !query.flag("nope"));
        assert_eq!(query.number("limit"), Some(5));
    }
}
