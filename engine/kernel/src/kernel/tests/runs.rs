//! Runs of playbooks: forward, back, stuck, and after a crash at every entry.

use super::lab::{Lab, easy, rules};
use crate::ledger::StepPhase;
use homeostat_model::playbook::Playbook;
use homeostat_model::{ActionId, Args, Command, EntryBody, Event, Fault, FaultCode, Outcome, Receipt, Record, RuleSet, RunEnd};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn playbook(value: serde_json::Value) -> Playbook {
    serde_json::from_value(value).unwrap()
}

/// Cordon, drain, sleep; each proves itself or is taken back.
pub(super) fn sleep() -> Playbook {
    playbook(serde_json::json!({
        "id": "node-sleep", "doc": "Puts a node to sleep gracefully.", "target_kinds": ["node"], "timeout": "10m",
        "opposite": "power.wake",
        "params": { "how": { "kind": { "text": 100 }, "default": "gently", "doc": "the way" } },
        "steps": [
            { "id": "tell", "verb": "notify.send", "args": { "title": "{target_name} goes to sleep" } },
            { "id": "cordon", "verb": "node.cordon" },
            { "id": "drain", "verb": "node.drain", "after": ["cordon"], "args": { "how": "{how}" }, "retry": { "attempts": 2, "wait": "10s" } },
            { "id": "sleep", "verb": "power.sleep", "after": ["drain", "tell"], "undo": { "by": { "verb": "power.wake" } },
              "verify": { "series": "watts{node='{target_name}'}", "relation": "below", "threshold": 5, "within": "2m" } }
        ]
    }))
}

pub(super) fn with(playbooks: Vec<Playbook>) -> RuleSet {
    RuleSet { playbooks, ..rules(easy(), &[]) }
}

pub(super) fn lab(playbooks: Vec<Playbook>) -> Lab {
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    let said = lab.event(0, Event::Loaded(Box::new(with(playbooks))));
    assert!(!said.iter().any(|text| text.contains("refused")), "{said:#?}");
    lab
}

pub(super) fn wish(verb: &str, target: &str) -> Command {
    Command::Wish { verb: verb.into(), target: target.into(), args: Args::new(), because: "a test".into() }
}

/// The far end: what it says to each verb, and what it was told.
#[derive(Clone, Default)]
pub(super) struct Far {
    /// `fails`, `hangs`, `half` (hangs, and is half done), `stays` (cannot be taken back); everything else is done.
    moods: BTreeMap<&'static str, &'static str>,
    pub(super) applied: BTreeMap<ActionId, u32>,
    pub(super) told: Vec<String>,
    reverted: BTreeSet<ActionId>,
}

impl Far {
    pub(super) fn with(moods: &[(&'static str, &'static str)]) -> Far {
        Far { moods: moods.iter().copied().collect(), ..Far::default() }
    }

    pub(super) fn answer(&mut self, record: &Record, verbs: &BTreeMap<ActionId, String>) -> Option<Event> {
        let done = |what: &str| Outcome::Done(Receipt { observed: what.into(), undo: BTreeMap::new() });
        let fault = |code, what: &str| Fault::new(code, "far", what);
        match record {
            Record::Act { action, .. } if action.verb.actuator() == "playbook" => None,
            Record::Act { action, .. } => {
                *self.applied.entry(action.id).or_default() += 1;
                self.told.push(action.verb.to_string());
                match self.moods.get(action.verb.as_str()) {
                    Some(&"fails") => Some(Event::Settled(action.id, Outcome::NotDone(fault(FaultCode::Failed, "no")))),
                    Some(&"hangs" | &"half") => None,
                    _ => Some(Event::Settled(action.id, done("done"))),
                }
            }
            Record::Probe { action } => {
                let verb = verbs.get(action).map(String::as_str);
                let outcome = match (self.applied.contains_key(action), verb.and_then(|verb| self.moods.get(verb))) {
                    (false, _) => Outcome::NotDone(fault(FaultCode::NeverStarted, "never heard of it")),
                    (true, Some(&"hangs")) => Outcome::Unknown(fault(FaultCode::TimedOut, "who knows")),
                    (true, Some(&"fails")) => Outcome::NotDone(fault(FaultCode::Failed, "no")),
                    (true, Some(&"half")) => Outcome::NotDone(fault(FaultCode::HalfDone, "half of it stays")),
                    (true, _) => done("probed"),
                };
                Some(Event::Settled(*action, outcome))
            }
            Record::Revert { action, .. } => {
                let verb = verbs.get(action).cloned().unwrap_or_default();
                self.told.push(format!("revert {verb}"));
                let outcome = match self.moods.get(verb.as_str()) {
                    Some(&"stays") => Outcome::NotDone(fault(FaultCode::Failed, "it cannot be taken back")),
                    _ => done("as before"),
                };
                self.reverted.insert(*action);
                Some(Event::Reverted(*action, outcome))
            }
            _ => None,
        }
    }
}

