//! Every function that a policy may call; `manual` documents them, and a test holds the two together.
//!
//! A function here must be pure over the session: same windows, same answer. It may read, and it may add to the wishes of this
//! evaluation; nothing else. Units stand in the documentation of each.

use super::reading::{
    ActionText, AlertHandle, AlertSelectorText, Answer, ClaimDraft, Compare, Reading, SelectorText, Series, Window, Wish, compare,
    compare_both, compare_mirrored, fault, stop,
};
use super::retrace::Of;
use super::session::{Draft, Mode, Op, PROPOSALS_MAX, Seen, Session, Shared, Stop, lock};
use crate::store::SeriesRef;
use homeostat_model::{Alternative, Arg, Args, Claim, ClaimSubject, ReadingValue, Relation, SeriesKey, Span, Target, Verb};
use rhai::{Array, Dynamic, Engine, FLOAT, INT, ImmutableString, Map};
use std::sync::Arc;

/// Alternatives to one action.
const ALTERNATIVES_MAX: usize = 8;

/// Registers everything.
pub(super) fn register(engine: &mut Engine, shared: &Shared) {
    engine
        .register_type_with_name::<Series>("Series")
        .register_type_with_name::<Window>("Window")
        .register_type_with_name::<Reading>("Reading")
        .register_type_with_name::<AlertHandle>("Alert")
        .register_type_with_name::<ClaimDraft>("Claim")
        .register_type_with_name::<ActionText>("Action")
        .register_type_with_name::<Wish>("Proposal")
        .register_type_with_name::<SelectorText>("Selector")
        .register_type_with_name::<AlertSelectorText>("AlertSelector");
    register_series(engine, shared);
    register_windows(engine, shared);
    register_comparisons(engine, shared);
    register_arithmetic(engine, shared);
    register_alerts(engine, shared);
    register_wishes(engine, shared);
    register_words(engine, shared);
}

fn span_of(shared: &Shared, text: &str) -> Answer<Span> {
    match text.parse::<Span>() {
        Ok(span) if span > Span::ZERO => Ok(span),
        Ok(_) => fault(shared, "a duration must be longer than zero"),
        Err(error) => fault(shared, error.to_string()),
    }
}

fn register_series(engine: &mut Engine, shared: &Shared) {
    let s = Arc::clone(shared);
    engine.register_fn("series", move |text: ImmutableString| -> Answer<Dynamic> {
        if lock(&s).mode == Mode::Load {
            return Ok(Dynamic::from(SelectorText(text.to_string())));
        }
        one(&s, &text, None).map(Dynamic::from)
    });
    let s = Arc::clone(shared);
    engine.register_fn("all", move |text: ImmutableString| -> Answer<Array> {
        if lock(&s).mode == Mode::Load {
            return fault(&s, "`policy()` is read without any data: use `all` in `evaluate`");
        }
        let found = lock(&s).select(&text).map(<[SeriesRef]>::to_vec);
        match found {
            Ok(series) if series.len() > 1_000 => fault(&s, format!("`{text}` names {} series, at most 1000 fit into `all`", series.len())),
            Ok(series) => Ok(series.into_iter().map(|series| Dynamic::from(Series(series))).collect()),
            Err(error) => fault(&s, error),
        }
    });
    let s = Arc::clone(shared);
    engine.register_fn("peer", move |series: Series, text: ImmutableString| one(&s, &text, Some(series.0)));
    let s = Arc::clone(shared);
    engine.register_indexer_get(move |series: &mut Series, name: ImmutableString| -> Answer<ImmutableString> {
        let session = lock(&s);
        if let Some(value) = session.store.label(series.0, &name) {
            return Ok(value.into());
        }
        let key = session.store.key(series.0);
        drop(session);
        let names: Vec<String> = key.iter().flat_map(|key| key.labels.iter()).map(|(name, _)| name.to_owned()).collect();
        let near = super::diagnose::did_you_mean(&name, names.iter().map(String::as_str));
        fault(
            &s,
            format!(
                "the series has no label `{name}` (it has: {}){}",
                names.join(", "),
                near.map_or_else(String::new, |n| format!("; {n}"))
            ),
        )
    });
    let s = Arc::clone(shared);
    engine.register_fn("label", move |series: Series, name: ImmutableString| -> ImmutableString {
        lock(&s).store.label(series.0, &name).unwrap_or_default().into()
    });
    let s = Arc::clone(shared);
    engine.register_fn("last", move |series: Series| Reading::take(&s, Op::Last, series.0));
    let s = Arc::clone(shared);
    engine.register_fn("over", move |series: Series, span: ImmutableString| -> Answer<Window> {
        Ok(Window { series: series.0, span: span_of(&s, &span)? })
    });
    for (name, below) in [("held_below", true), ("held_above", false)] {
        let s = Arc::clone(shared);
        let held = move |series: Series, level: f64, span: ImmutableString| held(&s, series, level, &span, below);
        let held = Arc::new(held);
        let with_float = Arc::clone(&held);
        engine.register_fn(name, move |series: Series, level: FLOAT, span: ImmutableString| with_float(series, level, span));
        engine.register_fn(name, move |series: Series, level: INT, span: ImmutableString| held(series, level as f64, span));
    }
    let s = Arc::clone(shared);
    engine.register_fn("absent_for", move |series: Series, span: ImmutableString| -> Answer<bool> {
        let span = span_of(&s, &span)?;
        let reading = Reading::take(&s, Op::AbsentFor(span), series.0)?;
        let is_absent = reading.taken(&s) == Some(1.0);
        Ok(lock(&s).turn_absent(is_absent, reading.seen, span))
    });
    for (name, relation) in [("above", Relation::Above), ("below", Relation::Below)] {
        let s = Arc::clone(shared);
        engine.register_fn(name, move |series: Series, threshold: FLOAT| claim_on(&s, series, relation, threshold));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |series: Series, threshold: INT| claim_on(&s, series, relation, threshold as f64));
    }
}

