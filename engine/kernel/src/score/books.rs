//! What was spent, per policy and month, and whether a month can bear what is asked for.
//!
//! Deliberately absent: prices ([`homeostat_model::Tariff`]), a clock, and where the figures come from. Months are months of local time
//! at a fixed offset. An editor breaks this by summing the policies anew for a check (another order of adding rounds otherwise, and a
//! budget could be passed by a hair), or by letting a figure that is not a number count as free.

use homeostat_model::{MonthBudget, Span, Spending, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// So many months are kept; the oldest go first.
pub const MONTHS_MAX: usize = 36;
/// So many policies of one month have their own account; the rest share [`OTHER`].
pub const POLICIES_MAX: usize = 512;
/// The account of all policies beyond [`POLICIES_MAX`].
pub const OTHER: &str = "other";
const DAY_MILLIS: i64 = 86_400_000;

/// A date of the proleptic Gregorian calendar: year, month 1 to 12, day 1 to 31, from days since the first of January 1970.
///
/// Years begin in March, so that the leap day is the last one; 400 years are 146,097 days (Hinnant: chrono-compatible low-level date
/// algorithms, `civil_from_days`).
pub fn civil_from_days(days: i64) -> (i64, u8, u8) {
    // 719,468 days lie between the first of March of the year 0 and the epoch.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// Days since the first of January 1970 of a date; the inverse of [`civil_from_days`]. The month must be 1 to 12.
pub fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A month of local time, written `2026-11`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    /// The year.
    pub year: i64,
    /// The month of it, 1 to 12.
    pub month: u8,
}

impl Month {
    /// The month in which a moment lies, in local time so many minutes ahead of UTC.
    pub fn of(at: Time, utc_offset_minutes: i32) -> Month {
        let local = at.millis().saturating_add(i64::from(utc_offset_minutes) * 60_000);
        let (year, month, _) = civil_from_days(local.div_euclid(DAY_MILLIS));
        Month { year, month }
    }

    /// When it begins, in local time so many minutes ahead of UTC.
    pub fn begins(self, utc_offset_minutes: i32) -> Time {
        let local = days_from_civil(self.year, self.month, 1).saturating_mul(DAY_MILLIS);
        Time(local.saturating_sub(i64::from(utc_offset_minutes) * 60_000))
    }

    /// The month after it.
    pub fn next(self) -> Month {
        if self.month == 12 { Month { year: self.year + 1, month: 1 } } else { Month { month: self.month + 1, ..self } }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Month, String> {
        let fail = || format!("`{}` is not a month: expected `2026-11`", text.chars().take(40).collect::<String>());
        let (year, month) = text.rsplit_once('-').ok_or_else(fail)?;
        let month = month.parse().ok().filter(|number| month.len() == 2 && (1..=12).contains(number)).ok_or_else(fail)?;
        // Beyond what any moment can lie in, the arithmetic of days could overflow.
        let year = year.parse().ok().filter(|number: &i64| number.abs() < 300_000_000).ok_or_else(fail)?;
        Ok(Month { year, month })
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Month, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The same without what cannot be spent: below zero, or not a number. The second value: whether anything was taken out.
fn readable(spent: &Spending) -> (Spending, bool) {
    let mut clean = spent.clone();
    let mut changed = clean.disruption < Span::ZERO;
    clean.disruption = clean.disruption.max(Span::ZERO);
    for number in [&mut clean.joules, &mut clean.euros, &mut clean.nvme_spare_used] {
        if !(number.is_finite() && *number >= 0.0) {
            *number = 0.0;
            changed = true;
        }
    }
    (clean, changed)
}

/// The books of one month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    /// The sum, in the order of adding.
    total: Spending,
    policies: BTreeMap<String, Spending>,
}

/// What every policy spent, month by month. Bounded: [`MONTHS_MAX`] months of [`POLICIES_MAX`] policies and one account for the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    utc_offset_minutes: i32,
    months: BTreeMap<Month, Account>,
    unreadable: u64,
    late: u64,
}

impl Books {
    /// Empty books, in local time so many minutes ahead of UTC (that of the tariff).
    pub fn new(utc_offset_minutes: i32) -> Books {
        Books { utc_offset_minutes, ..Books::default() }
    }

    /// From now on, local time is so many minutes ahead of UTC. What is written stays in its month.
    pub fn set_utc_offset_minutes(&mut self, minutes: i32) {
        self.utc_offset_minutes = minutes;
    }

    /// Writes down what a policy spent. Figures below zero and what is not a number count nothing and are counted in
    /// [`Books::unreadable`]; what lies before the oldest month of full books is counted in [`Books::late`].
    pub fn add(&mut self, at: Time, policy: &str, spent: &Spending) {
        let month = self.month_of(at);
        if self.is_closed(month) {
            self.late += 1;
            return;
        }
        let (spent, changed) = readable(spent);
        self.unreadable += u64::from(changed);
        let account = self.months.entry(month).or_default();
        let named = account.policies.keys().filter(|name| *name != OTHER).count();
        let name = if named < POLICIES_MAX || account.policies.contains_key(policy) { policy } else { OTHER };
        account.total.add(&spent);
        account.policies.entry(name.to_owned()).or_default().add(&spent);
        while self.months.len() > MONTHS_MAX {
            self.months.pop_first();
        }
    }

    /// What a policy spent in the month of a moment. A policy that has no account of its own shares [`OTHER`], and this is zero.
    pub fn month(&self, at: Time, policy: &str) -> Spending {
        self.months.get(&self.month_of(at)).and_then(|account| account.policies.get(policy)).cloned().unwrap_or_default()
    }

    /// What all policies spent in the month of a moment.
    pub fn total(&self, at: Time) -> Spending {
        self.months.get(&self.month_of(at)).map(|account| account.total.clone()).unwrap_or_default()
    }

    /// The months that are kept, oldest first, with their totals.
    pub fn months(&self) -> impl DoubleEndedIterator<Item = (Month, &Spending)> {
        self.months.iter().map(|(month, account)| (*month, &account.total))
    }

    /// The policies of a month, in the order of their names.
    pub fn policies(&self, month: Month) -> impl Iterator<Item = (&str, &Spending)> {
        self.months.get(&month).into_iter().flat_map(|account| account.policies.iter().map(|(name, spent)| (name.as_str(), spent)))
    }

    /// The month in which a moment lies, by these books.
    pub fn month_of(&self, at: Time) -> Month {
        Month::of(at, self.utc_offset_minutes)
    }

    /// How often a figure was below zero or not a number.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// How often something was to be written into a month that is no longer kept.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Why the month of a moment cannot bear what is about to be spent: which limits, with their figures. `None`: it can.
    ///
    /// Asking for nothing of what is limited is always borne, also when the limit is passed already. A figure that is below zero or not
    /// a number cannot be borne where there is a limit for it.
    pub fn over(&self, budget: &MonthBudget, at: Time, about_to: &Spending) -> Option<String> {
        let month = self.month_of(at);
        if self.is_closed(month) {
            return Some(format!("the books of {month} are closed"));
        }
        let spent = self.total(at);
        let span = |value: f64| Span::from_millis(value as i64).to_string();
        let kwh = |value: f64| format!("{:.3} kWh", value / 3_600_000.0);
        let euros = |value: f64| format!("{value:.2} €");
        let count = |value: f64| format!("{value}");
        // Counts beyond 2^53 round as numbers; they are compared as what they are, below.
        let whole = |value: u64| value as f64;
        let numbers = [
            (budget.energy_max_joules, spent.joules, about_to.joules, "energy", &kwh as &dyn Fn(f64) -> String),
            (budget.spend_max_euros, spent.euros, about_to.euros, "money", &euros),
        ]
        .into_iter()
        .filter_map(|(max, spent, ask, what, unit)| {
            let max = max?;
            // Not "greater than": a limit that is not a number allows nothing.
            let borne = ask == 0.0 || (ask > 0.0 && spent + ask <= max);
            (!borne).then(|| refused(what, unit, [spent, ask, max]))
        });
        let counts = [
            (budget.boots_max, spent.boots, about_to.boots, "boots"),
            (budget.evictions_max, spent.evictions, about_to.evictions, "evictions"),
            (budget.tokens_max, spent.tokens, about_to.tokens, "tokens"),
            (budget.power_cycles_max, spent.power_cycles, about_to.power_cycles, "power cycles"),
        ]
        .into_iter()
        .filter_map(|(max, spent, ask, what)| {
            let max = max.filter(|max| ask > 0 && spent.saturating_add(ask) > *max)?;
            Some(refused(what, &count, [whole(spent), whole(ask), whole(max)]))
        });
        let (had, ask) = (spent.disruption, about_to.disruption);
        let disruption = budget.disruption_max.filter(|max| ask != Span::ZERO && (ask < Span::ZERO || had + ask > *max));
        let disruption = disruption.map(|max| refused("disruption", &span, [had, ask, max].map(|span| span.millis() as f64)));
        let broken: Vec<String> = numbers.chain(counts).chain(disruption).collect();
        (!broken.is_empty()).then(|| format!("the budget of {month}: {}", broken.join("; ")))
    }

    fn is_closed(&self, month: Month) -> bool {
        self.months.len() >= MONTHS_MAX && self.months.first_key_value().is_some_and(|(oldest, _)| month < *oldest)
    }
}

/// `boots: 39 spent and 2 more are over 40`.
fn refused(what: &str, unit: &dyn Fn(f64) -> String, [spent, ask, max]: [f64; 3]) -> String {
    format!("{what}: {} spent and {} more are over {}", unit(spent), unit(ask), unit(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(year: i64, month: u8, day: u8) -> Time {
        Time(days_from_civil(year, month, day) * DAY_MILLIS)
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Known dates: the epoch, leap days, centuries with and without one, 10^9 s, the last second of 32 bits.
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2001, 9, 9), 1_000_000_000 / 86_400),
            ((2038, 1, 19), i64::from(i32::MAX) / 86_400),
            ((1900, 3, 1), -25_508),
            ((2100, 3, 1), 47_541),
            ((2026, 11, 21), 20_778),
            ((1, 1, 1), -719_162),
            ((1582, 10, 15), -141_427),
        ] {
            assert_eq!(days_from_civil(date.0, date.1, date.2), days, "{date:?}");
            assert_eq!(civil_from_days(days), date, "{days}");
        }
        // Day after day through 800 years and every kind of century: the next day is the next date.
        let lengths = |year: i64| [31, if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31];
        let length = |year, month: u8| match month {
            9 | 11 => 30,
            10 | 12 => 31,
            _ => lengths(year)[usize::from(month) - 1],
        };
        let mut date = (1599, 12, 31);
        for days in days_from_civil(1599, 12, 31)..days_from_civil(2400, 3, 2) {
            assert_eq!(civil_from_days(days), date);
            assert_eq!(days_from_civil(date.0, date.1, date.2), days);
            date = match date {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, last) if last == length(year, month) => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn months_are_those_of_local_time() {
        let midnight = day(2026, 12, 1);
        assert_eq!(Month::of(midnight - Span(1), 0).to_string(), "2026-11");
        assert_eq!(Month::of(midnight, 0).to_string(), "2026-12");
        assert_eq!(Month::of(midnight - Span::from_mins(60), 60).to_string(), "2026-12");
        assert_eq!(Month::of(midnight + Span::from_mins(299), -300).to_string(), "2026-11");
        let december: Month = "2026-12".parse().unwrap();
        assert_eq!((december.begins(60), december.next().to_string()), (midnight - Span::from_mins(60), "2027-01".into()));
        for at in [Time::MIN, Time::MAX, Time(0)] {
            let month = Month::of(at, 840);
            assert_eq!(month.to_string().parse::<Month>(), Ok(month));
            assert!(at == Time::MIN || month.begins(840) <= at);
        }
        for text in ["2026", "2026-13", "2026-00", "2026-1", "x-01", "", "-", "999999999999-01"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_spent_stands_with_its_policy_and_month() {
        let mut books = Books::new(60);
        let boot = Spending { actions: 1, joules: 9000.0, euros: 0.01, boots: 1, power_cycles: 1, ..Spending::default() };
        let noon = day(2026, 11, 30) + Span::from_hours(12);
        books.add(noon, "wake", &boot);
        books.add(noon, "wake", &boot);
        books.add(noon, "evict", &Spending { actions: 1, evictions: 3, disruption: Span::from_secs(30), ..Spending::default() });
        books.add(noon + Span::from_hours(11), "wake", &boot);
        assert_eq!((books.month(noon, "wake").boots, books.month(noon, "wake").joules), (2, 18_000.0));
        assert_eq!((books.total(noon).actions, books.total(noon).evictions), (3, 3));
        assert_eq!(books.total(noon + Span::from_hours(11)).actions, 1, "23:00 UTC is the first of December here");
        let november = books.month_of(noon);
        assert_eq!(books.policies(november).map(|(name, _)| name).collect::<Vec<_>>(), ["evict", "wake"]);
        assert_eq!(books.months().map(|(month, _)| month.to_string()).collect::<Vec<_>>(), ["2026-11", "2026-12"]);
        let text = serde_json::to_string(&books).unwrap();
        assert_eq!(serde_json::from_str::<Books>(&text).unwrap(), books);
        assert!(text.contains(r#""2026-11":{"#), "{text}");
    }

    #[test]
    fn a_refusal_names_every_limit_with_its_figures() {
        let mut books = Books::default();
        let at = day(2026, 11, 21);
        let spent = Spending { boots: 39, joules: 3.4 * 3_600_000.0, disruption: Span::from_mins(110), ..Spending::default() };
        books.add(at, "wake", &spent);
        let budget = MonthBudget {
            boots_max: Some(40),
            energy_max_joules: Some(3.5 * 3_600_000.0),
            disruption_max: Some(Span::from_hours(2)),
            ..MonthBudget::default()
        };
        let ask = |boots, kwh, minutes| Spending {
            boots,
            joules: kwh * 3_600_000.0,
            disruption: Span::from_mins(minutes),
            ..Spending::default()
        };
        assert_eq!(books.over(&budget, at, &ask(1, 0.0999, 10)), None);
        assert_eq!(
            books.over(&budget, at, &ask(2, 0.2, 11)).as_deref(),
            Some(
                "the budget of 2026-11: energy: 3.400 kWh spent and 0.200 kWh more are over 3.500 kWh; \
                 boots: 39 spent and 2 more are over 40; disruption: 1h50m spent and 11m more are over 2h"
            )
        );
        assert_eq!(books.over(&budget, at + Span::from_hours(24 * 12), &ask(2, 0.2, 11)), None, "another month");
        // What asks for nothing of it is borne even when the limit was lowered below what is spent.
        let lowered = MonthBudget { boots_max: Some(1), ..MonthBudget::default() };
        assert_eq!(books.over(&lowered, at, &ask(0, 9.0, 9)), None);
        for joules in [f64::NAN, -1.0, f64::INFINITY] {
            let odd = Spending { joules, ..Spending::default() };
            assert!(books.over(&budget, at, &odd).is_some(), "{joules}");
            assert_eq!(books.over(&MonthBudget::default(), at, &odd), None);
            books.add(at, "odd", &odd);
        }
        assert_eq!((books.unreadable(), books.total(at).joules), (3, spent.joules));
        let nothing = MonthBudget { energy_max_joules: Some(f64::NAN), ..MonthBudget::default() };
        assert!(books.over(&nothing, at, &ask(0, 0.1, 0)).is_some());
    }

    #[test]
    fn the_books_have_a_limit_and_lose_no_total() {
        let mut books = Books::default();
        let (at, one) = (day(2026, 1, 15), Spending { actions: 1, ..Spending::default() });
        for policy in 0..600 {
            books.add(at, &format!("policy-{policy}"), &one);
        }
        assert_eq!((books.total(at).actions, books.month(at, OTHER).actions), (600, 88));
        assert_eq!(books.policies(books.month_of(at)).count(), POLICIES_MAX + 1);
        books.add(at, "policy-3", &one);
        assert_eq!(books.month(at, "policy-3").actions, 2);
        for month in 0..40 {
            books.add(at + Span::from_hours(24 * 30 * month), "wake", &one);
        }
        assert_eq!(books.months().count(), MONTHS_MAX);
        assert!(books.over(&MonthBudget::default(), at, &one).is_some_and(|text| text == "the books of 2026-01 are closed"));
        books.add(at, "wake", &one);
        assert_eq!((books.late(), books.total(at).actions), (1, 0));
    }

    prop_compose! {
        fn ask()(
            hours in 0_i64..3000,
            policy in 0_u8..4,
            floats in prop::array::uniform2(prop_oneof![Just(0.0), Just(0.1), 0.0_f64..2.0, Just(f64::NAN), Just(-3.0)]),
            disruption in prop_oneof![Just(0_i64), -5_i64..1000],
            counts in prop::array::uniform4(prop_oneof![Just(0_u64), 0_u64..5, Just(u64::MAX)]),
        ) -> (Time, String, Spending) {
            let [boots, evictions, tokens, power_cycles] = counts;
            let spending = Spending {
                actions: 1, joules: floats[0], euros: floats[1], disruption: Span(disruption), boots, evictions, tokens, power_cycles,
                ..Spending::default()
            };
            (day(2025, 11, 15) + Span::from_hours(hours), format!("p{policy}"), spending)
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_no_month_passes_its_budget(
            asks in prop::collection::vec(ask(), 0..200),
            floats in prop::array::uniform2(prop::option::of(prop_oneof![Just(0.3), 0.0_f64..20.0])),
            disruption_max in prop::option::of((0_i64..5000).prop_map(Span)),
            counts in prop::array::uniform4(prop::option::of(0_u64..40)),
            offset in -720_i32..840,
        ) {
            let [boots_max, evictions_max, tokens_max, power_cycles_max] = counts;
            let [energy_max_joules, spend_max_euros] = floats;
            let budget = MonthBudget {
                disruption_max, energy_max_joules, spend_max_euros, boots_max, evictions_max, tokens_max, power_cycles_max,
            };
            let mut books = Books::new(offset);
            for (at, policy, spending) in asks {
                let before = books.total(at);
                match books.over(&budget, at, &spending) {
                    Some(text) => prop_assert!(text.contains("spent and"), "{text}"),
                    None => books.add(at, &policy, &spending),
                }
                // Nothing that is written makes a month cheaper.
                prop_assert!(books.total(at).joules >= before.joules && books.total(at).disruption >= before.disruption);
            }
            for (month, total) in books.months() {
                prop_assert!(energy_max_joules.is_none_or(|max| total.joules <= max), "{month}");
                prop_assert!(spend_max_euros.is_none_or(|max| total.euros <= max), "{month}");
                prop_assert!(disruption_max.is_none_or(|max| total.disruption <= max), "{month}");
                prop_assert!(boots_max.is_none_or(|max| total.boots <= max), "{month}");
                prop_assert!(evictions_max.is_none_or(|max| total.evictions <= max), "{month}");
                prop_assert!(tokens_max.is_none_or(|max| total.tokens <= max), "{month}");
                prop_assert!(power_cycles_max.is_none_or(|max| total.power_cycles <= max), "{month}");
                let policies: u64 = books.policies(month).map(|(_, spent)| spent.actions).sum();
                prop_assert_eq!(policies, total.actions);
            }
        }
    }
}
