//! What was spent by month and policy, what is left of the month's budget, and what is locked until a person looks.

use super::rules::Rules;
use crate::cli::show::table;
use crate::http::view::{distance, number};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::{Phase, symptom_of};
use homeostat_kernel::score::books::Month;
use homeostat_model::{Closing, MonthBudget, Reason, Span, Spending, Stance, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Joules in a kilowatt hour.
pub const JOULES_PER_KWH: f64 = 3_600_000.0;
/// Locks in one answer.
const LOCKS_MAX: usize = 500;

/// What one policy, or all of them, spent in a month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpendLine {
    /// The policy; `operator`: people; `other`: policies beyond those that have their own account.
    pub policy: String,
    /// Energy, in kilowatt hours.
    pub kwh: f64,
    /// The figures.
    pub spent: Spending,
}

impl SpendLine {
    fn of(policy: &str, spent: &Spending) -> SpendLine {
        SpendLine { policy: policy.to_owned(), kwh: spent.joules / JOULES_PER_KWH, spent: spent.clone() }
    }
}

/// One month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthLine {
    /// `2026-11`.
    pub month: String,
    /// The policies, by name.
    pub policies: Vec<SpendLine>,
    /// All of them.
    pub total: SpendLine,
}

/// One limit of the month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// Of what, with its unit: `energy_joules`, `disruption_seconds`, `boots`.
    pub what: String,
    /// The limit.
    pub max: f64,
    /// What was spent this month.
    pub spent: f64,
    /// What is left; never below zero.
    pub left: f64,
}

/// Something that is held until a person looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockLine {
    /// `rhythm`, `futility`, `never` or `autonomy`.
    pub kind: String,
    /// The target or symptom.
    pub about: String,
    /// Since when.
    pub since: Time,
    /// Whether it is locked, or only held for a while.
    pub is_locked: bool,
    /// Why.
    pub why: String,
    /// What takes the lock away.
    pub unlock: String,
}

/// The books as people look at them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpendingView {
    /// As of when.
    pub at: Time,
    /// The month of now, in local time by the tariff.
    pub month: String,
    /// The months, newest first.
    pub months: Vec<MonthLine>,
    /// The limits of this month.
    pub budget: Vec<BudgetLine>,
    /// What is held or locked.
    pub locks: Vec<LockLine>,
    /// Figures that could not be read and count nothing.
    pub unreadable: u64,
}

impl SpendingView {
    /// From a ledger; `only`: one month.
    pub fn of(ledger: &Ledger, rules: &Rules, at: Time, only: Option<Month>) -> SpendingView {
        let books = ledger.books();
        let months = books.months().rev().filter(|(month, _)| only.is_none_or(|only| only == *month)).map(|(month, total)| MonthLine {
            month: month.to_string(),
            policies: books.policies(month).map(|(policy, spent)| SpendLine::of(policy, spent)).collect(),
            total: SpendLine::of("all", total),
        });
        SpendingView {
            at,
            month: books.month_of(at).to_string(),
            months: months.collect(),
            budget: budget(&rules.arbiter.month, &books.total(at)),
            locks: locks(ledger, rules, at),
            unreadable: books.unreadable(),
        }
    }

    /// As a terminal shows it.
    pub fn text(&self) -> String {
        let columns = ["month", "policy", "actions", "kWh", "euros", "interruption", "boots", "evictions", "power cycles", "tokens"];
        let rows = self.months.iter().flat_map(|month| {
            let lines = month.policies.iter().chain([&month.total]);
            lines.map(|line| row(&month.month, line)).collect::<Vec<_>>()
        });
        let rows: Vec<_> = rows.collect();
        let mut text = if rows.is_empty() { "nothing was spent".to_owned() } else { table(&columns, rows) };
        if !self.budget.is_empty() {
            let rows = self.budget.iter().map(|line| vec![line.what.clone(), number(line.max), number(line.spent), number(line.left)]);
            text += &format!("\n\nBudget of {}\n{}", self.month, table(&["what", "at most", "spent", "left"], rows));
        }
        if !self.locks.is_empty() {
            text += &format!("\n\nHeld back\n{}", self.locks_text());
        }
        if self.unreadable > 0 {
            text += &format!("\n\n{} figures could not be read and count nothing.", self.unreadable);
        }
        text
    }

    fn locks_text(&self) -> String {
        let row = |line: &LockLine| {
            let how = if line.is_locked { line.unlock.clone() } else { "passes by itself".into() };
            vec![line.about.clone(), line.kind.clone(), distance(self.at, line.since), line.why.clone(), how]
        };
        table(&["about", "by", "since", "why", "how it ends"], self.locks.iter().map(row))
    }
}

