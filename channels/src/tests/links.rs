//! The ways of asking whose answers come back by link: ntfy, Discord, and what the configuration demands of them.

use super::far_end::FarEnd;
use super::{keys, question};
use crate::book::{Answer, Way};
use crate::channel::{Channel, Sent};
use crate::config::{ApprovalsConfig, ChannelConfig};
use crate::discord::{Discord, DiscordConfig};
use crate::ntfy::{Ntfy, NtfyConfig};
use homeostat_model::{FaultCode, Secret};
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const PUBLISHED: &str = r#"{"id":"sPs71M8A2T","time":1643935928,"expires":1643936928,"event":"message","topic":"t","message":"m"}"#;

fn answers() -> Url {
    Url::parse("https://loop.example/lab/").unwrap()
}

fn literal(text: &str) -> Secret {
    Secret::Literal(text.into())
}

fn ntfy(url: &str) -> Ntfy {
    let config = NtfyConfig { url: url.into(), topic: literal("homelab-approvals"), token: Some(literal("tk_publish")), priority: 4 };
    Ntfy::new("phone", &config, &answers()).unwrap()
}

#[tokio::test]
async fn ntfy_gets_three_actions_with_one_time_addresses_and_nothing_that_lasts() {
    let far = FarEnd::script(vec![(200, vec![], PUBLISHED.into())]).await;
    let (ntfy, keys) = (ntfy(&far.url), keys());
    assert_eq!(ntfy.way(""), Way::Link);
    assert_eq!(ntfy.ask("", &question(), &keys).await.unwrap(), Sent("sPs71M8A2T".into()));
    let seen = far.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/"), "JSON goes to the root");
    assert_eq!(seen.headers["authorization"], "Bearer tk_publish");
    let body = seen.json();
    assert_eq!((&body["topic"], &body["priority"]), (&json!("homelab-approvals"), &json!(4)));
    assert_eq!(body["title"], "a12: power.wake on node/nas?");
    let actions = body["actions"].as_array().unwrap();
    assert_eq!(actions.len(), 3, "ntfy takes no more");
    let url = format!("https://loop.example/lab/answer/{}", keys.of(Answer::Yes).expose());
    assert_eq!(actions[0], json!({ "action": "http", "label": "Yes", "url": url, "method": "POST", "clear": true }));
    assert!(!seen.body.contains("tk_publish"));
    ntfy.close("", &Sent::default(), &question(), "Approved by ntfy:phone.").await.unwrap();
    let end = far.seen().remove(1).json();
    assert!(end.get("actions").is_none() && end["message"] == "Approved by ntfy:phone.", "{end}");
}

