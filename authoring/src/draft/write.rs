//! The drafted policy and its test, as texts.
//!
//! Names of the record (metrics, labels, targets, arguments) become literals of the script only where each character is harmless there;
//! else there is no draft. The test has two pieces of the record: the one before an occasion, on which it must wish, and the quiet one
//! that came nearest to the threshold, on which it must not. Deliberately absent: a second notation of values (`fuzz::notation`). An
//! editor breaks this by rounding a value over the threshold.

use super::relate::{is_named_for_good, pod_prefix};
use super::threshold::{Basis, Found, Side, held_value};
use super::{Curve, Draft, Material, Occasion};
use crate::fuzz::trace::{notation, rounded};
use homeostat_model::{Arg, Args, ClaimSubject, SeriesKey, Span, Target, Time};
use std::fmt::Write as _;

/// Digits of a recorded value in the test.
const DIGITS: usize = 6;
/// Values of one held time in the test; more are thinned.
const VALUES_PER_HELD: i64 = 20;
/// Steps of the test before the held time.
const LEAD_STEPS: i64 = 6;
/// Characters of a policy's name.
const NAME_CHARS_MAX: usize = 60;
/// The shortest and the longest claim.
const WITHIN: (Span, Span) = (Span::from_mins(2), Span::from_hours(1));
/// The shortest and the longest cooldown where none was learned.
const COOLDOWN: (Span, Span) = (Span::from_mins(10), Span::from_hours(6));
/// Lengths of time as people write them.
const NICE: [Span; 12] = [
    Span::from_mins(1),
    Span::from_mins(2),
    Span::from_mins(5),
    Span::from_mins(10),
    Span::from_mins(15),
    Span::from_mins(20),
    Span::from_mins(30),
    Span::from_hours(1),
    Span::from_hours(2),
    Span::from_hours(4),
    Span::from_hours(6),
    Span::from_hours(12),
];

/// The times of a draft.
struct Times {
    within: Span,
    cooldown: Span,
    settle: Option<Span>,
}

pub(super) fn write(material: &Material, found: Found) -> Result<Draft, String> {
    let name = match &material.name {
        Some(name) => name.clone(),
        None => name_of(material),
    };
    let selector = selector(material, &found)?;
    let (action, args_note) = action(material)?;
    let times = times(material, &found);
    let mut why = why(material, &found, &times);
    why.extend(args_note);
    let policy = policy(material, &found, &selector, &action, &times);
    let test = test(material, &found, &name)?;
    Ok(Draft { name, policy, test, why, found })
}

/// `restart-rollout-jellyfin` of `restart.rollout` and `deployment/media/jellyfin`.
fn name_of(material: &Material) -> String {
    let target = material.target.name();
    let last = target.rsplit(['/', ':']).find(|part| !part.is_empty()).unwrap_or(target);
    let mut name = String::new();
    for c in format!("{}-{last}", material.verb).chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
            _ if !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(NAME_CHARS_MAX);
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name.to_owned() } else { format!("draft-{name}") }
}

/// Whether a text can stand between quotes in a script, a comment, and a test, as it is.
fn is_harmless(text: &str) -> bool {
    text.chars().count() <= 200 && text.chars().all(|c| c.is_alphanumeric() || " -_./:@+,=~%()".contains(c))
}

fn literal<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    if is_harmless(text) {
        return Ok(text);
    }
    let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    Err(format!(
        "{what} `{shown}` has characters that a draft does not write into a script: write the policy by hand (`homeostat policy new`)"
    ))
}

