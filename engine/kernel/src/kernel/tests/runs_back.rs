//! The way back of runs: its deadline, what was told to stop while it ran, and what was half done.

use super::lab::{Lab, START, at, easy, rules};
use super::runs::{Far, begin, cut_at, end, lab, live, playbook, serve, sleep, wish, with};
use homeostat_model::playbook::Playbook;
use homeostat_model::{ActionId, Class, Command, EntryBody, Event, FaultCode, Outcome, Receipt, Record, RuleSet, RunEnd, RunMove, Span};

/// `node-sleep` where a guard holds its `power.wake` for ever.
fn held() -> RuleSet {
    let mut settings = easy();
    settings.concurrent_max.insert(Class::Restore, 0);
    RuleSet { playbooks: vec![sleep()], ..rules(settings, &[]) }
}

fn lab_of(rules: RuleSet) -> Lab {
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    lab.event(0, Event::Loaded(Box::new(rules)));
    lab
}

/// Seconds at which the run turned back and ended.
fn turned_and_ended(lab: &Lab) -> (i64, Option<i64>) {
    let run = lab.kernel.ledger().runs().next_back().expect("there is a run");
    let second = |time: homeostat_model::Time| (time.0 - START) / 1000;
    (second(run.undoing.as_ref().expect("it is taken back").0), run.end.as_ref().map(|(at, ..)| second(*at)))
}

fn of_verb(lab: &Lab, verb: &str) -> ActionId {
    lab.kernel.ledger().actions().rev().find(|state| state.proposal.verb.as_str() == verb).unwrap_or_else(|| panic!("no {verb}")).id
}

#[test]
fn an_undo_that_a_guard_holds_for_ever_ends_stuck_at_its_deadline_and_names_step_and_guard() {
    let (mut lab, mut far) = (lab_of(held()), Far::default());
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    // It does not fall asleep and is taken back; the wake is held.
    live(&mut lab, &mut far, 75..600, 30.0);
    assert_eq!(end(&lab), None);
    live(&mut lab, &mut far, 600..1_200, 30.0);
    let (how, why) = end(&lab).expect("it has ended");
    assert_eq!((how, lab.phase(1)), (RunEnd::Stuck, "closed"), "{why}");
    for part in ["step sleep failed", "step sleep (a", "power.wake on node/m is held by budget: 0 restore", "step drain (", "step cordon ("]
    {
        assert!(why.contains(part), "{part} in {why}");
    }
    assert!(!why.contains("step tell"), "what leaves nothing is not missing: {why}");
    let (turned, ended) = turned_and_ended(&lab);
    assert!((600..=615).contains(&(ended.unwrap() - turned)), "{turned} {ended:?}");
    assert_eq!(far.told, ["notify.send", "node.cordon", "node.drain", "power.sleep"], "nothing was begun in its place");
    assert!(!lab.kernel.ledger().actions().any(|state| state.phase.name() == "deferred"), "nobody wishes it any more");

    let said = lab.order(1_201, wish("exec.restart", "node/m"));
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    let said = lab.order(1_202, wish("exec.restart", "node/other"));
    assert!(said.iter().any(|text| text.contains(" act exec.restart on node/other")), "others go on: {said:?}");
    lab.order(1_203, Command::Release { run: ActionId(1) });
    let said = lab.order(1_204, wish("exec.restart", "node/m"));
    assert!(said.iter().any(|text| text.contains(" act exec.restart on node/m")), "{said:?}");
}

#[test]
fn the_deadline_of_the_way_back_outlives_a_crash_at_each_entry() {
    let (mut whole, mut far) = (lab_of(held()), Far::default());
    live(&mut whole, &mut far, 15..60, 30.0);
    let first = whole.entries.len() + 1;
    begin(&mut whole, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut whole, &mut far, 75..1_200, 30.0);
    assert_eq!(end(&whole).unwrap().0, RunEnd::Stuck);
    for cut in first..=whole.entries.len() {
        for last_was_sent in [true, false] {
            let (mut again, mut far, at) = cut_at(&whole, cut, last_was_sent, &[], held());
            let from = at - at % 15 + 15;
            live(&mut again, &mut far, from..from + 1_500, 30.0);
            let context = format!("cut after {cut} (sent: {last_was_sent}): {:?} {:?}", far.told, end(&again));
            let Some((how, why)) = end(&again) else {
                assert!(again.kernel.ledger().runs().next().is_none(), "{context}");
                continue;
            };
            assert_eq!(how, RunEnd::Stuck, "{context}");
            assert!(why.contains("power.wake on node/m is held by budget"), "{context}");
            let (turned, ended) = turned_and_ended(&again);
            assert!((600..=615).contains(&(ended.unwrap() - turned)), "{turned} {ended:?}: {context}");
            let opened: Vec<_> = again.kernel.ledger().actions().filter(|state| state.phase.is_open()).map(|state| state.id).collect();
            assert!(opened.is_empty(), "{opened:?}: {context}");
            assert!(far.applied.values().all(|count| *count == 1), "{context}");
            assert_eq!(again.kernel.ledger().illegal_moves(), 0, "{context}");
        }
    }
}

