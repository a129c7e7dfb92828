//! Flows that any Kubernetes server must pass: what actuators and sensors do through `kube`. Those that a custom resource can show run on one as well.

use crate::harness::{Cluster, PATIENCE, Result, budget, deployment, refusal, wait};
use futures::{StreamExt, TryStreamExt};
use homeostat_kube_face::Settings;
use homeostat_model::Span;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent, Node, ObjectReference, Pod};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
    ValidationDirective, WatchParams,
};
use kube::core::{GroupVersionKind, Status, WatchEvent};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::wait::conditions;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{ResourceExt, discovery};
use serde_json::{Value, json};

async fn make_deployment(cluster: &Cluster, name: &str, replicas: i64) -> Result<Api<Deployment>> {
    let api: Api<Deployment> = cluster.api();
    api.create(&PostParams::default(), &serde_json::from_value(deployment(&cluster.namespace, name, replicas))?).await?;
    wait(&api, name, complete(replicas as i32)).await?;
    Ok(api)
}

/// A rollout that is really over: the guard on observedGeneration is what the previous rollout does not pass.
fn complete(replicas: i32) -> impl Fn(Option<&Deployment>) -> bool {
    move |object: Option<&Deployment>| {
        let Some(object) = object else { return false };
        let Some(status) = &object.status else { return false };
        let done = status
            .conditions
            .iter()
            .flatten()
            .any(|one| one.type_ == "Progressing" && one.reason.as_deref() == Some("NewReplicaSetAvailable"));
        done && status.observed_generation >= object.metadata.generation
            && status.available_replicas == Some(replicas)
            && status.replicas == Some(replicas)
    }
}

#[tokio::test]
async fn scaling_and_restarting() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let api = make_deployment(&cluster, "web", 1).await?;
    let scaled = api.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await?;
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(3));
    wait(&api, "web", complete(3)).await?;
    let stale = api.get_scale("web").await?;
    assert_eq!(stale.status.as_ref().map(|status| status.replicas), Some(3));
    assert_eq!(stale.status.as_ref().and_then(|status| status.selector.as_deref()), Some("app=web"));
    api.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 2}}))).await?;
    let refused = refusal(api.replace_scale("web", &PostParams::default(), &stale).await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"), "an optimistic scale must notice that somebody else scaled");
    wait(&api, "web", complete(2)).await?;
    let before = api.get("web").await?.metadata.generation;
    api.restart("web").await?;
    assert!(api.get("web").await?.metadata.generation > before);
    wait(&api, "web", complete(2)).await?;
    let sets = Api::<k8s_openapi::api::apps::v1::ReplicaSet>::namespaced(cluster.client.clone(), &cluster.namespace)
        .list(&ListParams::default().labels("app=web"))
        .await?;
    assert_eq!(sets.items.len(), 2, "a restart is a new template, so a new set");
    cluster.end().await
}

#[tokio::test]
async fn draining_with_a_budget() -> Result<()> {
    // Slow starts: the replacement must not be ready before the second eviction is asked for.
    let Some(cluster) = Cluster::any_or(Settings { pod_ready_after: Span::from_secs(100), ..Settings::default() }).await? else {
        return Ok(());
    };
    let api = make_deployment(&cluster, "web", 2).await?;
    let budgets: Api<PodDisruptionBudget> = cluster.api();
    budgets.create(&PostParams::default(), &serde_json::from_value(budget(&cluster.namespace, "web", json!(1)))?).await?;
    wait(&budgets, "web", |budget: Option<&PodDisruptionBudget>| {
        budget.and_then(|budget| budget.status.as_ref()).is_some_and(|status| status.disruptions_allowed == 1)
    })
    .await?;
    let pods: Api<Pod> = cluster.api();
    let all = pods.list(&ListParams::default().labels("app=web")).await?.items;
    let place = all[0].spec.as_ref().and_then(|spec| spec.node_name.clone()).ok_or("a pod without a node")?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes.cordon(&place).await?;
    assert_eq!(nodes.get(&place).await?.spec.and_then(|spec| spec.unschedulable), Some(true));
    let there = pods.list(&ListParams::default().fields(&format!("spec.nodeName={place}"))).await?;
    assert!(there.items.iter().any(|pod| pod.name_any() == all[0].name_any()));
    let evict = async |name: &str, dry_run: bool, body_name: &str| -> kube::Result<Status> {
        let body: Eviction =
            serde_json::from_value(json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": body_name}}))
                .expect("an eviction");
        pods.create_subresource("eviction", name, &PostParams { dry_run, field_manager: None }, &body).await
    };
    let first = all[0].name_any();
    assert_eq!(refusal(evict(&first, false, "another").await).code, 400);
    let dry = evict(&first, true, &first).await?;
    assert_eq!(dry.code, 201);
    assert!(pods.get(&first).await?.metadata.deletion_timestamp.is_none(), "a dry run evicts nobody");
    let done = evict(&first, false, &first).await?;
    assert_eq!(done.code, 201);
    let second = all[1].name_any();
    let refused = refusal(evict(&second, false, &second).await);
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    let details = refused.details.ok_or("details")?;
    assert_eq!(details.causes[0].reason, "DisruptionBudget");
    assert_eq!(details.retry_after_seconds, 0, "a spent budget has no Retry-After");
    wait(&pods, &first, conditions::is_deleted(&all[0].uid().unwrap_or_default())).await?;
    wait(&api, "web", complete(2)).await?;
    for pod in pods.list(&ListParams::default().labels("app=web")).await? {
        assert_ne!(
            (pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()), pod.name_any() != second),
            (Some(place.as_str()), true),
            "nothing new on a cordoned node"
        );
    }
    nodes.uncordon(&place).await?;
    cluster.end().await
}

