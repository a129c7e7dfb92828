//! PromQL vector selectors: `node_load1{instance=~"brain.*",job!="x"}`, `{__name__=~"node_.*"}`, `{"my.metric","a.b"="c"}`.
//!
//! Same text, same meaning as in Prometheus 3: a label that is missing equals `""`; regular expressions are anchored and `.`
//! matches a newline; a selector whose every matcher accepts the empty text is refused, because it would select everything by a
//! typo. Deliberately absent: ranges, offsets, `@`, functions (windows are asked for by the policy), and what only Go's regexp
//! has (`\C`, `\Q…\E`). An editor breaks this module by letting `Display` write what `parse` does not read.

use homeostat_model::SeriesKey;
use regex::{Regex, RegexBuilder};
use std::fmt;

/// The name under which the metric's name can be matched.
pub const METRIC_NAME: &str = "__name__";

/// Selector texts longer than this are refused.
pub const TEXT_BYTES_MAX: usize = 4096;

/// A compiled regular expression larger than this is refused.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// How a label is compared.
#[derive(Clone, Debug)]
pub enum Test {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`: the expression as written, and anchored.
    Matches(String, Regex),
    /// `!~`
    NotMatches(String, Regex),
}

impl Test {
    /// Whether a label's value passes; a missing label is `""`.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Test::Equal(expected) => value == expected,
            Test::NotEqual(unexpected) => value != unexpected,
            Test::Matches(_, regex) => regex.is_match(value),
            Test::NotMatches(_, regex) => !regex.is_match(value),
        }
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Test::Equal(text) => ("=", text),
            Test::NotEqual(text) => ("!=", text),
            Test::Matches(text, _) => ("=~", text),
            Test::NotMatches(text, _) => ("!~", text),
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Test) -> bool {
        self.parts() == other.parts()
    }
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    /// The label; [`METRIC_NAME`] for the metric's name.
    pub label: String,
    /// The condition.
    pub test: Test,
}

/// A vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// Why a text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// The text as it was given, cut at 200 characters.
    pub text: String,
    /// The character, counted from 1, at which reading stopped.
    pub column: usize,
    /// What would have been right there.
    pub expected: String,
    /// What is there.
    pub got: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "selector `{}`, column {}: expected {}, got {}", self.text, self.column, self.expected, self.got)
    }
}

impl std::error::Error for SelectorError {}

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut reader = Reader { text, at: 0 };
        let selector = reader.selector()?;
        reader.blanks();
        if reader.at < text.len() {
            return Err(reader.fail("the end of the selector"));
        }
        Ok(selector)
    }

    /// The selector of exactly one metric name, with any labels.
    pub fn of_metric(name: &str) -> Selector {
        Selector { matchers: vec![Matcher { label: METRIC_NAME.into(), test: Test::Equal(name.into()) }] }
    }

    /// Whether a series is selected.
    pub fn matches(&self, key: &SeriesKey) -> bool {
        self.matches_labels(|label| if label == METRIC_NAME { &key.metric } else { key.labels.get(label).unwrap_or("") })
    }

    /// Whether a series is selected whose labels `value_of` looks up; it gives `""` for a label that is missing.
    pub fn matches_labels<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        self.matchers.iter().all(|matcher| matcher.test.accepts(value_of(&matcher.label)))
    }

    /// The metric's name, if the selector demands exactly one.
    pub fn metric(&self) -> Option<&str> {
        self.matchers.iter().find_map(|matcher| match &matcher.test {
            Test::Equal(name) if matcher.label == METRIC_NAME => Some(name.as_str()),
            _ => None,
        })
    }

    /// Labels that must have exactly one value, which is not empty, with that value; the metric's name aside.
    pub fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.matchers.iter().filter_map(|matcher| match &matcher.test {
            Test::Equal(value) if matcher.label != METRIC_NAME && !value.is_empty() => Some((matcher.label.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// How many regular expressions it has.
    pub fn regexes(&self) -> usize {
        self.matchers.iter().filter(|matcher| matches!(matcher.test, Test::Matches(..) | Test::NotMatches(..))).count()
    }

    /// The conditions, in the order written; a metric name outside the braces comes first.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(text)
    }
}

impl fmt::Display for Selector {
    /// Writes a text that [`Selector::parse`] reads as the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.matchers.as_slice();
        // `a{__name__=~"b"}` is refused as setting the name twice, so the short form is only right with a single name matcher.
        if rest.iter().filter(|matcher| matcher.label == METRIC_NAME).count() == 1
            && let Some((Matcher { label, test: Test::Equal(name) }, others)) = rest.split_first()
            && label == METRIC_NAME
            && is_name(name, true)
        {
            f.write_str(name)?;
            rest = others;
            if rest.is_empty() {
                return Ok(());
            }
        }
        f.write_str("{")?;
        for (i, Matcher { label, test }) in rest.iter().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            if is_name(label, false) {
                f.write_str(label)?
            } else {
                quote(label, f)?
            }
            let (operator, text) = test.parts();
            f.write_str(operator)?;
            quote(text, f)?;
        }
        f.write_str("}")
    }
}

/// Whether a name can stand without quotes.
fn is_name(text: &str, colon: bool) -> bool {
    !text.is_empty() && name_length(text, colon) == text.len()
}

fn name_length(text: &str, colon: bool) -> usize {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colon && *byte == b':');
    match text.as_bytes().first() {
        Some(first) if !first.is_ascii_digit() => text.bytes().take_while(inner).count(),
        _ => 0,
    }
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn fail(&self, expected: impl Into<String>) -> SelectorError {
        let got = match self.rest().chars().next() {
            None => "the end".into(),
            Some(c) => {
                let word = name_length(self.rest(), true);
                format!("`{}`", if word > 0 { self.rest()[..word].chars().take(40).collect() } else { c.to_string() })
            }
        };
        self.fail_at(self.at, expected, got)
    }

    fn fail_at(&self, at: usize, expected: impl Into<String>, got: impl Into<String>) -> SelectorError {
        SelectorError {
            text: self.text.chars().take(200).collect(),
            column: self.text[..at].chars().count() + 1,
            expected: expected.into(),
            got: got.into(),
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn selector(&mut self) -> Result<Selector, SelectorError> {
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(self.fail_at(0, format!("at most {TEXT_BYTES_MAX} bytes"), format!("{} bytes", self.text.len())));
        }
        let mut matchers: Vec<Matcher> = Vec::new();
        self.blanks();
        let start = self.at;
        let name = name_length(self.rest(), true);
        if name > 0 {
            matchers.push(Matcher { label: METRIC_NAME.into(), test: Test::Equal(self.rest()[..name].into()) });
            self.at += name;
        }
        self.blanks();
        if self.eat("{") {
            self.matchers(&mut matchers)?;
        } else if matchers.is_empty() {
            return Err(self.fail("a metric name or `{`"));
        }
        if matchers.iter().all(|matcher| matcher.test.accepts("")) {
            return Err(self.fail_at(start, "at least one matcher that does not match the empty text", "a selector of everything"));
        }
        Ok(Selector { matchers })
    }

    /// The matchers up to and with the closing brace.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), SelectorError> {
        // A name set outside the braces, or quoted inside them, is the only matcher on the name that there may be.
        let mut named = !matchers.is_empty();
        loop {
            self.blanks();
            if self.eat("}") {
                return Ok(());
            }
            let at = self.at;
            let (matcher, is_bare) = self.matcher()?;
            if matcher.label == METRIC_NAME {
                let before = matchers.iter().find(|matcher| matcher.label == METRIC_NAME);
                if let Some(before) = before.filter(|_| named || is_bare) {
                    let got = format!("`{}` after `{}`", matcher.test.parts().1, before.test.parts().1);
                    return Err(self.fail_at(at, "the metric name only once", got));
                }
                named |= is_bare;
            }
            matchers.push(matcher);
            self.blanks();
            if !self.eat(",") && !self.rest().starts_with('}') {
                return Err(self.fail("`,` or `}`"));
            }
        }
    }

    /// One matcher, and whether it is a quoted metric name alone.
    fn matcher(&mut self) -> Result<(Matcher, bool), SelectorError> {
        let is_quoted = self.rest().starts_with(['"', '\'', '`']);
        let label = if is_quoted {
            self.quoted()?
        } else {
            let length = name_length(self.rest(), false);
            if length == 0 {
                return Err(self.fail("a label name, a quoted name or `}`"));
            }
            let label = self.rest()[..length].to_owned();
            self.at += length;
            label
        };
        self.blanks();
        if is_quoted && self.rest().starts_with([',', '}']) {
            return Ok((Matcher { label: METRIC_NAME.into(), test: Test::Equal(label) }, true));
        }
        let Some(operator) = ["=~", "!~", "!=", "="].into_iter().find(|operator| self.rest().starts_with(operator)) else {
            return Err(self.fail("`=`, `!=`, `=~` or `!~`"));
        };
        self.at += operator.len();
        self.blanks();
        let at = self.at;
        let value = self.quoted()?;
        let test = match operator {
            "=" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            "=~" => Test::Matches(value.clone(), self.regex(at, &value)?),
            _ => Test::NotMatches(value.clone(), self.regex(at, &value)?),
        };
        Ok((Matcher { label, test }, false))
    }

    fn regex(&self, at: usize, expression: &str) -> Result<Regex, SelectorError> {
        // Checked alone first: `a)|(b` would be balanced by the anchors' parentheses.
        let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dot_matches_new_line(true).build();
        build(expression).and_then(|_| build(&format!("^(?s:{expression})$"))).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.fail_at(at, "a regular expression", format!("`{}`: {reason}", expression.chars().take(80).collect::<String>()))
        })
    }

    /// A quoted text, with Go's escapes; backticks quote everything as it stands.
    fn quoted(&mut self) -> Result<String, SelectorError> {
        let Some(mark) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else {
            return Err(self.fail("a quoted text"));
        };
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next().filter(|c| mark == '`' || *c != '\n') else {
                return Err(self.fail_at(start, format!("a closing {mark}"), "a text without end"));
            };
            let at = self.at;
            self.at += c.len_utf8();
            match c {
                c if c == mark => break,
                '\\' if mark != '`' => self.escape(at, mark, &mut bytes)?,
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.fail_at(start, "valid UTF-8", "escapes that make other bytes"))
    }

    /// What follows a backslash at `at`.
    fn escape(&mut self, at: usize, mark: char, bytes: &mut Vec<u8>) -> Result<(), SelectorError> {
        let escapes = "one of \\a \\b \\f \\n \\r \\t \\v \\\\ \\xFF \\377 \\uFFFF \\U0010FFFF or the quote";
        let Some(c) = self.rest().chars().next() else { return Err(self.fail_at(at, escapes, "the end")) };
        self.at += c.len_utf8();
        let fail = |reader: &Self| reader.fail_at(at, escapes, format!("`{}`", &reader.text[at..reader.at]));
        let simple = [('a', 7), ('b', 8), ('f', 12), ('n', b'\n'), ('r', b'\r'), ('t', b'\t'), ('v', 11), ('\\', b'\\')];
        if let Some((_, byte)) = simple.into_iter().find(|(letter, _)| *letter == c) {
            bytes.push(byte);
            return Ok(());
        }
        let (digits, radix, skip) = match c {
            c if c == mark => {
                bytes.push(c as u8);
                return Ok(());
            }
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='7' => (3, 8, 1),
            _ => return Err(fail(self)),
        };
        let start = self.at - skip;
        let number =
            self.text.get(start..start + digits).and_then(|text| u32::from_str_radix(text, radix).ok()).ok_or_else(|| fail(self))?;
        self.at = start + digits;
        if digits > 3 {
            let c = char::from_u32(number).ok_or_else(|| fail(self))?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            bytes.push(u8::try_from(number).map_err(|_| fail(self))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str, key: &SeriesKey) -> bool {
        Selector::parse(selector).unwrap_or_else(|error| panic!("{error}")).matches(key)
    }

    #[test]
    fn selectors_read_as_in_promql() {
        let key = SeriesKey::new("node_load1", [("instance", "brain:9100"), ("job", "a\"b\\c\nd"), ("host.name", "x")]);
        let yes = [
            "node_load1",
            " node_load1 { } ",
            "node_load1{instance='brain:9100',}",
            "node_load1{instance=~`brain.*`}",
            "{__name__=~\"node_.+\"}",
            "{__name__=~\"node_.*\",__name__!=\"node_load5\"}",
            "{\"node_load1\"}",
            "{\"node_load1\",\"host.name\"=\"x\"}",
            "node_load1{missing=\"\"}",
            "node_load1{missing!=\"x\",missing!~\".+\"}",
            "node_load1{job=\"a\\\"b\\\\c\\nd\"}",
            "node_load1{job='a\"b\\\\c\\u000ad'}",
            "node_load1{job=~\"a.*d\"}",
            "node_load1{instance=~\"x|brain:\\\\d+\"}",
            "node_load1{instance=\"\\x62rain:9\\061\\U000000300\"}",
        ];
        for text in yes {
            assert!(selects(text, &key), "{text}");
        }
        let no = [
            "node_load5",
            "node_load1{instance=~\"brain\"}",
            "node_load1{missing!=\"\"}",
            "{instance=~\"rain.*\"}",
            "node_load1{job!~\"a.*\"}",
        ];
        for text in no {
            assert!(!selects(text, &key), "{text}");
        }
        assert_eq!(Selector::of_metric("up"), Selector::parse("up").unwrap());
        assert_eq!(Selector::parse("{__name__='up'}").unwrap().metric(), Some("up"));
    }

    #[test]
    fn errors_name_column_expectation_and_what_is_there() {
        let cases = [
            ("", 1, "a metric name or `{`", "the end"),
            ("up{job}", 7, "`=`, `!=`, `=~` or `!~`", "`}`"),
            ("up{job=x}", 8, "a quoted text", "`x`"),
            ("up{job=\"x\" env=\"y\"}", 12, "`,` or `}`", "`env`"),
            ("up{job=\"x\"", 11, "`,` or `}`", "the end"),
            ("up{job=\"x}", 8, "a closing \"", "a text without end"),
            ("up[5m]", 3, "the end of the selector", "`[`"),
            ("9up", 1, "a metric name or `{`", "`9`"),
            ("{}", 1, "at least one matcher that does not match the empty text", "a selector of everything"),
            ("{job=~\".*\"}", 1, "at least one matcher that does not match the empty text", "a selector of everything"),
            ("{job!=\"x\"}", 1, "at least one matcher that does not match the empty text", "a selector of everything"),
            ("up{__name__=\"down\"}", 4, "the metric name only once", "`down` after `up`"),
            ("up{,}", 4, "a label name, a quoted name or `}`", "`,`"),
            ("ü{job=\"ü\"}", 1, "a metric name or `{`", "`ü`"),
            ("up{a=\"ü\",b}", 11, "`=`, `!=`, `=~` or `!~`", "`}`"),
        ];
        for (text, column, expected, got) in cases {
            let error = Selector::parse(text).expect_err(text);
            assert_eq!((error.column, error.expected.as_str(), error.got.as_str()), (column, expected, got), "{text}");
        }
        for text in [
            "up{a=~\"(\"}",
            "up{a=~\"a)|(b\"}",
            "up{a=\"\\q\"}",
            "up{a=\"\\'\"}",
            "up{a=\"\\xff\"}",
            "up{a=\"\\ud800\"}",
            "{\"a\",\"b\"}",
            "up{a=~\"(a{1000}){1000}\"}",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
        assert!(Selector::parse(&format!("up{{a=\"{}\"}}", "x".repeat(TEXT_BYTES_MAX))).is_err());
    }

    /// What a selector means, written without looking at the code above: labels as a map, the empty text for what is missing.
    fn naive(matchers: &[(String, usize, String)], key: &SeriesKey) -> bool {
        let mut labels: std::collections::BTreeMap<&str, &str> = key.labels.iter().collect();
        labels.insert("__name__", &key.metric);
        matchers.iter().all(|(label, operator, text)| {
            let value = labels.get(label.as_str()).copied().unwrap_or_default();
            // The generated expressions are alternatives of literals.
            let is_one = text.split('|').any(|literal| literal == value);
            [value == text, value != text, is_one, !is_one][*operator]
        })
    }

    proptest! {
        #[test]
        fn matching_equals_the_naive_matcher(
            metric in "[ab]",
            labels in prop::collection::vec(("[abc]", "[xyz]{0,1}"), 0..4),
            matchers in prop::collection::vec((prop_oneof![Just("__name__".to_owned()), "[abc]"], 0usize..4, "[xyzab]{0,1}(\\|[xyz])?"), 1..4),
        ) {
            let key = SeriesKey::new(metric.as_str(), labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let body: Vec<String> = matchers.iter().map(|(label, op, text)| format!("{label}{}\"{text}\"", ["=", "!=", "=~", "!~"][*op])).collect();
            let text = format!("{{{}}}", body.join(","));
            match Selector::parse(&text) {
                Ok(selector) => {
                    prop_assert_eq!(selector.matches(&key), naive(&matchers, &key), "{} on {}", text, key);
                    prop_assert_eq!(&Selector::parse(&selector.to_string()).unwrap(), &selector);
                }
                Err(error) => {
                    prop_assert!(naive(&matchers, &SeriesKey::bare("")), "{}", error);
                }
            }
        }

        #[test]
        fn any_text_round_trips(metric in any::<String>(), label in any::<String>(), value in any::<String>()) {
            let matchers = vec![
                Matcher { label: METRIC_NAME.into(), test: Test::Equal(format!("m{metric}")) },
                Matcher { label: format!("l{label}"), test: Test::NotEqual(value) },
            ];
            let selector = Selector { matchers };
            let text = selector.to_string();
            if text.len() <= TEXT_BYTES_MAX {
                prop_assert_eq!(Selector::parse(&text).unwrap_or_else(|error| panic!("{error}")), selector);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Selector::parse(&text);
        }
    }
}
