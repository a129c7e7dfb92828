//! Home Assistant: an actionable notification of its phone app.
//!
//! With `people`, the presses come back as events over its WebSocket API: no port of ours needs to be open, no automation needs to be
//! written, and the event's context says which user of Home Assistant pressed. Without, each action opens an answer address in the
//! phone's browser. Deliberately absent: an answer by an automation that calls us (it would need a token that lasts). An editor breaks
//! this by taking an event without its `context.user_id`: whoever may fire events could then answer in anybody's name.

use crate::book::{Answer, Keys, Way};
use crate::channel::{Channel, Ears, Heard, Miss, Press, Sent, Told, hand_on};
use crate::question::{Question, cut};
use crate::secret::take;
use crate::wire::{self, Call, SEND_WITHIN};
use futures_util::{SinkExt, StreamExt};
use homeostat_model::Mask;
use homeostat_model::{BoxFuture, FaultCode, Secret};
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// What every action of ours begins with.
const PREFIX: &str = "HOMEOSTAT_";
/// The event of a press.
const EVENT: &str = "mobile_app_notification_action";
/// A notification's characters.
const TEXT_CHARS_MAX: usize = 2000;
/// People of one channel.
const PEOPLE_MAX: usize = 32;
/// Bytes of one message over the socket.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// The other side is asked for a sign of life after this quiet time, and is gone after twice as much.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// The waits before the socket is opened again.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_LONGEST: Duration = Duration::from_secs(60);

/// How Home Assistant asks. Without `people` it needs `answer_url`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeAssistantConfig {
    /// Its root, `http://homeassistant.lan:8123`.
    pub url: String,
    /// A long-lived access token; of an administrator if `people` is given (only they may listen to events).
    #[schemars(with = "String", extend("format" = "secret"))]
    pub token: Secret,
    /// The notify service of the phone, `mobile_app_adas_phone`.
    pub service: String,
    /// The users of Home Assistant who may answer, by user id. With it presses come back over the WebSocket API; without, each action
    /// opens a page under `answer_url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
}

/// The channel.
pub struct HomeAssistant {
    label: String,
    config: HomeAssistantConfig,
    root: Url,
    answers: Option<Url>,
    client: Client,
    ears: Ears,
    pub(crate) wait_first: Duration,
}

type Socket = WebSocketStream<reqwest::Upgraded>;

