//! The normalised vocabulary as data: which signals sensors deliver, with unit and labels. Read from `docs/signals.md`, the page that
//! the sensors' own test compares with the code, so that there is one list.
//!
//! Deliberately absent: the formulas. An editor breaks this by writing the list down a second time.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The page.
const PAGE: &str = include_str!("../../docs/signals.md");

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its unit, as the page writes it: `ratio`, `0/1`, `s`, `B`, `1` …
    pub unit: &'static str,
    /// Its labels, in the page's order.
    pub labels: Vec<&'static str>,
}

/// All signals by name.
pub fn signals() -> &'static BTreeMap<&'static str, Signal> {
    static SIGNALS: OnceLock<BTreeMap<&'static str, Signal>> = OnceLock::new();
    SIGNALS.get_or_init(|| PAGE.lines().filter_map(row).collect())
}

fn row(line: &'static str) -> Option<(&'static str, Signal)> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.strip_suffix('`')?;
    let unit = cells.next()?;
    let labels = cells.next()?.split(',').map(str::trim).filter(|label| !label.is_empty()).collect();
    Some((name, Signal { unit, labels }))
}

/// How a series moves, as far as its name and unit tell.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// 0 or 1.
    Flag,
    /// Between 0 and 1, as a rule.
    Ratio,
    /// Only goes up.
    Counter,
    /// Anything else.
    Gauge,
}

/// The shape of a metric by this page, or else by the last word of its name.
pub fn shape(metric: &str) -> Shape {
    match signals().get(metric).map(|signal| signal.unit) {
        _ if metric.ends_with("_total") => Shape::Counter,
        Some("0/1") => Shape::Flag,
        Some("ratio") => Shape::Ratio,
        Some(_) => Shape::Gauge,
        None if metric.ends_with("_ratio") => Shape::Ratio,
        None if metric.ends_with("_up") || metric == "up" => Shape::Flag,
        None => Shape::Gauge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_read_with_units_and_labels() {
        assert!(signals().len() > 40, "{}", signals().len());
        let ratio = &signals()["filesystem_avail_ratio"];
        assert_eq!((ratio.unit, ratio.labels.as_slice()), ("ratio", &["node", "mountpoint", "device", "fstype"][..]));
        assert_eq!(shape("node_up"), Shape::Flag);
        assert_eq!(shape("pod_restarts_total"), Shape::Counter);
        assert_eq!(shape("queue_length"), Shape::Gauge);
    }
}
