//! The note as Markdown.
//!
//! Sentences of ours are escaped, what others wrote stands in code spans (`text`). An editor breaks this by writing a quote, a name or
//! a place as it is.

use super::note::{Note, Quote, Statement};
use super::text::{code, plain};
use crate::http::view::number;
use std::fmt::Write as _;

/// Earlier beginnings that are listed.
const EARLIER_SHOWN: usize = 5;

impl Note {
    /// The whole report. Ends with a line break.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "# Incident {} at {}\n", self.id, code(&self.place.text));
        let _ = writeln!(text, "- {} {}", plain(&self.title.what), code(&self.title.text));
        let _ = writeln!(text, "- {}", self.when());
        let _ = writeln!(text, "- {}", self.counts());
        self.before(&mut text);
        section(&mut text, "What was seen", &self.seen, "Nothing was read and no alert said anything: the wishes came without evidence.");
        section(&mut text, "What happened", &self.timeline, "Nothing is in the journal any more.");
        section(&mut text, "What was tried, and what it did", &self.tried, "Nothing was sent.");
        section(&mut text, "What was held, and why", &self.held, "");
        section(
            &mut text,
            "How often it goes by itself",
            &self.natural,
            "Not known: nobody has watched it often enough without doing something.",
        );
        self.costs(&mut text);
        section(
            &mut text,
            "What would mend it for good",
            &self.fixes,
            "Nothing is suggested: nothing was done from which a direction could be told.",
        );
        if !self.missing.is_empty() {
            text.push_str("\n## What is missing here\n\n");
            for line in &self.missing {
                let _ = writeln!(text, "- {}", plain(line));
            }
        }
        text
    }

    fn when(&self) -> String {
        match (&self.ended_when, self.lasted) {
            (Some(ended), Some(lasted)) => format!("from {} to {ended}, {lasted}", self.started_when),
            _ => format!("since {}, not over", self.started_when),
        }
    }

    fn counts(&self) -> String {
        let plural = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        format!(
            "{} ({} only repeated), {} sent or held",
            plural(self.alerts as u64, "alert", "alerts"),
            self.repeats,
            plural(self.actions() as u64, "action", "actions")
        )
    }

    fn actions(&self) -> usize {
        let actions = self.tried.iter().chain(&self.held).filter_map(|statement| statement.action);
        actions.collect::<std::collections::BTreeSet<_>>().len()
    }

    fn before(&self, text: &mut String) {
        if self.earlier.is_empty() {
            return;
        }
        let newest: Vec<&str> = self.earlier.iter().rev().take(EARLIER_SHOWN).map(String::as_str).collect();
        let all = if self.earlier.len() > newest.len() { ", …" } else { "" };
        let _ = writeln!(text, "- the place had {} incidents before that are remembered: {}{all}", self.earlier.len(), newest.join(", "));
    }

    fn costs(&self, text: &mut String) {
        text.push_str("\n## What it cost\n\n");
        let Some(cost) = &self.cost else {
            text.push_str("Nothing was booked.\n");
            return;
        };
        let mut parts = vec![
            format!("{} kWh", number(cost.kwh)),
            format!("{} euros", number(cost.euros)),
            format!("{} of interruption", cost.disruption),
        ];
        for (count, what) in [(cost.boots, "boots"), (cost.evictions, "evicted pods"), (cost.tokens, "tokens of language models")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let _ = writeln!(text, "- {}, by what the verbs say {}", parts.join(", "), entries(&cost.entries));
    }
}

fn entries(numbers: &[u64]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if numbers.len() > SHOWN { ", …" } else { "" };
    format!("({} {}{more})", if numbers.len() == 1 { "entry" } else { "entries" }, shown.join(", "))
}

/// A heading and its statements; `none`: what is said where there are none, empty for no section at all.
fn section(text: &mut String, title: &str, statements: &[Statement], none: &str) {
    if statements.is_empty() && none.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n");
    if statements.is_empty() {
        let _ = writeln!(text, "{none}");
    }
    for statement in statements {
        let quotes: Vec<String> = statement.quotes.iter().map(quoted).collect();
        let quotes = if quotes.is_empty() { String::new() } else { format!(": {}", quotes.join(", ")) };
        let _ = writeln!(text, "- {} {}{quotes} (entry {})", statement.when, plain(&statement.text), statement.entry);
    }
}

fn quoted(quote: &Quote) -> String {
    format!("{} {}", plain(&quote.what), code(&quote.text))
}