impl HomeAssistant {
    /// Checks the configuration; connects nowhere, reads no secret.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, config: &HomeAssistantConfig, answers: Option<&Url>) -> Result<HomeAssistant, String> {
        let root = wire::root(&config.url).map_err(|why| format!("`url` {why}"))?;
        let service = &config.service;
        if service.is_empty() || service.len() > 128 || !service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err("`service` is none: expected the part behind `notify.`, such as `mobile_app_adas_phone`".into());
        }
        if config.people.len() > PEOPLE_MAX || config.people.iter().any(String::is_empty) {
            return Err(format!("`people` holds at most {PEOPLE_MAX} user ids, none of them empty"));
        }
        Ok(HomeAssistant {
            label: format!("home_assistant:{name}"),
            config: config.clone(),
            root,
            answers: answers.cloned(),
            client: wire::client()?,
            ears: Ears::default(),
            wait_first: WAIT_FIRST,
        })
    }

    async fn notify(&self, body: &Value) -> Result<Sent, Miss> {
        let doing = format!("notify over {}", self.label);
        let mut mask = Mask::default();
        let token = take(&mut mask, &self.config.token);
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        let token = token.map_err(|why| call.miss(FaultCode::Denied, false, &why))?;
        let url = wire::below(&self.root, &format!("/api/services/notify/{}", self.config.service));
        let reply = call.send(Method::POST, url, Some(&token), body, SEND_WITHIN).await?;
        // 200 with a list of changed states, which is empty for a notification.
        if reply.is_success() && reply.json.is_array() {
            return Ok(Sent::default());
        }
        Err(call.refusal(&reply, reply.json["message"].as_str().unwrap_or(&reply.text)))
    }

    fn action(&self, keys: &Keys, answer: Answer) -> Value {
        let token = keys.of(answer).expose();
        match &self.answers {
            Some(root) => {
                json!({ "action": "URI", "title": answer.label(), "uri": wire::below(root, &format!("/answer/{token}")).as_str() })
            }
            None => json!({ "action": format!("{PREFIX}{token}"), "title": answer.label() }),
        }
    }

    /// Opens the socket, proves who we are, and asks for the events. The error's text holds no secret.
    async fn open(&self) -> Result<Socket, String> {
        let mut mask = Mask::default();
        let token = take(&mut mask, &self.config.token)?;
        let clean = |error: reqwest::Error| mask.quote(&error.without_url().to_string(), 200);
        let key = generate_key();
        let request =
            self.client.get(wire::below(&self.root, "/api/websocket")).header("connection", "upgrade").header("upgrade", "websocket");
        let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", &key);
        let response = request.send().await.map_err(clean)?;
        let accepted = response
            .headers()
            .get("sec-websocket-accept")
            .is_some_and(|given| given.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        if response.status().as_u16() != 101 || !accepted {
            return Err(format!("HTTP {}, expected 101: is this Home Assistant's root?", response.status().as_u16()));
        }
        let stream = response.upgrade().await.map_err(clean)?;
        let limits = WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await;
        expect(&mut socket, "auth_required").await?;
        say(&mut socket, &json!({ "type": "auth", "access_token": token })).await?;
        expect(&mut socket, "auth_ok").await.map_err(|why| format!("{why}: is the token refused?"))?;
        say(&mut socket, &json!({ "id": 1, "type": "subscribe_events", "event_type": EVENT })).await?;
        let result = hear(&mut socket).await?;
        if result["success"] != Value::Bool(true) {
            return Err(format!(
                "the events are not told ({}): the token must be an administrator's",
                mask.quote(&result["error"]["message"].to_string(), 100)
            ));
        }
        Ok(socket)
    }

    /// Listens until the socket ends.
    async fn attend(&self, mut socket: Socket, presses: &mpsc::Sender<Press>) -> String {
        let (mut number, mut asked) = (1u64, false);
        loop {
            match tokio::time::timeout(QUIET_MAX, hear(&mut socket)).await {
                Ok(Ok(message)) => {
                    asked = false;
                    if message["type"] == "event" && message["event"]["event_type"] == EVENT {
                        self.pressed(&message["event"], presses).await;
                    }
                }
                Ok(Err(why)) => return why,
                Err(_) if asked => return "no sign of life".into(),
                Err(_) => {
                    (number, asked) = (number + 1, true);
                    if let Err(why) = say(&mut socket, &json!({ "id": number, "type": "ping" })).await {
                        return why;
                    }
                }
            }
        }
    }

    async fn pressed(&self, event: &Value, presses: &mpsc::Sender<Press>) {
        // Presses on other people's notifications are none of ours.
        let Some(token) = event["data"]["action"].as_str().and_then(|action| action.strip_prefix(PREFIX)) else { return };
        let user = event["context"]["user_id"].as_str().unwrap_or_default();
        if !self.config.people.iter().any(|known| known == user) {
            self.ears.note(|heard| heard.strangers += 1);
            tracing::warn!(channel = self.label, "A press over Home Assistant of somebody who is not on the list was not taken.");
            return;
        }
        self.ears.note(|heard| heard.presses += 1);
        let told = hand_on(presses, self.way(""), token.to_owned(), format!("home_assistant:{user}")).await;
        if let Told::Refused(words) = told {
            let body = json!({ "title": "Homeostat", "message": cut(&words, TEXT_CHARS_MAX, |_| 1) });
            if let Err(miss) = self.notify(&body).await {
                tracing::debug!(fault = %miss.fault, "A press was not answered.");
            }
        }
    }

    async fn listen_for_ever(&self, presses: mpsc::Sender<Press>) {
        let mut wait = self.wait_first;
        loop {
            let why = match tokio::time::timeout(SEND_WITHIN, self.open()).await {
                Ok(Ok(socket)) => {
                    wait = self.wait_first;
                    self.ears.note(|heard| heard.fault = None);
                    self.attend(socket, &presses).await
                }
                Ok(Err(why)) => why,
                Err(_) => "no answer".into(),
            };
            tracing::warn!(channel = self.label, why, "Home Assistant does not tell of presses.");
            self.ears.note(|heard| {
                heard.faults += 1;
                heard.fault = Some(homeostat_model::Fault::new(FaultCode::Unreachable, format!("listen over {}", self.label), why));
            });
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_LONGEST);
        }
    }
}

async fn say(socket: &mut Socket, message: &Value) -> Result<(), String> {
    socket.send(Message::text(message.to_string())).await.map_err(|_| "the socket cannot be written".to_owned())
}

/// The next message that is JSON.
async fn hear(socket: &mut Socket) -> Result<Value, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(|_| "a message is no JSON".to_owned()),
            Some(Ok(Message::Close(_))) | None => return Err("the socket was closed".into()),
            Some(Ok(_)) => {}
            Some(Err(_)) => return Err("the socket broke".into()),
        }
    }
}

async fn expect(socket: &mut Socket, kind: &str) -> Result<(), String> {
    let message = hear(socket).await?;
    if message["type"] == kind { Ok(()) } else { Err(format!("expected `{kind}`")) }
}

impl Channel for HomeAssistant {
    fn label(&self) -> &str {
        &self.label
    }

    fn recipients(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn way(&self, recipient: &str) -> Way {
        match self.answers {
            Some(_) => Way::Link,
            None => Way::Chat { channel: self.label.clone(), chat: recipient.to_owned() },
        }
    }

    fn ask<'a>(&'a self, _recipient: &'a str, question: &'a Question, keys: &'a Keys) -> BoxFuture<'a, Result<Sent, Miss>> {
        // The tag lets the end replace the question on the phone.
        let body = json!({
            "title": question.headline(),
            "message": cut(&question.lines().join("\n"), TEXT_CHARS_MAX, |_| 1),
            "data": { "tag": format!("homeostat_{}", question.action), "actions": Answer::ALL.map(|answer| self.action(keys, answer)) },
        });
        Box::pin(async move { self.notify(&body).await })
    }

    fn close<'a>(&'a self, _recipient: &'a str, _sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>> {
        let body = json!({
            "title": question.headline(),
            "message": cut(how, TEXT_CHARS_MAX, |_| 1),
            "data": { "tag": format!("homeostat_{}", question.action) },
        });
        Box::pin(async move { self.notify(&body).await.map(drop) })
    }

    fn listen(self: Arc<Self>, presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>> {
        if self.config.people.is_empty() {
            return None;
        }
        Some(Box::pin(async move { self.listen_for_ever(presses).await }))
    }

    fn heard(&self) -> Heard {
        self.ears.heard()
    }
}
