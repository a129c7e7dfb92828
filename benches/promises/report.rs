//! The table: a line per promise.

/// Begins a line of the table in a part's output.
pub const MARK: &str = "ROW\t";

/// One promise: what, compared with what, ours, their ratio, the promise, whether it is kept.
pub struct Line([String; 6]);

impl Line {
    /// A promise that `ours <= bound` keeps; `ratio` says how many times better than the yardstick, where there is one.
    pub fn at_most(path: &str, yardstick: &str, ours: f64, bound: f64, unit: &str, ratio: Option<f64>) -> Line {
        Line::new(path, yardstick, format!("{} {unit}", show(ours)), ratio, format!("<= {bound} {unit}"), ours <= bound)
    }

    /// A promise that `ours >= bound` keeps.
    pub fn at_least(path: &str, yardstick: &str, ours: f64, bound: f64, unit: &str, ratio: Option<f64>) -> Line {
        Line::new(path, yardstick, format!("{} {unit}", show(ours)), ratio, format!(">= {bound} {unit}"), ours >= bound)
    }

    fn new(path: &str, yardstick: &str, ours: String, ratio: Option<f64>, bound: String, met: bool) -> Line {
        let ratio = ratio.map_or_else(|| "-".into(), |ratio| format!("{}x", show(ratio)));
        Line([path.into(), yardstick.into(), ours, ratio, bound, if met { "yes" } else { "no" }.into()])
    }

    /// Hands the line to the process that prints the table.
    pub fn say(self) {
        println!("{MARK}{}", self.0.join("\t"));
    }

    /// A line as [`Line::say`] wrote it.
    pub fn parse(text: &str) -> Option<Line> {
        let fields: Vec<String> = text.strip_prefix(MARK)?.split('\t').map(str::to_owned).collect();
        fields.try_into().ok().map(Line)
    }
}

/// Three figures.
pub fn show(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0..1000.0 => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        0.1..10.0 => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.3}"),
    }
}

/// Prints the table.
pub fn print(lines: &[Line]) {
    let head = Line(["path", "yardstick", "ours", "ratio", "to reach", "met"].map(str::to_owned));
    let rule = Line(std::array::from_fn(|_| "---".to_owned()));
    let mut widths = [0; 6];
    for line in lines.iter().chain([&head]) {
        for (width, field) in widths.iter_mut().zip(&line.0) {
            *width = (*width).max(field.chars().count());
        }
    }
    for line in [&head, &rule].into_iter().chain(lines) {
        let fields: Vec<String> = line.0.iter().zip(widths).map(|(field, width)| format!("{field:width$}")).collect();
        println!("| {} |", fields.join(" | "));
    }
}

/// The middle of what was measured.
pub fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

/// The value below which the share `q` lies; sorts.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((q * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}