#[tokio::test]
async fn applying_with_a_conflict() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let resource = ApiResource::erase::<ConfigMap>(&());
    apply_with_a_conflict(cluster.objects(&resource), resource).await?;
    cluster.end().await
}

#[tokio::test]
async fn applying_a_custom_resource_with_a_conflict() -> Result<()> {
    let mut cluster = Cluster::custom().await?;
    let (api, resource) = cluster.notes().await?;
    apply_with_a_conflict(api, resource).await?;
    cluster.end().await
}

async fn apply_with_a_conflict(maps: Api<DynamicObject>, resource: ApiResource) -> Result<()> {
    let object =
        |data: Value| json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "wish"}, "data": data});
    let ours = PatchParams::apply("homeostat").validation_strict();
    let made = maps.patch("wish", &ours, &Patch::Apply(object(json!({"a": "1", "b": "1"})))).await?;
    let same = maps.patch("wish", &ours, &Patch::Apply(object(json!({"a": "1", "b": "1"})))).await?;
    assert_eq!(same.resource_version(), made.resource_version(), "applying the same again changes nothing");
    let theirs = PatchParams::apply("somebody");
    let refused = refusal(maps.patch("wish", &theirs, &Patch::Apply(object(json!({"a": "2"})))).await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    let cause = &refused.details.ok_or("details")?.causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldManagerConflict", ".data.a"));
    assert!(cause.message.contains("conflict with \"homeostat\""), "{}", cause.message);
    let dry = PatchParams { dry_run: true, ..theirs.clone().force() };
    assert_eq!(maps.patch("wish", &dry, &Patch::Apply(object(json!({"a": "3"})))).await?.data["data"]["a"], "3");
    assert_eq!(maps.get("wish").await?.data["data"]["a"], "1", "a dry run changes nothing");
    maps.patch("wish", &theirs.force(), &Patch::Apply(object(json!({"a": "2"})))).await?;
    let left = maps.patch("wish", &ours, &Patch::Apply(object(json!({})))).await?;
    assert_eq!(left.data["data"], json!({"a": "2"}), "what we no longer want goes, what they own stays");
    let managers: Vec<String> = left.metadata.managed_fields.unwrap_or_default().into_iter().filter_map(|entry| entry.manager).collect();
    assert!(managers.contains(&"somebody".to_string()), "{managers:?}");
    Ok(())
}

