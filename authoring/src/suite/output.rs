//! How the result of tests is told: as `cargo test` tells it, and as JUnit's XML for build servers.

use super::Report;
use std::fmt::Write as _;

/// A file's tests as they go: one line per expectation.
pub fn lines(report: &Report) -> String {
    let mut text = format!("running {} of {}\n", counted(report.results.len(), "expectation"), report.file);
    for checked in &report.results {
        let end = if checked.failure.is_none() { "ok" } else { "FAILED" };
        let _ = writeln!(text, "test {} ... {end}", report.name_of(checked));
    }
    text
}

/// What failed, each with its place and what was there instead; empty if nothing did.
pub fn failures(report: &Report) -> String {
    let mut text = String::new();
    for (checked, failure) in report.failures() {
        let _ = writeln!(text, "---- {} ----", report.name_of(checked));
        let _ = writeln!(text, "  --> {}:{}:{}", report.file, checked.line, checked.column);
        let _ = writeln!(text, "expected {}", failure.expected);
        for (number, line) in failure.found.iter().enumerate() {
            let _ = writeln!(text, "{}{line}", if number == 0 { "found    " } else { "         " });
        }
        text.push('\n');
    }
    text
}

/// The coverage of a report; empty where it was not asked for.
pub fn coverage(report: &Report) -> String {
    report.coverage.as_ref().map_or_else(String::new, |coverage| coverage.text(&report.policy))
}

/// The last line.
pub fn summary(passed: usize, failed: usize, filtered: usize) -> String {
    let result = if failed == 0 { "ok" } else { "FAILED" };
    let filtered = if filtered == 0 { String::new() } else { format!("; {filtered} filtered out") };
    format!("test result: {result}. {passed} passed; {failed} failed{filtered}")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// JUnit's XML, as build servers read it: a suite per file, a case per expectation. `broken`: files whose tests could not be run, with
/// the reason.
pub fn junit(reports: &[Report], broken: &[(String, String)]) -> String {
    let tests: usize = reports.iter().map(|report| report.results.len()).sum::<usize>() + broken.len();
    let failed: usize = reports.iter().map(|report| report.failures().count()).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ =
        writeln!(xml, "<testsuites name=\"homeostat policy test\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{}\">", broken.len());
    for report in reports {
        let (name, failures) = (escaped(&report.policy), report.failures().count());
        let (file, tests) = (escaped(&report.file), report.results.len());
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" file=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">");
        for checked in &report.results {
            let class = if checked.test.is_empty() { report.policy.clone() } else { format!("{}.{}", report.policy, checked.test) };
            let (class, case) = (escaped(&class), escaped(&checked.expectation));
            let _ = write!(xml, "    <testcase classname=\"{class}\" name=\"{case}\" file=\"{file}\" line=\"{}\"", checked.line);
            match &checked.failure {
                None => xml.push_str("/>\n"),
                Some(failure) => {
                    let (message, found) = (escaped(&format!("expected {}", failure.expected)), escaped(&failure.found.join("\n")));
                    let _ = writeln!(xml, ">\n      <failure message=\"{message}\">found {found}</failure>\n    </testcase>");
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    for (file, why) in broken {
        let (file, why) = (escaped(file), escaped(why));
        let _ = writeln!(xml, "  <testsuite name=\"{file}\" file=\"{file}\" tests=\"1\" failures=\"0\" errors=\"1\">");
        let _ = writeln!(
            xml,
            "    <testcase classname=\"{file}\" name=\"can be run\"><error message=\"cannot be run\">{why}</error></testcase>"
        );
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// For XML: special characters as entities; control characters, which XML cannot hold, as spaces.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