/// The one series that a selector names and that agrees with `with` on the labels that both have.
fn one(shared: &Shared, text: &str, with: Option<SeriesRef>) -> Answer<Series> {
    let mut session = lock(shared);
    let found = match session.select(text) {
        Ok(found) => found.to_vec(),
        Err(error) => {
            drop(session);
            return fault(shared, error);
        }
    };
    let wanted: Option<SeriesKey> = with.and_then(|series| session.store.key(series));
    let mut agreeing = found.into_iter().filter(|series| wanted.as_ref().is_none_or(|key| agrees(&session, key, *series)));
    match (agreeing.next(), agreeing.count()) {
        (Some(series), 0) => Ok(Series(series)),
        (Some(_), more) => {
            drop(session);
            fault(shared, format!("`{text}` names {} series, expected one: add labels, or use `all`", more + 1))
        }
        (None, _) => {
            let what: Arc<str> = format!("series {text}").into();
            let noted = session.note(Seen {
                op: Op::Named,
                series: None,
                what: Some(what),
                value: ReadingValue::NoData,
                sampled_at: None,
                taken: false,
            });
            drop(session);
            Err(stop(shared, noted.map_or_else(|why| why, Stop::Undetermined)))
        }
    }
}

fn agrees(session: &Session, key: &SeriesKey, other: SeriesRef) -> bool {
    key.labels.iter().all(|(name, value)| session.store.label(other, name).is_none_or(|theirs| theirs == value))
}

fn held(shared: &Shared, series: Series, level: f64, span: &str, below: bool) -> Answer<bool> {
    let span = span_of(shared, span)?;
    let op = if below { Op::HeldBelow(level, span) } else { Op::HeldAbove(level, span) };
    let reading = Reading::take(shared, op, series.0)?;
    let answer = reading.taken_known(shared)? == 1.0;
    // The margin is that of the sample which is nearest to the other side.
    let how = if below { Compare::Less } else { Compare::Greater };
    let session = &mut *lock(shared);
    match op.extreme(&session.store, series.0, session.now) {
        Some(value) => {
            let (left, right) = ((Of::Extreme(reading.seen), value), (Of::Number, level));
            how.record(session, reading.seen, left, right);
            Ok(session.turn(answer, reading.seen, how, left, right))
        }
        None => {
            session.is_unclear = true;
            Ok(answer)
        }
    }
}

