//! Views over a small ledger that was made by hand, record by record.

use super::autonomy::AutonomyView;
use super::rules::{PolicyFacts, Rules};
use super::show::{ActionScore, EffectLine, PolicyScores, SeriesGroup, pooled};
use super::spending::SpendingView;
use super::table::ScoreTable;
use super::{forest, svg};
use homeostat_kernel::Ledger;
use homeostat_model::{
    Action, ActionId, Autonomy, AutonomyMove, Claim, ClaimSubject, Class, Closing, DrillEnd, Effect, Event, Finding, Judgement, LadderKey,
    Lease, MonthBudget, MoveCause, Natural, Origin, Outcome, PolicyId, Proposal, Receipt, Record, Relation, Ruling, Score, SeriesKey, Span,
    Spending, Target, Time, Trip, Verb, Verdict,
};

pub(crate) const POLICY: &str = "disk-full";
/// The 21st of November 2026, 12:00 UTC.
pub(crate) const NOON: Time = Time((20_778 * 24 + 12) * 3_600_000);

pub(crate) fn hours(count: i64) -> Span {
    Span::from_hours(count)
}

pub(crate) fn proposal(target: &str) -> Proposal {
    let series = SeriesKey::new("filesystem_avail_ratio", [("node", Target::from(target).name().to_owned())]);
    let subject = ClaimSubject::Series { series, relation: Relation::Above, threshold: 0.2, held: Span::ZERO };
    Proposal {
        origin: Origin::Policy(POLICY.into()),
        symptom: target.into(),
        verb: "exec.disk-cleanup".into(),
        target: target.into(),
        args: Default::default(),
        because: "3 % left".into(),
        evidence: Vec::new(),
        claim: Some(Claim { subject, within: Span::from_mins(10) }),
        cooldown: hours(1),
        settle: None,
        autonomy: Autonomy::Auto,
        alternatives: Vec::new(),
    }
}

pub(crate) fn score(finding: Finding, target: &str, effect: f64) -> Score {
    let (p_helped, p_harmed) = match finding {
        Finding::Helped => (0.98, 0.0),
        Finding::Harmed => (0.0, 0.99),
        Finding::NoEffect | Finding::Inconclusive => (0.1, 0.1),
    };
    let effect = Effect {
        series: SeriesKey::new("filesystem_avail_ratio", [("node", Target::from(target).name().to_owned())]),
        effect,
        low: effect - 0.05,
        high: effect + 0.05,
        observed: 0.05 + effect,
        expected: 0.05,
        p_helped,
        p_harmed,
        finding,
        before: 60,
        after: 10,
        controls: 1,
        placebos: 20,
        widened: 1.1,
    };
    Score {
        finding,
        p_helped,
        p_harmed,
        effect: Some(effect),
        side_effects: Vec::new(),
        natural: Some(Natural { odds: 0.4, at_risk: 12, lasted: Span::from_mins(5) }),
        response: None,
        missing: None,
        text: format!("{finding}: <b>tested</b>"),
    }
}

/// Wished, sent, done, judged and scored, ten minutes from sending to score.
pub(crate) fn deed(ledger: &mut Ledger, id: u64, at: Time, target: &str, held: bool, score: Score) {
    let action = ActionId(id);
    let (proposal, ruling) = (Box::new(proposal(target)), Ruling { verdict: Verdict::Admitted, reasons: Vec::new() });
    ledger.apply_record(at, &Record::Ruled { action, proposal, ruling, plan: "abc".into() });
    let sent = Action {
        id: action,
        verb: "exec.disk-cleanup".into(),
        target: target.into(),
        args: Default::default(),
        class: Class::Reversible,
        timeout: Span::from_mins(1),
        lease: Lease { generation: 1, expires: at + Span::from_mins(1) },
        because: String::new(),
    };
    ledger.apply_record(at, &Record::Act { action: sent, attempt: 1 });
    let spending =
        Spending { actions: 1, joules: 7_200_000.0, euros: 0.6, boots: 1, disruption: Span::from_mins(2), ..Spending::default() };
    ledger.apply_record(at, &Record::Spent { action, policy: POLICY.into(), spending: Box::new(spending) });
    ledger.apply_event(at + Span::from_secs(5), &Event::Settled(action, Outcome::Done(Receipt::default())));
    let judgement = Judgement { held: Some(held), evidence: Vec::new(), text: "judged".into() };
    ledger.apply_record(at + Span::from_mins(10), &Record::Judged { action, judgement });
    ledger.apply_record(at + Span::from_mins(10), &Record::Scored { action, score: Box::new(score) });
    assert_eq!(ledger.illegal_moves(), 0, "{action}");
}

pub(crate) fn ladder() -> LadderKey {
    LadderKey { policy: POLICY.into(), class: Class::Reversible, target_class: "node".into() }
}

