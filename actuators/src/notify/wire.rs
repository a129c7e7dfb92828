//! What each message service wants and says: request in, evidence out. Pure.
//!
//! Sources: ntfy `publish.md`, Telegram Bot API `sendMessage`, Slack incoming webhooks, Discord `execute webhook`. Deliberately
//! absent: markup, mentions, buttons. Texts come from workloads: Slack's control characters are escaped, Discord gets an empty
//! list of allowed mentions, Telegram no parse mode. An editor breaks this by counting a limit in another unit than the service's.

use crate::client::{Answer, Request, asked_wait, is_later, put_header};
use crate::redact::Redactor;
use crate::template::{JsonTemplate, Template, Values};
use homeostat_model::{Arg, Secret};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// ntfy: the message in bytes.
const NTFY_BYTES_MAX: usize = 4096;
/// ntfy: the title in bytes. Ours; it must fit a phone's line.
const NTFY_TITLE_BYTES_MAX: usize = 250;
/// Telegram: the text in UTF-16 code units, as the service counts.
const TELEGRAM_UNITS_MAX: usize = 4096;
/// Discord: the content; counted in UTF-16 units, never more characters than that.
const DISCORD_UNITS_MAX: usize = 2000;
/// Slack: the text in bytes after escaping. Ours; the service shows more only folded.
const SLACK_BYTES_MAX: usize = 4000;
/// The template of services that have one text and no title.
const TEMPLATE_DEFAULT: &str = "{title}\n{text}";
/// The places of a template.
const PLACES: [&str; 5] = ["title", "text", "target", "action", "priority"];

/// How loud a message is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Nobody need look.
    Min,
    /// Without a sound.
    Low,
    /// As usual.
    #[default]
    Default,
    /// Soon.
    High,
    /// Now.
    Urgent,
}

impl Priority {
    /// All, quietest first.
    pub const ALL: [Priority; 5] = [Priority::Min, Priority::Low, Priority::Default, Priority::High, Priority::Urgent];

    /// The name used in arguments.
    pub fn name(self) -> &'static str {
        match self {
            Priority::Min => "min",
            Priority::Low => "low",
            Priority::Default => "default",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        }
    }

    /// The priority of that name.
    pub fn from_name(name: &str) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

/// A message before any service shaped it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// More.
    pub text: String,
    /// How loud.
    pub priority: Priority,
    /// About what; may be empty.
    pub target: String,
    /// By which action; may be empty.
    pub action: String,
    /// Messages with one key count as the same.
    pub dedup_key: Option<String>,
}

impl Message {
    /// What makes two messages the same.
    pub fn key(&self) -> String {
        match &self.dedup_key {
            Some(key) => format!("key:{key}"),
            None => format!("text:{}\0{}", self.title, self.text),
        }
    }

    fn values(&self) -> Values {
        let texts = [&self.title, &self.text, &self.target, &self.action];
        let mut values: Values = PLACES.into_iter().zip(texts).map(|(name, text)| (name.to_owned(), Arg::from(text.as_str()))).collect();
        values.insert("priority".into(), Arg::from(self.priority.name()));
        values
    }
}

/// A Telegram chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ChatId {
    /// A number; groups are negative.
    Number(i64),
    /// A public channel, `@name`.
    Name(String),
}

/// One channel. Templates know `{title}`, `{text}`, `{target}`, `{action}` and `{priority}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelConfig {
    /// A topic on ntfy.sh or an own ntfy server.
    Ntfy {
        /// The server's root, e.g. `https://ntfy.sh`.
        url: String,
        /// The topic; whoever knows it can read it, so it may be a secret.
        #[schemars(with = "String")]
        topic: Secret,
        /// An access token, `tk_…`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        token: Option<Secret>,
        /// The message's text; `{text}` if not given (the title has its own place).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<String>,
    },
    /// A Telegram bot.
    Telegram {
        /// The bot's token.
        #[schemars(with = "String")]
        token: Secret,
        /// The chat.
        chat_id: ChatId,
        /// Another API server.
        #[serde(default = "telegram_api_default")]
        api_base: String,
        /// The message; title, line break, text if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<String>,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Its URL, which is its password.
        #[schemars(with = "String")]
        webhook_url: Secret,
        /// The message; title, line break, text if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<String>,
    },
    /// A Discord webhook.
    Discord {
        /// Its URL, which is its password.
        #[schemars(with = "String")]
        webhook_url: Secret,
        /// The message; title, line break, text if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<String>,
    },
    /// Any receiver of JSON; 200 to 299 means delivered.
    Webhook {
        /// Where to POST.
        #[schemars(with = "String")]
        url: Secret,
        /// Headers.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[schemars(with = "BTreeMap<String, String>")]
        headers: BTreeMap<String, Secret>,
        /// The JSON body, its texts templates; an object with all five places if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// The daemon's own log, as a warning.
    Log {},
}