fn register_windows(engine: &mut Engine, shared: &Shared) {
    type Plain = (&'static str, fn(Span) -> Op);
    let plain: [Plain; 12] = [
        ("avg", Op::Avg),
        ("min", Op::Min),
        ("max", Op::Max),
        ("sum", Op::Sum),
        ("stddev", Op::Stddev),
        ("rate", Op::Rate),
        ("increase", Op::Increase),
        ("delta", Op::Delta),
        ("slope", Op::Slope),
        ("coverage", Op::Coverage),
        ("count", Op::Count),
        ("last", Op::LastOver),
    ];
    for (name, op) in plain {
        let s = Arc::clone(shared);
        engine.register_fn(name, move |w: Window| Reading::take(&s, op(w.span), w.series));
    }
    let s = Arc::clone(shared);
    engine.register_fn("quantile", move |w: Window, q: FLOAT| Reading::take(&s, Op::Quantile(q, w.span), w.series));
    let s = Arc::clone(shared);
    let until = Arc::new(move |w: Window, level: f64| Reading::take(&s, Op::SecondsUntil(level, w.span), w.series));
    let with_float = Arc::clone(&until);
    engine.register_fn("seconds_until", move |w: Window, level: FLOAT| with_float(w, level));
    engine.register_fn("seconds_until", move |w: Window, level: INT| until(w, level as f64));
}

fn register_comparisons(engine: &mut Engine, shared: &Shared) {
    for how in Compare::ALL {
        let sign = how.sign();
        let s = Arc::clone(shared);
        engine.register_fn(sign, move |r: Reading, x: FLOAT| compare(&s, r, how, x));
        let s = Arc::clone(shared);
        engine.register_fn(sign, move |r: Reading, x: INT| compare(&s, r, how, x as f64));
        let s = Arc::clone(shared);
        engine.register_fn(sign, move |x: FLOAT, r: Reading| compare_mirrored(&s, x, how, r));
        let s = Arc::clone(shared);
        engine.register_fn(sign, move |x: INT, r: Reading| compare_mirrored(&s, x as f64, how, r));
        let s = Arc::clone(shared);
        engine.register_fn(sign, move |a: Reading, b: Reading| compare_both(&s, a, how, b));
    }
}

fn register_arithmetic(engine: &mut Engine, shared: &Shared) {
    type Binary = (&'static str, fn(f64, f64) -> f64);
    let binary: [Binary; 7] = [
        ("+", |a, b| a + b),
        ("-", |a, b| a - b),
        ("*", |a, b| a * b),
        ("/", |a, b| a / b),
        ("%", |a, b| a % b),
        ("min", f64::min),
        ("max", f64::max),
    ];
    for (name, f) in binary {
        let s = Arc::clone(shared);
        engine.register_fn(name, move |r: Reading, x: FLOAT| r.map(&s, f, x));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |r: Reading, x: INT| r.map(&s, f, x as f64));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |x: FLOAT, r: Reading| r.map_second(&s, f, x));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |x: INT, r: Reading| r.map_second(&s, f, x as f64));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |a: Reading, b: Reading| a.join(&s, b, f));
    }
    type Unary = (&'static str, fn(f64, f64) -> f64);
    let unary: [Unary; 5] =
        [("-", |v, _| -v), ("abs", |v, _| v.abs()), ("round", |v, _| v.round()), ("floor", |v, _| v.floor()), ("ceiling", |v, _| v.ceil())];
    for (name, f) in unary {
        let s = Arc::clone(shared);
        engine.register_fn(name, move |r: Reading| r.map(&s, f, 0.0));
    }
    register_ways_out(engine, shared);
}

/// What gives a script something of a reading itself: each must say so ([`Reading::taken`]). That a reading is known or not is
/// always noted.
fn register_ways_out(engine: &mut Engine, shared: &Shared) {
    let s = Arc::clone(shared);
    engine.register_fn("whole", move |r: Reading| -> Answer<INT> { Ok(r.taken_known(&s)?.round() as INT) });
    engine.register_fn("whole", |x: FLOAT| x.round() as INT);
    engine.register_fn("whole", |x: INT| x);
    let s = Arc::clone(shared);
    engine.register_fn("or", move |r: Reading, x: FLOAT| r.taken(&s).unwrap_or(x));
    let s = Arc::clone(shared);
    engine.register_fn("or", move |r: Reading, x: INT| r.taken(&s).unwrap_or(x as f64));
    engine.register_fn("is_known", |r: Reading| r.value.is_some());
    for name in ["to_string", "to_debug"] {
        let s = Arc::clone(shared);
        engine.register_fn(name, move |r: Reading| r.taken(&s).map_or_else(|| "unknown".to_owned(), |v| v.to_string()));
    }
}

