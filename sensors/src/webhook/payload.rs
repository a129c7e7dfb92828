//! From JSON to alerts. Every refusal names the path in the payload, what stood there and what was expected.

use super::{WebhookError, WebhookLimits, label_fingerprint};
use homeostat_model::{Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus, Labels, Time};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

type Object = Map<String, Value>;

/// Year 2, in seconds since the epoch: senders write year 1 for "no time".
const YEAR_TWO_SECONDS: i64 = -62_104_060_800;

pub(super) fn read(source: AlertSource, value: &Value, limits: &WebhookLimits) -> Result<AlertDelivery, WebhookError> {
    let Value::Object(top) = value else {
        return Err(unfit(format!("the body is {}, expected an object: {}", kind(value), help(source))));
    };
    check_kind(source, top)?;
    let receiver = unquote(optional_text(top, "receiver", "")?.unwrap_or(""));
    let group_key = optional_text(top, "groupKey", "")?.unwrap_or("").to_owned();
    for (field, text) in [("receiver", &receiver), ("groupKey", &group_key)] {
        if text.len() > limits.alert_bytes_max {
            return Err(unfit(format!("`{field}` has {} bytes, at most {} are read", text.len(), limits.alert_bytes_max)));
        }
    }
    let none = Vec::new();
    let raw = match top.get("alerts") {
        None | Some(Value::Null) => &none,
        Some(Value::Array(alerts)) => alerts,
        Some(other) => return Err(unfit(format!("`alerts` is {}, expected a list", kind(other)))),
    };
    if raw.len() > limits.alerts_max {
        let message = format!(
            "`alerts` holds {} alerts, at most {} are read (`alerts_max`); set `max_alerts` (Alertmanager) or `maxAlerts` (Grafana)",
            raw.len(),
            limits.alerts_max
        );
        return Err(unfit(message));
    }
    let truncated = top.get("truncatedAlerts").and_then(Value::as_u64).unwrap_or(0);
    let alerts = raw.iter().enumerate().map(|(i, alert)| read_alert(source, i, alert, limits)).collect::<Result<_, _>>()?;
    Ok(AlertDelivery { source, receiver, group_key, truncated, alerts })
}

/// Alertmanager says version 4; Grafana says 1 and has `orgId` and `state`, which Alertmanager has not. All else is a template's work.
fn check_kind(source: AlertSource, top: &Object) -> Result<(), WebhookError> {
    let version = top.get("version").and_then(Value::as_str);
    let grafana_marks = top.contains_key("orgId") || top.contains_key("state");
    let sender = match version {
        Some("4") if !grafana_marks => AlertSource::Alertmanager,
        Some("1") if grafana_marks => AlertSource::Grafana,
        _ => {
            let seen = version.map_or_else(|| "no text `version`".to_owned(), |v| format!("`version` {:?}", shown(v)));
            return Err(unfit(format!("the payload has {seen}: it looks like a custom one (`payload`); {}", help(source))));
        }
    };
    if sender == source {
        return Ok(());
    }
    Err(unfit(format!(
        "this is a payload of {}, but the URL is the one for {}: let {} post to the URL that ends in `/{}`",
        sender.name(),
        source.name(),
        sender.name(),
        sender.name()
    )))
}

fn help(source: AlertSource) -> &'static str {
    match source {
        AlertSource::Alertmanager => {
            "expected Alertmanager's own webhook body (`version: \"4\"`, `receiver`, `alerts`): leave `payload` out of `webhook_configs`"
        }
        AlertSource::Grafana => {
            "expected Grafana's own webhook body (`version: \"1\"`, `orgId`, `state`, `alerts`): leave the custom payload of the contact point empty"
        }
    }
}

fn read_alert(source: AlertSource, index: usize, value: &Value, limits: &WebhookLimits) -> Result<Alert, WebhookError> {
    let path = format!("alerts[{index}].");
    let Value::Object(raw) = value else {
        return Err(unfit(format!("`alerts[{index}]` is {}, expected an object", kind(value))));
    };
    let labels: Vec<(&str, &str)> = texts(raw, "labels", &path, limits)?;
    let annotations: Vec<(&str, &str)> = texts(raw, "annotations", &path, limits)?;
    let bytes: usize = labels.iter().chain(&annotations).map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits.alert_bytes_max {
        let name = labels.iter().find(|(name, _)| *name == "alertname").map_or("", |(_, value)| value);
        return Err(unfit(format!(
            "`alerts[{index}]` (alertname {:?}) has {bytes} bytes of labels and annotations, at most {} are read",
            shown(name),
            limits.alert_bytes_max
        )));
    }
    let labels = Labels::new(labels);
    let status = match required_text(raw, "status", &path)? {
        "firing" => AlertStatus::Firing,
        "resolved" => AlertStatus::Resolved,
        other => return Err(unfit(format!("`{path}status` is {:?}, expected `firing` or `resolved`", shown(other)))),
    };
    let starts_at = time(required_text(raw, "startsAt", &path)?, "startsAt", &path)?
        .ok_or_else(|| unfit(format!("`{path}startsAt` is in year 1, expected when the alert began")))?;
    let ends_at = match optional_text(raw, "endsAt", &path)? {
        None | Some("") => None,
        Some(text) => time(text, "endsAt", &path)?.filter(|_| status == AlertStatus::Resolved),
    };
    let fingerprint = match optional_text(raw, "fingerprint", &path)? {
        Some(text) if !text.is_empty() && text.len() <= limits.value_bytes_max => text.to_owned(),
        Some(text) if text.len() > limits.value_bytes_max => {
            return Err(unfit(format!("`{path}fingerprint` has {} bytes, expected 16 hex digits", text.len())));
        }
        _ => label_fingerprint(&labels),
    };
    let (kind, name) = kind_and_name(source, &labels);
    let annotations = annotations.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    Ok(Alert { fingerprint, status, kind, name, labels, annotations, starts_at, ends_at, values: values(raw, limits) })
}

