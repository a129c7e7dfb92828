//! A noun of a sentence: the words for one thing, with its kind and its namespace perhaps.
//!
//! Deliberately absent: what is done with it. An editor breaks this by letting `it`, `everything` or a bare kind name anything.

use super::grammar::{is_one_of, said};
use super::known::{Found, Known, Match, Named, Sought, is_article};
use super::words::{Token, TokenKind};

const VAGUE: &[&str] = &[
    "all",
    "everything",
    "every",
    "each",
    "both",
    "any",
    "anything",
    "some",
    "something",
    "it",
    "that",
    "this",
    "them",
    "they",
    "those",
    "these",
    "things",
    "stuff",
    "thing",
    "one",
];
/// The words for a kind of thing, and the kinds that may be meant.
const KINDS: &[(&str, &[&str])] = &[
    ("node|nodes|machine|host|server|box|computer", &["node"]),
    ("deployment", &["deployment"]),
    ("statefulset", &["statefulset"]),
    ("daemonset", &["daemonset"]),
    ("workload", &["deployment", "statefulset", "daemonset"]),
    ("app|application|program", &["application", "deployment", "statefulset", "container"]),
    ("pod", &["pod"]),
    ("service", &["service", "deployment", "statefulset", "container"]),
    ("container", &["container"]),
    ("vm|guest", &["guest"]),
    ("namespace", &["namespace"]),
    ("backup", &["backup"]),
    ("disk|drive", &["disk", "filesystem"]),
    ("filesystem|volume", &["filesystem"]),
    ("certificate|cert", &["certificate"]),
    ("environment|promise", &["promise"]),
    ("cluster", &["cluster"]),
];

/// A name in a sentence and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Noun {
    /// The words, as they were said.
    pub words: String,
    /// Whether they name nothing in particular: `it`, `everything`.
    pub vague: bool,
    /// What they name.
    pub found: Found,
}

impl Noun {
    /// Which name was taken, where it was not said as it is.
    pub fn note(&self) -> String {
        match &self.found {
            Found::One(named, Match::Prefix) => format!("`{}` was taken for {}, the only name that begins so", self.words, named.said()),
            Found::One(named, Match::Near) => format!("`{}` was taken for {}, the only name so near", self.words, named.said()),
            _ => String::new(),
        }
    }
}

/// Finds what these tokens name: `muscle`, `node muscle`, `web in home`, `deployment/home/web`.
pub(super) fn noun(tokens: &[Token], known: &Known, sought: Sought, exact_only: bool) -> Noun {
    let kept: Vec<&Token> = tokens.iter().filter(|token| token.kind != TokenKind::Word || !is_article(&token.text)).collect();
    let words = said(tokens);
    if kept.is_empty() || kept.iter().any(|token| token.is_break()) {
        return Noun { words, vague: false, found: Found::Nothing };
    }
    let kinds_of = |token: &Token| {
        KINDS
            .iter()
            .find(|(names, _)| {
                is_one_of(token, names) || (token.text.ends_with('s') && names.split('|').any(|name| token.is(&format!("{name}s"))))
            })
            .map(|(_, kinds)| *kinds)
    };
    let vague = kept.iter().all(|token| token.is_any(VAGUE) || kinds_of(token).is_some());
    let quantified = kept[0].is_any(VAGUE);
    let find = |part: &[&Token], kinds: Option<&[&str]>, space: Option<&str>| {
        let quoted = part.iter().any(|token| token.kind == TokenKind::Quoted);
        let key = part.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ");
        if part.is_empty() || (quoted && part.len() > 1) || part.iter().any(|token| token.is_any(VAGUE)) {
            return Found::Nothing;
        }
        known.find(&key, quoted || exact_only, &sought, &|named| {
            let Named::Thing(target) = named else { return kinds.is_none() && space.is_none() && sought.fits(named) };
            let kind = kinds.is_none_or(|kinds| kinds.contains(&target.kind()));
            let place = space.is_none_or(|space| target.name().split_once('/').is_some_and(|(first, _)| first == space));
            kind && place && sought.fits(named)
        })
    };
    let lost = |found: &Found| matches!(found, Found::Nothing);
    let mut found = find(&kept, None, None);
    // `the node` is no beginning of somebody's name.
    if vague && !matches!(found, Found::One(_, Match::Exact)) {
        return Noun { words, vague: true, found: Found::Nothing };
    }
    let (mut part, mut space) = (kept.as_slice(), None);
    if let (true, Some(at)) = (lost(&found), kept.iter().rposition(|token| token.is("in"))) {
        let place = if kept.get(at + 1).is_some_and(|token| token.is("namespace")) { &kept[at + 2..] } else { &kept[at + 1..] };
        if let ([place], true) = (place, at > 0) {
            (part, space) = (&kept[..at], Some(place.text.as_str()));
            found = find(part, None, space);
        }
    }
    if let (true, [first, rest @ ..]) = (lost(&found), part)
        && let (Some(kinds), false) = (kinds_of(first), rest.is_empty())
    {
        found = find(rest, Some(kinds), space);
    }
    if let (true, [first, of, rest @ ..]) = (lost(&found), part)
        && let (Some(kinds), true, false) = (kinds_of(first), of.is("of"), rest.is_empty())
    {
        found = find(rest, Some(kinds), space);
    }
    if let (true, [rest @ .., last]) = (lost(&found), part)
        && let (Some(kinds), false) = (kinds_of(last), rest.is_empty())
    {
        found = find(rest, Some(kinds), space);
    }
    Noun { words, vague: quantified, found: if quantified { Found::Nothing } else { found } }
}
