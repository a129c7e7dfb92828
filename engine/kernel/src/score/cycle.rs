//! Limit cycles in what was done to one target: up and down, up and down, because the loop chases its own effect.
//!
//! Deliberately absent: which verbs are up and which are down, and holding anything back, which is the guard `opposite`. An
//! editor breaks this by loosening a threshold without the 30-day loads of the tests (every load swings now and then as regularly as
//! a square wave, for a while), or by counting the swings of before a pause again after it.

use homeostat_model::{Span, Time};
use serde::{Deserialize, Serialize};

/// So many swings are looked at, the newest.
pub const SWINGS_MAX: usize = 512;
/// Longer periods than this many times the plant's own time are somebody's rhythm, not the loop's.
pub const PLANT_TIMES_MAX: i64 = 20;
/// So many periods in a row must be alike, where nothing speaks against it.
pub const PERIODS_MIN: u32 = 3;
/// Alike: the longest and the shortest differ by at most this share of the mean period. Jitter of 5 % to both sides, and a hair.
const APART_SHARE_MAX: f64 = 0.105;
/// Jitter may make a period at the limit look a little longer.
const LIMIT_JITTER: f64 = 1.05;
/// The shorter half is at least this share of the period: a wave of 20 % with its jitter.
const HALF_SHARE_MIN: f64 = 0.14;
/// Irregular swinging counts up to periods so many times as long as the longest that could trip.
const OTHERS_TIMES: i64 = 3;

/// One action on the target, as a direction: wake and scale-up are up, sleep and scale-down are down.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swing {
    /// When it was sent.
    pub at: Time,
    /// Whether it was up.
    pub up: bool,
}

/// A limit cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// From one up to the next, mean.
    pub period: Span,
    /// So many whole periods in a row.
    pub periods: u32,
    /// In words.
    pub text: String,
}

/// Looks for a limit cycle that goes on until the last swing; swings of one target, oldest first.
///
/// `plant` is how long the target takes to answer (its settle time). Several swings in one direction count as one, at its beginning.
/// The newest periods are a limit cycle if
/// * all times up are alike, all times down are, and so are all distances from up to up and from down to down: each within 10.5 % of the
///   mean period, which is what is left where no distance is off by more than 5 % of the period,
/// * neither half is shorter than 14 % of the period,
/// * the mean period is at most 20 times `plant` (and 5 %, for jitter): a daily rhythm never is,
/// * there are at least 3 of them, and more where there was other swinging about as fast (periods up to 60 times `plant`) before: two
///   more from the first such period on, three more from the 10th, four more from the 100th. Irregular swinging looks regular now and
///   then, the oftener the more there is of it.
///
/// A load so heavy that only the dwell times pace the swings is a limit cycle of those dwell times, and is called one.
///
/// Work: the regular periods, and only where they suffice the newest [`SWINGS_MAX`] swings.
pub fn detect(swings: &[Swing], plant: Span) -> Option<Cycle> {
    let limit = plant.millis().saturating_mul(PLANT_TIMES_MAX);
    let swings = &swings[swings.len().saturating_sub(SWINGS_MAX)..];
    let run = Run::newest(turns(swings));
    let periods = run.turns.saturating_sub(1) as u32 / 2;
    let period = run.period?;
    let [down, up] = run.halves.map(Range::mean);
    if periods < PERIODS_MIN || period > limit as f64 * LIMIT_JITTER || down.min(up) < HALF_SHARE_MIN * period {
        return None;
    }
    let others = others(turns(swings).skip(run.turns), limit.saturating_mul(OTHERS_TIMES));
    let more = if others == 0 { 0 } else { 2 + others.ilog10() };
    if periods < PERIODS_MIN + more {
        return None;
    }
    let period = Span::from_millis(period as i64);
    let [down, up] = [down, up].map(|millis| rounded(Span::from_millis(millis as i64)));
    let (every, needs) = (rounded(period), rounded(plant));
    let text = format!("up and down every {every}, {periods} times in a row ({up} up, {down} down); the target itself needs {needs}");
    Some(Cycle { period, periods, text })
}

/// Whole seconds from ten seconds on: nobody reads the milliseconds of a period.
fn rounded(span: Span) -> Span {
    if span >= Span::from_secs(10) { Span::from_secs((span.millis() + 500) / 1000) } else { span }
}

/// The swings at which the direction changes, newest first.
fn turns(swings: &[Swing]) -> impl Iterator<Item = Swing> {
    let first = |index: &usize| *index == 0 || swings[index - 1].up != swings[*index].up;
    (0..swings.len()).rev().filter(first).map(|index| swings[index])
}

