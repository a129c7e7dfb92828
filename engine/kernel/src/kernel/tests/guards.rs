//! Each guard alone: a case that passes and one that does not, with everything else out of the way. Where a lesson stands behind
//! a guard, the test bears its name.

use super::lab::{Lab, at, easy, remedy, rules};
use homeostat_model::{ArbiterSettings, Autonomy, Class, Command, Event, Span};
use std::collections::BTreeMap;

const BAD: &[(&str, f64)] = &[("bad{node='a'}", 1.0)];
const GOOD: &[(&str, f64)] = &[("bad{node='a'}", 0.0)];

fn lab(settings: ArbiterSettings, verb: &str, more: &str) -> Lab {
    Lab::new(settings, &[("fix", &remedy(verb, more))])
}

fn autonomy(class: Class, level: Autonomy) -> ArbiterSettings {
    let mut settings = easy();
    settings.autonomy.insert(class, level);
    settings
}

fn yes(action: u64, plan: Option<String>) -> Command {
    Command::Approve { action: homeostat_model::ActionId(action), plan }
}

fn plan(lab: &Lab, action: u64) -> String {
    lab.kernel.ledger().action(homeostat_model::ActionId(action)).expect("it is known").plan.clone()
}

#[test]
fn with_nothing_against_it_a_wish_is_admitted_and_sent() {
    let mut lab = lab(easy(), "exec.restart", "");
    assert_eq!(lab.observe(15, BAD), ["a1 admitted", "a1 act exec.restart on node/a #1"]);
    let ruling = &lab.kernel.ledger().action(homeostat_model::ActionId(1)).expect("it is known").ruling;
    let asked: Vec<&str> = ruling.reasons.iter().map(|reason| reason.guard.as_str()).collect();
    let order = [
        "hands_off",
        "lint",
        "freshness",
        "own_base",
        "observer_fault",
        "storm",
        "settling",
        "cooldown",
        "futility",
        "ladder",
        "opposite",
        "lock",
        "foreign_owner",
        "floors",
        "blast_radius",
        "budget",
        "calendar",
        "witnesses",
        "reasoner",
        "autonomy",
    ];
    assert_eq!(asked, order);
}

#[test]
fn hands_off_is_durable_and_lifted_only_by_a_person() {
    let fix = remedy("exec.restart", "every: \"15s\"");
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    assert_eq!(lab.order(5, Command::Pause { reason: "work on the rack".into() }), ["announce Homeostat is hands-off"]);
    assert_eq!(lab.observe(15, BAD), ["a1 deferred by hands_off"]);
    // Neither a reload nor a restart lifts it.
    lab.event(20, Event::Loaded(Box::new(rules(easy(), &[("fix", &format!("{fix}\n"))]))));
    let (mut lab, said) = lab.restarted(lab.entries.len(), 30, rules(easy(), &[("fix", &fix)]));
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    assert!(lab.observe(45, BAD).is_empty());
    assert_eq!(lab.order(46, Command::Resume), ["announce Homeostat acts again"]);
    let said = lab.observe(60, BAD);
    assert!(said.iter().any(|text| text.contains("act exec.restart")), "{said:?}");
}

#[test]
fn a_driver_that_lost_trust_puts_the_kernel_hands_off() {
    let mut lab = lab(easy(), "exec.restart", "");
    assert_eq!(lab.event(5, Event::Distrusted { reason: "the journal cannot be written".into() }), ["announce Homeostat is hands-off"]);
    assert_eq!(lab.observe(15, BAD), ["a1 deferred by hands_off"]);
    assert!(lab.guard(1, "hands_off").contains("engine: the journal cannot be written"));
}

