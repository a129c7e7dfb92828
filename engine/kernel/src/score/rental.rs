//! When to let an idle machine sleep: the ski-rental rule with measured costs.
//!
//! Deliberately absent: doing it, knowing when a machine is idle, and how energy is measured. All costs are joules; what a power cycle
//! wears off is turned into joules at the price of energy. An editor breaks this by forgetting a cost of the boot, or by letting the
//! learned rule sleep earlier than its [`Rental::slack_joules`] can pay for: then no bound holds any more.

use homeostat_model::Span;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const JOULES_PER_KWH: f64 = 3_600_000.0;
const NEVER: Span = Span(i64::MAX);
/// So many boots are remembered.
pub const BOOTS_MAX: usize = 64;
/// From so many observed boots on, their medians count instead of what is configured.
pub const BOOTS_MIN: usize = 3;
/// So many idle times are remembered.
pub const IDLES_MAX: usize = 256;
/// From so many observed idle times on, they may move the threshold.
pub const IDLES_MIN: usize = 20;
/// Slack is worth at most so many boots, so that a long calm time cannot be gambled away at once.
pub const SLACK_BOOTS_MAX: f64 = 8.0;
/// Sleeping earlier must have saved at least this share of the cost, or the plain rule is kept.
const SAVED_SHARE_MIN: f64 = 0.02;

/// What waking, waiting and sleeping cost.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Costs {
    /// All the energy of one boot, joules.
    pub boot_joules: f64,
    /// How long a boot takes, seconds.
    pub boot_seconds: f64,
    /// Power while idle and awake, watts.
    pub awake_watts: f64,
    /// Power while asleep, watts.
    pub asleep_watts: f64,
    /// What one power cycle wears off, euros.
    pub wear_euros: f64,
    /// The price of energy, euros per kilowatt hour; turns wear into joules.
    pub euros_per_kwh: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { boot_joules: 0.0, boot_seconds: 0.0, awake_watts: 0.0, asleep_watts: 0.0, wear_euros: 0.0, euros_per_kwh: 0.3 }
    }
}

/// The idle time in seconds from which on sleeping costs less than waiting awake; infinite where it never does.
///
/// With Δ = awake − asleep and C = max(boot_joules, awake·boot_seconds) − asleep·boot_seconds, the extra that a nap costs however short
/// it is, it is C ÷ Δ (Benini, Bogliolo, De Micheli: A survey of design techniques for system-level dynamic power management, IEEE
/// Trans. VLSI 8(3), 2000). The same formula as the power actuators'. A number that is negative or not finite gives "never".
pub fn break_even_seconds(boot_joules: f64, boot_seconds: f64, awake_watts: f64, asleep_watts: f64) -> f64 {
    let costs = Costs { boot_joules, boot_seconds, awake_watts, asleep_watts, ..Costs::default() };
    costs.break_even_seconds()
}

impl Costs {
    /// What one nap costs besides what is drawn asleep, however short it is: boot and wear, joules. `None`: a number is negative or not
    /// finite, or sleeping saves nothing, or wear has no price of energy to be held against.
    pub fn nap_joules(&self) -> Option<f64> {
        let numbers = [self.boot_joules, self.boot_seconds, self.awake_watts, self.asleep_watts, self.wear_euros, self.euros_per_kwh];
        let sane = numbers.iter().all(|value| value.is_finite() && *value >= 0.0) && self.awake_watts > self.asleep_watts;
        let wear = if self.wear_euros == 0.0 { 0.0 } else { self.wear_euros / self.euros_per_kwh * JOULES_PER_KWH };
        // A booting machine draws at least what an awake one does, or the bound would not hold.
        let boot = self.boot_joules.max(self.awake_watts * self.boot_seconds) - self.asleep_watts * self.boot_seconds;
        (sane && (boot + wear).is_finite()).then_some(boot + wear)
    }

    /// The idle time in seconds from which on a nap pays, wear included; infinite: never.
    pub fn break_even_seconds(&self) -> f64 {
        self.nap_joules().map_or(f64::INFINITY, |nap| nap / (self.awake_watts - self.asleep_watts))
    }

    /// The same as a span, rounded up; the longest span: never. Going to sleep after that much idle time costs at most twice what
    /// knowing the future would (Karlin, Manasse, Rudolph, Sleator: Competitive snoopy caching, Algorithmica 3, 1988).
    pub fn break_even(&self) -> Span {
        rounded_up(self.break_even_seconds())
    }

    /// What an idle time of so many seconds cost, joules: awake until `slept_after` seconds (`None`, or not before the end: all the
    /// time), asleep from then on, and the boot at its end. Zero where the costs make no sense.
    pub fn idle_joules(&self, idle_seconds: f64, slept_after: Option<f64>) -> f64 {
        let awake = match slept_after {
            Some(after) if after < idle_seconds => after.max(0.0),
            _ => return self.awake_watts * idle_seconds,
        };
        self.awake_watts * awake + self.asleep_watts * (idle_seconds - awake) + self.nap_joules().unwrap_or(0.0)
    }

