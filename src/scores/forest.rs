//! A policy's scores on a terminal: forest plots, and the natural recovery as a curve of characters.
//!
//! One plot per group, because each has its own unit and axis. An interval that reaches far beyond the others ends in an arrow, so that
//! one uncertain action does not flatten all others. Deliberately absent: colours. An editor breaks this by scaling a group with
//! another's numbers.

use super::show::{ActionScore, PolicyScores, RecoveryLine, SeriesGroup};
use super::{measured, signed};
use crate::cli::show::clean;
use crate::http::view::moment;
use std::fmt::Write as _;

/// The narrowest axis.
const AXIS_MIN: usize = 20;
/// The widest.
const AXIS_MAX: usize = 100;
/// A target's name is cut to this.
const TARGET_MAX: usize = 26;
/// Ends beyond so many times the middle one are cut off with an arrow.
const FAR_TIMES: f64 = 4.0;
/// Rows of the recovery curve.
const CURVE_ROWS: usize = 9;

/// The axis of one group: it always holds zero.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Axis {
    /// Of intervals (low, middle, high). Ends that are no number, or lie beyond [`FAR_TIMES`] times the middle distance from zero, do
    /// not stretch it; middles always fit.
    pub(crate) fn of(intervals: &[(f64, f64, f64)]) -> Axis {
        let mut reaches: Vec<f64> = intervals.iter().map(|(low, _, high)| low.abs().max(high.abs())).filter(|v| v.is_finite()).collect();
        reaches.sort_by(f64::total_cmp);
        let far = reaches.get(reaches.len() / 2).copied().unwrap_or(1.0) * FAR_TIMES;
        let middles = intervals.iter().map(|(_, middle, _)| *middle).filter(|middle| middle.is_finite());
        let ends = intervals.iter().flat_map(|(low, _, high)| [*low, *high]).filter(|end| end.abs() <= far);
        let (low, high) = middles.chain(ends).fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        // Room at both sides; without any effect there is still an axis.
        let room = if high > low { (high - low) * 0.04 } else { 1.0 };
        Axis { low: low - room, high: high + room }
    }

    /// Where a value lies, 0 to 1, cut off at the ends.
    pub(crate) fn share(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn column(self, value: f64, width: usize) -> usize {
        (self.share(value) * (width - 1) as f64).round() as usize
    }
}

/// The intervals of a group, the pooled one last.
pub(crate) fn intervals(group: &SeriesGroup) -> Vec<(f64, f64, f64)> {
    let effects = group.actions.iter().filter_map(|score| score.effect.as_ref()).map(|e| (e.low, e.effect, e.high));
    effects.chain(group.pooled.as_ref().map(|p| (p.low, p.effect, p.high))).collect()
}

/// One row: `├──●──┤` with a line at zero.
fn bar(axis: Axis, (low, middle, high): (f64, f64, f64), width: usize, mark: char) -> String {
    let mut cells = vec![' '; width];
    cells[axis.column(0.0, width)] = '│';
    if low.is_finite() && high.is_finite() && middle.is_finite() {
        let (from, to) = (axis.column(low, width), axis.column(high, width));
        cells[from..=to].fill('─');
        cells[from] = if low < axis.low { '◄' } else { '├' };
        cells[to] = if high > axis.high { '►' } else { '┤' };
        cells[axis.column(middle, width)] = mark;
    }
    cells.into_iter().collect()
}

fn cut(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most { text } else { text.chars().take(most - 1).chain(['…']).collect() }
}

/// The numbers under an axis: its ends and zero, where they do not touch.
fn ticks(axis: Axis, metric: &str, width: usize) -> String {
    let mut cells = vec![' '; width];
    let mut put = |value: f64, text: &str| {
        let length = text.chars().count();
        let at = axis.column(value, width).saturating_sub(length / 2).min(width.saturating_sub(length));
        let free = cells.iter().skip(at.saturating_sub(1)).take(length + 2).all(|cell| *cell == ' ');
        if free && length <= width {
            text.chars().enumerate().for_each(|(index, c)| cells[at + index] = c);
        }
    };
    put(0.0, "0");
    put(axis.low, &signed(axis.low, metric));
    put(axis.high, &signed(axis.high, metric));
    cells.into_iter().collect::<String>().trim_end().to_owned()
}

/// A row's name, interval (low, middle, high), mark, and what is said of it.
type Row = (String, (f64, f64, f64), char, String);

