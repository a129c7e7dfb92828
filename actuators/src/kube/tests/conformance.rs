use super::*;
use crate::conformance::{Subject, action, conforms};

/// A power on a cluster, with `deployment/web/shop` and `statefulset/web/db` on it. `count` is what grows with each thing done.
async fn subject(good: Action, count: impl Fn(&KubeServer) -> i64 + 'static) -> Subject {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    cluster.make(stateful_set("db", 1)).await;
    let actuator = cluster.actuator(good.verb.actuator());
    let server = cluster.server.clone();
    let before = count(&server);
    let counted = move || (count(&server) - before) as usize;
    Subject { actuator, good, count: Box::new(counted), once: 1, _keep: Box::new(cluster) }
}

fn generation(server: &KubeServer) -> i64 {
    server.get("deployments.apps", "web", "shop").unwrap()["metadata"]["generation"].as_i64().unwrap()
}

#[tokio::test]
async fn scale_conforms() {
    let args = Args::from([("replicas".to_owned(), Arg::Int(2))]);
    conforms(subject(action_with(1, "scale.up", "deployment/web/shop", args), generation).await).await;
}

#[tokio::test]
async fn restart_conforms() {
    conforms(subject(action(1, "restart.rollout", "deployment/web/shop"), generation).await).await;
}

#[tokio::test]
async fn resources_conforms() {
    let args = [("container", "main"), ("cpu_request", "200m")].map(|(name, value)| (name.to_owned(), Arg::from(value)));
    conforms(subject(action_with(1, "resources.set", "deployment/web/shop", args.into()), generation).await).await;
}

#[tokio::test]
async fn node_conforms() {
    let closed = |server: &KubeServer| i64::from(server.get("nodes", "", "n1").unwrap()["spec"]["unschedulable"] == true);
    conforms(subject(action(1, "node.cordon", "node/n1"), closed).await).await;
}

#[tokio::test]
async fn pod_conforms() {
    let first = std::cell::OnceCell::new();
    let replaced = move |server: &KubeServer| {
        let uid = server.get("pods", "web", "db-0").map(|pod| pod["metadata"]["uid"].clone());
        i64::from(first.get_or_init(|| uid.clone()) != &uid)
    };
    conforms(subject(action(1, "pod.delete", "pod/web/db-0"), replaced).await).await;
}