#[tokio::test]
async fn patches_and_their_refusals() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let api: Api<Deployment> = cluster.api();
    let wish: Deployment = serde_json::from_value(deployment(&cluster.namespace, "web", 0))?;
    let made = api.create(&PostParams::default(), &wish).await?;
    let again = refusal(api.create(&PostParams::default(), &wish).await);
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    let gone = refusal(api.get("nobody").await);
    assert_eq!((gone.code, gone.reason.as_str(), gone.message.as_str()), (404, "NotFound", "deployments.apps \"nobody\" not found"));
    let guard = |version: &str| -> json_patch::Patch {
        serde_json::from_value(json!([{"op": "test", "path": "/metadata/labels/gate", "value": version}, {"op": "replace", "path": "/spec/paused", "value": true}])).expect("a patch")
    };
    api.patch("web", &PatchParams::default(), &Patch::Strategic(json!({"metadata": {"labels": {"gate": "open"}}}))).await?;
    let failed = refusal(api.patch("web", &PatchParams::default(), &Patch::Json::<()>(guard("shut"))).await);
    assert_eq!((failed.code, failed.reason.as_str()), (422, "Invalid"));
    let image =
        json!({"spec": {"paused": true, "template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}});
    let merged = api.patch("web", &PatchParams::default(), &Patch::Strategic(image)).await?;
    let container = &merged.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).ok_or("a template")?.containers[0];
    assert_eq!(
        (container.image.as_deref(), container.env.as_ref().map(Vec::len)),
        (Some("registry.k8s.io/pause:3.10"), Some(1)),
        "a strategic patch merges containers by name"
    );
    assert!(merged.metadata.generation > made.metadata.generation);
    let invalid = refusal(api.patch("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": -1}}))).await);
    assert_eq!((invalid.code, invalid.reason.as_str()), (422, "Invalid"));
    assert_eq!(invalid.details.ok_or("details")?.causes[0].field, "spec.replicas");
    let mut stale = made.clone();
    stale.metadata.labels = Some([("x".to_string(), "y".to_string())].into());
    let refused = refusal(api.replace("web", &PostParams::default(), &stale).await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    let labelled = api.patch_metadata("web", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"z": "1"}}}))).await?;
    assert_eq!(labelled.labels()["z"], "1");
    cluster.end().await
}

#[tokio::test]
async fn deleting_with_care() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let maps: Api<ConfigMap> = cluster.api();
    let map = |name: &str, more: serde_json::Value| -> ConfigMap {
        let mut object = json!({"metadata": {"name": name}});
        for (key, value) in more.as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        serde_json::from_value(object).expect("a config map")
    };
    let owner = maps.create(&PostParams::default(), &map("owner", json!({"finalizers": ["homeostat.test/hold"]}))).await?;
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(), "controller": true, "blockOwnerDeletion": true}]);
    let child = maps.create(&PostParams::default(), &map("child", json!({"ownerReferences": reference}))).await?;
    let wrong = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("nobody".into()), resource_version: None }),
        ..DeleteParams::default()
    };
    assert_eq!(refusal(maps.delete("owner", &wrong).await).code, 409);
    let foreground = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let waiting = maps.delete("owner", &foreground).await?.left().ok_or("an object that waits")?;
    assert!(waiting.metadata.deletion_timestamp.is_some());
    wait(&maps, "child", conditions::is_deleted(&child.uid().unwrap_or_default())).await?;
    assert!(maps.get_opt("owner").await?.is_some(), "the finalizer holds it");
    maps.patch("owner", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    wait(&maps, "owner", conditions::is_deleted(&owner.uid().unwrap_or_default())).await?;
    let left = maps.create(&PostParams::default(), &map("left", json!({}))).await?;
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "left", "uid": left.uid()}]);
    maps.create(&PostParams::default(), &map("orphan", json!({"ownerReferences": reference}))).await?;
    maps.delete("left", &DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() }).await?;
    wait(&maps, "left", conditions::is_deleted(&left.uid().unwrap_or_default())).await?;
    wait(&maps, "orphan", |object: Option<&ConfigMap>| object.is_some_and(|object| object.owner_references().is_empty())).await?;
    cluster.end().await
}

#[tokio::test]
async fn deleting_held_and_many() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let resource = ApiResource::erase::<ConfigMap>(&());
    delete_held_and_many(cluster.objects(&resource), resource).await?;
    cluster.end().await
}

#[tokio::test]
async fn deleting_custom_resources_held_and_many() -> Result<()> {
    let mut cluster = Cluster::custom().await?;
    let (api, resource) = cluster.notes().await?;
    delete_held_and_many(api, resource).await?;
    cluster.end().await
}

