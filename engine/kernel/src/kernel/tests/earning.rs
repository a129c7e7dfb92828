//! What policies earn, as the kernel's dialogue shows it: where they begin, what a person refuses for good, what experience chooses, and
//! that a restart knows all of it. The numbers themselves are tried in `score/`, the whole loop against a known truth in `sim/src/truth/`.

use super::lab::{Lab, at, easy, remedy, rules};
use crate::score::ladder::Standing;
use homeostat_model::{ActionId, ArbiterSettings, Autonomy, Class, Command, EarnedSettings, Finding, LadderKey, Record, Span};

const BAD: &[(&str, f64)] = &[("bad{node='a'}", 1.0)];
const GOOD: &[(&str, f64)] = &[("bad{node='a'}", 0.0)];

fn earning() -> ArbiterSettings {
    ArbiterSettings { earned: EarnedSettings::default(), ..easy() }
}

fn key() -> LadderKey {
    LadderKey { policy: "fix".into(), class: Class::Reversible, target_class: "node".into() }
}

fn standing(lab: &Lab) -> Standing {
    lab.kernel.ledger().trust().standing(&key()).cloned().expect("it stands somewhere")
}

/// So long good, then bad until something is done, then good again at once, and so on; gives what was said.
fn episode(lab: &mut Lab, from: i64, approve: bool) -> Vec<String> {
    let mut said = lab.observe_all(from..=from + 3_600, GOOD);
    let mut moment = from + 3_615;
    said.extend(lab.observe(moment, BAD));
    let id = lab.kernel.ledger().next_action().0 - 1;
    if approve {
        said.extend(lab.order(moment + 1, Command::Approve { action: ActionId(id), plan: None }));
    }
    said.extend(lab.done(moment + 2, id));
    for _ in 0..24 {
        moment += 15;
        said.extend(lab.observe(moment, GOOD));
    }
    said
}

#[test]
fn a_policy_begins_at_the_start_and_one_entry_says_so() {
    let mut lab = Lab::new(earning(), &[("fix", &remedy("exec.restart", "cooldown: \"1m\""))]);
    let said = lab.observe(15, BAD);
    assert_eq!(said[0], "autonomy fix (reversible on node) suggest to suggest: it begins at suggest; its author allows auto");
    assert_eq!(said[1], "a1 awaiting_approval by autonomy");
    assert!(
        lab.guard(1, "autonomy").contains("of `auto`, what was earned (nothing is known of it yet) allows `suggest`"),
        "{}",
        lab.guard(1, "autonomy")
    );
    lab.observe(30, GOOD);
    assert!(!lab.observe(45, BAD).iter().any(|text| text.starts_with("autonomy")), "once is enough");
    assert_eq!(standing(&lab).level, Autonomy::Suggest);
}

#[test]
fn telling_and_bringing_back_need_not_be_earned() {
    let mut lab = Lab::new(earning(), &[("fix", &remedy("power.wake", ""))]);
    assert_eq!(lab.observe(15, BAD), ["a1 admitted", "a1 act power.wake on node/a #1"]);
}

#[test]
fn never_is_for_this_target_until_a_person_unlocks_it() {
    let mut lab = Lab::new(earning(), &[("fix", &remedy("exec.restart", "cooldown: \"1m\", every: \"15s\""))]);
    lab.observe(15, &[BAD[0], ("bad{node='b'}", 1.0)]);
    let said = lab.order(20, Command::Never { action: ActionId(1) });
    assert_eq!(said, ["a1 closed Never: refused for good by unix:0"]);
    assert_eq!(lab.phase(2), "awaiting_approval", "the other target's question stays");
    let said = lab.observe_all(30..=7_200, BAD);
    assert_eq!(said.iter().filter(|text| text.contains("node/a")).count(), 0, "{said:?}");
    assert!(lab.guard(3, "cooldown").contains("refused for good by unix:0"), "{}", lab.guard(3, "cooldown"));
    // A restart does not forget it.
    let rules = rules(earning(), &[("fix", &remedy("exec.restart", "cooldown: \"1m\", every: \"15s\""))]);
    let (mut lab, _) = lab.restarted(lab.entries.len(), 7_205, rules);
    let said = lab.observe_all(7_215..=7_500, BAD);
    assert!(!said.iter().any(|text| text.contains("awaiting")), "{said:?}");
    lab.order(7_501, Command::Unlock { policy: "fix".into(), symptom: String::new() });
    assert!(lab.observe_all(7_515..=7_600, BAD).iter().any(|text| text.contains("awaiting_approval")));
    // The word is for the waiting action only, and once.
    assert!(lab.order(7_601, Command::Never { action: ActionId(1) })[0].starts_with("order refused"));
}

