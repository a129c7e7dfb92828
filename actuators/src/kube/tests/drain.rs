use super::*;
use homeostat_kube_face::AccessRule;

fn drain(id: u64, args: Value) -> Action {
    act(id, "node.drain", "node/n1", args)
}

fn open(cluster: &Cluster) -> bool {
    cluster.get("nodes", "n1")["spec"]["unschedulable"] != true
}

fn on_n1(cluster: &Cluster, app: &str) -> usize {
    cluster.pods(app).iter().filter(|pod| pod["spec"]["nodeName"] == "n1").count()
}

/// A deployment with pods on all nodes, a daemon on each.
async fn lab_as(settings: Settings, section: Value) -> Cluster {
    let cluster = Cluster::start_as(settings, section).await;
    cluster.make(daemon_set("agent")).await;
    cluster.make(deployment("shop", 6)).await;
    assert!(on_n1(&cluster, "shop") > 0 && on_n1(&cluster, "agent") == 1);
    cluster
}

async fn lab() -> Cluster {
    lab_as(Settings::default(), json!({})).await
}

fn pod_on_n1(name: &str, spec: Value, metadata: Value) -> Value {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = json!("web");
    pod["spec"]["nodeName"] = json!("n1");
    pod["spec"]["containers"] = json!([{ "name": "main", "image": "x" }]);
    pod
}

#[tokio::test]
async fn a_drained_node_keeps_daemons_and_mirrors_only() {
    let cluster = lab().await;
    let mirror = json!({ "annotations": { "kubernetes.io/config.mirror": "x" } });
    cluster.server.upsert(pod_on_n1("static", json!({}), mirror)).unwrap();
    let receipt = done(cluster.apply(&drain(1, json!({}))).await);
    assert!(receipt.observed.contains("2 of DaemonSets and static pods stay"), "{receipt:?}");
    assert_eq!((on_n1(&cluster, "shop"), on_n1(&cluster, "agent"), open(&cluster)), (0, 1, false));
    assert_eq!(receipt.undo["cordoned_by"], Arg::from("j1-a1"));
    done(cluster.revert(&drain(1, json!({})), &receipt).await);
    assert!(open(&cluster));
}

#[tokio::test]
async fn what_would_be_lost_forbids_the_drain_before_anything_is_touched() {
    let cluster = lab().await;
    cluster.server.upsert(pod_on_n1("alone", json!({ "volumes": [{ "name": "tmp", "emptyDir": {} }] }), json!({}))).unwrap();
    let fault = not_done(cluster.apply(&drain(1, json!({}))).await, FaultCode::Conflict);
    assert!(fault.detail.contains("web/alone has no controller"), "{fault}");
    let fault = not_done(cluster.apply(&drain(2, json!({ "force": true }))).await, FaultCode::Conflict);
    assert!(fault.detail.contains("emptyDir"), "{fault}");
    assert!(open(&cluster) && on_n1(&cluster, "shop") > 0);
    done(cluster.apply(&drain(3, json!({ "force": true, "delete_emptydir": true }))).await);
    assert!(cluster.server.get("pods", "web", "alone").is_none());
}

#[tokio::test]
async fn a_budget_that_holds_to_the_end_gives_the_node_back() {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 6)).unwrap();
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["currentHealthy"] == 6).await;
    let fault = match cluster.apply(&hasty(drain(1, json!({})))).await {
        Outcome::NotDone(fault) => fault,
        other => panic!("{other:?}"),
    };
    assert!(fault.detail.contains("0 pods were evicted; uncordoned again"), "{fault}");
    assert!(open(&cluster) && on_n1(&cluster, "shop") > 0);
}

#[tokio::test]
async fn a_budget_that_frees_itself_is_waited_for() {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 5)).unwrap();
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["disruptionsAllowed"] == 1).await;
    done(cluster.apply(&drain(1, json!({}))).await);
    assert_eq!(on_n1(&cluster, "shop"), 0);
}

#[tokio::test]
async fn two_budgets_on_one_pod_are_a_persons_to_mend() {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 1)).unwrap();
    let mut second = budget("shop", 1);
    second["metadata"]["name"] = json!("shop-too");
    cluster.server.upsert(second).unwrap();
    let fault = not_done(cluster.apply(&drain(1, json!({}))).await, FaultCode::Conflict);
    assert!(fault.detail.contains("more than one PodDisruptionBudget"), "{fault}");
    assert!(open(&cluster));
}

#[tokio::test]
async fn the_control_plane_and_missing_rights_forbid_it() {
    let list = |text: &str| vec![text.to_owned()];
    let rule = AccessRule { resources: list("pods/eviction"), allow: false, ..AccessRule::default() };
    let cluster = lab_as(Settings { access: vec![rule], ..Settings::default() }, json!({})).await;
    assert!(not_done(cluster.apply(&drain(1, json!({}))).await, FaultCode::Denied).detail.contains("pods/eviction"));
    assert_eq!(cluster.actuator("node").ready().await.iter().map(|(verb, _)| verb.to_string()).collect::<Vec<_>>(), ["node.drain"]);
    let cluster = lab().await;
    cluster.server.amend("nodes", "", "n1", |node| node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!(""));
    assert!(not_done(cluster.apply(&drain(1, json!({}))).await, FaultCode::Denied).detail.contains("control plane"));
    assert!(open(&cluster));
    let allowed = json!({ "node": { "drain_control_plane": true } });
    let cluster = lab_as(Settings::default(), allowed).await;
    cluster.server.amend("nodes", "", "n1", |node| node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!(""));
    done(cluster.apply(&drain(1, json!({}))).await);
}

