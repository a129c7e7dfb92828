//! When sleeping pays: the ski-rental rule.
//!
//! Deliberately absent: forecasts, and deciding; policies decide by idle time, this only says from when on it is no loss. An editor breaks
//! this by leaving out what a booting machine draws while it cannot be used.

use homeostat_model::Span;

/// The idle time from which on sleeping costs less energy than waiting awake.
///
/// `boot_joules` is all the energy of a boot that takes `boot_seconds`; `awake_watts` and `asleep_watts` are what the node draws idle and
/// asleep. With Δ = awake − asleep and C = max(boot_joules, awake·boot_seconds) − asleep·boot_seconds, the extra that a nap costs however
/// short it is, the answer is C ÷ Δ (Benini, Bogliolo, De Micheli: A survey of design techniques for system-level dynamic power
/// management, IEEE Trans. VLSI 8(3), 2000, the break-even time). A node that goes to sleep after that much idle time never draws more
/// than twice what one would that knows the future (Karlin, Manasse, Rudolph, Sleator: Competitive snoopy caching, Algorithmica 3, 1988).
/// A booting node counts as drawing at least what an awake one does, or the bound would not hold.
///
/// Rounded up to whole milliseconds. If sleeping saves nothing, or a number is negative or not finite: the longest span, "never".
pub fn break_even(boot_joules: f64, boot_seconds: f64, awake_watts: f64, asleep_watts: f64) -> Span {
    const NEVER: Span = Span(i64::MAX);
    let saved_watts = awake_watts - asleep_watts;
    let sane = [boot_joules, boot_seconds, awake_watts, asleep_watts].iter().all(|value| value.is_finite() && *value >= 0.0);
    if !sane || saved_watts <= 0.0 {
        return NEVER;
    }
    let extra_joules = boot_joules.max(awake_watts * boot_seconds) - asleep_watts * boot_seconds;
    let millis = (extra_joules / saved_watts * 1000.0).ceil();
    if millis >= i64::MAX as f64 { NEVER } else { Span::from_millis(millis as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_muscle() {
        // 90 s of boot at 120 W, 60 W awake, 2 W asleep: (10,800 − 180) ÷ 58.
        assert_eq!(break_even(10_800.0, 90.0, 60.0, 2.0), Span::from_millis(183_104));
        // Half-forgotten boot energy counts as an awake minute and a half at least.
        assert_eq!(break_even(0.0, 90.0, 60.0, 2.0), Span::from_secs(90));
        assert_eq!(break_even(0.0, 0.0, 60.0, 2.0), Span::ZERO);
        for (joules, awake, asleep) in [(1.0, 5.0, 5.0), (1.0, 2.0, 5.0), (f64::NAN, 9.0, 1.0), (-1.0, 9.0, 1.0), (f64::MAX, 9.0, 1.0)] {
            assert_eq!(break_even(joules, 1.0, awake, asleep), Span(i64::MAX), "{joules} {awake} {asleep}");
        }
    }

    /// What one idle time costs, in joules, second by second, if the node goes to sleep after `asleep_from` idle seconds (never: `None`).
    fn joules(idle: u32, asleep_from: Option<u32>, extra: f64, awake: f64, asleep: f64) -> f64 {
        let slept = asleep_from.filter(|from| *from < idle);
        let drawn: f64 = (0..idle).map(|second| if slept.is_some_and(|from| second >= from) { asleep } else { awake }).sum();
        drawn + if slept.is_some() { extra } else { 0.0 }
    }

    proptest! {
        #[test]
        fn going_by_it_costs_at_most_twice_what_knowing_the_future_would(
            idles in prop::collection::vec(0_u32..400, 1..12),
            boot_seconds in 0_u32..120,
            boot_joules in 0_u32..20_000,
            asleep in 0_u32..20,
            saved in 1_u32..200,
        ) {
            let (boot, seconds, asleep) = (f64::from(boot_joules), f64::from(boot_seconds), f64::from(asleep));
            let awake = asleep + f64::from(saved);
            let span = break_even(boot, seconds, awake, asleep);
            let extra = boot.max(awake * seconds) - asleep * seconds;
            // The simulation has whole seconds: the rule acts at the first full one, one second of rent later at most.
            let from = span.seconds().ceil() as u32;
            let online: f64 = idles.iter().map(|idle| joules(*idle, Some(from), extra, awake, asleep)).sum();
            // Knowing the future, every moment to go to sleep is tried, and never.
            let best = |idle: u32| (0..=idle).map(|from| joules(idle, Some(from), extra, awake, asleep)).fold(f64::MAX, f64::min);
            let offline: f64 = idles.iter().map(|idle| best(*idle)).sum();
            let rounding = (awake - asleep) * idles.len() as f64;
            prop_assert!(online <= 2.0 * offline + rounding, "{online} J against {offline} J");
        }
    }
}
