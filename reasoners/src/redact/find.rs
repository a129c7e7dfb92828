//! Finds what must not leave: configured names, and what is an address, a mail, a token or a secret by its shape.
//!
//! Too much found costs the model a word, too little costs the house a name: where a shape is in doubt, it is found. An editor breaks
//! this by a pattern that needs a neighbour it also takes (the next one is then missed), or by matching on the written text only.

use super::view::{View, is_tag};
use regex::Regex;
use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::LazyLock;

/// What something is; names its placeholder. No name may end in another's.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Host,
    Person,
    Place,
    Domain,
    Ip,
    Mac,
    Mail,
    Url,
    Token,
    Id,
    Path,
    Word,
}

impl Kind {
    #[cfg(test)]
    pub(super) const ALL: [Kind; 12] = [
        Kind::Host,
        Kind::Person,
        Kind::Place,
        Kind::Domain,
        Kind::Ip,
        Kind::Mac,
        Kind::Mail,
        Kind::Url,
        Kind::Id,
        Kind::Token,
        Kind::Path,
        Kind::Word,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::Person => "person",
            Kind::Place => "place",
            Kind::Domain => "domain",
            Kind::Ip => "ip",
            Kind::Mac => "mac",
            Kind::Mail => "mail",
            Kind::Url => "url",
            Kind::Id => "id",
            Kind::Token => "token",
            Kind::Path => "path",
            Kind::Word => "word",
        }
    }
}

/// Something found: bytes of the text as written.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

/// What one of our placeholders looks like.
pub(super) static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| regex("(?i)(?:host|person|place|domain|ip|mac|mail|url|id|token|path|word)-[0-9]+(?:v[0-9]+)?"));

/// Words whose value is a secret.
const SECRET_WORDS: &str = "pass(?:word|wd|phrase|wort|code|key)|pwd|kennwort|psk|secret|token|api[ _.-]?key|access[ _.-]?key|private[ _.-]?key|encryption[ _.-]?key|credentials?|cookie|authorization|authorisation|webhook";

static SECRET_KEY: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!("(?i)(?:^|[^a-z])(?:{SECRET_WORDS}|pass|pw)s?(?:$|[^a-z])|(?:password|passwd|secret|apikey|token)$")));

/// Whether what stands under this key is a secret. Counts of tokens are none: they are numbers, and numbers stay anyway.
pub(super) fn is_secret_word(key: &str) -> bool {
    View::all(key).iter().any(|view| {
        let mut spaced = String::with_capacity(view.chars.len());
        let mut before = ' ';
        for &c in &view.chars {
            if before.is_lowercase() && c.is_uppercase() {
                spaced.push(' ');
            }
            spaced.push(c);
            before = c;
        }
        SECRET_KEY.is_match(&spaced) || SECRET_KEY.is_match(&view.chars.iter().collect::<String>())
    })
}

