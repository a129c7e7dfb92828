//! Slack: the message in both forms, the signature against the documented example, and presses.

use super::far_end::FarEnd;
use super::{keys, question};
use crate::book::Way;
use crate::channel::{Channel, Press, Told};
use crate::slack::{Slack, SlackConfig, SlackRefusal, is_signed};
use hmac::{Hmac, Mac};
use homeostat_model::Secret;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

fn slack(url: &str, buttons: bool) -> Slack {
    let config = SlackConfig {
        webhook_url: Secret::Literal(format!("{url}/services/T000/B000/XXX")),
        signing_secret: buttons.then(|| Secret::Literal(SECRET.into())),
        people: if buttons { vec!["U1".into()] } else { Vec::new() },
    };
    let answers = Url::parse("https://loop.example").unwrap();
    Slack::new("ops", &config, (!buttons).then_some(&answers)).unwrap()
}

fn signed(timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    format!("v0={}", mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn form(payload: &Value) -> String {
    let mut url = Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("payload", &payload.to_string());
    url.query().unwrap().to_owned()
}

#[test]
fn the_signature_is_the_documented_one_and_ages() {
    // The example of Slack's page on verifying requests.
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let at = 1_531_420_618;
    assert!(is_signed(SECRET, at, "1531420618", signature, body.as_bytes()));
    assert!(is_signed(SECRET, at + 300, "1531420618", signature, body.as_bytes()));
    assert!(!is_signed(SECRET, at + 301, "1531420618", signature, body.as_bytes()), "late");
    assert!(!is_signed(SECRET, at - 301, "1531420618", signature, body.as_bytes()), "from the future");
    assert!(!is_signed(SECRET, at, "1531420619", signature, body.as_bytes()));
    assert!(!is_signed(SECRET, at, "1531420618", signature, &body.as_bytes()[1..]));
    assert!(!is_signed("", at, "1531420618", signature, body.as_bytes()));
    for bad in ["", "v0=", "v0=zz", "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", &signature[..40], "v0=é"] {
        assert!(!is_signed(SECRET, at, "1531420618", bad, body.as_bytes()), "{bad}");
    }
}

#[tokio::test]
async fn messages_have_links_or_buttons_and_no_markup() {
    let far = FarEnd::script(vec![(200, vec![], "ok".into())]).await;
    let mut asked = question();
    asked.because = "<!channel> <https://evil.example|Yes> & *now*".into();
    let plain = slack(&far.url, false);
    plain.ask("", &asked, &keys()).await.unwrap();
    let body = far.seen().remove(0).json();
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    let elements = body["blocks"][1]["elements"].as_array().unwrap();
    assert!(
        elements
            .iter()
            .all(|button| button["url"].as_str().unwrap().starts_with("https://loop.example/answer/") && button.get("value").is_none())
    );
    assert_eq!(plain.way(""), Way::Link);
    let buttons = slack(&far.url, true);
    buttons.ask("", &asked, &keys()).await.unwrap();
    let body = far.seen().remove(1).json();
    let elements = body["blocks"][1]["elements"].as_array().unwrap();
    assert!(elements.iter().all(|button| button["value"].as_str().unwrap().len() == 40 && button.get("url").is_none()), "{elements:?}");
    assert!(matches!(buttons.way(""), Way::Chat { .. }));
    buttons.close("", &Default::default(), &asked, "Approved by <@U1>.").await.unwrap();
    assert!(far.seen().remove(2).json()["text"].as_str().unwrap().ends_with("Approved by &lt;@U1&gt;."));
}

#[tokio::test]
async fn signed_presses_of_the_listed_are_handed_on_and_answered_at_slack_only() {
    let far = FarEnd::script(vec![(200, vec![], "ok".into())]).await;
    let slack = slack(&far.url, true);
    let payload = |user: &str, response_url: &str| {
        json!({ "type": "block_actions", "user": { "id": user }, "response_url": response_url,
            "actions": [{ "type": "button", "action_id": "homeostat_yes", "value": "the-token" }] })
    };
    let read = |payload: &Value| {
        let body = form(payload);
        slack.read(1000, "1000", &signed("1000", &body), body.as_bytes())
    };
    let (presses, mut pressed) = mpsc::channel(4);
    let listed = read(&payload("U1", &format!("{}/actions/1", far.url))).unwrap_or_else(|why| panic!("{why}"));
    let judge = async {
        let Press { way, token, by, reply } = pressed.recv().await.unwrap();
        reply.send(Told::Taken("Approved.".into())).unwrap();
        (way, token, by)
    };
    let (told, seen) = tokio::join!(slack.pressed(listed, &presses), judge);
    assert_eq!(told, Told::Taken("Approved.".into()));
    assert_eq!(seen, (slack.way(""), "the-token".into(), Some("slack:U1".into())));
    let answer = far.seen().remove(0);
    assert_eq!((answer.uri.path(), answer.json()["text"].as_str()), ("/actions/1", Some("Approved.")));
    // Somebody else, and an address that is not Slack's.
    let stranger = read(&payload("U2", "http://127.0.0.1:1/elsewhere")).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(slack.pressed(stranger, &presses).await, Told::Refused("You may not answer this.".into()));
    assert_eq!((far.seen().len(), pressed.try_recv().is_err()), (1, true));
    assert_eq!((slack.heard().presses, slack.heard().strangers), (1, 1));
    for (body, signature, why) in [
        ("payload=%7B%7D".to_owned(), "v0=00".to_owned(), SlackRefusal::Signature),
        ("payload=%7B%7D".to_owned(), signed("1000", "payload=%7B%7D"), SlackRefusal::Malformed),
        ("x".to_owned(), signed("1000", "x"), SlackRefusal::Malformed),
    ] {
        assert_eq!(slack.read(1000, "1000", &signature, body.as_bytes()).err(), Some(why), "{body}");
    }
    assert_eq!(self::slack(&far.url, false).read(1000, "1000", "", b"").err(), Some(SlackRefusal::Off));
}
