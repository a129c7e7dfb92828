//! Wishes: verbs and arguments that nobody knows, missing reasons and claims, claims that say nothing, times that do not fit.

use super::{Case, Finding};
use crate::vocabulary::{Shape, shape};
use homeostat_kernel::policy::did_you_mean;
use homeostat_kernel::policy::survey::{Kind, SurveyedClaim, SurveyedComparison, SurveyedRelation, SurveyedValue, SurveyedWish};
use homeostat_model::{ArgKind, ArgSpec, Class, Relation, Span, VerbSpec};

/// The arbiter refuses claims that are due later.
const CLAIM_WITHIN_MAX: Span = Span::from_hours(24);

pub(super) fn check(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for wish in &case.survey.wishes {
        action(case, wish, findings);
        manners(case, wish, findings);
        if let Some(claim) = &wish.claim {
            claim_itself(case, claim, findings);
            claim_and_condition(case, wish, claim, findings);
        }
        bare_last(case, wish, findings);
        times(case, wish, findings);
    }
    windows(case, findings);
    pace(case, findings);
}

fn spec_of<'a>(case: &'a Case<'_>, wish: &SurveyedWish) -> Option<&'a VerbSpec> {
    let verb = wish.verb.as_deref()?;
    case.around.actuators.iter().flat_map(|actuator| &actuator.verbs).find(|spec| spec.verb.as_str() == verb)
}

fn is_notice(case: &Case<'_>, wish: &SurveyedWish) -> bool {
    spec_of(case, wish)
        .map_or_else(|| wish.verb.as_deref().is_some_and(|verb| verb.starts_with("notify.")), |spec| spec.class == Class::Notify)
}

/// The verb, its target and its arguments.
fn action(case: &Case<'_>, wish: &SurveyedWish, findings: &mut Vec<Finding>) {
    let Some(verb) = wish.verb.as_deref() else { return };
    if let Some(target) = wish.target.as_deref().filter(|target| !target.contains('/') && !target.contains("${")) {
        let finding = case.error("wrong-target", wish.target_place, format!("`{target}` is no target"));
        findings.push(finding.expected("expected a kind and a name").help(format!("as in `node/{target}`")));
    }
    let Some(spec) = spec_of(case, wish) else {
        unknown_verb(case, wish, verb, findings);
        return;
    };
    let kind = wish.target.as_deref().and_then(|target| target.split_once('/')).map(|(kind, _)| kind).filter(|kind| !kind.contains("${"));
    if let Some(kind) = kind.filter(|kind| !spec.target_kinds.is_empty() && !spec.target_kinds.iter().any(|known| known == kind)) {
        let kinds = spec.target_kinds.iter().map(String::as_str);
        let finding = case.error("wrong-target", wish.target_place, format!("`{verb}` does not act on a `{kind}`"));
        let expected = format!("expected {}", spec.target_kinds.iter().map(|kind| format!("`{kind}/…`")).collect::<Vec<_>>().join(" or "));
        findings.push(finding.expected(expected).maybe_help(did_you_mean(kind, kinds)));
    }
    let Some(args) = &wish.args else { return };
    for (name, value) in args {
        match spec.args.iter().find(|spec| spec.name == *name) {
            None => {
                let known: Vec<&str> = spec.args.iter().map(|spec| spec.name.as_str()).collect();
                let finding = case.error("unknown-argument", value.place, format!("`{verb}` has no argument `{name}`"));
                let expected = if known.is_empty() { "it takes none".to_owned() } else { format!("it has {}", known.join(", ")) };
                findings.push(finding.expected(expected).maybe_help(did_you_mean(name, known)));
            }
            Some(spec) => findings.extend(argument(case, verb, spec, value)),
        }
    }
    for spec in spec.args.iter().filter(|spec| spec.required && !args.iter().any(|(name, _)| *name == spec.name)) {
        let finding = case.error("missing-argument", wish.verb_place, format!("`{verb}` needs the argument `{}`", spec.name));
        findings.push(finding.expected(format!("expected `{}: …` in its map", spec.name)).help(spec.doc.clone()));
    }
}