/// What something looks like.
struct Shape {
    pattern: Regex,
    /// The group that is meant; 0: all.
    group: usize,
    kind: Kind,
    /// Whether it counts only where a word begins.
    begins: bool,
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shape = |pattern: &str, group: usize, kind: Kind| Shape { pattern: regex(pattern), group, kind, begins: false };
    let word = |pattern: &str, group: usize, kind: Kind| Shape { begins: true, ..shape(pattern, group, kind) };
    let value = r#"("(?:[^"\\]|\\.)*"|'[^']*'|[^\s&"']+)"#;
    vec![
        shape(r"(?s)-----BEGIN [^-]*-----.*?(?:-----END [^-]*-----|\z)", 0, Kind::Token),
        shape(r"[\w.%+\-]+@[\w\-]+(?:\.[\w\-]+)*", 0, Kind::Mail),
        shape(r#"(?i)[a-z][a-z0-9+.\-]*://([^\s/?#"'<>\\]+)"#, 1, Kind::Url),
        shape(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", 0, Kind::Ip),
        word(r"[0-9]{1,3}(?:-[0-9]{1,3}){3}", 0, Kind::Ip),
        shape(r"(?i)[0-9a-f]{2}(?:[:\-][0-9a-f]{2}){5,7}", 0, Kind::Mac),
        shape(r"(?i)[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}", 0, Kind::Mac),
        shape(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 0, Kind::Id),
        shape(r"(?i)eyj[\w\-]{6,}\.[\w\-]+(?:\.[\w\-]*)?", 0, Kind::Token),
        word(
            r"(?i)(?:sk|pk|rk|tk|gh[pousr]|github_pat|glpat|gldt|xox[a-z]|xapp|hv[sbr]|tskey|npm|pypi|pplx|dckr_pat|shpat|dop_v1|syt|whsec|age-secret-key)[-_.][a-z0-9_\-.]{6,}",
            0,
            Kind::Token,
        ),
        shape(r"(?i)(?:akia|asia)[a-z0-9]{12,}|aiza[\w\-]{20,}|ya29\.[\w\-]+|SG\.[\w\-]{10,}\.[\w\-]+", 0, Kind::Token),
        shape(r"[0-9]{6,12}:[\w\-]{30,}", 0, Kind::Token),
        shape(r#"(?i)(?:bearer|basic|digest|negotiate)\s+([^\s"',;]{4,})"#, 1, Kind::Token),
        shape(&format!(r#"(?i)(?:{SECRET_WORDS})[\w.\-]*["'\]]*\s*(?::|=>?|\bis\b)\s*(?:(?:bearer|basic)\s+)?{value}"#), 1, Kind::Token),
        shape(&format!(r#"(?i)--?(?:{SECRET_WORDS})[\w.\-]*\s+{value}"#), 1, Kind::Token),
        word(r"(?i)(?:auth|pin|otp|sid|pass|pw)\s*[:=]\s*([^\s,;&]+)", 1, Kind::Token),
        shape(r#"(?i)(?:/home/|/users/|[a-z]:\\{1,2}users\\{1,2})[^/\\\s"'<>:;,]+"#, 0, Kind::Path),
        word(r"(~[\w.\-]+)/", 1, Kind::Path),
        shape(
            r"(?i)[\w\-]+(?:\.[\w\-]+)*\.(?:lan|local|localdomain|internal|intranet|home|home\.arpa|arpa|fritz\.box|ts\.net|duckdns\.org|ddns\.net|dyndns\.org|no-ip\.org)\b",
            0,
            Kind::Domain,
        ),
    ]
});

static OPAQUE: LazyLock<Regex> = LazyLock::new(|| regex(r"[A-Za-z0-9+/_=\-]{12,}"));
static ALNUM: LazyLock<Regex> = LazyLock::new(|| regex(r"[A-Za-z0-9]{12,}"));
static COLONS: LazyLock<Regex> = LazyLock::new(|| regex(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"));

fn regex(pattern: &str) -> Regex {
    // Every pattern is a constant of this file and is compiled by its tests.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Names of at least so many characters are found inside words too.
const INSIDE_WORDS_CHARS_MIN: usize = 6;

/// Knows the configured names.
pub(super) struct Finder {
    /// By their first character, longest first.
    names: HashMap<char, Vec<(Vec<char>, Kind)>>,
}

impl Finder {
    pub(super) fn new<'a>(names: impl Iterator<Item = (Kind, &'a str)>) -> Finder {
        let mut all: HashMap<char, Vec<(Vec<char>, Kind)>> = HashMap::new();
        for (kind, name) in names {
            let name = if kind == Kind::Domain { name.trim_start_matches(['*', '.']) } else { name };
            for spelling in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
                let Some(view) = View::all(spelling.trim()).into_iter().next() else { continue };
                let Some(first) = view.low.first() else { continue };
                let list = all.entry(*first).or_default();
                if !list.iter().any(|(known, _)| *known == view.low) {
                    list.push((view.low, kind));
                }
            }
        }
        for list in all.values_mut() {
            list.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
        Finder { names: all }
    }

    /// Everything found, in order, none touching a letter or digit to its right, none overlapping.
    pub(super) fn find(&self, text: &str) -> Vec<Span> {
        let mut spans = tags(text);
        for view in View::all(text) {
            self.names(&view, &mut spans);
            shapes(&view, &mut spans);
        }
        let widened = spans.into_iter().map(|span| Span { end: word_end(text, span.end), ..span }).collect();
        merged(widened)
    }

    fn names(&self, view: &View, spans: &mut Vec<Span>) {
        for at in 0..view.low.len() {
            let Some(list) = self.names.get(&view.low[at]) else { continue };
            let found = list.iter().find(|(name, _)| {
                matches(&view.low[at..], name) && (name.len() >= INSIDE_WORDS_CHARS_MIN || (edge(view, at) && edge(view, at + name.len())))
            });
            if let Some((name, kind)) = found {
                let mut first = at;
                if *kind == Kind::Domain {
                    while first > 0 && (view.low[first - 1].is_alphanumeric() || matches!(view.low[first - 1], '.' | '-' | '_')) {
                        first -= 1;
                    }
                }
                spans.extend(span(view, word_start(view, first), at + name.len(), *kind));
            }
        }
    }
}

/// Whether a text begins with a name; a blank in the name stands for any one separator.
fn matches(text: &[char], name: &[char]) -> bool {
    let same = |(is, wanted): (&char, &char)| is == wanted || (*wanted == ' ' && matches!(is, '_' | '-' | '+' | '.'));
    text.len() >= name.len() && text.iter().zip(name).all(same)
}

/// Whether a word, a number or a capital begins here.
fn edge(view: &View, at: usize) -> bool {
    let (Some(before), Some(after)) = (at.checked_sub(1).map(|n| view.chars[n]), view.chars.get(at).copied()) else { return true };
    view.parted[at]
        || !before.is_alphanumeric()
        || !after.is_alphanumeric()
        || before.is_numeric() != after.is_numeric()
        || (before.is_lowercase() && after.is_uppercase())
}

/// Whether no letter or digit stands directly before.
fn begins_word(view: &View, at: usize) -> bool {
    at == 0 || view.parted[at] || !view.chars[at - 1].is_alphanumeric()
}

/// The first character of the word of letters and digits in which a name was found.
fn word_start(view: &View, at: usize) -> usize {
    let mut first = at;
    if view.chars[at].is_alphanumeric() && !edge(view, at) {
        while first > 0 && view.chars[first - 1].is_alphanumeric() {
            first -= 1;
        }
    }
    first
}

/// The end of the letters and digits that follow: beside a placeholder they would be read as part of it.
fn word_end(text: &str, end: usize) -> usize {
    end + text[end..].chars().take_while(|c| c.is_alphanumeric()).map(char::len_utf8).sum::<usize>()
}

fn span(view: &View, first: usize, end: usize, kind: Kind) -> Option<Span> {
    (first < end).then(|| Span { start: view.places[first].0, end: view.places[end - 1].1, kind })
}

fn shapes(view: &View, spans: &mut Vec<Span>) {
    let text: String = view.chars.iter().collect();
    let mut offsets = Vec::with_capacity(view.chars.len() + 1);
    offsets.extend(text.char_indices().map(|(at, _)| at));
    offsets.push(text.len());
    let index = |byte: usize| offsets.binary_search(&byte).unwrap_or_else(|next| next);
    let mut add = |start: usize, end: usize, kind: Kind| spans.extend(span(view, index(start), index(end), kind));
    for found in PLACEHOLDER.find_iter(&text) {
        let word = text[..found.start()].trim_end_matches(char::is_alphanumeric).len();
        add(word, found.end(), Kind::Word);
    }
    for Shape { pattern, group, kind, begins } in SHAPES.iter() {
        let mut from = 0;
        // What is meant may be the next one's neighbour, so the search goes on behind that and not behind the whole.
        while let Some((all, found)) = pattern.captures_at(&text, from).and_then(|found| found.get(0).zip(found.get(*group))) {
            let taken = !begins || begins_word(view, index(all.start()));
            if taken {
                add(found.start(), found.end(), *kind);
            }
            from = if taken { found.end() } else { all.start() + 1 }.max(from + 1);
            while !text.is_char_boundary(from.min(text.len())) {
                from += 1;
            }
            if from >= text.len() {
                break;
            }
        }
    }
    for found in COLONS.find_iter(&text) {
        if is_ipv6(&text, found.range()) {
            add(found.start(), found.start() + found.as_str().trim_end_matches('.').len(), Kind::Ip);
        }
    }
    for found in ALNUM.find_iter(&text).filter(|found| is_opaque_word(found.as_str())) {
        add(found.start(), found.end(), Kind::Id);
    }
    for found in OPAQUE.find_iter(&text).filter(|found| is_opaque(found.as_str())) {
        add(found.start(), found.end(), Kind::Token);
    }
}

/// Twelve and more hexadecimal digits with a letter and a digit among them (numbers of containers, commits, bare MACs), or twenty
/// letters and digits mixed.
fn is_opaque_word(word: &str) -> bool {
    let digit = word.bytes().any(|b| b.is_ascii_digit());
    let letter = word.bytes().any(|b| b.is_ascii_alphabetic());
    digit && letter && (word.len() >= 20 || word.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Twenty characters of base64 with a digit and both cases.
fn is_opaque(word: &str) -> bool {
    let any = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
    word.len() >= 20 && any(u8::is_ascii_digit) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_uppercase)
}

fn is_ipv6(text: &str, at: std::ops::Range<usize>) -> bool {
    let run = &text[at.clone()];
    let inner = run.strip_prefix(':').filter(|rest| !rest.starts_with(':')).unwrap_or(run).trim_end_matches('.');
    let inner = inner.strip_suffix(':').filter(|rest| !rest.ends_with(':')).unwrap_or(inner);
    let digits = inner.bytes().any(|b| b.is_ascii_digit());
    let alone = !text[..at.start].ends_with(char::is_alphanumeric) && !text[at.end..].starts_with(char::is_alphanumeric);
    let parses = inner.len() > 2 && inner.parse::<Ipv6Addr>().is_ok();
    (parses && (alone || digits)) || (inner.contains("::") && digits) || inner.matches(':').count() >= 7
}

/// Runs of tag characters: a text that only machines read.
fn tags(text: &str) -> Vec<Span> {
    let places = text.char_indices().filter(|(_, c)| is_tag(*c));
    merged(places.map(|(at, c)| Span { start: at, end: at + c.len_utf8(), kind: Kind::Word }).collect())
}

/// In order; what overlaps is one and takes the kind of its longest part. Tags that touch are one too.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.kind));
    let mut all: Vec<Span> = Vec::with_capacity(spans.len());
    let mut longest = 0;
    for span in spans {
        let len = span.end - span.start;
        match all.last_mut() {
            Some(last) if span.start < last.end || (span.start == last.end && span.kind == last.kind) => {
                last.end = last.end.max(span.end);
                if len > longest {
                    (last.kind, longest) = (span.kind, len);
                }
            }
            _ => {
                all.push(span);
                longest = len;
            }
        }
    }
    all
}
