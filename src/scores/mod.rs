//! What was learned and what it cost, as people look at it: scores, autonomy, spending. Plain data for HTTP and the command line alike,
//! and how it looks on a terminal and as SVG.
//!
//! Reading order: `rules` (what is in force, as the journal has it), `table` (one line per belief), `show` (every score of a policy),
//! `autonomy`, `spending`; then `forest` and `svg`, which draw. All of it is read from a ledger, the kernel's own or one folded from the
//! journal. Deliberately absent: numbers (the kernel's `score`), decisions, HTML. An editor breaks this by renaming a field (scripts read
//! the JSON), or by drawing effects of different units on one axis.

pub mod autonomy;
pub mod forest;
pub mod rules;
pub mod show;
pub mod spending;
pub mod svg;
pub mod table;

#[cfg(test)]
pub(crate) mod tests;

pub use rules::{PolicyFacts, Rules};

use homeostat_kernel::policy::quantity;

/// A value in the unit that its metric's name ends with.
pub(crate) fn measured(value: f64, metric: &str) -> String {
    quantity(value, Some(metric), "")
}

/// The same with its sign, for differences: `+0.12`.
pub(crate) fn signed(value: f64, metric: &str) -> String {
    let text = measured(value.abs(), metric);
    let sign = if value < 0.0 {
        "−"
    } else if value > 0.0 {
        "+"
    } else {
        ""
    };
    format!("{sign}{text}")
}

/// The unit that a metric's name ends with, for headings; empty: a plain number.
pub(crate) fn unit_of(metric: &str) -> &'static str {
    let metric = metric.strip_suffix("_total").unwrap_or(metric);
    match metric.rsplit('_').next().unwrap_or_default() {
        "celsius" => "°C",
        "ratio" | "percent" => "%",
        "seconds" => "s",
        "bytes" => "B",
        "watts" => "W",
        "joules" => "J",
        "volts" => "V",
        "amperes" => "A",
        "hertz" => "Hz",
        "meters" => "m",
        "grams" => "g",
        "euros" => "€",
        _ => "",
    }
}
