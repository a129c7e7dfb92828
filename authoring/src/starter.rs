//! `homeostat policy new`: a policy and its test that pass at once, written so that a newcomer only edits numbers.
//!
//! Deliberately absent: anything that guesses what a metric means; thresholds are placeholders by the unit in the metric's name. An
//! editor breaks this by a template that `check` finds fault with, or whose test does not take every branch.

use crate::suite::notation;
use homeostat_model::SeriesKey;

/// What kind of policy.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A value stays above a number.
    Threshold,
    /// A value reaches a level soon, by its trend.
    Trend,
    /// An alert of Alertmanager or Grafana.
    Alert,
    /// Nothing is heard any more.
    Absent,
}

/// A policy and its test, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starter {
    /// `<name>.rhai`.
    pub policy: String,
    /// `<name>.test.yaml`.
    pub test: String,
}

/// What a series is looked at through.
struct About {
    /// The selector for the script, labels in single quotes.
    selector: String,
    /// The metric's name.
    metric: String,
    /// Labels of the test's series, with a node in any case.
    labels: Vec<(String, String)>,
}

impl About {
    /// A series of the test, with another node.
    fn series(&self, node: &str) -> String {
        let with = |(name, value): &(String, String)| (name.clone(), if name == "node" { node.to_owned() } else { value.clone() });
        SeriesKey::new(&*self.metric, self.labels.iter().map(with)).to_string()
    }
}

/// Writes a policy. `metric` is a metric, with labels if only some of its series are meant (`room_celsius{room="bath"}`); for
/// [`Template::Alert`] the alert's name. Without it the template's own example.
///
/// # Errors
/// What is wrong with the name or the metric.
pub fn starter(name: &str, template: Template, metric: Option<&str>) -> Result<Starter, String> {
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 60
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_name {
        return Err(format!("`{name}` is not a policy's name: expected small letters, digits and `-`, such as `hot-disk`"));
    }
    if template == Template::Alert {
        return alert(name, metric.unwrap_or("DiskWillFillSoon"));
    }
    let default = match template {
        Template::Threshold => "disk_celsius",
        Template::Trend => "filesystem_avail_ratio",
        Template::Absent | Template::Alert => "node_up",
    };
    let key = notation::series_key(metric.unwrap_or(default)).map_err(|misread| misread.message)?;
    if let Some((label, value)) = key.labels.iter().find(|(_, value)| value.contains(['\'', '"', '\\', '`', '\n'])) {
        return Err(format!("the label {label} is `{value}`: write the policy without it and add it by hand, with its quotes escaped"));
    }
    let mut labels: Vec<(String, String)> = key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let matchers: Vec<String> = labels.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    let selector = if matchers.is_empty() { key.metric.to_string() } else { format!("{}{{{}}}", key.metric, matchers.join(",")) };
    let own_node = labels.iter().any(|(name, _)| name == "node");
    if !own_node {
        labels.push(("node".into(), "nas".into()));
    }
    let about = About { selector, metric: key.metric.to_string(), labels };
    let starter = match template {
        Template::Threshold => threshold(name, &about, own_node),
        Template::Trend => trend(name, &about),
        Template::Absent | Template::Alert => absent(name, &about),
    };
    Ok(starter)
}

/// How every policy begins.
fn head(name: &str, doc: &str) -> String {
    format!(
        "//! {doc}\n//\n// Edit the numbers in `params`, then look what it does:\n//   homeostat policy check {name}.rhai\n//   homeostat policy test {name}.rhai\n//   homeostat policy watch     checks and tests again whenever a file is saved\n// Every function is in docs/policy-api.md.\n"
    )
}

