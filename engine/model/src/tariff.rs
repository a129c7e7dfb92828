//! What energy costs when, and what a month may cost: plain data, and the arithmetic of a week of prices.
//!
//! Deliberately absent: what was spent (the kernel's `score::books`), prices that a market makes hour by hour, and summer time: the
//! offset is fixed, as in [`crate::Calendar`]. An editor breaks this by sampling the price instead of walking from boundary to boundary
//! (a short window between two samples would be free), or by reading windows over midnight otherwise than the calendar does.

use crate::{DayTime, Span, Time, Weekday};
use serde::{Deserialize, Serialize};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const WEEK: i64 = 7 * DAY;
const JOULES_PER_KWH: f64 = 3_600_000.0;

/// A time of the week with its own price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TariffWindow {
    /// Its name, for people: `night`.
    pub name: String,
    /// The days on which it begins; empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<Weekday>,
    /// When it begins.
    pub from: DayTime,
    /// When it ends, exclusive; not after `from`: on the next day.
    pub to: DayTime,
    /// The price within it, euros per kilowatt hour.
    pub euros_per_kwh: f64,
}

/// What energy costs. Without windows the price is flat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tariff {
    /// The price outside all windows, euros per kilowatt hour.
    pub euros_per_kwh: f64,
    /// Times of the week with another price. Where two overlap, the one that is written first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<TariffWindow>,
    /// Minutes that local time is ahead of UTC. The engine has no clock and knows no summer time.
    pub utc_offset_minutes: i32,
}

impl Default for Tariff {
    fn default() -> Tariff {
        Tariff { euros_per_kwh: 0.3, windows: Vec::new(), utc_offset_minutes: 0 }
    }
}

impl Tariff {
    /// The price at a moment, euros per kilowatt hour.
    pub fn price_at(&self, at: Time) -> f64 {
        self.price_in_week(self.in_week(at))
    }

    /// What so many joules cost, in euros, drawn evenly from `from` to `to`. Exact: from boundary to boundary of the windows, whole
    /// weeks at once. If `to` is not after `from`, all is drawn at `from`.
    ///
    /// Work: one look at every window per boundary, of which a week has at most 14 per window; the length of time costs nothing.
    pub fn euros(&self, joules: f64, from: Time, to: Time) -> f64 {
        let drawn = to.since(from).millis();
        let price = if self.windows.is_empty() || drawn == 0 {
            self.price_at(from)
        } else {
            let at = self.in_week(from);
            let weeks = drawn / WEEK;
            let whole = if weeks > 0 { weeks as f64 * self.summed(at, WEEK) } else { 0.0 };
            (whole + self.summed(at, drawn % WEEK)) / drawn as f64
        };
        joules / JOULES_PER_KWH * price
    }

    /// The first moment after `at` at which a window may begin or end; `None` without windows.
    pub fn next_boundary(&self, at: Time) -> Option<Time> {
        (!self.windows.is_empty()).then(|| at + Span(self.to_boundary(self.in_week(at))))
    }

    /// Local milliseconds since Monday 00:00. The first of January 1970 was a Thursday.
    fn in_week(&self, at: Time) -> i64 {
        let offset = i64::from(self.utc_offset_minutes) * MINUTE + 3 * DAY;
        (at.millis().rem_euclid(WEEK) + offset.rem_euclid(WEEK)).rem_euclid(WEEK)
    }

    fn price_in_week(&self, at: i64) -> f64 {
        self.windows.iter().find(|window| window.holds(at)).map_or(self.euros_per_kwh, |window| window.euros_per_kwh)
    }

    /// Milliseconds to the next moment of the day at which any window begins or ends; at least one, at most a day.
    fn to_boundary(&self, at: i64) -> i64 {
        let today = at.rem_euclid(DAY);
        let cuts = self.windows.iter().flat_map(|window| [window.from, window.to]);
        let ahead = cuts.map(|cut| (i64::from(cut.0) * MINUTE - today).rem_euclid(DAY)).map(|ahead| if ahead == 0 { DAY } else { ahead });
        // Midnight too: from then on it may be another weekday's windows.
        ahead.chain([DAY - today]).min().unwrap_or(DAY)
    }

    /// The sum of price times milliseconds over `length` ≤ one week, from a moment of the week on.
    fn summed(&self, from: i64, length: i64) -> f64 {
        let (mut at, mut left, mut sum) = (from, length, 0.0);
        while left > 0 {
            let step = self.to_boundary(at).min(left);
            sum += self.price_in_week(at) * step as f64;
            at = (at + step) % WEEK;
            left -= step;
        }
        sum
    }
}

