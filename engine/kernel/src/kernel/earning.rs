//! Autonomy: how far a policy may go by what it has shown, and every step of it as a journal entry.
//!
//! The rules are in `score::ladder`; here evidence is brought to them: scores, wishes that were only watched, drills, changed texts, and
//! time. Each step is decided on the standing as it was before the evidence, then the evidence is recorded, then the step. Deliberately
//! absent: raising anything by hand; a person raises the ceiling, not the standing. An editor breaks this by writing the step before its
//! evidence: after a restart the ledger would count the evidence twice.

use super::{Kernel, Timer};
use crate::arbiter::Earned;
use crate::ledger::{ActionState, drill_shown, keys_of, score_evidence, symptom_of};
use crate::score::belief::{self, Belief};
use crate::score::ladder::{self, BOUND_LEVEL, Evidence, Shown, Standing, Step};
use homeostat_model::{
    ActionId, Alternative, Autonomy, AutonomyMove, BeliefKey, Class, Closing, LadderKey, MoveCause, Notice, NoticeKind, PolicyId, Proposal,
    Record, Score, Span, Verb,
};
use sha2::{Digest, Sha256};

/// How often it is looked whether something has expired or is overdue.
const UPKEEP_EVERY: Span = Span::from_hours(1);
/// The shortest wait for a veto.
const VETO_MIN: Span = Span::from_mins(1);

impl Kernel {
    fn ceiling(&self, class: Class, author: Autonomy) -> Autonomy {
        self.arbiter.settings.autonomy.get(&class).copied().unwrap_or(Autonomy::Suggest).min(author)
    }

    fn ladder_key(&self, proposal: &Proposal) -> Option<LadderKey> {
        let class = self.arbiter.verb(&proposal.verb)?.class;
        Some(LadderKey { policy: proposal.origin.policy()?.clone(), class, target_class: proposal.target.kind().to_owned() })
    }

    /// Whether a policy needs a drill and has passed none of late.
    pub(super) fn owes_drill(&self, policy: &PolicyId) -> bool {
        let Some(drill) = self.policies.get(policy).and_then(|policy| policy.drill.as_ref()) else { return false };
        let passed = self.ledger.trust().drill(policy).and_then(|state| state.passed_at);
        passed.is_none_or(|at| self.now.since(at) > drill.every)
    }

    /// What a policy has earned for what it wishes; `None` where nothing need be earned: people, runs, drills.
    pub(super) fn earned(&self, proposal: &Proposal) -> Option<Earned> {
        let key = self.ladder_key(proposal)?;
        let ceiling = self.ceiling(key.class, proposal.autonomy);
        let trust = self.ledger.trust();
        let mut level = trust
            .standing(&key)
            .map_or_else(|| ladder::start(key.class, ceiling, &self.arbiter.settings.earned), |standing| standing.effective(ceiling));
        if level > Autonomy::Suggest && self.owes_drill(&key.policy) {
            level = Autonomy::Suggest;
        }
        let merit = trust.merit(&key);
        let why = match merit {
            None => "nothing is known of it yet".to_owned(),
            Some(merit) => {
                let weights = merit.weights(self.now);
                format!(
                    "helped {:.1}, harmed {:.1}, neither {:.1}; lower bound {:.2}",
                    weights.helped,
                    weights.harmed,
                    weights.neither,
                    merit.lower_bound(self.now, BOUND_LEVEL)
                )
            }
        };
        Some(Earned { level, why, veto_wait: merit.map(|merit| self.veto_wait(key.class, merit)) })
    }

    /// How long a veto is waited for. A person answers after about `veto_wait` (τ); waiting longer catches more of the wrong ones, of
    /// which each costs as many minutes as its class is hard to take back (H), and costs a minute of the symptom per minute. The sum
    /// c·w + p·H·exp(−w/τ) is least at w = τ·ln(p·H / (c·τ)), with p the chance that it does not help by the belief's lower bound.
    fn veto_wait(&self, class: Class, merit: &Belief) -> Span {
        let settings = &self.arbiter.settings;
        let usual = settings.veto_wait.seconds() / 60.0;
        if usual <= 0.0 {
            return settings.veto_wait;
        }
        let wrong = 1.0 - merit.lower_bound(self.now, BOUND_LEVEL);
        let hard_to_take_back = match class {
            Class::Notify => 0.0,
            Class::Restore => 10.0,
            Class::Reversible => 60.0,
            Class::Disruptive => 480.0,
            Class::Irreversible => 10_080.0,
        };
        let minutes = usual * (wrong * hard_to_take_back / usual).ln();
        let wait = if minutes.is_finite() { Span::from_millis((minutes * 60_000.0) as i64) } else { VETO_MIN };
        // What a person has set is the least: experience only lengthens it.
        wait.max(settings.veto_wait).max(VETO_MIN).min(settings.approval_ttl.max(settings.veto_wait))
    }

