use super::*;

fn closed(cluster: &Cluster) -> bool {
    cluster.get("nodes", "n1")["spec"]["unschedulable"] == true
}

fn cordoned_by(cluster: &Cluster) -> Value {
    cluster.get("nodes", "n1")["metadata"]["annotations"]["homeostat/cordoned-by"].clone()
}

#[tokio::test]
async fn a_cordon_carries_our_mark_and_goes_with_it() {
    let cluster = Cluster::start().await;
    let cordon = act(1, "node.cordon", "node/n1", json!({}));
    let receipt = done(cluster.apply(&cordon).await);
    assert_eq!((closed(&cluster), cordoned_by(&cluster)), (true, json!("j1-a1")));
    assert_eq!(done(cluster.probe(Time(1), &cordon).await), receipt);
    let again = done(cluster.apply(&act(2, "node.cordon", "node/n1", json!({}))).await);
    assert!(again.observed.contains("already cordoned, by decision j1-a1") && again.undo.is_empty());
    done(cluster.revert(&cordon, &receipt).await);
    assert_eq!((closed(&cluster), cordoned_by(&cluster)), (false, Value::Null));
    done(cluster.apply(&act(3, "node.cordon", "node/n1", json!({}))).await);
    assert_eq!(done(cluster.apply(&act(4, "node.uncordon", "node/n1", json!({}))).await).observed, "uncordoned");
    assert_eq!(done(cluster.apply(&act(5, "node.uncordon", "node/n1", json!({}))).await).observed, "was not cordoned");
    not_done(cluster.apply(&act(6, "node.cordon", "node/none", json!({}))).await, FaultCode::NotFound);
}

#[tokio::test]
async fn a_persons_cordon_is_never_undone() {
    let cluster = Cluster::start().await;
    cluster.server.amend("nodes", "", "n1", |node| node["spec"] = json!({ "unschedulable": true }));
    let cordon = act(1, "node.cordon", "node/n1", json!({}));
    let receipt = done(cluster.apply(&cordon).await);
    assert!(receipt.undo.is_empty());
    done(cluster.revert(&cordon, &receipt).await);
    assert!(
        not_done(cluster.apply(&act(2, "node.uncordon", "node/n1", json!({}))).await, FaultCode::Conflict).detail.contains("somebody else")
    );
    assert_eq!((closed(&cluster), cordoned_by(&cluster)), (true, Value::Null));
}

#[tokio::test]
async fn a_lost_answer_cordons_once_and_a_yes_that_was_none_is_seen() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/nodes/n1";
    cluster.inject("PATCH", path, FaultKind::PretendDone, 1);
    cluster.inject("PATCH", path, FaultKind::DropAfterDoing, 1);
    assert_eq!(done(cluster.apply(&act(1, "node.cordon", "node/n1", json!({}))).await).undo["cordoned_by"], Arg::from("j1-a1"));
    done(cluster.apply(&act(2, "node.uncordon", "node/n1", json!({}))).await);
    cluster.inject("PATCH", path, FaultKind::PretendDone, 100);
    not_done(cluster.apply(&act(3, "node.cordon", "node/n1", json!({}))).await, FaultCode::Conflict);
    assert!(!closed(&cluster));
}
