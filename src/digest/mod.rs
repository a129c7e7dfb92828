//! The digest: what was healed in a span of time, what only seemed so, what keeps coming back, what it cost. Read from a ledger, for people.
//!
//! Reading order: this file (the data), `fixes` (one lasting fix per repeated symptom), `markdown` (also the short form for phones), `html`
//! (with plots), `delivery` (by itself, every week). It decides nothing and changes nothing. Deliberately absent: causes; nobody here knows them, so a fix is what
//! the figures suggest and says which. An editor breaks this by calling something healed because its claim held.

pub mod delivery;
pub(crate) mod fixes;
mod html;
mod markdown;

#[cfg(test)]
mod tests;

use crate::scores::Rules;
use crate::scores::autonomy::MoveLine;
use crate::scores::show::{ActionScore, SeriesGroup, pooled};
use crate::scores::spending::{BudgetLine, JOULES_PER_KWH, LockLine, MonthLine, SpendingView, locks};
use homeostat_kernel::Ledger;
use homeostat_kernel::ledger::{ActionState, Phase, ScoredLine, Spent};
use homeostat_model::{ActionId, BeliefKey, ClaimSubject, Class, Finding, Span, Target, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The usual span.
pub const WEEK: Span = Span::from_hours(7 * 24);
/// The longest.
const SPAN_MAX: Span = Span::from_hours(366 * 24);
/// The shortest.
const SPAN_MIN: Span = Span::from_hours(1);
/// Lines of one section; what is beyond is counted.
const LINES_MAX: usize = 50;
/// A symptom that was treated so often per week is masked, not mended.
pub const MASKED_PER_WEEK: f64 = 3.0;
/// Groups that are drawn.
const PLOTS_MAX: usize = 12;
/// Actions of one plot.
const PLOT_ROWS_MAX: usize = 40;

/// Reads how far back a digest looks: `7d`, one hour to 366 days.
///
/// # Errors
/// What was expected.
pub fn span(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: homeostat_model::time::SpanError| error.to_string())?;
    if (SPAN_MIN..=SPAN_MAX).contains(&span) {
        Ok(span)
    } else {
        Err(format!("`{text}` is out of range: expected {SPAN_MIN} to {SPAN_MAX}"))
    }
}

/// The same done to the same target, with the same end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// The policy.
    pub policy: String,
    /// What it did.
    pub verb: String,
    /// To what.
    pub target: String,
    /// How often.
    pub times: u64,
    /// The newest of them, `a12`.
    pub action: String,
    /// When that was scored.
    pub at: Time,
    /// The chance that it would have gone by itself, 0 to 1, at the newest; `None`: nobody has watched any that was left alone.
    pub odds: Option<f64>,
    /// The newest score in words.
    pub text: String,
}

/// A symptom that was treated again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// The policy.
    pub policy: String,
    /// What it did.
    pub verb: String,
    /// To what.
    pub target: String,
    /// How often in the span.
    pub times: u64,
    /// Of these, how often it was scored as help.
    pub helped: u64,
    /// How often ever, as far as the belief reaches.
    pub ever: u64,
    /// The middle time from one to the next.
    pub every: Option<String>,
    /// Treatments per week.
    pub per_week: f64,
    /// The newest action.
    pub action: String,
    /// One lasting fix that the figures suggest.
    pub fix: String,
}

/// One day's scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DayLine {
    /// `2026-11-21`, local by the tariff.
    pub day: String,
    /// Scores by finding, in the order of [`Finding::ALL`].
    pub scores: [u64; 4],
}

/// What was spent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpentLine {
    /// Energy, in kilowatt hours.
    pub kwh: f64,
    /// Money.
    pub euros: f64,
    /// How long somebody was interrupted.
    pub disruption: Span,
    /// Whether all of it is remembered; else it was more.
    pub complete: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// As of when.
    pub at: Time,
    /// From when on.
    pub since: Time,
    /// That day, local.
    pub since_day: String,
    /// Today, local.
    pub day: String,
    /// Actions that were sent, notifications aside.
    pub acts: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Scores by finding, in the order of [`Finding::ALL`].
    pub scores: [u64; 4],
    /// Day by day.
    pub days: Vec<DayLine>,
    /// What helped.
    pub healed: Vec<Deed>,
    /// Whose claim held although the score says no effect, or cannot tell it from what goes by itself.
    pub seemed: Vec<Deed>,
    /// What harmed.
    pub harmed: Vec<Deed>,
    /// What did nothing, and whose claim did not hold either.
    pub in_vain: Vec<Deed>,
    /// Symptoms that were treated more than once, the most frequent first.
    pub repeated: Vec<Repeat>,
    /// Of these, those that were treated so often that the treatment hides the fault.
    pub masked: Vec<Repeat>,
    /// Autonomy, drills and rhythms, newest first.
    pub moves: Vec<MoveLine>,
    /// What the span cost, by what the verbs say.
    pub spent: SpentLine,
    /// What this month cost.
    pub month: Option<MonthLine>,
    /// What is left of it.
    pub budget: Vec<BudgetLine>,
    /// What is held or locked.
    pub locks: Vec<LockLine>,
    /// Effects in the span, to be drawn.
    pub series: Vec<SeriesGroup>,
}

