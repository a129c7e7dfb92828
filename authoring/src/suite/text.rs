//! A `*.test.yaml` as text: what may stand there, and where it is wrong.
//!
//! The plain form is one test: `policy`, `interval`, `series`, `alerts`, `commands`, `expect`. With `tests:` a file holds several, each
//! with a `name` and what it adds: `series`, `alerts` and `commands` at the top are given to all of them. An editor breaks this by
//! taking in a key that nobody looks at: unknown keys are errors.

use super::notation::{self, Misread, Step};
use homeostat_kernel::policy::PolicyError;
use homeostat_model::{AlertKind, AlertStatus, Arg, SeriesKey, Span, Verdict};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_saphyr::{Location, Spanned};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A file of tests of one policy, read.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// The policy's name: its script stands beside the file.
    pub policy: String,
    /// The tests.
    pub cases: Vec<Case>,
}

/// One test: what comes in, and what must come of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name; empty in a file of one.
    pub name: String,
    /// Parameters of the policy that it changes.
    pub params: BTreeMap<String, Arg>,
    /// The time between two steps of the series, and their sensor's interval.
    pub interval: Span,
    /// What is measured.
    pub series: Vec<(SeriesKey, Vec<Step>)>,
    /// What alerts.
    pub alerts: Vec<AlertText>,
    /// What people order.
    pub orders: Vec<(Span, Order)>,
    /// What must be, in the file's order.
    pub expect: Vec<Expect>,
}

/// An alert, as a test writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertText {
    /// When it is told, from the start.
    pub at: Span,
    /// The rule's name.
    pub name: String,
    /// `firing` or `resolved`.
    pub status: AlertStatus,
    /// What kind of alert.
    #[serde(default)]
    pub kind: AlertKind,
    /// Labels beside its name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What a person orders.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Yes to what waits and whose `verb on target` holds this text.
    Approve(String),
    /// No to it.
    Deny(String),
    /// Hands off, with the reason.
    Pause(String),
    /// The end of hands-off.
    Resume(bool),
    /// Takes the futility lock off the policy's symptoms that are this one; all of them for "".
    Unlock(String),
}

/// One expectation.
#[derive(Clone, Debug)]
pub struct Expect {
    /// When, from the start.
    pub at: Span,
    /// Only targets whose symptom or name holds this text.
    pub target: String,
    /// What must be.
    pub what: What,
    /// Where it stands: line and column, from 1.
    pub place: (usize, usize),
}

/// What must be.
#[derive(Clone, Debug)]
pub enum What {
    /// It wishes this.
    Proposes(Box<Wished>),
    /// It wishes nothing; where the reason is known, it must be this one.
    Quiet {
        /// A pattern that the recorded evidence, a margin or a print of one of the targets must match.
        because: Option<regex::Regex>,
        /// Words for the reader.
        note: String,
    },
    /// It wishes, and this guard holds, asks or refuses it.
    HeldBy {
        /// The guard's name.
        guard: String,
        /// A pattern for the guard's words.
        because: Option<regex::Regex>,
    },
    /// It cannot tell; the pattern is for what it says it misses.
    Undetermined(Option<regex::Regex>),
    /// It fails; the pattern is for the message.
    Fault(regex::Regex),
}

