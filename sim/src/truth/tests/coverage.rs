//! Intervals that hold the truth, through the kernel, with everything present that misleads: trend, daily rhythm, memory, lost samples,
//! troubles that go by themselves, and actions that are sent because a value was high. The naive difference beside it.

use super::lab::*;
use crate::truth::{Answer, Driver, Person, Recipe, Size, Trouble, Weather};
use homeostat_model::{Autonomy, EarnedSettings, Finding, Span, Time};
use std::collections::BTreeMap;

/// Actions in the plain run; `HOMEOSTAT_ACTIONS` asks for more.
const ACTIONS: usize = 300;
const NODES: usize = 12;
const WITHIN: Span = Span::from_mins(20);

const STEADY: Weather =
    Weather { base: 20.0, own: 1.0, memory: Span::from_mins(5), white: 0.3, missing: 0.1, holes_per_day: 1.0, ..Weather::STILL };

/// The worlds: name, weather, troubles, the policy's line. Where there are troubles, a person is asked first.
fn worlds() -> Vec<(&'static str, Weather, Trouble, f64)> {
    let none = Trouble { per_day: 0.0, size: 0.0, heals_after: None, rests: Span::ZERO };
    let passing = Trouble { per_day: 12.0, size: 6.0, heals_after: Some(Span::from_mins(40)), rests: Span::ZERO };
    let lasting = Trouble { per_day: 6.0, size: 6.0, heals_after: Some(Span::from_hours(4)), rests: Span::ZERO };
    vec![
        ("crosses a line by chance", STEADY, none, 21.8),
        ("long memory", Weather { memory: Span::from_mins(40), ..STEADY }, none, 21.5),
        ("trend and daily rhythm", Weather { trend_per_day: 0.4, daily: 1.5, ..STEADY }, none, 22.8),
        ("shared with siblings", Weather { shared: 1.5, memory: Span::from_mins(15), ..STEADY }, none, 22.8),
        ("troubles that pass in 40 min", STEADY, passing, 23.0),
        ("troubles that last, all of it", Weather { trend_per_day: 0.2, daily: 0.8, shared: 0.7, ..STEADY }, lasting, 24.5),
    ]
}

fn recipe(weather: Weather, trouble: Trouble) -> Recipe {
    let drawn = Size::Drawn { null_share: 0.5, most: 5.0 };
    let answer = Answer { after: Span::from_secs(90), jitter: Span::from_mins(2), moves: drawn, ..Answer::PLACEBO };
    Recipe {
        nodes: NODES,
        interval: Span::from_mins(1),
        weather,
        trouble,
        answers: BTreeMap::from([("mend.restart".into(), answer)]),
        machines: false,
    }
}

/// What came out. Less is better.
#[derive(Copy, Clone, Debug, Default)]
struct Tally {
    actions: f64,
    scored: f64,
    held: f64,
    nulls: f64,
    helped: f64,
    harmed: f64,
    /// Effects of 2.5 and more, and how many of them were named rightly.
    large: f64,
    named: f64,
    width: f64,
    naive_held: f64,
    naive_helped: f64,
    naive_harmed: f64,
    naive: f64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        let pairs = [
            (&mut self.actions, other.actions),
            (&mut self.scored, other.scored),
            (&mut self.held, other.held),
            (&mut self.nulls, other.nulls),
            (&mut self.helped, other.helped),
            (&mut self.harmed, other.harmed),
            (&mut self.large, other.large),
            (&mut self.named, other.named),
            (&mut self.width, other.width),
            (&mut self.naive_held, other.naive_held),
            (&mut self.naive_helped, other.naive_helped),
            (&mut self.naive_harmed, other.naive_harmed),
            (&mut self.naive, other.naive),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| *mine += theirs);
    }

    fn line(&self) -> String {
        let share = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
        format!(
            "{:6.0} {:6.0} {:6.1} {:7.1} {:7.1} {:6.1} {:6.2} | {:6.1} {:7.1} {:7.1}",
            self.actions,
            self.scored,
            share(self.held, self.scored),
            share(self.helped, self.nulls),
            share(self.harmed, self.nulls),
            share(self.named, self.large),
            self.width / self.scored.max(1.0),
            share(self.naive_held, self.naive),
            share(self.naive_helped, self.nulls),
            share(self.naive_harmed, self.nulls),
        )
    }
}

