//! One record of a page at a time: Prometheus text 0.0.4/1.0.0 and OpenMetrics 1.0, borrowed from the page.
//!
//! The grammar is what Prometheus' own lexers accept (`promlex.l`, `openmetricslex.l`), which is more than the specifications say
//! for 0.0.4 (blanks anywhere, a missing comma) and less in one place (negative timestamps). Deliberately absent: what a bad
//! record means for the rest of the page (`parse`), series numbers and labels that a scrape adds. An editor breaks this by
//! looking past the record: the memo relies on a sample's text up to its value being enough to know its series.

use super::number::parse_number;
use super::{Format, LABEL_BYTES_MAX, LABELS_MAX, LINE_BYTES_MAX};
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// A piece of text of the page, still escaped.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Text<'p> {
    /// As it stands in the page, without quotes.
    pub raw: &'p str,
    /// Whether a backslash is in it.
    pub escaped: bool,
}

impl<'p> Text<'p> {
    /// The text meant: `\"`, `\\` and `\n` are undone, any other `\x` stays as its two characters.
    pub fn unescape(&self) -> Cow<'p, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        let mut chars = self.raw.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => text.push('\n'),
                    Some(c @ ('"' | '\\')) => text.push(c),
                    Some(other) => text.extend(['\\', other]),
                    None => text.push('\\'),
                },
                c => text.push(c),
            }
        }
        Cow::Owned(text)
    }
}

/// A sample's value and what stands behind it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Tail {
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: Option<i64>,
    /// The place after the record's line break.
    pub end: usize,
}

/// One record.
#[derive(Debug, PartialEq)]
pub(super) enum Record<'p> {
    /// Blank line or comment.
    Comment,
    /// `# TYPE`; `complex` for families whose samples mean something together only (histograms, summaries).
    Type { name: Text<'p>, complex: bool },
    /// `# EOF`
    Eof,
    /// A sample; its labels are in the caller's list.
    Sample { name: Text<'p>, value_at: usize, tail: Tail },
}

/// Why a record was refused.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Bad<'p> {
    /// Where in the page.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
    /// Whether it is a limit rather than the grammar.
    pub limit: bool,
    /// The metric's name, if it was read.
    pub name: Option<Text<'p>>,
}

/// Labels of one sample, names and values.
pub(super) type LabelList<'p> = Vec<(Text<'p>, Text<'p>)>;

/// Reads the record that starts at `start`; `labels` is emptied first. Returns it with the place after its line break.
pub(super) fn record<'p>(page: &'p [u8], start: usize, format: Format, labels: &mut LabelList<'p>) -> Result<(Record<'p>, usize), Bad<'p>> {
    let mut cursor = Cursor::new(page, start, format);
    labels.clear();
    let result = cursor.record(labels);
    if cursor.page.len() < page.len() {
        // The window, not the page, ended: the record is longer than a line may be.
        let cut = match &result {
            Ok((_, end)) => *end == cursor.page.len() && cursor.page.last() != Some(&b'\n'),
            Err(bad) => bad.at >= cursor.page.len(),
        };
        if cut {
            return Err(Bad { at: start, expected: "a line of at most 65536 bytes", limit: true, name: cursor.name });
        }
    }
    result.map_err(|bad| Bad { name: cursor.name, ..bad })
}

/// Reads a sample's value, timestamp and exemplar, which start at `at`.
pub(super) fn tail(page: &[u8], at: usize, format: Format) -> Result<Tail, Bad<'_>> {
    Cursor::new(page, at, format).tail()
}

struct Cursor<'p> {
    /// The page, cut where the record must have ended.
    page: &'p [u8],
    at: usize,
    strict: bool,
    /// The metric's name as soon as it is known.
    name: Option<Text<'p>>,
}

