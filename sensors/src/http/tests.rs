use super::*;

#[test]
fn a_url_is_shown_without_its_secrets() {
    let url = Url::parse("https://nas:9443/probe?target=a.lab&token=hunter2#x").unwrap();
    assert_eq!(shown(&url), "https://nas:9443/probe?target=a.lab&token=…");
}

#[test]
fn addresses_that_cannot_be_read_are_refused_and_never_echoed() {
    for (text, expected) in [("nas:9100", "scheme"), ("http://", "not a URL"), ("ftp://x/", "scheme"), ("http://a:hunter2@nas/", "basic")] {
        let fault = HttpReader::new(&HttpConfig::plain(text), Span::from_secs(1)).unwrap_err();
        assert!(fault.detail.contains(expected), "{text}: {fault}");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}

#[test]
fn gzip_is_off_only_on_this_machine() {
    for (text, expected) in [
        ("http://localhost:1/", true),
        ("http://127.0.0.1/", true),
        ("http://[::1]:9/", true),
        ("http://nas/", false),
        ("http://10.0.0.1/", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn a_configuration_is_strict_and_hides_its_secrets() {
    let config: HttpConfig = serde_json::from_str(r#"{"url":"http://nas/","bearer":"hunter2","headers":{"X-Key":"hunter2"}}"#).unwrap();
    assert!(!format!("{config:?} {}", serde_json::to_string(&config).unwrap()).contains("hunter2"));
    assert!(serde_json::from_str::<HttpConfig>(r#"{"url":"http://nas/","beerer":"x"}"#).is_err());
}

#[test]
fn a_status_becomes_a_fault_code() {
    for (status, code) in [(200, None), (404, Some(FaultCode::NotFound)), (429, Some(FaultCode::Limit)), (503, Some(FaultCode::Failed))] {
        let answer = Answer { status, content_type: None };
        assert_eq!(answer.require_success("GET x", b"some\n words").err().map(|fault| fault.code), code, "{status}");
    }
}
