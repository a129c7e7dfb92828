//! Reasoners: when they are asked, and what becomes of their answers.
//!
//! A question is an effect like any other, with exactly what is told in the journal. An answer is news from outside: it is read against
//! its own question's brief, and what it chose becomes a proposal that every guard rules on. No answer, a late one, one that does not
//! fit, and one that proposes nothing all end the same way: nothing is done, and the journal says why. Deliberately absent: any path from
//! here to an order. An editor breaks this by building a proposal from anything but a [`homeostat_model::Pick`] of the brief, or by
//! giving it more autonomy than [`Kernel::reasoners_autonomy`].

use super::{Kernel, Timer};
use crate::about::{is_seen, of_alert};
use crate::effect::Effect;
use crate::ledger::{QUESTIONS_OPEN_MAX, REASONER, symptom_of};
use crate::reason::catalogue;
use homeostat_model::playbook::PLAYBOOK;
use homeostat_model::{
    Advice, Advised, Alert, AlertKind, Args, Autonomy, Brief, Claim, ClaimSubject, Event, Note, Occasion, Origin, Proposal, QuestionId,
    Relation, Span, Suggested, Target, Time, Verb, Verdict,
};
use std::collections::BTreeSet;

/// A wish of a reasoner stays quiet for so long after it was admitted.
const COOLDOWN: Span = Span::from_mins(30);
/// How long a sleeping node that a model lives on may take until it is up.
const WAKE_WITHIN: Span = Span::from_mins(5);
/// The verb that wakes.
const WAKE: &str = "power.wake";

impl Kernel {
    /// The most that a reasoner may do by itself: never `auto`.
    fn reasoners_autonomy(&self) -> Autonomy {
        self.reasoning.autonomy.min(Autonomy::Veto)
    }

    /// After an alert began: look again when it has been on for long enough.
    pub(super) fn arm_advice(&mut self) {
        self.arm_advice_at(self.now + self.reasoning.after);
    }

    fn arm_advice_at(&mut self, at: Time) {
        if self.reasoning.advice && !std::mem::replace(&mut self.advice_armed, true) {
            self.timers.insert((at, Timer::Advice));
        }
    }

    /// Asks about alerts that have been on for long enough, and about which nothing is being done.
    pub(super) fn advice_due(&mut self) {
        self.advice_armed = false;
        if !self.reasoning.advice {
            return;
        }
        let due: Vec<Occasion> = self
            .ledger
            .alerts()
            .filter(|known| known.firing && known.alert.kind == AlertKind::Condition)
            .filter(|known| self.now.since(known.since) >= self.reasoning.after)
            .map(|known| (occasion_of(&known.alert, known.since), known.since))
            .filter(|(occasion, since)| !self.ledger.questions().was_asked(&occasion.symptom, *since) && !self.is_cared_for(occasion))
            .map(|(occasion, _)| occasion)
            .collect();
        for occasion in due {
            if self.consult(occasion).is_err() {
                // A limit was reached and noted; the rest is looked at again later.
                return self.arm_advice_at(self.now + self.reasoning.after.max(Span::from_mins(1)));
            }
        }
        let young = self.ledger.alerts().filter(|known| known.firing).map(|known| known.since + self.reasoning.after);
        if let Some(next) = young.filter(|due| *due > self.now).min() {
            self.arm_advice_at(next);
        }
    }

    /// Whether something more than a message was wished for it since it began, and not refused as impossible.
    fn is_cared_for(&self, occasion: &Occasion) -> bool {
        self.ledger.actions().rev().any(|state| {
            let told_only = self.arbiter.verb(&state.proposal.verb).is_none_or(|spec| spec.class == homeostat_model::Class::Notify);
            let about = state.proposal.target == occasion.target || state.proposal.symptom == occasion.symptom;
            about && !told_only && state.moved_at >= occasion.since && !matches!(state.ruling.verdict, Verdict::Denied)
        })
    }

