//! What `deploy/` promises: manifests that are whole, rights that are exactly the configuration's, a dashboard of real metrics, a
//! chart that says the same as `homeostat rbac`. Where kubectl or Helm's library is here, a server in memory takes all of it.
//!
//! `HOMEOSTAT_BLESS=1` rewrites the generated files. `scripts/install-deploy-tools` installs Helm's library; `scripts/validate-deploy`
//! checks more, with the tools of others.

use homeostat::cli::rbac::{Holder, manifests, table, wanted_of, yaml};
use homeostat::config::{Config, Outside, schema};
use homeostat::http::metrics::{Facts, KernelFacts, Process, families};
use homeostat::live::{DaemonStatus, JournalStatus};
use homeostat_kube_face::{KubeServer, Settings};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Every wait of these tests ends with this.
const PATIENCE: Duration = Duration::from_secs(120);
/// A kind of a Kratix promise.
const REQUEST: &str = "redis.marketplace.kratix.io";
/// Kinds that the server in memory does not know by itself: group, kind, plural, whether namespaced.
const MORE_KINDS: [(&str, &str, &str, bool); 6] = [
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", false),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", false),
    ("rbac.authorization.k8s.io", "Role", "roles", true),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", true),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies", true),
    ("monitoring.coreos.com", "PodMonitor", "podmonitors", true),
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

/// The documents of a YAML stream, without empty ones.
fn documents(text: &str) -> Vec<Value> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match (line.trim_end(), parts.last_mut()) {
            ("---", _) => parts.push(String::new()),
            (_, Some(part)) => part.extend([line, "\n"]),
            _ => {}
        }
    }
    let parsed = parts.iter().map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{error}\n{part}")));
    parsed.filter(|value: &Value| !value.is_null()).collect()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn holder() -> Holder {
    Holder { namespace: "homeostat".into(), service_account: "homeostat".into() }
}

/// What `homeostat rbac` prints for a configuration's actuators.
fn rights(actuators: &Value, dry_run: bool) -> Vec<Value> {
    manifests(&wanted_of(actuators, &[REQUEST.to_owned()]), &holder(), dry_run)
}

/// Compares a generated file with what it should be, or rewrites it.
fn same_or_bless(path: &str, wanted: &str) {
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::write(deploy(path), wanted).unwrap();
    }
    let found = std::fs::read_to_string(deploy(path)).unwrap_or_default();
    assert_eq!(found, wanted, "deploy/{path} is generated: run the tests with HOMEOSTAT_BLESS=1");
}