#[test]
fn a_deadline_that_passed_while_the_engine_was_down_ends_the_way_back_without_another_try() {
    let (mut whole, mut far) = (lab_of(held()), Far::default());
    live(&mut whole, &mut far, 15..60, 30.0);
    begin(&mut whole, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut whole, &mut far, 75..300, 30.0);
    assert_eq!(end(&whole), None);
    // Nothing holds the wake any more, but its time is over.
    let (again, said) = whole.restarted(whole.entries.len(), 5_000, with(vec![sleep()]));
    let (how, why) = end(&again).expect("it has ended");
    assert_eq!(how, RunEnd::Stuck);
    assert!(why.contains("step sleep (") && why.contains("not within 10m"), "{why}");
    assert!(!said.iter().any(|text| text.contains(" act power.wake") || text.ends_with(" revert")), "{said:?}");
}

#[test]
fn what_is_under_way_at_the_deadline_lands_and_nothing_more_is_begun() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::with(&[("power.wake", "hangs")]));
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..900, 30.0);
    let (turned, ended) = turned_and_ended(&lab);
    assert!(ended.is_none() && turned + 600 < 900, "{turned} {ended:?}");
    let (wake, from) = (of_verb(&lab, "power.wake"), lab.entries.len());
    lab.done(900, wake.0);
    serve(&mut lab, &mut far, 900, from);
    let (how, why) = end(&lab).expect("it has ended");
    assert_eq!(how, RunEnd::Stuck);
    assert!(why.contains("step drain (") && why.contains("not within 10m: not begun") && !why.contains("step sleep ("), "{why}");
    assert!(!far.told.iter().any(|told| told.starts_with("revert")), "{:?}", far.told);
}

#[test]
fn hands_off_does_not_use_up_the_time_for_the_way_back() {
    let (mut lab, mut far) = (lab_of(held()), Far::default());
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 30.0);
    lab.order(300, Command::Pause { reason: "wait".into() });
    live(&mut lab, &mut far, 315..2_100, 30.0);
    lab.order(2_100, Command::Resume);
    assert_eq!(end(&lab), None);
    // The same from the journal alone.
    let (mut again, _) = lab.restarted(lab.entries.len(), 2_105, held());
    for lab in [&mut lab, &mut again] {
        live(lab, &mut far, 2_115..3_000, 30.0);
        let (turned, ended) = turned_and_ended(lab);
        assert!((600..=615).contains(&(ended.unwrap() - turned - 1_800)), "{turned} {ended:?}");
        assert_eq!(end(lab).unwrap().0, RunEnd::Stuck);
    }
}

/// A drain that is told to stop where the errors rise.
fn drill() -> Playbook {
    playbook(serde_json::json!({
        "id": "drill", "doc": "x", "timeout": "30m", "steps": [
            { "id": "chaos", "verb": "node.drain", "steady": [{ "series": "errors{node='m'}", "relation": "below", "threshold": 0.1 }] }
        ] }))
}

/// The drill after its steady state broke and the actuator said that it is taken back, while the drain has not answered.
fn told_to_stop() -> (Lab, Far, ActionId) {
    let (mut lab, mut far) = (lab(vec![drill()]), Far::with(&[("node.drain", "hangs")]));
    lab.observe(15, &[("errors{node='m'}", 0.0)]);
    begin(&mut lab, &mut far, 16, "playbook.drill", "node/m");
    let said = lab.observe(30, &[("errors{node='m'}", 0.5)]);
    assert!(said.iter().any(|text| text.ends_with(" revert")), "{said:?}");
    let drain = of_verb(&lab, "node.drain");
    lab.event(31, Event::Reverted(drain, Outcome::Done(Receipt::default())));
    assert_eq!(end(&lab), None, "what is in flight lands first");
    (lab, far, drain)
}

fn is_revert(body: &EntryBody) -> bool {
    matches!(body, EntryBody::Effect(Record::Revert { .. }))
}

