//! Questions to reasoners: which are open, what was asked about, and how many lately. Derived from records alone, like all of the ledger.

use homeostat_model::{Brief, QuestionId, Span, Time};
use std::collections::{BTreeMap, VecDeque};

/// What was asked about is remembered for so long …
const ASKED_FOR: Span = Span::from_hours(24);
/// … and at most so many.
const ASKED_MAX: usize = 2_000;
/// Questions that may be open at once; no more are asked.
pub const OPEN_MAX: usize = 32;

/// See the module.
#[derive(Default)]
pub struct Questions {
    next: u64,
    open: BTreeMap<QuestionId, (Time, Box<Brief>)>,
    asked: VecDeque<(Time, String, bool)>,
}

impl Questions {
    /// The number of the next question.
    pub fn next(&self) -> QuestionId {
        QuestionId(self.next.max(1))
    }
    /// An open question: when it was asked, and what was told.
    pub fn open(&self, id: QuestionId) -> Option<(Time, &Brief)> {
        self.open.get(&id).map(|(at, brief)| (*at, brief.as_ref()))
    }
    /// All open questions.
    pub fn all_open(&self) -> impl Iterator<Item = (QuestionId, Time, &Brief)> {
        self.open.iter().map(|(id, (at, brief))| (*id, *at, brief.as_ref()))
    }
    /// Whether this was asked about since, by the kernel itself or by a person.
    pub fn was_asked(&self, symptom: &str, since: Time) -> bool {
        self.asked.iter().rev().take_while(|(at, ..)| *at >= since).any(|(_, asked, _)| asked == symptom)
    }
    /// How many the kernel asked by itself since.
    pub fn asked_since(&self, since: Time) -> usize {
        self.asked.iter().rev().take_while(|(at, ..)| *at > since).filter(|(.., by_person)| !by_person).count()
    }

    pub(super) fn ask(&mut self, at: Time, id: QuestionId, brief: &Brief) {
        self.next = self.next.max(id.0 + 1);
        self.asked.push_back((at, brief.occasion.symptom.clone(), brief.occasion.asked_by.is_some()));
        while self.asked.len() > ASKED_MAX || self.asked.front().is_some_and(|(then, ..)| at.since(*then) > ASKED_FOR) {
            self.asked.pop_front();
        }
        self.open.insert(id, (at, Box::new(brief.clone())));
        while self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
    }

    pub(super) fn end(&mut self, id: QuestionId) {
        self.open.remove(&id);
    }
}
