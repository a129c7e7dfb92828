//! The guards, one file each, in the order in which they are asked. `disruptive` and above fail closed everywhere.
//! Numbers of lessons are those of `docs/safety.md`.

mod autonomy;
mod blast_radius;
mod budget;
mod calendar;
mod cooldown;
mod floors;
mod foreign_owner;
mod freshness;
mod futility;
mod hands_off;
mod ladder;
mod lint;
mod lock;
mod observer_fault;
mod opposite;
mod own_base;
mod reasoner;
mod settling;
mod storm;
mod witnesses;

pub use blast_radius::blast_preview;

use super::{Case, Doubt, Guard, Opinion};

/// All guards, in order.
pub const GUARDS: [Guard; 20] = [
    Guard { name: "hands_off", doubt: Doubt::FailClosed, doc: "Nothing is sent while hands-off lasts.", rule: hands_off::rule },
    Guard {
        name: "lint",
        doubt: Doubt::FailClosed,
        doc: "The wish must be well formed: known verb, target, arguments, a claim.",
        rule: lint::rule,
    },
    Guard { name: "freshness", doubt: Doubt::FailClosed, doc: "What it rests on must be fresh, and still wished.", rule: freshness::rule },
    Guard { name: "own_base", doubt: Doubt::FailClosed, doc: "Never cut off what the engine itself stands on.", rule: own_base::rule },
    Guard {
        name: "observer_fault",
        doubt: Doubt::FailClosed,
        doc: "Many targets bad at once: suspect the observer.",
        rule: observer_fault::rule,
    },
    Guard {
        name: "storm",
        doubt: Doubt::FailOpen,
        doc: "Much wrong at once, or much coming back: one by one, and nothing rough.",
        rule: storm::rule,
    },
    Guard {
        name: "settling",
        doubt: Doubt::FailClosed,
        doc: "Let a target settle; no rough acts after a start or a clock jump.",
        rule: settling::rule,
    },
    Guard { name: "cooldown", doubt: Doubt::FailClosed, doc: "The same wish stays quiet for a while.", rule: cooldown::rule },
    Guard {
        name: "futility",
        doubt: Doubt::FailClosed,
        doc: "Repeated attempts on one symptom lock it until a person looks.",
        rule: futility::rule,
    },
    Guard {
        name: "ladder",
        doubt: Doubt::FailClosed,
        doc: "A rougher verb waits until the milder one was tried in vain.",
        rule: ladder::rule,
    },
    Guard {
        name: "opposite",
        doubt: Doubt::FailClosed,
        doc: "Doing the opposite soon after, or to and fro, needs a person.",
        rule: opposite::rule,
    },
    Guard { name: "lock", doubt: Doubt::FailClosed, doc: "One plan at a time on a target and on all that hangs on it.", rule: lock::rule },
    Guard {
        name: "foreign_owner",
        doubt: Doubt::FailClosed,
        doc: "A field that somebody else steers is left alone.",
        rule: foreign_owner::rule,
    },
    Guard { name: "floors", doubt: Doubt::FailClosed, doc: "So many must stay healthy; unknown is not healthy.", rule: floors::rule },
    Guard {
        name: "blast_radius",
        doubt: Doubt::FailClosed,
        doc: "What goes down with it: never the last copy or vote, many only by a person.",
        rule: blast_radius::rule,
    },
    Guard { name: "budget", doubt: Doubt::FailClosed, doc: "So many at once, so many an hour, so much a day.", rule: budget::rule },
    Guard { name: "calendar", doubt: Doubt::FailClosed, doc: "Maintenance windows and quiet hours.", rule: calendar::rule },
    Guard {
        name: "witnesses",
        doubt: Doubt::FailClosed,
        doc: "Not cut off itself, and two failure domains see the node.",
        rule: witnesses::rule,
    },
    Guard {
        name: "reasoner",
        doubt: Doubt::FailClosed,
        doc: "A model's wish: at most reversible, no second model's veto, a person where text from outside decides.",
        rule: reasoner::rule,
    },
    Guard {
        name: "autonomy",
        doubt: Doubt::FailClosed,
        doc: "Shadow, suggest, veto or auto: the least of policy and class.",
        rule: autonomy::rule,
    },
];