fn kustomize_files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![deploy("kustomize")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(deploy("")).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_manifest_is_whole() {
    let kinds: BTreeSet<&str> = ["Namespace", "ServiceAccount", "PersistentVolumeClaim", "Deployment", "Service"]
        .into_iter()
        .chain(MORE_KINDS.map(|m| m.1))
        .collect();
    let mut seen = BTreeSet::new();
    for path in kustomize_files().iter().filter(|path| !path.ends_with("/homeostat.yaml")) {
        for manifest in documents(&read(path)) {
            let kind = text(&manifest, "/kind");
            assert!(!text(&manifest, "/apiVersion").is_empty(), "{path}");
            if path.ends_with("kustomization.yaml") {
                assert!(matches!(kind, "Kustomization" | "Component"), "{path}: {kind}");
                let list = |key: &str| manifest[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
                for named in list("resources").into_iter().chain(list("components")) {
                    assert!(deploy(path).parent().unwrap().join(named).exists(), "{path} names {named}, which is not there");
                }
                continue;
            }
            assert!(kinds.contains(kind) && text(&manifest, "/metadata/name").starts_with("homeostat"), "{path}: {kind}");
            let cluster = matches!(kind, "Namespace" | "ClusterRole" | "ClusterRoleBinding");
            assert_eq!(text(&manifest, "/metadata/namespace").is_empty(), cluster, "{path}: {kind} says its namespace itself");
            assert_eq!(text(&manifest, "/metadata/labels/app.kubernetes.io~1name"), "homeostat", "{path}");
            seen.insert(kind.to_owned());
        }
    }
    let missing: Vec<&&str> = kinds.iter().filter(|kind| !seen.contains(**kind) && !matches!(**kind, "Role" | "RoleBinding")).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let chart = documents(&read("helm/homeostat/Chart.yaml"));
    assert_eq!((text(&chart[0], "/name"), text(&chart[0], "/appVersion")), ("homeostat", env!("CARGO_PKG_VERSION")));
}

#[test]
fn rights_are_those_that_the_configuration_needs() {
    let config = &documents(&read("kustomize/components/kubernetes/homeostat.yaml"))[0];
    for (overlay, dry_run) in [("looking", true), ("acting", false)] {
        let option = if dry_run { " --dry-run" } else { "" };
        let head = format!("Generated: homeostat rbac --config components/kubernetes/homeostat.yaml{option}");
        same_or_bless(&format!("kustomize/overlays/{overlay}/rbac.yaml"), &yaml(&rights(&config["actuators"], dry_run), &head).unwrap());
    }
    let table = format!("{}\n", serde_json::to_string_pretty(&table()).unwrap());
    same_or_bless("helm/homeostat/files/rights.json", &table);
}

/// (group, resource, verb) of every right.
fn each(group: &str, resources: &[String], verbs: &[String]) -> Vec<(String, String, String)> {
    resources.iter().flat_map(|resource| verbs.iter().map(|verb| (group.to_owned(), resource.clone(), verb.clone()))).collect()
}

#[test]
fn rights_are_exactly_what_the_powers_ask_for() {
    for actuator in ["scale", "restart", "node", "resources", "pod"] {
        let section = if actuator == "resources" { json!({"cpu_max": "4", "memory_max": "8Gi"}) } else { json!({}) };
        let config = serde_json::from_value(json!({"connect": {"by": "in_cluster"}, actuator: section})).unwrap();
        let needs = homeostat_actuators::kube::needs_of(&config);
        let asked =
            needs.iter().flat_map(|need| &need.rules).flat_map(|rule| each(&rule.group, std::slice::from_ref(&rule.resource), &rule.verbs));
        let rows = homeostat_actuators::kube_rules::KubeRights::of(actuator).unwrap().rules();
        let granted = rows.iter().flat_map(|rule| each(&rule.api_groups[0], &rule.resources, &rule.verbs));
        assert_eq!(granted.collect::<BTreeSet<_>>(), asked.collect::<BTreeSet<_>>(), "{actuator}");
    }
}

#[test]
fn the_shipped_configurations_are_right() {
    let env = |name: &str| (name == "ALERT_TOKEN").then(|| "a-token-for-this-test-only".to_owned());
    let outside = Outside { env: &env, read: &|path| std::fs::read_to_string(path) };
    let config = Config::parse(&read("kustomize/base/homeostat.yaml"), Path::new("homeostat.yaml"), &outside).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:9797");
    let values = &documents(&read("helm/homeostat/values.yaml"))[0];
    let chart = serde_saphyr::to_string(&values["config"]).unwrap();
    assert_eq!(Config::parse(&chart, Path::new("values.yaml"), &outside).unwrap().listen, config.listen);
    if schema().pointer("/$defs/ActuatorsConfig/properties/kubernetes").is_none() {
        eprintln!("SKIPPED: this build has no `actuators.kubernetes`; components/kubernetes/homeostat.yaml is not checked");
        return;
    }
    Config::parse(&read("kustomize/components/kubernetes/homeostat.yaml"), Path::new("homeostat.yaml"), &outside).unwrap();
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let daemon = DaemonStatus {
        version: String::new(),
        build: String::new(),
        started_at: homeostat_model::Time(0),
        generation: 1,
        ready: true,
        not_ready_because: Vec::new(),
        journal: JournalStatus::default(),
        sensors: Vec::new(),
        queues: BTreeMap::new(),
        actuators: Vec::new(),
        panics: 0,
        batch_max_ms: 0.0,
    };
    let (kernel, webhooks, answers) = (KernelFacts::default(), BTreeMap::new(), BTreeMap::new());
    let process = Process::read();
    let facts = Facts {
        daemon: &daemon,
        kernel: Some(&kernel),
        rules: None,
        webhooks: &webhooks,
        approvals: None,
        answers: &answers,
        connections_refused: 0,
        process,
    };
    let served: BTreeSet<String> =
        families(&facts).into_iter().map(|family| if family.is_counter { format!("{}_total", family.name) } else { family.name }).collect();
    assert!(served.len() > 50);
    let text = read("helm/homeostat/files/dashboard.json");
    let names = regex::Regex::new(r"homeostat_[a-z_]+").unwrap();
    let asked: BTreeSet<String> = names.find_iter(&text).map(|found| found.as_str().to_owned()).collect();
    let unknown: Vec<&String> = asked.difference(&served).collect();
    assert!(unknown.is_empty() && asked.len() > 20, "the dashboard asks for what the daemon does not serve: {unknown:?}");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have numbers of their own");
}

/// What a deployment of ours keeps to, however it was made.
fn assert_confined(deployment: &Value) {
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!((&deployment["spec"]["replicas"], text(deployment, "/spec/strategy/type")), (&json!(1), "Recreate"));
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], text(pod, "/securityContext/seccompProfile/type")),
        (&json!(true), "RuntimeDefault")
    );
    let confined = &container["securityContext"];
    assert_eq!(confined["readOnlyRootFilesystem"], json!(true));
    assert_eq!((&confined["allowPrivilegeEscalation"], &confined["capabilities"]["drop"]), (&json!(false), &json!(["ALL"])));
    let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| text(&container[probe], "/httpGet/path"));
    assert_eq!(probes, ["/healthz", "/healthz", "/readyz"]);
    assert!(container["resources"]["limits"]["memory"].is_string() && pod["volumes"][0]["persistentVolumeClaim"].is_object());
    assert!(container["envFrom"][0]["secretRef"]["name"].is_string(), "secrets come from a Secret");
}

