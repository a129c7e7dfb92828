//! Scores: what an action really did, asked of the windows when its claim is due.
//!
//! The claim's series is compared with what would have come without the action (`score::effect`): its own past, sibling targets that
//! nothing was done to, and what such symptoms do when nobody acts. The actuator's own word is not asked: it is an outcome, and what
//! it says moves no trust. Deliberately absent: numbers; they are made in `score/`. An editor breaks this by scoring an action whose
//! samples are missing: that is inconclusive, with its reason.

use super::{Kernel, Timer};
use crate::about::of_series;
use crate::ledger::{ActionState, Phase};
use crate::score::dead_time;
use crate::score::effect::{self, Better, NaturalCourse, Question, Workspace};
use crate::score::order;
use crate::store::{Selector, SeriesRef, Store};
use homeostat_model::{
    ActionId, Claim, ClaimSubject, Closing, Effect, Finding, Natural, Record, Relation, Response, Score, SeriesKey, Span, Target, Time,
    Verb,
};

/// What was before is looked at for so many times the judged time …
const BEFORE_TIMES: i64 = 12;
/// … at least for this long …
const BEFORE_MIN: Span = Span::from_hours(1);
/// … and at most for this long.
const BEFORE_MAX: Span = Span::from_hours(24);
/// Siblings that are compared with.
const CONTROLS_MAX: usize = 4;
/// Samples before the sending that say what the symptom looks like.
const NEWEST: usize = 3;
/// Responses that are measured in one event: each costs as much as a score.
const FITS_MAX: u32 = 16;
/// Siblings that are looked at to find them.
const CANDIDATES_MAX: usize = 64;
/// Samples after the action without which nothing is told, if they can still come.
const AFTER_MIN: i64 = 4;
/// A score waits at most so many times the claim's time for them.
const WAIT_TIMES: i64 = 3;
/// Days back whose same hours are looked at for a daily rhythm.
const DAYS_BACK: i64 = 2;
/// Of the claim's time, what the dead time may take at most.
const DEAD_SHARE_MAX: f64 = 0.75;
/// Labels that say which thing a series is about; siblings differ in these only.
const THING_LABELS: [&str; 9] = ["node", "instance", "pod", "disk", "mountpoint", "service", "certificate", "device", "host"];
/// Guarded series that are looked at per metric.
const GUARDED_MAX: usize = 4;

/// Samples in seconds around the sending, ascending.
type Track = Vec<(f64, f64)>;

/// Room that scores use one after the other; what stands in it from before has no meaning.
#[derive(Default)]
pub(super) struct Room {
    track: Track,
    places: Vec<i64>,
    workspace: Workspace,
}

/// A series that may be a sibling.
pub(super) struct Candidate {
    series: SeriesRef,
    key: SeriesKey,
    /// When anything was last done to its target.
    touched: Option<Time>,
}

/// What is asked of the windows about one action.
struct Look {
    sent_at: Time,
    /// The judged time, seconds after the sending.
    from: f64,
    to: f64,
    before: Span,
}

impl Kernel {
    /// Sets the moment at which an action is scored.
    pub(super) fn score_at(&mut self, id: ActionId, at: Time) {
        self.timers.insert((at, Timer::Score(id)));
    }

    /// An action's score is due.
    pub(super) fn score_due(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        if state.score.is_some() {
            return;
        }
        // After a start the rules come later; what decides the score must not be the defaults. And a second attempt has a claim of its own.
        let not_before = state.claim_due().filter(|due| *due > self.now);
        if let Some(later) = not_before.or_else(|| (!self.has_rules()).then(|| self.now + Span::from_mins(1))) {
            return self.score_at(id, later);
        }
        match state.phase {
            Phase::Done => {}
            // Its fate is not known yet; probing ends by itself.
            phase if phase.is_running() => return self.score_at(id, self.now + Span::from_mins(1)),
            Phase::Closed { closing: Closing::Unresolved } => {
                return self.scored(id, inconclusive("nobody can tell whether it was done".into()));
            }
            _ => return,
        }
        let Some(Claim { subject, within }) = state.proposal.claim.clone() else { return };
        let Some(sent_at) = state.sent_at else { return };
        let verb = state.proposal.verb.clone();
        let natural = self.natural(state, sent_at, within);
        match subject {
            ClaimSubject::Delivered => {}
            ClaimSubject::AlertResolved { .. } => {
                let held = state.judgement.as_ref().and_then(|judgement| judgement.held);
                self.scored(id, by_recovery(held, natural));
            }
            ClaimSubject::Series { series, relation, threshold, .. } => {
                if let Some(later) = self.later(&verb, &series, sent_at, within) {
                    return self.score_at(id, later);
                }
                let score = self.score_of(id, &series, relation, threshold, within, natural);
                self.scored(id, score);
            }
        }
    }

