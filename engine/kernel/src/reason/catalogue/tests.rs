use super::*;
use homeostat_model::{Claim, ClaimSubject, Class, Occasion, Span, Target, Time};
use proptest::prelude::*;

fn brief() -> Brief {
    let arg = |name: &str, kind, required| ArgSpec { name: name.into(), kind, required, doc: "x".into() };
    let choices = vec![
        Choice { verb: "restart.rollout".into(), class: Class::Reversible, doc: "restarts".into(), targets: vec![1], args: vec![] },
        Choice {
            verb: "scale.to".into(),
            class: Class::Reversible,
            doc: "scales".into(),
            targets: vec![0, 1],
            args: vec![
                arg("replicas", ArgKind::Int(1, 5), true),
                arg("how", ArgKind::OneOf(vec!["slow".into(), "fast".into()]), false),
                arg("share", ArgKind::Float(0.0, 1.0), false),
            ],
        },
    ];
    let claim = |minutes| Claim { subject: ClaimSubject::AlertResolved { fingerprint: "f".into() }, within: Span::from_mins(minutes) };
    let occasion =
        Occasion { symptom: "s".into(), target: "node/a".into(), alert: None, title: "t".into(), since: Time(0), asked_by: None };
    let schema = schema(&choices, 2, 1);
    Brief {
        occasion,
        facts: "{}".into(),
        told: vec![],
        targets: vec!["node/a".into(), "deployment/x/web".into()],
        choices,
        claims: vec![claim(10), claim(30)],
        readings: vec![homeostat_model::Evidence {
            operation: "last".into(),
            series: None,
            value: homeostat_model::ReadingValue::Value(1.0),
            sampled_at: None,
            margins: vec![],
        }],
        schema,
    }
}

fn answer(proposal: Value) -> String {
    json!({ "proposal": proposal, "evidence": [0, 0], "confidence": 0.9, "because": "it \u{202e}helps" }).to_string()
}

#[test]
fn a_choice_is_read_into_a_pick() {
    let said = read(&brief(), &answer(json!({ "choice": 1, "target": 0, "claim": 1, "args": { "replicas": 3, "how": null, "share": 1 } })))
        .unwrap();
    let pick = said.pick.unwrap();
    assert_eq!((pick.verb.as_str(), pick.target.clone(), pick.claim.within), ("scale.to", Target::from("node/a"), Span::from_mins(30)));
    assert_eq!(pick.args, Args::from([("replicas".into(), Arg::Int(3)), ("share".into(), Arg::Float(1.0))]));
    assert_eq!((said.evidence, said.because.as_str()), (vec![0], "it helps"));
    assert_eq!(read(&brief(), &answer(Value::Null)).unwrap().pick, None);
}

#[test]
fn what_does_not_fit_in_every_respect_is_no_proposal() {
    for (chosen, why) in [
        (json!({ "choice": 2, "target": 0, "claim": 0, "args": {} }), "`choice` is no whole number from 0 to 1"),
        (json!({ "choice": -1, "target": 0, "claim": 0, "args": {} }), "`choice` is no"),
        (json!({ "choice": "restart.rollout", "target": 1, "claim": 0, "args": {} }), "`choice` is no"),
        (json!({ "choice": 0, "target": 0, "claim": 0, "args": {} }), "may not be done to target 0"),
        (json!({ "choice": 0, "target": 1, "claim": 2, "args": {} }), "`claim` is no"),
        (json!({ "choice": 0, "target": 1, "args": {} }), "no `claim`"),
        (json!({ "choice": 0, "target": 1, "claim": 0, "args": { "force": true } }), "no argument `force`"),
        (json!({ "choice": 1, "target": 1, "claim": 0, "args": {} }), "needs the argument `replicas`"),
        (json!({ "choice": 1, "target": 1, "claim": 0, "args": { "replicas": "3" } }), "needs the argument `replicas`"),
        (json!({ "choice": 1, "target": 1, "claim": 0, "args": { "replicas": 3, "how": "rm -rf /" } }), "needs the argument `how`"),
        (json!({ "choice": 0, "target": 1, "claim": 0, "args": {}, "approve": true }), "has the field `approve`"),
        (json!([0]), "not an object"),
    ] {
        let error = read(&brief(), &answer(chosen.clone())).unwrap_err();
        assert!(error.contains(why), "{chosen}: {error}");
    }
    for text in ["", "null", "[]", "{}", "{\"proposal\":null}", "{\"because\":1}", "Sure! Here is the JSON"] {
        assert!(read(&brief(), text).is_err(), "{text}");
    }
}

#[test]
fn the_schema_offers_exactly_what_is_read() {
    let brief = brief();
    let schema: Value = serde_json::from_str(&brief.schema).unwrap();
    let offers = schema["properties"]["proposal"]["anyOf"].as_array().unwrap();
    assert_eq!(offers.len(), 3);
    assert_eq!(offers[1]["properties"]["choice"]["enum"], json!([0]));
    assert_eq!(offers[2]["properties"]["target"]["enum"], json!([0, 1]));
    assert_eq!(offers[2]["properties"]["args"]["properties"]["replicas"]["enum"], json!([1, 2, 3, 4, 5]));
    assert_eq!(schema["additionalProperties"], json!(false));
    // Without a claim there is nothing to propose.
    let none: Value = serde_json::from_str(&super::schema(&brief.choices, 0, 0)).unwrap();
    assert_eq!(none["properties"]["proposal"]["anyOf"].as_array().unwrap().len(), 1);
}

proptest! {
    /// Whatever numbers come: a pick is one of the catalogue, or there is none.
    #[test]
    fn a_pick_is_always_of_the_catalogue(choice in -2i64..5, target in -2i64..5, claim in -2i64..5, replicas in -3i64..9, text in ".{0,40}") {
        let brief = brief();
        let json = json!({
            "proposal": { "choice": choice, "target": target, "claim": claim, "args": { "replicas": replicas } },
            "evidence": [], "confidence": 2.0, "because": text,
        });
        if let Ok(said) = read(&brief, &json.to_string()) {
            let pick = said.pick.unwrap();
            let chosen = &brief.choices[choice as usize];
            prop_assert_eq!(&pick.verb, &chosen.verb);
            prop_assert!(chosen.targets.contains(&(target as u32)));
            prop_assert!(brief.claims.contains(&pick.claim));
            prop_assert!(said.because.chars().count() <= BECAUSE_CHARS_MAX + 1 && !said.because.chars().any(homeostat_model::is_unshown));
        }
    }
}