/// Five days: four helps on `node/nas`, one claim that held by itself on `node/pi`, one harm on `node/tv`; a step up, a drill, a rhythm,
/// and a wish that is never wanted again.
pub(crate) fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let day = |days: i64| NOON - hours(24 * days);
    let moved =
        AutonomyMove { key: ladder(), from: Autonomy::Suggest, to: Autonomy::Suggest, cause: MoveCause::Began, evidence: "begins".into() };
    ledger.apply_record(day(6), &Record::Autonomy(Box::new(moved)));
    for (id, days) in [(1, 5), (2, 4), (3, 3), (4, 2)] {
        deed(&mut ledger, id, day(days), "node/nas", true, score(Finding::Helped, "node/nas", 0.15 + 0.01 * id as f64));
    }
    deed(&mut ledger, 5, day(2) + hours(1), "node/pi", true, score(Finding::NoEffect, "node/pi", 0.0));
    deed(&mut ledger, 6, day(1), "node/tv", false, score(Finding::Harmed, "node/tv", -0.2));
    let end = DrillEnd {
        policy: POLICY.into(),
        fault: ActionId(90),
        answer: None,
        target: "node/nas".into(),
        began: day(1),
        passed: Some(true),
        text: "seen and answered".into(),
    };
    ledger.apply_record(day(1) + hours(2), &Record::Drilled(Box::new(end)));
    let verb = Verb::from("power.sleep");
    for _ in 0..3 {
        let trip =
            Trip { target: "node/tv".into(), verbs: (verb.clone(), verb.clone()), period: Span::from_mins(10), text: "to and fro".into() };
        ledger.apply_record(day(1) + hours(3), &Record::Tripped(trip));
    }
    let (action, by) = (ActionId(7), NOON);
    let ruling = Ruling { verdict: Verdict::AwaitingApproval { by }, reasons: Vec::new() };
    ledger.apply_record(day(1) + hours(4), &Record::Ruled { action, proposal: Box::new(proposal("node/old")), ruling, plan: "abc".into() });
    ledger.apply_record(NOON - hours(1), &Record::Closed { action, closing: Closing::Never, why: "refused for good by a test".into() });
    ledger
}

pub(crate) fn rules() -> Rules {
    let facts = PolicyFacts {
        doc: "Cleans what fills up.".into(),
        autonomy: Autonomy::Auto,
        every: Span::from_secs(5),
        settle: Some(Span::from_secs(5)),
        drill_every: Some(hours(24 * 30)),
    };
    let mut rules = Rules { policies: [(PolicyId::from(POLICY), facts)].into(), ..Rules::default() };
    rules.arbiter.autonomy.insert(Class::Reversible, Autonomy::Auto);
    rules.arbiter.month = MonthBudget { boots_max: Some(8), energy_max_joules: Some(3_600_000.0), ..MonthBudget::default() };
    rules
}

#[test]
fn the_table_counts_what_was_scored_and_names_what_keeps_coming_back() {
    let table = ScoreTable::of(&ledger(), &rules(), NOON);
    let [line] = &table.lines[..] else { panic!("one belief: {table:?}") };
    assert_eq!((line.policy.as_str(), line.verb.as_str(), line.target_class.as_str()), (POLICY, "exec.disk-cleanup", "node"));
    // Four helps of 0.98 and a 0.1 from the one without effect, a little decayed; the harm counts apart.
    assert!((3.6..4.02).contains(&line.helped) && (0.9..=1.1).contains(&line.harmed), "{line:?}");
    assert!(line.lower_bound < line.mean && line.mean < line.upper_bound && line.mean > 0.5, "{line:?}");
    assert_eq!((line.treated, line.days_helped, line.inconclusive), (6, 4, 0));
    assert_eq!((line.targets[0].target.as_str(), line.targets[0].times), ("node/nas", 4));
    let natural = line.natural.as_ref().expect("the score says what goes by itself");
    assert!((natural.odds, natural.at_risk) == (0.4, 12) && natural.low < natural.difference && natural.difference < natural.high);
    let text = table.text();
    assert!(text.contains("6× (node/nas 4×"), "{text}");
    let seen: ScoreTable = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
    assert_eq!(seen, table, "what the daemon says is what the command line reads");
}

#[test]
fn a_fast_policy_is_warned_once_the_plant_is_known() {
    let mut ledger = ledger();
    for id in 20..26 {
        let mut score = score(Finding::Helped, "node/nas", 0.2);
        score.response = Some(homeostat_model::Response { dead_time: Span::from_secs(48), lag: Span::from_secs(10), gain: 0.2 });
        deed(&mut ledger, id, NOON - hours(26 - id as i64), "node/nas", true, score);
    }
    let table = ScoreTable::of(&ledger, &rules(), NOON);
    let [response] = &table.lines[0].responses[..] else { panic!("one metric: {table:?}") };
    // (48 + 3 · 10) · 1.1, up to the next five seconds.
    assert_eq!((response.fits, response.settle.as_str(), response.cooldown.as_str()), (6, "1m30s", "3m"));
    assert!(response.warning.as_ref().is_some_and(|warning| warning.contains("before anything could be seen")), "{response:?}");
    assert!(table.text().contains("WARNING"), "{}", table.text());
}