    /// The first wish of its kind: where it begins, if that is below what its author allows.
    pub(super) fn begin_ladder(&mut self, proposal: &Proposal) {
        let Some(key) = self.ladder_key(proposal) else { return };
        let ceiling = self.ceiling(key.class, proposal.autonomy);
        let begin = ladder::start(key.class, ceiling, &self.arbiter.settings.earned);
        if begin >= ceiling || self.ledger.trust().standing(&key).is_some() {
            return;
        }
        let evidence = format!("it begins at {}; its author allows {}", begin.name(), ceiling.name());
        self.record(Record::Autonomy(Box::new(AutonomyMove { key, from: begin, to: begin, cause: MoveCause::Began, evidence })));
    }

    /// The step that a score demands, before the score is written down.
    pub(super) fn step_by_score(&self, id: ActionId, score: &Score) -> Option<(LadderKey, Autonomy, Step)> {
        let state = self.ledger.action(id)?;
        let key = keys_of(state)?.1?;
        let ceiling = self.ceiling(key.class, state.proposal.autonomy);
        let mut merit = self.ledger.trust().merit(&key).cloned().unwrap_or_else(|| Belief::new("", self.arbiter.settings.earned.half_life));
        merit.note_score(score, self.now);
        let evidence = score_evidence(score, &merit, self.now);
        self.step(key, &evidence, ceiling)
    }

    fn step(&self, key: LadderKey, evidence: &Evidence, ceiling: Autonomy) -> Option<(LadderKey, Autonomy, Step)> {
        let settings = &self.arbiter.settings.earned;
        let standing = self.ledger.trust().standing(&key).cloned();
        let standing = standing.unwrap_or_else(|| Standing::begin(key.class, ceiling, settings, self.now));
        let step = ladder::next(&standing, evidence, ceiling, settings, self.now)?;
        Some((key, standing.level.min(ceiling), step))
    }

    /// Writes a step down and tells people.
    pub(super) fn take_step(&mut self, step: Option<(LadderKey, Autonomy, Step)>) {
        let Some((key, from, step)) = step else { return };
        let title = format!("{key}: {} → {}", from.name(), step.to.name());
        let text = step.evidence.clone();
        self.record(Record::Autonomy(Box::new(AutonomyMove { key, from, to: step.to, cause: step.cause, evidence: step.evidence })));
        self.effects.push_back(crate::effect::Effect::Announce(Notice { kind: NoticeKind::Autonomy, action: None, title, text }));
    }

    /// The steps that the end of a wish demands that was only watched, before that end is written down.
    pub(super) fn steps_by_watching(&self, state: &ActionState, closing: Closing, why: &str) -> Vec<(LadderKey, Autonomy, Step)> {
        let shown = (closing == Closing::Gone).then(|| self.ledger.trust().watched(self.now, state, why)).flatten();
        let (Some(shown), Some(policy)) = (shown, state.proposal.origin.policy()) else { return Vec::new() };
        let of = |key: &&LadderKey| key.policy == *policy && key.target_class == state.proposal.target.kind();
        let keys: Vec<LadderKey> = self.ledger.trust().standings().map(|(key, _)| key).filter(of).cloned().collect();
        let evidence = Evidence { shown, lower_bound: 0.0 };
        keys.into_iter()
            .filter_map(|key| {
                let ceiling = self.ceiling(key.class, state.proposal.autonomy);
                self.step(key, &evidence, ceiling)
            })
            .collect()
    }

    /// The steps that a drill's end demands, before that end is written down.
    pub(super) fn steps_by_drill(&self, policy: &PolicyId, passed: Option<bool>) -> Vec<(LadderKey, Autonomy, Step)> {
        drill_shown(passed).map_or_else(Vec::new, |shown| self.steps_of(shown, |key| key.policy == *policy))
    }

