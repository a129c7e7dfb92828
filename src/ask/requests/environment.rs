//! Environments: requests of Kratix Promises, made and deleted by name.
//!
//! The type must exist, the size must be configured, a new name must be free and an old one exact. Deliberately absent: specs from text;
//! only configured sizes are made. An editor breaks this by deleting what was only nearly named.

use super::{accepts, quoted, wish};
use crate::ask::grammar::{ask, choices_of, is_one_of};
use crate::ask::known::{Environment, Known, Sought, is_article};
use crate::ask::words::{self, Token, TokenKind};
use crate::ask::{CHOICES_MAX, Choice, Understood};
use homeostat_model::{Arg, Args, Target};

const KIND: &str = "environment|env|environments|sandbox|instance|database|db";

/// What was said about an environment.
#[derive(Debug, Default)]
struct Said {
    kind: bool,
    promise: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    size: Option<String>,
    bytes: Option<u64>,
    left: Vec<Token>,
}

pub(super) fn read(tokens: &[Token], known: &Known) -> Option<Understood> {
    let (first, rest) = tokens.split_first()?;
    let two = |one: &str, other: &str| first.is(one) && rest.first().is_some_and(|next| next.is(other));
    let makes = |rest| Some(create(&parse(rest, known), known)).filter(|_| concerns(rest, known));
    if two("spin", "up")
        || two("set", "up")
        || two("stand", "up")
        || two("get", "me")
        || two("give", "me")
        || two("i", "need")
        || two("i", "want")
    {
        return makes(&rest[1..]);
    }
    if is_one_of(first, "create|make|order|request|provision|new|launch|need") {
        return makes(rest);
    }
    let rest = if two("tear", "down") || two("take", "down") {
        &rest[1..]
    } else if two("get", "rid") && rest.get(1).is_some_and(|next| next.is("of")) {
        &rest[2..]
    } else if is_one_of(first, "delete|remove|destroy|drop|erase|decommission") {
        rest
    } else {
        return None;
    };
    if let ([kind, pod @ ..], Some(spec)) = (rest, known.verb("pod.delete"))
        && kind.is("pod")
    {
        let can = |target: &Target| accepts(spec, target);
        let noun = crate::ask::noun::noun(pod, known, Sought::Thing(&can), false);
        return Some(super::settle(&noun, "delete {}", known, &can, &|target| wish(spec, target, Args::new(), &noun.note(), known)));
    }
    Some(delete(rest, &parse(rest, known), known))
}

/// Whether it is about environments at all.
fn concerns(tokens: &[Token], known: &Known) -> bool {
    tokens.iter().any(|token| is_one_of(token, KIND) || known.environments().contains_key(&token.text))
}

