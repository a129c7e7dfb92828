//! Who may do what: the rest of the sentence is read as a request, and only its verb and target are taken.
//!
//! Deliberately absent: the answer, and the request. An editor breaks this by handing on the request that was read.

use super::asked;
use crate::ask::grammar::{after, ask, choices_of, fit, is_one_of, said};
use crate::ask::known::{Found, Known, Named, Sought};
use crate::ask::noun::noun;
use crate::ask::requests;
use crate::ask::words::{Token, TokenKind};
use crate::ask::{Choice, Intent, May, Understood, Who};
use homeostat_model::Verb;

pub(super) fn spelled_may(who: &Who, what: &May) -> String {
    let what = match what {
        May::Anything => "do anything".to_owned(),
        May::Approve => "approve".to_owned(),
        May::HandsOff => "pause".to_owned(),
        May::Act { verbs, target } => {
            let verbs = verbs.iter().map(Verb::as_str).collect::<Vec<_>>().join("|");
            format!("{verbs}{}", target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default())
        }
    };
    match who {
        Who::Anyone => format!("who may {what}"),
        Who::Me => format!("may i {what}"),
        Who::Person(name) => format!("may person {name} {what}"),
        Who::Team(name) => format!("may team {name} {what}"),
    }
}

/// `who may restart postgres`, `may anna wake muscle`, `what may i do`.
pub(in crate::ask) fn may(tokens: &[Token], known: &Known) -> Option<Understood> {
    const ANYONE: &[&str] =
        &["who may|can|could", "who is allowed|permitted|able to", "who has right|rights|permission to", "who are allowed to"];
    const ME: &[&str] = &["may|can|could i|we", "am i allowed|permitted to", "are we allowed to"];
    if ["what may|can|could i|we do", "what am i allowed|permitted to do", "what may|can|could i|we do here"]
        .iter()
        .any(|pattern| fit(pattern, tokens).is_some())
    {
        return Some(asked(Intent::WhoMay { who: Who::Me, what: May::Anything }, ""));
    }
    if let Some(rest) = ANYONE.iter().find_map(|pattern| after(pattern, tokens)) {
        return Some(may_what(Who::Anyone, rest, known));
    }
    if let Some(rest) = ME.iter().find_map(|pattern| after(pattern, tokens)) {
        return Some(may_what(Who::Me, rest, known));
    }
    let person = |tokens: &[Token]| -> Option<(Who, usize)> {
        let skip = usize::from(tokens.first()?.is_any(&["person", "team"]));
        let teams = tokens[0].is("team");
        let named = known.exact(&tokens.get(skip)?.text);
        let one = named.iter().find_map(|named| match named {
            Named::Person(name) if !teams => Some(Who::Person(name.clone())),
            Named::Team(name) if teams || skip == 0 => Some(Who::Team(name.clone())),
            _ => None,
        })?;
        let team = skip == 0 && matches!(one, Who::Team(_)) && tokens.get(1).is_some_and(|next| next.is("team"));
        Some((one, skip + 1 + usize::from(team)))
    };
    if let Some(rest) = after("what may|can|could|is", tokens) {
        let (who, len) = person(rest)?;
        let all = ["do", "allowed to do", "permitted to do"].iter().any(|pattern| fit(pattern, &rest[len..]).is_some());
        return all.then(|| asked(Intent::WhoMay { who, what: May::Anything }, ""));
    }
    let rest = after("may|can|could|is", tokens)?;
    let (who, len) = person(rest)?;
    let rest = &rest[len..];
    let rest = if tokens[0].is("is") { after("allowed|permitted|able to", rest)? } else { rest };
    Some(may_what(who, rest, known))
}

