//! What was learned: beliefs about what actions do, how long symptoms last by themselves, how fast series answer, and what policies have
//! earned. Derived from the journal like everything else in the ledger, so a restart knows as much as the running daemon did.
//!
//! Deliberately absent: judgement (`score/`) and settings; what settings decide arrives as a record. An editor breaks this by letting
//! an episode that nobody could follow to its end (a restart, a removed policy) count as healed.

use super::{ActionState, Symptom, symptom_of};
use crate::score::belief::Belief;
use crate::score::dead_time::{Fit, Learned};
use crate::score::ladder::{self, BOUND_LEVEL, Evidence, Shown, Standing, Step};
use crate::score::recovery::Recovery;
use homeostat_model::{
    ActionId, ArbiterSettings, Autonomy, BeliefKey, Claim, ClaimSubject, Class, Closing, DrillEnd, EarnedSettings, LadderKey, MoveCause,
    Note, Origin, PolicyId, Record, RuleSet, Score, Span, Target, Time, Trip, Verb, Verdict,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Beliefs, and standings, in memory; the one that moved longest ago goes first.
const KEYS_MAX: usize = 4_096;
/// Symptoms that are followed at once.
const EPISODES_MAX: usize = 20_000;
/// Scores kept for tables and the digest.
pub const SCORES_MAX: usize = 5_000;
/// Steps and drills kept for tables and the digest.
const MOVES_MAX: usize = 1_000;
/// Rhythms on one target that lock it …
pub const TRIPS_MAX: usize = 3;
/// … within this span; older ones do not make a hold longer either.
pub const TRIPS_WITHIN: Span = Span::from_hours(24);
/// How a policy says that its symptom has gone.
pub const GONE: &str = "the policy does not wish it any more";

/// A symptom that is there now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenEpisode {
    /// Since when, as far as the engine saw it.
    pub since: Time,
    /// Whether something was done about it.
    pub treated: Option<Time>,
    /// When the claim of what was done is due; a wish after that is a new episode.
    pub due: Option<Time>,
    /// What would be done, and where: for what watching earns.
    pub wish: ActionId,
}

/// A score, as tables and the digest show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredLine {
    /// When it was scored.
    pub at: Time,
    /// The action.
    pub action: ActionId,
    /// What it is evidence for.
    pub key: BeliefKey,
    /// The target.
    pub target: Target,
    /// The class.
    pub class: Class,
    /// What was found.
    pub score: Score,
}

/// How a policy's drills stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DrillState {
    /// The fault of the drill that is under way.
    pub fault: Option<ActionId>,
    /// When one was last begun, or refused by a person.
    pub tried_at: Option<Time>,
    /// When one was last wished, and perhaps only held.
    pub held_at: Option<Time>,
    /// When one was last passed.
    pub passed_at: Option<Time>,
    /// How the last one ended.
    pub last: Option<DrillEnd>,
}

/// What of the arbiter's settings decides how things are learned.
#[derive(Clone, Debug)]
struct Settings {
    earned: EarnedSettings,
    class_max: BTreeMap<Class, Autonomy>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::of(&ArbiterSettings::default())
    }
}

impl Settings {
    fn of(settings: &ArbiterSettings) -> Settings {
        Settings { earned: settings.earned.clone(), class_max: settings.autonomy.clone() }
    }

    fn ceiling(&self, class: Class, author: Autonomy) -> Autonomy {
        self.class_max.get(&class).copied().unwrap_or(Autonomy::Suggest).min(author)
    }
}

/// See the module.
#[derive(Default)]
pub struct Trust {
    beliefs: BTreeMap<BeliefKey, Belief>,
    /// All that a policy did of one class, whatever the verb: what its autonomy rests on.
    merits: BTreeMap<LadderKey, Belief>,
    standings: BTreeMap<LadderKey, Standing>,
    recoveries: BTreeMap<PolicyId, Recovery>,
    responses: BTreeMap<(Verb, String), Learned>,
    episodes: BTreeMap<Symptom, OpenEpisode>,
    policies: BTreeMap<PolicyId, String>,
    verbs: BTreeMap<Verb, String>,
    drills: BTreeMap<PolicyId, DrillState>,
    trips: BTreeMap<Target, Vec<(Time, Trip)>>,
    /// The verbs that a standing rests on.
    rests_on: BTreeMap<LadderKey, BTreeSet<Verb>>,
    settings: Settings,
    /// Of a rule set that is being loaded; it counts once it was.
    pending: Option<Settings>,
    scores: VecDeque<ScoredLine>,
    moves: VecDeque<(Time, Record)>,
    nothing: Recovery,
}

