//! Experiments as data (all examples and definitions of the corpus), and as deeds against the face's Chaos Mesh with its faults.

pub(crate) mod deeds;
mod ends;

use super::compose::{ChaosKind, Experiment};
use super::rules::{go_duration, problems};
use crate::conformance::corpus;
use homeostat_model::Span;
use serde_json::{Value, json};
use std::path::Path;

/// The YAML documents of a file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let parts = text.split("\n---").filter(|part| part.contains(':'));
    parts.map(|part| serde_saphyr::from_str::<Value>(part).unwrap()).filter(Value::is_object).collect()
}

fn files(folder: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { found.extend(files(&path)) } else { found.extend(documents(&path)) }
    }
    found
}

/// The examples of the corpus that are experiments.
pub(crate) fn examples() -> Option<Vec<Value>> {
    let folder = corpus("acting/chaos-mesh/examples")?;
    let known = |object: &Value| ChaosKind::ALL.iter().any(|kind| object["kind"] == kind.name());
    Some(files(&folder).into_iter().filter(known).collect())
}

fn read(kind: &str, spec: Value) -> Result<Experiment, String> {
    serde_json::from_value(json!({ "kind": kind, "spec": spec })).map_err(|error| error.to_string())
}

#[test]
fn every_example_of_chaos_mesh_is_read_valid_and_written_again_the_same() {
    let Some(examples) = examples() else { return };
    assert!(examples.len() >= 25, "{}", examples.len());
    for example in examples {
        let (kind, name) = (example["kind"].as_str().unwrap(), &example["metadata"]["name"]);
        let experiment = read(kind, example["spec"].clone()).unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        assert_eq!(problems(&experiment), Vec::<String>::new(), "{kind} {name}");
        let written = serde_json::to_value(&experiment).unwrap();
        assert_eq!(written, json!({ "kind": kind, "spec": example["spec"] }), "{name}");
    }
}

/// Every property of every definition is one of ours, and every one of ours is in the definition.
#[test]
fn our_fields_are_those_of_the_definitions() {
    let Some(folder) = corpus("acting/chaos-mesh/crds") else { return };
    let mut checked = 0;
    for definition in files(&folder) {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        if !ChaosKind::ALL.iter().any(|known| known.name() == kind && *known != ChaosKind::PhysicalMachineChaos) {
            continue;
        }
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let unknown = read(&kind, json!({ "noSuchField": 1 })).unwrap_err();
        for field in schema["properties"].as_object().unwrap().keys() {
            assert!(unknown.contains(&format!("`{field}`")), "{kind}.{field} is missing: {unknown}");
        }
        let ours = unknown.split('`').skip(3).step_by(2).count();
        assert_eq!(ours, schema["properties"].as_object().unwrap().len(), "{kind} has fields that the definition does not have: {unknown}");
        checked += 1;
    }
    assert_eq!(checked, ChaosKind::ALL.len() - 1);
}

#[test]
fn durations_are_gos() {
    for (text, millis) in [
        ("90s", Some(90_000)),
        ("1h30m", Some(5_400_000)),
        ("1.5s", Some(1500)),
        ("-10m100ns", Some(-600_000)),
        ("0", Some(0)),
        ("250ms", Some(250)),
        ("", None),
        ("10", None),
        ("5x", None),
        ("-", None),
        ("1..2s", None),
    ] {
        assert_eq!(go_duration(text), millis.map(Span), "{text}");
    }
}