impl<'p> Cursor<'p> {
    fn new(page: &'p [u8], at: usize, format: Format) -> Cursor<'p> {
        Cursor { page: &page[..page.len().min(at + LINE_BYTES_MAX)], at, strict: format == Format::OpenMetrics, name: None }
    }

    fn bad<T>(&self, expected: &'static str) -> Result<T, Bad<'p>> {
        Err(Bad { at: self.at, expected, limit: false, name: None })
    }

    fn over<T>(&self, expected: &'static str) -> Result<T, Bad<'p>> {
        Err(Bad { at: self.at, expected, limit: true, name: None })
    }

    fn peek(&self) -> Option<u8> {
        self.page.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Skips blanks and tabs; OpenMetrics has none to skip.
    fn blanks(&mut self) {
        while !self.strict && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn record(&mut self, labels: &mut LabelList<'p>) -> Result<(Record<'p>, usize), Bad<'p>> {
        self.blanks();
        match self.peek() {
            None => Ok((Record::Comment, self.at)),
            Some(b'\n') if !self.strict => Ok((Record::Comment, self.at + 1)),
            Some(b'\n') => self.bad("a metric or `# `; OpenMetrics has no blank lines"),
            Some(b'#') if self.strict => self.strict_comment(),
            Some(b'#') => self.comment(),
            Some(byte) if byte == b'{' || is_name_start(byte) => self.sample(labels),
            Some(_) => self.bad("a metric's name, `{` or `#`"),
        }
    }

    fn line_end(&self) -> usize {
        memchr(b'\n', &self.page[self.at..]).map_or(self.page.len(), |length| self.at + length)
    }

    /// The record's end, given the place of its line break or of the page's end.
    fn after(&self, line_end: usize) -> usize {
        (line_end + 1).min(self.page.len())
    }

    fn comment(&mut self) -> Result<(Record<'p>, usize), Bad<'p>> {
        let line_end = self.line_end();
        let after = self.after(line_end);
        let hash = self.at;
        self.at += 1;
        self.blanks();
        let rest = &self.page[self.at..line_end];
        let is_type = rest.starts_with(b"TYPE");
        let is_meta = self.at > hash + 1 && (is_type || rest.starts_with(b"HELP")) && matches!(rest.get(4), Some(b' ' | b'\t'));
        if !is_meta {
            return Ok((Record::Comment, after));
        }
        self.at += 4;
        self.blanks();
        let name = self.meta_name()?;
        if !is_type {
            return Ok((Record::Comment, after));
        }
        self.blanks();
        let complex = match self.page.get(self.at..line_end) {
            Some(b"counter" | b"gauge" | b"untyped") => false,
            Some(b"histogram" | b"summary") => true,
            _ => return self.bad("a type: counter, gauge, histogram, summary or untyped"),
        };
        Ok((Record::Type { name, complex }, after))
    }

    fn strict_comment(&mut self) -> Result<(Record<'p>, usize), Bad<'p>> {
        let line_end = self.line_end();
        let after = self.after(line_end);
        let rest = &self.page[self.at..line_end];
        if rest == b"# EOF" {
            return Ok((Record::Eof, after));
        }
        let Some(keyword @ (b"TYPE" | b"HELP" | b"UNIT")) =
            rest.get(2..6).filter(|_| rest.starts_with(b"# ") && rest.get(6) == Some(&b' '))
        else {
            return self.bad("`# HELP `, `# TYPE `, `# UNIT ` or `# EOF`");
        };
        self.at += 7;
        let name = self.meta_name()?;
        if !self.eat(b' ') {
            return self.bad("one blank and a text after the metric's name");
        }
        let text = &self.page[self.at..line_end];
        match (keyword, text) {
            (b"HELP", _) => Ok((Record::Comment, after)),
            (b"UNIT", unit) => {
                let fits = name.raw.as_bytes().strip_suffix(unit).is_some_and(|rest| unit.is_empty() || rest.ends_with(b"_"));
                if fits { Ok((Record::Comment, after)) } else { self.bad("a unit that is the metric name's ending") }
            }
            (_, b"counter" | b"gauge" | b"stateset" | b"info" | b"unknown") => Ok((Record::Type { name, complex: false }, after)),
            (_, b"histogram" | b"gaugehistogram" | b"summary") => Ok((Record::Type { name, complex: true }, after)),
            _ => self.bad("a type: counter, gauge, histogram, gaugehistogram, stateset, info, summary or unknown"),
        }
    }

    fn meta_name(&mut self) -> Result<Text<'p>, Bad<'p>> {
        match self.peek() {
            Some(b'"') => self.quoted(true),
            Some(byte) if is_name_start(byte) => self.plain_name(true),
            _ => self.bad("a metric's name"),
        }
    }

    /// A name without quotes; the caller has looked at its first byte.
    fn plain_name(&mut self, colon: bool) -> Result<Text<'p>, Bad<'p>> {
        let start = self.at;
        let allowed = if colon { METRIC_BYTE | DIGIT } else { LABEL_BYTE | DIGIT };
        let rest = &self.page[start..];
        self.at += rest.iter().position(|byte| BYTES[usize::from(*byte)] & allowed == 0).unwrap_or(rest.len());
        self.text(start, self.at, false)
    }

    fn text(&self, start: usize, end: usize, escaped: bool) -> Result<Text<'p>, Bad<'p>> {
        match std::str::from_utf8(&self.page[start..end]) {
            Ok(_) if end - start > LABEL_BYTES_MAX => self.over("a name or label value of at most 16384 bytes"),
            Ok(raw) => Ok(Text { raw, escaped }),
            Err(_) => self.bad("UTF-8"),
        }
    }

    /// A text in quotes, which must be at the cursor.
    fn quoted(&mut self, newline: bool) -> Result<Text<'p>, Bad<'p>> {
        if !self.eat(b'"') {
            return self.bad("a label value in double quotes");
        }
        let start = self.at;
        let mut escaped = false;
        let mut end = start;
        loop {
            end = match memchr2(b'"', b'\\', &self.page[end..]) {
                Some(length) => end + length,
                None => {
                    self.at = self.page.len();
                    return self.bad("a closing quote");
                }
            };
            if self.page[end] == b'"' {
                break;
            }
            escaped = true;
            if self.page.get(end + 1).is_none_or(|byte| *byte == b'\n') {
                self.at = end;
                return self.bad("a character after the backslash");
            }
            end += 2;
            if end > self.page.len() {
                return self.bad("a closing quote");
            }
        }
        if !newline && memchr(b'\n', &self.page[start..end]).is_some() {
            return self.bad("a closing quote before the end of the line");
        }
        let text = self.text(start, end, escaped);
        self.at = end + 1;
        text
    }

    fn sample(&mut self, labels: &mut LabelList<'p>) -> Result<(Record<'p>, usize), Bad<'p>> {
        if self.peek() != Some(b'{') {
            self.name = Some(self.plain_name(true)?);
        }
        let name_end = self.at;
        self.blanks();
        let braces = self.eat(b'{');
        if braces {
            self.labels(Some(labels))?;
            check_unique(self, labels)?;
        }
        let Some(name) = self.name else { return self.bad("a metric's name among the braces' content") };
        if self.strict {
            if !self.eat(b' ') {
                return self.bad("one blank and a value");
            }
        } else {
            self.blanks();
            if !braces && self.at == name_end {
                return self.bad("a blank and a value after the metric's name");
            }
        }
        let value_at = self.at;
        let tail = self.tail()?;
        Ok((Record::Sample { name, value_at, tail }, tail.end))
    }

    /// Labels up to and with the closing brace. A quoted text without `=` is the metric's name. Without a list (exemplars) the
    /// labels are only checked.
    fn labels(&mut self, mut list: Option<&mut LabelList<'p>>) -> Result<(), Bad<'p>> {
        let mut count = 0;
        loop {
            self.blanks();
            let quoted = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => true,
                Some(byte) if is_name_start(byte) && byte != b':' => false,
                _ => return self.bad("a label's name or `}`"),
            };
            let name_at = self.at;
            let name = if quoted { self.quoted(!self.strict)? } else { self.plain_name(false)? };
            if name.raw.is_empty() {
                self.at = name_at;
                return self.bad("a name that is not empty");
            }
            self.blanks();
            if self.eat(b'=') {
                self.blanks();
                let value = self.quoted(!self.strict)?;
                count += 1;
                if count > LABELS_MAX {
                    return self.over("at most 64 labels");
                }
                if let Some(list) = &mut list {
                    list.push((name, value));
                }
            } else if quoted && list.is_some() && self.name.is_none() {
                self.name = Some(name);
            } else {
                return self.bad("`=` after the label's name");
            }
            self.blanks();
            if !self.eat(b',') && self.strict && self.peek() != Some(b'}') {
                return self.bad("`,` or `}`");
            }
        }
    }

    fn tail(&mut self) -> Result<Tail, Bad<'p>> {
        let value = self.number("a number")?;
        let mut at_ms = None;
        if self.strict {
            if self.peek() == Some(b' ') && !self.page[self.at..].starts_with(b" # ") {
                self.at += 1;
                at_ms = Some(self.seconds()?);
            }
            if self.page[self.at..].starts_with(b" # {") {
                self.at += 4;
                self.exemplar()?;
            }
        } else {
            self.blanks();
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                at_ms = Some(self.millis()?);
                self.blanks();
            }
        }
        match self.peek() {
            Some(b'\n') => Ok(Tail { value, at_ms, end: self.at + 1 }),
            None => Ok(Tail { value, at_ms, end: self.at }),
            Some(_) if at_ms.is_some() => self.bad("the end of the line after the timestamp"),
            Some(_) => self.bad("a timestamp or the end of the line"),
        }
    }

    fn number(&mut self, expected: &'static str) -> Result<f64, Bad<'p>> {
        let rest = &self.page[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b' ' | b'\n' | b'\t')).unwrap_or(rest.len());
        match parse_number(&rest[..length]) {
            Some(value) => {
                self.at += length;
                Ok(value)
            }
            None => self.bad(expected),
        }
    }

    /// A timestamp of OpenMetrics, cut to milliseconds as Prometheus does.
    fn seconds(&mut self) -> Result<i64, Bad<'p>> {
        let at = self.at;
        let seconds = self.number("a timestamp in seconds")?;
        if !seconds.is_finite() || seconds.abs() > 1e15 {
            self.at = at;
            return self.bad("a finite timestamp in seconds");
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn millis(&mut self) -> Result<i64, Bad<'p>> {
        let rest = &self.page[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let millis = std::str::from_utf8(&rest[..length]).ok().and_then(|digits| digits.parse().ok());
        match millis {
            Some(millis) => {
                self.at += length;
                Ok(millis)
            }
            None => self.bad("a timestamp in milliseconds"),
        }
    }

    /// An exemplar behind its opening brace: checked and skipped.
    fn exemplar(&mut self) -> Result<(), Bad<'p>> {
        self.labels(None)?;
        if !self.eat(b' ') {
            return self.bad("one blank and the exemplar's value");
        }
        self.number("the exemplar's value")?;
        if self.eat(b' ') {
            self.seconds()?;
        }
        Ok(())
    }
}

fn check_unique<'p>(cursor: &Cursor<'p>, labels: &LabelList<'p>) -> Result<(), Bad<'p>> {
    for (i, (name, _)) in labels.iter().enumerate() {
        if name.raw == "__name__" {
            return cursor.bad("no label `__name__`: the metric's name stands before the braces");
        }
        if labels[..i].iter().any(|(earlier, _)| earlier == name) {
            return cursor.bad("each label's name only once");
        }
    }
    Ok(())
}

/// May begin a metric's name.
const METRIC_BYTE: u8 = 1;
/// May begin a label's name.
const LABEL_BYTE: u8 = 2;
/// May stand in both, but not first.
const DIGIT: u8 = 4;

/// What each byte may be.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => METRIC_BYTE | LABEL_BYTE,
            b':' => METRIC_BYTE,
            b'0'..=b'9' => DIGIT,
            _ => 0,
        };
        byte += 1;
    }
    bytes
};

fn is_name_start(byte: u8) -> bool {
    BYTES[usize::from(byte)] & METRIC_BYTE != 0
}
