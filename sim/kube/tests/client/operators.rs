//! Chaos Mesh and Kratix as a client meets them, with small own definitions, and with the real ones where the corpus is at hand.

use crate::harness::{Cluster, Result, deployment, refusal, wait};
use homeostat_kube_face::{Settings, Workflow};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{ResourceExt, discovery};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The corpus' `acting` folder, or `None` (said loudly) without a corpus.
fn acting() -> Option<PathBuf> {
    let root = std::env::var("HOMEOSTAT_CORPUS")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"), PathBuf::from);
    if !root.is_dir() {
        eprintln!("SKIPPED: no corpus at {}", root.display());
        return None;
    }
    Some(root.join("acting"))
}

/// The YAML documents of one file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    let parts = text.split("\n---").map(|document| document.trim_start_matches('-')).filter(|document| document.contains(':'));
    parts
        .map(|document| serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("parsing {}: {error}", path.display())))
        .filter(Value::is_object)
        .collect()
}

/// The YAML documents of corpus files below `acting/`.
fn corpus(files: &[&str]) -> Option<Vec<Value>> {
    let root = acting()?;
    Some(files.iter().flat_map(|file| documents(&root.join(file))).collect())
}

/// All YAML files below a folder, in order.
fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn real_definitions_install_and_real_examples_fit_them() -> Result<()> {
    let Some(root) = acting() else { return Ok(()) };
    let cluster = Cluster::still(Settings::default()).await?;
    let mut kinds = 0;
    for folder in ["argocd", "chaos-mesh/crds", "kratix/crds", "longhorn", "velero"] {
        let mut files = Vec::new();
        yaml_files(&root.join(folder), &mut files);
        for definition in files.iter().flat_map(|path| documents(path)).filter(|one| one["kind"] == "CustomResourceDefinition") {
            kinds += 1;
            cluster.server().upsert(definition)?;
        }
    }
    assert!(kinds > 30, "{kinds} definitions");
    let all = discovery::Discovery::new(cluster.client.clone()).run_aggregated().await?;
    for group in ["chaos-mesh.org", "platform.kratix.io", "longhorn.io", "velero.io"] {
        assert!(all.has_group(group), "{group}");
    }
    let mut files = Vec::new();
    yaml_files(&root.join("chaos-mesh/examples"), &mut files);
    let (mut fit, params) = (0, PatchParams { dry_run: true, ..PatchParams::apply("homeostat").validation_strict() });
    for (path, object) in files.iter().flat_map(|path| documents(path).into_iter().map(move |object| (path, object))) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let (version, kind, name) = (text(&object["apiVersion"]), text(&object["kind"]), text(&object["metadata"]["name"]));
        let Some(version) = version.strip_prefix("chaos-mesh.org/") else { continue };
        let (resource, _) = discovery::pinned_kind(&cluster.client, &GroupVersionKind::gvk("chaos-mesh.org", version, &kind)).await?;
        let api: Api<DynamicObject> = if kind == "RemoteCluster" {
            Api::all_with(cluster.client.clone(), &resource)
        } else {
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
        };
        let mut object = object;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        match api.patch(&name, &params, &Patch::Apply(&object)).await {
            Ok(_) => fit += 1,
            // Two examples lack a field which their own definition requires.
            Err(error) if path.ends_with("remote-cluster.yaml") => {
                assert!(error.to_string().contains("spec.version"), "{error}")
            }
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        }
    }
    assert!(fit > 20, "{fit} examples");
    Ok(())
}

fn definition(group: &str, kind: &str, plural: &str, scope: &str, status: bool) -> Value {
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}});
    if status {
        version["subresources"] = json!({"status": {}});
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural, "singular": plural}, "versions": [version]},
    })
}

