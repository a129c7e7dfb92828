//! Findings for people: the line, the place, what was expected, and what to do.
//!
//! The same bytes whatever the terminal's width; colour only where the caller says that a terminal looks.

use super::{Finding, Severity};
use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind, Source};
use std::fmt::Write as _;

/// Shows findings, ordered by place; `text` is the file that they are all about.
pub fn render(findings: &[Finding], text: &str, colour: bool) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| (finding.line, finding.column, finding.severity, finding.code));
    sorted.iter().map(|finding| one(finding, text, colour) + "\n").collect()
}

/// The characters of a place, as offsets in the text; a place behind the end of its line is its end.
fn range(text: &str, line: usize, column: usize, len: usize) -> Option<std::ops::Range<usize>> {
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
    let here = text.lines().nth(line - 1)?.chars().count();
    let start = (column.max(1) - 1).min(here);
    let end = (start + len.max(1)).min(here.max(start + 1));
    Some(before + start..before + end)
}

fn one(finding: &Finding, text: &str, colour: bool) -> String {
    let Some(place) = range(text, finding.line, finding.column, finding.len) else { return plain(finding) };
    let shade = match finding.severity {
        Severity::Error => Color::Red,
        Severity::Warning => Color::Yellow,
        Severity::Note => Color::Blue,
    };
    let path = finding.path.as_str();
    let config = Config::new().with_color(colour).with_char_set(CharSet::Unicode).with_index_type(IndexType::Char).with_tab_width(4);
    let mut report = Report::build(ReportKind::Custom(finding.severity.name(), shade), (path, place.clone()))
        .with_config(config)
        .with_code(finding.code)
        .with_message(&finding.message);
    let words = finding.expected.as_deref().unwrap_or("here");
    report.add_label(Label::new((path, place)).with_color(shade).with_message(words));
    for (number, label) in finding.labels.iter().enumerate() {
        if let Some(place) = range(text, label.line, label.column, label.len) {
            let shown = Label::new((path, place)).with_color(Color::Cyan).with_message(&label.text);
            report.add_label(shown.with_order(number as i32 + 1));
        }
    }
    if let Some(help) = &finding.help {
        report.set_help(help);
    }
    let mut bytes = Vec::new();
    match report.finish().write((path, Source::from(text)), &mut bytes) {
        Ok(()) if colour => tidy(&String::from_utf8_lossy(&bytes)),
        // The kind's colour is written whatever was asked for.
        Ok(()) => tidy(&plain_text(&String::from_utf8_lossy(&bytes))),
        Err(_) => plain(finding),
    }
}

/// No blanks at the ends of lines: they would only be lost by editors.
fn tidy(text: &str) -> String {
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Without the terminal's escapes.
fn plain_text(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// Where there is no line to show.
fn plain(finding: &Finding) -> String {
    let mut text = format!("[{}] {}: {}\n  ──▶ {}", finding.code, finding.severity.name(), finding.message, finding.path);
    if finding.line > 0 {
        let _ = write!(text, ":{}:{}", finding.line, finding.column);
    }
    for (word, what) in [("Expected", &finding.expected), ("Help", &finding.help)] {
        if let Some(what) = what {
            let _ = write!(text, "\n  {word}: {what}");
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_kernel::policy::survey::Place;

    #[test]
    fn places_are_found_in_texts_of_any_script() {
        let text = "é\n  näher.last()\n";
        assert_eq!(range(text, 2, 3, 5), Some(4..9));
        assert_eq!(range(text, 2, 90, 5), Some(16..17));
        assert_eq!(range(text, 0, 1, 1), None);
        assert_eq!(range(text, 9, 1, 1), None);
    }

    #[test]
    fn a_finding_is_shown_with_its_line_and_without_colour() {
        let place = Place { line: 2, column: 4, len: 4 };
        let finding = Finding::error("unknown-function", "a.rhai", place, "there is no function `lsat`").help("did you mean `last`?");
        let shown = render(&[finding], "fn f(x) {\n x.lsat()\n}\n", false);
        for part in ["[unknown-function] error: there is no function `lsat`", "a.rhai:2:4", "x.lsat()", "did you mean `last`?"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains('\u{1b}'));
        let whole = Finding::error("no-function", "a.rhai", Place::default(), "nothing would ever run");
        assert_eq!(render(&[whole], "", false), "[no-function] error: nothing would ever run\n  ──▶ a.rhai\n\n");
    }
}
