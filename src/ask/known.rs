//! What can be named in this house: things, policies, people, verbs and environments; and how a name is found, without guessing.
//!
//! A name is taken if it is exact, or else the only one that begins so, or else the only one that differs by one letter. Digits are
//! never completed or corrected: `nano-1` is not `nano-2`. Names come from a cluster and may be anybody's; what could not be said in
//! one word is not taken in. Deliberately absent: reading them from anywhere. An editor breaks this by taking the first of several.

use homeostat_model::{PolicyId, Target, Verb, VerbSpec};
use std::collections::{BTreeMap, BTreeSet};

/// How many things are kept.
pub const THINGS_MAX: usize = 20_000;
/// How many policies, people, teams, environments, aliases and verbs are kept, of each.
pub const NAMES_MAX: usize = 1_000;
/// How many bytes a name may have.
pub const NAME_BYTES_MAX: usize = 300;
/// How many requests of one environment, and how many sizes, are kept.
pub const REQUESTS_MAX: usize = 1_000;
const PREFIX_LETTERS_MIN: usize = 3;
const NEAR_LETTERS_MIN: usize = 4;

/// Something with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// a node, a workload, a backup …
    Thing(Target),
    /// a policy
    Policy(PolicyId),
    /// a person
    Person(String),
    /// a team
    Team(String),
}

impl Named {
    /// As it can be said without being mistaken: `node/muscle`, `policy disk-full`.
    pub fn said(&self) -> String {
        match self {
            Named::Thing(target) => target.to_string(),
            Named::Policy(policy) => format!("policy {policy}"),
            Named::Person(name) => format!("person {name}"),
            Named::Team(name) => format!("team {name}"),
        }
    }
}

/// An environment that can be asked for: a Kratix Promise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// The namespace of its requests, if none is said.
    pub namespace: String,
    /// Which size is made if none is said; without one, it is asked.
    pub size_default: Option<String>,
    /// The sizes by name.
    pub sizes: BTreeMap<String, EnvironmentSize>,
    /// The requests there are, as (namespace, name).
    pub requests: BTreeSet<(String, String)>,
}

/// One size of an environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvironmentSize {
    /// Its storage in bytes, so that `10 GB` names it.
    pub bytes: Option<u64>,
    /// The request's whole spec, as a JSON object.
    pub spec: String,
}

/// How a name was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// As it is, or by an alias of the configuration.
    Exact,
    /// The only one that begins so.
    Prefix,
    /// The only one that differs by one letter.
    Near,
}

/// What a name may stand for. What does not count is as if it had no name; what counts and does not fit keeps its name to itself.
#[derive(Copy, Clone)]
pub(super) enum Sought<'a> {
    /// Whatever has a name.
    Anything,
    /// A thing, and one that fits.
    Thing(&'a dyn Fn(&Target) -> bool),
}

impl Sought<'_> {
    fn counts(&self, named: &Named) -> bool {
        matches!(self, Sought::Anything) || matches!(named, Named::Thing(_))
    }
    pub fn fits(&self, named: &Named) -> bool {
        match (self, named) {
            (Sought::Anything, _) => true,
            (Sought::Thing(fits), Named::Thing(target)) => fits(target),
            _ => false,
        }
    }
}

/// What became of a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    One(Named, Match),
    /// More than one that fits.
    Several(Vec<Named>),
    /// The name is known, but none that bears it fits.
    Unfit(Vec<Named>),
    /// Not known.
    Nothing,
}

/// Everything that can be named. Built by the caller, bounded; what does not fit is counted.
#[derive(Clone, Debug, Default)]
pub struct Known {
    names: BTreeMap<String, BTreeSet<Named>>,
    things: BTreeMap<Target, Option<i64>>,
    verbs: BTreeMap<Verb, VerbSpec>,
    environments: BTreeMap<String, Environment>,
    aliases: BTreeMap<String, Target>,
    members: BTreeSet<Named>,
    left_out: u64,
}

impl Known {
    /// Nothing yet.
    pub fn new() -> Known {
        Known::default()
    }

    /// A node, workload, pod, service, namespace, backup, filesystem … by its target, such as `deployment/home/web`.
    pub fn add_thing(&mut self, target: Target) {
        self.keep(target, None);
    }

    /// A workload and how many replicas of it are wanted now.
    pub fn add_workload(&mut self, target: Target, replicas: i64) {
        self.keep(target, Some(replicas));
    }

    /// A policy.
    pub fn add_policy(&mut self, policy: PolicyId) {
        let name = policy.as_str().to_owned();
        self.member(&name, Named::Policy(policy));
    }

    /// A person who may be asked about.
    pub fn add_person(&mut self, name: &str) {
        self.member(name, Named::Person(name.to_owned()));
    }

    /// A team.
    pub fn add_team(&mut self, name: &str) {
        self.member(name, Named::Team(name.to_owned()));
    }