fn register_alerts(engine: &mut Engine, shared: &Shared) {
    engine.register_fn("alerts", |text: ImmutableString| AlertSelectorText(text.to_string()));
    let s = Arc::clone(shared);
    engine.register_indexer_get(move |_: &mut AlertHandle, name: ImmutableString| -> Answer<ImmutableString> {
        let found = lock(&s).alert.as_ref().and_then(|alert| alert_field(alert, &name));
        match found {
            Some(text) => Ok(text.into()),
            None => {
                let known = ["name", "status", "kind", "node", "fingerprint"];
                let near =
                    super::diagnose::did_you_mean(&name, known).unwrap_or_else(|| format!("for a label write `alert.label(\"{name}\")`"));
                fault(&s, format!("an alert has no `{name}` (it has: {}); {near}", known.join(", ")))
            }
        }
    });
    let s = Arc::clone(shared);
    engine.register_fn("label", move |_: AlertHandle, name: ImmutableString| -> ImmutableString {
        lock(&s).alert.as_ref().and_then(|a| a.labels.get(&name).map(str::to_owned)).unwrap_or_default().into()
    });
    let s = Arc::clone(shared);
    engine.register_fn("annotation", move |_: AlertHandle, name: ImmutableString| -> ImmutableString {
        lock(&s).alert.as_ref().and_then(|a| a.annotations.get(name.as_str()).cloned()).unwrap_or_default().into()
    });
    let s = Arc::clone(shared);
    engine.register_fn("value", move |_: AlertHandle, name: ImmutableString| -> Answer<Reading> {
        let mut session = lock(&s);
        let value = session.alert.as_ref().and_then(|a| a.values.get(name.as_str()).copied());
        let what: Arc<str> = format!("alert value {name}").into();
        let now = session.now;
        let seen = Seen {
            op: Op::Named,
            series: None,
            what: Some(what),
            value: value.map_or(ReadingValue::NoData, ReadingValue::Value),
            sampled_at: Some(now),
            taken: false,
        };
        let noted = session.note(seen);
        drop(session);
        match noted {
            Ok(seen) => Ok(Reading { value, seen, of: Of::Read(seen) }),
            Err(why) => Err(stop(&s, why)),
        }
    });
    let s = Arc::clone(shared);
    engine.register_fn("resolved", move |_: AlertHandle| -> Answer<ClaimDraft> {
        let fingerprint = lock(&s).alert.as_ref().map(|a| a.fingerprint.clone()).unwrap_or_default();
        Ok(ClaimDraft(Claim { subject: ClaimSubject::AlertResolved { fingerprint }, within: Span::ZERO }))
    });
}

/// A field of an alert as `alert.field`.
fn alert_field(alert: &homeostat_model::Alert, name: &str) -> Option<String> {
    use homeostat_model::{AlertKind, AlertStatus};
    Some(match name {
        "name" => alert.name.clone(),
        "fingerprint" => alert.fingerprint.clone(),
        "status" => if alert.status == AlertStatus::Firing { "firing" } else { "resolved" }.into(),
        "kind" => match alert.kind {
            AlertKind::Condition => "condition",
            AlertKind::NoData => "no_data",
            AlertKind::Error => "error",
        }
        .into(),
        "node" => alert_node(alert).unwrap_or_default().to_owned(),
        _ => return None,
    })
}

/// Label `node`, else the host part of `instance`.
pub(super) fn alert_node(alert: &homeostat_model::Alert) -> Option<&str> {
    let labels = &alert.labels;
    labels.get("node").or_else(|| labels.get("instance").map(|instance| instance.rsplit_once(':').map_or(instance, |(host, _)| host)))
}

fn claim_on(shared: &Shared, series: Series, relation: Relation, threshold: f64) -> Answer<ClaimDraft> {
    match lock(shared).store.key(series.0) {
        Some(key) => Ok(ClaimDraft(Claim {
            subject: ClaimSubject::Series { series: key, relation, threshold, held: Span::ZERO },
            within: Span::ZERO,
        })),
        None => fault(shared, "the claim's series is gone"),
    }
}

