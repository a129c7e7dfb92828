//! What only the face can be asked for: faults, expired watches, access rules, tokens, limits, and custom resources with own definitions.

use crate::harness::{Cluster, PATIENCE, Result, budget, deployment, refusal};
use futures::{StreamExt, TryStreamExt};
use homeostat_kube_face::{AccessRule, FaultKind, KubeFault, Limits, Settings, Token};
use homeostat_model::Span;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, EvictParams, ListParams, LogParams, Patch, PatchParams, PostParams, ValidationDirective,
    WatchParams,
};
use kube::core::{GroupVersionKind, WatchEvent};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, discovery};
use serde_json::{Value, json};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": "1"}})).expect("a config map")
}

#[tokio::test]
async fn a_watch_relists_after_410() -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    let stream = watcher(nodes.clone(), watcher::Config::default()).default_backoff();
    let task = tokio::spawn(stream.for_each(move |event| {
        let sender = sender.clone();
        async move {
            // The test may have seen enough already.
            let _over = sender.send(event).await;
        }
    }));
    let (mut lists, mut seen_410) = (0, false);
    while lists < 2 {
        match tokio::time::timeout(PATIENCE, receiver.recv()).await?.ok_or("a watcher never ends")? {
            Ok(watcher::Event::InitDone) => {
                lists += 1;
                // The watch behind the list must be open before it can be told 410.
                tokio::time::timeout(PATIENCE, async {
                    while lists == 1 && cluster.server().watchers() == 0 {
                        tokio::task::yield_now().await;
                    }
                })
                .await?;
                if lists == 1 {
                    cluster.server().expire_watches();
                }
            }
            Ok(_) => {}
            Err(error) => seen_410 |= error.to_string().contains("too old resource version"),
        }
    }
    task.abort();
    assert!(seen_410, "the error is still yielded");
    assert_eq!(cluster.server().counters().expired_watches, 1);
    let raw = nodes.watch(&WatchParams::default(), "1").await?;
    let first = tokio::time::timeout(PATIENCE, Box::pin(raw).try_next()).await??;
    assert!(matches!(first, Some(WatchEvent::Error(status)) if status.code == 410));
    cluster.end().await
}

#[tokio::test]
async fn old_tokens_of_a_list_expire() -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let page = nodes.list(&ListParams::default().limit(2)).await?;
    let token = page.metadata.continue_.ok_or("a token")?;
    let maps: Api<ConfigMap> = cluster.api();
    maps.create(&PostParams::default(), &map("more")).await?;
    cluster.server().expire_watches();
    let refused = refusal(nodes.list(&ListParams::default().limit(2).continue_token(&token)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (410, "Expired"));
    assert_eq!(refusal(nodes.list(&ListParams::default().continue_token("nonsense")).await).code, 400);
    cluster.end().await
}

#[tokio::test]
async fn faults_strike_as_they_say() -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    let server = cluster.server();
    let maps: Api<ConfigMap> = cluster.api();
    let fault = |method: &str, kind: FaultKind| {
        let path_prefix = format!("/api/v1/namespaces/{}/configmaps", cluster.namespace);
        assert!(server.inject(KubeFault { method: method.into(), path_prefix, kind, count: 1 }));
    };
    for (code, retry) in [(429, Some(7)), (409, None), (410, None), (500, None), (503, None)] {
        fault("POST", FaultKind::Status { code, retry_after_seconds: retry });
        let refused = refusal(maps.create(&PostParams::default(), &map("a")).await);
        assert_eq!(refused.code, code);
        assert_eq!(refused.details.map_or(0, |details| details.retry_after_seconds), retry.unwrap_or(0) as u32);
    }
    fault("GET", FaultKind::Initializing);
    assert_eq!(refusal(maps.list(&ListParams::default()).await).message, "storage is (re)initializing");
    fault("GET", FaultKind::Timeout { real_ms: 1 });
    assert_eq!(refusal(maps.list(&ListParams::default()).await).code, 504);
    assert!(maps.get_opt("a").await?.is_none(), "none of these did anything");
    fault("POST", FaultKind::DropAfterDoing);
    assert_eq!(refusal(maps.create(&PostParams::default(), &map("a")).await).code, 500);
    assert!(maps.get_opt("a").await?.is_some(), "it was done all the same");
    fault("POST", FaultKind::PretendDone);
    let pretended = maps.create(&PostParams::default(), &map("b")).await?;
    assert_eq!(pretended.metadata.name.as_deref(), Some("b"));
    assert!(maps.get_opt("b").await?.is_none(), "it was not done");
    fault("DELETE", FaultKind::PretendDone);
    maps.delete("a", &DeleteParams::default()).await?;
    assert!(maps.get_opt("a").await?.is_some());
    fault("PATCH", FaultKind::DropAfterDoing);
    server.clear_faults();
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await?;
    assert_eq!(server.counters().faults, 10);
    cluster.end().await
}

