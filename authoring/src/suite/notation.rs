//! Series as promtool's unit tests write them: the key, and the values.
//!
//! The grammar is that of Prometheus (`promql/parser/generated_parser.y`, `series_item`, and `lexValueSequence`). Deliberately absent:
//! native histograms (`{{…}}`), which no sensor delivers. An editor breaks this by reading a word differently from promtool.

use homeostat_model::SeriesKey;

/// Samples of one series at most.
pub const SAMPLES_MAX: usize = 100_000;

/// One step of a series.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Step {
    /// A sample. NaN is one for promtool; the store counts it and keeps nothing.
    Sample(f64),
    /// `_`: nothing comes; what came before is still the newest value until it is too old.
    Nothing,
    /// `stale`: the series has ended, as when its source says so.
    Stale,
}

/// A problem in a notation: the word that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// The word, as it stands in the text.
    pub word: String,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

fn misread<T>(word: &str, message: impl Into<String>, help: Option<&str>) -> Result<T, Misread> {
    Err(Misread { word: word.to_owned(), message: message.into(), help: help.map(str::to_owned) })
}

/// Reads values: `1 2.5 -3 NaN Inf` (one sample each), `a+bxn`, `a-bxn` (n more after the first, each b further), `axn` (n more of the
/// same), `_` and `_xn` (n steps without a sample), `stale`.
///
/// # Errors
/// The first word that promtool would not read.
pub fn values(text: &str) -> Result<Vec<Step>, Misread> {
    let mut steps = Vec::new();
    for word in text.split_whitespace() {
        item(word, &mut steps)?;
        if steps.len() > SAMPLES_MAX {
            return misread(word, format!("`{word}`: a series has at most {SAMPLES_MAX} steps"), None);
        }
    }
    Ok(steps)
}

fn item(word: &str, steps: &mut Vec<Step>) -> Result<(), Misread> {
    if word.starts_with("{{") {
        return misread(word, "native histograms are not read: no sensor delivers them", None);
    }
    if word == "stale" {
        steps.push(Step::Stale);
        return Ok(());
    }
    if word.starts_with("stale") {
        return misread(
            word,
            format!("`{word}` is not a value"),
            Some("`stale` is not repeated: it ends the series once; `_xN` follows it"),
        );
    }
    let (head, times) = match word.rsplit_once('x') {
        Some((head, times)) => (head, Some(repetitions(word, times)?)),
        None => (word, None),
    };
    if head == "_" {
        steps.extend(std::iter::repeat_n(Step::Nothing, times.unwrap_or(1)));
        return Ok(());
    }
    // The sign that separates is not the first one, nor that of an exponent.
    let sign = head.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E']));
    let Some((at, _)) = sign else {
        let value = number(word, head)?;
        steps.extend(std::iter::repeat_n(Step::Sample(value), times.unwrap_or(0) + 1));
        return Ok(());
    };
    let (mut value, by) = (number(word, &head[..at])?, number(word, &head[at..])?);
    let Some(times) = times else {
        return misread(word, format!("`{word}` steps, but does not say how often"), Some("`1+2x3` is 1, 3, 5, 7"));
    };
    for _ in 0..=times {
        steps.push(Step::Sample(value));
        // Added up, as promtool does, roundings and all.
        value += by;
    }
    Ok(())
}

fn repetitions(word: &str, text: &str) -> Result<usize, Misread> {
    match text.parse::<usize>() {
        Ok(times) if times < SAMPLES_MAX => Ok(times),
        Ok(_) => misread(word, format!("`{word}`: a series has at most {SAMPLES_MAX} steps"), None),
        Err(_) => misread(word, format!("`{word}`: `{text}` is not a number of repetitions"), Some("`1x3` is 1 and three more of it")),
    }
}

fn number(word: &str, text: &str) -> Result<f64, Misread> {
    let bare = text.trim_start_matches(['+', '-']);
    let is_word = bare.eq_ignore_ascii_case("inf") || bare.eq_ignore_ascii_case("nan");
    let is_number = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.len() - bare.len() <= 1;
    match text.parse::<f64>() {
        Ok(value) if is_number || (is_word && text.len() - bare.len() <= 1) => Ok(value),
        _ => misread(
            word,
            format!("`{}` is not a number", if text.is_empty() { word } else { text }),
            Some("values are numbers, `NaN`, `Inf`, `_` (no sample), `stale` (the end), `a+bxn`, `a-bxn`, `axn`, `_xn`"),
        ),
    }
}

/// Reads a series as PromQL writes it: `node_up{node="muscle"}`. Label values stand in double or single quotes, with Go's escapes, or
/// in backquotes, as they are.
///
/// # Errors
/// What is wrong, with the part of the text.
pub fn series_key(text: &str) -> Result<SeriesKey, Misread> {
    let whole = text.trim();
    let (metric, rest) = whole.split_at(whole.find('{').unwrap_or(whole.len()));
    let metric = metric.trim();
    let is_name = |name: &str, colon: bool| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':'))
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':'))
    };
    if !is_name(metric, true) {
        return misread(whole, format!("`{metric}` is not a metric's name"), Some("a series is `metric{label=\"value\"}`"));
    }
    if rest.is_empty() {
        return Ok(SeriesKey::bare(metric));
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut rest = rest[1..].trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            if !after.trim().is_empty() {
                return misread(after.trim(), format!("`{}` stands after the series' end", after.trim()), None);
            }
            return Ok(SeriesKey::new(metric, labels));
        }
        let Some((name, after)) = rest.split_once('=') else {
            return misread(
                whole,
                "the labels do not end: expected `label=\"value\"` or `}`",
                Some("a series is `metric{label=\"value\"}`"),
            );
        };
        let (name, after) = (name.trim(), after.trim_start());
        if !is_name(name, false) {
            return misread(whole, format!("`{name}` is not a label's name"), None);
        }
        let (value, after) = quoted(whole, name, after)?;
        if labels.iter().any(|(other, _)| other == name) {
            return misread(whole, format!("the label `{name}` stands twice"), None);
        }
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return misread(whole, format!("expected `,` or `}}` after the label `{name}`"), None),
        }
    }
}

