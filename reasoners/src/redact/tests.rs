//! What was planted is not left, and comes back.

use super::find::Kind;
use super::*;
use homeostat_model::{QuestionPurpose, Span as TimeSpan, TokenUsage};
use proptest::prelude::*;
use serde_json::json;

fn known() -> Known {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Known {
        hosts: list(&["muscle", "nas", "living room", "jellyfin", "nas-backup"]),
        people: list(&["Frieda", "Jörg"]),
        addresses: list(&["192.168.178.20", "tcp!weird#address"]),
        domains: list(&["*.example.org"]),
    }
}

fn told(text: &str) -> String {
    let mut redactor = Redactor::new(&known());
    let document = json!(text).to_string();
    let told = redactor.redact(&document);
    assert_eq!(redactor.restore(&told), document, "{told}");
    serde_json::from_str::<String>(&told).unwrap()
}

#[test]
fn kinds_cannot_be_mistaken_for_one_another() {
    for one in Kind::ALL {
        for other in Kind::ALL.into_iter().filter(|other| *other != one) {
            assert!(!one.name().ends_with(other.name()), "{one:?} ends in {other:?}");
        }
        assert!(find::PLACEHOLDER.is_match(&format!("{}-12v3", one.name())), "{one:?}");
        assert_eq!(told(&format!("{}-1", one.name())), "word-1");
    }
}

#[test]
fn names_go_wherever_they_stand() {
    assert_eq!(told("node/muscle is down, Muscle!"), "node/host-1 is down, host-1v2!");
    assert_eq!(told("nas nas-backup nas2 nasal canvas backupNas"), "host-1 host-2 host-3 nasal canvas backuphost-1v2");
    assert_eq!(told("deployment/media/jellyfin-0 myjellyfins"), "deployment/media/host-1-0 host-2");
    assert_eq!(told("LIVING%20ROOM living_room living+room"), "host-1 host-2 host-3");
    assert_eq!(told("JÖRG asks frieda"), "person-1 asks person-2");
    assert_eq!(told("https://tv.media.EXAMPLE.org:8096/x at tcp!weird#address"), "https://url-1/x at place-1");
    assert_eq!(told("dig tv.media.example.org"), "dig domain-1");
    assert_eq!(told("m\u{200b}us\u{ad}cle a\u{200b}nas &#109;uscle %256Duscle \\u006duscle ｍｕｓｃｌｅ"), {
        "host-1 a\u{200b}host-2 host-1v2 host-1v3 host-1v4 host-1v5"
    });
    assert_eq!(told("see \u{e006d}\u{e0075}"), "see word-1");
    assert_eq!(told("pid-4 grid-7 of host-9"), "word-1 word-2 of word-3");
}