/// Mean after minus mean before over as long, with Welch's standard error and the normal's 1.96.
fn naive(seen: &[(Time, f64)], sent_at: Time) -> Option<(f64, f64)> {
    let half = WITHIN.times(0.5);
    let part = |from: Time, to: Time| -> Vec<f64> {
        let first = seen.partition_point(|(at, _)| *at <= from);
        seen[first..].iter().take_while(|(at, _)| *at <= to).map(|(_, value)| *value).collect()
    };
    let (before, after) = (part(sent_at - half, sent_at), part(sent_at + half, sent_at + WITHIN));
    let moments = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
    };
    if before.len() < 3 || after.len() < 3 {
        return None;
    }
    let ((left, left_error), (right, right_error)) = (moments(&before), moments(&after));
    let half = 1.96 * (left_error + right_error).sqrt();
    Some((right - left - half, right - left + half))
}

fn counted(driver: &Driver) -> Tally {
    let mut tally = Tally::default();
    for (_, action, score) in scores(driver) {
        let truth = driver.world.truths[&action];
        tally.actions += 1.0;
        let Some(effect) = &score.effect else { continue };
        tally.scored += 1.0;
        tally.held += f64::from(u8::from(effect.low <= truth.moves && truth.moves <= effect.high));
        tally.width += effect.high - effect.low;
        let is_null = truth.moves == 0.0;
        if is_null {
            tally.nulls += 1.0;
            tally.helped += f64::from(u8::from(score.finding == Finding::Helped));
            tally.harmed += f64::from(u8::from(score.finding == Finding::Harmed));
        } else if truth.moves.abs() >= 2.5 {
            tally.large += 1.0;
            let right = if truth.moves < 0.0 { Finding::Helped } else { Finding::Harmed };
            tally.named += f64::from(u8::from(score.finding == right));
        }
        if let Some((low, high)) = naive(&driver.world.seen[truth.node], truth.sent_at) {
            tally.naive += 1.0;
            tally.naive_held += f64::from(u8::from(low <= truth.moves && truth.moves <= high));
            if is_null {
                tally.naive_helped += f64::from(u8::from(high < 0.0));
                tally.naive_harmed += f64::from(u8::from(low > 0.0));
            }
        }
    }
    tally
}

#[test]
fn intervals_hold_the_truth_and_idle_actions_are_not_praised() {
    let wanted = from_env("HOMEOSTAT_ACTIONS", ACTIONS);
    let worlds = worlds();
    let (mut all, mut samples) = (Tally::default(), 0);
    println!("\n{:<32}  sent scored  holds  helped  harmed  named  width | naive: holds helped harmed", "world");
    for (name, weather, trouble, line) in &worlds {
        let mut tally = Tally::default();
        for seed in 1.. {
            // A person says yes to most; the others show how such symptoms end by themselves.
            let start = if trouble.per_day > 0.0 { Autonomy::Suggest } else { Autonomy::Auto };
            let earned = EarnedSettings { start, lower_bound_min: 1.0, ..EarnedSettings::default() };
            let policy = mending(*line, "20m", "cooldown: \"4h\", every: \"10m\"");
            let person = Person { yes: 0.8, after: Span::from_mins(1), later: Span::from_mins(4) };
            let mut rules = rules(settings(earned), &[("mend", &policy)]);
            let mut driver = driver(recipe(*weather, *trouble), setup(rules.clone(), Some(person)), seed);
            let missing = wanted as f64 / worlds.len() as f64 - tally.scored;
            let mut hours = 0;
            while hours < 4 * 24 && (scores(&driver).count() as f64) < missing {
                driver.run_for(Span::from_hours(2));
                hours += 2;
                // Harm costs a step, and in shadow nothing is sent. Another actuator begins anew; how symptoms end by themselves stays known.
                let verbs = rules.actuators.iter_mut().flat_map(|spec| &mut spec.verbs);
                verbs.for_each(|verb| verb.timeout = verb.timeout + Span::from_secs(1));
                driver.load(rules.clone());
            }
            samples += driver.kernel.stats().samples;
            tally.add(&counted(&driver));
            if tally.scored >= wanted as f64 / worlds.len() as f64 {
                break;
            }
            assert!(seed < 60, "{name}: too few actions, {}", tally.line());
        }
        println!("{name:<32} {}", tally.line());
        all.add(&tally);
    }
    println!("{:<32} {}\n{samples} samples", "all", all.line());
    let share = |part: f64, whole: f64| part / whole;
    assert!(all.scored >= wanted as f64);
    assert!((0.92..=0.98).contains(&share(all.held, all.scored)), "{}", all.line());
    assert!(share(all.helped, all.nulls) <= 0.05 && share(all.harmed, all.nulls) <= 0.05, "{}", all.line());
    assert!(share(all.naive_held, all.naive) < 0.92, "the naive way does worse: {}", all.line());
    assert!(share(all.naive_helped, all.nulls) > 0.05, "the naive way praises idle actions: {}", all.line());
}