/// Brings what the kernel asked for to the far end, from entry `from` on, until it asks for nothing more.
pub(super) fn serve(lab: &mut Lab, far: &mut Far, second: i64, mut from: usize) {
    let mut verbs: BTreeMap<ActionId, String> = BTreeMap::new();
    for (_, body) in &lab.entries {
        if let EntryBody::Effect(Record::Act { action, .. }) = body {
            verbs.insert(action.id, action.verb.to_string());
        }
    }
    while from < lab.entries.len() {
        let (_, body) = lab.entries[from].clone();
        from += 1;
        if let EntryBody::Effect(record) = &body {
            if let Record::Act { action, .. } = record {
                verbs.insert(action.id, action.verb.to_string());
            }
            if let Some(event) = far.answer(record, &verbs) {
                lab.event(second, event);
            }
        }
    }
}

pub(super) fn live(lab: &mut Lab, far: &mut Far, seconds: std::ops::Range<i64>, watts: f64) {
    for second in seconds.step_by(15) {
        let from = lab.entries.len();
        lab.observe(second, &[("watts{node='m'}", watts), ("errors{node='m'}", 0.0)]);
        serve(lab, far, second, from);
    }
}

pub(super) fn end(lab: &Lab) -> Option<(RunEnd, String)> {
    lab.kernel.ledger().runs().next_back().and_then(|run| run.end.clone()).map(|(_, end, why)| (end, why))
}

fn steps(lab: &Lab) -> BTreeMap<String, &'static str> {
    let run = lab.kernel.ledger().runs().next_back().expect("there is a run");
    run.playbook.steps.iter().map(|step| (step.id.clone(), run.phase(step).name())).collect()
}

pub(super) fn begin(lab: &mut Lab, far: &mut Far, second: i64, verb: &str, target: &str) {
    let from = lab.entries.len();
    lab.order(second, wish(verb, target));
    serve(lab, far, second, from);
}

#[test]
fn a_run_goes_its_way_in_order_and_its_own_action_says_how_it_ended() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::default());
    live(&mut lab, &mut far, 15..60, 3.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 3.0);
    assert_eq!(far.told, ["notify.send", "node.cordon", "node.drain", "power.sleep"]);
    assert_eq!(end(&lab).unwrap().0, RunEnd::Finished);
    assert_eq!(lab.phase(1), "done");
    let explained = lab.kernel.explain(ActionId(1)).unwrap().text(|at| at.0.to_string());
    assert!(explained.contains("step drain done"), "{explained}");
    // The parameter's default reached the step.
    let drained = lab.kernel.ledger().actions().find(|state| state.proposal.verb.as_str() == "node.drain").unwrap();
    assert_eq!(drained.proposal.args["how"].as_text(), Some("gently"));
    assert_eq!(lab.kernel.ledger().illegal_moves(), 0);
}

