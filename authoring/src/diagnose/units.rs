//! Numbers that cannot be meant so: the unit is the last word of the metric's name, or the vocabulary's.

use super::{Case, Finding};
use crate::vocabulary::signals;
use homeostat_kernel::policy::survey::{Place, SurveyedRelation};
use homeostat_model::Relation;

/// What the numbers of a read are.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Unit {
    Ratio,
    /// A ratio that may exceed 1.
    LooseRatio,
    Bytes,
    Seconds,
    Flag,
    Counter,
    Other,
}

fn of_metric(metric: &str) -> Unit {
    let unit = signals().get(metric).map(|signal| signal.unit);
    match unit {
        _ if metric.ends_with("_total") => Unit::Counter,
        Some("ratio") if ["load", "risk", "used"].iter().any(|word| metric.contains(word)) => Unit::LooseRatio,
        Some("ratio") => Unit::Ratio,
        Some("B") => Unit::Bytes,
        Some("s") => Unit::Seconds,
        Some("0/1") => Unit::Flag,
        Some(_) => Unit::Other,
        None if metric.ends_with("_bytes") => Unit::Bytes,
        None if metric.ends_with("_seconds") => Unit::Seconds,
        None if metric.ends_with("_ratio") => Unit::Ratio,
        None => Unit::Other,
    }
}

fn of_read(metric: &str, operation: &str) -> Unit {
    match operation {
        "coverage" => Unit::Ratio,
        "seconds_until" => Unit::Seconds,
        "last" | "avg" | "min" | "max" | "quantile" | "held_below" | "held_above" | "" => of_metric(metric),
        _ => Unit::Other,
    }
}

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for compared in &case.survey.comparisons {
        let (Some(metric), Some(threshold)) = (&compared.metric, compared.threshold) else { continue };
        let asked = Asked { metric, operation: &compared.operation, threshold, place: compared.threshold_place };
        findings.extend(asked.unit(case));
        if of_metric(metric) == Unit::Counter && ["last", "avg", "min", "max", "held_above", "held_below"].contains(&asked.operation) {
            let is_exists = compared.relation == SurveyedRelation::Equal && threshold == 0.0;
            if !is_exists {
                findings.push(counter(case, metric, compared.place));
            }
        }
    }
    for wish in &case.survey.wishes {
        let Some(claim) = &wish.claim else { continue };
        let (Some(metric), Some(threshold), Some(relation)) = (&claim.metric, claim.threshold, claim.relation) else { continue };
        let asked = Asked { metric, operation: "", threshold, place: claim.place };
        match asked.unit(case) {
            Some(finding) => findings.push(finding),
            None => findings.extend(never(case, metric, relation, threshold, claim.place)),
        }
    }
}

fn counter(case: &Case<'_>, metric: &str, place: Place) -> Finding {
    let finding = case.warning("counter-as-gauge", place, format!("`{metric}` counts up for ever: its value says how long, not how much"));
    finding.expected("expected what came within a time").help("`s.over(\"15m\").increase()`, or `.rate()` for one per second")
}

struct Asked<'a> {
    metric: &'a str,
    operation: &'a str,
    threshold: f64,
    place: Place,
}

impl Asked<'_> {
    fn unit(&self, case: &Case<'_>) -> Option<Finding> {
        let (metric, value, size) = (self.metric, self.threshold, self.threshold.abs());
        let shown = case.number_at(self.place).unwrap_or_else(|| value.to_string());
        let wrong = |message: String| case.error("wrong-unit", self.place, message);
        match of_read(metric, self.operation) {
            Unit::Ratio if self.operation == "coverage" && value >= 1.5 => {
                Some(wrong(format!("`{shown}` of what? a coverage is 0 to 1")).expected("never above 1").help(percent(value)))
            }
            Unit::Ratio if size >= 1.5 => {
                Some(wrong(format!("`{shown}` of what? `{metric}` is a ratio, 0 to 1")).expected("expected 0 to 1").help(percent(value)))
            }
            Unit::LooseRatio if size >= 10.0 => Some(
                wrong(format!("`{shown}` of what? `{metric}` is a ratio, 1 is all of it"))
                    .expected("expected about 0 to 1")
                    .help(percent(value)),
            ),
            Unit::Bytes if value > 0.0 && value <= 100.0 && value != 1.0 => Some(self.bytes(&shown, wrong)),
            Unit::Flag if !(0.0..=1.0).contains(&value) => {
                let finding = wrong(format!("`{shown}` of what? `{metric}` is 0 or 1"));
                Some(finding.expected("expected 0 to 1").help("1 is yes, 0 is no; `0.5` lies between"))
            }
            Unit::Seconds if value > 0.0 && value <= 60.0 && is_long(metric, self.operation) => {
                let what = if self.operation == "seconds_until" { "`seconds_until`".to_owned() } else { format!("`{metric}`") };
                let finding = case.warning("wrong-unit", self.place, format!("`{shown}` of what? {what} is in seconds"));
                Some(
                    finding
                        .expected(format!("{value} seconds"))
                        .help(format!("`days({value})`, `hours({value})` and `minutes({value})` give seconds")),
                )
            }
            _ => None,
        }
    }

    fn bytes(&self, shown: &str, wrong: impl Fn(String) -> Finding) -> Finding {
        let metric = self.metric;
        let message = format!("`{shown}` of what? `{metric}` is in bytes");
        let ratio = metric.replace("_bytes", "_ratio");
        let help = match signals().contains_key(ratio.as_str()) {
            true => format!("use `{ratio}`, or write the bytes: `10e9` is 10 GB"),
            false => "write the bytes: `10e9` is 10 GB".to_owned(),
        };
        wrong(message).expected(format!("{shown} bytes")).help(help)
    }
}

/// Whether these seconds are days, as a rule.
fn is_long(metric: &str, operation: &str) -> bool {
    operation == "seconds_until" || ["expiry", "uptime", "power_on"].iter().any(|word| metric.contains(word))
}

fn percent(value: f64) -> String {
    format!("{value} % is written `{}`", value / 100.0)
}

/// A claim outside of what the metric can ever be.
fn never(case: &Case<'_>, metric: &str, relation: Relation, threshold: f64, place: Place) -> Option<Finding> {
    let bounds = match of_metric(metric) {
        Unit::Ratio | Unit::Flag => (0.0, 1.0),
        Unit::Bytes | Unit::Counter | Unit::LooseRatio => (0.0, f64::INFINITY),
        Unit::Seconds | Unit::Other => return None,
    };
    let (word, end) = match relation {
        Relation::Above if threshold >= bounds.1 => ("above", format!("it is at most {}", bounds.1)),
        Relation::Below if threshold <= bounds.0 => ("below", format!("it is at least {}", bounds.0)),
        _ => return None,
    };
    let message = format!("`{metric}` is never {word} {threshold}: this claim cannot come true");
    Some(
        case.error("claim-cannot-come-true", place, message).expected(end).help("claim a level that it reaches when the action has helped"),
    )
}