    fn steps_of(&self, shown: Shown, of: impl Fn(&LadderKey) -> bool) -> Vec<(LadderKey, Autonomy, Step)> {
        let keys: Vec<LadderKey> = self.ledger.trust().standings().map(|(key, _)| key).filter(|key| of(key)).cloned().collect();
        let steps = keys.into_iter().filter_map(|key| {
            let author = self.policies.get(&key.policy)?.autonomy;
            let ceiling = self.ceiling(key.class, author);
            let lower_bound = self.ledger.trust().merit(&key).map_or(0.0, |merit| merit.lower_bound(self.now, BOUND_LEVEL));
            self.step(key, &Evidence { shown, lower_bound }, ceiling)
        });
        steps.collect()
    }

    /// The steps that changed texts demand, before the change is written down.
    pub(super) fn steps_by_change(&self, policies: &[(PolicyId, String)], verbs: &[(Verb, String)]) -> Vec<(LadderKey, Autonomy, Step)> {
        let changed = self.ledger.trust().changed(policies, verbs);
        self.steps_of(Shown::Changed, |key| changed.contains(key))
    }

    /// What expires and what is due, about once an hour.
    pub(super) fn upkeep(&mut self) {
        self.upkeep_armed = false;
        let overdue: Vec<PolicyId> = self.policies.keys().filter(|policy| self.owes_drill(policy)).cloned().collect();
        let mut steps = self.steps_of(Shown::DrillOverdue, |key| overdue.contains(&key.policy));
        steps.extend(self.steps_of(Shown::Nothing, |key| !overdue.contains(&key.policy)));
        steps.into_iter().for_each(|step| self.take_step(Some(step)));
        self.hold_due_drills();
        self.arm_upkeep();
    }

    /// Sets the next upkeep, if there is anything that it could find.
    pub(super) fn arm_upkeep(&mut self) {
        if self.upkeep_armed {
            return;
        }
        let wanted = self.policies.values().any(|policy| policy.drill.is_some()) || self.ledger.trust().standings().next().is_some();
        if wanted && !std::mem::replace(&mut self.upkeep_armed, true) {
            self.timers.insert((self.now + UPKEEP_EVERY, Timer::Upkeep));
        }
    }
}

impl Kernel {
    /// Of a wish with alternatives the one that experience chooses: by Thompson sampling, seeded by the symptom and by how often it was
    /// acted on, so that the same question has the same answer until something was tried. Only among what can be taken back; else the
    /// author's order holds, and the first one is it.
    pub(super) fn choose(&self, mut proposal: Proposal) -> Proposal {
        if proposal.alternatives.is_empty() {
            return proposal;
        }
        let alternatives = std::mem::take(&mut proposal.alternatives);
        let first = Alternative { verb: proposal.verb.clone(), target: Some(proposal.target.clone()), args: proposal.args.clone() };
        let options: Vec<Alternative> = std::iter::once(first).chain(alternatives).collect();
        let mild = |option: &Alternative| self.arbiter.verb(&option.verb).is_some_and(|spec| spec.class <= Class::Reversible);
        let Some(policy) = proposal.origin.policy().filter(|_| options.iter().all(mild)) else { return proposal };
        let unknown = Belief::new("", self.arbiter.settings.earned.half_life);
        let beliefs: Vec<&Belief> = options
            .iter()
            .map(|option| {
                let target_class = option.target.as_ref().unwrap_or(&proposal.target).kind().to_owned();
                let key = BeliefKey { policy: policy.clone(), verb: option.verb.clone(), target_class };
                self.ledger.trust().belief(&key).unwrap_or(&unknown)
            })
            .collect();
        let symptom = symptom_of(&proposal);
        let tried = self.ledger.attempts(&symptom).count();
        let seed = Sha256::digest(format!("{}/{}/{tried}", symptom.0, symptom.1));
        let seed = seed.iter().take(8).fold(0u64, |seed, byte| seed << 8 | u64::from(*byte));
        if let Some(chosen) = options.into_iter().nth(belief::choose(&beliefs, self.now, seed)) {
            proposal.target = chosen.target.unwrap_or(proposal.target);
            (proposal.verb, proposal.args) = (chosen.verb, chosen.args);
        }
        proposal
    }
}