fn register_wishes(engine: &mut Engine, shared: &Shared) {
    let s = Arc::clone(shared);
    engine.register_fn("within", move |mut claim: ClaimDraft, span: ImmutableString| -> Answer<ClaimDraft> {
        claim.0.within = span_of(&s, &span)?;
        Ok(claim)
    });
    let s = Arc::clone(shared);
    engine.register_fn("held", move |mut claim: ClaimDraft, span: ImmutableString| -> Answer<ClaimDraft> {
        let span = span_of(&s, &span)?;
        match &mut claim.0.subject {
            ClaimSubject::Series { held, .. } => *held = span,
            ClaimSubject::AlertResolved { .. } | ClaimSubject::Delivered => return fault(&s, "only a claim about a series can be `held`"),
        }
        Ok(claim)
    });
    engine.register_fn("notify", |title: ImmutableString| action("notify.send", None, [("title", &title)]));
    engine.register_fn("notify", |title: ImmutableString, text: ImmutableString| {
        action("notify.send", None, [("title", &title), ("text", &text)])
    });
    engine.register_fn("wake", |node: ImmutableString| ActionText {
        verb: "power.wake".into(),
        target: Some(Target::new(format!("node/{}", node.strip_prefix("node/").unwrap_or(&node)))),
        args: Args::new(),
        alternatives: Vec::new(),
    });
    for family in ["exec", "http"] {
        let s = Arc::clone(shared);
        engine.register_fn(family, move |name: ImmutableString, args: Map| -> Answer<ActionText> {
            Ok(ActionText { verb: Verb::new(format!("{family}.{name}")), target: None, args: args_of(&s, args)?, alternatives: Vec::new() })
        });
        engine.register_fn(family, move |name: ImmutableString| ActionText {
            verb: Verb::new(format!("{family}.{name}")),
            target: None,
            args: Args::new(),
            alternatives: Vec::new(),
        });
    }
    let s = Arc::clone(shared);
    engine.register_fn("act", move |verb: ImmutableString, target: ImmutableString, args: Map| -> Answer<ActionText> {
        Ok(ActionText {
            verb: Verb::from(verb.as_str()),
            target: Some(Target::from(target.as_str())),
            args: args_of(&s, args)?,
            alternatives: Vec::new(),
        })
    });
    engine.register_fn("on", |mut action: ActionText, target: ImmutableString| {
        action.target = Some(Target::from(target.as_str()));
        action
    });
    let s = Arc::clone(shared);
    engine.register_fn("or_rather", move |mut action: ActionText, other: ActionText| -> Answer<ActionText> {
        let more = other.alternatives.len() + 1;
        if action.alternatives.len() + more > ALTERNATIVES_MAX {
            return fault(&s, format!("more than {ALTERNATIVES_MAX} alternatives to one action"));
        }
        action.alternatives.push(Alternative { verb: other.verb, target: other.target, args: other.args });
        action.alternatives.extend(other.alternatives);
        Ok(action)
    });
    let s = Arc::clone(shared);
    engine.register_fn("propose", move |action: ActionText| -> Answer<Wish> {
        let mut session = lock(&s);
        if session.mode == Mode::Load {
            drop(session);
            return fault(&s, "`policy()` cannot propose: it is read without any data; propose in `evaluate` or `on_alert`");
        }
        if session.drafts.len() >= PROPOSALS_MAX {
            drop(session);
            return fault(&s, format!("more than {PROPOSALS_MAX} proposals in one evaluation"));
        }
        session.drafts.push(Draft {
            verb: action.verb,
            target: action.target,
            args: action.args,
            because: String::new(),
            claim: None,
            cooldown: None,
            alternatives: action.alternatives,
        });
        Ok(Wish(session.drafts.len() as u32 - 1))
    });
    register_wish_methods(engine, shared);
}

fn register_wish_methods(engine: &mut Engine, shared: &Shared) {
    let s = Arc::clone(shared);
    engine.register_fn("because", move |wish: Wish, text: ImmutableString| {
        if let Some(draft) = lock(&s).drafts.get_mut(wish.0 as usize) {
            draft.because = text.chars().take(1_000).collect();
        }
        wish
    });
    let s = Arc::clone(shared);
    engine.register_fn("claim", move |wish: Wish, claim: ClaimDraft| -> Answer<Wish> {
        if claim.0.within == Span::ZERO {
            return fault(&s, "the claim has no end: add `.within(\"15m\")`");
        }
        if let Some(draft) = lock(&s).drafts.get_mut(wish.0 as usize) {
            draft.claim = Some(claim.0);
        }
        Ok(wish)
    });
    let s = Arc::clone(shared);
    engine.register_fn("cooldown", move |wish: Wish, span: ImmutableString| -> Answer<Wish> {
        let span = span_of(&s, &span)?;
        if let Some(draft) = lock(&s).drafts.get_mut(wish.0 as usize) {
            draft.cooldown = Some(span);
        }
        Ok(wish)
    });
    let s = Arc::clone(shared);
    engine.register_fn("on", move |wish: Wish, target: ImmutableString| {
        if let Some(draft) = lock(&s).drafts.get_mut(wish.0 as usize) {
            draft.target = Some(Target::from(target.as_str()));
        }
        wish
    });
}

