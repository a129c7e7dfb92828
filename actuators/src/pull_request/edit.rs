//! One scalar in a YAML or JSON file, replaced in its text: everything else, comments too, stays as it is.
//!
//! The place is found by walking the text along a JSON pointer; then old and new text are parsed and compared, and anything but exactly
//! this one change is refused. Deliberately absent: flow collections in YAML, anchors, block scalars, several documents in one file,
//! new keys. An editor breaks this by leaving out the comparison.

use serde_json::Value;
use std::ops::Range;

/// Why a file cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The pointer leads nowhere, or to something this file cannot replace.
    NoPlace(String),
    /// What stands there is not what was expected.
    Stale(String),
}

/// The text with the scalar at `pointer` replaced by `value`. `from`: what must stand there now. A quoted scalar stays text; a plain one
/// becomes what `value` reads as.
pub(super) fn replace(path: &str, text: &str, pointer: &str, from: Option<&str>, value: &str) -> Result<String, Problem> {
    let nowhere = |why: &str| Problem::NoPlace(format!("`{pointer}` in `{path}`: {why}"));
    let keys = keys(pointer).ok_or_else(|| nowhere("a JSON pointer begins with `/`"))?;
    let is_json = path.ends_with(".json");
    let parse = |text: &str| -> Result<Value, Problem> {
        let parsed = if is_json {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            serde_saphyr::from_str(text).map_err(|error| error.to_string())
        };
        parsed.map_err(|error| nowhere(&format!("the file does not parse: {}", error.lines().next().unwrap_or_default())))
    };
    let old = parse(text)?;
    let found = old.pointer(pointer).ok_or_else(|| nowhere("no such place"))?;
    let now = shown(found).ok_or_else(|| nowhere("it is not a scalar"))?;
    if from.is_some_and(|from| from != now) {
        return Err(Problem::Stale(format!("`{pointer}` in `{path}` is `{now}`, expected `{}`", from.unwrap_or_default())));
    }
    let span = if is_json { json_span(text, 0, &keys) } else { yaml_span(text, &keys) };
    let span =
        span.ok_or_else(|| nowhere("it is written in a way that is not edited here (flow, anchor, block text, several documents)"))?;
    let quote = text[span.clone()].chars().next().filter(|first| matches!(first, '"' | '\''));
    let wanted = match (quote, is_json) {
        (Some(_), _) => Value::String(value.into()),
        (None, _) => serde_saphyr::from_str(value).ok().filter(|v: &Value| shown(v).is_some()).unwrap_or(Value::String(value.into())),
    };
    let written = match (quote, &wanted) {
        (Some('\''), _) => format!("'{}'", value.replace('\'', "''")),
        (Some(_), _) => Value::String(value.into()).to_string(),
        (None, Value::String(_)) if is_json || !is_plain(value) => Value::String(value.into()).to_string(),
        (None, _) if is_json => wanted.to_string(),
        (None, _) => value.to_owned(),
    };
    let new = format!("{}{written}{}", &text[..span.start], &text[span.end..]);
    let mut expected = old.clone();
    if let Some(place) = expected.pointer_mut(pointer) {
        *place = wanted;
    }
    if parse(&new)? == expected { Ok(new) } else { Err(nowhere("the change would touch more than this one value")) }
}

/// The pointer's keys, unescaped (RFC 6901).
fn keys(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/')?;
    Some(rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

/// A scalar as people write it.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Null => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a text may stand in YAML without quotes.
fn is_plain(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '+' | ':' | '@');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/') && text.chars().all(safe) && !text.ends_with(':')
}

/// Where in a JSON text the value at these keys stands; `at` is where the value to walk begins.
fn json_span(text: &str, at: usize, keys: &[String]) -> Option<Range<usize>> {
    let skip = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let end = |at: usize| {
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<serde::de::IgnoredAny>();
        stream.next()?.ok()?;
        Some(at + stream.byte_offset())
    };
    let at = skip(at);
    let Some((key, rest)) = keys.split_first() else {
        return Some(at..end(at)?);
    };
    let is_map = text[at..].starts_with('{');
    if !is_map && !text[at..].starts_with('[') {
        return None;
    }
    let mut at = skip(at + 1);
    for index in 0.. {
        let here = if is_map {
            let name_end = end(at)?;
            let name: String = serde_json::from_str(&text[at..name_end]).ok()?;
            at = skip(name_end);
            at = skip(at + text[at..].strip_prefix(':').map(|_| 1)?);
            name == *key
        } else {
            *key == index.to_string()
        };
        if here {
            return json_span(text, at, rest);
        }
        at = skip(end(at)?);
        at = skip(at + text[at..].strip_prefix(',').map(|_| 1)?);
    }
    None
}

/// A line that says something: its first byte after the indentation, and what it says.
#[derive(Copy, Clone, Debug)]
struct Line<'a> {
    /// Where `text` begins in the file.
    at: usize,
    indent: usize,
    text: &'a str,
}

/// Where in a block-style YAML text the scalar at these keys stands.
fn yaml_span(text: &str, keys: &[String]) -> Option<Range<usize>> {
    let mut lines = Vec::new();
    let mut at = 0;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end();
        let said = line.trim_start();
        if said == "---" || said == "..." {
            if !lines.is_empty() {
                return None;
            }
        } else if !said.is_empty() && !said.starts_with('#') {
            let indent = line.len() - said.len();
            lines.push(Line { at: at + indent, indent, text: said });
        }
        at += whole.len();
    }
    walk(&lines, keys)
}

