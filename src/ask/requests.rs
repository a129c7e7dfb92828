//! Requests: which sentence means which verb, to what, with which arguments.
//!
//! A playbook whose name or first clause says the same comes first, then the verb that is made for it, then a configured command of
//! that name. Deliberately absent: verbs and targets that are not known; a wish is made in one place, `wish`, from both. An editor
//! breaks this by ignoring a word of the sentence, or by filling in an argument that nobody said and no target implies.

use super::grammar::{after, ask, choices_of, fit, is_one_of, reason, said};
use super::known::{Found, Known, Named, Sought};
use super::noun::{Noun, noun};
use super::words::{self, Token, TokenKind};
use super::{CHOICES_MAX, Choice, Order, Understood, Wish};
use homeostat_model::{Arg, ArgKind, ArgSpec, Args, Class, Target, VerbSpec};
use std::collections::BTreeMap;

mod deeds;
mod environment;
mod scale;

use deeds::{DEEDS, Deed, GERUNDS, PAUSE, RESUME, TURN_ON};

/// Hands-off or its end. A reason after `because` is data, whatever it says.
pub(super) fn hands_off(tokens: &[Token]) -> Option<Understood> {
    if RESUME.iter().any(|pattern| fit(pattern, tokens).is_some()) {
        return Some(Understood::HandsOff(Order::Resume));
    }
    let cut = tokens.iter().position(|token| token.is_any(&["because", "since", "reason"]));
    let (mut head, why) = cut.map_or((tokens, None), |at| (&tokens[..at], reason(&tokens[at + 1..])));
    while head.last().is_some_and(|last| last.is_break() || last.is("with")) {
        head = &head[..head.len() - 1];
    }
    let lengths = (0..head.len().min(6)).rev();
    let (end, span) = lengths.filter_map(|len| Some((head.len() - len, words::duration(&head[head.len() - len..])?))).next().unzip();
    let mut order = &head[..end.unwrap_or(head.len())];
    if let ([rest @ .., last], true) = (order, span.is_some())
        && last.is("for")
    {
        order = rest;
    }
    if PAUSE.iter().any(|pattern| fit(pattern, order).is_some()) {
        return Some(Understood::HandsOff(Order::Pause { reason: why, lasts: span }));
    }
    let rest = after("pause", tokens)?;
    let plain = !rest.iter().any(|token| {
        token.is_break() || token.is_any(&["and", "then", "or", "until", "if", "unless", "not", "when", "tonight", "tomorrow"])
    });
    let words = after("for", rest).filter(|rest| plain && !rest.iter().any(|token| words::number(&token.text).is_some()));
    if let Some(reason) = words.and_then(reason) {
        return Some(Understood::HandsOff(Order::Pause { reason: Some(reason), lasts: None }));
    }
    let pause = Choice { text: "pause: nothing at all is sent until it is lifted".into(), as_request: "pause".into() };
    Some(ask(
        "A pause holds for everything, from now, for a length of time or until `resume`; a reason goes after `because`. Pause?".into(),
        vec![pause],
    ))
}

/// A request, or what to ask back; `None` where no sentence of this kind is seen.
pub(super) fn read(tokens: &[Token], known: &Known) -> Option<Understood> {
    let tokens = &plainly(tokens)[..];
    if let Some(read) = scale::read(tokens, known) {
        return Some(read);
    }
    // `clean up`, `restart`: nothing is named, and no word of the sentence itself is a name.
    let with = [tokens, &[Token::word("it")]].concat();
    let bare = |deed: &&&Deed| deed.patterns.iter().any(|pattern| fit(pattern, &with).is_some_and(|slots| slots.x.len() == 1));
    if let Some(deed) = DEEDS.iter().find(bare) {
        return Some(act(deed, &with[tokens.len()..], known));
    }
    for deed in DEEDS {
        if let Some(slots) = deed.patterns.iter().find_map(|pattern| fit(pattern, tokens)) {
            return Some(act(deed, slots.x, known));
        }
    }
    environment::read(tokens, known)
        .or_else(|| experiment(tokens, known))
        .or_else(|| by_verb_name(tokens, known))
        .or_else(|| stop(tokens, known))
}