/// What an action is evidence for; `None` where no policy is behind it.
pub fn keys_of(state: &ActionState) -> Option<(BeliefKey, Option<LadderKey>)> {
    let policy = state.proposal.origin.policy()?.clone();
    let target_class = state.proposal.target.kind().to_owned();
    let ladder =
        state.action.as_ref().map(|action| LadderKey { policy: policy.clone(), class: action.class, target_class: target_class.clone() });
    Some((BeliefKey { policy, verb: state.proposal.verb.clone(), target_class }, ladder))
}

impl Trust {
    /// What is believed of an action.
    pub fn belief(&self, key: &BeliefKey) -> Option<&Belief> {
        self.beliefs.get(key)
    }
    /// All beliefs.
    pub fn beliefs(&self) -> impl Iterator<Item = (&BeliefKey, &Belief)> {
        self.beliefs.iter()
    }
    /// All that a policy did of one class.
    pub fn merit(&self, key: &LadderKey) -> Option<&Belief> {
        self.merits.get(key)
    }
    /// How a policy stands on the ladder.
    pub fn standing(&self, key: &LadderKey) -> Option<&Standing> {
        self.standings.get(key)
    }
    /// All standings.
    pub fn standings(&self) -> impl Iterator<Item = (&LadderKey, &Standing)> {
        self.standings.iter()
    }
    /// How long a policy's symptoms last by themselves.
    pub fn recovery(&self, policy: &PolicyId) -> &Recovery {
        self.recoveries.get(policy).unwrap_or(&self.nothing)
    }
    /// How series answer to verbs.
    pub fn responses(&self) -> impl Iterator<Item = (&(Verb, String), &Learned)> {
        self.responses.iter()
    }
    /// How a metric answers to a verb.
    pub fn response(&self, verb: &Verb, metric: &str) -> Option<&Learned> {
        self.responses.get(&(verb.clone(), metric.to_owned()))
    }
    /// A symptom that is there now.
    pub fn episode(&self, symptom: &Symptom) -> Option<&OpenEpisode> {
        self.episodes.get(symptom)
    }
    /// A policy's drills.
    pub fn drill(&self, policy: &PolicyId) -> Option<&DrillState> {
        self.drills.get(policy)
    }
    /// All drills.
    pub fn drills(&self) -> impl Iterator<Item = (&PolicyId, &DrillState)> {
        self.drills.iter()
    }
    /// When and how actions on a target went round in circles, since a person last unlocked it.
    pub fn trips(&self, target: &Target) -> &[(Time, Trip)] {
        self.trips.get(target).map_or(&[], Vec::as_slice)
    }
    /// All targets whose actions went round in circles.
    pub fn all_trips(&self) -> impl Iterator<Item = (&Target, &[(Time, Trip)])> {
        self.trips.iter().map(|(target, trips)| (target, trips.as_slice()))
    }
    /// Scores, oldest first.
    pub fn scores(&self) -> impl DoubleEndedIterator<Item = &ScoredLine> {
        self.scores.iter()
    }
    /// Steps of autonomy and ended drills, oldest first.
    pub fn moves(&self) -> impl DoubleEndedIterator<Item = &(Time, Record)> {
        self.moves.iter()
    }
    /// Everything that was learned, as bytes: the same journal gives the same ones, live and after a restart.
    pub fn bytes(&self) -> Vec<u8> {
        let learned = (
            self.beliefs.iter().collect::<Vec<_>>(),
            self.merits.iter().collect::<Vec<_>>(),
            self.standings.iter().collect::<Vec<_>>(),
            self.recoveries.iter().collect::<Vec<_>>(),
            self.responses.iter().collect::<Vec<_>>(),
            self.episodes.iter().collect::<Vec<_>>(),
            (&self.policies, &self.verbs, &self.drills, &self.trips),
            self.rests_on.iter().collect::<Vec<_>>(),
            (&self.scores, &self.moves),
        );
        serde_json::to_vec(&learned).unwrap_or_default()
    }

    /// The digest of a policy as it was last loaded.
    pub fn version(&self, policy: &PolicyId, verb: &Verb) -> String {
        let digest = |found: Option<&String>| found.map_or("", String::as_str).to_owned();
        format!("{}/{}", digest(self.policies.get(policy)), digest(self.verbs.get(verb)))
    }

    /// Nobody followed the symptoms for a while: what was open is neither healed nor lasting.
    pub(super) fn interrupted(&mut self) {
        self.episodes.clear();
    }

    /// A person has looked.
    pub(super) fn unlocked(&mut self, policy: &str, symptom: &str) {
        self.trips.retain(|target, _| !(policy.is_empty() || policy == target.as_str() || symptom == target.as_str()));
    }