/// The map of `policy()`, its lines explained.
fn map(selects: &str, params: &str, cooldown: &str) -> String {
    format!(
        r#"
fn policy() {{
    #{{
{selects}
        // It is looked at whenever a fresh sample comes, and at the latest so often.
        every: "1m",
        // After a wish was sent, the same wish is quiet for so long.
        cooldown: "{cooldown}",
        // The most that may happen without a person: "shadow" (nothing), "suggest" (a person says yes), "veto", "auto".
        autonomy: "suggest",
{params}    }}
}}
"#
    )
}

fn for_each(about: &About) -> String {
    format!(
        "        // `evaluate` is called once for each series that this names, as in PromQL: add labels to name fewer.\n        for_each: series(\"{}\"),",
        about.selector
    )
}

/// Two numbers on either side of a threshold, by the unit in the metric's name: the threshold, one well below, one well above.
fn placeholder(metric: &str) -> (f64, f64, f64) {
    match metric.rsplit('_').next().unwrap_or_default() {
        "ratio" => (0.9, 0.5, 0.95),
        "celsius" => (50.0, 35.0, 55.0),
        "bytes" => (1e9, 5e8, 2e9),
        "watts" => (200.0, 80.0, 250.0),
        "up" | "passed" | "readonly" => (0.5, 0.0, 1.0),
        _ => (100.0, 50.0, 150.0),
    }
}

/// A number as scripts write floats.
fn float(value: f64) -> String {
    format!("{value:?}").replace("e", "e+").replace("e+-", "e-")
}

fn threshold(name: &str, about: &About, own_node: bool) -> Starter {
    let (metric, (high, low, over)) = (&about.metric, placeholder(&about.metric));
    let params = format!(
        "        // The numbers; the configuration may change them.\n        params: #{{\n            // In the unit of {metric}.\n            high: {},\n            held_for: \"10m\",\n        }},\n",
        float(high)
    );
    let policy = head(name, &format!("Tell when {metric} stays too high."))
        + map(&for_each(about), &params, "1h").as_str()
        + format!(
            r#"
fn evaluate(s) {{
    // Every sample of the window must be above: a single peak is not enough, and a gap leaves it undetermined.
    if s.held_above(param("high"), param("held_for")) {{
        // What is wished. Numbers that change belong into `because`: another title would be another wish.
        propose(notify(`{metric} on ${{s.label("node")}} is high`))
            .because(`It was above ${{param("high")}} for ${{param("held_for")}}, and is ${{s.last()}} now`);
    }}
}}
"#
        )
        .as_str();
    let node = node_of(about);
    let hot = about.series(&node);
    let (cool, undetermined) = match own_node {
        true => (String::new(), ""),
        false => (
            format!("  - series: '{}'\n    values: {low}x20 stale\n", about.series("cellar")),
            "  # Of a series that has ended nothing is known, and nothing is wished.\n  - { at: 41m, target: cellar, undetermined: true }\n",
        ),
    };
    let test = format!(
        "{}series:\n  # {low} and twenty more of it, then {over} thirty-one times.\n  - series: '{hot}'\n    values: {low}x20 {over}x30\n{cool}expect:\n\
         \x20 - {{ at: 20m, target: {node}, quiet: {{ because: 'false by' }} }}\n  # Too high, but not yet for ten minutes.\n  - {{ at: 26m, target: {node}, quiet: {{ because: 'held above' }} }}\n\
         \x20 - at: 40m\n    proposes: {{ verb: notify.send, because: 'above .* for 10m' }}\n{undetermined}",
        test_head(name, "1m")
    );
    Starter { policy, test }
}

fn test_head(name: &str, interval: &str) -> String {
    format!(
        "# Run it with `homeostat policy test {name}.rhai`. Values are written as promtool writes them:\n\
         # `1x3` is 1 and three more of it, `1+2x3` is 1 3 5 7, `_` is a sample that did not come, `stale` is the series' end.\n\
         policy: {name}\n# One value per interval.\ninterval: {interval}\n"
    )
}

fn node_of(about: &About) -> String {
    about.labels.iter().find(|(name, _)| name == "node").map_or_else(|| "nas".into(), |(_, value)| value.clone())
}

