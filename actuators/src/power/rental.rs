//! When a nap pays: the ski-rental rule with measured boots and with wear.
//!
//! The one place of the formula: the refusal of a nap, the preview and the log all ask [`Costs::break_even`]. All costs are joules; what
//! a power cycle wears off is turned into joules at the price of energy. Deliberately absent: forecasts, and a threshold that is learned
//! from earlier idle times. The actuator hears of an idle time only when somebody wishes a nap: those that ended before are never seen,
//! and what is learned from the rest would call every idle time a long one. Policies decide by idle time; this only says from when on it
//! is no loss. An editor breaks this by leaving out what a booting machine draws while it cannot be used.

use homeostat_model::Span;

const JOULES_PER_KWH: f64 = 3_600_000.0;
/// From so many measured boots on, their median counts instead of what is configured.
pub(super) const BOOTS_MIN: usize = 3;

/// What waking, waiting and sleeping cost.
#[derive(Copy, Clone, Debug, PartialEq)]
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

/// What the remembered boots of a node say.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(super) struct Measured {
    /// How many boots were timed.
    pub boots: usize,
    /// The median of their times.
    pub time: Span,
    /// The median of their energy in joules, once at least [`BOOTS_MIN`] were metered.
    pub joules: Option<f64>,
}

impl Costs {
    /// The same with what was measured in place of what is configured, and whether that was done: from [`BOOTS_MIN`] boots on, and before
    /// only where they took longer than configured, because a nap that was not taken costs little and a dear one much.
    ///
    /// Without a meter the energy is the configured one, and as many seconds of an awake machine more or less as the boot is longer or
    /// shorter than configured: a slow boot mostly waits.
    pub(super) fn as_measured(&self, measured: &Measured) -> (Costs, bool) {
        let boot_seconds = measured.time.seconds();
        if measured.boots == 0 || measured.boots < BOOTS_MIN && boot_seconds <= self.boot_seconds {
            return (*self, false);
        }
        let estimated = (self.boot_joules + self.awake_watts * (boot_seconds - self.boot_seconds)).max(0.0);
        (Costs { boot_joules: measured.joules.unwrap_or(estimated), boot_seconds, ..*self }, true)
    }

    /// What one nap costs besides what is drawn asleep, however short it is: boot and wear, joules. `None`: a number is negative or not
    /// finite, or sleeping saves nothing, or wear has no price of energy to be held against.
    fn nap_joules(&self) -> Option<f64> {
        let numbers = [self.boot_joules, self.boot_seconds, self.awake_watts, self.asleep_watts, self.wear_euros, self.euros_per_kwh];
        let sane = numbers.iter().all(|value| value.is_finite() && *value >= 0.0) && self.awake_watts > self.asleep_watts;
        let wear = if self.wear_euros == 0.0 { 0.0 } else { self.wear_euros / self.euros_per_kwh * JOULES_PER_KWH };
        // A booting machine draws at least what an awake one does, or the bound would not hold.
        let boot = self.boot_joules.max(self.awake_watts * self.boot_seconds) - self.asleep_watts * self.boot_seconds;
        (sane && (boot + wear).is_finite()).then_some(boot + wear)
    }

    /// The idle time from which on sleeping costs less than waiting awake, rounded up to whole milliseconds; the longest span: never.
    ///
    /// With Δ = awake − asleep and C = max(boot_joules, awake·boot_seconds) − asleep·boot_seconds + wear, the extra that a nap costs however
    /// short it is, it is C ÷ Δ (Benini, Bogliolo, De Micheli: A survey of design techniques for system-level dynamic power management, IEEE
    /// Trans. VLSI 8(3), 2000, the break-even time). A node that goes to sleep after that much idle time never costs more than twice what
    /// one would that knows the future (Karlin, Manasse, Rudolph, Sleator: Competitive snoopy caching, Algorithmica 3, 1988).
    pub fn break_even(&self) -> Span {
        let seconds = self.nap_joules().map_or(f64::INFINITY, |nap| nap / (self.awake_watts - self.asleep_watts));
        let millis = (seconds * 1000.0).ceil();
        if millis < i64::MAX as f64 { Span::from_millis(millis as i64) } else { Span(i64::MAX) }
    }
}

#[cfg(test)]
mod tests;