#[test]
fn a_failed_step_takes_back_what_was_done_in_reverse_and_only_after_its_retries() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::with(&[("power.sleep", "fails")]));
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 30.0);
    assert_eq!(far.told, ["notify.send", "node.cordon", "node.drain", "power.sleep", "revert node.drain", "revert node.cordon"]);
    let (how, why) = end(&lab).unwrap();
    assert_eq!(how, RunEnd::Undone);
    assert!(why.contains("step sleep failed"), "{why}");
    assert_eq!(lab.phase(1), "not_done");

    let (mut lab, mut far) = (self::lab(vec![sleep()]), Far::with(&[("node.drain", "fails")]));
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 30.0);
    assert_eq!(far.told, ["notify.send", "node.cordon", "node.drain", "node.drain", "revert node.cordon"]);
}

#[test]
fn what_does_not_verify_is_taken_back_by_its_own_undo() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::default());
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..600, 30.0);
    let told: Vec<&str> = far.told.iter().map(String::as_str).skip(3).collect();
    assert_eq!(told, ["power.sleep", "power.wake", "revert node.drain", "revert node.cordon"]);
    assert!(end(&lab).unwrap().1.contains("not verified"), "{:?}", end(&lab));
}

#[test]
fn an_undo_that_fails_leaves_it_stuck_blocks_its_targets_only_and_a_person_releases_it() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::with(&[("power.sleep", "fails"), ("node.drain", "stays")]));
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..300, 30.0);
    assert_eq!(end(&lab).unwrap().0, RunEnd::Stuck);
    // The way back stops where it failed: what came before may rest on it.
    assert!(!far.told.contains(&"revert node.cordon".to_owned()), "{:?}", far.told);
    assert!(
        lab.entries.iter().any(|(_, body)| matches!(body, EntryBody::Effect(Record::Announce(notice)) if notice.title.contains("STUCK")))
    );

    let said = lab.order(400, wish("exec.restart", "node/m"));
    assert!(!said.iter().any(|text| text.contains(" act ")), "a stuck run blocks its target: {said:?}");
    let said = lab.order(401, wish("exec.restart", "node/other"));
    assert!(said.iter().any(|text| text.contains(" act exec.restart on node/other")), "and nothing else: {said:?}");
    lab.order(402, Command::Release { run: ActionId(1) });
    let said = lab.order(403, wish("exec.restart", "node/m"));
    assert!(said.iter().any(|text| text.contains(" act exec.restart on node/m")), "{said:?}");
}

#[test]
fn unknown_is_never_undone_as_if_it_had_not_happened() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::with(&[("node.drain", "hangs")]));
    live(&mut lab, &mut far, 15..60, 30.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    live(&mut lab, &mut far, 75..3_000, 30.0);
    assert_eq!(end(&lab).unwrap().0, RunEnd::Stuck, "{:?} {:?}", end(&lab), far.told);
    assert_eq!(far.told.iter().filter(|told| *told == "node.drain").count(), 1, "{:?}", far.told);
}

#[test]
fn a_question_holds_the_run_until_a_person_answers() {
    let ask = playbook(serde_json::json!({
        "id": "upgrade", "doc": "Upgrades.", "timeout": "2h", "steps": [
            { "id": "cordon", "verb": "node.cordon" },
            { "id": "ok", "approve": "Upgrade {target_name} now?", "after": ["cordon"] },
            { "id": "wipe", "verb": "exec.wipe", "after": ["ok"], "undo": "nothing" }
        ] }));
    for (yes, told) in [(true, vec!["node.cordon", "exec.wipe"]), (false, vec!["node.cordon", "revert node.cordon"])] {
        let (mut lab, mut far) = (lab(vec![ask.clone()]), Far::default());
        live(&mut lab, &mut far, 15..60, 30.0);
        begin(&mut lab, &mut far, 60, "playbook.upgrade", "node/m");
        live(&mut lab, &mut far, 75..1_800, 30.0);
        assert_eq!(end(&lab), None, "it waits");
        let question = lab.kernel.ledger().actions().find(|state| state.phase.name() == "awaiting_approval").expect("a question");
        assert_eq!(question.proposal.because, "Upgrade m now?");
        let (id, from) = (question.id, lab.entries.len());
        lab.order(1_800, if yes { Command::Approve { action: id, plan: None } } else { Command::Deny { action: id } });
        serve(&mut lab, &mut far, 1_800, from);
        live(&mut lab, &mut far, 1_815..1_900, 30.0);
        assert_eq!(far.told, told);
        assert_eq!(end(&lab).unwrap().0, if yes { RunEnd::Finished } else { RunEnd::Undone });
    }
}