/// The selector of the series that were found: labels that all of them have, and a pattern for the pods of a workload.
fn selector(material: &Material, found: &Found) -> Result<String, String> {
    let Some(first) = found.series.first() else { return Err("no series was found".into()) };
    let mut matchers = Vec::new();
    for (name, value) in first.labels.iter().filter(|(name, value)| found.series.iter().all(|key| key.labels.get(name) == Some(value))) {
        // A pod of a workload has another name tomorrow.
        if name == "pod" && material.target.kind() != "pod" {
            continue;
        }
        let value = literal("the label value", value)?;
        matchers.push(format!("{}='{value}'", literal("the label", name)?));
    }
    let own = own_name(&material.target);
    if found.series.iter().any(|key| !is_named_for_good(key, own) && pod_prefix(key, own)) {
        let escaped = literal("the target", own)?.replace('.', "[.]").replace(['+', '(', ')'], ".");
        matchers.push(format!("pod=~'{escaped}-.+'"));
    }
    Ok(if matchers.is_empty() { found.metric.clone() } else { format!("{}{{{}}}", found.metric, matchers.join(",")) })
}

fn own_name(target: &Target) -> &str {
    target.name().rsplit_once('/').map_or(target.name(), |(_, name)| name)
}

/// The call that makes the action, with the arguments that were always the same.
fn action(material: &Material) -> Result<(String, Option<String>), String> {
    let newest = material.occasions.last().map(|occasion| &occasion.args);
    let empty = Args::default();
    let args = newest.unwrap_or(&empty);
    let same = material.occasions.iter().all(|occasion| occasion.args == *args);
    let map = if args.is_empty() { "#{}".into() } else { value(&Arg::Map(args.clone()))? };
    let (verb, target) = (literal("the verb", material.verb.as_str())?, literal("the target", material.target.as_str())?);
    let note = (!same).then(|| "the arguments were not the same each time: those of the newest are taken; look at them".to_owned());
    Ok((format!("act(\"{verb}\", \"{target}\", {map})"), note))
}

fn value(arg: &Arg) -> Result<String, String> {
    Ok(match arg {
        Arg::Text(text) => format!("\"{}\"", literal("the argument's text", text)?),
        Arg::Bool(yes) => yes.to_string(),
        Arg::Int(number) => number.to_string(),
        Arg::Float(number) => float(*number),
        Arg::List(list) => format!("[{}]", list.iter().map(value).collect::<Result<Vec<_>, _>>()?.join(", ")),
        Arg::Map(map) => {
            let pair = |(name, arg): (&String, &Arg)| Ok(format!("\"{}\": {}", literal("the argument", name)?, value(arg)?));
            format!("#{{ {} }}", map.iter().map(pair).collect::<Result<Vec<_>, String>>()?.join(", "))
        }
    })
}

/// A number as scripts write floats.
fn float(value: f64) -> String {
    format!("{value:?}").replace('e', "e+").replace("e+-", "e-")
}

fn nice(span: Span) -> Span {
    NICE.into_iter().find(|nice| *nice >= span).unwrap_or(span)
}

fn times(material: &Material, found: &Found) -> Times {
    let claimed = material.occasions.iter().filter_map(|occasion| {
        let claim = occasion.claim.as_ref()?;
        match &claim.subject {
            ClaimSubject::Series { series, .. } if *series.metric == *found.metric => Some(claim.within),
            _ => None,
        }
    });
    let took = found.recovered_within.map(|span| nice(span.times(1.5).max(found.interval.times(3.0))));
    let within = claimed.max().or(took).unwrap_or(WITHIN.1).clamp(WITHIN.0, WITHIN.1);
    let pace = material.paces.get(&found.metric);
    let mut apart: Vec<Span> = material.occasions.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    apart.sort_unstable();
    let usual = apart.get(apart.len() / 2).map_or(COOLDOWN.1, |span| nice(span.times(0.25)));
    let cooldown = pace.map_or_else(|| usual.clamp(COOLDOWN.0, COOLDOWN.1), |pace| pace.cooldown).max(within);
    Times { within, cooldown, settle: pace.map(|pace| pace.settle) }
}