/// A list of what belongs to one request: `create environment demo of type redis, size large`.
pub(super) fn listed(tokens: &[Token], known: &Known) -> Option<Understood> {
    let joined: Vec<Token> = tokens.iter().filter(|token| !token.is_break()).cloned().collect();
    let apart = joined.iter().any(|token| token.is_any(&["and", "or", "then", "also", "plus", "nor"]));
    let read = if apart { None } else { environment::read(&plainly(&joined), known) };
    read.filter(|read| matches!(read, Understood::Request(_)))
}

/// Without articles (where they are no number), and `restarting` as `restart`.
fn plainly(tokens: &[Token]) -> Vec<Token> {
    let article = |i: usize| {
        let measured = tokens.get(i + 1).is_some_and(|next| words::duration(&[Token::word("1"), next.clone()]).is_some());
        tokens[i].is_any(&["a", "an"]) && !measured
    };
    let mut kept: Vec<Token> = (0..tokens.len()).filter(|i| !article(*i)).map(|i| tokens[i].clone()).collect();
    if let Some(first) = kept.first_mut()
        && let Some((_, plain)) = GERUNDS.iter().find(|(gerund, _)| first.is(gerund))
    {
        *first = Token::word(plain);
    }
    kept
}

/// Which deed a sentence without a target says: `restart`, `reboot nodes`.
pub(super) fn verbs_of(tokens: &[Token], known: &Known) -> Vec<VerbSpec> {
    let with = [&plainly(tokens)[..], &[Token::word("it")]].concat();
    let without = plainly(tokens);
    let deed =
        DEEDS.iter().find(|deed| deed.patterns.iter().any(|pattern| fit(pattern, &with).or_else(|| fit(pattern, &without)).is_some()));
    deed.map(|deed| known.verbs().filter(|spec| deed.verbs.contains(&spec.verb.as_str()) || is_called(deed, spec)).cloned().collect())
        .unwrap_or_default()
}

pub(super) fn accepts(spec: &VerbSpec, target: &Target) -> bool {
    let kind = spec.target_kinds.is_empty() || spec.target_kinds.iter().any(|kind| kind == target.kind());
    kind && spec.targets.as_ref().is_none_or(|targets| targets.contains(target))
}

/// Whether a playbook or a configured command says that it does the deed.
fn is_called(deed: &Deed, spec: &VerbSpec) -> bool {
    let Some((actuator, name)) = spec.verb.as_str().split_once('.') else { return false };
    let parts: Vec<&str> = name.split(['-', '_']).collect();
    let neutral = |part: &str| spec.target_kinds.iter().any(|kind| kind == part) || matches!(part, "a" | "the" | "disk" | "node");
    let named = |called: &str| {
        let words: Vec<&str> = called.split(' ').collect();
        words.iter().all(|word| parts.contains(word)) && parts.iter().all(|part| words.contains(part) || neutral(part))
    };
    let clause = spec.doc.split([',', '.', ';', ':']).next().unwrap_or_default().to_lowercase();
    let said: Vec<&str> = clause.split_whitespace().map(|word| word.trim_end_matches('s')).collect();
    let described = |called: &str| {
        let words: Vec<&str> = called.split(' ').collect();
        actuator == "playbook" && said.first() == words.first() && words.iter().all(|word| said.contains(word)) && said.len() <= 8
    };
    matches!(actuator, "playbook" | "exec" | "http") && deed.called.iter().any(|called| named(called) || described(called))
}