    /// Takes in a record that belongs to no action.
    pub(super) fn take(&mut self, at: Time, record: &Record) {
        match record {
            Record::Autonomy(moved) => {
                let (key, earned) = (&moved.key, &self.settings.earned);
                let begin = || Standing { level: moved.from, ..Standing::begin(key.class, Autonomy::Auto, earned, at) };
                let standing = bounded(&mut self.standings, key, begin);
                if moved.cause != MoveCause::Began {
                    let step = Step { to: moved.to, cause: moved.cause, evidence: String::new() };
                    ladder::apply(standing, &NOTHING, Some(&step), Autonomy::Auto, earned, at);
                }
                self.keep(at, record);
            }
            Record::Drilled(end) => {
                let state = self.drills.entry(end.policy.clone()).or_default();
                state.fault = None;
                if end.passed == Some(true) {
                    state.passed_at = Some(at);
                }
                state.last = Some((**end).clone());
                if let Some(shown) = drill_shown(end.passed) {
                    let of_policy = self.standings.iter_mut().filter(|(key, _)| key.policy == end.policy);
                    let evidence = Evidence { shown, lower_bound: 0.0 };
                    of_policy.for_each(|(_, standing)| ladder::apply(standing, &evidence, None, Autonomy::Auto, &self.settings.earned, at));
                }
                self.keep(at, record);
            }
            Record::Tripped(trip) => {
                let trips = self.trips.entry(trip.target.clone()).or_default();
                trips.push((at, trip.clone()));
                if trips.len() > 16 {
                    trips.remove(0);
                }
                self.keep(at, record);
            }
            Record::Noted(Note::PoliciesLoaded { policies, verbs }) => self.loaded(at, policies, verbs),
            _ => {}
        }
    }

    fn keep(&mut self, at: Time, record: &Record) {
        if self.moves.len() == MOVES_MAX {
            self.moves.pop_front();
        }
        self.moves.push_back((at, record.clone()));
    }

    /// What was learned of another version is forgotten.
    fn loaded(&mut self, at: Time, policies: &[(PolicyId, String)], verbs: &[(Verb, String)]) {
        if let Some(settings) = self.pending.take() {
            self.settings = settings;
        }
        for key in self.changed(policies, verbs) {
            if let Some(standing) = self.standings.get_mut(&key) {
                let evidence = Evidence { shown: Shown::Changed, lower_bound: 0.0 };
                ladder::apply(standing, &evidence, None, Autonomy::Auto, &self.settings.earned, at);
            }
            self.merits.remove(&key);
            self.rests_on.remove(&key);
        }
        let changed_policy =
            |id: &PolicyId| self.policies.get(id).is_some_and(|old| policies.iter().any(|(other, digest)| other == id && digest != old));
        let changed_verb =
            |verb: &Verb| self.verbs.get(verb).is_some_and(|old| verbs.iter().any(|(other, digest)| other == verb && digest != old));
        self.beliefs.retain(|key, _| !changed_policy(&key.policy) && !changed_verb(&key.verb));
        self.responses.retain(|(verb, _), _| !changed_verb(verb));
        let lost: Vec<PolicyId> = policies.iter().map(|(id, _)| id.clone()).filter(|id| changed_policy(id)).collect();
        self.recoveries.retain(|policy, _| !lost.contains(policy));
        self.episodes.retain(|(policy, _), _| !lost.iter().any(|id| id.as_str() == policy));
        self.policies.extend(policies.iter().cloned());
        self.verbs.extend(verbs.iter().cloned());
    }

    /// The standings that rest on something that is another now.
    pub fn changed(&self, policies: &[(PolicyId, String)], verbs: &[(Verb, String)]) -> Vec<LadderKey> {
        let is_other_policy =
            |id: &PolicyId| policies.iter().any(|(other, digest)| other == id && self.policies.get(id).is_some_and(|old| old != digest));
        let is_other_verb =
            |verb: &Verb| verbs.iter().any(|(other, digest)| other == verb && self.verbs.get(verb).is_some_and(|old| old != digest));
        let rests_on_other = |key: &LadderKey| self.rests_on.get(key).is_some_and(|verbs| verbs.iter().any(is_other_verb));
        self.standings.keys().filter(|key| is_other_policy(&key.policy) || rests_on_other(key)).cloned().collect()
    }

    /// Rules are being loaded.
    pub(super) fn loading(&mut self, rules: &RuleSet) {
        self.pending = Some(Settings::of(&rules.arbiter));
    }

