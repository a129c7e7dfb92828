//! Rights, quotas and what is wrong in a configuration.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn read<T: serde::de::DeserializeOwned>(json: &serde_json::Value, section: &str) -> T {
    let part = json.get(section).cloned().unwrap_or_else(|| serde_json::json!({}));
    serde_json::from_value(part).unwrap_or_else(|error| panic!("{section}: {error}"))
}

fn of(json: serde_json::Value) -> (BTreeMap<String, PersonConfig>, BTreeMap<String, RoleConfig>, AskConfig) {
    (read(&json, "people"), read(&json, "roles"), read(&json, "ask"))
}

fn house() -> People {
    let (people, roles, ask) = of(serde_json::json!({
        "people": {
            "anna": {"logins": ["token:phone", "unix:0"], "teams": ["family"], "roles": ["admin"]},
            "ben": {"logins": ["token:tablet", "telegram:111222333"], "teams": ["family"]},
            "cleo": {"logins": ["token:toy"], "teams": ["family"]},
            "dan": {"logins": ["token:guest"]},
        },
        "roles": {
            "admin": {"may": [{"verbs": ["*"]}], "steer": true},
            "family": {
                "teams": ["family"],
                "may": [{"verbs": ["power.wake", "scale.*"], "targets": ["node/*", "deployment/media/*"]}],
                "quota": {"requests_per_hour": 2, "requests_per_day": 3, "joules_per_month": 1000.0, "shared": true},
            },
        },
        "ask": {"aliases": {"film server": "deployment/media/jellyfin"}},
    }));
    let tokens = BTreeSet::from(["phone", "tablet", "toy", "guest"]);
    assert_eq!(problems(&people, &roles, &ask, &tokens), Vec::new());
    People::new(&people, &roles, &ask)
}

fn past(by: &str, at_secs: i64, joules: f64) -> Past {
    Past { by: by.into(), at: Time(at_secs * 1_000), joules, euros: 0.0 }
}

#[test]
fn without_people_whoever_has_a_token_may() {
    let nobody = People::default();
    let (verb, target) = (Verb::from("power.off"), Target::from("node/nas"));
    assert_eq!(nobody.may("token:x", Deed::Do(&verb, &target)), Ok(()));
    assert_eq!(nobody.may("token:x", Deed::Steer("resume")), Ok(()));
    assert_eq!(nobody.room(Deed::Do(&verb, &target), &past("token:x", 0, 1e9), &[]), Ok(None));
}

#[test]
fn a_refusal_says_why_and_who_may() {
    let people = house();
    let (wake, off) = (Verb::from("power.wake"), Verb::from("power.off"));
    let (nas, web) = (Target::from("node/nas"), Target::from("deployment/home/web"));
    assert_eq!(people.may("token:tablet", Deed::Do(&wake, &nas)), Ok(()));
    assert_eq!(people.may("unix:0", Deed::Do(&off, &nas)), Ok(()));
    let why = people.may("token:tablet", Deed::Do(&off, &nas)).unwrap_err();
    assert_eq!(why, "`power.off` on `node/nas` is not for ben, whose roles are: family. It may be asked for by: anna.");
    assert!(people.may("token:tablet", Deed::Do(&Verb::from("scale.up"), &web)).is_err());
    assert!(people.may("token:guest", Deed::Do(&wake, &nas)).unwrap_err().contains("dan, who has no role"));
    let why = people.may("token:other", Deed::Steer("resume")).unwrap_err();
    assert!(why.contains("no login of anybody") && why.ends_with("It may be asked for by: anna."), "{why}");
    assert_eq!(people.holders(Deed::Do(&wake, &nas)), ["anna", "ben", "cleo"]);
    assert_eq!(people.members("FAMILY").collect::<Vec<_>>(), ["anna", "ben", "cleo"]);
}

