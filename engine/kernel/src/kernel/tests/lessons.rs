//! What no single guard's test shows of the lessons of `docs/safety.md`: each test bears its lesson's number.

use super::lab::{Lab, alert, at, easy, remedy, rules};
use crate::policy::TEXTS_MAX;
use homeostat_model::playbook::Playbook;
use homeostat_model::{
    ActionId, AlertDelivery, AlertSource, AlertStatus, ArbiterSettings, Args, Autonomy, Class, Command, Edge, Event, FaultCode, Link,
    RuleSet, RunEnd, Span, TopologySettings,
};

/// Ten nodes that are known, so that two of them are a fifth.
fn ten_nodes() -> TopologySettings {
    let link = |n: usize| Link {
        from: format!("deployment/web/{n}").as_str().into(),
        edge: Edge::RunsOn,
        to: format!("node/n{n}").as_str().into(),
    };
    TopologySettings { links: (0..10).map(link).collect(), ..TopologySettings::default() }
}

fn started(set: RuleSet) -> Lab {
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    let said = lab.event(0, Event::Loaded(Box::new(set)));
    assert!(!said.iter().any(|text| text.contains("refused")), "{said:#?}");
    lab
}

fn ten_rows() -> Vec<(String, f64)> {
    (0..10).map(|n| (format!("bad{{node='n{n}'}}"), 1.0)).collect()
}

