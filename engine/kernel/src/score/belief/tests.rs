use super::super::recovery::Recovery;
use super::*;
use proptest::prelude::*;

const DAY: Span = Span::from_hours(24);
const HALF_LIFE: Span = Span::from_hours(24 * 60);
const FOREVER: Span = Span::ZERO;

fn at_day(day: i64) -> Time {
    Time(day * DAY.millis())
}

fn score(finding: Finding, p_helped: f64, p_harmed: f64) -> Score {
    Score {
        finding,
        p_helped,
        p_harmed,
        effect: None,
        side_effects: Vec::new(),
        natural: None,
        response: None,
        missing: None,
        text: String::new(),
    }
}

fn helped() -> Score {
    score(Finding::Helped, 1.0, 0.0)
}

fn uniform(state: &mut u64) -> f64 {
    (splitmix64(state) >> 11) as f64 / (1u64 << 53) as f64
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 5e-6, "{got} instead of {expected}");
}

#[test]
fn the_half_life_is_exact() {
    let mut belief = Belief::new("1", HALF_LIFE);
    belief.note_score(&score(Finding::Helped, 0.5, 0.25), at_day(0));
    assert_eq!(belief.weights(at_day(0)), Weights { helped: 0.5, harmed: 0.25, neither: 0.25 });
    assert_eq!(belief.weights(at_day(60)), Weights { helped: 0.25, harmed: 0.125, neither: 0.125 });
    assert_eq!(belief.weights(at_day(180)), Weights { helped: 0.0625, harmed: 0.03125, neither: 0.03125 });
    belief.note_score(&helped(), at_day(60));
    assert_eq!(belief.weights(at_day(120)).helped, 0.625);
    // Another half-life holds from then on.
    belief.set_half_life(DAY, at_day(120));
    assert_eq!(belief.weights(at_day(121)).helped, 0.3125);
    // What is written of an earlier moment neither grows nor decays.
    assert_eq!(belief.weights(at_day(0)).helped, 0.625);
}

#[test]
fn quantiles_against_known_values() {
    // Closed forms: p^(1/a) of Beta(a, 1), 1 − (1 − p)^(1/b) of Beta(1, b).
    close(beta_quantile(6.0, 1.0, 0.05), 0.05f64.powf(1.0 / 6.0));
    close(beta_quantile(1.0, 9.0, 0.3), 1.0 - 0.7f64.powf(1.0 / 9.0));
    close(beta_quantile(2.0, 2.0, 0.5), 0.5);
    // The Clopper–Pearson interval of 8 of 10: 0.4439 to 0.9748.
    assert!((beta_quantile(8.0, 3.0, 0.025) - 0.4439).abs() < 5e-5);
    assert!((beta_quantile(9.0, 2.0, 0.975) - 0.9748).abs() < 5e-5);
    // Jeffreys' arcsine law: sin²(πp/2).
    close(beta_quantile(0.5, 0.5, 0.1), (std::f64::consts::FRAC_PI_2 * 0.1).sin().powi(2));
    assert_eq!((beta_quantile(2.0, 3.0, 0.0), beta_quantile(2.0, 3.0, 1.0)), (0.0, 1.0));
}

#[test]
fn five_helps_are_the_first_that_pass_six_tenths() {
    let mut belief = Belief::new("1", FOREVER);
    for n in 1..=6 {
        belief.note_score(&helped(), at_day(0));
        close(belief.lower_bound(at_day(0), 0.95), 0.05f64.powf(1.0 / (n as f64 + 1.0)));
        assert_eq!(belief.lower_bound(at_day(0), 0.95) >= 0.6, n >= 5, "{n}");
    }
    close(belief.mean(at_day(0)), 7.0 / 8.0);
}

#[test]
fn inconclusive_moves_nothing_but_is_counted() {
    let mut belief = Belief::new("1", HALF_LIFE);
    belief.note_score(&score(Finding::Inconclusive, 0.7, 0.2), at_day(3));
    assert_eq!(belief.weights(at_day(3)), Weights { helped: 0.0, harmed: 0.0, neither: 0.0 });
    assert_eq!((belief.inconclusive(), belief.helped_on().count()), (1, 0));
    close(belief.mean(at_day(3)), 0.5);
    // Nonsense does not poison it: harm goes first.
    belief.note_score(&score(Finding::Harmed, f64::NAN, 0.9), at_day(3));
    belief.note_score(&score(Finding::Harmed, 1.0, 7.0), at_day(3));
    let weights = belief.weights(at_day(3));
    assert_eq!((weights.helped, weights.harmed), (0.0, 1.9));
}

#[test]
fn another_version_empties_it() {
    let mut belief = Belief::new("1", HALF_LIFE);
    belief.note_score(&helped(), at_day(1));
    belief.note_symptom(&Target::from("node/muscle"), at_day(1));
    belief.note_treated(true, at_day(1));
    let before = belief.clone();
    assert!(!belief.reset("1"));
    assert_eq!(belief, before);
    assert!(belief.reset("2"));
    assert_eq!(belief, Belief::new("2", HALF_LIFE));
}

