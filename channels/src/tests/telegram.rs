//! Telegram, against a far end that keeps updates until an offset passes them.

use super::far_end::{BOT, TelegramServer};
use super::{eventually, keys, question};
use crate::book::{Answer, Way};
use crate::channel::{Channel, Press, Sent, Told};
use crate::telegram::{Telegram, TelegramConfig, Waits};
use homeostat_model::{FaultCode, Secret};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const CHAT: i64 = -1_001_234_567_890;
const ADA: i64 = 111_222_333;

fn telegram(url: &str, token: &str) -> Telegram {
    let config = TelegramConfig { token: Secret::Literal(token.into()), chats: vec![CHAT], people: vec![ADA], api_base: url.into() };
    let mut telegram = Telegram::new("family", &config).unwrap();
    telegram.waits = Waits { first: Duration::from_millis(1), longest: Duration::from_millis(2) };
    telegram
}

#[tokio::test]
async fn a_question_is_a_message_with_three_buttons_and_its_end_changes_it() {
    let far = TelegramServer::start().await;
    let (telegram, keys) = (telegram(&far.url, BOT), keys());
    let sent = telegram.ask(&CHAT.to_string(), &question(), &keys).await.unwrap();
    assert_eq!(sent, Sent("777".into()));
    let body = far.api.calls_of("sendMessage").remove(0);
    assert_eq!(body["chat_id"], CHAT);
    assert_eq!(body["link_preview_options"], json!({ "is_disabled": true }));
    assert!(body.get("parse_mode").is_none());
    let row = body["reply_markup"]["inline_keyboard"][0].as_array().unwrap();
    let labels: Vec<&str> = row.iter().map(|button| button["text"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Yes", "No", "Never"]);
    assert_eq!(row[0]["callback_data"], keys.of(Answer::Yes).expose());
    let text = body["text"].as_str().unwrap();
    for part in ["a12: power.wake on node/nas?", "Because: GPU queue", "Claim: ", "0123456789abcdef", "in 15m", "Silence is a no."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    telegram.close(&CHAT.to_string(), &sent, &question(), "Approved by telegram:1.").await.unwrap();
    let edit = far.api.calls_of("editMessageText").remove(0);
    assert_eq!((&edit["chat_id"], &edit["message_id"]), (&json!(CHAT), &json!(777)));
    assert!(edit.get("reply_markup").is_none() && edit["text"].as_str().unwrap().ends_with("Approved by telegram:1."), "{edit}");
}

#[tokio::test]
async fn presses_of_the_listed_are_handed_on_once_and_answered_at_once() {
    let far = TelegramServer::start().await;
    let telegram = Arc::new(telegram(&far.url, BOT));
    let (presses, mut pressed) = mpsc::channel(4);
    // Telegram keeps presses for a day: this one is from before we listened.
    let first = far.api.press(ADA, CHAT, "token-1");
    let task = tokio::spawn(Arc::clone(&telegram).listen(presses).unwrap());
    let take = async |pressed: &mut mpsc::Receiver<Press>, words: &str| {
        let press = pressed.recv().await.unwrap();
        press.reply.send(Told::Refused(words.into())).unwrap();
        (press.token, press.by, press.way)
    };
    let way = Way::Chat { channel: "telegram:family".into(), chat: CHAT.to_string() };
    assert_eq!(take(&mut pressed, "one").await, ("token-1".into(), Some(format!("telegram:{ADA}")), way));
    // Neither another person, nor the right one elsewhere, nor what cannot be read.
    let strangers = [far.api.press(666, CHAT, "token-2"), far.api.press(ADA, CHAT + 1, "token-3")];
    let last = far.api.press(ADA, CHAT, "token-4");
    assert_eq!(take(&mut pressed, "four").await.0, "token-4");
    eventually("all are answered", || far.api.calls_of("answerCallbackQuery").len() == 4).await;
    let told = |query: &str| {
        far.api.calls_of("answerCallbackQuery").into_iter().find(|body| body["callback_query_id"] == query).unwrap()["text"].clone()
    };
    assert_eq!((told(&first), told(&last)), (json!("one"), json!("four")));
    assert!(strangers.iter().all(|query| told(query) == "You may not answer this."));
    assert_eq!((telegram.heard().presses, telegram.heard().strangers), (2, 2));
    // The offset has passed them, so that none comes twice.
    eventually("the next poll", || far.api.calls_of("getUpdates").last().is_some_and(|body| body["offset"] == 90_005)).await;
    let polls = far.api.calls_of("getUpdates");
    assert!(polls[0].get("offset").is_none() && polls[0]["timeout"] == 50 && polls[0]["allowed_updates"] == json!(["callback_query"]));
    task.abort();
}

#[tokio::test]
async fn trouble_with_polling_is_seen_and_passes() {
    let far = TelegramServer::start().await;
    let trouble =
        |status: u16, description: &str| ("getUpdates", status, json!({ "ok": false, "error_code": status, "description": description }));
    let mut slow = trouble(429, "Too Many Requests: retry after 0");
    slow.2["parameters"] = json!({ "retry_after": 0 });
    far.api.0.lock().unwrap().troubles = vec![
        trouble(409, "Conflict: terminated by other getUpdates request"),
        slow,
        trouble(401, "Unauthorized"),
        trouble(502, "Bad Gateway"),
    ];
    let telegram = Arc::new(telegram(&far.url, BOT));
    let (presses, mut pressed) = mpsc::channel(4);
    let task = tokio::spawn(Arc::clone(&telegram).listen(presses).unwrap());
    far.api.press(ADA, CHAT, "token-1");
    let press = pressed.recv().await.unwrap();
    assert_eq!(press.token, "token-1");
    let heard = telegram.heard();
    assert_eq!((heard.faults, heard.fault), (4, None));
    task.abort();
}

#[tokio::test]
async fn refusals_have_their_classes_and_the_token_is_never_shown() {
    let far = TelegramServer::start().await;
    let wrong = telegram(&far.url, "4242:another-token");
    let miss = wrong.ask("1", &question(), &keys()).await.unwrap_err();
    assert_eq!((miss.fault.code, miss.again), (FaultCode::NotFound, false));
    let nowhere = telegram("http://127.0.0.1:1", BOT);
    let lost = nowhere.ask("1", &question(), &keys()).await.unwrap_err();
    assert!(lost.again && lost.fault.code == FaultCode::Unreachable, "{lost:?}");
    let reflected = json!({ "ok": false, "error_code": 429, "description": format!("https://x/bot{BOT}/sendMessage"), "parameters": { "retry_after": 14 } });
    far.api.0.lock().unwrap().troubles = vec![("sendMessage", 429, reflected)];
    let limited = telegram(&far.url, BOT).ask("1", &question(), &keys()).await.unwrap_err();
    assert_eq!((limited.fault.code, limited.again, limited.retry_after), (FaultCode::Limit, true, Some(Duration::from_secs(14))));
    for text in [format!("{miss:?}"), format!("{lost:?}"), format!("{limited:?}")] {
        assert!(!text.contains("another-token") && !text.contains("a-token_of-a-Bot"), "{text}");
    }
}

/// The fields of the corpus's samples, as they are read and written here.
#[tokio::test]
async fn the_samples_of_the_corpus_are_understood() {
    let Some(dir) = super::corpus("acting/telegram") else { return };
    let samples: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("samples.json")).unwrap()).unwrap();
    let far = TelegramServer::start().await;
    let telegram = Arc::new(telegram(&far.url, BOT));
    let (presses, mut pressed) = mpsc::channel(4);
    far.api.push(samples["webhook_update"]["body"].clone());
    let task = tokio::spawn(Arc::clone(&telegram).listen(presses).unwrap());
    let press = pressed.recv().await.unwrap();
    assert_eq!((press.token.as_str(), press.by.as_deref()), ("a:p-42:7f3c9a1e", Some("telegram:111222333")));
    task.abort();
    far.api.0.lock().unwrap().troubles =
        vec![("sendMessage", 200, samples["sendMessage_ok"].clone()), ("sendMessage", 429, samples["error_429"].clone())];
    assert_eq!(telegram.ask("1", &question(), &keys()).await.unwrap(), Sent("777".into()));
    assert_eq!(telegram.ask("1", &question(), &keys()).await.unwrap_err().retry_after, Some(Duration::from_secs(14)));
    let ours = far.api.calls_of("sendMessage").remove(0);
    let theirs = samples["sendMessage"]["body"].as_object().unwrap();
    assert!(ours.as_object().unwrap().keys().all(|field| theirs.contains_key(field)), "{ours}");
}

#[test]
fn lists_are_needed_and_people_are_no_groups() {
    let config = |chats: Vec<i64>, people: Vec<i64>| TelegramConfig {
        token: Secret::Env("X".into()),
        chats,
        people,
        api_base: "https://api.telegram.org".into(),
    };
    for (chats, people, words) in
        [(vec![], vec![1], "chats"), (vec![1], vec![], "people"), (vec![1], vec![-1], "group"), (vec![1; 40], vec![1], "chats")]
    {
        let why = Telegram::new("x", &config(chats, people)).err().unwrap();
        assert!(why.contains(words), "{why}");
    }
}