    /// A verb that is registered, playbooks among them; the targets it lists can be named from then on.
    pub fn add_verb(&mut self, spec: VerbSpec) {
        if self.verbs.len() >= NAMES_MAX || !sayable(spec.verb.as_str()) || spec.verb.as_str().split_once('.').is_none() {
            return self.left_out += 1;
        }
        for target in spec.targets.iter().flatten() {
            if !self.things.contains_key(target) {
                self.keep(target.clone(), None);
            }
        }
        self.verbs.insert(spec.verb.clone(), spec);
    }

    /// A kind of environment; `name` is that of its Promise, which becomes the thing `promise/<name>`.
    pub fn add_environment(&mut self, name: &str, mut environment: Environment) {
        if self.environments.len() >= NAMES_MAX || !sayable(name) || !sayable(&environment.namespace) {
            return self.left_out += 1;
        }
        let before = environment.requests.len() + environment.sizes.len();
        environment.requests.retain(|(space, name)| sayable(space) && sayable(name));
        environment.sizes.retain(|name, _| sayable(name));
        while environment.requests.len() > REQUESTS_MAX {
            environment.requests.pop_last();
        }
        while environment.sizes.len() > REQUESTS_MAX {
            environment.sizes.pop_last();
        }
        self.left_out += (before - environment.requests.len() - environment.sizes.len()) as u64;
        self.keep(Target::from(format!("promise/{name}")), None);
        self.environments.insert(name.to_lowercase(), environment);
    }

    /// Another name for a thing, from the configuration: `the website` for `service/web`. Articles do not matter.
    pub fn add_alias(&mut self, name: &str, target: Target) {
        let words: Vec<String> = name.split_whitespace().map(str::to_lowercase).filter(|word| !is_article(word)).collect();
        if self.aliases.len() >= NAMES_MAX || words.is_empty() || words.len() > 4 || !words.iter().all(|word| sayable(word)) {
            return self.left_out += 1;
        }
        self.aliases.insert(words.join(" "), target);
    }

    /// How many names were not taken in: too many, too long, or not to be said in one word.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A verb's schema.
    pub fn verb(&self, verb: &str) -> Option<&VerbSpec> {
        self.verbs.get(verb)
    }

    /// Whether this target can be named.
    pub fn has(&self, target: &Target) -> bool {
        self.things.contains_key(target)
    }

    /// All verbs, in the order of their names.
    pub fn verbs(&self) -> impl Iterator<Item = &VerbSpec> {
        self.verbs.values()
    }

    /// All things, in the order of their targets.
    pub fn things(&self) -> impl Iterator<Item = &Target> {
        self.things.keys()
    }

    pub(super) fn replicas(&self, target: &Target) -> Option<i64> {
        self.things.get(target).copied().flatten()
    }

    pub(super) fn environments(&self) -> &BTreeMap<String, Environment> {
        &self.environments
    }

    fn keep(&mut self, target: Target, replicas: Option<i64>) {
        let new = !self.things.contains_key(&target);
        if !sayable(target.as_str()) || target.kind().is_empty() || target.name().is_empty() || (new && self.things.len() >= THINGS_MAX) {
            return self.left_out += 1;
        }
        let name = target.name().to_lowercase();
        let mut keys = vec![target.as_str().to_lowercase(), name.clone()];
        // A filesystem's `nas:/srv` is not called `srv`.
        if let (false, Some((_, last))) = (name.contains(':'), name.rsplit_once('/')) {
            keys.push(last.to_owned());
        }
        for key in keys.into_iter().filter(|key| !key.is_empty()) {
            self.names.entry(key).or_default().insert(Named::Thing(target.clone()));
        }
        self.things.insert(target, replicas);
    }

    fn member(&mut self, name: &str, named: Named) {
        if self.members.contains(&named) {
            return;
        }
        if !sayable(name) || self.members.len() >= 3 * NAMES_MAX {
            return self.left_out += 1;
        }
        self.members.insert(named.clone());
        self.names.entry(name.to_lowercase()).or_default().insert(named);
    }

    /// Only what is called exactly so, in whatever case; an alias comes first.
    pub(super) fn exact(&self, name: &str) -> Vec<&Named> {
        self.names.get(name).into_iter().flatten().collect()
    }

    pub(super) fn alias(&self, name: &str) -> Option<Named> {
        self.aliases.get(name).filter(|target| self.has(target)).map(|target| Named::Thing(target.clone()))
    }

    /// Finds a name in small letters. A name that is exactly somebody's is never taken for another's, even where that one does not fit:
    /// `fits` says who may bear it here, `sought` who counts at all.
    pub(super) fn find(&self, name: &str, exact_only: bool, sought: &Sought, fits: &dyn Fn(&Named) -> bool) -> Found {
        if let Some(named) = self.alias(name) {
            return if fits(&named) { Found::One(named, Match::Exact) } else { Found::Unfit(vec![named]) };
        }
        let bearers =
            |key: &str| -> Vec<Named> { self.names.get(key).into_iter().flatten().filter(|named| sought.counts(named)).cloned().collect() };
        let hyphened = name.replace(' ', "-");
        for key in [name, hyphened.as_str()] {
            let all = bearers(key);
            if !all.is_empty() {
                return settled(all, Match::Exact, fits);
            }
        }
        if exact_only || name.contains(' ') {
            return Found::Nothing;
        }
        for (keys, how) in [(self.begin_with(name, sought), Match::Prefix), (self.near(name, sought), Match::Near)] {
            let mut all: Vec<Named> = keys.iter().flat_map(|key| bearers(key)).collect();
            all.sort();
            all.dedup();
            match keys.len() {
                0 => {}
                1 => return settled(all, how, fits),
                _ => {
                    let some: Vec<Named> = all.iter().filter(|named| fits(named)).cloned().collect();
                    return if some.is_empty() { Found::Unfit(all) } else { Found::Several(some) };
                }
            }
        }
        Found::Nothing
    }