impl TariffWindow {
    /// Whether it is open at a local moment of the week, in milliseconds since Monday 00:00. The same reading as the calendar's.
    fn holds(&self, at: i64) -> bool {
        let (day, minute) = (at.div_euclid(DAY), at.rem_euclid(DAY) / MINUTE);
        let (from, to) = (i64::from(self.from.0), i64::from(self.to.0));
        let begins_on = |day: i64| self.weekdays.is_empty() || self.weekdays.contains(&Weekday::ALL[day.rem_euclid(7) as usize]);
        if from < to {
            return begins_on(day) && (from..to).contains(&minute);
        }
        (begins_on(day) && minute >= from) || (begins_on(day - 1) && minute < to)
    }
}

/// What may be spent in one month of local time. What is not set has no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonthBudget {
    /// How long somebody may be interrupted, all actions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_max: Option<Span>,
    /// Energy, in joules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_max_joules: Option<f64>,
    /// Money, in euros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_max_euros: Option<f64>,
    /// Boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boots_max: Option<u64>,
    /// Evicted pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evictions_max: Option<u64>,
    /// Tokens of language models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<u64>,
    /// Power cycles of disks and machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_cycles_max: Option<u64>,
}

/// What actions cost: of one, or of many together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spending {
    /// How many actions.
    pub actions: u64,
    /// Energy, in joules.
    pub joules: f64,
    /// Money, in euros.
    pub euros: f64,
    /// How long somebody was interrupted.
    pub disruption: Span,
    /// Boots.
    pub boots: u64,
    /// Evicted pods.
    pub evictions: u64,
    /// Tokens of language models.
    pub tokens: u64,
    /// Power cycles (SMART id 12).
    pub power_cycles: u64,
    /// Load cycles of disk heads (SMART id 193).
    pub load_cycles: u64,
    /// How much of NVMe spare was used up, 0 to 1.
    pub nvme_spare_used: f64,
}