    /// Asks about a symptom that repeating does not help.
    pub(super) fn consult_about_lock(&mut self, proposal: &Proposal) {
        let Some(policy) = proposal.origin.policy().filter(|_| self.reasoning.advice) else { return };
        let symptom = format!("{policy}: {}", proposal.symptom);
        let since = self.ledger.attempts(&symptom_of(proposal)).next().unwrap_or(self.now);
        if self.ledger.questions().was_asked(&symptom, since) {
            return;
        }
        let alert = if let Origin::Alert(_, fingerprint) = &proposal.origin { Some(fingerprint.clone()) } else { None };
        let title = format!("{policy}: {} does not help", proposal.verb);
        drop(self.consult(Occasion { symptom, target: proposal.target.clone(), alert, title, since, asked_by: None }));
    }

    /// A person wants to know.
    pub(super) fn consult_for(&mut self, by: &str, target: Target) -> Result<QuestionId, String> {
        if !self.reasoning.advice {
            return Err("no reasoner is asked: `reasoning.advice` is off".into());
        }
        let known = self.ledger.alerts().find(|known| known.firing && of_alert(&known.alert) == target);
        let occasion = match known {
            Some(known) => occasion_of(&known.alert, known.since),
            None => {
                let title = format!("a person asks about {}", crate::reason::words::clean_label(target.as_str(), 128));
                Occasion { symptom: format!("asked {target}"), target, alert: None, title, since: self.now, asked_by: None }
            }
        };
        self.consult(Occasion { asked_by: Some(by.to_owned()), ..occasion })
    }

    /// Asks, within the limits.
    fn consult(&mut self, occasion: Occasion) -> Result<QuestionId, String> {
        let hour = self.now - Span::from_hours(1);
        let questions = self.ledger.questions();
        let refused = if questions.all_open().count() >= QUESTIONS_OPEN_MAX {
            Some(format!("{QUESTIONS_OPEN_MAX} questions are open"))
        } else if occasion.asked_by.is_none() && questions.asked_since(hour) >= self.reasoning.per_hour_max as usize {
            Some(format!("{} questions were asked within an hour (`reasoning.per_hour_max`)", self.reasoning.per_hour_max))
        } else {
            None
        };
        if let Some(why) = refused {
            self.note_limit("questions", format!("{}: {why}", occasion.title));
            return Err(why);
        }
        let id = questions.next();
        let brief = Box::new(self.brief(occasion));
        let effect = Effect::Question { id, brief };
        self.ledger.apply_record(self.now, &effect.record());
        self.timers.insert((self.now + self.reasoning.answer_within, Timer::Question(id)));
        self.stats.questions += 1;
        self.effects.push_back(effect);
        Ok(id)
    }

    /// After a start: what was asked before is not waited for; alerts that are on are looked at in time.
    pub(super) fn questions_again(&mut self) {
        let open: Vec<QuestionId> = self.ledger.questions().all_open().map(|(id, ..)| id).collect();
        for question in open {
            self.note(Note::NoProposal { question, why: "the engine stopped before there was an answer".into() });
        }
    }

    /// An answer did not come in time.
    pub(super) fn question_due(&mut self, question: QuestionId) {
        if self.ledger.questions().open(question).is_some() {
            let within = self.reasoning.answer_within;
            self.note(Note::NoProposal { question, why: format!("no answer within {within}") });
        }
    }

    /// Takes in what came of a question.
    pub(super) fn advised(&mut self, advice: Advice) {
        let question = advice.question;
        let brief = self.ledger.questions().open(question).map(|(_, brief)| brief.clone());
        self.ledger.apply_event(self.now, &Event::Advised(Box::new(advice.clone())));
        self.count_advice(&advice);
        let Some(brief) = brief else {
            self.note(Note::NoProposal { question, why: "the answer came too late, or nobody had asked".into() });
            return;
        };
        let outcome = match &advice.answer {
            Some(answer) => self.proposal_of(question, &brief, answer),
            None => Err(advice.fault.clone()),
        };
        match outcome {
            Ok(proposal) => {
                self.stats.proposals_of_reasoners += 1;
                let symptom = symptom_of(&proposal);
                self.wish(proposal);
                // Nobody renews it: what cannot be done now is said and closed, questions to people aside.
                self.close_held(symptom, "it cannot be done now, and a reasoner's proposal is not renewed");
            }
            Err(why) => {
                self.note(Note::NoProposal { question, why });
                if let Some(node) = advice.needs.filter(|_| advice.answer.is_none()) {
                    self.wish_to_wake(question, &brief, node);
                }
            }
        }
    }