type Place = (BeliefKey, Target);

impl Digest {
    /// Of the last `span` before `at`, from a ledger.
    pub fn of(ledger: &Ledger, rules: &Rules, at: Time, span: Span) -> Digest {
        let since = at - span;
        let scored: Vec<&ScoredLine> = ledger.trust().scores().filter(|line| line.at >= since && line.at <= at).collect();
        let held = |id: ActionId| ledger.action(id).and_then(|state| state.judgement.as_ref()?.held) == Some(true);
        let neither = |finding: Finding| matches!(finding, Finding::NoEffect | Finding::Inconclusive);
        let repeated = repeated(ledger, &scored, since, at, span);
        let masked = repeated.iter().filter(|repeat| repeat.per_week >= MASKED_PER_WEEK && repeat.times >= 3).cloned().collect();
        let moves = ledger.trust().moves().rev().filter(|(when, _)| *when >= since && *when <= at);
        let books = SpendingView::of(ledger, rules, at, Some(ledger.books().month_of(at)));
        let (acts, messages) = sent(ledger, since, at);
        Digest {
            at,
            since,
            since_day: rules.day(since),
            day: rules.day(at),
            acts,
            messages,
            scores: counted(&scored),
            days: days(rules, &scored, since, at),
            healed: deeds(&scored, |line| line.score.finding == Finding::Helped),
            seemed: deeds(&scored, |line| neither(line.score.finding) && held(line.action)),
            harmed: deeds(&scored, |line| line.score.finding == Finding::Harmed),
            in_vain: deeds(&scored, |line| neither(line.score.finding) && !held(line.action)),
            repeated,
            masked,
            moves: moves.filter_map(|(at, record)| MoveLine::of(*at, record)).take(LINES_MAX).collect(),
            spent: SpentLine::of(ledger, rules, since),
            month: books.months.into_iter().next(),
            budget: books.budget,
            locks: locks(ledger, rules, at),
            series: series(&scored),
        }
    }
}

impl SpentLine {
    fn of(ledger: &Ledger, rules: &Rules, since: Time) -> SpentLine {
        let Spent { disruption, energy_joules, euros, complete } = ledger.spent_since(since, &rules.verbs, rules.tariff());
        SpentLine { kwh: energy_joules / JOULES_PER_KWH, euros, disruption, complete }
    }
}

fn counted(scored: &[&ScoredLine]) -> [u64; 4] {
    Finding::ALL.map(|finding| scored.iter().filter(|line| line.score.finding == finding).count() as u64)
}

fn sent(ledger: &Ledger, since: Time, at: Time) -> (u64, u64) {
    let in_span = ledger.actions().filter(|state| state.sent_at.is_some_and(|sent| sent >= since && sent <= at));
    let classes = in_span.filter_map(|state| state.action.as_ref()).map(|action| action.class);
    classes.fold((0, 0), |(acts, messages), class| if class == Class::Notify { (acts, messages + 1) } else { (acts + 1, messages) })
}

/// At most a line per day of the span, days without scores included.
fn days(rules: &Rules, scored: &[&ScoredLine], since: Time, at: Time) -> Vec<DayLine> {
    let day = Span::from_hours(24);
    let mut found: BTreeMap<String, Vec<&ScoredLine>> = BTreeMap::new();
    let mut when = since;
    while when <= at {
        found.entry(rules.day(when)).or_default();
        when = when + day;
    }
    found.entry(rules.day(at)).or_default();
    for line in scored {
        found.entry(rules.day(line.at)).or_default().push(line);
    }
    found.into_iter().map(|(day, lines)| DayLine { day, scores: counted(&lines) }).collect()
}

/// Scores of one kind by what was done to what, the most frequent first, then the newest.
fn deeds(scored: &[&ScoredLine], of: impl Fn(&ScoredLine) -> bool) -> Vec<Deed> {
    let mut found: BTreeMap<Place, Deed> = BTreeMap::new();
    for line in scored.iter().filter(|line| of(line)) {
        let deed = found.entry((line.key.clone(), line.target.clone())).or_insert_with(|| Deed {
            policy: line.key.policy.to_string(),
            verb: line.key.verb.to_string(),
            target: line.target.to_string(),
            times: 0,
            action: String::new(),
            at: line.at,
            odds: None,
            text: String::new(),
        });
        deed.times += 1;
        deed.action = line.action.to_string();
        deed.at = line.at;
        // A chance that rests on nobody's watching says nothing.
        deed.odds = line.score.natural.filter(|natural| natural.at_risk > 0).map(|natural| natural.odds);
        deed.text.clone_from(&line.score.text);
    }
    let mut deeds: Vec<Deed> = found.into_values().collect();
    deeds.sort_by_key(|deed| std::cmp::Reverse((deed.times, deed.at)));
    deeds.truncate(LINES_MAX);
    deeds
}