#[test]
fn pooled_effects_are_those_of_the_formula() {
    // Two effects, 1 and 3, each ± 1: v = 1/3.8415, Q = 2 · 3.8415, τ² = (Q − 1)/3.8415 = 1.7397, so each weighs 1/2 and the mean's
    // standard error is exactly 1.
    let found = pooled(&[(1.0, 0.0, 2.0), (3.0, 2.0, 4.0)]).unwrap();
    assert!((found.effect - 2.0).abs() < 1e-12 && (found.high - found.effect - 1.959_963_98).abs() < 1e-6, "{found:?}");
    assert!((found.spread - 1.739_69_f64.sqrt()).abs() < 1e-4, "{found:?}");
    // Alike: no spread, and narrower than each.
    let alike = pooled(&[(1.0, 0.0, 2.0), (1.0, 0.0, 2.0), (f64::NAN, 0.0, 1.0)]).unwrap();
    assert_eq!((alike.effects, alike.spread), (2, 0.0));
    assert!((alike.high - 1.0 - 0.5_f64.sqrt()).abs() < 1e-6);
    assert_eq!(pooled(&[(1.0, 0.0, 2.0)]), None);
    assert_eq!(pooled(&[(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)]), None, "an interval without width weighs everything");
}

/// Compares with a committed file; `HOMEOSTAT_BLESS=1` writes it.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scores/golden").join(name);
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs; HOMEOSTAT_BLESS=1 writes it. Found:\n{text}", path.display());
}

#[test]
fn the_forest_plot_is_drawn_as_committed() {
    let scores = PolicyScores::of(&ledger(), &rules(), POLICY, NOON).unwrap();
    assert_eq!((scores.series.len(), scores.series[0].actions.len(), scores.without_effect.len()), (1, 6, 0));
    let text = forest::group(&scores.series[0], 110);
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    golden("forest.txt", &text);
    golden("recovery.txt", &forest::recovery(&scores.recovery, 80));
}

#[test]
fn the_natural_recovery_is_drawn_as_committed() {
    let mut left_alone = homeostat_kernel::score::recovery::Recovery::default();
    // Minutes, and whether it went by itself then: ten of twelve.
    let episodes = [(5, true), (8, true), (12, true), (15, false), (20, true), (20, true), (30, true), (45, true), (60, false)];
    episodes
        .into_iter()
        .chain([(62, true), (80, true), (90, true)])
        .for_each(|(mins, healed)| left_alone.note(Span::from_mins(mins), healed));
    let line = super::show::RecoveryLine::of(&left_alone);
    assert_eq!((line.episodes, line.healed, line.watched_seconds), (12, 10, 5400.0));
    golden("curve.txt", &forest::recovery(&line, 70));
    let mut scores = PolicyScores::of(&ledger(), &rules(), POLICY, NOON).unwrap();
    scores.recovery = line;
    let svg = svg::policy(&scores);
    balanced(&svg);
    assert!(svg.contains("<polyline") && svg.contains("10 of 12"), "{svg}");
}

fn effect(metric: &str, effect: f64, low: f64, high: f64) -> ActionScore {
    let line = EffectLine {
        series: metric.into(),
        metric: metric.into(),
        effect,
        low,
        high,
        observed: effect,
        expected: 0.0,
        finding: Finding::Inconclusive,
        controls: 0,
        placebos: 0,
    };
    ActionScore {
        action: "a1".into(),
        at: NOON,
        verb: "x.y".into(),
        target: "node/<script>&\"'\u{1b}[31m".into(),
        finding: Finding::Inconclusive,
        p_helped: 0.0,
        p_harmed: 0.0,
        effect: Some(line),
        side_effects: Vec::new(),
        natural: None,
        missing: None,
        text: String::new(),
    }
}