async fn delete_held_and_many(api: Api<DynamicObject>, resource: ApiResource) -> Result<()> {
    let mut held = DynamicObject::new("held", &resource);
    held.metadata.finalizers = Some(vec!["homeostat.test/hold".into()]);
    let held = api.create(&PostParams::default(), &held).await?;
    let of = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.into()), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    assert_eq!(refusal(api.delete("held", &of("nobody")).await.map(|_| ())).code, 409);
    let uid = held.uid().unwrap_or_default();
    let dry = DeleteParams { dry_run: true, ..of(&uid) };
    api.delete("held", &dry).await?;
    assert!(api.get("held").await?.metadata.deletion_timestamp.is_none(), "a dry run deletes nothing");
    let waiting = api.delete("held", &of(&uid)).await?.left().ok_or("an object that waits")?;
    assert!(waiting.metadata.deletion_timestamp.is_some());
    let more = json!({"metadata": {"finalizers": ["homeostat.test/hold", "homeostat.test/late"]}});
    let late = refusal(api.patch("held", &PatchParams::default(), &Patch::Merge(more)).await);
    assert_eq!(late.code, 422, "no finalizer comes to what is being deleted");
    api.patch("held", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    assert!(api.get_opt("held").await?.is_none());
    for name in ["a", "b", "c"] {
        let mut object = DynamicObject::new(name, &resource);
        object.metadata.labels = Some([("set".to_owned(), "x".to_owned())].into());
        api.create(&PostParams::default(), &object).await?;
    }
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("set=x")).await?;
    assert!(api.list(&ListParams::default().labels("set in (x, y)")).await?.items.is_empty());
    Ok(())
}

#[tokio::test]
async fn listing_watching_and_reflecting() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let resource = ApiResource::erase::<ConfigMap>(&());
    list_watch_and_reflect(cluster.objects(&resource), resource, &cluster.namespace).await?;
    cluster.end().await
}

#[tokio::test]
async fn listing_watching_and_reflecting_custom_resources() -> Result<()> {
    let mut cluster = Cluster::custom().await?;
    let (api, resource) = cluster.notes().await?;
    list_watch_and_reflect(api, resource, &cluster.namespace).await?;
    cluster.end().await
}

async fn list_watch_and_reflect(maps: Api<DynamicObject>, resource: ApiResource, namespace: &str) -> Result<()> {
    for number in 0..7 {
        let object = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": format!("map-{number}"), "labels": {"parity": if number % 2 == 0 { "even" } else { "odd" }}}});
        maps.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    let first = maps.list(&ListParams::default().labels("parity").limit(3)).await?;
    assert_eq!((first.items.len(), first.metadata.remaining_item_count.is_some() || first.metadata.continue_.is_some()), (3, true));
    let token = first.metadata.continue_.clone().ok_or("a continue token")?;
    let rest = maps.list(&ListParams::default().labels("parity").continue_token(&token)).await?;
    assert_eq!(rest.items.len(), 4);
    assert_eq!(maps.list(&ListParams::default().labels("parity=odd")).await?.items.len(), 3);
    let writer = reflector::store::Writer::<DynamicObject>::new(resource.clone());
    let store = writer.as_reader();
    let stream =
        reflector(writer, watcher(maps.clone(), watcher::Config::default().labels("parity=even"))).default_backoff().applied_objects();
    let task = tokio::spawn(async move { stream.try_for_each(|_| async { Ok(()) }).await });
    tokio::time::timeout(PATIENCE, store.wait_until_ready()).await??;
    assert_eq!(store.state().len(), 4);
    let mut follow = watcher(maps.clone(), watcher::Config::default().labels("parity=even")).default_backoff().boxed();
    let mut ready = false;
    maps.patch("map-0", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"parity": "odd"}}}))).await?;
    maps.delete("map-2", &DeleteParams::default()).await?;
    maps.patch("map-4", &PatchParams::default(), &Patch::Merge(json!({"data": {"seen": "yes"}}))).await?;
    let mut seen = false;
    while let Some(event) = tokio::time::timeout(PATIENCE, follow.try_next()).await?? {
        match event {
            watcher::Event::InitDone => ready = true,
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => seen |= object.data["data"]["seen"].is_string(),
            _ => {}
        }
        if ready && seen {
            break;
        }
    }
    let one = tokio::time::timeout(PATIENCE, async { store.state().len() }).await?;
    assert!(one <= 4);
    let named = |name: &str| reflector::ObjectRef::new_with(name, resource.clone()).within(namespace);
    tokio::time::timeout(PATIENCE, async {
        while store.get(&named("map-2")).is_some() || store.get(&named("map-0")).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    assert_eq!(store.state().len(), 2, "what was deleted or left the selection is gone from the store");
    task.abort();
    // The face remembers all changes from its start; a real server does not.
    if std::env::var("HOMEOSTAT_TEST_KUBECONFIG").is_ok() {
        let mut old = Box::pin(maps.watch(&WatchParams::default(), "1").await?);
        let first = tokio::time::timeout(PATIENCE, old.try_next()).await??;
        assert!(matches!(&first, Some(WatchEvent::Error(status)) if status.code == 410 && status.reason == "Expired"), "{first:?}");
    }
    assert_eq!(refusal(maps.list(&ListParams::default().continue_token("nonsense")).await).code, 400);
    Ok(())
}

#[tokio::test]
async fn holding_a_lease() -> Result<()> {
    // Its strategic patches are for the built-in kind alone.
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let build = |identity: &'static str| {
        kube_lease_manager::LeaseManagerBuilder::new(cluster.client.clone(), "homeostat")
            .with_namespace(&cluster.namespace)
            .with_identity(identity)
            .with_duration(15)
            .with_grace(5)
            .with_field_manager(format!("homeostat-{identity}"))
            .build()
    };
    let manager = build("one").await?;
    let (mut channel, task) = manager.watch().await;
    tokio::time::timeout(PATIENCE, channel.wait_for(|holds| *holds)).await??;
    let leases: Api<Lease> = cluster.api();
    let lease = leases.get("homeostat").await?;
    assert_eq!(lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()), Some("one"));
    let mut taken = lease.clone();
    taken.metadata.resource_version = Some("1".into());
    assert_eq!(
        refusal(leases.replace("homeostat", &PostParams::default(), &taken).await).code,
        409,
        "a lease is taken by compare and swap"
    );
    drop(channel);
    let manager = task.await??;
    manager.release().await?;
    let other = build("two").await?;
    let (mut channel, task) = other.watch().await;
    tokio::time::timeout(PATIENCE, channel.wait_for(|holds| *holds)).await??;
    assert_eq!(leases.get("homeostat").await?.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("two"));
    drop(channel);
    drop(task.await??);
    cluster.end().await
}

