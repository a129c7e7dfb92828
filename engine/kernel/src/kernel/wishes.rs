//! Wishes: ruled on, written down when the ruling changes, sent when admitted, closed when nobody wishes them any more.

use super::{Kernel, Timer};
use crate::arbiter::{Arbiter, Case, Consent, Ruled, Touch};
use crate::effect::Effect;
use crate::ledger::{ActionState, Phase, Symptom, symptom_of};
use homeostat_model::playbook::PLAYBOOK;
use homeostat_model::{
    ActionId, Args, Autonomy, Class, Closing, Command, Event, Note, NoticeKind, Ordered, Origin, Proposal, Reason, Record, Ruling, Span,
    Target, Time, Verb, Verdict,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The plan that an approval names: verb, target and arguments, frozen.
pub(super) fn plan_hash(proposal: &Proposal) -> String {
    let plan = serde_json::to_vec(&(&proposal.verb, &proposal.target, &proposal.args)).unwrap_or_default();
    Sha256::digest(plan).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Kernel {
    /// Rules on a wish and follows the verdict.
    pub(super) fn wish(&mut self, proposal: Proposal) {
        self.wish_with(proposal, None);
    }

    /// The same, with a person's word.
    pub(super) fn wish_with(&mut self, mut proposal: Proposal, consent: Option<Consent>) {
        let symptom = symptom_of(&proposal);
        let plan = plan_hash(&proposal);
        if proposal.settle.is_none() {
            proposal.settle = self.arbiter.verb(&proposal.verb).map(|spec| spec.settle);
        }
        let known =
            self.open.get(&symptom).into_iter().flatten().copied().find(|id| self.ledger.action(*id).is_some_and(|s| s.plan == plan));
        let id = known.unwrap_or_else(|| self.ledger.next_action());
        self.begin_ladder(&proposal);
        self.wished_at.insert(id, self.now);
        let ruled = self.rule(&proposal, self.now, consent);
        let before = known.and_then(|id| self.ledger.action(id)).map(|state| (state.phase, state.ruling.clone()));
        // What a yes will rest on: the newest wish behind an open question, and never one from before a hold.
        match before {
            Some((Phase::Awaiting { .. }, _)) => drop(self.renewed.insert(id, proposal.clone())),
            _ => drop(self.renewed.remove(&id)),
        }
        self.follow(id, proposal, plan, ruled, before, 1);
    }

    fn rule(&self, proposal: &Proposal, wished_at: Time, consent: Option<Consent>) -> Ruled {
        self.with_case(proposal, wished_at, consent, |arbiter, case| arbiter.rule(case))
    }

    /// Shows a wish to the guards, with everything that they may look at.
    pub(super) fn with_case<T>(
        &self,
        proposal: &Proposal,
        wished_at: Time,
        consent: Option<Consent>,
        look: impl FnOnce(&Arbiter, &Case<'_>) -> T,
    ) -> T {
        let every = proposal.origin.policy().and_then(|id| self.policies.get(id)).map_or(Span::from_mins(1), |policy| policy.every);
        let touches = self.touches(proposal);
        self.host.with_store(|store| {
            let world = self.arbiter.world(store, self.now, self.stats.events);
            let case = Case {
                now: self.now,
                proposal,
                spec: self.arbiter.verb(&proposal.verb),
                settings: &self.arbiter.settings,
                ledger: &self.ledger,
                observer_faults: &self.observer_faults,
                wished_at,
                every,
                consent,
                run: proposal.origin.run(),
                touches: &touches,
                verbs: self.arbiter.specs(),
                world: &world,
                earned: self.earned(proposal),
            };
            look(&self.arbiter, &case)
        })
    }

    /// What a person wishes: the order is the yes.
    fn wish_of_person(&mut self, by: &str, verb: Verb, target: Target, args: Args, because: String) {
        let symptom = format!("{verb} {target}");
        let proposal = Proposal {
            origin: Origin::Operator(by.to_owned()),
            symptom,
            verb,
            target,
            args,
            because,
            evidence: Vec::new(),
            claim: None,
            cooldown: Span::ZERO,
            settle: None,
            autonomy: Autonomy::Auto,
            alternatives: Vec::new(),
        };
        let symptom = symptom_of(&proposal);
        self.wish_with(proposal, Some(Consent::Approved { by: by.to_owned() }));
        // Nobody renews it: what cannot be done now is said and closed, questions aside, and may be ordered again.
        self.close_held(symptom, "it cannot be done now; order it again later");
    }

    /// What a wish would do: itself, or for a playbook all steps that are known beforehand.
    pub(super) fn touches(&self, proposal: &Proposal) -> Vec<Touch> {
        if let Some(checked) = self.playbooks.get(&proposal.verb) {
            return self.touches_of(checked, proposal);
        }
        let class = self.arbiter.verb(&proposal.verb).map_or(Class::Irreversible, |spec| spec.class);
        vec![Touch { verb: proposal.verb.clone(), target: proposal.target.clone(), args: proposal.args.clone(), class }]
    }

    fn follow(&mut self, id: ActionId, proposal: Proposal, plan: String, ruled: Ruled, before: Option<(Phase, Ruling)>, attempt: u32) {
        let verdict = ruled.ruling.verdict;
        self.stats.ruled(verdict);
        if matches!(verdict, Verdict::AwaitingApproval { .. }) && ruled.ruling.decided_by().is_some_and(|reason| reason.guard == "opposite")
        {
            self.watch_held_swing(id, &proposal);
        }
        let changed = before.as_ref().is_none_or(|(_, old)| ruling_kind(old) != ruling_kind(&ruled.ruling));
        // A question stays open through short holds: the guards are asked again when it is answered.
        let short_hold = ruled.ruling.decided_by().is_some_and(is_short_hold);
        let asked = matches!(before, Some((Phase::Awaiting { .. }, _)));
        if asked && short_hold && matches!(verdict, Verdict::Deferred { .. }) {
            return;
        }
        if verdict != Verdict::Admitted && !changed {
            return;
        }
        let record = Record::Ruled { action: id, proposal: Box::new(proposal.clone()), ruling: ruled.ruling.clone(), plan: plan.clone() };
        self.record(record);
        match verdict {
            Verdict::Admitted => self.act(id, &proposal, &ruled, attempt),
            Verdict::AwaitingApproval { by } => {
                self.set_open(&proposal, id);
                self.timers.insert((by, Timer::Answer(id)));
                self.ask(id, by);
            }
            Verdict::Deferred { .. } | Verdict::Shadowed | Verdict::Denied => {
                self.set_open(&proposal, id);
                self.tell_of_lock(id, &proposal, &ruled.ruling);
            }
        }
    }

    /// Tells people, once for each lock, that repeating does not help: a cause that is masked stays (lesson 35).
    fn tell_of_lock(&mut self, id: ActionId, proposal: &Proposal, ruling: &Ruling) {
        let is_lock = |ruling: &Ruling| {
            matches!(ruling.verdict, Verdict::Deferred { .. }) && ruling.decided_by().is_some_and(|reason| reason.guard == "futility")
        };
        if !is_lock(ruling) {
            return;
        }
        let symptom = symptom_of(proposal);
        let last = self.ledger.attempts(&symptom).next_back();
        let told = self.ledger.actions().any(|state| {
            state.id != id
                && is_lock(&state.ruling)
                && symptom_of(&state.proposal) == symptom
                && last.is_none_or(|last| state.moved_at > last)
        });
        if !told {
            let said = ruling.decided_by().map_or_else(String::new, |reason| reason.text.clone());
            let title = format!("{id}: {} on {} does not help", proposal.verb, proposal.target);
            self.announce(NoticeKind::Trouble, Some(id), title, format!("{}\n{said}", proposal.because));
            self.consult_about_lock(proposal);
        }
    }

    /// Tells people what is asked of them.
    pub(super) fn ask(&mut self, id: ActionId, by: Time) {
        let Some(state) = self.ledger.action(id) else { return };
        let (proposal, plan) = (&state.proposal, &state.plan);
        let ends = if self.silence_is_yes(state) { "It is done then unless somebody says no." } else { "Silence is a no." };
        let claim = proposal.claim.as_ref().map_or_else(String::new, |claim| format!("Claim: {claim}"));
        let text = format!(
            "{}\n{claim}\nhomeostat approve {id} --plan {plan}    homeostat deny {id}    homeostat deny {id} --never\nOpen for {}. {ends}",
            proposal.because,
            by.since(self.now)
        );
        let title = format!("{id}: {} on {}?", proposal.verb, proposal.target);
        self.announce(NoticeKind::Approval, Some(id), title, text);
    }

    /// Whether a question that nobody answers is done then: both as it was asked and as it is now. One that said "silence is a no" keeps its
    /// word.
    fn silence_is_yes(&self, state: &ActionState) -> bool {
        let asked_as_veto = |reason: &Reason| reason.guard == "autonomy" && reason.text.contains("allows `veto`");
        self.autonomy_of(&state.proposal) == Autonomy::Veto && state.ruling.decided_by().is_some_and(asked_as_veto)
    }

    fn autonomy_of(&self, proposal: &Proposal) -> Autonomy {
        let class = self.arbiter.verb(&proposal.verb).map_or(homeostat_model::Class::Irreversible, |spec| spec.class);
        let ceiling = self.arbiter.settings.autonomy.get(&class).copied().unwrap_or(Autonomy::Suggest).min(proposal.autonomy);
        self.earned(proposal).map_or(ceiling, |earned| earned.level.min(ceiling))
    }

    fn set_open(&mut self, proposal: &Proposal, id: ActionId) {
        let symptom = symptom_of(proposal);
        let open = self.open.entry(symptom.clone()).or_default();
        if !open.contains(&id) {
            open.push(id);
        }
        self.set_unit_open(&symptom, true);
    }

    fn set_unit_open(&mut self, symptom: &Symptom, open: bool) {
        for id in self.units.of_symptom(&symptom.0, &symptom.1) {
            if let Some(unit) = self.units.get_mut(id) {
                unit.has_open = open;
            }
        }
    }

    fn forget_open(&mut self, proposal: &Proposal, id: ActionId) {
        let symptom = symptom_of(proposal);
        self.wished_at.remove(&id);
        self.renewed.remove(&id);
        if let Some(open) = self.open.get_mut(&symptom) {
            open.retain(|other| *other != id);
            if open.is_empty() {
                self.open.remove(&symptom);
                self.set_unit_open(&symptom, false);
            }
        }
    }

    /// Sends it: the intent is in the ledger before the effect is queued.
    fn act(&mut self, id: ActionId, proposal: &Proposal, ruled: &Ruled, attempt: u32) {
        let Some(admitted) = self.arbiter.seal(self.now, id, proposal, ruled, self.ledger.generation(), attempt) else { return };
        self.forget_open(proposal, id);
        // From now on its target is no sibling that was left alone.
        self.siblings.take();
        if proposal.verb.actuator() == PLAYBOOK {
            // Runs, and steps that are never sent, are the kernel's own: there is no actuator to send them to.
            self.record(Record::Act { action: admitted.action().clone(), attempt });
            self.stats.acts += 1;
            self.watch_claim(id);
            self.drill_sent(id);
            self.begin_own(id);
            return;
        }
        let effect = Effect::Act(admitted);
        self.ledger.apply_record(self.now, &effect.record());
        let Effect::Act(admitted) = &effect else { return };
        let answer_by = self.now + admitted.action().timeout + Span::from_secs(30);
        self.stats.acts += 1;
        self.probe_at(id, answer_by);
        self.watch_claim(id);
        self.effects.push_back(effect);
        self.drill_sent(id);
        self.watch_rhythm(id);
    }

    /// Sends it again: only after the actuator said that nothing was ever started, and only past every guard.
    pub(super) fn act_again(&mut self, id: ActionId) -> bool {
        let Some(state) = self.ledger.action(id) else { return false };
        // A step that was told to stop, or whose run goes no further, is not tried again.
        if state.reverting.is_some() || state.proposal.origin.run().is_some_and(|run| self.is_doomed(run)) {
            return false;
        }
        let (proposal, plan, attempt) = (state.proposal.clone(), state.plan.clone(), state.attempts + 1);
        // The person's word, if one was needed, was given for this very plan.
        let approved = state.ruling.reasons.iter().any(|reason| reason.guard == "autonomy" && reason.text.starts_with("approved by "));
        let consent = approved.then(|| Consent::Approved { by: "the person who approved the first attempt".into() });
        let ruled = self.rule(&proposal, self.now, consent);
        if ruled.ruling.verdict != Verdict::Admitted {
            // It stays `not_done`: if the policy still wishes it, that is a new action with a question of its own.
            return false;
        }
        self.follow(id, proposal, plan, ruled, None, attempt);
        true
    }

    /// Closes a symptom's open actions, those with a plan in `keep` excepted.
    pub(super) fn close_open(&mut self, symptom: Symptom, keep: &BTreeSet<String>, why: &str) {
        for id in self.open.get(&symptom).cloned().unwrap_or_default() {
            let Some(state) = self.ledger.action(id) else { continue };
            if keep.contains(&state.plan) {
                continue;
            }
            let (proposal, awaiting) = (state.proposal.clone(), matches!(state.phase, Phase::Awaiting { .. }));
            self.forget_open(&proposal, id);
            if awaiting {
                self.note(Note::Withdrawn { action: id, why: why.into() });
            }
            let steps = self.ledger.action(id).map(|state| self.steps_by_watching(state, Closing::Gone, why)).unwrap_or_default();
            self.record(Record::Closed { action: id, closing: Closing::Gone, why: why.into() });
            steps.into_iter().for_each(|step| self.take_step(Some(step)));
        }
    }

    /// Closes a symptom's open actions that nobody will look at again, questions to people excepted.
    pub(super) fn close_held(&mut self, symptom: Symptom, why: &str) {
        let open = self.open.get(&symptom).into_iter().flatten().filter_map(|id| self.ledger.action(*id));
        let asked: BTreeSet<String> =
            open.filter(|state| matches!(state.phase, Phase::Awaiting { .. })).map(|state| state.plan.clone()).collect();
        self.close_open(symptom, &asked, why);
    }

    /// A question's time is over: a no, or under `veto` a yes.
    pub(super) fn answer_due(&mut self, id: ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let Phase::Awaiting { by } = state.phase else { return };
        if by > self.now {
            return;
        }
        let proposal = state.proposal.clone();
        if self.silence_is_yes(state) {
            self.consent(id, Consent::NotVetoed);
            // A short hold leaves the question as it is, for whoever wishes it again; a reasoner does not.
            let open = self.ledger.action(id).is_some_and(|state| matches!(state.phase, Phase::Awaiting { by } if by <= self.now));
            if open && matches!(proposal.origin, Origin::Reasoner(_)) {
                self.forget_open(&proposal, id);
                self.record(Record::Closed { action: id, closing: Closing::Expired, why: "it was held when its time was over".into() });
            }
        } else {
            self.forget_open(&proposal, id);
            self.record(Record::Closed { action: id, closing: Closing::Expired, why: "nobody answered in time".into() });
            self.stir_run_of(id);
        }
    }

    fn consent(&mut self, id: ActionId, consent: Consent) {
        let Some(state) = self.ledger.action(id) else { return };
        let (plan, before) = (state.plan.clone(), Some((state.phase, state.ruling.clone())));
        // The same plan, with what was read when it was last wished: that is what it rests on now.
        let proposal = self.renewed.get(&id).unwrap_or(&state.proposal).clone();
        let wished_at = self.wished_at.get(&id).copied().unwrap_or(state.moved_at);
        let ruled = self.rule(&proposal, wished_at, Some(consent));
        let once = matches!(proposal.origin, Origin::Reasoner(_)).then(|| symptom_of(&proposal));
        self.follow(id, proposal, plan, ruled, before, 1);
        // Nobody renews it: what is held now would stay open for ever.
        if let Some(symptom) = once {
            self.close_held(symptom, "it could not be done when the answer came, and a reasoner's proposal is not renewed");
        }
    }

    /// Takes in an order from a person.
    pub(super) fn ordered(&mut self, ordered: Ordered) {
        let before = self.ledger.hands_off().is_some();
        self.ledger.apply_event(self.now, &Event::Ordered(ordered.clone()));
        self.announce_hands_off(before);
        let Ordered { by, command } = ordered;
        let refuse = |kernel: &mut Kernel, why: String| kernel.note(Note::OrderRefused { by: by.clone(), why });
        match command {
            Command::Pause { .. } | Command::Unlock { .. } => {}
            Command::Resume => self.stir_all(),
            Command::Wish { verb, target, args, because } => self.wish_of_person(&by, verb, target, args, because),
            Command::Release { run } => match self.ledger.run(run) {
                Some(found) if found.end.as_ref().is_some_and(|(_, end, _)| *end == homeostat_model::RunEnd::Stuck) => {}
                Some(_) => refuse(self, format!("release {run}: it is not stuck")),
                None => refuse(self, format!("release {run}: there is no such run")),
            },
            Command::Approve { action, plan } => match self.answerable(action, plan.as_deref()) {
                Ok(()) => match self.held(action, &by) {
                    // The question stays open; a yes that cannot be followed now must not vanish.
                    Some(why) => refuse(self, format!("approve {action}: {why}; it stays open, say yes again then")),
                    None => self.consent(action, Consent::Approved { by: by.clone() }),
                },
                Err(why) => refuse(self, format!("approve {action}: {why}")),
            },
            Command::Deny { action } => match self.answerable(action, None) {
                Ok(()) => {
                    if let Some(proposal) = self.ledger.action(action).map(|state| state.proposal.clone()) {
                        self.forget_open(&proposal, action);
                    }
                    self.record(Record::Closed { action, closing: Closing::Refused, why: format!("refused by {by}") });
                    self.stir_run_of(action);
                }
                Err(why) => refuse(self, format!("deny {action}: {why}")),
            },
            Command::Never { action } => match self.answerable(action, None) {
                Ok(()) => {
                    if let Some(proposal) = self.ledger.action(action).map(|state| state.proposal.clone()) {
                        self.forget_open(&proposal, action);
                    }
                    let why = format!("refused for good by {by}");
                    self.record(Record::Closed { action, closing: Closing::Never, why });
                    self.stir_run_of(action);
                }
                Err(why) => refuse(self, format!("never {action}: {why}")),
            },
            Command::Propose { verb, target, args, because, claim } => self.propose_for(&by, verb, target, args, &because, claim),
            Command::Consult { target } => {
                if let Err(why) = self.consult_for(&by, target) {
                    refuse(self, format!("consult: {why}"));
                }
            }
            Command::Drill { policy } => {
                if let Err(why) = self.drill(&policy.as_str().into(), Some(&by)) {
                    refuse(self, format!("drill {policy}: {why}"));
                }
            }
        }
    }

    /// What holds a waiting action for now, although a person says yes: the guard's name and words.
    pub fn held(&self, id: ActionId, by: &str) -> Option<String> {
        let state = self.ledger.action(id)?;
        let wished_at = self.wished_at.get(&id).copied().unwrap_or(state.moved_at);
        let proposal = self.renewed.get(&id).unwrap_or(&state.proposal);
        let ruled = self.rule(proposal, wished_at, Some(Consent::Approved { by: by.to_owned() })).ruling;
        let short = ruled.decided_by().filter(|reason| is_short_hold(reason))?;
        matches!(ruled.verdict, Verdict::Deferred { .. }).then(|| format!("held by {}: {}", short.guard, short.text))
    }

    /// Whether a person's answer to this action still counts: single use, in time, for the plan that was shown.
    pub fn answerable(&self, id: ActionId, plan: Option<&str>) -> Result<(), String> {
        let Some(state) = self.ledger.action(id) else { return Err("there is no such action".into()) };
        match state.phase {
            Phase::Awaiting { by } if by >= self.now => match plan {
                Some(plan) if plan != state.plan => Err(format!("the plan is {} now, the answer was for {plan}", state.plan)),
                _ => Ok(()),
            },
            Phase::Awaiting { .. } => Err("the time to answer is over".into()),
            phase => Err(format!("it is {}, not awaiting approval", phase.name())),
        }
    }
}

/// Whether what holds an action passes by itself, soon.
fn is_short_hold(reason: &Reason) -> bool {
    matches!(reason.guard.as_str(), "lock" | "budget" | "settling" | "observer_fault" | "storm" | "floors" | "blast_radius")
}

/// What makes two rulings the same to a reader: the verdict and the guard behind it. Times move every time and say nothing new.
fn ruling_kind(ruling: &Ruling) -> (&'static str, Option<&str>) {
    (ruling.verdict.name(), ruling.decided_by().map(|reason| reason.guard.as_str()))
}
