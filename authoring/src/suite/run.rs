//! Feeds a test to the production kernel, step by step, and asks it at every expectation.
//!
//! What is admitted is answered as done at once, with nothing done: cooldowns, settling and claims then go on as they would live.
//! Deliberately absent: any rule of its own. An editor breaks this by looking at anything but the kernel's ledger and views.

use super::judge::{self, Failure};
use super::notation::Step;
use super::text::{AlertText, Case, Expect, Order};
use anyhow::{Result, anyhow, ensure};
use homeostat_kernel::Kernel;
use homeostat_kernel::effect::Effect;
use homeostat_kernel::ledger::Phase;
use homeostat_model::{
    Alert, AlertDelivery, AlertSource, AlertStatus, Command, Event, Labels, Observation, Ordered, Outcome, Receipt, RuleSet, SeriesDecl,
    SeriesKey, Span, StampedSample, Time,
};
use std::collections::{BTreeMap, BTreeSet};

/// The first moment of every test: 2023-11-14T22:13:20Z.
pub const START: Time = Time(1_700_000_000_000);
/// Moments of one test at most.
const MOMENTS_MAX: usize = 200_000;
/// Effects that one moment may lead to; more is a loop.
const EFFECTS_MAX: usize = 10_000;
/// Who orders in tests.
const PERSON: &str = "test";

/// What a case said: each expectation with its failure, in the order of their moments.
pub(super) type Said = Vec<(usize, Option<Failure>)>;

/// Runs a case over its rules. The kernel may have been prepared (for coverage), but nothing was handed to it.
pub(super) fn run(policy: &str, case: &Case, rules: RuleSet, kernel: &mut Kernel) -> Result<Said> {
    kernel.check(&rules).map_err(|errors| anyhow!("{}", errors.join("\n")))?;
    kernel.handle(START, Event::Started { generation: 1, build: "policy test".into(), seed: 1 });
    kernel.handle(START, Event::Loaded(Box::new(rules)));
    let rows = rows(case);
    let moments = moments(case, rows.keys())?;
    let mut said = Said::new();
    for at in moments {
        if let Some(row) = rows.get(&at) {
            kernel.handle_observed(START + at, row);
        }
        for alert in case.alerts.iter().filter(|alert| alert.at == at) {
            kernel.handle(START + at, Event::Alerted(delivery(alert)));
        }
        settle(kernel, at)?;
        for (_, order) in case.orders.iter().filter(|(when, _)| *when == at) {
            let command = command(kernel, policy, order).map_err(|why| anyhow!("at {at}: {why}"))?;
            kernel.handle(START + at, Event::Ordered(Ordered { by: PERSON.into(), command }));
        }
        kernel.handle(START + at, Event::Tick);
        settle(kernel, at)?;
        for (number, expect) in case.expect.iter().enumerate().filter(|(_, expect)| expect.at == at) {
            said.push((number, judge::judge(policy, case, kernel, expect, START + at)));
        }
    }
    Ok(said)
}

/// Every moment at which something comes, is ordered or is asked, up to the last expectation.
fn moments<'a>(case: &Case, rows: impl Iterator<Item = &'a Span>) -> Result<BTreeSet<Span>> {
    let end = case.expect.iter().map(|expect| expect.at).max().unwrap_or_default();
    let others = case.alerts.iter().map(|alert| alert.at).chain(case.orders.iter().map(|(at, _)| *at));
    let all = rows.copied().chain(others).chain(case.expect.iter().map(|expect: &Expect| expect.at));
    let moments: BTreeSet<Span> = all.filter(|at| *at <= end).collect();
    ensure!(moments.len() <= MOMENTS_MAX, "the test has {} moments, at most {MOMENTS_MAX} are run", moments.len());
    Ok(moments)
}