#[test]
fn symptoms_are_counted_apart_and_bounded() {
    let mut belief = Belief::new("1", HALF_LIFE);
    for day in 0..14 {
        belief.note_symptom(&Target::from("node/muscle"), at_day(day));
    }
    assert_eq!(belief.symptoms()["node/muscle"], Symptom { times: 14, last: at_day(13) });
    assert_eq!(belief.weights(at_day(14)), Weights { helped: 0.0, harmed: 0.0, neither: 0.0 });
    for i in 0..300 {
        belief.note_symptom(&Target::from(format!("pod/{i}")), at_day(20 + i));
    }
    assert_eq!((belief.symptoms().len(), belief.symptoms_total()), (TARGETS_MAX, 314));
    assert!(!belief.symptoms().contains_key("node/muscle") && !belief.symptoms().contains_key("pod/43"));
    assert!(belief.symptoms().contains_key("pod/44") && belief.symptoms().contains_key("pod/299"));
}

#[test]
fn days_are_distinct_bounded_and_still_counted() {
    let mut days = Days::default();
    for day in (0..100).chain(90..100) {
        days.insert(day);
    }
    assert_eq!((days.count(), days.newest().len(), days.newest()[0]), (100, DAYS_MAX, 36));
    assert!(!days.insert(3), "may have been counted already");
    let read: Days = serde_json::from_str(&serde_json::to_string(&days).unwrap()).unwrap();
    assert_eq!(read, days);
    assert_eq!((day_of(Time(-1)), day_of(at_day(1)), day_of(Time(DAY.millis() - 1))), (-1, 1, 0));
}

#[test]
fn thompson_prefers_the_better_arm_and_still_explores() {
    let truth = [0.3, 0.7];
    let mut beliefs = [Belief::new("1", FOREVER), Belief::new("1", FOREVER)];
    let (mut world, mut late, mut tried) = (7u64, 0, [0; 2]);
    for round in 0..2000 {
        let chosen = choose(&[&beliefs[0], &beliefs[1]], Time(0), round);
        let good = uniform(&mut world) < truth[chosen];
        let finding = if good { Finding::Helped } else { Finding::NoEffect };
        beliefs[chosen].note_score(&score(finding, f64::from(u8::from(good)), 0.0), Time(0));
        tried[chosen] += 1;
        late += usize::from(round >= 1000 && chosen == 1);
    }
    assert!(late >= 900, "{late} of the last 1,000");
    assert!(tried[0] >= 5, "{tried:?}");
    // Alike they are chosen alike.
    let fresh = Belief::new("1", FOREVER);
    let first = (0..400).filter(|seed| choose(&[&fresh, &fresh], Time(0), *seed) == 0).count();
    assert!((150..=250).contains(&first), "{first}");
    assert_eq!(choose(&[], Time(0), 1), 0);
}

/// 512 episodes left alone, of which a share goes at even times within ten minutes and the rest is watched for an hour.
fn left_alone(share: f64, world: &mut u64) -> Recovery {
    let mut recovery = Recovery::default();
    for _ in 0..512 {
        let heals = uniform(world) < share;
        let lasted = if heals { Span::from_secs(61 + (uniform(world) * 530.0) as i64) } else { Span::from_mins(60) };
        recovery.note(lasted, heals);
    }
    recovery
}

/// The difference after 1,500 treated episodes, one an hour, of which `treated` heal in time.
fn experiment(treated: f64, natural: f64, seed: u64) -> Difference {
    let mut world = seed;
    let odds = left_alone(natural, &mut world).odds(Span::from_secs(60), Span::from_mins(10));
    let mut belief = Belief::new("1", HALF_LIFE);
    let mut at = Time(0);
    for _ in 0..1500 {
        belief.note_treated(uniform(&mut world) < treated, at);
        at = at + Span::from_hours(1);
    }
    belief.difference(&odds, at).unwrap()
}

#[test]
fn a_placebo_converges_to_no_effect() {
    let found: Vec<Finding> = (0..40).map(|seed| experiment(0.7, 0.7, seed).finding).collect();
    let count = |finding| found.iter().filter(|f| **f == finding).count();
    assert!(count(Finding::NoEffect) >= 34 && count(Finding::Helped) <= 2 && count(Finding::Harmed) <= 2, "{found:?}");
    assert!((0..10).all(|seed| experiment(0.9, 0.5, seed).finding == Finding::Helped));
    assert!((0..10).all(|seed| experiment(0.4, 0.7, seed).finding == Finding::Harmed));
}