/// One group's forest plot, oldest first, newest last, then all in one; at most `width` columns where that leaves room for the axis.
pub fn group(group: &SeriesGroup, width: usize) -> String {
    let axis = Axis::of(&intervals(group));
    let name = |score: &ActionScore| format!("{:<6}{}", score.action, cut(&score.target, TARGET_MAX));
    let all = "all in one";
    let figures = |effect: f64, low: f64, high: f64| {
        let metric = &group.metric;
        format!("{} ({} to {})", signed(effect, metric), signed(low, metric), signed(high, metric))
    };
    let rows: Vec<Row> = group
        .actions
        .iter()
        .filter_map(|score| {
            let effect = score.effect.as_ref()?;
            let said = format!("{}  {}", figures(effect.effect, effect.low, effect.high), score.finding);
            Some((name(score), (effect.low, effect.effect, effect.high), '●', said))
        })
        .chain(group.pooled.as_ref().map(|p| (all.to_owned(), (p.low, p.effect, p.high), '◆', figures(p.effect, p.low, p.high))))
        .collect();
    let label = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let said = rows.iter().map(|row| row.3.chars().count()).max().unwrap_or(0);
    let width = width.saturating_sub(label + said + 4).clamp(AXIS_MIN, AXIS_MAX);
    let unit = if group.unit.is_empty() { String::new() } else { format!(", in {}", group.unit) };
    let mut text =
        format!("{} on {}: {}{unit}; what came minus what would have come, 95 %\n", group.verb, group.target_class, clean(&group.metric));
    for (name, interval, mark, said) in rows {
        let _ = writeln!(text, "{name:<label$}  {}  {said}", bar(axis, interval, width, mark));
    }
    let _ = writeln!(text, "{:<label$}  {}", "", ticks(axis, &group.metric, width));
    text
}

/// How symptoms go by themselves: the share that still lasts over time, with its 95 % band in `░`.
pub fn recovery(recovery: &RecoveryLine, width: usize) -> String {
    if recovery.episodes == 0 {
        return "How its symptoms go by themselves is not known: none was ever left alone to its end.\n".into();
    }
    let mut text = format!("Left alone: {} of {} went by themselves while they were watched\n", recovery.healed, recovery.episodes);
    let until = recovery.watched_seconds.max(recovery.steps.last().map_or(0.0, |step| step.seconds));
    if recovery.steps.is_empty() || until <= 0.0 {
        return text;
    }
    let width = width.saturating_sub(8).clamp(AXIS_MIN, AXIS_MAX);
    let row = |share: f64| ((1.0 - share) * (CURVE_ROWS - 1) as f64).round() as usize;
    let mut cells = vec![vec![' '; width]; CURVE_ROWS];
    for column in 0..width {
        let seconds = until * column as f64 / (width - 1) as f64;
        let step = recovery.steps.iter().rev().find(|step| step.seconds <= seconds);
        let (lasting, low, high) = step.map_or((1.0, 1.0, 1.0), |step| (step.lasting, step.low, step.high));
        cells[row(high)..=row(low)].iter_mut().for_each(|line| line[column] = '░');
        cells[row(lasting)][column] = '█';
    }
    for (index, line) in cells.iter().enumerate() {
        let share = 1.0 - index as f64 / (CURVE_ROWS - 1) as f64;
        let label = if index == 0 || index == CURVE_ROWS - 1 || index == CURVE_ROWS / 2 {
            format!("{:>4.0} %", share * 100.0)
        } else {
            String::new()
        };
        let _ = writeln!(text, "{label:>6} {}", line.iter().collect::<String>().trim_end());
    }
    let end = measured(until, "x_seconds");
    let _ = writeln!(text, "{:>6} 0{:>rest$}", "", format!("{end} after it began"), rest = width.saturating_sub(1));
    text
}

/// Everything of a policy, as `homeostat scores show` prints it.
pub fn text(scores: &PolicyScores, width: usize) -> String {
    let mut text = format!("{}  {}\n", scores.policy, clean(scores.doc.lines().next().unwrap_or_default()));
    for standing in &scores.standings {
        let _ = writeln!(
            text,
            "{} on {}: may {}; for the next step it lacks {}",
            standing.class,
            standing.target_class,
            standing.effective.name(),
            standing.next
        );
    }
    for belief in &scores.beliefs {
        let _ = writeln!(text, "{}; treated {}", belief.belief_text(), belief.treated_text());
        for response in &belief.responses {
            let _ = writeln!(text, "  {}: {}", response.metric, response.text);
            text.extend(response.warning.iter().map(|warning| format!("  WARNING: {warning}\n")));
        }
    }
    for series in &scores.series {
        let _ = write!(text, "\n{}", group(series, width));
        let spread = series.pooled.as_ref().map(|pooled| measured(pooled.spread, &series.metric));
        text.extend(spread.map(|spread| format!("true effects differ by {spread} (standard deviation)\n")));
        for score in &series.actions {
            for effect in &score.side_effects {
                let what = format!("{} {}", effect.finding, signed(effect.effect, &effect.metric));
                let _ = writeln!(text, "  beside {}: {what} on {}", score.action, clean(&effect.series));
            }
        }
    }
    if !scores.without_effect.is_empty() {
        text += "\nScores without an effect\n";
        for score in &scores.without_effect {
            let _ = writeln!(text, "{:<6}{}  {}  {}", score.action, moment(score.at), clean(&score.target), clean(&score.text));
        }
    }
    if scores.series.is_empty() && scores.without_effect.is_empty() {
        text += "\nNothing that it did was scored yet.\n";
    }
    if scores.left_out > 0 {
        let _ = writeln!(text, "\n{} older scores are not shown.", scores.left_out);
    }
    let _ = write!(text, "\n{}", recovery(&scores.recovery, width));
    text
}
