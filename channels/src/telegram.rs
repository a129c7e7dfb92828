//! Telegram: a message with three buttons, and the presses by long polling, so that no port needs to be open.
//!
//! A press counts if the person (`from.id`, never the name) and the chat are both on the list; it is answered at once, so that the button
//! does not spin. The offset moves past an update before it is looked at: a press that stops us is not read again, and one from
//! before a restart has a token that the book does not know. Deliberately absent: commands in words, webhooks, markup. An editor
//! breaks this by keeping the offset over a restart as if it made presses safe (tokens do), or by showing an address: it holds the
//! bot's token.

use crate::book::{Answer, Keys, Way};
use crate::channel::{Channel, Ears, Heard, Miss, Press, Sent, hand_on};
use crate::question::{Question, cut};
use crate::secret::take;
use crate::wire::{self, Call, SEND_WITHIN};
use homeostat_model::Mask;
use homeostat_model::{BoxFuture, Fault, FaultCode, Secret};
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A message's length, in UTF-16 units.
const TEXT_UNITS_MAX: usize = 4096;
/// The words over a pressed button.
const TOAST_CHARS_MAX: usize = 190;
/// Chats and people of one channel.
const LIST_MAX: usize = 32;
/// How long the other side holds a poll open, in seconds.
const POLL_SECONDS: u64 = 50;
/// How much longer we wait for its answer.
const POLL_GRACE: Duration = Duration::from_secs(15);

/// How a Telegram bot asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramConfig {
    /// The bot's token, from @BotFather. One bot serves one Homeostat: two pollers take each other's presses.
    #[schemars(with = "String", extend("format" = "secret"))]
    pub token: Secret,
    /// The chats that are asked; groups have negative numbers.
    pub chats: Vec<i64>,
    /// The people who may answer, by `from.id`. Names can be changed, numbers cannot.
    pub people: Vec<i64>,
    /// Another API server.
    #[serde(default = "api_base_default")]
    pub api_base: String,
}

fn api_base_default() -> String {
    "https://api.telegram.org".into()
}

/// How long to wait after what went wrong while polling.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Waits {
    /// The first wait; it doubles.
    pub first: Duration,
    /// The longest; also the wait where another poller is at work or the token is refused.
    pub longest: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// The channel.
pub struct Telegram {
    label: String,
    config: TelegramConfig,
    base: Url,
    client: Client,
    ears: Ears,
    pub(crate) waits: Waits,
}

/// What a poll brings, as far as it is read.
#[derive(Deserialize)]
struct Update {
    update_id: i64,
    callback_query: Option<CallbackQuery>,
}

#[derive(Deserialize)]
struct CallbackQuery {
    id: String,
    from: From,
    message: Option<Message>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct From {
    id: i64,
    #[serde(default)]
    is_bot: bool,
}

#[derive(Deserialize)]
struct Message {
    chat: Chat,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

impl Telegram {
    /// Checks the configuration; connects nowhere, reads no secret.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, config: &TelegramConfig) -> Result<Telegram, String> {
        let base = wire::root(&config.api_base).map_err(|why| format!("`api_base` {why}"))?;
        for (list, what) in [(&config.chats, "chats"), (&config.people, "people")] {
            if list.is_empty() || list.len() > LIST_MAX {
                return Err(format!("`{what}` has {} numbers, expected 1 to {LIST_MAX}", list.len()));
            }
        }
        if let Some(id) = config.people.iter().find(|id| **id <= 0) {
            return Err(format!("`people` holds {id}, which is a group: people have positive numbers"));
        }
        let (label, client) = (format!("telegram:{name}"), wire::client()?);
        Ok(Telegram { label, config: config.clone(), base, client, ears: Ears::default(), waits: Waits::default() })
    }

    /// Calls one method; the result as Telegram gives it.
    async fn call(&self, method: &str, body: &Value, within: Duration) -> Result<Value, Miss> {
        let doing = format!("{method} over {}", self.label);
        let mut mask = Mask::default();
        let token = take(&mut mask, &self.config.token);
        let call = Call { client: &self.client, doing: &doing, mask: &mask };
        let token = token.map_err(|why| call.miss(FaultCode::Denied, false, &why))?;
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')) {
            return Err(call.miss(FaultCode::Denied, false, "the token is none: expected `<number>:<letters>`"));
        }
        let url = wire::below(&self.base, &format!("/bot{token}/{method}"));
        let mut reply = call.send(Method::POST, url, None, body, within).await?;
        match reply.json.get_mut("result").map(Value::take) {
            Some(result) if reply.is_success() && reply.json["ok"] == Value::Bool(true) => Ok(result),
            _ => {
                let words = reply.json["description"].as_str().unwrap_or(&reply.text).to_owned();
                Err(call.refusal(&reply, &words))
            }
        }
    }

    async fn poll(&self, offset: Option<i64>) -> Result<Vec<Update>, Miss> {
        let mut body = json!({ "timeout": POLL_SECONDS, "allowed_updates": ["callback_query"] });
        if let Some(offset) = offset {
            body["offset"] = offset.into();
        }
        let result = self.call("getUpdates", &body, Duration::from_secs(POLL_SECONDS) + POLL_GRACE).await?;
        let updates = result.as_array().cloned().unwrap_or_default();
        let number = |update: &Value| update["update_id"].as_i64();
        // What cannot be read still has a number, and must be passed by, or it would come for ever.
        let read = |update: Value| {
            let blank = number(&update).map(|update_id| Update { update_id, callback_query: None });
            serde_json::from_value::<Update>(update).ok().or(blank)
        };
        Ok(updates.into_iter().filter_map(read).collect())
    }

