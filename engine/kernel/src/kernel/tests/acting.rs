//! Answers, missing answers, and claims.

use super::lab::{Lab, alert, at, easy, remedy};
use homeostat_model::{ActionId, AlertStatus, FaultCode};

const BAD: &[(&str, f64)] = &[("bad{node='a'}", 1.0)];
const GOOD: &[(&str, f64)] = &[("bad{node='a'}", 0.0)];

fn sent(verb: &str) -> Lab {
    let mut lab = Lab::new(easy(), &[("fix", &remedy(verb, "cooldown: \"10h\", every: \"15s\""))]);
    assert_eq!(lab.observe(15, BAD).len(), 2);
    lab
}

#[test]
fn done_is_what_the_actuator_saw_and_the_claim_is_what_the_world_shows() {
    let mut lab = sent("exec.restart");
    assert!(lab.done(16, 1).is_empty());
    assert_eq!(lab.phase(1), "done");
    // The actuator says done; the symptom is still there.
    assert_eq!(lab.observe(30, BAD), ["a2 deferred by cooldown"]);
    let said = lab.observe_all(45..=300, BAD);
    assert!(said.is_empty(), "{said:?}");
    let said = lab.observe(315, BAD);
    assert_eq!(said[..2], ["a1 judged Some(false): did not come true: it is 1", "announce a1: exec.restart on node/a did not help"]);
    // One sample before is no past to compare with: that is said, and moves nothing.
    assert!(said[2].starts_with("a1 scored inconclusive: inconclusive: too little was seen before the sending"), "{said:?}");
    assert_eq!(said.len(), 3);
}

#[test]
fn a_claim_is_judged_as_soon_as_it_comes_true() {
    let mut lab = sent("exec.restart");
    lab.done(16, 1);
    let said = lab.observe(30, GOOD);
    assert_eq!(said[0], "a1 judged Some(true): came true 15s after it was sent (0)");
    assert!(!lab.observe_all(45..=600, BAD).iter().any(|text| text.contains("judged")), "it is judged once");
}

#[test]
fn a_claim_that_must_hold_is_not_judged_by_one_sample() {
    let text = remedy("exec.restart", "cooldown: \"10h\"").replace(".within(\"5m\")", ".held(\"1m\").within(\"5m\")");
    let mut lab = Lab::new(easy(), &[("fix", &text)]);
    lab.observe(15, BAD);
    lab.done(16, 1);
    let said = lab.observe_all(30..=60, GOOD);
    assert!(!said.iter().any(|text| text.contains("judged")), "{said:?}");
    let said = lab.observe_all(75..=105, GOOD);
    assert_eq!(said.iter().filter(|text| text.contains("judged Some(true)")).count(), 1, "{said:?}");
}

#[test]
fn a_claim_that_nobody_can_see_is_undetermined_and_neither_true_nor_false() {
    let mut lab = sent("exec.restart");
    lab.done(16, 1);
    // The sensor says nothing any more.
    let said = lab.tick(400);
    assert!(said.iter().any(|text| text.starts_with("a1 judged None: nobody could see")), "{said:?}");
    assert!(!said.iter().any(|text| text.contains("did not help")));
}

#[test]
fn a_delivery_claim_is_judged_by_the_actuators_word() {
    let tell = r#"fn policy() { #{ for_each: series("bad"), autonomy: "auto", cooldown: "1h" } }
fn evaluate(s) { if s.last() > 0 { propose(notify("it is bad")).because("x") } }"#;
    let mut lab = Lab::new(easy(), &[("tell", tell)]);
    assert_eq!(lab.observe(15, BAD), ["a1 admitted", "a1 act notify.send on node/a #1 title=it is bad"]);
    assert_eq!(lab.done(16, 1), ["a1 judged Some(true): delivered"]);
    let mut lost = Lab::new(easy(), &[("tell", tell)]);
    lost.observe(15, BAD);
    assert_eq!(lost.not_done(16, 1, FaultCode::Denied), ["a1 judged Some(false): not delivered"]);
    let mut silent = Lab::new(easy(), &[("tell", tell)]);
    silent.observe(15, BAD);
    let said: Vec<String> = (2..30).flat_map(|step| silent.tick(step * 15)).collect();
    assert!(said.contains(&"a1 judged None: nobody knows whether it was delivered".to_owned()), "{said:?}");
}

#[test]
fn an_unknown_outcome_is_probed_with_longer_and_longer_waits_and_then_left_unresolved_aloud() {
    let mut lab = sent("exec.restart");
    let mut probes = Vec::new();
    let mut said = lab.unknown(20, 1);
    for second in 21..3000 {
        said = lab.tick(second);
        if said.iter().any(|text| text == "a1 probe") {
            probes.push(second);
            said = lab.unknown(second, 1);
            if !said.is_empty() {
                break;
            }
        }
        if lab.phase(1) == "closed" {
            break;
        }
    }
    let mut before = 20;
    let waits: Vec<i64> = probes.iter().map(|at| at - std::mem::replace(&mut before, *at)).collect();
    assert_eq!(waits, [10, 30, 90, 300, 900]);
    assert_eq!(lab.phase(1), "closed");
    assert!(said.iter().any(|text| text.starts_with("a1 closed Unresolved: nobody can tell what became of it")), "{said:?}");
    assert!(said.contains(&"announce a1: exec.restart on node/a: outcome unknown".to_owned()), "{said:?}");
    assert_eq!(lab.sent[&ActionId(1)], 1, "it is never sent again");
}