#[test]
fn steps_fan_out_within_their_limit_and_what_is_not_needed_is_skipped() {
    let fan = playbook(serde_json::json!({
        "id": "fan", "doc": "Restarts all pods.", "steps": [
            { "id": "pods", "verb": "exec.restart", "target": "pod/{each}", "undo": "nothing", "concurrent_max": 2,
              "each": "all(\"pod{node='m'}\").map(|s| s.label(\"pod\"))" },
            { "id": "never", "verb": "exec.restart", "undo": "nothing", "when": "series(\"errors{node='m'}\").last() > 0.5" },
            { "id": "last", "verb": "notify.send", "args": { "title": "x" }, "after": ["pods", "never"], "when": "steps.pods == \"done\"" }
        ] }));
    let mut lab = lab(vec![fan]);
    lab.observe(
        15,
        &[("pod{node='m',pod='a'}", 1.0), ("pod{node='m',pod='b'}", 1.0), ("pod{node='m',pod='c'}", 1.0), ("errors{node='m'}", 0.0)],
    );
    let said = lab.order(16, wish("playbook.fan", "node/m"));
    let sent = |said: &[String]| said.iter().filter(|text| text.contains(" act exec.restart")).count();
    assert_eq!(sent(&said), 2, "two at a time: {said:?}");
    let first = lab.kernel.ledger().actions().find(|state| state.proposal.target.as_str() == "pod/a").unwrap().id;
    assert_eq!(sent(&lab.done(17, first.0)), 1);
    for target in ["pod/b", "pod/c"] {
        let id = lab.kernel.ledger().actions().find(|state| state.proposal.target.as_str() == target).unwrap().id;
        lab.done(18, id.0);
    }
    assert_eq!(steps(&lab), BTreeMap::from([("pods".to_owned(), "done"), ("never".to_owned(), "skipped"), ("last".to_owned(), "open")]));
}

#[test]
fn a_step_whose_need_cannot_be_told_fails() {
    let blind = playbook(serde_json::json!({
        "id": "blind", "doc": "x", "steps": [
            { "id": "cordon", "verb": "node.cordon" },
            { "id": "drain", "verb": "node.drain", "after": ["cordon"], "when": "series(\"gone{node='m'}\").last() > 0.5" }
        ] }));
    let (mut lab, mut far) = (lab(vec![blind]), Far::default());
    live(&mut lab, &mut far, 15..60, 1.0);
    begin(&mut lab, &mut far, 60, "playbook.blind", "node/m");
    assert_eq!(far.told, ["node.cordon", "revert node.cordon"]);
    assert!(end(&lab).unwrap().1.contains("cannot be told"), "{:?}", end(&lab));
}

#[test]
fn a_broken_steady_state_takes_the_step_back_at_the_very_reading() {
    let drill = playbook(serde_json::json!({
        "id": "drill", "doc": "x", "timeout": "30m", "steps": [
            { "id": "chaos", "verb": "node.drain", "steady": [{ "series": "errors{node='m'}", "relation": "below", "threshold": 0.1 }] }
        ] }));
    let (mut lab, mut far) = (lab(vec![drill]), Far::with(&[("node.drain", "hangs")]));
    lab.observe(15, &[("errors{node='m'}", 0.5)]);
    begin(&mut lab, &mut far, 16, "playbook.drill", "node/m");
    assert!(far.told.is_empty(), "what is not steady is not tried");
    assert_eq!(end(&lab).unwrap().0, RunEnd::Undone);

    lab.observe(300, &[("errors{node='m'}", 0.0)]);
    begin(&mut lab, &mut far, 301, "playbook.drill", "node/m");
    assert_eq!(far.told, ["node.drain"]);
    let said = lab.observe(315, &[("errors{node='m'}", 0.5)]);
    assert!(said.iter().any(|text| text.ends_with(" revert")), "{said:?}");
    let last = lab.kernel.ledger().actions().next_back().unwrap().id;
    lab.event(316, Event::Reverted(last, Outcome::Done(Receipt::default())));
    let from = lab.entries.len();
    lab.done(317, last.0);
    // It landed after that answer, so it is told again.
    serve(&mut lab, &mut far, 317, from);
    let (how, why) = end(&lab).unwrap();
    assert_eq!(how, RunEnd::Undone);
    assert!(why.contains("steady state broke"), "{why}");
}

