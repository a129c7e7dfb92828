//! A sentence as tokens; numbers, durations, sizes and periods in it.
//!
//! What stands in quotes is one token that is data: it can be a name, never a word of the grammar. Characters that do not show are
//! taken out and remembered, because a person cannot have meant what they could not see. Deliberately absent: any meaning. An editor
//! breaks this by letting a quoted token match a word of the grammar, or by joining what a line break has parted.

use homeostat_model::{Span, is_unshown};
use serde::{Deserialize, Serialize};

/// The longest sentence that is read, in characters.
pub const CHARS_MAX: usize = 500;

/// What a token is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Quoted,
    Break,
}

/// One token: `text` is in small letters, `raw` as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub text: String,
    pub raw: String,
}

impl Token {
    pub fn word(raw: &str) -> Token {
        Token { kind: TokenKind::Word, text: raw.to_lowercase(), raw: raw.into() }
    }
    fn quoted(raw: String) -> Token {
        Token { kind: TokenKind::Quoted, text: raw.to_lowercase(), raw }
    }
    fn pause() -> Token {
        Token { kind: TokenKind::Break, text: String::new(), raw: ",".into() }
    }
    pub fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }
    pub fn is_any(&self, words: &[&str]) -> bool {
        self.kind == TokenKind::Word && words.contains(&self.text.as_str())
    }
    pub fn is_break(&self) -> bool {
        self.kind == TokenKind::Break
    }
}

/// A sentence, cut up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sentence {
    pub tokens: Vec<Token>,
    /// Whether it held characters that do not show, or more than one line.
    pub unshown: bool,
}

/// Whether a character shows nothing: controls, marks of direction, joiners, soft hyphens, tags and variation selectors.
pub(super) fn does_not_show(c: char) -> bool {
    is_unshown(c)
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Cuts a sentence up; `None` if it is longer than [`CHARS_MAX`].
pub(super) fn sentence(text: &str) -> Option<Sentence> {
    if text.len() > 4 * CHARS_MAX || text.chars().count() > CHARS_MAX {
        return None;
    }
    let mut unshown = false;
    let mut chars = Vec::new();
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                unshown = true;
                chars.push('\n');
            }
            '\t' => chars.push(' '),
            c if does_not_show(c) => unshown = true,
            c if c.is_whitespace() => chars.push(' '),
            '\u{2019}' | '\u{2018}' => chars.push('\''),
            c => chars.push(c),
        }
    }
    let mut cutter = Cutter { chars: &chars, at: 0, tokens: Vec::new() };
    cutter.cut();
    let mut tokens = Vec::new();
    for token in cutter.tokens {
        expand(token, &mut tokens);
    }
    Some(Sentence { tokens, unshown })
}

struct Cutter<'a> {
    chars: &'a [char],
    at: usize,
    tokens: Vec<Token>,
}

impl Cutter<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn cut(&mut self) {
        while let Some(c) = self.peek(0) {
            let ends = self.peek(1).is_none_or(|next| next.is_whitespace() || "\"'`)”.,;:!?".contains(next));
            match c {
                '\n' => self.pause(),
                c if c.is_whitespace() => self.at += 1,
                '"' | '`' => self.quote(c),
                '“' | '„' => self.quote('”'),
                '«' => self.quote('»'),
                '\'' if self.closes() => self.quote('\''),
                ',' | ';' | '!' | '?' | '(' | ')' | '…' | '—' | '–' | '”' | '»' => self.pause(),
                '.' | ':' if ends => self.pause(),
                '&' => {
                    self.tokens.push(Token::word("and"));
                    self.at += 1;
                }
                _ => self.word(),
            }
        }
    }

    fn pause(&mut self) {
        self.at += 1;
        self.tokens.push(Token::pause());
    }

    /// Whether the `'` here has a counterpart at the end of some word.
    fn closes(&self) -> bool {
        let rest = &self.chars[self.at + 1..];
        (0..rest.len()).any(|i| rest[i] == '\'' && rest.get(i + 1).is_none_or(|next| !next.is_alphanumeric()))
    }

    /// What stands in quotes, to the end where the quote does not close.
    fn quote(&mut self, end: char) {
        self.at += 1;
        let rest = &self.chars[self.at..];
        let closes = |i: &usize| rest[*i] == end && (end != '\'' || rest.get(i + 1).is_none_or(|next| !next.is_alphanumeric()));
        let len = (0..rest.len()).find(closes).unwrap_or(rest.len());
        self.tokens.push(Token::quoted(rest[..len].iter().collect()));
        self.at = (self.at + len + 1).min(self.chars.len());
    }

    fn word(&mut self) {
        let mut raw = String::new();
        while let Some(c) = self.peek(0) {
            let ends = self.peek(1).is_none_or(|next| next.is_whitespace() || "\"'`)”.,;:!?".contains(next));
            let stops = c.is_whitespace() || ",;!?()…—–“”„«»\"`&".contains(c) || (matches!(c, '.' | ':') && ends);
            if c == '"' && raw.ends_with('=') {
                self.value(&mut raw);
                break;
            }
            if stops {
                break;
            }
            raw.push(c);
            self.at += 1;
        }
        if raw.is_empty() {
            self.at += 1;
        } else {
            self.tokens.push(Token::word(&raw));
        }
    }

    /// The quoted value of `name="…"`, with `\"` and `\\` inside.
    fn value(&mut self, raw: &mut String) {
        self.at += 1;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '"' => return,
                '\\' => {
                    raw.extend(self.peek(0));
                    self.at += 1;
                }
                c => raw.push(c),
            }
        }
    }
}