fn trend(name: &str, about: &About) -> Starter {
    let metric = &about.metric;
    let params = format!(
        "        // The numbers; the configuration may change them.\n        params: #{{\n            // The level that must not be reached, in the unit of {metric}.\n            level: 0.0,\n            within_hours: 24.0,\n            trend_over: \"6h\",\n        }},\n"
    );
    let policy = head(name, &format!("Tell before {metric} reaches a level, by its trend."))
        + map(&for_each(about), &params, "12h").as_str()
        + format!(
            r#"
fn evaluate(s) {{
    let window = s.over(param("trend_over"));
    // A trend over a few samples says nothing.
    if window.coverage() < 0.5 {{
        return;
    }}
    // Infinite if it does not move there.
    let left = window.seconds_until(param("level"));
    if left < hours(param("within_hours")) {{
        // What is wished. Numbers that change belong into `because`: another title would be another wish.
        propose(notify(`{metric} on ${{s.label("node")}} runs out`))
            .because(`At the pace of the last ${{param("trend_over")}} it reaches ${{param("level")}} in ${{duration(left)}}`);
    }}
}}
"#
        )
        .as_str();
    let node = node_of(about);
    let test = format!(
        "{}series:\n  # Five hours the same, then a hundred times 0.004 less.\n  - series: '{}'\n    values: 0.9x59 0.896-0.004x100\nexpect:\n\
         \x20 - {{ at: 1h, target: {node}, quiet: {{ because: coverage }} }}\n  - {{ at: 5h, target: {node}, quiet: {{ because: 'seconds until' }} }}\n\
         \x20 - at: 11h\n    proposes: {{ verb: notify.send, because: 'it reaches 0.* in \\d+h' }}\n",
        test_head(name, "5m"),
        about.series(&node)
    );
    Starter { policy, test }
}

fn absent(name: &str, about: &About) -> Starter {
    let metric = &about.metric;
    let params = "        // The numbers; the configuration may change them.\n        params: #{ silent_for: \"5m\" },\n";
    let policy = head(name, &format!("Tell when {metric} is not heard of any more."))
        + map(&for_each(about), params, "4h").as_str()
        + format!(
            r#"
fn evaluate(s) {{
    // The one question that is never undetermined: whether nothing came for so long.
    if s.absent_for(param("silent_for")) {{
        // What is wished. Numbers that change belong into `because`: another title would be another wish.
        propose(notify(`Nothing is heard of ${{s.label("node")}}`))
            .because(`{metric} of ${{s.label("node")}} has not come for ${{param("silent_for")}}`);
    }}
}}
"#
        )
        .as_str();
    let node = node_of(about);
    let test = format!(
        "{}series:\n  # Eleven samples, then none.\n  - series: '{}'\n    values: 1x10 _x20\nexpect:\n\
         \x20 - {{ at: 12m, target: {node}, quiet: {{ because: absent for }} }}\n  - at: 16m\n    proposes: {{ verb: notify.send, because: 'has not come for 5m' }}\n",
        test_head(name, "1m"),
        about.series(&node)
    );
    Starter { policy, test }
}

fn alert(name: &str, alert: &str) -> Result<Starter, String> {
    if alert.is_empty()
        || !alert.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        || alert.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(format!("`{alert}` is not an alert's name: expected letters and digits, such as `DiskWillFillSoon`"));
    }
    let selects = format!(
        "        // `on_alert` is called when such an alert fires or ends, and every `every` while it fires. Labels name fewer.\n        on_alert: alerts(\"{alert}\"),"
    );
    let params = "        // What is not in this list is left alone; the configuration may change it.\n        params: #{ severity: \"critical\" },\n";
    let policy = head(name, &format!("Pass the alert {alert} on."))
        + map(&selects, params, "4h").as_str()
        + r#"
