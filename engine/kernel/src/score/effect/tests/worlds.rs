//! Actions of known effect in made worlds: how often the interval holds the truth, and how often an action that did nothing is praised.

use super::*;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    /// 0 to 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// How a world moves. Times in minutes, deviations in the series' unit; the part with memory has deviation 1.
#[derive(Copy, Clone)]
struct World {
    name: &'static str,
    /// Memory over one minute.
    rho: f64,
    /// Deviation of the measurement noise.
    white: f64,
    /// Rise over the four hours before.
    trend: f64,
    /// Amplitude of the daily rhythm.
    daily: f64,
    /// Deviation of what the siblings share.
    shared: f64,
    /// Its memory over one minute.
    shared_rho: f64,
    /// Share of samples missing; a tenth of the actions has a hole of 20 minutes too.
    missing: f64,
    /// The action is sent because a value crossed this many deviations.
    trigger: Option<f64>,
    /// Share of samples that are wild: off by ten.
    wild: f64,
    /// Minutes between samples.
    every: usize,
    /// Minutes of past.
    past: usize,
}

const PLAIN: World = World {
    name: "white noise",
    rho: 0.0,
    white: 0.0,
    trend: 0.0,
    daily: 0.0,
    shared: 0.0,
    shared_rho: 0.98,
    missing: 0.0,
    trigger: None,
    wild: 0.0,
    every: 1,
    past: 240,
};

const WORLDS: [World; 18] = [
    PLAIN,
    World { name: "memory .5", rho: 0.5, ..PLAIN },
    World { name: "memory .8", rho: 0.8, ..PLAIN },
    World { name: "memory .95", rho: 0.95, ..PLAIN },
    World { name: "memory .99", rho: 0.99, ..PLAIN },
    World { name: "wild samples, memory .8", rho: 0.8, wild: 0.01, ..PLAIN },
    World { name: "a sample in five minutes", rho: 0.9, white: 0.4, every: 5, ..PLAIN },
    World { name: "memory .9, measured with noise", rho: 0.9, white: 0.7, ..PLAIN },
    World { name: "trend, memory .8, 15 % missing", rho: 0.8, white: 0.3, trend: 3.0, missing: 0.15, ..PLAIN },
    World { name: "daily rhythm, two days known", rho: 0.8, white: 0.3, daily: 4.0, past: 3200, ..PLAIN },
    World { name: "daily rhythm, four hours known", rho: 0.8, white: 0.3, daily: 4.0, ..PLAIN },
    World { name: "siblings, memory .8, 10 % missing", rho: 0.8, white: 0.2, shared: 3.0, missing: 0.1, ..PLAIN },
    World { name: "siblings move fast, crossing", rho: 0.8, white: 0.2, shared: 2.0, shared_rho: 0.7, trigger: Some(2.0), ..PLAIN },
    World { name: "crossing, memory .5", rho: 0.5, trigger: Some(2.0), ..PLAIN },
    World { name: "crossing, memory .8, noise", rho: 0.8, white: 0.5, trigger: Some(2.0), ..PLAIN },
    World { name: "crossing, memory .95, noise", rho: 0.95, white: 0.3, trigger: Some(1.7), missing: 0.1, ..PLAIN },
    World { name: "crossing, trend, siblings", rho: 0.8, white: 0.3, trend: 2.0, shared: 2.0, trigger: Some(2.0), missing: 0.1, ..PLAIN },
    World {
        name: "all of it, two days known",
        rho: 0.9,
        white: 0.4,
        trend: 1.5,
        daily: 2.0,
        shared: 1.5,
        missing: 0.2,
        trigger: Some(2.0),
        past: 3200,
        ..PLAIN
    },
];

const DEAD_MINUTES: usize = 2;
const JUDGED_MINUTES: usize = 32;
/// An action is waited for so long.
const WAIT_MINUTES: usize = 600;

/// One generated action.
struct Case {
    target: Vec<(f64, f64)>,
    controls: Vec<Vec<(f64, f64)>>,
    truth: f64,
}

