//! The digest as Markdown, and as a few lines for a phone.
//!
//! Names stand in code spans, texts are escaped: they come from people and workloads. An editor breaks this by writing either as it is.

use super::{Deed, Digest, LINES_MAX, Repeat};
use crate::http::view::{distance, moment, number};
use crate::scores::forest;
use std::fmt::Write as _;

/// Lines of one section in Markdown.
const SHOWN: usize = 15;
/// The short form's characters.
const SHORT_CHARS_MAX: usize = 1_200;
/// Columns of plots in Markdown.
const PLOT_WIDTH: usize = 110;

/// A name, literally.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    format!("`{}`", text.trim())
}

/// A text without markup.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' | '[' | ']' | '|' | '\\' | '#' | '!' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let more = lines.len().saturating_sub(SHOWN);
    let _ = write!(text, "\n## {title}\n\n");
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "- {line}");
    }
    if more > 0 {
        let at_least = if lines.len() >= LINES_MAX { "at least " } else { "" };
        let _ = writeln!(text, "- … and {at_least}{more} more");
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        count => format!("{count} times"),
    }
}

fn deed(deed: &Deed) -> String {
    let (verb, target) = (code(&deed.verb), code(&deed.target));
    format!("{verb} on {target}, {} ({}, newest {}): {}", times(deed.times), code(&deed.policy), deed.action, plain(&deed.text))
}

/// What only seemed healed: why it is not called so.
pub(super) fn seemed_text(deed: &Deed) -> String {
    let odds = deed.odds.map_or_else(
        || "how often it goes by itself is not known".to_owned(),
        |odds| format!("it goes by itself with a chance of {:.0} %", odds * 100.0),
    );
    format!("the claim held, but {odds}")
}

/// A repeated symptom in one sentence.
pub(super) fn repeat_text(repeat: &Repeat) -> String {
    let helped = match repeat.helped {
        0 => "never seen to help".to_owned(),
        helped if helped == repeat.times => "healed each time".to_owned(),
        helped => format!("healed {}", times(helped)),
    };
    let ever = if repeat.ever > repeat.times { format!(", {} ever", times(repeat.ever)) } else { String::new() };
    format!("treated {} ({helped}{ever})", times(repeat.times))
}

fn repeat(repeat: &Repeat) -> String {
    let about = format!("{} on {}", code(&repeat.verb), code(&repeat.target));
    // The command in it is meant to be read as one.
    format!("{about}: {}. Lasting fix: {}", repeat_text(repeat), plain(&repeat.fix))
}

impl Digest {
    /// The heading's figures, in words.
    pub(super) fn figures(&self) -> String {
        let [helped, no_effect, harmed, inconclusive] = self.scores;
        format!(
            "{} actions and {} messages were sent. Scores: {helped} helped, {no_effect} no effect, {harmed} harmed, {inconclusive} inconclusive.",
            self.acts, self.messages
        )
    }

    /// What the span and the month cost, in words.
    pub(super) fn cost(&self) -> Vec<String> {
        let at_least = if self.spent.complete { "" } else { " at least (older actions are forgotten)" };
        let spent = &self.spent;
        let mut lines =
            vec![format!("this span: {:.3} kWh, {:.2} €, {} of interruption{at_least}", spent.kwh, spent.euros, spent.disruption)];
        if let Some(month) = &self.month {
            let total = &month.total.spent;
            lines.push(format!(
                "{}: {:.3} kWh, {:.2} €, {} of interruption, {} boots, {} evictions, {} power cycles, {} tokens",
                month.month, month.total.kwh, total.euros, total.disruption, total.boots, total.evictions, total.power_cycles, total.tokens
            ));
        }
        let left = self.budget.iter().map(|line| format!("{}: {} of {} left", line.what, number(line.left), number(line.max)));
        lines.extend(left);
        lines
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Homeostat, {} to {}\n\n{}\n", self.since_day, self.day, self.figures());
        let deeds = |deeds: &[Deed]| deeds.iter().map(deed).collect::<Vec<_>>();
        section(&mut text, "Harmed", deeds(&self.harmed));
        section(&mut text, "Healed", deeds(&self.healed));
        let seemed = |found: &Deed| format!("{} — {}", deed(found), seemed_text(found));
        section(&mut text, "Only seemed healed", self.seemed.iter().map(seemed).collect());
        section(&mut text, "In vain, or not to be told", deeds(&self.in_vain));
        section(&mut text, "Keeps coming back", self.repeated.iter().map(repeat).collect());
        let masked = |line: &Repeat| {
            let (verb, target) = (code(&line.verb), code(&line.target));
            format!(
                "{target}: {verb} {} times a week hides the fault rather than mending it",
                number((line.per_week * 10.0).round() / 10.0)
            )
        };
        section(&mut text, "Masked", self.masked.iter().map(masked).collect());
        let moved = |kind: &'static str| self.moves.iter().filter(move |line| line.kind == kind);
        let line = |line: &crate::scores::autonomy::MoveLine| {
            format!("{}: {}, {}. {}", moment(line.at), plain(&line.about), plain(&line.what), plain(&line.evidence))
        };
        section(&mut text, "Autonomy", moved("autonomy").map(line).collect());
        section(&mut text, "Drills", moved("drill").map(line).collect());
        section(&mut text, "Rhythms", moved("rhythm").map(line).collect());
        section(&mut text, "Energy and money", self.cost());
        let lock = |lock: &crate::scores::spending::LockLine| {
            let how = if lock.is_locked { format!("until {}", code(&lock.unlock)) } else { "for a while".into() };
            format!("{} ({}, {}), {how}: {}", code(&lock.about), lock.kind, distance(self.at, lock.since), plain(&lock.why))
        };
        section(&mut text, "Held back", self.locks.iter().map(lock).collect());
        if !self.series.is_empty() {
            text += "\n## Effects\n";
            for group in &self.series {
                let _ = write!(text, "\n```text\n{}```\n", forest::group(group, PLOT_WIDTH).replace('`', " "));
            }
        }
        text
    }

    /// A few lines for a phone: plain text, at most some twelve hundred characters.
    pub fn short(&self) -> String {
        let mut lines = vec![self.figures()];
        lines.extend(self.harmed.iter().take(3).map(|deed| format!("HARMED: {} on {} ({})", deed.verb, deed.target, deed.action)));
        lines.extend(
            self.repeated.iter().take(3).map(|line| format!("{} on {}: {}. {}", line.verb, line.target, repeat_text(line), line.fix)),
        );
        let seemed: u64 = self.seemed.iter().map(|deed| deed.times).sum();
        if seemed > 0 {
            lines.push(format!("{} it only seemed healed.", times(seemed)));
        }
        let moves = self.moves.iter().filter(|line| line.kind != "rhythm").take(3);
        lines.extend(moves.map(|line| format!("{}: {}", line.about, line.what)));
        let locked = self.locks.iter().filter(|lock| lock.is_locked).count();
        if locked > 0 {
            lines.push(format!("{locked} locked: see `homeostat ledger`."));
        }
        lines.extend(self.cost().into_iter().take(1));
        let text: String = lines.iter().map(|line| crate::cli::show::clean(line)).collect::<Vec<_>>().join("\n");
        if text.chars().count() <= SHORT_CHARS_MAX { text } else { text.chars().take(SHORT_CHARS_MAX - 1).chain(['…']).collect() }
    }
}
