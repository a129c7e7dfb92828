//! The report of a backtest: one HTML file, nothing loaded from elsewhere, no script; light and dark by the reader's own setting.
//!
//! Per series a plot with thresholds and firings (`plot`), then what would have happened, what guards held, and what differs between
//! two versions. Marks carry `data-` attributes, so that a test (or a person's own tool) can count them. Deliberately absent: numbers
//! that the backtest does not have. An editor breaks this by writing a text without [`escape`]: series' labels come from outside.

mod plot;

#[cfg(test)]
mod tests;

use super::{Answer, Backtest, COUNTERFACTUAL, Diff, Firing, Judged};
use homeostat_model::{Span, Time};
use std::fmt::Write as _;

/// Plots in one report.
const PLOTS_MAX: usize = 60;
/// Rows of one table.
const ROWS_MAX: usize = 1_000;

/// What the report looks like; colours by role, for both settings.
const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fcfcfa;--ink:#1d2329;--faint:#6a737d;--line:#d8dce0;--curve:#2b6cb0;--band:#2b6cb033;--fire:#c2410c;--fireband:#c2410c26;--level:#7c3aed;--add:#166534;--gone:#9f1239}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e8ea;--faint:#9aa3ad;--line:#343b43;--curve:#7ab8ff;--band:#7ab8ff33;--fire:#ff9d5c;--fireband:#ff9d5c2e;--level:#c4a7ff;--add:#6ee7a0;--gone:#ff8fa3}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:.95rem;font-weight:600;margin:1.4rem 0 .2rem;overflow-wrap:anywhere}
.faint{color:var(--faint)}.label{border:1px solid var(--fire);color:var(--fire);border-radius:.6rem;padding:0 .5rem;font-size:.8rem}
table{border-collapse:collapse;width:100%;font-size:.88rem}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}td.n,th.n{text-align:right;white-space:nowrap}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--faint)}
.axis{stroke:var(--line)}.curve{stroke:var(--curve);stroke-width:1.4;fill:none}.band{fill:var(--band)}.level{stroke:var(--level);stroke-dasharray:5 4}.leveltext{fill:var(--level)!important}
.firing{fill:var(--fireband)}.begin{stroke:var(--fire);stroke-width:1.6}.only-a .begin,.only-b .begin{stroke-width:3}.only-a td:first-child{color:var(--gone)}.only-b td:first-child{color:var(--add)}
";

/// The report as one HTML page. `against`: another version over the same history, and what differs (`a` is that other version).
/// `time` writes a moment as people read it.
pub fn html(backtest: &Backtest, against: Option<(&Backtest, &Diff)>, time: &dyn Fn(Time) -> String) -> String {
    let mut page = String::with_capacity(64 << 10);
    let title = format!("Backtest of {}", backtest.version);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head>\n<body><h1>{0}</h1>\n",
        escape(&title)
    );
    summary(&mut page, backtest, time);
    if let Some((other, diff)) = against {
        differences(&mut page, backtest, other, diff, time);
    }
    let _ = writeln!(page, "<h2>Series, thresholds and firings</h2>");
    let plotted = backtest.curves.len().min(PLOTS_MAX);
    for curve in &backtest.curves[..plotted] {
        let _ = writeln!(page, "<h3>{}</h3>", escape(&curve.series.to_string()));
        plot::draw(&mut page, backtest, curve, time);
    }
    if plotted == 0 {
        let _ = writeln!(page, "<p>The history holds none of the series that the policy reads.</p>");
    } else if plotted < backtest.curves.len() {
        let _ = writeln!(page, "<p class=\"faint\">{} more series are not drawn.</p>", backtest.curves.len() - plotted);
    }
    firings(&mut page, backtest, time);
    guards(&mut page, backtest);
    undetermined(&mut page, backtest, time);
    let _ = writeln!(page, "</body></html>");
    page
}

fn summary(page: &mut String, backtest: &Backtest, time: &dyn Fn(Time) -> String) {
    let _ = writeln!(
        page,
        "<p class=\"faint\">{} to {}, {:.1} days; {} reads, {} samples, {} evaluations</p>",
        escape(&time(backtest.from)),
        escape(&time(backtest.to)),
        backtest.days(),
        backtest.observations,
        backtest.samples,
        backtest.evaluations
    );
    let _ = writeln!(
        page,
        "<p><strong>{} firings</strong>, {:.1} % of evaluations undetermined, {:.2} returns within an hour per day, {:.2} reversals per day.</p>",
        backtest.firings.len(),
        backtest.undetermined_share * 100.0,
        backtest.returns_per_day,
        backtest.reversals_per_day
    );
    if let Some(from) = backtest.counterfactual_from {
        let _ = writeln!(
            page,
            "<p><span class=\"label\">counterfactual</span> from {} on. {}.</p>",
            escape(&time(from)),
            escape(COUNTERFACTUAL)
        );
    }
    for note in &backtest.notes {
        let _ = writeln!(page, "<p class=\"faint\">Note: {}.</p>", escape(note));
    }
    let _ = writeln!(
        page,
        "<h2>Actions</h2>\n<table><tr><th>verb</th><th>class</th><th class=\"n\">firings</th><th class=\"n\">would be sent</th><th class=\"n\">minutes of interruption</th><th class=\"n\">joules</th><th class=\"n\">minutes if every firing were allowed</th></tr>"
    );
    for (verb, tally) in &backtest.verbs {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{:.0}</td><td class=\"n\">{:.1}</td></tr>",
            escape(verb),
            tally.class.map_or("unknown", |class| class.name()),
            tally.firings,
            tally.sent,
            tally.disruption_minutes,
            tally.energy_joules,
            tally.disruption_if_allowed_minutes
        );
    }
    let claims = &backtest.claims;
    let _ = writeln!(
        page,
        "</table>\n<p>Claims of what would have been sent <span class=\"label\">counterfactual</span>: {} came true anyway, {} did not, {} could not be seen.</p>",
        claims.came_true_anyway, claims.did_not, claims.undetermined
    );
}

