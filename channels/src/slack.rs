//! Slack: a message over an incoming webhook; with links, or, where the app's signing secret is given, with buttons.
//!
//! Presses come in as a form at `/slack/interactive`, signed over the raw body (v0 HMAC-SHA256, at most 300 s old). Deliberately absent:
//! OAuth, the Web API, socket mode. An editor breaks this by parsing before the signature is checked, by comparing with `==`, or by
//! posting to an address that a payload names without holding it against the webhook's own host.

use crate::book::{Answer, Keys, Way};
use crate::channel::{Channel, Ears, Heard, Miss, Press, Sent, Told, hand_on};
use crate::question::{Question, cut};
use crate::secret::take;
use crate::wire::{self, Call, SEND_WITHIN};
use hmac::{Hmac, Mac};
use homeostat_model::Mask;
use homeostat_model::{BoxFuture, FaultCode, Secret};
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A section's characters (Slack takes 3,000).
const TEXT_CHARS_MAX: usize = 2900;
/// People of one channel.
const PEOPLE_MAX: usize = 64;
/// How old a signed press may be, in seconds.
const SKEW_SECONDS_MAX: i64 = 300;
/// The largest body of a press.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// How Slack asks. Needs `answer_url`, or an app with buttons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// The incoming webhook's URL, which is its password.
    #[schemars(with = "String", extend("format" = "secret"))]
    pub webhook_url: Secret,
    /// The app's signing secret. With it: buttons, whose presses Slack sends to `<answer_url>/slack/interactive` (the app's request URL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "secret"))]
    pub signing_secret: Option<Secret>,
    /// Who may press the buttons, by member id (`U…`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
}

/// The channel.
pub struct Slack {
    label: String,
    config: SlackConfig,
    answers: Option<Url>,
    client: Client,
    ears: Ears,
}

/// Why a press was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlackRefusal {
    /// No channel has a signing secret.
    Off,
    /// The signature is missing, wrong or too old.
    Signature,
    /// It is signed, and no press of one of our buttons.
    Malformed,
}

impl fmt::Display for SlackRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlackRefusal::Off => "no channel of `approvals` has a Slack signing secret",
            SlackRefusal::Signature => "the signature is missing, wrong, or older than 300 s",
            SlackRefusal::Malformed => "expected a form with `payload`: a press of a button of ours",
        })
    }
}

/// A signed press.
pub struct SlackPress {
    user: String,
    token: String,
    response_url: Option<Url>,
}