#[test]
fn hands_off_stops_a_run_between_two_steps_and_resume_lets_it_go_on() {
    let (mut lab, mut far) = (lab(vec![sleep()]), Far::with(&[("node.cordon", "hangs")]));
    live(&mut lab, &mut far, 15..60, 3.0);
    begin(&mut lab, &mut far, 60, "playbook.node-sleep", "node/m");
    lab.order(61, Command::Pause { reason: "wait".into() });
    let cordon = lab.kernel.ledger().actions().find(|state| state.proposal.verb.as_str() == "node.cordon").unwrap().id;
    let from = lab.entries.len();
    lab.done(62, cordon.0);
    serve(&mut lab, &mut far, 62, from);
    assert!(!far.told.contains(&"node.drain".to_owned()));
    let from = lab.entries.len();
    lab.order(90, Command::Resume);
    serve(&mut lab, &mut far, 90, from);
    live(&mut lab, &mut far, 105..300, 3.0);
    assert_eq!(end(&lab).unwrap().0, RunEnd::Finished, "{:?}", far.told);
}

#[test]
fn a_run_that_takes_too_long_is_taken_back() {
    let slow = playbook(serde_json::json!({
        "id": "slow", "doc": "x", "timeout": "5m", "steps": [
            { "id": "cordon", "verb": "node.cordon" },
            { "id": "wait", "after": ["cordon"], "verify": { "series": "watts{node='m'}", "relation": "below", "threshold": 1, "within": "20m" } }
        ] }));
    let (mut lab, mut far) = (lab(vec![slow]), Far::default());
    live(&mut lab, &mut far, 15..60, 3.0);
    begin(&mut lab, &mut far, 60, "playbook.slow", "node/m");
    live(&mut lab, &mut far, 75..600, 3.0);
    assert_eq!(far.told, ["node.cordon", "revert node.cordon"]);
    assert!(end(&lab).unwrap().1.contains("not finished within"), "{:?}", end(&lab));
}

/// The engine again, with the journal cut after that many entries, and what the far end has seen by then: everything that was sent,
/// the last effect perhaps not. The second of the new start comes third.
pub(super) fn cut_at(
    whole: &Lab,
    cut: usize,
    last_was_sent: bool,
    moods: &[(&'static str, &'static str)],
    rules: RuleSet,
) -> (Lab, Far, i64) {
    let mut far = Far::with(moods);
    let mut verbs = BTreeMap::new();
    for (_, body) in &whole.entries[..cut - usize::from(!last_was_sent)] {
        if let EntryBody::Effect(record) = body {
            if let Record::Act { action, .. } = record {
                verbs.insert(action.id, action.verb.to_string());
            }
            far.answer(record, &verbs);
        }
    }
    let at = whole.entries[..cut].last().map_or(60, |(at, _)| (at.0 - super::lab::START) / 1000) + 5;
    let (mut again, _) = whole.restarted(cut, at, rules);
    serve(&mut again, &mut far, at, cut);
    (again, far, at)
}

