//! A cluster for a test: the face on a free loopback port with three nodes and fast plant time, or the server of HOMEOSTAT_TEST_KUBECONFIG.
//!
//! That server may serve custom resources alone (`scripts/real-api-server`): what needs the core group or `apps` then says SKIPPED.

use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::{Span, Time};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::runtime::wait::conditions::is_crd_established;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Every wait of a test ends with this.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub client: Client,
    /// The face behind the client; `None` for a given server.
    pub server: Option<KubeServer>,
    pub url: String,
    /// A namespace of this test's own.
    pub namespace: String,
    /// Whether the core group and `apps` are served.
    core: bool,
    /// Definitions that this test made.
    definitions: Vec<String>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.stop();
        }
    }
}

pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.34.1"},
        },
    })
}

pub fn deployment(namespace: &str, name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]}},
        },
    })
}

pub fn budget(namespace: &str, name: &str, min_available: Value) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}},
    })
}

/// The face with nodes `n1` to `n3`, not served and not driven.
pub fn plain(settings: Settings) -> KubeServer {
    let server = KubeServer::new(settings);
    for name in ["n1", "n2", "n3"] {
        server.upsert(node(name)).expect("a node");
    }
    server
}

/// A client for the server of HOMEOSTAT_TEST_KUBECONFIG, and its address.
pub async fn given() -> Result<Option<(Client, String)>> {
    let Ok(path) = std::env::var("HOMEOSTAT_TEST_KUBECONFIG") else { return Ok(None) };
    let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    Ok(Some((Client::try_from(config)?, url)))
}

/// Whether a server has the built-in kinds.
async fn serves_core(client: &Client) -> Result<bool> {
    // Not by kube's own question: a server without the core group answers 404 with what is no Status.
    let answer = client.send(axum::http::Request::get("/api/v1").body(kube::client::Body::empty())?).await?;
    match answer.status().as_u16() {
        200 => Ok(true),
        404 => Ok(false),
        code => Err(format!("GET /api/v1: HTTP {code}").into()),
    }
}

/// A definition of Notes with `data` like a ConfigMap's, and a `spec` and `status` with rules and subresources.
pub fn notes(group: &str) -> Value {
    let spec = json!({"type": "object", "properties": {
        "replicas": {"type": "integer", "minimum": 0, "default": 1}, "size": {"type": "string", "enum": ["small", "large"]},
        "word": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
        "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}}, "share": {"type": "number", "maximum": 1},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "maxItems": 3,
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "minutes": {"type": "integer"}}}},
    }});
    let status = json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "seen": {"type": "string"}}});
    let data = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("notes.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Note", "listKind": "NoteList", "plural": "notes", "singular": "note"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"data": data, "spec": spec, "status": status}}},
            }],
        },
    })
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

impl Cluster {
    /// The face, served, at fifty times real time.
    pub async fn face(settings: Settings) -> Result<Cluster> {
        let start = settings.start;
        let cluster = Cluster::still(settings).await?;
        let began = Instant::now();
        let clock = move || Time(start.0 + Span::from_millis(began.elapsed().as_millis() as i64).times(50.0).0);
        // Driving ends with the server: Drop stops it.
        drop(cluster.server().drive(clock, Duration::from_millis(10)));
        Ok(cluster)
    }

    /// The face, served, with plant time standing still until the test ticks.
    pub async fn still(settings: Settings) -> Result<Cluster> {
        let token = settings.token.clone();
        let server = plain(settings);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        // Serving ends with the server: Drop stops it.
        drop(server.serve(listener));
        let mut config = Config::new(url.parse()?);
        config.default_retry = false;
        config.auth_info.token = token.map(|token| token.0.into());
        let client = Client::try_from(config)?;
        let definitions = Vec::new();
        Cluster { client, server: Some(server), url, namespace: String::new(), core: true, definitions }.with_namespace().await
    }

    /// The given server, or the face; `None`, said loudly, if the given one serves custom resources alone.
    pub async fn any() -> Result<Option<Cluster>> {
        Cluster::any_or(Settings::default()).await
    }

    /// The same with settings for the face.
    pub async fn any_or(settings: Settings) -> Result<Option<Cluster>> {
        let cluster = Cluster::custom_or(settings).await?;
        if cluster.core {
            return Ok(Some(cluster));
        }
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("SKIPPED: {test} needs core/apps, which {} does not serve", cluster.url);
        Ok(None)
    }

    /// The given server, whatever it serves, or the face: for custom resources.
    pub async fn custom() -> Result<Cluster> {
        Cluster::custom_or(Settings::default()).await
    }

    async fn custom_or(settings: Settings) -> Result<Cluster> {
        let Some((client, url)) = given().await? else { return Cluster::face(settings).await };
        let core = serves_core(&client).await?;
        let cluster = Cluster { client, server: None, url, namespace: unique("homeostat-test"), core, definitions: Vec::new() };
        if core { cluster.with_namespace().await } else { Ok(cluster) }
    }

    /// Defines Notes in a group of this test's own and waits until they can be asked for.
    pub async fn notes(&mut self) -> Result<(Api<DynamicObject>, ApiResource)> {
        let group = format!("{}.example.org", unique("notes"));
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        definitions.create(&PostParams::default(), &serde_json::from_value(notes(&group))?).await?;
        self.definitions.push(format!("notes.{group}"));
        wait(&definitions, &format!("notes.{group}"), is_crd_established()).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Note"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        // What was established a moment ago may still be told to wait: 404, or 429 `storage is (re)initializing`.
        tokio::time::timeout(PATIENCE, async {
            while let Err(kube::Error::Api(status)) = api.list(&ListParams::default().limit(1)).await {
                assert!(matches!(status.code, 404 | 429 | 503), "{status:?}");
                tokio::task::yield_now().await;
            }
        })
        .await?;
        Ok((api, resource))
    }

    async fn with_namespace(mut self) -> Result<Cluster> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let wish = serde_json::from_value(json!({"metadata": {"generateName": "homeostat-test-"}}))?;
        let made = namespaces.create(&PostParams::default(), &wish).await?;
        self.namespace = made.metadata.name.ok_or("a namespace without a name")?;
        Ok(self)
    }

    /// The face behind this cluster.
    pub fn server(&self) -> &KubeServer {
        self.server.as_ref().expect("this test runs on the face")
    }

    /// Leaves a given server as it was.
    pub async fn end(self) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for name in &self.definitions {
            definitions.delete(name, &DeleteParams::default()).await?;
        }
        if !self.core {
            return Ok(());
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    /// An API of a kind, untyped, in this test's namespace.
    pub fn objects(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    /// An API of a namespaced kind in this test's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The refusal inside a kube error.
pub fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> kube::core::Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Waits for a condition on one object.
pub async fn wait<K>(api: &Api<K>, name: &str, condition: impl kube::runtime::wait::Condition<K>) -> Result<()>
where
    K: Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + kube::Resource + 'static,
{
    tokio::time::timeout(PATIENCE, kube::runtime::wait::await_condition(api.clone(), name, condition)).await??;
    Ok(())
}
