//! The face beside a real server: the same requests to both, and the answers compared, texts and managed fields included.
//!
//! Only with HOMEOSTAT_TEST_KUBECONFIG. What is known to differ stands in [`KNOWN`] with its reason; anything else that differs is a
//! bug of the face.

use crate::harness::{PATIENCE, Result, given, notes, plain, unique};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use homeostat_kube_face::Settings;
use kube::{Client, Config};
use serde_json::{Value, json};

/// How much of an answer is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Steps whose answers differ, and why that is so.
const KNOWN: [(&str, &str); 5] = [
    ("no object", "the scale's own complaint about a `spec` that is none"),
    ("a bad selector", "the parser's words"),
    ("a bad token", "the decoder's words"),
    ("a watch from long ago", "the face remembers all changes from its start"),
    ("a bad version", "the face watches from now on"),
];

/// A request: its name, method, path below the kind's list (`!` for a path from the root), media type, body. `UID` in a body stands for
/// the uid in the last answer that had one.
type Step = (&'static str, &'static str, &'static str, &'static str, Value);

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// An object of the kind that is asked for.
fn note(group: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": format!("{group}/v1"), "kind": "Note", "metadata": {"name": name}});
    more.as_object().into_iter().flatten().for_each(|(key, value)| object[key] = value.clone());
    object
}

fn delete(uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": uid}})
}

/// What is not there, and what the schema does not take.
fn refused_creates(group: &str) -> Vec<Step> {
    let note = |name: &str, more: Value| note(group, name, more);
    let spec = |spec: Value| note("a", json!({"spec": spec}));
    let none = Value::Null;
    vec![
        ("an empty list", "GET", "?limit=5", "", none.clone()),
        ("not there", "GET", "/a", "", none.clone()),
        ("delete what is not there", "DELETE", "/a", JSON, delete("x")),
        ("patch what is not there", "PATCH", "/a", MERGE, json!({"spec": {}})),
        ("replace what is not there", "PUT", "/a", JSON, spec(json!({}))),
        ("too small", "POST", "", JSON, spec(json!({"replicas": -1}))),
        ("not in the list of words", "POST", "", JSON, spec(json!({"size": "huge"}))),
        ("wrong pattern", "POST", "", JSON, spec(json!({"word": "A"}))),
        ("too long", "POST", "", JSON, spec(json!({"word": "abcdefg"}))),
        ("too short", "POST", "", JSON, spec(json!({"word": "a"}))),
        ("too few", "POST", "", JSON, spec(json!({"tags": []}))),
        ("too big", "POST", "", JSON, spec(json!({"share": 1.5}))),
        ("a wrong item", "POST", "", JSON, spec(json!({"tags": ["a", 1]}))),
        ("null", "POST", "?dryRun=All", JSON, spec(json!({"word": null, "replicas": null}))),
        ("wrong type", "POST", "", JSON, spec(json!({"word": 1}))),
        ("no object", "POST", "", JSON, note("a", json!({"spec": "x"}))),
        ("a part without its key", "POST", "", JSON, spec(json!({"parts": [{"minutes": 1}]}))),
        ("too many parts", "POST", "", JSON, spec(json!({"parts": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}))),
        ("the same part twice", "POST", "", JSON, spec(json!({"parts": [{"name": "a"}, {"name": "a"}]}))),
        ("a bad name", "POST", "", JSON, note("A_b", json!({}))),
        ("no name", "POST", "", JSON, note("", json!({}))),
        ("another kind", "POST", "", JSON, json!({"apiVersion": format!("{group}/v1"), "kind": "Other", "metadata": {"name": "a"}})),
        ("another version", "POST", "", JSON, json!({"apiVersion": "other.example.org/v1", "kind": "Note", "metadata": {"name": "a"}})),
        (
            "another namespace",
            "POST",
            "",
            JSON,
            json!({"apiVersion": format!("{group}/v1"), "kind": "Note", "metadata": {"name": "a", "namespace": "other"}}),
        ),
        ("a strict create", "POST", "?fieldValidation=Strict", JSON, spec(json!({"odd": 1}))),
    ]
}

