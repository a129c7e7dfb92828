//! Answers from the windows: what is used, and what will be if it goes on like this. Each figure is cited with its reading.

use super::{Answer, Citation};
use crate::ask::{Period, Predicted, Resource, Subject};
use crate::http::view::number;
use homeostat_kernel::Kernel;
use homeostat_kernel::store::Selector;
use homeostat_model::{ReadingValue, SeriesKey, Span, Time};

/// What a resource is read from, with the words for a value.
const METRICS: [(Resource, &str, &str); 4] = [
    (Resource::Cpu, "node_cpu_busy_ratio", "of its processors are busy"),
    (Resource::Memory, "node_memory_avail_ratio", "of its memory is free"),
    (Resource::Power, "node_power_watts", "W are drawn"),
    (Resource::Disk, "filesystem_avail_ratio", "of the filesystem is free"),
];
/// How far back a forecast looks.
const TREND: Span = Span::from_hours(6);

/// Whether a series speaks of what is asked about.
fn speaks_of(key: &SeriesKey, of: &Subject) -> bool {
    match of {
        Subject::House => true,
        Subject::Target(target) => {
            key.labels.iter().any(|(_, value)| value == target.name() || target.name().rsplit('/').next() == Some(value))
        }
        Subject::Policy(_) | Subject::Person(_) | Subject::Team(_) => false,
    }
}

/// What a span of the past is; `None`: not one that windows hold.
fn span_of(period: Option<Period>) -> Result<Option<Span>, String> {
    match period {
        None => Ok(None),
        Some(Period::Last(span)) => Ok(Some(span)),
        Some(Period::Today | Period::LastNight) => Ok(Some(Span::from_hours(24))),
        Some(other) => Err(format!("Windows hold about a day; what was {} is not in them.", other.words())),
    }
}

pub(super) fn usage(kernel: &Kernel, of: &Subject, resources: &[Resource], period: Option<Period>, answer: &mut Answer) {
    let span = match span_of(period) {
        Ok(span) => span,
        Err(why) => return answer.line(why),
    };
    for (_, metric, words) in METRICS.iter().filter(|(resource, ..)| resources.is_empty() || resources.contains(resource)) {
        let share = metric.ends_with("_ratio");
        for (key, value, at) in readings(kernel, metric, of, span) {
            let shown = match &value {
                ReadingValue::Value(value) if share => format!("{:.0} % {words}", value * 100.0),
                ReadingValue::Value(value) => format!("{} {words}", number(*value)),
                other => other.to_string(),
            };
            let mean = span.map_or(String::new(), |span| format!(" (mean of {span})"));
            answer.line(format!("{}: {shown}{mean}", name_of(&key)));
            answer.cite(Citation::Reading { series: key.to_string(), value: value.to_string(), at });
        }
    }
}

type Reading = (SeriesKey, ReadingValue, Option<Time>);

fn readings(kernel: &Kernel, metric: &str, of: &Subject, span: Option<Span>) -> Vec<Reading> {
    let Ok(selector) = Selector::parse(metric) else { return Vec::new() };
    let now = kernel.now();
    kernel.with_store(|store| {
        let named = store.select(&selector).into_iter().filter_map(|series| Some((series, store.key(series)?)));
        let wanted = named.filter(|(_, key)| speaks_of(key, of)).take(super::LINES_MAX);
        let read = |series| match span {
            None => store.last(series, now),
            Some(span) => store.window(series, now, span).avg(),
        };
        wanted
            .map(|(series, key)| {
                let read = read(series);
                (key, read.value, read.sampled_at)
            })
            .collect()
    })
}

fn name_of(key: &SeriesKey) -> String {
    let parts = ["node", "instance", "namespace", "pod", "disk", "mountpoint", "certificate", "service"];
    let named: Vec<&str> = parts.iter().filter_map(|name| key.labels.get(name)).collect();
    if named.is_empty() { key.to_string() } else { named.join(" ") }
}

pub(super) fn predict(kernel: &Kernel, of: &Subject, what: Predicted, answer: &mut Answer) {
    if matches!(what, Predicted::Full | Predicted::Anything) {
        full(kernel, of, answer);
    }
    if matches!(what, Predicted::Fail | Predicted::Anything) {
        for (key, value, at) in readings(kernel, "disk_failure_risk", of, None) {
            if let ReadingValue::Value(risk) = value {
                answer.line(format!("{}: its disk's risk of failing is {risk:.2}", name_of(&key)));
            }
            answer.cite(Citation::Reading { series: key.to_string(), value: value.to_string(), at });
        }
    }
    if matches!(what, Predicted::Expire | Predicted::Anything) {
        for (key, value, at) in readings(kernel, "certificate_expiry_seconds", of, None) {
            if let ReadingValue::Value(left) = value {
                answer.line(format!("{}: expires in {}", name_of(&key), Span::from_secs(left as i64)));
            }
            answer.cite(Citation::Reading { series: key.to_string(), value: value.to_string(), at });
        }
    }
}

fn full(kernel: &Kernel, of: &Subject, answer: &mut Answer) {
    let Ok(selector) = Selector::parse("filesystem_avail_ratio") else { return };
    let now = kernel.now();
    let found: Vec<(SeriesKey, ReadingValue, ReadingValue, Option<Time>)> = kernel.with_store(|store| {
        let named = store.select(&selector).into_iter().filter_map(|series| Some((series, store.key(series)?)));
        let wanted = named.filter(|(_, key)| speaks_of(key, of)).take(super::LINES_MAX);
        wanted
            .map(|(series, key)| {
                let last = store.last(series, now);
                let left = store.window(series, now, TREND).seconds_until(0.0).value;
                (key, last.value, left, last.sampled_at)
            })
            .collect()
    });
    for (key, last, left, at) in found {
        let ReadingValue::Value(avail) = last else {
            answer.line(format!("{}: {last}", name_of(&key)));
            continue;
        };
        let when = match left {
            ReadingValue::Value(seconds) if seconds.is_finite() && seconds > 0.0 && seconds < 3.0e8 => {
                format!("full in about {}, as it went in the last {TREND}", rounded(seconds))
            }
            ReadingValue::Value(_) | ReadingValue::NoData => format!("it does not fill up, as it went in the last {TREND}"),
            other => other.to_string(),
        };
        answer.line(format!("{}: {:.0} % free; {when}", name_of(&key), avail * 100.0));
        answer.cite(Citation::Reading { series: key.to_string(), value: number(avail), at });
    }
}

/// Minutes below a day, hours above: a trend is no clock.
fn rounded(seconds: f64) -> Span {
    let unit = if seconds < 86_400.0 { 60.0 } else { 3_600.0 };
    Span::from_secs(((seconds / unit).round() * unit) as i64)
}