/// An appointment for the missing answer stood beside the one for the next probe, so an action was asked after twice as often and
/// given up after half the time.
#[test]
fn one_appointment_per_action() {
    let mut lab = sent("exec.restart");
    lab.unknown(20, 1);
    let mut probes = Vec::new();
    for second in 21..100 {
        // Asked at 30, not answered. The answer is due 40 s later; the appointment made at the sending (15 + 40 s) is void.
        if lab.tick(second).iter().any(|text| text == "a1 probe") {
            probes.push(second);
        }
    }
    assert_eq!(probes, [30, 70]);
}

#[test]
fn no_answer_at_all_leads_to_a_probe_and_not_to_a_second_sending() {
    let mut lab = sent("exec.restart");
    assert!(!lab.tick(54).contains(&"a1 probe".to_owned()));
    let said = lab.tick(55);
    assert!(said.contains(&"a1 probe".to_owned()), "{said:?}");
    assert_eq!(lab.sent[&ActionId(1)], 1);
    lab.done(56, 1);
    assert_eq!(lab.phase(1), "done");
}

#[test]
fn a_late_answer_to_an_unresolved_action_is_welcome() {
    let mut lab = sent("exec.restart");
    for second in (20..2000).step_by(5) {
        lab.tick(second);
    }
    assert_eq!(lab.phase(1), "closed");
    lab.done(2001, 1);
    assert_eq!(lab.phase(1), "done");
}

#[test]
fn what_was_never_started_is_sent_again_past_every_guard_and_at_most_three_times() {
    let mut lab = sent("exec.restart");
    assert_eq!(lab.not_done(16, 1, FaultCode::NeverStarted), ["a1 admitted", "a1 act exec.restart on node/a #2"]);
    assert_eq!(lab.not_done(17, 1, FaultCode::NeverStarted), ["a1 admitted", "a1 act exec.restart on node/a #3"]);
    assert_eq!(lab.not_done(18, 1, FaultCode::NeverStarted), ["announce a1: exec.restart on node/a: not done"]);
    assert_eq!((lab.sent[&ActionId(1)], lab.phase(1)), (3, "not_done"));
}

#[test]
fn what_was_never_started_is_not_sent_after_its_lease() {
    let mut lab = sent("exec.restart");
    let said = lab.not_done(15 + 61, 1, FaultCode::NeverStarted);
    assert_eq!(said[0], "announce a1: exec.restart on node/a: not done");
    assert_eq!(lab.sent[&ActionId(1)], 1);
    // It did not cool down: the policy may wish it again, as a new action.
    assert_eq!(lab.observe(90, BAD)[1..], ["a2 admitted", "a2 act exec.restart on node/a #1"]);
}

/// A sending that never left the machine had already started its settling time, which then forbade the second attempt.
#[test]
fn what_was_never_started_neither_settles_nor_counts() {
    let mut lab = sent("power.wake");
    assert_eq!(lab.not_done(16, 1, FaultCode::NeverStarted), ["a1 admitted", "a1 act power.wake on node/a #2"]);
    let ledger = lab.kernel.ledger();
    let symptom = ("fix".to_owned(), "bad{node=\"a\"}".to_owned());
    assert_eq!(ledger.attempts(&symptom).filter(|sent| *sent > at(0)).count(), 1);
    assert_eq!(ledger.sent_since(homeostat_model::Class::Restore, at(0)).0, 1);
}

/// A second attempt that a guard held went back among the open wishes of the same number, and its attempts were counted anew.
#[test]
fn a_second_attempt_that_is_held_ends_the_action() {
    let mut lab = sent("exec.restart");
    lab.order(15, homeostat_model::Command::Pause { reason: "x".into() });
    assert_eq!(lab.not_done(16, 1, FaultCode::NeverStarted), ["announce a1: exec.restart on node/a: not done"]);
    assert_eq!(lab.phase(1), "not_done");
    assert_eq!(lab.observe(30, BAD), ["a2 deferred by hands_off"]);
}

#[test]
fn an_answer_that_comes_twice_changes_nothing() {
    let mut lab = sent("exec.restart");
    lab.done(16, 1);
    assert!(lab.not_done(17, 1, FaultCode::NeverStarted).is_empty());
    assert!(lab.done(18, 1).is_empty());
    assert!(lab.done(18, 99).is_empty());
    assert_eq!((lab.phase(1), lab.sent[&ActionId(1)], lab.kernel.ledger().illegal_moves()), ("done", 1, 3));
}

#[test]
fn the_end_of_an_alert_is_judged_by_the_alert() {
    let fix = r#"fn policy() { #{ on_alert: alerts("Disk"), autonomy: "auto", cooldown: "1h" } }
fn on_alert(a) { if a.status == "firing" { propose(act("exec.restart", "node/" + a.node, #{})).because("x").claim(a.resolved().within("10m")) } }"#;
    let mut lab = Lab::new(easy(), &[("fix", fix)]);
    assert_eq!(lab.alert(10, AlertStatus::Firing, 5), ["a1 admitted", "a1 act exec.restart on node/a #1"]);
    lab.done(11, 1);
    assert!(lab.alert(100, AlertStatus::Resolved, 5).contains(&"a1 judged Some(true): the alert has ended".to_owned()));
    let mut still = Lab::new(easy(), &[("fix", fix)]);
    still.alert(10, AlertStatus::Firing, 5);
    still.done(11, 1);
    let said: Vec<String> = (1..=11).flat_map(|minute| still.tick(10 + minute * 60)).collect();
    assert!(said.contains(&"a1 judged Some(false): the alert is still firing".to_owned()), "{said:?}");
    assert_eq!(alert(AlertStatus::Firing, 5).starts_at, at(5));
}