fn unknown_verb(case: &Case<'_>, wish: &SurveyedWish, verb: &str, findings: &mut Vec<Finding>) {
    if case.around.actuators.is_empty() {
        return;
    }
    let playbooks: Vec<String> = case.around.playbooks.iter().map(|name| format!("playbook.{name}")).collect();
    if playbooks.iter().any(|known| known == verb) {
        return;
    }
    let known: Vec<&str> = case.around.actuators.iter().flat_map(|actuator| &actuator.verbs).map(|spec| spec.verb.as_str()).collect();
    let near = did_you_mean(verb, known.iter().copied().chain(playbooks.iter().map(String::as_str)));
    let family = verb.split('.').next().unwrap_or_default();
    let of_family: Vec<&str> = known.iter().copied().filter(|known| known.split('.').next() == Some(family)).collect();
    let message = format!("nobody can do `{verb}`");
    let finding = match near.is_some() || !of_family.is_empty() {
        true => case.error("unknown-verb", wish.verb_place, message),
        false => case.warning("unknown-verb", wish.verb_place, message),
    };
    let expected = match of_family.is_empty() {
        true => format!("no configured actuator has a verb `{family}.…`"),
        false => format!("expected one of {}", of_family.join(", ")),
    };
    findings
        .push(finding.expected(expected).help(near.unwrap_or_else(|| "configure it under `actuators`; docs/config.md lists them".into())));
}

fn argument(case: &Case<'_>, verb: &str, spec: &ArgSpec, value: &SurveyedValue) -> Option<Finding> {
    let name = &spec.name;
    let wrong = |expected: String| {
        let what = match (&value.text, value.number) {
            (Some(text), _) if value.is_exact => format!("`{text}`"),
            (_, Some(number)) => format!("`{number}`"),
            _ => value.kind.words().to_owned(),
        };
        let finding = case.error("wrong-argument", value.place, format!("the argument `{name}` of `{verb}` is {what}"));
        Some(finding.expected(format!("expected {expected}")).help(spec.doc.clone()))
    };
    let out = |low: f64, high: f64| value.number.is_some_and(|number| number < low || number > high);
    match (&spec.kind, value.kind) {
        (_, Kind::Unknown) | (ArgKind::Bool, Kind::Truth) | (ArgKind::Text(_), Kind::Text) | (ArgKind::TextMap(_), Kind::Map) => None,
        (ArgKind::Int(low, high), Kind::Number) if !out(*low as f64, *high as f64) => None,
        (ArgKind::Float(low, high), Kind::Number | Kind::Reading) if !out(*low, *high) => None,
        (ArgKind::OneOf(known), Kind::Text) => match value.text.as_ref().filter(|_| value.is_exact) {
            Some(text) if !known.contains(text) => {
                let near = did_you_mean(text, known.iter().map(String::as_str));
                wrong(format!("one of {}", known.join(", "))).map(|finding| finding.maybe_help(near))
            }
            _ => None,
        },
        (ArgKind::Int(..), Kind::Reading) => wrong("a whole number: `whole(r)`".into()),
        (ArgKind::Int(low, high), _) => wrong(format!("a whole number, {low} to {high}")),
        (ArgKind::Float(low, high), _) => wrong(format!("a number, {low} to {high}")),
        (ArgKind::Bool, _) => wrong("true or false".into()),
        (ArgKind::Text(_), _) => wrong("a text".into()),
        (ArgKind::OneOf(known), _) => wrong(format!("one of {}", known.join(", "))),
        (ArgKind::TextMap(_), _) => wrong("a map of texts".into()),
    }
}

/// A reason, a claim, an end of the claim.
fn manners(case: &Case<'_>, wish: &SurveyedWish, findings: &mut Vec<Finding>) {
    if !wish.because {
        let finding = case.error("missing-because", wish.place, "the wish has no reason: it would be refused");
        findings.push(finding.expected("expected `.because(…)`").help("`.because(`${fs.node} has ${percent(fs.last())} left`)`"));
    }
    let judged = wish.verb.is_some() && !is_notice(case, wish);
    if judged && !wish.claims {
        let finding = case.error("missing-claim", wish.place, "the wish claims nothing: it would be refused");
        let finding = finding.expected("expected `.claim(…)`");
        findings.push(finding.help("say what will be true afterwards: `.claim(s.above(0.2).within(\"15m\"))`"));
    }
    if let Some(claim) = wish.claim.as_ref().filter(|claim| !claim.is_bounded) {
        let finding = case.error("missing-within", claim.place, "the claim has no end: it could never turn out false");
        findings.push(finding.expected("expected `.within(…)`").help("say until when it is true: `.within(\"15m\")`"));
    }
}

