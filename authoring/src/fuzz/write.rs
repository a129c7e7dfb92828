//! A find as a `*.test.yaml`: it fails with the policy as it is, and passes when the policy is better.
//!
//! The expectation is `quiet` at the moment of the breach, for the target that broke: whatever the policy does before, this one
//! action must not be wished. An editor breaks this by writing what the suite does not read back as the same values.

use super::trace::notation;
use super::{Found, FoundView, plant_words};
use homeostat_model::{AlertStatus, PolicySource, Span};
use std::fmt::Write as _;

/// The name of the file, beside the policy's.
pub fn file_name(policy: &PolicySource, found: &Found) -> String {
    format!("{}.{}.test.yaml", policy.id, found.breach.property.name())
}

/// The file.
pub fn test_yaml(policy: &PolicySource, found: &Found, seed: u64) -> String {
    let (trace, breach) = (&found.trace, &found.breach);
    let at = |step: usize| Span(trace.interval.millis() * step as i64);
    let mut text = String::new();
    let name = breach.property.name();
    let _ =
        writeln!(text, "# Found by `homeostat policy fuzz --property {name} --seed {seed}`, and shrunk: fails until the policy is better.");
    for line in breach.text.lines() {
        let _ = writeln!(text, "# {}", plain(line));
    }
    if let Some(plant) = &found.plant {
        for line in plant_words(plant, trace.interval).lines() {
            let _ = writeln!(text, "# The plant: {}", plain(line));
        }
    }
    let _ = writeln!(text, "policy: {}", quoted(policy.id.as_str()));
    if !policy.overrides.params.is_empty() {
        let params: Vec<String> =
            policy.overrides.params.iter().map(|(name, arg)| format!("{}: {}", quoted(name), serde_json::json!(arg))).collect();
        let _ = writeln!(text, "params: {{ {} }}", params.join(", "));
    }
    let _ = writeln!(text, "interval: {}", trace.interval);
    if !trace.tracks.is_empty() {
        text.push_str("series:\n");
    }
    for track in &trace.tracks {
        let _ = writeln!(text, "  - series: {}\n    values: {}", quoted(&track.key.to_string()), notation(&track.values));
    }
    if !trace.alerts.is_empty() {
        text.push_str("alerts:\n");
    }
    for alert in &trace.alerts {
        let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
        let status = if alert.status == AlertStatus::Firing { "firing" } else { "resolved" };
        let _ = writeln!(
            text,
            "  - {{ at: {}, name: {}, status: {status}, labels: {{ {} }} }}",
            at(alert.step),
            quoted(&alert.name),
            labels.join(", ")
        );
    }
    // Naming the target demands an answer of it; where there is one only, that it cannot tell is as good.
    let series = if found.trace.tracks.len() > 1 && breach.symptom.contains('{') {
        format!("series: {}, ", quoted(&breach.symptom))
    } else {
        String::new()
    };
    let named = if breach.property == super::Property::Floor { series } else { String::new() };
    let _ = writeln!(text, "expect:\n  - {{ at: {}, {named}quiet: {} }}", at(breach.step), quoted(&breach.quiet));
    text
}

/// The find for other programs.
pub fn view(policy: &PolicySource, found: &Found, seed: u64) -> FoundView {
    FoundView {
        property: found.breach.property,
        at: Span(found.trace.interval.millis() * found.breach.step as i64),
        symptom: found.breach.symptom.clone(),
        text: found.breach.text.clone(),
        plant: found.plant.as_ref().map(|plant| plant_words(plant, found.trace.interval)),
        attempt: found.attempt,
        test: test_yaml(policy, found, seed),
    }
}

/// A comment stays one line.
fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

/// A YAML text in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