#[tokio::test]
async fn taking_a_lease_by_compare_and_swap() -> Result<()> {
    let cluster = Cluster::custom().await?;
    let leases: Api<Lease> = cluster.api();
    let lease = |holder: &str| -> Lease {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0, "renewTime": "2026-11-21T00:00:00.000000Z"});
        serde_json::from_value(json!({"metadata": {"name": "homeostat"}, "spec": spec})).expect("a lease")
    };
    let made = leases.create(&PostParams::default(), &lease("one")).await?;
    assert_eq!(refusal(leases.create(&PostParams::default(), &lease("two")).await).reason, "AlreadyExists");
    let mut renewed = made.clone();
    renewed.spec.get_or_insert_default().lease_transitions = Some(1);
    leases.replace("homeostat", &PostParams::default(), &renewed).await?;
    let refused = refusal(leases.replace("homeostat", &PostParams::default(), &renewed).await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"), "a lease is taken by compare and swap");
    assert_eq!(leases.get("homeostat").await?.spec.and_then(|spec| spec.lease_transitions), Some(1));
    leases.delete("homeostat", &DeleteParams::default()).await?;
    cluster.end().await
}

#[tokio::test]
async fn asking_what_is_there_and_allowed() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let gvk = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
    let (resource, capabilities) = discovery::pinned_kind(&cluster.client, &gvk).await?;
    assert_eq!(resource.plural, "deployments");
    assert!(capabilities.supports_operation(discovery::verbs::CREATE));
    assert!(capabilities.subresources.iter().any(|(sub, _)| sub.plural.ends_with("scale")));
    let missing = kube::core::GroupVersionKind::gvk("nobody.example.org", "v1", "Thing");
    assert!(discovery::pinned_kind(&cluster.client, &missing).await.is_err());
    let all = discovery::Discovery::new(cluster.client.clone()).run().await?;
    assert!(all.has_group("policy") && all.has_group("coordination.k8s.io"));
    assert!(!cluster.client.apiserver_version().await?.major.is_empty());
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let attributes = ResourceAttributes {
        group: Some("apps".into()),
        resource: Some("deployments".into()),
        subresource: Some("scale".into()),
        verb: Some("patch".into()),
        namespace: Some(cluster.namespace.clone()),
        ..Default::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    assert!(answer.status.is_some_and(|status| status.allowed));
    cluster.end().await
}

