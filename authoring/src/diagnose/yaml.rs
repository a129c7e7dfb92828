//! Test files: what their reader says, as findings.

use super::Finding;
use homeostat_kernel::policy::survey::{Place, word_len};
use homeostat_kernel::policy::{PolicyError, did_you_mean};

/// The reader's errors as findings.
pub fn of_errors(errors: &[PolicyError], text: &str) -> Vec<Finding> {
    errors.iter().map(|error| of_error(error, text)).collect()
}

fn of_error(error: &PolicyError, text: &str) -> Finding {
    let line = text.lines().nth(error.line.wrapping_sub(1)).unwrap_or_default();
    let rest: Vec<char> = line.chars().skip(error.column.saturating_sub(1)).collect();
    let place = Place { line: error.line, column: error.column, len: word_len(&rest) };
    let (code, message, expected, help) = words(&error.message);
    let finding = Finding::error(code, &error.path, place, message).maybe_help(help).maybe_help(error.help.clone());
    match expected {
        Some(expected) => finding.expected(expected),
        None => finding,
    }
}

type Said = (&'static str, String, Option<String>, Option<String>);

/// The YAML reader speaks of fields and types; people of keys and what stands there.
fn words(message: &str) -> Said {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let lower = message.to_lowercase();
    if let (true, Some(name)) = (lower.contains("unknown field") || lower.contains("unknown variant"), quoted.first()) {
        let what = if lower.contains("variant") { "value" } else { "key" };
        let known = message.split_once(", expected ").map_or("", |(_, known)| known.trim_start_matches("one of "));
        let known: Vec<&str> =
            known.split([',', ' ']).map(|word| word.trim_matches('`')).filter(|word| !word.is_empty() && *word != "or").collect();
        let expected = format!("expected {}{}", if known.len() == 1 { "" } else { "one of " }, known.join(", "));
        let help = did_you_mean(name, known.iter().copied());
        return ("unknown-key", format!("there is no {what} `{name}` here"), Some(expected), help);
    }
    if let (true, Some(name)) = (lower.contains("missing field"), quoted.first()) {
        return ("missing-key", format!("the key `{name}` is missing"), Some(format!("expected `{name}: …`")), None);
    }
    if let (true, Some(name)) = (lower.contains("duplicate"), quoted.first()) {
        return ("duplicate-key", format!("the key `{name}` is there twice"), None, Some("keep one of the two".into()));
    }
    if lower.contains("duplicate") {
        return ("duplicate-key", "a key is there twice".into(), None, Some("keep one of the two".into()));
    }
    let (message, expected) = super::split(message);
    let message = if message.is_empty() { "this is none, or more than one, of what can stand here" } else { message };
    let help = expected.is_none().then(|| "the `*.test.yaml` beside the shipped policies show how tests are written".to_owned());
    ("test-file", message.to_owned(), expected, help)
}
