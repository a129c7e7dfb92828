//! One series as SVG: its band of least and greatest values, the levels that it is compared with, and the firings.
//!
//! Deliberately absent: smoothing, and lines across gaps: where nothing was known nothing is drawn. An editor breaks this by an axis
//! that does not hold every level: a threshold outside of the picture says nothing.

use super::escape;
use crate::backtest::{Backtest, Curve, Point};
use homeostat_model::Time;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// A gap of more points than this is drawn as one.
const GAP_POINTS: i64 = 3;

/// Where values and moments stand in the picture.
struct Frame {
    from: Time,
    span_ms: f64,
    low: f64,
    high: f64,
}

impl Frame {
    fn new(backtest: &Backtest, curve: &Curve) -> Frame {
        let values = curve.points.iter().flat_map(|point| [point.min, point.max]).chain(curve.thresholds.iter().map(|level| level.value));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let room = if high > low { (high - low) * 0.06 } else { high.abs().max(1.0) * 0.1 };
        let span_ms = (backtest.to.since(backtest.from).millis() as f64).max(1.0);
        Frame { from: backtest.from, span_ms, low: low - room, high: high + room }
    }
    fn x(&self, at: Time) -> f64 {
        let part = (at.millis() - self.from.millis()) as f64 / self.span_ms;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
    fn y(&self, value: f64) -> f64 {
        TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Draws one curve.
pub(super) fn draw(page: &mut String, backtest: &Backtest, curve: &Curve, time: &dyn Fn(Time) -> String) {
    let frame = Frame::new(backtest, curve);
    let name = escape(&curve.series.to_string());
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}, {} firings\" data-series=\"{name}\" data-firings=\"{}\">",
        curve.firings.len(),
        curve.firings.len()
    );
    axes(page, &frame, backtest, time);
    for number in &curve.firings {
        let Some(firing) = backtest.firings.get(*number) else { continue };
        let (left, right) = (frame.x(firing.from), frame.x(firing.until.unwrap_or(backtest.to)));
        let bottom = HEIGHT - BOTTOM;
        let _ = writeln!(
            page,
            "<g data-firing=\"{number}\"><title>{} {} on {}: {}</title><rect class=\"firing\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/><line class=\"begin\" x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/></g>",
            escape(&time(firing.from)),
            escape(&firing.verb),
            escape(&firing.target),
            escape(&firing.because),
            (right - left).max(1.0),
            bottom - TOP
        );
    }
    for run in curve.points.chunk_by(|a, b| b.at.since(a.at).millis() <= GAP_POINTS * curve.point_ms) {
        stroke(page, &frame, run);
    }
    for level in &curve.thresholds {
        let y = frame.y(level.value);
        let _ = writeln!(
            page,
            "<line class=\"level\" data-threshold=\"{0}\" x1=\"{LEFT}\" x2=\"{1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"leveltext\" x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{0}</text>",
            escape(&level.relation),
            WIDTH - RIGHT,
            WIDTH - RIGHT - 2.0,
            y - 3.0
        );
    }
    let _ = writeln!(page, "</svg>");
}

/// The band between least and greatest, and the line through the middle.
fn stroke(page: &mut String, frame: &Frame, run: &[Point]) {
    let mut band = String::new();
    for point in run {
        let _ = write!(band, "{:.1},{:.1} ", frame.x(point.at), frame.y(point.max));
    }
    for point in run.iter().rev() {
        let _ = write!(band, "{:.1},{:.1} ", frame.x(point.at), frame.y(point.min));
    }
    let mut line = String::new();
    for point in run {
        let _ = write!(line, "{:.1},{:.1} ", frame.x(point.at), frame.y((point.min + point.max) / 2.0));
    }
    let _ = writeln!(
        page,
        "<polygon class=\"band\" points=\"{}\"/><polyline class=\"curve\" points=\"{}\"/>",
        band.trim_end(),
        line.trim_end()
    );
}

fn axes(page: &mut String, frame: &Frame, backtest: &Backtest, time: &dyn Fn(Time) -> String) {
    for part in 0..=4 {
        let value = frame.low + (frame.high - frame.low) * f64::from(part) / 4.0;
        let y = frame.y(value);
        let _ = writeln!(
            page,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            short(value)
        );
    }
    for part in 0..=4_i64 {
        let at = Time(backtest.from.millis() + backtest.to.since(backtest.from).millis() * part / 4);
        let anchor = match part {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        let text: String = time(at).chars().take(16).collect();
        let _ = writeln!(page, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>", frame.x(at), HEIGHT - 8.0, escape(&text));
    }
}

/// A value on an axis: three digits, great ones with a letter.
fn short(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        size if size >= 1e12 => (value / 1e12, "T"),
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.digits$}{letter}")
}
