//! What reasoners may use up, in tokens and money, per hour and month; and what they have.
//!
//! A call is booked at its bound before it is made and corrected after it: whoever crashes between the two has spent too much on paper,
//! never too little. Hours and months are UTC's; a clock that goes back opens none anew (one
//! that was far ahead keeps its month until then, or until somebody forgets [`Spent`]). Deliberately absent: files (the caller keeps
//! [`Spent`]) and clocks. An editor breaks this by admitting a call whose bound does not fit, or by giving back what was never booked.

use homeostat_model::{ReasonFault, ReasonFaultClass, Time, TokenUsage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// What may be used up. Not said: no limit.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Tokens read and written in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_hour: Option<u64>,
    /// Tokens read and written in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// Euros in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub euros_per_hour: Option<f64>,
    /// Euros in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub euros_per_month: Option<f64>,
}

impl BudgetConfig {
    /// Every problem, for people.
    pub fn problems(&self) -> Vec<String> {
        let euros = [("euros_per_hour", self.euros_per_hour), ("euros_per_month", self.euros_per_month)];
        let wrong = euros.iter().filter(|(_, euros)| euros.is_some_and(|euros| !euros.is_finite() || euros < 0.0));
        wrong.map(|(name, _)| format!("`budget.{name}` must be 0 or more")).collect()
    }

    /// Whether money is limited.
    pub fn counts_euros(&self) -> bool {
        self.euros_per_hour.is_some() || self.euros_per_month.is_some()
    }
}

/// An amount: of tokens and of money.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Tokens read and written.
    pub tokens: u64,
    /// Millionths of a euro: whole numbers add up exactly.
    pub microeuros: u64,
}

impl Amount {
    /// An amount; euros are rounded up to the millionth.
    pub fn new(usage: TokenUsage, euros: f64) -> Amount {
        Amount { tokens: usage.total(), microeuros: (euros * 1e6).ceil().max(0.0) as u64 }
    }

    /// The money, in euros.
    pub fn euros(self) -> f64 {
        self.microeuros as f64 / 1e6
    }

    fn plus(self, other: Amount) -> Amount {
        Amount { tokens: self.tokens.saturating_add(other.tokens), microeuros: self.microeuros.saturating_add(other.microeuros) }
    }

    fn minus(self, other: Amount) -> Amount {
        Amount { tokens: self.tokens.saturating_sub(other.tokens), microeuros: self.microeuros.saturating_sub(other.microeuros) }
    }
}

/// What was spent: plain data that outlives the process if the caller keeps it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spent {
    /// The hour: whole hours since the Unix epoch.
    pub hour: i64,
    /// What was booked in it.
    pub in_hour: Amount,
    /// The month: months since the year 0, UTC.
    pub month: i64,
    /// What was booked in it.
    pub in_month: Amount,
    /// Tokens that providers reported beyond what was booked for a call, ever. More than none: somebody's limits do not hold.
    pub tokens_over: u64,
}

/// A call's booking, to be settled.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Booking {
    hour: i64,
    month: i64,
    amount: Amount,
}

impl Spent {
    /// Opens the hour and the month that `now` is in, if they are later than those known.
    pub fn turn(&mut self, now: Time) {
        let (hour, month) = (now.millis().div_euclid(HOUR_MS), month_of(now));
        if hour > self.hour {
            (self.hour, self.in_hour) = (hour, Amount::default());
        }
        if month > self.month {
            (self.month, self.in_month) = (month, Amount::default());
        }
    }

    /// Books an amount if it fits; the fault says which limit it would pass and when that opens anew.
    pub fn book(&mut self, now: Time, budget: &BudgetConfig, amount: Amount) -> Result<Booking, ReasonFault> {
        self.turn(now);
        let micro = |euros: Option<f64>| euros.map(|euros| (euros * 1e6).floor().max(0.0) as u64);
        let limits = [
            ("tokens this hour", budget.tokens_per_hour, self.in_hour.tokens, amount.tokens),
            ("tokens this month", budget.tokens_per_month, self.in_month.tokens, amount.tokens),
            ("millionths of a euro this hour", micro(budget.euros_per_hour), self.in_hour.microeuros, amount.microeuros),
            ("millionths of a euro this month", micro(budget.euros_per_month), self.in_month.microeuros, amount.microeuros),
        ];
        for (name, limit, spent, more) in limits {
            if let Some(limit) = limit.filter(|limit| spent.checked_add(more).is_none_or(|sum| sum > *limit)) {
                let words = format!("{name}: {spent} are booked, this question may need {more}, the limit is {limit}");
                return Err(ReasonFault::new(ReasonFaultClass::NoBudget, words));
            }
        }
        self.in_hour = self.in_hour.plus(amount);
        self.in_month = self.in_month.plus(amount);
        Ok(Booking { hour: self.hour, month: self.month, amount })
    }

    /// Replaces a booking by what was really used. What was booked in an hour that is over stays there.
    pub fn settle(&mut self, now: Time, booking: Booking, real: Amount) {
        self.turn(now);
        let (less, more) = (booking.amount.minus(real), real.minus(booking.amount));
        self.tokens_over = self.tokens_over.saturating_add(more.tokens);
        if booking.hour == self.hour {
            self.in_hour = self.in_hour.minus(less);
        }
        if booking.month == self.month {
            self.in_month = self.in_month.minus(less);
        }
        self.in_hour = self.in_hour.plus(more);
        self.in_month = self.in_month.plus(more);
    }
}