#[tokio::test]
async fn a_long_question_fits_into_ntfy_and_its_troubles_have_classes() {
    let limited = r#"{"code":42901,"http":429,"error":"limit reached: too many requests"}"#;
    let answers = vec![
        (200, vec![], PUBLISHED.into()),
        (429, vec![("retry-after", "5")], limited.into()),
        (403, vec![], r#"{"code":40301,"http":403,"error":"forbidden"}"#.into()),
        (200, vec![], "<html>".into()),
    ];
    let far = FarEnd::script(answers).await;
    let mut asked = question();
    for text in [&mut asked.because, &mut asked.title] {
        *text = "😀".repeat(5000);
    }
    asked.claim = Some("ä".repeat(5000));
    asked.args = vec!["😀".repeat(5000)];
    ntfy(&far.url).ask("", &asked, &keys()).await.unwrap();
    let body = far.seen().remove(0).json();
    assert!(body["message"].as_str().unwrap().len() <= 4096 && body["title"].as_str().unwrap().len() <= 250);
    let miss = ntfy(&far.url).ask("", &question(), &keys()).await.unwrap_err();
    assert_eq!((miss.fault.code, miss.again, miss.retry_after), (FaultCode::Limit, true, Some(Duration::from_secs(5))));
    let miss = ntfy(&far.url).ask("", &question(), &keys()).await.unwrap_err();
    assert_eq!((miss.fault.code, miss.again), (FaultCode::Denied, false));
    let miss = ntfy(&far.url).ask("", &question(), &keys()).await.unwrap_err();
    assert!(miss.fault.detail.contains("ntfy server's root"), "{miss:?}");
}

#[tokio::test]
async fn discord_gets_links_without_mentions_and_its_message_is_changed_in_the_end() {
    let limited = r#"{"message":"You are being rate limited.","retry_after":0.65,"global":false}"#;
    let answers = vec![
        (200, vec![], r#"{"id":"1234"}"#.into()),
        (200, vec![], r#"{"id":"1234"}"#.into()),
        (429, vec![("retry-after", "1")], limited.into()),
    ];
    let far = FarEnd::script(answers).await;
    let config = DiscordConfig { webhook_url: literal(&format!("{}/api/webhooks/77/secret-token", far.url)) };
    let discord = Discord::new("guild", &config, &self::answers()).unwrap();
    let mut asked = question();
    asked.because = format!("@everyone [Yes](https://evil.example) **now** {}", "x".repeat(5000));
    let sent = discord.ask("", &asked, &keys()).await.unwrap();
    let seen = far.seen().remove(0);
    assert_eq!(seen.uri.to_string(), "/api/webhooks/77/secret-token?wait=true");
    let body = seen.json();
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    let content = body["content"].as_str().unwrap();
    assert!(content.encode_utf16().count() <= 2000 && content.matches("://").count() == 3, "{content}");
    assert_eq!(content.lines().filter(|line| line.starts_with("Yes: <https://loop.example/lab/answer/abab")).count(), 1, "{content}");
    discord.close("", &sent, &question(), "Refused by telegram:1.").await.unwrap();
    let seen = far.seen().remove(1);
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("PATCH", "/api/webhooks/77/secret-token/messages/1234"));
    assert!(!seen.body.contains("answer/"), "{}", seen.body);
    let miss = discord.ask("", &question(), &keys()).await.unwrap_err();
    assert_eq!((miss.again, miss.retry_after), (true, Some(Duration::from_millis(650))));
    assert!(!format!("{miss:?}").contains("secret-token"));
    let config = DiscordConfig { webhook_url: literal("http://127.0.0.1:1/api/webhooks/77/secret-token") };
    let miss = Discord::new("guild", &config, &self::answers()).unwrap().ask("", &question(), &keys()).await.unwrap_err();
    assert!(!format!("{miss:?}").contains("secret-token"), "{miss:?}");
}

#[test]
fn the_configuration_says_what_it_misses() {
    let read = |text: Value| serde_json::from_value::<ChannelConfig>(text).unwrap();
    let problems = |channels: Vec<(&str, Value)>, answer_url: Option<&str>| {
        let channels: BTreeMap<String, ChannelConfig> = channels.into_iter().map(|(name, text)| (name.to_owned(), read(text))).collect();
        let config = ApprovalsConfig { answer_url: answer_url.map(str::to_owned), channels, ..ApprovalsConfig::default() };
        config.build().err().unwrap_or_default().into_iter().map(|fault| fault.detail).collect::<Vec<_>>().join("\n")
    };
    let ntfy = json!({ "kind": "ntfy", "url": "https://ntfy.sh", "topic": "${env:TOPIC}" });
    let bot = json!({ "kind": "telegram", "token": "${env:BOT}", "chats": [1], "people": [1] });
    let slack = json!({ "kind": "slack", "webhook_url": "${env:HOOK}", "signing_secret": "${env:SIGN}" });
    let home = json!({ "kind": "home_assistant", "url": "http://ha:8123", "token": "${env:HA}", "service": "mobile_app_x" });
    assert_eq!(problems(vec![("phone", ntfy.clone()), ("family", bot.clone()), ("ha", home.clone())], Some("https://loop.example")), "");
    assert_eq!(problems(vec![("family", bot.clone())], None), "");
    for (channels, url, words) in [
        (vec![("phone", ntfy.clone())], None, "`answer_url`"),
        (vec![("ha", home)], None, "`answer_url`"),
        (vec![("phone", ntfy.clone())], Some("ftp://x"), "`answer_url` must begin"),
        (vec![("a b", ntfy)], Some("https://x"), "letters, digits"),
        (vec![("one", bot.clone()), ("two", bot)], None, "configured already"),
        (vec![("s", slack)], None, "belong together"),
        (vec![("s", json!({ "kind": "slack", "webhook_url": "nonsense" }))], Some("https://x"), "`webhook_url`"),
    ] {
        let said = problems(channels, url);
        assert!(said.contains(words) && !said.contains("nonsense"), "{words}: {said}");
    }
}
