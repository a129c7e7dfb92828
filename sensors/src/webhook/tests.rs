use super::*;
use homeostat_model::{AlertKind, AlertStatus, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

fn alert() -> Value {
    json!({"status": "firing", "labels": {"alertname": "DiskFull", "instance": "brain:9100"}, "annotations": {"summary": "s"},
           "startsAt": "2026-02-03T10:15:20+01:00", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "8f31f2a0c7d94e11"})
}

fn alertmanager(alerts: Vec<Value>) -> Value {
    json!({"receiver": "lab", "status": "firing", "alerts": alerts, "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 2})
}

fn grafana(alerts: Vec<Value>) -> Value {
    json!({"receiver": "lab", "alerts": alerts, "version": "1", "orgId": 1, "state": "alerting", "groupKey": "k"})
}

fn read(source: AlertSource, value: &Value) -> Result<AlertDelivery, WebhookError> {
    parse(source, value.to_string().as_bytes(), &WebhookLimits::default())
}

fn changed(field: &str, value: Value) -> Value {
    let mut alert = alert();
    alert[field] = value;
    alert
}

/// The one alert of a Grafana delivery whose alert has one field changed.
fn one(field: &str, value: Value) -> homeostat_model::Alert {
    read(AlertSource::Grafana, &grafana(vec![changed(field, value)])).unwrap().alerts.remove(0)
}

fn refused(source: AlertSource, value: &Value, parts: &[&str]) {
    let error = read(source, value).unwrap_err();
    assert_eq!(error.status, 422, "{error}");
    for part in parts {
        assert!(error.message.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn a_delivery_is_read_whole() {
    let delivery = read(AlertSource::Alertmanager, &alertmanager(vec![alert()])).unwrap();
    assert_eq!((delivery.receiver.as_str(), delivery.group_key.as_str(), delivery.truncated), ("lab", "{}:{}", 2));
    let alert = &delivery.alerts[0];
    assert_eq!((alert.status, alert.kind, alert.name.as_str()), (AlertStatus::Firing, AlertKind::Condition, "DiskFull"));
    assert_eq!((alert.labels.get("instance"), alert.annotations["summary"].as_str()), (Some("brain:9100"), "s"));
    assert_eq!(alert.starts_at, Time(1_770_110_120_000));
}

#[test]
fn the_receiver_loses_its_regex_quoting() {
    for (sent, name) in [(r"cyber\.engine", "cyber.engine"), (r"a\\b\-\(c\)", r"a\b\-(c)"), (r"end\", r"end\"), ("grün", "grün")] {
        let mut value = alertmanager(vec![]);
        value["receiver"] = json!(sent);
        assert_eq!(read(AlertSource::Alertmanager, &value).unwrap().receiver, name);
    }
}

#[test]
fn year_one_is_no_end() {
    assert_eq!(one("endsAt", json!("0001-01-01T00:00:00Z")).ends_at, None);
    let mut resolved = changed("status", json!("resolved"));
    assert_eq!(read(AlertSource::Grafana, &grafana(vec![resolved.clone()])).unwrap().alerts[0].ends_at, None);
    resolved["endsAt"] = json!("2026-02-03T10:41:20.5+01:00");
    assert_eq!(read(AlertSource::Grafana, &grafana(vec![resolved])).unwrap().alerts[0].ends_at, Some(Time(1_770_111_680_500)));
    assert_eq!(one("endsAt", Value::Null).ends_at, None);
    assert_eq!(one("endsAt", json!("2026-02-03T10:41:20Z")).ends_at, None, "firing alerts have no end");
}

#[test]
fn times_have_offsets_and_nanoseconds() {
    for (text, millis) in [
        ("2026-11-20T23:36:26.923348285Z", 1_795_217_786_923),
        ("2026-11-21T00:36:26.923348285+01:00", 1_795_217_786_923),
        ("2026-11-20T23:36:26Z", 1_795_217_786_000),
    ] {
        assert_eq!(one("startsAt", json!(text)).starts_at, Time(millis), "{text}");
    }
    for bad in [json!("yesterday"), json!("2026-11-20T23:36:26"), json!(12), Value::Null, json!("0001-01-01T00:00:00Z")] {
        refused(AlertSource::Grafana, &grafana(vec![changed("startsAt", bad)]), &["alerts[0].startsAt"]);
    }
}

#[test]
fn grafana_values_may_be_null_or_missing() {
    assert!(one("values", Value::Null).values.is_empty());
    assert_eq!(
        one("values", json!({"A": 91.5, "B": null, "C": 1})).values.into_iter().collect::<Vec<_>>(),
        [("A".into(), 91.5), ("C".into(), 1.0)]
    );
}

#[test]
fn the_value_string_is_never_parsed() {
    let alert = one("valueString", json!("[ var='A' labels={x=1} value=91 ]"));
    assert!(alert.values.is_empty() && !alert.annotations.contains_key("valueString"));
}

#[test]
fn no_data_and_error_keep_the_rules_name() {
    for (name, kind) in [("DatasourceNoData", AlertKind::NoData), ("DatasourceError", AlertKind::Error)] {
        let alert = one("labels", json!({"alertname": name, "rulename": "DiskFull"}));
        assert_eq!((alert.kind, alert.name.as_str()), (kind, "DiskFull"));
        let other = changed("labels", json!({"alertname": name, "rulename": "DiskFull"}));
        let other = read(AlertSource::Alertmanager, &alertmanager(vec![other])).unwrap().alerts.remove(0);
        assert_eq!((other.kind, other.name.as_str()), (AlertKind::Condition, name), "only Grafana renames");
    }
}

#[test]
fn a_payload_at_the_wrong_url_is_told_the_right_one() {
    refused(AlertSource::Grafana, &alertmanager(vec![]), &["payload of alertmanager", "`/alertmanager`"]);
    refused(AlertSource::Alertmanager, &grafana(vec![]), &["payload of grafana", "`/grafana`"]);
}

#[test]
fn a_custom_payload_is_told_how_to_be_ours() {
    for custom in
        [json!({"text": "hello"}), json!({"version": "4", "state": "ok"}), json!({"version": 4}), json!({"version": "1"}), json!([])]
    {
        refused(AlertSource::Grafana, &custom, &["custom payload", "`orgId`"]);
        refused(AlertSource::Alertmanager, &custom, &["`payload`", "version: \"4\""]);
    }
}

#[test]
fn unknown_fields_and_doubled_keys_are_tolerated() {
    let text = r#"{"version":"4","notification_reason":"new","routeLabels":{},"receiver":"a","receiver":"b","alerts":[
        {"status":"resolved","status":"firing","labels":{"a":"1","a":"2"},"startsAt":"2026-01-01T00:00:00Z","new":[{}]}]}"#;
    let delivery = parse(AlertSource::Alertmanager, text.as_bytes(), &WebhookLimits::default()).unwrap();
    assert_eq!((delivery.receiver.as_str(), delivery.truncated, delivery.group_key.as_str()), ("b", 0, ""));
    assert_eq!((delivery.alerts[0].status, delivery.alerts[0].labels.get("a")), (AlertStatus::Firing, Some("2")));
    assert_eq!((delivery.alerts[0].name.as_str(), delivery.alerts[0].fingerprint.len()), ("", 16));
}

#[test]
fn a_missing_fingerprint_is_computed_from_the_labels() {
    for missing in [Value::Null, json!("")] {
        let mut alert = changed("fingerprint", missing);
        alert["labels"] = json!({"test": "many", "alertname": "Many", "i": "1"});
        assert_eq!(read(AlertSource::Grafana, &grafana(vec![alert])).unwrap().alerts[0].fingerprint, "d2768b8f384f4aca");
    }
}

#[test]
fn an_alert_over_a_limit_refuses_all_and_is_named() {
    let many: serde_json::Map<String, Value> = (0..65).map(|i| (format!("l{i}"), json!("x"))).collect();
    let heavy: serde_json::Map<String, Value> = (0..30).map(|i| (format!("l{i}"), json!("x".repeat(4000)))).collect();
    let long = json!({"alertname": "x".repeat(5000)});
    for (field, value, part) in [
        ("labels", json!(many), "alerts[1].labels` has 65 entries"),
        ("annotations", json!(many), "alerts[1].annotations` has 65"),
        ("labels", long, "alerts[1].labels.alertname` has 5000 bytes"),
        ("labels", json!({"x".repeat(5000): "v"}), "has 5000 bytes"),
        ("annotations", json!(heavy), "alerts[1]` (alertname \"DiskFull\") has"),
        ("labels", json!({"a": 1}), "alerts[1].labels.a` is a number"),
        ("labels", Value::Null, "alerts[1].labels` is null"),
        ("status", json!("pending"), "expected `firing` or `resolved`"),
        ("fingerprint", json!("f".repeat(5000)), "alerts[1].fingerprint"),
    ] {
        refused(AlertSource::Grafana, &grafana(vec![alert(), changed(field, value)]), &[part]);
    }
    refused(AlertSource::Grafana, &grafana(vec![alert(); 1001]), &["1001 alerts", "maxAlerts"]);
    refused(AlertSource::Grafana, &grafana(vec![json!(7)]), &["alerts[0]` is a number"]);
    assert_eq!(read(AlertSource::Grafana, &grafana(vec![alert(); 1000])).unwrap().alerts.len(), 1000);
}

#[test]
fn what_is_not_json_in_utf8_is_400_and_too_much_is_413() {
    let limits = WebhookLimits { body_bytes_max: 4096, ..WebhookLimits::default() };
    let deep = "[".repeat(2000);
    for body in [&b""[..], b"{", b"hello", b"{\"receiver\":\"\xff\"}", b"\xef\xbb\xbf{}", deep.as_bytes()] {
        assert_eq!(parse(AlertSource::Grafana, body, &limits).unwrap_err().status, 400, "{}", String::from_utf8_lossy(body));
    }
    let error = parse(AlertSource::Grafana, &[b' '; 4097], &limits).unwrap_err();
    assert!(error.status == 413 && error.message.contains("4097") && error.message.contains("4096"), "{error}");
}

#[test]
fn real_deliveries_are_read() {
    let captured = crate::corpus::files("sensing/captured/alertmanager_webhook", ".json");
    for (name, body) in &captured {
        let delivery = parse(AlertSource::Alertmanager, body, &WebhookLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!delivery.alerts.is_empty() && !delivery.receiver.contains('\\'), "{name}: {delivery:?}");
        for alert in &delivery.alerts {
            assert_eq!(alert.fingerprint, label_fingerprint(&alert.labels), "{name}");
            assert_eq!(alert.ends_at.is_some(), alert.status == AlertStatus::Resolved, "{name}");
        }
        assert!(parse(AlertSource::Grafana, body, &WebhookLimits::default()).unwrap_err().message.contains("`/alertmanager`"), "{name}");
    }
    let written: Vec<_> = ["grafana", "alertmanager"]
        .into_iter()
        .flat_map(|sender| crate::corpus::files(&format!("sensing/handwritten/{sender}"), ".json"))
        .filter(|(name, _)| name.starts_with("webhook"))
        .collect();
    for (name, body) in &written {
        let source = if name.contains("v0.34") { AlertSource::Alertmanager } else { AlertSource::Grafana };
        let delivery = parse(source, body, &WebhookLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!delivery.alerts.is_empty(), "{name}");
        let no_data = delivery.alerts.iter().any(|alert| alert.kind == AlertKind::NoData);
        assert_eq!(no_data, name.contains("nodata"), "{name}");
        assert_eq!(delivery.truncated, if name.contains("truncated") { 3 } else { 0 }, "{name}");
    }
    println!("{} captured and {} written deliveries were read", captured.len(), written.len());
}

fn any_json() -> impl Strategy<Value = Value> {
    let names =
        prop::sample::select(vec!["version", "alerts", "labels", "status", "startsAt", "endsAt", "orgId", "receiver", "values", "x"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["1", "4", "firing", "resolved", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "\\", "ü"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_is_posted_panics(value in any_json(), is_grafana in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let source = if is_grafana { AlertSource::Grafana } else { AlertSource::Alertmanager };
        for status in [read(source, &value), parse(source, &bytes, &WebhookLimits::default())].into_iter().filter_map(|r| r.err()).map(|e| e.status) {
            prop_assert!([400, 413, 422].contains(&status));
        }
        let mut top = if is_grafana { grafana(vec![]) } else { alertmanager(vec![]) };
        top["alerts"] = value.clone();
        if let Ok(delivery) = read(source, &top) {
            prop_assert_eq!(delivery.alerts.len(), value.as_array().map_or(0, Vec::len));
        }
    }
}
