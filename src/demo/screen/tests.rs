use super::samples::{action, screen};
use super::*;

#[test]
fn what_waits_comes_first_and_nothing_comes_twice() {
    let screen = screen();
    let ids: Vec<&str> = screen.selectable().iter().map(|line| line.id.as_str()).collect();
    assert_eq!(ids, ["a7", "a8", "a6", "a5", "a4", "a3"]);
}

#[test]
fn an_actions_standing_says_what_became_of_its_claim() {
    let screen = screen();
    let seen: Vec<String> = screen.looping.actions.iter().map(standing).collect();
    assert_eq!(seen, ["asks you", "asks you", "denied", "done, helped", "done, did not help", "sent"]);
    let watched = ActionLine { claim: Some("c".into()), ..action(1, "v", "t", "done") };
    assert_eq!(standing(&watched), "done, watching");
    let unseen = ActionLine { judged: Some("undetermined".into()), ..watched };
    assert_eq!(standing(&unseen), "done, nobody saw");
}

#[test]
fn a_denial_gives_the_guards_reason_and_the_rest_the_authors() {
    let screen = screen();
    assert_eq!(reason(&screen.looping.actions[2]), "own base: node/brain runs the engine");
    assert_eq!(reason(&screen.looping.actions[0]), "disk/nas:sdb needs it", "who is asked wants to know why");
}

#[test]
fn energy_and_countdowns_are_short() {
    for (joules, text) in [(0.0, "0.0 Wh"), (220_000.0, "61.1 Wh"), (-3600.0, "-1.0 Wh"), (7_200_000.0, "2.00 kWh")] {
        assert_eq!(energy(joules), text);
    }
    for (seconds, text) in [(0, "0:00"), (96, "1:36"), (3725, "1:02:05")] {
        assert_eq!(countdown(seconds), text);
    }
}