/// Creates, patches, the status and the scale.
fn changes(group: &str) -> Vec<Step> {
    let note = |name: &str, more: Value| note(group, name, more);
    let spec = |spec: Value| note("a", json!({"spec": spec}));
    let none = Value::Null;
    vec![
        ("a dry create", "POST", "?dryRun=All&fieldManager=homeostat", JSON, spec(json!({"word": "bb"}))),
        ("a create", "POST", "?fieldManager=homeostat", JSON, spec(json!({"odd": 1, "parts": [{"name": "a", "minutes": 1}]}))),
        ("a second create", "POST", "?fieldManager=homeostat", JSON, spec(json!({}))),
        ("a merge", "PATCH", "/a?fieldManager=homeostat", MERGE, json!({"spec": {"size": "small"}})),
        ("the same merge", "PATCH", "/a?fieldManager=homeostat", MERGE, json!({"spec": {"size": "small"}})),
        ("a stale merge", "PATCH", "/a", MERGE, json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": "large"}})),
        ("a merge for another uid", "PATCH", "/a", MERGE, json!({"metadata": {"uid": "other"}})),
        ("a strict merge", "PATCH", "/a?fieldValidation=Strict", MERGE, json!({"spec": {"odd": 1}})),
        ("a wrong merge", "PATCH", "/a", MERGE, json!({"spec": {"replicas": -2}})),
        ("a strategic patch", "PATCH", "/a", "application/strategic-merge-patch+json", json!({"spec": {}})),
        ("a failing test", "PATCH", "/a", "application/json-patch+json", json!([{"op": "test", "path": "/spec/size", "value": "large"}])),
        (
            "a status",
            "PATCH",
            "/a/status?fieldManager=keeper",
            MERGE,
            json!({"status": {"seen": "yes", "replicas": 1, "selector": "x=y"}, "spec": {"size": "large"}}),
        ),
        ("a status at the wrong door", "PATCH", "/a?fieldManager=homeostat", MERGE, json!({"status": {"seen": "no"}})),
        ("the scale", "GET", "/a/scale", "", none.clone()),
        ("scaling", "PATCH", "/a/scale?fieldManager=scaler", MERGE, json!({"spec": {"replicas": 3}})),
        ("scaling below nothing", "PATCH", "/a/scale", MERGE, json!({"spec": {"replicas": -1}})),
        ("no such subresource", "GET", "/a/nothing", "", none.clone()),
    ]
}

/// Server-side apply: agreement, conflicts, taking, giving up.
fn applies(group: &str) -> Vec<Step> {
    let note = |name: &str, more: Value| note(group, name, more);
    let spec = |spec: Value| note("a", json!({"spec": spec}));
    vec![
        ("an apply without its manager", "PATCH", "/a", APPLY, spec(json!({"size": "small"}))),
        ("an apply of nothing known", "PATCH", "/a?fieldManager=x", APPLY, json!({"spec": {}})),
        ("a dry apply that agrees", "PATCH", "/a?fieldManager=somebody&dryRun=All", APPLY, spec(json!({"size": "small"}))),
        ("an apply that takes", "PATCH", "/a?fieldManager=somebody", APPLY, spec(json!({"size": "large", "replicas": 5}))),
        (
            "an apply of a new one",
            "PATCH",
            "/b?fieldManager=homeostat&fieldValidation=Strict",
            APPLY,
            note("b", json!({"spec": {"word": "bb", "parts": [{"name": "p", "minutes": 2}]}})),
        ),
        (
            "the same apply",
            "PATCH",
            "/b?fieldManager=homeostat&fieldValidation=Strict",
            APPLY,
            note("b", json!({"spec": {"word": "bb", "parts": [{"name": "p", "minutes": 2}]}})),
        ),
        (
            "an apply of an unknown field",
            "PATCH",
            "/b?fieldManager=homeostat&fieldValidation=Strict",
            APPLY,
            note("b", json!({"spec": {"odd": 1}})),
        ),
        ("an apply of an unknown field, not strict", "PATCH", "/b?fieldManager=homeostat", APPLY, note("b", json!({"spec": {"odd": 1}}))),
        ("an apply of what is wrong", "PATCH", "/b?fieldManager=homeostat", APPLY, note("b", json!({"spec": {"size": "huge"}}))),
        ("an apply of the wrong type", "PATCH", "/b?fieldManager=homeostat", APPLY, note("b", json!({"spec": {"word": 1}}))),
        (
            "an apply of another's part",
            "PATCH",
            "/b?fieldManager=somebody",
            APPLY,
            note("b", json!({"spec": {"parts": [{"name": "p", "minutes": 3}, {"name": "q"}]}})),
        ),
        (
            "a forced apply",
            "PATCH",
            "/b?fieldManager=somebody&force=true",
            APPLY,
            note("b", json!({"spec": {"parts": [{"name": "p", "minutes": 3}, {"name": "q"}]}})),
        ),
        ("an apply that gives up", "PATCH", "/b?fieldManager=homeostat", APPLY, note("b", json!({"spec": {}}))),
        (
            "a stale apply",
            "PATCH",
            "/b?fieldManager=homeostat",
            APPLY,
            json!({"apiVersion": format!("{group}/v1"), "kind": "Note", "metadata": {"name": "b", "resourceVersion": "1"}}),
        ),
        ("an apply under another name", "PATCH", "/b?fieldManager=homeostat", APPLY, note("c", json!({}))),
    ]
}

/// Lists, watches, deletions, discovery.
fn looks_and_ends() -> Vec<Step> {
    let none = Value::Null;
    vec![
        ("a list by label", "GET", "?labelSelector=a%3Db", "", none.clone()),
        ("a bad selector", "GET", "?labelSelector=%3D%3D", "", none.clone()),
        ("an unknown field selector", "GET", "?fieldSelector=spec.size%3Dsmall", "", none.clone()),
        ("by name", "GET", "?fieldSelector=metadata.name%3Da", "", none.clone()),
        ("a bad token", "GET", "?continue=nonsense", "", none.clone()),
        ("a watch from nothing", "GET", "?watch=true&resourceVersion=0&timeoutSeconds=1", "", none.clone()),
        ("a watch from long ago", "GET", "?watch=true&resourceVersion=1&timeoutSeconds=1", "", none.clone()),
        ("a bad version", "GET", "?watch=true&resourceVersion=x&timeoutSeconds=1", "", none.clone()),
        ("a finalizer", "PATCH", "/b?fieldManager=homeostat", MERGE, json!({"metadata": {"finalizers": ["example.org/hold"]}})),
        ("delete another", "DELETE", "/b", JSON, delete("other")),
        ("a dry delete", "DELETE", "/b?dryRun=All", JSON, delete("UID")),
        ("a held delete", "DELETE", "/b", JSON, delete("UID")),
        ("a late finalizer", "PATCH", "/b", MERGE, json!({"metadata": {"finalizers": ["example.org/hold", "example.org/late"]}})),
        ("a change of what goes", "PATCH", "/b?fieldManager=homeostat", MERGE, json!({"spec": {"size": "large"}})),
        ("letting go", "PATCH", "/b?fieldManager=homeostat", MERGE, json!({"metadata": {"finalizers": []}})),
        ("gone", "GET", "/b", "", none.clone()),
        ("look before the end", "GET", "/a", "", none.clone()),
        ("delete", "DELETE", "/a", JSON, delete("UID")),
        ("its resources", "GET", "!/apis/GROUP/v1", "", none.clone()),
        ("its group", "GET", "!/apis/GROUP", "", none.clone()),
        ("no such group", "GET", "!/apis/nobody.example.org/v1", "", none.clone()),
        ("no such kind", "GET", "!/apis/GROUP/v1/namespaces/x/others", "", none.clone()),
    ]
}

fn steps(group: &str) -> Vec<Step> {
    [refused_creates(group), changes(group), applies(group), looks_and_ends()].concat()
}

/// An answer without what must differ: its code and its body (of a watch: a list of events).
async fn ask(client: &Client, base: &str, group: &str, step: &Step, uid: &mut String) -> Result<Value> {
    let (_, method, path, kind, body) = step;
    let uri = path.strip_prefix('!').map_or_else(|| format!("{base}{path}"), |path| path.replace("GROUP", group));
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().replace("\"UID\"", &json!(uid).to_string()).into_bytes() };
    let mut request = Request::builder().method(*method).uri(uri).header("accept", "application/json");
    if !kind.is_empty() {
        request = request.header("content-type", *kind);
    }
    let answer = tokio::time::timeout(PATIENCE, client.send(request.body(bytes.into())?)).await??;
    let code = answer.status().as_u16();
    let text = tokio::time::timeout(PATIENCE, to_bytes(Body::new(answer.into_body()), BODY_BYTES_MAX)).await??;
    let mut body: Value = match serde_json::from_slice(&text) {
        Ok(body) => body,
        Err(_) => {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| serde_json::from_slice(line).unwrap_or_else(|_| json!(String::from_utf8_lossy(line)))).collect()
        }
    };
    if let Some(found) = body["metadata"]["uid"].as_str() {
        uid.clear();
        uid.push_str(found);
    }
    if !uid.is_empty() {
        body = serde_json::from_str(&body.to_string().replace(uid.as_str(), "(uid)"))?;
    }
    plainly(&mut body);
    Ok(json!({"code": code, "body": body}))
}