fn action<const N: usize>(verb: &str, target: Option<Target>, args: [(&str, &ImmutableString); N]) -> ActionText {
    ActionText {
        verb: verb.into(),
        target,
        args: args.into_iter().map(|(name, text)| (name.to_owned(), Arg::Text(text.to_string()))).collect(),
        alternatives: Vec::new(),
    }
}

fn args_of(shared: &Shared, map: Map) -> Answer<Args> {
    let mut args = Args::new();
    for (name, value) in map {
        args.insert(name.to_string(), arg_of(shared, &name, value)?);
    }
    Ok(args)
}

/// A script's value as an argument. A reading must be known to become one.
pub(super) fn arg_of(shared: &Shared, name: &str, value: Dynamic) -> Answer<Arg> {
    if let Some(reading) = value.clone().try_cast::<Reading>() {
        return Ok(Arg::Float(reading.taken_known(shared)?));
    }
    if let Some(items) = value.clone().try_cast::<Array>() {
        return items.into_iter().map(|item| arg_of(shared, name, item)).collect::<Answer<Vec<Arg>>>().map(Arg::List);
    }
    if let Some(items) = value.clone().try_cast::<Map>() {
        return args_of(shared, items).map(Arg::Map);
    }
    let kind = value.type_name();
    let plain = value.as_bool().map(Arg::Bool).or_else(|_| value.as_int().map(Arg::Int)).or_else(|_| value.as_float().map(Arg::Float));
    match plain.or_else(|_| value.into_string().map(Arg::Text)) {
        Ok(arg) => Ok(arg),
        Err(_) => fault(shared, format!("`{name}` is a {kind}, expected text, a number, true or false, an array or a map of these")),
    }
}

fn register_words(engine: &mut Engine, shared: &Shared) {
    let s = Arc::clone(shared);
    engine.register_fn("param", move |name: ImmutableString| -> Answer<Dynamic> {
        let params = Arc::clone(&lock(&s).params);
        match params.get(name.as_str()) {
            Some(arg) => Ok(dynamic_of(arg)),
            None => {
                let near = super::diagnose::did_you_mean(&name, params.keys().map(String::as_str)).unwrap_or_default();
                fault(&s, format!("the policy has no parameter `{name}`; {near}"))
            }
        }
    });
    for (name, seconds) in [("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0)] {
        engine.register_fn(name, move |x: FLOAT| x * seconds);
        engine.register_fn(name, move |x: INT| x as f64 * seconds);
    }
    type Shown = (&'static str, fn(f64) -> String);
    let shown: [Shown; 3] = [("percent", |v| format!("{:.1} %", v * 100.0)), ("bytes", bytes), ("duration", duration)];
    for (name, show) in shown {
        engine.register_fn(name, move |x: FLOAT| show(x));
        engine.register_fn(name, move |x: INT| show(x as f64));
        let s = Arc::clone(shared);
        engine.register_fn(name, move |r: Reading| r.taken(&s).map_or_else(|| "unknown".to_owned(), show));
    }
}

/// An argument as a script sees it.
pub(super) fn dynamic_of(arg: &Arg) -> Dynamic {
    match arg {
        Arg::Bool(value) => (*value).into(),
        Arg::Int(value) => (*value).into(),
        Arg::Float(value) => (*value).into(),
        Arg::Text(value) => value.clone().into(),
        Arg::List(items) => items.iter().map(dynamic_of).collect::<Array>().into(),
        Arg::Map(items) => items.iter().map(|(name, item)| (name.as_str().into(), dynamic_of(item))).collect::<Map>().into(),
    }
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{scaled:.0} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "never".into();
    }
    let whole = Span::from_secs(seconds.round() as i64);
    // Two units are enough for people.
    let text = whole.to_string();
    let units: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(i, _)| i).collect();
    units.get(1).map_or(text.clone(), |end| text[..=*end].to_owned())
}
