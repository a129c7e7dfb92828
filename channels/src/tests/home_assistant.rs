//! Home Assistant: the notification over REST, and presses over its WebSocket API.

use super::far_end::FarEnd;
use super::{eventually, keys, question};
use crate::book::{Answer, Way};
use crate::channel::{Channel, Press, Told};
use crate::home_assistant::{HomeAssistant, HomeAssistantConfig};
use futures_util::{SinkExt, StreamExt};
use homeostat_model::{FaultCode, Secret};
use reqwest::Url;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

fn config(url: &str, people: &[&str]) -> HomeAssistantConfig {
    HomeAssistantConfig {
        url: url.into(),
        token: Secret::Literal("a-long-lived-token".into()),
        service: "mobile_app_adas_phone".into(),
        people: people.iter().map(|id| (*id).to_owned()).collect(),
    }
}

#[tokio::test]
async fn the_notification_has_actions_and_its_end_replaces_it() {
    let far = FarEnd::script(vec![(200, vec![], "[]".into()), (200, vec![], "[]".into()), (401, vec![], "401: Unauthorized".into())]).await;
    let home = HomeAssistant::new("ada", &config(&far.url, &["user-1"]), None).unwrap();
    home.ask("", &question(), &keys()).await.unwrap();
    let seen = far.seen().remove(0);
    assert_eq!(seen.uri.path(), "/api/services/notify/mobile_app_adas_phone");
    assert_eq!(seen.headers["authorization"], "Bearer a-long-lived-token");
    let body = seen.json();
    assert_eq!(body["data"]["tag"], "homeostat_a12");
    let first = json!({ "action": format!("HOMEOSTAT_{}", keys().of(Answer::Yes).expose()), "title": "Yes" });
    assert_eq!(body["data"]["actions"][0], first);
    home.close("", &Default::default(), &question(), "Over.").await.unwrap();
    let end = far.seen().remove(1).json();
    assert!(end["data"]["tag"] == "homeostat_a12" && end["data"].get("actions").is_none(), "{end}");
    let miss = home.ask("", &question(), &keys()).await.unwrap_err();
    assert!(miss.fault.code == FaultCode::Denied && !format!("{miss:?}").contains("a-long-lived"), "{miss:?}");
    // Without people: links.
    let answers = Url::parse("https://loop.example").unwrap();
    let far = FarEnd::script(vec![(200, vec![], "[]".into())]).await;
    let home = HomeAssistant::new("ada", &config(&far.url, &[]), Some(&answers)).unwrap();
    home.ask("", &question(), &keys()).await.unwrap();
    let action = far.seen().remove(0).json()["data"]["actions"][0].clone();
    assert!(action["action"] == "URI" && action["uri"].as_str().unwrap().starts_with("https://loop.example/answer/abab"), "{action}");
    assert_eq!(home.way(""), Way::Link);
    assert!(Arc::new(home).listen(mpsc::channel(1).0).is_none());
}

/// One socket's life at Home Assistant: authentication, one subscription, then these events; afterwards it hangs up.
async fn serve(listener: &TcpListener, token: &str, events: Vec<Value>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    socket.send(Message::text(json!({ "type": "auth_required", "ha_version": "2026.11.0" }).to_string())).await.unwrap();
    let heard = |message: Message| serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap();
    let auth = heard(socket.next().await.unwrap().unwrap());
    if auth != json!({ "type": "auth", "access_token": token }) {
        let _ = socket.send(Message::text(json!({ "type": "auth_invalid", "message": "Invalid access token" }).to_string())).await;
        return;
    }
    socket.send(Message::text(json!({ "type": "auth_ok", "ha_version": "2026.11.0" }).to_string())).await.unwrap();
    let asked = heard(socket.next().await.unwrap().unwrap());
    assert_eq!(asked, json!({ "id": 1, "type": "subscribe_events", "event_type": "mobile_app_notification_action" }));
    socket.send(Message::text(json!({ "id": 1, "type": "result", "success": true, "result": null }).to_string())).await.unwrap();
    for event in events {
        socket.send(Message::text(json!({ "id": 1, "type": "event", "event": event }).to_string())).await.unwrap();
    }
    let _ = socket.close(None).await;
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
}

fn press(action: &str, user: Option<&str>) -> Value {
    json!({ "event_type": "mobile_app_notification_action", "data": { "action": action, "tag": "homeostat_a12" }, "origin": "REMOTE",
        "time_fired": "2026-11-20T23:35:00.000000+00:00", "context": { "id": "01", "parent_id": null, "user_id": user } })
}

#[tokio::test]
async fn presses_of_listed_users_come_over_the_socket_which_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut home = HomeAssistant::new("ada", &config(&url, &["user-1"]), None).unwrap();
    home.wait_first = Duration::from_millis(1);
    let home = Arc::new(home);
    let (presses, mut pressed) = mpsc::channel(4);
    let task = tokio::spawn(Arc::clone(&home).listen(presses).unwrap());
    // The token is refused first, as while Home Assistant starts.
    serve(&listener, "another", Vec::new()).await;
    let first = vec![
        press("HOMEOSTAT_stranger", Some("user-2")),
        press("HOMEOSTAT_nobody", None),
        press("SOUND_ALARM", Some("user-1")),
        press("HOMEOSTAT_token-1", Some("user-1")),
    ];
    let judge = async {
        let Press { way, token, by, reply } = pressed.recv().await.unwrap();
        reply.send(Told::Taken("Approved.".into())).unwrap();
        (way, token, by)
    };
    let (seen, ()) = tokio::join!(judge, serve(&listener, "a-long-lived-token", first));
    assert_eq!(seen, (home.way(""), "token-1".into(), Some("home_assistant:user-1".into())));
    eventually("the strangers are counted", || home.heard().strangers == 2).await;
    let judge = async {
        let press = pressed.recv().await.unwrap();
        press.reply.send(Told::Taken("x".into())).unwrap();
        press.token
    };
    let (seen, ()) = tokio::join!(judge, serve(&listener, "a-long-lived-token", vec![press("HOMEOSTAT_token-2", Some("user-1"))]));
    assert_eq!(seen, "token-2");
    task.abort();
    let heard = home.heard();
    assert!(heard.presses == 2 && heard.faults >= 2, "{heard:?}");
    assert!(!format!("{heard:?}").contains("a-long-lived-token"));
}