    /// Writes a score down, and what follows from it.
    fn scored(&mut self, id: ActionId, score: Score) {
        self.stats.scored(score.finding);
        let step = self.step_by_score(id, &score);
        self.record(Record::Scored { action: id, score: Box::new(score) });
        self.take_step(step);
        self.arm_upkeep();
    }

    /// When enough samples will have come, if they have not yet and still can.
    fn later(&self, verb: &Verb, series: &SeriesKey, sent_at: Time, within: Span) -> Option<Time> {
        let from = self.dead_time(verb, series, within);
        let interval = self.host.with_store(|store| {
            let found = store.find(series)?;
            let judged = self.now.since(sent_at + from);
            let came = store.window(found, self.now, judged).count().value.value();
            if came.is_some_and(|came| came > AFTER_MIN as f64) {
                return None;
            }
            interval_of(&store.window(found, self.now, BEFORE_MIN).samples())
        })?;
        let enough = sent_at + from + Span(interval.millis().saturating_mul(AFTER_MIN));
        (enough > self.now && enough <= sent_at + Span(within.millis().saturating_mul(WAIT_TIMES))).then_some(enough)
    }

    /// From when on after the sending the claim's series is judged: what was learned of its dead time, or half of the claim's time.
    fn dead_time(&self, verb: &Verb, series: &SeriesKey, within: Span) -> Span {
        let learned = self.ledger.trust().response(verb, &series.metric).and_then(dead_time::Learned::summary);
        let answer = learned.map(|summary| summary.dead_time_seconds.median + summary.lag_seconds.median);
        answer.map_or(within.times(0.5), |seconds| Span::from_millis((seconds * 1000.0) as i64).min(within.times(DEAD_SHARE_MAX)))
    }

    fn score_of(
        &self,
        id: ActionId,
        series: &SeriesKey,
        relation: Relation,
        threshold: f64,
        within: Span,
        natural: Option<Natural>,
    ) -> Score {
        let Some(state) = self.ledger.action(id) else { return inconclusive("the action is not remembered".into()) };
        let sent_at = state.sent_at.unwrap_or(self.now);
        let target = state.proposal.target.clone();
        let until = self.disturbed(state, sent_at);
        let ends = until.unwrap_or(self.now).min(self.now);
        let look = Look {
            sent_at,
            from: self.dead_time(&state.proposal.verb, series, within).seconds(),
            to: ends.since(sent_at).seconds(),
            before: Span(within.millis().saturating_mul(BEFORE_TIMES)).max(BEFORE_MIN).min(BEFORE_MAX),
        };
        if look.to <= look.from {
            return inconclusive("something else was done to the target before its effect could be seen".into());
        }
        let better = if relation == Relation::Above { Better::Up } else { Better::Down };
        let began = state.symptom_since;
        self.host.with_store(|store| {
            let Some(found) = store.find(series) else { return inconclusive(format!("nothing is known of {series}")) };
            let mut room = self.room.borrow_mut();
            let Room { track, places, workspace } = &mut *room;
            fill(track, store, found, &look);
            let last = track.iter().rev().find(|(at, _)| *at <= 0.0).map(|(_, value)| *value);
            let way = last.map_or(0.0, |last| (threshold - last).abs()).max(threshold.abs() * 1e-3).max(f64::MIN_POSITIVE);
            let matters = way * self.arbiter.settings.earned.matters_share;
            let controls = self.controls(store, series, &look);
            let course = natural.map(|natural| NaturalCourse {
                odds: natural.odds,
                level: level_before(track, began.map_or(0.0, |began| -sent_at.since(began).seconds()), places).unwrap_or(threshold),
                lasting: newest_before(track).unwrap_or(threshold),
                threshold,
            });
            let controls: Vec<&[(f64, f64)]> = controls.iter().map(Vec::as_slice).collect();
            let question = Question { target: track, controls: &controls, from: look.from, to: look.to, better, matters, natural: course };
            let main = estimated(series, &question, workspace);
            let side_effects = self.side_effects(store, state, series, &look, places, workspace);
            // Only where something moved is there an answer to measure, and the search costs more than all the rest. A claim that came
            // true is an answer too, however little is known of what would have come by itself.
            let came_true = state.judgement.as_ref().is_some_and(|judgement| judgement.held == Some(true));
            let moved = came_true || main.as_ref().is_ok_and(|effect| matches!(effect.finding, Finding::Helped | Finding::Harmed));
            let response = (moved && self.may_fit()).then(|| response_of(track, threshold)).flatten();
            told(main, side_effects, natural, response, &target)
        })
    }

