//! The order of reading: what is polite is taken off, what asks for several things, for none, or for later is asked back, and what
//! is left must be one question or one request, to its last word.
//!
//! Patterns are words with slots: `a|b` is one of both, `[a]` may be missing, `<x>` is one to eight words, `<n>` a number.
//! Deliberately absent: what the single questions and requests mean. An editor breaks this by making a request of one part of a
//! sentence that had more parts.

use super::known::{Found, Known, Sought};
use super::noun::noun;
use super::words::{self, Token, TokenKind};
use super::{CHARS_MAX, CHOICES_MAX, Choice, Order, Understood, questions, requests};
use homeostat_model::Target;

const SLOT_WORDS_MAX: usize = 8;
const REASON_CHARS_MAX: usize = 200;
const PARTS_MAX: usize = 12;

/// What a sentence may begin with that says nothing.
const POLITE: &[&str] = &[
    "hey|hi|hello|ok|okay|so|well|homeostat|and|then|also|alright",
    "could|can|would|will you",
    "i want|need you to",
    "i would like you to",
    "i would like|love to know",
    "i want|need to know",
    "i would like|love to",
    "i want|need to",
    "we want|need to",
    "we|you should",
    "let us",
    "go ahead and",
    "tell me",
    "let me know",
    "do you know",
    "good morning|evening|day",
];
const FILLERS: &[&str] = &[
    "please",
    "pls",
    "plz",
    "kindly",
    "just",
    "the",
    "my",
    "our",
    "now",
    "immediately",
    "really",
    "actually",
    "currently",
    "quickly",
    "asap",
    "thanks",
    "again",
];
const FILLER_PAIRS: &[(&str, &str)] =
    &[("right", "now"), ("right", "away"), ("at", "once"), ("for", "me"), ("thank", "you"), ("at", "moment")];
const CONNECTORS: &[&str] = &["and", "or", "then", "also", "plus", "nor"];
const NEGATIONS: &[&str] = &[
    "not", "never", "no", "without", "except", "avoid", "instead", "but", "nobody", "nothing", "none", "neither", "cancel", "forget",
    "undo",
];
const LATER: &[&str] = &[
    "if",
    "unless",
    "until",
    "till",
    "when",
    "whenever",
    "once",
    "while",
    "after",
    "before",
    "tonight",
    "tomorrow",
    "later",
    "soon",
    "daily",
    "weekly",
    "nightly",
    "hourly",
    "monthly",
    "every",
    "midnight",
    "noon",
    "overnight",
    "weekend",
    "during",
    "otherwise",
    "else",
    "provided",
    "assuming",
    "next",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "today",
    "morning",
    "evening",
    "whether",
    "because",
    "since",
];
const OPENERS: &[&str] = &[
    "what",
    "how",
    "why",
    "who",
    "when",
    "which",
    "where",
    "is",
    "are",
    "was",
    "were",
    "does",
    "did",
    "has",
    "have",
    "will",
    "may",
    "am",
    "explain",
    "show",
    "list",
    "whom",
    "status",
    "any",
    "predict",
    "forecast",
    "plan",
    "cost",
    "usage",
    "savings",
    "incidents",
];
/// Whether a token is one of `a|b|c`.
pub(super) fn is_one_of(token: &Token, alternatives: &str) -> bool {
    token.kind == TokenKind::Word && alternatives.split('|').any(|word| word == token.text)
}

/// What the slots of a pattern took.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots<'a> {
    pub x: &'a [Token],
    pub y: &'a [Token],
    pub n: Option<i64>,
}

/// Matches all tokens, or nothing.
pub(super) fn fit<'a>(pattern: &str, tokens: &'a [Token]) -> Option<Slots<'a>> {
    let parts: Vec<&str> = pattern.split(' ').collect();
    let mut slots = Slots::default();
    fit_from(&parts, tokens, &mut slots).then_some(slots)
}