/// Takes out times, versions and uids.
fn plainly(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // The face has no such hash; an empty token is left out of lists of built-in kinds.
            map.remove("storageVersionHash");
            if map.get("continue").is_some_and(|token| token == "") {
                map.remove("continue");
            }
            // By time; the two servers are not asked in the same second.
            if let Some(Value::Array(entries)) = map.get_mut("managedFields") {
                entries.sort_by_key(|entry| ["operation", "manager", "subresource"].map(|field| entry[field].to_string()));
                entries.iter_mut().for_each(|entry| drop(entry.as_object_mut().map(|entry| entry.remove("time"))));
            }
            // In no order.
            if let Some(Value::Array(causes)) = map.get_mut("causes") {
                causes.sort_by_key(Value::to_string);
            }
            if let Some(Value::Array(verbs)) = map.get_mut("verbs") {
                verbs.sort_by_key(Value::to_string);
            }
            for (key, value) in map.iter_mut() {
                let chance = ["uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "time"];
                if chance.contains(&key.as_str()) && value.is_string() {
                    *value = json!("(differs)");
                } else {
                    plainly(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(plainly),
        // The whole object stands in this text.
        Value::String(text) => {
            if let (Some((before, _)), Some((_, after))) = (text.split_once("Invalid value: \"{"), text.rsplit_once("}\": strict")) {
                *value = json!(format!("{before}Invalid value: (differs): strict{after}"));
            }
        }
        _ => {}
    }
}

/// Where two answers differ: paths with both values.
fn differences(path: &str, face: &Value, real: &Value, found: &mut Vec<String>) {
    match (face, real) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                differences(&format!("{path}.{key}"), one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            one.iter().zip(other).enumerate().for_each(|(at, (one, other))| differences(&format!("{path}[{at}]"), one, other, found));
        }
        _ if face == real => {}
        _ => found.push(format!("{path}: face {face}, real {real}")),
    }
}

#[tokio::test]
async fn the_face_answers_as_a_real_server() -> Result<()> {
    let Some((real, url)) = given().await? else {
        eprintln!("SKIPPED: no HOMEOSTAT_TEST_KUBECONFIG: there is no real server to compare the face with");
        return Ok(());
    };
    let (group, namespace) = (format!("{}.example.org", unique("twins")), unique("twins"));
    let server = plain(Settings::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut config = Config::new(format!("http://{}", listener.local_addr()?).parse()?);
    config.default_retry = false;
    let face = Client::try_from(config)?;
    drop(server.serve(listener));
    server.upsert(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let base = format!("/apis/{group}/v1/namespaces/{namespace}/notes");
    let define: Step = ("define", "POST", "", JSON, notes(&group));
    let mut waits = 0;
    for client in [&face, &real] {
        let made = ask(client, definitions, &group, &define, &mut String::new()).await?;
        assert_eq!(made["code"], 201, "{made}");
        let look: Step = ("look", "GET", "", "", Value::Null);
        loop {
            let answer = ask(client, &base, &group, &look, &mut String::new()).await?;
            if answer["code"] == 200 {
                break;
            }
            assert!(answer["code"] == 404 || answer["body"]["message"] == "storage is (re)initializing", "{answer}");
            waits += 1;
        }
    }
    let (mut wrong, mut same, mut uids) = (Vec::new(), 0, [String::new(), String::new()]);
    for step in steps(&group) {
        let one = ask(&face, &base, &group, &step, &mut uids[0]).await?;
        let other = ask(&real, &base, &group, &step, &mut uids[1]).await?;
        let mut found = Vec::new();
        differences("", &one, &other, &mut found);
        match KNOWN.iter().find(|(name, _)| *name == step.0) {
            Some((name, why)) => assert!(!found.is_empty(), "`{name}` is said to differ ({why}), and does not"),
            None if found.is_empty() => same += 1,
            None => wrong.push(format!("{}:\n  {}", step.0, found.join("\n  "))),
        }
    }
    ask(&real, definitions, &group, &("end", "DELETE", &*format!("/notes.{group}").leak(), "", Value::Null), &mut String::new()).await?;
    server.stop();
    eprintln!("{same} answers of the face are those of {url} ({waits} looks until it served), {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