/// The verbs for a deed on a target: the best kind of means only; more than one where nothing tells them apart.
fn means<'a>(deed: &Deed, target: &Target, known: &'a Known) -> Vec<&'a VerbSpec> {
    let own = |spec: &&VerbSpec| accepts(spec, target) && is_called(deed, spec) && missing(spec, &implied(spec, target)).is_empty();
    let playbooks: Vec<&VerbSpec> =
        known.verbs().filter(|spec| spec.verb.actuator() == "playbook" && !spec.target_kinds.is_empty()).filter(own).collect();
    if !playbooks.is_empty() {
        return playbooks;
    }
    if let Some(made) = deed.verbs.iter().filter_map(|verb| known.verb(verb)).find(|spec| accepts(spec, target)) {
        return vec![made];
    }
    known.verbs().filter(|spec| spec.verb.actuator() != "playbook").filter(own).collect()
}

fn act(deed: &Deed, x: &[Token], known: &Known) -> Understood {
    let can = |target: &Target| !means(deed, target, known).is_empty();
    let noun = noun(x, known, Sought::Thing(&can), false);
    let make = |target: &Target| {
        let means = means(deed, target, known);
        let choices = || means.iter().flat_map(|spec| choices_of(&wish(spec, target, Args::new(), "", known))).collect();
        match means.as_slice() {
            [only] => wish(only, target, Args::new(), &noun.note(), known),
            _ => ask(format!("Several can {}. Which?", deed.shown.replace("{}", target.as_str())), choices()),
        }
    };
    settle(&noun, deed.shown, known, &can, &make)
}

/// From a noun to an answer: one target is made a wish of, several are choices, none is said.
fn settle(noun: &Noun, shown: &str, known: &Known, can: &dyn Fn(&Target) -> bool, make: &dyn Fn(&Target) -> Understood) -> Understood {
    let on = |words: &str| shown.replace("{}", words);
    let choices = |targets: Vec<&Target>| -> Vec<Choice> {
        targets.into_iter().flat_map(|target| choices_of(&make(target))).take(CHOICES_MAX).collect()
    };
    let things = |named: &[Named]| -> Vec<Target> {
        named.iter().filter_map(|named| if let Named::Thing(target) = named { Some(target.clone()) } else { None }).collect()
    };
    match &noun.found {
        _ if noun.vague => {
            let able: Vec<&Target> = known.things().filter(|target| can(target)).take(CHOICES_MAX + 1).collect();
            let few = if able.len() <= CHOICES_MAX { choices(able) } else { Vec::new() };
            ask(format!("`{}` names no single thing, and one is needed to {}. Which one?", noun.words, on("it")), few)
        }
        Found::One(Named::Thing(target), _) => make(target),
        Found::Several(named) => {
            let targets = things(named);
            ask(format!("`{}` can be several things. Which one?", noun.words), choices(targets.iter().collect()))
        }
        Found::One(..) => ask(format!("`{}` is nothing that one can {}.", noun.words, on("act on")), Vec::new()),
        Found::Unfit(named) => unfit(&things(named), &noun.words, shown, known, can, make),
        Found::Nothing => {
            let targets: Vec<Target> = things(&known.nearest(&noun.words)).into_iter().filter(|target| can(target)).collect();
            ask(
                format!("Nothing here is called `{}`, so nobody can {}. What is meant?", noun.words, on("it")),
                choices(targets.iter().collect()),
            )
        }
    }
}

/// The name is known, but this cannot be done to it: its filesystems, or a thing of the same name, may be meant.
fn unfit(
    named: &[Target],
    words: &str,
    shown: &str,
    known: &Known,
    can: &dyn Fn(&Target) -> bool,
    make: &dyn Fn(&Target) -> Understood,
) -> Understood {
    let is_part = |part: &Target| {
        let of_node = named
            .iter()
            .any(|target| target.kind() == "node" && part.name().split_once(':').is_some_and(|(node, _)| node == target.name()));
        let last = |target: &Target| target.name().rsplit('/').next().unwrap_or_default().to_owned();
        of_node || named.iter().any(|target| !last(target).is_empty() && last(target) == last(part))
    };
    let parts: Vec<&Target> = known.things().filter(|part| is_part(part) && can(part)).collect();
    if let ([only], true) = (parts.as_slice(), parts.iter().all(|part| part.kind() == "filesystem") && named.len() == 1) {
        return make(only);
    }
    let of = named.iter().map(|target| target.as_str()).take(CHOICES_MAX).collect::<Vec<_>>().join(", ");
    if !parts.is_empty() {
        let choices = parts.into_iter().flat_map(|part| choices_of(&make(part))).take(CHOICES_MAX).collect();
        return ask(format!("One cannot {}, but this can be meant:", shown.replace("{}", &of)), choices);
    }
    let what = if of.is_empty() { words } else { &of };
    let able = known.things().any(can);
    let why = if able { "no power of this house can do that to it" } else { "no power of this house does that at all" };
    ask(format!("Nobody can {} here: {why}. What can be done:", shown.replace("{}", what)), possible(named, known))
}