#[test]
fn scores_and_standings_are_the_same_after_a_restart() {
    let fix = remedy("exec.restart", "cooldown: \"1m\", every: \"15s\"");
    let mut lab = Lab::new(earning(), &[("fix", &fix)]);
    for round in 0..6 {
        let said = episode(&mut lab, round * 6 * 3_600, true);
        assert_eq!(said.iter().filter(|text| text.contains(" scored ")).count(), 1, "{said:#?}");
    }
    let trust = lab.kernel.ledger().trust();
    let scores: Vec<_> = trust.scores().cloned().collect();
    assert_eq!(scores.len(), 6);
    // Every one came true at once; whether it would have anyway was not known at first, and is by and by.
    assert!(scores.iter().all(|line| line.score.finding != Finding::Harmed && line.score.effect.is_some()), "{scores:#?}");
    let known = (scores, standing(&lab), trust.recovery(&"fix".into()).clone(), lab.kernel.ledger().books().clone());
    let (again, _) = lab.restarted(lab.entries.len(), 200_000, rules(earning(), &[("fix", &fix)]));
    let trust = again.kernel.ledger().trust();
    let found = (
        trust.scores().cloned().collect::<Vec<_>>(),
        standing(&again),
        trust.recovery(&"fix".into()).clone(),
        again.kernel.ledger().books().clone(),
    );
    assert_eq!(serde_json::to_string(&known.0).expect("plain data"), serde_json::to_string(&found.0).expect("plain data"));
    assert_eq!((known.1, known.3), (found.1, found.3));
    assert_eq!(serde_json::to_string(&known.2).expect("plain data"), serde_json::to_string(&found.2).expect("plain data"));
}

#[test]
fn another_text_of_the_policy_forgets_what_was_earned() {
    let fix = remedy("exec.restart", "cooldown: \"1m\", every: \"15s\"");
    let mut lab = Lab::new(earning(), &[("fix", &fix)]);
    episode(&mut lab, 0, true);
    assert!(lab.kernel.ledger().trust().beliefs().next().is_some());
    lab.event(9_000, homeostat_model::Event::Loaded(Box::new(rules(earning(), &[("fix", &format!("{fix}\n"))]))));
    assert!(lab.kernel.ledger().trust().beliefs().next().is_none(), "another text is another policy");
    // The same text again forgets nothing.
    episode(&mut lab, 20_000, true);
    lab.event(30_000, homeostat_model::Event::Loaded(Box::new(rules(earning(), &[("fix", &format!("{fix}\n"))]))));
    assert!(lab.kernel.ledger().trust().beliefs().next().is_some());
}

