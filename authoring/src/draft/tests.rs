//! Drafts from records that are made by hand: what a threshold is told from, and where none is told.

use super::*;
use crate::diagnose::{Around, Severity, check_policy};
use crate::suite::{Options, output, parse, run_test};
use homeostat_model::{
    ActuatorSpec, Arg, ArgKind, ArgSpec, ClaimSubject, Class, Margin, PolicyOverride, PolicySource, ReadingValue, Relation, VerbSpec,
};

const BEGIN: Time = Time(1_800_000_000_000);

fn at(minutes: i64) -> Time {
    BEGIN + Span::from_mins(minutes)
}

pub(crate) fn restarter() -> ActuatorSpec {
    let verb = VerbSpec {
        verb: "restart.rollout".into(),
        class: Class::Reversible,
        args: vec![ArgSpec { name: "reason".into(), kind: ArgKind::Text(100), required: false, doc: "Why.".into() }],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::from_secs(60),
        timeout: Span::from_secs(60),
        revertible: false,
        cost: Default::default(),
        doc: "A stand-in.".into(),
    };
    ActuatorSpec { id: "restart".into(), verbs: vec![verb] }
}

fn occasion(number: u64, minutes: i64) -> Occasion {
    Occasion {
        action: ActionId(number),
        entry: number * 10,
        at: at(minutes),
        by: "operator phone".into(),
        args: Args::new(),
        evidence: Vec::new(),
        claim: None,
        finding: None,
    }
}

/// A series with a sample every 30 s for ten hours.
fn curve(metric: &str, labels: &[(&str, &str)], value: impl Fn(i64) -> f64) -> Curve {
    let samples = (0..1200).map(|n| (BEGIN + Span::from_secs(30 * n), value(n))).collect();
    Curve { key: SeriesKey::new(metric, labels.iter().copied()), interval: Span::from_secs(30), samples }
}

const JELLYFIN: [(&str, &str); 2] = [("namespace", "media"), ("deployment", "jellyfin")];
/// When it was restarted, in minutes.
const DONE: [i64; 3] = [120, 300, 480];

/// Latency rises for 8 minutes before each restart and falls a minute after it; between, it wobbles.
fn latency(n: i64) -> f64 {
    let minutes = n as f64 / 2.0;
    let bad = DONE.iter().any(|done| minutes > (*done - 8) as f64 && minutes <= (*done + 1) as f64);
    if bad { 4.0 + (n % 5) as f64 * 0.1 } else { 0.4 + (n % 7) as f64 * 0.05 }
}

fn material(curves: Vec<Curve>) -> Material {
    Material {
        name: None,
        verb: "restart.rollout".into(),
        target: "deployment/media/jellyfin".into(),
        occasions: DONE.iter().enumerate().map(|(n, minutes)| occasion(n as u64 + 1, *minutes)).collect(),
        at_least: 3,
        curves,
        paces: BTreeMap::new(),
    }
}

/// Check finds no fault with it, and its own test passes.
pub(crate) fn sound(draft: &Draft) {
    let what = format!("{}\n{}", draft.policy, draft.test);
    let around = Around { actuators: vec![restarter()], ..Around::default() };
    let path = format!("{}.rhai", draft.name);
    let findings = check_policy(&path, &draft.policy, &PolicyOverride::default(), &around);
    let wrong: Vec<&str> = findings.iter().filter(|f| f.severity != Severity::Note).map(|f| f.message.as_str()).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{what}");
    let file = format!("{}.test.yaml", draft.name);
    let test = parse(&file, &draft.test).unwrap_or_else(|errors| panic!("{errors:?}\n{what}"));
    let source = PolicySource { id: draft.name.as_str().into(), path, text: draft.policy.clone(), overrides: PolicyOverride::default() };
    let report = run_test(&file, &test, &source, &Options::with(&[restarter()])).unwrap_or_else(|error| panic!("{error}\n{what}"));
    assert_eq!((report.failures().count(), report.passed()), (0, 2), "{}\n{what}", output::failures(&report));
}