fn fit_from<'a>(parts: &[&str], tokens: &'a [Token], slots: &mut Slots<'a>) -> bool {
    let Some((part, rest)) = parts.split_first() else { return tokens.is_empty() };
    match *part {
        "<x>" | "<y>" => (1..=tokens.len().min(SLOT_WORDS_MAX)).any(|len| {
            let (taken, left) = tokens.split_at(len);
            let fits = fit_from(rest, left, slots);
            if fits {
                *(if *part == "<x>" { &mut slots.x } else { &mut slots.y }) = taken;
            }
            fits
        }),
        "<n>" => {
            let Some((first, left)) = tokens.split_first() else { return false };
            let number = (first.kind == TokenKind::Word).then(|| words::number(&first.text)).flatten();
            slots.n = number.or(slots.n);
            number.is_some() && fit_from(rest, left, slots)
        }
        optional if optional.starts_with('[') => {
            let words = optional.trim_matches(['[', ']']);
            let taken = tokens.split_first().is_some_and(|(first, left)| is_one_of(first, words) && fit_from(rest, left, slots));
            taken || fit_from(rest, tokens, slots)
        }
        words => tokens.split_first().is_some_and(|(first, left)| is_one_of(first, words) && fit_from(rest, left, slots)),
    }
}

/// The tokens after the pattern's words, if they begin with it.
pub(super) fn after<'a>(pattern: &str, tokens: &'a [Token]) -> Option<&'a [Token]> {
    let parts: Vec<&str> = pattern.split(' ').collect();
    let (head, rest) = tokens.split_at_checked(parts.len())?;
    parts.iter().zip(head).all(|(part, token)| is_one_of(token, part)).then_some(rest)
}

pub(super) fn understand(text: &str, known: &Known) -> Understood {
    let Some(sentence) = words::sentence(text) else {
        return ask(format!("That is longer than {CHARS_MAX} characters. What is wanted, in one short sentence?"), Vec::new());
    };
    let read = requests::spelled_out(&sentence.tokens, known).unwrap_or_else(|| whole(&polished(sentence.tokens), known));
    match &read {
        Understood::Request(_) | Understood::HandsOff(_) if sentence.unshown => {
            let question = "The text holds characters that do not show, or more than one line. Is this what was meant?";
            ask(question.into(), choices_of(&read))
        }
        _ => read,
    }
}

/// Without what is only polite, without breaks at the ends.
fn polished(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let next = tokens.get(i + 1);
        // What follows is a reason: data, kept as it is.
        if tokens[i].is_any(&["because", "reason"]) {
            kept.extend_from_slice(&tokens[i..]);
            break;
        }
        if FILLER_PAIRS.iter().any(|(one, other)| tokens[i].is(one) && next.is_some_and(|next| next.is(other))) {
            i += 2;
            continue;
        }
        let repeats = tokens[i].is_break() && kept.last().is_none_or(Token::is_break);
        if !tokens[i].is_any(FILLERS) && !repeats {
            kept.push(tokens[i].clone());
        }
        i += 1;
    }
    while kept.last().is_some_and(Token::is_break) {
        kept.pop();
    }
    unwrapped(&kept).to_vec()
}

/// Without a polite beginning. `would you mind restarting` is left as `restarting`, which requests know.
fn unwrapped(mut tokens: &[Token]) -> &[Token] {
    loop {
        let shorter = match tokens.first() {
            Some(first) if first.is_break() => Some(&tokens[1..]),
            _ => after("would you mind", tokens).or_else(|| POLITE.iter().find_map(|polite| after(polite, tokens))),
        };
        match shorter {
            Some(rest) if !rest.is_empty() => tokens = rest,
            _ => return tokens,
        }
    }
}

fn whole(tokens: &[Token], known: &Known) -> Understood {
    let Some(first) = tokens.first() else { return unknown(tokens, known) };
    if let Some(order) = requests::hands_off(tokens) {
        return order;
    }
    let asks = first.is_any(OPENERS) || after("do we|you|i", tokens).is_some() || after("can|could i|we", tokens).is_some();
    if !asks {
        let fails = tokens.iter().any(|token| token.is_any(&["not", "nothing"]))
            && !tokens.iter().any(|token| token.is_break() || token.is_any(CONNECTORS));
        let complaint =
            if fails && first.is_any(&["do", "never", "not"]) { None } else { questions::complaint(tokens, known).filter(|_| fails) };
        if let Some(complaint) = complaint {
            return complaint;
        }
        if tokens.iter().any(|token| token.is_any(NEGATIONS)) {
            return ask("That says what is not to be done, and so nothing is requested. What is to be done?".into(), Vec::new());
        }
        if let Some(at) = later(tokens) {
            return conditional(tokens, at, known);
        }
    }
    let tokens = resources_joined(tokens);
    if tokens.iter().any(|token| token.is_break() || token.is_any(CONNECTORS)) { several(&tokens, known) } else { single(&tokens, known) }
}

