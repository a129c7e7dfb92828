//! One lasting fix for a symptom that keeps coming back, from what is known: what was done, on which metric, how often.
//!
//! A treatment that is repeated heals a symptom, not its cause. What is known suffices for a direction, not for a diagnosis, so each
//! text says what it goes by, and where nothing is known it says where to look. Deliberately absent: names of products and guesses
//! about them. An editor breaks this by a fix that another treatment would be.

use homeostat_model::{ActionId, BeliefKey, Relation, Target};

/// What is read in the metric's name, in order; the first that fits is taken. A part of the name must begin with it: `oom` is no `room`.
const METRICS: &[(&[&str], &str)] = &[
    (&["filesystem", "disk_free", "disk_used", "avail_bytes", "volume"], "give it more space, or a shorter retention of what fills it"),
    (&["certificate", "cert_"], "let whatever issues it renew it by itself, long before it ends"),
    (&["memory", "oom", "rss"], "find what grows (its memory over days), then raise its limit or mend the leak"),
    (&["celsius", "temperature", "fan"], "cool it better for good: dust, fans, air, or less load on this machine"),
    (&["replication", "replica", "backup", "snapshot"], "look at why copies fall behind: the network and the disks between them"),
    (&["restart", "crash"], "read its last log lines before a restart: it ends for a reason that a restart does not change"),
    (&["latency", "queue", "backlog", "request"], "give it room at its busiest hour: more replicas at least, or a larger limit"),
    (&["clock", "time_offset", "ntp"], "let a time daemon steer the clock instead of correcting it by hand"),
    (&["watts", "power", "idle"], "move what wakes or loads it to a machine that runs anyway, or give it fixed hours"),
];

/// By what was done, where the metric tells nothing.
const VERBS: &[(&[&str], &str)] = &[
    (&["wake"], "move what needs it to a machine that runs anyway, or let it stay on at these hours"),
    (&["sleep", "shutdown", "poweroff"], "find what wakes it, and move that to a machine that runs anyway"),
    (&["clean", "prune", "vacuum", "trim"], "give it more space, or a shorter retention of what fills it"),
    (
        &["restart", "rollout", "reboot", "delete"],
        "read its last log lines before a restart: it ends for a reason that a restart does not change",
    ),
    (&["scale", "up", "down", "resize"], "set its least number or its limit to what it comes back to each time"),
    (&["renew"], "let whatever issues it renew it by itself, long before it ends"),
    (
        &["drain", "evict", "cordon", "move", "migrate"],
        "give what was moved a place of its own (affinity, requests), so that it does not come back there",
    ),
];

fn by_name(metric: &str) -> Option<&'static str> {
    let name = format!("_{}", metric.to_ascii_lowercase());
    METRICS.iter().find(|(words, _)| words.iter().any(|word| name.contains(&format!("_{word}")))).map(|(_, fix)| *fix)
}

/// Words of a verb's own part: `disk-cleanup` of `exec.disk-cleanup`; a word must begin with what is looked for.
fn by_verb(verb: &str) -> Option<&'static str> {
    let own = verb.split_once('.').map_or(verb, |(_, own)| own).to_ascii_lowercase();
    let whole = verb.to_ascii_lowercase();
    let words: Vec<&str> = own.split(|c: char| !c.is_ascii_alphanumeric()).chain([whole.split('.').next().unwrap_or_default()]).collect();
    let fits = |looked_for: &&str| words.iter().any(|word| word.starts_with(looked_for));
    VERBS.iter().find(|(names, _)| names.iter().any(&fits)).map(|(_, fix)| *fix)
}

/// One suggestion, with what it rests on. `metric`: what the claim speaks of, and its good side. `every`: the middle time between two
/// treatments.
pub(crate) fn fix(key: &BeliefKey, target: &Target, metric: Option<(&str, Relation)>, every: Option<&str>, newest: ActionId) -> String {
    let comes_back = every.map_or_else(String::new, |every| match metric {
        Some((metric, Relation::Above)) => format!("{metric} falls back within about {every}: "),
        Some((metric, Relation::Below)) => format!("{metric} grows back within about {every}: "),
        None => format!("it comes back after about {every}: "),
    });
    let by_metric = metric.and_then(|(metric, _)| by_name(metric));
    match by_metric.or_else(|| by_verb(key.verb.as_str())) {
        Some(fix) => format!("{comes_back}{fix}"),
        None => format!("{comes_back}look at the cause on {target}: `homeostat explain {newest}` has what was read"),
    }
}