    async fn poll_for_ever(&self, presses: mpsc::Sender<Press>) {
        let mut offset = None;
        let mut wait = self.waits.first;
        loop {
            match self.poll(offset).await {
                Ok(updates) => {
                    self.ears.note(|heard| heard.fault = None);
                    wait = self.waits.first;
                    for update in updates {
                        offset = Some(offset.unwrap_or(i64::MIN).max(update.update_id.saturating_add(1)));
                        if let Some(query) = update.callback_query {
                            self.pressed(query, &presses).await;
                        }
                    }
                }
                Err(miss) => {
                    tracing::warn!(fault = %miss.fault, "Telegram does not tell of presses.");
                    let hopeless = !miss.again || miss.fault.code == FaultCode::Conflict;
                    let pause = if hopeless { self.waits.longest } else { miss.retry_after.unwrap_or(wait) };
                    self.ears.note(|heard| {
                        heard.faults += 1;
                        heard.fault = Some(explained(miss.fault));
                    });
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(self.waits.longest);
                }
            }
        }
    }

    /// Checks who pressed and where, hands it on, and says at once what became of it.
    async fn pressed(&self, query: CallbackQuery, presses: &mpsc::Sender<Press>) {
        let chat = query.message.map(|message| message.chat.id).filter(|chat| self.config.chats.contains(chat));
        let known = self.config.people.contains(&query.from.id) && !query.from.is_bot;
        let words = match (known, chat, query.data) {
            (true, Some(chat), Some(token)) => {
                self.ears.note(|heard| heard.presses += 1);
                let told = hand_on(presses, self.way(&chat.to_string()), token, format!("telegram:{}", query.from.id)).await;
                told.words().to_owned()
            }
            (known, chat, _) => {
                self.ears.note(|heard| heard.strangers += 1);
                tracing::warn!(from = query.from.id, known, known_chat = chat.is_some(), "A press over Telegram was not taken.");
                "You may not answer this.".to_owned()
            }
        };
        let text: String = words.chars().take(TOAST_CHARS_MAX).collect();
        let body = json!({ "callback_query_id": query.id, "text": text, "show_alert": false });
        // A query that is too old can no longer be answered; the message's own text tells the end.
        if let Err(miss) = self.call("answerCallbackQuery", &body, SEND_WITHIN).await {
            tracing::debug!(fault = %miss.fault, "A press was not answered.");
        }
    }

    async fn send(&self, chat: &str, question: &Question, keys: &Keys) -> Result<Sent, Miss> {
        let button = |answer: Answer| json!({ "text": answer.label(), "callback_data": keys.of(answer).expose() });
        let body = json!({
            "chat_id": chat.parse::<i64>().unwrap_or_default(),
            "text": cut(&question.text(), TEXT_UNITS_MAX, char::len_utf16),
            "link_preview_options": { "is_disabled": true },
            "reply_markup": { "inline_keyboard": [Answer::ALL.map(button)] },
        });
        let result = self.call("sendMessage", &body, SEND_WITHIN).await?;
        match result["message_id"].as_i64() {
            Some(id) => Ok(Sent(id.to_string())),
            None => {
                let fault = Fault::new(FaultCode::Malformed, format!("sendMessage over {}", self.label), "no `message_id` came back");
                Err(Miss { fault, again: false, retry_after: None })
            }
        }
    }

    async fn edit(&self, chat: &str, sent: &Sent, text: &str) -> Result<(), Miss> {
        let body = json!({
            "chat_id": chat.parse::<i64>().unwrap_or_default(),
            "message_id": sent.0.parse::<i64>().unwrap_or_default(),
            "text": cut(text, TEXT_UNITS_MAX, char::len_utf16),
            "link_preview_options": { "is_disabled": true },
        });
        match self.call("editMessageText", &body, SEND_WITHIN).await {
            Err(miss) if miss.fault.detail.contains("message is not modified") => Ok(()),
            other => other.map(drop),
        }
    }
}

/// What people can do about a fault that stays.
fn explained(mut fault: Fault) -> Fault {
    let hint = match fault.code {
        FaultCode::Conflict => "; another program polls this bot, or a webhook is set: give Homeostat a bot of its own",
        FaultCode::Denied | FaultCode::NotFound => "; the bot's token is refused",
        _ => "",
    };
    fault.detail.push_str(hint);
    fault
}

impl Channel for Telegram {
    fn label(&self) -> &str {
        &self.label
    }

    fn recipients(&self) -> Vec<String> {
        self.config.chats.iter().map(i64::to_string).collect()
    }

    fn way(&self, recipient: &str) -> Way {
        Way::Chat { channel: self.label.clone(), chat: recipient.to_owned() }
    }

    fn ask<'a>(&'a self, recipient: &'a str, question: &'a Question, keys: &'a Keys) -> BoxFuture<'a, Result<Sent, Miss>> {
        Box::pin(self.send(recipient, question, keys))
    }

    fn close<'a>(&'a self, recipient: &'a str, sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>> {
        Box::pin(async move { self.edit(recipient, sent, &question.ended(how)).await })
    }

    fn listen(self: Arc<Self>, presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>> {
        Some(Box::pin(async move { self.poll_for_ever(presses).await }))
    }

    fn heard(&self) -> Heard {
        self.ears.heard()
    }
}