fn telegram_api_default() -> String {
    "https://api.telegram.org".into()
}

/// A channel with its templates read.
#[derive(Debug)]
pub(super) enum Compiled {
    Ntfy { url: Url, topic: Secret, token: Option<Secret>, template: Template },
    Telegram { token: Secret, chat_id: ChatId, api_base: String, template: Template },
    Slack { webhook_url: Secret, template: Template },
    Discord { webhook_url: Secret, template: Template },
    Webhook { url: Secret, headers: BTreeMap<String, Secret>, body: JsonTemplate },
    Log,
}

impl Compiled {
    pub(super) fn new(config: &ChannelConfig) -> Result<Compiled, String> {
        let parse = |template: &Option<String>, default: &str| {
            let template = Template::parse(template.as_deref().unwrap_or(default))?;
            check_places(template.names())?;
            Ok::<_, String>(template)
        };
        Ok(match config.clone() {
            ChannelConfig::Ntfy { url, topic, token, template } => Compiled::Ntfy {
                url: http_url(&url).map_err(|why| format!("`url` {why}"))?,
                topic,
                token,
                template: parse(&template, "{text}")?,
            },
            ChannelConfig::Telegram { token, chat_id, api_base, template } => {
                http_url(&api_base).map_err(|why| format!("`api_base` {why}"))?;
                let api_base = api_base.trim_end_matches('/').to_owned();
                Compiled::Telegram { token, chat_id, api_base, template: parse(&template, TEMPLATE_DEFAULT)? }
            }
            ChannelConfig::Slack { webhook_url, template } => {
                check_literal(&webhook_url)?;
                Compiled::Slack { webhook_url, template: parse(&template, TEMPLATE_DEFAULT)? }
            }
            ChannelConfig::Discord { webhook_url, template } => {
                check_literal(&webhook_url)?;
                Compiled::Discord { webhook_url, template: parse(&template, TEMPLATE_DEFAULT)? }
            }
            ChannelConfig::Webhook { url, headers, body } => {
                check_literal(&url)?;
                if let Some(name) = headers.keys().find(|name| HeaderName::try_from(name.as_str()).is_err()) {
                    return Err(format!("`{name}` is not a header's name"));
                }
                let all = || PLACES.into_iter().map(|name| (name.to_owned(), Value::String(format!("{{{name}}}")))).collect();
                let body = JsonTemplate::parse(&body.unwrap_or_else(|| Value::Object(all())))?;
                check_places(body.names().into_iter())?;
                Compiled::Webhook { url, headers, body }
            }
            ChannelConfig::Log {} => Compiled::Log,
        })
    }

    /// The request for a message. Learns the secrets in it; the error holds none.
    pub(super) fn request(&self, message: &Message, redactor: &mut Redactor) -> Result<Request, String> {
        let values = message.values();
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let (url, body) = match self {
            Compiled::Ntfy { url, topic, token, template } => {
                if let Some(token) = token {
                    put_header(&mut headers, "authorization", &format!("Bearer {}", redactor.take(token)?))?;
                }
                (url.clone(), ntfy_body(&redactor.take(topic)?, message, &template.plain(&values)))
            }
            Compiled::Telegram { token, chat_id, api_base, template } => {
                let url = secret_url(&format!("{api_base}/bot{}/sendMessage", redactor.take(token)?), "`token`")?;
                (url, telegram_body(chat_id, message, &template.plain(&values)))
            }
            Compiled::Slack { webhook_url, template } => {
                let text = slack_escaped(&template.plain(&values), SLACK_BYTES_MAX);
                (secret_url(&redactor.take(webhook_url)?, "`webhook_url`")?, json!({ "text": text }))
            }
            Compiled::Discord { webhook_url, template } => {
                let mut url = secret_url(&redactor.take(webhook_url)?, "`webhook_url`")?;
                url.query_pairs_mut().append_pair("wait", "true");
                let content = cut(&template.plain(&values), DISCORD_UNITS_MAX, char::len_utf16);
                (url, json!({ "content": content, "allowed_mentions": { "parse": [] } }))
            }
            Compiled::Webhook { url, headers: extra, body } => {
                for (name, secret) in extra {
                    put_header(&mut headers, name, &redactor.take(secret)?)?;
                }
                (secret_url(&redactor.take(url)?, "`url`")?, body.render(&values))
            }
            Compiled::Log => return Err("the log is written, not sent to".into()),
        };
        Ok(Request { method: Method::POST, url, headers, body: body.to_string().into_bytes() })
    }

