use super::*;
use crate::conformance::{HangsUp, SECRET, Seen, Server, Subject, action_with, answer, conforms, corpus, ledger, subject};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homeostat_model::Args;
use serde_json::{Value, json};
use std::sync::Mutex;

const VALUES: &str = "# web\nreplicas: 2 # few\n";

#[derive(Default)]
struct World {
    files: BTreeMap<String, String>,
    pulls: Vec<Value>,
}

/// A forge with one repository `o/r` of one file, that knows both dialects. `fault` may answer instead.
struct Face {
    server: Server,
    world: Arc<Mutex<World>>,
}

fn branch_of(path: &str) -> String {
    path.split_once("heads/").or_else(|| path.split_once("branches/")).map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

fn query(seen: &Seen, name: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://x{}", seen.uri)).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Face {
    async fn start(fault: impl Fn(&Seen) -> Option<Response> + Clone + Send + Sync + 'static) -> Face {
        let world = Arc::new(Mutex::new(World::default()));
        world.lock().unwrap().files.insert("main".into(), VALUES.into());
        let kept = world.clone();
        let server = Server::start(move |_, seen| fault(seen).unwrap_or_else(|| respond(&mut kept.lock().unwrap(), seen))).await;
        Face { server, world }
    }

    fn writes(&self) -> Vec<String> {
        let writes = self.server.seen().into_iter().filter(|seen| seen.method != "GET");
        writes.map(|seen| format!("{} {}", seen.method, seen.uri)).collect()
    }

    fn actuator(&self, forge: &str) -> (tempfile::TempDir, PullRequest) {
        let (dir, ledger) = ledger();
        (dir, PullRequest::new(&config(&self.server.url, forge), ledger, "j1").unwrap())
    }
}

fn respond(world: &mut World, seen: &Seen) -> Response {
    let path = seen.uri.path().strip_prefix("/repos/o/r").unwrap_or("?");
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or(Value::Null);
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let unpacked = |packed: &Value| String::from_utf8(STANDARD.decode(packed.as_str().unwrap()).unwrap()).unwrap();
    let method = seen.method.as_str();
    match (method, path) {
        ("GET", "") => answer(200, json!({ "permissions": { "push": true } })),
        ("POST", "/git/refs") => {
            let branch = branch_of(&text("ref"));
            if world.files.contains_key(&branch) {
                return answer(422, json!({ "message": "Reference already exists" }));
            }
            world.files.insert(branch, VALUES.into());
            answer(201, json!({}))
        }
        ("PUT", "/contents/apps/web/values.yaml") => {
            if text("sha") != "blob1" {
                return answer(409, json!({ "message": "does not match" }));
            }
            world.files.insert(text("branch"), unpacked(&body["content"]));
            answer(200, json!({}))
        }
        ("POST", "/contents") => {
            if world.files.contains_key(&text("new_branch")) {
                return answer(422, json!({ "message": "branch already exists" }));
            }
            world.files.insert(text("new_branch"), unpacked(&body["files"][0]["content"]));
            answer(201, json!({}))
        }
        ("GET", "/contents/apps/web/values.yaml") => match world.files.get(&query(seen, "ref")) {
            Some(text) => answer(200, json!({ "sha": "blob1", "encoding": "base64", "content": format!("{}\n", STANDARD.encode(text)) })),
            None => answer(404, json!({})),
        },
        ("GET", "/pulls") => answer(200, json!(world.pulls)),
        ("POST", "/pulls") => {
            if !world.pulls.is_empty() {
                let status = if seen.header("authorization").starts_with("token ") { 409 } else { 422 };
                return answer(status, json!({ "message": "A pull request already exists" }));
            }
            let pull = json!({ "number": 7, "state": "open", "merged": false, "html_url": "http://forge/7", "title": text("title"),
                "body": text("body"), "head": { "ref": text("head"), "sha": "c0ffee" } });
            world.pulls.push(pull.clone());
            answer(201, pull)
        }
        ("GET", "/pulls/7") => answer(200, world.pulls[0].clone()),
        ("PATCH", "/pulls/7") => {
            world.pulls[0]["state"] = body["state"].clone();
            answer(200, world.pulls[0].clone())
        }
        ("GET", _) => match world.files.get(&branch_of(path)) {
            Some(_) => answer(200, json!({ "object": { "sha": "base1" }, "commit": { "id": "base1" } })),
            None => answer(404, json!({})),
        },
        ("DELETE", _) => answer(if world.files.remove(&branch_of(path)).is_some() { 204 } else { 404 }, json!({})),
        _ => answer(405, json!({})),
    }
}

fn config(url: &str, forge: &str) -> PullRequestConfig {
    serde_json::from_value(json!({ "repositories": { "lab": {
        "forge": forge, "url": url, "repository": "o/r", "token": SECRET, "paths": ["apps/web"] } } }))
    .unwrap()
}

fn change(id: u64, pairs: &[(&str, &str)]) -> Action {
    let mut args: Args = pairs.iter().map(|(name, value)| ((*name).to_owned(), Arg::from(*value))).collect();
    args.entry("path".into()).or_insert(Arg::from("apps/web/values.yaml"));
    action_with(id, "pull-request.open", "repository/lab", args)
}

fn three(id: u64) -> Action {
    change(id, &[("pointer", "/replicas"), ("value", "3"), ("from", "2")])
}

#[tokio::test]
async fn a_change_is_proposed_found_again_and_taken_back_on_both_forges() {
    for (forge, steps) in [
        ("github", vec!["POST /repos/o/r/git/refs", "PUT /repos/o/r/contents/apps/web/values.yaml", "POST /repos/o/r/pulls"]),
        ("forgejo", vec!["POST /repos/o/r/contents", "POST /repos/o/r/pulls"]),
    ] {
        let face = Face::start(|_| None).await;
        let (_dir, actuator) = face.actuator(forge);
        assert_eq!(actuator.ready().await, []);
        let outcome = actuator.apply(Time(0), &three(1)).await;
        let Outcome::Done(receipt) = &outcome else { panic!("{forge}: {outcome:?}") };
        assert_eq!(face.writes(), steps);
        {
            let world = face.world.lock().unwrap();
            assert_eq!(world.files["homeostat/j1-a1"], "# web\nreplicas: 3 # few\n");
            assert!(world.pulls[0]["body"].as_str().unwrap().contains("homeostat/decision: j1-a1"));
        }
        let seen = face.server.seen();
        assert!(seen.iter().all(|one| one.header("authorization").ends_with(SECRET) && !one.header("user-agent").is_empty()));
        assert!(seen[0].header("authorization").starts_with(if forge == "github" { "Bearer " } else { "token " }));
        assert!(!format!("{outcome:?}").contains("hunter2"));

        // Another life of the daemon that lost its receipts finds it by its branch.
        let (_dir2, again) = face.actuator(forge);
        let Outcome::Done(found) = again.apply(Time(0), &three(1)).await else { panic!() };
        assert_eq!((found.undo.get("number"), face.writes().len()), (Some(&Arg::Int(7)), steps.len()));

        let Outcome::Done(_) = actuator.revert(Time(0), &three(1), receipt).await else { panic!() };
        assert_eq!(face.world.lock().unwrap().pulls[0]["state"], "closed");
        assert!(!face.world.lock().unwrap().files.contains_key("homeostat/j1-a1"));
        let count = face.writes().len();
        actuator.revert(Time(0), &three(1), receipt).await;
        assert_eq!(face.writes().len(), count, "taken back once");
    }
}

#[tokio::test]
async fn what_was_merged_or_built_upon_is_not_taken_back() {
    for (field, value) in [("merged", json!(true)), ("head", json!({ "ref": "homeostat/j1-a1", "sha": "other" }))] {
        let face = Face::start(|_| None).await;
        let (_dir, actuator) = face.actuator("github");
        let Outcome::Done(receipt) = actuator.apply(Time(0), &three(1)).await else { panic!() };
        face.world.lock().unwrap().pulls[0][field] = value;
        let count = face.writes().len();
        let Outcome::NotDone(fault) = actuator.revert(Time(0), &three(1), &receipt).await else { panic!() };
        assert_eq!((fault.code, face.writes().len()), (FaultCode::Conflict, count));
    }
}

#[tokio::test]
async fn refusals_are_named_and_leave_no_branch() {
    for (status, body, code) in [
        (401, "no", FaultCode::Denied),
        (403, "API rate limit exceeded", FaultCode::Limit),
        (404, "no", FaultCode::NotFound),
        (422, "Validation Failed", FaultCode::Failed),
        (423, "archived", FaultCode::Failed),
    ] {
        let face = Face::start(move |seen| {
            (seen.method == "POST" && seen.uri.path().ends_with("/pulls")).then(|| answer(status, json!({ "message": body })))
        })
        .await;
        let (_dir, actuator) = face.actuator("forgejo");
        let outcome = actuator.apply(Time(0), &three(1)).await;
        let Outcome::NotDone(fault) = &outcome else { panic!("{status}: {outcome:?}") };
        assert_eq!(fault.code, code, "{status}");
        assert_eq!(face.world.lock().unwrap().files.len(), 1, "{status}: the branch stays");
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_a_stale_plan_is_refused() {
    // The pull request is made, but the answer is a gateway's.
    let face = Face::start(|_| None).await;
    let world = face.world.clone();
    let lossy = Server::start(move |_, seen| {
        let answered = respond(&mut world.lock().unwrap(), seen);
        if seen.method == "POST" && seen.uri.path().ends_with("/pulls") { answer(502, json!({})) } else { answered }
    })
    .await;
    let (_dir, ledger) = ledger();
    let actuator = PullRequest::new(&config(&lossy.url, "github"), ledger, "j1").unwrap();
    let outcome = actuator.apply(Time(0), &three(1)).await;
    assert!(matches!(&outcome, Outcome::Done(receipt) if receipt.undo["number"] == Arg::Int(7)), "{outcome:?}");
    assert_eq!(face.world.lock().unwrap().pulls.len(), 1);

    let face = Face::start(|_| None).await;
    let (_dir, actuator) = face.actuator("github");
    let stale = change(2, &[("pointer", "/replicas"), ("value", "3"), ("from", "9")]);
    let Outcome::NotDone(fault) = actuator.apply(Time(0), &stale).await else { panic!() };
    assert_eq!((fault.code, face.writes().len()), (FaultCode::Conflict, 0));
    let same = change(3, &[("content", VALUES)]);
    let Outcome::Done(receipt) = actuator.apply(Time(0), &same).await else { panic!() };
    assert!(receipt.undo.is_empty() && receipt.observed.contains("already"), "{receipt:?}");
    assert!(face.writes().is_empty());
    assert_eq!(actuator.revert(Time(0), &same, &receipt).await.name(), "not_done");
}

#[tokio::test]
async fn an_end_that_was_not_seen_is_probed_by_its_branch() {
    let face = Face::start(|seen| (seen.method == "POST").then(|| answer(500, json!({})))).await;
    let (_dir, actuator) = face.actuator("forgejo");
    assert_eq!(actuator.apply(Time(0), &three(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(1), &three(1)).await.name(), "unknown");
    assert_eq!(actuator.probe(Time(100_000), &three(1)).await.name(), "not_done");
    let pull = json!({ "number": 9, "state": "open", "head": { "ref": "homeostat/j1-a1", "sha": "c" } });
    face.world.lock().unwrap().pulls.push(pull);
    let Outcome::Done(receipt) = actuator.probe(Time(100_000), &three(1)).await else { panic!() };
    assert_eq!(receipt.undo["number"], Arg::Int(9));
    let mute = HangsUp::start().await;
    let (_dir, ledger) = ledger();
    let actuator = PullRequest::new(&config(&mute.url, "forgejo"), ledger, "j1").unwrap();
    assert_eq!(actuator.apply(Time(0), &three(1)).await.name(), "not_done", "only reads were lost");
    assert_eq!(actuator.ready().await.len(), 1);
}

#[test]
fn checks_guard_paths_and_previews_send_nothing() {
    let (_dir, ledger) = ledger();
    let actuator = PullRequest::new(&config("http://127.0.0.1:9", "github"), ledger.clone(), "j1").unwrap();
    for path in ["../x", "/apps/web/x", "apps/other/x", "apps/webby", "apps/web/.github/workflows/x.yml", "apps/web/.GIT/x", "apps//web"] {
        assert!(actuator.check(&change(1, &[("path", path), ("content", "x")])).is_err(), "{path}");
    }
    assert!(actuator.check(&change(1, &[("content", "x"), ("value", "y")])).is_err());
    assert!(actuator.check(&change(1, &[("pointer", "/x"), ("value", "a\nb")])).is_err());
    let planned = actuator.preview(&three(1)).unwrap();
    assert_eq!(planned.iter().filter(|step| step.writes).count(), 3);
    assert!(planned.iter().any(|step| step.body.as_ref().is_some_and(|body| body.contains("/replicas = 3"))), "{planned:?}");
    let mut bad = config("ftp://x", "forgejo");
    bad.repositories.get_mut("lab").unwrap().repository = "o".into();
    bad.repositories.get_mut("lab").unwrap().paths.clear();
    assert_eq!(PullRequest::new(&bad, ledger, "j1").err().unwrap().len(), 3);
}

#[test]
fn the_corpus_flow_is_ours() {
    let Some(dir) = corpus("acting/github") else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("pr-flow-synthetic.json")).unwrap()).unwrap();
    let one = config("http://127.0.0.1:9", "github").repositories["lab"].clone();
    let repository = Repository { config: &one };
    let change = Change { path: "apps/web/values.yaml".into(), text: "x".into(), sha: Some("b".into()), message: "m".into() };
    let mut ours = repository.commits("h", "s", &change);
    ours.push(repository.open("h", "t", "b"));
    for call in &ours {
        let line = format!("{} /{}", call.method, call.path.join("/").replace("o/r", "{o}/{r}"));
        let step = all["steps"].as_array().unwrap().iter().find_map(|step| step.get(&line)).unwrap_or_else(|| panic!("{line}"));
        let body: Value = serde_json::from_slice(&call.body.bytes()).unwrap();
        for name in body.as_object().unwrap().keys() {
            assert!(step.get(name).is_some(), "{line} has no {name}");
        }
    }
}

#[tokio::test]
async fn pull_request_conforms() {
    let face = Arc::new(Face::start(|_| None).await);
    let config = serde_json::to_value(config(&face.server.url, "forgejo")).unwrap();
    let mut config = json!({ "pull_request": config });
    config["pull_request"]["repositories"]["lab"]["token"] = json!(SECRET); // literals are not written
    let (dir, actuator) = subject(config, "pull-request");
    let counted = face.clone();
    conforms(Subject { actuator, good: three(1), count: Box::new(move || counted.writes().len()), once: 2, _keep: Box::new((dir, face)) })
        .await;
}
