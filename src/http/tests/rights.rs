//! People, roles and quotas on a real daemon: who asks is shown a plan or told why not, and the order itself is held to the same.

use super::*;
use crate::people::People;
use homeostat_model::{Cost, Span, VerbSpec};

const PHONE: &str = "aaaa56789abcdef0123";
const TABLET: &str = "bbbb56789abcdef0123";
const STRAY: &str = "cccc56789abcdef0123";

fn verb(name: &str, class: Class) -> VerbSpec {
    VerbSpec {
        verb: name.into(),
        class,
        args: Vec::new(),
        target_kinds: vec!["node".into()],
        targets: Some(vec!["node/muscle".into(), "node/nas".into()]),
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost { energy_joules: 7_200.0, ..Cost::default() },
        doc: "A verb of a test.".into(),
    }
}

async fn house() -> Served {
    let people = serde_json::from_value(json!({
        "anna": {"logins": ["token:phone"], "roles": ["admin"]},
        "ben": {"logins": ["token:tablet"], "teams": ["kids"]},
    }));
    let roles = serde_json::from_value(json!({
        "admin": {"may": [{"verbs": ["*"]}], "steer": true},
        "kids": {"teams": ["kids"], "may": [{"verbs": ["power.wake"], "targets": ["node/*"]}], "quota": {"requests_per_day": 1}},
    }));
    let ask = serde_json::from_value(json!({ "aliases": {"big machine": "node/muscle"} }));
    let people = People::new(&people.unwrap(), &roles.unwrap(), &ask.unwrap());
    let rules = |_: &TempDir, mut rules: RuleSet| {
        let verbs = vec![verb("power.wake", Class::Restore), verb("power.off", Class::Disruptive)];
        rules.actuators.push(homeostat_model::ActuatorSpec { id: "power".into(), verbs });
        rules
    };
    let tokens = [("phone", PHONE), ("tablet", TABLET), ("stray", STRAY)];
    let options = |options: &mut ServeOptions| {
        options.tokens = tokens.map(|(name, token)| (name.to_owned(), Secret::Literal(token.into()))).into();
        options.people = Arc::new(people);
    };
    serve_with(options, rules).await
}

impl Served {
    async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let (status, _, text) = self.tcp("POST", path, &headers, &body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path} answers {status} {text}: {error}")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_matters_and_matters_again_when_it_is_ordered() {
    let served = house().await;
    let ask = |token: &'static str, text: &'static str| served.post(token, "/api/v1/ask", json!({ "text": text }));
    let order =
        |token: &'static str, verb: &str, target: &str| served.post(token, "/api/v1/wishes", json!({ "verb": verb, "target": target }));

    // Another name of the configuration; within the role, the plan is shown with what it is of the quota.
    let (_, wished) = ask(TABLET, "wake the big machine").await;
    assert_eq!(wished["planned"]["plan"]["target"], "node/muscle", "{wished}");
    assert!(wished["answer"]["lines"].to_string().contains("request 1 of 1 in a day (role kids)"), "{wished}");

    // Outside of it: no plan, and who may. The order is refused with the same words, whatever was shown.
    let (_, refused) = ask(TABLET, "turn off nas").await;
    assert!(refused["planned"].is_null() && refused["answer"]["next"].is_null(), "{refused}");
    let line = "`power.off` on `node/nas` is not for ben, whose roles are: kids. It may be asked for by: anna.";
    assert_eq!(refused["answer"]["lines"], json!([format!("Nothing is planned: {line}")]), "{refused}");
    let (_, plan) = served.post(TABLET, "/api/v1/plan", json!({ "verb": "power.off", "target": "node/nas" })).await;
    let hash = plan["plan"]["plan"].as_str().unwrap();
    let forged = json!({ "verb": "power.off", "target": "node/nas", "plan": hash });
    assert_eq!(served.post(TABLET, "/api/v1/wishes", forged).await, (403, json!({ "error": line })));
    let (status, stray) = order(STRAY, "power.wake", "node/muscle").await;
    assert!(status == 403 && stray.to_string().contains("`token:stray` is no login of anybody"), "{status} {stray}");
    assert!(served.journalled("ordered").is_empty(), "what was refused was never ordered");

    // The one request of the day; the next one is too much, and that is said before it is ordered, too.
    assert_eq!(order(TABLET, "power.wake", "node/muscle").await.0, 200);
    let (status, full) = order(TABLET, "power.wake", "node/nas").await;
    assert!(status == 429 && full.to_string().contains("the quota of role kids is used up: 1 requests in a day"), "{status} {full}");
    let (_, told) = ask(TABLET, "wake nas").await;
    assert!(told["planned"].is_null() && told["answer"]["lines"].to_string().contains("quota of role kids is used up"), "{told}");
    assert_eq!(served.journalled("ordered").len(), 1);

    // Two at once do not both get a last place: there is none left, whoever comes first.
    let both = tokio::join!(order(TABLET, "power.wake", "node/nas"), order(TABLET, "power.wake", "node/nas"));
    assert_eq!((both.0.0, both.1.0), (429, 429));

    // Everybody may stop the house; to let it act again takes the right.
    assert_eq!(served.post(STRAY, "/api/v1/pause", json!({ "reason": "smoke" })).await.0, 200);
    let (status, why) = served.post(TABLET, "/api/v1/resume", json!({})).await;
    assert!(status == 403 && why.to_string().contains("It may be asked for by: anna."), "{status} {why}");
    let (_, told) = ask(TABLET, "resume").await;
    assert!(told["answer"]["next"].is_null() && told.to_string().contains("not for ben"), "{told}");
    assert_eq!(served.post(PHONE, "/api/v1/resume", json!({})).await.0, 200);

    // A yes needs the right, too: what waits for a person does not wait for just anybody.
    let off = order(PHONE, "power.off", "node/nas").await;
    assert_eq!(off.0, 200, "{off:?}");
    let id = off.1["action"]["id"].as_str().unwrap();
    let (status, why) = served.post(TABLET, &format!("/api/v1/approvals/{id}/approve"), json!({})).await;
    assert!(matches!(status, 403 | 409), "{status} {why}");

    for (token, text, wanted) in [
        (TABLET, "may i wake muscle?", "ben may ask for `power.wake` on `node/muscle` (role kids, at most 1 requests a day)."),
        (TABLET, "may i turn off nas?", "ben may not: ben has the roles kids."),
        (TABLET, "who may turn off nas?", "anna may ask for `power.off` on `node/nas` (role admin)."),
        (PHONE, "what may ben do?", "ben may ask for `power.wake` on `node/*` (role kids, at most 1 requests a day)."),
        (PHONE, "may the kids team wake nas?", "ben may ask for `power.wake` on `node/nas`"),
        (STRAY, "what may i do?", "`token:stray` is no login of anybody"),
    ] {
        let (_, told) = ask(token, text).await;
        assert!(told["answer"]["lines"].to_string().contains(wanted), "{text}: {told}");
    }
    served.end().await;
}