/// `cpu and memory` is one thing to ask about.
fn resources_joined(tokens: &[Token]) -> Vec<Token> {
    let resource = |token: Option<&Token>| token.is_some_and(|token| questions::resource(token).is_some());
    let joins = |i: usize| {
        let token = &tokens[i];
        let pair = token.is_break() && tokens.get(i + 1).is_some_and(|next| next.is("and")) && resource(tokens.get(i + 2));
        (token.is_break() || token.is("and"))
            && i > 0
            && (resource(tokens.get(i - 1)) || (tokens[i - 1].is_break() && i > 1 && resource(tokens.get(i - 2))))
            && (resource(tokens.get(i + 1)) || pair)
    };
    (0..tokens.len()).filter(|i| !joins(*i)).map(|i| tokens[i].clone()).collect()
}

/// One thing: a question or a request, whichever reads it to its last word.
pub(super) fn single(tokens: &[Token], known: &Known) -> Understood {
    let tokens = unwrapped(tokens);
    let asks = tokens.first().is_some_and(|first| first.is_any(OPENERS));
    if let Some(order) = requests::hands_off(tokens) {
        return order;
    }
    if !asks && tokens.iter().any(|token| token.is_any(NEGATIONS)) {
        return unknown(tokens, known);
    }
    questions::may(tokens, known)
        .or_else(|| if asks { None } else { requests::read(tokens, known) })
        .or_else(|| questions::read(tokens, known))
        .or_else(|| questions::complaint(tokens, known))
        .unwrap_or_else(|| unknown(tokens, known))
}

/// Where a time or a condition begins, if there is one.
fn later(tokens: &[Token]) -> Option<usize> {
    let time = |token: &Token| token.text.starts_with(|c: char| c.is_ascii_digit()) || words::number(&token.text).is_some();
    (0..tokens.len()).find(|i| {
        let rest = &tokens[i + 1..];
        let lasts =
            |word: &Token| word.is_any(&["for", "in", "within"]) && (1..=3).any(|len| rest.get(..len).and_then(words::duration).is_some());
        let token = &tokens[*i];
        token.is_any(LATER)
            || lasts(token)
            || (token.is("at") && rest.first().is_some_and(time))
            || (token.is("as") && rest.first().is_some_and(|next| next.is("soon")))
    })
}

fn conditional(tokens: &[Token], at: usize, known: &Known) -> Understood {
    let parts = [&tokens[..at], tokens.rsplit(Token::is_break).next().unwrap_or_default()];
    let plain = parts
        .into_iter()
        .find(|part| !part.is_empty() && later(part).is_none() && !part.iter().any(|token| token.is_any(CONNECTORS) || token.is_break()));
    let read = plain.map(|part| single(part, known)).filter(|read| !matches!(read, Understood::AskBack { .. }));
    let choices = read.as_ref().map(choices_of).unwrap_or_default();
    let word = &tokens[at].raw;
    let question =
        format!("`{word}`: nothing is kept here for later or for a condition; a policy or a playbook does that. Now, or not at all?");
    ask(question, choices)
}

/// More than one thing is asked back, each by itself.
fn several(tokens: &[Token], known: &Known) -> Understood {
    if let Some(read) = requests::listed(tokens, known) {
        return read;
    }
    let parts = by_names(tokens, known).unwrap_or_else(|| {
        let part = |token: &Token| token.is_break() || token.is_any(CONNECTORS);
        tokens.split(part).filter(|part| !part.is_empty()).take(PARTS_MAX).map(<[Token]>::to_vec).collect()
    });
    if let [only] = parts.as_slice() {
        return single(only, known);
    }
    let mut choices: Vec<Choice> = Vec::new();
    for choice in parts.iter().flat_map(|part| choices_of(&single(part, known))) {
        if !choices.contains(&choice) {
            choices.push(choice);
        }
    }
    if choices.is_empty() {
        return unknown(tokens, known);
    }
    choices.truncate(CHOICES_MAX);
    ask("That is more than one thing, or a part of it was not understood. One at a time: which?".into(), choices)
}