/// A wish that is expected.
#[derive(Clone, Debug)]
pub struct Wished {
    /// The verb.
    pub verb: String,
    /// The target.
    pub target: Option<String>,
    /// A pattern for the reason.
    pub because: Option<regex::Regex>,
    /// A pattern for the claim.
    pub claim: Option<regex::Regex>,
    /// Patterns for arguments.
    pub args: BTreeMap<String, regex::Regex>,
    /// What the arbiter must say.
    pub ruled: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    policy: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<String, Arg>,
    interval: Spanned<Span>,
    #[serde(default)]
    series: Vec<SeriesText>,
    #[serde(default)]
    alerts: Vec<AlertText>,
    #[serde(default)]
    commands: Vec<Spanned<CommandText>>,
    #[serde(default)]
    expect: Vec<Spanned<ExpectText>>,
    #[serde(default)]
    tests: Vec<CaseText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<String, Arg>,
    interval: Option<Spanned<Span>>,
    #[serde(default)]
    series: Vec<SeriesText>,
    #[serde(default)]
    alerts: Vec<AlertText>,
    #[serde(default)]
    commands: Vec<Spanned<CommandText>>,
    expect: Vec<Spanned<ExpectText>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesText {
    series: Spanned<String>,
    values: Spanned<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandText {
    at: Span,
    approve: Option<String>,
    deny: Option<String>,
    pause: Option<String>,
    resume: Option<bool>,
    unlock: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectText {
    at: Span,
    series: Option<Spanned<String>>,
    target: Option<String>,
    proposes: Option<WishedText>,
    quiet: Option<QuietText>,
    undetermined: Option<UndeterminedText>,
    fault: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishedText {
    verb: String,
    target: Option<String>,
    because: Option<Spanned<String>>,
    claim: Option<Spanned<String>>,
    #[serde(default)]
    args: BTreeMap<String, Spanned<String>>,
    ruled: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuietMap {
    because: Option<Spanned<String>>,
    held_by: Option<String>,
    #[serde(default)]
    note: String,
}

/// `quiet: words for the reader`, or a map that is checked.
struct QuietText(QuietMap);

/// `undetermined: true`, or a map with a pattern.
struct UndeterminedText(Option<Spanned<String>>);

impl<'de> Deserialize<'de> for QuietText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QuietText, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = QuietText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("words, or a map with `because`, `held_by` or `note`")
            }
            fn visit_str<E>(self, note: &str) -> Result<QuietText, E> {
                Ok(QuietText(QuietMap { note: note.to_owned(), ..QuietMap::default() }))
            }
            fn visit_bool<E>(self, yes: bool) -> Result<QuietText, E>
            where
                E: de::Error,
            {
                if yes {
                    Ok(QuietText(QuietMap::default()))
                } else {
                    Err(E::custom("`quiet: false` says nothing: write what it `proposes`"))
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<QuietText, A::Error> {
                QuietMap::deserialize(MapAccessDeserializer::new(map)).map(QuietText)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for UndeterminedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UndeterminedText, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            because: Option<Spanned<String>>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = UndeterminedText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, or a map with `because`")
            }
            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<UndeterminedText, E> {
                if yes {
                    Ok(UndeterminedText(None))
                } else {
                    Err(E::custom("`undetermined: false` says nothing: write `quiet` or `proposes`"))
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UndeterminedText, A::Error> {
                Inner::deserialize(MapAccessDeserializer::new(map)).map(|inner| UndeterminedText(inner.because))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads a file of tests.
///
/// # Errors
/// Everything that is wrong with it: all problems of what can be read, or the first that makes the text unreadable.
pub fn parse(path: &str, text: &str) -> Result<PolicyTest, Vec<PolicyError>> {
    let mut reader = Reader { path, text, errors: Vec::new() };
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
    };
    let file: FileText = match serde_saphyr::from_str_with_options(text, options) {
        Ok(file) => file,
        Err(error) => {
            let place = error.location().map_or((1, 1), of);
            let words = error.to_string();
            // The place is shown once, by us.
            let message = words.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(words.as_str(), |(_, rest)| rest);
            let message = message.split_once(" at line ").map_or(message, |(message, _)| message);
            reader.wrong(place, message.trim(), None);
            return Err(reader.errors);
        }
    };
    let test = reader.file(file);
    if reader.errors.is_empty() { Ok(test) } else { Err(reader.errors) }
}

fn of(location: Location) -> (usize, usize) {
    (location.line() as usize, location.column() as usize)
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    errors: Vec<PolicyError>,
}

impl Reader<'_> {
    fn wrong(&mut self, (line, column): (usize, usize), message: impl Into<String>, help: Option<String>) {
        self.errors.push(PolicyError {
            path: self.path.into(),
            line,
            column,
            message: message.into(),
            help,
            source_line: line.checked_sub(1).and_then(|n| self.text.lines().nth(n)).unwrap_or_default().to_owned(),
        });
    }

    /// A problem with a word of a scalar: at the word, where it can be found.
    fn misread(&mut self, place: (usize, usize), misread: Misread) {
        let found = self.text.lines().enumerate().skip(place.0.saturating_sub(1)).take(200).find_map(|(row, line)| {
            let first = row + 1 == place.0;
            let from = if first { line.char_indices().nth(place.1.saturating_sub(1)).map_or(0, |(at, _)| at) } else { 0 };
            let (at, _) = line[from..].match_indices(&misread.word).find(|(at, word)| {
                let around = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '+' | '-'));
                around(line[..from + at].chars().next_back()) && around(line[from + at + word.len()..].chars().next())
            })?;
            Some((row + 1, line[..from + at].chars().count() + 1))
        });
        self.wrong(found.unwrap_or(place), misread.message, misread.help);
    }

    fn file(&mut self, file: FileText) -> PolicyTest {
        let interval = self.interval(&file.interval);
        let series = self.series(&file.series);
        let orders = self.orders(&file.commands);
        let mut cases = Vec::new();
        if !file.expect.is_empty() || file.tests.is_empty() {
            if file.expect.is_empty() {
                self.wrong((1, 1), "the file expects nothing", Some("add `expect:` or `tests:`".into()));
            }
            cases.push(Case {
                name: String::new(),
                params: file.params.clone(),
                interval,
                series: series.clone(),
                alerts: file.alerts.clone(),
                orders: orders.clone(),
                expect: file.expect.iter().filter_map(|expect| self.expect(expect)).collect(),
            });
        }
        let mut names = BTreeSet::new();
        for case in file.tests {
            let place = of(case.name.referenced);
            if case.name.value.trim().is_empty() || !names.insert(case.name.value.clone()) {
                self.wrong(place, format!("a test needs a name of its own, `{}` is none", case.name.value), None);
            }
            if case.expect.is_empty() {
                self.wrong(place, format!("the test `{}` expects nothing", case.name.value), None);
            }
            let (mut params, mut all) = (file.params.clone(), series.clone());
            params.extend(case.params);
            for (key, values) in self.series(&case.series) {
                // What a test says of a series is said instead of what the file says.
                all.retain(|(other, _)| *other != key);
                all.push((key, values));
            }
            cases.push(Case {
                name: case.name.value,
                params,
                interval: case.interval.as_ref().map_or(interval, |own| self.interval(own)),
                series: all,
                alerts: file.alerts.iter().chain(&case.alerts).cloned().collect(),
                orders: orders.iter().cloned().chain(self.orders(&case.commands)).collect(),
                expect: case.expect.iter().filter_map(|expect| self.expect(expect)).collect(),
            });
        }
        PolicyTest { policy: file.policy.value, cases }
    }

    fn interval(&mut self, text: &Spanned<Span>) -> Span {
        if text.value <= Span::ZERO {
            self.wrong(of(text.referenced), "`interval` must be longer than zero", None);
        }
        text.value
    }

    fn series(&mut self, texts: &[SeriesText]) -> Vec<(SeriesKey, Vec<Step>)> {
        let mut all: Vec<(SeriesKey, Vec<Step>)> = Vec::new();
        for text in texts {
            let key = notation::series_key(&text.series.value).map_err(|misread| self.misread(of(text.series.referenced), misread));
            let values = notation::values(&text.values.value).map_err(|misread| self.misread(of(text.values.referenced), misread));
            let (Ok(key), Ok(values)) = (key, values) else { continue };
            if all.iter().any(|(other, _)| *other == key) {
                self.wrong(of(text.series.referenced), format!("the series {key} stands twice"), None);
            }
            all.push((key, values));
        }
        all
    }

    fn orders(&mut self, texts: &[Spanned<CommandText>]) -> Vec<(Span, Order)> {
        let mut orders = Vec::new();
        for text in texts {
            let command = text.value.clone();
            let given = [
                command.approve.map(Order::Approve),
                command.deny.map(Order::Deny),
                command.pause.map(Order::Pause),
                command.resume.map(Order::Resume),
                command.unlock.map(Order::Unlock),
            ];
            let mut given = given.into_iter().flatten();
            match (given.next(), given.next()) {
                (Some(order), None) => orders.push((command.at, order)),
                _ => self.wrong(of(text.referenced), "expected one of `approve`, `deny`, `pause`, `resume` and `unlock`", None),
            }
        }
        orders
    }

    fn pattern(&mut self, text: Option<&Spanned<String>>) -> Option<regex::Regex> {
        let text = text?;
        match regex::Regex::new(&text.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let words = error.to_string();
                let last = words.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let help = "a pattern is a regular expression: `(`, `)`, `.`, `+` and `?` as such are `\\(`, `\\)` and so on";
                self.wrong(of(text.referenced), format!("`{}` is not a pattern: {last}", text.value), Some(help.into()));
                None
            }
        }
    }

    fn expect(&mut self, text: &Spanned<ExpectText>) -> Option<Expect> {
        let (place, expect) = (of(text.referenced), &text.value);
        let mut target = expect.target.clone().unwrap_or_default();
        if let Some(series) = &expect.series {
            target.clone_from(&series.value);
            if series.value.contains('{') {
                // Labels in whatever order: symptoms have them in the order of their names.
                match notation::series_key(&series.value) {
                    Ok(key) => target = key.to_string(),
                    Err(misread) => self.misread(of(series.referenced), misread),
                }
            }
            if expect.target.is_some() {
                self.wrong(place, "`series` and `target` both say which target is meant: keep one", None);
            }
        }
        let what = match (&expect.proposes, &expect.quiet, &expect.undetermined, &expect.fault) {
            (Some(wished), None, None, None) => self.wished(wished),
            (None, Some(QuietText(quiet)), None, None) => {
                let because = self.pattern(quiet.because.as_ref());
                match &quiet.held_by {
                    Some(guard) => What::HeldBy { guard: guard.clone(), because },
                    None => What::Quiet { because, note: quiet.note.clone() },
                }
            }
            (None, None, Some(UndeterminedText(because)), None) => What::Undetermined(self.pattern(because.as_ref())),
            (None, None, None, Some(pattern)) => What::Fault(self.pattern(Some(pattern))?),
            _ => {
                self.wrong(place, "expected one of `proposes`, `quiet`, `undetermined` and `fault`", None);
                return None;
            }
        };
        Some(Expect { at: expect.at, target, what, place })
    }

    fn wished(&mut self, text: &WishedText) -> What {
        if let Some(ruled) = &text.ruled {
            let names = VERDICTS.map(Verdict::name);
            if !names.contains(&ruled.value.as_str()) {
                self.wrong(of(ruled.referenced), format!("`{}` is no verdict, expected one of: {}", ruled.value, names.join(", ")), None);
            }
        }
        let args = text.args.iter().filter_map(|(name, pattern)| Some((name.clone(), self.pattern(Some(pattern))?))).collect();
        What::Proposes(Box::new(Wished {
            verb: text.verb.clone(),
            target: text.target.clone(),
            because: self.pattern(text.because.as_ref()),
            claim: self.pattern(text.claim.as_ref()),
            args,
            ruled: text.ruled.as_ref().map(|ruled| ruled.value.clone()),
        }))
    }
}

/// Every verdict, for its name.
const VERDICTS: [Verdict; 5] = [
    Verdict::Admitted,
    Verdict::AwaitingApproval { by: homeostat_model::Time(0) },
    Verdict::Deferred { until: homeostat_model::Time(0) },
    Verdict::Shadowed,
    Verdict::Denied,
];

impl Expect {
    /// The expectation in one line.
    pub fn title(&self) -> String {
        let about = if self.target.is_empty() { String::new() } else { format!(" {}", self.target) };
        let what = match &self.what {
            What::Proposes(wished) => {
                let target = wished.target.as_deref().map_or_else(String::new, |target| format!(" on {target}"));
                let ruled = wished.ruled.as_deref().map_or_else(String::new, |ruled| format!(", {ruled}"));
                format!("proposes {}{target}{ruled}", wished.verb)
            }
            What::Quiet { because: Some(because), .. } => format!("quiet because `{because}`"),
            What::Quiet { note, .. } if note.is_empty() => "quiet".into(),
            What::Quiet { note, .. } => format!("quiet ({note})"),
            What::HeldBy { guard, .. } => format!("held by {guard}"),
            What::Undetermined(_) => "undetermined".into(),
            What::Fault(_) => "fault".into(),
        };
        format!("at {}{about}: {what}", self.at)
    }
}
