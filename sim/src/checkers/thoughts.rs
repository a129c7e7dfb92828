//! What models may: answer what was asked, wish for what can be taken back, and have a person wherever text from outside decided.

use super::Checkers;
use homeostat_model::{Action, Class, Note, Origin, Proposal, QuestionId, Record, Suggested, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Questions, by what became of them.
#[derive(Default)]
pub(super) struct Thoughts {
    open: BTreeMap<QuestionId, Time>,
    ended: BTreeSet<QuestionId>,
}

impl Thoughts {
    /// Questions that have not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = (QuestionId, Time)> + '_ {
        self.open.iter().map(|(question, asked)| (*question, *asked))
    }

    fn end(&mut self, question: QuestionId) {
        if self.open.remove(&question).is_some() {
            self.ended.insert(question);
        }
    }
}

impl Checkers {
    /// A record was written: questions begin and end with it.
    pub(super) fn check_thoughts(&mut self, at: Time, record: &Record) {
        match record {
            Record::Asked { question, .. } => {
                let again = self.thoughts.ended.contains(question) || self.thoughts.open.insert(*question, at).is_some();
                if again {
                    self.broken(at, "questions", format!("{question} was asked again"));
                }
            }
            Record::Noted(Note::NoProposal { question, .. }) => self.thoughts.end(*question),
            Record::Ruled { action, proposal, .. } => {
                let Origin::Reasoner(suggested) = &proposal.origin else { return };
                let Some(question) = suggested.question else { return };
                self.thoughts.end(question);
                if !self.thoughts.ended.contains(&question) {
                    self.broken(at, "questions", format!("{action} answers {question}, which nobody asked"));
                }
                self.check_wish(at, proposal);
            }
            _ => {}
        }
    }

    fn check_wish(&mut self, at: Time, proposal: &Proposal) {
        let class = self.lab.verbs.get(proposal.verb.as_str()).map(|entry| entry.class);
        if class.is_none_or(|class| class > Class::Reversible) || proposal.claim.is_none() {
            let what = format!("{} on {}", proposal.verb, proposal.target);
            self.broken(at, "reasoner", format!("a model was let choose {what}: {class:?}, claim: {}", proposal.claim.is_some()));
        }
    }

    /// An action is sent: is it a model's wish, and may it be?
    pub(super) fn check_thinker(&mut self, at: Time, action: &Action, suggested: &Suggested) {
        let what = format!("{} {} on {} of {}", action.id, action.verb, action.target, suggested.by);
        if action.class > Class::Reversible {
            self.broken(at, "reasoner", format!("{what} was sent, and is {}", action.class));
        }
        if let Some(veto) = &suggested.veto {
            self.broken(at, "reasoner", format!("{what} was sent against a second model: {veto}"));
        }
        if !suggested.taint.is_empty() && !self.books.has_person(action.id) {
            self.broken(at, "reasoner", format!("{what} was sent without a person: {}", suggested.taint));
        }
    }
}
