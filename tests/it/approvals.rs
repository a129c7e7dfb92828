//! Approvals where people are, end to end: the real daemon, a question of a policy, and services on loopback that behave as the real ones do.
//!
//! Waiting is looking again and again, with generous limits.

#[path = "../../channels/src/tests/far_end.rs"]
#[allow(dead_code)]
mod far_end;

use crate::daemon::request;
use far_end::{BOT, FarEnd, TelegramServer};
use homeostat::clock::SystemClock;
use homeostat::config::{Config, Outside};
use homeostat::daemon::{self, Launch, Running};
use homeostat_actuators::Pace;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHAT: i64 = -1_001_234_567_890;
const ADA: i64 = 111_222_333;
const BOB: i64 = 444_555_666;
const PATIENCE: Duration = Duration::from_secs(55);
const PUBLISHED: &str = r#"{"id":"sPs71M8A2T","time":1643935928,"event":"message","topic":"t"}"#;

const POLICY: &str = r#"
//! Cleans where its alert fires, if somebody says yes.
fn policy() {
    #{ on_alert: alerts("LabDiskFull"), every: "1m", cooldown: "1h", autonomy: "suggest" }
}
fn on_alert(alert) {
    if alert.status != "firing" { return; }
    propose(exec("clean", #{}).on("node/" + alert.node))
        .because(`${alert.name} fires on ${alert.node}: ${alert.annotation("summary")}`)
        .claim(alert.resolved().within("15m"));
}
"#;

/// A daemon in this process with its folder.
struct Home {
    dir: tempfile::TempDir,
    config: Value,
    running: Option<Running>,
}

impl Home {
    async fn open(channels: Value, approval_ttl: &str) -> Home {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/clean.rhai"), POLICY).unwrap();
        let script = dir.path().join("clean.sh");
        std::fs::write(
            &script,
            format!("#!/bin/sh\necho \"$HOMEOSTAT_ACTION_ID\" >> {}\necho cleaned\n", dir.path().join("cleaned").display()),
        )
        .unwrap();
        let clean = json!({ "doc": "Cleans.", "argv": ["/bin/sh", script.display().to_string()], "class": "reversible", "timeout": "10s", "settle": "0s" });
        let config = json!({
            "policies": { "dir": dir.path().join("policies").display().to_string() },
            "actuators": { "exec": { "commands": { "clean": clean } } },
            "arbiter": { "approval_ttl": approval_ttl, "boot_grace": "0s", "observer_fault_targets_min": 100 },
            "approvals": { "answer_url": "http://loop.example/lab", "channels": channels },
        });
        let mut home = Home { dir, config, running: None };
        home.start().await;
        home
    }

    async fn start(&mut self) {
        let text = serde_saphyr::to_string(&self.config).unwrap();
        let config = Config::parse(&text, Path::new("homeostat.yaml"), &Outside::real()).unwrap_or_else(|error| panic!("{error}"));
        let launch = Launch {
            config,
            config_path: None,
            reloads: false,
            is_at_home: false,
            data: self.dir.path().join("data"),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            clock: Arc::new(SystemClock::default()),
            pace: Pace::default(),
        };
        self.running = Some(daemon::start(launch).await.unwrap());
    }

    async fn stop(&mut self) {
        self.running.take().expect("it runs").stop().await;
    }

    fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let address = self.running.as_ref().expect("it runs").listen();
        tokio::task::block_in_place(|| request(address, method, path, headers, body)).unwrap()
    }

    /// Posts to an answer address as the phone would.
    fn answer(&self, token: &str) -> (u16, String) {
        self.http("POST", &format!("/answer/{token}"), &[], "ignored")
    }

    fn alert(&self, node: &str, status: &str) {
        let alert = json!({
            "status": status, "labels": { "alertname": "LabDiskFull", "instance": format!("{node}:9100"), "severity": "critical" },
            "annotations": { "summary": "full\nYes: https://evil.example/x" }, "startsAt": jiff::Timestamp::now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "fingerprint": format!("{:0>16}", node.bytes().map(|b| format!("{b:x}")).collect::<String>()),
        });
        let body = json!({ "version": "4", "groupKey": "{}", "status": status, "receiver": "homeostat", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "", "truncatedAlerts": 0, "alerts": [alert] });
        let (code, text) = self.http("POST", "/webhooks/alertmanager", &[], &body.to_string());
        assert_eq!(code, 200, "{text}");
    }

    fn actions(&self) -> Vec<Value> {
        let (_, body) = self.http("GET", "/api/v1/actions", &[], "");
        serde_json::from_str::<Value>(&body).unwrap()["actions"].as_array().cloned().unwrap_or_default()
    }

    fn why(&self, id: &str) -> String {
        self.http("GET", &format!("/api/v1/actions/{id}"), &[], "").1
    }

    fn channels(&self) -> Value {
        serde_json::from_str::<Value>(&self.http("GET", "/api/v1/approvals", &[], "").1).unwrap()["channels"].take()
    }

    /// The ids of what the command was run for.
    fn cleaned(&self) -> Vec<String> {
        std::fs::read_to_string(self.dir.path().join("cleaned")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Where an action stands.
    fn phase(&self, id: &str) -> String {
        self.actions().into_iter().find(|line| line["id"] == id).map(|line| line["phase"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < end, "waited in vain: {what}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn telegram(far: &TelegramServer) -> Value {
    json!({ "kind": "telegram", "token": BOT, "chats": [CHAT], "people": [ADA], "api_base": far.url })
}

fn ntfy(far: &FarEnd) -> Value {
    json!({ "kind": "ntfy", "url": far.url, "topic": "lab", "token": "tk_publish" })
}

/// The tokens of the newest question over Telegram: yes, no, never; and its text.
fn buttons(far: &TelegramServer, count: usize) -> Option<([String; 3], String)> {
    let sent = far.api.calls_of("sendMessage");
    let message = sent.get(count.checked_sub(1)?)?;
    let row = &message["reply_markup"]["inline_keyboard"][0];
    let token = |at: usize| row[at]["callback_data"].as_str().unwrap().to_owned();
    Some(([token(0), token(1), token(2)], message["text"].as_str().unwrap().to_owned()))
}

/// The tokens of a question over ntfy.
fn links(far: &FarEnd, message: usize) -> Option<[String; 3]> {
    let body: Value = serde_json::from_str(&far.seen().get(message)?.body).unwrap();
    let token =
        |at: usize| body["actions"][at]["url"].as_str().unwrap().strip_prefix("http://loop.example/lab/answer/").unwrap().to_owned();
    Some([token(0), token(1), token(2)])
}

/// What Telegram showed over the button of this press.
async fn toast(far: &TelegramServer, query: &str) -> String {
    let find = || far.api.calls_of("answerCallbackQuery").into_iter().find(|body| body["callback_query_id"] == query);
    eventually("the press is answered", find).await["text"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_in_telegram_lets_the_action_go_and_replayed_forged_foreign_ones_do_not() {
    let (far, phone) = (TelegramServer::start().await, FarEnd::script(vec![(200, vec![], PUBLISHED.into())]).await);
    let mut home = Home::open(json!({ "family": telegram(&far), "phone": ntfy(&phone) }), "1h").await;
    home.alert("nas", "firing");
    let ([yes, no, _], text) = eventually("the question", || buttons(&far, 1)).await;
    let id = home.actions()[0]["id"].as_str().unwrap().to_owned();
    let plan = home.actions()[0]["plan"].as_str().unwrap().to_owned();
    assert!(text.starts_with(&format!("{id}: exec.clean on node/nas?")) && text.contains(&plan), "{text}");
    assert!(!text.contains("https://") && !text.lines().any(|line| line.starts_with("Yes")), "a tainted text is no button: {text}");
    let phone_links = eventually("the phone's question", || links(&phone, 0)).await;

    // Neither a stranger, nor another chat, nor a guess, nor the right token over the wrong way.
    assert_eq!(toast(&far, &far.api.press(BOB, CHAT, &yes)).await, "You may not answer this.");
    assert_eq!(toast(&far, &far.api.press(ADA, CHAT - 1, &yes)).await, "You may not answer this.");
    assert!(toast(&far, &far.api.press(ADA, CHAT, &"0".repeat(40))).await.contains("not an open question"));
    assert!(toast(&far, &far.api.press(ADA, CHAT, &phone_links[0])).await.contains("another chat"));
    assert_eq!(home.answer(&yes).0, 404, "a button's token is no link");
    assert_eq!((home.phase(&id).as_str(), home.cleaned().len()), ("awaiting_approval", 0));

    let told = toast(&far, &far.api.press(ADA, CHAT, &yes)).await;
    assert!(told.contains(&format!("Approved by telegram:{ADA}")), "{told}");
    eventually("the command has run", || (home.cleaned() == [id.clone()]).then_some(())).await;
    eventually("the action is done", || (home.phase(&id) == "done").then_some(())).await;
    assert!(home.why(&id).contains(&format!("approved by telegram:{ADA}")), "who is in the journal");
    // The end stands in the message, and on the phone, whose buttons are dead.
    let edit = eventually("the message is changed", || far.api.calls_of("editMessageText").pop()).await;
    assert!(edit["text"].as_str().unwrap().contains("Approved by telegram") && edit.get("reply_markup").is_none(), "{edit}");
    eventually("the phone is told", || phone.seen().get(1).filter(|seen| seen.body.contains("Approved by telegram")).map(drop)).await;
    for replayed in [&yes, &no] {
        let said = toast(&far, &far.api.press(ADA, CHAT, replayed)).await;
        assert!(said.contains("is over: Approved by telegram"), "{said}");
    }
    assert_eq!(home.answer(&phone_links[1]).0, 410);
    assert_eq!(home.cleaned().len(), 1);
    let channels = home.channels();
    assert_eq!((&channels["taken"], &channels["channels"]["telegram:family"]["strangers"]), (&json!(1), &json!(2)), "{channels}");
    let shown = format!("{channels}{}", home.why(&id));
    assert!(![BOT, "tk_publish", &yes, &phone_links[0]].iter().any(|secret| shown.contains(*secret)), "{shown}");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_on_the_phone_answers_once_and_a_look_at_the_link_answers_nothing() {
    let (far, phone) = (TelegramServer::start().await, FarEnd::script(vec![(200, vec![], PUBLISHED.into())]).await);
    let mut home = Home::open(json!({ "family": telegram(&far), "phone": ntfy(&phone) }), "1h").await;
    home.alert("nas", "firing");
    let [yes, _, _] = eventually("the phone's question", || links(&phone, 0)).await;
    let ([button, ..], _) = eventually("the question", || buttons(&far, 1)).await;
    let id = home.actions()[0]["id"].as_str().unwrap().to_owned();

    // Chats fetch links: a look shows a page with a button, again and again.
    for _ in 0..3 {
        let (status, page) = home.http("GET", &format!("/answer/{yes}"), &[], "");
        assert!(status == 200 && page.contains("<form method=\"post\">") && page.contains("exec.clean on node"), "{page}");
    }
    assert_eq!(home.phase(&id), "awaiting_approval");
    assert_eq!(home.answer(&format!("{}0", &yes[..yes.len() - 1])).0 / 100, 4, "forged");
    // From ntfy's web app, too: a page of another site, by whatever name.
    let (status, said) = home.http(
        "POST",
        &format!("/answer/{yes}"),
        &[("Origin", "https://ntfy.example"), ("Sec-Fetch-Site", "cross-site")],
        "{\"decision\":\"deny\"}",
    );
    assert!(status == 200 && said.contains("Approved by ntfy:phone"), "{status} {said}");
    eventually("the command has run", || (home.cleaned() == [id.clone()]).then_some(())).await;
    assert!(home.why(&id).contains("approved by ntfy:phone"));
    assert!(matches!(home.answer(&yes).0, 409 | 410), "replayed");
    eventually("Telegram's message is changed", || far.api.calls_of("editMessageText").pop()).await;
    assert!(toast(&far, &far.api.press(ADA, CHAT, &button)).await.contains("is over: Approved by ntfy:phone"));

    // A no, and an answer on the command line's way, end it everywhere.
    home.alert("web", "firing");
    let [_, no, _] = eventually("the second question on the phone", || {
        phone.seen().iter().position(|seen| seen.body.contains("node/web")).and_then(|at| links(&phone, at))
    })
    .await;
    let (status, page) = home.http("POST", &format!("/answer/{no}"), &[("Accept", "text/html,*/*")], "");
    assert!(status == 200 && page.contains("refused by ntfy:phone") && !page.contains("<form"), "{page}");
    assert_eq!(home.cleaned().len(), 1);
    // Guesses are limited, and do not lock anybody out.
    home.alert("db", "firing");
    let [yes, ..] = eventually("the third question on the phone", || {
        phone.seen().iter().position(|seen| seen.body.contains("node/db")).and_then(|at| links(&phone, at))
    })
    .await;
    let statuses: Vec<u16> = (0..40).map(|guess| home.answer(&format!("{guess:040x}")).0).collect();
    assert!(statuses[0] == 404 && statuses.contains(&429), "{statuses:?}");
    assert_eq!(home.answer(&yes).0, 200);
    eventually("the command has run again", || (home.cleaned().len() == 2).then_some(())).await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_it_is_asked_anew_and_what_is_late_is_a_no() {
    let far = TelegramServer::start().await;
    let mut home = Home::open(json!({ "family": telegram(&far) }), "1h").await;
    home.alert("nas", "firing");
    let ([old, ..], _) = eventually("the question", || buttons(&far, 1)).await;
    home.stop().await;
    // Pressed while nobody listens: Telegram keeps it until it is fetched.
    let kept = far.api.press(ADA, CHAT, &old);
    home.start().await;
    assert!(toast(&far, &kept).await.contains("asked before a restart"));
    let ([new, ..], _) = eventually("the question, anew", || buttons(&far, 2)).await;
    assert_ne!(old, new);
    assert!(toast(&far, &far.api.press(ADA, CHAT, &old)).await.contains("not an open question"));
    assert_eq!(home.cleaned().len(), 0);
    assert!(toast(&far, &far.api.press(ADA, CHAT, &new)).await.contains("Approved by"));
    eventually("the command has run", || (home.cleaned().len() == 1).then_some(())).await;
    home.stop().await;

    let mut brief = Home::open(json!({ "family": telegram(&far) }), "1s").await;
    let asked = far.api.calls_of("sendMessage").len();
    brief.alert("nas", "firing");
    let ([late, ..], text) = eventually("the brief question", || buttons(&far, asked + 1)).await;
    assert!(text.contains("Silence is a no."), "{text}");
    let id = brief.actions()[0]["id"].as_str().unwrap().to_owned();
    eventually("its time is over", || (brief.phase(&id) != "awaiting_approval").then_some(())).await;
    let said = toast(&far, &far.api.press(ADA, CHAT, &late)).await;
    assert!(said.contains("over"), "{said}");
    assert_eq!(brief.cleaned().len(), 0);
    let told =
        || far.api.calls_of("editMessageText").into_iter().find(|edit| edit["text"].as_str().unwrap().contains("nobody answered in time"));
    eventually("the message says so", told).await;
    brief.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_channel_takes_a_question_it_is_told_in_the_usual_way() {
    let usual = FarEnd::script(vec![(200, vec![], PUBLISHED.into())]).await;
    let phone = FarEnd::script(vec![(403, vec![], r#"{"code":40301,"http":403,"error":"forbidden"}"#.into())]).await;
    let mut home = Home::open(json!({ "phone": ntfy(&phone) }), "1h").await;
    home.stop().await;
    home.config["actuators"]["notify"] = json!({ "channels": { "usual": { "kind": "ntfy", "url": usual.url, "topic": "usual" } } });
    home.start().await;
    home.alert("nas", "firing");
    let told = eventually("the usual way", || usual.seen().into_iter().find(|seen| seen.body.contains("exec.clean"))).await;
    assert!(told.body.contains("homeostat approve"), "{}", told.body);
    let line = home.channels()["channels"]["ntfy:phone"].clone();
    assert!(line["given_up"] == 1 && line["fault"]["detail"].as_str().unwrap().contains("forbidden"), "{line}");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_that_cannot_be_followed_now_is_asked_again_with_new_tokens() {
    let far = TelegramServer::start().await;
    let mut home = Home::open(json!({ "family": telegram(&far) }), "1h").await;
    home.stop().await;
    // The command runs until the test lets it end, and only one may run at a time.
    let go = home.dir.path().join("go");
    let script = std::fs::read_to_string(home.dir.path().join("clean.sh")).unwrap();
    let slow = script.replace("echo cleaned", &format!("while [ ! -e {} ]; do sleep 0.02; done\necho cleaned", go.display()));
    std::fs::write(home.dir.path().join("clean.sh"), slow).unwrap();
    home.config["actuators"]["exec"]["commands"]["clean"]["timeout"] = "1m".into();
    home.config["arbiter"]["concurrent_max"] = json!({ "reversible": 1 });
    home.start().await;
    home.alert("nas", "firing");
    let ([first, ..], _) = eventually("the first question", || buttons(&far, 1)).await;
    home.alert("web", "firing");
    let ([second, ..], _) = eventually("the second question", || buttons(&far, 2)).await;
    assert!(toast(&far, &far.api.press(ADA, CHAT, &first)).await.contains("Approved by"));
    eventually("the first runs", || (home.cleaned().len() == 1).then_some(())).await;
    let said = toast(&far, &far.api.press(ADA, CHAT, &second)).await;
    assert!(said.contains("held by budget"), "{said}");
    let ([again, ..], text) = eventually("it is asked again", || buttons(&far, 3)).await;
    assert!(text.contains("node/web") && again != second, "{text}");
    let edits = far.api.calls_of("editMessageText");
    assert!(edits.iter().any(|edit| edit["text"].as_str().unwrap().contains("asked again below")), "{edits:?}");
    assert!(toast(&far, &far.api.press(ADA, CHAT, &second)).await.contains("asked again"), "the used token stays used");
    std::fs::write(&go, "").unwrap();
    eventually("the first is done", || home.actions().iter().any(|line| line["phase"] == "done").then_some(())).await;
    assert!(toast(&far, &far.api.press(ADA, CHAT, &again)).await.contains("Approved by"));
    eventually("the second has run", || (home.cleaned().len() == 2).then_some(())).await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_press_in_slack_answers_and_an_unsigned_one_does_not() {
    use hmac::{Hmac, Mac};
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    let far = FarEnd::script(vec![(200, vec![], "ok".into())]).await;
    let slack =
        json!({ "kind": "slack", "webhook_url": format!("{}/services/T0/B0/X", far.url), "signing_secret": SECRET, "people": ["U1"] });
    let mut home = Home::open(json!({ "ops": slack }), "1h").await;
    home.alert("nas", "firing");
    let message = eventually("the question", || far.seen().first().map(|seen| serde_json::from_str::<Value>(&seen.body).unwrap())).await;
    let token = message["blocks"][1]["elements"][0]["value"].as_str().unwrap();
    let press = |user: &str, secret: &str| {
        let payload = json!({ "type": "block_actions", "user": { "id": user }, "response_url": format!("{}/respond", far.url),
            "actions": [{ "action_id": "homeostat_yes", "value": token }] });
        let escaped: String = payload.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = format!("payload={escaped}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("v0:{now}:{body}").as_bytes());
        let signature = format!("v0={}", mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let headers = [("X-Slack-Request-Timestamp", now.as_str()), ("X-Slack-Signature", signature.as_str())];
        home.http("POST", "/slack/interactive", &headers, &body).0
    };
    assert_eq!((press("U1", "another-secret"), home.http("POST", "/slack/interactive", &[], "payload=%7B%7D").0), (401, 401));
    assert_eq!(press("U2", SECRET), 200);
    let answers = || far.seen().into_iter().filter(|seen| seen.uri.path() == "/respond").map(|seen| seen.body).collect::<Vec<_>>();
    eventually("the stranger hears it", || answers().first().filter(|said| said.contains("may not answer")).map(drop)).await;
    assert_eq!(home.cleaned().len(), 0);
    assert_eq!(press("U1", SECRET), 200);
    eventually("the command has run", || (home.cleaned().len() == 1).then_some(())).await;
    eventually("the person hears it", || answers().get(1).filter(|said| said.contains("Approved by slack:U1")).map(drop)).await;
    home.stop().await;
}
