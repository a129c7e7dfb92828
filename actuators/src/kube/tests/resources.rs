use super::*;

fn set(id: u64, args: Value) -> Action {
    act(id, "resources.set", "deployment/web/shop", args)
}

fn main_container(cluster: &Cluster) -> Value {
    cluster.get("deployments.apps", "shop")["spec"]["template"]["spec"]["containers"][0].clone()
}

async fn shop() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    cluster
}

#[tokio::test]
async fn set_and_taken_back() {
    let cluster = shop().await;
    let action = set(1, json!({ "container": "main", "cpu_request": "250m", "memory_limit": "128Mi" }));
    let receipt = done(cluster.apply(&action).await);
    assert_eq!(main_container(&cluster)["resources"], json!({ "requests": { "cpu": "250m" }, "limits": { "memory": "128Mi" } }));
    assert_eq!(main_container(&cluster)["image"], "registry.k8s.io/pause:3.10", "nothing else was changed");
    assert_eq!((&receipt.undo["was.cpu_request"], &receipt.undo["was.memory_limit"]), (&Arg::from("100m"), &Arg::from("")));
    assert_eq!(done(cluster.apply(&action).await), receipt);
    let same = done(cluster.apply(&set(2, json!({ "container": "main", "cpu_request": "0.25" }))).await);
    assert!(same.observed.starts_with("was already so"), "{same:?}");
    done(cluster.revert(&action, &receipt).await);
    assert_eq!(main_container(&cluster)["resources"]["requests"], json!({ "cpu": "100m" }));
    assert!(main_container(&cluster)["resources"]["limits"]["memory"].is_null());
}

#[tokio::test]
async fn what_somebody_changed_since_is_not_taken_back() {
    let cluster = shop().await;
    let action = set(1, json!({ "container": "main", "cpu_request": "250m" }));
    let receipt = done(cluster.apply(&action).await);
    cluster.server.amend("deployments.apps", "web", "shop", |shop| {
        shop["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1");
    });
    not_done(cluster.revert(&action, &receipt).await, FaultCode::Conflict);
    assert_eq!(main_container(&cluster)["resources"]["requests"]["cpu"], "1");
}

#[tokio::test]
async fn bounds_containers_and_owners() {
    let cluster = shop().await;
    let resources = cluster.actuator("resources");
    for args in [
        json!({ "container": "main" }),
        json!({ "cpu_request": "1" }),
        json!({ "container": "main", "cpu_request": "3" }),
        json!({ "container": "main", "cpu_limit": "1m" }),
        json!({ "container": "main", "memory_limit": "2Gi" }),
        json!({ "container": "main", "memory_request": "much" }),
    ] {
        assert_eq!(resources.check(&set(1, args.clone())).unwrap_err().code, FaultCode::Malformed, "{args}");
    }
    let other = set(2, json!({ "container": "other", "cpu_request": "1" }));
    assert!(not_done(cluster.apply(&other).await, FaultCode::NotFound).detail.contains("there are: main"));
    cluster.server.amend("deployments.apps", "web", "shop", |shop| {
        shop["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": "lab" });
    });
    let held = set(3, json!({ "container": "main", "cpu_request": "1" }));
    assert!(not_done(cluster.apply(&held).await, FaultCode::Conflict).detail.contains("pull request"));
    assert_eq!(main_container(&cluster)["resources"]["requests"]["cpu"], "100m");
}