fn claim_itself(case: &Case<'_>, claim: &SurveyedClaim, findings: &mut Vec<Finding>) {
    let Some(within) = claim.within else { return };
    if within > CLAIM_WITHIN_MAX {
        let finding = case.error("claim-too-late", claim.place, format!("the claim is due within {within}: it would be refused"));
        findings.push(finding.expected(format!("expected at most {CLAIM_WITHIN_MAX}")).help("claim what can be seen sooner"));
    }
    if let Some(held) = claim.held.filter(|held| *held >= within) {
        let message = format!("the claim must hold for {held} but is due within {within}: it cannot come true");
        let finding = case.error("claim-cannot-come-true", claim.place, message);
        findings.push(finding.expected(format!("expected `held` shorter than {within}")).help("give it more time with `.within(…)`"));
    }
    let Some((metric, memory)) = claim.metric.as_deref().and_then(|metric| Some((metric, memory_of(metric)?))) else { return };
    if memory > within {
        let message = format!("`{metric}` still holds what was before the action for {memory}: the claim is due within {within}");
        let finding = case.warning("claim-cannot-come-true", claim.place, message);
        findings.push(
            finding
                .expected("it cannot recover in time")
                .help(format!("claim it within more than {memory}, or claim a value without a window")),
        );
    }
}

/// How long a recorded series remembers: the window in its name, as in `job:http_errors:rate5m`.
fn memory_of(metric: &str) -> Option<Span> {
    let last = metric.rsplit([':', '_']).next()?;
    let digits = last.find(|c: char| c.is_ascii_digit())?;
    let known = ["", "rate", "increase", "avg", "max", "min", "sum", "delta", "irate", "count"];
    known.contains(&&last[..digits]).then(|| last[digits..].parse().ok()).flatten()
}

/// Whether they are about the same series.
fn same(compared: &SurveyedComparison, claim: &SurveyedClaim) -> bool {
    compared.selector.is_some() && compared.selector == claim.selector
}

fn claim_and_condition(case: &Case<'_>, wish: &SurveyedWish, claim: &SurveyedClaim, findings: &mut Vec<Finding>) {
    let (Some(relation), Some(level)) = (claim.relation, claim.threshold) else { return };
    let is_flag = claim.metric.as_deref().is_some_and(|metric| shape(metric) == Shape::Flag);
    for fact in wish.when.iter().filter(|fact| fact.holds) {
        let Some(compared) = case.survey.comparisons.get(fact.comparison).filter(|compared| same(compared, claim)) else { continue };
        let instant = matches!(compared.operation.as_str(), "last" | "held_below" | "held_above");
        let Some(at) = compared.threshold.filter(|_| instant) else { continue };
        let fires_low = matches!(compared.relation, SurveyedRelation::Less | SurveyedRelation::LessOrEqual);
        let fires_high = matches!(compared.relation, SurveyedRelation::Greater | SurveyedRelation::GreaterOrEqual);
        let claims_low = relation == Relation::Below;
        let word = if claims_low { "below" } else { "above" };
        let fires = format!("fires when it is {} {at}", compared.relation.sign());
        let metric = claim.metric.as_deref().unwrap_or("the series");
        if fires_low && claims_low || fires_high && !claims_low {
            let already = if fires_low { at <= level } else { at >= level };
            if already && claim.held.is_some() {
                // That it stays so is something that can turn out false.
                continue;
            }
            let (code, message) = match already {
                true => ("claim-already-true", format!("`{metric}` is {word} {level} already when this is wished: the claim says nothing")),
                false => ("claim-wrong-way", format!("the claim says that `{metric}` gets worse: it is wished because of what it claims")),
            };
            let finding = case.error(code, claim.place, message).expected(format!("claims {word} {level}")).label(compared.place, fires);
            let other = if claims_low { "above" } else { "below" };
            findings.push(finding.help(format!("claim the recovery: `.{other}(…)`, on the other side of {at}")));
        } else if at == level && claim.held.is_none() && !is_flag && (fires_low || fires_high) {
            let message = format!("fires and recovers at the same level: `{metric}` around {at} would flap");
            let finding = case.warning("no-hysteresis", claim.place, message).expected(format!("claims {word} {level}"));
            let finding = finding.label(compared.place, fires);
            findings.push(finding.help("claim a level well beyond the one that fires, or that it stays so: `.held(\"2m\")`"));
        }
    }
}