fn observe(lab: &mut Lab, second: i64) -> Vec<String> {
    let rows = ten_rows();
    lab.observe(second, &rows.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
}

fn acts(said: &[String]) -> usize {
    said.iter().filter(|text| text.contains(" act exec.") || text.contains(" act power.")).count()
}

/// One node looks bad every five minutes, and good again once it was asked after: never many at once, and still the house goes dark.
#[test]
fn lesson_01_nodes_that_look_bad_one_after_the_other_stop_at_the_second() {
    let settings = ArbiterSettings { observer_fault_targets_min: 2, ..easy() };
    let mut lab = started(RuleSet { topology: ten_nodes(), ..rules(settings, &[("dark", &remedy("exec.reboot", "every: \"15s\""))]) });
    let looks_bad = |second: i64| {
        let values = (0..10).map(|n| (format!("bad{{node='n{n}'}}"), f64::from(second / 300 == n + 1 && second % 300 < 30)));
        values.collect::<Vec<_>>()
    };
    let mut sent = Vec::new();
    for second in (15..=3000).step_by(15) {
        let rows = looks_bad(second);
        let said = lab.observe(second, &rows.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>());
        if second == 900 {
            assert!(lab.guard(5, "observer_fault").contains("took down 2 others with exec.reboot within 20m"), "{said:#?}");
        }
        for _ in 0..acts(&said) {
            sent.push(second);
            lab.done(second, lab.entries.iter().filter_map(|(_, body)| sent_id(body)).next_back().expect("one was sent"));
        }
    }
    assert_eq!(sent, [300, 600, 1500, 1800, 2700, 3000], "the third, the fourth and the fifth wait until twenty minutes after the first");
}

fn sent_id(body: &homeostat_model::EntryBody) -> Option<u64> {
    match body {
        homeostat_model::EntryBody::Effect(homeostat_model::Record::Act { action, .. }) => Some(action.id.0),
        _ => None,
    }
}

/// A selector without a filter: ten wishes, each of them modest.
#[test]
fn lesson_16_a_policy_that_names_everything_gets_a_fifth_at_a_time() {
    let mut lab = started(RuleSet { topology: ten_nodes(), ..rules(easy(), &[("all", &remedy("exec.reboot", "every: \"15s\""))]) });
    let said = observe(&mut lab, 15);
    assert_eq!(acts(&said), 2, "{said:#?}");
    assert_eq!(said.iter().filter(|text| text.ends_with("deferred by blast_radius")).count(), 8, "{said:#?}");
    assert!(lab.guard(3, "blast_radius").contains("3 nodes of 10 known would be taken down at once"), "{}", lab.guard(3, "blast_radius"));
}

/// `all()` in one evaluation is one symptom: it has one cooldown, whatever it names.
#[test]
fn lesson_16_an_evaluation_that_names_everything_gets_one_in_each_cooldown() {
    let policy = r#"fn policy() { #{ autonomy: "auto", every: "15s", cooldown: "1h" } }
fn evaluate() {
    for s in all("bad") { propose(act("exec.reboot", "node/" + s.node, #{})).because("all of them").claim(s.below(1).within("5m")) }
}"#;
    let mut lab = started(RuleSet { topology: ten_nodes(), ..rules(easy(), &[("all", policy)]) });
    let said = observe(&mut lab, 15);
    assert_eq!(acts(&said), 1, "{said:#?}");
    lab.done(16, 1);
    let mut sent = 0;
    for second in (30..=3600).step_by(15) {
        sent += acts(&observe(&mut lab, second));
    }
    assert_eq!(sent, 0, "the first was sent 15 s after the start");
    assert_eq!(acts(&observe(&mut lab, 3615)), 1);
}

#[test]
fn lesson_16_an_evaluation_that_wishes_without_end_is_a_fault() {
    let policy = r#"fn policy() { #{ autonomy: "auto" } }
fn evaluate() { for n in 0..1000 { propose(act("exec.restart", `node/n${n}`, #{})).because("x").claim(series("bad{node='n0'}").below(1).within("5m")) } }"#;
    let mut lab = Lab::new(easy(), &[("all", policy)]);
    let said = observe(&mut lab, 15);
    assert!(said.iter().any(|text| text.starts_with("fault ") && text.contains("proposals in one evaluation")), "{said:#?}");
    assert!(lab.sent.is_empty(), "nor is any of what it wished before");
}

/// A step that goes through a list takes down no more of it at once than one wish might.
#[test]
fn lesson_16_a_step_for_each_of_everything_gets_a_fifth_at_a_time() {
    let fan: Playbook = serde_json::from_value(serde_json::json!({
        "id": "fan", "doc": "Reboots all of them.", "steps": [
            { "id": "nodes", "verb": "exec.reboot", "target": "node/{each}", "undo": "nothing", "concurrent_max": 10,
              "each": "all(\"bad\").map(|s| s.label(\"node\"))" } ] }))
    .expect("a playbook");
    let mut lab = started(RuleSet { topology: ten_nodes(), playbooks: vec![fan], ..rules(easy(), &[]) });
    observe(&mut lab, 15);
    let wish = Command::Wish { verb: "playbook.fan".into(), target: "room/rack".into(), args: Args::new(), because: "a test".into() };
    assert_eq!(acts(&lab.order(16, wish)), 2);
    // When one is back, the next one goes, and none of them twice.
    let mut sent = 2;
    for second in (17..600).step_by(15) {
        let running: Vec<u64> = lab.kernel.ledger().all_running().filter(|s| s.proposal.origin.run().is_some()).map(|s| s.id.0).collect();
        assert!(running.len() <= 2, "{running:?}");
        for id in running {
            sent += acts(&lab.done(second, id));
        }
        sent += acts(&observe(&mut lab, second + 1));
    }
    let end = lab.kernel.ledger().runs().next_back().and_then(|run| run.end.clone());
    assert_eq!((sent, end.map(|(_, end, _)| end)), (10, Some(RunEnd::Finished)));
}

#[test]
fn lesson_16_a_step_for_each_of_nothing_does_nothing_and_of_too_many_fails() {
    for (count, how) in [(0, RunEnd::Finished), (TEXTS_MAX + 1, RunEnd::Undone)] {
        let fan: Playbook = serde_json::from_value(serde_json::json!({
            "id": "fan", "doc": "Restarts all of them.", "steps": [
                { "id": "pods", "verb": "exec.restart", "target": "pod/{each}", "undo": "nothing", "concurrent_max": 10,
                  "each": "all(\"pod\").map(|s| s.label(\"pod\"))" } ] }))
        .expect("a playbook");
        let mut lab = started(RuleSet { playbooks: vec![fan], ..rules(easy(), &[]) });
        let names: Vec<String> = (0..count).map(|n| format!("pod{{pod='p{n}'}}")).collect();
        lab.observe(15, &names.iter().map(|name| (name.as_str(), 1.0)).collect::<Vec<_>>());
        let wish = Command::Wish { verb: "playbook.fan".into(), target: "room/rack".into(), args: Args::new(), because: "a test".into() };
        let said = lab.order(16, wish);
        assert_eq!(acts(&said), 0, "{said:?}");
        let end = lab.kernel.ledger().runs().next_back().and_then(|run| run.end.clone());
        assert_eq!(end.map(|(_, end, _)| end), Some(how), "{count} texts: {said:?}");
    }
}

/// There is no lock that could be forgotten: it is what is under way, and it ends with it, however that ends.
#[test]
fn lesson_23_a_lock_ends_with_what_held_it_however_that_ends() {
    let policies = [("one", remedy("exec.restart", "cooldown: \"9h\"")), ("two", remedy("exec.wipe", "cooldown: \"9h\""))];
    let policies: Vec<(&str, &str)> = policies.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let bad = [("bad{node='a'}", 1.0)];
    for end in ["done", "not done", "never started", "nobody ever knows", "the engine dies"] {
        let mut lab = Lab::new(easy(), &policies);
        let said = lab.observe(15, &bad);
        assert!(said.contains(&"a2 deferred by lock".to_owned()), "{said:?}");
        let said = lab.observe_all(30..=60, &bad);
        assert!(!said.iter().any(|text| text.contains(" act ")), "it is held as long as that is under way: {said:?}");
        let mut said = match end {
            "done" => lab.done(61, 1),
            "not done" => lab.not_done(61, 1, FaultCode::Failed),
            "never started" => lab.not_done(61, 1, FaultCode::NeverStarted),
            "the engine dies" => {
                let (again, mut said) = lab.restarted(lab.entries.len(), 65, rules(easy(), &policies));
                lab = again;
                said.extend(lab.done(66, 1));
                said
            }
            _ => lab.unknown(61, 1),
        };
        for second in (75..8 * 3600).step_by(15) {
            let more = lab.observe(second, &bad);
            let probed = more.contains(&"a1 probe".to_owned());
            said.extend(more);
            if said.iter().any(|text| text.contains("act exec.wipe on node/a")) {
                break;
            }
            // Each probe is as clueless as the one before; what was never started may be sent again, and fails then.
            if probed {
                said.extend(lab.unknown(second + 1, 1));
            } else if end == "never started" && lab.phase(1) == "in_flight" {
                said.extend(lab.not_done(second + 1, 1, FaultCode::Failed));
            }
        }
        assert!(said.iter().any(|text| text.contains("act exec.wipe on node/a")), "{end}: {said:#?}");
    }
}

/// The lock is asked for once more when a person says yes, long after it was asked first.
#[test]
fn lesson_23_the_lock_is_asked_for_again_before_the_act() {
    let mut settings = easy();
    settings.autonomy.insert(Class::Irreversible, Autonomy::Suggest);
    let wipe = remedy("exec.wipe", "every: \"15s\"");
    let fix = remedy("exec.restart", "every: \"15s\"").replace("series(\"bad\")", "series(\"sick\")");
    let mut lab = Lab::new(settings, &[("fix", &fix), ("wipe", &wipe)]);
    let bad = ("bad{node='a'}", 1.0);
    assert_eq!(lab.observe(15, &[bad])[0], "a1 awaiting_approval by autonomy");
    let said = lab.observe(30, &[bad, ("sick{node='a'}", 1.0)]);
    assert!(said.contains(&"a2 act exec.restart on node/a #1".to_owned()), "{said:?}");
    let yes = || Command::Approve { action: ActionId(1), plan: None };
    let said = lab.order(31, yes());
    assert!(said.len() == 1 && said[0].starts_with("order refused: approve a1: held by lock"), "{said:?}");
    lab.done(32, 2);
    lab.observe(45, &[bad]);
    let said = lab.order(46, yes());
    assert!(said.contains(&"a1 act exec.wipe on node/a #1".to_owned()), "{said:?}");
}

/// Planning is looking: the engine that planned writes the same journal as the one that did not.
#[test]
fn lesson_26_a_plan_changes_nothing() {
    let play = |plan: bool| {
        let mut lab = Lab::new(easy(), &[("fix", &remedy("exec.restart", "every: \"15s\", cooldown: \"2m\""))]);
        let mut verdicts = Vec::new();
        for second in (15..600).step_by(15) {
            if plan {
                for (verb, target) in [("exec.restart", "node/a"), ("power.sleep", "node/b"), ("exec.fly", "")] {
                    let found = lab.kernel.plan("ann", &verb.into(), &target.into(), &Args::new());
                    assert_eq!(found.reasons.len(), crate::arbiter::guards::GUARDS.len());
                    verdicts.push(found.verdict);
                    let _ = lab.kernel.plan_again(ActionId(1));
                }
                assert!(lab.kernel.poll_effect().is_none(), "a plan has an effect");
            }
            let said = lab.observe(second, &[("bad{node='a'}", 1.0)]);
            for id in said.iter().filter(|text| text.contains(" act ")).filter_map(|text| text[1..].split(' ').next()?.parse().ok()) {
                lab.done(second + 1, id);
            }
        }
        (verdicts, lab.kernel.ledger().next_action(), format!("{:?}", lab.entries))
    };
    let (verdicts, next, planned) = play(true);
    let (_, same_next, plain) = play(false);
    assert!(verdicts.contains(&"admitted") && verdicts.contains(&"denied"), "{verdicts:?}");
    assert!(next.0 > 4, "something was done meanwhile: {next}");
    assert_eq!((next, planned), (same_next, plain));
}

/// What others wrote into a label becomes no target that nobody can read, no argument without end, and no instruction.
#[test]
fn lesson_28_what_stands_in_a_label_is_data_within_limits() {
    let policy = r#"fn policy() { #{ on_alert: alerts("Disk"), autonomy: "auto", cooldown: "1s" } }
fn on_alert(alert) {
    propose(act("exec.restart", "node/" + alert.label("node"), #{ how: alert.annotation("summary") })).because("full").claim(alert.resolved().within("5m"));
}"#;
    let rlo = "nas\u{202e}elcsum";
    let long = "x".repeat(2_000);
    for (node, summary, says) in [
        ("nas\nnode/brain", "full", "U+000A"),
        (rlo, "full", "U+202E"),
        ("nas\u{1b}[2J", "full", "U+001B"),
        (long.as_str(), "full", "the target has 2005 bytes"),
        ("nas", long.as_str(), "1000"),
        ("", "full", "the target is empty"),
    ] {
        let mut lab = Lab::new(easy(), &[("fix", policy)]);
        let mut alert = alert(AlertStatus::Firing, 0);
        let labels = [("alertname", "Disk"), ("node", node)];
        alert.labels = homeostat_model::Labels::new(labels.into_iter().filter(|(_, value)| !value.is_empty()));
        alert.annotations.insert("summary".into(), summary.into());
        let delivery = AlertDelivery {
            source: AlertSource::Alertmanager,
            receiver: "r".into(),
            group_key: "g".into(),
            truncated: 0,
            alerts: vec![alert],
        };
        let said = lab.event(15, Event::Alerted(delivery));
        assert!(said.contains(&"a1 denied by lint".to_owned()), "{node:?}: {said:?}");
        assert!(lab.guard(1, "lint").contains(says), "{}", lab.guard(1, "lint"));
        assert!(lab.sent.is_empty());
    }
}

/// A cure that has to be repeated hides a cause: it is counted, and people are told once that it is locked.
#[test]
fn lesson_35_repetition_is_counted_and_told() {
    let settings = ArbiterSettings { futility_attempts_max: 3, futility_window: Span::from_hours(4), ..easy() };
    let fix = remedy("exec.restart", "cooldown: \"5m\", every: \"15s\"");
    let mut lab = Lab::new(settings, &[("fix", &fix)]);
    let mut said = Vec::new();
    for second in (15..7200).step_by(15) {
        // It comes and goes: each time it is a new wish.
        let bad = if second % 1200 < 600 { 1.0 } else { 0.0 };
        let more = lab.observe(second, &[("bad{node='a'}", bad)]);
        for id in more.iter().filter(|text| text.contains(" act ")).filter_map(|text| text[1..].split(' ').next()?.parse().ok()) {
            lab.done(second + 1, id);
        }
        said.extend(more);
    }
    let told: Vec<&String> = said.iter().filter(|text| text.contains("exec.restart on node/a does not help")).collect();
    assert_eq!((acts(&said), told.len()), (3, 1), "{said:#?}");
    let symptom = ("fix".into(), "bad{node=\"a\"}".into());
    assert_eq!(lab.kernel.ledger().attempts(&symptom).count(), 3);
    assert!(lab.kernel.ledger().attempts(&symptom).all(|then| then > at(0)));
    // After a person has unlocked it, the next lock is told again.
    lab.order(7201, Command::Unlock { policy: "fix".into(), symptom: String::new() });
    let mut again = Vec::new();
    for second in (7215..12_000).step_by(15) {
        let more = lab.observe(second, &[("bad{node='a'}", 1.0)]);
        for id in more.iter().filter(|text| text.contains(" act ")).filter_map(|text| text[1..].split(' ').next()?.parse().ok()) {
            lab.done(second + 1, id);
        }
        again.extend(more);
    }
    assert_eq!(again.iter().filter(|text| text.contains("does not help")).count(), 1, "{again:#?}");
}
