//! One request to an API server as plain data: what a preview shows is what is sent.
//!
//! Deliberately absent: sending ([`super::client`]), typed objects (a body is JSON; types are used where a field's name is easily
//! got wrong). An editor breaks this by building a path from a name that was not checked by [`name_problem`], or by calling a POST
//! repeatable whose repetition makes a second thing.

use homeostat_model::Planned;
use http::Method;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The longest name of an object (RFC 1123 subdomain).
const NAME_BYTES_MAX: usize = 253;

/// A kind and where it is served. Plurals are written out, never guessed: `PodChaos` is served as `podchaos`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version, e.g. `v1`.
    pub version: Cow<'static, str>,
    /// The kind, e.g. `Deployment`.
    pub kind: Cow<'static, str>,
    /// The resource's name in paths, e.g. `deployments`.
    pub plural: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// A namespaced kind known beforehand.
    pub const fn namespaced(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
        Kind::known(group, version, kind, plural, true)
    }

    /// A cluster-scoped kind known beforehand.
    pub const fn cluster(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
        Kind::known(group, version, kind, plural, false)
    }

    const fn known(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Kind {
        let (group, version) = (Cow::Borrowed(group), Cow::Borrowed(version));
        Kind { group, version, kind: Cow::Borrowed(kind), plural: Cow::Borrowed(plural), namespaced }
    }

    /// `apps/v1` or `v1`: the `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of its group and version.
    pub fn root(&self) -> String {
        if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) }
    }

    /// The path of all its objects: in one namespace, or everywhere if `namespace` is empty.
    pub fn list_path(&self, namespace: &str) -> String {
        if self.namespaced && !namespace.is_empty() {
            format!("{}/namespaces/{namespace}/{}", self.root(), self.plural)
        } else {
            format!("{}/{}", self.root(), self.plural)
        }
    }

    /// The path of one object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.list_path(namespace))
    }
}

/// Pods.
pub const POD: Kind = Kind::namespaced("", "v1", "Pod", "pods");
/// Nodes.
pub const NODE: Kind = Kind::cluster("", "v1", "Node", "nodes");
/// Deployments.
pub const DEPLOYMENT: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
/// StatefulSets.
pub const STATEFUL_SET: Kind = Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets");
/// DaemonSets.
pub const DAEMON_SET: Kind = Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets");

/// Why a text is no name of an object (an RFC 1123 subdomain), if it is none.
pub fn name_problem(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let fine = name.len() <= NAME_BYTES_MAX && name.chars().all(plain) && edge(name.chars().next()) && edge(name.chars().last());
    // `..` would be folded away by what stands between us and the server.
    (!fine || name.contains(".."))
        .then(|| format!("`{}` is no Kubernetes name: lower-case letters, digits, `-` and `.`", name.chars().take(80).collect::<String>()))
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: Option<Value>,
    repeatable: bool,
    reads: bool,
}

impl Call {
    fn new(method: Method, path: String, content_type: &'static str, body: Option<Value>) -> Call {
        let reads = method == Method::GET;
        let repeatable = method != Method::POST;
        Call { method, path, query: Vec::new(), content_type, body, repeatable, reads }
    }

