//! What must hold for any input: the estimator's symmetries, no panic, no look beyond the judged time.

use super::worlds::Chance;
use super::*;
use proptest::prelude::*;

/// A noisy series with memory, four hours before and 40 minutes after, with some holes.
fn series(seed: u64, effect: f64) -> Vec<(f64, f64)> {
    let mut chance = Chance(seed);
    let mut value = 0.0;
    (-240..=40)
        .filter_map(|minute| {
            value = 0.8 * value + chance.normal();
            let moved = if minute >= 2 { effect } else { 0.0 };
            (chance.unit() > 0.1).then_some((60.0 * f64::from(minute), value + moved))
        })
        .collect()
}

fn changed(series: &[(f64, f64)], change: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    series.iter().map(|(at, value)| (*at, change(*value))).collect()
}

fn close(left: f64, right: f64, size: f64) -> bool {
    (left - right).abs() <= 1e-6 * size
}

/// Compares two estimates after a change `value * factor + shift`; a negative factor swaps the ends.
fn follows(base: &Estimate, other: &Estimate, factor: f64, shift: f64) -> bool {
    let size = factor.abs() * (1.0 + base.high - base.low) + 1e-3 * shift.abs();
    let (low, high) = if factor < 0.0 { (base.high, base.low) } else { (base.low, base.high) };
    close(other.effect, base.effect * factor, size)
        && close(other.low, low * factor, size)
        && close(other.high, high * factor, size)
        && close(other.observed, base.observed * factor + shift, size)
        && close(other.expected, base.expected * factor + shift, size)
        && close(other.p_helped, base.p_helped, 10.0)
        && close(other.p_harmed, base.p_harmed, 10.0)
        && (other.before, other.after, other.controls, other.placebos) == (base.before, base.after, base.controls, base.placebos)
}

/// Any finite number, most of them of a usual size.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![6 => -1e3..1e3f64, 1 => Just(0.0), 1 => any::<f64>().prop_filter("finite", |value| value.is_finite())]
}

proptest! {
    #[test]
    fn a_shift_moves_levels_and_nothing_else(seed in any::<u64>(), effect in -3.0..3.0f64, shift in -1e4..1e4f64) {
        let (target, control) = (series(seed, effect), series(seed ^ 1, 0.0));
        let base = estimate(&Question { controls: &[&control], ..question(&target) }).unwrap();
        let (moved, other) = (changed(&target, |value| value + shift), changed(&control, |value| value - shift));
        let shifted = estimate(&Question { controls: &[&other], ..question(&moved) }).unwrap();
        prop_assert!(follows(&base, &shifted, 1.0, shift), "{base:?} {shifted:?}");
    }

    #[test]
    fn another_unit_scales_everything_but_chances(seed in any::<u64>(), effect in -3.0..3.0f64, factor in 1e-3..1e3f64) {
        let natural = NaturalCourse { odds: 0.7, level: -2.0, lasting: 0.5, threshold: -1.0 };
        let (target, control) = (series(seed, effect), series(seed ^ 1, 0.0));
        let base = estimate(&Question { controls: &[&control], natural: Some(natural), ..question(&target) }).unwrap();
        let scaled = changed(&target, |value| value * factor);
        let natural = NaturalCourse { odds: 0.7, level: -2.0 * factor, lasting: 0.5 * factor, threshold: -factor };
        let asked = Question { controls: &[&control], natural: Some(natural), matters: 0.2 * factor, ..question(&scaled) };
        prop_assert!(follows(&base, &estimate(&asked).unwrap(), factor, 0.0));
    }

    #[test]
    fn the_other_way_up_is_the_mirror_image(seed in any::<u64>(), effect in -3.0..3.0f64) {
        let natural = NaturalCourse { odds: 0.7, level: -2.0, lasting: 0.5, threshold: -1.0 };
        let (target, control) = (series(seed, effect), series(seed ^ 1, 0.0));
        let base = estimate(&Question { controls: &[&control], natural: Some(natural), ..question(&target) }).unwrap();
        let (turned, other) = (changed(&target, |value| -value), changed(&control, |value| -value));
        let natural = NaturalCourse { odds: 0.7, level: 2.0, lasting: -0.5, threshold: 1.0 };
        let asked = Question { controls: &[&other], natural: Some(natural), better: Better::Up, ..question(&turned) };
        let mirror = estimate(&asked).unwrap();
        prop_assert!(follows(&base, &mirror, -1.0, 0.0), "{base:?} {mirror:?}");
        prop_assert_eq!(base.finding, mirror.finding);
    }

    #[test]
    fn what_comes_later_changes_nothing(seed in any::<u64>(), later in prop::collection::vec(number(), 1..20)) {
        let (target, control) = (series(seed, 1.0), series(seed ^ 1, 0.0));
        let base = estimate(&Question { controls: &[&control], ..question(&target) });
        let longer = |series: &[(f64, f64)]| -> Vec<(f64, f64)> {
            let later = later.iter().enumerate().map(|(place, value)| (2400.5 + 60.0 * place as f64, *value));
            series.iter().copied().chain(later).collect()
        };
        let (target, control) = (longer(&target), longer(&control));
        prop_assert_eq!(base, estimate(&Question { controls: &[&control], ..question(&target) }));
    }

    #[test]
    fn nothing_finite_makes_it_panic_or_answer_nonsense(
        mut target in prop::collection::vec((number(), number()), 0..120),
        mut control in prop::collection::vec((number(), number()), 0..120),
        from in prop_oneof![4 => 0.0..200.0f64, 1 => number()],
        judged in prop_oneof![4 => 1.0..800.0f64, 1 => number()],
        matters in prop_oneof![4 => 0.01..10.0f64, 1 => number()],
        natural in prop::option::of((number(), number(), number())),
        sorted in prop::bool::weighted(0.9),
    ) {
        if sorted {
            target.sort_by(|left, right| left.0.total_cmp(&right.0));
            control.sort_by(|left, right| left.0.total_cmp(&right.0));
        }
        let natural = natural.map(|(odds, level, threshold)| NaturalCourse { odds, level, lasting: threshold + (threshold - level), threshold });
        let asked = Question { controls: &[&control, &target], from, to: from + judged, matters, natural, ..question(&target) };
        match estimate(&asked) {
            Err(gap) => prop_assert!(!gap.to_string().is_empty()),
            Ok(found) => {
                prop_assert!(found.low <= found.high && found.widened >= 1.0, "{found:?}");
                prop_assert!((0.0..=1.0).contains(&found.p_helped) && (0.0..=1.0).contains(&found.p_harmed), "{found:?}");
            }
        }
    }

    #[test]
    fn doubled_samples_do_no_harm(seed in any::<u64>()) {
        let target = series(seed, -4.0);
        let doubled: Vec<(f64, f64)> = target.iter().flat_map(|sample| [*sample, *sample]).collect();
        let (once, twice) = (estimate(&question(&target)).unwrap(), estimate(&question(&doubled)).unwrap());
        prop_assert!((once.effect - twice.effect).abs() < 0.5 * (once.high - once.low), "{once:?} {twice:?}");
    }
}