fn on_alert(alert) {
    if alert.label("severity") != param("severity") {
        return;
    }
    if alert.status == "resolved" {
        propose(notify(`Ended: ${alert.name} on ${alert.node}`)).because("It has ended by itself, or somebody has helped");
    } else {
        // Annotations are written by others: show them, decide nothing by them.
        propose(notify(`${alert.name} on ${alert.node}`)).because(`${alert.name} fires: ${alert.annotation("summary")}`);
    }
}
"#;
    let test = format!(
        "{}alerts:\n  - {{ at: 1m, name: {alert}, status: firing, labels: {{ severity: critical, instance: \"nas:9100\" }}, annotations: {{ summary: it is bad }} }}\n\
         \x20 - {{ at: 2m, name: {alert}, status: firing, labels: {{ severity: info, instance: \"pi:9100\" }} }}\n\
         \x20 - {{ at: 9m, name: {alert}, status: resolved, labels: {{ severity: critical, instance: \"nas:9100\" }} }}\nexpect:\n\
         \x20 - at: 1m\n    proposes: {{ verb: notify.send, target: node/nas, because: 'fires: it is bad' }}\n  - {{ at: 3m, target: node/pi, quiet: not critical }}\n\
         \x20 - at: 9m\n    proposes: {{ verb: notify.send, target: node/nas, because: 'has ended' }}\n",
        test_head(name, "1m")
    );
    Ok(Starter { policy, test })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Around, check_policy};
    use crate::suite::{Options, output, parse, run_test, tests::notifier};
    use homeostat_model::{PolicyOverride, PolicySource};

    #[test]
    fn every_template_passes_at_once_and_its_test_takes_every_branch() {
        for (template, metric) in [
            (Template::Threshold, None),
            (Template::Threshold, Some("node_load1")),
            (Template::Threshold, Some("filesystem_avail_bytes{mountpoint=\"/\"}")),
            (Template::Threshold, Some("room_celsius{node=\"attic\"}")),
            (Template::Threshold, Some("node_pressure_ratio{resource='memory'}")),
            (Template::Trend, None),
            (Template::Trend, Some("room_celsius{node=\"attic\"}")),
            (Template::Absent, None),
            (Template::Absent, Some("service_up{node='a',service='b'}")),
            (Template::Alert, None),
            (Template::Alert, Some("HighLoad")),
        ] {
            let starter = starter("hot-disk", template, metric).unwrap_or_else(|error| panic!("{error}"));
            let what = format!("{template:?} {metric:?}\n{}\n{}", starter.policy, starter.test);
            let around = Around { actuators: vec![notifier()], ..Around::default() };
            let findings = check_policy("hot-disk.rhai", &starter.policy, &PolicyOverride::default(), &around);
            assert!(findings.is_empty(), "{what}{}", findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("\n"));
            let test = parse("hot-disk.test.yaml", &starter.test).unwrap_or_else(|errors| panic!("{what}{errors:?}"));
            let overrides = PolicyOverride::default();
            let source = PolicySource { id: "hot-disk".into(), path: "hot-disk.rhai".into(), text: starter.policy.clone(), overrides };
            let options = Options { coverage: true, ..Options::with(&[notifier()]) };
            let report = run_test("hot-disk.test.yaml", &test, &source, &options).unwrap_or_else(|error| panic!("{what}{error}"));
            assert_eq!(report.failures().count(), 0, "{what}{}", output::failures(&report));
            let coverage = report.coverage.unwrap_or_default();
            assert!(coverage.percent() >= 100.0, "{what}{}", coverage.text("hot-disk"));
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        for (name, metric) in [("Hot", None), ("", None), ("a/b", None), ("a", Some("1x")), ("a", Some("x{y=\"it's\"}"))] {
            assert!(starter(name, Template::Threshold, metric).is_err(), "{name} {metric:?}");
        }
        assert!(starter("a", Template::Alert, Some("a b")).is_err());
    }
}