#[test]
fn a_policy_is_drafted_from_three_restarts_and_what_was_read_before_them() {
    let noise = curve("pod_cpu_cores", &JELLYFIN, |n| 1.0 + (n * 7919 % 13) as f64 * 0.1);
    let total = curve("http_requests_total", &JELLYFIN, |n| n as f64 * 10.0);
    let uptime = curve("workload_uptime_seconds", &JELLYFIN, |n| n as f64 * 30.0);
    let draft = draft(&material(vec![noise, total, uptime, curve("service_latency_seconds", &JELLYFIN, latency)])).unwrap();
    assert_eq!((draft.name.as_str(), draft.found.metric.as_str()), ("restart-rollout-jellyfin", "service_latency_seconds"));
    assert_eq!((draft.found.side, draft.found.held, draft.found.basis), (Side::Above, Span::from_mins(5), Basis::Samples));
    assert!((0.7..4.0).contains(&draft.found.threshold), "{}", draft.found.threshold);
    assert_eq!((draft.found.recovered, draft.found.recovered_within), (3, Some(Span::from_secs(90))));
    assert!(
        draft.policy.contains("autonomy: \"suggest\"")
            && draft.policy.contains("act(\"restart.rollout\", \"deployment/media/jellyfin\", #{})")
    );
    assert!(draft.policy.contains("deployment='jellyfin'") && draft.policy.contains("journal entries 10, 20, 30"), "{}", draft.policy);
    assert!(!draft.policy.contains("settle:") && draft.why.iter().any(|line| line.contains("settle is the verb's own")));
    sound(&draft);
}

#[test]
fn learned_times_and_claims_are_taken_where_there_are_any() {
    let mut material = material(vec![curve("service_latency_seconds", &JELLYFIN, latency)]);
    let pace = Pace { settle: Span::from_secs(95), cooldown: Span::from_secs(1900), text: "5 times: it moves after 20 s".into() };
    material.paces.insert("service_latency_seconds".into(), pace);
    material.name = Some("slow-films".into());
    for occasion in &mut material.occasions {
        occasion.args.insert("reason".into(), Arg::Text("slow".into()));
        occasion.claim = Some(Claim {
            subject: ClaimSubject::Series {
                series: SeriesKey::new("service_latency_seconds", JELLYFIN),
                relation: Relation::Below,
                threshold: 1.0,
                held: Span::ZERO,
            },
            within: Span::from_mins(12),
        });
    }
    let draft = draft(&material).unwrap();
    for part in ["settle: \"1m35s\"", "cooldown: \"31m40s\"", "within(\"12m\")", "#{ \"reason\": \"slow\" }"] {
        assert!(draft.policy.contains(part), "{part}\n{}", draft.policy);
    }
    assert!(draft.why.iter().any(|line| line.contains("as they were learned: 5 times")));
    sound(&draft);
}

#[test]
fn a_comparison_in_all_evidence_is_the_threshold() {
    let mut material = material(vec![curve("service_latency_seconds", &JELLYFIN, latency)]);
    for occasion in &mut material.occasions {
        occasion.evidence = vec![Evidence {
            operation: "held above 2 for 2m".into(),
            series: Some(SeriesKey::new("service_latency_seconds", JELLYFIN)),
            value: ReadingValue::Value(4.0),
            sampled_at: Some(occasion.at),
            margins: vec![Margin { relation: "> 2".into(), distance: 2.0 }],
        }];
    }
    let draft = draft(&material).unwrap();
    assert_eq!((draft.found.basis, draft.found.threshold, draft.found.held), (Basis::Evidence, 2.0, Span::from_mins(2)));
    sound(&draft);
}