    /// Takes in what happened to an action.
    pub(super) fn moved(&mut self, at: Time, state: &ActionState, record: &Record) {
        match record {
            Record::Ruled { .. } => self.ruled(at, state),
            Record::Act { .. } => self.sent(at, state),
            Record::Closed { closing, why, .. } => self.closed(at, state, *closing, why),
            Record::Judged { judgement, .. } => {
                if let (Some(held), Some((key, _))) = (judgement.held, keys_of(state))
                    && let Some(belief) = self.beliefs.get_mut(&key)
                {
                    belief.note_treated(held, at);
                }
            }
            Record::Scored { score, .. } => self.scored(at, state, score),
            _ => {}
        }
    }

    fn ruled(&mut self, at: Time, state: &ActionState) {
        if let Origin::Drill(policy) = &state.proposal.origin {
            let drill = self.drills.entry(policy.clone()).or_default();
            // What was only held is tried again in a day; what was sent or refused, in its rhythm.
            drill.held_at = Some(at);
        }
        if state.proposal.origin.policy().is_none() {
            return;
        }
        let symptom = symptom_of(&state.proposal);
        let again = |episode: &OpenEpisode| episode.due.is_some_and(|due| at > due);
        if self.episodes.get(&symptom).is_none_or(again) && self.episodes.len() < EPISODES_MAX {
            self.episodes.insert(symptom, OpenEpisode { since: at, treated: None, due: None, wish: state.id });
        }
    }

    fn sent(&mut self, at: Time, state: &ActionState) {
        if let Origin::Drill(policy) = &state.proposal.origin {
            let drill = self.drills.entry(policy.clone()).or_default();
            (drill.fault, drill.tried_at) = (Some(state.id), Some(at));
        }
        let Some(policy) = state.proposal.origin.policy() else { return };
        if state.action.as_ref().is_none_or(|action| action.class == Class::Notify) {
            // Telling somebody changes nothing by itself: the symptom goes its own way.
            return;
        }
        let due = state.proposal.claim.as_ref().map(|claim| at + claim.within);
        let symptom = symptom_of(&state.proposal);
        if let Some(episode) = self.episodes.get_mut(&symptom) {
            if episode.treated.is_none() {
                // What it would have done from here on is not known.
                let lasted = at.since(episode.since);
                self.recoveries.entry(policy.clone()).or_default().note(lasted, false);
            }
            episode.treated = Some(at);
            episode.due = due.or(Some(at));
        }
        let Some((key, ladder)) = keys_of(state) else { return };
        let version = self.version(&key.policy, &key.verb);
        let half_life = self.settings.earned.half_life;
        bounded(&mut self.beliefs, &key, || Belief::new(&version, half_life)).note_symptom(&state.proposal.target, at);
        if let Some(ladder) = ladder {
            self.rests_on.entry(ladder).or_default().insert(key.verb);
        }
    }

    /// What a wish that was only watched shows when it ends: for every standing of its policy that is in shadow.
    pub fn watched(&self, at: Time, state: &ActionState, why: &str) -> Option<Shown> {
        let is_shadow = state.ruling.verdict == Verdict::Shadowed && why == GONE;
        let within = state.proposal.claim.as_ref().filter(|_| is_shadow)?.within;
        Some(Shown::Wish { persisted: at.since(state.ruled_at) >= within })
    }

    fn closed(&mut self, at: Time, state: &ActionState, closing: Closing, why: &str) {
        if let Some(shown) = self.watched(at, state, why) {
            let of =
                |key: &LadderKey| Some(&key.policy) == state.proposal.origin.policy() && key.target_class == state.proposal.target.kind();
            let evidence = Evidence { shown, lower_bound: 0.0 };
            for (key, standing) in self.standings.iter_mut().filter(|(key, _)| of(key)) {
                let ceiling = self.settings.ceiling(key.class, state.proposal.autonomy);
                ladder::apply(standing, &evidence, None, ceiling, &self.settings.earned, at);
            }
        }
        if let Origin::Drill(policy) = &state.proposal.origin {
            let drill = self.drills.entry(policy.clone()).or_default();
            if matches!(closing, Closing::Refused | Closing::Never | Closing::Expired) {
                drill.tried_at = Some(at);
            }
            if drill.fault == Some(state.id) && closing != Closing::Unresolved {
                drill.fault = None;
            }
        }
        let Some(policy) = state.proposal.origin.policy() else { return };
        let symptom = symptom_of(&state.proposal);
        if closing != Closing::Gone {
            return;
        }
        match why {
            GONE => {
                if let Some(episode) = self.episodes.remove(&symptom)
                    && episode.treated.is_none()
                {
                    self.recoveries.entry(policy.clone()).or_default().note(at.since(episode.since), true);
                }
            }
            "the policy wishes something else now" => {}
            // The target or the policy is gone: nobody knows how it would have ended.
            _ => {
                if let Some(episode) = self.episodes.remove(&symptom)
                    && episode.treated.is_none()
                {
                    self.recoveries.entry(policy.clone()).or_default().note(at.since(episode.since), false);
                }
            }
        }
    }