    /// What is called nearly so, for an offer only: at most five, none farther than two letters.
    pub(super) fn nearest(&self, name: &str) -> Vec<Named> {
        let name = name.to_lowercase().replace(' ', "-");
        let most = if name.chars().count() > 5 { 2 } else { 1 };
        let close = |key: &&String| plain(key) && distance(key, &name, most + 1) <= most;
        let all: BTreeSet<Named> =
            self.names.keys().filter(close).take(5).filter_map(|key| self.names.get(key)).flatten().cloned().collect();
        all.into_iter().take(5).collect()
    }

    /// The names that begin so. Pods of a workload that begins so as well do not count: whoever says `photos` does not mean a pod.
    fn begin_with(&self, start: &str, sought: &Sought) -> Vec<&String> {
        if start.chars().count() < PREFIX_LETTERS_MIN {
            return Vec::new();
        }
        let cuts_number =
            |key: &str| start.ends_with(|c: char| c.is_ascii_digit()) && key[start.len()..].starts_with(|c: char| c.is_ascii_digit());
        let all = self.names.range(start.to_owned()..).take_while(|(key, _)| key.starts_with(start));
        let found: Vec<(&String, &BTreeSet<Named>)> = all
            .filter(|(key, bearers)| plain(key) && !cuts_number(key) && bearers.iter().any(|named| sought.counts(named)))
            .take(1_000)
            .collect();
        let of_pods =
            |bearers: &BTreeSet<Named>| bearers.iter().all(|named| matches!(named, Named::Thing(target) if target.kind() == "pod"));
        let extends = |key: &str| {
            found
                .iter()
                .any(|(other, bearers)| !of_pods(bearers) && key.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('-')))
        };
        found.iter().filter(|(key, bearers)| !(of_pods(bearers) && extends(key))).map(|(key, _)| *key).collect()
    }

    /// The names that differ by one letter of the alphabet.
    fn near(&self, name: &str, sought: &Sought) -> Vec<&String> {
        if name.chars().count() < NEAR_LETTERS_MIN || !name.is_ascii() {
            return Vec::new();
        }
        let close = |key: &str| key.len() >= NEAR_LETTERS_MIN && key.is_ascii() && differs_by_letter(key, name) && plain(key);
        let all = self.names.iter().filter(|(key, bearers)| close(key) && bearers.iter().any(|named| sought.counts(named)));
        all.map(|(key, _)| key).collect()
    }
}

fn settled(all: Vec<Named>, how: Match, fits: &dyn Fn(&Named) -> bool) -> Found {
    let mut some: Vec<Named> = all.iter().filter(|named| fits(named)).cloned().collect();
    match some.len() {
        0 => Found::Unfit(all),
        1 => Found::One(some.remove(0), how),
        _ => Found::Several(some),
    }
}

/// A name of one part; `home/web` and `nas:/srv` are for those who say them whole.
fn plain(key: &str) -> bool {
    !key.contains(['/', ':'])
}

/// Whether one letter was left out, put in or changed. Never a digit: machines are numbered.
fn differs_by_letter(one: &str, other: &str) -> bool {
    let (long, short) = if one.len() >= other.len() { (one.as_bytes(), other.as_bytes()) } else { (other.as_bytes(), one.as_bytes()) };
    let same = long.iter().zip(short).take_while(|(a, b)| a == b).count();
    let letters = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    match long.len() - short.len() {
        0 => same < long.len() && letters(long.get(same)) && letters(short.get(same)) && long[same + 1..] == short[same + 1..],
        1 => letters(long.get(same)) && long[same + 1..] == short[same..],
        _ => false,
    }
}

/// How many letters lie between two names (Levenshtein), at most `most`.
pub(super) fn distance(one: &str, other: &str, most: usize) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) >= most {
        return most;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()].min(most)
}

pub(super) fn is_article(word: &str) -> bool {
    matches!(word, "the" | "a" | "an" | "my" | "our")
}

/// Whether a name can be said in one word, and is read back as that word.
fn sayable(name: &str) -> bool {
    let fine = |c: char| c.is_alphanumeric() || "-_./:@+~#%".contains(c);
    let ends = |c: char| c.is_alphanumeric() || c == '/';
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(fine)
        && name.starts_with(|c: char| c.is_alphanumeric() || c == '/')
        && name.ends_with(ends)
}
