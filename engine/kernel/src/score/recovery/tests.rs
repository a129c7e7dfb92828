use super::*;
use proptest::prelude::*;

/// Weeks in remission under 6-mercaptopurine, 21 children: Freireich et al. 1963, Blood 21:699, as in Cox & Oakes 1984 table 1.1 and
/// Klein & Moeschberger 2003 table 4.1. `true`: relapse; `false`: still in remission when last seen.
const SIX_MP: [(i64, bool); 21] = [
    (6, true),
    (6, true),
    (6, true),
    (6, false),
    (7, true),
    (9, false),
    (10, true),
    (10, false),
    (11, false),
    (13, true),
    (16, true),
    (17, false),
    (19, false),
    (20, false),
    (22, true),
    (23, true),
    (25, false),
    (32, false),
    (32, false),
    (34, false),
    (35, false),
];

fn mins(minutes: i64) -> Span {
    Span::from_mins(minutes)
}

fn recovery(episodes: &[(i64, bool)]) -> Recovery {
    let mut recovery = Recovery::default();
    for (minutes, healed) in episodes {
        recovery.note(mins(*minutes), *healed);
    }
    recovery
}

#[test]
fn the_curve_of_the_published_example() {
    // Survival: Klein & Moeschberger table 4.2. Intervals: S^exp(±1.96 √g / ln S) computed apart from this code.
    let published = [
        (6, 21, 3, 0.8571, 0.6197, 0.9516),
        (7, 17, 1, 0.8067, 0.5631, 0.9228),
        (10, 15, 1, 0.7529, 0.5032, 0.8894),
        (13, 12, 1, 0.6902, 0.4316, 0.8491),
        (16, 11, 1, 0.6275, 0.3675, 0.8049),
        (22, 7, 1, 0.5378, 0.2678, 0.7468),
        (23, 6, 1, 0.4482, 0.1881, 0.6801),
    ];
    let curve = recovery(&SIX_MP).curve();
    assert_eq!(curve.len(), published.len());
    for (step, (at, at_risk, healed, lasting, low, high)) in curve.iter().zip(published) {
        assert_eq!((step.at, step.at_risk, step.healed), (mins(at), at_risk, healed));
        for (got, expected) in [(step.lasting, lasting), (step.low, low), (step.high, high)] {
            assert!((got - expected).abs() < 6e-5, "{at}: {got} instead of {expected}");
        }
    }
}

#[test]
fn odds_are_the_conditional_curve_smoothed() {
    let recovery = recovery(&SIX_MP);
    // 12 lasted longer than 11; up to 16 the factors are 11/12 and 10/11.
    let natural = recovery.odds(mins(11), mins(5));
    assert_eq!((natural.at_risk, natural.lasted), (12, mins(11)));
    let q = (11.0 / 12.0) * (10.0 / 11.0);
    assert!((natural.odds - (1.0 - (12.0 * q + 0.5) / 13.0)).abs() < 1e-12);
    // Without censoring: (d + 0.5)/(n + 1).
    let plain: Vec<(i64, bool)> = (1..=20).map(|m| (m, true)).collect();
    let natural = self::recovery(&plain).odds(mins(10), mins(4));
    assert!((natural.odds - 4.5 / 11.0).abs() < 1e-12, "{natural:?}");
}

#[test]
fn beyond_what_five_have_seen_exposure_speaks() {
    // Five lasted 25 minutes or longer: the curve carries to 25, and the constant hazard for the ten minutes after it.
    let recovery = recovery(&SIX_MP);
    let exposure: i64 = SIX_MP.iter().map(|(m, _)| m).sum::<i64>() + 23;
    let tail = (exposure as f64 / (exposure as f64 + 10.0)).powf(9.5);
    // 5 at risk after 23, none of them healed.
    let expected = 1.0 - (5.0 * 1.0 + 0.5) / 6.0 * tail;
    let got = recovery.odds(mins(23), mins(12));
    assert_eq!(got.at_risk, 5);
    assert!((got.odds - expected).abs() < 1e-12, "{got:?} instead of {expected}");
}

#[test]
fn a_long_symptom_is_evidence_against_itself() {
    let two = recovery(&[(5, true), (5, true)]);
    // a = 2.5; E = 10 and 190 minutes.
    let (fresh, old) = (two.odds(Span::ZERO, mins(10)), two.odds(mins(180), mins(10)));
    assert!((fresh.odds - (1.0 - 0.5f64.powf(2.5))).abs() < 1e-12);
    assert!((old.odds - (1.0 - 0.95f64.powf(2.5))).abs() < 1e-12);
    assert!(fresh.odds > 0.8 && old.odds < 0.13, "{} {}", fresh.odds, old.odds);
}