    /// Whether one more response may be measured in this event. Few are remembered, so that many at once teach no more than some.
    fn may_fit(&self) -> bool {
        let (event, count) = self.fitted.get();
        let count = if event == self.stats.events { count + 1 } else { 1 };
        self.fitted.set((self.stats.events, count));
        count <= FITS_MAX
    }

    /// When something else was done to the same target, after the sending.
    fn disturbed(&self, state: &ActionState, sent_at: Time) -> Option<Time> {
        // Most targets are left in peace, and all actions are many.
        self.ledger.last_touched(&state.proposal.target).filter(|at| *at > sent_at)?;
        let own_run = state.proposal.origin.run();
        let others = self.ledger.actions().filter(|other| {
            let of_same_run =
                other.proposal.origin.run().is_some_and(|run| Some(run) == own_run || run == state.id) || own_run == Some(other.id);
            other.id != state.id && !of_same_run && other.proposal.target == state.proposal.target
        });
        let rough = others.filter(|other| other.action.as_ref().is_some_and(|action| action.class > homeostat_model::Class::Notify));
        rough.filter_map(|other| other.sent_at).filter(|at| *at > sent_at).min()
    }

    /// What such a symptom does when nobody acts.
    fn natural(&self, state: &ActionState, sent_at: Time, within: Span) -> Option<Natural> {
        let policy = state.proposal.origin.policy()?;
        let lasted = sent_at.since(state.symptom_since.unwrap_or(state.ruled_at));
        if let Some((event, of, known, until, natural)) = self.odds.borrow().as_ref()
            && (*event, of, *known, *until) == (self.stats.events, policy, lasted, within)
        {
            return Some(*natural);
        }
        let natural = self.ledger.trust().recovery(policy).odds(lasted, within);
        self.odds.replace(Some((self.stats.events, policy.clone(), lasted, within, natural)));
        Some(natural)
    }

    /// Siblings of a series: the same metric of other things to which nothing was done.
    fn controls(&self, store: &Store, series: &SeriesKey, look: &Look) -> Vec<Track> {
        let since = look.sent_at - look.before;
        let is_sibling = |candidate: &Candidate| {
            let labels = &candidate.key.labels;
            if candidate.touched.is_some_and(|at| at >= since) {
                return false;
            }
            let same = labels.iter().all(|(name, value)| THING_LABELS.contains(&name) || series.labels.get(name) == Some(value));
            candidate.key != *series && same && labels.iter().count() == series.labels.iter().count()
        };
        let candidates = self.candidates(store, &series.metric);
        candidates
            .iter()
            .filter(|candidate| is_sibling(candidate))
            .take(CONTROLS_MAX)
            .map(|found| track_of(store, found.series, look))
            .collect()
    }

    /// The first series of a metric. Claims that are due together are mostly about one metric: it is looked up once in an event.
    fn candidates(&self, store: &Store, metric: &str) -> std::sync::Arc<Vec<Candidate>> {
        let mut kept = self.siblings.borrow_mut();
        if let Some((event, of, found)) = kept.as_ref()
            && *event == self.stats.events
            && of == metric
        {
            return std::sync::Arc::clone(found);
        }
        let all = Selector::parse(metric).map(|selector| store.select(&selector)).unwrap_or_default();
        let named = all.into_iter().take(CANDIDATES_MAX).filter_map(|series| {
            let key = store.key(series)?;
            Some(Candidate { series, touched: self.ledger.last_touched(&of_series(&key)), key })
        });
        let found = std::sync::Arc::new(named.collect());
        *kept = Some((self.stats.events, metric.to_owned(), std::sync::Arc::clone(&found)));
        found
    }

