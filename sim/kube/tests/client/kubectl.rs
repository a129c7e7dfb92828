//! `kubectl` against the face: the commands that a person types, and what they print.

use crate::harness::{Cluster, PATIENCE, Result};
use homeostat_kube_face::Settings;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;

struct Kubectl {
    program: String,
    home: tempfile::TempDir,
    namespace: String,
}

impl Kubectl {
    /// Runs one command that must succeed; its output.
    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let run = tokio::process::Command::new(&self.program)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, run).await??;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments:?}: {out}{err}");
        Ok(format!("{out}{err}"))
    }

    /// Runs one command and checks that its output has these parts.
    async fn says(&self, arguments: &[&str], parts: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        for part in parts {
            assert!(output.contains(part), "kubectl {arguments:?} does not say {part:?}:\n{output}");
        }
        Ok(output)
    }
}

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: lab}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        ports: [{containerPort: 80}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: agent:1}]}
";

fn found(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).is_file() || std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

#[tokio::test]
async fn kubectl_works_as_people_use_it() -> Result<()> {
    let program = std::env::var("HOMEOSTAT_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    if !found(&program) {
        eprintln!("SKIPPED: no {program} in PATH; `make tools` installs it (Debian package kubernetes-client)");
        return Ok(());
    }
    let cluster = Cluster::face(Settings::default()).await?;
    let home = tempfile::tempdir()?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab", "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [{"name": "lab", "cluster": {"server": cluster.url}}], "users": [{"name": "lab", "user": {}}],
    });
    std::fs::write(home.path().join("config"), config.to_string())?;
    let manifest = home.path().join("web.yaml");
    std::fs::write(&manifest, MANIFEST)?;
    let file = manifest.to_str().ok_or("a path")?;
    let kubectl = Kubectl { program, home, namespace: cluster.namespace.clone() };

    kubectl.says(&["version"], &["1.34.1"]).await?;
    kubectl.says(&["get", "nodes"], &["NAME", "STATUS", "n1", "Ready", "v1.34.1"]).await?;
    kubectl
        .says(
            &["apply", "-f", file],
            &["deployment.apps/web created", "poddisruptionbudget.policy/web created", "daemonset.apps/agent created"],
        )
        .await?;
    kubectl.says(&["rollout", "status", "deployment/web"], &["successfully rolled out"]).await?;
    kubectl.says(&["get", "pods", "-o", "wide"], &["READY", "STATUS", "NODE", "Running", "1/1", "10.244."]).await?;
    kubectl.says(&["get", "deployments,pdb"], &["UP-TO-DATE", "3/3", "ALLOWED DISRUPTIONS"]).await?;
    changes(&kubectl, &manifest, file).await?;
    descriptions(&kubectl).await?;
    drain(&kubectl, &cluster).await?;
    kubectl.says(&["delete", "-f", file], &["deployment.apps \"web\" deleted"]).await?;
    tokio::time::timeout(PATIENCE, async {
        while cluster.server().list("pods").iter().any(|pod| pod["metadata"]["labels"]["app"] == "web") {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    kubectl.says(&["get", "deployments"], &["No resources found"]).await?;
    cluster.end().await
}

async fn changes(kubectl: &Kubectl, manifest: &Path, file: &str) -> Result<()> {
    std::fs::write(manifest, MANIFEST.replace("nginx:1", "nginx:2").replace("team: lab", "team: home"))?;
    kubectl.says(&["apply", "-f", file], &["deployment.apps/web configured", "daemonset.apps/agent unchanged"]).await?;
    kubectl.says(&["rollout", "status", "deployment/web"], &["successfully rolled out"]).await?;
    kubectl.says(&["get", "deployment", "web", "-o", "yaml"], &["nginx:2", "team: home"]).await?;
    kubectl.says(&["scale", "deployment", "web", "--replicas=4"], &["scaled"]).await?;
    kubectl.says(&["rollout", "status", "deployment/web"], &["successfully rolled out"]).await?;
    kubectl.says(&["get", "deployment", "web"], &["4/4"]).await?;
    Ok(())
}

async fn descriptions(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .says(
            &["describe", "node", "n1"],
            &["Name:               n1", "Unschedulable:      false", "Non-terminated Pods", "agent-", "Allocatable:"],
        )
        .await?;
    kubectl
        .says(
            &["describe", "deployment", "web"],
            &["4 desired | 4 updated | 4 total | 4 available", "NewReplicaSetAvailable", "ScalingReplicaSet"],
        )
        .await?;
    kubectl
        .says(&["describe", "pods", "-l", "app=web"], &["Controlled By:", "ReplicaSet/web-", "Successfully assigned", "Ready", "nginx:2"])
        .await?;
    Ok(())
}

async fn drain(kubectl: &Kubectl, cluster: &Cluster) -> Result<()> {
    kubectl.says(&["cordon", "n1"], &["node/n1 cordoned"]).await?;
    kubectl.says(&["get", "nodes"], &["Ready,SchedulingDisabled"]).await?;
    kubectl
        .says(&["drain", "n1", "--ignore-daemonsets", "--timeout=50s"], &["gnoring DaemonSet-managed", "evicting pod", "node/n1"])
        .await?;
    let on_node = |pod: &serde_json::Value| pod["spec"]["nodeName"] == "n1" && pod["metadata"]["labels"]["app"] == "web";
    assert!(!cluster.server().list("pods").iter().any(|pod| on_node(pod)), "drained");
    assert!(
        cluster.server().list("pods").iter().any(|pod| pod["spec"]["nodeName"] == "n1" && pod["metadata"]["labels"]["app"] == "agent"),
        "daemons stay"
    );
    kubectl.says(&["uncordon", "n1"], &["node/n1 uncordoned"]).await?;
    Ok(())
}