/// What can be done to these targets without saying more.
fn possible(targets: &[Target], known: &Known) -> Vec<Choice> {
    let own = |spec: &&VerbSpec| !spec.target_kinds.is_empty() && spec.verb.actuator() != "notify";
    let wishes = targets
        .iter()
        .flat_map(|target| known.verbs().filter(own).filter(move |spec| accepts(spec, target)).map(move |spec| (spec, target)));
    let read = wishes.map(|(spec, target)| wish(spec, target, Args::new(), "", known));
    read.filter(|read| matches!(read, Understood::Request(_))).flat_map(|read| choices_of(&read)).take(CHOICES_MAX).collect()
}

/// `run disk cleanup on nas`, `drain nano-1`: a verb by its own name.
fn by_verb_name(tokens: &[Token], known: &Known) -> Option<Understood> {
    const RUN: &[&str] = &[
        "run|start|do|execute|trigger|launch [playbook] <y> on|for|of|against|with|at <x>",
        "run|start|do|execute|trigger|launch [playbook] <y>",
    ];
    let named = |words: &[Token]| -> Vec<&VerbSpec> {
        let plain = words.iter().all(|token| token.kind == TokenKind::Word);
        let joined = words.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join("-");
        known
            .verbs()
            .filter(|spec| {
                plain && (spec.verb.as_str() == joined || spec.verb.as_str().split_once('.').is_some_and(|(_, name)| name == joined))
            })
            .collect()
    };
    let by_run =
        RUN.iter().find_map(|pattern| fit(pattern, tokens).map(|slots| (named(slots.y), slots.x)).filter(|(specs, _)| !specs.is_empty()));
    let by_name = || (1..tokens.len().min(4)).rev().map(|len| (named(&tokens[..len]), &tokens[len..])).find(|(specs, _)| !specs.is_empty());
    let (specs, x) = by_run.or_else(by_name)?;
    let can = |target: &Target| specs.iter().any(|spec| accepts(spec, target));
    let x = x.split_first().filter(|(first, rest)| is_one_of(first, "on|for|of") && !rest.is_empty()).map_or(x, |(_, rest)| rest);
    let it = [Token::word("it")];
    let noun = noun(if x.is_empty() { &it } else { x }, known, Sought::Thing(&can), false);
    let make = |target: &Target| {
        let fitting: Vec<&&VerbSpec> = specs.iter().filter(|spec| accepts(spec, target)).collect();
        match fitting.as_slice() {
            [only] => wish(only, target, Args::new(), &noun.note(), known),
            _ => ask(
                "Several verbs are called so. Which?".into(),
                fitting.iter().flat_map(|spec| choices_of(&wish(spec, target, Args::new(), "", known))).collect(),
            ),
        }
    };
    Some(settle(&noun, &format!("do `{}` to {{}}", specs[0].verb), known, &can, &make))
}

/// `run experiment slow-disk on web`: the drill itself, not its plan.
fn experiment(tokens: &[Token], known: &Known) -> Option<Understood> {
    const RUN: &[&str] = &["run|start experiment <y> on|against|for <x>", "run|start <y> experiment on|against|for <x>"];
    let slots = RUN.iter().find_map(|pattern| fit(pattern, tokens))?;
    let spec = known.verb("chaos.run")?;
    let name = slots.y.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join("-");
    let can = |target: &Target| accepts(spec, target);
    let noun = noun(slots.x, known, Sought::Thing(&can), false);
    let make =
        |target: &Target| wish(spec, target, BTreeMap::from([("experiment".to_owned(), Arg::Text(name.clone()))]), &noun.note(), known);
    Some(settle(&noun, "run an experiment on {}", known, &can, &make))
}

