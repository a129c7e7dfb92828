//! The seed list, each entry once and in other words than elsewhere, in a house whose people, other names and environments come from a
//! configuration: the expected typed intent or wish, without a model; and what is not clear is asked back.

use super::*;
use crate::people::People;

/// The house as its things and verbs are; people, teams, other names and environments by configuration.
fn configured() -> Known {
    let mut known = Known::new();
    for target in ["node/nas", "node/muscle", "node/nano-1", "filesystem/nas:/srv", "backup/photos", "disk/nas:sdb"] {
        known.add_thing(target.into());
    }
    for (target, replicas) in [("deployment/media/jellyfin", 1), ("deployment/home/web", 2), ("statefulset/data/postgres", 1)] {
        known.add_workload(target.into(), replicas);
    }
    verbs().into_iter().for_each(|spec| known.add_verb(spec));
    ["disk-full", "muscle-sleep"].iter().for_each(|name| known.add_policy(PolicyId::from(*name)));
    let people = serde_json::from_value(serde_json::json!({
        "anna": {"logins": ["unix:0"], "teams": ["family"], "roles": ["admin"]},
    }));
    let roles = serde_json::from_value(serde_json::json!({ "admin": {"may": [{"verbs": ["*"]}], "steer": true} }));
    let ask = serde_json::from_value(serde_json::json!({
        "aliases": {"film server": "deployment/media/jellyfin"},
        "environments": {"redis": {
            "namespace": "lab",
            "size_default": "small",
            "sizes": {"small": {"bytes": 1_000_000_000u64, "spec": {"size": "small"}}, "large": {"spec": {"size": "large"}}},
            "requests": ["lab/cache"],
        }},
    }));
    let people = People::new(&people.unwrap(), &roles.unwrap(), &ask.unwrap());
    people.name_in(&mut known, &[("redis".into(), "lab".into(), "trial".into())]);
    assert_eq!(known.left_out(), 0);
    known
}

const SEED: [(&str, &str); 26] = [
    // status
    ("What's the state of the film server?", "? status of deployment/media/jellyfin"),
    // why, why not
    ("Why was the film server restarted?", "? why on deployment/media/jellyfin"),
    ("Why wasn't muscle put to sleep yesterday?", "? why not on node/muscle yesterday"),
    // usage, cost
    ("How much memory does the film server use?", "? memory usage of deployment/media/jellyfin"),
    ("What did we spend last month?", "? cost last month"),
    // scale up, scale down
    ("Scale the film server up to 3.", "! scale.up on deployment/media/jellyfin from=1 replicas=3"),
    ("scale web down to 1", "! scale.down on deployment/home/web from=2 replicas=1"),
    // wake, sleep, restart
    ("Could you wake muscle?", "! power.wake on node/muscle"),
    ("Please put nano-1 to sleep.", "! power.sleep on node/nano-1"),
    ("Restart the film server, please.", "! restart.rollout on deployment/media/jellyfin"),
    // clean up, back up, restore test
    ("Clean up the NAS.", "! playbook.disk-cleanup on filesystem/nas:/srv mountpoint=\"/srv\" node=\"nas\""),
    ("Back up the photos.", "! restic.backup on backup/photos"),
    ("Do a restore test of photos.", "! playbook.restore-test on backup/photos"),
    // create and delete an environment, by configuration and by what was made before
    (
        "Create a redis environment called demo.",
        r#"! kratix.apply on promise/redis name="demo" namespace="lab" spec="{\"size\":\"small\"}""#,
    ),
    (
        "I need a large redis environment called shop",
        r#"! kratix.apply on promise/redis name="shop" namespace="lab" spec="{\"size\":\"large\"}""#,
    ),
    ("Delete the environment cache.", r#"! kratix.delete on promise/redis name="cache" namespace="lab""#),
    ("tear down the environment trial", r#"! kratix.delete on promise/redis name="trial" namespace="lab""#),
    // who may do what
    ("Who may restart the film server?", "? who may restart.rollout on deployment/media/jellyfin"),
    ("What may anna do?", "? may person anna do anything"),
    ("May the family team wake muscle?", "? may team family power.wake on node/muscle"),
    // pause, resume
    ("Pause for two hours, please.", "~ pause for 2h"),
    ("Resume.", "~ resume"),
    // list incidents, predict, plan a drill, show savings
    ("Which incidents are open?", "? incidents"),
    ("When will nas:/srv be full?", "? predict full of filesystem/nas:/srv"),
    ("Plan a drill for web.", "? plan drill on deployment/home/web"),
    ("Show me the savings of this month.", "? savings this month"),
];

#[test]
fn the_whole_seed_list_is_read_without_a_model() {
    check(&configured(), &SEED);
}

#[test]
fn what_is_not_clear_is_asked_back_in_this_house_too() {
    let known = configured();
    for text in [
        "It is too slow.",
        "the film server is too slow",
        "make it cheaper",
        "scale the film server",
        "restart it",
        "wake the node",
        "create an environment",
        "delete the environment cach",
        "put muscle and nano-1 to sleep",
        "restart the film server at seven",
    ] {
        assert!(matches!(understand(text, &known), Understood::AskBack { .. }), "{text}: {:?}", understand(text, &known));
    }
}
