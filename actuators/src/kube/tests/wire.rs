use super::*;
use crate::conformance::{Seen, Server, answer};

/// A server that holds one deployment, as a script: what it is asked is what counts.
async fn script() -> Server {
    Server::start(|_, seen: &Seen| {
        let written = |seen: &Seen| seen.json()["spec"]["replicas"].clone();
        let meta = json!({ "name": "shop", "namespace": "web", "resourceVersion": "7", "generation": 2 });
        match (seen.method.as_str(), seen.uri.path()) {
            ("GET", "/apis/apps/v1/namespaces/web/deployments/shop") => answer(
                200,
                json!({ "metadata": meta, "spec": { "replicas": 3 }, "status": { "observedGeneration": 2, "replicas": 3, "readyReplicas": 3 } }),
            ),
            ("GET", "/apis/apps/v1/namespaces/web/deployments/shop/scale") => answer(200, json!({ "metadata": meta, "spec": { "replicas": 1 } })),
            ("PUT", _) => answer(200, json!({ "metadata": meta, "spec": { "replicas": written(seen) } })),
            ("GET", "/apis/autoscaling/v2/namespaces/web/horizontalpodautoscalers") => answer(200, json!({ "items": [] })),
            _ => answer(404, json!({ "kind": "Status", "code": 404, "reason": "NotFound", "message": "no" })),
        }
    })
    .await
}

#[tokio::test]
async fn what_the_preview_shows_is_what_is_sent() {
    let server = script().await;
    let (_dir, actuators) = actuators(&server.url, json!({}));
    let scale = actuators.iter().find(|one| one.spec().id.as_str() == "scale").unwrap();
    let action = act(1, "scale.up", "deployment/web/shop", json!({ "replicas": 3 }));
    let planned = scale.preview(&action).unwrap();
    assert_eq!(server.seen().len(), 0, "a preview sends nothing");
    done(scale.apply(Time(0), &action).await);
    let puts: Vec<Seen> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    let path = "/apis/apps/v1/namespaces/web/deployments/shop/scale";
    let lines: Vec<String> = puts.iter().map(|seen| format!("{} {}{}", seen.method, server.url, seen.uri)).collect();
    assert_eq!(
        lines,
        [format!("PUT {}{path}?dryRun=All&fieldManager=homeostat", server.url), format!("PUT {}{path}?fieldManager=homeostat", server.url)]
    );
    let shown: Vec<&str> = planned.iter().filter(|one| one.call.starts_with("PUT")).map(|one| one.call.as_str()).collect();
    assert_eq!(shown, lines);
    assert_eq!(planned.iter().filter(|one| one.writes).count(), 1);
    assert_eq!(
        puts[1].json(),
        json!({ "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": { "name": "shop", "namespace": "web", "resourceVersion": "7" }, "spec": { "replicas": 3 } })
    );
    let body: Value = serde_json::from_str(planned.iter().find(|one| one.writes).unwrap().body.as_ref().unwrap()).unwrap();
    assert_eq!(body["spec"], puts[1].json()["spec"]);
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == format!("Bearer {TOKEN}")));
    assert!(!format!("{planned:?}").contains("hunter2"));
}