#[test]
fn knowing_nothing_no_action_can_look_good() {
    let odds = Recovery::default().odds(Span::ZERO, mins(10)).odds;
    assert!(odds > 0.95, "{odds}");
}

#[test]
fn cut_short_is_not_never() {
    // Everybody was treated a second after five minutes. A flat curve would say 0.5/41; exposure says more, and it grows with the time.
    let mut treated = Recovery::default();
    for _ in 0..40 {
        treated.note(Span::from_secs(301), false);
    }
    treated.note(mins(1), true);
    let flat = 0.5 / 41.0;
    let (hour, day) = (treated.odds(mins(5), mins(60)).odds, treated.odds(mins(5), mins(1440)).odds);
    assert!(hour > 10.0 * flat && day > 0.9, "{hour} {day}");
}

#[test]
fn the_oldest_make_room_and_reading_keeps_the_bound() {
    let mut recovery = Recovery::default();
    for i in 0..(EPISODES_MAX as i64 + 10) {
        recovery.note(mins(i), true);
    }
    assert_eq!((recovery.episodes().len(), recovery.forgotten()), (EPISODES_MAX, 10));
    assert_eq!(recovery.episodes().next().unwrap().lasted, mins(10));
    let text = serde_json::to_string(&recovery).unwrap();
    assert_eq!(serde_json::from_str::<Recovery>(&text).unwrap(), recovery);
    let many = format!(r#"{{"episodes":[{}]}}"#, vec![r#"{"lasted":"1m","healed":true}"#; 600].join(","));
    assert_eq!(serde_json::from_str::<Recovery>(&many).unwrap().episodes().len(), EPISODES_MAX);
}

#[test]
fn when_all_have_gone_the_interval_stays_open_upwards() {
    let curve = recovery(&[(1, true), (2, true)]).curve();
    let last = curve.last().unwrap();
    assert_eq!((last.lasting, last.low, last.high), (0.0, 0.0, curve[0].high));
    let one = recovery(&[(1, true)]).curve();
    assert_eq!((one[0].low, one[0].high), (0.0, 1.0));
}

/// S(t) by asking every episode about every moment.
fn naive_lasting(episodes: &[(i64, bool)], t: i64) -> f64 {
    let mut moments: Vec<i64> = episodes.iter().filter(|e| e.1 && e.0 <= t).map(|e| e.0).collect();
    moments.sort();
    moments.dedup();
    moments.iter().fold(1.0, |s, m| {
        let n = episodes.iter().filter(|e| e.0 >= *m).count() as f64;
        let d = episodes.iter().filter(|e| e.0 == *m && e.1).count() as f64;
        s * (n - d) / n
    })
}

proptest! {
    #[test]
    fn the_curve_is_the_naive_product_limit(episodes in prop::collection::vec((0i64..40, any::<bool>()), 0..80)) {
        let curve = recovery(&episodes).curve();
        let mut before = 1.0;
        for step in &curve {
            prop_assert!((step.lasting - naive_lasting(&episodes, step.at.millis() / 60_000)).abs() < 1e-12);
            prop_assert!(step.lasting < before);
            prop_assert!(0.0 <= step.low && step.low <= step.lasting + 1e-12 && step.lasting <= step.high + 1e-12 && step.high <= 1.0, "{:?}", step);
            before = step.lasting;
        }
        prop_assert_eq!(curve.iter().map(|s| s.healed as usize).sum::<usize>(), episodes.iter().filter(|e| e.1).count());
    }

    #[test]
    fn odds_never_fall_with_more_time(
        episodes in prop::collection::vec((0i64..40, any::<bool>()), 0..60),
        lasted in 0i64..60,
        mut withins in prop::collection::vec(0i64..5000, 2..20),
    ) {
        let recovery = recovery(&episodes);
        withins.sort();
        let odds: Vec<f64> = withins.iter().map(|w| recovery.odds(mins(lasted), mins(*w)).odds).collect();
        prop_assert!(odds.windows(2).all(|w| w[0] <= w[1]), "{:?}", odds);
        prop_assert!(odds.iter().all(|p| 0.0 < *p && *p < 1.0));
    }
}
