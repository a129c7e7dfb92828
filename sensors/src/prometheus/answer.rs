//! Prometheus' HTTP API answers, read by streaming into borrowed types; every list has a limit.
//!
//! Numbers come as text (`"1"`, `"NaN"`, `"+Inf"`), times as JSON numbers in seconds. Native histograms are skipped: no policy
//! reads them. Deliberately absent: HTTP itself. An editor breaks this by refusing a field that a newer Prometheus adds, or by
//! trusting that an error answer has no `data`.

use homeostat_model::{Fault, FaultCode, Time};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// More series of one answer are counted, not kept.
const SERIES_PARSED_MAX: usize = 200_000;
/// A series with more labels is counted, not kept.
const LABELS_MAX: usize = 64;
/// Warnings kept of one answer.
const WARNINGS_MAX: usize = 4;

/// What every answer is wrapped in.
#[derive(Deserialize)]
struct Envelope<'a, D> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    data: Option<D>,
    #[serde(borrow, rename = "errorType")]
    error_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    warnings: Option<Vec<Cow<'a, str>>>,
}

/// Reads a successful answer: its data and the server's warnings (partial data; at most four).
///
/// `Malformed` for what is not the API's JSON; for an answer that says `error`, what [`error`] says.
pub(super) fn read<'a, D: Deserialize<'a>>(body: &'a [u8], doing: &str) -> Result<(D, Vec<String>), Fault> {
    let envelope: Envelope<'a, D> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(failure) => {
            let detail = format!("{failure}; expected a JSON answer of the Prometheus API, got {}", head(body));
            // Error answers may carry data of any shape.
            return Err(error(body, doing).unwrap_or_else(|| Fault::new(FaultCode::Malformed, doing, detail)));
        }
    };
    let kept: Vec<String> =
        envelope.warnings.unwrap_or_default().iter().take(WARNINGS_MAX).map(|w| w.chars().take(300).collect()).collect();
    match envelope.data {
        Some(data) if envelope.status == "success" => Ok((data, kept)),
        _ => Err(error(body, doing).unwrap_or_else(|| {
            let detail = format!("the status is `{}` and there is no data; expected `success` with data", shown(&envelope.status));
            Fault::new(FaultCode::Malformed, doing, detail)
        })),
    }
}

/// The fault that an answer tells of; `None` if it is not an error answer of the API.
pub(super) fn error(body: &[u8], doing: &str) -> Option<Fault> {
    let envelope: Envelope<'_, IgnoredAny> = serde_json::from_slice(body).ok()?;
    let kind = envelope.error_type.filter(|_| envelope.status != "success")?;
    let text = envelope.error.unwrap_or_default();
    let code = match &*kind {
        "bad_data" if text.contains("maximum resolution") => FaultCode::Limit,
        "execution" if text.contains("too many samples") => FaultCode::Limit,
        "bad_data" | "not_acceptable" => FaultCode::Malformed,
        "timeout" | "canceled" => FaultCode::TimedOut,
        "unavailable" => FaultCode::Conflict,
        "not_found" => FaultCode::NotFound,
        _ => FaultCode::Failed,
    };
    Some(Fault::new(code, doing, format!("Prometheus says {}: {}", shown(&kind), text.chars().take(500).collect::<String>())))
}

/// The fault of an answer with another HTTP status than 2xx, JSON or not.
pub(super) fn refusal(status: u16, body: &[u8], doing: &str) -> Fault {
    error(body, doing).unwrap_or_else(|| {
        let code = match status {
            404 | 410 => FaultCode::NotFound,
            429 => FaultCode::Limit,
            // Without JSON: not ready yet (replaying its log), or a proxy in front of nothing.
            502..=504 => FaultCode::Conflict,
            _ => FaultCode::Failed,
        };
        Fault::new(code, doing, format!("answered with HTTP status {status} and {}; expected the Prometheus API", head(body)))
    })
}

fn head(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    format!("{:?}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// One series of an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Item<'a> {
    /// The metric's name; empty where the expression dropped it.
    pub(super) name: Cow<'a, str>,
    /// All other labels, ordered.
    pub(super) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The samples as the server ordered them.
    pub(super) values: Vec<(Time, f64)>,
    /// It has more labels than are read.
    pub(super) oversized: bool,
}

/// The data of `/query` and `/query_range`.
#[derive(Debug, Default)]
pub(super) struct QueryData<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// A scalar's value.
    pub(super) scalar: Option<(Time, f64)>,
    /// Series left out: too many, or with too many labels.
    pub(super) dropped: u64,
    /// Native histograms left out.
    pub(super) histograms: u64,
}

impl<'de> Deserialize<'de> for QueryData<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DataVisitor;
        impl<'de> Visitor<'de> for DataVisitor {
            type Value = QueryData<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `resultType` and `result`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut data = None;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if &*key.0 == "result" {
                        data = Some(map.next_value::<ResultList<'de>>()?.0)
                    } else {
                        map.next_value::<IgnoredAny>().map(drop)?
                    }
                }
                data.ok_or_else(|| serde::de::Error::missing_field("result"))
            }
        }
        deserializer.deserialize_map(DataVisitor)
    }
}