/// Whether something was done to the world about a symptom: sent by a policy, more than a message, and not surely in vain.
fn treats(state: &ActionState) -> bool {
    let class = state.action.as_ref().map(|action| action.class);
    let started = state.phase != Phase::NotDone { never_started: true };
    class.is_some_and(|class| class > Class::Notify) && started
}

fn repeated(ledger: &Ledger, scored: &[&ScoredLine], since: Time, at: Time, span: Span) -> Vec<Repeat> {
    let mut found: BTreeMap<Place, Vec<&ActionState>> = BTreeMap::new();
    for state in ledger.actions().filter(|state| state.sent_at.is_some_and(|sent| sent >= since && sent <= at) && treats(state)) {
        let Some((key, _)) = homeostat_kernel::ledger::keys_of(state) else { continue };
        found.entry((key, state.proposal.target.clone())).or_default().push(state);
    }
    let weeks = span.seconds() / WEEK.seconds();
    let line = |((key, target), states): (Place, Vec<&ActionState>)| {
        let mut times: Vec<Time> = states.iter().filter_map(|state| state.sent_at).collect();
        times.sort_unstable();
        let mut apart: Vec<Span> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        apart.sort_unstable();
        let every = apart.get(apart.len() / 2).map(|span| short_span(*span));
        let newest = states.iter().max_by_key(|state| (state.sent_at, state.id))?;
        let helped = scored.iter().filter(|line| line.key == key && line.target == target && line.score.finding == Finding::Helped);
        let belief = ledger.trust().belief(&key);
        let ever = belief.and_then(|belief| belief.symptoms().get(&target)).map_or(0, |symptom| symptom.times);
        let metric = newest.proposal.claim.as_ref().and_then(|claim| match &claim.subject {
            ClaimSubject::Series { series, relation, .. } => Some((&*series.metric, *relation)),
            _ => None,
        });
        let fix = fixes::fix(&key, &target, metric, every.as_deref(), newest.id);
        Some(Repeat {
            policy: key.policy.to_string(),
            verb: key.verb.to_string(),
            target: target.to_string(),
            times: times.len() as u64,
            helped: helped.count() as u64,
            ever: ever.max(times.len() as u64),
            every,
            per_week: times.len() as f64 / weeks,
            action: newest.id.to_string(),
            fix,
        })
    };
    let mut lines: Vec<Repeat> = found.into_iter().filter(|(_, states)| states.len() > 1).filter_map(line).collect();
    lines.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| (&a.policy, &a.target).cmp(&(&b.policy, &b.target))));
    lines.truncate(LINES_MAX);
    lines
}

/// A span in its two largest units: `11h20m`, `2d4h`.
fn short_span(span: Span) -> String {
    let minutes = span.millis() / 60_000;
    let whole = match minutes {
        ..1 => return span.to_string(),
        1..2880 => minutes * 60_000,
        _ => minutes / 60 * 3_600_000,
    };
    Span(whole).to_string()
}

/// Effects of the span by what was done and on which metric, those with most actions first.
fn series(scored: &[&ScoredLine]) -> Vec<SeriesGroup> {
    let mut found: BTreeMap<(String, String, String), Vec<ActionScore>> = BTreeMap::new();
    for line in scored {
        if let Some(effect) = &line.score.effect {
            let place =
                (format!("{}: {}", line.key.policy, line.key.verb), line.key.target_class.clone(), effect.series.metric.to_string());
            found.entry(place).or_default().push(ActionScore::of(line));
        }
    }
    let group = |((verb, target_class, metric), mut actions): ((String, String, String), Vec<ActionScore>)| {
        let effects: Vec<_> = actions.iter().filter_map(|score| score.effect.as_ref()).map(|e| (e.effect, e.low, e.high)).collect();
        let pooled = pooled(&effects);
        actions.drain(..actions.len().saturating_sub(PLOT_ROWS_MAX));
        SeriesGroup { unit: crate::scores::unit_of(&metric).into(), verb, target_class, metric, actions, pooled }
    };
    let mut groups: Vec<SeriesGroup> = found.into_iter().map(group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.actions.len()));
    groups.truncate(PLOTS_MAX);
    groups
}