#[tokio::test]
async fn a_persons_cordon_stays_when_a_drain_fails() {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 6)).unwrap();
    cluster.server.amend("nodes", "", "n1", |node| node["spec"] = json!({ "unschedulable": true }));
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["currentHealthy"] == 6).await;
    let Outcome::NotDone(fault) = cluster.apply(&hasty(drain(1, json!({})))).await else { panic!() };
    assert!(fault.detail.contains("the cordon is not ours and stays"), "{fault}");
    assert!(!open(&cluster));
}

#[tokio::test]
async fn a_server_that_goes_in_the_middle_is_unknown_and_the_probe_tells_the_truth() {
    // Pods that take long to stop: the server goes while they do.
    let slow = Settings { pod_stop_after: Span::from_secs(25), ..Settings::default() };
    let cluster = lab_as(slow, json!({ "call_timeout": "1s" })).await;
    let action = Action { timeout: Span::from_secs(5), ..drain(1, json!({})) };
    let gone = async {
        cluster.until(|server| server.list("pods").iter().any(|pod| super::super::place::terminating(pod))).await;
        cluster.inject("", "/", FaultKind::Status { code: 503, retry_after_seconds: None }, 1_000_000);
    };
    let (outcome, ()) = tokio::join!(cluster.apply(&action), gone);
    unknown(outcome);
    unknown(cluster.probe(LATER, &action).await);
    cluster.server.clear_faults();
    let evicted = |server: &KubeServer| !server.list("pods").iter().any(|pod| super::super::place::terminating(pod));
    cluster.until(evicted).await;
    let left = on_n1(&cluster, "shop");
    match cluster.probe(LATER, &action).await {
        Outcome::Done(receipt) => assert_eq!((left, &receipt.undo["cordoned_by"]), (0, &Arg::from("j1-a1"))),
        Outcome::NotDone(fault) => {
            assert!(left > 0 && fault.code == FaultCode::HalfDone && fault.detail.contains("still cordoned by j1-a1"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!open(&cluster), "a probe writes nothing");
}

/// A cluster where a drain of n1 was lost (its engine was killed) while a budget held the pods: the action, after its end.
async fn lost_drain() -> (Cluster, Action) {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 6)).unwrap();
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["currentHealthy"] == 6).await;
    let action = drain(1, json!({}));
    let killed = cluster.until(|server| server.get("nodes", "", "n1").unwrap()["spec"]["unschedulable"] == true);
    tokio::select! {
        outcome = cluster.apply(&action) => panic!("{outcome:?}"),
        () = killed => {}
    }
    (cluster, action)
}

#[tokio::test]
async fn what_a_lost_drain_left_cordoned_is_half_done_and_taken_back() {
    let (cluster, action) = lost_drain().await;
    unknown(cluster.probe(Time(1), &action).await);
    let fault = not_done(cluster.probe(LATER, &action).await, FaultCode::HalfDone);
    assert!(fault.detail.contains("still cordoned by j1-a1"), "{fault}");
    assert!(!open(&cluster), "a probe writes nothing");
    assert_eq!(not_done(cluster.probe(LATER, &action).await, FaultCode::HalfDone), fault, "asked again, it says the same");
    let receipt = done(cluster.revert(&action, &Receipt::default()).await);
    assert_eq!((receipt.observed.as_str(), open(&cluster)), ("uncordoned", true));
    assert!(on_n1(&cluster, "shop") > 0);
}

#[tokio::test]
async fn what_a_lost_drain_left_is_not_taken_from_who_cordoned_it_since() {
    let (cluster, action) = lost_drain().await;
    cluster.server.amend("nodes", "", "n1", |node| node["metadata"]["annotations"] = json!({}));
    not_done(cluster.probe(LATER, &action).await, FaultCode::TimedOut);
    done(cluster.revert(&action, &Receipt::default()).await);
    assert!(!open(&cluster), "a person's cordon stays");
}

#[tokio::test]
async fn a_drain_that_is_told_to_stop_opens_the_node_and_evicts_no_more() {
    let cluster = lab().await;
    cluster.server.upsert(budget("shop", 6)).unwrap();
    cluster.until(|server| server.get("poddisruptionbudgets.policy", "web", "shop").unwrap()["status"]["currentHealthy"] == 6).await;
    let action = drain(1, json!({}));
    let stop = async {
        cluster.until(|server| server.get("nodes", "", "n1").unwrap()["spec"]["unschedulable"] == true).await;
        cluster.revert(&action, &Receipt::default()).await
    };
    let (outcome, stopped) = tokio::join!(cluster.apply(&action), stop);
    done(stopped);
    assert!(not_done(outcome, FaultCode::Conflict).detail.contains("told to stop"));
    assert!(open(&cluster) && on_n1(&cluster, "shop") > 0);
}