#[test]
fn one_endless_interval_does_not_flatten_the_others_and_no_number_breaks_a_plot() {
    let wild =
        [(0.0, f64::NEG_INFINITY, f64::INFINITY), (f64::NAN, f64::NAN, f64::NAN), (2.0, -1e9, 1e9), (1.0, 0.5, 1.5), (1.2, 0.9, 1.4)];
    let actions = wild.into_iter().map(|(middle, low, high)| effect("room_celsius", middle, low, high)).collect();
    let mut group = SeriesGroup {
        verb: "x.y".into(),
        target_class: "node".into(),
        metric: "room_celsius".into(),
        unit: "°C".into(),
        actions,
        pooled: None,
    };
    let text = forest::group(&group, 100);
    assert!(text.contains('◄') && text.contains('►') && !text.contains('\u{1b}'), "{text}");
    let narrow = text.lines().find(|line| line.contains("+1 °C")).expect("the sound one is told");
    assert!(narrow.contains("├") && narrow.contains('●') && narrow.contains("┤"), "{text}");
    balanced(&svg::group(&group));
    group.actions.clear();
    assert!(forest::group(&group, 0).contains("room_celsius"));
    balanced(&svg::group(&group));
}

/// Whether tags open and close in order, attributes are quoted, and no text holds a raw sign: enough to be well-formed.
pub(crate) fn balanced(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a raw sign before {:?}", &rest[at..rest.len().min(at + 60)]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "no place on a page: {tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "in\n{xml}");
        } else if !tag.ends_with('/') && name != "meta" {
            open.push(name);
        }
    }
    assert!(open.is_empty() && !rest.contains('>'), "{open:?}");
    for part in xml.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|name| part.starts_with(name)), "a raw & before {part:.20}");
    }
    assert!(!xml.contains("<script"), "{xml}");
}

#[test]
fn the_svg_is_well_formed_and_whole() {
    let scores = PolicyScores::of(&ledger(), &rules(), POLICY, NOON).unwrap();
    let svg = svg::policy(&scores);
    balanced(&svg);
    assert!(svg.starts_with("<svg xmlns") && svg.matches("<circle").count() == 6 && svg.contains("a6 node/tv"), "{svg}");
    assert!(!svg.contains("href") && !svg.contains("url("), "it needs nothing from elsewhere");
}

#[test]
fn a_policy_that_nobody_knows_is_answered_with_the_nearest() {
    let error = PolicyScores::of(&ledger(), &rules(), "disk-ful", NOON).unwrap_err();
    assert!(error.contains("did you mean `disk-full`"), "{error}");
}

#[test]
fn autonomy_tells_the_rung_and_what_the_next_one_asks_for() {
    let view = AutonomyView::of(&ledger(), &rules(), NOON);
    let [line] = &view.standings[..] else { panic!("one standing: {view:?}") };
    assert_eq!((line.effective, line.level, line.ceiling), (Autonomy::Suggest, Autonomy::Suggest, Some(Autonomy::Auto)));
    // The harm of yesterday has spent all days before it; the drill passed on the same day counts for nothing.
    assert_eq!((line.days, line.days_needed), (0, 3));
    assert!(line.next.contains("3 more days of help"), "{line:?}");
    assert!(line.drill.passed_at.is_some() && !line.drill.is_owed, "{line:?}");
    let kinds: Vec<&str> = view.moves.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, ["rhythm", "rhythm", "rhythm", "drill", "autonomy"]);
    let later = AutonomyView::of(&ledger(), &rules(), NOON + hours(24 * 31));
    assert!(later.standings[0].drill.is_owed && later.standings[0].next.contains("homeostat drill disk-full"), "{later:?}");
    assert!(view.text().contains("0 of 3"), "{}", view.text());
}

#[test]
fn the_books_show_what_is_left_and_what_is_locked() {
    let view = SpendingView::of(&ledger(), &rules(), NOON, None);
    assert_eq!((view.months.len(), view.months[0].month.as_str(), view.months[0].policies[0].policy.as_str()), (1, "2026-11", POLICY));
    assert!((view.months[0].total.kwh - 12.0).abs() < 1e-9 && view.months[0].total.spent.boots == 6, "{view:?}");
    let left: Vec<(&str, f64)> = view.budget.iter().map(|line| (line.what.as_str(), line.left)).collect();
    assert_eq!(left, [("energy_joules", 0.0), ("boots", 2.0)], "what is passed leaves nothing, never less");
    let locks: Vec<(&str, bool)> = view.locks.iter().map(|lock| (lock.kind.as_str(), lock.is_locked)).collect();
    assert_eq!(locks, [("rhythm", true), ("never", true)]);
    assert_eq!(view.locks[0].unlock, "homeostat unlock 'node/tv'");
    assert!(SpendingView::of(&ledger(), &rules(), NOON, "2026-10".parse().ok()).months.is_empty());
    let mut unlocked = ledger();
    let order = |policy: &str, symptom: &str| {
        let command = homeostat_model::Command::Unlock { policy: policy.into(), symptom: symptom.into() };
        Event::Ordered(homeostat_model::Ordered { by: "test".into(), command })
    };
    unlocked.apply_event(NOON, &order("node/tv", ""));
    unlocked.apply_event(NOON, &order(POLICY, "node/old"));
    assert_eq!(SpendingView::of(&unlocked, &rules(), NOON, None).locks, []);
}