fn parse(tokens: &[Token], known: &Known) -> Said {
    let mut said = Said::default();
    let mut i = 0;
    while i < tokens.len() {
        let (token, next) = (&tokens[i], tokens.get(i + 1));
        let taken = |slot: &mut Option<String>, value: &Token| slot.is_none().then(|| *slot = Some(value.raw.clone()));
        let plain = token.kind == TokenKind::Word;
        i += 1;
        let bytes = [2, 1].into_iter().find_map(|len| Some((words::size_bytes(tokens.get(i - 1..i - 1 + len)?)?, len)));
        let used = match (token, next) {
            (token, Some(value)) if is_one_of(token, "called|named|name") && !value.is_break() => taken(&mut said.name, value).map(|()| 1),
            (token, Some(value)) if is_one_of(token, "type|kind|promise") && !value.is_break() => said.promise_is(value, known).map(|()| 1),
            (token, Some(value)) if token.is("namespace") && !value.is_break() => taken(&mut said.namespace, value).map(|()| 1),
            (token, Some(value)) if token.is("in") && !value.is("namespace") && !value.is_break() => {
                taken(&mut said.namespace, value).map(|()| 1)
            }
            (token, Some(value)) if token.is("size") && !value.is("of") && !value.is_break() => taken(&mut said.size, value).map(|()| 1),
            (token, _) if is_one_of(token, KIND) => {
                // A type may be called `database`; otherwise the word says only what it is about.
                if said.promise.is_none() {
                    said.promise_is(token, known);
                }
                said.kind = true;
                Some(0)
            }
            (token, _)
                if plain
                    && (is_article(&token.text) || is_one_of(token, "of|in|with|and|storage|disk|space|as|new|me|us|sized|size|for")) =>
            {
                Some(0)
            }
            (_, _) if plain && bytes.is_some() && said.bytes.is_none() => {
                said.bytes = bytes.map(|(bytes, _)| bytes);
                bytes.map(|(_, len)| len - 1)
            }
            (token, _) if plain && said.promise.is_none() && known.environments().contains_key(&token.text) => {
                said.promise_is(token, known).map(|()| 0)
            }
            (token, _) if plain && said.size.is_none() && known.environments().values().any(|one| one.sizes.contains_key(&token.text)) => {
                taken(&mut said.size, token).map(|()| 0)
            }
            (token, _) if !token.is_break() && said.kind => taken(&mut said.name, token).map(|()| 0),
            _ => None,
        };
        match used {
            Some(used) => i += used,
            None => said.left.push(token.clone()),
        }
    }
    said
}

impl Said {
    fn promise_is(&mut self, token: &Token, known: &Known) -> Option<()> {
        let exists = known.environments().contains_key(&token.text) && self.promise.is_none();
        exists.then(|| self.promise = Some(token.text.clone()))
    }
}

fn create(said: &Said, known: &Known) -> Understood {
    let all = known.environments();
    let Some(spec) = known.verb("kratix.apply").filter(|_| !all.is_empty()) else {
        return ask("Nobody can make environments here: there is no `kratix.apply`, or no Promise is known.".into(), Vec::new());
    };
    if !said.left.is_empty() {
        return ask(
            format!(
                "{} was not understood. An environment has a type, a name, perhaps a size and a namespace: `create environment demo of type {}`.",
                quoted(&said.left),
                first(known)
            ),
            Vec::new(),
        );
    }
    let named = said.name.as_deref().filter(|name| is_label(name));
    let Some(name) = named else {
        let question = said.name.as_ref().map_or("What is it to be called?".to_owned(), |name| {
            format!("`{name}` cannot be a name: expected small letters, digits and `-`, at most 63.")
        });
        return ask(
            format!("{question} As in `create environment demo of type {}`.", said.promise.clone().unwrap_or_else(|| first(known))),
            Vec::new(),
        );
    };
    let make = |promise: &str, environment: &Environment, size: &str| {
        let namespace = said.namespace.as_ref().unwrap_or(&environment.namespace);
        if !is_label(namespace) {
            return ask(format!("`{namespace}` cannot be a namespace."), Vec::new());
        }
        if environment.requests.contains(&(namespace.clone(), name.to_owned())) {
            return ask(format!("There is a {promise} called {namespace}/{name} already. What is the new one to be called?"), Vec::new());
        }
        let Some(body) = environment.sizes.get(size).map(|size| size.spec.clone()) else {
            return ask(format!("{promise} has no size `{size}`."), Vec::new());
        };
        let args = Args::from(
            [("name", name), ("namespace", namespace.as_str()), ("spec", body.as_str())]
                .map(|(name, text)| (name.to_owned(), Arg::Text(text.to_owned()))),
        );
        wish(spec, &promise_target(promise, known), args, "", known)
    };
    let sized = |promise: &str, environment: &Environment| -> Vec<Choice> {
        environment.sizes.keys().flat_map(|size| choices_of(&make(promise, environment, size))).take(CHOICES_MAX).collect()
    };
    let Some((promise, environment)) = said.promise.as_ref().and_then(|promise| all.get_key_value(promise)) else {
        let choices = all.iter().flat_map(|(promise, environment)| sized(promise, environment)).take(CHOICES_MAX).collect();
        return ask(
            format!("Of which type is {name} to be? There are: {}.", all.keys().take(20).cloned().collect::<Vec<_>>().join(", ")),
            choices,
        );
    };
    let by_bytes =
        said.bytes.map(|bytes| environment.sizes.iter().find(|(_, size)| size.bytes == Some(bytes)).map(|(name, _)| name.clone()));
    let by_name = said.size.as_ref().map(|size| Some(size.to_lowercase()).filter(|size| environment.sizes.contains_key(size)));
    match (by_name, by_bytes) {
        (Some(Some(size)), None) | (None, Some(Some(size))) => make(promise, environment, &size),
        (None, None) if environment.size_default.is_some() => {
            make(promise, environment, environment.size_default.as_deref().unwrap_or_default())
        }
        _ => {
            let sizes = environment.sizes.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
            ask(format!("Which size of {promise} is wanted? There are: {sizes}."), sized(promise, environment))
        }
    }
}