/// What each number rests on.
fn why(material: &Material, found: &Found, times: &Times) -> Vec<String> {
    let done: Vec<String> = material.occasions.iter().map(|occasion| format!("{} (entry {})", occasion.action, occasion.entry)).collect();
    let mut by: Vec<&str> = material.occasions.iter().map(|occasion| occasion.by.as_str()).collect();
    by.sort_unstable();
    by.dedup();
    let by: Vec<&str> = by.into_iter().filter(|by| is_harmless(by)).take(8).collect();
    let mut why = vec![format!("done {} times: {}; wished by {}", done.len(), done.join(", "), by.join(", "))];
    let values: Vec<String> = found.acted_at.iter().map(|(_, value)| shown(*value)).collect();
    match found.basis {
        Basis::Evidence => why.push(format!(
            "threshold {} {}: the comparison by which every one of these was wished",
            found.side.name(),
            float(found.threshold)
        )),
        Basis::Samples => why.push(format!(
            "threshold {} {}: it held {} for {} before {} occasions, and never so in {} quiet windows{}",
            found.side.name(),
            float(found.threshold),
            values.join(", "),
            found.held,
            found.acted_at.len(),
            found.quiet_windows,
            found.quiet.map_or_else(String::new, |value| format!(" (the worst held {})", shown(value)))
        )),
    }
    let back = found.recovered_within.map_or_else(String::new, |span| format!(", at the latest after {span}"));
    why.push(format!(
        "claim {} {} within {}: it came there after {} of {} occasions{back}",
        found.side.other().name(),
        float(found.well),
        times.within,
        found.recovered,
        material.occasions.len()
    ));
    match material.paces.get(&found.metric) {
        Some(pace) => why.push(format!("settle and cooldown as they were learned: {}", pace.text)),
        None => why.push(format!(
            "cooldown {}: from the time between the occasions; settle is the verb's own, no answer of {} to it was learned",
            times.cooldown, found.metric
        )),
    }
    let helped = material.occasions.iter().filter(|occasion| occasion.finding == Some(homeostat_model::Finding::Helped)).count();
    let scored = material.occasions.iter().filter(|occasion| occasion.finding.is_some()).count();
    why.push(if scored == 0 {
        "none of these was scored: whether it helps better than waiting is not known".into()
    } else {
        format!("of {scored} that were scored, {helped} helped")
    });
    why
}

fn shown(value: f64) -> String {
    rounded(value, 4).to_string()
}

fn policy(material: &Material, found: &Found, selector: &str, action: &str, times: &Times) -> String {
    let Found { metric, side, threshold, held, .. } = found;
    let limit = if *side == Side::Above { "high" } else { "low" };
    let entries: Vec<String> = material.occasions.iter().map(|occasion| occasion.entry.to_string()).take(20).collect();
    let settle = times.settle.map_or_else(String::new, |settle| format!("        settle: \"{settle}\",\n"));
    format!(
        r#"//! {verb} on {target} when {metric} stays {side} {threshold}.
//
// Drafted from what was done {count} times (journal entries {entries}); every number is from the record. Nothing is done
// without a person's yes until the line `autonomy` says otherwise.
fn policy() {{
    #{{
        for_each: series("{selector}"),
        every: "1m",
        cooldown: "{cooldown}",
{settle}        autonomy: "suggest",
        params: #{{
            // In the unit of {metric}.
            {limit}: {threshold},
            well: {well},
            held_for: "{held}",
        }},
    }}
}}

fn evaluate(s) {{
    if s.held_{side}(param("{limit}"), param("held_for")) {{
        propose({action})
            .because(`{metric} was {side} ${{param("{limit}")}} for ${{param("held_for")}}, and is ${{s.last()}} now`)
            .claim(s.{good}(param("well")).within("{within}"));
    }}
}}
"#,
        verb = material.verb,
        target = material.target,
        side = side.name(),
        good = side.other().name(),
        threshold = float(*threshold),
        well = float(found.well),
        count = material.occasions.len(),
        entries = entries.join(", "),
        cooldown = times.cooldown,
        within = times.within,
    )
}

/// A piece of a curve on a grid that ends at a moment: the newest value of each step, `None` where no sample came.
fn piece(curve: &Curve, end: Time, step: Span, steps: i64) -> Vec<Option<f64>> {
    let at = |n: i64| end - Span::from_millis(step.millis() * (steps - 1 - n));
    let value = |n: i64| {
        let upto = curve.samples.partition_point(|(when, _)| *when <= at(n));
        let (when, value) = *curve.samples.get(upto.checked_sub(1)?)?;
        (when > at(n) - step).then(|| rounded(value, DIGITS))
    };
    (0..steps).map(value).collect()
}

