//! The same pictures as SVG, whole in themselves: no script, no font, no link; light and dark by what the page's own colour is.
//!
//! An editor breaks this by putting a text in without [`escaped`].

use super::forest::{Axis, intervals};
use super::show::{PolicyScores, RecoveryLine, SeriesGroup};
use super::{measured, signed};
use homeostat_model::Finding;
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const ROW: f64 = 20.0;
const LABEL: f64 = 230.0;
const FIGURES: f64 = 250.0;
const HEAD: f64 = 30.0;
const FOOT: f64 = 28.0;
const CURVE: f64 = 160.0;

/// Text for XML. Control characters, which XML does not know, become spaces.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A finding's colour: readable on light and on dark.
pub(crate) fn colour(finding: Finding) -> &'static str {
    match finding {
        Finding::Helped => "#2a9d4a",
        Finding::Harmed => "#d43c3c",
        Finding::NoEffect => "#888888",
        Finding::Inconclusive => "#c98a00",
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

fn put(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#, escaped(text));
    svg.push('\n');
}

/// A document around drawings of this height.
fn document(title: &str, height: f64, body: &str) -> String {
    let style = "text{font:13px system-ui,sans-serif;fill:#333}.h{font-weight:600}.s{font-size:11px;fill:#888}\
                 @media(prefers-color-scheme:dark){text{fill:#ddd}}";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
         role=\"img\">\n<title>{}</title>\n<style>{style}</style>\n{body}</svg>\n",
        escaped(title)
    )
}

/// One row of a plot.
struct Row {
    label: String,
    interval: (f64, f64, f64),
    colour: &'static str,
    said: String,
    is_pooled: bool,
}

fn rows(group: &SeriesGroup) -> Vec<Row> {
    let metric = &group.metric;
    let said =
        |effect: f64, low: f64, high: f64| format!("{} ({} to {})", signed(effect, metric), signed(low, metric), signed(high, metric));
    let action = group.actions.iter().filter_map(|score| {
        let effect = score.effect.as_ref()?;
        Some(Row {
            label: format!("{} {}", score.action, cut(&score.target, 26)),
            interval: (effect.low, effect.effect, effect.high),
            colour: colour(score.finding),
            said: said(effect.effect, effect.low, effect.high),
            is_pooled: false,
        })
    });
    let pooled = group.pooled.as_ref().map(|p| Row {
        label: format!("all {} in one", p.effects),
        interval: (p.low, p.effect, p.high),
        colour: "#5577cc",
        said: said(p.effect, p.low, p.high),
        is_pooled: true,
    });
    action.chain(pooled).collect()
}

fn height_of(group: &SeriesGroup) -> f64 {
    HEAD + ROW * rows(group).len() as f64 + FOOT
}