#[tokio::test]
async fn rules_and_tokens_hold() -> Result<()> {
    let list = |text: &str| vec![text.to_string()];
    let rule = AccessRule { verbs: list("patch"), groups: list("apps"), resources: list("deployments/scale"), ..AccessRule::default() };
    let settings = Settings { access: vec![rule], token: Some(Token("let-me-in".into())), ..Settings::default() };
    assert!(!format!("{settings:?}").contains("let-me-in"));
    let cluster = Cluster::face(settings).await?;
    let stranger = Client::try_from(Config::new(cluster.url.parse()?))?;
    assert_eq!(refusal(Api::<Node>::all(stranger).list(&ListParams::default()).await).code, 401);
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = cluster.api();
    api.create(&PostParams::default(), &serde_json::from_value(deployment(&cluster.namespace, "web", 1))?).await?;
    let refused = refusal(api.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await);
    assert_eq!((refused.code, refused.reason.as_str()), (403, "Forbidden"));
    assert!(refused.message.contains("cannot patch resource \"deployments/scale\" in API group \"apps\""), "{}", refused.message);
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    for (verb, expected) in [("patch", false), ("get", true)] {
        let attributes = ResourceAttributes {
            group: Some("apps".into()),
            resource: Some("deployments".into()),
            subresource: Some("scale".into()),
            verb: Some(verb.into()),
            ..Default::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..Default::default()
        };
        assert_eq!(reviews.create(&PostParams::default(), &review).await?.status.map(|status| status.allowed), Some(expected));
    }
    cluster.end().await
}

#[tokio::test]
async fn limits_are_told() -> Result<()> {
    let limits = Limits { body_bytes: 4096, objects: 30, watchers: 1, history: 20, object_bytes: 2048 };
    let cluster = Cluster::face(Settings { limits, ..Settings::default() }).await?;
    let maps: Api<ConfigMap> = cluster.api();
    let sized = |bytes: usize| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "big"}, "data": {"a": "x".repeat(bytes)}})).expect("a config map")
    };
    assert_eq!(refusal(maps.create(&PostParams::default(), &sized(5000)).await).code, 413);
    assert_eq!(refusal(maps.create(&PostParams::default(), &sized(3000)).await).code, 413);
    let first = maps.watch(&WatchParams::default(), "0").await?;
    let refused = refusal(maps.watch(&WatchParams::default(), "0").await.map(|_| ()));
    assert_eq!((refused.code, cluster.server().counters().refused_watches), (429, 1));
    drop(first);
    tokio::time::timeout(PATIENCE, async {
        while cluster.server().watchers() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    let mut last = Ok(());
    for number in 0..40 {
        last = maps.create(&PostParams::default(), &map(&format!("map-{number}"))).await.map(|_| ());
        if last.is_err() {
            break;
        }
    }
    let refused = refusal(last);
    assert!(refused.code == 403 && refused.message.contains("30 objects"), "{refused:?}");
    assert!(cluster.server().counters().forgotten_changes > 0);
    Ok(())
}

fn definition(status: bool) -> Value {
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ovens.kitchen.example.org"},
        "spec": {
            "group": "kitchen.example.org", "scope": "Namespaced", "names": {"kind": "Oven", "plural": "ovens", "shortNames": ["ov"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"scale": {"specReplicasPath": ".spec.racks", "statusReplicasPath": ".status.racks", "labelSelectorPath": ".status.selector"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "racks": {"type": "integer", "minimum": 0, "default": 1},
                        "dishes": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "minutes": {"type": "integer"}}}},
                    }},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    });
    if status {
        definition["spec"]["versions"][0]["subresources"]["status"] = json!({});
    }
    definition
}