#[test]
fn shapes_go() {
    let cases = [
        ("at 10.1.2.3:80, ip-10-1-2-3.ec2", "at ip-1:80, ip-2.ec2"),
        ("from [fe80::1%eth0]:22 and 2001:db8::8a2e:370:7334.", "from [ip-1%eth0]:22 and ip-2."),
        ("at 12:34:56 std::fmt in 2026-11-21T19:05:14Z took 12.5s", "at 12:34:56 std::fmt in 2026-11-21T19:05:14Z took 12.5s"),
        ("aa:bb:cc:dd:ee:ff aabb.ccdd.eeff AA-BB-CC-DD-EE-FF", "mac-1 mac-2 mac-3"),
        ("mail bob.x+y@mail.test please", "mail mail-1 please"),
        ("postgres://root:hun/ter@db.test:5432/x", "postgres://url-1/mail-1:5432/x"),
        ("id 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "id id-1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def_ghi", "token-1"),
        ("sk-proj-abcdef, ghp_abcdefghij tk_aaaabbbbcccc AKIAIOSFODNN7EXAMPLE", "token-1, token-2 token-3 token-4"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer token-1"),
        ("password=hunter2&x=1 api_key: 'a b' PASSWORD is geheim", "password=token-1&x=1 api_key: token-2 PASSWORD is token-3"),
        ("run --token abc --x", "run --token token-1 --x"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", "token-1\nend"),
        ("deadbeef01deadbeef and commit 1a2b3c4", "id-1 and commit 1a2b3c4"),
        ("dGhpcyBpcyBhIHNlY3JldCB0aGF0IGlz", "token-1"),
        ("in /home/alice/films C:\\Users\\bob\\x", "in path-1/films path-2\\x"),
        ("bot 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "bot token-1"),
        ("reached printer.local. via kitchen.fritz.box", "reached domain-1. via domain-2"),
        ("tests passed: 12, input tokens 5, mapping: yes", "tests passed: 12, input tokens 5, mapping: yes"),
    ];
    let wrong: Vec<(String, &str)> =
        cases.into_iter().map(|(text, expected)| (told(text), expected)).filter(|(told, expected)| told != expected).collect();
    assert!(wrong.is_empty(), "told, expected: {wrong:#?}");
}

#[test]
fn documents_keep_their_form_and_numbers() {
    let mut redactor = Redactor::new(&known());
    let document = json!({
        "muscle": {"MUSCLE": 1.5, "cpu": [1, 2.25, -3e9, null, true]},
        "db_password": ["x", {"deep": "y", "n": 7}],
        "env": [{"name": "API_TOKEN", "value": "zz"}, {"name": "COLOUR", "value": "red"}],
        "input_tokens": 12,
    });
    let told: Value = serde_json::from_str(&redactor.redact(&document.to_string())).unwrap();
    let expected = json!({
        "host-1": {"cpu": [1, 2.25, -3e9, null, true], "host-1v2": 1.5},
        "db_password": ["token-1", {"deep": "token-2", "n": 7}],
        "env": [{"name": "API_TOKEN", "value": "token-3"}, {"name": "COLOUR", "value": "red"}],
        "input_tokens": 12,
    });
    assert_eq!(told, expected);
    assert_eq!(serde_json::from_str::<Value>(&redactor.restore(&told.to_string())).unwrap(), document);
    for gone in ["muscle", "MUSCLE", "\"x\"", "\"y\"", "\"zz\""] {
        assert!(!told.to_string().contains(gone), "{gone} in {told}");
    }
    let again = Redactor::new(&known()).redact(&document.to_string());
    assert_eq!(again, told.to_string(), "the same document, the same placeholders");
    assert_eq!(redactor.restore(r#"{"target":"Host-1","other":"host-99"}"#), r#"{"other":"host-99","target":"muscle"}"#);
    assert!(!format!("{redactor:?} {:?}", known()).contains("muscle"));
}

#[test]
fn what_cannot_be_kept_is_hidden_all_the_same() {
    let mut redactor = Redactor::new(&known());
    let many: Vec<String> = (0..=ORIGINALS_MAX).map(|n| format!("10.{}.{}.1", n / 250, n % 250)).collect();
    let told = redactor.redact(&json!(many).to_string());
    assert!(told.ends_with("\"hidden\"]") && redactor.hidden() == 1, "{}", redactor.hidden());
    assert!(redactor.redact(&" ".repeat(DOCUMENT_BYTES_MAX + 1)).starts_with("\"left out: "));
    assert_eq!(Redactor::new(&known()).redact("not json: muscle"), "not json: host-1");
}

#[test]
fn a_question_goes_out_and_its_answer_comes_home() {
    let question = Question {
        purpose: QuestionPurpose::Advice,
        system: "choose".into(),
        input: r#"{"incident":"nas is hot"}"#.into(),
        schema: r#"{"type":"object","properties":{"nas":{"enum":["node/nas","node/muscle"],"description":"of nas"}}}"#.into(),
        tokens_max: 10,
        timeout: TimeSpan::from_secs(1),
    };
    let mut redactor = Redactor::new(&known());
    let cloud = redactor.question(&question);
    assert_eq!(cloud.input, r#"{"incident":"host-1 is hot"}"#);
    let schema: Value = serde_json::from_str(&cloud.schema).unwrap();
    assert_eq!(schema, json!({"type":"object","properties":{"nas":{"enum":["node/host-1","node/host-2"],"description":"of host-1"}}}));
    let answer = Answer {
        json: r#"{"nas":"node/host-2"}"#.into(),
        usage: TokenUsage::default(),
        model: "m".into(),
        request_id: None,
        latency: TimeSpan::ZERO,
        cost_euros: None,
        citations: vec!["about host-1".into()],
        requests: 1,
        repaired: false,
    };
    let home = redactor.answer(answer);
    assert_eq!((home.json.as_str(), home.citations[0].as_str()), (r#"{"nas":"node/muscle"}"#, "about nas"));
}

/// How a planted text is disguised.
#[derive(Clone, Copy, Debug)]
enum Guise {
    Plain,
    Upper,
    UrlWhole,
    UrlSigns,
    UrlTwice,
    ZeroWidth,
    Escaped,
    FullWidth,
}

fn disguised(text: &str, guise: Guise) -> String {
    let percent = |text: &str, all: bool| -> String {
        text.bytes().map(|b| if all || !b.is_ascii_alphanumeric() { format!("%{b:02X}") } else { char::from(b).to_string() }).collect()
    };
    match guise {
        Guise::Plain => text.to_owned(),
        Guise::Upper => text.to_uppercase(),
        Guise::UrlWhole => percent(text, true),
        Guise::UrlSigns => percent(text, false),
        Guise::UrlTwice => percent(&percent(text, true), false),
        Guise::ZeroWidth => text.chars().flat_map(|c| [c, '\u{200d}']).collect(),
        Guise::Escaped => text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect(),
        Guise::FullWidth => {
            text.chars().map(|c| if c.is_ascii_graphic() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c }).collect()
        }
    }
}

/// A reading of its own, for the test alone: everything decoded, only letters and digits, lower case.
fn bare(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..4 {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let code = |from: usize, to: usize| text.get(from..to).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            if bytes[at] == b'%'
                && let Some(byte) = code(at + 1, at + 3)
            {
                out.push(byte);
                at += 3;
            } else if bytes[at..].starts_with(b"\\u00")
                && let Some(byte) = code(at + 4, at + 6)
            {
                out.push(byte);
                at += 6;
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        text = String::from_utf8_lossy(&out).into_owned();
    }
    let narrow = |c: char| match c as u32 {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap(),
        _ => c,
    };
    text.chars().map(narrow).filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

fn guise() -> impl Strategy<Value = Guise> {
    prop_oneof![
        Just(Guise::Plain),
        Just(Guise::Upper),
        Just(Guise::UrlWhole),
        Just(Guise::UrlSigns),
        Just(Guise::UrlTwice),
        Just(Guise::ZeroWidth),
        Just(Guise::Escaped),
        Just(Guise::FullWidth),
    ]
}

/// A configured name or address that no other word of the documents contains, and which list it is on.
fn name() -> impl Strategy<Value = (usize, String)> {
    prop_oneof![
        (Just(0), "[bcdfgjkqxz]{3,9}"),
        (Just(0), "[bcdfgjkqxz]{3,5}-[bcdfgjkqxz]{2,4}"),
        (Just(1), "[bcdfgjkqxz]{3,6} [bcdfgjkqxz]{3,6}"),
        (Just(2), "[bcdfgjkqxz]{4}@[bcdfgjkqxz]{4}:[1-9]{4}"),
        (Just(3), "[bcdfgjkqxz]{4,6}\\.[bcdfgjkqxz]{3}"),
    ]
}

/// What nobody configured and shape alone gives away.
fn shaped() -> impl Strategy<Value = String> {
    prop_oneof![
        "[1-9][0-9]\\.[1-9][0-9]\\.[1-9][0-9]\\.[1-9][0-9]",
        "fd[1-9]{2}:[1-9]{4}::[1-9]{4}",
        "[1-9a-f]{2}(:[1-9a-f]{2}){5}",
        "[bcdfgjkqxz]{6}@[bcdfgjkqxz]{6}\\.test",
        "sk-[bcdfgjkqxz]{12}",
        "tk_[bcdfgjkqxz1-9]{12}",
        "ghp_[bcdfgjkqxz]{20}",
        "AKIA[BCDFGJKQXZ1-9]{16}",
        "eyJ[bcdfgjkqxz]{12}\\.[bcdfgjkqxz]{12}\\.[bcdfgjkqxz]{12}",
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
        "[bcdf][1-9]{3}[bcdf1-9]{30}",
    ]
}

/// The words, the planted text among them, and whether it is a key.
type Leaf = (String, String, bool);

fn leaf(names: Vec<(usize, String)>) -> impl Strategy<Value = Leaf> {
    let known = proptest::sample::select(names).prop_map(|(_, name)| (name, ""));
    let shaped = shaped().prop_map(|text| (text, ""));
    let pair = ("[bcdfgjkqxz]{5,9}[1-9!%/]{1,3}[bcdfgjkqxz]", prop_oneof![Just("password="), Just("token: "), Just("API_KEY = ")]);
    let secret = prop_oneof![3 => known, 2 => shaped, 1 => pair];
    let sign =
        || proptest::sample::select(vec![" ", ", ", "(", ")", "/", "\"", "'", "[", "]", ";", "\n", "\t", " → ", "{", "}", "=", "\u{200b}"]);
    let words =
        || proptest::sample::select(vec!["", "pod restarts", "ist außer Betrieb", "value", "ip-1 ", "host-2", "μ", "no reply", "5 %"]);
    (secret, guise(), words(), sign(), sign(), words(), any::<bool>()).prop_map(
        |((secret, lead), guise, before, left, right, after, key)| {
            let left = if lead.is_empty() { left } else { " " };
            (format!("{before}{left}{lead}{}{right}{after}", disguised(&secret, guise)), secret, key)
        },
    )
}

fn document(leaves: &[Leaf], shape: u64) -> Value {
    let mut root = json!({"count": 7, "share": 0.25, "list": []});
    for (n, (text, _, key)) in leaves.iter().enumerate() {
        let value = if *key { json!({ text: n }) } else { json!(text) };
        match (shape >> (2 * n)) & 3 {
            0 => root["list"].as_array_mut().unwrap().push(value),
            1 => root[format!("field {n}")] = value,
            2 => root = json!({"inner": root, "beside": value, "number": -1.5e3}),
            _ => root["list"].as_array_mut().map_or((), |list| list.push(json!([[value], null, true]))),
        }
        if root["list"].is_null() {
            root["list"] = json!([]);
        }
    }
    root
}

fn numbers(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(map) => map.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_configured_or_secret_is_left_and_everything_comes_back(
        (names, leaves) in proptest::collection::vec(name(), 1..6).prop_flat_map(|names| {
            let leaves = proptest::collection::vec(leaf(names.clone()), 1..8);
            (Just(names), leaves)
        }),
        shape in any::<u64>(),
    ) {
        let list = |wanted: usize| names.iter().filter(|(n, _)| *n == wanted).map(|(_, name)| name.clone()).collect();
        let known = Known { hosts: list(0), people: list(1), addresses: list(2), domains: list(3) };
        let document = document(&leaves, shape);
        let mut redactor = Redactor::new(&known);
        let told = redactor.redact(&document.to_string());
        let value: Value = serde_json::from_str(&told).expect("still JSON");
        let sorted = |value: &Value| { let mut all = numbers(value); all.sort(); all };
        prop_assert_eq!(sorted(&value), sorted(&document));
        let strings = texts(&value).join(" \u{1} ");
        for (text, secret, _) in &leaves {
            prop_assert!(!bare(&strings).contains(&bare(secret)), "{secret:?} of {text:?} is left in {told}");
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&redactor.restore(&told)).unwrap(), document.clone());
        prop_assert_eq!(Redactor::new(&known).redact(&document.to_string()), told);
    }

    #[test]
    fn any_text_comes_back(text in "\\PC{0,40}|(host-[0-9]{1,2}|v2|nas|muscle|%6|%|\\\\u00|\u{200b}|[0-9]|:|\\.|@|-|A){0,24}") {
        let mut redactor = Redactor::new(&known());
        let document = json!({"a": text, text.clone(): [text.clone()]});
        let told = redactor.redact(&document.to_string());
        prop_assert_eq!(serde_json::from_str::<Value>(&redactor.restore(&told)).unwrap(), document);
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.iter().flat_map(|(key, value)| std::iter::once(key.clone()).chain(texts(value))).collect(),
        _ => Vec::new(),
    }
}