/// `result`: series objects, or a scalar's `[time, "value"]`.
struct ResultList<'a>(QueryData<'a>);

impl<'de> Deserialize<'de> for ResultList<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = ResultList<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series, or [time, value]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut data = QueryData::default();
                let mut time = None;
                while data.items.len() < SERIES_PARSED_MAX {
                    match list.next_element::<Element<'de>>()? {
                        None => return Ok(ResultList(data)),
                        Some(Element::Number(seconds)) => time = Some(seconds),
                        Some(Element::Text(text)) => data.scalar = time.and_then(stamp).zip(number(&text)),
                        Some(Element::Series(item, histograms)) => {
                            data.histograms += histograms;
                            if item.oversized { data.dropped += 1 } else { data.items.push(item) }
                        }
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    data.dropped += 1;
                }
                Ok(ResultList(data))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

enum Element<'a> {
    Series(Item<'a>, u64),
    Number(f64),
    Text(Cow<'a, str>),
}

impl<'de> Deserialize<'de> for Element<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series, a time or a value")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Element::Number(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Element::Number(value as f64))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Element::Number(value as f64))
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Element::Text(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Element::Text(value.to_owned().into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut item, mut histograms) = (Item::default(), 0);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key.0 {
                        "metric" => {
                            let Metric { name, labels, oversized } = map.next_value()?;
                            (item.name, item.labels, item.oversized) = (name, labels, oversized);
                        }
                        "value" => item.values.extend(map.next_value::<Pair>()?.0),
                        "values" => item.values.extend(map.next_value::<Vec<Pair>>()?.into_iter().filter_map(|pair| pair.0)),
                        other => {
                            histograms += u64::from(matches!(other, "histogram" | "histograms"));
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Element::Series(item, histograms))
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

/// A label map, at most [`LABELS_MAX`] of it.
struct Metric<'a> {
    name: Cow<'a, str>,
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    oversized: bool,
}

impl<'de> Deserialize<'de> for Metric<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetricVisitor;
        impl<'de> Visitor<'de> for MetricVisitor {
            type Value = Metric<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of labels")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut metric = Metric { name: Cow::Borrowed(""), labels: Vec::new(), oversized: false };
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if &*name.0 == "__name__" {
                        metric.name = value.0;
                    } else if metric.labels.len() < LABELS_MAX {
                        metric.labels.push((name.0, value.0));
                    } else {
                        metric.oversized = true;
                    }
                }
                metric.labels.sort();
                Ok(metric)
            }
        }
        deserializer.deserialize_map(MetricVisitor)
    }
}

/// Text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `[seconds, "value"]`; `None` where the value is no number.
struct Pair(Option<(Time, f64)>);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value<'a> {
            Number(f64),
            Text(#[serde(borrow)] Cow<'a, str>),
        }
        let (seconds, value): (f64, Value<'de>) = Deserialize::deserialize(deserializer)?;
        let value = match value {
            Value::Number(value) => Some(value),
            Value::Text(text) => number(&text),
        };
        Ok(Pair(stamp(seconds).zip(value)))
    }
}

/// A number as Prometheus writes it.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// Seconds as milliseconds; `None` outside of what a clock can show.
fn stamp(seconds: f64) -> Option<Time> {
    (seconds.abs() < 1e12).then(|| Time((seconds * 1000.0).round() as i64))
}

/// The data of `/alerts`.
#[derive(Debug, Deserialize)]
pub(super) struct AlertsData {
    #[serde(default)]
    pub(super) alerts: Vec<ActiveAlert>,
}

/// One active alert.
#[derive(Debug, Deserialize)]
pub(super) struct ActiveAlert {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) state: String,
}

/// The data of `/rules`.
#[derive(Debug, Deserialize)]
pub(super) struct RulesData {
    #[serde(default)]
    pub(super) groups: Vec<RuleGroup>,
}

/// A group of rules.
#[derive(Debug, Deserialize)]
pub(super) struct RuleGroup {
    pub(super) name: String,
    #[serde(default)]
    pub(super) rules: Vec<RuleHealth>,
}

/// One rule.
#[derive(Debug, Deserialize)]
pub(super) struct RuleHealth {
    pub(super) name: String,
    #[serde(default)]
    pub(super) health: String,
}

/// The data of `/targets`.
#[derive(Debug, Deserialize)]
pub(super) struct TargetsData {
    #[serde(default, rename = "activeTargets")]
    pub(super) active: Vec<ActiveTarget>,
}

/// One scrape target.
#[derive(Debug, Deserialize)]
pub(super) struct ActiveTarget {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) health: String,
    #[serde(default, rename = "lastError")]
    pub(super) last_error: String,
}

/// Whether a series is wider than [`LABELS_MAX`].
pub(super) fn too_wide(labels: &BTreeMap<String, String>) -> bool {
    labels.len() > LABELS_MAX
}