#[tokio::test]
async fn custom_resources_live() -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition(true))?).await?;
    kube::runtime::wait::await_condition(
        definitions.clone(),
        "ovens.kitchen.example.org",
        kube::runtime::wait::conditions::is_crd_established(),
    )
    .await?;
    let (resource, capabilities) =
        discovery::pinned_kind(&cluster.client, &GroupVersionKind::gvk("kitchen.example.org", "v1", "Oven")).await?;
    assert!(capabilities.supports_operation(discovery::verbs::WATCH));
    let ovens: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let oven = |spec: Value| DynamicObject::new("big", &resource).data(json!({"spec": spec}));
    let strict = refusal(ovens.create(&PostParams::default(), &oven(json!({"racks": -1}))).await);
    assert_eq!((strict.code, strict.details.map(|details| details.causes[0].field.clone())), (422, Some("spec.racks".into())));
    let made = ovens.create(&PostParams::default(), &oven(json!({"odd": 1, "dishes": [{"name": "a", "minutes": 5}]}))).await?;
    assert_eq!(made.data["spec"], json!({"racks": 1, "dishes": [{"name": "a", "minutes": 5}]}), "pruned and completed");
    let ours = PatchParams::apply("homeostat").validation_strict();
    let added = ovens.patch("big", &ours, &Patch::Apply(oven(json!({"dishes": [{"name": "b", "minutes": 9}]})))).await?;
    assert_eq!(added.data["spec"]["dishes"].as_array().map(Vec::len), Some(2), "a keyed list merges by its key");
    let unknown = refusal(ovens.patch("big", &ours, &Patch::Apply(oven(json!({"odd": 1})))).await);
    assert!(unknown.message.contains(".spec.odd: field not declared in schema"), "{}", unknown.message);
    let strict = refusal(
        ovens
            .patch(
                "big",
                &PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() },
                &Patch::Merge(json!({"spec": {"odd": 1}})),
            )
            .await,
    );
    assert_eq!(
        (strict.code, strict.message.contains("strict decoding error: unknown field \"spec.odd\"")),
        (422, true),
        "{}",
        strict.message
    );
    let generation = added.metadata.generation;
    let status = ovens
        .patch_status("big", &PatchParams::default(), &Patch::Merge(json!({"status": {"racks": 1, "heat": 200}, "spec": {"racks": 9}})))
        .await?;
    assert_eq!(
        (status.data["spec"]["racks"].as_i64(), status.metadata.generation),
        (Some(1), generation),
        "the status subresource touches nothing else"
    );
    let whole = ovens.patch("big", &PatchParams::default(), &Patch::Merge(json!({"status": {"heat": 0}}))).await?;
    assert_eq!(whole.data["status"]["heat"], 200, "the object's own endpoint leaves the status");
    let scaled = ovens.patch_scale("big", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 4}}))).await?;
    assert_eq!((scaled.spec.and_then(|spec| spec.replicas), scaled.status.map(|status| status.replicas)), (Some(4), Some(1)));
    assert_eq!(ovens.get("big").await?.data["spec"]["racks"], 4);
    let strategic = refusal(ovens.patch("big", &PatchParams::default(), &Patch::Strategic(json!({"spec": {}}))).await);
    assert_eq!(strategic.code, 415);
    let uid = definitions.get("ovens.kitchen.example.org").await?.metadata.uid.unwrap_or_default();
    definitions.delete("ovens.kitchen.example.org", &DeleteParams::default()).await?;
    kube::runtime::wait::await_condition(definitions, "ovens.kitchen.example.org", kube::runtime::wait::conditions::is_deleted(&uid))
        .await?;
    assert_eq!(refusal(ovens.list(&ListParams::default()).await).code, 404);
    cluster.end().await
}