#[test]
fn what_the_server_would_refuse_is_refused_with_its_field() {
    let pods = |more: Value| {
        let mut spec = json!({ "mode": "one", "selector": { "namespaces": ["web"] } });
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        spec
    };
    let rows = [
        ("PodChaos", json!({ "action": "container-kill" }), "containerNames"),
        ("PodChaos", json!({ "action": "pod-failure", "mode": "fixed", "value": "0" }), "value"),
        ("PodChaos", json!({ "action": "pod-failure", "mode": "fixed-percent", "value": "101" }), "value"),
        ("PodChaos", json!({ "action": "pod-failure", "duration": "soon" }), "duration"),
        ("PodChaos", json!({ "action": "pod-kill", "gracePeriod": -1 }), "gracePeriod"),
        ("NetworkChaos", json!({ "action": "delay" }), "delay"),
        ("NetworkChaos", json!({ "action": "loss", "loss": { "loss": "120" } }), "loss.loss"),
        ("NetworkChaos", json!({ "action": "partition", "direction": "both" }), "target"),
        ("NetworkChaos", json!({ "action": "bandwidth", "bandwidth": { "rate": "1mbps", "limit": 0, "buffer": 1 } }), "bandwidth.limit"),
        ("StressChaos", json!({}), "stressors"),
        ("StressChaos", json!({ "stressors": { "cpu": { "workers": 1, "load": 101 } } }), "stressors.cpu.load"),
        ("IOChaos", json!({ "action": "latency", "volumePath": "/data" }), "delay"),
        ("IOChaos", json!({ "action": "fault", "volumePath": "", "errno": 5 }), "volumePath"),
        ("TimeChaos", json!({ "timeOffset": "yesterday" }), "timeOffset"),
        ("DNSChaos", json!({ "action": "error", "patterns": ["*.lan"] }), "patterns"),
        ("HTTPChaos", json!({ "target": "Request", "port": 70_000, "abort": true }), "port"),
        ("HTTPChaos", json!({ "target": "Request", "port": 80 }), "abort, delay, replace or patch"),
        ("KernelChaos", json!({ "failKernRequest": { "failtype": 3 } }), "failtype"),
        ("JVMChaos", json!({ "action": "latency", "class": "Main" }), "class, method and latency"),
        ("BlockChaos", json!({ "action": "delay", "volumeName": "data" }), "delay.latency"),
    ];
    for (kind, more, field) in rows {
        let experiment = read(kind, pods(more.clone())).unwrap_or_else(|error| panic!("{kind} {more}: {error}"));
        let found = problems(&experiment);
        assert!(found.iter().any(|problem| problem.contains(field)), "{kind} {more}: {found:?}");
    }
    for (kind, spec, field) in [
        ("AWSChaos", json!({ "action": "detach-volume", "awsRegion": "eu", "ec2Instance": "i" }), "volumeID"),
        ("AzureChaos", json!({ "action": "disk-detach", "subscriptionID": "s", "resourceGroupName": "g", "vmName": "v" }), "lun"),
        ("GCPChaos", json!({ "action": "disk-loss", "project": "p", "zone": "z", "instance": "i" }), "deviceNames"),
        ("PhysicalMachineChaos", json!({ "action": "clock", "mode": "one", "address": ["a:1"], "vm": {} }), "`vm` is no field"),
        ("Schedule", json!({ "schedule": "soon", "type": "PodChaos" }), "`schedule`"),
        ("Workflow", json!({ "entry": "a", "templates": [] }), "no template `a`"),
        ("StatusCheck", json!({ "type": "HTTP", "http": { "url": "http://x", "criteria": { "statusCode": "400-200" } } }), "statusCode"),
    ] {
        let found = problems(&read(kind, spec).unwrap());
        assert!(found.iter().any(|problem| problem.contains(field)), "{kind}: {found:?}");
    }
}

#[test]
fn a_misspelt_field_or_word_is_no_experiment() {
    for (spec, part) in [
        (json!({ "action": "pod-kill", "mode": "one", "selector": {}, "durration": "5s" }), "durration"),
        (json!({ "action": "pod-kil", "mode": "one", "selector": {} }), "pod-kil"),
        (json!({ "action": "pod-kill", "mode": "one", "selector": { "labels": {} } }), "labels"),
        (json!({ "action": "pod-kill", "selector": {} }), "mode"),
    ] {
        let error = read("PodChaos", spec).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert!(read("PodNetworkChaos", json!({})).is_err(), "internal kinds are not ours");
}