/// Draws one group from `top` on.
fn draw(svg: &mut String, group: &SeriesGroup, top: f64) {
    let axis = Axis::of(&intervals(group));
    let (from, width) = (LABEL, WIDTH - LABEL - FIGURES);
    let x = |value: f64| from + axis.share(value) * width;
    put(svg, 8.0, top + 18.0, "start", "h", &format!("{} on {}: {}", group.verb, group.target_class, group.metric));
    let rows = rows(group);
    let bottom = top + HEAD + ROW * rows.len() as f64;
    let zero = x(0.0);
    let _ = writeln!(
        svg,
        r##"<line x1="{zero:.1}" y1="{:.1}" x2="{zero:.1}" y2="{bottom:.1}" stroke="#888" stroke-dasharray="3 3"/>"##,
        top + HEAD - 4.0
    );
    for (index, row) in rows.iter().enumerate() {
        let y = top + HEAD + ROW * (index as f64 + 0.5);
        put(svg, 8.0, y + 4.0, "start", if row.is_pooled { "h" } else { "" }, &row.label);
        let (low, middle, high) = row.interval;
        if low.is_finite() && middle.is_finite() && high.is_finite() {
            let (low, middle, high, colour) = (x(low), x(middle), x(high), row.colour);
            let _ = writeln!(svg, r#"<line x1="{low:.1}" y1="{y:.1}" x2="{high:.1}" y2="{y:.1}" stroke="{colour}" stroke-width="2"/>"#);
            for (end, is_cut) in [(low, row.interval.0 < axis.low), (high, row.interval.2 > axis.high)] {
                let half = if is_cut { 1.5 } else { 5.0 };
                let _ = writeln!(
                    svg,
                    r#"<line x1="{end:.1}" y1="{:.1}" x2="{end:.1}" y2="{:.1}" stroke="{colour}" stroke-width="2"/>"#,
                    y - half,
                    y + half
                );
            }
            if row.is_pooled {
                let points =
                    format!("{:.1},{y:.1} {middle:.1},{:.1} {:.1},{y:.1} {middle:.1},{:.1}", middle - 8.0, y - 7.0, middle + 8.0, y + 7.0);
                let _ = writeln!(svg, r#"<polygon points="{points}" fill="{colour}"/>"#);
            } else {
                let _ = writeln!(svg, r#"<circle cx="{middle:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#);
            }
        }
        put(svg, WIDTH - FIGURES + 12.0, y + 4.0, "start", "s", &row.said);
    }
    put(svg, from, bottom + 16.0, "start", "s", &signed(axis.low, &group.metric));
    put(svg, zero, bottom + 16.0, "middle", "s", "0");
    put(svg, from + width, bottom + 16.0, "end", "s", &signed(axis.high, &group.metric));
}

fn draw_recovery(svg: &mut String, recovery: &RecoveryLine, top: f64) {
    let title = format!("Left alone: {} of {} went by themselves", recovery.healed, recovery.episodes);
    put(svg, 8.0, top + 18.0, "start", "h", &title);
    let until = recovery.watched_seconds.max(recovery.steps.last().map_or(0.0, |step| step.seconds));
    if until <= 0.0 {
        return;
    }
    let (from, width, head) = (60.0, WIDTH - 80.0, top + HEAD);
    let x = |seconds: f64| from + seconds / until * width;
    let y = |share: f64| head + (1.0 - share) * CURVE;
    let corners = |of: fn(&super::show::RecoveryStep) -> f64| {
        let mut points = vec![(0.0, 1.0)];
        for step in &recovery.steps {
            let before = points.last().map_or(1.0, |(_, share)| *share);
            points.extend([(step.seconds, before), (step.seconds, of(step))]);
        }
        points.push((until, points.last().map_or(1.0, |(_, share)| *share)));
        points
    };
    let path =
        |points: &[(f64, f64)]| points.iter().map(|(s, share)| format!("{:.1},{:.1}", x(*s), y(*share))).collect::<Vec<_>>().join(" ");
    let mut band = corners(|step| step.high);
    band.extend(corners(|step| step.low).into_iter().rev());
    let _ = writeln!(svg, r##"<polygon points="{}" fill="#5577cc" fill-opacity="0.18"/>"##, path(&band));
    let _ =
        writeln!(svg, r##"<polyline points="{}" fill="none" stroke="#5577cc" stroke-width="2"/>"##, path(&corners(|step| step.lasting)));
    for share in [0.0, 0.5, 1.0] {
        put(svg, from - 6.0, y(share) + 4.0, "end", "s", &format!("{:.0} %", share * 100.0));
        let _ = writeln!(svg, r##"<line x1="{from:.1}" y1="{0:.1}" x2="{1:.1}" y2="{0:.1}" stroke="#8884"/>"##, y(share), from + width);
    }
    put(svg, from, head + CURVE + 16.0, "start", "s", "0");
    put(svg, from + width, head + CURVE + 16.0, "end", "s", &format!("{} after it began", measured(until, "x_seconds")));
}

/// One group's forest plot.
pub fn group(group: &SeriesGroup) -> String {
    let mut body = String::new();
    draw(&mut body, group, 0.0);
    document(&format!("{} on {}, {}", group.verb, group.target_class, group.metric), height_of(group), &body)
}

/// Everything of a policy that can be drawn: every group, and the natural recovery.
pub fn policy(scores: &PolicyScores) -> String {
    let (mut body, mut top) = (String::new(), HEAD);
    put(&mut body, 8.0, 20.0, "start", "h", &format!("{}: what came minus what would have come, 95 %", scores.policy));
    for group in &scores.series {
        draw(&mut body, group, top);
        top += height_of(group);
    }
    if scores.series.is_empty() {
        put(&mut body, 8.0, top + 18.0, "start", "s", "no effect was scored yet");
        top += HEAD;
    }
    if scores.recovery.episodes > 0 {
        draw_recovery(&mut body, &scores.recovery, top);
        top += HEAD + CURVE + FOOT;
    }
    document(&format!("Scores of {}", scores.policy), top, &body)
}
