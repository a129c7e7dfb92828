//! A series drawn with Braille dots: two points to a column, four levels to a row.
//!
//! Gaps stay empty. Deliberately absent: colour, and joining points by lines; what is not there is not drawn.

use homeostat_kernel::policy::ask::Plot;
use homeostat_kernel::policy::quantity;
use homeostat_model::Span;

/// Columns that the labels on the left take.
const LABELS: usize = 12;

/// Columns that are left for dots.
pub(super) fn width(columns: usize) -> usize {
    columns.saturating_sub(LABELS + 1).max(10)
}

/// The chart with its title, the levels on the left and the time below.
pub(super) fn chart(plot: &Plot, columns: usize, rows: usize) -> String {
    let width = width(columns).min(plot.points.len().div_ceil(2));
    let known = plot.points.iter().flatten().copied();
    let (low, high) = known.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let mut text = plot.series.to_string();
    if low > high {
        return text + "\n  no samples in this time";
    }
    let show = |value: f64| quantity(value, Some(&*plot.series.metric), "last");
    // A flat line stands in the middle.
    let (bottom, top) = if low < high { (low, high) } else { (low - 1.0, high + 1.0) };
    let levels = rows * 4;
    let level = |value: f64| (((value - bottom) / (top - bottom)) * (levels - 1) as f64).round() as usize;
    let mut cells = vec![vec![0u8; width]; rows];
    for (at, value) in plot.points.iter().enumerate() {
        let (Some(value), true) = (value, at / 2 < width) else { continue };
        let from_top = levels - 1 - level(*value).min(levels - 1);
        cells[from_top / 4][at / 2] |= DOTS[at % 2][from_top % 4];
    }
    for (row, line) in cells.iter().enumerate() {
        let label = match row {
            0 => show(top),
            _ if row + 1 == rows => show(bottom),
            _ => String::new(),
        };
        let dots: String = line.iter().map(|bits| char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ')).collect();
        text += &format!("\n{label:>LABELS$}│{}", dots.trim_end_matches('\u{2800}'));
    }
    // A point is a whole number of milliseconds wide, so that all of them are a little shorter than what was asked.
    let seconds = (plot.step.millis() * plot.points.len() as i64 + 500) / 1000;
    let ago = format!("-{}", Span::from_secs(seconds));
    let gap = width.saturating_sub(ago.chars().count() + 3);
    text += &format!("\n{:>LABELS$}└{}\n{:>LABELS$} {ago}{}now", "", "─".repeat(width), "", " ".repeat(gap));
    text
}

/// The dots of a cell: left and right column, from the top.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{SeriesKey, Time};

    fn plot(points: Vec<Option<f64>>) -> Plot {
        Plot { series: SeriesKey::bare("room_celsius"), until: Time(0), step: Span::from_mins(1), points }
    }

    #[test]
    fn a_ramp_climbs_and_a_gap_stays_empty() {
        let mut points: Vec<Option<f64>> = (0..20).map(|at| Some(f64::from(at))).collect();
        points[10] = None;
        points[11] = None;
        let drawn = chart(&plot(points), 80, 5);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 1 + 5 + 2, "{drawn}");
        assert!(lines[1].trim_start().starts_with("19 °C│") && lines[5].trim_start().starts_with("0 °C│"), "{drawn}");
        assert_eq!(lines[1].chars().last(), Some('⠊'), "{drawn}");
        assert_eq!(lines[5].chars().nth(LABELS + 1), Some('⡠'), "{drawn}");
        let sixth: Vec<Option<char>> = lines[1..6].iter().map(|line| line.chars().nth(LABELS + 1 + 5)).collect();
        assert!(sixth.iter().flatten().all(|c| *c == '\u{2800}'), "{sixth:?}");
        assert!(lines[7].contains("-20m") && lines[7].ends_with("now"), "{drawn}");
    }

    #[test]
    fn a_flat_line_and_no_samples_are_drawn_without_a_fault() {
        assert!(chart(&plot(vec![Some(5.0); 8]), 80, 5).contains("6 °C│"));
        assert!(chart(&plot(vec![None; 8]), 80, 5).contains("no samples"));
    }
}