    /// The least that it could have cost: asleep from the first second on, or awake to the end.
    pub fn best_joules(&self, idle_seconds: f64) -> f64 {
        let awake = self.idle_joules(idle_seconds, None);
        if self.nap_joules().is_some() { awake.min(self.idle_joules(idle_seconds, Some(0.0))) } else { awake }
    }
}

fn rounded_up(seconds: f64) -> Span {
    let millis = (seconds * 1000.0).ceil();
    if millis < i64::MAX as f64 { Span::from_millis(millis as i64) } else { NEVER }
}

/// Boots that were measured, the newest [`BOOTS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boots {
    seen: VecDeque<(f64, f64)>,
}

impl Boots {
    /// One boot: all its energy, joules, and how long it took, seconds. What is not a number, or not above zero, is left out.
    pub fn observe(&mut self, joules: f64, seconds: f64) {
        if [joules, seconds].iter().any(|value| !(value.is_finite() && *value > 0.0)) {
            return;
        }
        self.seen.push_back((joules, seconds));
        while self.seen.len() > BOOTS_MAX {
            self.seen.pop_front();
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The costs with the medians of measured boots in place of what is configured, if at least [`BOOTS_MIN`] were seen, and whether
    /// they were.
    pub fn costs(&self, configured: &Costs) -> (Costs, bool) {
        if self.seen.len() < BOOTS_MIN {
            return (*configured, false);
        }
        let joules = median(self.seen.iter().map(|boot| boot.0).collect());
        let seconds = median(self.seen.iter().map(|boot| boot.1).collect());
        (Costs { boot_joules: joules, boot_seconds: seconds, ..*configured }, true)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The rule of one machine, learning from its idle times.
///
/// One idle time: with threshold t < B (break even) the worst that can come is demand right after t: awake·t + C, where awake·t had been
/// enough. Per idle time, twice the optimum holds only for t ≥ C ÷ awake, hardly before B = C ÷ (awake − asleep). So sleeping much earlier
/// can break the bound once, however much experience speaks for it. What can be kept is the bound on the sum: idle times that went
/// better than twice their optimum leave slack (Σ 2·optimum − cost), and an earlier threshold is allowed just as far as its worst
/// case, C − awake·t, is covered by it. Hence after every idle time, whatever comes: Σ cost ≤ 2 · Σ optimum, as long as the machine sleeps
/// by this rental. Within that, the threshold is the one that would have cost least over the idle times seen; never later than B.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rental {
    idles: VecDeque<f64>,
    slack_joules: f64,
}

/// When to sleep, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Nap {
    /// Sleep once idle for so long; the longest span: never.
    pub after: Span,
    /// The break-even time.
    pub break_even: Span,
    /// In words.
    pub text: String,
}

impl Rental {
    /// One idle time that has ended: how long it was, and after how long the machine was asleep (`None`: it stayed awake). A machine
    /// that others put to sleep may use up all slack and more; then the plain rule holds until it is paid back.
    pub fn observe(&mut self, costs: &Costs, idle_seconds: f64, slept_after: Option<f64>) {
        if !(idle_seconds.is_finite() && idle_seconds >= 0.0) {
            return;
        }
        self.idles.push_back(idle_seconds);
        while self.idles.len() > IDLES_MAX {
            self.idles.pop_front();
        }
        let Some(nap) = costs.nap_joules() else { return };
        let gained = 2.0 * costs.best_joules(idle_seconds) - costs.idle_joules(idle_seconds, slept_after);
        self.slack_joules = (self.slack_joules + gained).min(SLACK_BOOTS_MAX * nap);
    }

    /// By how many joules the sum of all idle times is below twice its optimum; below zero: others slept it beyond that.
    pub fn slack_joules(&self) -> f64 {
        self.slack_joules
    }

    /// When to sleep. Work: sorting at most [`IDLES_MAX`] numbers.
    pub fn sleep_after(&self, costs: &Costs) -> Nap {
        let break_even = costs.break_even_seconds();
        let nap_after = |after: Span, text: String| Nap { after, break_even: costs.break_even(), text };
        let Some(nap) = costs.nap_joules() else { return nap_after(NEVER, "sleeping saves nothing".into()) };
        let plain = costs.break_even();
        if self.idles.len() < IDLES_MIN {
            let text = format!("asleep after the break-even time of {plain}; {} of {IDLES_MIN} idle times seen", self.idles.len());
            return nap_after(plain, text);
        }
        // The worst case of an earlier sleep must be paid for by the slack.
        let earliest = ((nap - self.slack_joules.max(0.0)) / costs.awake_watts).max(0.0);
        let (best, saved_share) = self.cheapest(costs, nap, earliest, break_even);
        if saved_share < SAVED_SHARE_MIN {
            return nap_after(
                plain,
                format!("asleep after the break-even time of {plain}; over {} idle times no other was better", self.idles.len()),
            );
        }
        let after = rounded_up(best).min(plain);
        let text = format!(
            "asleep after {after}, before the break-even time of {plain}: over {} idle times that would have cost {:.0} % less, and if \
             it goes wrong, all of them together still cost at most twice what was possible",
            self.idles.len(),
            100.0 * saved_share
        );
        nap_after(after, text)
    }

    /// The threshold from `earliest` to `break_even` that would have cost least over the idle times seen, and the share that it would
    /// have saved against `break_even`. Between two idle times the cost only grows, so only they and the earliest are tried.
    fn cheapest(&self, costs: &Costs, nap: f64, earliest: f64, break_even: f64) -> (f64, f64) {
        let saved_watts = costs.awake_watts - costs.asleep_watts;
        let mut idles: Vec<f64> = self.idles.iter().copied().collect();
        idles.sort_by(f64::total_cmp);
        // The cost above sleeping through: those that end before t waited, the others waited for t and napped.
        let mut shorter = (0_usize, 0.0);
        let mut cost_at = |threshold: f64| {
            while shorter.0 < idles.len() && idles[shorter.0] <= threshold {
                shorter = (shorter.0 + 1, shorter.1 + idles[shorter.0]);
            }
            saved_watts * shorter.1 + (idles.len() - shorter.0) as f64 * (saved_watts * threshold + nap)
        };
        let candidates = std::iter::once(earliest).chain(idles.iter().copied().filter(|idle| *idle > earliest && *idle < break_even));
        let (mut best, mut least) = (break_even, f64::INFINITY);
        for candidate in candidates.filter(|candidate| *candidate < break_even) {
            let cost = cost_at(candidate);
            if cost < least {
                (best, least) = (candidate, cost);
            }
        }
        let plain = cost_at(break_even) + costs.asleep_watts * idles.iter().sum::<f64>();
        let least = least + costs.asleep_watts * idles.iter().sum::<f64>();
        if plain > 0.0 && least < plain { (best, 1.0 - least / plain) } else { (break_even, 0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 90 s of boot at 120 W, 60 W awake, 2 W asleep.
    const MUSCLE: Costs =
        Costs { boot_joules: 10_800.0, boot_seconds: 90.0, awake_watts: 60.0, asleep_watts: 2.0, wear_euros: 0.0, euros_per_kwh: 0.3 };

    #[test]
    fn the_break_even_of_the_muscle() {
        assert_eq!(MUSCLE.break_even(), Span::from_millis(183_104), "(10,800 − 180) ÷ 58, as the actuators have it");
        assert_eq!(break_even_seconds(10_800.0, 90.0, 60.0, 2.0), 10_620.0 / 58.0);
        // A cent of wear per power cycle is 120 kJ at 0.30 €/kWh: 35 minutes more.
        let worn = Costs { wear_euros: 0.01, ..MUSCLE };
        assert_eq!(worn.break_even(), Span::from_millis(2_252_069));
        for odd in [
            Costs { awake_watts: 2.0, ..MUSCLE },
            Costs { boot_joules: f64::NAN, ..MUSCLE },
            Costs { asleep_watts: -1.0, ..MUSCLE },
            Costs { euros_per_kwh: 0.0, ..worn },
        ] {
            assert_eq!((odd.break_even(), Rental::default().sleep_after(&odd).after), (NEVER, NEVER), "{odd:?}");
        }
        assert_eq!(Costs { euros_per_kwh: 0.0, ..MUSCLE }.break_even(), MUSCLE.break_even(), "no wear needs no price");
    }

    #[test]
    fn three_measured_boots_replace_what_is_configured() {
        let mut boots = Boots::default();
        for (joules, seconds) in [(5000.0, 48.0), (f64::NAN, 3.0), (0.0, 48.0), (90_000.0, 600.0)] {
            boots.observe(joules, seconds);
            assert_eq!(boots.costs(&MUSCLE), (MUSCLE, false));
        }
        boots.observe(5200.0, 50.0);
        let (costs, measured) = boots.costs(&MUSCLE);
        assert_eq!((costs.boot_joules, costs.boot_seconds, costs.awake_watts, measured), (5200.0, 50.0, 60.0, true));
        for _ in 0..100 {
            boots.observe(6000.0, 52.0);
        }
        assert_eq!((boots.len(), boots.costs(&MUSCLE).0.boot_joules), (BOOTS_MAX, 6000.0));
    }

    #[test]
    fn long_idle_times_teach_to_sleep_at_once_and_short_ones_unteach_it() {
        let mut rental = Rental::default();
        for _ in 0..40 {
            let after = rental.sleep_after(&MUSCLE).after.seconds();
            rental.observe(&MUSCLE, 7200.0, Some(after));
        }
        let learned = rental.sleep_after(&MUSCLE);
        assert_eq!(learned.after, Span::ZERO, "{}", learned.text);
        assert!(learned.text.contains("at most twice"), "{}", learned.text);
        assert_eq!(serde_json::from_str::<Rental>(&serde_json::to_string(&rental).unwrap()).unwrap(), rental);
        // Demand that comes right after every sleep eats the slack, and no more than that.
        let mut woken = 0;
        while rental.sleep_after(&MUSCLE).after < Span::from_secs(100) {
            let after = rental.sleep_after(&MUSCLE).after.seconds();
            rental.observe(&MUSCLE, after + 0.001, Some(after));
            woken += 1;
        }
        assert!((5..=100).contains(&woken) && rental.slack_joules() >= 0.0, "{woken} times, {} J left", rental.slack_joules());
        // Others put it to sleep at once, again and again: the plain rule holds.
        for _ in 0..40 {
            rental.observe(&MUSCLE, 1.0, Some(0.0));
        }
        assert!(rental.slack_joules() < 0.0);
        assert_eq!(rental.sleep_after(&MUSCLE).after, MUSCLE.break_even());
    }

    /// What one idle time costs at least, found by trying to sleep at every second of it, or never.
    fn tried(costs: &Costs, idle: u32) -> f64 {
        let (mut awake_joules, mut least) = (0.0, f64::MAX);
        for from in 0..idle {
            let asleep_joules = costs.asleep_watts * f64::from(idle - from);
            least = least.min(awake_joules + asleep_joules + costs.nap_joules().unwrap());
            awake_joules += costs.awake_watts;
        }
        least.min(awake_joules)
    }

    fn costs() -> impl Strategy<Value = Costs> {
        (0_u32..20_000, 0_u32..120, 0_u32..20, 1_u32..200, prop_oneof![Just(0.0), 0.0_f64..0.005]).prop_map(
            |(joules, seconds, asleep, saved, wear_euros)| Costs {
                boot_joules: f64::from(joules),
                boot_seconds: f64::from(seconds),
                awake_watts: f64::from(asleep + saved),
                asleep_watts: f64::from(asleep),
                wear_euros,
                euros_per_kwh: 0.3,
            },
        )
    }

    /// Idle times: at random, all alike, and (`None`) the adversary, who ends every one right after the machine fell asleep.
    fn idles() -> impl Strategy<Value = Vec<Option<u32>>> {
        let random = prop::collection::vec((0_u32..600).prop_map(Some), 1..50);
        let alike = (0_u32..900, 1_usize..80).prop_map(|(idle, times)| vec![Some(idle); times]);
        let adversary = prop::collection::vec(Just(None), 1..50);
        let lulled =
            (500_u32..900, 20_usize..40, 1_usize..40).prop_map(|(idle, calm, cruel)| [vec![Some(idle); calm], vec![None; cruel]].concat());
        let mixed = prop::collection::vec(prop_oneof![Just(None), (0_u32..600).prop_map(Some)], 1..50);
        prop_oneof![random, alike, adversary, lulled, mixed]
    }

    /// Ends an idle time where the adversary wants it: the first whole second after falling asleep.
    fn ended(idle: Option<u32>, after: f64) -> u32 {
        idle.unwrap_or_else(|| if after < 4000.0 { after as u32 + 1 } else { 1 })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn both_rules_cost_at_most_twice_what_knowing_the_future_would(costs in costs(), idles in idles()) {
            let (mut rental, mut learned, mut best_learned) = (Rental::default(), 0.0, 0.0);
            let (mut plain, mut best_plain) = (0.0, 0.0);
            for (index, idle) in idles.iter().enumerate() {
                let after = costs.break_even().seconds();
                let seconds = ended(*idle, after);
                plain += costs.idle_joules(f64::from(seconds), Some(after));
                best_plain += tried(&costs, seconds);
                let nap = rental.sleep_after(&costs);
                prop_assert!(nap.after <= nap.break_even);
                let after = nap.after.seconds();
                let seconds = ended(*idle, after);
                rental.observe(&costs, f64::from(seconds), Some(after));
                learned += costs.idle_joules(f64::from(seconds), Some(after));
                best_learned += tried(&costs, seconds);
                // Thresholds are whole milliseconds: up to one more of rent per idle time.
                let rounding = (index + 1) as f64 * costs.awake_watts / 1000.0 + 1e-6;
                prop_assert!(plain <= 2.0 * best_plain + rounding, "{plain} J against {best_plain} J");
                prop_assert!(learned <= 2.0 * best_learned + rounding, "learned: {learned} J against {best_learned} J");
            }
        }
    }
}