fn is_true(object: Option<&DynamicObject>, kind: &str) -> bool {
    object.is_some_and(|object| {
        object.data["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == "True"))
    })
}

fn has_reason(object: Option<&DynamicObject>, kind: &str, reason: &str) -> bool {
    object.is_some_and(|object| {
        object.data["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["reason"] == reason))
    })
}

async fn ready_pods(pods: &Api<Pod>) -> Result<usize> {
    let all = pods.list(&ListParams::default().labels("app=web")).await?;
    let ready = |pod: &&Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref())
                .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    Ok(all.items.iter().filter(ready).count())
}

#[tokio::test]
async fn chaos_with_own_definitions() -> Result<()> {
    chaos(vec![definition("chaos-mesh.org", "PodChaos", "podchaos", "Namespaced", false)]).await
}

#[tokio::test]
async fn chaos_with_the_real_definitions() -> Result<()> {
    let Some(all) = corpus(&["chaos-mesh/crds/chaos-mesh.org_podchaos.yaml", "chaos-mesh/crds/chaos-mesh.org_networkchaos.yaml"]) else {
        return Ok(());
    };
    chaos(all).await
}

async fn chaos(definitions: Vec<Value>) -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    for definition in definitions {
        cluster.server().upsert(definition)?;
    }
    cluster.server().upsert(deployment(&cluster.namespace, "web", 3))?;
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = cluster.api();
    let up = |object: Option<&k8s_openapi::api::apps::v1::Deployment>| {
        object.and_then(|object| object.status.as_ref()).is_some_and(|status| status.available_replicas == Some(3))
    };
    wait(&deployments, "web", up).await?;
    let pods: Api<Pod> = cluster.api();
    let (resource, capabilities) =
        discovery::pinned_kind(&cluster.client, &GroupVersionKind::gvk("chaos-mesh.org", "v1alpha1", "PodChaos")).await?;
    assert_eq!(resource.plural, "podchaos");
    assert!(capabilities.supports_operation(discovery::verbs::CREATE));
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let experiment = |name: &str, spec: Value| DynamicObject::new(name, &resource).within(&cluster.namespace).data(json!({"spec": spec}));
    let ours = PatchParams::apply("homeostat").validation_strict();
    let web = json!({"labelSelectors": {"app": "web"}});

    let failure = experiment("fail", json!({"action": "pod-failure", "mode": "fixed", "value": "2", "duration": "200s", "selector": web}));
    api.patch("fail", &ours, &Patch::Apply(&failure)).await?;
    let wait_for = async |name: &str, condition: &(dyn Fn(Option<&DynamicObject>) -> bool + Sync)| -> Result<()> {
        tokio::time::timeout(crate::harness::PATIENCE, kube::runtime::wait::await_condition(api.clone(), name, condition)).await??;
        Ok(())
    };
    wait_for("fail", &|object| is_true(object, "AllInjected")).await?;
    assert_eq!(ready_pods(&pods).await?, 1, "two of three are kept from being ready");
    let refused = refusal(api.patch("fail", &PatchParams::default(), &Patch::Merge(json!({"spec": {"duration": "1h"}}))).await);
    assert_eq!((refused.code, refused.message.contains("Cannot update chaos spec")), (403, true));
    wait_for("fail", &|object| {
        object.is_some_and(|object| object.data["status"]["experiment"]["desiredPhase"] == "Stop") && is_true(object, "AllRecovered")
    })
    .await?;
    assert_eq!(ready_pods(&pods).await?, 3, "recovered after its duration");
    let over = api.get("fail").await?;
    assert!(
        over.data["status"]["experiment"]["containerRecords"]
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["phase"] == "Not Injected" && one["recoveredCount"] == 1))
    );
    assert!(over.data["status"]["conditions"][0].get("lastTransitionTime").is_none());
    assert_eq!(over.finalizers(), ["chaos-mesh/records"]);
    api.delete("fail", &DeleteParams::default()).await?;
    wait_for("fail", &|object| object.is_none()).await?;

    let long = experiment("long", json!({"action": "pod-failure", "mode": "all", "duration": "24h", "selector": web}));
    api.create(&PostParams::default(), &long).await?;
    wait_for("long", &|object| is_true(object, "AllInjected")).await?;
    assert_eq!(ready_pods(&pods).await?, 0);
    let pause = |on: &str| json!({"metadata": {"annotations": {"experiment.chaos-mesh.org/pause": on}}});
    api.patch("long", &PatchParams::default(), &Patch::Merge(pause("true"))).await?;
    wait_for("long", &|object| is_true(object, "Paused") && is_true(object, "AllRecovered")).await?;
    assert_eq!(ready_pods(&pods).await?, 3, "a paused experiment lets go");
    api.patch("long", &PatchParams::default(), &Patch::Merge(pause("false"))).await?;
    wait_for("long", &|object| is_true(object, "AllInjected")).await?;
    api.delete("long", &DeleteParams::default()).await?;
    wait_for("long", &|object| object.is_none()).await?;
    assert_eq!(ready_pods(&pods).await?, 3, "an abort recovers before the object goes");

    let before: Vec<String> = pods.list(&ListParams::default().labels("app=web")).await?.items.iter().map(ResourceExt::name_any).collect();
    api.create(&PostParams::default(), &experiment("kill", json!({"action": "pod-kill", "mode": "one", "selector": web}))).await?;
    wait_for("kill", &|object| is_true(object, "AllInjected")).await?;
    wait(&deployments, "web", up).await?;
    let killed = api.get("kill").await?;
    let victim = killed.data["status"]["experiment"]["containerRecords"][0]["id"].as_str().unwrap_or_default().to_string();
    assert!(before.iter().any(|name| victim == format!("{}/{name}", cluster.namespace)));
    assert!(pods.get_opt(victim.rsplit('/').next().unwrap_or_default()).await?.is_none(), "pod-kill really kills");
    assert!(!is_true(Some(&killed), "AllRecovered"), "a one-shot experiment stays injected for ever");

    api.create(
        &PostParams::default(),
        &experiment("nobody", json!({"action": "pod-kill", "mode": "one", "selector": {"labelSelectors": {"app": "none"}}})),
    )
    .await?;
    wait_for("nobody", &|object| object.is_some_and(|object| object.data["status"]["conditions"].is_array())).await?;
    let nobody = api.get("nobody").await?;
    assert!(!is_true(Some(&nobody), "Selected") && nobody.data["status"]["experiment"]["containerRecords"].is_null());
    for name in ["kill", "nobody"] {
        api.delete(name, &DeleteParams::default()).await?;
        wait_for(name, &|object| object.is_none()).await?;
    }
    cluster.end().await
}