#[tokio::test]
async fn every_verb_has_a_preview_that_sends_nothing() {
    let server = script().await;
    let (_dir, actuators) = actuators(&server.url, json!({}));
    let actions = [
        (act(1, "restart.rollout", "daemonset/web/agent", json!({})), "homeostat/decision"),
        (act(2, "node.cordon", "node/n1", json!({})), "homeostat/cordoned-by"),
        (act(3, "node.uncordon", "node/n1", json!({})), "unschedulable"),
        (act(4, "node.drain", "node/n1", json!({ "grace_seconds": 9 })), "\"gracePeriodSeconds\":9"),
        (act(5, "resources.set", "deployment/web/shop", json!({ "container": "main", "cpu_limit": "1" })), "\"limits\":{\"cpu\":\"1\"}"),
        (act(6, "pod.delete", "pod/web/shop-1", json!({ "uid": "u1" })), "\"preconditions\":{\"uid\":\"u1\"}"),
    ];
    for (action, part) in actions {
        let actuator = actuators.iter().find(|one| one.spec().id.as_str() == action.verb.actuator()).unwrap();
        let planned = actuator.preview(&action).unwrap();
        let writes: Vec<_> = planned.iter().filter(|one| one.writes).collect();
        assert!(writes.iter().any(|one| one.body.as_ref().is_some_and(|body| body.contains(part))), "{planned:#?}");
        assert!(planned.iter().all(|one| one.call.contains(&server.url)), "{planned:#?}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_a_look_leaves_it_undone() {
    let far = crate::conformance::HangsUp::start().await;
    let (_dir, actuators) = actuators(&far.url, json!({}));
    let scale = actuators.iter().find(|one| one.spec().id.as_str() == "scale").unwrap();
    let action = act(1, "scale.up", "deployment/web/shop", json!({ "replicas": 3 }));
    let outcome = scale.apply(Time(0), &action).await;
    assert!(matches!(&outcome, Outcome::NotDone(fault) if fault.code == FaultCode::Unreachable), "only looks were sent: {outcome:?}");
    assert!(far.count() > 0);
}

#[tokio::test]
async fn answers_that_are_no_json_or_too_long_are_refused() {
    let server = Server::start(|_, _| answer(200, json!("x".repeat(20 << 20)))).await;
    let (_dir, one) = actuators(&server.url, json!({}));
    let scale = one.iter().find(|one| one.spec().id.as_str() == "scale").unwrap();
    not_done(scale.apply(Time(0), &act(1, "scale.up", "deployment/web/shop", json!({ "replicas": 3 }))).await, FaultCode::Malformed);
}

#[test]
fn a_wrong_section_lists_every_problem() {
    let section = json!({
        "connect": { "by": "server", "url": "https://me:pass@kube" }, "namespaces": ["Web"], "poll": "0s", "field_manager": "",
        "call_timeout": "1h",
    });
    let config: super::super::KubernetesConfig = serde_json::from_value(section).unwrap();
    let faults = super::super::KubeClient::new(&config, "j1", crate::Pace::default()).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:#?}");
    assert!(!format!("{faults:?}").contains("pass@"));
    let section = json!({
        "connect": { "by": "in_cluster" }, "scale": { "min_replicas": 3, "max_replicas": 2, "kinds": { "deployment": { "group": "x", "version": "v1", "kind": "X", "plural": "xs" } } },
        "node": { "parallel": 0 }, "resources": { "cpu_max": "1m", "memory_max": "much" }, "pod": { "timeout": "0s" }, "restart": { "timeout": "0s" },
    });
    let dir = tempfile::tempdir().unwrap();
    let config: ActuatorsConfig = serde_json::from_value(json!({ "kubernetes": section })).unwrap();
    assert_eq!(assemble(&config, dir.path(), "j1").err().unwrap().len(), 7);
    assert!(serde_json::from_value::<ActuatorsConfig>(json!({ "kubernetes": { "conect": {} } })).is_err());
}

#[test]
fn rights_are_listed_for_every_verb() {
    let section = json!({ "connect": { "by": "in_cluster" }, "scale": {}, "restart": {}, "node": {}, "resources": { "cpu_max": "1", "memory_max": "1Gi" }, "pod": {} });
    let needs = super::super::needs_of(&serde_json::from_value(section).unwrap());
    let verbs: Vec<&str> = needs.iter().map(|need| need.verb.as_str()).collect();
    assert_eq!(
        verbs,
        ["scale.up", "scale.down", "restart.rollout", "node.cordon", "node.uncordon", "node.drain", "resources.set", "pod.delete"]
    );
    assert!(needs.iter().all(|need| !need.rules.is_empty()));
    let scale = &needs[0].rules;
    assert!(scale.iter().any(|rule| rule.resource == "deployments/scale" && rule.verbs == ["get", "update"]));
    assert!(!scale.iter().any(|rule| rule.resource == "deployments" && rule.verbs.iter().any(|verb| verb != "get")));
}

#[test]
fn the_role_that_is_generated_grants_what_is_asked_for() {
    let section = json!({ "connect": { "by": "in_cluster" }, "scale": {}, "restart": {}, "node": {}, "resources": { "cpu_max": "1", "memory_max": "1Gi" }, "pod": {} });
    for need in super::super::needs_of(&serde_json::from_value(section).unwrap()) {
        let granted = crate::kube_rules::KubeRights::of(need.verb.actuator()).unwrap().rules();
        for rule in &need.rules {
            for verb in &rule.verbs {
                let has = |one: &crate::kube_rules::KubeRule| {
                    one.api_groups.contains(&rule.group) && one.resources.contains(&rule.resource) && one.verbs.contains(verb)
                };
                assert!(granted.iter().any(|one| has(one) && one.namespaced == rule.namespaced), "{} needs {verb} {rule:?}", need.verb);
            }
        }
    }
}
