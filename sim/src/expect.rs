//! Whether a run came to what its scenario expects.
//!
//! Every unmet expectation is told with what was seen instead, so that nobody has to run it again to learn that. An editor breaks
//! this by an expectation that cannot fail.

use crate::figures::{Figures, Line};
use crate::plant::Worth;
use crate::run::{Control, Finished};
use crate::scenario::{Expect, Pattern, Scenario};
use homeostat_model::Span;

/// What was not met, in words; broken invariants count too.
pub fn unmet(scenario: &Scenario, finished: &Finished, controls: &[Figures]) -> Vec<String> {
    let broken = finished.violations.iter().map(|violation| format!("the invariant {violation}"));
    broken.chain(scenario.expect.iter().filter_map(|expect| problem(expect, finished, controls))).collect()
}

/// The controls that a scenario compares with.
pub fn controls(scenario: &Scenario) -> Vec<Control> {
    let mut controls: Vec<Control> = scenario
        .expect
        .iter()
        .filter_map(|expect| if let Expect::BetterThan { control, .. } = expect { Some(*control) } else { None })
        .collect();
    controls.sort_unstable();
    controls.dedup();
    controls
}

fn within(count: usize, min: usize, max: Option<usize>) -> bool {
    count >= min && max.is_none_or(|max| count <= max)
}

fn range(min: usize, max: Option<usize>) -> String {
    match max {
        Some(max) if max == min => format!("{min}"),
        Some(max) => format!("{min} to {max}"),
        None => format!("at least {min}"),
    }
}

fn fitting<'a>(lines: &'a [Line], of: &'a Pattern, what: &'a str, why: Option<&'a str>) -> impl Iterator<Item = &'a Line> {
    lines.iter().filter(move |line| {
        of.fits(line.at, &line.policy, &line.verb, &line.target)
            && (what.is_empty() || line.what == what)
            && why.is_none_or(|why| line.why == why)
    })
}

fn told(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "there was none at all".into();
    }
    let shown: Vec<String> =
        lines.iter().take(8).map(|l| format!("{} {} {} {} {} {}", l.at, l.policy, l.verb, l.target, l.what, l.why)).collect();
    format!("seen: {}{}", shown.join("; "), if lines.len() > 8 { " …" } else { "" })
}

fn problem(expect: &Expect, finished: &Finished, controls: &[Figures]) -> Option<String> {
    let (tally, figures) = (&finished.tally, &finished.figures);
    match expect {
        Expect::Acts { of, min, max } => {
            let count = fitting(&tally.acts, of, "", None).count();
            (!within(count, *min, *max)).then(|| format!("{count} actions {of:?}, expected {}; {}", range(*min, *max), told(&tally.acts)))
        }
        Expect::Ruled { of, verdict, guard, min, max } => {
            let count = fitting(&tally.rulings, of, verdict, guard.as_deref()).count();
            let by = guard.as_ref().map_or_else(String::new, |guard| format!(" by {guard}"));
            (!within(count, *min, *max))
                .then(|| format!("{count} rulings {verdict}{by} {of:?}, expected {}; {}", range(*min, *max), told(&tally.rulings)))
        }
        Expect::Claims { of, held, min, max } => {
            let what = held.map_or("undetermined", |held| if held { "held" } else { "failed" });
            let count = fitting(&tally.claims, of, what, None).count();
            (!within(count, *min, *max))
                .then(|| format!("{count} claims {what} {of:?}, expected {}; {}", range(*min, *max), told(&tally.claims)))
        }
        Expect::Notes { name, min, max } => {
            let count = tally.notes.get(name.as_str()).copied().unwrap_or(0);
            (!within(count, *min, *max)).then(|| format!("{count} notes `{name}`, expected {}; seen: {:?}", range(*min, *max), tally.notes))
        }
        Expect::Outside { aim, max, min } => {
            let seconds: f64 = finished.outside.iter().filter(|(name, _)| aim == "*" || name == aim).map(|(_, seconds)| seconds).sum();
            let outside = Span::from_secs(seconds as i64);
            let bad = outside > *max || min.is_some_and(|min| outside < min);
            bad.then(|| format!("`{aim}` was outside for {outside}, expected {} to {max}", min.unwrap_or(Span::ZERO)))
        }
        Expect::Wrong { useless_max, harmful_max } => {
            let bad = figures.useless > *useless_max || figures.harmful > *harmful_max;
            let wrong: Vec<Line> = tally.judged.iter().filter(|(worth, _)| *worth > Worth::Useful).map(|(_, line)| line.clone()).collect();
            bad.then(|| {
                format!(
                    "{} useless and {} harmful actions, expected at most {useless_max} and {harmful_max}; {}",
                    figures.useless,
                    figures.harmful,
                    told(&wrong)
                )
            })
        }
        Expect::Runs { of, end, min, max } => {
            let count = fitting(&tally.runs, of, end.name(), None).count();
            (!within(count, *min, *max))
                .then(|| format!("{count} runs {} {of:?}, expected {}; {}", end.name(), range(*min, *max), told(&tally.runs)))
        }
        Expect::Reverts { of, min, max } => {
            let count = fitting(&tally.reverts, of, "", None).count();
            (!within(count, *min, *max))
                .then(|| format!("{count} reverts {of:?}, expected {}; {}", range(*min, *max), told(&tally.reverts)))
        }
        Expect::AsBefore { targets, differs } => standing(targets, *differs, finished),
        Expect::Losses { max } => {
            (figures.losses.len() > *max).then(|| format!("lost for good: {:?}, expected at most {max}", figures.losses))
        }
        Expect::BetterThan { control, by } => {
            let Some(other) = controls.iter().find(|figures| figures.control == control.name()) else {
                return Some(format!("the control {} was not run", control.name()));
            };
            let Some((ours, theirs)) = figure(figures, by).zip(figure(other, by)) else {
                return Some(format!(
                    "there is no figure `{by}` to compare (there are: harmful, useless, disrupted, outside, losses, energy)"
                ));
            };
            (ours >= theirs).then(|| format!("{by}: ours {ours}, {} {theirs}: not better", control.name()))
        }
    }
}

fn standing(targets: &[String], differs: bool, finished: &Finished) -> Option<String> {
    let Some(before) = &finished.before_runs else { return Some("no run has begun: nothing stands as before".into()) };
    let wrong = targets.iter().find(|target| match (before.get(*target), finished.standing.get(*target)) {
        (Some(before), Some(after)) => (before == after) == differs,
        _ => true,
    })?;
    let text = |standing: &std::collections::BTreeMap<String, String>| standing.get(wrong).map_or("not there", String::as_str).to_owned();
    let wish = if differs { "something else" } else { "the same" };
    Some(format!("{wrong} was `{}` before the first run and is `{}` at the end, expected {wish}", text(before), text(&finished.standing)))
}

fn figure(figures: &Figures, by: &str) -> Option<f64> {
    Some(match by {
        "harmful" => figures.harmful as f64,
        "useless" => figures.useless as f64,
        "disrupted" => figures.disruption_minutes,
        "outside" => figures.outside_seconds,
        "losses" => figures.losses.len() as f64,
        "energy" => figures.joules,
        _ => return None,
    })
}