#[test]
fn pods_that_are_named_anew_are_meant_by_their_workload() {
    // The restarted workload's pods have another name each time.
    let pods = (0..=DONE.len()).map(|n| {
        let from = n.checked_sub(1).map_or(-1, |before| DONE[before] * 2);
        let until = DONE.get(n).map_or(i64::MAX, |done| done * 2);
        let pod = format!("jellyfin-6d4-{n}");
        let mut curve = curve("pod_memory_ratio", &[("namespace", "media"), ("pod", &pod)], |n| if latency(n) > 2.0 { 0.97 } else { 0.5 });
        let mut step = -1;
        curve.samples.retain(|_| {
            step += 1;
            step > from && step <= until
        });
        curve
    });
    let mut material = material(pods.collect());
    // A fresh pod is fine at once.
    for curve in &mut material.curves {
        let first = curve.samples[0].0;
        curve.samples.iter_mut().take_while(|(at, _)| at.since(first) < Span::from_mins(2)).for_each(|(_, value)| *value = 0.5);
    }
    let draft = draft(&material).unwrap();
    assert!(draft.policy.contains("pod_memory_ratio{namespace='media',pod=~'jellyfin-.+'}"), "{}", draft.policy);
    sound(&draft);
}

#[test]
fn low_values_are_found_as_well_and_gaps_are_no_values() {
    let mut up = curve("service_up", &[("service", "web")], |n| if latency(n) > 2.0 { 0.0 } else { 1.0 });
    // A gap in quiet times, and one sample lost before the last occasion.
    let gap = at(200)..at(230);
    let lost = at(478);
    up.samples.retain(|(when, _)| !gap.contains(when) && *when != lost);
    let mut material = material(vec![up]);
    material.target = "service/web".into();
    let draft = draft(&material).unwrap();
    assert_eq!((draft.found.side, draft.found.threshold), (Side::Below, 0.5));
    assert!(draft.policy.contains("low: 0.5"), "{}", draft.policy);
    sound(&draft);
}

#[test]
fn where_the_record_does_not_tell_nothing_is_drafted() {
    let why = |material: &Material| draft(material).unwrap_err();
    let noise = || curve("pod_cpu_cores", &JELLYFIN, |n| 1.0 + (n * 7919 % 13) as f64 * 0.1);
    assert!(why(&material(vec![noise()])).contains("of 1 metrics of this target none was on one side"));
    assert!(why(&material(Vec::new())).contains("no samples of a gauge"));
    assert!(why(&material(vec![curve("x_total", &JELLYFIN, latency)])).contains("no samples of a gauge"), "a counter's level says nothing");
    // Twice is not three times.
    let mut twice = material(vec![curve("service_latency_seconds", &JELLYFIN, latency)]);
    twice.occasions.truncate(2);
    assert!(why(&twice).contains("was sent 2 times in the record, and 3 are needed"));
    twice.at_least = 2;
    // The third time stands in the quiet record now.
    assert!(why(&twice).contains("no threshold"));
    // A quiet time that was as bad, and nobody acted.
    let also = curve("service_latency_seconds", &JELLYFIN, |n| if (760..790).contains(&n) { 9.0 } else { latency(n) });
    assert!(why(&material(vec![also])).contains("no threshold"));
    // It never came back by acting.
    let stays = curve("service_latency_seconds", &JELLYFIN, |n| {
        let minutes = n / 2;
        if DONE.iter().any(|done| minutes > done - 12 && minutes <= done + 42) { 4.0 } else { 0.4 }
    });
    let refused = why(&material(vec![stays]));
    assert!(refused.contains("no threshold") || refused.contains("does not show that acting helps"), "{refused}");
    let mut harmed = material(vec![curve("service_latency_seconds", &JELLYFIN, latency)]);
    harmed.occasions[1].finding = Some(Finding::Harmed);
    assert!(why(&harmed).contains("did harm by its scores (a2)"));
}

#[test]
fn a_name_that_could_be_code_is_refused() {
    for label in ["'}); exec(\"x\"", "a`b", "${x}", "a\nb", "x\"y", "\u{202e}x"] {
        let labels = [("namespace", "media"), ("deployment", "jellyfin"), ("image", label)];
        let error = draft(&material(vec![curve("service_latency_seconds", &labels, latency)])).unwrap_err();
        assert!(error.contains("does not write into a script"), "{label}: {error}");
    }
    let mut args = material(vec![curve("service_latency_seconds", &JELLYFIN, latency)]);
    args.occasions[2].args.insert("reason".into(), Arg::Text("\"); x(\"".into()));
    assert!(draft(&args).unwrap_err().contains("does not write into a script"));
}