fn differences(page: &mut String, backtest: &Backtest, other: &Backtest, diff: &Diff, time: &dyn Fn(Time) -> String) {
    let _ = writeln!(
        page,
        "<h2>Against {}</h2>\n<p>{} firings only there, {} only here, {} in both.</p>\n<table id=\"diff\"><tr><th>only in</th><th>from</th><th>until</th><th>what</th><th>symptom</th></tr>",
        escape(&diff.a),
        diff.only_a.len(),
        diff.only_b.len(),
        diff.both.len()
    );
    let sides = [("only-a", &diff.a, &diff.only_a, other), ("only-b", &diff.b, &diff.only_b, backtest)];
    for (class, name, numbers, of) in sides {
        for firing in numbers.iter().take(ROWS_MAX).filter_map(|number| of.firings.get(*number)) {
            let _ = writeln!(
                page,
                "<tr class=\"{class}\" data-diff=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{} on {}</td><td>{}</td></tr>",
                escape(name),
                escape(&time(firing.from)),
                escape(&firing.until.map_or_else(|| "still at the end".into(), time)),
                escape(&firing.verb),
                escape(&firing.target),
                escape(&firing.symptom)
            );
        }
    }
    let _ = writeln!(page, "</table>");
}

fn firings(page: &mut String, backtest: &Backtest, time: &dyn Fn(Time) -> String) {
    let _ = writeln!(
        page,
        "<h2>Firings</h2>\n<table id=\"firings\"><tr><th>from</th><th>for</th><th>what</th><th>because</th><th>held by</th><th>would be sent</th></tr>"
    );
    for firing in backtest.firings.iter().take(ROWS_MAX) {
        let lasted = firing.until.unwrap_or(backtest.to).since(firing.from);
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}{}</td><td>{} on {}<br><span class=\"faint\">{}</span></td><td>{}{}</td><td>{}</td><td>{}</td></tr>",
            escape(&time(firing.from)),
            rough(lasted),
            if firing.until.is_none() { ", still at the end" } else { "" },
            escape(&firing.verb),
            escape(&firing.target),
            escape(&firing.symptom),
            escape(&firing.because),
            firing.claim.as_ref().map_or_else(String::new, |claim| format!("<br><span class=\"faint\">claim: {}</span>", escape(claim))),
            holds(firing),
            sent(firing, time)
        );
    }
    let _ = writeln!(page, "</table>");
    if backtest.firings.len() > ROWS_MAX {
        let _ = writeln!(page, "<p class=\"faint\">{} more are in `--json`.</p>", backtest.firings.len() - ROWS_MAX);
    }
}

fn holds(firing: &Firing) -> String {
    let mut sums: std::collections::BTreeMap<(&str, &str), Span> = std::collections::BTreeMap::new();
    for hold in &firing.holds {
        let sum = sums.entry((&hold.guard, hold.verdict)).or_default();
        *sum = *sum + hold.until.since(hold.from);
    }
    let parts: Vec<String> =
        sums.into_iter().map(|((guard, verdict), sum)| format!("{} ({}) for {}", escape(guard), escape(verdict), rough(sum))).collect();
    if parts.is_empty() { "nobody".into() } else { parts.join("<br>") }
}

fn sent(firing: &Firing, time: &dyn Fn(Time) -> String) -> String {
    let line = |sent: &super::Sent| {
        let answer = match sent.answer {
            Answer::Recorded => "as recorded",
            Answer::Assumed => "assumed done",
        };
        let claim = match sent.claim {
            Some(Judged::CameTrue) => ", claim came true",
            Some(Judged::DidNot) => ", claim did not come true",
            Some(Judged::Undetermined) => ", claim could not be seen",
            None => "",
        };
        format!("{} <span class=\"faint\">{answer}{claim}</span>", escape(&time(sent.at)))
    };
    let lines: Vec<String> = firing.sent.iter().take(20).map(line).collect();
    if lines.is_empty() { "never".into() } else { lines.join("<br>") }
}

fn guards(page: &mut String, backtest: &Backtest) {
    let _ = writeln!(
        page,
        "<h2>What guards held</h2>\n<table id=\"guards\"><tr><th>guard</th><th class=\"n\">firings</th><th class=\"n\">in all</th></tr>"
    );
    for (guard, held) in &backtest.guards {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(guard),
            held.firings,
            rough(held.held)
        );
    }
    let _ = writeln!(page, "</table>");
}

fn undetermined(page: &mut String, backtest: &Backtest, time: &dyn Fn(Time) -> String) {
    if backtest.stretches.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>What could not be told</h2>\n<table><tr><th>target</th><th>from</th><th>until</th><th>why</th></tr>");
    for stretch in backtest.stretches.iter().take(200) {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&stretch.symptom),
            escape(&time(stretch.from)),
            escape(&stretch.until.map_or_else(|| "still at the end".into(), time)),
            escape(&stretch.why)
        );
    }
    let _ = writeln!(page, "</table>");
}

/// A span as people say it: the two greatest units.
pub fn rough(span: Span) -> String {
    let seconds = span.millis() / 1000;
    let parts: Vec<String> = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")]
        .iter()
        .scan(seconds, |rest, (unit, name)| {
            let count = *rest / unit;
            *rest %= unit;
            Some((count > 0).then(|| format!("{count}{name}")))
        })
        .flatten()
        .take(2)
        .collect();
    if parts.is_empty() { "0s".into() } else { parts.concat() }
}

/// Text for HTML, in elements and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() && c != '\n' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
