//! The shadow twin: a candidate policy that runs beside the live one on live data, never acts, and is compared by what it wished.
//!
//! A candidate is a policy like any other, loaded as `<name>.candidate` with the autonomy `shadow`; the kernel rules on what it wishes
//! and holds it back. What both wished stands in the journal, and is compared here: the same symptom, verb and target at about the
//! same time is one episode of both. Deliberately absent: a score (whether the one that acted helped is judged elsewhere), and any
//! evaluation. An editor breaks this by looking at what happened before both were loaded, or after one of them changed.

use homeostat_model::{ActionId, EntryBody, Event, Note, Reason, Record, Span, Stance, Time};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a candidate's name ends in; the rest is the live policy's.
pub const SUFFIX: &str = ".candidate";
/// Episodes of one policy that are kept; older ones are dropped and counted.
pub const EPISODES_MAX: usize = 10_000;

/// One wish, from when it was first ruled on until it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Episode {
    /// Its number in the journal.
    pub action: ActionId,
    /// What it was about.
    pub symptom: String,
    /// What was wished.
    pub verb: String,
    /// For what.
    pub target: String,
    /// When it was first wished.
    pub from: Time,
    /// When it ended; `None`: it stands.
    pub until: Option<Time>,
    /// Why, at first.
    pub because: String,
    /// The first guard, autonomy aside, that did not let it pass at first. `None`: it would have been done, autonomy allowing.
    pub held_by: Option<String>,
    /// Whether it was sent.
    pub sent: bool,
    /// Whether its claim held; `None`: not judged. A twin's claims are not judged.
    pub held: Option<bool>,
}

/// What both wished since both are there, unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Twins {
    /// The live policy.
    pub policy: String,
    /// Since when both are loaded as they are now. `None`: they were never loaded together.
    pub since: Option<Time>,
    /// The live policy's episodes.
    pub live: Vec<Episode>,
    /// The candidate's.
    pub candidate: Vec<Episode>,
    /// Episodes of both: a number in `live`, one in `candidate`.
    pub both: Vec<(usize, usize)>,
    /// Numbers in `live` that the candidate has no counterpart for.
    pub only_live: Vec<usize>,
    /// Numbers in `candidate` that only it has.
    pub only_candidate: Vec<usize>,
    /// Episodes that were too many to be kept.
    pub dropped: u64,
}

/// Reads the journal, entry by entry, for the twins of one policy.
pub struct Reader {
    twins: Twins,
    candidate: String,
    /// The texts that are loaded: live and candidate.
    loaded: Option<(String, String)>,
    /// Where an open episode stands: whether it is the candidate's, and its number.
    open: BTreeMap<ActionId, (bool, usize)>,
}

impl Reader {
    /// For the policy of this name.
    pub fn new(policy: &str) -> Reader {
        let twins = Twins { policy: policy.to_owned(), ..Twins::default() };
        Reader { twins, candidate: format!("{policy}{SUFFIX}"), loaded: None, open: BTreeMap::new() }
    }

    /// Takes in the next entry.
    pub fn take(&mut self, at: Time, body: &EntryBody) {
        match body {
            EntryBody::Event(Event::Loaded(rules)) => {
                // What is switched off wishes nothing: no comparison.
                let enabled = |name: &str| rules.policies.iter().find(|p| p.id.as_str() == name && p.overrides.enabled != Some(false));
                let text = |name: &str| enabled(name).map(homeostat_kernel::policy::digest);
                self.load(at, text(&self.twins.policy).zip(text(&self.candidate)));
            }
            EntryBody::Effect(record) => self.record(at, record),
            EntryBody::Event(_) => {}
        }
    }

    /// A change of either begins the comparison anew.
    fn load(&mut self, at: Time, texts: Option<(String, String)>) {
        if self.loaded == texts {
            return;
        }
        let policy = std::mem::take(&mut self.twins.policy);
        self.twins = Twins { policy, since: texts.is_some().then_some(at), ..Twins::default() };
        self.open.clear();
        self.loaded = texts;
    }

    fn record(&mut self, at: Time, record: &Record) {
        if self.loaded.is_none() {
            return;
        }
        if let Record::Ruled { action, proposal, ruling, .. } = record {
            let Some(policy) = proposal.origin.policy().map(|policy| policy.as_str()) else { return };
            let of_candidate = policy == self.candidate;
            if self.open.contains_key(action) || !(of_candidate || policy == self.twins.policy) {
                return;
            }
            let episode = Episode {
                action: *action,
                symptom: proposal.symptom.clone(),
                verb: proposal.verb.to_string(),
                target: proposal.target.to_string(),
                from: at,
                until: None,
                because: proposal.because.clone(),
                held_by: holder(&ruling.reasons),
                sent: false,
                held: None,
            };
            let list = if of_candidate { &mut self.twins.candidate } else { &mut self.twins.live };
            if list.len() >= EPISODES_MAX {
                self.twins.dropped += 1;
                return;
            }
            list.push(episode);
            self.open.insert(*action, (of_candidate, list.len() - 1));
            return;
        }
        let Some((of_candidate, number)) = record.action().and_then(|action| self.open.get(&action)).copied() else { return };
        let list = if of_candidate { &mut self.twins.candidate } else { &mut self.twins.live };
        let Some(episode) = list.get_mut(number) else { return };
        match record {
            Record::Act { .. } => episode.sent = true,
            Record::Judged { judgement, .. } => {
                episode.held = judgement.held;
                episode.until.get_or_insert(at);
            }
            Record::Closed { .. } | Record::Noted(Note::Withdrawn { .. }) => {
                episode.until.get_or_insert(at);
            }
            _ => {}
        }
    }

    /// What both wished. Episodes that begin within `tolerance` of each other, or overlap, are the same.
    pub fn finish(mut self, tolerance: Span) -> Twins {
        let twins = &mut self.twins;
        let mut free: Vec<usize> = (0..twins.candidate.len()).collect();
        for (number, live) in twins.live.iter().enumerate() {
            match free.iter().position(|other| is_same(live, &twins.candidate[*other], tolerance)) {
                Some(place) => {
                    let other = free.remove(place);
                    let by_its_twin = format!("lock: {} ", live.action);
                    let candidate = &mut twins.candidate[other];
                    // The live one was first with the same wish: alone, the candidate would have been let through.
                    candidate.held_by.take_if(|held_by| held_by.starts_with(&by_its_twin));
                    twins.both.push((number, other));
                }
                None => twins.only_live.push(number),
            }
        }
        twins.only_candidate = free;
        self.twins
    }
}

fn is_same(a: &Episode, b: &Episode, tolerance: Span) -> bool {
    let about = |episode: &Episode| (episode.symptom.clone(), episode.verb.clone(), episode.target.clone());
    let near = a.from.since(b.from).max(b.from.since(a.from)) <= tolerance;
    let overlap = a.from <= b.until.unwrap_or(Time::MAX) && b.from <= a.until.unwrap_or(Time::MAX);
    about(a) == about(b) && (near || overlap)
}

/// Autonomy aside: a twin is in the shadow by what it is.
fn holder(reasons: &[Reason]) -> Option<String> {
    let reason = reasons.iter().find(|reason| reason.stance != Stance::Pass && reason.guard != "autonomy")?;
    Some(format!("{}: {}", reason.guard, reason.text))
}

#[cfg(test)]
mod tests;
