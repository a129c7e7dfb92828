//! Tables: what `kubectl get` shows. Columns for nodes, pods, the workloads and a few more; custom resources show their `additionalPrinterColumns`.

use crate::meta;
use crate::resource::Resource;
use crate::selector::Labels;
use crate::stamp;
use homeostat_model::Time;
use serde_json::{Value, json};
use std::sync::Arc;

/// Name, type, and whether only `-o wide` shows it.
type Column = (&'static str, &'static str, bool);

const NAME: Column = ("Name", "string", false);
const AGE: Column = ("Age", "string", false);

fn columns(kind: &str) -> Vec<Column> {
    let text = |name| (name, "string", false);
    let number = |name| (name, "integer", false);
    let wide = |name| (name, "string", true);
    let mut all = vec![NAME];
    match kind {
        "Node" => all.extend([
            text("Status"),
            text("Roles"),
            AGE,
            text("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ]),
        "Pod" => all.extend([
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ]),
        "Deployment" => all.extend([
            text("Ready"),
            number("Up-to-date"),
            number("Available"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ]),
        "ReplicaSet" => {
            all.extend([number("Desired"), number("Current"), number("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")])
        }
        "StatefulSet" => all.extend([text("Ready"), AGE, wide("Containers"), wide("Images")]),
        "DaemonSet" => all.extend([
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            text("Node Selector"),
            AGE,
        ]),
        "Namespace" => all.extend([text("Status"), AGE]),
        "Service" => all.extend([text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, wide("Selector")]),
        "PodDisruptionBudget" => all.extend([text("Min available"), text("Max unavailable"), number("Allowed disruptions"), AGE]),
        "HorizontalPodAutoscaler" => {
            all.extend([text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), number("Replicas"), AGE])
        }
        "Event" => return vec![text("Last Seen"), text("Type"), text("Reason"), text("Object"), text("Message"), wide("Name")],
        "Lease" => all.extend([text("Holder"), AGE]),
        "PersistentVolumeClaim" => {
            all.extend([text("Status"), text("Volume"), text("Capacity"), text("Access Modes"), text("StorageClass"), AGE])
        }
        "CustomResourceDefinition" => all.push(("Created At", "date", false)),
        _ => all.push(AGE),
    }
    all
}

/// A `meta.k8s.io/v1 Table` of objects; `head` = with column definitions (watches send them only with the first).
pub(crate) fn table(resource: &Resource, objects: &[Arc<Value>], now: Time, version: u64, head: bool) -> Value {
    let plain = |(name, kind, wide): &Column| json!({"name": name, "type": kind, "format": if *name == "Name" { "name" } else { "" }, "description": "", "priority": i32::from(*wide)});
    let custom = resource.custom() && !resource.columns.is_empty();
    let definitions: Vec<Value> = if custom {
        let mut all = vec![plain(&NAME)];
        all.extend(resource.columns.iter().map(|column| {
            json!({"name": column["name"], "type": column["type"], "format": column["format"].as_str().unwrap_or_default(), "description": "", "priority": column["priority"].as_i64().unwrap_or(0)})
        }));
        if !resource.columns.iter().any(|column| column["name"] == "Age") {
            all.push(plain(&AGE));
        }
        all
    } else {
        columns(&resource.kind).iter().map(plain).collect()
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = if custom { custom_cells(resource, object, now) } else { cells(&resource.kind, object, now) };
            json!({"cells": cells, "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}})
        })
        .collect();
    let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version.to_string()}, "columnDefinitions": [], "rows": rows});
    if head {
        table["columnDefinitions"] = Value::Array(definitions);
    }
    table
}

fn age(object: &Value, now: Time) -> Value {
    match stamp::parse(meta::text(object, "/metadata/creationTimestamp")) {
        Some(then) => json!(short(now.since(then).millis() / 1000)),
        None => json!("<unknown>"),
    }
}

/// A duration as `kubectl` shows ages: `5s`, `3m20s`, `4h5m`, `6d`.
fn short(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn joined(object: &Value, list: &str, field: &str) -> String {
    let all: Vec<&str> = meta::list(object, list).iter().filter_map(|entry| entry[field].as_str()).collect();
    all.join(",")
}

fn selector(object: &Value) -> String {
    or_none(&Labels::of(&object["spec"]["selector"]).map(|labels| labels.text()).unwrap_or_default())
}

fn cells(kind: &str, object: &Value, now: Time) -> Vec<Value> {
    let number = |pointer: &str| meta::int(object, pointer).unwrap_or(0);
    let text = |pointer: &str| or_none(meta::text(object, pointer));
    let name = json!(meta::name(object));
    let age = age(object, now);
    let images = || (joined(object, "/spec/template/spec/containers", "name"), joined(object, "/spec/template/spec/containers", "image"));
    match kind {
        "Node" => node(object, now),
        "Pod" => pod(object, now),
        "Deployment" => {
            let (names, images) = images();
            let ready = format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"));
            vec![
                name,
                json!(ready),
                json!(number("/status/updatedReplicas")),
                json!(number("/status/availableReplicas")),
                age,
                json!(names),
                json!(images),
                json!(selector(object)),
            ]
        }
        "ReplicaSet" => {
            let (names, images) = images();
            vec![
                name,
                json!(number("/spec/replicas")),
                json!(number("/status/replicas")),
                json!(number("/status/readyReplicas")),
                age,
                json!(names),
                json!(images),
                json!(selector(object)),
            ]
        }
        "StatefulSet" => {
            let (names, images) = images();
            vec![name, json!(format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"))), age, json!(names), json!(images)]
        }
        "DaemonSet" => {
            let mut all = vec![name];
            all.extend(
                ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
                    .map(|field| json!(number(&format!("/status/{field}")))),
            );
            all.extend([json!("<none>"), age]);
            all
        }
        "Namespace" => vec![name, json!(text("/status/phase")), age],
        "Service" => vec![
            name,
            json!(text("/spec/type")),
            json!(text("/spec/clusterIP")),
            json!("<none>"),
            json!(ports(object)),
            age,
            json!(flat(&object["spec"]["selector"])),
        ],
        "PodDisruptionBudget" => {
            let amount = |field: &str| match &object["spec"][field] {
                Value::Null => "N/A".to_string(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            vec![name, json!(amount("minAvailable")), json!(amount("maxUnavailable")), json!(number("/status/disruptionsAllowed")), age]
        }
        "HorizontalPodAutoscaler" => {
            let target = format!("{}/{}", text("/spec/scaleTargetRef/kind"), text("/spec/scaleTargetRef/name"));
            let (now, wished) = (
                object.pointer("/status/currentMetrics/0/resource/current/averageUtilization"),
                object.pointer("/spec/metrics/0/resource/target/averageUtilization"),
            );
            let percent =
                |value: Option<&Value>| value.and_then(Value::as_i64).map_or("<unknown>".to_string(), |value| format!("{value}%"));
            let targets = format!("cpu: {}/{}", percent(now), percent(wished));
            let (least, most) = (number("/spec/minReplicas").to_string(), number("/spec/maxReplicas").to_string());
            vec![name, json!(target), json!(targets), json!(least), json!(most), json!(number("/status/currentReplicas")), age]
        }
        "Event" => {
            let seen = stamp::parse(meta::text(object, "/lastTimestamp"))
                .map_or("<unknown>".to_string(), |then| short(now.since(then).millis() / 1000));
            let about =
                format!("{}/{}", meta::text(object, "/involvedObject/kind").to_lowercase(), meta::text(object, "/involvedObject/name"));
            vec![json!(seen), object["type"].clone(), object["reason"].clone(), json!(about), object["message"].clone(), name]
        }
        "Lease" => vec![name, json!(meta::text(object, "/spec/holderIdentity")), age],
        "PersistentVolumeClaim" => vec![
            name,
            json!(text("/status/phase")),
            json!(meta::text(object, "/spec/volumeName")),
            json!(meta::text(object, "/spec/resources/requests/storage")),
            json!(""),
            json!(meta::text(object, "/spec/storageClassName")),
            age,
        ],
        "CustomResourceDefinition" => vec![name, object["metadata"]["creationTimestamp"].clone()],
        _ => vec![name, age],
    }
}

fn flat(map: &Value) -> String {
    let all: Vec<String> =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or_none(&all.join(","))
}

fn ports(service: &Value) -> String {
    let all: Vec<String> = meta::list(service, "/spec/ports")
        .iter()
        .map(|port| format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP")))
        .collect();
    or_none(&all.join(","))
}

fn node(object: &Value, now: Time) -> Vec<Value> {
    let mut status = match meta::condition(object, "Ready").map(|ready| ready["status"] == "True") {
        Some(true) => "Ready".to_string(),
        Some(false) => "NotReady".to_string(),
        None => "Unknown".to_string(),
    };
    if object["spec"]["unschedulable"] == true {
        status += ",SchedulingDisabled";
    }
    let roles: Vec<&str> = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        meta::list(object, "/status/addresses")
            .iter()
            .find(|address| address["type"] == kind)
            .and_then(|address| address["address"].as_str())
            .unwrap_or("<none>")
            .to_string()
    };
    let info = |field: &str| {
        let text = meta::text(object, &format!("/status/nodeInfo/{field}"));
        json!(if text.is_empty() { "<unknown>" } else { text })
    };
    vec![
        json!(meta::name(object)),
        json!(status),
        json!(or_none(&roles.join(","))),
        age(object, now),
        json!(meta::text(object, "/status/nodeInfo/kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn pod(object: &Value, now: Time) -> Vec<Value> {
    let statuses = meta::list(object, "/status/containerStatuses");
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let mut status = meta::text(object, "/status/reason").to_string();
    if status.is_empty() {
        status = meta::text(object, "/status/phase").to_string();
    }
    for container in statuses {
        for reason in ["/state/waiting/reason", "/state/terminated/reason"] {
            if !meta::text(container, reason).is_empty() {
                status = meta::text(container, reason).to_string();
            }
        }
    }
    if meta::terminating(object) {
        status = "Terminating".into();
    }
    let place = |pointer: &str| json!(or_none(meta::text(object, pointer)));
    vec![
        json!(meta::name(object)),
        json!(format!("{ready}/{}", meta::list(object, "/spec/containers").len())),
        json!(status),
        json!(restarts.to_string()),
        age(object, now),
        place("/status/podIP"),
        place("/spec/nodeName"),
        json!("<none>"),
        json!("<none>"),
    ]
}

fn custom_cells(resource: &Resource, object: &Value, now: Time) -> Vec<Value> {
    let mut all = vec![json!(meta::name(object))];
    for column in &resource.columns {
        let found = path(object, column["jsonPath"].as_str().unwrap_or_default());
        all.push(match (column["type"].as_str(), found) {
            (Some("date"), Some(Value::String(text))) => {
                stamp::parse(text).map_or(json!(text), |then| json!(short(now.since(then).millis() / 1000)))
            }
            (_, Some(value)) => value.clone(),
            (_, None) => Value::Null,
        });
    }
    if !resource.columns.iter().any(|column| column["name"] == "Age") {
        all.push(age(object, now));
    }
    all
}

/// A printer column's path: fields, indexes, and the filter `[?(@.type=="Ready")]`.
fn path<'a>(object: &'a Value, text: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[?(@.") {
            let (test, after) = after.split_once(")]")?;
            let (field, wanted) = test.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            at = at.as_array()?.iter().find(|item| item[field.trim()] == wanted)?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            at = match index.parse::<usize>() {
                Ok(index) => at.get(index)?,
                Err(_) => at.get(index.trim_matches(['"', '\'']))?,
            };
            rest = after;
        } else {
            rest = rest.strip_prefix('.')?;
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            at = at.get(&rest[..end])?;
            rest = &rest[end..];
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_kubectl_shows_them() {
        for (seconds, expected) in
            [(5, "5s"), (119, "119s"), (200, "3m20s"), (660, "11m"), (14_700, "4h5m"), (90_000, "25h"), (180_000, "2d2h"), (864_000, "10d")]
        {
            assert_eq!(short(seconds), expected);
        }
    }

    #[test]
    fn printer_columns_find_their_value() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "n": [1, 2]}});
        assert_eq!(path(&object, ".status.conditions[?(@.type==\"Ready\")].status"), Some(&json!("True")));
        assert_eq!(path(&object, ".status.n[1]"), Some(&json!(2)));
        assert_eq!(path(&object, ".status.nope"), None);
    }
}