impl World {
    fn case(&self, truth: f64, chance: &mut Chance) -> Case {
        loop {
            if let Some(case) = self.attempt(truth, chance) {
                return case;
            }
        }
    }

    /// `None`: nothing crossed the line in time.
    fn attempt(&self, truth: f64, chance: &mut Chance) -> Option<Case> {
        let length = self.past + WAIT_MINUTES + JUDGED_MINUTES + 1;
        let phase = chance.unit();
        let shared = walk(self.shared_rho, length, chance);
        let series = |chance: &mut Chance| -> Vec<f64> {
            let own = walk(self.rho, length, chance);
            let rhythm = |minute: usize| (std::f64::consts::TAU * (minute as f64 / 1440.0 + phase)).sin();
            (0..length)
                .map(|minute| {
                    own[minute]
                        + self.white * chance.normal()
                        + self.trend * minute as f64 / 240.0
                        + self.daily * rhythm(minute)
                        + self.shared * shared[minute]
                        + if self.wild > 0.0 && chance.unit() < self.wild { 10.0 } else { 0.0 }
                })
                .collect()
        };
        let values = series(chance);
        let siblings: Vec<Vec<f64>> = (0..if self.shared > 0.0 { 2 } else { 0 }).map(|_| series(chance)).collect();
        let sent = match self.trigger {
            None => self.past + 1,
            Some(line) => {
                let line = line * (1.0 + self.white * self.white + self.shared * self.shared).sqrt();
                let line = line + self.trend * (self.past + WAIT_MINUTES / 2) as f64 / 240.0;
                // A crossing: under the line before, over it now.
                (self.past + 1..self.past + WAIT_MINUTES).find(|minute| values[*minute] > line && values[*minute - 1] <= line)?
            }
        };
        let hole = (chance.unit() < 0.1 && self.missing > 0.0).then(|| 30.0 + 150.0 * chance.unit());
        let mut cut = |values: &[f64], effect: f64| -> Vec<(f64, f64)> {
            (sent - self.past..=sent + JUDGED_MINUTES)
                .filter(|minute| minute.abs_diff(sent).is_multiple_of(self.every))
                .filter_map(|minute| {
                    let at = minute as f64 - sent as f64;
                    let lost = chance.unit() < self.missing || hole.is_some_and(|hole| at > -hole && at < 20.0 - hole);
                    let moved = if at >= DEAD_MINUTES as f64 { effect } else { 0.0 };
                    (!lost).then_some((60.0 * at, 50.0 + values[minute] + moved))
                })
                .collect()
        };
        Some(Case { target: cut(&values, truth), controls: siblings.iter().map(|sibling| cut(sibling, 0.0)).collect(), truth })
    }
}

/// A stationary process with memory `rho` and deviation 1.
fn walk(rho: f64, length: usize, chance: &mut Chance) -> Vec<f64> {
    let mut value = chance.normal();
    let fresh = (1.0 - rho * rho).sqrt();
    (0..length)
        .map(|_| {
            let now = value;
            value = rho * value + fresh * chance.normal();
            now
        })
        .collect()
}

/// The naive way: mean after minus mean before over as long, Welch's interval.
fn naive(target: &[(f64, f64)]) -> (f64, f64) {
    let part =
        |from: f64, to: f64| -> Vec<f64> { target.iter().filter(|(at, _)| *at >= from && *at <= to).map(|(_, value)| *value).collect() };
    let judged = 60.0 * (JUDGED_MINUTES - DEAD_MINUTES) as f64;
    let (before, after) = (part(-judged, 0.0), part(60.0 * DEAD_MINUTES as f64, 60.0 * JUDGED_MINUTES as f64));
    let moments = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count, count)
    };
    let ((left, left_error, left_count), (right, right_error, right_count)) = (moments(&before), moments(&after));
    let error = left_error + right_error;
    let freedom = error * error / (left_error.powi(2) / (left_count - 1.0) + right_error.powi(2) / (right_count - 1.0));
    let half = error.sqrt() * StudentsT::new(0.0, 1.0, freedom).unwrap().inverse_cdf(0.975);
    (right - left - half, right - left + half)
}

