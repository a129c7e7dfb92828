//! Alerts: each once, whatever the sender repeats; and never acted on after their end.

use super::lab::{Lab, easy, rules};
use homeostat_model::{AlertStatus::*, ArbiterSettings, Autonomy, Class, Event};

const TELL: &str = r#"fn policy() { #{ on_alert: alerts("{severity='critical'}"), autonomy: "auto", cooldown: "1h" } }
fn on_alert(a) { propose(notify(`${a.name} is ${a.status} on ${a.node}`, a.annotation("summary"))).because(`A is ${a.value("A")}`) }"#;

#[test]
fn an_alert_is_told_once_whatever_the_sender_repeats() {
    let mut lab = Lab::new(easy(), &[("tell", TELL)]);
    let said = lab.alert(10, Firing, 5);
    assert_eq!(said, ["a1 admitted", "a1 act notify.send on node/a #1 text=the disk is full title=Disk is firing on a"]);
    lab.done(11, 1);
    for minute in 1..20 {
        let said = lab.alert(10 + minute * 60, Firing, 5);
        assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    }
    assert_eq!((lab.kernel.stats().alerts, lab.kernel.stats().alerts_repeated), (1, 19));
    // Its end is news.
    let said = lab.alert(1300, Resolved, 5);
    assert!(said.iter().any(|text| text.ends_with("title=Disk is resolved on a")), "{said:?}");
    // A late copy of the same episode is not, in either direction.
    for status in [Resolved, Firing] {
        let said = lab.alert(1310, status, 5);
        assert_eq!(said, ["DuplicateAlerts { count: 1 }"]);
    }
    // Another start is.
    lab.alert(1400, Firing, 1390);
    assert_eq!(lab.kernel.stats().alerts, 3);
}

#[test]
fn a_late_copy_of_an_older_episode_is_no_news() {
    let mut lab = Lab::new(easy(), &[("tell", TELL)]);
    lab.alert(100, Firing, 90);
    assert_eq!(lab.alert(110, Resolved, 5), ["DuplicateAlerts { count: 1 }"]);
    assert_eq!(lab.kernel.ledger().alert("f1").map(|known| known.firing), Some(true));
}

#[test]
fn a_resolved_alert_does_not_act() {
    let fix = r#"fn policy() { #{ on_alert: alerts("Disk"), autonomy: "auto", cooldown: "1h" } }
fn on_alert(a) { propose(act("exec.restart", "node/" + a.node, #{})).because("x").claim(a.resolved().within("10m")) }"#;
    let mut lab = Lab::new(easy(), &[("fix", fix)]);
    let said = lab.alert(100, Resolved, 5);
    assert!(said[0].ends_with("denied by freshness") && lab.sent.is_empty(), "{said:?}");
    // An approval that comes after the end does not act either.
    let mut asked = easy();
    asked.autonomy.insert(Class::Reversible, Autonomy::Suggest);
    let mut lab = Lab::new(asked, &[("fix", fix)]);
    lab.alert(100, Firing, 5);
    let said = lab.alert(110, Resolved, 5);
    assert!(said.iter().any(|text| text.starts_with("a1 closed Gone")), "{said:?}");
    let said = lab.order(120, homeostat_model::Command::Approve { action: homeostat_model::ActionId(1), plan: None });
    assert!(said[0].starts_with("order refused"), "{said:?}");
    assert!(lab.sent.is_empty());
}

/// What a guard held when the alert had ended waited for an evaluation that never came.
#[test]
fn a_held_wish_of_an_ended_alert_is_closed() {
    let settings = ArbiterSettings { autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Shadow)).collect(), ..easy() };
    let mut lab = Lab::new(settings, &[("tell", TELL)]);
    assert_eq!(lab.alert(10, Firing, 5), ["a1 shadowed by autonomy"]);
    let said = lab.alert(100, Resolved, 5);
    assert!(said.contains(&"a2 closed Gone: the alert has ended, and it is not looked at again".to_owned()), "{said:?}");
    assert!(lab.kernel.ledger().actions().all(|state| !state.phase.is_open()));
}

/// Loading one policy anew withdrew the questions that others had asked about alerts.
#[test]
fn a_reload_does_not_withdraw_another_policys_question_about_an_alert() {
    let mut asked = easy();
    asked.autonomy.insert(Class::Notify, Autonomy::Suggest);
    let mut lab = Lab::new(asked.clone(), &[("tell", TELL)]);
    assert!(lab.alert(10, Firing, 5).contains(&"a1 awaiting_approval by autonomy".to_owned()));
    let other = "fn policy() { #{} } fn evaluate() { }";
    let said = lab.event(20, Event::Loaded(Box::new(rules(asked, &[("other", other), ("tell", TELL)]))));
    assert_eq!(said, ["loaded 2"]);
    assert_eq!(lab.phase(1), "awaiting_approval");
}

#[test]
fn a_firing_alert_is_known_after_a_restart_and_told_only_once() {
    let mut lab = Lab::new(easy(), &[("tell", TELL)]);
    lab.alert(10, Firing, 5);
    lab.done(11, 1);
    let (mut lab, said) = lab.restarted(lab.entries.len(), 60, rules(easy(), &[("tell", TELL)]));
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
    assert_eq!(lab.units("tell").len(), 1);
    // Its end, heard after the restart, is told.
    let said = lab.alert(120, Resolved, 5);
    assert!(said.iter().any(|text| text.contains("Disk is resolved")), "{said:?}");
    // And not a second time by another restart.
    let (_, said) = lab.restarted(lab.entries.len(), 180, rules(easy(), &[("tell", TELL)]));
    assert!(!said.iter().any(|text| text.contains(" act ")), "{said:?}");
}