#[test]
fn a_revert_answered_before_its_action_landed_is_not_the_last_word() {
    let (mut whole, mut far, drain) = told_to_stop();
    let undo = [("cordoned_by".to_owned(), "j1-a2".into())].into();
    let from = whole.entries.len();
    whole.event(40, Event::Settled(drain, Outcome::Done(Receipt { observed: "drained after all".into(), undo })));
    // It is there again: it is told again, now with what the actuator needs for it.
    let again = whole.entries[from..].iter().find_map(|(_, body)| match body {
        EntryBody::Effect(Record::Revert { receipt, .. }) => Some(receipt.clone()),
        _ => None,
    });
    assert_eq!(again.expect("told again").undo["cordoned_by"].as_text(), Some("j1-a2"));
    assert_eq!(end(&whole), None, "nobody has said yet that it is taken back");
    serve(&mut whole, &mut far, 41, from);
    assert_eq!(end(&whole).unwrap().0, RunEnd::Undone);

    // Wherever the engine stops, something is taken back after the action has landed.
    for cut in 4..=whole.entries.len() {
        let (mut again, mut far, second) = cut_at(&whole, cut, true, &[], with(vec![drill()]));
        let from = second - second % 15 + 15;
        live(&mut again, &mut far, from..from + 600, 30.0);
        let landed = again.entries.iter().position(|(_, body)| matches!(body, EntryBody::Event(Event::Settled(_, Outcome::Done(_)))));
        let Some((how, _)) = end(&again) else { continue };
        let was_told = again.entries.iter().any(|(_, body)| is_revert(body));
        let told_after = landed.is_some_and(|landed| again.entries[landed..].iter().any(|(_, body)| is_revert(body)));
        assert_eq!((how == RunEnd::Undone, was_told), (told_after, told_after), "cut after {cut}: {:?}", end(&again));
        assert_eq!(again.kernel.ledger().illegal_moves(), 0);
    }
}

#[test]
fn what_was_told_to_stop_and_is_surely_not_done_needs_no_more_and_what_nobody_can_tell_is_stuck() {
    let (mut lab, _, drain) = told_to_stop();
    let said = lab.not_done(40, drain.0, FaultCode::Conflict);
    assert!(!said.iter().any(|text| text.ends_with(" revert")), "{said:?}");
    assert_eq!(end(&lab).unwrap().0, RunEnd::Undone);

    let (mut lab, mut far, _) = told_to_stop();
    live(&mut lab, &mut far, 45..3_000, 30.0);
    let (how, why) = end(&lab).expect("it has ended");
    assert_eq!(how, RunEnd::Stuck);
    assert!(why.contains("step chaos (") && why.contains("nobody can tell"), "{why}");
}

#[test]
fn what_a_lost_action_left_half_done_is_taken_back_with_the_run() {
    let moods = [("node.drain", "half")];
    let (mut whole, mut far) = (lab(vec![sleep()]), Far::with(&moods));
    live(&mut whole, &mut far, 15..60, 30.0);
    let first = whole.entries.len() + 1;
    begin(&mut whole, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut whole, &mut far, 75..400, 30.0);
    let all = ["notify.send", "node.cordon", "node.drain", "node.drain", "revert node.drain", "revert node.drain", "revert node.cordon"];
    assert_eq!(far.told, all);
    assert_eq!(end(&whole).unwrap().0, RunEnd::Undone);
    for cut in first..=whole.entries.len() {
        let (mut again, mut far, second) = cut_at(&whole, cut, true, &moods, with(vec![sleep()]));
        let from = second - second % 15 + 15;
        live(&mut again, &mut far, from..from + 900, 30.0);
        let Some((how, why)) = end(&again) else { continue };
        assert_eq!(how, RunEnd::Undone, "cut after {cut}: {why}");
        let count = |what: &str| far.told.iter().filter(|told| *told == what).count();
        assert!(count("revert node.drain") >= count("node.drain"), "cut after {cut}: {:?}", far.told);
    }
}

#[test]
fn the_way_back_is_due_one_timeout_after_it_began() {
    let (mut lab, mut far) = (lab_of(held()), Far::default());
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 30.0);
    let run = lab.kernel.ledger().runs().next_back().unwrap();
    let (began, _) = run.undoing.clone().unwrap();
    assert_eq!(run.undo_by, Some(began + Span::from_mins(10)));
    assert!(began > at(60));
    let turned = lab.entries.iter().find(|(_, body)| matches!(body, EntryBody::Effect(Record::Run { step: RunMove::Undoing { .. }, .. })));
    assert_eq!(turned.unwrap().0, began, "as the journal has it");
}