fn walk(lines: &[Line<'_>], keys: &[String]) -> Option<Range<usize>> {
    let (key, rest) = keys.split_first()?;
    let indent = lines.first()?.indent;
    let is_item = |line: &Line<'_>| line.text == "-" || line.text.starts_with("- ");
    let is_list = is_item(lines.first()?);
    let mut index = 0_usize;
    for (i, line) in lines.iter().enumerate() {
        if line.indent != indent || is_item(line) != is_list {
            continue;
        }
        let after = &lines[i + 1..];
        let belongs = |next: &&Line<'_>| next.indent > indent || (!is_list && next.indent == indent && is_item(next));
        let children = &after[..after.iter().take_while(belongs).count()];
        if is_list {
            if *key == index.to_string() {
                let inner = shifted(*line, 1)?;
                if rest.is_empty() {
                    return scalar(inner);
                }
                let own: Vec<Line<'_>> = std::iter::once(inner).chain(children.iter().copied()).collect();
                return walk(&own, rest);
            }
            index += 1;
        } else if let Some((name, value_at)) = entry(line.text).filter(|(name, _)| name == key) {
            debug_assert_eq!(&name, key);
            return if rest.is_empty() { scalar(shifted(*line, value_at)?) } else { walk(children, rest) };
        }
    }
    None
}

/// The same line from its byte `by` on, blanks left out.
fn shifted(line: Line<'_>, by: usize) -> Option<Line<'_>> {
    let tail = line.text.get(by..)?;
    let said = tail.trim_start();
    let moved = line.text.len() - said.len();
    Some(Line { at: line.at + moved, indent: line.indent + moved, text: said })
}

/// A mapping entry's key, and where after its colon the value may begin.
fn entry(text: &str) -> Option<(String, usize)> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let close = 1 + text[1..].find(quote)?;
        let name = &text[1..close];
        return (text[close + 1..].starts_with(':') && !name.contains('\\')).then(|| (name.to_owned(), close + 2));
    }
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| text[at + 1..].is_empty() || text[at + 1..].starts_with(' '))?;
    Some((text[..colon].trim_end().to_owned(), colon + 1))
}

/// The span of a scalar that ends on its line.
fn scalar(line: Line<'_>) -> Option<Range<usize>> {
    let first = line.text.chars().next()?;
    let len = match first {
        '"' | '\'' => 2 + line.text[1..].find(first)?,
        '{' | '[' | '&' | '*' | '!' | '|' | '>' | '#' | '%' | '@' | '`' => return None,
        _ => line.text.find(" #").unwrap_or(line.text.len()),
    };
    let end = line.text[..len].trim_end().len();
    Some(line.at..line.at + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "# values of web\nimage:\n  tag: \"1.2\"   # keep quoted\nreplicas: 2 # was 1\nlist:\n- name: a\n  port: 80\n- name: 'b c'\n  \
                        port: 81\nnested:\n    deep: {x: 1}\n    text: |\n      replicas: 9\n";

    #[test]
    fn one_value_changes_and_the_rest_stays() {
        let new = replace("v.yaml", YAML, "/replicas", Some("2"), "3").unwrap();
        assert_eq!(new, YAML.replace("replicas: 2", "replicas: 3"));
        assert_eq!(replace("v.yaml", YAML, "/image/tag", None, "1.3").unwrap(), YAML.replace("\"1.2\"", "\"1.3\""));
        assert_eq!(replace("v.yaml", YAML, "/list/1/port", None, "82").unwrap(), YAML.replace("81", "82"));
        assert_eq!(replace("v.yaml", YAML, "/list/1/name", None, "it's").unwrap(), YAML.replace("'b c'", "'it''s'"));
        assert_eq!(replace("v.yaml", YAML, "/replicas", None, "a: b").unwrap(), YAML.replace("replicas: 2", "replicas: \"a: b\""));
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused() {
        for (pointer, from) in [("/none", None), ("/image", None), ("/nested/deep/x", None), ("/nested/text", None), ("x", None)] {
            assert!(matches!(replace("v.yaml", YAML, pointer, from, "3"), Err(Problem::NoPlace(_))), "{pointer}");
        }
        assert!(matches!(replace("v.yaml", YAML, "/replicas", Some("5"), "3"), Err(Problem::Stale(_))));
        let two = "a: 1\n---\na: 2\n";
        assert!(replace("v.yaml", two, "/a", None, "3").is_err());
        let anchored = "a: &x 1\nb: *x\n";
        assert!(replace("v.yaml", anchored, "/a", None, "3").is_err());
    }

    #[test]
    fn json_keeps_its_shape() {
        let text = "{ \"a\": {\"b/c\": [1, {\"x\": \"y\"}]},\n \"n\": 2 }\n";
        assert_eq!(replace("v.json", text, "/n", Some("2"), "3").unwrap(), text.replace("2 }", "3 }"));
        assert_eq!(replace("v.json", text, "/a/b~1c/1/x", None, "z\"").unwrap(), text.replace("\"y\"", "\"z\\\"\""));
        assert_eq!(replace("v.json", text, "/n", None, "x").unwrap(), text.replace("2 }", "\"x\" }"));
        assert!(replace("v.json", text, "/a", None, "1").is_err());
    }
}