    /// The positive sign that the message arrived, in words; `None`: there is none in this answer.
    pub(super) fn evidence(&self, answer: &Answer) -> Option<String> {
        if !answer.is_success() {
            return None;
        }
        let id = |value: &Value| match value {
            Value::String(id) if !id.is_empty() => {
                Some(format!("id {}", id.chars().filter(|c| !c.is_control()).take(64).collect::<String>()))
            }
            Value::Number(id) => Some(format!("id {id}")),
            _ => None,
        };
        let sign = match self {
            Compiled::Ntfy { .. } | Compiled::Discord { .. } => id(answer.json()?.get("id")?)?,
            Compiled::Telegram { .. } => {
                let body = answer.json()?;
                (body.get("ok")? == &Value::Bool(true)).then(|| id(body.pointer("/result/message_id")?))??
            }
            Compiled::Slack { .. } => (answer.whole && answer.body.trim_ascii() == b"ok").then(|| "ok".to_owned())?,
            Compiled::Webhook { .. } => return Some(format!("HTTP {}", answer.status)),
            Compiled::Log => return None,
        };
        Some(format!("HTTP {}, {sign}", answer.status))
    }

    /// Whether to try again, and after how long the service asks for it: `Retry-After`, Discord's `retry_after` (seconds, a float),
    /// Telegram's `parameters.retry_after` (seconds).
    pub(super) fn asks_to_wait(&self, answer: &Answer) -> Option<Option<Duration>> {
        let in_body =
            || answer.json().and_then(|body| body.get("retry_after").or_else(|| body.pointer("/parameters/retry_after"))?.as_f64());
        is_later(answer.status).then(|| asked_wait(answer, in_body()))
    }
}

fn ntfy_body(topic: &str, message: &Message, text: &str) -> Value {
    let priority = Priority::ALL.iter().position(|priority| *priority == message.priority).unwrap_or(2) + 1;
    json!({
        "topic": topic,
        "title": cut(&message.title, NTFY_TITLE_BYTES_MAX, char::len_utf8),
        "message": cut(text, NTFY_BYTES_MAX, char::len_utf8),
        "priority": priority,
    })
}

fn telegram_body(chat_id: &ChatId, message: &Message, text: &str) -> Value {
    json!({
        "chat_id": chat_id,
        "text": cut(text, TELEGRAM_UNITS_MAX, char::len_utf16),
        "link_preview_options": { "is_disabled": true },
        "disable_notification": matches!(message.priority, Priority::Min | Priority::Low),
    })
}

/// Escapes Slack's three control characters, then cuts between characters, never inside an escape.
fn slack_escaped(text: &str, bytes_max: usize) -> String {
    let len = |c: char| match c {
        '&' => 5,
        '<' | '>' => 4,
        c => c.len_utf8(),
    };
    cut(text, bytes_max, len).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text, or its beginning and `…`, so that the lengths of its characters sum to at most `max`.
fn cut(text: &str, max: usize, len: impl Fn(char) -> usize) -> String {
    let text = text.trim();
    if text.chars().map(&len).sum::<usize>() <= max {
        return text.to_owned();
    }
    let room = max - len('…');
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += len(*c);
        used <= room
    });
    kept.chain(['…']).collect()
}

fn check_places<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match names.into_iter().find(|name| !PLACES.contains(name)) {
        Some(name) => Err(format!("the template uses `{{{name}}}`; there are: {}", PLACES.join(", "))),
        None => Ok(()),
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none() => Ok(url),
        _ => Err("is not a URL: expected `https://host/…` without credentials".into()),
    }
}

fn secret_url(text: &str, what: &str) -> Result<Url, String> {
    http_url(text).map_err(|why| format!("{what} {why}"))
}

/// A literal can be checked when the configuration is read; a reference only at use.
fn check_literal(secret: &Secret) -> Result<(), String> {
    match secret {
        Secret::Literal(text) => secret_url(text, "its URL").map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_count_in_the_services_unit_and_keep_whole_characters() {
        assert_eq!(cut(&"😀".repeat(3), 6, char::len_utf16), "😀😀😀");
        assert_eq!(cut(&"😀".repeat(4), 6, char::len_utf16), "😀😀…");
        let long = cut(&"ä".repeat(5000), NTFY_BYTES_MAX, char::len_utf8);
        assert!(long.len() <= NTFY_BYTES_MAX && long.len() > NTFY_BYTES_MAX - 4 && long.ends_with('…'));
        let slack = slack_escaped(&"<".repeat(5000), SLACK_BYTES_MAX);
        assert!(slack.len() <= SLACK_BYTES_MAX && slack.ends_with("&lt;…"));
        assert_eq!(slack_escaped("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }

    #[test]
    fn priorities_have_their_names() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_name(priority.name()), Some(priority));
        }
        assert_eq!(Priority::from_name("loud"), None);
    }
}