/// `what's` → `what is`, `don't` → `do not`, `nas's` → `nas 's`.
fn expand(token: Token, into: &mut Vec<Token>) {
    let whole = |into: &mut Vec<Token>, texts: &[&str]| into.extend(texts.iter().map(|text| Token::word(text)));
    if token.kind != TokenKind::Word || !token.text.contains('\'') || token.text.contains('=') {
        let apart: &[&str] = match token.text.as_str() {
            "dont" => &["do", "not"],
            "cant" | "cannot" => &["can", "not"],
            "wont" => &["will", "not"],
            "didnt" => &["did", "not"],
            "whats" => &["what", "is"],
            _ => return into.push(token),
        };
        return if token.kind == TokenKind::Word { whole(into, apart) } else { into.push(token) };
    }
    match token.text.as_str() {
        "can't" => return whole(into, &["can", "not"]),
        "won't" => return whole(into, &["will", "not"]),
        "let's" => return whole(into, &["let", "us"]),
        _ => {}
    }
    let Some((head, tail)) = token.raw.rsplit_once('\'') else { return into.push(token) };
    let tail = tail.to_lowercase();
    let asks = ["what", "how", "who", "it", "that", "there", "where", "when", "why", "everything"];
    let parts: Vec<&str> = match tail.as_str() {
        "t" if head.to_lowercase().ends_with('n') && head.len() > 1 => vec![&head[..head.len() - 1], "not"],
        "s" if asks.contains(&head.to_lowercase().as_str()) => vec![head, "is"],
        "s" | "" if !head.is_empty() => vec![head, "'s"],
        "d" => vec![head, "would"],
        "m" => vec![head, "am"],
        "re" => vec![head, "are"],
        "ve" => vec![head, "have"],
        "ll" => vec![head, "will"],
        _ => return into.push(token),
    };
    whole(into, &parts);
}

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [(&str, i64); 8] =
    [("twenty", 20), ("thirty", 30), ("forty", 40), ("fifty", 50), ("sixty", 60), ("seventy", 70), ("eighty", 80), ("ninety", 90)];

/// A whole number, in digits or in words up to ninety-nine; at most nine digits.
pub(super) fn number(text: &str) -> Option<i64> {
    if !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    if let Some(one) = ONES.iter().position(|word| *word == text) {
        return Some(one as i64);
    }
    let (tens, ones) = text.split_once('-').unwrap_or((text, "zero"));
    let tens = TENS.iter().find(|(word, _)| *word == tens)?.1;
    let ones = ONES[..10].iter().position(|word| *word == ones)? as i64;
    Some(tens + ones)
}

fn unit_millis(text: &str) -> Option<i64> {
    Some(match text {
        "second" | "seconds" | "sec" | "secs" | "s" => 1000,
        "minute" | "minutes" | "min" | "mins" | "m" => 60_000,
        "hour" | "hours" | "hr" | "hrs" | "h" => 3_600_000,
        "day" | "days" | "d" => 86_400_000,
        "week" | "weeks" | "w" => 604_800_000,
        "month" | "months" => 30 * 86_400_000,
        _ => return None,
    })
}