fn delete(tokens: &[Token], said: &Said, known: &Known) -> Understood {
    let Some(spec) = known.verb("kratix.delete") else {
        return ask("Nobody can delete anything but pods here: there is no `kratix.delete`.".into(), Vec::new());
    };
    let name = match (&said.name, said.left.as_slice()) {
        (Some(name), []) => name.to_lowercase(),
        (None, [only]) if !only.is_break() => only.text.clone(),
        _ => {
            return ask(
                format!("{} names no single environment, and only one can be deleted, by its exact name.", quoted(tokens)),
                Vec::new(),
            );
        }
    };
    let (space, name) =
        name.split_once('/').map_or((said.namespace.clone(), name.clone()), |(space, name)| (Some(space.to_owned()), name.to_owned()));
    let each = known.environments().iter().filter(|(promise, _)| said.promise.as_ref().is_none_or(|wanted| wanted == *promise));
    let all: Vec<(&String, &(String, String))> =
        each.flat_map(|(promise, environment)| environment.requests.iter().map(move |request| (promise, request))).collect();
    let make = |(promise, (namespace, name)): &(&String, &(String, String))| {
        let args = Args::from([("name", name), ("namespace", namespace)].map(|(key, text)| (key.to_owned(), Arg::Text(text.clone()))));
        wish(spec, &promise_target(promise, known), args, "", known)
    };
    let exact: Vec<_> =
        all.iter().filter(|(_, (namespace, request))| *request == name && space.as_ref().is_none_or(|space| space == namespace)).collect();
    match exact.as_slice() {
        [only] if said.size.is_none() && said.bytes.is_none() => make(only),
        [] => {
            let near =
                all.iter().filter(|(_, (_, request))| crate::ask::known::distance(request, &name, 3) < 3 || request.starts_with(&name));
            let choices = near.flat_map(|request| choices_of(&make(request))).take(CHOICES_MAX).collect();
            ask(format!("There is no environment called `{name}` there, and nothing else can be deleted so. Which one is meant?"), choices)
        }
        several => ask(
            "Which one is to be deleted?".into(),
            several.iter().flat_map(|request| choices_of(&make(request))).take(CHOICES_MAX).collect(),
        ),
    }
}

/// The Promise as it is known; names are read in small letters.
fn promise_target(promise: &str, known: &Known) -> Target {
    let like = |target: &&Target| target.kind() == "promise" && target.name().to_lowercase() == promise;
    known.things().find(like).cloned().unwrap_or_else(|| Target::from(format!("promise/{promise}")))
}

fn first(known: &Known) -> String {
    known.environments().keys().next().cloned().unwrap_or_default()
}

/// A DNS label (RFC 1123): what Kubernetes takes as a name.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && text.starts_with(outer) && text.ends_with(outer)
}