/// Answers what the kernel asks until it asks nothing more.
fn settle(kernel: &mut Kernel, at: Span) -> Result<()> {
    let done = || Outcome::Done(Receipt { observed: "done by the test".into(), undo: BTreeMap::new() });
    for _ in 0..EFFECTS_MAX {
        match kernel.poll_effect() {
            None => return Ok(()),
            Some(Effect::Act(admitted)) => kernel.handle(START + at, Event::Settled(admitted.action().id, done())),
            Some(Effect::Probe(action)) => kernel.handle(START + at, Event::Settled(action.id, done())),
            Some(Effect::Revert(reverting)) => kernel.handle(START + at, Event::Reverted(reverting.action().id, done())),
            Some(Effect::Question { .. } | Effect::Announce(_) | Effect::Record(_)) => {}
        }
    }
    Err(anyhow!("at {at}: more than {EFFECTS_MAX} effects in one moment"))
}

/// One read per interval. Every series has stamps of its own, so that one without a sample is only missing; `stale` ends it.
fn rows(case: &Case) -> BTreeMap<Span, Observation> {
    let declared = |key: &SeriesKey| SeriesDecl { key: key.clone(), cohort: 0 };
    let len = case.series.iter().map(|(_, steps)| steps.len()).max().unwrap_or(0);
    let mut rows = BTreeMap::new();
    for step in 0..len {
        let at = Span(case.interval.millis().saturating_mul(step as i64));
        let mut row = Observation::new("test".into(), START + at, case.interval);
        if step == 0 {
            row.declared = case.series.iter().map(|(key, _)| declared(key)).collect();
        } else {
            row.declared_before = case.series.len() as u32;
        }
        for (number, (_, steps)) in case.series.iter().enumerate() {
            match steps.get(step) {
                Some(Step::Sample(value)) => row.stamped.push(StampedSample { series: number as u32, at: START + at, value: *value }),
                Some(Step::Stale) => row.vanished.push(number as u32),
                Some(Step::Nothing) | None => {}
            }
        }
        rows.insert(at, row);
    }
    rows
}

fn delivery(text: &AlertText) -> AlertDelivery {
    let at = START + text.at;
    let labels = text.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("alertname", text.name.as_str())]);
    let alert = Alert {
        fingerprint: format!("{}-{:?}", text.name, text.labels),
        status: text.status,
        kind: text.kind,
        name: text.name.clone(),
        labels: Labels::new(labels),
        annotations: text.annotations.clone(),
        // One episode: the end belongs to the beginning, whenever that was.
        starts_at: START,
        ends_at: (text.status == AlertStatus::Resolved).then_some(at),
        values: BTreeMap::new(),
    };
    AlertDelivery {
        source: AlertSource::Alertmanager,
        receiver: "test".into(),
        group_key: "test".into(),
        truncated: 0,
        alerts: vec![alert],
    }
}

/// What an order is for the kernel; an error where what it is about is not there.
fn command(kernel: &Kernel, policy: &str, order: &Order) -> Result<Command, String> {
    let waiting = |text: &str| {
        let asked = kernel.ledger().actions().filter(|state| matches!(state.phase, Phase::Awaiting { .. }));
        let named = |verb_on: String| verb_on.contains(text);
        let mut found = asked.filter(|state| named(format!("{} on {}", state.proposal.verb, state.proposal.target)));
        match (found.next(), found.next()) {
            (Some(state), None) => Ok(state.id),
            (None, _) => Err(format!("no question is open whose `verb on target` holds `{text}`")),
            (Some(a), Some(b)) => Err(format!("`{text}` is said of several open questions, at least {} and {}", a.id, b.id)),
        }
    };
    Ok(match order {
        Order::Approve(text) => Command::Approve { action: waiting(text)?, plan: None },
        Order::Deny(text) => Command::Deny { action: waiting(text)? },
        Order::Pause(reason) => Command::Pause { reason: reason.clone() },
        Order::Resume(_) => Command::Resume,
        Order::Unlock(symptom) => Command::Unlock { policy: policy.to_owned(), symptom: symptom.clone() },
    })
}