/// A duration that all these tokens together are: `2 hours`, `2h`, `1h30m`, `half an hour`, `an hour`, `1.5 days`, `two hours`. A
/// month has 30 days. At most ten years, and more than nothing.
pub(super) fn duration(tokens: &[Token]) -> Option<Span> {
    if tokens.iter().any(|token| token.kind != TokenKind::Word) {
        return None;
    }
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let millis = match texts.as_slice() {
        [one] => one.parse::<Span>().ok()?.millis(),
        ["half", "an" | "a", unit] | ["half", unit] => unit_millis(unit)? / 2,
        ["quarter", "of", "an" | "a", unit] => unit_millis(unit)? / 4,
        ["a" | "an", unit] => unit_millis(unit)?,
        [count, unit] => match (number(count), count.parse::<f64>()) {
            (Some(count), _) => count.checked_mul(unit_millis(unit)?)?,
            (None, Ok(count)) if count.is_finite() && count > 0.0 && count < 1e6 => (count * unit_millis(unit)? as f64) as i64,
            _ => return None,
        },
        _ => return None,
    };
    (millis > 0 && millis <= 3_653 * 86_400_000).then_some(Span(millis))
}

/// A size in bytes that all these tokens together are: `10 GB`, `512Mi`, `two gigabytes`. `kb mb gb tb` are powers of 1000,
/// `ki mi gi ti` (with or without `b`) powers of 1024 (IEC 80000-13).
pub(super) fn size_bytes(tokens: &[Token]) -> Option<u64> {
    let (count, unit) = match tokens {
        [one] if one.kind == TokenKind::Word => {
            let digits = one.text.bytes().take_while(u8::is_ascii_digit).count();
            (number(&one.text[..digits])?, &one.text[digits..])
        }
        [count, unit] if count.kind == TokenKind::Word && unit.kind == TokenKind::Word => (number(&count.text)?, unit.text.as_str()),
        _ => return None,
    };
    let factor: u64 = match unit {
        "kb" | "kilobyte" | "kilobytes" => 1_000,
        "mb" | "megabyte" | "megabytes" => 1_000_000,
        "gb" | "g" | "gigabyte" | "gigabytes" | "gig" | "gigs" => 1_000_000_000,
        "tb" | "t" | "terabyte" | "terabytes" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    u64::try_from(count).ok()?.checked_mul(factor)
}

/// A stretch of time that a question is about, by the house's calendar.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// since midnight
    Today,
    /// the day before
    Yesterday,
    /// the night that ended today
    LastNight,
    /// since Monday
    ThisWeek,
    /// the week before
    LastWeek,
    /// since the first
    ThisMonth,
    /// the month before
    LastMonth,
    /// since the first of January
    ThisYear,
    /// the year before
    LastYear,
    /// this long until now
    Last(Span),
}

impl Period {
    /// The words that are read as it.
    pub fn words(self) -> String {
        match self {
            Period::Today => "today".into(),
            Period::Yesterday => "yesterday".into(),
            Period::LastNight => "last night".into(),
            Period::ThisWeek => "this week".into(),
            Period::LastWeek => "last week".into(),
            Period::ThisMonth => "this month".into(),
            Period::LastMonth => "last month".into(),
            Period::ThisYear => "this year".into(),
            Period::LastYear => "last year".into(),
            Period::Last(span) => format!("last {span}"),
        }
    }
}

/// The period that these tokens begin with, and how many of them it takes.
pub(super) fn period(tokens: &[Token]) -> Option<(Period, usize)> {
    let word = |i: usize| tokens.get(i).filter(|token| token.kind == TokenKind::Word).map_or("", |token| token.text.as_str());
    let found = match (word(0), word(1)) {
        ("today", _) => (Period::Today, 1),
        ("yesterday", _) => (Period::Yesterday, 1),
        ("overnight", _) => (Period::LastNight, 1),
        ("this", "week") => (Period::ThisWeek, 2),
        ("this", "month") => (Period::ThisMonth, 2),
        ("this", "year") => (Period::ThisYear, 2),
        ("last", "night") => (Period::LastNight, 2),
        ("last", "week") => (Period::LastWeek, 2),
        ("last", "month") => (Period::LastMonth, 2),
        ("last", "year") => (Period::LastYear, 2),
        ("last" | "past", "hour") => (Period::Last(Span::from_hours(1)), 2),
        ("last" | "past", "day") => (Period::Last(Span::from_hours(24)), 2),
        ("past", "week") => (Period::Last(Span::from_hours(168)), 2),
        ("last" | "past", _) => {
            let most = (2..=3).rev().find_map(|end| Some((duration(tokens.get(1..end)?)?, end)));
            let (span, end) = most?;
            (Period::Last(span), end)
        }
        _ => return None,
    };
    Some(found)
}
