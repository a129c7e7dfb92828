//! The digest of a small ledger that was made by hand.

use super::delivery::next_after;
use super::*;
use crate::config::DigestConfig;
use crate::scores::tests::{NOON, balanced, deed, hours, ledger, rules, score};
use homeostat_model::{DayTime, Weekday};

#[test]
fn what_healed_what_only_seemed_so_and_what_keeps_coming_back_are_told_apart() {
    let digest = Digest::of(&ledger(), &rules(), NOON, WEEK);
    assert_eq!((digest.acts, digest.scores), (6, [4, 1, 1, 0]));
    let told = |deeds: &[Deed]| deeds.iter().map(|deed| (deed.target.clone(), deed.times)).collect::<Vec<_>>();
    assert_eq!(told(&digest.healed), [("node/nas".to_owned(), 4)]);
    assert_eq!(told(&digest.seemed), [("node/pi".to_owned(), 1)], "its claim held, and it did nothing");
    assert_eq!(told(&digest.harmed), [("node/tv".to_owned(), 1)]);
    assert_eq!(told(&digest.in_vain), []);
    let [repeat] = &digest.repeated[..] else { panic!("one repeats: {digest:?}") };
    assert_eq!((repeat.target.as_str(), repeat.times, repeat.helped, repeat.every.as_deref()), ("node/nas", 4, 4, Some("1d")));
    assert!(
        repeat.fix.contains("filesystem_avail_ratio falls back within about 1d") && repeat.fix.contains("more space"),
        "{}",
        repeat.fix
    );
    assert_eq!(digest.masked, digest.repeated, "four times a week is hidden, not mended");
    assert_eq!(digest.days.len(), 8);
    assert_eq!(digest.days.iter().map(|day| day.scores.iter().sum::<u64>()).sum::<u64>(), 6);
    assert_eq!((digest.moves.len(), digest.locks.len(), digest.series.len()), (5, 2, 1));
    let seen: Digest = serde_json::from_str(&serde_json::to_string(&digest).unwrap()).unwrap();
    assert_eq!(seen, digest);
}

#[test]
fn only_the_span_counts() {
    let digest = Digest::of(&ledger(), &rules(), NOON, hours(30));
    assert_eq!((digest.acts, digest.scores, digest.repeated.len()), (1, [0, 0, 1, 0], 0));
    let empty = Digest::of(&Ledger::default(), &Rules::default(), NOON, WEEK);
    for text in [empty.markdown(), empty.html(), empty.short()] {
        assert!(text.contains("0 actions"), "{text}");
    }
    balanced(&empty.html());
}

#[test]
fn all_forms_tell_it_and_escape_what_others_wrote() {
    let mut ledger = ledger();
    let target = "node/<script>`x`|&";
    for id in [30, 31] {
        deed(&mut ledger, id, NOON - hours(40 - id as i64), target, true, score(Finding::Inconclusive, target, 0.01));
    }
    let digest = Digest::of(&ledger, &rules(), NOON, WEEK);
    let html = digest.html();
    balanced(&html);
    assert!(
        html.contains("Only seemed healed") && html.contains("goes by itself with a chance of 40 %") && html.contains("<rect"),
        "{html}"
    );
    let markdown = digest.markdown();
    for title in [
        "## Harmed",
        "## Healed",
        "## Only seemed healed",
        "## Keeps coming back",
        "## Masked",
        "## Drills",
        "## Energy and money",
        "## Held back",
    ] {
        assert!(markdown.contains(title), "{title} is not in\n{markdown}");
    }
    assert!(!markdown.contains("<b>") && markdown.contains("&lt;b&gt;") && !markdown.contains("`x`"), "{markdown}");
    let short = digest.short();
    assert!(short.contains("HARMED") && short.contains("4 times (healed each time)") && short.chars().count() <= 1200, "{short}");
}

#[test]
fn a_symptom_of_which_nothing_is_known_is_sent_to_its_cause() {
    let key = |verb: &str| BeliefKey { policy: "p".into(), verb: verb.into(), target_class: "node".into() };
    let fix = |verb: &str, metric| fixes::fix(&key(verb), &"node/a".into(), metric, Some("3h"), ActionId(9));
    assert_eq!(
        fix("exec.dance", None),
        "it comes back after about 3h: look at the cause on node/a: `homeostat explain a9` has what was read"
    );
    assert!(fix("power.wake", None).contains("runs anyway"), "{}", fix("power.wake", None));
    assert!(fix("exec.restart-web", None).contains("log lines"));
    // `up` begins no word of `exec.backup`.
    assert!(fix("exec.supper", None).contains("look at the cause"));
    assert!(
        fix("exec.dance", Some(("room_celsius", homeostat_model::Relation::Below)))
            .starts_with("room_celsius grows back within about 3h: cool")
    );
}

#[test]
fn spans_are_read_with_their_limits() {
    assert_eq!(span("7d"), Ok(WEEK));
    for text in ["0", "1m", "10y", "week", ""] {
        assert!(span(text).is_err(), "{text}");
    }
}

#[test]
fn it_comes_on_its_days_at_its_local_time() {
    let config = DigestConfig { at: Some(DayTime(8 * 60)), ..DigestConfig::default() };
    // Saturday noon: the next Monday at 08:00, an hour earlier in UTC where local time is ahead of it.
    let monday = NOON + hours(24 + 20);
    assert_eq!(next_after(&config, 0, NOON), Some(monday));
    assert_eq!(next_after(&config, 60, NOON), Some(monday - hours(1)));
    assert_eq!(next_after(&config, 0, monday), Some(monday + hours(7 * 24)), "once per moment");
    let daily = DigestConfig { weekdays: Vec::new(), ..config.clone() };
    assert_eq!(next_after(&daily, 0, NOON), Some(NOON + hours(20)));
    let today = DigestConfig { weekdays: vec![Weekday::Sat], at: Some(DayTime(12 * 60 + 1)), ..config };
    assert_eq!(next_after(&today, 0, NOON), Some(NOON + Span::from_mins(1)));
    assert_eq!(next_after(&DigestConfig::default(), 0, NOON), None, "off by default");
}