/// How many whole periods of at most `limit` milliseconds there are among some turns, newest first.
fn others(turns: impl Iterator<Item = Swing>, limit: i64) -> u32 {
    let (mut count, mut later) = (0, None::<Swing>);
    for turn in turns.step_by(2) {
        count += u32::from(later.is_some_and(|later| later.at.since(turn.at).millis() <= limit));
        later = Some(turn);
    }
    count
}

/// Shortest, longest, and sum of some distances, milliseconds.
#[derive(Copy, Clone, Default)]
struct Range {
    count: usize,
    sum: f64,
    shortest: f64,
    longest: f64,
}

impl Range {
    fn with(mut self, value: f64) -> Range {
        let first = self.count == 0;
        self.shortest = if first { value } else { self.shortest.min(value) };
        self.longest = if first { value } else { self.longest.max(value) };
        self.count += 1;
        self.sum += value;
        self
    }

    fn apart(self) -> f64 {
        self.longest - self.shortest
    }

    fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// The longest regular end of the turns.
#[derive(Copy, Clone, Default)]
struct Run {
    turns: usize,
    /// After downs and after ups.
    halves: [Range; 2],
    /// From down to down and from up to up.
    wholes: [Range; 2],
    /// The mean period, milliseconds; from three turns on.
    period: Option<f64>,
}

impl Run {
    /// Turns come newest first.
    fn newest(turns: impl Iterator<Item = Swing>) -> Run {
        let mut run = Run::default();
        let (mut next, mut after_next) = (None::<Swing>, None::<Swing>);
        for turn in turns {
            let mut longer = run;
            longer.turns += 1;
            let side = usize::from(turn.up);
            if let Some(next) = next {
                longer.halves[side] = run.halves[side].with(next.at.since(turn.at).millis() as f64);
            }
            if let Some(after) = after_next {
                longer.wholes[side] = run.wholes[side].with(after.at.since(turn.at).millis() as f64);
                let [downs, ups] = longer.wholes;
                longer.period = Some((downs.sum + ups.sum) / (downs.count + ups.count) as f64);
            }
            let apart = longer.halves.into_iter().chain(longer.wholes).map(Range::apart).fold(0.0, f64::max);
            if longer.period.is_some_and(|period| apart > APART_SHARE_MAX * period) {
                break;
            }
            run = longer;
            (after_next, next) = (next, Some(turn));
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SplitMix64 (Steele, Lea, Flood 2014): even numbers from a seed.
    struct Chance(u64);

    impl Chance {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn wait(&mut self, mean: f64) -> f64 {
            -(1.0 - self.unit()).ln() * mean
        }
    }

    fn swing(minutes: f64, up: bool) -> Swing {
        Swing { at: Time((minutes * 60_000.0) as i64), up }
    }

    const MONTH_MINUTES: f64 = 30.0 * 1440.0;

    /// Orders come as a Poisson process, each turns the target around, but no sooner than a dwell time after the last turn.
    fn ordered(chance: &mut Chance, dwell: f64, mean: f64) -> Vec<Swing> {
        let (mut at, mut swings) = (0.0, Vec::new());
        while at < MONTH_MINUTES {
            at += dwell + chance.wait(mean);
            swings.push(swing(at, swings.len() % 2 == 0));
        }
        swings
    }

    /// Jobs come as a Poisson process and last 5 min in the mean; the machine wakes for them and sleeps after a dwell time without.
    fn worked(chance: &mut Chance, dwell: f64, mean: f64) -> Vec<Swing> {
        let (mut arrives, mut swings) = (chance.wait(mean), Vec::new());
        while arrives < MONTH_MINUTES {
            swings.push(swing(arrives, true));
            let mut busy_until = arrives + 1.0;
            while arrives <= busy_until + dwell {
                busy_until = busy_until.max(arrives) + chance.wait(5.0);
                arrives += chance.wait(mean);
            }
            swings.push(swing(busy_until + dwell, false));
        }
        swings
    }

    #[test]
    fn a_load_without_rhythm_never_trips_in_thirty_days() {
        let (mut sequences, mut turns, mut tripped) = (0, 0, Vec::new());
        for dwell in [5.0, 10.0, 15.0] {
            for mean in [15.0, 30.0, 120.0, 480.0] {
                for seed in 0..200 {
                    for (name, load) in [("ordered", ordered as fn(&mut Chance, f64, f64) -> Vec<Swing>), ("worked", worked)] {
                        let swings = load(&mut Chance(seed * 7919 + 1), dwell, mean);
                        (sequences, turns) = (sequences + 1, turns + swings.len());
                        let trip = (1..=swings.len()).find_map(|until| detect(&swings[..until], Span::from_secs(60)));
                        tripped.extend(trip.map(|cycle| format!("{name}, {dwell} min, {mean} min, seed {seed}: {}", cycle.text)));
                    }
                }
            }
        }
        println!("{sequences} sequences of 30 days, {turns} swings, {} trips", tripped.len());
        assert!(tripped.is_empty(), "{tripped:#?}");
    }

    /// A square wave whose every swing is up to 2.5 % of the period early or late: no distance is off by more than 5 %.
    fn wave(period: f64, share_up: f64, periods: usize, mut jitter: impl FnMut() -> f64) -> Vec<Swing> {
        let turn = |index: usize| (index / 2) as f64 + if index % 2 == 1 { share_up } else { 0.0 };
        (0..=2 * periods).map(|index| swing(1000.0 + period * (turn(index) + 0.025 * jitter()), index % 2 == 0)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_square_wave_trips_within_three_periods(
            plant_seconds in 5_i64..400,
            period_share in 0.02_f64..=1.0,
            share_up in 0.2_f64..0.8,
            jitter in prop::collection::vec(prop_oneof![Just(-1.0), Just(1.0), -1.0_f64..1.0], 7),
            flip in any::<bool>(),
            days in 0_usize..40,
        ) {
            let plant = Span::from_secs(plant_seconds);
            let period = plant.seconds() / 60.0 * PLANT_TIMES_MAX as f64 * period_share;
            let mut jitters = jitter.into_iter();
            // What was done once a day, long before, changes nothing, nor does a second order in the same direction.
            let mut swings: Vec<Swing> = (0..days).flat_map(|day| {
                let day = 1000.0 - 1440.0 * (days - day) as f64;
                [swing(day, !flip), swing(day + 600.0, flip)]
            }).collect();
            let newest = wave(period, share_up, 3, || jitters.next().unwrap());
            swings.extend(newest.iter().map(|swing| Swing { up: swing.up != flip, ..*swing }));
            if flip {
                swings.push(*swings.last().unwrap());
            }
            let cycle = detect(&swings, plant);
            prop_assert!(cycle.is_some(), "{:?}", newest);
            let found = cycle.unwrap();
            prop_assert!(found.periods >= 3 && (found.period.seconds() / 60.0 / period - 1.0).abs() < 0.06, "{}", found.text);
            prop_assert!(detect(&swings[..swings.len() - 3], plant).is_none(), "two periods are too few");
        }
    }

    #[test]
    fn a_rhythm_longer_than_the_plants_is_none_of_its_business() {
        let exact = |period: f64, periods: usize| wave(period, 0.5, periods, || 0.0);
        assert!(detect(&exact(1440.0, 60), Span::from_mins(5)).is_none(), "every day");
        assert!(detect(&exact(21.5, 60), Span::from_mins(1)).is_none());
        assert!(detect(&exact(19.5, 3), Span::from_mins(1)).is_some());
        assert!(detect(&exact(19.5, 60), Span::ZERO).is_none());
        assert!(detect(&[], Span::from_mins(1)).is_none());
        let cycle = detect(&exact(12.0, 3), Span::from_mins(1)).unwrap();
        assert_eq!(cycle.text, "up and down every 12m, 3 times in a row (6m up, 6m down); the target itself needs 1m");
        let ups: Vec<Swing> = exact(12.0, 9).into_iter().map(|swing| Swing { up: true, ..swing }).collect();
        assert!(detect(&ups, Span::from_mins(1)).is_none(), "one direction is no cycle");
    }

    #[test]
    fn after_irregular_swinging_more_periods_are_asked_for() {
        let mut chance = Chance(3);
        let mut swings: Vec<Swing> = ordered(&mut chance, 5.0, 8.0).into_iter().take(160).collect();
        let last = *swings.last().unwrap();
        let later = last.at.seconds() / 60.0 + 4.0;
        swings.extend((0..40).map(|turn| swing(later + 6.0 * f64::from(turn), last.up != (turn % 2 == 0))));
        let trips = (0..40).find(|turn| detect(&swings[..=160 + turn], Span::from_mins(1)).is_some());
        assert!(trips.is_some_and(|turn| (12..=13).contains(&turn)), "three periods and three more: {trips:?}");
    }
}
