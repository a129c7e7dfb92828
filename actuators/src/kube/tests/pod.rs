use super::*;

async fn shop() -> (Cluster, String, String) {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 2)).await;
    let pod = cluster.pods("shop")[0].clone();
    let text = |pointer: &str| pod.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    (cluster, text("/metadata/name"), text("/metadata/uid"))
}

fn delete(id: u64, name: &str, args: Value) -> Action {
    act(id, "pod.delete", &format!("pod/web/{name}"), args)
}

#[tokio::test]
async fn a_pod_goes_and_another_comes() {
    let (cluster, name, uid) = shop().await;
    let action = delete(1, &name, json!({ "uid": uid }));
    let receipt = done(cluster.apply(&action).await);
    assert!(receipt.observed.contains(&uid) && receipt.observed.contains("has 2 pods"), "{receipt:?}");
    assert!(cluster.pods("shop").iter().all(|pod| pod["metadata"]["uid"] != uid.as_str()));
    assert_eq!(done(cluster.apply(&action).await), receipt);
    assert!(done(cluster.apply(&delete(2, &name, json!({}))).await).observed.contains("already gone"));
    not_done(cluster.revert(&action, &receipt).await, FaultCode::NeverStarted);
}

#[tokio::test]
async fn another_pod_of_that_name_is_left_alone() {
    let (cluster, name, uid) = shop().await;
    done(cluster.apply(&delete(1, &name, json!({ "uid": "another" }))).await);
    assert_eq!(cluster.get("pods", &name)["metadata"]["uid"], uid.as_str());
    assert!(!super::super::place::terminating(&cluster.get("pods", &name)));
}

#[tokio::test]
async fn nobody_brings_a_bare_pod_back() {
    let cluster = Cluster::start().await;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "alone", "namespace": "web" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "main", "image": "x" }] } });
    cluster.server.upsert(pod).unwrap();
    assert!(not_done(cluster.apply(&delete(1, "alone", json!({}))).await, FaultCode::Conflict).detail.contains("no controller"));
    assert!(cluster.server.get("pods", "web", "alone").is_some());
}

#[tokio::test]
async fn a_budget_holds_it() {
    let (cluster, name, _) = shop().await;
    cluster.server.upsert(budget("shop", 2)).unwrap();
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["currentHealthy"] == 2).await;
    let fault = not_done(cluster.apply(&hasty(delete(1, &name, json!({})))).await, FaultCode::Limit);
    assert!(fault.detail.contains("needs 2 healthy pods"), "{fault}");
    assert!(!super::super::place::terminating(&cluster.get("pods", &name)));
}

#[tokio::test]
async fn a_finalizer_that_sticks_is_named_and_the_probe_sees_it_go() {
    let (cluster, name, _) = shop().await;
    cluster.server.amend("pods", "web", &name, |pod| pod["metadata"]["finalizers"] = json!(["lab/keep"]));
    let action = hasty(delete(1, &name, json!({})));
    assert!(unknown(cluster.apply(&action).await).detail.contains("lab/keep"));
    assert!(unknown(cluster.probe(Time(1), &action).await).detail.contains("lab/keep"));
    cluster.server.amend("pods", "web", &name, |pod| pod["metadata"]["finalizers"] = json!([]));
    cluster.until(|server| server.get("pods", "web", &name).is_none()).await;
    cluster.until(|server| server.list("pods").len() == 2).await;
    done(cluster.probe(LATER, &action).await);
}

#[tokio::test]
async fn a_lost_answer_evicts_one_pod_only() {
    let (cluster, name, _) = shop().await;
    let path = format!("/api/v1/namespaces/web/pods/{name}/eviction");
    cluster.inject("POST", &path, FaultKind::PretendDone, 1);
    cluster.inject("POST", &path, FaultKind::DropAfterDoing, 3);
    let action = delete(1, &name, json!({}));
    let before: Vec<Value> = cluster.pods("shop").iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    let outcome = cluster.apply(&action).await;
    assert!(matches!(outcome, Outcome::Done(_) | Outcome::Unknown(_)), "{outcome:?}");
    cluster.until(|server| server.get("pods", "web", &name).is_none() && server.list("pods").len() == 2).await;
    done(cluster.probe(LATER, &action).await);
    let stayed = cluster.pods("shop").iter().filter(|pod| before.contains(&pod["metadata"]["uid"])).count();
    assert_eq!(stayed, 1);
}
