//! The `kubernetes` section: which cluster, where in it, and what may be done there.
//!
//! Deliberately absent: reading kubeconfigs or secrets (that happens at the first use). An editor breaks this by giving a power that
//! was not configured.

use super::{NodeConfig, PodConfig, ResourcesConfig, RestartConfig, ScaleConfig};
use homeostat_model::{Fault, FaultCode, Secret, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest `call_timeout`.
const CALL_TIMEOUT_MAX: Span = Span::from_mins(2);

/// A Kubernetes cluster, and what Homeostat may do in it. A power that is not named here does not exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// How to reach the API server.
    pub connect: ConnectConfig,
    /// The namespaces in which something may be changed; empty: all but `kube-system`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The name under which the API server records what Homeostat set.
    #[serde(default = "field_manager_default")]
    pub field_manager: String,
    /// How long one request may take, in real time.
    #[serde(default = "call_timeout_default")]
    #[schemars(with = "String")]
    pub call_timeout: Span,
    /// Between two looks while something is waited for.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// `scale.up` and `scale.down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleConfig>,
    /// `restart.rollout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartConfig>,
    /// `node.cordon`, `node.uncordon` and `node.drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeConfig>,
    /// `resources.set`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesConfig>,
    /// `pod.delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodConfig>,
    /// `chaos.run` and `chaos.abort`: experiments of Chaos Mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<super::ChaosConfig>,
    /// `kratix.apply` and `kratix.delete`: requests of Kratix Promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kratix: Option<super::KratixConfig>,
    /// `velero.backup` and `velero.restore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velero: Option<super::VeleroConfig>,
}

/// How to reach the API server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConnectConfig {
    /// A kubeconfig file.
    Kubeconfig {
        /// Its path.
        path: String,
        /// The context in it; absent: the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
    },
    /// The service account of the pod that Homeostat runs in.
    InCluster {},
    /// An address and a token.
    Server {
        /// E.g. `https://kube.lan:6443`.
        url: String,
        /// The bearer token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        token: Option<Secret>,
        /// A PEM file with the authority that signed the server's certificate; absent: the system's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_file: Option<String>,
    },
}

fn field_manager_default() -> String {
    "homeostat".into()
}
fn call_timeout_default() -> Span {
    Span::from_secs(10)
}
fn poll_default() -> Span {
    Span::from_secs(2)
}

impl KubernetesConfig {
    /// Every problem of the shared part; the powers check theirs.
    pub(super) fn problems(&self) -> Vec<Fault> {
        let mut problems = Vec::new();
        let manager = &self.field_manager;
        if manager.is_empty() || manager.len() > 128 || !manager.chars().all(|c| c.is_ascii_graphic()) {
            problems.push("`field_manager` must be 1 to 128 printable characters".to_owned());
        }
        if self.call_timeout <= Span::ZERO || self.call_timeout > CALL_TIMEOUT_MAX {
            problems.push(format!("`call_timeout` is {}, expected more than 0s and at most {CALL_TIMEOUT_MAX}", self.call_timeout));
        }
        if self.poll <= Span::ZERO {
            problems.push("`poll` must be more than 0s".into());
        }
        problems.extend(self.namespaces.iter().filter_map(|name| super::call::name_problem(name)).map(|p| format!("`namespaces`: {p}")));
        match &self.connect {
            ConnectConfig::Kubeconfig { path, .. } if path.is_empty() => problems.push("`connect.path` is empty".into()),
            ConnectConfig::Server { url, .. } => match reqwest::Url::parse(url) {
                Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() => {
                    problems.push("`connect.url`: expected `https://host:port`".into());
                }
                Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() => {
                    problems.push("`connect.url` must hold no credentials and no query; the token goes into `connect.token`".into());
                }
                Ok(_) => {}
                Err(error) => problems.push(format!("`connect.url`: {error}; expected `https://host:port`")),
            },
            _ => {}
        }
        problems.into_iter().map(|problem| Fault::new(FaultCode::Malformed, "configure `kubernetes`", problem)).collect()
    }
}
