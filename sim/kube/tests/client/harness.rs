//! A cluster for a test: the face on a free loopback port with three nodes and fast plant time, or the server of HOMEOSTAT_TEST_KUBECONFIG.

use homeostat_kube_face::{KubeServer, Settings};
use homeostat_model::{Span, Time};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
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
        Cluster { client, server: Some(server), url, namespace: String::new() }.with_namespace().await
    }

    /// The given server, or the face.
    pub async fn any() -> Result<Cluster> {
        Cluster::any_or(Settings::default()).await
    }

    /// The given server, or the face with these settings.
    pub async fn any_or(settings: Settings) -> Result<Cluster> {
        let Ok(path) = std::env::var("HOMEOSTAT_TEST_KUBECONFIG") else { return Cluster::face(settings).await };
        let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config)?;
        Cluster { client, server: None, url, namespace: String::new() }.with_namespace().await
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
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
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