    fn scored(&mut self, at: Time, state: &ActionState, score: &Score) {
        let Some((key, ladder)) = keys_of(state) else { return };
        let version = self.version(&key.policy, &key.verb);
        let half_life = self.settings.earned.half_life;
        bounded(&mut self.beliefs, &key, || Belief::new(&version, half_life)).note_score(score, at);
        if let Some(ladder) = &ladder {
            let merit = bounded(&mut self.merits, ladder, || Belief::new(&version, half_life));
            merit.note_score(score, at);
            // What is noted asks for no bound; the step that needs one was decided before.
            let evidence = Evidence { shown: Shown::Score { finding: score.finding, p_harmed: score.p_harmed }, lower_bound: 0.0 };
            let ceiling = self.settings.ceiling(ladder.class, state.proposal.autonomy);
            let earned = &self.settings.earned;
            let standing = bounded(&mut self.standings, ladder, || Standing::begin(ladder.class, ceiling, earned, at));
            ladder::apply(standing, &evidence, None, ceiling, earned, at);
        }
        if let (Some(response), Some(Claim { subject: ClaimSubject::Series { series, .. }, .. })) = (&score.response, &state.proposal.claim)
        {
            let place = (key.verb.clone(), series.metric.to_string());
            // How well it fitted is not written down, and nothing that is learned asks for it.
            let fit =
                Fit { dead_time_seconds: response.dead_time.seconds(), lag_seconds: response.lag.seconds(), gain: response.gain, r2: 1.0 };
            bounded(&mut self.responses, &place, Learned::default).learn(fit);
        }
        if self.scores.len() == SCORES_MAX {
            self.scores.pop_front();
        }
        let class = state.action.as_ref().map_or(Class::Notify, |action| action.class);
        let line = ScoredLine { at, action: state.id, key, target: state.proposal.target.clone(), class, score: score.clone() };
        self.scores.push_back(line);
    }
}

/// Only time has passed.
const NOTHING: Evidence = Evidence { shown: Shown::Nothing, lower_bound: 0.0 };

/// What a drill's end shows; nothing if it could not be held.
pub fn drill_shown(passed: Option<bool>) -> Option<Shown> {
    passed.map(|passed| if passed { Shown::DrillPassed } else { Shown::DrillFailed })
}

/// What a score shows, with what is believed after it.
pub fn score_evidence(score: &Score, merit: &Belief, at: Time) -> Evidence {
    let shown = Shown::Score { finding: score.finding, p_harmed: score.p_harmed };
    Evidence { shown, lower_bound: merit.lower_bound(at, BOUND_LEVEL) }
}

/// Whether actions on a target that went round in circles at these moments wait for a person: three times within a day. Nothing is sent
/// from then on, so it stays so until a person unlocks it; what happened once in a while months ago locks nothing.
pub fn is_locked(trips: &[Time]) -> bool {
    trips.windows(TRIPS_MAX).any(|times| times[TRIPS_MAX - 1].since(times[0]) <= TRIPS_WITHIN)
}

/// The entry of a key; where there is no room, the first one that is not it goes.
fn bounded<'a, K: Ord + Clone, V>(map: &'a mut BTreeMap<K, V>, key: &K, new: impl FnOnce() -> V) -> &'a mut V {
    if map.len() >= KEYS_MAX && !map.contains_key(key) {
        map.pop_first();
    }
    map.entry(key.clone()).or_insert_with(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rhythms_in_a_day_lock_and_three_in_a_year_do_not() {
        let hours = |hours: &[i64]| hours.iter().map(|hour| Time(hour * 3_600_000)).collect::<Vec<_>>();
        assert!(!is_locked(&[]) && !is_locked(&hours(&[1, 2])));
        assert!(is_locked(&hours(&[1, 2, 25])));
        assert!(!is_locked(&hours(&[1, 2, 26])) && !is_locked(&hours(&[1, 2_000, 5_000, 8_000])));
        assert!(is_locked(&hours(&[1, 2_000, 2_001, 2_002])), "what was long ago does not hide it");
        // It does not wear off.
        assert!(is_locked(&hours(&[1, 2, 3, 9_000])));
    }
}