/// `restart a, b and c` as `restart a`, `restart b`, `restart c`.
fn by_names(tokens: &[Token], known: &Known) -> Option<Vec<Vec<Token>>> {
    let joint = |i: usize| tokens.get(i).is_some_and(|token| token.is_break() || token.is_any(&["and", "or", "plus"]));
    let named = |range: &[Token]| {
        !range.iter().any(Token::is_break)
            && matches!(noun(range, known, Sought::Anything, false).found, Found::One(..) | Found::Several(_))
    };
    let first = (1..tokens.len()).find(|i| joint(*i))?;
    let start = (first.saturating_sub(3)..first).find(|start| named(&tokens[*start..first]))?;
    let mut names = vec![&tokens[start..first]];
    let mut end = first;
    while joint(end) {
        let from = if joint(end + 1) { end + 2 } else { end + 1 };
        let Some(to) = (from + 1..=(from + 3).min(tokens.len())).rev().find(|to| named(&tokens[from..*to])) else { break };
        names.push(&tokens[from..to]);
        end = to;
    }
    let whole = |name: &&[Token]| [&tokens[..start], name, &tokens[end..]].concat();
    let rest_joined = tokens[..start].iter().chain(&tokens[end..]).any(|token| token.is_break() || token.is_any(CONNECTORS));
    (names.len() > 1 && names.len() <= PARTS_MAX && !rest_joined).then(|| names.iter().map(whole).collect())
}

/// The words as they were written.
pub(super) fn said(tokens: &[Token]) -> String {
    let shown = tokens.iter().map(|token| if token.kind == TokenKind::Quoted { format!("\"{}\"", token.raw) } else { token.raw.clone() });
    shown.collect::<Vec<_>>().join(" ")
}

/// A person's reason, as data.
pub(super) fn reason(tokens: &[Token]) -> Option<String> {
    let mut text = String::new();
    for token in tokens {
        text.push_str(if text.is_empty() || token.is_break() { "" } else { " " });
        text.push_str(&token.raw);
    }
    let text: String = text.trim_matches([' ', ',']).chars().take(REASON_CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}

pub(super) fn ask(question: String, choices: Vec<Choice>) -> Understood {
    Understood::AskBack { question, choices }
}

/// An answer as choices: itself if it is one thing, its own choices if it asks back.
pub(super) fn choices_of(read: &Understood) -> Vec<Choice> {
    let (text, as_request) = match read {
        Understood::Question(asked) => (asked.said.clone(), questions::spelled(&asked.intent)),
        Understood::Request(wish) => (wish.said.clone(), requests::spelled(wish)),
        Understood::HandsOff(Order::Resume) => ("resume".to_owned(), "resume".to_owned()),
        Understood::HandsOff(Order::Pause { lasts, reason }) => {
            let lasts = lasts.map(|lasts| format!(" for {lasts}")).unwrap_or_default();
            let text = format!("pause{lasts}{}", reason.iter().map(|reason| format!(" because {reason}")).collect::<String>());
            (text.clone(), text)
        }
        Understood::AskBack { choices, .. } => return choices.clone(),
        Understood::Unknown { .. } => return Vec::new(),
    };
    let sayable = as_request.chars().count() <= CHARS_MAX;
    if sayable { vec![Choice { text, as_request }] } else { Vec::new() }
}

/// Examples of what can be asked in this house, those that share most words with the sentence first.
pub(super) fn unknown(tokens: &[Token], known: &Known) -> Understood {
    let one = |kinds: &[&str]| known.things().find(|target| kinds.contains(&target.kind())).map(Target::to_string);
    let node = one(&["node"]);
    let workload = one(&["deployment", "statefulset"]);
    let mut all: Vec<String> = ["status", "list incidents", "how much does this month cost", "show savings", "pause for 2 hours", "resume"]
        .map(str::to_owned)
        .into();
    let about = node.clone().or(workload.clone()).into_iter();
    all.extend(about.flat_map(|it| [format!("status of {it}"), format!("why {it}"), format!("how much power does {it} use")]));
    let can = [
        ("wake", "power.wake", &node),
        ("sleep", "power.sleep", &node),
        ("reboot", "power.reboot", &node),
        ("restart", "restart.rollout", &workload),
    ];
    let able = |verb: &str, on: &str| known.verb(verb).is_some_and(|spec| requests::accepts(spec, &Target::from(on)));
    all.extend(can.iter().filter_map(|(word, verb, on)| on.as_ref().filter(|on| able(verb, on)).map(|on| format!("{word} {on}"))));
    let shared = |example: &String| {
        example.split([' ', '/']).filter(|word| tokens.iter().any(|token| token.text == *word && token.text.len() > 2)).count()
    };
    all.sort_by_key(|example| std::cmp::Reverse(shared(example)));
    all.truncate(CHOICES_MAX);
    Understood::Unknown { nearest: all }
}