impl Spending {
    /// Adds another; whole numbers stay at their greatest value rather than overflow.
    pub fn add(&mut self, other: &Spending) {
        self.actions = self.actions.saturating_add(other.actions);
        self.joules += other.joules;
        self.euros += other.euros;
        self.disruption = self.disruption + other.disruption;
        self.boots = self.boots.saturating_add(other.boots);
        self.evictions = self.evictions.saturating_add(other.evictions);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.power_cycles = self.power_cycles.saturating_add(other.power_cycles);
        self.load_cycles = self.load_cycles.saturating_add(other.load_cycles);
        self.nvme_spare_used += other.nvme_spare_used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(name: &str, weekdays: &[Weekday], from: &str, to: &str, euros_per_kwh: f64) -> TariffWindow {
        let time = |text: &str| DayTime::parse(text).unwrap();
        TariffWindow { name: name.into(), weekdays: weekdays.to_vec(), from: time(from), to: time(to), euros_per_kwh }
    }

    /// Night from 22:00 to 06:00, begun on a weekday, and a dear hour every evening.
    fn two_prices() -> Tariff {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let windows =
            vec![window("night", &[Mon, Tue, Wed, Thu, Fri], "22:00", "06:00", 0.2), window("evening", &[], "18:30", "19:30", 0.5)];
        Tariff { euros_per_kwh: 0.3, windows, utc_offset_minutes: 60 }
    }

    /// Saturday the 21st of November 2026, 00:00 in local time (UTC+1): 20,778 days after the epoch, less an hour.
    const SATURDAY: Time = Time(20_778 * DAY - 60 * MINUTE);

    #[test]
    fn windows_over_midnight_belong_to_the_day_on_which_they_begin() {
        let tariff = two_prices();
        let price = |hours: i64, minutes: i64| tariff.price_at(SATURDAY + Span::from_mins(hours * 60 + minutes));
        // Friday's night reaches into Saturday; Saturday has none, nor Sunday.
        assert_eq!([price(0, 0), price(5, 59), price(6, 0), price(22, 0), price(29, 0), price(47, 59)], [0.2, 0.2, 0.3, 0.3, 0.3, 0.3]);
        assert_eq!([price(18, 29), price(18, 30), price(19, 29), price(19, 30)], [0.3, 0.5, 0.5, 0.3]);
        // Monday's begins on Monday.
        assert_eq!([price(48 + 5, 0), price(48 + 22, 0), price(72 + 5, 0), price(-1, 0)], [0.3, 0.2, 0.2, 0.2]);
        assert_eq!(tariff.next_boundary(SATURDAY), Some(SATURDAY + Span::from_hours(6)));
        assert_eq!(Tariff::default().next_boundary(SATURDAY), None);
    }

    #[test]
    fn energy_is_priced_exactly_over_the_boundaries() {
        let tariff = two_prices();
        // 4 kWh from 05:00 to 07:00 on Saturday: half at night.
        let (five, seven) = (SATURDAY + Span::from_hours(5), SATURDAY + Span::from_hours(7));
        assert!((tariff.euros(4.0 * JOULES_PER_KWH, five, seven) - (2.0 * 0.2 + 2.0 * 0.3)).abs() < 1e-12);
        // A millisecond on each side.
        let six = SATURDAY + Span::from_hours(6);
        assert!((tariff.euros(JOULES_PER_KWH, six - Span(1), six + Span(1)) - 0.25).abs() < 1e-12);
        // A week: 5 nights of 8 h, 7 evenings of 1 h, the rest of 168 h.
        let week = (40.0 * 0.2 + 7.0 * 0.5 + 121.0 * 0.3) / 168.0;
        for weeks in [1, 2, 520] {
            let to = five + Span::from_hours(168 * weeks);
            assert!((tariff.euros(JOULES_PER_KWH, five, to) - week).abs() < 1e-12, "{weeks} weeks");
        }
        // No time at all, or backwards: the price of the beginning.
        assert_eq!(tariff.euros(JOULES_PER_KWH, five, five), 0.2);
        assert_eq!(tariff.euros(JOULES_PER_KWH, seven, five), 0.3);
        assert_eq!(Tariff::default().euros(JOULES_PER_KWH, five, seven), 0.3);
        // The ends of time are no trap.
        assert!(tariff.euros(1.0, Time::MIN, Time::MAX) > 0.0);
    }

    /// Counts minute by minute, with the text of the calendar guard for what is open when.
    fn naive(tariff: &Tariff, from: Time, to: Time) -> f64 {
        let minutes = to.since(from).millis() / MINUTE;
        let price = |at: Time| {
            let local = at.millis().div_euclid(MINUTE) + i64::from(tariff.utc_offset_minutes);
            let (day, minute) = (local.div_euclid(1440), local.rem_euclid(1440));
            let open = tariff.windows.iter().find(|window| {
                let (from, to) = (i64::from(window.from.0), i64::from(window.to.0));
                let on = |day: i64| window.weekdays.is_empty() || window.weekdays.contains(&Weekday::ALL[(day + 3).rem_euclid(7) as usize]);
                if from < to {
                    on(day) && minute >= from && minute < to
                } else {
                    (on(day) && minute >= from) || (on(day - 1) && minute < to)
                }
            });
            open.map_or(tariff.euros_per_kwh, |window| window.euros_per_kwh)
        };
        (0..minutes).map(|minute| price(from + Span::from_mins(minute))).sum::<f64>() / minutes as f64
    }

    #[test]
    fn the_walk_agrees_with_counting_minutes() {
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            // Knuth's MMIX generator; the high bits are good enough to choose test cases.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for case in 0..300 {
            let windows = (0..next(4))
                .map(|index| TariffWindow {
                    name: format!("w{index}"),
                    weekdays: Weekday::ALL.into_iter().filter(|_| next(3) == 0).collect(),
                    from: DayTime(next(1441) as u16),
                    to: DayTime(next(1441) as u16),
                    euros_per_kwh: next(100) as f64 / 100.0,
                })
                .collect();
            let tariff = Tariff { euros_per_kwh: 0.31, windows, utc_offset_minutes: next(1561) as i32 - 720 };
            let from = Time((next(40_000_000) as i64 - 10_000_000) * MINUTE);
            let to = from + Span::from_mins(1 + next(20_000) as i64);
            let (exact, counted) = (tariff.euros(JOULES_PER_KWH, from, to), naive(&tariff, from, to));
            assert!((exact - counted).abs() < 1e-9, "case {case}: {exact} against {counted} for {tariff:?} from {from:?} to {to:?}");
        }
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let tariff: Tariff = serde_json::from_str("{}").unwrap();
        assert_eq!(tariff, Tariff::default());
        let text = r#"{"windows":[{"name":"night","from":"22:00","to":"06:00","euros_per_kwh":0.2}]}"#;
        let tariff: Tariff = serde_json::from_str(text).unwrap();
        assert_eq!(tariff.windows[0].to, DayTime(360));
        assert_eq!(serde_json::from_str::<Tariff>(&serde_json::to_string(&tariff).unwrap()).unwrap(), tariff);
        assert_eq!(serde_json::to_string(&MonthBudget::default()).unwrap(), "{}");
        let budget: MonthBudget = serde_json::from_str(r#"{"disruption_max":"2h","boots_max":40}"#).unwrap();
        assert_eq!((budget.disruption_max, budget.boots_max, budget.tokens_max), (Some(Span::from_hours(2)), Some(40), None));
    }
}
