//! Crashes: the journal is cut after every entry, the kernel starts again, and the same actuator goes on.
//!
//! The promise: no action is ever sent twice unless the actuator itself said that nothing was started, and every action that was
//! let through comes to an end.

use super::lab::{Lab, at, easy, remedy, rules};
use homeostat_model::{ActionId, Command, EntryBody, Event, Fault, FaultCode, Outcome, Receipt, Record, RuleSet, Span};
use std::collections::{BTreeMap, BTreeSet};

fn policies() -> RuleSet {
    let tell = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", cooldown: "2m" } }
fn evaluate(s) { if s.last() > 0 { propose(notify("bad " + s.node)).because("x") } }"#;
    let mut settings = easy();
    settings.approval_ttl = Span::from_mins(10);
    settings.autonomy.insert(homeostat_model::Class::Disruptive, homeostat_model::Autonomy::Suggest);
    rules(
        settings,
        &[
            ("fix", &remedy("exec.restart", "cooldown: \"1m\"")),
            ("reboot", &remedy("exec.reboot", "cooldown: \"5m\"")),
            ("tell", tell),
            ("wake", &remedy("power.wake", "cooldown: \"3m\"")),
        ],
    )
}

/// An actuator that outlives the kernel: it remembers what it was given, and answers differently by number.
#[derive(Clone, Default)]
struct Fake {
    given: BTreeSet<ActionId>,
    sends: BTreeMap<ActionId, u32>,
}

impl Fake {
    fn apply(&mut self, id: ActionId) -> Option<Outcome> {
        *self.sends.entry(id).or_default() += 1;
        self.given.insert(id);
        let done = Outcome::Done(Receipt { observed: "seen".into(), undo: BTreeMap::new() });
        match id.0 % 4 {
            0 => None,
            1 => Some(Outcome::Unknown(Fault::new(FaultCode::TimedOut, "apply", "no answer"))),
            2 => Some(Outcome::NotDone(Fault::new(FaultCode::Failed, "apply", "exit status 1"))),
            _ => Some(done),
        }
    }

    fn probe(&self, id: ActionId) -> Outcome {
        if self.given.contains(&id) {
            Outcome::Done(Receipt { observed: "probed".into(), undo: BTreeMap::new() })
        } else {
            Outcome::NotDone(Fault::new(FaultCode::NeverStarted, "probe", "no such action"))
        }
    }
}

/// Brings what the kernel asked for to the actuator until it asks for nothing more. Reads the lab's entries from `from` on.
fn serve(lab: &mut Lab, fake: &mut Fake, second: i64, mut from: usize) {
    while from < lab.entries.len() {
        let (_, body) = &lab.entries[from];
        from += 1;
        let answer = match body {
            EntryBody::Effect(Record::Act { action, .. }) => fake.apply(action.id).map(|outcome| (action.id, outcome)),
            EntryBody::Effect(Record::Probe { action }) => Some((*action, fake.probe(*action))),
            _ => None,
        };
        if let Some((id, outcome)) = answer {
            lab.event(second, Event::Settled(id, outcome));
        }
    }
}

fn live(lab: &mut Lab, fake: &mut Fake, seconds: std::ops::Range<i64>) {
    for second in seconds.step_by(15) {
        let bad = f64::from(u8::from(second % 240 < 150));
        let from = lab.entries.len();
        lab.observe(second, &[("bad{node='a'}", bad), ("bad{node='b'}", 1.0 - bad)]);
        serve(lab, fake, second, from);
        let waiting = lab.kernel.ledger().actions().find(|state| state.phase.name() == "awaiting_approval").map(|state| state.id);
        if let Some(id) = waiting.filter(|id| id.0 % 3 != 0) {
            let from = lab.entries.len();
            lab.order(second, Command::Approve { action: id, plan: None });
            serve(lab, fake, second, from);
        }
    }
}

/// Ends the symptoms and lets time pass until every appointment is over.
fn settle_down(lab: &mut Lab, fake: &mut Fake, from_second: i64) {
    for second in (from_second..from_second + 1500).step_by(30) {
        let from = lab.entries.len();
        lab.observe(second, &[("bad{node='a'}", 0.0), ("bad{node='b'}", 0.0)]);
        serve(lab, fake, second, from);
    }
}

fn first_run(until: i64) -> (Lab, Fake) {
    let (mut lab, mut fake) = (Lab::empty(), Fake::default());
    lab.event(0, Event::Started { generation: 1, build: "test".into(), seed: 1 });
    lab.event(0, Event::Loaded(Box::new(policies())));
    live(&mut lab, &mut fake, 15..until);
    (lab, fake)
}

