use super::*;

const PATCH: &str = "/apis/apps/v1/namespaces/web/deployments/shop";

fn restart(id: u64) -> Action {
    act(id, "restart.rollout", "deployment/web/shop", json!({}))
}

fn sets(cluster: &Cluster) -> usize {
    cluster.server.list("replicasets.apps").len()
}

#[tokio::test]
async fn a_restart_is_one_rollout_however_often_it_is_asked_for() {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 2)).await;
    let before: Vec<Value> = cluster.pods("shop").iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    let receipt = done(cluster.apply(&restart(1)).await);
    assert!(receipt.observed.contains("complete: 2 of 2 updated"), "{receipt:?}");
    let now: Vec<Value> = cluster
        .pods("shop")
        .iter()
        .filter(|pod| !super::super::place::terminating(pod))
        .map(|pod| pod["metadata"]["uid"].clone())
        .collect();
    assert!(now.len() == 2 && now.iter().all(|uid| !before.contains(uid)));
    let shop = cluster.get("deployments.apps", "shop");
    assert_eq!(shop["spec"]["template"]["metadata"]["annotations"]["homeostat/decision"], "j1-a1");
    assert_eq!(shop["spec"]["template"]["metadata"]["annotations"]["homeostat/reason"], "it was asked for");
    assert_eq!(done(cluster.apply(&restart(1)).await), receipt);
    assert_eq!(sets(&cluster), 2);
    not_done(cluster.revert(&restart(1), &receipt).await, FaultCode::NeverStarted);
}

#[tokio::test]
async fn sets_restart_too() {
    let cluster = Cluster::start().await;
    cluster.make(stateful_set("db", 2)).await;
    cluster.make(daemon_set("agent")).await;
    done(cluster.apply(&act(1, "restart.rollout", "statefulset/web/db", json!({}))).await);
    done(cluster.apply(&act(2, "restart.rollout", "daemonset/web/agent", json!({}))).await);
}

#[tokio::test]
async fn a_lost_answer_restarts_once() {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    cluster.inject("PATCH", PATCH, FaultKind::PretendDone, 1);
    cluster.inject("PATCH", PATCH, FaultKind::DropAfterDoing, 1);
    done(cluster.apply(&restart(1)).await);
    assert_eq!(sets(&cluster), 2);
    cluster.inject("PATCH", PATCH, FaultKind::PretendDone, 1);
    cluster.inject("PATCH", PATCH, FaultKind::DropAfterDoing, 1);
    cluster.inject("PATCH", PATCH, FaultKind::Status { code: 500, retry_after_seconds: None }, 2);
    unknown(cluster.apply(&restart(2)).await);
    cluster
        .until(|server| {
            let shop = server.get("deployments.apps", "web", "shop").unwrap();
            matches!(super::super::rollout::state("Deployment", &shop), super::super::rollout::Rollout::Complete(_))
        })
        .await;
    done(cluster.probe(LATER, &restart(2)).await);
    assert_eq!(sets(&cluster), 3);
}

#[tokio::test]
async fn no_restart_while_one_runs_or_is_paused() {
    let slow = Settings { pod_ready_after: Span::from_hours(10), ..Settings::default() };
    let cluster = Cluster::start_as(slow, json!({})).await;
    cluster.server.upsert(deployment("shop", 1)).unwrap();
    let fault = not_done(cluster.apply(&restart(1)).await, FaultCode::Conflict);
    assert!(fault.detail.contains("a rollout is under way"), "{fault}");
    cluster.server.amend("deployments.apps", "web", "shop", |shop| shop["spec"]["paused"] = json!(true));
    assert!(not_done(cluster.apply(&restart(2)).await, FaultCode::Conflict).detail.contains("paused"));
    not_done(cluster.apply(&act(3, "restart.rollout", "deployment/web/none", json!({}))).await, FaultCode::NotFound);
}

#[tokio::test]
async fn a_rollout_that_is_given_up_has_failed() {
    let cluster = Cluster::start().await;
    let mut shop = deployment("shop", 1);
    shop["spec"]["progressDeadlineSeconds"] = json!(10);
    cluster.make(shop).await;
    for name in ["n1", "n2", "n3"] {
        cluster.server.amend("nodes", "", name, |node| node["spec"] = json!({ "unschedulable": true }));
    }
    let fault = not_done(cluster.apply(&restart(1)).await, FaultCode::Failed);
    assert!(fault.detail.contains("ProgressDeadlineExceeded"), "{fault}");
}

#[tokio::test]
async fn a_yes_that_was_none_is_not_done() {
    let cluster = Cluster::start().await;
    cluster.make(deployment("shop", 1)).await;
    cluster.inject("PATCH", PATCH, FaultKind::PretendDone, 2);
    assert!(not_done(cluster.apply(&restart(1)).await, FaultCode::Conflict).detail.contains("no decision"));
    assert_eq!(sets(&cluster), 1);
}