#[test]
fn a_few_treated_episodes_tell_nothing() {
    let mut belief = Belief::new("1", HALF_LIFE);
    let natural = Natural { odds: 0.5, at_risk: 0, lasted: Span::ZERO };
    assert_eq!(belief.difference(&natural, Time(0)), None);
    belief.note_treated(true, Time(0));
    let difference = belief.difference(&natural, Time(0)).unwrap();
    assert_eq!(difference.finding, Finding::Inconclusive);
    assert!(difference.low < -0.4 && difference.high > 0.4, "{difference:?}");
}

/// The quantile `p` of the difference of two Beta posteriors, by 400 × 400 equally likely pairs.
fn paired_quantile(one: (f64, f64), two: (f64, f64), p: f64) -> f64 {
    let grid = |(a, b): (f64, f64)| -> Vec<f64> { (0..400).map(|i| beta_quantile(a, b, (i as f64 + 0.5) / 400.0)).collect() };
    let (one, two) = (grid(one), grid(two));
    let mut pairs: Vec<f64> = one.iter().flat_map(|x| two.iter().map(move |y| x - y)).collect();
    pairs.sort_by(f64::total_cmp);
    pairs[(p * pairs.len() as f64) as usize]
}

#[test]
fn the_interval_of_the_difference_agrees_with_quadrature() {
    for (healed, not, odds, at_risk) in [(18, 4, 0.4, 30), (55, 20, 0.7, 9), (9, 1, 0.6, 60)] {
        let mut belief = Belief::new("1", FOREVER);
        (0..healed).for_each(|_| belief.note_treated(true, Time(0)));
        (0..not).for_each(|_| belief.note_treated(false, Time(0)));
        let got = belief.difference(&Natural { odds, at_risk, lasted: Span::ZERO }, Time(0)).unwrap();
        let one = (f64::from(healed) + 0.5, f64::from(not) + 0.5);
        let two = (odds * f64::from(at_risk + 1), (1.0 - odds) * f64::from(at_risk + 1));
        for (bound, p) in [(got.low, 0.025), (got.high, 0.975)] {
            let expected = paired_quantile(one, two, p);
            assert!((bound - expected).abs() < 0.02, "{bound} instead of {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bounds_are_ordered_within_0_to_1(
        scores in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0, 0i64..400), 0..60),
        level in 0.5f64..0.999,
    ) {
        let mut belief = Belief::new("1", HALF_LIFE);
        for (p_helped, p_harmed, day) in &scores {
            belief.note_score(&score(Finding::NoEffect, *p_helped, *p_harmed), at_day(*day));
        }
        let at = at_day(400);
        let (low, median, high) = (belief.lower_bound(at, level), belief.lower_bound(at, 0.5), belief.upper_bound(at, level));
        prop_assert!(0.0 <= low && low <= median + 1e-12 && median <= high + 1e-12 && high <= 1.0);
        let weights = belief.weights(at);
        prop_assert!(weights.helped >= 0.0 && weights.harmed >= 0.0 && weights.neither >= -1e-12);
        prop_assert!(weights.helped + weights.harmed + weights.neither <= scores.len() as f64 + 1e-9);
        let read: Belief = serde_json::from_str(&serde_json::to_string(&belief).unwrap()).unwrap();
        prop_assert_eq!(read, belief);
    }

    #[test]
    fn quantiles_invert_the_distribution_even_at_the_bound(a in 1.0f64..4096.0, b in 1.0f64..4096.0, p in 0.001f64..0.999) {
        let x = beta_quantile(a, b, p);
        let got = Beta::new(a, b).unwrap().cdf(x);
        prop_assert!((got - p).abs() < 1e-6, "Beta({}, {}): {} instead of {}", a, b, got, p);
    }

    #[test]
    fn quantiles_are_those_of_plain_bisection(a in 0.1f64..600.0, b in 0.1f64..600.0, p in 0.001f64..0.999) {
        let beta = Beta::new(a, b).unwrap();
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..53 {
            let middle = 0.5 * (low + high);
            if beta.cdf(middle) < p { low = middle } else { high = middle }
        }
        let got = beta_quantile(a, b, p);
        prop_assert!((got - low).abs() < 1e-12, "Beta({}, {}) at {}: {} instead of {}", a, b, p, got, low);
    }

    #[test]
    fn difference_intervals_hold_their_difference(healed in 0u32..300, not in 0u32..300, odds in 0.0f64..=1.0, at_risk in 0u32..600) {
        let mut belief = Belief::new("1", FOREVER);
        (0..healed).for_each(|_| belief.note_treated(true, Time(0)));
        (0..not).for_each(|_| belief.note_treated(false, Time(0)));
        if let Some(d) = belief.difference(&Natural { odds, at_risk, lasted: Span::ZERO }, Time(0)) {
            prop_assert!(-1.0 <= d.low && d.low <= d.difference && d.difference <= d.high && d.high <= 1.0, "{:?}", d);
        }
    }
}