/// What the actuator had really been given when the journal ended after `entries`: `Act` is written before it is sent, so the last
/// one may or may not have arrived.
fn given(lab: &Lab, entries: usize, last_arrived: bool) -> Fake {
    let mut fake = Fake::default();
    let acts: Vec<ActionId> = lab.entries[..entries]
        .iter()
        .filter_map(|(_, body)| match body {
            EntryBody::Effect(Record::Act { action, .. }) => Some(action.id),
            _ => None,
        })
        .collect();
    let ends_with_act = matches!(lab.entries[..entries].last(), Some((_, EntryBody::Effect(Record::Act { .. }))));
    let arrived = if ends_with_act && !last_arrived { acts.len() - 1 } else { acts.len() };
    for id in &acts[..arrived] {
        *fake.sends.entry(*id).or_default() += 1;
        fake.given.insert(*id);
    }
    fake
}

#[test]
fn a_crash_after_any_entry_neither_sends_twice_nor_leaves_anything_open() {
    let (lab, _) = first_run(600);
    assert!(lab.entries.len() > 60, "enough happened: {}", lab.entries.len());
    let names: BTreeSet<&str> = lab.kernel.ledger().actions().map(|state| state.phase.name()).collect();
    assert!(names.len() >= 3, "in different ways: {names:?}");
    for cut in 2..=lab.entries.len() {
        for last_arrived in [false, true] {
            let mut fake = given(&lab, cut, last_arrived);
            let second = (lab.entries[cut - 1].0.millis() - at(0).millis()) / 1000 + 20;
            let (mut again, _) = lab.restarted(cut, second, policies());
            let from = cut;
            serve(&mut again, &mut fake, second, from);
            settle_down(&mut again, &mut fake, second + 10);
            let twice: Vec<_> = fake.sends.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "cut after {cut} ({:?}): sent more than once: {twice:?}", lab.entries[cut - 1].1);
            let open: Vec<_> =
                again.kernel.ledger().actions().filter(|s| s.phase.is_open() || s.phase.is_running()).map(|s| (s.id, s.phase)).collect();
            assert!(open.is_empty(), "cut after {cut} ({:?}): still open: {open:?}", lab.entries[cut - 1].1);
            assert_eq!(again.kernel.ledger().illegal_moves(), 0, "cut after {cut}");
        }
    }
}

#[test]
fn the_ledger_read_back_is_the_ledger_that_lived() {
    let (lab, _) = first_run(600);
    let mut read = crate::Ledger::default();
    for (at, body) in &lab.entries {
        match body {
            EntryBody::Event(event) => read.apply_event(*at, event),
            EntryBody::Effect(record) => read.apply_record(*at, record),
        }
    }
    let states = |ledger: &crate::Ledger| serde_json::to_string(&ledger.actions().collect::<Vec<_>>()).expect("states are serializable");
    assert_eq!(states(&read), states(lab.kernel.ledger()));
    assert_eq!((read.next_action(), read.illegal_moves()), (lab.kernel.ledger().next_action(), 0));
}

#[test]
fn what_was_under_way_is_probed_after_a_start_and_not_sent() {
    let mut lab = Lab::new(easy(), &[("fix", &remedy("exec.restart", "cooldown: \"1h\""))]);
    lab.observe(15, &[("bad{node='a'}", 1.0)]);
    let (mut lab, said) = lab.restarted(lab.entries.len(), 20, rules(easy(), &[("fix", &remedy("exec.restart", "cooldown: \"1h\""))]));
    assert!(said.contains(&"a1 probe".to_owned()) && !said.iter().any(|text| text.contains(" act ")), "{said:?}");
    // Nothing was started, and the lease still holds: once more.
    assert_eq!(lab.not_done(25, 1, FaultCode::NeverStarted), ["a1 admitted", "a1 act exec.restart on node/a #2"]);
}

#[test]
fn a_question_stays_open_over_a_restart_and_expires_in_its_time() {
    let mut settings = easy();
    settings.autonomy.insert(homeostat_model::Class::Reversible, homeostat_model::Autonomy::Suggest);
    let fix = remedy("exec.restart", "cooldown: \"1h\"");
    let mut lab = Lab::new(settings.clone(), &[("fix", &fix)]);
    lab.observe(15, &[("bad{node='a'}", 1.0)]);
    let (mut lab, said) = lab.restarted(lab.entries.len(), 30, rules(settings, &[("fix", &fix)]));
    // The engine may have stopped before anybody heard the question.
    assert_eq!(said.iter().filter(|text| text.starts_with("announce a1")).count(), 1, "{said:?}");
    assert!(!said.iter().any(|text| text.contains("awaiting_approval")), "it is the same question, with the same end: {said:?}");
    assert_eq!(lab.phase(1), "awaiting_approval");
    let said = lab.observe_all(45..=3615, &[("bad{node='a'}", 1.0)]);
    assert!(said.contains(&"a1 closed Expired: nobody answered in time".to_owned()), "{said:?}");
}
