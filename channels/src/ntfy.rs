//! ntfy: a message with three actions, each a POST to our own answer address with a one-time token in its path.
//!
//! Whoever reads the topic holds the tokens: the topic must be protected, and a press says no more than "by this channel". Deliberately
//! absent: long-lived credentials in a message, listening (presses come in over HTTP), clicks that order something. An editor breaks
//! this by putting the publishing token into an action's headers: everybody on the topic would have it.

use crate::book::{Answer, Keys, Way};
use crate::channel::{Channel, Heard, Miss, Press, Sent};
use crate::question::{Question, cut};
use crate::secret::take;
use crate::wire::{self, Call, SEND_WITHIN};
use homeostat_model::Mask;
use homeostat_model::{BoxFuture, FaultCode, Secret};
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A message's and a title's bytes.
const TEXT_BYTES_MAX: usize = 4096;
const TITLE_BYTES_MAX: usize = 250;

/// How ntfy asks. Needs `answer_url`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtfyConfig {
    /// The server's root, e.g. `https://ntfy.sh`.
    pub url: String,
    /// The topic. Whoever reads it can answer: protect it, or keep it secret.
    #[schemars(with = "String", extend("format" = "secret"))]
    pub topic: Secret,
    /// An access token for publishing, `tk_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "secret"))]
    pub token: Option<Secret>,
    /// 1 to 5; 4 vibrates, 5 does not stop.
    #[serde(default = "priority_default")]
    pub priority: u8,
}

fn priority_default() -> u8 {
    4
}

/// The channel.
pub struct Ntfy {
    label: String,
    config: NtfyConfig,
    root: Url,
    answers: Url,
    client: Client,
}

impl Ntfy {
    /// Checks the configuration; connects nowhere, reads no secret. `answers` is the root of our answer addresses.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, config: &NtfyConfig, answers: &Url) -> Result<Ntfy, String> {
        let root = wire::root(&config.url).map_err(|why| format!("`url` {why}"))?;
        if !(1..=5).contains(&config.priority) {
            return Err(format!("`priority` is {}, expected 1 to 5", config.priority));
        }
        Ok(Ntfy { label: format!("ntfy:{name}"), config: config.clone(), root, answers: answers.clone(), client: wire::client()? })
    }

    async fn publish(&self, mut message: Value) -> Result<Sent, Miss> {
        let doing = format!("publish over {}", self.label);
        let mut mask = Mask::default();
        let topic = take(&mut mask, &self.config.topic);
        let token = self.config.token.as_ref().map(|token| take(&mut mask, token)).transpose();
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        let unknown = |why: String| call.miss(FaultCode::Denied, false, &why);
        message["topic"] = topic.map_err(unknown)?.into();
        let token = token.map_err(unknown)?;
        // JSON is published to the root, never to the topic's own address: there it would be the message's text.
        let reply = call.send(Method::POST, self.root.clone(), token.as_deref(), &message, SEND_WITHIN).await?;
        match reply.json["id"].as_str() {
            Some(id) if reply.is_success() => Ok(Sent(id.chars().take(64).collect())),
            None if reply.is_success() => Err(call.miss(FaultCode::Malformed, false, "no `id` came back: is this an ntfy server's root?")),
            _ => Err(call.refusal(&reply, reply.json["error"].as_str().unwrap_or(&reply.text))),
        }
    }
}

impl Channel for Ntfy {
    fn label(&self) -> &str {
        &self.label
    }

    fn recipients(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn way(&self, _recipient: &str) -> Way {
        Way::Link
    }

    fn ask<'a>(&'a self, _recipient: &'a str, question: &'a Question, keys: &'a Keys) -> BoxFuture<'a, Result<Sent, Miss>> {
        let action = |answer: Answer| {
            let url = wire::below(&self.answers, &format!("/answer/{}", keys.of(answer).expose()));
            json!({ "action": "http", "label": answer.label(), "url": url.as_str(), "method": "POST", "clear": true })
        };
        let message = json!({
            "title": cut(&question.headline(), TITLE_BYTES_MAX, char::len_utf8),
            "message": cut(&question.lines().join("\n"), TEXT_BYTES_MAX, char::len_utf8),
            "priority": self.config.priority,
            "actions": Answer::ALL.map(action),
        });
        Box::pin(self.publish(message))
    }

    fn close<'a>(&'a self, _recipient: &'a str, _sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>> {
        let message = json!({
            "title": cut(&question.headline(), TITLE_BYTES_MAX, char::len_utf8),
            "message": cut(how, TEXT_BYTES_MAX, char::len_utf8),
            "priority": 2,
        });
        Box::pin(async move { self.publish(message).await.map(drop) })
    }

    fn listen(self: Arc<Self>, _presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn heard(&self) -> Heard {
        Heard::default()
    }
}
