use super::*;

const SECRET: &str = "test-secret";
const BODY: &[u8] = b"{\"status\":\"firing\"}\n";
const PLAIN: &str = "75395cf4519c97dd613317537fa3872ba8787d5c0e064bc813307c09d6817802";
const STAMPED: &str = "45026902cd53bd3b28e3f64ad993d844673c7aa119d5444fb58694a024c77403";
const STAMP: &str = "1770110120";
const NOW: Time = Time(1_770_110_120_000);

fn hmac(timestamp_header: Option<&str>) -> WebhookAuth {
    let header = GRAFANA_SIGNATURE_HEADER.to_owned();
    let timestamp_header = timestamp_header.map(str::to_owned);
    WebhookAuth::GrafanaHmac { secret: SECRET.into(), header, timestamp_header, tolerance: Span::from_secs(300) }
}

fn check(auth: &WebhookAuth, now: Time, headers: &[(&str, &str)], body: &[u8], replay: &mut ReplayGuard) -> Result<(), AuthError> {
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| (n.to_lowercase(), (*v).to_owned())).collect();
    let find = |name: &str| headers.iter().find(|(n, _)| *n == name.to_lowercase()).map(|(_, v)| v.as_str());
    auth.verify(now, &find, body, replay)
}

fn once(auth: &WebhookAuth, headers: &[(&str, &str)], body: &[u8]) -> Result<(), AuthError> {
    check(auth, NOW, headers, body, &mut ReplayGuard::default())
}

#[test]
fn bearer_is_compared_whole_and_the_scheme_in_any_case() {
    let auth = WebhookAuth::Bearer { token: "abc".into() };
    assert_eq!(once(&auth, &[("authorization", "bearer abc")], b""), Ok(()));
    for wrong in ["Bearer ab", "Bearer abcd", "Bearer ABC", "Bearer "] {
        assert!(matches!(once(&auth, &[("Authorization", wrong)], b""), Err(AuthError::Wrong(_))), "{wrong}");
    }
    for missing in [&[("Authorization", "Basic abc")][..], &[("Authorization", "abc")], &[]] {
        let error = once(&auth, missing, b"").unwrap_err();
        assert!(error.to_string().contains("Authorization: Bearer") && error.status() == 401, "{error}");
    }
}

#[test]
fn basic_takes_passwords_with_colons() {
    let auth = WebhookAuth::Basic { username: "am".into(), password: "a:b".into() };
    let code = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    assert_eq!(once(&auth, &[("Authorization", &code("am:a:b"))], b""), Ok(()));
    for wrong in [code("am:a"), code("ma:a:b"), code("am"), "Basic ~~~".to_owned()] {
        assert!(matches!(once(&auth, &[("Authorization", &wrong)], b""), Err(AuthError::Wrong(_))), "{wrong}");
    }
}

#[test]
fn grafana_signs_the_raw_body() {
    assert_eq!(once(&hmac(None), &[(GRAFANA_SIGNATURE_HEADER, PLAIN)], BODY), Ok(()));
    assert!(once(&hmac(None), &[(GRAFANA_SIGNATURE_HEADER, PLAIN)], &BODY[..BODY.len() - 1]).is_err(), "the line break is signed too");
    for wrong in ["", "sha256=75395c", &PLAIN[..62], &PLAIN.replace('7', "8"), &"ü".repeat(32)] {
        assert!(matches!(once(&hmac(None), &[(GRAFANA_SIGNATURE_HEADER, wrong)], BODY), Err(AuthError::Wrong(_))), "{wrong}");
    }
    assert!(once(&hmac(None), &[], BODY).unwrap_err().to_string().contains(GRAFANA_SIGNATURE_HEADER));
}

#[test]
fn grafana_signs_the_stamp_and_a_colon_before_the_body() {
    let auth = hmac(Some("X-Signed-At"));
    let headers = [(GRAFANA_SIGNATURE_HEADER, STAMPED), ("X-Signed-At", STAMP)];
    assert_eq!(once(&auth, &headers, BODY), Ok(()));
    assert!(once(&auth, &[(GRAFANA_SIGNATURE_HEADER, PLAIN), ("X-Signed-At", STAMP)], BODY).is_err());
    assert!(once(&auth, &[(GRAFANA_SIGNATURE_HEADER, STAMPED), ("X-Signed-At", "1770110121")], BODY).is_err());
    assert!(once(&auth, &headers[..1], BODY).unwrap_err().to_string().contains("X-Signed-At"));
}