    /// What an answer proposes, or why it proposes nothing that can be ruled on.
    fn proposal_of(&self, question: QuestionId, brief: &Brief, answer: &Advised) -> Result<Proposal, String> {
        let said = catalogue::read(brief, &answer.json).map_err(|why| format!("{} answered outside the catalogue: {why}", answer.by))?;
        let Some(pick) = said.pick else { return Err(format!("{} proposes nothing: {}", answer.by, said.because)) };
        // Names of pods, alerts and metrics are chosen outside as well: every answer is held against the one that was given without any.
        let taint = match answer.json_untold.as_deref().map(|json| catalogue::read(brief, json).map(|said| said.pick)) {
            None => "it read text from outside, and was not asked without it".to_owned(),
            Some(Ok(Some(other))) if other == pick => String::new(),
            Some(Ok(Some(other))) => format!("without the text from outside it would propose {} on {}", other.verb, other.target),
            Some(Ok(None)) => "without the text from outside it would propose nothing".to_owned(),
            Some(Err(_)) => "without the text from outside it gave no answer that fits".to_owned(),
        };
        // What a person must say yes to is never a veto that silence ends, and neither is what no alert would take back.
        let needs_a_person = !taint.is_empty() || brief.occasion.alert.is_none();
        let autonomy = if needs_a_person { self.reasoners_autonomy().min(Autonomy::Suggest) } else { self.reasoners_autonomy() };
        let because = if said.because.is_empty() { "no reason was given".to_owned() } else { said.because };
        let suggested = Suggested {
            by: answer.by.clone(),
            question: Some(question),
            alert: brief.occasion.alert.clone(),
            taint,
            veto: answer.verification.as_ref().and_then(|second| {
                second
                    .veto
                    .as_ref()
                    .map(|veto| format!("{}: {}", second.by, crate::reason::words::one_line(veto, catalogue::BECAUSE_CHARS_MAX).text))
            }),
        };
        let proposal = Proposal {
            origin: Origin::Reasoner(Box::new(suggested)),
            symptom: brief.occasion.symptom.clone(),
            verb: pick.verb,
            target: pick.target,
            args: pick.args,
            because: format!("{} (a model's words): {because}", brief.occasion.title),
            evidence: said.evidence.into_iter().filter_map(|place| brief.readings.get(place).cloned()).collect(),
            claim: Some(pick.claim),
            cooldown: COOLDOWN,
            settle: None,
            autonomy,
            alternatives: Vec::new(),
        };
        Ok(self.asking_where_guards_will(proposal))
    }

    /// Where the guards will ask a person, the wish itself is one that needs a yes: people must not be told that silence is one.
    fn asking_where_guards_will(&self, mut proposal: Proposal) -> Proposal {
        let takes_down = self.touches(&proposal).iter().any(|touch| touch.takes_down(self.arbiter.specs()));
        let has_steps = proposal.verb.actuator() == PLAYBOOK;
        let wakes = proposal.verb.as_str() == WAKE;
        let seen = self.host.with_store(|store| is_seen(&self.arbiter.world(store, self.now, self.stats.events), &proposal.target, wakes));
        if takes_down || has_steps || !seen {
            proposal.autonomy = proposal.autonomy.min(Autonomy::Suggest);
        }
        proposal
    }