/// Grafana renames the alert when its rule cannot be evaluated and keeps the rule's name in `rulename`.
fn kind_and_name(source: AlertSource, labels: &Labels) -> (AlertKind, String) {
    let name = labels.get("alertname").unwrap_or("");
    let kind = match (source, name) {
        (AlertSource::Grafana, "DatasourceNoData") => AlertKind::NoData,
        (AlertSource::Grafana, "DatasourceError") => AlertKind::Error,
        _ => return (AlertKind::Condition, name.to_owned()),
    };
    (kind, labels.get("rulename").unwrap_or(name).to_owned())
}

/// `values` may be null, missing (early version 9), or hold a null. At most as many as labels are kept.
fn values(raw: &Object, limits: &WebhookLimits) -> BTreeMap<String, f64> {
    let Some(Value::Object(values)) = raw.get("values") else { return BTreeMap::new() };
    let numbers = values.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
    numbers.filter(|(name, _)| name.len() <= limits.value_bytes_max).take(limits.labels_max).map(|(n, v)| (n.clone(), v)).collect()
}

fn texts<'a>(raw: &'a Object, field: &str, path: &str, limits: &WebhookLimits) -> Result<Vec<(&'a str, &'a str)>, WebhookError> {
    let map = match raw.get(field) {
        None | Some(Value::Null) if field == "annotations" => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        other => return Err(unfit(format!("`{path}{field}` is {}, expected a map of texts", other.map_or("missing", kind)))),
    };
    if map.len() > limits.labels_max {
        return Err(unfit(format!("`{path}{field}` has {} entries, at most {} are read", map.len(), limits.labels_max)));
    }
    let mut pairs = Vec::with_capacity(map.len());
    for (name, value) in map {
        let Value::String(text) = value else {
            return Err(unfit(format!("`{path}{field}.{}` is {}, expected a text", shown(name), kind(value))));
        };
        let longest = name.len().max(text.len());
        if longest > limits.value_bytes_max {
            let message = format!("`{path}{field}.{}` has {longest} bytes, at most {} are read", shown(name), limits.value_bytes_max);
            return Err(unfit(message));
        }
        pairs.push((name.as_str(), text.as_str()));
    }
    Ok(pairs)
}

fn optional_text<'a>(raw: &'a Object, field: &str, path: &str) -> Result<Option<&'a str>, WebhookError> {
    match raw.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(unfit(format!("`{path}{field}` is {}, expected a text", kind(other)))),
    }
}

fn required_text<'a>(raw: &'a Object, field: &str, path: &str) -> Result<&'a str, WebhookError> {
    optional_text(raw, field, path)?.ok_or_else(|| unfit(format!("`{path}{field}` is missing, expected a text")))
}

/// RFC 3339 with any offset and up to nanoseconds; `None` for year 1.
fn time(text: &str, field: &str, path: &str) -> Result<Option<Time>, WebhookError> {
    let stamp: jiff::Timestamp = text.parse().map_err(|_| {
        unfit(format!("`{path}{field}` is {:?}, expected a time as in RFC 3339, `2026-02-03T10:15:20.123+01:00`", shown(text)))
    })?;
    Ok((stamp.as_second() >= YEAR_TWO_SECONDS).then(|| Time(stamp.as_millisecond())))
}

/// Takes back Go's `regexp.QuoteMeta`, which Alertmanager puts on the receiver's name: `cyber\.engine` was `cyber.engine`.
fn unquote(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\\'
            && let Some(quoted) = rest.next_if(|next| r"\.+*?()|[]{}^$".contains(*next))
        {
            plain.push(quoted);
        } else {
            plain.push(c);
        }
    }
    plain
}

fn unfit(message: String) -> WebhookError {
    WebhookError::new(422, message)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The first characters of a foreign text, for messages.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