/// The journal is cut after each entry; the engine starts again and the same far end goes on.
#[test]
fn a_run_cut_at_each_of_its_entries_ends_finished_or_undone_and_nothing_is_sent_twice() {
    for (moods, watts) in [(vec![], 3.0), (vec![("power.sleep", "fails")], 30.0), (vec![("node.drain", "hangs")], 3.0), (vec![], 30.0)] {
        let (mut whole, mut far) = (lab(vec![sleep()]), Far::with(&moods));
        live(&mut whole, &mut far, 15..60, watts);
        let first = whole.entries.len();
        begin(&mut whole, &mut far, 60, "playbook.node-sleep", "node/m");
        live(&mut whole, &mut far, 75..400, watts);
        for cut in first..=whole.entries.len() {
            // What the far end has seen by then: everything that was sent, the last effect perhaps not.
            for last_was_sent in [true, false] {
                let (mut again, mut far, at) = cut_at(&whole, cut, last_was_sent, &moods, with(vec![sleep()]));
                let from = at - at % 15 + 15;
                live(&mut again, &mut far, from..from + 3_000, watts);
                let context = format!("{moods:?}, cut after {cut} (sent: {last_was_sent}): {:?} {:?}", far.told, end(&again));
                assert!(far.applied.values().all(|count| *count == 1), "{context}");
                match again.kernel.ledger().runs().next_back() {
                    Some(run) => {
                        let (_, how, _) = run.end.as_ref().unwrap_or_else(|| panic!("it has not ended: {context}"));
                        let expected: &[RunEnd] = match (moods.is_empty(), watts > 5.0) {
                            (true, false) => &[RunEnd::Finished],
                            (true, true) => &[RunEnd::Undone],
                            (false, true) => &[RunEnd::Undone],
                            (false, false) => &[RunEnd::Stuck, RunEnd::Undone],
                        };
                        assert!(expected.contains(how), "{context}");
                        assert!(
                            !run.steps.values().any(|phase| matches!(phase, StepPhase::Open { .. })) || run.undoing.is_some(),
                            "{context}"
                        );
                    }
                    None => assert!(far.told.is_empty(), "{context}"),
                }
                assert_eq!(again.kernel.ledger().illegal_moves(), 0, "{context}");
            }
        }
    }
}