impl Slack {
    /// Checks the configuration; connects nowhere, reads no secret.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, config: &SlackConfig, answers: Option<&Url>) -> Result<Slack, String> {
        if config.signing_secret.is_some() == config.people.is_empty() || config.people.len() > PEOPLE_MAX {
            return Err(format!("`signing_secret` and `people` (1 to {PEOPLE_MAX} member ids) belong together"));
        }
        if let Secret::Literal(text) = &config.webhook_url {
            wire::secret_url(text).map_err(|why| format!("`webhook_url`: {why}"))?;
        }
        let (label, client) = (format!("slack:{name}"), wire::client()?);
        Ok(Slack { label, config: config.clone(), answers: answers.cloned(), client, ears: Ears::default() })
    }

    async fn post(&self, body: &Value) -> Result<Sent, Miss> {
        let doing = format!("post over {}", self.label);
        let mut mask = Mask::default();
        let url = take(&mut mask, &self.config.webhook_url).and_then(|text| wire::secret_url(&text));
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        let url = url.map_err(|why| call.miss(FaultCode::Denied, false, &why))?;
        let reply = call.send(Method::POST, url, None, body, SEND_WITHIN).await?;
        if reply.is_success() && reply.text.trim() == "ok" { Ok(Sent::default()) } else { Err(call.refusal(&reply, &reply.text)) }
    }

    fn is_interactive(&self) -> bool {
        self.config.signing_secret.is_some()
    }

    fn message(&self, question: &Question, keys: &Keys) -> Value {
        let section = |text: String| json!({ "type": "section", "text": { "type": "plain_text", "text": text, "emoji": false } });
        let mut blocks = vec![section(cut(&question.text(), TEXT_CHARS_MAX, |_| 1))];
        let button = |answer: Answer| {
            let mut button = json!({ "type": "button", "action_id": format!("homeostat_{}", answer.label().to_lowercase()),
                "text": { "type": "plain_text", "text": answer.label() } });
            match &self.answers {
                // A link button opens the page that asks again; Slack's own look at it orders nothing.
                Some(root) => button["url"] = wire::below(root, &format!("/answer/{}", keys.of(answer).expose())).as_str().into(),
                None => button["value"] = keys.of(answer).expose().into(),
            }
            button
        };
        blocks.push(json!({ "type": "actions", "elements": Answer::ALL.map(button) }));
        json!({ "text": escaped(&question.headline()), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
    }

    /// Reads a press: the signature first, then the form. `now_seconds` is the real time.
    ///
    /// # Errors
    /// See [`SlackRefusal`].
    pub fn read(&self, now_seconds: i64, timestamp: &str, signature: &str, body: &[u8]) -> Result<SlackPress, SlackRefusal> {
        let secret = self.config.signing_secret.as_ref().ok_or(SlackRefusal::Off)?;
        let secret = take(&mut Mask::default(), secret).map_err(|why| {
            tracing::error!(channel = self.label, why, "Slack's signing secret cannot be had.");
            SlackRefusal::Signature
        })?;
        if !is_signed(&secret, now_seconds, timestamp, signature, body) {
            self.ears.note(|heard| heard.strangers += 1);
            return Err(SlackRefusal::Signature);
        }
        self.parse(body).ok_or(SlackRefusal::Malformed)
    }

    fn parse(&self, body: &[u8]) -> Option<SlackPress> {
        let payload = form_value(body, "payload")?;
        let payload: Value = serde_json::from_str(&payload).ok()?;
        if payload["type"] != "block_actions" {
            return None;
        }
        let action = payload["actions"]
            .as_array()?
            .iter()
            .find(|action| action["action_id"].as_str().is_some_and(|id| id.starts_with("homeostat_")))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(SlackPress {
            user: text(&payload["user"]["id"])?,
            token: text(&action["value"])?,
            response_url: payload["response_url"].as_str().and_then(|url| Url::parse(url).ok()),
        })
    }

    /// Hands a press on, and tells the person in Slack what became of it.
    pub async fn pressed(&self, press: SlackPress, presses: &mpsc::Sender<Press>) -> Told {
        let told = if self.config.people.contains(&press.user) {
            self.ears.note(|heard| heard.presses += 1);
            hand_on(presses, self.way(""), press.token, format!("slack:{}", press.user)).await
        } else {
            self.ears.note(|heard| heard.strangers += 1);
            tracing::warn!(channel = self.label, "A press over Slack of somebody who is not on the list was not taken.");
            Told::Refused("You may not answer this.".into())
        };
        if let Some(url) = press.response_url {
            self.respond(url, &told).await;
        }
        told
    }

    async fn respond(&self, url: Url, told: &Told) {
        let doing = format!("respond over {}", self.label);
        let mut mask = Mask::default();
        let own = take(&mut mask, &self.config.webhook_url).and_then(|text| wire::secret_url(&text));
        if own.is_ok_and(|own| own.scheme() != url.scheme() || own.host_str() != url.host_str() || own.port() != url.port()) {
            tracing::warn!(channel = self.label, "Slack named another host for its answer; nothing was sent there.");
            return;
        }
        let body = json!({ "text": escaped(told.words()), "response_type": "ephemeral", "replace_original": false });
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        if let Err(miss) = call.send(Method::POST, url, None, &body, SEND_WITHIN).await {
            tracing::debug!(fault = %miss.fault, "A press over Slack was not answered.");
        }
    }
}

/// Slack's signature: `v0=` and the hexadecimal HMAC-SHA256 of `v0:<timestamp>:<raw body>`, not more than 300 s from now.
pub(crate) fn is_signed(secret: &str, now_seconds: i64, timestamp: &str, signature: &str, body: &[u8]) -> bool {
    let Ok(at) = timestamp.parse::<i64>() else { return false };
    if secret.is_empty() || now_seconds.saturating_sub(at).unsigned_abs() > SKEW_SECONDS_MAX.unsigned_abs() {
        return false;
    }
    let Some(given) = signature.strip_prefix("v0=").and_then(bytes_of_hex) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(format!("v0:{timestamp}:").as_bytes());
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// One field of a form.
fn form_value(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    // The query of an address has the same form, and a reader that is known to be right.
    let url = Url::parse(&format!("http://form/?{}", text.replace('#', "%23"))).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Escapes Slack's three control characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Channel for Slack {
    fn label(&self) -> &str {
        &self.label
    }

    fn recipients(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn way(&self, recipient: &str) -> Way {
        if self.is_interactive() { Way::Chat { channel: self.label.clone(), chat: recipient.to_owned() } } else { Way::Link }
    }

    fn ask<'a>(&'a self, _recipient: &'a str, question: &'a Question, keys: &'a Keys) -> BoxFuture<'a, Result<Sent, Miss>> {
        Box::pin(async move { self.post(&self.message(question, keys)).await })
    }

    /// A webhook cannot change its message, so a second one tells the end.
    fn close<'a>(&'a self, _recipient: &'a str, _sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>> {
        let text = cut(&format!("{} {how}", question.headline()), TEXT_CHARS_MAX, |_| 1);
        Box::pin(async move { self.post(&json!({ "text": escaped(&text), "unfurl_links": false })).await.map(drop) })
    }

    fn listen(self: Arc<Self>, _presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn heard(&self) -> Heard {
        self.ears.heard()
    }
}