/// A quoted text and what follows it.
fn quoted<'a>(whole: &str, label: &str, text: &'a str) -> Result<(String, &'a str), Misread> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else {
        return misread(
            whole,
            format!("the value of the label `{label}` does not stand in quotes"),
            Some("a series is `metric{label=\"value\"}`"),
        );
    };
    let unfinished = || misread(whole, format!("the value of the label `{label}` does not end"), None);
    if quote == '`' {
        return match text[1..].split_once('`') {
            Some((value, after)) => Ok((value.to_owned(), after)),
            None => unfinished(),
        };
    }
    let mut value = Vec::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return match String::from_utf8(value) {
                Ok(value) => Ok((value, &text[at + 2..])),
                Err(_) => misread(whole, format!("the value of the label `{label}` is not UTF-8"), None),
            };
        }
        if c != '\\' {
            value.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let Some((_, escape)) = chars.next() else { return unfinished() };
        let mut digits = |first: Option<char>, count: usize, radix: u32| {
            let text: String = first.into_iter().chain(chars.by_ref().take(count).map(|(_, c)| c)).collect();
            u32::from_str_radix(&text, radix).ok()
        };
        let plain = "abfnrtv\\".find(escape).map(|at| b"\x07\x08\x0c\n\r\t\x0b\\"[at]);
        let byte = match escape {
            _ if plain.is_some() => plain,
            _ if escape == quote => Some(quote as u8),
            'x' => digits(None, 2, 16).and_then(|code| u8::try_from(code).ok()),
            '0'..='7' => digits(Some(escape), 2, 8).and_then(|code| u8::try_from(code).ok()),
            'u' | 'U' => match digits(None, if escape == 'u' { 4 } else { 8 }, 16).and_then(char::from_u32) {
                Some(c) => {
                    value.extend(c.encode_utf8(&mut [0; 4]).bytes());
                    continue;
                }
                None => None,
            },
            _ => None,
        };
        match byte {
            Some(byte) => value.push(byte),
            None => {
                return misread(
                    whole,
                    format!("`\\{escape}` in the value of the label `{label}` is not an escape"),
                    Some("a backslash is `\\\\`"),
                );
            }
        }
    }
    unfinished()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_promtool_reads_them() {
        let read = |text: &str| -> Vec<String> {
            let steps = values(text).unwrap_or_else(|error| panic!("{error:?}"));
            let word = |step: Step| match step {
                Step::Sample(value) => value.to_string(),
                Step::Nothing => "_".into(),
                Step::Stale => "stale".into(),
            };
            steps.into_iter().map(word).collect()
        };
        assert_eq!(read("1 2.5 -3 +4 .5"), ["1", "2.5", "-3", "4", "0.5"]);
        assert_eq!(read("1x3"), ["1", "1", "1", "1"]);
        assert_eq!(read("1x0"), ["1"]);
        assert_eq!(read("1+2x2"), ["1", "3", "5"]);
        assert_eq!(read("-2-4x2"), ["-2", "-6", "-10"]);
        assert_eq!(read("1e-3+1x1 1e2"), ["0.001", "1.001", "100"]);
        // promtool adds up: three tenths are not quite that.
        assert_eq!(read("0+0.1x3"), ["0", "0.1", "0.2", "0.30000000000000004"]);
        assert_eq!(read("_ _x2 _x0 stale 1"), ["_", "_", "_", "stale", "1"]);
        assert_eq!(read("NaN Inf -Inf +inf nan"), ["NaN", "inf", "-inf", "inf", "NaN"]);
        assert_eq!(read(""), Vec::<String>::new());
        for wrong in ["x", "1x", "1xx2", "one", "1+x2", "1x999999999", "1+2", "stalex2", "infinity", "0x1f", "--1", "{{schema:0}}", "1x-1"]
        {
            assert!(values(wrong).is_err(), "{wrong}");
        }
        assert_eq!(values("1 2 thre 4").map_err(|misread| misread.word), Err("thre".into()));
    }

    #[test]
    fn keys_are_read_with_escapes() {
        let read = |text: &str| series_key(text).map(|key| key.to_string()).map_err(|misread| misread.message);
        assert_eq!(read("a{b=\"1,2\", c=\"x\",}").as_deref(), Ok("a{b=\"1,2\",c=\"x\"}"));
        assert_eq!(read("job:up:sum{}").as_deref(), Ok("job:up:sum"));
        let label = |text: &str| series_key(text).ok().and_then(|key| key.labels.get("b").map(str::to_owned));
        assert_eq!(label(r#"a{b="C:\\x \"y\" }, \u00e4 \x41\101\n"}"#).as_deref(), Some("C:\\x \"y\" }, ä AA\n"));
        assert_eq!(label(r"a{b='it\'s'}").as_deref(), Some("it's"));
        assert_eq!(label(r"a{b=`C:\x`}").as_deref(), Some(r"C:\x"));
        for wrong in [
            "a{b=1}",
            "a{b=\"1\"",
            "a{b=\"1}",
            "a{b=\"\\q\"}",
            "a{b=\"1\" c=\"2\"}",
            "a{b=\"1\",b=\"2\"}",
            "a{1=\"1\"}",
            "1a",
            "a{b=\"1\"} 3",
        ] {
            assert!(series_key(wrong).is_err(), "{wrong}");
        }
    }
}
