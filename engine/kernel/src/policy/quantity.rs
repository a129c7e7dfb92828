//! Values as people read them: in the unit that a metric's name ends with.
//!
//! The suffixes are those of Prometheus' naming rules and of `docs/signals.md` (units last, SI base units). Deliberately absent:
//! guessing a unit from anything else; a name without one has a plain number. An editor breaks this by changing a number's sign.

/// A value of an operation (`last`, `rate over 5m`) on a metric, with its unit: `21.5 °C`, `12.3 %`, `1.5 GB`, `4m30s`.
pub fn quantity(value: f64, metric: Option<&str>, operation: &str) -> String {
    let of_operation = |names: &[&str]| names.iter().any(|name| operation.starts_with(name));
    if of_operation(&["seconds until", "absent for"]) {
        return duration(value);
    }
    if of_operation(&["coverage"]) {
        return scaled(value * 100.0, " %");
    }
    if of_operation(&["count"]) {
        return scaled(value, "");
    }
    let per_second = if of_operation(&["rate", "slope"]) { "/s" } else { "" };
    let metric = metric.unwrap_or_default();
    let metric = metric.strip_suffix("_total").unwrap_or(metric);
    let suffix = metric.rsplit('_').next().unwrap_or_default();
    match suffix {
        "celsius" => scaled(value, &format!(" °C{per_second}")),
        "ratio" => scaled(value * 100.0, &format!(" %{per_second}")),
        "percent" => scaled(value, &format!(" %{per_second}")),
        "seconds" if per_second.is_empty() => duration(value),
        "seconds" => scaled(value, " s/s"),
        "bytes" => bytes(value) + per_second,
        "watts" => scaled(value, &format!(" W{per_second}")),
        "joules" => scaled(value, &format!(" J{per_second}")),
        "volts" => scaled(value, &format!(" V{per_second}")),
        "amperes" => scaled(value, &format!(" A{per_second}")),
        "hertz" => scaled(value, &format!(" Hz{per_second}")),
        "meters" => scaled(value, &format!(" m{per_second}")),
        "grams" => scaled(value, &format!(" g{per_second}")),
        "euros" => scaled(value, &format!(" €{per_second}")),
        _ => scaled(value, per_second),
    }
}

/// Four significant digits.
fn scaled(value: f64, unit: &str) -> String {
    if value == 0.0 {
        return format!("0{unit}");
    }
    if !value.is_finite() {
        return format!("{value}{unit}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..9).contains(&magnitude) {
        return format!("{value:.3e}{unit}");
    }
    let text = format!("{value:.*}", usize::try_from(3 - magnitude).unwrap_or(0));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = [" B", " kB", " MB", " GB", " TB", " PB"];
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    scaled(value, UNITS[unit])
}

fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return if seconds.is_nan() { "unknown".into() } else { "for ever".into() };
    }
    if seconds.abs() < 10.0 {
        return scaled(seconds, " s");
    }
    // Spans beyond this are shown as plain seconds.
    if seconds.abs() > 1e12 {
        return scaled(seconds, " s");
    }
    homeostat_model::Span::from_secs(seconds.round() as i64).to_string()
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn units_are_those_of_the_name() {
        for (value, metric, operation, text) in [
            (1.25, "room_celsius", "last", "1.25 °C"),
            (0.0213, "filesystem_avail_ratio", "max over 5m", "2.13 %"),
            (1_500_000_000.0, "filesystem_avail_bytes", "last", "1.5 GB"),
            (0.5, "node_network_receive_bytes_total", "rate over 5m", "0.5 B/s"),
            (270.0, "x", "absent for 5m", "4m30s"),
            (f64::INFINITY, "x_ratio", "seconds until 0 by the trend over 6h", "for ever"),
            (90_000.0, "certificate_expiry_seconds", "last", "1d1h"),
            (-3.0, "node_load1", "last", "-3"),
            (0.0, "node_power_watts", "avg over 1m", "0 W"),
            (12345.678, "x", "last", "12346"),
        ] {
            assert_eq!(quantity(value, Some(metric), operation), text);
        }
    }
}
