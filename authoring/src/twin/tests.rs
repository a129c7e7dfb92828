//! Two versions on one kernel: what both wish, what only one does, and that the candidate never acts.

use super::{Reader, SUFFIX, Twins};
use homeostat_kernel::Kernel;
use homeostat_kernel::effect::Effect;
use homeostat_model::{
    ActuatorSpec, ArbiterSettings, Autonomy, Class, EntryBody, Event, Observation, PolicyOverride, PolicySource, RuleSet, Sample,
    SeriesDecl, SeriesKey, Span, StoreSettings, Time, VerbSpec,
};

fn policy(limit: f64) -> String {
    format!(
        r#"fn policy() {{ #{{ for_each: series("heat"), every: "1m", cooldown: "1m", autonomy: "auto" }} }}
fn evaluate(s) {{ if s.last() > {limit} {{ propose(act("exec.cool", `node/${{s.node}}`, #{{}})).because("hot").claim(s.below({limit}).within("2m")) }} }}"#
    )
}

fn source(id: &str, limit: f64, autonomy: Option<Autonomy>) -> PolicySource {
    let overrides = PolicyOverride { autonomy, ..PolicyOverride::default() };
    PolicySource { id: id.into(), path: format!("{id}.rhai"), text: policy(limit), overrides }
}

fn cool() -> ActuatorSpec {
    let verb = VerbSpec {
        verb: "exec.cool".into(),
        class: Class::Restore,
        args: Vec::new(),
        target_kinds: vec!["node".into()],
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(30),
        revertible: false,
        cost: Default::default(),
        doc: String::new(),
    };
    ActuatorSpec { id: "exec".into(), verbs: vec![verb] }
}

fn rules(limit: f64, candidate: f64) -> RuleSet {
    RuleSet {
        policies: vec![source("cool", limit, None), source(&format!("cool{SUFFIX}"), candidate, Some(Autonomy::Shadow))],
        actuators: vec![cool()],
        arbiter: ArbiterSettings { boot_grace: Span::ZERO, ..ArbiterSettings::default() },
        store: StoreSettings::default(),
        ..RuleSet::default()
    }
}

/// What the twins said of these values, one a minute; the candidate is exchanged at a minute, if one is named.
fn played(limit: f64, candidate: f64, values: &[f64], exchanged: Option<(usize, f64)>) -> (Twins, Vec<String>) {
    let start = Time(1_700_000_000_000);
    let mut kernel = Kernel::new(StoreSettings::default());
    let (mut reader, mut acted) = (Reader::new("cool"), Vec::new());
    let mut event = |kernel: &mut Kernel, at: Time, event: Event| {
        reader.take(at, &EntryBody::Event(event.clone()));
        kernel.handle(at, event);
        while let Some(effect) = kernel.poll_effect() {
            if let Effect::Act(admitted) = &effect {
                acted.push(admitted.action().id);
            }
            reader.take(at, &EntryBody::Effect(effect.record()));
        }
    };
    event(&mut kernel, start, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    event(&mut kernel, start, Event::Loaded(Box::new(rules(limit, candidate))));
    for (minute, value) in values.iter().enumerate() {
        let at = start + Span::from_mins(minute as i64);
        if let Some((_, candidate)) = exchanged.filter(|(when, _)| *when == minute) {
            event(&mut kernel, at, Event::Loaded(Box::new(rules(limit, candidate))));
        }
        let mut row = Observation::new("test".into(), at, Span::from_mins(1));
        if minute == 0 {
            row.declared = vec![SeriesDecl { key: SeriesKey::new("heat", [("node", "a")]), cohort: 0 }];
        } else {
            row.declared_before = 1;
        }
        row.samples = vec![Sample { series: 0, value: *value }];
        event(&mut kernel, at, Event::Observed(Box::new(row)));
        event(&mut kernel, at + Span::from_secs(1), Event::Tick);
    }
    let origin = |id| kernel.ledger().action(id).and_then(|state| Some(state.proposal.origin.policy()?.as_str().to_owned()));
    let origins = acted.into_iter().filter_map(origin).collect();
    (reader.finish(Span::from_mins(10)), origins)
}

#[test]
fn what_both_wish_is_one_episode_and_what_one_wishes_is_its_own() {
    let (twins, acted) = played(80.0, 90.0, &[50.0, 95.0, 95.0, 50.0, 50.0, 85.0, 85.0, 50.0, 50.0], None);
    assert!(!acted.is_empty() && acted.iter().all(|policy| policy == "cool"), "only the live one acts: {acted:?}");
    assert_eq!((twins.both.len(), twins.only_candidate.len()), (1, 0), "{twins:#?}");
    assert!(!twins.only_live.is_empty(), "{twins:#?}");
    let (live, candidate) = twins.both[0];
    assert!(twins.live[live].sent && !twins.candidate[candidate].sent);
    assert_eq!(twins.candidate[candidate].held_by, None, "it would have been done");
    assert!(twins.candidate[candidate].until.is_some(), "it ended when it was cool again");
}

#[test]
fn a_candidate_that_fires_earlier_is_seen_where_the_live_one_is_quiet() {
    let (twins, acted) = played(90.0, 80.0, &[50.0, 85.0, 85.0, 50.0, 50.0], None);
    assert!(acted.is_empty(), "{acted:?}");
    assert_eq!((twins.live.len(), twins.both.len(), twins.only_candidate.len()), (0, 0, 1), "{twins:#?}");
}

#[test]
fn a_change_of_either_begins_anew() {
    let (twins, _) = played(80.0, 85.0, &[95.0, 95.0, 50.0, 50.0, 50.0], Some((4, 70.0)));
    assert_eq!(twins.since, Some(Time(1_700_000_000_000) + Span::from_mins(4)));
    assert!(twins.live.is_empty() && twins.candidate.is_empty(), "{twins:#?}");
}