#[test]
fn a_signature_is_taken_once_and_only_near_its_time() {
    let auth = hmac(Some("X-Signed-At"));
    let upper = STAMPED.to_uppercase();
    let headers = [(GRAFANA_SIGNATURE_HEADER, STAMPED), ("X-Signed-At", STAMP)];
    let shouted = [(GRAFANA_SIGNATURE_HEADER, upper.as_str()), ("X-Signed-At", STAMP)];
    for (offset, good) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
        let now = NOW + Span::from_secs(offset);
        let result = check(&auth, now, &headers, BODY, &mut ReplayGuard::default());
        assert_eq!(result, if good { Ok(()) } else { Err(AuthError::Stale(offset)) });
    }
    let mut replay = ReplayGuard::default();
    assert_eq!(check(&auth, NOW, &headers, BODY, &mut replay), Ok(()));
    assert_eq!(check(&auth, NOW, &headers, BODY, &mut replay), Err(AuthError::Replayed));
    assert_eq!(check(&auth, NOW + Span::from_secs(299), &shouted, BODY, &mut replay), Err(AuthError::Replayed));
}

#[test]
fn what_was_forgotten_stays_refused_when_the_clock_goes_back() {
    let mut replay = ReplayGuard::default();
    let tolerance = Span::from_secs(300);
    assert_eq!(replay.admit(NOW, 1_770_110_120, [1; 32], tolerance), Ok(()));
    let later = NOW + Span::from_secs(1000);
    assert_eq!(replay.admit(later, 1_770_111_120, [2; 32], tolerance), Ok(()));
    assert_eq!(replay.len(), 1, "the old one is forgotten");
    assert!(matches!(replay.admit(NOW, 1_770_110_120, [1; 32], tolerance), Err(AuthError::Stale(_))));
}

#[test]
fn strangers_cannot_fill_the_memory_and_a_full_one_refuses() {
    let auth = hmac(Some("t"));
    let mut replay = ReplayGuard::new(2);
    for i in 0..100 {
        let wrong = format!("{i:064x}");
        assert!(check(&auth, NOW, &[(GRAFANA_SIGNATURE_HEADER, &wrong), ("t", STAMP)], BODY, &mut replay).is_err());
    }
    assert!(replay.is_empty());
    let results = [1, 2, 3].map(|i| replay.admit(NOW, 1_770_110_120, [i; 32], Span::from_secs(300)));
    assert_eq!(results, [Ok(()), Ok(()), Err(AuthError::Crowded)]);
    assert_eq!(AuthError::Crowded.status(), 429);
}

#[test]
fn configuration_reads_and_hides_its_secrets() {
    let config: WebhookAuthConfig = serde_json::from_str(r#"{"grafana_hmac":{"secret":"hunter2","timestamp_header":"X-T"}}"#).unwrap();
    let auth = config.resolve(|_| None, |_| Err(std::io::Error::other("no"))).unwrap();
    assert!(!format!("{config:?} {auth:?} {}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    let WebhookAuth::GrafanaHmac { header, tolerance, .. } = auth else { panic!("{auth:?}") };
    assert_eq!((header.as_str(), tolerance), (GRAFANA_SIGNATURE_HEADER, Span::from_secs(300)));
    let empty: WebhookAuthConfig = serde_json::from_str(r#"{"bearer":"${env:T}"}"#).unwrap();
    assert!(empty.resolve(|_| Some(String::new()), |_| Ok(String::new())).unwrap_err().contains("${env:T}"));
    assert!(matches!(serde_json::from_str(r#""none""#).unwrap(), WebhookAuthConfig::None));
}

#[test]
fn published_vectors_verify() {
    let Some(text) = crate::corpus::read("sensing/handwritten/grafana/hmac_vectors.json") else { return };
    let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 2);
    for case in cases {
        let [body, signature] = ["body", "signature"].map(|field| case[field].as_str().unwrap());
        let stamp = case["timestamp"].as_str();
        let headers: Vec<(&str, &str)> =
            [(GRAFANA_SIGNATURE_HEADER, signature)].into_iter().chain(stamp.map(|stamp| ("T", stamp))).collect();
        assert_eq!(once(&hmac(stamp.map(|_| "T")), &headers, body.as_bytes()), Ok(()), "{case}");
    }
}