fn own_promise() -> Value {
    json!({
        "apiVersion": "platform.kratix.io/v1alpha1", "kind": "Promise", "metadata": {"name": "redis", "labels": {"kratix.io/promise-version": "v0.1.0"}},
        "spec": {
            "destinationSelectors": [{"matchLabels": {"environment": "dev"}}],
            "api": {
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "redis.marketplace.kratix.io"},
                "spec": {
                    "group": "marketplace.kratix.io", "scope": "Namespaced", "names": {"kind": "redis", "plural": "redis", "singular": "redis"},
                    "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "string", "default": "small", "pattern": "^(small|large)$"}}}}}}}],
                },
            },
        },
    })
}

#[tokio::test]
async fn kratix_with_own_definitions() -> Result<()> {
    kratix(vec![definition("platform.kratix.io", "Promise", "promises", "Cluster", true)], own_promise()).await
}

#[tokio::test]
async fn kratix_with_the_real_definitions() -> Result<()> {
    let Some(mut all) = corpus(&["kratix/crds/platform.kratix.io_promises.yaml", "kratix/marketplace/redis-promise.yaml"]) else {
        return Ok(());
    };
    let promise = all.pop().ok_or("a promise")?;
    kratix(all, promise).await
}

async fn kratix(definitions: Vec<Value>, promise: Value) -> Result<()> {
    let cluster = Cluster::face(Settings::default()).await?;
    for definition in definitions {
        cluster.server().upsert(definition)?;
    }
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("platform.kratix.io", "v1alpha1", "Promise"), "promises");
    let promises: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    let ours = PatchParams::apply("homeostat").validation_strict();
    promises.patch("redis", &PatchParams::apply("homeostat"), &Patch::Apply(&promise)).await?;
    wait_dynamic(&promises, "redis", |object| object.is_some_and(|object| object.data["status"]["status"] == "Available")).await?;
    let installed = promises.get("redis").await?;
    assert_eq!(installed.data["status"]["apiVersion"], "marketplace.kratix.io/v1alpha1");
    let (resource, _) =
        discovery::pinned_kind(&cluster.client, &GroupVersionKind::gvk("marketplace.kratix.io", "v1alpha1", "redis")).await?;
    let requests: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let request = |size: &str| DynamicObject::new("example", &resource).within(&cluster.namespace).data(json!({"spec": {"size": size}}));
    assert_eq!(refusal(requests.patch("example", &ours, &Patch::Apply(&request("huge"))).await).code, 422);
    requests.patch("example", &PatchParams { dry_run: true, ..ours.clone() }, &Patch::Apply(&request("small"))).await?;
    assert!(requests.get_opt("example").await?.is_none());
    requests.patch("example", &ours, &Patch::Apply(&request("small"))).await?;
    let settled = |object: Option<&DynamicObject>| {
        is_true(object, "Reconciled")
            && object.is_some_and(|object| object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation)
    };
    wait_dynamic(&requests, "example", settled).await?;
    let done = requests.get("example").await?;
    assert!(
        has_reason(Some(&done), "ConfigureWorkflowCompleted", "PipelinesExecutedSuccessfully") && is_true(Some(&done), "WorksSucceeded")
    );
    assert_eq!(done.finalizers().len(), 4);

    let pause = |on: Value| json!({"metadata": {"labels": {"kratix.io/paused": on}}});
    requests.patch("example", &PatchParams::default(), &Patch::Merge(pause(json!("true")))).await?;
    wait_dynamic(&requests, "example", |object| has_reason(object, "Reconciled", "PausedReconciliation")).await?;
    requests.patch("example", &PatchParams::default(), &Patch::Merge(pause(Value::Null))).await?;
    wait_dynamic(&requests, "example", settled).await?;
    cluster.server().set_workflow(&cluster.namespace, "example", Workflow::Fails);
    requests.patch("example", &ours, &Patch::Apply(&request("large"))).await?;
    wait_dynamic(&requests, "example", |object| has_reason(object, "Reconciled", "ConfigureWorkflowFailed")).await?;
    requests.delete("example", &DeleteParams::default()).await?;
    wait_dynamic(&requests, "example", |object| has_reason(object, "DeleteWorkflowCompleted", "DeleteWorkflowFailed")).await?;
    cluster.server().set_workflow(&cluster.namespace, "example", Workflow::Succeeds);
    assert!(requests.get_opt("example").await?.is_some(), "a failed delete workflow keeps the object until it is pushed");
    requests
        .patch(
            "example",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": {"kratix.io/manual-reconciliation": "true"}}})),
        )
        .await?;
    wait_dynamic(&requests, "example", |object| object.is_none()).await?;

    cluster.server().set_workflow(&cluster.namespace, "lost", Workflow::Misplaced);
    let lost = DynamicObject::new("lost", &resource).within(&cluster.namespace).data(json!({"spec": {}}));
    let made = requests.create(&PostParams::default(), &lost).await?;
    assert_eq!(made.data["spec"]["size"], "small", "the schema's default");
    wait_dynamic(&requests, "lost", |object| has_reason(object, "WorksSucceeded", "WorksMisplaced")).await?;
    let refused = refusal(promises.patch("redis", &PatchParams::default(), &Patch::Merge(json!({"spec": {"api": null}}))).await);
    assert_eq!(refused.code, 403, "{refused:?}");
    promises.delete("redis", &DeleteParams::default()).await?;
    wait_dynamic(&promises, "redis", |object| object.is_none()).await?;
    assert_eq!(refusal(requests.list(&ListParams::default()).await).code, 404, "the API went with its promise");
    cluster.end().await
}

async fn wait_dynamic(api: &Api<DynamicObject>, name: &str, condition: impl Fn(Option<&DynamicObject>) -> bool) -> Result<()> {
    tokio::time::timeout(crate::harness::PATIENCE, kube::runtime::wait::await_condition(api.clone(), name, condition)).await??;
    Ok(())
}
