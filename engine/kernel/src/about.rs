//! What labels are about, which series are about a thing, and whether anything of it can be seen now.
//!
//! One rule for all: a policy's subject, an alert, an incident's place and a brief's readings are of the same thing where the labels are.
//! Deliberately absent: what the values mean, and what hangs on what ([`crate::topology`]). An editor breaks this by changing one way
//! without the way back, or by taking a thing of which nothing is known for one that is seen.

use crate::store::SeriesRef;
use crate::topology::World;
use homeostat_model::{Alert, Labels, SeriesKey, Span, Target};

/// What a series is about; itself, where its labels name nothing.
pub fn of_series(key: &SeriesKey) -> Target {
    of_labels(&key.labels).unwrap_or_else(|| Target::new(format!("series/{key}")))
}

/// What an alert is about; itself, where its labels name nothing.
pub fn of_alert(alert: &Alert) -> Target {
    of_labels(&alert.labels).unwrap_or_else(|| Target::new(format!("alert/{}", alert.name)))
}

/// The most specific thing that the labels name.
pub fn of_labels(labels: &Labels) -> Option<Target> {
    let host = labels.get("instance").map(|instance| instance.rsplit_once(':').map_or(instance, |(host, _)| host));
    let node = labels.get("node").or(host);
    let text = match (labels.get("mountpoint"), labels.get("disk"), labels.get("pod"), labels.get("certificate"), labels.get("service")) {
        (Some(mountpoint), ..) => format!("filesystem/{}:{mountpoint}", node?),
        (_, Some(disk), ..) => format!("disk/{}:{disk}", node?),
        (_, _, Some(pod), ..) => format!("pod/{}/{pod}", labels.get("namespace").unwrap_or("default")),
        (_, _, _, Some(certificate), _) => format!("certificate/{certificate}"),
        (_, _, _, _, Some(service)) => format!("service/{service}"),
        _ => format!("node/{}", node?),
    };
    Some(Target::new(text))
}

/// Selectors of the series that are about a thing, by the labels that its kind is named by.
pub fn selectors_of(target: &Target) -> Vec<String> {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let name = target.name();
    // By `node`, or by `instance` with or without a port.
    let at_node = |node: &str, rest: &str| {
        let instance = quote(&format!("{}(:[0-9]+)?", regex::escape(node)));
        vec![format!("{{node={}{rest}}}", quote(node)), format!("{{instance=~{instance}{rest}}}")]
    };
    let part = |label: &str| name.split_once(':').map_or_else(Vec::new, |(node, of)| at_node(node, &format!(",{label}={}", quote(of))));
    let is_label = |kind: &str| {
        kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !kind.starts_with(|first: char| first.is_ascii_digit())
    };
    match (target.kind(), name.split_once('/')) {
        ("node", _) => at_node(name, ""),
        ("filesystem", _) => part("mountpoint"),
        ("disk", _) => part("disk"),
        // Addresses and names of their own, slashes and all.
        (kind @ ("service" | "certificate"), _) => vec![format!("{{{kind}={}}}", quote(name))],
        // A pod without a namespace is named as one of the default's.
        ("pod", Some(("default", pod))) => vec![format!("{{namespace=~\"default|\",pod={}}}", quote(pod))],
        (kind, Some((namespace, own))) if is_label(kind) => vec![format!("{{namespace={},{kind}={}}}", quote(namespace), quote(own))],
        (kind, None) if !kind.is_empty() && is_label(kind) => vec![format!("{{{kind}={}}}", quote(name))],
        _ => Vec::new(),
    }
}

/// What is older was seen before something happened that nobody knows of.
const SIGHT_AGE_MAX: Span = Span::from_mins(5);

/// Whether anything about a thing is known now: a series of it has a sample that is current, and young. That a read failed is no sight of
/// the other side: neither what the reader says of itself (`up`, `scrape_…`) nor a `node_up` or `service_up` of 0, unless the darkness is
/// what is acted on (`of_the_dark`: waking what sleeps).
pub fn is_seen(world: &World<'_>, target: &Target, of_the_dark: bool) -> bool {
    let reads = selectors_of(target).into_iter().filter_map(|selector| world.read(&selector).ok()).flatten();
    let shows = |series: SeriesRef, value: f64| match world.metric(series).as_deref() {
        Some("up") | None => false,
        Some("node_up" | "service_up") => value > 0.5 || of_the_dark,
        Some(metric) => !metric.starts_with("scrape_"),
    };
    reads.into_iter().any(|(series, read)| {
        let young = read.sampled_at.is_some_and(|at| world.now().since(at) <= SIGHT_AGE_MAX);
        young && read.value.value().is_some_and(|value| shows(series, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Selector;

    /// What labels are about is found again by the selectors of that thing.
    #[test]
    fn a_thing_leads_back_to_the_series_that_named_it() {
        for labels in [
            &[("node", "nas")][..],
            &[("instance", "nas.lan:9100")],
            &[("instance", "nas:9100"), ("mountpoint", "/")],
            &[("node", "nas"), ("mountpoint", "/a \"b\" c\\")],
            &[("instance", "nas"), ("disk", "sda")],
            &[("pod", "web-0")],
            &[("pod", "web-0"), ("namespace", "default")],
            &[("pod", "web-0"), ("namespace", "shop")],
            &[("certificate", "git.lab")],
            &[("service", "https://git.lab")],
        ] {
            let key = SeriesKey::new("m", labels.iter().copied());
            let target = of_labels(&key.labels).expect("it is named");
            let found = selectors_of(&target).iter().any(|text| Selector::parse(text).expect("it is a selector").matches(&key));
            assert!(found, "{target}: {:?}", selectors_of(&target));
        }
        assert_eq!(selectors_of(&Target::new("rollout/web/shop")), ["{namespace=\"web\",rollout=\"shop\"}"]);
        assert!(selectors_of(&Target::new("my-kind/a")).is_empty());
    }
}
