//! Whatever a client writes, the server answers and its controllers go on: random objects from the words that the server knows.

use super::{Answer, Call, answer};
use crate::control::tick;
use crate::route::Query;
use crate::settings::Settings;
use crate::world::World;
use homeostat_model::Span;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const WORDS: &str = "metadata|name|namespace|labels|annotations|finalizers|ownerReferences|uid|controller|managedFields|generateName|spec|status|replicas|\
    selector|matchLabels|template|containers|image|ports|env|conditions|type|strategy|rollingUpdate|maxSurge|minAvailable|nodeName|tolerations|key|\
    tolerationSeconds|taints|allocatable|cpu|phase|experiment|containerRecords|action|mode|value|duration|api|group|names|plural|kind|versions|scope|\
    workflows|volumeClaimTemplates|metrics|scaleTargetRef|maxReplicas|deletionTimestamp|progressDeadlineSeconds|items|\\$patch|lastTimestamp";

const PATHS: [&str; 14] = [
    "/api/v1/namespaces/default/pods",
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/events",
    "/apis/events.k8s.io/v1/namespaces/default/events",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/statefulsets",
    "/apis/apps/v1/namespaces/default/daemonsets",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos",
    "/apis/platform.kratix.io/v1alpha1/promises",
];

const TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|flag| json!(flag)),
        prop_oneof![Just(0), Just(3), Just(-1), Just(i64::MAX), Just(i64::MIN)].prop_map(|number| json!(number)),
        prop_oneof!["[a-c]{1,2}", "25%|1Gi|One|all|pod-failure|RollingUpdate|2026-01-01T00:00:00Z|9999999999-01-01T00:00:00Z|main|True"]
            .prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(WORDS, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn call(method: &str, path: &str, content_type: &str, body: Value) -> Call {
    let query = Query::parse("fieldManager=somebody&force=true");
    let query = if content_type.contains("apply") { query } else { Query::parse("fieldManager=somebody") };
    Call { method: method.into(), path: path.into(), query, content_type: content_type.into(), body, ..Call::default() }
}

/// A world with a node, one good object of most kinds, and the two operators' definitions.
fn world() -> World {
    let mut world = World::new(Settings::default());
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for (group, kind, plural, scope) in
        [("chaos-mesh.org", "PodChaos", "podchaos", "Namespaced"), ("platform.kratix.io", "Promise", "promises", "Cluster")]
    {
        let version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": free}});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural}, "versions": [version]},
        });
        world.upsert(definition).expect("a definition");
    }
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let good = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}, "spec": template["spec"]}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "default"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}),
        json!({"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": {"name": "a", "namespace": "default"}, "spec": {"action": "pod-failure", "mode": "all", "selector": {}}}),
    ];
    for object in good {
        if object["kind"] == "PodChaos" {
            steps(&mut world); // the pods that it selects must run
        }
        world.upsert(object).expect("a good object");
    }
    world
}

fn steps(world: &mut World) {
    for _ in 0..3 {
        let later = world.now + Span::from_secs(5);
        tick(world, later);
    }
}

/// All JSON pointers into a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(number, value)| pointers(value, &format!("{at}/{number}"), found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// One place of a good object turns into anything at all, again and again.
    #[test]
    fn no_change_of_one_place_stops_the_server(writes in prop::collection::vec((0..PATHS.len(), any::<prop::sample::Index>(), any::<bool>(), value()), 1..24)) {
        let mut world = world();
        world.settings.limits.objects = 300;
        steps(&mut world);
        let mut done = 0;
        for (path, place, status, new) in writes {
            let path = format!("{}/a", PATHS[path]);
            let Ok(Answer::Json(_, object)) = answer(&mut world, &call("GET", &path, "", Value::Null)) else { continue };
            let mut all = Vec::new();
            pointers(&object, "", &mut all);
            let pointer = place.get(&all);
            let patch = json!([{"op": "replace", "path": pointer, "value": new}]);
            let path = if status { format!("{path}/status") } else { path };
            done += usize::from(answer(&mut world, &call("PATCH", &path, TYPES[0], patch)).is_ok());
            steps(&mut world);
        }
        // How many got through differs; that the world still answers is what counts.
        let pods = answer(&mut world, &call("GET", PATHS[0], "", Value::Null));
        prop_assert!(matches!(pods, Ok(Answer::Json(200, _))), "after {done} changes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_body_stops_the_server(writes in prop::collection::vec((0..PATHS.len(), 0..3_usize, 0..TYPES.len(), any::<bool>(), value()), 1..8)) {
        let mut world = world();
        world.settings.limits.objects = 300;
        for (path, method, content_type, status, body) in writes {
            let (method, path) = match method {
                0 => ("POST", PATHS[path].to_string()),
                1 => ("PUT", format!("{}/a{}", PATHS[path], if status { "/status" } else { "" })),
                _ => ("PATCH", format!("{}/a{}", PATHS[path], if status { "/status" } else { "" })),
            };
            let mut body = body;
            // Most random bodies fail at the door; these get through it.
            if let (Some(map), true) = (body.as_object_mut(), method != "PATCH") {
                map.insert("metadata".into(), json!({"name": "a"}));
            }
            let result = answer(&mut world, &call(method, &path, TYPES[content_type], body));
            prop_assert!(!matches!(result, Ok(Answer::Watch(_))));
            steps(&mut world);
            for path in PATHS {
                let accept = "application/json;as=Table;v=v1;g=meta.k8s.io".to_string();
                let listed = answer(&mut world, &Call { accept, ..call("GET", path, "", Value::Null) });
                prop_assert!(matches!(listed, Ok(Answer::Json(200, _)) | Err(_)));
            }
        }
    }
}
