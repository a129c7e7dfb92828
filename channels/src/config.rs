//! The section `approvals` of the configuration: who is asked where, and what all ways of asking have in common.
//!
//! Deliberately absent: connecting and reading secrets (both happen at use). An editor breaks this by letting a channel without a list of
//! people take presses.

use crate::channel::Channel;
use crate::discord::{Discord, DiscordConfig};
use crate::home_assistant::{HomeAssistant, HomeAssistantConfig};
use crate::ntfy::{Ntfy, NtfyConfig};
use crate::slack::{Slack, SlackConfig};
use crate::telegram::{Telegram, TelegramConfig};
use crate::wire;
use homeostat_model::{Fault, FaultCode};
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many channels there may be.
const CHANNELS_MAX: usize = 16;
/// The most open questions that may be allowed.
const QUESTIONS_MAX: usize = 200;

/// One way of asking people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChannelConfig {
    /// A Telegram bot with buttons; no port needs to be open.
    Telegram(TelegramConfig),
    /// A topic of an ntfy server, with buttons that call `answer_url`.
    Ntfy(NtfyConfig),
    /// Slack: links, or buttons where a signing secret is given.
    Slack(SlackConfig),
    /// A Discord webhook, with links.
    Discord(DiscordConfig),
    /// An actionable notification of Home Assistant's app.
    HomeAssistant(HomeAssistantConfig),
}

/// Where people are asked. Read at the start only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalsConfig {
    /// The address under which phones reach this HTTP interface, `https://homeostat.example`: the root of the links and buttons of ntfy,
    /// Slack, Discord and Home Assistant. Telegram needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_url: Option<String>,
    /// The ways of asking, by name. The name says in the journal by which an answer came.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelConfig>,
    /// How many questions may be open on these channels at once; more stay on the command line and are told as notices.
    pub questions_max: usize,
}

impl Default for ApprovalsConfig {
    fn default() -> ApprovalsConfig {
        ApprovalsConfig { answer_url: None, channels: BTreeMap::new(), questions_max: 50 }
    }
}

/// The channels, ready.
#[derive(Clone, Default)]
pub struct Built {
    /// All of them.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Those of Slack, whose presses come in over our own HTTP interface.
    pub slack: Vec<Arc<Slack>>,
}

impl ApprovalsConfig {
    /// Checks all of it and builds; connects nowhere.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn build(&self) -> Result<Built, Vec<Fault>> {
        let mut problems = self.common_problems();
        let answers = self.answer_url.as_deref().map(|text| wire::root(text).map_err(|why| format!("`answer_url` {why}"))).transpose();
        let answers = answers.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let mut built = Built::default();
        for (name, config) in &self.channels {
            if let Err(problem) = add(&mut built, name, config, answers.as_ref()) {
                problems.push(format!("channel `{name}`: {problem}"));
            }
        }
        if problems.is_empty() {
            return Ok(built);
        }
        Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `approvals`", text)).collect())
    }

    fn common_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.channels.len() > CHANNELS_MAX {
            problems.push(format!("{} channels, at most {CHANNELS_MAX} are allowed", self.channels.len()));
        }
        if !(1..=QUESTIONS_MAX).contains(&self.questions_max) {
            problems.push(format!("`questions_max` is {}, expected 1 to {QUESTIONS_MAX}", self.questions_max));
        }
        let plain =
            |name: &String| !name.is_empty() && name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        for name in self.channels.keys().filter(|name| !plain(name)) {
            let shown: String = name.chars().take(32).collect();
            problems.push(format!("channel `{shown}`: expected 1 to 32 letters, digits, `-` and `_`"));
        }
        let mut bots = Vec::new();
        for (name, config) in &self.channels {
            if let ChannelConfig::Telegram(config) = config {
                if bots.contains(&&config.token) {
                    problems
                        .push(format!("channel `{name}`: this bot is configured already; one channel may have many `chats` and `people`"));
                }
                bots.push(&config.token);
            }
        }
        problems
    }
}

fn add(built: &mut Built, name: &str, config: &ChannelConfig, answers: Option<&Url>) -> Result<(), String> {
    let answers = || answers.ok_or("its buttons or links need `answer_url`, the address under which phones reach this machine".to_owned());
    built.channels.push(match config {
        ChannelConfig::Telegram(config) => Arc::new(Telegram::new(name, config)?),
        ChannelConfig::Ntfy(config) => Arc::new(Ntfy::new(name, config, answers()?)?),
        ChannelConfig::Slack(config) => {
            let answers = if config.signing_secret.is_some() { None } else { Some(answers()?) };
            let slack = Arc::new(Slack::new(name, config, answers)?);
            built.slack.push(Arc::clone(&slack));
            slack
        }
        ChannelConfig::Discord(config) => Arc::new(Discord::new(name, config, answers()?)?),
        ChannelConfig::HomeAssistant(config) => {
            let answers = if config.people.is_empty() { Some(answers()?) } else { None };
            Arc::new(HomeAssistant::new(name, config, answers)?)
        }
    });
    Ok(())
}