#[test]
fn lint_names_everything_that_is_wrong() {
    let text = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto" } }
fn evaluate(s) { propose(act("exec.restart", "node/", #{ hwo: "x" })) }"#;
    let mut lab = Lab::new(easy(), &[("fix", text)]);
    assert_eq!(lab.observe(15, BAD), ["a1 denied by lint"]);
    let said = lab.guard(1, "lint");
    for problem in ["no argument `hwo` (it has: how)", "no reason was given", "the target is empty", "no claim was made"] {
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn lint_denies_an_unknown_verb_a_wrong_target_and_a_claim_that_cannot_come_true() {
    for (call, problem) in [
        (r#"propose(act("exec.fly", "node/a", #{})).because("x").claim(s.below(1).within("5m"))"#, "nobody can do `exec.fly`"),
        (r#"propose(act("power.wake", "disk/a", #{})).because("x").claim(s.below(1).within("5m"))"#, "acts on node, not on `disk/a`"),
        (r#"propose(act("exec.restart", "node/a", #{})).because("x").claim(s.below(1).held("10m").within("5m"))"#, "it cannot come true"),
        (r#"propose(act("exec.restart", "node/a", #{})).because("x").claim(s.below(1).within("25h"))"#, "at most 1d"),
        (r#"propose(act("exec.restart", "node/a", #{})).because("x").claim(s.below(1.0 / 0.0).within("5m"))"#, "not a finite number"),
    ] {
        let text = format!("fn policy() {{ #{{ for_each: series(\"bad\"), autonomy: \"auto\" }} }}\nfn evaluate(s) {{ {call} }}");
        let mut lab = Lab::new(easy(), &[("fix", &text)]);
        assert_eq!(lab.observe(15, BAD), ["a1 denied by lint"], "{call}");
        assert!(lab.guard(1, "lint").contains(problem), "{}", lab.guard(1, "lint"));
    }
}

#[test]
fn an_approval_for_a_reason_that_is_gone_is_refused() {
    // The sensor falls silent after the question: the policy cannot stand behind it any more.
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Suggest), "exec.restart", "every: \"15s\"");
    assert_eq!(lab.observe(15, BAD), ["a1 awaiting_approval by autonomy", "announce a1: exec.restart on node/a?"]);
    lab.tick(200);
    assert_eq!(lab.order(201, yes(1, None)), ["a1 denied by freshness"]);
    assert!(lab.guard(1, "freshness").contains("its reason may be gone"), "{}", lab.guard(1, "freshness"));
}

#[test]
fn evidence_that_is_too_old_does_not_lead_to_an_action() {
    let text = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", every: "1m" } }
fn evaluate(s) { if s.absent_for("40m") { propose(act("exec.restart", "node/a", #{})).because("x").claim(s.above(0).within("5m")) } }"#;
    let mut lab = Lab::new(easy(), &[("fix", text)]);
    lab.observe(15, BAD);
    let said = lab.tick(45 * 60);
    assert_eq!(said, ["a1 denied by freshness"]);
    assert!(lab.guard(1, "freshness").contains("longer than 30m"), "{}", lab.guard(1, "freshness"));
}

#[test]
fn what_the_engine_stands_on_is_never_interrupted() {
    let base = |node: &str| ArbiterSettings {
        own_base: vec![homeostat_model::rules::OwnBase { target: format!("node/{node}").into(), why: "the engine's own host".into() }],
        ..easy()
    };
    assert_eq!(lab(base("a"), "exec.reboot", "").observe(15, BAD), ["a1 denied by own_base"]);
    assert_eq!(lab(base("b"), "exec.reboot", "").observe(15, BAD).len(), 2);
    // Sleep can be taken back, but not by an engine that sleeps.
    assert_eq!(lab(base("a"), "power.sleep", "").observe(15, BAD), ["a1 denied by own_base"]);
    // What does not interrupt may be done to it.
    assert_eq!(lab(base("a"), "exec.restart", "").observe(15, BAD).len(), 2);
}

#[test]
fn many_targets_bad_at_once_suspect_the_observer() {
    let settings = || ArbiterSettings { observer_fault_targets_min: 2, ..easy() };
    let row = |bad: usize| (0..10).map(|n| (format!("bad{{node='n{n}'}}"), f64::from(u8::from(n < bad)))).collect::<Vec<_>>();
    let observe = |lab: &mut Lab, second: i64, bad: usize| {
        let row = row(bad);
        lab.observe(second, &row.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
    };
    let mut few = lab(settings(), "exec.restart", "");
    assert_eq!(observe(&mut few, 15, 3).iter().filter(|text| text.contains(" act ")).count(), 3);
    let mut many = lab(settings(), "exec.restart", "every: \"15s\"");
    let said = observe(&mut many, 15, 4);
    assert!(said[0].contains("ObserverFault") && said[0].contains("firing: 4, of: 10, began: true"), "{said:#?}");
    assert_eq!(said.iter().filter(|text| text.ends_with("deferred by observer_fault")).count(), 4);
    // Bringing back stays allowed.
    let mut wake = lab(settings(), "power.wake", "");
    assert_eq!(observe(&mut wake, 15, 9).iter().filter(|text| text.contains(" act ")).count(), 9);
    // It ends only after a quiet time.
    observe(&mut many, 30, 1);
    assert_eq!(many.kernel.observer_faults(), ["fix"]);
    let said: Vec<String> = (3..30).flat_map(|step| observe(&mut many, step * 15, 1)).collect();
    assert!(said.iter().any(|text| text.contains("began: false")), "{said:#?}");
    assert_eq!(said.iter().filter(|text| text.contains(" act ")).count(), 1, "{said:#?}");
}

#[test]
fn a_target_settles_before_its_symptoms_mean_anything() {
    let mut lab =
        Lab::new(easy(), &[("fix", &remedy("exec.restart", "cooldown: \"1s\"")), ("wake", &remedy("power.wake", "cooldown: \"1h\""))]);
    let said = lab.observe(15, BAD);
    assert!(said.contains(&"a1 act power.wake on node/a #1".to_owned()), "mildest first: {said:?}");
    assert!(said.contains(&"a2 deferred by lock".to_owned()) || said.contains(&"a2 deferred by settling".to_owned()), "{said:?}");
    lab.done(20, 1);
    lab.observe(60, BAD);
    assert_eq!(lab.phase(2), "deferred");
    let said = lab.observe_all(75..=90, BAD);
    assert!(said.contains(&"a2 act exec.restart on node/a #1".to_owned()), "{said:?}");
}

#[test]
fn nothing_disruptive_right_after_a_start_or_a_clock_jump() {
    let settings = ArbiterSettings { boot_grace: Span::from_mins(2), ..easy() };
    let mut early = lab(settings.clone(), "exec.reboot", "");
    assert_eq!(early.observe(15, BAD), ["a1 deferred by settling"]);
    assert!(early.observe_all(30..=105, BAD).is_empty());
    assert_eq!(early.observe(120, BAD).len(), 2);
    // Reversible actions need not wait.
    assert_eq!(lab(settings, "exec.restart", "").observe(15, BAD).len(), 2);
    let mut jumped = lab(easy(), "exec.reboot", "");
    jumped.event(10, Event::ClockJumped { from: super::lab::at(0), to: super::lab::at(10) });
    assert_eq!(jumped.observe(15, BAD), ["a1 deferred by settling"]);
    assert!(jumped.guard(1, "settling").contains("the clock has jumped"));
}

#[test]
fn cooldown_survives_a_restart() {
    let fix = remedy("exec.restart", "cooldown: \"10m\"");
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    lab.observe(15, BAD);
    lab.done(16, 1);
    let (mut lab, said) = lab.restarted(lab.entries.len(), 60, rules(easy(), &[("fix", &fix)]));
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    let said = lab.observe_all(75..=600, BAD);
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    let said = lab.observe_all(615..=630, BAD);
    assert_eq!(said.iter().filter(|text| text.contains(" act ")).count(), 1, "{said:?}");
}

#[test]
fn a_failed_attempt_cools_down_for_a_tenth() {
    let mut lab = lab(easy(), "exec.restart", "cooldown: \"1h\"");
    lab.observe(15, BAD);
    assert_eq!(lab.not_done(20, 1, homeostat_model::FaultCode::Failed), ["announce a1: exec.restart on node/a: not done"]);
    let said = lab.observe_all(30..=375, BAD);
    assert_eq!(said, ["a2 deferred by cooldown"]);
    assert_eq!(lab.observe(390, BAD), ["a2 admitted", "a2 act exec.restart on node/a #1"]);
}

#[test]
fn futile_repetition_locks_whatever_the_label() {
    // The wish names another argument each time; the symptom stays the same.
    let text = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", cooldown: "1m" } }
fn evaluate(s) { if s.last() > 0 { propose(act("exec.restart", "node/a", #{ how: `${s.last()}` })).because("x").claim(s.below(0.5).within("5m")) } }"#;
    let settings = ArbiterSettings { futility_attempts_max: 3, ..easy() };
    let mut lab = Lab::new(settings, &[("fix", text)]);
    let mut sent = 0;
    for step in 1..80_i64 {
        let said = lab.observe(step * 15, &[("bad{node='a'}", step as f64)]);
        let acts: Vec<u64> =
            said.iter().filter(|text| text.contains(" act ")).filter_map(|text| text[1..].split(' ').next()?.parse().ok()).collect();
        for id in acts {
            sent += 1;
            // It claims success each time; that does not count.
            lab.done(step * 15 + 1, id);
        }
    }
    assert_eq!(sent, 3);
    let last = lab.kernel.ledger().next_action().0 - 1;
    assert!(
        lab.guard(last, "futility").contains("locked until a person runs `homeostat unlock fix 'bad{node=\"a\"}'`"),
        "{}",
        lab.guard(last, "futility")
    );
    lab.order(1300, Command::Unlock { policy: "fix".into(), symptom: String::new() });
    let said = lab.observe(1305, &[("bad{node='a'}", 99.0)]);
    assert!(said.iter().any(|text| text.contains(" act ")), "{said:?}");
}

#[test]
fn a_futility_lock_does_not_wear_off() {
    let settings = ArbiterSettings { futility_attempts_max: 2, futility_window: Span::from_mins(30), ..easy() };
    let mut lab = lab(settings, "exec.restart", "cooldown: \"5m\"");
    let mut sent = 0;
    for step in 1..960_i64 {
        let said = lab.observe(step * 15, BAD);
        for id in said
            .iter()
            .filter(|text| text.contains(" act "))
            .filter_map(|text| text[1..].split(' ').next()?.parse().ok())
            .collect::<Vec<u64>>()
        {
            sent += 1;
            lab.done(step * 15 + 1, id);
        }
    }
    assert_eq!(sent, 2, "four hours later the window has long passed, and nobody has unlocked it");
    lab.order(14_500, Command::Unlock { policy: "fix".into(), symptom: String::new() });
    assert!(lab.observe(14_505, BAD).iter().any(|text| text.contains(" act ")));
}

#[test]
fn waking_again_after_it_slept_is_not_futile() {
    let policies = [
        ("wake", remedy("power.wake", "cooldown: \"1m\"")),
        ("sleep", remedy("power.sleep", "cooldown: \"1m\"").replace("\"bad\"", "\"idle\"")),
    ];
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let settings = ArbiterSettings { futility_attempts_max: 2, futility_window: Span::from_hours(2), ..easy() };
    let mut lab = Lab::new(settings, &policies);
    let mut id = 0;
    for round in 0..4_i64 {
        for (row, verb) in [((1.0, 0.0), "power.wake"), ((0.0, 1.0), "power.sleep")] {
            // Not in a rhythm: that would be the loop chasing itself.
            let begin = round * 1200 + [0, 240, 30, 330][round as usize] + if verb == "power.wake" { 15 } else { 615 };
            let said = lab.observe(begin, &[("bad{node='a'}", row.0), ("idle{node='a'}", row.1)]);
            id += 1;
            assert!(said.contains(&format!("a{id} act {verb} on node/a #1")), "round {round}: {said:?}");
            lab.done(begin + 1, id);
            lab.observe(begin + 15, &[("bad{node='a'}", 0.0), ("idle{node='a'}", 0.0)]);
        }
    }
}

#[test]
fn a_yes_during_a_short_hold_is_refused_aloud_and_the_question_stays() {
    let settings = ArbiterSettings { clock_jump_freeze: Span::from_mins(5), ..autonomy(Class::Disruptive, Autonomy::Suggest) };
    let mut lab = lab(settings, "exec.reboot", "cooldown: \"1h\", settle: \"1m\"");
    assert_eq!(lab.observe(15, BAD)[0], "a1 awaiting_approval by autonomy");
    lab.event(16, homeostat_model::Event::ClockJumped { from: at(16), to: at(5000) });
    let said = lab.order(20, yes(1, None));
    assert!(said.iter().any(|text| text.contains("order refused") || text.contains("order_refused")), "{said:?}");
    assert_eq!(lab.phase(1), "awaiting_approval");
    lab.observe_all(30..=330, BAD);
    let said = lab.order(331, yes(1, None));
    assert!(said.contains(&"a1 act exec.reboot on node/a #1".to_owned()), "{said:?}");
}

#[test]
fn what_a_person_allows_rests_on_what_was_read_last() {
    let mut lab = lab(autonomy(Class::Disruptive, Autonomy::Suggest), "exec.reboot", "cooldown: \"1h\"");
    assert_eq!(lab.observe(15, BAD)[0], "a1 awaiting_approval by autonomy");
    lab.observe_all(30..=600, BAD);
    assert!(lab.order(601, yes(1, None)).contains(&"a1 act exec.reboot on node/a #1".to_owned()));
    let newest = lab
        .kernel
        .ledger()
        .action(homeostat_model::ActionId(1))
        .and_then(|state| state.proposal.evidence.iter().filter_map(|e| e.sampled_at).max());
    assert!(newest.is_some_and(|newest| at(601).since(newest) <= Span::from_secs(30)), "{newest:?}");
}

#[test]
fn opposite_action_within_twice_settle_needs_a_person() {
    let policies = [
        ("wake", remedy("power.wake", "cooldown: \"1h\"")),
        ("sleep", remedy("power.sleep", "cooldown: \"1h\"").replace("\"bad\"", "\"idle\"")),
    ];
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let row = |bad: f64, idle: f64| [("bad{node='a'}", bad), ("idle{node='a'}", idle)];
    let mut lab = Lab::new(easy(), &policies);
    lab.observe(15, &row(1.0, 0.0));
    lab.done(16, 1);
    // Settled after 60 s, but within 120 s of the wake.
    let said = lab.observe(90, &row(0.0, 1.0));
    assert!(said.contains(&"a2 awaiting_approval by opposite".to_owned()), "{said:?}");
    let said = lab.order(91, yes(2, None));
    assert_eq!(said, ["a2 admitted", "a2 act power.sleep on node/a #1"]);
    // Later it needs nobody.
    let mut later = Lab::new(easy(), &policies);
    later.observe(15, &row(1.0, 0.0));
    later.done(16, 1);
    let said = later.observe(150, &row(0.0, 1.0));
    assert!(said.contains(&"a2 act power.sleep on node/a #1".to_owned()), "{said:?}");
}

#[test]
fn to_and_fro_within_an_hour_needs_a_person_however_patiently() {
    let policies = [
        ("wake", remedy("power.wake", "cooldown: \"1m\"")),
        ("sleep", remedy("power.sleep", "cooldown: \"1m\"").replace("\"bad\"", "\"idle\"")),
    ];
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut lab = Lab::new(easy(), &policies);
    let mut verdicts = Vec::new();
    for round in 0..7_i64 {
        let begin = 15 + round * 150;
        let (bad, idle) = if round % 2 == 0 { (1.0, 0.0) } else { (0.0, 1.0) };
        let said = lab.observe(begin, &[("bad{node='a'}", bad), ("idle{node='a'}", idle)]);
        lab.done(begin + 1, round as u64 + 1);
        lab.observe(begin + 15, &[("bad{node='a'}", 0.0), ("idle{node='a'}", 0.0)]);
        assert_eq!(said[0].starts_with("tripped node/a: up and down every 5m"), round == 6, "so regular a rhythm is a circle: {said:?}");
        verdicts.extend(said.into_iter().find(|text| text.starts_with(&format!("a{} a", round + 1))));
    }
    assert!(verdicts[..6].iter().all(|verdict| verdict.ends_with(" admitted")), "{verdicts:?}");
    assert_eq!(verdicts[6], "a7 awaiting_approval by opposite");
}

#[test]
fn one_action_per_target_at_a_time() {
    let policies = [("one", remedy("exec.restart", "cooldown: \"1h\"")), ("two", remedy("exec.wipe", "cooldown: \"1h\""))];
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut lab = Lab::new(easy(), &policies);
    assert_eq!(lab.observe(15, BAD), ["a1 admitted", "a1 act exec.restart on node/a #1", "a2 deferred by lock"]);
    lab.done(20, 1);
    assert_eq!(lab.observe(30, BAD).last().map(String::as_str), Some("a2 act exec.wipe on node/a #1"));
}

#[test]
fn only_so_many_at_once_and_so_many_an_hour() {
    let two = &[("bad{node='a'}", 1.0), ("bad{node='b'}", 1.0)];
    let mut at_once = lab(ArbiterSettings { concurrent_max: BTreeMap::from([(Class::Reversible, 1)]), ..easy() }, "exec.restart", "");
    let said = at_once.observe(15, two);
    assert_eq!(said.last().map(String::as_str), Some("a2 deferred by budget"), "{said:?}");
    at_once.done(20, 1);
    assert!(at_once.observe(30, two).contains(&"a2 act exec.restart on node/b #1".to_owned()));
    let mut an_hour =
        lab(ArbiterSettings { per_hour_max: BTreeMap::from([(Class::Reversible, 1)]), ..easy() }, "exec.restart", "cooldown: \"10h\"");
    an_hour.observe(15, two);
    an_hour.done(20, 1);
    assert_eq!(an_hour.observe(30, two), ["a3 deferred by cooldown"]);
    assert!(an_hour.guard(2, "budget").contains("within the last hour"));
    assert!(an_hour.observe(3600 + 15, two).contains(&"a2 act exec.restart on node/b #1".to_owned()));
}

#[test]
fn the_least_autonomy_of_policy_and_class_decides() {
    for (class, policy, verdict) in [
        (Autonomy::Shadow, "auto", "shadowed"),
        (Autonomy::Suggest, "auto", "awaiting_approval"),
        (Autonomy::Veto, "auto", "awaiting_approval"),
        (Autonomy::Auto, "suggest", "awaiting_approval"),
        (Autonomy::Auto, "shadow", "shadowed"),
        (Autonomy::Auto, "auto", "admitted"),
    ] {
        let text = remedy("exec.restart", "").replace("autonomy: \"auto\"", &format!("autonomy: \"{policy}\""));
        let mut lab = Lab::new(autonomy(Class::Reversible, class), &[("fix", &text)]);
        assert!(lab.observe(15, BAD)[0].starts_with(&format!("a1 {verdict}")), "{class:?} {policy}");
    }
}

#[test]
fn dry_run_touches_no_cooldown() {
    let fix = remedy("exec.restart", "cooldown: \"10m\"");
    let mut lab = Lab::new(autonomy(Class::Reversible, Autonomy::Shadow), &[("fix", &fix)]);
    assert_eq!(lab.observe(15, BAD), ["a1 shadowed by autonomy"]);
    assert!(lab.observe_all(30..=60, BAD).is_empty());
    assert!(lab.sent.is_empty());
    // Raised to auto, the same wish is done at once: the dry run has left nothing behind.
    lab.event(61, Event::Loaded(Box::new(rules(easy(), &[("fix", &fix)]))));
    assert_eq!(lab.observe(75, BAD), ["a1 admitted", "a1 act exec.restart on node/a #1"]);
}

#[test]
fn veto_waits_and_then_acts_unless_stopped() {
    let mut stopped = lab(autonomy(Class::Reversible, Autonomy::Veto), "exec.restart", "cooldown: \"1h\"");
    assert_eq!(stopped.observe(15, BAD), ["a1 awaiting_approval by autonomy", "announce a1: exec.restart on node/a?"]);
    assert_eq!(stopped.order(20, Command::Deny { action: homeostat_model::ActionId(1) }), ["a1 closed Refused: refused by unix:0"]);
    let said = stopped.observe_all(30..=600, BAD);
    assert_eq!(said, ["a2 deferred by cooldown"], "a no lasts for the cooldown");
    let mut silent = lab(autonomy(Class::Reversible, Autonomy::Veto), "exec.restart", "cooldown: \"1h\"");
    let said = silent.observe_all(15..=300, BAD);
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    let said = silent.observe(315, BAD);
    assert_eq!(said, ["a1 admitted", "a1 act exec.restart on node/a #1"]);
}

#[test]
fn a_veto_over_a_reason_that_is_gone_does_not_act() {
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Veto), "exec.restart", "");
    lab.observe(15, BAD);
    let said = lab.observe(30, GOOD);
    assert_eq!(said.last().map(String::as_str), Some("a1 closed Gone: the policy does not wish it any more"));
    assert!(lab.observe_all(45..=600, GOOD).is_empty());
    assert!(lab.sent.is_empty());
}

#[test]
fn an_expired_approval_is_a_no() {
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Suggest), "exec.restart", "cooldown: \"2h\"");
    let said = lab.observe_all(15..=3600, BAD);
    assert_eq!(said, ["a1 awaiting_approval by autonomy", "announce a1: exec.restart on node/a?"]);
    assert_eq!(lab.observe(3615, BAD), ["a1 closed Expired: nobody answered in time"]);
    let said = lab.order(3616, yes(1, None));
    assert_eq!(said, ["order refused: approve a1: it is closed, not awaiting approval"]);
    assert_eq!(lab.observe_all(3630..=7000, BAD), ["a2 deferred by cooldown"], "it is not asked again at once");
    assert!(lab.sent.is_empty());
}

#[test]
fn an_approval_is_single_use() {
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Suggest), "exec.restart", "cooldown: \"1m\"");
    lab.observe(15, BAD);
    let plan = plan(&lab, 1);
    assert_eq!(lab.order(16, yes(1, Some(plan.clone()))), ["a1 admitted", "a1 act exec.restart on node/a #1"]);
    assert_eq!(lab.order(17, yes(1, Some(plan))), ["order refused: approve a1: it is in_flight, not awaiting approval"]);
    lab.done(18, 1);
    let said = lab.observe_all(30..=90, BAD);
    assert!(said.contains(&"a2 awaiting_approval by autonomy".to_owned()), "the next time a person is asked again: {said:?}");
    assert_eq!(lab.sent.values().sum::<u32>(), 1);
}

#[test]
fn an_approval_for_another_plan_is_refused() {
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Suggest), "exec.restart", "");
    lab.observe(15, BAD);
    let said = lab.order(16, yes(1, Some("0123456789abcdef".into())));
    assert!(said[0].starts_with("order refused: approve a1: the plan is ") && said.len() == 1, "{said:?}");
    assert_eq!(lab.phase(1), "awaiting_approval");
    assert_eq!(lab.order(17, yes(7, None)), ["order refused: approve a7: there is no such action"]);
}

#[test]
fn an_approval_of_a_class_that_only_watches_does_nothing() {
    let mut lab = lab(autonomy(Class::Reversible, Autonomy::Shadow), "exec.restart", "");
    lab.observe(15, BAD);
    assert_eq!(lab.order(16, yes(1, None)), ["order refused: approve a1: it is shadowed, not awaiting approval"]);
}