/// What came out over many actions. Less is better in all worlds.
#[derive(Copy, Clone, Default)]
struct Tally {
    actions: f64,
    held: f64,
    nulls: f64,
    helped: f64,
    harmed: f64,
    large: f64,
    found: f64,
    width: f64,
    bias: f64,
}

impl Tally {
    fn count(&mut self, truth: f64, low: f64, high: f64) {
        self.actions += 1.0;
        self.held += f64::from(low <= truth && truth <= high);
        self.width += high - low;
        self.bias += 0.5 * (low + high) - truth;
        if truth == 0.0 {
            self.nulls += 1.0;
            self.helped += f64::from(high < 0.0);
            self.harmed += f64::from(low > 0.0);
        } else if truth.abs() >= 2.0 {
            self.large += 1.0;
            self.found += f64::from(if truth < 0.0 { high < 0.0 } else { low > 0.0 });
        }
    }

    fn add(&mut self, other: &Tally) {
        for (mine, theirs) in [
            (&mut self.actions, other.actions),
            (&mut self.held, other.held),
            (&mut self.nulls, other.nulls),
            (&mut self.helped, other.helped),
            (&mut self.harmed, other.harmed),
            (&mut self.large, other.large),
            (&mut self.found, other.found),
            (&mut self.width, other.width),
            (&mut self.bias, other.bias),
        ] {
            *mine += theirs;
        }
    }

    fn line(&self) -> String {
        let share = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
        format!(
            "{:6.1} {:7.1} {:7.1} {:7.1} {:7.2} {:7.2}",
            share(self.held, self.actions),
            share(self.helped, self.nulls),
            share(self.harmed, self.nulls),
            share(self.found, self.large),
            self.width / self.actions,
            self.bias / self.actions
        )
    }
}

/// Runs `each` actions per world: ours and the naive way.
fn run(each: usize) -> Vec<(&'static str, Tally, Tally)> {
    let mut chance = Chance(6);
    let mut table = Vec::new();
    for world in WORLDS {
        let (mut ours, mut simple) = (Tally::default(), Tally::default());
        for action in 0..each {
            let truth = if action % 2 == 0 { 0.0 } else { 8.0 * chance.unit() - 4.0 };
            let case = world.case(truth, &mut chance);
            let controls: Vec<&[(f64, f64)]> = case.controls.iter().map(Vec::as_slice).collect();
            let asked = Question { controls: &controls, ..question(&case.target) };
            let estimate = estimate(&asked).unwrap_or_else(|gap| panic!("{}: {gap}", world.name));
            ours.count(case.truth, estimate.low, estimate.high);
            let (low, high) = naive(&case.target);
            simple.count(case.truth, low, high);
        }
        table.push((world.name, ours, simple));
    }
    table
}

fn total(table: &[(&str, Tally)]) -> Tally {
    let mut sum = Tally::default();
    table.iter().for_each(|(_, tally)| sum.add(tally));
    sum
}

fn print(title: &str, table: &[(&str, Tally)]) {
    println!("\n{title:<36} holds  helped  harmed   found   width    bias");
    for (name, tally) in table {
        println!("{name:<34} {}", tally.line());
    }
    println!("{:<34} {}", "all", total(table).line());
}

#[test]
fn intervals_hold_the_truth_and_idle_actions_are_not_praised() {
    let table = run(144);
    let ours: Vec<(&str, Tally)> = table.iter().map(|(name, ours, _)| (*name, *ours)).collect();
    let simple: Vec<(&str, Tally)> = table.iter().map(|(name, _, simple)| (*name, *simple)).collect();
    print("this estimator", &ours);
    print("difference of means, Welch", &simple);
    let (ours, simple) = (total(&ours), total(&simple));
    let held = ours.held / ours.actions;
    assert!(ours.actions >= 2000.0 && (0.92..=0.98).contains(&held), "{held}");
    assert!(ours.helped <= 0.05 * ours.nulls && ours.harmed <= 0.05 * ours.nulls, "{}", ours.line());
    assert!(simple.held < 0.92 * simple.actions && simple.helped > 0.05 * simple.nulls && simple.harmed > 0.05 * simple.nulls);
}