/// Months since the year 0 of the proleptic Gregorian calendar, UTC (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn month_of(at: Time) -> i64 {
    let days = at.millis().div_euclid(DAY_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // 0: March
    (year_of_era + era * 400) * 12 + month + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        let at = |millis: i64| month_of(Time(millis));
        assert_eq!(at(0), 1970 * 12);
        assert_eq!((at(951_782_399_999), at(951_782_400_000), at(951_868_800_000)), (2000 * 12 + 1, 2000 * 12 + 1, 2000 * 12 + 2)); // 29 February 2000
        assert_eq!((at(1_798_761_599_999), at(1_798_761_600_000)), (2026 * 12 + 11, 2027 * 12));
        assert_eq!(at(-1), 1969 * 12 + 11);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_limit() {
        let budget = BudgetConfig { tokens_per_hour: Some(100), euros_per_month: Some(0.5), ..BudgetConfig::default() };
        let mut spent = Spent::default();
        let amount = |tokens, microeuros| Amount { tokens, microeuros };
        let first = spent.book(Time(0), &budget, amount(80, 400_000)).unwrap();
        let said = spent.book(Time(1), &budget, amount(21, 0)).unwrap_err();
        assert!(said.class == ReasonFaultClass::NoBudget && said.text.contains("tokens this hour: 80 are booked"), "{said}");
        spent.settle(Time(2), first, amount(10, 400_000));
        let second = spent.book(Time(3), &budget, amount(90, 0)).unwrap();
        assert!(spent.book(Time(HOUR_MS), &budget, amount(100, 0)).is_ok(), "a new hour");
        spent.settle(Time(HOUR_MS), second, amount(90, 0));
        assert!(spent.book(Time(2 * HOUR_MS), &budget, amount(1, 200_000)).unwrap_err().text.contains("this month"));
        spent.book(Time(2 * HOUR_MS), &budget, amount(100, 0)).unwrap();
        assert!(spent.book(Time(0), &budget, amount(1, 0)).is_err(), "a clock that goes back opens no hour anew");
        let text = serde_json::to_string(&spent).unwrap();
        assert_eq!(serde_json::from_str::<Spent>(&text).unwrap(), spent);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(i64),
        Book(u64, u64),
        Settle(usize, u8),
    }

    proptest! {
        /// For any sequence of bookings, settlements (never above the booking) and times, forwards and back, no limit is passed; and what
        /// is on paper is at least what was really used in the hour and month it was booked in.
        #[test]
        fn no_sequence_passes_the_budget(
            steps in prop::collection::vec(prop_oneof![
                (-2_000_000i64..9_000_000).prop_map(Step::Wait),
                (0u64..400, 0u64..400).prop_map(|(tokens, micro)| Step::Book(tokens, micro)),
                (any::<usize>(), 0u8..=100).prop_map(|(which, percent)| Step::Settle(which, percent)),
            ], 0..80),
            limits in (0u64..1000, 0u64..3000, 0u64..1000, 0u64..3000),
        ) {
            let budget = BudgetConfig {
                tokens_per_hour: Some(limits.0), tokens_per_month: Some(limits.1),
                euros_per_hour: Some(limits.2 as f64 / 1e6), euros_per_month: Some(limits.3 as f64 / 1e6),
            };
            let (mut spent, mut now, mut open) = (Spent::default(), Time(0), Vec::new());
            let mut really: Vec<(Booking, Amount)> = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(millis) => now = Time(now.millis() + millis),
                    Step::Book(tokens, microeuros) => open.extend(spent.book(now, &budget, Amount { tokens, microeuros })),
                    Step::Settle(which, percent) if !open.is_empty() => {
                        let booking = open.swap_remove(which % open.len());
                        let part = |whole: u64| whole * u64::from(percent) / 100;
                        let real = Amount { tokens: part(booking.amount.tokens), microeuros: part(booking.amount.microeuros) };
                        spent.settle(now, booking, real);
                        really.push((booking, real));
                    }
                    Step::Settle(..) => {}
                }
                prop_assert!(spent.in_hour.tokens <= limits.0 && spent.in_month.tokens <= limits.1, "{:?}", spent);
                prop_assert!(spent.in_hour.microeuros <= limits.2 && spent.in_month.microeuros <= limits.3, "{:?}", spent);
                let open_hour: u64 = open.iter().filter(|one| one.hour == spent.hour).map(|one| one.amount.tokens).sum();
                let used_hour: u64 = really.iter().filter(|(one, _)| one.hour == spent.hour).map(|(_, real)| real.tokens).sum();
                prop_assert_eq!(spent.in_hour.tokens, open_hour + used_hour, "an independent count of the hour");
            }
            prop_assert_eq!(spent.tokens_over, 0);
        }

        /// Who reports more than was booked is counted in full, and what he took too much is the only excess there can be.
        #[test]
        fn a_liar_is_counted(reports in prop::collection::vec((1u64..100, 0u64..300), 1..40)) {
            let budget = BudgetConfig { tokens_per_hour: Some(500), ..BudgetConfig::default() };
            let (mut spent, mut total) = (Spent::default(), 0);
            for (bound, report) in reports {
                let Ok(booking) = spent.book(Time(5), &budget, Amount { tokens: bound, microeuros: 0 }) else { continue };
                spent.settle(Time(5), booking, Amount { tokens: report, microeuros: 0 });
                total += report;
                prop_assert_eq!(spent.in_hour.tokens, total);
                prop_assert!(total <= 500 + spent.tokens_over);
            }
        }
    }
}
