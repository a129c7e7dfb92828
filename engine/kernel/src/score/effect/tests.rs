//! The estimator against worlds whose truth is known, against a published series, and against its own symmetries.

mod healing;
mod nile;
mod symmetries;
mod worlds;

use super::*;

/// A question without siblings.
fn question(target: &[(f64, f64)]) -> Question<'_> {
    Question { target, controls: &[], from: 120.0, to: 1920.0, better: Better::Down, matters: 0.2, natural: None }
}

/// A sample a minute, four hours before and `after` minutes after.
fn minutes(after: i32, value: impl Fn(i32) -> f64) -> Vec<(f64, f64)> {
    (-240..=after).map(|minute| (60.0 * f64::from(minute), value(minute))).collect()
}

#[test]
fn a_constant_series_that_stays_has_no_effect_and_one_that_steps_has_it_all() {
    let still = estimate(&question(&minutes(32, |_| 5.0))).unwrap();
    assert_eq!((still.finding, still.effect), (Finding::NoEffect, 0.0));
    let stepped = estimate(&question(&minutes(32, |minute| if minute > 1 { 3.0 } else { 5.0 }))).unwrap();
    assert_eq!(stepped.finding, Finding::Helped);
    assert!((stepped.effect + 2.0).abs() < 1e-9 && stepped.p_helped > 0.999 && stepped.p_harmed < 1e-3, "{stepped:?}");
    let worse = estimate(&Question { better: Better::Up, ..question(&minutes(32, |minute| if minute > 1 { 3.0 } else { 5.0 })) }).unwrap();
    assert_eq!(worse.finding, Finding::Harmed);
}

#[test]
fn a_straight_line_goes_on() {
    let line = minutes(32, |minute| 7.0 + 0.1 * f64::from(minute));
    let found = estimate(&question(&line)).unwrap();
    assert!(found.effect.abs() < 0.1 && found.low < 0.0 && found.high > 0.0, "{found:?}");
}

#[test]
fn a_movement_that_siblings_share_is_no_effect() {
    let mut chance = worlds::Chance(4);
    let noise: Vec<f64> = (0..600).map(|_| 0.1 * chance.normal()).collect();
    // All of them rise by five at the moment of the sending, and rose and fell before.
    let common = |minute: i32| (f64::from(minute) / 30.0).sin() + if minute > 0 { 5.0 } else { 0.0 };
    let target = minutes(32, |minute| common(minute) + noise[(minute + 240) as usize]);
    let sibling = minutes(32, |minute| 20.0 + 2.0 * common(minute) + noise[(minute + 530) as usize % 600]);
    let alone = estimate(&question(&target)).unwrap();
    let among = estimate(&Question { controls: &[&sibling], ..question(&target) }).unwrap();
    assert_eq!((alone.controls, alone.finding), (0, Finding::Harmed));
    assert_eq!(among.controls, 1);
    assert!(among.effect.abs() < 0.5 && alone.effect > 3.0, "{alone:?} {among:?}");
}

#[test]
fn a_sibling_that_was_not_seen_or_never_moved_takes_no_part() {
    let mut chance = worlds::Chance(5);
    let noise: Vec<f64> = (0..300).map(|_| chance.normal()).collect();
    let target = minutes(32, |minute| noise[(minute + 240) as usize]);
    let half: Vec<(f64, f64)> = target.iter().copied().filter(|(at, _)| *at < 0.0).collect();
    let (still, empty, against) = (minutes(32, |_| 4.0), Vec::new(), minutes(32, |minute| -noise[(minute + 240) as usize]));
    let found = estimate(&Question { controls: &[&half, &still, &empty, &against], ..question(&target) }).unwrap();
    assert_eq!(found.controls, 0);
    assert_eq!(found, estimate(&question(&target)).unwrap());
}

#[test]
fn what_was_not_seen_is_a_gap_and_never_a_zero() {
    let whole = minutes(32, |minute| f64::from(minute % 7));
    let kept = |keep: &dyn Fn(f64) -> bool| -> Vec<(f64, f64)> { whole.iter().copied().filter(|(at, _)| keep(*at)).collect() };
    assert!(matches!(estimate(&question(&[])), Err(Gap::Before { found: 0, .. })));
    assert!(matches!(estimate(&question(&kept(&|at| at > -600.0))), Err(Gap::Before { found: 10, needed: 12 })));
    assert!(matches!(estimate(&question(&kept(&|at| at > -120.0))), Err(Gap::Before { .. })));
    assert!(matches!(estimate(&question(&kept(&|at| !(-1800.0..=0.0).contains(&at)))), Err(Gap::Unseen { .. })));
    assert!(matches!(estimate(&question(&kept(&|at| at < 600.0))), Err(Gap::After { .. })));
    assert!(estimate(&question(&kept(&|at| at < 1500.0))).is_ok());
    assert_eq!(estimate(&Question { to: 60.0, ..question(&whole) }), Err(Gap::Question));
    assert_eq!(estimate(&Question { matters: 0.0, ..question(&whole) }), Err(Gap::Question));
    assert_eq!(estimate(&question(&minutes(32, |minute| f64::from(minute) * 1e306))), Err(Gap::Range));
    let text = estimate(&question(&kept(&|at| at < 600.0))).unwrap_err().to_string();
    assert!(text.starts_with("too little was seen in the judged time"), "{text}");
}

#[test]
fn wild_past_values_are_clipped_but_the_last_ones_are_believed() {
    let mut chance = worlds::Chance(3);
    let noise: Vec<f64> = (0..300).map(|_| chance.normal()).collect();
    let calm = minutes(32, |minute| noise[(minute + 240) as usize]);
    let wild = minutes(32, |minute| noise[(minute + 240) as usize] + if minute == -100 { 500.0 } else { 0.0 });
    let high = minutes(32, |minute| noise[(minute + 240) as usize] + if (-8..=40).contains(&minute) { 50.0 } else { 0.0 });
    let (calm, wild) = (estimate(&question(&calm)).unwrap(), estimate(&question(&wild)).unwrap());
    assert!((calm.effect - wild.effect).abs() < 0.2 && wild.high - wild.low < 3.0 * (calm.high - calm.low), "{calm:?} {wild:?}");
    // A step eight minutes before the sending is the symptom: that it stays is no effect of the action.
    let high = estimate(&question(&high)).unwrap();
    assert!(high.expected > 25.0 && high.low < 0.0 && high.high > 0.0, "{high:?}");
}