/// Acting on one sample.
fn bare_last(case: &Case<'_>, wish: &SurveyedWish, findings: &mut Vec<Finding>) {
    if is_notice(case, wish) || wish.verb.is_none() {
        return;
    }
    let facts: Vec<&SurveyedComparison> = wish.when.iter().filter_map(|fact| case.survey.comparisons.get(fact.comparison)).collect();
    if let Some(first) = facts.first().filter(|_| facts.iter().all(|compared| compared.operation == "last")) {
        let place = facts.last().map_or(first.place, |last| last.place);
        let verb = wish.verb.as_deref().unwrap_or("the action");
        let finding = case.warning("no-hysteresis", place, format!("one sample is enough for `{verb}`: noise around the level would flap"));
        let finding = finding.expected("only the newest value is asked").label(wish.place, "wished here");
        findings.push(finding.help("ask that it lasted: `s.held_above(x, \"5m\")`, or over a window: `s.over(\"5m\").avg()`"));
    }
}

fn setting(case: &Case<'_>, key: &str, default: Span) -> Span {
    let value = case.survey.settings.iter().find(|setting| setting.key == key).map(|setting| &setting.value);
    value.and_then(|value| value.text.as_deref()?.parse().ok()).unwrap_or(default)
}

fn cooldown(case: &Case<'_>) -> Span {
    case.overrides.cooldown.unwrap_or_else(|| setting(case, "cooldown", Span::from_hours(1)))
}

/// The cooldown beside the claim's end, and beside what the condition remembers.
fn times(case: &Case<'_>, wish: &SurveyedWish, findings: &mut Vec<Finding>) {
    if is_notice(case, wish) {
        return;
    }
    let cooldown = wish.cooldown.unwrap_or_else(|| cooldown(case));
    let key = case.survey.settings.iter().find(|setting| setting.key == "cooldown").map(|setting| setting.place);
    if let Some((claim, within)) =
        wish.claim.as_ref().and_then(|claim| Some((claim, claim.within?))).filter(|(_, within)| cooldown < *within)
    {
        let message = format!("the cooldown of {cooldown} ends before the claim is due within {within}");
        let hurts = spec_of(case, wish).is_some_and(|spec| spec.class >= Class::Disruptive);
        let finding = if hurts {
            case.warning("short-cooldown", claim.place, message)
        } else {
            Finding::note("short-cooldown", case.path, claim.place, message)
        };
        let finding = finding.expected("it may be wished again before it is judged").label(key.unwrap_or_default(), "the cooldown");
        findings.push(finding.help(format!("a cooldown of {within} or more waits for the judgement")));
    }
    for compared in wish.when.iter().filter(|fact| fact.holds).filter_map(|fact| case.survey.comparisons.get(fact.comparison)) {
        let remembers = match compared.operation.as_str() {
            "increase" | "count" | "sum" | "max" => {
                matches!(compared.relation, SurveyedRelation::Greater | SurveyedRelation::GreaterOrEqual)
            }
            "min" => matches!(compared.relation, SurveyedRelation::Less | SurveyedRelation::LessOrEqual),
            _ => false,
        };
        let Some(window) = compared.window.filter(|window| remembers && *window > cooldown) else { continue };
        let message =
            format!("what has happened is still seen for {window}, and the cooldown is {cooldown}: it is wished again though it helped");
        let finding = case.warning("cannot-recover", compared.place, message).expected(format!("looks back over {window}"));
        findings.push(
            finding
                .label(wish.place, "wished here")
                .help(format!("look back over {cooldown} at most, or set a cooldown of {window} or more")),
        );
    }
}

/// Windows that the store cannot fill.
fn windows(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let retention = case.around.retention;
    for call in case.calls().filter(|call| ["over", "held_below", "held_above", "absent_for"].contains(&call.name.as_str())) {
        let Some(arg) = call.args.last().filter(|arg| arg.is_exact) else { continue };
        let Some(span) = arg.text.as_deref().and_then(|text| text.parse::<Span>().ok()).filter(|span| *span > retention) else { continue };
        let finding = case.error("window-too-long", arg.place, format!("the window of {span} is longer than what is kept"));
        findings.push(
            finding
                .expected(format!("expected at most {retention}"))
                .help("`store.retention` in the configuration says how long samples are kept"),
        );
    }
}

/// `cooldown` beside `every`.
fn pace(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (every, cooldown) = (case.overrides.every.unwrap_or_else(|| setting(case, "every", Span::from_mins(1))), cooldown(case));
    let Some(place) = case.survey.settings.iter().find(|setting| setting.key == "cooldown").map(|setting| setting.place) else { return };
    if cooldown < every {
        let finding = case.warning(
            "short-cooldown",
            place,
            format!("the cooldown of {cooldown} is shorter than `every` {every}: it never holds anything back"),
        );
        findings.push(
            finding.expected(format!("expected {every} or more")).help("`cooldown` is how long a wish stays quiet after it was sent"),
        );
    }
}