#[test]
fn quotas_count_and_say_so() {
    let people = house();
    let (wake, nas) = (Verb::from("power.wake"), Target::from("node/nas"));
    let room = |next: Past, all: &[Past]| people.room(Deed::Do(&wake, &nas), &next, all);
    let said = room(past("token:tablet", 0, 100.0), &[]).unwrap().unwrap();
    assert_eq!(said, "request 1 of 2 in an hour, request 1 of 3 in a day, 100 J of 1000 J in thirty days (role family)");
    // The quota is shared: what cleo asked for counts for ben; dan's does not.
    let all = [past("token:toy", 0, 100.0), past("token:tablet", 10, 100.0), past("token:guest", 10, 1e9)];
    assert_eq!(room(past("token:tablet", 20, 1.0), &all).unwrap_err(), "the quota of role family is used up: 2 requests in an hour");
    assert!(room(past("token:tablet", 3_700, 1.0), &all).is_ok(), "an hour later there is room");
    let why = room(past("token:tablet", 100_000, 801.0), &all).unwrap_err();
    assert!(why.contains("1000 J in thirty days, and this would make it 1001 J"), "{why}");
    // Another role without a quota gives room all the same.
    assert_eq!(room(past("token:phone", 20, 1e6), &all), Ok(None));
    assert_eq!(people.looks_back(), Some(MONTH));
}

#[test]
fn names_of_the_house_are_understood() {
    let people = house();
    let mut known = Known::new();
    known.add_thing("deployment/media/jellyfin".into());
    people.name_in(&mut known, &[]);
    let read = crate::ask::understand("status of the film server", &known);
    assert!(format!("{read:?}").contains("deployment/media/jellyfin"), "{read:?}");
    assert_eq!(known.left_out(), 0);
}

#[test]
fn mistakes_are_listed() {
    let (people, roles, ask) = of(serde_json::json!({
        "people": {"anna": {"logins": ["token:gone", "phone", "unix:x", "unix:1"], "roles": ["none"]}, "ben": {"logins": ["unix:1"]}},
        "roles": {"odd": {"may": [{"targets": ["node/*"]}], "quota": {"euros_per_month": -1.0}}},
        "ask": {
            "aliases": {"x": "nas"},
            "environments": {"redis": {"size_default": "big", "requests": ["cache"]}},
        },
    }));
    let found: Vec<String> = problems(&people, &roles, &ask, &BTreeSet::new())
        .into_iter()
        .map(|(section, key, why)| format!("{section} {key}: {why}"))
        .collect();
    let wanted = [
        "no token `gone`",
        "`phone` is no login",
        "`unix:x` is no login",
        "no role `none`",
        "login of `anna`",
        "without `verbs`",
        "euros_per_month",
        "who would end a pause",
        "`nas` is not a target",
        "none of its sizes",
        "`cache` is no request",
    ];
    for wanted in wanted {
        assert!(found.iter().any(|one| one.contains(wanted)), "{wanted} in {found:#?}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
}

/// The same by trying every way to spread the stars.
fn fits_by_force(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|n| fits_by_force(rest, &text[n..])),
        Some((c, rest)) => text.first() == Some(c) && fits_by_force(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn patterns_are_what_they_say(pattern in "[ab/*]{0,7}", text in "[ab/]{0,8}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(fits(&pattern, &text), fits_by_force(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn a_quota_is_never_exceeded(orders in proptest::collection::vec((0i64..200_000, 0.0..400.0, 0usize..3), 0..60)) {
        let people = house();
        let (wake, nas) = (Verb::from("power.wake"), Target::from("node/nas"));
        let mut orders = orders;
        orders.sort_by_key(|(at, ..)| *at);
        let mut taken: Vec<Past> = Vec::new();
        for (at, joules, who) in orders {
            let next = past(["token:tablet", "token:toy", "token:guest"][who], at, joules);
            if people.may(&next.by, Deed::Do(&wake, &nas)).is_ok() && people.room(Deed::Do(&wake, &nas), &next, &taken).is_ok() {
                taken.push(next);
            }
        }
        for one in &taken {
            let within = |secs: i64| taken.iter().filter(move |other| other.at <= one.at && one.at.0 - other.at.0 < secs * 1_000);
            prop_assert!(within(3_600).count() <= 2 && within(86_400).count() <= 3);
            prop_assert!(within(30 * 86_400).map(|other| other.joules).sum::<f64>() <= 1_000.0);
        }
        prop_assert!(!taken.iter().any(|one| one.by == "token:guest"));
    }
}