/// `stop web` can be to sleep, to end, to scale away: asked back.
fn stop(tokens: &[Token], known: &Known) -> Option<Understood> {
    let x = ["stop|kill|terminate <x>", "start [up] <x>"].iter().find_map(|pattern| fit(pattern, tokens))?.x;
    let starts = tokens[0].is("start");
    if starts && matches!(noun(x, known, Sought::Anything, false).found, Found::One(..)) {
        return Some(act(&TURN_ON, x, known));
    }
    let noun = noun(x, known, Sought::Anything, false);
    let targets: Vec<Target> = match &noun.found {
        Found::One(Named::Thing(target), _) => vec![target.clone()],
        Found::Several(named) => {
            named.iter().filter_map(|named| if let Named::Thing(target) = named { Some(target.clone()) } else { None }).collect()
        }
        _ => Vec::new(),
    };
    let off = ["power.sleep", "power.off", "proxmox.shutdown"].iter().filter_map(|verb| known.verb(verb));
    let pairs = off.flat_map(|spec| targets.iter().map(move |target| (spec, target))).filter(|(spec, target)| accepts(spec, target));
    let mut choices: Vec<Choice> = pairs.flat_map(|(spec, target)| choices_of(&wish(spec, target, Args::new(), "", known))).collect();
    choices.extend(targets.iter().flat_map(|target| scale::to_zero(target, known)));
    choices.push(Choice { text: "pause: nothing at all is sent until it is lifted".into(), as_request: "pause".into() });
    choices.truncate(CHOICES_MAX);
    let question = if starts { "Nothing here is called so. What is to be started?" } else { "What is to be stopped, and how?" };
    Some(ask(question.into(), if starts { Vec::new() } else { choices }))
}

/// `power.sleep on node/muscle idle_for=30m`: the form that every choice has.
pub(super) fn spelled_out(tokens: &[Token], known: &Known) -> Option<Understood> {
    let (first, rest) = tokens.split_first()?;
    let (actuator, _) = first.text.split_once('.').filter(|_| first.kind == TokenKind::Word)?;
    let Some(spec) = known.verb(&first.raw).or_else(|| known.verb(&first.text)) else {
        let like: Vec<&str> =
            known.verbs().filter(|spec| spec.verb.actuator() == actuator).map(|spec| spec.verb.as_str()).take(CHOICES_MAX).collect();
        return (!like.is_empty()).then(|| ask(format!("There is no `{}` here; there is: {}.", first.raw, like.join(", ")), Vec::new()));
    };
    let rest = if rest.first().is_some_and(|token| token.is("on")) { &rest[1..] } else { rest };
    let is_value = |token: &Token| {
        token.kind == TokenKind::Word && token.raw.split_once('=').is_some_and(|(name, _)| spec.args.iter().any(|arg| arg.name == name))
    };
    let (x, values) = rest.split_at(rest.iter().position(is_value).unwrap_or(rest.len()));
    let mut args = Args::new();
    for value in values {
        let Some((arg, text)) =
            value.raw.split_once('=').and_then(|(name, text)| Some((spec.args.iter().find(|arg| arg.name == name)?, text)))
        else {
            return Some(ask(format!("`{}` is no argument of `{}`.", value.raw, spec.verb), Vec::new()));
        };
        match typed(arg, text) {
            Some(typed) if !args.contains_key(&arg.name) => drop(args.insert(arg.name.clone(), typed)),
            _ => return Some(ask(format!("`{}` cannot be `{text}`: {}", arg.name, arg.doc), Vec::new())),
        }
    }
    let can = |target: &Target| accepts(spec, target);
    let it = [Token::word("it")];
    let noun = noun(if x.is_empty() { &it } else { x }, known, Sought::Thing(&can), false);
    let make = |target: &Target| wish(spec, target, args.clone(), &noun.note(), known);
    Some(settle(&noun, &format!("do `{}` to {{}}", spec.verb), known, &can, &make))
}