/// A policy with two ways to mend the same.
fn two_ways(second: &str) -> String {
    format!(
        r#"fn policy() {{ #{{ for_each: series("bad"), autonomy: "auto", cooldown: "1m", every: "15s" }} }}
fn evaluate(s) {{
    if s.last() > 0 {{
        propose(act("exec.restart", "node/" + s.node, #{{}}).or_rather(act("{second}", "node/" + s.node, #{{}})))
            .because("it is bad")
            .claim(s.below(1).within("5m"))
    }}
}}"#
    )
}

#[test]
fn experience_chooses_among_alternatives_and_asks_the_same_way_until_something_was_tried() {
    let mut lab = Lab::new(easy(), &[("fix", &two_ways("node.cordon"))]);
    let mut verbs = std::collections::BTreeSet::new();
    for round in 0..12 {
        let begin = round * 7_200 + 15;
        let said = lab.observe(begin, BAD);
        let act = said.iter().find(|text| text.contains(" act ")).unwrap_or_else(|| panic!("{said:?}")).clone();
        verbs.insert(act.split(' ').nth(2).expect("a verb").to_owned());
        let id = lab.kernel.ledger().next_action().0 - 1;
        lab.done(begin + 1, id);
        lab.observe_all(begin + 15..=begin + 330, GOOD);
    }
    assert_eq!(verbs.len(), 2, "with nothing known both are tried: {verbs:?}");
    // While nothing was tried, the plan that a person is asked about stays what it was.
    let mut settings = easy();
    settings.autonomy.insert(Class::Reversible, Autonomy::Suggest);
    let mut lab = Lab::new(settings, &[("fix", &two_ways("node.cordon"))]);
    lab.observe(15, BAD);
    let said = lab.observe_all(30..=1_800, BAD);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_cannot_be_taken_back_is_never_chosen_by_chance() {
    let mut lab = Lab::new(easy(), &[("fix", &two_ways("exec.reboot"))]);
    for round in 0..8 {
        let begin = round * 7_200 + 15;
        let said = lab.observe(begin, BAD);
        assert!(said.iter().any(|text| text.contains("act exec.restart")), "the author's order holds: {said:?}");
        let id = lab.kernel.ledger().next_action().0 - 1;
        lab.done(begin + 1, id);
        lab.observe_all(begin + 15..=begin + 330, GOOD);
    }
}

#[test]
fn a_veto_of_which_nothing_is_known_waits_as_set_and_silence_is_the_yes() {
    let mut settings = easy();
    settings.autonomy.insert(Class::Reversible, Autonomy::Veto);
    let mut lab = Lab::new(settings, &[("fix", &remedy("exec.restart", "cooldown: \"1m\", every: \"15s\""))]);
    lab.observe(15, BAD);
    let by = |lab: &Lab, id: u64| match lab.kernel.ledger().action(ActionId(id)).expect("known").phase {
        crate::ledger::Phase::Awaiting { by } => by,
        phase => panic!("{phase:?}"),
    };
    assert_eq!(by(&lab, 1), at(15) + Span::from_mins(5), "nothing is known: as the settings say");
    lab.observe_all(30..=330, BAD);
    assert_eq!(lab.phase(1), "in_flight", "nobody stopped it in time");
}

#[test]
fn a_policy_that_owes_a_drill_is_asked_about() {
    let fix = remedy(
        "exec.restart",
        r#"cooldown: "1m", every: "15s", drill: #{ fault: act("exec.reboot", "node/a", #{}), within: "10m", every: "30d" }"#,
    );
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    assert_eq!(lab.observe(15, BAD)[0], "a1 awaiting_approval by autonomy");
    assert!(lab.guard(1, "autonomy").contains("suggest"), "{}", lab.guard(1, "autonomy"));
    lab.observe_all(30..=60, GOOD);
    // The drill: a person orders it, the fault is made, the policy sees it, is allowed by a person, and is right.
    let said = lab.order(61, Command::Drill { policy: "fix".into() });
    assert!(said.contains(&"a2 act exec.reboot on node/a #1".to_owned()), "{said:?}");
    // The experiment lasts: it is under way while the policy answers, and must not stand in its way.
    assert!(lab.order(63, Command::Drill { policy: "fix".into() })[0].contains("is under way"));
    lab.observe_all(75..=195, BAD);
    let answer = lab.kernel.ledger().next_action().0 - 1;
    let said = lab.order(196, Command::Approve { action: ActionId(answer), plan: None });
    assert!(said.iter().any(|text| text.contains("act exec.restart")), "{said:?}");
    lab.done(197, answer);
    let said = lab.observe(210, GOOD);
    assert!(said.iter().any(|text| text.starts_with("drilled fix Some(true): seen, answered by")), "{said:?}");
    // From now on it may do what its author allows.
    let said = lab.observe_all(300..=360, BAD);
    assert!(said.iter().any(|text| text.contains("act exec.restart")), "{said:?}");
    assert!(lab.order(400, Command::Drill { policy: "fxi".into() })[0].contains("there is no policy `fxi` (did you mean `fix`?)"));
}

#[test]
fn a_drill_that_nobody_answers_fails_aloud() {
    let fix = remedy("exec.restart", r#"every: "15s", drill: #{ fault: act("exec.reboot", "node/a", #{}), within: "10m", every: "30d" }"#);
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    lab.observe(15, GOOD);
    lab.order(20, Command::Drill { policy: "fix".into() });
    lab.done(21, 1);
    let said = lab.observe_all(30..=700, GOOD);
    assert!(said.contains(&"drilled fix Some(false): it did not see the fault: nothing was wished".to_owned()), "{said:?}");
    assert!(said.contains(&"announce the drill of fix failed".to_owned()), "{said:?}");
    assert!(lab.entries.iter().any(|(_, body)| matches!(body, homeostat_model::EntryBody::Effect(Record::Drilled(_)))));
}

#[test]
fn an_alert_that_ends_by_itself_went_by_itself() {
    let mend = r#"fn policy() { #{ on_alert: alerts("{severity='critical'}"), autonomy: "suggest", cooldown: "1m" } }
fn on_alert(a) { if a.status == "firing" { propose(act("exec.restart", "node/a", #{})).because("it is on").claim(a.resolved().within("10m")) } }"#;
    let mut lab = Lab::new(easy(), &[("mend", mend)]);
    let said = lab.alert(10, homeostat_model::AlertStatus::Firing, 5);
    assert!(said.iter().any(|text| text.contains("awaiting_approval")), "{said:?}");
    lab.alert(400, homeostat_model::AlertStatus::Resolved, 5);
    let recovery = lab.kernel.ledger().trust().recovery(&"mend".into());
    assert_eq!((recovery.healed(), recovery.episodes().len()), (1, 1), "nobody did anything, and it went");
}

#[test]
fn a_score_that_was_due_while_the_engine_was_down_waits_for_the_rules() {
    let fix = remedy("exec.restart", "cooldown: \"1m\"");
    let mut lab = Lab::new(easy(), &[("fix", &fix)]);
    lab.observe_all(15..=3_600, GOOD);
    lab.observe(3_615, BAD);
    lab.done(3_616, 1);
    lab.observe(3_630, GOOD);
    // Due at 3,915; the engine is away from 3,640 to 5,000, and knows nothing of any settings when it starts.
    let (mut lab, said) = lab.restarted(lab.entries.len(), 5_000, rules(easy(), &[("fix", &fix)]));
    let loaded = said.iter().position(|text| text.starts_with("loaded")).expect("the rules are loaded");
    assert!(!said[..loaded].iter().any(|text| text.contains(" scored ")), "{said:?}");
    let said = lab.tick(5_061);
    assert!(said.iter().any(|text| text.starts_with("a1 scored")), "{said:?}");
}

#[test]
fn a_message_that_was_delivered_passes_no_drill() {
    let tell = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", every: "15s", drill: #{ fault: act("exec.reboot", "node/a", #{}), within: "10m" } } }
fn evaluate(s) { if s.last() > 0 { propose(notify("bad", "it is bad")).because("it is bad") } }"#;
    let mut lab = Lab::new(easy(), &[("tell", tell)]);
    lab.observe(15, GOOD);
    lab.order(20, Command::Drill { policy: "tell".into() });
    lab.done(21, 1);
    lab.observe(30, BAD);
    let told = lab.kernel.ledger().next_action().0 - 1;
    let said = lab.done(31, told);
    assert!(!said.iter().any(|text| text.starts_with("drilled")), "{said:?}");
    let said = lab.observe_all(45..=700, BAD);
    assert!(said.iter().any(|text| text.starts_with("drilled tell Some(false)")), "{said:?}");
}

#[test]
fn a_word_for_good_outlives_what_is_said_of_another_plan() {
    let two = r#"fn policy() { #{ for_each: series("bad"), autonomy: "suggest", cooldown: "1m", every: "15s" } }
fn evaluate(s) { if s.last() > 0 { for how in ["a", "b"] { propose(act("exec.restart", "node/" + s.node, #{ how: how })).because("it is bad").claim(s.below(1).within("5m")) } } }"#;
    let mut lab = Lab::new(earning(), &[("fix", two)]);
    lab.observe(15, BAD);
    lab.order(20, Command::Never { action: ActionId(1) });
    lab.order(21, Command::Deny { action: ActionId(2) });
    let said = lab.observe_all(30..=7_200, BAD);
    assert!(!said.iter().any(|text| text.contains("awaiting_approval")), "{said:?}");
}