#[tokio::test]
async fn a_status_without_its_subresource_is_part_of_the_object() -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    cluster.server().upsert(definition(false))?;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kitchen.example.org", "v1", "Oven"), "ovens");
    let ovens: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    ovens.create(&PostParams::default(), &DynamicObject::new("o", &resource).data(json!({"spec": {}, "status": {"heat": 1}}))).await?;
    assert_eq!(ovens.get("o").await?.data["status"]["heat"], 1);
    assert_eq!(refusal(ovens.patch_status("o", &PatchParams::default(), &Patch::Merge(json!({"status": {"heat": 2}}))).await).code, 404);
    cluster.end().await
}

#[tokio::test]
async fn budgets_refuse_as_the_real_ones() -> Result<()> {
    let cluster = Cluster::still(Settings::default()).await?;
    let server = cluster.server();
    let pass = || (0..10).for_each(|_| server.tick(server.now() + Span::from_secs(1)));
    server.upsert(deployment(&cluster.namespace, "web", 2))?;
    pass();
    let pods: Api<Pod> = cluster.api();
    let name = pods.list(&ListParams::default().labels("app=web")).await?.items[0].metadata.name.clone().ok_or("a name")?;
    server.upsert(budget(&cluster.namespace, "web", json!(2)))?;
    // kube's own evict() writes fields that the server does not know; it must evict all the same.
    let behind = refusal(pods.evict(&name, &EvictParams::default()).await);
    let details = behind.details.ok_or("details")?;
    assert_eq!((behind.code, details.retry_after_seconds), (429, 10), "the budget's controller has not looked yet");
    assert!(details.causes[0].message.contains("still being processed"));
    pass();
    let spent = refusal(pods.evict(&name, &EvictParams::default()).await);
    let details = spent.details.ok_or("details")?;
    assert_eq!((spent.code, details.retry_after_seconds), (429, 0));
    assert_eq!(details.causes[0].message, "The disruption budget web needs 2 healthy pods and has 2 currently");
    let mut second = budget(&cluster.namespace, "web", json!(1));
    second["metadata"]["name"] = json!("another");
    server.upsert(second)?;
    pass();
    let both = refusal(pods.evict(&name, &EvictParams::default()).await);
    assert_eq!((both.code, both.reason.as_str()), (500, ""));
    server.delete("poddisruptionbudgets.policy", &cluster.namespace, "web");
    assert_eq!(pods.evict(&name, &EvictParams::default()).await?.code, 201);
    let other = refusal(pods.evict("nobody", &EvictParams::default()).await);
    assert_eq!(other.code, 404);
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(&cluster.namespace, &DeleteParams::default()).await?;
    let maps: Api<ConfigMap> = cluster.api();
    assert_eq!(refusal(maps.create(&PostParams::default(), &map("late")).await).code, 403, "a namespace on its way out takes nothing");
    pass();
    assert!(namespaces.get_opt(&cluster.namespace).await?.is_none(), "the namespace goes with all it has");
    assert!(server.list("pods").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_streaming_list_and_a_log() -> Result<()> {
    let cluster = Cluster::still(Settings::default()).await?;
    let server = cluster.server();
    server.upsert(deployment(&cluster.namespace, "web", 2))?;
    let pods: Api<Pod> = cluster.api();
    (0..10).for_each(|_| server.tick(server.now() + Span::from_secs(1)));
    let mut stream = Box::pin(watcher(pods.clone(), watcher::Config::default().streaming_lists()));
    let mut names = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, stream.try_next()).await?? {
            Some(watcher::Event::InitApply(pod)) => names.push(pod.metadata.name.unwrap_or_default()),
            Some(watcher::Event::InitDone) => break,
            _ => {}
        }
    }
    assert_eq!(names.len(), 2);
    let log = pods.logs(&names[0], &LogParams::default()).await?;
    assert!(log.contains("main registry.k8s.io/pause:3.10 started, restarts 0"), "{log}");
    let wrong = LogParams { container: Some("nobody".into()), ..LogParams::default() };
    assert_eq!(refusal(pods.logs(&names[0], &wrong).await).code, 400);
    pods.delete(&names[0], &DeleteParams::default()).await?;
    (0..5).for_each(|_| server.tick(server.now() + Span::from_secs(1)));
    loop {
        if let Some(watcher::Event::Delete(pod)) = tokio::time::timeout(PATIENCE, stream.try_next()).await?? {
            assert_eq!(pod.metadata.name.as_ref(), Some(&names[0]));
            break;
        }
    }
    Ok(())
}