fn typed(spec: &ArgSpec, text: &str) -> Option<Arg> {
    Some(match spec.kind {
        ArgKind::Bool => Arg::Bool(text.parse().ok()?),
        ArgKind::Int(..) => Arg::Int(text.parse().ok()?),
        ArgKind::Float(..) => Arg::Float(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        ArgKind::Text(_) | ArgKind::OneOf(_) => Arg::Text(text.to_owned()),
        ArgKind::TextMap(_) => return None,
    })
}

/// Arguments that follow from the target: a filesystem's node and mount point, a workload's namespace.
fn implied(spec: &VerbSpec, target: &Target) -> Args {
    let mut args = Args::new();
    let mut give = |name: &str, text: &str| {
        if spec.args.iter().any(|arg| arg.name == name && arg.required && matches!(arg.kind, ArgKind::Text(_))) {
            args.insert(name.to_owned(), Arg::Text(text.to_owned()));
        }
    };
    match (target.kind(), target.name().split_once(':'), target.name().split_once('/')) {
        ("filesystem", Some((node, mount)), _) => {
            give("node", node);
            give("mountpoint", mount);
        }
        ("deployment" | "statefulset" | "daemonset" | "pod", _, Some((space, _))) => give("namespace", space),
        _ => {}
    }
    args
}

fn missing<'a>(spec: &'a VerbSpec, args: &Args) -> Vec<&'a ArgSpec> {
    spec.args.iter().filter(|arg| arg.required && !args.contains_key(&arg.name)).collect()
}

/// The only place where a wish is made: of a registered verb, a known target that it accepts, and arguments that its schema allows.
fn wish(spec: &VerbSpec, target: &Target, given: Args, note: &str, known: &Known) -> Understood {
    if known.verb(spec.verb.as_str()).is_none() || !known.has(target) || !accepts(spec, target) {
        return ask(format!("Nobody can do `{}` to {target} here.", spec.verb), Vec::new());
    }
    let mut args = implied(spec, target);
    args.extend(given);
    let lacking: Vec<String> =
        missing(spec, &args).iter().map(|arg| format!("`{}` ({})", arg.name, arg.doc.trim_end_matches('.'))).collect();
    if !lacking.is_empty() {
        let example = format!("{} on {target} {}=…", spec.verb, missing(spec, &args)[0].name);
        return ask(format!("`{}` on {target} needs {}. Say it as `{example}`.", spec.verb, lacking.join(", ")), Vec::new());
    }
    if let Err(problems) = spec.check_args(&args) {
        return ask(problems.join("; "), Vec::new());
    }
    let shown: String = args.iter().map(|(name, value)| format!(", {name} {value}")).collect();
    let harm = match spec.class {
        Class::Disruptive => ": it interrupts whoever uses it",
        Class::Irreversible => ": it cannot be taken back",
        _ => "",
    };
    let note = if note.is_empty() { String::new() } else { format!("; {note}") };
    let said = format!("{} on {target}{shown} ({}{harm}){note}", spec.verb, spec.class);
    Understood::Request(Wish { verb: spec.verb.clone(), target: target.clone(), args, class: spec.class, said })
}

/// A wish in the form that is read without a doubt.
pub(super) fn spelled(wish: &Wish) -> String {
    let value = |arg: &Arg| match arg {
        Arg::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        other => other.to_string(),
    };
    let args: String = wish.args.iter().map(|(name, arg)| format!(" {name}={}", value(arg))).collect();
    format!("{} on {}{args}", wish.verb, wish.target)
}

/// Which of the words in the sentence are left; for messages.
fn quoted(tokens: &[Token]) -> String {
    format!("`{}`", said(tokens))
}