    /// What it did to the series that the policy guards.
    fn side_effects(
        &self,
        store: &Store,
        state: &ActionState,
        series: &SeriesKey,
        look: &Look,
        places: &mut Vec<i64>,
        workspace: &mut Workspace,
    ) -> Vec<Effect> {
        let policy = state.proposal.origin.policy().and_then(|policy| self.policies.get(policy));
        let mut effects = Vec::new();
        for (metric, better) in policy.map_or(&[][..], |policy| &policy.guards) {
            let Ok(selector) = Selector::parse(metric) else { continue };
            let of_target = |key: &SeriesKey| {
                of_series(key) == state.proposal.target
                    || key.labels.get("node").is_some_and(|node| series.labels.get("node") == Some(node))
            };
            let found = store.select(&selector).into_iter().filter_map(|found| Some((found, store.key(found)?)));
            for (found, key) in found.filter(|(_, key)| of_target(key) && key != series).take(GUARDED_MAX) {
                let track = track_of(store, found, look);
                let usual = level_before(&track, 0.0, places).unwrap_or(0.0).abs();
                let matters = (usual * self.arbiter.settings.earned.matters_share).max(f64::MIN_POSITIVE);
                let better = if *better == Relation::Above { Better::Up } else { Better::Down };
                let siblings = self.controls(store, &key, look);
                let controls: Vec<&[(f64, f64)]> = siblings.iter().map(Vec::as_slice).collect();
                let question =
                    Question { target: &track, controls: &controls, from: look.from, to: look.to, better, matters, natural: None };
                effects.extend(estimated(&key, &question, workspace).ok());
            }
        }
        effects
    }
}

/// A series' samples around an action, with the same hours of the days before.
fn track_of(store: &Store, series: SeriesRef, look: &Look) -> Track {
    let mut track = Track::new();
    fill(&mut track, store, series, look);
    track
}

/// The same into a track that is there.
fn fill(track: &mut Track, store: &Store, series: SeriesRef, look: &Look) {
    track.clear();
    let span = look.before + Span::from_millis((look.to * 1000.0) as i64);
    let end = look.sent_at + Span::from_millis((look.to * 1000.0) as i64);
    let retention = store.settings().retention;
    let day = Span::from_hours(24);
    if span < day {
        for days in (1..=DAYS_BACK).rev().filter(|days| Span(day.millis() * days) + span <= retention) {
            append(track, store, series, end - Span(day.millis() * days), span, look.sent_at);
        }
    }
    append(track, store, series, end, span, look.sent_at);
}

fn append(track: &mut Track, store: &Store, series: SeriesRef, end: Time, span: Span, zero: Time) {
    let first = track.len();
    store.window(series, end, span).append_to(track, |at, value| ((at.millis() - zero.millis()) as f64 / 1000.0, value));
    if track[first..].iter().any(|(_, value)| !value.is_finite()) {
        track.retain(|(_, value)| value.is_finite());
    }
}

/// The usual distance of two samples.
fn interval_of(samples: &[(Time, f64)]) -> Option<Span> {
    let mut steps: Vec<i64> = samples.windows(2).map(|pair| pair[1].0.since(pair[0].0).millis()).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).map(|step| Span(*step))
}

/// The median of what was before `until` (seconds, not after the sending). Needs room for their places.
fn level_before(track: &Track, until: f64, places: &mut Vec<i64>) -> Option<f64> {
    let count = track.partition_point(|(at, _)| *at < until.min(0.0));
    places.clear();
    places.extend(track[..count].iter().map(|(_, value)| order::place(*value)));
    let middle = count / 2;
    (middle < count).then(|| order::value(*places.select_nth_unstable(middle).1))
}

