//! What the kernel asks for. Only [`Effect::Act`], [`Effect::Probe`], [`Effect::Revert`], [`Effect::Question`] and [`Effect::Announce`] leave the machine; everything else is
//! recorded. The journal keeps the plain [`Record`] of each, written before the effect is sent.
//!
//! An editor breaks this by making [`Admitted`] constructible outside the arbiter.

use homeostat_model::{Action, Brief, Notice, QuestionId, Record};

pub use crate::arbiter::{Admitted, Reverting};

/// Everything that the kernel may ask.
#[derive(Debug)]
pub enum Effect {
    /// Do it, now. Only the arbiter can build what is inside.
    Act(Admitted),
    /// Ask the actuator whether it is true.
    Probe(Action),
    /// Take it back, now. Only what was sent can be taken back.
    Revert(Reverting),
    /// Ask the reasoners. What comes back is an event; nothing here can be acted on.
    Question {
        /// The question's number.
        id: QuestionId,
        /// What they are told.
        brief: Box<Brief>,
    },
    /// Tell people.
    Announce(Notice),
    /// Write it down; nothing is sent.
    Record(Record),
}

impl Effect {
    /// The journal's form.
    pub fn record(&self) -> Record {
        match self {
            Effect::Act(admitted) => Record::Act { action: admitted.action().clone(), attempt: admitted.attempt() },
            Effect::Probe(action) => Record::Probe { action: action.id },
            Effect::Revert(reverting) => Record::Revert { action: reverting.action().id, receipt: reverting.receipt().clone() },
            Effect::Question { id, brief } => Record::Asked { question: *id, brief: brief.clone() },
            Effect::Announce(notice) => Record::Announce(notice.clone()),
            Effect::Record(record) => record.clone(),
        }
    }
}
