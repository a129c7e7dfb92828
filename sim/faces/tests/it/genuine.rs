//! Our pages against real ones: same families, types, help texts and label names.

use crate::lab::{House, get};
use homeostat_model::Span;
use homeostat_sim::plant::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A family: its type, its help, and the sets of label names that occur.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<Vec<String>>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            families.entry(name.into()).or_default().help = help.into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.into()).or_default().kind = kind.into();
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            families.entry(name.into()).or_default().labels.insert(label_names(rest));
        }
    }
    families
}

/// The names in `{a="x",b="y"} 1`, ordered; values may hold anything but a quote.
fn label_names(rest: &str) -> Vec<String> {
    let inside = rest.strip_prefix('{').map_or("", |inside| &inside[..inside.rfind('}').unwrap()]);
    let mut names: Vec<String> = inside
        .split('"')
        .step_by(2)
        .filter_map(|part| part.strip_suffix('='))
        .map(|name| name.trim_start_matches([',', ' ']).to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn label_names_are_read() {
    assert_eq!(label_names("{b=\"x,y=1\",a=\"\"} 1"), ["a", "b"]);
    assert_eq!(label_names(" 1"), Vec::<String>::new());
}

fn corpus() -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let dir = std::env::var_os("HOMEOSTAT_CORPUS").map_or_else(default, PathBuf::from).join("sensing");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("SKIPPED: no corpus at {}", dir.display());
    None
}

/// Compares a page with real ones, which may leave type and help out; `new` are families that those do not have.
fn compare(what: &str, page: &str, real: &[PathBuf], new: &[&str]) -> usize {
    let texts: Vec<String> =
        real.iter().map(|path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect();
    let references: Vec<_> = texts.iter().map(|text| families(text)).collect();
    let mut compared = 0;
    for (name, ours) in families(page) {
        let theirs: Vec<&Family> = references.iter().filter_map(|families| families.get(&name)).collect();
        if theirs.is_empty() {
            assert!(new.contains(&name.as_str()), "{what}: no real page has {name}");
            continue;
        }
        assert!(
            theirs.iter().any(|real| real.kind == ours.kind || real.kind.is_empty()),
            "{what}: {name} is a {}, the real one a {}",
            ours.kind,
            theirs[0].kind
        );
        assert!(
            theirs.iter().any(|real| real.help == ours.help || real.kind.is_empty()),
            "{what}: {name}: `{}`, the real one `{}`",
            ours.help,
            theirs[0].help
        );
        for labels in &ours.labels {
            let same = theirs.iter().any(|real| real.labels.contains(labels));
            assert!(same, "{what}: {name} has {labels:?}, the real one {:?}", theirs[0].labels);
        }
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_the_form_of_real_ones() {
    let Some(corpus) = corpus() else { return };
    let house = House::start().await;
    house.begin(Fault::CrashLoop { service: "web".into(), image: false });
    house.pass(Span::from_mins(30));
    let at = |paths: &[&str]| paths.iter().map(|path| corpus.join(path)).collect::<Vec<_>>();
    let nas = house.node("nas");
    let text = |path: &'static str, address| async move { get(address, path).await.1 };

    let real = at(&["captured/expositions/node_exporter_1.5.0.prom", "node_exporter/e2e-output.txt"]);
    let count = compare("node_exporter", &text("/metrics", nas).await, &real, &[]);
    assert!(count > 35, "{count}");
    let real = at(&["smartctl_exporter/metrics_example.prom"]);
    let count = compare("smartctl_exporter", &text("/smart", nas).await, &real, &["smartctl_devices"]);
    assert!(count > 8, "{count}");
    let real = at(&["handwritten/kepler/kepler_old_upto_0.9.prom", "handwritten/kepler/kepler_new_0.10plus.prom"]);
    for (node, new) in [
        ("nas", &["kepler_node_core_joules_total"][..]),
        ("brain", &["kepler_node_cpu_active_joules_total", "kepler_node_cpu_idle_joules_total"][..]),
    ] {
        let count = compare("Kepler", &text("/kepler", house.node(node)).await, &real, new);
        assert!(count > 3, "{count}");
    }
    let real: Vec<&str> = vec![
        "kube_state_metrics/node.prom",
        "kube_state_metrics/deployment.prom",
        "kube_state_metrics/horizontalpodautoscaler.prom",
        "kube_state_metrics/pod.prom",
    ];
    let real: Vec<PathBuf> = at(&real).into_iter().filter(|path| path.is_file()).collect();
    let page = text("/kube-state-metrics/metrics", house.faces.house()).await;
    let pods: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE kube_pod_")?.split(' ').next()).collect();
    let pods: Vec<String> = pods.into_iter().map(|name| format!("kube_pod_{name}")).collect();
    // Not every copy of the corpus has the pods' file.
    let without: Vec<&str> = if real.len() == 4 { Vec::new() } else { pods.iter().map(String::as_str).collect() };
    let count = compare("kube-state-metrics", &page, &real, &without);
    assert!(count > 15, "{count}");
    let real = at(&["captured/blackbox/http_tls_ok.prom", "captured/blackbox/http_503.prom", "captured/blackbox/tcp_tls_ok.prom"]);
    for path in ["/probe?target=web", "/probe?target=home.lab&module=tcp_tls", "/probe?target=nobody"] {
        let count = compare("blackbox", &text(path, house.faces.house()).await, &real, &[]);
        assert!(count >= 4, "{path}: {count}");
    }
    house.faces.stop().await;
}
