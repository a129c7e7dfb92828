//! The plant as a cluster: what the plant is, clients see; what clients change, the plant does.

use crate::lab::{House, LAB, request, request_of, until};
use homeostat_model::{Span, Time};
use homeostat_sim::lab::Lab;
use homeostat_sim::plant::{Fault, Plant};
use serde_json::{Value, json};
use std::sync::Arc;

const PODS: &str = "/api/v1/namespaces/home/pods";
const WEB: &str = "/apis/apps/v1/namespaces/home/deployments/web";

async fn get(house: &House, path: &str) -> Value {
    let (status, body) = request(house.faces.kube().unwrap(), "GET", path, "").await.unwrap();
    let value: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    assert_eq!(status, 200, "{path}: {value}");
    value
}

async fn change(house: &House, method: &str, path: &str, body: Value) -> Value {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = request_of(house.faces.kube().unwrap(), method, path, kind, &text).await.unwrap();
    assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
    serde_json::from_str(&body).unwrap()
}

/// The pods of a service: name, node, ready.
async fn pods(house: &House, service: &str) -> Vec<(String, String, bool)> {
    let list = get(house, PODS).await;
    let ours = list["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == service);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    ours.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]), ready(pod))).collect()
}

/// The same as the plant has it.
fn replicas(house: &House, service: &str) -> Vec<(String, String, bool)> {
    house.faces.world().with(|plant| {
        let service = &plant.services[plant.service_index(service).unwrap()];
        let view = |replica| {
            let replica: &homeostat_sim::plant::Replica = replica;
            let node = plant.nodes[replica.node].name.clone();
            (service.pod(replica), node, service.is_ready(replica, &plant.nodes, plant.now()))
        };
        let mut pods: Vec<_> = service.replicas.iter().map(view).collect();
        pods.sort();
        pods
    })
}

async fn alike(house: &House, what: &str) {
    until(what, || async {
        for service in ["web", "files", "api"] {
            if pods(house, service).await != replicas(house, service) {
                return false;
            }
        }
        true
    })
    .await;
}

fn ready(node: &Value) -> &str {
    let conditions = node["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap()["status"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_the_plant() {
    let house = House::start().await;
    house.pass(Span::from_mins(1));
    alike(&house, "the cluster shows the pods under their names").await;
    let nodes = get(&house, "/api/v1/nodes").await;
    let list: Vec<(&str, &str)> =
        nodes["items"].as_array().unwrap().iter().map(|node| (node["metadata"]["name"].as_str().unwrap(), ready(node))).collect();
    assert_eq!(list, [("brain", "True"), ("muscle", "Unknown"), ("nano", "True"), ("nas", "True")]);
    let web = get(&house, WEB).await;
    assert_eq!((web["spec"]["replicas"].as_u64(), web["status"]["readyReplicas"].as_u64()), (Some(2), Some(2)), "{web}");
    let hpa = get(&house, "/apis/autoscaling/v2/namespaces/home/horizontalpodautoscalers/api").await;
    assert_eq!((hpa["spec"]["maxReplicas"].as_u64(), hpa["spec"]["scaleTargetRef"]["name"].as_str()), (Some(5), Some("api")), "{hpa}");

    house.begin(Fault::CrashLoop { service: "web".into(), image: false });
    until("the crash loop is seen", || async {
        house.pass(Span::from_secs(5));
        let pod = get(&house, &format!("{PODS}/web-0")).await;
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"].as_u64() >= Some(3) && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })
    .await;
    house.begin(Fault::Crash { node: "nas".into() });
    until("the node is not ready", || async { ready(&get(&house, "/api/v1/nodes/nas").await) == "Unknown" }).await;
    alike(&house, "and its pod neither").await;
    house.begin(Fault::Crash { node: "nano".into() });
    house.pass(Span::from_mins(10));
    alike(&house, "pods move where the plant moves them").await;
    assert_eq!(house.faces.cluster().unwrap().counters().unfinished_ticks, 0);
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_change_the_plant_does() {
    let house = House::start().await;
    house.pass(Span::from_mins(1));
    let count = || replicas(&house, "web").len();
    change(&house, "PATCH", &format!("{WEB}/scale"), json!({ "spec": { "replicas": 4 } })).await;
    until("the plant has four", || async { count() == 4 }).await;
    alike(&house, "and the cluster their names").await;
    house.pass(Span::from_mins(1));
    alike(&house, "and they are ready").await;

    // The other way round: somebody else scales.
    crate::lab::json(house.faces.house(), "PUT", "/services/web/replicas", r#"{"replicas": 2}"#).await;
    until("the cluster has two", || async { get(&house, WEB).await["spec"]["replicas"] == 2 }).await;
    alike(&house, "by name").await;

    let before = get(&house, &format!("{PODS}/web-0")).await["metadata"]["uid"].clone();
    change(&house, "DELETE", &format!("{PODS}/web-0"), Value::Null).await;
    until("a new one of that name comes", || async {
        house.pass(Span::from_secs(1));
        let (status, body) = request(house.faces.kube().unwrap(), "GET", &format!("{PODS}/web-0"), "").await.unwrap();
        let pod: Value = serde_json::from_str(&body).unwrap();
        status == 200 && pod["metadata"]["uid"] != before && pod["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    let deleted = || house.faces.world().did().iter().filter(|did| format!("{:?}", did.op.does) == "DeletePod").count();
    assert_eq!(deleted(), 1, "once");

    change(&house, "PATCH", "/api/v1/nodes/nano", json!({ "spec": { "unschedulable": true } })).await;
    until("it is cordoned", || async { house.faces.world().with(|plant| plant.node("nano").unwrap().cordoned) }).await;
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "web-0", "namespace": "home" } });
    let on_nano = replicas(&house, "web").into_iter().find(|(_, node, _)| node == "nano").unwrap().0;
    let mut eviction = eviction;
    eviction["metadata"]["name"] = json!(on_nano);
    change(&house, "POST", &format!("{PODS}/{on_nano}/eviction"), eviction).await;
    until("the plant puts it elsewhere", || async {
        house.pass(Span::from_secs(1));
        replicas(&house, "web").iter().all(|(_, node, _)| node == "brain")
    })
    .await;
    alike(&house, "and the cluster shows it").await;
    change(&house, "PATCH", "/api/v1/nodes/nano", json!({ "spec": { "unschedulable": null } })).await;
    until("it may be used again", || async { !house.faces.world().with(|plant| plant.node("nano").unwrap().cordoned) }).await;
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_restart_renews_every_pod_once() {
    let house = House::start().await;
    house.pass(Span::from_mins(1));
    alike(&house, "the pods are there").await;
    let uids = || async {
        let list = get(&house, PODS).await;
        let web = list["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "web");
        web.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = uids().await;
    let stamp = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-11-16T12:01:00Z" } } } } });
    change(&house, "PATCH", WEB, stamp).await;
    until("the pods are new", || async { uids().await.iter().all(|uid| !before.contains(uid)) }).await;
    house.pass(Span::from_mins(1));
    alike(&house, "under the same names").await;
    let web = get(&house, WEB).await;
    assert_eq!(
        (web["spec"]["replicas"].as_u64(), web["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str()),
        (Some(2), Some("2")),
        "{web}"
    );
    until("the rollout is complete", || async {
        let web = get(&house, WEB).await;
        web["status"]["updatedReplicas"] == 2 && web["status"]["availableReplicas"] == 2 && web["status"]["replicas"] == 2
    })
    .await;
    let restarts = house.faces.world().did().iter().filter(|did| format!("{:?}", did.op.does) == "Restart").count();
    assert_eq!(restarts, 1);
    // Nothing is left to do: time passes, and nothing is written any more.
    let cluster = house.faces.cluster().unwrap();
    let ticked = |to: Time| async move { cluster.now() >= to };
    let settled = house.pass(Span::from_secs(20));
    until("the cluster has come to it", || ticked(settled)).await;
    let version = cluster.version();
    for _ in 0..5 {
        let later = house.pass(Span::from_secs(1));
        until("the cluster's time passes", || ticked(later)).await;
    }
    assert_eq!(cluster.version(), version);
    house.faces.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_fight_back_and_the_cut_off_cluster_is_gone() {
    let text = LAB.replace("name: web, nodes: [nano, brain]", "name: web, owner: gitops, nodes: [nano, brain]");
    let text = format!("{text}quorum: [brain, nano, nas]\n");
    let lab = Arc::new(Lab::parse(&text).unwrap());
    let clock = Arc::new(std::sync::atomic::AtomicI64::new(1_794_830_400_000));
    let read = Arc::clone(&clock);
    let time = move || Time(read.load(std::sync::atomic::Ordering::SeqCst));
    let now = time();
    let faces = homeostat_faces::Faces::start(Plant::new(lab, 1, now), homeostat_faces::FacesSettings::new(Arc::new(time))).await.unwrap();
    let kube = faces.kube().unwrap();
    let wish = || async {
        let (_, body) = request(kube, "GET", WEB, "").await.unwrap();
        serde_json::from_str::<Value>(&body).unwrap()
    };
    assert!(wish().await["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].is_string());
    let scale = json!({ "spec": { "replicas": 4 } }).to_string();
    request_of(kube, "PATCH", &format!("{WEB}/scale"), "application/merge-patch+json", &scale).await.unwrap();
    let have = || faces.world().with(|plant| plant.services[0].replicas.len());
    until("the plant has four", || async { have() == 4 }).await;
    until("GitOps puts it back", || async {
        clock.fetch_add(5_000, std::sync::atomic::Ordering::SeqCst);
        have() == 2 && wish().await["spec"]["replicas"] == 2
    })
    .await;
    faces.world().with(|plant| plant.begin(Fault::EngineCutOff, None)).unwrap();
    assert!(request(kube, "GET", "/version", "").await.is_err());
    faces.stop().await;
}

/// Runs kubectl against the cluster; what it printed. Time passes meanwhile, for what it waits for.
async fn kubectl(house: &House, args: &[&str]) -> String {
    let server = format!("http://{}", house.faces.kube().unwrap());
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let shown = args.join(" ");
    let run = tokio::task::spawn_blocking(move || {
        // No configuration of whoever runs the tests, and no cache that outlives them.
        let home = tempfile::tempdir().unwrap();
        std::process::Command::new("kubectl")
            .env("KUBECONFIG", "/dev/null")
            .env("HOME", home.path())
            .args(["--server", &server, "--namespace", "home"])
            .args(args)
            .output()
    });
    while !run.is_finished() {
        house.pass(Span::from_secs(1));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let output = run.await.unwrap().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "kubectl {shown}: {said}{failed}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works_on_the_plant() {
    if std::process::Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("SKIPPED: kubectl is not installed (Debian: kubernetes-client)");
        return;
    }
    let house = House::start().await;
    house.pass(Span::from_mins(1));
    assert!(kubectl(&house, &["get", "nodes"]).await.contains("muscle   NotReady"));
    assert!(kubectl(&house, &["get", "pods", "-o", "wide"]).await.contains("web-0"));
    kubectl(&house, &["scale", "deployment/web", "--replicas=3"]).await;
    until("the plant has three", || async { replicas(&house, "web").len() == 3 }).await;
    kubectl(&house, &["rollout", "restart", "deployment/web"]).await;
    assert!(kubectl(&house, &["rollout", "status", "deployment/web", "--timeout=60s"]).await.contains("successfully rolled out"));
    kubectl(&house, &["delete", "pod", "web-0", "--timeout=60s"]).await;
    kubectl(&house, &["drain", "nano", "--force", "--ignore-daemonsets", "--timeout=60s", "--pod-selector=app.kubernetes.io/name=web"])
        .await;
    assert!(house.faces.world().with(|plant| plant.node("nano").unwrap().cordoned));
    alike(&house, "both sides agree").await;
    assert!(replicas(&house, "web").iter().all(|(_, node, _)| node == "brain"), "{:?}", replicas(&house, "web"));
    kubectl(&house, &["uncordon", "nano"]).await;
    until("it may be used again", || async { !house.faces.world().with(|plant| plant.node("nano").unwrap().cordoned) }).await;
    house.faces.stop().await;
}