    /// Reads one thing.
    pub fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path.into(), "", None)
    }

    /// Creates; `body` must hold a fixed `metadata.name`, never `generateName`: a lost answer is then found again by that name.
    pub fn create(path: impl Into<String>, body: Value) -> Call {
        Call::new(Method::POST, path.into(), "application/json", Some(body))
    }

    /// Replaces what the server holds, if its `metadata.resourceVersion` still is the body's.
    pub fn replace(path: impl Into<String>, body: Value) -> Call {
        Call::new(Method::PUT, path.into(), "application/json", Some(body))
    }

    /// A merge patch; name a `resourceVersion` in it to compare and swap.
    pub fn merge(path: impl Into<String>, body: Value) -> Call {
        Call::new(Method::PATCH, path.into(), "application/merge-patch+json", Some(body))
    }

    /// A strategic merge patch (built-in kinds only): lists are merged by their key.
    pub fn strategic(path: impl Into<String>, body: Value) -> Call {
        Call::new(Method::PATCH, path.into(), "application/strategic-merge-patch+json", Some(body))
    }

    /// A server-side apply, strict about unknown fields and never forced: what another manager holds is refused. `body` needs
    /// `apiVersion`, `kind` and `metadata.name`.
    pub fn apply(path: impl Into<String>, body: Value) -> Call {
        Call::new(Method::PATCH, path.into(), "application/apply-patch+yaml", Some(body)).with("fieldValidation", "Strict")
    }

    /// Deletes; with `uid`, only that very object.
    pub fn delete(path: impl Into<String>, uid: Option<&str>, propagation: &str) -> Call {
        let mut body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation });
        if let Some(uid) = uid {
            body["preconditions"] = json!({ "uid": uid });
        }
        Call::new(Method::DELETE, path.into(), "application/json", Some(body))
    }

    /// The same with one more query parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.query.push((name, value.into()));
        self
    }

    /// The same as a server-side dry run: everything is checked, nothing is stored.
    #[must_use]
    pub fn dry(mut self) -> Call {
        self.reads = true;
        self.repeatable = true;
        self.with("dryRun", "All")
    }

    /// The same, declared to be harmless when sent twice.
    #[must_use]
    pub fn repeatable(mut self) -> Call {
        self.repeatable = true;
        self
    }

    /// The same, declared to change nothing (a review is a POST that asks).
    #[must_use]
    pub fn asking(mut self) -> Call {
        self.reads = true;
        self.repeatable()
    }

    /// Whether it changes nothing.
    pub fn reads(&self) -> bool {
        self.reads
    }
    /// Whether sending it twice is as good as once.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }
    /// The path without the query.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// The body's media type; empty without a body.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }
    /// The body.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// Path and query as they are sent; writes name their field manager.
    pub fn target(&self, field_manager: &str) -> String {
        let manager = (!self.reads || self.query.iter().any(|(name, _)| *name == "dryRun"))
            && matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
            && !self.path.ends_with("/eviction");
        let own = manager.then_some(("fieldManager", field_manager));
        let pairs = self.query.iter().map(|(name, value)| (*name, value.as_str())).chain(own);
        let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    /// What a preview shows of it; `place` is the server's address.
    pub fn planned(&self, place: &str, field_manager: &str) -> Planned {
        Planned {
            call: format!("{} {place}{}", self.method, self.target(field_manager)),
            body: self.body.as_ref().map(Value::to_string),
            writes: !self.reads,
        }
    }
}

/// Percent-encoding of a query's value.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_server() {
        assert_eq!(POD.path("web", "shop-1"), "/api/v1/namespaces/web/pods/shop-1");
        assert_eq!(POD.list_path(""), "/api/v1/pods");
        assert_eq!(NODE.path("ignored", "n1"), "/api/v1/nodes/n1");
        assert_eq!(DEPLOYMENT.path("web", "shop"), "/apis/apps/v1/namespaces/web/deployments/shop");
        let call = Call::get(POD.list_path("")).with("fieldSelector", "spec.nodeName=n1");
        assert_eq!(call.target("homeostat"), "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1");
        let apply = Call::apply("/x", json!({})).dry();
        assert_eq!(apply.target("homeostat"), "/x?fieldValidation=Strict&dryRun=All&fieldManager=homeostat");
        assert!(!apply.planned("http://k", "homeostat").writes);
    }

    #[test]
    fn only_names_get_into_paths() {
        for good in ["shop", "shop-1", "node1.lab.lan", "0"] {
            assert_eq!(name_problem(good), None);
        }
        for bad in ["", "Shop", "a/b", "a..b", "../x", "-a", "a-", "a b", "a?x", "ä", &"a".repeat(254)] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