/// Values as a test writes them; a gap is a sample that did not come, not the series' end.
fn written(values: &[Option<f64>]) -> String {
    let mut parts = Vec::new();
    for run in values.chunk_by(|a, b| a.is_some() == b.is_some()) {
        parts.push(match (run[0], run.len()) {
            (Some(_), _) => notation(run),
            (None, 1) => "_".to_owned(),
            (None, count) => format!("_x{count}"),
        });
    }
    parts.join(" ")
}

fn test(material: &Material, found: &Found, name: &str) -> Result<String, String> {
    let step = Span::from_secs(((found.held.millis() / VALUES_PER_HELD).max(found.interval.millis()) + 999) / 1000);
    let steps = found.held.millis() / step.millis() + LEAD_STEPS;
    let curves: Vec<&Curve> = material.curves.iter().filter(|curve| found.series.contains(&curve.key)).collect();
    let is_whole = |values: &[Option<f64>]| {
        let inner = &values[values.len().saturating_sub((steps - LEAD_STEPS) as usize)..];
        inner.iter().filter(|value| value.is_some()).count() * 10 >= inner.len() * 9
    };
    let on_bad_side = |values: &[Option<f64>]| {
        values.iter().rev().take((steps - LEAD_STEPS) as usize).flatten().all(|v| found.side.holds(*v, found.threshold))
    };
    // The newest occasion whose record is whole.
    let acted = material.occasions.iter().rev().find_map(|occasion: &Occasion| {
        curves.iter().find_map(|curve| {
            held_value(curve, found.side, occasion.at, found.held)?;
            let values = piece(curve, occasion.at, step, steps);
            let fits = is_whole(&values) && on_bad_side(&values);
            fits.then_some((occasion, *curve, values))
        })
    });
    let Some((occasion, curve, values)) = acted else {
        return Err(format!("the record of {} has gaps before every occasion: there is nothing to test a draft with", found.metric));
    };
    let quiet = found.quiet_piece.as_ref().and_then(|(at, key)| {
        let curve = curves.iter().find(|curve| curve.key == *key)?;
        Some((*at, *curve, piece(curve, *at, step, steps)))
    });
    let Some((quiet_at, quiet_curve, quiet)) = quiet.filter(|(_, _, values)| is_whole(values)) else {
        return Err(format!("the record of {} has no whole quiet piece: there is nothing to test a draft with", found.metric));
    };
    let end = Span::from_millis(step.millis() * (steps - 1));
    let target = material.target.to_string();
    let mut text =
        format!("# Two pieces of the record. Run it with `homeostat policy test {name}.rhai`.\npolicy: {name}\ninterval: {step}\ntests:\n");
    let _ = write!(
        text,
        "  - name: the record before {}\n    series:\n      - series: {}\n        values: {}\n    expect:\n      - at: {end}\n        proposes: {{ verb: {}, target: {} }}\n",
        occasion.action,
        quoted(&series(&curve.key)?),
        written(&values),
        quoted(material.verb.as_str()),
        quoted(&target),
    );
    let _ = write!(
        text,
        "  # The quiet time that came nearest to the threshold, {} ms since 1970.\n  - name: the quiet record\n    series:\n      - series: {}\n        values: {}\n    expect:\n      - {{ at: {end}, quiet: {{ because: 'held {}' }} }}\n",
        quiet_at.millis(),
        quoted(&series(&quiet_curve.key)?),
        written(&quiet),
        found.side.name(),
    );
    Ok(text)
}

/// A series for a test: every value of a label checked.
fn series(key: &SeriesKey) -> Result<String, String> {
    for (name, value) in key.labels.iter() {
        literal("the label", name)?;
        literal("the label value", value)?;
    }
    Ok(key.to_string())
}

/// A YAML text in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