#[tokio::test]
async fn leaving_events() -> Result<()> {
    let Some(cluster) = Cluster::any().await? else { return Ok(()) };
    let recorder = Recorder::new(cluster.client.clone(), Reporter { controller: "homeostat".into(), instance: Some("homeostat-0".into()) });
    let reference = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("ConfigMap".into()),
        name: Some("wish".into()),
        namespace: Some(cluster.namespace.clone()),
        ..Default::default()
    };
    let event = Event {
        type_: EventType::Normal,
        reason: "Woken".into(),
        note: Some("magic packet sent".into()),
        action: "WakeOnLan".into(),
        secondary: None,
    };
    for _ in 0..2 {
        recorder.publish(&event, &reference).await?;
    }
    let events: Api<CoreEvent> = cluster.api();
    let found = events.list(&ListParams::default().fields("involvedObject.name=wish,involvedObject.kind=ConfigMap")).await?;
    assert_eq!(found.items.len(), 1, "a repeat is a patch of the series");
    assert_eq!(found.items[0].message.as_deref(), Some("magic packet sent"));
    assert_eq!(found.items[0].series.as_ref().and_then(|series| series.count), Some(2));
    cluster.end().await
}

/// What the powers over custom resources rest on: merge, status and scale, refusals with their fields.
#[tokio::test]
async fn a_custom_resource_and_its_subresources() -> Result<()> {
    let mut cluster = Cluster::custom().await?;
    let (api, resource) = cluster.notes().await?;
    let gvk = GroupVersionKind::gvk(&resource.group, "v1", "Note");
    let (found, capabilities) = discovery::pinned_kind(&cluster.client, &gvk).await?;
    assert_eq!(found.plural, "notes");
    assert!(["status", "scale"].iter().all(|name| capabilities.subresources.iter().any(|(sub, _)| sub.plural.ends_with(name))));
    let missing = GroupVersionKind::gvk("nobody.example.org", "v1", "Thing");
    assert!(discovery::pinned_kind(&cluster.client, &missing).await.is_err());
    let note = |spec: Value| DynamicObject::new("wish", &resource).data(json!({"spec": spec}));
    for (spec, field) in [
        (json!({"replicas": -1}), "spec.replicas"),
        (json!({"size": "huge"}), "spec.size"),
        (json!({"word": "A"}), "spec.word"),
        (json!({"word": 1}), "spec.word"),
        (json!({"parts": [{"minutes": 1}]}), "spec.parts[0].name"),
    ] {
        let refused = refusal(api.create(&PostParams::default(), &note(spec)).await);
        assert_eq!((refused.code, refused.details.map(|details| details.causes[0].field.clone())), (422, Some(field.to_owned())));
    }
    let dry = PostParams { dry_run: true, field_manager: None };
    assert_eq!(api.create(&dry, &note(json!({}))).await?.data["spec"]["replicas"], 1);
    assert!(api.get_opt("wish").await?.is_none());
    let made = api.create(&PostParams::default(), &note(json!({"odd": 1}))).await?;
    assert_eq!((made.data["spec"].clone(), made.metadata.generation), (json!({"replicas": 1}), Some(1)), "pruned and completed");
    let again = refusal(api.create(&PostParams::default(), &note(json!({}))).await);
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    let merge = PatchParams::default();
    let status = json!({"status": {"replicas": 1, "seen": "yes"}, "spec": {"replicas": 9}});
    let seen = api.patch_status("wish", &merge, &Patch::Merge(status)).await?;
    assert_eq!((seen.data["spec"]["replicas"].as_i64(), seen.metadata.generation), (Some(1), Some(1)), "a status touches nothing else");
    let kept = api.patch("wish", &merge, &Patch::Merge(json!({"status": {"seen": "no"}}))).await?;
    assert_eq!(kept.data["status"]["seen"], "yes", "the object's own endpoint leaves the status");
    let scaled = api.patch_scale("wish", &merge, &Patch::Merge(json!({"spec": {"replicas": 4}}))).await?;
    assert_eq!((scaled.spec.and_then(|spec| spec.replicas), scaled.status.map(|status| status.replicas)), (Some(4), Some(1)));
    let stale = json!({"metadata": {"resourceVersion": made.resource_version()}, "spec": {"size": "small"}});
    let refused = refusal(api.patch("wish", &merge, &Patch::Merge(stale)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    assert_eq!(refusal(api.replace("wish", &PostParams::default(), &made).await).code, 409);
    let strategic = refusal(api.patch("wish", &merge, &Patch::Strategic(json!({"spec": {}}))).await);
    assert_eq!(strategic.code, 415);
    let strict = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let unknown = refusal(api.patch("wish", &strict, &Patch::Merge(json!({"spec": {"odd": 1}}))).await);
    let told = unknown.message.contains("strict decoding error: unknown field \"spec.odd\"");
    assert_eq!((unknown.code, told), (422, true), "a patch is refused otherwise than a create: {}", unknown.message);
    cluster.end().await
}