/// Roles by kind, namespace and name, each with its rules in one order; and who holds them.
fn granted(manifests: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in manifests.iter().filter(|one| text(one, "/apiVersion").starts_with("rbac.")) {
        let key = format!("{} {}/{}", text(one, "/kind"), text(one, "/metadata/namespace"), text(one, "/metadata/name"));
        let rules =
            one["rules"].as_array().into_iter().flatten().chain(one.get("roleRef")).chain(one["subjects"].as_array().into_iter().flatten());
        all.entry(key).or_default().extend(rules.map(ToString::to_string));
    }
    all
}

/// A cluster in memory that knows every kind that we send, on loopback.
struct Cluster {
    server: KubeServer,
    home: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.stop();
    }
}

impl Cluster {
    async fn start() -> Cluster {
        let server = KubeServer::new(Settings::default());
        for (group, kind, plural, namespaced) in MORE_KINDS {
            let scope = if namespaced { "Namespaced" } else { "Cluster" };
            let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            let names = json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")});
            let version = json!({"name": "v1", "served": true, "storage": true, "schema": open});
            let spec = json!({"group": group, "scope": scope, "names": names, "versions": [version]});
            let name = json!({"name": format!("{plural}.{group}")});
            let kind = "CustomResourceDefinition";
            server.upsert(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": kind, "metadata": name, "spec": spec})).unwrap();
        }
        for name in ["homeostat", "shop", "lab", "velero"] {
            server.upsert(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).unwrap();
        }
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(server.serve(listener));
        let home = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab", "clusters": [{"name": "lab", "cluster": {"server": url}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}], "users": [{"name": "lab", "user": {}}],
        });
        std::fs::write(home.path().join("config"), config.to_string()).unwrap();
        Cluster { server, home }
    }

    /// Runs a program against it; what it printed.
    async fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let run = tokio::process::Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments:?}: {err}{out}", program.display());
        out.into_owned()
    }
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_takes_what_kustomize_makes() {
    let Some(kubectl) = found("kubectl") else {
        eprintln!("SKIPPED: no kubectl in PATH; `make tools` installs it");
        return;
    };
    let cluster = Cluster::start().await;
    // Before 1.21 its kustomize knew no components.
    let version: Value = serde_json::from_str(&cluster.run(&kubectl, &["version", "--client", "-o", "json"]).await).unwrap();
    let minor: String = text(&version, "/clientVersion/minor").chars().take_while(char::is_ascii_digit).collect();
    if minor.parse::<u32>().unwrap() < 21 {
        eprintln!("SKIPPED: kubectl 1.{minor} is too old for kustomize components; 1.21 or newer is needed");
        return;
    }
    for (folder, roles) in [("base", 0), ("overlays/looking", 4), ("overlays/acting", 4), ("overlays/homelab", 4)] {
        let folder = deploy("kustomize").join(folder);
        let folder = folder.to_str().unwrap();
        let made = documents(&cluster.run(&kubectl, &["kustomize", folder]).await);
        assert_confined(made.iter().find(|one| text(one, "/kind") == "Deployment").unwrap());
        assert_eq!(made.iter().filter(|one| text(one, "/kind") == "ClusterRole").count(), roles, "{folder}");
        let config = made.iter().find(|one| text(one, "/kind") == "ConfigMap").unwrap();
        let mounted = made.iter().find_map(|one| one.pointer("/spec/template/spec/volumes/1/configMap/name"));
        assert_eq!(mounted, Some(&config["metadata"]["name"]), "the pod mounts the configuration of this overlay");
        let checked = cluster.run(&kubectl, &["apply", "--dry-run=server", "-k", folder]).await;
        assert_eq!(checked.lines().count(), made.len(), "{checked}");
    }
    cluster.run(&kubectl, &["apply", "-k", deploy("kustomize/overlays/homelab").to_str().unwrap()]).await;
    let running = cluster.server.list("deployments.apps");
    let waking = running.iter().find(|one| one["metadata"]["name"] == "homeostat").unwrap();
    assert_eq!(waking["spec"]["template"]["spec"]["hostNetwork"], json!(true));
    assert_eq!(cluster.server.list("podmonitors.monitoring.coreos.com").len(), 1);
}