/// The median of the last samples before the sending: what the symptom looks like.
fn newest_before(track: &Track) -> Option<f64> {
    let split = track.partition_point(|(at, _)| *at <= 0.0);
    let mut values: Vec<f64> = track[split.saturating_sub(NEWEST)..split].iter().map(|(_, value)| *value).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// How the series answered. It is compared with what it was while the symptom was there: what was before that is another state.
fn response_of(track: &Track, threshold: f64) -> Option<Response> {
    let split = track.partition_point(|(at, _)| *at <= 0.0);
    let recent = track[..split].partition_point(|(at, _)| *at < -BEFORE_MAX.seconds());
    let (before, after) = (&track[recent..split], &track[split..]);
    let above = before.last()?.1 > threshold;
    let same_side = |sample: &&(f64, f64)| (sample.1 > threshold) == above;
    let began = before.iter().rev().take_while(same_side).count();
    let mut symptom = before[before.len() - began..].to_vec();
    if symptom.len() < dead_time::SAMPLES_MIN {
        // It was acted on at once: until it answers, the series goes on saying what it was.
        symptom.extend(after.iter().take_while(same_side).take(dead_time::SAMPLES_MIN - symptom.len()));
    }
    dead_time::fit(&symptom, after).map(|fit| fit.response())
}

fn estimated(series: &SeriesKey, question: &Question<'_>, workspace: &mut Workspace) -> Result<Effect, String> {
    let found = effect::estimate_with(question, workspace).map_err(|gap| gap.to_string())?;
    Ok(Effect {
        series: series.clone(),
        effect: found.effect,
        low: found.low,
        high: found.high,
        observed: found.observed,
        expected: found.expected,
        p_helped: found.p_helped,
        p_harmed: found.p_harmed,
        finding: found.finding,
        before: found.before,
        after: found.after,
        controls: found.controls,
        placebos: found.placebos,
        widened: found.widened,
    })
}

fn inconclusive(why: String) -> Score {
    Score {
        finding: Finding::Inconclusive,
        p_helped: 0.0,
        p_harmed: 0.0,
        effect: None,
        side_effects: Vec::new(),
        natural: None,
        response: None,
        text: format!("inconclusive: {why}"),
        missing: Some(why),
    }
}

/// A claim about an alert: all that can be seen is whether it went, and all that it can be compared with is how often it goes by
/// itself. Below this chance of that, an end after the action counts as help.
const BY_ITSELF_MAX: f64 = 0.05;

fn by_recovery(held: Option<bool>, natural: Option<Natural>) -> Score {
    let Some(held) = held else { return inconclusive("nobody could see whether the alert ended".into()) };
    let Some(natural) = natural else { return inconclusive("nothing is known of such alerts when nobody acts".into()) };
    let odds = natural.odds;
    let (finding, p_helped) = match held {
        true if odds <= BY_ITSELF_MAX => (Finding::Helped, 1.0 - odds),
        true => (Finding::Inconclusive, 1.0 - odds),
        false => (Finding::NoEffect, 0.0),
    };
    let came = if held { "the alert ended in time" } else { "the alert is still firing" };
    let text = format!("{finding}: {came}; {}", natural_text(&natural));
    Score { finding, p_helped, natural: Some(natural), missing: None, text, ..inconclusive(String::new()) }
}

fn natural_text(natural: &Natural) -> String {
    format!(
        "after {} such a symptom would have gone by itself with a chance of {:.0} % ({} episodes at risk)",
        natural.lasted,
        natural.odds * 100.0,
        natural.at_risk
    )
}

/// Puts a score together: harm on a guarded series is harm, whatever the claim's own series says.
fn told(
    main: Result<Effect, String>,
    side_effects: Vec<Effect>,
    natural: Option<Natural>,
    response: Option<Response>,
    target: &Target,
) -> Score {
    let harm =
        side_effects.iter().filter(|effect| effect.finding == Finding::Harmed).max_by(|a, b| a.p_harmed.total_cmp(&b.p_harmed)).cloned();
    let effect = match (main, &harm) {
        (Ok(effect), _) => effect,
        (Err(why), None) => return Score { side_effects, natural, ..inconclusive(why) },
        (Err(_), Some(harm)) => harm.clone(),
    };
    let mut text = format!("{}: {}", effect.finding, effect_text(&effect));
    let (mut finding, mut p_helped, mut p_harmed) = (effect.finding, effect.p_helped, effect.p_harmed);
    if let Some(harm) = harm {
        finding = Finding::Harmed;
        p_harmed = p_harmed.max(harm.p_harmed);
        p_helped = p_helped.min(1.0 - p_harmed);
        text = format!("harmed: on what is guarded beside {target}, {}; {text}", effect_text(&harm));
    }
    if let Some(natural) = &natural {
        text = format!("{text}; {}", natural_text(natural));
    }
    Score { finding, p_helped, p_harmed, effect: Some(effect), side_effects, natural, response, missing: None, text }
}

fn effect_text(effect: &Effect) -> String {
    format!(
        "{} was {} where {} would have come ({}{}, 95 % {} to {})",
        effect.series,
        short(effect.observed),
        short(effect.expected),
        if effect.effect < 0.0 { "" } else { "+" },
        short(effect.effect),
        short(effect.low),
        short(effect.high)
    )
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 || !value.is_finite() { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 12) };
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
