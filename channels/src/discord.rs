//! Discord: a webhook's message with three links. A webhook cannot receive presses, so each link opens a page that asks again.
//!
//! Mentions are off, and links are wrapped so that no preview is fetched; previews could not answer anyway (the page orders by POST).
//! Deliberately absent: a bot, embeds, presses. An editor breaks this by allowing mentions: a reason may hold `@everyone`.

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

/// A message's length, in UTF-16 units.
const CONTENT_UNITS_MAX: usize = 2000;

/// How Discord asks. Needs `answer_url`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscordConfig {
    /// The webhook's URL, which is its password. Whoever reads its channel can answer.
    #[schemars(with = "String", extend("format" = "secret"))]
    pub webhook_url: Secret,
}

/// The channel.
pub struct Discord {
    label: String,
    config: DiscordConfig,
    answers: Url,
    client: Client,
}

impl Discord {
    /// Checks the configuration; connects nowhere, reads no secret.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, config: &DiscordConfig, answers: &Url) -> Result<Discord, String> {
        if let Secret::Literal(text) = &config.webhook_url {
            wire::secret_url(text).map_err(|why| format!("`webhook_url`: {why}"))?;
        }
        Ok(Discord { label: format!("discord:{name}"), config: config.clone(), answers: answers.clone(), client: wire::client()? })
    }

    /// Posts a message, or changes the one with this number.
    async fn put(&self, content: &str, known: Option<&Sent>) -> Result<Sent, Miss> {
        let doing = format!("post over {}", self.label);
        let mut mask = Mask::default();
        let url = take(&mut mask, &self.config.webhook_url).and_then(|text| wire::secret_url(&text));
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        let url = url.map_err(|why| call.miss(FaultCode::Denied, false, &why))?;
        let (method, url) = match known {
            Some(Sent(id)) => (Method::PATCH, wire::below(&url, &format!("/messages/{id}"))),
            None => {
                let mut url = url;
                url.query_pairs_mut().append_pair("wait", "true");
                (Method::POST, url)
            }
        };
        let body: Value = json!({ "content": content, "allowed_mentions": { "parse": [] } });
        let reply = call.send(method, url, None, &body, SEND_WITHIN).await?;
        let id = reply.json["id"].as_str().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
        match id {
            Some(id) if reply.is_success() => Ok(Sent(id.chars().take(32).collect())),
            None if reply.is_success() => Err(call.miss(FaultCode::Malformed, false, "no `id` came back: is this a webhook of Discord?")),
            _ => Err(call.refusal(&reply, reply.json["message"].as_str().unwrap_or(&reply.text))),
        }
    }
}

/// Takes the meaning from Discord's markup.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if "\\*_~`|>[]()#@<".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

impl Channel for Discord {
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
        let link = |answer: Answer| {
            let url = wire::below(&self.answers, &format!("/answer/{}", keys.of(answer).expose()));
            format!("{}: <{url}>", answer.label())
        };
        let links = Answer::ALL.map(link).join("\n");
        let room = CONTENT_UNITS_MAX.saturating_sub(links.encode_utf16().count() + 1);
        let content = format!("{}\n{links}", cut(&escaped(&question.text()), room, char::len_utf16));
        Box::pin(async move { self.put(&content, None).await })
    }

    fn close<'a>(&'a self, _recipient: &'a str, sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>> {
        let content = cut(&escaped(&question.ended(how)), CONTENT_UNITS_MAX, char::len_utf16);
        Box::pin(async move { self.put(&content, Some(sent)).await.map(drop) })
    }

    fn listen(self: Arc<Self>, _presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn heard(&self) -> Heard {
        Heard::default()
    }
}