fn row(month: &str, line: &SpendLine) -> Vec<String> {
    let spent = &line.spent;
    vec![
        month.to_owned(),
        line.policy.clone(),
        spent.actions.to_string(),
        format!("{:.3}", line.kwh),
        format!("{:.2}", spent.euros),
        spent.disruption.to_string(),
        spent.boots.to_string(),
        spent.evictions.to_string(),
        spent.power_cycles.to_string(),
        spent.tokens.to_string(),
    ]
}

/// The figures of a spending by the names that metrics and budgets give them.
pub(crate) fn figures(spent: &Spending) -> [(&'static str, f64); 7] {
    [
        ("energy_joules", spent.joules),
        ("euros", spent.euros),
        ("disruption_seconds", spent.disruption.seconds()),
        ("boots", spent.boots as f64),
        ("evictions", spent.evictions as f64),
        ("tokens", spent.tokens as f64),
        ("power_cycles", spent.power_cycles as f64),
    ]
}

/// The limits that are set, by the same names.
pub(crate) fn limits(budget: &MonthBudget) -> Vec<(&'static str, f64)> {
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let all = [
        ("energy_joules", budget.energy_max_joules),
        ("euros", budget.spend_max_euros),
        ("disruption_seconds", budget.disruption_max.map(Span::seconds)),
        ("boots", whole(budget.boots_max)),
        ("evictions", whole(budget.evictions_max)),
        ("tokens", whole(budget.tokens_max)),
        ("power_cycles", whole(budget.power_cycles_max)),
    ];
    all.into_iter().filter_map(|(name, max)| Some((name, max?))).collect()
}

fn budget(budget: &MonthBudget, total: &Spending) -> Vec<BudgetLine> {
    let spent = figures(total);
    let of = |what: &str| spent.iter().find(|(name, _)| *name == what).map_or(0.0, |(_, value)| *value);
    let line = |(what, max): (&'static str, f64)| BudgetLine { what: what.into(), max, spent: of(what), left: (max - of(what)).max(0.0) };
    limits(budget).into_iter().map(line).collect()
}

/// What is held back: rhythms, futility, what people never want again, and locked autonomy. At most so many lines.
pub(crate) fn locks(ledger: &Ledger, rules: &Rules, at: Time) -> Vec<LockLine> {
    let mut lines: Vec<LockLine> = ledger
        .trust()
        .all_trips()
        .filter_map(|(target, trips)| {
            let (since, trip) = trips.last()?;
            Some(LockLine {
                kind: "rhythm".into(),
                about: target.to_string(),
                since: *since,
                is_locked: homeostat_kernel::ledger::is_locked(&trips.iter().map(|(at, _)| *at).collect::<Vec<_>>()),
                why: format!("{} ({} times)", trip.text, trips.len()),
                unlock: format!("homeostat unlock '{target}'"),
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for state in ledger.actions().rev() {
        let symptom = symptom_of(&state.proposal);
        let unlock = format!("homeostat unlock '{}' '{}'", symptom.0, symptom.1);
        let about = format!("{} {}", symptom.0, symptom.1);
        if state.phase == (Phase::Closed { closing: Closing::Never }) {
            let never = ledger.cooldown(&symptom, &state.proposal.verb).filter(|(until, _)| *until == Time::MAX);
            if let Some((_, why)) = never {
                let verb = &state.proposal.verb;
                let about = format!("{about}: {verb}");
                lines.push(LockLine {
                    kind: "never".into(),
                    about,
                    since: state.moved_at,
                    is_locked: true,
                    why: why.to_owned(),
                    unlock: unlock.clone(),
                });
            }
        }
        if !seen.insert(symptom.clone()) {
            continue;
        }
        // The guard's own words; an unlock since then has forgotten the attempts.
        let futile = |reason: &&Reason| reason.guard == "futility" && reason.stance == Stance::Hold { until: Time::MAX };
        let is_locked = ledger.attempts(&symptom).count() >= rules.arbiter.futility_attempts_max as usize;
        if let Some(reason) = state.ruling.reasons.iter().find(futile).filter(|_| is_locked && state.phase.is_open()) {
            let since = ledger.attempts(&symptom).next_back().unwrap_or(at);
            lines.push(LockLine { kind: "futility".into(), about, since, is_locked, why: reason.text.clone(), unlock });
        }
    }
    let locked = ledger.trust().standings().filter_map(|(key, standing)| Some((key, standing.locked_by.as_ref()?, standing.since)));
    lines.extend(locked.map(|(key, by, since)| LockLine {
        kind: "autonomy".into(),
        about: key.to_string(),
        since,
        is_locked: true,
        why: format!("locked by {by}"),
        unlock: format!("homeostat unlock '{}'", key.policy),
    }));
    lines.truncate(LOCKS_MAX);
    lines
}