fn may_what(who: Who, rest: &[Token], known: &Known) -> Understood {
    let rest = if rest.last().is_some_and(|last| last.is("here")) { &rest[..rest.len() - 1] } else { rest };
    let answer = |what: May, note: &str| asked(Intent::WhoMay { who: who.clone(), what }, note);
    let fits = |patterns: &[&str]| patterns.iter().any(|pattern| fit(pattern, rest).is_some());
    if fits(&["do anything|something|what|everything|things", "act", "do"]) {
        return answer(May::Anything, "");
    }
    if fits(&["approve", "approve actions|things|it|that|proposals|this", "answer approvals", "say yes"]) {
        return answer(May::Approve, "");
    }
    if let Some(Understood::HandsOff(_)) = requests::hands_off(rest) {
        return answer(May::HandsOff, "");
    }
    if let Some(found) = by_verbs(rest, known) {
        return found.map_or_else(|read| read, |what| answer(what, ""));
    }
    let read = requests::read(rest, known);
    if let Some(Understood::Request(wish)) = &read {
        let (_, note) = wish.said.split_once("; ").unwrap_or_default();
        return answer(May::Act { verbs: vec![wish.verb.clone()], target: Some(wish.target.clone()) }, note);
    }
    if let Some(x) = fit("scale [up|down] <x>", rest).map(|slots| slots.x)
        && let Found::One(Named::Thing(target), _) = noun(x, known, Sought::Anything, false).found
    {
        let scales = known.verbs().filter(|spec| spec.verb.actuator() == "scale" && requests::accepts(spec, &target));
        let verbs: Vec<Verb> = scales.map(|spec| spec.verb.clone()).collect();
        if !verbs.is_empty() {
            return answer(May::Act { verbs, target: Some(target) }, "");
        }
    }
    let whatever = rest.last().is_some_and(|last| {
        is_one_of(
            last,
            "it|things|anything|something|nodes|machines|servers|services|pods|workloads|stuff|disks|disk|filesystems|backups|backup|environments|environment|node|machine|service|pod|deployments",
        )
    });
    let general = if whatever { &rest[..rest.len() - 1] } else { rest };
    let environments = rest.last().is_some_and(|last| is_one_of(last, "environments|environment"));
    let kratix = if general.iter().any(|token| is_one_of(token, "delete|remove|destroy")) { "kratix.delete" } else { "kratix.apply" };
    let makes = general.len() == 1 && is_one_of(&general[0], "delete|remove|destroy|create|make|order|request");
    if let (true, true, Some(spec)) = (environments, makes, known.verb(kratix)) {
        return answer(May::Act { verbs: vec![spec.verb.clone()], target: None }, "");
    }
    let verbs: Vec<Verb> = if whatever || read.is_none() {
        requests::verbs_of(general, known).into_iter().map(|spec| spec.verb).collect()
    } else {
        Vec::new()
    };
    if !verbs.is_empty() {
        return answer(May::Act { verbs, target: None }, "");
    }
    let rephrased = |choice: Choice| {
        let beginning = spelled_may(&who, &May::Anything);
        let beginning = beginning.trim_end_matches("do anything");
        let verb = choice.as_request.split(' ').next().is_some_and(|verb| known.verb(verb).is_some());
        let plain = verb && !choice.as_request.contains('=');
        plain.then(|| Choice { text: format!("{beginning}{}", choice.as_request), as_request: format!("{beginning}{}", choice.as_request) })
    };
    match read {
        Some(Understood::AskBack { question, choices }) => ask(question, choices.into_iter().filter_map(rephrased).collect()),
        _ => ask(format!("`{}` is nothing that can be done here. Who may do what?", said(rest)), choices_of(&answer(May::Anything, ""))),
    }
}

/// `power.wake|power.on on node/muscle`: verbs by their names.
fn by_verbs(tokens: &[Token], known: &Known) -> Option<Result<May, Understood>> {
    let (first, rest) = tokens.split_first().filter(|(first, _)| first.kind == TokenKind::Word && first.text.contains('.'))?;
    let verbs: Option<Vec<Verb>> = first.raw.split('|').map(|name| known.verb(name).map(|spec| spec.verb.clone())).collect();
    let verbs = verbs?;
    let rest = if rest.first().is_some_and(|token| token.is("on")) { &rest[1..] } else { rest };
    if rest.is_empty() {
        return Some(Ok(May::Act { verbs, target: None }));
    }
    Some(match noun(rest, known, Sought::Thing(&|_| true), false).found {
        Found::One(Named::Thing(target), _) => Ok(May::Act { verbs, target: Some(target) }),
        _ => Err(ask(format!("`{}` is nothing that is known here.", said(rest)), Vec::new())),
    })
}