/// The tools' Python with Helm's library, if it is installed.
fn helm_python() -> Option<PathBuf> {
    let folder = std::env::var_os("HOMEOSTAT_DEPLOY_TOOLS").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("deploy-tools")))?;
    folder.join("installed").is_file().then(|| folder.join("bin/python"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chart_grants_what_the_command_prints() {
    let Some(python) = helm_python() else {
        eprintln!("SKIPPED: Helm's library is not installed; `sh scripts/install-deploy-tools` does it (needs Python 3.12)");
        return;
    };
    let actuators = json!({
        "kubernetes": {
            "connect": {"by": "in_cluster"}, "namespaces": ["shop"], "scale": {}, "node": {}, "pod": {}, "resources": {}, "restart": {},
            "chaos": {"namespaces": ["shop", "lab"]}, "velero": {"restore": true}, "kratix": {"promises": ["redis"]},
        },
    });
    let everything = json!({
        "rbac": {"requests": [REQUEST]}, "dryRun": false, "hostNetwork": true, "podMonitor": {"enabled": true}, "dashboard": {"enabled": true},
        "policies": {"own.rhai": "//! Mine.\nfn policy() { #{} }\n"}, "config": {"actuators": actuators},
        "networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "192.168.1.7/32"}}], "ports": [{"port": 443}]}]},
    });
    let looking = json!({"rbac": {"requests": [REQUEST]}, "config": {"actuators": actuators}});
    for (values, actuators, dry_run) in [(json!({}), json!({}), true), (looking, actuators.clone(), true), (everything, actuators, false)] {
        let cluster = Cluster::start().await;
        let (config, script) = (cluster.home.path().join("config"), Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/helm-render"));
        let chart = deploy("helm/homeostat");
        let arguments =
            [script.to_str().unwrap(), config.to_str().unwrap(), chart.to_str().unwrap(), "homeostat", "homeostat", &values.to_string()];
        let made = documents(&cluster.run(&python, &arguments).await);
        assert_confined(made.iter().find(|one| text(one, "/kind") == "Deployment").unwrap());
        assert_eq!(granted(&made), granted(&rights(&actuators, dry_run)), "chart and command disagree for {values}");
        let config = made.iter().find(|one| text(one, "/metadata/name") == "homeostat-config").unwrap();
        let rendered = documents(text(config, "/data/homeostat.yaml"));
        assert_eq!(rendered[0]["hosts"][2], json!("homeostat.homeostat.svc"));
        assert_eq!(cluster.server.list("deployments.apps").len(), 1, "the server took it");
    }
}