    /// The node that the model lives on sleeps: waking it is a proposal of its own, if that is wanted at all.
    fn wish_to_wake(&mut self, question: QuestionId, brief: &Brief, node: Target) {
        if !self.reasoning.wake {
            return;
        }
        let series = self.host.with_store(|store| {
            let selector = crate::store::Selector::parse(&format!("node_up{{node=\"{}\"}}", node.name())).ok()?;
            store.select(&selector).first().and_then(|series| store.key(*series))
        });
        let Some(series) = series else {
            self.note(Note::NoProposal { question, why: format!("{node} has no `node_up`: whether it woke could not be seen") });
            return;
        };
        let subject = ClaimSubject::Series { series, relation: Relation::Above, threshold: 0.5, held: Span::ZERO };
        let suggested = Suggested {
            by: "chain".into(),
            question: Some(question),
            alert: brief.occasion.alert.clone(),
            taint: String::new(),
            veto: None,
        };
        let proposal = Proposal {
            origin: Origin::Reasoner(Box::new(suggested)),
            symptom: format!("think {node}"),
            verb: WAKE.into(),
            target: node,
            args: Args::new(),
            because: format!("the model that could answer {question} ({}) lives there", brief.occasion.title),
            evidence: Vec::new(),
            claim: Some(Claim { subject, within: WAKE_WITHIN }),
            cooldown: COOLDOWN,
            settle: None,
            autonomy: self.reasoners_autonomy(),
            alternatives: Vec::new(),
        };
        let symptom = symptom_of(&proposal);
        self.waiting_to_think.insert(symptom.1.clone(), brief.occasion.clone());
        self.wish(self.asking_where_guards_will(proposal));
        self.close_held(symptom, "it cannot be done now");
    }

    /// A claim came true: where it was that a model's node is awake, the question is asked again.
    pub(super) fn thinker_awake(&mut self, id: homeostat_model::ActionId) {
        let Some(state) = self.ledger.action(id) else { return };
        let Origin::Reasoner(_) = &state.proposal.origin else { return };
        if let Some(occasion) = self.waiting_to_think.remove(&state.proposal.symptom)
            && self.is_still_on(&occasion)
        {
            drop(self.consult(occasion));
        }
    }

    fn is_still_on(&self, occasion: &Occasion) -> bool {
        occasion.alert.as_deref().is_none_or(|fingerprint| self.ledger.alert(fingerprint).is_some_and(|known| known.firing))
    }

    /// The trouble ended: what reasoners proposed for it is not wished any more.
    pub(super) fn advice_over(&mut self, alert: &Alert) {
        let about = |id: &homeostat_model::ActionId| {
            let origin = self.ledger.action(*id).map(|state| &state.proposal.origin);
            matches!(origin, Some(Origin::Reasoner(suggested)) if suggested.alert.as_ref() == Some(&alert.fingerprint))
        };
        let over: Vec<_> =
            self.open.iter().filter(|((of, _), ids)| of == REASONER && ids.iter().any(about)).map(|(symptom, _)| symptom.clone()).collect();
        over.into_iter().for_each(|symptom| self.close_open(symptom, &BTreeSet::new(), "the alert has ended"));
    }

    /// A wish of somebody who may propose and nothing else.
    pub(super) fn propose_for(&mut self, by: &str, verb: Verb, target: Target, args: Args, because: &str, claim: Option<Claim>) {
        let because = crate::reason::words::one_line(because, catalogue::BECAUSE_CHARS_MAX).text;
        let suggested = Suggested {
            by: format!("agent {by}"),
            question: None,
            alert: None,
            taint: "an agent's own words and choice".into(),
            veto: None,
        };
        let proposal = Proposal {
            origin: Origin::Reasoner(Box::new(suggested)),
            symptom: format!("{verb} {target}"),
            verb,
            target,
            args,
            because: if because.is_empty() { String::new() } else { format!("(an agent's words) {because}") },
            evidence: Vec::new(),
            claim,
            cooldown: COOLDOWN,
            settle: None,
            autonomy: Autonomy::Suggest,
            alternatives: Vec::new(),
        };
        let symptom = symptom_of(&proposal);
        self.wish(proposal);
        self.close_held(symptom, "it cannot be done now; propose it again later");
    }

    /// What thinking cost is counted; the monthly books know actions only.
    fn count_advice(&mut self, advice: &Advice) {
        self.stats.reasoner_tokens += advice.usage.total();
        self.stats.reasoner_euros += advice.cost_euros;
    }
}

/// An alert as an occasion. Its name comes from the rule, its target from labels; no other text of it is taken.
fn occasion_of(alert: &Alert, since: Time) -> Occasion {
    let name = crate::reason::words::clean_label(&alert.name, 128);
    Occasion {
        symptom: format!("alert/{name}/{}", crate::reason::words::clean_label(&alert.fingerprint, 64)),
        target: of_alert(alert),
        alert: Some(alert.fingerprint.clone()),
        title: format!("alert {name}"),
        since,
        asked_by: None,
    }
}