#[test]
fn every_problem_of_a_playbook_is_said_before_it_is_loaded() {
    let bad = playbook(serde_json::json!({
        "id": "Bad", "doc": "", "params": { "unused": { "kind": "bool", "doc": "x" }, "n": { "kind": { "int": [1, 3] }, "default": 7, "doc": "x" } },
        "steps": [
            { "id": "a", "verb": "node.cordn", "after": ["b"] },
            { "id": "b", "verb": "exec.reboot", "after": ["a"], "args": { "hwo": "{n}" } },
            { "id": "c", "after": ["d"], "verb": "exec.wipe", "undo": "nothing" },
            { "id": "e" },
            { "id": "f", "verb": "notify.send", "target": "{taget}", "when": "series(\"x\").lst() > 1" },
            { "id": "g", "verb": "node.cordon", "verify": { "series": "errors_total", "relation": "below", "threshold": 1, "within": "1m" } },
            { "id": "h", "verb": "playbook.other" },
            { "id": "i", "verb": "node.cordon", "when": "false" }
        ] }));
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    let said = lab.event(0, Event::Loaded(Box::new(with(vec![bad, sleep()])))).join("\n");
    for part in [
        "small letters",
        "`doc` is empty",
        "default of parameter",
        "did you mean `node.cordon`?",
        "wait for each other",
        "no argument `hwo`",
        "say `undo: nothing`",
        "there is no such step",
        "put a step with `approve` before it",
        "it would do nothing",
        "there is no parameter `taget`; did you mean `target`?",
        "there is no function `lst`",
        "counters never do",
        "a playbook cannot run playbooks",
        "parameter `unused` is never used",
        "needs the argument `title`",
        "can never be reached",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // The sound one is there all the same at the first load.
    assert_eq!(lab.kernel.playbooks().map(|checked| checked.playbook.id.as_str()).collect::<Vec<_>>(), ["node-sleep"]);
    assert_eq!(lab.kernel.playbooks().next().unwrap().spec.class, homeostat_model::Class::Disruptive, "as rough as its roughest step");
}

#[test]
fn a_question_of_a_run_is_still_open_after_a_restart_and_a_reload() {
    let ask = playbook(serde_json::json!({
        "id": "ask", "doc": "Asks.", "timeout": "2h", "steps": [
            { "id": "cordon", "verb": "node.cordon" },
            { "id": "ok", "approve": "Go on?", "after": ["cordon"] }
        ] }));
    let (mut first, mut far) = (lab(vec![ask.clone()]), Far::default());
    begin(&mut first, &mut far, 60, "playbook.ask", "node/m");
    let waiting =
        |lab: &Lab| lab.kernel.ledger().actions().filter(|s| s.phase.name() == "awaiting_approval").map(|s| s.id).collect::<Vec<_>>();
    let question = waiting(&first);
    assert_eq!(question.len(), 1);
    let (mut again, said) = first.restarted(first.entries.len(), 90, with(vec![ask.clone()]));
    assert_eq!(waiting(&again), question, "{said:?}");
    again.event(91, Event::Loaded(Box::new(with(vec![ask]))));
    assert_eq!(waiting(&again), question);
    again.order(92, Command::Approve { action: question[0], plan: None });
    assert_eq!(end(&again).unwrap().0, RunEnd::Finished);
}

#[test]
fn a_step_that_was_told_to_stop_is_not_sent_again() {
    let drill = playbook(serde_json::json!({
        "id": "drill", "doc": "x", "timeout": "30m", "steps": [
            { "id": "chaos", "verb": "node.drain", "on_failure": "continue",
              "steady": [{ "series": "errors{node='m'}", "relation": "below", "threshold": 0.1 }] }
        ] }));
    let (mut lab, mut far) = (lab(vec![drill]), Far::with(&[("node.drain", "hangs")]));
    lab.observe(15, &[("errors{node='m'}", 0.0)]);
    begin(&mut lab, &mut far, 16, "playbook.drill", "node/m");
    lab.observe(30, &[("errors{node='m'}", 0.5)]);
    let drain = lab.kernel.ledger().actions().next_back().unwrap().id;
    let said = lab.not_done(31, drain.0, FaultCode::NeverStarted);
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    // Whatever its author says of failures, what was told to stop is seen to be taken back before the run ends.
    let (how, why) = end(&lab).unwrap();
    assert_eq!(how, RunEnd::Undone);
    assert!(why.contains("steady state broke"), "{why}");
}

#[test]
fn what_still_runs_and_has_an_undo_of_its_own_lands_first_and_is_then_taken_back_by_it() {
    let drill = playbook(serde_json::json!({
        "id": "drill", "doc": "x", "timeout": "30m", "steps": [
            { "id": "over", "verb": "exec.restart", "undo": { "by": { "verb": "node.cordon" } },
              "steady": [{ "series": "errors{node='m'}", "relation": "below", "threshold": 0.1 }] }
        ] }));
    let (mut lab, mut far) = (lab(vec![drill]), Far::with(&[("exec.restart", "hangs")]));
    lab.observe(15, &[("errors{node='m'}", 0.0)]);
    begin(&mut lab, &mut far, 16, "playbook.drill", "node/m");
    let said = lab.observe(30, &[("errors{node='m'}", 0.5)]);
    assert!(!said.iter().any(|text| text.ends_with(" revert")), "its actuator cannot: {said:?}");
    let over = lab.kernel.ledger().actions().find(|state| state.proposal.verb.as_str() == "exec.restart").unwrap().id;
    let from = lab.entries.len();
    lab.done(40, over.0);
    serve(&mut lab, &mut far, 40, from);
    assert_eq!((far.told, end(&lab).unwrap().0), (vec!["exec.restart".to_owned(), "node.cordon".to_owned()], RunEnd::Undone));
}

#[test]
fn a_late_yes_does_not_send_a_step_of_a_run_that_has_failed() {
    let two = playbook(serde_json::json!({
        "id": "two", "doc": "x", "timeout": "2h", "steps": [
            { "id": "a", "verb": "node.cordon" },
            { "id": "b", "verb": "node.drain" },
            { "id": "ok", "approve": "Go on?" },
            { "id": "c", "verb": "exec.restart", "undo": "nothing", "after": ["ok"] }
        ] }));
    let (mut lab, mut far) = (lab(vec![two]), Far::with(&[("node.cordon", "hangs"), ("node.drain", "fails")]));
    begin(&mut lab, &mut far, 16, "playbook.two", "node/m");
    let waiting = lab.kernel.ledger().actions().find(|state| state.phase.name() == "awaiting_approval");
    assert!(waiting.is_none(), "nobody is asked for a run that has failed: {waiting:?}");
    assert_eq!(end(&lab), None, "what is in flight lands first");
}

#[test]
fn a_verb_that_is_gone_after_a_restart_is_not_taken_for_nothing_to_take_back() {
    let (mut whole, mut far) = (lab(vec![sleep()]), Far::with(&[("power.sleep", "hangs")]));
    live(&mut whole, &mut far, 15..60, 30.0);
    begin(&mut whole, &mut far, 60, "playbook.node-sleep", "node/m");
    let mut less = with(vec![]);
    less.actuators.retain(|spec| spec.id.as_str() != "node");
    let (mut again, _) = whole.restarted(whole.entries.len(), 90, less);
    let asleep = again.kernel.ledger().actions().find(|state| state.proposal.verb.as_str() == "power.sleep").unwrap().id;
    let from = again.entries.len();
    again.not_done(91, asleep.0, FaultCode::Failed);
    serve(&mut again, &mut far, 91, from);
    live(&mut again, &mut far, 105..600, 30.0);
    assert_eq!(end(&again).unwrap().0, RunEnd::Stuck, "{:?} {:?}", far.told, end(&again));
}

#[test]
fn what_a_person_wishes_and_cannot_have_now_is_closed_and_holds_nobody() {
    let (mut lab, mut far) = (lab(vec![]), Far::with(&[("exec.restart", "hangs")]));
    begin(&mut lab, &mut far, 16, "exec.restart", "node/m");
    begin(&mut lab, &mut far, 17, "power.wake", "node/m");
    assert_eq!(lab.phase(2), "closed", "it is held by what runs there");
    lab.done(18, 1);
    let said = lab.order(120, wish("power.sleep", "node/m"));
    assert!(said.iter().any(|text| text.contains(" act power.sleep")), "{said:?}");
}

#[test]
fn a_run_waits_while_nothing_of_what_it_rests_on_can_be_seen() {
    let policy = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", cooldown: "10h" } }
fn evaluate(s) { if s.last() > 0 { propose(act("playbook.two", "node/m", #{})).because("x").claim(s.below(1).within("50m")) } }"#;
    let two = playbook(serde_json::json!({
        "id": "two", "doc": "x", "timeout": "30m", "steps": [
            { "id": "a", "verb": "node.cordon" }, { "id": "b", "verb": "node.drain", "after": ["a"] }
        ] }));
    let mut lab = Lab::empty();
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    let all = RuleSet { playbooks: vec![two], ..rules(easy(), &[("fix", policy)]) };
    lab.event(0, Event::Loaded(Box::new(all)));
    let said = lab.observe(15, &[("bad{node='m'}", 1.0)]);
    assert!(said.iter().any(|text| text.contains(" act node.cordon")), "{said:?}");
    // The sensor is silent for ten minutes before the first step has answered.
    let said = lab.done(600, 2);
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    assert!(lab.guard(3, "freshness").contains("can be seen now"), "{}", lab.guard(3, "freshness"));
    lab.observe(615, &[("bad{node='m'}", 1.0)]);
    let said = lab.tick(640);
    assert!(said.iter().any(|text| text.contains(" act node.drain")), "{said:?}");
}
